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

#define FIELD(name, member, read, required) { "spec." name, offsetof(struct affinity, member), read, required }
static const struct json_field affinity_fields[] = {
	FIELD("node", node, json_read_string, true),
	FIELD("type", type, json_read_string, false),
	FIELD("cidr", cidr, json_read_prefix, true),
	FIELD("state", state, read_state, false),
	FIELD("deleted", deleted, read_loose_bool, false),
};
#undef FIELD

int affinity_decode(struct json_ctx *c, json_value object, struct row *row)
{
	struct affinity *a = container_of(row, struct affinity, row);

	if (json_fields(c, object, affinity_fields, ARRAY_SIZE(affinity_fields), a) < 0)
		return -EINVAL;
	if (!a->type || !*a->type)
		a->type = "host";
	return 0;
}

uint64_t affinity_digest(const struct row *row)
{
	const struct affinity *a = container_of(row, struct affinity, row);
	uint64_t h = digest_number(a->deleted | a->meta.deleting << 1, a->state);

	h = fields_digest(h, affinity_fields, ARRAY_SIZE(affinity_fields), a);
	return digest_labels(h, a->meta.labels, a->meta.label_count);
}

void affinity_encode(struct json_out *o, const struct row *row)
{
	const struct affinity *a = container_of(row, struct affinity, row);

	json_open(o, "spec", '{');
	json_put_string(o, "state", state_words[a->state]);
	fields_encode(o, affinity_fields, ARRAY_SIZE(affinity_fields), a);
	json_put_string(o, "deleted", a->deleted ? "true" : "false");	/* a string, in the group that we write */
	json_close(o, '}');
}

/* --- IPAMHandle --- */

/* A member "10.42.17.64/26": 3 of the map. */
static int read_handle_block(struct json_ctx *c, json_value name, struct handle_block *to)
{
	uint32_t count;

	if (json_read_prefix(c, name, &to->cidr) < 0 || json_read_u32(c, json_member(c->j, name), &count) < 0)
		return -EINVAL;
	to->count = count;
	return 0;
}

static int read_handle_blocks(struct json_ctx *c, json_value v, void *field)
{
	struct handle *h = field;

	if (json_type(c->j, v) != JSON_OBJECT)
		return json_refuse(c, v, "want an object");
	h->blocks = arena_alloc(c->mem, json_length(c->j, v) * sizeof *h->blocks);
	json_each(c->j, v, name) {
		if (read_handle_block(c, name, &h->blocks[h->block_count++]) < 0)
			return -EINVAL;
	}
	return 0;
}

static const struct json_field handle_fields[] = {
	{ "spec.handleID", offsetof(struct handle, id), json_read_string, true },
	{ "spec.block", 0, read_handle_blocks, false },
	{ "spec.deleted", offsetof(struct handle, deleted), read_loose_bool, false },
};

int handle_decode(struct json_ctx *c, json_value object, struct row *row)
{
	return json_fields(c, object, handle_fields, ARRAY_SIZE(handle_fields), container_of(row, struct handle, row));
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
