/*
 * Users' files at the top of DIR.
 *
 * For each object that some file names there is a chain of references, by file
 * name; the first one is to be shown.  When that is another one than before, the
 * object is put on the list of what is unsettled, and settle() reads the file of
 * the first reference again.  A reference that then still cannot be shown (its
 * text is bad by now) is dropped, and the next one has its turn; after the last
 * one, what lies in .manx.
 */
#include "store/file_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"

enum { BUCKETS_FIRST = 64, IGNORED_MAX = 4096 };

/* --- objects by kind and key --- */

static unsigned bucket_of(const struct file_store *f, const struct kind *k, const char *key)
{
	return (fnv32a(key, strlen(key)) + (unsigned)(k - kinds) * 0x9e3779b9u) & (f->bucket_count - 1);
}

static struct file_object *object_find(const struct file_store *f, const struct kind *k, const char *key)
{
	struct file_object *o = f->bucket_count ? f->buckets[bucket_of(f, k, key)] : NULL;

	while (o && (o->kind != k || strcmp(o->key, key) != 0))
		o = o->hash_next;
	return o;
}

static void object_insert(struct file_store *f, struct file_object *o)
{
	struct file_object **to = &f->buckets[bucket_of(f, o->kind, o->key)];

	o->hash_next = *to;
	*to = o;
}

static void grow(struct file_store *f)
{
	unsigned old_count = f->bucket_count;
	struct file_object **old = f->buckets;

	f->bucket_count = old_count ? 2 * old_count : BUCKETS_FIRST;
	f->buckets = xcalloc(f->bucket_count, sizeof *f->buckets);
	for (unsigned i = 0; i < old_count; i++) {
		for (struct file_object *o = old[i], *next; o; o = next) {
			next = o->hash_next;
			object_insert(f, o);
		}
	}
	free(old);
}

static struct file_object *object_get(struct file_store *f, const struct kind *k, const char *key)
{
	struct file_object *o = object_find(f, k, key);
	size_t size = strlen(key) + 1;

	if (o)
		return o;
	if (f->object_count >= f->bucket_count)
		grow(f);
	o = xcalloc(1, sizeof *o + size);
	o->kind = k;
	memcpy(o->key, key, size);
	object_insert(f, o);
	f->object_count++;
	return o;
}

static void object_remove(struct file_store *f, struct file_object *o)
{
	struct file_object **at = &f->buckets[bucket_of(f, o->kind, o->key)];

	while (*at != o)
		at = &(*at)->hash_next;
	*at = o->hash_next;
	f->object_count--;
	free(o);
}

static void unsettle(struct file_store *f, struct file_object *o)
{
	if (o->unsettled)
		return;
	o->unsettled = true;
	o->unsettled_next = f->unsettled;
	f->unsettled = o;
}

const struct file_ref *file_user_shows(const struct file_store *f, const struct kind *k, const char *key)
{
	const struct file_object *o = object_find(f, k, key);

	return o && o->refs && o->refs->shown ? o->refs : NULL;
}

/* --- references --- */

static struct file_ref *ref_find(const struct file_object *o, const struct user_file *file)
{
	struct file_ref *r = o ? o->refs : NULL;

	while (r && r->file != file)
		r = r->next;
	return r;
}

static struct file_ref *ref_new(struct file_object *o, struct user_file *file)
{
	struct file_ref *r = xcalloc(1, sizeof *r), **at = &o->refs;

	*r = (struct file_ref){ .object = o, .file = file, .file_next = file->refs };
	file->refs = r;
	while (*at && strcmp((*at)->file->name, file->name) < 0)
		at = &(*at)->next;
	r->next = *at;
	*at = r;
	return r;
}

static void ref_drop(struct file_store *f, struct file_ref *r)
{
	struct file_ref **at = &r->file->refs;

	while (*at != r)
		at = &(*at)->file_next;
	*at = r->file_next;
	at = &r->object->refs;
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	unsettle(f, r->object);
	row_free(r->half);
	free(r);
}

static void ref_show(struct file_store *f, struct file_ref *r, struct row *row)
{
	const struct kind *k = r->object->kind;
	struct object_ref ref;

	for (struct file_ref *other = r->object->refs; other; other = other->next) {
		row_free(other->half);
		other->half = NULL;
		other->shown = false;
	}
	r->shown = true;
	r->tried = false;
	kind_meta(k, row)->version = 0;
	if (!k->merge) {
		store_event_put(f->s, k, row);
		return;
	}
	r->half = row;
	if (object_ref_set(&ref, k, r->object->key))
		file_agent_load(f, &ref, NULL);		/* puts both halves */
}

/* --- one file --- */

/* One problem a file, while anything in it is wrong. */
static void problem_put(struct file_store *f, const struct user_file *file, const char *text, unsigned more)
{
	char rest[32] = "";

	if (more)
		snprintf(rest, sizeof rest, ", and %u more", more);
	model_problem(f->s->model, "store", file->name, "correct the file, or remove it", "%s/%s:%s%s", f->path, file->name,
		      text, rest);
}

struct reading {
	struct file_store *f;
	struct user_file *file;
	bool quiet;			/* the same text as before: all of this has been said */
	unsigned errors;
	char first[256];		/* of them */
	struct str ignored;		/* kinds that were said to be ignored */
};

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

static void error_note(struct reading *in, const char *text)
{
	if (!in->errors++)
		str_copy(in->first, sizeof in->first, text);
}

static void say_twice(const struct reading *in, const struct file_ref *r)
{
	const struct file_object *o = r->object;
	const struct file_ref *second = o->refs == r ? r->next : r;

	log_warn("store", "%s %s: in %s/%s and in %s: the first one counts", o->kind->kind, o->key, in->f->path,
		 o->refs->file->name, second->file->name);
}

/* The file's reference to the object; says so when another file has one too. */
static struct file_ref *ref_get(const struct reading *in, const struct kind *k, const char *key)
{
	struct file_object *object = object_get(in->f, k, key);
	struct file_ref *r = ref_find(object, in->file);

	if (r)
		return r;
	r = ref_new(object, in->file);
	if (object->refs->next)
		say_twice(in, r);
	return r;
}

static void row_show(const struct reading *in, struct file_ref *r, struct store_object *o)
{
	if (o->ref.kind->place)
		kind_place(o->ref.kind, o->row)->file = arena_str(&o->row->mem, in->file->name);
	ref_show(in->f, r, o->row);
	r->stand_in = o->err.code;
	o->row = NULL;
}

static void on_refused(struct reading *in, struct store_object *o)
{
	struct file_ref *r = NULL;
	char key[OBJECT_KEY_MAX];
	bool stays;

	if (o->row)
		r = ref_get(in, o->ref.kind, o->row->key);
	else if (object_key(key, &o->ref))
		r = ref_find(object_find(in->f, o->ref.kind, key), in->file);
	stays = r && r->shown && !r->stand_in;
	error_note(in, o->err.text);
	if (!in->quiet)
		log_err("store", "%s/%s:%s%s", in->f->path, in->file->name, o->err.text,
			stays ? " (its last good state stays)" : o->row ? " (closed until it is corrected)" : "");
	if (!r)
		return;
	r->mark = in->file->mark;
	if (o->row && !stays && r->object->refs == r)
		row_show(in, r, o);
}

static void on_good(struct reading *in, struct store_object *o)
{
	struct file_ref *r = ref_get(in, o->ref.kind, o->row->key);

	if (r->mark == in->file->mark) {
		char text[OBJECT_KEY_MAX + 80];

		snprintf(text, sizeof text, " %s %s: named before in this file, the first one counts",
			 o->ref.kind->kind, o->row->key);
		error_note(in, text);
		if (!in->quiet)
			log_err("store", "%s/%s:%s", in->f->path, in->file->name, text);
		return;
	}
	r->mark = in->file->mark;
	if (r->object->refs == r)
		row_show(in, r, o);
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

/* What the file gave and gives no more. */
static void drop_unnamed(struct file_store *f, struct user_file *file)
{
	for (struct file_ref *r = file->refs, *next; r; r = next) {
		next = r->file_next;
		if (r->mark != file->mark)
			ref_drop(f, r);
	}
}

static void file_parse(struct file_store *f, struct user_file *file, bool quiet)
{
	struct reading in = { .f = f, .file = file, .quiet = quiet };
	struct err e = { 0 };

	file->mark++;
	if (store_read_text(text_format(file->name), str_text(&f->text), f->text.len, on_object, &in, &e) == 0) {
		drop_unnamed(f, file);
	} else {
		error_note(&in, e.text);
		if (!quiet)
			log_err("store", "%s/%s:%s%s", f->path, file->name, e.text,
				file->refs ? " (what the file last gave stays)" : "");
	}
	if (in.errors)
		problem_put(f, file, in.first, in.errors - 1);
	else
		model_problem_clear(f->s->model, "store", file->name);
	str_free(&in.ignored);
}

/* Reads the file if its text is new, or in any case.  -ENOENT: it is not there. */
static int file_read(struct file_store *f, struct user_file *file, bool again)
{
	int rc = fs_read(f->dir, file->name, JSON_SIZE_MAX, &f->text);
	uint64_t hash;
	bool same;

	if (rc == -ENOENT)
		return rc;
	if (rc < 0) {
		if (rc != file->failed) {
			log_err("store", "%s/%s: cannot read: %s", f->path, file->name, strerror(-rc));
			problem_put(f, file, " cannot read", 0);
		}
		file->failed = rc;
		return rc;
	}
	again |= file->failed != 0;
	file->failed = 0;
	hash = fnv64a(str_text(&f->text), f->text.len);
	same = file->read && file->hash == hash;
	file->read = true;
	file->hash = hash;
	if (!same || again)
		file_parse(f, file, same);
	if (f->text.cap > 1 << 16)
		str_free(&f->text);
	return 0;
}

/* --- settling --- */

/* Nobody's any more: what agents say, or nothing. */
static void object_reveal(struct file_store *f, struct file_object *o)
{
	struct object_ref ref;

	if (o->kind->agents && object_ref_set(&ref, o->kind, o->key))
		file_agent_load(f, &ref, NULL);
	else
		store_event_del(f->s, o->kind, o->key);
}

static void settle_one(struct file_store *f, struct file_object *o)
{
	struct file_ref *r = o->refs;

	if (!r) {
		object_reveal(f, o);
		object_remove(f, o);
		return;
	}
	if (r->shown)
		return;
	if (r->tried) {
		ref_drop(f, r);		/* unsettles it again: the next one */
		return;
	}
	r->tried = true;
	unsettle(f, o);
	file_read(f, r->file, true);
}

static void settle(struct file_store *f)
{
	while (f->unsettled) {
		struct file_object *o = f->unsettled;

		f->unsettled = o->unsettled_next;
		o->unsettled = false;
		settle_one(f, o);
	}
}

/* --- the folder --- */

/* Where name is, or where it would have to be. */
static unsigned file_place(const struct file_store *f, const char *name, bool *found)
{
	unsigned low = 0, high = f->file_count;

	*found = false;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		int c = strcmp(f->files[middle]->name, name);

		if (c == 0) {
			*found = true;
			return middle;
		}
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct user_file *file_new(struct file_store *f, unsigned place, const char *name)
{
	size_t size = strlen(name) + 1;
	struct user_file *file = xcalloc(1, sizeof *file + size);

	memcpy(file->name, name, size);
	if ((f->file_count & (f->file_count - 1)) == 0)
		f->files = xrealloc(f->files, (f->file_count ? 2 * f->file_count : 1) * sizeof *f->files);
	memmove(f->files + place + 1, f->files + place, (f->file_count - place) * sizeof *f->files);
	f->files[place] = file;
	f->file_count++;
	return file;
}

static void file_remove(struct file_store *f, unsigned place)
{
	struct user_file *file = f->files[place];

	while (file->refs)
		ref_drop(f, file->refs);
	model_problem_clear(f->s->model, "store", file->name);
	f->file_count--;
	memmove(f->files + place, f->files + place + 1, (f->file_count - place) * sizeof *f->files);
	free(file);
}

static void file_look(struct file_store *f, const char *name)
{
	struct user_file *file;
	unsigned place;
	bool found;

	if (name[0] == '.' || text_format(name) == TEXT_NONE)
		return;
	place = file_place(f, name, &found);
	file = found ? f->files[place] : file_new(f, place, name);
	if (file_read(f, file, false) == -ENOENT)
		file_remove(f, place);
}

void file_user_look(struct file_store *f, const char *name)
{
	file_look(f, name);
	settle(f);
}

static void on_name(void *ctx, const char *name)
{
	file_look(ctx, name);
}

void file_user_scan(struct file_store *f)
{
	int rc = file_list(f->path, on_name, f);

	if (rc < 0)
		log_err("store", "%s: cannot list: %s", f->path, strerror(-rc));
	for (unsigned i = f->file_count; rc == 0 && i-- > 0; ) {
		if (faccessat(f->dir, f->files[i]->name, F_OK, 0) < 0 && errno == ENOENT)
			file_remove(f, i);
	}
	settle(f);
}

void file_user_free(struct file_store *f)
{
	for (unsigned i = 0; i < f->file_count; i++) {
		for (struct file_ref *r = f->files[i]->refs, *next; r; r = next) {
			next = r->file_next;
			row_free(r->half);
			free(r);
		}
		free(f->files[i]);
	}
	for (unsigned i = 0; i < f->bucket_count; i++) {
		for (struct file_object *o = f->buckets[i], *next; o; o = next) {
			next = o->hash_next;
			free(o);
		}
	}
	free(f->files);
	free(f->buckets);
}
