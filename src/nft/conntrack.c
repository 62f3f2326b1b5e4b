/*
 * Flows of pods that have gone.  Who gets an address next must not inherit what was
 * allowed to the last holder, so when an attachment goes, its flows go, before its address can
 * be given again: one dump for all that went in a turn, and each flow is deleted by its whole tuple.
 */
#include "nft/nft_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include "base/log.h"
#include "base/util.h"

#define CT_TYPE(message) (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | (message))

struct flow { struct flow *next; uint8_t family; const struct nlattr *tuple, *zone; };

struct search {
	struct addr *gone;		/* sorted */
	unsigned count;
	struct arena mem;
	struct flow *found;
};

static int by_addr(const void *a, const void *b)
{
	return addr_cmp(a, b);
}

static void find_gone(const struct nft *n, struct search *s)
{
	const struct endpoint *e;
	unsigned room = 0;

	table_each_dirty(&n->model->endpoints, e)
		room += e->row.gone ? FAMILIES : 0;
	if (!room)
		return;
	s->gone = xcalloc(room, sizeof *s->gone);
	table_each_dirty(&n->model->endpoints, e)
		for (int f = 0; e->row.gone && f < FAMILIES; f++)
			if (e->ips[f].family)
				s->gone[s->count++] = e->ips[f];
	qsort(s->gone, s->count, sizeof *s->gone, by_addr);
}

/* ---- reading ---- */

static bool tuple_matches(const struct search *s, const struct nlattr *tuple)
{
	static const struct { uint16_t type; uint8_t family; } places[] = {
		{ CTA_IP_V4_SRC, AF_INET }, { CTA_IP_V4_DST, AF_INET }, { CTA_IP_V6_SRC, AF_INET6 }, { CTA_IP_V6_DST, AF_INET6 },
	};
	const struct nlattr *parts[CTA_TUPLE_IP + 1], *ip[CTA_IP_V6_DST + 1];

	nl_attrs_nested(tuple, parts, CTA_TUPLE_IP);
	nl_attrs_nested(parts[CTA_TUPLE_IP], ip, CTA_IP_V6_DST);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct addr a = { 0 };

		if (nl_attr_addr(ip[places[i].type], places[i].family, &a) &&
		    bsearch(&a, s->gone, s->count, sizeof a, by_addr))
			return true;
	}
	return false;
}

static const struct nlattr *attr_copy(struct arena *mem, const struct nlattr *a)
{
	return a ? memcpy(arena_alloc(mem, a->nla_len), a, a->nla_len) : NULL;
}

static void on_flow(void *ctx, const struct nlmsghdr *h)
{
	struct search *s = ctx;
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[CTA_ZONE + 1];
	struct flow *f;

	if (!nl_attrs(h, sizeof *g, tb, CTA_ZONE) || !tb[CTA_TUPLE_ORIG] ||
	    (!tuple_matches(s, tb[CTA_TUPLE_ORIG]) && !tuple_matches(s, tb[CTA_TUPLE_REPLY])))
		return;
	f = arena_alloc(&s->mem, sizeof *f);
	*f = (struct flow){ s->found, g->nfgen_family, attr_copy(&s->mem, tb[CTA_TUPLE_ORIG]), attr_copy(&s->mem, tb[CTA_ZONE]) };
	s->found = f;
}

static void on_restart(void *ctx)
{
	struct search *s = ctx;

	s->found = NULL;
	arena_reset(&s->mem);
}

static struct nlmsghdr *request(struct nl *nl, unsigned message, uint16_t flags, uint8_t family)
{
	struct nlmsghdr *h = nl_begin(nl, CT_TYPE(message), flags, "conntrack entries of pods that have gone");
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof *g);

	*g = (struct nfgenmsg){ .nfgen_family = family, .version = NFNETLINK_V0 };
	return h;
}

/* ---- deleting ---- */

static void put_copy(struct nlmsghdr *h, const struct nlattr *a)
{
	if (a)
		mnl_attr_put(h, a->nla_type, (size_t)(a->nla_len - MNL_ATTR_HDRLEN), (const char *)a + MNL_ATTR_HDRLEN);
}

static int delete_found(struct nft *n, const struct search *s, struct err *e)
{
	int rc;

	for (const struct flow *f = s->found; f; f = f->next) {
		struct nlmsghdr *h = request(&n->command, IPCTNL_MSG_CT_DELETE, 0, f->family);

		put_copy(h, f->tuple);
		put_copy(h, f->zone);
		nl_end(&n->command, h);
	}
	rc = s->found ? nl_commit(&n->command, NULL, e) : 0;
	return rc == -ENOENT ? 0 : rc;	/* it ended by itself */
}

static void tell(struct nft *n, const struct err *e)
{
	if (!n->flows_told)
		log_warn("nft", "%s", e->text);
	model_problem(n->model, "nft", "flows", "a kernel with CONFIG_NF_CT_NETLINK",
		      "%s: whoever gets the address next inherits the flows", e->text);
}

static void on_stats(void *ctx, const struct nlmsghdr *h)
{
	const struct nlattr *tb[CTA_STATS_GLOBAL_MAX + 1];
	uint32_t entries;
	bool *any = ctx;

	if (nl_attrs(h, sizeof(struct nfgenmsg), tb, CTA_STATS_GLOBAL_MAX) &&
	    nl_attr_u32(tb[CTA_STATS_GLOBAL_ENTRIES], &entries))
		*any = entries != 0;
}

/* A dump walks all buckets of the machine, ten milliseconds on a big one; the count of a namespace is at hand. */
static bool has_flows(struct nft *n)
{
	bool any = true;
	const struct nl_answer answer = { .data = on_stats, .ctx = &any };

	nl_end(&n->command, request(&n->command, IPCTNL_MSG_CT_GET_STATS, 0, AF_UNSPEC));
	nl_commit(&n->command, &answer, NULL);
	return any;
}

void nft_forget(struct nft *n)
{
	struct search s = { 0 };
	struct err e = { 0 };
	int rc;

	if (!n->usable || !n->conntrack)
		return;
	find_gone(n, &s);
	if (!s.count || !has_flows(n)) {
		free(s.gone);
		return;
	}
	nl_end(&n->command, request(&n->command, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC));
	rc = nl_dump(&n->command, on_restart, on_flow, &s, &e);
	if (!rc)
		rc = delete_found(n, &s, &e);
	if (rc)
		tell(n, &e);
	else if (n->flows_told)
		model_problem_clear(n->model, "nft", "flows");
	n->flows_told = rc != 0;
	arena_free(&s.mem);
	free(s.gone);
}
