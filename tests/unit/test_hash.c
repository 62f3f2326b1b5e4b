/* links: src/base/hash.c src/base/util.c src/base/log.c src/base/str.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include "base/hash.h"
#include "base/util.h"

struct thing { struct hash_node node; unsigned number; };

enum { THINGS = 1000, HASHES = 300 };	/* several of each hash */

static struct thing *find(const struct hash *h, unsigned number)
{
	for (struct hash_node *n = hash_find(h, number % HASHES); n; n = hash_more(n)) {
		struct thing *t = container_of(n, struct thing, node);

		if (t->number == number)
			return t;
	}
	return NULL;
}

static void fill(struct hash *h, struct thing *things)
{
	for (unsigned i = 0; i < THINGS; i++) {
		things[i].number = i;
		hash_insert(h, &things[i].node, i % HASHES);
	}
}

static void finds_each_of_the_same_hash(void **state)
{
	static struct thing things[THINGS];
	struct hash h = { 0 };
	(void)state;

	assert_null(find(&h, 1));
	fill(&h, things);
	assert_int_equal(h.count, THINGS);
	for (unsigned i = 0; i < THINGS; i++)
		assert_ptr_equal(find(&h, i), &things[i]);
	assert_null(find(&h, THINGS));
	for (unsigned i = 0; i < THINGS; i += 2)
		hash_remove(&h, &things[i].node);
	for (unsigned i = 0; i < THINGS; i++)
		assert_ptr_equal(find(&h, i), i % 2 ? &things[i] : NULL);
	hash_clear(&h);
	assert_int_equal(h.count, 0);
}

static void each_visits_all_and_may_remove(void **state)
{
	static struct thing things[THINGS];
	struct hash h = { 0 };
	unsigned seen = 0;
	(void)state;

	hash_each(&h, n)
		seen++;
	assert_int_equal(seen, 0);
	fill(&h, things);
	hash_each(&h, n) {
		hash_remove(&h, n);
		seen++;
	}
	assert_int_equal(seen, THINGS);
	assert_int_equal(h.count, 0);
	hash_clear(&h);
}

/* As when everybody has one label: each was a walk past the others, and ten thousand a walk of fifty million. */
static void removing_one_of_many_of_one_hash_is_no_walk(void **state)
{
	enum { MANY = 100000, MS_MAX = 2000 };
	struct thing *things = xcalloc(MANY, sizeof *things);
	struct hash h = { 0 };
	uint64_t begun;
	(void)state;

	for (unsigned i = 0; i < MANY; i++)
		hash_insert(&h, &things[i].node, 7);
	begun = now_ms();
	for (unsigned i = 0; i < MANY; i++)
		hash_remove(&h, &things[i].node);
	assert_true(now_ms() - begun < MS_MAX);
	assert_null(hash_find(&h, 7));
	hash_clear(&h);
	free(things);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_each_of_the_same_hash),
		cmocka_unit_test(each_visits_all_and_may_remove),
		cmocka_unit_test(removing_one_of_many_of_one_hash_is_no_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
