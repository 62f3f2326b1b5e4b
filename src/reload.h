#ifndef RELOAD_H
#define RELOAD_H
#include "status.h"

/* SIGHUP: the configuration is read again; what the agent can take, it takes, and names the keys that need a restart. */
void reload(struct agent *a);

#endif
