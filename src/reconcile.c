#include "reconcile.h"

#include "base/util.h"

static void run_probe(struct pass *p) { route_probe(p->route); }
static void run_ipam(struct pass *p)  { ipam_run(p->ipam); }
static void run_node(struct pass *p)  { node_run(p->node); }
static void run_route(struct pass *p) { route_run(p->route); }
static void run_nft(struct pass *p)   { nft_run(p->nft); }
static void run_cni(struct pass *p)   { cni_after_pass(p->cni); }

static void run_store(struct pass *p)
{
	if (p->model->problems.dirty && p->store->driver->problems)
		p->store->driver->problems(p->store);
}

/*
 * Who decides comes before who writes to the kernel; rules before routes, so that no packet reaches a pod before
 * its policies do; who answers comes behind.
 */
static void (*const steps[])(struct pass *p) = {
	run_probe, run_ipam, run_node, run_nft, run_route, run_cni, run_store,
};

void reconcile(struct pass *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		steps[i](p);
	model_clean(p->model);
}
