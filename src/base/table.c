/*
 * Buckets of singly linked rows, doubled when there are more rows than
 * buckets.  A gone row stays in its bucket until table_clean(), so that a
 * put of its key finds it and takes its place, in the bucket and in the
 * dirty list alike.
 */
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/util.h"

enum { BUCKETS_FIRST = 16 };

void *row_new(size_t size)
{
	struct arena mem = { 0 };
	struct row *r = arena_alloc(&mem, size);

	r->mem = mem;
	return r;
}

void row_free(struct row *r)
{
	struct arena mem;

	if (!r)
		return;
	mem = r->mem;		/* lies in the memory that goes */
	arena_free(&mem);
}

void table_init(struct table *t, const char *name)
{
	*t = (struct table){ .name = name };
	t->dirty_tail = &t->dirty;
}

void table_fini(struct table *t)
{
	for (unsigned i = 0; i < t->bucket_count; i++) {
		for (struct row *r = t->buckets[i], *next; r; r = next) {
			next = r->hash_next;
			row_free(r);
		}
	}
	free(t->buckets);
	table_init(t, t->name);
}

static uint32_t hash_of(const char *key)
{
	return fnv32a(key, strlen(key));
}

static unsigned bucket_of(const struct table *t, uint32_t hash)
{
	return hash & (t->bucket_count - 1);
}

/* What points to the row of key, or to the NULL at the end of its bucket; gone rows count. */
static struct row **place_of(const struct table *t, const char *key, uint32_t hash)
{
	struct row **at = &t->buckets[bucket_of(t, hash)];

	while (*at && ((*at)->hash != hash || strcmp((*at)->key, key) != 0))
		at = &(*at)->hash_next;
	return at;
}

static void grow(struct table *t)
{
	unsigned old_count = t->bucket_count;
	struct row **old = t->buckets;

	t->bucket_count = old_count ? old_count * 2 : BUCKETS_FIRST;
	t->buckets = xcalloc(t->bucket_count, sizeof *t->buckets);
	for (unsigned i = 0; i < old_count; i++) {
		for (struct row *r = old[i], *next; r; r = next) {
			struct row **to = &t->buckets[bucket_of(t, r->hash)];

			next = r->hash_next;
			r->hash_next = *to;
			*to = r;
		}
	}
	free(old);
}

static void dirty_append(struct table *t, struct row *r)
{
	if (r->dirty)
		return;
	r->dirty = true;
	r->dirty_next = NULL;
	r->dirty_at = t->dirty_tail;
	*t->dirty_tail = r;
	t->dirty_tail = &r->dirty_next;
}

/* r takes old's place in its bucket and, if it is there, in the dirty list. */
static void take_place(struct table *t, struct row **at, struct row *r)
{
	struct row *old = *at;

	r->hash_next = old->hash_next;
	*at = r;
	r->dirty = old->dirty;
	if (!old->dirty)
		return;
	r->dirty_next = old->dirty_next;
	r->dirty_at = old->dirty_at;
	*r->dirty_at = r;
	if (r->dirty_next)
		r->dirty_next->dirty_at = &r->dirty_next;
	else
		t->dirty_tail = &r->dirty_next;
}

bool table_put(struct table *t, struct row *r)
{
	struct row **at, *old;
	bool changed;

	if (t->count >= t->bucket_count)
		grow(t);
	r->table = t;
	r->hash = hash_of(r->key);
	r->mark = t->generation;
	r->dirty = r->gone = false;
	at = place_of(t, r->key, r->hash);
	old = *at;
	changed = !old || old->gone || old->digest != r->digest;
	if (old) {
		take_place(t, at, r);
	} else {
		r->hash_next = NULL;
		*at = r;
	}
	if (!old || old->gone)
		t->count++;
	if (changed)
		dirty_append(t, r);
	row_free(old);
	return changed;
}

static void delete(struct table *t, struct row *r)
{
	r->gone = true;
	t->count--;
	dirty_append(t, r);
}

bool table_del(struct table *t, const char *key)
{
	struct row *r = table_find(t, key);

	if (r)
		delete(t, r);
	return r != NULL;
}

void *table_find(const struct table *t, const char *key)
{
	struct row *r = t->bucket_count ? *place_of(t, key, hash_of(key)) : NULL;

	return r && !r->gone ? r : NULL;
}

void table_touch(struct table *t, struct row *r)
{
	dirty_append(t, r);
}

void table_clean(struct table *t)
{
	for (struct row *r = t->dirty, *next; r; r = next) {
		next = r->dirty_next;
		r->dirty = false;
		if (r->gone) {
			*place_of(t, r->key, r->hash) = r->hash_next;
			row_free(r);
		}
	}
	t->dirty = NULL;
	t->dirty_tail = &t->dirty;
}

void table_begin(struct table *t)
{
	t->generation++;
}

void table_end(struct table *t)
{
	struct row *r;

	table_each(t, r) {
		if (r->mark != t->generation)
			delete(t, r);
	}
}

/* The first row from bucket i on. */
static struct row *first_from(const struct table *t, unsigned i)
{
	for (; i < t->bucket_count; i++) {
		for (struct row *r = t->buckets[i]; r; r = r->hash_next) {
			if (!r->gone)
				return r;
		}
	}
	return NULL;
}

struct row *table_first(const struct table *t)
{
	return first_from(t, 0);
}

struct row *table_next(const struct row *r)
{
	for (struct row *next = r->hash_next; next; next = next->hash_next) {
		if (!next->gone)
			return next;
	}
	return first_from(r->table, bucket_of(r->table, r->hash) + 1);
}
