/*
 * Rows become elements: which pods of this node a policy is for, and what that
 * asks for.  A pod that changed is held against the policies filed under its labels; a policy that
 * changed against the pods of its namespace.
 */
#include "nft/policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/str.h"
#include "base/util.h"

/* What hangs on a subject of this node. */
struct aim {
	struct policy_ref **refs;
	unsigned count, cap;
	struct profile *profile;	/* NULL: no policy */
};

void port_key(uint8_t key[KEY_MAX], const struct addr *a, uint8_t protocol, uint16_t port)
{
	unsigned len = addr_bytes(a);

	memcpy(key, a->b, len);
	key[len] = protocol;
	key[len + 4] = (uint8_t)(port >> 8);
	key[len + 5] = (uint8_t)port;
}

const struct policy *ref_policy(const struct policy_ref *r)
{
	return table_find(r->table, r->key);
}

/* ---- references ---- */

static struct policy_ref *ref_find(const struct nft *n, const char *key)
{
	for (struct hash_node *at = hash_find(&n->refs, fnv32a(key, strlen(key))); at; at = hash_more(at)) {
		struct policy_ref *r = container_of(at, struct policy_ref, node);

		if (strcmp(r->key, key) == 0)
			return r;
	}
	return NULL;
}

static struct policy_ref *ref_new(struct nft *n, const struct policy *p)
{
	size_t len = strlen(p->row.key);
	struct policy_ref *r = xcalloc(1, sizeof *r + len + 1);

	memcpy(r->key, p->row.key, len + 1);
	r->table = p->row.table;
	hash_insert(&n->refs, &r->node, fnv32a(r->key, len));
	return r;
}

static void ref_free(struct nft *n, struct policy_ref *r)
{
	ref_accept(n, r);
	if (r->told)
		model_problem_clear(n->model, "policy", r->key);
	hash_remove(&n->refs, &r->node);
	free(r);
}

static bool names_ports(const struct policy *p)
{
	for (unsigned i = 0; i < p->rule_count[INGRESS]; i++)
		for (unsigned k = 0; k < p->rules[INGRESS][i].port_count; k++)
			if (p->rules[INGRESS][i].ports[k].name)
				return true;
	return false;
}

/* ---- which policies a pod has ---- */

struct aiming { struct nft *n; struct aim *aim; const struct party *who; };

static void aim_add(struct aim *a, struct policy_ref *r)
{
	if (a->count == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 4;
		a->refs = xrealloc(a->refs, a->cap * sizeof *a->refs);
	}
	a->refs[a->count++] = r;
}

static void aim_filed(void *ctx, uint32_t file)
{
	struct aiming *a = ctx;

	for (struct hash_node *at = hash_find(&a->n->filed, file); at; at = hash_more(at)) {
		struct policy_ref *r = container_of(at, struct policy_ref, filed);
		const struct policy *p = r->aimed == a->n->aims ? NULL : ref_policy(r);

		if (!p || !policy_selects(p, a->who))
			continue;
		r->aimed = a->n->aims;
		aim_add(a->aim, r);
	}
}

static int by_key(const void *a, const void *b)
{
	return strcmp((*(struct policy_ref *const *)a)->key, (*(struct policy_ref *const *)b)->key);
}

static struct profile *profile_for(struct nft *n, struct subject *s, struct aim *aim)
{
	struct aiming a = { n, aim, NULL };
	struct party who;

	aim->count = 0;
	n->aims++;
	if (!s->local)
		return NULL;
	subject_party(&n->index, s, &who);
	a.who = &who;
	index_files(&who, aim_filed, &a);
	if (!aim->count)
		return NULL;
	qsort(aim->refs, aim->count, sizeof *aim->refs, by_key);
	return profile_get(n, s, aim->refs, aim->count);
}

static void retarget(struct nft *n, struct subject *s)
{
	if (!s->local && !s->owner)
		return;

	struct aim *aim = s->owner ? s->owner : xcalloc(1, sizeof *aim);
	struct profile *old = aim->profile;

	aim->profile = profile_for(n, s, aim);
	s->owner = aim;
	for (const char *key = subject_attachment(s, NULL); key; key = subject_attachment(s, key)) {
		const struct endpoint *e = table_find(&n->model->endpoints, key);

		if (e)
			want_endpoint(n, e);
	}
	if (old)
		profile_put(n, old);
	if (aim->profile)
		return;
	s->owner = NULL;
	free(aim->refs);
	free(aim);
}

/* ---- what it asks for ---- */

static void ask(struct nft *n, enum fixed_set set, const uint8_t *key, const struct target *t)
{
	uint8_t entry[KEY_MAX] = { 0 };
	struct set *s = n->set[set];

	memcpy(entry, key, s->key_len);
	memcpy(entry + s->key_len, t, sizeof *t);
	asker_ask(n, s, entry);
}

static void ask_direction(struct nft *n, const struct verdicts *v, const struct addr *a, enum fixed_set ports,
			  enum fixed_set pods)
{
	uint8_t key[KEY_MAX] = { 0 };
	int f = family_index(a->family);

	if (!v->isolated)
		return;
	for (unsigned i = 0; i < v->port_count; i++) {
		port_key(key, a, v->ports[i].protocol, v->ports[i].port);
		ask(n, ports + f, key, &v->ports[i].target);
	}
	ask(n, pods + f, a->b, &v->otherwise);
	memcpy(key, a->b, addr_bytes(a));
	memcpy(key + addr_bytes(a), a->b, addr_bytes(a));
	asker_ask(n, n->set[SET_HAIRPIN + f], key);
}

void policies_ask(struct nft *n, const struct endpoint *e)
{
	char key[POLICY_KEY_MAX];
	const struct subject *s;
	const struct aim *aim;

	if (!*e->pod)
		return;
	pod_key(key, e->namespace, e->pod);
	s = subject_find(&n->index, key);
	aim = s ? s->owner : NULL;
	if (!aim || !aim->profile)
		return;
	for (int f = 0; f < FAMILIES; f++) {
		if (!e->ips[f].family)
			continue;
		ask_direction(n, &aim->profile->verdicts[INGRESS], &e->ips[f], SET_IN_PORTS, SET_IN);
		ask_direction(n, &aim->profile->verdicts[EGRESS], &e->ips[f], SET_OUT_PORTS, SET_OUT);
	}
}

/* ---- policies that change ---- */

static bool has_ref(const struct subject *s, const struct policy_ref *r)
{
	const struct aim *aim = s->owner;

	for (unsigned i = 0; aim && i < aim->count; i++)
		if (aim->refs[i] == r)
			return true;
	return false;
}

struct touching { struct nft *n; const struct policy *policy; };

static void touch_selected(void *ctx, struct subject *s)
{
	const struct touching *t = ctx;
	struct party who;

	if (!s->local || s->touched)
		return;
	subject_party(&t->n->index, s, &who);
	if (policy_selects(t->policy, &who))
		index_touch(&t->n->index, s);
}

/* The pods that have it, and those that p, if it is there, now means. */
static void touch_targets(struct nft *n, const struct policy_ref *r, const struct policy *p)
{
	struct touching t = { n, p };

	for (struct subject *s = n->index.locals; s; s = s->local_next)
		if (has_ref(s, r))
			index_touch(&n->index, s);
	if (p)
		index_candidates(&n->index, &p->target, touch_selected, &t);
}

static void policy_take(struct nft *n, const struct policy *p)
{
	struct policy_ref *r = ref_find(n, p->row.key);
	const struct policy *now = p->row.gone ? NULL : p;

	if (r)
		hash_remove(&n->filed, &r->filed);
	else if (!now)
		return;
	else
		r = ref_new(n, p);
	ref_accept(n, r);		/* another one, which the kernel has not seen */
	if (now && now->bad) {
		model_problem(n->model, "policy", r->key, "correct it", "%s %s is refused, its pods are closed: %s", now->kind,
			      r->key, now->bad);
		r->told = true;
	} else if (r->told) {
		model_problem_clear(n->model, "policy", r->key);
		r->told = false;
	}
	r->names_ports = now && names_ports(now);
	if (now)
		hash_insert(&n->filed, &r->filed, index_file(p->target.namespace, p->target.pods));
	touch_targets(n, r, now);
}

static void retarget_touched(struct nft *n)
{
	for (struct subject *s = n->index.touched; s; s = s->touched_next)
		retarget(n, s);
}

void ref_retarget(struct nft *n, struct policy_ref *r)
{
	touch_targets(n, r, NULL);
	retarget_touched(n);
	index_settle(&n->index);
}

/* Nobody has it any more. */
static void policy_forget(struct nft *n, const struct policy *p)
{
	struct policy_ref *r = p->row.gone ? ref_find(n, p->row.key) : NULL;

	if (r)
		ref_free(n, r);
}

static void families_of(const struct endpoint *e, bool families[FAMILIES])
{
	for (int f = 0; f < FAMILIES; f++)
		families[f] |= e->ips[f].family != 0;
}

/* The families of pools and pods; one that is not used any more stays. */
static bool families_update(struct nft *n)
{
	bool now[FAMILIES];
	const struct endpoint *e;
	const struct pool *p;

	memcpy(now, n->families, sizeof now);
	table_each(&n->model->pools, p)
		now[family_index(p->cidr.addr.family)] = true;
	if (!n->started)
		table_each(&n->model->endpoints, e)
			families_of(e, now);
	else
		table_each_dirty(&n->model->endpoints, e)
			families_of(e, now);
	if (memcmp(now, n->families, sizeof now) == 0)
		return false;
	memcpy(n->families, now, sizeof now);
	return true;
}

static void touch_all(struct nft *n)
{
	for (struct subject *s = n->index.locals; s; s = s->local_next)
		index_touch(&n->index, s);
}

bool policies_dirty(const struct nft *n)
{
	const struct model *m = n->model;

	return m->network_policies.dirty || m->pods.dirty || m->namespaces.dirty || m->workloads.dirty ||
	       m->endpoints.dirty || m->pools.dirty;
}

void policies_want(struct nft *n)
{
	const struct model *m = n->model;
	const struct policy *p;

	index_update(&n->index, !n->started);
	if (families_update(n))
		touch_all(n);
	if (!n->started)
		table_each(&m->network_policies, p)
			policy_take(n, p);
	else
		table_each_dirty(&m->network_policies, p)
			policy_take(n, p);
	retarget_touched(n);
	table_each_dirty(&m->network_policies, p)
		policy_forget(n, p);
	index_settle(&n->index);
}

void policies_open(struct nft *n)
{
	index_init(&n->index, n->model);
	n->index.moved = peers_moved;
	n->index.ctx = n;
}

void policies_close(struct nft *n)
{
	hash_each(&n->index.subjects, at) {
		struct subject *s = container_of(at, struct subject, node);
		struct aim *aim = s->owner;

		if (!aim)
			continue;
		profile_put(n, aim->profile);
		free(aim->refs);
		free(aim);
	}
	hash_each(&n->refs, at) {
		struct policy_ref *r = container_of(at, struct policy_ref, node);

		free(r->refused);
		free(r);
	}
	hash_clear(&n->refs);
	hash_clear(&n->filed);
	hash_clear(&n->peer_sets);
	hash_clear(&n->range_sets);
	hash_clear(&n->decisions);
	hash_clear(&n->profiles);
	index_fini(&n->index);
}
