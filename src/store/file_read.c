/*
 * Reading one users' file.
 *
 * What it gives goes to the references.  An object that is refused keeps what is
 * shown of it; when that is nothing (a start, or another file's object was shown
 * until now) its last good state comes from the memory (file_memory.c), and of kinds
 * that fail closed, at last, what could be read of it stands in.  A text that cannot
 * be read at all counts as if each object that it last gave were refused.
 */
#include "store/file_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"

enum { IGNORED_MAX = 4096, TEXT_KEEP = 1 << 16 };

struct reading {
	struct file_store *f;
	struct user_file *file;
	bool quiet;			/* the same text as before: all of this has been said */
	unsigned errors, recalled;
	char first[256];		/* of the errors */
	struct str ignored;		/* kinds that were said to be ignored */
	struct str good;		/* what is to be remembered: the array of good objects, not yet closed */
};

/* One problem a file, while anything in it is wrong. */
static void problem_put(const struct reading *in)
{
	char rest[32] = "";

	if (in->errors > 1)
		snprintf(rest, sizeof rest, ", and %u more", in->errors - 1);
	model_problem(in->f->s->model, "store", in->file->name, "correct the file, or remove it", "%s/%s:%s%s", in->f->path,
		      in->file->name, in->first, rest);
}

static void error_note(struct reading *in, const char *text, const char *then)
{
	if (!in->errors++)
		str_copy(in->first, sizeof in->first, text);
	if (!in->quiet)
		log_err("store", "%s/%s:%s%s", in->f->path, in->file->name, text, then);
}

/* --- objects --- */

static void on_foreign(struct reading *in, const struct store_object *o)
{
	size_t before = in->ignored.len;
	const char *said;

	if (before > IGNORED_MAX)
		return;
	str_printf(&in->ignored, "|%s %s|", o->api_version, o->kind_name);
	said = strstr(in->ignored.s, in->ignored.s + before);
	if (said < in->ignored.s + before) {		/* once a file and kind */
		in->ignored.len = before;
		in->ignored.s[before] = '\0';
	} else if (!in->quiet) {
		log_info("store", "%s/%s: kind %s (%s) is not used by this version: ignored", in->f->path, in->file->name,
			 o->kind_name, o->api_version);
	}
}

static bool has_good_state(const struct file_ref *r)
{
	return r->shown && !r->stand_in;
}

static void on_refused(struct reading *in, struct store_object *o)
{
	struct file_ref *r = NULL;
	char key[OBJECT_KEY_MAX];

	if (object_key(key, &o->ref))
		r = file_ref_get(in->f, in->file, o->ref.kind, key);
	error_note(in, o->err.text, r && has_good_state(r) ? " (its last good state stays)" : "");
	if (!r || r->mark == in->file->mark)
		return;
	r->mark = in->file->mark;
	r->refused = true;
	if (!o->row)
		return;
	row_free(r->half);
	r->half = o->row;
	o->row = NULL;
}

static void say_twice(const struct reading *in, const struct file_ref *r)
{
	const struct file_object *o = r->object;
	const struct file_ref *second = o->refs == r ? r->next : r;

	if (second)
		log_warn("store", "%s %s: in %s/%s and in %s: the first one counts", o->kind->kind, o->key, in->f->path,
			 o->refs->file->name, second->file->name);
}

static void good_add(struct reading *in, const struct store_object *o)
{
	str_puts(&in->good, in->good.len ? ",\n" : "[");
	str_add(&in->good, o->json, o->json_len);
}

static void on_good(struct reading *in, struct store_object *o)
{
	struct file_ref *r = file_ref_get(in->f, in->file, o->ref.kind, o->row->key);
	bool seen = r->mark != 0 && !r->refused;
	char text[OBJECT_KEY_MAX + 80];

	if (r->mark == in->file->mark) {
		snprintf(text, sizeof text, " %s %s: named before in this file, the first one counts",
			 o->ref.kind->kind, o->row->key);
		error_note(in, text, "");
		return;
	}
	if (!seen)
		say_twice(in, r);
	r->mark = in->file->mark;
	r->refused = false;
	good_add(in, o);
	if (r->object->refs != r)
		return;
	file_ref_show(in->f, r, o->row);
	o->row = NULL;
}

static void on_object(void *ctx, struct store_object *o)
{
	if (o->err.code)
		on_refused(ctx, o);
	else if (o->row)
		on_good(ctx, o);
	else
		on_foreign(ctx, o);
}

/* --- what is remembered --- */

static void remembered_show(struct reading *in, struct file_ref *r, struct store_object *o)
{
	r->refused = false;
	if (r->object->refs != r || has_good_state(r))
		return;
	if (o->ref.kind->place)
		kind_place(o->ref.kind, o->row)->line = 0;
	file_ref_show(in->f, r, o->row);
	o->row = NULL;
	in->recalled++;
}

/* An object of the memory, when the file has another text for it. */
static void on_remembered(void *ctx, struct store_object *o)
{
	struct reading *in = ctx;
	struct file_ref *r = o->row && !o->err.code ? file_ref_find(in->f, in->file, o->ref.kind, o->row->key) : NULL;

	if (!r || r->mark != in->file->mark || !r->refused)
		return;
	good_add(in, o);
	remembered_show(in, r, o);
}

/* The same, when the file's own text cannot be read. */
static void on_remembered_all(void *ctx, struct store_object *o)
{
	struct reading *in = ctx;

	if (o->row && !o->err.code)
		remembered_show(in, file_ref_get(in->f, in->file, o->ref.kind, o->row->key), o);
}

static void recall(struct reading *in, void (*each)(void *ctx, struct store_object *o))
{
	autostr struct str text = { 0 };
	struct err e = { 0 };

	if (file_memory_read(in->f, in->file->name, &text) == 0 &&
	    store_read_text(TEXT_JSON, text.s, text.len, each, in, &e) < 0)
		log_warn("store", "last good state of %s: %s: not trusted", in->file->name, e.text);
	if (in->recalled && !in->quiet)
		log_warn("store", "%s/%s: %u of its objects as they last were", in->f->path, in->file->name, in->recalled);
}

/* --- the whole file --- */

/* What was refused and has no good state anywhere: a stand-in, or nothing. */
static void refused_settle(struct reading *in, struct file_ref *r)
{
	struct row *row = r->half;

	if (has_good_state(r))
		return;
	if (!r->object->kind->closed) {
		file_ref_drop(in->f, r);
	} else if (r->object->refs == r && row) {
		r->half = NULL;
		file_ref_show(in->f, r, row);
		r->stand_in = true;
		if (!in->quiet)
			log_warn("store", "%s %s: no good state is known: closed", r->object->kind->kind, r->object->key);
	}
}

static void refs_settle(struct reading *in)
{
	for (struct file_ref *r = in->file->refs, *next; r; r = next) {
		next = r->file_next;
		if (r->mark != in->file->mark)
			file_ref_drop(in->f, r);	/* given before, and no more */
		else if (r->refused)
			refused_settle(in, r);
	}
}

/* problem: what keeps the text from being read, or NULL. */
static void file_parse(struct reading *in, const char *problem)
{
	struct err e = { 0 };

	in->file->mark++;
	if (!problem && store_read_text(text_format(in->file->name), str_text(&in->f->text), in->f->text.len, on_object, in,
					&e) < 0)
		problem = e.text;
	if (problem) {
		error_note(in, problem, in->file->refs ? " (what the file last gave stays)" : "");
		recall(in, on_remembered_all);
	} else {
		if (in->errors)
			recall(in, on_remembered);
		refs_settle(in);
		str_puts(&in->good, in->good.len ? "]\n" : "");
		file_memory_save(in->f, in->file, &in->good);
	}
	if (in->errors)
		problem_put(in);
	else
		model_problem_clear(in->f->s->model, "store", in->file->name);
	str_free(&in->ignored);
	str_free(&in->good);
}

static void problem_text(char *out, size_t size, int rc)
{
	if (rc == -EFBIG)
		snprintf(out, size, " cannot read: more than %d MiB", JSON_SIZE_MAX >> 20);
	else
		snprintf(out, size, " cannot read: %s", rc == -EINVAL ? "not a file" : strerror(-rc));
}

int file_read(struct file_store *f, struct user_file *file, bool again)
{
	struct reading in = { .f = f, .file = file };
	int rc = fs_read(f->dir, file->name, JSON_SIZE_MAX, &f->text), before = file->failed;
	char problem[80];
	uint64_t hash;

	if (rc == -ENOENT)
		return rc;
	file->failed = rc;
	if (rc < 0) {
		in.quiet = rc == before;
		problem_text(problem, sizeof problem, rc);
		if (again || !in.quiet)
			file_parse(&in, problem);
		return rc;
	}
	hash = fnv64a(str_text(&f->text), f->text.len);
	in.quiet = file->read && file->hash == hash;
	file->read = true;
	file->hash = hash;
	if (!in.quiet || again || before)
		file_parse(&in, NULL);
	if (f->text.cap > TEXT_KEEP)
		str_free(&f->text);
	return 0;
}
