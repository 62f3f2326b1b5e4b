/* WorkloadEndpoint: a pod as its node publishes it, in Calico's v3 form. */
#include "store/kind_int.h"

#include <errno.h>

#include "base/util.h"

/* ipNetworks holds single addresses: "10.42.1.2/32". */
static int read_network(struct json_ctx *c, json_value v, void *field)
{
	struct addr *ips = field, *to;
	struct prefix p;

	if (json_read_prefix(c, v, &p) < 0)
		return -EINVAL;
	if (p.len != addr_bits(&p.addr))
		return json_refuse(c, v, "%s: want one address", prefix_text(&p).s);
	to = &ips[family_index(p.addr.family)];
	if (to->family)
		return json_refuse(c, v, "%s: a second address of its family", addr_text(&p.addr).s);
	*to = p.addr;
	return 0;
}

static int read_networks(struct json_ctx *c, json_value v, void *field)
{
	return json_elements(c, v, read_network, field);
}

#define TEXT(name, member, required) { "spec." name, offsetof(struct workload, member), json_read_string, required }
static const struct json_field fields[] = {
	TEXT("node", node, true),
	TEXT("pod", pod, false),
	TEXT("containerID", container, false),
	TEXT("endpoint", endpoint, false),
	TEXT("interfaceName", interface, false),
	TEXT("mac", mac, false),
	{ "spec.ipNetworks", offsetof(struct workload, ips), read_networks, false },
};

int workload_decode(struct json_ctx *c, json_value object, struct row *row)
{
	struct workload *w = container_of(row, struct workload, row);
	const char **optional[] = { &w->pod, &w->container, &w->endpoint, &w->interface, &w->mac };

	if (json_fields(c, object, fields, ARRAY_SIZE(fields), w) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_SIZE(optional); i++)
		*optional[i] = *optional[i] ? *optional[i] : "";
	return 0;
}

uint64_t workload_digest(const struct row *row)
{
	const struct workload *w = container_of(row, struct workload, row);
	uint64_t h = digest_labels(w->meta.deleting, w->meta.labels, w->meta.label_count);

	h = fields_digest(h, fields, ARRAY_SIZE(fields), w);
	return digest_bytes(h, w->ips, sizeof w->ips);
}

void workload_encode(struct json_out *o, const struct row *row)
{
	const struct workload *w = container_of(row, struct workload, row);

	json_open(o, "spec", '{');
	json_put_string(o, "orchestrator", w->pod && *w->pod ? "k8s" : "cni");
	fields_encode(o, fields, ARRAY_SIZE(fields), w);
	json_open(o, "ipNetworks", '[');
	for (int f = 0; f < FAMILIES; f++) {
		struct prefix host = prefix_host(&w->ips[f]);

		if (host.addr.family)
			json_put_string(o, NULL, prefix_text(&host).s);
	}
	json_close(o, ']');
	json_close(o, '}');
}
