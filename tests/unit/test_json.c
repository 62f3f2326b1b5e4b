/* links: src/wire/json.c src/wire/json_check.c src/wire/json_out.c src/base/str.c src/base/arena.c src/base/err.c src/base/util.c src/base/log.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "wire/json.h"

#ifdef CROSS_CMOCKA_H
enum { PATIENCE = 10 };			/* an emulator's seconds */
#else
enum { PATIENCE = 1 };
#endif

/* A copy on the heap without a terminator, so that the sanitizer sees a step past the end. */
static int parse_exact(struct json *j, const char *text, size_t len, char **copy, struct err *e)
{
	*copy = memcpy(xcalloc(1, len), text, len);
	return json_parse(j, *copy, len, e);
}

static void what_is_json_is_taken(void **state)
{
	static const char *const rows[] = {
		"null", " true ", "false\n", "0", "-0", "12", "-1.5e+10", "0.1E-2", "1e5", "\"\"", "\t\"x\"\r\n", "{}", "[]",
		" [ ] ", "[1,2,3]", "{\"a\":1}", "{ \"a\" : { \"b\" : [ { } , [ ] , null ] } , \"\" : -0.0 }",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
		"\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\x7f\"", "123456789012345678901234567890",
		"{\"a\":1,\"a\":2}", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		autofree char *copy = NULL;
		struct err e = { 0 };
		struct json j;

		if (parse_exact(&j, rows[i], strlen(rows[i]), &copy, &e) < 0)
			fail_msg("%s: %s", rows[i], e.text);
		json_free(&j);
	}
}

static void what_is_not_is_refused_at_its_place(void **state)
{
	static const struct { const char *text, *error; } rows[] = {
		{ "", "1:1: the text ends: want a value" },
		{ " \n ", "2:2: the text ends: want a value" },
		{ "nul", "1:1: want a value" }, { "True", "1:1: want a value" }, { "nullx", "1:5: more text after the value" },
		{ "{\"a\":1}\n{}", "2:1: more text after the value" }, { "NaN", "1:1: want a value" },
		{ "[1,]", "1:4: want a value" }, { "[,1]", "1:2: want a value" }, { "[1 2]", "1:4: want ',' or ']' after an element" },
		{ "[1}", "1:3: want ',' or ']' after an element" }, { "[", "1:2: the text ends: want a value" },
		{ "{\"a\":1", "1:7: the text ends: want ',' or '}' after a member" },
		{ "{\n \"a\": 1\n \"b\": 2}", "3:2: want ',' or '}' after a member" },
		{ "{\"a\":1,}", "1:8: want a member's name in quotes" }, { "{a:1}", "1:2: want a member's name in quotes" },
		{ "{1:1}", "1:2: want a member's name in quotes" }, { "{\"a\" 1}", "1:6: want ':' after a member's name" },
		{ "{\"a\":}", "1:6: want a value" }, { "{,}", "1:2: want a member's name in quotes" },
		{ "01", "1:1: a number does not begin with 0" }, { "-", "1:2: the text ends: want a digit" },
		{ "-01", "1:2: a number does not begin with 0" }, { "+1", "1:1: want a value" }, { ".5", "1:1: want a value" },
		{ "1.", "1:3: the text ends: want a digit" }, { "[1.]", "1:4: want a digit" }, { "1e", "1:3: the text ends: want a digit" },
		{ "1e+ ", "1:4: want a digit" }, { "0x10", "1:2: more text after the value" },
		{ "'a'", "1:1: want a value" }, { "// c\n1", "1:1: want a value" }, { "[1] # c", "1:5: more text after the value" },
		{ "\"abc", "1:5: the text ends: want '\"' at the end of the string" },
		{ "\"abc\\", "1:6: the text ends: want '\"' at the end of the string" },
		{ "\"a\nb\"", "1:3: control byte in a string" }, { "\"a\tb\"", "1:3: control byte in a string" },
		{ "\"\\x41\"", "1:2: unknown escape in a string" }, { "\"\\u12g4\"", "1:2: want four hex digits after \\u" },
		{ "\"\\u12", "1:2: want four hex digits after \\u" }, { "\"\\u0000\"", "1:2: \\u0000 is not allowed" },
		{ "\"\\ud800\"", "1:2: half of a surrogate pair" }, { "\"\\udc00\\ud800\"", "1:2: half of a surrogate pair" },
		{ "\"\\ud800\\u0041\"", "1:2: half of a surrogate pair" }, { "\"\\ud800xudc00\"", "1:2: half of a surrogate pair" },
		{ "\"\xff\"", "1:2: not UTF-8" }, { "\"\xc0\xaf\"", "1:2: not UTF-8" }, { "\"\xe0\x80\xaf\"", "1:2: not UTF-8" },
		{ "\"\xed\xa0\x80\"", "1:2: not UTF-8" }, { "\"\xf4\x90\x80\x80\"", "1:2: not UTF-8" }, { "\"\xe2\x82\"", "1:2: not UTF-8" },
		{ "\"\xf0\x8f\xbf\xbf\"", "1:2: not UTF-8" }, { "\"\x80\"", "1:2: not UTF-8" }, { "\"\xc3", "1:2: not UTF-8" },
		{ "\xef\xbb\xbf{}", "1:1: want a value" }, { "[\v1]", "1:2: want a value" },
		{ "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", "1:33: nested too deeply" },
		{ "]", "1:1: want a value" }, { "[]]", "1:3: more text after the value" }, { ",", "1:1: want a value" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		autofree char *copy = NULL;
		struct err e = { 0 };
		struct json j;

		assert_int_equal(parse_exact(&j, rows[i].text, strlen(rows[i].text), &copy, &e), -EINVAL);
		assert_string_equal(e.text, rows[i].error);
		assert_null(j.tokens);
	}
}

static void nul_bytes_are_refused_everywhere(void **state)
{
	static const struct { const char *text; size_t len; } rows[] = {
		{ "\0", 1 }, { "{}\0", 3 }, { "[1,\0 2]", 7 }, { "\"a\0b\"", 5 }, { "1\0", 2 }, { "[\0]", 3 }, { "{\"a\"\0:1}", 8 },
		{ "\"\\\0\"", 4 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		autofree char *copy = NULL;
		struct json j;

		assert_int_equal(parse_exact(&j, rows[i].text, rows[i].len, &copy, NULL), -EINVAL);
	}
}

static void too_large_is_refused_unread(void **state)
{
	struct err e = { 0 };
	struct json j;

	(void)state;
	assert_int_equal(json_parse(&j, "", JSON_SIZE_MAX + 1, &e), -EFBIG);
	assert_string_equal(e.text, "1:1: 4194305 bytes, more than 4194304");
}

static const char document[] =
	"{\n"
	"  \"apiVersion\": \"v1\", \"kind\": \"Pod\",\n"
	"  \"metadata\": { \"name\": \"w\\u0065b\\n\", \"labels\": { \"a\": \"1\", \"b\": \"2\" } },\n"
	"  \"numbers\": [ 0, -9223372036854775808, 9223372036854775807, 9223372036854775808, 1.0, 1e3,\n"
	"               -9223372036854775809, -0 ],\n"
	"  \"yes\": true, \"no\": false, \"none\": null, \"empty\": [], \"sm\\u00f8r\": 1\n"
	"}\n";

static void members_are_found_by_name_and_path(void **state)
{
	struct arena mem = { 0 };
	struct json j;
	json_value labels;

	(void)state;
	assert_int_equal(json_parse(&j, document, strlen(document), NULL), 0);
	assert_true(json_is(&j, json_get(&j, 0, "kind"), "Pod"));
	assert_string_equal(json_string(&j, json_path(&j, 0, "metadata.name"), &mem), "web\n");
	assert_true(json_is(&j, json_path(&j, 0, "metadata.name"), "web\n"));
	assert_false(json_is(&j, json_path(&j, 0, "metadata.name"), "w\\u0065b\\n"));
	assert_false(json_is(&j, json_path(&j, 0, "metadata.name"), "web"));
	assert_false(json_is(&j, json_path(&j, 0, "metadata.name"), "web\n!"));
	assert_true(json_get(&j, 0, "sm\xc3\xb8r") > 0);
	assert_int_equal(json_get(&j, 0, "v1"), -1);
	assert_int_equal(json_get(&j, 0, "name"), -1);
	assert_int_equal(json_path(&j, 0, "metadata.name.x"), -1);
	assert_int_equal(json_path(&j, 0, "numbers.0"), -1);
	assert_int_equal(json_path(&j, -1, "a"), -1);
	assert_null(json_string(&j, json_get(&j, 0, "numbers"), &mem));
	labels = json_path(&j, 0, "metadata.labels");
	assert_int_equal(json_length(&j, labels), 2);
	assert_true(json_is(&j, json_path(&j, labels, "b"), "2"));
	assert_int_equal(json_length(&j, json_get(&j, 0, "yes")), 0);
	assert_int_equal(json_first(&j, json_get(&j, 0, "empty")), -1);
	assert_int_equal(json_first(&j, json_get(&j, 0, "kind")), -1);
	assert_int_equal(json_type(&j, json_get(&j, 0, "none")), JSON_NULL);
	assert_int_equal(json_type(&j, -1), JSON_NULL);
	arena_free(&mem);
	json_free(&j);
}

static void integers_are_exact(void **state)
{
	static const struct { int rc; int64_t value; } want[] = {
		{ 0, 0 }, { 0, INT64_MIN }, { 0, INT64_MAX }, { -ERANGE, 0 }, { -EINVAL, 0 }, { -EINVAL, 0 }, { -ERANGE, 0 },
		{ 0, 0 },
	};
	json_value list, v;
	struct json j;
	unsigned i = 0;
	bool b = false;

	(void)state;
	assert_int_equal(json_parse(&j, document, strlen(document), NULL), 0);
	list = json_get(&j, 0, "numbers");
	assert_int_equal(json_length(&j, list), ARRAY_SIZE(want));
	for (v = json_first(&j, list); v >= 0; v = json_next(&j, list, v), i++) {
		int64_t n = 0;

		assert_int_equal(json_int(&j, v, &n), want[i].rc);
		assert_true(n == want[i].value);
	}
	assert_int_equal(i, ARRAY_SIZE(want));
	assert_int_equal(json_bool(&j, json_get(&j, 0, "yes"), &b), 0);
	assert_true(b);
	assert_int_equal(json_bool(&j, json_get(&j, 0, "no"), &b), 0);
	assert_false(b);
	assert_int_equal(json_bool(&j, json_get(&j, 0, "none"), &b), -EINVAL);
	assert_int_equal(json_int(&j, -1, &(int64_t){ 0 }), -EINVAL);
	json_free(&j);
}

static void places_and_raw_text(void **state)
{
	static const struct { const char *path; unsigned line, column; const char *raw; } rows[] = {
		{ "kind", 2, 31, "\"Pod\"" }, { "metadata.labels", 3, 49, "{ \"a\": \"1\", \"b\": \"2\" }" },
		{ "no", 6, 22, "false" }, { "metadata.name", 3, 25, "\"w\\u0065b\\n\"" },
	};
	unsigned line, column;
	struct json j;

	(void)state;
	assert_int_equal(json_parse(&j, document, strlen(document), NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_value v = json_path(&j, 0, rows[i].path);
		const char *raw;
		size_t len;

		json_place(&j, v, &line, &column);
		assert_int_equal(line, rows[i].line);
		assert_int_equal(column, rows[i].column);
		raw = json_raw(&j, v, &len);
		assert_int_equal(len, strlen(rows[i].raw));
		assert_memory_equal(raw, rows[i].raw, len);
	}
	json_place(&j, -1, &line, &column);
	assert_true(line == 1 && column == 1);
	json_free(&j);
}

static void bare_values_have_a_token(void **state)
{
	struct arena mem = { 0 };
	struct json j;
	int64_t n;

	(void)state;
	assert_int_equal(json_parse(&j, " \"a\\tb\" ", 8, NULL), 0);
	assert_string_equal(json_string(&j, 0, &mem), "a\tb");
	json_free(&j);
	assert_int_equal(json_parse(&j, "-42\n", 4, NULL), 0);
	assert_int_equal(json_int(&j, 0, &n), 0);
	assert_int_equal(n, -42);
	json_free(&j);
	arena_free(&mem);
}

/*
 * Random documents.  The generator writes the same value twice: with blanks
 * and escapes where they are allowed, and plainly; what is read from the
 * first and written again is the second.
 */
static void blanks(struct str *b)
{
	static const char some[] = " \t\r\n";

	while (rand() % 4 == 0)
		str_add(b, &some[rand() % 4], 1);
}

static void make_string(struct str *loose, struct str *plain)
{
	static const char *const pairs[][2] = {
		{ "a", "a" }, { "\\u0062", "b" }, { "\\/", "/" }, { "\\\"", "\\\"" }, { "\\u005C", "\\\\" },
		{ "\\u000a", "\\n" }, { "\\u0001", "\\u0001" }, { "\xc3\xa9", "\xc3\xa9" }, { "\\u20ac", "\xe2\x82\xac" },
		{ "\\uD83D\\uDE00", "\xf0\x9f\x98\x80" }, { "\\u0800", "\xe0\xa0\x80" }, { "\\u07ff", "\xdf\xbf" }, { "{", "{" },
		{ ",", "," }, { "\\u007f", "\x7f" },
	};

	str_puts(loose, "\"");
	str_puts(plain, "\"");
	for (int n = rand() % 6; n > 0; n--) {
		const char *const *p = pairs[(size_t)rand() % ARRAY_SIZE(pairs)];

		str_puts(loose, p[0]);
		str_puts(plain, p[1]);
	}
	str_puts(loose, "\"");
	str_puts(plain, "\"");
}

static void make_value(struct str *loose, struct str *plain, int depth)
{
	static const char *const scalars[] = { "null", "true", "false", "0", "-7", "12345678901", "1.5e-3" };
	int what = rand() % (depth ? 5 : 3), n = rand() % 5;

	blanks(loose);
	if (what < 2) {
		const char *s = scalars[(size_t)rand() % ARRAY_SIZE(scalars)];

		str_puts(loose, s);
		str_puts(plain, s);
	} else if (what == 2) {
		make_string(loose, plain);
	} else {
		str_puts(loose, what == 3 ? "[" : "{");
		str_puts(plain, what == 3 ? "[" : "{");
		for (int i = 0; i < n; i++) {
			blanks(loose);
			str_puts(loose, i ? "," : "");
			str_puts(plain, i ? "," : "");
			blanks(loose);
			if (what == 4) {
				make_string(loose, plain);
				blanks(loose);
				str_puts(loose, ":");
				str_puts(plain, ":");
			}
			make_value(loose, plain, depth - 1);
		}
		blanks(loose);
		str_puts(loose, what == 3 ? "]" : "}");
		str_puts(plain, what == 3 ? "]" : "}");
	}
	blanks(loose);
}

static void write_value(const struct json *j, json_value v, const char *name, struct json_out *o, struct arena *mem)
{
	bool object = json_type(j, v) == JSON_OBJECT, b = false;
	unsigned count = 0;
	const char *raw;
	size_t len;

	switch (json_type(j, v)) {
	case JSON_NULL:
		json_put_null(o, name);
		return;
	case JSON_BOOL:
		json_bool(j, v, &b);
		json_put_bool(o, name, b);
		return;
	case JSON_NUMBER:
		raw = json_raw(j, v, &len);
		json_put_raw(o, name, raw, len);
		return;
	case JSON_STRING:
		json_put_string(o, name, json_string(j, v, mem));
		return;
	case JSON_ARRAY:
	case JSON_OBJECT:
		break;
	}
	json_open(o, name, object ? '{' : '[');
	for (json_value i = json_first(j, v); i >= 0; i = json_next(j, v, i), count++)
		write_value(j, object ? json_member(j, i) : i, object ? json_string(j, i, mem) : NULL, o, mem);
	assert_int_equal(count, json_length(j, v));
	json_close(o, object ? '}' : ']');
}

static void random_documents_come_back(void **state)
{
	(void)state;
	srand(3);
	print_message("seed 3\n");
	for (int i = 0; i < 3000; i++) {
		autostr struct str loose = { 0 }, plain = { 0 }, again = { 0 };
		struct json_out o = { .to = &again };
		autofree char *copy = NULL;
		struct arena mem = { 0 };
		struct err e = { 0 };
		struct json j;

		make_value(&loose, &plain, 4);
		if (parse_exact(&j, loose.s, loose.len, &copy, &e) < 0)
			fail_msg("%s: %s", loose.s, e.text);
		write_value(&j, 0, NULL, &o, &mem);
		assert_string_equal(str_text(&again), plain.s);
		json_free(&j);
		arena_free(&mem);
	}
}

/* Broken documents: refused or taken, but never read past, and what is taken is walked whole. */
static void damaged_documents_do_no_harm(void **state)
{
	unsigned taken = 0;

	(void)state;
	srand(5);
	print_message("seed 5\n");
	for (int i = 0; i < 20000; i++) {
		autostr struct str loose = { 0 }, plain = { 0 }, again = { 0 };
		struct json_out o = { .to = &again };
		autofree char *copy = NULL;
		struct arena mem = { 0 };
		struct json j;

		make_value(&loose, &plain, 3);
		for (int n = rand() % 3 + 1; n > 0; n--)
			loose.s[(size_t)rand() % loose.len] = "\"\\{}[],:0e-u\x80\n\0 "[rand() % 17];
		if (rand() % 4 == 0)
			loose.len = (size_t)rand() % loose.len;
		if (parse_exact(&j, loose.s, loose.len, &copy, NULL) < 0)
			continue;
		taken++;
		write_value(&j, 0, NULL, &o, &mem);
		json_free(&j);
		arena_free(&mem);
	}
	assert_true(taken > 1000 && taken < 19000);
}

/* Time is bounded by the size, whatever the shape; generous, for sanitizers and busy machines. */
static void hostile_shapes_cost_no_more_than_their_size(void **state)
{
	static const char *const pieces[] = { "0,", "\"a\":0,", "[],", "\"\\u0061\":{},", "\"\\\\\\\\\"," };

	(void)state;
	for (size_t p = 0; p < ARRAY_SIZE(pieces); p++) {
		bool object = strchr(pieces[p], ':') != NULL;
		autostr struct str b = { 0 };
		unsigned count = 0;
		struct json j;
		clock_t start;

		str_puts(&b, object ? "{" : "[");
		while (b.len < 1500 * 1024)
			str_puts(&b, pieces[p]);
		b.s[b.len - 1] = object ? '}' : ']';
		start = clock();
		assert_int_equal(json_parse(&j, b.s, b.len, NULL), 0);
		for (json_value v = json_first(&j, 0); v >= 0; v = json_next(&j, 0, v))
			count++;
		assert_int_equal(count, json_length(&j, 0));
		assert_int_equal(json_get(&j, 0, "missing"), -1);
		print_message("%s: %u in %ld ms\n", pieces[p], count, (long)((clock() - start) * 1000 / CLOCKS_PER_SEC));
		assert_true(clock() - start < PATIENCE * CLOCKS_PER_SEC);
		json_free(&j);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_json_is_taken),
		cmocka_unit_test(what_is_not_is_refused_at_its_place),
		cmocka_unit_test(nul_bytes_are_refused_everywhere),
		cmocka_unit_test(too_large_is_refused_unread),
		cmocka_unit_test(members_are_found_by_name_and_path),
		cmocka_unit_test(integers_are_exact),
		cmocka_unit_test(places_and_raw_text),
		cmocka_unit_test(bare_values_have_a_token),
		cmocka_unit_test(random_documents_come_back),
		cmocka_unit_test(damaged_documents_do_no_harm),
		cmocka_unit_test(hostile_shapes_cost_no_more_than_their_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
