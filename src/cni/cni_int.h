#ifndef CNI_CNI_INT_H
#define CNI_CNI_INT_H
/* Shared by the files of cni/. */
#include "base/arena.h"
#include "base/mac.h"
#include "cni/cni.h"
#include "nl/rtnl.h"
#include "wire/json.h"

/* Error codes: the specification's, then ours (manx(1)). */
enum {
	CNI_OK = 0, CNI_VERSION = 1, CNI_UNSUPPORTED = 2, CNI_ENVIRONMENT = 4, CNI_IO = 5, CNI_DECODE = 6, CNI_CONFIG = 7,
	CNI_NETNS = 8, CNI_TRY_LATER = IPAM_TRY_LATER, CNI_UNAVAILABLE = 50, CNI_LIMITED = 51, CNI_NO_ADDRESS = IPAM_NO_ADDRESS,
	CNI_ADDRESS_TAKEN = IPAM_ADDRESS_TAKEN, CNI_KERNEL = 104, CNI_RULES = 105,
	CNI_CHANGED = 106,		/* CHECK: something is not as ADD left it */
	CNI_PORT_TAKEN = 107,
};
enum { CNI_ADD_MS = 20000, CNI_DEL_MS = 5000, CNI_CHECK_MS = 20000, CNI_STATUS_MS = 5000, CNI_GC_MS = 20000, CNI_SHIM_MS = 25000,
       CNI_CONNECT_MS = 10000, CNI_NOTED_MS = 6000, CNI_PATIENCE_MS = 1000 };
/* An answer's status: done, failed, or (a DEL) failed for now, so that the plugin leaves a note and succeeds. */
enum { CNI_DONE = 0, CNI_FAILED = 1, CNI_LEAVE_NOTE = 75 };

#define CNI_DEFAULT_SOCKET "/run/manx/manx.sock"
#define CNI_ADDRESSES "CNI_MANX_ADDRESSES"	/* among the variables of a request: of calico-ipam */
#define CNI_GIVEN "CNI_MANX_GIVEN"		/* the same: what a delegate gave, "ADDRESS/LEN " each */
#define POD_CIDR_WORD "usePodCidr"	/* also with a tail: usePodCidrIPv6 */
#define CNI_NOTE_FORMAT "%s/del/%s@%s"	/* run_dir, container id, interface */

/* rules.c: what the specification says of verbs, versions and names. */
enum { NEEDS_CONTAINER = 1, NEEDS_NETNS = 2, NEEDS_IFNAME = 4, NEEDS_PATH = 8 };
struct cni_verb {
	const char *name, *since;	/* since: the first cniVersion that has it */
	unsigned flags;
};
extern const struct cni_verb cni_verbs[];	/* name NULL at the end */
extern const char *const cni_versions[];	/* oldest first, NULL at the end */
const struct cni_verb *cni_verb_named(const char *name);	/* NULL: no such verb */
bool cni_verb_in_version(const struct cni_verb *v, const char *version);
bool cni_version_known(const char *version);
bool cni_name_valid(const char *text);		/* container id, network name */
bool cni_pod_valid(const char *text);		/* pod, namespace */
bool cni_ifname_valid(const char *text);

struct verb;

/*
 * server.c: one call of the plugin.  It begins in its turn: once the agent serves its verb, and after older ones
 * of the same container.  It is answered once, and freed when nothing that it began is under way any more.
 */
struct cni_request {
	struct cni *cni;
	const struct verb *verb;
	struct conn *conn;		/* NULL: the peer hung up, was answered, or the call is a noted DEL */
	char *note;			/* path of the noted DEL, or NULL */
	struct arena mem;
	struct json conf;
	char *conf_text;
	const char *command, *container, *netns, *ifname, *pod, *namespace, *uid;
	const char *addresses;		/* not NULL: of calico-ipam, which gives only these */
	const char *given;		/* not NULL: by another plugin, see delegate.c */
	const char *version, *network, *handle, *key;	/* handle, key: NULL for verbs of no container */
	int pod_fd, netns_fd;		/* rtnetlink inside the pod's namespace, and the namespace; -1: closed */
	struct timer deadline;
	struct timer carrier;		/* of an ADD: looks for it again */
	struct timer pod_wait;		/* of an ADD: its Pod object is not known yet */
	unsigned carrier_tries;
	struct deferred later;		/* what must not happen inside the pass */
	struct ipam_request ipam;
	unsigned releasing;		/* of a GC: addresses */
	int dead_link;			/* of a DEL: what the reaper gets after the pass */
	uint8_t mac[6];			/* of an ADD: what the pod's end is to have, when has_mac */
	bool has_mac;
	bool adding, waiting_turn, waiting_pod, waiting_address, waiting_pass, waiting_release;
	bool patient;			/* of an ADD that is repeated: waits for more than one pass */
	struct endpoint *link;		/* of an ADD: whose link was tried while its addresses were being written; or NULL */
	int link_code;			/* CNI_OK: it is there, else why not ... */
	struct err link_err;
	bool ports_kept;		/* of an ADD: its ports' file is its own work */
	bool assigned, made;		/* of an ADD: the addresses, the link are its own work, so it may undo them */
	struct addr ips[FAMILIES];
	struct cni_request *next;
};

struct cni {
	struct loop *loop;
	struct model *model;
	struct ipam *ipam;
	struct nl nl;			/* rtnetlink of the host */
	struct nl pod_nl;		/* of whichever pod is being attached: buffers that stay */
	struct reaper *reaper;
	struct guard *guard;
	struct timer again;		/* a pass, since recovering failed */
	bool open;
	struct cni_request *requests;	/* the oldest first */
	unsigned waiting;		/* how many of them wait for their turn */
	struct deferred turn;
};

/* Answers and forgets the request; a call without a peer is only forgotten. */
void request_result(struct cni_request *r, const struct endpoint *ep);	/* ADD's result; ep NULL: empty */
void request_fail(struct cni_request *r, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void request_note(struct cni_request *r);	/* asks the plugin of a DEL to leave a note */

/* A DEL that the plugin noted at path while no agent ran; the note goes when it is done. */
void cni_note(struct cni *c, const char *path, const struct str *payload);

/* A verb: begin() starts it; it ends in one of the above.  give_up(): the peer left, or (why) it takes too long. */
void add_begin(struct cni_request *r);
void add_after_pass(struct cni_request *r);
void add_on_carrier(struct timer *t);	/* of r->carrier */
void add_on_pod(struct timer *t);	/* of r->pod_wait: it is known, or has been waited for long enough */
bool add_knows_pod(const struct cni_request *r);
void add_undo_later(struct cni_request *r);	/* nobody took its result */
void add_give_up(struct cni_request *r, const char *why);
void del_begin(struct cni_request *r);
void del_after_pass(struct cni_request *r);
void del_give_up(struct cni_request *r, const char *why);
void check_begin(struct cni_request *r);
void check_give_up(struct cni_request *r, const char *why);
void status_begin(struct cni_request *r);
void gc_begin(struct cni_request *r);
void gc_after_pass(struct cni_request *r);
void gc_give_up(struct cni_request *r, const char *why);

/* ADD's addresses are asked for; add.c goes on with the link, or addresses.c with the answer. */
void add_assign(struct cni_request *r);
/* addresses.c: verbs of calico-ipam. */
const char *addresses_handle(struct arena *mem, const char *network, const char *container, const char *ifname);
bool addresses_of_network(const char *handle, const char *network);
void addresses_add(struct cni_request *r);
void addresses_given(struct cni_request *r);
void addresses_del(struct cni_request *r);
void addresses_del_give_up(struct cni_request *r, const char *why);
void addresses_check(struct cni_request *r);

/* ends.c: both ends of a pod's link as data. */
enum { HOST_END, POD_END, ENDS };
struct end {
	const char *name;
	int index;
	uint8_t mac[6];
	unsigned mtu;			/* 0: not known */
	char alias[256];		/* host end; "": it does not fit */
	struct rtnl_addr addrs[FAMILIES];
	struct rtnl_neigh neighs[FAMILIES];
	struct rtnl_route routes[2 * FAMILIES];	/* the host end's are put by the pass */
	unsigned addr_count, neigh_count, route_count;
	bool takes_loopback;		/* host end: packets from 127.0.0.0/8, for host ports */
	uint32_t table;			/* pod's end: of its routes, by rules from its addresses; 0: the main one, by none */
};
extern const uint8_t end_host_mac[6];
void ends_of(struct end ends[ENDS], const struct endpoint *ep, int pod_index);
void end_mac(uint8_t mac[6], const struct addr ips[FAMILIES]);	/* of a pod's end */
bool end_mac_parse(uint8_t mac[6], const char *text);	/* one that an end may have: not a group's, nor zero */
uint64_t end_digest(const struct endpoint *ep);	/* of the row */
/*
 * "manx <network> <container> <ifname>" on the host end, the pod's MAC where it was asked for, its <namespace>/<name>
 * where that still fits: what a restarted agent knows the pod by.  False: it does not fit.
 */
bool end_alias(char out[256], const struct endpoint *ep);
/* Messages into the batch of nl; files need the link to be there. */
void end_put_settings(struct nl *nl, const struct end *e);
void end_put_parts(struct nl *nl, const struct end *e);
void end_put_routes(struct nl *nl, const struct end *e);
void end_write_files(const struct end *e);
int end_check_settings(const struct end *e, struct err *err);	/* 0, -ESTALE: the first that differs, -errno */

/* wish.c: what annotations and capabilities ask of an ADD, into r->ipam, ->ips, ->mac.  CNI_OK, or a code with *e. */
int wishes_read(struct cni_request *r, struct err *e);

/* link.c: the pod's link. */
/*
 * Makes (or finds again) the link of ep, fills ep->ifindex, ep->mtu and r->made.  Failure: *code is the CNI code, *e says
 * why, and nothing that was made is left.
 */
int link_make(struct cni_request *r, struct endpoint *ep, int *code, struct err *e);
int link_refresh(struct cni *c, const struct endpoint *ep, struct err *e);	/* the host end, as it should be; 0 or -errno */
/* The attachment that the host end of that index belongs to, or NULL. */
const struct endpoint *link_owner(const struct cni *c, int index);
bool link_has_carrier(const struct cni *c, const char *host_if);	/* or it is gone */
bool link_has_address(struct cni_request *r, const struct addr *ip);	/* packets to ip are the pod's; true without one */
int link_look(struct nl *nl, const char *name, int index, struct rtnl_link *l, struct err *e);	/* name NULL: by index */

/* further.c: another network has the pod's default routes. */
bool further_is(struct cni_request *r);
void further_name(char out[16], const char *container, const char *ifname);	/* of such an interface's host end */
int further_rules(struct nl *pod, const struct end *end, struct err *e);

/*
 * ports.c: the capabilities portMappings and bandwidth.  take: what the request has of them becomes the endpoint's, and
 * is kept beside the socket for the next agent; CNI_OK, or a code with *e.
 */
int ports_take(struct cni_request *r, struct endpoint *ep, struct err *e);
bool ports_asked(const struct cni_request *r);	/* is there anything to take? */
bool ports_kept(const struct endpoint *ep);	/* is there a file of it? */
void ports_forget(const struct cni *c, const char *container, const char *ifname);
void ports_recall(struct cni *c, struct endpoint *ep);
void ports_sweep(const struct cni *c);	/* of attachments that are gone */

/* shape.c: the capability bandwidth. */
int shape_read(const struct json *j, json_value v, struct endpoint *ep, struct err *e);	/* 0, or -EINVAL with *e */
bool shape_is_wanted(const struct endpoint *ep);
int shape_put(struct cni *c, const struct endpoint *ep, struct err *e);	/* repeatable; 0 or -errno */
int shape_check(struct cni *c, const struct endpoint *ep, struct err *e);	/* 0, -ESTALE: it is not as put, -errno */
void shape_drop(struct cni *c, const struct endpoint *gone);	/* what does not go with the link */
void shape_name(char out[16], const char *host_if);		/* of the device that what the pod sends waits behind */
const struct endpoint *shape_owner(const struct cni *c, const char *link);	/* whose such a device is, or NULL */

/* guard.c: repairs host ends that somebody changes. */
struct guard *guard_start(struct cni *c, struct err *e);	/* NULL with *e */
void guard_stop(struct guard *g);		/* g may be NULL */
void guard_mtu(struct guard *g, unsigned mtu);	/* which most pods' links have; others' events wake it in vain */
bool link_is_altered(const struct rtnl_link *l, const struct end *host);	/* in what a link message tells of it */

/* prev.c: CHECK's prevResult.  CNI_OK, or a code with *e; fills ends[].mtu. */
int prev_check(const struct json *conf, struct arena *mem, struct end ends[ENDS], struct err *e);

/* reaper.c: dead links, and a thread that deletes them, since the kernel sleeps in each deletion. */
struct reaper *reaper_start(struct err *e);
void reaper_stop(struct reaper *r);		/* finishes what it was given */
void reaper_take(struct reaper *r, struct nl *nl, int ifindex);	/* marks it by the way: an agent that starts knows it as dead */
bool reaper_has(const struct rtnl_link *l);	/* is it marked? */
void reaper_wake(struct reaper *r);		/* there are marked ones */

/* result.c */
void result_error(struct str *out, const char *version, int code, const char *text);
void result_add(struct str *out, const struct cni_request *r, const struct endpoint *ep);
/* Parts of a result, of the face loopback too.  sandbox NULL: the host's; interface: the addresses' index, -1: none. */
void result_interface(struct json_out *o, const char *name, const uint8_t mac[6], unsigned mtu, const char *sandbox);
void result_ips(struct json_out *o, const char *version, const struct prefix ips[FAMILIES], int interface);
void result_addresses(struct str *out, const struct cni_request *r);	/* ADD's of calico-ipam */
void result_versions(struct str *out, const char *version);

#endif
