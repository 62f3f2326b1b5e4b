#ifndef CTL_CTL_H
#define CTL_CTL_H
/*
 * The command line's two ends.  server: a table of verbs that agent.c fills;
 * client: sends a verb's words to the agent's socket and prints the answer.
 */
#include "base/server.h"
#include "base/str.h"

/* Exit codes of manx(1). */
enum {
	EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_AGENT = 3, EXIT_PERMISSION = 4, EXIT_CONFIG = 5,
	EXIT_KERNEL = 6, EXIT_DATASTORE = 7, EXIT_DENY = 10, EXIT_BUSY = 75,
};

/* A verb of the running agent.  words[] are what followed it, without -o; the answer goes to out. Returns the exit code. */
struct ctl_verb {
	const char *name;		/* "status", "ipam show" */
	int (*run)(void *ctx, char **words, unsigned count, bool json, struct str *out);
};

/* Answers a request (FRAME_CTL) from the table. */
void ctl_handle(const struct ctl_verb *verbs, unsigned count, void *ctx, struct conn *conn);

/* Sends the words to the agent on socket, prints its answer to stdout (exit code other than 0: to stderr). The exit code. */
int ctl_client(const char *socket, char **words, unsigned count, bool json);

#endif
