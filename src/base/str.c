#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

/* Makes room for more bytes and the terminator. */
static void reserve(struct str *b, size_t more)
{
	size_t cap = b->cap ? b->cap : 32;

	if (more > SIZE_MAX / 4 - b->len)
		log_die("memory", "text of %zu + %zu bytes", b->len, more);
	while (cap < b->len + more + 1)
		cap *= 2;
	if (cap == b->cap)
		return;
	b->s = xrealloc(b->s, cap);
	b->cap = cap;
}

char *str_grow(struct str *b, size_t len)
{
	if (b->cap - b->len <= len)
		reserve(b, len);
	b->len += len;
	b->s[b->len] = '\0';
	return b->s + b->len - len;
}

void str_add(struct str *b, const char *data, size_t len)
{
	char *at = str_grow(b, len);

	if (len)
		memcpy(at, data, len);
}

void str_puts(struct str *b, const char *text)
{
	str_add(b, text, strlen(text));
}

void str_printf(struct str *b, const char *fmt, ...)
{
	va_list ap, again;
	int len;

	va_start(ap, fmt);
	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len > 0) {
		reserve(b, (size_t)len);
		vsnprintf(b->s + b->len, (size_t)len + 1, fmt, again);
		b->len += (size_t)len;
	}
	va_end(again);
}

void str_clear(struct str *b)
{
	b->len = 0;
	if (b->s)
		b->s[0] = '\0';
}

void str_free(struct str *b)
{
	free(b->s);
	*b = (struct str){ 0 };
}

const char *str_text(const struct str *b)
{
	return b->s ? b->s : "";
}

bool str_copy(char *dst, size_t size, const char *text)
{
	size_t len = strnlen(text, size);
	bool fits = len < size;

	if (!fits)
		len = size - 1;
	memcpy(dst, text, len);
	dst[len] = '\0';
	return fits;
}

bool str_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

int str_u64(const char *text, uint64_t max, uint64_t *value)
{
	uint64_t n = 0;
	bool large = false;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		unsigned digit = (unsigned)(*text - '0');

		if (*text < '0' || *text > '9')
			return -EINVAL;
		large |= n > (UINT64_MAX - digit) / 10;
		n = n * 10 + digit;
	}
	if (large || n > max)
		return -ERANGE;
	*value = n;
	return 0;
}
