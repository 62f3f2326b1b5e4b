/*
 * Blocks and pods against each other.
 *
 * Blocks are the truth about who has an address; pods of this node are those that
 * the kernel has, pods of other nodes those that their node published.  What is
 * under way is no finding: a release that waits is known here, an ADD that has its
 * address and not yet its link is known to the caller.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "ipam/ipam_int.h"

/* --- findings --- */

static void found(struct ipam_findings *out, bool duplicate, const struct addr *ip, const struct block *b,
		  const struct block_attribute *a, const char *reason)
{
	struct ipam_finding *f = arena_alloc(&out->mem, sizeof *f);

	*f = (struct ipam_finding){ .duplicate = duplicate, .address = *ip, .block = arena_str(&out->mem, b->row.key),
		.node = arena_str(&out->mem, a->node ? a->node : ""),
		.handle = arena_str(&out->mem, a->handle ? a->handle : ""), .reason = arena_str(&out->mem, reason) };
	*out->tail = f;
	out->tail = &f->next;
}

void ipam_findings_free(struct ipam_findings *f)
{
	arena_free(&f->mem);
}

/* --- who is who --- */

static bool node_exists(const struct ipam *ipam, const char *node)
{
	return model_is_self(ipam->model, node) || table_find(&ipam->model->nodes, node);
}

/* Another node's pod, as that node published it. */
static bool is_elsewhere(const struct ipam *ipam, const char *node)
{
	return node && !model_is_self(ipam->model, node) && node_exists(ipam, node);
}

/* Nothing of this node's kernel shows whether it is used. */
static bool is_hidden(const struct block_attribute *a)
{
	return a->handle && (str_prefix(a->handle, RESERVE_PREFIX) || str_prefix(a->handle, IPAM_DELEGATED));
}

/* The attribute of an allocated address in its block, if there is one; NULL: no block gives it to anybody. */
static const struct block_attribute *attribute_in(const struct block *b, const struct addr *ip)
{
	return b ? block_attribute(b, block_ordinal(b, ip)) : NULL;
}

/* --- leaked --- */

static bool is_release_queued(const struct ipam *ipam, const char *handle)
{
	for (const struct release *r = ipam->releases; r; r = r->next)
		if (strcmp(r->handle, handle) == 0)
			return true;
	return false;
}

/* A pod of this node has it; or its link is there, made by another program of Calico's habits. */
static bool lives_here(const struct ipam *ipam, const struct block_attribute *a, const struct addr *ip)
{
	const struct endpoint *ep;
	bool link_is_ours = false;
	char name[16] = "";

	if (a->pod && a->namespace)
		endpoint_host_if(name, a->namespace, a->pod, "");
	table_each(&ipam->model->endpoints, ep) {
		if (strcmp(ep->handle, a->handle) == 0 && addr_equal(&ep->ips[family_index(ip->family)], ip))
			return true;
		link_is_ours |= strcmp(ep->host_if, name) == 0;
	}
	return *name && !link_is_ours && if_nametoindex(name);
}

static void check_block(const struct ipam *ipam, const struct block *b, struct ipam_findings *out)
{
	for (unsigned i = 0; i < b->size; i++) {
		const struct block_attribute *a = block_attribute(b, i);
		struct addr ip = block_address(b, i);

		if (!a || !a->handle || !a->node || is_release_queued(ipam, a->handle))
			continue;
		if (!node_exists(ipam, a->node))
			found(out, false, &ip, b, a, "there is no such node");
		else if (model_is_self(ipam->model, a->node) && !a->type && !is_hidden(a) && !lives_here(ipam, a, &ip))
			found(out, false, &ip, b, a, "no pod that lives here has it");
	}
}

/* --- duplicate --- */

/* Of a pod of another node only the container is known, which the handle ends in. */
static bool is_of_container(const char *handle, const char *container)
{
	size_t len = handle ? strlen(handle) : 0, n = strlen(container);

	return len > n && handle[len - n - 1] == '.' && strcmp(handle + len - n, container) == 0;
}

struct live { const char *namespace, *pod, *node, *container, *handle; };	/* handle NULL: of another node */

static void check_live(const struct ipam *ipam, const struct live *l, const struct addr ips[FAMILIES],
		       struct ipam_findings *out)
{
	char reason[700];

	for (int f = 0; f < FAMILIES; f++) {
		const struct block *b = ips[f].family ? model_block_of(ipam->model, &ips[f]) : NULL;
		const struct block_attribute *a = attribute_in(b, &ips[f]);

		if (!a || block_reserves(a, l->node) || (l->handle ? a->handle && strcmp(a->handle, l->handle) == 0 :
				       is_of_container(a->handle, l->container)))
			continue;
		snprintf(reason, sizeof reason, "pod %s/%s of node %s has it, and the block gives it to another", l->namespace,
			 *l->pod ? l->pod : l->container, l->node);
		found(out, true, &ips[f], b, a, reason);
	}
}

void ipam_check(const struct ipam *ipam, struct ipam_findings *out)
{
	const struct model *m = ipam->model;
	const struct endpoint *ep;
	const struct workload *w;
	const struct block *b;

	*out = (struct ipam_findings){ .tail = &out->first };
	table_each(&m->blocks, b)
		if (!b->deleted)
			check_block(ipam, b, out);
	table_each(&m->endpoints, ep)
		check_live(ipam, &(struct live){ ep->namespace, ep->pod, ipam->node, ep->container, ep->handle }, ep->ips, out);
	table_each(&m->workloads, w)
		if (is_elsewhere(ipam, w->node))
			check_live(ipam, &(struct live){ w->meta.namespace, w->pod, w->node, w->container, NULL }, w->ips, out);
}

/* --- giving back --- */

/* The pod that lives by it, or NULL. */
static const char *pod_with(const struct ipam *ipam, const struct addr *ip)
{
	const int f = family_index(ip->family);
	const struct model *m = ipam->model;
	const struct endpoint *ep;
	const struct workload *w;
	const struct pod *p;

	table_each(&m->endpoints, ep)
		if (addr_equal(&ep->ips[f], ip))
			return *ep->pod ? ep->pod : ep->container;
	table_each(&m->workloads, w)
		if (addr_equal(&w->ips[f], ip) && is_elsewhere(ipam, w->node))
			return *w->pod ? w->pod : w->container;
	table_each(&m->pods, p)
		if (addr_equal(&p->ips[f], ip) && is_elsewhere(ipam, p->node) && !p->host_network &&
		    p->phase != POD_SUCCEEDED && p->phase != POD_FAILED)
			return p->meta.name;
	return NULL;
}

const char *ipam_releasable(const struct ipam *ipam, const struct addr *ip, struct err *e)
{
	const struct block_attribute *a = attribute_in(model_block_of(ipam->model, ip), ip);
	const struct addr_text text = addr_text(ip);
	const char *pod = pod_with(ipam, ip);

	if (!a || !a->handle)
		err_set(e, ENOENT, "%s: %s", text.s, a ? "it was given back already" : "no block gives it to anybody");
	else if (pod)
		err_set(e, EBUSY, "%s: pod %s lives by it", text.s, pod);
	else if (a->node && node_exists(ipam, a->node) && (a->type || is_hidden(a)))
		err_set(e, EBUSY, "%s: %s of node %s", text.s, a->type ? a->type : "the reserve", a->node);
	else
		return a->handle;
	return NULL;
}

void ipam_release_one(struct ipam *ipam, const char *handle, const struct addr *a, void (*done)(void *ctx), void *ctx)
{
	struct addr only[FAMILIES] = { { 0 } };

	only[family_index(a->family)] = *a;
	ipam_release(ipam, handle, only, done, ctx);
}

bool ipam_idle(const struct ipam *ipam)
{
	return !ipam->releases && !ipam->flights && !ipam->syncs && !ipam->asks[FAMILY_V4] && !ipam->asks[FAMILY_V6];
}
