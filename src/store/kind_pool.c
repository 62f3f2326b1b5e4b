/* IPPool: what Calico's validation lets through, defaults filled in. */
#include "store/kind_int.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "model/selector.h"

struct pool_spec {
	struct pool *pool;
	json_value allowed_uses;
	int ipip, vxlan;		/* index into modes[] */
	uint32_t size;
	bool load_balancer;
};

static const char *const modes[] = { "Never", "Always", "CrossSubnet", NULL };

static int read_mode(struct json_ctx *c, json_value v, void *field)
{
	int n = read_word(c, v, modes);

	*(int *)field = n;
	return n < 0 ? -EINVAL : 0;
}

static int read_manual(struct json_ctx *c, json_value v, void *field)
{
	static const char *const words[] = { "Automatic", "Manual", NULL };
	int n = read_word(c, v, words);

	*(bool *)field = n == 1;
	return n < 0 ? -EINVAL : 0;
}

static int read_allowed_uses(struct json_ctx *c, json_value v, struct pool_spec *s)
{
	static const char *const words[] = { "Workload", "Tunnel", "LoadBalancer", NULL };
	unsigned i = 0;

	if (json_type(c->j, v) != JSON_ARRAY)
		return json_refuse(c, v, "want an array");
	for (json_value el = json_first(c->j, v); el >= 0; el = json_next(c->j, v, el)) {
		size_t path = kind_path_push(c, "[%u]", i++);
		int n = read_word(c, el, words);

		if (n < 0)
			return -EINVAL;
		s->pool->use_workload |= n == 0;
		s->pool->use_tunnel |= n == 1;
		s->load_balancer |= n == 2;
		kind_path_pop(c, path);
	}
	if (s->load_balancer && (s->pool->use_workload || s->pool->use_tunnel))
		return json_refuse(c, v, "LoadBalancer must be alone");
	return 0;
}

/* A value that is refused after all were read: its path is put back. */
static int refuse(struct json_ctx *c, json_value spec, const char *member, const char *text)
{
	json_value v = json_get(c->j, spec, member);

	kind_path_push(c, ".%s", member);
	return json_refuse(c, v < 0 ? spec : v, "%s", text);
}

static int check_sizes(struct json_ctx *c, json_value spec, struct pool_spec *s)
{
	struct pool *p = s->pool;
	bool v6 = p->cidr.addr.family == AF_INET6;
	unsigned least = v6 ? 116 : 20, most = v6 ? 128 : 32;

	p->block_size = s->size ? s->size : v6 ? 122 : 26;
	if (addr_is_link_local(&p->cidr.addr))
		return refuse(c, spec, "cidr", "link-local addresses are no pool");
	if (p->block_size < least || p->block_size > most)
		return refuse(c, spec, "blockSize", v6 ? "want 116 to 128" : "want 20 to 32");
	if (p->cidr.len > p->block_size)
		return refuse(c, spec, s->size ? "blockSize" : "cidr", "the pool is smaller than one block");
	return 0;
}

static int check_modes(struct json_ctx *c, json_value spec, struct pool_spec *s)
{
	static const enum encapsulation ipip[] = { ENCAP_NONE, ENCAP_IPIP, ENCAP_IPIP_CROSS_SUBNET };
	static const enum encapsulation vxlan[] = { ENCAP_NONE, ENCAP_VXLAN, ENCAP_VXLAN_CROSS_SUBNET };

	if (s->ipip && s->vxlan)
		return refuse(c, spec, "vxlanMode", "ipipMode is set too");
	if (s->ipip && s->pool->cidr.addr.family == AF_INET6)
		return refuse(c, spec, "ipipMode", "IPv6 has no IPIP");
	if (s->load_balancer && (s->ipip || s->vxlan))
		return refuse(c, spec, s->ipip ? "ipipMode" : "vxlanMode", "not for a LoadBalancer's pool");
	s->pool->encapsulation = s->ipip ? ipip[s->ipip] : vxlan[s->vxlan];
	return 0;
}

#define SPEC(name, member, read) { name, offsetof(struct pool_spec, member), read, false }
#define POOL(name, member, read) { name, offsetof(struct pool, member), read, false }
static const struct json_field spec_fields[] = {
	SPEC("blockSize", size, json_read_u32),
	SPEC("ipipMode", ipip, read_mode),
	SPEC("vxlanMode", vxlan, read_mode),
	SPEC("allowedUses", allowed_uses, read_value),
};
static const struct json_field pool_spec_fields[] = {
	{ "cidr", offsetof(struct pool, cidr), json_read_prefix, true },
	POOL("natOutgoing", nat_outgoing, json_read_bool),
	POOL("disabled", disabled, json_read_bool),
	POOL("disableBGPExport", disable_bgp_export, json_read_bool),
	POOL("nodeSelector", node_selector, json_read_string),
	POOL("namespaceSelector", namespace_selector, json_read_string),
	POOL("assignmentMode", manual, read_manual),
};

static int read_spec(struct json_ctx *c, json_value v, void *field)
{
	struct pool *p = field;
	struct pool_spec s = { .pool = p, .allowed_uses = -1 };

	if (json_fields(c, v, pool_spec_fields, ARRAY_SIZE(pool_spec_fields), p) < 0 ||
	    json_fields(c, v, spec_fields, ARRAY_SIZE(spec_fields), &s) < 0)
		return -EINVAL;
	if (s.allowed_uses >= 0) {
		size_t path = kind_path_push(c, ".allowedUses");

		if (read_allowed_uses(c, s.allowed_uses, &s) < 0)
			return -EINVAL;
		kind_path_pop(c, path);
	}
	if (!p->use_workload && !p->use_tunnel && !s.load_balancer)
		p->use_workload = p->use_tunnel = true;
	return check_sizes(c, v, &s) < 0 || check_modes(c, v, &s) < 0 ? -EINVAL : 0;
}

/* status.conditions of type Allocatable: a controller found the pool unfit (it overlaps another). */
struct condition { bool allocatable, is_false; };

static int read_is_allocatable(struct json_ctx *c, json_value v, void *field)
{
	*(bool *)field = json_is(c->j, v, "Allocatable");
	return 0;
}

static int read_is_false(struct json_ctx *c, json_value v, void *field)
{
	*(bool *)field = json_is(c->j, v, "False");
	return 0;
}

static const struct json_field condition_fields[] = {
	{ "type", offsetof(struct condition, allocatable), read_is_allocatable, false },
	{ "status", offsetof(struct condition, is_false), read_is_false, false },
};

static int read_conditions(struct json_ctx *c, json_value v, void *field)
{
	struct pool *p = field;

	for (json_value el = json_first(c->j, v); el >= 0; el = json_next(c->j, v, el)) {
		struct condition one = { 0 };

		if (json_fields(c, el, condition_fields, ARRAY_SIZE(condition_fields), &one) < 0)
			return -EINVAL;
		p->disabled |= one.allocatable && one.is_false;
	}
	return 0;
}

/* all() is the rule, and costs no look at any label. */
static int check_selector(struct json_ctx *c, json_value object, const char *member, const char *text,
			  const struct selector **to)
{
	struct err e = { 0 };

	if (!text || !*text || strcmp(text, "all()") == 0)
		return 0;
	if ((*to = selector_parse(c->mem, text, &e)))
		return 0;
	kind_path_push(c, "spec");
	return refuse(c, json_get(c->j, object, "spec"), member, e.text);
}

static const struct json_field status_fields[] = { { "conditions", 0, read_conditions, false } };

static int read_status(struct json_ctx *c, json_value v, void *field)
{
	return json_fields(c, v, status_fields, ARRAY_SIZE(status_fields), field);
}

static const struct json_field spec_field[] = { { "spec", 0, read_spec, true } };
static const struct json_field status_field[] = { { "status", 0, read_status, false } };

int pool_decode(struct json_ctx *c, json_value object, struct row *row)
{
	struct pool *p = container_of(row, struct pool, row);

	/* In this order: the status can only take away. */
	if (json_fields(c, object, spec_field, 1, p) < 0 || json_fields(c, object, status_field, 1, p) < 0)
		return -EINVAL;
	if (check_selector(c, object, "nodeSelector", p->node_selector, &p->nodes) < 0 ||
	    check_selector(c, object, "namespaceSelector", p->namespace_selector, &p->namespaces) < 0)
		return -EINVAL;
	if (!p->node_selector || !*p->node_selector)
		p->node_selector = "all()";
	if (!p->namespace_selector)
		p->namespace_selector = "";
	return 0;
}

uint64_t pool_digest(const struct row *row)
{
	const struct pool *p = container_of(row, struct pool, row);
	const uint64_t numbers[] = { p->block_size, p->encapsulation, p->nat_outgoing, p->disabled, p->disable_bgp_export,
				     p->manual, p->use_workload, p->use_tunnel, p->meta.deleting };
	uint64_t h = digest_bytes(0, &p->cidr, sizeof p->cidr);

	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
		h = digest_number(h, numbers[i]);
	h = digest_text(h, p->node_selector ? p->node_selector : "all()");
	return digest_text(h, p->namespace_selector ? p->namespace_selector : "");
}

static const char *mode_text(enum encapsulation have, enum encapsulation always, enum encapsulation cross_subnet)
{
	return have == always ? modes[1] : have == cross_subnet ? modes[2] : modes[0];
}

void pool_encode(struct json_out *o, const struct row *row)
{
	const struct pool *p = container_of(row, struct pool, row);

	json_open(o, "spec", '{');
	json_put_string(o, "cidr", prefix_text(&p->cidr).s);
	json_put_int(o, "blockSize", p->block_size);
	json_put_string(o, "ipipMode", mode_text(p->encapsulation, ENCAP_IPIP, ENCAP_IPIP_CROSS_SUBNET));
	json_put_string(o, "vxlanMode", mode_text(p->encapsulation, ENCAP_VXLAN, ENCAP_VXLAN_CROSS_SUBNET));
	json_put_bool(o, "natOutgoing", p->nat_outgoing);
	json_put_string(o, "nodeSelector", p->node_selector && *p->node_selector ? p->node_selector : "all()");
	if (p->namespace_selector && *p->namespace_selector)
		json_put_string(o, "namespaceSelector", p->namespace_selector);
	json_open(o, "allowedUses", '[');
	if (p->use_workload)
		json_put_string(o, NULL, "Workload");
	if (p->use_tunnel)
		json_put_string(o, NULL, "Tunnel");
	json_close(o, ']');
	json_put_string(o, "assignmentMode", p->manual ? "Manual" : "Automatic");
	if (p->disabled)
		json_put_bool(o, "disabled", true);
	if (p->disable_bgp_export)
		json_put_bool(o, "disableBGPExport", true);
	json_close(o, '}');
}
