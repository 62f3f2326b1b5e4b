#ifndef STORE_KIND_H
#define STORE_KIND_H
/*
 * The table of kinds: what an object is called, which model table its rows
 * go to, how it is read and (for the kinds that agents write) written.
 * The next kind is a row here and a decoder in a kind_*.c.
 */
#include "model/model.h"
#include "wire/json.h"

enum { OBJECT_NAME_MAX = 254, OBJECT_NAMESPACE_MAX = 64, OBJECT_KEY_MAX = 318 };	/* terminators included */

struct kind {
	const char *kind, *plural;	/* "IPPool", "ippools" */
	const char *api_versions[2];	/* what we accept; [0] is what we write */
	bool namespaced;
	bool agents;			/* written by agents: lives in .manx too ... */
	bool agents_only;		/* ... and no person's to write */
	bool of_blocks;			/* there is none with ipam = podcidr */
	size_t table;			/* offset in struct model */
	size_t meta;			/* offset of struct meta in the row */
	size_t place;			/* offset of a struct place in the row; 0: of no interest */
	size_t row_size;
	const char *const *ballast;	/* members that are large and asked for by nobody, NULL-terminated; NULL: none */
	const char *annotations;	/* only annotations that begin so are kept; NULL: all */
	/*
	 * Fills *row (zeroed, row_size bytes; strings and arrays from c->mem, which is
	 * the row's own arena; meta and key are already set) from the object.
	 * 0, or negative with c->e filled.
	 */
	int (*decode)(struct json_ctx *c, json_value object, struct row *row);
	/*
	 * A kind that fails closed (policies): a refused object without a last good state is not absent.
	 * What decode() has left in the row then counts, so that is to be the most closed reading of what
	 * can be read: it goes on after an error, c->e keeps the first.  When metadata is bad, decode() is
	 * called all the same, with namespace and name only and c->e filled.
	 */
	bool closed;
	/* Over what matters: not the version, not a heartbeat.  Rows that are written get it too, see store_put(). */
	uint64_t (*digest)(const struct row *row);
	/* Writes the members after metadata ("spec", ...) of row; NULL for kinds that agents never write. */
	void (*encode)(struct json_out *o, const struct row *row);
	/* The same row, new, in less memory, without what only its own node asks for; takes row.  NULL: it is as small as it gets. */
	struct row *(*pack)(const struct kind *k, struct row *row);
	/* Node only: puts what a user's file decides (labels) into the agent's row.  NULL: the user's hides it whole. */
	void (*merge)(struct row *agent, const struct row *user);
};

extern const struct kind kinds[];
extern const unsigned kind_count;

extern const char *const kind_no_ballast[];	/* nothing but metadata.managedFields is */

/* Is it read with that configuration?  (ipam = podcidr: no blocks and what goes with them.) */
bool kind_is_used(const struct kind *k, const struct config *c);

const struct kind *kind_named(const char *kind);	/* "IPPool" or "ippools"; must exist for constants */
struct table *kind_table(const struct kind *k, struct model *m);
struct meta *kind_meta(const struct kind *k, struct row *row);
struct place *kind_place(const struct kind *k, struct row *row);	/* only where k->place is set */

struct object_ref {
	const struct kind *kind;
	char namespace[OBJECT_NAMESPACE_MAX], name[OBJECT_NAME_MAX];
};

/*
 * The key of an object in its table: "name", or "namespace/name"; of blocks the CIDR,
 * which their name says too.  object_ref_set() is the way back.  False: not such a name or key.
 */
bool object_key(char out[OBJECT_KEY_MAX], const struct object_ref *ref);
bool object_ref_set(struct object_ref *ref, const struct kind *k, const char *key);

/* May an object of that kind be called so? */
bool kind_name_ok(const struct kind *k, const char *namespace, const char *name);

/*
 * One object (a checked document's value) to a new row of its kind, meta, digest and
 * defaults filled in ("default" namespace, label kubernetes.io/metadata.name).
 * NULL with *e filled ("LINE:COL: path: text"); of a kind that fails closed the row that
 * stands for the refused object, with *e filled.  ref->kind is NULL when the object is of
 * a kind that is not ours: then NULL is no error and e->code is 0.
 * *ref, when not NULL, is filled as far as the object could be read, also on failure
 * (name "": it has none that is fit for use), so that the one object can be named and
 * keeps its last good state.
 */
struct row *kind_decode(const struct json *j, json_value object, struct object_ref *ref, struct err *e);
/* The same of an object that need not say what it is, as the elements of a server's list do not.  e->code is 0 before. */
struct row *kind_decode_as(const struct json *j, json_value object, const struct kind *k, struct object_ref *ref, struct err *e);
/* Which object this is, as far as that can be said of a bad one. */
void kind_identify(const struct json *j, json_value object, const struct kind *k, struct object_ref *ref);

/* Appends the whole object as JSON text, metadata first; version 0 is left out. */
void kind_encode(const struct kind *k, const struct row *row, uint64_t version, struct str *out);
/* Only as far as the version: every text of that object and version begins so. */
void kind_encode_head(const struct kind *k, const struct meta *meta, uint64_t version, struct str *out);

/* Names that Calico derives from a CIDR: "10-42-17-64-26", and "<node>-<that>", cut and hashed at 253 characters. */
void block_name(char out[64], const struct prefix *cidr);
void affinity_name(char out[254], const char *node, const struct prefix *cidr);
/* The way back from a block's name; false: it is none. */
bool block_name_parse(struct prefix *cidr, const char *name);

/* For those who write these: the labels that Calico lists affinities by, the annotations that say what *n says. */
void block_attribute_seal(struct block_attribute *a);	/* its hashes, once its texts are set */
void affinity_labels(struct arena *mem, struct affinity *a);
void node_annotations(struct arena *mem, struct node *n);
/* The members of a merge patch that makes a Node's annotations say what *n says. */
void node_annotations_patch(struct json_out *o, const struct node *n);
/* The MAC that Calico derives from a node's name for its VXLAN device. */
void node_vxlan_mac(uint8_t mac[6], const char *name, int family);

#endif
