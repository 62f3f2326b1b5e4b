/*
 * The type of a plain scalar, as Kubernetes has it: sigs.k8s.io/yaml, which is
 * go-yaml 2 and then Go's encoding/json.
 *
 *   null      nothing, ~, null
 *   boolean   true, false, and y, n, yes, no, on, off; each also Abc and ABC
 *   integer   sign, then decimal, 0b, 0o, 0x, or a leading 0 for octal; 64 bits;
 *             with a sign: those of int64
 *   float     as usual, also .5 and 1., and what looks like an integer but is
 *             none (09); a whole one is written as an integer: 80.0 is 80, 1e3 is
 *             1000; beyond a double's range it is a string (a hash like 12e4567)
 *   string    all else: dates, 12:30, 1.2.3, inf
 *
 * "_" between digits is dropped.  Go goes through a double, we keep the digits.
 */
#include "wire/yaml_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

static const struct word {
	const char *texts, *json;
	enum yaml_plain type;
} words[] = {
	{ "~ null Null NULL", "null", PLAIN_NULL },
	{ "true True TRUE y Y yes Yes YES on On ON", "true", PLAIN_BOOL },
	{ "false False FALSE n N no No NO off Off OFF", "false", PLAIN_BOOL },
	{ ".inf .Inf .INF +.inf +.Inf +.INF -.inf -.Inf -.INF .nan .NaN .NAN", "", PLAIN_NOT_FINITE },
};

static bool has_word(const char *texts, const char *text, size_t len)
{
	for (;;) {
		size_t n = strcspn(texts, " ");

		if (n == len && memcmp(texts, text, n) == 0)
			return true;
		if (!texts[n])
			return false;
		texts += n + 1;
	}
}

static const struct word *word_find(const char *text, size_t len)
{
	if (len == 0)
		return &words[0];
	for (size_t i = 0; i < ARRAY_SIZE(words) && len <= strlen("false"); i++) {
		if (has_word(words[i].texts, text, len))
			return &words[i];
	}
	return NULL;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The text without "_"; false when it begins like no number, or has more digits than any. */
static bool number_text(const char *text, size_t len, char to[PLAIN_NUMBER_MAX])
{
	size_t n = 0;

	if (!is_digit(text[0]) && !strchr("+-.", text[0]))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] != '_') {
			to[n++] = text[i];
			if (n == PLAIN_NUMBER_MAX)
				return false;
		} else if (text[0] == '.' && !(is_digit(text[i - 1]) && i + 1 < len && is_digit(text[i + 1]))) {
			return false;	/* Go is stricter about these */
		}
	}
	to[n] = '\0';
	return true;
}

static unsigned digit_of(char c)
{
	if (is_digit(c))
		return (unsigned)(c - '0');
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
}

/* Moves *s behind what names the base. */
static unsigned base_of(const char **s)
{
	static const char letters[] = "bBoOxX";
	static const uint8_t bases[] = { 2, 2, 8, 8, 16, 16 };
	const char *found;

	if ((*s)[0] != '0' || !(*s)[1])
		return 10;
	found = strchr(letters, (*s)[1]);
	*s += found ? 2 : 1;
	return found ? bases[found - letters] : 8;
}

static bool read_integer(const char *s, char out[PLAIN_JSON_MAX])
{
	bool negative = *s == '-';
	uint64_t max = *s == '-' ? (uint64_t)1 << 63 : *s == '+' ? INT64_MAX : UINT64_MAX, n = 0;
	unsigned base;

	s += *s == '-' || *s == '+';
	base = base_of(&s);
	if (!*s)
		return false;
	for (; *s; s++) {
		unsigned digit = digit_of(*s);

		if (digit >= base || n > (max - digit) / base)
			return false;
		n = n * base + digit;
	}
	snprintf(out, PLAIN_JSON_MAX, "%s%" PRIu64, negative && n ? "-" : "", n);
	return true;
}

/* 0.<digits> times ten to the power of point; digits neither begin nor end with 0, none: zero. */
struct decimal {
	char digits[PLAIN_NUMBER_MAX];
	int count, point;
	bool negative;
};

static const char *read_exponent(const char *s, int *exponent)
{
	bool negative = *s == '-';

	s += *s == '-' || *s == '+';
	if (!is_digit(*s))
		return NULL;
	for (; is_digit(*s); s++) {
		if (*exponent < 100000)
			*exponent = *exponent * 10 + (*s - '0');
	}
	if (negative)
		*exponent = -*exponent;
	return s;
}

static bool read_decimal(const char *s, struct decimal *d)
{
	int seen = 0, exponent = 0;
	bool behind = false;

	*d = (struct decimal){ .negative = *s == '-' };
	s += *s == '-' || *s == '+';
	for (; is_digit(*s) || (*s == '.' && !behind); s++) {
		if (*s == '.') {
			behind = true;
			continue;
		}
		seen++;
		if (*s != '0' || d->count)
			d->digits[d->count++] = *s;
		d->point += behind ? -(d->count == 0) : d->count > 0;
	}
	if (seen && (*s == 'e' || *s == 'E'))
		s = read_exponent(s + 1, &exponent);
	if (!seen || !s || *s)
		return false;
	while (d->count && d->digits[d->count - 1] == '0')
		d->count--;
	d->digits[d->count] = '\0';
	d->point += exponent;
	return true;
}

/* The notation is the one that Go's encoding/json chooses. */
static void write_decimal(const struct decimal *d, char out[PLAIN_JSON_MAX])
{
	static const char zeros[] = "000000000000000000000";
	const char *sign = d->negative ? "-" : "", *rest = d->digits + 1;

	if (!d->count || d->point < -330)	/* nothing, or what a double takes for nothing */
		snprintf(out, PLAIN_JSON_MAX, "%s0", sign);
	else if (d->point > 21 || d->point < -5)
		snprintf(out, PLAIN_JSON_MAX, "%s%c%s%se%+d", sign, d->digits[0], *rest ? "." : "", rest, d->point - 1);
	else if (d->point >= d->count)
		snprintf(out, PLAIN_JSON_MAX, "%s%s%.*s", sign, d->digits, d->point - d->count, zeros);
	else if (d->point > 0)
		snprintf(out, PLAIN_JSON_MAX, "%s%.*s.%s", sign, d->point, d->digits, d->digits + d->point);
	else
		snprintf(out, PLAIN_JSON_MAX, "%s0.%.*s%s", sign, -d->point, zeros, d->digits);
}

static bool read_float(const char *s, char out[PLAIN_JSON_MAX])
{
	static const char too_large[] = "1797693134862315807937";	/* would be rounded up, beyond the last double */
	struct decimal d;

	if (!read_decimal(s, &d))
		return false;
	if (d.count && (d.point > 309 || (d.point == 309 && strcmp(d.digits, too_large) >= 0)))
		return false;
	write_decimal(&d, out);
	return true;
}

enum yaml_plain yaml_plain(const char *text, size_t len, char out[PLAIN_JSON_MAX])
{
	const struct word *w = word_find(text, len);
	char number[PLAIN_NUMBER_MAX];

	if (w) {
		str_copy(out, PLAIN_JSON_MAX, w->json);
		return w->type;
	}
	if (!number_text(text, len, number))
		return PLAIN_STRING;
	if (read_integer(number, out))
		return PLAIN_INTEGER;
	return read_float(number, out) ? PLAIN_FLOAT : PLAIN_STRING;
}
