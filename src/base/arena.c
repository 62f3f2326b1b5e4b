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

/* size bytes at the next multiple of align. */
static char *take(struct arena *a, size_t size, size_t align)
{
	size_t at = a->chunk ? (a->chunk->used + align - 1) & ~(align - 1) : 0;

	if (size > SIZE_MAX / 4)
		log_die("memory", "no %zu bytes left", size);
	if (!a->chunk || at > a->chunk->size || a->chunk->size - at < size) {
		a->chunk = chunk_new(a->chunk, size);
		at = 0;
	}
	a->chunk->used = at + size;
	return a->chunk->data + at;
}

void *arena_alloc(struct arena *a, size_t size)
{
	return memset(take(a, size, ALIGN), 0, size);
}

char *arena_strn(struct arena *a, const char *text, size_t len)
{
	char *copy = take(a, len + 1, 1);

	if (len)
		memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

void arena_reserve(struct arena *a, size_t size)
{
	if (!a->chunk || a->chunk->size - a->chunk->used < size)
		a->chunk = chunk_new(a->chunk, size);
}

size_t arena_used(const struct arena *a)
{
	size_t used = 0;

	for (const struct arena_chunk *c = a->chunk; c; c = c->older)
		used += c->used;
	return used;
}

char *arena_str(struct arena *a, const char *text)
{
	return text ? arena_strn(a, text, strlen(text)) : NULL;
}

void arena_wipe(struct arena *a)
{
	for (struct arena_chunk *c = a->chunk; c; c = c->older)
		explicit_bzero(c->data, c->used);
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
