/* The objects of one text, whoever it is for: the file driver, `manx check`. */
#include "store/store.h"

#include <errno.h>
#include <stdio.h>

#include "base/util.h"

enum { REFUSED_MAX = 1000 };	/* finding each one's line costs a walk through the text */

struct walk {
	const struct json *j;
	void (*each)(void *ctx, struct store_object *o);
	void *ctx;
	unsigned refused;
};

static void text_of(const struct json *j, json_value v, char *buf, size_t size)
{
	struct arena mem = { 0 };
	const char *text = json_string(j, v, &mem);

	str_copy(buf, size, text ? text : "");
	arena_free(&mem);
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
	struct store_object o = { .row = NULL };

	o.row = kind_decode(w->j, v, &o.ref, &o.err);
	text_of(w->j, json_get(w->j, v, "apiVersion"), o.api_version, sizeof o.api_version);
	text_of(w->j, json_get(w->j, v, "kind"), o.kind_name, sizeof o.kind_name);
	return object_give(w, &o);
}

static bool list_read(struct walk *w, json_value v)
{
	json_value items = json_get(w->j, v, "items");
	struct store_object bad = { .row = NULL };
	struct json_ctx c = { .j = w->j, .e = &bad.err, .path = "items" };

	if (json_type(w->j, items) == JSON_NULL)
		return true;
	if (json_type(w->j, items) != JSON_ARRAY) {
		json_refuse(&c, items, "want an array");
		return object_give(w, &bad);
	}
	for (json_value item = json_first(w->j, items); item >= 0; item = json_next(w->j, items, item)) {
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

static bool text_read(struct walk *w)
{
	const struct json *j = w->j;

	if (json_type(j, 0) != JSON_ARRAY)
		return element_read(w, 0);
	for (json_value v = json_first(j, 0); v >= 0; v = json_next(j, 0, v)) {
		if (!element_read(w, v))
			return false;
	}
	return true;
}

int store_read_text(const char *text, size_t len, void (*each)(void *ctx, struct store_object *o), void *ctx,
		    struct err *e)
{
	struct json j;
	struct walk w = { .j = &j, .each = each, .ctx = ctx };
	int rc = json_parse(&j, text, len, e);

	if (rc < 0)
		return rc;
	if (!text_read(&w))
		rc = err_set(e, EINVAL, "1:1: more than %d bad objects, the rest is not read", REFUSED_MAX);
	json_free(&j);
	return rc;
}

struct check {
	void (*report)(void *ctx, const char *text);
	void *ctx;
	int rc;
};

static void check_object(void *ctx, struct store_object *o)
{
	struct check *c = ctx;

	if (!o->err.code)
		return;
	c->rc = -EINVAL;
	c->report(c->ctx, o->err.text);
}

int store_check_text(const char *text, size_t len, void (*report)(void *ctx, const char *text), void *ctx)
{
	struct check c = { .report = report, .ctx = ctx };
	struct err e = { 0 };

	if (store_read_text(text, len, check_object, &c, &e) < 0) {
		c.rc = -EINVAL;
		report(ctx, e.text);
	}
	return c.rc;
}
