/*
 * What the kernel says that may concern the node as such: links, addresses,
 * default routes (of others, when node_address asks for the way to somewhere), and
 * that forwarding was switched.
 *
 * Each pod that comes or goes makes a dozen events.  None of them passes the
 * filter, so that it costs an ADD nothing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_addr.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <stddef.h>

#include "base/util.h"
#include "node/node_int.h"

enum {
	TYPE = offsetof(struct nlmsghdr, nlmsg_type),
	LINK_NAME = NLMSG_HDRLEN + sizeof(struct ifinfomsg) + NLA_HDRLEN,	/* the kernel tells it first */
	ADDR_SCOPE = NLMSG_HDRLEN + offsetof(struct ifaddrmsg, ifa_scope),
	ROUTE_LENGTH = NLMSG_HDRLEN + offsetof(struct rtmsg, rtm_dst_len),
	ROUTE_PROTOCOL = NLMSG_HDRLEN + offsetof(struct rtmsg, rtm_protocol),
	CONF_INDEX = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct netconfmsg)) + NLA_HDRLEN,	/* this, too */
	CALI = 'c' << 24 | 'a' << 16 | 'l' << 8 | 'i',
};

/* Loads are big-endian, the header's fields are the machine's. */
static int events_filter(struct nl *nl, bool any_route)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, TYPE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWLINK), 6, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELLINK), 5, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWADDR), 6, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELADDR), 5, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWROUTE), 6, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELROUTE), 5, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWNETCONF), 10, 12),
		/* a link: not a pod's */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, LINK_NAME),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CALI, 10, 11),
		/* an address: not link-local */
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ADDR_SCOPE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RT_SCOPE_LINK, 8, 9),
		/* a route: the default one, or one that neither we nor, with an address, the kernel made */
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ROUTE_LENGTH),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 7, any_route ? 0 : 6),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ROUTE_PROTOCOL),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RTPROT_KERNEL, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, RTPROT_MANX_BGP, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, RTPROT_MANX_POD, 2, 3),
		/* settings: those of all links at once */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, CONF_INDEX),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)NETCONFA_IFINDEX_ALL, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };

	return setsockopt(nl->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ? -errno : 0;
}

static void on_event(void *ctx, const struct nlmsghdr *h)
{
	struct node_agent *n = ctx;

	if (h->nlmsg_type == RTM_NEWNETCONF)
		n->forwarding = false;
	else if (!n->settle.on)
		timer_set(n->loop, &n->settle, NODE_SETTLE_MS);
}

static void on_readable(struct watch *w, uint32_t events)
{
	struct node_agent *n = container_of(w, struct node_agent, watch);
	(void)events;

	if (nl_events(&n->events, 0, on_event, n) < 0) {	/* something was lost: look at everything */
		n->forwarding = false;
		timer_set(n->loop, &n->settle, NODE_SETTLE_MS);
	}
}

int events_open(struct node_agent *n)
{
	static const unsigned groups[] = { RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
					   RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF, 0 };
	int rc = nl_open(&n->events, NETLINK_ROUTE, groups);

	if (rc < 0)
		return rc;
	events_filter(&n->events, n->model->config->node_address.how == ADDRESS_REACH);	/* without it we only wake up more often */
	n->watch = (struct watch){ .fd = n->events.fd, .fn = on_readable };
	return watch_add(n->loop, &n->watch, EPOLLIN);
}

void events_close(struct node_agent *n)
{
	watch_del(n->loop, &n->watch);
	nl_close(&n->events);
}
