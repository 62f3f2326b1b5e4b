/* links: src/store/kind.c src/store/kind_block.c src/store/kind_core.c src/store/kind_ipam.c src/store/kind_meta.c src/store/kind_pack.c src/store/kind_policy.c src/store/kind_ipamrules.c src/store/kind_pool.c src/store/kind_workload.c src/store/objects.c src/wire/yaml.c src/wire/yaml_names.c src/wire/yaml_plain.c src/wire/json.c src/wire/json_check.c src/wire/json_fields.c src/wire/json_out.c src/model/model.c src/model/policy.c src/model/selector.c src/model/tunnel.c src/base/arena.c src/base/digest.c src/base/err.c src/base/fs.c src/base/hash.c src/base/log.c src/base/mac.c src/base/prefix.c src/base/str.c src/base/table.c src/base/util.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/util.h"
#include "store/store.h"

/* --- helpers --- */

static struct row *decode(const char *text, struct object_ref *ref, struct err *e)
{
	struct row *row;
	struct json j;

	if (json_parse(&j, text, strlen(text), e) < 0)
		fail_msg("%s in %s", e->text, text);
	row = kind_decode(&j, 0, ref, e);
	json_free(&j);
	return row;
}

static void *good(const char *text)
{
	struct err e = { 0 };
	struct row *row = decode(text, NULL, &e);

	if (!row)
		fail_msg("%s in %s", e.text, text);
	return row;
}

/* The text without its '^' is refused with exactly these words, and the place where the '^' stood. */
static void bad(const char *marked, const char *want)
{
	const char *mark = strchr(marked, '^');
	autostr struct str text = { 0 }, whole = { 0 };
	unsigned line = 1, column = 1;
	struct err e = { 0 };
	struct row *row;

	assert_non_null(mark);
	for (const char *p = marked; p < mark; p++) {
		column = *p == '\n' ? 1 : column + 1;
		line += *p == '\n';
	}
	str_printf(&text, "%.*s%s", (int)(mark - marked), marked, mark + 1);
	str_printf(&whole, "%u:%u: %s", line, column, want);
	row = decode(text.s, NULL, &e);
	if (row)
		fail_msg("accepted: %s", text.s);
	assert_string_equal(e.text, whole.s);
}

#define META(kind, api, rest) "{\"apiVersion\":\"" api "\",\"kind\":\"" kind "\",\"metadata\":{" rest "}"
#define CRD(kind, name, spec) \
	META(kind, "crd.projectcalico.org/v1", "\"name\":\"" name "\"") ",\n\"spec\":{" spec "}}"
/* Nothing in spec, and the mark before it. */
#define CRD_EMPTY(kind) META(kind, "crd.projectcalico.org/v1", "\"name\":\"x\"") ",\n\"spec\":^{}}"

static void check_label(const struct label *l, unsigned count, const char *key, const char *value)
{
	const char *have = label_find(l, count, key);

	if (!value) {
		assert_null(have);
		return;
	}
	assert_non_null(have);
	assert_string_equal(have, value);
}

static uint64_t digest_of(const char *text)
{
	struct row *row = good(text);
	uint64_t digest = row->digest;

	row_free(row);
	return digest;
}

/* --- the table --- */

static void test_kinds_are_found_by_version_kind_and_plural(void **state)
{
	(void)state;
	assert_string_equal(kind_named("Pod")->plural, "pods");
	assert_null(kind_named("Pods"));
	for (unsigned i = 0; i < kind_count; i++) {
		assert_ptr_equal(kind_named(kinds[i].kind), &kinds[i]);
		assert_ptr_equal(kind_named(kinds[i].plural), &kinds[i]);
		assert_non_null(kinds[i].api_versions[0]);
		assert_true(!kinds[i].agents == !kinds[i].encode);
	}
	assert_null(kind_named("Gateway"));
}

static void test_foreign_kind_is_no_error(void **state)
{
	struct object_ref ref;
	struct err e = { 0 };

	(void)state;
	assert_null(decode("{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\"}", &ref, &e));
	assert_null(ref.kind);
	assert_int_equal(e.code, 0);
	assert_null(decode("{\"apiVersion\":\"crd.projectcalico.org/v9\",\"kind\":\"IPPool\"}", &ref, &e));
	assert_int_equal(e.code, 0);
}

static void test_what_is_no_object_is_refused(void **state)
{
	(void)state;
	bad("^[]", "want an object");
	bad("^{\"kind\":\"Pod\"}", "apiVersion: missing");
	bad("^{\"apiVersion\":\"v1\"}", "kind: missing");
	bad("{\"apiVersion\":\"v1\",\n \"kind\":^3}", "kind: want a string");
	bad("^{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}", "metadata.name: missing");
	bad("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":^[]}", "metadata: want an object");
	bad("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":^{}}", "metadata.name: missing");
}

/* --- metadata --- */

static void test_names_are_checked(void **state)
{
	struct object_ref ref;
	struct err e = { 0 };

	(void)state;
	bad(META("Pod", "v1", "\"name\":^\"Web\"") "}",
	    "metadata.name: Web: want lower case letters, digits, '-' and '.'");
	bad(META("Pod", "v1", "\"name\":^\"../x\"") "}",
	    "metadata.name: ../x: want lower case letters, digits, '-' and '.'");
	bad(META("Pod", "v1", "\"name\":^\"a..b\"") "}",
	    "metadata.name: a..b: want lower case letters, digits, '-' and '.'");
	bad(META("Pod", "v1", "\"name\":\"x\",\"namespace\":^\"a.b\"") "}",
	    "metadata.namespace: a.b: not a namespace's name");
	bad(META("Namespace", "v1", "\"name\":^\"a.b\"") "}",
	    "metadata.name: a.b: want lower case letters, digits, '-' and '.'");
	assert_null(decode(META("Pod", "v1", "\"name\":\"/\"") "}", &ref, &e));
	assert_string_equal(ref.name, "");
	row_free(good(META("Pod", "v1", "\"name\":\"web-0.a\"") "}"));
	row_free(good(CRD("IPAMHandle", "my_net.-", "\"handleID\":\"my_net.-\"")));
}

static void test_defaults_of_the_api_server_are_filled_in(void **state)
{
	struct namespace *ns = good(META("Namespace", "v1", "\"name\":\"shop\",\"labels\":{\"b\":\"2\",\"a\":null}") "}");
	struct pod *p = good(META("Pod", "v1", "\"name\":\"web\"") "}");

	(void)state;
	assert_string_equal(ns->row.key, "shop");
	assert_string_equal(ns->meta.namespace, "");
	assert_int_equal(ns->meta.label_count, 3);
	check_label(ns->meta.labels, 3, "kubernetes.io/metadata.name", "shop");
	check_label(ns->meta.labels, 3, "a", "");
	check_label(ns->meta.labels, 3, "b", "2");
	assert_string_equal(p->row.key, "default/web");
	assert_string_equal(p->meta.namespace, "default");
	assert_string_equal(p->service_account, "default");
	assert_string_equal(p->node, "");
	assert_string_equal(p->meta.uid, "");
	assert_int_equal(p->phase, POD_PENDING);
	row_free(&ns->row);
	row_free(&p->row);
}

static void test_labels_are_strings_and_once(void **state)
{
	(void)state;
	bad(META("Namespace", "v1", "\"name\":\"x\",\"labels\":{\"a\":^1}") "}",
	    "metadata.labels.a: want a string");
	bad(META("Namespace", "v1", "\"name\":\"x\",\"labels\":^{\"a\":\"1\",\"b\":\"\",\"a\":\"2\"}") "}",
	    "metadata.labels: a: given twice");
	bad(META("Namespace", "v1", "\"name\":\"x\",\"labels\":^[]") "}", "metadata.labels: want an object");
	bad(META("Namespace", "v1", "\"name\":\"x\",^\"name\":\"y\"") "}", "metadata.name: given twice");
}

static void test_version_is_a_number(void **state)
{
	struct pool *p = good(META("IPPool", "projectcalico.org/v3",
				   "\"name\":\"x\",\"resourceVersion\":\"18446744073709551615\"")
			      ",\"spec\":{\"cidr\":\"10.0.0.0/16\"}}");

	(void)state;
	assert_true(p->meta.version == UINT64_MAX);
	row_free(&p->row);
	bad(META("Namespace", "v1", "\"name\":\"x\",\"resourceVersion\":^\"1e3\"") "}",
	    "metadata.resourceVersion: 1e3: want a decimal number");
}

#define WRAPPED(mark, inner) "\"name\":\"x\",\"labels\":{\"a\":\"own\",\"b\":\"own\"},\"annotations\":" mark "{" \
	"\"c\":\"own\",\"projectcalico.org/metadata\":\"" inner "\"}"

static void test_wrapped_metadata_is_laid_over(void **state)
{
	struct pool *p = good(META("IPPool", "crd.projectcalico.org/v1",
		WRAPPED("", "{\\\"labels\\\":{\\\"b\\\":\\\"in\\\",\\\"d\\\":\\\"in\\\"},"
			"\\\"annotations\\\":{\\\"e\\\":\\\"in\\\"},\\\"creationTimestamp\\\":null}"))
		",\"spec\":{\"cidr\":\"10.0.0.0/16\"}}");

	(void)state;
	assert_int_equal(p->meta.label_count, 3);
	check_label(p->meta.labels, 3, "a", "own");
	check_label(p->meta.labels, 3, "b", "in");
	check_label(p->meta.labels, 3, "d", "in");
	assert_int_equal(p->meta.annotation_count, 2);
	check_label(p->meta.annotations, 2, "c", "own");
	check_label(p->meta.annotations, 2, "e", "in");
	row_free(&p->row);
	bad(META("IPPool", "crd.projectcalico.org/v1", WRAPPED("^", "{")) ",\"spec\":{\"cidr\":\"10.0.0.0/16\"}}",
	    "metadata.annotations: projectcalico.org/metadata: 1:2: the text ends: want a member's name in quotes");
}

/* --- Pod --- */

#define POD(spec, status) META("Pod", "v1", "\"name\":\"web\",\"namespace\":\"shop\",\"uid\":\"u-1\"") \
	",\"spec\":{" spec "},\"status\":{" status "}}"

static void test_pod_fields(void **state)
{
	struct pod *p = good(POD("\"nodeName\":\"edge1\",\"serviceAccountName\":\"bot\",\"hostNetwork\":true",
		"\"phase\":\"Succeeded\",\"podIP\":\"10.9.9.9\",\"podIPs\":[{\"ip\":\"fd00::5\"},{\"ip\":\"10.42.1.5\"}]"));

	(void)state;
	assert_string_equal(p->row.key, "shop/web");
	assert_string_equal(p->meta.uid, "u-1");
	assert_string_equal(p->node, "edge1");
	assert_string_equal(p->service_account, "bot");
	assert_true(p->host_network);
	assert_int_equal(p->phase, POD_SUCCEEDED);
	assert_string_equal(addr_text(&p->ips[FAMILY_V4]).s, "10.42.1.5");
	assert_string_equal(addr_text(&p->ips[FAMILY_V6]).s, "fd00::5");
	row_free(&p->row);
}

static void test_pod_addresses_come_from_status_then_annotation(void **state)
{
	static const char noted[] = META("Pod", "v1", "\"name\":\"web\",\"annotations\":{\"team\":\"big text\","
		"\"cni.projectcalico.org/podIPs\":\"10.42.1.7/32,fd00::7/128\",\"cni.projectcalico.org/podIP\":\"10.42.1.8/32\"}");
	struct pod *p = good(POD("", "\"podIP\":\"10.42.1.6\""));
	char text[512];

	(void)state;
	assert_string_equal(addr_text(&p->ips[FAMILY_V4]).s, "10.42.1.6");
	assert_int_equal(p->ips[FAMILY_V6].family, 0);
	row_free(&p->row);
	snprintf(text, sizeof text, "%s}", noted);
	p = good(text);
	assert_string_equal(addr_text(&p->ips[FAMILY_V4]).s, "10.42.1.7");
	assert_string_equal(addr_text(&p->ips[FAMILY_V6]).s, "fd00::7");
	assert_int_equal(p->meta.annotation_count, 2);
	check_label(p->meta.annotations, 2, "team", NULL);
	row_free(&p->row);
	snprintf(text, sizeof text, "%s,\"status\":{\"podIP\":\"10.42.1.6\"}}", noted);
	p = good(text);
	assert_string_equal(addr_text(&p->ips[FAMILY_V4]).s, "10.42.1.6");
	assert_int_equal(p->ips[FAMILY_V6].family, 0);
	row_free(&p->row);
}

static void test_bad_pods(void **state)
{
	(void)state;
	bad(POD("\"nodeName\":^7", ""), "spec.nodeName: want a string");
	bad(POD("", "\"phase\":^\"Runing\""),
	    "status.phase: want one of Pending, Running, Succeeded, Failed, Unknown");
	bad(POD("", "\"podIPs\":[{\"ip\":\"10.1.1.1\"},{\"ip\":^\"10.1.1\"}]"),
	    "status.podIPs[1].ip: 10.1.1: not an IP address");
	bad(POD("", "\"podIPs\":^{}"), "status.podIPs: want an array");
}

static void test_pod_digest_knows_what_matters(void **state)
{
	static const char base[] = POD("\"nodeName\":\"edge1\"", "\"phase\":\"Running\"");
	static const char *const others[] = {
		POD("\"nodeName\":\"edge2\"", "\"phase\":\"Running\""),
		POD("\"nodeName\":\"edge1\"", "\"phase\":\"Failed\""),
		POD("\"nodeName\":\"edge1\",\"hostNetwork\":true", "\"phase\":\"Running\""),
		POD("\"nodeName\":\"edge1\",\"serviceAccountName\":\"bot\"", "\"phase\":\"Running\""),
		POD("\"nodeName\":\"edge1\"", "\"phase\":\"Running\",\"podIP\":\"10.42.1.1\""),
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		assert_true(digest_of(base) != digest_of(others[i]));
	assert_true(digest_of(base) == digest_of(POD("\"nodeName\":\"edge1\",\"containers\":[]",
						     "\"phase\":\"Running\",\"conditions\":[]")));
	assert_true(digest_of(META("Pod", "v1", "\"name\":\"x\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}") "}") ==
		    digest_of(META("Pod", "v1", "\"name\":\"x\",\"resourceVersion\":\"9\",\"labels\":{\"b\":\"2\",\"a\":\"1\"}") "}"));
	assert_true(digest_of(META("Pod", "v1", "\"name\":\"x\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}") "}") !=
		    digest_of(META("Pod", "v1", "\"name\":\"x\",\"labels\":{\"a\":\"2\",\"b\":\"1\"}") "}"));
}

/* --- Node --- */

#define NODE(annotations, rest) META("Node", "v1", "\"name\":\"edge1\",\"annotations\":{" annotations "}") rest "}"
#define INTERNAL ",\"status\":{\"addresses\":[{\"type\":\"Hostname\",\"address\":\"edge1\"}," \
	"{\"type\":\"InternalIP\",\"address\":\"192.0.2.7\"},{\"type\":\"InternalIP\",\"address\":\"192.0.2.8\"}," \
	"{\"type\":\"ExternalIP\",\"address\":\"2001:db8::1\"},{\"type\":\"InternalIP\",\"address\":\"fd07::7\"}]}"

static void test_node_addresses_from_annotations(void **state)
{
	struct node *n = good(NODE("\"projectcalico.org/IPv4Address\":\"192.168.7.20/24\","
		"\"projectcalico.org/IPv4IPIPTunnelAddr\":\"10.42.0.1\",\"projectcalico.org/IPv4VXLANTunnelAddr\":\"10.42.0.2\","
		"\"projectcalico.org/IPv6VXLANTunnelAddr\":\"fd00::2\",\"projectcalico.org/VXLANTunnelMACAddr\":\"66:0A:bc:00:01:02\"",
		INTERNAL));
	static const uint8_t mac[6] = { 0x66, 0x0a, 0xbc, 0, 1, 2 };
	uint8_t derived[6];

	(void)state;
	assert_string_equal(prefix_text(&n->address[FAMILY_V4]).s, "192.168.7.20/24");
	assert_string_equal(prefix_text(&n->address[FAMILY_V6]).s, "fd07::7/128");
	assert_string_equal(addr_text(&n->tunnel[TUNNEL_IPIP]).s, "10.42.0.1");
	assert_string_equal(addr_text(&n->tunnel[TUNNEL_VXLAN]).s, "10.42.0.2");
	assert_string_equal(addr_text(&n->tunnel[TUNNEL_VXLAN_V6]).s, "fd00::2");
	assert_memory_equal(n->vxlan_mac[FAMILY_V4], mac, 6);
	node_vxlan_mac(derived, "edge1", FAMILY_V6);
	assert_memory_equal(n->vxlan_mac[FAMILY_V6], derived, 6);
	row_free(&n->row);
}

static void test_node_addresses_from_status(void **state)
{
	struct node *n = good(NODE("", INTERNAL));
	/* 0x66 and the start of SHA-1("edge1"), as sha1sum says */
	static const uint8_t mac[6] = { 0x66, 0x62, 0xc4, 0x83, 0x20, 0x55 }, mac_v6[6] = { 0x66, 0xe1, 0x5c, 0xcd, 0x0e, 0x68 };

	(void)state;
	assert_string_equal(prefix_text(&n->address[FAMILY_V4]).s, "192.0.2.7/32");
	assert_string_equal(prefix_text(&n->address[FAMILY_V6]).s, "fd07::7/128");
	assert_memory_equal(n->vxlan_mac[FAMILY_V4], mac, 6);
	assert_memory_equal(n->vxlan_mac[FAMILY_V6], mac_v6, 6);
	row_free(&n->row);
	n = good(NODE("", ",\"status\":{\"nodeInfo\":{\"bootID\":\"91a7\"}}"));
	assert_true(n->boot == fnv64a("91a7", 4));
	row_free(&n->row);
}

static void test_pod_cidrs(void **state)
{
	static const char *const objects[] = {
		NODE("", ",\"spec\":{\"podCIDR\":\"10.42.1.0/24\",\"podCIDRs\":[\"10.42.1.0/24\",\"fd00::/64\"]}"),
		NODE("", ",\"spec\":{\"podCIDRs\":[\"fd00::/64\",\"10.42.1.0/24\",\"10.42.2.0/24\"]}"),
	};
	struct node *n = good(NODE("", ",\"spec\":{\"podCIDR\":\"10.42.1.0/24\"}")), *agent = good(NODE("", ""));

	(void)state;
	assert_string_equal(prefix_text(&n->pod_cidr[FAMILY_V4]).s, "10.42.1.0/24");
	assert_int_equal(n->pod_cidr[FAMILY_V6].addr.family, 0);
	assert_true(n->row.digest != agent->row.digest);
	kind_named("Node")->merge(&agent->row, &n->row);
	assert_true(prefix_equal(&agent->pod_cidr[FAMILY_V4], &n->pod_cidr[FAMILY_V4]));
	row_free(&n->row);
	row_free(&agent->row);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		n = good(objects[i]);
		assert_string_equal(prefix_text(&n->pod_cidr[FAMILY_V4]).s, "10.42.1.0/24");
		assert_string_equal(prefix_text(&n->pod_cidr[FAMILY_V6]).s, "fd00::/64");
		row_free(&n->row);
	}
	bad(NODE("", ",\"spec\":{\"podCIDR\":^\"10.42.1.1/24\"}"), "spec.podCIDR: 10.42.1.1/24: bits behind the prefix length are set, want 10.42.1.0/24");
}

static void test_bad_nodes(void **state)
{
	(void)state;
	bad(NODE("\n\"projectcalico.org/IPv4Address\":^\"fd07::1/64\"", ""),
	    "metadata.annotations.projectcalico.org/IPv4Address: fd07::1/64: of the other family");
	bad(NODE("\"projectcalico.org/IPv6Address\":^\"1.2\"", ""),
	    "metadata.annotations.projectcalico.org/IPv6Address: 1.2: not an IP address");
	bad(NODE("\"projectcalico.org/VXLANTunnelMACAddr\":^\"66:0a\"", ""),
	    "metadata.annotations.projectcalico.org/VXLANTunnelMACAddr: 66:0a: not a MAC address");
	row_free(good(NODE("\"projectcalico.org/IPv4Address\":\"\"", "")));
}

static void test_node_annotations_say_what_the_row_says(void **state)
{
	struct node *n = good(NODE("\"keep\":\"me\",\"projectcalico.org/IPv4Address\":\"192.168.7.20/24\","
				   "\"projectcalico.org/IPv4IPIPTunnelAddr\":\"10.42.0.1\"", ""));
	const struct meta *m = &n->meta;

	(void)state;
	n->tunnel[TUNNEL_IPIP] = (struct addr){ 0 };
	assert_int_equal(addr_parse(&n->tunnel[TUNNEL_VXLAN], "10.42.0.9", NULL), 0);
	node_annotations(&n->row.mem, n);
	assert_int_equal(m->annotation_count, 4);
	check_label(m->annotations, 4, "keep", "me");
	check_label(m->annotations, 4, "projectcalico.org/IPv4Address", "192.168.7.20/24");
	check_label(m->annotations, 4, "projectcalico.org/IPv4VXLANTunnelAddr", "10.42.0.9");
	check_label(m->annotations, 4, "projectcalico.org/VXLANTunnelMACAddr", "66:62:c4:83:20:55");
	row_free(&n->row);
}

static void test_node_merge_takes_labels_from_the_user(void **state)
{
	struct row *agent = good(NODE("\"projectcalico.org/IPv4Address\":\"192.168.7.20/24\"", ""));
	struct row *user = good(META("Node", "v1", "\"name\":\"edge1\",\"labels\":{\"zone\":\"a\"},"
				     "\"annotations\":{\"projectcalico.org/IPv4Address\":\"1.2.3.4/24\"}") "}");
	const struct node *n = container_of(agent, struct node, row);

	(void)state;
	kind_named("Node")->merge(agent, user);
	row_free(user);
	assert_string_equal(prefix_text(&n->address[FAMILY_V4]).s, "192.168.7.20/24");
	assert_int_equal(n->meta.label_count, 1);
	check_label(n->meta.labels, 1, "zone", "a");
	row_free(agent);
}

/* --- IPPool --- */

#define POOL(spec) CRD("IPPool", "p", spec)

static void test_pool_defaults(void **state)
{
	struct pool *p = good(POOL("\"cidr\":\"10.42.0.0/16\""));

	(void)state;
	assert_string_equal(prefix_text(&p->cidr).s, "10.42.0.0/16");
	assert_int_equal(p->block_size, 26);
	assert_int_equal(p->encapsulation, ENCAP_NONE);
	assert_false(p->nat_outgoing || p->disabled || p->disable_bgp_export || p->manual);
	assert_true(p->use_workload && p->use_tunnel);
	assert_string_equal(p->node_selector, "all()");
	assert_string_equal(p->namespace_selector, "");
	assert_true(!p->nodes && !p->namespaces);
	row_free(&p->row);
	p = good(POOL("\"cidr\":\"fd00:10:42::/48\",\"vxlanMode\":\"Always\""));
	assert_int_equal(p->block_size, 122);
	assert_int_equal(p->encapsulation, ENCAP_VXLAN);
	row_free(&p->row);
}

static void test_pool_fields(void **state)
{
	struct pool *p = good(META("IPPool", "projectcalico.org/v3", "\"name\":\"p\"") ",\"status\":{\"conditions\":["
		"{\"type\":\"Allocatable\",\"status\":\"False\"}]},\"spec\":{\"cidr\":\"10.42.0.0/16\",\"blockSize\":28,"
		"\"ipipMode\":\"CrossSubnet\",\"natOutgoing\":true,\"disableBGPExport\":true,\"nodeSelector\":\"zone == 'a'\","
		"\"allowedUses\":[\"Tunnel\"],\"assignmentMode\":\"Manual\"}}");

	(void)state;
	assert_int_equal(p->block_size, 28);
	assert_int_equal(p->encapsulation, ENCAP_IPIP_CROSS_SUBNET);
	assert_true(p->nat_outgoing && p->disable_bgp_export && p->manual && p->use_tunnel);
	assert_false(p->use_workload);
	assert_true(p->disabled);	/* a controller found it unfit */
	assert_string_equal(p->node_selector, "zone == 'a'");
	assert_non_null(p->nodes);
	assert_null(p->namespaces);
	row_free(&p->row);
	p = good(POOL("\"cidr\":\"10.42.0.0/16\",\"allowedUses\":[\"LoadBalancer\"]"));
	assert_false(p->use_workload || p->use_tunnel);
	row_free(&p->row);
}

static void test_bad_pools(void **state)
{
	static const struct { const char *text, *want; } cases[] = {
		{ CRD_EMPTY("IPPool"), "spec.cidr: missing" },
		{ POOL("\"cidr\":^\"10.42.0.1/16\""),
		  "spec.cidr: 10.42.0.1/16: bits behind the prefix length are set, want 10.42.0.0/16" },
		{ POOL("\"cidr\":^\"169.254.0.0/20\""), "spec.cidr: link-local addresses are no pool" },
		{ POOL("\"cidr\":^\"fe80::/64\""), "spec.cidr: link-local addresses are no pool" },
		{ POOL("\"cidr\":\"10.42.0.0/16\",\"blockSize\":^19"), "spec.blockSize: want 20 to 32" },
		{ POOL("\"cidr\":\"fd00::/64\",\"blockSize\":^115"), "spec.blockSize: want 116 to 128" },
		{ POOL("\"cidr\":\"10.42.0.0/27\",\"blockSize\":^26"), "spec.blockSize: the pool is smaller than one block" },
		{ POOL("\"cidr\":^\"10.42.0.0/27\""), "spec.cidr: the pool is smaller than one block" },
		{ POOL("\"cidr\":\"10.42.0.0/16\",\"ipipMode\":\"Always\",\"vxlanMode\":^\"Always\""),
		  "spec.vxlanMode: ipipMode is set too" },
		{ POOL("\"cidr\":\"fd00::/64\",\"ipipMode\":^\"Always\""), "spec.ipipMode: IPv6 has no IPIP" },
		{ POOL("\"cidr\":\"10.42.0.0/16\",\"ipipMode\":^\"always\""),
		  "spec.ipipMode: want one of Never, Always, CrossSubnet" },
		{ POOL("\"cidr\":\"10.42.0.0/16\",\"allowedUses\":[\"Tunnel\",^\"Pod\"]"),
		  "spec.allowedUses[1]: want one of Workload, Tunnel, LoadBalancer" },
		{ POOL("\"cidr\":\"10.42.0.0/16\",\"allowedUses\":^[\"Tunnel\",\"LoadBalancer\"]"),
		  "spec.allowedUses: LoadBalancer must be alone" },
		{ POOL("\"cidr\":\"10.42.0.0/16\",\"natOutgoing\":^\"yes\""), "spec.natOutgoing: want true or false" },
		{ POOL("\"cidr\":\"10.42.0.0/16\",\"nodeSelector\":^\"zone = 1\""), "spec.nodeSelector: column 6: want an operator" },
		{ POOL("\"cidr\":\"10.42.0.0/16\",\"namespaceSelector\":^\"has(\""), "spec.namespaceSelector: column 5: want a label" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		bad(cases[i].text, cases[i].want);
}

/* --- IPAMConfig, IPReservation --- */

static void test_ipam_config(void **state)
{
	struct ipam_config *i = good(CRD("IPAMConfig", "default", ""));

	(void)state;
	assert_true(i->auto_allocate);
	assert_false(i->strict_affinity || i->max_blocks || i->cooldown_s);
	row_free(&i->row);
	i = good(META("IPAMConfiguration", "projectcalico.org/v3", "\"name\":\"default\"") ",\"spec\":{\"strictAffinity\":true,"
		 "\"autoAllocateBlocks\":false,\"maxBlocksPerHost\":4,\"ipCooldownSeconds\":30}}");
	assert_true(i->strict_affinity && !i->auto_allocate && i->max_blocks == 4 && i->cooldown_s == 30);
	row_free(&i->row);
	bad(CRD("IPAMConfig", "default", "\"autoAllocateBlocks\":^false"),
	    "spec.autoAllocateBlocks: false wants strictAffinity true");
	bad(CRD("IPAMConfig", "default", "\"ipCooldownSeconds\":^1201"), "spec.ipCooldownSeconds: want 0 to 1200");
}

static void test_reservation(void **state)
{
	struct reservation *r = good(CRD("IPReservation", "r", "\"reservedCIDRs\":[\"10.42.0.0/30\",\"fd00::/126\"]"));

	(void)state;
	assert_int_equal(r->count, 2);
	assert_string_equal(prefix_text(&r->cidrs[1]).s, "fd00::/126");
	row_free(&r->row);
	bad(CRD("IPReservation", "r", "\"reservedCIDRs\":[\"10.42.0.0/30\",^\"10.42\"]"),
	    "spec.reservedCIDRs[1]: 10.42: not an IP address");
}

/* --- IPAMBlock --- */

#define BLOCK(spec) CRD("IPAMBlock", "10-42-17-64-30", "\"cidr\":\"10.42.17.64/30\"" spec)

static void test_block_names_lead_to_the_cidr_and_back(void **state)
{
	static const char *const pairs[][2] = {
		{ "10.42.17.64/26", "10-42-17-64-26" },
		{ "fd00:10:42::40/122", "fd00-10-42--40-122" },
		{ "fd00::/64", "fd00---64" },
		{ "1:2:3:4:5:6:7:8/128", "1-2-3-4-5-6-7-8-128" },
		{ "::/0", "---0" },
	};
	static const char *const none[] = { "", "x", "10-42-17-64", "10-42-17-64-33", "10-42-17-064-26", "FD00---64", "-" };
	struct prefix p;
	char name[64];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
		assert_int_equal(prefix_parse(&p, pairs[i][0], NULL), 0);
		block_name(name, &p);
		assert_string_equal(name, pairs[i][1]);
		assert_true(block_name_parse(&p, pairs[i][1]));
		assert_string_equal(prefix_text(&p).s, pairs[i][0]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(none); i++)
		assert_false(block_name_parse(&p, none[i]));
}

static void test_block_as_calico_writes_it(void **state)
{
	struct block *b = good(BLOCK(",\"affinity\":\"host:edge1\",\"affinityClaimTime\":\"2026-08-01T09:00:00Z\","
		"\"strictAffinity\":false,\"allocations\":[0,null,1,null],\"unallocated\":[3,1],\"attributes\":["
		"{\"handle_id\":\"h\",\"secondary\":{\"node\":\"edge1\",\"pod\":\"web\",\"namespace\":\"shop\",\"type\":null}},"
		"{ \"releasedAt\" : \"2026-08-01T09:10:00Z\" }],\"sequenceNumber\":9007199254740993,"
		"\"sequenceNumberForAllocation\":{\"0\":9223372036854775807,\"2\":-1},\"deleted\":false"));

	(void)state;
	assert_string_equal(b->row.key, "10.42.17.64/30");
	assert_string_equal(b->affinity, "host:edge1");
	assert_string_equal(b->node, "edge1");
	assert_string_equal(b->affinity_claim_time, "2026-08-01T09:00:00Z");
	assert_int_equal(b->size, 4);
	assert_int_equal(b->allocations[0], 0);
	assert_int_equal(b->allocations[1], BLOCK_FREE);
	assert_int_equal(b->allocations[2], 1);
	assert_int_equal(b->free_count, 2);
	assert_int_equal(b->unallocated[0], 3);
	assert_int_equal(b->unallocated[1], 1);
	assert_int_equal(b->attribute_count, 2);
	assert_string_equal(b->attributes[0].handle, "h");
	assert_string_equal(b->attributes[0].pod, "web");
	assert_string_equal(b->attributes[0].namespace, "shop");
	assert_string_equal(b->attributes[0].node, "edge1");
	assert_null(b->attributes[0].type);
	assert_null(b->attributes[1].handle);
	assert_string_equal(b->attributes[1].released_at, "2026-08-01T09:10:00Z");
	assert_string_equal(b->attributes[1].json, "{ \"releasedAt\" : \"2026-08-01T09:10:00Z\" }");
	assert_true(b->sequence == 9007199254740993ll);		/* a double cannot hold it */
	assert_true(b->sequences[0] == INT64_MAX);
	assert_true(b->sequences[2] == -1);
	assert_false(b->deleted);
	row_free(&b->row);
}

static void test_block_odd_forms(void **state)
{
	struct block *b = good(BLOCK(",\"affinity\":null,\"allocations\":[],\"Deleted\":true"));

	(void)state;
	assert_null(b->affinity);
	assert_null(b->node);
	assert_int_equal(b->free_count, 4);
	assert_int_equal(b->unallocated[3], 3);
	assert_true(b->deleted);
	row_free(&b->row);
	b = good(BLOCK(",\"affinity\":\"virtual:load-balancer\",\"allocations\":null,\"deleted\":\"true\""));
	assert_string_equal(b->affinity, "virtual:load-balancer");
	assert_null(b->node);
	assert_true(b->deleted);
	row_free(&b->row);
}

static void test_block_allocations_win_over_the_free_list(void **state)
{
	struct block *b = good(BLOCK(",\"allocations\":[null,0,null,null],\"unallocated\":[3,1,3],\"attributes\":[{}]"));

	(void)state;
	assert_int_equal(b->free_count, 3);
	assert_int_equal(b->unallocated[0], 3);
	assert_int_equal(b->unallocated[1], 0);
	assert_int_equal(b->unallocated[2], 2);
	row_free(&b->row);
}

static void test_bad_blocks(void **state)
{
	static const struct { const char *text, *want; } cases[] = {
		{ META("IPAMBlock", "projectcalico.org/v3", "\"name\":^\"web\"") "}", "metadata.name: web: not the name of a CIDR" },
				{ CRD("IPAMBlock", "10-42-17-64-30", "\"cidr\":^\"10.42.17.64/29\""),
		  "spec.cidr: 10.42.17.64/29: metadata.name says 10.42.17.64/30" },
		{ CRD("IPAMBlock", "10-42-0-0-19", "\"cidr\":^\"10.42.0.0/19\""),
		  "spec.cidr: 10.42.0.0/19: more than 4096 addresses" },
		{ BLOCK(",\"allocations\":^[0]"), "spec.allocations: 1 entries, the block has 4 addresses" },
		{ BLOCK(",\"allocations\":[null,null,null,^0]"), "spec.allocations[3]: 0 is no index of an attribute" },
		{ BLOCK(",\"allocations\":[null,null,null,^-2]"), "spec.allocations[3]: -2 is no index of an attribute" },
		{ BLOCK(",\"allocations\":[null,^\"x\",null,null]"), "spec.allocations[1]: want a number" },
		{ BLOCK(",\"unallocated\":[0,^4]"), "spec.unallocated[1]: 4 is no ordinal of this block" },
		{ BLOCK(",\"unallocated\":[^null]"), "spec.unallocated[0]: want a number" },
		{ BLOCK(",\"attributes\":[{},{\"handle_id\":^1}]"), "spec.attributes[1].handle_id: want a string" },
		{ BLOCK(",\"attributes\":[{\"secondary\":^[]}]"), "spec.attributes[0].secondary: want an object" },
		{ BLOCK(",\"sequenceNumber\":^9223372036854775808"), "spec.sequenceNumber: number out of range" },
		{ BLOCK(",\"sequenceNumber\":^1.5"), "spec.sequenceNumber: want a whole number" },
		{ BLOCK(",\"sequenceNumberForAllocation\":{^\"4\":1}"),
		  "spec.sequenceNumberForAllocation.4: 4 is no ordinal of this block" },
		{ BLOCK(",\"sequenceNumberForAllocation\":{\"1\":^\"1\"}"),
		  "spec.sequenceNumberForAllocation.1: want a number" },
		{ BLOCK(",\"deleted\":^\"yes\""), "spec.deleted: want true or false" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		bad(cases[i].text, cases[i].want);
}

static void test_block_attributes_survive_byte_for_byte(void **state)
{
	static const char entry[] = "{\"handle_id\":\"h\",\"alternateOwnerAttrs\":{\"a\": 1.50},\"secondary\":"
				    "{\"vmi-uid\":\"\\u00e9\",\"node\":\"edge1\"},\"new\":[true, null]}";
	autostr struct str text = { 0 }, out = { 0 };
	struct row *row;

	(void)state;
	str_printf(&text, "%s%s%s", "{\"apiVersion\":\"crd.projectcalico.org/v1\",\"kind\":\"IPAMBlock\",\"metadata\":"
		   "{\"name\":\"10-42-17-64-30\"},\"spec\":{\"cidr\":\"10.42.17.64/30\",\"allocations\":[0,null,null,null],"
		   "\"attributes\":[", entry, "]}}");
	row = good(text.s);
	kind_encode(kind_named("IPAMBlock"), row, 7, &out);
	assert_non_null(strstr(out.s, entry));
	row_free(row);
}

static void test_block_attribute_without_text_is_built(void **state)
{
	struct block *b = good(BLOCK(",\"allocations\":[0,null,null,null],\"attributes\":[{}]"));
	autostr struct str out = { 0 };

	(void)state;
	b->attributes[0] = (struct block_attribute){ .handle = "h", .node = "edge1", .pod = "web", .namespace = "shop" };
	b->sequences[0] = INT64_MIN;
	b->sequences[3] = INT64_MAX;
	kind_encode(kind_named("IPAMBlock"), &b->row, 0, &out);
	assert_non_null(strstr(out.s, "{\"0\":-9223372036854775808,\"3\":9223372036854775807}"));
	assert_non_null(strstr(out.s, "\"attributes\":[{\"handle_id\":\"h\",\"secondary\":"
			       "{\"namespace\":\"shop\",\"node\":\"edge1\",\"pod\":\"web\"}}]"));
	assert_null(strstr(out.s, "resourceVersion"));
	row_free(&b->row);
}

static void test_block_digest_leaves_out_sequence_numbers(void **state)
{
	(void)state;
	assert_true(digest_of(BLOCK(",\"sequenceNumber\":1")) == digest_of(BLOCK(",\"sequenceNumber\":2")));
	assert_true(digest_of(BLOCK("")) != digest_of(BLOCK(",\"affinity\":\"host:edge1\"")));
	assert_true(digest_of(BLOCK("")) != digest_of(BLOCK(",\"allocations\":[0,null,null,null],\"attributes\":[{}]")));
	assert_true(digest_of(BLOCK(",\"attributes\":[{\"handle_id\":\"a\"}]")) !=
		    digest_of(BLOCK(",\"attributes\":[{\"handle_id\":\"b\"}]")));
}

/* --- BlockAffinity, IPAMHandle --- */

#define AFFINITY(spec) CRD("BlockAffinity", "e-10-0-0-0-26", "\"cidr\":\"10.0.0.0/26\",\"node\":\"e\"" spec)

static void test_affinity_forms(void **state)
{
	struct affinity *a = good(AFFINITY(",\"state\":\"\",\"deleted\":\"true\""));

	(void)state;
	assert_int_equal(a->state, AFFINITY_CONFIRMED);
	assert_string_equal(a->type, "host");
	assert_true(a->deleted);
	row_free(&a->row);
	a = good(AFFINITY(",\"state\":\"pendingDeletion\",\"type\":\"virtual\",\"deleted\":false"));
	assert_int_equal(a->state, AFFINITY_PENDING_DELETION);
	assert_string_equal(a->type, "virtual");
	assert_false(a->deleted);
	row_free(&a->row);
	bad(AFFINITY(",\"state\":^\"done\""), "spec.state: want one of confirmed, pending, pendingDeletion");
	bad(AFFINITY(",\"deleted\":^1"), "spec.deleted: want true or false");
}

static void test_affinity_names_are_cut_and_hashed(void **state)
{
	struct prefix p;
	char name[254], node[254];

	(void)state;
	assert_int_equal(prefix_parse(&p, "10.42.17.64/26", NULL), 0);
	affinity_name(name, "edge1", &p);
	assert_string_equal(name, "edge1-10-42-17-64-26");
	memset(node, 'n', 253);
	node[253] = '\0';
	affinity_name(name, node, &p);
	assert_int_equal(strlen(name), 252);
	node[252 - 14 - 13] = '\0';
	assert_memory_equal(name, node, strlen(node));
	/* "-" CIDR name "-", then the start of SHA-256(node + CIDR name) */
	assert_string_equal(name + strlen(node), "-10-42-17-64-26-f7d6ba5af0f");
	node[252 - 15] = '\0';		/* 252 in all: one short of the limit */
	memset(node, 'n', 252 - 15);
	affinity_name(name, node, &p);
	assert_int_equal(strlen(name), 252);
	assert_string_equal(name + strlen(node), "-10-42-17-64-26");
}

static void test_affinity_labels_are_those_that_calico_lists_by(void **state)
{
	struct affinity *a = good(AFFINITY(""));

	(void)state;
	a->node = "edge1";
	affinity_labels(&a->row.mem, a);
	assert_int_equal(a->meta.label_count, 3);
	check_label(a->meta.labels, 3, "projectcalico.org/hostname-hash", "E5S3Q6MN75RQXNU7KI7MCNM2GJNNXSI3JHPJVBSZWRVOVNIMRYVA");
	check_label(a->meta.labels, 3, "projectcalico.org/affinity-type", "host");
	check_label(a->meta.labels, 3, "projectcalico.org/ip-version", "4");
	row_free(&a->row);
}

static void test_handle_forms(void **state)
{
	struct handle *h = good(CRD("IPAMHandle", "net.abc", "\"handleID\":\"net.ABC\",\"block\":"
				    "{\"10.42.0.0/26\":2,\"fd00::/122\":1},\"deleted\":false"));

	(void)state;
	assert_string_equal(h->row.key, "net.abc");
	assert_string_equal(h->id, "net.ABC");
	assert_int_equal(h->block_count, 2);
	assert_string_equal(prefix_text(&h->blocks[1].cidr).s, "fd00::/122");
	assert_int_equal(h->blocks[0].count, 2);
	row_free(&h->row);
	row_free(good(CRD("IPAMHandle", "x", "\"handleID\":\"x\",\"block\":null")));
	bad(CRD("IPAMHandle", "x", "\"handleID\":\"x\",\"block\":{\"10.42.0.0/26\":^-1}"),
	    "spec.block.10.42.0.0/26: number out of range");
	bad(CRD("IPAMHandle", "x", "\"handleID\":\"x\",\"block\":{^\"10.42.0/26\":1}"),
	    "spec.block.10.42.0/26: 10.42.0/26: not an IP address with prefix length");
	bad(CRD_EMPTY("IPAMHandle"), "spec.handleID: missing");
}

/* --- WorkloadEndpoint --- */

static void test_workload_forms(void **state)
{
#define WORKLOAD(spec) META("WorkloadEndpoint", "projectcalico.org/v3", "\"name\":\"w\"") ",\"spec\":{" spec "}}"
	struct workload *w = good(WORKLOAD("\"node\":\"e\",\"ipNetworks\":[\"fd00::5/128\",\"10.42.1.5\"]"));

	(void)state;
	assert_string_equal(w->row.key, "default/w");
	assert_string_equal(addr_text(&w->ips[FAMILY_V4]).s, "10.42.1.5");
	assert_string_equal(addr_text(&w->ips[FAMILY_V6]).s, "fd00::5");
	assert_string_equal(w->pod, "");
	row_free(&w->row);
	bad(META("WorkloadEndpoint", "projectcalico.org/v3", "\"name\":\"w\"") ",\"spec\":^{}}", "spec.node: missing");
	bad(WORKLOAD("\"node\":\"e\",\"ipNetworks\":[^\"10.42.1.0/24\"]"), "spec.ipNetworks[0]: 10.42.1.0/24: want one address");
	bad(WORKLOAD("\"node\":\"e\",\"ipNetworks\":[\"10.42.1.1\",^\"10.42.1.2\"]"),
	    "spec.ipNetworks[1]: 10.42.1.2: a second address of its family");
#undef WORKLOAD
}

/* --- what is written --- */

static void test_written_objects_match_the_golden_files(void **state)
{
	(void)state;
	for (unsigned i = 0; i < kind_count; i++) {
		autostr struct str want = { 0 }, have = { 0 }, head = { 0 };
		const struct kind *k = &kinds[i];
		struct row *row;
		char path[128];

		if (!k->agents)
			continue;
		snprintf(path, sizeof path, "tests/golden/written/%s.json", k->plural);
		if (fs_read(AT_FDCWD, path, JSON_SIZE_MAX, &want) < 0)
			fail_msg("%s: cannot read", path);
		row = good(want.s);
		kind_encode(k, row, kind_meta(k, row)->version, &have);
		kind_encode_head(k, kind_meta(k, row), kind_meta(k, row)->version, &head);
		str_puts(&have, "\n");
		assert_string_equal(have.s, want.s);
		assert_memory_equal(have.s, head.s, head.len);
		row_free(row);
	}
}

static void test_keys_lead_to_names_and_back(void **state)
{
	static const struct { const char *kind, *key, *namespace, *name; } cases[] = {
		{ "IPAMBlock", "10.42.17.64/26", "", "10-42-17-64-26" },
		{ "IPAMBlock", "fd00:10:42::40/122", "", "fd00-10-42--40-122" },
		{ "Pod", "shop/web-0", "shop", "web-0" },
		{ "IPPool", "default-ipv4-ippool", "", "default-ipv4-ippool" },
	};
	struct object_ref ref;
	char key[OBJECT_KEY_MAX];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(object_ref_set(&ref, kind_named(cases[i].kind), cases[i].key));
		assert_string_equal(ref.namespace, cases[i].namespace);
		assert_string_equal(ref.name, cases[i].name);
		assert_true(object_key(key, &ref));
		assert_string_equal(key, cases[i].key);
	}
	assert_false(object_ref_set(&ref, kind_named("Pod"), "web"));
	assert_false(object_ref_set(&ref, kind_named("Pod"), "../web"));
	assert_false(object_ref_set(&ref, kind_named("IPPool"), "../../etc"));
	assert_false(object_ref_set(&ref, kind_named("IPAMBlock"), "x"));
	assert_false(object_ref_set(&ref, kind_named("IPAMHandle"), ".."));
}

/* --- texts of many objects --- */

static void collect(void *ctx, bool bad, const char *text)
{
	str_printf(ctx, "%s%s\n", bad ? "" : "not bad: ", text);
}

static void test_check_text_names_every_bad_object(void **state)
{
	static const char text[] =
		"[{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"ok\"}},\n"
		" {\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[\n"
		"  {\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"UP\"}},\n"
		"  {\"apiVersion\":\"v1\",\"kind\":\"Service\"}, 7]},\n"
		" {\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":null}]";
	autostr struct str said = { 0 };

	(void)state;
	assert_int_equal(store_check_text(TEXT_JSON, text, strlen(text), collect, &said), -EINVAL);
	assert_string_equal(said.s, "3:54: metadata.name: UP: want lower case letters, digits, '-' and '.'\n"
			    "not bad: 4:3: kind Service (v1) is not used by this version: ignored\n"
			    "4:41: want an object\n");
	str_clear(&said);
	assert_int_equal(store_check_text(TEXT_JSON, "[", 1, collect, &said), -EINVAL);
	assert_int_equal(strncmp(said.s, "1:2: ", 5), 0);
	str_clear(&said);
	assert_int_equal(store_check_text(TEXT_JSON, "[]", 2, collect, &said), 0);
	assert_int_equal(store_check_text(TEXT_JSON, text, 66, collect, &said), -EINVAL);
}

static void test_check_text_counts_objects_and_names_what_is_there_twice(void **state)
{
	static const char good[] = "[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}},\n"
				   " {\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"a\"}},\n"
				   " {\"apiVersion\":\"apps/v1\",\"kind\":\"Gadget\"}]";
	static const char twice[] = "[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}},\n"
				    " {\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\","
				    "\"namespace\":\"default\"}}]";
	autostr struct str said = { 0 };

	(void)state;
	assert_int_equal(store_check_text(TEXT_JSON, good, strlen(good), collect, &said), 2);
	assert_string_equal(said.s, "not bad: 3:2: kind Gadget (apps/v1) is not used by this version: ignored\n");
	str_clear(&said);
	assert_int_equal(store_check_text(TEXT_JSON, twice, strlen(twice), collect, &said), -EINVAL);
	assert_string_equal(said.s, "2:2: Pod default/a: named before in this file\n");
}

static void put_text(void *ctx, struct store_object *o)
{
	store_object_text(ctx, o);
	str_puts(ctx, "\n");
}

static void test_an_objects_text_has_its_namespace(void **state)
{
	static const char text[] = "{\"metadata\": {\"name\": \"a\"}, \"apiVersion\": \"v1\", \"kind\": \"Pod\"}";
	static const char yaml[] = "apiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: shop}\n"
				   "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: c\n";
	autostr struct str said = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(store_read_text(text_guess("-", text), text, strlen(text), put_text, &said, &e), 0);
	assert_string_equal(said.s, "{\"metadata\": {\"namespace\":\"default\",\"name\": \"a\"}, \"apiVersion\": \"v1\", "
			    "\"kind\": \"Pod\"}\n");
	str_clear(&said);
	assert_int_equal(store_read_text(text_guess("-", yaml), yaml, strlen(yaml), put_text, &said, &e), 0);
	assert_string_equal(said.s, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"b\","
			    "\"namespace\":\"shop\"}}\n{\"apiVersion\":\"v1\",\"kind\":\"Namespace\","
			    "\"metadata\":{\"name\":\"c\"}}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds_are_found_by_version_kind_and_plural),
		cmocka_unit_test(test_foreign_kind_is_no_error),
		cmocka_unit_test(test_what_is_no_object_is_refused),
		cmocka_unit_test(test_names_are_checked),
		cmocka_unit_test(test_defaults_of_the_api_server_are_filled_in),
		cmocka_unit_test(test_labels_are_strings_and_once),
		cmocka_unit_test(test_version_is_a_number),
		cmocka_unit_test(test_wrapped_metadata_is_laid_over),
		cmocka_unit_test(test_pod_fields),
		cmocka_unit_test(test_pod_addresses_come_from_status_then_annotation),
		cmocka_unit_test(test_bad_pods),
		cmocka_unit_test(test_pod_digest_knows_what_matters),
		cmocka_unit_test(test_node_addresses_from_annotations),
		cmocka_unit_test(test_node_addresses_from_status),
		cmocka_unit_test(test_pod_cidrs),
		cmocka_unit_test(test_bad_nodes),
		cmocka_unit_test(test_node_annotations_say_what_the_row_says),
		cmocka_unit_test(test_node_merge_takes_labels_from_the_user),
		cmocka_unit_test(test_pool_defaults),
		cmocka_unit_test(test_pool_fields),
		cmocka_unit_test(test_bad_pools),
		cmocka_unit_test(test_ipam_config),
		cmocka_unit_test(test_reservation),
		cmocka_unit_test(test_block_names_lead_to_the_cidr_and_back),
		cmocka_unit_test(test_block_as_calico_writes_it),
		cmocka_unit_test(test_block_odd_forms),
		cmocka_unit_test(test_block_allocations_win_over_the_free_list),
		cmocka_unit_test(test_bad_blocks),
		cmocka_unit_test(test_block_attributes_survive_byte_for_byte),
		cmocka_unit_test(test_block_attribute_without_text_is_built),
		cmocka_unit_test(test_block_digest_leaves_out_sequence_numbers),
		cmocka_unit_test(test_affinity_forms),
		cmocka_unit_test(test_affinity_names_are_cut_and_hashed),
		cmocka_unit_test(test_affinity_labels_are_those_that_calico_lists_by),
		cmocka_unit_test(test_handle_forms),
		cmocka_unit_test(test_workload_forms),
		cmocka_unit_test(test_written_objects_match_the_golden_files),
		cmocka_unit_test(test_keys_lead_to_names_and_back),
		cmocka_unit_test(test_check_text_names_every_bad_object),
		cmocka_unit_test(test_check_text_counts_objects_and_names_what_is_there_twice),
		cmocka_unit_test(test_an_objects_text_has_its_namespace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
