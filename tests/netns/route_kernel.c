/* links: src/base/arena.c src/base/digest.c src/base/err.c src/base/fs.c src/base/hash.c src/base/log.c src/base/loop.c src/base/mac.c src/base/prefix.c src/base/str.c src/base/table.c src/base/util.c src/model/config.c src/model/config_value.c src/model/model.c src/model/tunnel.c src/nl/nl.c src/nl/nl_attr.c src/nl/rtnl_conf.c src/nl/rtnl_link.c src/nl/rtnl_neigh.c src/nl/rtnl_route.c src/nl/rtnl_tc.c src/route/apply.c src/route/device.c src/route/have.c src/route/object.c src/route/route.c src/route/show.c src/route/want.c */
/*
 * The route reconciler against a real kernel, in a network namespace of its
 * own: hand-made rows in, `ip` looks at what came out and disturbs it.
 * Needs root and iproute2.  Exit 0 when all is as it should be.  Started by test_route_nl.py;
 * an argument is another seed for the disturbances.
 */
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/util.h"
#include "route/route_int.h"

static struct config config;
static struct model model;
static struct loop loop;
static struct route *route;
static int failures;

static void run(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (system(line) != 0)
		fprintf(stderr, "(failed: %s)\n", line);
}

/* Does what the command prints hold the text? */
static bool shows(const char *command, const char *text)
{
	char buf[65536];
	FILE *f = popen(command, "r");
	size_t n = f ? fread(buf, 1, sizeof buf - 1, f) : 0;

	buf[n] = '\0';
	if (f)
		pclose(f);
	return strstr(buf, text);
}

static void on_pass(void *ctx)
{
	(void)ctx;
	route_run(route);
	model_clean(&model);
}

static void turns(void)
{
	for (int i = 0; i < 6; i++)
		loop_turn(&loop, i < 2 ? 20 : 5);
}

static void check(bool ok, const char *what, ...)
{
	va_list ap;

	va_start(ap, what);
	if (!ok) {
		failures++;
		printf("FAIL ");
		vprintf(what, ap);
		printf("\n");
		system("ip route; ip -6 route; ip -d link show type vxlan; ip neigh; bridge fdb 2>/dev/null | grep vxlan");
	}
	va_end(ap);
}

#define EXPECT(command, text) check(shows(command, text), "line %d: %s does not show %s", __LINE__, command, text)
#define EXPECT_NOT(command, text) check(!shows(command, text), "line %d: %s shows %s", __LINE__, command, text)
#define EXPECT_TRUE(condition) check(condition, "line %d: %s", __LINE__, #condition)

static void *row(size_t size, const char *key)
{
	static uint64_t digest;
	struct row *r = row_new(size);

	r->key = arena_str(&r->mem, key);
	r->digest = ++digest;
	return r;
}

static struct addr address(const char *text)
{
	struct addr a = { 0 };

	if (text)
		addr_parse(&a, text, NULL);
	return a;
}

static struct prefix prefix(const char *text)
{
	struct prefix p = { 0 };

	if (text)
		prefix_parse(&p, text, NULL);
	return p;
}

static void put_node(const char *name, const char *v4, const char *v6, const char *t4, const char *t6, int last)
{
	struct node *n = row(sizeof *n, name);

	n->address[0] = prefix(v4);
	n->address[1] = prefix(v6);
	n->tunnel[TUNNEL_VXLAN] = address(t4);
	n->tunnel[TUNNEL_VXLAN_V6] = address(t6);
	for (int f = 0; f < FAMILIES; f++) {
		n->vxlan_mac[f][0] = 0x66;
		n->vxlan_mac[f][4] = (uint8_t)f;
		n->vxlan_mac[f][5] = (uint8_t)last;
	}
	table_put(&model.nodes, &n->row);
}

static void put_block(const char *cidr, const char *node)
{
	struct block *b = row(sizeof *b, cidr);

	b->cidr = prefix(cidr);
	b->node = arena_str(&b->row.mem, node);
	table_put(&model.blocks, &b->row);
}

static void put_pool(const char *name, const char *cidr, enum encapsulation e)
{
	struct pool *p = row(sizeof *p, name);

	p->cidr = prefix(cidr);
	p->encapsulation = e;
	table_put(&model.pools, &p->row);
}

static void put_uplink(void)
{
	struct uplink *u = row(sizeof *u, "self");

	u->address[0] = prefix("192.0.2.1/24");
	u->address[1] = prefix("2001:db8::1/64");
	u->mtu[0] = u->mtu[1] = 1500;
	u->ifindex[0] = u->ifindex[1] = (int)if_nametoindex("up0");
	table_put(&model.uplinks, &u->row);
}

static void put_endpoint(const char *key, const char *link, const char *v4, const char *v6)
{
	struct endpoint *e = row(sizeof *e, key);

	e->ifindex = (int)if_nametoindex(link);
	e->ips[0] = address(v4);
	e->ips[1] = address(v6);
	table_put(&model.endpoints, &e->row);
}

static int endpoint_rc(const char *key)
{
	const struct endpoint *e = table_find(&model.endpoints, key);

	return e ? e->rc : 1;
}

static void make_pod(const char *name)
{
	run("ip link add %s type veth peer name p%s && ip link set %s up && ip link set p%s up", name, name, name, name);
}

/* Everything wanted is in the kernel. */
static bool route_settled(const struct route *r)
{
	bool settled = route_tried(r);

	for (unsigned i = 0; i < r->troubled.count; i++)
		settled &= !r->troubled.at[i]->wants;
	tunnel_each(t)
		settled &= !r->devices[t].wanted || r->devices[t].state == STATE_OK;
	return settled;
}

static void starts_by_adopting(void)
{
	run("ip route add 10.42.9.0/26 via 192.0.2.9 proto 172 metric 1024");	/* ours of an earlier life, unwanted */
	run("ip route add 10.42.8.0/26 via 192.0.2.9 proto static");		/* somebody else's, in the pool */
	run("ip route add blackhole 10.42.0.0/26 proto 172 metric 1024");	/* ours, wanted */
	run("ip route add 10.42.3.0/26 via 192.0.2.9 proto 172 metric 1024");	/* ours, wanted elsewhere */
	run("ip -6 route add blackhole 2001:db8:42:9::/122 proto 172 metric 1024");
	put_pool("v4", "10.42.0.0/16", ENCAP_VXLAN_CROSS_SUBNET);
	put_pool("v6", "2001:db8:42::/56", ENCAP_VXLAN_CROSS_SUBNET);
	put_uplink();
	put_node("self", "192.0.2.1/24", "2001:db8::1/64", "10.42.0.1", "2001:db8:42::1", 1);
	put_node("near", "192.0.2.2/24", "2001:db8::2/64", "10.42.1.1", "2001:db8:42:1::1", 2);
	put_node("far", "198.51.100.3/24", "2001:db8:1::3/64", "10.42.2.1", "2001:db8:42:2::1", 3);
	put_block("10.42.0.0/26", "self");
	put_block("10.42.1.0/26", "near");
	put_block("10.42.2.0/26", "far");
	put_block("10.42.3.0/26", "near");
	put_block("2001:db8:42::/122", "self");
	put_block("2001:db8:42:1::/122", "near");
	put_block("2001:db8:42:2::/122", "far");
	make_pod("cali1");
	put_endpoint("c1/eth0", "cali1", "10.42.0.5", "2001:db8:42::5");
	turns();
	EXPECT("ip route", "10.42.9.0/26");
	EXPECT("ip route", "10.42.0.5 dev cali1 proto 171 scope link metric 1024");
	EXPECT("ip route", "blackhole 10.42.0.0/26 proto 172");
	EXPECT("ip route", "10.42.1.0/26 via 192.0.2.2 dev up0 proto 172 metric 1024");
	EXPECT("ip route", "10.42.3.0/26 via 192.0.2.2 dev up0 proto 172 metric 1024");
	EXPECT("ip route", "10.42.2.0/26 via 10.42.2.1 dev vxlan.calico proto 172 metric 1024 onlink");
	EXPECT("ip -6 route", "2001:db8:42::5 dev cali1 proto 171 metric 1024");
	EXPECT("ip -6 route", "blackhole 2001:db8:42::/122 dev lo proto 172");
	EXPECT("ip -6 route", "2001:db8:42:1::/122 via 2001:db8::2 dev up0 proto 172 metric 1024");
	EXPECT("ip -6 route", "2001:db8:42:2::/122 via 2001:db8:42:2::1 dev vxlan-v6.calico proto 172 metric 1024 onlink");
	EXPECT_TRUE(endpoint_rc("c1/eth0") == 0);
	EXPECT_TRUE(route_settled(route));
	model.complete = true;
	turns();
	EXPECT_NOT("ip route", "10.42.9.0/26");
	EXPECT_NOT("ip -6 route", "2001:db8:42:9::/122");
	EXPECT("ip route", "10.42.8.0/26");
	model.endpoints_known = true;
	turns();
	EXPECT_TRUE(route_settled(route));
}

static void device_is_as_wanted(void)
{
	EXPECT("ip -d link show vxlan.calico", "vxlan id 4096 local 192.0.2.1");
	EXPECT("ip -d link show vxlan.calico", "dstport 4789 nolearning");
	EXPECT("ip -d link show vxlan.calico", "mtu 1450");
	EXPECT("ip -d link show vxlan.calico", "66:00:00:00:00:01");
	EXPECT("ip -d link show vxlan-v6.calico", "vxlan id 4096 local 2001:db8::1");
	EXPECT("ip -d link show vxlan-v6.calico", "mtu 1430");
	EXPECT("ip addr show vxlan.calico", "10.42.0.1/32");
	EXPECT("ip addr show vxlan-v6.calico", "2001:db8:42::1/128");
	EXPECT("ip neigh show dev vxlan.calico", "10.42.2.1 lladdr 66:00:00:00:00:03 PERMANENT");
	EXPECT("ip neigh show dev vxlan-v6.calico", "2001:db8:42:2::1 lladdr 66:00:00:00:01:03 PERMANENT");
	EXPECT("bridge fdb show dev vxlan.calico", "66:00:00:00:00:03 dst 198.51.100.3 self permanent");
	EXPECT("bridge fdb show dev vxlan-v6.calico", "66:00:00:00:01:03 dst 2001:db8:1::3 self permanent");
}

static void idle_pass_sends_nothing(void)
{
	uint32_t seq = route->command.seq;

	turns();
	EXPECT_TRUE(route->command.seq == seq);
	EXPECT_TRUE(!route->retry.on);
}

static void repairs_routes(void)
{
	run("ip route del 10.42.1.0/26; ip route del 10.42.0.5; ip -6 route del 2001:db8:42:1::/122");
	turns();
	EXPECT("ip route", "10.42.1.0/26 via 192.0.2.2 dev up0 proto 172 metric 1024");
	EXPECT("ip route", "10.42.0.5 dev cali1");
	EXPECT("ip -6 route", "2001:db8:42:1::/122 via 2001:db8::2");
	run("ip route replace 10.42.1.0/26 via 192.0.2.77 proto 172 metric 1024");
	run("ip -6 route replace 2001:db8:42:1::/122 via 2001:db8::77 proto 172 metric 1024");
	turns();
	EXPECT("ip route", "10.42.1.0/26 via 192.0.2.2");
	EXPECT("ip -6 route", "2001:db8:42:1::/122 via 2001:db8::2");
	EXPECT_NOT("ip route; ip -6 route", "77");
	run("ip route flush table main proto 172; ip -6 route flush table main proto 172");
	turns();
	EXPECT("ip route", "10.42.1.0/26 via 192.0.2.2");
	EXPECT("ip route", "blackhole 10.42.0.0/26");
	EXPECT("ip -6 route", "blackhole 2001:db8:42::/122");
	EXPECT_TRUE(route_settled(route));
}

static void leaves_foreign_routes_alone(void)
{
	autostr struct str text = { 0 };

	run("ip route replace 10.42.1.0/26 via 192.0.2.66 proto static metric 1024");
	turns();
	EXPECT("ip route", "10.42.1.0/26 via 192.0.2.66 dev up0 proto static metric 1024");
	EXPECT_TRUE(!route_settled(route));
	EXPECT_TRUE(table_find(&model.problems, "route 10.42.1.0/26") != NULL);
	route_show(route, &text, true);
	EXPECT_TRUE(strstr(text.s, "\"state\":\"conflict\""));
	EXPECT_TRUE(strstr(text.s, "\"conflicts\":[{\"dst\":\"10.42.1.0/26\",\"protocol\":4,\"metric\":1024"));
	run("ip route del 10.42.1.0/26 via 192.0.2.66");
	turns();
	EXPECT("ip route", "10.42.1.0/26 via 192.0.2.2 dev up0 proto 172 metric 1024");
	EXPECT_TRUE(table_find(&model.problems, "route 10.42.1.0/26") == NULL);
	run("ip route add 10.42.0.5 via 192.0.2.66 proto static metric 5");
	turns();
	EXPECT_TRUE(endpoint_rc("c1/eth0") == -17);
	EXPECT("ip route", "10.42.0.5 dev cali1");
	run("ip route del 10.42.0.5 metric 5");
	turns();
	EXPECT_TRUE(endpoint_rc("c1/eth0") == 0);
	EXPECT_TRUE(route_settled(route));
}

/* A foreign route outside every pool is not remembered, so the put finds out. */
static void surprise_becomes_conflict(void)
{
	run("ip route add 203.0.113.9 via 192.0.2.66 proto static metric 1024");
	turns();
	make_pod("cali9");
	put_endpoint("c9/eth0", "cali9", "203.0.113.9", NULL);
	turns();
	EXPECT_TRUE(endpoint_rc("c9/eth0") == -17);
	run("ip route del 203.0.113.9");
	turns();
	EXPECT_TRUE(endpoint_rc("c9/eth0") == 0);
	table_del(&model.endpoints, "c9/eth0");
	turns();
	EXPECT_NOT("ip route", "203.0.113.9");
	run("ip link del cali9");
	turns();
	EXPECT_TRUE(route_settled(route));
}

static void routes_wait_for_their_link(void)
{
	run("ip link set cali1 down");
	turns();
	EXPECT_NOT("ip route", "10.42.0.5");
	EXPECT_TRUE(endpoint_rc("c1/eth0") == -100);
	EXPECT_TRUE(!route->retry.on);
	run("ip link set cali1 up");
	turns();
	EXPECT("ip route", "10.42.0.5 dev cali1");
	EXPECT("ip -6 route", "2001:db8:42::5 dev cali1");
	EXPECT_TRUE(endpoint_rc("c1/eth0") == 0);
	make_pod("cali2");
	put_endpoint("c2/eth0", "cali2", "10.42.0.6", NULL);
	turns();
	run("ip link del cali2");
	turns();
	EXPECT_TRUE(endpoint_rc("c2/eth0") < 0);
	table_del(&model.endpoints, "c2/eth0");
	turns();
	EXPECT_TRUE(route_settled(route));
}

static void uplink_flap_brings_all_back(void)
{
	run("ip link set up0 down");
	turns();
	EXPECT_NOT("ip route", "192.0.2.2");
	EXPECT_TRUE(!route_settled(route));
	run("ip link set up0 up; ip -6 addr add 2001:db8::1/64 dev up0 nodad 2>/dev/null");
	turns();
	EXPECT("ip route", "10.42.1.0/26 via 192.0.2.2");
	EXPECT("ip -6 route", "2001:db8:42:1::/122 via 2001:db8::2");
	EXPECT_TRUE(route_settled(route));
	run("ip addr del 192.0.2.1/24 dev up0");
	turns();
	run("ip addr add 192.0.2.1/24 dev up0");
	turns();
	EXPECT("ip route", "10.42.1.0/26 via 192.0.2.2");
	EXPECT_TRUE(route_settled(route));
}

static void repairs_the_device(void)
{
	run("ip link del vxlan.calico");
	turns();
	device_is_as_wanted();
	EXPECT("ip route", "10.42.2.0/26 via 10.42.2.1 dev vxlan.calico");
	run("ip link set vxlan.calico down; ip link set vxlan-v6.calico down");
	turns();
	device_is_as_wanted();
	EXPECT("ip route", "10.42.2.0/26 via 10.42.2.1 dev vxlan.calico");
	EXPECT("ip -6 route", "2001:db8:42:2::/122 via 2001:db8:42:2::1");
	run("ip link set vxlan.calico address 02:00:00:00:00:07 mtu 1400");
	run("ip neigh del 10.42.2.1 dev vxlan.calico; bridge fdb del 66:00:00:00:00:03 dev vxlan.calico self");
	run("ip addr flush dev vxlan.calico; ip addr flush dev vxlan-v6.calico");
	turns();
	device_is_as_wanted();
	EXPECT("ip route", "10.42.2.0/26 via 10.42.2.1 dev vxlan.calico");
	run("ip link del vxlan.calico; ip link add vxlan.calico type vxlan id 4096 dstport 4790 local 192.0.2.1");
	turns();
	device_is_as_wanted();
	EXPECT("ip route", "10.42.2.0/26 via 10.42.2.1 dev vxlan.calico");
	EXPECT_TRUE(route_settled(route));
}

static void device_outlives_a_gap_of_the_uplink(void)
{
	int index = route->devices[TUNNEL_VXLAN].have.index;

	table_del(&model.uplinks, "self");
	table_del(&model.nodes, "self");
	turns();
	EXPECT_TRUE(route->devices[TUNNEL_VXLAN].have.index == index);
	put_uplink();
	put_node("self", "192.0.2.1/24", "2001:db8::1/64", "10.42.0.1", "2001:db8:42::1", 1);
	turns();
	EXPECT_TRUE(route->devices[TUNNEL_VXLAN].have.index == index);
	device_is_as_wanted();
	EXPECT("ip route", "10.42.2.0/26 via 10.42.2.1 dev vxlan.calico");
	EXPECT_TRUE(route_settled(route));
}

static void foreign_link_of_the_name_stays(void)
{
	run("ip link del vxlan.calico; ip link add vxlan.calico type bridge");
	turns();
	EXPECT("ip -d link show vxlan.calico", "bridge");
	EXPECT_TRUE(table_find(&model.problems, "overlay vxlan.calico") != NULL);
	EXPECT_TRUE(!route_settled(route));
	run("ip link del vxlan.calico");
	turns();
	device_is_as_wanted();
	EXPECT_TRUE(table_find(&model.problems, "overlay vxlan.calico") == NULL);
	EXPECT_TRUE(route_settled(route));
}

static void lost_events_are_made_good(void)
{
	int small = 4096;

	setsockopt(route->events.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	run("for i in $(seq 1 100); do echo route add 10.99.$i.0/24 via 192.0.2.9; done | ip -batch -");
	run("ip route del 10.42.1.0/26");
	run("for i in $(seq 1 100); do echo route del 10.99.$i.0/24; done | ip -batch -");
	turns();
	EXPECT("ip route", "10.42.1.0/26 via 192.0.2.2");
	small = 1 << 20;
	setsockopt(route->events.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	EXPECT_TRUE(route_settled(route));
}

static void restart_adopts(void)
{
	struct err e = { 0 };
	uint32_t seq;

	route_free(route);
	EXPECT("ip route", "10.42.1.0/26 via 192.0.2.2");
	route = route_new(&loop, &model, &e);
	route_run(route);
	model_clean(&model);
	seq = route->command.seq;
	turns();
	EXPECT_TRUE(route_settled(route));
	EXPECT_TRUE(route->command.seq == seq);
	EXPECT_TRUE(route->op_cap == 0);	/* nothing was to be sent */
}

static uint32_t seed = 4711;

static unsigned pick(unsigned n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 16) % n;
}

static void disturb(void)
{
	static const char *const commands[] = {
		"ip route del 10.42.1.0/26; ip route add 10.42.1.0/26 via 192.0.2.50 proto 172 metric 1024",
		"ip route flush table main proto 172",
		"ip -6 route flush table main proto 172",
		"ip route append 10.42.3.0/26 via 192.0.2.51 proto 172 metric 1024",
		"ip -6 route append 2001:db8:42:1::/122 via 2001:db8::51 proto 172 metric 1024",
		"ip route replace 10.42.2.0/26 via 192.0.2.52 proto 171 metric 1024",
		"ip route add 10.42.77.0/26 via 192.0.2.53 proto 172 metric 7",
		"ip route change 10.42.0.5 dev cali3 proto 171 metric 1024",
		"ip link set cali1 down; ip link set cali1 up",
		"ip link set vxlan.calico down; ip link set vxlan.calico up",
		"ip link set up0 down; ip link set up0 up; ip -6 addr add 2001:db8::1/64 dev up0 nodad",
		"ip addr del 192.0.2.1/24 dev up0; ip addr add 192.0.2.1/24 dev up0",
		"ip link del vxlan.calico",
		"ip link set vxlan-v6.calico name foreign0; ip link del foreign0",
		"ip link set vxlan.calico address 02:00:00:00:00:07",
		"ip addr flush dev vxlan.calico; ip addr add 10.42.0.99/32 dev vxlan.calico",
		"ip neigh flush dev vxlan.calico nud permanent; ip neigh add 10.42.2.1 lladdr 02:00:00:00:00:01 dev vxlan.calico",
		"bridge fdb replace 66:00:00:00:00:03 dev vxlan.calico dst 198.51.100.99 self permanent",
		"bridge fdb add 66:00:00:00:00:77 dev vxlan-v6.calico dst 2001:db8::77 self permanent",
	};

	const char *command = commands[pick(ARRAY_SIZE(commands))];

	printf("%s\n", command);
	run("{ %s; } 2>/dev/null || true", command);
}

static void change_rows(void)
{
	switch (pick(4)) {
	case 0:
		put_node("far", "198.51.100.3/24", "2001:db8:1::3/64", pick(2) ? "10.42.2.1" : "10.42.2.9", "2001:db8:42:2::1", 3);
		break;
	case 1:
		table_del(&model.blocks, "10.42.6.0/26");
		break;
	case 2:
		put_block("10.42.6.0/26", pick(2) ? "near" : "far");
		break;
	case 3:
		put_endpoint("c3/eth0", "cali3", pick(2) ? "10.42.0.33" : "10.42.0.34", "2001:db8:42::33");
		break;
	}
}

/* Whatever happened, in the end a reconciler that starts anew must find nothing to do. */
static void chaos_converges(void)
{
	struct err e = { 0 };

	printf("seed %u\n", (unsigned)seed);
	make_pod("cali3");
	for (int round = 0; round < 60; round++) {
		for (unsigned n = 1 + pick(4); n > 0; n--) {
			disturb();
			if (!pick(2))
				change_rows();
			if (!pick(2))
				loop_turn(&loop, 0);
		}
		for (int i = 0; i < 40 && (i < 3 || !route_settled(route)); i++)
			loop_turn(&loop, 20);
		EXPECT_TRUE(route_settled(route));

		struct route *fresh = route_new(&loop, &model, &e);

		route_run(fresh);
		for (unsigned i = 0; i < fresh->op_count; i++)	/* of the last batch */
			printf("kind %d: %s %s\n", fresh->ops[i].object->key.kind, fresh->ops[i].put ? "put" : "del",
			       prefix_text(&fresh->ops[i].object->key.dst).s);
		check(fresh->op_cap == 0 && route_settled(fresh), "round %d: a new start found work", round);
		route_free(fresh);
		if (failures)
			break;
	}
	put_node("far", "198.51.100.3/24", "2001:db8:1::3/64", "10.42.2.1", "2001:db8:42:2::1", 3);
	table_del(&model.endpoints, "c3/eth0");
	turns();
	device_is_as_wanted();
}

static void failure_is_retried(void)
{
	put_node("lost", "203.0.113.1/32", NULL, NULL, NULL, 9);
	put_pool("v4", "10.42.0.0/16", ENCAP_NONE);
	put_block("10.42.5.0/26", "lost");
	turns();
	EXPECT_TRUE(!route_settled(route));
	EXPECT_TRUE(route->retry.on);
	EXPECT_TRUE(table_find(&model.problems, "route routes") != NULL);
	table_del(&model.blocks, "10.42.5.0/26");
	put_pool("v4", "10.42.0.0/16", ENCAP_VXLAN_CROSS_SUBNET);
	turns();
	EXPECT_TRUE(!route->retry.on);
	EXPECT_TRUE(table_find(&model.problems, "route routes") == NULL);
}

static bool kernel_has_ipip(void)
{
	return !shows("ip link add probe type ipip 2>&1; ip link del probe 2>/dev/null", "Unknown device type");
}

static void mode_is_edited(void)
{
	put_pool("v4", "10.42.0.0/16", ENCAP_VXLAN);
	turns();
	EXPECT("ip route", "10.42.1.0/26 via 10.42.1.1 dev vxlan.calico proto 172 metric 1024 onlink");
	put_pool("v4", "10.42.0.0/16", ENCAP_NONE);
	turns();
	EXPECT("ip route", "10.42.1.0/26 via 192.0.2.2 dev up0 proto 172 metric 1024");
	EXPECT_NOT("ip link", "vxlan.calico");
	put_pool("v4", "10.42.0.0/16", ENCAP_IPIP);
	turns();
	EXPECT_TRUE(!route->retry.on);
	EXPECT_NOT("ip route", "10.42.1.0/26 via 192.0.2.2 dev up0");
	if (kernel_has_ipip()) {
		EXPECT("ip route", "10.42.1.0/26 via 192.0.2.2 dev tunl0 proto 172 metric 1024 onlink");
		EXPECT("ip route", "10.42.2.0/26 via 198.51.100.3 dev tunl0 proto 172 metric 1024 onlink");
		EXPECT("ip -d link show tunl0", "mtu 1480");
		EXPECT("ip -d link show tunl0", "alias manx");
		EXPECT_TRUE(route_settled(route));
	} else {
		const struct problem *p = table_find(&model.problems, "overlay tunl0");

		EXPECT_TRUE(p && strstr(p->text, "CONFIG_NET_IPIP") && strstr(p->remedy, "CONFIG_NET_IPIP"));
		EXPECT_TRUE(route_tried(route) && !route_settled(route));
	}
	put_pool("v4", "10.42.0.0/16", ENCAP_VXLAN_CROSS_SUBNET);
	turns();
	EXPECT("ip route", "10.42.1.0/26 via 192.0.2.2 dev up0 proto 172 metric 1024");
	EXPECT_NOT("ip link show up", "tunl0");
	EXPECT_TRUE(table_find(&model.problems, "overlay tunl0") == NULL);
	EXPECT_TRUE(route_settled(route));
	device_is_as_wanted();
}

static void rows_that_go_take_all_away(void)
{
	run("ip route add 10.42.8.0/26 via 192.0.2.9 proto static");
	table_del(&model.nodes, "far");
	turns();
	EXPECT_NOT("ip route; ip neigh; bridge fdb", "10.42.2.1");
	EXPECT_NOT("bridge fdb", "198.51.100.3");
	table_del(&model.pools, "v4");
	table_del(&model.pools, "v6");
	table_del(&model.endpoints, "c1/eth0");
	turns();
	EXPECT_NOT("ip link", "calico");
	EXPECT_NOT("ip route", "171");
	table_del(&model.blocks, "10.42.0.0/26");
	table_del(&model.blocks, "2001:db8:42::/122");
	turns();
	EXPECT_NOT("ip route; ip -6 route", "172");
	EXPECT("ip route", "10.42.8.0/26");
	EXPECT_TRUE(route->troubled.count == 0);
}

int main(int argc, char **argv)
{
	static void (*const steps[])(void) = { starts_by_adopting, device_is_as_wanted, idle_pass_sends_nothing, repairs_routes,
		leaves_foreign_routes_alone, surprise_becomes_conflict, routes_wait_for_their_link, uplink_flap_brings_all_back,
		repairs_the_device, device_outlives_a_gap_of_the_uplink, foreign_link_of_the_name_stays, lost_events_are_made_good, restart_adopts, chaos_converges,
		failure_is_retried, mode_is_edited, rows_that_go_take_all_away };
	struct err e = { 0 };

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1)
		seed = (uint32_t)strtoul(argv[1], NULL, 10);
	if (unshare(CLONE_NEWNET) < 0)
		return 77;
	run("ip link set lo up; ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up");
	run("ip addr add 192.0.2.1/24 dev up0; ip -6 addr add 2001:db8::1/64 dev up0 nodad");
	str_copy(config.node_name, sizeof config.node_name, "self");
	model_init(&model, &config);
	log_init(LOG_INFO);
	loop_open(&loop);
	route = route_new(&loop, &model, &e);
	if (!route) {
		printf("%s\n", e.text);
		return 1;
	}
	loop.pass = on_pass;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		steps[i]();
	route_free(route);
	model_fini(&model);
	loop_close(&loop);
	printf("%d failures\n", failures);
	return failures != 0;
}
