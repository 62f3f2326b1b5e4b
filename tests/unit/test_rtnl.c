/* links: src/nl/nl.c src/nl/nl_attr.c src/nl/rtnl_link.c src/nl/rtnl_route.c src/nl/rtnl_neigh.c src/base/prefix.c src/base/err.c src/base/str.c src/base/log.c src/base/mac.c src/base/util.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tunnel.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include "base/str.h"
#include "base/util.h"
#include "nl/rtnl.h"

/* Messages are built into a struct nl without a socket, and read back from its buffer. */

static struct nl nl = { .fd = -1 };

static void fresh(void)
{
	nl_close(&nl);
}

static const struct nlmsghdr *built(unsigned n)
{
	const char *at = nl.buf;

	while (n--)
		at += MNL_ALIGN(((const struct nlmsghdr *)at)->nlmsg_len);
	return (const struct nlmsghdr *)at;
}

static struct addr address(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text, NULL), 0);
	return a;
}

static struct prefix prefix(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(&p, text, NULL), 0);
	return p;
}

/* ---- built and read back ---- */

static void route_comes_back(void **state)
{
	static const struct { const char *dst, *via; uint8_t type; bool onlink; int oif; } rows[] = {
		{ "10.42.1.0/26", "192.0.2.2", RTN_UNICAST, false, 0 },
		{ "10.42.1.7/32", NULL, RTN_UNICAST, false, 12 },
		{ "10.42.2.0/26", "10.42.2.1", RTN_UNICAST, true, 9 },
		{ "10.42.0.0/26", NULL, RTN_BLACKHOLE, false, 0 },
		{ "2001:db8:42::/122", "2001:db8::2", RTN_UNICAST, false, 3 },
		{ "0.0.0.0/0", "192.0.2.9", RTN_UNICAST, false, 2 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rtnl_route r = { .dst = prefix(rows[i].dst), .type = rows[i].type, .protocol = RTPROT_MANX_CLUSTER,
			.onlink = rows[i].onlink, .metric = ROUTE_METRIC, .oif = rows[i].oif }, back;

		if (rows[i].via)
			r.gateway = address(rows[i].via);
		fresh();
		rtnl_route_put(&nl, &r);
		assert_int_equal(nl.len, built(0)->nlmsg_len);
		assert_int_equal(built(0)->nlmsg_flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL);
		assert_true(rtnl_route_parse(built(0), &back));
		assert_true(rtnl_route_equal(&r, &back));
		assert_int_equal(back.oif, r.oif);
	}
}

static void route_put_is_these_bytes(void **state)
{
	static const uint8_t want[] = {
		2, 26, 0, 0, RT_TABLE_MAIN, 172, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0, 0, 0, 0,
		8, 0, RTA_DST, 0, 10, 42, 1, 0,
		8, 0, RTA_PRIORITY, 0, 0, 4, 0, 0,
		8, 0, RTA_GATEWAY, 0, 192, 0, 2, 2,
	};
	struct rtnl_route r = { .dst = prefix("10.42.1.0/26"), .type = RTN_UNICAST, .protocol = RTPROT_MANX_CLUSTER,
		.metric = ROUTE_METRIC, .gateway = address("192.0.2.2") };

	(void)state;
	if (htons(1) == 1)
		skip();		/* the bytes above are little-endian */
	fresh();
	rtnl_route_put(&nl, &r);
	assert_int_equal(built(0)->nlmsg_len, sizeof(struct nlmsghdr) + sizeof want);
	assert_memory_equal((const char *)built(0) + sizeof(struct nlmsghdr), want, sizeof want);
}

static void route_del_names_protocol_metric_and_type(void **state)
{
	struct rtnl_route r = { .dst = prefix("10.42.1.0/26"), .type = RTN_BLACKHOLE, .protocol = RTPROT_MANX_CLUSTER,
		.metric = ROUTE_METRIC };
	const struct nlattr *tb[RTA_MAX + 1];
	const struct rtmsg *m;
	uint32_t metric = 0;

	(void)state;
	fresh();
	rtnl_route_del(&nl, &r);
	m = mnl_nlmsg_get_payload(built(0));
	assert_true(nl_attrs(built(0), sizeof *m, tb, RTA_MAX));
	assert_true(nl_attr_u32(tb[RTA_PRIORITY], &metric));
	assert_int_equal(built(0)->nlmsg_type, RTM_DELROUTE);
	assert_int_equal(m->rtm_protocol, 172);
	assert_int_equal(m->rtm_type, RTN_BLACKHOLE);
	assert_int_equal(m->rtm_scope, RT_SCOPE_NOWHERE);
	assert_int_equal(metric, 1024);
	r = (struct rtnl_route){ .dst = r.dst, .type = RTN_UNICAST, .protocol = 172, .gateway = address("192.0.2.2"), .oif = 3 };
	for (int i = 0; i < 2; i++) {	/* one next hop by name, several as a whole */
		r.multipath = i;
		fresh();
		rtnl_route_del(&nl, &r);
		assert_true(nl_attrs(built(0), sizeof *m, tb, RTA_MAX));
		assert_int_equal(tb[RTA_GATEWAY] != NULL, !i);
		assert_int_equal(tb[RTA_OIF] != NULL, !i);
	}
}

static void routes_differ_in_what_matters(void **state)
{
	struct rtnl_route a = { .dst = prefix("10.42.1.0/26"), .type = RTN_UNICAST, .protocol = 172, .metric = 1024,
		.gateway = address("192.0.2.2"), .oif = 3 }, b;

	(void)state;
	b = a;
	b.oif = 0;		/* the kernel finds it */
	assert_true(rtnl_route_equal(&a, &b));
	b = a, b.oif = 4;
	assert_false(rtnl_route_equal(&a, &b));
	b = a, b.metric = 0;
	assert_false(rtnl_route_equal(&a, &b));
	b = a, b.protocol = 4;
	assert_false(rtnl_route_equal(&a, &b));
	b = a, b.gateway = address("192.0.2.3");
	assert_false(rtnl_route_equal(&a, &b));
	b = a, b.multipath = true;
	assert_false(rtnl_route_equal(&a, &b));
	b = a, b.onlink = true;
	assert_false(rtnl_route_equal(&a, &b));
	a.type = b.type = RTN_BLACKHOLE;	/* IPv6 shows lo */
	b.oif = 1;
	assert_true(rtnl_route_equal(&a, &b));
}

static void other_routes_are_not_parsed(void **state)
{
	struct rtnl_route r = { .dst = prefix("10.42.1.0/26"), .type = RTN_UNICAST, .protocol = 172 }, back;
	struct rtmsg *m;

	(void)state;
	fresh();
	rtnl_route_put(&nl, &r);
	m = mnl_nlmsg_get_payload(built(0));
	m->rtm_table = RT_TABLE_LOCAL;
	assert_false(rtnl_route_parse(built(0), &back));
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_type = RTN_LOCAL;
	assert_false(rtnl_route_parse(built(0), &back));
	m->rtm_type = RTN_UNICAST;
	m->rtm_flags = RTM_F_CLONED;
	assert_false(rtnl_route_parse(built(0), &back));
	m->rtm_flags = 0;
	m->rtm_dst_len = 33;
	assert_false(rtnl_route_parse(built(0), &back));
	m->rtm_dst_len = 26;
	assert_true(rtnl_route_parse(built(0), &back));
}

static void multipath_is_seen_with_its_first_hop(void **state)
{
	struct rtnl_route back;
	struct nlmsghdr *h;
	struct rtmsg *m;
	struct rtnexthop *hop;
	struct nlattr *nest;
	struct addr dst = address("10.42.1.0"), gateway = address("192.0.2.7");

	(void)state;
	fresh();
	h = nl_begin(&nl, RTM_NEWROUTE, 0, "route");
	m = mnl_nlmsg_put_extra_header(h, sizeof *m);
	*m = (struct rtmsg){ .rtm_family = AF_INET, .rtm_dst_len = 24, .rtm_table = RT_TABLE_MAIN, .rtm_type = RTN_UNICAST };
	mnl_attr_put(h, RTA_DST, 4, dst.b);
	nest = mnl_attr_nest_start(h, RTA_MULTIPATH);
	hop = mnl_nlmsg_get_payload_tail(h);
	*hop = (struct rtnexthop){ .rtnh_len = sizeof *hop + 8, .rtnh_ifindex = 5 };
	h->nlmsg_len += sizeof *hop;
	mnl_attr_put(h, RTA_GATEWAY, 4, gateway.b);
	mnl_attr_nest_end(h, nest);
	nl_end(&nl, h);
	assert_true(rtnl_route_parse(built(0), &back));
	assert_true(back.multipath);
	assert_int_equal(back.oif, 5);
	assert_true(addr_equal(&back.gateway, &gateway));
}

static void address_comes_back(void **state)
{
	static const char *const rows[] = { "10.42.0.1/32", "2001:db8:42::1/128", "192.0.2.1/24" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rtnl_addr a = { .ifindex = 7, .address = prefix(rows[i]) }, back;

		fresh();
		rtnl_addr_put(&nl, &a);
		assert_true(rtnl_addr_parse(built(0), &back));
		assert_int_equal(back.ifindex, 7);
		assert_true(prefix_equal(&back.address, &a.address));
		assert_int_equal(back.flags, IFA_F_PERMANENT | (a.address.addr.family == AF_INET6 ? IFA_F_NODAD : 0));
	}
}

static void neighbours_come_back(void **state)
{
	struct rtnl_neigh n = { .ifindex = 9, .dst = address("10.42.2.1"), .mac = { 0x66, 1, 2, 3, 4, 5 } }, back;

	(void)state;
	for (int fdb = 0; fdb < 2; fdb++) {
		fresh();
		n.fdb = fdb;
		rtnl_neigh_put(&nl, &n);
		assert_true(rtnl_neigh_parse(built(0), &back));
		assert_int_equal(back.fdb, fdb);
		assert_int_equal(back.ifindex, 9);
		assert_int_equal(back.state, NUD_PERMANENT);
		assert_memory_equal(back.mac, n.mac, 6);
		assert_true(addr_equal(&back.dst, &n.dst));
		rtnl_neigh_del(&nl, &n);
		assert_true(rtnl_neigh_parse(built(1), &back));
		assert_true(addr_equal(&back.dst, &n.dst));
	}
}

static void vxlan_comes_back(void **state)
{
	static const char *const locals[] = { "192.0.2.1", "2001:db8::1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(locals); i++) {
		struct rtnl_link l = { .name = "vxlan.calico", .mtu = 1450, .mac = { 0x66, 1, 2, 3, 4, 5 }, .vni = 4096, .port = 4789,
			.local = address(locals[i]) }, back;
		struct ifinfomsg *m;

		fresh();
		rtnl_vxlan_put(&nl, &l, 0);
		m = mnl_nlmsg_get_payload(built(0));
		assert_int_equal(m->ifi_flags, IFF_UP);
		m->ifi_index = 4;	/* as the kernel's answer would say */
		assert_true(rtnl_link_parse(built(0), &back));
		assert_string_equal(back.kind, "vxlan");
		assert_string_equal(back.name, "vxlan.calico");
		assert_int_equal(back.mtu, 1450);
		assert_int_equal(back.vni, 4096);
		assert_int_equal(back.port, 4789);
		assert_false(back.learning);
		assert_memory_equal(back.mac, l.mac, 6);
		assert_true(addr_equal(&back.local, &l.local));
	}
}

/* As the kernel tells of one, "any" being 0.0.0.0. */
static void build_ipip(const char *local, const char *remote)
{
	struct nlmsghdr *h = nl_begin(&nl, RTM_NEWLINK, 0, "link");
	struct addr l = address(local), r = address(remote);
	struct nlattr *info, *data;

	((struct ifinfomsg *)mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg)))->ifi_index = 4;
	mnl_attr_put_strz(h, IFLA_IFNAME, "tunl0");
	info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "ipip");
	data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	mnl_attr_put(h, IFLA_IPTUN_LOCAL, 4, l.b);
	mnl_attr_put(h, IFLA_IPTUN_REMOTE, 4, r.b);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	nl_end(&nl, h);
}

static void ipip_comes_back(void **state)
{
	static const struct { const char *local, *remote; } ends[] = { { "0.0.0.0", "0.0.0.0" }, { "192.0.2.1", "192.0.2.2" } };
	struct ifinfomsg *m;
	struct rtnl_link back;

	(void)state;
	fresh();
	rtnl_ipip_put(&nl, "tunl0");
	m = mnl_nlmsg_get_payload(built(0));
	assert_int_equal(m->ifi_change, 0);
	assert_true(built(0)->nlmsg_flags & NLM_F_EXCL);
	m->ifi_index = 4;
	assert_true(rtnl_link_parse(built(0), &back));
	assert_string_equal(back.name, "tunl0");
	assert_string_equal(back.kind, "ipip");
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		fresh();
		build_ipip(ends[i].local, ends[i].remote);
		assert_true(rtnl_link_parse(built(0), &back));
		assert_string_equal(addr_text(&back.local).s, i ? ends[i].local : "");
		assert_string_equal(addr_text(&back.remote).s, i ? ends[i].remote : "");
	}
}

static void link_goes_down_and_loses_its_alias(void **state)
{
	const struct nlattr *tb[IFLA_MAX + 1];
	const struct ifinfomsg *m;

	(void)state;
	fresh();
	rtnl_link_down(&nl, 4, "tunl0");
	rtnl_link_alias(&nl, 4, "tunl0", "");
	m = mnl_nlmsg_get_payload(built(0));
	assert_int_equal(m->ifi_index, 4);
	assert_int_equal(m->ifi_flags, 0);
	assert_int_equal(m->ifi_change, IFF_UP);
	assert_true(nl_attrs(built(1), sizeof *m, tb, IFLA_MAX));
	assert_non_null(tb[IFLA_IFALIAS]);
	assert_int_equal(mnl_attr_get_payload_len(tb[IFLA_IFALIAS]), 0);
}

static void veth_carries_its_peer(void **state)
{
	struct rtnl_veth v = { .host = "cali0123456789a", .peer = "eth0", .mtu = 1450, .host_mac = { 0xee, 0xee, 0xee, 0xee, 0xee, 0xee },
		.peer_mac = { 2, 1, 2, 3, 4, 5 }, .netns_fd = 17 };
	const struct nlattr *tb[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1], *data[VETH_INFO_MAX + 1], *peer[IFLA_MAX + 1];
	char copy[512] __attribute__((aligned(4)));
	struct nlmsghdr *h = (struct nlmsghdr *)copy;
	uint32_t fd = 0, queues = 0;
	char name[16];
	size_t len;

	(void)state;
	fresh();
	rtnl_veth_put(&nl, &v);
	assert_true(nl_attrs(built(0), sizeof(struct ifinfomsg), tb, IFLA_MAX));
	assert_true(nl_attr_u32(tb[IFLA_NUM_TX_QUEUES], &queues) && queues == 1);
	nl_attrs_nested(tb[IFLA_LINKINFO], info, IFLA_INFO_MAX);
	nl_attrs_nested(info[IFLA_INFO_DATA], data, VETH_INFO_MAX);
	assert_non_null(data[VETH_INFO_PEER]);
	len = mnl_attr_get_payload_len(data[VETH_INFO_PEER]);
	memcpy(copy + sizeof *h, mnl_attr_get_payload(data[VETH_INFO_PEER]), len);
	h->nlmsg_len = (uint32_t)(sizeof *h + len);
	assert_true(nl_attrs(h, sizeof(struct ifinfomsg), peer, IFLA_MAX));
	assert_true(nl_attr_text(peer[IFLA_IFNAME], name, sizeof name));
	assert_string_equal(name, "eth0");
	assert_true(nl_attr_u32(peer[IFLA_NET_NS_FD], &fd) && fd == 17);
	assert_true(nl_attr_u32(peer[IFLA_NUM_RX_QUEUES], &queues) && queues == 1);
}

static void group_of_every_link_is_never_deleted(void **state)
{
	(void)state;
	fresh();
	rtnl_group_del(&nl, 0);
	assert_int_equal(nl.count, 0);
	rtnl_group_del(&nl, 77);
	assert_int_equal(nl.count, 1);
}

static void batch_grows_and_keeps_its_messages(void **state)
{
	struct rtnl_route r = { .type = RTN_UNICAST, .protocol = 172, .metric = 1024, .oif = 1 }, back;
	const struct addr first = { .family = AF_INET, .b = { 10 } };

	(void)state;
	fresh();
	for (uint32_t i = 0; i < 10000; i++) {
		struct addr a = addr_plus(&first, i);

		r.dst = prefix_host(&a);
		rtnl_route_put(&nl, &r);
	}
	assert_int_equal(nl.count, 10000);
	for (uint32_t i = 0; i < 10000; i += 3333) {
		struct addr a = addr_plus(&first, i);

		assert_true(rtnl_route_parse(built(i), &back));
		assert_true(addr_equal(&back.dst.addr, &a));
		assert_int_equal(built(i)->nlmsg_seq, nl.first_seq + i);
	}
}

/* ---- torn and hostile messages ---- */

/* Every parser, over a block of exactly that size: the sanitizer sees a step beyond it. */
static void parse_all(const struct nlmsghdr *h)
{
	struct rtnl_route r;
	struct rtnl_link l;
	struct rtnl_neigh n;
	struct rtnl_addr a;

	if (rtnl_route_parse(h, &r))
		assert_true(r.dst.len <= addr_bits(&r.dst.addr));
	if (rtnl_link_parse(h, &l))
		assert_true(strnlen(l.name, sizeof l.name) < sizeof l.name && strnlen(l.alias, sizeof l.alias) < sizeof l.alias);
	if (rtnl_neigh_parse(h, &n))
		assert_true(n.dst.family == AF_INET || n.dst.family == AF_INET6);
	if (rtnl_addr_parse(h, &a))
		assert_true(a.address.len <= addr_bits(&a.address.addr));
}

static void build_one_of_each(void)
{
	struct rtnl_route r = { .dst = prefix("10.42.1.0/26"), .type = RTN_UNICAST, .protocol = 172, .metric = 1024,
		.gateway = address("192.0.2.2"), .source = address("192.0.2.1"), .oif = 3 };
	struct rtnl_link l = { .name = "vxlan.calico", .mtu = 1450, .vni = 4096, .port = 4789, .local = address("192.0.2.1") };
	struct rtnl_neigh n = { .ifindex = 9, .dst = address("10.42.2.1"), .fdb = true };
	struct rtnl_addr a = { .ifindex = 7, .address = prefix("2001:db8::1/128") };
	struct rtnl_veth v = { .host = "cali1", .peer = "eth0", .mtu = 1450 };

	fresh();
	rtnl_route_put(&nl, &r);
	rtnl_vxlan_put(&nl, &l, 0);
	rtnl_neigh_put(&nl, &n);
	rtnl_addr_put(&nl, &a);
	rtnl_veth_put(&nl, &v);
	build_ipip("192.0.2.1", "192.0.2.2");
	((struct ifinfomsg *)mnl_nlmsg_get_payload(built(1)))->ifi_index = 4;
	((struct ifinfomsg *)mnl_nlmsg_get_payload(built(4)))->ifi_index = 5;
}

static void torn_messages_are_survived(void **state)
{
	(void)state;
	build_one_of_each();
	for (unsigned i = 0; i < nl.count; i++) {
		for (uint32_t len = sizeof(struct nlmsghdr); len < built(i)->nlmsg_len; len++) {
			struct nlmsghdr *h = malloc(len);

			memcpy(h, built(i), len);
			h->nlmsg_len = len;
			parse_all(h);
			free(h);
		}
	}
}

static void hostile_messages_are_survived(void **state)
{
	uint32_t seed = 20240607;

	(void)state;
	print_message("seed %u\n", (unsigned)seed);
	build_one_of_each();
	for (unsigned round = 0; round < 60000; round++) {
		const struct nlmsghdr *from = built(round % nl.count);
		uint32_t len = from->nlmsg_len;
		uint8_t *copy = malloc(len);

		memcpy(copy, from, len);
		for (int i = 0; i < 1 + (int)(round % 4); i++) {
			seed = seed * 1664525u + 1013904223u;
			copy[sizeof(struct nlmsghdr) + (seed >> 8) % (len - sizeof(struct nlmsghdr))] = (uint8_t)(seed >> 24);
		}
		parse_all((struct nlmsghdr *)copy);
		free(copy);
	}
}

/* ---- a socket of this machine's kernel, which needs no privilege to be asked ---- */

struct seen { unsigned done, data; int rc[400]; char text[256]; char name[IFNAMSIZ]; };

static void on_done(void *ctx, unsigned position, int rc, const char *text)
{
	struct seen *s = ctx;

	assert_int_equal(position, s->done);
	s->rc[s->done++] = rc;
	if (text)
		str_copy(s->text, sizeof s->text, text);
}

static void on_data(void *ctx, const struct nlmsghdr *h)
{
	struct seen *s = ctx;
	struct rtnl_link l;

	assert_true(rtnl_link_parse(h, &l));
	str_copy(s->name, sizeof s->name, l.name);
	s->data++;
}

static void batch_tells_each_result_in_order(void **state)
{
	struct seen s = { 0 };
	struct nl_answer answer = { on_done, on_data, &s };
	struct err e = { 0 };
	struct nl real;

	(void)state;
	assert_int_equal(nl_open(&real, NETLINK_ROUTE, NULL), 0);
	rtnl_link_get(&real, NULL, 1);
	rtnl_link_get(&real, "no-such-link", 0);
	rtnl_link_get(&real, NULL, 1);
	assert_int_equal(nl_commit(&real, &answer, &e), -ENODEV);
	assert_int_equal(s.done, 3);
	assert_int_equal(s.data, 2);
	assert_int_equal(s.rc[0], 0);
	assert_int_equal(s.rc[1], -ENODEV);
	assert_int_equal(s.rc[2], 0);
	assert_string_equal(s.name, "lo");
	assert_non_null(strstr(s.text, "link no-such-link: No such device"));
	assert_string_equal(e.text, s.text);
	assert_int_equal(real.count, 0);
	nl_close(&real);
}

/* More failures than one chunk holds, and than the socket's buffer would. */
static void long_batch_tells_every_failure(void **state)
{
	struct seen s = { 0 };
	struct nl_answer answer = { .done = on_done, .ctx = &s };
	struct nl real;

	(void)state;
	assert_int_equal(nl_open(&real, NETLINK_ROUTE, NULL), 0);
	for (int i = 0; i < 400; i++)
		rtnl_link_get(&real, NULL, 0x7ffffff0);
	assert_int_equal(nl_commit(&real, &answer, NULL), -ENODEV);
	assert_int_equal(s.done, 400);
	for (int i = 0; i < 400; i++)
		assert_int_equal(s.rc[i], -ENODEV);
	nl_close(&real);
}

static void on_link_dumped(void *ctx, const struct nlmsghdr *h)
{
	struct seen *s = ctx;
	struct rtnl_link l;

	if (rtnl_link_parse(h, &l) && l.index == 1)
		s->data++;
}

static void on_restart(void *ctx)
{
	struct seen *s = ctx;

	s->data = 0;
	s->done++;
}

static void dump_finds_the_loopback_link(void **state)
{
	struct seen s = { 0 };
	struct nl real;

	(void)state;
	assert_int_equal(nl_open(&real, NETLINK_ROUTE, NULL), 0);
	rtnl_link_dump_request(&real);
	assert_int_equal(nl_dump(&real, on_restart, on_link_dumped, &s, NULL), 0);
	assert_int_equal(s.data, 1);
	assert_true(s.done >= 1);
	nl_close(&real);
	nl_close(&real);
}

static void send_failure_fails_every_message(void **state)
{
	struct seen s = { 0 };
	struct nl_answer answer = { on_done, on_data, &s };
	struct err e = { 0 };

	(void)state;
	fresh();
	nl.protocol = NETLINK_ROUTE;
	rtnl_link_get(&nl, NULL, 1);
	rtnl_link_get(&nl, "eth0", 0);
	assert_int_equal(nl_commit(&nl, &answer, &e), -EBADF);
	assert_int_equal(s.done, 2);
	assert_int_equal(s.rc[1], -EBADF);
	assert_non_null(strstr(e.text, "link number 1: "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(route_comes_back),
		cmocka_unit_test(route_put_is_these_bytes),
		cmocka_unit_test(route_del_names_protocol_metric_and_type),
		cmocka_unit_test(routes_differ_in_what_matters),
		cmocka_unit_test(other_routes_are_not_parsed),
		cmocka_unit_test(multipath_is_seen_with_its_first_hop),
		cmocka_unit_test(address_comes_back),
		cmocka_unit_test(neighbours_come_back),
		cmocka_unit_test(vxlan_comes_back),
		cmocka_unit_test(ipip_comes_back),
		cmocka_unit_test(link_goes_down_and_loses_its_alias),
		cmocka_unit_test(veth_carries_its_peer),
		cmocka_unit_test(group_of_every_link_is_never_deleted),
		cmocka_unit_test(batch_grows_and_keeps_its_messages),
		cmocka_unit_test(torn_messages_are_survived),
		cmocka_unit_test(hostile_messages_are_survived),
		cmocka_unit_test(batch_tells_each_result_in_order),
		cmocka_unit_test(long_batch_tells_every_failure),
		cmocka_unit_test(dump_finds_the_loopback_link),
		cmocka_unit_test(send_failure_fails_every_message),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);

	nl_close(&nl);
	return rc;
}
