/* Addresses wanted: the queue of asks, and which block each is served from. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "ipam/ipam_int.h"

/* --- requests --- */

void ask_push(struct ipam *ipam, struct ipam_ask *a)
{
	a->next = NULL;
	*ipam->asks_tail[a->family] = a;
	ipam->asks_tail[a->family] = &a->next;
}

/* A fixed address first: nobody else may be given it. */
void ask_push_first(struct ipam *ipam, struct ipam_ask *a)
{
	a->next = ipam->asks[a->family];
	if (!a->next)
		ipam->asks_tail[a->family] = &a->next;
	ipam->asks[a->family] = a;
}

/* It waits no more: a claim for it is nobody's. */
static void ask_leaves(struct ipam *ipam, const struct ipam_ask *a)
{
	if (ipam->claims[a->family].of == a)
		ipam->claims[a->family].of = NULL;
}

static struct ipam_ask *ask_pop(struct ipam *ipam, int family)
{
	struct ipam_ask *a = ipam->asks[family];

	if (a && !(ipam->asks[family] = a->next))
		ipam->asks_tail[family] = &ipam->asks[family];
	if (a)
		ask_leaves(ipam, a);
	return a;
}

static void on_deliver(struct deferred *d)
{
	struct ipam_request *r = container_of(d, struct ipam_request, deliver);

	r->done(r);
}

/* One family has its answer; with the last of them the whole request has. */
void ask_settle(struct ipam *ipam, struct ipam_ask *a)
{
	struct ipam_request *r = a->request;

	a->pending = false;
	if (--r->pending)
		return;
	if (r->code) {
		for (int f = 0; f < FAMILIES; f++)
			if (r->ips[f].family) {		/* the other family's: given back */
				ipam_release(ipam, r->owner.handle, r->ips, NULL, NULL);
				break;
			}
		memset(r->ips, 0, sizeof r->ips);
	} else {
		handle_sync(ipam, r->owner.handle);
	}
	loop_defer(ipam->loop, &r->deliver);
}

void ask_fail(struct ipam *ipam, struct ipam_ask *a, int code, const struct err *e)
{
	if (!a->request->code) {
		a->request->code = code;
		a->request->err = *e;
	}
	ask_settle(ipam, a);
}

void ipam_assign(struct ipam *ipam, struct ipam_request *r)
{
	const uint64_t now = now_ms();

	r->code = 0;
	r->pending = r->tries = r->writes = 0;
	r->err = (struct err){ 0 };
	memset(r->ips, 0, sizeof r->ips);
	memset(r->likely, 0, sizeof r->likely);
	r->deliver = (struct deferred){ .fn = on_deliver };
	for (int f = 0; f < FAMILIES; f++)
		r->pending += r->want[f];
	for (int f = 0; f < FAMILIES; f++) {
		if (!r->want[f])
			continue;
		r->ask[f] = (struct ipam_ask){ .request = r, .family = f, .pending = true, .since_ms = now };
		if (r->fixed[f].family)
			ask_push_first(ipam, &r->ask[f]);
		else
			ask_push(ipam, &r->ask[f]);
	}
	ipam_kick(ipam);
}

/* Takes it out of the queue.  False: it is not there, its write is under way. */
static bool ask_withdraw(struct ipam *ipam, struct ipam_ask *a)
{
	struct ipam_ask **at = &ipam->asks[a->family];

	while (*at && *at != a)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = a->next;
	if (!*at)
		ipam->asks_tail[a->family] = at;
	ask_leaves(ipam, a);
	return true;
}

void ipam_cancel(struct ipam *ipam, struct ipam_request *r)
{
	static const struct err cancelled = { ECANCELED, "given up" };

	for (int f = 0; f < FAMILIES; f++)
		if (r->ask[f].pending && ask_withdraw(ipam, &r->ask[f]))
			ask_fail(ipam, &r->ask[f], IPAM_TRY_LATER, &cancelled);
}

void ipam_claimed(struct ipam *ipam, int family, int code, const struct err *e)
{
	struct ipam_ask *a = code ? ipam->claims[family].of : NULL;

	ipam->claims[family].of = NULL;
	if (a && ask_withdraw(ipam, a) && !reserve_lend(ipam, a))
		ask_fail(ipam, a, code, e);
	ipam_kick(ipam);	/* the next one may want another pool */
}

/* --- assignments --- */

/* Reserved, or lent from an own block. */
static bool is_barred(const void *ctx, const struct addr *a)
{
	const struct ipam *ipam = ctx;
	const struct prefix host = prefix_host(a);

	return model_is_reserved(ipam->model, &host) || reserve_has_lent(ipam, a);
}

int ask_assign(struct ipam *ipam, struct block *copy, const struct block_owner *owner)
{
	return block_assign(copy, owner, is_barred, ipam);
}

bool has_room(const struct ipam *ipam, const struct block *b)
{
	return block_has_room(b, is_barred, ipam, model_ipam_config(ipam->model)->cooldown_s);
}

bool block_serves(const struct ipam *ipam, const struct block *b, int family, const struct ipam_request *r)
{
	const struct pool *p;

	if (!model_owns(ipam->model, b) || b->cidr.addr.family != family_of(family) ||
	    unclaim_has(ipam, b))
		return false;
	p = model_pool_of(ipam->model, &b->cidr.addr);
	return p && pool_serves(ipam, p, r);
}

/* Pools in the order of their names, blocks in that of their addresses. */
static bool comes_before(const struct ipam *ipam, const struct block *a, const struct block *b)
{
	const struct pool *of_a = model_pool_of(ipam->model, &a->cidr.addr), *of_b = model_pool_of(ipam->model, &b->cidr.addr);
	int order = of_a && of_b ? strcmp(of_a->meta.name, of_b->meta.name) : 0;

	return order ? order < 0 : prefix_cmp(&a->cidr, &b->cidr) < 0;
}

/*
 * The own block for a: the first with room, its copy already open or not.
 * *busy: there is one whose write is under way, so that waiting may help.
 */
static struct flight *block_choose(struct ipam *ipam, const struct ipam_ask *a, bool *busy)
{
	const struct block *b, *best = NULL;

	*busy = false;
	table_each(&ipam->model->blocks, b) {
		const struct flight *f;

		if (!block_serves(ipam, b, a->family, a->request))
			continue;
		f = flight_of(ipam, b);
		if (f && !f->copy)
			*busy = true;
		else if (!has_room(ipam, f ? f->copy : b))
			continue;
		else if (f && f->count == ARRAY_SIZE(f->ordinals))
			*busy = true;		/* this write is full: the next one */
		else if (!best || comes_before(ipam, b, best))
			best = b;
	}
	if (!best)
		return NULL;
	struct flight *f = flight_of(ipam, best);

	return f ? f : flight_open(ipam, best);
}

/*
 * When no block is to be had any more: one that is not ours, with the most room.  It stays whose it is; a route of
 * its own leads to the address.
 */
static struct flight *block_borrow(struct ipam *ipam, const struct ipam_ask *a, bool *busy)
{
	const struct block *b, *best = NULL;
	struct flight *f;

	table_each(&ipam->model->blocks, b) {
		const struct pool *p;

		if (b->deleted || b->cidr.addr.family != family_of(a->family) || model_is_self(ipam->model, b->node))
			continue;
		p = model_pool_of(ipam->model, &b->cidr.addr);
		if (!p || !pool_serves(ipam, p, a->request))
			continue;
		f = flight_of(ipam, b);
		if (f && (!f->copy || f->count == ARRAY_SIZE(f->ordinals)))
			*busy = true;
		else if (has_room(ipam, f ? f->copy : b) && (!best || b->free_count > best->free_count))
			best = b;
	}
	if (!best || *busy)
		return NULL;
	f = flight_of(ipam, best);
	return f ? f : flight_open(ipam, best);
}

/* The block of a fixed address, whoever's it is. */
static struct flight *block_of(struct ipam *ipam, const struct addr *fixed, bool *busy)
{
	const struct block *held = model_block_of(ipam->model, fixed), *b = held && block_ordinal(held, fixed) >= 0 ? held : NULL;
	struct flight *f = b ? flight_of(ipam, b) : NULL;

	*busy = f && (!f->copy || f->count == ARRAY_SIZE(f->ordinals));
	return *busy || !b ? NULL : f ? f : flight_open(ipam, b);
}

static void ask_refuse(struct ipam *ipam, struct ipam_ask *a, int code, const char *why)
{
	struct err e;

	err_set(&e, EADDRINUSE, "address %s %s", addr_text(&a->request->fixed[a->family]).s, why);
	ask_pop(ipam, a->family);
	ask_fail(ipam, a, code, &e);
}

/* strictAffinity: other nodes' blocks are not even for who asks by address. */
static bool is_forbidden(const struct ipam *ipam, const struct ipam_ask *a, const struct block *b)
{
	return !a->request->keeps && model_ipam_config(ipam->model)->strict_affinity &&
	       !model_is_self(ipam->model, b->node);
}

/* To a pod that asked before, though no block says so yet. */
static bool is_lent(const struct ipam *ipam, const struct ipam_ask *a)
{
	const struct addr *fixed = &a->request->fixed[a->family];

	return fixed->family && !a->request->keeps && reserve_has_lent(ipam, fixed);
}

static int assign(struct ipam *ipam, struct flight *f, const struct ipam_ask *a)
{
	const struct addr *fixed = &a->request->fixed[a->family];

	if (!fixed->family)
		return ask_assign(ipam, f->copy, &a->request->owner);
	if (is_forbidden(ipam, a, f->copy))
		return -EPERM;
	return is_lent(ipam, a) ? -EADDRINUSE : block_assign_at(f->copy, block_ordinal(f->copy, fixed), &a->request->owner);
}

/* The block that a is served from, its copy open; NULL: none yet, or (*busy) after a write that is under way. */
static struct flight *block_for(struct ipam *ipam, const struct ipam_ask *a, bool *busy)
{
	struct flight *f;

	if (a->request->fixed[a->family].family)
		return block_of(ipam, &a->request->fixed[a->family], busy);
	f = block_choose(ipam, a, busy);
	if (f || *busy || a->request->own || !claim_is_hopeless(ipam, a))
		return f;
	return block_borrow(ipam, a, busy);
}

void asks_step(struct ipam *ipam, int family)
{
	struct ipam_ask *a;
	bool busy;

	while ((a = ipam->asks[family])) {
		struct flight *f = block_for(ipam, a, &busy);
		int ordinal;

		if (!f) {
			if (!busy)
				claim_start(ipam, family);
			return;
		}
		ordinal = assign(ipam, f, a);
		if (ordinal == -EADDRINUSE) {
			ask_refuse(ipam, a, IPAM_ADDRESS_TAKEN, "is taken");
			continue;
		}
		if (ordinal == -EPERM) {
			ask_refuse(ipam, a, IPAM_NO_ADDRESS, "is in another node's block, and strictAffinity is on");
			continue;
		}
		ask_pop(ipam, family);
		if (ordinal < 0) {
			ask_fail(ipam, a, IPAM_TRY_LATER, &(struct err){ ENOSPC, "the block is not consistent: see manx ipam show" });
			continue;
		}
		a->request->likely[family] = block_address(f->copy, ordinal);
		f->asks[f->count] = a;
		f->ordinals[f->count++] = (uint16_t)ordinal;
	}
}

/* --- no answer --- */

static void queue_lend(struct ipam *ipam, int family, uint64_t before_ms, bool refuse)
{
	static const struct err away = { ENOTCONN, "the datastore is away, and no address is left in the reserve" };

	for (struct ipam_ask *a = ipam->asks[family], *next; a; a = next) {
		next = a->next;
		if (!a->request->lend || a->since_ms > before_ms || !(refuse || reserve_can_lend(ipam, a)))
			continue;
		ask_withdraw(ipam, a);
		if (!reserve_lend(ipam, a))
			ask_fail(ipam, a, IPAM_NO_BLOCK, &away);
	}
}

/* The ordinal stays the ask's until the write has ended. */
static void flight_lend(struct ipam *ipam, struct flight *f, uint64_t before_ms)
{
	for (unsigned i = 0; i < f->count; i++)
		if (f->asks[i] && f->asks[i]->since_ms <= before_ms && reserve_lend(ipam, f->asks[i]))
			f->asks[i] = NULL;
}

void asks_lend(struct ipam *ipam, uint64_t before_ms, bool refuse)
{
	for (struct flight *f = ipam->flights; f; f = f->next)
		flight_lend(ipam, f, before_ms);
	for (int f = 0; f < FAMILIES; f++)
		queue_lend(ipam, f, before_ms, refuse);
}
