/* links: src/base/err.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/err.h"

static void set_returns_the_negative_code(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(err_set(&e, EINVAL, "%s: want a number", "x"), -EINVAL);
	assert_int_equal(e.code, EINVAL);
	assert_string_equal(e.text, "x: want a number");
	assert_int_equal(err_set(NULL, ENOENT, "nobody listens"), -ENOENT);
}

static void set_may_quote_its_own_text(void **state)
{
	struct err e = { 0 };

	(void)state;
	err_set(&e, EINVAL, "inner");
	err_set(&e, EIO, "%s, and outer", e.text);
	assert_string_equal(e.text, "inner, and outer");
}

static void prefix_goes_before_and_keeps_the_code(void **state)
{
	struct err e = { 0 };

	(void)state;
	err_set(&e, EINVAL, "want '}'");
	err_prefix(&e, "%s:%d: ", "pods.json", 3);
	assert_string_equal(e.text, "pods.json:3: want '}'");
	assert_int_equal(e.code, EINVAL);
	err_prefix(NULL, "nobody listens");
}

static void long_texts_are_cut(void **state)
{
	char big[1000];
	struct err e = { 0 };

	(void)state;
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	err_set(&e, EINVAL, "%s", big);
	assert_int_equal(strlen(e.text), sizeof e.text - 1);
	err_prefix(&e, "place: ");
	assert_int_equal(strlen(e.text), sizeof e.text - 1);
	assert_memory_equal(e.text, "place: xxx", 10);
	err_prefix(&e, "%s", big);
	assert_int_equal(strlen(e.text), sizeof e.text - 1);
	assert_null(strchr(e.text, ':'));
}

/* "é" is two bytes: wherever the cut falls, none is left alone. */
static void a_long_thing_leaves_its_reason(void **state)
{
	char big[1001];
	struct err e = { 0 };

	(void)state;
	for (int shift = 0; shift < 2; shift++) {
		for (size_t i = shift; i + 1 < sizeof big; i += 2)
			memcpy(big + i, "\xc3\xa9", 2);
		big[0] = shift ? 'x' : big[0];
		big[sizeof big - 1 - shift] = '\0';
		err_set(&e, EINVAL, "node_name: %s: want a name", big);
		assert_memory_equal(e.text, "node_name: ", 11);
		assert_string_equal(e.text + strlen(e.text) - 13, ": want a name");
		assert_non_null(strstr(e.text, "\xa9...\xc3"));
		err_prefix(&e, "manx.conf:%d: ", 7);
		assert_memory_equal(e.text, "manx.conf:7: node_name: ", 24);
		assert_string_equal(e.text + strlen(e.text) - 13, ": want a name");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_returns_the_negative_code),
		cmocka_unit_test(set_may_quote_its_own_text),
		cmocka_unit_test(prefix_goes_before_and_keeps_the_code),
		cmocka_unit_test(long_texts_are_cut),
		cmocka_unit_test(a_long_thing_leaves_its_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
