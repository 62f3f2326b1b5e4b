/* links: src/nft/ruleset.c src/nft/ruleset_text.c src/nft/field.c src/nft/expr.c src/nft/message.c src/nl/nl.c src/nl/nl_attr.c src/base/hash.c src/base/arena.c src/base/digest.c src/base/prefix.c src/base/err.c src/base/str.c src/base/log.c src/base/util.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <linux/netfilter.h>
#include "base/digest.h"
#include "nft/message.h"

/* Rules as text, and as the bytes that the kernel gets (from a struct nl without a socket). */

static struct ruleset rs;
static struct rule_list rules;
static struct nl nl = { .fd = -1 };

static int fresh(void **state)
{
	(void)state;
	rules_free(&rules);
	ruleset_free(&rs);
	nl_close(&nl);
	rs = (struct ruleset){ 0 };
	return 0;
}

static struct prefix prefix(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(&p, text, NULL), 0);
	return p;
}

static const struct set *pods_set(void)
{
	static const uint8_t fields[KEY_FIELDS] = { FIELD_IIF, FIELD_IP6_SADDR };

	return set_get(&rs, "pods-6", fields);
}

static void text_is(const char *want)
{
	autostr struct str out = { 0 };

	rule_text(rules.last, &out);
	assert_string_equal(str_text(&out), want);
}

static void rules_read_as_nft_prints_them(void **state)
{
	static const struct { enum field field; const char *prefix, *want; } prefixes[] = {
		{ FIELD_IP_DADDR, "127.0.0.0/8", "ip daddr 127.0.0.0/8 drop" },
		{ FIELD_IP_SADDR, "192.0.2.11", "ip saddr 192.0.2.11 drop" },
		{ FIELD_IP6_SADDR, "fe80::/10", "ip6 saddr fe80::/10 drop" },
		{ FIELD_IP6_DADDR, "::1", "ip6 daddr ::1 drop" },
	};
	struct chain *to = chain_get(&rs, "elsewhere");
	(void)state;

	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		struct prefix p = prefix(prefixes[i].prefix);

		rule_add(&rules, VERDICT_DROP, NULL);
		match_prefix(&rules, prefixes[i].field, &p);
		text_is(prefixes[i].want);
	}
	rule_add(&rules, VERDICT_GOTO, to);
	match_name(&rules, FIELD_IIFNAME, "cali*");
	text_is("iifname \"cali*\" goto elsewhere");
	rule_add(&rules, VERDICT_JUMP, to);
	match_name(&rules, FIELD_OIFNAME, "vxlan-v6.calico");
	match_number(&rules, FIELD_UDP_DPORT, 4789);
	text_is("oifname \"vxlan-v6.calico\" udp dport 4789 jump elsewhere");
	rule_add(&rules, VERDICT_DROP, NULL);
	match_set(&rules, pods_set(), true);
	text_is("iif . ip6 saddr != @pods-6 drop");
	rule_add(&rules, VERDICT_MASQUERADE, NULL);
	text_is("masquerade fully-random");
}

/* ---- bytes ---- */

/* The expressions of the last rule, one line each: name, then type=payload of each attribute, nested in braces. */
static void put_attrs(const struct nlattr *nest, unsigned depth, struct str *out)
{
	const struct nlattr *a;
	char hex[2 * 64 + 1];

	mnl_attr_for_each_nested(a, nest) {
		str_printf(out, " %u", mnl_attr_get_type(a));
		if (a->nla_type & NLA_F_NESTED) {
			str_puts(out, "{");
			put_attrs(a, depth + 1, out);
			str_puts(out, " }");
		} else {
			hex_text(hex, mnl_attr_get_payload(a), mnl_attr_get_payload_len(a));
			str_printf(out, "=%s", hex);
		}
	}
}

static void expressions_are(const char *want)
{
	autostr struct str out = { 0 };
	const struct nlattr *tb[NFTA_RULE_EXPRESSIONS + 1], *a;
	struct nlmsghdr *h = nl_begin(&nl, NFT_TYPE(NFT_MSG_NEWRULE), 0, "rule");

	expressions_put(h, rules.last);
	assert_true(nl_attrs(h, 0, tb, NFTA_RULE_EXPRESSIONS));
	mnl_attr_for_each_nested(a, tb[NFTA_RULE_EXPRESSIONS]) {
		const struct nlattr *parts[NFTA_EXPR_DATA + 1];

		nl_attrs_nested(a, parts, NFTA_EXPR_DATA);
		str_puts(&out, mnl_attr_get_str(parts[NFTA_EXPR_NAME]));
		put_attrs(parts[NFTA_EXPR_DATA], 0, &out);
		str_puts(&out, "\n");
	}
	nl_end(&nl, h);
	assert_string_equal(str_text(&out), want);
}

/* 8: NFT_REG32_00; verdicts: 0 drop, 1 accept, fffffffc goto. */

static void prefix_of_whole_bytes_is_loaded_alone(void **state)
{
	struct prefix p = prefix("10.42.0.0/16");
	(void)state;

	rule_add(&rules, VERDICT_DROP, NULL);
	match_prefix(&rules, FIELD_IP_SADDR, &p);
	expressions_are("meta 1=00000008 2=0000000f\n"
			"cmp 1=00000008 2=00000000 3{ 1=02 }\n"
			"payload 1=00000008 2=00000001 3=0000000c 4=00000002\n"
			"cmp 1=00000008 2=00000000 3{ 1=0a2a }\n"
			"immediate 1=00000000 2{ 2{ 1=00000000 } }\n");
}

static void prefix_that_ends_inside_a_byte_is_masked(void **state)
{
	struct prefix p = prefix("10.42.189.128/26");
	(void)state;

	rule_add(&rules, VERDICT_ACCEPT, NULL);
	match_prefix(&rules, FIELD_IP_DADDR, &p);
	expressions_are("meta 1=00000008 2=0000000f\n"
			"cmp 1=00000008 2=00000000 3{ 1=02 }\n"
			"payload 1=00000008 2=00000001 3=00000010 4=00000004\n"
			"bitwise 1=00000008 2=00000008 3=00000004 4{ 1=ffffffc0 } 5{ 1=00000000 }\n"
			"cmp 1=00000008 2=00000000 3{ 1=0a2abd80 }\n"
			"immediate 1=00000000 2{ 2{ 1=00000001 } }\n");
}

static void prefix_of_all_addresses_asks_for_the_family_alone(void **state)
{
	struct prefix p = prefix("0.0.0.0/0");
	(void)state;

	rule_add(&rules, VERDICT_DROP, NULL);
	match_prefix(&rules, FIELD_IP_SADDR, &p);
	expressions_are("meta 1=00000008 2=0000000f\n"
			"cmp 1=00000008 2=00000000 3{ 1=02 }\n"
			"immediate 1=00000000 2{ 2{ 1=00000000 } }\n");
}

static void name_with_a_star_compares_its_beginning(void **state)
{
	struct chain *to = chain_get(&rs, "from-pod");
	(void)state;

	rule_add(&rules, VERDICT_GOTO, to);
	match_name(&rules, FIELD_IIFNAME, "cali*");
	expressions_are("meta 1=00000008 2=00000006\n"
			"cmp 1=00000008 2=00000000 3{ 1=63616c69 }\n"
			"immediate 1=00000000 2{ 2{ 1=fffffffc 2=66726f6d2d706f6400 } }\n");
	rule_add(&rules, VERDICT_GOTO, to);
	match_name(&rules, FIELD_OIFNAME, "tunl0");
	expressions_are("meta 1=00000008 2=00000007\n"
			"cmp 1=00000008 2=00000000 3{ 1=74756e6c300000000000000000000000 }\n"
			"immediate 1=00000000 2{ 2{ 1=fffffffc 2=66726f6d2d706f6400 } }\n");
}

static void what_is_needed_is_compared_once_a_rule(void **state)
{
	(void)state;
	rule_add(&rules, VERDICT_DROP, NULL);
	match_number(&rules, FIELD_UDP_SPORT, 67);
	match_number(&rules, FIELD_UDP_DPORT, 4789);
	expressions_are("meta 1=00000008 2=00000010\n"
			"cmp 1=00000008 2=00000000 3{ 1=11 }\n"
			"payload 1=00000008 2=00000002 3=00000000 4=00000002\n"
			"cmp 1=00000008 2=00000000 3{ 1=0043 }\n"
			"payload 1=00000008 2=00000002 3=00000002 4=00000002\n"
			"cmp 1=00000008 2=00000000 3{ 1=12b5 }\n"
			"immediate 1=00000000 2{ 2{ 1=00000000 } }\n");
}

static void fields_of_a_set_stand_side_by_side(void **state)
{
	(void)state;
	rule_add(&rules, VERDICT_DROP, NULL);
	match_set(&rules, pods_set(), true);
	expressions_are("meta 1=00000008 2=0000000f\n"
			"cmp 1=00000008 2=00000000 3{ 1=0a }\n"
			"meta 1=00000008 2=00000004\n"
			"payload 1=00000009 2=00000001 3=00000008 4=00000010\n"
			"lookup 1=706f64732d3600 2=00000008 5=00000001\n"
			"immediate 1=00000000 2{ 2{ 1=00000000 } }\n");
}

static void masquerade_takes_random_ports(void **state)
{
	(void)state;
	rule_add(&rules, VERDICT_MASQUERADE, NULL);
	expressions_are("masq 1=00000010\n");
}

/* ---- messages ---- */

static const struct nlmsghdr *built(unsigned n)
{
	const char *at = nl.buf;

	while (n--)
		at += MNL_ALIGN(((const struct nlmsghdr *)at)->nlmsg_len);
	return (const struct nlmsghdr *)at;
}

/* Everything after the netlink header: family, version, resource; then the attributes. */
static void message_is(unsigned n, unsigned type, unsigned flags, const char *header, const char *attrs)
{
	autostr struct str out = { 0 };
	const struct nlmsghdr *h = built(n);
	char hex[9];
	struct { struct nlattr head; char body[4096]; } nest = { .head = { .nla_type = NLA_F_NESTED } };
	size_t len = h->nlmsg_len - MNL_NLMSG_HDRLEN - 4;

	assert_int_equal(h->nlmsg_type, type);
	assert_int_equal(h->nlmsg_flags, flags | NLM_F_REQUEST);
	hex_text(hex, mnl_nlmsg_get_payload(h), 4);
	assert_string_equal(hex, header);
	assert_true(len <= sizeof nest.body);
	memcpy(nest.body, (const char *)mnl_nlmsg_get_payload(h) + 4, len);
	nest.head.nla_len = (uint16_t)(len + sizeof nest.head);
	put_attrs(&nest.head, 0, &out);
	assert_string_equal(str_text(&out), attrs);
}

static void batch_names_subsystem_and_generation(void **state)
{
	(void)state;
	batch_begin(&nl, 0);
	batch_begin(&nl, 0x1234);
	batch_end(&nl);
	message_is(0, NFNL_MSG_BATCH_BEGIN, 0, "0000000a", "");
	message_is(1, NFNL_MSG_BATCH_BEGIN, 0, "0000000a", " 1=00001234");
	message_is(2, NFNL_MSG_BATCH_END, 0, "0000000a", "");
}

static void table_carries_flags_and_layout(void **state)
{
	(void)state;
	message_table(&nl, NFT_MSG_NEWTABLE, NFT_TABLE, NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST);
	message_table(&nl, NFT_MSG_DELTABLE, NFT_TABLE, 0);
	message_is(0, 0x0a00, NLM_F_CREATE, "01000000", " 1=6d616e7800 2=00000006 6=6d0400000003");
	message_is(1, 0x0a02, 0, "01000000", " 1=6d616e7800");
}

static void base_chain_carries_its_hook(void **state)
{
	static const struct hook hook = { "filter", "prerouting", NF_INET_PRE_ROUTING, -300 };
	struct chain *c = chain_get(&rs, "c"), *plain = chain_get(&rs, "p");
	(void)state;

	rule_add(&rules, VERDICT_DROP, NULL);
	chain_want(&rs, c, &hook, &rules);
	message_chain(&nl, NFT_MSG_NEWCHAIN, NFT_TABLE, c);
	message_chain(&nl, NFT_MSG_NEWCHAIN, NFT_TABLE, plain);
	message_chain(&nl, NFT_MSG_DELCHAIN, NFT_TABLE, c);
	message_is(0, 0x0a03, NLM_F_CREATE, "01000000",
		   " 1=6d616e7800 3=6300 4{ 1=00000000 2=fffffed4 } 7=66696c74657200 5=00000001");
	message_is(1, 0x0a03, NLM_F_CREATE, "01000000", " 1=6d616e7800 3=7000");
	message_is(2, 0x0a05, 0, "01000000", " 1=6d616e7800 3=6300");
}

static void set_has_the_types_that_nft_prints_by(void **state)
{
	struct set *s = set_get(&rs, pods_set()->name, NULL);
	(void)state;

	message_set(&nl, NFT_MSG_NEWSET, s);
	/* iface_index (20) << 6 | ipv6_addr (8); 4 + 16 bytes */
	message_is(0, 0x0a09, NLM_F_CREATE, "01000000",
		   " 1=6d616e7800 2=706f64732d3600 3=00000000 4=00000508 5=00000014 10=00000001");
}

static bool any(const struct element *e)
{
	return e->wants > 0;
}

static void elements_fill_as_many_messages_as_it_takes(void **state)
{
	static const uint8_t fields[KEY_FIELDS] = { FIELD_IP_SADDR };
	struct set *s = set_get(&rs, "s", fields);
	unsigned count = 0;
	(void)state;

	for (uint32_t i = 0; i < 2000; i++) {
		uint32_t key = htonl(0x0a000000 + i);

		element_want(&rs, element_get(s, &key));
	}
	message_elements(&nl, NFT_MSG_NEWSETELEM, s, any);
	assert_true(nl.count > 1 && nl.count < 10);
	for (unsigned n = 0; n < nl.count; n++) {
		const struct nlattr *tb[NFTA_SET_ELEM_LIST_ELEMENTS + 1], *a;

		assert_true(built(n)->nlmsg_len <= NL_MESSAGE_MAX);
		assert_true(nl_attrs(built(n), sizeof(struct nfgenmsg), tb, NFTA_SET_ELEM_LIST_ELEMENTS));
		mnl_attr_for_each_nested(a, tb[NFTA_SET_ELEM_LIST_ELEMENTS])
			count++;
	}
	assert_int_equal(count, 2000);
}

static void user_data_of_others_is_skipped(void **state)
{
	static const uint8_t bytes[] = { 0, 3, 'h', 'i', 0, USERDATA_MANX, 2, 7, 8 };
	struct { struct nlattr head; uint8_t body[sizeof bytes]; } a = { .head.nla_len = sizeof a.head + sizeof bytes };
	uint8_t v[2] = { 0 };
	(void)state;

	memcpy(a.body, bytes, sizeof bytes);
	assert_true(userdata_read(&a.head, v, sizeof v));
	assert_int_equal(v[1], 8);
	assert_false(userdata_read(&a.head, v, 1));
	a.head.nla_len--;		/* torn */
	assert_false(userdata_read(&a.head, v, sizeof v));
	assert_false(userdata_read(NULL, v, sizeof v));
}

/* ---- digests ---- */

static uint64_t digest_of(enum field f, uint32_t number, enum verdict v, const char *to)
{
	struct rule_list l = { 0 };
	struct chain *c = chain_get(&rs, "scratch");
	uint64_t digest;

	rule_add(&l, v, to ? chain_get(&rs, to) : NULL);
	match_number(&l, f, number);
	chain_want(&rs, c, NULL, &l);
	digest = c->rules.digest;
	chain_unwant(&rs, c);
	return digest;
}

static void digest_tells_rules_apart(void **state)
{
	uint64_t first = digest_of(FIELD_UDP_DPORT, 53, VERDICT_GOTO, "a");
	(void)state;

	assert_true(first == digest_of(FIELD_UDP_DPORT, 53, VERDICT_GOTO, "a"));
	assert_true(first != digest_of(FIELD_UDP_DPORT, 54, VERDICT_GOTO, "a"));
	assert_true(first != digest_of(FIELD_UDP_SPORT, 53, VERDICT_GOTO, "a"));
	assert_true(first != digest_of(FIELD_UDP_DPORT, 53, VERDICT_JUMP, "a"));
	assert_true(first != digest_of(FIELD_UDP_DPORT, 53, VERDICT_GOTO, "b"));
}

static void chain_with_the_same_rules_is_not_marked(void **state)
{
	struct chain *c = chain_get(&rs, "c");
	struct rule_list again = { 0 };
	(void)state;

	rule_add(&rules, VERDICT_DROP, NULL);
	chain_want(&rs, c, NULL, &rules);
	chain_have(&rs, c, true, c->rules.digest, c->rules.count);
	c->marked = false;
	rs.marked_chains = NULL;
	rule_add(&again, VERDICT_DROP, NULL);
	chain_want(&rs, c, NULL, &again);
	assert_null(rs.marked_chains);
	rule_add(&again, VERDICT_ACCEPT, NULL);
	chain_want(&rs, c, NULL, &again);
	assert_ptr_equal(rs.marked_chains, c);
}

#define test(f) cmocka_unit_test_setup_teardown(f, fresh, fresh)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(rules_read_as_nft_prints_them),
		test(prefix_of_whole_bytes_is_loaded_alone),
		test(prefix_that_ends_inside_a_byte_is_masked),
		test(prefix_of_all_addresses_asks_for_the_family_alone),
		test(name_with_a_star_compares_its_beginning),
		test(what_is_needed_is_compared_once_a_rule),
		test(fields_of_a_set_stand_side_by_side),
		test(masquerade_takes_random_ports),
		test(batch_names_subsystem_and_generation),
		test(table_carries_flags_and_layout),
		test(base_chain_carries_its_hook),
		test(set_has_the_types_that_nft_prints_by),
		test(elements_fill_as_many_messages_as_it_takes),
		test(user_data_of_others_is_skipped),
		test(digest_tells_rules_apart),
		test(chain_with_the_same_rules_is_not_marked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
