#ifndef AGENT_H
#define AGENT_H
#include "model/config.h"

/*
 * The daemon, in the foreground, until SIGTERM.  ready_fd: gets a newline when ready; -1: none.  reread: reads the
 * same configuration anew, for SIGHUP; negative when it was refused, and reported.  Returns the exit code.
 */
struct agent_start {
	struct config *config;
	const char *config_path;
	int ready_fd;
	int (*reread)(struct config *c, config_report *report, void *ctx);
};
int agent_run(const struct agent_start *s);

/* The lock of run_dir, which is held for life; made if missing.  EXIT_OK, or it says why, and the exit code: 75 after 10 s. */
int run_dir_lock(const struct config *c, int *lock);

#endif
