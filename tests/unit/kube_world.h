/* A Kubernetes driver on a transport without a network, its model, and a server that has hardly anything. */
#ifndef TESTS_KUBE_WORLD_H
#define TESTS_KUBE_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <unistd.h>

#include "base/fs.h"
#include "fake_kube.h"
#include "store/store.h"

struct world {
	struct loop loop;
	struct config config;
	struct model model;
	struct store store;
	char dir[64];
	int rc;				/* of the last write */
	unsigned done;
};

static void begin(struct world *w)
{
	struct err e = { 0 };

	w->config.datastore.driver = DATASTORE_KUBERNETES;
	snprintf(w->config.node_name, sizeof w->config.node_name, "n1");
	snprintf(w->config.state_dir, sizeof w->config.state_dir, "%s", w->dir);
	w->config.block_size = 26;
	w->config.block_size_v6 = 122;
	model_init(&w->model, &w->config);
	assert_int_equal(loop_open(&w->loop), 0);
	assert_int_equal(store_start(&w->store, &w->loop, &w->model, &w->config, &e), 0);
	w->store.found = &w->config;
}

static void end(struct world *w)
{
	store_stop(&w->store);
	loop_close(&w->loop);
	model_fini(&w->model);
}

static int setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);

	snprintf(w->dir, sizeof w->dir, "/tmp/manx-kube-XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	begin(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	end(w);
	fs_remove(w->dir, 3);
	free(w);
	return 0;
}

/* Turns until there is such a request. */
static struct kube_call *await_call(struct world *w, const char *method, const char *part)
{
	uint64_t until = now_ms() + 5000;
	struct kube_call *c;

	while (!(c = fake_find(method, part))) {
		if (now_ms() > until)
			fail_msg("no %s of %s", method, part);
		loop_turn(&w->loop, 5);
	}
	return c;
}

static inline void turns(struct world *w, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		loop_turn(&w->loop, 1);
}

static const char *const core[] = { "/api/v1/namespaces?", "/api/v1/pods?", "/api/v1/nodes?", "/networkpolicies?" };
static const char *const calico[] = { "/ippools?", "/ipamblocks?", "/blockaffinities?", "/ipamhandles?", "/ipamconfigs?",
				      "/ipreservations?", "/clusterinformations?" };
#define GROUPS "{\"groups\":[{\"name\":\"apps\"},{\"name\":\"crd.projectcalico.org\"}]}"
#define ALL_NAMED(version) "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" version \
	"\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n"
#define NAMESPACE(name, version) "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"" name \
	"\",\"resourceVersion\":\"" version "\"}}"
#define POD(name, node, version) "{\"metadata\":{\"namespace\":\"a\",\"name\":\"" name "\",\"uid\":\"u\",\"resourceVersion\":\"" version \
	"\",\"labels\":{\"app\":\"web\"},\"annotations\":{\"cni.projectcalico.org/x\":\"y\"}},\"spec\":{\"nodeName\":\"" node \
	"\",\"containers\":[{\"ports\":[{\"name\":\"http\",\"containerPort\":80}]}]},\"status\":{\"podIP\":\"10.1.2.3\"}}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define POOL "{\"apiVersion\":\"crd.projectcalico.org/v1\",\"kind\":\"IPPool\",\"metadata\":{\"name\":\"p\",\"resourceVersion\":\"3\"}," \
	"\"spec\":{\"cidr\":\"10.42.0.0/16\"}}"

/* Everything there is, by watches that begin with it: a pool, and of the others nothing. */
static inline void serve_all(struct world *w)
{
	for (unsigned i = 0; i < ARRAY_SIZE(core); i++) {
		struct kube_call *c = await_call(w, "GET", core[i]);

		assert_non_null(strstr(c->path, "sendInitialEvents=true"));
		fake_head(c, 200);
		fake_data(c, ALL_NAMED("10"));
	}
	fake_answer(await_call(w, "GET", "/apis"), 200, GROUPS);
	for (unsigned i = 0; i < ARRAY_SIZE(calico); i++) {
		struct kube_call *c = await_call(w, "GET", calico[i]);

		fake_head(c, 200);
		if (i == 0)
			fake_data(c, EVENT("ADDED", POOL));
		fake_data(c, ALL_NAMED("10"));
	}
	turns(w, 3);
	assert_true(w->model.complete);
	assert_int_equal(w->store.state, STORE_SYNCED);
}

/* Lines of the log between the two. */
static int log_fd, log_was;

static inline void log_begin(void)
{
	log_fd = memfd_create("log", 0);
	log_was = dup(2);
	dup2(log_fd, 2);
}

static inline unsigned log_end(void)
{
	unsigned lines = 0;
	char c;

	dup2(log_was, 2);
	for (off_t at = 0; pread(log_fd, &c, 1, at) == 1; at++)
		lines += c == '\n';
	close(log_fd);
	close(log_was);
	return lines;
}

#endif
