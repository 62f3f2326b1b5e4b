#ifndef NODE_NODE_H
#define NODE_NODE_H
/*
 * This node as others see it: its address (detect.c), its Node object
 * (register.c), forwarding (forward.c), its pods as WorkloadEndpoints
 * (publish.c).
 */
#include "base/loop.h"
#include "model/model.h"
#include "store/store.h"

struct node_agent;

/* Opens netlink sockets and looks for the address.  NULL with *e. */
struct node_agent *node_new(struct loop *l, struct model *m, struct store *s, struct err *e);
void node_free(struct node_agent *n);

/* Is the Node this machine's, as far as its kubelet says?  Otherwise its pods are not ours to judge. */
bool node_is_ours(struct node_agent *n);

/* Part of the pass: writes the Node object, endpoints and sysctls when what they should say has changed. */
void node_run(struct node_agent *n);

#endif
