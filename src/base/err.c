#include "base/err.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of UTF-8: not the first byte of a character. */
static bool is_inside(char c)
{
	return (c & 0xc0) == 0x80;
}

void err_text(char *to, size_t size, const char *fmt, va_list ap)
{
	char *text, *tail;
	int len = vasprintf(&text, fmt, ap);
	size_t ends = (size - 4) / 2, head = ends;

	if (len < 0) {
		snprintf(to, size, "out of memory");
		return;
	}
	if ((size_t)len < size) {
		memcpy(to, text, (size_t)len + 1);
	} else {
		for (tail = text + len - ends; is_inside(*tail); )
			tail++;
		while (head && is_inside(text[head]))
			head--;
		snprintf(to, size, "%.*s...%s", (int)head, text, tail);
	}
	free(text);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -code;
	va_start(ap, fmt);
	err_text(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	e->code = code;
	return -code;
}

void err_prefix(struct err *e, const char *fmt, ...)
{
	char place[sizeof e->text];
	va_list ap;

	if (!e)
		return;
	va_start(ap, fmt);
	err_text(place, sizeof place, fmt, ap);
	va_end(ap);
	err_set(e, e->code, "%s%s", place, e->text);
}
