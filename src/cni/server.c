/*
 * One request is one call of the plugin.  server.c reads it, finds its verb, lets
 * it begin in its turn and keeps it until it is answered and nothing that it began
 * is under way; a file a verb does the work.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "cni/cni_int.h"

/* turn: waits until the agent serves ADD, and for older calls of the same container. */
static const struct verb {
	const char *name;
	void (*begin)(struct cni_request *r);
	void (*after_pass)(struct cni_request *r);
	void (*give_up)(struct cni_request *r, const char *why);	/* time is up */
	unsigned limit_ms;
	bool turn, leaves;		/* leaves: given up when the plugin leaves */
	enum log_level failure;
} verbs[][5] = {			/* [1]: of calico-ipam */
	{
		{ "ADD", add_begin, add_after_pass, add_give_up, CNI_ADD_MS, true, true, LOG_WARN },
		{ "DEL", del_begin, del_after_pass, del_give_up, CNI_DEL_MS, false, false, LOG_WARN },
		{ "CHECK", check_begin, NULL, check_give_up, CNI_CHECK_MS, true, true, LOG_WARN },
		{ "STATUS", status_begin, NULL, NULL, 0, false, false, LOG_DEBUG },	/* runtimes ask twice a second */
		{ "GC", gc_begin, gc_after_pass, gc_give_up, CNI_GC_MS, true, false, LOG_WARN },
	}, {
		{ "ADD", addresses_add, NULL, add_give_up, CNI_ADD_MS, true, true, LOG_WARN },
		{ "DEL", addresses_del, NULL, addresses_del_give_up, CNI_DEL_MS, false, false, LOG_WARN },
		{ "CHECK", addresses_check, NULL, check_give_up, CNI_CHECK_MS, true, true, LOG_WARN },
		{ "STATUS", status_begin, NULL, NULL, 0, false, false, LOG_DEBUG },
		{ "GC", gc_begin, gc_after_pass, gc_give_up, CNI_GC_MS, true, false, LOG_WARN },
	},
};

static void on_turn(struct deferred *d);

/* The pass that follows every timer tries again. */
static void on_again(struct timer *t)
{
	(void)t;
}

struct cni *cni_new(struct loop *l, struct model *m, struct ipam *ipam, struct err *e)
{
	struct cni *c = xcalloc(1, sizeof *c);
	int rc;

	*c = (struct cni){ .loop = l, .model = m, .ipam = ipam, .pod_nl = { .fd = -1 }, .turn = { .fn = on_turn },
			   .again = { .fn = on_again } };
	if ((rc = nl_open(&c->nl, NETLINK_ROUTE, NULL)) < 0) {
		err_set(e, -rc, "cni: netlink socket: %s", strerror(-rc));
		free(c);
		return NULL;
	}
	if (!(c->guard = guard_start(c, e)) || !(c->reaper = reaper_start(e))) {
		guard_stop(c->guard);
		nl_close(&c->nl);
		free(c);
		return NULL;
	}
	return c;
}

/* An open one would keep the pod's namespace alive. */
static void close_pod(struct cni_request *r)
{
	if (r->pod_fd >= 0)
		close(r->pod_fd);
	if (r->netns_fd >= 0)
		close(r->netns_fd);
	r->pod_fd = r->netns_fd = -1;
}

static void request_free(struct cni_request *r)
{
	for (struct cni_request **at = &r->cni->requests; *at; at = &(*at)->next)
		if (*at == r) {
			*at = r->next;
			break;
		}
	timer_del(r->cni->loop, &r->deadline);
	timer_del(r->cni->loop, &r->carrier);
	timer_del(r->cni->loop, &r->pod_wait);
	deferred_del(r->cni->loop, &r->later);
	r->cni->waiting -= r->waiting_turn;
	if (r->cni->waiting)
		loop_defer(r->cni->loop, &r->cni->turn);
	close_pod(r);
	row_free(r->link ? &r->link->row : NULL);
	json_free(&r->conf);
	arena_free(&r->mem);
	free(r->conf_text);
	free(r->note);
	free(r);
}

void cni_free(struct cni *c)
{
	while (c->requests)
		request_free(c->requests);
	deferred_del(c->loop, &c->turn);
	timer_del(c->loop, &c->again);
	guard_stop(c->guard);
	reaper_stop(c->reaper);
	nl_close(&c->pod_nl);
	nl_close(&c->nl);
	free(c);
}

static void request_answer(struct cni_request *r, uint8_t status, const struct str *answer)
{
	close_pod(r);
	if (r->conn) {
		struct conn *conn = r->conn;

		r->conn = NULL;
		conn->on_hangup = NULL;
		if (!conn_answer(conn, status, str_text(answer), answer->len) && r->adding && status == CNI_DONE) {
			add_undo_later(r);
			return;
		}
	}
	if (r->note)
		unlink(r->note);	/* one that cannot be followed would come back at each start */
	if (!r->waiting_address && !r->waiting_release)
		request_free(r);	/* else: when what is under way ends */
}

void request_result(struct cni_request *r, const struct endpoint *ep)
{
	autostr struct str out = { 0 };

	if (ep)
		result_add(&out, r, ep);
	else if (r->addresses && r->adding)
		result_addresses(&out, r);
	request_answer(r, CNI_DONE, &out);
}

static void fail(struct cni_request *r, uint8_t status, int code, const char *text)
{
	autostr struct str out = { 0 };

	log_write(r->verb ? r->verb->failure : LOG_WARN, "cni", "%s %s: code %d: %s", r->command ? r->command : "?",
		  r->key ? r->key : "", code, text);
	result_error(&out, r->version, code, text);
	request_answer(r, status, &out);
}

void request_fail(struct cni_request *r, int code, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	err_text(text, sizeof text, fmt, ap);
	va_end(ap);
	fail(r, CNI_FAILED, code, text);
}

void request_note(struct cni_request *r)
{
	fail(r, CNI_LEAVE_NOTE, CNI_TRY_LATER, "the agent does not know its pods yet");
}

/* One of CNI_ARGS ("K8S_POD_NAME=web-0;..."); "" when absent. */
static const char *cni_arg(struct arena *mem, const char *args, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = args; at && *at; ) {
		const char *end = strchrnul(at, ';');

		if (strncmp(at, name, len) == 0 && at[len] == '=')
			return arena_strn(mem, at + len + 1, end - at - len - 1);
		at = *end ? end + 1 : end;
	}
	return "";
}

/* Environment variables and stdin out of the payload.  False when it is not framed as ours is. */
static bool payload_split(struct cni_request *r, const struct str *payload)
{
	static const struct { const char *name; size_t offset; } wanted[] = {
		{ "CNI_COMMAND=", offsetof(struct cni_request, command) },
		{ "CNI_CONTAINERID=", offsetof(struct cni_request, container) },
		{ "CNI_NETNS=", offsetof(struct cni_request, netns) },
		{ "CNI_IFNAME=", offsetof(struct cni_request, ifname) },
		{ CNI_ADDRESSES "=", offsetof(struct cni_request, addresses) },
		{ CNI_GIVEN "=", offsetof(struct cni_request, given) },
	};
	const char *at = payload->s, *end = payload->s + payload->len, *args = "";

	while (at && at < end && *at) {
		for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
			if (str_prefix(at, wanted[i].name))
				*(const char **)((char *)r + wanted[i].offset) = arena_str(&r->mem, strchr(at, '=') + 1);
		if (str_prefix(at, "CNI_ARGS="))
			args = at + strlen("CNI_ARGS=");
		at += strlen(at) + 1;
	}
	if (!at || at >= end || !r->command)
		return false;
	r->pod = cni_arg(&r->mem, args, "K8S_POD_NAME");
	r->namespace = cni_arg(&r->mem, args, "K8S_POD_NAMESPACE");
	r->uid = cni_arg(&r->mem, args, "K8S_POD_UID");
	r->conf_text = xstrdup(at + 1);
	return true;
}

static const char *joined(struct arena *mem, const char *a, char between, const char *b)
{
	size_t size = strlen(a) + strlen(b) + 2;
	char *text = arena_alloc(mem, size);

	snprintf(text, size, "%s%c%s", a, between, b);
	return text;
}

/* Whose attachment it is.  False when it was refused (and answered). */
static bool read_attachment(struct cni_request *r)
{
	const bool named = cni_name_valid(r->container);
	const char *bad = named ? r->ifname : r->container;

	if (!named || !cni_ifname_valid(r->ifname)) {
		request_fail(r, CNI_ENVIRONMENT, "%s %s is not valid", named ? "CNI_IFNAME" : "CNI_CONTAINERID", bad ? bad : "(none)");
		return false;
	}
	if (!*r->pod || !*r->namespace)
		r->pod = r->namespace = "";
	if (strcmp(r->command, "ADD") == 0 && *r->pod && (!cni_pod_valid(r->pod) || !cni_pod_valid(r->namespace))) {
		request_fail(r, CNI_ENVIRONMENT, "CNI_ARGS: %.100s/%.100s is no pod's name", r->namespace, r->pod);
		return false;
	}
	r->handle = joined(&r->mem, r->network, '.', r->container);
	r->key = joined(&r->mem, r->container, '/', r->ifname);
	if (r->addresses)
		r->handle = addresses_handle(&r->mem, r->network, r->container, r->ifname);
	return true;
}

/* Fills the rest of r from its parts.  False when it was refused (and answered). */
static bool request_read(struct cni_request *r)
{
	const struct cni_verb *rule = cni_verb_named(r->command);
	struct err e = { 0 };

	if (json_parse(&r->conf, r->conf_text, strlen(r->conf_text), &e) < 0) {
		request_fail(r, CNI_DECODE, "network configuration: %s", e.text);
		return false;
	}
	r->version = json_string(&r->conf, json_get(&r->conf, 0, "cniVersion"), &r->mem);
	r->network = json_string(&r->conf, json_get(&r->conf, 0, "name"), &r->mem);
	if (!r->version || !cni_version_known(r->version)) {
		request_fail(r, CNI_VERSION, "cniVersion %s is not supported", r->version ? r->version : "is missing and");
		return false;
	}
	if (!cni_name_valid(r->network)) {
		request_fail(r, CNI_CONFIG, "name %s: not a network's name", r->network ? r->network : "(none)");
		return false;
	}
	return !rule || !(rule->flags & NEEDS_CONTAINER) || read_attachment(r);
}

static void on_hangup(struct conn *conn)
{
	struct cni_request *r = conn->ctx;

	r->conn = NULL;
	if (r->verb->leaves) {
		log_info("cni", "%s %s: the plugin left before its answer", r->command, r->key);
		r->verb->give_up(r, "");
	}
}

static void on_deadline(struct timer *t)
{
	struct cni_request *r = container_of(t, struct cni_request, deadline);

	r->verb->give_up(r, r->waiting_turn ? "the agent is not ready yet" : "not done in time");
}

/* The youngest comes last; a DEL that was noted is older than what any plugin still waits for. */
static struct cni_request *request_new(struct cni *c, bool noted)
{
	struct cni_request *r = xcalloc(1, sizeof *r), **at = &c->requests;

	while (*at && !noted)
		at = &(*at)->next;
	*r = (struct cni_request){ .cni = c, .pod_fd = -1, .netns_fd = -1, .deadline = { .fn = on_deadline },
				  .carrier = { .fn = add_on_carrier }, .pod_wait = { .fn = add_on_pod }, .next = *at };
	*at = r;
	return r;
}

static bool turn_has_come(const struct cni_request *r)
{
	if (!r->cni->open)
		return false;
	for (const struct cni_request *older = r->cni->requests; older != r; older = older->next)
		if (older->key && r->key && strcmp(older->container, r->container) == 0)
			return false;
	return true;
}

static void request_begin(struct cni_request *r)
{
	const struct verb *list = verbs[r->addresses ? 1 : 0];

	for (size_t i = 0; i < ARRAY_SIZE(verbs[0]) && !r->verb; i++)
		if (strcmp(list[i].name, r->command) == 0)
			r->verb = &list[i];
	if (!r->verb) {
		request_fail(r, CNI_ENVIRONMENT, "CNI_COMMAND %s: no such verb", r->command);
		return;
	}
	r->adding = r->verb->give_up == add_give_up;
	if (r->verb->limit_ms)
		timer_set(r->cni->loop, &r->deadline, r->verb->limit_ms);
	r->waiting_turn = r->verb->turn && !turn_has_come(r);
	r->cni->waiting += r->waiting_turn;
	if (!r->waiting_turn)
		r->verb->begin(r);
}

/* Something has ended, or the agent is ready. */
static void on_turn(struct deferred *d)
{
	struct cni *c = container_of(d, struct cni, turn);

	for (struct cni_request *r = c->requests, *next; r && c->waiting; r = next) {
		next = r->next;		/* what begins ends nothing but itself */
		if (!r->waiting_turn || !turn_has_come(r))
			continue;
		r->waiting_turn = false;
		c->waiting--;
		r->verb->begin(r);
	}
}

void cni_handle(struct cni *c, struct conn *conn)
{
	struct cni_request *r = request_new(c, false);

	r->conn = conn;
	conn->ctx = r;
	conn->on_hangup = on_hangup;
	r->pod_fd = conn->fds[0];
	r->netns_fd = conn->fds[1];
	conn->fds[0] = conn->fds[1] = -1;
	if (!payload_split(r, &conn->payload)) {
		request_fail(r, CNI_DECODE, "the request is not framed as this agent's plugin does");
		return;
	}
	if (request_read(r))
		request_begin(r);
}

void cni_note(struct cni *c, const char *path, const struct str *payload)
{
	struct cni_request *r = request_new(c, true);

	r->note = xstrdup(path);
	if (!payload_split(r, payload) || strcmp(r->command, "DEL") != 0) {
		log_warn("cni", "%s: not a noted DEL, removed", path);
		unlink(path);
		request_free(r);
		return;
	}
	if (request_read(r))
		request_begin(r);
}

void cni_open(struct cni *c)
{
	c->open = true;
	loop_defer(c->loop, &c->turn);
}

bool cni_is_adding(const struct cni *c, const char *handle)
{
	for (const struct cni_request *r = c->requests; r; r = r->next)
		if (r->adding && r->handle && strcmp(r->handle, handle) == 0)
			return true;
	return false;
}

void cni_after_pass(struct cni *c)
{
	for (struct cni_request *r = c->requests, *next; r; r = next) {
		next = r->next;
		if (r->waiting_pass)
			r->verb->after_pass(r);
		else if (r->waiting_pod && c->model->pods.dirty && add_knows_pod(r))
			timer_set(c->loop, &r->pod_wait, 0);
	}
}
