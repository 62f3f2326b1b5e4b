/*
 * The tunnel devices, one for each kind of tunnel that some pool asks for.
 *
 * A VXLAN device is ours whole, and says so in its alias, by which it is known again
 * under another name.  VNI, port, local address and learning cannot be altered: one that
 * differs there is made again.  It is bound to no uplink, so that it outlives one.
 *
 * tunl0 is the kernel's own: it comes with the ipip module (which asking for a link
 * loads), sends to where each route's gateway says, takes from anywhere, and cannot be
 * deleted.  It is taken over, with our name as its alias, and given back down.
 *
 * A link of the name that is something else is somebody else's and stays.
 */
#include "route/route_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/util.h"

enum { TUNNEL_VNI = 4096, TUNNEL_PORT = 4789 };

void devices_init(struct route *r)
{
	tunnel_each(t) {
		struct device *d = &r->devices[t];

		d->kind = &tunnel_kinds[t];
		str_copy(d->want.name, sizeof d->want.name, d->kind->device);
		str_copy(d->want.kind, sizeof d->want.kind, d->kind->link);
		str_copy(d->want.alias, sizeof d->want.alias, "manx");
		if (!d->kind->fallback) {
			d->want.vni = TUNNEL_VNI;
			d->want.port = TUNNEL_PORT;
		}
	}
}

static enum tunnel device_named(const struct route *r, const char *name)
{
	tunnel_each(t)
		if (strcmp(r->devices[t].want.name, name) == 0)
			return t;
	return TUNNEL_NONE;
}

/* By its name; else by what we gave it, since somebody may have renamed it while no agent ran. */
enum tunnel device_like(const struct route *r, const struct rtnl_link *l)
{
	enum tunnel named = device_named(r, l->name);

	tunnel_each(t) {
		const struct device *d = &r->devices[t];

		if (!named && strcmp(l->alias, d->want.alias) == 0 && strcmp(l->kind, d->want.kind) == 0 && l->vni == d->want.vni &&
		    (!l->local.family || l->local.family == family_of(d->kind->family)) &&
		    (l->index == d->have.index || strcmp(d->have.name, d->want.name) != 0))
			return t;
	}
	return named;
}

enum tunnel device_of(const struct route *r, int index)
{
	tunnel_each(t)
		if (index && r->devices[t].have.index == index)
			return t;
	return TUNNEL_NONE;
}

/* ---- want ---- */

static bool a_pool_needs(const struct route *r, enum tunnel t)
{
	for (unsigned i = 0; i < r->pool_count; i++)
		if (encapsulation_tunnel(r->pools[i].encapsulation, r->pools[i].cidr.addr.family) == t)
			return true;
	return false;
}

/* Our own tunnel address: what ipam holds, and before it has looked, what our Node object says. */
static struct addr own_address(const struct route *r, enum tunnel t)
{
	const struct node *self = model_self(r->model);

	return r->model->tunnel[t].family || !self ? r->model->tunnel[t] : self->tunnel[t];
}

static void device_want(struct route *r, enum tunnel t)
{
	struct device *d = &r->devices[t];
	struct owner *o = owner_begin(r, OWNER_DEVICE, d->want.name);
	const struct uplink *up = model_uplink(r->model);
	const struct node *self = model_self(r->model);
	struct addr own = own_address(r, t);
	int f = d->kind->family;

	d->marked = true;
	d->needed = a_pool_needs(r, t);
	d->wanted = d->needed && up && up->address[f].addr.family && (!d->kind->by_address || (self && own.family));
	if (d->needed && own.family) {
		struct prefix address = prefix_host(&own);
		struct object_key k = key_addr(t, &address);

		want_add(r, o, &k, WANT_CLUSTER, &(struct spec){ 0 });
	}
	owner_end(r, o);
	if (!d->wanted)
		return;
	d->want.mtu = (up->mtu[f] ? up->mtu[f] : 1500) - d->kind->overhead;
	if (d->kind->by_address) {
		memcpy(d->want.mac, self->vxlan_mac[f], sizeof d->want.mac);
		d->want.local = up->address[f].addr;
	}
}

/* ---- want against have ---- */

/* In what cannot be altered. */
static bool differs(const struct device *d)
{
	return d->have.vni != d->want.vni || d->have.port != d->want.port || d->have.learning || d->have.remote.family ||
	       !addr_equal(&d->have.local, &d->want.local);
}

static bool is_foreign(const struct device *d)
{
	return strcmp(d->have.kind, d->want.kind) != 0 || (d->kind->fallback && differs(d));
}

static bool is_ours(const struct device *d)
{
	if (!d->have.index || is_foreign(d))
		return false;
	return d->kind->fallback ? !strcmp(d->have.alias, d->want.alias) : d->have.vni == TUNNEL_VNI;
}

/* Because it must be another, or because no pool uses it.  An uplink without an address for a moment is no reason. */
static bool must_go(const struct device *d)
{
	if (!d->have.index || is_foreign(d))
		return false;
	return d->wanted ? differs(d) : !d->needed && is_ours(d);
}

int device_ready(const struct route *r, enum tunnel t)
{
	const struct device *d = &r->devices[t];

	return d->wanted && !is_foreign(d) && !differs(d) && d->have.flags & IFF_UP ? d->have.index : 0;
}

bool device_is_lacking(const struct route *r, enum tunnel t)
{
	return r->devices[t].state == STATE_FAILED && r->devices[t].rc == -EOPNOTSUPP;
}

void devices_want(struct route *r)
{
	tunnel_each(t) {
		bool was_ready = device_ready(r, t);

		device_want(r, t);
		if (!was_ready && device_ready(r, t))
			troubled_mark(r, r->devices[t].have.index);
	}
}

/* What stood on a device that is gone, went with it; what would go through it is to be looked at. */
static void forget_objects(struct route *r, enum tunnel t)
{
	hash_each(&r->objects, n) {
		struct object *o = container_of(n, struct object, node);

		if (o->key.kind == OBJECT_ROUTE ? o->wants && o->wants->spec.tunnel != t : o->key.device != t)
			continue;
		if (o->key.kind != OBJECT_ROUTE)
			o->present = false;
		if (o->wants || o->key.kind != OBJECT_ROUTE)
			object_mark(r, o);
	}
}

void device_seen(struct route *r, enum tunnel t, const struct rtnl_link *l)
{
	struct device *d = &r->devices[t];
	int index = l ? l->index : 0, before = d->have.index;
	bool was_ready = device_ready(r, t);

	d->have = l ? *l : (struct rtnl_link){ 0 };
	d->marked = true;
	if (index != before) {
		forget_objects(r, t);
		rtnl_neigh_filter(&r->events, r->devices[TUNNEL_VXLAN].have.index, r->devices[TUNNEL_VXLAN_V6].have.index);
		if (index && !d->making)
			r->lost = true;		/* somebody else made it: what is on it? */
	} else if (!was_ready && device_ready(r, t)) {
		troubled_mark(r, index);
	}
}

/* ---- apply ---- */

static void device_tell(struct route *r, enum tunnel t)
{
	const struct device *d = &r->devices[t];
	char remedy[100] = "";

	if (!*d->why) {
		model_problem_clear(r->model, "overlay", d->want.name);
		return;
	}
	if (device_is_lacking(r, t))
		snprintf(remedy, sizeof remedy, "a kernel with %s, or pools of another mode", d->kind->option);
	log_warn("route", "%s", d->why);
	model_problem(r->model, "overlay", d->want.name, remedy, "%s", d->why);
}

static void device_state(struct route *r, enum tunnel t, enum state state, int rc, const char *why)
{
	struct device *d = &r->devices[t];
	bool told = d->state == state && strcmp(d->why, why) == 0, lacked = device_is_lacking(r, t);

	d->state = (uint8_t)state;
	d->rc = rc;
	d->backoff_ms = state == STATE_FAILED ? backoff_next(d->backoff_ms) : 0;
	d->due_ms = now_ms() + d->backoff_ms;
	if (device_is_lacking(r, t)) {
		d->due_ms = UINT64_MAX;		/* the kernel stays what it is */
		if (!lacked)
			forget_objects(r, t);
	}
	if (told)
		return;
	str_copy(d->why, sizeof d->why, why);
	device_tell(r, t);
}

struct device_commit {
	struct route *route;
	int first;
	unsigned changes;		/* messages before the look at the link */
	char text[160];
};

static void on_device_done(void *ctx, unsigned position, int rc, const char *text)
{
	struct device_commit *c = ctx;

	if (!rc || c->first || position >= c->changes)
		return;
	c->first = rc;
	str_copy(c->text, sizeof c->text, text);
}

static void on_device_data(void *ctx, const struct nlmsghdr *h)
{
	struct device_commit *c = ctx;

	have_link(c->route, h);
}

static void request_removal(struct nl *nl, const struct device *d)
{
	if (d->kind->fallback) {
		rtnl_link_down(nl, d->have.index, d->want.name);
		rtnl_link_alias(nl, d->have.index, d->want.name, "");
	} else {
		rtnl_link_del(nl, d->have.index, d->want.name);
	}
}

static void request_changes(struct nl *nl, const struct device *d)
{
	const struct rtnl_link *want = &d->want, *have = &d->have;

	if (strcmp(have->name, want->name) != 0) {
		rtnl_link_down(nl, have->index, want->name);
		rtnl_link_rename(nl, have->index, want->name);
	}
	if (*want->alias && strcmp(have->alias, want->alias) != 0)
		rtnl_link_alias(nl, have->index, want->name, want->alias);
	if (memcmp(have->mac, want->mac, sizeof want->mac) != 0)
		rtnl_link_mac(nl, have->index, want->name, want->mac);
	if (have->mtu != want->mtu)
		rtnl_link_mtu(nl, have->index, want->name, want->mtu);
	if (!(have->flags & IFF_UP) || strcmp(have->name, want->name) != 0)
		rtnl_link_up(nl, have->index, want->name);
}

static void vxlan_put(struct nl *nl, const struct rtnl_link *want)
{
	rtnl_vxlan_put(nl, want, 0);
	rtnl_link_alias(nl, 0, want->name, want->alias);	/* the kernel takes none with the first message */
}

/* The messages that bring the device nearer to what is wanted; how many. */
static unsigned device_request(struct nl *nl, const struct device *d)
{
	unsigned before = nl->count;

	if (must_go(d))
		request_removal(nl, d);
	if (!d->wanted)
		return nl->count - before;
	if (d->have.index && !must_go(d))
		request_changes(nl, d);
	else if (d->kind->fallback)
		rtnl_ipip_put(nl, d->want.name);	/* its settings follow */
	else
		vxlan_put(nl, &d->want);
	return nl->count - before;
}

/* What came or went meanwhile is no failure. */
static int commit_failure(struct route *r, const struct device *d, int old, struct device_commit *c)
{
	if (c->first == -EEXIST && !old && d->have.index) {	/* with its module, or the mirror was behind: what is on it? */
		r->lost = true;
		return 0;
	}
	if (c->first == -ENODEV && old)		/* its event is on the way */
		return 0;
	if (c->first == -EOPNOTSUPP)
		snprintf(c->text, sizeof c->text, "link %s: the kernel lacks %s, so no pod of another node is reached through it",
			 d->want.name, d->kind->option);
	return c->first;
}

static void device_commit(struct route *r, enum tunnel t)
{
	struct device *d = &r->devices[t];
	struct device_commit c = { .route = r, .changes = device_request(&r->command, d) };
	struct nl_answer answer = { on_device_done, on_device_data, &c };
	bool was_ours = is_ours(d), goes = must_go(d);
	int rc, old = d->have.index;

	if (!c.changes) {
		device_state(r, t, STATE_OK, 0, "");
		return;
	}
	rtnl_link_get(&r->command, d->want.name, 0);
	d->making = true;
	nl_commit(&r->command, &answer, NULL);
	d->making = false;
	rc = commit_failure(r, d, old, &c);
	if (rc) {
		device_state(r, t, STATE_FAILED, rc, c.text);
		return;
	}
	if (goes && !d->kind->fallback)
		have_link_gone(r, old);
	if (goes || (!was_ours && is_ours(d)))
		log_info("route", "link %s: %s", d->want.name, d->wanted ? "set up" : "removed");
	device_state(r, t, d->wanted && !device_ready(r, t) ? STATE_WAITING : STATE_OK, 0, "");
}

/* Why the device cannot be worked on now, as a state; STATE_MISSING: it can. */
static enum state device_obstacle(const struct route *r, const struct device *d)
{
	if (d->wanted && d->have.index && is_foreign(d))
		return STATE_CONFLICT;
	if (must_go(d) && (!r->model->complete || r->torn))
		return d->wanted ? STATE_WAITING : STATE_OK;
	return d->wanted || must_go(d) ? STATE_MISSING : STATE_OK;
}

static void device_apply(struct route *r, enum tunnel t)
{
	struct device *d = &r->devices[t];
	enum state obstacle = device_obstacle(r, d);
	char text[120] = "";

	d->marked = false;
	if (obstacle == STATE_MISSING) {
		device_commit(r, t);
		return;
	}
	if (obstacle == STATE_CONFLICT)
		snprintf(text, sizeof text, "link %s: a link of kind \"%s\"%s has this name and is not touched", d->want.name,
			 d->have.kind, d->have.remote.family || d->have.local.family ? " with fixed ends" : "");
	device_state(r, t, obstacle, obstacle == STATE_CONFLICT ? -EEXIST : 0, text);
}

void devices_apply(struct route *r)
{
	tunnel_each(t)
		if (r->devices[t].marked)
			device_apply(r, t);
}

/* ---- what the kernel can ---- */

void route_probe(struct route *r)
{
	struct model *m = r->model;
	int rc;

	if (m->kernel_ipip != ANSWER_UNKNOWN || !m->complete || m->config->encapsulation != ENCAP_AUTO ||
	    !model_lacks_pools(m, FAMILY_V4))
		return;
	rtnl_ipip_put(&r->command, "manx-probe");
	rtnl_link_del(&r->command, 0, "manx-probe");
	rc = nl_commit(&r->command, NULL, NULL);
	m->kernel_ipip = !rc || rc == -EEXIST ? ANSWER_YES : ANSWER_NO;	/* EEXIST: tunl0 is such a link */
	if (rc && rc != -EEXIST)
		log_info("route", "no %s (%s): new pools of encapsulation auto are VXLAN", tunnel_kinds[TUNNEL_IPIP].option,
			 strerror(-rc));
}
