#include "nl/rtnl.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/if_link.h>
#include <linux/if_tunnel.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

/*
 * Links.  The veth pair is made with its peer already in the pod's namespace
 * (moving it there afterwards waits for RCU grace periods) and one queue each way (the
 * default is one a CPU, each with its sysfs objects).
 */

static struct nlmsghdr *link_begin(struct nl *nl, uint16_t type, uint16_t flags, int index, const char *name,
				   unsigned up, const char *verb)
{
	struct nlmsghdr *h;
	struct ifinfomsg *i;

	if (name)
		h = nl_begin(nl, type, flags, "%s %s", verb, name);
	else
		h = nl_begin(nl, type, flags, "%s number %d", verb, index);
	i = mnl_nlmsg_put_extra_header(h, sizeof *i);
	i->ifi_index = index;
	i->ifi_flags = i->ifi_change = up;
	if (name && !index)
		mnl_attr_put_strz(h, IFLA_IFNAME, name);
	return h;
}

static void one_queue(struct nlmsghdr *h)
{
	mnl_attr_put_u32(h, IFLA_NUM_TX_QUEUES, 1);
	mnl_attr_put_u32(h, IFLA_NUM_RX_QUEUES, 1);
}

void rtnl_veth_put(struct nl *nl, const struct rtnl_veth *v)
{
	struct nlmsghdr *h = link_begin(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, v->index, v->host, IFF_UP, "link");
	const struct ifinfomsg header = { .ifi_index = v->index };
	struct nlattr *info, *data, *peer;

	if (v->index)
		mnl_attr_put_strz(h, IFLA_IFNAME, v->host);
	mnl_attr_put(h, IFLA_ADDRESS, sizeof v->host_mac, v->host_mac);
	mnl_attr_put_u32(h, IFLA_MTU, v->mtu);
	one_queue(h);
	info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(h, VETH_INFO_PEER);
	/* The peer's own header; it cannot be made up here, veth says ENOTCONN until the pair is joined. */
	memcpy(mnl_nlmsg_get_payload_tail(h), &header, sizeof header);
	h->nlmsg_len += sizeof header;
	mnl_attr_put_strz(h, IFLA_IFNAME, v->peer);
	mnl_attr_put(h, IFLA_ADDRESS, sizeof v->peer_mac, v->peer_mac);
	mnl_attr_put_u32(h, IFLA_MTU, v->mtu);
	one_queue(h);
	mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)v->netns_fd);
	mnl_attr_nest_end(h, peer);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	nl_end(nl, h);
}

void rtnl_vxlan_put(struct nl *nl, const struct rtnl_link *l, int uplink)
{
	struct nlmsghdr *h = link_begin(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, l->name, IFF_UP, "link");
	struct nlattr *info, *data;

	mnl_attr_put(h, IFLA_ADDRESS, sizeof l->mac, l->mac);
	mnl_attr_put_u32(h, IFLA_MTU, l->mtu);
	info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "vxlan");
	data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	mnl_attr_put_u32(h, IFLA_VXLAN_ID, l->vni);
	mnl_attr_put_u16(h, IFLA_VXLAN_PORT, htons(l->port));
	mnl_attr_put_u8(h, IFLA_VXLAN_LEARNING, l->learning);
	if (l->local.family)
		mnl_attr_put(h, l->local.family == AF_INET ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6,
			     addr_bytes(&l->local), l->local.b);
	if (uplink)
		mnl_attr_put_u32(h, IFLA_VXLAN_LINK, (uint32_t)uplink);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	nl_end(nl, h);
}

void rtnl_ipip_put(struct nl *nl, const char *name)
{
	struct nlmsghdr *h = link_begin(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, name, 0, "link");
	struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);

	mnl_attr_put_strz(h, IFLA_INFO_KIND, "ipip");
	mnl_attr_nest_end(h, info);
	nl_end(nl, h);
}

void rtnl_ifb_put(struct nl *nl, const char *name, unsigned mtu)
{
	struct nlmsghdr *h = link_begin(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, name, IFF_UP, "link (IFB)");
	struct nlattr *info;

	mnl_attr_put_u32(h, IFLA_MTU, mtu);
	one_queue(h);
	info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "ifb");
	mnl_attr_nest_end(h, info);
	nl_end(nl, h);
}

void rtnl_link_get(struct nl *nl, const char *name, int index)
{
	struct nlmsghdr *h = link_begin(nl, RTM_GETLINK, 0, name ? 0 : index, name, 0, "link");

	mnl_attr_put_u32(h, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	nl_end(nl, h);
}

void rtnl_link_up(struct nl *nl, int index, const char *name)
{
	nl_end(nl, link_begin(nl, RTM_NEWLINK, 0, index, name, IFF_UP, "link"));
}

void rtnl_link_down(struct nl *nl, int index, const char *name)
{
	struct nlmsghdr *h = link_begin(nl, RTM_NEWLINK, 0, index, name, 0, "link");

	((struct ifinfomsg *)mnl_nlmsg_get_payload(h))->ifi_change = IFF_UP;
	nl_end(nl, h);
}

void rtnl_link_alias(struct nl *nl, int index, const char *name, const char *alias)
{
	struct nlmsghdr *h = link_begin(nl, RTM_SETLINK, 0, index, name, 0, "alias of link");

	mnl_attr_put_str(h, IFLA_IFALIAS, alias);
	nl_end(nl, h);
}

void rtnl_link_rename(struct nl *nl, int index, const char *name)
{
	struct nlmsghdr *h = link_begin(nl, RTM_SETLINK, 0, index, name, 0, "name of link");

	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	nl_end(nl, h);
}

void rtnl_link_mtu(struct nl *nl, int index, const char *name, unsigned mtu)
{
	struct nlmsghdr *h = link_begin(nl, RTM_SETLINK, 0, index, name, 0, "MTU of link");

	mnl_attr_put_u32(h, IFLA_MTU, mtu);
	nl_end(nl, h);
}

void rtnl_link_mac(struct nl *nl, int index, const char *name, const uint8_t mac[6])
{
	struct nlmsghdr *h = link_begin(nl, RTM_SETLINK, 0, index, name, 0, "hardware address of link");

	mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
	nl_end(nl, h);
}

void rtnl_link_del(struct nl *nl, int index, const char *name)
{
	nl_end(nl, link_begin(nl, RTM_DELLINK, 0, index, name, 0, "link"));
}

void rtnl_link_group(struct nl *nl, int index, uint32_t group)
{
	struct nlmsghdr *h = link_begin(nl, RTM_SETLINK, 0, index, NULL, 0, "group of link");

	mnl_attr_put_u32(h, IFLA_GROUP, group);
	nl_end(nl, h);
}

void rtnl_group_del(struct nl *nl, uint32_t group)
{
	struct nlmsghdr *h;

	if (!group)
		return;
	h = nl_begin(nl, RTM_DELLINK, 0, "links of group %u", (unsigned)group);
	mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(h, IFLA_GROUP, group);
	nl_end(nl, h);
}

static void vxlan_parse(const struct nlattr *data, struct rtnl_link *l)
{
	const struct nlattr *tb[IFLA_VXLAN_LOCAL6 + 1];
	uint16_t port_be = 0;
	uint8_t learning = 0;

	nl_attrs_nested(data, tb, IFLA_VXLAN_LOCAL6);
	nl_attr_u32(tb[IFLA_VXLAN_ID], &l->vni);
	nl_attr_u16(tb[IFLA_VXLAN_PORT], &port_be);
	nl_attr_u8(tb[IFLA_VXLAN_LEARNING], &learning);
	l->port = ntohs(port_be);
	l->learning = learning;
	if (!nl_attr_addr(tb[IFLA_VXLAN_LOCAL], AF_INET, &l->local))
		nl_attr_addr(tb[IFLA_VXLAN_LOCAL6], AF_INET6, &l->local);
}

/* "Any" is told as 0.0.0.0. */
static void any_is_none(struct addr *a)
{
	static const uint8_t zero[sizeof a->b];

	if (memcmp(a->b, zero, sizeof zero) == 0)
		*a = (struct addr){ 0 };
}

static void ipip_parse(const struct nlattr *data, struct rtnl_link *l)
{
	const struct nlattr *tb[IFLA_IPTUN_REMOTE + 1];

	nl_attrs_nested(data, tb, IFLA_IPTUN_REMOTE);
	nl_attr_addr(tb[IFLA_IPTUN_LOCAL], AF_INET, &l->local);
	nl_attr_addr(tb[IFLA_IPTUN_REMOTE], AF_INET, &l->remote);
	any_is_none(&l->local);
	any_is_none(&l->remote);
}

bool rtnl_link_parse(const struct nlmsghdr *h, struct rtnl_link *l)
{
	const struct ifinfomsg *i = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[IFLA_GROUP + 1], *info[IFLA_INFO_DATA + 1];
	uint32_t value = 0;

	if ((h->nlmsg_type != RTM_NEWLINK && h->nlmsg_type != RTM_DELLINK) || !nl_attrs(h, sizeof *i, tb, IFLA_GROUP) ||
	    i->ifi_family != AF_UNSPEC || i->ifi_index <= 0)
		return false;
	*l = (struct rtnl_link){ .index = i->ifi_index, .flags = i->ifi_flags };
	if (!nl_attr_text(tb[IFLA_IFNAME], l->name, sizeof l->name))
		return false;
	nl_attr_text(tb[IFLA_IFALIAS], l->alias, sizeof l->alias);
	if (nl_attr_u32(tb[IFLA_MTU], &value))
		l->mtu = value;
	if (nl_attr_u32(tb[IFLA_LINK], &value))
		l->peer = (int)value;
	nl_attr_bytes(tb[IFLA_ADDRESS], l->mac, sizeof l->mac);
	nl_attr_u32(tb[IFLA_GROUP], &l->group);
	nl_attrs_nested(tb[IFLA_LINKINFO], info, IFLA_INFO_DATA);
	nl_attr_text(info[IFLA_INFO_KIND], l->kind, sizeof l->kind);
	if (!strcmp(l->kind, "vxlan"))
		vxlan_parse(info[IFLA_INFO_DATA], l);
	else if (!strcmp(l->kind, "ipip"))
		ipip_parse(info[IFLA_INFO_DATA], l);
	return true;
}

void rtnl_link_dump_request(struct nl *nl)
{
	struct nlmsghdr *h = nl_begin(nl, RTM_GETLINK, NLM_F_DUMP, "dump of links");

	mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(h, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	nl_end(nl, h);
}
