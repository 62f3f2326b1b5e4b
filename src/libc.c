/*
 * What of the C library is much smaller by hand: this program prints no floating point, in which half of musl's
 * printf is, and what it sorts and looks for is short. The linker takes these instead of musl's, for musl's own
 * callers too (printf, vasprintf, ...). What a conversion may have is flags - 0 +, a width and a precision, each
 * also *, the lengths l ll z j t, and one of d i u x X c s m %; anything else is printed as it stands.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- printf --- */

struct out { char *to; size_t room, len; };		/* len goes on counting where there is no room */
struct spec { bool left, zero, plus; int width, precision, size; };

static void put(struct out *o, const char *text, size_t len)
{
	size_t left = o->len < o->room ? o->room - o->len : 0;

	if (left)
		memcpy(o->to + o->len, text, len < left ? len : left);
	o->len += len;
}

static void fill(struct out *o, char c, int count)
{
	for (; count > 0; count--)
		put(o, &c, 1);
}

static void put_field(struct out *o, const struct spec *s, const char *text, int len)
{
	fill(o, ' ', s->left ? 0 : s->width - len);
	put(o, text, (size_t)len);
	fill(o, ' ', s->left ? s->width - len : 0);
}

static void put_number(struct out *o, struct spec *s, uint64_t n, char sign, char kind)
{
	const char *digits = kind == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	unsigned base = (kind | 0x20) == 'x' ? 16 : 10;
	char text[72], *end = text + sizeof text, *p = end;
	int least = s->precision >= 0 ? s->precision : s->zero && !s->left ? s->width - !!sign : 1;

	for (; n; n /= base)
		*--p = digits[n % base];
	while (end - p < least && p > text + 1)
		*--p = '0';
	if (sign)
		*--p = sign;
	put_field(o, s, p, (int)(end - p));
}

static int read_int(const char **fmt, va_list *ap)
{
	int n = 0;

	if (**fmt == '*')
		return ++*fmt, va_arg(*ap, int);
	for (; **fmt >= '0' && **fmt <= '9'; ++*fmt)
		n = n * 10 + **fmt - '0';
	return n;
}

static struct spec read_spec(const char **fmt, va_list *ap)
{
	struct spec s = { .precision = -1, .size = sizeof(int) };

	for (;; ++*fmt) {
		if (**fmt == '-')
			s.left = true;
		else if (**fmt == '0')
			s.zero = true;
		else if (**fmt == '+')
			s.plus = true;
		else
			break;
	}
	if ((s.width = read_int(fmt, ap)) < 0) {
		s.left = true;
		s.width = -s.width;
	}
	if (**fmt == '.') {
		++*fmt;
		s.precision = read_int(fmt, ap);
	}
	for (; **fmt && strchr("lzjt", **fmt); ++*fmt)
		s.size = **fmt == 'j' || (*fmt)[-1] == 'l' ? sizeof(long long) : sizeof(long);
	return s;
}

/* The conversion behind a %; where the next text begins. */
static const char *convert(struct out *o, const char *fmt, va_list *ap)
{
	const char *from = fmt, *text;
	struct spec s = read_spec(&fmt, ap);
	int64_t n;

	switch (*fmt) {
	case 'd':
	case 'i':
		n = s.size == sizeof(int64_t) ? va_arg(*ap, int64_t) : va_arg(*ap, int32_t);
		put_number(o, &s, n < 0 ? -(uint64_t)n : (uint64_t)n, n < 0 ? '-' : s.plus ? '+' : 0, 'd');
		break;
	case 'u':
	case 'x':
	case 'X':
		put_number(o, &s, s.size == sizeof(int64_t) ? va_arg(*ap, uint64_t) : va_arg(*ap, uint32_t), 0, *fmt);
		break;
	case 'c':
		put_field(o, &s, &(char){ (char)va_arg(*ap, int) }, 1);
		break;
	case 's':
	case 'm':
		text = *fmt == 'm' ? strerror(errno) : va_arg(*ap, const char *);
		text = text ? text : "(null)";
		put_field(o, &s, text, (int)strnlen(text, s.precision < 0 ? INT_MAX : (size_t)s.precision));
		break;
	case '%':
		put(o, "%", 1);
		break;
	default:
		put(o, from - 1, (size_t)(fmt - from) + 1);
		return fmt;
	}
	return fmt + 1;
}

int vsnprintf(char *to, size_t size, const char *fmt, va_list args)
{
	struct out o = { to, size ? size - 1 : 0, 0 };
	va_list ap;

	va_copy(ap, args);
	while (*fmt) {
		size_t plain = strcspn(fmt, "%");

		put(&o, fmt, plain);
		fmt += plain;
		if (*fmt)
			fmt = convert(&o, fmt + 1, &ap);
	}
	va_end(ap);
	if (size)
		to[o.len < o.room ? o.len : o.room] = '\0';
	return (int)o.len;
}

int vfprintf(FILE *f, const char *fmt, va_list ap)
{
	char *text;
	int len = vasprintf(&text, fmt, ap);

	if (len < 0)
		return -1;
	if (fputs(text, f) < 0)
		len = -1;
	free(text);
	return len;
}

/* --- search and sort --- */

void *memmem(const void *text, size_t len, const void *part, size_t size)
{
	const char *at = text, *end = at + len;

	for (; (size_t)(end - at) >= size; at++) {
		if (memcmp(at, part, size) == 0)
			return (void *)at;
	}
	return NULL;
}

char *strstr(const char *text, const char *part)
{
	return memmem(text, strlen(text), part, strlen(part));
}

static void swap(char *a, char *b, size_t size)
{
	char kept[64];

	while (size) {
		size_t n = size < sizeof kept ? size : sizeof kept;

		memcpy(kept, a, n);
		memcpy(a, b, n);
		memcpy(b, kept, n);
		a += n, b += n, size -= n;
	}
}

/* A heap: no input makes it slow. */
void qsort(void *base, size_t count, size_t size, int (*cmp)(const void *, const void *))
{
	char *a = base;

	for (size_t start = count / 2, end = count; end > 1; ) {
		if (start)
			start--;
		else
			swap(a, a + --end * size, size);
		for (size_t at = start, next; (next = 2 * at + 1) < end; at = next) {
			next += next + 1 < end && cmp(a + next * size, a + (next + 1) * size) < 0;
			if (cmp(a + at * size, a + next * size) >= 0)
				break;
			swap(a + at * size, a + next * size, size);
		}
	}
}
