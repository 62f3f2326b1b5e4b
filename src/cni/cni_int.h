#ifndef CNI_CNI_INT_H
#define CNI_CNI_INT_H
/* Shared by the files of cni/. */
#include "base/arena.h"
#include "cni/cni.h"
#include "nl/rtnl.h"
#include "wire/json.h"

/* Error codes: the specification's, then ours (manx(1)). */
enum {
	CNI_OK = 0, CNI_VERSION = 1, CNI_UNSUPPORTED = 2, CNI_ENVIRONMENT = 4, CNI_IO = 5, CNI_DECODE = 6, CNI_CONFIG = 7,
	CNI_NETNS = 8, CNI_TRY_LATER = 11, CNI_UNAVAILABLE = 50,
	CNI_NO_ADDRESS = 101, CNI_NO_BLOCK = 102, CNI_ADDRESS_TAKEN = 103, CNI_KERNEL = 104, CNI_RULES = 105,
};
enum { CNI_ADD_MS = 20000, CNI_DEL_MS = 5000, CNI_SHIM_MS = 25000, CNI_CONNECT_MS = 10000 };

#define CNI_DEFAULT_SOCKET "/run/manx/manx.sock"

extern const char *const cni_versions[];	/* oldest first, NULL at the end */
bool cni_version_known(const char *version);

/* server.c: one call of the plugin. */
struct cni_request {
	struct cni *cni;
	struct conn *conn;		/* NULL: the peer hung up, was answered, or the call is a noted DEL */
	char *note;			/* path of the noted DEL, or NULL */
	struct arena mem;
	struct json conf;
	char *conf_text;
	const char *command, *container, *netns, *ifname, *pod, *namespace, *uid;
	const char *version, *network, *handle, *key;
	int pod_fd, netns_fd;		/* rtnetlink inside the pod's namespace, and the namespace; -1: closed */
	struct timer deadline;
	struct ipam_request ipam;
	int dead_link;			/* of a DEL: what the reaper gets after the pass */
	bool repeated;			/* an ADD of a pod that is attached already */
	bool waiting_address, waiting_pass, waiting_release, adding;
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
	struct timer again;		/* a pass, since recovering failed */
	bool open;
	struct cni_request *requests;
};

/* Answers and forgets the request; a call without a peer is only forgotten. */
void request_result(struct cni_request *r, const struct endpoint *ep);	/* ADD's result; ep NULL: empty */
void request_fail(struct cni_request *r, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A DEL that the plugin noted at path while no agent ran; the note goes when it is done. */
void cni_note(struct cni *c, const char *path, const struct str *payload);

/* A verb: begin() starts it; it ends in request_result() or request_fail(). */
void add_begin(struct cni_request *r);
void add_after_pass(struct cni_request *r);
void add_undo(struct cni_request *r);
void add_cancel(struct cni_request *r, const char *why);	/* fails it, and undoes it as soon as that can be */
void add_abandon(struct cni_request *r);	/* the peer left, or time is up: undo */
void del_begin(struct cni_request *r);
void del_after_pass(struct cni_request *r);

/* link.c: the pod's link. */
/* Makes (or finds again) the link of ep, fills ep->ifindex.  Failure: *code is the CNI code, *e says why, nothing is left. */
int link_make(struct cni_request *r, struct endpoint *ep, int *code, struct err *e);
void link_mac(uint8_t mac[6], const struct addr ips[FAMILIES]);
/* "manx <network> <container> <ifname>" on the host end: what a restarted agent knows the pod by. */
bool link_alias(char out[256], const char *network, const char *container, const char *ifname);

/* reaper.c: a thread that deletes dead links, since the kernel sleeps in each deletion. */
struct reaper *reaper_start(struct err *e);
void reaper_stop(struct reaper *r);		/* finishes what it was given */
void reaper_take(struct reaper *r, int ifindex);

/* result.c */
void result_error(struct str *out, const char *version, int code, const char *text);
void result_add(struct str *out, const struct cni_request *r, const struct endpoint *ep, unsigned mtu);
void result_versions(struct str *out, const char *version);

/* server.c, shim.c: rules for names that come from outside. */
bool cni_name_valid(const char *text);		/* container id, network name */
bool cni_ifname_valid(const char *text);

#endif
