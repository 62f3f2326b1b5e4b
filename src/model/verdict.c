#include "model/verdict.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include "base/util.h"

static const char *const actions[] = {
	[ACTION_ALLOW] = "allow", [ACTION_DENY] = "deny", [ACTION_PASS] = "pass", [ACTION_LOG] = "log",
};

const char *action_name(unsigned action)
{
	return actions[action];
}

const char *protocol_name(unsigned protocol)
{
	static const struct { unsigned number; const char *name; } names[] = {
		{ IPPROTO_TCP, "tcp" }, { IPPROTO_UDP, "udp" }, { IPPROTO_SCTP, "sctp" }, { IPPROTO_ICMP, "icmp" },
		{ IPPROTO_ICMPV6, "icmp6" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].number == protocol)
			return names[i].name;
	return "?";
}

static struct step *step_add(struct verdict *v, const struct policy *p, int rule)
{
	v->steps = xrealloc(v->steps, (v->count + 1) * sizeof *v->steps);
	v->steps[v->count] = (struct step){ .policy = p, .rule = rule };
	return &v->steps[v->count++];
}

static bool look_at_rule(struct verdict *v, enum direction d, const struct question *q, const struct policy *p, unsigned i)
{
	const struct policy_rule *r = &p->rules[d][i];
	const struct party *self = d == INGRESS ? q->to : q->from, *other = d == INGRESS ? q->from : q->to;
	struct step *s = step_add(v, p, (int)i);

	s->action = r->action;
	s->matches = rule_matches(r, d, self, other, q->family, q->protocol, q->port);
	if (!s->matches)
		s->misses = rule_misses(r, d, q, &s->why);
	return s->matches;
}

static void no_rule(struct str *why, const struct policy *p)
{
	if (p->bad)
		str_printf(why, "it was refused: %s", p->bad);
	else
		str_puts(why, "it has no rule");
}

/* The first rule of the policy that matches and is not only for the log: its action; or -1. */
static int look_at_policy(struct verdict *v, enum direction d, const struct question *q, const struct policy *p)
{
	if (!p->rule_count[d])
		no_rule(&step_add(v, p, NO_RULE)->why, p);
	for (unsigned i = 0; i < p->rule_count[d]; i++)
		if (look_at_rule(v, d, q, p, i) && p->rules[d][i].action != ACTION_LOG)
			return p->rules[d][i].action;
	return -1;
}

static bool same_tier(const struct policy *a, const struct policy *b)
{
	return strcmp(a->tier, b->tier) == 0;
}

/* Policies of one tier, from list on: -1 when they end with a pass. */
static int look_at_tier(struct verdict *v, enum direction d, const struct question *q, const struct policy **list,
			unsigned count)
{
	struct step *end;

	for (unsigned i = 0; i < count; i++) {
		int action = look_at_policy(v, d, q, list[i]);

		if (action >= 0)
			return action == ACTION_PASS ? -1 : action;
	}
	end = step_add(v, list[count - 1], NO_RULE);
	end->matches = true;
	end->action = ACTION_DENY;
	return ACTION_DENY;
}

void verdict_reach(const struct model *m, enum direction d, const struct question *q, struct verdict *v)
{
	autofree const struct policy **list = NULL;
	unsigned count = policies_of(m, d == INGRESS ? q->to : q->from, d, &list), tier;

	*v = (struct verdict){ .allow = true };
	for (unsigned at = 0; at < count; at += tier) {
		int action;

		for (tier = 1; at + tier < count && same_tier(list[at], list[at + tier]); tier++)
			;
		action = look_at_tier(v, d, q, list + at, tier);
		if (action >= 0) {
			v->allow = action == ACTION_ALLOW;
			return;
		}
	}
}

const struct step *verdict_nearest(const struct verdict *v)
{
	const struct step *nearest = NULL;

	for (unsigned i = 0; i < v->count && !v->allow; i++) {
		const struct step *s = &v->steps[i];

		if (s->rule != NO_RULE && !s->matches && s->action == ACTION_ALLOW && (!nearest || s->misses < nearest->misses))
			nearest = s;
	}
	return nearest;
}

void verdict_free(struct verdict *v)
{
	for (unsigned i = 0; i < v->count; i++)
		str_free(&v->steps[i].why);
	free(v->steps);
	*v = (struct verdict){ 0 };
}
