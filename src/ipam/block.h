#ifndef IPAM_BLOCK_H
#define IPAM_BLOCK_H
/*
 * One IPAMBlock: pure changes of a copy, which the caller then writes by
 * compare-and-swap.  Ordinal n is the address cidr + n.  Free ordinals are a
 * FIFO: given from the head, freed to the tail, so that an address rests as
 * long as the block allows.  (Calico's libcalico-go/lib/ipam does the same.)
 */
#include "model/model.h"

struct block_owner {
	const char *handle;		/* "k8s-pod-network.<container id>", "vxlan-tunnel-addr-<node>" */
	const char *node;
	const char *pod, *namespace;	/* NULL without a pod identity */
	const char *type;		/* "vxlanTunnelAddress"; NULL for pods */
	int64_t wall_ns;		/* becomes the pod's timestamp; 0: none is written */
};

/* An empty block of node ("host:<node>") of the first `size` addresses, claimed at wall_ns (sequence starts there too). */
struct block *block_new(const struct prefix *cidr, const char *node, int64_t wall_ns, unsigned size);
unsigned block_size(const struct prefix *cidr);	/* of all of them */
struct block *block_copy(const struct block *b);	/* to change */
/* Ordinals that have rested since they were given back (releasedAt, no handle) are returned to the tail. */
void block_sweep(struct block *b, unsigned cooldown_s, int64_t wall_ns);

/* Is that address not to be given away unasked? */
typedef bool block_bar(const void *ctx, const struct addr *a);
/* Gives the first ordinal of the FIFO that is not barred (NULL: any) to owner.  The ordinal, or -ENOSPC. */
int block_assign(struct block *b, const struct block_owner *owner, block_bar *barred, const void *ctx);
/* Would that find one, in a copy that was swept? */
bool block_has_room(const struct block *b, block_bar *barred, const void *ctx, unsigned cooldown_s);
/* Gives that ordinal to owner, from its node's reserve too; also again when it has it.  -EADDRINUSE: another handle holds it. */
int block_assign_at(struct block *b, unsigned ordinal, const struct block_owner *owner);
/* Frees the ordinal when handle holds it; rests_since 0: at once.  False otherwise. */
bool block_release(struct block *b, unsigned ordinal, const char *handle, int64_t rests_since);

/* Is it kept for pods of that node while the datastore is away? */
#define RESERVE_PREFIX "manx-reserve-"
bool block_reserves(const struct block_attribute *a, const char *node);
/* May b hold anything of that node?  False means surely not. */
bool block_concerns(const struct block *b, const char *node);
/* First ordinal at or after `from` that handle holds, or -1. */
int block_find(const struct block *b, const char *handle, unsigned from);
/* The attribute of an allocated ordinal, or NULL when it is free. */
const struct block_attribute *block_attribute(const struct block *b, unsigned ordinal);
struct addr block_address(const struct block *b, unsigned ordinal);
/* -1 when the address is not among the block's. */
int block_ordinal(const struct block *b, const struct addr *a);
/* Pods' addresses, and the others (tunnels, reserved). */
void block_count(const struct block *b, unsigned *used, unsigned *reserved);

#endif
