/*
 * DEL: the row goes, and with it, in the pass of this turn, route and rules; the
 * link goes to the reaper, which marks it.  Then it is answered: the address is
 * given back meanwhile, by the next agent if this one is killed.  It succeeds for
 * whatever is gone already, and without a namespace.  It never waits for an ADD:
 * one that is under way for the same attachment is ended.
 */
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/util.h"
#include "cni/cni_int.h"

/* A note stays until the address is back; and until then the request, so that a new ADD of the container waits. */
static void del_finish(struct cni_request *r)
{
	if (!r->waiting_pass && (!r->waiting_release || !r->note))
		request_result(r, NULL);
}

static void on_released(void *ctx)
{
	struct cni_request *r = ctx;

	r->waiting_release = false;
	del_finish(r);
}

static void end_adds(struct cni_request *r)
{
	for (struct cni_request *other = r->cni->requests, *next; other && other != r; other = next) {
		next = other->next;
		if (other->adding && other->conn && strcmp(other->key, r->key) == 0)
			add_give_up(other, "deleted while it was being added");
	}
}

/* A handle is the container's: does another attachment of it hold addresses, or is about to? */
static bool handle_is_shared(const struct cni_request *r)
{
	const uint32_t hash = fnv32a(r->handle, strlen(r->handle));
	const struct endpoint *ep;

	for (const struct cni_request *other = r->cni->requests; other; other = other->next)
		if (other->waiting_address && other->conn && strcmp(other->handle, r->handle) == 0)
			return true;
	table_each(&r->cni->model->endpoints, ep)
		if (ep->handle_hash == hash && strcmp(ep->handle, r->handle) == 0 && strcmp(ep->row.key, r->key) != 0)
			return true;
	return false;
}

void del_begin(struct cni_request *r)
{
	struct cni *c = r->cni;
	const struct endpoint *ep;

	end_adds(r);
	if (!c->model->endpoints_known) {	/* the pod, if it lives, has no row yet: the note is followed when it has */
		request_note(r);
		return;
	}
	ep = table_find(&c->model->endpoints, r->key);
	if (ep)
		r->handle = arena_str(&r->mem, ep->handle);	/* the network may have another name by now */
	r->waiting_pass = true;
	r->waiting_release = ep || !handle_is_shared(r);
	if (ep) {
		memcpy(r->ips, ep->ips, sizeof r->ips);
		r->dead_link = ep->ifindex;
		shape_drop(c, ep);
		if (ports_kept(ep))
			ports_forget(c, r->container, r->ifname);
		table_del(&c->model->endpoints, r->key);
	}
}

void del_after_pass(struct cni_request *r)
{
	const bool release = r->waiting_release;

	r->waiting_pass = false;
	if (r->dead_link)
		reaper_take(r->cni->reaper, &r->cni->nl, r->dead_link);	/* not before: its deletion holds up the route's */
	del_finish(r);
	if (release)
		ipam_release(r->cni->ipam, r->handle, handle_is_shared(r) ? r->ips : NULL, on_released, r);
}

/* Its time is up; the release stays queued.  A note waits until that is done. */
void del_give_up(struct cni_request *r, const char *why)
{
	(void)why;
	if (!r->note)
		request_result(r, NULL);
}
