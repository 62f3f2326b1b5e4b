/* STATUS: could an ADD work now?  And if not, do the pods that are attached lack something too? */
#include "cni/cni_int.h"

/* What stands in an ADD's way, or NULL.  A full pool does not: pods go, and take other nodes' addresses with them. */
static const char *obstacle(const struct cni *c)
{
	const struct model *m = c->model;

	if (m->ipvs_link)
		return "kube-proxy's IPVS mode is not supported, and the link kube-ipvs0 is there";
	if (!m->complete)
		return "the datastore has not been read yet";
	if (!ipam_serves_pods(c->ipam))
		return "no IPPool that this node may use";
	if (!model_uplink(m))
		return "this node's address is not known yet";
	if (!c->open)
		return "the agent is not ready yet";
	return NULL;
}

/* A pod that is not reachable, and why; NULL: all are. */
static const struct endpoint *limited(const struct model *m)
{
	const struct endpoint *ep;

	table_each(&m->endpoints, ep)
		if (ep->rc < 0)
			return ep;
	return NULL;
}

void status_begin(struct cni_request *r)
{
	const char *why = obstacle(r->cni);
	const struct endpoint *ep = why ? limited(r->cni->model) : NULL;

	if (ep)
		request_fail(r, CNI_LIMITED, "%s; and of pods that are attached, %s: %s", why, ep->row.key, ep->why);
	else if (why)
		request_fail(r, CNI_UNAVAILABLE, "%s", why);
	else
		request_result(r, NULL);
}
