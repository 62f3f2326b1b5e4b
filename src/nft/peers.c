#include "nft/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/util.h"

/* A set that follows a group; the list hangs on the group. */
struct follower { struct follower *next; struct peer_set *set; unsigned entry; };

static const uint8_t plain_fields[FAMILIES][KEY_FIELDS] = { { FIELD_IP_SADDR }, { FIELD_IP6_SADDR } };
static const uint8_t port_fields[FAMILIES][KEY_FIELDS] = {
	{ FIELD_IP_DADDR, FIELD_PROTOCOL, FIELD_DPORT }, { FIELD_IP6_DADDR, FIELD_PROTOCOL, FIELD_DPORT },
};

/* ---- what is shared ---- */

void *shared_get(struct hash *h, uint64_t digest, size_t size)
{
	struct shared *s;

	for (struct hash_node *at = hash_find(h, (uint32_t)digest); at; at = hash_more(at)) {
		s = container_of(at, struct shared, node);
		if (s->digest != digest)
			continue;
		s->uses++;
		return s;
	}
	s = xcalloc(1, size);
	s->digest = digest;
	s->uses = 1;
	hash_insert(h, &s->node, (uint32_t)digest);
	return s;
}

bool shared_put(struct hash *h, struct shared *s)
{
	if (--s->uses)
		return false;
	hash_remove(h, &s->node);
	return true;
}

/* ---- members ---- */

static void element_count(struct nft *n, struct set *s, const uint8_t *key, bool in)
{
	if (in)
		element_want(&n->rules, element_get(s, key));
	else
		element_unwant(&n->rules, element_find(s, key));
	n->wanted = true;
}

static void port_elements(struct nft *n, struct set *s, const struct peer_entry *e, const struct subject *who,
			  const struct addr *a, bool in)
{
	for (unsigned i = 0; i < who->port_count; i++) {
		const struct pod_port *p = &who->ports[i];
		uint8_t key[KEY_MAX] = { 0 };

		if (p->protocol != e->protocol || strcmp(p->name, e->name) != 0)
			continue;
		port_key(key, a, p->protocol, p->number);
		element_count(n, s, key, in);
	}
}

static void member_elements(struct nft *n, const struct peer_set *s, unsigned entry, const struct membership *m, bool in)
{
	const struct subject *who = m->subject;

	for (unsigned i = 0; i < who->address_count; i++) {
		const struct addr *a = &who->addresses[i];
		struct set *set = s->set[family_index(a->family)];

		if (!set || !(m->addresses >> i & 1))
			continue;
		if (s->entries[entry].name)
			port_elements(n, set, &s->entries[entry], who, a, in);
		else
			element_count(n, set, a->b, in);
	}
}

void peers_moved(void *ctx, const struct membership *m, bool in)
{
	for (const struct follower *f = m->group->owner; f; f = f->next)
		member_elements(ctx, f->set, f->entry, m, in);
}

/* ---- sets ---- */

static void follow(struct nft *n, struct peer_set *s, unsigned entry)
{
	struct group *g = s->entries[entry].group;
	struct follower *f = xcalloc(1, sizeof *f);

	*f = (struct follower){ g->owner, s, entry };
	g->owner = f;
	for (const struct membership *m = g->members; m; m = m->next_of_group)
		member_elements(n, s, entry, m, true);
}

static void unfollow(struct nft *n, struct peer_set *s, unsigned entry)
{
	struct group *g = s->entries[entry].group;
	struct follower *f = g->owner, *before = NULL;

	for (; f->set != s || f->entry != entry; f = f->next)
		before = f;
	if (before)
		before->next = f->next;
	else
		g->owner = f->next;
	free(f);
	for (const struct membership *m = g->members; m; m = m->next_of_group)
		member_elements(n, s, entry, m, false);
	group_put(&n->index, g);
}

static uint64_t asks_digest(const struct nft *n, const struct peer_ask *asks, unsigned count)
{
	autofree uint64_t *all = xcalloc(count + 1u, sizeof *all);

	for (unsigned i = 0; i < count; i++)
		all[i] = asks[i].digest;
	all[count] = (uint64_t)n->families[FAMILY_V4] << 1 | n->families[FAMILY_V6];
	return sha1_64(all, (count + 1u) * sizeof *all);
}

struct peer_set *peer_set_get(struct nft *n, const struct peer_ask *asks, unsigned count)
{
	uint64_t digest = asks_digest(n, asks, count);
	struct peer_set *s = shared_get(&n->peer_sets, digest, sizeof *s);

	if (s->shared.uses > 1)
		return s;
	s->count = count;
	s->entries = arena_alloc(&s->mem, count * sizeof *s->entries);
	for (int f = 0; f < FAMILIES; f++) {
		char name[32];

		if (!n->families[f])
			continue;
		snprintf(name, sizeof name, "peers-%016llx-%c", (unsigned long long)digest, f ? '6' : '4');
		s->set[f] = set_get(&n->rules, name, asks[0].name ? port_fields[f] : plain_fields[f]);
		set_want(&n->rules, s->set[f], true);
	}
	for (unsigned i = 0; i < count; i++) {
		s->entries[i].group = group_get(&n->index, asks[i].peer);
		s->entries[i].name = arena_str(&s->mem, asks[i].name);
		s->entries[i].protocol = asks[i].protocol;
		follow(n, s, i);
	}
	return s;
}

void peer_set_put(struct nft *n, struct peer_set *s)
{
	if (!shared_put(&n->peer_sets, &s->shared))
		return;
	for (unsigned i = 0; i < s->count; i++)
		unfollow(n, s, i);
	for (int f = 0; f < FAMILIES; f++)
		if (s->set[f])
			set_want(&n->rules, s->set[f], false);
	arena_free(&s->mem);
	free(s);
}

/* ---- ranges ---- */

static struct addr last_of(const struct prefix *p)
{
	struct addr a = p->addr;

	for (unsigned i = p->len; i < addr_bits(&a); i++)
		a.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
	return a;
}

static bool is_highest(const struct addr *a)
{
	for (unsigned i = 0; i < addr_bytes(a); i++)
		if (a->b[i] != 0xff)
			return false;
	return true;
}

static struct addr before(const struct addr *a)
{
	struct addr b = *a;

	for (unsigned i = addr_bytes(a); i-- && b.b[i]-- == 0;)
		;
	return b;
}

static int by_first(const void *a, const void *b)
{
	return addr_cmp(&((const struct range *)a)->first, &((const struct range *)b)->first);
}

static int by_address(const void *a, const void *b)
{
	return prefix_cmp(a, b);
}

/* What is left of the net between its exceptions; at most one range more than there are of these. */
static unsigned net_ranges(const struct peer *p, struct range *out)
{
	struct prefix *except = xcalloc(p->except_count + 1u, sizeof *except);
	struct addr at = p->net.addr, end = last_of(&p->net);
	unsigned count = 0;
	bool over = false;

	if (p->except_count)
		memcpy(except, p->except, p->except_count * sizeof *except);
	qsort(except, p->except_count, sizeof *except, by_address);
	for (unsigned i = 0; i < p->except_count && !over; i++) {
		struct addr last = last_of(&except[i]);

		if (addr_cmp(&last, &at) < 0)
			continue;	/* inside the one before */
		if (addr_cmp(&at, &except[i].addr) < 0)
			out[count++] = (struct range){ at, before(&except[i].addr) };
		over = addr_cmp(&last, &end) >= 0;
		at = over ? at : addr_plus(&last, 1);
	}
	if (!over)
		out[count++] = (struct range){ at, end };
	free(except);
	return count;
}

static bool touches(const struct range *before_it, const struct range *r)
{
	struct addr next;

	if (is_highest(&before_it->last))
		return true;
	next = addr_plus(&before_it->last, 1);
	return addr_cmp(&r->first, &next) <= 0;
}

static unsigned merge(struct range *list, unsigned count)
{
	unsigned kept = 0;

	if (count)
		qsort(list, count, sizeof *list, by_first);
	for (unsigned i = 0; i < count; i++) {
		if (!kept || !touches(&list[kept - 1], &list[i]))
			list[kept++] = list[i];
		else if (addr_cmp(&list[kept - 1].last, &list[i].last) < 0)
			list[kept - 1].last = list[i].last;
	}
	return kept;
}

unsigned ranges_of(const struct peer *const *peers, unsigned count, int family, struct range **list)
{
	unsigned room = 0, used = 0;

	for (unsigned i = 0; i < count; i++)
		room += peers[i]->except_count + 1;
	*list = xcalloc(room + 1, sizeof **list);
	for (unsigned i = 0; i < count; i++)
		if (peers[i]->net.addr.family == family_of(family))
			used += net_ranges(peers[i], *list + used);
	return merge(*list, used);
}

/* Elements of the kernel's: where a range begins, and where there is none any more. */
static void range_elements(struct nft *n, struct range_set *s, const struct range *r, bool in)
{
	uint8_t key[KEY_MAX] = { 0 };
	unsigned len = addr_bytes(&r->first);
	struct addr end;

	memcpy(key, r->first.b, len);
	element_count(n, s->set, key, in);
	if (is_highest(&r->last))
		return;
	end = addr_plus(&r->last, 1);
	memcpy(key, end.b, len);
	key[len] = 1;
	element_count(n, s->set, key, in);
}

struct range_set *range_set_get(struct nft *n, const struct range *list, unsigned count, int family)
{
	uint64_t digest = sha1_64(list, count * sizeof *list);
	struct range_set *s = shared_get(&n->range_sets, digest, sizeof *s);
	char name[32];

	if (s->shared.uses > 1)
		return s;
	snprintf(name, sizeof name, "nets-%016llx-%c", (unsigned long long)digest, family ? '6' : '4');
	s->set = set_get_kind(&n->rules, name, plain_fields[family], SET_RANGES);
	set_want(&n->rules, s->set, true);
	for (unsigned i = 0; i < count; i++)
		range_elements(n, s, &list[i], true);
	return s;
}

void range_set_put(struct nft *n, struct range_set *s)
{
	if (!shared_put(&n->range_sets, &s->shared))
		return;
	hash_each(&s->set->elements, at) {
		struct element *e = container_of(at, struct element, node);

		if (e->wants)
			element_unwant(&n->rules, e);
	}
	set_want(&n->rules, s->set, false);
	free(s);
}
