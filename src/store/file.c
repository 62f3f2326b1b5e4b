/*
 * The file datastore.
 *
 *	DIR/NAME.json, .yaml	users' files (file_user.c): one object, an array, a List, documents
 *	DIR/.manx/<plural>/	agents' objects, one file each (file_agent.c)
 *	DIR/.manx/tmp		the file being written, before it is renamed into place
 *	DIR/.manx/lock		flock for writes, and the version counter (file_write.c)
 *	DIR/.manx/nodes/.NAME	flock of the agent of that node: there is no second one
 *
 * The same object may be named by several users' files and by a file in .manx.
 * The user's file whose name sorts first is shown, else the agents' file; a kind
 * that is merged (Node) shows both.  What is shown is the model's row.  Of users'
 * files only lists of references are kept; to show something else than before, the
 * file that gives it is read again.
 *
 * inotify only says where to look: a file is read as it is then, so that events
 * may come late, twice or after the fact.  A folder is watched before it is
 * read.  When the kernel's queue overflows, or DIR was away, everything is
 * read again.
 *
 * DIR may go (a moved folder, an unmounted disk).  Then the model keeps what it
 * has, writes end in -EAGAIN, and a timer looks for DIR.  Another folder in its
 * place is only believed when it has .manx/lock: an empty mount point must not
 * delete every pod's address.
 */
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "store/file_int.h"

enum {
	RETRY_FIRST_MS = 300,	/* who removes DIR is not to find it filled again */
	RETRY_MS = 1000,
	NAME_TRIES = 40,	/* 50 ms each */
	NAME_PATH_MAX = CONFIG_NAME_MAX + 8,
	CHANGES = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE,
	REMOVALS = IN_MOVED_FROM | IN_DELETE,
	GONE = IN_DELETE_SELF | IN_MOVE_SELF,
};

/* --- folders --- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int folder_open(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Of a folder that cannot be read to its end nothing is told: what was missing would seem to be gone. */
int file_list(int at, const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
	int fd = folder_open(at, path), rc;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char **names = NULL;
	struct dirent *entry;
	size_t count = 0;

	if (!d)
		return fd < 0 ? fd : -ENOMEM;
	for (errno = 0; (entry = readdir(d)); errno = 0) {
		if ((count & (count - 1)) == 0)
			names = xrealloc(names, (count ? 2 * count : 1) * sizeof *names);
		names[count++] = xstrdup(entry->d_name);
	}
	rc = -errno;
	closedir(d);
	if (count)
		qsort(names, count, sizeof *names, by_name);
	for (size_t i = 0; i < count; i++) {
		if (rc == 0)
			each(ctx, names[i]);
		free(names[i]);
	}
	free(names);
	return rc;
}

static int watch_put(struct file_store *f, const char *path, enum file_watch_what what, const struct kind *k,
		     const char *namespace)
{
	uint32_t mask = (what == WATCH_OWN ? REMOVALS : CHANGES) | GONE | IN_ONLYDIR | IN_EXCL_UNLINK;
	int wd = inotify_add_watch(f->inotify, path, mask);
	struct file_watch *w;
	unsigned i;

	if (wd < 0)
		return -errno;
	for (i = 0; i < f->watch_count && f->watches[i].wd != wd; i++)
		;
	if (i == f->watch_count) {
		f->watches = xrealloc(f->watches, (f->watch_count + 1) * sizeof *f->watches);
		f->watch_count++;
	}
	w = &f->watches[i];
	*w = (struct file_watch){ .wd = wd, .what = what, .kind = k };
	str_copy(w->namespace, sizeof w->namespace, namespace);
	return 0;
}

int file_watch_namespace(struct file_store *f, const struct kind *k, const char *namespace)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/.manx/%s/%s", f->path, k->plural, namespace);
	return watch_put(f, path, WATCH_NAMESPACE, k, namespace);
}

static int plural_open(struct file_store *f, unsigned i)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/.manx/%s", f->path, kinds[i].plural);
	if (mkdirat(f->own, kinds[i].plural, 0700) < 0 && errno != EEXIST)
		return -errno;
	f->plural[i] = folder_open(f->own, kinds[i].plural);
	return f->plural[i] < 0 ? f->plural[i] : watch_put(f, path, WATCH_PLURAL, &kinds[i], "");
}

static void folders_close(struct file_store *f)
{
	int *fds[] = { &f->own, &f->lock, &f->temp, &f->inotify };

	watch_del(f->s->loop, &f->watch);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	for (unsigned i = 0; i < kind_count; i++) {
		if (f->plural[i] >= 0)
			close(f->plural[i]);
		f->plural[i] = -1;
	}
	f->watch_count = 0;
}

/* After DIR was away: is what lies there now ours?  The old one is still open, so no other can have its number. */
static bool is_ours(const struct file_store *f, int now)
{
	struct stat old, new;

	if (fstat(f->dir, &old) == 0 && fstat(now, &new) == 0 && old.st_dev == new.st_dev && old.st_ino == new.st_ino)
		return true;
	return fstatat(now, ".manx/lock", &new, 0) == 0;
}

/* f->dir is kept while DIR is away, see above. */
static int dir_open(struct file_store *f)
{
	int fd = folder_open(AT_FDCWD, f->path);

	if (fd < 0)
		return fd;
	if (f->dir >= 0 && !is_ours(f, fd)) {
		close(fd);
		return -ESTALE;
	}
	if (f->dir >= 0)
		close(f->dir);
	f->dir = fd;
	return 0;
}

/* What failed goes to *what, for the message. */
static int folders_open(struct file_store *f, bool again, const char **what)
{
	char own[PATH_MAX];
	int rc;

	*what = "";
	if (!again && (rc = fs_mkdirs(f->path, 0755)) < 0)
		return rc;
	if ((rc = dir_open(f)) < 0)
		return rc;
	*what = "/.manx";
	if (mkdirat(f->dir, ".manx", 0700) < 0 && errno != EEXIST)
		return -errno;
	f->own = folder_open(f->dir, ".manx");
	if (f->own < 0)
		return f->own;
	*what = "/.manx/lock";
	rc = file_lock_open(f);
	if (rc < 0 && rc != -EROFS)	/* which is known to each write then; reading is worth something too */
		return rc;
	*what = "/.manx/tmp";
	if (mkdirat(f->own, "tmp", 0700) < 0 && errno != EEXIST)
		return -errno;
	f->temp = folder_open(f->own, "tmp");
	if (f->temp < 0)
		return f->temp;
	*what = ": inotify";
	f->inotify = f->watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (f->inotify < 0)
		return -errno;
	snprintf(own, sizeof own, "%s/.manx", f->path);
	if ((rc = watch_put(f, f->path, WATCH_USER, NULL, "")) < 0 || (rc = watch_put(f, own, WATCH_OWN, NULL, "")) < 0)
		return rc;
	for (unsigned i = 0; i < kind_count; i++) {
		*what = kinds[i].plural;
		if (kinds[i].agents && kind_is_used(&kinds[i], f->s->config) && (rc = plural_open(f, i)) < 0)
			return rc;
	}
	*what = "";
	return watch_add(f->s->loop, &f->watch, EPOLLIN);
}

static int open_all(struct file_store *f, bool again, struct err *e)
{
	const char *what;
	int rc = folders_open(f, again, &what);

	if (rc == 0)
		return 0;
	folders_close(f);
	if (rc == -ESTALE)
		return err_set(e, ESTALE, "%s: another folder, without .manx/lock", f->path);
	return err_set(e, -rc, "%s%s%s: %s", f->path, *what && !strchr("/:", *what) ? "/.manx/" : "", what,
		       strerror(-rc));
}

/* What could not be listed has been logged. */
static int scan(struct file_store *f)
{
	int users = file_user_scan(f), agents = file_agent_scan(f);

	if (users < 0 || agents < 0)
		return users < 0 ? users : agents;
	f->s->state = STORE_SYNCED;
	f->s->model->complete = true;
	return 0;
}

static const char partial[] = "not all of it can be listed";

static int open_and_scan(struct file_store *f, bool again, struct err *e)
{
	int rc = open_all(f, again, e);

	if (rc < 0 || (rc = scan(f)) == 0)
		return rc;
	folders_close(f);
	return err_set(e, -rc, "%s: %s: %s", f->path, partial, strerror(-rc));
}

/* --- away and back --- */

static void lost(struct file_store *f, const char *why)
{
	log_warn("store", "%s: %s: going on with what was known", f->path, why);
	folders_close(f);
	f->s->state = STORE_AWAY;
	f->away_said = false;
	model_problem(f->s->model, "store", "datastore", "put the folder back, or start the agent again if an empty one is meant",
		      "%s: %s", f->path, why);
	file_write_fail(f, -EAGAIN);
	timer_set(f->s->loop, &f->retry, RETRY_FIRST_MS);
}

static void on_retry(struct timer *t)
{
	struct file_store *f = container_of(t, struct file_store, retry);
	struct err e = { 0 };

	if (open_and_scan(f, true, &e) < 0) {
		if (!f->away_said)
			log_warn("store", "%s: waiting for it", e.text);
		f->away_said = true;
		timer_set(f->s->loop, &f->retry, RETRY_MS);
		return;
	}
	log_info("store", "%s: there again", f->path);
	model_problem_clear(f->s->model, "store", "datastore");
}

/* --- events --- */

static struct file_watch *watch_of(struct file_store *f, int wd)
{
	for (unsigned i = 0; i < f->watch_count; i++) {
		if (f->watches[i].wd == wd)
			return &f->watches[i];
	}
	return NULL;
}

/* A created file is not written yet; a link, or what is no file, is whole at once. */
static bool is_whole(const struct file_store *f, const struct inotify_event *ev)
{
	struct stat st;

	if (!(ev->mask & IN_CREATE))
		return true;
	return fstatat(f->dir, ev->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (!S_ISREG(st.st_mode) || st.st_nlink > 1);
}

/* These three: 0, or -errno when something could not be listed. */
static int on_user_event(struct file_store *f, const struct inotify_event *ev)
{
	/* A ConfigMap's files are links through "..data", which is what is replaced. */
	if (str_prefix(ev->name, "..") && (ev->mask & IN_MOVED_TO))
		return file_user_scan(f);
	if (is_whole(f, ev))
		file_user_look(f, ev->name);
	return 0;
}

/* A folder in a plural's folder: a namespace. */
static int on_namespace_event(struct file_store *f, const struct kind *k, const struct inotify_event *ev)
{
	if (!k->namespaced)
		return 0;
	if (ev->mask & (IN_CREATE | IN_MOVED_TO))
		return file_agent_scan_folder(f, k, ev->name);
	file_agent_sweep(f, k);
	return 0;
}

static int on_agent_event(struct file_store *f, const struct file_watch *w, const struct inotify_event *ev)
{
	if (ev->mask & IN_ISDIR)
		return on_namespace_event(f, w->kind, ev);
	if (!(ev->mask & IN_CREATE))
		file_agent_look(f, w->kind, w->namespace, ev->name, ev->mask & IN_MOVED_TO);
	return 0;
}

/*
 * A folder that we hold open does not say that it is deleted, but the one it lies in
 * does; and who deletes DIR deletes .manx first.
 */
static bool is_ours_removed(const struct file_watch *w, const struct inotify_event *ev)
{
	if (!(ev->mask & REMOVALS) || !(ev->mask & IN_ISDIR))
		return false;
	return w->what == WATCH_OWN || (w->what == WATCH_USER && strcmp(ev->name, ".manx") == 0);
}

/* NULL, or why the datastore is away: DIR, or a folder that must be there, has gone. */
static const char *on_gone(struct file_store *f, struct file_watch *w)
{
	if (w->what != WATCH_NAMESPACE)
		return "a folder has gone";
	inotify_rm_watch(f->inotify, w->wd);	/* unless it went by itself */
	file_agent_sweep(f, w->kind);
	*w = f->watches[--f->watch_count];
	return NULL;
}

/* The same; or it cannot be listed. */
static const char *on_event(struct file_store *f, const struct inotify_event *ev)
{
	struct file_watch *w;
	int rc = 0;

	if (ev->mask & IN_Q_OVERFLOW) {
		log_warn("store", "%s: too many changes at once: reading everything again", f->path);
		return scan(f) < 0 ? partial : NULL;
	}
	w = watch_of(f, ev->wd);
	if (!w)
		return NULL;
	if ((ev->mask & (GONE | IN_IGNORED | IN_UNMOUNT)) || (ev->len && is_ours_removed(w, ev)))
		return on_gone(f, w);
	if (ev->len && w->what == WATCH_USER)
		rc = on_user_event(f, ev);
	else if (ev->len && w->what != WATCH_OWN)
		rc = on_agent_event(f, w, ev);
	return rc < 0 ? partial : NULL;
}

static void on_inotify(struct watch *watch, uint32_t events)
{
	struct file_store *f = container_of(watch, struct file_store, watch);
	_Alignas(struct inotify_event) char buf[16384];
	ssize_t n = read(f->inotify, buf, sizeof buf);

	(void)events;
	for (ssize_t at = 0; at < n; ) {
		const struct inotify_event *ev = (const void *)(buf + at);
		const char *why = on_event(f, ev);

		if (why) {
			lost(f, why);
			return;
		}
		at += (ssize_t)(sizeof *ev + ev->len);
	}
}

/* --- driver --- */

static void name_path(const struct file_store *f, char path[NAME_PATH_MAX])
{
	snprintf(path, NAME_PATH_MAX, "nodes/.%s", f->s->config->node_name);
}

/*
 * A second agent of this name would find none of the first one's pods, and give their addresses back.  One that was killed
 * a moment ago may still be on its way out.  What else fails is a disk's trouble: writes will tell.
 */
static int name_take(struct file_store *f, struct err *e)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000000 };
	char path[NAME_PATH_MAX];
	int rc;

	name_path(f, path);
	for (unsigned i = 0; (rc = fs_trylock_file(f->own, path, &f->name)) == -EWOULDBLOCK && i < NAME_TRIES; i++)
		nanosleep(&pause, NULL);
	if (rc != -EWOULDBLOCK)
		return 0;
	close(f->name);
	f->name = -1;
	return err_set(e, EBUSY, "node_name %s: another agent on %s goes by this name, and each node needs one of its own",
		       f->s->config->node_name, f->path);
}

static void name_drop(struct file_store *f)
{
	char path[NAME_PATH_MAX];

	if (f->name < 0)
		return;
	name_path(f, path);
	if (f->own >= 0)
		unlinkat(f->own, path, 0);
	close(f->name);
}

static void stop(struct store *s)
{
	struct file_store *f = s->driver_state;

	if (!f)
		return;
	timer_del(s->loop, &f->retry);
	name_drop(f);
	folders_close(f);
	if (f->dir >= 0)
		close(f->dir);
	file_write_stop(f);
	file_memory_stop(f);
	file_user_free(f);
	str_free(&f->text);
	free(f->watches);
	free(f);
	s->driver_state = NULL;
}

static int start(struct store *s, const char *where, struct err *e)
{
	struct file_store *f = xcalloc(1, sizeof *f);
	int rc;

	*f = (struct file_store){ .s = s, .dir = -1, .own = -1, .name = -1, .lock = -1, .temp = -1, .inotify = -1,
				  .watch = { .fd = -1, .fn = on_inotify }, .retry = { .fn = on_retry } };
	if (kind_count > FILE_KINDS_MAX)
		log_die("store", "%u kinds", kind_count);
	for (unsigned i = 0; i < FILE_KINDS_MAX; i++)
		f->plural[i] = -1;
	file_write_init(f);
	file_memory_init(f);
	s->driver_state = f;
	if (!str_copy(f->path, sizeof f->path, where))
		rc = err_set(e, ENAMETOOLONG, "%s: path too long", where);
	else if ((rc = open_and_scan(f, false, e)) == 0)
		rc = name_take(f, e);
	if (rc < 0) {
		stop(s);
		return rc;
	}
	file_memory_sweep(f);
	return 0;
}

const struct store_driver store_file = { .name = "file", .start = start, .write = file_write, .stop = stop,
					 .edit = file_edit, .texts = file_texts, .is_used = file_is_used, .purge = file_purge };
