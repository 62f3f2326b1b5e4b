/* Which pools serve this node, and the default pools that a new cluster starts with. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/util.h"
#include "ipam/ipam_int.h"
#include "model/policy.h"

struct node_labels { struct label_source source; const struct node *node; };

static const char *find_of_node(const struct label_source *s, const char *key)
{
	const struct node *n = container_of(s, struct node_labels, source)->node;

	return n ? label_find(n->meta.labels, n->meta.label_count, key) : NULL;
}

bool pool_selects_node(const struct ipam *ipam, const struct pool *p)
{
	struct node_labels l = { { find_of_node }, model_self(ipam->model) };

	return !p->nodes || selector_match(p->nodes, &l.source);
}

/* What has no pod's name is of no namespace. */
static bool selects_namespace(const struct ipam *ipam, const struct pool *p, const struct block_owner *owner)
{
	struct party who;

	if (!p->namespaces)
		return true;
	if (!owner->pod)
		return false;
	party_set(ipam->model, owner->namespace, owner->pod, &who);
	return selector_match(p->namespaces, &who.namespace_labels);
}

/* Are new addresses for that use to be had from it, whoever asks? */
static bool is_open(const struct ipam *ipam, const struct pool *p, enum tunnel use)
{
	if (p->refused || p->disabled || p->meta.deleting || (podcidr_is_on(ipam) && !podcidr_has(ipam, &p->cidr)))
		return false;
	if (!use)
		return p->use_workload;
	return p->use_tunnel && encapsulation_tunnel(p->encapsulation, p->cidr.addr.family) == use;
}

/* By its name or its CIDR. */
static bool is_named(const struct pool *p, const struct pool_names *l)
{
	const struct addr_text cidr = prefix_text(&p->cidr);

	for (unsigned i = 0; i < l->count; i++)
		if (strcmp(l->name[i], p->meta.name) == 0 || strcmp(l->name[i], cidr.s) == 0)
			return true;
	return false;
}

bool pool_serves(const struct ipam *ipam, const struct pool *p, const struct ipam_request *r)
{
	const struct pool_names *l = &r->pools[family_index(p->cidr.addr.family)];

	if (!is_open(ipam, p, r->tunnel))
		return false;
	if (l->count)
		return is_named(p, l);
	return !p->manual && pool_selects_node(ipam, p) && selects_namespace(ipam, p, &r->owner);
}

bool ipam_serves(const struct ipam *ipam, int family, enum tunnel use)
{
	const struct pool *p;

	table_each(&ipam->model->pools, p)
		if (p->cidr.addr.family == family_of(family) && is_open(ipam, p, use) && !p->manual && pool_selects_node(ipam, p))
			return true;
	return false;
}

bool ipam_serves_pods(const struct ipam *ipam)
{
	return ipam_serves(ipam, FAMILY_V4, TUNNEL_NONE) || ipam_serves(ipam, FAMILY_V6, TUNNEL_NONE);
}

void pools_watch(struct ipam *ipam)
{
	if (ipam_serves_pods(ipam))
		model_problem_clear(ipam->model, "ipam", "pools");
	else if (ipam_pools_tried(ipam))
		model_problem(ipam->model, "ipam", "pools", "add one, or start the agent again, which makes the default pools",
			      "no IPPool that this node may use");
}

bool ipam_offers(const struct ipam *ipam, const struct ipam_request *r, int family)
{
	const struct pool *p;

	table_each(&ipam->model->pools, p)
		if (p->cidr.addr.family == family_of(family) && pool_serves(ipam, p, r))
			return true;
	return false;
}

/* --- asked for --- */

static int check_open(const struct pool *p, struct err *e)
{
	if (p->refused)
		return err_set(e, EINVAL, "pool %s is not used: it %s", p->meta.name, p->refused);
	if (p->disabled || p->meta.deleting)
		return err_set(e, EINVAL, "pool %s is %s", p->meta.name, p->disabled ? "disabled" : "being deleted");
	return 0;
}

int ipam_check_pool(const struct ipam *ipam, int family, const char *name, struct err *e)
{
	const struct pool_names one = { &name, 1 };
	const struct pool *p;

	table_each(&ipam->model->pools, p) {
		if (!is_named(p, &one))
			continue;
		if (p->cidr.addr.family != family_of(family))
			return err_set(e, EINVAL, "pool %s is of the other family (%s)", name, prefix_text(&p->cidr).s);
		return check_open(p, e);
	}
	return err_set(e, ENOENT, "there is no pool %.100s", name);
}

int ipam_check_address(const struct ipam *ipam, const struct addr *a, struct err *e)
{
	const struct pool *p = model_pool_of(ipam->model, a);

	if (!p)
		return err_set(e, ENOENT, "address %s is in no pool", addr_text(a).s);
	if (!p->use_workload)
		return err_set(e, EINVAL, "address %s is in pool %s, which is not for pods", addr_text(a).s, p->meta.name);
	return check_open(p, e);
}

/* --- default pools --- */

/* IPIP has no IPv6. */
static enum encapsulation for_family(enum encapsulation e, int family)
{
	return family == FAMILY_V6 && encapsulation_tunnel(e, AF_INET) == TUNNEL_IPIP ? ENCAP_NONE : e;
}

/* auto: IPIP where the kernel has it, else VXLAN; IPv6 goes as the pool of IPv4 goes, whoever made that. */
static enum encapsulation default_encapsulation(const struct model *m, int family)
{
	const struct pool *v4 = model_first_pool(m, FAMILY_V4);

	if (m->config->encapsulation != ENCAP_AUTO)
		return for_family(m->config->encapsulation, family);
	if (family == FAMILY_V6 && v4)
		return for_family(v4->encapsulation, family);
	return family == FAMILY_V4 && m->kernel_ipip == ANSWER_YES ? ENCAP_IPIP : ENCAP_VXLAN;
}

static struct pool *pool_new(const struct ipam *ipam, int family, const struct prefix *cidr, unsigned nth)
{
	const struct config *c = ipam->model->config;
	struct pool *p = row_new(sizeof *p);
	char name[64];

	snprintf(name, sizeof name, nth > 1 ? "default-ipv%d-ippool-%u" : "default-ipv%d-ippool",
		 family == FAMILY_V6 ? 6 : 4, nth);
	p->row.key = arena_str(&p->row.mem, name);
	p->meta.namespace = p->meta.uid = "";
	p->meta.name = p->row.key;
	p->cidr = *cidr;
	p->block_size = family == FAMILY_V6 ? c->block_size_v6 : c->block_size;
	p->encapsulation = default_encapsulation(ipam->model, family);
	p->nat_outgoing = c->nat_outgoing;
	p->use_workload = p->use_tunnel = true;
	p->node_selector = "all()";
	p->namespace_selector = "";
	return p;
}

static void on_written(void *ctx, int rc)
{
	struct default_pool *d = ctx;

	d->settled |= --d->writing == 0;
	if (rc < 0 && rc != -ESTALE) {		/* -ESTALE: another node made it */
		log_warn("ipam", "default pool: cannot write: %s", strerror(-rc));
		d->asked = false;
		timer_set(d->ipam->loop, &d->ipam->retry, IPAM_RETRY_MS);
	}
}

void pools_imply(struct ipam *ipam, int family)
{
	const struct pool_list *l = &ipam->model->config->pools;
	unsigned nth = 0;

	for (unsigned i = 0; i < l->count; i++)
		if (l->cidr[i].addr.family == family_of(family)) {
			struct pool *p = pool_new(ipam, family, &l->cidr[i], ++nth);

			p->implied = true;
			table_put(&ipam->model->pools, &p->row);
		}
}

static void say_unused(const struct ipam *ipam, int family)
{
	const struct config *c = ipam->model->config;

	for (unsigned i = 0; i < c->pools.count; i++) {
		const struct pool *p;
		bool found = false;

		if (c->pools.cidr[i].addr.family != family_of(family))
			continue;
		table_each(&ipam->model->pools, p)
			found |= prefix_equal(&p->cidr, &c->pools.cidr[i]);
		if (!found)
			log_info("ipam", "pool = %s: the datastore has pools of this family already, nothing changes",
				 prefix_text(&c->pools.cidr[i]).s);
	}
}

static void pools_make(struct ipam *ipam, int family)
{
	const struct pool_list *l = &ipam->model->config->pools;
	struct default_pool *d = &ipam->defaults[family];

	d->nth = 0;
	for (unsigned i = 0; i < l->count; i++) {
		if (l->cidr[i].addr.family != family_of(family))
			continue;
		struct pool *p = pool_new(ipam, family, &l->cidr[i], ++d->nth);

		log_info("ipam", "default pool %s: %s, encapsulation %s", p->meta.name, prefix_text(&p->cidr).s,
			 encapsulation_text(p->encapsulation));
		d->writing++;
		store_put(ipam->store, kind_named("IPPool"), &p->row, 0, on_written, d);
	}
}

/* The pool that IPv6's mode follows from is still to come. */
static bool must_wait(const struct ipam *ipam, int family)
{
	const struct model *m = ipam->model;

	return family == FAMILY_V6 && m->config->encapsulation == ENCAP_AUTO && model_lacks_pools(m, FAMILY_V4) &&
	       !ipam->defaults[FAMILY_V4].settled;
}

void pools_default(struct ipam *ipam)
{
	for (int f = 0; f < FAMILIES; f++) {
		struct default_pool *d = &ipam->defaults[f];

		if (d->asked || must_wait(ipam, f))
			continue;
		if (ipam->store->state == STORE_AWAY && model_lacks_pools(ipam->model, f))
			continue;	/* with the pass after its return */
		d->asked = true;
		if (model_lacks_pools(ipam->model, f)) {
			pools_make(ipam, f);
			continue;
		}
		d->settled = true;
		say_unused(ipam, f);
	}
}
