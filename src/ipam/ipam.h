#ifndef IPAM_IPAM_H
#define IPAM_IPAM_H
/*
 * Addresses of this node, in Calico's format: blocks claimed in two phases,
 * addresses assigned from own blocks, released by handle.  Every write is
 * asynchronous and compare-and-swap; at most one is in flight for a block, and
 * what arrives meanwhile goes into the next one together.
 */
#include "base/loop.h"
#include "base/str.h"
#include "ipam/block.h"
#include "model/model.h"
#include "store/store.h"

/* Handles of addresses whose interface another plugin makes begin so: no link shows that it lives. */
#define IPAM_DELEGATED "manx-ipam-"

struct ipam;
struct ipam_request;

/* Why a request failed: the CNI error code of it. */
enum { IPAM_TRY_LATER = 11, IPAM_NO_ADDRESS = 101, IPAM_NO_BLOCK = 102, IPAM_ADDRESS_TAKEN = 103 };

struct pool_names { const char *const *name; unsigned count; };	/* or their CIDRs */

struct ipam_ask {			/* one family of a request; ipam's own */
	struct ipam_request *request;
	int family;
	bool pending;
	uint64_t since_ms;
	struct ipam_ask *next;
};

/*
 * One address of each wanted family.  Lives in its owner until done() is called, always from the loop.
 * Success: code 0, ips[].  Failure: code is one of the above, err its text, and nothing
 * stays assigned.
 */
struct ipam_request {
	struct block_owner owner;	/* its strings belong to the caller, until done() */
	enum tunnel tunnel;		/* from pools of its mode whose allowedUses has Tunnel; NONE: a pod's, Workload */
	bool want[FAMILIES];
	struct pool_names pools[FAMILIES];	/* only these, whomever they select; none: those that select this pod and node */
	struct addr fixed[FAMILIES];	/* this very address; family 0: any */
	bool lend;			/* may be served from the reserve */
	bool own;			/* from own blocks only */
	bool keeps;			/* fixed[] is what a pod has: nothing but a block that gives it to another is against it */
	/*
	 * May be NULL; else it may be called once before done(): likely[] is what the request gets, unless the last write for
	 * it, which is under way, fails.  It must not use ipam.
	 */
	void (*chosen)(struct ipam_request *r);
	struct addr likely[FAMILIES];
	void (*done)(struct ipam_request *r);
	struct addr ips[FAMILIES];
	int code;
	struct err err;

	struct ipam_ask ask[FAMILIES];
	unsigned pending, tries, writes;	/* writes: that have begun */
	struct deferred deliver;
};

struct ipam *ipam_new(struct loop *l, struct model *m, struct store *s);
void ipam_free(struct ipam *ipam);

/* Part of the pass: default pools, overlap of pools, tunnel addresses, claims that were left half done. */
void ipam_run(struct ipam *ipam);

/* Every pod that lives here has its address in a block, or that is named as a problem. */
bool ipam_settled(const struct ipam *ipam);

/* Does any usable pool of that family serve pods of this node, or (use) its end of that tunnel? */
bool ipam_serves(const struct ipam *ipam, int family, enum tunnel use);
bool ipam_serves_pods(const struct ipam *ipam);		/* of any family */
bool ipam_is_away(const struct ipam *ipam);		/* the datastore */
/* Is there a pool that what r asks for may come from, full or not? */
bool ipam_offers(const struct ipam *ipam, const struct ipam_request *r, int family);
/* The datastore has answered to every default pool that was to be made. */
bool ipam_pools_tried(const struct ipam *ipam);

/* Can a pod ask for that pool (its name or CIDR), for that very address?  0, or negative with *e. */
int ipam_check_pool(const struct ipam *ipam, int family, const char *name, struct err *e);
int ipam_check_address(const struct ipam *ipam, const struct addr *a, struct err *e);

void ipam_assign(struct ipam *ipam, struct ipam_request *r);

/* Gives a request up: done() comes soon, or when what is being written has been. */
void ipam_cancel(struct ipam *ipam, struct ipam_request *r);

/*
 * Frees what handle, of one of this node's pods, holds on any block: all of it, or (of anybody) only the addresses in only[FAMILIES].  done (may be NULL)
 * is called from the loop when the blocks are written, or nothing was held.  While the datastore is away the
 * release stays queued.
 */
void ipam_release(struct ipam *ipam, const char *handle, const struct addr *only, void (*done)(void *ctx), void *ctx);

/* Each pod's address that blocks give to this node. */
void ipam_each_own(struct ipam *ipam, void (*each)(void *ctx, const struct block_attribute *a, const struct addr *ip),
		   void *ctx);

struct ipam_counts { unsigned blocks, used, size; };
struct ipam_counts ipam_own_counts(const struct ipam *ipam);
/* `manx ipam show`. */
void ipam_show(const struct ipam *ipam, struct str *out, bool json);

/*
 * `manx ipam check`.  Leaked: what blocks give to pods of this node that do not live, or to nodes that do not exist.
 * Duplicate: what a pod has although a block gives it to another.  Texts are in mem.
 */
struct ipam_finding {
	bool duplicate;
	bool freed;			/* the caller's */
	struct addr address;
	const char *block, *node, *handle, *reason;	/* "" where there is none */
	struct ipam_finding *next;
};
struct ipam_findings { struct arena mem; struct ipam_finding *first, **tail; };
void ipam_check(const struct ipam *ipam, struct ipam_findings *out);
void ipam_findings_free(struct ipam_findings *f);

/*
 * `manx ipam release`: the handle that a block gives the address to.  NULL with *e: nobody has it, or a pod, a tunnel
 * or the reserve lives by it.
 */
const char *ipam_releasable(const struct ipam *ipam, const struct addr *a, struct err *e);
/* Frees one address of a handle; done as in ipam_release(). */
void ipam_release_one(struct ipam *ipam, const char *handle, const struct addr *a, void (*done)(void *ctx), void *ctx);

/* Nothing is being assigned, released or written. */
bool ipam_idle(const struct ipam *ipam);

/*
 * `manx uninstall`, and a node that has gone: gives back all that the datastore says it has.  begin, then ask done() after each turn of the
 * loop until it is true; rc is what the datastore met, if anything.
 */
struct ipam_leave {
	struct ipam *ipam;
	const char *node;		/* the caller's, until it is done */
	unsigned pending;		/* deletions under way */
	bool again, second;
	int rc;
	struct str handles;		/* each terminated */
};
void ipam_leave_begin(struct ipam_leave *l, struct ipam *ipam, const char *node);
bool ipam_leave_done(struct ipam_leave *l);

#endif
