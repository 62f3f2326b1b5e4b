/*
 * Objects to rows.  What the model has may be newer than what a list says, since our own writes are
 * in it at once: then the list's is passed over.  A refused object leaves its last good state.
 */
#include "store/kube_driver.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

uint64_t kube_version(const struct json *j, json_value object)
{
	json_value v = json_path(j, object, "metadata.resourceVersion");
	uint64_t version = 0;
	char text[24];
	size_t len;
	const char *raw;

	if (json_type(j, v) != JSON_STRING)
		return 0;
	raw = json_raw(j, v, &len);
	if (len - 2 >= sizeof text)
		return 0;
	memcpy(text, raw + 1, len - 2);
	text[len - 2] = '\0';
	return str_u64(text, UINT64_MAX, &version) < 0 ? 0 : version;
}

/* An object is one line of the server's: where in it says nothing to a person. */
static const char *without_place(const char *text)
{
	const char *p = text + strspn(text, "0123456789:");

	return *p == ' ' ? p + 1 : text;
}

/* Problems are called "Pod web/front"; their mark is the list of that kind that they were last seen in. */
void kube_object_refuse(struct kube_kind *kk, const char *key, const char *why)
{
	char name[OBJECT_KEY_MAX + 24];
	struct problem *p;

	snprintf(name, sizeof name, "%s %s", kk->kind->kind, key);
	why = without_place(why);
	p = model_problem(kk->ks->s->model, "store", name, "correct the object", "%s: %s", name, why);
	if (p->news)
		log_err("store", "%s: refused: %s", name, why);
	p->row.mark = kind_table(kk->kind, kk->ks->s->model)->generation;
	kk->refused = true;
}

static void accepted(struct kube_kind *kk, const char *key)
{
	char name[OBJECT_KEY_MAX + 24];

	snprintf(name, sizeof name, "%s %s", kk->kind->kind, key);
	if (kk->refused)
		model_problem_clear(kk->ks->s->model, "store", name);
}

void kube_object_listed(struct kube_kind *kk)
{
	const struct table *t = kind_table(kk->kind, kk->ks->s->model);
	struct problem *p;
	char begin[32];

	snprintf(begin, sizeof begin, "store %s ", kk->kind->kind);
	if (kk->refused)
		table_each(&kk->ks->s->model->problems, p)
			if (str_prefix(p->row.key, begin) && p->row.mark != t->generation)
				table_del(&kk->ks->s->model->problems, p->row.key);
}

/* It is there, as it was: a list that is being read does not end it. */
static void still_there(const struct table *t, struct row *old)
{
	if (old)
		old->mark = t->generation;
}

bool kube_object_put(struct kube_kind *kk, const struct json *j, json_value object)
{
	struct store *s = kk->ks->s;
	struct table *t = kind_table(kk->kind, s->model);
	struct object_ref ref;
	struct err e = { 0 };
	struct row *row = kind_decode_as(j, object, kk->kind, &ref, &e), *old;
	char key[OBJECT_KEY_MAX];
	bool news = false, known;

	if (row && !e.code && !kind_meta(kk->kind, row)->version)
		err_set(&e, EINVAL, "metadata.resourceVersion: missing");
	if (!object_key(key, &ref)) {
		kube_object_refuse(kk, "without a name that is one", e.text);
		row_free(row);
		return false;
	}
	old = table_find(t, key);
	if (e.code)
		kube_object_refuse(kk, key, e.text);
	else
		accepted(kk, key);
	known = old && row && kind_meta(kk->kind, old)->version == kind_meta(kk->kind, row)->version;	/* a write of ours */
	if (!row || known || (e.code && (!kk->kind->closed || old)) ||
	    (old && !kk->rewound && kind_meta(kk->kind, old)->version > kind_meta(kk->kind, row)->version)) {
		still_there(t, old);
		row_free(row);
	} else {
		news = store_event_put(s, kk->kind, row);
	}
	if (kk->kind->merge && strcmp(key, kk->ks->s->config->node_name) == 0)
		kube_up(kk->ks);
	if (news && kk->kind->closed)
		kube_settle(kk->ks);
	if (news || (!e.code && (known || kk->phase != KUBE_WATCH)))	/* a list is kept whole */
		kube_cache_put(kk, j, object);
	return news;
}

bool kube_object_del(struct kube_kind *kk, const struct json *j, json_value object)
{
	struct table *t = kind_table(kk->kind, kk->ks->s->model);
	char key[OBJECT_KEY_MAX];
	struct object_ref ref;
	struct row *old;

	kind_identify(j, object, kk->kind, &ref);
	if (!object_key(key, &ref))
		return false;
	old = table_find(t, key);
	if (old && kube_version(j, object) && kind_meta(kk->kind, old)->version > kube_version(j, object))
		return false;		/* made anew meanwhile, by us */
	accepted(kk, key);
	kube_cache_del(kk, &ref);
	if (kk->kind->closed)
		kube_settle(kk->ks);
	if (old)
		store_event_del(kk->ks->s, kk->kind, key);
	return old;
}

struct read_back { struct kube_kind *kk; uint64_t version; };

static void on_answer(void *ctx, const struct json *j, const char *wrong)
{
	struct read_back *a = ctx;

	if (wrong || a->version)
		return;
	a->version = kube_version(j, 0);
	kube_object_put(a->kk, j, 0);
}

/* As what a watch says of it. */
bool kube_object_read(struct kube_store *ks, const struct kind *k, const struct str *text, uint64_t *version)
{
	struct read_back a = { .kk = &ks->kinds[k - kinds] };
	struct json_split split;

	json_split_init(&split, false, on_answer, &a);
	split.ballast = k->ballast ? k->ballast : kind_no_ballast;
	json_split_feed(&split, str_text(text), text->len);
	json_split_end(&split);
	json_split_free(&split);
	kube_cache_settle(a.kk);	/* else its line goes to the file of the kind that is read next */
	*version = a.version;
	return a.version;
}
