/*
 * DEL: the row goes, and with it, in the pass of this turn, route and rules; the
 * link goes to the reaper; the address is given back.  It succeeds for whatever
 * is gone already, and without a namespace.
 */
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "cni/cni_int.h"

static void del_finish(struct cni_request *r)
{
	if (!r->waiting_pass && !r->waiting_release)
		request_result(r, NULL);
}

static void on_released(void *ctx)
{
	struct cni_request *r = ctx;

	r->waiting_release = false;
	del_finish(r);
}

/* Another interface of the same sandbox has addresses under the same handle. */
static bool handle_is_shared(const struct cni_request *r)
{
	const struct endpoint *ep;

	table_each(&r->cni->model->endpoints, ep)
		if (strcmp(ep->handle, r->handle) == 0)
			return true;
	return false;
}

/* An ADD of the same key that is still under way ends here. */
static void cancel_adds(const struct cni_request *r)
{
	for (struct cni_request *q = r->cni->requests, *next; q; q = next) {
		next = q->next;
		if (q != r && q->adding && q->key && strcmp(q->key, r->key) == 0)
			add_cancel(q, "deleted while it was being added");
	}
}

void del_begin(struct cni_request *r)
{
	struct cni *c = r->cni;
	const struct endpoint *ep;

	cancel_adds(r);
	ep = table_find(&c->model->endpoints, r->key);
	timer_set(c->loop, &r->deadline, CNI_DEL_MS);
	r->waiting_pass = r->waiting_release = true;
	if (ep) {
		struct addr ips[FAMILIES];

		memcpy(ips, ep->ips, sizeof ips);
		r->dead_link = ep->ifindex;
		table_del(&c->model->endpoints, r->key);
		ipam_release(c->ipam, r->handle, ips, on_released, r);
	} else if (handle_is_shared(r)) {
		r->waiting_release = false;
	} else {
		ipam_release(c->ipam, r->handle, NULL, on_released, r);
	}
}

void del_after_pass(struct cni_request *r)
{
	r->waiting_pass = false;
	if (r->dead_link)
		reaper_take(r->cni->reaper, r->dead_link);	/* not before: its deletion holds up the route's */
	del_finish(r);
}
