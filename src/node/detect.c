/*
 * The node's address, per family, as node_address says:
 *
 *   auto             source of the default route, whether or not its gateway answers;
 *                    else the first global address on a link that Calico's
 *                    first-found rule would not skip
 *   ADDRESS/LEN      as given
 *   interface NAME   first global address of that link
 *   cidr PREFIX      first address inside PREFIX
 *   reach ADDRESS    source that the kernel would use towards ADDRESS
 *
 * A form that speaks of one family only (cidr, reach) gives the other one from
 * the same link.  Link-local addresses are never chosen.
 */
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/str.h"
#include "base/util.h"
#include "node/node_int.h"

enum { LINKS_MAX = 512, ADDRS_MAX = 512 };	/* pods' links do not count; what a node has beyond that is not seen */

/* One look at the kernel. */
struct view {
	struct { int index; unsigned mtu; char name[IFNAMSIZ]; } links[LINKS_MAX];
	unsigned link_count;
	struct rtnl_addr addrs[ADDRS_MAX];
	unsigned addr_count, addr_first;	/* addr_first: of the family being read */
	struct rtnl_route best[FAMILIES];	/* default route of the lowest metric; type 0: none */
	int family;				/* being read */
};

/* How names of links begin that belong to containers and overlays, never to the underlay (Calico's list). */
static const char *const skipped[] = {
	"docker", "cbr", "dummy", "podman", "virbr", "lxcbr", "veth", "lo", "br-", "cali", "tunl", "flannel",
	"kube-ipvs", "cni", "vxlan.calico", "vxlan-v6.calico", "wireguard.cali", "wg-v6.cali", "nodelocaldns",
};

static bool is_skipped(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(skipped); i++)
		if (str_prefix(name, skipped[i]))
			return true;
	return false;
}

static void links_restart(void *ctx)
{
	((struct view *)ctx)->link_count = 0;
}

static void on_link(void *ctx, const struct nlmsghdr *h)
{
	struct view *v = ctx;
	struct rtnl_link l;

	if (v->link_count == LINKS_MAX || !rtnl_link_parse(h, &l) || str_prefix(l.name, "cali"))
		return;
	v->links[v->link_count].index = l.index;
	v->links[v->link_count].mtu = l.mtu;
	str_copy(v->links[v->link_count++].name, IFNAMSIZ, l.name);
}

static void addrs_restart(void *ctx)
{
	struct view *v = ctx;

	v->addr_count = v->addr_first;
}

static void on_addr(void *ctx, const struct nlmsghdr *h)
{
	struct view *v = ctx;
	struct rtnl_addr a;
	uint32_t unusable = IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_TEMPORARY;

	if (v->addr_count == ADDRS_MAX || !rtnl_addr_parse(h, &a) || a.scope != RT_SCOPE_UNIVERSE)
		return;
	if (a.address.addr.family == AF_INET)
		unusable &= ~IFA_F_TEMPORARY;	/* of IPv4 the same bit says only that it is not its subnet's first */
	if ((a.flags & unusable) ||
	    addr_is_link_local(&a.address.addr) || addr_is_loopback(&a.address.addr))
		return;
	v->addrs[v->addr_count++] = a;
}

static void routes_restart(void *ctx)
{
	struct view *v = ctx;

	v->best[v->family].type = 0;
}

static void on_route(void *ctx, const struct nlmsghdr *h)
{
	struct view *v = ctx;
	struct rtnl_route r, *best;

	if (!rtnl_route_parse(h, &r) || r.dst.len != 0 || r.type != RTN_UNICAST)
		return;
	best = &v->best[family_index(r.dst.addr.family)];
	if (!best->type || r.metric < best->metric)
		*best = r;
}

static int look(struct node_agent *n, struct view *v, struct err *e)
{
	int rc;

	rtnl_link_dump_request(&n->cmd);
	rc = nl_dump(&n->cmd, links_restart, on_link, v, e);
	for (v->family = 0; v->family < FAMILIES && rc == 0; v->family++) {
		v->addr_first = v->addr_count;
		rtnl_addr_dump_request(&n->cmd, family_of(v->family));
		rc = nl_dump(&n->cmd, addrs_restart, on_addr, v, e);
		if (rc < 0 && !rtnl_has_none(rc))
			break;
		rtnl_route_dump_request(&n->cmd, family_of(v->family));
		rc = nl_dump(&n->cmd, routes_restart, on_route, v, e);
		rc = rtnl_has_none(rc) ? 0 : rc;
	}
	return rc;
}

static const char *link_name(const struct view *v, int index)
{
	for (unsigned i = 0; i < v->link_count; i++)
		if (v->links[i].index == index)
			return v->links[i].name;
	return "";
}

static unsigned link_mtu(const struct view *v, int index)
{
	for (unsigned i = 0; i < v->link_count; i++)
		if (v->links[i].index == index)
			return v->links[i].mtu;
	return 0;
}

/* First address of that family on link index (0: any that is not skipped) inside `in` (NULL: anywhere). */
static const struct rtnl_addr *pick(const struct view *v, int family, int index, const struct prefix *in)
{
	for (unsigned i = 0; i < v->addr_count; i++) {
		const struct rtnl_addr *a = &v->addrs[i];

		if (a->address.addr.family != family_of(family) || (index && a->ifindex != index))
			continue;
		if (!index && !in && is_skipped(link_name(v, a->ifindex)))
			continue;
		if (!in || prefix_has(in, &a->address.addr))
			return a;
	}
	return NULL;
}

static const struct rtnl_addr *by_address(const struct view *v, const struct addr *a)
{
	for (unsigned i = 0; i < v->addr_count; i++)
		if (addr_equal(&v->addrs[i].address.addr, a))
			return &v->addrs[i];
	return NULL;
}

/* What the kernel would use as source towards dst. */
static const struct rtnl_addr *towards(struct node_agent *n, const struct view *v, const struct addr *dst)
{
	struct rtnl_route found;

	return rtnl_route_get(&n->cmd, dst, &found) == 0 ? by_address(v, &found.source) : NULL;
}

static const struct rtnl_addr *of_default_route(struct node_agent *n, const struct view *v, int family)
{
	const struct rtnl_route *r = &v->best[family];
	const struct rtnl_addr *a = NULL;

	if (!r->type)
		return NULL;
	if (r->source.family)
		a = by_address(v, &r->source);
	if (!a && r->gateway.family == family_of(family) && !addr_is_link_local(&r->gateway))
		a = towards(n, v, &r->gateway);
	return a ? a : pick(v, family, r->oif, NULL);
}

static int index_of(const struct view *v, const char *name)
{
	for (unsigned i = 0; i < v->link_count; i++)
		if (strcmp(v->links[i].name, name) == 0)
			return v->links[i].index;
	return -1;
}

static const struct rtnl_addr *choose(struct node_agent *n, const struct view *v, int family)
{
	const struct node_address *want = &n->model->config->node_address;
	const struct prefix *given = &want->given[0];
	const struct rtnl_addr *a = NULL;

	switch (want->how) {
	case ADDRESS_AUTO:
		a = of_default_route(n, v, family);
		return a ? a : pick(v, family, 0, NULL);
	case ADDRESS_GIVEN:
		return by_address(v, &want->given[family].addr);
	case ADDRESS_INTERFACE:
		return pick(v, family, index_of(v, want->interface), NULL);
	case ADDRESS_CIDR:
		a = pick(v, family_index(given->addr.family), 0, given);
		break;
	case ADDRESS_REACH:
		a = towards(n, v, &given->addr);
		break;
	}
	if (a && a->address.addr.family != family_of(family))
		a = pick(v, family, a->ifindex, NULL);
	return a;
}

static void uplink_put(struct node_agent *n, const struct uplink *up)
{
	struct uplink *row = row_new(sizeof *row);
	struct row fresh = row->row;
	const struct { struct prefix address[FAMILIES]; int ifindex[FAMILIES]; unsigned mtu[FAMILIES]; } sum = {
		{ up->address[0], up->address[1] }, { up->ifindex[0], up->ifindex[1] }, { up->mtu[0], up->mtu[1] } };

	*row = *up;
	row->row = fresh;
	row->row.key = "self";
	row->row.digest = fnv64a(&sum, sizeof sum);
	if (!table_put(&n->model->uplinks, &row->row))
		return;
	for (int f = 0; f < FAMILIES; f++) {
		if (up->ifindex[f])
			log_info("node", "address %s, mtu %u", prefix_text(&up->address[f]).s, up->mtu[f]);
		else if (up->address[f].addr.family)
			log_warn("node", "address %s, which no link has", prefix_text(&up->address[f]).s);
	}
}

void detect_run(struct node_agent *n)
{
	const struct node_address *want = &n->model->config->node_address;
	autofree struct view *v = xcalloc(1, sizeof *v);
	struct uplink up;
	struct err e = { 0 };
	const struct prefix *absent = NULL;
	bool any = false;

	if (look(n, v, &e) < 0) {
		log_warn("node", "%s", e.text);
		timer_set(n->loop, &n->settle, NODE_RETRY_MS);
		return;
	}
	memset(&up, 0, sizeof up);
	for (int f = 0; f < FAMILIES; f++) {
		const struct rtnl_addr *a = choose(n, v, f);

		if (a) {
			up.address[f] = a->address;
			up.ifindex[f] = a->ifindex;
			up.mtu[f] = link_mtu(v, a->ifindex);
		}
		if (want->how == ADDRESS_GIVEN && want->given[f].addr.family) {
			up.address[f] = want->given[f];	/* the length, too, is as given */
			absent = a ? absent : &want->given[f];
		}
		any |= up.address[f].addr.family != 0;
	}
	if (absent)
		model_problem(n->model, "node", "address", "correct node_address, or give a link this address",
			      "no link of this node has its node_address %s", prefix_text(absent).s);
	else if (any)
		model_problem_clear(n->model, "node", "address");
	else
		model_problem(n->model, "node", "address", "give the node an address or set node_address",
			      "no address found that others could reach this node by");
	uplink_put(n, &up);
}
