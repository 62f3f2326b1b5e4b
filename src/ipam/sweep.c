/*
 * What a deleted node left: its blocks, affinities and addresses are given back by
 * another node, where Nodes are somebody else's to delete (Kubernetes).
 *
 * Every node could; the first by name does, after a while in which the Node might
 * come back, and each next one only later, when the ones before it have not: no
 * lease is needed, since two that do it at once meet in compare-and-swap.  Where
 * Calico's controllers run they see to that: they are looked for before anything is done.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "ipam/ipam_int.h"

enum { SWEEP_MS = 20000, RANK_MAX = 10, WAITS_MAX = 30 };

static bool is_gone(const struct ipam *ipam, const char *node)
{
	return node && !table_find(&ipam->model->nodes, node);
}

/* Somebody who has gone and left something, or NULL. */
static const char *find_gone(const struct ipam *ipam)
{
	const struct model *m = ipam->model;
	const struct affinity *a;
	const struct block *b;

	table_each(&m->blocks, b) {
		if (b->deleted)
			continue;
		for (unsigned i = 0; i < b->size; i++) {
			const struct block_attribute *at = block_attribute(b, i);

			if (at && at->handle && is_gone(ipam, at->node))
				return at->node;
		}
		if (is_gone(ipam, b->node) && b->free_count == b->size)
			return b->node;
	}
	table_each(&m->affinities, a)
		if (strcmp(a->type, "host") == 0 && is_gone(ipam, a->node) && !table_find(&m->blocks, prefix_text(&a->cidr).s))
			return a->node;
	return NULL;
}

static unsigned rank(const struct ipam *ipam)
{
	const struct node *n;
	unsigned before = 0;

	table_each(&ipam->model->nodes, n)
		before += strcmp(n->row.key, ipam->node) < 0;
	return before < RANK_MAX ? before : RANK_MAX;
}

static bool is_ours_to_do(const struct ipam *ipam)
{
	return ipam->model->config->ipam == IPAM_BLOCK && ipam->store->driver && ipam->store->driver->given_nodes && ipam->store->state == STORE_SYNCED &&
	       model_self(ipam->model);
}

static void wait(struct sweep *s)
{
	unsigned factor = 1 + rank(s->ipam);

	if (s->waited > factor)
		factor = s->waited;
	timer_set(s->ipam->loop, &s->timer, (uint64_t)s->patience_ms * factor);
}

static void on_answer(void *ctx, bool controlled)
{
	struct sweep *s = ctx;
	const char *gone = is_ours_to_do(s->ipam) ? find_gone(s->ipam) : NULL;

	s->asking = false;
	if (gone && controlled) {	/* they may end, and leave it to us */
		s->waited = s->waited ? 2 * s->waited : 1;
		if (s->waited > WAITS_MAX)
			s->waited = WAITS_MAX;
		wait(s);
		return;
	}
	s->waited = 0;
	s->looked = false;		/* once more, when this is done */
	if (!gone)
		return;
	str_copy(s->node, sizeof s->node, gone);
	log_info("ipam", "node %s has gone: what it had is given back", s->node);
	ipam_leave_begin(&s->leave, s->ipam, s->node);
}

static void on_timer(struct timer *t)
{
	struct sweep *s = container_of(t, struct sweep, timer);
	const struct ipam *ipam = s->ipam;

	if (!table_find(&ipam->model->cluster_informations, "default")) {
		on_answer(s, false);
		return;
	}
	s->asking = true;
	ipam->store->driver->controlled(ipam->store, on_answer, s);
}

void sweep_init(struct ipam *ipam)
{
	ipam->sweep = (struct sweep){ .ipam = ipam, .timer = { .fn = on_timer }, .patience_ms = SWEEP_MS };
}

/* Nodes come and go; a block of one that has gone is empty at last. */
static bool is_news(const struct ipam *ipam)
{
	const struct model *m = ipam->model;
	const struct block *b;

	if (!ipam->sweep.looked || m->nodes.dirty)
		return true;
	table_each_dirty(&m->blocks, b)
		if (is_gone(ipam, b->node))
			return true;
	return false;
}

void sweep_watch(struct ipam *ipam)
{
	struct sweep *s = &ipam->sweep;

	if (*s->node) {
		if (ipam_leave_done(&s->leave))
			*s->node = '\0';
		return;
	}
	if (s->timer.on || s->asking || !is_ours_to_do(ipam) || !is_news(ipam))
		return;
	s->looked = true;
	if (find_gone(ipam))
		wait(s);
}
