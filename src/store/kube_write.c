/*
 * Writes.  What is ours (addresses, default pools) is created and replaced, compare-and-swap by
 * resourceVersion.  What is others' is only patched, so that what we do not know of it stays: annotations
 * of this node's Node object and, beside Calico, of this node's pods.  An endpoint of ours is no object here;
 * its row in the model remembers what was published.
 *
 * A write that lost reads what there is now before it says so.
 */
#include "store/kube_driver.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

enum { AT_ONCE = 4, TRIES = 5, RETRY_MS = 200, AFTER_MAX_S = 10 };

static const char merge_patch[] = "application/merge-patch+json", json_type_name[] = "application/json";

struct kube_write {
	struct kube_store *ks;
	struct store_write *w;		/* or: */
	struct store_edit *e;
	struct object_ref ref;		/* what the request is about */
	struct kube_call call;
	struct str path, body, answer;
	struct timer again;
	bool on, looking, patching;	/* looking: what is there; patching: it exists, an edit goes on as a patch */
	unsigned tries;
	struct kube_write *next;
};

static void next_go(struct kube_store *ks);

static void end(struct kube_write *kw)
{
	struct kube_write **at = &kw->ks->writes;

	while (*at != kw)
		at = &(*at)->next;
	*at = kw->next;
	kube_cancel(&kw->call);
	timer_del(kw->ks->s->loop, &kw->again);
	str_free(&kw->path);
	str_free(&kw->body);
	str_free(&kw->answer);
	free(kw);
}

static void write_end(struct kube_write *kw, int rc, uint64_t version)
{
	struct kube_store *ks = kw->ks;
	struct store_write *w = kw->w;

	end(kw);
	store_written(ks->s, w, rc, version);
	next_go(ks);
}

static void edit_end(struct kube_write *kw, enum edit_outcome outcome)
{
	struct kube_store *ks = kw->ks;
	struct store_edit *e = kw->e;

	end(kw);
	store_edited(e, outcome);
	next_go(ks);
}

/* --- what is asked --- */

static void send(struct kube_write *kw, const char *method, const char *type)
{
	kw->call = (struct kube_call){ .method = method, .path = kw->path.s, .content_type = type,
				       .body = type ? kw->body.s : NULL, .body_len = type ? kw->body.len : 0,
				       .answer = &kw->answer, .on_end = kw->call.on_end };
	kube_start(kw->ks->kube, &kw->call);
}

/* The kind's text is in the group that comes first; where the server has the other, that differs in two places. */
static void body_encode(struct kube_write *kw)
{
	static const char deleted[] = ",\"deleted\":\"false\"}}";
	const struct store_write *w = kw->w;
	const char *version = kube_api_version(kw->ks, w->kind);
	autostr struct str text = { 0 };

	kind_encode(w->kind, w->row, w->expected, &text);
	str_printf(&kw->body, "{\"apiVersion\":\"%s\"", version);
	str_puts(&kw->body, text.s + strlen("{\"apiVersion\":\"\"") + strlen(w->kind->api_versions[0]));
	if (version != w->kind->api_versions[0] && strcmp(w->kind->kind, "BlockAffinity") == 0 &&
	    strcmp(kw->body.s + kw->body.len - strlen(deleted), deleted) == 0) {
		kw->body.len -= strlen(deleted);
		str_puts(&kw->body, "}}");
	}
}

static void ask_replace(struct kube_write *kw)
{
	const struct store_write *w = kw->w;
	const char *method = !w->row ? "DELETE" : w->expected ? "PUT" : "POST";

	if (w->row)
		body_encode(kw);
	else
		str_printf(&kw->body, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"preconditions\":{\"resourceVersion\":\"%llu\"}}",
			   (unsigned long long)w->expected);
	if (w->row && !w->expected)
		kw->path.len = (size_t)(strrchr(kw->path.s, '/') - kw->path.s);	/* to the folder, as it were */
	kw->path.s[kw->path.len] = '\0';
	send(kw, method, json_type_name);
}

static void patch_open(struct kube_write *kw, struct json_out *o)
{
	*o = (struct json_out){ .to = &kw->body };
	json_open(o, NULL, '{');
	json_open(o, "metadata", '{');
}

static void patch_send(struct kube_write *kw, struct json_out *o)
{
	json_close(o, '}');
	json_close(o, '}');
	json_close(o, '}');
	send(kw, "PATCH", merge_patch);
}

static void ask_node(struct kube_write *kw)
{
	static const struct node none;
	const struct node *n = kw->w->row ? container_of(kw->w->row, struct node, row) : &none;
	struct json_out o;

	patch_open(kw, &o);
	json_open(&o, "annotations", '{');
	node_annotations_patch(&o, n);
	str_puts(&kw->path, "/status");		/* one right for all that we write there */
	if (kw->w->row) {
		patch_send(kw, &o);
		return;
	}
	str_puts(&kw->body, "}},");
	kube_up_condition(&kw->body, false);
	send(kw, "PATCH", kube_strategic);
}

/* Calico's annotations of a pod: its addresses, and which sandbox has them. */
static void pod_annotations(const struct workload *w, struct label l[3], char text[2][128])
{
	struct { const char *key; const char *value; } const all[] = {
		{ "cni.projectcalico.org/containerID", w->container },
		{ "cni.projectcalico.org/podIP", text[0] },
		{ "cni.projectcalico.org/podIPs", text[1] },
	};

	*text[0] = *text[1] = '\0';
	for (int f = 0; f < FAMILIES; f++) {
		struct prefix p = prefix_host(&w->ips[f]);
		size_t len = strlen(text[1]);

		if (!w->ips[f].family)
			continue;
		snprintf(text[1] + len, 128 - len, "%s%s", len ? "," : "", prefix_text(&p).s);
		if (!*text[0])
			str_copy(text[0], 128, text[1]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		l[i] = (struct label){ all[i].key, all[i].value };
}

/* An endpoint of this node.  It is over at once where there is nothing to say to the server. */
static void ask_pod(struct kube_write *kw)
{
	const struct workload *w = kw->w->row ? container_of(kw->w->row, struct workload, row) : NULL;
	const struct pod *pod = NULL;
	char key[OBJECT_KEY_MAX], text[2][128];
	struct label l[3];
	struct json_out o;
	bool news = false;

	if (w && *w->pod && kube_compatible(kw->ks)) {
		snprintf(key, sizeof key, "%s/%s", w->meta.namespace, w->pod);
		pod = table_find(&kw->ks->s->model->pods, key);
		pod_annotations(w, l, text);
	}
	for (unsigned i = 0; pod && i < ARRAY_SIZE(l); i++) {
		const char *have = label_find(pod->meta.annotations, pod->meta.annotation_count, l[i].key);

		news |= !have || strcmp(have, l[i].value) != 0;
	}
	if (!news) {
		write_end(kw, 0, kw->w->expected + 1);
		return;
	}
	str_clear(&kw->path);
	str_printf(&kw->path, "/api/v1/namespaces/%s/pods/%s/status", pod->meta.namespace, pod->meta.name);
	patch_open(kw, &o);
	json_put_string(&o, "uid", pod->meta.uid);
	json_open(&o, "annotations", '{');
	for (unsigned i = 0; i < ARRAY_SIZE(l); i++)
		json_put_string(&o, l[i].key, l[i].value);
	patch_send(kw, &o);
}

static bool is_endpoint(const struct kube_write *kw)
{
	return strcmp(kw->ref.kind->kind, "WorkloadEndpoint") == 0;
}

static bool is_node(const struct kube_write *kw)
{
	return strcmp(kw->ref.kind->kind, "Node") == 0;
}

static void look(struct kube_write *kw)
{
	str_clear(&kw->path);
	kube_path(kw->ks, &kw->ref, &kw->path);
	kw->looking = true;
	send(kw, "GET", NULL);
}

static void ask(struct kube_write *kw)
{
	str_clear(&kw->path);
	str_clear(&kw->body);
	if (kw->w && is_endpoint(kw)) {
		ask_pod(kw);
		return;
	}
	if (!kube_path(kw->ks, &kw->ref, &kw->path)) {
		if (kw->w) {
			write_end(kw, -EOPNOTSUPP, 0);
		} else {
			err_set(&kw->e->err, ENOENT, "the cluster has no such kind");
			edit_end(kw, EDIT_FAILED);
		}
	} else if (kw->w && is_node(kw)) {
		ask_node(kw);
	} else if (kw->w) {
		ask_replace(kw);
	} else if (!kw->e->text) {
		send(kw, "DELETE", NULL);
	} else {
		str_puts(&kw->body, kw->e->text);
		if (!kw->patching) {
			kw->path.len = (size_t)(strrchr(kw->path.s, '/') - kw->path.s);
			kw->path.s[kw->path.len] = '\0';
		}
		send(kw, kw->patching ? "PATCH" : "POST", kw->patching ? merge_patch : json_type_name);
	}
}

/* --- what is answered --- */

/* The server's own half of a Node is in its answer. */
static void node_take(struct kube_write *kw)
{
	struct object_ref ref;
	struct err e = { 0 };
	struct row *row;
	struct json j;

	if (json_parse(&j, str_text(&kw->answer), kw->answer.len, &e) < 0)
		return;
	row = kind_decode_as(&j, 0, kw->ref.kind, &ref, &e);
	json_free(&j);
	if (!row || strcmp(row->key, kw->w->row->key) != 0) {
		row_free(row);
		return;
	}
	row_free(kw->w->row);
	kw->w->row = row;
}

static uint64_t answered_version(const struct kube_write *kw)
{
	struct err ignored = { 0 };
	uint64_t version = 0;
	struct json j;

	if (json_parse(&j, str_text(&kw->answer), kw->answer.len, &ignored) == 0) {
		version = kube_version(&j, 0);
		json_free(&j);
	}
	return version;
}

static void write_done(struct kube_write *kw)
{
	uint64_t version = is_endpoint(kw) ? kw->w->expected + 1 : kw->w->row ? answered_version(kw) : 1;

	if (is_node(kw) && kw->w->row)
		node_take(kw);
	write_end(kw, version ? 0 : -EAGAIN, version);
}

static void looked(struct kube_write *kw)
{
	const struct kind *k = kw->ref.kind;
	uint64_t version;

	if (kw->call.status == 404)
		store_event_del(kw->ks->s, k, kw->w->key);
	else if (kw->call.status != 200 || !kube_object_read(kw->ks, k, &kw->answer, &version)) {
		write_end(kw, -EAGAIN, 0);
		return;
	}
	write_end(kw, -ESTALE, 0);
}

static void write_refused(struct kube_write *kw)
{
	struct err e;
	int status = kw->call.status, code = -kube_status(kw->ks, &kw->call, &kw->answer, &e);
	bool gone = status == 409 || (status == 404 && (kw->w->expected || is_endpoint(kw)));

	if (gone && !is_endpoint(kw) && !is_node(kw)) {
		look(kw);
		return;
	}
	if (gone)
		code = is_node(kw) ? EAGAIN : 0;	/* the pod has gone, or is another's */
	else if (is_endpoint(kw) && code == EACCES)
		code = EINVAL;				/* asking again would not help */
	if (code && code != EAGAIN)
		log_err("store", "%s %s: %s", kw->ref.kind->kind, kw->w->key, e.text);
	write_end(kw, -code, code ? 0 : kw->w->expected + 1);
}

static void edit_done(struct kube_write *kw)
{
	const struct kind *k = kw->ref.kind;
	struct row *old;
	char key[OBJECT_KEY_MAX];
	uint64_t before, version = 0;

	object_key(key, &kw->ref);
	old = table_find(kind_table(k, kw->ks->s->model), key);
	before = old ? kind_meta(k, old)->version : 0;
	if (!kube_object_read(kw->ks, k, &kw->answer, &version) && !kw->e->text)
		store_event_del(kw->ks->s, k, key);	/* a Status: it is gone already */
	edit_end(kw, !kw->e->text ? EDIT_DELETED : !kw->patching ? EDIT_CREATED :
		     version == before ? EDIT_UNCHANGED : EDIT_CONFIGURED);
}

static void edit_refused(struct kube_write *kw)
{
	int status = kw->call.status;

	if (status == 409 && kw->e->text && !kw->patching) {
		kw->patching = true;
		ask(kw);
		return;
	}
	if (status == 404 && !kw->e->text) {
		edit_end(kw, EDIT_ABSENT);
		return;
	}
	kube_status(kw->ks, &kw->call, &kw->answer, &kw->e->err);
	edit_end(kw, EDIT_FAILED);
}

static bool is_busy(int status)
{
	return status == 429 || status >= 500;
}

static void on_end(struct kube_call *c, const struct err *e)
{
	struct kube_write *kw = container_of(c, struct kube_write, call);
	bool good = !e && c->status >= 200 && c->status < 300;

	if (!e && is_busy(c->status) && ++kw->tries < TRIES) {
		unsigned after = c->retry_after_s < AFTER_MAX_S ? c->retry_after_s : AFTER_MAX_S;

		timer_set(kw->ks->s->loop, &kw->again, 1000 * after + kube_backoff(kw->ks, RETRY_MS, kw->tries, KUBE_RETRY_MAX_MS));
	} else if (e && kw->w) {
		write_end(kw, -EAGAIN, 0);
	} else if (e) {
		err_set(&kw->e->err, ENOTCONN, "%s", e->text);
		edit_end(kw, EDIT_FAILED);
	} else if (kw->looking) {
		looked(kw);
	} else if (kw->w) {
		(good ? write_done : write_refused)(kw);
	} else {
		(good ? edit_done : edit_refused)(kw);
	}
}

static void on_again(struct timer *t)
{
	struct kube_write *kw = container_of(t, struct kube_write, again);

	if (kw->looking)
		look(kw);
	else
		ask(kw);
}

/* --- the queue --- */

static void next_go(struct kube_store *ks)
{
	unsigned on = 0;

	for (struct kube_write *kw = ks->writes; kw; kw = kw->next)
		on += kw->on;
	for (struct kube_write *kw = ks->writes; kw && on < AT_ONCE; kw = kw->next) {
		if (kw->on)
			continue;
		kw->on = true;
		timer_set(ks->s->loop, &kw->again, 0);
		on++;
	}
}

static void queue(struct kube_store *ks, const struct kube_write *what)
{
	struct kube_write *kw = xcalloc(1, sizeof *kw), **at = &ks->writes;

	*kw = *what;
	kw->ks = ks;
	kw->again.fn = on_again;
	kw->call.on_end = on_end;
	while (*at)
		at = &(*at)->next;
	*at = kw;
	next_go(ks);
}

void kube_write(struct store *s, struct store_write *w)
{
	struct kube_store *ks = s->driver_state;
	struct kube_write what = { .w = w };

	if (!object_ref_set(&what.ref, w->kind, w->key))
		store_written(s, w, -EINVAL, 0);
	else if (s->state == STORE_AWAY && !is_endpoint(&what))
		store_written(s, w, -EAGAIN, 0);
	else
		queue(ks, &what);
}

void kube_edit(struct store *s, struct store_edit *e)
{
	queue(s->driver_state, &(struct kube_write){ .e = e, .ref = e->ref });
}

void kube_write_stop(struct kube_store *ks)
{
	for (struct kube_write *kw = ks->writes, *next; kw; kw = next) {
		next = kw->next;
		if (kw->w)
			row_free(kw->w->row);
		free(kw->w);
		end(kw);
	}
}
