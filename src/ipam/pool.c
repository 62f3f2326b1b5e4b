/* Which pools serve this node, and the default pools that a new cluster starts with. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "ipam/ipam_int.h"

static bool selects_all(const char *selector)
{
	return !selector || !*selector || strcmp(selector, "all()") == 0;
}

bool pool_usable(const struct pool *p, bool tunnel)
{
	return !p->refused && !p->disabled && !p->manual && !p->meta.deleting &&
	       (tunnel ? p->use_tunnel : p->use_workload) &&
	       selects_all(p->node_selector) && (!p->namespace_selector || !*p->namespace_selector);
}

static bool family_has_pool(const struct ipam *ipam, int family)
{
	const struct pool *p;

	table_each(&ipam->model->pools, p)
		if (p->cidr.addr.family == family_of(family))
			return true;
	return false;
}

/* IPIP is no mode of this version, so auto is VXLAN; IPv6 takes VXLAN or nothing. */
static enum encapsulation default_encapsulation(const struct config *c, int family)
{
	switch (c->encapsulation) {
	case ENCAP_AUTO:
		return ENCAP_VXLAN;
	case ENCAP_IPIP:
	case ENCAP_IPIP_CROSS_SUBNET:
		return family == FAMILY_V6 ? ENCAP_NONE : c->encapsulation;
	case ENCAP_VXLAN:
	case ENCAP_VXLAN_CROSS_SUBNET:
	case ENCAP_NONE:
		break;
	}
	return c->encapsulation;
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
	p->encapsulation = default_encapsulation(c, family);
	p->nat_outgoing = c->nat_outgoing;
	p->use_workload = p->use_tunnel = true;
	p->node_selector = "all()";
	p->namespace_selector = "";
	return p;
}

static void on_written(void *ctx, int rc)
{
	struct default_pool *d = ctx;

	if (rc < 0 && rc != -ESTALE) {		/* -ESTALE: another node made it */
		log_warn("ipam", "default pool: cannot write: %s", strerror(-rc));
		d->asked = false;
		timer_set(d->ipam->loop, &d->ipam->retry, IPAM_RETRY_MS);
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

void pools_default(struct ipam *ipam)
{
	const struct config *c = ipam->model->config;

	for (int f = 0; f < FAMILIES; f++) {
		struct default_pool *d = &ipam->defaults[f];
		bool there = family_has_pool(ipam, f);

		if (d->asked)
			continue;
		d->asked = true;
		if (there) {
			say_unused(ipam, f);
			continue;
		}
		d->nth = 0;
		for (unsigned i = 0; i < c->pools.count; i++) {
			if (c->pools.cidr[i].addr.family != family_of(f))
				continue;
			struct pool *p = pool_new(ipam, f, &c->pools.cidr[i], ++d->nth);

			log_info("ipam", "default pool %s: %s", p->meta.name, prefix_text(&p->cidr).s);
			store_put(ipam->store, kind_named("IPPool"), &p->row, 0, on_written, d);
		}
	}
}
