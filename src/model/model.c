#include "model/model.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/util.h"

enum { PROBLEM_KEY_MAX = 400 };

/* Every table of the model, in the order in which it is torn down. */
static const struct {
	size_t offset;
	const char *name;
} tables[] = {
	{ offsetof(struct model, namespaces), "namespaces" },
	{ offsetof(struct model, pods), "pods" },
	{ offsetof(struct model, nodes), "nodes" },
	{ offsetof(struct model, pools), "pools" },
	{ offsetof(struct model, blocks), "blocks" },
	{ offsetof(struct model, affinities), "affinities" },
	{ offsetof(struct model, handles), "handles" },
	{ offsetof(struct model, workloads), "workloads" },
	{ offsetof(struct model, ipam_configs), "ipam_configs" },
	{ offsetof(struct model, ipam_configurations), "ipam_configurations" },
	{ offsetof(struct model, reservations), "reservations" },
	{ offsetof(struct model, cluster_informations), "cluster_informations" },
	{ offsetof(struct model, network_policies), "network_policies" },
	{ offsetof(struct model, endpoints), "endpoints" },
	{ offsetof(struct model, uplinks), "uplinks" },
	{ offsetof(struct model, problems), "problems" },
};

static struct table *table_at(const struct model *m, unsigned i)
{
	return (struct table *)((char *)m + tables[i].offset);
}

void model_init(struct model *m, const struct config *config)
{
	*m = (struct model){ .config = config };
	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++)
		table_init(table_at(m, i), tables[i].name);
}

void model_fini(struct model *m)
{
	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++)
		table_fini(table_at(m, i));
}

void model_clean(struct model *m)
{
	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++)
		table_clean(table_at(m, i));
}

const char *label_find(const struct label *l, unsigned count, const char *key)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(l[i].key, key) == 0)
			return l[i].value;
	return NULL;
}

const struct label *labels_copy(struct arena *mem, const struct label *from, unsigned count)
{
	struct label *to = arena_alloc(mem, count * sizeof *to);

	for (unsigned i = 0; i < count; i++)
		to[i] = (struct label){ arena_str(mem, from[i].key), arena_str(mem, from[i].value) };
	return to;
}

const struct uplink *model_uplink(const struct model *m)
{
	return table_find(&m->uplinks, "self");
}

bool model_is_self(const struct model *m, const char *node)
{
	return node && strcmp(node, m->config->node_name) == 0;
}

bool model_owns(const struct model *m, const struct block *b)
{
	return !b->row.gone && !b->deleted && model_is_self(m, b->node);
}

const struct node *model_self(const struct model *m)
{
	return table_find(&m->nodes, m->config->node_name);
}

struct addr model_node_tunnel(const struct model *m, const struct node *n, enum tunnel t)
{
	const struct prefix *cidr = &n->pod_cidr[tunnel_kinds[t].family];

	if (m->config->ipam == IPAM_BLOCK)
		return n->tunnel[t];
	return cidr->addr.family ? addr_plus(&cidr->addr, 1) : cidr->addr;
}

const struct pool *model_pool_of(const struct model *m, const struct addr *a)
{
	const struct pool *p;

	table_each(&m->pools, p)
		if (!p->refused && prefix_has(&p->cidr, a))
			return p;
	return NULL;
}

/* By its name, which the pool's block size tells; else it is from before an edit of the pool. */
const struct block *model_block_of(const struct model *m, const struct addr *a)
{
	const struct pool *p = model_pool_of(m, a);
	const struct prefix cidr = prefix_mask((struct prefix){ *a, p ? p->block_size : 0 });
	const struct block *b = p ? table_find(&m->blocks, prefix_text(&cidr).s) : NULL;

	if (b && !b->deleted)
		return b;
	table_each(&m->blocks, b)
		if (!b->deleted && prefix_has(&b->cidr, a))
			return b;
	return NULL;
}

const struct ipam_config *model_ipam_config(const struct model *m)
{
	static const struct ipam_config defaults = { .auto_allocate = true };
	const struct ipam_config *c = table_find(&m->ipam_configs, "default");

	if (!c)
		c = table_find(&m->ipam_configurations, "default");
	return c ? c : &defaults;
}

bool model_is_reserved(const struct model *m, const struct prefix *p)
{
	const struct reservation *r;

	table_each(&m->reservations, r)
		for (unsigned i = 0; i < r->count; i++)
			if (r->cidrs[i].len <= p->len && prefix_has(&r->cidrs[i], &p->addr))
				return true;
	return false;
}

void model_tunnel_set(struct model *m, enum tunnel t, const struct addr *a)
{
	struct uplink *up = table_find(&m->uplinks, "self");

	if (addr_equal(&m->tunnel[t], a))
		return;
	m->tunnel[t] = *a;
	if (up)
		table_touch(&m->uplinks, &up->row);
}

const struct pool *model_first_pool(const struct model *m, int family)
{
	const struct pool *p, *first = NULL;

	table_each(&m->pools, p)
		if (p->cidr.addr.family == family_of(family) && (!first || strcmp(p->row.key, first->row.key) < 0))
			first = p;
	return first;
}

bool model_lacks_pools(const struct model *m, int family)
{
	const struct pool_list *l = &m->config->pools;

	for (unsigned i = 0; i < l->count; i++)
		if (l->cidr[i].addr.family == family_of(family))
			return !model_first_pool(m, family);
	return false;
}

/* The pool whose name sorts first among those that p gives way to, or NULL. */
static const struct pool *gives_way_to(const struct model *m, const struct pool *p)
{
	const struct pool *other, *first = NULL;

	table_each(&m->pools, other)
		if (strcmp(other->meta.name, p->meta.name) < 0 && prefix_overlaps(&other->cidr, &p->cidr) &&
		    (!first || strcmp(other->meta.name, first->meta.name) < 0))
			first = other;
	return first;
}

void model_judge_pools(struct model *m)
{
	struct pool *p;

	table_each_dirty(&m->pools, p)
		if (p->row.gone)
			model_problem_clear(m, "ipam", p->meta.name);
	table_each(&m->pools, p) {
		const struct pool *first = gives_way_to(m, p);

		if (first)
			model_problem(m, "ipam", p->meta.name, "remove one of the two pools",
				      "pool %s (%s) is not used: it overlaps pool %s (%s)", p->meta.name,
				      prefix_text(&p->cidr).s, first->meta.name, prefix_text(&first->cidr).s);
		else
			model_problem_clear(m, "ipam", p->meta.name);
		if (!first == !p->refused)
			continue;
		p->refused = first ? "overlaps a pool whose name sorts first" : NULL;
		table_touch(&m->pools, &p->row);
	}
}

unsigned model_pod_mtu(const struct model *m)
{
	const struct uplink *up = model_uplink(m);
	unsigned mtu = 0;
	const struct pool *p;

	if (!up)
		return 1500;
	for (int f = 0; f < FAMILIES; f++)
		if (up->mtu[f] && (!mtu || up->mtu[f] < mtu))
			mtu = up->mtu[f];
	if (!mtu)
		mtu = 1500;
	unsigned least = mtu;
	table_each(&m->pools, p) {
		unsigned carries = up->mtu[family_index(p->cidr.addr.family)];
		unsigned less = encapsulation_overhead(p->encapsulation, p->cidr.addr.family);

		if (!p->refused && (carries ? carries : mtu) - less < least)
			least = (carries ? carries : mtu) - less;
	}
	return least;
}

/* what is up to a file's name or an endpoint's key: a cut one would be another's, too. */
static void problem_key(char key[PROBLEM_KEY_MAX], const char *sub, const char *what)
{
	snprintf(key, PROBLEM_KEY_MAX, "%s %s", sub, what);
}

struct problem *model_problem(struct model *m, const char *sub, const char *what, const char *remedy, const char *fmt, ...)
{
	struct problem *p = row_new(sizeof *p);
	char key[PROBLEM_KEY_MAX], text[256];
	va_list ap;

	problem_key(key, sub, what);
	va_start(ap, fmt);
	err_text(text, sizeof text, fmt, ap);
	va_end(ap);
	p->row.key = arena_str(&p->row.mem, key);
	p->sub = arena_str(&p->row.mem, sub);
	p->text = arena_str(&p->row.mem, text);
	p->remedy = arena_str(&p->row.mem, remedy);
	p->row.digest = fnv64a(text, strlen(text));
	p->news = table_put(&m->problems, &p->row);
	return p;
}

void model_problem_clear(struct model *m, const char *sub, const char *what)
{
	char key[PROBLEM_KEY_MAX];

	problem_key(key, sub, what);
	table_del(&m->problems, key);
}

void endpoint_hash(struct endpoint *ep)
{
	ep->handle_hash = fnv32a(ep->handle, strlen(ep->handle));
	ep->container_hash = fnv32a(ep->container, strlen(ep->container));
}

void endpoint_host_if(char out[16], const char *namespace, const char *pod, const char *container)
{
	char text[520];
	uint8_t digest[20];
	char hex[41];

	if (*pod)
		snprintf(text, sizeof text, "%s.%s", namespace, pod);
	else
		snprintf(text, sizeof text, "%s", container);
	sha1(digest, text, strlen(text));
	hex_text(hex, digest, sizeof digest);
	snprintf(out, 16, "cali%.11s", hex);
}
