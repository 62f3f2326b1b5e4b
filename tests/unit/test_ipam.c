/* links: src/ipam/asks.c src/ipam/assert.c src/ipam/block.c src/ipam/cooldown.c src/ipam/claim.c src/ipam/check.c src/ipam/handle.c src/ipam/ipam.c src/ipam/pool.c src/ipam/reserve.c src/ipam/leave.c src/ipam/sweep.c src/ipam/show.c src/ipam/tunnel.c src/ipam/unclaim.c src/ipam/podcidr.c src/base/arena.c src/base/digest.c src/base/err.c src/base/fs.c src/base/hash.c src/base/log.c src/base/mac.c src/base/loop.c src/base/prefix.c src/base/str.c src/base/table.c src/base/util.c src/wire/json.c src/wire/json_check.c src/wire/json_fields.c src/wire/json_out.c src/store/store.c src/store/kind.c src/store/kind_block.c src/store/kind_core.c src/store/kind_ipam.c src/store/kind_meta.c src/store/kind_pack.c src/store/kind_policy.c src/store/kind_ipamrules.c src/store/kind_pool.c src/store/kind_workload.c src/model/model.c src/model/policy.c src/model/selector.c src/model/tunnel.c src/model/config.c src/model/config_value.c */
/*
 * Address management against a datastore that delays, reorders, conflicts,
 * lets others in between and is away at times.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "ipam/ipam.h"
#include "ipam/ipam_int.h"
#include "model/selector.h"

static unsigned rng;
static unsigned dice(unsigned sides)
{
	rng = rng * 1103515245 + 12345;
	return (rng >> 16) % sides;
}

/* --- the datastore: versions by table row, writes in a queue that is taken from anywhere --- */

static struct {
	struct store *store;
	struct store_write *queue[1024];
	unsigned queued, conflicts, strangers;	/* one in n; 0: never */
	unsigned others, taken;		/* addresses that strangers have; blocks of theirs that we wanted */
	uint64_t version;
	bool away;
} fake;

static int fake_start(struct store *s, const char *where, struct err *e)
{
	(void)where;
	(void)e;
	fake.store = s;
	s->model->complete = true;
	s->state = STORE_SYNCED;
	return 0;
}

static void fake_write(struct store *s, struct store_write *w)
{
	(void)s;
	assert_true(fake.queued < ARRAY_SIZE(fake.queue));
	fake.queue[fake.queued++] = w;
}

static void fake_stop(struct store *s)
{
	(void)s;
	while (fake.queued)
		store_written(fake.store, fake.queue[--fake.queued], -ECANCELED, 0);
}

static bool calico_runs;

static void fake_controlled(struct store *s, void (*answer)(void *ctx, bool yes), void *ctx)
{
	(void)s;
	answer(ctx, calico_runs);
}

const struct store_driver store_file = { "file", fake_start, fake_write, fake_stop }, store_kubernetes = {
	"kubernetes", fake_start, fake_write, fake_stop, .given_nodes = true, .controlled = fake_controlled,
};

static void affinity_event(const char *node, const struct prefix *cidr, enum affinity_state state)
{
	struct affinity *a = affinity_make(node, cidr, state);

	a->meta.version = ++fake.version;
	store_event_put(fake.store, kind_named("BlockAffinity"), &a->row);
}

/* Another node takes the very block that we are about to create; long ago, by its clock. */
static void stranger_claims(const struct store_write *w)
{
	const struct block *ours = container_of(w->row, struct block, row);
	struct block *theirs = block_new(&ours->cidr, "stranger", 1, block_size(&ours->cidr));

	theirs->meta.version = ++fake.version;
	affinity_event("stranger", &ours->cidr, AFFINITY_CONFIRMED);
	store_event_put(fake.store, w->kind, &theirs->row);
}

/* Another node uses the block of its own that we are about to take over. */
static void stranger_assigns(const struct block *theirs)
{
	struct block *b = block_copy(theirs);

	block_assign(b, &(struct block_owner){ .handle = "k8s-pod-network.stranger", .node = "stranger" }, NULL, NULL);
	fake.others++;
	b->meta.version = ++fake.version;
	store_event_put(fake.store, kind_named("IPAMBlock"), &b->row);
}

static bool strangers_come(const struct store_write *w)
{
	return fake.strangers && strcmp(w->kind->kind, "IPAMBlock") == 0 && dice(fake.strangers) == 0;
}

static uint64_t version_of(const struct store_write *w)
{
	struct row *row = table_find(kind_table(w->kind, fake.store->model), w->key);

	return row ? kind_meta(w->kind, row)->version : 0;
}

static void fake_step(void)
{
	unsigned i = dice(fake.queued);
	struct store_write *w = fake.queue[i];
	int rc = 0;

	fake.queue[i] = fake.queue[--fake.queued];
	if (w->row && !w->expected && strangers_come(w))
		stranger_claims(w);
	if (!w->row && fake.strangers && strcmp(w->kind->kind, "IPAMBlock") == 0) {
		const struct block *b = table_find(&fake.store->model->blocks, w->key);

		if (b && strcmp(b->node, "stranger") == 0 && b->free_count && fake.taken++ % 2 == 0)
			stranger_assigns(b);
	}
	if (fake.away)
		rc = -EAGAIN;
	else if (version_of(w) != w->expected || (fake.conflicts && dice(fake.conflicts) == 0))
		rc = -ESTALE;
	store_written(fake.store, w, rc, ++fake.version);
}

/* --- the bench: a loop, a model with pools, an ipam --- */

static struct loop loop;
static struct model model;
static struct store store;
static struct config config;
static struct ipam *ipam;

static void on_pass(void *ctx)
{
	(void)ctx;
	ipam_run(ipam);
	model_clean(&model);
}

static struct pool *put_pool_of(enum encapsulation e, const char *name, const char *cidr, unsigned block_size)
{
	struct pool *p = row_new(sizeof *p);

	p->row.key = arena_str(&p->row.mem, name);
	p->meta = (struct meta){ .name = p->row.key, .namespace = "", .uid = "", .version = ++fake.version };
	assert_int_equal(prefix_parse(&p->cidr, cidr, NULL), 0);
	p->block_size = block_size;
	p->encapsulation = e;
	p->use_workload = p->use_tunnel = true;
	p->node_selector = "all()";
	p->namespace_selector = "";
	p->row.digest = fake.version;
	table_put(&model.pools, &p->row);
	return p;
}

static struct pool *put_pool(const char *name, const char *cidr, unsigned block_size)
{
	return put_pool_of(ENCAP_NONE, name, cidr, block_size);
}

static const struct selector *selector(struct row *of, const char *text)
{
	const struct selector *s = selector_parse(&of->mem, text, NULL);

	assert_non_null(s);
	return s;
}

static struct label *one_label(struct row *of, const char *key, const char *value)
{
	struct label *l = arena_alloc(&of->mem, sizeof *l);

	*l = (struct label){ key, value };
	return l;
}

static void put_self(const char *zone)
{
	struct node *n = row_new(sizeof *n);

	n->row.key = "edge1";
	n->meta = (struct meta){ .name = "edge1", .namespace = "", .uid = "", .labels = one_label(&n->row, "zone", zone),
				 .label_count = 1 };
	n->row.digest = ++fake.version;
	table_put(&model.nodes, &n->row);
}

static void put_namespace(const char *name, const char *team)
{
	struct namespace *ns = row_new(sizeof *ns);

	ns->row.key = arena_str(&ns->row.mem, name);
	ns->meta = (struct meta){ .name = ns->row.key, .namespace = "", .uid = "", .labels = one_label(&ns->row, "team", team),
				  .label_count = 1 };
	table_put(&model.namespaces, &ns->row);
}

static int setup(void **state)
{
	struct err e = { 0 };
	(void)state;

	memset(&fake, 0, sizeof fake);
	memset(&store, 0, sizeof store);
	rng = 20261124;
	fake.version = 100;
	log_init(LOG_ERR);
	assert_int_equal(config_init(&config, &e), 0);
	snprintf(config.node_name, sizeof config.node_name, "edge1");
	config.ipam_reserve = 0;
	assert_int_equal(loop_open(&loop), 0);
	model_init(&model, &config);
	assert_int_equal(store_start(&store, &loop, &model, &config, &e), 0);
	ipam = ipam_new(&loop, &model, &store);
	loop.pass = on_pass;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_stop(&store);
	ipam_free(ipam);
	model_fini(&model);
	loop_close(&loop);
	return 0;
}

/* Turns until nothing is under way. */
static void settle(void)
{
	for (int i = 0; i < 20000; i++) {
		loop_turn(&loop, 0);
		if (!fake.queued && !loop.deferred && !ipam->flights && !ipam->syncs &&
		    (fake.away || (ipam->resumed[FAMILY_V4] && ipam->resumed[FAMILY_V6])))
			return;
		ipam->resume_after = 0;
		if (ipam->sync_timer.on)
			timer_set(&loop, &ipam->sync_timer, 0);
		if (fake.queued)
			fake_step();
	}
	fail_msg("never quiet");
}

/* --- pods --- */

enum { PODS = 200 };
static struct pod_request {
	struct ipam_request request;
	char handle[32];
	bool asked, has, releasing;
} pods[PODS];

static void on_done(struct ipam_request *r)
{
	struct pod_request *p = container_of(r, struct pod_request, request);

	assert_true(p->asked);
	p->asked = false;
	p->has = r->code == 0;
}

static void ask(unsigned n, bool v4, bool v6)
{
	struct pod_request *p = &pods[n];

	snprintf(p->handle, sizeof p->handle, "k8s-pod-network.Pod%u", n);
	p->request = (struct ipam_request){ .want = { v4, v6 }, .done = on_done,
		.lend = true, .owner = { .handle = p->handle, .node = "edge1", .pod = "p", .namespace = "ns", .wall_ns = 1 } };
	p->asked = true;
	p->has = false;
	ipam_assign(ipam, &p->request);
}

static void on_released(void *ctx)
{
	((struct pod_request *)ctx)->releasing = false;
}

/* With what its request asks for. */
static void ask_again(unsigned n)
{
	const struct addr fixed = pods[n].request.fixed[FAMILY_V4];

	ask(n, false, false);
	pods[n].request.want[FAMILY_V4] = true;
	pods[n].request.fixed[FAMILY_V4] = fixed;
	ipam_assign(ipam, &pods[n].request);
}

static void give_back(unsigned n)
{
	pods[n].has = false;
	pods[n].releasing = true;
	ipam_release(ipam, pods[n].handle, NULL, on_released, &pods[n]);
}

static unsigned blocks_holding(const struct addr *a, const char *handle)
{
	const struct block *b;
	unsigned n = 0;

	table_each(&model.blocks, b) {
		int o = block_ordinal(b, a);
		const struct block_attribute *at = o >= 0 ? block_attribute(b, o) : NULL;

		n += at && strcmp(at->handle, handle) == 0;
	}
	return n;
}

static unsigned allocated(void)
{
	const struct block *b;
	unsigned n = 0, used, reserved;

	table_each(&model.blocks, b) {
		block_count(b, &used, &reserved);
		n += used;
	}
	return n;
}

static unsigned reserved(void)
{
	const struct block *b;
	unsigned n = 0;

	table_each(&model.blocks, b)
		for (unsigned o = 0; o < b->size; o++) {
			const struct block_attribute *a = block_attribute(b, o);

			n += a && strcmp(a->handle, "manx-reserve-edge1") == 0;
		}
	return n;
}

/* Every block of ours has its affinity, and every affinity its block. */
static void assert_affinities(void)
{
	const struct affinity *a;
	const struct block *b;
	int ours = 0;

	table_each(&model.blocks, b)
		ours += b->node && strcmp(b->node, "edge1") == 0;
	table_each(&model.affinities, a) {
		ours -= strcmp(a->node, "edge1") == 0;
		assert_int_equal(a->state, AFFINITY_CONFIRMED);
		b = table_find(&model.blocks, prefix_text(&a->cidr).s);
		assert_true(b && strcmp(b->node, a->node) == 0);
	}
	assert_int_equal(ours, 0);
}

/* What pods have is what blocks say, no more and no less, and handles agree. */
static void assert_agreement(void)
{
	unsigned have = 0, handles = 0;

	for (unsigned n = 0; n < PODS; n++) {
		if (!pods[n].has)
			continue;
		handles++;
		for (int f = 0; f < FAMILIES; f++) {
			const struct addr *a = &pods[n].request.ips[f];

			if (!pods[n].request.want[f])
				continue;
			have++;
			assert_int_equal(blocks_holding(a, pods[n].handle), 1);
			for (unsigned m = 0; m < n; m++)
				assert_false(pods[m].has && addr_equal(a, &pods[m].request.ips[f]));
		}
	}
	assert_affinities();
	assert_int_equal(allocated(), have + fake.others);
	assert_int_equal(model.handles.count, handles + (config.ipam_reserve > 0));
}

/* --- tests --- */

static void the_first_pod_claims_a_block_in_two_phases(void **state)
{
	const struct affinity *a;
	const struct block *b;
	(void)state;

	put_pool("v4", "10.42.0.0/24", 26);
	ask(0, true, false);
	loop_turn(&loop, 0);
	assert_int_equal(fake.queued, 1);
	assert_string_equal(fake.queue[0]->kind->kind, "BlockAffinity");
	fake_step();
	loop_turn(&loop, 0);
	a = (const void *)table_first(&model.affinities);
	assert_int_equal(a->state, AFFINITY_PENDING);
	assert_int_equal(fake.queued, 1);
	assert_string_equal(fake.queue[0]->kind->kind, "IPAMBlock");
	settle();
	a = (const void *)table_first(&model.affinities);
	b = (const void *)table_first(&model.blocks);
	assert_int_equal(a->state, AFFINITY_CONFIRMED);
	assert_true(prefix_equal(&a->cidr, &b->cidr));
	assert_string_equal(a->type, "host");
	assert_true(pods[0].has);
	assert_agreement();
}

static void a_hundred_at_once_need_two_writes_a_block(void **state)
{
	uint64_t before;
	(void)state;

	put_pool("v4", "10.42.0.0/24", 25);
	ask(0, true, false);
	settle();
	before = ((const struct block *)(const void *)table_first(&model.blocks))->meta.version;
	for (unsigned n = 1; n < 101; n++)
		ask(n, true, false);
	loop_turn(&loop, 0);
	assert_int_equal(fake.queued, 1);	/* one block, one write for all of them */
	settle();
	assert_true(((const struct block *)(const void *)table_first(&model.blocks))->meta.version > before);
	for (unsigned n = 0; n < 101; n++)
		assert_true(pods[n].has);
	assert_agreement();
	for (unsigned n = 0; n < 101; n++)
		give_back(n);
	settle();
	assert_agreement();
}

static void a_full_pool_is_named_and_the_other_family_is_given_back(void **state)
{
	(void)state;

	put_pool("small", "10.42.0.0/31", 31);
	put_pool("v6", "fd00:42::/112", 122);
	for (unsigned n = 0; n < 3; n++)
		ask(n, true, true);
	settle();
	assert_true(pods[0].has + pods[1].has + pods[2].has == 2);
	for (unsigned n = 0; n < 3; n++)
		if (!pods[n].has) {
			assert_int_equal(pods[n].request.code, 101);
			assert_non_null(strstr(pods[n].request.err.text, "small (10.42.0.0/31)"));
			assert_int_equal(pods[n].request.ips[FAMILY_V6].family, 0);
		}
	assert_agreement();
	give_back(pods[0].has ? 0 : 1);
	settle();
	ask(3, true, true);
	settle();
	assert_true(pods[3].has);
	assert_agreement();
}

static void without_a_pool_the_answer_is_immediate(void **state)
{
	(void)state;

	ask(0, true, false);
	settle();
	assert_int_equal(pods[0].request.code, 101);
	assert_int_equal(fake.queued, 0);
}

static void a_stranger_s_block_is_left_alone(void **state)
{
	(void)state;

	put_pool("v4", "10.42.0.0/24", 26);
	fake.strangers = 1;
	ask(0, true, false);
	for (int i = 0; i < 8; i++) {		/* until one was lost to the stranger */
		loop_turn(&loop, 0);
		if (fake.queued)
			fake_step();
		if (model.blocks.count)
			break;
	}
	fake.strangers = 0;
	settle();
	assert_true(pods[0].has);
	assert_int_equal(model.blocks.count, 2);
	assert_agreement();		/* our affinity for the lost one is gone */
}

static void a_claim_left_half_done_is_finished_at_start(void **state)
{
	struct affinity *a = row_new(sizeof *a);
	(void)state;

	put_pool("v4", "10.42.0.0/24", 26);
	assert_int_equal(prefix_parse(&a->cidr, "10.42.0.64/26", NULL), 0);
	a->row.key = "edge1-10-42-0-64-26";
	a->meta = (struct meta){ .name = a->row.key, .namespace = "", .uid = "", .version = ++fake.version };
	a->node = "edge1";
	a->type = "host";
	a->state = AFFINITY_PENDING;
	table_put(&model.affinities, &a->row);
	settle();
	assert_int_equal(((const struct affinity *)table_find(&model.affinities, "edge1-10-42-0-64-26"))->state,
			 AFFINITY_CONFIRMED);
	assert_non_null(table_find(&model.blocks, "10.42.0.64/26"));
	ask(0, true, false);
	settle();
	assert_int_equal(model.blocks.count, 1);
	assert_agreement();
}

static void while_the_datastore_is_away_the_code_is_102(void **state)
{
	(void)state;

	put_pool("v4", "10.42.0.0/24", 26);
	fake.away = true;
	ask(0, true, false);
	settle();
	assert_int_equal(pods[0].request.code, 102);
	fake.away = false;
	ask(0, true, false);
	settle();
	assert_true(pods[0].has);
	assert_agreement();
}

/* --- which pool --- */

static bool is_from(unsigned n, const char *cidr)
{
	struct prefix p;

	assert_int_equal(prefix_parse(&p, cidr, NULL), 0);
	return pods[n].has && prefix_has(&p, &pods[n].request.ips[family_index(p.addr.family)]);
}

static void pools_are_used_in_the_order_of_their_names(void **state)
{
	(void)state;

	put_pool("b", "10.42.0.0/26", 26);
	ask(0, true, false);
	settle();
	put_pool("a", "10.43.0.0/31", 31);
	for (unsigned n = 1; n < 4; n++)
		ask(n, true, false);
	settle();
	/* An own block with room comes before a block more. */
	for (unsigned n = 0; n < 4; n++)
		assert_true(is_from(n, "10.42.0.0/26"));
	for (unsigned n = 4; n < 64; n++)
		ask(n, true, false);
	settle();
	ask(64, true, false);
	settle();
	assert_true(is_from(64, "10.43.0.0/31"));
	give_back(0);
	settle();
	ask(65, true, false);
	settle();
	assert_true(is_from(65, "10.43.0.0/31"));	/* its name comes first */
	ask(66, true, false);
	settle();
	assert_true(is_from(66, "10.42.0.0/26"));
	assert_agreement();
}

static void a_node_selector_follows_the_labels_of_the_node(void **state)
{
	struct pool *p = put_pool("east", "10.42.0.0/24", 26);
	(void)state;

	p->nodes = selector(&p->row, "zone == 'east'");
	ask(0, true, false);
	settle();
	assert_int_equal(pods[0].request.code, 101);	/* no Node yet: no label */
	put_self("west");
	assert_false(ipam_serves(ipam, FAMILY_V4, TUNNEL_NONE));
	put_self("east");
	assert_true(ipam_serves(ipam, FAMILY_V4, TUNNEL_NONE));
	ask(1, true, false);
	settle();
	assert_true(is_from(1, "10.42.0.0/24"));
	put_self("west");
	ask(2, true, false);		/* not even from the own block */
	settle();
	assert_int_equal(pods[2].request.code, 101);
	assert_agreement();
}

static void a_namespace_selector_goes_by_the_pod_s_namespace(void **state)
{
	struct pool *p = put_pool("a-team", "10.42.0.0/24", 26), *other = put_pool("other", "10.43.0.0/24", 26);
	(void)state;

	p->namespaces = selector(&p->row, "team == 'a'");
	other->namespaces = selector(&other->row, "team != 'a'");
	ask(0, true, false);		/* of namespace ns */
	settle();
	assert_true(is_from(0, "10.43.0.0/24"));
	put_namespace("ns", "a");
	ask(1, true, false);
	settle();
	assert_true(is_from(1, "10.42.0.0/24"));
	ask(2, true, false);
	pods[2].request.owner.pod = pods[2].request.owner.namespace = NULL;
	settle();
	assert_int_equal(pods[2].request.code, 101);	/* without a pod there is no namespace */
	assert_agreement();
}

static void uses_modes_and_disabled_pools(void **state)
{
	struct pool *p;
	static const char *const names[] = { "manual" }, *const cidr[] = { "10.43.0.0/24" };
	(void)state;

	put_pool("disabled", "10.40.0.0/24", 26)->disabled = true;
	put_pool("leaves", "10.41.0.0/24", 26)->meta.deleting = true;
	put_pool("tunnels", "10.42.0.0/24", 26)->use_workload = false;
	p = put_pool("manual", "10.43.0.0/24", 26);
	p->manual = true;
	p->nodes = selector(&p->row, "zone == 'nowhere'");
	ask(0, true, false);
	settle();
	assert_int_equal(pods[0].request.code, 101);
	ask(1, true, false);		/* who names a pool gets it, whatever it selects */
	pods[1].request.pools[FAMILY_V4] = (struct pool_names){ names, 1 };
	ask(2, true, false);
	pods[2].request.pools[FAMILY_V4] = (struct pool_names){ cidr, 1 };
	settle();
	assert_true(is_from(1, "10.43.0.0/24") && is_from(2, "10.43.0.0/24"));
	assert_agreement();
}

/* --- fixed addresses --- */

static void ask_fixed(unsigned n, const char *address, bool v6)
{
	ask(n, true, v6);
	assert_int_equal(addr_parse(&pods[n].request.fixed[FAMILY_V4], address, NULL), 0);
}

static void a_fixed_address_claims_its_block_or_joins_it(void **state)
{
	(void)state;

	put_pool("v4", "10.42.0.0/24", 26);
	ask_fixed(0, "10.42.0.200", false);
	settle();
	assert_true(is_from(0, "10.42.0.200/32"));
	ask_fixed(1, "10.42.0.201", false);
	ask_fixed(2, "10.42.0.7", false);
	settle();
	assert_true(is_from(1, "10.42.0.201/32") && is_from(2, "10.42.0.7/32"));
	assert_int_equal(model.blocks.count, 2);
	assert_agreement();
}

/* One that came meanwhile, and before it in the queue, has nothing to do with it. */
static void a_failed_claim_fails_whom_it_was_for(void **state)
{
	(void)state;

	put_pool("v4", "10.42.0.0/24", 26);
	ask(0, true, false);
	for (int i = 0; i < 100 && !fake.queued; i++)
		loop_turn(&loop, 0);
	assert_int_equal(fake.queued, 1);
	ask(2, true, false);
	assert_int_equal(addr_parse(&pods[1].request.fixed[FAMILY_V4], "10.42.0.200", NULL), 0);
	ask_again(1);
	fake.away = true;
	fake_step();
	for (int i = 0; i < 100 && pods[0].asked; i++)
		loop_turn(&loop, 0);
	assert_int_equal(pods[0].request.code, 102);
	fake.away = false;
	settle();
	assert_true(pods[1].has && pods[2].has && is_from(1, "10.42.0.200/32"));
	assert_agreement();
}

static void a_block_of_another_size_in_the_way_is_named(void **state)
{
	struct pool *p;
	(void)state;

	p = put_pool("v4", "10.42.0.0/24", 28);
	ask_fixed(0, "10.42.0.1", false);
	settle();
	p->block_size = 26;
	ask_fixed(1, "10.42.0.40", false);
	settle();
	assert_int_equal(pods[1].request.code, 101);
	assert_non_null(strstr(pods[1].request.err.text, "10.42.0.40: its block 10.42.0.0/26 overlaps"));
}

static void a_taken_address_costs_the_other_family_nothing(void **state)
{
	(void)state;

	put_pool("v4", "10.42.0.0/24", 26);
	put_pool("v6", "fd00:42::/112", 122);
	ask_fixed(0, "10.42.0.200", true);
	settle();
	ask_fixed(1, "10.42.0.200", true);
	settle();
	assert_true(pods[0].has);
	assert_int_equal(pods[1].request.code, 103);
	assert_non_null(strstr(pods[1].request.err.text, "10.42.0.200"));
	assert_agreement();
}

static void of_two_nodes_that_want_one_address_one_gets_it(void **state)
{
	struct block *theirs;
	struct prefix cidr;
	struct block_owner other = { .handle = "k8s-pod-network.theirs", .node = "stranger" };
	(void)state;

	put_pool("v4", "10.42.0.0/24", 26);
	assert_int_equal(prefix_parse(&cidr, "10.42.0.64/26", NULL), 0);
	theirs = block_new(&cidr, "stranger", 1, block_size(&cidr));
	theirs->meta.version = ++fake.version;
	assert_int_equal(block_assign_at(theirs, 3, &other), 3);
	store_event_put(&store, kind_named("IPAMBlock"), &theirs->row);
	ask_fixed(0, "10.42.0.67", false);
	ask_fixed(1, "10.42.0.68", false);	/* of another node's block */
	settle();
	assert_int_equal(pods[0].request.code, 103);
	assert_true(is_from(1, "10.42.0.68/32"));
	assert_int_equal(model.affinities.count, 0);
}

static void what_can_be_asked_for(void **state)
{
	struct err e = { 0 };
	struct addr a;
	(void)state;

	put_pool("off", "10.42.0.0/24", 26)->disabled = true;
	put_pool("tunnels", "10.43.0.0/24", 26)->use_workload = false;
	put_pool("manual", "10.44.0.0/24", 26)->manual = true;
	assert_int_equal(ipam_check_pool(ipam, FAMILY_V4, "manual", &e), 0);
	assert_true(ipam_check_pool(ipam, FAMILY_V6, "manual", &e) < 0);
	assert_true(ipam_check_pool(ipam, FAMILY_V4, "nobody", &e) < 0);
	assert_string_equal(e.text, "there is no pool nobody");
	assert_true(ipam_check_pool(ipam, FAMILY_V4, "10.42.0.0/24", &e) < 0);
	assert_string_equal(e.text, "pool off is disabled");
	assert_int_equal(addr_parse(&a, "10.43.0.9", NULL), 0);
	assert_true(ipam_check_address(ipam, &a, &e) < 0);
	assert_string_equal(e.text, "address 10.43.0.9 is in pool tunnels, which is not for pods");
	assert_int_equal(addr_parse(&a, "10.44.0.9", NULL), 0);
	assert_int_equal(ipam_check_address(ipam, &a, &e), 0);
}

/* --- IPAMConfig, IPReservation --- */

static struct ipam_config *put_config(void)
{
	struct ipam_config *c = row_new(sizeof *c);

	c->row.key = "default";
	c->meta = (struct meta){ .name = "default", .namespace = "", .uid = "" };
	c->auto_allocate = true;
	c->row.digest = ++fake.version;
	table_put(&model.ipam_configs, &c->row);
	return c;
}

static void put_reservation(const char *cidr)
{
	struct reservation *r = row_new(sizeof *r);

	r->row.key = arena_str(&r->row.mem, cidr);
	r->meta = (struct meta){ .name = r->row.key, .namespace = "", .uid = "" };
	r->cidrs = arena_alloc(&r->row.mem, sizeof *r->cidrs);
	assert_int_equal(prefix_parse(r->cidrs, cidr, NULL), 0);
	r->count = 1;
	table_put(&model.reservations, &r->row);
}

static const struct block *put_block_since(int64_t claimed, const char *node, const char *text, unsigned used)
{
	struct prefix cidr;
	struct block *b;

	assert_int_equal(prefix_parse(&cidr, text, NULL), 0);
	b = block_new(&cidr, node, claimed, block_size(&cidr));
	b->meta.version = ++fake.version;
	for (unsigned n = 0; n < used; n++) {
		char handle[32];

		snprintf(handle, sizeof handle, "k8s-pod-network.%s%u", node, n);
		block_assign(b, &(struct block_owner){ .handle = handle, .node = node }, NULL, NULL);
	}
	store_event_put(&store, kind_named("IPAMBlock"), &b->row);
	return b;
}

static void put_block_of(const char *node, const char *text, unsigned used)
{
	put_block_since(1, node, text, used);
}

static const struct block *block_named(const char *cidr)
{
	const struct block *b = table_find(&model.blocks, cidr);

	assert_non_null(b);
	return b;
}

static void addresses_are_borrowed_when_no_block_is_left(void **state)
{
	(void)state;

	put_pool("v4", "10.42.0.0/29", 30);
	put_block_of("stranger", "10.42.0.4/30", 2);
	for (unsigned n = 0; n < 7; n++)
		ask(n, true, false);
	settle();
	for (unsigned n = 0; n < 6; n++)
		assert_true(pods[n].has);
	assert_int_equal(pods[6].request.code, 101);
	assert_non_null(strstr(pods[6].request.err.text, "pool v4 (10.42.0.0/29) is full"));
	assert_string_equal(block_named("10.42.0.4/30")->affinity, "host:stranger");
	assert_int_equal(model.affinities.count, 1);
	for (unsigned n = 0; n < 6; n++)
		give_back(n);
	settle();
	assert_int_equal(allocated(), 2);
	assert_int_equal(model.handles.count, 0);
}

static void strict_affinity_borrows_nothing(void **state)
{
	(void)state;

	put_config()->strict_affinity = true;
	put_pool("v4", "10.42.0.0/29", 30);
	put_block_of("stranger", "10.42.0.4/30", 2);
	for (unsigned n = 0; n < 5; n++)
		ask(n, true, false);
	ask_fixed(5, "10.42.0.7", false);
	settle();
	assert_int_equal(pods[4].request.code, 101);
	assert_int_equal(pods[5].request.code, 101);
	assert_non_null(strstr(pods[5].request.err.text, "strictAffinity"));
	assert_int_equal(allocated(), 6);
}

static void at_the_cap_of_blocks_nothing_is_borrowed(void **state)
{
	(void)state;

	put_config()->max_blocks = 2;
	put_pool("v4", "10.42.0.0/24", 30);
	put_block_of("stranger", "10.42.0.4/30", 0);
	for (unsigned n = 0; n < 9; n++)
		ask(n, true, false);
	settle();
	assert_true(pods[7].has);
	assert_int_equal(pods[8].request.code, 101);
	assert_non_null(strstr(pods[8].request.err.text, "holds 2 blocks"));
}

static void without_automatic_blocks_own_ones_are_all_there_is(void **state)
{
	struct ipam_config *c = put_config();
	(void)state;

	c->strict_affinity = true;
	c->auto_allocate = false;
	put_pool("v4", "10.42.0.0/24", 31);
	ask(0, true, false);
	settle();
	assert_int_equal(pods[0].request.code, 101);
	assert_non_null(strstr(pods[0].request.err.text, "autoAllocateBlocks"));
	assert_int_equal(model.blocks.count, 0);
}

static void reserved_addresses_are_only_for_who_asks(void **state)
{
	(void)state;

	put_pool("v4", "10.42.0.0/29", 30);
	put_reservation("10.42.0.0/31");
	put_reservation("10.42.0.4/30");	/* a whole block */
	for (unsigned n = 0; n < 3; n++)
		ask(n, true, false);
	ask_fixed(3, "10.42.0.5", false);
	settle();
	assert_true(is_from(0, "10.42.0.2/31") && is_from(1, "10.42.0.2/31"));
	assert_int_equal(pods[2].request.code, 101);
	assert_true(is_from(3, "10.42.0.5/32"));
	assert_agreement();
}

static void an_address_is_not_given_again_before_it_has_rested(void **state)
{
	struct ipam_config *c = put_config();
	struct addr first;
	(void)state;

	c->cooldown_s = 1000;
	put_pool("v4", "10.42.0.0/31", 31);
	ask(0, true, false);
	ask(1, true, false);
	settle();
	first = pods[0].request.ips[0];
	give_back(0);
	settle();
	ask(2, true, false);
	settle();
	assert_int_equal(pods[2].request.code, 101);
	c->cooldown_s = 0;		/* and what rests still is over */
	ask(3, true, false);
	settle();
	assert_true(pods[3].has && addr_equal(&pods[3].request.ips[0], &first));
	assert_agreement();
}

/* --- blocks that are taken over --- */

/* Two blocks in the pool, and the second is the stranger's; pods ask for n addresses. */
static void ask_beside_stranger(unsigned used, int64_t claimed, bool has_affinity, unsigned n)
{
	const struct block *b;

	put_pool("v4", "10.42.0.0/29", 30);
	b = put_block_since(claimed, "stranger", "10.42.0.4/30", used);
	if (has_affinity)
		affinity_event("stranger", &b->cidr, AFFINITY_CONFIRMED);
	while (n-- > 0)
		ask(n, true, false);
}

static unsigned have(void)
{
	unsigned count = 0;

	for (unsigned n = 0; n < PODS; n++)
		count += pods[n].has;
	return count;
}

static void an_empty_block_of_another_node_is_taken_over(void **state)
{
	(void)state;

	put_config()->strict_affinity = true;
	ask_beside_stranger(0, wall_ns() - 61 * 1000000000ll, true, 8);
	settle();
	assert_int_equal(have(), 8);
	assert_string_equal(block_named("10.42.0.4/30")->affinity, "host:edge1");
	assert_agreement();
}

static void a_block_that_is_not_to_be_had_stays_whose_it_is(void **state)
{
	const struct { unsigned used, most; int64_t age_s; bool has_affinity; } cases[] = {
		{ 1, 0, 3600, true },		/* in use */
		{ 0, 1, 3600, true },		/* one block is all that a node may hold */
		{ 0, 0, 50, true },
		{ 0, 0, -50, true },		/* its clock is ahead */
		{ 0, 0, 3600, false },		/* half claimed */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipam_config *c = put_config();

		c->strict_affinity = true;
		c->max_blocks = cases[i].most;
		ask_beside_stranger(cases[i].used, wall_ns() - cases[i].age_s * 1000000000, cases[i].has_affinity, 5);
		settle();
		assert_int_equal(have(), 4);
		assert_string_equal(block_named("10.42.0.4/30")->affinity, "host:stranger");
		teardown(state);
		memset(pods, 0, sizeof pods);
		setup(state);
	}
}

static void a_block_that_is_used_while_it_is_taken_over_is_left(void **state)
{
	(void)state;

	put_config()->strict_affinity = true;
	fake.strangers = 1;
	ask_beside_stranger(0, 1, true, 5);
	settle();
	assert_int_equal(have(), 0);	/* also the first was theirs, when we came to it */
	assert_int_equal(fake.others, 2);
	assert_agreement();		/* the marks on their affinities have gone */
}

static void what_the_reserve_wants_is_taken_from_nobody(void **state)
{
	(void)state;

	config.ipam_reserve = 8;
	ask_beside_stranger(0, 1, true, 0);
	settle();
	assert_string_equal(block_named("10.42.0.4/30")->affinity, "host:stranger");
	assert_int_equal(reserved(), 4);
}

/* Whoever began to take it over has died. */
static void the_mark_on_a_block_in_use_goes(void **state)
{
	struct prefix cidr;
	(void)state;

	put_pool("v4", "10.42.0.0/30", 30);
	ask(0, true, false);
	settle();
	give_back(0);
	settle();
	cidr = block_named("10.42.0.0/30")->cidr;
	affinity_event("edge1", &cidr, AFFINITY_PENDING_DELETION);
	settle();
	assert_int_equal(((const struct affinity *)(const void *)table_first(&model.affinities))->state, AFFINITY_PENDING_DELETION);
	ask(0, true, false);
	settle();
	assert_agreement();
	affinity_event("edge1", &cidr, AFFINITY_PENDING_DELETION);
	settle();
	assert_agreement();
}

/* --- blocks that are given back --- */

static void an_empty_block_goes_when_others_have_room_enough(void **state)
{
	(void)state;

	put_pool("v4", "10.42.0.0/24", 30);
	for (unsigned n = 0; n < 5; n++)
		ask(n, true, false);
	settle();
	assert_int_equal(model.blocks.count, 2);
	give_back(4);
	settle();
	assert_false(ipam->unclaim.timer.on);	/* the other one is full */
	give_back(0);
	settle();
	assert_true(ipam->unclaim.timer.on);
	ask(5, true, false);
	settle();
	assert_false(ipam->unclaim.timer.on);	/* and full again */
	give_back(5);
	settle();
	timer_set(&loop, &ipam->unclaim.timer, 0);
	loop_turn(&loop, 0);
	assert_int_equal(fake.queued, 1);
	assert_string_equal(fake.queue[0]->kind->kind, "BlockAffinity");
	settle();
	assert_int_equal(model.blocks.count, 1);
	assert_agreement();
	for (unsigned n = 1; n < 4; n++)
		give_back(n);
	settle();
	assert_false(ipam->unclaim.timer.on);	/* the last one stays */
	assert_int_equal(model.blocks.count, 1);
}

static void a_block_of_a_pool_that_does_not_serve_goes_at_once(void **state)
{
	(void)state;

	put_pool("v4", "10.42.0.0/24", 26);
	ask(0, true, false);
	settle();
	put_pool("v4", "10.42.0.0/24", 26)->disabled = true;
	settle();
	assert_int_equal(model.blocks.count, 1);
	give_back(0);
	settle();
	assert_int_equal(model.blocks.count, 0);
	assert_agreement();
	put_pool("v4", "10.42.0.0/24", 26);
	ask(1, true, false);
	settle();
	give_back(1);
	settle();
	table_del(&model.pools, "v4");
	settle();
	assert_int_equal(model.blocks.count, 0);
	assert_agreement();
}

static void who_borrows_meanwhile_keeps_the_block(void **state)
{
	struct block *b;
	const struct block *old;
	(void)state;

	put_pool("v4", "10.42.0.0/24", 26);
	ask(0, true, false);
	settle();
	give_back(0);
	settle();
	put_pool("v4", "10.42.0.0/24", 26)->disabled = true;
	loop_turn(&loop, 0);
	assert_int_equal(fake.queued, 1);		/* the affinity */
	old = (const void *)table_first(&model.blocks);
	b = block_copy(old);
	block_assign(b, &(struct block_owner){ .handle = "k8s-pod-network.theirs", .node = "stranger" }, NULL, NULL);
	b->meta.version = ++fake.version;
	store_event_put(&store, kind_named("IPAMBlock"), &b->row);
	settle();
	assert_int_equal(model.blocks.count, 1);
	assert_affinities();
}

/* --- the reserve --- */

static void away(bool on)
{
	fake.away = on;
	store.state = on ? STORE_AWAY : STORE_SYNCED;
}

static void the_reserve_is_one_attribute_and_pods_do_not_use_it_up(void **state)
{
	const struct block *b;
	(void)state;

	config.ipam_reserve = 8;
	put_pool("v4", "10.42.0.0/24", 26);
	settle();
	b = (const void *)table_first(&model.blocks);
	assert_int_equal(reserved(), 8);
	assert_int_equal(b->attribute_count, 1);
	for (unsigned n = 0; n < 5; n++)
		ask(n, true, false);
	settle();
	assert_int_equal(reserved(), 8);
	assert_agreement();
	for (unsigned n = 0; n < 5; n++)
		give_back(n);
	settle();
	assert_int_equal(reserved(), 8);
	assert_agreement();
}

/* More at once than one write takes. */
static void hundreds_borrow_from_one_block(void **state)
{
	static struct pod_request many[400];
	(void)state;

	put_pool("v4", "10.42.0.0/22", 22);
	put_block_of("stranger", "10.42.0.0/22", 1);
	for (unsigned n = 0; n < ARRAY_SIZE(many); n++) {
		struct pod_request *p = &many[n];

		snprintf(p->handle, sizeof p->handle, "k8s-pod-network.borrower-%u", n);
		p->request = (struct ipam_request){ .want = { true, false }, .done = on_done,
			.owner = { .handle = p->handle, .node = "edge1", .pod = "p", .namespace = "ns", .wall_ns = 1 } };
		p->asked = true;
		ipam_assign(ipam, &p->request);
	}
	settle();
	for (unsigned n = 0; n < ARRAY_SIZE(many); n++)
		assert_int_equal(many[n].request.code, 0);
}

/* The loop turns on, and gives back no address twice, while a write has no answer. */
static void a_reserve_waits_for_a_write_that_gives_it_back(void **state)
{
	unsigned releases = 0;
	(void)state;

	config.ipam_reserve = 8;
	put_pool("v4", "10.42.0.0/24", 26);
	settle();
	put_pool("v4", "10.42.0.0/24", 26)->disabled = true;
	for (int i = 0; i < 4; i++)
		loop_turn(&loop, 0);
	for (const struct release *r = ipam->releases; r; r = r->next)
		releases++;
	assert_in_range(releases, 1, 8);
	settle();
	assert_int_equal(reserved(), 0);
}

static void a_reserve_that_needs_more_than_a_block_claims_more(void **state)
{
	(void)state;

	config.ipam_reserve = 8;
	put_pool("v4", "10.42.0.0/29", 31);
	settle();
	assert_int_equal(reserved(), 8);
	assert_int_equal(model.blocks.count, 4);
	ask(0, true, false);		/* all is reserved: then it is no reserve but addresses */
	settle();
	assert_true(pods[0].has);
	assert_int_equal(reserved(), 7);
	assert_agreement();
	give_back(0);
	settle();
	assert_int_equal(reserved(), 8);
}

static void what_is_lent_while_the_datastore_is_away_is_assigned_when_it_is_back(void **state)
{
	(void)state;

	config.ipam_reserve = 4;
	put_pool("v4", "10.42.0.0/24", 26);
	put_pool("v6", "fd00:42::/112", 122);
	settle();
	away(true);
	for (unsigned n = 0; n < 5; n++)
		ask(n, true, true);
	settle();
	for (unsigned n = 0; n < 4; n++)
		assert_true(pods[n].has);
	assert_int_equal(pods[4].request.code, 102);
	assert_int_equal(fake.queued, 0);
	give_back(1);			/* its addresses are to be had again at once */
	settle();
	ask(5, true, true);
	settle();
	assert_true(pods[5].has && addr_equal(&pods[5].request.ips[0], &pods[1].request.ips[0]));
	away(false);
	loop_turn(&loop, 0);
	settle();
	assert_int_equal(reserved(), 8);
	assert_agreement();
}

static void a_fixed_address_of_the_reserve_is_to_be_had_once(void **state)
{
	struct addr kept;
	(void)state;

	config.ipam_reserve = 4;
	put_pool("v4", "10.42.0.0/26", 26);
	settle();
	kept = ((const struct block *)(const void *)table_first(&model.blocks))->cidr.addr;
	ask_fixed(0, addr_text(&kept).s, false);
	settle();
	assert_true(pods[0].has);
	assert_int_equal(reserved(), 4);
	kept.b[3] += 1;
	away(true);
	ask_fixed(1, addr_text(&kept).s, false);
	ask_fixed(2, addr_text(&kept).s, false);
	settle();
	assert_true(pods[1].has);
	assert_int_equal(pods[2].request.code, 102);
	away(false);
	loop_turn(&loop, 0);
	settle();
	ask_fixed(3, addr_text(&kept).s, false);
	settle();
	assert_int_equal(pods[3].request.code, 103);
	assert_agreement();
}

/* The lock is held: writes neither succeed nor fail. */
static void with_strict_affinity_every_free_address_can_be_lent(void **state)
{
	(void)state;

	put_config()->strict_affinity = true;
	config.ipam_reserve = 2;
	put_pool("v4", "10.42.0.0/29", 29);
	put_reservation("10.42.0.7/32");
	settle();
	away(true);
	for (unsigned n = 0; n < 8; n++)
		ask(n, true, false);
	settle();
	for (unsigned n = 0; n < 7; n++)
		assert_true(pods[n].has);
	assert_int_equal(pods[7].request.code, 102);
	away(false);
	loop_turn(&loop, 0);
	settle();
	assert_int_equal(reserved(), 0);
	config.ipam_reserve = 0;
	assert_agreement();
}

static void a_write_that_hangs_is_not_waited_for(void **state)
{
	(void)state;

	config.ipam_reserve = 4;
	put_pool("v4", "10.42.0.0/24", 26);
	settle();
	ask(0, true, false);
	loop_turn(&loop, 0);
	ask(1, true, false);
	loop_turn(&loop, 0);
	assert_int_equal(fake.queued, 1);
	assert_true(ipam->patience.on);
	asks_lend(ipam, now_ms(), false);	/* as when its time has come */
	loop_turn(&loop, 0);
	assert_true(pods[0].has && pods[1].has);
	give_back(1);
	settle();
	assert_int_equal(reserved(), 4);
	assert_false(ipam->patience.on);
	assert_agreement();
}

static void a_pool_that_no_longer_serves_gives_the_reserve_back(void **state)
{
	(void)state;

	config.ipam_reserve = 4;
	put_pool("a", "10.42.0.0/24", 26);
	settle();
	put_pool("a", "10.42.0.0/24", 26)->disabled = true;
	settle();
	settle();
	assert_int_equal(reserved(), 0);
	put_pool("b", "10.43.0.0/24", 26);
	settle();
	assert_int_equal(reserved(), 4);
	config.ipam_reserve = 2;
	put_pool("b", "10.43.0.0/24", 26);
	settle();
	assert_int_equal(reserved(), 2);
	assert_agreement();
}

/* --- default pools --- */

static void default_pools_are(enum encapsulation v4, enum encapsulation v6)
{
	struct default_pool fresh[FAMILIES] = { { .ipam = ipam }, { .ipam = ipam } };
	const struct pool *p;

	memcpy(ipam->defaults, fresh, sizeof fresh);
	settle();
	assert_true(ipam_pools_tried(ipam));
	assert_non_null(p = model_first_pool(&model, FAMILY_V4));
	assert_int_equal(p->encapsulation, v4);
	assert_non_null(p = model_first_pool(&model, FAMILY_V6));
	assert_int_equal(p->encapsulation, v6);
	table_begin(&model.pools);
	table_end(&model.pools);
}

static void configure(enum encapsulation e)
{
	config.encapsulation = e;
	config.pools = (struct pool_list){ .count = 2 };
	assert_int_equal(prefix_parse(&config.pools.cidr[0], "fd00:42::/112", NULL), 0);
	assert_int_equal(prefix_parse(&config.pools.cidr[1], "10.42.0.0/16", NULL), 0);
}

static void modes_of_default_pools(void **state)
{
	(void)state;
	configure(ENCAP_IPIP_CROSS_SUBNET);
	default_pools_are(ENCAP_IPIP_CROSS_SUBNET, ENCAP_NONE);
	configure(ENCAP_VXLAN_CROSS_SUBNET);
	default_pools_are(ENCAP_VXLAN_CROSS_SUBNET, ENCAP_VXLAN_CROSS_SUBNET);
	configure(ENCAP_AUTO);
	model.kernel_ipip = ANSWER_YES;
	default_pools_are(ENCAP_IPIP, ENCAP_NONE);
	model.kernel_ipip = ANSWER_NO;
	default_pools_are(ENCAP_VXLAN, ENCAP_VXLAN);
}

/* Whoever made the pool of IPv4: here another node, between our look and our write. */
static void auto_of_ipv6_follows_the_pool_that_is_there(void **state)
{
	(void)state;
	configure(ENCAP_AUTO);
	model.kernel_ipip = ANSWER_YES;
	put_pool_of(ENCAP_VXLAN, "theirs", "10.43.0.0/16", 26);
	default_pools_are(ENCAP_VXLAN, ENCAP_VXLAN);
	put_pool_of(ENCAP_NONE, "theirs", "10.43.0.0/16", 26);
	default_pools_are(ENCAP_NONE, ENCAP_NONE);
	loop_turn(&loop, 0);
	memset(ipam->defaults, 0, sizeof ipam->defaults);
	ipam->defaults[0].ipam = ipam->defaults[1].ipam = ipam;
	model.kernel_ipip = ANSWER_YES;
	while (!fake.queued)
		loop_turn(&loop, 0);
	assert_int_equal(fake.queued, 1);		/* IPv6 waits */
	put_pool_of(ENCAP_VXLAN, "default-ipv4-ippool", "10.42.0.0/16", 26);
	settle();
	assert_int_equal(model_first_pool(&model, FAMILY_V4)->encapsulation, ENCAP_VXLAN);
	assert_int_equal(model_first_pool(&model, FAMILY_V6)->encapsulation, ENCAP_VXLAN);
}

/* --- tunnel addresses --- */

static void put_uplink(const char *v4, const char *v6)
{
	struct uplink *u = row_new(sizeof *u);

	u->row.key = "self";
	assert_int_equal(prefix_parse(&u->address[0], v4, NULL), 0);
	if (v6)
		assert_int_equal(prefix_parse(&u->address[1], v6, NULL), 0);
	u->row.digest = ++fake.version;
	table_put(&model.uplinks, &u->row);
}

/* The addresses that blocks hold of that type; *a: one of them. */
static unsigned held_of(const char *type, struct addr *a)
{
	const struct block *b;
	unsigned count = 0;

	table_each(&model.blocks, b)
		for (unsigned o = 0; o < b->size; o++) {
			const struct block_attribute *at = block_attribute(b, o);

			if (at && at->type && strcmp(at->type, type) == 0) {
				*a = block_address(b, o);
				count++;
			}
		}
	return count;
}

static void tunnels_are(bool ipip, bool vxlan, bool vxlan6)
{
	static const char *const types[TUNNELS] = { NULL, "ipipTunnelAddress", "vxlanTunnelAddress", "vxlanV6TunnelAddress" };
	const bool want[TUNNELS] = { false, ipip, vxlan, vxlan6 };

	settle();
	settle();		/* what was given back is looked at once more */
	tunnel_each(t) {
		struct addr a = { 0 };

		assert_int_equal(held_of(types[t], &a), want[t]);
		assert_true(addr_equal(&a, &model.tunnel[t]));
	}
	assert_int_equal(model.handles.count, (unsigned)ipip + vxlan + vxlan6);
}

static void tunnel_addresses_follow_the_modes_of_pools(void **state)
{
	(void)state;
	put_uplink("192.0.2.1/24", "2001:db8::1/64");
	put_pool_of(ENCAP_VXLAN, "v4", "10.42.0.0/24", 26);
	put_pool_of(ENCAP_VXLAN_CROSS_SUBNET, "v6", "fd00:42::/112", 122);
	tunnels_are(false, true, true);
	put_pool_of(ENCAP_IPIP_CROSS_SUBNET, "v4", "10.42.0.0/24", 26);
	tunnels_are(true, false, true);
	put_uplink("192.0.2.1/24", NULL);		/* a gap of the uplink costs nothing */
	tunnels_are(true, false, true);
	put_pool_of(ENCAP_NONE, "v4", "10.42.0.0/24", 26);
	table_del(&model.pools, "v6");
	tunnels_are(false, false, false);
	put_pool_of(ENCAP_IPIP, "v4", "10.42.0.0/24", 26);
	tunnels_are(true, false, false);
}

/* The answer to a tunnel address comes by the mode of the pool that the address is of. */
static void a_tunnel_address_is_of_a_pool_of_its_mode(void **state)
{
	struct prefix a, b;
	(void)state;

	assert_int_equal(prefix_parse(&a, "10.42.0.0/24", NULL), 0);
	assert_int_equal(prefix_parse(&b, "10.43.0.0/24", NULL), 0);
	put_uplink("192.0.2.1/24", NULL);
	put_pool_of(ENCAP_VXLAN, "a", "10.42.0.0/24", 26);
	put_pool_of(ENCAP_IPIP, "b", "10.43.0.0/24", 26);
	tunnels_are(true, true, false);
	assert_true(prefix_has(&a, &model.tunnel[TUNNEL_VXLAN]) && prefix_has(&b, &model.tunnel[TUNNEL_IPIP]));
	put_pool_of(ENCAP_IPIP, "a", "10.42.0.0/24", 26);
	put_pool_of(ENCAP_VXLAN, "b", "10.43.0.0/24", 26);
	tunnels_are(true, true, false);
	assert_true(prefix_has(&a, &model.tunnel[TUNNEL_IPIP]) && prefix_has(&b, &model.tunnel[TUNNEL_VXLAN]));
}

/* One of the pool's blocks, if nobody has it. */
static void stranger_settles(void)
{
	char cidr[32];

	snprintf(cidr, sizeof cidr, "10.42.0.%u/28", 16 * dice(4));
	if (!table_find(&model.blocks, cidr))
		affinity_event("stranger", &put_block_since(1, "stranger", cidr, 0)->cidr, AFFINITY_CONFIRMED);
}

static void random_load(unsigned reserve)
{
	config.ipam_reserve = reserve;
	put_pool("v4", "10.42.0.0/26", 28);	/* full at times: blocks are taken over, and addresses borrowed */
	put_pool("v6", "fd00:42::/112", 122);
	fake.conflicts = 4;
	fake.strangers = 3;
	print_message("seed %u\n", rng);
	for (int step = 0; step < 4000; step++) {
		unsigned n = dice(120);

		if (!pods[n].asked && !pods[n].releasing) {
			if (pods[n].has)
				give_back(n);
			else
				ask(n, true, dice(2));
		}
		for (unsigned k = dice(4); k; k--) {
			loop_turn(&loop, 0);
			if (fake.queued)
				fake_step();
		}
		if (ipam->unclaim.timer.on && dice(10) == 0)
			timer_set(&loop, &ipam->unclaim.timer, 0);
		if (step % 20 == 10)
			stranger_settles();
		if (reserve && step % 100 == 50)
			away(dice(2));
		if (step % 500 == 499) {
			away(false);
			loop_turn(&loop, 0);
			settle();
			assert_agreement();
		}
	}
	settle();
	for (unsigned n = 0; n < PODS; n++)
		assert_false(pods[n].asked || pods[n].releasing);
	assert_agreement();
	assert_true(fake.taken);
}

static void random_load_over_a_hostile_datastore_loses_nothing(void **state)
{
	(void)state;
	random_load(0);
}

/* It is away at times, too. */
static void random_load_with_a_reserve_loses_nothing(void **state)
{
	(void)state;
	random_load(6);
	assert_true(reserved() <= 12);
}

static struct block *give_block(const char *cidr)
{
	struct prefix p;
	struct block *b;

	assert_int_equal(prefix_parse(&p, cidr, NULL), 0);
	b = block_new(&p, "edge2", wall_ns(), block_size(&p));
	b->row.digest = ++fake.version;
	table_put(&model.blocks, &b->row);
	return b;
}

static const char *block_of(const char *ip)
{
	const struct block *b;
	struct addr a;

	assert_int_equal(addr_parse(&a, ip, NULL), 0);
	b = model_block_of(&model, &a);
	return b ? b->row.key : "none";
}

/* Whatever its size, and whether or not a pool has it. */
static void an_address_is_found_in_its_block(void **state)
{
	(void)state;
	put_pool("p", "10.42.0.0/16", 26);
	put_pool("p6", "fd00:42::/48", 122);
	give_block("10.42.1.64/26");
	give_block("10.42.2.16/28");
	give_block("10.42.16.0/20");
	give_block("10.99.0.0/26");
	give_block("fd00:42::40/122");
	assert_string_equal(block_of("10.42.1.64"), "10.42.1.64/26");
	assert_string_equal(block_of("10.42.1.127"), "10.42.1.64/26");
	assert_string_equal(block_of("10.42.1.128"), "none");
	assert_string_equal(block_of("10.42.2.31"), "10.42.2.16/28");
	assert_string_equal(block_of("10.42.2.32"), "none");
	assert_string_equal(block_of("10.42.31.255"), "10.42.16.0/20");
	assert_string_equal(block_of("10.99.0.1"), "10.99.0.0/26");
	assert_string_equal(block_of("fd00:42::7f"), "fd00:42::40/122");
	assert_string_equal(block_of("fd00:42::80"), "none");
	give_block("10.42.1.64/26")->deleted = true;
	assert_string_equal(block_of("10.42.1.64"), "none");
}

static void blocks_are_shown_in_order(void **state)
{
	autostr struct str out = { 0 };
	const char *at;
	(void)state;

	put_pool("p", "10.42.0.0/16", 26);
	for (int i = 40; i > 0; i--) {
		char cidr[32];

		snprintf(cidr, sizeof cidr, "10.42.%d.0/26", i * 7 % 41);
		give_block(cidr)->deleted = i == 1;		/* 7 */
	}
	ipam_show(ipam, &out, false);
	assert_null(strstr(out.s, "10.42.7.0/26"));
	at = out.s;
	for (int i = 1; i <= 40; i++) {
		char cidr[32];

		snprintf(cidr, sizeof cidr, "\n10.42.%d.0/26 ", i);
		if (i != 7)
			assert_non_null(at = strstr(at, cidr));
	}
}

/* --- nodes that have gone --- */

static void put_block(const char *cidr, const char *node, const char *holder, unsigned count)
{
	struct prefix p;
	struct block *b;

	prefix_parse(&p, cidr, NULL);
	b = block_new(&p, node, 1, block_size(&p));
	for (unsigned i = 0; i < count; i++) {
		char handle[32];

		snprintf(handle, sizeof handle, "k8s-pod-network.%s%u", holder, i);
		block_assign(b, &(struct block_owner){ .handle = handle, .node = holder }, NULL, NULL);
	}
	b->meta.version = ++fake.version;
	table_put(&model.blocks, &b->row);
}

static void put_affinity(const char *cidr, const char *node)
{
	struct affinity *a = row_new(sizeof *a);
	char name[254];

	prefix_parse(&a->cidr, cidr, NULL);
	affinity_name(name, node, &a->cidr);
	a->row.key = a->meta.name = arena_str(&a->row.mem, name);
	a->meta.namespace = a->meta.uid = "";
	a->meta.version = ++fake.version;
	a->node = arena_str(&a->row.mem, node);
	a->type = "host";
	table_put(&model.affinities, &a->row);
}

static unsigned used_of(const char *cidr)
{
	const struct block *b = table_find(&model.blocks, cidr);

	return b ? b->size - b->free_count : ~0u;
}

static void what_a_node_that_has_gone_had_is_given_back(void **state)
{
	(void)state;
	store.driver = &store_kubernetes;
	ipam->sweep.patience_ms = 1;
	fake.conflicts = 3;
	put_self("a");
	put_block("10.0.0.0/29", "dead", "dead", 5);
	put_affinity("10.0.0.0/29", "dead");
	put_block("10.0.0.8/29", "dead", "edge1", 2);	/* somebody who lives has addresses of it */
	put_affinity("10.0.0.8/29", "dead");
	put_block("10.0.0.16/29", "edge1", "dead", 3);	/* and the other way round */
	put_affinity("10.0.0.24/29", "other");		/* of a claim that was not finished */
	for (unsigned i = 0; i < 400 && (model.blocks.count > 2 || used_of("10.0.0.16/29") ||
	     table_find(&model.affinities, "other-10-0-0-24-29") || fake.queued); i++) {
		loop_turn(&loop, 1);
		if (fake.queued)
			fake_step();
	}
	assert_null(table_find(&model.blocks, "10.0.0.0/29"));
	assert_int_equal(used_of("10.0.0.8/29"), 2);
	assert_int_equal(used_of("10.0.0.16/29"), 0);
	assert_null(table_find(&model.affinities, "dead-10-0-0-0-29"));
	assert_non_null(table_find(&model.affinities, "dead-10-0-0-8-29"));
	assert_null(table_find(&model.affinities, "other-10-0-0-24-29"));
}

static void what_others_see_to_is_left_alone(void **state)
{
	struct namespace *calico = row_new(sizeof *calico);

	(void)state;
	ipam->sweep.patience_ms = 1;
	put_self("a");
	put_block("10.0.0.0/29", "dead", "dead", 5);
	for (unsigned i = 0; i < 20; i++)		/* a datastore where nodes leave by themselves */
		loop_turn(&loop, 1);
	store.driver = &store_kubernetes;
	calico->row.key = calico->meta.name = "default";
	table_put(&model.cluster_informations, &calico->row);
	calico_runs = true;
	for (unsigned i = 0; i < 20; i++)
		loop_turn(&loop, 1);
	assert_string_equal(ipam->sweep.node, "");
	assert_int_equal(used_of("10.0.0.0/29"), 5);
	calico_runs = false;				/* they end, and it is ours */
	for (uint64_t until = now_ms() + 2000; table_find(&model.blocks, "10.0.0.0/29") && now_ms() < until; loop_turn(&loop, 1))
		if (fake.queued)
			fake_step();
	assert_null(table_find(&model.blocks, "10.0.0.0/29"));
}

static int fresh_pods(void **state)
{
	memset(pods, 0, sizeof pods);
	return setup(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh_pods, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_address_is_found_in_its_block),
		TEST(blocks_are_shown_in_order),
		TEST(the_first_pod_claims_a_block_in_two_phases),
		TEST(a_hundred_at_once_need_two_writes_a_block),
		TEST(a_full_pool_is_named_and_the_other_family_is_given_back),
		TEST(without_a_pool_the_answer_is_immediate),
		TEST(a_stranger_s_block_is_left_alone),
		TEST(a_claim_left_half_done_is_finished_at_start),
		TEST(while_the_datastore_is_away_the_code_is_102),
		TEST(pools_are_used_in_the_order_of_their_names),
		TEST(a_node_selector_follows_the_labels_of_the_node),
		TEST(a_namespace_selector_goes_by_the_pod_s_namespace),
		TEST(uses_modes_and_disabled_pools),
		TEST(a_fixed_address_claims_its_block_or_joins_it),
		TEST(a_failed_claim_fails_whom_it_was_for),
		TEST(a_block_of_another_size_in_the_way_is_named),
		TEST(a_taken_address_costs_the_other_family_nothing),
		TEST(of_two_nodes_that_want_one_address_one_gets_it),
		TEST(what_can_be_asked_for),
		TEST(an_empty_block_of_another_node_is_taken_over),
		TEST(a_block_that_is_not_to_be_had_stays_whose_it_is),
		TEST(a_block_that_is_used_while_it_is_taken_over_is_left),
		TEST(what_the_reserve_wants_is_taken_from_nobody),
		TEST(the_mark_on_a_block_in_use_goes),
		TEST(an_empty_block_goes_when_others_have_room_enough),
		TEST(a_block_of_a_pool_that_does_not_serve_goes_at_once),
		TEST(who_borrows_meanwhile_keeps_the_block),
		TEST(addresses_are_borrowed_when_no_block_is_left),
		TEST(hundreds_borrow_from_one_block),
		TEST(strict_affinity_borrows_nothing),
		TEST(at_the_cap_of_blocks_nothing_is_borrowed),
		TEST(without_automatic_blocks_own_ones_are_all_there_is),
		TEST(reserved_addresses_are_only_for_who_asks),
		TEST(an_address_is_not_given_again_before_it_has_rested),
		TEST(with_strict_affinity_every_free_address_can_be_lent),
		TEST(the_reserve_is_one_attribute_and_pods_do_not_use_it_up),
		TEST(a_reserve_that_needs_more_than_a_block_claims_more),
		TEST(a_reserve_waits_for_a_write_that_gives_it_back),
		TEST(what_is_lent_while_the_datastore_is_away_is_assigned_when_it_is_back),
		TEST(a_fixed_address_of_the_reserve_is_to_be_had_once),
		TEST(a_write_that_hangs_is_not_waited_for),
		TEST(a_pool_that_no_longer_serves_gives_the_reserve_back),
		TEST(modes_of_default_pools),
		TEST(auto_of_ipv6_follows_the_pool_that_is_there),
		TEST(tunnel_addresses_follow_the_modes_of_pools),
		TEST(a_tunnel_address_is_of_a_pool_of_its_mode),
		TEST(what_a_node_that_has_gone_had_is_given_back),
		TEST(what_others_see_to_is_left_alone),
		TEST(random_load_over_a_hostile_datastore_loses_nothing),
		TEST(random_load_with_a_reserve_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
