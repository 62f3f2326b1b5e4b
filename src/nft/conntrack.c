/*
 * Flows of pods that have gone.  Who gets an address next must not inherit what was
 * allowed to the last holder.
 *
 * The kernel finds a pod's flows only by walking all of the machine's, ten milliseconds and more on a big one.
 * So addresses are gathered for a moment, then a thread of its own, which shares nothing, reads all flows once for all of them
 * and deletes each by its whole tuple.  Addresses are given again oldest first; a pod that
 * gets one of these all the same waits until that is done.  What an agent that was killed left undone is among the
 * free addresses of own blocks, whose flows end when the next one starts.
 */
#include "nft/nft_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"

#define CT_TYPE(message) (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | (message))

enum { GATHER_MS = 50, RETRY_MS = 1000 };

struct flow { struct flow *next; uint8_t family; const struct nlattr *tuple, *zone; };

struct search {
	struct addr *gone;		/* sorted */
	unsigned count;
	struct arena mem;
	struct flow *found;
	struct nl nl;
	int wake;
	pthread_t thread;
	int rc;
	struct err e;
};

static int by_addr(const void *a, const void *b)
{
	return addr_cmp(a, b);
}

/* ---- reading; from here on the thread ---- */

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

static int delete_found(struct search *s)
{
	int rc;

	for (const struct flow *f = s->found; f; f = f->next) {
		struct nlmsghdr *h = request(&s->nl, IPCTNL_MSG_CT_DELETE, 0, f->family);

		put_copy(h, f->tuple);
		put_copy(h, f->zone);
		nl_end(&s->nl, h);
	}
	rc = s->found ? nl_commit(&s->nl, NULL, &s->e) : 0;
	return rc == -ENOENT ? 0 : rc;	/* it ended by itself */
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

/* A dump walks the buckets of all namespaces; the count of this one is at hand. */
static bool has_flows(struct search *s)
{
	bool any = true;
	const struct nl_answer answer = { .data = on_stats, .ctx = &any };

	nl_end(&s->nl, request(&s->nl, IPCTNL_MSG_CT_GET_STATS, 0, AF_UNSPEC));
	nl_commit(&s->nl, &answer, NULL);
	return any;
}

static int look(struct search *s)
{
	int rc;

	if (!has_flows(s))
		return 0;
	nl_end(&s->nl, request(&s->nl, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC));
	rc = nl_dump(&s->nl, on_restart, on_flow, s, &s->e);
	return rc ? rc : delete_found(s);
}

static void *run(void *arg)
{
	struct search *s = arg;
	const uint64_t one = 1;

	s->rc = nl_open(&s->nl, NETLINK_NETFILTER, NULL);
	if (!s->rc)
		s->rc = look(s);
	else
		err_set(&s->e, -s->rc, "netlink socket: %s", strerror(-s->rc));
	nl_close(&s->nl);
	if (write(s->wake, &one, sizeof one) < 0)
		s->wake = -1;		/* cannot be: it is full at 2^64 */
	return NULL;
}

/* ---- the loop's side ---- */

static void add(struct flows *f, struct addr a)
{
	if (f->count == f->cap) {
		f->cap = f->cap ? f->cap * 2 : 16;
		f->gone = xrealloc(f->gone, f->cap * sizeof *f->gone);
	}
	f->gone[f->count++] = a;
}

static void tell(struct nft *n, const struct search *s)
{
	if (!s->rc && n->flows.told)
		model_problem_clear(n->model, "nft", "flows");
	if (s->rc && !n->flows.told)
		log_warn("nft", "%s", s->e.text);
	if (s->rc)
		model_problem(n->model, "nft", "flows", "a kernel with CONFIG_NF_CT_NETLINK",
			      "%s: whoever gets the address next inherits the flows", s->e.text);
	n->flows.told = s->rc != 0;
}

static void begin(struct nft *n)
{
	struct flows *f = &n->flows;
	struct search *s = xcalloc(1, sizeof *s);

	*s = (struct search){ .gone = f->gone, .count = f->count, .nl.fd = -1, .wake = f->watch.fd };
	qsort(s->gone, s->count, sizeof *s->gone, by_addr);
	f->gone = NULL;
	f->count = f->cap = 0;
	f->search = s;
	if (thread_start(&s->thread, run, s)) {	/* then here */
		run(s);
		s->thread = pthread_self();
	}
}

/* Waits for the thread.  What a full buffer or the like kept from ending is taken up again. */
static void end(struct nft *n)
{
	struct flows *f = &n->flows;
	struct search *s = f->search;
	uint64_t count;

	if (!pthread_equal(s->thread, pthread_self()))
		pthread_join(s->thread, NULL);
	if (read(f->watch.fd, &count, sizeof count) < 0 && errno != EAGAIN)
		log_warn("nft", "eventfd: %s", strerror(errno));
	f->search = NULL;
	tell(n, s);
	for (unsigned i = 0; s->rc && !nft_is_lack(s->rc) && i < s->count; i++)
		add(f, s->gone[i]);
	if (f->count)
		timer_set(n->loop, &f->timer, s->rc ? RETRY_MS : GATHER_MS);
	arena_free(&s->mem);
	free(s->gone);
	free(s);
}

static void on_done(struct watch *w, uint32_t events)
{
	struct nft *n = container_of(w, struct nft, flows.watch);
	(void)events;

	if (n->flows.search)
		end(n);
}

static void on_timer(struct timer *t)
{
	struct nft *n = container_of(t, struct nft, flows.timer);

	if (!n->flows.search)
		begin(n);
}

static bool is_among(const struct addr *list, unsigned count, const struct addr *a)
{
	for (unsigned i = 0; i < count; i++)
		if (addr_equal(&list[i], a))
			return true;
	return false;
}

static bool is_open(const struct flows *f, const struct addr *a)
{
	return a->family && (is_among(f->gone, f->count, a) || (f->search && is_among(f->search->gone, f->search->count, a)));
}

static bool is_free(const struct block *b, unsigned ordinal)
{
	int a = b->allocations[ordinal];

	return a < 0 || ((unsigned)a < b->attribute_count && !b->attributes[a].handle);
}

static void take_free(struct nft *n)
{
	const struct block *b;

	table_each(&n->model->blocks, b)
		for (unsigned i = 0; model_owns(n->model, b) && i < b->size; i++)
			if (is_free(b, i))
				add(&n->flows, addr_plus(&b->cidr.addr, i));
	n->flows.swept = true;
}

static void take_gone(struct nft *n)
{
	const struct endpoint *e;

	table_each_dirty(&n->model->endpoints, e)
		for (int f = 0; e->row.gone && f < FAMILIES; f++)
			if (e->ips[f].family)
				add(&n->flows, e->ips[f]);
}

/* A pod that has one of the addresses is there already. */
static void hold(struct nft *n, struct endpoint *e)
{
	struct flows *f = &n->flows;

	for (int i = 0; i < FAMILIES; i++) {
		if (f->search && is_open(f, &e->ips[i]))
			end(n);
		if (!is_open(f, &e->ips[i]))
			continue;
		begin(n);
		end(n);
		if (!is_open(f, &e->ips[i]))
			continue;
		e->rc = -EAGAIN;
		e->of_rules = true;
		snprintf(e->why, sizeof e->why, "flows of the last holder of %s cannot be ended yet", addr_text(&e->ips[i]).s);
	}
}

void flows_run(struct nft *n)
{
	struct flows *f = &n->flows;
	struct endpoint *e;

	if (n->conntrack != ANSWER_YES)
		return;
	take_gone(n);
	if (!f->swept && n->full)
		take_free(n);
	table_each_dirty(&n->model->endpoints, e)
		if (!e->row.gone && (f->count || f->search))
			hold(n, e);
	if (f->count && !f->search && !f->timer.on)
		timer_set(n->loop, &f->timer, GATHER_MS);
}

int flows_open(struct nft *n)
{
	n->flows.timer.fn = on_timer;
	n->flows.watch = (struct watch){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .fn = on_done };
	return n->flows.watch.fd < 0 ? -errno : watch_add(n->loop, &n->flows.watch, EPOLLIN);
}

void flows_close(struct nft *n)
{
	struct flows *f = &n->flows;

	if (f->search)
		end(n);
	if (f->count) {			/* soon is too late */
		begin(n);
		end(n);
	}
	timer_del(n->loop, &f->timer);
	watch_del(n->loop, &f->watch);
	if (f->watch.fd >= 0)
		close(f->watch.fd);
	free(f->gone);
}
