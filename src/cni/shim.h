#ifndef CNI_SHIM_H
#define CNI_SHIM_H
/* What the faces of the plugin share: a call as the runtime made it. */
#include "cni/cni_int.h"

struct shim {
	struct str conf;		/* stdin */
	struct str payload;
	struct json json;
	struct arena mem;
	const char *version, *socket;
	const struct cni_verb *verb;
	const struct face *face;
	bool answered;			/* stdout has its one answer */
	const char *delegate;		/* the IPAM plugin that gives the addresses; NULL: the agent does */
};

bool shim_is(const struct shim *s, const char *verb);
/* The error as JSON on stdout, one line on stderr; returns the exit code. */
int shim_fail(const struct shim *s, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* 0, or -errno: a result that nobody can read is a failure. */
int shim_put(int fd, const struct str *text);
/* A descriptor of CNI_NETNS, or a printed failure (negative). */
int shim_netns_open(const struct shim *s, const char *path);
/* Is it the namespace that own is of?  Then only CNI_NETNS_OVERRIDE lets it be a pod's. */
bool shim_netns_is(int netns, int own);

/* The message of an error that somebody else put on stdout, as a line for the runtime's log. */
void shim_say_error(const struct shim *s, const struct str *answer);

/* delegate.c */
const char *delegate_of(struct shim *s);
/* Its stdout goes to *said.  0, or the exit code of a failure that was printed. */
int delegate_run(const struct shim *s, const char *command, struct str *said);
int delegate_add(struct shim *s);	/* its addresses go into s->payload; returns as delegate_run() */

/* loopback.c: a face of its own, without an agent. */
int loopback_run(struct shim *s);

#endif
