#ifndef ROUTE_ROUTE_H
#define ROUTE_ROUTE_H
/*
 * The reconciler of links, addresses, neighbours and routes.  want.c turns
 * dirty rows into wanted objects, have.c mirrors the kernel's (one dump at
 * start, then events), apply.c sends the difference.
 */
#include "base/loop.h"
#include "base/str.h"
#include "model/model.h"

struct route;

/* Opens its netlink sockets.  NULL with *e. */
struct route *route_new(struct loop *l, struct model *m, struct err *e);
void route_free(struct route *r);	/* leaves the kernel as it is */

/*
 * Before ipam's part of the pass: finds out by doing what the kernel can, when a new pool depends on
 * it (model->kernel_ipip).  Loads the ipip module where there is one.
 */
void route_probe(struct route *r);

/*
 * The pass.  Cheap when nothing is dirty.  Failures of an endpoint's objects are put into its row
 * (rc, why); all failures are logged once, retried with back-off, and shown by route_show().
 * Deletes nothing before model->complete.
 */
void route_run(struct route *r);

/* `manx routes`: each wanted route, what the kernel has, conflicts with foreign routes. */
void route_show(struct route *r, struct str *out, bool json);
/* True when everything wanted was tried at least once: what does not fit is named, and does not keep a node from being ready. */
bool route_tried(const struct route *r);

struct overlay_status {
	const char *mode, *device;	/* "ipip", "tunl0"; of several IPv4's; "" when no overlay is on */
	unsigned mtu, peers;
	char problem[160];
};
void route_overlay_status(const struct route *r, struct overlay_status *out);

#endif
