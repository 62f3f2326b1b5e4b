/* `manx ipam show`: the cluster's blocks. */
#include <string.h>

#include "base/util.h"
#include "ipam/ipam_int.h"

static const char *block_state(const struct ipam *ipam, const struct block *b)
{
	static const char *const states[] = { "confirmed", "pending", "pendingDeletion" };
	const struct affinity *a;
	char name[254];

	if (!b->node || !table_find(&ipam->model->nodes, b->node))
		return "orphan";
	if (podcidr_is_on(ipam))
		return states[0];
	affinity_name(name, b->node, &b->cidr);
	a = table_find(&ipam->model->affinities, name);
	return a && !a->deleted ? states[a->state] : "orphan";
}

static int by_cidr(const void *a, const void *b)
{
	return prefix_cmp(&(*(const struct block *const *)a)->cidr, &(*(const struct block *const *)b)->cidr);
}

/* In order, NULL at the end; the caller frees it. */
static const struct block **blocks_sorted(const struct ipam *ipam)
{
	const struct block **all = xcalloc(ipam->model->blocks.count + 1, sizeof *all), *b;
	unsigned count = 0;

	table_each(&ipam->model->blocks, b)
		if (!b->deleted)
			all[count++] = b;
	qsort(all, count, sizeof *all, by_cidr);
	return all;
}

struct block_counts { unsigned used, reserved, free; };

static struct block_counts counts_of(const struct ipam *ipam, const struct block *b)
{
	const unsigned leaving = release_count(ipam, b);
	struct block_counts c;

	block_count(b, &c.used, &c.reserved);
	c.used -= c.used < leaving ? c.used : leaving;
	c.free = b->size - c.used - c.reserved;
	return c;
}

static void show_json(const struct ipam *ipam, const struct block *const *blocks, struct str *out)
{
	struct json_out o = { .to = out };

	json_open(&o, NULL, '{');
	json_open(&o, "blocks", '[');
	for (const struct block *b; (b = *blocks); blocks++) {
		const struct block_counts c = counts_of(ipam, b);

		json_open(&o, NULL, '{');
		json_put_string(&o, "cidr", b->row.key);
		json_put_string(&o, "node", b->node ? b->node : "");
		json_put_string(&o, "state", block_state(ipam, b));
		json_put_int(&o, "used", c.used);
		json_put_int(&o, "reserved", c.reserved);
		json_put_int(&o, "free", c.free);
		json_put_int(&o, "size", b->size);
		json_close(&o, '}');
	}
	json_close(&o, ']');
	json_close(&o, '}');
	str_puts(out, "\n");
}

static void show_pools(const struct ipam *ipam, struct str *out)
{
	const struct pool *p;

	table_each(&ipam->model->pools, p)
		str_printf(out, "pool %s  %s  /%u blocks%s%s%s\n", p->meta.name, prefix_text(&p->cidr).s, p->block_size,
			   p->disabled ? "  disabled" : "", p->refused ? "  not used: " : "", p->refused ? p->refused : "");
}

static void show_text(const struct ipam *ipam, const struct block *const *blocks, struct str *out)
{
	show_pools(ipam, out);
	str_printf(out, "%-24s %-20s %5s %8s %5s %5s  %s\n", "BLOCK", "NODE", "USED", "RESERVED", "FREE", "SIZE", "STATE");
	for (const struct block *b; (b = *blocks); blocks++) {
		const struct block_counts c = counts_of(ipam, b);

		str_printf(out, "%-24s %-20s %5u %8u %5u %5u  %s\n", b->row.key, b->node ? b->node : "-", c.used, c.reserved,
			   c.free, b->size, block_state(ipam, b));
	}
}

void ipam_show(const struct ipam *ipam, struct str *out, bool json)
{
	autofree const struct block **blocks = blocks_sorted(ipam);

	if (json)
		show_json(ipam, blocks, out);
	else
		show_text(ipam, blocks, out);
}

struct ipam_counts ipam_own_counts(const struct ipam *ipam)
{
	struct ipam_counts c = { 0 };
	const struct block *b;

	table_each(&ipam->model->blocks, b) {
		if (!model_owns(ipam->model, b))
			continue;
		c.blocks++;
		c.used += counts_of(ipam, b).used;
		c.size += b->size;
	}
	return c;
}
