/* links: src/nft/ruleset.c src/nft/ruleset_text.c src/nft/field.c src/nft/expr.c src/nft/message.c src/nft/asker.c src/nft/base.c src/nft/hostport.c src/nft/want.c src/nft/policy.c src/nft/profile.c src/nft/decision.c src/nft/peers.c src/nft/refused.c src/nft/conntrack.c src/nft/have.c src/nft/apply.c src/nft/table.c src/nft/probe.c src/nft/nft.c src/nft/forward.c src/nl/nl.c src/nl/nl_attr.c src/model/model.c src/model/policy.c src/model/selector.c src/model/index.c src/model/tunnel.c src/model/config.c src/model/config_value.c src/base/fs.c src/base/hash.c src/base/arena.c src/base/digest.c src/base/err.c src/base/log.c src/base/loop.c src/base/prefix.c src/base/str.c src/base/table.c src/base/thread.c src/base/util.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/util.h"
#include "nft/policy.h"

/* The rows of a model, the table that they ask for, and a kernel's table read against it; no kernel. */

static struct config config;
static struct model model;
static struct nft *nft;

static struct nft *nft_fresh(void)
{
	struct nft *n = xcalloc(1, sizeof *n);
	static struct loop loop;

	n->loop = &loop;
	n->model = &model;
	n->command.fd = n->events.fd = -1;
	n->nat = ANSWER_YES;
	n->full = n->table = true;
	n->conntrack = ANSWER_YES;
	n->flows.watch.fd = -1;
	policies_open(n);
	base_sets(n);
	return n;
}

static int set_up(void **state)
{
	(void)state;
	config = (struct config){ 0 };
	str_copy(config.node_name, sizeof config.node_name, "self");
	model_init(&model, &config);
	nft = nft_fresh();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	nft_free(nft);
	model_fini(&model);
	return 0;
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

	e->pod = e->namespace = "";
	e->ifindex = ifindex;
	e->ips[0] = address(v4);
	e->ips[1] = address(v6);
	table_put(&model.endpoints, &e->row);
}

static void put_node(const char *name, const char *v4, const char *v6)
{
	struct node *n = row(sizeof *n, name);

	n->address[0] = prefix(v4);
	n->address[1] = prefix(v6);
	table_put(&model.nodes, &n->row);
}

static void put_pool(const char *name, const char *cidr, enum encapsulation e, bool nat)
{
	struct pool *p = row(sizeof *p, name);

	p->cidr = prefix(cidr);
	p->encapsulation = e;
	p->nat_outgoing = nat;
	table_put(&model.pools, &p->row);
}

/* lent_to: who has the block's third address, or NULL. */
static void put_block(const char *cidr, const char *node, const char *lent_to)
{
	struct block *b = row(sizeof *b, cidr);
	struct arena *mem = &b->row.mem;

	b->cidr = prefix(cidr);
	b->node = node ? arena_str(mem, node) : NULL;
	b->size = 4;
	b->allocations = arena_alloc(mem, b->size * sizeof *b->allocations);
	for (unsigned i = 0; i < b->size; i++)
		b->allocations[i] = BLOCK_FREE;
	if (lent_to) {
		b->attribute_count = 1;
		b->attributes = arena_alloc(mem, sizeof *b->attributes);
		b->attributes[0].node = arena_str(mem, lent_to);
		b->allocations[2] = 0;
	}
	table_put(&model.blocks, &b->row);
}

static void put_uplink(const char *v4, const char *v6)
{
	struct uplink *up = row(sizeof *up, "self");

	up->address[0] = prefix(v4);
	up->address[1] = prefix(v6);
	table_put(&model.uplinks, &up->row);
}

static void turn(void)
{
	nft_want(nft);
	askers_report(nft);
	model_clean(&model);
}

/* ---- golden text ---- */

static void text_of(const struct nft *n, struct str *out)
{
	ruleset_text(&n->rules, false, out);
}

static const char *find(const struct str *text, const char *begin)
{
	const char *at = strstr(str_text(text), begin);

	if (!at)
		fail_msg("no %s in\n%s", begin, str_text(text));
	return at;
}

/* The set or chain of that name (a line that begins so), to its closing brace. */
static void part_is(const char *begin, const char *want)
{
	autostr struct str text = { 0 }, part = { 0 };
	const char *at;

	text_of(nft, &text);
	at = find(&text, begin);
	str_add(&part, at, (size_t)(strstr(at, "\t}\n") - at));
	assert_string_equal(str_text(&part), want);
}

static void lacks(const char *word)
{
	autostr struct str text = { 0 };

	text_of(nft, &text);
	assert_null(strstr(str_text(&text), word));
}

static void pods_have_an_element_for_each_address(void **state)
{
	(void)state;
	put_endpoint("a/eth0", 7, "10.42.0.1", "fd00::1");
	put_endpoint("b/eth0", 8, "10.42.0.2", NULL);
	put_endpoint("dead/eth0", 0, "10.42.0.3", NULL);
	turn();
	part_is("set pods-4 {", "set pods-4 {\n\t\ttype iface_index . ipv4_addr\n"
		"\t\telements = { 7 . 10.42.0.1,\n\t\t\t     8 . 10.42.0.2 }\n");
	part_is("set pods-6 {", "set pods-6 {\n\t\ttype iface_index . ipv6_addr\n\t\telements = { 7 . fd00::1 }\n");
	table_del(&model.endpoints, "a/eth0");
	turn();
	part_is("set pods-4 {", "set pods-4 {\n\t\ttype iface_index . ipv4_addr\n\t\telements = { 8 . 10.42.0.2 }\n");
	part_is("set pods-6 {", "set pods-6 {\n\t\ttype iface_index . ipv6_addr\n");
}

static void pods_packets_are_checked(void **state)
{
	(void)state;
	turn();
	part_is("chain prerouting {", "chain prerouting {\n"
		"\t\ttype filter hook prerouting priority -300; policy accept;\n"
		"\t\tiifname \"cali*\" goto from-pod\n");
	part_is("chain from-pod {", "chain from-pod {\n"
		"\t\tiif . ip saddr != @pods-4 drop\n"
		"\t\tiif . ip6 saddr != @pods-6 goto from-pod-link-local\n"
		"\t\tip daddr 127.0.0.0/8 drop\n"
		"\t\tip6 daddr ::1 drop\n"
		"\t\tmeta l4proto 6 accept\n"
		"\t\tmeta l4proto 4 drop\n"
		"\t\tmeta l4proto 41 drop\n"
		"\t\tudp dport 4789 drop\n"
		"\t\tudp sport 67 drop\n"
		"\t\tudp sport 547 drop\n"
		"\t\ticmp type 5 drop\n"
		"\t\ticmp type 9 drop\n"
		"\t\ticmpv6 type 134 drop\n"
		"\t\ticmpv6 type 137 drop\n");
	part_is("chain from-pod-link-local {", "chain from-pod-link-local {\n"
		"\t\tip6 saddr fe80::/10 icmpv6 type @neighbour-types accept\n"
		"\t\tip6 saddr :: icmpv6 type @neighbour-types accept\n"
		"\t\tdrop\n");
}

static void without_a_tunnel_nothing_is_said_of_nodes(void **state)
{
	(void)state;
	put_pool("p", "10.42.0.0/16", ENCAP_NONE, false);
	put_node("other", "192.0.2.2/24", "2001:db8::2/64");
	put_block("10.42.0.0/30", "self", "other");
	turn();
	lacks("192.0.2.2");
	lacks("to-tunnel\n");
	lacks("chain postrouting");
	lacks("elements = { 10.42");
}

static void tunnel_is_open_to_nodes(void **state)
{
	(void)state;
	put_pool("p", "10.42.0.0/16", ENCAP_IPIP_CROSS_SUBNET, false);
	put_node("self", "192.0.2.1/24", NULL);
	put_node("other", "192.0.2.2/24", "2001:db8::2/64");
	turn();
	part_is("chain input {", "chain input {\n\t\ttype filter hook input priority 0; policy accept;\n"
		"\t\tiifname \"cali*\" jump pod-to-host\n\t\tiifname \"cali*\" drop\n"
		"\t\tmeta l4proto 4 goto to-tunnel\n");
	part_is("set nodes-4 {", "set nodes-4 {\n\t\ttype ipv4_addr\n\t\telements = { 192.0.2.2 }\n");
	part_is("set nodes-6 {", "set nodes-6 {\n\t\ttype ipv6_addr\n\t\telements = { 2001:db8::2 }\n");
	put_pool("q", "fd00::/48", ENCAP_VXLAN, false);
	put_node("other", "192.0.2.3/24", NULL);
	turn();
	part_is("chain input {", "chain input {\n\t\ttype filter hook input priority 0; policy accept;\n"
		"\t\tiifname \"cali*\" jump pod-to-host\n\t\tiifname \"cali*\" drop\n"
		"\t\tmeta l4proto 4 goto to-tunnel\n"
		"\t\tudp dport 4789 goto to-tunnel\n");
	part_is("set nodes-4 {", "set nodes-4 {\n\t\ttype ipv4_addr\n\t\telements = { 192.0.2.3 }\n");
	part_is("set nodes-6 {", "set nodes-6 {\n\t\ttype ipv6_addr\n");
	part_is("chain prerouting {", "chain prerouting {\n"
		"\t\ttype filter hook prerouting priority -300; policy accept;\n"
		"\t\tiifname \"cali*\" goto from-pod\n"
		"\t\tiifname \"tunl0\" goto from-tunnel\n"
		"\t\tiifname \"vxlan-v6.calico\" goto from-tunnel\n");
}

static void own_addresses_do_not_come_out_of_a_tunnel(void **state)
{
	(void)state;
	put_pool("p", "10.42.0.0/16", ENCAP_VXLAN, false);
	put_block("10.42.0.4/30", "self", "other");
	put_block("10.42.0.0/30", "self", "self");
	put_block("10.42.9.0/30", "other", NULL);
	put_endpoint("a/eth0", 7, "10.42.0.1", NULL);
	put_endpoint("b/eth0", 8, "10.42.9.1", NULL);
	turn();
	part_is("chain from-tunnel {", "chain from-tunnel {\n"
		"\t\tip saddr @borrowed-4 drop\n"
		"\t\tip6 saddr @borrowed-6 drop\n"
		"\t\tip saddr 10.42.0.0/30 goto from-own-block\n"
		"\t\tip saddr 10.42.0.4/30 goto from-own-block\n");
	part_is("set borrowed-4 {", "set borrowed-4 {\n\t\ttype ipv4_addr\n\t\telements = { 10.42.9.1 }\n");
	part_is("set lent-4 {", "set lent-4 {\n\t\ttype ipv4_addr\n\t\telements = { 10.42.0.6 }\n");
	table_del(&model.blocks, "10.42.0.0/30");	/* the pod keeps its address */
	put_block("10.42.9.0/30", "self", NULL);
	put_block("10.42.0.4/30", "self", NULL);
	turn();
	part_is("set borrowed-4 {", "set borrowed-4 {\n\t\ttype ipv4_addr\n\t\telements = { 10.42.0.1 }\n");
	part_is("set lent-4 {", "set lent-4 {\n\t\ttype ipv4_addr\n");
}

static void pools_are_masqueraded_towards_what_is_no_pool(void **state)
{
	(void)state;
	put_uplink("192.0.2.1/24", NULL);
	put_pool("b", "10.43.0.0/16", ENCAP_NONE, false);
	put_pool("a", "10.42.0.0/16", ENCAP_VXLAN, true);
	put_pool("c", "fd00::/48", ENCAP_NONE, true);
	turn();
	part_is("chain postrouting {", "chain postrouting {\n"
		"\t\ttype nat hook postrouting priority 110; policy accept;\n"
		"\t\toifname \"vxlan.calico\" ip saddr 192.0.2.1 masquerade fully-random\n"
		"\t\tip saddr 10.42.0.0/16 goto nat-outgoing\n"
		"\t\tip6 saddr fd00::/48 goto nat-outgoing\n");
	part_is("chain nat-outgoing {", "chain nat-outgoing {\n"
		"\t\tip daddr 10.42.0.0/16 return\n"
		"\t\tip daddr 10.43.0.0/16 return\n"
		"\t\tip6 daddr fd00::/48 return\n"
		"\t\tmasquerade fully-random\n");
	put_pool("a", "10.42.0.0/16", ENCAP_NONE, false);
	put_pool("c", "fd00::/48", ENCAP_NONE, false);
	turn();
	lacks("masquerade");
}

static void kernel_without_nat_has_the_rest(void **state)
{
	(void)state;
	nft->nat = ANSWER_NO;
	put_pool("a", "10.42.0.0/16", ENCAP_VXLAN, true);
	turn();
	lacks("masquerade");
	part_is("chain input {", "chain input {\n\t\ttype filter hook input priority 0; policy accept;\n"
		"\t\tiifname \"cali*\" jump pod-to-host\n\t\tiifname \"cali*\" drop\n"
		"\t\tudp dport 4789 goto to-tunnel\n");
}

/* ---- the same whatever the way ---- */

enum { NODES = 4, PODS = 12, BLOCKS = 6, POOLS = 3, STEPS = 3000 };

static void change(unsigned kind, unsigned i)
{
	static const enum encapsulation modes[] = { ENCAP_NONE, ENCAP_VXLAN, ENCAP_IPIP, ENCAP_VXLAN_CROSS_SUBNET };
	static const char *const pools[POOLS] = { "10.42.0.0/16", "10.43.0.0/16", "fd00::/48" };
	char key[32], v4[32], v6[32], cidr[32];

	switch (kind) {
	case 0:
	case 1:
		snprintf(key, sizeof key, "c%u/eth0", i % PODS);
		snprintf(v4, sizeof v4, "10.42.0.%u", (unsigned)rand() % (BLOCKS * 4));
		snprintf(v6, sizeof v6, "fd00::%x", (unsigned)rand() % 5);
		if (rand() % 3)
			put_endpoint(key, rand() % 8, rand() % 5 ? v4 : NULL, rand() % 3 ? v6 : NULL);
		else
			table_del(&model.endpoints, key);
		break;
	case 2:
		snprintf(key, sizeof key, "n%u", i % NODES);
		snprintf(v4, sizeof v4, "192.0.2.%u/24", (unsigned)rand() % 4);
		if (rand() % 3)
			put_node(key, rand() % 5 ? v4 : NULL, rand() % 2 ? "2001:db8::2/64" : NULL);
		else
			table_del(&model.nodes, key);
		break;
	case 3:
	case 4:
		snprintf(cidr, sizeof cidr, "10.42.0.%u/30", i % BLOCKS * 4);
		if (rand() % 4)
			put_block(cidr, rand() % 2 ? "self" : rand() % 2 ? "n1" : NULL,
				  rand() % 2 ? "n2" : rand() % 2 ? "self" : NULL);
		else
			table_del(&model.blocks, cidr);
		break;
	case 5:
		snprintf(key, sizeof key, "p%u", i % POOLS);
		if (rand() % 4)
			put_pool(key, pools[i % POOLS], modes[rand() % 4], rand() % 2);
		else
			table_del(&model.pools, key);
		break;
	case 6:
		put_uplink(rand() % 2 ? "192.0.2.1/24" : NULL, rand() % 2 ? "2001:db8::1/64" : NULL);
		break;
	}
}

static void same_as_from_scratch(unsigned step)
{
	autostr struct str now = { 0 }, scratch = { 0 };
	struct nft *other = nft_fresh();

	nft_want(other);
	text_of(nft, &now);
	text_of(other, &scratch);
	nft_free(other);
	if (strcmp(str_text(&now), str_text(&scratch)) != 0)
		fail_msg("step %u: by changes\n%s\nfrom scratch\n%s", step, str_text(&now), str_text(&scratch));
}

static void changes_lead_where_a_fresh_start_does(void **state)
{
	const unsigned seed = 20261124;
	(void)state;

	print_message("seed %u\n", seed);
	srand(seed);
	for (unsigned step = 0; step < STEPS; step++) {
		for (int n = rand() % 4; n >= 0; n--)
			change((unsigned)rand() % 7, (unsigned)rand());
		turn();
		if (step % 4 == 0)
			same_as_from_scratch(step);
	}
}

/* ---- what the kernel has ---- */

static void sample(void)
{
	put_uplink("192.0.2.1/24", "2001:db8::1/64");
	put_pool("a", "10.42.0.0/16", ENCAP_VXLAN, true);
	put_pool("b", "fd00::/48", ENCAP_VXLAN, true);
	put_node("other", "192.0.2.2/24", "2001:db8::2/64");
	put_block("10.42.0.0/30", "self", NULL);
	put_endpoint("a/eth0", 7, "10.42.0.1", "fd00::1");
	put_endpoint("b/eth0", 8, "10.42.0.2", "fd00::2");
	turn();
}

static bool wanted(const struct element *e)
{
	return e->wants > 0;
}

/* All that is wanted, as messages in the command socket's buffer: what a kernel would dump of it. */
static void say_all(struct nl *nl)
{
	hash_each(&nft->rules.sets, at) {
		const struct set *s = container_of(at, struct set, node);

		message_set(nl, NFT_MSG_NEWSET, s);
		message_elements(nl, NFT_MSG_NEWSETELEM, s, wanted);
	}
	hash_each(&nft->rules.chains, at) {
		const struct chain *c = container_of(at, struct chain, node);

		message_chain(nl, NFT_MSG_NEWCHAIN, NFT_TABLE, c);
		for (const struct rule *r = c->rules.first; r; r = r->next)
			message_rule(nl, NFT_TABLE, c, r);
	}
}

static void hear(struct nft *n, const struct nlmsghdr *h)
{
	switch (h->nlmsg_type & 0xff) {
	case NFT_MSG_NEWSET:
		have_set(n, h);
		break;
	case NFT_MSG_NEWSETELEM:
		have_elements(n, h);
		break;
	case NFT_MSG_NEWCHAIN:
		have_chain(n, h);
		break;
	case NFT_MSG_NEWRULE:
		have_rule(n, h);
		break;
	}
}

/* Reads the messages, without the one at position `without`; true when the kernel's table needs a change. */
static bool hear_all(const struct nl *nl, unsigned without)
{
	const char *at = nl->buf;

	nft->reading++;
	for (unsigned i = 0; i < nl->count; i++) {
		const struct nlmsghdr *h = (const struct nlmsghdr *)at;

		if (i != without)
			hear(nft, h);
		at += MNL_ALIGN(h->nlmsg_len);
	}
	have_done(nft);
	return nft_differs(nft);
}

static void table_as_it_was_sent_needs_nothing(void **state)
{
	struct nl nl = { .fd = -1 };
	(void)state;

	sample();
	say_all(&nl);
	assert_true(nft_differs(nft));
	assert_false(hear_all(&nl, UINT32_MAX));
	assert_int_equal(nft_counts(nft).sets, FIXED_SETS);
	assert_int_equal(nft_counts(nft).elements, 6 + 4 + 4 + 2 + 2);
	nl_close(&nl);
}

static void whatever_is_missing_is_noticed(void **state)
{
	struct nl nl = { .fd = -1 };
	(void)state;

	sample();
	say_all(&nl);
	for (unsigned i = 0; i < nl.count; i++) {
		if (!hear_all(&nl, i))
			fail_msg("message %u is not missed", i);
		assert_false(hear_all(&nl, UINT32_MAX));
	}
	nl_close(&nl);
}

static void whatever_is_foreign_is_noticed(void **state)
{
	static const struct hook other = { "filter", "prerouting", 0, -299 };
	static const uint8_t fields[KEY_FIELDS] = { FIELD_UDP_DPORT };
	struct ruleset foreign = { 0 };
	struct rule_list rules = { 0 };
	struct nl nl = { .fd = -1 }, more = { .fd = -1 };
	const char *at;
	(void)state;

	sample();
	say_all(&nl);
	rule_add(&rules, VERDICT_ACCEPT, NULL);
	chain_want(&foreign, chain_get(&foreign, "prerouting"), &other, &rules);
	rule_add(&rules, VERDICT_ACCEPT, NULL);
	chain_want(&foreign, chain_get(&foreign, "from-pod"), NULL, &rules);
	message_chain(&more, NFT_MSG_NEWCHAIN, NFT_TABLE, chain_get(&foreign, "prerouting"));
	message_chain(&more, NFT_MSG_NEWCHAIN, NFT_TABLE, chain_get(&foreign, "stray"));
	message_rule(&more, NFT_TABLE, chain_get(&foreign, "from-pod"), chain_get(&foreign, "from-pod")->rules.first);
	message_set(&more, NFT_MSG_NEWSET, set_get(&foreign, "stray", fields));
	message_set(&more, NFT_MSG_NEWSET, set_get(&foreign, "nodes-4", fields));
	at = more.buf;
	for (unsigned i = 0; i < more.count; i++) {
		hear_all(&nl, UINT32_MAX);
		hear(nft, (const struct nlmsghdr *)at);
		have_done(nft);
		if (!nft_differs(nft))
			fail_msg("foreign message %u is not noticed", i);
		at += MNL_ALIGN(((const struct nlmsghdr *)at)->nlmsg_len);
	}
	assert_false(hear_all(&nl, UINT32_MAX));
	ruleset_free(&foreign);
	nl_close(&nl);
	nl_close(&more);
}

static void other_tables_are_not_read(void **state)
{
	struct nl nl = { .fd = -1 };
	(void)state;

	sample();
	say_all(&nl);
	hear_all(&nl, UINT32_MAX);
	message_chain(&nl, NFT_MSG_NEWCHAIN, "other", chain_get(&nft->rules, "from-pod"));
	message_rule(&nl, "other", chain_get(&nft->rules, "from-pod"), chain_get(&nft->rules, "from-pod")->rules.first);
	assert_false(hear_all(&nl, UINT32_MAX));
	nl_close(&nl);
}

/* ---- until the model is complete ---- */

static void until_all_is_known_only_elements_are_added(void **state)
{
	struct nl nl = { .fd = -1 };
	(void)state;

	sample();
	say_all(&nl);
	hear_all(&nl, UINT32_MAX);
	nft->full = false;
	table_del(&model.endpoints, "a/eth0");
	table_del(&model.pools, "a");
	turn();
	assert_false(nft_differs(nft));
	put_endpoint("new/eth0", 9, "10.42.0.3", NULL);
	turn();
	assert_true(nft_differs(nft));
	nft->table = false;
	assert_false(nft_differs(nft));
	nl_close(&nl);
}

/* ---- what an endpoint's row is told ---- */

static void endpoint_waits_for_its_elements(void **state)
{
	struct endpoint *e;
	struct nl nl = { .fd = -1 };
	(void)state;

	sample();
	e = table_find(&model.endpoints, "a/eth0");
	assert_true(e->rc < 0 && *e->why);
	say_all(&nl);
	hear_all(&nl, UINT32_MAX);
	askers_report(nft);
	assert_int_equal(e->rc, 0);
	e->rc = -5;			/* another reconciler's word stays */
	table_touch(&model.endpoints, &e->row);
	turn();
	assert_int_equal(e->rc, -5);
	nl_close(&nl);
}

#define test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(pods_have_an_element_for_each_address),
		test(pods_packets_are_checked),
		test(without_a_tunnel_nothing_is_said_of_nodes),
		test(tunnel_is_open_to_nodes),
		test(own_addresses_do_not_come_out_of_a_tunnel),
		test(pools_are_masqueraded_towards_what_is_no_pool),
		test(kernel_without_nat_has_the_rest),
		test(changes_lead_where_a_fresh_start_does),
		test(table_as_it_was_sent_needs_nothing),
		test(whatever_is_missing_is_noticed),
		test(whatever_is_foreign_is_noticed),
		test(other_tables_are_not_read),
		test(until_all_is_known_only_elements_are_added),
		test(endpoint_waits_for_its_elements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
