#ifndef ROUTE_ROUTE_INT_H
#define ROUTE_ROUTE_INT_H
/*
 * Inside the route reconciler.
 *
 * An *object* is one thing that the kernel may hold: an address, a neighbour
 * or a forwarding entry of a tunnel device, or what stands at one prefix of the main
 * table.  An *owner* is a row (or a tunnel device) that asks for objects; each
 * such *want* stands in the lists of both.  Of several wants for one object the
 * first in order counts, so what is wanted is a function of the rows alone,
 * whatever the order in which they came.
 *
 * object.c keeps these, want.c fills in the wants, have.c what the kernel
 * has (the mirror).  Whoever changes either marks the object; apply.c visits the
 * marked ones.  The tunnel devices are few and peculiar: device.c.
 */
#include "base/hash.h"
#include "base/loop.h"
#include "model/model.h"
#include "nl/rtnl.h"
#include "route/route.h"

enum object_kind { OBJECT_ADDR, OBJECT_NEIGH, OBJECT_FDB, OBJECT_ROUTE, OBJECT_KINDS };

struct object_key {			/* bytes only, compared and hashed as such */
	uint8_t kind;
	uint8_t device;			/* enum tunnel: whose device; routes: 0 */
	uint8_t mac[6];			/* of a forwarding entry */
	struct prefix dst;
};

struct spec {
	uint8_t type, protocol;		/* of a route */
	bool onlink;
	uint8_t tunnel;			/* enum tunnel: the device that a route leaves through; 0: oif counts */
	int oif;
	struct addr via;		/* gateway; of a forwarding entry the other node */
	uint8_t mac[6];			/* of a neighbour */
};

/* Whose want counts, first to last. */
enum want_slot { WANT_POD, WANT_BORROWED, WANT_CLUSTER };

struct want {
	struct owner *owner;
	struct object *object;
	struct want *owner_next, *object_next;
	uint8_t slot;
	bool stale;
	struct spec spec;
};

enum owner_kind { OWNER_DEVICE, OWNER_NODE, OWNER_BLOCK, OWNER_ENDPOINT };

struct owner {
	struct hash_node node;
	uint8_t kind;
	bool touched;
	bool reported;			/* the endpoint row's rc is ours */
	struct want *wants;
	char *lacking;			/* the node without a tunnel address that this block needs, or NULL */
	char key[];
};

enum state { STATE_OK, STATE_MISSING, STATE_WAITING, STATE_CONFLICT, STATE_FAILED };

struct kernel_route {
	struct kernel_route *next;
	struct rtnl_route route;
	uint32_t seen;
};

struct object {
	struct hash_node node;
	struct object_key key;
	struct want *wants;		/* in order of precedence */
	struct kernel_route *routes;	/* all that the kernel has at this prefix, as far as it concerns us */
	struct spec have;		/* other kinds: via, mac */
	bool present;			/* other kinds: the kernel has it */
	bool marked, troubled;
	bool surprised;			/* EEXIST, though the mirror showed nothing in the way */
	bool complained, conflicting;	/* what the log and the model's problems were told */
	uint8_t state;
	uint32_t seen;
	unsigned backoff_ms;
	uint64_t due_ms;		/* FAILED: when it is tried again */
	int rc, failure;		/* of the state; of the batch at hand */
	char *why, *failure_text;	/* NULL when all is well */
};

/* A link of the host, as far as routes depend on it. */
struct link {
	struct hash_node node;
	int index;
	bool known;			/* false: only routes name it so far */
	unsigned flags;
	unsigned routes;		/* mirrored routes that leave through it */
	uint32_t seen;
	char name[IFNAMSIZ];
};

struct device {
	const struct tunnel_kind *kind;
	bool needed;			/* some pool uses it; otherwise it goes */
	bool wanted;			/* and all is known that it takes: below */
	bool marked, making;
	struct rtnl_link want;		/* name, kind, alias, mac, mtu, vni, port, local */
	struct rtnl_link have;		/* index 0: no link of that name */
	uint8_t state;
	int rc;
	char why[160];
	unsigned backoff_ms;
	uint64_t due_ms;
};

struct object_list { struct object **at; unsigned count, cap; };
struct owner_list { struct owner **at; unsigned count, cap; };
struct op { struct object *object; struct kernel_route *route; bool put; };
struct pool_prefix { struct prefix cidr; enum encapsulation encapsulation; };

struct route {
	struct loop *loop;
	struct model *model;
	struct nl command, events;
	struct watch watch;
	struct timer retry;
	struct hash objects, owners, links;
	struct object_list marked, troubled;
	struct owner_list touched;
	struct op *ops;			/* what the messages of the batch are about */
	unsigned op_count, op_cap;
	struct device devices[TUNNELS];
	struct pool_prefix *pools;	/* usable ones, as last seen */
	unsigned pool_count;
	bool started;			/* every row was looked at once */
	bool lost;			/* the mirror is not to be trusted: dump */
	bool torn;			/* the last dump failed: delete nothing */
	bool surprised;			/* some object is */
	bool swept_pods, swept_cluster;	/* what is unwanted was marked since it may be deleted */
	unsigned lines;			/* logged in this pass */
	unsigned failures;		/* as told in the model's problem "route routes" */
	uint32_t generation;		/* of dumps */
};

/* ---- object.c ---- */

struct object_key key_route(const struct prefix *dst);
struct object_key key_addr(enum tunnel device, const struct prefix *address);
struct object_key key_neigh(enum tunnel device, const struct addr *dst);
struct object_key key_fdb(enum tunnel device, const uint8_t mac[6]);

struct object *object_find(const struct route *r, const struct object_key *k);	/* NULL: not there */
struct object *object_get(struct route *r, const struct object_key *k);		/* made when missing */
void object_mark(struct route *r, struct object *o);
void object_list_add(struct object_list *l, struct object *o);
/* Frees it when nobody wants it and the kernel does not have it. */
void object_release(struct route *r, struct object *o);
struct kernel_route *object_route_add(struct route *r, struct object *o, const struct rtnl_route *have);
void object_route_del(struct route *r, struct object *o, struct kernel_route *k);
void object_route_oif(struct route *r, struct kernel_route *k, int oif);	/* found out later */
void object_touch_owners(struct route *r, struct object *o);
bool spec_equal(const struct spec *a, const struct spec *b);
void objects_free(struct route *r);

/* Between begin and end, want_add() says what the owner wants; the rest of its wants goes. */
struct owner *owner_begin(struct route *r, enum owner_kind kind, const char *key);
void want_add(struct route *r, struct owner *o, const struct object_key *k, enum want_slot slot, const struct spec *s);
void owner_end(struct route *r, struct owner *o);
void owner_touch(struct route *r, struct owner *o);
void owner_release(struct route *r, struct owner *o);	/* when it wants nothing */

struct link *link_find(const struct route *r, int index);	/* a known one, or NULL */
struct link *link_get(struct route *r, int index);
void link_release(struct route *r, struct link *l);	/* when it is not known and no route names it */

/* ---- want.c ---- */

/* Takes in the dirty rows (all rows the first time). */
void want_update(struct route *r);
/* Another node that has what the tunnel needs to reach it. */
bool node_is_peer(const struct route *r, const struct node *n, enum tunnel t);

/* ---- have.c ---- */

int have_open(struct route *r, struct err *e);
void have_close(struct route *r);
void have_dump(struct route *r);		/* everything; sets r->torn when it failed */
void have_dump_routes(struct route *r);
void have_link(struct route *r, const struct nlmsghdr *h);	/* from an event, a dump or an answer */
void have_link_gone(struct route *r, int index);
bool route_is_ours(const struct rtnl_route *have);		/* 171, 172 */

/* ---- device.c ---- */

void devices_init(struct route *r);
void devices_want(struct route *r);	/* from the model */
void devices_apply(struct route *r);
/* The index when the device can carry our objects now, else 0. */
int device_ready(const struct route *r, enum tunnel t);
/* The kernel has no such device: what would go through it goes nowhere. */
bool device_is_lacking(const struct route *r, enum tunnel t);
/* The mirror saw a link of that device's name, or (NULL) saw it go. */
void device_seen(struct route *r, enum tunnel t, const struct rtnl_link *l);
enum tunnel device_like(const struct route *r, const struct rtnl_link *l);	/* which that link is, if one */
enum tunnel device_of(const struct route *r, int index);

/* ---- apply.c ---- */

void objects_apply(struct route *r, bool again);	/* again: after what surprised was read anew */
bool object_may_delete(const struct route *r, bool pod);
/* The route that a want stands for. */
void want_route(const struct route *r, const struct object *o, const struct want *w, struct rtnl_route *out);
/* The foreign route that keeps ours out or shadows it, or NULL. */
const struct kernel_route *route_in_the_way(const struct object *o);
void route_text(const struct route *r, const struct rtnl_route *have, struct str *out);	/* "via A dev B protocol 4 metric 5" */

/* ---- route.c ---- */

unsigned backoff_next(unsigned backoff_ms);
/* All unsettled objects that a change of this link may help (index 0: any gateway). */
void troubled_mark(struct route *r, int index);

#endif
