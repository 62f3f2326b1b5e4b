/*
 * What should be in the kernel, from the model's rows.
 *
 *	pod of this node	its addresses, through its host end
 *	block of this node	a blackhole, so that what no pod has goes nowhere
 *	block of another	via that node: directly, or through the tunnel of the pool's mode
 *	address of a block	whose holder is another node than the block's: the same, for it alone
 *	other node		neighbour and forwarding entry on a VXLAN device
 *	this node		the tunnel devices and their addresses
 *
 * A dirty endpoint or block touches its own objects; a dirty node, its entries
 * and the blocks that name it; pools, the uplink and our own node, everything.
 */
#include "route/route_int.h"

#include <stdlib.h>
#include <string.h>
#include <linux/rtnetlink.h>
#include "base/util.h"

static void want_endpoint(struct route *r, const struct endpoint *e)
{
	struct owner *o = owner_begin(r, OWNER_ENDPOINT, e->row.key);

	for (int f = 0; f < FAMILIES && !e->row.gone; f++) {
		struct spec s = { .type = RTN_UNICAST, .protocol = RTPROT_MANX_POD, .oif = e->ifindex };
		struct prefix dst = prefix_host(&e->ips[f]);
		struct object_key k = key_route(&dst);

		if (e->ips[f].family)
			want_add(r, o, &k, WANT_POD, &s);
	}
	owner_end(r, o);
}

/* ---- the way to another node ---- */

static const struct pool_prefix *pool_of(const struct route *r, const struct prefix *dst)
{
	for (unsigned i = 0; i < r->pool_count; i++)
		if (prefix_has(&r->pools[i].cidr, &dst->addr))
			return &r->pools[i];
	return NULL;
}

/* Whether and how packets of that mode are wrapped on their way to n.  False: no way is known. */
static bool tunnel_to(const struct route *r, const struct node *n, enum encapsulation mode, int f, enum tunnel *t)
{
	const struct uplink *up = model_uplink(r->model);

	*t = encapsulation_tunnel(mode, family_of(f));
	if (!*t)
		return mode == ENCAP_NONE;
	if (!encapsulation_is_cross_subnet(mode))
		return true;
	if (!up || !up->address[f].addr.family)
		return false;		/* not known yet which subnet is ours */
	if (prefix_has(&up->address[f], &n->address[f].addr))
		*t = TUNNEL_NONE;
	return true;
}

/* Fills *s with the way to dst at that node.  False: there is none, with *lacking when the node has no tunnel address. */
static bool spec_via(const struct route *r, const struct prefix *dst, const char *node, struct spec *s, bool *lacking)
{
	const struct node *n = table_find(&r->model->nodes, node);
	const struct pool_prefix *p = pool_of(r, dst);
	int f = family_index(dst->addr.family);
	enum tunnel t;

	*s = (struct spec){ .type = RTN_UNICAST, .protocol = RTPROT_MANX_CLUSTER };
	if (!n || !p || !n->address[f].addr.family || !tunnel_to(r, n, p->encapsulation, f, &t))
		return false;
	s->tunnel = (uint8_t)t;
	s->onlink = t;
	s->via = tunnel_kinds[t].by_address ? model_node_tunnel(r->model, n, t) : n->address[f].addr;
	*lacking |= !s->via.family;
	return s->via.family;
}

/* ---- blocks ---- */

/* Who holds the address with that ordinal; NULL: nobody, or the block's own node. */
static const char *borrower(const struct block *b, unsigned ordinal)
{
	int a = b->allocations[ordinal];
	const char *node;

	if (a < 0 || (unsigned)a >= b->attribute_count)
		return NULL;
	node = b->attributes[a].node;
	return node && !(b->node && strcmp(node, b->node) == 0) ? node : NULL;
}

static void want_borrowed(struct route *r, struct owner *o, const struct block *b, const char **lacking)
{
	for (unsigned i = 0; i < b->size; i++) {
		const char *node = borrower(b, i);
		struct addr a = addr_plus(&b->cidr.addr, i);
		struct prefix dst = prefix_host(&a);
		struct object_key k = key_route(&dst);
		bool lacks = false;
		struct spec s;

		if (!node || model_is_self(r->model, node))
			continue;
		if (spec_via(r, &dst, node, &s, &lacks))
			want_add(r, o, &k, WANT_BORROWED, &s);
		if (lacks)
			*lacking = node;
	}
}

static void want_whole(struct route *r, struct owner *o, const struct block *b, const char **lacking)
{
	struct prefix dst = prefix_mask(b->cidr);
	struct object_key k = key_route(&dst);
	struct spec s = { .type = RTN_BLACKHOLE, .protocol = RTPROT_MANX_CLUSTER };
	bool lacks = false;

	if (model_is_self(r->model, b->node) || spec_via(r, &dst, b->node, &s, &lacks))
		want_add(r, o, &k, WANT_CLUSTER, &s);
	if (lacks)
		*lacking = b->node;
}

static bool node_is_lacked(const struct route *r, const char *node)
{
	hash_each(&r->owners, n) {
		const struct owner *o = container_of(n, struct owner, node);

		if (o->lacking && strcmp(o->lacking, node) == 0)
			return true;
	}
	return false;
}

/* Keeps the problem "this node has no tunnel address" as long as some block needs one. */
static void lacking_set(struct route *r, struct owner *o, const char *node)
{
	char *old = o->lacking;
	char what[300] = "node ";

	if (!old == !node && (!old || strcmp(old, node) == 0))
		return;
	o->lacking = node ? xstrdup(node) : NULL;
	if (old && !node_is_lacked(r, old)) {
		str_copy(what + 5, sizeof what - 5, old);
		model_problem_clear(r->model, "route", what);
	}
	if (node) {
		str_copy(what + 5, sizeof what - 5, node);
		model_problem(r->model, "route", what, "see whether the agent runs there",
			      "node %s has no VXLAN tunnel address: its pods cannot be reached", node);
	}
	free(old);
}

static void want_block(struct route *r, const struct block *b)
{
	struct owner *o = owner_begin(r, OWNER_BLOCK, b->row.key);
	const char *lacking = NULL;

	if (!b->row.gone && !b->deleted) {
		want_borrowed(r, o, b, &lacking);
		if (b->node)
			want_whole(r, o, b, &lacking);
	}
	lacking_set(r, o, lacking);
	owner_end(r, o);
}

/* ---- nodes ---- */

bool node_is_peer(const struct route *r, const struct node *n, enum tunnel t)
{
	const struct tunnel_kind *k = &tunnel_kinds[t];

	return !model_is_self(r->model, n->row.key) && n->address[k->family].addr.family &&
	       (!k->by_address || model_node_tunnel(r->model, n, t).family);
}

static void want_node(struct route *r, const struct node *n)
{
	struct owner *o = owner_begin(r, OWNER_NODE, n->row.key);

	tunnel_each(t) {
		int f = tunnel_kinds[t].family;
		const struct addr end = model_node_tunnel(r->model, n, t);
		struct object_key neigh = key_neigh(t, &end), fdb = key_fdb(t, n->vxlan_mac[f]);
		struct spec to_mac = { 0 }, to_node = { .via = n->address[f].addr };

		if (n->row.gone || !tunnel_kinds[t].by_address || !r->devices[t].needed || !node_is_peer(r, n, t))
			continue;
		memcpy(to_mac.mac, n->vxlan_mac[f], sizeof to_mac.mac);
		want_add(r, o, &neigh, WANT_CLUSTER, &to_mac);
		want_add(r, o, &fdb, WANT_CLUSTER, &to_node);
	}
	owner_end(r, o);
}

/* ---- pools ---- */

static int pool_prefix_cmp(const void *a, const void *b)
{
	return prefix_cmp(&((const struct pool_prefix *)a)->cidr, &((const struct pool_prefix *)b)->cidr);
}

/* The usable pools.  Foreign routes are remembered inside pools only, so other prefixes ask for a dump. */
static void pools_update(struct route *r)
{
	struct pool_prefix *now = xcalloc(r->model->pools.count, sizeof *now);
	unsigned count = 0;
	const struct pool *p;
	bool same;

	table_each(&r->model->pools, p)
		if (!p->refused)
			now[count++] = (struct pool_prefix){ prefix_mask(p->cidr), p->encapsulation };
	qsort(now, count, sizeof *now, pool_prefix_cmp);
	same = count == r->pool_count;
	for (unsigned i = 0; same && i < count; i++)
		same = prefix_equal(&now[i].cidr, &r->pools[i].cidr);
	if (!same)
		r->lost = true;
	free(r->pools);
	r->pools = now;
	r->pool_count = count;
}

/* ---- what is dirty ---- */

static void want_all(struct route *r)
{
	const struct model *m = r->model;
	const struct block *b;
	const struct node *n;

	pools_update(r);
	devices_want(r);
	table_each(&m->blocks, b)
		want_block(r, b);
	table_each(&m->nodes, n)
		want_node(r, n);
	table_each_dirty(&m->blocks, b)
		if (b->row.gone)
			want_block(r, b);
	table_each_dirty(&m->nodes, n)
		if (n->row.gone)
			want_node(r, n);
}

/* A node that changed, or that is not there (any more). */
static bool node_changed(const struct route *r, const char *node)
{
	const struct node *n = table_find(&r->model->nodes, node);

	return !n || n->row.dirty;
}

static bool block_names_changed_node(const struct route *r, const struct block *b)
{
	if (b->node && node_changed(r, b->node))
		return true;
	for (unsigned i = 0; i < b->attribute_count; i++) {
		const char *node = b->attributes[i].node;

		if (node && !(b->node && strcmp(node, b->node) == 0) && node_changed(r, node))
			return true;
	}
	return false;
}

static void want_dirty(struct route *r)
{
	const struct model *m = r->model;
	const struct block *b;
	const struct node *n;

	table_each_dirty(&m->blocks, b)
		want_block(r, b);
	if (!m->nodes.dirty)
		return;
	table_each_dirty(&m->nodes, n)
		want_node(r, n);
	table_each(&m->blocks, b)
		if (!b->row.dirty && block_names_changed_node(r, b))
			want_block(r, b);
}

static bool self_is_dirty(const struct route *r)
{
	const struct node *n;

	table_each_dirty(&r->model->nodes, n)
		if (model_is_self(r->model, n->row.key))
			return true;
	return false;
}

void want_update(struct route *r)
{
	const struct model *m = r->model;
	const struct endpoint *e;

	if (!r->started || m->pools.dirty || m->uplinks.dirty || self_is_dirty(r))
		want_all(r);
	else
		want_dirty(r);
	if (!r->started)
		table_each(&m->endpoints, e)
			want_endpoint(r, e);
	table_each_dirty(&m->endpoints, e)
		want_endpoint(r, e);
	r->started = true;
}
