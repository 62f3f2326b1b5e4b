/* Namespace, Pod and Node as the Kubernetes API has them. */
#include "store/kind_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mac.h"
#include "base/util.h"

/* --- Namespace --- */

int namespace_decode(struct json_ctx *c, json_value object, struct row *row)
{
	(void)c;
	(void)object;
	(void)row;
	return 0;
}

static uint64_t meta_digest(const struct meta *m)
{
	uint64_t h = digest_labels(m->deleting, m->labels, m->label_count);

	return digest_labels(h, m->annotations, m->annotation_count);
}

uint64_t namespace_digest(const struct row *row)
{
	return meta_digest(&container_of(row, struct namespace, row)->meta);
}

/* --- Pod --- */

static int read_phase(struct json_ctx *c, json_value v, void *field)
{
	static const char *const words[] = { "Pending", "Running", "Succeeded", "Failed", "Unknown", NULL };
	int n = read_word(c, v, words);

	if (n < 0)
		return -EINVAL;
	*(enum pod_phase *)field = (enum pod_phase)n;
	return 0;
}

/* The first address of each family counts. */
static void ip_put(struct addr ips[FAMILIES], const struct addr *a)
{
	struct addr *to = &ips[family_index(a->family)];

	if (!to->family)
		*to = *a;
}

static bool has_ips(const struct addr ips[FAMILIES])
{
	return ips[FAMILY_V4].family || ips[FAMILY_V6].family;
}

static int read_ip(struct json_ctx *c, json_value v, void *field)
{
	struct addr a;

	if (v < 0 || json_is(c->j, v, ""))
		return 0;
	if (json_read_addr(c, v, &a) < 0)
		return -EINVAL;
	ip_put(field, &a);
	return 0;
}

static int read_pod_ip(struct json_ctx *c, json_value v, void *field)
{
	return read_ip(c, json_get(c->j, v, "ip"), field);
}

static int read_pod_ips(struct json_ctx *c, json_value v, void *field)
{
	return json_elements(c, v, read_pod_ip, field);
}

/* Where there is no list. */
static int read_single_ip(struct json_ctx *c, json_value v, void *field)
{
	struct addr ips[FAMILIES] = { { 0 } };

	return read_ip(c, v, has_ips(field) ? ips : field);
}

/* The ports that containers name; of init containers too, which may be sidecars. */
struct port_list { struct pod_port *port; unsigned count; };

static int read_container_port(struct json_ctx *c, json_value v, void *item)
{
	static const struct json_field fields[] = {
		{ "name", offsetof(struct pod_port, name), json_read_string, false },
		{ "protocol", offsetof(struct pod_port, protocol), read_protocol, false },
	};
	const json_value at = json_get(c->j, v, "containerPort");
	struct pod_port *p = item;
	int64_t number = 0;

	p->protocol = IPPROTO_TCP;
	if (json_fields(c, v, fields, ARRAY_SIZE(fields), p) < 0)
		return -EINVAL;
	if (at >= 0 && (json_read_int64(c, at, &number) < 0 || number < 1 || number > 65535))
		return json_refuse(c, at, "want 1 to 65535");
	p->number = (uint16_t)number;
	return 0;
}

static int read_container_ports(struct json_ctx *c, json_value v, void *field)
{
	struct port_list *l = field;
	struct pod_port *all;
	void *items;
	unsigned count;

	if (json_array(c, v, sizeof *l->port, read_container_port, &items, &count) < 0)
		return -EINVAL;
	all = arena_alloc(c->mem, (l->count + count) * sizeof *all);
	if (l->count)
		memcpy(all, l->port, l->count * sizeof *all);
	l->port = all;
	for (unsigned i = 0; i < count; i++) {
		const struct pod_port *p = (struct pod_port *)items + i;

		if (p->name && *p->name && p->number)
			all[l->count++] = *p;
	}
	return 0;
}

static int read_container(struct json_ctx *c, json_value v, void *field)
{
	static const struct json_field fields[] = { { "ports", 0, read_container_ports, false } };
	struct pod *p = field;
	struct port_list l = { p->ports, p->port_count };

	if (json_fields(c, v, fields, ARRAY_SIZE(fields), &l) < 0)
		return -EINVAL;
	p->ports = l.port;
	p->port_count = l.count;
	return 0;
}

static int read_containers(struct json_ctx *c, json_value v, void *field)
{
	return json_elements(c, v, read_container, field);
}

static int by_port(const void *a, const void *b)
{
	const struct pod_port *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : x->protocol != y->protocol ? x->protocol - y->protocol : x->number - y->number;
}

#define POD(name, member, read) { name, offsetof(struct pod, member), read, false }
static const struct json_field pod_fields[] = {
	POD("spec.nodeName", node, json_read_string),
	POD("spec.serviceAccountName", service_account, json_read_string),
	POD("spec.hostNetwork", host_network, json_read_bool),
	{ "spec.containers", 0, read_containers, false },
	{ "spec.initContainers", 0, read_containers, false },
	POD("status.phase", phase, read_phase),
	POD("status.podIPs", ips, read_pod_ips),
	POD("status.podIP", ips, read_single_ip),
};

/* "10.42.1.2/32,fd00::2/128", which CNI plugins leave before the kubelet has written the status. */
static void ips_of_annotation(struct pod *p, const char *key)
{
	const char *list = label_find(p->meta.annotations, p->meta.annotation_count, key);

	while (list && *list) {
		size_t len = strcspn(list, ",");
		char text[64];
		struct prefix one;

		if (len < sizeof text) {
			memcpy(text, list, len);
			text[len] = '\0';
			if (prefix_parse(&one, text, NULL) == 0)
				ip_put(p->ips, &one.addr);
		}
		list += len + (list[len] == ',');
	}
}

int pod_decode(struct json_ctx *c, json_value object, struct row *row)
{
	struct pod *p = container_of(row, struct pod, row);

	if (json_fields(c, object, pod_fields, ARRAY_SIZE(pod_fields), p) < 0)
		return -EINVAL;
	if (p->port_count)
		qsort(p->ports, p->port_count, sizeof *p->ports, by_port);
	if (!p->node)
		p->node = "";
	if (!p->service_account || !*p->service_account)
		p->service_account = "default";
	if (!has_ips(p->ips)) {
		ips_of_annotation(p, "cni.projectcalico.org/podIPs");
		ips_of_annotation(p, "cni.projectcalico.org/podIP");
	}
	return 0;
}

uint64_t pod_digest(const struct row *row)
{
	const struct pod *p = container_of(row, struct pod, row);
	uint64_t h = meta_digest(&p->meta);

	h = digest_number(digest_text(h, p->meta.uid), p->phase);
	h = fields_digest(h, pod_fields, ARRAY_SIZE(pod_fields), p);
	for (unsigned i = 0; i < p->port_count; i++) {
		h = digest_text(h, p->ports[i].name);
		h = digest_number(h, (uint64_t)p->ports[i].protocol << 16 | p->ports[i].number);
	}
	return digest_bytes(h, p->ips, sizeof p->ips);
}

/* --- Node --- */

#define NODE_KEY "projectcalico.org/"
/* Calico's annotations, sorted: addresses with and without prefix length, MACs. */
enum annotation_type { ANNOTATION_PREFIX, ANNOTATION_ADDR, ANNOTATION_MAC };
static const struct {
	const char *key;
	enum annotation_type type;
	size_t offset;
	int family;
} node_keys[] = {
	{ NODE_KEY "IPv4Address", ANNOTATION_PREFIX, offsetof(struct node, address[FAMILY_V4]), FAMILY_V4 },
	{ NODE_KEY "IPv4IPIPTunnelAddr", ANNOTATION_ADDR, offsetof(struct node, tunnel[TUNNEL_IPIP]), FAMILY_V4 },
	{ NODE_KEY "IPv4VXLANTunnelAddr", ANNOTATION_ADDR, offsetof(struct node, tunnel[TUNNEL_VXLAN]), FAMILY_V4 },
	{ NODE_KEY "IPv6Address", ANNOTATION_PREFIX, offsetof(struct node, address[FAMILY_V6]), FAMILY_V6 },
	{ NODE_KEY "IPv6VXLANTunnelAddr", ANNOTATION_ADDR, offsetof(struct node, tunnel[TUNNEL_VXLAN_V6]), FAMILY_V6 },
	{ NODE_KEY "VXLANTunnelMACAddr", ANNOTATION_MAC, offsetof(struct node, vxlan_mac[FAMILY_V4]), FAMILY_V4 },
	{ NODE_KEY "VXLANTunnelMACAddrV6", ANNOTATION_MAC, offsetof(struct node, vxlan_mac[FAMILY_V6]), FAMILY_V6 },
};

/* One annotation to its field; false with *e. */
static bool annotation_parse(struct node *n, unsigned key, const char *text, struct err *e)
{
	void *field = (char *)n + node_keys[key].offset;
	struct prefix p = { 0 };

	if (node_keys[key].type == ANNOTATION_MAC) {
		if (!mac_parse(field, text))
			err_set(e, EINVAL, "%s: not a MAC address", text);
		return !e->code;
	}
	if (prefix_parse(&p, text, e) < 0)
		return false;
	if (family_index(p.addr.family) != node_keys[key].family)
		err_set(e, EINVAL, "%s: of the other family", text);
	else if (node_keys[key].type == ANNOTATION_PREFIX)
		*(struct prefix *)field = p;
	else
		*(struct addr *)field = p.addr;
	return !e->code;
}

static int node_annotations_read(struct json_ctx *c, json_value object, struct node *n)
{
	for (unsigned i = 0; i < ARRAY_SIZE(node_keys); i++) {
		const char *text = label_find(n->meta.annotations, n->meta.annotation_count, node_keys[i].key);
		struct err e = { 0 };

		if (text && *text && !annotation_parse(n, i, text, &e))
			return json_refuse(c, json_get(c->j, json_path(c->j, object, "metadata.annotations"), node_keys[i].key),
					   "%s", e.text);
	}
	return 0;
}

/* An InternalIP stands in for the annotation; a host name is no address and is passed over. */
static int read_address(struct json_ctx *c, json_value v, void *field)
{
	json_value text = json_get(c->j, v, "address");
	struct prefix *address = field;
	struct err ignored = { 0 };
	struct json_ctx quiet = { .j = c->j, .e = &ignored };
	struct addr a;

	if (json_is(c->j, json_get(c->j, v, "type"), "InternalIP") && json_read_addr(&quiet, text, &a) == 0 &&
	    !address[family_index(a.family)].addr.family)
		address[family_index(a.family)] = prefix_host(&a);
	return 0;
}

static int read_addresses(struct json_ctx *c, json_value v, void *field)
{
	return json_elements(c, v, read_address, field);
}

/* The first of each family counts. */
static int read_pod_cidr(struct json_ctx *c, json_value v, void *field)
{
	struct prefix *cidr = field, p;

	if (json_read_prefix(c, v, &p) < 0)
		return -EINVAL;
	if (!cidr[family_index(p.addr.family)].addr.family)
		cidr[family_index(p.addr.family)] = p;
	return 0;
}

static int read_pod_cidrs(struct json_ctx *c, json_value v, void *field)
{
	return json_elements(c, v, read_pod_cidr, field);
}

static int read_condition(struct json_ctx *c, json_value v, void *field)
{
	if (json_is(c->j, json_get(c->j, v, "type"), "NetworkUnavailable"))
		*(bool *)field = json_is(c->j, json_get(c->j, v, "status"), "False");
	return 0;
}

static int read_conditions(struct json_ctx *c, json_value v, void *field)
{
	return json_elements(c, v, read_condition, field);
}

static int read_boot(struct json_ctx *c, json_value v, void *field)
{
	const char *id = NULL;

	if (json_read_string(c, v, &id) < 0)
		return -EINVAL;
	*(uint64_t *)field = *id ? fnv64a(id, strlen(id)) : 0;
	return 0;
}

static const struct json_field node_fields[] = {
	{ "spec.podCIDRs", offsetof(struct node, pod_cidr), read_pod_cidrs, false },
	{ "spec.podCIDR", offsetof(struct node, pod_cidr), read_pod_cidr, false },
	{ "status.addresses", offsetof(struct node, address), read_addresses, false },
	{ "status.conditions", offsetof(struct node, network_up), read_conditions, false },
	{ "status.nodeInfo.bootID", offsetof(struct node, boot), read_boot, false },
};

void node_vxlan_mac(uint8_t mac[6], const char *name, int family)
{
	char text[OBJECT_NAME_MAX + 3];
	uint8_t digest[20];

	snprintf(text, sizeof text, "%.253s%s", name, family == FAMILY_V6 ? "-v6" : "");
	sha1(digest, text, strlen(text));
	mac[0] = 0x66;
	memcpy(mac + 1, digest, 5);
}

int node_decode(struct json_ctx *c, json_value object, struct row *row)
{
	struct node *n = container_of(row, struct node, row);

	for (int f = 0; f < FAMILIES; f++)
		node_vxlan_mac(n->vxlan_mac[f], n->meta.name, f);
	if (node_annotations_read(c, object, n) < 0)
		return -EINVAL;
	return json_fields(c, object, node_fields, ARRAY_SIZE(node_fields), n);
}

uint64_t node_digest(const struct row *row)
{
	const struct node *n = container_of(row, struct node, row);
	uint64_t h = digest_labels(n->meta.deleting, n->meta.labels, n->meta.label_count);

	h = digest_bytes(h, n->address, sizeof n->address);
	h = digest_bytes(h, n->tunnel, sizeof n->tunnel);
	h = digest_bytes(h, n->pod_cidr, sizeof n->pod_cidr);
	h = digest_bytes(h, &n->boot, sizeof n->boot);
	return digest_bytes(h, n->vxlan_mac, sizeof n->vxlan_mac);
}

/* Only a user's half has them, and that is copied by way of its text. */
static void pod_cidrs_encode(struct json_out *o, const struct node *n)
{
	json_open(o, "spec", '{');
	json_open(o, "podCIDRs", '[');
	for (int f = 0; f < FAMILIES; f++)
		if (n->pod_cidr[f].addr.family)
			json_put_string(o, NULL, prefix_text(&n->pod_cidr[f]).s);
	json_close(o, ']');
	json_close(o, '}');
}

void node_encode(struct json_out *o, const struct row *row)
{
	const struct node *n = container_of(row, struct node, row);

	if (n->pod_cidr[FAMILY_V4].addr.family || n->pod_cidr[FAMILY_V6].addr.family)
		pod_cidrs_encode(o, n);
	json_open(o, "status", '{');
	json_open(o, "addresses", '[');
	for (int f = 0; f < FAMILIES; f++) {
		if (!n->address[f].addr.family)
			continue;
		json_open(o, NULL, '{');
		json_put_string(o, "type", "InternalIP");
		json_put_string(o, "address", addr_text(&n->address[f].addr).s);
		json_close(o, '}');
	}
	json_close(o, ']');
	json_close(o, '}');
}

void node_merge(struct row *agent, const struct row *user)
{
	struct node *to = container_of(agent, struct node, row);
	const struct node *from = container_of(user, struct node, row);

	to->meta.labels = labels_copy(&agent->mem, from->meta.labels, from->meta.label_count);
	to->meta.label_count = from->meta.label_count;
	memcpy(to->pod_cidr, from->pod_cidr, sizeof to->pod_cidr);
}

static bool has_vxlan(const struct node *n, int family)
{
	return n->tunnel[encapsulation_tunnel(ENCAP_VXLAN, family_of(family))].family;
}

/* What annotation i says of n; "" when there is nothing to say. */
static void annotation_text(char out[64], const struct node *n, unsigned i)
{
	const void *field = (const char *)n + node_keys[i].offset;

	if (node_keys[i].type == ANNOTATION_PREFIX)
		str_copy(out, 64, prefix_text(field).s);
	else if (node_keys[i].type == ANNOTATION_ADDR)
		str_copy(out, 64, addr_text(field).s);
	else if (has_vxlan(n, node_keys[i].family))	/* no device, no MAC */
		str_copy(out, 64, mac_text(field).s);
	else
		*out = '\0';
}

void node_annotations_patch(struct json_out *o, const struct node *n)
{
	char text[64];

	for (unsigned i = 0; i < ARRAY_SIZE(node_keys); i++) {
		annotation_text(text, n, i);
		json_put_string(o, node_keys[i].key, *text ? text : NULL);
	}
}

static bool is_node_key(const char *key)
{
	for (unsigned i = 0; i < ARRAY_SIZE(node_keys); i++) {
		if (strcmp(key, node_keys[i].key) == 0)
			return true;
	}
	return false;
}

void node_annotations(struct arena *mem, struct node *n)
{
	struct label *all = arena_alloc(mem, (n->meta.annotation_count + ARRAY_SIZE(node_keys)) * sizeof *all);
	unsigned count = 0;

	for (unsigned i = 0; i < n->meta.annotation_count; i++) {
		if (!is_node_key(n->meta.annotations[i].key))
			all[count++] = n->meta.annotations[i];
	}
	for (unsigned i = 0; i < ARRAY_SIZE(node_keys); i++) {
		char text[64];

		annotation_text(text, n, i);
		if (*text)
			all[count++] = (struct label){ node_keys[i].key, arena_str(mem, text) };
	}
	n->meta.annotations = all;
	n->meta.annotation_count = count;
}
