#ifndef AGENT_H
#define AGENT_H
#include "model/config.h"

/* The daemon, in the foreground, until SIGTERM.  ready_fd: gets a newline when ready; -1: none.  Returns the exit code. */
int agent_run(const struct config *config, const char *config_path, int ready_fd);

/* The lock of run_dir, which is held for life; made if missing.  EXIT_OK, or it says why, and the exit code: 75 after 10 s. */
int run_dir_lock(const struct config *c, int *lock);

#endif
