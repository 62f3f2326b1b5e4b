#include "wire/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wire/json_int.h"

enum { FIELDS_MAX = 64, NAME_MAX_BYTES = 64 };

int json_refuse(struct json_ctx *c, json_value v, const char *fmt, ...)
{
	char text[sizeof c->e->text];
	unsigned line, column;
	va_list ap;

	if (c->e->code)
		return -EINVAL;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	json_place(c->j, v, &line, &column);
	return err_set(c->e, EINVAL, "%u:%u: %s%s%s", line, column, c->path, *c->path ? ": " : "", text);
}

/* Extends the path by fmt; returns what path_pop() wants.  A path that is too long is cut. */
static size_t __attribute__((format(printf, 2, 3))) path_push(struct json_ctx *c, const char *fmt, ...)
{
	size_t len = strlen(c->path);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->path + len, sizeof c->path - len, fmt, ap);
	va_end(ap);
	return len;
}

static void path_pop(struct json_ctx *c, size_t len)
{
	c->path[len] = '\0';
}

static size_t path_push_name(struct json_ctx *c, const char *name)
{
	return path_push(c, "%s%s", *c->path ? "." : "", name);
}

/*
 * Members may be many and hostile, so a name is first looked up by length:
 * bit i of lengths[n] is set when fields[i].name has n bytes.
 */
struct lookup {
	const struct json_field *fields;
	uint64_t lengths[NAME_MAX_BYTES];
};

static void lookup_init(struct lookup *l, const struct json_field *fields, unsigned count)
{
	*l = (struct lookup){ .fields = fields };
	for (unsigned i = 0; i < count && i < FIELDS_MAX; i++)
		l->lengths[strlen(fields[i].name) % NAME_MAX_BYTES] |= 1ull << i;
}

/* The decoded text of a name into buf; -1 when it is longer than any field's. */
static int name_text(const struct json *j, json_value name, char buf[NAME_MAX_BYTES])
{
	const char *at = j->text + j->tokens[name].start, *end = j->text + j->tokens[name].end;
	unsigned len = 0;

	while (at < end) {
		char c[4];
		unsigned n = json_char(&at, c);

		if (len + n >= NAME_MAX_BYTES)
			return -1;
		memcpy(buf + len, c, n);
		len += n;
	}
	return (int)len;
}

/* Index of the field that the name token names, or -1. */
static int lookup_find(const struct lookup *l, const struct json *j, json_value name)
{
	char buf[NAME_MAX_BYTES];
	int len = name_text(j, name, buf);
	uint64_t maybe = len < 0 ? 0 : l->lengths[len];

	for (int i = 0; maybe; i++, maybe >>= 1) {
		if ((maybe & 1) && memcmp(buf, l->fields[i].name, (size_t)len) == 0)
			return i;
	}
	return -1;
}

static int read_member(struct json_ctx *c, const struct json_field *f, json_value name, bool again, void *out)
{
	json_value v = json_member(c->j, name);
	size_t path = path_push_name(c, f->name);
	int rc = 0;

	if (again)
		rc = json_refuse(c, name, "given twice");
	else if (json_type(c->j, v) != JSON_NULL)
		rc = f->read(c, v, (char *)out + f->offset);
	path_pop(c, path);
	return rc;
}

static int find_missing(struct json_ctx *c, json_value object, const struct json_field *fields, unsigned count,
			uint64_t have)
{
	for (unsigned i = 0; i < count; i++) {
		size_t path;
		int rc;

		if (!fields[i].required || have >> i & 1)
			continue;
		path = path_push_name(c, fields[i].name);
		rc = json_refuse(c, object, "missing");
		path_pop(c, path);
		return rc;
	}
	return 0;
}

int json_fields(struct json_ctx *c, json_value object, const struct json_field *fields, unsigned count, void *out)
{
	uint64_t seen = 0, have = 0;
	struct lookup l;

	if (count > FIELDS_MAX)
		return json_refuse(c, object, "more than %d fields in a table", FIELDS_MAX);
	if (json_type(c->j, object) == JSON_NULL)
		return find_missing(c, object, fields, count, 0);
	if (json_type(c->j, object) != JSON_OBJECT)
		return json_refuse(c, object, "want an object");
	lookup_init(&l, fields, count);
	for (json_value name = json_first(c->j, object); name >= 0; name = json_next(c->j, object, name)) {
		int i = lookup_find(&l, c->j, name), rc;

		if (i < 0)
			continue;
		rc = read_member(c, &fields[i], name, seen >> i & 1, out);
		if (rc < 0)
			return rc;
		seen |= 1ull << i;
		if (json_type(c->j, json_member(c->j, name)) != JSON_NULL)
			have |= 1ull << i;
	}
	return find_missing(c, object, fields, count, have);
}

int json_array(struct json_ctx *c, json_value v, size_t size,
	       int (*read)(struct json_ctx *c, json_value v, void *item), void **items, unsigned *count)
{
	unsigned n = json_length(c->j, v), i = 0;
	int rc = 0;

	if (json_type(c->j, v) != JSON_ARRAY)
		return json_refuse(c, v, "want an array");
	if (n > JSON_ELEMENTS_MAX)
		return json_refuse(c, v, "%u elements, more than %d", n, JSON_ELEMENTS_MAX);
	*items = arena_alloc(c->mem, n * size);
	*count = n;
	for (json_value el = json_first(c->j, v); el >= 0 && rc == 0; el = json_next(c->j, v, el), i++) {
		size_t path = path_push(c, "[%u]", i);

		rc = read(c, el, (char *)*items + i * size);
		path_pop(c, path);
	}
	return rc;
}

int json_read_string(struct json_ctx *c, json_value v, void *field)
{
	const char *text = json_string(c->j, v, c->mem);

	if (!text)
		return json_refuse(c, v, "want a string");
	*(const char **)field = text;
	return 0;
}

int json_read_bool(struct json_ctx *c, json_value v, void *field)
{
	return json_bool(c->j, v, field) < 0 ? json_refuse(c, v, "want true or false") : 0;
}

int json_read_int64(struct json_ctx *c, json_value v, void *field)
{
	int rc = json_int(c->j, v, field);

	if (rc == -ERANGE)
		return json_refuse(c, v, "number out of range");
	if (rc < 0)
		return json_refuse(c, v, "want a%s number", json_type(c->j, v) == JSON_NUMBER ? " whole" : "");
	return 0;
}

int json_read_u32(struct json_ctx *c, json_value v, void *field)
{
	int64_t n;
	int rc = json_read_int64(c, v, &n);

	if (rc < 0)
		return rc;
	if (n < 0 || n > UINT32_MAX)
		return json_refuse(c, v, "number out of range");
	*(uint32_t *)field = (uint32_t)n;
	return 0;
}

/* The string v for a parser of text, cut in buf: what is longer is no address. */
static int short_text(struct json_ctx *c, json_value v, char *buf, size_t size)
{
	const char *at, *end;
	size_t len = 0;

	if (json_type(c->j, v) != JSON_STRING)
		return json_refuse(c, v, "want a string");
	at = c->j->text + c->j->tokens[v].start;
	end = c->j->text + c->j->tokens[v].end;
	while (at < end && len + 4 < size)
		len += json_char(&at, buf + len);
	buf[len] = '\0';
	return 0;
}

int json_read_prefix(struct json_ctx *c, json_value v, void *field)
{
	struct prefix p, masked;
	struct err e = { 0 };
	char text[80];
	int rc = short_text(c, v, text, sizeof text);

	if (rc < 0)
		return rc;
	if (prefix_parse(&p, text, &e) < 0)
		return json_refuse(c, v, "%s", e.text);
	masked = prefix_mask(p);
	if (!prefix_equal(&p, &masked))
		return json_refuse(c, v, "%s: bits behind the prefix length are set, want %s", text,
				   prefix_text(&masked).s);
	*(struct prefix *)field = p;
	return 0;
}

int json_read_addr(struct json_ctx *c, json_value v, void *field)
{
	struct err e = { 0 };
	struct addr a;
	char text[80];
	int rc = short_text(c, v, text, sizeof text);

	if (rc < 0)
		return rc;
	if (addr_parse(&a, text, &e) < 0)
		return json_refuse(c, v, "%s", e.text);
	*(struct addr *)field = a;
	return 0;
}
