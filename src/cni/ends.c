/*
 * Both ends of a pod's link as data.  link.c makes them, check.c compares the
 * kernel with them: what is added here is made by ADD and looked at by CHECK.
 *
 * The pod sees a /32 and a /128 and two gateways that every host end answers for,
 * 169.254.1.1 and fe80::ecee:eeff:feee:eeee.  Both ends know each other by
 * permanent neighbours, so neither proxy ARP nor neighbour discovery nor DAD
 * stands between ADD and the first packet.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/util.h"
#include "cni/cni_int.h"

const uint8_t end_host_mac[6] = { 0xee, 0xee, 0xee, 0xee, 0xee, 0xee };

static const struct addr gateways[FAMILIES] = {
	{ AF_INET, { 169, 254, 1, 1 } },
	{ AF_INET6, { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0xec, 0xee, 0xee, 0xff, 0xfe, 0xee, 0xee, 0xee } },
};

/*
 * The host end's settings: /proc/sys/net/<family>/conf/<link>/<name>.  A netlink message carries those that have an
 * attribute; the others are written to their files.  The last two keep automatic addresses away from the link, and
 * routes that a pod would advertise away from the host.
 */
static const struct setting {
	const char *family, *name;
	uint16_t attr;
	uint32_t value;
	bool host_ports;		/* only of a pod that has some */
} settings[] = {
	{ "ipv4", "forwarding", IPV4_DEVCONF_FORWARDING, 1 },
	{ "ipv4", "rp_filter", IPV4_DEVCONF_RP_FILTER, 1 },
	{ "ipv4", "route_localnet", IPV4_DEVCONF_ROUTE_LOCALNET, 1, true },
	{ "ipv4", "proxy_arp", IPV4_DEVCONF_PROXY_ARP, 0 },
	{ "ipv6", "addr_gen_mode", IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE },
	{ "ipv6", "accept_ra", 0, 0 },
};

void end_mac(uint8_t mac[6], const struct addr ips[FAMILIES])
{
	uint32_t tail;

	if (ips[FAMILY_V4].family) {
		memcpy(mac + 2, ips[FAMILY_V4].b, 4);
	} else {
		tail = fnv32a(ips[FAMILY_V6].b, 16);
		memcpy(mac + 2, &tail, 4);
	}
	mac[0] = 0x0a;
	mac[1] = 0x58;
}

bool end_mac_parse(uint8_t mac[6], const char *text)
{
	static const uint8_t none[6];

	return mac_parse(mac, text) && !(mac[0] & 1) && memcmp(mac, none, sizeof none) != 0;
}

bool end_alias(char out[256], const struct endpoint *ep)
{
	uint8_t usual[6];
	int n;

	end_mac(usual, ep->ips);
	n = snprintf(out, 256, "manx %s %s %s", ep->network, ep->container, ep->ifname);
	if (n > 0 && n < 256 && memcmp(ep->mac, usual, sizeof usual) != 0)
		n += snprintf(out + n, (size_t)(256 - n), " %s", mac_text(ep->mac).s);
	if (n <= 0 || n >= 256)
		return false;
	if (*ep->pod && snprintf(out + n, (size_t)(256 - n), " %s/%s", ep->namespace, ep->pod) >= 256 - n)
		out[n] = '\0';
	return true;
}

uint64_t end_digest(const struct endpoint *ep)
{
	return fnv64a(ep->ips, sizeof ep->ips) ^ (uint64_t)ep->ifindex;
}

/* ---- what each end has ---- */

static void add_address(struct end *to, const struct prefix *p, uint8_t scope)
{
	to->addrs[to->addr_count++] = (struct rtnl_addr){ .ifindex = to->index, .address = *p, .scope = scope };
}

static void add_neighbour(struct end *to, const struct addr *dst, const uint8_t mac[6])
{
	struct rtnl_neigh *n = &to->neighs[to->neigh_count++];

	*n = (struct rtnl_neigh){ .ifindex = to->index, .dst = *dst, .state = NUD_PERMANENT };
	memcpy(n->mac, mac, sizeof n->mac);
}

static void add_route(struct end *to, const struct prefix *dst, const struct addr *gateway, uint8_t protocol,
		      uint32_t metric)
{
	struct rtnl_route *r = &to->routes[to->route_count++];

	*r = (struct rtnl_route){ .dst = *dst, .type = RTN_UNICAST, .protocol = protocol, .metric = metric, .oif = to->index,
				  .table = to->table };
	if (gateway)
		r->gateway = *gateway;
}

static void host_end(struct end *to, const struct addr *ip, const uint8_t mac[6])
{
	const struct prefix pod = prefix_host(ip), own = { gateways[FAMILY_V6], 64 };

	if (ip->family == AF_INET6)
		add_address(to, &own, RT_SCOPE_LINK);
	add_neighbour(to, ip, mac);
	add_route(to, &pod, NULL, RTPROT_MANX_POD, ROUTE_METRIC);
}

static void pod_end(struct end *to, const struct addr *ip)
{
	const struct addr *gateway = &gateways[family_index(ip->family)];
	const struct prefix self = prefix_host(ip), near = prefix_host(gateway), all = { .addr.family = ip->family };

	add_address(to, &self, RT_SCOPE_UNIVERSE);
	add_neighbour(to, gateway, end_host_mac);
	if (ip->family == AF_INET)	/* fe80::/64 is on every link */
		add_route(to, &near, NULL, RTPROT_STATIC, 0);
	/* What the kernel would choose: IPv6 knows no metric 0. */
	add_route(to, &all, gateway, RTPROT_STATIC, ip->family == AF_INET6 ? 1024 : 0);
}

enum { OWN_TABLE = 1 << 24 };	/* and the host end's index: of a further interface */

void ends_of(struct end ends[ENDS], const struct endpoint *ep, int pod_index)
{
	struct end *host = &ends[HOST_END], *pod = &ends[POD_END];
	char further[16];

	*host = (struct end){ .name = ep->host_if, .index = ep->ifindex, .mtu = ep->mtu };
	*pod = (struct end){ .name = ep->ifname, .index = pod_index };
	host->takes_loopback = ep->host_port_count && ep->ips[FAMILY_V4].family;
	memcpy(host->mac, end_host_mac, sizeof host->mac);
	memcpy(pod->mac, ep->mac, sizeof pod->mac);
	further_name(further, ep->container, ep->ifname);
	if (strcmp(further, ep->host_if) == 0)
		pod->table = OWN_TABLE + (uint32_t)ep->ifindex;
	if (!end_alias(host->alias, ep))
		host->alias[0] = '\0';
	for (int f = 0; f < FAMILIES; f++) {
		if (!ep->ips[f].family)
			continue;
		host_end(host, &ep->ips[f], ep->mac);
		pod_end(pod, &ep->ips[f]);
	}
}

/* ---- into the kernel ---- */

/* A kernel without IPv6 refuses a whole message for its IPv6 part. */
static bool kernel_has_ipv6(void)
{
	static int known;	/* 0: not looked yet, 1 yes, 2 no */

	if (!known)
		known = access("/proc/sys/net/ipv6", F_OK) == 0 ? 1 : 2;
	return known == 1;
}

static bool applies(const struct setting *s, const struct end *e)
{
	if (s->host_ports && !e->takes_loopback)
		return false;
	return strcmp(s->family, "ipv4") == 0 || kernel_has_ipv6();
}

/* IPv4 has its settings one level deeper, each a u32; IPv6 has one attribute, a byte. */
static void put_settings(struct nlmsghdr *h, const char *family, const struct end *e)
{
	const bool four = strcmp(family, "ipv4") == 0;
	struct nlattr *nest = mnl_attr_nest_start(h, four ? AF_INET : AF_INET6);
	struct nlattr *conf = four ? mnl_attr_nest_start(h, IFLA_INET_CONF) : NULL;

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		if (!settings[i].attr || strcmp(settings[i].family, family) != 0 || !applies(&settings[i], e))
			continue;
		if (four)
			mnl_attr_put_u32(h, settings[i].attr, settings[i].value);
		else
			mnl_attr_put_u8(h, settings[i].attr, (uint8_t)settings[i].value);
	}
	if (conf)
		mnl_attr_nest_end(h, conf);
	mnl_attr_nest_end(h, nest);
}

void end_put_settings(struct nl *nl, const struct end *e)
{
	struct nlmsghdr *h = nl_begin(nl, RTM_SETLINK, 0, "settings of link %s", e->name);
	struct ifinfomsg *i = mnl_nlmsg_put_extra_header(h, sizeof *i);
	struct nlattr *spec;

	i->ifi_index = e->index;
	mnl_attr_put_str(h, IFLA_IFALIAS, e->alias);
	spec = mnl_attr_nest_start(h, IFLA_AF_SPEC);
	put_settings(h, "ipv4", e);
	if (kernel_has_ipv6())
		put_settings(h, "ipv6", e);
	mnl_attr_nest_end(h, spec);
	nl_end(nl, h);
}

void end_put_parts(struct nl *nl, const struct end *e)
{
	for (unsigned i = 0; i < e->addr_count; i++)
		rtnl_addr_put(nl, &e->addrs[i]);
	for (unsigned i = 0; i < e->neigh_count; i++)
		rtnl_neigh_put(nl, &e->neighs[i]);
}

void end_put_routes(struct nl *nl, const struct end *e)
{
	for (unsigned i = 0; i < e->route_count; i++)
		rtnl_route_replace(nl, &e->routes[i]);
}

static void setting_path(char out[128], const struct end *e, const struct setting *s)
{
	snprintf(out, 128, "/proc/sys/net/%s/conf/%s/%s", s->family, e->name, s->name);
}

void end_write_files(const struct end *e)
{
	char path[128], value[16];

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		if (settings[i].attr || !applies(&settings[i], e))
			continue;
		setting_path(path, e, &settings[i]);
		snprintf(value, sizeof value, "%u", (unsigned)settings[i].value);
		fs_sysctl(path, value);
	}
}

/* ---- out of the kernel ---- */

int end_check_settings(const struct end *e, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		autostr struct str text = { 0 };
		char path[128], want[16];
		int rc;

		if (!applies(&settings[i], e))
			continue;
		setting_path(path, e, &settings[i]);
		snprintf(want, sizeof want, "%u\n", (unsigned)settings[i].value);
		if ((rc = fs_read(AT_FDCWD, path, 64, &text)) < 0)
			return err_set(err, -rc, "%s: %s", path, strerror(-rc));
		if (strcmp(str_text(&text), want) != 0)
			return err_set(err, ESTALE, "link %s: setting net.%s.%s is %.*s, not %u", e->name, settings[i].family,
				       settings[i].name, (int)strcspn(str_text(&text), "\n"), str_text(&text),
				       (unsigned)settings[i].value);
	}
	return 0;
}
