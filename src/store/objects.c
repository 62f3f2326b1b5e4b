/* The objects of one text, whoever it is for: the file driver, `manx check`. */
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "wire/yaml.h"

enum { REFUSED_MAX = 1000 };	/* finding each one's line costs a walk through the text */

struct walk {
	const struct json *j;
	void (*each)(void *ctx, struct store_object *o);
	void *ctx;
	unsigned refused;
	const char *counted;		/* JSON: lines are counted as far as here */
	unsigned line;
};

/* Objects come in the order of the text. */
static unsigned line_of(struct walk *w, json_value v)
{
	const char *begin;
	unsigned column;
	size_t len;

	if (w->j->marks) {
		json_place(w->j, v, &w->line, &column);
		return w->line;
	}
	for (begin = json_raw(w->j, v, &len); w->counted < begin; w->counted++)
		w->line += *w->counted == '\n';
	return w->line;
}

/* False when this is the one bad object that is too many. */
static bool object_give(struct walk *w, struct store_object *o)
{
	if (o->err.code && ++w->refused > REFUSED_MAX)
		return false;
	w->each(w->ctx, o);
	row_free(o->row);
	return true;
}

static bool object_read(struct walk *w, json_value v)
{
	struct store_object o = { .doc = w->j, .value = v };

	o.row = kind_decode(w->j, v, &o.ref, &o.err);
	o.json = json_raw(w->j, v, &o.json_len);
	if (o.row && o.ref.kind->place)
		kind_place(o.ref.kind, o.row)->line = line_of(w, v);
	json_copy(w->j, json_get(w->j, v, "apiVersion"), o.api_version, sizeof o.api_version);
	json_copy(w->j, json_get(w->j, v, "kind"), o.kind_name, sizeof o.kind_name);
	return object_give(w, &o);
}

static bool list_read(struct walk *w, json_value v)
{
	json_value items = json_get(w->j, v, "items");
	struct store_object bad = { .doc = w->j, .value = v };
	struct json_ctx c = { .j = w->j, .e = &bad.err, .root = v };

	if (json_type(w->j, items) == JSON_NULL)
		return true;
	if (json_type(w->j, items) != JSON_ARRAY) {
		json_refuse(&c, items, "want an array");
		return object_give(w, &bad);
	}
	json_each(w->j, items, item) {
		if (!object_read(w, item))
			return false;
	}
	return true;
}

static bool element_read(struct walk *w, json_value v)
{
	const struct json *j = w->j;
	bool list = json_is(j, json_get(j, v, "kind"), "List") && json_is(j, json_get(j, v, "apiVersion"), "v1");

	return list ? list_read(w, v) : object_read(w, v);
}

/* An array, or one element.  Deeper arrays are there when several documents are arrays. */
static bool array_read(struct walk *w, json_value v, unsigned depth)
{
	const struct json *j = w->j;

	if (!depth || json_type(j, v) != JSON_ARRAY)
		return element_read(w, v);
	for (json_value el = json_first(j, v); el >= 0; el = json_next(j, v, el)) {
		if (!array_read(w, el, depth - 1))
			return false;
	}
	return true;
}

enum text_format text_format(const char *name)
{
	static const struct { const char *suffix; enum text_format format; } formats[] = {
		{ ".json", TEXT_JSON }, { ".yaml", TEXT_YAML }, { ".yml", TEXT_YAML },
	};
	const char *dot = strrchr(name, '.');

	for (unsigned i = 0; dot && dot != name && i < ARRAY_SIZE(formats); i++) {
		if (strcmp(dot, formats[i].suffix) == 0)
			return formats[i].format;
	}
	return TEXT_NONE;
}

enum text_format text_guess(const char *name, const char *text)
{
	enum text_format format = text_format(name);

	if (format != TEXT_NONE)
		return format;
	text += strspn(text, " \t\r\n");
	return *text == '{' || *text == '[' ? TEXT_JSON : TEXT_YAML;
}

void store_object_text(struct str *out, const struct store_object *o)
{
	json_value meta = json_get(o->doc, o->value, "metadata");
	size_t meta_len, before = 0;

	if (o->ref.kind->namespaced && json_get(o->doc, meta, "namespace") < 0) {
		before = (size_t)(json_raw(o->doc, meta, &meta_len) + 1 - o->json);	/* its bracket included */
		str_add(out, o->json, before);
		str_printf(out, "\"namespace\":\"%s\"%s", o->ref.namespace, json_length(o->doc, meta) ? "," : "");
	}
	str_add(out, o->json + before, o->json_len - before);
}

int store_read_text(enum text_format format, const char *text, size_t len,
		    void (*each)(void *ctx, struct store_object *o), void *ctx, struct err *e)
{
	struct json j;
	struct walk w = { .j = &j, .each = each, .ctx = ctx, .counted = text, .line = 1 };
	int rc = format == TEXT_YAML ? yaml_parse(&j, text, len, e) : json_parse(&j, text, len, e);

	if (rc < 0)
		return rc;
	if (!array_read(&w, 0, format == TEXT_YAML ? 2 : 1))
		rc = err_set(e, EINVAL, "1:1: more than %d bad objects, the rest is not read", REFUSED_MAX);
	json_free(&j);
	return rc;
}

struct check {
	void (*report)(void *ctx, bool bad, const char *text);
	void *ctx;
	struct table seen;
	int rc;
};

/* Named before in this text?  The first one counts: the other is an error. */
static void check_twice(struct check *c, const struct store_object *o)
{
	struct row *row = row_new(sizeof *row);
	char key[OBJECT_KEY_MAX + 80], text[sizeof key + 60];
	unsigned line, column;

	snprintf(key, sizeof key, "%s %s %s", o->ref.kind->api_versions[0], o->ref.kind->kind, o->row->key);
	row->key = arena_str(&row->mem, key);
	if (!table_find(&c->seen, key)) {
		table_put(&c->seen, row);
		return;
	}
	row_free(row);
	json_place(o->doc, o->value, &line, &column);
	snprintf(text, sizeof text, "%u:%u: %s %s: named before in this file", line, column, o->ref.kind->kind,
		 o->row->key);
	c->rc = -EINVAL;
	c->report(c->ctx, true, text);
}

/* A slip of the pen in "kind" looks just so. */
static void check_ignored(struct check *c, const struct store_object *o)
{
	char text[sizeof o->kind_name + sizeof o->api_version + 80];
	unsigned line, column;

	json_place(o->doc, o->value, &line, &column);
	snprintf(text, sizeof text, "%u:%u: kind %s (%s) is not used by this version: ignored", line, column, o->kind_name,
		 o->api_version);
	c->report(c->ctx, false, text);
}

static void check_object(void *ctx, struct store_object *o)
{
	struct check *c = ctx;

	if (o->err.code) {
		c->rc = -EINVAL;
		c->report(c->ctx, true, o->err.text);
		return;
	}
	if (!o->row) {
		check_ignored(c, o);
		return;
	}
	check_twice(c, o);
	if (c->rc >= 0)
		c->rc++;
}

int store_check_text(enum text_format format, const char *text, size_t len,
		     void (*report)(void *ctx, bool bad, const char *text), void *ctx)
{
	struct check c = { .report = report, .ctx = ctx };
	struct err e = { 0 };

	table_init(&c.seen, "seen");
	if (store_read_text(format, text, len, check_object, &c, &e) < 0) {
		c.rc = -EINVAL;
		report(ctx, true, e.text);
	}
	table_fini(&c.seen);
	return c.rc;
}
