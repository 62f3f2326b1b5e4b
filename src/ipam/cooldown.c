/*
 * An address that was given back may rest for a while (IPAMConfig): its ordinal then
 * points at an entry that says only when that was.  Clocks of nodes differ, and boards
 * without one begin in 1970: a moment further away than the rest lasts, on whichever
 * side of now, is over.
 */
#include "ipam/cooldown.h"

#include <string.h>

/* Digits of text from `at`, as many as `count`; -1: other characters. */
static int digits(const char *text, size_t at, size_t count)
{
	int n = 0;

	for (size_t i = at; i < at + count; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		n = n * 10 + text[i] - '0';
	}
	return n;
}

/* Days since 1970-01-01: years begin in March here, so that the leap day is the last. */
static int64_t days_of(int year, int month, int day)
{
	const int y = year - (month <= 2), shifted = (month + 9) % 12;

	return (int64_t)y * 365 + y / 4 - y / 100 + y / 400 + (153 * shifted + 2) / 5 + day - 1 - 719468;
}

/* "2026-08-01T09:10:00Z", whatever the fraction; other zones are a day off at most.  -1: no time. */
static int64_t seconds_of(const char *text)
{
	static const char form[] = "0000-00-00T00:00:00";
	int part[6];
	static const struct { size_t at, count; } parts[6] = { { 0, 4 }, { 5, 2 }, { 8, 2 }, { 11, 2 }, { 14, 2 }, { 17, 2 } };

	if (strlen(text) < strlen(form))
		return -1;
	for (int i = 0; i < 6; i++)
		if ((part[i] = digits(text, parts[i].at, parts[i].count)) < 0)
			return -1;
	return days_of(part[0], part[1], part[2]) * 86400 + part[3] * 3600 + part[4] * 60 + part[5];
}

bool moment_is_over(const char *text, unsigned seconds, int64_t wall)
{
	int64_t age = text ? wall / 1000000000 - seconds_of(text) : seconds;

	return age >= seconds || -age >= (int64_t)seconds;
}

bool cooldown_is_over(const struct block_attribute *a, unsigned cooldown_s, int64_t wall)
{
	return moment_is_over(a->released_at, cooldown_s, wall);
}

bool is_released(const struct block_attribute *a)
{
	return !a->handle && a->released_at;
}
