#ifndef MODEL_INDEX_H
#define MODEL_INDEX_H
/*
 * The label index: which pods a peer means, kept up to date row by row, so that a change
 * costs what depends on it.
 *
 * A *subject* is a pod wherever it runs, put together of its Pod object, its attachments on
 * this node and what other nodes publish.  A *group* is the pods that one peer means, however
 * many rules have it.  A group is filed under a label without which it cannot match; a pod that
 * changes is only held against the groups filed under its labels, and those that it is in.
 */
#include "base/hash.h"
#include "model/policy.h"

enum { SUBJECT_ADDRESSES = 32 };	/* of one pod; more are not looked at */

struct subject {
	struct hash_node node;
	struct space *space;
	struct subject *space_next, **space_at;	/* the pods of a namespace */
	struct subject *touched_next;
	struct subject *local_next, **local_at;	/* the pods of this node; at NULL: it is none */
	struct source *sources;		/* its attachments, see index.c */
	struct membership *memberships;
	struct arena mem;		/* what follows */
	const struct addr *addresses;
	unsigned address_count;
	const struct pod_port *ports;
	unsigned port_count;
	struct filing *filings;		/* under its labels, see index.c */
	unsigned filing_count;
	bool touched, local;
	void *owner;			/* of whoever listens, for local ones */
	const char *name;		/* behind the namespace in key */
	char key[];			/* "namespace/name" */
};

struct membership {
	struct membership *next_of_subject, *next_of_group, **at;
	struct subject *subject;
	struct group *group;
	uint32_t addresses;		/* which of the subject's; bits */
	bool seen;
};

struct group {
	struct hash_node node, filed;
	struct arena mem;
	struct peer peer;
	struct membership *members;
	unsigned uses;
	void *owner;			/* of whoever listens */
};

struct index {
	const struct model *model;
	struct hash subjects, spaces, sources, labels;
	struct hash groups, files;	/* files: groups, under what they need */
	struct subject *touched, *locals;
	/* A pod came into a group (or left it): with the addresses and ports that it has at that moment. */
	void (*moved)(void *ctx, const struct membership *m, bool in);
	void *ctx;
};

void index_init(struct index *ix, const struct model *m);
void index_fini(struct index *ix);
/* Takes in the model's dirty rows (all: every row); subjects that may have changed are then in ->touched. */
void index_update(struct index *ix, bool all);
void index_touch(struct index *ix, struct subject *s);
/* The touched ones were seen to: those that are nothing any more are freed. */
void index_settle(struct index *ix);

/* The party that s is, with the addresses left out: valid until rows change. */
void subject_party(const struct index *ix, const struct subject *s, struct party *out);
struct subject *subject_find(const struct index *ix, const char *key);
/* The attachments of s on this node, by the keys of their rows: NULL first, then what the last call gave. */
const char *subject_attachment(const struct subject *s, const char *after);
/* Everybody whom that peer may mean, perhaps twice, and some whom it does not. */
void index_candidates(struct index *ix, const struct peer *p, void (*each)(void *ctx, struct subject *s), void *ctx);

/* The group of that peer, made when it is new; each get is given back by a put. */
struct group *group_get(struct index *ix, const struct peer *p);
void group_put(struct index *ix, struct group *g);

/*
 * Where what needs the namespace (NULL: any) and the labels of s is filed: one number; of a party,
 * all numbers under which something that matches it can be.
 */
uint32_t index_file(const char *namespace, const struct selector *s);
void index_files(const struct party *p, void (*each)(void *ctx, uint32_t file), void *ctx);

#endif
