/*
 * The mirror: what the kernel has of what concerns us.
 *
 * It is filled by a dump and kept by events.  What our own command socket
 * changed is entered when it was acknowledged, so its events are skipped; if an
 * older event of somebody else's is read after that, the mirror is wrong for a
 * moment, the pass acts on it, and the kernel's answer (EEXIST, ESRCH) puts it right.
 *
 * The kernel removes routes without a word when their link goes down or loses
 * its last IPv4 address.  The first is mirrored here, the second asks for a dump.
 */
#include "route/route_int.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include "base/log.h"
#include "base/util.h"

bool route_is_ours(const struct rtnl_route *have)
{
	return have->protocol == RTPROT_MANX_POD || have->protocol == RTPROT_MANX_CLUSTER;
}

/* ---- routes ---- */

static bool in_pool(const struct route *r, const struct prefix *p)
{
	for (unsigned i = 0; i < r->pool_count; i++)
		if (prefix_covers(&r->pools[i].cidr, p))
			return true;
	return false;
}

/* A tunnel address brings a route of the kernel's own, which is no one's claim. */
static bool is_own_address(const struct route *r, const struct rtnl_route *have)
{
	return have->protocol == RTPROT_KERNEL && device_of(r, have->oif);
}

/* The object that have stands at, if it concerns us: ours, in a pool, or where we want something. */
static struct object *route_object(struct route *r, const struct rtnl_route *have)
{
	struct object_key k = key_route(&have->dst);

	if (is_own_address(r, have))
		return NULL;
	if (route_is_ours(have) || in_pool(r, &have->dst))
		return object_get(r, &k);
	return object_find(r, &k);
}

static struct kernel_route *route_find(const struct object *o, const struct rtnl_route *have)
{
	struct kernel_route *k = o->routes;

	while (k && !rtnl_route_equal(&k->route, have))
		k = k->next;
	return k;
}

/* Takes away what stands at the same metric, or (like) only what equals it. */
static void routes_drop(struct route *r, struct object *o, const struct rtnl_route *have, bool like)
{
	for (struct kernel_route *k = o->routes, *next; k; k = next) {
		next = k->next;
		if (like ? rtnl_route_equal(&k->route, have) : k->route.metric == have->metric)
			object_route_del(r, o, k);
	}
}

static bool has_multipath(const struct object *o)
{
	for (const struct kernel_route *k = o->routes; k; k = k->next)
		if (k->route.multipath)
			return true;
	return false;
}

/*
 * IPv6 makes one route of several next hops out of routes that were added one
 * by one, and takes them apart again: events tell the whole on the way up, and a
 * part of it on the way down.
 */
static void multipath_event(struct route *r, struct object *o, const struct rtnl_route *have, bool deleted)
{
	if (have->dst.addr.family != AF_INET6)
		return;
	if (have->multipath && !deleted)
		routes_drop(r, o, have, false);
	else if (deleted && has_multipath(o))
		r->lost = true;
}

static void on_route_event(struct route *r, const struct nlmsghdr *h)
{
	bool own = h->nlmsg_pid == r->command.port;
	struct kernel_route *k;
	struct rtnl_route have;
	struct object *o;

	if (!rtnl_route_parse(h, &have) || !(o = route_object(r, &have)))
		return;
	if (own) {		/* tells only through which link the kernel goes to a gateway */
		k = h->nlmsg_type == RTM_NEWROUTE ? route_find(o, &have) : NULL;
		if (k && !k->route.oif)
			object_route_oif(r, k, have.oif);
		return;
	}
	object_mark(r, o);
	multipath_event(r, o, &have, h->nlmsg_type == RTM_DELROUTE);
	if (h->nlmsg_type == RTM_DELROUTE) {
		routes_drop(r, o, &have, true);
		return;
	}
	if (h->nlmsg_flags & NLM_F_REPLACE)
		routes_drop(r, o, &have, false);
	if (!route_find(o, &have))
		object_route_add(r, o, &have);
}

static void on_route_dumped(void *ctx, const struct nlmsghdr *h)
{
	struct route *r = ctx;
	struct kernel_route *k;
	struct rtnl_route have;
	struct object *o;

	if (!rtnl_route_parse(h, &have) || !(o = route_object(r, &have)))
		return;
	k = route_find(o, &have);
	if (!k) {
		object_route_add(r, o, &have);
		object_mark(r, o);
		return;
	}
	k->seen = r->generation;
	if (!k->route.oif)
		object_route_oif(r, k, have.oif);
}

static void routes_sweep(struct route *r, uint8_t family)
{
	hash_each(&r->objects, n) {
		struct object *o = container_of(n, struct object, node);

		if (o->key.kind != OBJECT_ROUTE || o->key.dst.addr.family != family)
			continue;
		for (struct kernel_route *k = o->routes, *next; k; k = next) {
			next = k->next;
			if (k->seen == r->generation)
				continue;
			object_route_del(r, o, k);
			object_mark(r, o);
		}
	}
}

static void routes_of_link_drop(struct route *r, int index)
{
	hash_each(&r->objects, n) {
		struct object *o = container_of(n, struct object, node);

		for (struct kernel_route *k = o->routes, *next; k; k = next) {
			next = k->next;
			if (k->route.oif != index)
				continue;
			object_route_del(r, o, k);
			object_mark(r, o);
		}
	}
}

/* ---- links ---- */

/* kube-proxy's IPVS mode takes Services' packets past the chains that judge them. */
static void ipvs_seen(struct route *r, int index)
{
	struct model *m = r->model;

	if (m->ipvs_link == index)
		return;
	m->ipvs_link = index;
	if (!index) {
		model_problem_clear(m, "route", "ipvs");
		return;
	}
	log_err("route", "link kube-ipvs0: kube-proxy's IPVS mode is not supported");
	model_problem(m, "route", "ipvs", "run kube-proxy in nftables or iptables mode and delete the link kube-ipvs0",
		      "kube-proxy's IPVS mode is not supported, and the link kube-ipvs0 is there");
}

void have_link_gone(struct route *r, int index)
{
	struct link *l = link_get(r, index);
	enum tunnel t = device_of(r, index);

	if (index == r->model->ipvs_link)
		ipvs_seen(r, 0);

	l->known = false;
	if (l->routes)
		routes_of_link_drop(r, index);	/* releases it with the last one */
	else
		link_release(r, l);
	if (t)
		device_seen(r, t, NULL);
}

static void link_update(struct route *r, const struct rtnl_link *now)
{
	struct link *l = link_get(r, now->index);
	bool was_up = l->known && l->flags & IFF_UP, is_up = now->flags & IFF_UP;
	enum tunnel was = device_of(r, now->index), is = device_like(r, now);

	if (l->known && was_up && !is_up && l->routes) {
		l->routes++;		/* keeps it while its routes go */
		routes_of_link_drop(r, now->index);
		l->routes--;
	}
	l->known = true;
	l->flags = now->flags;
	l->seen = r->generation;
	str_copy(l->name, sizeof l->name, now->name);
	if (strcmp(l->name, "kube-ipvs0") == 0)
		ipvs_seen(r, now->index);
	else if (r->model->ipvs_link == now->index)
		ipvs_seen(r, 0);
	if (was && was != is)
		device_seen(r, was, NULL);	/* somebody else's has another name now */
	if (is)
		device_seen(r, is, now);
	if (is_up && !was_up)
		troubled_mark(r, now->index);
}

void have_link(struct route *r, const struct nlmsghdr *h)
{
	struct rtnl_link l;

	if (!rtnl_link_parse(h, &l))
		return;
	if (h->nlmsg_type == RTM_DELLINK)
		have_link_gone(r, l.index);
	else
		link_update(r, &l);
}

static void on_link_dumped(void *ctx, const struct nlmsghdr *h)
{
	have_link(ctx, h);
}

static void links_sweep(struct route *r)
{
	hash_each(&r->links, n) {
		struct link *l = container_of(n, struct link, node);

		if (l->known && l->seen != r->generation)
			have_link_gone(r, l->index);
	}
}

/* ---- addresses, neighbours and forwarding entries of the tunnel devices ---- */

static void present_set(struct route *r, const struct object_key *k, bool present, const struct spec *have)
{
	struct object *o = present ? object_get(r, k) : object_find(r, k);

	if (!o)
		return;
	o->seen = r->generation;
	if (o->present == present && (!present || spec_equal(&o->have, have)))
		return;
	o->present = present;
	if (present)
		o->have = *have;
	object_mark(r, o);
}

/* Taken over, and the last pool has gone: what is on it may be what we put there. */
static bool is_forsaken(const struct route *r, enum tunnel t)
{
	const struct device *d = &r->devices[t];

	return r->model->complete && !r->model->pools.count && strcmp(d->have.alias, d->want.alias) == 0;
}

/*
 * Only a host prefix of the device's own family can be a tunnel address; on a device that we share with
 * the kernel, only one of a pool.
 */
static bool is_tunnel_address(const struct route *r, const struct rtnl_addr *a, enum tunnel t)
{
	const struct addr *address = &a->address.addr;
	struct object_key k = key_addr(t, &a->address);

	if (address->family != family_of(tunnel_kinds[t].family) || a->address.len != addr_bits(address) ||
	    addr_is_link_local(address))
		return false;
	return !tunnel_kinds[t].fallback || in_pool(r, &a->address) || object_find(r, &k) || is_forsaken(r, t);
}

static void on_addr(struct route *r, const struct nlmsghdr *h)
{
	struct rtnl_addr a;
	struct object_key k;
	const struct link *l;
	enum tunnel t;

	if (!rtnl_addr_parse(h, &a))
		return;
	t = device_of(r, a.ifindex);
	if (t && is_tunnel_address(r, &a, t)) {
		k = key_addr(t, &a.address);
		present_set(r, &k, h->nlmsg_type == RTM_NEWADDR, &(struct spec){ 0 });
	}
	l = link_find(r, a.ifindex);
	if (h->nlmsg_type == RTM_NEWADDR && !addr_is_link_local(&a.address.addr))
		troubled_mark(r, 0);
	if (h->nlmsg_type == RTM_DELADDR && a.address.addr.family == AF_INET && l && l->routes)
		r->lost = true;		/* with the last address, all its routes go unsaid */
}

static void on_neigh(struct route *r, const struct nlmsghdr *h)
{
	struct spec have = { 0 };
	struct object_key k;
	struct rtnl_neigh e;
	enum tunnel t;

	if (!rtnl_neigh_parse(h, &e) || !tunnel_kinds[t = device_of(r, e.ifindex)].by_address)
		return;
	if (e.fdb) {
		k = key_fdb(t, e.mac);
		have.via = e.dst;
	} else {
		k = key_neigh(t, &e.dst);
		memcpy(have.mac, e.mac, sizeof have.mac);
	}
	present_set(r, &k, h->nlmsg_type == RTM_NEWNEIGH && e.state & NUD_PERMANENT, &have);
}

static void on_device_dumped(void *ctx, const struct nlmsghdr *h)
{
	struct route *r = ctx;
	struct rtnl_addr a;

	if (h->nlmsg_type == RTM_NEWNEIGH)
		on_neigh(r, h);
	else if (rtnl_addr_parse(h, &a) && device_of(r, a.ifindex))
		on_addr(r, h);
}

static void device_sweep(struct route *r, enum tunnel t, enum object_kind kind)
{
	hash_each(&r->objects, n) {
		struct object *o = container_of(n, struct object, node);

		if (o->key.kind != kind || o->key.device != t || !o->present || o->seen == r->generation)
			continue;
		o->present = false;
		object_mark(r, o);
	}
}

/* ---- dumps ---- */

static void on_restart(void *ctx)
{
	struct route *r = ctx;

	r->generation++;
}

/* True when the dump was whole, so that what it did not show is gone. */
static bool dump(struct route *r, void (*each)(void *ctx, const struct nlmsghdr *h))
{
	struct err e = { 0 };
	int rc = nl_dump(&r->command, on_restart, each, r, &e);

	if (rc == 0 || rtnl_has_none(rc))
		return true;
	if (!r->torn)
		log_warn("route", "%s", e.text);
	r->torn = true;
	return false;
}

void have_dump_routes(struct route *r)
{
	for (int f = 0; f < FAMILIES; f++) {
		rtnl_route_dump_request(&r->command, family_of(f));
		if (dump(r, on_route_dumped))
			routes_sweep(r, family_of(f));
	}
}

static void device_dump(struct route *r, enum tunnel t)
{
	int index = r->devices[t].have.index, f = tunnel_kinds[t].family;

	if (!index)
		return;
	rtnl_addr_dump_request(&r->command, family_of(f));
	if (dump(r, on_device_dumped))
		device_sweep(r, t, OBJECT_ADDR);
	if (!tunnel_kinds[t].by_address)
		return;
	rtnl_neigh_dump_request(&r->command, family_of(f), index);
	if (dump(r, on_device_dumped))
		device_sweep(r, t, OBJECT_NEIGH);
	rtnl_neigh_dump_request(&r->command, AF_BRIDGE, index);
	if (dump(r, on_device_dumped))
		device_sweep(r, t, OBJECT_FDB);
}

void have_dump(struct route *r)
{
	r->torn = false;
	rtnl_link_dump_request(&r->command);
	if (dump(r, on_link_dumped))
		links_sweep(r);
	tunnel_each(t)
		device_dump(r, t);
	have_dump_routes(r);
	r->lost = false;
}

/* ---- events ---- */

static void on_event(void *ctx, const struct nlmsghdr *h)
{
	struct route *r = ctx;
	bool own = h->nlmsg_pid == r->command.port;

	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		have_link(r, h);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		on_route_event(r, h);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		if (!own)
			on_addr(r, h);
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		if (!own)
			on_neigh(r, h);
		break;
	}
}

static void on_readable(struct watch *w, uint32_t events)
{
	struct route *r = container_of(w, struct route, watch);
	int rc;

	(void)events;
	rc = nl_events(&r->events, 0, on_event, r);
	if (rc == -ENOBUFS)
		log_info("route", "kernel events were lost: reading everything again");
	else if (rc < 0)
		log_warn("route", "event socket: %s", strerror(-rc));
	if (rc < 0)
		r->lost = true;
}

int have_open(struct route *r, struct err *e)
{
	static const unsigned groups[] = { RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
					   RTNLGRP_IPV6_ROUTE, RTNLGRP_NEIGH, 0 };
	int rc = nl_open(&r->command, NETLINK_ROUTE, NULL);

	if (rc)
		return err_set(e, -rc, "netlink socket: %s", strerror(-rc));
	rc = nl_open(&r->events, NETLINK_ROUTE, groups);
	if (rc)
		return err_set(e, -rc, "netlink event socket: %s", strerror(-rc));
	rtnl_neigh_filter(&r->events, 0, 0);
	r->watch = (struct watch){ .fd = r->events.fd, .fn = on_readable };
	rc = watch_add(r->loop, &r->watch, EPOLLIN);
	return rc ? err_set(e, -rc, "netlink event socket: %s", strerror(-rc)) : 0;
}

void have_close(struct route *r)
{
	if (r->watch.on)
		watch_del(r->loop, &r->watch);
	nl_close(&r->events);
	nl_close(&r->command);
}
