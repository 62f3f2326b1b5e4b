/*
 * ADD: an address of each served family, the link, the endpoint's row; the pass
 * of the same turn puts the route (and the rules) into the kernel, then the
 * answer goes out.  What fails, or is given up, is undone in reverse; an ADD that
 * is repeated undoes only what it has made anew.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "cni/cni_int.h"

enum { CARRIER_TRIES = 100, POD_WAIT_MS = 5000 };

static void on_undone(void *ctx)
{
	struct cni_request *r = ctx;

	r->waiting_release = false;
	request_result(r, NULL);	/* it has been answered */
}

/* Not inside the pass: the row's end must be seen by the next one.  The request stays until the addresses are back. */
static void add_undo(struct cni_request *r)
{
	struct cni *c = r->cni;
	const struct endpoint *ep = r->made ? table_find(&c->model->endpoints, r->key) : NULL;

	if (ep) {
		shape_drop(c, ep);
		reaper_take(c->reaper, &c->nl, ep->ifindex);
		table_del(&c->model->endpoints, r->key);
	}
	if (r->assigned || ep) {
		r->waiting_release = true;
		ipam_release(c->ipam, r->handle, r->ips, on_undone, r);
	}
	if (r->ports_kept && (ep || !table_find(&c->model->endpoints, r->key)))
		ports_forget(c, r->container, r->ifname);
	r->assigned = r->made = r->ports_kept = false;
}

static struct endpoint *endpoint_new(const struct cni_request *r)
{
	const struct endpoint *known = table_find(&r->cni->model->endpoints, r->key);
	struct endpoint *ep = row_new(sizeof *ep);
	struct arena *mem = &ep->row.mem;

	ep->row.key = arena_str(mem, r->key);
	ep->handle = arena_str(mem, r->handle);
	ep->network = arena_str(mem, r->network);
	ep->container = arena_str(mem, r->container);
	ep->ifname = arena_str(mem, r->ifname);
	endpoint_hash(ep);
	ep->pod = arena_str(mem, r->pod);
	ep->namespace = arena_str(mem, r->namespace);
	ep->uid = arena_str(mem, r->uid);
	memcpy(ep->ips, r->ips, sizeof ep->ips);
	if (r->has_mac)
		memcpy(ep->mac, r->mac, sizeof ep->mac);
	else
		end_mac(ep->mac, ep->ips);
	if (known)
		memcpy(ep->host_if, known->host_if, sizeof ep->host_if);
	else
		endpoint_host_if(ep->host_if, ep->namespace, ep->pod, ep->container);
	return ep;
}

/* The link for r->ips. */
static void link_try(struct cni_request *r)
{
	r->link = endpoint_new(r);
	r->link_err = (struct err){ 0 };
	r->link_code = ports_take(r, r->link, &r->link_err);
	if (r->link_code == CNI_OK && link_make(r, r->link, &r->link_code, &r->link_err) == 0)
		r->link_code = CNI_OK;
}

/* It was for other addresses than the request got, or it got none. */
static void link_untry(struct cni_request *r)
{
	if (!r->link)
		return;
	if (r->made)
		reaper_take(r->cni->reaper, &r->cni->nl, r->link->ifindex);
	row_free(&r->link->row);
	r->link = NULL;
	r->made = false;
}

/* No packet leads to it, and no rule lets one out, before its row is there. */
static void on_chosen(struct ipam_request *a)
{
	struct cni_request *r = container_of(a, struct cni_request, ipam);

	if (!r->conn || r->addresses || ports_asked(r))	/* a port is its taker's once the row says so */
		return;
	memcpy(r->ips, a->likely, sizeof r->ips);
	link_try(r);
}

/* The addresses are ours: make the link, then wait for the pass. */
static void add_link(struct cni_request *r)
{
	struct endpoint *ep;

	if (r->link && memcmp(r->link->ips, r->ips, sizeof r->ips) != 0)
		link_untry(r);
	if (!r->link)
		link_try(r);
	ep = r->link;
	r->link = NULL;
	if (r->link_code != CNI_OK) {
		row_free(&ep->row);
		add_undo(r);
		request_fail(r, r->link_code, "%s", r->link_err.text);
		return;
	}
	ep->row.digest = end_digest(ep);
	if (!table_put(&r->cni->model->endpoints, &ep->row))
		table_touch(&r->cni->model->endpoints, &ep->row);
	r->waiting_pass = true;
}

static void add_with_addresses(struct cni_request *r)
{
	if (r->addresses)
		addresses_given(r);
	else
		add_link(r);
}

static void on_address(struct ipam_request *a)
{
	struct cni_request *r = container_of(a, struct cni_request, ipam);

	r->waiting_address = false;
	if (a->code || !r->conn)
		link_untry(r);
	if (a->code) {
		if (r->conn)
			request_fail(r, a->code, "%s", a->err.text);
		else
			request_result(r, NULL);
		return;
	}
	memcpy(r->ips, a->ips, sizeof r->ips);
	r->assigned = true;
	if (!r->conn) {			/* given up meanwhile */
		add_undo(r);
		request_result(r, NULL);
		return;
	}
	add_with_addresses(r);
}

/* A note of an earlier life of this container must not end the new one when an agent next starts. */
static void forget_note(const struct cni_request *r)
{
	char path[CONFIG_PATH_MAX + 256];

	snprintf(path, sizeof path, CNI_NOTE_FORMAT, r->cni->model->config->run_dir, r->container, r->ifname);
	unlink(path);
}

/* A static pod goes by what the kubelet calls it; the object that mirrors it has that as an annotation. */
bool add_knows_pod(const struct cni_request *r)
{
	const struct pod *p;
	char key[400];

	if (r->cni->model->config->datastore.driver != DATASTORE_KUBERNETES || !*r->pod)
		return true;
	snprintf(key, sizeof key, "%s/%s", r->namespace, r->pod);
	p = table_find(&r->cni->model->pods, key);
	if (!p || !*r->uid || strcmp(p->meta.uid, r->uid) == 0)
		return p;
	const char *mirrored = label_find(p->meta.annotations, p->meta.annotation_count, "kubernetes.io/config.mirror");

	return mirrored && strcmp(mirrored, r->uid) == 0;
}

void add_on_pod(struct timer *t)
{
	struct cni_request *r = container_of(t, struct cni_request, pod_wait);

	r->waiting_pod = false;
	if (!add_knows_pod(r))
		log_warn("cni", "ADD %s: no Pod object of %s/%s after %d s: the pod is closed until it comes", r->key, r->namespace,
			 r->pod, POD_WAIT_MS / 1000);
	add_assign(r);
}

void add_begin(struct cni_request *r)
{
	const struct endpoint *known;

	if (r->pod_fd < 0 || r->netns_fd < 0) {
		request_fail(r, CNI_NETNS, "the plugin passed no socket of the pod's namespace");
		return;
	}
	if ((known = table_find(&r->cni->model->endpoints, r->key))) {
		forget_note(r);
		memcpy(r->ips, known->ips, sizeof r->ips);
		memcpy(r->mac, known->mac, sizeof r->mac);
		r->has_mac = true;
		add_link(r);
		return;
	}
	if (add_knows_pod(r)) {
		add_assign(r);
		return;
	}
	r->waiting_pod = true;
	timer_set(r->cni->loop, &r->pod_wait, POD_WAIT_MS);
}

void add_assign(struct cni_request *r)
{
	struct cni *c = r->cni;
	struct err e = { 0 };
	int code;

	forget_note(r);
	/* A loan is known by its pod's link. */
	r->ipam = (struct ipam_request){ .chosen = on_chosen, .done = on_address, .lend = !str_prefix(r->handle, IPAM_DELEGATED),
		.owner = { .handle = r->handle, .node = c->model->config->node_name,
		.pod = *r->pod ? r->pod : NULL, .namespace = *r->pod ? r->namespace : NULL, .wall_ns = wall_ns() } };
	if ((code = wishes_read(r, &e)) != CNI_OK) {
		request_fail(r, code, "%s", e.text);
		return;
	}
	if (r->ips[FAMILY_V4].family || r->ips[FAMILY_V6].family) {	/* not ours to assign */
		add_with_addresses(r);
		return;
	}
	if (!r->ipam.want[FAMILY_V4] && !r->ipam.want[FAMILY_V6]) {
		const bool away = ipam_is_away(c->ipam);

		request_fail(r, away ? IPAM_NO_BLOCK : CNI_NO_ADDRESS, "no IPPool that this node may use%s",
			     away ? ", and the datastore is away" : "");
		return;
	}
	r->waiting_address = true;
	ipam_assign(c->ipam, &r->ipam);
}

/* Of a row whose objects are not in the kernel. */
static int code_of(const struct endpoint *ep)
{
	if (ep->rc == -EAGAIN)
		return CNI_TRY_LATER;
	return ep->rc == -EOPNOTSUPP ? CNI_KERNEL : ep->of_rules ? CNI_RULES : CNI_IO;
}

/* The pass has failed, or was for nobody. */
static void on_later(struct deferred *d)
{
	struct cni_request *r = container_of(d, struct cni_request, later);
	const struct endpoint *ep = table_find(&r->cni->model->endpoints, r->key);
	char why[sizeof ep->why] = "the plugin left before its answer";
	const int code = ep ? code_of(ep) : CNI_TRY_LATER;

	if (ep && ep->rc < 0)
		memcpy(why, ep->why, sizeof why);
	add_undo(r);
	request_fail(r, code, "%s", ep ? why : "deleted while it was being added");
}

/* Rows may be taken away before a pass, not at its end. */
void add_undo_later(struct cni_request *r)
{
	r->later = (struct deferred){ .fn = on_later };
	loop_defer(r->cni->loop, &r->later);
}

/*
 * The host end came up without a carrier, so its queue drops packets until the kernel's link watch, which is
 * asynchronous, has seen the pod's end come up.  Asking ethtool makes newer kernels look at once.  As asynchronous
 * is what makes an IPv6 address the pod's own: it waits for the lock that a deletion of links holds for long.
 */
static void answer_with_carrier(struct cni_request *r, const struct endpoint *ep)
{
	struct end ends[ENDS];

	if (!link_has_carrier(r->cni, ep->host_if) || !link_has_address(r, &ep->ips[FAMILY_V6])) {
		if (r->carrier_tries++ < CARRIER_TRIES) {
			timer_set(r->cni->loop, &r->carrier, 1);
			return;
		}
		log_warn("cni", "%s: not up yet, first packets may be lost", ep->host_if);
	}
	log_debug("cni", "ADD %s: %s %s %s", r->key, ep->host_if, addr_text(&ep->ips[0]).s, addr_text(&ep->ips[1]).s);
	request_result(r, ep);
	/* Nothing runs in the pod yet; and what they keep away, its router advertisements, the rules drop. */
	ends_of(ends, ep, 0);
	end_write_files(&ends[HOST_END]);
}

void add_on_carrier(struct timer *t)
{
	struct cni_request *r = container_of(t, struct cni_request, carrier);
	const struct endpoint *ep = table_find(&r->cni->model->endpoints, r->key);

	if (ep)
		answer_with_carrier(r, ep);
	else
		add_undo_later(r);
}

void add_after_pass(struct cni_request *r)
{
	const struct endpoint *ep = table_find(&r->cni->model->endpoints, r->key);

	if (ep && ep->rc < 0 && !r->made) {	/* a link that has just come up again: the news of it is on its way */
		if (!r->patient)
			timer_set(r->cni->loop, &r->deadline, CNI_PATIENCE_MS);
		r->patient = true;
		return;
	}
	r->waiting_pass = false;
	if (!ep || ep->rc < 0) {
		add_undo_later(r);
		return;
	}
	answer_with_carrier(r, ep);
}

void add_give_up(struct cni_request *r, const char *why)
{
	const struct endpoint *ep = r->patient ? table_find(&r->cni->model->endpoints, r->key) : NULL;

	if (r->waiting_address)		/* on_address() undoes it */
		ipam_cancel(r->cni->ipam, &r->ipam);
	else
		add_undo(r);
	if (r->conn)
		request_fail(r, CNI_TRY_LATER, "%s", ep && ep->rc < 0 ? ep->why : why);
	else
		request_result(r, NULL);
}
