/* Deals connections out to calls: one that is idle, or a new one to the server that answered last, or to the next. */
#include "store/kube_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/util.h"

enum { IDLE_MAX = 2, UNAUTHORIZED = 401, BROKEN = 500 };

struct kube_server_text kube_server_text(const struct listen_address *a)
{
	struct kube_server_text t;
	bool v6 = a->address.family == AF_INET6;

	snprintf(t.s, sizeof t.s, "%s%s%s:%u", v6 ? "[" : "", addr_text(&a->address).s, v6 ? "]" : "", a->port);
	return t;
}

const char *kube_server(const struct kube *k)
{
	return k->text.s;
}

static bool is_idle(const struct kube_conn *c)
{
	return c->state == KUBE_IDLE && !c->dead;
}

static void drop_idle(struct kube *k)
{
	for (struct kube_conn *c = k->conns, *next; c; c = next) {
		next = c->next;
		if (is_idle(c))
			kube_conn_free(c);
	}
}

/* --- credentials --- */

/* Reads everything again when one of its files has changed; what will not do leaves what there was. */
static void refresh(struct kube *k)
{
	uint64_t stamp = kube_login_stamp(k->login);
	struct kube_login *fresh;
	struct err e = { 0 };

	if (stamp == k->stamp && !k->suspect)
		return;
	fresh = kube_login_read(k->where, &k->given, &e);
	if (!fresh) {
		if (stamp != k->refused)
			log_warn("kubernetes", "%s; what was read before stays", e.text);
		k->refused = stamp;
		return;
	}
	k->suspect = false;
	k->stamp = kube_login_stamp(fresh);
	kube_login_free(k->login);
	k->login = fresh;
	k->current %= fresh->servers.count;
	drop_idle(k);
}

/* --- calls --- */

static void call_end(struct kube_call *c, const struct err *e)
{
	c->on = false;
	c->conn = NULL;
	c->on_end(c, e);
}

static void on_start(struct deferred *d)
{
	struct kube_call *c = container_of(d, struct kube_call, start);
	struct kube *k = c->kube;

	refresh(k);
	for (struct kube_conn *conn = k->conns; conn; conn = conn->next)
		if (is_idle(conn) && kube_conn_is_alive(conn)) {
			kube_conn_use(conn, c);
			return;
		}
	k->text = kube_server_text(&k->login->servers.server[k->current]);
	kube_connect(k, c);
}

void kube_start(struct kube *k, struct kube_call *c)
{
	c->kube = k;
	c->conn = NULL;
	c->tried = 0;
	c->status = 0;
	c->retry_after_s = 0;
	c->json = c->unsure = false;
	c->on = true;
	if (c->answer)
		str_clear(c->answer);
	c->start.fn = on_start;
	loop_defer(k->loop, &c->start);
}

void kube_cancel(struct kube_call *c)
{
	if (!c->on)
		return;
	c->on = false;
	deferred_del(c->kube->loop, &c->start);
	if (c->conn)
		kube_conn_free(c->conn);
}

/* The next call asks the next server, by a connection of its own: others may be as dead, and not know it. */
static void turn_from(struct kube *k, const struct kube_conn *conn)
{
	drop_idle(k);
	if (k->current == conn->server)
		k->current = (k->current + 1) % k->login->servers.count;
}

void kube_conn_failed(struct kube_conn *conn, const struct err *e)
{
	struct kube *k = conn->kube;
	struct kube_call *c = conn->call;
	bool unopened = conn->state < KUBE_OPEN, again = false;

	if (c)
		turn_from(k, conn);
	if (c && unopened) {
		again = ++c->tried < k->login->servers.count;
	} else if (c && conn->used && !conn->answered) {	/* it was closed while it lay idle, as servers do */
		again = strcmp(c->method, "GET") == 0;
	}
	if (c)
		c->unsure = !unopened && conn->sent > 0;
	kube_conn_free(conn);
	if (again)
		loop_defer(k->loop, &c->start);
	else if (c)
		call_end(c, e);
}

void kube_conn_done(struct kube_conn *conn)
{
	struct kube *k = conn->kube;
	struct kube_call *c = conn->call;
	unsigned idle = 0;

	k->suspect |= c->status == UNAUTHORIZED;
	if (c->status >= BROKEN)
		turn_from(k, conn);
	for (struct kube_conn *i = k->conns; i; i = i->next)
		idle += is_idle(i);
	if (idle < IDLE_MAX && conn->login == k->login && conn->server == k->current && kube_conn_is_clean(conn)) {
		conn->call = NULL;
		kube_conn_idle(conn);
	} else {
		kube_conn_free(conn);
	}
	call_end(c, NULL);
}

struct kube *kube_open(struct loop *l, const struct config *config, struct err *e)
{
	struct kube *k = xcalloc(1, sizeof *k);

	k->loop = l;
	k->given = config->api_address;
	str_copy(k->where, sizeof k->where, config->datastore.where);
	k->login = kube_login_read(k->where, &k->given, e);
	if (!k->login) {
		free(k);
		return NULL;
	}
	k->stamp = kube_login_stamp(k->login);
	k->text = kube_server_text(&k->login->servers.server[0]);
	return k;
}

void kube_close(struct kube *k)
{
	while (k->conns)
		kube_conn_free(k->conns);
	kube_login_free(k->login);
	free(k);
}
