/*
 * Which elements the rows ask for.
 *
 *	endpoint	its addresses on its link; those that no own block holds are "borrowed"
 *	block		one of this node: the addresses that another node's pods have are "lent"
 *	node		another one: its addresses may send into the tunnels
 *
 * Only the first matters without a tunnel.  Own blocks, pools and the uplink are in the chains.
 */
#include "nft/policy.h"

#include <stdlib.h>
#include <string.h>
#include "base/util.h"

/* ---- own blocks ---- */

static bool own_list_has(const struct nft *n, const struct prefix *p)
{
	for (unsigned i = 0; i < n->own_count; i++)
		if (prefix_equal(&n->own[i], p))
			return true;
	return false;
}

static bool own_blocks_hold(const struct nft *n, const struct addr *a)
{
	for (unsigned i = 0; i < n->own_count; i++)
		if (prefix_has(&n->own[i], a))
			return true;
	return false;
}

static bool own_list_differs(const struct nft *n)
{
	const struct block *b;

	table_each_dirty(&n->model->blocks, b)
		if (model_owns(n->model, b) != own_list_has(n, &b->cidr))
			return true;
	return false;
}

static int by_prefix(const void *a, const void *b)
{
	return prefix_cmp(a, b);
}

static bool own_list_update(struct nft *n)
{
	const struct block *b;

	if (n->started && !own_list_differs(n))
		return false;
	n->own_count = 0;
	n->own = xrealloc(n->own, (n->model->blocks.count + 1) * sizeof *n->own);
	table_each(&n->model->blocks, b)
		if (model_owns(n->model, b))
			n->own[n->own_count++] = b->cidr;
	n->own = xrealloc(n->own, (n->own_count + 1) * sizeof *n->own);
	qsort(n->own, n->own_count, sizeof *n->own, by_prefix);
	return true;
}

/* ---- rows ---- */

void want_endpoint(struct nft *n, const struct endpoint *e)
{
	struct asker *o = asker_begin(n, ASKER_ENDPOINT, e->row.key);
	uint8_t key[sizeof(uint32_t) + sizeof e->ips[0].b];
	uint32_t iif = (uint32_t)e->ifindex;

	memcpy(key, &iif, sizeof iif);
	for (int f = 0; f < FAMILIES && !e->row.gone && iif; f++) {
		if (!e->ips[f].family)
			continue;
		memcpy(key + sizeof iif, e->ips[f].b, sizeof e->ips[f].b);
		asker_ask(n, n->set[SET_PODS + f], key);
		if (n->tunnelled && !own_blocks_hold(n, &e->ips[f]))
			asker_ask(n, n->set[SET_BORROWED + f], e->ips[f].b);
	}
	if (!e->row.gone) {
		policies_ask(n, e);
		host_ports_ask(n, e);
	}
	o->denied = !e->row.gone && e->host_port_count && !n->host_ports;
	asker_end(n, o);
}

static void want_node(struct nft *n, const struct node *node)
{
	struct asker *o = asker_begin(n, ASKER_NODE, node->row.key);

	for (int f = 0; f < FAMILIES && !node->row.gone; f++)
		if (n->tunnelled && !model_is_self(n->model, node->row.key) && node->address[f].addr.family)
			asker_ask(n, n->set[SET_NODES + f], node->address[f].addr.b);
	asker_end(n, o);
}

/* Who has the address with that ordinal of an own block, when that is another node. */
static bool is_lent(const struct nft *n, const struct block *b, unsigned ordinal)
{
	int a = b->allocations[ordinal];

	return a >= 0 && (unsigned)a < b->attribute_count && b->attributes[a].node && !model_is_self(n->model, b->attributes[a].node);
}

static bool lends(const struct nft *n, const struct block *b)
{
	for (unsigned i = 0; i < b->attribute_count; i++)
		if (b->attributes[i].node && !model_is_self(n->model, b->attributes[i].node))
			return true;
	return false;
}

static void want_block(struct nft *n, const struct block *b)
{
	struct asker *o = asker_begin(n, ASKER_BLOCK, b->row.key);
	struct set *lent = n->set[SET_LENT + family_index(b->cidr.addr.family)];

	if (n->tunnelled && model_owns(n->model, b) && lends(n, b)) {
		for (unsigned i = 0; i < b->size; i++) {
			struct addr a = addr_plus(&b->cidr.addr, i);

			if (is_lent(n, b, i))
				asker_ask(n, lent, a.b);
		}
	}
	asker_end(n, o);
}

/* ---- what is dirty ---- */

/* True when the need of some tunnel changed. */
static bool tunnels_update(struct nft *n)
{
	bool now[TUNNELS] = { false };
	const struct pool *p;

	table_each(&n->model->pools, p)
		if (!p->refused)
			now[encapsulation_tunnel(p->encapsulation, p->cidr.addr.family)] = true;
	now[TUNNEL_NONE] = n->tunnelled = false;
	tunnel_each(t)
		n->tunnelled |= now[t];
	if (memcmp(n->tunnel, now, sizeof now) == 0)
		return false;
	memcpy(n->tunnel, now, sizeof now);
	return true;
}

static void want_endpoints(struct nft *n, bool all)
{
	const struct endpoint *e;

	if (all)
		table_each(&n->model->endpoints, e)
			want_endpoint(n, e);
	else
		table_each_dirty(&n->model->endpoints, e)
			if (!e->row.gone)
				want_endpoint(n, e);
}

static void want_nodes(struct nft *n, bool all)
{
	const struct node *node;

	if (all)
		table_each(&n->model->nodes, node)
			want_node(n, node);
	table_each_dirty(&n->model->nodes, node)
		if (!all || node->row.gone)
			want_node(n, node);
}

static void want_blocks(struct nft *n, bool all)
{
	const struct block *b;

	if (all)
		table_each(&n->model->blocks, b)
			want_block(n, b);
	table_each_dirty(&n->model->blocks, b)
		if (!all || b->row.gone)
			want_block(n, b);
}

/* First, since another pod may have the address by now. */
static void endpoints_let_go(struct nft *n)
{
	const struct endpoint *e;

	table_each_dirty(&n->model->endpoints, e)
		if (e->row.gone)
			want_endpoint(n, e);
}

void nft_want(struct nft *n)
{
	const struct model *m = n->model;
	bool pools = !n->started || m->pools.dirty;
	bool all = (pools && tunnels_update(n)) || !n->started, own = own_list_update(n);

	endpoints_let_go(n);
	all |= n->sharing && m->endpoints.dirty;

	if (host_ports_update(n) || pools || own || m->uplinks.dirty)
		base_chains(n);
	if (!n->started || policies_dirty(n))
		policies_want(n);
	want_endpoints(n, all || (own && n->tunnelled));
	want_nodes(n, all);
	want_blocks(n, all);
	n->started = true;
}
