#ifndef MODEL_POLICY_H
#define MODEL_POLICY_H
/*
 * Network policy, whoever wrote it: Kubernetes, Calico and cluster policies become
 * these rows, and the ruleset, `explain` and the tests' judge read nothing else.
 *
 * Who decides about a packet, for a pod in one direction: the tiers in order; in a tier the policies
 * that select the pod in that direction, in order; in a policy its rules in order.  The first rule that
 * matches acts.  If none did, but some policy of the tier selected the pod, the tier denies (or, if it is
 * one that passes, the next one decides).  After the last tier: allowed.
 */
#include "model/model.h"
#include "model/selector.h"

enum direction { INGRESS, EGRESS, DIRECTIONS };

enum policy_action { ACTION_ALLOW, ACTION_DENY, ACTION_PASS, ACTION_LOG };

/* Ports: of one protocol, a range of numbers or a name of the destination pod.  protocol 0: any, without ports. */
struct policy_port {
	uint8_t protocol;		/* IPPROTO_... */
	uint16_t first, last;		/* 0, 0: every one */
	const char *name;		/* NULL: the numbers count */
};

/* Whom a rule is about.  All that is set must hold. */
struct peer {
	const struct selector *pods;	/* labels of a pod, NULL: not asked */
	const struct selector *namespaces;	/* labels of the pod's namespace, NULL: not asked */
	const char *namespace;		/* the pod's namespace, NULL: any */
	struct prefix net;		/* family 0: not asked */
	const struct prefix *except;	/* inside net, but not meant */
	unsigned except_count;
};

struct policy_rule {
	uint8_t action;			/* enum policy_action */
	const struct peer *peers;	/* one must match; none: anybody */
	unsigned peer_count;
	const struct policy_port *ports;	/* one must match; none: every protocol and port */
	unsigned port_count;
	uint64_t digest;		/* peers_digest() */
};

enum { TIER_DEFAULT_ORDER = 1000000, KUBERNETES_ORDER = 1000 };

struct policy {
	struct row row;			/* key: "namespace/name", or "name" */
	struct meta meta;
	const char *kind;		/* as it is called: "NetworkPolicy" */
	const char *tier;		/* name of its tier: "default" */
	double order;			/* in the tier; INFINITY: last */
	struct peer target;		/* the pods it is for; no net */
	bool applies[DIRECTIONS];	/* isolates, though no rule may match */
	const struct policy_rule *rules[DIRECTIONS];
	unsigned rule_count[DIRECTIONS];
	const char *bad;		/* why it was refused: then it isolates and has no rules; else NULL */
	bool strangers;			/* only for pods that no object describes */
	struct place place;
	uint64_t content;		/* digest of what was read */
};

/*
 * One end of a packet.  A pod that no object describes is one without labels; an address of
 * no pod has nothing but itself.
 */
struct party {
	struct label_source labels, namespace_labels;
	const char *namespace, *name;	/* "" when it is no pod */
	const struct pod *pod;		/* or NULL */
	const struct namespace *in;	/* or NULL */
	struct addr ips[FAMILIES];
	bool is_pod;			/* selectors can mean it: a pod, and not on the host's network */
	bool ended;			/* succeeded or failed: nobody's peer any more */
	bool local;			/* attached to this node */
};

/* The pod called so, wherever it runs: false when there is neither an object nor an attachment of that name. */
bool party_of_pod(const struct model *m, const char *namespace, const char *name, struct party *out);
/* Who has that address; of nobody known it is just that address. */
void party_of_address(const struct model *m, const struct addr *a, struct party *out);

/* Policies that decide about p in that direction, in order of tier, order and name; *list is the caller's to free. */
unsigned policies_of(const struct model *m, const struct party *p, enum direction d, const struct policy ***list);
bool policy_selects(const struct policy *p, const struct party *who);
int policy_order(const struct policy *a, const struct policy *b);

bool peer_matches(const struct peer *p, const struct party *who, int family);
bool peer_matches_pod(const struct peer *p, const struct party *who);	/* the net aside */
/* dst: whose port it is, for ports by name. */
bool port_matches(const struct policy_port *p, const struct party *dst, uint8_t protocol, uint16_t port);
/* self: whom the policy is for; other: whom the packet comes from or goes to; family: FAMILY_V4 or FAMILY_V6, of the packet. */
bool rule_matches(const struct policy_rule *r, enum direction d, const struct party *self, const struct party *other,
		  int family, uint8_t protocol, uint16_t port);

/* The same for peers that say the same; others cannot be made to have it. */
uint64_t peer_digest(const struct peer *p);
uint64_t peers_digest(const struct peer *peers, unsigned count);

/* For who knows the rows already: a party without addresses, and its addresses, from rows that may be NULL. */
void party_set(const struct model *m, const char *namespace, const char *name, struct party *out);
void party_addresses(const struct model *m, struct party *p, const struct endpoint *e, const struct workload *w);

#define POLICY_STRANGERS "~"		/* key of the one for strangers, where a datastore brings every pod's object sooner or later */
unsigned policy_count(const struct model *m);	/* that somebody wrote */
enum { POLICY_KEY_MAX = 320 };
void pod_key(char out[POLICY_KEY_MAX], const char *namespace, const char *name);

#endif
