#ifndef STATUS_H
#define STATUS_H
/* The agent's state, and `manx status` that shows it. */
#include "base/loop.h"
#include "base/server.h"
#include "ctl/ctl.h"
#include "model/model.h"
#include "reconcile.h"
#include "store/store.h"

#define MANX_VERSION "0.1.0"

struct agent {
	struct config *config;		/* SIGHUP takes what it can: reload.c */
	int (*reread)(struct config *c, config_report *report, void *ctx);
	struct loop loop;
	struct model model;
	struct store store;
	struct server server;
	struct pass pass;
	int ready_fd;
	bool ready;			/* has become so, see agent_is_ready() */
	struct ctl_call *after_pass;	/* calls that are answered after the pass */
	struct ctl_call *leaving;	/* who asked for uninstall; NULL: nobody did */
};

bool agent_is_ready(const struct agent *a);	/* it was, and nothing has come since that forbids it */
void status_show(const struct agent *a, struct str *out, bool json);

#endif
