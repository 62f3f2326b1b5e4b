/* links: src/wire/json_fields.c src/wire/json.c src/wire/json_check.c src/base/prefix.c src/base/str.c src/base/arena.c src/base/err.c src/base/util.c src/base/log.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "wire/json.h"

struct peer { struct addr address; uint32_t asn; };
struct thing {
	const char *name, *note;
	struct prefix cidr;
	uint32_t block_size;
	int64_t sequence;
	bool disabled;
	struct peer *peers;
	unsigned peer_count;
};

static int read_peer(struct json_ctx *c, json_value v, void *field)
{
	static const struct json_field fields[] = {
		{ "address", offsetof(struct peer, address), json_read_addr, true },
		{ "asn", offsetof(struct peer, asn), json_read_u32, false },
	};

	return json_fields(c, v, fields, ARRAY_SIZE(fields), field);
}

static int read_peers(struct json_ctx *c, json_value v, void *field)
{
	struct thing *t = container_of(field, struct thing, peers);
	void *items = NULL;
	int rc = json_array(c, v, sizeof *t->peers, read_peer, &items, &t->peer_count);

	t->peers = items;
	return rc;
}

/* In the order in which they are read. */
static const struct json_field fields_of_thing[] = {
	{ "spec.blockSize", offsetof(struct thing, block_size), json_read_u32, false },
	{ "spec.sequence", offsetof(struct thing, sequence), json_read_int64, false },
	{ "spec.disabled", offsetof(struct thing, disabled), json_read_bool, false },
	{ "spec.note", offsetof(struct thing, note), json_read_string, false },
	{ "spec.peers", offsetof(struct thing, peers), read_peers, false },
	{ "name", offsetof(struct thing, name), json_read_string, true },
	{ "spec.cidr", offsetof(struct thing, cidr), json_read_prefix, true },
};

static int decode(const char *text, struct thing *t, struct arena *mem, struct err *e)
{
	struct json_ctx c = { .mem = mem, .e = e };
	struct json j;
	int rc = json_parse(&j, text, strlen(text), e);

	if (rc < 0)
		return rc;
	c.j = &j;
	rc = json_fields(&c, 0, fields_of_thing, ARRAY_SIZE(fields_of_thing), t);
	json_free(&j);
	return rc;
}

static void fields_go_where_the_table_says(void **state)
{
	struct thing t = { 0 };
	struct arena mem = { 0 };
	struct err e = { 0 };

	(void)state;
	if (decode("{ \"other\": {\"cidr\": 7}, \"n\\u0061me\": \"p\\u00f8ol\", \"spec\": { \"cidr\": \"10.42.0.0/16\","
		   "\"blockSize\": 26, \"sequence\": -9223372036854775808, \"disabled\": true, \"note\": null,"
		   "\"peers\": [ { \"address\": \"fd00::1\", \"asn\": 4294967295 }, { \"address\": \"\\u0031.2.3.4\" } ] } }",
		   &t, &mem, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(t.name, "p\xc3\xb8ol");
	assert_string_equal(prefix_text(&t.cidr).s, "10.42.0.0/16");
	assert_int_equal(t.block_size, 26);
	assert_true(t.sequence == INT64_MIN);
	assert_true(t.disabled);
	assert_null(t.note);
	assert_int_equal(t.peer_count, 2);
	assert_string_equal(addr_text(&t.peers[0].address).s, "fd00::1");
	assert_true(t.peers[0].asn == UINT32_MAX);
	assert_string_equal(addr_text(&t.peers[1].address).s, "1.2.3.4");
	arena_free(&mem);
}

static void refusals_name_place_and_path(void **state)
{
	static const struct { const char *text, *error; } rows[] = {
		{ "[]", "1:1: want an object" }, { "{}", "1:1: name: missing" }, { "null", "1:1: name: missing" },
		{ "{\"name\": null, \"spec\": {}}", "1:10: name: missing" }, { "{\"spec\": 7}", "1:10: spec: want an object" },
		{ "{\"name\": \"a\"}", "1:1: spec.cidr: missing" }, { "{\"spec\": {}, \"spec\": {}}", "1:14: spec: given twice" }, { "{\"name\": \"a\",\n\"spec\": {}}", "2:9: spec.cidr: missing" },
		{ "{\"name\": 1}", "1:10: name: want a string" }, { "{\"spec\": 3}", "1:10: spec: want an object" },
		{ "{\"name\": \"a\", \"n\\u0061me\": \"a\"}", "1:15: n\\u0061me: given twice" },
		{ "{\"name\": null, \"name\": \"a\"}", "1:16: name: given twice" },
		{ "{\"name\": \"\", \"spec\": {\n \"cidr\": \"10.0.0.1/8\"}}",
		  "2:10: spec.cidr: 10.0.0.1/8: bits behind the prefix length are set, want 10.0.0.0/8" },
		{ "{\"name\": \"\", \"spec\": {\"cidr\": \"x\"}}", "1:31: spec.cidr: x: not an IP address" },
		{ "{\"name\": \"\", \"spec\": {\"cidr\": [1]}}", "1:31: spec.cidr: want a string" },
		{ "{\"spec\": {\"blockSize\": \"26\"}}", "1:24: spec.blockSize: want a number" },
		{ "{\"spec\": {\"blockSize\": 26.0}}", "1:24: spec.blockSize: want a whole number" },
		{ "{\"spec\": {\"blockSize\": 2e1}}", "1:24: spec.blockSize: want a whole number" },
		{ "{\"spec\": {\"blockSize\": -1}}", "1:24: spec.blockSize: number out of range" },
		{ "{\"spec\": {\"blockSize\": 4294967296}}", "1:24: spec.blockSize: number out of range" },
		{ "{\"spec\": {\"sequence\": 9223372036854775808}}", "1:23: spec.sequence: number out of range" },
		{ "{\"spec\": {\"disabled\": \"yes\"}}", "1:23: spec.disabled: want true or false" },
		{ "{\"spec\": {\"peers\": {}}}", "1:20: spec.peers: want an array" },
		{ "{\"spec\": {\"peers\": [{\"address\":\"::\"},\n {\"address\":\"::x\"}]}}",
		  "2:13: spec.peers[1].address: ::x: not an IP address" },
		{ "{\"spec\": {\"peers\": [7]}}", "1:21: spec.peers[0]: want an object" },
		{ "{\"spec\": {\"peers\": [{}]}}", "1:21: spec.peers[0].address: missing" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct arena mem = { 0 };
		struct thing t = { 0 };
		struct err e = { 0 };

		assert_int_equal(decode(rows[i].text, &t, &mem, &e), -EINVAL);
		assert_string_equal(e.text, rows[i].error);
		arena_free(&mem);
	}
}

static void long_arrays_are_refused(void **state)
{
	autostr struct str b = { 0 };
	struct arena mem = { 0 };
	struct thing t = { 0 };
	struct err e = { 0 };

	(void)state;
	str_puts(&b, "{\"spec\":{\"peers\":[");
	for (int i = 0; i < JSON_ELEMENTS_MAX; i++)
		str_puts(&b, "{},");
	str_puts(&b, "{}]}}");
	assert_int_equal(decode(b.s, &t, &mem, &e), -EINVAL);
	assert_string_equal(e.text, "1:18: spec.peers: 65537 elements, more than 65536");
	arena_free(&mem);
}

static void many_foreign_members_cost_little(void **state)
{
	autostr struct str b = { 0 };
	struct arena mem = { 0 };
	struct thing t = { 0 };
	struct err e = { 0 };
	clock_t start = clock();

	(void)state;
	str_puts(&b, "{\"name\":\"a\",\"spec\":{\"cidr\":\"::/0\",");
	while (b.len < 1500 * 1024)
		str_puts(&b, "\"cidx\":0,\"\\u0063idy\":[],");
	str_puts(&b, "\"note\":\"n\"}}");
	start = clock();
	if (decode(b.s, &t, &mem, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(t.note, "n");
	print_message("%ld ms\n", (long)((clock() - start) * 1000 / CLOCKS_PER_SEC));
	assert_true(clock() - start < CLOCKS_PER_SEC);
	arena_free(&mem);
}

static int dive(struct json_ctx *c, json_value v, void *field)
{
	static const struct json_field fields[] = { { "a_rather_long_name_of_a_member", 0, dive, false } };

	return json_type(c->j, v) == JSON_NUMBER ? json_refuse(c, v, "here") :
		json_fields(c, v, fields, 1, field);
}

static void long_paths_are_cut(void **state)
{
	autostr struct str b = { 0 };
	struct err e = { 0 };
	struct json_ctx c = { .e = &e };
	struct json j;

	(void)state;
	for (int i = 0; i < 10; i++)
		str_puts(&b, "{\"a_rather_long_name_of_a_member\":");
	str_puts(&b, "1}}}}}}}}}}");
	assert_int_equal(json_parse(&j, b.s, b.len, &e), 0);
	c.j = &j;
	assert_int_equal(dive(&c, 0, NULL), -EINVAL);
	assert_true(strlen(e.text) < 180);
	assert_true(str_prefix(e.text, "1:341: a_rather_long_name_of_a_member.a_rather"));
	assert_string_equal(e.text + strlen(e.text) - 6, ": here");
	json_free(&j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_go_where_the_table_says),
		cmocka_unit_test(refusals_name_place_and_path),
		cmocka_unit_test(long_arrays_are_refused),
		cmocka_unit_test(many_foreign_members_cost_little),
		cmocka_unit_test(long_paths_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
