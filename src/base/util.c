#include "base/util.h"

#include <string.h>
#include <time.h>

#include "base/log.h"

void *xcalloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size ? size : 1);

	if (!p)
		log_die("memory", "no %zu x %zu bytes left", count, size);
	return p;
}

void *xrealloc(void *old, size_t size)
{
	void *p = realloc(old, size ? size : 1);

	if (!p)
		log_die("memory", "no %zu bytes left", size);
	return p;
}

char *xstrdup(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(xrealloc(NULL, size), text, size);
}

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Years are counted from a first of March, so that the leap day is the last one. */
struct utc utc_of(int64_t wall)
{
	enum { DAY = 86400, ERA_DAYS = 146097, DAYS_TO_1970 = 719468 };
	int64_t seconds = wall / 1000000000 - (wall % 1000000000 < 0);
	int64_t days = seconds / DAY - (seconds % DAY < 0), rest = seconds - days * DAY;
	int64_t since = days + DAYS_TO_1970, era = (since >= 0 ? since : since - ERA_DAYS + 1) / ERA_DAYS;
	int day_of_era = (int)(since - era * ERA_DAYS);
	int year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int march_month = (5 * day_of_year + 2) / 153;
	struct utc u = { .day = day_of_year - (153 * march_month + 2) / 5 + 1,
			 .month = march_month < 10 ? march_month + 3 : march_month - 9,
			 .hour = (int)(rest / 3600), .minute = (int)(rest / 60 % 60), .second = (int)(rest % 60) };

	u.year = (int)(year_of_era + era * 400) + (u.month <= 2);
	return u;
}
