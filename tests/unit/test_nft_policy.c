/* links: src/nft/ruleset.c src/nft/ruleset_text.c src/nft/field.c src/nft/expr.c src/nft/message.c src/nft/asker.c src/nft/base.c src/nft/hostport.c src/nft/want.c src/nft/policy.c src/nft/profile.c src/nft/decision.c src/nft/peers.c src/nft/refused.c src/nft/conntrack.c src/nft/have.c src/nft/apply.c src/nft/table.c src/nft/probe.c src/nft/nft.c src/nft/forward.c src/nl/nl.c src/nl/nl_attr.c src/model/model.c src/model/policy.c src/model/selector.c src/model/index.c src/model/tunnel.c src/model/config.c src/model/config_value.c src/base/fs.c src/base/hash.c src/base/arena.c src/base/digest.c src/base/err.c src/base/log.c src/base/mac.c src/base/loop.c src/base/prefix.c src/base/str.c src/base/table.c src/base/thread.c src/base/util.c src/store/kind.c src/store/kind_block.c src/store/kind_core.c src/store/kind_ipam.c src/store/kind_meta.c src/store/kind_pack.c src/store/kind_policy.c src/store/kind_ipamrules.c src/store/kind_pool.c src/store/kind_workload.c src/store/objects.c src/wire/yaml.c src/wire/yaml_names.c src/wire/yaml_plain.c src/wire/json.c src/wire/json_check.c src/wire/json_fields.c src/wire/json_out.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "nft/policy.h"
#include "store/kind.h"

/*
 * A random cluster that changes: after each change the table must be what a fresh start makes of the
 * rows, and a packet that walks through it must fare as the policies' own words say.
 */

static struct config config;
static struct model model;
static struct nft *nft;
static struct loop loop;

static struct nft *nft_fresh(void)
{
	struct nft *n = xcalloc(1, sizeof *n);

	n->loop = &loop;
	n->model = &model;
	n->command.fd = n->events.fd = -1;
	n->nat = ANSWER_YES;
	n->full = n->table = true;
	n->conntrack = ANSWER_YES;
	n->flows.watch.fd = -1;
	policies_open(n);
	base_sets(n);
	return n;
}

static int set_up(void **state)
{
	(void)state;
	config = (struct config){ 0 };
	str_copy(config.node_name, sizeof config.node_name, "self");
	model_init(&model, &config);
	nft = nft_fresh();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	timer_del(&loop, &nft->second_look);
	nft_free(nft);
	model_fini(&model);
	return 0;
}

/* ---- rows ---- */

static void put(const char *text)
{
	struct object_ref ref;
	struct err e = { 0 };
	struct row *row;
	struct json j;

	if (json_parse(&j, text, strlen(text), &e) < 0)
		fail_msg("%s in %s", e.text, text);
	row = kind_decode(&j, 0, &ref, &e);
	json_free(&j);
	if (!row || (e.code && !ref.kind->closed))
		fail_msg("%s in %s", e.text, text);
	table_put(kind_table(ref.kind, &model), row);
}

static void put_endpoint(const char *key, const char *namespace, const char *pod, const char *v4, const char *v6)
{
	struct endpoint *e = row_new(sizeof *e);
	static int ifindex = 1;

	e->row.key = arena_str(&e->row.mem, key);
	e->namespace = arena_str(&e->row.mem, namespace);
	e->pod = arena_str(&e->row.mem, pod);
	e->row.digest = (uint64_t)(e->ifindex = ++ifindex);
	if (v4)
		addr_parse(&e->ips[FAMILY_V4], v4, NULL);
	if (v6)
		addr_parse(&e->ips[FAMILY_V6], v6, NULL);
	table_put(&model.endpoints, &e->row);
}

#define META(api, kind, ns, name) \
	"{\"apiVersion\":\"" api "\",\"kind\":\"" kind "\",\"metadata\":{\"namespace\":\"" ns "\",\"name\":\"" name "\""

static unsigned pick(unsigned n)
{
	return (unsigned)rand() % n;
}

enum { SPACES = 3, NAMES = 6, POLICIES = 5 };
static const char *const values[] = { "", "x", "y", "z" };

static void labels_random(struct str *t)
{
	static const char *const keys[] = { "a", "b", "c" };
	unsigned put_already = 0;

	str_puts(t, "{");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (pick(2))
			str_printf(t, "%s\"%s\":\"%s\"", put_already++ ? "," : "", keys[i], values[pick(4)]);
	str_puts(t, "}");
}

static void selector_random(struct str *t)
{
	static const char *const ops[] = { "In", "NotIn", "Exists", "DoesNotExist" };
	unsigned op = pick(4);

	if (pick(4) == 0) {
		str_puts(t, "{}");
	} else if (pick(2)) {
		str_puts(t, "{\"matchLabels\":");
		labels_random(t);
		str_puts(t, "}");
	} else {
		str_printf(t, "{\"matchExpressions\":[{\"key\":\"%c\",\"operator\":\"%s\"", "abc"[pick(3)], ops[op]);
		str_printf(t, op < 2 ? ",\"values\":[\"%s\",\"%s\"]}]}" : "}]}", values[pick(4)], values[pick(4)]);
	}
}

static void peer_random(struct str *t)
{
	static const char *const nets[] = { "10.42.0.0/24", "10.42.1.0/24", "10.42.0.8/29", "0.0.0.0/0", "10.42.0.0/16",
					    "fd00::/64", "::/0", "fd00::4/126", "10.42.0.3/32", "128.0.0.0/1" };
	static const char *const holes[] = { "10.42.0.1/32", "10.42.0.4/30", "10.42.0.2/31", "10.42.1.0/24" };

	if (pick(3) == 0) {
		const char *net = nets[pick(ARRAY_SIZE(nets))];

		str_printf(t, "{\"ipBlock\":{\"cidr\":\"%s\"", net);
		if (strcmp(net, "0.0.0.0/0") == 0 || strcmp(net, "10.42.0.0/16") == 0)
			str_printf(t, ",\"except\":[\"%s\",\"%s\"]", holes[pick(4)], holes[pick(4)]);
		str_puts(t, "}}");
		return;
	}
	str_puts(t, "{");
	if (pick(3)) {
		str_puts(t, "\"podSelector\":");
		selector_random(t);
		str_puts(t, pick(2) ? "}" : ",\"namespaceSelector\":{}}");
		return;
	}
	str_puts(t, "\"namespaceSelector\":");
	selector_random(t);
	str_puts(t, "}");
}

static void port_random(struct str *t)
{
	static const char *const protocols[] = { "TCP", "UDP", "SCTP" };
	unsigned first = 1 + pick(8);

	str_printf(t, "{\"protocol\":\"%s\"", protocols[pick(3)]);
	switch (pick(6)) {
	case 0:
		break;
	case 1:
		str_printf(t, ",\"port\":\"name%u\"", pick(3));
		break;
	case 2:
		str_printf(t, ",\"port\":%u,\"endPort\":%u", first, first + (pick(2) ? pick(5) : pick(200)));
		break;
	default:
		str_printf(t, ",\"port\":%u", first);
	}
	str_puts(t, "}");
}

static void list_random(struct str *t, const char *name, void (*item)(struct str *t), unsigned most)
{
	unsigned count = pick(most + 1);

	str_printf(t, "\"%s\":[", name);
	for (unsigned i = 0; i < count; i++) {
		str_puts(t, i ? "," : "");
		item(t);
	}
	str_puts(t, "]");
}

static void rules_random(struct str *t, const char *name, const char *peers)
{
	unsigned count = pick(3);

	str_printf(t, "\"%s\":[", name);
	for (unsigned i = 0; i < count; i++) {
		str_puts(t, i ? ",{" : "{");
		list_random(t, peers, peer_random, 4);
		str_puts(t, ",");
		list_random(t, "ports", port_random, 3);
		str_puts(t, "}");
	}
	str_puts(t, "]");
}

static void policy_random(void)
{
	static const char *const types[] = { "", ",\"policyTypes\":[\"Ingress\"]", ",\"policyTypes\":[\"Egress\"]",
					     ",\"policyTypes\":[\"Ingress\",\"Egress\"]" };
	autostr struct str t = { 0 };
	unsigned space = pick(SPACES), name = pick(POLICIES);
	char key[16];

	snprintf(key, sizeof key, "s%u/p%u", space, name);
	if (pick(4) == 0) {
		table_del(&model.network_policies, key);
		return;
	}
	str_printf(&t, META("networking.k8s.io/v1", "NetworkPolicy", "s%u", "p%u") "},\"spec\":{\"podSelector\":", space, name);
	selector_random(&t);
	str_puts(&t, ",");
	rules_random(&t, "ingress", "from");
	str_puts(&t, ",");
	rules_random(&t, "egress", "to");
	str_printf(&t, "%s%s}}", types[pick(4)], pick(20) ? "" : ",\"policyTypes\":[\"Sideways\"]");
	put(pick(20) ? t.s : META("networking.k8s.io/v1", "NetworkPolicy", "s0", "p0") "},\"spec\":7}");
}

static void pod_random(void)
{
	static const char *const phases[] = { "Running", "Running", "Running", "Succeeded", "Failed" };
	static const char *const protocols[] = { "TCP", "UDP", "SCTP" };
	autostr struct str t = { 0 };
	unsigned space = pick(SPACES), name = pick(NAMES);
	char key[16];

	snprintf(key, sizeof key, "s%u/d%u", space, name);
	if (pick(4) == 0) {
		table_del(&model.pods, key);
		return;
	}
	str_printf(&t, META("v1", "Pod", "s%u", "d%u") ",\"labels\":", space, name);
	labels_random(&t);
	str_printf(&t, "},\"spec\":{\"nodeName\":\"%s\",\"hostNetwork\":%s,\"containers\":[{\"ports\":[",
		   pick(2) ? "self" : "other", pick(6) ? "false" : "true");
	for (unsigned i = 0; i < 2; i++)
		str_printf(&t, "%s{\"name\":\"name%u\",\"containerPort\":%u,\"protocol\":\"%s\"}", i ? "," : "", pick(3),
			   1 + pick(8), protocols[pick(3)]);
	str_printf(&t, "]}]},\"status\":{\"phase\":\"%s\",\"podIPs\":[{\"ip\":\"10.42.1.%u\"},{\"ip\":\"fd00::%x\"}]}}",
		   phases[pick(5)], 1 + space * NAMES + name, 0x100 + space * NAMES + name);
	put(t.s);
}

static void namespace_random(void)
{
	autostr struct str t = { 0 };
	unsigned space = pick(SPACES);
	char key[16];

	snprintf(key, sizeof key, "s%u", space);
	if (pick(4) == 0) {
		table_del(&model.namespaces, key);
		return;
	}
	str_printf(&t, "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"s%u\",\"labels\":", space);
	labels_random(&t);
	str_puts(&t, "}}");
	put(t.s);
}

static void endpoint_random(void)
{
	unsigned space = pick(SPACES), name = pick(NAMES), number = space * NAMES + name;
	char key[32], ns[8], pod[8], v4[32], v6[32];

	snprintf(key, sizeof key, "c%u/eth0", number);
	snprintf(ns, sizeof ns, "s%u", space);
	snprintf(pod, sizeof pod, "d%u", name);
	snprintf(v4, sizeof v4, "10.42.0.%u", 1 + number);
	snprintf(v6, sizeof v6, "fd00::%x", 1 + number);
	if (pick(3))
		put_endpoint(key, ns, pick(10) ? pod : "", pick(5) ? v4 : NULL, pick(3) ? v6 : NULL);
	else
		table_del(&model.endpoints, key);
}

static void workload_random(void)
{
	autostr struct str t = { 0 };
	unsigned space = pick(SPACES), name = pick(NAMES);
	char key[16];

	snprintf(key, sizeof key, "s%u/w%u", space, name);
	if (pick(3) == 0) {
		table_del(&model.workloads, key);
		return;
	}
	str_printf(&t, META("projectcalico.org/v3", "WorkloadEndpoint", "s%u", "w%u") "},\"spec\":{\"node\":\"%s\",\"pod\":\"d%u\","
		   "\"ipNetworks\":[\"10.42.2.%u/32\",\"fd00::2:%x/128\"]}}", space, name, pick(4) ? "other" : "self",
		   pick(NAMES), 1 + space * NAMES + name, 1 + space * NAMES + name);
	put(t.s);
}

static void change(void)
{
	static void (*const changes[])(void) = { policy_random, policy_random, pod_random, pod_random, namespace_random,
					       endpoint_random, endpoint_random, workload_random };

	changes[pick(ARRAY_SIZE(changes))]();
}

/* ---- a packet that walks through the table ---- */

struct packet { int family; struct addr src, dst; uint8_t protocol; uint16_t port; bool leaves; };

static unsigned field_bytes(const struct packet *p, uint8_t field, uint8_t *to)
{
	switch (field) {
	case FIELD_IP_SADDR:
	case FIELD_IP6_SADDR:
		memcpy(to, p->src.b, addr_bytes(&p->src));
		break;
	case FIELD_IP_DADDR:
	case FIELD_IP6_DADDR:
		memcpy(to, p->dst.b, addr_bytes(&p->dst));
		break;
	case FIELD_PROTOCOL:
		to[0] = p->protocol;
		break;
	case FIELD_DPORT:
		to[0] = (uint8_t)(p->port >> 8);
		to[1] = (uint8_t)p->port;
		break;
	case FIELD_CT_STATE:
		memcpy(to, &(uint32_t){ 8 }, 4);	/* new */
		break;
	case FIELD_IIFNAME:
		memcpy(to, "eth0", 5);			/* the source's own side is walked by itself */
		break;
	case FIELD_OIFNAME:
		memcpy(to, p->leaves ? "eth0\0" : "cali0", 6);
		break;
	default:
		fail_msg("field %u", field);
	}
	return (field_info[field].len + 3u) & ~3u;
}

static bool has_fields(const struct packet *p, const struct match *m)
{
	for (unsigned i = 0; i < KEY_FIELDS && m->fields[i]; i++) {
		bool v6 = m->fields[i] == FIELD_IP6_SADDR || m->fields[i] == FIELD_IP6_DADDR;
		bool v4 = m->fields[i] == FIELD_IP_SADDR || m->fields[i] == FIELD_IP_DADDR;

		if ((v4 && p->family != FAMILY_V4) || (v6 && p->family != FAMILY_V6))
			return false;
		if (m->fields[i] == FIELD_DPORT && (p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6))
			return false;
	}
	return true;
}

/* The nearest border at or below the key says whether it is inside. */
static bool in_ranges(const struct set *s, const uint8_t *key)
{
	const struct element *best = NULL;

	hash_each(&s->elements, at) {
		const struct element *e = container_of(at, struct element, node);

		if (e->wants && memcmp(e->key, key, s->key_len) <= 0 &&
		    (!best || memcmp(e->key, best->key, s->key_len) > 0))
			best = e;
	}
	return best && !best->key[s->key_len];
}

static bool set_match(const struct packet *p, const struct match *m, struct target *t)
{
	uint8_t key[KEY_MAX] = { 0 };
	unsigned len = 0;

	for (unsigned i = 0; i < KEY_FIELDS && m->fields[i]; i++)
		len += field_bytes(p, m->fields[i], key + len);
	if (m->set->kind == SET_RANGES)
		return in_ranges(m->set, key);
	hash_each(&m->set->elements, at) {
		const struct element *e = container_of(at, struct element, node);

		if (!e->wants || memcmp(e->key, key, m->set->key_len) != 0)
			continue;
		if (m->set->kind == SET_VERDICTS)
			memcpy(t, e->key + m->set->key_len, sizeof *t);
		return true;
	}
	return false;
}

static bool value_match(const struct packet *p, const struct match *m)
{
	uint8_t value[16] = { 0 };
	unsigned len = field_info[m->fields[0]].len;

	field_bytes(p, m->fields[0], value);
	if (m->how == MATCH_RANGE)
		return memcmp(value, m->value, len) >= 0 && memcmp(value, m->value + len, len) <= 0;
	if (m->how == MATCH_ANY_BIT)
		return value[0] & m->value[0] || value[3] & m->value[3];
	return memcmp(value, m->value, m->bits / 8) == 0;
}

static bool rule_fits(const struct packet *p, const struct rule *r, struct target *t)
{
	*t = target_of(r->verdict, r->to);
	for (const struct match *m = r->matches; m; m = m->next)
		if (!has_fields(p, m) || (m->set ? set_match(p, m, t) : value_match(p, m)) == m->negate)
			return false;
	return true;
}

static enum verdict walk(const struct packet *p, const char *chain)
{
	const struct chain *c = chain_find(&nft->rules, chain);

	assert_non_null(c);
	assert_true(c->wanted);
	for (const struct rule *r = c->rules.first; r; r = r->next) {
		struct target t;

		if (!rule_fits(p, r, &t))
			continue;
		if (t.verdict == VERDICT_GOTO)
			return walk(p, t.chain);
		return t.verdict;
	}
	return VERDICT_RETURN;
}

/* ---- what should become of it ---- */

static bool side_allows(const struct packet *p, enum direction d, const struct party *self, const struct party *other)
{
	const struct policy **list;
	unsigned count = policies_of(&model, self, d, &list);
	bool yes = !count;

	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < list[i]->rule_count[d]; k++)
			yes |= rule_matches(&list[i]->rules[d][k], d, self, other, p->family, p->protocol, p->port);
	free(list);
	return yes;
}

/* Every address that anybody may have, and one that nobody has. */
static void address_random(struct packet *p, struct addr *a)
{
	char text[32];
	static const char *const v4[] = { "10.42.0.", "10.42.1.", "10.42.2.", "203.0.113." };
	static const char *const v6[] = { "fd00::", "fd00::10", "fd00::2:", "2001:db8::" };
	unsigned n = 1 + pick(SPACES * NAMES);

	snprintf(text, sizeof text, p->family ? "%s%x" : "%s%u", (p->family ? v6 : v4)[pick(4)], n);
	assert_int_equal(addr_parse(a, text, NULL), 0);
}

static struct packet packet_random(void)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP };
	struct packet p = { .family = (int)pick(2), .protocol = protocols[pick(4)] };

	p.port = (uint16_t)(pick(2) ? 1 + pick(9) : 1 + pick(220));
	p.port = p.protocol == IPPROTO_ICMP ? 0 : p.port;
	address_random(&p, &p.src);
	address_random(&p, &p.dst);
	return p;
}

static bool is_local(const struct addr *a)
{
	const struct endpoint *e;

	table_each(&model.endpoints, e)
		if (addr_equal(&e->ips[family_index(a->family)], a))
			return true;
	return false;
}

static void fares_as_it_should(unsigned step)
{
	struct packet p = packet_random();
	struct party src, dst;
	bool have = true, want = true;

	party_of_address(&model, &p.src, &src);
	party_of_address(&model, &p.dst, &dst);
	if (addr_equal(&p.src, &p.dst))
		return;
	if (is_local(&p.src)) {
		p.leaves = true;
		have = walk(&p, "egress") == VERDICT_ACCEPT;
		p.leaves = false;
		want = side_allows(&p, EGRESS, &src, &dst);
	}
	if (is_local(&p.dst)) {
		have = have && walk(&p, "to-pod") == VERDICT_ACCEPT;
		want = want && side_allows(&p, INGRESS, &dst, &src);
	}
	if (have != want) {
		autostr struct str text = { 0 };

		ruleset_text(&nft->rules, false, &text);
		fail_msg("step %u: %s/%s %s -> %s/%s %s %u/%u: %s\n%s", step, src.namespace, src.name, addr_text(&p.src).s,
			 dst.namespace, dst.name, addr_text(&p.dst).s, p.port, p.protocol,
			 want ? "should pass" : "should not pass", text.s);
	}
}

static void same_as_from_scratch(unsigned step)
{
	autostr struct str now = { 0 }, scratch = { 0 };
	struct nft *other = nft_fresh();

	nft_want(other);
	ruleset_text(&nft->rules, false, &now);
	ruleset_text(&other->rules, false, &scratch);
	nft_free(other);
	if (strcmp(str_text(&now), str_text(&scratch)) != 0)
		fail_msg("step %u: by changes\n%s\nfrom scratch\n%s", step, str_text(&now), str_text(&scratch));
}

enum { STEPS = 1500, PACKETS = 40 };

static void packets_fare_as_the_policies_say(void **state)
{
	const unsigned seed = 20261125;
	(void)state;

	print_message("seed %u\n", seed);
	srand(seed);
	for (unsigned step = 0; step < STEPS; step++) {
		for (unsigned n = pick(4) + 1; n; n--)
			change();
		nft_want(nft);
		model_clean(&model);
		for (unsigned i = 0; i < PACKETS; i++)
			fares_as_it_should(step);
		if (step % 5 == 0)
			same_as_from_scratch(step);
	}
}

/* ---- what the kernel refuses ---- */

static void turn(void)
{
	nft_want(nft);
	model_clean(&model);
}

static bool passes(const char *src, const char *dst)
{
	struct packet p = { .family = FAMILY_V4, .protocol = IPPROTO_TCP, .port = 80 };

	addr_parse(&p.src, src, NULL);
	addr_parse(&p.dst, dst, NULL);
	return walk(&p, "to-pod") == VERDICT_ACCEPT;
}

#define LETS_IN(name, net) \
	META("networking.k8s.io/v1", "NetworkPolicy", "s", name) "},\"spec\":{\"podSelector\":{\"matchLabels\":" \
	"{\"pod\":\"" name "\"}},\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"" net "\"}}]}]}}"
#define POD(name) META("v1", "Pod", "s", name) ",\"labels\":{\"pod\":\"" name "\"}}}"

static const struct chain *chain_of(const char *comment)
{
	hash_each(&nft->rules.chains, at) {
		const struct chain *c = container_of(at, struct chain, node);

		if (c->comment && c->wanted && strstr(c->comment, comment))
			return c;
	}
	return NULL;
}

/* The kernel's no to one policy's chain closes that policy's pods, until it is tried again. */
static void refused_policy_closes_its_own_pods(void **state)
{
	const struct err e = { EOPNOTSUPP, "nf_tables rule of chain in-1: Not supported" };
	(void)state;

	put(POD("a"));
	put(POD("b"));
	put_endpoint("a/eth0", "s", "a", "10.42.0.1", NULL);
	put_endpoint("b/eth0", "s", "b", "10.42.0.2", NULL);
	put(LETS_IN("a", "192.0.2.0/24"));
	put(LETS_IN("b", "192.0.2.0/25"));
	turn();
	assert_true(passes("192.0.2.1", "10.42.0.1") && passes("192.0.2.1", "10.42.0.2"));
	assert_non_null(chain_of("NetworkPolicy s/a "));
	nft->culprit = (struct note){ .chain = chain_of("NetworkPolicy s/a ") };
	assert_true(policies_refuse(nft, &e));
	assert_false(passes("192.0.2.1", "10.42.0.1"));
	assert_true(passes("192.0.2.1", "10.42.0.2"));
	assert_null(chain_of("NetworkPolicy s/a "));
	assert_non_null(table_find(&model.problems, "policy s/a"));
	assert_false(policies_refuse(nft, &e));		/* nobody is left to blame */
	nft_run(nft);
	assert_true(nft->second_look.on);		/* by itself */
	nft->reconsider_ms = 0;
	policies_reconsider(nft);
	assert_true(passes("192.0.2.1", "10.42.0.1"));
	policies_accepted(nft);
	assert_null(table_find(&model.problems, "policy s/a"));

	nft->culprit = (struct note){ .set = chain_of("NetworkPolicy s/b ")->rules.first->matches->set };
	assert_true(policies_refuse(nft, &e));
	assert_false(passes("192.0.2.1", "10.42.0.2"));
	put(LETS_IN("b", "192.0.2.0/26"));		/* another one, which may do */
	turn();
	assert_true(passes("192.0.2.1", "10.42.0.2"));
	table_del(&model.network_policies, "s/b");
	turn();
	assert_null(table_find(&model.problems, "policy s/b"));
	assert_true(passes("203.0.113.1", "10.42.0.2"));
}

/* Without connection tracking an answer cannot be told from a question: isolated is closed. */
static void without_conntrack_isolated_pods_are_closed(void **state)
{
	(void)state;
	nft->conntrack = ANSWER_NO;
	put(POD("a"));
	put_endpoint("a/eth0", "s", "a", "10.42.0.1", NULL);
	put_endpoint("b/eth0", "s", "b", "10.42.0.2", NULL);
	put(LETS_IN("a", "192.0.2.0/24"));
	turn();
	assert_false(passes("192.0.2.1", "10.42.0.1"));
	assert_true(passes("192.0.2.1", "10.42.0.2"));
}

/* A pod that comes to a peer set, or leaves it, is one element; no chain is touched. */
static void peer_that_comes_is_an_element(void **state)
{
	unsigned marked = 0;
	(void)state;

	put(POD("a"));
	put_endpoint("a/eth0", "s", "a", "10.42.0.1", NULL);
	put(META("networking.k8s.io/v1", "NetworkPolicy", "s", "p") "},\"spec\":{\"podSelector\":{},\"ingress\":[{\"from\":"
	    "[{\"namespaceSelector\":{}}]}]}}");
	turn();
	nft->rules.marked_sets = NULL;
	nft->rules.marked_chains = NULL;
	hash_each(&nft->rules.sets, at) {
		struct set *s = container_of(at, struct set, node);

		s->marked = false;
		s->marks = NULL;
	}
	put(META("v1", "Pod", "t", "far") "},\"spec\":{\"nodeName\":\"other\"},\"status\":{\"podIP\":\"10.42.9.1\"}}");
	turn();
	for (const struct set *s = nft->rules.marked_sets; s; s = s->marked_next)
		for (const struct element *el = s->marks; el; el = el->marked_next)
			marked++;
	assert_int_equal(marked, 1);
	assert_null(nft->rules.marked_chains);
	assert_true(passes("10.42.9.1", "10.42.0.1"));
}

/* ---- two attachments of one address ---- */

static const struct asker *asker_of(const char *key)
{
	hash_each(&nft->askers, at) {
		const struct asker *o = container_of(at, struct asker, node);

		if (o->kind == ASKER_ENDPOINT && strcmp(o->key, key) == 0)
			return o;
	}
	return NULL;
}

static void assert_one_end_each_key(void)
{
	hash_each(&nft->set[SET_IN]->elements, at) {
		const struct element *e = container_of(at, struct element, node);

		assert_true(!e->wants || !element_rival(e, NULL));
	}
}

static void address_of_two_pods_is_the_first_ones(void **state)
{
	const struct endpoint *e;

	(void)state;
	put(POD("first"));
	put(POD("second"));
	put(LETS_IN("first", "192.0.2.0/24"));
	put(LETS_IN("second", "198.51.100.0/24"));
	put_endpoint("c1/eth0", "s", "first", "10.0.0.1", NULL);
	nft_want(nft);
	model_clean(&model);
	assert_true(asker_of("c1/eth0")->count > 1);
	put_endpoint("c2/eth0", "s", "second", "10.0.0.1", NULL);
	nft_want(nft);
	askers_report(nft);
	assert_one_end_each_key();
	assert_true(asker_of("c1/eth0")->count > 1);
	assert_int_equal(asker_of("c2/eth0")->count, 0);
	e = table_find(&model.endpoints, "c2/eth0");
	assert_int_equal(e->rc, -EADDRINUSE);
	model_clean(&model);
	table_del(&model.endpoints, "c1/eth0");
	nft_want(nft);
	askers_report(nft);
	assert_one_end_each_key();
	assert_true(asker_of("c2/eth0")->count > 1);
	assert_int_equal(nft->sharing, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(packets_fare_as_the_policies_say, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refused_policy_closes_its_own_pods, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_conntrack_isolated_pods_are_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(peer_that_comes_is_an_element, set_up, tear_down),
		cmocka_unit_test_setup_teardown(address_of_two_pods_is_the_first_ones, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
