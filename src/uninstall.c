/*
 * The order: the runtime's way to us first, so that no pod comes any more; then the
 * kernel, by the reconcilers themselves, from a model that wants nothing; then what
 * the datastore says of this node, since nobody uses its addresses now; the files
 * last, and of them the lock.  Each step looks for what is there, so a second run
 * finds nothing, and one that was interrupted is taken up again.
 */
#include "uninstall.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "base/fs.h"
#include "base/util.h"
#include "cni/cni.h"
#include "ctl/ctl.h"
#include "ipam/ipam.h"
#include "nft/nft.h"
#include "route/route.h"
#include "store/store.h"

enum { DATASTORE_MS = 5000 };

struct uninstall {
	const struct config *config;
	bool away;			/* the datastore, as the agent knew */
	struct str *out;
	struct loop loop;
	struct model model;		/* of the step */
};

/* --- pods, routes, rules --- */

static int files_of_cni_remove(struct uninstall *u, struct err *e)
{
	char socket[CONFIG_PATH_MAX + 16];

	snprintf(socket, sizeof socket, "%s/manx.sock", u->config->run_dir);
	return cni_uninstall(u->config, socket, u->out, e);
}

static int links_remove(struct uninstall *u, struct err *e)
{
	struct cni *c = cni_new(&u->loop, &u->model, NULL, e);
	int count = c ? cni_remove_links(c, e) : -e->code;

	if (c)
		cni_free(c);
	if (count > 0)
		str_printf(u->out, "removed the links of %d pods\n", count);
	return count < 0 ? count : 0;
}

static int routes_remove(struct uninstall *u, struct err *e)
{
	struct route *r = route_new(&u->loop, &u->model, e);
	const struct problem *p;

	if (!r)
		return -e->code;
	route_run(r);
	table_each(&u->model.problems, p)
		err_set(e, EIO, "%s", p->text);
	route_free(r);
	return -e->code;
}

static int rules_remove(struct uninstall *u, struct err *e)
{
	struct nft *n = nft_new(&u->loop, &u->model, e);

	if (!n)
		return -e->code;
	nft_cleanup(n, e);
	nft_free(n);
	return -e->code;
}

/* --- datastore --- */

struct leaving { unsigned begun, pending; int rc; };

static void on_deleted(void *ctx, int rc)
{
	struct leaving *l = ctx;

	l->pending--;
	if (rc < 0 && rc != -ESTALE)	/* ESTALE: somebody else deleted it */
		l->rc = rc;
}

static void row_delete(struct store *s, struct leaving *l, const char *kind, const char *key, uint64_t version)
{
	if (!version)
		return;			/* a user's file */
	l->begun++;
	l->pending++;
	store_del(s, kind_named(kind), key, version, on_deleted, l);
}

/* On Kubernetes the Node is the kubelet's: its driver only takes our annotations away, and says that there is no network. */
static void own_objects_delete(struct uninstall *u, struct store *s, struct leaving *l)
{
	const char *self = u->config->node_name;
	const struct workload *w;
	const struct node *n;

	table_each(&u->model.workloads, w)
		if (strcmp(w->node, self) == 0)
			row_delete(s, l, "WorkloadEndpoint", w->row.key, w->meta.version);
	n = table_find(&u->model.nodes, self);
	if (n && (n->address[FAMILY_V4].addr.family || n->address[FAMILY_V6].addr.family))
		row_delete(s, l, "Node", n->row.key, n->meta.version);
}

/* 1: it was there, 0: it was not, or what the datastore met. */
static int leave_and_wait(struct uninstall *u, struct store *s, struct ipam *ipam)
{
	const uint64_t until = now_ms() + DATASTORE_MS;
	struct ipam_leave addresses = { 0 };
	struct leaving own = { 0 };

	while (now_ms() < until) {
		if (u->model.complete && !addresses.ipam) {
			own_objects_delete(u, s, &own);
			ipam_leave_begin(&addresses, ipam, u->config->node_name);
		}
		loop_turn(&u->loop, 20);
		if (addresses.ipam && ipam_leave_done(&addresses) && !own.pending)
			return own.rc ? own.rc : addresses.rc ? addresses.rc : own.begun > 0;
	}
	str_free(&addresses.handles);
	return -ETIMEDOUT;
}

static int node_leave(struct uninstall *u, struct err *e)
{
	struct store store;
	struct ipam *ipam;
	int rc = store_start(&store, &u->loop, &u->model, u->config, e);

	if (rc < 0)
		return rc;
	ipam = ipam_new(&u->loop, &u->model, &store);
	rc = leave_and_wait(u, &store, ipam);
	store_stop(&store);
	ipam_free(ipam);
	if (rc < 0)
		return err_set(e, -rc, "datastore: %s: what it says of this node stays", strerror(-rc));
	if (rc > 0)
		str_printf(u->out, "removed node %s from the datastore\n", u->config->node_name);
	return 0;
}

static int datastore_leave(struct uninstall *u, struct err *e)
{
	int rc;

	if (u->away)
		return err_set(e, ENOTCONN, "datastore: away: what it says of this node stays");
	if (!store_is_used(u->config))
		return 0;
	if ((rc = node_leave(u, e)) < 0)
		return rc;
	rc = store_purge(u->config);
	if (rc < 0)
		return err_set(e, -rc, "datastore: %s: not all of it is removed", strerror(-rc));
	if (rc > 0)
		str_puts(u->out, "removed what agents kept in the datastore: no node is left\n");
	return 0;
}

/* --- files --- */

/* The lock last: whoever waits for it sees that it has gone, see run_dir_lock(). */
static int files_remove(struct uninstall *u, struct err *e)
{
	const char *run = u->config->run_dir, *state = u->config->state_dir;
	const struct { const char *dir, *name; } what[] = {
		{ state, "last-good" }, { state, "cluster" }, { run, "del" }, { run, "ports" }, { run, "manx.sock" }, { run, "manx.lock" },
	};
	char path[CONFIG_PATH_MAX + 16];

	for (size_t i = 0; i < ARRAY_SIZE(what); i++) {
		int rc;

		snprintf(path, sizeof path, "%s/%s", what[i].dir, what[i].name);
		if ((rc = fs_remove(path, 1)) < 0)
			return err_set(e, -rc, "%s: %s", path, strerror(-rc));
	}
	rmdir(run);			/* when nothing else is in there */
	rmdir(state);
	return 0;
}

/* --- all of it --- */

static const struct step {
	int (*run)(struct uninstall *u, struct err *e);
	bool from_nothing;		/* the model is complete and wants nothing */
	int code;
} steps[] = {
	{ files_of_cni_remove, false, EXIT_FAILED },
	{ links_remove, true, EXIT_FAILED },
	{ routes_remove, true, EXIT_FAILED },
	{ rules_remove, true, EXIT_FAILED },
	{ datastore_leave, false, EXIT_DATASTORE },
	{ files_remove, false, EXIT_FAILED },
};

static int step_run(const struct step *s, struct uninstall *u, struct str *err)
{
	struct err e = { 0 };
	int rc = loop_open(&u->loop);

	if (rc < 0) {
		err_set(&e, -rc, "event loop: %s", strerror(-rc));
	} else {
		model_init(&u->model, u->config);
		u->model.complete = u->model.endpoints_known = s->from_nothing;
		rc = s->run(u, &e);
		model_fini(&u->model);
		loop_close(&u->loop);
	}
	if (rc == 0)
		return EXIT_OK;
	str_printf(err, "manx: %s\n", e.text);
	return rc == -EPERM || rc == -EACCES ? EXIT_PERMISSION : s->code;
}

int uninstall_run(const struct config *c, bool away, struct str *out, struct str *err)
{
	struct uninstall u = { .config = c, .away = away, .out = out };
	int code = EXIT_OK;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int step = step_run(&steps[i], &u, err);

		code = code == EXIT_OK ? step : code;
	}
	if (code == EXIT_OK)
		str_puts(out, "nothing of manx is on this node any more\n");
	return code;
}

int uninstall_alone(const struct config *c, struct str *out, struct str *err)
{
	autoclose int lock = -1;
	int rc = EXIT_OK;

	if (geteuid() != 0) {
		str_puts(err, "manx: uninstall: only root may\n");
		return EXIT_PERMISSION;
	}
	log_init(LOG_WARN);
	if (access(c->run_dir, F_OK) == 0)	/* it is not made in order to be removed */
		rc = run_dir_lock(c, &lock);
	return rc == EXIT_OK ? uninstall_run(c, false, out, err) : rc;
}
