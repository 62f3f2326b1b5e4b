#include "explain.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "ctl/ctl.h"
#include "wire/json.h"

/* One end of the packet. */
struct end {
	struct party who;
	const char *node;		/* it runs on, or is; "": not known */
	bool is_node;
	char name[400];			/* as people call it */
};

struct explanation {
	struct end from, to;
	struct question q;
	struct verdict verdict[DIRECTIONS];
	const char *exempt;		/* why no policy is asked, or NULL */
	bool allow;
	struct str nearest, kernel;
};

/* ---- what is asked ---- */

static int parse_port(struct question *q, const char *text, struct err *e)
{
	static const struct { const char *name; uint8_t number; } protocols[] = {
		{ "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "sctp", IPPROTO_SCTP },
	};
	const char *slash = strchr(text, '/'), *name = slash ? slash + 1 : "tcp";
	char number[8];
	uint64_t port = 0;

	snprintf(number, sizeof number, "%.*s", slash ? (int)(slash - text) : (int)strlen(text), text);
	if (str_u64(number, 65535, &port) < 0 || !port)
		return err_set(e, EINVAL, "%s: want PORT or PORT/PROTO, from 1 to 65535", text);
	q->port = (uint16_t)port;
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (strcasecmp(name, protocols[i].name) == 0)
			q->protocol = protocols[i].number;
	return q->protocol ? 0 : err_set(e, EINVAL, "%s: want tcp, udp or sctp", text);
}

static const struct node *node_with(const struct model *m, const struct addr *a)
{
	const struct node *n;

	table_each(&m->nodes, n) {
		if (addr_equal(&n->address[family_index(a->family)].addr, a))
			return n;
		tunnel_each(t) {
			const struct addr end = model_node_tunnel(m, n, t);

			if (end.family && addr_equal(&end, a))
				return n;
		}
	}
	return NULL;
}

static void end_of_node(const struct model *m, const struct node *n, struct end *out)
{
	party_set(m, "", "", &out->who);
	for (int f = 0; f < FAMILIES; f++)
		out->who.ips[f] = n->address[f].addr;
	out->is_node = true;
	out->node = n->row.key;
	snprintf(out->name, sizeof out->name, "node:%s", out->node);
}

static const char *node_of_pod(const struct model *m, const struct party *p)
{
	const struct workload *w;

	if (p->local)
		return m->config->node_name;
	table_each(&m->workloads, w)
		if (strcmp(w->pod, p->name) == 0 && strcmp(w->meta.namespace, p->namespace) == 0)
			return w->node;
	return p->pod ? p->pod->node : "";
}

static void end_of_address(const struct model *m, const struct addr *a, struct end *out)
{
	const struct node *n = node_with(m, a);

	if (n)
		end_of_node(m, n, out);
	else
		party_of_address(m, a, &out->who);
	out->who.ips[!family_index(a->family)].family = 0;	/* it was this one that was meant */
}

/* "node:NAME", an address, "NAMESPACE/POD" or "POD". */
static int end_find(const struct model *m, const char *text, struct arena *mem, struct end *out, struct err *e)
{
	const char *slash = strchr(text, '/');
	const char *namespace = slash ? arena_strn(mem, text, (size_t)(slash - text)) : "default";
	const char *pod = arena_str(mem, slash ? slash + 1 : text);
	const struct node *n;
	struct addr a;

	if (str_prefix(text, "node:")) {
		if (!(n = table_find(&m->nodes, text + strlen("node:"))))
			return err_set(e, ENOENT, "%s: no such node", text);
		end_of_node(m, n, out);
		return 0;
	}
	if (addr_parse(&a, text, NULL) == 0)
		end_of_address(m, &a, out);
	else if (!party_of_pod(m, namespace, pod, &out->who))
		return err_set(e, ENOENT, "%s/%s: no such pod", namespace, pod);
	if (*out->who.name) {
		out->node = node_of_pod(m, &out->who);
		snprintf(out->name, sizeof out->name, "%s/%s", out->who.namespace, out->who.name);
	} else if (!out->is_node) {
		snprintf(out->name, sizeof out->name, "%s", text);
	}
	return 0;
}

/* The family both have, IPv4 first; of pods without any address IPv4, so that what does not go by addresses is told. */
static int common_family(const struct end *a, const struct end *b, struct err *e)
{
	bool some = false;

	for (int f = 0; f < FAMILIES; f++) {
		if (a->who.ips[f].family && b->who.ips[f].family)
			return f;
		some |= a->who.ips[f].family && b->who.ips[!f].family;
	}
	if (some)
		return err_set(e, EAFNOSUPPORT, "%s and %s have no addresses of one family", a->name, b->name);
	return a->who.ips[FAMILY_V6].family || b->who.ips[FAMILY_V6].family ? FAMILY_V6 : FAMILY_V4;
}

/* A node's packets go to another's pods by its address in the tunnel, where they go through one. */
static void node_choose_address(const struct model *m, struct end *node, const struct end *to, int f)
{
	const struct pool *pool = to->who.ips[f].family ? model_pool_of(m, &to->who.ips[f]) : NULL;
	const struct node *n = node->is_node ? table_find(&m->nodes, node->node) : NULL;
	const struct node *other = *to->who.name ? table_find(&m->nodes, to->node) : NULL;
	enum tunnel t = pool ? encapsulation_tunnel(pool->encapsulation, to->who.ips[f].family) : TUNNEL_NONE;

	if (!n || t == TUNNEL_NONE || !*to->who.name || n == other)
		return;
	const struct addr end = model_node_tunnel(m, n, t);

	if (end.family && (!other || !encapsulation_is_cross_subnet(pool->encapsulation) ||
			   !prefix_has(&n->address[f], &other->address[f].addr)))
		node->who.ips[f] = end;
}

static int ask(struct explanation *a, const struct model *m, const char *const *words, unsigned count, struct arena *mem, struct err *e)
{
	if (count != 3)
		return err_set(e, EINVAL, "explain: want FROM TO PORT[/PROTO]");
	a->from.node = a->to.node = "";
	a->q = (struct question){ .from = &a->from.who, .to = &a->to.who };
	if (parse_port(&a->q, words[2], e) < 0 || end_find(m, words[0], mem, &a->from, e) < 0 ||
	    end_find(m, words[1], mem, &a->to, e) < 0 || (a->q.family = common_family(&a->from, &a->to, e)) < 0)
		return -e->code;
	node_choose_address(m, &a->from, &a->to, a->q.family);
	return 0;
}

/* ---- what is answered ---- */

static const char *exemption(const struct explanation *a)
{
	const struct end *f = &a->from, *t = &a->to;

	if (*f->who.name && strcmp(f->name, t->name) == 0)
		return "a pod reaches itself without leaving its namespace";
	if (f->is_node && *t->who.name && strcmp(f->node, t->node) == 0)
		return "a node always reaches the pods that run on it";
	return NULL;
}

static void text_place(struct str *out, const struct policy *p)
{
	if (p->place.file && p->place.line)
		str_printf(out, "%s:%u", p->place.file, p->place.line);
	else if (p->place.file)
		str_puts(out, p->place.file);
}

static void step_name(struct str *out, const struct step *s, enum direction d)
{
	str_printf(out, "%s %s", s->policy->kind, s->policy->row.key);
	if (s->rule != NO_RULE)
		str_printf(out, " %s[%d]", d == INGRESS ? "ingress" : "egress", s->rule);
}

static void find_nearest(struct explanation *a)
{
	enum direction d = a->verdict[EGRESS].allow ? INGRESS : EGRESS;
	const struct step *s = verdict_nearest(&a->verdict[d]);

	if (!s)
		return;
	step_name(&a->nearest, s, d);
	str_printf(&a->nearest, ": %s", str_text(&s->why));
}

static void judge(struct explanation *a, const struct model *m, struct nft *kernel)
{
	bool allowed[DIRECTIONS];

	a->allow = true;
	a->exempt = exemption(a);
	if (a->exempt) {
		str_puts(&a->kernel, "not asked: no policy is");
		return;
	}
	for (int d = 0; d < DIRECTIONS; d++) {
		verdict_reach(m, d, &a->q, &a->verdict[d]);
		a->allow &= allowed[d] = a->verdict[d].allow;
	}
	if (!a->allow)
		find_nearest(a);
	explain_kernel(m, kernel, &a->q, a->to.is_node && model_is_self(m, a->to.node), allowed, &a->kernel);
}

static void step_text(struct str *out, const struct step *s, enum direction d)
{
	autostr struct str name = { 0 }, place = { 0 };

	step_name(&name, s, d);
	text_place(&place, s->policy);
	str_printf(out, "   %s", name.s);
	if (s->matches && s->rule == NO_RULE)
		str_puts(out, " selects it, and nothing allowed it");
	str_printf(out, ": %s%s%s%s\n", s->matches ? action_name(s->action) : str_text(&s->why), *str_text(&place) ? "  (" : "",
		   str_text(&place), *str_text(&place) ? ")" : "");
}

static void direction_text(struct str *out, const struct explanation *a, enum direction d)
{
	const struct end *self = d == INGRESS ? &a->to : &a->from;
	const struct verdict *v = &a->verdict[d];

	str_printf(out, " %s %s\n", d == INGRESS ? "ingress to" : "egress from", self->name);
	for (unsigned i = 0; i < v->count; i++)
		step_text(out, &v->steps[i], d);
	if (!v->count)
		str_puts(out, self->who.is_pod ? "   no policy selects it: allow\n" : "   it is no pod: allow\n");
}

static void end_text(struct str *out, const struct explanation *a, const struct end *e)
{
	const struct addr_text address = addr_text(&e->who.ips[a->q.family]);

	str_puts(out, e->name);
	if (*address.s && strcmp(address.s, e->name) != 0)
		str_printf(out, " (%s)", address.s);
}

static void show_text(const struct explanation *a, struct str *out)
{
	str_puts(out, a->allow ? "ALLOW  " : "DENY  ");
	end_text(out, a, &a->from);
	str_puts(out, " -> ");
	end_text(out, a, &a->to);
	str_printf(out, " %s/%u\n", protocol_name(a->q.protocol), a->q.port);
	if (a->exempt) {
		str_printf(out, " %s\n", a->exempt);
	} else {
		direction_text(out, a, EGRESS);
		direction_text(out, a, INGRESS);
	}
	if (a->nearest.len)
		str_printf(out, " nearest miss: %s\n", a->nearest.s);
	str_printf(out, " kernel: %s\n", str_text(&a->kernel));
}

static void put_end(struct json_out *o, const char *name, const struct explanation *a, const struct end *e)
{
	json_open(o, name, '{');
	json_put_string(o, "name", e->name);
	json_put_string(o, "address", addr_text(&e->who.ips[a->q.family]).s);
	json_put_string(o, "node", e->node);
	json_close(o, '}');
}

static void put_step(struct json_out *o, const struct step *s, enum direction d)
{
	char rule[24] = "";

	if (s->rule != NO_RULE)
		snprintf(rule, sizeof rule, "%s[%d]", d == INGRESS ? "ingress" : "egress", s->rule);
	json_open(o, NULL, '{');
	json_put_string(o, "kind", s->policy->kind);
	json_put_string(o, "policy", s->policy->row.key);
	json_put_string(o, "rule", rule);
	json_put_bool(o, "matches", s->matches);
	json_put_string(o, "action", s->matches ? action_name(s->action) : "");
	json_put_string(o, "why", str_text(&s->why));
	json_put_string(o, "file", s->policy->place.file ? s->policy->place.file : "");
	json_put_int(o, "line", s->policy->place.line);
	json_close(o, '}');
}

static void show_json(const struct explanation *a, struct str *out)
{
	struct json_out o = { .to = out };

	json_open(&o, NULL, '{');
	json_put_string(&o, "verdict", a->allow ? "allow" : "deny");
	put_end(&o, "from", a, &a->from);
	put_end(&o, "to", a, &a->to);
	json_put_string(&o, "protocol", protocol_name(a->q.protocol));
	json_put_int(&o, "port", a->q.port);
	json_put_string(&o, "exempt", a->exempt ? a->exempt : "");
	for (int d = DIRECTIONS - 1; d >= 0; d--) {
		json_open(&o, d == INGRESS ? "ingress" : "egress", '[');
		for (unsigned i = 0; i < a->verdict[d].count; i++)
			put_step(&o, &a->verdict[d].steps[i], d);
		json_close(&o, ']');
	}
	json_put_string(&o, "nearest_miss", str_text(&a->nearest));
	json_put_string(&o, "kernel", str_text(&a->kernel));
	json_close(&o, '}');
	str_puts(out, "\n");
}

int explain(const struct model *m, struct nft *kernel, const char *const *words, unsigned count, bool json, struct str *out,
	    struct err *e)
{
	struct explanation a = { .allow = false };
	struct arena mem = { 0 };
	int rc = ask(&a, m, words, count, &mem, e);

	if (rc == 0) {
		judge(&a, m, kernel);
		if (json)
			show_json(&a, out);
		else
			show_text(&a, out);
		verdict_free(&a.verdict[INGRESS]);
		verdict_free(&a.verdict[EGRESS]);
		str_free(&a.nearest);
		str_free(&a.kernel);
	}
	arena_free(&mem);
	return rc == 0 ? a.allow ? EXIT_OK : EXIT_DENY : rc == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}
