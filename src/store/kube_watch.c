/*
 * One kind's objects: all of them once, then what changes.
 *
 * Where the server can, both are one request (sendInitialEvents): objects come
 * as ADDED, a bookmark says that these were all.  Otherwise pages of a list are
 * read, then a watch goes on from the list's version.  A watch that ends goes on
 * from the last version that was seen; only when the server no longer knows that
 * one (410) all is listed again, and what the list does not name is deleted at
 * its end, not before.
 */
#include "store/kube_driver.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "model/policy.h"

enum {
	PAGE = 500, NOTE_MAX = 1024, HEAD = 4096,
	AGAIN_MS = 50,			/* after a watch that came to its end */
	LASTED_MS = 2000, CUTS_MAX = 3, RETRY_MS = 250, PROBE_MS = 30000, RETRY_AFTER_MAX_S = 300,
	SILENCE_MS = 150000,		/* bookmarks come once a minute */
};

/* Tokens for the next page are of these. */
static const char url_safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~=";

static void ask(struct kube_kind *kk);

static void again(struct kube_kind *kk, unsigned ms)
{
	timer_set(kk->ks->s->loop, &kk->again, ms);
}

static bool lasted(const struct kube_kind *kk)
{
	return kk->begun_ms && now_ms() - kk->begun_ms > LASTED_MS;
}

/* Later, the more so the more often it was in vain. */
static void retry_in(struct kube_kind *kk, unsigned ms)
{
	if (lasted(kk))
		kk->tries = 0;
	again(kk, kube_backoff(kk->ks, ms, kk->tries++, kube_patience(kk)));
}

static void retry(struct kube_kind *kk)
{
	retry_in(kk, RETRY_MS);
}

static bool is_list(const struct kube_kind *kk)
{
	return kk->phase == KUBE_LIST || kk->phase == KUBE_INITIAL;
}

/* From the beginning. */
static void relist(struct kube_kind *kk)
{
	kk->phase = kk->ks->no_initial ? KUBE_LIST : KUBE_INITIAL;
	str_clear(&kk->more);
}

static void give_up(struct kube_kind *kk)
{
	kube_cancel(&kk->call);
	kk->stopping = true;
}

/* All of them were named. */
static void listed(struct kube_kind *kk, uint64_t version)
{
	struct table *t = kind_table(kk->kind, kk->ks->s->model);
	struct row *strangers = kk->kind->closed ? table_find(t, POLICY_STRANGERS) : NULL;

	if (strangers)
		strangers->mark = t->generation;
	table_end(t);
	kk->phase = KUBE_WATCH;
	kk->version = version;
	kk->listed = true;
	kk->rewound = false;
	kube_found(kk);
	kube_object_listed(kk);
	kube_cache_end(kk);
	kube_settle(kk->ks);
}

/* What the server says will not do, though it says it is well: all again, later. */
static void unfit(struct kube_kind *kk, const char *what)
{
	struct err e;

	give_up(kk);
	err_set(&e, EPROTO, "%s: %s: %s", kube_server(kk->ks->kube), kk->kind->plural, what);
	kube_lost(kk, e.text);
	relist(kk);
	retry(kk);
}

/* The server was restored from a backup, perhaps: what it has now counts, however old it is. */
static void went_back(struct kube_kind *kk)
{
	log_warn("store", "%s: the server's versions have gone back: listing all again", kk->kind->plural);
	kk->version = 0;
	kk->rewound = true;
	relist(kk);
	retry(kk);
}

/* --- events --- */

static void on_bookmark(struct kube_kind *kk, const struct json *j, json_value object)
{
	json_value annotations = json_path(j, object, "metadata.annotations");
	uint64_t version = kube_version(j, object);

	if (!version)
		return;
	if (kk->phase != KUBE_WATCH) {
		if (json_is(j, json_get(j, annotations, "k8s.io/initial-events-end"), "true"))
			listed(kk, version);
	} else if (version < kk->version) {
		give_up(kk);
		went_back(kk);
	} else {
		kk->version = version;
	}
}

/* A Status.  410 is how a watch says that its version is too old. */
static void on_error(struct kube_kind *kk, const struct json *j, json_value status)
{
	struct arena mem = { 0 };
	const char *text = json_string(j, json_get(j, status, "message"), &mem);
	int64_t code = 0;

	json_int(j, json_get(j, status, "code"), &code);
	log_write(code == 410 ? LOG_DEBUG : LOG_INFO, "store", "%s: the watch ended: %lld %.200s", kk->kind->plural, (long long)code, text ? text : "");
	arena_free(&mem);
	give_up(kk);
	if (code == 410 || is_list(kk))
		relist(kk);
	retry(kk);
}

static void on_event(struct kube_kind *kk, const struct json *j)
{
	static const struct { const char *type; int what; } types[] = {
		{ "ADDED", 'p' }, { "MODIFIED", 'p' }, { "DELETED", 'd' }, { "BOOKMARK", 'b' }, { "ERROR", 'e' },
	};
	json_value type = json_get(j, 0, "type"), object = json_get(j, 0, "object");
	int what = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		if (json_is(j, type, types[i].type))
			what = types[i].what;
	if (what == 'e')
		on_error(kk, j, object);
	else if (what == 'b')
		on_bookmark(kk, j, object);
	else if (what == 'd')
		kube_object_del(kk, j, object);
	else if (what == 'p')
		kube_object_put(kk, j, object);
	else
		unfit(kk, "a watch event of no known type");
	if (strchr("pd", what) && what && kk->phase == KUBE_WATCH && kube_version(j, object))
		kk->version = kube_version(j, object);
}

/* What stands behind a mark near the beginning of what cannot be read, as far as a person needs it. */
static bool find_text(const char *text, size_t len, const char *mark, char *out, size_t size)
{
	const char *at = memmem(text, len, mark, strlen(mark)), *end;

	if (!at)
		return false;
	at += strlen(mark);
	end = memchr(at, '"', len - (size_t)(at - text));
	return end && snprintf(out, size, "%.*s", (int)(end - at), at) < (int)size;
}

/* One that has a name is refused; other things are a sign that there are no objects to come. */
static void refuse_text(struct kube_kind *kk, const char *text, size_t len, const char *why)
{
	char name[OBJECT_NAME_MAX], namespace[OBJECT_NAMESPACE_MAX] = "", key[OBJECT_KEY_MAX];

	if (len > HEAD)
		len = HEAD;
	if (!find_text(text, len, "\"name\":\"", name, sizeof name)) {
		unfit(kk, why);
		return;
	}
	if (kk->kind->namespaced)
		find_text(text, len, "\"namespace\":\"", namespace, sizeof namespace);
	snprintf(key, sizeof key, "%s%s%s", namespace, *namespace ? "/" : "", name);
	kube_object_refuse(kk, key, why);
}

static void on_object(void *ctx, const struct json *j, const char *wrong)
{
	struct kube_kind *kk = ctx;

	if (kk->stopping)
		return;
	if (wrong)
		refuse_text(kk, j->text, j->len, wrong);
	else if (kk->phase == KUBE_LIST)
		kube_object_put(kk, j, 0);
	else
		on_event(kk, j);
}

/* --- answers --- */

static void on_head(struct kube_call *c)
{
	struct kube_kind *kk = container_of(c, struct kube_kind, call);

	str_clear(&kk->note);
	if (c->status != 200)
		return;
	if (!c->json) {
		unfit(kk, "what it answers says that it is no JSON");
		return;
	}
	kk->absent = false;
	model_problem_clear(kk->ks->s->model, "store", kk->kind->plural);
	if (is_list(kk) && !kk->more.len) {
		table_begin(kind_table(kk->kind, kk->ks->s->model));
		kube_cache_begin(kk);
	}
	kk->begun_ms = now_ms();
	if (kk->phase == KUBE_WATCH)
		kube_found(kk);
}

static void on_data(struct kube_call *c, const char *data, size_t len)
{
	struct kube_kind *kk = container_of(c, struct kube_kind, call);

	if (c->status == 200) {
		json_split_feed(&kk->split, data, len);
		kube_cache_settle(kk);
	} else if (kk->note.len < NOTE_MAX) {
		str_add(&kk->note, data, len < NOTE_MAX ? len : NOTE_MAX);
	}
}

/* A page has come to its end.  False: it is none. */
static bool page_end(struct kube_kind *kk)
{
	struct err ignored = { 0 };
	struct arena mem = { 0 };
	const char *more;
	uint64_t version;
	struct json j;

	if (json_parse(&j, str_text(&kk->split.frame), kk->split.frame.len, &ignored) < 0)
		return false;
	version = kube_version(&j, 0);
	more = json_string(&j, json_path(&j, 0, "metadata.continue"), &mem);
	json_free(&j);
	str_clear(&kk->more);
	if (more && more[strspn(more, url_safe)])
		version = 0;
	else if (more && *more)
		str_puts(&kk->more, more);
	else if (version)
		listed(kk, version);
	arena_free(&mem);
	return version;
}

static void on_whole(struct kube_kind *kk, bool clean)
{
	if (kk->phase == KUBE_WATCH) {	/* its time was over */
		kube_found(kk);
		if (kube_cache_is_lost(kk))
			relist(kk);
		retry_in(kk, AGAIN_MS);
	} else if (kk->phase == KUBE_LIST && clean && page_end(kk)) {
		kube_found(kk);
		ask(kk);
	} else {
		kk->ks->no_initial |= kk->tries > 0;	/* it may know nothing of such watches, and say nothing */
		unfit(kk, "a list that is not whole, or has no resourceVersion");
	}
}

static void on_forbidden(struct kube_kind *kk)
{
	struct err e;

	kube_status(kk->ks, &kk->call, &kk->note, &e);
	kube_found(kk);
	if (model_problem(kk->ks->s->model, "store", kk->kind->plural, "let the account list and watch them", "%s: %s",
			  kk->kind->plural, e.text)->news)
		log_err("store", "%s: %s", kk->kind->plural, e.text);
	retry(kk);
}

void kube_kind_absent(struct kube_kind *kk)
{
	if (kk->absent && kk->listed)
		return;			/* it is known, and its table may have others' rows by now (ipam = podcidr) */
	table_begin(kind_table(kk->kind, kk->ks->s->model));
	kube_cache_begin(kk);
	kk->absent = true;
	listed(kk, 0);
	relist(kk);
}

static void on_absent(struct kube_kind *kk)
{
	unsigned tries = kk->tries;

	kube_found(kk);
	if (!kube_sure(kk->ks)) {
		kk->doubted = true;
		return;
	}

	kube_kind_absent(kk);
	kk->tries = tries + 1;
	again(kk, kube_backoff(kk->ks, PROBE_MS, tries, KUBE_PROBE_MAX_MS));
}

static void on_status(struct kube_kind *kk)
{
	const struct kube_call *c = &kk->call;
	struct err e;

	kube_status(kk->ks, c, &kk->note, &e);
	if (c->status == 403) {
		on_forbidden(kk);
	} else if (c->status == 404) {
		on_absent(kk);
	} else if (c->status == 410) {	/* the page, or the version */
		kube_found(kk);
		relist(kk);
		retry(kk);
	} else if ((c->status == 400 || c->status == 422) && kk->phase == KUBE_INITIAL) {
		kk->ks->no_initial = true;
		relist(kk);
		ask(kk);
	} else if (c->status == 504 && is_list(kk) && kk->version && strstr(e.text, "Too large resource version")) {
		went_back(kk);
	} else {
		if (c->status == 429)
			kube_found(kk);
		else
			kube_lost(kk, e.text);
		retry(kk);
		if (c->retry_after_s)
			again(kk, 1000 * (c->retry_after_s < RETRY_AFTER_MAX_S ? c->retry_after_s : RETRY_AFTER_MAX_S) +
				  kube_backoff(kk->ks, RETRY_MS, 0, RETRY_MS));
	}
}

static void on_end(struct kube_call *c, const struct err *e)
{
	struct kube_kind *kk = container_of(c, struct kube_kind, call);
	bool clean = !e && json_split_end(&kk->split);

	if (kk->stopping)		/* for what stood at the end */
		return;
	if (e || c->status >= 500)
		kk->ks->sure = false;	/* another server may answer next, or the same one, started anew */
	if (e) {
		/* A watch that is cut goes on, but not for ever at its beginning. */
		bool cut = !is_list(kk) && c->status == 200 && e->code != EPROTO && (kk->tries < CUTS_MAX || lasted(kk));

		if (!cut)
			kube_lost(kk, e->text);
		if (is_list(kk) || (!cut && c->status == 200))
			relist(kk);
		retry(kk);
	} else if (c->status == 200) {
		on_whole(kk, clean);
	} else {
		on_status(kk);
	}
	if (kk->again.on)
		json_split_free(&kk->split);
}

/* --- questions --- */

static void path_set(struct kube_kind *kk)
{
	static const char minimum[] = "&resourceVersionMatch=NotOlderThan&resourceVersion=";
	struct object_ref all = { .kind = kk->kind };
	struct str *p = &kk->path;

	str_clear(p);
	kube_path(kk->ks, &all, p);
	str_puts(p, kk->phase == KUBE_LIST ? "?limit=" : "?watch=1&allowWatchBookmarks=true");
	if (kk->phase == KUBE_LIST)
		str_printf(p, "%d", PAGE);
	if (kk->filter)
		str_printf(p, "&fieldSelector=%s", kk->filter);
	if (kk->phase == KUBE_INITIAL)
		str_puts(p, "&sendInitialEvents=true");
	if (kk->more.len)
		str_printf(p, "&continue=%s", kk->more.s);
	else
		str_printf(p, "%s%llu", is_list(kk) ? minimum : "&resourceVersion=", (unsigned long long)kk->version);
}

static void ask(struct kube_kind *kk)
{
	path_set(kk);
	json_split_free(&kk->split);
	json_split_init(&kk->split, kk->phase == KUBE_LIST, on_object, kk);
	kk->split.ballast = kk->kind->ballast ? kk->kind->ballast : kind_no_ballast;
	kk->stopping = false;
	kk->begun_ms = 0;
	kk->call = (struct kube_call){ .method = "GET", .path = kk->path.s, .stream = kk->phase != KUBE_LIST,
				       .silence_ms = SILENCE_MS, .on_head = on_head, .on_data = on_data, .on_end = on_end };
	kube_start(kk->ks->kube, &kk->call);
}

static void on_again(struct timer *t)
{
	struct kube_kind *kk = container_of(t, struct kube_kind, again);

	if (!kk->kind->agents_only || kk->ks->s->config->ipam == IPAM_BLOCK)	/* else no blocks, though their kind may come */
		ask(kk);
}

void kube_kind_init(struct kube_kind *kk, struct kube_store *ks, const struct kind *k)
{
	*kk = (struct kube_kind){ .ks = ks, .kind = k, .again = { .fn = on_again }, .file = -1 };
}

void kube_kind_start(struct kube_kind *kk)
{
	if (kk->phase != KUBE_IDLE)
		give_up(kk);
	timer_del(kk->ks->s->loop, &kk->again);
	relist(kk);
	kk->tries = 0;
	kk->doubted = false;
	again(kk, 0);
}

void kube_kind_stop(struct kube_kind *kk)
{
	kube_cancel(&kk->call);
	timer_del(kk->ks->s->loop, &kk->again);
	json_split_free(&kk->split);
	str_free(&kk->path);
	str_free(&kk->more);
	str_free(&kk->note);
}

void kube_kind_hurry(struct kube_kind *kk)
{
	if ((kk->lost && kk->again.on) || kk->doubted)
		again(kk, kk->doubted ? 0 : kube_backoff(kk->ks, AGAIN_MS, 0, AGAIN_MS));
	kk->doubted = false;
	kk->tries = 0;
}
