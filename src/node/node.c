#include "node/node.h"

#include <string.h>

#include "base/util.h"
#include "node/node_int.h"

static void on_settle(struct timer *t)
{
	detect_run(container_of(t, struct node_agent, settle));
}

static void on_retry(struct timer *t)
{
	register_run(container_of(t, struct node_agent, retry));
}

struct node_agent *node_new(struct loop *l, struct model *m, struct store *s, struct err *e)
{
	struct node_agent *n = xcalloc(1, sizeof *n);
	int rc;

	*n = (struct node_agent){ .loop = l, .model = m, .store = s, .watch = { .fd = -1 }, .events = { .fd = -1 },
				  .learned = { .fd = -1 }, .learned_held = -1,
				  .settle = { .fn = on_settle }, .retry = { .fn = on_retry } };
	if ((rc = nl_open(&n->cmd, NETLINK_ROUTE, NULL)) < 0 || (rc = events_open(n)) < 0) {
		err_set(e, -rc, "node: netlink socket: %s", strerror(-rc));
		node_free(n);
		return NULL;
	}
	register_init(n);
	detect_run(n);
	return n;
}

void node_free(struct node_agent *n)
{
	publish_stop(n);
	timer_del(n->loop, &n->settle);
	timer_del(n->loop, &n->retry);
	events_close(n);
	learned_close(n);
	nl_close(&n->cmd);
	free(n);
}

void node_run(struct node_agent *n)
{
	const struct model *m = n->model;

	if (!m->complete)
		return;
	if (m->uplinks.dirty || m->nodes.dirty || (n->again && !n->retry.on))
		register_run(n);
	if (m->pools.dirty || m->uplinks.dirty || !n->forwarding)
		forward_run(n);
	if (m->endpoints_known && (m->endpoints.dirty || m->workloads.dirty || !n->swept))
		publish_run(n);
}
