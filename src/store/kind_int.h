#ifndef STORE_KIND_INT_H
#define STORE_KIND_INT_H
/* Shared by kind.c and the decoders. */
#include "store/kind.h"

/* Reader that keeps the value itself, to be read later. */
int read_value(struct json_ctx *c, json_value v, void *field);		/* json_value */
/* true, false, or these as a string (a BlockAffinity's in the v1 group). */
int read_loose_bool(struct json_ctx *c, json_value v, void *field);
/* One of words[] (NULL-terminated); "" is the first.  -1 when it is none: refused. */
int read_word(struct json_ctx *c, json_value v, const char *const *words);

int read_protocol(struct json_ctx *c, json_value v, void *field);	/* TCP, UDP, SCTP: uint8_t */

/* An object whose members are strings, sorted by key. */
struct string_map {
	struct label *entry;
	unsigned count;
	bool (*wanted)(const struct kind *k, const char *key);	/* NULL: all are */
	const struct kind *kind;
};
int read_string_map(struct json_ctx *c, json_value v, void *field);
/* Both, in mem; where both have a key, over's value. */
struct string_map string_map_overlay(struct arena *mem, struct string_map under, struct string_map over);

/* The rest of *m, which has the name. */
int meta_decode(struct json_ctx *c, json_value object, const struct kind *k, struct meta *m);
int meta_refuse(struct json_ctx *c, json_value object, const struct kind *k);	/* what is wrong with the name: -EINVAL */
void meta_encode_rest(struct json_out *o, const struct meta *m);	/* what follows the version */

/*
 * The way back by the same table: what is a text, a boolean or a prefix (by its reader) is written
 * under the end of its path, or goes into the digest; all other fields are the caller's.  What is "" or
 * false is left out.
 */
void fields_encode(struct json_out *o, const struct json_field *fields, unsigned count, const void *row);
uint64_t fields_digest(uint64_t h, const struct json_field *fields, unsigned count, const void *row);

/* Digests are built up field by field; NULL and "" differ. */
uint64_t digest_bytes(uint64_t h, const void *data, size_t len);
uint64_t digest_text(uint64_t h, const char *text);
uint64_t digest_number(uint64_t h, uint64_t number);
uint64_t digest_labels(uint64_t h, const struct label *l, unsigned count);

/* The rows of the table. */
int namespace_decode(struct json_ctx *c, json_value object, struct row *row);
uint64_t namespace_digest(const struct row *row);
int pod_decode(struct json_ctx *c, json_value object, struct row *row);
uint64_t pod_digest(const struct row *row);
struct row *pod_pack(const struct kind *k, struct row *row);
struct row *node_pack(const struct kind *k, struct row *row);
int node_decode(struct json_ctx *c, json_value object, struct row *row);
uint64_t node_digest(const struct row *row);
void node_encode(struct json_out *o, const struct row *row);
void node_merge(struct row *agent, const struct row *user);
int pool_decode(struct json_ctx *c, json_value object, struct row *row);
uint64_t pool_digest(const struct row *row);
void pool_encode(struct json_out *o, const struct row *row);
int block_decode(struct json_ctx *c, json_value object, struct row *row);
uint64_t block_digest(const struct row *row);
void block_encode(struct json_out *o, const struct row *row);
int affinity_decode(struct json_ctx *c, json_value object, struct row *row);
uint64_t affinity_digest(const struct row *row);
void affinity_encode(struct json_out *o, const struct row *row);
int handle_decode(struct json_ctx *c, json_value object, struct row *row);
uint64_t handle_digest(const struct row *row);
void handle_encode(struct json_out *o, const struct row *row);
int ipam_config_decode(struct json_ctx *c, json_value object, struct row *row);
uint64_t ipam_config_digest(const struct row *row);
int reservation_decode(struct json_ctx *c, json_value object, struct row *row);
uint64_t reservation_digest(const struct row *row);
int workload_decode(struct json_ctx *c, json_value object, struct row *row);
uint64_t workload_digest(const struct row *row);
void workload_encode(struct json_out *o, const struct row *row);
int policy_decode(struct json_ctx *c, json_value object, struct row *row);
uint64_t policy_digest(const struct row *row);

#endif
