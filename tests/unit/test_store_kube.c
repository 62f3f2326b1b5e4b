/* links: src/base/arena.c src/base/aside.c src/base/thread.c src/base/digest.c src/base/err.c src/base/fs.c src/base/hash.c src/base/log.c src/base/loop.c src/base/mac.c src/base/prefix.c src/base/str.c src/base/table.c src/base/util.c src/model/config.c src/model/config_value.c src/model/index.c src/model/miss.c src/model/model.c src/model/policy.c src/model/selector.c src/model/tunnel.c src/model/verdict.c src/store/edit.c src/store/file.c src/store/file_agent.c src/store/file_edit.c src/store/file_memory.c src/store/file_object.c src/store/file_read.c src/store/file_user.c src/store/file_write.c src/store/get.c src/store/kind.c src/store/kind_block.c src/store/kind_core.c src/store/kind_ipam.c src/store/kind_ipamrules.c src/store/kind_meta.c src/store/kind_pack.c src/store/kind_policy.c src/store/kind_pool.c src/store/kind_workload.c src/store/kube_cache.c src/store/kube_controlled.c src/store/kube_event.c src/store/kube_object.c src/store/kube_pool.c src/store/kube_store.c src/store/kube_up.c src/store/kube_watch.c src/store/kube_write.c src/store/objects.c src/store/store.c src/wire/json.c src/wire/json_check.c src/wire/json_fields.c src/wire/json_out.c src/wire/json_split.c src/wire/yaml.c src/wire/yaml_names.c src/wire/yaml_plain.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fs.h"
#include "kube_world.h"
#include "model/policy.h"
#include "store/kube_driver.h"

static void all_kinds_are_read_before_the_model_is_complete(void **state)
{
	struct world *w = *state;
	struct kube_call *pods = await_call(w, "GET", "/api/v1/pods?");

	assert_non_null(strstr(pods->path, "fieldSelector=spec.nodeName%3Dn1"));
	turns(w, 3);
	assert_false(w->model.complete);
	serve_all(w);
	assert_non_null(table_find(&w->model.pools, "p"));
	turns(w, 5);
	assert_int_equal(fake.asked, ARRAY_SIZE(core) + ARRAY_SIZE(calico) + 1);	/* and nothing more */
}

static void a_watch_goes_on_where_it_was(void **state)
{
	struct world *w = *state;
	struct kube_call *c;

	serve_all(w);
	c = await_call(w, "GET", core[0]);
	fake_data(c, EVENT("ADDED", NAMESPACE("a", "20")) EVENT("ADDED", NAMESPACE("b", "21")));
	fake_data(c, EVENT("MODIFIED", NAMESPACE("a", "22")) EVENT("DELETED", NAMESPACE("b", "23")));
	assert_non_null(table_find(&w->model.namespaces, "a"));
	assert_null(table_find(&w->model.namespaces, "b"));
	fake_data(c, "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"40\"}}}\n");
	fake_end(c, 0);
	c = await_call(w, "GET", core[0]);
	assert_non_null(strstr(c->path, "&resourceVersion=40"));
	assert_null(strstr(c->path, "sendInitialEvents"));
	assert_int_equal(w->store.state, STORE_SYNCED);
}

/* 410: what the new list does not name goes at its end, not before. */
static void a_version_that_is_too_old_lists_again(void **state)
{
	struct world *w = *state;
	struct kube_call *c;

	serve_all(w);
	c = await_call(w, "GET", core[0]);
	fake_data(c, EVENT("ADDED", NAMESPACE("a", "20")) EVENT("ADDED", NAMESPACE("b", "21")));
	fake_data(c, EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}"));
	assert_ptr_not_equal(fake_find("GET", core[0]), c);
	c = await_call(w, "GET", core[0]);
	assert_non_null(strstr(c->path, "sendInitialEvents"));
	fake_head(c, 200);
	fake_data(c, EVENT("ADDED", NAMESPACE("b", "21")));
	assert_non_null(table_find(&w->model.namespaces, "a"));
	fake_data(c, ALL_NAMED("50"));
	assert_null(table_find(&w->model.namespaces, "a"));
	assert_non_null(table_find(&w->model.namespaces, "b"));
}

/* A list that breaks off ends nothing. */
static void half_a_list_deletes_nothing(void **state)
{
	struct world *w = *state;
	struct kube_call *c;

	serve_all(w);
	c = await_call(w, "GET", core[0]);
	fake_data(c, EVENT("ADDED", NAMESPACE("a", "20")) EVENT("ERROR", "{\"code\":410}"));
	c = await_call(w, "GET", core[0]);
	fake_head(c, 200);
	fake_data(c, EVENT("ADDED", NAMESPACE("b", "30")) "{\"type\":\"ADD");
	fake_end(c, ECONNRESET);
	assert_non_null(table_find(&w->model.namespaces, "a"));
	c = await_call(w, "GET", core[0]);
	fake_head(c, 200);
	fake_data(c, EVENT("ADDED", NAMESPACE("b", "30")) ALL_NAMED("31"));
	assert_null(table_find(&w->model.namespaces, "a"));
}

static void where_no_watch_begins_so_pages_are_read(void **state)
{
	struct world *w = *state;
	struct kube_call *c;

	fake_answer(await_call(w, "GET", core[0]), 422, "{\"kind\":\"Status\",\"message\":\"sendInitialEvents is forbidden\"}");
	c = await_call(w, "GET", core[0]);
	assert_non_null(strstr(c->path, "?limit=500"));
	fake_head(c, 200);
	fake_data(c, "{\"kind\":\"NamespaceList\",\"metadata\":{\"resourceVersion\":\"9\",\"continue\":\"abc\"},\"items\":[{\"metadata\":{\"na");
	fake_data(c, "me\":\"a\",\"resourceVersion\":\"5\"}},{\"metadata\":{\"name\":\"BAD!\",\"resourceVersion\":\"5\"}}]}");
	fake_end(c, 0);
	c = await_call(w, "GET", core[0]);
	assert_non_null(strstr(c->path, "&continue=abc"));
	assert_null(strstr(c->path, "resourceVersion"));
	fake_answer(c, 200, "{\"items\":[{\"metadata\":{\"name\":\"b\",\"resourceVersion\":\"6\"}}],\"metadata\":{\"resourceVersion\":\"9\"}}");
	assert_int_equal(w->model.namespaces.count, 2);
	c = await_call(w, "GET", core[0]);
	assert_non_null(strstr(c->path, "watch=1"));
	assert_non_null(strstr(c->path, "&resourceVersion=9"));
}

/* A page's token that has expired begins the list anew; one that is no token is not sent. */
static void a_page_that_has_gone_lists_again(void **state)
{
	struct world *w = *state;
	struct kube_call *c;

	fake_answer(await_call(w, "GET", core[0]), 400, "");
	fake_answer(await_call(w, "GET", core[0]), 200, "{\"items\":[],\"metadata\":{\"resourceVersion\":\"9\",\"continue\":\"x\"}}");
	fake_answer(await_call(w, "GET", "&continue=x"), 410, "");
	c = await_call(w, "GET", core[0]);
	assert_null(strstr(c->path, "continue"));
	fake_answer(c, 200, "{\"items\":[],\"metadata\":{\"resourceVersion\":\"9\",\"continue\":\"x\\r\\nHost: y\"}}");
	c = await_call(w, "GET", core[0]);
	assert_null(strstr(c->path, "continue"));
}

static void a_kind_that_is_not_there_is_complete_and_empty(void **state)
{
	struct world *w = *state;

	w->config.pools.count = 1;
	prefix_parse(&w->config.pools.cidr[0], "10.42.0.0/16", NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(core); i++) {
		struct kube_call *c = await_call(w, "GET", core[i]);

		fake_head(c, 200);
		fake_data(c, ALL_NAMED("10"));
	}
	fake_answer(await_call(w, "GET", "/apis"), 200, GROUPS);
	for (unsigned i = 0; i < ARRAY_SIZE(calico); i++)	/* a server that has just started does not know them yet */
		fake_answer(await_call(w, "GET", calico[i]), 404, "404 page not found");
	turns(w, 3);
	assert_null(fake_find("GET", "/ippools"));
	fake_answer(await_call(w, "GET", "/readyz"), 500, "no");
	fake_answer(await_call(w, "GET", "/readyz"), 200, "ok");
	for (unsigned i = 0; i < ARRAY_SIZE(calico); i++)
		fake_answer(await_call(w, "GET", calico[i]), 404, "404 page not found");
	turns(w, 3);
	assert_int_equal(w->config.ipam, IPAM_PODCIDR);		/* no blocks without their kind */
	assert_true(w->model.complete && !w->loop.stop);
}

static void a_kind_that_is_refused_is_named_and_nothing_is_complete(void **state)
{
	struct world *w = *state;
	const struct problem *p;

	fake_answer(await_call(w, "GET", core[0]), 403, "{\"message\":\"namespaces is forbidden: User \\\"x\\\" cannot list\"}");
	p = table_find(&w->model.problems, "store namespaces");
	assert_non_null(p);
	assert_non_null(strstr(p->text, "namespaces is forbidden"));
	fake_answer(await_call(w, "GET", core[0]), 403, "");
	assert_false(w->model.complete);
}

static void one_bad_object_leaves_the_others(void **state)
{
	struct world *w = *state;
	struct kube_call *c;

	serve_all(w);
	c = await_call(w, "GET", "/ippools?");
	fake_data(c, "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"p\",\"resourceVersion\":\"30\"},\"spec\":{\"cidr\":7}}}\n");
	fake_data(c, "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"q\"},\"spec\":{\"cidr\":\"10.1.0.0/16\"}}}\n");
	fake_data(c, "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"r\",\"resourceVersion\":\"31\"},\"spec\":{\"cidr\":\"10.2.0.0/16\"}}}\n");
	assert_non_null(table_find(&w->model.pools, "p"));	/* as it was */
	assert_null(table_find(&w->model.pools, "q"));		/* no version */
	assert_non_null(table_find(&w->model.pools, "r"));
	assert_non_null(table_find(&w->model.problems, "store IPPool p"));
	fake_data(c, "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"p\",\"resourceVersion\":\"32\"},\"spec\":{\"cidr\":\"10.42.0.0/16\"}}}\n");
	assert_null(table_find(&w->model.problems, "store IPPool p"));
	fake_data(c, "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"r\",\"resourceVersion\":\"40\"}}}\n");
	assert_null(table_find(&w->model.pools, "r"));
}

/* Nothing of it has a name: there is no object to refuse, and no use in reading on. */
static void what_is_no_json_ends_the_watch(void **state)
{
	static const char *const texts[] = {
		"<html><head><title>502 Bad Gateway</title></head> <body> a b c d e f g h i j k </body></html>", "7 8 9 null true",
		"{\"type\":\"ADDED\",\"object\":{]}\n{}\n{}\n", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
	};
	struct world *w = *state;
	struct kube_call *c;

	serve_all(w);
	log_begin();
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		c = await_call(w, "GET", core[0]);
		fake_head(c, 200);
		fake_data(c, texts[i]);
		turns(w, 2);
		assert_int_equal(w->store.state, STORE_AWAY);
	}
	c = await_call(w, "GET", core[0]);
	c->status = 200;
	c->json = false;			/* and one that says so */
	c->on_head(c);
	assert_null(fake_find("GET", core[0]));
	turns(w, 2);
	assert_int_equal(log_end(), 1);
	c = await_call(w, "GET", core[0]);
	fake_head(c, 200);
	fake_data(c, ALL_NAMED("50"));
	turns(w, 2);
	assert_int_equal(w->store.state, STORE_SYNCED);
}

static void a_server_that_is_away_and_comes_back(void **state)
{
	struct world *w = *state;

	serve_all(w);
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < ARRAY_SIZE(core); i++)
			fake_end(await_call(w, "GET", core[i]), ECONNRESET);
	turns(w, 2);
	assert_int_equal(w->store.state, STORE_AWAY);
	assert_non_null(table_find(&w->model.problems, "store datastore"));
	for (unsigned i = 0; i < ARRAY_SIZE(core); i++)
		fake_head(await_call(w, "GET", core[i]), 200);
	turns(w, 2);
	assert_int_equal(w->store.state, STORE_SYNCED);
	assert_null(table_find(&w->model.problems, "store datastore"));
}

static void a_server_that_is_busy_is_left_alone_for_as_long_as_it_says(void **state)
{
	struct world *w = *state;
	struct kube_call *c;
	uint64_t then;

	serve_all(w);
	c = await_call(w, "GET", core[0]);
	fake_end(c, 0);
	c = await_call(w, "GET", core[0]);
	c->retry_after_s = 1;
	then = now_ms();
	fake_answer(c, 429, "");
	await_call(w, "GET", core[0]);
	assert_true(now_ms() - then >= 1000);
	assert_int_equal(w->store.state, STORE_SYNCED);
}

/* --- writes --- */

static void on_done(void *ctx, int rc)
{
	struct world *w = ctx;

	w->rc = rc;
	w->done++;
}

static void handle_put(struct world *w, const char *name, uint64_t expected)
{
	struct handle *h = row_new(sizeof *h);

	h->row.key = h->meta.name = h->id = arena_str(&h->row.mem, name);
	h->meta.namespace = h->meta.uid = "";
	store_put(&w->store, kind_named("IPAMHandle"), &h->row, expected, on_done, w);
}

#define HANDLE(version) "{\"apiVersion\":\"crd.projectcalico.org/v1\",\"kind\":\"IPAMHandle\",\"metadata\":{\"name\":\"h\"," \
	"\"resourceVersion\":\"" version "\"},\"spec\":{\"handleID\":\"h\",\"block\":{}}}"

static void await_done(struct world *w, unsigned count)
{
	uint64_t until = now_ms() + 5000;

	while (w->done < count && now_ms() < until)
		loop_turn(&w->loop, 5);
	assert_int_equal(w->done, count);
}

static uint64_t version_of_h(struct world *w)
{
	const struct handle *h = table_find(&w->model.handles, "h");

	return h ? h->meta.version : 0;
}

static void writes_are_compared_and_swapped(void **state)
{
	struct world *w = *state;
	struct kube_call *c;

	serve_all(w);
	handle_put(w, "h", 0);
	c = await_call(w, "POST", "/apis/crd.projectcalico.org/v1/ipamhandles");
	assert_string_equal(c->path, "/apis/crd.projectcalico.org/v1/ipamhandles");
	assert_non_null(strstr(c->body, "\"handleID\":\"h\""));
	fake_answer(c, 201, HANDLE("60"));
	await_done(w, 1);
	assert_int_equal(w->rc, 0);
	assert_int_equal(version_of_h(w), 60);

	handle_put(w, "h", 60);
	c = await_call(w, "PUT", "/ipamhandles/h");
	assert_non_null(strstr(c->body, "\"resourceVersion\":\"60\""));
	fake_answer(c, 409, "{}");
	fake_answer(await_call(w, "GET", "/ipamhandles/h"), 200, HANDLE("61"));
	await_done(w, 2);
	assert_int_equal(w->rc, -ESTALE);
	assert_int_equal(version_of_h(w), 61);

	store_del(&w->store, kind_named("IPAMHandle"), "h", 61, on_done, w);
	c = await_call(w, "DELETE", "/ipamhandles/h");
	assert_non_null(strstr(c->body, "\"preconditions\":{\"resourceVersion\":\"61\"}"));
	fake_answer(c, 200, "{\"kind\":\"Status\",\"status\":\"Success\"}");
	await_done(w, 3);
	assert_int_equal(w->rc, 0);
	assert_int_equal(version_of_h(w), 0);
}

/* The watch may have told of a later one before the answer to our own write comes. */
static void an_answer_that_comes_late_does_not_turn_back_time(void **state)
{
	struct world *w = *state;
	struct kube_call *c;

	serve_all(w);
	handle_put(w, "h", 0);
	c = await_call(w, "POST", "/ipamhandles");
	fake_data(await_call(w, "GET", "/ipamhandles?"), EVENT("ADDED", HANDLE("60")) EVENT("MODIFIED", HANDLE("62")));
	fake_answer(c, 201, HANDLE("60"));
	await_done(w, 1);
	assert_int_equal(version_of_h(w), 62);
}

static void a_write_that_is_refused_or_lost(void **state)
{
	struct world *w = *state;

	serve_all(w);
	handle_put(w, "h", 0);
	fake_answer(await_call(w, "POST", "/ipamhandles"), 403, "{\"message\":\"no\"}");
	await_done(w, 1);
	assert_int_equal(w->rc, -EACCES);
	handle_put(w, "h", 0);
	fake_answer(await_call(w, "POST", "/ipamhandles"), 503, "");
	fake_end(await_call(w, "POST", "/ipamhandles"), ECONNRESET);	/* again, of itself */
	await_done(w, 2);
	assert_int_equal(w->rc, -EAGAIN);
	handle_put(w, "h", 5);
	fake_answer(await_call(w, "PUT", "/ipamhandles/h"), 404, "");
	fake_answer(await_call(w, "GET", "/ipamhandles/h"), 404, "");
	await_done(w, 3);
	assert_int_equal(w->rc, -ESTALE);
}

#define NODE(labels, version) "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\",\"resourceVersion\":\"" version \
	"\",\"labels\":{" labels "},\"annotations\":{\"projectcalico.org/IPv4Address\":\"10.0.0.1/24\"}},\"spec\":{\"x\":1}}"

/* Of a Node only our annotations are written; its row is what the server has then. */
static void a_node_is_patched(void **state)
{
	struct world *w = *state;
	struct node *n = row_new(sizeof *n);
	struct kube_call *c;

	serve_all(w);
	n->row.key = n->meta.name = "n1";
	n->meta.namespace = n->meta.uid = "";
	prefix_parse(&n->address[FAMILY_V4], "10.0.0.1/24", NULL);
	store_put(&w->store, kind_named("Node"), &n->row, 7, on_done, w);
	c = await_call(w, "PATCH", "/api/v1/nodes/n1/status");
	assert_string_equal(c->content_type, "application/merge-patch+json");
	assert_non_null(strstr(c->body, "{\"metadata\":{\"annotations\":{\"projectcalico.org/IPv4Address\":\"10.0.0.1/24\","));
	assert_non_null(strstr(c->body, "\"projectcalico.org/IPv4IPIPTunnelAddr\":null"));
	fake_answer(c, 200, NODE("\"a\":\"b\"", "71"));
	await_done(w, 1);
	assert_int_equal(w->rc, 0);
	n = table_find(&w->model.nodes, "n1");
	assert_int_equal(n->meta.version, 71);
	assert_string_equal(label_find(n->meta.labels, n->meta.label_count, "a"), "b");
}

/* Each problem once, also where its Event is there already; again only after no answer; of many only some. */
static void problems_are_events(void **state)
{
	struct world *w = *state;
	struct kube_call *c;
	char what[16];
	unsigned n = 0;

	serve_all(w);
	model_problem(&w->model, "ipam", "a", "mend it", "a \"bad\" pool");
	kube_events(w->store.driver_state);
	c = await_call(w, "POST", "/api/v1/namespaces/default/events");
	assert_non_null(strstr(c->body, "\"reason\":\"IpamProblem\""));
	assert_non_null(strstr(c->body, "\"message\":\"a \\\"bad\\\" pool; remedy: mend it\"}"));
	fake_end(c, ECONNRESET);
	kube_events(w->store.driver_state);
	fake_answer(await_call(w, "POST", "/events"), 409, "");
	kube_events(w->store.driver_state);
	assert_null(fake_find("POST", "/events"));
	for (unsigned i = 0; i < 30; i++) {
		snprintf(what, sizeof what, "%u", i);
		model_problem(&w->model, "ipam", what, "", "another");
	}
	kube_events(w->store.driver_state);
	for (; (c = fake_find("POST", "/events")); n++)
		fake_answer(c, 201, "");
	assert_int_equal(n, 18);
}

/* --- the cluster's pods' network --- */

static void search_begin(struct world *w, const char *nodes)
{
	for (unsigned i = 0; i < ARRAY_SIZE(core); i++) {
		struct kube_call *c = await_call(w, "GET", core[i]);

		fake_head(c, 200);
		if (strstr(core[i], "nodes"))
			fake_data(c, nodes);
		fake_data(c, ALL_NAMED("10"));
	}
	fake_answer(await_call(w, "GET", "/apis"), 200, GROUPS);
	for (unsigned i = 0; i < ARRAY_SIZE(calico); i++) {
		struct kube_call *c = await_call(w, "GET", calico[i]);

		fake_head(c, 200);
		fake_data(c, ALL_NAMED("10"));
	}
}

static void the_pod_network_is_what_kubeadm_noted(void **state)
{
	struct world *w = *state;

	search_begin(w, "");
	fake_answer(await_call(w, "GET", "configmaps/kubeadm-config"), 200, "{\"data\":{\"ClusterConfiguration\":"
		    "\"networking:\\n  podSubnet: 10.5.0.0/16,fd00:5::/56\\n  serviceSubnet: 10.96.0.0/12\\n\"}}");
	turns(w, 2);
	assert_true(w->model.complete);
	assert_int_equal(w->config.pools.count, 2);
	assert_string_equal(prefix_text(&w->config.pools.cidr[0]).s, "10.5.0.0/16");
	assert_string_equal(prefix_text(&w->config.pools.cidr[1]).s, "fd00:5::/56");
}

static void or_what_the_controller_manager_was_told(void **state)
{
	struct world *w = *state;

	search_begin(w, "");
	fake_answer(await_call(w, "GET", "configmaps/kubeadm-config"), 404, "");
	fake_answer(await_call(w, "GET", "component%3Dkube-controller-manager"), 200, "{\"items\":[{\"spec\":{\"containers\":[{\"command\":"
		    "[\"kube-controller-manager\",\"--cluster-cidr=10.6.0.0/16\"]}]}}]}");
	turns(w, 2);
	assert_true(w->model.complete);
	assert_string_equal(prefix_text(&w->config.pools.cidr[0]).s, "10.6.0.0/16");
}

#define NODE_CIDR(name, cidr) EVENT("ADDED", "{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"4\"},\"spec\":{\"podCIDR\":\"" cidr "\"}}")

static void or_the_usual_one_that_all_nodes_are_in(void **state)
{
	struct world *w = *state;

	search_begin(w, NODE_CIDR("n1", "10.42.0.0/24") NODE_CIDR("n2", "10.42.1.0/24"));
	fake_answer(await_call(w, "GET", "configmaps/kubeadm-config"), 403, "");
	fake_answer(await_call(w, "GET", "component%3Dkube-controller-manager"), 200, "{\"items\":[]}");
	turns(w, 2);
	assert_true(w->model.complete);
	assert_string_equal(prefix_text(&w->config.pools.cidr[0]).s, "10.42.0.0/16");
}

static void else_the_agent_ends_and_names_the_setting(void **state)
{
	struct world *w = *state;

	search_begin(w, NODE_CIDR("n1", "10.42.0.0/24") NODE_CIDR("n2", "10.99.1.0/24"));
	fake_answer(await_call(w, "GET", "configmaps/kubeadm-config"), 404, "");
	fake_answer(await_call(w, "GET", "component%3Dkube-controller-manager"), 404, "");
	assert_true(w->loop.stop);
	assert_int_equal(w->store.fatal.code, EINVAL);
	assert_non_null(strstr(w->store.fatal.text, "pool ="));
	assert_false(w->model.complete);
}

/* --- pods --- */

/* Another node's pod is there in little memory, and what other pods have too, once. */
static void all_pods_are_watched_while_there_is_a_policy(void **state)
{
	struct world *w = *state;
	const struct pod *here, *there, *too;
	struct kube_call *c;

	serve_all(w);
	assert_int_equal(policy_count(&w->model), 0);
	fake_data(await_call(w, "GET", core[3]), EVENT("ADDED", "{\"metadata\":{\"namespace\":\"a\",\"name\":\"p\",\"resourceVersion\":\"30\"},"
		  "\"spec\":{\"podSelector\":{}}}"));
	assert_int_equal(policy_count(&w->model), 1);
	c = await_call(w, "GET", "/api/v1/pods?watch=1&allowWatchBookmarks=true&sendInitialEvents");
	fake_head(c, 200);
	assert_null(fake_find("GET", "fieldSelector"));
	fake_data(c, EVENT("ADDED", POD("here", "n1", "31")) EVENT("ADDED", POD("there", "n2", "32"))
		  EVENT("ADDED", POD("too", "n2", "33")) ALL_NAMED("34"));
	here = table_find(&w->model.pods, "a/here");
	there = table_find(&w->model.pods, "a/there");
	too = table_find(&w->model.pods, "a/too");
	assert_string_equal(here->meta.uid, "u");
	assert_string_equal(label_find(here->meta.annotations, here->meta.annotation_count, "cni.projectcalico.org/x"), "y");
	assert_int_equal(there->meta.annotation_count, 0);
	assert_ptr_equal(there->meta.labels, too->meta.labels);
	assert_string_equal(label_find(too->meta.labels, too->meta.label_count, "app"), "web");
	assert_string_equal(there->meta.name, "there");
	assert_string_equal(there->node, "n2");
	assert_string_equal(addr_text(&there->ips[FAMILY_V4]).s, "10.1.2.3");
	assert_string_equal(there->ports[0].name, "http");
	fake_data(c, EVENT("DELETED", POD("there", "n2", "35")));
	model_clean(&w->model);
	assert_string_equal(too->meta.labels[0].key, "app");
	fake_data(await_call(w, "GET", core[3]), EVENT("DELETED", "{\"metadata\":{\"namespace\":\"a\",\"name\":\"p\",\"resourceVersion\":\"40\"}}"));
	c = await_call(w, "GET", "fieldSelector=spec.nodeName%3Dn1&sendInitialEvents");
	fake_head(c, 200);
	fake_data(c, EVENT("ADDED", POD("here", "n1", "31")) ALL_NAMED("41"));
	assert_int_equal(w->model.pods.count, 1);
}

/* --- the cache --- */

static void what_was_known_is_there_without_a_server(void **state)
{
	struct world *w = *state;
	const struct policy *p;
	struct kube_call *c;

	serve_all(w);
	c = await_call(w, "GET", core[0]);
	fake_data(c, EVENT("ADDED", NAMESPACE("a", "20")) EVENT("ADDED", NAMESPACE("b", "21")) EVENT("DELETED", NAMESPACE("a", "22")));
	fake_data(await_call(w, "GET", core[3]), EVENT("ADDED", "{\"metadata\":{\"namespace\":\"a\",\"name\":\"p\",\"resourceVersion\":\"30\"},"
		  "\"spec\":{\"podSelector\":{\"matchLabels\":{\"env\":\"x\"}}}}"));
	handle_put(w, "h", 0);
	fake_answer(await_call(w, "POST", "/ipamhandles"), 201, HANDLE("60"));
	fake_data(await_call(w, "GET", "/ipamhandles?"), EVENT("ADDED", HANDLE("60")));
	await_done(w, 1);
	end(w);
	begin(w);
	for (uint64_t until = now_ms() + 4000; !w->model.complete && now_ms() < until; loop_turn(&w->loop, 5))
		for (unsigned i = 0; i < FAKE_CALLS; i++)
			if (fake.calls[i])
				fake_end(fake.calls[i], ECONNREFUSED);
	assert_true(w->model.complete);
	assert_int_equal(w->store.state, STORE_AWAY);
	assert_non_null(table_find(&w->model.namespaces, "b"));
	assert_null(table_find(&w->model.namespaces, "a"));
	assert_int_equal(version_of_h(w), 60);
	assert_non_null(table_find(&w->model.pools, "p"));
	p = table_find(&w->model.network_policies, "a/p");
	assert_non_null(p);
	assert_non_null(p->target.pods);
}

static void a_long_list_is_kept_whole(void **state)
{
	struct world *w = *state;
	struct str text = { 0 };
	struct kube_call *c = await_call(w, "GET", core[0]);
	char path[100];

	fake_head(c, 200);
	for (unsigned i = 0; i < 3000; i++) {
		char event[300];

		snprintf(event, sizeof event, EVENT("ADDED", "{\"metadata\":{\"name\":\"a%u\",\"resourceVersion\":\"%u\"}}"), i, 100 + i);
		fake_data(c, event);
	}
	snprintf(path, sizeof path, "%s/cluster/namespaces", w->dir);
	assert_int_equal(access(path, F_OK), -1);
	fake_data(c, ALL_NAMED("9000"));
	assert_int_equal(fs_read(AT_FDCWD, path, 1 << 20, &text), 0);
	assert_non_null(strstr(text.s, "\"a0\""));
	assert_non_null(strstr(text.s, "\"a2999\""));
	str_free(&text);
}

static void what_is_past_does_not_pile_up(void **state)
{
	struct world *w = *state;
	struct str text = { 0 };
	struct kube_call *c;
	char path[100];

	serve_all(w);
	c = await_call(w, "GET", core[0]);
	for (unsigned i = 0; i < 5000; i++) {
		char event[300];

		snprintf(event, sizeof event, EVENT("MODIFIED", "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"%u\",\"labels\":{\"n\":\"%u\"}}}"),
			 100 + i, i);
		fake_data(c, event);
	}
	snprintf(path, sizeof path, "%s/cluster/namespaces", w->dir);
	assert_int_equal(fs_read(AT_FDCWD, path, 1 << 20, &text), 0);
	assert_true(text.len < 100000);
	assert_non_null(strstr(text.s, "\"n\":\"4999\""));
	str_free(&text);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(all_kinds_are_read_before_the_model_is_complete),
		TEST(a_watch_goes_on_where_it_was),
		TEST(a_version_that_is_too_old_lists_again),
		TEST(half_a_list_deletes_nothing),
		TEST(where_no_watch_begins_so_pages_are_read),
		TEST(a_page_that_has_gone_lists_again),
		TEST(a_kind_that_is_not_there_is_complete_and_empty),
		TEST(a_kind_that_is_refused_is_named_and_nothing_is_complete),
		TEST(one_bad_object_leaves_the_others),
		TEST(what_is_no_json_ends_the_watch),
		TEST(a_server_that_is_away_and_comes_back),
		TEST(a_server_that_is_busy_is_left_alone_for_as_long_as_it_says),
		TEST(writes_are_compared_and_swapped),
		TEST(an_answer_that_comes_late_does_not_turn_back_time),
		TEST(a_write_that_is_refused_or_lost),
		TEST(a_node_is_patched),
		TEST(problems_are_events),
		TEST(the_pod_network_is_what_kubeadm_noted),
		TEST(or_what_the_controller_manager_was_told),
		TEST(or_the_usual_one_that_all_nodes_are_in),
		TEST(else_the_agent_ends_and_names_the_setting),
		TEST(all_pods_are_watched_while_there_is_a_policy),
		TEST(what_was_known_is_there_without_a_server),
		TEST(a_long_list_is_kept_whole),
		TEST(what_is_past_does_not_pile_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
