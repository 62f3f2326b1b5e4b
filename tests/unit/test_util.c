/* links: src/base/util.c src/base/log.c src/base/str.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "base/util.h"

static void assert_same_as_the_c_library(int64_t seconds)
{
	struct utc u = utc_of(seconds * 1000000000);
	time_t t = (time_t)seconds;
	struct tm tm;

	gmtime_r(&t, &tm);
	assert_int_equal(u.year, tm.tm_year + 1900);
	assert_int_equal(u.month, tm.tm_mon + 1);
	assert_int_equal(u.day, tm.tm_mday);
	assert_int_equal(u.hour, tm.tm_hour);
	assert_int_equal(u.minute, tm.tm_min);
	assert_int_equal(u.second, tm.tm_sec);
}

static void utc_agrees_with_the_c_library(void **state)
{
	(void)state;
	for (int64_t day = -40000; day < 100000; day++)		/* 1860 to 2243, every day */
		assert_same_as_the_c_library(day * 86400 + (day * 7919 % 86400 + 86400) % 86400);
	assert_same_as_the_c_library(0);
	assert_same_as_the_c_library(-1);
	assert_same_as_the_c_library(951782399);	/* the end of 28 February 2000 */
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(utc_agrees_with_the_c_library) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
