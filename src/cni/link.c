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

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "cni/cni_int.h"

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

/* Both ends, and the indexes that the kernel gave them. */
static int pair_put(struct cni_request *r, const struct rtnl_veth *v, struct rtnl_link *host, struct err *e)
{
	struct nl *nl = &r->cni->nl;
	const struct nl_answer answer = { .data = on_link, .ctx = host };
	struct err first = { 0 };
	int rc;

	*host = (struct rtnl_link){ 0 };
	rtnl_veth_put(nl, v);
	rtnl_link_get(nl, v->host, 0);
	rc = nl_commit(nl, &answer, &first);
	if (rc < 0)
		*e = first;
	return rc;
}

/*
 * Host end: its own settings, the gateway's IPv6 address, the pod as a neighbour.  Before the pod's end is up, so
 * that no automatic address gets in first.
 */
static int host_settings(struct cni_request *r, const struct endpoint *ep, struct err *e)
{
	struct nl *nl = &r->cni->nl;
	char alias[256];
	const struct rtnl_veth v = { .host = ep->host_if, .alias = alias };

	link_alias(alias, r->network, r->container, r->ifname);
	rtnl_veth_settings(nl, &v);
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
	return nl_commit(nl, NULL, e);
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

/* EEXIST has two causes.  True: the host end's name was in use by a link of ours that no live pod has; it is gone now. */
static bool make_room(struct cni_request *r, const char *host_if, int *code, struct err *e)
{
	struct rtnl_link l;

	if (link_look(&r->cni->pod_nl, r->ifname, &l)) {
		*code = CNI_ENVIRONMENT;
		err_set(e, EEXIST, "CNI_IFNAME %s: exists in the pod already and is not ours", r->ifname);
		return false;
	}
	if (!link_look(&r->cni->nl, host_if, &l) || strcmp(l.kind, "veth") != 0) {
		*code = CNI_CONFIG;
		err_set(e, EEXIST, "%s: a link of that name exists and is not ours", host_if);
		return false;
	}
	log_info("cni", "%s: replacing the link of an earlier sandbox", host_if);
	rtnl_link_del(&r->cni->nl, l.index, NULL);
	nl_commit(&r->cni->nl, NULL, NULL);
	return true;
}

static int pair_make(struct cni_request *r, const struct endpoint *ep, struct rtnl_link *host, int *code, struct err *e)
{
	char alias[256];
	struct rtnl_veth v = { .host = ep->host_if, .peer = r->ifname, .netns_fd = r->netns_fd,
			       .mtu = model_pod_mtu(r->cni->model) };
	int rc;

	if (!link_alias(alias, r->network, r->container, r->ifname)) {
		*code = CNI_ENVIRONMENT;
		return err_set(e, ENAMETOOLONG, "network %s and container id %s are too long together", r->network, r->container);
	}
	memcpy(v.host_mac, host_mac, sizeof v.host_mac);
	memcpy(v.peer_mac, ep->mac, sizeof v.peer_mac);
	*code = CNI_IO;
	rc = pair_put(r, &v, host, e);
	if (rc == -EEXIST && make_room(r, ep->host_if, code, e)) {
		*e = (struct err){ 0 };
		rc = pair_put(r, &v, host, e);
	}
	if (rc == -EOPNOTSUPP)
		*code = CNI_KERNEL;
	return rc;
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
	const bool again = table_find(&r->cni->model->endpoints, r->key);
	struct rtnl_link host;
	int rc;

	if (!again || !link_is_there(r, ep, &host)) {
		if ((rc = pair_make(r, ep, &host, code, e)) < 0)
			return rc;
		refuse_advertisements(ep->host_if);
	}
	*code = CNI_IO;
	ep->ifindex = host.index;
	if ((rc = host_settings(r, ep, e)) < 0 || (rc = pod_settings(r, ep, host.peer, e)) < 0)
		goto undo;
	return 0;
undo:
	reaper_take(r->cni->reaper, ep->ifindex);
	return rc;
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
