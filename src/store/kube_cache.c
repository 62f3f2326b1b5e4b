/*
 * What was last known, for a start while the API is away: STATE_DIR/cluster/<plural>,
 * one object a line, in the order of their changes; a line that says "gone" ends the
 * one of that name.  A list is written to a new file, which takes the old one's place
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

static void flush(struct kube_kind *kk)
{
	struct str *out = &kk->ks->out;

	if (kk->file >= 0 && out->len && write(kk->file, out->s, out->len) != (ssize_t)out->len) {
		log_warn("store", "%s: %s: what is known is not kept", kk->kind->plural, strerror(errno));
		close(kk->file);
		kk->file = -1;
		unlinkat(kk->ks->folder, kk->kind->plural, 0);
	}
	kk->size += out->len;
	str_free(out);
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
};

static void on_line(void *ctx, const struct json *j, const char *wrong)
{
	struct reading *r = ctx;
	struct object_ref ref;
	struct err e = { 0 };
	struct row *row = NULL;
	bool gone = false;

	if (wrong)
		return;
	json_bool(j, json_get(j, 0, "gone"), &gone);
	if (gone)
		kind_identify(j, 0, r->kk->kind, &ref);
	else
		row = kind_decode_as(j, 0, r->kk->kind, &ref, &e);
	if (*ref.name && (gone || row))
		r->each(r, &ref, row, j->text, j->len);
	else
		row_free(row);
}

/* False: there is none that could be trusted. */
static bool read_lines(struct reading *r)
{
	char piece[PIECE];
	struct json_split split;
	autoclose int fd = openat(r->kk->ks->folder, r->kk->kind->plural, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;
	size_t all = 0;

	if (fd < 0)
		return false;
	json_split_init(&split, false, on_line, r);
	while ((n = read(fd, piece, sizeof piece)) > 0) {
		json_split_feed(&split, piece, (size_t)n);
		all += (size_t)n;
	}
	json_split_free(&split);
	return n == 0 && all;
}

static void recall(struct reading *r, const struct object_ref *ref, struct row *row, const char *text, size_t len)
{
	char key[OBJECT_KEY_MAX];

	(void)text;
	(void)len;
	if (row)
		store_event_put(r->kk->ks->s, r->kk->kind, row);
	else if (object_key(key, ref))
		store_event_del(r->kk->ks->s, r->kk->kind, key);
}

/* A list that comes later counts, whatever versions it has. */
bool kube_cache_recall(struct kube_kind *kk)
{
	struct reading r = { .kk = kk, .each = recall };

	if (kk->ks->folder >= 0 && read_lines(&r))
		kk->recalled = kk->rewound = true;
	return kk->recalled;
}

/* --- a new file --- */

static void name_new(const struct kube_kind *kk, char out[80])
{
	snprintf(out, 80, "%s.new", kk->kind->plural);
}

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
	str_puts(&kk->ks->out, "{}\n");	/* so that one without objects is not empty */
}

void kube_cache_end(struct kube_kind *kk)
{
	char name[80];

	flush(kk);
	name_new(kk, name);
	if (kk->file >= 0 && renameat(kk->ks->folder, name, kk->ks->folder, kk->kind->plural) < 0)
		log_warn("store", "%s: %s: what is known is not kept", name, strerror(errno));
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

	flush(kk);
	if (kk->file < 0 || kk->phase != KUBE_WATCH || kk->size <= 2 * kk->live + SLACK)
		return;			/* a list's file is new already */
	kube_cache_begin(kk);
	read_lines(&r);
	kube_cache_end(kk);
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
