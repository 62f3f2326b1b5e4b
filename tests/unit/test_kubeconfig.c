/* links: src/wire/kubeconfig.c src/wire/yaml.c src/wire/yaml_names.c src/wire/yaml_plain.c src/wire/json.c src/wire/json_check.c src/wire/json_fields.c src/wire/json_out.c src/base/arena.c src/base/err.c src/base/log.c src/base/prefix.c src/base/str.c src/base/util.c src/base/hash.c src/base/digest.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "base/util.h"
#include "wire/kubeconfig.h"

static struct arena mem;

#define CLUSTERS \
	"apiVersion: v1\nkind: Config\n" \
	"clusters:\n- name: one\n  cluster:\n    server: https://10.0.0.1:6443\n    certificate-authority-data: QQ==\n" \
	"- cluster:\n    server: https://two.example/k8s\n    certificate-authority: ca.crt\n    tls-server-name: kube\n" \
	"    insecure-skip-tls-verify: false\n  name: two\n" \
	"contexts:\n- context: { cluster: one, user: first }\n  name: a\n- context: { cluster: two, user: second, namespace: x }\n  name: b\n"
#define USERS \
	"users:\n- name: first\n  user: { client-certificate-data: Qg==, client-key-data: Qw== }\n" \
	"- name: second\n  user: { tokenFile: /run/token, client-certificate: c.pem, client-key: k.pem, exec: null }\n"

static int read_text(struct kubeconfig *k, const char *text, struct err *e)
{
	*e = (struct err){ 0 };
	return kubeconfig_read(k, text, strlen(text), &mem, e);
}

static void the_current_context_decides(void **state)
{
	struct kubeconfig k;
	struct err e;
	(void)state;

	assert_int_equal(read_text(&k, CLUSTERS USERS "current-context: a\n", &e), 0);
	assert_string_equal(k.server, "https://10.0.0.1:6443");
	assert_string_equal(k.ca_data, "QQ==");
	assert_string_equal(k.cert_data, "Qg==");
	assert_string_equal(k.key_data, "Qw==");
	assert_true(!k.ca_file && !k.token && !k.token_file && !k.tls_server_name && !k.cert_file && !k.key_file);
	assert_int_equal(read_text(&k, CLUSTERS USERS "current-context: b\n", &e), 0);
	assert_string_equal(k.server, "https://two.example/k8s");
	assert_string_equal(k.tls_server_name, "kube");
	assert_string_equal(k.ca_file, "ca.crt");
	assert_string_equal(k.token_file, "/run/token");
	assert_string_equal(k.cert_file, "c.pem");
	assert_string_equal(k.key_file, "k.pem");
	assert_true(!k.ca_data && !k.cert_data && !k.key_data && !k.token);
}

static void json_is_read_too(void **state)
{
	struct kubeconfig k;
	struct err e;
	(void)state;

	assert_int_equal(read_text(&k, "{\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"https://[fd00::1]\"}}],\n"
				   "\"users\":[{\"name\":\"u\",\"user\":{\"token\":\"t\"}}],\n"
				   "\"contexts\":[{\"name\":\"x\",\"context\":{\"cluster\":\"c\",\"user\":\"u\"}}],"
				   "\"current-context\":\"x\"}", &e), 0);
	assert_string_equal(k.server, "https://[fd00::1]");
	assert_string_equal(k.token, "t");
}

static void what_will_not_do_is_named(void **state)
{
	static const struct { const char *text, *why; } cases[] = {
		{ "", "want an object" },
		{ "- a\n", "want an object" },
		{ "a: [\n", "" },
		{ CLUSTERS USERS, "current-context: missing" },
		{ CLUSTERS USERS "current-context: c\n", "contexts: there is no context called c" },
		{ CLUSTERS USERS "current-context: [a]\n", "current-context: want a string" },
		{ CLUSTERS "current-context: a\n", "there is no user called first" },
		{ CLUSTERS "users: []\ncurrent-context: a\n", "users: there is no user called first" },
		{ CLUSTERS "users:\n- name: first\n  user: x\ncurrent-context: a\n", "users[0].user: want an object" },
		{ CLUSTERS "users:\n- name: first\n  user: { token: 7 }\ncurrent-context: a\n", "users[0].user.token: want a string" },
		{ CLUSTERS "users:\n- name: first\n  user:\n    exec: { command: aws }\ncurrent-context: a\n", "users[0].user.exec: programs are not run" },
		{ CLUSTERS "users:\n- name: first\n  user: { auth-provider: { name: gcp } }\ncurrent-context: a\n",
		  "users[0].user.auth-provider: not supported" },
		{ CLUSTERS "users:\n- name: first\n  user: { username: admin, password: x }\ncurrent-context: a\n",
		  "users[0].user.username: passwords are not supported" },
		{ CLUSTERS "users:\n- name: first\n  user: { as: admin }\ncurrent-context: a\n", "users[0].user.as: not supported" },
		{ "clusters: [{ name: c, cluster: { server: s, insecure-skip-tls-verify: true } }]\n"
		  "contexts: [{ name: x, context: { cluster: c, user: u } }]\ncurrent-context: x\n",
		  "1:71: clusters[0].cluster.insecure-skip-tls-verify: a server is always verified" },
		{ "clusters: [{ name: c, cluster: { server: s, proxy-url: http://p } }]\n"
		  "contexts: [{ name: x, context: { cluster: c, user: u } }]\ncurrent-context: x\n",
		  "clusters[0].cluster.proxy-url: proxies are not supported" },
		{ "clusters: [{ name: c, cluster: { } }]\ncontexts: [{ name: x, context: { cluster: c, user: u } }]\ncurrent-context: x\n",
		  "clusters[0].cluster.server: missing" },
		{ "contexts: [{ name: x, context: { cluster: c } }]\ncurrent-context: x\n", "contexts[0].context.user: missing" },
	};
	struct kubeconfig k;
	struct err e;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(read_text(&k, cases[i].text, &e), -EINVAL);
		if (!strstr(e.text, cases[i].why))
			fail_msg("%zu: %s", i, e.text);
	}
}

static int free_mem(void **state)
{
	(void)state;
	arena_free(&mem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_current_context_decides),
		cmocka_unit_test(json_is_read_too),
		cmocka_unit_test(what_will_not_do_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, free_mem);
}
