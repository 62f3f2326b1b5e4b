/*
 * What a deleted node left: its blocks, affinities and addresses are given back by
 * another node, where Nodes are somebody else's to delete (Kubernetes).
 *
 * Every node could; the first by name does, after a while in which the Node might
 * come back, and each next one only later, when the ones before it have not: no
 * lease is needed, since two that do it at once meet in compare-and-swap.  Beside
 * Calico its controllers see to that.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "ipam/ipam_int.h"

enum { SWEEP_MS = 20000, RANK_MAX = 10 };

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
	       !table_find(&ipam->model->cluster_informations, "default") && model_self(ipam->model);
}

static void on_timer(struct timer *t)
{
	struct sweep *s = container_of(t, struct sweep, timer);
	const char *gone = is_ours_to_do(s->ipam) ? find_gone(s->ipam) : NULL;

	s->looked = false;		/* once more, when this is done */
	if (!gone)
		return;
	str_copy(s->node, sizeof s->node, gone);
	log_info("ipam", "node %s has gone: what it had is given back", s->node);
	ipam_leave_begin(&s->leave, s->ipam, s->node);
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
	if (s->timer.on || !is_ours_to_do(ipam) || !is_news(ipam))
		return;
	s->looked = true;
	if (find_gone(ipam))
		timer_set(ipam->loop, &s->timer, (uint64_t)s->patience_ms * (1 + rank(ipam)));
}
