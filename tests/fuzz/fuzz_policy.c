/*
 * Policies, as YAML, in a cluster of three pods: whatever they are, the verdict is that of the step which decides, a
 * rule lacks something exactly when it does not match, and one that is refused lets nobody in.
 */
#include <netinet/in.h>
#include <string.h>
#include "base/util.h"
#include "fuzz.h"
#include "model/verdict.h"
#include "store/store.h"

static const char cluster[] =
	"{apiVersion: v1, kind: Namespace, metadata: {name: x, labels: {ns: x}}}\n---\n"
	"{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x, labels: {pod: a, role: web}},"
	" spec: {containers: [{name: c, ports: [{name: serve-80-tcp, containerPort: 80}, {name: web, containerPort: 81}]}]},"
	" status: {podIPs: [{ip: 10.42.0.1}, {ip: 'fd00::1'}]}}\n---\n"
	"{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x, labels: {pod: b}}, status: {podIPs: [{ip: 10.42.0.2}]}}\n---\n"
	"{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: 'y', labels: {pod: a}}, status: {podIPs: [{ip: 10.42.1.1}, {ip: 'fd00::2'}]}}\n";
static const char *const pods[][2] = { { "x", "a" }, { "x", "b" }, { "y", "a" } };

static void on_object(void *ctx, struct store_object *o)
{
	if (!o->row)
		return;
	table_put(kind_table(o->ref.kind, ctx), o->row);
	o->row = NULL;
}

static void step_check(const struct step *s, enum direction d, const struct question *q)
{
	const struct policy *p = s->policy;
	autostr struct str why = { 0 };

	CLAIM(p->applies[d] && (!p->bad || s->rule == NO_RULE));
	if (s->rule == NO_RULE)
		return;
	CLAIM((unsigned)s->rule < p->rule_count[d]);
	CLAIM(s->matches == (rule_misses(&p->rules[d][s->rule], d, q, &why) == 0));
	CLAIM(s->matches || s->why.len);
}

static void verdict_check(const struct model *m, enum direction d, const struct question *q)
{
	const struct step *nearest;
	struct verdict v;

	verdict_reach(m, d, q, &v);
	for (unsigned i = 0; i < v.count; i++)
		step_check(&v.steps[i], d, q);
	if (v.count)
		CLAIM(v.steps[v.count - 1].matches && v.allow == (v.steps[v.count - 1].action == ACTION_ALLOW));
	else
		CLAIM(v.allow);
	nearest = verdict_nearest(&v);
	CLAIM(!nearest || (!v.allow && nearest->misses));
	verdict_free(&v);
}

static void pair_check(const struct model *m, const struct party *from, const struct party *to)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };

	for (size_t i = 0; i < 2 * ARRAY_SIZE(protocols); i++) {
		struct question q = { .from = from, .to = to, .family = i % 2, .protocol = protocols[i / 2], .port = 80 + i % 2 };

		verdict_check(m, INGRESS, &q);
		verdict_check(m, EGRESS, &q);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct config config = { .node_name = "here" };
	struct party who[ARRAY_SIZE(pods)];
	struct model m;
	struct err e = { 0 };
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	model_init(&m, &config);
	store_read_text(TEXT_YAML, text, size, on_object, &m, &e);
	CLAIM(store_read_text(TEXT_YAML, cluster, sizeof cluster - 1, on_object, &m, &e) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(pods); i++)
		CLAIM(party_of_pod(&m, pods[i][0], pods[i][1], &who[i]));
	for (size_t i = 0; i < ARRAY_SIZE(pods); i++)
		pair_check(&m, &who[i], &who[(i + 1) % ARRAY_SIZE(pods)]);
	model_fini(&m);
	free(text);
	return 0;
}
