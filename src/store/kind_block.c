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

#define FIELD(name, member, read) { name, offsetof(struct block_spec, member), read, false }
#define NEED(name, member, read) { name, offsetof(struct block_spec, member), read, true }
static const struct json_field spec_fields[] = {
	NEED("cidr", cidr, json_read_prefix),
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
static const struct json_field secondary_fields[] = {
	ATTRIBUTE("node", node), ATTRIBUTE("pod", pod), ATTRIBUTE("namespace", namespace), ATTRIBUTE("type", type),
};

static int read_secondary(struct json_ctx *c, json_value v, void *field)
{
	return json_fields(c, v, secondary_fields, ARRAY_SIZE(secondary_fields), field);
}

static const struct json_field attribute_fields[] = {
	ATTRIBUTE("handle_id", handle), ATTRIBUTE("releasedAt", released_at),
	{ "secondary", 0, read_secondary, false },
};

static int read_attribute(struct json_ctx *c, json_value v, void *item)
{
	struct block_attribute *a = item;
	const char *raw;
	size_t len;

	if (json_fields(c, v, attribute_fields, ARRAY_SIZE(attribute_fields), a) < 0)
		return -EINVAL;
	if (c->j->marks)		/* the text is no JSON: it is built anew when it is written */
		return 0;
	raw = json_raw(c->j, v, &len);
	a->json = arena_strn(c->mem, raw, len);
	return 0;
}

static int read_attributes(struct json_ctx *c, json_value v, struct block *b)
{
	void *items;

	if (json_array(c, v, sizeof *b->attributes, read_attribute, &items, &b->attribute_count) < 0)
		return -EINVAL;
	b->attributes = items;
	if (b->attribute_count > INT16_MAX)
		return json_refuse(c, v, "%u entries", b->attribute_count);
	return 0;
}

/* An array of whole numbers below limit, null as -1 where that may be, into scratch memory. */
struct numbers { int64_t *n; unsigned count; };

static int read_number(struct json_ctx *c, json_value v, void *item)
{
	int64_t *n = item;

	if (json_type(c->j, v) != JSON_NULL)
		return json_read_int64(c, v, n);
	*n = BLOCK_FREE;
	return 0;
}

static int read_numbers(struct json_ctx *c, json_value v, struct arena *scratch, struct numbers *to)
{
	struct json_ctx in = *c;
	void *items;

	in.mem = scratch;
	if (json_array(&in, v, sizeof *to->n, read_number, &items, &to->count) < 0)
		return -EINVAL;
	to->n = items;
	return 0;
}

static int refuse_number(struct json_ctx *c, json_value v, unsigned i, int64_t n, const char *what)
{
	const struct json *j = c->j;
	json_value el = json_first(j, v);

	for (unsigned at = 0; at < i; at++)
		el = json_next(j, v, el);
	kind_path_push(c, "[%u]", i);
	return json_refuse(c, el, "%lld is no %s", (long long)n, what);
}

static int read_allocations(struct json_ctx *c, json_value v, struct arena *scratch, struct block *b)
{
	struct numbers in;

	if (read_numbers(c, v, scratch, &in) < 0)
		return -EINVAL;
	if (in.count && in.count != b->size)
		return json_refuse(c, v, "%u entries, the block has %u addresses", in.count, b->size);
	for (unsigned i = 0; i < in.count; i++) {
		if (in.n[i] < BLOCK_FREE || in.n[i] >= (int64_t)b->attribute_count)
			return refuse_number(c, v, i, in.n[i], "index of an attribute");
		b->allocations[i] = (int16_t)in.n[i];
	}
	return 0;
}

/* Each ordinal once, and only what is free. */
static void free_put(struct block *b, bool *listed, unsigned ordinal)
{
	if (listed[ordinal] || b->allocations[ordinal] != BLOCK_FREE)
		return;
	listed[ordinal] = true;
	b->unallocated[b->free_count++] = (uint16_t)ordinal;
}

static int read_unallocated(struct json_ctx *c, json_value v, struct arena *scratch, struct block *b)
{
	bool *listed = arena_alloc(scratch, b->size);
	struct numbers in = { 0 };

	if (v >= 0 && read_numbers(c, v, scratch, &in) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < in.count; i++) {
		if (in.n[i] < 0 || in.n[i] >= (int64_t)b->size)
			return refuse_number(c, v, i, in.n[i], "ordinal of this block");
		free_put(b, listed, (unsigned)in.n[i]);
	}
	for (unsigned i = 0; i < b->size; i++)
		free_put(b, listed, i);
	return 0;
}

static int read_sequences(struct json_ctx *c, json_value v, struct block *b)
{
	const struct json *j = c->j;
	char text[16];

	if (json_type(j, v) != JSON_OBJECT)
		return json_refuse(c, v, "want an object");
	for (json_value name = json_first(j, v); name >= 0; name = json_next(j, v, name)) {
		uint64_t ordinal;
		size_t len, path;
		const char *raw = json_raw(j, name, &len);

		snprintf(text, sizeof text, "%.*s", len > 2 && len < 10 ? (int)len - 2 : 0, raw + 1);
		if (str_u64(text, b->size - 1, &ordinal) < 0)
			return json_refuse(c, name, "%s is no ordinal of this block", text);
		path = kind_path_push(c, ".%s", text);
		if (json_read_int64(c, json_member(j, name), &b->sequences[ordinal]) < 0)
			return -EINVAL;
		kind_path_pop(c, path);
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

static int read_arrays(struct json_ctx *c, const struct block_spec *s, struct arena *scratch, struct block *b)
{
	size_t path = kind_path_push(c, ".attributes");
	int rc = s->attributes < 0 ? 0 : read_attributes(c, s->attributes, b);

	if (rc < 0)
		return rc;
	kind_path_pop(c, path);
	kind_path_push(c, ".allocations");
	if (s->allocations >= 0 && read_allocations(c, s->allocations, scratch, b) < 0)
		return -EINVAL;
	kind_path_pop(c, path);
	kind_path_push(c, ".unallocated");
	if (read_unallocated(c, s->unallocated, scratch, b) < 0)
		return -EINVAL;
	kind_path_pop(c, path);
	kind_path_push(c, ".sequenceNumberForAllocation");
	if (s->sequences >= 0 && read_sequences(c, s->sequences, b) < 0)
		return -EINVAL;
	kind_path_pop(c, path);
	return 0;
}

static void set_lends(struct block *b)
{
	for (unsigned i = 0; i < b->attribute_count; i++) {
		const char *node = b->attributes[i].node;

		b->lends |= !node || !b->node || strcmp(node, b->node) != 0;
	}
}

static int check_cidr(struct json_ctx *c, json_value spec, const struct block_spec *s, const struct block *b)
{
	struct addr_text text = prefix_text(&s->cidr);
	unsigned host_bits = addr_bits(&s->cidr.addr) - s->cidr.len;

	kind_path_push(c, ".cidr");
	if (host_bits > HOST_BITS_MAX)
		return json_refuse(c, json_get(c->j, spec, "cidr"), "%s: more than %d addresses", text.s, 1 << HOST_BITS_MAX);
	if (strcmp(text.s, b->row.key) != 0)
		return json_refuse(c, json_get(c->j, spec, "cidr"), "%s: metadata.name says %s", text.s, b->row.key);
	return 0;
}

static int read_spec(struct json_ctx *c, json_value v, void *field)
{
	struct block *b = field;
	struct block_spec s = { .allocations = -1, .unallocated = -1, .attributes = -1, .sequences = -1 };
	struct arena scratch = { 0 };
	size_t path = strlen(c->path);
	int rc;

	if (json_fields(c, v, spec_fields, ARRAY_SIZE(spec_fields), &s) < 0 || check_cidr(c, v, &s, b) < 0)
		return -EINVAL;
	kind_path_pop(c, path);
	b->cidr = s.cidr;
	b->size = 1u << (addr_bits(&s.cidr.addr) - s.cidr.len);
	b->allocations = arena_alloc(c->mem, b->size * sizeof *b->allocations);
	b->unallocated = arena_alloc(c->mem, b->size * sizeof *b->unallocated);
	b->sequences = arena_alloc(c->mem, b->size * sizeof *b->sequences);
	memset(b->allocations, 0xff, b->size * sizeof *b->allocations);	/* BLOCK_FREE */
	b->sequence = s.sequence;
	b->deleted = s.deleted || s.deleted_capital;
	set_affinity(b, &s);
	rc = read_arrays(c, &s, &scratch, b);
	if (!rc)
		set_lends(b);
	arena_free(&scratch);
	return rc;
}

static const struct json_field object_fields[] = { { "spec", 0, read_spec, true } };

int block_decode(struct json_ctx *c, json_value object, struct row *row)
{
	return json_fields(c, object, object_fields, ARRAY_SIZE(object_fields), container_of(row, struct block, row));
}

/* Who has which address; not the sequence numbers, nor in what order the free ones will go. */
uint64_t block_digest(const struct row *row)
{
	const struct block *b = container_of(row, struct block, row);
	uint64_t h = digest_bytes(b->deleted | b->meta.deleting << 1, &b->cidr, sizeof b->cidr);

	h = digest_text(h, b->affinity);
	for (unsigned i = 0; i < b->size; i++)
		h = digest_number(h, (uint64_t)b->allocations[i]);
	for (unsigned i = 0; i < b->attribute_count; i++) {
		const struct block_attribute *a = &b->attributes[i];
		const char *const texts[] = { a->handle, a->node, a->pod, a->namespace, a->type, a->released_at };

		for (unsigned t = 0; t < ARRAY_SIZE(texts); t++)
			h = digest_text(h, texts[t]);
	}
	return h;
}

/* --- writing --- */

static void put_some(struct json_out *o, const char *name, const char *value)
{
	if (value)
		json_put_string(o, name, value);
}

static void put_attribute(struct json_out *o, const struct block_attribute *a)
{
	if (a->json) {
		json_put_raw(o, NULL, a->json, strlen(a->json));
		return;
	}
	json_open(o, NULL, '{');
	put_some(o, "handle_id", a->handle);
	put_some(o, "releasedAt", a->released_at);
	if (a->namespace || a->node || a->pod || a->type) {
		json_open(o, "secondary", '{');
		put_some(o, "namespace", a->namespace);
		put_some(o, "node", a->node);
		put_some(o, "pod", a->pod);
		put_some(o, "type", a->type);
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
	put_some(o, "affinity", b->affinity);
	put_some(o, "affinityClaimTime", b->affinity_claim_time);
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
