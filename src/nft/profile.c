/*
 * What the policies of a pod come to, in one direction.
 *
 * Each rule grants its peers some ports.  The ports of a protocol are cut where what is granted changes;
 * each piece has one decision, made of all the grants that name its ports.  Whom these do not let in is
 * left to the decision of the grants for the whole protocol, and that leaves it to the one of the grants for
 * everything, so none of them is made twice.  Small pieces become elements, one a port, since these cost a packet
 * the same however many there are; large ones a rule each.
 */
#include "nft/policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/str.h"
#include "base/util.h"

enum { PORTS = 65536, PIECE_MAX = 64 };

struct span { uint8_t protocol; uint32_t first, end; unsigned grant; };	/* protocol 0: everything */

struct draft {
	struct nft *n;
	enum direction direction;
	const struct subject *subject;
	struct verdicts *out;
	struct grant *grants;
	struct span *spans;
	unsigned grant_count, grant_cap, span_count, span_cap, port_cap;
	struct rule_list by_range;
	/* While a protocol is cut. */
	unsigned *here, *last;		/* indexes of the grants that hold here, and held in the piece before */
	struct decision *decision;	/* of last */
	struct decision *rest;		/* of the grants for wider than these */
	unsigned here_count, last_count;
};

/* ---- collecting ---- */

static void *grow(void *list, unsigned count, unsigned *cap, size_t size)
{
	if (count < *cap)
		return list;
	*cap = *cap ? *cap * 2 : 16;
	return xrealloc(list, *cap * size);
}

static unsigned grant_add(struct draft *d, struct grant g)
{
	d->grants = grow(d->grants, d->grant_count, &d->grant_cap, sizeof *d->grants);
	d->grants[d->grant_count] = g;
	return d->grant_count++;
}

static void span_add(struct draft *d, uint8_t protocol, uint32_t first, uint32_t end, unsigned grant)
{
	d->spans = grow(d->spans, d->span_count, &d->span_cap, sizeof *d->spans);
	d->spans[d->span_count++] = (struct span){ protocol, first, end, grant };
}

/* Into a pod it is the pod's own ports that are called so; out of it the peers', which the grant then names. */
static void named_port(struct draft *d, const struct policy_port *p, struct grant g, unsigned grant)
{
	const struct subject *s = d->subject;

	if (d->direction == EGRESS) {
		g.name = p->name;
		g.protocol = p->protocol;
		g.digest = grant_digest(g.rule, g.name, g.protocol);
		span_add(d, p->protocol, 0, PORTS, grant_add(d, g));
		return;
	}
	for (unsigned i = 0; i < s->port_count; i++)
		if (s->ports[i].protocol == p->protocol && strcmp(s->ports[i].name, p->name) == 0)
			span_add(d, p->protocol, s->ports[i].number, s->ports[i].number + 1u, grant);
}

static void rule_take(struct draft *d, struct policy_ref *ref, const struct policy_rule *r)
{
	struct grant g = { .ref = ref, .rule = r, .digest = grant_digest(r, NULL, 0) };
	unsigned grant = grant_add(d, g);

	if (!r->port_count)
		span_add(d, 0, 0, PORTS, grant);
	for (unsigned i = 0; i < r->port_count; i++) {
		const struct policy_port *p = &r->ports[i];

		if (p->name)
			named_port(d, p, g, grant);
		else
			span_add(d, p->protocol, p->first, p->last ? p->last + 1u : PORTS, grant);
	}
}

static bool policy_take(struct draft *d, struct policy_ref *ref)
{
	const struct policy *p = ref_policy(ref);

	if (!p || !p->applies[d->direction])
		return true;
	d->out->isolated = true;
	if (ref->refused)
		return false;
	for (unsigned i = 0; i < p->rule_count[d->direction]; i++)
		if (p->rules[d->direction][i].action == ACTION_ALLOW)
			rule_take(d, ref, &p->rules[d->direction][i]);
	return true;
}

/* ---- cutting ---- */

static bool is_wide(const struct span *s)
{
	return !s->first && s->end == PORTS;
}

static int by_index(const void *a, const void *b)
{
	const unsigned *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static bool same_as_last(const struct draft *d)
{
	return d->decision && d->here_count == d->last_count &&
	       (!d->here_count || memcmp(d->here, d->last, d->here_count * sizeof *d->here) == 0);
}

/* The decision for what holds here; the profile has it from now on. */
static struct decision *decide(struct draft *d)
{
	struct verdicts *v = d->out;
	struct grant *grants;

	qsort(d->here, d->here_count, sizeof *d->here, by_index);
	if (same_as_last(d))
		return d->decision;
	grants = xcalloc(d->here_count + 1u, sizeof *grants);
	for (unsigned i = 0; i < d->here_count; i++)
		grants[i] = d->grants[d->here[i]];
	v->decisions = grow(v->decisions, v->decision_count, &v->decision_cap, sizeof *v->decisions);
	d->decision = decision_get(d->n, d->direction, grants, d->here_count, d->rest);
	free(grants);
	v->decisions[v->decision_count++] = d->decision;
	memcpy(d->last, d->here, d->here_count * sizeof *d->here);
	d->last_count = d->here_count;
	return d->decision;
}

static void piece_rule(struct draft *d, uint8_t protocol, uint32_t first, uint32_t end, const struct decision *to)
{
	struct rule_list *l = &d->by_range;

	rule_add(l, to->target.verdict, target_chain(d->n, &to->target));
	match_number(l, FIELD_PROTOCOL, protocol);
	if (first || end < PORTS)
		match_range(l, FIELD_DPORT, first, end - 1);
}

static void piece(struct draft *d, uint8_t protocol, uint32_t first, uint32_t end)
{
	struct verdicts *v = d->out;
	const struct decision *to = decide(d);

	if (end - first > PIECE_MAX) {
		piece_rule(d, protocol, first, end, to);
		return;
	}
	for (uint32_t port = first; port < end; port++) {
		v->ports = grow(v->ports, v->port_count, &d->port_cap, sizeof *v->ports);
		v->ports[v->port_count++] = (struct port_target){ protocol, (uint16_t)port, to->target };
	}
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int by_protocol(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	if (x->protocol != y->protocol)
		return x->protocol - y->protocol;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* From now on the grants of the spans that are wide, or count for nothing less, decide what narrower ones do not. */
static void rest_set(struct draft *d, const struct span *spans, unsigned count)
{
	d->here_count = 0;
	d->decision = NULL;
	for (unsigned i = 0; i < count; i++)
		if (is_wide(&spans[i]))
			d->here[d->here_count++] = spans[i].grant;
	d->rest = d->here_count || !d->rest ? decide(d) : d->rest;
	d->decision = NULL;
}

/*
 * spans: of one protocol, in order of where they begin.  Only those between `from`, which all before have ended, and those
 * that have begun are looked at.
 */
static void protocol_cut(struct draft *d, const struct span *spans, unsigned count)
{
	autofree uint32_t *cuts = xcalloc(count * 2u, sizeof *cuts);
	unsigned from = 0, begun = 0;
	struct decision *common = d->rest;

	rest_set(d, spans, count);
	for (unsigned i = 0; i < count; i++) {
		cuts[2 * i] = spans[i].first;
		cuts[2 * i + 1] = spans[i].end;
	}
	qsort(cuts, count * 2u, sizeof *cuts, by_number);
	for (unsigned i = 0; i + 1 < count * 2u; i++) {
		if (cuts[i] == cuts[i + 1])
			continue;
		while (begun < count && spans[begun].first <= cuts[i])
			begun++;
		while (from < begun && spans[from].end <= cuts[i])
			from++;
		d->here_count = 0;
		for (unsigned k = from; k < begun; k++)
			if (cuts[i] < spans[k].end && !is_wide(&spans[k]))
				d->here[d->here_count++] = spans[k].grant;
		if (d->here_count || d->rest != common)
			piece(d, spans->protocol, cuts[i], cuts[i + 1]);
	}
	d->rest = common;
}

static void spans_cut(struct draft *d)
{
	unsigned common = 0;

	if (d->span_count)
		qsort(d->spans, d->span_count, sizeof *d->spans, by_protocol);
	d->here = xcalloc(d->span_count + 1u, sizeof *d->here);
	d->last = xcalloc(d->span_count + 1u, sizeof *d->last);
	while (common < d->span_count && !d->spans[common].protocol)
		common++;
	rest_set(d, d->spans, common);
	d->out->otherwise = d->rest->target;
	for (unsigned i = common, end; i < d->span_count; i = end) {
		for (end = i; end < d->span_count && d->spans[end].protocol == d->spans[i].protocol; end++)
			;
		protocol_cut(d, d->spans + i, end - i);
	}
}

/* ---- what no element says ---- */

static void by_range_finish(struct draft *d, uint64_t profile)
{
	static const char *const prefixes[DIRECTIONS] = { "inr", "outr" };
	struct verdicts *v = d->out;
	struct nft *n = d->n;
	struct target rest = v->otherwise;

	if (!d->by_range.count)
		return;
	rule_add(&d->by_range, rest.verdict, target_chain(n, &rest));
	v->by_range = chain_of_digest(n, prefixes[d->direction], profile);
	chain_want(&n->rules, v->by_range, NULL, &d->by_range);
	v->otherwise = target_of(VERDICT_GOTO, v->by_range);
}

static void direction_make(struct nft *n, struct profile *p, const struct subject *s, enum direction direction,
			   struct policy_ref *const *refs, unsigned count)
{
	struct draft d = { .n = n, .direction = direction, .subject = s, .out = &p->verdicts[direction] };
	bool open = n->conntrack == ANSWER_YES;

	for (unsigned i = 0; i < count; i++)
		open &= policy_take(&d, refs[i]);
	if (d.out->isolated && open) {
		spans_cut(&d);
		by_range_finish(&d, p->shared.digest);
	} else {
		d.out->otherwise = target_of(VERDICT_GOTO, n->deny);
	}
	free(d.grants);
	free(d.spans);
	free(d.here);
	free(d.last);
}

/* ---- profiles ---- */

static uint64_t profile_digest(const struct nft *n, const struct subject *s, struct policy_ref *const *refs, unsigned count)
{
	autostr struct str text = { 0 };
	bool names = false;

	for (unsigned i = 0; i < count; i++) {
		const struct policy *p = ref_policy(refs[i]);
		uint64_t digest = p ? p->row.digest : 0;

		str_add(&text, refs[i]->key, strlen(refs[i]->key) + 1);
		str_add(&text, (const char *)&digest, sizeof digest);
		str_puts(&text, refs[i]->refused ? "-" : "+");
		names |= refs[i]->names_ports;
	}
	str_printf(&text, "%d%d", n->families[FAMILY_V4], n->families[FAMILY_V6]);
	for (unsigned i = 0; names && i < s->port_count; i++)
		str_printf(&text, "%s/%u/%u,", s->ports[i].name, s->ports[i].protocol, s->ports[i].number);
	return sha1_64(text.s, text.len);
}

struct profile *profile_get(struct nft *n, const struct subject *s, struct policy_ref *const *refs, unsigned count)
{
	uint64_t digest = profile_digest(n, s, refs, count);
	struct profile *p = shared_get(&n->profiles, digest, sizeof *p);

	if (p->shared.uses > 1)
		return p;
	for (int d = INGRESS; d < DIRECTIONS; d++)
		direction_make(n, p, s, d, refs, count);
	return p;
}

void profile_put(struct nft *n, struct profile *p)
{
	if (!shared_put(&n->profiles, &p->shared))
		return;
	for (int d = INGRESS; d < DIRECTIONS; d++) {
		struct verdicts *v = &p->verdicts[d];

		if (v->by_range)
			chain_unwant(&n->rules, v->by_range);
		for (unsigned i = 0; i < v->decision_count; i++)
			decision_put(n, v->decisions[i]);
		free(v->decisions);
		free(v->ports);
	}
	free(p);
}
