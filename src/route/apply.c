/*
 * The difference between want and have of the marked objects, as one batch:
 * addresses, neighbours and forwarding entries, routes; what goes before what
 * takes its place.  A route is only ever made where nothing stands (EXCL) and only taken
 * away by our own protocol number, so nobody else's can be hit.
 *
 * EEXIST where the mirror showed nothing means that the mirror is behind: the
 * object is "surprised", the routes are read again, and the next round sees either
 * our own old route, which goes, or somebody else's, which stays and is named.
 */
#include "route/route_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include "base/log.h"
#include "base/util.h"

enum { LINES_A_PASS = 20 };	/* an uplink that goes takes every route with it */

/* ---- what an object is in rtnetlink's words ---- */

void want_route(const struct route *r, const struct object *o, const struct want *w, struct rtnl_route *out)
{
	*out = (struct rtnl_route){ .dst = o->key.dst, .type = w->spec.type, .protocol = w->spec.protocol,
		.onlink = w->spec.onlink, .metric = ROUTE_METRIC, .oif = w->spec.oif, .gateway = w->spec.via };
	if (w->spec.tunnel)
		out->oif = device_ready(r, w->spec.tunnel);
}

static struct rtnl_addr addr_of(const struct route *r, const struct object *o)
{
	/* No prefix route: the kernel's /128 would stand in a pool. */
	return (struct rtnl_addr){ .ifindex = r->devices[o->key.device].have.index, .address = o->key.dst,
		.flags = o->key.dst.addr.family == AF_INET6 ? IFA_F_NOPREFIXROUTE : 0 };
}

static struct rtnl_neigh neigh_of(const struct route *r, const struct object *o, const struct spec *s)
{
	struct rtnl_neigh n = { .ifindex = r->devices[o->key.device].have.index, .fdb = o->key.kind == OBJECT_FDB };

	n.dst = n.fdb ? s->via : o->key.dst.addr;
	memcpy(n.mac, n.fdb ? o->key.mac : s->mac, sizeof n.mac);
	return n;
}

static bool route_fits(const struct route *r, const struct object *o, const struct kernel_route *k)
{
	struct rtnl_route want;

	if (!o->wants)
		return false;
	want_route(r, o, o->wants, &want);
	return rtnl_route_equal(&want, &k->route);
}

const struct kernel_route *route_in_the_way(const struct object *o)
{
	for (const struct kernel_route *k = o->routes; k; k = k->next)
		if (!route_is_ours(&k->route) && k->route.metric <= ROUTE_METRIC)
			return k;
	return NULL;
}

static bool is_in_place(const struct route *r, const struct object *o)
{
	if (o->key.kind != OBJECT_ROUTE)
		return o->present && spec_equal(&o->have, &o->wants->spec);
	for (const struct kernel_route *k = o->routes; k; k = k->next)
		if (route_fits(r, o, k))
			return true;
	return false;
}

/* ---- the batch ---- */

static void op_add(struct route *r, struct object *o, struct kernel_route *k, bool put)
{
	if (r->op_count == r->op_cap) {
		r->op_cap = r->op_cap ? r->op_cap * 2 : 64;
		r->ops = xrealloc(r->ops, r->op_cap * sizeof *r->ops);
	}
	r->ops[r->op_count++] = (struct op){ o, k, put };
}

bool object_may_delete(const struct route *r, bool pod)
{
	return r->model->complete && !r->torn && (!pod || r->model->endpoints_known);
}

static bool may_delete(const struct route *r, const struct object *o, const struct kernel_route *k)
{
	if (o->wants && o->key.kind == OBJECT_ROUTE)
		return true;	/* makes room for what is wanted in its place */
	return object_may_delete(r, k && k->route.protocol == RTPROT_MANX_POD);
}

/* The device or link that must be there first; its name in why when it is not. */
static bool is_waiting(const struct route *r, const struct object *o, char *why, size_t size)
{
	const struct spec *s = &o->wants->spec;
	enum tunnel t = o->key.kind == OBJECT_ROUTE ? s->tunnel : o->key.device;
	const struct link *l;

	if (t) {
		if (device_ready(r, t))
			return false;
		snprintf(why, size, "waits for link %s", r->devices[t].want.name);
		if (*r->devices[t].why)
			str_copy(why, size, r->devices[t].why);
		return true;
	}
	if (s->type == RTN_UNICAST && !s->oif && !s->via.family) {
		snprintf(why, size, "the pod's link is not known");
		return true;
	}
	l = s->oif ? link_find(r, s->oif) : NULL;
	if (!l || l->flags & IFF_UP)	/* one that was never seen is tried: it may be younger than the last event read */
		return false;
	snprintf(why, size, "waits for link %s to come up", l->name);
	return true;
}

static void plan_route_dels(struct route *r, struct object *o)
{
	for (struct kernel_route *k = o->routes; k; k = k->next) {
		if (!route_is_ours(&k->route) || route_fits(r, o, k) || !may_delete(r, o, k))
			continue;
		rtnl_route_del(&r->command, &k->route);
		op_add(r, o, k, false);
	}
}

static bool metric_is_taken(const struct object *o)
{
	for (const struct kernel_route *k = o->routes; k; k = k->next)
		if (!route_is_ours(&k->route) && k->route.metric == ROUTE_METRIC)
			return true;
	return false;
}

static void plan_route(struct route *r, struct object *o)
{
	struct rtnl_route want;
	char why[160];
	bool waits = o->wants && is_waiting(r, o, why, sizeof why);

	/* The old way serves as long as the new one is not there, but not where that will never be. */
	if (!waits || device_is_lacking(r, o->wants->spec.tunnel))
		plan_route_dels(r, o);
	if (!o->wants || waits || is_in_place(r, o) || metric_is_taken(o))
		return;
	want_route(r, o, o->wants, &want);
	rtnl_route_put(&r->command, &want);
	op_add(r, o, NULL, true);
}

static void put_other(struct route *r, struct object *o)
{
	struct rtnl_addr a = addr_of(r, o);
	struct rtnl_neigh n;

	if (o->key.kind == OBJECT_ADDR) {
		rtnl_addr_put(&r->command, &a);
	} else {
		n = neigh_of(r, o, &o->wants->spec);
		rtnl_neigh_put(&r->command, &n);
	}
	op_add(r, o, NULL, true);
}

static void del_other(struct route *r, struct object *o)
{
	struct rtnl_addr a = addr_of(r, o);
	struct rtnl_neigh n;

	if (o->key.kind == OBJECT_ADDR) {
		rtnl_addr_del(&r->command, &a);
	} else {
		n = neigh_of(r, o, &o->have);
		rtnl_neigh_del(&r->command, &n);
	}
	op_add(r, o, NULL, false);
}

static void plan(struct route *r, struct object *o)
{
	char why[160];

	if (o->key.kind == OBJECT_ROUTE) {
		plan_route(r, o);
	} else if (o->wants) {
		if (!is_in_place(r, o) && !is_waiting(r, o, why, sizeof why))
			put_other(r, o);
	} else if (o->present && may_delete(r, o, NULL)) {
		del_other(r, o);
	}
}

/* ---- the answers ---- */

static void failed(struct object *o, int rc, const char *text)
{
	if (o->failure)
		return;		/* the first one is told */
	o->failure = rc;
	o->failure_text = xstrdup(text);
}

static void put_done(struct route *r, const struct op *op, int rc, const char *text)
{
	struct object *o = op->object;
	struct rtnl_route now;

	if (rc == -EEXIST && o->key.kind == OBJECT_ROUTE && !o->surprised) {
		o->surprised = r->surprised = true;
		return;
	}
	if (rc) {
		failed(o, rc, text);
	} else if (o->key.kind == OBJECT_ROUTE) {
		want_route(r, o, o->wants, &now);
		object_route_add(r, o, &now);
	} else {
		o->present = true;
		o->have = o->wants->spec;
	}
}

static bool is_gone(int rc)
{
	return !rc || rc == -ESRCH || rc == -ENOENT || rc == -ENODEV || rc == -EADDRNOTAVAIL;
}

static void del_done(struct route *r, const struct op *op, int rc, const char *text)
{
	struct object *o = op->object;

	if (!is_gone(rc)) {
		failed(o, rc, text);
	} else if (op->route) {
		object_route_del(r, o, op->route);
	} else {
		o->present = false;
		r->lost |= o->key.kind == OBJECT_ADDR && o->key.dst.addr.family == AF_INET;	/* see have.c */
	}
}

static void on_done(void *ctx, unsigned position, int rc, const char *text)
{
	struct route *r = ctx;
	const struct op *op = &r->ops[position];

	if (op->put)
		put_done(r, op, rc, text);
	else
		del_done(r, op, rc, text);
}

/* ---- what became of an object ---- */

static const char *link_name(const struct route *r, int index, char *number, size_t size)
{
	const struct link *l = link_find(r, index);

	snprintf(number, size, "%d", index);
	return l ? l->name : number;
}

void route_text(const struct route *r, const struct rtnl_route *have, struct str *out)
{
	char number[16];

	if (have->gateway.family)
		str_printf(out, "via %s ", addr_text(&have->gateway).s);
	if (have->oif)
		str_printf(out, "dev %s ", link_name(r, have->oif, number, sizeof number));
	str_printf(out, "protocol %u metric %u", have->protocol, (unsigned)have->metric);
}

static void object_name(const struct object *o, char *out, size_t size)
{
	switch ((enum object_kind)o->key.kind) {
	case OBJECT_ADDR:
		snprintf(out, size, "address %s", prefix_text(&o->key.dst).s);
		break;
	case OBJECT_NEIGH:
		snprintf(out, size, "neighbour %s", addr_text(&o->key.dst.addr).s);
		break;
	case OBJECT_FDB:
		snprintf(out, size, "forwarding entry via %s", addr_text(o->wants ? &o->wants->spec.via : &o->have.via).s);
		break;
	case OBJECT_ROUTE:
	case OBJECT_KINDS:
		snprintf(out, size, "route %s", prefix_text(&o->key.dst).s);
		break;
	}
}

static void state_tell(struct route *r, struct object *o, enum state state, const char *why)
{
	struct addr_text what = prefix_text(&o->key.dst);
	bool bad = state == STATE_CONFLICT || state == STATE_FAILED;
	bool loud = (bad || (state == STATE_OK && o->complained && o->wants)) && r->lines++ < LINES_A_PASS;
	char name[80];

	object_name(o, name, sizeof name);
	if (loud && bad)
		log_warn("route", "%s", why);
	else if (loud)
		log_info("route", "%s: in place", name);
	else
		log_debug("route", "%s: %s", name, why);
	o->complained = bad || (o->complained && state != STATE_OK);
	if (state == STATE_CONFLICT)
		model_problem(r->model, "route", what.s, "remove the other route", "%s", why);
	else if (o->conflicting)
		model_problem_clear(r->model, "route", what.s);
	o->conflicting = state == STATE_CONFLICT;
}

static void state_set(struct route *r, struct object *o, enum state state, int rc, const char *why)
{
	if (o->state != state || strcmp(o->why ? o->why : "", why) != 0) {
		state_tell(r, o, state, why);
		free(o->why);
		o->why = *why ? xstrdup(why) : NULL;
		object_touch_owners(r, o);
	}
	o->state = (uint8_t)state;
	o->rc = rc;
	o->backoff_ms = state == STATE_FAILED ? backoff_next(o->backoff_ms) : 0;
	if (state == STATE_FAILED)
		o->due_ms = now_ms() + o->backoff_ms;
	if (state != STATE_OK && !o->troubled) {
		o->troubled = true;
		object_list_add(&r->troubled, o);
	}
}

static void conflict_set(struct route *r, struct object *o, const struct kernel_route *k)
{
	autostr struct str text = { 0 };

	str_printf(&text, "route %s: another route ", prefix_text(&o->key.dst).s);
	route_text(r, &k->route, &text);
	str_puts(&text, k->route.metric == ROUTE_METRIC ? " is in the way" : " comes first");
	state_set(r, o, STATE_CONFLICT, -EEXIST, text.s);
}

static void waiting_set(struct route *r, struct object *o, int rc, const char *what)
{
	char name[80], text[250];

	object_name(o, name, sizeof name);
	snprintf(text, sizeof text, "%s: %s", name, what);
	state_set(r, o, STATE_WAITING, rc, text);
}

/* A link that went away tells by an event when it is back. */
static bool failure_is_waiting(const struct object *o)
{
	return o->wants && (o->failure == -ENODEV || o->failure == -ENETDOWN) &&
	       (o->key.kind != OBJECT_ROUTE || o->wants->spec.oif || o->wants->spec.tunnel);
}

static void judge(struct route *r, struct object *o)
{
	const struct kernel_route *k = o->wants ? route_in_the_way(o) : NULL;
	char why[160];

	if (failure_is_waiting(o))
		waiting_set(r, o, o->failure, "waits for its link");
	else if (o->failure)
		state_set(r, o, STATE_FAILED, o->failure, o->failure_text);
	else if (k)
		conflict_set(r, o, k);
	else if (!o->wants || is_in_place(r, o))
		state_set(r, o, STATE_OK, 0, "");
	else if (is_waiting(r, o, why, sizeof why))
		waiting_set(r, o, -ENETDOWN, why);
	else
		state_set(r, o, STATE_FAILED, -EAGAIN, "not in place yet");
	free(o->failure_text);
	o->failure_text = NULL;
	o->failure = 0;
	o->surprised = false;
}

static void judge_marked(struct route *r, bool again)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < r->marked.count; i++) {
		struct object *o = r->marked.at[i];

		if (o->surprised && !again) {
			r->marked.at[kept++] = o;
			continue;
		}
		judge(r, o);
		o->marked = false;
		object_release(r, o);
	}
	r->marked.count = kept;
}

void objects_apply(struct route *r, bool again)
{
	struct nl_answer answer = { .done = on_done, .ctx = r };

	r->op_count = 0;
	for (int kind = 0; kind < OBJECT_KINDS; kind++)
		for (unsigned i = 0; i < r->marked.count; i++)
			if (r->marked.at[i]->key.kind == kind)
				plan(r, r->marked.at[i]);
	if (r->op_count)
		nl_commit(&r->command, &answer, NULL);
	judge_marked(r, again);
}
