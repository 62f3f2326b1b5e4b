/*
 * The capability bandwidth, made as the reference plugin makes it: what goes to the pod
 * waits in a token bucket at the root of the host end; what the pod sends is redirected
 * on its way in to an ifb device, which has the other bucket.  That device is called after
 * the host end and carries its alias, so that the next agent knows whose it is.
 *
 * How much is asked for is kept with the host ports, see ports.c.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cni/cni_int.h"

enum { LATENCY_MS = 25, LEAST_BURST_FRAMES = 2 };

void shape_name(char out[16], const char *host_if)
{
	snprintf(out, 16, "bwp%.11s", host_if + strlen("cali"));
}

bool shape_is_wanted(const struct endpoint *ep)
{
	return ep->to_pod.rate || ep->from_pod.rate;
}

/* ---- what is asked for ---- */

static int read_bits(struct json_ctx *c, json_value v, void *field)
{
	int64_t n;

	if (json_int(c->j, v, &n) < 0 || n < 0)
		return json_refuse(c, v, "want a number of bits, from 0 on");
	*(uint64_t *)field = (uint64_t)n;
	return 0;
}

static int judge(struct json_ctx *c, json_value v, const struct shaping *s, const char *burst)
{
	if (!s->rate != !s->burst)
		return json_refuse_member(c, v, burst, "want both a rate and a burst, or neither");
	return s->burst / 8 > UINT32_MAX ? json_refuse_member(c, v, burst, "want less than 4 GiB") : 0;
}

int shape_read(const struct json *j, json_value v, struct endpoint *ep, struct err *e)
{
	static const struct json_field fields[] = {
		{ "ingressRate", offsetof(struct endpoint, to_pod.rate), read_bits, false },
		{ "ingressBurst", offsetof(struct endpoint, to_pod.burst), read_bits, false },
		{ "egressRate", offsetof(struct endpoint, from_pod.rate), read_bits, false },
		{ "egressBurst", offsetof(struct endpoint, from_pod.burst), read_bits, false },
	};
	struct json_ctx c = { .j = j, .mem = &ep->row.mem, .e = e, .root = v };

	if (json_type(j, v) == JSON_NULL)
		return 0;
	if (json_fields(&c, v, fields, ARRAY_SIZE(fields), ep) < 0 || judge(&c, v, &ep->to_pod, "ingressBurst") < 0 ||
	    judge(&c, v, &ep->from_pod, "egressBurst") < 0)
		return -EINVAL;
	return 0;
}

/* A bucket that holds no whole frame would let nothing through. */
static struct rtnl_tbf bucket(const struct shaping *s, unsigned mtu)
{
	struct rtnl_tbf t = { .rate = s->rate / 8 ? s->rate / 8 : 1, .burst = (uint32_t)(s->burst / 8) };
	uint64_t limit;

	if (t.burst < LEAST_BURST_FRAMES * mtu)
		t.burst = LEAST_BURST_FRAMES * mtu;
	limit = t.rate / 1000 * LATENCY_MS + t.burst;
	t.limit = limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX;
	return t;
}

/* ---- into the kernel ---- */

/* Also in the place of one that waits for its deletion. */
static int ifb_make(struct cni *c, const char *name, const char *alias, unsigned mtu, struct err *e)
{
	int index = (int)if_nametoindex(name), rc;

	if (index) {
		rtnl_link_del(&c->nl, index, NULL);
		nl_commit(&c->nl, NULL, NULL);
	}
	rtnl_ifb_put(&c->nl, name, mtu);
	rtnl_link_alias(&c->nl, 0, name, alias);
	if ((rc = nl_commit(&c->nl, NULL, e)) < 0)
		return rc;
	index = (int)if_nametoindex(name);
	return index ? index : err_set(e, ENODEV, "link %s has gone", name);
}

static int egress_put(struct cni *c, const struct endpoint *ep, const char *alias, struct err *e)
{
	const struct rtnl_tbf t = bucket(&ep->from_pod, ep->mtu);
	char name[16];
	int ifb;

	shape_name(name, ep->host_if);
	if ((ifb = ifb_make(c, name, alias, ep->mtu, e)) < 0)
		return ifb;
	rtnl_tbf_put(&c->nl, ifb, &t);
	rtnl_redirect_put(&c->nl, ep->ifindex, ifb);
	return nl_commit(&c->nl, NULL, e);
}

int shape_put(struct cni *c, const struct endpoint *ep, struct err *e)
{
	char alias[256] = "";
	int rc = 0;

	end_alias(alias, ep);
	if (ep->to_pod.rate) {
		const struct rtnl_tbf t = bucket(&ep->to_pod, ep->mtu);

		rtnl_tbf_put(&c->nl, ep->ifindex, &t);
		rc = nl_commit(&c->nl, NULL, e);
	}
	if (rc == 0 && ep->from_pod.rate)
		rc = egress_put(c, ep, alias, e);
	return rc;
}

void shape_drop(struct cni *c, const struct endpoint *gone)
{
	const struct endpoint *ep;
	char name[16];
	int index;

	if (!gone->from_pod.rate)
		return;
	table_each(&c->model->endpoints, ep)
		if (ep->from_pod.rate && strcmp(ep->host_if, gone->host_if) == 0 && strcmp(ep->row.key, gone->row.key) != 0)
			return;			/* a new sandbox's by now */
	shape_name(name, gone->host_if);
	if ((index = (int)if_nametoindex(name)))
		reaper_take(c->reaper, &c->nl, index);
}

/* ---- out of the kernel ---- */

struct look { int index, ifb, redirected; struct rtnl_tbf root, behind; };

static void on_qdisc(void *ctx, const struct nlmsghdr *h)
{
	struct look *l = ctx;
	struct rtnl_tbf t;
	int index;

	if (!rtnl_tbf_parse(h, &index, &t))
		return;
	if (index == l->index)
		l->root = t;
	else if (index == l->ifb)
		l->behind = t;
}

static void on_filter(void *ctx, const struct nlmsghdr *h)
{
	struct look *l = ctx;
	int to = rtnl_redirect_parse(h);

	l->redirected = to ? to : l->redirected;
}

static bool holds(const struct shaping *s, const struct rtnl_tbf *have, unsigned mtu)
{
	const struct rtnl_tbf want = bucket(s, mtu);

	return !s->rate || (have->rate == want.rate && have->limit == want.limit);
}

int shape_check(struct cni *c, const struct endpoint *ep, struct err *e)
{
	struct look l = { .index = ep->ifindex };
	char name[16];
	int rc = 0;

	shape_name(name, ep->host_if);
	l.ifb = ep->from_pod.rate ? (int)if_nametoindex(name) : 0;
	rtnl_qdisc_dump_request(&c->nl, ep->ifindex);
	rc = nl_dump(&c->nl, NULL, on_qdisc, &l, e);
	if (rc == 0 && l.ifb) {
		rtnl_qdisc_dump_request(&c->nl, l.ifb);
		rc = nl_dump(&c->nl, NULL, on_qdisc, &l, e);
	}
	if (rc == 0 && l.ifb) {
		rtnl_filter_dump_request(&c->nl, ep->ifindex);
		rc = nl_dump(&c->nl, NULL, on_filter, &l, NULL);
		rc = rc == -EINVAL || rc == -ENOENT ? 0 : rc;	/* there is nothing that it could be in */
	}
	if (rc < 0)
		return rc;
	if (!holds(&ep->to_pod, &l.root, ep->mtu))
		return err_set(e, ESTALE, "link %s: its token bucket is missing or changed", ep->host_if);
	if (ep->from_pod.rate && (!l.ifb || l.redirected != l.ifb || !holds(&ep->from_pod, &l.behind, ep->mtu)))
		return err_set(e, ESTALE, "link %s: %s, its token bucket or the way there is missing or changed", ep->host_if, name);
	return 0;
}

const struct endpoint *shape_owner(const struct cni *c, const char *link)
{
	const struct endpoint *ep;
	char name[16];

	table_each(&c->model->endpoints, ep) {
		shape_name(name, ep->host_if);
		if (ep->from_pod.rate && strcmp(name, link) == 0)
			return ep;
	}
	return NULL;
}
