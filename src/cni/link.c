/*
 * The pod's link: a veth pair made with its peer directly in the pod's namespace
 * (moving it there would wait for grace periods), one queue each way.
 *
 * The pod sees a /32 and a /128 and two gateways that every host end answers for,
 * 169.254.1.1 and fe80::ecee:eeff:feee:eeee.  Both ends know each other by
 * permanent neighbours, so neither proxy ARP nor neighbour discovery nor DAD
 * stands between ADD and the first packet.
 */
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "cni/cni_int.h"

enum { PAIR_TRIES = 4, CARRIER_TRIES = 50, CARRIER_PAUSE_US = 200 };

static const uint8_t host_mac[6] = { 0xee, 0xee, 0xee, 0xee, 0xee, 0xee };
static const struct addr gateways[FAMILIES] = {
	{ AF_INET, { 169, 254, 1, 1 } },
	{ AF_INET6, { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0xec, 0xee, 0xee, 0xff, 0xfe, 0xee, 0xee, 0xee } },
};

void link_mac(uint8_t mac[6], const struct addr ips[FAMILIES])
{
	uint32_t tail;

	if (ips[FAMILY_V4].family) {
		memcpy(mac + 2, ips[FAMILY_V4].b, 4);
	} else {
		tail = fnv32a(ips[FAMILY_V6].b, 16);
		memcpy(mac + 2, &tail, 4);
	}
	mac[0] = 0x0a;
	mac[1] = 0x58;
}

bool link_alias(char out[256], const char *network, const char *container, const char *ifname)
{
	int n = snprintf(out, 256, "manx %s %s %s", network, container, ifname);

	return n > 0 && n < 256;
}

static void on_link(void *ctx, const struct nlmsghdr *h)
{
	rtnl_link_parse(h, ctx);
}

static bool link_look(struct nl *nl, const char *name, struct rtnl_link *l)
{
	const struct nl_answer answer = { .data = on_link, .ctx = l };

	*l = (struct rtnl_link){ 0 };
	rtnl_link_get(nl, name, 0);
	return nl_commit(nl, &answer, NULL) == 0 && l->index > 0;
}

/*
 * Both ends get an index of our choice, so that everything on the host's side is one batch: what follows a pair that
 * could not be made finds no link of that index and does nothing.
 */
static int index_next(void)
{
	enum { FIRST = 100000, COUNT = 900000 };
	static uint32_t next;

	if (!next)
		next = (uint32_t)now_ms();
	return FIRST + (int)(next++ % COUNT);
}

/* Host end: its settings, the gateway's IPv6 address, the pod as a neighbour. */
static void host_settings(struct nl *nl, const struct endpoint *ep, const struct rtnl_veth *v)
{
	rtnl_veth_settings(nl, v);
	if (ep->ips[FAMILY_V6].family) {
		const struct rtnl_addr gateway = { .ifindex = ep->ifindex, .address = { gateways[FAMILY_V6], 64 },
						   .scope = RT_SCOPE_LINK };

		rtnl_addr_put(nl, &gateway);
	}
	for (int f = 0; f < FAMILIES; f++) {
		struct rtnl_neigh pod = { .ifindex = ep->ifindex, .dst = ep->ips[f], .state = NUD_PERMANENT };

		if (!pod.dst.family)
			continue;
		memcpy(pod.mac, ep->mac, sizeof pod.mac);
		rtnl_neigh_put(nl, &pod);
	}
}

/* The pod's end, in one batch on the socket that the plugin opened there. */
static int pod_settings(struct cni_request *r, const struct endpoint *ep, int index, struct err *e)
{
	struct nl *nl = &r->cni->pod_nl;

	rtnl_link_up(nl, index, NULL);
	for (int f = 0; f < FAMILIES; f++) {
		const struct rtnl_addr address = { .ifindex = index, .address = prefix_host(&ep->ips[f]),
						   .scope = RT_SCOPE_UNIVERSE };
		struct rtnl_neigh gateway = { .ifindex = index, .dst = gateways[f], .state = NUD_PERMANENT };
		struct rtnl_route route = { .dst = prefix_host(&gateways[f]), .type = RTN_UNICAST, .oif = index,
					    .protocol = RTPROT_STATIC };

		if (!ep->ips[f].family)
			continue;
		memcpy(gateway.mac, host_mac, sizeof gateway.mac);
		rtnl_addr_put(nl, &address);
		rtnl_neigh_put(nl, &gateway);
		if (f == FAMILY_V4)
			rtnl_route_replace(nl, &route);	/* 169.254.1.1 itself; fe80::/64 is on every link */
		route.dst = (struct prefix){ .addr = { .family = family_of(f) } };
		route.gateway = gateways[f];
		rtnl_route_replace(nl, &route);
	}
	return nl_commit(nl, NULL, e);
}

/* A pod must not talk the host into routes: no router advertisements are taken from its link. */
static void refuse_advertisements(const char *host_if)
{
	char path[96];

	snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/accept_ra", host_if);
	fs_sysctl(path, "0");
}

/* Has this very sandbox another interface of ours?  Both would have the one name on the host. */
static bool is_of_this_pod(const struct cni_request *r, const char *host_if)
{
	const struct endpoint *ep;

	table_each(&r->cni->model->endpoints, ep)
		if (strcmp(ep->host_if, host_if) == 0 && strcmp(ep->container, r->container) == 0 &&
		    strcmp(ep->ifname, r->ifname) != 0)
			return true;
	return false;
}

/*
 * The pair could not be made for something that exists: the pod's interface, the host end's name, or an index.
 * True: it is worth another try, since a link of ours that no live pod has is gone now, or the index is another.
 */
static bool make_room(struct cni_request *r, const char *host_if, int *code, struct err *e)
{
	struct rtnl_link l;

	if (link_look(&r->cni->pod_nl, r->ifname, &l)) {
		*code = CNI_ENVIRONMENT;
		err_set(e, EEXIST, "CNI_IFNAME %s: exists in the pod already and is not ours", r->ifname);
		return false;
	}
	if (!link_look(&r->cni->nl, host_if, &l))
		return true;
	if (strcmp(l.kind, "veth") != 0 || !str_prefix(l.alias, "manx ")) {
		*code = CNI_CONFIG;
		err_set(e, EEXIST, "%s: a link of that name exists and is not ours", host_if);
		return false;
	}
	if (is_of_this_pod(r, host_if)) {
		*code = CNI_ENVIRONMENT;
		err_set(e, EEXIST, "CNI_IFNAME %s: this pod is attached by another interface already", r->ifname);
		return false;
	}
	log_info("cni", "%s: replacing the link of an earlier sandbox", host_if);
	rtnl_link_del(&r->cni->nl, l.index, NULL);
	nl_commit(&r->cni->nl, NULL, NULL);
	return true;
}

struct pair { bool made; };	/* did the first message, which makes it, succeed? */

static void on_made(void *ctx, unsigned position, int rc, const char *text)
{
	struct pair *p = ctx;
	(void)text;

	p->made |= position == 0 && rc == 0;
}

static int pair_put(struct cni_request *r, struct endpoint *ep, struct rtnl_veth *v, struct err *e)
{
	struct pair pair = { 0 };
	const struct nl_answer answer = { .done = on_made, .ctx = &pair };
	int rc;

	ep->ifindex = v->index = index_next();
	rtnl_veth_put(&r->cni->nl, v);
	host_settings(&r->cni->nl, ep, v);
	rc = nl_commit(&r->cni->nl, &answer, e);
	if (rc < 0 && pair.made)
		reaper_take(r->cni->reaper, ep->ifindex);
	return rc;
}

static int pair_make(struct cni_request *r, struct endpoint *ep, int *code, struct err *e)
{
	char alias[256];
	struct rtnl_veth v = { .host = ep->host_if, .peer = r->ifname, .alias = alias, .netns_fd = r->netns_fd,
			       .mtu = model_pod_mtu(r->cni->model) };
	int rc;

	if (!link_alias(alias, r->network, r->container, r->ifname)) {
		*code = CNI_ENVIRONMENT;
		return err_set(e, ENAMETOOLONG, "network %s and container id %s are too long together", r->network, r->container);
	}
	memcpy(v.host_mac, host_mac, sizeof v.host_mac);
	memcpy(v.peer_mac, ep->mac, sizeof v.peer_mac);
	*code = CNI_IO;
	rc = pair_put(r, ep, &v, e);
	for (int tries = 0; (rc == -EEXIST || rc == -EBUSY) && tries < PAIR_TRIES && make_room(r, ep->host_if, code, e); tries++) {
		*e = (struct err){ 0 };
		rc = pair_put(r, ep, &v, e);
	}
	if (rc == -EOPNOTSUPP)
		*code = CNI_KERNEL;
	return rc;
}

/*
 * The host end came up without a carrier, so its queue drops packets until the kernel's link watch, which is
 * asynchronous, has seen the pod's end come up.  Asking for the link makes newer kernels look at once.
 */
static void await_carrier(struct cni_request *r, const char *host_if)
{
	const struct timespec pause = { .tv_nsec = CARRIER_PAUSE_US * 1000 };
	struct rtnl_link l;

	for (unsigned i = 0; i < CARRIER_TRIES; i++) {
		if (!link_look(&r->cni->nl, host_if, &l) || l.flags & IFF_RUNNING)
			return;
		nanosleep(&pause, NULL);
	}
	log_warn("cni", "%s: no carrier yet, first packets may be lost", host_if);
}

/* The pod already has our link (an ADD that is repeated): then it is only brought up to date. */
static bool link_is_there(struct cni_request *r, const struct endpoint *ep, struct rtnl_link *host)
{
	struct rtnl_link pod;

	return link_look(&r->cni->nl, ep->host_if, host) && link_look(&r->cni->pod_nl, r->ifname, &pod) &&
	       host->peer == pod.index && pod.peer == host->index;
}

static int make(struct cni_request *r, struct endpoint *ep, int *code, struct err *e)
{
	struct rtnl_link host;
	const bool there = r->repeated && link_is_there(r, ep, &host);
	int pod_index, rc;

	if (there) {
		ep->ifindex = host.index;
		pod_index = host.peer;
	} else {
		if ((rc = pair_make(r, ep, code, e)) < 0)
			return rc;
		pod_index = ep->ifindex;
		refuse_advertisements(ep->host_if);
	}
	*code = CNI_IO;
	if ((rc = pod_settings(r, ep, pod_index, e)) < 0) {
		if (!there)
			reaper_take(r->cni->reaper, ep->ifindex);
		return rc;
	}
	await_carrier(r, ep->host_if);
	return 0;
}

int link_make(struct cni_request *r, struct endpoint *ep, int *code, struct err *e)
{
	struct nl *pod = &r->cni->pod_nl;
	int rc = nl_adopt(pod, r->pod_fd);

	if (rc < 0) {
		*code = CNI_NETNS;
		return err_set(e, -rc, "the pod's rtnetlink socket: %s", strerror(-rc));
	}
	rc = make(r, ep, code, e);
	pod->fd = -1;
	return rc;
}
