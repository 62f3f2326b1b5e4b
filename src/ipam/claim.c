/*
 * Claiming a block, Calico's two phases (libcalico-go/lib/ipam, block affinity):
 *
 *   1. BlockAffinity of node and CIDR, state pending
 *   2. IPAMBlock with affinity host:<node>
 *   3. the affinity again, state confirmed
 *
 * Whoever dies in between leaves a pending affinity; the node that owns it goes
 * on from there (claim_resume).  If somebody else's block is met in 2, our
 * affinity is deleted and the next CIDR tried.  A block of ours met there is
 * written once more unchanged, so that a release under way elsewhere loses.
 *
 * When no CIDR is left, a block that is empty and another node's is taken over: given
 * back for that node (unclaim.c), then claimed.  Whoever uses it meanwhile keeps it, since
 * both go by the block's version; a mark that is left on the affinity of a block in use is
 * the owner's to take away (claim_watch).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/util.h"
#include "ipam/cooldown.h"
#include "ipam/ipam_int.h"

static void claim_go(struct claim *c);

static const char *affinity_key(const struct claim *c, char out[254])
{
	affinity_name(out, c->ipam->node, &c->cidr);
	return out;
}

struct affinity *affinity_make(const char *node, const struct prefix *cidr, enum affinity_state state)
{
	struct affinity *a = row_new(sizeof *a);
	char name[254];

	affinity_name(name, node, cidr);
	a->row.key = arena_str(&a->row.mem, name);
	a->meta.namespace = a->meta.uid = "";
	a->meta.name = a->row.key;
	a->node = arena_str(&a->row.mem, node);
	a->type = "host";
	a->cidr = *cidr;
	a->state = state;
	affinity_labels(&a->row.mem, a);
	return a;
}

static void claim_end(struct claim *c, int code, const struct err *e)
{
	c->step = CLAIM_NONE;
	if (code == 0)
		log_info("ipam", "block %s claimed", prefix_text(&c->cidr).s);
	ipam_claimed(c->ipam, c->family, code, e);
}

static bool block_ours(const struct claim *c, const struct block *b)
{
	return b && model_owns(c->ipam->model, b);
}

/* What follows step when its write ended with rc. */
static enum claim_step step_after(const struct claim *c, int rc)
{
	const struct block *b = table_find(&c->ipam->model->blocks, prefix_text(&c->cidr).s);

	switch (c->step) {
	case CLAIM_PENDING:
		return rc == 0 ? CLAIM_BLOCK : CLAIM_PENDING;
	case CLAIM_BLOCK:
		if (rc == 0)
			return CLAIM_CONFIRM;
		return !b || block_ours(c, b) ? CLAIM_BLOCK : CLAIM_DROP;
	case CLAIM_CONFIRM:
		return rc == 0 ? CLAIM_NONE : CLAIM_PENDING;
	case CLAIM_DROP:
		return rc == 0 ? CLAIM_NONE : CLAIM_DROP;
	case CLAIM_TAKE:
	case CLAIM_NONE:
		break;
	}
	return CLAIM_NONE;
}

static void claim_fail(struct claim *c, int rc)
{
	struct err e = { 0 };

	err_set(&e, -rc, "claiming block %s: %s", prefix_text(&c->cidr).s, strerror(rc ? -rc : EBUSY));
	c->ipam->resumed[c->family] = false;	/* what it left half done */
	c->ipam->resume_after = now_ms() + IPAM_RETRY_MS;
	timer_set(c->ipam->loop, &c->ipam->retry, IPAM_RETRY_MS);
	claim_end(c, rc == -EAGAIN ? IPAM_NO_BLOCK : IPAM_TRY_LATER, &e);
}

static void on_written(void *ctx, int rc)
{
	struct claim *c = ctx;
	bool dropped = c->step == CLAIM_DROP;

	if ((rc != 0 && rc != -ESTALE) || ++c->tries > IPAM_TRIES_MAX) {
		claim_fail(c, rc);
		return;
	}
	c->step = step_after(c, rc);
	if (c->step != CLAIM_NONE) {
		claim_go(c);
	} else if (dropped) {
		ipam_kick(c->ipam);	/* who still waits starts over with another CIDR */
	} else {
		claim_end(c, 0, NULL);
	}
}

static void affinity_write(struct claim *c, enum affinity_state state)
{
	char name[254];
	const struct affinity *old = table_find(&c->ipam->model->affinities, affinity_key(c, name));
	struct affinity *a = affinity_make(c->ipam->node, &c->cidr, state);

	store_put(c->ipam->store, kind_named("BlockAffinity"), &a->row, old ? old->meta.version : 0, on_written, c);
}

static void block_write(struct claim *c)
{
	const struct block *old = table_find(&c->ipam->model->blocks, prefix_text(&c->cidr).s);
	struct block *b;

	if (old && !block_ours(c, old)) {
		c->step = CLAIM_DROP;
		claim_go(c);
		return;
	}
	b = old ? block_copy(old) : block_new(&c->cidr, c->ipam->node, wall_ns(), block_size(&c->cidr));
	store_put(c->ipam->store, kind_named("IPAMBlock"), &b->row, old ? old->meta.version : 0, on_written, c);
}

static void affinity_drop(struct claim *c)
{
	char name[254];
	const struct affinity *old = table_find(&c->ipam->model->affinities, affinity_key(c, name));

	if (old) {
		store_del(c->ipam->store, kind_named("BlockAffinity"), name, old->meta.version, on_written, c);
		return;
	}
	c->step = CLAIM_NONE;
	ipam_kick(c->ipam);
}

static void claim_go(struct claim *c)
{
	switch (c->step) {
	case CLAIM_PENDING:
		affinity_write(c, AFFINITY_PENDING);
		break;
	case CLAIM_BLOCK:
		block_write(c);
		break;
	case CLAIM_CONFIRM:
		affinity_write(c, AFFINITY_CONFIRMED);
		break;
	case CLAIM_DROP:
		affinity_drop(c);
		break;
	case CLAIM_TAKE:
	case CLAIM_NONE:
		break;
	}
}

static void claim_cidr(struct claim *c, const struct prefix *cidr)
{
	c->cidr = *cidr;
	c->tries = 0;
	c->step = CLAIM_PENDING;
	claim_go(c);
}

/* If it is still there, somebody was faster: who still waits starts over. */
static void on_taken(struct unclaim *u, int rc)
{
	struct claim *c = container_of(u, struct claim, take);

	if (rc < 0) {
		claim_fail(c, rc);
	} else if (table_find(&c->ipam->model->blocks, prefix_text(&c->cidr).s)) {
		c->step = CLAIM_NONE;
		ipam_kick(c->ipam);
	} else {
		claim_cidr(c, &c->cidr);
	}
}

static void claim_take(struct claim *c, const struct block *b)
{
	log_info("ipam", "block %s of node %s is empty, and its pool is full: taken over", b->row.key, b->node);
	c->step = CLAIM_TAKE;
	c->cidr = b->cidr;
	c->take.ipam = c->ipam;
	c->take.done = on_taken;
	unclaim_begin(&c->take, b->node, &b->cidr);
}

/* The n-th CIDR of the pool from the node's own starting point, so that a node tends to return to its old blocks. */
static struct prefix candidate(const struct ipam *ipam, const struct pool *p, uint64_t count, uint64_t n)
{
	unsigned host_bits = addr_bits(&p->cidr.addr) - p->block_size;
	uint64_t at = (fnv32a(ipam->node, strlen(ipam->node)) % count + n) % count;

	return (struct prefix){ addr_plus(&p->cidr.addr, at << host_bits), p->block_size };
}

static bool cidr_taken(const struct ipam *ipam, const struct prefix *cidr)
{
	const struct block *b;

	if (table_find(&ipam->model->blocks, prefix_text(cidr).s))
		return true;
	table_each(&ipam->model->blocks, b)	/* blocks of another size, from before an edit of the pool */
		if (b->cidr.len != cidr->len && prefix_overlaps(&b->cidr, cidr))
			return true;
	return false;
}

/* The block that a fixed address belongs to, in the pool that holds it.  0, or negative with *e. */
static int fixed_cidr(const struct ipam *ipam, const struct addr *fixed, struct prefix *cidr, struct err *e)
{
	const struct pool *p = model_pool_of(ipam->model, fixed);

	if (!p)
		return err_set(e, EADDRNOTAVAIL, "address %s is in no pool", addr_text(fixed).s);
	*cidr = prefix_mask((struct prefix){ *fixed, p->block_size });
	if (!cidr_taken(ipam, cidr))
		return 0;
	return err_set(e, EADDRNOTAVAIL, "address %s: its block %s overlaps one of another size, from before pool %s was edited",
		       addr_text(fixed).s, prefix_text(cidr).s, p->meta.name);
}

/*
 * A block of a living node that has given nothing of it to anybody.  Not a young one: two nodes would take it from each
 * other before either could use it.
 */
static bool cidr_is_idle(const struct ipam *ipam, const struct prefix *cidr)
{
	const struct block *b = table_find(&ipam->model->blocks, prefix_text(cidr).s);
	const struct affinity *a;
	char name[254];

	if (!b || b->deleted || !b->node || model_is_self(ipam->model, b->node) || b->free_count != b->size || !has_room(ipam, b) ||
	    flight_of(ipam, b) || !moment_is_over(b->affinity_claim_time, IPAM_YOUNG_S, wall_ns()))
		return false;
	affinity_name(name, b->node, cidr);
	a = table_find(&ipam->model->affinities, name);
	return a && a->state != AFFINITY_PENDING;
}

static bool pool_choose(const struct ipam *ipam, const struct pool *p, bool idle, struct prefix *cidr)
{
	unsigned bits = p->block_size - p->cidr.len;
	uint64_t count = bits > 20 ? 1u << 20 : 1u << bits;	/* more blocks than nodes could ever claim */

	for (uint64_t n = 0; n < count; n++) {
		*cidr = candidate(ipam, p, count, n);
		if (idle ? cidr_is_idle(ipam, cidr) : !cidr_taken(ipam, cidr) && !model_is_reserved(ipam->model, cidr))
			return true;
	}
	return false;
}

/* Pools in the order of their names; the names of those that are full go to full[]. */
static bool choose_in_pools(const struct ipam *ipam, int family, const struct ipam_request *r, bool idle, struct prefix *cidr,
			    struct str *full)
{
	const char *after = "";

	for (;;) {
		const struct pool *p, *next = NULL;

		table_each(&ipam->model->pools, p)
			if (strcmp(p->meta.name, after) > 0 && (!next || strcmp(p->meta.name, next->meta.name) < 0))
				next = p;
		if (!next)
			return false;
		after = next->meta.name;
		if (next->cidr.addr.family != family_of(family) || !pool_serves(ipam, next, r))
			continue;
		if (pool_choose(ipam, next, idle, cidr))
			return true;
		if (!idle)
			str_printf(full, "%s%s (%s)", full->len ? ", " : "", next->meta.name, prefix_text(&next->cidr).s);
	}
}

/* One that nobody has, or else that another node does not use; not for the reserve. */
static bool choose_cidr(const struct ipam *ipam, int family, const struct ipam_request *r, struct prefix *cidr, struct str *full)
{
	return choose_in_pools(ipam, family, r, false, cidr, full) || (!r->own && choose_in_pools(ipam, family, r, true, cidr, full));
}

static unsigned blocks_held(const struct ipam *ipam, int family)
{
	unsigned n = 0;
	const struct block *b;

	table_each(&ipam->model->blocks, b)
		n += b->cidr.addr.family == family_of(family) && model_is_self(ipam->model, b->node);
	return n;
}

static unsigned blocks_most(const struct ipam *ipam)
{
	const unsigned most = model_ipam_config(ipam->model)->max_blocks;

	return most ? most : IPAM_BLOCKS_PER_HOST;
}

/* A node that holds as many blocks as it may does not borrow either. */
bool claim_is_hopeless(const struct ipam *ipam, const struct ipam_ask *a)
{
	const struct ipam_config *config = model_ipam_config(ipam->model);
	autostr struct str full = { 0 };
	struct prefix cidr;

	return !config->strict_affinity && !podcidr_is_on(ipam) && ipam->claims[a->family].step == CLAIM_NONE &&
	       blocks_held(ipam, a->family) < blocks_most(ipam) && !choose_cidr(ipam, a->family, a->request, &cidr, &full);
}

void claim_start(struct ipam *ipam, int family)
{
	struct claim *c = &ipam->claims[family];
	autostr struct str full = { 0 };
	const struct block *b;
	struct prefix cidr;
	struct err e;

	if (c->step != CLAIM_NONE)
		return;
	const struct ipam_request *first = ipam->asks[family]->request;

	c->of = ipam->asks[family];

	if (podcidr_is_on(ipam)) {
		podcidr_refuse(ipam, first, family, &e);
		claim_end(c, 101, &e);
		return;
	}

	if (first->fixed[family].family) {
		if (fixed_cidr(ipam, &first->fixed[family], &cidr, &e) < 0) {
			claim_end(c, IPAM_NO_ADDRESS, &e);
			return;
		}
		claim_cidr(c, &cidr);
		return;
	}
	if (!model_ipam_config(ipam->model)->auto_allocate) {
		err_set(&e, ENOSPC, "no free address in the blocks of node %s, and autoAllocateBlocks is off", ipam->node);
		claim_end(c, IPAM_NO_ADDRESS, &e);
		return;
	}
	if (blocks_held(ipam, family) >= blocks_most(ipam)) {
		err_set(&e, ENOSPC, "node %s holds %u blocks already and all are full", ipam->node, blocks_most(ipam));
		claim_end(c, IPAM_NO_ADDRESS, &e);
		return;
	}
	if (!choose_cidr(ipam, family, first, &cidr, &full)) {
		err_set(&e, ENOSPC, full.len ? "no free address: pool %s is full" : "no usable pool of this family%s",
			str_text(&full));
		claim_end(c, IPAM_NO_ADDRESS, &e);
		return;
	}
	b = table_find(&ipam->model->blocks, prefix_text(&cidr).s);
	if (b)
		claim_take(c, b);
	else
		claim_cidr(c, &cidr);
}

/* A block of ours whose affinity was lost. */
static const struct block *block_unclaimed(const struct ipam *ipam, int family)
{
	const struct block *b;
	char name[254];

	table_each(&ipam->model->blocks, b) {
		if (b->cidr.addr.family != family_of(family) || !model_owns(ipam->model, b))
			continue;
		affinity_name(name, ipam->node, &b->cidr);
		if (!table_find(&ipam->model->affinities, name))
			return b;
	}
	return NULL;
}

bool claim_resume(struct ipam *ipam, int family)
{
	struct claim *c = &ipam->claims[family];
	const struct affinity *a;
	const struct block *b;

	if (c->step != CLAIM_NONE || now_ms() < ipam->resume_after)
		return true;
	table_each(&ipam->model->affinities, a) {
		if (a->deleted || a->state == AFFINITY_CONFIRMED || !model_is_self(ipam->model, a->node) ||
		    strcmp(a->type, "host") != 0 || a->cidr.addr.family != family_of(family))
			continue;
		log_info("ipam", "block %s: a claim was left half done, going on", prefix_text(&a->cidr).s);
		claim_cidr(c, &a->cidr);
		return true;
	}
	if (!(b = block_unclaimed(ipam, family)))
		return false;
	log_info("ipam", "block %s: its affinity is lost, made again", b->row.key);
	claim_cidr(c, &b->cidr);
	return true;
}

/* Of a block in use: it is ours all the same. */
static void mark_look(struct ipam *ipam, const struct block *b)
{
	const struct affinity *a;
	char name[254];

	if (!b || !model_owns(ipam->model, b) || b->free_count == b->size || unclaim_has(ipam, b))
		return;
	affinity_name(name, ipam->node, &b->cidr);
	a = table_find(&ipam->model->affinities, name);
	if (a && a->state != AFFINITY_CONFIRMED)
		ipam->resumed[family_index(b->cidr.addr.family)] = false;
}

void claim_watch(struct ipam *ipam)
{
	const struct affinity *a;
	const struct block *b;

	table_each_dirty(&ipam->model->affinities, a)
		mark_look(ipam, table_find(&ipam->model->blocks, prefix_text(&a->cidr).s));
	table_each_dirty(&ipam->model->blocks, b)
		mark_look(ipam, b);
}
