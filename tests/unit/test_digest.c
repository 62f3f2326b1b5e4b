/* links: src/base/digest.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/digest.h"

static void assert_hex(const uint8_t *digest, size_t len, const char *want)
{
	char text[65];

	hex_text(text, digest, len);
	assert_string_equal(text, want);
}

/* data[i] = 7 i + len; the values are Python's hashlib's. */
static void digests_around_block_limits(void **state)
{
	static const struct { size_t len; const char *sha1, *sha256, *sha3; } rows[] = {
		{ 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709",
		  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		  "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a" },
		{ 55, "63ac9708fb581dd150d3647549f9e0cb51dcf1df",
		  "81afe5b788dc2ce138ff83d9b20164db75a94d75d2b2432eea4a0ef605088c72",
		  "8b4ecd6ee4165a90d824f440efb51618e882ddbf026e1da9e18469bbfac0e5c6" },
		{ 64, "5f55a35e13f1865e7ffc22dca1275b1a49b0ff56",
		  "79322907b3e9d013d7dc2c2f256674dbf733045cde01df3539271c6f5605feb8",
		  "f57f60e28f34fac23919bf4ff8458ce7aac93ee2d2ad61a2f5e70ae23f02541e" },
		{ 135, "39efa73461141b7823dea473f4b34c5abcae24ad",
		  "0eea3025e4a37d3b2bd952fdee392fd179b4fec0aca90a9359d836f86b089a00",
		  "a936dec012587abe2bee1422bd71aa34ca72f35da145948cdf9e03a50e7e1c9b" },
		{ 136, "ff2002b8e87a6cc25c32bb9b95f99a8145e54b4c",
		  "b72d3b91114641dc389ef63339b20e5c9ee433830181cc1dfb0b31399238ad15",
		  "bdd56554bf27dee4a5d55347bc41811864f1bc07afd58416ce76862888580fee" },
		{ 273, "23d83b9fb68d4e7eb6936046db9a205e1825624c",
		  "d468c534ac8e2bd7795d64c50f3b911df9aaa008fa3f7d35d289fe4b197ee25d",
		  "78cc74e118fd2a6e6dac2894805dd040d1399a74f0be8a74419dd618ffb998c4" },
	};
	uint8_t data[300], out[32];

	(void)state;
	for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
		for (size_t i = 0; i < rows[r].len; i++)
			data[i] = (uint8_t)(7 * i + rows[r].len);
		sha1(out, data, rows[r].len);
		assert_hex(out, 20, rows[r].sha1);
		sha256(out, data, rows[r].len);
		assert_hex(out, 32, rows[r].sha256);
		sha3_256(out, data, rows[r].len);
		assert_hex(out, 32, rows[r].sha3);
	}
	sha3_256(out, "abc", 3);
	assert_hex(out, 32, "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532");
}

/* One digest over the digests of every length up to 300, from Python's hashlib. */
static void sha3_of_every_length(void **state)
{
	uint8_t data[300], all[301 * 32], out[32];

	(void)state;
	for (size_t len = 0; len <= 300; len++) {
		for (size_t i = 0; i < len; i++)
			data[i] = (uint8_t)(7 * i + len);
		sha3_256(all + 32 * len, data, len);
	}
	sha3_256(out, all, sizeof all);
	assert_hex(out, 32, "69fd44e84eaa578a3fbe34556c6fb7edc16373be06260aadfb158090326efefd");
}

static void host_interface_name(void **state)
{
	uint8_t out[20];

	(void)state;
	sha1(out, "default.web-0", 13);
	assert_hex(out, 20, "0d7763386da219ddff1faed1cc6576fb9d57d419");
}

static void fnv_vectors(void **state)
{
	(void)state;
	assert_true(fnv32a("", 0) == 0x811c9dc5 && fnv32a("a", 1) == 0xe40c292c && fnv32a("foobar", 6) == 0xbf9cf968);
	assert_true(fnv64a("", 0) == 0xcbf29ce484222325 && fnv64a("a", 1) == 0xaf63dc4c8601ec8c);
	assert_true(fnv64a("foobar", 6) == 0x85944171f73967e8);
}

/* RFC 4648 section 10, without the padding. */
static void base32_vectors(void **state)
{
	static const char *const want[] = { "", "MY", "MZXQ", "MZXW6", "MZXW6YQ", "MZXW6YTB", "MZXW6YTBOI" };
	uint8_t ones[32];
	char text[53];

	(void)state;
	for (size_t len = 0; len < sizeof want / sizeof *want; len++) {
		base32_text(text, (const uint8_t *)"foobar", len);
		assert_string_equal(text, want[len]);
		assert_int_equal(strlen(text), (len * 8 + 4) / 5);
	}
	memset(ones, 0xff, sizeof ones);
	base32_text(text, ones, sizeof ones);
	assert_string_equal(text, "777777777777777777777777777777777777777777777777777Q");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digests_around_block_limits),
		cmocka_unit_test(sha3_of_every_length),
		cmocka_unit_test(host_interface_name),
		cmocka_unit_test(fnv_vectors),
		cmocka_unit_test(base32_vectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
