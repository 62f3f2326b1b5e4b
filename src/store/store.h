#ifndef STORE_STORE_H
#define STORE_STORE_H
/*
 * Where objects come from and are written to.  A driver moves bytes and
 * versions; kinds understand them; the model gets the rows.
 *
 * Writes are asynchronous in every driver and compare-and-swap: done() is
 * called from the loop, never inside store_put().  When done(0) is called the
 * model already holds the new row; when it is called with -ESTALE the model
 * holds what the datastore has now, so a caller just looks again.
 */
#include "base/loop.h"
#include "store/kind.h"

enum store_state { STORE_CONNECTING, STORE_SYNCED, STORE_AWAY };

struct store;
struct store_edit;

typedef void store_text(void *ctx, const char *key, const struct str *text);

/*
 * rc: 0, -ESTALE (exists, other version, or gone), -EAGAIN (datastore away), -EPERM (a user's own
 * object of that name hides ours: looking again does not help), -ENAMETOOLONG, or what the driver
 * met (-ENOSPC, -EROFS, ...), which it has logged.
 */
typedef void store_done(void *ctx, int rc);
typedef void store_meanwhile(void *ctx);

struct store_write {
	const struct kind *kind;
	struct row *row;		/* put: the new object, owned by the write; NULL: delete */
	const char *key;		/* delete: which; owned by the write */
	uint64_t expected;		/* version that must be there; 0: must not exist */
	store_meanwhile *meanwhile;	/* may be NULL */
	store_done *done;		/* may be NULL */
	void *ctx;
	int rc;				/* of a finished one */
	struct store_write *next;
};

struct store_driver {
	const char *name;		/* "file" */
	/* Reads everything, sets model->complete when each list was whole, keeps watching.  0 or negative with *e. */
	int (*start)(struct store *s, const char *where, struct err *e);
	void (*write)(struct store *s, struct store_write *w);	/* ends in store_written() */
	void (*stop)(struct store *s);
	bool given_nodes;		/* Node objects are somebody else's to make */
	void (*ready)(struct store *s);	/* the agent is ready for pods; may be NULL */
	void (*problems)(struct store *s);	/* in the pass: some of the model's are new, or have gone; may be NULL */
	/* Do controllers of Calico run?  answer() comes from the loop, yes also when nobody can tell; one question at a time. */
	void (*controlled)(struct store *s, void (*answer)(void *ctx, bool yes), void *ctx);
	/* The rest is for the command line; NULL: the driver has no such thing. */
	void (*edit)(struct store *s, struct store_edit *e);	/* ends in store_edited() */
	/* The texts of what users gave, as far as the model shows it; key as in the model's table; the first of a key counts. */
	void (*texts)(struct store *s, const struct kind *k, store_text *each, void *ctx);
	/* See store_is_used(), store_purge(); NULL: it always is, and nothing is to be purged. */
	bool (*is_used)(const char *where);
	int (*purge)(const char *where);
};

struct store {
	struct loop *loop;
	struct model *model;
	const struct config *config;
	const struct store_driver *driver;
	void *driver_state;
	enum store_state state;
	struct config *found;		/* where the driver puts what only the cluster says (pools, ipam); NULL: it does not look */
	struct err fatal;		/* why the loop was stopped, or code 0 */
	struct store_write *finished, **finished_tail;	/* their done() is due */
	struct deferred deliver;
	uint64_t failing[2];		/* kinds of which a deletion, a write failed last, as the log was told */
};

/* Starts the driver that config->datastore names.  0, or negative with *e (-EPROTONOSUPPORT: not in this version; -EBADMSG: the configuration). */
int store_start(struct store *s, struct loop *l, struct model *m, const struct config *c, struct err *e);
void store_stop(struct store *s);		/* what is still under way gets no done() */
/* Of done(): what another try would not mend, as a user's object hides it, or the datastore takes no such object. */
bool store_is_hopeless(int rc);
/* Is there a datastore that agents have written to?  Starting it would only make one. */
bool store_is_used(const struct config *c);
/* Removes what agents keep there, when no node is left.  1: it did, 0: nothing to do, -errno. */
int store_purge(const struct config *c);
const char *store_state_text(const struct store *s);	/* "connecting", "synced", "away" */

/* Takes row (with meta.namespace, meta.name, key set; its digest is set here).  expected 0: create. */
void store_put(struct store *s, const struct kind *k, struct row *row, uint64_t expected, store_done *done, void *ctx);
/*
 * The same; a driver that can calls meanwhile(ctx) once, before done(), while the write is under way and those that were
 * put before it have succeeded: what follows from a success may be prepared there, and is in vain when done() says
 * otherwise.  It must not use the store.
 */
void store_put_meanwhile(struct store *s, const struct kind *k, struct row *row, uint64_t expected,
			 store_meanwhile *meanwhile, store_done *done, void *ctx);
/* key as in the model's table. */
void store_del(struct store *s, const struct kind *k, const char *key, uint64_t expected, store_done *done, void *ctx);

/* For drivers: the write has ended; on success the row goes into the model with this version (or out of it). */
void store_written(struct store *s, struct store_write *w, int rc, uint64_t version);
/* For drivers: the datastore now holds this row (taken; true: that is news) / does not hold that key. */
bool store_event_put(struct store *s, const struct kind *k, struct row *row);
void store_event_del(struct store *s, const struct kind *k, const char *key);

enum text_format { TEXT_NONE, TEXT_JSON, TEXT_YAML };
enum text_format text_format(const char *file_name);	/* by its suffix; TEXT_NONE: not one that holds objects */
enum text_format text_guess(const char *file_name, const char *text);	/* TEXT_NONE: by how the text begins */

/*
 * The objects of a text: one, an array of them, v1 Lists, or YAML documents of these.  each() is
 * called for every one in their order; what it wants to keep of object->row it takes by setting that
 * to NULL.  -EINVAL with "LINE:COL: text" in *e when the text as a whole cannot be read: then each()
 * has not been called, unless very many objects were bad.
 */
struct store_object {
	struct object_ref ref;		/* kind NULL: api_version and kind_name say what it is */
	struct row *row;		/* NULL: of a kind that is not ours, or refused; but see kind->closed */
	struct err err;			/* refused: code set, "LINE:COL: path: text" */
	char api_version[64], kind_name[64];
	const char *json;		/* its text; of a YAML document, as JSON */
	size_t json_len;
	const struct json *doc;	/* where it stands, for the time of the call */
	json_value value;
};
int store_read_text(enum text_format format, const char *text, size_t len,
		    void (*each)(void *ctx, struct store_object *o), void *ctx, struct err *e);
/*
 * `manx check`: reports each error as "LINE:COL: path: text", and, not bad, each object of a kind that is not ours.
 * How many other objects there are, or -EINVAL when any was bad.
 */
int store_check_text(enum text_format format, const char *text, size_t len,
		     void (*report)(void *ctx, bool bad, const char *text), void *ctx);

/* Appends the object as JSON, its namespace filled in. */
void store_object_text(struct str *out, const struct store_object *o);

/*
 * A change that a person asks for: a whole object (checked before) put, or one deleted.  done() is called from the
 * loop; by then the model has the change.
 */
enum edit_outcome { EDIT_FAILED, EDIT_CREATED, EDIT_CONFIGURED, EDIT_UNCHANGED, EDIT_DELETED, EDIT_ABSENT };
struct store_edit {
	struct object_ref ref;
	const char *text;		/* JSON; NULL: delete */
	void (*done)(struct store_edit *e);
	enum edit_outcome outcome;
	struct err err;			/* of a failure; ENOTCONN: the datastore is away */
	struct store *store;
	struct deferred deliver;
};
void store_edit(struct store *s, struct store_edit *e);
void store_edited(struct store_edit *e, enum edit_outcome outcome);	/* for drivers */

/*
 * `manx get`: appends the objects of a kind (any that the word means: kind or plural, ".group" behind it) as a table,
 * or as JSON: one object when a name is asked for, else a v1 List.  namespace NULL: all of them, but "default" for one
 * name.  0, or negative with *e: -EINVAL no such kind, -ENOENT no such object.
 */
struct store_query { const char *kind, *name, *namespace; };
int store_get(struct store *s, const struct store_query *q, bool json, struct str *out, struct err *e);

extern const struct store_driver store_file, store_kubernetes;

#endif
