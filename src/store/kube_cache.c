/*
 * What was last known, for a start while the API is away: STATE_DIR/cluster/<plural>,
 * one object a line, in the order of their changes; a line that says "gone" ends the
 * one of that name, one that says "listed" stands where the list was whole.  A list is written to a new file, which takes the old one's place
 * when the list is whole; later changes are appended, and when more than half of the
 * file is past, what the model still has is copied.  Nothing is written but what is news
 * to the model.
 *
 * `manx get` shows these lines too.
 */
#include "store/kube_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"

enum { PIECE = 16384, SLACK = 65536 };

static void name_new(const struct kube_kind *kk, char out[80])
{
	snprintf(out, 80, "%s.new", kk->kind->plural);
}

/* The kind's file will not do: better none than one that lacks something. */
static void drop(struct kube_kind *kk, const char *why)
{
	struct kube_store *ks = kk->ks;
	char name[80];
	struct problem *p = model_problem(ks->s->model, "store", "cluster", "see to the disk", "%s/cluster: %s: what is known is not kept",
					  ks->s->config->state_dir, why);

	if (p->news)
		log_warn("store", "%s", p->text);
	if (kk->file >= 0)
		close(kk->file);
	kk->file = -1;
	name_new(kk, name);
	unlinkat(ks->folder, name, 0);
	unlinkat(ks->folder, kk->kind->plural, 0);
}

bool kube_cache_is_lost(const struct kube_kind *kk)
{
	return kk->ks->folder >= 0 && kk->file < 0;
}

static void flush(struct kube_kind *kk)
{
	struct str *out = &kk->ks->out;
	ssize_t n = kk->file >= 0 && out->len ? write(kk->file, out->s, out->len) : 0;

	if (n < 0 || (n && n < (ssize_t)out->len))
		drop(kk, n < 0 ? strerror(errno) : strerror(ENOSPC));
	kk->size += out->len;
	str_free(out);
}

/* Of what fails closed also past a loss of power: a policy less would open something. */
static void flush_safely(struct kube_kind *kk)
{
	bool news = kk->ks->out.len;

	flush(kk);
	if (news && kk->kind->closed && kk->file >= 0)
		fdatasync(kk->file);
}

/* --- one line --- */

void kube_cache_put(struct kube_kind *kk, const struct json *j, json_value object)
{
	const char *version = kube_api_version(kk->ks, kk->kind), *raw;
	struct json_out o = { .to = &kk->ks->out };
	size_t len;

	if (kk->file < 0)
		return;
	json_open(&o, NULL, '{');
	if (json_get(j, object, "apiVersion") < 0)
		json_put_string(&o, "apiVersion", version ? version : "");
	if (json_get(j, object, "kind") < 0)
		json_put_string(&o, "kind", kk->kind->kind);
	raw = json_raw(j, object, &len);
	if (o.comma)
		str_puts(o.to, ",");
	str_add(o.to, raw + 1, len - 1);
	str_puts(o.to, "\n");
	if (o.to->len > PIECE)
		flush(kk);
}

void kube_cache_del(struct kube_kind *kk, const struct object_ref *ref)
{
	struct json_out o = { .to = &kk->ks->out };

	if (kk->file < 0)
		return;
	json_open(&o, NULL, '{');
	json_put_bool(&o, "gone", true);
	json_open(&o, "metadata", '{');
	json_put_string(&o, "name", ref->name);
	if (*ref->namespace)
		json_put_string(&o, "namespace", ref->namespace);
	json_close(&o, '}');
	json_close(&o, '}');
	str_puts(o.to, "\n");
}

/* --- a file's lines --- */

struct reading {
	struct kube_kind *kk;
	/* row NULL: it has gone. */
	void (*each)(struct reading *r, const struct object_ref *ref, struct row *row, const char *text, size_t len);
	void *ctx;
	store_text *give;
	unsigned bad;			/* lines that nobody wrote so */
	bool listed;			/* the list was whole once */
	bool absent;			/* for there was no such kind */
};

static void on_line(void *ctx, const struct json *j, const char *wrong)
{
	struct reading *r = ctx;
	struct object_ref ref;
	struct err e = { 0 };
	struct row *row = NULL;
	bool gone = false, listed = false;

	if (wrong) {
		r->bad++;
		return;
	}
	json_bool(j, json_get(j, 0, "gone"), &gone);
	json_bool(j, json_get(j, 0, "listed"), &listed);
	json_bool(j, json_get(j, 0, "absent"), &r->absent);
	if (gone || listed)
		kind_identify(j, 0, r->kk->kind, &ref);
	else
		row = kind_decode_as(j, 0, r->kk->kind, &ref, &e);
	r->listed |= listed;
	if (*ref.name && (gone || row)) {
		r->each(r, &ref, row, j->text, j->len);
	} else {
		r->bad += !listed;
		row_free(row);
	}
}

/* False: there is none that could be trusted.  A policy that cannot be read is one less: all of them count, or none. */
static bool read_lines(struct reading *r)
{
	char piece[PIECE];
	struct json_split split;
	autoclose int fd = openat(r->kk->ks->folder, r->kk->kind->plural, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;

	if (fd < 0)
		return false;
	json_split_init(&split, false, on_line, r);
	while ((n = read(fd, piece, sizeof piece)) > 0)
		json_split_feed(&split, piece, (size_t)n);
	r->bad += !json_split_end(&split);
	json_split_free(&split);
	return n == 0 && r->listed && !(r->bad && r->kk->kind->closed);
}

/* Beside a list that is being read: what that has named counts, and what it will not name goes at its end. */
static void recall(struct reading *r, const struct object_ref *ref, struct row *row, const char *text, size_t len)
{
	struct table *t = kind_table(r->kk->kind, r->kk->ks->s->model);
	char key[OBJECT_KEY_MAX];
	struct row *old = object_key(key, ref) ? table_find(t, key) : NULL;

	(void)text;
	(void)len;
	if (old && old->mark == t->generation) {
		row_free(row);
	} else if (row) {
		store_event_put(r->kk->ks->s, r->kk->kind, row);
		row->mark = t->generation - 1;
	} else if (old) {
		store_event_del(r->kk->ks->s, r->kk->kind, key);
	}
}

static void ignore(struct reading *r, const struct object_ref *ref, struct row *row, const char *text, size_t len)
{
	(void)r;
	(void)ref;
	(void)text;
	(void)len;
	row_free(row);
}

/* A list that comes later counts, whatever versions it has. */
bool kube_cache_recall(struct kube_kind *kk)
{
	struct reading look = { .kk = kk, .each = ignore }, r = { .kk = kk, .each = recall };

	if (kk->ks->folder < 0)
		return false;
	if (read_lines(&look))
		kk->recalled = kk->rewound = read_lines(&r);
	kk->absent = r.absent;
	if (look.bad || !look.listed)
		log_err("store", "%s/cluster/%s: %u lines are not what was written, the list is %s: %s", kk->ks->s->config->state_dir,
			kk->kind->plural, look.bad, look.listed ? "whole" : "cut", kk->recalled ? "going on with the others" : "not used");
	return kk->recalled;
}

/* --- a new file --- */

void kube_cache_begin(struct kube_kind *kk)
{
	char name[80];

	if (kk->ks->folder < 0)
		return;
	if (kk->file >= 0)
		close(kk->file);
	name_new(kk, name);
	kk->size = 0;
	kk->file = openat(kk->ks->folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (kk->file < 0)
		drop(kk, strerror(errno));
}

void kube_cache_end(struct kube_kind *kk)
{
	char name[80];

	str_puts(&kk->ks->out, kk->absent ? "{\"listed\":true,\"absent\":true}\n" : "{\"listed\":true}\n");
	flush_safely(kk);
	name_new(kk, name);
	if (kk->file >= 0 && renameat(kk->ks->folder, name, kk->ks->folder, kk->kind->plural) < 0)
		drop(kk, strerror(errno));
	else if (kk->file >= 0)
		model_problem_clear(kk->ks->s->model, "store", "cluster");
	kk->live = kk->size;
}

static struct row *as_it_is(const struct reading *r, const struct row *row)
{
	struct row *now = row ? table_find(kind_table(r->kk->kind, r->kk->ks->s->model), row->key) : NULL;

	return now && now->digest == row->digest ? now : NULL;
}

static void keep(struct reading *r, const struct object_ref *ref, struct row *row, const char *text, size_t len)
{
	(void)ref;
	if (as_it_is(r, row)) {
		str_add(&r->kk->ks->out, text, len);
		str_puts(&r->kk->ks->out, "\n");
		if (r->kk->ks->out.len > PIECE)
			flush(r->kk);
	}
	row_free(row);
}

void kube_cache_settle(struct kube_kind *kk)
{
	struct reading r = { .kk = kk, .each = keep };

	(kk->phase == KUBE_WATCH ? flush_safely : flush)(kk);
	if (kk->file < 0 || kk->phase != KUBE_WATCH || kk->size <= 2 * kk->live + SLACK)
		return;			/* a list's file is new already */
	kube_cache_begin(kk);
	if (read_lines(&r))
		kube_cache_end(kk);
	else
		drop(kk, "not as it was written");
}

/* --- the folder --- */

void kube_cache_open(struct kube_store *ks)
{
	char path[CONFIG_PATH_MAX + 16];
	int rc;

	snprintf(path, sizeof path, "%s/cluster", ks->s->config->state_dir);
	rc = fs_mkdirs(path, 0700);
	if (rc == 0 && (ks->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		rc = -errno;
	if (rc < 0)
		log_warn("store", "%s: %s: what is known is not kept", path, strerror(-rc));
}

void kube_cache_close(struct kube_store *ks)
{
	for (unsigned i = 0; i < kind_count; i++)
		if (ks->kinds[i].file >= 0)
			close(ks->kinds[i].file);
	if (ks->folder >= 0)
		close(ks->folder);
	str_free(&ks->out);
}

/* --- manx get --- */

static void give(struct reading *r, const struct object_ref *ref, struct row *row, const char *text, size_t len)
{
	autostr struct str line = { 0 };

	(void)ref;
	if (as_it_is(r, row)) {
		str_add(&line, text, len);
		r->give(r->ctx, row->key, &line);
	}
	row_free(row);
}

void kube_texts(struct store *s, const struct kind *k, store_text *each, void *ctx)
{
	struct kube_store *ks = s->driver_state;
	struct reading r = { .kk = &ks->kinds[k - kinds], .each = give, .ctx = ctx, .give = each };

	if (ks->folder >= 0)
		read_lines(&r);
}
