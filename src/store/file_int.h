#ifndef STORE_FILE_INT_H
#define STORE_FILE_INT_H
/* Shared by the files of the file driver; file.c has the picture. */
#include <sys/stat.h>
#include <sys/types.h>
#include "base/aside.h"
#include "base/hash.h"
#include "store/store.h"

enum { FILE_KINDS_MAX = 16, FILE_OWN_WRITES = 64 };

/* One object that one user's file gives. */
struct file_ref {
	struct file_ref *next;		/* of the same object in other files, by file name */
	struct file_ref *file_next;	/* of the same file */
	struct file_object *object;
	struct user_file *file;
	struct row *half;		/* kinds that are merged: what the user gives, while it is shown;
					   kinds that fail closed: the stand-in, while the file is read */
	uint32_t mark;			/* == file->mark: named by the file as it is now */
	bool refused;			/* when the file was read last, and nothing is remembered of it */
	bool shown;			/* the model's row is this one's, or its last good state */
	bool stand_in;			/* what is shown stands for a refused object, see kind->closed */
	bool tried;			/* was read again in order to be shown */
};

/* An object that at least one user's file gives, or gave a moment ago. */
struct file_object {
	struct hash_node node;
	struct file_object *unsettled_next;
	const struct kind *kind;
	struct file_ref *refs;		/* the first one counts */
	bool unsettled;
	char key[];
};

struct user_file {
	struct file_ref *refs;
	uint64_t hash;			/* of the text that was read last */
	int failed;			/* -errno of the last attempt to read it, logged */
	uint32_t mark;
	uint32_t scan;			/* == store->scan: was there when the folder was listed last */
	bool read;			/* hash is valid */
	bool owed;			/* its last good state is to be written: */
	struct str good;		/* this; "": read the file again */
	char name[];
};

enum file_watch_what { WATCH_USER, WATCH_OWN, WATCH_PLURAL, WATCH_NAMESPACE };
struct file_watch {
	int wd;
	enum file_watch_what what;
	const struct kind *kind;
	char namespace[OBJECT_NAMESPACE_MAX];
};

/* A file that we wrote: its event tells nothing new, once. */
struct own_write {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
};

struct file_store {
	struct store *s;
	char path[256];			/* DIR */
	int dir, own, lock;		/* DIR, DIR/.manx, DIR/.manx/lock */
	int name;			/* DIR/.manx/nodes/.NODE: locked while an agent goes by that name */
	int temp;			/* DIR/.manx/tmp: where files are written before they are renamed into place, unwatched */
	int plural[FILE_KINDS_MAX];	/* DIR/.manx/<plural>, -1 for kinds that agents never write */
	int inotify;
	struct watch watch;
	struct file_watch *watches;
	unsigned watch_count;
	struct timer retry;		/* while DIR is away */
	bool away_said;
	struct str text;		/* of the file that is being read */

	/* file_user.c, file_object.c */
	struct user_file **files;	/* by name */
	unsigned file_count;
	uint32_t scan;
	struct hash objects;
	struct file_object *unsettled;

	/* file_memory.c */
	int memory;			/* state_dir/last-good, or -1 */
	int memory_failed;		/* -errno that was told, or 0 */
	unsigned memory_writes;		/* that may still be done before the timer */
	bool memory_passed;		/* the pass lies between */
	struct deferred memory_due;
	struct timer memory_timer;

	/* file_write.c */
	struct store_write *queue, **queue_tail;
	struct str out;			/* what is being written */
	struct aside aside;		/* writes while something else is done */
	struct deferred drain;
	struct timer lock_retry;
	uint64_t lock_since_ms;		/* when we began to try, 0: not trying */
	bool lock_said;
	unsigned lock_tries;
	uint32_t jitter;
	uint64_t seen;			/* the highest version that was ever seen here */
	struct own_write own_writes[FILE_OWN_WRITES];
	unsigned own_next;
};

/* file.c */
int file_watch_namespace(struct file_store *f, const struct kind *k, const char *namespace);
/* Calls each() with the names in a folder, path from the open folder at, sorted.  0; or -errno, and no call. */
int file_list(int at, const char *path, void (*each)(void *ctx, const char *name), void *ctx);

/* file_user.c: files at the top of DIR. */
int file_user_scan(struct file_store *f);		/* all of them; 0, or -errno, logged, when they cannot be listed */
void file_user_look(struct file_store *f, const char *name);	/* this one may have changed or gone */
void file_user_free(struct file_store *f);
struct user_file *file_user_find(const struct file_store *f, const char *name);

/* file_object.c */
/* The object if a user's file shows it; NULL otherwise. */
const struct file_ref *file_user_shows(const struct file_store *f, const struct kind *k, const char *key);
struct file_ref *file_ref_find(const struct file_store *f, const struct user_file *file, const struct kind *k,
			       const char *key);
struct file_ref *file_ref_get(struct file_store *f, struct user_file *file, const struct kind *k, const char *key);
void file_ref_drop(struct file_store *f, struct file_ref *r);
/* Takes row, which becomes the model's. */
void file_ref_show(struct file_store *f, struct file_ref *r, struct row *row);
void file_object_unsettle(struct file_store *f, struct file_object *o);	/* another reference may be the first now */
void file_object_remove(struct file_store *f, struct file_object *o);
void file_object_free_all(struct file_store *f);

/* file_read.c: reads the file if its text is new, or in any case.  -ENOENT: it is not there. */
int file_read(struct file_store *f, struct user_file *file, bool again);

/* file_memory.c */
void file_memory_init(struct file_store *f);
void file_memory_stop(struct file_store *f);
int file_memory_read(struct file_store *f, const char *name, struct str *text);
void file_memory_save(struct file_store *f, struct user_file *file, struct str *text);	/* may take the text */
void file_memory_forget(struct file_store *f, const char *name);
void file_memory_sweep(struct file_store *f);

/* file_agent.c: DIR/.manx.  Scans: 0, or -errno, logged, when something cannot be listed. */
int file_agent_scan(struct file_store *f);
int file_agent_scan_folder(struct file_store *f, const struct kind *k, const char *namespace);
/* A file of that folder may have changed or gone; moved_in: or been put there by ourselves. */
void file_agent_look(struct file_store *f, const struct kind *k, const char *namespace, const char *name, bool moved_in);
/* Rows of the model whose file has gone. */
void file_agent_sweep(struct file_store *f, const struct kind *k);
/* Brings the model in line with one file; *version: what is there, 0: nothing that could be trusted. */
int file_agent_load(struct file_store *f, const struct object_ref *ref, uint64_t *version);
/* "<name>.json" or "<namespace>/<name>.json", below f->plural[]. */
bool file_agent_path(char *out, size_t size, const struct object_ref *ref);
int file_agent_folder(const struct file_store *f, const struct kind *k);

/* file_edit.c: for the command line, see store.h */
void file_edit(struct store *s, struct store_edit *e);
void file_texts(struct store *s, const struct kind *k, store_text *each, void *ctx);
bool file_is_used(const char *where);
int file_purge(const char *where);

/* file_write.c */
void file_write(struct store *s, struct store_write *w);
int file_lock_open(struct file_store *f);
void file_write_fail(struct file_store *f, int rc);	/* all that wait */
void file_write_stop(struct file_store *f);
void file_write_init(struct file_store *f);
/* The file that was renamed in is one that we wrote, and that is asked for the first time. */
bool file_wrote(struct file_store *f, const struct stat *st);

#endif
