#include "nft/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/str.h"
#include "base/util.h"

enum { SETS_MAX = 2 };			/* looked up one after the other; more groups become one set */

static const enum field peer_field[DIRECTIONS][FAMILIES] = {
	[INGRESS] = { FIELD_IP_SADDR, FIELD_IP6_SADDR }, [EGRESS] = { FIELD_IP_DADDR, FIELD_IP6_DADDR },
};
/* After the source's yes the destination is asked, whose yes is the last word. */
static const enum verdict yes[DIRECTIONS] = { [INGRESS] = VERDICT_ACCEPT, [EGRESS] = VERDICT_GOTO };

static const struct chain *after(const struct nft *n, enum direction d)
{
	return d == EGRESS ? n->ingress : NULL;
}

struct target target_of(enum verdict v, const struct chain *c)
{
	struct target t = { .verdict = (uint8_t)v };

	if (c)
		str_copy(t.chain, sizeof t.chain, c->name);
	return t;
}

const struct chain *target_chain(const struct nft *n, const struct target *t)
{
	return t->chain[0] ? chain_find(&n->rules, t->chain) : NULL;
}

/* One that nothing is using yet: two digests may begin alike. */
struct chain *chain_of_digest(struct nft *n, const char *prefix, uint64_t digest)
{
	char name[TARGET_MAX + 1];
	struct chain *c;

	for (uint64_t d = digest >> 24;; d++) {
		snprintf(name, TARGET_MAX, "%s-%010llx", prefix, (unsigned long long)(d & 0xffffffffff));
		c = chain_find(&n->rules, name);
		if (!c || !c->wanted)
			return chain_get(&n->rules, name);
	}
}

void policy_comment(char out[128], const struct policy *p)
{
	static const char fit[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-";
	size_t len = (size_t)snprintf(out, 128, "%s ", p->kind), start = len;

	len += (size_t)snprintf(out + len, 101, "%s", p->row.key);
	len = len > start + 100 ? start + 100 : len;
	for (size_t i = start; i < len; i++)
		if (!strchr(fit, out[i]))
			out[i] = '_';
	snprintf(out + len, 128 - len, " %08x", (unsigned)(sha1_64(p->row.key, strlen(p->row.key)) >> 32));
}

/* ---- what the grants ask for ---- */

struct wish {
	bool anybody;
	struct peer_ask *pods, *ports;	/* groups; groups with names of ports */
	const struct peer **nets;
	struct policy_ref **refs;
	unsigned pod_count, port_count, net_count, ref_count;
};

static int by_digest(const void *a, const void *b)
{
	const struct peer_ask *x = a, *y = b;

	return x->digest < y->digest ? -1 : x->digest > y->digest;
}

static unsigned sort_asks(struct peer_ask *list, unsigned count)
{
	unsigned kept = 0;

	if (count)
		qsort(list, count, sizeof *list, by_digest);
	for (unsigned i = 0; i < count; i++)
		if (!kept || list[kept - 1].digest != list[i].digest)
			list[kept++] = list[i];
	return kept;
}

static uint64_t name_digest(uint64_t peer, const char *name, uint8_t protocol)
{
	char text[64] = { 0 };

	memcpy(text, &peer, sizeof peer);
	text[sizeof peer] = (char)protocol;
	str_copy(text + sizeof peer + 1, sizeof text - sizeof peer - 1, name);
	return sha1_64(text, sizeof text);
}

uint64_t grant_digest(const struct policy_rule *r, const char *name, uint8_t protocol)
{
	return name ? name_digest(r->digest, name, protocol) : r->digest;
}

static void wish_peer(struct wish *w, const struct grant *g, const struct peer *p)
{
	uint64_t digest;

	if (!g->name && p->net.addr.family) {
		w->nets[w->net_count++] = p;
		return;
	}
	digest = peer_digest(p);
	if (g->name)
		w->ports[w->port_count++] = (struct peer_ask){ p, g->name, g->protocol, name_digest(digest, g->name, g->protocol) };
	else
		w->pods[w->pod_count++] = (struct peer_ask){ p, NULL, 0, digest };
}

static void wish_grant(struct wish *w, const struct grant *g)
{
	static const struct peer everybody;	/* ... that is a pod: only these have names for ports */

	for (unsigned i = 0; i < g->rule->peer_count; i++)
		wish_peer(w, g, &g->rule->peers[i]);
	if (!g->rule->peer_count && g->name)
		wish_peer(w, g, &everybody);
	else if (!g->rule->peer_count)
		w->anybody = true;
}

static int by_ref(const void *a, const void *b)
{
	return strcmp((*(struct policy_ref *const *)a)->key, (*(struct policy_ref *const *)b)->key);
}

static void wish_refs(struct wish *w, const struct grant *grants, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		w->refs[i] = grants[i].ref;
	qsort(w->refs, count, sizeof *w->refs, by_ref);
	for (unsigned i = 0; i < count; i++)
		if (!w->ref_count || w->refs[w->ref_count - 1] != w->refs[i])
			w->refs[w->ref_count++] = w->refs[i];
}

static void wish_make(struct wish *w, const struct grant *grants, unsigned count)
{
	size_t room = 1;

	for (unsigned i = 0; i < count; i++)
		room += grants[i].rule->peer_count + 1;
	*w = (struct wish){ .pods = xcalloc(room, sizeof *w->pods), .ports = xcalloc(room, sizeof *w->ports),
			    .nets = xcalloc(room, sizeof *w->nets), .refs = xcalloc(count + 1u, sizeof *w->refs) };
	for (unsigned i = 0; i < count; i++)
		wish_grant(w, &grants[i]);
	w->pod_count = sort_asks(w->pods, w->pod_count);
	w->port_count = sort_asks(w->ports, w->port_count);
	wish_refs(w, grants, count);
}

static void wish_free(struct wish *w)
{
	free(w->pods);
	free(w->ports);
	free(w->nets);
	free(w->refs);
}

static void digest_add(struct str *text, uint64_t number)
{
	str_add(text, (const char *)&number, sizeof number);
}

/* Grants come in an order that the policies' names and rules give. */
static uint64_t decision_digest(const struct nft *n, enum direction d, const struct grant *grants, unsigned count,
				const struct decision *rest)
{
	autostr struct str text = { 0 };

	digest_add(&text, (uint64_t)d << 2 | (uint64_t)n->families[FAMILY_V4] << 1 | n->families[FAMILY_V6]);
	digest_add(&text, rest ? rest->shared.digest : 0);
	for (unsigned i = 0; i < count; i++) {
		str_add(&text, grants[i].ref->key, strlen(grants[i].ref->key) + 1);
		digest_add(&text, grants[i].digest);
		digest_add(&text, !grants[i].rule->peer_count);
	}
	return sha1_64(text.s, text.len);
}

/* ---- sets and rules ---- */

static void take_sets(struct nft *n, struct decision *d, const struct wish *w)
{
	bool together = w->pod_count > SETS_MAX;
	unsigned step = together ? w->pod_count : 1;

	d->peers = xcalloc(w->pod_count + 2u, sizeof *d->peers);
	for (unsigned i = 0; i < w->pod_count; i += step)
		d->peers[d->peer_count++] = peer_set_get(n, w->pods + i, step);
	if (w->port_count)
		d->peers[d->peer_count++] = peer_set_get(n, w->ports, w->port_count);
	for (int f = 0; f < FAMILIES; f++) {
		struct range *list = NULL;
		unsigned count = n->families[f] ? ranges_of(w->nets, w->net_count, f, &list) : 0;

		if (count)
			d->ranges[f] = range_set_get(n, list, count, f);
		free(list);
	}
}

static void rule_for(const struct nft *n, struct rule_list *l, const struct decision *d, int family, const struct set *s,
		     const char *comment)
{
	rule_add(l, yes[d->direction], after(n, d->direction));
	if (s->fields[1])
		match_set(l, s, false);
	else
		match_field_set(l, peer_field[d->direction][family], s);
	if (comment)
		rule_comment(l, comment);
}

static void write_rules(struct nft *n, struct decision *d)
{
	struct rule_list l = { 0 };
	const struct policy *only = d->ref_count == 1 ? ref_policy(d->refs[0]) : NULL;
	char comment[128];

	if (only) {
		policy_comment(comment, only);
		free(d->chain->comment);
		d->chain->comment = xstrdup(comment);
	}
	for (int f = 0; f < FAMILIES; f++) {
		if (!n->families[f])
			continue;
		for (unsigned i = 0; i < d->peer_count; i++)
			rule_for(n, &l, d, f, d->peers[i]->set[f], only ? comment : NULL);
		if (d->ranges[f])
			rule_for(n, &l, d, f, d->ranges[f]->set, only ? comment : NULL);
	}
	if (d->rest)
		rule_add(&l, d->rest->target.verdict, target_chain(n, &d->rest->target));
	else
		rule_add(&l, VERDICT_GOTO, n->deny);
	chain_want(&n->rules, d->chain, NULL, &l);
}

static void decision_make(struct nft *n, struct decision *d, const struct wish *w)
{
	static const char *const prefixes[DIRECTIONS] = { "in", "out" };

	d->refs = xcalloc(w->ref_count + 1u, sizeof *d->refs);
	d->ref_count = w->ref_count;
	memcpy(d->refs, w->refs, w->ref_count * sizeof *d->refs);
	if (w->anybody) {
		d->target = target_of(yes[d->direction], after(n, d->direction));
	} else if (!w->pod_count && !w->port_count && !w->net_count) {
		d->target = d->rest ? d->rest->target : target_of(VERDICT_GOTO, n->deny);
	} else {
		d->chain = chain_of_digest(n, prefixes[d->direction], d->shared.digest);
		d->target = target_of(VERDICT_GOTO, d->chain);
		take_sets(n, d, w);
		write_rules(n, d);
	}
}

struct decision *decision_get(struct nft *n, enum direction direction, const struct grant *grants, unsigned count,
			      struct decision *rest)
{
	uint64_t digest = decision_digest(n, direction, grants, count, rest);
	struct decision *d = shared_get(&n->decisions, digest, sizeof *d);
	struct wish w;

	if (d->shared.uses > 1)
		return d;
	d->direction = direction;
	d->rest = rest;
	if (rest)
		rest->shared.uses++;
	wish_make(&w, grants, count);
	decision_make(n, d, &w);
	wish_free(&w);
	return d;
}

void decision_put(struct nft *n, struct decision *d)
{
	if (!shared_put(&n->decisions, &d->shared))
		return;
	if (d->chain)
		chain_unwant(&n->rules, d->chain);
	if (d->rest)
		decision_put(n, d->rest);
	for (unsigned i = 0; i < d->peer_count; i++)
		peer_set_put(n, d->peers[i]);
	for (int f = 0; f < FAMILIES; f++)
		if (d->ranges[f])
			range_set_put(n, d->ranges[f]);
	free(d->peers);
	free(d->refs);
	free(d);
}
