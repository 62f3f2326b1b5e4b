#ifndef AGENT_H
#define AGENT_H
#include "model/config.h"

/* The daemon, in the foreground, until SIGTERM.  ready_fd: gets a newline when ready; -1: none.  Returns the exit code. */
int agent_run(const struct config *config, const char *config_path, int ready_fd);

#endif
