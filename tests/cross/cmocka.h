#ifndef CROSS_CMOCKA_H
#define CROSS_CMOCKA_H
/*
 * As much of cmocka as the unit tests use, for machines that Debian has no cmocka for that
 * would go into a static program: make check-cross.  Same names, same last lines.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct CMUnitTest {
	const char *name;
	void (*test)(void **state);
	int (*setup)(void **state), (*teardown)(void **state);
	void *initial_state;
};

#define cmocka_unit_test(f) { .name = #f, .test = (f) }
#define cmocka_unit_test_setup_teardown(f, before, after) { #f, (f), (before), (after), NULL }
#define cmocka_run_group_tests(tests, before, after) \
	cross_run((tests), sizeof(tests) / sizeof *(tests), (before), (after))

enum cross_end { CROSS_FAILED = 1, CROSS_SKIPPED };
static jmp_buf cross_out;

#define print_message(...) printf(__VA_ARGS__)
#define cross_give_up(how, ...) \
	do { printf("%s:%d: ", __FILE__, __LINE__); printf(__VA_ARGS__); printf("\n"); longjmp(cross_out, (how)); } while (0)
#define fail_msg(...) cross_give_up(CROSS_FAILED, __VA_ARGS__)
#define fail() fail_msg("failed")
#define skip() longjmp(cross_out, CROSS_SKIPPED)
#define cross_claim(ok, text) do { if (!(ok)) fail_msg("%s", text); } while (0)

#define assert_true(c) cross_claim((c), "not true: " #c)
#define assert_false(c) cross_claim(!(c), "not false: " #c)
#define assert_null(p) cross_claim((p) == NULL, "not NULL: " #p)
#define assert_non_null(p) cross_claim((p) != NULL, "NULL: " #p)
#define assert_ptr_equal(a, b) cross_claim((const void *)(a) == (const void *)(b), "differ: " #a ", " #b)
#define assert_ptr_not_equal(a, b) cross_claim((const void *)(a) != (const void *)(b), "equal: " #a ", " #b)
#define assert_memory_equal(a, b, size) cross_claim(memcmp((a), (b), (size)) == 0, "differ: " #a ", " #b)
#define assert_in_range(v, from, to) cross_claim((v) >= (from) && (v) <= (to), "out of range: " #v)
#define assert_int_equal(a, b) \
	do { \
		long long cross_a = (long long)(a), cross_b = (long long)(b); \
		if (cross_a != cross_b) \
			fail_msg("%lld, not %lld: %s", cross_a, cross_b, #a); \
	} while (0)
#define assert_int_not_equal(a, b) cross_claim((long long)(a) != (long long)(b), "equal: " #a ", " #b)
#define assert_string_equal(a, b) \
	do { \
		const char *cross_a = (a), *cross_b = (b); \
		if (strcmp(cross_a, cross_b) != 0) \
			fail_msg("\"%s\", not \"%s\": %s", cross_a, cross_b, #a); \
	} while (0)
#define assert_string_not_equal(a, b) cross_claim(strcmp((a), (b)) != 0, "equal: " #a ", " #b)

static inline int cross_run_one(const struct CMUnitTest *t, void *group_state)
{
	void *volatile state = t->initial_state ? t->initial_state : group_state;
	int end;

	if (t->setup && t->setup((void **)&state) != 0)
		return CROSS_FAILED;
	end = setjmp(cross_out);
	if (end == 0)
		t->test((void **)&state);
	if (t->teardown && t->teardown((void **)&state) != 0)
		end = CROSS_FAILED;
	return end;
}

static inline int cross_run(const struct CMUnitTest *tests, size_t count, int (*before)(void **), int (*after)(void **))
{
	int ended[3] = { 0 };
	void *state = NULL;

	if (before && before(&state) != 0)
		return 1;
	for (size_t i = 0; i < count; i++) {
		int end;

		printf("[ RUN      ] %s\n", tests[i].name);
		fflush(stdout);
		end = cross_run_one(&tests[i], state);
		ended[end]++;
		if (end == CROSS_FAILED)
			printf("[  FAILED  ] %s\n", tests[i].name);
		if (end == CROSS_SKIPPED)
			printf("[  SKIPPED ] %s\n", tests[i].name);
	}
	if (after && after(&state) != 0)
		ended[CROSS_FAILED]++;
	printf("[  PASSED  ] %d test(s).\n", ended[0]);
	if (ended[CROSS_FAILED])
		printf("\n %d FAILED TEST(S)\n", ended[CROSS_FAILED]);
	return ended[CROSS_FAILED];
}

#endif
