/*
 * What agents wrote: DIR/.manx/<plural>/[<namespace>/]<name>.json.
 *
 * A file is trusted when all of it can be read, it is the object that its path
 * says, and it has a version.  Anything else (a power cut left half of it) counts
 * as absent: the next write with expected version 0 replaces it.
 */
#include "store/file_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"

bool file_agent_path(char *out, size_t size, const struct object_ref *ref)
{
	int n = snprintf(out, size, "%s%s%s.json", ref->namespace, *ref->namespace ? "/" : "", ref->name);

	return n > 0 && (size_t)n < size;
}

int file_agent_folder(const struct file_store *f, const struct kind *k)
{
	return f->plural[k - kinds];
}

/* The row of a text that is to be ref's; NULL with *e. */
static struct row *row_of(const struct str *text, const struct object_ref *ref, struct err *e)
{
	struct object_ref got;
	uint64_t version;
	struct row *row;
	struct json j;

	if (json_parse(&j, str_text(text), text->len, e) < 0)
		return NULL;
	row = kind_decode(&j, 0, &got, e);
	json_free(&j);
	if (!row) {
		if (!e->code)
			err_set(e, EINVAL, "1:1: of another kind");
		return NULL;
	}
	version = kind_meta(got.kind, row)->version;
	if (got.kind != ref->kind || strcmp(got.namespace, ref->namespace) != 0 || strcmp(got.name, ref->name) != 0)
		err_set(e, EINVAL, "1:1: its path says another object");
	else if (!version || version > INT64_MAX)	/* the counter has to go on from it */
		err_set(e, EINVAL, "1:1: metadata.resourceVersion: want 1 to %lld", (long long)INT64_MAX);
	else
		return row;
	row_free(row);
	return NULL;
}

/* *row NULL: there is none that could be trusted.  0, or -errno when that cannot be said. */
static int row_read(struct file_store *f, const struct object_ref *ref, struct row **row)
{
	autostr struct str text = { 0 };
	struct err e = { 0 };
	char path[PATH_MAX];
	int rc;

	*row = NULL;
	if (!file_agent_path(path, sizeof path, ref))
		return -ENAMETOOLONG;
	rc = fs_read(file_agent_folder(f, ref->kind), path, JSON_SIZE_MAX, &text);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0) {
		log_err("store", "%s/.manx/%s/%s: cannot read: %s", f->path, ref->kind->plural, path, strerror(-rc));
		return rc;
	}
	*row = row_of(&text, ref, &e);
	if (!*row)
		log_warn("store", "%s/.manx/%s/%s:%s: not trusted, counts as absent", f->path, ref->kind->plural, path,
			 e.text);
	return 0;
}

/* A copy by way of its text, for a user's half that is shown alone. */
static struct row *row_copy(const struct kind *k, const struct row *row)
{
	autostr struct str text = { 0 };
	struct row *copy = NULL;
	struct err e = { 0 };
	struct json j;

	kind_encode(k, row, 0, &text);
	if (json_parse(&j, str_text(&text), text.len, &e) == 0) {
		copy = kind_decode(&j, 0, NULL, &e);
		json_free(&j);
	}
	if (!copy)
		log_err("store", "%s %s: cannot be copied: %s", k->kind, row->key, e.text);
	return copy;
}

int file_agent_load(struct file_store *f, const struct object_ref *ref, uint64_t *version)
{
	const struct kind *k = ref->kind;
	const struct file_ref *user;
	char key[OBJECT_KEY_MAX];
	struct row *row;
	int rc;

	if (!object_key(key, ref))
		return -EINVAL;
	rc = row_read(f, ref, &row);
	if (rc < 0)
		return rc;
	if (row && kind_meta(k, row)->version > f->seen)
		f->seen = kind_meta(k, row)->version;
	if (version)
		*version = row ? kind_meta(k, row)->version : 0;
	user = file_user_shows(f, k, key);
	if (user && !k->merge) {
		row_free(row);		/* hidden */
		return 0;
	}
	if (user && row) {
		k->merge(row, user->half);
		row->digest = k->digest(row);
	} else if (user) {
		row = row_copy(k, user->half);
	}
	if (row)
		store_event_put(f->s, k, row);
	else
		store_event_del(f->s, k, key);
	return 0;
}

/* --- folders --- */

struct folder {
	struct file_store *f;
	const struct kind *kind;
	const char *namespace;
	int rc;				/* -errno: a folder in it could not be listed */
};

void file_agent_look(struct file_store *f, const struct kind *k, const char *namespace, const char *name, bool moved_in)
{
	struct object_ref ref = { .kind = k };
	size_t len = strlen(name);
	char path[PATH_MAX];
	struct stat st;

	if (name[0] == '.' || len < 6 || strcmp(name + len - 5, ".json") != 0 || len - 5 >= sizeof ref.name)
		return;
	memcpy(ref.name, name, len - 5);
	str_copy(ref.namespace, sizeof ref.namespace, namespace);
	if (!kind_name_ok(k, ref.namespace, ref.name) || !file_agent_path(path, sizeof path, &ref))
		return;
	if (moved_in && fstatat(file_agent_folder(f, k), path, &st, AT_SYMLINK_NOFOLLOW) == 0 && file_wrote(f, &st))
		return;
	file_agent_load(f, &ref, NULL);
}

static void on_file(void *ctx, const char *name)
{
	const struct folder *in = ctx;

	file_agent_look(in->f, in->kind, in->namespace, name, false);
}

/* One that is not there is empty. */
static int folder_list(struct file_store *f, const struct kind *k, const char *namespace,
		       void (*each)(void *ctx, const char *name))
{
	struct folder in = { .f = f, .kind = k, .namespace = namespace };
	int rc = file_list(file_agent_folder(f, k), *namespace ? namespace : ".", each, &in);

	if (rc == 0 || rc == -ENOENT || rc == -ENOTDIR)
		return in.rc;
	log_err("store", "%s/.manx/%s/%s: cannot list: %s", f->path, k->plural, namespace, strerror(-rc));
	return rc;
}

int file_agent_scan_folder(struct file_store *f, const struct kind *k, const char *namespace)
{
	int rc;

	if (!kind_name_ok(k, namespace, "x"))
		return 0;
	rc = file_watch_namespace(f, k, namespace);
	if (rc == -ENOENT || rc == -ENOTDIR)
		return 0;
	if (rc < 0)
		log_err("store", "%s/.manx/%s/%s: cannot watch: %s", f->path, k->plural, namespace, strerror(-rc));
	return folder_list(f, k, namespace, on_file);
}

static void on_namespace(void *ctx, const char *name)
{
	struct folder *in = ctx;
	int rc = file_agent_scan_folder(in->f, in->kind, name);

	in->rc = in->rc ? in->rc : rc;
}

/* Keys are collected first: a table must not be put to while it is walked. */
void file_agent_sweep(struct file_store *f, const struct kind *k)
{
	autostr struct str gone = { 0 };
	struct object_ref ref;
	struct row *row;
	char path[PATH_MAX];
	struct stat st;

	table_each(kind_table(k, f->s->model), row) {
		if (!kind_meta(k, row)->version || !object_ref_set(&ref, k, row->key) ||
		    !file_agent_path(path, sizeof path, &ref))
			continue;
		if (fstatat(file_agent_folder(f, k), path, &st, 0) < 0 && errno == ENOENT)
			str_add(&gone, row->key, strlen(row->key) + 1);
	}
	for (size_t at = 0; at < gone.len; at += strlen(gone.s + at) + 1) {
		if (object_ref_set(&ref, k, gone.s + at))
			file_agent_load(f, &ref, NULL);
	}
}

int file_agent_scan(struct file_store *f)
{
	int first = 0;

	for (unsigned i = 0; i < kind_count; i++) {
		const struct kind *k = &kinds[i];
		int rc;

		if (!k->agents || !kind_is_used(k, f->s->config))
			continue;
		rc = folder_list(f, k, "", k->namespaced ? on_namespace : on_file);
		first = first ? first : rc;
		file_agent_sweep(f, k);
	}
	return first;
}
