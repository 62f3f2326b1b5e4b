/*
 * NetworkPolicy of networking.k8s.io/v1, into the one form of model/policy.h.
 *
 * What is refused fails closed: the pods that the selector names, in the directions of
 * policyTypes, without a rule.  Where these cannot be read, all pods of the namespace, in both directions.
 */
#include "store/kind_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/digest.h"
#include "base/util.h"
#include "model/policy.h"

enum { LABEL_PART_MAX = 63, LABEL_PREFIX_MAX = 253, PORT_NAME_MAX = 15 };

/* ---- labels ---- */

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Letters and digits at the ends, also "-", "_" and "." between. */
static bool label_part_ok(const char *text, size_t len)
{
	if (!len || len > LABEL_PART_MAX || !is_alnum(text[0]) || !is_alnum(text[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_alnum(text[i]) && !strchr("-_.", text[i]))
			return false;
	return true;
}

static bool label_key_ok(const char *key)
{
	const char *slash = strchr(key, '/'), *name = slash ? slash + 1 : key;

	if (slash && (slash == key || slash - key > LABEL_PREFIX_MAX ||
		      strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-.") != (size_t)(slash - key)))
		return false;
	return label_part_ok(name, strlen(name));
}

static int check_key(struct json_ctx *c, json_value v, const char *key)
{
	return label_key_ok(key) ? 0 : json_refuse(c, v, "\"%.80s\": not a label's key", key);
}

static int check_value(struct json_ctx *c, json_value v, const char *value)
{
	return !*value || label_part_ok(value, strlen(value)) ? 0 : json_refuse(c, v, "\"%.80s\": not a label's value", value);
}

/* ---- selectors ---- */

static int read_match_labels(struct json_ctx *c, json_value v, void *field)
{
	struct selector_maker *m = field;
	struct string_map map = { 0 };

	if (read_string_map(c, v, &map) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < map.count; i++) {
		const char **value = arena_alloc(c->mem, sizeof *value);

		*value = map.entry[i].value;
		if (check_key(c, v, map.entry[i].key) < 0 || check_value(c, v, *value) < 0)
			return -EINVAL;
		selector_add(c->mem, m, SELECT_IN, false, map.entry[i].key, value, 1);
	}
	return 0;
}

struct expression { const char *key; json_value operator, values; };
static const struct json_field expression_fields[] = {
	{ "key", offsetof(struct expression, key), json_read_string, true },
	{ "operator", offsetof(struct expression, operator), read_value, true },
	{ "values", offsetof(struct expression, values), read_value, false },
};

static const struct { const char *word; uint8_t test; bool negate; } expression_operators[] = {
	{ "In", SELECT_IN, false }, { "NotIn", SELECT_IN, true }, { "Exists", SELECT_HAS, false },
	{ "DoesNotExist", SELECT_HAS, true },
};

static int read_label_value(struct json_ctx *c, json_value v, void *item)
{
	return json_read_string(c, v, item) < 0 ? -EINVAL : check_value(c, v, *(const char **)item);
}

static int read_expression(struct json_ctx *c, json_value v, void *field)
{
	struct selector_maker *m = field;
	struct expression x = { .values = -1 };
	void *values = NULL;
	unsigned count = 0;

	if (json_fields(c, v, expression_fields, ARRAY_SIZE(expression_fields), &x) < 0 || check_key(c, v, x.key) < 0)
		return -EINVAL;
	if (x.values >= 0 && json_array(c, x.values, sizeof(char *), read_label_value, &values, &count) < 0)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(expression_operators); i++) {
		uint8_t test = expression_operators[i].test;

		if (!json_is(c->j, x.operator, expression_operators[i].word))
			continue;
		if ((test == SELECT_IN) != (count > 0))
			return json_refuse(c, v, "%s %s values", expression_operators[i].word,
					   count ? "takes no" : "needs");
		selector_add(c->mem, m, test, expression_operators[i].negate, x.key, values, count);
		return 0;
	}
	return json_refuse(c, x.operator, "want one of In, NotIn, Exists, DoesNotExist");
}

static int read_match_expressions(struct json_ctx *c, json_value v, void *field)
{
	return json_elements(c, v, read_expression, field);
}

static const struct json_field selector_fields[] = {
	{ "matchLabels", 0, read_match_labels, false },
	{ "matchExpressions", 0, read_match_expressions, false },
};

static int read_selector(struct json_ctx *c, json_value v, void *field)
{
	struct selector_maker m = { 0 };

	if (json_fields(c, v, selector_fields, ARRAY_SIZE(selector_fields), &m) < 0)
		return -EINVAL;
	*(const struct selector **)field = selector_made(c->mem, &m);
	return 0;
}

/* ---- peers ---- */

/* The host's bits may be set, as the API has it. */
static int read_cidr(struct json_ctx *c, json_value v, void *field)
{
	const char *text;
	struct err e = { 0 };
	struct prefix p;

	if (json_read_string(c, v, &text) < 0)
		return -EINVAL;
	if (!strchr(text, '/') || prefix_parse(&p, text, &e) < 0)
		return json_refuse(c, v, "\"%.60s\": want address/length", text);
	*(struct prefix *)field = prefix_mask(p);
	return 0;
}

struct ip_block { struct prefix cidr; struct prefix *except; unsigned except_count; };

static int read_excepts(struct json_ctx *c, json_value v, void *field)
{
	struct ip_block *b = field;
	void *items;

	if (json_array(c, v, sizeof(struct prefix), read_cidr, &items, &b->except_count) < 0)
		return -EINVAL;
	b->except = items;
	return 0;
}

static const struct json_field block_fields[] = {
	{ "cidr", offsetof(struct ip_block, cidr), read_cidr, true },
	{ "except", 0, read_excepts, false },
};

static int read_ip_block(struct json_ctx *c, json_value v, void *field)
{
	struct ip_block b = { 0 };
	struct peer *p = field;
	unsigned i = 0;

	if (json_fields(c, v, block_fields, ARRAY_SIZE(block_fields), &b) < 0)
		return -EINVAL;
	json_each(c->j, json_get(c->j, v, "except"), el) {
		const struct prefix *x = &b.except[i++];

		if (!prefix_covers(&b.cidr, x) || x->len <= b.cidr.len)
			return json_refuse(c, el, "%s: not a part of %s", prefix_text(x).s, prefix_text(&b.cidr).s);
	}
	p->net = b.cidr;
	p->except = b.except;
	p->except_count = b.except_count;
	return 0;
}

static const struct json_field peer_fields[] = {
	{ "podSelector", offsetof(struct peer, pods), read_selector, false },
	{ "namespaceSelector", offsetof(struct peer, namespaces), read_selector, false },
	{ "ipBlock", 0, read_ip_block, false },
};

static int read_peer(struct json_ctx *c, json_value v, void *item)
{
	struct peer *p = item;
	bool block;

	if (json_fields(c, v, peer_fields, ARRAY_SIZE(peer_fields), p) < 0)
		return -EINVAL;
	block = p->net.addr.family;
	if (!block && !p->pods && !p->namespaces)
		return json_refuse(c, v, "want podSelector, namespaceSelector or ipBlock");
	if (block && (p->pods || p->namespaces))
		return json_refuse(c, v, "ipBlock cannot be together with a selector");
	return 0;
}

/* ---- ports ---- */

static const struct { const char *word; uint8_t number; } protocols[] = {
	{ "TCP", IPPROTO_TCP }, { "UDP", IPPROTO_UDP }, { "SCTP", IPPROTO_SCTP },
};

int read_protocol(struct json_ctx *c, json_value v, void *field)
{
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (json_is(c->j, v, protocols[i].word)) {
			*(uint8_t *)field = protocols[i].number;
			return 0;
		}
	return json_refuse(c, v, "want one of TCP, UDP, SCTP");
}

static int read_port_number(struct json_ctx *c, json_value v, void *field)
{
	int64_t n;

	if (json_read_int64(c, v, &n) < 0)
		return -EINVAL;
	if (n < 1 || n > 65535)
		return json_refuse(c, v, "want 1 to 65535");
	*(uint16_t *)field = (uint16_t)n;
	return 0;
}

/* Lower case letters, digits and single "-" between; at least one letter. */
static bool port_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len && len <= PORT_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len &&
	       strpbrk(name, "abcdefghijklmnopqrstuvwxyz") && name[0] != '-' && name[len - 1] != '-' &&
	       !strstr(name, "--");
}

static int read_port_or_name(struct json_ctx *c, json_value v, void *field)
{
	struct policy_port *p = field;

	if (json_type(c->j, v) != JSON_STRING)
		return read_port_number(c, v, &p->first);
	if (json_read_string(c, v, &p->name) < 0)
		return -EINVAL;
	return port_name_ok(p->name) ? 0 : json_refuse(c, v, "\"%.40s\": want a number or the name of a port", p->name);
}

static const struct json_field port_fields[] = {
	{ "protocol", offsetof(struct policy_port, protocol), read_protocol, false },
	{ "port", 0, read_port_or_name, false },
	{ "endPort", offsetof(struct policy_port, last), read_port_number, false },
};

static int read_port(struct json_ctx *c, json_value v, void *item)
{
	struct policy_port *p = item;

	p->protocol = IPPROTO_TCP;
	if (json_fields(c, v, port_fields, ARRAY_SIZE(port_fields), p) < 0)
		return -EINVAL;
	if (p->last && (p->name || !p->first))
		return json_refuse(c, v, "endPort needs a port that is a number");
	if (p->last && p->last < p->first)
		return json_refuse(c, v, "endPort %u is below port %u", p->last, p->first);
	p->last = p->last ? p->last : p->first;
	return 0;
}

/* ---- rules ---- */

static int read_peers(struct json_ctx *c, json_value v, void *field)
{
	struct policy_rule *r = field;
	void *items;

	if (json_array(c, v, sizeof(struct peer), read_peer, &items, &r->peer_count) < 0)
		return -EINVAL;
	r->peers = items;
	return 0;
}

static int read_ports(struct json_ctx *c, json_value v, void *field)
{
	struct policy_rule *r = field;
	void *items;

	if (json_array(c, v, sizeof(struct policy_port), read_port, &items, &r->port_count) < 0)
		return -EINVAL;
	r->ports = items;
	return 0;
}

static const struct json_field rule_fields[DIRECTIONS][2] = {
	[INGRESS] = { { "from", 0, read_peers, false }, { "ports", 0, read_ports, false } },
	[EGRESS] = { { "to", 0, read_peers, false }, { "ports", 0, read_ports, false } },
};

static int read_ingress_rule(struct json_ctx *c, json_value v, void *item)
{
	return json_fields(c, v, rule_fields[INGRESS], 2, item);
}

static int read_egress_rule(struct json_ctx *c, json_value v, void *item)
{
	return json_fields(c, v, rule_fields[EGRESS], 2, item);
}

/* A peer of a podSelector alone is meant in the policy's own namespace. */
static void rules_complete(struct policy_rule *rules, unsigned count, const char *namespace)
{
	for (unsigned i = 0; i < count; i++) {
		for (unsigned k = 0; k < rules[i].peer_count; k++) {
			struct peer *p = (struct peer *)&rules[i].peers[k];

			if (p->pods && !p->namespaces)
				p->namespace = namespace;
		}
		rules[i].digest = peers_digest(rules[i].peers, rules[i].peer_count);
	}
}

static int rules_read(struct json_ctx *c, json_value spec, enum direction d, struct policy *p)
{
	static const char *const names[DIRECTIONS] = { "ingress", "egress" };
	json_value v = json_get(c->j, spec, names[d]);
	void *items = NULL;
	unsigned count = 0;
	int rc = 0;

	if (json_type(c->j, v) != JSON_NULL)
		rc = json_array(c, v, sizeof(struct policy_rule), d == INGRESS ? read_ingress_rule : read_egress_rule,
				&items, &count);
	if (rc < 0)
		return rc;
	rules_complete(items, count, p->meta.namespace);
	p->rules[d] = items;
	p->rule_count[d] = count;
	return 0;
}

/* ---- the policy ---- */

static int types_read(struct json_ctx *c, json_value spec, struct policy *p)
{
	static const char *const words[] = { "Ingress", "Egress", NULL };
	json_value v = json_get(c->j, spec, "policyTypes");
	bool named[DIRECTIONS] = { false };

	if (json_type(c->j, v) != JSON_NULL && json_type(c->j, v) != JSON_ARRAY)
		return json_refuse(c, v, "want an array");
	json_each(c->j, v, el) {
		int d = json_is(c->j, el, "") ? json_refuse(c, el, "want Ingress or Egress") : read_word(c, el, words);

		if (d < 0)
			return -EINVAL;
		named[d] = true;
	}
	if (!json_length(c->j, v)) {
		named[INGRESS] = true;
		named[EGRESS] = json_length(c->j, json_get(c->j, spec, "egress")) > 0;
	}
	memcpy(p->applies, named, sizeof named);
	return 0;
}

static int target_read(struct json_ctx *c, json_value spec, struct policy *p)
{
	json_value v = json_get(c->j, spec, "podSelector");
	const struct selector *s = NULL;
	int rc = json_type(c->j, v) == JSON_NULL ? 0 : read_selector(c, v, &s);

	p->target = (struct peer){ .pods = s, .namespace = p->meta.namespace };
	return rc;
}

static int spec_read(struct json_ctx *c, json_value object, struct policy *p)
{
	json_value spec = json_get(c->j, object, "spec");
	int rc;

	if (json_type(c->j, spec) != JSON_OBJECT && json_type(c->j, spec) != JSON_NULL)
		return json_refuse(c, spec, "want an object");
	rc = target_read(c, spec, p);
	if (types_read(c, spec, p) < 0)
		rc = -EINVAL;
	for (int d = INGRESS; d < DIRECTIONS && rc == 0; d++)
		rc = rules_read(c, spec, d, p);
	return rc;
}

static uint64_t text_digest(struct json_ctx *c, json_value v)
{
	size_t len;
	const char *text = v < 0 ? NULL : json_raw(c->j, v, &len);

	return text ? sha1_64(text, len) : 0;
}

int policy_decode(struct json_ctx *c, json_value object, struct row *row)
{
	struct policy *p = container_of(row, struct policy, row);
	bool refused = c->e->code;	/* its metadata was */

	p->kind = "NetworkPolicy";
	p->tier = "default";
	p->order = KUBERNETES_ORDER;
	p->target.namespace = p->meta.namespace;
	p->applies[INGRESS] = p->applies[EGRESS] = true;
	p->content = text_digest(c, json_get(c->j, object, "spec"));
	if (spec_read(c, object, p) == 0 && !refused)
		return 0;
	memset(p->rule_count, 0, sizeof p->rule_count);
	p->bad = arena_str(&row->mem, c->e->text);
	return -EINVAL;
}

uint64_t policy_digest(const struct row *row)
{
	const struct policy *p = container_of(row, struct policy, row);

	return digest_text(digest_number(0, p->content), p->bad);
}
