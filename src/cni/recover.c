/*
 * After a start the kernel is the truth about pods: every host end carries its
 * pod's identity in its alias, the blocks say which address it holds, and where
 * they do not (any more), its route does.
 *
 *   link and address            the pod lives: it gets its row
 *   address without a link      the pod died while we were away: given back
 *   link and route, no block    the block was lost: the pod keeps its address (ipam/assert.c)
 *   link that the reaper has    a DEL got that far: the link goes, its address is given back
 *   link without any address    an ADD got only that far: the link goes
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "cni/cni_int.h"

enum { RECOVER_RETRY_MS = 1000 };

struct found {
	int ifindex;
	bool dead;			/* the last agent gave it to its reaper */
	bool ifb;			/* not a host end, but what is behind one */
	struct rtnl_link link;
	char network[201], container[201], ifname[16];
	char handle[410];
	char mac[18];			/* "": the usual one */
	char identity[256];		/* namespace/name; "": none, or too long */
	struct addr ips[FAMILIES];
	const char *pod, *namespace;	/* of a block's attribute, for the time of the recovery */
};

struct recovery {
	struct cni *cni;
	struct found *pods;
	unsigned count, cap;
};

static void pods_restart(void *ctx)
{
	((struct recovery *)ctx)->count = 0;
}

/* The next word of *text to out; false when it does not fit, or there is none. */
static bool word(const char **text, char *out, size_t size)
{
	size_t len = strcspn(*text, " ");

	if (!len || len >= size)
		return false;
	memcpy(out, *text, len);
	out[len] = '\0';
	*text += len + ((*text)[len] == ' ');
	return true;
}

static bool is_identity(const char *word)
{
	return word[strcspn(word, " /")] == '/';
}

static bool alias_read(const char *alias, struct found *f)
{
	const char *at = alias + strlen("manx ");

	return str_prefix(alias, "manx ") && word(&at, f->network, sizeof f->network) &&
	       word(&at, f->container, sizeof f->container) && word(&at, f->ifname, sizeof f->ifname) &&
	       (!*at || is_identity(at) || word(&at, f->mac, sizeof f->mac)) &&
	       (!*at || (is_identity(at) && word(&at, f->identity, sizeof f->identity))) && !*at;
}

static void on_link(void *ctx, const struct nlmsghdr *h)
{
	struct recovery *rec = ctx;
	struct found f = { 0 };
	struct rtnl_link l;

	if (!rtnl_link_parse(h, &l))
		return;
	f.ifb = strcmp(l.kind, "ifb") == 0;
	if ((!f.ifb && strcmp(l.kind, "veth") != 0) || !alias_read(l.alias, &f))
		return;
	f.ifindex = l.index;
	f.dead = reaper_has(&l);
	f.link = l;
	snprintf(f.handle, sizeof f.handle, "%s.%s", f.network, f.container);
	if (rec->count == rec->cap)
		rec->pods = xrealloc(rec->pods, (rec->cap = rec->cap * 2 + 64) * sizeof *rec->pods);
	rec->pods[rec->count++] = f;
}

/* Routes of ours to a pod: what it was reachable by when the last agent went. */
static void on_route(void *ctx, const struct nlmsghdr *h)
{
	struct recovery *rec = ctx;
	struct rtnl_route r;

	if (!rtnl_route_parse(h, &r) || r.protocol != RTPROT_MANX_POD)
		return;
	for (unsigned i = 0; i < rec->count; i++)
		if (rec->pods[i].ifindex == r.oif)
			rec->pods[i].ips[family_index(r.dst.addr.family)] = r.dst.addr;
}

/* With podCIDRs no block says what a pod has, so its neighbour entry counts as well. */
static void on_neigh(void *ctx, const struct nlmsghdr *h)
{
	struct recovery *rec = ctx;
	struct rtnl_neigh n;

	if (!rtnl_neigh_parse(h, &n) || !(n.state & NUD_PERMANENT))
		return;
	for (unsigned i = 0; i < rec->count; i++) {
		struct addr *ip = &rec->pods[i].ips[family_index(n.dst.family)];

		if (rec->pods[i].ifindex == n.ifindex && !ip->family)
			*ip = n.dst;
	}
}

/* The pod that ip, which a block gives to handle, belongs to: the one whose route says so, else one without a route. */
static struct found *holder(struct recovery *rec, const char *handle, const struct addr *ip, bool *lives)
{
	const int f = family_index(ip->family);
	struct found *any = NULL;

	*lives = false;
	for (unsigned i = 0; i < rec->count; i++) {
		struct found *at = &rec->pods[i];

		if (at->dead || at->ifb || strcmp(at->handle, handle) != 0)
			continue;
		*lives = true;
		if (addr_equal(&at->ips[f], ip))
			return at;
		if (!at->ips[f].family)
			any = at;
	}
	return any;
}

/* A pod that another program of Calico's habits attached. */
static bool is_foreign(const struct recovery *rec, const struct block_attribute *a)
{
	char name[16];

	if (!a->pod || !a->namespace)
		return false;
	endpoint_host_if(name, a->namespace, a->pod, "");
	for (unsigned i = 0; i < rec->count; i++)
		if (rec->pods[i].dead && strcmp(rec->pods[i].link.name, name) == 0)
			return false;
	return if_nametoindex(name);
}

/* An address that a block gives to one of this node's pods. */
static void on_held(void *ctx, const struct block_attribute *a, const struct addr *ip)
{
	struct recovery *rec = ctx;
	bool lives;
	struct found *f = holder(rec, a->handle, ip, &lives);
	struct addr only[FAMILIES] = { { 0 } };

	if (f) {
		f->ips[family_index(ip->family)] = *ip;
		f->pod = a->pod;
		f->namespace = a->namespace;
		return;
	}
	if (str_prefix(a->handle, RESERVE_PREFIX) || str_prefix(a->handle, IPAM_DELEGATED) || (!lives && is_foreign(rec, a)))
		return;
	log_info("cni", "address %s: %s, given back", addr_text(ip).s, lives ? "its pod has another" : "its pod is gone");
	only[family_index(ip->family)] = *ip;
	ipam_release(rec->cni->ipam, a->handle, lives ? only : NULL, NULL, NULL);
}

static const struct workload *published(const struct cni *c, const struct endpoint *ep)
{
	const struct workload *w;

	table_each(&c->model->workloads, w)
		if (strcmp(w->container, ep->container) == 0 && strcmp(w->endpoint, ep->ifname) == 0)
			return w;
	return NULL;
}

/* A host end's name is made of the pod's. */
static const struct pod *pod_of_link(const struct cni *c, const char *link)
{
	const struct pod *p;
	char name[16];

	table_each(&c->model->pods, p) {
		endpoint_host_if(name, p->meta.namespace, p->meta.name, "");
		if (strcmp(name, link) == 0)
			return p;
	}
	return NULL;
}

static void endpoint_adopt(struct cni *c, const struct found *f)
{
	const char *slash = strchr(f->identity, '/');
	const struct workload *w;
	const struct pod *pod;
	struct endpoint *ep = row_new(sizeof *ep);
	struct arena *mem = &ep->row.mem;
	struct end ends[ENDS];
	char key[220];

	snprintf(key, sizeof key, "%s/%s", f->container, f->ifname);
	ep->row.key = arena_str(mem, key);
	ep->handle = arena_str(mem, f->handle);
	ep->network = arena_str(mem, f->network);
	ep->container = arena_str(mem, f->container);
	ep->ifname = arena_str(mem, f->ifname);
	endpoint_hash(ep);
	ep->pod = arena_str(mem, f->pod ? f->pod : slash ? slash + 1 : "");
	ep->namespace = f->pod ? arena_str(mem, f->namespace ? f->namespace : "") :
			arena_strn(mem, f->identity, slash ? (size_t)(slash - f->identity) : 0);
	ep->uid = "";
	ep->ifindex = f->ifindex;
	ep->mtu = f->link.mtu;
	memcpy(ep->ips, f->ips, sizeof ep->ips);
	if (!end_mac_parse(ep->mac, f->mac))
		end_mac(ep->mac, ep->ips);
	if (!*ep->pod && (w = published(c, ep))) {
		ep->pod = arena_str(mem, w->pod);
		ep->namespace = arena_str(mem, *w->pod ? w->meta.namespace : "");
	}
	str_copy(ep->host_if, sizeof ep->host_if, f->link.name);
	if (!*ep->pod && (pod = pod_of_link(c, f->link.name))) {
		ep->pod = arena_str(mem, pod->meta.name);
		ep->namespace = arena_str(mem, pod->meta.namespace);
	}
	if (!str_prefix(ep->host_if, "cali"))		/* renamed while no agent watched */
		endpoint_host_if(ep->host_if, ep->namespace, ep->pod, ep->container);
	ports_recall(c, ep);
	ep->row.digest = end_digest(ep);
	table_put(&c->model->endpoints, &ep->row);
	ends_of(ends, ep, 0);
	if (link_is_altered(&f->link, &ends[HOST_END]) || shape_is_wanted(ep))
		link_refresh(c, ep, NULL);
	else			/* the last agent may have died between its answer and these */
		end_write_files(&ends[HOST_END]);
}

static void follow_notes(struct cni *c)
{
	char dir[CONFIG_PATH_MAX + 8], path[CONFIG_PATH_MAX + 300];
	DIR *d;

	snprintf(dir, sizeof dir, "%s/del", c->model->config->run_dir);
	if (!(d = opendir(dir)))
		return;
	for (struct dirent *entry; (entry = readdir(d)); ) {
		autostr struct str payload = { 0 };
		int rc;

		snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
		if (entry->d_name[0] == '.')
			continue;
		if ((rc = fs_read(AT_FDCWD, path, FRAME_MAX, &payload)) < 0) {
			log_warn("cni", "%s: not a noted DEL: %s", path, strerror(-rc));
			continue;
		}
		log_info("cni", "DEL %s: noted while no agent ran", entry->d_name);
		cni_note(c, path, &payload);
	}
	closedir(d);
}

/* Without the whole truth nothing is given back. */
static int kernel_read(struct recovery *rec, struct err *e)
{
	const bool neighbours = rec->cni->model->config->ipam == IPAM_PODCIDR;
	struct nl *nl = &rec->cni->nl;
	int rc;

	rtnl_link_dump_request(nl);
	rc = nl_dump(nl, pods_restart, on_link, rec, e);
	for (int f = 0; f < FAMILIES && rc == 0; f++) {
		rtnl_route_dump_request(nl, family_of(f));
		rc = nl_dump(nl, NULL, on_route, rec, e);
		rc = rtnl_has_none(rc) ? 0 : rc;
	}
	for (int f = 0; f < FAMILIES && rc == 0 && neighbours; f++) {
		rtnl_neigh_dump_request(nl, family_of(f), 0);
		rc = nl_dump(nl, NULL, on_neigh, rec, e);
		rc = rtnl_has_none(rc) ? 0 : rc;
	}
	return rc;
}

static void link_recover(struct cni *c, const struct found *f)
{
	if (f->dead)
		reaper_wake(c->reaper);
	else if (f->ips[0].family || f->ips[1].family)
		endpoint_adopt(c, f);
	else if (!f->ifb)
		reaper_take(c->reaper, &c->nl, f->ifindex);
}

void cni_recover(struct cni *c)
{
	struct recovery rec = { .cni = c };
	struct err e = { 0 };

	if (c->again.on)
		return;
	if (kernel_read(&rec, &e) < 0) {
		log_err("cni", "%s", e.text);
		free(rec.pods);
		timer_set(c->loop, &c->again, RECOVER_RETRY_MS);
		return;
	}
	ipam_each_own(c->ipam, on_held, &rec);
	for (unsigned i = 0; i < rec.count; i++)
		link_recover(c, &rec.pods[i]);
	for (unsigned i = 0; i < rec.count; i++)	/* when all pods are known */
		if (rec.pods[i].ifb && !rec.pods[i].dead && !shape_owner(c, rec.pods[i].link.name))
			reaper_take(c->reaper, &c->nl, rec.pods[i].ifindex);
	if (rec.count)
		log_info("cni", "%u pods found in the kernel", c->model->endpoints.count);
	free(rec.pods);
	ports_sweep(c);
	c->model->endpoints_known = true;
	follow_notes(c);
}

int cni_remove_links(struct cni *c, struct err *e)
{
	struct recovery rec = { .cni = c };
	int rc;

	rtnl_link_dump_request(&c->nl);
	rc = nl_dump(&c->nl, pods_restart, on_link, &rec, e);
	for (unsigned i = 0; i < rec.count && rc == 0; i++)
		reaper_take(c->reaper, &c->nl, rec.pods[i].ifindex);
	free(rec.pods);
	return rc < 0 ? rc : (int)rec.count;
}
