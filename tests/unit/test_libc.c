/* links: src/base/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Under other names, beside the C library of this machine. */
#undef strstr
#define vsnprintf own_vsnprintf
#define vfprintf own_vfprintf
#define qsort own_qsort
#define strstr own_strstr
int vsnprintf(char *out, size_t size, const char *fmt, va_list ap);
int vfprintf(FILE *f, const char *fmt, va_list ap);
void qsort(void *list, size_t count, size_t size, int (*cmp)(const void *a, const void *b));
char *strstr(const char *text, const char *what);
#include "../../src/libc.c"
#undef strstr
#undef qsort

struct item { char key, rest[2]; };

static int by_key(const void *a, const void *b)
{
	return ((const struct item *)a)->key - ((const struct item *)b)->key;
}

static void test_sorted_is_what_went_in(void **state)
{
	(void)state;
	srand(1);
	for (size_t count = 0; count < 200; count++) {
		struct item list[200];
		unsigned sum = 0;

		for (size_t i = 0; i < count; i++) {
			list[i].key = (char)(rand() % (count % 3 ? 100 : 3));
			list[i].rest[0] = list[i].rest[1] = (char)(list[i].key + 1);
			sum += (unsigned)list[i].key;
		}
		own_qsort(list, count, sizeof *list, by_key);
		for (size_t i = 0; i < count; i++) {
			assert_true(i == 0 || list[i - 1].key <= list[i].key);
			assert_int_equal(list[i].rest[0], list[i].key + 1);
			assert_int_equal(list[i].rest[1], list[i].key + 1);
			sum -= (unsigned)list[i].key;
		}
		assert_int_equal(sum, 0);
	}
}

static void test_search(void **state)
{
	static const char *const texts[] = { "", "a", "ab", "aab", "aaab", "abab", "--", "a--b", "x-", "bbbbab" };

	(void)state;
	for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
		for (size_t w = 0; w < sizeof texts / sizeof *texts; w++)
			assert_ptr_equal(own_strstr(texts[t], texts[w]), strstr(texts[t], texts[w]));
}

static int print(FILE *f, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = own_vfprintf(f, fmt, ap);
	va_end(ap);
	return n;
}

static void test_streams_get_texts_of_any_length(void **state)
{
	char *text = NULL, want[2000];
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	memset(want, 'x', sizeof want);
	want[sizeof want - 1] = '\0';
	assert_int_equal(print(f, "%.511s", want), 511);
	assert_int_equal(print(f, "%.512s", want), 512);
	assert_int_equal(print(f, "%s%d", want, 7), 2000);
	fclose(f);
	assert_int_equal(size, 511 + 512 + 2000);
	assert_int_equal(text[size - 1], '7');
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sorted_is_what_went_in),
		cmocka_unit_test(test_search),
		cmocka_unit_test(test_streams_get_texts_of_any_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
