/*
 * ipam = podcidr: pods have addresses of their Node's spec.podCIDRs, which somebody else
 * gives to nodes (kube-controller-manager, k3s, a file).  Nothing is written.
 *
 * Routes, rules and the rest of ipam know blocks and pools, so here these are rows that
 * only memory has:
 *
 *   this node's podCIDR	a block; its first two addresses are nobody's pod's, the second
 *				is this node's end of tunnels, as with Calico
 *   another node's		a block without ordinals: the way there
 *   the configuration's pools	where the datastore has none of that family: the mode, masquerade
 *
 * What pods have is in the kernel: cni/recover.c reads it, ipam/assert.c assigns it again.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "ipam/ipam_int.h"

enum { ORDINALS_MAX = 1024, KEPT = 2 };	/* of a larger one only the first are given */

bool podcidr_is_on(const struct ipam *ipam)
{
	return ipam->model->config->ipam == IPAM_PODCIDR;
}

/* --- blocks --- */

static bool is_self(const struct ipam *ipam, const char *node)
{
	return strcmp(node, ipam->node) == 0;
}

static bool has_cidr(const struct node *n, const struct prefix *cidr)
{
	return n && prefix_equal(&n->pod_cidr[family_index(cidr->addr.family)], cidr);
}

static struct block *block_of_node(const struct ipam *ipam, const struct prefix *cidr, const char *node)
{
	const unsigned bits = addr_bits(&cidr->addr) - cidr->len;
	const unsigned size = !is_self(ipam, node) ? 0 : bits < 10 ? 1u << bits : ORDINALS_MAX;
	const struct block_owner kept = { .handle = "podcidr", .node = node, .type = "podCIDR" };
	struct block *b = block_new(cidr, node, wall_ns(), size);

	for (unsigned i = 0; i < KEPT && i < size; i++)
		block_assign_at(b, i, &kept);
	return b;
}

static void block_want(struct ipam *ipam, const struct node *n, const struct prefix *cidr)
{
	if (cidr->addr.family && !table_find(&ipam->model->blocks, prefix_text(cidr).s))
		table_put(&ipam->model->blocks, &block_of_node(ipam, cidr, n->row.key)->row);
}

/* Does nothing lead to that podCIDR's pods? */
static bool is_refused(struct ipam *ipam, const struct node *n, const struct prefix *cidr)
{
	struct model *m = ipam->model;
	const struct block *b = cidr->addr.family ? table_find(&m->blocks, prefix_text(cidr).s) : NULL;

	if (!b)
		return false;
	if (strcmp(b->node, n->row.key) != 0)
		model_problem(m, "ipam", n->row.key, "give each node a podCIDR of its own", "podCIDR %s of node %s is that of node %s",
			      b->row.key, n->row.key, b->node);
	else if (!model_pool_of(m, &cidr->addr))
		model_problem(m, "ipam", n->row.key, "add an IPPool that holds it, or set pool",
			      "podCIDR %s of node %s is in no pool: it is not used", b->row.key, n->row.key);
	else
		return false;
	return true;
}

static void blocks_run(struct ipam *ipam)
{
	struct model *m = ipam->model;
	const struct block *b;
	const struct node *n;

	table_each(&m->blocks, b)
		if (!has_cidr(table_find(&m->nodes, b->node), &b->cidr))
			table_del(&m->blocks, b->row.key);
	table_each(&m->nodes, n)
		for (int f = 0; f < FAMILIES; f++)
			block_want(ipam, n, &n->pod_cidr[f]);
	table_each(&m->nodes, n)
		if (!is_refused(ipam, n, &n->pod_cidr[FAMILY_V4]) && !is_refused(ipam, n, &n->pod_cidr[FAMILY_V6]))
			model_problem_clear(m, "ipam", n->row.key);
	table_each_dirty(&m->nodes, n)
		if (n->row.gone)
			model_problem_clear(m, "ipam", n->row.key);
}

bool podcidr_has(const struct ipam *ipam, const struct prefix *pool)
{
	const struct node *self = model_self(ipam->model);

	for (int f = 0; self && f < FAMILIES; f++)
		if (self->pod_cidr[f].addr.family && prefix_has(pool, &self->pod_cidr[f].addr))
			return true;
	return false;
}

static const struct block *own_block(const struct ipam *ipam, int family)
{
	const struct node *self = model_self(ipam->model);
	const struct block *b = self && self->pod_cidr[family].addr.family ?
				table_find(&ipam->model->blocks, prefix_text(&self->pod_cidr[family]).s) : NULL;

	return b && is_self(ipam, b->node) ? b : NULL;
}

bool podcidr_gives(const struct ipam *ipam, const struct addr *ip)
{
	const struct block *b = own_block(ipam, family_index(ip->family));

	return b && block_ordinal(b, ip) >= KEPT;
}

void podcidr_refuse(const struct ipam *ipam, const struct ipam_request *r, int family, struct err *e)
{
	const struct block *b = own_block(ipam, family);
	const struct addr *fixed = &r->fixed[family];

	if (!b)
		err_set(e, ENOSPC, "node %s has no podCIDR of this family", ipam->node);
	else if (fixed->family)
		err_set(e, EADDRNOTAVAIL, "address %s is not of this node's podCIDR %s", addr_text(fixed).s, b->row.key);
	else
		err_set(e, ENOSPC, "no free address: podCIDR %s of node %s is full, or in no pool that this pod may use", b->row.key,
			ipam->node);
}

/* --- pools --- */

static bool has_real_pool(const struct model *m, int family)
{
	const struct pool *p;

	table_each(&m->pools, p)
		if (!p->implied && p->cidr.addr.family == family_of(family))
			return true;
	return false;
}

static void pools_run(struct ipam *ipam)
{
	struct model *m = ipam->model;
	const struct pool *p;

	for (int f = 0; f < FAMILIES; f++) {
		const bool real = has_real_pool(m, f);

		table_each(&m->pools, p)
			if (real && p->implied && p->cidr.addr.family == family_of(f))
				table_del(&m->pools, p->row.key);
		if (!real && model_lacks_pools(m, f))
			pools_imply(ipam, f);
		ipam->defaults[f].settled = true;
	}
}

void podcidr_run(struct ipam *ipam)
{
	struct model *m = ipam->model;
	const struct node *self = model_self(m);

	if (m->pools.dirty || !ipam->defaults[FAMILY_V4].settled)
		pools_run(ipam);
	if (m->pools.dirty)
		model_judge_pools(m);
	if (m->nodes.dirty || m->pools.dirty)
		blocks_run(ipam);
	if (self && !self->pod_cidr[FAMILY_V4].addr.family && !self->pod_cidr[FAMILY_V6].addr.family)
		model_problem(m, "ipam", "podCIDRs", "start kube-controller-manager with --allocate-node-cidrs, or write them into the Node",
			      "Node %s has no spec.podCIDRs yet", ipam->node);
	else
		model_problem_clear(m, "ipam", "podCIDRs");
}
