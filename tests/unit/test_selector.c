/* links: src/model/selector.c src/base/arena.c src/base/digest.c src/base/err.c src/base/log.c src/base/str.c src/base/util.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "model/selector.h"

/* --- labels: "a=1 b=2" --- */

struct list { struct label_source source; char text[256]; char value[64]; };

static const char *find(const struct label_source *s, const char *key)
{
	struct list *l = container_of(s, struct list, source);
	size_t len = strlen(key);

	for (const char *at = l->text; *at; at += strcspn(at, " "), at += strspn(at, " ")) {
		if (strncmp(at, key, len) != 0 || at[len] != '=')
			continue;
		snprintf(l->value, sizeof l->value, "%.*s", (int)strcspn(at + len + 1, " "), at + len + 1);
		return l->value;
	}
	return NULL;
}

static bool matches(const char *selector, const char *labels)
{
	struct arena mem = { 0 };
	struct list l = { .source.find = find };
	struct err e = { 0 };
	const struct selector *s = selector_parse(&mem, selector, &e), *copy;
	bool answer;

	if (!s)
		fail_msg("%s: %s", selector, e.text);
	str_copy(l.text, sizeof l.text, labels);
	answer = selector_match(s, &l.source);
	copy = selector_copy(&mem, s);
	assert_true(copy->digest == s->digest);
	assert_int_equal(selector_match(copy, &l.source), answer);
	arena_free(&mem);
	return answer;
}

static void test_terms(void **state)
{
	(void)state;
	static const struct { const char *selector, *yes, *no; } cases[] = {
		{ "a == 'x'", "a=x", "a=y" }, { "a == \"x\"", "b=1 a=x", "b=x" }, { "a=='x'", "a=x", "" },
		{ "a != 'x'", "a=y", "a=x" }, { "a != 'x'", "", "a=x" },
		{ "has(a)", "a=", "b=1" }, { "has( a )", "a=1", "" }, { "!has(a)", "", "a=1" }, { "! ! has(a)", "a=1", "" },
		{ "a in {'x','y'}", "a=y", "a=z" }, { "a in{ 'x' , }", "a=x", "" }, { "a in {}", "a=x", "b=1" },
		{ "a not in {'x'}", "", "a=x" }, { "a notin {'x'}", "a=y", "a=x" }, { "a notin{'x'}", "a=y", "a=x" },
		{ "a contains 'b'", "a=abc", "a=ac" }, { "a starts with 'b'", "a=bc", "a=cb" },
		{ "a ends with 'b'", "a=cb", "a=bc" }, { "a contains ''", "a=", "" },
		{ "in == 'x'", "in=x", "" }, { "not not in {'x'}", "", "not=x" }, { "has == 'x'", "has=x", "" },
		{ "all == 'x'", "all=x", "" }, { "has(in)", "in=1", "" }, { "contains contains 'x'", "contains=x", "" },
		{ "a.b/c-d_e == 'x'", "a.b/c-d_e=x", "" }, { "global()", "a=1", "projectcalico.org/namespace=x" },
		{ "a == 'x' || b == 'y' && c == 'z'", "a=x", "b=y" },
		{ "(a == 'x' || b == 'y') && c == 'z'", "b=y c=z", "a=x" },
		{ "!(a == 'x' || b == 'y') && c == 'z'", "c=z", "c=z a=x" },
		{ "!a == 'x'", "a=y", "a=x" }, { "!has(a) || has(b)", "a=1 b=1", "a=1" },
		{ "!((has(a)))", "", "a=1" }, { "(((a == 'x')))", "a=x", "" },
		{ "has(a)&&has(b)||has(c)&&has(d)", "c=1 d=1", "a=1 c=1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool never = strcmp(cases[i].selector, "a in {}") == 0;

		if (matches(cases[i].selector, cases[i].yes) == never)
			fail_msg("%s: %s", cases[i].selector, cases[i].yes);
		if (matches(cases[i].selector, cases[i].no))
			fail_msg("%s: %s", cases[i].selector, cases[i].no);
	}
	assert_true(matches("", ""));
	assert_true(matches(" \t", "a=1"));
	assert_true(matches("all()", ""));
	assert_true(matches("all( )", "a=1"));
}

static void test_what_is_refused(void **state)
{
	(void)state;
	static const struct { const char *selector, *why; } cases[] = {
		{ "a", "column 2: want an operator" }, { "a = 'x'", "column 3: want an operator" },
		{ "a == x", "column 6: want a string in quotes" }, { "a == 'x", "column 6: the string does not end" },
		{ "a == 'x' &&", "column 12: want a label" }, { "(a == 'x'", "column 10: '(' is not closed" },
		{ "a == 'x')", "column 9: ')' without '('" }, { "a == 'x' b == 'y'", "column 10: want '&&', '||' or the end" },
		{ "a in 'x'", "column 6: want '{'" }, { "a in {'x' 'y'}", "column 11: want ',' or '}'" },
		{ "a starts 'x'", "column 10: want 'with'" }, { "has()", "column 5: want a label" },
		{ "all(x)", "column 5: want ')'" }, { "&&", "column 1: want a label" }, { "a not 'x'", "column 3: want an operator" },
		{ "a == 'x' & b == 'y'", "column 10: want '&&', '||' or the end" }, { "()", "column 2: want a label" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct arena mem = { 0 };
		struct err e = { 0 };

		if (selector_parse(&mem, cases[i].selector, &e))
			fail_msg("accepted: %s", cases[i].selector);
		assert_string_equal(e.text, cases[i].why);
		arena_free(&mem);
	}
}

/* As many brackets as fit are read, more are refused; neither hurts. */
static void test_depth(void **state)
{
	(void)state;
	for (unsigned depth = 1; depth < 200; depth++) {
		autostr struct str text = { 0 };
		struct arena mem = { 0 };
		struct list l = { .source.find = find, .text = "a=x" };
		struct err e = { 0 };
		const struct selector *s;

		for (unsigned i = 0; i < depth; i++)
			str_puts(&text, "has(b) || (");
		str_puts(&text, "has(a)");
		for (unsigned i = 0; i < depth; i++)
			str_puts(&text, ")");
		s = selector_parse(&mem, text.s, &e);
		assert_int_equal(s != NULL, depth <= 30);
		if (s)
			assert_true(selector_match(s, &l.source));
		arena_free(&mem);
	}
}

static void test_what_it_needs(void **state)
{
	(void)state;
	static const struct { const char *selector, *key, *value; } cases[] = {
		{ "a == 'x'", "a", "x" }, { "has(a)", "a", NULL }, { "a in {'x','y'} && b == 'z'", "a", NULL },
		{ "a != 'x' && b == 'y'", "b", "y" }, { "all() && a == 'x'", "a", "x" },
		{ "all()", NULL, NULL }, { "!has(a)", NULL, NULL }, { "a == 'x' || b == 'y'", NULL, NULL },
		{ "!(a == 'x' && b == 'y')", NULL, NULL }, { "a starts with 'x'", "a", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct arena mem = { 0 };
		const char *key = NULL, *value = NULL;
		const struct selector *s = selector_parse(&mem, cases[i].selector, NULL);

		if (selector_needs(s, &key, &value) != (cases[i].key != NULL))
			fail_msg("%s", cases[i].selector);
		if (cases[i].key) {
			assert_string_equal(key, cases[i].key);
			assert_int_equal(cases[i].value != NULL, value != NULL);
			if (value)
				assert_string_equal(value, cases[i].value);
		}
		arena_free(&mem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_terms),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_what_it_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
