#ifndef BASE_HASH_H
#define BASE_HASH_H
/*
 * A hash of nodes that sit in their owners: finding by hash value, the owner
 * compares keys.  Nothing is allocated but the buckets.  Removing costs the same however many have
 * one hash value, as ten thousand pods of one label do.
 */
#include <stdint.h>

struct hash_node { struct hash_node *next, **at; uint32_t hash; };
struct hash { struct hash_node **buckets; unsigned size, count; };

void hash_insert(struct hash *h, struct hash_node *n, uint32_t hash);
void hash_remove(struct hash *h, struct hash_node *n);
struct hash_node *hash_find(const struct hash *h, uint32_t hash);	/* with that hash; then hash_more() */
struct hash_node *hash_more(const struct hash_node *n);
void hash_clear(struct hash *h);	/* the buckets, not the nodes */

/* Every node; the one at hand may be removed and freed. */
#define hash_each(h, n) \
	for (unsigned bucket_##n = 0; bucket_##n < (h)->size; bucket_##n++) \
		for (struct hash_node *n = (h)->buckets[bucket_##n], *next_##n; n && (next_##n = n->next, 1); \
		     n = next_##n)

#endif
