#include "route/route.h"

#include <errno.h>
#include <stdlib.h>
#include "base/util.h"
#include "route/route_int.h"

/*
 * The pass: dirty rows become wants, wants and mirror become a batch, and what
 * came of it goes into the endpoints' rows.  A second round follows when the first
 * found the mirror wrong.  Without work, nothing is sent and nothing allocated.
 */

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 5000, ROUNDS = 4 };

unsigned backoff_next(unsigned backoff_ms)
{
	if (!backoff_ms)
		return BACKOFF_FIRST_MS;
	return backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
}

/* ---- trying again ---- */

/* A gateway is reached through the uplink; index 0: some address came. */
static bool leads_to_gateways(const struct route *r, int index, uint8_t family)
{
	const struct uplink *up = model_uplink(r->model);

	return !index || !up || up->ifindex[family_index(family)] == index;
}

static bool awaits_link(const struct route *r, const struct object *o, int index)
{
	const struct spec *s = o->wants ? &o->wants->spec : NULL;
	enum tunnel t;

	if (!s)
		return false;
	if (o->key.kind == OBJECT_ROUTE && !s->tunnel)
		return s->via.family ? leads_to_gateways(r, index, s->via.family) : s->oif == index;
	t = o->key.kind == OBJECT_ROUTE ? s->tunnel : o->key.device;
	return index && r->devices[t].have.index == index;
}

void troubled_mark(struct route *r, int index)
{
	for (unsigned i = 0; i < r->troubled.count; i++)
		if (awaits_link(r, r->troubled.at[i], index))
			object_mark(r, r->troubled.at[i]);
}

static void on_retry(struct timer *timer)
{
	struct route *r = container_of(timer, struct route, retry);
	uint64_t now = now_ms();

	r->lost |= r->torn;
	for (unsigned i = 0; i < r->troubled.count; i++) {
		struct object *o = r->troubled.at[i];

		if (o->state == STATE_FAILED && o->due_ms <= now)
			object_mark(r, o);
	}
	tunnel_each(t)
		if (r->devices[t].state == STATE_FAILED && r->devices[t].due_ms <= now)
			r->devices[t].marked = true;
}

static bool has_work(const struct route *r)
{
	tunnel_each(t)
		if (r->devices[t].marked)
			return true;
	return r->lost || r->surprised || r->marked.count;
}

static void retry_arm(struct route *r)
{
	uint64_t now = now_ms(), due = UINT64_MAX;

	for (unsigned i = 0; i < r->troubled.count; i++)
		if (r->troubled.at[i]->state == STATE_FAILED && r->troubled.at[i]->due_ms < due)
			due = r->troubled.at[i]->due_ms;
	tunnel_each(t)
		if (r->devices[t].state == STATE_FAILED && r->devices[t].due_ms < due)
			due = r->devices[t].due_ms;
	if ((r->torn || has_work(r)) && due > now + BACKOFF_FIRST_MS)
		due = now + BACKOFF_FIRST_MS;
	if (due == UINT64_MAX)
		timer_del(r->loop, &r->retry);
	else
		timer_set(r->loop, &r->retry, due > now ? due - now : 1);
}

/* ---- what is told ---- */

/* The first of an endpoint's objects that is not in the kernel; 0 when all are. */
static int endpoint_rc(const struct owner *o, const char **why)
{
	*why = "";
	for (const struct want *w = o->wants; w; w = w->owner_next) {
		if (w->object->wants != w) {
			*why = "the address belongs to another attachment";
			return -EADDRINUSE;
		}
		if (w->object->state != STATE_OK) {
			*why = w->object->why ? w->object->why : "the route is not in the kernel";
			return w->object->rc ? w->object->rc : -EAGAIN;
		}
	}
	return 0;
}

/* Other reconcilers write rc too: only what we put there is taken back. */
static void endpoint_report(struct route *r, struct owner *o)
{
	struct endpoint *e = table_find(&r->model->endpoints, o->key);
	const char *why;
	int rc = endpoint_rc(o, &why);

	if (!e)
		return;
	if (rc && (!e->rc || o->reported)) {
		e->of_rules = false;
		e->rc = rc;
		str_copy(e->why, sizeof e->why, why);
		o->reported = true;
	} else if (!rc && o->reported) {
		e->rc = 0;
		e->why[0] = '\0';
		o->reported = false;
	}
}

static void owners_report(struct route *r)
{
	for (unsigned i = 0; i < r->touched.count; i++) {
		struct owner *o = r->touched.at[i];

		if (o->kind == OWNER_ENDPOINT)
			endpoint_report(r, o);
		o->touched = false;
		owner_release(r, o);
	}
	r->touched.count = 0;
}

static void troubled_tidy(struct route *r)
{
	const struct object *first = NULL;
	unsigned kept = 0, failures = 0;

	for (unsigned i = 0; i < r->troubled.count; i++) {
		struct object *o = r->troubled.at[i];

		if (o->state == STATE_OK) {
			o->troubled = false;
			object_release(r, o);
			continue;
		}
		r->troubled.at[kept++] = o;
		if (o->state == STATE_FAILED && !failures++)
			first = o;
	}
	r->troubled.count = kept;
	if (failures == r->failures)
		return;
	r->failures = failures;
	if (failures)
		model_problem(r->model, "route", "routes", "", "%u not in the kernel, as %s", failures, first->why);
	else
		model_problem_clear(r->model, "route", "routes");
}

/* ---- the pass ---- */

static bool is_leftover(const struct object *o)
{
	if (o->wants)
		return false;
	for (const struct kernel_route *k = o->routes; k; k = k->next)
		if (route_is_ours(&k->route))
			return true;
	return o->present;
}

/* From the moment on that deleting is allowed, what nobody wants is to go. */
static void leftovers_mark(struct route *r)
{
	bool pods = object_may_delete(r, true), cluster = object_may_delete(r, false);
	bool now = (pods && !r->swept_pods) || (cluster && !r->swept_cluster);

	r->swept_pods = pods;
	r->swept_cluster = cluster;
	if (!now)
		return;
	hash_each(&r->objects, n) {
		struct object *o = container_of(n, struct object, node);

		if (is_leftover(o))
			object_mark(r, o);
	}
	tunnel_each(t)
		r->devices[t].marked = true;
}

static bool model_concerns_us(const struct route *r)
{
	const struct model *m = r->model;

	return !r->started || m->endpoints.dirty || m->blocks.dirty || m->nodes.dirty || m->pools.dirty || m->uplinks.dirty;
}

void route_run(struct route *r)
{
	bool worked = false;

	r->lines = 0;
	if (model_concerns_us(r))
		want_update(r);
	leftovers_mark(r);
	for (int round = 0; round < ROUNDS && has_work(r); round++) {
		worked = true;
		if (r->lost)
			have_dump(r);
		else if (r->surprised)
			have_dump_routes(r);
		r->surprised = false;
		leftovers_mark(r);
		devices_apply(r);
		objects_apply(r, round > 0);
	}
	if (r->touched.count)
		owners_report(r);
	if (!worked)
		return;
	troubled_tidy(r);
	retry_arm(r);
}

bool route_tried(const struct route *r)
{
	return r->started && !r->torn && !has_work(r);
}

struct route *route_new(struct loop *l, struct model *m, struct err *e)
{
	struct route *r = xcalloc(1, sizeof *r);

	r->loop = l;
	r->model = m;
	r->lost = true;
	r->command.fd = r->events.fd = -1;
	r->retry.fn = on_retry;
	devices_init(r);
	if (have_open(r, e) < 0) {
		route_free(r);
		return NULL;
	}
	return r;
}

void route_free(struct route *r)
{
	if (!r)
		return;
	timer_del(r->loop, &r->retry);
	have_close(r);
	objects_free(r);
	free(r);
}
