#include "ipam/block.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/str.h"
#include "base/util.h"
#include "ipam/cooldown.h"
#include "store/kind.h"

/* What an assignment adds to a copy: one attribute and its texts. */
enum { BLOCK_GROWTH = 1024 };

/* Room for one attribute an ordinal: a handle that holds two shares one. */
static void arrays_alloc(struct block *b)
{
	struct arena *mem = &b->row.mem;

	b->allocations = arena_alloc(mem, b->size * sizeof *b->allocations);
	b->unallocated = arena_alloc(mem, b->size * sizeof *b->unallocated);
	b->sequences = arena_alloc(mem, b->size * sizeof *b->sequences);
	b->attributes = arena_alloc(mem, (b->size > b->attribute_count ? b->size : b->attribute_count) * sizeof *b->attributes);
}

static const char *rfc3339(struct arena *mem, int64_t wall)
{
	struct utc t = utc_of(wall);
	char text[32];

	snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02dZ", t.year, t.month, t.day, t.hour, t.minute, t.second);
	return arena_str(mem, text);
}

/* As Go's time.String() prints it in UTC, which is what Calico writes: fraction without trailing zeros. */
static const char *go_time(struct arena *mem, int64_t wall)
{
	struct utc t = utc_of(wall);
	char fraction[16], text[64];
	int n = snprintf(fraction, sizeof fraction, ".%09d", (int)(wall % 1000000000));

	while (n > 0 && (fraction[n - 1] == '0' || fraction[n - 1] == '.'))
		fraction[--n] = '\0';
	snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d%s +0000 UTC", t.year, t.month, t.day, t.hour, t.minute,
		 t.second, fraction);
	return arena_str(mem, text);
}

unsigned block_size(const struct prefix *cidr)
{
	return 1u << (addr_bits(&cidr->addr) - cidr->len);
}

struct block *block_new(const struct prefix *cidr, const char *node, int64_t wall, unsigned size)
{
	struct block *b = row_new(sizeof *b);
	struct arena *mem = &b->row.mem;
	char name[64], affinity[280];

	snprintf(affinity, sizeof affinity, "host:%s", node);
	b->row.key = arena_str(mem, prefix_text(cidr).s);
	block_name(name, cidr);
	b->meta.namespace = "";
	b->meta.name = arena_str(mem, name);
	b->meta.uid = "";
	b->cidr = *cidr;
	b->affinity = arena_str(mem, affinity);
	b->node = b->affinity + strlen("host:");
	b->affinity_claim_time = rfc3339(mem, wall);
	b->size = size;
	b->sequence = wall;
	arrays_alloc(b);
	for (unsigned i = 0; i < b->size; i++) {
		b->allocations[i] = BLOCK_FREE;
		b->unallocated[b->free_count++] = i;
	}
	return b;
}

static void meta_copy(struct arena *mem, struct meta *to, const struct meta *from)
{
	*to = *from;
	to->namespace = arena_str(mem, from->namespace);
	to->name = arena_str(mem, from->name);
	to->uid = arena_str(mem, from->uid);
	to->labels = labels_copy(mem, from->labels, from->label_count);
	to->annotations = labels_copy(mem, from->annotations, from->annotation_count);
}

/* Drops attribute n: the ordinals that point above it move down by one. */
static void attribute_drop(struct block *b, unsigned n)
{
	memmove(b->attributes + n, b->attributes + n + 1, (b->attribute_count - n - 1) * sizeof *b->attributes);
	b->attribute_count--;
	for (unsigned i = 0; i < b->size; i++)
		if (b->allocations[i] > (int)n)
			b->allocations[i]--;
}

static bool attribute_used(const struct block *b, unsigned n)
{
	for (unsigned i = 0; i < b->size; i++)
		if (b->allocations[i] == (int)n)
			return true;
	return false;
}

static void ordinal_free(struct block *b, unsigned ordinal)
{
	int attribute = b->allocations[ordinal];

	b->allocations[ordinal] = BLOCK_FREE;
	b->sequences[ordinal] = 0;
	b->unallocated[b->free_count++] = ordinal;
	if (!attribute_used(b, attribute))
		attribute_drop(b, attribute);
}

/* Others may leave attributes that no ordinal points at: without them there is one at most for each ordinal. */
static void attributes_prune(struct block *b)
{
	for (unsigned n = b->attribute_count; n-- > 0; )
		if (!attribute_used(b, n))
			attribute_drop(b, n);
}

void block_sweep(struct block *b, unsigned cooldown_s, int64_t wall)
{
	for (unsigned i = 0; i < b->size; i++) {
		const struct block_attribute *a = block_attribute(b, i);

		if (a && is_released(a) && cooldown_is_over(a, cooldown_s, wall))
			ordinal_free(b, i);
	}
}

struct block *block_copy(const struct block *from)
{
	struct block *b = row_new(sizeof *b);
	struct arena *mem = &b->row.mem;
	struct row row;

	arena_reserve(mem, arena_used(&from->row.mem) + BLOCK_GROWTH);
	row = b->row;
	*b = *from;
	b->row = row;
	b->checked = true;
	b->row.key = arena_str(mem, from->row.key);
	meta_copy(mem, &b->meta, &from->meta);
	b->affinity = arena_str(mem, from->affinity);
	b->node = from->node ? b->affinity + (from->node - from->affinity) : NULL;
	b->affinity_claim_time = arena_str(mem, from->affinity_claim_time);
	arrays_alloc(b);
	memcpy(b->allocations, from->allocations, b->size * sizeof *b->allocations);
	memcpy(b->unallocated, from->unallocated, b->free_count * sizeof *b->unallocated);
	memcpy(b->sequences, from->sequences, b->size * sizeof *b->sequences);
	for (unsigned i = 0; i < b->attribute_count; i++) {
		const struct block_attribute *a = &from->attributes[i];

		b->attributes[i] = (struct block_attribute){ arena_str(mem, a->json), arena_str(mem, a->handle), arena_str(mem, a->node),
			arena_str(mem, a->pod), arena_str(mem, a->namespace), arena_str(mem, a->type), arena_str(mem, a->released_at), a->handle_hash, a->digest };
	}
	attributes_prune(b);
	return b;
}

/* Calico's shape: keys of secondary sorted, as Go's encoder puts them. */
static void attribute_fill(struct arena *mem, struct block_attribute *a, const struct block_owner *owner)
{
	autostr struct str text = { 0 };
	struct json_out o = { .to = &text };

	*a = (struct block_attribute){ .handle = arena_str(mem, owner->handle), .node = arena_str(mem, owner->node),
		.pod = arena_str(mem, owner->pod), .namespace = arena_str(mem, owner->namespace), .type = arena_str(mem, owner->type) };
	json_open(&o, NULL, '{');
	json_put_string(&o, "handle_id", owner->handle);
	json_open(&o, "secondary", '{');
	if (owner->namespace)
		json_put_string(&o, "namespace", owner->namespace);
	json_put_string(&o, "node", owner->node);
	if (owner->pod)
		json_put_string(&o, "pod", owner->pod);
	if (owner->wall_ns)
		json_put_string(&o, "timestamp", go_time(mem, owner->wall_ns));
	if (owner->type)
		json_put_string(&o, "type", owner->type);
	json_close(&o, '}');
	json_close(&o, '}');
	a->json = arena_str(mem, str_text(&text));
	block_attribute_seal(a);
}

/* The attribute behind the last one is a new one, unless there is one like it: ordinals share them, as Calico's do. */
static int16_t attribute_take(struct block *b)
{
	const struct block_attribute *fresh = &b->attributes[b->attribute_count];

	for (unsigned n = 0; n < b->attribute_count; n++)
		if (b->attributes[n].digest == fresh->digest && strcmp(b->attributes[n].json, fresh->json) == 0)
			return (int16_t)n;
	return (int16_t)b->attribute_count++;
}

/* The free ordinal at place n of the FIFO. */
static int assign_nth(struct block *b, unsigned n, const struct block_owner *owner)
{
	unsigned ordinal = b->unallocated[n];

	memmove(b->unallocated + n, b->unallocated + n + 1, (--b->free_count - n) * sizeof *b->unallocated);
	b->lends |= !b->node || strcmp(b->node, owner->node) != 0;
	attribute_fill(&b->row.mem, &b->attributes[b->attribute_count], owner);
	b->allocations[ordinal] = attribute_take(b);
	b->sequences[ordinal] = b->sequence++;
	return ordinal;
}

/* The place of the first free ordinal that is not barred, or free_count. */
static unsigned first_free(const struct block *b, block_bar *barred, const void *ctx)
{
	unsigned n = 0;

	while (n < b->free_count && barred) {
		struct addr a = block_address(b, b->unallocated[n]);

		if (!barred(ctx, &a))
			break;
		n++;
	}
	return n;
}

int block_assign(struct block *b, const struct block_owner *owner, block_bar *barred, const void *ctx)
{
	unsigned n = first_free(b, barred, ctx);

	return n < b->free_count && b->attribute_count < b->size ? assign_nth(b, n, owner) : -ENOSPC;
}

bool block_has_room(const struct block *b, block_bar *barred, const void *ctx, unsigned cooldown_s)
{
	if (first_free(b, barred, ctx) < b->free_count)
		return true;
	for (unsigned i = 0; i < b->size; i++) {
		const struct block_attribute *a = block_attribute(b, i);
		struct addr ip = block_address(b, i);

		if (a && is_released(a) && cooldown_is_over(a, cooldown_s, wall_ns()) && !(barred && barred(ctx, &ip)))
			return true;
	}
	return false;
}

int block_assign_at(struct block *b, unsigned ordinal, const struct block_owner *owner)
{
	const struct block_attribute *a = block_attribute(b, ordinal);

	if (a && block_reserves(a, owner->node)) {
		ordinal_free(b, ordinal);
		a = NULL;
	}
	if (b->attribute_count == b->size && !a)
		return -ENOSPC;
	if (a)
		return a->handle && strcmp(a->handle, owner->handle) == 0 ? (int)ordinal : -EADDRINUSE;
	for (unsigned n = 0; n < b->free_count; n++)
		if (b->unallocated[n] == ordinal)
			return assign_nth(b, n, owner);
	return -EADDRINUSE;
}

/* Instead of an owner the ordinal has the moment: not free, and nobody's. */
static void ordinal_rest(struct block *b, unsigned ordinal, int64_t wall)
{
	struct block_attribute *a = &b->attributes[b->attribute_count];
	char json[64];

	*a = (struct block_attribute){ .released_at = rfc3339(&b->row.mem, wall) };
	snprintf(json, sizeof json, "{\"releasedAt\":\"%s\"}", a->released_at);
	a->json = arena_str(&b->row.mem, json);
	block_attribute_seal(a);
	b->allocations[ordinal] = attribute_take(b);
}

bool block_release(struct block *b, unsigned ordinal, const char *handle, int64_t rests_since)
{
	const struct block_attribute *a = block_attribute(b, ordinal);

	if (!a || !a->handle || strcmp(a->handle, handle) != 0)
		return false;
	ordinal_free(b, ordinal);
	if (rests_since) {
		b->free_count--;		/* where ordinal_free() put it */
		ordinal_rest(b, ordinal, rests_since);
	}
	b->sequence++;
	return true;
}

bool block_reserves(const struct block_attribute *a, const char *node)
{
	return a->handle && str_prefix(a->handle, RESERVE_PREFIX) && strcmp(a->handle + strlen(RESERVE_PREFIX), node) == 0;
}

bool block_concerns(const struct block *b, const char *node)
{
	return !b->node || b->lends || strcmp(b->node, node) == 0;
}

int block_find(const struct block *b, const char *handle, unsigned from)
{
	uint32_t hash = fnv32a(handle, strlen(handle));

	for (unsigned i = from; i < b->size; i++) {
		const struct block_attribute *a = block_attribute(b, i);

		if (a && a->handle && a->handle_hash == hash && strcmp(a->handle, handle) == 0)
			return i;
	}
	return -1;
}

const struct block_attribute *block_attribute(const struct block *b, unsigned ordinal)
{
	if (ordinal >= b->size || b->allocations[ordinal] < 0 || b->allocations[ordinal] >= (int)b->attribute_count)
		return NULL;
	return &b->attributes[b->allocations[ordinal]];
}

struct addr block_address(const struct block *b, unsigned ordinal)
{
	return addr_plus(&b->cidr.addr, ordinal);
}

int block_ordinal(const struct block *b, const struct addr *a)
{
	return prefix_has(&b->cidr, a) && addr_distance(&b->cidr.addr, a) < b->size ? (int)addr_distance(&b->cidr.addr, a) : -1;
}

void block_count(const struct block *b, unsigned *used, unsigned *reserved)
{
	*used = *reserved = 0;
	for (unsigned i = 0; i < b->size; i++) {
		const struct block_attribute *a = block_attribute(b, i);

		if (!a || is_released(a))
			continue;
		if (a->type || (a->handle && str_prefix(a->handle, RESERVE_PREFIX)))
			++*reserved;
		else
			++*used;
	}
}
