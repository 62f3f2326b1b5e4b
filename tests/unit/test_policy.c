/* links: src/store/kind.c src/store/kind_block.c src/store/kind_core.c src/store/kind_ipam.c src/store/kind_meta.c src/store/kind_pack.c src/store/kind_policy.c src/store/kind_ipamrules.c src/store/kind_pool.c src/store/kind_workload.c src/store/objects.c src/wire/yaml.c src/wire/yaml_names.c src/wire/yaml_plain.c src/wire/json.c src/wire/json_check.c src/wire/json_fields.c src/wire/json_out.c src/model/model.c src/model/policy.c src/model/selector.c src/model/tunnel.c src/base/arena.c src/base/digest.c src/base/err.c src/base/fs.c src/base/hash.c src/base/log.c src/base/mac.c src/base/prefix.c src/base/str.c src/base/table.c src/base/util.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "model/policy.h"
#include "store/store.h"

/* --- a small cluster --- */

struct world { struct config config; struct model model; };

static struct row *decode(const char *text, struct err *e)
{
	struct row *row;
	struct json j;

	if (json_parse(&j, text, strlen(text), e) < 0)
		fail_msg("%s in %s", e->text, text);
	row = kind_decode(&j, 0, NULL, e);
	json_free(&j);
	return row;
}

static void put(struct world *w, const char *text)
{
	struct err e = { 0 };
	struct row *row = decode(text, &e);
	struct json j;
	struct object_ref ref;

	if (!row || e.code)
		fail_msg("%s in %s", e.text, text);
	json_parse(&j, text, strlen(text), &e);
	row_free(kind_decode(&j, 0, &ref, &e));
	json_free(&j);
	table_put(kind_table(ref.kind, &w->model), row);
}

#define NAMESPACE(name, labels) \
	"{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"" name "\",\"labels\":{" labels "}}}"
#define POD(ns, name, labels, ip, rest) \
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"" ns "\",\"name\":\"" name "\"," \
	"\"labels\":{" labels "}},\"spec\":{\"nodeName\":\"other\"" rest "},\"status\":{\"phase\":\"Running\",\"podIP\":\"" ip "\"}}"
#define POLICY(spec) \
	"{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"NetworkPolicy\",\"metadata\":{\"namespace\":\"x\"," \
	"\"name\":\"p\"},\"spec\":{" spec "}}"
#define PORTS ",\"containers\":[{\"ports\":[{\"name\":\"http\",\"containerPort\":8080}," \
	"{\"name\":\"dns\",\"containerPort\":53,\"protocol\":\"UDP\"},{\"containerPort\":9}]}]," \
	"\"initContainers\":[{\"ports\":[{\"name\":\"side\",\"containerPort\":7}]}]"

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	str_copy(w->config.node_name, sizeof w->config.node_name, "here");
	model_init(&w->model, &w->config);
	put(w, NAMESPACE("x", "\"team\":\"red\""));
	put(w, NAMESPACE("y", "\"team\":\"blue\""));
	put(w, POD("x", "a", "\"app\":\"web\"", "10.0.0.1", PORTS));
	put(w, POD("x", "b", "\"app\":\"db\",\"tier\":\"\"", "10.0.0.2", ""));
	put(w, POD("y", "a", "\"app\":\"web\"", "10.0.1.1", ""));
	put(w, POD("z", "a", "", "10.0.2.1", ""));
	put(w, POD("x", "host", "\"app\":\"web\"", "192.0.2.1", ",\"hostNetwork\":true"));
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

static struct policy *policy(const char *text)
{
	struct err e = { 0 };
	struct row *row = decode(text, &e);

	if (!row || e.code)
		fail_msg("%s in %s", e.text, text);
	return (struct policy *)row;
}

static struct party pod(struct world *w, const char *namespace, const char *name)
{
	struct party p;

	assert_true(party_of_pod(&w->model, namespace, name, &p));
	return p;
}

/* Which of these pods a selector of the policy means: x/a, x/b, y/a, z/a, x/host, and an address of nobody. */
static const char *const everybody[] = { "x/a", "x/b", "y/a", "z/a", "x/host" };

static void members(struct world *w, char out[8], const struct peer *p)
{
	unsigned n = 0;
	struct party who;
	struct addr outside;

	for (size_t i = 0; i < ARRAY_SIZE(everybody); i++) {
		char namespace[2] = { everybody[i][0] };

		who = pod(w, namespace, everybody[i] + 2);
		out[n++] = peer_matches(p, &who, FAMILY_V4) ? "abcdef"[i] : '.';
	}
	addr_parse(&outside, "203.0.113.1", NULL);
	party_of_address(&w->model, &outside, &who);
	out[n++] = peer_matches(p, &who, FAMILY_V4) ? 'o' : '.';
	out[n] = '\0';
}

/* --- what is read --- */

static void test_whom_selectors_mean(void **state)
{
	struct world *w = *state;
	static const struct { const char *peer, *members; } cases[] = {
		{ "\"podSelector\":{}", "ab...." }, { "\"podSelector\":{\"matchLabels\":{\"app\":\"web\"}}", "a....." },
		{ "\"namespaceSelector\":{}", "abcd.." },
		{ "\"namespaceSelector\":{\"matchLabels\":{\"team\":\"blue\"}}", "..c..." },
		{ "\"namespaceSelector\":{\"matchLabels\":{\"kubernetes.io/metadata.name\":\"z\"}}", "...d.." },
		{ "\"namespaceSelector\":{},\"podSelector\":{\"matchLabels\":{\"app\":\"web\"}}", "a.c..." },
		{ "\"podSelector\":{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"NotIn\",\"values\":[\"web\"]}]}", ".b...." },
		{ "\"namespaceSelector\":{\"matchExpressions\":[{\"key\":\"team\",\"operator\":\"NotIn\",\"values\":[\"red\"]}]}", "..cd.." },
		{ "\"podSelector\":{\"matchExpressions\":[{\"key\":\"tier\",\"operator\":\"Exists\"}]}", ".b...." },
		{ "\"podSelector\":{\"matchExpressions\":[{\"key\":\"tier\",\"operator\":\"DoesNotExist\"}]}", "a....." },
		{ "\"podSelector\":{\"matchLabels\":{\"tier\":\"\"}}", ".b...." },
		{ "\"podSelector\":{\"matchLabels\":{\"tier\":\"\",\"app\":\"web\"}}", "......" },
		{ "\"ipBlock\":{\"cidr\":\"10.0.0.0/16\"}", "abcd.." }, { "\"ipBlock\":{\"cidr\":\"10.0.0.9/24\"}", "ab...." },
		{ "\"ipBlock\":{\"cidr\":\"0.0.0.0/0\",\"except\":[\"10.0.0.0/24\",\"10.0.0.1/32\"]}", "..cdeo" },
		{ "\"ipBlock\":{\"cidr\":\"::/0\"}", "......" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autostr struct str text = { 0 };
		struct policy *p;
		char have[8];

		str_printf(&text, POLICY("\"podSelector\":{},\"ingress\":[{\"from\":[{%s}]}]"), cases[i].peer);
		p = policy(text.s);
		members(w, have, &p->rules[INGRESS][0].peers[0]);
		if (strcmp(have, cases[i].members) != 0)
			fail_msg("%s: %s, want %s", cases[i].peer, have, cases[i].members);
		row_free(&p->row);
	}
}

static void test_policy_types(void **state)
{
	(void)state;
	static const struct { const char *spec; bool ingress, egress; } cases[] = {
		{ "\"podSelector\":{}", true, false }, { "\"podSelector\":{},\"ingress\":[]", true, false },
		{ "\"podSelector\":{},\"egress\":[]", true, false }, { "\"podSelector\":{},\"egress\":[{}]", true, true },
		{ "\"podSelector\":{},\"policyTypes\":[\"Egress\"]", false, true },
		{ "\"podSelector\":{},\"egress\":[{}],\"policyTypes\":[\"Ingress\"]", true, false },
		{ "\"podSelector\":{},\"policyTypes\":[]", true, false }, { "\"policyTypes\":null", true, false },
		{ "\"policyTypes\":[\"Egress\",\"Ingress\"]", true, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autostr struct str text = { 0 };
		struct policy *p;

		str_printf(&text, POLICY("%s"), cases[i].spec);
		p = policy(text.s);
		if (p->applies[INGRESS] != cases[i].ingress || p->applies[EGRESS] != cases[i].egress)
			fail_msg("%s", cases[i].spec);
		row_free(&p->row);
	}
}

static void test_ports(void **state)
{
	struct world *w = *state;
	struct party dst = pod(w, "x", "a"), other = pod(w, "x", "b");
	static const struct { const char *ports; uint8_t protocol; uint16_t port; bool yes; } cases[] = {
		{ "", IPPROTO_ICMP, 0, true }, { "{}", IPPROTO_TCP, 9, true }, { "{}", IPPROTO_UDP, 9, false },
		{ "{\"port\":80}", IPPROTO_TCP, 80, true }, { "{\"port\":80}", IPPROTO_UDP, 80, false },
		{ "{\"port\":80}", IPPROTO_TCP, 81, false }, { "{\"port\":80,\"endPort\":81}", IPPROTO_TCP, 81, true },
		{ "{\"port\":80,\"endPort\":80}", IPPROTO_TCP, 81, false }, { "{\"protocol\":\"SCTP\"}", IPPROTO_SCTP, 3, true },
		{ "{\"port\":1,\"endPort\":65535,\"protocol\":\"UDP\"}", IPPROTO_UDP, 65535, true },
		{ "{\"port\":\"http\"}", IPPROTO_TCP, 8080, true }, { "{\"port\":\"http\"}", IPPROTO_TCP, 80, false },
		{ "{\"port\":\"dns\"}", IPPROTO_TCP, 53, false }, { "{\"port\":\"dns\",\"protocol\":\"UDP\"}", IPPROTO_UDP, 53, true },
		{ "{\"port\":\"side\"}", IPPROTO_TCP, 7, true }, { "{\"port\":\"none\"}", IPPROTO_TCP, 80, false },
		{ "{\"port\":80},{\"port\":81}", IPPROTO_TCP, 81, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autostr struct str text = { 0 };
		struct policy *p;

		str_printf(&text, POLICY("\"ingress\":[{\"ports\":[%s]}],\"egress\":[{\"ports\":[%s]}]"), cases[i].ports,
			   cases[i].ports);
		p = policy(text.s);
		if (rule_matches(&p->rules[INGRESS][0], INGRESS, &dst, &other, FAMILY_V4, cases[i].protocol,
				 cases[i].port) != cases[i].yes)
			fail_msg("in %s", cases[i].ports);
		/* Towards a pod it is that pod's names that count. */
		if (rule_matches(&p->rules[EGRESS][0], EGRESS, &other, &dst, FAMILY_V4, cases[i].protocol,
				 cases[i].port) != cases[i].yes)
			fail_msg("out %s", cases[i].ports);
		row_free(&p->row);
	}
}

static void test_the_closed_reading_of_what_is_refused(void **state)
{
	struct world *w = *state;
	static const struct { const char *spec, *why, *members; bool ingress, egress; } cases[] = {
		{ "\"ingress\":[{\"ports\":[{\"port\":80,\"endPort\":79}]}],\"podSelector\":{\"matchLabels\":{\"app\":\"web\"}}",
		  "spec.ingress[0].ports[0]: endPort 79 is below port 80", "a.....", true, false },
		{ "\"ingress\":[{\"ports\":[{\"port\":\"http\",\"endPort\":79}]}]",
		  "spec.ingress[0].ports[0]: endPort needs a port that is a number", "ab....", true, false },
		{ "\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"10.0.0.0/8\",\"except\":[\"11.0.0.0/8\"]}}]}]",
		  "spec.ingress[0].from[0].ipBlock.except[0]: 11.0.0.0/8: not a part of 10.0.0.0/8", "ab....", true, false },
		{ "\"egress\":[{\"to\":[{\"ipBlock\":{\"cidr\":\"10.0.0.0/8\"},\"podSelector\":{}}]}],\"policyTypes\":[\"Egress\"]",
		  "spec.egress[0].to[0]: ipBlock cannot be together with a selector", "ab....", false, true },
		{ "\"ingress\":[{\"from\":[{}]}]", "spec.ingress[0].from[0]: want podSelector, namespaceSelector or ipBlock",
		  "ab....", true, false },
		{ "\"podSelector\":{\"matchLabels\":{\"app\":\"-\"}},\"policyTypes\":[\"Egress\"]",
		  "spec.podSelector.matchLabels: \"-\": not a label's value", "ab....", false, true },
		{ "\"podSelector\":{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Is\"}]}",
		  "spec.podSelector.matchExpressions[0].operator: want one of In, NotIn, Exists, DoesNotExist", "ab....",
		  true, false },
		{ "\"podSelector\":{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"}]}",
		  "spec.podSelector.matchExpressions[0]: In needs values", "ab....", true, false },
		{ "\"policyTypes\":[\"Out\"],\"podSelector\":{\"matchLabels\":{\"app\":\"db\"}}",
		  "spec.policyTypes[0]: want one of Ingress, Egress", ".b....", true, true },
		{ "\"ingress\":[{\"ports\":[{\"port\":0}]}]", "spec.ingress[0].ports[0].port: want 1 to 65535", "ab....", true, false },
		{ "\"ingress\":[{\"ports\":[{\"port\":\"80\"}]}]",
		  "spec.ingress[0].ports[0].port: \"80\": want a number or the name of a port", "ab....", true, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autostr struct str text = { 0 };
		struct err e = { 0 };
		struct policy *p;
		char have[8];

		str_printf(&text, POLICY("%s"), cases[i].spec);
		p = (struct policy *)decode(text.s, &e);
		assert_non_null(p);
		if (!e.code || !strstr(e.text, cases[i].why))
			fail_msg("%s: %s", cases[i].spec, e.text);
		assert_string_equal(p->bad, e.text);
		members(w, have, &p->target);
		assert_string_equal(have, cases[i].members);
		assert_int_equal(p->applies[INGRESS], cases[i].ingress);
		assert_int_equal(p->applies[EGRESS], cases[i].egress);
		assert_int_equal(p->rule_count[INGRESS] + p->rule_count[EGRESS], 0);
		row_free(&p->row);
	}
}

static void test_labels_of_the_longest_legal_size(void **state)
{
	(void)state;
	autostr struct str key = { 0 }, text = { 0 };
	struct policy *p;

	for (int i = 0; i < 126; i++)
		str_puts(&key, "a.");
	str_puts(&key, "a/");
	for (int i = 0; i < 63; i++)
		str_puts(&key, "b");
	str_printf(&text, POLICY("\"podSelector\":{\"matchLabels\":{\"%s\":\"%s\"}}"), key.s, key.s + key.len - 63);
	p = policy(text.s);
	assert_string_equal(p->target.pods->terms[0].key, key.s);
	row_free(&p->row);
}

static void test_policies_in_order(void **state)
{
	struct world *w = *state;
	struct party p = pod(w, "x", "a");
	const struct policy **list;
	static const char *const names[] = { "c", "a", "b" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		autostr struct str text = { 0 };

		str_printf(&text, "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"NetworkPolicy\",\"metadata\":"
			   "{\"namespace\":\"x\",\"name\":\"%s\"},\"spec\":{\"podSelector\":{},\"policyTypes\":[\"%s\"]}}",
			   names[i], i == 2 ? "Egress" : "Ingress");
		put(w, text.s);
	}
	assert_int_equal(policies_of(&w->model, &p, INGRESS, &list), 2);
	assert_string_equal(list[0]->row.key, "x/a");
	assert_string_equal(list[1]->row.key, "x/c");
	free(list);
	p = pod(w, "y", "a");
	assert_int_equal(policies_of(&w->model, &p, INGRESS, &list), 0);
	free(list);
	p = pod(w, "x", "host");
	assert_int_equal(policies_of(&w->model, &p, EGRESS, &list), 0);
	free(list);
}

/* An ended pod's address may be another's by now. */
static void test_whose_address(void **state)
{
	struct world *w = *state;
	struct party p;
	struct addr a;

	put(w, POD("y", "old", "\"app\":\"db\"", "10.0.0.1", ""));
	table_del(&w->model.pods, "x/a");
	addr_parse(&a, "10.0.0.1", NULL);
	party_of_address(&w->model, &a, &p);
	assert_string_equal(p.name, "old");
	put(w, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"y\",\"name\":\"old\"},"
	       "\"spec\":{\"nodeName\":\"other\"},\"status\":{\"phase\":\"Failed\",\"podIP\":\"10.0.0.1\"}}");
	party_of_address(&w->model, &a, &p);
	assert_false(p.is_pod);
	assert_true(addr_equal(&p.ips[FAMILY_V4], &a));
}

#define WITH_WORLD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_WORLD(test_whom_selectors_mean),
		cmocka_unit_test(test_policy_types),
		WITH_WORLD(test_ports),
		WITH_WORLD(test_the_closed_reading_of_what_is_refused),
		cmocka_unit_test(test_labels_of_the_longest_legal_size),
		WITH_WORLD(test_policies_in_order),
		WITH_WORLD(test_whose_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
