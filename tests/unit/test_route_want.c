/* links: src/route/object.c src/route/want.c src/route/device.c src/route/have.c src/route/apply.c src/route/route.c src/route/show.c src/nl/nl.c src/nl/nl_attr.c src/nl/rtnl_link.c src/nl/rtnl_route.c src/nl/rtnl_neigh.c src/model/model.c src/model/tunnel.c src/model/config.c src/model/config_value.c src/base/fs.c src/base/hash.c src/base/arena.c src/base/digest.c src/base/err.c src/base/log.c src/base/mac.c src/base/loop.c src/base/prefix.c src/base/str.c src/base/table.c src/base/util.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/rtnetlink.h>
#include "base/util.h"
#include "route/route_int.h"

/* ---- a model of hand-made rows ---- */

static struct config config;
static struct model model;

static void set_up_model(void)
{
	config = (struct config){ 0 };
	str_copy(config.node_name, sizeof config.node_name, "self");
	model_init(&model, &config);
}

static struct addr address(const char *text)
{
	struct addr a = { 0 };

	if (text)
		assert_int_equal(addr_parse(&a, text, NULL), 0);
	return a;
}

static struct prefix prefix(const char *text)
{
	struct prefix p = { 0 };

	if (text)
		assert_int_equal(prefix_parse(&p, text, NULL), 0);
	return p;
}

static void *row(size_t size, const char *key)
{
	static uint64_t digest;
	struct row *r = row_new(size);

	r->key = arena_str(&r->mem, key);
	r->digest = ++digest;
	return r;
}

static void put_endpoint(const char *key, int ifindex, const char *v4, const char *v6)
{
	struct endpoint *e = row(sizeof *e, key);

	e->ifindex = ifindex;
	e->ips[0] = address(v4);
	e->ips[1] = address(v6);
	table_put(&model.endpoints, &e->row);
}

static void put_node(const char *name, const char *v4, const char *v6, const char *vxlan4, const char *vxlan6)
{
	struct node *n = row(sizeof *n, name);

	n->address[0] = prefix(v4);
	n->address[1] = prefix(v6);
	n->tunnel[TUNNEL_VXLAN] = address(vxlan4);
	n->tunnel[TUNNEL_VXLAN_V6] = address(vxlan6);
	for (int f = 0; f < FAMILIES; f++) {
		n->vxlan_mac[f][0] = 0x66;
		n->vxlan_mac[f][4] = (uint8_t)f;
		n->vxlan_mac[f][5] = (uint8_t)name[strlen(name) - 1];
	}
	table_put(&model.nodes, &n->row);
}

static void put_pool(const char *name, const char *cidr, enum encapsulation e)
{
	struct pool *p = row(sizeof *p, name);

	p->meta.name = p->row.key;
	p->cidr = prefix(cidr);
	p->encapsulation = e;
	table_put(&model.pools, &p->row);
}

static void put_uplink(const char *v4, const char *v6)
{
	struct uplink *u = row(sizeof *u, "self");

	u->address[0] = prefix(v4);
	u->address[1] = prefix(v6);
	u->mtu[0] = u->mtu[1] = 1500;
	u->ifindex[0] = u->ifindex[1] = 2;
	table_put(&model.uplinks, &u->row);
}

/* Ordinal n is held by holder (NULL: nothing is allocated). */
static void put_block(const char *cidr, const char *node, unsigned n, const char *holder)
{
	struct block *b = row(sizeof *b, cidr);

	b->cidr = prefix(cidr);
	b->node = node ? arena_str(&b->row.mem, node) : NULL;
	b->size = 1u << (addr_bits(&b->cidr.addr) - b->cidr.len);
	b->allocations = arena_alloc(&b->row.mem, b->size * sizeof *b->allocations);
	for (unsigned i = 0; i < b->size; i++)
		b->allocations[i] = BLOCK_FREE;
	if (holder) {
		b->attributes = arena_alloc(&b->row.mem, sizeof *b->attributes);
		b->attributes[0].node = arena_str(&b->row.mem, holder);
		b->attribute_count = 1;
		b->allocations[n % b->size] = 0;
	}
	table_put(&model.blocks, &b->row);
}

/* ---- what is wanted, as text ---- */

static struct route *route_without_kernel(void)
{
	struct route *r = xcalloc(1, sizeof *r);

	r->model = &model;
	r->command.fd = r->events.fd = -1;
	devices_init(r);
	return r;
}

static void release(struct route *r)
{
	objects_free(r);
	free(r);
}

static int line_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *object_line(const struct object *o)
{
	static const char *const kinds[] = { "addr", "neigh", "fdb", "route" };
	const struct spec *s = &o->wants->spec;
	char *line = xcalloc(1, 400);

	snprintf(line, 400, "%s %d %s %02x%02x type %u proto %u via %s tunnel %u dev %d onlink %d mac %02x%02x for %s", kinds[o->key.kind],
		 o->key.device, prefix_text(&o->key.dst).s, o->key.mac[4], o->key.mac[5], s->type, s->protocol,
		 addr_text(&s->via).s, s->tunnel, s->oif, s->onlink, s->mac[4], s->mac[5], o->wants->owner->key);
	return line;
}

static void device_lines(const struct route *r, struct str *out)
{
	tunnel_each(t)
		if (r->devices[t].wanted)
			str_printf(out, "link %s local %s mtu %u mac %02x\n", r->devices[t].want.name,
				   addr_text(&r->devices[t].want.local).s, r->devices[t].want.mtu, r->devices[t].want.mac[5]);
}

static void wanted(const struct route *r, struct str *out)
{
	char **lines = xcalloc(r->objects.count, sizeof *lines);
	unsigned count = 0;

	hash_each(&r->objects, n) {
		struct object *o = container_of(n, struct object, node);

		if (o->wants)
			lines[count++] = object_line(o);
	}
	qsort(lines, count, sizeof *lines, line_cmp);
	for (unsigned i = 0; i < count; i++) {
		str_printf(out, "%s\n", lines[i]);
		free(lines[i]);
	}
	free(lines);
	device_lines(r, out);
}

static bool wants(const struct route *r, const char *dst, uint8_t type, uint8_t protocol, const char *via,
		  enum tunnel tunnel, int oif)
{
	struct prefix p = prefix(dst);
	struct object_key k = key_route(&p);
	const struct object *o = object_find(r, &k);
	struct addr gateway = address(via);
	const struct spec *s = o && o->wants ? &o->wants->spec : NULL;

	return s && s->type == type && s->protocol == protocol && addr_equal(&s->via, &gateway) && s->tunnel == tunnel &&
	       s->onlink == (tunnel != TUNNEL_NONE) && s->oif == oif;
}

static bool wants_nothing(const struct route *r, const char *dst)
{
	struct prefix p = prefix(dst);
	struct object_key k = key_route(&p);
	const struct object *o = object_find(r, &k);

	return !o || !o->wants;
}

static bool has_problem(const char *key)
{
	return table_find(&model.problems, key) != NULL;
}

/* ---- single facts ---- */

static struct route *fixture(enum encapsulation e)
{
	set_up_model();
	put_pool("v4", "10.42.0.0/16", e);
	put_uplink("192.0.2.1/24", "2001:db8::1/64");
	put_node("self", "192.0.2.1/24", "2001:db8::1/64", "10.42.0.1", NULL);
	put_node("near", "192.0.2.2/24", NULL, "10.42.1.1", NULL);
	put_node("far", "198.51.100.3/24", NULL, "10.42.2.1", NULL);
	put_block("10.42.0.0/26", "self", 0, NULL);
	put_block("10.42.1.0/26", "near", 0, NULL);
	put_block("10.42.2.0/26", "far", 0, NULL);
	return route_without_kernel();
}

static void finish(struct route *r)
{
	release(r);
	model_fini(&model);
}

static void pod_route_beats_block_of_one_address(void **state)
{
	struct route *r = fixture(ENCAP_NONE);

	(void)state;
	put_block("10.42.3.7/32", "self", 0, NULL);
	put_endpoint("c1/eth0", 7, "10.42.3.7", "2001:db8:1::7");
	want_update(r);
	assert_true(wants(r, "10.42.3.7/32", RTN_UNICAST, RTPROT_MANX_POD, NULL, 0, 7));
	assert_true(wants(r, "2001:db8:1::7/128", RTN_UNICAST, RTPROT_MANX_POD, NULL, 0, 7));
	model_clean(&model);
	table_del(&model.endpoints, "c1/eth0");
	want_update(r);
	assert_true(wants(r, "10.42.3.7/32", RTN_BLACKHOLE, RTPROT_MANX_CLUSTER, NULL, 0, 0));
	assert_true(wants_nothing(r, "2001:db8:1::7/128"));
	finish(r);
}

static void modes_give_their_way(void **state)
{
	static const struct { enum encapsulation e; const char *near, *far; enum tunnel near_tunnel, far_tunnel; } rows[] = {
		{ ENCAP_NONE, "192.0.2.2", "198.51.100.3", TUNNEL_NONE, TUNNEL_NONE },
		{ ENCAP_VXLAN, "10.42.1.1", "10.42.2.1", TUNNEL_VXLAN, TUNNEL_VXLAN },
		{ ENCAP_VXLAN_CROSS_SUBNET, "192.0.2.2", "10.42.2.1", TUNNEL_NONE, TUNNEL_VXLAN },
		{ ENCAP_IPIP, "192.0.2.2", "198.51.100.3", TUNNEL_IPIP, TUNNEL_IPIP },
		{ ENCAP_IPIP_CROSS_SUBNET, "192.0.2.2", "198.51.100.3", TUNNEL_NONE, TUNNEL_IPIP },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct route *r = fixture(rows[i].e);

		want_update(r);
		assert_true(wants(r, "10.42.0.0/26", RTN_BLACKHOLE, RTPROT_MANX_CLUSTER, NULL, 0, 0));
		assert_true(wants(r, "10.42.1.0/26", RTN_UNICAST, RTPROT_MANX_CLUSTER, rows[i].near, rows[i].near_tunnel, 0));
		assert_true(wants(r, "10.42.2.0/26", RTN_UNICAST, RTPROT_MANX_CLUSTER, rows[i].far, rows[i].far_tunnel, 0));
		finish(r);
	}
}

static void borrowed_address_goes_to_its_holder(void **state)
{
	struct route *r = fixture(ENCAP_NONE);

	(void)state;
	put_block("10.42.0.0/26", "self", 5, "far");
	put_block("10.42.1.0/26", "near", 9, "self");
	put_block("10.42.4.0/26", NULL, 3, "near");
	want_update(r);
	assert_true(wants(r, "10.42.0.5/32", RTN_UNICAST, RTPROT_MANX_CLUSTER, "198.51.100.3", 0, 0));
	assert_true(wants_nothing(r, "10.42.1.9/32"));
	assert_true(wants(r, "10.42.4.3/32", RTN_UNICAST, RTPROT_MANX_CLUSTER, "192.0.2.2", 0, 0));
	assert_true(wants_nothing(r, "10.42.4.0/26"));
	finish(r);
}

static void node_without_tunnel_address_is_named(void **state)
{
	struct route *r = fixture(ENCAP_VXLAN);

	(void)state;
	put_node("far", "198.51.100.3/24", NULL, NULL, NULL);
	want_update(r);
	assert_true(wants_nothing(r, "10.42.2.0/26"));
	assert_true(has_problem("route node far"));
	model_clean(&model);
	put_node("far", "198.51.100.3/24", NULL, "10.42.2.9", NULL);
	want_update(r);
	assert_true(wants(r, "10.42.2.0/26", RTN_UNICAST, RTPROT_MANX_CLUSTER, "10.42.2.9", TUNNEL_VXLAN, 0));
	assert_false(has_problem("route node far"));
	finish(r);
}

static void device_follows_pool_uplink_and_node(void **state)
{
	struct route *r = fixture(ENCAP_VXLAN);

	(void)state;
	want_update(r);
	assert_true(r->devices[TUNNEL_VXLAN].wanted);
	assert_false(r->devices[TUNNEL_VXLAN_V6].wanted || r->devices[TUNNEL_IPIP].wanted);
	assert_int_equal(r->devices[TUNNEL_VXLAN].want.mtu, 1450);
	model_clean(&model);
	put_pool("v6", "2001:db8:42::/56", ENCAP_VXLAN);
	put_node("self", "192.0.2.1/24", "2001:db8::1/64", "10.42.0.1", "2001:db8:42::1");
	want_update(r);
	assert_true(r->devices[TUNNEL_VXLAN_V6].wanted);
	assert_int_equal(r->devices[TUNNEL_VXLAN_V6].want.mtu, 1430);
	model_clean(&model);
	put_pool("v4", "10.42.0.0/16", ENCAP_NONE);
	want_update(r);
	assert_false(r->devices[TUNNEL_VXLAN].wanted);
	finish(r);
}

static bool wants_address(const struct route *r, enum tunnel t, const char *address)
{
	struct prefix p = prefix(address);
	struct object_key k = key_addr(t, &p);
	const struct object *o = object_find(r, &k);

	return o && o->wants;
}

/* Routes by IPIP need nobody's tunnel address; our own, once known, is for what the node itself sends. */
static void ipip_needs_no_tunnel_address(void **state)
{
	struct route *r = fixture(ENCAP_IPIP);
	struct addr own = address("10.42.0.9");

	(void)state;
	put_node("self", "192.0.2.1/24", NULL, NULL, NULL);
	put_node("far", "198.51.100.3/24", NULL, NULL, NULL);
	want_update(r);
	assert_true(r->devices[TUNNEL_IPIP].wanted);
	assert_false(r->devices[TUNNEL_VXLAN].wanted);
	assert_int_equal(r->devices[TUNNEL_IPIP].want.mtu, 1480);
	assert_string_equal(r->devices[TUNNEL_IPIP].want.name, "tunl0");
	assert_true(wants(r, "10.42.2.0/26", RTN_UNICAST, RTPROT_MANX_CLUSTER, "198.51.100.3", TUNNEL_IPIP, 0));
	assert_false(has_problem("route node far"));
	assert_false(wants_address(r, TUNNEL_IPIP, "10.42.0.9/32"));
	model_clean(&model);
	model_tunnel_set(&model, TUNNEL_IPIP, &own);
	want_update(r);
	assert_true(wants_address(r, TUNNEL_IPIP, "10.42.0.9/32"));
	model_clean(&model);
	table_del(&model.uplinks, "self");
	want_update(r);
	assert_false(r->devices[TUNNEL_IPIP].wanted);
	assert_true(r->devices[TUNNEL_IPIP].needed);
	finish(r);
}

/* What the status says of a node whose IPv4 goes by IPIP and whose IPv6 by VXLAN. */
static void overlay_status_names_ipv4s_mode(void **state)
{
	struct route *r = fixture(ENCAP_IPIP_CROSS_SUBNET);
	struct overlay_status o;

	(void)state;
	put_pool("v6", "2001:db8:42::/56", ENCAP_VXLAN);
	put_node("self", "192.0.2.1/24", "2001:db8::1/64", NULL, "2001:db8:42::1");
	want_update(r);
	route_overlay_status(r, &o);
	assert_string_equal(o.mode, "ipip-cross-subnet");
	assert_string_equal(o.device, "tunl0");
	assert_int_equal(o.mtu, 1480);
	assert_int_equal(o.peers, 2);
	assert_string_equal(o.problem, "");
	model_clean(&model);
	put_pool("more", "10.43.0.0/16", ENCAP_IPIP);
	want_update(r);
	route_overlay_status(r, &o);
	assert_string_equal(o.mode, "ipip");
	finish(r);
}

static void deleted_block_and_refused_pool_want_nothing(void **state)
{
	struct route *r = fixture(ENCAP_NONE);
	struct block *b;
	struct pool *p;

	(void)state;
	want_update(r);
	b = table_find(&model.blocks, "10.42.1.0/26");
	b->deleted = true;
	table_touch(&model.blocks, &b->row);
	want_update(r);
	assert_true(wants_nothing(r, "10.42.1.0/26"));
	p = table_find(&model.pools, "v4");
	p->refused = "overlaps";
	table_touch(&model.pools, &p->row);
	want_update(r);
	assert_true(wants_nothing(r, "10.42.2.0/26"));
	assert_true(wants(r, "10.42.0.0/26", RTN_BLACKHOLE, RTPROT_MANX_CLUSTER, NULL, 0, 0));
	finish(r);
}

/* ---- the property ---- */

static uint32_t seed;

static unsigned pick(unsigned n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 16) % n;
}

static const char *const node_names[] = { "self", "n1", "n2", "n3", "n4" };

static const char *maybe(const char *text)
{
	return pick(3) ? text : NULL;
}

static void change_node(void)
{
	unsigned i = pick(5);
	char v4[32], v6[64], t4[32], t6[64];

	if (!pick(4)) {
		table_del(&model.nodes, node_names[i]);
		return;
	}
	snprintf(v4, sizeof v4, "%s.%u/24", pick(2) ? "192.0.2" : "198.51.100", i + 1);
	snprintf(v6, sizeof v6, "2001:db8:%u::%u/64", pick(2), i + 1);
	snprintf(t4, sizeof t4, "10.42.%u.%u", i, pick(2));
	snprintf(t6, sizeof t6, "2001:db8:42:%u::1", i);
	put_node(node_names[i], maybe(v4), maybe(v6), maybe(t4), maybe(t6));
}

static void change_block(void)
{
	static const char *const cidrs[] = { "10.42.0.0/26", "10.42.1.0/26", "10.42.2.4/32", "10.42.2.4/30", "10.43.0.0/28",
					     "2001:db8:42::/122", "2001:db8:42:1::40/122" };
	const char *cidr = cidrs[pick(ARRAY_SIZE(cidrs))];

	if (!pick(4))
		table_del(&model.blocks, cidr);
	else
		put_block(cidr, maybe(node_names[pick(5)]), pick(64), maybe(node_names[pick(5)]));
}

static void change_endpoint(void)
{
	char key[16], v4[32];

	snprintf(key, sizeof key, "c%u/eth0", pick(6));
	snprintf(v4, sizeof v4, "10.42.%u.%u", pick(3), 4 + pick(2));
	if (!pick(3))
		table_del(&model.endpoints, key);
	else
		put_endpoint(key, 5 + (int)pick(3), maybe(v4), maybe("2001:db8:42::5"));
}

static void change_pool(void)
{
	static const char *const cidrs[] = { "10.42.0.0/16", "10.43.0.0/16", "2001:db8:42::/56" };
	unsigned i = pick(3);
	char name[8];

	snprintf(name, sizeof name, "p%u", i);
	if (!pick(4))
		table_del(&model.pools, name);
	else
		put_pool(name, cidrs[i], ENCAP_IPIP + (enum encapsulation)pick(5));
}

static void change_something(void)
{
	static void (*const changes[])(void) = { change_node, change_node, change_block, change_block, change_endpoint,
						 change_endpoint, change_pool };
	unsigned i = pick(ARRAY_SIZE(changes) + 1);

	if (i < ARRAY_SIZE(changes))
		changes[i]();
	else
		put_uplink(maybe("192.0.2.1/24"), maybe("2001:db8:0::1/64"));
}

static void problems_text(struct str *out)
{
	char **lines = xcalloc(model.problems.count, sizeof *lines);
	const struct problem *p;
	unsigned count = 0;

	table_each(&model.problems, p)
		lines[count++] = xstrdup(p->row.key);
	qsort(lines, count, sizeof *lines, line_cmp);
	for (unsigned i = 0; i < count; i++) {
		str_printf(out, "%s\n", lines[i]);
		free(lines[i]);
	}
	free(lines);
}

/* A mark means that the pass visits the object: here that what is wanted is noted as present. */
static void forget_marks(struct route *r)
{
	for (unsigned i = 0; i < r->marked.count; i++) {
		struct object *o = r->marked.at[i];

		o->present = o->wants;
		if (o->wants)
			o->have = o->wants->spec;
		o->marked = false;
		object_release(r, o);
	}
	r->marked.count = 0;
	for (unsigned i = 0; i < r->touched.count; i++) {
		r->touched.at[i]->touched = false;
		owner_release(r, r->touched.at[i]);
	}
	r->touched.count = 0;
}

/* So after that, an object that is not as wanted is one that should have been marked. */
static void compare_with_noted(const struct route *r, unsigned step)
{
	hash_each(&r->objects, n) {
		const struct object *o = container_of(n, struct object, node);

		if (!o->wants != !o->present || (o->wants && !spec_equal(&o->have, &o->wants->spec)))
			fail_msg("step %u: %s was not marked", step, prefix_text(&o->key.dst).s);
	}
}

static void compare_with_scratch(const struct route *r, unsigned step)
{
	struct route *fresh = route_without_kernel();
	autostr struct str a = { 0 }, b = { 0 }, before = { 0 }, after = { 0 };

	problems_text(&before);
	wanted(r, &a);
	want_update(fresh);
	wanted(fresh, &b);
	problems_text(&after);
	if (strcmp(str_text(&a), str_text(&b)) || strcmp(str_text(&before), str_text(&after)))
		fail_msg("step %u\nincremental:\n%s%sfrom scratch:\n%s%s", step, str_text(&a), str_text(&before), str_text(&b),
			 str_text(&after));
	release(fresh);
}

static void incremental_equals_scratch(void **state)
{
	(void)state;
	for (uint32_t first = 1; first <= 20; first++) {
		struct route *r;

		seed = first;
		print_message("seed %u\n", (unsigned)first);
		set_up_model();
		r = route_without_kernel();
		for (unsigned step = 0; step < 300; step++) {
			for (unsigned n = 1 + pick(3); n > 0; n--)
				change_something();
			want_update(r);
			model_clean(&model);
			compare_with_scratch(r, step);
			forget_marks(r);
			compare_with_noted(r, step);
		}
		finish(r);
	}
}

/* A change that changes nothing must mark nothing. */
static void same_rows_mark_nothing(void **state)
{
	struct route *r = fixture(ENCAP_VXLAN_CROSS_SUBNET);
	struct block *b;
	struct node *n;

	(void)state;
	put_endpoint("c1/eth0", 7, "10.42.0.7", NULL);
	want_update(r);
	model_clean(&model);
	forget_marks(r);
	table_each(&model.blocks, b)
		table_touch(&model.blocks, &b->row);
	table_each(&model.nodes, n)
		table_touch(&model.nodes, &n->row);
	want_update(r);
	assert_int_equal(r->marked.count, 0);
	finish(r);
}

static void two_attachments_of_one_address_have_one_owner(void **state)
{
	struct route *r = fixture(ENCAP_NONE);

	(void)state;
	put_endpoint("b/eth0", 8, "10.42.0.7", NULL);
	put_endpoint("a/eth0", 7, "10.42.0.7", NULL);
	want_update(r);
	assert_true(wants(r, "10.42.0.7/32", RTN_UNICAST, RTPROT_MANX_POD, NULL, 0, 7));
	model_clean(&model);
	table_del(&model.endpoints, "a/eth0");
	want_update(r);
	assert_true(wants(r, "10.42.0.7/32", RTN_UNICAST, RTPROT_MANX_POD, NULL, 0, 8));
	finish(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pod_route_beats_block_of_one_address),
		cmocka_unit_test(modes_give_their_way),
		cmocka_unit_test(borrowed_address_goes_to_its_holder),
		cmocka_unit_test(node_without_tunnel_address_is_named),
		cmocka_unit_test(device_follows_pool_uplink_and_node),
		cmocka_unit_test(ipip_needs_no_tunnel_address),
		cmocka_unit_test(overlay_status_names_ipv4s_mode),
		cmocka_unit_test(deleted_block_and_refused_pool_want_nothing),
		cmocka_unit_test(two_attachments_of_one_address_have_one_owner),
		cmocka_unit_test(same_rows_mark_nothing),
		cmocka_unit_test(incremental_equals_scratch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
