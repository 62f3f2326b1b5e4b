/* links: src/base/mac.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/mac.h"
#include "base/util.h"

static void text_and_bytes_are_the_same(void **state)
{
	static const uint8_t all[6] = { 0x00, 0x1f, 0xa0, 0x5e, 0xff, 0x09 };
	uint8_t mac[6];
	(void)state;

	assert_string_equal(mac_text(all).s, "00:1f:a0:5e:ff:09");
	assert_true(mac_parse(mac, "00:1f:a0:5e:ff:09"));
	assert_memory_equal(mac, all, sizeof all);
	assert_true(mac_parse(mac, "00:1F:A0:5e:fF:09"));
	assert_memory_equal(mac, all, sizeof all);
}

static void other_texts_are_refused(void **state)
{
	static const char *const bad[] = { "", ":::::", "00:1f:a0:5e:ff", "00:1f:a0:5e:ff:0", "00:1f:a0:5e:ff:09:", "00-1f-a0-5e-ff-09",
		"0g:1f:a0:5e:ff:09", "00:1f:a0:5e:ff:0/", "00:1f:a0:5e:ff::9", "0:01f:a0:5e:ff:09" };
	uint8_t mac[6];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(mac_parse(mac, bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_and_bytes_are_the_same),
		cmocka_unit_test(other_texts_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
