/*
 * Writes.  They wait in a queue until the lock can be had, which is tried and
 * never waited for; several are done under one hold.
 *
 * Under the lock, for each: the version that lies on the disk is compared with
 * the expected one; the counter in the lock file moves on; a new file replaces the
 * old one by rename.  The counter first: a kill in between leaves a gap in the
 * versions, never a version that is used twice.  After a power cut the counter may
 * be anything, so it also never falls behind what was seen in files.
 */
#include "store/file_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"

enum {
	BATCH = 32,			/* writes under one hold of the lock */
	LOCK_FIRST_MS = 1, LOCK_MAX_MS = 5, LOCK_SAY_MS = 5000,
	COUNTER_SIZE = 21,		/* 20 digits and a newline: every write covers the last one */
	NAME_MAX_BYTES = 255,
};

/* --- the counter --- */

static uint64_t counter_read(const struct file_store *f)
{
	char text[COUNTER_SIZE + 1] = "";
	uint64_t n = 0;

	if (pread(f->lock, text, COUNTER_SIZE, 0) < 0)
		return 0;
	text[strspn(text, "0123456789")] = '\0';
	return str_u64(text, UINT64_MAX - 1, &n) < 0 ? 0 : n;
}

/* The next version: nobody else will ever get it. */
static int version_next(struct file_store *f, uint64_t *version)
{
	char text[COUNTER_SIZE + 1];
	uint64_t n = counter_read(f);

	n = (n > f->seen ? n : f->seen) + 1;
	snprintf(text, sizeof text, "%020llu\n", (unsigned long long)n);
	errno = 0;
	if (pwrite(f->lock, text, COUNTER_SIZE, 0) != COUNTER_SIZE)
		return errno ? -errno : -EIO;
	f->seen = *version = n;
	return 0;
}

/* --- our own events --- */

static void own_write_note(struct file_store *f, int folder, const char *path)
{
	struct stat st;

	if (fstatat(folder, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	f->own_writes[f->own_next++ % FILE_OWN_WRITES] = (struct own_write){
		.dev = st.st_dev, .ino = st.st_ino, .size = st.st_size, .mtime = st.st_mtim };
}

/* Once: the same inode may soon be somebody else's file, of the same size in the same tick of the clock. */
bool file_wrote(struct file_store *f, const struct stat *st)
{
	for (unsigned i = 0; i < FILE_OWN_WRITES; i++) {
		struct own_write *w = &f->own_writes[i];

		if (!w->ino || w->ino != st->st_ino || w->dev != st->st_dev || w->size != st->st_size ||
		    w->mtime.tv_sec != st->st_mtim.tv_sec || w->mtime.tv_nsec != st->st_mtim.tv_nsec)
			continue;
		w->ino = 0;
		return true;
	}
	return false;
}

/* --- one write --- */

/* What a thread may do while the loop does something else: files, and what only writes use. */
struct attempt {
	struct file_store *f;
	struct store_write *w;
	struct object_ref ref;
	char path[OBJECT_KEY_MAX + 8];	/* below folder */
	int folder;
	bool last;			/* under this hold of the lock */
	uint64_t version;
	int rc;
};

enum { LOOK = 1 };			/* of an attempt: what lies there has to be read first */

/*
 * Does the file begin as that version does?  Then it is that version, whole: the writer knows it from
 * the model, and files are only ever replaced.
 */
static bool is_version(int fd, const struct object_ref *ref, uint64_t version)
{
	const struct meta m = { .namespace = ref->namespace, .name = ref->name };
	autostr struct str head = { 0 };
	char have[1024];

	kind_encode_head(ref->kind, &m, version, &head);
	return head.len <= sizeof have && pread(fd, have, head.len, 0) == (ssize_t)head.len &&
	       memcmp(have, head.s, head.len) == 0;
}

/* Is what the writer expects on the disk? */
static int glance(const struct attempt *a)
{
	const struct store_write *w = a->w;
	autoclose int fd = openat(a->folder, a->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno != ENOENT)
		return -errno;
	if (fd < 0)
		return w->expected == 0 && w->row ? 0 : LOOK;
	return w->expected && is_version(fd, &a->ref, w->expected) ? 0 : LOOK;
}

/* The same by reading it; on -ESTALE the model has what is there. */
static int look(const struct attempt *a)
{
	const struct store_write *w = a->w;
	uint64_t have = 0;
	int rc = file_agent_load(a->f, &a->ref, &have);

	if (rc < 0)
		return rc;
	return have == w->expected && (have || w->row) ? 0 : -ESTALE;
}

/*
 * A whole new file, then the rename.  The lock is held, so one name serves everybody.
 * What a killed writer left under it is written over.
 */
static int replace(const struct attempt *a)
{
	const struct file_store *f = a->f;
	int rc = fs_write(f->temp, "write", f->out.s, f->out.len, 0600);

	if (rc < 0)
		return rc;
	if (renameat(f->temp, "write", a->folder, a->path) == 0)
		return 0;
	if (errno != ENOENT || !*a->ref.namespace)
		return -errno;
	if (mkdirat(a->folder, a->ref.namespace, 0700) < 0 && errno != EEXIST)
		return -errno;		/* the new folder's own event has it watched */
	return renameat(f->temp, "write", a->folder, a->path) < 0 ? -errno : 0;
}

static int put(struct attempt *a)
{
	struct file_store *f = a->f;
	int rc = version_next(f, &a->version);

	if (rc < 0)
		return rc;
	str_clear(&f->out);
	kind_encode(a->w->kind, a->w->row, a->version, &f->out);
	str_puts(&f->out, "\n");
	rc = replace(a);
	if (rc == 0)
		own_write_note(f, a->folder, a->path);
	return rc;
}

static int change(struct attempt *a)
{
	if (a->w->row)
		return put(a);
	return unlinkat(a->folder, a->path, 0) < 0 ? -errno : 0;
}

static void attempt_run(void *arg)
{
	struct attempt *a = arg;

	a->rc = glance(a);
	if (a->rc == 0)
		a->rc = change(a);
	if (a->last && a->rc != LOOK)
		flock(a->f->lock, LOCK_UN);	/* nobody need wait for what is done meanwhile */
}

/* May that be written at all? */
static int admit(struct attempt *a)
{
	const struct store_write *w = a->w;
	char key[OBJECT_KEY_MAX];

	if (!w->kind->agents || !object_ref_set(&a->ref, w->kind, w->key) || !object_key(key, &a->ref) ||
	    strcmp(key, w->key) != 0)
		return -EINVAL;
	if (w->row && strcmp(kind_meta(w->kind, w->row)->name, a->ref.name) != 0)
		return -EINVAL;
	if (strlen(a->ref.name) + strlen(".json") > NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	if (!w->kind->merge && file_user_shows(a->f, w->kind, w->key))
		return -EPERM;
	a->folder = file_agent_folder(a->f, w->kind);
	return file_agent_path(a->path, sizeof a->path, &a->ref) ? 0 : -ENAMETOOLONG;
}

static int write_one(struct attempt *a)
{
	struct store_write *w = a->w;
	int rc = admit(a);

	if (rc < 0)
		return rc;
	if (w->meanwhile) {
		aside_begin(&a->f->aside, attempt_run, a);
		w->meanwhile(w->ctx);
		aside_end(&a->f->aside);
	} else {
		attempt_run(a);
	}
	rc = a->rc;
	if (rc == LOOK && (rc = look(a)) == 0)
		rc = change(a);
	return rc == -ENOENT ? -EAGAIN : rc;	/* the folder itself has gone: its event is on the way */
}

/* The user's half of an object that both have a part in stays in the model's row. */
static void merge(struct file_store *f, struct store_write *w)
{
	const struct file_ref *user = file_user_shows(f, w->kind, w->key);

	if (!user || !w->kind->merge)
		return;
	w->kind->merge(w->row, user->half);
	w->row->digest = w->kind->digest(w->row);
}

static int write_do(struct file_store *f, struct store_write *w, bool last)
{
	struct attempt a = { .f = f, .w = w, .last = last };
	const struct kind *k = w->kind;
	bool was_del = !w->row;
	int rc = write_one(&a);

	if (rc == 0 && !was_del)
		merge(f, w);
	if (rc == -EPERM)
		log_err("store", "%s %s: cannot %s: a file of yours gives this object", k->kind, w->key,
			was_del ? "delete" : "write");
	store_written(f->s, w, rc, a.version);
	if (rc == 0 && was_del && file_user_shows(f, k, a.w->key))
		file_agent_load(f, &a.ref, NULL);	/* the user's half, alone again */
	return rc;
}

/* --- the lock --- */

int file_lock_open(struct file_store *f)
{
	int fd = openat(f->own, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	if (f->lock >= 0)
		close(f->lock);
	f->lock = fd;
	return 0;
}

/*
 * 0, -EWOULDBLOCK, -errno.  A lock file that was removed keeps nobody else out: the new one is taken
 * instead.  On a read-only disk there was none.
 */
static int lock(struct file_store *f)
{
	struct stat st;
	int rc = f->lock < 0 ? 0 : fs_trylock(f->lock);

	if (rc < 0 || (f->lock >= 0 && fstat(f->lock, &st) == 0 && st.st_nlink))
		return rc;
	rc = file_lock_open(f);
	return rc < 0 ? rc : fs_trylock(f->lock);
}

static uint32_t random_below(struct file_store *f, uint32_t limit)
{
	f->jitter ^= f->jitter << 13;
	f->jitter ^= f->jitter >> 17;
	f->jitter ^= f->jitter << 5;
	return f->jitter % limit;
}

static void lock_wait(struct file_store *f)
{
	uint64_t now = now_ms();

	if (!f->lock_tries++)
		f->lock_since_ms = now;
	if (!f->lock_said && now - f->lock_since_ms > LOCK_SAY_MS) {
		log_warn("store", "%s/.manx/lock: held by another process for %d s", f->path, LOCK_SAY_MS / 1000);
		f->lock_said = true;
	}
	timer_set(f->s->loop, &f->lock_retry, f->lock_tries == 1 ? LOCK_FIRST_MS : 1 + random_below(f, LOCK_MAX_MS));
}

static struct store_write *queue_pop(struct file_store *f)
{
	struct store_write *w = f->queue;

	f->queue = w->next;
	if (!f->queue)
		f->queue_tail = &f->queue;
	return w;
}

static void drain(struct file_store *f)
{
	int rc;

	if (!f->queue)
		return;
	rc = f->own < 0 ? -ENOENT : lock(f);
	if (rc == -EWOULDBLOCK) {
		lock_wait(f);
		return;
	}
	if (rc < 0) {
		file_write_fail(f, rc == -ENOENT ? -EAGAIN : rc);	/* the folder has gone */
		return;
	}
	f->lock_tries = 0;
	f->lock_said = false;
	for (unsigned n = 0; f->queue && n < BATCH; n++) {
		struct store_write *w = queue_pop(f);

		if (rc)
			w->meanwhile = NULL;
		rc |= write_do(f, w, !f->queue || n == BATCH - 1);
	}
	flock(f->lock, LOCK_UN);
	if (f->queue)
		timer_set(f->s->loop, &f->lock_retry, LOCK_FIRST_MS);	/* others have a turn */
}

static void on_drain(struct deferred *d)
{
	struct file_store *f = container_of(d, struct file_store, drain);

	if (!f->lock_retry.on)
		drain(f);
}

static void on_lock_retry(struct timer *t)
{
	drain(container_of(t, struct file_store, lock_retry));
}

void file_write(struct store *s, struct store_write *w)
{
	struct file_store *f = s->driver_state;

	if (s->state == STORE_AWAY) {
		store_written(s, w, -EAGAIN, 0);
		return;
	}
	w->next = NULL;
	*f->queue_tail = w;
	f->queue_tail = &w->next;
	loop_defer(s->loop, &f->drain);
}

void file_write_fail(struct file_store *f, int rc)
{
	while (f->queue)
		store_written(f->s, queue_pop(f), rc, 0);
}

void file_write_init(struct file_store *f)
{
	f->queue_tail = &f->queue;
	f->drain.fn = on_drain;
	f->lock_retry.fn = on_lock_retry;
	f->jitter = (uint32_t)wall_ns() ^ (uint32_t)getpid() << 16 ^ 1;
	if (!f->jitter)
		f->jitter = 1;
}

void file_write_stop(struct file_store *f)
{
	deferred_del(f->s->loop, &f->drain);
	timer_del(f->s->loop, &f->lock_retry);
	aside_stop(&f->aside);
	str_free(&f->out);
	while (f->queue) {
		struct store_write *w = queue_pop(f);

		row_free(w->row);
		free(w);
	}
}
