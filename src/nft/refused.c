/*
 * What the kernel does not take: an expression that it lacks, more elements than it
 * has room for.  The batch changed nothing, so the old verdicts are in force; then the pods of the
 * policies that the refused chain or set was made for are closed, alone, and everything else goes in.
 * They are tried again, ever more slowly, and whenever they change.
 */
#include "nft/policy.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/str.h"
#include "base/util.h"

enum { RECONSIDER_FIRST_MS = 1000, RECONSIDER_MAX_MS = 60000 };

void ref_accept(struct nft *n, struct policy_ref *r)
{
	if (!r->refused)
		return;
	free(r->refused);
	r->refused = NULL;
	n->refused--;
}

static bool uses_set(const struct decision *d, const struct set *s)
{
	for (unsigned i = 0; i < d->peer_count; i++)
		for (int f = 0; f < FAMILIES; f++)
			if (d->peers[i]->set[f] == s)
				return true;
	for (int f = 0; f < FAMILIES; f++)
		if (d->ranges[f] && d->ranges[f]->set == s)
			return true;
	return false;
}

struct guilty { struct policy_ref **list; unsigned count; };

static void blame(struct guilty *g, const struct decision *d)
{
	g->list = xrealloc(g->list, (g->count + d->ref_count + 1) * sizeof *g->list);
	for (unsigned i = 0; i < d->ref_count; i++)
		g->list[g->count++] = d->refs[i];
}

static void blame_by_range(struct guilty *g, const struct nft *n, const struct chain *c)
{
	hash_each(&n->profiles, at) {
		const struct profile *p = container_of(at, struct profile, shared.node);

		for (int d = INGRESS; d < DIRECTIONS; d++)
			for (unsigned i = 0; p->verdicts[d].by_range == c && i < p->verdicts[d].decision_count; i++)
				blame(g, p->verdicts[d].decisions[i]);
	}
}

static void find_guilty(struct guilty *g, const struct nft *n)
{
	const struct note *what = &n->culprit;

	hash_each(&n->decisions, at) {
		const struct decision *d = container_of(at, struct decision, shared.node);

		if ((what->chain && d->chain == what->chain) || (what->set && uses_set(d, what->set)))
			blame(g, d);
	}
	if (what->chain)
		blame_by_range(g, n, what->chain);
}

static bool refuse(struct nft *n, struct policy_ref *r, const struct err *e)
{
	const struct policy *p = ref_policy(r);

	if (r->refused)
		return false;
	r->refused = xstrdup(e->text);
	n->refused++;
	if (!r->told)
		log_err("nft", "%s %s: the kernel refuses it, its pods are closed: %s", p ? p->kind : "policy", r->key, e->text);
	r->told = true;
	model_problem(n->model, "policy", r->key, "see what the kernel says", "%s %s: the kernel refuses it, its pods are closed: %s",
		      p ? p->kind : "policy", r->key, e->text);
	return true;
}

bool policies_refuse(struct nft *n, const struct err *e)
{
	struct guilty g = { 0 };
	bool any = false;

	if (n->culprit.chain || n->culprit.set)
		find_guilty(&g, n);
	for (unsigned i = 0; i < g.count; i++)
		any |= refuse(n, g.list[i], e);
	for (unsigned i = 0; i < g.count && any; i++)
		ref_retarget(n, g.list[i]);
	free(g.list);
	if (!any)
		return false;
	n->reconsider_in_ms = n->reconsider_in_ms ? n->reconsider_in_ms * 2 : RECONSIDER_FIRST_MS;
	if (n->reconsider_in_ms > RECONSIDER_MAX_MS)
		n->reconsider_in_ms = RECONSIDER_MAX_MS;
	n->reconsider_ms = now_ms() + n->reconsider_in_ms;
	timer_set(n->loop, &n->second_look, n->reconsider_in_ms);
	return true;
}

void policies_reconsider(struct nft *n)
{
	if (!n->refused || now_ms() < n->reconsider_ms)
		return;
	hash_each(&n->refs, at) {
		struct policy_ref *r = container_of(at, struct policy_ref, node);

		if (!r->refused)
			continue;
		ref_accept(n, r);
		ref_retarget(n, r);
	}
}

void policies_accepted(struct nft *n)
{
	if (!n->reconsider_in_ms)
		return;
	if (!n->refused)
		n->reconsider_in_ms = 0;
	hash_each(&n->refs, at) {
		struct policy_ref *r = container_of(at, struct policy_ref, node);
		const struct policy *p = ref_policy(r);

		if (!r->told || r->refused || (p && p->bad))
			continue;
		r->told = false;
		log_info("nft", "policy %s: in force", r->key);
		model_problem_clear(n->model, "policy", r->key);
	}
}
