/*
 * ADD: an address of each served family, the link, the endpoint's row; the pass
 * of the same turn puts the route (and the rules) into the kernel, then the
 * answer goes out.  What fails, or is abandoned, is undone in reverse.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/util.h"
#include "cni/cni_int.h"

/* Of a repeated ADD nothing: the pod was there before it. */
void add_undo(struct cni_request *r)
{
	const struct endpoint *ep = table_find(&r->cni->model->endpoints, r->key);

	if (r->repeated)
		return;
	if (ep && ep->ifindex)
		reaper_take(r->cni->reaper, ep->ifindex);
	table_del(&r->cni->model->endpoints, r->key);
	if (r->ips[0].family || r->ips[1].family)
		ipam_release(r->cni->ipam, r->handle, r->ips, NULL, NULL);
}

static struct endpoint *endpoint_new(const struct cni_request *r)
{
	struct endpoint *ep = row_new(sizeof *ep);
	struct arena *mem = &ep->row.mem;

	ep->row.key = arena_str(mem, r->key);
	ep->handle = arena_str(mem, r->handle);
	ep->network = arena_str(mem, r->network);
	ep->container = arena_str(mem, r->container);
	ep->ifname = arena_str(mem, r->ifname);
	ep->pod = arena_str(mem, r->pod);
	ep->namespace = arena_str(mem, r->namespace);
	ep->uid = arena_str(mem, r->uid);
	memcpy(ep->ips, r->ips, sizeof ep->ips);
	link_mac(ep->mac, ep->ips);
	endpoint_host_if(ep->host_if, ep->namespace, ep->pod, ep->container);
	return ep;
}

/* The addresses are ours: make the link, then wait for the pass. */
static void add_link(struct cni_request *r)
{
	struct endpoint *ep = endpoint_new(r);
	struct err e = { 0 };
	int code;

	if (link_make(r, ep, &code, &e) < 0) {
		row_free(&ep->row);
		add_undo(r);
		request_fail(r, code, "%s", e.text);
		return;
	}
	ep->row.digest = fnv64a(ep->ips, sizeof ep->ips) ^ (uint64_t)ep->ifindex;
	if (!table_put(&r->cni->model->endpoints, &ep->row))
		table_touch(&r->cni->model->endpoints, &ep->row);
	r->waiting_pass = true;
}

static void on_address(struct ipam_request *a)
{
	struct cni_request *r = container_of(a, struct cni_request, ipam);

	r->waiting_address = false;
	if (a->code) {
		if (r->conn)
			request_fail(r, a->code, "%s", a->err.text);
		else
			request_result(r, NULL);
		return;
	}
	memcpy(r->ips, a->ips, sizeof r->ips);
	if (!r->conn) {			/* abandoned meanwhile */
		add_undo(r);
		request_result(r, NULL);
		return;
	}
	add_link(r);
}

void add_begin(struct cni_request *r)
{
	struct cni *c = r->cni;
	const struct endpoint *known;
	bool any = false;

	for (struct cni_request *q = c->requests; q; q = q->next)
		if (q != r && q->adding && q->key && strcmp(q->key, r->key) == 0) {
			request_fail(r, CNI_TRY_LATER, "the same ADD is under way");
			return;
		}
	if (!r->adding)
		timer_set(c->loop, &r->deadline, CNI_ADD_MS);
	r->adding = true;
	if (!c->open)
		return;			/* cni_open() comes back here */
	if (r->pod_fd < 0 || r->netns_fd < 0) {
		request_fail(r, CNI_NETNS, "the plugin passed no socket of the pod's namespace");
		return;
	}
	if ((known = table_find(&c->model->endpoints, r->key))) {
		memcpy(r->ips, known->ips, sizeof r->ips);
		r->repeated = true;
		add_link(r);
		return;
	}
	r->ipam = (struct ipam_request){ .done = on_address, .owner = { .handle = r->handle, .node = c->model->config->node_name,
		.pod = *r->pod ? r->pod : NULL, .namespace = *r->pod ? r->namespace : NULL, .wall_ns = wall_ns() } };
	for (int f = 0; f < FAMILIES; f++)
		any |= r->ipam.want[f] = ipam_serves(c->ipam, f, false);
	if (!any) {
		request_fail(r, CNI_NO_ADDRESS, "no IPPool that this node may use");
		return;
	}
	r->waiting_address = true;
	ipam_assign(c->ipam, &r->ipam);
}

void add_after_pass(struct cni_request *r)
{
	const struct endpoint *ep = table_find(&r->cni->model->endpoints, r->key);

	r->waiting_pass = false;
	if (!ep) {
		request_fail(r, CNI_TRY_LATER, "deleted while it was being added");
	} else if (ep->rc < 0) {
		char why[sizeof ep->why];

		memcpy(why, ep->why, sizeof why);
		add_undo(r);
		request_fail(r, CNI_IO, "%s", why);
	} else {
		log_debug("cni", "ADD %s: %s %s %s", r->key, ep->host_if, addr_text(&ep->ips[0]).s, addr_text(&ep->ips[1]).s);
		request_result(r, ep);
	}
}

void add_cancel(struct cni_request *r, const char *why)
{
	if (r->waiting_pass)
		add_undo(r);
	if (r->conn)
		request_fail(r, CNI_TRY_LATER, "%s", why);	/* on_address() undoes what is still to come */
	else if (!r->waiting_address)
		request_result(r, NULL);
}

void add_abandon(struct cni_request *r)
{
	add_cancel(r, "not done within 20 s");
}
