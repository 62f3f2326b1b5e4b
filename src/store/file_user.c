/*
 * Users' files at the top of DIR.
 *
 * For each object that some file names there is a chain of references, by file
 * name; the first one is to be shown.  When that is another one than before, the
 * object is put on the list of what is unsettled, and settle() reads the file of
 * the first reference again.  A reference that then still cannot be shown (its
 * text is bad by now, and no good state is remembered) is dropped, and the next one
 * has its turn; after the last one, what lies in .manx.
 */
#include "store/file_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

/* --- settling --- */

/* Nobody's any more: what agents say, or nothing. */
static void object_reveal(struct file_store *f, struct file_object *o)
{
	struct object_ref ref;

	if (o->kind->agents && object_ref_set(&ref, o->kind, o->key))
		file_agent_load(f, &ref, NULL);
	else
		store_event_del(f->s, o->kind, o->key);
}

static void settle_one(struct file_store *f, struct file_object *o)
{
	struct file_ref *r = o->refs;

	if (!r) {
		object_reveal(f, o);
		file_object_remove(f, o);
		return;
	}
	if (r->shown)
		return;
	if (r->tried) {
		file_ref_drop(f, r);		/* unsettles it again: the next one */
		return;
	}
	r->tried = true;
	file_object_unsettle(f, o);
	file_read(f, r->file, true);
}

static void settle(struct file_store *f)
{
	while (f->unsettled) {
		struct file_object *o = f->unsettled;

		f->unsettled = o->unsettled_next;
		o->unsettled = false;
		settle_one(f, o);
	}
}

/* --- the folder --- */

/* Where name is, or where it would have to be. */
static unsigned file_place(const struct file_store *f, const char *name, bool *found)
{
	unsigned low = 0, high = f->file_count;

	*found = false;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		int c = strcmp(f->files[middle]->name, name);

		if (c == 0) {
			*found = true;
			return middle;
		}
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct user_file *file_user_find(const struct file_store *f, const char *name)
{
	bool found;
	unsigned place = file_place(f, name, &found);

	return found ? f->files[place] : NULL;
}

static struct user_file *file_new(struct file_store *f, unsigned place, const char *name)
{
	size_t size = strlen(name) + 1;
	struct user_file *file = xcalloc(1, sizeof *file + size);

	memcpy(file->name, name, size);
	if ((f->file_count & (f->file_count - 1)) == 0)
		f->files = xrealloc(f->files, (f->file_count ? 2 * f->file_count : 1) * sizeof *f->files);
	memmove(f->files + place + 1, f->files + place, (f->file_count - place) * sizeof *f->files);
	f->files[place] = file;
	f->file_count++;
	return file;
}

static void file_remove(struct file_store *f, unsigned place)
{
	struct user_file *file = f->files[place];

	while (file->refs)
		file_ref_drop(f, file->refs);
	model_problem_clear(f->s->model, "store", file->name);
	file_memory_forget(f, file->name);
	f->file_count--;
	memmove(f->files + place, f->files + place + 1, (f->file_count - place) * sizeof *f->files);
	str_free(&file->good);
	free(file);
}

static void file_look(struct file_store *f, const char *name)
{
	struct user_file *file;
	unsigned place;
	bool found;

	if (name[0] == '.' || text_format(name) == TEXT_NONE)
		return;
	place = file_place(f, name, &found);
	file = found ? f->files[place] : file_new(f, place, name);
	file->scan = f->scan;
	if (file_read(f, file, false) == -ENOENT)
		file_remove(f, place);
}

void file_user_look(struct file_store *f, const char *name)
{
	file_look(f, name);
	settle(f);
}

static void on_name(void *ctx, const char *name)
{
	file_look(ctx, name);
}

int file_user_scan(struct file_store *f)
{
	int rc;

	f->scan++;
	rc = file_list(f->dir, ".", on_name, f);
	if (rc < 0)
		log_err("store", "%s: cannot list: %s", f->path, strerror(-rc));
	for (unsigned i = f->file_count; rc == 0 && i-- > 0; ) {
		if (f->files[i]->scan != f->scan)
			file_remove(f, i);
	}
	settle(f);
	return rc;
}

void file_user_free(struct file_store *f)
{
	file_object_free_all(f);
	for (unsigned i = 0; i < f->file_count; i++) {
		str_free(&f->files[i]->good);
		free(f->files[i]);
	}
	free(f->files);
}
