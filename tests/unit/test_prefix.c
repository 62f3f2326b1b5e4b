/* links: src/base/prefix.c src/base/err.c src/base/str.c src/base/util.c src/base/log.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/prefix.h"

static struct addr addr_of(const char *text)
{
	struct addr a;
	struct err e = { 0 };

	if (addr_parse(&a, text, &e) < 0)
		fail_msg("%s", e.text);
	return a;
}

static struct prefix prefix_of(const char *text)
{
	struct prefix p;
	struct err e = { 0 };

	if (prefix_parse(&p, text, &e) < 0)
		fail_msg("%s", e.text);
	return p;
}

static void text_comes_back(void **state)
{
	static const char *const rows[][2] = {
		{ "10.42.0.0/16", "10.42.0.0/16" }, { "10.42.17.65", "10.42.17.65/32" }, { "0.0.0.0/0", "0.0.0.0/0" },
		{ "fd00:0:0::1/64", "fd00::1/64" }, { "::", "::/128" }, { "2001:DB8::1/127", "2001:db8::1/127" },
		{ "1:0:2:3:4:5:6:7/128", "1:0:2:3:4:5:6:7/128" }, { "::ffff:1.2.3.4/128", "::ffff:1.2.3.4/128" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128" },
	};
	struct addr none = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct prefix p = prefix_of(rows[i][0]);

		assert_string_equal(prefix_text(&p).s, rows[i][1]);
	}
	assert_string_equal(addr_text(&none).s, "");
	assert_string_equal(prefix_text(&(struct prefix){ 0 }).s, "");
}

static void what_is_no_prefix_is_refused(void **state)
{
	static const char *const rows[] = {
		"", "/", "/24", "10.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/08",
		"10.0.0.0/8 ", " 10.0.0.0/8", "10.0.0.0/8/8", "010.0.0.0/8", "10.0.0.00", "256.0.0.0", "0x10.0.0.0",
		"fe80::1%eth0", "fe80::1%2/64", "::1/129", "1::2::3", ":::", "12345::", "10.0.0.0/99999999999999999999",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb/64",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct prefix p;
		struct err e = { 0 };

		print_message("\"%s\"\n", rows[i]);
		assert_true(prefix_parse(&p, rows[i], &e) < 0);
		assert_memory_equal(e.text, rows[i], strlen(rows[i]));
		assert_int_equal(p.addr.family, 0);
	}
}

static void containment(void **state)
{
	static const struct { const char *outer, *inner; bool covers, overlaps; } rows[] = {
		{ "10.42.0.0/16", "10.42.255.255", true, true }, { "10.42.0.0/16", "10.43.0.0", false, false },
		{ "10.42.0.64/26", "10.42.0.127", true, true }, { "10.42.0.64/26", "10.42.0.128", false, false },
		{ "0.0.0.0/0", "255.1.2.3/9", true, true }, { "0.0.0.0/0", "::/0", false, false },
		{ "10.0.0.0/9", "10.0.0.0/8", false, true }, { "fd00::/122", "fd00::3f", true, true },
		{ "fd00::/122", "fd00::40", false, false }, { "10.42.0.1/16", "10.42.9.9", true, true },
		{ "10.0.0.0/8", "10.0.0.0/8", true, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct prefix outer = prefix_of(rows[i].outer), inner = prefix_of(rows[i].inner);

		print_message("%s %s\n", rows[i].outer, rows[i].inner);
		assert_int_equal(prefix_covers(&outer, &inner), rows[i].covers);
		assert_int_equal(prefix_overlaps(&outer, &inner), rows[i].overlaps);
		assert_int_equal(prefix_overlaps(&inner, &outer), rows[i].overlaps);
	}
	assert_false(prefix_has(&(struct prefix){ 0 }, &(struct addr){ 0 }));
}

static void mask_clears_host_bits(void **state)
{
	static const char *const rows[][2] = {
		{ "10.42.17.65/26", "10.42.17.64/26" }, { "255.255.255.255/0", "0.0.0.0/0" },
		{ "255.255.255.255/31", "255.255.255.254/31" }, { "1.2.3.4/32", "1.2.3.4/32" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/65", "ffff:ffff:ffff:ffff:8000::/65" },
		{ "fd00::7f/122", "fd00::40/122" }, { "fd00::7f/128", "fd00::7f/128" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct prefix p = prefix_mask(prefix_of(rows[i][0]));

		assert_string_equal(prefix_text(&p).s, rows[i][1]);
	}
}

static void plus_carries_and_wraps(void **state)
{
	static const struct { const char *from; uint64_t n; const char *to; } rows[] = {
		{ "10.0.0.255", 1, "10.0.1.0" }, { "10.0.0.0", 65536 + 255, "10.1.0.255" },
		{ "255.255.255.255", 1, "0.0.0.0" }, { "0.0.0.0", UINT32_MAX, "255.255.255.255" },
		{ "::ffff:ffff:ffff:ffff", 1, "0:0:0:1::" }, { "fd00::", UINT64_MAX, "fd00::ffff:ffff:ffff:ffff" },
		{ "fd00::ff", 0, "fd00::ff" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct addr from = addr_of(rows[i].from), to = addr_plus(&from, rows[i].n);

		assert_string_equal(addr_text(&to).s, rows[i].to);
	}
}

static void distance_is_what_plus_added(void **state)
{
	struct addr v4 = addr_of("10.0.0.1"), v6 = addr_of("fd00::1"), far = addr_of("fd01::1");

	(void)state;
	srand(1);
	print_message("seed 1\n");
	for (int i = 0; i < 20000; i++) {
		struct addr a = { .family = i & 1 ? AF_INET6 : AF_INET }, b;
		uint64_t n = (uint64_t)rand() >> (rand() % 31);

		for (unsigned k = 0; k < addr_bytes(&a); k++)
			a.b[k] = (uint8_t)(rand() >> 3);
		a.b[0] &= 0x7f;		/* so that nothing wraps */
		if (i & 1)
			n = n << 31 | (uint64_t)rand();
		b = addr_plus(&a, n);
		assert_true(addr_distance(&a, &b) == n);
		assert_true(n == 0 || addr_distance(&b, &a) == UINT64_MAX);
		assert_int_equal(addr_cmp(&a, &b) < 0, n != 0);
	}
	assert_true(addr_distance(&v4, &v6) == UINT64_MAX);
	assert_true(addr_distance(&v6, &far) == UINT64_MAX);
}

static void order_and_kinds(void **state)
{
	struct prefix wide = prefix_of("10.0.0.0/8"), narrow = prefix_of("10.0.0.0/9"), next = prefix_of("10.0.0.1/8");
	struct addr a = prefix_of("10.42.17.65/32").addr;

	(void)state;
	assert_true(prefix_cmp(&wide, &narrow) < 0 && prefix_cmp(&narrow, &wide) > 0 && prefix_cmp(&narrow, &next) < 0);
	assert_true(prefix_equal(&wide, &wide) && !prefix_equal(&wide, &narrow));
	assert_string_equal(addr_text(&a).s, "10.42.17.65");
	assert_true(prefix_host(&a).len == 32);
	a = addr_of("fe80::1");
	assert_true(prefix_host(&a).len == 128);
	assert_true(addr_is_link_local(&a));
	a = addr_of("febf::1");
	assert_true(addr_is_link_local(&a));
	a = addr_of("fec0::1");
	assert_false(addr_is_link_local(&a));
	a = addr_of("169.254.1.1");
	assert_true(addr_is_link_local(&a) && !addr_is_loopback(&a));
	a = addr_of("127.1.1.1");
	assert_true(addr_is_loopback(&a));
	a = addr_of("::1");
	assert_true(addr_is_loopback(&a));
	a = addr_of("::2");
	assert_false(addr_is_loopback(&a));
	for (int i = 0; i < FAMILIES; i++)
		assert_int_equal(family_index(family_of(i)), i);
	assert_int_equal(family_of(FAMILY_V6), AF_INET6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_comes_back),
		cmocka_unit_test(what_is_no_prefix_is_refused),
		cmocka_unit_test(containment),
		cmocka_unit_test(mask_clears_host_bits),
		cmocka_unit_test(plus_carries_and_wraps),
		cmocka_unit_test(distance_is_what_plus_added),
		cmocka_unit_test(order_and_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
