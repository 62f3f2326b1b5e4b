/* links: src/store/kind.c src/store/kind_block.c src/store/kind_core.c src/store/kind_ipam.c src/store/kind_meta.c src/store/kind_pack.c src/store/kind_policy.c src/store/kind_ipamrules.c src/store/kind_pool.c src/store/kind_workload.c src/store/objects.c src/wire/yaml.c src/wire/yaml_names.c src/wire/yaml_plain.c src/wire/json.c src/wire/json_check.c src/wire/json_fields.c src/wire/json_out.c src/model/model.c src/model/policy.c src/model/selector.c src/model/tunnel.c src/base/arena.c src/base/digest.c src/base/err.c src/base/fs.c src/base/hash.c src/base/log.c src/base/mac.c src/base/prefix.c src/base/str.c src/base/table.c src/base/util.c src/model/miss.c src/model/verdict.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "model/verdict.h"
#include "store/store.h"

struct world { struct config config; struct model model; };

static const char cluster[] =
	"{apiVersion: v1, kind: Namespace, metadata: {name: web, labels: {team: red}}}\n"
	"---\n"
	"{apiVersion: v1, kind: Namespace, metadata: {name: db, labels: {team: blue}}}\n"
	"---\n"
	"apiVersion: v1\n"
	"kind: Pod\n"
	"metadata: {name: front, namespace: web, labels: {app: front, env: prod}}\n"
	"status: {podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}\n"
	"---\n"
	"apiVersion: v1\n"
	"kind: Pod\n"
	"metadata: {name: pg, namespace: db, labels: {app: pg}}\n"
	"spec: {containers: [{name: c, ports: [{name: sql, containerPort: 5432}]}]}\n"
	"status: {podIPs: [{ip: 10.0.1.1}, {ip: 'fd00::2'}]}\n";

static void on_object(void *ctx, struct store_object *o)
{
	struct world *w = ctx;

	assert_non_null(o->row);
	table_put(kind_table(o->ref.kind, &w->model), o->row);
	o->row = NULL;
}

static void put(struct world *w, const char *text)
{
	struct err e = { 0 };

	if (store_read_text(TEXT_YAML, text, strlen(text), on_object, w, &e) < 0)
		fail_msg("%s in %s", e.text, text);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	str_copy(w->config.node_name, sizeof w->config.node_name, "here");
	model_init(&w->model, &w->config);
	put(w, cluster);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	model_fini(&w->model);
	free(w);
	return 0;
}

static void policy(struct world *w, const char *name, const char *namespace, const char *spec)
{
	autostr struct str text = { 0 };

	str_printf(&text, "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: %s, namespace: %s}, "
		   "spec: {%s}}\n", name, namespace, spec);
	put(w, text.s);
}

/* The steps of web/front to db/pg, as "name[rule] action" or "name[rule] why", and the verdict. */
static void walk(struct world *w, enum direction d, uint16_t port, struct str *out)
{
	struct party from, to;
	struct question q = { .from = &from, .to = &to, .family = FAMILY_V4, .protocol = IPPROTO_TCP, .port = port };
	struct verdict v;

	assert_true(party_of_pod(&w->model, "web", "front", &from));
	assert_true(party_of_pod(&w->model, "db", "pg", &to));
	verdict_reach(&w->model, d, &q, &v);
	for (unsigned i = 0; i < v.count; i++) {
		const struct step *s = &v.steps[i];

		str_printf(out, "%s[%d] %s; ", s->policy->meta.name, s->rule, s->matches ? action_name(s->action) : str_text(&s->why));
	}
	str_puts(out, v.allow ? "allow" : "deny");
	verdict_free(&v);
}

static void expect(struct world *w, enum direction d, uint16_t port, const char *steps)
{
	autostr struct str text = { 0 };

	walk(w, d, port, &text);
	assert_string_equal(text.s, steps);
}

static void test_without_a_policy_everything_is_allowed(void **state)
{
	expect(*state, INGRESS, 80, "allow");
	expect(*state, EGRESS, 80, "allow");
}

static void test_each_step_until_a_rule_allows(void **state)
{
	struct world *w = *state;

	policy(w, "b", "db", "podSelector: {}, ingress: [{ports: [{port: 80}]}, {ports: [{port: sql}]}, {}]");
	policy(w, "a", "db", "podSelector: {matchLabels: {app: pg}}");
	policy(w, "other", "db", "podSelector: {matchLabels: {app: other}}");
	policy(w, "elsewhere", "web", "podSelector: {}, policyTypes: [Ingress]");
	expect(w, INGRESS, 5432, "a[-1] it has no rule; b[0] tcp/5432 is not tcp/80; b[1] allow; allow");
	expect(w, INGRESS, 80, "a[-1] it has no rule; b[0] allow; allow");
	expect(w, EGRESS, 80, "allow");
}

static void test_what_no_rule_allows_is_denied(void **state)
{
	struct world *w = *state;

	policy(w, "p", "web", "podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53, protocol: UDP}]}]");
	expect(w, EGRESS, 53, "p[0] tcp/53 is not udp/53; p[-1] deny; deny");
}

/* What is missing, of the peer that lacks least. */
static void test_why_a_rule_does_not_match(void **state)
{
	static const struct { const char *rule, *why; } cases[] = {
		{ "from: [{podSelector: {}}]", "namespace web is not db" },
		{ "from: [{podSelector: {matchLabels: {app: x}}}]", "namespace web is not db, pod front is not app == 'x'" },
		{ "from: [{namespaceSelector: {matchLabels: {team: blue}}}]", "namespace web is not team == 'blue'" },
		{ "from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: front, env: dev}}}]", "pod front is not env == 'dev'" },
		{ "from: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [b, front]}]}}]",
		  "pod front is not app not in {'b', 'front'}" },
		{ "from: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: env, operator: DoesNotExist}]}}]",
		  "pod front is not !has(env)" },
		{ "from: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: tier, operator: Exists}]}}]",
		  "pod front is not has(tier)" },
		{ "from: [{ipBlock: {cidr: 10.0.1.0/24}}]", "10.0.0.1 is not in 10.0.1.0/24" },
		{ "from: [{ipBlock: {cidr: 10.0.0.0/16, except: [10.0.0.0/24]}}]", "10.0.0.1 is in 10.0.0.0/24, which is excepted" },
		{ "from: [{ipBlock: {cidr: 'fd00::/64'}}]", "10.0.0.1 is not in fd00::/64" },
		{ "from: [{podSelector: {matchLabels: {app: x}}}, {ipBlock: {cidr: 10.0.1.0/24}}]", "10.0.0.1 is not in 10.0.1.0/24" },
		{ "from: [{podSelector: {}}], ports: [{port: 81}, {port: 90, endPort: 99}, {port: sql}, {protocol: SCTP}]",
		  "namespace web is not db, tcp/80 is not tcp/81 or tcp/90-99 or tcp/sql or sctp" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autostr struct str spec = { 0 }, want = { 0 };

		str_printf(&spec, "podSelector: {}, ingress: [{%s}]", cases[i].rule);
		str_printf(&want, "p[0] %s; p[-1] deny; deny", cases[i].why);
		policy(*state, "p", "db", spec.s);
		expect(*state, INGRESS, 80, want.s);
	}
}

static void test_nearest_is_the_rule_that_lacks_least(void **state)
{
	struct world *w = *state;
	struct party from, to;
	struct question q = { .from = &from, .to = &to, .family = FAMILY_V4, .protocol = IPPROTO_TCP, .port = 80 };
	struct verdict v;

	policy(w, "a", "db", "podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: 81}]}, {ports: [{port: 82}]}]");
	policy(w, "b", "db", "podSelector: {}");
	assert_true(party_of_pod(&w->model, "web", "front", &from));
	assert_true(party_of_pod(&w->model, "db", "pg", &to));
	verdict_reach(&w->model, INGRESS, &q, &v);
	assert_false(v.allow);
	assert_non_null(verdict_nearest(&v));
	assert_int_equal(verdict_nearest(&v)->rule, 1);
	verdict_free(&v);
	q.port = 82;
	verdict_reach(&w->model, INGRESS, &q, &v);
	assert_true(v.allow);
	assert_null(verdict_nearest(&v));
	verdict_free(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_without_a_policy_everything_is_allowed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_step_until_a_rule_allows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_no_rule_allows_is_denied, setup, teardown),
		cmocka_unit_test_setup_teardown(test_why_a_rule_does_not_match, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nearest_is_the_rule_that_lacks_least, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
