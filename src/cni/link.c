/*
 * The pod's link: a veth pair made with its peer directly in the pod's namespace
 * (moving it there would wait for grace periods), one queue each way.  What both
 * ends carry is in ends.c.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "base/str.h"
#include "base/util.h"
#include "cni/cni_int.h"

enum { PAIR_TRIES = 4 };

static void on_link(void *ctx, const struct nlmsghdr *h)
{
	rtnl_link_parse(h, ctx);
}

int link_look(struct nl *nl, const char *name, int index, struct rtnl_link *l, struct err *e)
{
	const struct nl_answer answer = { .data = on_link, .ctx = l };
	int rc;

	*l = (struct rtnl_link){ 0 };
	rtnl_link_get(nl, name, index);
	rc = nl_commit(nl, &answer, e);
	return rc < 0 ? rc : l->index > 0 ? 0 : -ENODEV;
}

static bool is_there(struct nl *nl, const char *name, struct rtnl_link *l)
{
	return link_look(nl, name, 0, l, NULL) == 0;
}

/*
 * Both ends get an index of our choice, so that everything on the host's side is one batch: what follows a pair that
 * could not be made finds no link of that index and does nothing.  So the index must not be another link's.
 */
static int index_next(const struct nl *nl)
{
	enum { FIRST = 100000, COUNT = 900000, TRIES = 1000 };
	static uint32_t next;
	struct ifreq taken;

	if (!next)
		next = (uint32_t)now_ms();
	for (int i = 0; i < TRIES; i++) {
		taken = (struct ifreq){ .ifr_ifindex = FIRST + (int)(next++ % COUNT) };
		if (ioctl(nl->fd, SIOCGIFNAME, &taken) < 0)
			return taken.ifr_ifindex;
	}
	return 0;		/* the kernel's choice; then nothing follows */
}

const struct endpoint *link_owner(const struct cni *c, int index)
{
	const struct endpoint *ep;

	table_each(&c->model->endpoints, ep)
		if (ep->ifindex == index)
			return ep;
	return NULL;
}

/*
 * A new sandbox of a pod takes the place of the old one, as with Calico, whether or not that was deleted.  Not by the
 * reaper: the deletion holds rtnetlink's lock, so whoever came meanwhile would wait as well.
 */
static void delete_now(struct cni *c, const struct rtnl_link *l)
{
	const struct endpoint *owner = link_owner(c, l->index);

	if (owner)
		log_warn("cni", "%s: pod %s/%s has a new sandbox, container %s loses its link", l->name, owner->namespace,
			 owner->pod, owner->container);
	else
		log_info("cni", "%s: replacing the link of an earlier sandbox", l->name);
	rtnl_link_del(&c->nl, l->index, NULL);
	nl_commit(&c->nl, NULL, NULL);
}

/* The pod's link is one of ours that only waits for its deletion, or that this very attachment had. */
static bool is_left_over(const struct cni_request *r, const struct rtnl_link *pod, const struct rtnl_link *host)
{
	const struct endpoint *owner = link_owner(r->cni, host->index);

	return host->peer == pod->index && str_prefix(host->alias, "manx ") &&
	       (!owner || strcmp(owner->row.key, r->key) == 0);
}

/* Of an interface that the pod has already: false is its end. */
static bool make_room_in_pod(struct cni_request *r, const struct rtnl_link *pod, int *code, struct err *e)
{
	struct rtnl_link host = { 0 };
	int rc = 0;

	if (strcmp(pod->kind, "veth") == 0 && pod->peer)
		rc = link_look(&r->cni->nl, NULL, pod->peer, &host, e);
	if (rc < 0) {
		*code = CNI_IO;
		return rc == -ENODEV;	/* it has just gone */
	}
	if (!is_left_over(r, pod, &host)) {
		err_set(e, EEXIST, "CNI_IFNAME %s: exists in the pod already and is not ours", r->ifname);
		return false;
	}
	delete_now(r->cni, &host);
	return true;
}

/*
 * The pair could not be made for something that exists: the pod's interface, the host end's name, or an index.
 * True: it is worth another try, since a link of ours that no live pod has is gone now, or the index is another.
 */
static bool make_room(struct cni_request *r, const char *host_if, int *code, struct err *e)
{
	struct rtnl_link pod, host;

	*code = CNI_ENVIRONMENT;
	if (is_there(&r->cni->pod_nl, r->ifname, &pod))
		return make_room_in_pod(r, &pod, code, e);
	if (!is_there(&r->cni->nl, host_if, &host))
		return true;
	if (strcmp(host.kind, "veth") != 0 || !str_prefix(host.alias, "manx ")) {
		err_set(e, EEXIST, "%s: a link of that name exists and is not ours", host_if);
		return false;
	}
	delete_now(r->cni, &host);
	return true;
}

struct pair { bool made; };	/* did the first message, which makes it, succeed? */

static void on_made(void *ctx, unsigned position, int rc, const char *text)
{
	struct pair *p = ctx;
	(void)text;

	p->made |= position == 0 && rc == 0;
}

static int pair_put(struct cni_request *r, struct endpoint *ep, struct end ends[ENDS], struct rtnl_veth *v, struct err *e)
{
	struct pair pair = { 0 };
	const struct nl_answer answer = { .done = on_made, .ctx = &pair };
	struct nl *nl = &r->cni->nl;
	struct rtnl_link made;
	int rc;

	if (!(ep->ifindex = v->index = index_next(nl)))
		return err_set(e, ENOSPC, "no index is free for a link");
	ends_of(ends, ep, ep->ifindex);
	rtnl_veth_put(nl, v);
	end_put_settings(nl, &ends[HOST_END]);
	end_put_parts(nl, &ends[HOST_END]);
	rc = nl_commit(nl, &answer, e);
	/* An answer that did not come leaves open whether there is a pair. */
	if (rc < 0 && (pair.made || link_look(nl, NULL, ep->ifindex, &made, NULL) == 0))
		reaper_take(r->cni->reaper, &r->cni->nl, ep->ifindex);
	return rc;
}

static int pair_make(struct cni_request *r, struct endpoint *ep, struct end ends[ENDS], int *code, struct err *e)
{
	struct rtnl_veth v = { .host = ep->host_if, .peer = r->ifname, .netns_fd = r->netns_fd,
			       .mtu = model_pod_mtu(r->cni->model) };
	char alias[256];
	int rc;

	if (!end_alias(alias, ep)) {
		*code = CNI_ENVIRONMENT;
		return err_set(e, ENAMETOOLONG, "network %s and container id %s are too long together", r->network, r->container);
	}
	guard_mtu(r->cni->guard, ep->mtu = v.mtu);
	memcpy(v.host_mac, end_host_mac, sizeof v.host_mac);
	memcpy(v.peer_mac, ep->mac, sizeof v.peer_mac);
	*code = CNI_IO;
	rc = pair_put(r, ep, ends, &v, e);
	for (int tries = 0; (rc == -EEXIST || rc == -EBUSY) && tries < PAIR_TRIES && make_room(r, ep->host_if, code, e); tries++) {
		*e = (struct err){ 0 };
		*code = CNI_IO;
		rc = pair_put(r, ep, ends, &v, e);
	}
	if (rc == -EOPNOTSUPP)
		*code = CNI_KERNEL;
	r->made = rc == 0;
	return rc;
}

bool link_has_carrier(const struct cni *c, const char *host_if)
{
	struct ethtool_value asked = { .cmd = ETHTOOL_GLINK };
	struct ifreq link = { .ifr_data = (char *)&asked };

	str_copy(link.ifr_name, sizeof link.ifr_name, host_if);
	ioctl(c->nl.fd, SIOCETHTOOL, &link);
	return ioctl(c->nl.fd, SIOCGIFFLAGS, &link) < 0 || link.ifr_flags & IFF_RUNNING;
}

bool link_has_address(struct cni_request *r, const struct addr *ip)
{
	struct nl *pod = &r->cni->pod_nl;
	struct rtnl_route found = { .type = RTN_LOCAL };

	if (ip->family && nl_adopt(pod, r->pod_fd) == 0)
		rtnl_route_get(pod, ip, &found);
	pod->fd = -1;
	return found.type == RTN_LOCAL;
}

/* The pod already has our link (an ADD that is repeated): links[ENDS]. */
static bool is_made(struct cni_request *r, const struct endpoint *ep, struct rtnl_link links[ENDS])
{
	return table_find(&r->cni->model->endpoints, r->key) && is_there(&r->cni->nl, ep->host_if, &links[HOST_END]) &&
	       is_there(&r->cni->pod_nl, r->ifname, &links[POD_END]) &&
	       links[HOST_END].peer == links[POD_END].index && links[POD_END].peer == links[HOST_END].index;
}

/* Then it is only brought up to date.  An equal MAC is not written: that would flush the neighbours. */
static void put_mac(struct nl *nl, const struct end *end, const struct rtnl_link *l)
{
	if (memcmp(end->mac, l->mac, sizeof end->mac) != 0)
		rtnl_link_mac(nl, end->index, NULL, end->mac);
}

static int host_refresh(struct cni *c, const struct end *host, const struct rtnl_link *l, struct err *e)
{
	struct nl *nl = &c->nl;

	if (strcmp(l->name, host->name) != 0) {
		rtnl_link_down(nl, host->index, NULL);
		rtnl_link_rename(nl, host->index, host->name);
	}
	rtnl_link_up(nl, host->index, NULL);
	put_mac(nl, host, l);
	if (l->mtu != host->mtu)
		rtnl_link_mtu(nl, host->index, NULL, host->mtu);
	end_put_settings(nl, host);
	end_put_parts(nl, host);
	return nl_commit(nl, NULL, e);
}

/* What is as it should be is not touched: a bucket that is put anew begins full. */
static int shape(struct cni *c, const struct endpoint *ep, struct err *e)
{
	struct err ignored;

	if (!shape_is_wanted(ep) || shape_check(c, ep, &ignored) == 0)
		return 0;
	return shape_put(c, ep, e);
}

int link_refresh(struct cni *c, const struct endpoint *ep, struct err *e)
{
	struct end ends[ENDS];
	struct rtnl_link l;
	int rc = link_look(&c->nl, NULL, ep->ifindex, &l, e);

	if (rc < 0)
		return rc;
	ends_of(ends, ep, 0);
	rc = host_refresh(c, &ends[HOST_END], &l, e);
	end_write_files(&ends[HOST_END]);
	return rc ? rc : shape(c, ep, e);
}

/* The pod's end, in one batch on the socket that the plugin opened there. */
static int pod_settings(struct cni_request *r, const struct end *pod, const struct rtnl_link *l, struct err *e)
{
	struct nl *nl = &r->cni->pod_nl;

	if (l)
		put_mac(nl, pod, l);
	rtnl_link_up(nl, pod->index, NULL);
	end_put_parts(nl, pod);
	end_put_routes(nl, pod);
	return nl_commit(nl, NULL, e);
}

static int make(struct cni_request *r, struct endpoint *ep, int *code, struct err *e)
{
	struct rtnl_link links[ENDS];
	const bool again = is_made(r, ep, links);
	struct end ends[ENDS];
	int rc;

	if (again) {
		ep->ifindex = links[HOST_END].index;
		ep->mtu = ((const struct endpoint *)table_find(&r->cni->model->endpoints, r->key))->mtu;
		ends_of(ends, ep, links[POD_END].index);
		rc = host_refresh(r->cni, &ends[HOST_END], &links[HOST_END], e);
	} else {
		if (!table_find(&r->cni->model->endpoints, r->key) && further_is(r))
			further_name(ep->host_if, ep->container, ep->ifname);
		rc = pair_make(r, ep, ends, code, e);
	}
	if (rc < 0)
		return rc;
	*code = CNI_IO;
	if ((rc = pod_settings(r, &ends[POD_END], again ? &links[POD_END] : NULL, e)) < 0 ||
	    (rc = further_rules(&r->cni->pod_nl, &ends[POD_END], e)) < 0 || (rc = shape(r->cni, ep, e)) < 0) {
		if (rc == -EOPNOTSUPP || rc == -ENOENT)		/* no such link, queueing discipline or filter */
			*code = CNI_KERNEL;
		shape_drop(r->cni, ep);
		if (r->made)
			reaper_take(r->cni->reaper, &r->cni->nl, ep->ifindex);
		r->made = false;
		return rc;
	}
	return 0;
}

int link_make(struct cni_request *r, struct endpoint *ep, int *code, struct err *e)
{
	struct nl *pod = &r->cni->pod_nl;
	int rc = nl_adopt(pod, r->pod_fd);

	*code = CNI_IO;
	if (rc < 0) {
		*code = CNI_NETNS;
		rc = err_set(e, -rc, "the pod's rtnetlink socket: %s", strerror(-rc));
	} else {
		rc = make(r, ep, code, e);
	}
	pod->fd = -1;
	return rc;
}
