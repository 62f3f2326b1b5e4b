/* links: */
/* What src/libc.c has instead of the C library's, beside the C library's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int small_vsnprintf(char *to, size_t size, const char *fmt, va_list ap);
int small_vfprintf(FILE *f, const char *fmt, va_list ap);
void *small_memmem(const void *text, size_t len, const void *part, size_t size);
char *small_strstr(const char *text, const char *part);
void small_qsort(void *base, size_t count, size_t size, int (*cmp)(const void *, const void *));

#define vsnprintf small_vsnprintf
#define vfprintf small_vfprintf
#define memmem small_memmem
#define strstr small_strstr
#define qsort small_qsort
#include "../../src/libc.c"
#undef vsnprintf
#undef vfprintf
#undef memmem
#undef strstr
#undef qsort

static void __attribute__((format(printf, 1, 2))) same(const char *fmt, ...)
{
	for (size_t size = 0; size < 100; size += size < 20 ? 1 : 79) {
		char want[100] = "untouched", got[100] = "untouched";
		va_list ap;
		int n, m;

		va_start(ap, fmt);
		n = vsnprintf(want, size, fmt, ap);
		va_end(ap);
		va_start(ap, fmt);
		m = small_vsnprintf(got, size, fmt, ap);
		va_end(ap);
		assert_int_equal(n, m);
		assert_string_equal(want, got);
	}
}

static void conversions_print_the_same(void **state)
{
	(void)state;
	same("plain");
	same("%d %i %u %d %d", 0, -1, 4294967295u, INT_MIN, INT_MAX);
	same("%ld %lu %lld %llu", LONG_MIN, ULONG_MAX, LLONG_MIN, ULLONG_MAX);
	same("%zu %zd %jd %ju %td", SIZE_MAX, (ssize_t)-5, INTMAX_MIN, UINTMAX_MAX, (ptrdiff_t)-7);
	same("%x %X %lx %016llx %02x %08x %x", 0xabcdu, 0xabcdu, 255ul, 0x1234ull, 5u, 0xdeadbeefu, 0u);
	same("%5u|%-5u|%05d|%-5d|%+d|%+d|%05d|%3d", 42u, 42u, 42, 42, 42, -42, -42, 123456);
	same("%.3d|%6.3d|%-6.3d|%.0d|%02d:%02d", 7, 7, 7, 0, 3, 59);
	same("%c%c|%3c|%-3c|", 'a', 'b', 'c', 'd');
	same("%s|%10s|%-10s|%.2s|%.*s|%*s|%-*s|%*s", "abc", "abc", "abc", "abc", 1, "abc", 6, "abc", 6, "abc", -6, "abc");
	same("%.*s|%.100s|%s", -1, "whole", "short", "");
	same("100%% of %s", "it");
	errno = ENOENT;
	same("%m: %s", "why");
}

/* What there is no conversion for stands there as it is, and takes no argument. */
static void unknown(const char *want, const char *fmt, ...)
{
	char got[40];
	va_list ap;

	va_start(ap, fmt);
	small_vsnprintf(got, sizeof got, fmt, ap);
	va_end(ap);
	assert_string_equal(want, got);
}

static void unknown_conversions_stand_as_they_are(void **state)
{
	(void)state;
	unknown("%f 1", "%f %d", 1);
	unknown("%-3.2g", "%-3.2g", 1);
	unknown("50%", "50%", 0);
	unknown("%l", "%l", 0);
	unknown("(null)", "%s", NULL);
}

static void a_stream_gets_all_of_it(void **state)
{
	char text[40] = "";
	FILE *f = fmemopen(text, sizeof text, "w");
	va_list none;

	(void)state;
	memset(&none, 0, sizeof none);
	assert_int_equal(small_vfprintf(f, "whole", none), 5);
	fclose(f);
	assert_string_equal(text, "whole");
}

static void a_part_is_found_where_it_is(void **state)
{
	static const char *const texts[] = { "", "a", "ab", "aab", "abcabcd", "aaaaab", "cab" };

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
			assert_ptr_equal(strstr(texts[i], texts[k]), small_strstr(texts[i], texts[k]));
			assert_ptr_equal(memmem(texts[i], strlen(texts[i]), texts[k], strlen(texts[k])),
					 small_memmem(texts[i], strlen(texts[i]), texts[k], strlen(texts[k])));
		}
}

struct wide { int key; char rest[96]; };

static int by_key(const void *a, const void *b)
{
	const struct wide *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

static void any_order_is_sorted(void **state)
{
	static struct wide want[200], got[200];

	(void)state;
	srandom(1);
	for (size_t count = 0; count < 200; count++) {
		for (size_t i = 0; i < count; i++) {
			want[i].key = (int)(random() % (long)(count + 1));
			memset(want[i].rest, want[i].key, sizeof want[i].rest);
		}
		memcpy(got, want, sizeof got);
		qsort(want, count, sizeof *want, by_key);
		small_qsort(got, count, sizeof *got, by_key);
		assert_memory_equal(want, got, sizeof got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conversions_print_the_same), cmocka_unit_test(unknown_conversions_stand_as_they_are),
		cmocka_unit_test(a_stream_gets_all_of_it), cmocka_unit_test(a_part_is_found_where_it_is),
		cmocka_unit_test(any_order_is_sorted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
