#include "model/tunnel.h"

const struct tunnel_kind tunnel_kinds[TUNNELS] = {
	[TUNNEL_IPIP] = {
		.device = "tunl0", .link = "ipip", .option = "CONFIG_NET_IPIP",
		.handle = "ipip-tunnel-addr-", .type = "ipipTunnelAddress",
		.family = FAMILY_V4, .always = ENCAP_IPIP, .cross_subnet = ENCAP_IPIP_CROSS_SUBNET,
		.overhead = 20, .fallback = true,
	},
	[TUNNEL_VXLAN] = {
		.device = "vxlan.calico", .link = "vxlan", .option = "CONFIG_VXLAN",
		.handle = "vxlan-tunnel-addr-", .type = "vxlanTunnelAddress",
		.family = FAMILY_V4, .always = ENCAP_VXLAN, .cross_subnet = ENCAP_VXLAN_CROSS_SUBNET,
		.overhead = 50, .by_address = true,
	},
	[TUNNEL_VXLAN_V6] = {
		.device = "vxlan-v6.calico", .link = "vxlan", .option = "CONFIG_VXLAN",
		.handle = "vxlan-v6-tunnel-addr-", .type = "vxlanV6TunnelAddress",
		.family = FAMILY_V6, .always = ENCAP_VXLAN, .cross_subnet = ENCAP_VXLAN_CROSS_SUBNET,
		.overhead = 70, .by_address = true,
	},
};

enum tunnel encapsulation_tunnel(enum encapsulation e, uint8_t family)
{
	tunnel_each(t)
		if (family_of(tunnel_kinds[t].family) == family &&
		    (tunnel_kinds[t].always == e || tunnel_kinds[t].cross_subnet == e))
			return t;
	return TUNNEL_NONE;
}

bool encapsulation_is_cross_subnet(enum encapsulation e)
{
	return e == ENCAP_IPIP_CROSS_SUBNET || e == ENCAP_VXLAN_CROSS_SUBNET;
}

unsigned encapsulation_overhead(enum encapsulation e, uint8_t family)
{
	return tunnel_kinds[encapsulation_tunnel(e, family)].overhead;
}
