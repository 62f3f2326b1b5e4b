#include "node/node.h"

#include <linux/rtnetlink.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "node/node_int.h"

/* Link-local addresses come and go with every pod and are never ours to choose. */
static void on_address(void *ctx, const struct nlmsghdr *h)
{
	bool *moved = ctx;
	struct rtnl_addr a;

	*moved |= rtnl_addr_parse(h, &a) && !addr_is_link_local(&a.address.addr);
}

static void on_events(struct watch *w, uint32_t events)
{
	struct node_agent *n = container_of(w, struct node_agent, watch);
	bool moved = false;
	(void)events;

	if (nl_events(&n->events, 0, on_address, &moved) < 0)
		moved = true;		/* something was lost: look again */
	if (moved && !n->settle.on)
		timer_set(n->loop, &n->settle, NODE_SETTLE_MS);
}

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
	static const unsigned groups[] = { RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, 0 };
	struct node_agent *n = xcalloc(1, sizeof *n);
	int rc;

	*n = (struct node_agent){ .loop = l, .model = m, .store = s, .watch = { .fd = -1, .fn = on_events },
				  .settle = { .fn = on_settle }, .retry = { .fn = on_retry } };
	if ((rc = nl_open(&n->cmd, NETLINK_ROUTE, NULL)) < 0 || (rc = nl_open(&n->events, NETLINK_ROUTE, groups)) < 0) {
		err_set(e, -rc, "node: netlink socket: %s", strerror(-rc));
		free(n);
		return NULL;
	}
	n->watch.fd = n->events.fd;
	watch_add(l, &n->watch, EPOLLIN);
	detect_run(n);
	return n;
}

void node_free(struct node_agent *n)
{
	timer_del(n->loop, &n->settle);
	timer_del(n->loop, &n->retry);
	watch_del(n->loop, &n->watch);
	nl_close(&n->cmd);
	nl_close(&n->events);
	free(n);
}

void node_run(struct node_agent *n)
{
	const struct model *m = n->model;

	if (!m->complete)
		return;
	if (m->uplinks.dirty || m->nodes.dirty)
		register_run(n);
	if (m->pools.dirty)
		forward_run(n);
	if (m->endpoints_known && (m->endpoints.dirty || !n->swept))
		publish_run(n);
}
