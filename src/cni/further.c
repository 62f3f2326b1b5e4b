/*
 * A further interface of a container, as Multus attaches them: another network gave
 * the pod its default routes, and they stay.  This one has its own routes in a table of
 * its own, in which only what comes from its addresses is looked up; else answers
 * would leave by the first interface, where the host takes no such source.
 *
 * Its host end has a name of another form.  That name alone says what it is, to the
 * next agent too.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "cni/cni_int.h"

void further_name(char out[16], const char *container, const char *ifname)
{
	char id[220];

	snprintf(id, sizeof id, "%s.%s", container, ifname);
	endpoint_host_if(out, "", "", id);
}

static void on_default(void *ctx, const struct nlmsghdr *h)
{
	struct rtnl_route route;

	if (rtnl_route_parse(h, &route) && !route.dst.len)
		*(bool *)ctx = true;
}

/* eth0 is what a runtime's own network is called: that one is not asked. */
bool further_is(struct cni_request *r)
{
	const uint32_t hash = fnv32a(r->container, strlen(r->container));
	const struct endpoint *ep;
	bool found = false;

	table_each(&r->cni->model->endpoints, ep)
		if (ep->container_hash == hash && strcmp(ep->container, r->container) == 0 && strcmp(ep->ifname, r->ifname) != 0)
			return true;
	for (int f = 0; f < FAMILIES && strcmp(r->ifname, "eth0") != 0; f++) {
		rtnl_route_dump_request(&r->cni->pod_nl, family_of(f));
		nl_dump(&r->cni->pod_nl, NULL, on_default, &found, NULL);
	}
	return found;
}

int further_rules(struct nl *pod, const struct end *end, struct err *e)
{
	int rc;

	if (!end->table)
		return 0;
	for (unsigned i = 0; i < end->addr_count; i++)
		rtnl_rule_put(pod, &end->addrs[i].address.addr, end->table);
	rc = nl_commit(pod, NULL, e);
	return rc == -EEXIST ? 0 : rc;	/* rules outlive the link that they are for */
}
