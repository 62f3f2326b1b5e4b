/*
 * The Kubernetes API as datastore.
 *
 * Calico's kinds are custom resources in one of two groups; which one is asked once
 * (GET /apis), and again from time to time while there is neither.  Kinds that the
 * server does not have are complete and empty; one that it refuses is incomplete, and named.
 *
 * The server is away as long as some kind's last request had no answer.  The model
 * keeps what it has; the first kind that has an answer again lets the others ask at once.
 */
#include "store/kube_driver.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "model/policy.h"

enum { GROUPS_RETRY_MS = 250, GROUPS_PROBE_MS = 30000, RECALL_MS = 2000, RECALL_TRIES = 2, PROBER_MS = 3000, SAY_MS = 60000, SURE_MAX_MS = 2000 };

static const char calico[] = "projectcalico.org/";

/* --- what is where --- */

static bool is_calico(const struct kind *k)
{
	return strstr(k->api_versions[0], calico);
}

/* "crd.projectcalico.org/v1" is group 0, "projectcalico.org/v3" is 1, wherever the kind has it. */
const char *kube_api_version(const struct kube_store *ks, const struct kind *k)
{
	if (!is_calico(k))
		return k->api_versions[0];
	for (unsigned v = 0; v < ARRAY_SIZE(k->api_versions) && k->api_versions[v]; v++)
		if (ks->group == str_prefix(k->api_versions[v], calico))
			return k->api_versions[v];
	return NULL;
}

bool kube_path(const struct kube_store *ks, const struct object_ref *ref, struct str *out)
{
	const char *version = kube_api_version(ks, ref->kind);

	if (!version)
		return false;
	str_printf(out, "/%s/%s", strchr(version, '/') ? "apis" : "api", version);
	if (ref->kind->namespaced && *ref->namespace)
		str_printf(out, "/namespaces/%s", ref->namespace);
	str_printf(out, "/%s%s%s", ref->kind->plural, *ref->name ? "/" : "", ref->name);
	return true;
}

static int code_of(int status)
{
	switch (status) {
	case 400:
	case 413:
	case 422:
		return EINVAL;
	case 403:
		return EACCES;
	case 404:
		return ENOENT;
	case 409:
		return ESTALE;
	}
	return EAGAIN;
}

int kube_status(const struct kube_store *ks, const struct kube_call *c, const struct str *answer, struct err *e)
{
	struct err ignored = { 0 };
	struct arena mem = { 0 };
	const char *text = NULL;
	struct json j;

	if (json_parse(&j, str_text(answer), answer->len, &ignored) == 0) {
		text = json_string(&j, json_get(&j, 0, "message"), &mem);
		json_free(&j);
	}
	err_set(e, code_of(c->status), "%s: %s (%d)", kube_server(ks->kube), text ? text : "no answer that is of use", c->status);
	arena_free(&mem);
	return -e->code;
}

/* Half of it is chance. */
unsigned kube_backoff(struct kube_store *ks, unsigned first_ms, unsigned tries, unsigned max_ms)
{
	unsigned ms = tries > 16 || first_ms << tries > max_ms ? max_ms : first_ms << tries;

	ks->jitter ^= ks->jitter << 13;
	ks->jitter ^= ks->jitter >> 17;
	ks->jitter ^= ks->jitter << 5;
	return ms - ks->jitter % (ms / 2 + 1);
}

static struct kube_kind *kind_at(struct kube_store *ks, const char *name)
{
	return &ks->kinds[kind_named(name) - kinds];
}

/* Pods of ours are written nowhere, see kube_write.c. */
static bool is_listed(const struct kube_kind *kk)
{
	return strcmp(kk->kind->kind, "WorkloadEndpoint") != 0;
}

bool kube_has(struct kube_store *ks, const char *kind)
{
	return !kind_at(ks, kind)->absent;
}

bool kube_compatible(const struct kube_store *ks)
{
	return table_find(&ks->s->model->cluster_informations, "default");
}

/* --- is it there? --- */

void kube_settle(struct kube_store *ks)
{
	loop_defer(ks->s->loop, &ks->settle);
}

void kube_lost(struct kube_kind *kk, const char *why)
{
	struct kube_store *ks = kk->ks;

	if (!kk->lost) {
		kk->lost = true;
		ks->lost++;
		kube_settle(ks);
	}
	if (ks->said_ms && now_ms() - ks->said_ms < SAY_MS)
		return;
	ks->said_ms = now_ms();
	if (model_problem(ks->s->model, "store", "datastore", "see whether this node reaches it", "API server %s", why)->news)
		log_warn("store", "API server %s: %s", why, ks->s->model->complete ? "going on with what was known" : "trying again");
}

void kube_found(struct kube_kind *kk)
{
	struct kube_store *ks = kk->ks;

	if (!kk->lost)
		return;
	kk->lost = false;
	kube_settle(ks);
	if (--ks->lost)
		for (unsigned i = 0; i < kind_count; i++)
			kube_kind_hurry(&ks->kinds[i]);
}

/* All pods only while some policy may ask for those of other nodes. */
static void pods_scope(struct kube_store *ks)
{
	struct kube_kind *pods = kind_at(ks, "Pod");
	const bool all = policy_count(ks->s->model);

	if (all == ks->all_pods)
		return;
	ks->all_pods = all;
	pods->filter = all ? NULL : ks->own_pods;
	if (all && !ks->s->model->complete)
		pods->listed = false;
	if (pods->phase != KUBE_IDLE)
		kube_kind_start(pods);
}

static void become_complete(struct kube_store *ks)
{
	struct model *m = ks->s->model;
	struct row *row;

	m->complete = true;
	for (unsigned i = 0; i < kind_count; i++)	/* passes that were not to take them have seen them */
		table_each(kind_table(&kinds[i], m), row)
			table_touch(kind_table(&kinds[i], m), row);
	table_each(&m->uplinks, row)
		table_touch(&m->uplinks, row);
}

static void on_settle(struct deferred *d)
{
	struct kube_store *ks = container_of(d, struct kube_store, settle);
	bool listed = true, known = true;

	pods_scope(ks);
	for (unsigned i = 0; i < kind_count; i++) {
		listed &= ks->kinds[i].listed;
		known &= ks->kinds[i].listed || ks->kinds[i].recalled;
	}
	if (known && !ks->s->model->complete && (listed ? kube_pools_known : kube_pools_recalled)(ks))
		become_complete(ks);
	if (listed)
		timer_del(ks->s->loop, &ks->recall);
	if (listed && !ks->lost && ks->s->model->complete && ks->s->state != STORE_SYNCED) {
		if (ks->said_ms)
			log_info("store", "%s answers", kube_server(ks->kube));
		ks->said_ms = 0;
		model_problem_clear(ks->s->model, "store", "datastore");
		ks->s->state = STORE_SYNCED;
		kube_up(ks);
		kube_events(ks);
	} else if (ks->s->model->complete && (ks->lost || !listed)) {
		ks->s->state = STORE_AWAY;
	}
}

/* Of the kinds that are lost one asks often, so that the others need not. */
unsigned kube_patience(const struct kube_kind *kk)
{
	for (unsigned i = 0; i < kind_count; i++)
		if (kk->ks->kinds[i].lost)
			return kk == &kk->ks->kinds[i] ? PROBER_MS : KUBE_RETRY_MAX_MS;
	return KUBE_RETRY_MAX_MS;
}

/* No answer for a while: what was known last will do. */
static void on_recall(struct timer *t)
{
	struct kube_store *ks = container_of(t, struct kube_store, recall);

	unsigned recalled = 0;

	if (!ks->lost && ++ks->recall_tries < RECALL_TRIES) {	/* it answers, and has much to say */
		timer_set(ks->s->loop, t, RECALL_MS);
		return;
	}
	for (unsigned i = 0; i < kind_count; i++)
		if (!ks->kinds[i].listed && !ks->kinds[i].recalled)
			recalled += kube_cache_recall(&ks->kinds[i]);
	if (recalled)
		log_warn("store", "%u kinds of objects as they were last known", recalled);
	kube_settle(ks);
}

/* --- is that all it has? --- */

static void groups_ask(struct kube_store *ks);

/* Refused to us (401, 403), it has to do without. */
static void on_readyz(struct kube_call *c, const struct err *e)
{
	struct kube_store *ks = container_of(c, struct kube_store, readyz);

	ks->asking_sure = false;
	if (e || c->status >= 500 || c->status == 429) {
		timer_set(ks->s->loop, &ks->readyz_again, kube_backoff(ks, GROUPS_RETRY_MS, ks->readyz_tries++, SURE_MAX_MS));
		return;
	}
	ks->sure = true;
	ks->readyz_tries = 0;
	for (unsigned i = 0; i < kind_count; i++)
		if (ks->kinds[i].doubted)
			kube_kind_hurry(&ks->kinds[i]);
	if (ks->doubted)
		groups_ask(ks);
	ks->doubted = false;
}

bool kube_sure(struct kube_store *ks)
{
	if (ks->sure || ks->asking_sure || ks->readyz_again.on)
		return ks->sure;
	ks->asking_sure = true;
	ks->readyz = (struct kube_call){ .method = "GET", .path = "/readyz", .on_end = on_readyz };
	kube_start(ks->kube, &ks->readyz);
	return false;
}

static void on_readyz_again(struct timer *t)
{
	kube_sure(container_of(t, struct kube_store, readyz_again));
}

/* --- groups --- */

static void calico_start(struct kube_store *ks)
{
	for (unsigned i = 0; i < kind_count; i++) {
		struct kube_kind *kk = &ks->kinds[i];

		if (!is_calico(kk->kind) || !is_listed(kk))
			continue;
		if (kube_api_version(ks, kk->kind) && kind_is_used(kk->kind, ks->s->config))
			kube_kind_start(kk);
		else
			kube_kind_absent(kk);
	}
}

/* v3 is storage only where the older group is not there; then it is custom resources too. */
static int group_of(const struct str *answer)
{
	struct err ignored = { 0 };
	bool crd = false, v3 = false;
	struct json j;

	if (json_parse(&j, str_text(answer), answer->len, &ignored) < 0)
		return 0;
	json_each(&j, json_get(&j, 0, "groups"), g) {
		json_value name = json_get(&j, g, "name");

		crd |= json_is(&j, name, "crd.projectcalico.org");
		v3 |= json_is(&j, name, "projectcalico.org");
	}
	json_free(&j);
	return crd ? 0 : v3 ? 1 : -1;
}

static void on_groups(struct kube_call *c, const struct err *e)
{
	struct kube_store *ks = container_of(c, struct kube_store, groups);
	int was = ks->group;
	unsigned ms = GROUPS_RETRY_MS, max = KUBE_RETRY_MAX_MS;

	if (!e && c->status == 200) {
		ks->group = group_of(&ks->answer);
		if (ks->group < 0 && !kube_sure(ks)) {
			ks->doubted = true;
			return;
		}
		if (ks->group != was || !kind_at(ks, "IPAMBlock")->listed)
			calico_start(ks);
		ms = GROUPS_PROBE_MS;
		max = KUBE_PROBE_MAX_MS;
	} else {
		log_debug("store", "groups of the API: %d %s", c->status, e ? e->text : "");
	}
	str_free(&ks->answer);
	if (ks->group < 0)
		timer_set(ks->s->loop, &ks->groups_again, kube_backoff(ks, ms, ks->groups_tries++, max));
}

static void groups_ask(struct kube_store *ks)
{
	ks->groups = (struct kube_call){ .method = "GET", .path = "/apis", .answer = &ks->answer, .on_end = on_groups };
	kube_start(ks->kube, &ks->groups);
}

static void on_groups_again(struct timer *t)
{
	groups_ask(container_of(t, struct kube_store, groups_again));
}

/* --- driver --- */

/* A pod whose object is not known yet has the policies that its labels say, when they are known: until then it is closed. */
static void strangers_put(struct model *m)
{
	struct policy *p = row_new(sizeof *p);

	p->row.key = p->meta.name = POLICY_STRANGERS;
	p->meta.namespace = p->meta.uid = "";
	p->kind = "no Pod object yet";
	p->tier = "default";
	p->order = -INFINITY;
	p->strangers = p->applies[INGRESS] = p->applies[EGRESS] = true;
	p->row.digest = 1;
	table_put(&m->network_policies, &p->row);
}

static void stop(struct store *s)
{
	struct kube_store *ks = s->driver_state;

	if (!ks)
		return;
	kube_write_stop(ks);
	for (unsigned i = 0; i < kind_count; i++)
		kube_kind_stop(&ks->kinds[i]);
	kube_cancel(&ks->groups);
	kube_cancel(&ks->readyz);
	timer_del(s->loop, &ks->readyz_again);
	kube_pools_stop(ks);
	kube_up_stop(ks);
	kube_events_stop(ks);
	kube_controlled_stop(ks);
	timer_del(s->loop, &ks->groups_again);
	timer_del(s->loop, &ks->recall);
	deferred_del(s->loop, &ks->settle);
	kube_cache_close(ks);
	if (ks->kube)
		kube_close(ks->kube);
	str_free(&ks->answer);
	free(ks);
	s->driver_state = NULL;
}

static int start(struct store *s, const char *where, struct err *e)
{
	struct kube_store *ks = xcalloc(1, sizeof *ks);

	(void)where;
	if (kind_count > KUBE_KINDS_MAX)
		log_die("store", "%u kinds", kind_count);
	*ks = (struct kube_store){ .s = s, .group = -1, .jitter = ((uint32_t)wall_ns() ^ (uint32_t)getpid() << 16) | 1,
				   .folder = -1, .settle = { .fn = on_settle }, .groups_again = { .fn = on_groups_again },
				   .recall = { .fn = on_recall }, .readyz_again = { .fn = on_readyz_again } };
	s->driver_state = ks;
	for (unsigned i = 0; i < kind_count; i++)
		kube_kind_init(&ks->kinds[i], ks, &kinds[i]);
	ks->kube = kube_open(s->loop, s->config, e);
	if (!ks->kube) {
		stop(s);
		return -EBADMSG;
	}
	snprintf(ks->own_pods, sizeof ks->own_pods, "spec.nodeName%%3D%s", s->config->node_name);
	kind_at(ks, "Pod")->filter = ks->own_pods;
	for (unsigned i = 0; i < kind_count; i++)
		ks->kinds[i].listed = !is_listed(&ks->kinds[i]);
	strangers_put(s->model);
	kube_cache_open(ks);
	for (unsigned i = 0; i < kind_count; i++)
		if (!is_calico(&kinds[i]))
			kube_kind_start(&ks->kinds[i]);
	groups_ask(ks);
	timer_set(s->loop, &ks->recall, RECALL_MS);
	return 0;
}

const struct store_driver store_kubernetes = { .name = "kubernetes", .start = start, .write = kube_write, .stop = stop,
					       .edit = kube_edit, .texts = kube_texts, .given_nodes = true, .ready = kube_ready,
					       .problems = kube_problems, .controlled = kube_controlled };
