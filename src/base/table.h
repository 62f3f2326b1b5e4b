#ifndef BASE_TABLE_H
#define BASE_TABLE_H
/*
 * Keyed rows.  A row is the first member of its struct, lives in its own
 * arena (so its strings go with it), and belongs to the table from
 * table_put() on.  A deleted row stays findable through the dirty list,
 * flagged gone, until table_clean() at the end of the pass; table_find()
 * and table_each() do not see it.
 *
 * Change is judged by the digest that the decoder sets: a put with the same
 * digest replaces the row (versions move on) but dirties nothing.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"

struct row {
	struct arena mem;		/* holds this row and all it points to */
	const char *key;
	struct table *table;
	struct row *hash_next;
	struct row *dirty_next, **dirty_at;	/* dirty_at: what points to this row */
	uint64_t digest;
	uint32_t hash;			/* of key */
	uint32_t mark;			/* generation, see table_begin() */
	bool dirty, gone;
};

struct table {
	const char *name;
	struct row **buckets;
	unsigned bucket_count, count;	/* count: rows that are not gone */
	uint32_t generation;
	struct row *dirty, **dirty_tail;
};

/* A zeroed row of size bytes in an arena of its own. */
void *row_new(size_t size);
void row_free(struct row *r);

void table_init(struct table *t, const char *name);
void table_fini(struct table *t);
/* Takes r; r->key must be set.  Replaces the row of that key.  True when the digest differs (or the row is new). */
bool table_put(struct table *t, struct row *r);
bool table_del(struct table *t, const char *key);	/* false: was not there */
void *table_find(const struct table *t, const char *key);	/* NULL when absent */
void table_touch(struct table *t, struct row *r);	/* dirty, though unchanged */
/* After a pass: the dirty list is empty, gone rows are freed. */
void table_clean(struct table *t);

/* A full list: begin, put what it names, end deletes what it did not name. */
void table_begin(struct table *t);
void table_end(struct table *t);

/* Iteration in hash order; rows may be touched or deleted, not put, meanwhile. */
struct row *table_first(const struct table *t);
struct row *table_next(const struct row *r);
#define table_each(t, var) \
	for ((var) = (void *)table_first(t); (var); (var) = (void *)table_next((const struct row *)(var)))
#define table_each_dirty(t, var) \
	for ((var) = (void *)(t)->dirty; (var); (var) = (void *)((const struct row *)(var))->dirty_next)

#endif
