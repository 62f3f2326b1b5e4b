#include "wire/json_split.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "wire/json_int.h"

enum { HEAD = 4096, KEEP = 65536 };	/* of what is bad; of a buffer between objects */

void json_split_init(struct json_split *s, bool list, void (*each)(void *ctx, const struct json *j, const char *wrong),
		     void *ctx)
{
	*s = (struct json_split){ .each = each, .ctx = ctx, .list = list };
}

static bool is_one_of(char c, const char *set)
{
	return c && strchr(set, c);
}

/* The depth at which objects stand, or one that is never reached. */
static unsigned level(const struct json_split *s)
{
	return !s->list ? 0 : s->items ? 2 : ~0u;
}

static void begin(struct json_split *s)
{
	if (!s->check)
		s->check = xcalloc(1, sizeof *s->check);
	json_check_init(s->check, &s->text, s->ballast);
	s->begun = true;
}

/* The object at hand has come to its end. */
static void hand_over(struct json_split *s)
{
	struct json_check *c = s->check;
	struct json j = { .text = s->text.s, .len = s->text.len, .tokens = c->tokens, .count = c->count };

	if (c->wrong)
		j.tokens = NULL, j.count = 0;
	s->begun = false;
	s->each(s->ctx, &j, c->wrong);
	if (s->text.cap > KEEP)
		str_free(&s->text);
	else
		str_clear(&s->text);
}

static void release(struct json_split *s)
{
	str_free(&s->text);
	if (s->check)
		free(s->check->tokens);
	free(s->check);
	s->check = NULL;
}

/* Bytes of the frame; it ends in `"items":`, when a bracket at depth 1 opens the elements. */
static void frame_add(struct json_split *s, char c)
{
	if (s->frame.len < JSON_FRAME_MAX)
		str_add(&s->frame, &c, 1);
}

static bool frame_ends_in_items(const struct json_split *s)
{
	static const char name[] = { ':', '"', 's', 'm', 'e', 't', 'i', '"' };
	size_t at = s->frame.len;

	for (unsigned i = 0; i < sizeof name; i++) {
		while (i <= 1 && at && is_one_of(s->frame.s[at - 1], " \t\r\n"))
			at--;
		if (!at || s->frame.s[--at] != name[i])
			return false;
	}
	return at && s->frame.s[at - 1] != '\\';
}

/* Inside of a string, to its end or as far as the bytes go. */
static const char *string_rest(struct json_split *s, const char *p, const char *end)
{
	while (p < end) {
		if (s->escape) {
			s->escape = false;
			p++;
			continue;
		}
		while (p < end && *p != '"' && *p != '\\')
			p++;
		if (p == end)
			break;
		if (*p++ == '\\') {
			s->escape = true;
		} else {
			s->string = false;
			break;
		}
	}
	return p;
}

/* A bad object goes on: its brackets count from here. */
static void go_wrong(struct json_split *s)
{
	s->string = json_check_in_string(s->check, &s->escape);
	s->depth += s->check->depth;
	if (s->text.len <= HEAD)
		return;
	s->text = (struct str){ .s = xrealloc(s->text.s, HEAD + 1), .len = HEAD, .cap = HEAD + 1 };
	s->text.s[HEAD] = '\0';
}

static const char *object_part(struct json_split *s, const char *p, const char *end)
{
	struct json_check *c = s->check;

	p = json_check_piece(c, p, end);
	if (!c->wrong && s->text.len > JSON_SIZE_MAX)
		c->wrong = "longer than 4 MiB";
	if (c->wrong)
		go_wrong(s);
	if (c->over)
		hand_over(s);
	return p;
}

/* Of a bad object.  Behind its last byte, or as far as the bytes go. */
static const char *bad_part(struct json_split *s, const char *from, const char *end)
{
	const unsigned at = level(s);
	const char *p = from;
	bool over = false;
	size_t len;

	while (p < end && !over) {
		char c = *p;

		if (s->string) {
			p = string_rest(s, p, end);
			over = !s->string && s->depth == at;
			continue;
		}
		over = s->depth == at && (p > from || s->text.len) && is_one_of(c, ",]}{[\" \t\r\n");	/* behind a bare word */
		if (over)
			break;
		p++;
		if (c == '"')
			s->string = true;
		else if (c == '{' || c == '[')
			s->depth++;
		else if (c == '}' || c == ']')
			over = s->depth > at && --s->depth == at;
	}
	len = (size_t)(p - from) < HEAD - s->text.len ? (size_t)(p - from) : HEAD - s->text.len;
	str_add(&s->text, from, len);
	if (over)
		hand_over(s);
	return p;
}

/* Between objects, and all of a list that is not in them. */
static const char *between(struct json_split *s, const char *p)
{
	char c = *p;

	if (s->string) {
		const char *next = string_rest(s, p, p + 1);

		frame_add(s, c);
		return next;
	}
	if (s->depth == level(s) && !is_one_of(c, s->items ? ",]} \t\r\n" : " \t\r\n")) {
		begin(s);
		return p;
	}
	if (s->depth == level(s) && is_one_of(c, ", \t\r\n"))
		return p + 1;
	if (c == '"') {
		s->string = true;
	} else if (c == '{' || c == '[') {
		s->items = ++s->depth == 2 && c == '[' && frame_ends_in_items(s);
	} else if ((c == '}' || c == ']') && s->depth) {
		s->depth--;
		s->items = false;
	}
	frame_add(s, c);
	return p + 1;
}

void json_split_feed(struct json_split *s, const char *bytes, size_t len)
{
	const char *p = bytes, *end = bytes + len;

	while (p < end)
		p = !s->begun ? between(s, p) : s->check->wrong ? bad_part(s, p, end) : object_part(s, p, end);
	if (!s->begun)			/* a watch waits, for hours perhaps */
		release(s);
}

bool json_split_end(struct json_split *s)
{
	struct json_check *c = s->check;

	if (s->begun && !c->wrong) {
		s->string = json_check_in_string(c, &s->escape);
		s->depth += c->depth;
		json_check_end(c);
	}
	if (s->begun && !s->list && !s->depth && !s->string)
		hand_over(s);
	return !s->begun && !s->depth && !s->string;
}

void json_split_free(struct json_split *s)
{
	release(s);
	str_free(&s->frame);
}
