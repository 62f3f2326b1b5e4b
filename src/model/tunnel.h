#ifndef MODEL_TUNNEL_H
#define MODEL_TUNNEL_H
/*
 * The kinds of tunnel between nodes, as plain data.  Who makes the devices
 * (route), gives the node its addresses in them (ipam) or says what a packet may carry
 * (model) goes by this table; a kind more is a row more.
 */
#include "model/config.h"

enum tunnel { TUNNEL_NONE, TUNNEL_IPIP, TUNNEL_VXLAN, TUNNEL_VXLAN_V6, TUNNELS };

struct tunnel_kind {
	const char *device, *link;	/* the device's name, and its kind in rtnetlink's words */
	const char *option;		/* of the kernel's configuration */
	const char *handle, *type;	/* of the node's address in it: handle + node's name, attribute "type" */
	int family;			/* of pools and of the underlay: FAMILY_V4 ... */
	enum encapsulation always, cross_subnet;	/* the pools' modes that ask for it */
	unsigned overhead;		/* bytes */
	bool by_address;		/* other nodes are reached at their tunnel addresses, each a neighbour with a MAC */
	bool fallback;			/* the device comes with the kernel's module and is never deleted */
};

extern const struct tunnel_kind tunnel_kinds[TUNNELS];	/* [TUNNEL_NONE]: all zero */

#define tunnel_each(t) for (enum tunnel t = TUNNEL_NONE + 1; t < TUNNELS; t++)

/* What a pool of that mode and family (AF_...) asks for; TUNNEL_NONE: nothing. */
enum tunnel encapsulation_tunnel(enum encapsulation e, uint8_t family);
bool encapsulation_is_cross_subnet(enum encapsulation e);
unsigned encapsulation_overhead(enum encapsulation e, uint8_t family);	/* bytes */

#endif
