#include "wire/json_split.h"

#include <string.h>

#include "wire/json.h"

enum { HEAD = 4096, KEEP = 65536 };	/* of what is too long; of a buffer between objects */

void json_split_init(struct json_split *s, bool list, void (*each)(void *ctx, const char *text, size_t len, bool whole),
		     void *ctx)
{
	*s = (struct json_split){ .each = each, .ctx = ctx, .list = list };
}

void json_split_free(struct json_split *s)
{
	str_free(&s->text);
	str_free(&s->frame);
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

static void hold(struct json_split *s, const char *from, const char *to)
{
	size_t len = (size_t)(to - from);

	if (s->cut || !len)
		return;
	if (s->text.len + len > JSON_SIZE_MAX) {
		s->cut = true;
		len = s->text.len < HEAD ? HEAD - s->text.len : 0;
	}
	str_add(&s->text, from, len);
}

/* The object at hand ends: its last bytes are from ... to. */
static void hand_over(struct json_split *s, const char *from, const char *to)
{
	bool alone = !s->text.len && !s->cut && to - from <= JSON_SIZE_MAX;

	if (!alone)
		hold(s, from, to);
	if (alone)
		s->each(s->ctx, from, (size_t)(to - from), true);
	else
		s->each(s->ctx, s->text.s, s->cut && s->text.len > HEAD ? HEAD : s->text.len, !s->cut);
	s->begun = s->cut = false;
	if (s->text.cap > KEEP)
		str_free(&s->text);
	else
		str_clear(&s->text);
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

/* Inside of an object.  Behind its last byte, or as far as the bytes go. */
static const char *object_rest(struct json_split *s, const char *from, const char *end)
{
	const unsigned at = level(s);
	const char *p = from;

	while (p < end) {
		if (s->string) {
			p = string_rest(s, p, end);
			if (s->string || s->depth != at)
				continue;
			hand_over(s, from, p);
			return p;
		}
		char c = *p;

		if (s->depth == at && (p > from || s->text.len) && is_one_of(c, ",]}{[\" \t\r\n")) {	/* behind a bare word */
			hand_over(s, from, p);
			return p;
		}
		if (c == '"') {
			s->string = true;
		} else if (c == '{' || c == '[') {
			s->depth++;
		} else if ((c == '}' || c == ']') && s->depth > at && --s->depth == at) {
			hand_over(s, from, p + 1);
			return p + 1;
		}
		p++;
	}
	hold(s, from, p);
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
		s->begun = true;
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
		p = s->begun ? object_rest(s, p, end) : between(s, p);
}

bool json_split_end(struct json_split *s)
{
	if (s->begun && !s->depth && !s->string && !s->list)
		hand_over(s, "", "");
	return !s->begun && !s->depth && !s->string;
}
