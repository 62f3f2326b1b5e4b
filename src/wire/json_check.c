/*
 * The grammar of RFC 8259, strictly, byte by byte: a text may come in pieces, and
 * where a piece ends is only a state.  On top of the RFC: no NUL byte and no \u0000
 * (names and values become C strings), surrogates only in pairs, and a bounded depth.
 *
 * Strings are most of a text: of their plain bytes a word is looked at at once.
 */
#include "wire/json_int.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/util.h"

enum { VALUE, FIRST_VALUE, NAME, FIRST_NAME, COLON, AFTER, NUMBER, WORD, STRING, ESCAPE, HEX, PAIR, PAIR_U, UTF8 };

/* What the text lacks when it ends in a state. */
static const char *const wants[] = {
	[VALUE] = "want a value", [FIRST_VALUE] = "want a value", [NAME] = "want a member's name in quotes",
	[FIRST_NAME] = "want a member's name in quotes", [COLON] = "want ':' after a member's name",
	[NUMBER] = "want a digit", [WORD] = "want a value", [STRING] = "want '\"' at the end of the string",
	[ESCAPE] = "want '\"' at the end of the string", [HEX] = "want four hex digits after \\u",
	[PAIR] = "half of a surrogate pair", [PAIR_U] = "half of a surrogate pair", [UTF8] = "not UTF-8",
};

/* Of a number: the next state by what comes: 0, 1 to 9, point, e, sign, another byte. */
enum { SIGN, ZERO, DIGITS, POINT, FRACTION, EXPONENT, EXPONENT_SIGN, POWER, OVER, NO_DIGIT, LEADING_ZERO };
static const uint8_t number_next[][6] = {
	[SIGN] = { ZERO, DIGITS, NO_DIGIT, NO_DIGIT, NO_DIGIT, NO_DIGIT },
	[ZERO] = { LEADING_ZERO, LEADING_ZERO, POINT, EXPONENT, OVER, OVER },
	[DIGITS] = { DIGITS, DIGITS, POINT, EXPONENT, OVER, OVER },
	[POINT] = { FRACTION, FRACTION, NO_DIGIT, NO_DIGIT, NO_DIGIT, NO_DIGIT },
	[FRACTION] = { FRACTION, FRACTION, OVER, EXPONENT, OVER, OVER },
	[EXPONENT] = { POWER, POWER, NO_DIGIT, NO_DIGIT, EXPONENT_SIGN, NO_DIGIT },
	[EXPONENT_SIGN] = { POWER, POWER, NO_DIGIT, NO_DIGIT, NO_DIGIT, NO_DIGIT },
	[POWER] = { POWER, POWER, OVER, OVER, OVER, OVER },
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

/* Of a lead byte: how many follow, and between what the first of them is.  0: it is none. */
static unsigned utf8_lead(unsigned char c, uint8_t *low, uint8_t *high)
{
	*low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	*high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
	return c < 0xc2 || c > 0xf4 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
}

unsigned utf8_length(const char *p, size_t left)
{
	const uint8_t *b = (const uint8_t *)p;
	uint8_t low, high;
	unsigned more;

	if (left == 0 || b[0] == 0)
		return 0;
	if (b[0] < 0x80)
		return 1;
	more = utf8_lead(b[0], &low, &high);
	if (!more || left <= more || b[1] < low || b[1] > high)
		return 0;
	for (unsigned i = 2; i <= more; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
	}
	return more + 1;
}

/* --- what is kept --- */

static int offset(const struct json_check *c, const char *p)
{
	return (int)((c->keep ? c->keep->len : 0) + (size_t)(p - c->run));
}

static void flush(struct json_check *c, const char *p)
{
	if (c->keep && !c->skip)
		str_add(c->keep, c->run, (size_t)(p - c->run));
	c->run = p;
}

static __attribute__((noinline)) void more_room(struct json_check *c)
{
	c->room = c->room ? 2 * c->room : 64;
	c->tokens = xrealloc(c->tokens, (size_t)c->room * sizeof *c->tokens);
}

static inline void token(struct json_check *c, enum json_type type, const char *p)
{
	struct json_token *t;

	if (c->skip)
		return;
	if (c->keep) {
		if (c->count == c->room)
			more_room(c);
		t = &c->tokens[c->count];
		*t = (struct json_token){ .type = type, .start = offset(c, p), .size = c->name, .next = c->count + 1 };
		if (c->depth && (c->name || !(c->objects >> c->depth & 1)))
			c->tokens[c->open[c->depth]].size++;
	}
	c->count++;
}

static void token_end(struct json_check *c, const char *p)
{
	if (c->keep && !c->skip)
		c->tokens[c->count - 1].end = offset(c, p);
}

static void value_end(struct json_check *c, const char *p)
{
	c->at = AFTER;
	if (c->skip && c->depth == c->skip - 1) {
		c->skip = 0;
		c->run = p;
	}
}

static unsigned bit_of(const char *name, size_t len)
{
	return (unsigned)(len * 7 + (unsigned char)name[0]) & 63;
}

/* Is the value of the member that has just been named left out?  Labels may be called as they like. */
static bool is_ballast(struct json_check *c, const char *name, size_t len)
{
	if (c->depth < c->metadata)
		c->metadata = 0;
	if (c->metadata)
		return c->depth == c->metadata && len == 13 && memcmp(name, "managedFields", len) == 0;
	if (len == 8 && memcmp(name, "metadata", len) == 0)
		c->metadata = c->depth + 1;
	if (!len || !(c->bits >> bit_of(name, len) & 1))
		return false;
	for (const char *const *b = c->ballast; *b; b++)
		if (**b == *name && strncmp(*b, name, len) == 0 && !(*b)[len])
			return true;
	return false;
}

/* A name ends with the quote at p. */
static void name_end(struct json_check *c, const char *p)
{
	bool first;
	int start;

	c->name = false;
	c->at = COLON;
	if (!c->ballast || c->skip)
		return;
	start = c->tokens[c->count - 1].start;
	if ((size_t)start < c->keep->len)	/* it began in an earlier piece */
		flush(c, p);
	if (!is_ballast(c, (size_t)start < c->keep->len ? c->keep->s + start : c->run + start - c->keep->len,
			(size_t)(c->tokens[c->count - 1].end - start)))
		return;
	flush(c, p);
	c->count--;
	first = --c->tokens[c->open[c->depth]].size == 0;
	c->keep->len = first ? (size_t)start - 1 : c->comma;
	c->skip = c->depth + 1;
}

void json_check_init(struct json_check *c, struct str *keep, const char *const *ballast)
{
	struct json_token *tokens = c->tokens;
	int room = c->room;

	*c = (struct json_check){ .keep = keep, .ballast = ballast, .tokens = tokens, .room = room };
	for (; ballast && *ballast; ballast++)
		c->bits |= 1ull << bit_of(*ballast, strlen(*ballast));
}

/* --- the grammar --- */

static const char *refuse(struct json_check *c, const char *p, const char *what, bool lexeme)
{
	c->wrong = what;
	c->lexeme_wrong = lexeme;
	return p;
}

/* Not what may stand here, but a blank may. */
static const char *other(struct json_check *c, const char *p, const char *what)
{
	if (*p != ' ' && *p != '\t' && *p != '\r' && *p != '\n')
		return refuse(c, p, what, false);
	c->over = c->keep && !c->depth && c->at == AFTER;
	return p + !c->over;
}

static const char *begin(struct json_check *c, const char *p, unsigned at)
{
	c->lexeme = c->seen + (size_t)(p - c->piece);
	c->at = at;
	return p + 1;
}

static const char *open_container(struct json_check *c, const char *p, bool object)
{
	if (c->depth == JSON_DEPTH_MAX)
		return refuse(c, p, "nested too deeply", false);
	token(c, object ? JSON_OBJECT : JSON_ARRAY, p);
	c->depth++;
	c->open[c->depth] = c->count - 1;
	c->objects = (c->objects & ~(1ull << c->depth)) | (uint64_t)object << c->depth;
	c->at = object ? FIRST_NAME : FIRST_VALUE;
	return p + 1;
}

static const char *close_container(struct json_check *c, const char *p)
{
	struct json_token *t;

	if (c->keep && !c->skip) {
		t = &c->tokens[c->open[c->depth]];
		t->end = offset(c, p + 1);
		t->next = c->count;
	}
	c->depth--;
	value_end(c, p + 1);
	c->over = c->keep && !c->depth;
	return p + 1;
}

static const char *value(struct json_check *c, const char *p)
{
	static const char *const words[] = { "true", "false", "null" };

	switch (*p) {
	case '{':
	case '[':
		return open_container(c, p, *p == '{');
	case '"':
		token(c, JSON_STRING, p + 1);
		c->at = STRING;
		return p + 1;
	case 't':
	case 'f':
	case 'n':
		token(c, *p == 'n' ? JSON_NULL : JSON_BOOL, p);
		c->word = words[*p == 'f' ? 1 : *p == 'n' ? 2 : 0] + 1;
		return begin(c, p, WORD);
	case ']':
		if (c->at == FIRST_VALUE)
			return close_container(c, p);
		break;
	default:
		if (*p != '-' && (*p < '0' || *p > '9'))
			break;
		token(c, JSON_NUMBER, p);
		c->number = *p == '-' ? SIGN : *p == '0' ? ZERO : DIGITS;
		return begin(c, p, NUMBER);
	}
	return other(c, p, wants[VALUE]);
}

/* What comes next may be left out, and the comma with it; or all that was before it has been. */
static void comma(struct json_check *c, const char *p, bool object)
{
	if (!c->ballast || c->skip || !object)
		return;
	c->comma = (size_t)offset(c, p);
	if (c->tokens[c->open[c->depth]].size)
		return;
	flush(c, p);
	c->run = p + 1;
}

/* Behind a value. */
static const char *after(struct json_check *c, const char *p)
{
	bool object = c->objects >> c->depth & 1;

	if (*p == ',' && c->depth) {
		c->at = object ? NAME : VALUE;
		comma(c, p, object);
		return p + 1;
	}
	if (*p == (object ? '}' : ']') && c->depth)
		return close_container(c, p);
	if (!c->depth) {
		c->over = c->keep && strchr(",]}{[\"", *p) && *p;
		return c->over ? p : other(c, p, "more text after the value");
	}
	return other(c, p, object ? "want ',' or '}' after a member" : "want ',' or ']' after an element");
}

static const char *name(struct json_check *c, const char *p)
{
	if (*p == '"') {
		c->name = true;
		token(c, JSON_STRING, p + 1);
		c->at = STRING;
		return p + 1;
	}
	return *p == '}' && c->at == FIRST_NAME ? close_container(c, p) : other(c, p, wants[NAME]);
}

/* b: the byte at p, or 0 at the text's end. */
static const char *number(struct json_check *c, const char *p, char b)
{
	unsigned what = b == '0' ? 0 : b > '0' && b <= '9' ? 1 : b == '.' ? 2 : (b | 0x20) == 'e' ? 3 : b == '+' || b == '-' ? 4 : 5;
	unsigned next = number_next[c->number][what];

	if (next == NO_DIGIT)
		return refuse(c, p, wants[NUMBER], false);
	if (next == LEADING_ZERO)
		return refuse(c, p, "a number does not begin with 0", true);
	if (next == ZERO)
		begin(c, p, NUMBER);
	if (next != OVER) {
		c->number = (uint8_t)next;
		return p + 1;
	}
	token_end(c, p);
	value_end(c, p);
	return p;
}

static const char *word(struct json_check *c, const char *p, char b)
{
	if (!*c->word) {
		token_end(c, p);
		value_end(c, p);
		return p;
	}
	return b == *c->word++ ? p + 1 : refuse(c, p, wants[WORD], true);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \uXXXX, or two of them for a character beyond the first plane. */
static const char *hex(struct json_check *c, const char *p)
{
	int digit = hex_digit(*p);
	bool second = c->high;

	if (digit < 0)
		return refuse(c, p, second ? wants[PAIR] : wants[HEX], true);
	c->unit = (uint16_t)(c->unit << 4 | digit);
	if (--c->more)
		return p + 1;
	c->high = !second && c->unit >= 0xd800 && c->unit < 0xdc00;
	if (c->unit == 0 && !second)
		return refuse(c, p, "\\u0000 is not allowed", true);
	if (second != (c->unit >= 0xdc00 && c->unit <= 0xdfff))
		return refuse(c, p, wants[PAIR], true);
	c->at = c->high ? PAIR : STRING;
	return p + 1;
}

static const char *string_odd(struct json_check *c, const char *p)
{
	unsigned char b = (unsigned char)*p;

	switch (c->at) {
	case ESCAPE:
		c->at = b == 'u' ? HEX : STRING;
		c->more = 4;
		c->high = false;
		return b && strchr("\"\\/bfnrtu", b) ? p + 1 : refuse(c, p, "unknown escape in a string", true);
	case HEX:
		return hex(c, p);
	case PAIR:
	case PAIR_U:
		if (b != (c->at == PAIR ? '\\' : 'u'))
			return refuse(c, p, wants[PAIR], true);
		c->at = c->at == PAIR ? PAIR_U : HEX;
		c->more = 4;
		return p + 1;
	case UTF8:
		if (b < c->low || b > c->top)
			return refuse(c, p, wants[UTF8], true);
		c->low = 0x80;
		c->top = 0xbf;
		c->at = --c->more ? UTF8 : STRING;
		return p + 1;
	}
	if (b == '\\') {
		if (c->keep && !c->skip)
			c->tokens[c->count - 1].escaped = true;
		return begin(c, p, ESCAPE);
	}
	if (b < 0x20)
		return refuse(c, p, "control byte in a string", false);
	begin(c, p, UTF8);
	c->more = (uint8_t)utf8_lead(b, &c->low, &c->top);
	return c->more ? p + 1 : refuse(c, p, wants[UTF8], true);
}

/* The first byte that is not plain: a quote, a backslash, a control byte, a part of a longer character. */
static inline __attribute__((always_inline)) const char *plain_end(const char *p, const char *end)
{
	const size_t ones = SIZE_MAX / 255, tops = ones << 7;

	for (; (size_t)(end - p) >= sizeof(size_t); p += sizeof(size_t)) {
		size_t w, quote, slash, odd;

		memcpy(&w, p, sizeof w);
		quote = w ^ ones * '"';
		slash = w ^ ones * '\\';
		odd = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((w - ones * 0x20) & ~w) | w) & tops;
		if (odd)
			return p + __builtin_ctzll(odd) / 8;
	}
	while (p < end && *p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\')
		p++;
	return p;
}

/* A string's end, and as long as strings follow each other, as they do mostly, theirs. */
static inline __attribute__((always_inline)) const char *string(struct json_check *c, const char *p, const char *end)
{
	for (;;) {
		p = plain_end(p, end);
		if (p == end || *p != '"')
			return p == end ? p : *p == 0x7f ? p + 1 : string_odd(c, p);
		token_end(c, p);
		p++;
		if (c->name) {
			name_end(c, p - 1);
			if (end - p < 2 || p[0] != ':' || p[1] != '"')
				return p;
			p++;
		} else {
			value_end(c, p);
			c->over = c->keep && !c->depth;
			if (c->over || end - p < 2 || p[0] != ',' || p[1] != '"' || !c->depth)
				return p;
			p = after(c, p);
			c->name = c->at == NAME;
		}
		token(c, JSON_STRING, ++p);
		c->at = STRING;
	}
}

const char *json_check_piece(struct json_check *c, const char *p, const char *end)
{
	c->piece = c->run = p;
	while (p < end && !c->wrong && !c->over) {
		switch (c->at) {
		case VALUE:
		case FIRST_VALUE:
			p = value(c, p);
			break;
		case NAME:
		case FIRST_NAME:
			p = name(c, p);
			break;
		case COLON:
			if (*p != ':') {
				p = other(c, p, wants[COLON]);
				break;
			}
			c->at = VALUE;
			p++;
			break;
		case AFTER:
			p = after(c, p);
			break;
		case NUMBER:
			p = number(c, p, *p);
			break;
		case WORD:
			p = word(c, p, *p);
			break;
		case STRING:
			p = string(c, p, end);
			break;
		default:
			p = string_odd(c, p);
		}
	}
	flush(c, p);
	c->seen += (size_t)(p - c->piece);
	return p;
}

void json_check_end(struct json_check *c)
{
	if (c->at == NUMBER)
		number(c, c->run, '\0');
	else if (c->at == WORD)
		word(c, c->run, '\0');
	c->ends = c->wrong && c->at == NUMBER;
	if (c->wrong || (c->at == AFTER && !c->depth))
		return;
	c->wrong = c->at != AFTER ? wants[c->at] : c->objects >> c->depth & 1 ? "want ',' or '}' after a member" :
		"want ',' or ']' after an element";
	c->ends = c->at < WORD || c->at == STRING || c->at == ESCAPE;
	c->lexeme_wrong = !c->ends;
}

bool json_check_in_string(const struct json_check *c, bool *escape)
{
	*escape = c->at == ESCAPE || c->at == PAIR_U;
	return c->at >= STRING;
}

int json_check(const char *text, size_t len, int *tokens, struct err *e)
{
	struct json_check c = { 0 };
	struct json_mark m;

	json_check_piece(&c, text, text + len);
	if (!c.wrong)
		json_check_end(&c);
	*tokens = c.count;
	if (!c.wrong)
		return 0;
	m = json_mark(text, c.lexeme_wrong ? c.lexeme : c.seen);
	return err_set(e, EINVAL, "%u:%u: %s%s", m.line, m.column, c.ends ? "the text ends: " : "", c.wrong);
}
