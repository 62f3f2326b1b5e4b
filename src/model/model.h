#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H
/*
 * What the node should look like: plain rows, no I/O.
 *
 * Sources write rows (store: objects of the datastore; cni: endpoints of
 * this node; node: what the uplink says), which become dirty.  Reconcilers
 * read the dirty rows in the pass and make the kernel match.  Nobody else
 * talks to anybody.
 */
#include <stdbool.h>
#include <stdint.h>
#include "base/prefix.h"
#include "base/table.h"
#include "model/config.h"
#include "model/tunnel.h"

/* What every object of the datastore carries. */
struct meta {
	const char *namespace;		/* "" when cluster-scoped */
	const char *name;
	const char *uid;		/* "" when the store gives none */
	uint64_t version;		/* resourceVersion; 0: written by a user's file */
	const struct label *labels, *annotations;
	unsigned label_count, annotation_count;
	bool deleting;			/* metadata.deletionTimestamp is set */
};
struct label { const char *key, *value; };
/* Where a user's file gives an object.  file NULL: none does; line 0: not as it stands there now. */
struct place { const char *file; unsigned line; };

/* The value of key, or NULL. */
const char *label_find(const struct label *l, unsigned count, const char *key);
const struct label *labels_copy(struct arena *mem, const struct label *from, unsigned count);	/* texts included */

struct namespace { struct row row; struct meta meta; };

enum pod_phase { POD_PENDING, POD_RUNNING, POD_SUCCEEDED, POD_FAILED, POD_UNKNOWN };
/* A port that a container names. */
struct pod_port { const char *name; uint8_t protocol; uint16_t number; };
struct pod {
	struct row row;			/* key "namespace/name" */
	struct meta meta;
	const char *node, *service_account;
	bool host_network;
	enum pod_phase phase;
	struct addr ips[FAMILIES];
	struct pod_port *ports;		/* in order of names, protocols, numbers */
	unsigned port_count;
};

struct node {
	struct row row;			/* key: name */
	struct meta meta;
	struct prefix address[FAMILIES];	/* projectcalico.org/IPv4Address, IPv6Address; family 0: none */
	struct addr tunnel[TUNNELS];		/* its addresses in tunnels, Calico's annotations */
	uint8_t vxlan_mac[FAMILIES][6];		/* annotation, else derived from the name */
	bool network_up;			/* its condition NetworkUnavailable is False; no reconciler's concern */
	struct prefix pod_cidr[FAMILIES];	/* spec.podCIDRs; family 0: none */
	uint64_t boot;				/* hash of status.nodeInfo.bootID, its kubelet's; 0: none */
};

struct pool {
	struct row row;			/* key: name */
	struct meta meta;
	struct prefix cidr;
	unsigned block_size;
	enum encapsulation encapsulation;	/* never AUTO */
	bool nat_outgoing, disabled, disable_bgp_export, manual;	/* manual: assignmentMode */
	bool use_workload, use_tunnel;		/* allowedUses */
	const char *node_selector, *namespace_selector;
	const struct selector *nodes, *namespaces;	/* what these say; NULL: all */
	const char *refused;		/* why this pool is not used (it overlaps an older name), or NULL */
	bool implied;			/* by the configuration: no object of the datastore (ipam = podcidr) */
};

/* IPAMBlock (Calico).  Ordinal n is the address cidr.addr + n. */
struct block_attribute {
	const char *json;		/* the entry as it is written, kept for fields we do not know */
	const char *handle;		/* handle_id, or NULL */
	const char *node, *pod, *namespace, *type;	/* of secondary{}, or NULL */
	const char *released_at;	/* RFC 3339, or NULL */
	uint32_t handle_hash;		/* of handle, by fnv32a(); container ids often differ only at their end */
	uint64_t digest;		/* of json */
};
enum { BLOCK_FREE = -1 };
struct block {
	struct row row;			/* key: "10.42.17.64/26" */
	struct meta meta;
	struct prefix cidr;
	const char *node;		/* of affinity "host:<node>"; NULL: nobody's, or not a host's */
	const char *affinity;		/* whole, or NULL */
	const char *affinity_claim_time;	/* RFC 3339, or NULL */
	unsigned size;			/* ordinals */
	int16_t *allocations;		/* [size]: index into attributes, or BLOCK_FREE */
	uint16_t *unallocated;		/* [size] room, FIFO of free ordinals */
	unsigned free_count;
	struct block_attribute *attributes;
	unsigned attribute_count;
	bool lends;			/* an attribute is of another node than the block, or of none */
	int64_t sequence;		/* sequenceNumber */
	int64_t *sequences;		/* [size]: sequenceNumberForAllocation, 0: none */
	bool deleted;
	bool checked;			/* made by ipam from what the model had, so nothing of ours can be missing in it */
};

enum affinity_state { AFFINITY_CONFIRMED, AFFINITY_PENDING, AFFINITY_PENDING_DELETION };
struct affinity {
	struct row row;			/* key: object name, "<node>-10-42-17-64-26" */
	struct meta meta;
	const char *node, *type;	/* type: "host" or "virtual" */
	struct prefix cidr;
	enum affinity_state state;
	bool deleted;
};

/* IPAMHandle: who holds how many addresses of which block. */
struct handle_block { struct prefix cidr; unsigned count; };
struct handle {
	struct row row;			/* key: object name, the handle in lower case */
	struct meta meta;
	const char *id;
	struct handle_block *blocks;
	unsigned block_count;
	bool deleted;
};

/* IPAMConfig, in the v3 group IPAMConfiguration: the one called default counts. */
enum { IPAM_BLOCKS_PER_HOST = 20 };	/* where max_blocks is 0 */
struct ipam_config {
	struct row row;			/* key: name */
	struct meta meta;
	bool strict_affinity, auto_allocate;
	uint32_t max_blocks, cooldown_s;
};

/* IPReservation: only who asks for one of these addresses gets it. */
struct reservation {
	struct row row;			/* key: name */
	struct meta meta;
	struct prefix *cidrs;
	unsigned count;
};

/* WorkloadEndpoint (projectcalico.org/v3): a pod of any node, published by its node. */
struct workload {
	struct row row;			/* key "namespace/name" */
	struct meta meta;
	const char *node, *pod, *container, *endpoint, *interface, *mac;
	struct addr ips[FAMILIES];
};

/* A port of the node that leads to one of a pod (the capability portMappings). */
struct host_port {
	struct addr host;		/* of the node; family 0: all of its addresses; 0.0.0.0, :: all of that family */
	uint8_t protocol;
	uint16_t number, target;	/* of the node, of the pod */
};

/* The capability bandwidth, one way.  rate 0: unlimited. */
struct shaping { uint64_t rate, burst; };	/* bits a second; bits */

/*
 * An attachment on this node: what one CNI ADD made.  The route and the rules
 * of it are wanted exactly while this row exists.
 */
struct endpoint {
	struct row row;			/* key "<container id>/<interface in the pod>" */
	const char *handle;		/* "<network>.<container id>" */
	const char *network, *container, *ifname;	/* ifname: in the pod */
	uint32_t handle_hash, container_hash;	/* by fnv32a() */
	const char *pod, *namespace, *uid;	/* "" without a pod identity */
	char host_if[16];
	int ifindex;			/* of host_if */
	unsigned mtu;			/* of host_if */
	uint8_t mac[6];			/* of the pod's end */
	struct addr ips[FAMILIES];
	const struct host_port *host_ports;
	unsigned host_port_count;
	struct shaping to_pod, from_pod;
	int rc;				/* written by reconcilers: 0, or the first -errno of this row's objects ... */
	char why[160];			/* ... its text ... */
	bool of_rules;			/* ... and whether it is of rules or of routes */
};

/* What the uplink of this node looks like (one row, key "self"). */
struct uplink {
	struct row row;
	struct prefix address[FAMILIES];	/* node address with its prefix length */
	int ifindex[FAMILIES];
	unsigned mtu[FAMILIES];
};

/* A condition that a person should know of; shown by status. */
struct problem {
	struct row row;			/* key "<sub> <what>" */
	const char *sub, *text, *remedy;
	bool news;			/* it was not there, or said something else */
};

enum answer { ANSWER_UNKNOWN, ANSWER_YES, ANSWER_NO };

struct model {
	const struct config *config;
	struct table namespaces, pods, nodes, pools, blocks, affinities, handles, workloads;
	struct table ipam_configs, ipam_configurations, reservations;
	struct table cluster_informations;	/* struct namespace: of Calico; that it exists is what counts */
	struct table network_policies;	/* struct policy, see model/policy.h */
	struct table endpoints, uplinks, problems;
	struct addr tunnel[TUNNELS];	/* our own addresses in tunnels, assigned by ipam; family 0: none */
	enum answer kernel_ipip;	/* has the kernel IPIP?  Asked only when the mode of a new pool depends on it */
	int ipvs_link;			/* index of kube-ipvs0: policy cannot be judged beside IPVS; 0: it is not there */
	bool complete;			/* every kind's list was read whole once */
	bool endpoints_known;		/* the pods that live in the kernel have their rows */
};

void model_init(struct model *m, const struct config *config);
void model_fini(struct model *m);
void model_clean(struct model *m);	/* after a pass, see table_clean() */

const struct uplink *model_uplink(const struct model *m);	/* NULL before it is known */
const struct node *model_self(const struct model *m);		/* our Node object, or NULL */
bool model_is_self(const struct model *m, const char *node);	/* our name?  NULL is nobody's */
bool model_owns(const struct model *m, const struct block *b);	/* it is there, and this node's */
/* The usable pool that holds a, whether disabled or not; NULL when none does. */
const struct pool *model_pool_of(const struct model *m, const struct addr *a);

/* The block that holds a, or NULL. */
const struct block *model_block_of(const struct model *m, const struct addr *a);

/* n's address in that tunnel: its annotation's, or (ipam = podcidr) the second of its podCIDR; family 0: none. */
struct addr model_node_tunnel(const struct model *m, const struct node *n, enum tunnel t);

/* What the datastore says, or the defaults. */
const struct ipam_config *model_ipam_config(const struct model *m);
/* Is all of it in reservations? */
bool model_is_reserved(const struct model *m, const struct prefix *p);

/* Our address in that tunnel; a change makes the uplink's row dirty. */
void model_tunnel_set(struct model *m, enum tunnel t, const struct addr *a);

/* The first pool of that family by name, used or not; NULL when there is none. */
const struct pool *model_first_pool(const struct model *m, int family);
/* Are the default pools of that family ours to make?  (The configuration names some, the datastore has none.) */
bool model_lacks_pools(const struct model *m, int family);

/* Of overlapping pools all but the one whose name sorts first are refused: sets pool->refused, names the problem. */
void model_judge_pools(struct model *m);

/* What a pod's link may carry: the uplink's MTU less the largest overhead that a usable pool adds. */
unsigned model_pod_mtu(const struct model *m);

/* problem: put (text is printf-formatted; remedy may be "") or clear by sub and what.  The row is the table's. */
struct problem *model_problem(struct model *m, const char *sub, const char *what, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
void model_problem_clear(struct model *m, const char *sub, const char *what);

void endpoint_hash(struct endpoint *ep);	/* its hashes, once its texts are set */
/* The host end's name: "cali" and 11 hex digits of SHA-1("<namespace>.<pod>"), or of the container id. */
void endpoint_host_if(char out[16], const char *namespace, const char *pod, const char *container);

#endif
