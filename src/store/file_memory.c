/*
 * The last good state of what users' files give: state_dir/last-good/<file name>,
 * an array of the file's objects, each as it was when it was good for the last time.
 *
 * A file is written when what it should hold is another thing than what it holds,
 * in one step (rename), so a torn one is of a power cut and does not parse.  That
 * takes as long as all else that a change brings about, so it is done behind the pass:
 * the text is kept until then.  Of many files that come at once a few are written at once and the
 * rest in later turns, large ones from their source, which is read again.  The same when the
 * disk is full or cannot be written, which is a problem for a person and nothing else.
 */
#include "store/file_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"

enum { WRITES_MAX = 8, NEXT_MS = 10, RETRY_MS = 30000, KEEP_MAX = 1 << 16 };
enum { EQUAL = 1 };

static int folder_open(struct file_store *f)
{
	char path[CONFIG_PATH_MAX + 16];
	int rc;

	if (f->memory >= 0)
		return 0;
	snprintf(path, sizeof path, "%s/last-good", f->s->config->state_dir);
	rc = fs_mkdirs(path, 0700);
	if (rc < 0)
		return rc;
	f->memory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return f->memory < 0 ? -errno : 0;
}

static int disk_read(struct file_store *f, const char *name, struct str *text)
{
	int rc = folder_open(f);

	return rc < 0 ? rc : fs_read(f->memory, name, JSON_SIZE_MAX, text);
}

int file_memory_read(struct file_store *f, const char *name, struct str *text)
{
	const struct user_file *file = file_user_find(f, name);

	if (!file || !file->good.len)
		return disk_read(f, name, text);
	str_clear(text);
	str_add(text, file->good.s, file->good.len);
	return 0;
}

void file_memory_forget(struct file_store *f, const char *name)
{
	if (folder_open(f) == 0)
		unlinkat(f->memory, name, 0);
}

static int replace(struct file_store *f, const char *name, const struct str *text)
{
	int rc = fs_replace(f->memory, name, text->s, text->len, 0600);

	if (rc != -ENOENT)
		return rc;
	close(f->memory);		/* the folder was removed */
	f->memory = -1;
	rc = folder_open(f);
	return rc < 0 ? rc : fs_replace(f->memory, name, text->s, text->len, 0600);
}

/* 0, EQUAL: nothing was to be done, -EBUSY: in another turn, -errno. */
static int save(struct file_store *f, const char *name, const struct str *text)
{
	autostr struct str have = { 0 };
	int rc = disk_read(f, name, &have);

	if (rc == -ENOENT && !text->len)
		return EQUAL;
	if (rc == 0 && have.len == text->len && memcmp(str_text(&have), str_text(text), have.len) == 0)
		return EQUAL;
	if (f->memory < 0)
		return rc;
	if (!f->memory_writes)
		return -EBUSY;
	f->memory_writes--;
	if (text->len && text->len <= JSON_SIZE_MAX)
		return replace(f, name, text);
	return unlinkat(f->memory, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static void tell(struct file_store *f, int rc)
{
	const char *state_dir = f->s->config->state_dir;

	if (rc == f->memory_failed)
		return;
	f->memory_failed = rc;
	if (rc == 0) {
		log_info("store", "%s/last-good: can be written again", state_dir);
		model_problem_clear(f->s->model, "store", "state_dir");
		return;
	}
	log_warn("store", "%s/last-good: %s: bad objects will not keep their last good state across a restart", state_dir,
		 strerror(-rc));
	model_problem(f->s->model, "store", "state_dir", "make room there, or make it writable",
		      "%s/last-good: %s: bad objects will not keep their last good state across a restart", state_dir,
		      strerror(-rc));
}

static void good_write(struct file_store *f, struct user_file *file, const struct str *text)
{
	int rc = save(f, file->name, text);

	file->owed = rc < 0;
	if (rc < 0)
		timer_set(f->s->loop, &f->memory_timer, rc == -EBUSY ? NEXT_MS : RETRY_MS);
	if (rc != EQUAL && rc != -EBUSY)
		tell(f, rc);
}

void file_memory_save(struct file_store *f, struct user_file *file, struct str *text)
{
	str_free(&file->good);
	if (!text->len || text->len > KEEP_MAX) {
		good_write(f, file, text);
		return;
	}
	file->good = *text;
	*text = (struct str){ 0 };
	file->owed = true;
	loop_defer(f->s->loop, &f->memory_due);
}

static void pay(struct file_store *f, struct user_file *file)
{
	if (!file->good.len) {
		file->owed = false;
		file_read(f, file, true);
		return;
	}
	good_write(f, file, &file->good);
	if (!file->owed)
		str_free(&file->good);
}

static void pay_all(struct file_store *f)
{
	f->memory_writes = WRITES_MAX;
	for (unsigned i = 0; i < f->file_count; i++) {
		if (!f->files[i]->owed)
			continue;
		pay(f, f->files[i]);
		if (f->files[i]->owed)
			break;		/* that was enough, or fails still: the timer is set */
	}
}

/* The first call comes before the pass, the second one, of the next round, behind it. */
static void on_due(struct deferred *d)
{
	struct file_store *f = container_of(d, struct file_store, memory_due);

	f->memory_passed = !f->memory_passed;
	if (f->memory_passed)
		loop_defer(f->s->loop, d);
	else
		pay_all(f);
}

static void on_timer(struct timer *t)
{
	pay_all(container_of(t, struct file_store, memory_timer));
}

static void on_name(void *ctx, const char *name)
{
	struct file_store *f = ctx;

	if (name[strspn(name, ".")] && !file_user_find(f, name))
		unlinkat(f->memory, name, 0);
}

/* What no file stands behind any more.  An empty folder may be one that is not mounted yet. */
void file_memory_sweep(struct file_store *f)
{
	if (f->file_count && folder_open(f) == 0)
		file_list(f->memory, ".", on_name, f);
}

void file_memory_init(struct file_store *f)
{
	f->memory = -1;
	f->memory_writes = WRITES_MAX;
	f->memory_timer.fn = on_timer;
	f->memory_due.fn = on_due;
}

void file_memory_stop(struct file_store *f)
{
	f->memory_writes = UINT_MAX;
	for (unsigned i = 0; i < f->file_count; i++)
		if (f->files[i]->good.len)
			save(f, f->files[i]->name, &f->files[i]->good);
	timer_del(f->s->loop, &f->memory_timer);
	deferred_del(f->s->loop, &f->memory_due);
	if (f->memory >= 0)
		close(f->memory);
}
