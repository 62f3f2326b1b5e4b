#include "nl/rtnl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

/*
 * Routes.  Scope: IPv4 wants "link" for a destination without a gateway, and a
 * deletion that says "nowhere" matches any.  A blackhole of IPv6 is shown with a
 * device (lo), which means nothing.
 */

static void put_addr(struct nlmsghdr *h, uint16_t type, const struct addr *a)
{
	if (a->family)
		mnl_attr_put(h, type, addr_bytes(a), a->b);
}

static uint8_t route_scope(uint16_t message, const struct rtnl_route *r)
{
	if (message == RTM_DELROUTE)
		return RT_SCOPE_NOWHERE;
	if (r->dst.addr.family == AF_INET && r->type == RTN_UNICAST && !r->gateway.family)
		return RT_SCOPE_LINK;
	return RT_SCOPE_UNIVERSE;
}

static void request(struct nl *nl, uint16_t message, uint16_t flags, const struct rtnl_route *r)
{
	struct nlmsghdr *h = nl_begin(nl, message, flags, "route %s", prefix_text(&r->dst).s);
	struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);

	m->rtm_family = r->dst.addr.family;
	m->rtm_dst_len = r->dst.len;
	m->rtm_table = r->table ? RT_TABLE_UNSPEC : RT_TABLE_MAIN;
	m->rtm_protocol = r->protocol;
	m->rtm_scope = route_scope(message, r);
	m->rtm_type = r->type;
	put_addr(h, RTA_DST, &r->dst.addr);
	if (r->table)
		mnl_attr_put_u32(h, RTA_TABLE, r->table);
	if (r->metric)
		mnl_attr_put_u32(h, RTA_PRIORITY, r->metric);
	if (message == RTM_NEWROUTE) {
		m->rtm_flags = r->onlink ? RTNH_F_ONLINK : 0;
		put_addr(h, RTA_PREFSRC, &r->source);
	}
	if (!r->multipath) {	/* a deletion that names no next hop takes all of them */
		put_addr(h, RTA_GATEWAY, &r->gateway);
		if (r->oif)
			mnl_attr_put_u32(h, RTA_OIF, (uint32_t)r->oif);
	}
	nl_end(nl, h);
}

void rtnl_route_put(struct nl *nl, const struct rtnl_route *r)
{
	request(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, r);
}

void rtnl_route_replace(struct nl *nl, const struct rtnl_route *r)
{
	request(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, r);
}

void rtnl_route_del(struct nl *nl, const struct rtnl_route *r)
{
	request(nl, RTM_DELROUTE, 0, r);
}

bool rtnl_route_equal(const struct rtnl_route *a, const struct rtnl_route *b)
{
	if (!prefix_equal(&a->dst, &b->dst) || a->type != b->type || a->protocol != b->protocol || a->metric != b->metric ||
	    a->table != b->table)
		return false;
	if (a->type != RTN_UNICAST)
		return true;
	return a->onlink == b->onlink && a->multipath == b->multipath && (a->oif == b->oif || !a->oif || !b->oif) &&
	       addr_equal(&a->gateway, &b->gateway) && addr_equal(&a->source, &b->source);
}

/* The first of several next hops (RTA_MULTIPATH). */
static void multipath_parse(const struct nlattr *nest, uint8_t family, struct rtnl_route *r)
{
	const struct rtnexthop *hop = mnl_attr_get_payload(nest);
	const struct nlattr *tb[RTA_GATEWAY + 1];
	char copy[sizeof(struct nlmsghdr) + sizeof(struct rtnexthop) + 64] __attribute__((aligned(4))) = "";
	struct nlmsghdr *h = (struct nlmsghdr *)copy;
	size_t len = mnl_attr_get_payload_len(nest);

	r->multipath = true;
	if (len < sizeof *hop || hop->rtnh_len < sizeof *hop || hop->rtnh_len > len)
		return;
	r->oif = hop->rtnh_ifindex;
	len = hop->rtnh_len < sizeof copy - sizeof *h ? hop->rtnh_len : sizeof copy - sizeof *h;
	memcpy(copy + sizeof *h, hop, len);
	h->nlmsg_len = sizeof *h + len;
	nl_attrs(h, sizeof *hop, tb, RTA_GATEWAY);
	nl_attr_addr(tb[RTA_GATEWAY], family, &r->gateway);
}

/* A next hop of the other family. */
static void via_parse(const struct nlattr *a, struct rtnl_route *r)
{
	const struct rtvia *via;

	if (!a || mnl_attr_get_payload_len(a) != sizeof *via + 16)
		return;
	via = mnl_attr_get_payload(a);
	r->gateway.family = AF_INET6;
	memcpy(r->gateway.b, via->rtvia_addr, 16);
}

static bool type_is_routable(uint8_t type)
{
	return type == RTN_UNICAST || type == RTN_BLACKHOLE || type == RTN_UNREACHABLE || type == RTN_PROHIBIT ||
	       type == RTN_THROW;
}

static bool header_fits(const struct rtmsg *m)
{
	unsigned bits = m->rtm_family == AF_INET ? 32 : 128;

	return (m->rtm_family == AF_INET || m->rtm_family == AF_INET6) && m->rtm_dst_len <= bits && !m->rtm_src_len &&
	       !m->rtm_tos && !(m->rtm_flags & RTM_F_CLONED) && type_is_routable(m->rtm_type);
}

bool rtnl_route_parse_any(const struct nlmsghdr *h, struct rtnl_route *r)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[RTA_VIA + 1];
	uint32_t table, oif = 0;

	if ((h->nlmsg_type != RTM_NEWROUTE && h->nlmsg_type != RTM_DELROUTE) ||
	    !nl_attrs(h, sizeof *m, tb, RTA_VIA) || !header_fits(m))
		return false;
	table = m->rtm_table;
	nl_attr_u32(tb[RTA_TABLE], &table);
	*r = (struct rtnl_route){ .type = m->rtm_type, .protocol = m->rtm_protocol, .onlink = m->rtm_flags & RTNH_F_ONLINK,
				  .table = table == RT_TABLE_MAIN ? 0 : table };
	r->dst = (struct prefix){ .addr.family = m->rtm_family, .len = m->rtm_dst_len };
	if (!nl_attr_addr(tb[RTA_DST], m->rtm_family, &r->dst.addr) && m->rtm_dst_len)
		return false;
	nl_attr_u32(tb[RTA_PRIORITY], &r->metric);
	nl_attr_addr(tb[RTA_PREFSRC], m->rtm_family, &r->source);
	if (r->type != RTN_UNICAST)
		return true;
	nl_attr_u32(tb[RTA_OIF], &oif);
	r->oif = (int)oif;
	nl_attr_addr(tb[RTA_GATEWAY], m->rtm_family, &r->gateway);
	via_parse(tb[RTA_VIA], r);
	if (tb[RTA_MULTIPATH])
		multipath_parse(tb[RTA_MULTIPATH], m->rtm_family, r);
	return true;
}

bool rtnl_route_parse(const struct nlmsghdr *h, struct rtnl_route *r)
{
	return rtnl_route_parse_any(h, r) && !r->table;
}

void rtnl_rule_put(struct nl *nl, const struct addr *source, uint32_t table)
{
	struct nlmsghdr *h = nl_begin(nl, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, "rule from %s", addr_text(source).s);
	struct fib_rule_hdr *m = mnl_nlmsg_put_extra_header(h, sizeof *m);

	m->family = source->family;
	m->src_len = (uint8_t)addr_bits(source);
	m->action = FR_ACT_TO_TBL;
	put_addr(h, FRA_SRC, source);
	mnl_attr_put_u32(h, FRA_TABLE, table);
	nl_end(nl, h);
}

void rtnl_route_dump_request(struct nl *nl, uint8_t family)
{
	struct nlmsghdr *h = nl_begin(nl, RTM_GETROUTE, NLM_F_DUMP, "dump of IPv%c routes", family == AF_INET ? '4' : '6');
	struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);

	m->rtm_family = family;
	m->rtm_table = RT_TABLE_MAIN;
	nl_end(nl, h);
}

bool rtnl_has_none(int rc)
{
	return rc == -ENOENT || rc == -EOPNOTSUPP || rc == -EAFNOSUPPORT;
}

static void on_route_found(void *ctx, const struct nlmsghdr *h)
{
	struct rtnl_route *r = ctx;
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[RTA_PREFSRC + 1];

	if (h->nlmsg_type != RTM_NEWROUTE || !nl_attrs(h, sizeof *m, tb, RTA_PREFSRC))
		return;
	r->type = m->rtm_type;
	nl_attr_addr(tb[RTA_PREFSRC], m->rtm_family, &r->source);
}

int rtnl_route_get(struct nl *nl, const struct addr *dst, struct rtnl_route *r)
{
	struct nlmsghdr *h = nl_begin(nl, RTM_GETROUTE, 0, "route to %s", addr_text(dst).s);
	struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);
	struct nl_answer answer = { .data = on_route_found, .ctx = r };

	*r = (struct rtnl_route){ 0 };
	m->rtm_family = dst->family;
	m->rtm_dst_len = (uint8_t)addr_bits(dst);
	put_addr(h, RTA_DST, dst);
	nl_end(nl, h);
	return nl_commit(nl, &answer, NULL);
}
