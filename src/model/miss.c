/*
 * Why a rule does not match, in words.
 *
 * Of a rule's peers one would be enough, so the one that lacks least is told.  Of a selector that
 * only joins terms by AND each term that does not hold is one condition; one with an OR is a
 * single condition.
 */
#include "model/verdict.h"

#include <string.h>
#include "base/util.h"

static void miss(struct str *why, unsigned *misses, const char *text)
{
	str_printf(why, "%s%s", *misses ? ", " : "", text);
	++*misses;
}

/* ---- selectors ---- */

static bool is_joined_by_and(const struct selector *s)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->terms[i].test == SELECT_OR)
			return false;
	return true;
}

static void values_text(const struct selector_term *t, struct str *out)
{
	for (unsigned i = 0; i < t->value_count; i++)
		str_printf(out, "%s'%s'", i ? ", " : "", t->values[i]);
}

static void term_text(const struct selector_term *t, bool negate, struct str *out)
{
	static const char *const words[] = { [SELECT_CONTAINS] = "contains", [SELECT_STARTS] = "starts with",
					     [SELECT_ENDS] = "ends with" };

	switch ((enum selector_test)t->test) {
	case SELECT_HAS:
		str_printf(out, "%shas(%s)", negate ? "!" : "", t->key);
		return;
	case SELECT_IN:
		if (t->value_count == 1) {
			str_printf(out, "%s %s '%s'", t->key, negate ? "!=" : "==", t->values[0]);
			return;
		}
		str_printf(out, "%s %s {", t->key, negate ? "not in" : "in");
		values_text(t, out);
		str_puts(out, "}");
		return;
	case SELECT_CONTAINS:
	case SELECT_STARTS:
	case SELECT_ENDS:
		str_printf(out, "%s%s %s '%s'", negate ? "!" : "", t->key, words[t->test], t->values[0]);
		return;
	case SELECT_ALL:
	case SELECT_GLOBAL:
		str_printf(out, "%s%s()", negate ? "!" : "", t->test == SELECT_ALL ? "all" : "global");
		return;
	case SELECT_NOT:
	case SELECT_AND:
	case SELECT_OR:
		return;
	}
}

static void selector_misses(const struct selector *s, const struct label_source *labels, const char *what,
			    struct str *why, unsigned *misses)
{
	if (!s || selector_match(s, labels))
		return;
	if (!is_joined_by_and(s)) {
		autostr struct str text = { 0 };

		str_printf(&text, "%s is not what the selector wants", what);
		miss(why, misses, text.s);
		return;
	}
	for (unsigned i = 0; i < s->count; i++) {
		autostr struct str text = { 0 };
		bool negate = i + 1 < s->count && s->terms[i + 1].test == SELECT_NOT;
		struct selector one = { .terms = &s->terms[i], .count = negate ? 2 : 1 };

		if (s->terms[i].test >= SELECT_NOT || selector_match(&one, labels))
			continue;
		str_printf(&text, "%s is not ", what);
		term_text(&s->terms[i], negate, &text);
		miss(why, misses, text.s);
	}
}

/* ---- peers ---- */

static void net_misses(const struct peer *p, const struct addr *a, struct str *why, unsigned *misses)
{
	autostr struct str text = { 0 };

	if (!p->net.addr.family)
		return;
	if (!prefix_has(&p->net, a)) {
		str_printf(&text, "%s is not in %s", addr_text(a).s, prefix_text(&p->net).s);
		miss(why, misses, text.s);
	}
	for (unsigned i = 0; i < p->except_count && prefix_has(&p->net, a); i++) {
		if (!prefix_has(&p->except[i], a))
			continue;
		str_printf(&text, "%s is in %s, which is excepted", addr_text(a).s, prefix_text(&p->except[i]).s);
		miss(why, misses, text.s);
		return;
	}
}

static unsigned peer_misses(const struct peer *p, const struct party *who, int family, struct str *why)
{
	autostr struct str what = { 0 };
	unsigned misses = 0;

	net_misses(p, &who->ips[family], why, &misses);
	if (!p->pods && !p->namespaces && !p->namespace)
		return misses;
	if (!who->is_pod || who->ended) {
		str_printf(&what, "%s is no pod that selectors can mean", *who->name ? who->name : addr_text(&who->ips[family]).s);
		miss(why, &misses, what.s);
		return misses + 1;	/* no label would help */
	}
	if (p->namespace && strcmp(p->namespace, who->namespace) != 0) {
		str_printf(&what, "namespace %s is not %s", who->namespace, p->namespace);
		miss(why, &misses, what.s);
		str_clear(&what);
	}
	str_printf(&what, "namespace %s", who->namespace);
	selector_misses(p->namespaces, &who->namespace_labels, what.s, why, &misses);
	str_clear(&what);
	str_printf(&what, "pod %s", who->name);
	selector_misses(p->pods, &who->labels, what.s, why, &misses);
	return misses;
}

/* ---- ports ---- */

static void port_text(const struct policy_port *p, struct str *out)
{
	str_puts(out, protocol_name(p->protocol));
	if (p->name)
		str_printf(out, "/%s", p->name);
	else if (p->last)
		str_printf(out, "/%u", p->first);
	if (!p->name && p->last > p->first)
		str_printf(out, "-%u", p->last);
}

static void port_misses(const struct policy_rule *r, const struct question *q, struct str *why, unsigned *misses)
{
	autostr struct str text = { 0 };

	for (unsigned i = 0; i < r->port_count; i++)
		if (port_matches(&r->ports[i], q->to, q->protocol, q->port))
			return;
	if (!r->port_count)
		return;
	str_printf(&text, "%s/%u is not ", protocol_name(q->protocol), q->port);
	for (unsigned i = 0; i < r->port_count; i++) {
		str_puts(&text, i ? " or " : "");
		port_text(&r->ports[i], &text);
	}
	miss(why, misses, text.s);
}

unsigned rule_misses(const struct policy_rule *r, enum direction d, const struct question *q, struct str *why)
{
	const struct party *other = d == INGRESS ? q->from : q->to;
	autostr struct str least = { 0 };
	unsigned misses = 0;

	for (unsigned i = 0; i < r->peer_count; i++) {
		autostr struct str text = { 0 };
		unsigned n = peer_misses(&r->peers[i], other, q->family, &text);

		if (i && n >= misses)
			continue;
		misses = n;
		str_clear(&least);
		str_puts(&least, str_text(&text));
	}
	str_puts(why, str_text(&least));
	port_misses(r, q, why, &misses);
	return misses;
}
