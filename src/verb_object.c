/*
 * `manx get`, `manx apply`, `manx delete`.  A file is taken whole or not at all: when one
 * of its objects is refused, nothing is written.  Then the objects go to the
 * datastore one after the other, and the answer waits for the pass that follows.
 */
#include "verbs.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "status.h"

void verb_get(void *ctx, struct ctl_call *c)
{
	struct agent *a = ctx;
	struct err e = { 0 };

	if (c->count != 3) {
		ctl_refuse(c, EXIT_USAGE, "get KIND [NAME] [-n NAMESPACE]");
		return;
	}
	const struct store_query q = { c->words[0], *c->words[1] ? c->words[1] : NULL, *c->words[2] ? c->words[2] : NULL };

	if (!a->model.complete)
		ctl_refuse(c, EXIT_DATASTORE, "datastore %s: %s", a->store.driver->name, store_state_text(&a->store));
	else if (store_get(&a->store, &q, c->json, &c->out, &e) < 0)
		ctl_refuse(c, e.code == ENOENT ? EXIT_FAILED : EXIT_USAGE, "%s", e.text);
	else
		ctl_answer(c, EXIT_OK);
}

/* --- apply, delete --- */

struct item {
	struct object_ref ref;
	struct str text;
	struct item *next;
};

struct change {
	struct agent *agent;
	struct ctl_call *call;
	const char *file;		/* as it was given; while its text is read */
	bool del;
	struct item *items, **tail;
	struct store_edit edit;		/* of the first item */
	int code;
};

static void refuse(struct change *ch, const struct store_object *o, const char *text)
{
	unsigned line, column;

	json_place(o->doc, o->value, &line, &column);
	str_printf(&ch->call->err, "%s:%u:%u: %s (%s): %s\n", ch->file, line, column, o->kind_name, o->api_version, text);
}

/* Of what is deleted only the name counts. */
static void on_object(void *ctx, struct store_object *o)
{
	struct change *ch = ctx;
	struct item *i;

	if (o->err.code && !(ch->del && o->ref.kind && *o->ref.name)) {
		str_printf(&ch->call->err, "%s:%s\n", ch->file, o->err.text);
		return;
	}
	if (!o->ref.kind || (o->ref.kind->agents_only && !ch->del)) {
		refuse(ch, o, o->ref.kind ? "only agents write objects of this kind" : "not a kind that manx knows");
		return;
	}
	i = xcalloc(1, sizeof *i);
	i->ref = o->ref;
	if (!ch->del)
		store_object_text(&i->text, o);
	*ch->tail = i;
	ch->tail = &i->next;
}

static void item_pop(struct change *ch)
{
	struct item *i = ch->items;

	ch->items = i->next;
	str_free(&i->text);
	free(i);
}

/* The pass of this turn comes first, see agent.c. */
static void change_end(struct change *ch)
{
	ch->call->code = ch->code;
	ch->call->next = ch->agent->after_pass;
	ch->agent->after_pass = ch->call;
	while (ch->items)
		item_pop(ch);
	free(ch);
}

static int failure_code(int code)
{
	switch (code) {
	case ENOTCONN:
	case EAGAIN:
		return EXIT_DATASTORE;
	case EACCES:
	case EPERM:
	case EROFS:
		return EXIT_PERMISSION;
	case EPROTONOSUPPORT:
		return EXIT_USAGE;
	}
	return EXIT_FAILED;
}

static void on_edited(struct store_edit *e);

static void step(struct change *ch)
{
	const struct item *i = ch->items;

	if (!i) {
		change_end(ch);
		return;
	}
	ch->edit = (struct store_edit){ .ref = i->ref, .text = i->text.s, .done = on_edited };
	store_edit(&ch->agent->store, &ch->edit);
}

/* "pod/web-0 created", as kubectl says it. */
static void on_edited(struct store_edit *e)
{
	static const char *const words[] = { [EDIT_CREATED] = "created", [EDIT_CONFIGURED] = "configured",
		[EDIT_UNCHANGED] = "unchanged", [EDIT_DELETED] = "deleted", [EDIT_ABSENT] = "not found" };
	struct change *ch = container_of(e, struct change, edit);
	bool bad = e->outcome == EDIT_FAILED || e->outcome == EDIT_ABSENT;
	struct str *to = bad ? &ch->call->err : &ch->call->out;

	str_puts(to, bad ? "manx: " : "");
	for (const char *k = e->ref.kind->kind; *k; k++)
		str_add(to, &(char){ (char)tolower((unsigned char)*k) }, 1);
	str_printf(to, "/%s %s\n", e->ref.name, e->outcome == EDIT_FAILED ? e->err.text : words[e->outcome]);
	if (bad && ch->code == EXIT_OK)
		ch->code = failure_code(e->err.code);
	item_pop(ch);
	step(ch);
}

static void change_begin(struct agent *a, struct ctl_call *c, bool del)
{
	struct change *ch;
	struct err e = { 0 };

	if (c->count != 2) {
		ctl_refuse(c, EXIT_USAGE, "%s -f FILE", del ? "delete" : "apply");
		return;
	}
	ch = xcalloc(1, sizeof *ch);
	*ch = (struct change){ .agent = a, .call = c, .file = c->words[0], .del = del, .tail = &ch->items };
	if (store_read_text(text_guess(ch->file, c->words[1]), c->words[1], strlen(c->words[1]), on_object, ch, &e) < 0)
		str_printf(&c->err, "%s:%s\n", ch->file, e.text);
	else if (!ch->items && !c->err.len)
		str_printf(&c->err, "%s:1:1: no objects\n", ch->file);
	if (!c->err.len) {
		step(ch);
		return;
	}
	ch->code = EXIT_CONFIG;
	change_end(ch);
}

void verb_apply(void *ctx, struct ctl_call *c)
{
	change_begin(ctx, c, false);
}

void verb_delete(void *ctx, struct ctl_call *c)
{
	change_begin(ctx, c, true);
}
