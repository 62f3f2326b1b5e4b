/*
 * The daemon as a page: modules are started bottom up, then the loop turns until
 * SIGTERM, then they are stopped top down.  The kernel is left as it is.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/server.h"
#include "base/trim.h"
#include "base/util.h"
#include "ctl/ctl.h"
#include "explain.h"
#include "notify.h"
#include "reconcile.h"
#include "reload.h"
#include "status.h"
#include "store/store.h"
#include "uninstall.h"
#include "verbs.h"

void relro_protect(void);	/* shims.c */

enum { RUN_DIR_WAIT_MS = 10000 };

/* --- the command line's verbs --- */

/* ["--ready"]: the exit code says whether it is. */
static void verb_status(void *ctx, struct ctl_call *c)
{
	status_show(ctx, &c->out, c->json);
	ctl_answer(c, c->count && !agent_is_ready(ctx) ? EXIT_FAILED : EXIT_OK);
}

static void verb_ipam_show(void *ctx, struct ctl_call *c)
{
	const struct agent *a = ctx;

	ipam_show(a->pass.ipam, &c->out, c->json);
	ctl_answer(c, EXIT_OK);
}

static void verb_routes(void *ctx, struct ctl_call *c)
{
	struct agent *a = ctx;

	route_show(a->pass.route, &c->out, c->json);
	ctl_answer(c, EXIT_OK);
}

static void verb_explain(void *ctx, struct ctl_call *c)
{
	struct agent *a = ctx;
	struct err e = { 0 };
	int code = explain(&a->model, a->pass.nft, (const char *const *)c->words, c->count, c->json, &c->out, &e);

	if (e.code)
		ctl_refuse(c, code, "%s", e.text);
	else
		ctl_answer(c, code);
}

/* The rest when all modules have stopped: see agent_run(). */
static void verb_uninstall(void *ctx, struct ctl_call *c)
{
	struct agent *a = ctx;

	if (a->leaving) {
		ctl_refuse(c, EXIT_BUSY, "uninstall is under way");
		return;
	}
	log_info("agent", "uninstall: stopping, what manx put on this node is removed");
	ctl_detach(c);
	a->leaving = c;
	a->loop.stop = true;
}

static const struct ctl_verb verbs[] = {
	{ "status", verb_status },
	{ "get", verb_get },
	{ "apply", verb_apply },
	{ "delete", verb_delete },
	{ "ipam show", verb_ipam_show },
	{ "ipam check", verb_ipam_check },
	{ "ipam release", verb_ipam_release },
	{ "routes", verb_routes },
	{ "explain", verb_explain },
	{ "uninstall", verb_uninstall },
};

static void on_request(void *ctx, struct conn *conn)
{
	struct agent *a = ctx;

	if (conn->kind == FRAME_CNI)
		cni_handle(a->pass.cni, conn);
	else
		ctl_handle(verbs, ARRAY_SIZE(verbs), a, conn);
}

/* Ready: the datastore was read whole once, this node is known, the first pass was clean, ADD can be served. */
static bool may_be_ready(const struct agent *a)
{
	const struct model *m = &a->model;
	const struct uplink *up = model_uplink(m);

	return m->complete && m->endpoints_known && !m->ipvs_link && model_self(m) && up &&
	       (up->address[FAMILY_V4].addr.family || up->address[FAMILY_V6].addr.family) &&
	       ipam_serves_pods(a->pass.ipam) && ipam_pools_tried(a->pass.ipam) && ipam_settled(a->pass.ipam) && route_tried(a->pass.route) &&
	       nft_settled(a->pass.nft);
}

static void become_ready(struct agent *a)
{
	struct err e = { 0 };

	a->ready = true;
	cni_open(a->pass.cni);
	if (cni_install(a->config, a->server.path, &e) < 0)
		model_problem(&a->model, "cni", "install", "make the folder writable, or set cni_conf_dir and cni_bin_dir",
			      "%s", e.text);
	if (a->store.driver->ready)
		a->store.driver->ready(&a->store);
	log_info("agent", "ready");
	notify_ready(a->ready_fd);
}

static void calls_answer(struct agent *a)
{
	for (struct ctl_call *c = a->after_pass, *next; c; c = next) {
		next = c->next;
		ctl_answer(c, c->code);
	}
	a->after_pass = NULL;
}

static void on_pass(void *ctx)
{
	struct agent *a = ctx;

	if (a->model.complete && !a->model.endpoints_known && node_is_ours(a->pass.node))
		cni_recover(a->pass.cni);
	reconcile(&a->pass);
	if (!a->ready && may_be_ready(a))
		become_ready(a);
	calls_answer(a);
}

static void on_signal(void *ctx, int signo)
{
	struct agent *a = ctx;

	if (signo == SIGHUP) {
		reload(a);
		return;
	}
	log_info("agent", "signal %d: stopping, the kernel keeps what it has", signo);
	a->loop.stop = true;
}

static int lock_failed(const struct config *c, int lock, int rc)
{
	char pid[32] = "";

	if (rc != -EWOULDBLOCK || lock < 0) {
		log_err("agent", "run_dir %s: %s", c->run_dir, strerror(-rc));
		return rc == -EACCES || rc == -EPERM ? EXIT_PERMISSION : EXIT_FAILED;
	}
	if (pread(lock, pid, sizeof pid - 1, 0) < 0)
		pid[0] = '\0';
	pid[strcspn(pid, "\n")] = '\0';
	log_err("agent", "run_dir %s: another agent runs here, pid %s", c->run_dir, pid);
	return EXIT_BUSY;
}

/* The file names the holder. */
int run_dir_lock(const struct config *c, int *lock)
{
	const uint64_t until = now_ms() + RUN_DIR_WAIT_MS;
	const struct timespec pause = { .tv_nsec = 50 * 1000000 };
	char path[CONFIG_PATH_MAX + 16], pid[32];
	int rc = fs_mkdirs(c->run_dir, 0755);

	snprintf(path, sizeof path, "%s/manx.lock", c->run_dir);
	while (rc == 0 && (rc = fs_trylock_file(AT_FDCWD, path, lock)) == -EWOULDBLOCK && now_ms() < until) {
		nanosleep(&pause, NULL);
		rc = fs_mkdirs(c->run_dir, 0755);
	}
	if (rc < 0)
		return lock_failed(c, *lock, rc);
	int len = snprintf(pid, sizeof pid, "%d\n", (int)getpid());

	if (ftruncate(*lock, 0) < 0 || pwrite(*lock, pid, len, 0) != len)
		log_warn("agent", "%s: %s", path, strerror(errno));
	return EXIT_OK;
}

static void on_rest(void)
{
	arena_trim();
	trim_memory();
}

/* Modules, bottom up.  The first that fails says why in *e. */
static int start(struct agent *a, struct err *e)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, 0 };
	char socket[CONFIG_PATH_MAX + 16];
	int rc;

	signal(SIGPIPE, SIG_IGN);
	model_init(&a->model, a->config);
	if ((rc = loop_open(&a->loop)) < 0 || (rc = loop_signals(&a->loop, signals, on_signal, a)) < 0)
		return err_set(e, -rc, "event loop: %s", strerror(-rc));
	if ((rc = store_start(&a->store, &a->loop, &a->model, a->config, e)) < 0)
		return rc == -EPROTONOSUPPORT || rc == -EBADMSG || rc == -EBUSY ? rc : -ENOTCONN;
	a->store.found = a->config;
	a->pass.ipam = ipam_new(&a->loop, &a->model, &a->store);
	if (!(a->pass.node = node_new(&a->loop, &a->model, &a->store, e)) ||
	    !(a->pass.route = route_new(&a->loop, &a->model, e)) ||
	    !(a->pass.nft = nft_new(&a->loop, &a->model, e)) ||
	    !(a->pass.cni = cni_new(&a->loop, &a->model, a->pass.ipam, e)))
		return -e->code;
	snprintf(socket, sizeof socket, "%s/manx.sock", a->config->run_dir);
	a->loop.pass = on_pass;
	a->loop.pass_ctx = a;
	a->loop.rest = on_rest;
	return server_open(&a->server, &a->loop, socket, on_request, a, e);
}

static void stop(struct agent *a)
{
	server_close(&a->server);
	if (a->pass.cni)
		cni_free(a->pass.cni);
	if (a->pass.nft)
		nft_free(a->pass.nft);
	if (a->pass.route)
		route_free(a->pass.route);
	if (a->pass.node)
		node_free(a->pass.node);
	store_stop(&a->store);
	if (a->pass.ipam)
		ipam_free(a->pass.ipam);
	model_fini(&a->model);
	loop_close(&a->loop);
}

static int exit_code(int rc)
{
	switch (rc) {
	case -EPROTONOSUPPORT:
		return EXIT_USAGE;
	case -EBADMSG:
		return EXIT_CONFIG;
	case -EACCES:
	case -EPERM:
		return EXIT_PERMISSION;
	case -EBUSY:
		return EXIT_BUSY;
	case -EAFNOSUPPORT:
		return EXIT_KERNEL;
	case -ENOTCONN:
		return EXIT_DATASTORE;
	}
	return EXIT_FAILED;
}

/* All modules have stopped, the lock is still held.  Who asked gets the exit code; a supervisor must not start us again. */
static void leave(struct agent *a)
{
	struct ctl_call *c = a->leaving;
	int code = uninstall_run(a->config, a->store.state == STORE_AWAY, &c->out, &c->err);

	if (c->err.len)
		log_err("agent", "uninstall: %.*s", (int)strcspn(c->err.s, "\n"), c->err.s);
	ctl_answer(c, code);
}

/* Each ADD holds three descriptors for a while, each namespace folder a watch: what a login shell gets is little. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (prlimit(0, RLIMIT_NOFILE, NULL, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (prlimit(0, RLIMIT_NOFILE, &limit, NULL) < 0)
		log_warn("agent", "descriptor limit: %s", strerror(errno));
}

int agent_run(const struct agent_start *s)
{
	const struct config *config = s->config;
	struct agent a = { .config = s->config, .reread = s->reread, .ready_fd = s->ready_fd, .server.watch.fd = -1 };
	struct err e = { 0 };
	autoclose int lock = -1;
	int rc;

	relro_protect();
	log_init(config->log_level);
	raise_descriptor_limit();
	if ((rc = run_dir_lock(config, &lock)) != EXIT_OK)
		return rc;
	log_info("agent", "manx %s on node %s, configuration %s", MANX_VERSION, config->node_name, s->config_path);
	a.pass.model = &a.model;
	a.pass.store = &a.store;
	if ((rc = start(&a, &e)) < 0) {
		log_err("agent", "%s", e.text);
		return exit_code(rc);
	}
	rc = loop_run(&a.loop);
	notify_stopping();
	stop(&a);
	if (a.leaving)
		leave(&a);
	if (a.store.fatal.code) {
		log_err("agent", "%s", a.store.fatal.text);
		return EXIT_CONFIG;
	}
	return rc < 0 ? EXIT_FAILED : EXIT_OK;
}
