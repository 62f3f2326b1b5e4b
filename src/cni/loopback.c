/*
 * The face `loopback`: lo of the pod's namespace goes up, and the result says what
 * it has, as the reference plugin does it.  It asks no agent: a runtime calls it for
 * every pod, also for those of other networks.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include "base/util.h"
#include "cni/shim.h"

struct lo {
	struct nl nl;			/* inside the namespace */
	struct rtnl_link link;
	struct prefix addrs[FAMILIES];	/* family 0: none */
};

/* 0, or a printed failure's exit code. */
static int enter(const struct shim *s, struct lo *lo, int netns)
{
	autoclose int own = openat(AT_FDCWD, "/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct err e = { 0 };
	int rc;

	if (own >= 0 && shim_netns_is(netns, own))
		return shim_fail(s, CNI_NETNS, "CNI_NETNS %s: this is the node's own namespace", getenv("CNI_NETNS"));
	if (setns(netns, CLONE_NEWNET) < 0)
		return shim_fail(s, CNI_NETNS, "CNI_NETNS %s: cannot enter: %s", getenv("CNI_NETNS"), strerror(errno));
	if ((rc = nl_open(&lo->nl, NETLINK_ROUTE, NULL)) < 0)
		return shim_fail(s, CNI_KERNEL, "CNI_NETNS %s: rtnetlink socket: %s", getenv("CNI_NETNS"), strerror(-rc));
	if (link_look(&lo->nl, "lo", 0, &lo->link, &e) < 0)
		return shim_fail(s, CNI_IO, "lo: %s", e.code ? e.text : "there is none");
	return 0;
}

static void restart(void *ctx)
{
	memset(((struct lo *)ctx)->addrs, 0, sizeof(struct prefix[FAMILIES]));
}

static void on_addr(void *ctx, const struct nlmsghdr *h)
{
	struct lo *lo = ctx;
	struct rtnl_addr a;

	if (rtnl_addr_parse(h, &a) && a.ifindex == lo->link.index && !lo->addrs[family_index(a.address.addr.family)].addr.family)
		lo->addrs[family_index(a.address.addr.family)] = a.address;
}

static int lo_up(const struct shim *s, struct lo *lo)
{
	struct err e = { 0 };

	rtnl_link_up(&lo->nl, lo->link.index, NULL);
	if (nl_commit(&lo->nl, NULL, &e) < 0)
		return shim_fail(s, CNI_IO, "%s", e.text);
	rtnl_addr_dump_request(&lo->nl, AF_UNSPEC);
	return nl_dump(&lo->nl, restart, on_addr, lo, &e) < 0 ? shim_fail(s, CNI_IO, "%s", e.text) : 0;
}

static int lo_down(const struct shim *s, struct lo *lo)
{
	struct err e = { 0 };

	rtnl_link_down(&lo->nl, lo->link.index, NULL);
	return nl_commit(&lo->nl, NULL, &e) < 0 ? shim_fail(s, CNI_IO, "%s", e.text) : 0;
}

static int lo_check(const struct shim *s, struct lo *lo)
{
	return (lo->link.flags & IFF_UP) ? 0 : shim_fail(s, CNI_CHANGED, "lo is down");
}

static void result_lo(struct str *out, const struct shim *s, const struct lo *lo)
{
	struct json_out o = { .to = out };

	json_open(&o, NULL, '{');
	json_put_string(&o, "cniVersion", s->version);
	json_open(&o, "interfaces", '[');
	result_interface(&o, lo->link.name, lo->link.mac, 0, getenv("CNI_NETNS"));
	json_close(&o, ']');
	result_ips(&o, s->version, lo->addrs, 0);
	json_open(&o, "dns", '{');
	json_close(&o, '}');
	json_close(&o, '}');
	str_puts(out, "\n");
}

/* What a plugin before us said is the result, else what lo has. */
static int lo_add(const struct shim *s, struct lo *lo)
{
	autostr struct str out = { 0 };
	json_value prev = json_get(&s->json, 0, "prevResult");
	int rc = lo_up(s, lo);
	size_t len;

	if (rc)
		return rc;
	if (json_type(&s->json, prev) == JSON_OBJECT) {
		const char *raw = json_raw(&s->json, prev, &len);

		str_add(&out, raw, len);
		str_puts(&out, "\n");
	} else {
		result_lo(&out, s, lo);
	}
	return shim_put(STDOUT_FILENO, &out) < 0;
}

int loopback_run(struct shim *s)
{
	static const struct { const char *name; int (*run)(const struct shim *s, struct lo *lo); } verbs[] = {
		{ "ADD", lo_add }, { "DEL", lo_down }, { "CHECK", lo_check },
	};
	const char *path = getenv("CNI_NETNS");
	struct lo lo = { .nl.fd = -1 };

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (!shim_is(s, verbs[i].name))
			continue;
		if (shim_is(s, "DEL") && (!path || access(path, F_OK) < 0))
			return 0;		/* lo has gone with its namespace */
		autoclose int netns = shim_netns_open(s, path);
		int rc = netns < 0 ? 1 : enter(s, &lo, netns);

		rc = rc ? rc : verbs[i].run(s, &lo);
		nl_close(&lo.nl);
		return rc;
	}
	return 0;				/* STATUS, GC: there is nothing to say */
}
