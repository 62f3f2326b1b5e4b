/* links: src/ipam/block.c src/ipam/cooldown.c src/base/arena.c src/base/digest.c src/base/err.c src/base/hash.c src/base/log.c src/base/mac.c src/base/prefix.c src/base/str.c src/base/table.c src/base/util.c src/wire/json.c src/wire/json_check.c src/wire/json_fields.c src/wire/json_out.c src/store/kind.c src/store/kind_block.c src/store/kind_core.c src/store/kind_ipam.c src/store/kind_meta.c src/store/kind_pack.c src/store/kind_policy.c src/store/kind_ipamrules.c src/store/kind_pool.c src/store/kind_workload.c src/model/model.c src/model/policy.c src/model/selector.c src/model/tunnel.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "ipam/block.h"
#include "ipam/cooldown.h"

static const int64_t WALL = 1785574800123000000;	/* 2026-08-01 09:00:00.123 UTC */

static struct block *fresh(const char *cidr)
{
	struct prefix p;

	assert_int_equal(prefix_parse(&p, cidr, NULL), 0);
	return block_new(&p, "edge1", WALL, block_size(&p));
}

static const struct block_owner *owner(const char *handle)
{
	static struct block_owner o;

	o = (struct block_owner){ .handle = handle, .node = "edge1", .pod = "web-0", .namespace = "default", .wall_ns = WALL };
	return &o;
}

static void a_new_block_is_empty_and_claimed(void **state)
{
	struct block *b = fresh("10.42.17.64/29");
	(void)state;

	assert_string_equal(b->row.key, "10.42.17.64/29");
	assert_string_equal(b->meta.name, "10-42-17-64-29");
	assert_string_equal(b->affinity, "host:edge1");
	assert_string_equal(b->node, "edge1");
	assert_string_equal(b->affinity_claim_time, "2026-08-01T09:00:00Z");
	assert_int_equal(b->size, 8);
	assert_int_equal(b->free_count, 8);
	assert_true(b->sequence == WALL);
	row_free(&b->row);
}

static void addresses_are_given_in_order_until_none_is_left(void **state)
{
	struct block *b = fresh("10.42.17.64/30");
	char handle[] = "net.a";
	(void)state;

	for (int i = 0; i < 4; i++) {
		handle[4] = 'a' + i;
		assert_int_equal(block_assign(b, owner(handle), NULL, NULL), i);
		assert_true(b->sequences[i] == WALL + i);
	}
	assert_int_equal(block_assign(b, owner("net.z"), NULL, NULL), -ENOSPC);
	assert_int_equal(b->attribute_count, 4);
	row_free(&b->row);
}

static void the_attribute_is_what_calico_writes(void **state)
{
	struct block *b = fresh("10.42.17.64/30");
	struct block_owner tunnel = { .handle = "vxlan-tunnel-addr-edge1", .node = "edge1", .type = "vxlanTunnelAddress" };
	(void)state;

	block_assign(b, owner("k8s-pod-network.6f1c"), NULL, NULL);
	block_assign(b, &tunnel, NULL, NULL);
	assert_string_equal(b->attributes[0].json,
		"{\"handle_id\":\"k8s-pod-network.6f1c\",\"secondary\":{\"namespace\":\"default\",\"node\":\"edge1\","
		"\"pod\":\"web-0\",\"timestamp\":\"2026-08-01 09:00:00.123 +0000 UTC\"}}");
	assert_string_equal(b->attributes[1].json,
		"{\"handle_id\":\"vxlan-tunnel-addr-edge1\",\"secondary\":{\"node\":\"edge1\",\"type\":\"vxlanTunnelAddress\"}}");
	row_free(&b->row);
}

static void a_freed_address_goes_to_the_end_of_the_queue(void **state)
{
	struct block *b = fresh("10.42.17.64/30");
	(void)state;

	block_assign(b, owner("net.a"), NULL, NULL);
	block_assign(b, owner("net.b"), NULL, NULL);
	assert_false(block_release(b, 0, "net.b", 0));	/* not its holder */
	assert_true(block_release(b, 0, "net.a", 0));
	assert_false(block_release(b, 0, "net.a", 0));	/* free already */
	assert_int_equal(b->attribute_count, 1);
	assert_string_equal(block_attribute(b, 1)->handle, "net.b");
	assert_int_equal(block_assign(b, owner("net.c"), NULL, NULL), 2);
	assert_int_equal(block_assign(b, owner("net.d"), NULL, NULL), 3);
	assert_int_equal(block_assign(b, owner("net.e"), NULL, NULL), 0);
	row_free(&b->row);
}

static void a_copy_shares_nothing(void **state)
{
	struct block *b = fresh("10.42.17.64/30"), *c;
	(void)state;

	block_assign(b, owner("net.a"), NULL, NULL);
	block_assign(b, owner("net.b"), NULL, NULL);
	b->attributes[0] = (struct block_attribute){ .json = "{\"releasedAt\":\"2026-08-01T09:10:00Z\"}",
						     .released_at = "2026-08-01T09:10:00Z" };
	c = block_copy(b);
	row_free(&b->row);
	block_sweep(c, 0, WALL);
	assert_null(block_attribute(c, 0));
	assert_string_equal(block_attribute(c, 1)->handle, "net.b");
	assert_int_equal(c->unallocated[c->free_count - 1], 0);
	assert_int_equal(c->attribute_count, 1);
	row_free(&c->row);
}

static void an_address_rests_as_long_as_it_is_to(void **state)
{
	enum { REST = 30 };
	struct block *b = fresh("10.42.17.64/31");
	const struct block_attribute *a;
	unsigned used, reserved;
	(void)state;

	block_assign(b, owner("net.a"), NULL, NULL);
	block_assign(b, owner("net.b"), NULL, NULL);
	assert_true(block_release(b, 0, "net.a", WALL));
	assert_true(block_release(b, 1, "net.b", WALL));
	assert_int_equal(b->attribute_count, 1);	/* both since the same moment */
	a = block_attribute(b, 0);
	assert_string_equal(a->json, "{\"releasedAt\":\"2026-08-01T09:00:00Z\"}");
	assert_null(a->handle);
	block_count(b, &used, &reserved);
	assert_int_equal(used + reserved, 0);
	assert_int_equal(block_assign(b, owner("net.c"), NULL, NULL), -ENOSPC);
	block_sweep(b, REST, WALL + (REST - 1) * INT64_C(1000000000));
	assert_int_equal(b->free_count, 0);
	block_sweep(b, REST, WALL + REST * INT64_C(1000000000));
	assert_int_equal(b->free_count, 2);
	assert_int_equal(b->attribute_count, 0);
	row_free(&b->row);
}

static void moments_of_other_clocks(void **state)
{
	static const struct { const char *at; bool over; } rows[] = {
		{ "2026-08-01T08:59:31Z", false }, { "2026-08-01T08:59:30Z", true }, { "2026-08-01T09:00:29Z", false },
		{ "2026-08-01T09:00:30Z", true }, { "1970-01-01T00:00:00Z", true }, { "2106-02-07T06:28:15Z", true },
		{ "2026-08-01T09:00:00.123456789Z", false }, { "2026-07-32T09:00:00Z", false }, { "2024-02-29T00:00:00Z", true },
		{ "", true }, { "yesterday", true }, { "2026-08-01Tx9:00:00Z", true },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct block_attribute a = { .released_at = rows[i].at };

		if (cooldown_is_over(&a, 30, WALL) != rows[i].over)
			fail_msg("%s", rows[i].at);
	}
}

static bool is_even(const void *ctx, const struct addr *a)
{
	(void)ctx;
	return a->b[3] % 2 == 0;
}

static void barred_addresses_are_passed_over(void **state)
{
	struct block *b = fresh("10.42.17.64/30");
	(void)state;

	assert_int_equal(block_assign(b, owner("net.a"), is_even, NULL), 1);
	assert_true(block_has_room(b, is_even, NULL, 0));
	assert_int_equal(block_assign(b, owner("net.b"), is_even, NULL), 3);
	assert_false(block_has_room(b, is_even, NULL, 0));
	assert_int_equal(block_assign(b, owner("net.c"), is_even, NULL), -ENOSPC);
	assert_int_equal(block_assign_at(b, 2, owner("net.c")), 2);
	assert_int_equal(block_assign(b, owner("net.d"), NULL, NULL), 0);
	row_free(&b->row);
}

static unsigned rng = 20261124;
static unsigned dice(unsigned sides)
{
	rng = rng * 1103515245 + 12345;
	return (rng >> 16) % sides;
}

/* Every ordinal is either free once or points at an attribute; every attribute is pointed at. */
static void assert_consistent(const struct block *b)
{
	unsigned seen[64] = { 0 }, used = 0;

	for (unsigned i = 0; i < b->free_count; i++) {
		assert_int_equal(b->allocations[b->unallocated[i]], BLOCK_FREE);
		assert_int_equal(seen[b->unallocated[i]]++, 0);
	}
	for (unsigned i = 0; i < b->size; i++) {
		if (b->allocations[i] == BLOCK_FREE)
			continue;
		used++;
		assert_true(b->allocations[i] < (int)b->attribute_count);
	}
	assert_int_equal(used + b->free_count, b->size);
	for (unsigned a = 0; a < b->attribute_count; a++) {
		bool pointed = false;

		for (unsigned i = 0; i < b->size; i++)
			pointed |= b->allocations[i] == (int)a;
		assert_true(pointed);
	}
}

static void random_use_keeps_it_consistent(void **state)
{
	struct block *b = fresh("10.42.0.0/26");
	char holders[64][16] = { "" };
	(void)state;

	print_message("seed %u\n", rng);
	for (int step = 0; step < 5000; step++) {
		unsigned o = dice(64);
		char handle[16];

		snprintf(handle, sizeof handle, "net.%d", step);
		if (dice(2)) {
			int got = block_assign(b, owner(handle), NULL, NULL);

			if (got >= 0)
				memcpy(holders[got], handle, sizeof handle);
			else
				assert_int_equal(b->free_count, 0);
		} else if (holders[o][0]) {
			assert_true(block_release(b, o, holders[o], 0));
			holders[o][0] = '\0';
		}
		if (step % 7 == 0) {
			struct block *c = block_copy(b);

			row_free(&b->row);
			b = c;
		}
		assert_consistent(b);
	}
	for (unsigned o = 0; o < 64; o++)
		assert_int_equal(block_attribute(b, o) != NULL, holders[o][0] != '\0');
	row_free(&b->row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_block_is_empty_and_claimed),
		cmocka_unit_test(addresses_are_given_in_order_until_none_is_left),
		cmocka_unit_test(the_attribute_is_what_calico_writes),
		cmocka_unit_test(a_freed_address_goes_to_the_end_of_the_queue),
		cmocka_unit_test(a_copy_shares_nothing),
		cmocka_unit_test(an_address_rests_as_long_as_it_is_to),
		cmocka_unit_test(moments_of_other_clocks),
		cmocka_unit_test(barred_addresses_are_passed_over),
		cmocka_unit_test(random_use_keeps_it_consistent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
