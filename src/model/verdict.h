#ifndef MODEL_VERDICT_H
#define MODEL_VERDICT_H
/*
 * What the policies say about one packet, and how they come to it: the walk that policy.h
 * describes, step by step, in words.  For `manx explain`; no packet waits for it.
 */
#include "base/str.h"
#include "model/policy.h"

/* A packet that opens a connection.  family: FAMILY_V4 or FAMILY_V6; protocol: IPPROTO_... */
struct question {
	const struct party *from, *to;
	int family;
	uint8_t protocol;
	uint16_t port;
};

/*
 * A rule that was looked at.  rule NO_RULE: the policy has none; or (matches) none of its tier matched, which it
 * ends as the last one.
 */
enum { NO_RULE = -1 };
struct step {
	const struct policy *policy;
	int rule;			/* index in policy->rules[] */
	bool matches;
	uint8_t action;			/* what it does if it matches */
	unsigned misses;		/* if not: how many conditions do not hold ... */
	struct str why;			/* ... and which */
};

struct verdict {
	bool allow;
	struct step *steps;		/* none: no policy is for this pod in this direction */
	unsigned count;
};

void verdict_reach(const struct model *m, enum direction d, const struct question *q, struct verdict *v);
void verdict_free(struct verdict *v);
/* The rule that lacked least, NULL when the verdict is "allow" or there was no rule. */
const struct step *verdict_nearest(const struct verdict *v);

/* How many conditions of a rule keep it from matching, and which they are. */
unsigned rule_misses(const struct policy_rule *r, enum direction d, const struct question *q, struct str *why);

const char *action_name(unsigned action);		/* "allow" */
const char *protocol_name(unsigned protocol);	/* "tcp"; "?" */

#endif
