/*
 * The two queues (addresses wanted, addresses given back) and the writes that
 * empty them.  advance() puts as much of both as fits into copies of blocks and
 * sends each as one compare-and-swap; its end calls advance() again.  A write
 * that lost the race puts its asks back and looks at the newer block.
 */
#include "ipam/ipam.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "ipam/ipam_int.h"

static void on_kick(struct deferred *d);
static void on_retry(struct timer *t);
static void on_sync(struct timer *t);
static void on_patience(struct timer *t);

struct ipam *ipam_new(struct loop *l, struct model *m, struct store *s)
{
	struct ipam *ipam = xcalloc(1, sizeof *ipam);

	*ipam = (struct ipam){ .loop = l, .model = m, .store = s, .node = m->config->node_name,
			       .seen = s->state,
			       .kick = { .fn = on_kick }, .retry = { .fn = on_retry }, .sync_timer = { .fn = on_sync },
			       .patience = { .fn = on_patience } };
	reserve_init(ipam);
	unclaim_init(ipam);
	sweep_init(ipam);
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
	timer_del(ipam->loop, &ipam->patience);
	timer_del(ipam->loop, &ipam->unclaim.timer);
	timer_del(ipam->loop, &ipam->sweep.timer);
	str_free(&ipam->sweep.leave.handles);
	reserve_free(ipam);
	assertions_free(ipam);
	for (struct release *r = ipam->releases, *next; r; r = next) {
		next = r->next;
		free(r->handle);
		free(r);
	}
	for (struct flight *f = ipam->flights, *next; f; f = next) {
		next = f->next;
		row_free(f->copy ? &f->copy->row : NULL);
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

/* --- writes --- */

struct flight *flight_of(const struct ipam *ipam, const struct block *b)
{
	for (struct flight *f = ipam->flights; f; f = f->next)
		if (strcmp(f->key, b->row.key) == 0)
			return f;
	return NULL;
}

struct flight *flight_open(struct ipam *ipam, const struct block *b)
{
	struct flight *f = xcalloc(1, sizeof *f);

	*f = (struct flight){ .ipam = ipam, .copy = block_copy(b), .expected = b->meta.version, .next = ipam->flights };
	block_sweep(f->copy, model_ipam_config(ipam->model)->cooldown_s, wall_ns());
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

	for (unsigned i = 0; i < f->count; i++) {
		struct ipam_ask *a = f->asks[i];

		if (!a)
			continue;
		if (rc == -ESTALE && ++a->request->tries < IPAM_TRIES_MAX) {
			if (a->request->fixed[a->family].family)
				ask_push_first(ipam, a);
			else
				ask_push(ipam, a);
			continue;
		}
		if (rc != -ESTALE && reserve_lend(ipam, a))
			continue;
		err_set(&e, -rc, "block %s: %s", f->key, rc == -ESTALE ? "others kept changing it" : strerror(-rc));
		ask_fail(ipam, a, rc == -EAGAIN ? IPAM_NO_BLOCK : IPAM_TRY_LATER, &e);
	}
}

/* Its ask was served by a loan meanwhile. */
static void give_back(struct ipam *ipam, const struct block *b, unsigned ordinal)
{
	const struct block_attribute *a = block_attribute(b, ordinal);
	struct addr only[FAMILIES] = { { 0 } };

	if (!a || !a->handle)
		return;
	only[family_index(b->cidr.addr.family)] = block_address(b, ordinal);
	ipam_release(ipam, a->handle, only, NULL, NULL);
}

static void flight_landed(struct flight *f, const struct block *b)
{
	if (f->fills)
		handle_sync(f->ipam, f->ipam->reserve.handle);
	for (unsigned i = 0; i < f->count; i++) {
		struct ipam_ask *a = f->asks[i];

		if (!a) {
			give_back(f->ipam, b, f->ordinals[i]);
			continue;
		}
		a->request->ips[a->family] = block_address(b, f->ordinals[i]);
		if (a->request->fixed[a->family].family)
			reserve_touched(f->ipam, a->family);	/* it may have been of it */
		ask_settle(f->ipam, a);
	}
}

static void on_flight(void *ctx, int rc)
{
	struct flight *f = ctx;
	struct ipam *ipam = f->ipam;
	const struct block *b = table_find(&ipam->model->blocks, f->key);

	ipam->stuck = false;
	if (rc == 0 && b)
		flight_landed(f, b);
	else
		flight_lost(f, rc ? rc : -ESTALE);
	flight_close(f);
	ipam->unclaim.due = true;
	if (!ipam->flights)
		timer_del(ipam->loop, &ipam->patience);
	if (rc == 0 || rc == -ESTALE)
		ipam_kick(ipam);
	else
		timer_set(ipam->loop, &ipam->retry, IPAM_RETRY_MS);
}

/* Are all addresses chosen, and is this the last block to be written? */
static bool is_last(struct ipam_request *r)
{
	unsigned wanted = 0;

	for (int f = 0; f < FAMILIES; f++) {
		wanted += r->want[f];
		if (r->want[f] && !r->likely[f].family)
			return false;
	}
	return r->writes >= wanted;
}

/*
 * While the last block is being written, whoever asked may already prepare.  Not earlier: an agent that is killed
 * must not leave what was prepared for two addresses, one of them in a block.
 */
static void on_flying(void *ctx)
{
	const struct flight *f = ctx;

	for (unsigned i = 0; i < f->count; i++) {
		struct ipam_request *r = f->asks[i] ? f->asks[i]->request : NULL;
		void (*chosen)(struct ipam_request *r) = r ? r->chosen : NULL;

		if (r)
			r->writes++;
		if (!chosen || !is_last(r))
			continue;
		r->chosen = NULL;
		chosen(r);
	}
}

static bool is_awaited(const struct flight *f)
{
	for (unsigned i = 0; i < f->count; i++)
		if (f->asks[i]->request->chosen)
			return true;
	return false;
}

static void flights_send(struct ipam *ipam)
{
	for (struct flight *f = ipam->flights, *next; f; f = next) {
		struct block *copy = f->copy;

		next = f->next;
		if (!copy)
			continue;	/* already under way */
		f->copy = NULL;
		f->sent_ms = now_ms();
		if (podcidr_is_on(ipam)) {
			table_put(&ipam->model->blocks, &copy->row);
			on_flight(f, 0);
			continue;
		}
		store_put_meanwhile(ipam->store, kind_named("IPAMBlock"), &copy->row, f->expected,
				    is_awaited(f) ? on_flying : NULL, on_flight, f);
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

/* What only reserved them was no holder. */
static int64_t rests_since(const struct ipam *ipam, const struct release *r)
{
	bool rests = model_ipam_config(ipam->model)->cooldown_s && strcmp(r->handle, ipam->reserve.handle) != 0;

	return rests ? wall_ns() : 0;
}

/* How many addresses of b are about to be free: their DEL has been answered. */
unsigned release_count(const struct ipam *ipam, const struct block *b)
{
	unsigned count = 0;

	for (unsigned i = 0; ipam->releases && i < b->size; i++) {
		for (const struct release *r = ipam->releases; r; r = r->next) {
			if (release_concerns(ipam, r, b) && release_find(r, b, i) == (int)i) {
				count++;
				break;
			}
		}
	}
	return count;
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
			block_release(f->copy, o, r->handle, rests_since(ipam, r));
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

	loans_end(ipam, handle, only);
	*r = (struct release){ .handle = xstrdup(handle), .has_only = only, .done = done, .ctx = ctx };
	if (only)
		memcpy(r->only, only, sizeof r->only);
	while (*at)
		at = &(*at)->next;
	*at = r;
	ipam_kick(ipam);
}

/* --- the whole --- */

/* Does anybody wait who could have something from the reserve? */
static bool is_waiting(const struct ipam *ipam)
{
	if (!reserve_size(ipam))
		return false;
	for (const struct flight *f = ipam->flights; f; f = f->next)
		for (unsigned i = 0; i < f->count; i++)
			if (f->asks[i] && f->asks[i]->request->lend)
				return true;
	for (int f = 0; f < FAMILIES; f++)
		for (const struct ipam_ask *a = ipam->asks[f]; a; a = a->next)
			if (a->request->lend)
				return true;
	return false;
}

static void on_patience(struct timer *t)
{
	struct ipam *ipam = container_of(t, struct ipam, patience);
	const uint64_t before = now_ms() - IPAM_PATIENCE_MS;

	for (const struct flight *f = ipam->flights; f; f = f->next)
		ipam->stuck |= !f->copy && f->sent_ms <= before;
	asks_lend(ipam, before, false);
	if (is_waiting(ipam))
		timer_set(ipam->loop, t, IPAM_PATIENCE_MS / 4);
}

static void on_kick(struct deferred *d)
{
	struct ipam *ipam = container_of(d, struct ipam, kick);

	if (!ipam->model->complete)
		return;			/* the pass after completion kicks again */
	if (ipam->store->state == STORE_AWAY && !podcidr_is_on(ipam)) {
		asks_lend(ipam, now_ms(), true);
		return;			/* the pass after its return kicks again */
	}
	releases_step(ipam);
	loans_step(ipam);
	for (int f = 0; f < FAMILIES; f++) {
		asks_step(ipam, f);
		reserve_step(ipam, f);
	}
	flights_send(ipam);
	if (ipam->stuck)
		asks_lend(ipam, now_ms(), false);
	if (is_waiting(ipam) && !ipam->patience.on)
		timer_set(ipam->loop, &ipam->patience, IPAM_PATIENCE_MS);
}

void ipam_run(struct ipam *ipam)
{
	struct model *m = ipam->model;

	if (!m->complete)
		return;
	if (ipam->seen != ipam->store->state) {
		ipam->seen = ipam->store->state;
		reserve_look(ipam);
		ipam->unclaim.due = true;
		ipam_kick(ipam);
	}
	if (podcidr_is_on(ipam))
		podcidr_run(ipam);
	else
		pools_default(ipam);
	if (m->pools.dirty)
		model_judge_pools(m);
	assert_run(ipam);
	if (!ipam->handles_checked)
		handles_check(ipam);
	claim_watch(ipam);
	for (int f = 0; f < FAMILIES; f++) {
		if (!ipam->resumed[f] && !podcidr_is_on(ipam) && !claim_resume(ipam, f))
			ipam->resumed[f] = true;
		if (ipam->asks[f] && (m->pools.dirty || m->blocks.dirty))
			ipam_kick(ipam);
	}
	if (ipam->releases && m->blocks.dirty)
		ipam_kick(ipam);
	reserve_watch(ipam);
	if (!podcidr_is_on(ipam)) {
		unclaim_watch(ipam);
		sweep_watch(ipam);
	}
	if (m->pools.dirty || m->uplinks.dirty || m->nodes.dirty || m->blocks.dirty || (ipam->tunnels_again && !ipam->retry.on)) {
		ipam->tunnels_again = false;
		tunnels_run(ipam);
		pools_watch(ipam);
	}
}

bool ipam_is_away(const struct ipam *ipam)
{
	return ipam->store->state == STORE_AWAY;
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

			if (a && a->handle && !a->type && model_is_self(ipam->model, a->node))
				each(ctx, a, &ip);
		}
}
