/* links: src/base/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"

#pragma GCC diagnostic ignored "-Wformat"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat-zero-length"

static int format(char *out, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = format_text(out, size, fmt, ap);
	va_end(ap);
	return n;
}

/* As the C library of this machine does it, in a buffer of each size. */
#define SAME(...) do { \
	for (size_t size_ = 0; size_ < 80; size_++) { \
		char own[80], other[80]; \
		memset(own, '~', sizeof own); \
		memset(other, '~', sizeof other); \
		assert_int_equal(format(own, size_, __VA_ARGS__), snprintf(other, size_, __VA_ARGS__)); \
		assert_memory_equal(own, other, sizeof own); \
	} \
} while (0)

static void test_texts(void **state)
{
	(void)state;
	SAME("");
	SAME("plain, 100 %% of it");
	SAME("%s|%s", "one", "");
	SAME("%-8s|%8s|%2s|%.3s|%-6.2s|%.*s|%*s|%*s", "left", "right", "longer", "cut it", "ab", 3, "abcdef", 5, "x", -5, "y");
	SAME("%c%c|%3c|%-3c|", 'a', '\xff', 'b', 'c');
	SAME("%.4s", "not\0ended");
	errno = ENOENT;
	SAME("%m: %s", "said by errno");
}

static void test_text_without_an_end_is_read_no_further_than_asked(void **state)
{
	char *two = malloc(2), out[8];

	(void)state;
	memcpy(two, "ab", 2);
	assert_int_equal(format(out, sizeof out, "%.2s", two), 2);
	assert_string_equal(out, "ab");
	free(two);
}

static void test_numbers_of_all_flags_widths_and_kinds(void **state)
{
	static const char *const flags[] = { "", "-", "0", "+", " ", "#", "0#", "-#", "+0", "-+", "0+ " }, *const widths[] = { "", "1", "7", "22" },
		*const precisions[] = { "", ".0", ".", ".1", ".5", ".21" };
	static const uint64_t values[] = { 0, 1, 7, 8, 255, 0x7f, 0x80, 0x8000, INT_MAX, (uint64_t)INT_MAX + 1, UINT_MAX, INT64_MAX,
		(uint64_t)INT64_MAX + 1, UINT64_MAX, 1234567890123456789 };
	char fmt[32];

	(void)state;
	for (size_t f = 0; f < sizeof flags / sizeof *flags; f++)
		for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
			for (size_t p = 0; p < sizeof precisions / sizeof *precisions; p++)
				for (const char *kind = "diuoxX"; *kind; kind++)
					for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
#define KIND(length, type) do { \
	snprintf(fmt, sizeof fmt, "%%%s%s%s" length "%c.", flags[f], widths[w], precisions[p], *kind); \
	char own[64], other[64]; \
	assert_int_equal(format(own, sizeof own, fmt, (type)values[v]), snprintf(other, sizeof other, fmt, (type)values[v])); \
	if (strcmp(own, other) != 0) \
		fail_msg("%s of %llx: \"%s\", not \"%s\"", fmt, (unsigned long long)values[v], own, other); \
} while (0)
						KIND("hh", int);
						KIND("h", int);
						KIND("", unsigned);
						KIND("l", unsigned long);
						KIND("ll", unsigned long long);
						KIND("z", size_t);
						KIND("j", uintmax_t);
						KIND("t", ptrdiff_t);
					}
	SAME("%p %d %s", (void *)fmt, -1, "after");
	SAME("%08x %02d:%02d %5u %-8u| %lld %zu", 0xbeefu, 7, 5, 42u, 42u, LLONG_MIN, (size_t)9);
}

static void test_what_is_no_conversion_stays(void **state)
{
	char out[32];

	(void)state;
	assert_int_equal(format(out, sizeof out, "%f %q %s %", "x"), 9);
	assert_string_equal(out, "%f %q x %");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_text_without_an_end_is_read_no_further_than_asked),
		cmocka_unit_test(test_numbers_of_all_flags_widths_and_kinds),
		cmocka_unit_test(test_what_is_no_conversion_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
