#ifndef CTL_CTL_H
#define CTL_CTL_H
/*
 * The command line's two ends.  server: a table of verbs that agent.c fills;
 * client: sends a verb's words to the agent's socket and prints the answer.
 *
 * An answer is what goes to stdout, and behind a NUL byte what goes to stderr.
 */
#include "base/server.h"
#include "base/str.h"

/* Exit codes of manx(1). */
enum {
	EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_AGENT = 3, EXIT_PERMISSION = 4, EXIT_CONFIG = 5,
	EXIT_KERNEL = 6, EXIT_DATASTORE = 7, EXIT_DENY = 10, EXIT_BUSY = 75,
};

/* A verb under way.  words[] are what followed its name, without options; they last until begin() returns. */
struct ctl_call {
	struct conn *conn;		/* NULL: who asked has left, or waits at late */
	int late;			/* see ctl_detach(); -1 */
	char **words;
	unsigned count;
	bool json;
	struct str out, err;
	int code;			/* for those who answer later */
	struct ctl_call *next;
};

/* A verb of the running agent.  begin() ends in ctl_answer() or ctl_refuse(), then or later. */
struct ctl_verb {
	const char *name;		/* "status", "ipam show" */
	void (*begin)(void *ctx, struct ctl_call *c);
};

/* Answers a request (FRAME_CTL) from the table. */
void ctl_handle(const struct ctl_verb *verbs, unsigned count, void *ctx, struct conn *conn);
/* Sends call->out and call->err to whoever still waits; the call is gone then. */
void ctl_answer(struct ctl_call *c, int code);
/* Instead of what was in out: an error of one line. */
void ctl_refuse(struct ctl_call *c, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The call outlives the server: its answer is sent at once, by ctl_answer(). */
void ctl_detach(struct ctl_call *c);

/*
 * Sends the words to the agent on socket and prints its answer.  The exit code.  quiet: that no agent runs is nothing
 * to be said.
 */
int ctl_client(const char *socket, const char *const *words, unsigned count, bool json, bool quiet);

#endif
