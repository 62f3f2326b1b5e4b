/*
 * The node's own addresses in the tunnels: one in each kind of tunnel that some
 * pool asks for, from a pool that asks for it, under Calico's handle. So a host
 * process that talks to remote pods has a source that they can answer to, by the
 * same way back.
 */
#include <stdio.h>

#include "base/util.h"
#include "ipam/ipam_int.h"

static bool has_mode(const struct pool *p, enum tunnel t)
{
	return encapsulation_tunnel(p->encapsulation, p->cidr.addr.family) == t;
}

static bool is_wanted(const struct ipam *ipam, enum tunnel t)
{
	const struct uplink *up = model_uplink(ipam->model);
	const struct pool *p;

	if (!up || !up->address[tunnel_kinds[t].family].addr.family)
		return false;
	table_each(&ipam->model->pools, p)
		if (!p->refused && has_mode(p, t))
			return true;
	return false;
}

/*
 * The address that a block holds for our handle, in a pool of that mode; family 0 when none does.
 * *stray: one elsewhere, since a pool has changed or gone.
 */
static struct addr held(const struct ipam *ipam, const struct tunnel_address *t, struct addr *stray)
{
	struct addr found = { 0 };
	const struct block *b;

	table_each(&ipam->model->blocks, b) {
		bool other = b->deleted || b->cidr.addr.family != family_of(tunnel_kinds[t->tunnel].family);
		int o = other ? -1 : block_find(b, t->handle, 0);
		const struct pool *p;

		if (o < 0)
			continue;
		p = model_pool_of(ipam->model, &b->cidr.addr);
		if (!found.family && p && has_mode(p, t->tunnel))
			found = block_address(b, o);
		else
			*stray = block_address(b, o);
	}
	return found;
}

static void on_assigned(struct ipam_request *r)
{
	struct tunnel_address *t = container_of(r, struct tunnel_address, request);
	const struct tunnel_kind *k = &tunnel_kinds[t->tunnel];
	struct model *m = t->ipam->model;

	t->asking = false;
	if (r->code == IPAM_TRY_LATER || r->code == IPAM_NO_BLOCK) {		/* the datastore's fault: again later */
		t->ipam->tunnels_again = true;
		timer_set(t->ipam->loop, &t->ipam->retry, IPAM_RETRY_MS);
	}
	if (r->code)
		model_problem(m, "overlay", k->type, "free addresses, or add a pool", "no tunnel address: %s", r->err.text);
	else
		model_problem_clear(m, "overlay", k->type);
	model_tunnel_set(m, t->tunnel, &r->ips[k->family]);
}

static void ask(struct tunnel_address *t)
{
	struct ipam_request *r = &t->request;

	*r = (struct ipam_request){ .tunnel = t->tunnel, .done = on_assigned,
		.owner = { .handle = t->handle, .node = t->ipam->node, .type = tunnel_kinds[t->tunnel].type } };
	r->want[tunnel_kinds[t->tunnel].family] = true;
	t->asking = true;
	ipam_assign(t->ipam, r);
}

static void on_released(void *ctx)
{
	struct tunnel_address *t = ctx;

	t->releasing = false;
	tunnels_run(t->ipam);
}

static void give_back(struct tunnel_address *t, const struct addr *a)
{
	struct addr only[FAMILIES] = { 0 };

	if (t->releasing)
		return;
	t->releasing = true;
	only[family_index(a->family)] = *a;
	ipam_release(t->ipam, t->handle, only, on_released, t);
}

static void tunnel_run(struct tunnel_address *t)
{
	const struct tunnel_kind *k = &tunnel_kinds[t->tunnel];
	struct ipam *ipam = t->ipam;
	struct addr now = { 0 }, stray = { 0 };

	if (podcidr_is_on(ipam)) {
		if (is_wanted(ipam, t->tunnel) && model_self(ipam->model))
			now = model_node_tunnel(ipam->model, model_self(ipam->model), t->tunnel);
		model_tunnel_set(ipam->model, t->tunnel, &now);
		return;
	}
	if (t->asking)
		return;
	snprintf(t->handle, sizeof t->handle, "%s%s", k->handle, ipam->node);
	now = held(ipam, t, &stray);
	if (stray.family)
		give_back(t, &stray);
	if (!is_wanted(ipam, t->tunnel))
		model_problem_clear(ipam->model, "overlay", k->type);
	else if (!now.family && ipam_serves(ipam, k->family, t->tunnel))
		ask(t);
	model_tunnel_set(ipam->model, t->tunnel, &now);
}

void tunnels_run(struct ipam *ipam)
{
	tunnel_each(t)
		tunnel_run(&ipam->tunnels[t]);
}
