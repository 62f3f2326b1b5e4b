/*
 * The rules of every node, whatever its policies.
 *
 *	prerouting, before conntrack: where a packet says it comes from
 *	  from a pod's link	its source is one of that pod's addresses; no packets inside packets,
 *				no router's or DHCP server's talk, nothing to the host's loopback.  Every
 *				link named cali* is a pod's: one that no element names is mute, so a dead
 *				link is, and one that is just being made
 *	  out of a tunnel	its source is no pod of this node
 *	input			packets for a tunnel come from other nodes; what a pod sends to its own node
 *				passes the pod's egress policy
 *	forward			established flows pass; the first packet of a flow passes the policies of its source, then
 *				those of its destination
 *	postrouting		what leaves the pools of natOutgoing for what is in no pool is
 *				masqueraded; and what the host itself sends into a tunnel by its
 *				uplink's address (a Service's translation does), so that replies come back
 *				the same way
 *
 * What host ports add is in hostport.c.
 *
 * A packet that has nothing to do with pods or tunnels meets the first rules of prerouting and
 * input, comparisons of its interface's name and its protocol, and no lookup.
 */
#include "nft/nft_int.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <linux/netfilter.h>
#include "base/util.h"

/* Bits of "ct state", as nft_ct makes them. */
enum { CT_INVALID = 1, CT_ESTABLISHED = 2, CT_RELATED = 4 };
enum { VXLAN_PORT = 4789, DHCP_SERVER_PORT = 67, DHCPV6_SERVER_PORT = 547, ICMP6_MLD2_REPORT = 143 };

static const struct hook hook_prerouting = { "filter", "prerouting", NF_INET_PRE_ROUTING, -300 };
static const struct hook hook_input = { "filter", "input", NF_INET_LOCAL_IN, 0 };
static const struct hook hook_forward = { "filter", "forward", NF_INET_FORWARD, 0 };
static const struct hook hook_postrouting = { "nat", "postrouting", NF_INET_POST_ROUTING, 110 };

static const enum field source_of[FAMILIES] = { FIELD_IP_SADDR, FIELD_IP6_SADDR };
static const enum field destination_of[FAMILIES] = { FIELD_IP_DADDR, FIELD_IP6_DADDR };

/* ---- sets ---- */

static const struct { const char *name; uint8_t fields[KEY_FIELDS]; uint8_t kind; } fixed_sets[FIXED_SETS] = {
	[SET_PODS] = { "pods-4", { FIELD_IIF, FIELD_IP_SADDR } },
	[SET_PODS_6] = { "pods-6", { FIELD_IIF, FIELD_IP6_SADDR } },
	[SET_NODES] = { "nodes-4", { FIELD_IP_SADDR } },
	[SET_NODES_6] = { "nodes-6", { FIELD_IP6_SADDR } },
	[SET_BORROWED] = { "borrowed-4", { FIELD_IP_SADDR } },
	[SET_BORROWED_6] = { "borrowed-6", { FIELD_IP6_SADDR } },
	[SET_LENT] = { "lent-4", { FIELD_IP_SADDR } },
	[SET_LENT_6] = { "lent-6", { FIELD_IP6_SADDR } },
	[SET_NEIGHBOUR_TYPES] = { "neighbour-types", { FIELD_ICMP6_TYPE } },
	[SET_DISCOVERY_TYPES] = { "discovery-types", { FIELD_ICMP6_TYPE } },
	[SET_IN_PORTS] = { "in-ports-4", { FIELD_IP_DADDR, FIELD_PROTOCOL, FIELD_DPORT }, SET_VERDICTS },
	[SET_IN_PORTS_6] = { "in-ports-6", { FIELD_IP6_DADDR, FIELD_PROTOCOL, FIELD_DPORT }, SET_VERDICTS },
	[SET_IN] = { "in-4", { FIELD_IP_DADDR }, SET_VERDICTS },
	[SET_IN_6] = { "in-6", { FIELD_IP6_DADDR }, SET_VERDICTS },
	[SET_OUT_PORTS] = { "out-ports-4", { FIELD_IP_SADDR, FIELD_PROTOCOL, FIELD_DPORT }, SET_VERDICTS },
	[SET_OUT_PORTS_6] = { "out-ports-6", { FIELD_IP6_SADDR, FIELD_PROTOCOL, FIELD_DPORT }, SET_VERDICTS },
	[SET_OUT] = { "out-4", { FIELD_IP_SADDR }, SET_VERDICTS },
	[SET_OUT_6] = { "out-6", { FIELD_IP6_SADDR }, SET_VERDICTS },
	[SET_HAIRPIN] = { "hairpin-4", { FIELD_IP_SADDR, FIELD_IP_DADDR } },
	[SET_HAIRPIN_6] = { "hairpin-6", { FIELD_IP6_SADDR, FIELD_IP6_DADDR } },
	[SET_HOST_PORTS] = { "host-ports-4", { FIELD_IP_DADDR, FIELD_PROTOCOL, FIELD_DPORT }, SET_NAT },
	[SET_HOST_PORTS_6] = { "host-ports-6", { FIELD_IP6_DADDR, FIELD_PROTOCOL, FIELD_DPORT }, SET_NAT_6 },
	[SET_ANY_PORTS] = { "any-ports-4", { FIELD_PROTOCOL, FIELD_DPORT }, SET_NAT },
	[SET_ANY_PORTS_6] = { "any-ports-6", { FIELD_PROTOCOL, FIELD_DPORT }, SET_NAT_6 },
	[SET_PORT_PODS] = { "port-pods-4", { FIELD_IP_SADDR, FIELD_IP_DADDR } },
	[SET_PORT_PODS_6] = { "port-pods-6", { FIELD_IP6_SADDR, FIELD_IP6_DADDR } },
};

void base_sets(struct nft *n)
{
	static const uint8_t types[] = { MLD_LISTENER_REPORT, MLD_LISTENER_REDUCTION, ND_ROUTER_SOLICIT,
					 ND_NEIGHBOR_SOLICIT, ND_NEIGHBOR_ADVERT, ICMP6_MLD2_REPORT };
	static const uint8_t discovery[] = { ND_ROUTER_SOLICIT, ND_ROUTER_ADVERT, ND_NEIGHBOR_SOLICIT, ND_NEIGHBOR_ADVERT };
	struct asker *o;

	for (int i = 0; i < FIXED_SETS; i++) {
		n->set[i] = set_get_kind(&n->rules, fixed_sets[i].name, fixed_sets[i].fields, fixed_sets[i].kind);
		set_want(&n->rules, n->set[i], true);
	}
	o = asker_begin(n, ASKER_BASE, "discovery-types");
	for (size_t i = 0; i < sizeof discovery; i++)
		asker_ask(n, n->set[SET_DISCOVERY_TYPES], &discovery[i]);
	asker_end(n, o);
	o = asker_begin(n, ASKER_BASE, "neighbour-types");
	for (size_t i = 0; i < sizeof types; i++)
		asker_ask(n, n->set[SET_NEIGHBOUR_TYPES], &types[i]);
	asker_end(n, o);
}

/* ---- rules ---- */

static void match_text(struct rule_list *l, enum field f, const char *text)
{
	struct prefix p;

	if (prefix_parse(&p, text, NULL) == 0)
		match_prefix(l, f, &p);
}

/* Rules of one comparison. */
struct plain { enum field field; uint32_t number; };

static void add_plain(struct rule_list *l, enum verdict v, const struct plain *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		rule_add(l, v, NULL);
		match_number(l, rows[i].field, rows[i].number);
	}
}

static void from_pod(struct nft *n, struct chain *c, const struct chain *link_local)
{
	static const struct plain by_most[] = { { FIELD_PROTOCOL, IPPROTO_TCP } };
	static const struct plain by_none[] = {
		{ FIELD_PROTOCOL, IPPROTO_IPIP }, { FIELD_PROTOCOL, IPPROTO_IPV6 }, { FIELD_UDP_DPORT, VXLAN_PORT },
		{ FIELD_UDP_SPORT, DHCP_SERVER_PORT }, { FIELD_UDP_SPORT, DHCPV6_SERVER_PORT },
		{ FIELD_ICMP_TYPE, ICMP_REDIRECT }, { FIELD_ICMP_TYPE, ICMP_ROUTERADVERT },
		{ FIELD_ICMP6_TYPE, ND_ROUTER_ADVERT }, { FIELD_ICMP6_TYPE, ND_REDIRECT },
	};
	struct rule_list l = { 0 };

	rule_add(&l, VERDICT_DROP, NULL);
	match_set(&l, n->set[SET_PODS], true);
	rule_add(&l, VERDICT_GOTO, link_local);
	match_set(&l, n->set[SET_PODS_6], true);
	rule_add(&l, VERDICT_DROP, NULL);
	match_text(&l, FIELD_IP_DADDR, "127.0.0.0/8");
	rule_add(&l, VERDICT_DROP, NULL);
	match_text(&l, FIELD_IP6_DADDR, "::1");
	add_plain(&l, VERDICT_ACCEPT, by_most, ARRAY_SIZE(by_most));
	add_plain(&l, VERDICT_DROP, by_none, ARRAY_SIZE(by_none));
	chain_want(&n->rules, c, NULL, &l);
}

static void from_pod_link_local(struct nft *n, struct chain *c)
{
	static const char *const sources[] = { "fe80::/10", "::" };
	struct rule_list l = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		rule_add(&l, VERDICT_ACCEPT, NULL);
		match_text(&l, FIELD_IP6_SADDR, sources[i]);
		match_set(&l, n->set[SET_NEIGHBOUR_TYPES], false);
	}
	rule_add(&l, VERDICT_DROP, NULL);
	chain_want(&n->rules, c, NULL, &l);
}

static void from_tunnel(struct nft *n, struct chain *c, const struct chain *own_block)
{
	struct rule_list l = { 0 };

	for (int f = 0; f < FAMILIES; f++) {
		rule_add(&l, VERDICT_DROP, NULL);
		match_set(&l, n->set[SET_BORROWED + f], false);
	}
	for (unsigned i = 0; i < n->own_count; i++) {
		rule_add(&l, VERDICT_GOTO, own_block);
		match_prefix(&l, source_of[family_index(n->own[i].addr.family)], &n->own[i]);
	}
	chain_want(&n->rules, c, NULL, &l);
}

static void from_own_block(struct nft *n, struct chain *c)
{
	struct rule_list l = { 0 };

	for (int f = 0; f < FAMILIES; f++) {
		rule_add(&l, VERDICT_ACCEPT, NULL);
		match_set(&l, n->set[SET_LENT + f], false);
	}
	rule_add(&l, VERDICT_DROP, NULL);
	chain_want(&n->rules, c, NULL, &l);
}

static void prerouting(struct nft *n)
{
	struct chain *pod = chain_get(&n->rules, "from-pod"), *local = chain_get(&n->rules, "from-pod-link-local");
	struct chain *tunnel = chain_get(&n->rules, "from-tunnel"), *own = chain_get(&n->rules, "from-own-block");
	struct rule_list l = { 0 };

	from_pod_link_local(n, local);
	from_pod(n, pod, local);
	from_own_block(n, own);
	from_tunnel(n, tunnel, own);
	rule_add(&l, VERDICT_GOTO, pod);
	match_name(&l, FIELD_IIFNAME, "cali*");
	tunnel_each(t) {
		if (!n->tunnel[t])
			continue;
		rule_add(&l, VERDICT_GOTO, tunnel);
		match_name(&l, FIELD_IIFNAME, tunnel_kinds[t].device);
	}
	chain_want(&n->rules, chain_get(&n->rules, "prerouting"), &hook_prerouting, &l);
}

/* ---- policies ---- */

static void deny(struct nft *n)
{
	struct rule_list l = { 0 };

	n->deny = chain_get(&n->rules, "deny");
	for (int f = 0; f < FAMILIES; f++) {
		rule_add(&l, VERDICT_ACCEPT, NULL);
		match_set(&l, n->set[SET_HAIRPIN + f], false);
	}
	rule_add(&l, VERDICT_DROP, NULL);
	chain_want(&n->rules, n->deny, NULL, &l);
}

/* Looked up by port, then by pod; a pod that is in no map is not isolated. */
static void isolation(struct nft *n, struct rule_list *l, enum fixed_set ports, enum fixed_set pods)
{
	for (int f = 0; f < FAMILIES; f++) {
		rule_add(l, VERDICT_MAP, NULL);
		match_set(l, n->set[(int)ports + f], false);
		rule_add(l, VERDICT_MAP, NULL);
		match_set(l, n->set[(int)pods + f], false);
	}
}

/* The source may; a destination that is no pod of this node has no policy. */
static void ingress(struct nft *n)
{
	struct chain *c = chain_get(&n->rules, "into-pod");
	struct rule_list l = { 0 }, pod = { 0 };

	n->ingress = chain_get(&n->rules, "ingress");
	isolation(n, &pod, SET_IN_PORTS, SET_IN);
	rule_add(&pod, VERDICT_ACCEPT, NULL);
	chain_want(&n->rules, c, NULL, &pod);
	rule_add(&l, VERDICT_GOTO, c);
	match_name(&l, FIELD_OIFNAME, "cali*");
	rule_add(&l, VERDICT_ACCEPT, NULL);
	chain_want(&n->rules, n->ingress, NULL, &l);
}

/* Goes on to ingress() when the source may. */
static const struct chain *from_isolated(struct nft *n)
{
	struct chain *c = chain_get(&n->rules, "egress");
	struct rule_list l = { 0 };

	isolation(n, &l, SET_OUT_PORTS, SET_OUT);
	rule_add(&l, VERDICT_GOTO, n->ingress);
	chain_want(&n->rules, c, NULL, &l);
	return c;
}

/*
 * What that chain does not accept is dropped.  A packet that is under way while a batch is committed reads rules as
 * they were, but elements as they are: a new element may send it to a new chain, which for this packet has no rules yet.
 */
static void only_by(struct rule_list *l, const struct chain *c, enum field end)
{
	rule_add(l, VERDICT_JUMP, c);
	match_name(l, end, "cali*");
	rule_add(l, VERDICT_DROP, NULL);
	match_name(l, end, "cali*");
}

/* Connections that began before a policy did go on, as do answers; what belongs to none has no business here. */
static void known_flows(struct nft *n, struct rule_list *l)
{
	if (n->conntrack != ANSWER_YES)
		return;
	rule_add(l, VERDICT_ACCEPT, NULL);
	match_any_bit(l, FIELD_CT_STATE, CT_ESTABLISHED | CT_RELATED);
	rule_add(l, VERDICT_DROP, NULL);
	match_any_bit(l, FIELD_CT_STATE, CT_INVALID);
}

/* What touches no pod meets two comparisons. */
static void forward(struct nft *n, const struct chain *egress)
{
	struct chain *to = chain_get(&n->rules, "to-pod"), *out = chain_get(&n->rules, "pod-to-others");
	struct rule_list l = { 0 }, to_pod = { 0 }, others = { 0 };

	only_by(&l, to, FIELD_OIFNAME);
	only_by(&l, out, FIELD_IIFNAME);
	known_flows(n, &to_pod);
	rule_add(&to_pod, VERDICT_GOTO, egress);
	match_name(&to_pod, FIELD_IIFNAME, "cali*");
	rule_add(&to_pod, VERDICT_GOTO, n->ingress);
	chain_want(&n->rules, to, NULL, &to_pod);
	known_flows(n, &others);
	rule_add(&others, VERDICT_GOTO, egress);
	chain_want(&n->rules, out, NULL, &others);
	chain_want(&n->rules, chain_get(&n->rules, "forward"), &hook_forward, &l);
}

static void pod_to_host(struct nft *n, struct chain *c, const struct chain *egress)
{
	struct rule_list l = { 0 };

	known_flows(n, &l);
	rule_add(&l, VERDICT_ACCEPT, NULL);
	match_set(&l, n->set[SET_DISCOVERY_TYPES], false);
	rule_add(&l, VERDICT_GOTO, egress);
	chain_want(&n->rules, c, NULL, &l);
}

/* ---- input ---- */

static void input(struct nft *n, const struct chain *from_pod)
{
	struct chain *c = chain_get(&n->rules, "to-tunnel");
	struct rule_list l = { 0 }, base = { 0 };

	for (int f = 0; f < FAMILIES; f++) {
		rule_add(&l, VERDICT_ACCEPT, NULL);
		match_set(&l, n->set[SET_NODES + f], false);
	}
	rule_add(&l, VERDICT_DROP, NULL);
	chain_want(&n->rules, c, NULL, &l);
	only_by(&base, from_pod, FIELD_IIFNAME);
	if (n->tunnel[TUNNEL_IPIP]) {
		rule_add(&base, VERDICT_GOTO, c);
		match_number(&base, FIELD_PROTOCOL, IPPROTO_IPIP);
	}
	if (n->tunnel[TUNNEL_VXLAN] || n->tunnel[TUNNEL_VXLAN_V6]) {
		rule_add(&base, VERDICT_GOTO, c);
		match_number(&base, FIELD_UDP_DPORT, VXLAN_PORT);
	}
	chain_want(&n->rules, chain_get(&n->rules, "input"), &hook_input, &base);
}

static bool some_pool_masquerades(const struct nft *n)
{
	const struct pool *p;

	table_each(&n->model->pools, p)
		if (!p->refused && p->nat_outgoing)
			return true;
	return false;
}

/* Pools in order of their prefixes, so that the rules do not depend on that of the rows. */
static struct prefix *pools_sorted(const struct nft *n, bool masquerading, unsigned *count)
{
	struct prefix *list = xcalloc(n->model->pools.count + 1u, sizeof *list);
	const struct pool *p;
	unsigned at;

	*count = 0;
	table_each(&n->model->pools, p) {
		if (p->refused || (masquerading && !p->nat_outgoing))
			continue;
		for (at = (*count)++; at && prefix_cmp(&list[at - 1], &p->cidr) > 0; at--)
			list[at] = list[at - 1];
		list[at] = p->cidr;
	}
	return list;
}

static void nat_outgoing(struct nft *n, struct chain *c)
{
	struct rule_list l = { 0 };
	unsigned count;
	autofree struct prefix *pools = pools_sorted(n, false, &count);

	for (unsigned i = 0; i < count; i++) {
		rule_add(&l, VERDICT_RETURN, NULL);
		match_prefix(&l, destination_of[family_index(pools[i].addr.family)], &pools[i]);
	}
	rule_add(&l, VERDICT_MASQUERADE, NULL);
	chain_want(&n->rules, c, NULL, &l);
}

/* What the host sends into a tunnel has the tunnel's address, unless an address was chosen before the way was. */
static void masquerade_host(struct nft *n, struct rule_list *l)
{
	const struct uplink *up = model_uplink(n->model);

	tunnel_each(t) {
		int f = tunnel_kinds[t].family;
		struct prefix host = up ? prefix_host(&up->address[f].addr) : (struct prefix){ 0 };

		if (!n->tunnel[t] || !host.addr.family)
			continue;
		rule_add(l, VERDICT_MASQUERADE, NULL);
		match_name(l, FIELD_OIFNAME, tunnel_kinds[t].device);
		match_prefix(l, source_of[f], &host);
	}
}

static void postrouting(struct nft *n)
{
	struct chain *base = chain_get(&n->rules, "postrouting"), *c = chain_get(&n->rules, "nat-outgoing");
	struct rule_list l = { 0 };
	unsigned count;
	autofree struct prefix *pools = pools_sorted(n, true, &count);

	if ((!n->tunnelled && !n->host_ports && !some_pool_masquerades(n)) || !kernel_has_nat(n)) {
		chain_unwant(&n->rules, base);
		chain_unwant(&n->rules, c);
		return;
	}
	host_ports_masquerade(n, &l);
	masquerade_host(n, &l);
	for (unsigned i = 0; i < count; i++) {
		rule_add(&l, VERDICT_GOTO, c);
		match_prefix(&l, source_of[family_index(pools[i].addr.family)], &pools[i]);
	}
	nat_outgoing(n, c);
	chain_want(&n->rules, base, &hook_postrouting, &l);
}

void base_chains(struct nft *n)
{
	struct chain *from_pod = chain_get(&n->rules, "pod-to-host");
	const struct chain *egress;

	deny(n);
	ingress(n);
	egress = from_isolated(n);
	prerouting(n);
	pod_to_host(n, from_pod, egress);
	input(n, from_pod);
	forward(n, egress);
	postrouting(n);
	host_ports_chains(n);
}
