#ifndef NFT_POLICY_H
#define NFT_POLICY_H
/*
 * Policies in the kernel.
 *
 * A first packet of a connection is looked up twice, however many pods and policies there are:
 *
 *	pod . protocol . port	in a map of verdicts, whose element goes to a *decision*, a chain of a few
 *	rules: the peers' addresses are in a set, or in ranges of a set that never changes, or it is denied;
 *	pod			in another map, when no rule names that port
 *
 * So a pod that comes or goes is elements, as a peer and as a target.  A decision is made of all peers that
 * the pod's policies let in on that port; pods whose policies say the same share it.  What a pod's policies
 * come to is its *profile*.
 */
#include "model/index.h"
#include "nft/nft_int.h"

/* What is the same for all who ask for the same: the first member of each such thing. */
struct shared { struct hash_node node; uint64_t digest; unsigned uses; };
/* The one of that digest with one use more; the first one (uses 1) was made with size bytes, the rest of them zero. */
void *shared_get(struct hash *h, uint64_t digest, size_t size);
bool shared_put(struct hash *h, struct shared *s);	/* true: it was the last use, s is the caller's to free */

/* ---- peers.c: sets of addresses ---- */

/* Pods of a group; with a name, together with their ports of that name and protocol. */
struct peer_entry { struct group *group; const char *name; uint8_t protocol; };

struct peer_set {
	struct shared shared;
	struct arena mem;
	struct set *set[FAMILIES];	/* NULL: no pod has such an address */
	struct peer_entry *entries;
	unsigned count;
};

/* What is asked for: the same list, in the same order, is the same set. */
struct peer_ask { const struct peer *peer; const char *name; uint8_t protocol; uint64_t digest; };
struct peer_set *peer_set_get(struct nft *n, const struct peer_ask *asks, unsigned count);
void peer_set_put(struct nft *n, struct peer_set *s);
void peers_moved(void *ctx, const struct membership *m, bool in);

/* Addresses from first to last. */
struct range { struct addr first, last; };
struct range_set {
	struct shared shared;
	struct set *set;
};
/* Of the peers that are nets, those of one family, as ranges that do not touch; *list is the caller's. */
unsigned ranges_of(const struct peer *const *peers, unsigned count, int family, struct range **list);
struct range_set *range_set_get(struct nft *n, const struct range *list, unsigned count, int family);
void range_set_put(struct nft *n, struct range_set *s);

/* ---- decision.c: chains that say who may ---- */

/* A policy as it is known here, by name: rows come and go. */
struct policy_ref {
	struct hash_node node, filed;
	const struct table *table;
	char *refused;			/* what the kernel said to it: its pods are closed; or NULL */
	bool told;			/* a problem names it */
	bool names_ports;		/* of its own pods */
	uint32_t aimed;			/* number of the last pod that it was found for */
	char key[];
};

struct decision {
	struct shared shared;
	enum direction direction;
	struct target target;		/* what an element says that leads to it */
	struct chain *chain;		/* NULL: the target says it all */
	struct decision *rest;		/* where its chain goes on, or NULL */
	struct peer_set **peers;
	struct range_set *ranges[FAMILIES];
	struct policy_ref **refs;	/* whose rules these are */
	unsigned peer_count, ref_count;
};

/* What lets somebody in: a rule's peers, all of them or (name) only their ports of that name. */
struct grant {
	struct policy_ref *ref;
	const struct policy_rule *rule;
	const char *name;
	uint8_t protocol;
	uint64_t digest;		/* of the rule's peers, the name and its protocol */
};
uint64_t grant_digest(const struct policy_rule *r, const char *name, uint8_t protocol);
/* rest: who decides when none of these grants holds, NULL: it is denied. */
struct decision *decision_get(struct nft *n, enum direction d, const struct grant *grants, unsigned count,
			      struct decision *rest);
void decision_put(struct nft *n, struct decision *d);
struct target target_of(enum verdict v, const struct chain *c);
const struct chain *target_chain(const struct nft *n, const struct target *t);	/* NULL: none */
struct chain *chain_of_digest(struct nft *n, const char *prefix, uint64_t digest);
/* Kind, name and a hash of the name, as chains and rules of one policy carry it. */
void policy_comment(char out[128], const struct policy *p);
const struct policy *ref_policy(const struct policy_ref *r);	/* its row; NULL: gone */
/* The key of an element for a port of an address. */
void port_key(uint8_t key[KEY_MAX], const struct addr *a, uint8_t protocol, uint16_t port);

/* ---- profile.c: what a pod's policies come to ---- */

struct port_target { uint8_t protocol; uint16_t port; struct target target; };
struct verdicts {			/* of one direction */
	bool isolated;
	struct port_target *ports;
	struct target otherwise;
	struct chain *by_range;		/* NULL, or what otherwise goes to */
	struct decision **decisions;
	unsigned port_count, decision_count, decision_cap;
};
struct profile {
	struct shared shared;
	struct verdicts verdicts[DIRECTIONS];
};

struct profile *profile_get(struct nft *n, const struct subject *s, struct policy_ref *const *refs, unsigned count);
void profile_put(struct nft *n, struct profile *p);

/* ---- policy.c: rows ---- */

void policies_open(struct nft *n);
void policies_close(struct nft *n);
bool policies_dirty(const struct nft *n);
void policies_want(struct nft *n);	/* before the endpoints are */
void policies_ask(struct nft *n, const struct endpoint *e);	/* by the endpoint's asker */

/* ---- refused.c: what the kernel does not take ---- */

/* The pods of the policies that the culprit was made for are closed, until they are tried again.  False: of none. */
bool policies_refuse(struct nft *n, const struct err *e);
void policies_reconsider(struct nft *n);	/* tries them again, when it is time */
void policies_accepted(struct nft *n);		/* the batch went in: who is not refused now is well */
void ref_retarget(struct nft *n, struct policy_ref *r);	/* its pods are looked at again */
void ref_accept(struct nft *n, struct policy_ref *r);	/* not refused any more */

#endif
