/*
 * What this kernel can, found by doing: a batch that ends in a message that must
 * fail changes nothing, but says of each message before it whether the kernel would
 * have taken it.  All is asked in one batch, since giving one up waits for a grace
 * period; each part has a table of its own, so that none fails for another.
 */
#include "nft/nft_int.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/rtnetlink.h>
#include "base/util.h"

static void plain_put(struct nl *nl, const char *table)
{
	message_table(nl, NFT_MSG_NEWTABLE, table, 0);
}

static void owned_put(struct nl *nl, const char *table)
{
	message_table(nl, NFT_MSG_NEWTABLE, table, NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST);
}

/* A chain with its one rule, which may look into s; frees rs. */
static void rule_put(struct nl *nl, const char *table, struct ruleset *rs, const struct hook *hook,
		     struct rule_list *rules, struct set *s)
{
	struct chain *c = chain_get(rs, "probe");

	chain_want(rs, c, hook, rules);
	plain_put(nl, table);
	message_chain(nl, NFT_MSG_NEWCHAIN, table, c);
	if (s)
		message_set_of(nl, NFT_MSG_NEWSET, table, s);
	message_rule(nl, table, c, c->rules.first);
	ruleset_free(rs);
}

static void conntrack_put(struct nl *nl, const char *table)
{
	static const struct hook hook = { "filter", "forward", NF_INET_FORWARD, 0 };
	struct ruleset rs = { 0 };
	struct rule_list rules = { 0 };

	rule_add(&rules, VERDICT_DROP, NULL);
	match_any_bit(&rules, FIELD_CT_STATE, 1);
	rule_put(nl, table, &rs, &hook, &rules, NULL);
}

static void nat_put(struct nl *nl, const char *table)
{
	static const struct hook hook = { "nat", "postrouting", NF_INET_POST_ROUTING, 110 };
	struct ruleset rs = { 0 };
	struct rule_list rules = { 0 };

	rule_add(&rules, VERDICT_MASQUERADE, NULL);
	rule_put(nl, table, &rs, &hook, &rules, NULL);
}

static void dnat_put(struct nl *nl, const char *table)
{
	static const struct hook hook = { "nat", "output", NF_INET_LOCAL_OUT, -90 };
	static const uint8_t fields[KEY_FIELDS] = { FIELD_PROTOCOL, FIELD_DPORT };
	struct ruleset rs = { 0 };
	struct set *s = set_get_kind(&rs, "ports", fields, SET_NAT);
	struct rule_list rules = { 0 };

	rule_add(&rules, VERDICT_DNAT, NULL);
	match_number(&rules, FIELD_FIB_DADDR, RTN_LOCAL);
	match_set(&rules, s, false);
	rule_put(nl, table, &rs, &hook, &rules, s);
}

static const struct part {
	const char *table;
	void (*put)(struct nl *nl, const char *table);
} parts[PROBES] = {
	[PROBE_TABLE] = { "manx-probe", plain_put },
	[PROBE_OWNED] = { "manx-probe-owned", owned_put },
	[PROBE_CONNTRACK] = { "manx-probe-conntrack", conntrack_put },
	[PROBE_NAT] = { "manx-probe-nat", nat_put },
	[PROBE_DNAT] = { "manx-probe-dnat", dnat_put },
};

struct asking {
	unsigned from[PROBES + 1];	/* each part's first message; the end's */
	int *rc, end;
};

static void on_answered(void *ctx, unsigned position, int rc, const char *text)
{
	struct asking *a = ctx;
	(void)text;

	if (position == a->from[PROBES])
		a->end = rc;
	for (int p = 0; p < PROBES; p++)
		if (position >= a->from[p] && position < a->from[p + 1] && !a->rc[p])
			a->rc[p] = rc;
}

void nft_probe(struct nl *nl, int rc[PROBES])
{
	struct asking a = { .rc = rc };
	const struct nl_answer answer = { .done = on_answered, .ctx = &a };
	int whole;

	batch_begin(nl, 0);
	for (int p = 0; p < PROBES; p++) {
		rc[p] = 0;
		a.from[p] = nl->count;
		parts[p].put(nl, parts[p].table);
	}
	a.from[PROBES] = nl->count;
	message_table(nl, NFT_MSG_DELTABLE, "manx-probe-none", 0);
	batch_end(nl);
	whole = nl_commit(nl, &answer, NULL);
	for (int p = 0; p < PROBES && a.end != -ENOENT; p++)	/* the batch as a whole was not looked at */
		if (!rc[p])
			rc[p] = whole ? whole : -EOPNOTSUPP;
}
