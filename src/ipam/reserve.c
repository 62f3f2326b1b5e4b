/*
 * Addresses for ADDs while the datastore is away.  ipam_reserve of each family are
 * kept in own blocks under the handle manx-reserve-<node>, so nobody else can have
 * them.  One is lent when a block cannot be written: the datastore is away or does
 * not answer, or all pools are full.  A loan becomes an ordinary assignment, by a
 * write of its block, as soon as that can be made; a pod that goes before gives it
 * back without a write.
 *
 *   lent, in nobody's memory (this agent died)   the pod lives: ipam/assert.c assigns it
 *   written after all, the ask was served by a loan meanwhile   given back, see asks.c
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "ipam/ipam_int.h"

struct loan {
	struct ipam *ipam;
	struct arena mem;
	struct addr ip;
	struct ipam_request request;	/* makes it an assignment */
	bool asking, ended;		/* ended: its pod has gone */
	struct loan *next;
};

void reserve_init(struct ipam *ipam)
{
	snprintf(ipam->reserve.handle, sizeof ipam->reserve.handle, RESERVE_PREFIX "%s", ipam->node);
	reserve_look(ipam);
}

unsigned reserve_size(const struct ipam *ipam)
{
	return podcidr_is_on(ipam) ? 0 : ipam->model->config->ipam_reserve;
}

void reserve_touched(struct ipam *ipam, int family)
{
	if (!reserve_size(ipam))
		return;
	ipam->reserve.look[family] = true;
	handle_sync(ipam, ipam->reserve.handle);
}

void reserve_look(struct ipam *ipam)
{
	for (int f = 0; f < FAMILIES; f++) {
		ipam->reserve.look[f] = true;
		ipam->reserve.starved[f] = false;
	}
}

static void loan_unlink(struct loan *l)
{
	for (struct loan **at = &l->ipam->reserve.loans; *at; at = &(*at)->next)
		if (*at == l) {
			*at = l->next;
			break;
		}
}

static void loan_free(struct loan *l)
{
	loan_unlink(l);
	arena_free(&l->mem);
	free(l);
}

void reserve_free(struct ipam *ipam)
{
	while (ipam->reserve.loans)
		loan_free(ipam->reserve.loans);
}

bool reserve_has_lent(const struct ipam *ipam, const struct addr *ip)
{
	for (const struct loan *l = ipam->reserve.loans; l; l = l->next)
		if (addr_equal(&l->ip, ip))
			return true;
	return false;
}

bool reserve_has_lent_of(const struct ipam *ipam, const struct prefix *cidr)
{
	for (const struct loan *l = ipam->reserve.loans; l; l = l->next)
		if (prefix_has(cidr, &l->ip))
			return true;
	return false;
}

/* --- lending --- */

/* Lent, or by an earlier agent. */
static bool is_in_use(const struct ipam *ipam, const struct addr *ip)
{
	const struct endpoint *ep;

	table_each(&ipam->model->endpoints, ep)
		if (addr_equal(&ep->ips[family_index(ip->family)], ip))
			return true;
	return reserve_has_lent(ipam, ip);
}

static bool is_reserved(const struct ipam *ipam, const struct block *b, unsigned ordinal)
{
	const struct block_attribute *a = block_attribute(b, ordinal);

	return a && a->handle && strcmp(a->handle, ipam->reserve.handle) == 0;
}

/*
 * Without borrowers the free addresses of own blocks are as good, where no write of the block is under way; not an empty
 * one's, which another node may have taken over meanwhile.
 */
static bool is_free(const struct ipam *ipam, const struct block *b, unsigned ordinal)
{
	const struct affinity *a;
	char name[254];

	const struct addr ip = block_address(b, ordinal);
	const struct prefix host = prefix_host(&ip);

	if (b->allocations[ordinal] != BLOCK_FREE || b->free_count == b->size || model_is_reserved(ipam->model, &host) || !model_ipam_config(ipam->model)->strict_affinity ||
	    flight_of(ipam, b))
		return false;
	affinity_name(name, ipam->node, &b->cidr);
	a = table_find(&ipam->model->affinities, name);
	return a && a->state == AFFINITY_CONFIRMED;
}

/* The one behind the one that was lent last, so that each rests as long as it can. */
static bool comes_first(const struct addr *a, const struct addr *b, const struct addr *last)
{
	bool a_behind = addr_cmp(a, last) > 0, b_behind = addr_cmp(b, last) > 0;

	return a_behind != b_behind ? a_behind : addr_cmp(a, b) < 0;
}

static struct addr choose(const struct ipam *ipam, const struct ipam_ask *a)
{
	const struct addr *fixed = &a->request->fixed[a->family], *last = &ipam->reserve.last[a->family];
	struct addr best = { 0 };
	const struct block *b;

	table_each(&ipam->model->blocks, b) {
		if (!(fixed->family ? block_ordinal(b, fixed) >= 0 : block_serves(ipam, b, a->family, a->request)))
			continue;
		for (unsigned o = 0; o < b->size; o++) {
			struct addr ip = block_address(b, o);

			if (!b->deleted && (is_reserved(ipam, b, o) || is_free(ipam, b, o)) && !is_in_use(ipam, &ip) &&
			    (!fixed->family || addr_equal(fixed, &ip)) &&
			    (!best.family || comes_first(&ip, &best, last)))
				best = ip;
		}
	}
	return best;
}

static void on_settled(struct ipam_request *r)
{
	struct loan *l = container_of(r, struct loan, request);
	struct ipam *ipam = l->ipam;

	l->asking = false;
	if (r->code && r->code != IPAM_ADDRESS_TAKEN && !l->ended) {	/* later */
		timer_set(ipam->loop, &ipam->retry, IPAM_RETRY_MS);
		return;
	}
	if (r->code == IPAM_ADDRESS_TAKEN && !l->ended)
		log_err("ipam", "%s was lent to %s, and a block gives it to another", addr_text(&l->ip).s, r->owner.handle);
	loan_unlink(l);
	if (!r->code && l->ended)
		ipam_release(ipam, r->owner.handle, r->ips, NULL, NULL);
	reserve_touched(ipam, family_index(l->ip.family));
	loan_free(l);
	ipam_kick(ipam);
}

static void loan_new(struct ipam *ipam, const struct block_owner *owner, const struct addr *ip)
{
	const int f = family_index(ip->family);
	struct loan *l = xcalloc(1, sizeof *l);

	*l = (struct loan){ .ipam = ipam, .ip = *ip, .request = { .done = on_settled, .keeps = true, .owner = *owner },
			    .next = ipam->reserve.loans };
	ipam->reserve.loans = l;
	ipam->reserve.last[f] = *ip;
	l->request.owner.handle = arena_str(&l->mem, owner->handle);
	l->request.owner.node = ipam->node;
	l->request.owner.pod = arena_str(&l->mem, owner->pod);
	l->request.owner.namespace = arena_str(&l->mem, owner->namespace);
	l->request.want[f] = true;
	l->request.fixed[f] = *ip;
}

bool reserve_can_lend(const struct ipam *ipam, const struct ipam_ask *a)
{
	return a->request->lend && choose(ipam, a).family;
}

bool reserve_lend(struct ipam *ipam, struct ipam_ask *a)
{
	struct addr ip = a->request->lend ? choose(ipam, a) : (struct addr){ 0 };

	if (!ip.family)
		return false;
	log_info("ipam", "%s is lent to %s of the reserve", addr_text(&ip).s, a->request->owner.handle);
	loan_new(ipam, &a->request->owner, &ip);
	a->request->ips[a->family] = ip;
	ask_settle(ipam, a);
	return true;
}

void loans_step(struct ipam *ipam)
{
	for (struct loan *l = ipam->reserve.loans; l; l = l->next)
		if (!l->asking) {
			l->asking = true;
			ipam_assign(ipam, &l->request);
		}
}

void loans_end(struct ipam *ipam, const char *handle, const struct addr *only)
{
	for (struct loan *l = ipam->reserve.loans, *next; l; l = next) {
		next = l->next;
		if (strcmp(l->request.owner.handle, handle) != 0 ||
		    (only && !addr_equal(&only[family_index(l->ip.family)], &l->ip)))
			continue;
		l->ended = true;
		if (!l->asking)
			loan_free(l);
	}
}

/* --- filling --- */

static struct block_owner reserve_owner(const struct ipam *ipam)
{
	return (struct block_owner){ .handle = ipam->reserve.handle, .node = ipam->node };
}

static void on_seeded(struct ipam_request *r)
{
	struct reserve *v = container_of(r, struct reserve, seed);

	v->seeding = false;
	for (int f = 0; f < FAMILIES; f++)
		v->starved[f] |= r->want[f] && r->code;
	ipam_kick(container_of(v, struct ipam, reserve));
}

/* A block more, as an ask for one address claims it. */
static void seed(struct ipam *ipam, int family)
{
	struct reserve *v = &ipam->reserve;

	if (v->seeding || v->starved[family] || ipam->asks[family])
		return;
	v->seeding = true;
	v->seed = (struct ipam_request){ .done = on_seeded, .own = true, .owner = reserve_owner(ipam) };
	v->seed.want[family] = true;
	ipam_assign(ipam, &v->seed);
}

/* What a pool gives that serves this node's pods no more, or more than is wanted, goes back. */
static void give_back(struct ipam *ipam, const struct block *b, unsigned ordinal)
{
	struct addr only[FAMILIES] = { { 0 } }, ip = block_address(b, ordinal);

	if (is_in_use(ipam, &ip))
		return;
	only[family_index(ip.family)] = ip;
	ipam_release(ipam, ipam->reserve.handle, only, NULL, NULL);
}

static unsigned count(struct ipam *ipam, int family, const struct ipam_request *r, unsigned wanted, bool *busy)
{
	const struct block *b;
	unsigned n = 0;

	*busy = false;
	table_each(&ipam->model->blocks, b) {
		const struct flight *f = flight_of(ipam, b);
		bool serves = block_serves(ipam, b, family, r);

		if (b->cidr.addr.family != family_of(family) || !model_owns(ipam->model, b))
			continue;
		*busy |= f && !f->copy;
		for (unsigned o = 0; o < b->size; o++)
			if (is_reserved(ipam, b, o) && (!serves || ++n > wanted) && !f)	/* else: it may be in that write */
				give_back(ipam, b, o);
	}
	return n < wanted ? n : wanted;
}

/* As many as the block has room for. */
static unsigned fill(struct ipam *ipam, const struct block *b, unsigned wanted)
{
	const struct block_owner owner = reserve_owner(ipam);
	struct flight *f = flight_of(ipam, b);
	unsigned n = 0;

	if (!has_room(ipam, f ? f->copy : b))
		return 0;
	f = f ? f : flight_open(ipam, b);
	while (n < wanted && ask_assign(ipam, f->copy, &owner) >= 0)
		n++;
	f->fills = true;
	return n;
}

void reserve_step(struct ipam *ipam, int family)
{
	const struct ipam_request any = { .owner = reserve_owner(ipam) };
	const unsigned wanted = reserve_size(ipam);
	struct reserve *v = &ipam->reserve;
	const struct block *b;
	unsigned missing, filled = 0;
	bool busy;

	if (!v->look[family] || v->seeding)
		return;
	missing = wanted - count(ipam, family, &any, wanted, &busy);
	v->look[family] = missing || busy;
	if (!missing || busy || !ipam_serves(ipam, family, TUNNEL_NONE))
		return;
	table_each(&ipam->model->blocks, b)
		if (filled < missing && block_serves(ipam, b, family, &any))
			filled += fill(ipam, b, missing - filled);
	if (filled < missing)
		seed(ipam, family);
}

/* Rows have changed: is the reserve still what it is to be? */
void reserve_watch(struct ipam *ipam)
{
	struct model *m = ipam->model;
	struct reserve *v = &ipam->reserve;
	bool anew = m->pools.dirty || m->nodes.dirty;
	const struct block *b;

	table_each_dirty(&m->blocks, b)
		anew |= !b->checked || b->row.gone;
	if (anew)
		reserve_look(ipam);
	if ((v->look[FAMILY_V4] || v->look[FAMILY_V6]) && (anew || m->blocks.dirty))
		ipam_kick(ipam);
}
