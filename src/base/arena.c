#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

/*
 * A list of chunks, the newest first.  The first one has a little more than
 * it was asked for (a row's strings follow the row); later ones double.
 */
enum { CHUNK_FIRST = 256, CHUNK_STEP_MAX = 64 * 1024, ALIGN = _Alignof(max_align_t) };

struct arena_chunk {
	struct arena_chunk *older;
	size_t size, used;
	_Alignas(max_align_t) char data[];
};

static struct arena_chunk *chunk_new(struct arena_chunk *older, size_t size)
{
	size_t step = !older ? CHUNK_FIRST : older->size < CHUNK_STEP_MAX ? older->size : CHUNK_STEP_MAX;
	struct arena_chunk *c = xrealloc(NULL, sizeof *c + size + step);

	*c = (struct arena_chunk){ .older = older, .size = size + step };
	return c;
}

void *arena_alloc(struct arena *a, size_t size)
{
	char *p;

	if (size > SIZE_MAX / 4)
		log_die("memory", "no %zu bytes left", size);
	size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (!a->chunk || a->chunk->size - a->chunk->used < size)
		a->chunk = chunk_new(a->chunk, size);
	p = a->chunk->data + a->chunk->used;
	a->chunk->used += size;
	return memset(p, 0, size);
}

char *arena_strn(struct arena *a, const char *text, size_t len)
{
	char *copy = arena_alloc(a, len + 1);

	if (len)
		memcpy(copy, text, len);
	return copy;
}

char *arena_str(struct arena *a, const char *text)
{
	return arena_strn(a, text, strlen(text));
}

void arena_reset(struct arena *a)
{
	while (a->chunk && a->chunk->older) {
		struct arena_chunk *c = a->chunk;

		a->chunk = c->older;
		free(c);
	}
	if (a->chunk)
		a->chunk->used = 0;
}

void arena_free(struct arena *a)
{
	arena_reset(a);
	free(a->chunk);
	a->chunk = NULL;
}
