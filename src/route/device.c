/*
 * The tunnel devices: vxlan.calico for the IPv4 underlay, vxlan-v6.calico for
 * the IPv6 one.  VNI, port, local address and learning cannot be altered: a
 * device of ours that differs there is made again.  It is bound to no uplink, so that it
 * outlives one.  A link of the name that is no VXLAN device is somebody else's and stays.
 */
#include "route/route_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include "base/log.h"
#include "base/util.h"

enum { TUNNEL_VNI = 4096, TUNNEL_PORT = 4789 };

static const char *const names[FAMILIES] = { "vxlan.calico", "vxlan-v6.calico" };

void devices_init(struct route *r)
{
	for (int f = 0; f < FAMILIES; f++) {
		struct rtnl_link *want = &r->devices[f].want;

		str_copy(want->name, sizeof want->name, names[f]);
		want->vni = TUNNEL_VNI;
		want->port = TUNNEL_PORT;
	}
}

int device_named(const struct route *r, const char *name)
{
	for (int f = 0; f < FAMILIES; f++)
		if (strcmp(r->devices[f].want.name, name) == 0)
			return f;
	return -1;
}

int device_of(const struct route *r, int index)
{
	for (int f = 0; f < FAMILIES; f++)
		if (index && r->devices[f].have.index == index)
			return f;
	return -1;
}

/* ---- want ---- */

static bool family_has_tunnels(const struct route *r, int f)
{
	for (unsigned i = 0; i < r->pool_count; i++)
		if (r->pools[i].cidr.addr.family == family_of(f) &&
		    (r->pools[i].encapsulation == ENCAP_VXLAN || r->pools[i].encapsulation == ENCAP_VXLAN_CROSS_SUBNET))
			return true;
	return false;
}

/* Our own tunnel address: what ipam holds, and before it has looked, what our Node object says. */
static struct addr own_tunnel(const struct route *r, const struct node *self, int f)
{
	if (r->model->tunnel[f].family || !self)
		return r->model->tunnel[f];
	return self->vxlan[f];
}

static void device_want(struct route *r, int f)
{
	struct device *d = &r->devices[f];
	struct owner *o = owner_begin(r, OWNER_DEVICE, names[f]);
	const struct uplink *up = model_uplink(r->model);
	const struct node *self = model_self(r->model);
	struct addr tunnel = own_tunnel(r, self, f);

	d->marked = true;
	d->needed = family_has_tunnels(r, f);
	d->wanted = d->needed && self && up && up->address[f].addr.family && tunnel.family;
	if (d->needed && tunnel.family) {
		struct prefix address = prefix_host(&tunnel);
		struct object_key k = key_addr(f, &address);

		want_add(r, o, &k, WANT_CLUSTER, &(struct spec){ 0 });
	}
	owner_end(r, o);
	if (!d->wanted)
		return;
	memcpy(d->want.mac, self->vxlan_mac[f], sizeof d->want.mac);
	d->want.local = up->address[f].addr;
	d->want.mtu = (up->mtu[f] ? up->mtu[f] : 1500) - encapsulation_overhead(ENCAP_VXLAN, family_of(f));
}

/* ---- want against have ---- */

static bool is_ours(const struct device *d)
{
	return !strcmp(d->have.kind, "vxlan") && d->have.vni == TUNNEL_VNI;
}

static bool must_remake(const struct device *d)
{
	return d->have.vni != d->want.vni || d->have.port != d->want.port || d->have.learning ||
	       !addr_equal(&d->have.local, &d->want.local);
}

/* Because it must be another, or because no pool uses it.  An uplink without an address for a moment is no reason. */
static bool must_go(const struct device *d)
{
	if (!d->have.index || strcmp(d->have.kind, "vxlan") != 0)
		return false;
	return d->wanted ? must_remake(d) : !d->needed && is_ours(d);
}

int device_ready(const struct route *r, int family)
{
	const struct device *d = &r->devices[family];

	return d->wanted && is_ours(d) && !must_remake(d) && d->have.flags & IFF_UP ? d->have.index : 0;
}

void devices_want(struct route *r)
{
	for (int f = 0; f < FAMILIES; f++) {
		bool was_ready = device_ready(r, f);

		device_want(r, f);
		if (!was_ready && device_ready(r, f))
			troubled_mark(r, r->devices[f].have.index);
	}
}

/* What stood on a device that is gone, went with it. */
static void forget_objects(struct route *r, int f)
{
	hash_each(&r->objects, n) {
		struct object *o = container_of(n, struct object, node);

		if (o->key.kind == OBJECT_ROUTE ? o->wants && o->wants->spec.tunnel != 1 + f : o->key.device != f)
			continue;
		if (o->key.kind != OBJECT_ROUTE)
			o->present = false;
		if (o->wants || o->key.kind != OBJECT_ROUTE)
			object_mark(r, o);
	}
}

void device_seen(struct route *r, int family, const struct rtnl_link *l)
{
	struct device *d = &r->devices[family];
	int index = l ? l->index : 0, before = d->have.index;
	bool was_ready = device_ready(r, family);

	d->have = l ? *l : (struct rtnl_link){ 0 };
	d->marked = true;
	if (index != before) {
		forget_objects(r, family);
		rtnl_neigh_filter(&r->events, r->devices[0].have.index, r->devices[1].have.index);
		if (index && !d->making)
			r->lost = true;		/* somebody else made it: what is on it? */
	} else if (!was_ready && device_ready(r, family)) {
		troubled_mark(r, index);
	}
}

/* ---- apply ---- */

static void device_state(struct route *r, struct device *d, enum state state, int rc, const char *why)
{
	bool told = d->state == state && strcmp(d->why, why) == 0;

	d->state = (uint8_t)state;
	d->rc = rc;
	if (state == STATE_FAILED) {
		d->backoff_ms = backoff_next(d->backoff_ms);
		d->due_ms = now_ms() + d->backoff_ms;
	} else {
		d->backoff_ms = 0;
	}
	if (told)
		return;
	str_copy(d->why, sizeof d->why, why);
	if (!*why) {
		model_problem_clear(r->model, "overlay", d->want.name);
		return;
	}
	log_warn("route", "%s", why);
	model_problem(r->model, "overlay", d->want.name, rc == -EOPNOTSUPP ? "a kernel with CONFIG_VXLAN" : "", "%s", why);
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

/* The messages that bring the device to what is wanted; how many. */
static unsigned device_request(struct route *r, struct device *d)
{
	unsigned before = r->command.count;

	if (must_go(d))
		rtnl_link_del(&r->command, d->have.index, d->want.name);
	if (!d->wanted)
		return r->command.count - before;
	if (!d->have.index || must_go(d)) {
		rtnl_vxlan_put(&r->command, &d->want, 0);
		return r->command.count - before;
	}
	if (memcmp(d->have.mac, d->want.mac, sizeof d->want.mac) != 0)
		rtnl_link_mac(&r->command, d->have.index, d->want.name, d->want.mac);
	if (d->have.mtu != d->want.mtu)
		rtnl_link_mtu(&r->command, d->have.index, d->want.name, d->want.mtu);
	if (!(d->have.flags & IFF_UP))
		rtnl_link_up(&r->command, d->have.index, d->want.name);
	return r->command.count - before;
}

static void device_commit(struct route *r, struct device *d, int f)
{
	struct device_commit c = { .route = r, .changes = device_request(r, d) };
	struct nl_answer answer = { on_device_done, on_device_data, &c };
	bool replaced = !d->have.index || must_go(d);
	int old = d->have.index;

	if (!c.changes) {
		device_state(r, d, STATE_OK, 0, "");
		return;
	}
	rtnl_link_get(&r->command, d->want.name, 0);
	d->making = true;
	nl_commit(&r->command, &answer, NULL);
	d->making = false;
	if (c.first) {
		device_state(r, d, STATE_FAILED, c.first, c.text);
		return;
	}
	if (replaced && old)
		have_link_gone(r, old);
	if (replaced)
		log_info("route", "link %s: %s", d->want.name, d->wanted ? "made" : "removed");
	device_state(r, d, d->wanted && !device_ready(r, f) ? STATE_WAITING : STATE_OK, 0, "");
}

/* Why the device cannot be worked on now, as a state; STATE_MISSING: it can. */
static enum state device_obstacle(const struct route *r, const struct device *d)
{
	if (d->wanted && d->have.index && strcmp(d->have.kind, "vxlan") != 0)
		return STATE_CONFLICT;
	if (must_go(d) && (!r->model->complete || r->torn))
		return d->wanted ? STATE_WAITING : STATE_OK;
	return d->wanted || must_go(d) ? STATE_MISSING : STATE_OK;
}

static void device_apply(struct route *r, int f)
{
	struct device *d = &r->devices[f];
	enum state obstacle = device_obstacle(r, d);
	char text[120] = "";

	d->marked = false;
	if (obstacle == STATE_MISSING) {
		device_commit(r, d, f);
		return;
	}
	if (obstacle == STATE_CONFLICT)
		snprintf(text, sizeof text, "link %s: a link of kind \"%s\" has this name and is not touched", d->want.name,
			 d->have.kind);
	device_state(r, d, obstacle, obstacle == STATE_CONFLICT ? -EEXIST : 0, text);
}

void devices_apply(struct route *r)
{
	for (int f = 0; f < FAMILIES; f++)
		if (r->devices[f].marked)
			device_apply(r, f);
}
