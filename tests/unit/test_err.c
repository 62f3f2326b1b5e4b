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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_returns_the_negative_code),
		cmocka_unit_test(set_may_quote_its_own_text),
		cmocka_unit_test(prefix_goes_before_and_keeps_the_code),
		cmocka_unit_test(long_texts_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
