#ifndef NODE_NODE_INT_H
#define NODE_NODE_INT_H
/* Shared by the files of node/. */
#include "nl/rtnl.h"
#include "node/node.h"

struct node_agent {
	struct loop *loop;
	struct model *model;
	struct store *store;
	struct nl cmd, events;
	struct watch watch;
	struct timer settle;		/* after the last event: look again */
	/* register.c */
	uint64_t boot;			/* hash of this boot's id */
	bool taken;			/* the Node is another machine's, as was said */
	bool writing;
	bool written;			/* the object is as we last wrote it, with this address, as far as is known */
	struct prefix address[FAMILIES];
	bool again;			/* the last time it could not be written */
	unsigned overwritten;		/* how often by others */
	struct timer retry;
	/* forward.c */
	bool forwarding;		/* seen to, as far as is known */
	/* learned.c */
	struct watch learned;		/* of the uplink's accept_ra ... */
	int learned_held;		/* ... which is held open meanwhile */
	char learned_link[IFNAMSIZ];	/* "": none is watched */
	/* publish.c */
	struct publication *publications;	/* under way, or waiting for another try */
	bool swept;			/* endpoints of pods that died while we were away are withdrawn */
};

enum { NODE_SETTLE_MS = 50, NODE_RETRY_MS = 1000 };

/* events.c */
int events_open(struct node_agent *n);		/* 0 or -errno */
void events_close(struct node_agent *n);	/* repeatable */
/* detect.c: what config->node_address means right now, to the model's uplink row. */
void detect_run(struct node_agent *n);
/* register.c */
void register_init(struct node_agent *n);
void register_run(struct node_agent *n);
/* forward.c */
void forward_run(struct node_agent *n);
bool sysctl_is(const char *path, char digit);	/* false also when it cannot be read */
/* learned.c */
void learned_keep(void);		/* right before forwarding is turned on */
void learned_watch(struct node_agent *n);	/* of the uplink as it is now */
void learned_close(struct node_agent *n);	/* repeatable */
/* publish.c */
void publish_run(struct node_agent *n);
void publish_stop(struct node_agent *n);

#endif
