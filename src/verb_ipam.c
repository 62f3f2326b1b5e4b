/* `manx ipam check` and `manx ipam release`. */
#include "verbs.h"

#include <string.h>

#include "base/util.h"
#include "status.h"
#include "wire/json.h"

enum { FIX_LOOK_MS = 50, FIX_MS = 5000 };

/* False, and refused: not everything is known. */
static bool may_look(const struct agent *a, struct ctl_call *c)
{
	if (!a->model.complete || a->store.state == STORE_AWAY)
		ctl_refuse(c, EXIT_DATASTORE, "datastore %s: %s", a->store.driver->name, store_state_text(&a->store));
	else if (!a->model.endpoints_known)
		ctl_refuse(c, EXIT_BUSY, "the agent has not yet looked which pods live here");
	else
		return true;
	return false;
}

/* --- check --- */

struct check {
	struct agent *agent;
	struct ctl_call *call;
	struct ipam_findings found;
	bool fix;
	struct timer timer;
	uint64_t until;			/* of the wait for what --fix began */
};

/* An ADD that has its address has not yet its link. */
static void adding_leave_out(struct check *k)
{
	for (struct ipam_finding **at = &k->found.first; *at; )
		if (!(*at)->duplicate && cni_is_adding(k->agent->pass.cni, (*at)->handle))
			*at = (*at)->next;
		else
			at = &(*at)->next;
}

static void put_json_list(struct json_out *o, const struct check *k, bool duplicate)
{
	json_open(o, duplicate ? "duplicate" : "leaked", '[');
	for (const struct ipam_finding *f = k->found.first; f; f = f->next) {
		if (f->duplicate != duplicate)
			continue;
		json_open(o, NULL, '{');
		json_put_string(o, "address", addr_text(&f->address).s);
		json_put_string(o, "block", f->block);
		json_put_string(o, "node", f->node);
		json_put_string(o, "handle", f->handle);
		json_put_string(o, "reason", f->reason);
		if (k->fix && !duplicate)
			json_put_bool(o, "freed", f->freed);
		json_close(o, '}');
	}
	json_close(o, ']');
}

static void put_json(const struct check *k)
{
	struct json_out o = { .to = &k->call->out };

	json_open(&o, NULL, '{');
	put_json_list(&o, k, false);
	put_json_list(&o, k, true);
	json_close(&o, '}');
	str_puts(o.to, "\n");
}

static void put_text(const struct check *k)
{
	struct str *out = &k->call->out;

	for (const struct ipam_finding *f = k->found.first; f; f = f->next)
		str_printf(out, "%-9s %-18s block %s  node %s  handle %s: %s\n",
			   f->duplicate ? "duplicate" : f->freed ? "freed" : "leaked", addr_text(&f->address).s, f->block,
			   *f->node ? f->node : "-", *f->handle ? f->handle : "-", f->reason);
	if (!k->found.first)
		str_puts(out, "no address is leaked or used twice\n");
}

static void check_end(struct check *k)
{
	int code = EXIT_OK;

	for (const struct ipam_finding *f = k->found.first; f; f = f->next)
		code = f->freed ? code : EXIT_FAILED;
	if (k->call->json)
		put_json(k);
	else
		put_text(k);
	ctl_answer(k->call, code);
	ipam_findings_free(&k->found);
	free(k);
}

/* Is it found no more? */
static bool is_gone(const struct ipam_findings *now, const struct ipam_finding *was)
{
	for (const struct ipam_finding *f = now->first; f; f = f->next)
		if (!f->duplicate && addr_equal(&f->address, &was->address) && strcmp(f->handle, was->handle) == 0)
			return false;
	return true;
}

static void on_fixing(struct timer *t)
{
	struct check *k = container_of(t, struct check, timer);
	struct ipam_findings now;

	if (!ipam_idle(k->agent->pass.ipam) && now_ms() < k->until) {
		timer_set(&k->agent->loop, t, FIX_LOOK_MS);
		return;
	}
	ipam_check(k->agent->pass.ipam, &now);
	for (struct ipam_finding *f = k->found.first; f; f = f->next)
		f->freed = !f->duplicate && is_gone(&now, f);
	ipam_findings_free(&now);
	check_end(k);
}

static void fix_begin(struct check *k)
{
	k->until = now_ms() + FIX_MS;
	for (const struct ipam_finding *f = k->found.first; f; f = f->next)
		if (!f->duplicate)
			ipam_release_one(k->agent->pass.ipam, f->handle, &f->address, NULL, NULL);
	timer_set(&k->agent->loop, &k->timer, FIX_LOOK_MS);
}

void verb_ipam_check(void *ctx, struct ctl_call *c)
{
	struct agent *a = ctx;
	struct check *k;

	if (!may_look(a, c))
		return;
	k = xcalloc(1, sizeof *k);
	*k = (struct check){ .agent = a, .call = c, .fix = c->count && strcmp(c->words[0], "--fix") == 0,
			     .timer = { .fn = on_fixing } };
	ipam_check(a->pass.ipam, &k->found);
	adding_leave_out(k);
	if (k->fix)
		fix_begin(k);
	else
		check_end(k);
}

/* --- release --- */

static void on_released(void *ctx)
{
	ctl_answer(ctx, EXIT_OK);
}

void verb_ipam_release(void *ctx, struct ctl_call *c)
{
	struct agent *a = ctx;
	struct err e = { 0 };
	struct addr address;
	const char *handle;

	if (!c->count || addr_parse(&address, c->words[0], &e) < 0) {
		ctl_refuse(c, EXIT_USAGE, "ipam release: %s", e.code ? e.text : "want an ADDRESS");
		return;
	}
	if (!may_look(a, c))
		return;
	handle = ipam_releasable(a->pass.ipam, &address, &e);
	if (!handle || cni_is_adding(a->pass.cni, handle)) {
		ctl_refuse(c, EXIT_FAILED, "%s", handle ? "a pod is being added with that address" : e.text);
		return;
	}
	str_printf(&c->out, "released %s\n", addr_text(&address).s);
	ipam_release_one(a->pass.ipam, handle, &address, on_released, c);
}
