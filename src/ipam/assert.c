/*
 * The pods that live here against the blocks.  An address that a pod has and no
 * block knows of (its block's file was torn, removed or rolled back) is assigned
 * to it again, before anybody else can get it; one that a block gives to somebody
 * else is named, and stays as it is.
 */
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "ipam/ipam_int.h"

struct assertion {
	struct ipam *ipam;
	struct arena mem;
	const char *key;		/* of the endpoint */
	int family;
	struct ipam_request request;
	struct assertion *next;
};

enum standing { STANDING_HELD, STANDING_FREE, STANDING_TAKEN };

static enum standing standing_in(const struct ipam *ipam, const struct block_attribute *a, const struct endpoint *ep,
				 const struct addr *ip)
{
	if (!a)
		return STANDING_FREE;
	if (block_reserves(a, ipam->node))	/* an earlier agent lent it; or this one, which then sees to it */
		return reserve_has_lent(ipam, ip) ? STANDING_HELD : STANDING_FREE;
	return a->handle && strcmp(a->handle, ep->handle) == 0 ? STANDING_HELD : STANDING_TAKEN;
}

static enum standing standing(const struct ipam *ipam, const struct endpoint *ep, const struct addr *ip)
{
	const struct block *b = model_block_of(ipam->model, ip);

	return b ? standing_in(ipam, block_attribute(b, block_ordinal(b, ip)), ep, ip) : STANDING_FREE;
}

static void name_duplicate(const struct ipam *ipam, const struct endpoint *ep, const struct addr *ip)
{
	model_problem(ipam->model, "ipam", ep->row.key, "delete one of the two pods",
		      "%s has address %s, which a block gives to another", ep->row.key, addr_text(ip).s);
}

/* Meanwhile nobody is kept from it but by its route. */
static void assert_later(struct ipam *ipam, const char *key, const struct err *e)
{
	log_err("ipam", "%s: its address cannot be assigned again: %s", key, e->text);
	ipam->assert_again = true;
	timer_set(ipam->loop, &ipam->retry, IPAM_RETRY_MS);
}

static void assertion_free(struct assertion *a)
{
	for (struct assertion **at = &a->ipam->assertions; *at; at = &(*at)->next)
		if (*at == a) {
			*at = a->next;
			break;
		}
	arena_free(&a->mem);
	free(a);
}

void assertions_free(struct ipam *ipam)
{
	while (ipam->assertions)
		assertion_free(ipam->assertions);
}

static void on_asserted(struct ipam_request *r)
{
	struct assertion *a = container_of(r, struct assertion, request);
	struct ipam *ipam = a->ipam;
	const struct endpoint *ep = table_find(&ipam->model->endpoints, a->key);

	if (r->code == IPAM_ADDRESS_TAKEN && ep)
		name_duplicate(ipam, ep, &r->fixed[a->family]);
	else if (r->code && ep)
		assert_later(ipam, a->key, &r->err);
	if (!r->code && !ep)		/* the pod went meanwhile */
		ipam_release(ipam, r->owner.handle, r->ips, NULL, NULL);
	assertion_free(a);
}

static bool is_asserted(const struct ipam *ipam, const struct endpoint *ep, int family)
{
	for (const struct assertion *a = ipam->assertions; a; a = a->next)
		if (a->family == family && strcmp(a->key, ep->row.key) == 0)
			return true;
	return false;
}

static void assert_address(struct ipam *ipam, const struct endpoint *ep, int family)
{
	struct assertion *a = xcalloc(1, sizeof *a);
	struct block_owner *owner = &a->request.owner;

	if (!podcidr_is_on(ipam))
		log_warn("ipam", "%s: no block knows of its address %s: assigned again", ep->row.key, addr_text(&ep->ips[family]).s);
	*a = (struct assertion){ .ipam = ipam, .family = family, .request.done = on_asserted, .next = ipam->assertions };
	ipam->assertions = a;
	a->key = arena_str(&a->mem, ep->row.key);
	*owner = (struct block_owner){ .handle = arena_str(&a->mem, ep->handle), .node = ipam->node, .wall_ns = wall_ns() };
	if (*ep->pod) {
		owner->pod = arena_str(&a->mem, ep->pod);
		owner->namespace = arena_str(&a->mem, ep->namespace);
	}
	a->request.keeps = true;
	a->request.want[family] = true;
	a->request.fixed[family] = ep->ips[family];
	ipam_assign(ipam, &a->request);
}

static void assert_endpoint(struct ipam *ipam, const struct endpoint *ep, const struct prefix *in)
{
	for (int f = 0; f < FAMILIES; f++) {
		const struct addr *ip = &ep->ips[f];

		if (!ip->family || (in && !prefix_has(in, ip)) || is_asserted(ipam, ep, f))
			continue;
		if (!model_pool_of(ipam->model, ip))
			continue;	/* ipAddrsNoIpam */
		if (podcidr_is_on(ipam) && !podcidr_gives(ipam, ip))
			continue;	/* from before the podCIDR changed, or another plugin's */
		switch (standing(ipam, ep, ip)) {
		case STANDING_HELD:
			break;
		case STANDING_FREE:
			assert_address(ipam, ep, f);
			break;
		case STANDING_TAKEN:
			name_duplicate(ipam, ep, ip);
			break;
		}
	}
}

void assert_run(struct ipam *ipam)
{
	struct model *m = ipam->model;
	const struct endpoint *ep;
	const struct block *b;

	if (!m->endpoints_known)
		return;
	if (!ipam->asserted || (ipam->assert_again && !ipam->retry.on)) {
		ipam->assert_again = false;
		table_each(&m->endpoints, ep)
			assert_endpoint(ipam, ep, NULL);
	}
	ipam->asserted = true;
	table_each_dirty(&m->blocks, b) {
		if (b->checked && !b->row.gone)
			continue;
		table_each(&m->endpoints, ep)
			assert_endpoint(ipam, ep, &b->cidr);
	}
	table_each_dirty(&m->endpoints, ep)
		if (ep->row.gone)
			model_problem_clear(m, "ipam", ep->row.key);
}

/* While the datastore is away they wait; what a pod has is lent to nobody else. */
bool ipam_settled(const struct ipam *ipam)
{
	return ipam->asserted && (!ipam->assertions || ipam->store->state == STORE_AWAY);
}
