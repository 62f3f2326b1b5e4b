/* links: src/base/str.c src/base/arena.c src/base/util.c src/base/log.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/str.h"

static void text_grows(void **state)
{
	autostr struct str b = { 0 };

	(void)state;
	assert_string_equal(str_text(&b), "");
	for (int i = 0; i < 1000; i++)
		str_printf(&b, "%d,", i);
	assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
	assert_int_equal(strlen(b.s), b.len);
	assert_string_equal(b.s + b.len - 8, "998,999,");
	str_clear(&b);
	assert_string_equal(str_text(&b), "");
	str_add(&b, "a\0b", 3);
	str_puts(&b, "c");
	str_add(&b, NULL, 0);
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.s, "a\0bc", 5);
}

static void copy_says_when_it_cuts(void **state)
{
	char four[4];

	(void)state;
	assert_true(str_copy(four, sizeof four, "abc"));
	assert_string_equal(four, "abc");
	assert_false(str_copy(four, sizeof four, "abcd"));
	assert_string_equal(four, "abc");
	assert_true(str_copy(four, sizeof four, ""));
	assert_string_equal(four, "");
}

static void prefix_of_text(void **state)
{
	(void)state;
	assert_true(str_prefix("abc", "ab"));
	assert_true(str_prefix("abc", ""));
	assert_false(str_prefix("a", "ab"));
}

static void numbers_are_whole_texts_in_range(void **state)
{
	static const struct { const char *text; uint64_t max; int rc; uint64_t value; } rows[] = {
		{ "0", 0, 0, 0 }, { "26", 32, 0, 26 }, { "33", 32, -ERANGE, 0 }, { "", 9, -EINVAL, 0 },
		{ "-1", 9, -EINVAL, 0 }, { "+1", 9, -EINVAL, 0 }, { " 1", 9, -EINVAL, 0 }, { "1 ", 9, -EINVAL, 0 },
		{ "0x1", 9, -EINVAL, 0 }, { "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -ERANGE, 0 }, { "99999999999999999999999", UINT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999x", UINT64_MAX, -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint64_t v = 0;

		print_message("\"%s\" up to %" PRIu64 "\n", rows[i].text, rows[i].max);
		assert_int_equal(str_u64(rows[i].text, rows[i].max, &v), rows[i].rc);
		assert_true(v == rows[i].value);
	}
}

static void arena_is_zeroed_aligned_and_apart(void **state)
{
	struct arena a = { 0 };
	unsigned char *p[200];

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 200; i++) {
			p[i] = arena_alloc(&a, i);
			assert_int_equal((uintptr_t)p[i] % alignof(max_align_t), 0);
			for (unsigned k = 0; k < i; k++)
				assert_int_equal(p[i][k], 0);
			memset(p[i], (int)i + 1, i);
		}
		for (unsigned i = 0; i < 200; i++) {
			for (unsigned k = 0; k < i; k++)
				assert_int_equal(p[i][k], i + 1);
		}
		arena_reset(&a);
	}
	assert_string_equal(arena_strn(&a, "abcdef", 3), "abc");
	assert_string_equal(arena_str(&a, "xyz"), "xyz");
	assert_string_equal(arena_strn(&a, NULL, 0), "");
	arena_free(&a);
	assert_null(a.chunk);
	assert_string_equal(arena_str(&a, "again"), "again");
	arena_free(&a);
}

static void arena_takes_large_blocks(void **state)
{
	struct arena a = { 0 };
	char *small = arena_str(&a, "small"), *large = arena_alloc(&a, 1 << 20);

	(void)state;
	memset(large, 'x', 1 << 20);
	assert_string_equal(small, "small");
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_grows),
		cmocka_unit_test(copy_says_when_it_cuts),
		cmocka_unit_test(prefix_of_text),
		cmocka_unit_test(numbers_are_whole_texts_in_range),
		cmocka_unit_test(arena_is_zeroed_aligned_and_apart),
		cmocka_unit_test(arena_takes_large_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
