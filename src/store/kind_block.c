/*
 * IPAMBlock, the one truth about addresses.
 *
 * allocations[n] is null or an index into attributes[]; what is null stands in
 * unallocated[], oldest first.  Where the two disagree allocations wins: an
 * ordinal that is taken is dropped from the list, one that is free and missing
 * goes to its end.  Entries of attributes are kept as the text they came in,
 * so that fields which are not ours survive our next write.
 */
#include "store/kind_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/util.h"

enum { HOST_BITS_MAX = 12 };		/* 4096 addresses, Calico's largest block */

void block_name(char out[64], const struct prefix *cidr)
{
	str_copy(out, 64, prefix_text(cidr).s);
	for (char *p = out; *p; p++) {
		if (*p == '.' || *p == ':' || *p == '/')
			*p = '-';
	}
}

bool block_name_parse(struct prefix *cidr, const char *name)
{
	char text[64], again[64];

	/* Five groups are an IPv4 block, but so may a few IPv6 groups be: try both, and see which leads back. */
	for (const char *separator = ".:"; *separator; separator++) {
		char *last = NULL;

		if (!str_copy(text, sizeof text, name))
			return false;
		for (char *p = text; *p; p++) {
			if (*p != '-')
				continue;
			last = p;
			*p = *separator;
		}
		if (!last)
			return false;
		*last = '/';
		if (prefix_parse(cidr, text, NULL) < 0)
			continue;
		block_name(again, cidr);
		if (strcmp(again, name) == 0)
			return true;
	}
	return false;
}

/* --- reading --- */

struct block_spec {
	struct prefix cidr;
	const char *affinity, *claim_time;
	json_value allocations, unallocated, attributes, sequences;
	int64_t sequence;
	bool deleted, deleted_capital;
};

#define FIELD(name, member, read) { "spec." name, offsetof(struct block_spec, member), read, false }
static const struct json_field spec_fields[] = {
	{ "spec.cidr", offsetof(struct block_spec, cidr), json_read_prefix, true },
	FIELD("affinity", affinity, json_read_string),
	FIELD("affinityClaimTime", claim_time, json_read_string),
	FIELD("allocations", allocations, read_value),
	FIELD("unallocated", unallocated, read_value),
	FIELD("attributes", attributes, read_value),
	FIELD("sequenceNumber", sequence, json_read_int64),
	FIELD("sequenceNumberForAllocation", sequences, read_value),
	FIELD("deleted", deleted, read_loose_bool),
	FIELD("Deleted", deleted_capital, read_loose_bool),
};

#define ATTRIBUTE(name, member) { name, offsetof(struct block_attribute, member), json_read_string, false }
static const struct json_field attribute_fields[] = {
	ATTRIBUTE("handle_id", handle), ATTRIBUTE("releasedAt", released_at),
	ATTRIBUTE("secondary.namespace", namespace), ATTRIBUTE("secondary.node", node), ATTRIBUTE("secondary.pod", pod),
	ATTRIBUTE("secondary.type", type),
};
enum { SECONDARY = 2 };		/* from here on */

void block_attribute_seal(struct block_attribute *a)
{
	a->handle_hash = a->handle ? fnv32a(a->handle, strlen(a->handle)) : 0;
	a->digest = digest_text(0, a->json);
}

static int read_attribute(struct json_ctx *c, json_value v, void *item)
{
	struct block_attribute *a = item;
	size_t len;
	const char *raw = json_raw(c->j, v, &len);

	a->json = arena_strn(c->mem, raw, len);
	if (json_fields(c, v, attribute_fields, ARRAY_SIZE(attribute_fields), a) < 0)
		return -EINVAL;
	block_attribute_seal(a);
	return 0;
}

static int read_attributes(struct json_ctx *c, json_value v, struct block *b)
{
	void *items;

	if (v < 0)
		return 0;
	if (json_array(c, v, sizeof *b->attributes, read_attribute, &items, &b->attribute_count) < 0)
		return -EINVAL;
	b->attributes = items;
	return b->attribute_count > INT16_MAX ? json_refuse(c, v, "%u entries", b->attribute_count) : 0;
}

static int read_number(struct json_ctx *c, json_value v, int low, unsigned limit, const char *what, int *out)
{
	int64_t n;

	if (json_read_int64(c, v, &n) < 0)
		return -EINVAL;
	if (n < low || n >= (int64_t)limit)
		return json_refuse(c, v, "%lld is no %s", (long long)n, what);
	*out = (int)n;
	return 0;
}

/* The arrays of a block while they are read. */
struct ordinals {
	struct block *b;
	unsigned next;
	bool listed[1 << HOST_BITS_MAX];
};

static int read_allocation(struct json_ctx *c, json_value v, void *field)
{
	struct ordinals *o = field;
	int n = BLOCK_FREE;

	if (json_type(c->j, v) != JSON_NULL &&
	    read_number(c, v, BLOCK_FREE, o->b->attribute_count, "index of an attribute", &n) < 0)
		return -EINVAL;
	o->b->allocations[o->next++] = (int16_t)n;
	return 0;
}

static int read_allocations(struct json_ctx *c, json_value v, struct ordinals *o)
{
	unsigned count = json_length(c->j, v);

	if (count && count != o->b->size)
		return json_refuse(c, v, "%u entries, the block has %u addresses", count, o->b->size);
	return v < 0 ? 0 : json_elements(c, v, read_allocation, o);
}

/* Each ordinal once, and only what is free. */
static void free_put(struct ordinals *o, unsigned ordinal)
{
	if (o->listed[ordinal] || o->b->allocations[ordinal] != BLOCK_FREE)
		return;
	o->listed[ordinal] = true;
	o->b->unallocated[o->b->free_count++] = (uint16_t)ordinal;
}

static int read_free(struct json_ctx *c, json_value v, void *field)
{
	struct ordinals *o = field;
	int n = 0;

	if (read_number(c, v, 0, o->b->size, "ordinal of this block", &n) < 0)
		return -EINVAL;
	free_put(o, (unsigned)n);
	return 0;
}

static int read_unallocated(struct json_ctx *c, json_value v, struct ordinals *o)
{
	if (v >= 0 && json_elements(c, v, read_free, o) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < o->b->size; i++)
		free_put(o, i);
	return 0;
}

static int read_sequences(struct json_ctx *c, json_value v, struct block *b)
{
	const struct json *j = c->j;
	char text[16];

	if (v >= 0 && json_type(j, v) != JSON_OBJECT)
		return json_refuse(c, v, "want an object");
	json_each(j, v, name) {
		uint64_t ordinal;
		size_t len;
		const char *raw = json_raw(j, name, &len);

		snprintf(text, sizeof text, "%.*s", len > 2 && len < 10 ? (int)len - 2 : 0, raw + 1);
		if (str_u64(text, b->size - 1, &ordinal) < 0)
			return json_refuse(c, name, "%s is no ordinal of this block", text);
		if (json_read_int64(c, json_member(j, name), &b->sequences[ordinal]) < 0)
			return -EINVAL;
	}
	return 0;
}

static void set_affinity(struct block *b, const struct block_spec *s)
{
	static const char host[] = "host:";

	b->affinity = s->affinity && *s->affinity ? s->affinity : NULL;
	b->node = b->affinity && str_prefix(b->affinity, host) ? b->affinity + strlen(host) : NULL;
	b->affinity_claim_time = s->claim_time && *s->claim_time ? s->claim_time : NULL;
}

static void set_lends(struct block *b)
{
	for (unsigned i = 0; i < b->attribute_count; i++) {
		const char *node = b->attributes[i].node;

		b->lends |= !node || !b->node || strcmp(node, b->node) != 0;
	}
}

static int set_cidr(struct json_ctx *c, json_value object, const struct prefix *cidr, struct block *b)
{
	struct addr_text text = prefix_text(cidr);
	unsigned host_bits = addr_bits(&cidr->addr) - cidr->len;

	if (host_bits > HOST_BITS_MAX)
		return json_refuse_member(c, object, "spec.cidr", "%s: more than %d addresses", text.s, 1 << HOST_BITS_MAX);
	if (strcmp(text.s, b->row.key) != 0)
		return json_refuse_member(c, object, "spec.cidr", "%s: metadata.name says %s", text.s, b->row.key);
	b->cidr = *cidr;
	b->size = 1u << host_bits;
	return 0;
}

int block_decode(struct json_ctx *c, json_value object, struct row *row)
{
	struct block *b = container_of(row, struct block, row);
	struct block_spec s = { .allocations = -1, .unallocated = -1, .attributes = -1, .sequences = -1 };
	struct ordinals o = { .b = b };

	if (json_fields(c, object, spec_fields, ARRAY_SIZE(spec_fields), &s) < 0 || set_cidr(c, object, &s.cidr, b) < 0)
		return -EINVAL;
	b->allocations = arena_alloc(c->mem, b->size * sizeof *b->allocations);
	b->unallocated = arena_alloc(c->mem, b->size * sizeof *b->unallocated);
	b->sequences = arena_alloc(c->mem, b->size * sizeof *b->sequences);
	memset(b->allocations, 0xff, b->size * sizeof *b->allocations);	/* BLOCK_FREE */
	b->sequence = s.sequence;
	b->deleted = s.deleted || s.deleted_capital;
	set_affinity(b, &s);
	if (read_attributes(c, s.attributes, b) < 0 || read_allocations(c, s.allocations, &o) < 0 ||
	    read_unallocated(c, s.unallocated, &o) < 0 || read_sequences(c, s.sequences, b) < 0)
		return -EINVAL;
	set_lends(b);
	return 0;
}

/* Who has which address; not the sequence numbers, nor in what order the free ones will go. */
uint64_t block_digest(const struct row *row)
{
	const struct block *b = container_of(row, struct block, row);
	uint64_t h = digest_bytes(b->deleted | b->meta.deleting << 1, &b->cidr, sizeof b->cidr);

	h = digest_text(h, b->affinity);
	for (unsigned i = 0; i < b->size; i++)
		h = digest_number(h, (uint64_t)b->allocations[i]);
	for (unsigned i = 0; i < b->attribute_count; i++)
		h = digest_number(h, b->attributes[i].digest);
	return h;
}

/* --- writing --- */

static void put_attribute(struct json_out *o, const struct block_attribute *a)
{
	if (a->json) {
		json_put_raw(o, NULL, a->json, strlen(a->json));
		return;
	}
	json_open(o, NULL, '{');
	fields_encode(o, attribute_fields, SECONDARY, a);
	if (a->namespace || a->node || a->pod || a->type) {
		json_open(o, "secondary", '{');
		fields_encode(o, attribute_fields + SECONDARY, ARRAY_SIZE(attribute_fields) - SECONDARY, a);
		json_close(o, '}');
	}
	json_close(o, '}');
}

static void put_sequences(struct json_out *o, const struct block *b)
{
	json_open(o, "sequenceNumberForAllocation", '{');
	for (unsigned i = 0; i < b->size; i++) {
		char text[16];

		if (!b->sequences[i])
			continue;
		snprintf(text, sizeof text, "%u", i);
		json_put_int(o, text, b->sequences[i]);
	}
	json_close(o, '}');
}

void block_encode(struct json_out *o, const struct row *row)
{
	const struct block *b = container_of(row, struct block, row);

	json_open(o, "spec", '{');
	json_put_string(o, "cidr", prefix_text(&b->cidr).s);
	if (b->affinity)
		json_put_string(o, "affinity", b->affinity);
	if (b->affinity_claim_time)
		json_put_string(o, "affinityClaimTime", b->affinity_claim_time);
	json_put_bool(o, "strictAffinity", false);	/* nobody reads it, the schema asks for it */
	json_open(o, "allocations", '[');
	for (unsigned i = 0; i < b->size; i++) {
		if (b->allocations[i] == BLOCK_FREE)
			json_put_null(o, NULL);
		else
			json_put_int(o, NULL, b->allocations[i]);
	}
	json_close(o, ']');
	json_open(o, "unallocated", '[');
	for (unsigned i = 0; i < b->free_count; i++)
		json_put_int(o, NULL, b->unallocated[i]);
	json_close(o, ']');
	json_open(o, "attributes", '[');
	for (unsigned i = 0; i < b->attribute_count; i++)
		put_attribute(o, &b->attributes[i]);
	json_close(o, ']');
	json_put_int(o, "sequenceNumber", b->sequence);
	put_sequences(o, b);
	json_put_bool(o, "deleted", b->deleted);
	json_close(o, '}');
}
