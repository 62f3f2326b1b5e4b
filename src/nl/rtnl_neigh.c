#include "nl/rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <linux/filter.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include "base/mac.h"
#include "base/util.h"

/* Interface addresses, neighbours, and the FDB of a VXLAN device. */

static void addr_request(struct nl *nl, uint16_t message, uint16_t flags, const struct rtnl_addr *a)
{
	struct nlmsghdr *h = nl_begin(nl, message, flags, "address %s", prefix_text(&a->address).s);
	struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);
	uint32_t ifa_flags = a->flags | IFA_F_PERMANENT;

	m->ifa_family = a->address.addr.family;
	m->ifa_prefixlen = a->address.len;
	m->ifa_index = (uint32_t)a->ifindex;
	m->ifa_scope = a->scope;
	mnl_attr_put(h, IFA_LOCAL, addr_bytes(&a->address.addr), a->address.addr.b);
	if (message == RTM_NEWADDR) {
		mnl_attr_put(h, IFA_ADDRESS, addr_bytes(&a->address.addr), a->address.addr.b);
		if (m->ifa_family == AF_INET6)
			ifa_flags |= IFA_F_NODAD;
		mnl_attr_put_u32(h, IFA_FLAGS, ifa_flags);
	}
	nl_end(nl, h);
}

void rtnl_addr_put(struct nl *nl, const struct rtnl_addr *a)
{
	addr_request(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, a);
}

void rtnl_addr_del(struct nl *nl, const struct rtnl_addr *a)
{
	addr_request(nl, RTM_DELADDR, 0, a);
}

bool rtnl_addr_parse(const struct nlmsghdr *h, struct rtnl_addr *a)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[IFA_FLAGS + 1];

	if ((h->nlmsg_type != RTM_NEWADDR && h->nlmsg_type != RTM_DELADDR) || !nl_attrs(h, sizeof *m, tb, IFA_FLAGS))
		return false;
	*a = (struct rtnl_addr){ .ifindex = (int)m->ifa_index, .scope = m->ifa_scope, .flags = m->ifa_flags };
	a->address.len = m->ifa_prefixlen;
	nl_attr_u32(tb[IFA_FLAGS], &a->flags);
	/* IFA_ADDRESS is the other end of a point-to-point link; IPv6 has no IFA_LOCAL otherwise. */
	return (nl_attr_addr(tb[IFA_LOCAL], m->ifa_family, &a->address.addr) ||
		nl_attr_addr(tb[IFA_ADDRESS], m->ifa_family, &a->address.addr)) &&
	       a->address.len <= addr_bits(&a->address.addr);
}

void rtnl_addr_dump_request(struct nl *nl, uint8_t family)
{
	struct nlmsghdr *h = nl_begin(nl, RTM_GETADDR, NLM_F_DUMP, "dump of IPv%c addresses", family == AF_INET ? '4' : '6');
	struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);

	m->ifa_family = family;
	nl_end(nl, h);
}

static void neigh_request(struct nl *nl, uint16_t message, uint16_t flags, const struct rtnl_neigh *n)
{
	struct nlmsghdr *h;
	struct ndmsg *m;

	if (n->fdb)
		h = nl_begin(nl, message, flags, "forwarding entry %s via %s", mac_text(n->mac).s, addr_text(&n->dst).s);
	else
		h = nl_begin(nl, message, flags, "neighbour %s", addr_text(&n->dst).s);
	m = mnl_nlmsg_put_extra_header(h, sizeof *m);
	m->ndm_family = n->fdb ? AF_BRIDGE : n->dst.family;
	m->ndm_ifindex = n->ifindex;
	m->ndm_state = NUD_PERMANENT;
	m->ndm_flags = n->fdb ? NTF_SELF : 0;
	if (n->dst.family)
		mnl_attr_put(h, NDA_DST, addr_bytes(&n->dst), n->dst.b);
	if (n->fdb || message == RTM_NEWNEIGH)
		mnl_attr_put(h, NDA_LLADDR, sizeof n->mac, n->mac);
	nl_end(nl, h);
}

void rtnl_neigh_put(struct nl *nl, const struct rtnl_neigh *n)
{
	neigh_request(nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, n);
}

void rtnl_neigh_del(struct nl *nl, const struct rtnl_neigh *n)
{
	neigh_request(nl, RTM_DELNEIGH, 0, n);
}

/* The family of an FDB entry's destination is told by its length alone. */
static bool fdb_dst_parse(const struct nlattr *a, struct addr *dst)
{
	return nl_attr_addr(a, AF_INET, dst) || nl_attr_addr(a, AF_INET6, dst);
}

bool rtnl_neigh_parse(const struct nlmsghdr *h, struct rtnl_neigh *n)
{
	const struct ndmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[NDA_LLADDR + 1];
	bool mac;

	if ((h->nlmsg_type != RTM_NEWNEIGH && h->nlmsg_type != RTM_DELNEIGH) || !nl_attrs(h, sizeof *m, tb, NDA_LLADDR))
		return false;
	*n = (struct rtnl_neigh){ .ifindex = m->ndm_ifindex, .state = m->ndm_state, .fdb = m->ndm_family == AF_BRIDGE };
	mac = nl_attr_bytes(tb[NDA_LLADDR], n->mac, sizeof n->mac);
	if (n->fdb)
		return mac && fdb_dst_parse(tb[NDA_DST], &n->dst);
	if (m->ndm_flags & NTF_PROXY)
		return false;
	return nl_attr_addr(tb[NDA_DST], m->ndm_family, &n->dst) &&
	       (mac || h->nlmsg_type == RTM_DELNEIGH || !(n->state & NUD_PERMANENT));
}

void rtnl_neigh_dump_request(struct nl *nl, uint8_t family, int ifindex)
{
	struct nlmsghdr *h = nl_begin(nl, RTM_GETNEIGH, NLM_F_DUMP, "dump of %s of link number %d",
				      family == AF_BRIDGE ? "forwarding entries" : "neighbours", ifindex);
	struct ndmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);

	m->ndm_family = family;
	mnl_attr_put_u32(h, NDA_IFINDEX, (uint32_t)ifindex);
	nl_end(nl, h);
}

/*
 * A busy uplink's ARP entries change state all the time; this keeps them from
 * waking us.  Loads are big-endian, the header's fields are the machine's.
 */
int rtnl_neigh_filter(struct nl *nl, int ifindex, int other)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWNEIGH), 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELNEIGH), 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NLMSG_HDRLEN + offsetof(struct ndmsg, ndm_ifindex)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl((uint32_t)ifindex), 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl((uint32_t)other), 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };

	return setsockopt(nl->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ? -errno : 0;
}
