/*
 * Keeps the host end of each pod's link as ADD made it.  The kernel says when
 * somebody sets one down, gives it another name, MTU, MAC or alias, takes its address or
 * a neighbour away or lets it age, changes a setting or its bandwidth's traffic control; then
 * all that the end should have is written again, as by an ADD that is repeated.
 *
 * A filter keeps from us what an ADD does itself, and the ageing neighbours of a busy
 * uplink.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/neighbour.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "cni/cni_int.h"

enum { TELL_EVERY_MS = 10000 };

struct guard {
	struct cni *cni;
	struct nl events;
	struct watch watch;
	unsigned mtu;
	uint64_t told_ms;
};

/* ---- what wakes us ---- */

enum {
	LINK_BODY = NLMSG_HDRLEN + sizeof(struct ifinfomsg),
	LINK_FLAGS = NLMSG_HDRLEN + offsetof(struct ifinfomsg, ifi_flags),
	LINK_CHANGE = NLMSG_HDRLEN + offsetof(struct ifinfomsg, ifi_change),
	LINK_NAME = LINK_BODY + NLA_HDRLEN,	/* the kernel tells it first */
	NEIGH_INDEX = NLMSG_HDRLEN + offsetof(struct ndmsg, ndm_ifindex),
	NEIGH_STATE = NLMSG_HDRLEN + offsetof(struct ndmsg, ndm_state),
	/* One setting of one link; a new link's are told all at once. */
	SETTING_LEN = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct netconfmsg)) + 2 * (NLA_HDRLEN + 4),
	ATTRIBUTE = SKF_AD_OFF + SKF_AD_NLATTR,	/* its place, or 0: type in X, from A on */
};
enum { GONE = 12, LINK = 15, OTHER = 39, NEIGH = 45, SETTING = 50, DROP = 52, PASS = 53 };	/* places in the filter */
enum { POD_INDEX = 0xf0000 };	/* some of these bits are set in each index that link.c chooses */

#define WORD(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define IF(at, what, yes, no) [at] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, what, (yes) - (at) - 1, (no) - (at) - 1)
#define FIRST_WORD_OF(at, type) \
	[at] = BPF_STMT(BPF_LDX | BPF_IMM, type), BPF_STMT(BPF_LD | BPF_IMM, LINK_BODY), \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ATTRIBUTE), BPF_STMT(BPF_MISC | BPF_TAX, 0), \
	BPF_STMT(BPF_LD | BPF_W | BPF_IND, NLA_HDRLEN)

/* Loads are big-endian, the header's fields are the machine's. */
static int events_filter(struct nl *nl, uint32_t own, unsigned mtu)
{
	struct sock_filter code[] = {
		[0] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_pid)),
		IF(1, htonl(own), DROP, 2),
		[2] = BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		IF(3, htons(RTM_DELADDR), PASS, 4),
		IF(4, htons(RTM_NEWNEIGH), NEIGH, 5),
		IF(5, htons(RTM_DELNEIGH), NEIGH, 6),
		IF(6, htons(RTM_NEWNETCONF), SETTING, 7),
		IF(7, htons(RTM_NEWLINK), LINK, 8),
		IF(8, htons(RTM_DELQDISC), PASS, 9),
		IF(9, htons(RTM_NEWQDISC), PASS, 10),
		IF(10, htons(RTM_DELTFILTER), PASS, 11),
		IF(11, htons(RTM_DELLINK), GONE, DROP),
		/* the device of a pod's bandwidth */
		[GONE] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, LINK_NAME),
		[13] = BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xffffff00),
		IF(14, WORD('b', 'w', 'p', 0), PASS, DROP),
		/* a pod's, not a new one (all its flags changed), that is down or has another MAC, MTU or alias */
		[LINK] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, LINK_NAME),
		IF(16, WORD('c', 'a', 'l', 'i'), 17, OTHER),
		[17] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, LINK_CHANGE),
		IF(18, ~0u, DROP, 19),
		[19] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, LINK_FLAGS),
		[20] = BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, htonl(IFF_UP), 0, PASS - 20 - 1),
		FIRST_WORD_OF(21, IFLA_ADDRESS),
		IF(26, WORD(0xee, 0xee, 0xee, 0xee), 27, PASS),
		FIRST_WORD_OF(27, IFLA_MTU),
		IF(32, htonl(mtu), 33, PASS),
		FIRST_WORD_OF(33, IFLA_IFALIAS),
		IF(38, WORD('m', 'a', 'n', 'x'), DROP, PASS),
		/* a pod's by its alias, with another name */
		FIRST_WORD_OF(OTHER, IFLA_IFALIAS),
		IF(44, WORD('m', 'a', 'n', 'x'), PASS, DROP),
		/* of our kind, taken away by hand, or of a pod's link */
		[NEIGH] = BPF_STMT(BPF_LD | BPF_H | BPF_ABS, NEIGH_STATE),
		IF(46, htons(NUD_PERMANENT), PASS, 47),
		IF(47, htons(NUD_FAILED), PASS, 48),
		[48] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NEIGH_INDEX),
		[49] = BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, htonl(POD_INDEX), PASS - 49 - 1, DROP - 49 - 1),
		[SETTING] = BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
		IF(51, SETTING_LEN, PASS, DROP),
		[DROP] = BPF_STMT(BPF_RET | BPF_K, 0),
		[PASS] = BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };

	return setsockopt(nl->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ? -errno : 0;
}

/* ---- which link, and is anything wrong with it? ---- */

void guard_mtu(struct guard *g, unsigned mtu)
{
	if (g->mtu != mtu)
		events_filter(&g->events, g->cni->nl.port, g->mtu = mtu);	/* without it we only wake up more often */
}

bool link_is_altered(const struct rtnl_link *l, const struct end *host)
{
	return !(l->flags & IFF_UP) || memcmp(l->mac, host->mac, sizeof l->mac) != 0 || l->mtu != host->mtu ||
	       strcmp(l->name, host->name) != 0 || strcmp(l->alias, host->alias) != 0;
}

static int of_link(const struct cni *c, const struct nlmsghdr *h)
{
	const struct endpoint *ep;
	struct end ends[ENDS];
	struct rtnl_link l;

	if (!rtnl_link_parse(h, &l) || !(ep = link_owner(c, l.index)))
		return 0;
	ends_of(ends, ep, 0);
	return link_is_altered(&l, &ends[HOST_END]) ? l.index : 0;
}

static int of_address(const struct cni *c, const struct nlmsghdr *h)
{
	struct rtnl_addr a;
	(void)c;

	return rtnl_addr_parse(h, &a) ? a.ifindex : 0;
}

static int of_neighbour(const struct cni *c, const struct nlmsghdr *h)
{
	const struct endpoint *ep;
	struct rtnl_neigh n;

	if (!rtnl_neigh_parse(h, &n) || n.fdb || !(ep = link_owner(c, n.ifindex)))
		return 0;
	return addr_equal(&n.dst, &ep->ips[family_index(n.dst.family)]) ? n.ifindex : 0;
}

static int of_setting(const struct cni *c, const struct nlmsghdr *h)
{
	const struct nlattr *tb[NETCONFA_PROXY_NEIGH + 1];
	uint32_t index, on, check, proxy;
	(void)c;

	if (!nl_attrs(h, sizeof(struct netconfmsg), tb, NETCONFA_PROXY_NEIGH) || !nl_attr_u32(tb[NETCONFA_IFINDEX], &index))
		return 0;
	return (nl_attr_u32(tb[NETCONFA_FORWARDING], &on) && !on) || (nl_attr_u32(tb[NETCONFA_RP_FILTER], &check) && check != 1) ||
	       (nl_attr_u32(tb[NETCONFA_PROXY_NEIGH], &proxy) && proxy) ? (int)index : 0;
}

/* Of a pod's bandwidth: on its host end, or on the device behind it. */
static int of_traffic_control(const struct cni *c, const struct nlmsghdr *h)
{
	const int index = rtnl_tc_index(h);
	const struct endpoint *ep = link_owner(c, index);
	char name[IF_NAMESIZE];

	if (!ep && index > 0 && if_indextoname((unsigned)index, name))
		ep = shape_owner(c, name);
	return ep && shape_is_wanted(ep) ? ep->ifindex : 0;
}

static int of_gone_link(const struct cni *c, const struct nlmsghdr *h)
{
	const struct endpoint *ep;
	struct rtnl_link l;

	return rtnl_link_parse(h, &l) && (ep = shape_owner(c, l.name)) ? ep->ifindex : 0;
}

static const struct { uint16_t type; int (*index)(const struct cni *c, const struct nlmsghdr *h); } looks[] = {
	{ RTM_NEWLINK, of_link }, { RTM_DELADDR, of_address }, { RTM_NEWNEIGH, of_neighbour }, { RTM_DELNEIGH, of_neighbour },
	{ RTM_NEWNETCONF, of_setting }, { RTM_NEWQDISC, of_traffic_control }, { RTM_DELQDISC, of_traffic_control },
	{ RTM_DELTFILTER, of_traffic_control }, { RTM_DELLINK, of_gone_link },
};

/* ---- repair ---- */

static void repair(struct guard *g, const struct endpoint *ep)
{
	struct err e = { 0 };
	int rc = link_refresh(g->cni, ep, &e);

	if (rc == -ENODEV || (g->told_ms && now_ms() - g->told_ms < TELL_EVERY_MS))
		return;			/* the pod is gone, or it goes on and on */
	g->told_ms = now_ms();
	if (rc < 0)
		log_warn("cni", "%s: was changed by another program: %s", ep->host_if, e.text);
	else
		log_warn("cni", "%s: was changed by another program: repaired", ep->host_if);
}

static void on_event(void *ctx, const struct nlmsghdr *h)
{
	struct guard *g = ctx;
	const struct endpoint *ep;
	int index = 0;

	for (size_t i = 0; i < ARRAY_SIZE(looks) && !index; i++)
		if (looks[i].type == h->nlmsg_type)
			index = looks[i].index(g->cni, h);
	if (index > 0 && (ep = link_owner(g->cni, index)))
		repair(g, ep);
}

static void on_readable(struct watch *w, uint32_t events)
{
	struct guard *g = container_of(w, struct guard, watch);
	const struct endpoint *ep;
	(void)events;

	if (nl_events(&g->events, 0, on_event, g) < 0)		/* something was lost: each may have changed */
		table_each(&g->cni->model->endpoints, ep)
			link_refresh(g->cni, ep, NULL);
}

struct guard *guard_start(struct cni *c, struct err *e)
{
	static const unsigned groups[] = { RTNLGRP_LINK, RTNLGRP_IPV6_IFADDR, RTNLGRP_NEIGH, RTNLGRP_IPV4_NETCONF, RTNLGRP_TC, 0 };
	struct guard *g = xcalloc(1, sizeof *g);
	int rc = nl_open(&g->events, NETLINK_ROUTE, groups);

	g->cni = c;
	g->watch = (struct watch){ .fd = g->events.fd, .fn = on_readable };
	if (rc < 0 || (rc = watch_add(c->loop, &g->watch, EPOLLIN)) < 0) {
		err_set(e, -rc, "cni: netlink event socket: %s", strerror(-rc));
		guard_stop(g);
		return NULL;
	}
	guard_mtu(g, model_pod_mtu(c->model));
	return g;
}

void guard_stop(struct guard *g)
{
	if (!g)
		return;
	watch_del(g->cni->loop, &g->watch);
	nl_close(&g->events);
	free(g);
}
