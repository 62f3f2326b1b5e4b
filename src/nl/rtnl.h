#ifndef NL_RTNL_H
#define NL_RTNL_H
/*
 * rtnetlink objects as plain structs: put and del add a message to the batch
 * of nl (see nl.h), parse reads one from a dump or an event.  Addresses in
 * network order, MTU in bytes.  Source: uapi linux/rtnetlink.h, if_link.h,
 * neighbour.h.
 */
#include <net/if.h>
#include "base/prefix.h"
#include "nl/nl.h"

enum {
	RTPROT_MANX_POD = 171,		/* routes to pods of this node */
	RTPROT_MANX_CLUSTER = 172,	/* blocks: other nodes', and blackholes of our own */
	RTPROT_MANX_BGP = 173,		/* learned */
	ROUTE_METRIC = 1024,
};

struct rtnl_route {
	struct prefix dst;
	uint8_t type;			/* RTN_UNICAST, RTN_BLACKHOLE */
	uint8_t protocol;		/* RTPROT_... */
	bool onlink;
	bool multipath;			/* parsed only: several next hops, the fields below show the first */
	uint32_t metric;
	uint32_t table;			/* 0: the main one */
	int oif;			/* 0: the kernel finds it from the gateway */
	struct addr gateway;		/* family 0: none */
	struct addr source;		/* RTA_PREFSRC; family 0: none */
};

struct rtnl_link {
	int index;
	char name[IFNAMSIZ];
	char kind[16];			/* "veth", "vxlan", ... or "" */
	char alias[256];
	unsigned flags;			/* IFF_UP ... */
	unsigned mtu;
	int peer;			/* IFLA_LINK: of a veth the index of its other end; 0 */
	uint8_t mac[6];
	uint32_t group;
	struct addr local, remote;	/* of a tunnel; ipip only: remote */
	/* vxlan only */
	uint32_t vni;
	uint16_t port;			/* host order */
	bool learning;
};

struct rtnl_neigh {
	int ifindex;
	struct addr dst;
	uint8_t mac[6];
	bool fdb;			/* bridge FDB entry: mac -> dst on a vxlan device; else dst -> mac */
	uint16_t state;			/* NUD_PERMANENT ... */
};

struct rtnl_addr {
	int ifindex;
	struct prefix address;
	uint8_t scope;			/* RT_SCOPE_... */
	uint32_t flags;			/* IFA_F_... */
};

/* EXCL: -EEXIST when the kernel has any route of that prefix and metric. */
void rtnl_route_put(struct nl *nl, const struct rtnl_route *r);
void rtnl_route_replace(struct nl *nl, const struct rtnl_route *r);
/* Names protocol, metric, type and next hop, so that only this one can go. */
void rtnl_route_del(struct nl *nl, const struct rtnl_route *r);
/* As far as a route is ours to compare; an oif of 0 on either side equals any. */
bool rtnl_route_equal(const struct rtnl_route *a, const struct rtnl_route *b);
/* False when h is no route of the main table, or is multicast, cloned, local ... */
bool rtnl_route_parse(const struct nlmsghdr *h, struct rtnl_route *r);
bool rtnl_route_parse_any(const struct nlmsghdr *h, struct rtnl_route *r);	/* of any table */
/* The main table. */
void rtnl_route_dump_request(struct nl *nl, uint8_t family);
/* Is that the end of a dump by which a kernel says that it has no such family, or that family no main table? */
bool rtnl_has_none(int rc);

struct rtnl_veth {
	int index;			/* of both ends, each in its namespace; 0: the kernel chooses */
	const char *host, *peer;	/* interface names */
	unsigned mtu;
	uint8_t host_mac[6], peer_mac[6];
	int netns_fd;			/* where the peer is made */
};
/* Host end up, one queue each way; the peer is made in its namespace, down. */
void rtnl_veth_put(struct nl *nl, const struct rtnl_veth *v);
void rtnl_vxlan_put(struct nl *nl, const struct rtnl_link *l, int uplink);	/* up; uplink 0: bound to none */
/* Down, and to and from anywhere.  -EEXIST also when there is such a device of another name, as the module brings one. */
void rtnl_ipip_put(struct nl *nl, const char *name);
/* An ifb device, up: what is redirected to it goes on where it came from, behind the device's root. */
void rtnl_ifb_put(struct nl *nl, const char *name, unsigned mtu);
void rtnl_link_get(struct nl *nl, const char *name, int index);	/* name NULL: by index; the answer is data */
/* By index; index 0: by name. */
void rtnl_link_up(struct nl *nl, int index, const char *name);
void rtnl_link_down(struct nl *nl, int index, const char *name);
void rtnl_link_alias(struct nl *nl, int index, const char *name, const char *alias);
void rtnl_link_rename(struct nl *nl, int index, const char *name);	/* one that is down */
void rtnl_link_mtu(struct nl *nl, int index, const char *name, unsigned mtu);
void rtnl_link_mac(struct nl *nl, int index, const char *name, const uint8_t mac[6]);
void rtnl_link_del(struct nl *nl, int index, const char *name);
void rtnl_link_group(struct nl *nl, int index, uint32_t group);
void rtnl_group_del(struct nl *nl, uint32_t group);	/* never group 0, where every link is */
/* False when h is no link (a bridge's port counts as none). */
bool rtnl_link_parse(const struct nlmsghdr *h, struct rtnl_link *l);
void rtnl_link_dump_request(struct nl *nl);

/* A token bucket: bytes a second, bytes that may go at once, bytes that wait or go. */
struct rtnl_tbf { uint64_t rate; uint32_t burst, limit; };
void rtnl_tbf_put(struct nl *nl, int ifindex, const struct rtnl_tbf *t);	/* at the root, in place of what is there */
void rtnl_redirect_put(struct nl *nl, int ifindex, int to);	/* all that comes in; repeatable */
void rtnl_qdisc_dump_request(struct nl *nl, int ifindex);	/* of one link */
void rtnl_filter_dump_request(struct nl *nl, int ifindex);	/* of what comes in by one link */
/* False when h is no token bucket at a root; the kernel does not tell its burst in bytes, it is left 0. */
bool rtnl_tbf_parse(const struct nlmsghdr *h, int *ifindex, struct rtnl_tbf *t);
int rtnl_redirect_parse(const struct nlmsghdr *h);	/* where to; 0: it is no redirection */
int rtnl_tc_index(const struct nlmsghdr *h);		/* the link of a message about traffic control; 0: it is none */

void rtnl_addr_put(struct nl *nl, const struct rtnl_addr *a);	/* IPv6: without DAD */
void rtnl_addr_del(struct nl *nl, const struct rtnl_addr *a);
bool rtnl_addr_parse(const struct nlmsghdr *h, struct rtnl_addr *a);
void rtnl_addr_dump_request(struct nl *nl, uint8_t family);

void rtnl_neigh_put(struct nl *nl, const struct rtnl_neigh *n);	/* permanent; replaces */
void rtnl_neigh_del(struct nl *nl, const struct rtnl_neigh *n);
/* False without a link-layer address, except for a deletion, and for an FDB entry without a destination. */
bool rtnl_neigh_parse(const struct nlmsghdr *h, struct rtnl_neigh *n);
void rtnl_neigh_dump_request(struct nl *nl, uint8_t family, int ifindex);	/* family AF_BRIDGE: the FDB */
/* Of neighbour events, lets only those of these two links (0: none) through to the event socket. */
int rtnl_neigh_filter(struct nl *nl, int ifindex, int other);

/* How the kernel would send to dst: fills type and source of *r.  0, -ENETUNREACH, -errno. */
int rtnl_route_get(struct nl *nl, const struct addr *dst, struct rtnl_route *r);

/* What has that source is routed by that table.  -EEXIST when there is such a rule. */
void rtnl_rule_put(struct nl *nl, const struct addr *source, uint32_t table);

/* Does the namespace of that rtnetlink socket forward packets?  1, 0, -errno (-ENOMSG: the kernel does not say). */
int rtnl_forwards(int fd, uint8_t family);

#endif
