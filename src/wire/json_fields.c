#include "wire/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wire/json_int.h"

enum { PATH_SIZE = 160, NAME_SHOWN = 80 };

/* --- errors --- */

/* The child of container that v is or lies in; at: its value.  -1: none. */
static json_value child_around(const struct json *j, json_value container, json_value v, json_value *at, unsigned *index)
{
	bool object = json_type(j, container) == JSON_OBJECT;

	*index = 0;
	json_each(j, container, child) {
		*at = object ? json_member(j, child) : child;
		if (v >= child && v < j->tokens[*at].next)
			return child;
		(*index)++;
	}
	return -1;
}

/* The way from the value at to v, which lies in it. */
static void path_text(const struct json *j, json_value at, json_value v, char path[PATH_SIZE])
{
	size_t len = 0;
	unsigned index;

	path[0] = '\0';
	while (at != v && len < PATH_SIZE) {
		json_value inside = at, child = child_around(j, at, v, &inside, &index);
		const struct json_token *t = &j->tokens[child < 0 ? 0 : child];

		if (child < 0)
			return;
		if (child == inside)
			len += (size_t)snprintf(path + len, PATH_SIZE - len, "[%u]", index);
		else
			len += (size_t)snprintf(path + len, PATH_SIZE - len, "%s%.*s", len ? "." : "",
						t->end - t->start < NAME_SHOWN ? t->end - t->start : NAME_SHOWN,
						j->text + t->start);
		at = v == child ? v : inside;
	}
}

/* more: what follows the path of v, or "". */
static int refuse(struct json_ctx *c, json_value v, const char *more, const char *fmt, va_list ap)
{
	char text[sizeof c->e->text], path[PATH_SIZE];
	unsigned line, column;

	if (c->e->code)
		return -EINVAL;
	err_text(text, sizeof text, fmt, ap);
	path_text(c->j, c->root, v, path);
	json_place(c->j, v, &line, &column);
	return err_set(c->e, EINVAL, "%u:%u: %s%s%s%s%s", line, column, path, *path && *more ? "." : "", more,
		       *path || *more ? ": " : "", text);
}

int json_refuse(struct json_ctx *c, json_value v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	refuse(c, v, "", fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int json_refuse_member(struct json_ctx *c, json_value object, const char *name, const char *fmt, ...)
{
	va_list ap;

	while (*name) {
		size_t len = strcspn(name, ".");
		json_value v = json_get_bytes(c->j, object, name, len);

		if (v < 0)
			break;
		object = v;
		name += len + (name[len] == '.');
	}
	va_start(ap, fmt);
	refuse(c, object, name, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* --- tables --- */

/* Behind the first part of path, if that is the name v; else NULL. */
static const char *path_step(const struct json *j, json_value v, const char *path)
{
	const struct json_token *t = &j->tokens[v];
	size_t len = t->escaped ? strcspn(path, ".") : (size_t)(t->end - t->start);

	if (t->escaped ? !json_is_bytes(j, v, path, len) : *path != j->text[t->start] || strncmp(path, j->text + t->start, len) != 0)
		return NULL;
	return path[len] == '.' || !path[len] ? path + len : NULL;
}

/* In one walk, the values of those fields whose bits are set; the first at bytes of their names have led here. */
static int fields_find(struct json_ctx *c, json_value object, const struct json_field *fields, uint32_t wanted, size_t at,
		       json_value *found)
{
	uint32_t seen = 0;

	if (json_type(c->j, object) == JSON_NULL)
		return 0;
	if (json_type(c->j, object) != JSON_OBJECT)
		return json_refuse(c, object, "want an object");
	json_each(c->j, object, v) {
		uint32_t inside = 0;
		size_t next = 0;

		for (uint32_t left = wanted; left; left &= left - 1) {
			const unsigned i = (unsigned)__builtin_ctz(left);
			const char *rest = path_step(c->j, v, fields[i].name + at);

			if (!rest)
				continue;
			if (seen >> i & 1)
				return json_refuse(c, v, "given twice");
			seen |= 1u << i;
			if (*rest) {
				inside |= 1u << i;
				next = (size_t)(rest + 1 - fields[i].name);
			} else if (json_type(c->j, json_member(c->j, v)) != JSON_NULL) {
				found[i] = json_member(c->j, v);
			}
		}
		if (inside && fields_find(c, json_member(c->j, v), fields, inside, next, found) < 0)
			return -EINVAL;
	}
	return 0;
}

int json_fields(struct json_ctx *c, json_value object, const struct json_field *fields, unsigned count, void *out)
{
	json_value found[32];

	memset(found, -1, sizeof found);
	if (fields_find(c, object, fields, UINT32_MAX >> (32 - count), 0, found) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < count; i++) {
		const struct json_field *f = &fields[i];

		if (found[i] < 0 && f->required)
			return json_refuse_member(c, object, f->name, "missing");
		if (found[i] >= 0 && f->read(c, found[i], (char *)out + f->offset) < 0)
			return -EINVAL;
	}
	return 0;
}

int json_elements(struct json_ctx *c, json_value v, int (*read)(struct json_ctx *c, json_value v, void *field), void *field)
{
	if (json_type(c->j, v) != JSON_ARRAY)
		return json_refuse(c, v, "want an array");
	json_each(c->j, v, el) {
		if (read(c, el, field) < 0)
			return -EINVAL;
	}
	return 0;
}

struct array {
	int (*read)(struct json_ctx *c, json_value v, void *item);
	char *next;
	size_t size;
};

static int read_item(struct json_ctx *c, json_value v, void *field)
{
	struct array *a = field;
	void *item = a->next;

	a->next += a->size;
	return a->read(c, v, item);
}

int json_array(struct json_ctx *c, json_value v, size_t size,
	       int (*read)(struct json_ctx *c, json_value v, void *item), void **items, unsigned *count)
{
	struct array a = { .read = read, .size = size };

	*count = json_type(c->j, v) == JSON_ARRAY ? json_length(c->j, v) : 0;
	if (*count > JSON_ELEMENTS_MAX)
		return json_refuse(c, v, "%u elements, more than %d", *count, JSON_ELEMENTS_MAX);
	*items = a.next = arena_alloc(c->mem, *count * size);
	return json_elements(c, v, read_item, &a);
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

/* The string v for a parser of text: what is cut is no address. */
static int short_text(struct json_ctx *c, json_value v, char *buf, size_t size)
{
	json_copy(c->j, v, buf, size);
	return json_type(c->j, v) == JSON_STRING ? 0 : json_refuse(c, v, "want a string");
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
