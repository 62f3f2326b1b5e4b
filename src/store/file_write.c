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

static void own_write_note(struct file_store *f, const char *path, const struct kind *k)
{
	struct stat st;

	if (fstatat(file_agent_folder(f, k), path, &st, AT_SYMLINK_NOFOLLOW) < 0)
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

/* Compares what is on the disk with what the writer expects; on -ESTALE the model has what is there. */
static int compare(struct file_store *f, const struct object_ref *ref, const char *path, const struct store_write *w)
{
	autoclose int fd = openat(file_agent_folder(f, ref->kind), path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint64_t have = 0;
	int rc;

	if (fd < 0 && errno != ENOENT)
		return -errno;
	if (fd < 0 && w->expected == 0 && w->row)
		return 0;
	if (fd >= 0 && w->expected && is_version(fd, ref, w->expected))
		return 0;
	rc = file_agent_load(f, ref, &have);
	if (rc < 0)
		return rc;
	return have == w->expected && (have || w->row) ? 0 : -ESTALE;
}

/*
 * A whole new file, then the rename.  The lock is held, so one name serves everybody.
 * What a killed writer left under it is written over.
 */
static int replace(struct file_store *f, const struct object_ref *ref, const char *path, const struct str *text)
{
	int folder = file_agent_folder(f, ref->kind);
	int rc = fs_write(f->temp, "write", text->s, text->len, 0600);

	if (rc < 0)
		return rc;
	if (renameat(f->temp, "write", folder, path) == 0)
		return 0;
	if (errno != ENOENT || !*ref->namespace)
		return -errno;
	if (mkdirat(folder, ref->namespace, 0700) < 0 && errno != EEXIST)
		return -errno;		/* the new folder's own event has it watched */
	return renameat(f->temp, "write", folder, path) < 0 ? -errno : 0;
}

static int put(struct file_store *f, const struct object_ref *ref, const char *path, struct store_write *w,
	       uint64_t *version)
{
	const struct file_ref *user;
	int rc = version_next(f, version);

	if (rc < 0)
		return rc;
	str_clear(&f->out);
	kind_encode(w->kind, w->row, *version, &f->out);
	str_puts(&f->out, "\n");
	rc = replace(f, ref, path, &f->out);
	if (rc < 0)
		return rc;
	own_write_note(f, path, w->kind);
	user = file_user_shows(f, w->kind, w->key);
	if (user && w->kind->merge) {
		w->kind->merge(w->row, user->half);
		w->row->digest = w->kind->digest(w->row);
	}
	return 0;
}

static int del(struct file_store *f, const struct object_ref *ref, const char *path)
{
	return unlinkat(file_agent_folder(f, ref->kind), path, 0) < 0 ? -errno : 0;
}

/* May that be written at all? */
static int admit(const struct file_store *f, const struct store_write *w, struct object_ref *ref)
{
	char key[OBJECT_KEY_MAX];

	if (!w->kind->agents || !object_ref_set(ref, w->kind, w->key) || !object_key(key, ref) ||
	    strcmp(key, w->key) != 0)
		return -EINVAL;
	if (w->row && strcmp(kind_meta(w->kind, w->row)->name, ref->name) != 0)
		return -EINVAL;
	if (strlen(ref->name) + strlen(".json") > NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	return !w->kind->merge && file_user_shows(f, w->kind, w->key) ? -EPERM : 0;
}

static int write_one(struct file_store *f, struct store_write *w, struct object_ref *ref, uint64_t *version)
{
	char path[PATH_MAX];
	int rc = admit(f, w, ref);

	if (rc < 0)
		return rc;
	if (!file_agent_path(path, sizeof path, ref))
		return -ENAMETOOLONG;
	rc = compare(f, ref, path, w);
	if (rc == 0)
		rc = w->row ? put(f, ref, path, w, version) : del(f, ref, path);
	return rc == -ENOENT ? -EAGAIN : rc;	/* the folder itself has gone: its event is on the way */
}

static void write_do(struct file_store *f, struct store_write *w)
{
	struct object_ref ref;
	uint64_t version = 0;
	const struct kind *k = w->kind;
	bool was_del = !w->row;
	int rc = write_one(f, w, &ref, &version);

	if (rc == -EPERM)
		log_err("store", "%s %s: cannot %s: a file of yours gives this object", k->kind, w->key,
			was_del ? "delete" : "write");
	store_written(f->s, w, rc, version);
	if (rc == 0 && was_del && file_user_shows(f, k, w->key))
		file_agent_load(f, &ref, NULL);		/* the user's half, alone again */
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
	for (unsigned n = 0; f->queue && n < BATCH; n++)
		write_do(f, queue_pop(f));
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
	str_free(&f->out);
	while (f->queue) {
		struct store_write *w = queue_pop(f);

		row_free(w->row);
		free(w);
	}
}
