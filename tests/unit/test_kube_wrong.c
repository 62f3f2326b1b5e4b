/* links: src/base/arena.c src/base/aside.c src/base/thread.c src/base/digest.c src/base/err.c src/base/fs.c src/base/hash.c src/base/log.c src/base/loop.c src/base/mac.c src/base/prefix.c src/base/str.c src/base/table.c src/base/util.c src/model/config.c src/model/config_value.c src/model/index.c src/model/miss.c src/model/model.c src/model/policy.c src/model/selector.c src/model/tunnel.c src/model/verdict.c src/store/edit.c src/store/file.c src/store/file_agent.c src/store/file_edit.c src/store/file_memory.c src/store/file_object.c src/store/file_read.c src/store/file_user.c src/store/file_write.c src/store/get.c src/store/kind.c src/store/kind_block.c src/store/kind_core.c src/store/kind_ipam.c src/store/kind_ipamrules.c src/store/kind_meta.c src/store/kind_pack.c src/store/kind_policy.c src/store/kind_pool.c src/store/kind_workload.c src/store/kube_cache.c src/store/kube_controlled.c src/store/kube_event.c src/store/kube_object.c src/store/kube_pool.c src/store/kube_store.c src/store/kube_up.c src/store/kube_watch.c src/store/kube_write.c src/store/objects.c src/store/store.c src/wire/json.c src/wire/json_check.c src/wire/json_fields.c src/wire/json_out.c src/wire/json_split.c src/wire/yaml.c src/wire/yaml_names.c src/wire/yaml_plain.c */
/*
 * Each value of an object of each kind, put in turn to what it must not be: that object is refused by its name, or what is
 * odd about it counts for nothing, and the next one is read.
 */
#include "kube_world.h"

#include "wire/json.h"

static const struct sample { const char *kind, *spec; } samples[] = {
	{ "Namespace", "" },
	{ "Pod", ",\"spec\":{\"nodeName\":\"n1\",\"serviceAccountName\":\"sa\",\"hostNetwork\":false,\"containers\":[{\"ports\":[{\"name\":\"web\","
	  "\"protocol\":\"TCP\",\"containerPort\":80}]}],\"initContainers\":[{\"ports\":[]}]},\"status\":{\"phase\":\"Running\",\"podIP\":\"10.42.0.5\","
	  "\"podIPs\":[{\"ip\":\"10.42.0.5\"},{\"ip\":\"fd00::5\"}]}" },
	{ "Node", ",\"spec\":{\"podCIDR\":\"10.42.0.0/24\",\"podCIDRs\":[\"10.42.0.0/24\"]},\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":"
	  "\"192.0.2.1\"}],\"conditions\":[{\"type\":\"NetworkUnavailable\",\"status\":\"False\"}]}" },
	{ "IPPool", ",\"spec\":{\"cidr\":\"10.42.0.0/16\",\"blockSize\":26,\"ipipMode\":\"Never\",\"vxlanMode\":\"Always\",\"natOutgoing\":true,"
	  "\"disabled\":false,\"disableBGPExport\":false,\"nodeSelector\":\"all()\",\"namespaceSelector\":\"all()\",\"assignmentMode\":\"Automatic\","
	  "\"allowedUses\":[\"Workload\",\"Tunnel\"]},\"status\":{\"conditions\":[{\"type\":\"Allocatable\",\"status\":\"True\"}]}" },
	{ "IPAMBlock", ",\"spec\":{\"cidr\":\"10.42.0.0/30\",\"affinity\":\"host:n1\",\"affinityClaimTime\":\"2026-11-01T00:00:00Z\",\"allocations\":"
	  "[0,null,null,null],\"unallocated\":[1,2,3],\"attributes\":[{\"handle_id\":\"h\",\"releasedAt\":\"2026-11-01T00:00:00Z\",\"secondary\":"
	  "{\"namespace\":\"a\",\"node\":\"n1\",\"pod\":\"b\",\"type\":\"x\"}}],\"sequenceNumber\":5,\"sequenceNumberForAllocation\":{\"0\":4},"
	  "\"deleted\":false}" },
	{ "BlockAffinity", ",\"spec\":{\"node\":\"n1\",\"type\":\"host\",\"cidr\":\"10.42.0.0/30\",\"state\":\"confirmed\",\"deleted\":\"false\"}" },
	{ "IPAMHandle", ",\"spec\":{\"handleID\":\"h\",\"block\":{\"10.42.0.0/30\":1},\"deleted\":false}" },
	{ "IPAMConfig", ",\"spec\":{\"strictAffinity\":false,\"autoAllocateBlocks\":true,\"maxBlocksPerHost\":20,\"ipCooldownSeconds\":30}" },
	{ "IPReservation", ",\"spec\":{\"reservedCIDRs\":[\"10.42.0.0/30\"]}" },
	{ "ClusterInformation", "" },
	{ "NetworkPolicy", ",\"spec\":{\"podSelector\":{\"matchLabels\":{\"a\":\"b\"},\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\",\"values\":"
	  "[\"b\"]}]},\"policyTypes\":[\"Ingress\",\"Egress\"],\"ingress\":[{\"from\":[{\"namespaceSelector\":{\"matchLabels\":{\"a\":\"b\"}}},"
	  "{\"ipBlock\":{\"cidr\":\"10.0.0.0/8\",\"except\":[\"10.1.0.0/16\"]}}],\"ports\":[{\"protocol\":\"TCP\",\"port\":80,\"endPort\":90},"
	  "{\"port\":\"web\"}]}],\"egress\":[{\"to\":[{\"podSelector\":{}}],\"ports\":[{\"port\":53}]}]}" },
};

/* Names of values that are passed over when they are odd: what is no address, no condition, no time. */
static const char *const harmless[] = { "type", "address", "status", "conditions", "releasedAt", "affinityClaimTime", "secondary" };

static const char *const wrong[] = {
	"true", "7", "-1", "1e400", "18446744073709551616", "4294967296", "0.5", "\"\"", "\"x\"", "\"\\u0000\"", "\"\\ud800\"", "[]", "{}", "[null]", "[[[]]]",
	"{\"a\":1}", "{\"a\":\"b\",\"a\":\"c\"}", "[7]", "[\"x\"]", "[{\"x\":[]}]", "\"2001:db8::/129\"", "\"10.42.0.1/16\"",
};

struct trial {
	struct world *w;
	const struct kind *kind;
	struct kube_call *watch;
	const char *text;
	struct json j;
	unsigned version, tried;
	char key[OBJECT_KEY_MAX + 24];
};

static const char *sample_name(const struct kind *k)
{
	return strcmp(k->kind, "IPAMBlock") == 0 ? "10-42-0-0-30" : strcmp(k->kind, "ClusterInformation") == 0 ? "default" : "odd";
}

static void event(struct trial *t, const char *text, int from, int to, const char *instead)
{
	struct str line = { 0 };

	str_printf(&line, "{\"type\":\"MODIFIED\",\"object\":%.*s%s%s}\n", from, text, instead, text + to);
	fake_data(t->watch, line.s);
	str_free(&line);
}

static bool is_refused(struct trial *t)
{
	return table_find(&t->w->model.problems, t->key);
}

/* The good one, newer than all before. */
static void put_good(struct trial *t)
{
	char version[16];
	json_value v = json_path(&t->j, 0, "metadata.resourceVersion");
	size_t len;
	const char *raw = json_raw(&t->j, v, &len);

	snprintf(version, sizeof version, "\"%u\"", ++t->version);
	event(t, t->text, (int)(raw - t->text), (int)(raw - t->text + (long)len), version);
	assert_false(is_refused(t));
}

static void try_value(struct trial *t, json_value v, const char *name)
{
	unsigned refused = 0;
	size_t len;
	const char *raw = json_raw(&t->j, v, &len);

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		event(t, t->text, (int)(raw - t->text), (int)(raw - t->text + (long)len), wrong[i]);
		assert_non_null(fake_find("GET", t->watch->path));	/* the watch goes on */
		refused += is_refused(t);
		t->tried++;
		put_good(t);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(harmless); i++)
		if (strcmp(name, harmless[i]) == 0)
			return;
	if (!refused && strcmp(name, "resourceVersion") != 0)
		fail_msg("%s: %s is read by nobody", t->kind->kind, name);
}

static void try_all(struct trial *t, json_value v, const char *name)
{
	char inner[64];
	struct arena mem = { 0 };

	if (strcmp(name, "metadata") != 0 && strcmp(name, "name") != 0 && strcmp(name, "namespace") != 0 && *name)
		try_value(t, v, name);
	json_each(&t->j, v, at) {
		bool object = json_type(&t->j, v) == JSON_OBJECT;

		snprintf(inner, sizeof inner, "%s", object ? json_string(&t->j, at, &mem) : name);
		try_all(t, object ? json_member(&t->j, at) : at, inner);
	}
	arena_free(&mem);
}

static void each_field_of_each_kind(void **state)
{
	struct world *w = *state;
	unsigned tried = 0;
	struct err e;

	serve_all(w);
	log_begin();
	for (unsigned i = 0; i < ARRAY_SIZE(samples); i++) {
		struct trial t = { .w = w, .kind = kind_named(samples[i].kind), .version = 1000 };
		struct str text = { 0 };
		char part[80];

		snprintf(part, sizeof part, "/%s?", t.kind->plural);
		str_printf(&text, "{\"metadata\":{\"name\":\"%s\",%s\"uid\":\"u\",\"resourceVersion\":\"1000\",\"labels\":{\"a\":\"b\"},"
			   "\"annotations\":{\"cni.projectcalico.org/x\":\"y\"}}%s}", sample_name(t.kind),
			   t.kind->namespaced ? "\"namespace\":\"a\"," : "", samples[i].spec);
		t.text = text.s;
		snprintf(t.key, sizeof t.key, "store %s %s", t.kind->kind, strcmp(t.kind->kind, "IPAMBlock") == 0 ? "10.42.0.0/30" :
			 t.kind->namespaced ? "a/odd" : sample_name(t.kind));
		assert_int_equal(json_parse(&t.j, text.s, text.len, &e), 0);
		t.watch = await_call(w, "GET", part);
		put_good(&t);
		try_all(&t, 0, "");
		json_free(&t.j);
		str_free(&text);
		tried += t.tried;
		turns(w, 1);
	}
	log_end();
	print_message("%u wrong values\n", tried);
	assert_int_equal(w->store.state, STORE_SYNCED);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(each_field_of_each_kind, setup, teardown) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
