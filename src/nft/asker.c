#include "nft/nft_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "base/util.h"

static uint32_t asker_hash(enum asker_kind kind, const char *key)
{
	return fnv32a(key, strlen(key)) ^ (uint32_t)kind;
}

static struct asker *asker_find(const struct nft *n, enum asker_kind kind, const char *key)
{
	for (struct hash_node *at = hash_find(&n->askers, asker_hash(kind, key)); at; at = hash_more(at)) {
		struct asker *o = container_of(at, struct asker, node);

		if (o->kind == kind && strcmp(o->key, key) == 0)
			return o;
	}
	return NULL;
}

static void touch(struct nft *n, struct asker *o)
{
	if (o->touched)
		return;
	if (n->touched_count == n->touched_cap) {
		n->touched_cap = n->touched_cap ? n->touched_cap * 2 : 16;
		n->touched = xrealloc(n->touched, n->touched_cap * sizeof *n->touched);
	}
	o->touched = true;
	n->touched[n->touched_count++] = o;
}

struct asker *asker_begin(struct nft *n, enum asker_kind kind, const char *key)
{
	struct asker *o = asker_find(n, kind, key);
	size_t len = strlen(key);

	if (!o) {
		o = xcalloc(1, sizeof *o + len + 1);
		o->kind = (uint8_t)kind;
		memcpy(o->key, key, len + 1);
		hash_insert(&n->askers, &o->node, asker_hash(kind, key));
	}
	n->asked_count = 0;
	return o;
}

void asker_ask(struct nft *n, struct set *s, const void *key)
{
	if (n->asked_count == n->asked_cap) {
		n->asked_cap = n->asked_cap ? n->asked_cap * 2 : 16;
		n->asked = xrealloc(n->asked, n->asked_cap * sizeof *n->asked);
	}
	n->asked[n->asked_count++] = element_get(s, key);
}

static bool asks_for_the_same(const struct nft *n, const struct asker *o)
{
	return o->count == n->asked_count &&
	       (!o->count || memcmp(o->elements, n->asked, o->count * sizeof *o->elements) == 0);
}

static bool has(const struct asker *o, const struct element *e)
{
	for (unsigned i = 0; i < o->count; i++)
		if (o->elements[i] == e)
			return true;
	return false;
}

/* Somebody else has asked for the same key with another end, and the kernel takes only one. */
static bool is_taken(const struct asker *o, const struct element *e)
{
	const struct element *rival = e->wants ? NULL : element_rival(e, NULL);

	while (rival && has(o, rival))
		rival = element_rival(e, rival);
	return rival;
}

/* Two attachments of one address, under policies that differ: who came first has it, the other one is mute. */
static void share(struct nft *n, struct asker *o)
{
	bool shares = false;

	for (unsigned i = 0; i < n->asked_count && !shares; i++)
		shares = n->asked[i]->set->kind == SET_VERDICTS && is_taken(o, n->asked[i]);
	n->sharing += (unsigned)shares - (unsigned)o->shares;
	o->shares = shares;
	while (shares && n->asked_count)
		element_release(n->asked[--n->asked_count]);
}

void asker_end(struct nft *n, struct asker *o)
{
	share(n, o);
	if (!asks_for_the_same(n, o)) {
		for (unsigned i = 0; i < n->asked_count; i++)
			element_want(&n->rules, n->asked[i]);
		for (unsigned i = 0; i < o->count; i++)
			element_unwant(&n->rules, o->elements[i]);
		free(o->elements);
		o->elements = NULL;
		o->count = n->asked_count;
		if (o->count) {
			o->elements = xcalloc(o->count, sizeof *o->elements);
			memcpy(o->elements, n->asked, o->count * sizeof *o->elements);
		}
		n->wanted = true;
	}
	touch(n, o);
}

/* ---- what is told ---- */

static bool is_in_place(const struct asker *o)
{
	for (unsigned i = 0; i < o->count; i++)
		if (!o->elements[i]->have)
			return false;
	return true;
}

static void report_rc(struct asker *o, struct endpoint *e, int rc, const char *why)
{
	e->rc = rc;
	e->of_rules = rc != -EADDRINUSE;
	str_copy(e->why, sizeof e->why, why);
	o->reported = rc != 0;
}

/* Other reconcilers write rc too: only what we put there is taken back.  True when there is no more to tell. */
static bool report(struct nft *n, struct asker *o)
{
	struct endpoint *e = table_find(&n->model->endpoints, o->key);
	bool done = is_in_place(o) && !o->denied && !o->shares;

	if (!e)
		return true;
	if (o->shares)
		report_rc(o, e, -EADDRINUSE, "the address belongs to another attachment");
	else if (o->denied)
		report_rc(o, e, -EOPNOTSUPP, "portMappings: this kernel lacks CONFIG_NFT_NAT or CONFIG_NFT_FIB_INET");
	else if (!done && (!e->rc || o->reported))
		report_rc(o, e, n->rc ? n->rc : -EAGAIN, n->rc ? n->why : "the table inet manx is not in place yet");
	else if (done && o->reported)
		report_rc(o, e, 0, "");
	return done;
}

static void release(struct nft *n, struct asker *o)
{
	if (o->count)
		return;
	hash_remove(&n->askers, &o->node);
	free(o);
}

void askers_report(struct nft *n)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n->touched_count; i++) {
		struct asker *o = n->touched[i];

		if (o->kind == ASKER_ENDPOINT && !report(n, o)) {
			n->touched[kept++] = o;
			continue;
		}
		o->touched = false;
		release(n, o);
	}
	n->touched_count = kept;
}

void askers_free(struct nft *n)
{
	hash_each(&n->askers, at) {
		struct asker *o = container_of(at, struct asker, node);

		free(o->elements);
		free(o);
	}
	hash_clear(&n->askers);
	free(n->touched);
	free(n->asked);
}
