#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H
/*
 * The flat file: key = value, one table of keys (config.c) that parsing,
 * defaults, --set and config/manx.conf all go by.
 */
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/log.h"
#include "base/prefix.h"
#include "base/str.h"

enum { CONFIG_KEYS_MAX = 32, CONFIG_POOLS_MAX = 16, CONFIG_PEERS_MAX = 32, CONFIG_SERVERS_MAX = 8, CONFIG_PATH_MAX = 96,
       CONFIG_NAME_MAX = 254 };

enum node_address_how { ADDRESS_AUTO, ADDRESS_GIVEN, ADDRESS_INTERFACE, ADDRESS_CIDR, ADDRESS_REACH };
struct node_address {
	enum node_address_how how;
	struct prefix given[FAMILIES];	/* GIVEN: with prefix length; CIDR, REACH: [0] is the prefix or the /32, /128 */
	char interface[16];
};

enum datastore_driver { DATASTORE_FILE, DATASTORE_KUBERNETES, DATASTORE_ETCD };
struct datastore {
	enum datastore_driver driver;
	char where[256];		/* folder, kubeconfig ("" in-cluster), or URLs */
};

enum encapsulation { ENCAP_AUTO, ENCAP_IPIP, ENCAP_IPIP_CROSS_SUBNET, ENCAP_VXLAN, ENCAP_VXLAN_CROSS_SUBNET, ENCAP_NONE };
const char *encapsulation_text(enum encapsulation e);	/* as in the configuration file */
enum ipam_mode { IPAM_BLOCK, IPAM_PODCIDR };
enum nft_owner { NFT_OWNER_AUTO, NFT_OWNER_NO };
enum bgp_mode { BGP_OFF, BGP_MESH, BGP_PEERS };

struct pool_list {
	struct prefix cidr[CONFIG_POOLS_MAX];
	unsigned line[CONFIG_POOLS_MAX];	/* in the file; 0: elsewhere */
	unsigned count;
	bool given;			/* by file or --set; else the default, which Kubernetes has none of */
};
struct bgp_peer { struct addr address; uint32_t asn; };
struct bgp_peer_list { struct bgp_peer peer[CONFIG_PEERS_MAX]; unsigned count; };
struct listen_address { struct addr address; uint16_t port; bool asked; };	/* port 0: off; asked: not the default */
struct server_list { struct listen_address server[CONFIG_SERVERS_MAX]; unsigned count; };	/* port 0: as elsewhere */

struct config {
	const char *file;		/* as given to config_read(), or NULL */
	uint32_t given[CONFIG_KEYS_MAX];	/* a hash of each key's text, see config_take() */
	char node_name[CONFIG_NAME_MAX];	/* "": the host name is no node name; see config_check() */
	struct node_address node_address;
	struct datastore datastore;
	struct server_list api_address;
	char run_dir[CONFIG_PATH_MAX], state_dir[CONFIG_PATH_MAX];
	char cni_conf_dir[CONFIG_PATH_MAX], cni_bin_dir[CONFIG_PATH_MAX];	/* "": install nothing */
	struct pool_list pools;
	unsigned block_size, block_size_v6;
	enum encapsulation encapsulation;
	bool nat_outgoing;
	enum ipam_mode ipam;
	unsigned ipam_reserve;
	enum nft_owner nft_owner;
	enum bgp_mode bgp;
	uint32_t as_number;
	struct bgp_peer_list bgp_peers;
	uint16_t bgp_listen;			/* 0: off */
	struct listen_address metrics_listen, health_listen;
	enum log_level log_level;
};

/* "ADDRESS:PORT", IPv6 in brackets; port_needed false: without ":PORT" it is 0.  -EINVAL. */
int listen_address_parse(struct listen_address *a, const char *text, bool port_needed);

/* All defaults (node_name: $NODE_NAME, else the host name in lower case). */
int config_init(struct config *c, struct err *e);

/*
 * Reads path over the defaults.  Each error is reported as "FILE:LINE: text"
 * through report(), all of them, before -EINVAL is returned.  A missing file
 * is fine when optional.
 */
typedef void config_report(void *ctx, const char *text);
int config_read(struct config *c, const char *path, bool optional, config_report *report, void *ctx);

/* One "key=value" of --set.  The first --set of a repeatable key empties its list. */
struct config_sets { uint64_t seen; };	/* zeroed by the caller before the first */
int config_set(struct config *c, struct config_sets *sets, const char *assignment, struct err *e);

/*
 * What only the whole can tell, once file and --set are read: there is a node
 * name, each pool holds a block.
 */
int config_check(const struct config *c, struct err *e);

/* -EPROTONOSUPPORT with *e when a setting asks for something that is not built. */
int config_built(const struct config *c, struct err *e);

/* Takes those keys of now that a running agent can take.  *restart: names of the others that were given otherwise. */
void config_take(struct config *c, const struct config *now, struct str *restart);

/* For the test that config/manx.conf names every key: row n of the table (def NULL: it has no default), false past the end. */
bool config_key(unsigned n, const char **name, const char **def);

#endif
