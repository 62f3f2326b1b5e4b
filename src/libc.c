/*
 * Functions of the C library that are smaller here than in musl, since this program
 * asks less of them: printf without floating point (a fortieth of the program), a sort and a search
 * in a few lines.  The linker takes these and leaves musl's in the archive.  Tests on the machine that builds
 * use its own library; src/base/format.c has tests of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"

int vsnprintf(char *out, size_t size, const char *fmt, va_list ap)
{
	return format_text(out, size, fmt, ap);
}

int vfprintf(FILE *f, const char *fmt, va_list ap)
{
	char line[512], *text = line;
	int n = format_text(line, sizeof line, fmt, ap);

	if ((size_t)n >= sizeof line) {
		if (!(text = malloc((size_t)n + 1)))
			return -1;
		format_text(text, (size_t)n + 1, fmt, ap);
	}
	if (fwrite(text, 1, (size_t)n, f) != (size_t)n)
		n = -1;
	if (text != line)
		free(text);
	return n;
}

static void swap(char *a, char *b, size_t size)
{
	for (; size; size--, a++, b++) {
		char c = *a;

		*a = *b;
		*b = c;
	}
}

/* A heap: the root goes down to where it is not smaller than what is below it. */
static void sift(char *base, size_t root, size_t count, size_t size, int (*cmp)(const void *a, const void *b))
{
	for (size_t child; (child = 2 * root + 1) < count; root = child) {
		if (child + 1 < count && cmp(base + child * size, base + (child + 1) * size) < 0)
			child++;
		if (cmp(base + root * size, base + child * size) >= 0)
			return;
		swap(base + root * size, base + child * size, size);
	}
}

void qsort(void *list, size_t count, size_t size, int (*cmp)(const void *a, const void *b))
{
	for (size_t i = count / 2; i-- > 0; )
		sift(list, i, count, size, cmp);
	for (size_t i = count; i-- > 1; ) {
		swap(list, (char *)list + i * size, size);
		sift(list, 0, i, size, cmp);
	}
}

char *strstr(const char *text, const char *what)
{
	const size_t len = strlen(what);

	while (len && (text = strchr(text, *what)) && strncmp(text, what, len) != 0)
		text++;
	return (char *)text;
}
