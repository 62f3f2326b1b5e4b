/*
 * From text to tokens, and what can be asked of them.  jsmn sees a text only
 * after the grammar check; what it makes is turned in place into tokens that
 * know where their subtree ends, so that stepping over a value costs nothing.
 */
#include "wire/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define JSMN_STATIC
#define JSMN_STRICT
#define JSMN_PARENT_LINKS
#include <jsmn.h>

#include "base/util.h"
#include "wire/json_int.h"

_Static_assert(sizeof(jsmntok_t) == sizeof(struct json_token), "tokens are converted in place");

static enum json_type type_of(const jsmntok_t *t, const char *text)
{
	if (t->type == JSMN_OBJECT)
		return JSON_OBJECT;
	if (t->type == JSMN_ARRAY)
		return JSON_ARRAY;
	if (t->type == JSMN_STRING)
		return JSON_STRING;
	switch (text[t->start]) {
	case 'n':
		return JSON_NULL;
	case 't':
	case 'f':
		return JSON_BOOL;
	default:
		return JSON_NUMBER;
	}
}

/* A token of that type and place. */
static struct json_token token_of(const struct json *j, unsigned type, int start, int end, int size)
{
	bool escaped = type == JSON_STRING && memchr(j->text + start, '\\', (size_t)(end - start));

	return (struct json_token){ .type = (uint16_t)type, .escaped = escaped, .start = start, .end = end, .size = size };
}

/* Each token's "next": the first that begins where it has ended.  Open ones are on a stack. */
static void link_tokens(struct json *j)
{
	int open[JSON_DEPTH_MAX + 2], depth = 0;
	struct json_token *t = j->tokens;

	for (int i = 0; i < j->count; i++) {
		while (depth && t[open[depth - 1]].end <= t[i].start)
			t[open[--depth]].next = i;
		open[depth++] = i;
	}
	while (depth)
		t[open[--depth]].next = j->count;
}

/* jsmn wants something behind a number, so a bare value gets its token from us. */
static void bare_value(struct json *j)
{
	size_t start = strspn(j->text, " \t\r\n"), end = j->len;
	jsmntok_t t = { .type = j->text[start] == '"' ? JSMN_STRING : JSMN_PRIMITIVE };

	while (strchr(" \t\r\n", j->text[end - 1]))
		end--;
	if (t.type == JSMN_STRING) {
		start++;
		end--;
	}
	t.start = (int)start;
	j->tokens[0] = token_of(j, type_of(&t, j->text), t.start, (int)end, 0);
	j->tokens[0].next = 1;
}

static int tokenise(struct json *j)
{
	jsmntok_t *raw = (void *)j->tokens;
	jsmn_parser parser;

	jsmn_init(&parser);
	if (jsmn_parse(&parser, j->text, j->len, raw, (unsigned)j->count) != j->count)
		return -EINVAL;
	for (int i = 0; i < j->count; i++) {
		jsmntok_t t = raw[i];

		j->tokens[i] = token_of(j, type_of(&t, j->text), t.start, t.end, t.size);
	}
	link_tokens(j);
	return 0;
}

int json_parse(struct json *j, const char *text, size_t len, struct err *e)
{
	int rc, count;

	*j = (struct json){ .text = text, .len = len };
	if (len > JSON_SIZE_MAX)
		return err_set(e, EFBIG, "1:1: %zu bytes, more than %d", len, JSON_SIZE_MAX);
	rc = json_check(text, len, &count, e);
	if (rc < 0)
		return rc;
	j->count = count;
	j->tokens = xcalloc((size_t)count, sizeof *j->tokens);
	if (count == 1 && !memchr("{[", text[strspn(text, " \t\r\n")], 2))
		bare_value(j);
	else
		rc = tokenise(j);
	if (rc < 0) {
		json_free(j);
		return err_set(e, EINVAL, "1:1: the two parsers disagree about this text");
	}
	return 0;
}

void json_free(struct json *j)
{
	free(j->tokens);
	free(j->marks);
	free(j->own);
	*j = (struct json){ 0 };
}

enum json_type json_type(const struct json *j, json_value v)
{
	return v < 0 || v >= j->count ? JSON_NULL : j->tokens[v].type;
}

/* Where v begins, a string's quote included. */
static int begin_of(const struct json *j, json_value v)
{
	return j->tokens[v].start - (j->tokens[v].type == JSON_STRING);
}

void json_place(const struct json *j, json_value v, unsigned *line, unsigned *column)
{
	struct json_mark m = { 1, 1 };

	if (v >= 0 && v < j->count)
		m = j->marks ? j->marks[v] : json_mark(j->text, (size_t)begin_of(j, v));
	*line = m.line;
	*column = m.column;
}

const char *json_raw(const struct json *j, json_value v, size_t *len)
{
	int begin = begin_of(j, v);

	*len = (size_t)(j->tokens[v].end + (j->tokens[v].type == JSON_STRING) - begin);
	return j->text + begin;
}

unsigned json_length(const struct json *j, json_value v)
{
	enum json_type t = json_type(j, v);

	return t == JSON_ARRAY || t == JSON_OBJECT ? (unsigned)j->tokens[v].size : 0;
}

json_value json_first(const struct json *j, json_value container)
{
	return json_length(j, container) ? container + 1 : -1;
}

json_value json_next(const struct json *j, json_value container, json_value v)
{
	int next = j->tokens[v].next;

	if (j->tokens[container].type == JSON_OBJECT)
		next = j->tokens[v + 1].next;
	return next < j->tokens[container].next ? next : -1;
}

json_value json_member(const struct json *j, json_value name)
{
	(void)j;
	return name + 1;
}

json_value json_get_bytes(const struct json *j, json_value object, const char *name, size_t len)
{
	if (json_type(j, object) != JSON_OBJECT)
		return -1;
	json_each(j, object, v) {
		if (json_is_bytes(j, v, name, len))
			return json_member(j, v);
	}
	return -1;
}

json_value json_get(const struct json *j, json_value object, const char *name)
{
	return json_get_bytes(j, object, name, strlen(name));
}

json_value json_path(const struct json *j, json_value object, const char *path)
{
	for (;;) {
		size_t len = strcspn(path, ".");

		object = json_get_bytes(j, object, path, len);
		if (object < 0 || !path[len])
			return object;
		path += len + 1;
	}
}

static unsigned hex4(const char *p)
{
	unsigned v = 0;

	for (unsigned i = 0; i < 4; i++)
		v = v << 4 | ((unsigned)(p[i] & 15) + (p[i] > '9' ? 9 : 0));
	return v;
}

static unsigned put_utf8(uint32_t code, char out[4])
{
	unsigned len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	static const uint8_t lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (unsigned i = len - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (code & 0x3f));
		code >>= 6;
	}
	out[0] = (char)(lead[len] | code);
	return len;
}

unsigned json_char(const char **at, char out[4])
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *p = *at, *found;
	uint32_t code;

	if (*p != '\\') {
		*at = p + 1;
		out[0] = *p;
		return 1;
	}
	if (p[1] != 'u') {
		found = strchr(from, p[1]);
		*at = p + 2;
		out[0] = found ? to[found - from] : p[1];
		return 1;
	}
	code = hex4(p + 2);
	*at = p + 6;
	if (code >= 0xd800 && code < 0xdc00) {
		code = 0x10000 + ((code - 0xd800) << 10) + (hex4(p + 8) - 0xdc00);
		*at = p + 12;
	}
	return put_utf8(code, out);
}

const char *json_string(const struct json *j, json_value v, struct arena *mem)
{
	const struct json_token *t = &j->tokens[v < 0 ? 0 : v];
	size_t len = (size_t)(t->end - t->start);
	char *text;

	if (json_type(j, v) != JSON_STRING)
		return NULL;
	if (!t->escaped)
		return arena_strn(mem, j->text + t->start, len);
	text = arena_alloc(mem, len + 1);
	json_copy(j, v, text, len + 1);
	return text;
}

bool json_copy(const struct json *j, json_value v, char *buf, size_t size)
{
	const char *at, *end;
	size_t len = 0;

	buf[0] = '\0';
	if (json_type(j, v) != JSON_STRING)
		return false;
	at = j->text + j->tokens[v].start;
	end = j->text + j->tokens[v].end;
	if (!j->tokens[v].escaped) {
		len = (size_t)(end - at) < size ? (size_t)(end - at) : size - 1;
		memcpy(buf, at, len);
		buf[len] = '\0';
		return len == (size_t)(end - at);
	}
	while (at < end) {
		char c[4];
		unsigned n = json_char(&at, c);

		if (len + n >= size)
			return false;
		memcpy(buf + len, c, n);
		buf[len += n] = '\0';
	}
	return true;
}

bool json_is(const struct json *j, json_value v, const char *text)
{
	return json_is_bytes(j, v, text, strlen(text));
}

bool json_is_bytes(const struct json *j, json_value v, const char *text, size_t left)
{
	const char *at, *end;
	size_t len;

	if (json_type(j, v) != JSON_STRING)
		return false;
	at = j->text + j->tokens[v].start;
	end = j->text + j->tokens[v].end;
	len = (size_t)(end - at);
	if (!j->tokens[v].escaped)
		return len == left && memcmp(at, text, len) == 0;
	while (at < end && left) {
		char c[4];
		unsigned n = json_char(&at, c);

		if (n > left || memcmp(c, text, n) != 0)
			return false;
		text += n;
		left -= n;
	}
	return at == end && left == 0;
}

int json_int(const struct json *j, json_value v, int64_t *out)
{
	const struct json_token *t = &j->tokens[v < 0 ? 0 : v];
	bool negative;
	uint64_t n = 0;

	if (json_type(j, v) != JSON_NUMBER)
		return -EINVAL;
	negative = j->text[t->start] == '-';
	for (int i = t->start + negative; i < t->end; i++) {
		unsigned digit = (unsigned)(j->text[i] - '0');

		if (digit > 9)
			return -EINVAL;		/* a fraction or an exponent */
		if (n > ((uint64_t)INT64_MAX + negative - digit) / 10) {
			n = UINT64_MAX;
			break;
		}
		n = n * 10 + digit;
	}
	if (n == UINT64_MAX)
		return -ERANGE;
	*out = negative ? (int64_t)(0 - n) : (int64_t)n;
	return 0;
}

int json_bool(const struct json *j, json_value v, bool *out)
{
	if (json_type(j, v) != JSON_BOOL)
		return -EINVAL;
	*out = j->text[j->tokens[v].start] == 't';
	return 0;
}
