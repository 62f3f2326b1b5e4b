#ifndef IPAM_IPAM_INT_H
#define IPAM_IPAM_INT_H
/* Shared by the files of ipam/. */
#include "ipam/ipam.h"

enum { IPAM_TRIES_MAX = 100, IPAM_RETRY_MS = 1000, IPAM_SYNC_MS = 20,
       IPAM_EMPTY_MS = 10000,		/* how long a block is kept that is empty and not needed */
       IPAM_YOUNG_S = 60,		/* an empty block that was claimed since then is left to its node */
       IPAM_PATIENCE_MS = 1000 };	/* how long an ask waits for a write before it takes from the reserve */


/* One write of one block that is under way, and who waits for it. */
struct flight {
	struct ipam *ipam;
	struct block *copy;		/* being changed; NULL once handed to the store */
	char key[64];
	uint64_t expected;
	struct ipam_ask *asks[256];	/* NULL: was served by a loan meanwhile */
	uint16_t ordinals[256];		/* of asks */
	unsigned count;
	bool fills;			/* the reserve */
	uint64_t sent_ms;
	struct flight *next;
};

struct release {
	char *handle;
	struct addr only[FAMILIES];
	bool has_only;
	void (*done)(void *ctx);
	void *ctx;
	struct release *next;
};

/* Giving a block back: a node's own, or another's to take it over. */
enum unclaim_step { UNCLAIM_NONE, UNCLAIM_MARK, UNCLAIM_BLOCK, UNCLAIM_AFFINITY, UNCLAIM_RESTORE };
struct unclaim {
	struct ipam *ipam;
	char node[CONFIG_NAME_MAX];	/* whose it is */
	enum unclaim_step step;
	struct prefix cidr;		/* NONE, and the timer is on: the one that waits */
	unsigned tries;
	void (*done)(struct unclaim *u, int rc);	/* step is NONE again */
	/* Of the node's own: */
	uint64_t version;		/* of the one that waits */
	bool due;			/* a write of a block has ended */
	struct timer timer;
};

/* Claiming a block: affinity pending, block, affinity confirmed; if it is another's, it is taken from that node first. */
enum claim_step { CLAIM_NONE, CLAIM_TAKE, CLAIM_PENDING, CLAIM_BLOCK, CLAIM_CONFIRM, CLAIM_DROP };
struct claim {
	struct ipam *ipam;
	struct ipam_ask *of;		/* whom it is for; NULL: nobody who still waits */
	int family;
	enum claim_step step;
	struct prefix cidr;
	unsigned tries;
	struct unclaim take;
};

/* The IPAMHandle of one handle id being brought in line with the blocks. */
struct handle_sync {
	struct ipam *ipam;
	char *id;
	bool started, again;
	unsigned tries;
	struct handle_sync *next;
};

/* Default pools of a family, and a tunnel address, in the making. */
struct default_pool { struct ipam *ipam; bool asked, settled; unsigned nth, writing; };
struct tunnel_address {
	struct ipam *ipam;
	enum tunnel tunnel;
	char handle[300];
	bool asking, releasing;
	struct ipam_request request;
};

struct loan;
struct reserve {
	char handle[300];
	struct loan *loans;
	struct addr last[FAMILIES];	/* lent */
	bool look[FAMILIES];		/* may be short */
	bool starved[FAMILIES];		/* no block is to be had for it */
	bool seeding;
	struct ipam_request seed;
};

/* What nodes that have gone left behind. */
struct sweep {
	struct ipam *ipam;
	struct timer timer;
	unsigned patience_ms;		/* for the first node; each next one has as much more */
	char node[CONFIG_NAME_MAX];	/* "": none is being seen to */
	struct ipam_leave leave;
	unsigned waited;		/* for Calico's controllers: next, so many times patience */
	bool looked, asking;
};

struct ipam {
	struct loop *loop;
	struct model *model;
	struct store *store;
	const char *node;
	struct deferred kick;		/* advance() is due */
	struct timer retry, sync_timer, patience;
	struct ipam_ask *asks[FAMILIES], **asks_tail[FAMILIES];
	struct release *releases;
	struct flight *flights;
	struct claim claims[FAMILIES];
	struct handle_sync *syncs;
	struct default_pool defaults[FAMILIES];
	struct tunnel_address tunnels[TUNNELS];
	struct reserve reserve;
	struct unclaim unclaim;
	struct sweep sweep;
	enum store_state seen;		/* of the datastore */
	bool stuck;			/* a write has been under way for longer than patience */
	uint64_t resume_after;		/* monotonic ms: not before, since a claim has failed */
	bool resumed[FAMILIES], handles_checked;
	struct assertion *assertions;	/* addresses of live pods being assigned again */
	bool assert_again;		/* one of them failed: after retry */
	bool asserted;			/* all pods were looked at once */
	bool tunnels_again;		/* a tunnel address could not be written: after retry */
};

/* pool.c: may what r asks for come from that pool? */
bool pool_serves(const struct ipam *ipam, const struct pool *p, const struct ipam_request *r);
bool pool_selects_node(const struct ipam *ipam, const struct pool *p);
void pools_default(struct ipam *ipam);
void pools_watch(struct ipam *ipam);	/* is there one for pods of this node? */
void pools_imply(struct ipam *ipam, int family);	/* the default pools as rows without an object */

/* podcidr.c */
bool podcidr_is_on(const struct ipam *ipam);	/* blocks are podCIDRs: nothing is claimed or written */
void podcidr_run(struct ipam *ipam);	/* part of the pass */
bool podcidr_has(const struct ipam *ipam, const struct prefix *pool);	/* does that pool hold one of this node's? */
bool podcidr_gives(const struct ipam *ipam, const struct addr *ip);	/* is it one that a pod of this node may have? */
/* Why r can have no address. */
void podcidr_refuse(const struct ipam *ipam, const struct ipam_request *r, int family, struct err *e);

/* claim.c */
void claim_start(struct ipam *ipam, int family);	/* ends in ipam_claimed() */
/* No block is left that could be claimed, and others' may be borrowed from. */
bool claim_is_hopeless(const struct ipam *ipam, const struct ipam_ask *a);
struct affinity *affinity_make(const char *node, const struct prefix *cidr, enum affinity_state state);
void claim_watch(struct ipam *ipam);	/* part of the pass: own blocks whose affinity another node has marked */
bool claim_resume(struct ipam *ipam, int family);	/* false: nothing was left half done */

/* asks.c */
void asks_step(struct ipam *ipam, int family);	/* as many as can be served go into copies of blocks */
void ask_push(struct ipam *ipam, struct ipam_ask *a);
void ask_push_first(struct ipam *ipam, struct ipam_ask *a);
void ask_settle(struct ipam *ipam, struct ipam_ask *a);
void ask_fail(struct ipam *ipam, struct ipam_ask *a, int code, const struct err *e);
/* What has waited since before that moment is served from the reserve, where it can be; refuse: or fails. */
void asks_lend(struct ipam *ipam, uint64_t before_ms, bool refuse);
/* The next address that is not reserved; is there one? */
int ask_assign(struct ipam *ipam, struct block *copy, const struct block_owner *owner);
bool has_room(const struct ipam *ipam, const struct block *b);
/* May an own block's addresses go to r? */
bool block_serves(const struct ipam *ipam, const struct block *b, int family, const struct ipam_request *r);
/* Code 0: a block more; otherwise the ask that the claim was for fails with code and text. */
void ipam_claimed(struct ipam *ipam, int family, int code, const struct err *e);

/* ipam.c */
void ipam_kick(struct ipam *ipam);
struct flight *flight_of(const struct ipam *ipam, const struct block *b);	/* the write of b that is open or under way, or NULL */
struct flight *flight_open(struct ipam *ipam, const struct block *b);
unsigned release_count(const struct ipam *ipam, const struct block *b);	/* addresses whose end is under way */

/* handle.c */
void handles_start(struct ipam *ipam);
void handle_sync(struct ipam *ipam, const char *id);
void handles_check(struct ipam *ipam);	/* once: handles of own blocks, lost ones and stale ones */

/* assert.c */
void assert_run(struct ipam *ipam);
void assertions_free(struct ipam *ipam);

/* reserve.c */
void reserve_init(struct ipam *ipam);
unsigned reserve_size(const struct ipam *ipam);	/* of each family */
void reserve_free(struct ipam *ipam);
bool reserve_can_lend(const struct ipam *ipam, const struct ipam_ask *a);
bool reserve_lend(struct ipam *ipam, struct ipam_ask *a);	/* true: it is settled */
bool reserve_has_lent(const struct ipam *ipam, const struct addr *ip);
bool reserve_has_lent_of(const struct ipam *ipam, const struct prefix *cidr);
void reserve_step(struct ipam *ipam, int family);	/* fills it, in copies of blocks */
void reserve_touched(struct ipam *ipam, int family);	/* something of it may have been given away */
void reserve_look(struct ipam *ipam);		/* with the next step */
void reserve_watch(struct ipam *ipam);		/* part of the pass */
void loans_step(struct ipam *ipam);		/* loans become assignments */
void loans_end(struct ipam *ipam, const char *handle, const struct addr *only);

/* unclaim.c */
void unclaim_init(struct ipam *ipam);
void unclaim_watch(struct ipam *ipam);		/* part of the pass */
void unclaim_begin(struct unclaim *u, const char *node, const struct prefix *cidr);
bool unclaim_has(const struct ipam *ipam, const struct block *b);	/* it is being given back */

/* sweep.c */
void sweep_init(struct ipam *ipam);
void sweep_watch(struct ipam *ipam);		/* part of the pass */

/* tunnel.c */
void tunnels_run(struct ipam *ipam);

#endif
