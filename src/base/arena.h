#ifndef BASE_ARENA_H
#define BASE_ARENA_H
/*
 * Memory that is freed as one: a row and its strings, or the scratch of one
 * turn.  What arena_alloc() returns is zeroed and aligned for any type (texts
 * are not), and lives until arena_free() (or arena_reset(), which keeps the first chunk).
 */
#include <stddef.h>

struct arena {
	struct arena_chunk *chunk;
	struct arena_share *shared;		/* what others point into too: arena_free() takes one from its users */
};
/* At the beginning of what is freed with its last user. */
struct arena_share { unsigned users; void (*free)(struct arena_share *s); };

void *arena_alloc(struct arena *a, size_t size);
char *arena_strn(struct arena *a, const char *text, size_t len);	/* terminated copy */
char *arena_str(struct arena *a, const char *text);	/* of NULL: NULL */
/* Room for size bytes in one piece, and for no more; what all that was given so far takes. */
void arena_reserve(struct arena *a, size_t size);
size_t arena_used(const struct arena *a);
void arena_reset(struct arena *a);
void arena_free(struct arena *a);
void arena_trim(void);			/* frees what is kept for the next arena */
void arena_wipe(struct arena *a);	/* zeroes all that was given, which may be secret; arena_free() follows */

#endif
