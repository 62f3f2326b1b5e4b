/*
 * A node that leaves: its blocks go, with whatever they give to its own pods and
 * tunnels, then the affinities of blocks that are gone and the handles of addresses
 * that were given back.  A block that other nodes have addresses of stays.
 */
#include <errno.h>
#include <string.h>

#include "ipam/ipam_int.h"

static void on_deleted(void *ctx, int rc)
{
	struct ipam_leave *l = ctx;

	l->pending--;
	if (rc == -ESTALE)
		l->again = true;	/* the model has the newer one */
	else if (rc < 0)
		l->rc = rc;
}

static void del(struct ipam_leave *l, const char *kind, const char *key, uint64_t version)
{
	l->pending++;
	store_del(l->ipam->store, kind_named(kind), key, version, on_deleted, l);
}

static bool is_leaving(const struct ipam_leave *l, const char *node)
{
	return node && strcmp(node, l->node) == 0;
}

static bool others_have_any(const struct ipam_leave *l, const struct block *b)
{
	for (unsigned i = 0; i < b->size; i++) {
		const struct block_attribute *a = block_attribute(b, i);

		if (a && !is_leaving(l, a->node))
			return true;
	}
	return false;
}

static bool is_noted(const struct ipam_leave *l, const char *handle)
{
	for (size_t at = 0; at < l->handles.len; at += strlen(l->handles.s + at) + 1)
		if (strcmp(l->handles.s + at, handle) == 0)
			return true;
	return false;
}

static void block_leave(struct ipam_leave *l, const struct block *b)
{
	bool goes = is_leaving(l, b->node) && !others_have_any(l, b);

	for (unsigned i = 0; i < b->size; i++) {
		const struct block_attribute *a = block_attribute(b, i);
		const struct addr ip = block_address(b, i);

		if (!a || !a->handle || !is_leaving(l, a->node))
			continue;
		if (!is_noted(l, a->handle))
			str_add(&l->handles, a->handle, strlen(a->handle) + 1);
		if (!goes)
			ipam_release_one(l->ipam, a->handle, &ip, NULL, NULL);
	}
	if (goes)
		del(l, "IPAMBlock", b->row.key, b->meta.version);
}

static void blocks_leave(struct ipam_leave *l)
{
	const struct block *b;

	table_each(&l->ipam->model->blocks, b)
		if (!b->deleted)
			block_leave(l, b);
}

static void rest_leaves(struct ipam_leave *l)
{
	const struct model *m = l->ipam->model;
	const struct affinity *a;

	table_each(&m->affinities, a)
		if (is_leaving(l, a->node) && !table_find(&m->blocks, prefix_text(&a->cidr).s))
			del(l, "BlockAffinity", a->row.key, a->meta.version);
	for (size_t at = 0; at < l->handles.len; at += strlen(l->handles.s + at) + 1)
		handle_sync(l->ipam, l->handles.s + at);
}

void ipam_leave_begin(struct ipam_leave *l, struct ipam *ipam, const char *node)
{
	*l = (struct ipam_leave){ .ipam = ipam, .node = node };
	if (!podcidr_is_on(ipam))
		blocks_leave(l);
}

bool ipam_leave_done(struct ipam_leave *l)
{
	if (l->pending || !ipam_idle(l->ipam))
		return false;
	if (!l->again && l->second) {
		str_free(&l->handles);
		return true;
	}
	l->second |= !l->again;
	l->again = false;
	if (podcidr_is_on(l->ipam))
		return false;
	if (l->second)
		rest_leaves(l);
	else
		blocks_leave(l);
	return false;
}
