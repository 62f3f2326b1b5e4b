/* links: src/wire/json_out.c src/wire/json_check.c src/base/str.c src/base/err.c src/base/util.c src/base/log.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire/json.h"

static void commas_and_names(void **state)
{
	autostr struct str b = { 0 };
	struct json_out o = { .to = &b };

	(void)state;
	json_open(&o, NULL, '{');
	json_open(&o, "empty", '[');
	json_close(&o, ']');
	json_open(&o, "list", '[');
	json_put_int(&o, NULL, INT64_MIN);
	json_put_bool(&o, NULL, true);
	json_open(&o, NULL, '{');
	json_close(&o, '}');
	json_put_null(&o, NULL);
	json_close(&o, ']');
	json_put_string(&o, "text", "x");
	json_put_string(&o, "none", NULL);
	json_put_raw(&o, "raw", "{\"a\":[1]}tail", 9);
	json_put_bool(&o, "no", false);
	json_close(&o, '}');
	assert_string_equal(str_text(&b), "{\"empty\":[],\"list\":[-9223372036854775808,true,{},null],\"text\":\"x\","
			    "\"none\":null,\"raw\":{\"a\":[1]},\"no\":false}");
}

static void text_is_escaped(void **state)
{
	static const char *const rows[][2] = {
		{ "", "\"\"" }, { "a\"b\\c/d", "\"a\\\"b\\\\c/d\"" }, { "\b\f\n\r\t\x01\x1f\x7f", "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"" },
		{ "\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\"" },
		{ "a\xff" "b\xc3", "\"a\xef\xbf\xbd" "b\xef\xbf\xbd\"" }, { "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		autostr struct str b = { 0 };
		struct json_out o = { .to = &b };

		json_put_string(&o, NULL, rows[i][0]);
		assert_string_equal(str_text(&b), rows[i][1]);
	}
}

static void names_are_escaped_too(void **state)
{
	autostr struct str b = { 0 };
	struct json_out o = { .to = &b };

	(void)state;
	json_open(&o, NULL, '{');
	json_put_int(&o, "a\"\n", 1);
	json_close(&o, '}');
	assert_string_equal(str_text(&b), "{\"a\\\"\\n\":1}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commas_and_names),
		cmocka_unit_test(text_is_escaped),
		cmocka_unit_test(names_are_escaped_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
