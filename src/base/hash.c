#include "base/hash.h"

#include <stdlib.h>
#include "base/util.h"

enum { BUCKETS_FIRST = 16 };

static struct hash_node **bucket_of(const struct hash *h, uint32_t hash)
{
	return &h->buckets[hash & (h->size - 1)];
}

static void push(struct hash_node **to, struct hash_node *n)
{
	n->next = *to;
	n->at = to;
	if (n->next)
		n->next->at = &n->next;
	*to = n;
}

static void grow(struct hash *h)
{
	struct hash old = *h;

	h->size = old.size ? old.size * 2 : BUCKETS_FIRST;
	h->buckets = xcalloc(h->size, sizeof *h->buckets);
	hash_each(&old, n)
		push(bucket_of(h, n->hash), n);
	free(old.buckets);
}

void hash_insert(struct hash *h, struct hash_node *n, uint32_t hash)
{
	if (h->count >= h->size)
		grow(h);
	n->hash = hash;
	push(bucket_of(h, hash), n);
	h->count++;
}

void hash_remove(struct hash *h, struct hash_node *n)
{
	*n->at = n->next;
	if (n->next)
		n->next->at = n->at;
	h->count--;
}

struct hash_node *hash_find(const struct hash *h, uint32_t hash)
{
	struct hash_node *n = h->size ? *bucket_of(h, hash) : NULL;

	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct hash_node *hash_more(const struct hash_node *n)
{
	struct hash_node *next = n->next;

	while (next && next->hash != n->hash)
		next = next->next;
	return next;
}

void hash_clear(struct hash *h)
{
	free(h->buckets);
	*h = (struct hash){ 0 };
}
