/* links: src/cni/rules.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/util.h"
#include "cni/cni_int.h"

static void verbs_need_what_the_specification_says(void **state)
{
	static const struct { const char *name, *since; unsigned needs; } rows[] = {
		{ "ADD", "0.3.1", NEEDS_CONTAINER | NEEDS_NETNS | NEEDS_IFNAME | NEEDS_PATH },
		{ "DEL", "0.3.1", NEEDS_CONTAINER | NEEDS_IFNAME | NEEDS_PATH },
		{ "CHECK", "0.4.0", NEEDS_CONTAINER | NEEDS_NETNS | NEEDS_IFNAME | NEEDS_PATH },
		{ "STATUS", "1.1.0", NEEDS_PATH }, { "GC", "1.1.0", NEEDS_PATH }, { "VERSION", "0.3.1", 0 },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct cni_verb *v = cni_verb_named(rows[i].name);

		assert_non_null(v);
		assert_int_equal(v->flags, rows[i].needs);
		for (const char *const *version = cni_versions; *version; version++)
			assert_int_equal(cni_verb_in_version(v, *version), strcmp(*version, rows[i].since) >= 0);
		assert_false(cni_verb_in_version(v, "0.2.0"));
		assert_false(cni_verb_in_version(v, NULL));
	}
	assert_null(cni_verb_named("add"));
	assert_null(cni_verb_named(""));
	assert_null(cni_verb_named(NULL));
}

static void names_make_no_path(void **state)
{
	static const char *const good[] = { "a", "0", "A.b_c-d", "k8s-pod-network" };
	static const char *const bad[] = { "", "-a", ".a", "_a", "a/b", "a b", "a\n", "a@b", "\xc3\xbc", "..", "a%" };
	char text[255];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(cni_name_valid(good[i]) && cni_pod_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(cni_name_valid(bad[i]) || cni_pod_valid(bad[i]));
	assert_false(cni_name_valid(NULL));
	memset(text, 'x', sizeof text);
	text[254] = '\0';
	assert_false(cni_pod_valid(text));
	text[253] = '\0';
	assert_true(cni_pod_valid(text));
	assert_false(cni_name_valid(text));
	text[200] = '\0';
	assert_true(cni_name_valid(text));
}

static void interface_names_are_the_kernels(void **state)
{
	static const char *const good[] = { "e", "eth0", "a.1", "...", "fifteen-letters", "net\"1" };
	static const char *const bad[] = { "", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\n", "eth%d", "sixteen-letters-",
					   "all", "default" };
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(cni_ifname_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(cni_ifname_valid(bad[i]));
	assert_false(cni_ifname_valid(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verbs_need_what_the_specification_says),
		cmocka_unit_test(names_make_no_path),
		cmocka_unit_test(interface_names_are_the_kernels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
