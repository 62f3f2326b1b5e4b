/*
 * The grammar of RFC 8259, strictly, as a walk without recursion: a value is
 * wanted, or one has just ended and its container says what may follow.  On
 * top of the RFC: no NUL byte and no \u0000 (names and values become C
 * strings), surrogates only in pairs, and a bounded depth.
 */
#include "wire/json_int.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

struct check {
	const char *text;
	size_t at, len;
	int tokens;
	unsigned depth;
	bool object[JSON_DEPTH_MAX];	/* of each open container */
	struct err *e;
};

struct json_mark json_mark(const char *text, size_t at)
{
	struct json_mark m = { 1, 1 };

	for (size_t i = 0; i < at; i++) {
		m.column++;
		if (text[i] == '\n')
			m = (struct json_mark){ m.line + 1, 1 };
	}
	return m;
}

static int refuse(struct check *c, const char *what)
{
	struct json_mark m = json_mark(c->text, c->at);

	return err_set(c->e, EINVAL, "%u:%u: %s%s", m.line, m.column, c->at == c->len ? "the text ends: " : "", what);
}

/* The byte at hand; NUL, which no rule wants, at the end. */
static inline __attribute__((always_inline)) char here(const struct check *c)
{
	return c->at < c->len ? c->text[c->at] : '\0';
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_blanks(struct check *c)
{
	while (is_blank(here(c)))
		c->at++;
}

unsigned utf8_length(const char *p, size_t left)
{
	const uint8_t *b = (const uint8_t *)p;
	uint8_t low = 0x80, high = 0xbf;	/* of the second byte */
	unsigned len;

	if (left == 0 || b[0] == 0 || (b[0] >= 0x80 && b[0] < 0xc2) || b[0] > 0xf4)
		return 0;
	if (b[0] < 0x80)
		return 1;
	len = b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
	if (b[0] == 0xe0)
		low = 0xa0;
	else if (b[0] == 0xed)
		high = 0x9f;
	else if (b[0] == 0xf0)
		low = 0x90;
	else if (b[0] == 0xf4)
		high = 0x8f;
	if (left < len || b[1] < low || b[1] > high)
		return 0;
	for (unsigned i = 2; i < len; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of \uXXXX at p, or -1. */
static int hex4(const char *p, size_t left)
{
	int v = 0;

	if (left < 4)
		return -1;
	for (unsigned i = 0; i < 4; i++) {
		int d = hex_digit(p[i]);

		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

/* \uXXXX, or two of them for a character beyond the first plane. */
static int check_unicode(struct check *c)
{
	int unit = hex4(c->text + c->at + 2, c->len - c->at - 2), second = -1;

	if (unit < 0)
		return refuse(c, "want four hex digits after \\u");
	if (unit == 0)
		return refuse(c, "\\u0000 is not allowed");
	if (unit < 0xd800 || unit > 0xdfff) {
		c->at += 6;
		return 0;
	}
	if (unit < 0xdc00 && c->len - c->at >= 12 && memcmp(c->text + c->at + 6, "\\u", 2) == 0)
		second = hex4(c->text + c->at + 8, 4);
	if (second < 0xdc00 || second > 0xdfff)
		return refuse(c, "half of a surrogate pair");
	c->at += 12;
	return 0;
}

static int check_escape(struct check *c)
{
	if (c->len - c->at < 2) {
		c->at = c->len;
		return refuse(c, "want '\"' at the end of the string");
	}
	if (c->text[c->at + 1] == 'u')
		return check_unicode(c);
	if (!c->text[c->at + 1] || !strchr("\"\\/bfnrt", c->text[c->at + 1]))
		return refuse(c, "unknown escape in a string");
	c->at += 2;
	return 0;
}

static int check_string(struct check *c)
{
	int rc = 0;

	for (c->at++; rc == 0; ) {
		unsigned char b = (unsigned char)here(c);
		unsigned n;

		if (c->at == c->len)
			return refuse(c, "want '\"' at the end of the string");
		if (b == '"')
			break;
		if (b == '\\') {
			rc = check_escape(c);
			continue;
		}
		if (b < 0x20)
			return refuse(c, "control byte in a string");
		n = utf8_length(c->text + c->at, c->len - c->at);
		if (!n)
			return refuse(c, "not UTF-8");
		c->at += n;
	}
	c->at += rc == 0;
	c->tokens++;
	return rc;
}

/* At least one digit. */
static int check_digits(struct check *c)
{
	if (here(c) < '0' || here(c) > '9')
		return refuse(c, "want a digit");
	while (here(c) >= '0' && here(c) <= '9')
		c->at++;
	return 0;
}

static int check_number(struct check *c)
{
	bool zero;
	int rc;

	if (here(c) == '-')
		c->at++;
	zero = here(c) == '0';
	if (zero && c->at + 1 < c->len && c->text[c->at + 1] >= '0' && c->text[c->at + 1] <= '9')
		return refuse(c, "a number does not begin with 0");
	rc = check_digits(c);
	if (rc == 0 && here(c) == '.') {
		c->at++;
		rc = check_digits(c);
	}
	if (rc == 0 && (here(c) == 'e' || here(c) == 'E')) {
		c->at++;
		if (here(c) == '+' || here(c) == '-')
			c->at++;
		rc = check_digits(c);
	}
	c->tokens++;
	return rc;
}

static int check_literal(struct check *c, const char *word)
{
	size_t len = strlen(word);

	if (c->len - c->at < len || memcmp(c->text + c->at, word, len) != 0)
		return refuse(c, "want a value");
	c->at += len;
	c->tokens++;
	return 0;
}

/* "name" ':' */
static int check_name(struct check *c)
{
	int rc;

	skip_blanks(c);
	if (here(c) != '"')
		return refuse(c, "want a member's name in quotes");
	rc = check_string(c);
	if (rc < 0)
		return rc;
	skip_blanks(c);
	if (here(c) != ':')
		return refuse(c, "want ':' after a member's name");
	c->at++;
	return 0;
}

/* 1: a value is wanted (first element or member).  0: it was empty, so a value has ended. */
static int check_open(struct check *c)
{
	bool object = here(c) == '{';

	if (c->depth == JSON_DEPTH_MAX)
		return refuse(c, "nested too deeply");
	c->at++;
	c->tokens++;
	skip_blanks(c);
	if (here(c) == (object ? '}' : ']')) {
		c->at++;
		return 0;
	}
	c->object[c->depth++] = object;
	return object && check_name(c) < 0 ? -EINVAL : 1;
}

/* As check_open(). */
static int check_value(struct check *c)
{
	skip_blanks(c);
	switch (here(c)) {
	case '{':
	case '[':
		return check_open(c);
	case '"':
		return check_string(c);
	case 't':
		return check_literal(c, "true");
	case 'f':
		return check_literal(c, "false");
	case 'n':
		return check_literal(c, "null");
	default:
		if (here(c) != '-' && (here(c) < '0' || here(c) > '9'))
			return refuse(c, "want a value");
		return check_number(c);
	}
}

/* Behind a value: closes what ends here.  1: another value follows, 0: the document is over. */
static int check_after(struct check *c)
{
	while (c->depth) {
		bool object = c->object[c->depth - 1];

		skip_blanks(c);
		if (here(c) == ',') {
			c->at++;
			return object && check_name(c) < 0 ? -EINVAL : 1;
		}
		if (here(c) != (object ? '}' : ']'))
			return refuse(c, object ? "want ',' or '}' after a member" : "want ',' or ']' after an element");
		c->at++;
		c->depth--;
	}
	skip_blanks(c);
	return c->at == c->len ? 0 : refuse(c, "more text after the value");
}

int json_check(const char *text, size_t len, int *tokens, struct err *e)
{
	struct check c = { .text = text, .len = len, .e = e };
	int rc = 1;

	while (rc == 1) {
		rc = check_value(&c);
		if (rc == 0)
			rc = check_after(&c);
	}
	*tokens = c.tokens;
	return rc;
}
