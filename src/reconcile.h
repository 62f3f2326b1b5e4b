#ifndef RECONCILE_H
#define RECONCILE_H
/*
 * The pass: every turn of the loop, after handlers wrote rows and before the
 * wait, each module that turns rows into something outside runs once.
 */
#include "cni/cni.h"
#include "ipam/ipam.h"
#include "model/model.h"
#include "nft/nft.h"
#include "node/node.h"
#include "route/route.h"

struct pass {
	struct model *model;
	struct ipam *ipam;
	struct node_agent *node;
	struct route *route;
	struct nft *nft;
	struct cni *cni;
	struct store *store;
};

/* Runs them in order, then the answers that waited, then forgets what was dirty. */
void reconcile(struct pass *p);

#endif
