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

/*
 * rc: 0, -ESTALE (exists, other version, or gone), -EAGAIN (datastore away), -EPERM (a user's own
 * object of that name hides ours: looking again does not help), -ENAMETOOLONG, or what the driver
 * met (-ENOSPC, -EROFS, ...), which it has logged.
 */
typedef void store_done(void *ctx, int rc);

struct store_write {
	const struct kind *kind;
	struct row *row;		/* put: the new object, owned by the write; NULL: delete */
	const char *key;		/* delete: which; owned by the write */
	uint64_t expected;		/* version that must be there; 0: must not exist */
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
};

struct store {
	struct loop *loop;
	struct model *model;
	const struct config *config;
	const struct store_driver *driver;
	void *driver_state;
	enum store_state state;
	bool failing;			/* the last write met something else than a conflict */
	struct store_write *finished, **finished_tail;	/* their done() is due */
	struct deferred deliver;
};

/* Starts the driver that config->datastore names.  0, or negative with *e (-EPROTONOSUPPORT: not in this version). */
int store_start(struct store *s, struct loop *l, struct model *m, const struct config *c, struct err *e);
void store_stop(struct store *s);		/* what is still under way gets no done() */
const char *store_state_text(const struct store *s);	/* "connecting", "synced", "away" */

/* Takes row (with meta.namespace, meta.name, key set; its digest is set here).  expected 0: create. */
void store_put(struct store *s, const struct kind *k, struct row *row, uint64_t expected, store_done *done, void *ctx);
/* key as in the model's table. */
void store_del(struct store *s, const struct kind *k, const char *key, uint64_t expected, store_done *done, void *ctx);

/* For drivers: the write has ended; on success the row goes into the model with this version (or out of it). */
void store_written(struct store *s, struct store_write *w, int rc, uint64_t version);
/* For drivers: the datastore now holds this row (taken) / does not hold that key. */
void store_event_put(struct store *s, const struct kind *k, struct row *row);
void store_event_del(struct store *s, const struct kind *k, const char *key);

enum text_format { TEXT_NONE, TEXT_JSON, TEXT_YAML };
enum text_format text_format(const char *file_name);	/* by its suffix; TEXT_NONE: not one that holds objects */

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
};
int store_read_text(enum text_format format, const char *text, size_t len,
		    void (*each)(void *ctx, struct store_object *o), void *ctx, struct err *e);
/* For `manx check`: reports each error as "LINE:COL: path: text".  0, or -EINVAL when there was any. */
int store_check_text(enum text_format format, const char *text, size_t len,
		     void (*report)(void *ctx, const char *text), void *ctx);

extern const struct store_driver store_file;

#endif
