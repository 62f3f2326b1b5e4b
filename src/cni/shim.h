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

/* loopback.c: a face of its own, without an agent. */
int loopback_run(struct shim *s);

#endif
