/*
 * Ports of the node that lead to pods.
 *
 * Whoever connects to one of the node's own addresses meets a map of the address,
 * protocol and port, then one of protocol and port alone, after kube-proxy had its
 * turn; what the node itself sends, likewise.  The chains exist while some pod has a
 * port.  The source stays, with two exceptions, which else could not be answered: a
 * pod that reaches itself this way, and what the node sends from 127.0.0.0/8.  ::1
 * cannot leave the node at all, so it is left alone.
 */
#include "nft/nft_int.h"

#include <string.h>
#include <linux/netfilter.h>
#include <linux/rtnetlink.h>
#include "base/util.h"

static const struct hook hook_prerouting = { "nat", "prerouting", NF_INET_PRE_ROUTING, -90 };
static const struct hook hook_output = { "nat", "output", NF_INET_LOCAL_OUT, -90 };

static bool some_pod_has_ports(const struct nft *n)
{
	const struct endpoint *e;

	table_each(&n->model->endpoints, e)
		if (e->host_port_count)
			return true;
	return false;
}

bool host_ports_update(struct nft *n)
{
	bool before = n->host_ports, asked = before || !n->started;
	const struct endpoint *e;

	table_each_dirty(&n->model->endpoints, e)
		asked |= e->host_port_count > 0;
	if (asked)
		n->host_ports = some_pod_has_ports(n) && kernel_has_dnat(n);
	return n->host_ports != before;
}

static bool is_any(const struct addr *a)
{
	static const struct addr none;

	return memcmp(a->b, none.b, sizeof a->b) == 0;
}

/* The key's fields, each at a multiple of four, then what it leads to. */
static void ask(struct nft *n, int f, const struct host_port *p, const struct addr *pod)
{
	const bool any = is_any(&p->host);
	const size_t len = f == FAMILY_V6 ? 16 : 4;
	uint8_t key[KEY_MAX] = { 0 }, *at = key;

	if (!any) {
		memcpy(at, p->host.b, len);
		at += len;
	}
	at[0] = p->protocol;
	at[4] = (uint8_t)(p->number >> 8);
	at[5] = (uint8_t)p->number;
	memcpy(at + 8, pod->b, len);
	at[8 + len] = (uint8_t)(p->target >> 8);
	at[9 + len] = (uint8_t)p->target;
	asker_ask(n, n->set[(any ? SET_ANY_PORTS : SET_HOST_PORTS) + f], key);
}

void host_ports_ask(struct nft *n, const struct endpoint *e)
{
	for (int f = 0; f < FAMILIES && n->host_ports && e->host_port_count; f++) {
		const size_t len = f == FAMILY_V6 ? 16 : 4;
		uint8_t twice[32];

		if (!e->ips[f].family)
			continue;
		memcpy(twice, e->ips[f].b, len);
		memcpy(twice + len, e->ips[f].b, len);
		asker_ask(n, n->set[SET_PORT_PODS + f], twice);
		for (unsigned i = 0; i < e->host_port_count; i++)
			if (!e->host_ports[i].host.family || e->host_ports[i].host.family == family_of(f))
				ask(n, f, &e->host_ports[i], &e->ips[f]);
	}
}

static void lead(struct nft *n, struct chain *c)
{
	static const uint8_t families[FAMILIES] = { NFPROTO_IPV4, NFPROTO_IPV6 };
	struct prefix loopback;
	struct rule_list l = { 0 };

	prefix_parse(&loopback, "::1", NULL);
	rule_add(&l, VERDICT_RETURN, NULL);
	match_prefix(&l, FIELD_IP6_DADDR, &loopback);
	for (int f = 0; f < FAMILIES; f++) {
		rule_add(&l, VERDICT_DNAT, NULL);
		match_set(&l, n->set[SET_HOST_PORTS + f], false);
		rule_add(&l, VERDICT_DNAT, NULL);
		match_number(&l, FIELD_FAMILY, families[f]);
		match_set(&l, n->set[SET_ANY_PORTS + f], false);
	}
	chain_want(&n->rules, c, NULL, &l);
}

static void base(struct nft *n, const char *name, const struct hook *hook, const struct chain *to)
{
	struct rule_list l = { 0 };

	rule_add(&l, VERDICT_GOTO, to);
	match_number(&l, FIELD_FIB_DADDR, RTN_LOCAL);
	chain_want(&n->rules, chain_get(&n->rules, name), hook, &l);
}

void host_ports_chains(struct nft *n)
{
	static const char *const names[] = { "host-ports", "host-ports-in", "host-ports-out" };

	if (n->host_ports) {
		struct chain *c = chain_get(&n->rules, names[0]);

		lead(n, c);
		base(n, names[1], &hook_prerouting, c);
		base(n, names[2], &hook_output, c);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct chain *c = chain_find(&n->rules, names[i]);

		if (c)
			chain_unwant(&n->rules, c);
	}
}

void host_ports_masquerade(struct nft *n, struct rule_list *l)
{
	struct prefix loopback;

	if (!n->host_ports)
		return;
	for (int f = 0; f < FAMILIES; f++) {
		rule_add(l, VERDICT_MASQUERADE, NULL);
		match_set(l, n->set[SET_PORT_PODS + f], false);
	}
	prefix_parse(&loopback, "127.0.0.0/8", NULL);
	rule_add(l, VERDICT_MASQUERADE, NULL);
	match_name(l, FIELD_OIFNAME, "cali*");
	match_prefix(l, FIELD_IP_SADDR, &loopback);
}
