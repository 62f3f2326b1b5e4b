/*
 * apply, get, delete and uninstall in the file datastore: each object that is applied
 * has a file of its own at the top of DIR, which is a user's file like any other.
 */
#include "store/file_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/util.h"

/* "<plural>[.<group>]_[<namespace>]_<name>.json"; no name contains "_".  False: longer than a file's name may be. */
static bool file_name(char out[NAME_MAX + 1], const struct object_ref *ref)
{
	const char *version = ref->kind->api_versions[0], *slash = strchr(version, '/');
	int n = snprintf(out, NAME_MAX + 1, "%s%s%.*s_%s_%s.json", ref->kind->plural, slash ? "." : "",
			 slash ? (int)(slash - version) : 0, version, ref->namespace, ref->name);

	return n <= NAME_MAX;
}

/* Refused: another file gives the object, and counts instead of ours. */
static int refuse_given(const struct file_store *f, struct store_edit *e, const char *file)
{
	return err_set(&e->err, EEXIST, "%s/%s gives this object: edit that file", f->path, file);
}

static const char *given_by(const struct file_store *f, const struct object_ref *ref, const char *key)
{
	const struct file_ref *shown = file_user_shows(f, ref->kind, key);

	return shown ? shown->file->name : NULL;
}

static int put(struct file_store *f, struct store_edit *e, const char *key, const char *name)
{
	autostr struct str text = { 0 }, old = { 0 };
	const char *given = given_by(f, &e->ref, key);
	bool existed = table_find(kind_table(e->ref.kind, f->s->model), key);
	int rc;

	if (given && strcmp(given, name) < 0)
		return refuse_given(f, e, given);
	str_puts(&text, e->text);
	str_puts(&text, "\n");
	if (fs_read(f->dir, name, JSON_SIZE_MAX, &old) == 0 && strcmp(str_text(&old), text.s) == 0)
		return EDIT_UNCHANGED;
	rc = fs_replace(f->dir, name, text.s, text.len, 0644);
	if (rc < 0)
		return err_set(&e->err, -rc, "%s/%s: %s", f->path, name, strerror(-rc));
	file_user_look(f, name);
	return existed ? EDIT_CONFIGURED : EDIT_CREATED;
}

static void on_agents_deleted(void *ctx, int rc)
{
	struct store_edit *e = ctx;

	if (rc < 0)
		err_set(&e->err, -rc, "%s", rc == -ESTALE ? "it is being changed, try again" : strerror(-rc));
	store_edited(e, rc < 0 ? EDIT_FAILED : EDIT_DELETED);
}

/* 0: store_edited() comes later. */
static int del(struct file_store *f, struct store_edit *e, const char *key, const char *name)
{
	const struct kind *k = e->ref.kind;
	const char *given = given_by(f, &e->ref, key);
	struct row *row;

	if (given && strcmp(given, name) != 0)
		return refuse_given(f, e, given);
	if (unlinkat(f->dir, name, 0) == 0) {
		file_user_look(f, name);
		return EDIT_DELETED;
	}
	if (errno != ENOENT)
		return err_set(&e->err, errno, "%s/%s: %s", f->path, name, strerror(errno));
	row = table_find(kind_table(k, f->s->model), key);
	if (!row)
		return EDIT_ABSENT;
	store_del(f->s, k, key, kind_meta(k, row)->version, on_agents_deleted, e);
	return 0;
}

void file_edit(struct store *s, struct store_edit *e)
{
	struct file_store *f = s->driver_state;
	char key[OBJECT_KEY_MAX], name[NAME_MAX + 1];
	int outcome;

	if (!object_key(key, &e->ref) || !file_name(name, &e->ref))
		outcome = err_set(&e->err, ENAMETOOLONG, "its file's name would be too long");
	else
		outcome = e->text ? put(f, e, key, name) : del(f, e, key, name);
	if (outcome)
		store_edited(e, outcome < 0 ? EDIT_FAILED : (enum edit_outcome)outcome);
}

/* --- texts --- */

struct texts {
	struct file_store *f;
	const struct kind *kind;
	const struct user_file *file;
	store_text *each;
	void *ctx;
};

static void on_object(void *ctx, struct store_object *o)
{
	const struct texts *t = ctx;
	const struct file_ref *shown = o->row && o->ref.kind == t->kind ? file_user_shows(t->f, t->kind, o->row->key) : NULL;
	autostr struct str text = { 0 };

	if (!shown || shown->file != t->file)
		return;
	store_object_text(&text, o);
	t->each(t->ctx, o->row->key, &text);
}

static bool gives(const struct user_file *file, const struct kind *k)
{
	for (const struct file_ref *r = file->refs; r; r = r->file_next)
		if (r->object->kind == k && r->shown)
			return true;
	return false;
}

/* What the file has now; then, of those that are bad there, what it last had. */
void file_texts(struct store *s, const struct kind *k, store_text *each, void *ctx)
{
	struct file_store *f = s->driver_state;
	struct texts t = { .f = f, .kind = k, .each = each, .ctx = ctx };
	autostr struct str text = { 0 };
	struct err e;

	for (unsigned i = 0; i < f->file_count; i++) {
		const char *name = f->files[i]->name;

		t.file = f->files[i];
		if (!gives(t.file, k))
			continue;
		if (fs_read(f->dir, name, JSON_SIZE_MAX, &text) == 0)
			store_read_text(text_format(name), str_text(&text), text.len, on_object, &t, &e);
		if (file_memory_read(f, name, &text) == 0)
			store_read_text(TEXT_JSON, str_text(&text), text.len, on_object, &t, &e);
	}
}

/* --- the end --- */

bool file_is_used(const char *where)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/.manx", where);
	return access(path, F_OK) == 0;
}

static void on_node(void *ctx, const char *name)
{
	*(bool *)ctx |= name[0] != '.';
}

/* Of DIR itself only what is empty: users' files are users'. */
int file_purge(const char *where)
{
	enum { PLURAL_NAMESPACE_FILE = 3 };
	char path[PATH_MAX];
	bool node = false;
	int rc;

	snprintf(path, sizeof path, "%s/.manx/nodes", where);
	rc = file_list(AT_FDCWD, path, on_node, &node);
	if (rc == -ENOENT || node)
		return 0;
	snprintf(path, sizeof path, "%s/.manx", where);
	if (rc == 0)
		rc = fs_remove(path, PLURAL_NAMESPACE_FILE);
	if (rc == 0)
		rmdir(where);
	return rc < 0 ? rc : 1;
}
