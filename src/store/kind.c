#include "store/kind.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/policy.h"
#include "store/kind_int.h"

#define ROW(type, member) \
	.table = offsetof(struct model, member), .meta = offsetof(struct type, meta), .row_size = sizeof(struct type)
#define CALICO { "crd.projectcalico.org/v1", "projectcalico.org/v3" }
#define AGENTS_ONLY .agents = true, .agents_only = true
#define OF_BLOCKS AGENTS_ONLY, .of_blocks = true
#define CNI_ONLY "cni.projectcalico.org/"	/* the others may be many and large */

static const char *const pod_ballast[] = {
	"volumes", "volumeMounts", "containerStatuses", "initContainerStatuses", "ephemeralContainers", "conditions", "env",
	"envFrom", "command", "args", "resources", "tolerations", "affinity", "securityContext", "livenessProbe",
	"readinessProbe", "startupProbe", "lifecycle", NULL
};
static const char *const node_ballast[] = {
	"images", "capacity", "allocatable", "volumesAttached", "volumesInUse", "daemonEndpoints", NULL
};
const char *const kind_no_ballast[] = { NULL };

const struct kind kinds[] = {
	{ .kind = "Namespace", .plural = "namespaces", .api_versions = { "v1" }, ROW(namespace, namespaces),
	  .annotations = CNI_ONLY, .decode = namespace_decode, .digest = namespace_digest },
	{ .kind = "Pod", .plural = "pods", .api_versions = { "v1" }, .namespaced = true, ROW(pod, pods),
	  .ballast = pod_ballast, .annotations = CNI_ONLY, .decode = pod_decode, .digest = pod_digest, .pack = pod_pack },
	{ .kind = "Node", .plural = "nodes", .api_versions = { "v1" }, .agents = true, ROW(node, nodes),
	  .ballast = node_ballast, .decode = node_decode, .digest = node_digest, .encode = node_encode, .merge = node_merge, .pack = node_pack },
	{ .kind = "IPPool", .plural = "ippools", .api_versions = CALICO, .agents = true, ROW(pool, pools),
	  .decode = pool_decode, .digest = pool_digest, .encode = pool_encode },
	{ .kind = "IPAMBlock", .plural = "ipamblocks", .api_versions = CALICO, OF_BLOCKS, ROW(block, blocks),
	  .decode = block_decode, .digest = block_digest, .encode = block_encode },
	{ .kind = "BlockAffinity", .plural = "blockaffinities", .api_versions = CALICO, OF_BLOCKS,
	  ROW(affinity, affinities),
	  .decode = affinity_decode, .digest = affinity_digest, .encode = affinity_encode },
	{ .kind = "IPAMHandle", .plural = "ipamhandles", .api_versions = CALICO, OF_BLOCKS, ROW(handle, handles),
	  .decode = handle_decode, .digest = handle_digest, .encode = handle_encode },
	{ .kind = "IPAMConfig", .plural = "ipamconfigs", .api_versions = { "crd.projectcalico.org/v1" },
	  ROW(ipam_config, ipam_configs), .annotations = CNI_ONLY, .decode = ipam_config_decode, .digest = ipam_config_digest },
	{ .kind = "IPAMConfiguration", .plural = "ipamconfigurations", .api_versions = { "projectcalico.org/v3" },
	  ROW(ipam_config, ipam_configurations), .annotations = CNI_ONLY,
	  .decode = ipam_config_decode, .digest = ipam_config_digest },
	{ .kind = "IPReservation", .plural = "ipreservations", .api_versions = CALICO, ROW(reservation, reservations),
	  .annotations = CNI_ONLY, .decode = reservation_decode, .digest = reservation_digest },
	{ .kind = "ClusterInformation", .plural = "clusterinformations", .api_versions = CALICO,
	  ROW(namespace, cluster_informations), .annotations = CNI_ONLY, .decode = namespace_decode, .digest = namespace_digest },
	{ .kind = "WorkloadEndpoint", .plural = "workloadendpoints", .api_versions = { "projectcalico.org/v3" },
	  .namespaced = true, AGENTS_ONLY, ROW(workload, workloads),
	  .decode = workload_decode, .digest = workload_digest, .encode = workload_encode },
	{ .kind = "NetworkPolicy", .plural = "networkpolicies", .api_versions = { "networking.k8s.io/v1" },
	  .namespaced = true, ROW(policy, network_policies), .place = offsetof(struct policy, place),
	  .annotations = CNI_ONLY, .closed = true, .decode = policy_decode, .digest = policy_digest },
};
const unsigned kind_count = ARRAY_SIZE(kinds);

bool kind_is_used(const struct kind *k, const struct config *c)
{
	return c->ipam == IPAM_BLOCK || !k->of_blocks;
}

const struct kind *kind_named(const char *kind)
{
	for (unsigned i = 0; i < kind_count; i++) {
		if (strcmp(kinds[i].kind, kind) == 0 || strcmp(kinds[i].plural, kind) == 0)
			return &kinds[i];
	}
	return NULL;
}

struct table *kind_table(const struct kind *k, struct model *m)
{
	return (struct table *)((char *)m + k->table);
}

struct meta *kind_meta(const struct kind *k, struct row *row)
{
	return (struct meta *)((char *)row + k->meta);
}

struct place *kind_place(const struct kind *k, struct row *row)
{
	return (struct place *)((char *)row + k->place);
}

/* --- names --- */

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* RFC 1123: labels of lower case letters, digits and '-', no '-' at the ends; dots where there may be several. */
static bool dns_name(const char *name, size_t max, bool dots)
{
	size_t len = strlen(name);

	if (!len || len > max || !is_alnum(name[0]) || !is_alnum(name[len - 1]))
		return false;
	for (const char *p = name; *p; p++) {
		if (is_alnum(*p) || *p == '-')
			continue;
		if (*p != '.' || !dots || !is_alnum(p[-1]) || !is_alnum(p[1]))
			return false;
	}
	return true;
}

/* Names that have a CNI network's or container's id in them, which may have '_' and end as it likes. */
static bool loose_name(const char *name)
{
	static const char fit[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = strspn(name, fit);

	return len && !name[len] && len < OBJECT_NAME_MAX && name[0] != '.';
}

bool kind_name_ok(const struct kind *k, const char *namespace, const char *name)
{
	if (k->namespaced ? !dns_name(namespace, OBJECT_NAMESPACE_MAX - 1, false) : *namespace != '\0')
		return false;
	if (k->decode == handle_decode || k->decode == workload_decode)
		return loose_name(name);
	if (k->decode == namespace_decode)
		return dns_name(name, OBJECT_NAMESPACE_MAX - 1, false);
	return dns_name(name, OBJECT_NAME_MAX - 1, true);
}

bool object_key(char out[OBJECT_KEY_MAX], const struct object_ref *ref)
{
	struct prefix cidr;

	if (!ref->kind || !*ref->name)
		return false;
	if (ref->kind->decode == block_decode) {
		if (!block_name_parse(&cidr, ref->name))
			return false;
		return str_copy(out, OBJECT_KEY_MAX, prefix_text(&cidr).s);
	}
	snprintf(out, OBJECT_KEY_MAX, "%s%s%s", ref->namespace, ref->kind->namespaced ? "/" : "", ref->name);
	return true;
}

bool object_ref_set(struct object_ref *ref, const struct kind *k, const char *key)
{
	const char *slash = strchr(key, '/');
	struct prefix cidr;

	*ref = (struct object_ref){ .kind = k };
	if (k->decode == block_decode) {
		if (prefix_parse(&cidr, key, NULL) < 0)
			return false;
		block_name(ref->name, &cidr);
		return true;
	}
	if (!k->namespaced)
		return str_copy(ref->name, sizeof ref->name, key) && kind_name_ok(k, "", key);
	if (!slash || (size_t)(slash - key) >= sizeof ref->namespace)
		return false;
	memcpy(ref->namespace, key, (size_t)(slash - key));
	return str_copy(ref->name, sizeof ref->name, slash + 1) && kind_name_ok(k, ref->namespace, ref->name);
}

/* --- reading --- */

static const struct kind *kind_of(const struct json *j, json_value api_version, json_value kind)
{
	for (unsigned i = 0; i < kind_count; i++) {
		const struct kind *k = &kinds[i];

		if (json_is(j, kind, k->kind) &&
		    (json_is(j, api_version, k->api_versions[0]) ||
		     (k->api_versions[1] && json_is(j, api_version, k->api_versions[1]))))
			return k;
	}
	return NULL;
}

void kind_identify(const struct json *j, json_value object, const struct kind *k, struct object_ref *ref)
{
	json_value meta = json_get(j, object, "metadata"), namespace = json_get(j, meta, "namespace");

	ref->kind = k;
	ref->namespace[0] = '\0';
	if (k->namespaced && (json_type(j, namespace) == JSON_NULL || json_is(j, namespace, "")))
		str_copy(ref->namespace, sizeof ref->namespace, "default");
	else if (k->namespaced && !json_copy(j, namespace, ref->namespace, sizeof ref->namespace))
		ref->namespace[0] = '\0';
	if (!json_copy(j, json_get(j, meta, "name"), ref->name, sizeof ref->name) || !kind_name_ok(k, ref->namespace, ref->name))
		ref->name[0] = '\0';
}

/* metadata and the key.  Where the kind fails closed, the identity alone will do. */
static int identity_decode(struct json_ctx *c, json_value object, const struct object_ref *ref, struct row *row)
{
	struct meta *m = kind_meta(ref->kind, row);
	char key[OBJECT_KEY_MAX];
	bool bad;

	if (!*ref->name)
		return meta_refuse(c, object, ref->kind);
	if (!object_key(key, ref))
		return json_refuse_member(c, object, "metadata.name", "%s: not the name of a CIDR", ref->name);
	row->key = arena_str(&row->mem, key);
	m->namespace = arena_str(&row->mem, ref->namespace);
	m->name = ref->kind->decode == block_decode ? arena_str(&row->mem, ref->name) : row->key + strlen(key) - strlen(ref->name);
	m->uid = "";
	bad = meta_decode(c, object, ref->kind, m) < 0;
	if (bad && ref->kind->closed)
		*m = (struct meta){ .namespace = m->namespace, .name = m->name, .uid = "" };
	return bad && !ref->kind->closed ? -EINVAL : 0;
}

static struct row *row_decode(struct json_ctx *c, json_value object, const struct object_ref *ref)
{
	struct row *row = row_new(ref->kind->row_size);

	c->mem = &row->mem;
	if (identity_decode(c, object, ref, row) < 0 ||
	    (ref->kind->decode(c, object, row) < 0 && !ref->kind->closed)) {
		row_free(row);
		return NULL;
	}
	row->digest = ref->kind->digest(row);
	return row;
}

struct row *kind_decode_as(const struct json *j, json_value object, const struct kind *k, struct object_ref *ref, struct err *e)
{
	struct json_ctx c = { .j = j, .e = e, .root = object };

	kind_identify(j, object, k, ref);
	return row_decode(&c, object, ref);
}

struct row *kind_decode(const struct json *j, json_value object, struct object_ref *ref, struct err *e)
{
	json_value api_version = json_get(j, object, "apiVersion"), kind = json_get(j, object, "kind");
	struct json_ctx c = { .j = j, .e = e, .root = object };
	struct object_ref ignored;
	const struct kind *k;

	ref = ref ? ref : &ignored;
	*ref = (struct object_ref){ 0 };
	*e = (struct err){ 0 };
	if (json_type(j, object) != JSON_OBJECT) {
		json_refuse(&c, object, "want an object");
		return NULL;
	}
	if (json_type(j, api_version) != JSON_STRING || json_type(j, kind) != JSON_STRING) {
		bool no_kind = json_type(j, kind) != JSON_STRING;

		json_refuse_member(&c, object, no_kind ? "kind" : "apiVersion",
				   (no_kind ? kind : api_version) < 0 ? "missing" : "want a string");
		return NULL;
	}
	k = kind_of(j, api_version, kind);
	if (!k)
		return NULL;
	return kind_decode_as(j, object, k, ref, e);
}

/* --- writing --- */

void kind_encode_head(const struct kind *k, const struct meta *m, uint64_t version, struct str *out)
{
	struct json_out o = { .to = out };
	char text[24];

	json_open(&o, NULL, '{');
	json_put_string(&o, "apiVersion", k->api_versions[0]);
	json_put_string(&o, "kind", k->kind);
	json_open(&o, "metadata", '{');
	json_put_string(&o, "name", m->name);
	if (k->namespaced)
		json_put_string(&o, "namespace", m->namespace);
	if (!version)
		return;
	snprintf(text, sizeof text, "%llu", (unsigned long long)version);
	json_put_string(&o, "resourceVersion", text);
}

void kind_encode(const struct kind *k, const struct row *row, uint64_t version, struct str *out)
{
	const struct meta *m = kind_meta(k, (struct row *)row);
	struct json_out o = { .to = out, .comma = true };

	kind_encode_head(k, m, version, out);
	meta_encode_rest(&o, m);
	json_close(&o, '}');
	k->encode(&o, row);
	json_close(&o, '}');
}
