#include "nft/ruleset.h"

#include <net/if.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

/*
 * All that a rule can look at.  The numbers of types are those of nft(8), enum
 * datatypes: the kernel only keeps them, so that a listing can print elements.
 */

#define META(key_) .at = NFT_META_##key_
#define NETWORK(offset_) .source = FROM_PAYLOAD, .base = NFT_PAYLOAD_NETWORK_HEADER, .at = (offset_)
#define TRANSPORT(offset_) .source = FROM_PAYLOAD, .base = NFT_PAYLOAD_TRANSPORT_HEADER, .at = (offset_)
#define IN_FAMILY(family_) .needs = FIELD_FAMILY, .needed = NFPROTO_##family_
#define IN_PROTOCOL(protocol_) .needs = FIELD_PROTOCOL, .needed = IPPROTO_##protocol_
#define NUMBER(name_, len_) .name = (name_), .len = (len_), .form = FORM_NUMBER
#define WIRE(name_, len_) .name = (name_), .len = (len_), .form = FORM_NETWORK_NUMBER
#define NAME(name_) .name = (name_), .len = IFNAMSIZ, .form = FORM_NAME
#define ADDRESS(name_, len_) .name = (name_), .len = (len_), .form = FORM_ADDRESS
#define TYPE(number_, name_) .type = (number_), .type_name = (name_)

const struct field_info field_info[FIELDS] = {
	[FIELD_FAMILY] = { NUMBER("meta nfproto", 1), META(NFPROTO), TYPE(2, "nf_proto") },
	[FIELD_PROTOCOL] = { NUMBER("meta l4proto", 1), META(L4PROTO), TYPE(12, "inet_proto") },
	[FIELD_IIF] = { NUMBER("iif", 4), META(IIF), TYPE(20, "iface_index") },
	[FIELD_IIFNAME] = { NAME("iifname"), META(IIFNAME), TYPE(41, "ifname") },
	[FIELD_OIFNAME] = { NAME("oifname"), META(OIFNAME), TYPE(41, "ifname") },
	[FIELD_IP_SADDR] = { ADDRESS("ip saddr", 4), NETWORK(12), IN_FAMILY(IPV4), TYPE(7, "ipv4_addr") },
	[FIELD_IP_DADDR] = { ADDRESS("ip daddr", 4), NETWORK(16), IN_FAMILY(IPV4), TYPE(7, "ipv4_addr") },
	[FIELD_IP6_SADDR] = { ADDRESS("ip6 saddr", 16), NETWORK(8), IN_FAMILY(IPV6), TYPE(8, "ipv6_addr") },
	[FIELD_IP6_DADDR] = { ADDRESS("ip6 daddr", 16), NETWORK(24), IN_FAMILY(IPV6), TYPE(8, "ipv6_addr") },
	[FIELD_UDP_SPORT] = { WIRE("udp sport", 2), TRANSPORT(0), IN_PROTOCOL(UDP), TYPE(13, "inet_service") },
	[FIELD_UDP_DPORT] = { WIRE("udp dport", 2), TRANSPORT(2), IN_PROTOCOL(UDP), TYPE(13, "inet_service") },
	[FIELD_ICMP_TYPE] = { NUMBER("icmp type", 1), TRANSPORT(0), IN_PROTOCOL(ICMP), TYPE(14, "icmp_type") },
	[FIELD_DPORT] = { WIRE("th dport", 2), TRANSPORT(2), TYPE(13, "inet_service") },
	[FIELD_CT_STATE] = { NUMBER("ct state", 4), .source = FROM_CONNTRACK, .at = NFT_CT_STATE, TYPE(26, "ct_state") },
	[FIELD_FIB_DADDR] = { NUMBER("fib daddr type", 4), .source = FROM_FIB, .at = NFT_FIB_RESULT_ADDRTYPE },
	[FIELD_ICMP6_TYPE] = { NUMBER("icmpv6 type", 1), TRANSPORT(0), IN_PROTOCOL(ICMPV6), TYPE(29, "icmpv6_type") },
};
