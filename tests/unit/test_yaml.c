/* links: src/wire/yaml.c src/wire/yaml_plain.c src/wire/yaml_names.c src/wire/json.c src/wire/json_check.c src/wire/json_out.c src/wire/json_fields.c src/base/prefix.c src/base/str.c src/base/arena.c src/base/err.c src/base/util.c src/base/log.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "wire/json_int.h"
#include "wire/yaml.h"

/* What was made is what json_parse() makes of the same text, token by token. */
static void assert_as_json(const struct json *j, const char *yaml)
{
	struct err e = { 0 };
	struct json k;

	if (json_parse(&k, j->text, j->len, &e) < 0)
		fail_msg("%s: not JSON: %s: %.*s", yaml, e.text, (int)j->len, j->text);
	assert_int_equal(j->count, k.count);
	assert_memory_equal(j->tokens, k.tokens, (size_t)j->count * sizeof *j->tokens);
	json_free(&k);
}

/* From a copy on the heap without a terminator, so that the sanitizer sees a step past the end. */
static int parse_exact(struct json *j, const char *text, size_t len, struct err *e)
{
	autofree char *copy = memcpy(xcalloc(1, len + !len), text, len);
	int rc = yaml_parse(j, copy, len, e);

	if (rc == 0)
		assert_as_json(j, text);
	else
		assert_null(j->tokens);
	return rc;
}

static void assert_yaml(const char *yaml, const char *want)
{
	struct err e = { 0 };
	struct json j;
	const char *raw;
	size_t len;

	if (parse_exact(&j, yaml, strlen(yaml), &e) < 0)
		fail_msg("%s: %s", yaml, e.text);
	raw = json_raw(&j, 0, &len);
	if (len != strlen(want) || memcmp(raw, want, len) != 0)
		fail_msg("%s: is %.*s, want %s", yaml, (int)len, raw, want);
	json_free(&j);
}

static void assert_refused(const char *yaml, size_t len, const char *want)
{
	struct err e = { 0 };
	struct json j;

	if (parse_exact(&j, yaml, len, &e) == 0)
		fail_msg("%s: was taken", yaml);
	assert_string_equal(e.text, want);
	assert_int_equal(e.code, EINVAL);
}

static void collections_become_json(void **state)
{
	static const struct { const char *yaml, *json; } rows[] = {
		{ "a: b", "{\"a\":\"b\"}" }, { "a:\n  b:\n    c: d\ne: f\n", "{\"a\":{\"b\":{\"c\":\"d\"}},\"e\":\"f\"}" },
		{ "- a\n- - b\n  - c\n-\n  - d\n", "[\"a\",[\"b\",\"c\"],[\"d\"]]" },
		{ "a:\n- b: 1\n  c: 2\n- d\n", "{\"a\":[{\"b\":1,\"c\":2},\"d\"]}" },
		{ "a:\nb:\n- \n-\n", "{\"a\":null,\"b\":[null,null]}" },
		{ "{a: [b, c, ], d: {}, e: [], f: [{}]}", "{\"a\":[\"b\",\"c\"],\"d\":{},\"e\":[],\"f\":[{}]}" },
		{ "[a: b, {c, d: }, ]", "[{\"a\":\"b\"},{\"c\":null,\"d\":null}]" },
		{ "{\"a\":1,\"b\":[true,null,-1.5e+10,\"x\\/\\u00e9\\n\"]}", "{\"a\":1,\"b\":[true,null,-15000000000,\"x/\xc3\xa9\\n\"]}" },
		{ "? a\n: b\n", "{\"a\":\"b\"}" }, { "# before\na: b # behind\n# after\n", "{\"a\":\"b\"}" },
		{ "a: b#c\n", "{\"a\":\"b#c\"}" }, { "a: 'it''s'\nb: \"\\x41\\t\\\"\\\\\"\n", "{\"a\":\"it's\",\"b\":\"A\\t\\\"\\\\\"}" },
		{ "a: \"\\x01\\e\"\n", "{\"a\":\"\\u0001\\u001b\"}" },
		{ "a: |\n  one\n   two\n\n  three\n\nb: x\n", "{\"a\":\"one\\n two\\n\\nthree\\n\",\"b\":\"x\"}" },
		{ "a: >\n  one\n  two\n\n  three\n", "{\"a\":\"one two\\nthree\\n\"}" },
		{ "a: |-\n  one\nb: |+\n  two\n\nc: |2\n   x\n", "{\"a\":\"one\",\"b\":\"two\\n\\n\",\"c\":\" x\\n\"}" },
		{ "a: one\n  two\n", "{\"a\":\"one two\"}" }, { "\xef\xbb\xbf" "a: \xe2\x82\xac\xf0\x9f\x98\x80\r\n", "{\"a\":\"\xe2\x82\xac\xf0\x9f\x98\x80\"}" },
		{ "text", "\"text\"" }, { "80", "80" }, { "\"<<\": '<<'\nx: <<", "{\"<<\":\"<<\",\"x\":\"<<\"}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_yaml(rows[i].yaml, rows[i].json);
}

static void several_documents_become_an_array(void **state)
{
	static const struct { const char *yaml, *json; } rows[] = {
		{ "", "[]" }, { "# nothing\n", "[]" }, { "---\n---\n# c\n--- ~\n...\n---\nnull\n", "[]" },
		{ "---\na: 1\n---\n", "{\"a\":1}" }, { "a: 1\n---\nb: 2\n", "[{\"a\":1},{\"b\":2}]" },
		{ "---\n---\na: 1\n...\n# c\n---\n\n---\n- b\n--- c\n", "[{\"a\":1},[\"b\"],\"c\"]" },
		{ "%YAML 1.2\n---\na: 1\n...\n%YAML 1.1\n---\n{}\n", "[{\"a\":1},{}]" },
		{ "--- ''\n--- \"null\"\n", "[\"\",\"null\"]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_yaml(rows[i].yaml, rows[i].json);
}

/* What sigs.k8s.io/yaml 1.6.0 makes of each. */
static void plain_scalars_are_typed_as_kubernetes_types_them(void **state)
{
	static const struct { const char *json, *texts[40]; } rows[] = {
		{ "null", { "", "~", "null", "Null", "NULL" } },
		{ "true", { "true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON" } },
		{ "false", { "false", "False", "FALSE", "n", "N", "no", "No", "NO", "off", "Off", "OFF" } },
		{ "0", { "0", "-0", "+0", "00", "0x0", "0b0", "0.0", "0e5", "5e-400", "0_" } },
		{ "-0", { "-0.0", "-.0" } },
		{ "8", { "8", "+8", "010", "0o10", "0O10", "0x8", "0X_8", "0b1000", "0B1000", "08", "8.", "8.0", "08.00", "0.8e1", "80e-1", "8_" } },
		{ "-31", { "-31", "-0x1F", "-0X1f", "-037", "-0o37", "-0b11111", "-3_1", "-_31", "-31.0", "-3.1e1" } },
		{ "1000", { "1000", "1e3", "1E3", "1.e3", "+1e+3", "1_000", "1__000", "1000_", "100_0.0_0", "1e+_3" } },
		{ "1.1", { "1.1", "1.10", "01.1", "11e-1", "+1.1", "0.011e2", "1.1_0" } },
		{ "0.5", { ".5", ".5_0", "0.5", "+.5", "00.50" } }, { "-0.05", { "-.05", "-5e-2" } },
		{ "0.000001", { "1e-6", "0.000001", ".000_001" } }, { "1.5e-7", { "1.5e-7", "0.00000015" } },
		{ "100000000000000000000", { "1e20", "100000000000000000000" } }, { "1e+21", { "1e21", "1000000000000000000000" } },
		{ "9223372036854775807", { "9223372036854775807", "0x7fffffffffffffff", "+9223372036854775807" } },
		{ "-9223372036854775808", { "-9223372036854775808", "-0x8000000000000000" } },
		{ "18446744073709551615", { "18446744073709551615", "0xffffffffffffffff", "01777777777777777777777" } },
		{ "1.797693134862315807e+308", { "1.797693134862315807e308" } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (size_t t = 0; t < ARRAY_SIZE(rows[i].texts) && rows[i].texts[t]; t++) {
			char yaml[80], json[80];

			snprintf(yaml, sizeof yaml, "- %s", rows[i].texts[t]);
			snprintf(json, sizeof json, "[%s]", rows[i].json);
			assert_yaml(yaml, json);
		}
	}
}

static void all_other_plain_scalars_are_strings(void **state)
{
	static const char *const rows[] = {
		"yEs", "tRue", "nUll", "oN", "falsey", "+", ".", "..", "1.2.3", "10.0.0.1", "10.0.0.0/8", "fd00::1", "12:30:45", "2001-01-01",
		"2001-01-01T00:00:00Z", "0x", "0b", "0o", "0x1p4", "0x1.8", "0b12", "0o8", "1e", "1e+", "e3", "inf", "nan", ".Nan",
		"Infinity", "_1", "._5", ".5_", ".5__0", "1,5", "1f", "--1", "+-1", "1e999", "12e4567", "2e308", "1.7976931348623159e308",
		"0x1ffffffffffffffff", "+0xffffffffffffffff", "-0x8000000000000001", "1e309", "1 2", "true false", "true False", "-.inf.", "=", "<<",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char yaml[80], json[80];

		snprintf(yaml, sizeof yaml, "- %s", rows[i]);
		snprintf(json, sizeof json, "[\"%s\"]", rows[i]);
		assert_yaml(yaml, json);
	}
}

static void a_number_of_hundreds_of_digits_is_read_to_the_last(void **state)
{
	char yaml[1000], json[1000];

	(void)state;
	snprintf(yaml, sizeof yaml, "- 0.%0380d1", 0);		/* nothing, to a double */
	assert_yaml(yaml, "[0]");
	snprintf(yaml, sizeof yaml, "- 1%0300d.%050d1", 0, 0);
	snprintf(json, sizeof json, "[1.%0350d1e+300]", 0);
	assert_yaml(yaml, json);
	snprintf(yaml, sizeof yaml, "- 1%0310d", 0);		/* more than a double holds */
	snprintf(json, sizeof json, "[\"1%0310d\"]", 0);
	assert_yaml(yaml, json);
	snprintf(yaml, sizeof yaml, "- 0.%0500d1", 0);
	snprintf(json, sizeof json, "[\"0.%0500d1\"]", 0);
	assert_yaml(yaml, json);
}

static void names_are_strings(void **state)
{
	static const struct { const char *yaml, *json; } rows[] = {
		{ "80: a\n010: b\n-0x10: c\n", "{\"80\":\"a\",\"8\":\"b\",\"-16\":\"c\"}" }, { "on: a\nn: b\n", "{\"true\":\"a\",\"false\":\"b\"}" },
		{ "\"on\": a\n'1.5': b\n\"\": c\n", "{\"on\":\"a\",\"1.5\":\"b\",\"\":\"c\"}" }, { "a b: c", "{\"a b\":\"c\"}" },
		{ "kubernetes.io/x: c", "{\"kubernetes.io/x\":\"c\"}" }, { "{2001-01-01: 1, 1.2.3: 2}", "{\"2001-01-01\":1,\"1.2.3\":2}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_yaml(rows[i].yaml, rows[i].json);
}

static void what_is_not_taken_is_refused_at_its_place(void **state)
{
	static const struct { const char *yaml, *error; } rows[] = {
		{ "a: 1\nb:\n  c: &x 1\n", "3:6: anchors are not supported" }, { "&x\na: 1\n", "1:1: anchors are not supported" },
		{ "- &x [1]", "1:3: anchors are not supported" }, { "? &x a\n: 1\n", "1:3: anchors are not supported" },
		{ "a: *x", "1:4: aliases are not supported (quote text that begins with *)" },
		{ "*x : 1", "1:1: aliases are not supported (quote text that begins with *)" },
		{ "a: *", "1:5: did not find expected alphabetic or numeric character while scanning an alias" },
		{ "a: !!str 1", "1:4: tags are not supported" }, { "a:\n- !foo {}\n", "2:3: tags are not supported" },
		{ "a: !!binary aGk=", "1:4: tags are not supported" }, { "!!map {a: 1}", "1:1: tags are not supported" },
		{ "%TAG !e! x:\n---\na: !e!b c\n", "3:4: tags are not supported" }, { "!!set {a}", "1:1: tags are not supported" },
		{ "a: 1\n<<: {b: 1}\n", "2:1: merge keys are not supported" },
		{ "a: 1\nb: 2\na: 3\n", "3:1: a: given twice, first in line 1" },
		{ "x:\n- {a: 1, \"a\": 2}\n", "2:10: a: given twice, first in line 2" },
		{ "a: 1\nb: 1\nb: 2\na: 2\na: 3\n", "3:1: b: given twice, first in line 2" }, { "b: 1\na: 1\na: 2\nb: 2\n", "3:1: a: given twice, first in line 2" },
		{ "8: a\n010: b\n", "2:1: 8: given twice, first in line 1" }, { "true: 1\non: 2\n", "2:1: true: given twice, first in line 1" },
		{ "a: 1\n---\na: 2\nb: 1\nb: 1\n", "5:1: b: given twice, first in line 4" },
		{ "? [a]\n: 1\n", "1:3: a name must be a scalar" }, { "{{a: 1}: 2}", "1:2: a name must be a scalar" },
		{ "1.5: a", "1:1: a name that reads as a fraction must be quoted" }, { ".inf: a", "1:1: a name that reads as a fraction must be quoted" },
		{ "a:\n  ~: b", "2:3: a name that reads as null must be quoted" }, { "? ~\n: b\n", "1:3: a name that reads as null must be quoted" },
		{ "a: .inf", "1:4: .inf is not a number that JSON has" }, { "- -.INF", "1:3: -.INF is not a number that JSON has" },
		{ "a: \"x\\0y\"", "1:4: \\0 is not allowed" }, { "\"\\x00\": 1", "1:1: \\0 is not allowed" },
		{ "a:\n\tb: 1\n", "2:1: a tab where only blanks may indent" },
		{ "a: 1\n\tb: 1\n", "2:1: found a tab character that violates indentation while scanning a plain scalar, from line 1" },
		{ "a: b: c", "1:5: mapping values are not allowed in this context" },
		{ "key: value\nfoo\nx: 1\n", "3:1: could not find expected ':' while scanning a simple key, from line 2" },
		{ "a:\n  b: 1\n c: 2\n", "3:2: did not find expected key while parsing a block mapping, from line 1" },
		{ "- a\nb: 1\n", "2:1: did not find expected '-' indicator while parsing a block collection, from line 1" },
		{ " a: 1\nb: 1\n", "2:1: this does not continue what is above (check the indentation)" },
		{ "a: [1, 2\nb: 3\n", "2:2: did not find expected ',' or ']' while parsing a flow sequence, from line 1" },
		{ "a: \"abc\n\n", "3:1: found unexpected end of stream while scanning a quoted scalar, from line 1" },
		{ "a: \"\\q\"", "1:5: found unknown escape character while parsing a quoted scalar" },
		{ "a: \"\\ud83d\\ude00\"", "1:7: found invalid Unicode character escape code while parsing a quoted scalar" },
		{ "a: @x", "1:4: found character that cannot start any token while scanning for the next token" },
		{ "%FOO\n", "1:5: found unknown directive name while scanning a directive" },
		{ "a: 1\nb: \xff\n", "2:4: invalid leading UTF-8 octet" }, { "\xc0\xaf", "1:1: invalid length of a UTF-8 sequence" },
		{ "a: \xed\xa0\x80", "1:4: invalid Unicode character" }, { "a: \xe2\x82", "1:4: incomplete UTF-8 octet sequence" },
		{ "a: \x01", "1:4: control characters are not allowed" }, { "a:\n- \x7f\n", "2:3: control characters are not allowed" },
		{ "\xff\xfe" "a", "1:1: invalid leading UTF-8 octet" },
		{ "a: 1\n---\nb: [\n---\nc: 1\n", "4:1: did not find expected node content while parsing a flow node" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_refused(rows[i].yaml, strlen(rows[i].yaml), rows[i].error);
	assert_refused("a: \0", 4, "1:4: control characters are not allowed");
	assert_refused("a\0\0\0", 4, "1:2: control characters are not allowed");
}

static void every_value_knows_its_place(void **state)
{
	static const char yaml[] =
		"# a Pod\n"
		"kind: Pod\n"
		"metadata:\n"
		"  name: 'web'\n"
		"  labels: {a: b,\n"
		"           \xc3\xa9: d}\n"
		"spec:\n"
		"- x\n"
		"-\n"
		"  - |\n"
		"    y\n"
		"empty:\n";
	static const struct { const char *path; unsigned line, column; } rows[] = {
		{ "kind", 2, 7 }, { "metadata", 4, 3 }, { "metadata.name", 4, 9 }, { "metadata.labels", 5, 11 },
		{ "metadata.labels.a", 5, 15 }, { "metadata.labels.\xc3\xa9", 6, 15 }, { "spec", 8, 1 }, { "empty", 12, 7 },
	};
	unsigned line, column;
	json_value spec, inner;
	struct json j;

	(void)state;
	assert_int_equal(parse_exact(&j, yaml, strlen(yaml), NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_value v = json_path(&j, 0, rows[i].path);

		assert_true(v > 0);
		json_place(&j, v, &line, &column);
		if (line != rows[i].line || column != rows[i].column)
			fail_msg("%s: %u:%u", rows[i].path, line, column);
	}
	spec = json_get(&j, 0, "spec");
	inner = json_first(&j, json_next(&j, spec, json_first(&j, spec)));
	json_place(&j, inner, &line, &column);
	assert_int_equal(line, 10);
	assert_int_equal(column, 5);
	assert_true(json_is(&j, inner, "y\n"));
	json_place(&j, 0, &line, &column);
	assert_int_equal(line, 2);
	assert_int_equal(column, 1);
	json_free(&j);
}

struct thing {
	const char *name;
	int64_t port;
	bool on;
	struct addr address;
};

static const struct json_field thing_fields[] = {
	{ "name", offsetof(struct thing, name), json_read_string, true },
	{ "port", offsetof(struct thing, port), json_read_int64 },
	{ "on", offsetof(struct thing, on), json_read_bool },
	{ "address", offsetof(struct thing, address), json_read_addr },
};

static int decode(const char *yaml, const char *path, struct thing *out, struct arena *mem, struct err *e)
{
	struct json_ctx c = { .mem = mem, .e = e };
	struct json j;
	int rc;

	*out = (struct thing){ NULL };
	assert_int_equal(yaml_parse(&j, yaml, strlen(yaml), e), 0);
	c.j = &j;
	rc = json_fields(&c, *path ? json_path(&j, 0, path) : 0, thing_fields, ARRAY_SIZE(thing_fields), out);
	json_free(&j);
	return rc;
}

static void decoders_read_yaml_as_they_read_json(void **state)
{
	struct arena mem = { 0 };
	struct err e = { 0 };
	struct thing t;

	(void)state;
	assert_int_equal(decode("spec:\n  name: |\n    a\n    b\n  port: 0x7fffffffffffffff\n  \"on\": yes\n  address: fd00::1\n  more: [{}]\n",
				"spec", &t, &mem, &e), 0);
	assert_string_equal(t.name, "a\nb\n");
	assert_int_equal(t.port, INT64_MAX);
	assert_true(t.on);
	assert_string_equal(addr_text(&t.address).s, "fd00::1");
	assert_int_equal(decode("name: \"1.10\"\nport: 8e1\non:\n", "", &t, &mem, &e), 0);
	assert_string_equal(t.name, "1.10");
	assert_int_equal(t.port, 80);
	arena_free(&mem);
}

static void decoders_name_the_place_in_the_yaml(void **state)
{
	static const struct { const char *yaml, *error; } rows[] = {
		{ "spec:\n  name: 1.10\n", "2:9: spec.name: want a string" }, { "spec:\n  name: 010\n", "2:9: spec.name: want a string" },
		{ "spec:\n  name: 1e3\n", "2:9: spec.name: want a string" }, { "spec:\n  name: no\n", "2:9: spec.name: want a string" },
		{ "spec: {name: a, port: \"80\"}\n", "1:23: spec.port: want a number" },
		{ "spec:\n  name: a\n  port: 8.5\n", "3:9: spec.port: want a whole number" },
		{ "spec:\n  name: a\n  port:   18446744073709551615\n", "3:11: spec.port: number out of range" },
		{ "spec:\n  name: ~\n", "2:9: spec.name: missing" }, { "spec:\n  port: 1\n", "2:3: spec.name: missing" },
		{ "spec:\n- name: a\n", "2:1: spec: want an object" }, { "spec:\n  name: a\n  address: [x]\n", "3:12: spec.address: want a string" },
	};
	struct arena mem = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e = { 0 };
		struct thing t;

		assert_int_equal(decode(rows[i].yaml, "spec", &t, &mem, &e), -EINVAL);
		assert_string_equal(e.text, rows[i].error);
	}
	arena_free(&mem);
}

static void raw_text_of_a_value_is_json(void **state)
{
	static const char yaml[] = "a: 1\n---\nb:\n  - x: 'y\"'\n    z: 0x10\n  - ~\nc: d\n";
	struct json j;
	json_value second;
	const char *raw;
	size_t len;

	(void)state;
	assert_int_equal(parse_exact(&j, yaml, strlen(yaml), NULL), 0);
	second = json_next(&j, 0, json_first(&j, 0));
	assert_int_equal(json_length(&j, 0), 2);
	assert_int_equal(json_next(&j, 0, second), -1);
	raw = json_raw(&j, json_get(&j, second, "b"), &len);
	assert_int_equal(len, strlen("[{\"x\":\"y\\\"\",\"z\":16},null]"));
	assert_memory_equal(raw, "[{\"x\":\"y\\\"\",\"z\":16},null]", len);
	raw = json_raw(&j, json_get(&j, second, "c"), &len);
	assert_int_equal(len, 3);
	assert_memory_equal(raw, "\"d\"", len);
	json_free(&j);
}

static char *repeat(const char *what, size_t count)
{
	size_t len = strlen(what);
	char *text = xcalloc(1, count * len + 1);

	for (size_t i = 0; i < count; i++)
		memcpy(text + i * len, what, len);
	return text;
}

static void bounds_are_kept(void **state)
{
	static const struct { const char *what; size_t count; const char *error; } rows[] = {
		{ "[", 100000, "1:33: nested too deeply" }, { "{a: ", 10000, "1:129: nested too deeply" },
		{ "- ", 100000, "1:65: nested too deeply" }, { "? ", 100000, "1:3: a name must be a scalar" },
		{ "%TAG !a! b\n", 17, "17:1: tags are not supported" }, { "&a ", 100000, "1:1: anchors are not supported" },
		{ "%TAG !a! b\n", 16, "2:1: found duplicate %TAG directive" },
	};
	autofree char *large = repeat(" ", JSON_SIZE_MAX + 1), *nulls = repeat("-\n", 1700000), *deep = repeat("[", JSON_DEPTH_MAX);
	char ends[2 * JSON_DEPTH_MAX + 1];
	struct err e = { 0 };
	struct json j;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		autofree char *text = repeat(rows[i].what, rows[i].count);

		assert_refused(text, strlen(text), rows[i].error);
	}
	assert_int_equal(yaml_parse(&j, large, JSON_SIZE_MAX + 1, &e), -EFBIG);
	assert_string_equal(e.text, "1:1: 4194305 bytes, more than 4194304");
	assert_int_equal(yaml_parse(&j, large, JSON_SIZE_MAX, &e), 0);
	json_free(&j);
	assert_int_equal(yaml_parse(&j, nulls, strlen(nulls), &e), -EFBIG);
	assert_string_equal(e.text, "1677722:2: up to here it is more than 8388608 bytes of JSON");
	snprintf(ends, sizeof ends, "%s%.*s", deep, JSON_DEPTH_MAX, "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
	assert_yaml(ends, ends);
}

static void a_name_among_very_many_is_found_again(void **state)
{
	struct str text = { 0 };
	struct err e = { 0 };
	struct json j;

	(void)state;
	for (unsigned i = 0; i < 50000; i++)
		str_printf(&text, "n%u: %u\n", i * 7919 % 50021, i);
	assert_int_equal(yaml_parse(&j, text.s, text.len, &e), 0);
	assert_int_equal(json_length(&j, 0), 50000);
	json_free(&j);
	str_puts(&text, "n7919: x\nn0: x\n");
	assert_int_equal(yaml_parse(&j, text.s, text.len, &e), -EINVAL);
	assert_string_equal(e.text, "50001:1: n7919: given twice, first in line 2");
	str_free(&text);
}

static const char sample[] =
	"apiVersion: v1\nkind: List\nitems:\n- kind: Pod # c\n  metadata: {name: \"w\\u00e9b\", labels: {'a': \"1\", b: 010}}\n"
	"  spec:\n    x: |+\n      lit\n\n    y: >-\n      fold\n      ed\n    z: [1.5, -0x1F, {q: , r: [[]]}, ~]\n---\n? key\n: - - deep\n    - on\n...\n";

static void a_text_cut_anywhere_is_read_or_refused(void **state)
{
	unsigned taken = 0;

	(void)state;
	for (size_t len = 0; len < sizeof sample - 1; len++) {
		struct err e = { 0 };
		struct json j;

		if (parse_exact(&j, sample, len, &e) == 0)
			taken++;
		else
			assert_true(e.code == EINVAL && e.text[0] >= '1' && e.text[0] <= '9');
		json_free(&j);
	}
	assert_true(taken > 50 && taken < sizeof sample - 50);
}

static void changed_bytes_are_read_or_refused(void **state)
{
	static const char bytes[] = "\n\t :-[]{},'\"#&*!|>%@?~\\0x\xc3\x80";
	uint32_t seed = 20240607;
	unsigned taken = 0;

	(void)state;
	printf("seed %" PRIu32 "\n", seed);
	for (unsigned round = 0; round < 4000; round++) {
		char text[sizeof sample];
		struct json j;

		memcpy(text, sample, sizeof text);
		for (unsigned i = 0; i <= round % 3; i++) {
			seed = seed * 1664525 + 1013904223;
			text[(seed >> 8) % (sizeof text - 1)] = bytes[(seed >> 20) % (sizeof bytes - 1)];
		}
		taken += parse_exact(&j, text, sizeof text - 1, NULL) == 0;
		json_free(&j);
	}
	assert_true(taken > 200 && taken < 3800);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(collections_become_json),
		cmocka_unit_test(several_documents_become_an_array),
		cmocka_unit_test(plain_scalars_are_typed_as_kubernetes_types_them),
		cmocka_unit_test(all_other_plain_scalars_are_strings),
		cmocka_unit_test(a_number_of_hundreds_of_digits_is_read_to_the_last),
		cmocka_unit_test(names_are_strings),
		cmocka_unit_test(what_is_not_taken_is_refused_at_its_place),
		cmocka_unit_test(every_value_knows_its_place),
		cmocka_unit_test(decoders_read_yaml_as_they_read_json),
		cmocka_unit_test(decoders_name_the_place_in_the_yaml),
		cmocka_unit_test(raw_text_of_a_value_is_json),
		cmocka_unit_test(bounds_are_kept),
		cmocka_unit_test(a_name_among_very_many_is_found_again),
		cmocka_unit_test(a_text_cut_anywhere_is_read_or_refused),
		cmocka_unit_test(changed_bytes_are_read_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
