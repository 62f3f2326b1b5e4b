/* IPPool: what Calico's validation lets through, defaults filled in. */
#include "store/kind_int.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "model/selector.h"

enum { USE_WORKLOAD = 1, USE_TUNNEL = 2, USE_LOAD_BALANCER = 4 };

/* What becomes of a pool when all of it is known. */
struct pool_spec {
	int ipip, vxlan;		/* index into modes[] */
	uint32_t size;
	unsigned uses;
};

static const char *const modes[] = { "Never", "Always", "CrossSubnet", NULL };

static int read_mode(struct json_ctx *c, json_value v, void *field)
{
	int n = read_word(c, v, modes);

	*(int *)field = n;
	return n < 0 ? -EINVAL : 0;
}

static const char *const manual_words[] = { "Automatic", "Manual", NULL };

static int read_manual(struct json_ctx *c, json_value v, void *field)
{
	int n = read_word(c, v, manual_words);

	*(bool *)field = n == 1;
	return n < 0 ? -EINVAL : 0;
}

static int read_use(struct json_ctx *c, json_value v, void *field)
{
	static const char *const words[] = { "Workload", "Tunnel", "LoadBalancer", NULL };
	int n = read_word(c, v, words);

	if (n >= 0)
		*(unsigned *)field |= 1u << n;
	return n < 0 ? -EINVAL : 0;
}

static int read_allowed_uses(struct json_ctx *c, json_value v, void *field)
{
	unsigned *uses = field;

	if (json_elements(c, v, read_use, uses) < 0)
		return -EINVAL;
	if ((*uses & USE_LOAD_BALANCER) && *uses != USE_LOAD_BALANCER)
		return json_refuse(c, v, "LoadBalancer must be alone");
	return 0;
}

static int check_sizes(struct json_ctx *c, json_value object, const struct pool_spec *s, struct pool *p)
{
	bool v6 = p->cidr.addr.family == AF_INET6;
	unsigned least = v6 ? 116 : 20, most = v6 ? 128 : 32;

	p->block_size = s->size ? s->size : v6 ? 122 : 26;
	if (addr_is_link_local(&p->cidr.addr))
		return json_refuse_member(c, object, "spec.cidr", "link-local addresses are no pool");
	if (p->block_size < least || p->block_size > most)
		return json_refuse_member(c, object, "spec.blockSize", "want %u to %u", least, most);
	if (p->cidr.len > p->block_size)
		return json_refuse_member(c, object, s->size ? "spec.blockSize" : "spec.cidr",
					  "the pool is smaller than one block");
	return 0;
}

static int check_modes(struct json_ctx *c, json_value object, const struct pool_spec *s, struct pool *p)
{
	static const enum encapsulation ipip[] = { ENCAP_NONE, ENCAP_IPIP, ENCAP_IPIP_CROSS_SUBNET };
	static const enum encapsulation vxlan[] = { ENCAP_NONE, ENCAP_VXLAN, ENCAP_VXLAN_CROSS_SUBNET };
	const char *mode = s->ipip ? "spec.ipipMode" : "spec.vxlanMode";

	if (s->ipip && s->vxlan)
		return json_refuse_member(c, object, "spec.vxlanMode", "ipipMode is set too");
	if (s->ipip && p->cidr.addr.family == AF_INET6)
		return json_refuse_member(c, object, mode, "IPv6 has no IPIP");
	if ((s->uses & USE_LOAD_BALANCER) && (s->ipip || s->vxlan))
		return json_refuse_member(c, object, mode, "not for a LoadBalancer's pool");
	p->encapsulation = s->ipip ? ipip[s->ipip] : vxlan[s->vxlan];
	return 0;
}

/* status.conditions of type Allocatable: a controller found the pool unfit (it overlaps another). */
static int read_conditions(struct json_ctx *c, json_value v, void *field)
{
	struct pool *p = field;

	json_each(c->j, v, el)
		p->disabled |= json_is(c->j, json_get(c->j, el, "type"), "Allocatable") &&
			       json_is(c->j, json_get(c->j, el, "status"), "False");
	return 0;
}

#define SPEC(name, member, read) { "spec." name, offsetof(struct pool_spec, member), read, false }
#define POOL(name, member, read) { "spec." name, offsetof(struct pool, member), read, false }
static const struct json_field spec_fields[] = {
	SPEC("blockSize", size, json_read_u32),
	SPEC("ipipMode", ipip, read_mode),
	SPEC("vxlanMode", vxlan, read_mode),
	SPEC("allowedUses", uses, read_allowed_uses),
};
static const struct json_field pool_fields[] = {
	{ "spec.cidr", offsetof(struct pool, cidr), json_read_prefix, true },
	POOL("natOutgoing", nat_outgoing, json_read_bool),
	POOL("disabled", disabled, json_read_bool),
	POOL("disableBGPExport", disable_bgp_export, json_read_bool),
	POOL("nodeSelector", node_selector, json_read_string),
	POOL("namespaceSelector", namespace_selector, json_read_string),
	POOL("assignmentMode", manual, read_manual),
	{ "status.conditions", 0, read_conditions, false },	/* the last: it can only take away */
};

/* all() is the rule, and costs no look at any label. */
static int check_selector(struct json_ctx *c, json_value object, const char *path, const char *text,
			  const struct selector **to)
{
	struct err e = { 0 };

	if (!text || !*text || strcmp(text, "all()") == 0)
		return 0;
	*to = selector_parse(c->mem, text, &e);
	return *to ? 0 : json_refuse_member(c, object, path, "%s", e.text);
}

int pool_decode(struct json_ctx *c, json_value object, struct row *row)
{
	struct pool *p = container_of(row, struct pool, row);
	struct pool_spec s = { 0 };

	if (json_fields(c, object, pool_fields, ARRAY_SIZE(pool_fields), p) < 0 ||
	    json_fields(c, object, spec_fields, ARRAY_SIZE(spec_fields), &s) < 0 ||
	    check_sizes(c, object, &s, p) < 0 || check_modes(c, object, &s, p) < 0 ||
	    check_selector(c, object, "spec.nodeSelector", p->node_selector, &p->nodes) < 0 ||
	    check_selector(c, object, "spec.namespaceSelector", p->namespace_selector, &p->namespaces) < 0)
		return -EINVAL;
	p->use_workload = !s.uses || (s.uses & USE_WORKLOAD);
	p->use_tunnel = !s.uses || (s.uses & USE_TUNNEL);
	if (!p->node_selector || !*p->node_selector)
		p->node_selector = "all()";
	if (!p->namespace_selector)
		p->namespace_selector = "";
	return 0;
}

uint64_t pool_digest(const struct row *row)
{
	const struct pool *p = container_of(row, struct pool, row);
	const uint64_t numbers[] = { p->block_size, p->encapsulation, p->manual, p->use_workload, p->use_tunnel,
				     p->meta.deleting };

	return digest_bytes(fields_digest(0, pool_fields, ARRAY_SIZE(pool_fields), p), numbers, sizeof numbers);
}

static const char *mode_text(enum encapsulation have, enum encapsulation always, enum encapsulation cross_subnet)
{
	return have == always ? modes[1] : have == cross_subnet ? modes[2] : modes[0];
}

void pool_encode(struct json_out *o, const struct row *row)
{
	const struct pool *p = container_of(row, struct pool, row);

	json_open(o, "spec", '{');
	json_put_int(o, "blockSize", p->block_size);
	json_put_string(o, "ipipMode", mode_text(p->encapsulation, ENCAP_IPIP, ENCAP_IPIP_CROSS_SUBNET));
	json_put_string(o, "vxlanMode", mode_text(p->encapsulation, ENCAP_VXLAN, ENCAP_VXLAN_CROSS_SUBNET));
	fields_encode(o, pool_fields, ARRAY_SIZE(pool_fields), p);
	json_open(o, "allowedUses", '[');
	if (p->use_workload)
		json_put_string(o, NULL, "Workload");
	if (p->use_tunnel)
		json_put_string(o, NULL, "Tunnel");
	json_close(o, ']');
	json_put_string(o, "assignmentMode", manual_words[p->manual]);
	json_close(o, '}');
}
