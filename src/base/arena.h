#ifndef BASE_ARENA_H
#define BASE_ARENA_H
/*
 * Memory that is freed as one: a row and its strings, or the scratch of one
 * turn.  What arena_alloc() returns is zeroed and aligned for any type, and
 * lives until arena_free() (or arena_reset(), which keeps the first chunk).
 */
#include <stddef.h>

struct arena {
	struct arena_chunk *chunk;
};

void *arena_alloc(struct arena *a, size_t size);
char *arena_strn(struct arena *a, const char *text, size_t len);	/* terminated copy */
char *arena_str(struct arena *a, const char *text);
void arena_reset(struct arena *a);
void arena_free(struct arena *a);

#endif
