/*
 * The node's own address in the overlay: one a family while some pool of the
 * family has a VXLAN mode, under Calico's handle, so that a host process that
 * talks to remote pods has a source they can answer to.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "ipam/ipam_int.h"

static const struct { const char *handle, *type; } names[FAMILIES] = {
	{ "vxlan-tunnel-addr-", "vxlanTunnelAddress" },
	{ "vxlan-v6-tunnel-addr-", "vxlanV6TunnelAddress" },
};

static bool wanted(const struct ipam *ipam, int family)
{
	const struct uplink *up = model_uplink(ipam->model);
	const struct pool *p;

	if (!up || !up->address[family].addr.family)
		return false;
	table_each(&ipam->model->pools, p)
		if (!p->refused && p->cidr.addr.family == family_of(family) &&
		    (p->encapsulation == ENCAP_VXLAN || p->encapsulation == ENCAP_VXLAN_CROSS_SUBNET))
			return true;
	return false;
}

/* The address that a block holds for our handle; family 0 when none does. */
static struct addr held(const struct ipam *ipam, const struct tunnel *t)
{
	const struct block *b;

	table_each(&ipam->model->blocks, b) {
		int o = b->deleted || b->cidr.addr.family != family_of(t->family) ? -1 : block_find(b, t->handle, 0);

		if (o >= 0 && model_pool_of(ipam->model, &b->cidr.addr))
			return block_address(b, o);
	}
	return (struct addr){ 0 };
}

static void on_assigned(struct ipam_request *r)
{
	struct tunnel *t = container_of(r, struct tunnel, request);
	struct model *m = t->ipam->model;

	t->asking = false;
	if (r->code)
		model_problem(m, "overlay", names[t->family].type, "free addresses, or add a pool",
			      "no tunnel address: %s", r->err.text);
	else
		model_problem_clear(m, "overlay", names[t->family].type);
	model_tunnel_set(m, t->family, &r->ips[t->family]);
}

static void ask(struct tunnel *t)
{
	struct ipam_request *r = &t->request;

	*r = (struct ipam_request){ .tunnel = true, .done = on_assigned,
		.owner = { .handle = t->handle, .node = t->ipam->node, .type = names[t->family].type } };
	r->want[t->family] = true;
	t->asking = true;
	ipam_assign(t->ipam, r);
}

void tunnels_run(struct ipam *ipam)
{
	for (int f = 0; f < FAMILIES; f++) {
		struct tunnel *t = &ipam->tunnels[f];
		struct addr now;

		if (t->asking)
			continue;
		snprintf(t->handle, sizeof t->handle, "%s%s", names[f].handle, ipam->node);
		now = held(ipam, t);
		if (wanted(ipam, f)) {
			if (!now.family && ipam_serves(ipam, f, true))
				ask(t);
		} else if (now.family) {
			ipam_release(ipam, t->handle, NULL, NULL, NULL);
			now = (struct addr){ 0 };
		}
		model_tunnel_set(ipam->model, f, &now);
	}
}
