#include "route/route_int.h"

#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "base/util.h"

/* ---- objects ---- */

struct object_key key_route(const struct prefix *dst)
{
	return (struct object_key){ .kind = OBJECT_ROUTE, .dst = *dst };
}

struct object_key key_addr(enum tunnel device, const struct prefix *address)
{
	return (struct object_key){ .kind = OBJECT_ADDR, .device = (uint8_t)device, .dst = *address };
}

struct object_key key_neigh(enum tunnel device, const struct addr *dst)
{
	return (struct object_key){ .kind = OBJECT_NEIGH, .device = (uint8_t)device, .dst = prefix_host(dst) };
}

struct object_key key_fdb(enum tunnel device, const uint8_t mac[6])
{
	struct object_key k = { .kind = OBJECT_FDB, .device = (uint8_t)device };

	memcpy(k.mac, mac, sizeof k.mac);
	return k;
}

struct object *object_find(const struct route *r, const struct object_key *k)
{
	for (struct hash_node *n = hash_find(&r->objects, fnv32a(k, sizeof *k)); n; n = hash_more(n)) {
		struct object *o = container_of(n, struct object, node);

		if (memcmp(&o->key, k, sizeof *k) == 0)
			return o;
	}
	return NULL;
}

struct object *object_get(struct route *r, const struct object_key *k)
{
	struct object *o = object_find(r, k);

	if (!o) {
		o = xcalloc(1, sizeof *o);
		o->key = *k;
		hash_insert(&r->objects, &o->node, fnv32a(k, sizeof *k));
	}
	return o;
}

void object_list_add(struct object_list *l, struct object *o)
{
	if (l->count == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 32;
		l->at = xrealloc(l->at, l->cap * sizeof *l->at);
	}
	l->at[l->count++] = o;
}

void object_mark(struct route *r, struct object *o)
{
	if (o->marked)
		return;
	o->marked = true;
	object_list_add(&r->marked, o);
}

void object_touch_owners(struct route *r, struct object *o)
{
	for (struct want *w = o->wants; w; w = w->object_next)
		owner_touch(r, w->owner);
}

void object_route_oif(struct route *r, struct kernel_route *k, int oif)
{
	k->route.oif = oif;
	if (oif)
		link_get(r, oif)->routes++;
}

struct kernel_route *object_route_add(struct route *r, struct object *o, const struct rtnl_route *have)
{
	struct kernel_route *k = xcalloc(1, sizeof *k);

	k->route = *have;
	k->seen = r->generation;
	k->next = o->routes;
	o->routes = k;
	object_route_oif(r, k, have->oif);
	return k;
}

void object_route_del(struct route *r, struct object *o, struct kernel_route *k)
{
	struct kernel_route **at = &o->routes;

	while (*at != k)
		at = &(*at)->next;
	*at = k->next;
	if (k->route.oif) {
		struct link *l = link_get(r, k->route.oif);

		l->routes--;
		link_release(r, l);
	}
	free(k);
}

static void object_free(struct route *r, struct object *o)
{
	while (o->routes)
		object_route_del(r, o, o->routes);
	hash_remove(&r->objects, &o->node);
	free(o->why);
	free(o->failure_text);
	free(o);
}

void object_release(struct route *r, struct object *o)
{
	if (!o->wants && !o->routes && !o->present && !o->marked && !o->troubled)
		object_free(r, o);
}

bool spec_equal(const struct spec *a, const struct spec *b)
{
	return a->type == b->type && a->protocol == b->protocol && a->onlink == b->onlink && a->tunnel == b->tunnel &&
	       a->oif == b->oif && addr_equal(&a->via, &b->via) && memcmp(a->mac, b->mac, sizeof a->mac) == 0;
}

/* ---- owners and their wants ---- */

static uint32_t owner_hash(enum owner_kind kind, const char *key)
{
	return fnv32a(key, strlen(key)) + kind;
}

static struct owner *owner_get(struct route *r, enum owner_kind kind, const char *key)
{
	uint32_t hash = owner_hash(kind, key);
	struct owner *o;

	for (struct hash_node *n = hash_find(&r->owners, hash); n; n = hash_more(n)) {
		o = container_of(n, struct owner, node);
		if (o->kind == kind && strcmp(o->key, key) == 0)
			return o;
	}
	o = xcalloc(1, sizeof *o + strlen(key) + 1);
	o->kind = kind;
	memcpy(o->key, key, strlen(key) + 1);
	hash_insert(&r->owners, &o->node, hash);
	return o;
}

void owner_touch(struct route *r, struct owner *o)
{
	if (o->touched)
		return;
	if (r->touched.count == r->touched.cap) {
		r->touched.cap = r->touched.cap ? r->touched.cap * 2 : 32;
		r->touched.at = xrealloc(r->touched.at, r->touched.cap * sizeof *r->touched.at);
	}
	o->touched = true;
	r->touched.at[r->touched.count++] = o;
}

struct owner *owner_begin(struct route *r, enum owner_kind kind, const char *key)
{
	struct owner *o = owner_get(r, kind, key);

	owner_touch(r, o);
	for (struct want *w = o->wants; w; w = w->owner_next)
		w->stale = true;
	return o;
}

static bool goes_before(const struct want *a, const struct want *b)
{
	if (a->slot != b->slot)
		return a->slot < b->slot;
	if (a->owner->kind != b->owner->kind)
		return a->owner->kind < b->owner->kind;
	return strcmp(a->owner->key, b->owner->key) < 0;
}

static void want_link(struct owner *owner, struct object *object, struct want *w)
{
	struct want **at = &object->wants;

	while (*at && goes_before(*at, w))
		at = &(*at)->object_next;
	w->object_next = *at;
	*at = w;
	w->owner_next = owner->wants;
	owner->wants = w;
}

void want_add(struct route *r, struct owner *o, const struct object_key *k, enum want_slot slot, const struct spec *s)
{
	struct object *object = object_get(r, k);
	struct want *w = object->wants;

	while (w && (w->owner != o || w->slot != slot))
		w = w->object_next;
	if (w && (spec_equal(&w->spec, s) || !w->stale)) {
		w->stale = false;	/* said twice: the first counts */
		return;
	}
	if (!w) {
		w = xcalloc(1, sizeof *w);
		w->owner = o;
		w->object = object;
		w->slot = (uint8_t)slot;
		want_link(o, object, w);
	}
	w->stale = false;
	w->spec = *s;
	object_mark(r, object);
	object_touch_owners(r, object);
}

static void want_unlink(struct route *r, struct want *w)
{
	struct want **at = &w->object->wants;

	while (*at != w)
		at = &(*at)->object_next;
	*at = w->object_next;
	object_mark(r, w->object);
	object_touch_owners(r, w->object);
	free(w);
}

void owner_end(struct route *r, struct owner *o)
{
	struct want **at = &o->wants, *w;

	while ((w = *at)) {
		if (!w->stale) {
			at = &w->owner_next;
			continue;
		}
		*at = w->owner_next;
		want_unlink(r, w);
	}
}

void owner_release(struct route *r, struct owner *o)
{
	if (o->wants || o->lacking || o->touched)
		return;
	hash_remove(&r->owners, &o->node);
	free(o);
}

/* ---- links ---- */

static struct link *link_any(const struct route *r, int index)
{
	struct hash_node *n = hash_find(&r->links, (uint32_t)index);

	return n ? container_of(n, struct link, node) : NULL;
}

struct link *link_find(const struct route *r, int index)
{
	struct link *l = link_any(r, index);

	return l && l->known ? l : NULL;
}

struct link *link_get(struct route *r, int index)
{
	struct link *l = link_any(r, index);

	if (!l) {
		l = xcalloc(1, sizeof *l);
		l->index = index;
		hash_insert(&r->links, &l->node, (uint32_t)index);
	}
	return l;
}

void link_release(struct route *r, struct link *l)
{
	if (l->known || l->routes)
		return;
	hash_remove(&r->links, &l->node);
	free(l);
}

static void owner_free(struct owner *o)
{
	for (struct want *w = o->wants, *next; w; w = next) {
		next = w->owner_next;
		free(w);
	}
	free(o->lacking);
	free(o);
}

void objects_free(struct route *r)
{
	hash_each(&r->objects, n)
		object_free(r, container_of(n, struct object, node));
	hash_each(&r->owners, n)
		owner_free(container_of(n, struct owner, node));
	hash_each(&r->links, n)
		free(container_of(n, struct link, node));
	hash_clear(&r->objects);
	hash_clear(&r->owners);
	hash_clear(&r->links);
	free(r->marked.at);
	free(r->troubled.at);
	free(r->touched.at);
	free(r->ops);
	free(r->pools);
}
