#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

/*
 * A list of chunks, the newest first.  The first one has a little more than
 * it was asked for (a row's strings follow the row); later ones double.
 *
 * One chunk of some pages that was given back is kept: a block's row is replaced by
 * its successor at each change, and the allocator maps and unmaps what is that large.
 */
enum { CHUNK_FIRST = 64, CHUNK_STEP_MAX = 64 * 1024, ALIGN = _Alignof(max_align_t), SPARE_UNIT = 4096, SPARE_MAX = 16384 };

struct arena_chunk {
	struct arena_chunk *older;
	uint32_t size, used;
	_Alignas(max_align_t) char data[];
};

static struct arena_chunk *spare;

static struct arena_chunk *chunk_get(size_t size)
{
	struct arena_chunk *c = spare;

	if (size > UINT32_MAX)
		log_die("memory", "no %zu bytes left", size);
	if (size < SPARE_UNIT || size > SPARE_MAX)
		c = NULL;
	else
		size = (size + SPARE_UNIT - 1) & ~(size_t)(SPARE_UNIT - 1);
	if (c && c->size >= size && c->size < 2 * size) {
		spare = NULL;
		return c;
	}
	c = xrealloc(NULL, sizeof *c + size);
	c->size = (uint32_t)size;
	return c;
}

static void chunk_put(struct arena_chunk *c)
{
	if (spare || c->size < SPARE_UNIT || c->size > SPARE_MAX)
		free(c);
	else
		spare = c;
}

static void chunk_add(struct arena *a, size_t size)
{
	struct arena_chunk *c = chunk_get(size);

	c->older = a->chunk;
	c->used = 0;
	a->chunk = c;
}

static size_t step(const struct arena *a)
{
	return !a->chunk || a->chunk->size < CHUNK_FIRST ? CHUNK_FIRST : a->chunk->size < CHUNK_STEP_MAX ? a->chunk->size : CHUNK_STEP_MAX;
}

void arena_trim(void)
{
	free(spare);
	spare = NULL;
}

/* size bytes at the next multiple of align. */
static char *take(struct arena *a, size_t size, size_t align)
{
	size_t at = a->chunk ? (a->chunk->used + align - 1) & ~(align - 1) : 0;

	if (size > SIZE_MAX / 4)
		log_die("memory", "no %zu bytes left", size);
	if (!a->chunk || at > a->chunk->size || a->chunk->size - at < size) {
		chunk_add(a, size + step(a));
		at = 0;
	}
	a->chunk->used = (uint32_t)(at + size);
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
		chunk_add(a, size);
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
		chunk_put(c);
	}
	if (a->chunk)
		a->chunk->used = 0;
}

void arena_free(struct arena *a)
{
	arena_reset(a);
	if (a->chunk)
		chunk_put(a->chunk);
	if (a->shared && !--a->shared->users)
		a->shared->free(a->shared);
	*a = (struct arena){ 0 };
}
