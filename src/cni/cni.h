#ifndef CNI_CNI_H
#define CNI_CNI_H
/*
 * The container network interface, CNI 0.3.1 to 1.1.0.  The plugin (shim.c) is a
 * thin client: it enters the pod's namespace, opens an rtnetlink socket there
 * and passes it to the agent together with its environment and stdin.  The agent
 * (server.c and a file a verb) does the rest and never enters a namespace.
 */
#include "base/loop.h"
#include "base/server.h"
#include "ipam/ipam.h"
#include "model/model.h"

/*
 * The plugin's faces: what a runtime executes.  program: argv[0], which may be that of another plugin whose place we
 * take, calico, calico-ipam or loopback.  Returns the exit code.
 */
int cni_shim(const char *program);
bool cni_is_plugin(const char *program);	/* by its name, or since a runtime calls */

struct cni;

/* Opens the agent's netlink socket and starts the reaper.  NULL with *e. */
struct cni *cni_new(struct loop *l, struct model *m, struct ipam *ipam, struct err *e);
void cni_free(struct cni *c);

/* Once the datastore is read: the pods that live in the kernel get their rows, DELs noted while no agent ran are done. */
void cni_recover(struct cni *c);
/* From now on ADD is served; before, it waits. */
void cni_open(struct cni *c);

/* A request (FRAME_CNI) of the agent's socket. */
void cni_handle(struct cni *c, struct conn *conn);
/* After each pass: answers that waited for it. */
void cni_after_pass(struct cni *c);

/* Writes the network list into config->cni_conf_dir and this program into cni_bin_dir. 0, or negative with *e. */
int cni_install(const struct config *c, const char *socket, struct err *e);
/* Takes both away again, where they are ours; *said names them.  0, or negative with *e. */
int cni_uninstall(const struct config *c, const char *socket, struct str *said, struct err *e);
/* The links of all pods of this node go, at the latest when cni_free() returns.  How many, or negative with *e. */
int cni_remove_links(struct cni *c, struct err *e);

/* Is an ADD of that handle under way? */
bool cni_is_adding(const struct cni *c, const char *handle);

#endif
