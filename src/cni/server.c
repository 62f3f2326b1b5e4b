/*
 * One request is one call of the plugin.  server.c reads it, finds its verb and
 * keeps it until it is answered; a file a verb does the work.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "cni/cni_int.h"

static const struct verb {
	const char *name;
	void (*begin)(struct cni_request *r);
} verbs[] = {
	{ "ADD", add_begin },
	{ "DEL", del_begin },
};

/* The pass that follows every timer tries again. */
static void on_again(struct timer *t)
{
	(void)t;
}

struct cni *cni_new(struct loop *l, struct model *m, struct ipam *ipam, struct err *e)
{
	struct cni *c = xcalloc(1, sizeof *c);
	int rc;

	*c = (struct cni){ .loop = l, .model = m, .ipam = ipam, .pod_nl = { .fd = -1 }, .again = { .fn = on_again } };
	if ((rc = nl_open(&c->nl, NETLINK_ROUTE, NULL)) < 0) {
		err_set(e, -rc, "cni: netlink socket: %s", strerror(-rc));
		free(c);
		return NULL;
	}
	if (!(c->reaper = reaper_start(e))) {
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
	close_pod(r);
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
	timer_del(c->loop, &c->again);
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
		if (!conn_answer(conn, status, str_text(answer), answer->len) && r->adding && status == 0) {
			log_info("cni", "ADD %s: the plugin left before its answer", r->key);
			add_undo(r);
		}
	}
	if (r->note)
		unlink(r->note);	/* done, or refused and logged: another start would do no better */
	if (!r->waiting_address && !r->waiting_release)
		request_free(r);	/* else: when what is under way ends */
}

void request_result(struct cni_request *r, const struct endpoint *ep)
{
	autostr struct str out = { 0 };

	if (ep)
		result_add(&out, r, ep, model_pod_mtu(r->cni->model));
	request_answer(r, 0, &out);
}

void request_fail(struct cni_request *r, int code, const char *fmt, ...)
{
	autostr struct str out = { 0 };
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	log_warn("cni", "%s %s: code %d: %s", r->command ? r->command : "?", r->key ? r->key : "?", code, text);
	result_error(&out, r->version, code, text);
	request_answer(r, 1, &out);
}

/* A letter or digit, then those and "_", ".", "-": so no path can be made of it. */
bool cni_name_valid(const char *text)
{
#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	size_t len = text ? strlen(text) : 0;

	return len && len <= 200 && strchr(ALNUM, text[0]) && strspn(text, ALNUM "_.-") == len;
#undef ALNUM
}

bool cni_ifname_valid(const char *text)
{
	size_t len = text ? strlen(text) : 0;

	return len && len < 16 && strcmp(text, ".") != 0 && strcmp(text, "..") != 0 && !strpbrk(text, "/: \t\n\v\f\r");
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

/* Fills the rest of r from its parts.  False when it was refused (and answered). */
static bool request_read(struct cni_request *r)
{
	struct arena *mem = &r->mem;
	struct err e = { 0 };
	char *text;

	if (json_parse(&r->conf, r->conf_text, strlen(r->conf_text), &e) < 0) {
		request_fail(r, CNI_DECODE, "network configuration: %s", e.text);
		return false;
	}
	r->version = json_string(&r->conf, json_get(&r->conf, 0, "cniVersion"), mem);
	r->network = json_string(&r->conf, json_get(&r->conf, 0, "name"), mem);
	if (!r->version || !cni_version_known(r->version)) {
		request_fail(r, CNI_VERSION, "cniVersion %s is not supported", r->version ? r->version : "is missing and");
		return false;
	}
	if (!cni_name_valid(r->network)) {
		request_fail(r, CNI_CONFIG, "name %s: not a network's name", r->network ? r->network : "(none)");
		return false;
	}
	if (!cni_name_valid(r->container) || !cni_ifname_valid(r->ifname)) {
		request_fail(r, CNI_ENVIRONMENT, "CNI_CONTAINERID %s or CNI_IFNAME %s is not valid",
			     r->container ? r->container : "(none)", r->ifname ? r->ifname : "(none)");
		return false;
	}
	if (!*r->pod || !*r->namespace)
		r->pod = r->namespace = "";
	text = arena_alloc(mem, strlen(r->network) + strlen(r->container) + 2);
	snprintf(text, strlen(r->network) + strlen(r->container) + 2, "%s.%s", r->network, r->container);
	r->handle = text;
	text = arena_alloc(mem, strlen(r->container) + strlen(r->ifname) + 2);
	snprintf(text, strlen(r->container) + strlen(r->ifname) + 2, "%s/%s", r->container, r->ifname);
	r->key = text;
	return true;
}

static void on_hangup(struct conn *conn)
{
	struct cni_request *r = conn->ctx;

	r->conn = NULL;
	if (r->adding) {
		log_info("cni", "ADD %s: the plugin left before its answer", r->key);
		add_abandon(r);
	}
}

static void on_deadline(struct timer *t)
{
	struct cni_request *r = container_of(t, struct cni_request, deadline);

	if (r->adding) {
		add_abandon(r);
		return;
	}
	if (!r->note)
		request_result(r, NULL);	/* DEL: the release stays queued */
}

static struct cni_request *request_new(struct cni *c)
{
	struct cni_request *r = xcalloc(1, sizeof *r);

	*r = (struct cni_request){ .cni = c, .pod_fd = -1, .netns_fd = -1, .deadline = { .fn = on_deadline },
				   .next = c->requests };
	c->requests = r;
	return r;
}

static void request_begin(struct cni_request *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, r->command) == 0) {
			verbs[i].begin(r);
			return;
		}
	request_fail(r, CNI_ENVIRONMENT, "CNI_COMMAND %s: not in this version", r->command);
}

void cni_handle(struct cni *c, struct conn *conn)
{
	struct cni_request *r = request_new(c);

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
	struct cni_request *r = request_new(c);

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
	for (struct cni_request *r = c->requests, *next; r; r = next) {
		next = r->next;
		if (r->adding && !r->waiting_address && !r->waiting_pass)
			add_begin(r);
	}
}

void cni_after_pass(struct cni *c)
{
	for (struct cni_request *r = c->requests, *next; r; r = next) {
		next = r->next;
		if (!r->waiting_pass)
			continue;
		if (r->adding)
			add_after_pass(r);
		else
			del_after_pass(r);
	}
}
