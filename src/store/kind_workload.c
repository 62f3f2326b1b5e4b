/* WorkloadEndpoint: a pod as its node publishes it, in Calico's v3 form. */
#include "store/kind_int.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"

/* ipNetworks holds single addresses: "10.42.1.2/32". */
static int read_network(struct json_ctx *c, json_value v, void *item)
{
	struct prefix *p = item;

	if (json_read_prefix(c, v, p) < 0)
		return -EINVAL;
	if (p->len != addr_bits(&p->addr))
		return json_refuse(c, v, "%s: want one address", prefix_text(p).s);
	return 0;
}

static int read_networks(struct json_ctx *c, json_value v, void *field)
{
	struct addr *ips = field;
	struct arena scratch = { 0 };
	struct json_ctx in = *c;
	void *items;
	unsigned count;
	int rc;

	in.mem = &scratch;
	rc = json_array(&in, v, sizeof(struct prefix), read_network, &items, &count);
	for (unsigned i = 0; rc == 0 && i < count; i++) {
		const struct addr *a = &((struct prefix *)items)[i].addr;
		struct addr *to = &ips[family_index(a->family)];

		if (to->family)
			rc = json_refuse(c, v, "%s: a second address of its family", addr_text(a).s);
		*to = *a;
	}
	arena_free(&scratch);
	return rc;
}

#define FIELD(name, member, read) { name, offsetof(struct workload, member), read, false }
#define NEED(name, member, read) { name, offsetof(struct workload, member), read, true }
static const struct json_field spec_fields[] = {
	NEED("node", node, json_read_string),
	FIELD("pod", pod, json_read_string),
	FIELD("containerID", container, json_read_string),
	FIELD("endpoint", endpoint, json_read_string),
	FIELD("interfaceName", interface, json_read_string),
	FIELD("mac", mac, json_read_string),
	FIELD("ipNetworks", ips, read_networks),
};

static int read_spec(struct json_ctx *c, json_value v, void *field)
{
	return json_fields(c, v, spec_fields, ARRAY_SIZE(spec_fields), field);
}

static const struct json_field object_fields[] = { { "spec", 0, read_spec, true } };

int workload_decode(struct json_ctx *c, json_value object, struct row *row)
{
	struct workload *w = container_of(row, struct workload, row);
	const char **optional[] = { &w->pod, &w->container, &w->endpoint, &w->interface, &w->mac };

	if (json_fields(c, object, object_fields, ARRAY_SIZE(object_fields), w) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_SIZE(optional); i++)
		*optional[i] = *optional[i] ? *optional[i] : "";
	return 0;
}

uint64_t workload_digest(const struct row *row)
{
	const struct workload *w = container_of(row, struct workload, row);
	const char *const texts[] = { w->node, w->pod, w->container, w->endpoint, w->interface, w->mac };
	uint64_t h = digest_labels(w->meta.deleting, w->meta.labels, w->meta.label_count);

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		h = digest_text(h, texts[i] ? texts[i] : "");
	return digest_bytes(h, w->ips, sizeof w->ips);
}

static void put_some(struct json_out *o, const char *name, const char *value)
{
	if (value && *value)
		json_put_string(o, name, value);
}

void workload_encode(struct json_out *o, const struct row *row)
{
	const struct workload *w = container_of(row, struct workload, row);

	json_open(o, "spec", '{');
	json_put_string(o, "orchestrator", w->pod && *w->pod ? "k8s" : "cni");
	json_put_string(o, "node", w->node);
	put_some(o, "pod", w->pod);
	put_some(o, "containerID", w->container);
	put_some(o, "endpoint", w->endpoint);
	put_some(o, "interfaceName", w->interface);
	put_some(o, "mac", w->mac);
	json_open(o, "ipNetworks", '[');
	for (int f = 0; f < FAMILIES; f++) {
		struct prefix host = prefix_host(&w->ips[f]);

		if (host.addr.family)
			json_put_string(o, NULL, prefix_text(&host).s);
	}
	json_close(o, ']');
	json_close(o, '}');
}
