/*
 * Rows in as little memory as they take: of what runs elsewhere, most is asked for by nobody
 * here, and the pods of one Deployment differ in name and address.
 */
#include "store/kind_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/util.h"

/* What pods have in common. */
struct profile {
	struct arena_share shared;
	struct hash_node node;
	struct arena mem;
	const char *namespace, *service_account;
	const struct label *labels;
	struct pod_port *ports;
	unsigned label_count, port_count;
};

static struct hash profiles;

static void profile_free(struct arena_share *s)
{
	struct profile *f = container_of(s, struct profile, shared);

	hash_remove(&profiles, &f->node);
	arena_free(&f->mem);
	free(f);
	if (!profiles.count)
		hash_clear(&profiles);
}

static bool profile_fits(const struct profile *f, const struct pod *p)
{
	bool same = strcmp(f->namespace, p->meta.namespace) == 0 && strcmp(f->service_account, p->service_account) == 0 &&
		f->label_count == p->meta.label_count && f->port_count == p->port_count;

	for (unsigned i = 0; same && i < f->label_count; i++)
		same = strcmp(f->labels[i].key, p->meta.labels[i].key) == 0 && strcmp(f->labels[i].value, p->meta.labels[i].value) == 0;
	for (unsigned i = 0; same && i < f->port_count; i++)
		same = f->ports[i].number == p->ports[i].number && f->ports[i].protocol == p->ports[i].protocol &&
			strcmp(f->ports[i].name, p->ports[i].name) == 0;
	return same;
}

static struct profile *profile_new(const struct pod *p)
{
	struct profile *f = xcalloc(1, sizeof *f);

	*f = (struct profile){ .shared.free = profile_free, .label_count = p->meta.label_count, .port_count = p->port_count };
	f->namespace = arena_str(&f->mem, p->meta.namespace);
	f->service_account = arena_str(&f->mem, p->service_account);
	f->labels = labels_copy(&f->mem, p->meta.labels, f->label_count);
	f->ports = arena_alloc(&f->mem, f->port_count * sizeof *f->ports);
	for (unsigned i = 0; i < f->port_count; i++) {
		f->ports[i] = p->ports[i];
		f->ports[i].name = arena_str(&f->mem, p->ports[i].name);
	}
	return f;
}

static struct profile *profile_get(const struct pod *p)
{
	uint32_t hash = (uint32_t)digest_labels(digest_text(0, p->meta.namespace), p->meta.labels, p->meta.label_count);
	struct profile *f;

	for (struct hash_node *n = hash_find(&profiles, hash); n; n = hash_more(n)) {
		f = container_of(n, struct profile, node);
		if (profile_fits(f, p))
			return f;
	}
	f = profile_new(p);
	hash_insert(&profiles, &f->node, hash);
	return f;
}

/* A copy of old, with its key, and with room for more bytes. */
static void *copy(const struct kind *k, const struct row *old, size_t more)
{
	size_t len = strlen(old->key) + 1, name = strlen(kind_meta(k, (struct row *)old)->name);
	struct arena mem = { 0 };
	struct row *row;

	arena_reserve(&mem, k->row_size + len + more);
	row = arena_alloc(&mem, k->row_size);
	memcpy(row, old, k->row_size);
	row->key = arena_strn(&mem, old->key, len - 1);
	row->mem = mem;
	kind_meta(k, row)->name = row->key + len - 1 - name;
	kind_meta(k, row)->uid = "";
	kind_meta(k, row)->annotations = NULL;
	kind_meta(k, row)->annotation_count = 0;
	return row;
}

struct row *pod_pack(const struct kind *k, struct row *row)
{
	const char *node = container_of(row, struct pod, row)->node;
	struct profile *f = profile_get(container_of(row, struct pod, row));
	struct pod *p = container_of((struct row *)copy(k, row, strlen(node) + 1), struct pod, row);

	p->row.mem.shared = &f->shared;
	f->shared.users++;
	p->node = arena_str(&p->row.mem, node);
	p->meta.namespace = f->namespace;
	p->meta.labels = f->labels;
	p->service_account = f->service_account;
	p->ports = f->ports;
	row_free(row);
	return &p->row;
}

struct row *node_pack(const struct kind *k, struct row *row)
{
	const struct meta *m = kind_meta(k, row);
	size_t more = m->label_count * sizeof *m->labels + _Alignof(max_align_t);
	struct node *n;

	for (unsigned i = 0; i < m->label_count; i++)
		more += strlen(m->labels[i].key) + strlen(m->labels[i].value) + 2;
	n = container_of((struct row *)copy(k, row, more), struct node, row);
	n->meta.namespace = "";
	n->meta.labels = labels_copy(&n->row.mem, m->labels, m->label_count);
	row_free(row);
	return &n->row;
}
