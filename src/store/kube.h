#ifndef STORE_KUBE_H
#define STORE_KUBE_H
/*
 * One Kubernetes API: where its servers are, who they have to be, who we are, and requests to them by
 * HTTP/1.1 in TLS 1.2.  It moves bytes; what they mean is the driver's business.
 *
 * A call is embedded in its owner and has a connection of its own while it lasts; a few that came to a whole
 * end are kept for the next.  A call that finds no server alive tries each address once before it fails;
 * the one that answered last is asked first.  When to try again is up to the owner.
 *
 * Tokens, CA and client certificate are looked at again (by stat) whenever they are used, and read again when
 * they have changed, or when the server says 401; a file that is missing or broken meanwhile leaves the last good one.
 */
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"
#include "base/loop.h"
#include "base/str.h"
#include "model/config.h"

struct kube;
struct kube_conn;

struct kube_call {
	/* The owner's, not to be changed until the end. */
	const char *method;		/* "GET" */
	const char *path;		/* "/api/v1/pods?watch=1", escaped as URLs want it */
	const char *content_type;	/* of the body; NULL: there is none */
	const char *body;
	size_t body_len;
	bool stream;			/* a watch: the body may pause and never end */
	unsigned silence_ms;		/* of a stream: without a byte for so long it ends by ETIMEDOUT; 0: no limit */
	void (*on_head)(struct kube_call *c);	/* status and what follows it are known; may be NULL */
	/* A piece of the body, chunks undone; never empty, valid during the call only.  NULL: bodies go to answer, or nowhere. */
	void (*on_data)(struct kube_call *c, const char *data, size_t len);
	struct str *answer;		/* emptied at the start; what is longer than JSON_SIZE_MAX is cut there */
	/*
	 * The last call.  e NULL: the answer is whole, whatever its status.  Otherwise e->text begins with the server's
	 * address; code EKEYREJECTED: it is not who it should be, or speaks no TLS of ours; EACCES: our own credentials
	 * cannot be used; EPROTO: no HTTP; ETIMEDOUT, ECONNREFUSED, ...: the network's.
	 */
	void (*on_end)(struct kube_call *c, const struct err *e);

	/* What came back. */
	int status;			/* 200; 0: nothing came */
	unsigned retry_after_s;		/* 0: it said nothing */
	bool json;			/* the body says that it is JSON */
	bool unsure;			/* at an end with e: the server may have done what it was asked */

	/* From here on the transport's. */
	struct kube *kube;
	struct kube_conn *conn;
	struct deferred start;
	unsigned tried;			/* addresses that did not answer */
	bool on;
};

/*
 * Reads kubeconfig (config->datastore.where) or what a pod finds about itself ("").  NULL with *e: -EINVAL, what is
 * written there will not do, with file and line where there is one; or -errno of a file.  Does not connect.
 * config is read here only.
 */
struct kube *kube_open(struct loop *l, const struct config *config, struct err *e);
void kube_close(struct kube *k);	/* calls under way get no callback */

/* Callbacks come from the loop, never from within these.  In on_end the call is over: it may be started or freed. */
void kube_start(struct kube *k, struct kube_call *c);
void kube_cancel(struct kube_call *c);	/* no callback afterwards; may be called from any of them; repeatable */

/* The address asked last ("10.0.0.1:6443", "[fd00::1]:6443"), for a person. */
const char *kube_server(const struct kube *k);

#endif
