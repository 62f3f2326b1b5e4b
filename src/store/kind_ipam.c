/* BlockAffinity (who should use a block) and IPAMHandle (who holds how many addresses of which). */
#include "store/kind_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/digest.h"
#include "base/util.h"

/* --- BlockAffinity --- */

void affinity_name(char out[254], const char *node, const struct prefix *cidr)
{
	enum { HASH = 11 };
	uint8_t digest[32];
	char name[64], text[OBJECT_NAME_MAX + sizeof name], hex[65];
	size_t room;

	block_name(name, cidr);
	if (strlen(node) + 1 + strlen(name) < 253) {
		snprintf(out, 254, "%s-%s", node, name);
		return;
	}
	snprintf(text, sizeof text, "%.*s%s", OBJECT_NAME_MAX, node, name);
	sha256(digest, text, strlen(text));
	hex_text(hex, digest, sizeof digest);
	room = 252 - strlen(name) - (HASH + 2);
	snprintf(out, 254, "%.*s-%s-%.*s", (int)room, node, name, HASH, hex);
}

void affinity_labels(struct arena *mem, struct affinity *a)
{
	struct label *l = arena_alloc(mem, 3 * sizeof *l);
	uint8_t digest[32];
	char text[64];

	sha3_256(digest, a->node, strlen(a->node));
	base32_text(text, digest, sizeof digest);
	l[0] = (struct label){ "projectcalico.org/affinity-type", a->type };
	l[1] = (struct label){ "projectcalico.org/hostname-hash", arena_str(mem, text) };
	l[2] = (struct label){ "projectcalico.org/ip-version", a->cidr.addr.family == AF_INET6 ? "6" : "4" };
	a->meta.labels = l;
	a->meta.label_count = 3;
}

static const char *const state_words[] = { "confirmed", "pending", "pendingDeletion", NULL };

static int read_state(struct json_ctx *c, json_value v, void *field)
{
	int n = read_word(c, v, state_words);

	if (n < 0)
		return -EINVAL;
	*(enum affinity_state *)field = (enum affinity_state)n;
	return 0;
}

#define FIELD(name, member, read) { name, offsetof(struct affinity, member), read, false }
#define NEED(name, member, read) { name, offsetof(struct affinity, member), read, true }
static const struct json_field affinity_fields[] = {
	NEED("cidr", cidr, json_read_prefix),
	NEED("node", node, json_read_string),
	FIELD("type", type, json_read_string),
	FIELD("state", state, read_state),
	FIELD("deleted", deleted, read_loose_bool),
};
#undef FIELD
#undef NEED

static int read_affinity(struct json_ctx *c, json_value v, void *field)
{
	return json_fields(c, v, affinity_fields, ARRAY_SIZE(affinity_fields), field);
}

static const struct json_field affinity_object_fields[] = { { "spec", 0, read_affinity, true } };

int affinity_decode(struct json_ctx *c, json_value object, struct row *row)
{
	struct affinity *a = container_of(row, struct affinity, row);

	if (json_fields(c, object, affinity_object_fields, ARRAY_SIZE(affinity_object_fields), a) < 0)
		return -EINVAL;
	if (!a->type || !*a->type)
		a->type = "host";
	return 0;
}

uint64_t affinity_digest(const struct row *row)
{
	const struct affinity *a = container_of(row, struct affinity, row);
	uint64_t h = digest_bytes(a->deleted | a->meta.deleting << 1, &a->cidr, sizeof a->cidr);

	h = digest_number(digest_text(digest_text(h, a->node), a->type), a->state);
	return digest_labels(h, a->meta.labels, a->meta.label_count);
}

void affinity_encode(struct json_out *o, const struct row *row)
{
	const struct affinity *a = container_of(row, struct affinity, row);

	json_open(o, "spec", '{');
	json_put_string(o, "state", state_words[a->state]);
	json_put_string(o, "node", a->node);
	json_put_string(o, "type", a->type);
	json_put_string(o, "cidr", prefix_text(&a->cidr).s);
	json_put_string(o, "deleted", a->deleted ? "true" : "false");	/* a string, in the group that we write */
	json_close(o, '}');
}

/* --- IPAMHandle --- */

struct handle_spec {
	const char *id;
	json_value blocks;
	bool deleted;
};

#define FIELD(name, member, read) { name, offsetof(struct handle_spec, member), read, false }
#define NEED(name, member, read) { name, offsetof(struct handle_spec, member), read, true }
static const struct json_field handle_fields[] = {
	NEED("handleID", id, json_read_string),
	FIELD("block", blocks, read_value),
	FIELD("deleted", deleted, read_loose_bool),
};

/* A member "10.42.17.64/26": 3 of the map. */
static int read_handle_block(struct json_ctx *c, json_value name, struct handle_block *to)
{
	json_value value = json_member(c->j, name);
	uint32_t count;

	if (json_read_prefix(c, name, &to->cidr) < 0)
		return -EINVAL;
	kind_path_push(c, ".%s", prefix_text(&to->cidr).s);
	if (json_read_u32(c, value, &count) < 0)
		return -EINVAL;
	to->count = count;
	return 0;
}

static int read_handle_blocks(struct json_ctx *c, json_value v, struct handle *h)
{
	const struct json *j = c->j;
	size_t path = kind_path_push(c, ".block");
	size_t each = strlen(c->path);

	if (v < 0) {
		kind_path_pop(c, path);
		return 0;
	}
	if (json_type(j, v) != JSON_OBJECT)
		return json_refuse(c, v, "want an object");
	h->blocks = arena_alloc(c->mem, json_length(j, v) * sizeof *h->blocks);
	for (json_value name = json_first(j, v); name >= 0; name = json_next(j, v, name)) {
		if (read_handle_block(c, name, &h->blocks[h->block_count++]) < 0)
			return -EINVAL;
		kind_path_pop(c, each);
	}
	kind_path_pop(c, path);
	return 0;
}

static int read_handle(struct json_ctx *c, json_value v, void *field)
{
	struct handle *h = field;
	struct handle_spec s = { .blocks = -1 };

	if (json_fields(c, v, handle_fields, ARRAY_SIZE(handle_fields), &s) < 0 || read_handle_blocks(c, s.blocks, h) < 0)
		return -EINVAL;
	h->id = s.id;
	h->deleted = s.deleted;
	return 0;
}

static const struct json_field handle_object_fields[] = { { "spec", 0, read_handle, true } };

int handle_decode(struct json_ctx *c, json_value object, struct row *row)
{
	return json_fields(c, object, handle_object_fields, ARRAY_SIZE(handle_object_fields),
			   container_of(row, struct handle, row));
}

uint64_t handle_digest(const struct row *row)
{
	const struct handle *h = container_of(row, struct handle, row);
	uint64_t sum = 0;

	for (unsigned i = 0; i < h->block_count; i++)
		sum += digest_bytes(h->blocks[i].count, &h->blocks[i].cidr, sizeof h->blocks[i].cidr);
	return digest_number(digest_text(h->deleted | h->meta.deleting << 1, h->id), sum);
}

void handle_encode(struct json_out *o, const struct row *row)
{
	const struct handle *h = container_of(row, struct handle, row);

	json_open(o, "spec", '{');
	json_put_string(o, "handleID", h->id);
	json_open(o, "block", '{');
	for (unsigned i = 0; i < h->block_count; i++)
		json_put_int(o, prefix_text(&h->blocks[i].cidr).s, h->blocks[i].count);
	json_close(o, '}');
	json_put_bool(o, "deleted", h->deleted);
	json_close(o, '}');
}
