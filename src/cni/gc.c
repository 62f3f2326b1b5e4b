/*
 * GC: the runtime lists the attachments that it knows of a network; what is neither
 * listed nor live is given back: the row of an attachment whose link is gone, and
 * addresses that blocks give to containers without one.  A pod that lives without
 * being listed is kept: a wrong list must not cut it off.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "cni/cni_int.h"

struct listed { const char *container, *ifname; };

static int read_listed(struct json_ctx *c, json_value v, void *item)
{
	static const struct json_field fields[] = {
		{ "containerID", offsetof(struct listed, container), json_read_string, true },
		{ "ifname", offsetof(struct listed, ifname), json_read_string, true },
	};

	return json_fields(c, v, fields, ARRAY_SIZE(fields), item);
}

struct list { struct listed *item; unsigned count; bool given; };

static int read_list(struct json_ctx *c, json_value v, void *field)
{
	struct list *l = field;
	void *items = NULL;
	int rc = json_array(c, v, sizeof *l->item, read_listed, &items, &l->count);

	l->item = items;
	l->given = true;
	return rc;
}

/* libcni gives the list by both names, older ones by the second alone. */
struct gc {
	struct cni_request *r;
	struct list lists[2];
};

static int read_lists(struct gc *gc, struct err *e)
{
	static const char *const names[] = { "cni.dev/valid-attachments", "cni.dev/attachments" };
	struct json_ctx c = { .j = &gc->r->conf, .mem = &gc->r->mem, .e = e };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {	/* no table's rows: there a dot leads into an object */
		json_value v = json_get(c.j, 0, names[i]);

		if (json_type(c.j, v) != JSON_NULL && read_list(&c, v, &gc->lists[i]) < 0)
			return -EINVAL;
	}
	return gc->lists[0].given || gc->lists[1].given ? 0 : err_set(e, EINVAL, "no cni.dev/valid-attachments");
}

/* ifname NULL: by any. */
static bool is_listed(const struct gc *gc, const char *container, const char *ifname)
{
	for (size_t i = 0; i < ARRAY_SIZE(gc->lists); i++)
		for (unsigned k = 0; k < gc->lists[i].count; k++) {
			const struct listed *at = &gc->lists[i].item[k];

			if (strcmp(at->container, container) == 0 && (!ifname || strcmp(at->ifname, ifname) == 0))
				return true;
		}
	return false;
}

static bool is_live(struct cni *c, const struct endpoint *ep)
{
	struct rtnl_link l;

	return link_look(&c->nl, NULL, ep->ifindex, &l, NULL) == 0;
}

static void drop_dead(struct gc *gc)
{
	struct cni *c = gc->r->cni;
	const struct endpoint *ep;

	table_each(&c->model->endpoints, ep) {
		if (strcmp(ep->network, gc->r->network) != 0 || is_listed(gc, ep->container, ep->ifname) || is_live(c, ep))
			continue;
		log_info("cni", "GC: %s is gone and nobody's", ep->row.key);
		shape_drop(c, ep);
		ports_forget(c, ep->container, ep->ifname);
		table_del(&c->model->endpoints, ep->row.key);
	}
}

static void on_released(void *ctx)
{
	struct cni_request *r = ctx;

	if (--r->releasing)
		return;
	r->waiting_release = false;
	request_result(r, NULL);	/* or it has been answered */
}

/* Of a container of that network that nobody lists. */
static bool is_garbage(const struct gc *gc, const struct ipam_finding *f)
{
	const size_t len = strlen(gc->r->network);

	return !f->duplicate && model_is_self(gc->r->cni->model, f->node) &&
	       str_prefix(f->handle, gc->r->network) && f->handle[len] == '.' && !is_listed(gc, f->handle + len + 1, NULL) &&
	       !cni_is_adding(gc->r->cni, f->handle);
}

/* calico-ipam holds it for an interface of this network that nobody lists. */
static bool is_nobodys(const struct gc *gc, const char *handle)
{
	struct cni_request *r = gc->r;

	if (!addresses_of_network(handle, r->network) || cni_is_adding(r->cni, handle))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(gc->lists); i++)
		for (unsigned k = 0; k < gc->lists[i].count; k++) {
			const struct listed *at = &gc->lists[i].item[k];

			if (strcmp(addresses_handle(&r->mem, r->network, at->container, at->ifname), handle) == 0)
				return false;
		}
	return true;
}

static void on_delegated(void *ctx, const struct block_attribute *a, const struct addr *ip)
{
	struct gc *gc = ctx;

	if (!is_nobodys(gc, a->handle))
		return;
	log_info("cni", "GC: address %s of %s is nobody's, given back", addr_text(ip).s, a->handle);
	gc->r->releasing++;
	ipam_release_one(gc->r->cni->ipam, a->handle, ip, on_released, gc->r);
}

static void give_back(struct gc *gc)
{
	struct cni_request *r = gc->r;
	struct ipam_findings found;

	ipam_check(r->cni->ipam, &found);
	for (const struct ipam_finding *f = found.first; f; f = f->next) {
		if (!is_garbage(gc, f))
			continue;
		log_info("cni", "GC: address %s of %s: %s, given back", addr_text(&f->address).s, f->handle, f->reason);
		r->releasing++;
		ipam_release_one(r->cni->ipam, f->handle, &f->address, on_released, r);
	}
	ipam_findings_free(&found);
}

void gc_begin(struct cni_request *r)
{
	struct gc gc = { .r = r };
	struct err e = { 0 };

	if (read_lists(&gc, &e) < 0) {
		request_fail(r, CNI_CONFIG, "%s", e.text);
		return;
	}
	if (!r->addresses)
		drop_dead(&gc);
	r->waiting_pass = true;
}

void gc_after_pass(struct cni_request *r)
{
	struct gc gc = { .r = r };

	r->waiting_pass = false;
	read_lists(&gc, &(struct err){ 0 });
	if (r->addresses)
		ipam_each_own(r->cni->ipam, on_delegated, &gc);
	else
		give_back(&gc);
	r->waiting_release = r->releasing;
	if (!r->waiting_release)
		request_result(r, NULL);
}

void gc_give_up(struct cni_request *r, const char *why)
{
	request_fail(r, CNI_TRY_LATER, "%s", why);
}
