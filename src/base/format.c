#include "base/format.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct text { char *out; size_t size, len; };

struct field {
	bool left, zero, alternate;
	char sign;			/* of a number that is not negative: '+', ' ', or 0 */
	int width, precision;		/* precision -1: none given */
	unsigned bytes;			/* of a number's argument */
};

static void put(struct text *t, char c, size_t times)
{
	for (; times; times--, t->len++)
		if (t->len + 1 < t->size)
			t->out[t->len] = c;
}

static void put_text(struct text *t, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		put(t, text[i], 1);
}

/* The field's blanks stand before it, or behind; a number's zeros between its prefix and its digits. */
static void put_field(struct text *t, const struct field *f, const char *prefix, size_t zeros, const char *text, size_t len)
{
	size_t head = strlen(prefix), all = head + zeros + len, width = f->width > 0 ? (size_t)f->width : 0;
	size_t blanks = width > all ? width - all : 0;

	if (!f->left && !f->zero)
		put(t, ' ', blanks);
	put_text(t, prefix, head);
	put(t, '0', zeros + (f->zero ? blanks : 0));
	put_text(t, text, len);
	if (f->left)
		put(t, ' ', blanks);
}

static void put_number(struct text *t, struct field *f, uint64_t value, char kind, bool negative)
{
	const unsigned base = kind == 'o' ? 8 : kind == 'x' || kind == 'X' ? 16 : 10;
	char prefix[3] = { negative ? '-' : f->sign }, digits[24], *at = digits + sizeof digits;
	const char *hex = kind == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	size_t len, want = f->precision < 0 ? 1 : (size_t)f->precision;

	if (f->alternate && base == 16 && value)
		prefix[0] = '0', prefix[1] = kind;
	for (; value; value /= base)
		*--at = hex[value % base];
	len = (size_t)(digits + sizeof digits - at);
	if (f->alternate && base == 8 && want <= len)
		want = len + 1;
	f->zero &= f->precision < 0 && !f->left;
	put_field(t, f, prefix, want > len ? want - len : 0, at, len);
}

static const char *read_number(const char *fmt, int *out, va_list *ap)
{
	if (*fmt == '*') {
		*out = va_arg(*ap, int);
		return fmt + 1;
	}
	for (*out = 0; *fmt >= '0' && *fmt <= '9' && *out < INT_MAX / 10 - 1; fmt++)
		*out = *out * 10 + *fmt - '0';
	return fmt;
}

/* All between '%' and the letter. */
static const char *read_field(const char *fmt, struct field *f, va_list *ap)
{
	static const struct { char letter; unsigned bytes; } lengths[] = {
		{ 'l', sizeof (long) }, { 'z', sizeof (size_t) }, { 'j', sizeof (intmax_t) }, { 't', sizeof (ptrdiff_t) },
	};

	*f = (struct field){ .precision = -1, .bytes = sizeof (int) };
	for (; *fmt && strchr("-0+ #", *fmt); fmt++) {
		f->left |= *fmt == '-';
		f->zero |= *fmt == '0';
		f->alternate |= *fmt == '#';
		if (*fmt == '+' || (*fmt == ' ' && !f->sign))
			f->sign = *fmt;
	}
	fmt = read_number(fmt, &f->width, ap);
	if (f->width < 0) {
		f->left = true;
		f->width = -f->width;
	}
	if (*fmt == '.')
		fmt = read_number(fmt + 1, &f->precision, ap);
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
		if (*fmt == lengths[i].letter) {
			f->bytes = lengths[i].bytes;
			if (*++fmt == 'l')
				f->bytes = sizeof (long long), fmt++;
			return fmt;
		}
	for (; *fmt == 'h'; fmt++)
		f->bytes = f->bytes == sizeof (int) ? sizeof (short) : sizeof (char);
	return fmt;
}

static uint64_t read_value(const struct field *f, bool is_signed, bool *negative, va_list *ap)
{
	const unsigned unused = 64 - 8 * f->bytes;
	uint64_t value = f->bytes == sizeof (long long) ? va_arg(*ap, unsigned long long) : va_arg(*ap, unsigned);

	value = value << unused >> unused;
	*negative = is_signed && value >> (8 * f->bytes - 1);
	return *negative ? (0 - value) << unused >> unused : value;
}

static void put_string(struct text *t, struct field *f, const char *s)
{
	if (!s)
		s = "(null)";
	f->zero = false;
	put_field(t, f, "", 0, s, f->precision < 0 ? strlen(s) : strnlen(s, (size_t)f->precision));
}

/* False: no conversion that is known. */
static bool convert(struct text *t, struct field *f, char kind, int error, va_list *ap)
{
	bool negative;
	uint64_t value;
	char c;

	switch (kind) {
	case 'd': case 'i': case 'u': case 'o': case 'x': case 'X':
		value = read_value(f, kind == 'd' || kind == 'i', &negative, ap);
		if (kind != 'd' && kind != 'i')
			f->sign = 0;
		put_number(t, f, value, kind, negative);
		return true;
	case 'p':
		f->alternate = true;
		put_number(t, f, (uintptr_t)va_arg(*ap, void *), 'x', false);
		return true;
	case 'c':
		c = (char)va_arg(*ap, int);
		f->zero = false;
		put_field(t, f, "", 0, &c, 1);
		return true;
	case 's':
		put_string(t, f, va_arg(*ap, const char *));
		return true;
	case 'm':
		put_string(t, f, strerror(error));
		return true;
	case '%':
		put(t, '%', 1);
		return true;
	}
	return false;
}

int format_text(char *out, size_t size, const char *fmt, va_list given)
{
	struct text t = { out, size, 0 };
	const int error = errno;
	va_list ap;

	va_copy(ap, given);		/* so that it can be passed on by address */
	while (*fmt) {
		const char *begin = fmt;
		struct field f;

		if (*fmt == '%') {
			fmt = read_field(fmt + 1, &f, &ap);
			if (*fmt && convert(&t, &f, *fmt++, error, &ap))
				continue;
			put_text(&t, begin, (size_t)(fmt - begin));
			continue;
		}
		fmt += strcspn(fmt, "%");
		put_text(&t, begin, (size_t)(fmt - begin));
	}
	va_end(ap);
	if (size)
		out[t.len < size ? t.len : size - 1] = '\0';
	return (int)t.len;
}
