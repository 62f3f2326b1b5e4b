/* links: src/wire/json_split.c src/wire/json_check.c src/wire/json.c src/base/arena.c src/base/err.c src/base/str.c src/base/util.c src/base/log.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "wire/json.h"
#include "wire/json_split.h"

/* Each object, one a line; one that is too long with its length and "...". */
static void each(void *ctx, const struct json *j, const char *wrong)
{
	struct str *out = ctx;

	if (j->len < 4096)
		str_add(out, j->text, j->len);
	else
		str_printf(out, "%.*s...%zu", 10, j->text, j->len);
	if (wrong)
		str_printf(out, " %s", wrong);
	str_puts(out, "\n");
}

static bool feed_by(struct json_split *s, const char *text, size_t piece)
{
	size_t len = strlen(text);

	for (size_t at = 0; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;
		char *copy = memcpy(xcalloc(1, n), text + at, n);

		json_split_feed(s, copy, n);
		free(copy);
	}
	return json_split_end(s);
}

static const struct { bool list; const char *text, *objects, *frame; bool whole; } rows[] = {
	{ false, "", "", "", true },
	{ false, "{\"a\":1}\n{\"b\":[{}]}\n", "{\"a\":1}\n{\"b\":[{}]}\n", "", true },
	{ false, "{}{}  [1]\"x\"7 true", "{}\n{}\n[1]\n\"x\"\n7\ntrue\n", "", true },
	{ false, "{\"a\":\"}\\\"]\\\\\"}", "{\"a\":\"}\\\"]\\\\\"}\n", "", true },
	{ false, "nul {} 7x {\"a\" 1} \"\\q\" {\"a\":[{\"b\":\"\\ud800\\\"\"}]} -", "nul want a value\n{}\n7x more text after the value\n"
	  "{\"a\" 1} want ':' after a member's name\n\"\\q\" unknown escape in a string\n"
	  "{\"a\":[{\"b\":\"\\ud800\\\"\"}]} half of a surrogate pair\n- want a digit\n", "", true },
	{ false, "{\"a\":1}\n{\"b\":", "{\"a\":1}\n", "", false },
	{ false, "}}{\"a\":[}]}{}", "} want a value\n} want a value\n{\"a\":[}] want a value\n} want a value\n{}\n", "", true },
	{ true, "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[{\"a\":1},{\"b\":\"]\"}]}\n",
	  "{\"a\":1}\n{\"b\":\"]\"}\n", "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[]}\n", true },
	{ true, "{\"items\" :\n[ {} , 1, \"x\" ,[2]],\"metadata\":{\"continue\":\"c\"}}", "{}\n1\n\"x\"\n[2]\n",
	  "{\"items\" :\n[],\"metadata\":{\"continue\":\"c\"}}", true },
	{ true, "{\"items\":null}", "", "{\"items\":null}", true },
	{ true, "{\"items\":[]}", "", "{\"items\":[]}", true },
	{ true, "{\"x\":[\"items\",[1]],\"y\":{\"items\":[2]},\"items\":{\"z\":[3]}}", "",
	  "{\"x\":[\"items\",[1]],\"y\":{\"items\":[2]},\"items\":{\"z\":[3]}}", true },
	{ true, "{\"not\\\"items\":[1]}", "", "{\"not\\\"items\":[1]}", true },
	{ true, "{\"items\":[{\"a\":1},{\"b\"", "{\"a\":1}\n", "{\"items\":[", false },
	{ true, "<html>502</html>", "", "<html>502</html>", true },
};

static void objects_come_out_however_the_text_is_cut(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		for (size_t piece = 1; piece < 100; piece++) {
			autostr struct str out = { 0 };
			struct json_split s;

			json_split_init(&s, rows[i].list, each, &out);
			assert_int_equal(feed_by(&s, rows[i].text, piece), rows[i].whole);
			assert_string_equal(str_text(&out), rows[i].objects);
			assert_string_equal(str_text(&s.frame), rows[i].frame);
			json_split_free(&s);
		}
}

/* Values that nobody asks for are checked, and gone, with their commas. */
static void ballast_is_left_out(void **state)
{
	static const char *const ballast[] = { "env", "x", NULL };
	static const struct { const char *text, *objects; } cases[] = {
		{ "{\"env\":1}{\"a\":1,\"env\":[{\"env\":2},\"]\"],\"b\":2}{\"env\":[],\"x\":{},\"a\":1,\"x\":\"\"}",
		  "{}\n{\"a\":1,\"b\":2}\n{\"a\":1}\n" },
		{ "{ \"env\" : 1 , \"a\" : 2 , \"x\" : 3 , \"b\" : 4 }", "{   \"a\" : 2  , \"b\" : 4 }\n" },
		{ "{\"metadata\":{\"labels\":{\"env\":\"e\",\"managedFields\":\"m\"},\"managedFields\":[{\"f:x\":{}}],\"x\":\"y\"},\"env\":7}",
		  "{\"metadata\":{\"labels\":{\"env\":\"e\",\"managedFields\":\"m\"},\"x\":\"y\"}}\n" },
		{ "{\"metadata\":null,\"x\":1,\"spec\":{\"c\":[{\"env\":\"e\",\"n\":[1,{\"x\":2,\"y\":3}]}]}}",
		  "{\"metadata\":null,\"spec\":{\"c\":[{\"n\":[1,{\"y\":3}]}]}}\n" },
		{ "{\"a\":1,\"env\":[1 2]}{\"x\":\"\t\"}", "{\"a\":12]} want ',' or ']' after an element\n{\t\"} control byte in a string\n" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t piece = 1; piece < 100; piece++) {
			autostr struct str out = { 0 };
			struct json_split s;

			json_split_init(&s, false, each, &out);
			s.ballast = ballast;
			assert_true(feed_by(&s, cases[i].text, piece));
			assert_string_equal(str_text(&out), cases[i].objects);
			json_split_free(&s);
		}
}

static void feed_run(struct json_split *s, const char *text, size_t times)
{
	for (size_t i = 0; i < times; i++)
		json_split_feed(s, text, strlen(text));
}

static void what_is_too_long_is_named_and_the_rest_goes_on(void **state)
{
	autostr struct str out = { 0 };
	struct json_split s;
	size_t most = 0;

	(void)state;
	json_split_init(&s, true, each, &out);
	json_split_feed(&s, "{\"items\":[{},{\"name\":\"", 22);
	for (unsigned i = 0; i < 100; i++) {
		feed_run(&s, "0123456789abcdef", 65536);
		most = s.text.cap > most ? s.text.cap : most;
	}
	assert_true(most <= 2 * (size_t)JSON_SIZE_MAX);
	json_split_feed(&s, "\"},{\"b\":2}]}", 12);
	assert_true(json_split_end(&s));
	assert_string_equal(str_text(&out), "{}\n{\"name\":\"0...4096 longer than 4 MiB\n{\"b\":2}\n");
	assert_true(s.text.cap <= 65536);
	json_split_free(&s);
}

static void depth_costs_nothing(void **state)
{
	autostr struct str out = { 0 };
	struct json_split s;

	(void)state;
	json_split_init(&s, false, each, &out);
	feed_run(&s, "[", 10000);
	feed_run(&s, "]", 10000);
	json_split_feed(&s, "{}", 2);
	assert_true(json_split_end(&s));
	assert_string_equal(out.s, "[[[[[[[[[[...4096 nested too deeply\n{}\n");
	json_split_free(&s);
}

static void a_frame_is_cut(void **state)
{
	autostr struct str out = { 0 };
	struct json_split s;

	(void)state;
	json_split_init(&s, true, each, &out);
	feed_run(&s, "{\"x\":1,", 100000);
	assert_int_equal(s.frame.len, JSON_FRAME_MAX);
	json_split_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_come_out_however_the_text_is_cut),
		cmocka_unit_test(ballast_is_left_out),
		cmocka_unit_test(what_is_too_long_is_named_and_the_rest_goes_on),
		cmocka_unit_test(depth_costs_nothing),
		cmocka_unit_test(a_frame_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
