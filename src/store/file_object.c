/*
 * The objects that users' files name, each with its references by file name.
 */
#include "store/file_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/util.h"

static uint32_t hash_of(const struct kind *k, const char *key)
{
	return fnv32a(key, strlen(key)) + (uint32_t)(k - kinds) * 0x9e3779b9u;
}

static struct file_object *object_find(const struct file_store *f, const struct kind *k, const char *key)
{
	for (struct hash_node *n = hash_find(&f->objects, hash_of(k, key)); n; n = hash_more(n)) {
		struct file_object *o = container_of(n, struct file_object, node);

		if (o->kind == k && strcmp(o->key, key) == 0)
			return o;
	}
	return NULL;
}

static struct file_object *object_new(struct file_store *f, const struct kind *k, const char *key)
{
	size_t size = strlen(key) + 1;
	struct file_object *o = xcalloc(1, sizeof *o + size);

	o->kind = k;
	memcpy(o->key, key, size);
	hash_insert(&f->objects, &o->node, hash_of(k, key));
	return o;
}

void file_object_remove(struct file_store *f, struct file_object *o)
{
	hash_remove(&f->objects, &o->node);
	free(o);
}

void file_object_unsettle(struct file_store *f, struct file_object *o)
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

struct file_ref *file_ref_find(const struct file_store *f, const struct user_file *file, const struct kind *k,
			       const char *key)
{
	const struct file_object *o = object_find(f, k, key);
	struct file_ref *r = o ? o->refs : NULL;

	while (r && r->file != file)
		r = r->next;
	return r;
}

struct file_ref *file_ref_get(struct file_store *f, struct user_file *file, const struct kind *k, const char *key)
{
	struct file_ref *r = file_ref_find(f, file, k, key);
	struct file_object *o = r ? r->object : object_find(f, k, key);

	return r ? r : ref_new(o ? o : object_new(f, k, key), file);
}

void file_ref_drop(struct file_store *f, struct file_ref *r)
{
	struct file_ref **at = &r->file->refs;

	while (*at != r)
		at = &(*at)->file_next;
	*at = r->file_next;
	at = &r->object->refs;
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	file_object_unsettle(f, r->object);
	row_free(r->half);
	free(r);
}

void file_ref_show(struct file_store *f, struct file_ref *r, struct row *row)
{
	const struct kind *k = r->object->kind;
	struct object_ref ref;

	for (struct file_ref *other = r->object->refs; other; other = other->next) {
		row_free(other->half);
		other->half = NULL;
		other->shown = false;
	}
	r->shown = true;
	r->stand_in = r->tried = false;
	kind_meta(k, row)->version = 0;
	if (k->place)
		kind_place(k, row)->file = arena_str(&row->mem, r->file->name);
	if (!k->merge) {
		store_event_put(f->s, k, row);
		return;
	}
	r->half = row;
	if (object_ref_set(&ref, k, r->object->key))
		file_agent_load(f, &ref, NULL);		/* puts both halves */
}

/* --- the end --- */

void file_object_free_all(struct file_store *f)
{
	hash_each(&f->objects, n) {
		struct file_object *o = container_of(n, struct file_object, node);

		for (struct file_ref *r = o->refs, *next; r; r = next) {
			next = r->next;
			row_free(r->half);
			free(r);
		}
		free(o);
	}
	hash_clear(&f->objects);
}
