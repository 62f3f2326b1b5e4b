/*
 * IPAMHandles: an index from handle to blocks that others (calicoctl, Calico's
 * own nodes) go by.  Blocks are the truth: a handle is counted out of them after
 * each change and written when it differs, so a crash in between heals with the
 * next change or check.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "ipam/ipam_int.h"

static void sync_go(struct handle_sync *s);

static void sync_free(struct handle_sync *s)
{
	for (struct handle_sync **at = &s->ipam->syncs; *at; at = &(*at)->next)
		if (*at == s) {
			*at = s->next;
			break;
		}
	free(s->id);
	free(s);
}

/* A lost race is looked at anew at once, a datastore that is away or full later, for as long as it takes. */
static void on_written(void *ctx, int rc)
{
	struct handle_sync *s = ctx;
	struct ipam *ipam = s->ipam;

	if ((rc == -ESTALE && ++s->tries < IPAM_TRIES_MAX) || (rc == 0 && s->again)) {
		s->again = false;
		sync_go(s);
	} else if (rc && !store_is_hopeless(rc)) {
		s->started = false;
		s->tries = 0;
		timer_set(ipam->loop, &ipam->sync_timer, IPAM_RETRY_MS);
	} else {
		sync_free(s);
	}
}

static unsigned count_in(const struct block *b, const char *id)
{
	unsigned n = 0;

	for (int o = block_find(b, id, 0); o >= 0; o = block_find(b, id, o + 1))
		n++;
	return n;
}

/* The name of a handle's object: its id in lower case. */
static char *handle_key(struct arena *mem, const char *id)
{
	char *key = arena_str(mem, id);

	for (char *c = key; *c; c++)
		*c = tolower((unsigned char)*c);
	return key;
}

static bool is_named(const struct handle *h, const struct block *b)
{
	for (unsigned i = 0; h && i < h->block_count; i++)
		if (prefix_equal(&h->blocks[i].cidr, &b->cidr))
			return true;
	return false;
}

/* A handle's addresses are one node's: when they are ours, most blocks need not be looked into. */
static struct handle *count_handle(const struct ipam *ipam, const char *id)
{
	struct handle *h = row_new(sizeof *h);
	struct arena *mem = &h->row.mem;
	autofree struct handle_block *found = xcalloc(ipam->model->blocks.count + 1, sizeof *found);
	const struct handle *have;
	const struct block *b;

	h->row.key = handle_key(mem, id);
	h->meta.namespace = h->meta.uid = "";
	h->meta.name = h->row.key;
	h->id = arena_str(mem, id);
	have = table_find(&ipam->model->handles, h->row.key);
	table_each(&ipam->model->blocks, b) {
		unsigned n;

		if (b->deleted || !(block_concerns(b, ipam->node) || is_named(have, b)))
			continue;
		n = count_in(b, id);
		if (n)
			found[h->block_count++] = (struct handle_block){ b->cidr, n };
	}
	h->blocks = arena_alloc(mem, h->block_count * sizeof *found + 1);
	memcpy(h->blocks, found, h->block_count * sizeof *found);
	return h;
}

static bool handles_equal(const struct handle *a, const struct handle *b)
{
	if (a->block_count != b->block_count)
		return false;
	for (unsigned i = 0; i < a->block_count; i++) {
		bool found = false;

		for (unsigned k = 0; k < b->block_count; k++)
			found |= prefix_equal(&a->blocks[i].cidr, &b->blocks[k].cidr) &&
				 a->blocks[i].count == b->blocks[k].count;
		if (!found)
			return false;
	}
	return true;
}

static void sync_go(struct handle_sync *s)
{
	const struct kind *kind = kind_named("IPAMHandle");
	struct handle *want = count_handle(s->ipam, s->id);
	const struct handle *have = table_find(&s->ipam->model->handles, want->row.key);

	s->started = true;
	if (want->block_count && (!have || !handles_equal(want, have))) {
		store_put(s->ipam->store, kind, &want->row, have ? have->meta.version : 0, on_written, s);
		return;
	}
	if (!want->block_count && have)
		store_del(s->ipam->store, kind, want->row.key, have->meta.version, on_written, s);
	else
		sync_free(s);
	row_free(&want->row);
}

void handles_start(struct ipam *ipam)
{
	for (struct handle_sync *s = ipam->syncs, *next; s; s = next) {
		next = s->next;
		if (!s->started)
			sync_go(s);
	}
}

/* A little later: whoever waits for an address comes first, and a handle that is gone by then costs nothing. */
void handle_sync(struct ipam *ipam, const char *id)
{
	struct handle_sync *s;

	if (podcidr_is_on(ipam))
		return;
	for (s = ipam->syncs; s; s = s->next)
		if (strcmp(s->id, id) == 0) {
			s->again = true;
			return;
		}
	s = xcalloc(1, sizeof *s);
	*s = (struct handle_sync){ .ipam = ipam, .id = xstrdup(id), .next = ipam->syncs };
	ipam->syncs = s;
	if (!ipam->sync_timer.on)
		timer_set(ipam->loop, &ipam->sync_timer, IPAM_SYNC_MS);
}

/*
 * This node may count it anew when all blocks that it names are its own, or when none of them, whosever they are, has
 * an address of it: whoever borrowed one may have been killed right after it was given back.
 */
static bool handle_is_ours(const struct ipam *ipam, const struct handle *h)
{
	bool others = !h->block_count, used = false;

	for (unsigned i = 0; i < h->block_count; i++) {
		const struct block *b = table_find(&ipam->model->blocks, prefix_text(&h->blocks[i].cidr).s);

		others |= !b || !model_is_self(ipam->model, b->node);
		used |= b && !b->deleted && count_in(b, h->id);
	}
	return !others || !used;
}

/* A handle whose pod went right before the agent did still names it. */
static void stale_check(struct ipam *ipam)
{
	const struct handle *h;

	table_each(&ipam->model->handles, h) {
		struct handle *want = handle_is_ours(ipam, h) ? count_handle(ipam, h->id) : NULL;

		if (want && !handles_equal(want, h))
			handle_sync(ipam, h->id);
		row_free(want ? &want->row : NULL);
	}
}

void handles_check(struct ipam *ipam)
{
	const struct block *b;

	ipam->handles_checked = true;
	if (podcidr_is_on(ipam))
		return;
	stale_check(ipam);
	table_each(&ipam->model->blocks, b) {
		if (!model_owns(ipam->model, b))
			continue;
		for (unsigned i = 0; i < b->attribute_count; i++) {
			struct arena mem = { 0 };
			const char *id = b->attributes[i].handle;

			if (id && !table_find(&ipam->model->handles, handle_key(&mem, id)))
				handle_sync(ipam, id);
			arena_free(&mem);
		}
	}
}
