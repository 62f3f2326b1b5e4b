/*
 * Giving a block back, Calico's order: its affinity says pendingDeletion, the block is
 * deleted while it is empty, then the affinity is.  Whoever dies in between leaves an
 * affinity that is not confirmed: the node claims the block again (claim_resume), and
 * gives it back once more.
 *
 * Another node that takes an empty block over does the same (claim.c).  When:
 *
 *   its pool is gone, disabled, or does not select this node   as soon as it is empty
 *   other own blocks have room enough                          when it was empty for a while
 *
 * Enough is a quarter of what goes, so that a pod more does not claim it again.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "ipam/ipam_int.h"

static void on_written(void *ctx, int rc);
static void go(struct unclaim *u);

static void end(struct unclaim *u, int rc)
{
	u->step = UNCLAIM_NONE;
	u->done(u, rc);
}

/* --- which --- */

static bool is_ours(const struct ipam *ipam, const struct block *b)
{
	return model_owns(ipam->model, b);
}

static bool is_empty(const struct ipam *ipam, const struct block *b)
{
	const int f = family_index(b->cidr.addr.family);

	return is_ours(ipam, b) && b->free_count == b->size && !flight_of(ipam, b) && ipam->claims[f].step == CLAIM_NONE &&
	       ipam->resumed[f] && !reserve_has_lent_of(ipam, &b->cidr);
}

static bool is_served(const struct ipam *ipam, const struct block *b)
{
	const struct pool *p = model_pool_of(ipam->model, &b->cidr.addr);

	return p && !p->disabled && !p->meta.deleting && pool_selects_node(ipam, p);
}

static bool is_surplus(const struct ipam *ipam, const struct block *gone)
{
	const struct block *b;
	unsigned room = 0;

	table_each(&ipam->model->blocks, b)
		if (b != gone && is_ours(ipam, b) && b->cidr.addr.family == gone->cidr.addr.family && is_served(ipam, b))
			room += b->free_count;
	return room * 4 >= gone->size;
}

bool unclaim_has(const struct ipam *ipam, const struct block *b)
{
	return ipam->unclaim.step != UNCLAIM_NONE && prefix_equal(&ipam->unclaim.cidr, &b->cidr);
}

/* --- the writes --- */

static const struct affinity *affinity_of(const struct unclaim *u, char name[254])
{
	affinity_name(name, u->node, &u->cidr);
	return table_find(&u->ipam->model->affinities, name);
}

/* Somebody else may have seen to it meanwhile. */
static void affinity_put(struct unclaim *u, enum affinity_state state, enum affinity_state from)
{
	char name[254];
	const struct affinity *old = affinity_of(u, name);

	if (old && (old->state == from || old->state == state))
		store_put(u->ipam->store, kind_named("BlockAffinity"), &affinity_make(u->node, &u->cidr, state)->row,
			  old->meta.version, on_written, u);
	else
		end(u, 0);
}

static void block_delete(struct unclaim *u)
{
	const struct block *b = table_find(&u->ipam->model->blocks, prefix_text(&u->cidr).s);

	const bool there = b && !b->deleted && b->node && strcmp(b->node, u->node) == 0;

	if (there && b->free_count == b->size) {
		store_del(u->ipam->store, kind_named("IPAMBlock"), b->row.key, b->meta.version, on_written, u);
		return;
	}
	u->step = there ? UNCLAIM_RESTORE : UNCLAIM_AFFINITY;
	go(u);
}

/* One that is not pendingDeletion any more belongs to a claim that has begun meanwhile. */
static void affinity_delete(struct unclaim *u)
{
	char name[254];
	const struct affinity *a = affinity_of(u, name);

	if (a && a->state == AFFINITY_PENDING_DELETION)
		store_del(u->ipam->store, kind_named("BlockAffinity"), name, a->meta.version, on_written, u);
	else
		end(u, 0);
}

static void go(struct unclaim *u)
{
	switch (u->step) {
	case UNCLAIM_MARK:
		affinity_put(u, AFFINITY_PENDING_DELETION, AFFINITY_CONFIRMED);
		break;
	case UNCLAIM_BLOCK:
		block_delete(u);
		break;
	case UNCLAIM_AFFINITY:
		affinity_delete(u);
		break;
	case UNCLAIM_RESTORE:
		affinity_put(u, AFFINITY_CONFIRMED, AFFINITY_PENDING_DELETION);
		break;
	case UNCLAIM_NONE:
		end(u, 0);
		break;
	}
}

static void on_written(void *ctx, int rc)
{
	static const enum unclaim_step next[] = {
		[UNCLAIM_MARK] = UNCLAIM_BLOCK, [UNCLAIM_BLOCK] = UNCLAIM_AFFINITY, [UNCLAIM_AFFINITY] = UNCLAIM_NONE,
		[UNCLAIM_RESTORE] = UNCLAIM_NONE,
	};
	struct unclaim *u = ctx;

	if ((rc && rc != -ESTALE) || ++u->tries > IPAM_TRIES_MAX) {
		end(u, rc ? rc : -EBUSY);
		return;
	}
	if (rc == 0)
		u->step = next[u->step];
	go(u);
}

void unclaim_begin(struct unclaim *u, const char *node, const struct prefix *cidr)
{
	str_copy(u->node, sizeof u->node, node);
	u->cidr = *cidr;
	u->tries = 0;
	u->step = UNCLAIM_MARK;
	go(u);
}

/* --- when --- */

static void begin(struct ipam *ipam, const struct block *b)
{
	struct unclaim *u = &ipam->unclaim;

	timer_del(ipam->loop, &u->timer);
	unclaim_begin(u, ipam->node, &b->cidr);
}

static void on_given_back(struct unclaim *u, int rc)
{
	struct ipam *ipam = u->ipam;

	if (rc < 0) {			/* what it left half done */
		ipam->resumed[family_index(u->cidr.addr.family)] = false;
		ipam->resume_after = now_ms() + IPAM_RETRY_MS;
		timer_set(ipam->loop, &ipam->retry, IPAM_RETRY_MS);
		return;
	}
	if (!table_find(&ipam->model->blocks, prefix_text(&u->cidr).s))
		log_info("ipam", "block %s is empty: given back", prefix_text(&u->cidr).s);
	u->due = true;
	ipam_kick(ipam);
}

static void look(struct ipam *ipam)
{
	struct unclaim *u = &ipam->unclaim;
	const struct block *b, *surplus = NULL;

	if (u->step != UNCLAIM_NONE || ipam->store->state == STORE_AWAY)
		return;
	table_each(&ipam->model->blocks, b) {
		if (!is_empty(ipam, b))
			continue;
		if (!is_served(ipam, b)) {
			begin(ipam, b);
			return;
		}
		if (!surplus && is_surplus(ipam, b))
			surplus = b;
	}
	if (!surplus) {
		timer_del(ipam->loop, &u->timer);
	} else if (!u->timer.on || !prefix_equal(&u->cidr, &surplus->cidr) || u->version != surplus->meta.version) {
		u->cidr = surplus->cidr;
		u->version = surplus->meta.version;
		timer_set(ipam->loop, &u->timer, IPAM_EMPTY_MS);
	}
}

static void on_timer(struct timer *t)
{
	struct unclaim *u = container_of(t, struct unclaim, timer);
	struct ipam *ipam = u->ipam;
	const struct block *b = table_find(&ipam->model->blocks, prefix_text(&u->cidr).s);

	if (u->step == UNCLAIM_NONE && b && b->meta.version == u->version && is_empty(ipam, b) && is_surplus(ipam, b))
		begin(ipam, b);
	else
		look(ipam);
}

void unclaim_init(struct ipam *ipam)
{
	ipam->unclaim = (struct unclaim){ .ipam = ipam, .done = on_given_back, .timer = { .fn = on_timer } };
}

void unclaim_watch(struct ipam *ipam)
{
	const struct model *m = ipam->model;
	bool changed = m->pools.dirty || m->nodes.dirty || ipam->unclaim.due;
	const struct block *b;

	table_each_dirty(&m->blocks, b)
		changed |= b->row.gone || is_ours(ipam, b);
	ipam->unclaim.due = false;
	if (changed)
		look(ipam);
}
