#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int code, const char *fmt, ...)
{
	char text[sizeof e->text];	/* the arguments may point into e->text */
	va_list ap;

	if (!e)
		return -code;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	e->code = code;
	memcpy(e->text, text, sizeof text);
	return -code;
}

void err_prefix(struct err *e, const char *fmt, ...)
{
	char text[sizeof e->text];
	size_t len, rest;
	va_list ap;

	if (!e)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	len = strlen(text);
	rest = strlen(e->text);
	if (rest > sizeof text - 1 - len)
		rest = sizeof text - 1 - len;
	memcpy(text + len, e->text, rest);
	text[len + rest] = '\0';
	memcpy(e->text, text, len + rest + 1);
}
