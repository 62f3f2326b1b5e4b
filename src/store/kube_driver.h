#ifndef STORE_KUBE_DRIVER_H
#define STORE_KUBE_DRIVER_H
/*
 * Shared by the files of the Kubernetes driver.
 *
 *	kube_store.c	start and stop, which group Calico's kinds are in, is the server there
 *	kube_watch.c	one kind's list and watch
 *	kube_object.c	from an object's text to the model
 *	kube_pool.c	which network pods are in, where nobody says so
 *	kube_up.c	the Node's condition
 *	kube_event.c	the Node's Events
 *	kube_controlled.c	do Calico's controllers run?
 *	kube_write.c	writes, and changes that people ask for
 *	kube_cache.c	what was last known, in state_dir
 */
#include "store/kube.h"
#include "store/store.h"
#include "wire/json_split.h"

enum { KUBE_KINDS_MAX = 24, KUBE_RETRY_MAX_MS = 30000, KUBE_PROBE_MAX_MS = 300000 };

enum kube_phase {
	KUBE_IDLE,			/* not of this cluster, or not asked for yet */
	KUBE_INITIAL,			/* a watch that begins with what there is */
	KUBE_LIST,			/* page by page, where the server has no such watch */
	KUBE_WATCH,
};

struct kube_kind {
	struct kube_store *ks;
	const struct kind *kind;
	struct kube_call call;
	struct timer again;
	struct json_split split;
	struct str path, more, note;	/* of the request; of the list's next page; what a refusal says */
	const char *filter;		/* a field selector, escaped, or NULL */
	enum kube_phase phase;
	uint64_t begun_ms;		/* when the last answer did */
	uint64_t version;		/* from which the watch goes on; of a list, at least so new */
	unsigned tries;			/* that failed, one after the other */
	bool listed;			/* the model has all of them: said by the server, once */
	bool recalled;			/* or by the cache */
	bool absent;			/* the server has no such kind */
	bool doubted;			/* so it seems: asked again when the server is sure of its kinds */
	bool lost;			/* the last request had no answer */
	bool rewound;			/* the server's versions have gone back: what it says counts */
	bool stopping;			/* the call was given up: what is left of this piece is of no interest */
	bool refused;			/* objects are named under problem, perhaps */
	/* kube_cache.c */
	int file;
	uint64_t size, live;		/* bytes in the file; of them after the last time it was rewritten */
};

struct kube_write;

struct kube_store {
	struct store *s;
	struct kube *kube;
	struct kube_kind kinds[KUBE_KINDS_MAX];	/* as kinds[] */
	int group;			/* of Calico's kinds, as in api_versions[]; -1: the server has none */
	bool no_initial;		/* no watch begins with what there is */
	bool all_pods;			/* some policy may need other nodes' */
	char own_pods[320];		/* field selector of the others */
	unsigned lost;			/* kinds that are */
	uint64_t said_ms;		/* when it was said that the server is away, and why; 0: it is not */
	uint32_t jitter;
	/* The groups that there are. */
	struct kube_call groups;
	struct str answer;
	struct timer groups_again;
	unsigned groups_tries;
	/* kube_pool.c: the pod network is looked for. */
	struct kube_call search;
	struct str search_answer;
	struct timer search_again;
	unsigned place, search_tries;
	bool searching, searched;
	/* kube_up.c */
	struct kube_call up;
	struct str up_path, up_body;
	struct timer up_again;
	unsigned up_times;
	bool ready, up_on;
	/* kube_event.c */
	struct kube_call event;
	struct str event_body;
	struct timer event_soon;
	uint64_t told[32], event_next;	/* hashes of problems, the last ones; when one may be told, but for the burst */
	unsigned told_count;
	bool event_on, event_failed;
	/* Does the server know all of its kinds by now?  One that has just started does not. */
	struct kube_call readyz;
	struct timer readyz_again;
	unsigned readyz_tries;
	bool sure, asking_sure, doubted;		/* doubted: the groups are */
	struct deferred settle;		/* look whether the lists are whole */
	/* kube_controlled.c */
	struct { struct kube_call call; struct str text; void (*answer)(void *ctx, bool yes); void *ctx; } controlled;
	/* kube_write.c */
	struct kube_write *writes;	/* under way, then waiting */
	/* kube_cache.c */
	int folder;			/* state_dir/cluster, or -1 */
	struct str out;			/* to be appended to the file of the kind at hand */
	struct timer recall;		/* no answer so far: begin with what was known */
	unsigned recall_tries;
};

/* kube_store.c */
/* "ADDRESS: what the server says (403)" of an answer that is a Status, perhaps.  Returns -e->code. */
int kube_status(const struct kube_store *ks, const struct kube_call *c, const struct str *answer, struct err *e);
unsigned kube_backoff(struct kube_store *ks, unsigned first_ms, unsigned tries, unsigned max_ms);
/* "/api/v1/namespaces/web/pods/front"; name NULL: the kind's all; false: the server has no such kind. */
bool kube_path(const struct kube_store *ks, const struct object_ref *ref, struct str *out);
const char *kube_api_version(const struct kube_store *ks, const struct kind *k);	/* NULL: the server has no such kind */
void kube_lost(struct kube_kind *kk, const char *why);
void kube_found(struct kube_kind *kk);
bool kube_sure(struct kube_store *ks);	/* what it does not have is not there; false: doubted kinds are asked for again when it is */
unsigned kube_patience(const struct kube_kind *kk);	/* the longest time between tries, ms */
void kube_settle(struct kube_store *ks);	/* soon */
bool kube_compatible(const struct kube_store *ks);	/* beside Calico: ClusterInformation "default" exists */

bool kube_has(struct kube_store *ks, const char *kind);	/* the server has that kind */

/* kube_pool.c: false: it is being looked for, kube_settle() comes. */
bool kube_pools_known(struct kube_store *ks);
bool kube_pools_recalled(struct kube_store *ks);	/* the same without a server to ask; false: nobody can tell */
void kube_pools_stop(struct kube_store *ks);

/* kube_up.c: the node is ready; says so to its Node, if that does not know. */
void kube_ready(struct store *s);
void kube_up(struct kube_store *ks);
void kube_up_stop(struct kube_store *ks);
void kube_up_condition(struct str *out, bool up);	/* appended to a patch: the member status, and the patch's end */
void kube_now(char now[32]);			/* as the API writes it */
extern const char kube_strategic[];		/* the type of patch that knows a list's keys */

/* kube_event.c */
void kube_problems(struct store *s);		/* there may be new ones */
void kube_events(struct kube_store *ks);	/* those that are due */
void kube_events_stop(struct kube_store *ks);

/* kube_controlled.c */
void kube_controlled(struct store *s, void (*answer)(void *ctx, bool yes), void *ctx);
void kube_controlled_stop(struct kube_store *ks);

/* kube_watch.c */
void kube_kind_init(struct kube_kind *kk, struct kube_store *ks, const struct kind *k);
void kube_kind_start(struct kube_kind *kk);	/* from a list on, also when it runs already */
void kube_kind_stop(struct kube_kind *kk);
void kube_kind_hurry(struct kube_kind *kk);	/* what waits for its next try need not */
void kube_kind_absent(struct kube_kind *kk);	/* the server has no such kind: complete and empty */

/* kube_object.c */
/* An object of a list or watch.  True when the model has changed by it. */
bool kube_object_put(struct kube_kind *kk, const struct json *j, json_value object);
bool kube_object_del(struct kube_kind *kk, const struct json *j, json_value object);
uint64_t kube_version(const struct json *j, json_value object);	/* its resourceVersion; 0: it has none */
/* Refuses one: a problem, said once.  key: "ns/name", or what else it can be called. */
void kube_object_refuse(struct kube_kind *kk, const char *key, const char *why);
void kube_object_listed(struct kube_kind *kk);	/* a list is whole: what it did not refuse is no problem any more */
/* One that the server answered with, whole. */
bool kube_object_read(struct kube_store *ks, const struct kind *k, const struct str *text, uint64_t *version);

/* kube_write.c */
void kube_write(struct store *s, struct store_write *w);
void kube_edit(struct store *s, struct store_edit *e);
void kube_write_stop(struct kube_store *ks);

/* kube_cache.c */
void kube_cache_open(struct kube_store *ks);
void kube_cache_close(struct kube_store *ks);
void kube_cache_put(struct kube_kind *kk, const struct json *j, json_value object);
void kube_cache_del(struct kube_kind *kk, const struct object_ref *ref);
void kube_cache_begin(struct kube_kind *kk);	/* a list begins: what is put from here on is all there is ... */
void kube_cache_end(struct kube_kind *kk);	/* ... and this was the last of it */
void kube_cache_settle(struct kube_kind *kk);	/* a piece has been read: what it brought is written */
bool kube_cache_is_lost(const struct kube_kind *kk);	/* it could not be written: another list may find room */
bool kube_cache_recall(struct kube_kind *kk);	/* to the model; false: there is nothing */
void kube_texts(struct store *s, const struct kind *k, store_text *each, void *ctx);

#endif
