/*
 * The two queues (addresses wanted, addresses given back) and the writes that
 * empty them.  advance() puts as much of both as fits into copies of blocks and
 * sends each as one compare-and-swap; its end calls advance() again.  A write
 * that lost the race puts its asks back and looks at the newer block.
 */
#include "ipam/ipam.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "ipam/ipam_int.h"

static void on_kick(struct deferred *d);
static void on_retry(struct timer *t);
static void on_sync(struct timer *t);

struct ipam *ipam_new(struct loop *l, struct model *m, struct store *s)
{
	struct ipam *ipam = xcalloc(1, sizeof *ipam);

	*ipam = (struct ipam){ .loop = l, .model = m, .store = s, .node = m->config->node_name,
			       .kick = { .fn = on_kick }, .retry = { .fn = on_retry }, .sync_timer = { .fn = on_sync } };
	for (int f = 0; f < FAMILIES; f++) {
		ipam->asks_tail[f] = &ipam->asks[f];
		ipam->claims[f] = (struct claim){ .ipam = ipam, .family = f };
		ipam->defaults[f] = (struct default_pool){ .ipam = ipam };
	}
	tunnel_each(t)
		ipam->tunnels[t] = (struct tunnel_address){ .ipam = ipam, .tunnel = t };
	return ipam;
}

void ipam_free(struct ipam *ipam)
{
	deferred_del(ipam->loop, &ipam->kick);
	timer_del(ipam->loop, &ipam->retry);
	timer_del(ipam->loop, &ipam->sync_timer);
	for (struct release *r = ipam->releases, *next; r; r = next) {
		next = r->next;
		free(r->handle);
		free(r);
	}
	for (struct flight *f = ipam->flights, *next; f; f = next) {
		next = f->next;
		free(f);
	}
	for (struct handle_sync *s = ipam->syncs, *next; s; s = next) {
		next = s->next;
		free(s->id);
		free(s);
	}
	free(ipam);
}

void ipam_kick(struct ipam *ipam)
{
	loop_defer(ipam->loop, &ipam->kick);
}

static void on_retry(struct timer *t)
{
	ipam_kick(container_of(t, struct ipam, retry));
}

static void on_sync(struct timer *t)
{
	handles_start(container_of(t, struct ipam, sync_timer));
}

/* --- requests --- */

static void ask_push(struct ipam *ipam, struct ipam_ask *a)
{
	a->next = NULL;
	*ipam->asks_tail[a->family] = a;
	ipam->asks_tail[a->family] = &a->next;
}

/* A fixed address first: nobody else may be given it. */
static void ask_push_first(struct ipam *ipam, struct ipam_ask *a)
{
	a->next = ipam->asks[a->family];
	if (!a->next)
		ipam->asks_tail[a->family] = &a->next;
	ipam->asks[a->family] = a;
}

static struct ipam_ask *ask_pop(struct ipam *ipam, int family)
{
	struct ipam_ask *a = ipam->asks[family];

	if (a && !(ipam->asks[family] = a->next))
		ipam->asks_tail[family] = &ipam->asks[family];
	return a;
}

static void on_deliver(struct deferred *d)
{
	struct ipam_request *r = container_of(d, struct ipam_request, deliver);

	r->done(r);
}

/* One family has its answer; with the last of them the whole request has. */
static void ask_settle(struct ipam *ipam, struct ipam_ask *a)
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

static void ask_fail(struct ipam *ipam, struct ipam_ask *a, int code, const struct err *e)
{
	if (!a->request->code) {
		a->request->code = code;
		a->request->err = *e;
	}
	ask_settle(ipam, a);
}

void ipam_assign(struct ipam *ipam, struct ipam_request *r)
{
	r->code = 0;
	r->pending = r->tries = 0;
	r->err = (struct err){ 0 };
	memset(r->ips, 0, sizeof r->ips);
	r->deliver = (struct deferred){ .fn = on_deliver };
	for (int f = 0; f < FAMILIES; f++)
		r->pending += r->want[f];
	for (int f = 0; f < FAMILIES; f++) {
		if (!r->want[f])
			continue;
		r->ask[f] = (struct ipam_ask){ .request = r, .family = f, .pending = true };
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
	return true;
}

void ipam_cancel(struct ipam *ipam, struct ipam_request *r)
{
	static const struct err cancelled = { ECANCELED, "given up" };

	for (int f = 0; f < FAMILIES; f++)
		if (r->ask[f].pending && ask_withdraw(ipam, &r->ask[f]))
			ask_fail(ipam, &r->ask[f], 11, &cancelled);
}

void ipam_claimed(struct ipam *ipam, int family, int code, const struct err *e)
{
	struct ipam_ask *a = code ? ask_pop(ipam, family) : NULL;

	if (a)
		ask_fail(ipam, a, code, e);
	ipam_kick(ipam);	/* the next one may want another pool */
}

/* --- writes --- */

static struct flight *flight_of(struct ipam *ipam, const struct block *b)
{
	for (struct flight *f = ipam->flights; f; f = f->next)
		if (strcmp(f->key, b->row.key) == 0)
			return f;
	return NULL;
}

static struct flight *flight_open(struct ipam *ipam, const struct block *b)
{
	struct flight *f = xcalloc(1, sizeof *f);

	*f = (struct flight){ .ipam = ipam, .copy = block_copy(b), .expected = b->meta.version, .next = ipam->flights };
	f->asks_tail = &f->asks;
	str_copy(f->key, sizeof f->key, b->row.key);
	ipam->flights = f;
	return f;
}

static void flight_close(struct flight *f)
{
	for (struct flight **at = &f->ipam->flights; *at; at = &(*at)->next)
		if (*at == f) {
			*at = f->next;
			break;
		}
	free(f);
}

static void flight_lost(struct flight *f, int rc)
{
	struct ipam *ipam = f->ipam;
	struct err e = { 0 };

	for (struct ipam_ask *a = f->asks, *next; a; a = next) {
		next = a->next;
		if (rc == -ESTALE && ++a->request->tries < IPAM_TRIES_MAX) {
			if (a->request->fixed[a->family].family)
				ask_push_first(ipam, a);
			else
				ask_push(ipam, a);
			continue;
		}
		err_set(&e, -rc, "block %s: %s", f->key, rc == -ESTALE ? "others kept changing it" : strerror(-rc));
		ask_fail(ipam, a, rc == -EAGAIN ? 102 : 11, &e);
	}
}

static void on_flight(void *ctx, int rc)
{
	struct flight *f = ctx;
	struct ipam *ipam = f->ipam;
	const struct block *b = table_find(&ipam->model->blocks, f->key);

	if (rc == 0 && b) {
		unsigned n = 0;

		for (struct ipam_ask *a = f->asks, *next; a; a = next) {
			next = a->next;
			a->request->ips[a->family] = block_address(b, f->ordinals[n++]);
			ask_settle(ipam, a);
		}
	} else {
		flight_lost(f, rc ? rc : -ESTALE);
	}
	flight_close(f);
	if (rc == 0 || rc == -ESTALE)
		ipam_kick(ipam);
	else
		timer_set(ipam->loop, &ipam->retry, IPAM_RETRY_MS);
}

static void flights_send(struct ipam *ipam)
{
	for (struct flight *f = ipam->flights, *next; f; f = next) {
		struct block *copy = f->copy;

		next = f->next;
		if (!copy)
			continue;	/* already under way */
		f->copy = NULL;
		store_put(ipam->store, kind_named("IPAMBlock"), &copy->row, f->expected, on_flight, f);
	}
}

/* --- releases --- */

static bool release_covers(const struct release *r, const struct addr *a)
{
	return !r->has_only || addr_equal(a, &r->only[family_index(a->family)]);
}

/* A whole handle is one of this node's pods; single addresses may be anybody's. */
static bool release_concerns(const struct ipam *ipam, const struct release *r, const struct block *b)
{
	if (!r->has_only)
		return block_concerns(b, ipam->node);
	for (int f = 0; f < FAMILIES; f++)
		if (r->only[f].family && prefix_has(&b->cidr, &r->only[f]))
			return true;
	return false;
}

/* Does b hold anything that r frees?  The first such ordinal from `from`, or -1. */
static int release_find(const struct release *r, const struct block *b, unsigned from)
{
	for (int o = block_find(b, r->handle, from); o >= 0; o = block_find(b, r->handle, o + 1)) {
		struct addr a = block_address(b, o);

		if (release_covers(r, &a))
			return o;
	}
	return -1;
}

/* True when nothing of it is left in any block. */
static bool release_step(struct ipam *ipam, struct release *r)
{
	bool finished = true;
	const struct block *b;

	table_each(&ipam->model->blocks, b) {
		if (b->deleted || !release_concerns(ipam, r, b) || release_find(r, b, 0) < 0)
			continue;
		struct flight *f = flight_of(ipam, b);

		finished = false;
		if (f && !f->copy)
			continue;	/* its write is under way: with the next one */
		if (!f)
			f = flight_open(ipam, b);
		for (int o = release_find(r, f->copy, 0); o >= 0; o = release_find(r, f->copy, o + 1))
			block_release(f->copy, o, r->handle);
	}
	return finished;
}

static void releases_step(struct ipam *ipam)
{
	for (struct release **at = &ipam->releases; *at; ) {
		struct release *r = *at;

		if (!release_step(ipam, r)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		handle_sync(ipam, r->handle);
		if (r->done)
			r->done(r->ctx);
		free(r->handle);
		free(r);
	}
}

void ipam_release(struct ipam *ipam, const char *handle, const struct addr *only, void (*done)(void *ctx), void *ctx)
{
	struct release *r = xcalloc(1, sizeof *r), **at = &ipam->releases;

	*r = (struct release){ .handle = xstrdup(handle), .has_only = only, .done = done, .ctx = ctx };
	if (only)
		memcpy(r->only, only, sizeof r->only);
	while (*at)
		at = &(*at)->next;
	*at = r;
	ipam_kick(ipam);
}

/* --- assignments --- */

static bool block_serves(const struct ipam *ipam, const struct block *b, const struct ipam_ask *a)
{
	const struct pool *p;

	if (b->deleted || !b->node || strcmp(b->node, ipam->node) != 0 || b->cidr.addr.family != family_of(a->family))
		return false;
	p = model_pool_of(ipam->model, &b->cidr.addr);
	return p && pool_serves(ipam, p, a->request);
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

		if (!block_serves(ipam, b, a))
			continue;
		f = flight_of(ipam, b);
		if (f && !f->copy)
			*busy = true;
		else if ((f ? f->copy->free_count && f->count < ARRAY_SIZE(f->ordinals) : b->free_count) &&
			 (!best || comes_before(ipam, b, best)))
			best = b;
		else if (f && f->copy->free_count)
			*busy = true;		/* this write is full: the next one */
	}
	if (!best)
		return NULL;
	struct flight *f = flight_of(ipam, best);

	return f ? f : flight_open(ipam, best);
}

/* The block of a fixed address, whoever's it is. */
static struct flight *block_of(struct ipam *ipam, const struct addr *fixed, bool *busy)
{
	const struct block *b;

	*busy = false;
	table_each(&ipam->model->blocks, b) {
		struct flight *f;

		if (b->deleted || block_ordinal(b, fixed) < 0)
			continue;
		f = flight_of(ipam, b);
		*busy = f && (!f->copy || f->count == ARRAY_SIZE(f->ordinals));
		return *busy ? NULL : f ? f : flight_open(ipam, b);
	}
	return NULL;
}

static void ask_taken(struct ipam *ipam, struct ipam_ask *a)
{
	struct err e;

	err_set(&e, EADDRINUSE, "address %s is taken", addr_text(&a->request->fixed[a->family]).s);
	ask_pop(ipam, a->family);
	ask_fail(ipam, a, 103, &e);
}

static void asks_step(struct ipam *ipam, int family)
{
	struct ipam_ask *a;
	bool busy;

	while ((a = ipam->asks[family])) {
		const struct addr *fixed = &a->request->fixed[family];
		struct flight *f = fixed->family ? block_of(ipam, fixed, &busy) : block_choose(ipam, a, &busy);

		if (!f) {
			if (!busy)
				claim_start(ipam, family);
			return;
		}
		int ordinal = fixed->family ? block_assign_at(f->copy, block_ordinal(f->copy, fixed), &a->request->owner) :
					      block_assign(f->copy, &a->request->owner);

		if (ordinal == -EADDRINUSE) {
			ask_taken(ipam, a);
			continue;
		}
		ask_pop(ipam, family);
		if (ordinal < 0) {
			ask_fail(ipam, a, 11, &(struct err){ ENOSPC, "the block is not consistent: see manx ipam show" });
			continue;
		}
		a->next = NULL;
		*f->asks_tail = a;
		f->asks_tail = &a->next;
		f->ordinals[f->count++] = ordinal;
	}
}

static void on_kick(struct deferred *d)
{
	struct ipam *ipam = container_of(d, struct ipam, kick);

	if (!ipam->model->complete)
		return;			/* the pass after completion kicks again */
	releases_step(ipam);
	for (int f = 0; f < FAMILIES; f++)
		asks_step(ipam, f);
	flights_send(ipam);
}

void ipam_run(struct ipam *ipam)
{
	struct model *m = ipam->model;

	if (!m->complete)
		return;
	if (m->pools.dirty)
		model_judge_pools(m);
	pools_default(ipam);
	assert_run(ipam);
	if (!ipam->handles_checked)
		handles_check(ipam);
	for (int f = 0; f < FAMILIES; f++) {
		if (!ipam->resumed[f] && !claim_resume(ipam, f))
			ipam->resumed[f] = true;
		if (ipam->asks[f] && (m->pools.dirty || m->blocks.dirty))
			ipam_kick(ipam);
	}
	if (ipam->releases && m->blocks.dirty)
		ipam_kick(ipam);
	if (m->pools.dirty || m->uplinks.dirty || m->nodes.dirty || m->blocks.dirty)
		tunnels_run(ipam);
}

bool ipam_pools_tried(const struct ipam *ipam)
{
	return ipam->defaults[FAMILY_V4].settled && ipam->defaults[FAMILY_V6].settled;
}

void ipam_each_own(struct ipam *ipam, void (*each)(void *ctx, const struct block_attribute *a, const struct addr *ip),
		   void *ctx)
{
	const struct block *b;

	table_each(&ipam->model->blocks, b)
		for (unsigned o = 0; o < b->size; o++) {
			const struct block_attribute *a = block_attribute(b, o);
			struct addr ip = block_address(b, o);

			if (a && a->handle && !a->type && a->node && strcmp(a->node, ipam->node) == 0)
				each(ctx, a, &ip);
		}
}
