#include "model/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/util.h"

/* A namespace, as the list of its pods. */
struct space {
	struct hash_node node;
	struct subject *subjects;
	unsigned count;
	char name[];
};

/* An attachment: an endpoint of this node, or what another node published. */
struct source {
	struct hash_node node;
	struct source *next;		/* of the subject */
	struct subject *subject;
	struct addr ips[FAMILIES];
	bool local;
	char key[];			/* "e" or "w", and that of the row */
};

/* A pod, under one of its labels. */
struct filing { struct hash_node node; struct subject *subject; };

static uint32_t text_hash(const char *text)
{
	return fnv32a(text, strlen(text));
}

/* ---- filing ---- */

/* Labels that the object itself has; others, which Calico adds, are no help. */
static bool is_plain(const char *key)
{
	return strncmp(key, "projectcalico.org/", 18) != 0 && strncmp(key, "pcns.", 5) != 0 && strncmp(key, "pcsa.", 5) != 0;
}

static uint32_t file_number(const char *namespace, const char *key, const char *value)
{
	uint32_t parts[3] = { namespace ? text_hash(namespace) : 1, key ? text_hash(key) : 2, value ? text_hash(value) : 3 };

	return fnv32a(parts, sizeof parts);
}

uint32_t index_file(const char *namespace, const struct selector *s)
{
	const char *key, *value;

	if (s && selector_needs(s, &key, &value) && is_plain(key))
		return file_number(namespace, key, value);
	return file_number(namespace, NULL, NULL);
}

void index_files(const struct party *p, void (*each)(void *ctx, uint32_t file), void *ctx)
{
	const char *const spaces[] = { p->namespace, NULL };

	for (size_t s = 0; s < ARRAY_SIZE(spaces); s++) {
		each(ctx, file_number(spaces[s], NULL, NULL));
		for (unsigned i = 0; p->pod && i < p->pod->meta.label_count; i++) {
			const struct label *l = &p->pod->meta.labels[i];

			each(ctx, file_number(spaces[s], l->key, l->value));
			each(ctx, file_number(spaces[s], l->key, NULL));
		}
	}
}

/* ---- subjects ---- */

static struct space *space_find(const struct index *ix, const char *name)
{
	for (struct hash_node *n = hash_find(&ix->spaces, text_hash(name)); n; n = hash_more(n)) {
		struct space *s = container_of(n, struct space, node);

		if (strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

static struct space *space_get(struct index *ix, const char *name)
{
	struct space *s = space_find(ix, name);
	size_t len = strlen(name);

	if (s)
		return s;
	s = xcalloc(1, sizeof *s + len + 1);
	memcpy(s->name, name, len + 1);
	hash_insert(&ix->spaces, &s->node, text_hash(name));
	return s;
}

static void space_release(struct index *ix, struct space *s)
{
	if (s->count)
		return;
	hash_remove(&ix->spaces, &s->node);
	free(s);
}

struct subject *subject_find(const struct index *ix, const char *key)
{
	for (struct hash_node *n = hash_find(&ix->subjects, text_hash(key)); n; n = hash_more(n)) {
		struct subject *s = container_of(n, struct subject, node);

		if (strcmp(s->key, key) == 0)
			return s;
	}
	return NULL;
}

static struct subject *subject_get(struct index *ix, const char *namespace, const char *name)
{
	char key[POLICY_KEY_MAX];
	struct subject *s;
	size_t len;

	pod_key(key, namespace, name);
	s = subject_find(ix, key);
	if (s)
		return s;
	len = strlen(key);
	s = xcalloc(1, sizeof *s + len + 1);
	memcpy(s->key, key, len + 1);
	s->name = strchr(s->key, '/') + 1;
	hash_insert(&ix->subjects, &s->node, text_hash(key));
	s->space = space_get(ix, namespace);
	s->space->count++;
	s->space_next = s->space->subjects;
	s->space_at = &s->space->subjects;
	if (s->space_next)
		s->space_next->space_at = &s->space_next;
	s->space->subjects = s;
	return s;
}

static void labels_unfile(struct index *ix, struct subject *s)
{
	for (unsigned i = 0; i < s->filing_count; i++)
		hash_remove(&ix->labels, &s->filings[i].node);
	s->filing_count = 0;
}

static void labels_file(struct index *ix, struct subject *s, const struct party *who)
{
	unsigned count = who->pod ? who->pod->meta.label_count : 0;

	s->filings = arena_alloc(&s->mem, (count + 1) * sizeof *s->filings);
	for (unsigned i = 0; i < count; i++) {
		const struct label *l = &who->pod->meta.labels[i];
		struct filing *f = &s->filings[s->filing_count++];

		f->subject = s;
		hash_insert(&ix->labels, &f->node, file_number(NULL, l->key, l->value));
	}
}

static void local_set(struct index *ix, struct subject *s, bool local)
{
	s->local = local;
	if (local == (s->local_at != NULL))
		return;
	if (!local) {
		*s->local_at = s->local_next;
		if (s->local_next)
			s->local_next->local_at = s->local_at;
		s->local_at = NULL;
		return;
	}
	s->local_next = ix->locals;
	s->local_at = &ix->locals;
	if (s->local_next)
		s->local_next->local_at = &s->local_next;
	ix->locals = s;
}

static void subject_free(struct index *ix, struct subject *s)
{
	labels_unfile(ix, s);
	local_set(ix, s, false);
	hash_remove(&ix->subjects, &s->node);
	*s->space_at = s->space_next;
	if (s->space_next)
		s->space_next->space_at = s->space_at;
	s->space->count--;
	space_release(ix, s->space);
	arena_free(&s->mem);
	free(s);
}

void index_touch(struct index *ix, struct subject *s)
{
	if (s->touched)
		return;
	s->touched = true;
	s->touched_next = ix->touched;
	ix->touched = s;
}

void subject_party(const struct index *ix, const struct subject *s, struct party *out)
{
	party_set(ix->model, s->space->name, s->name, out);
	out->local = s->local;
}

const char *subject_attachment(const struct subject *s, const char *after)
{
	const struct source *at = after ? container_of(after - 1, struct source, key)->next : s->sources;

	while (at && !at->local)
		at = at->next;
	return at ? at->key + 1 : NULL;
}

/* ---- attachments ---- */

static struct source *source_find(const struct index *ix, char kind, const char *key)
{
	for (struct hash_node *n = hash_find(&ix->sources, text_hash(key) ^ (uint32_t)kind); n; n = hash_more(n)) {
		struct source *s = container_of(n, struct source, node);

		if (s->key[0] == kind && strcmp(s->key + 1, key) == 0)
			return s;
	}
	return NULL;
}

static void source_drop(struct index *ix, struct source *s)
{
	struct source **at = &s->subject->sources;

	index_touch(ix, s->subject);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	hash_remove(&ix->sources, &s->node);
	free(s);
}

static void source_put(struct index *ix, char kind, const char *key, struct subject *subject, const struct addr *ips)
{
	size_t len = strlen(key);
	struct source *s = xcalloc(1, sizeof *s + len + 2);

	s->key[0] = kind;
	memcpy(s->key + 1, key, len + 1);
	s->local = kind == 'e';
	memcpy(s->ips, ips, sizeof s->ips);
	s->subject = subject;
	s->next = subject->sources;
	subject->sources = s;
	hash_insert(&ix->sources, &s->node, text_hash(key) ^ (uint32_t)kind);
	index_touch(ix, subject);
}

static void source_update(struct index *ix, char kind, const struct row *row, const char *namespace, const char *pod,
			  const struct addr *ips)
{
	struct source *old = source_find(ix, kind, row->key);
	bool there = !row->gone && *pod && *namespace;

	if (there)			/* before the old one goes, which may be the subject's last */
		source_put(ix, kind, row->key, subject_get(ix, namespace, pod), ips);
	if (old)
		source_drop(ix, old);
}

/* ---- groups: who is in them ---- */

static uint32_t matching_addresses(const struct index *ix, const struct group *g, const struct subject *s)
{
	struct party who;
	uint32_t bits = 0;

	subject_party(ix, s, &who);
	if (who.ended || !peer_matches_pod(&g->peer, &who))
		return 0;
	for (unsigned i = 0; i < s->address_count; i++) {
		int f = family_index(s->addresses[i].family);

		who.ips[f] = s->addresses[i];
		if (peer_matches(&g->peer, &who, f))
			bits |= 1u << i;
	}
	return bits;
}

static void join(struct index *ix, struct group *g, struct subject *s)
{
	uint32_t bits = matching_addresses(ix, g, s);
	struct membership *m;

	if (!bits)
		return;
	m = xcalloc(1, sizeof *m);
	m->group = g;
	m->subject = s;
	m->addresses = bits;
	m->next_of_subject = s->memberships;
	s->memberships = m;
	m->next_of_group = g->members;
	m->at = &g->members;
	if (g->members)
		g->members->at = &m->next_of_group;
	g->members = m;
	ix->moved(ix->ctx, m, true);
}

static void leave(struct index *ix, struct membership *m)
{
	ix->moved(ix->ctx, m, false);
	*m->at = m->next_of_group;
	if (m->next_of_group)
		m->next_of_group->at = m->at;
	free(m);
}

static void leave_all(struct index *ix, struct subject *s)
{
	while (s->memberships) {
		struct membership *m = s->memberships;

		s->memberships = m->next_of_subject;
		leave(ix, m);
	}
}

struct joining { struct index *ix; struct subject *subject; };

static bool is_member(const struct group *g, const struct subject *s)
{
	for (const struct membership *m = s->memberships; m; m = m->next_of_subject)
		if (m->group == g)
			return true;
	return false;
}

static void join_filed(void *ctx, uint32_t file)
{
	struct joining *j = ctx;

	for (struct hash_node *n = hash_find(&j->ix->files, file); n; n = hash_more(n)) {
		struct group *g = container_of(n, struct group, filed);

		if (!is_member(g, j->subject))
			join(j->ix, g, j->subject);
	}
}

static void join_all(struct index *ix, struct subject *s)
{
	struct joining j = { ix, s };
	struct party who;

	subject_party(ix, s, &who);
	if (who.is_pod)
		index_files(&who, join_filed, &j);
}

/* ---- groups ---- */

static void peer_copy(struct arena *mem, struct peer *to, const struct peer *from)
{
	struct prefix *except = arena_alloc(mem, (from->except_count + 1) * sizeof *except);

	*to = *from;
	if (from->except_count)
		memcpy(except, from->except, from->except_count * sizeof *except);
	to->except = except;
	to->pods = from->pods ? selector_copy(mem, from->pods) : NULL;
	to->namespaces = from->namespaces ? selector_copy(mem, from->namespaces) : NULL;
	to->namespace = from->namespace ? arena_str(mem, from->namespace) : NULL;
}

static bool space_fits(const struct index *ix, const struct peer *p, const struct space *s)
{
	struct party who;

	if (!p->namespaces)
		return true;
	party_set(ix->model, s->name, "-", &who);
	return selector_match(p->namespaces, &who.namespace_labels);
}

static void each_of_space(const struct space *space, void (*each)(void *ctx, struct subject *s), void *ctx)
{
	for (struct subject *s = space->subjects; s; s = s->space_next)
		each(ctx, s);
}

static void each_of_label(struct index *ix, uint32_t file, void (*each)(void *ctx, struct subject *s), void *ctx)
{
	for (struct hash_node *n = hash_find(&ix->labels, file); n; n = hash_more(n))
		each(ctx, container_of(n, struct filing, node)->subject);
}

void index_candidates(struct index *ix, const struct peer *p, void (*each)(void *ctx, struct subject *s), void *ctx)
{
	const struct space *only = p->namespace ? space_find(ix, p->namespace) : NULL;
	const char *key, *value;

	if (p->pods && selector_needs(p->pods, &key, &value) && value && is_plain(key)) {
		each_of_label(ix, file_number(NULL, key, value), each, ctx);
	} else if (only) {
		each_of_space(only, each, ctx);
	} else if (!p->namespace) {
		hash_each(&ix->spaces, n)
			if (space_fits(ix, p, container_of(n, struct space, node)))
				each_of_space(container_of(n, struct space, node), each, ctx);
	}
}

struct populating { struct index *ix; struct group *group; };

static void populate_one(void *ctx, struct subject *s)
{
	const struct populating *p = ctx;

	if (!is_member(p->group, s))
		join(p->ix, p->group, s);
}

struct group *group_get(struct index *ix, const struct peer *p)
{
	uint64_t digest = peer_digest(p);
	struct group *g;

	for (struct hash_node *n = hash_find(&ix->groups, (uint32_t)digest); n; n = hash_more(n)) {
		g = container_of(n, struct group, node);
		if (peer_digest(&g->peer) == digest) {
			g->uses++;
			return g;
		}
	}
	g = xcalloc(1, sizeof *g);
	peer_copy(&g->mem, &g->peer, p);
	g->uses = 1;
	hash_insert(&ix->groups, &g->node, (uint32_t)digest);
	hash_insert(&ix->files, &g->filed, index_file(p->namespace, p->pods));
	index_candidates(ix, &g->peer, populate_one, &(struct populating){ ix, g });
	return g;
}

static void forget_membership(struct membership *m)
{
	struct membership **at = &m->subject->memberships;

	while (*at != m)
		at = &(*at)->next_of_subject;
	*at = m->next_of_subject;
}

void group_put(struct index *ix, struct group *g)
{
	if (--g->uses)
		return;
	while (g->members) {
		struct membership *m = g->members;

		forget_membership(m);
		leave(ix, m);
	}
	hash_remove(&ix->groups, &g->node);
	hash_remove(&ix->files, &g->filed);
	arena_free(&g->mem);
	free(g);
}

/* ---- taking in rows ---- */

static unsigned add_addresses(struct addr *list, unsigned count, const struct addr ips[FAMILIES])
{
	for (int f = 0; f < FAMILIES; f++)
		if (ips[f].family && count < SUBJECT_ADDRESSES)
			list[count++] = ips[f];
	return count;
}

/* What it has here counts; else what its node published; else what its object says. */
static unsigned addresses_of(struct index *ix, struct subject *s, const struct party *who, struct addr *list)
{
	struct party remote = *who;
	unsigned count = 0;

	local_set(ix, s, subject_attachment(s, NULL));
	for (const struct source *at = s->sources; at; at = at->next)
		if (at->local == s->local)
			count = add_addresses(list, count, at->ips);
	if (s->sources)
		return count;
	party_addresses(ix->model, &remote, NULL, NULL);
	return add_addresses(list, count, remote.ips);
}

static void snapshot(struct index *ix, struct subject *s)
{
	struct addr list[SUBJECT_ADDRESSES], *addresses;
	struct pod_port *ports;
	struct party who;

	subject_party(ix, s, &who);
	labels_unfile(ix, s);
	arena_reset(&s->mem);
	labels_file(ix, s, &who);
	s->address_count = addresses_of(ix, s, &who, list);
	addresses = arena_alloc(&s->mem, (s->address_count + 1) * sizeof *addresses);
	memcpy(addresses, list, s->address_count * sizeof *addresses);
	s->addresses = addresses;
	s->port_count = who.pod ? who.pod->port_count : 0;
	ports = arena_alloc(&s->mem, (s->port_count + 1) * sizeof *ports);
	for (unsigned i = 0; i < s->port_count; i++) {
		ports[i] = who.pod->ports[i];
		ports[i].name = arena_str(&s->mem, ports[i].name);
	}
	s->ports = ports;
}

static void touch_pod(struct index *ix, const struct pod *p)
{
	index_touch(ix, subject_get(ix, p->meta.namespace, p->meta.name));
}

static void touch_space(struct index *ix, const struct namespace *ns)
{
	const struct space *space = space_find(ix, ns->row.key);

	for (struct subject *s = space ? space->subjects : NULL; s; s = s->space_next)
		index_touch(ix, s);
}

static void take_endpoint(struct index *ix, const struct endpoint *e)
{
	source_update(ix, 'e', &e->row, e->namespace, e->pod, e->ips);
}

/* Of this node the endpoints count, not what was made of them. */
static void take_workload(struct index *ix, const struct workload *w)
{
	bool own = model_is_self(ix->model, w->node);

	source_update(ix, 'w', &w->row, w->meta.namespace, own ? "" : w->pod, w->ips);
}

#define take_rows(ix, table, var, all, take) do { \
	if (all) \
		table_each(table, var) \
			take(ix, var); \
	table_each_dirty(table, var) \
		if (!(all) || (var)->row.gone) \
			take(ix, var); \
} while (0)

void index_update(struct index *ix, bool all)
{
	const struct model *m = ix->model;
	const struct pod *p;
	const struct namespace *ns;
	const struct endpoint *e;
	const struct workload *w;

	take_rows(ix, &m->pods, p, all, touch_pod);
	take_rows(ix, &m->endpoints, e, all, take_endpoint);
	take_rows(ix, &m->workloads, w, all, take_workload);
	take_rows(ix, &m->namespaces, ns, all, touch_space);
	for (struct subject *s = ix->touched; s; s = s->touched_next) {
		leave_all(ix, s);
		snapshot(ix, s);
		join_all(ix, s);
	}
}

void index_settle(struct index *ix)
{
	struct subject *s = ix->touched, *next;

	ix->touched = NULL;
	for (; s; s = next) {
		next = s->touched_next;
		s->touched = false;
		if (!s->sources && !table_find(&ix->model->pods, s->key)) {
			leave_all(ix, s);
			subject_free(ix, s);
		}
	}
}

void index_init(struct index *ix, const struct model *m)
{
	*ix = (struct index){ .model = m };
}

/* Groups were given back by then. */
void index_fini(struct index *ix)
{
	hash_each(&ix->sources, n)
		free(container_of(n, struct source, node));
	hash_each(&ix->subjects, n)
		subject_free(ix, container_of(n, struct subject, node));
	hash_clear(&ix->sources);
	hash_clear(&ix->subjects);
	hash_clear(&ix->spaces);
	hash_clear(&ix->labels);
	hash_clear(&ix->groups);
	hash_clear(&ix->files);
}
