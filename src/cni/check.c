/*
 * CHECK: is everything still as ADD made it?  prevResult, both ends of the link,
 * their settings, addresses, neighbours and routes are compared with ends.c's data;
 * the first difference is named.  What others added is theirs, and so are the
 * pod's own sysctls, which plugins after us and the pod itself may set.
 *
 * Nothing is changed.  A few dumps of one link each: it waits for no event.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "base/util.h"
#include "cni/cni_int.h"

/* ---- links ---- */

/* The link of an end by its name: 0, -ESTALE when there is none, -errno. */
static int find_link(struct nl *nl, const struct end *end, bool inside, struct rtnl_link *l, struct err *e)
{
	int rc = link_look(nl, end->name, 0, l, e);

	if (rc == -ENODEV)
		return err_set(e, ESTALE, "link %s is missing%s", end->name, inside ? " in the pod" : "");
	return rc;
}

static int compare_link(const struct end *end, const struct rtnl_link *l, const struct rtnl_link *other, struct err *e)
{
	if (strcmp(l->kind, "veth") != 0 || l->peer != other->index)
		return err_set(e, ESTALE, "link %s is not the other end of %s", end->name, other->name);
	if (!(l->flags & IFF_UP))
		return err_set(e, ESTALE, "link %s is down", end->name);
	if (memcmp(l->mac, end->mac, sizeof l->mac) != 0)
		return err_set(e, ESTALE, "link %s: MAC is %s, not %s", end->name, mac_text(l->mac).s, mac_text(end->mac).s);
	if (end->mtu ? l->mtu != end->mtu : l->mtu != other->mtu)
		return err_set(e, ESTALE, "link %s: MTU is %u, not %u%s", end->name, l->mtu, end->mtu ? end->mtu : other->mtu,
			       end->mtu ? "" : " as that of its other end");
	if (strcmp(l->alias, end->alias) != 0 && *end->alias)
		return err_set(e, ESTALE, "link %s: alias is \"%.60s\", not \"%.100s\"", end->name, l->alias, end->alias);
	return 0;
}

/* Both are there and one pair, as ADD made them; the pod's index is found on the way. */
static int compare_links(struct cni *c, struct end ends[ENDS], struct err *e)
{
	struct rtnl_link host, pod;
	int rc;

	if ((rc = find_link(&c->nl, &ends[HOST_END], false, &host, e)) < 0 ||
	    (rc = find_link(&c->pod_nl, &ends[POD_END], true, &pod, e)) < 0)
		return rc;
	if (host.index != ends[HOST_END].index)
		return err_set(e, ESTALE, "link %s is another than ADD made", host.name);
	ends[POD_END].index = pod.index;
	if ((rc = compare_link(&ends[HOST_END], &host, &pod, e)) < 0 || (rc = compare_link(&ends[POD_END], &pod, &host, e)) < 0)
		return rc;
	return 0;
}

/* ---- what a link carries ---- */

struct look {
	const struct end *end;
	unsigned found;			/* bit i: the i-th of its addresses (neighbours, routes) is there */
};

static void restart(void *ctx)
{
	((struct look *)ctx)->found = 0;
}

static void request_addrs(struct nl *nl, uint8_t family, int index)
{
	struct nlmsghdr *h = nl_begin(nl, RTM_GETADDR, NLM_F_DUMP, "addresses of link number %d", index);
	struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);

	m->ifa_family = family;
	m->ifa_index = (uint32_t)index;
	nl_end(nl, h);
}

static void on_addr(void *ctx, const struct nlmsghdr *h)
{
	struct look *look = ctx;
	struct rtnl_addr a;

	if (!rtnl_addr_parse(h, &a) || a.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED))
		return;
	for (unsigned i = 0; i < look->end->addr_count; i++)
		if (a.ifindex == look->end->index && prefix_equal(&a.address, &look->end->addrs[i].address))
			look->found |= 1u << i;
}

static void on_neigh(void *ctx, const struct nlmsghdr *h)
{
	struct look *look = ctx;
	struct rtnl_neigh n;

	if (!rtnl_neigh_parse(h, &n) || !(n.state & NUD_PERMANENT))
		return;
	for (unsigned i = 0; i < look->end->neigh_count; i++) {
		const struct rtnl_neigh *want = &look->end->neighs[i];

		if (n.ifindex == look->end->index && addr_equal(&n.dst, &want->dst) && memcmp(n.mac, want->mac, sizeof n.mac) == 0)
			look->found |= 1u << i;
	}
}

/* The kernel filters on the host's socket, which asks strictly; on the pod's it sends all, which are few. */
static void request_routes(struct nl *nl, uint8_t family, int index)
{
	struct nlmsghdr *h = nl_begin(nl, RTM_GETROUTE, NLM_F_DUMP, "routes of link number %d", index);
	struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);

	m->rtm_family = family;
	m->rtm_table = RT_TABLE_MAIN;
	mnl_attr_put_u32(h, RTA_OIF, (uint32_t)index);
	nl_end(nl, h);
}

static void on_route(void *ctx, const struct nlmsghdr *h)
{
	struct look *look = ctx;
	struct rtnl_route r;

	if (!rtnl_route_parse_any(h, &r))
		return;
	for (unsigned i = 0; i < look->end->route_count; i++) {
		struct rtnl_route want = look->end->routes[i];

		want.oif = look->end->index;
		if (rtnl_route_equal(&r, &want))
			look->found |= 1u << i;
	}
}

static int addr_missing(const struct end *end, unsigned i, struct err *e)
{
	return err_set(e, ESTALE, "link %s: address %s is missing", end->name, prefix_text(&end->addrs[i].address).s);
}

static int neigh_missing(const struct end *end, unsigned i, struct err *e)
{
	return err_set(e, ESTALE, "link %s: permanent neighbour %s at %s is missing", end->name,
		       addr_text(&end->neighs[i].dst).s, mac_text(end->neighs[i].mac).s);
}

static int route_missing(const struct end *end, unsigned i, struct err *e)
{
	const struct rtnl_route *r = &end->routes[i];

	return err_set(e, ESTALE, "link %s: route %s%s%s is missing or changed", end->name, prefix_text(&r->dst).s,
		       r->gateway.family ? " via " : "", addr_text(&r->gateway).s);
}

static const struct part {
	size_t count;			/* where an end has their number */
	void (*request)(struct nl *nl, uint8_t family, int index);
	void (*each)(void *ctx, const struct nlmsghdr *h);
	int (*missing)(const struct end *end, unsigned i, struct err *e);
} parts[] = {
	{ offsetof(struct end, addr_count), request_addrs, on_addr, addr_missing },
	{ offsetof(struct end, neigh_count), rtnl_neigh_dump_request, on_neigh, neigh_missing },
	{ offsetof(struct end, route_count), request_routes, on_route, route_missing },
};

static int compare_part(struct nl *nl, const struct end *end, const struct part *p, struct err *e)
{
	unsigned count = *(const unsigned *)((const char *)end + p->count), found = 0;

	for (int f = 0; f < FAMILIES && count; f++) {
		struct look look = { .end = end };
		int rc;

		p->request(nl, family_of(f), end->index);
		rc = nl_dump(nl, restart, p->each, &look, e);
		if (rc < 0 && !rtnl_has_none(rc))
			return rc;
		found |= look.found;
	}
	for (unsigned i = 0; i < count; i++)
		if (!(found >> i & 1))
			return p->missing(end, i, e);
	return 0;
}

static int compare_parts(struct nl *nl, const struct end *end, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int rc = compare_part(nl, end, &parts[i], e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- the verb ---- */

static int compare(struct cni *c, const struct endpoint *ep, struct end ends[ENDS], struct err *e)
{
	int rc;

	if ((rc = compare_links(c, ends, e)) < 0 || (rc = end_check_settings(&ends[HOST_END], e)) < 0)
		return rc;
	if (ep->rc < 0)
		return err_set(e, ESTALE, "%s", ep->why);
	if ((rc = compare_parts(&c->nl, &ends[HOST_END], e)) < 0 ||
	    (shape_is_wanted(ep) && (rc = shape_check(c, ep, e)) < 0))
		return rc;
	return compare_parts(&c->pod_nl, &ends[POD_END], e);
}

static int compare_with_pod(struct cni_request *r, const struct endpoint *ep, struct end ends[ENDS], struct err *e)
{
	struct nl *pod = &r->cni->pod_nl;
	int rc = nl_adopt(pod, r->pod_fd);

	if (rc < 0)
		rc = err_set(e, -rc, "the pod's rtnetlink socket: %s", strerror(-rc));
	else
		rc = compare(r->cni, ep, ends, e);
	pod->fd = -1;
	return rc;
}

void check_begin(struct cni_request *r)
{
	const struct endpoint *ep = table_find(&r->cni->model->endpoints, r->key);
	struct end ends[ENDS];
	struct err e = { 0 };
	int rc;

	if (r->pod_fd < 0) {
		request_fail(r, CNI_NETNS, "the plugin passed no socket of the pod's namespace");
		return;
	}
	if (json_type(&r->conf, json_get(&r->conf, 0, "prevResult")) == JSON_NULL) {
		request_fail(r, CNI_CONFIG, "network configuration has no prevResult");
		return;
	}
	if (!ep) {
		request_fail(r, CNI_CHANGED, "container %s has no attachment %s on this node", r->container, r->ifname);
		return;
	}
	ends_of(ends, ep, 0);
	if ((rc = prev_check(&r->conf, &r->mem, ends, &e)) != CNI_OK) {
		request_fail(r, rc, "%s", e.text);
		return;
	}
	rc = compare_with_pod(r, ep, ends, &e);
	if (rc < 0)
		request_fail(r, rc == -ESTALE ? CNI_CHANGED : CNI_IO, "%s", e.text);
	else
		request_result(r, NULL);
}

void check_give_up(struct cni_request *r, const char *why)
{
	if (r->conn)
		request_fail(r, CNI_TRY_LATER, "%s", why);
	else
		request_result(r, NULL);
}
