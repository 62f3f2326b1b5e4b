#include "nl/nl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>
#include <linux/netlink.h>
#include "base/log.h"
#include "base/util.h"

/*
 * How a batch is acknowledged.  The kernel works through the messages of one
 * sendmsg(2) in order, inside the call, and answers a message when it failed
 * or when it asked for it.  So only the last message of a chunk carries
 * NLM_F_ACK: an error that came before that answer names its message by the
 * sequence number, and whatever got none succeeded.  nfnetlink, whose batch end
 * is not acknowledged before Linux 6.10, is read until nothing is left.
 */

/* On the stack, so that all sockets of a thread use the same memory. */
struct datagram { _Alignas(struct nlmsghdr) char bytes[NL_IN_SIZE]; };

enum { EVENT_BUFFER = 4 << 20, EVENTS_A_CALL = 1000, DUMP_TRIES = 6, ANSWER_TIMEOUT_S = 5 };

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

static int option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

static void init(struct nl *nl, int fd, int protocol)
{
	*nl = (struct nl){ .fd = fd, .protocol = protocol };
}

/* What only makes errors clearer may be missing. */
static int configure(struct nl *nl)
{
	struct timeval limit = { .tv_sec = ANSWER_TIMEOUT_S };

	option(nl->fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
	option(nl->fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
	return setsockopt(nl->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ? -errno : 0;
}

int nl_listen(struct nl *nl, unsigned group, bool on)
{
	return option(nl->fd, SOL_NETLINK, on ? NETLINK_ADD_MEMBERSHIP : NETLINK_DROP_MEMBERSHIP, (int)group);
}

static int join(struct nl *nl, const unsigned *groups)
{
	if (option(nl->fd, SOL_SOCKET, SO_RCVBUFFORCE, EVENT_BUFFER) < 0)
		option(nl->fd, SOL_SOCKET, SO_RCVBUF, EVENT_BUFFER);
	for (; *groups; groups++) {
		int rc = nl_listen(nl, *groups, true);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int bind_port(struct nl *nl)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	socklen_t size = sizeof self;

	if (bind(nl->fd, (struct sockaddr *)&self, sizeof self) < 0 ||
	    getsockname(nl->fd, (struct sockaddr *)&self, &size) < 0)
		return -errno;
	nl->port = self.nl_pid;
	return 0;
}

int nl_open(struct nl *nl, int protocol, const unsigned *groups)
{
	int rc;

	init(nl, socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), protocol);
	if (nl->fd < 0)
		return -errno;
	rc = configure(nl);
	if (protocol == NETLINK_ROUTE)
		option(nl->fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
	if (!rc)
		rc = bind_port(nl);
	if (!rc && groups)
		rc = join(nl, groups);
	if (rc)
		nl_close(nl);
	return rc;
}

int nl_adopt(struct nl *nl, int fd)
{
	nl->fd = fd;
	nl->protocol = NETLINK_ROUTE;
	nl->port = 0;
	nl->send_limit = 0;
	return configure(nl);
}

void nl_close(struct nl *nl)
{
	if (nl->fd >= 0)
		close(nl->fd);
	free(nl->buf);
	free(nl->names);
	init(nl, -1, nl->protocol);
}

/* ---- building ---- */

static void reserve(struct nl *nl)
{
	if (nl->cap - nl->len >= NL_MESSAGE_MAX)
		return;
	nl->cap = nl->cap * 2 + NL_MESSAGE_MAX;
	nl->buf = xrealloc(nl->buf, nl->cap);
}

/* Texts stand one after the other, each with its terminator. */
static void name_add(struct nl *nl, const char *about, va_list ap)
{
	for (;;) {
		size_t room = nl->names_cap - nl->names_len;
		va_list again;
		int n;

		va_copy(again, ap);
		n = vsnprintf(nl->names ? nl->names + nl->names_len : NULL, room, about, again);
		va_end(again);
		if (n >= 0 && (size_t)n < room) {
			nl->names_len += (size_t)n + 1;
			return;
		}
		nl->names_cap = nl->names_cap * 2 + 512;
		nl->names = xrealloc(nl->names, nl->names_cap);
	}
}

struct nlmsghdr *nl_begin(struct nl *nl, uint16_t type, uint16_t flags, const char *about, ...)
{
	struct nlmsghdr *h;
	va_list ap;

	reserve(nl);
	h = mnl_nlmsg_put_header(nl->buf + nl->len);
	h->nlmsg_type = type;
	h->nlmsg_flags = flags | NLM_F_REQUEST;
	h->nlmsg_seq = ++nl->seq;
	if (!nl->count++)
		nl->first_seq = h->nlmsg_seq;
	va_start(ap, about);
	name_add(nl, about, ap);
	va_end(ap);
	return h;
}

void nl_end(struct nl *nl, struct nlmsghdr *h)
{
	nl->len += MNL_ALIGN(h->nlmsg_len);
	if (nl->len > nl->cap)
		log_die("nl", "a message of %u bytes overran its buffer", (unsigned)h->nlmsg_len);
}

static void batch_reset(struct nl *nl)
{
	nl->len = nl->names_len = nl->count = 0;
}

/* ---- sending and receiving ---- */

/* A batch larger than the socket's send buffer would be refused with EMSGSIZE. */
static void send_limit_raise(struct nl *nl, size_t len)
{
	int value = 0;
	socklen_t size = sizeof value;

	if (!nl->send_limit && getsockopt(nl->fd, SOL_SOCKET, SO_SNDBUF, &value, &size) == 0)
		nl->send_limit = (size_t)value / 2;
	if (len + 1024 <= nl->send_limit)
		return;
	if (option(nl->fd, SOL_SOCKET, SO_SNDBUFFORCE, (int)(len + len / 2)) == 0)
		nl->send_limit = len + len / 2;
}

static int send_bytes(struct nl *nl, const char *data, size_t len)
{
	static const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n;

	if (len > 64 * 1024)
		send_limit_raise(nl, len);
	do
		n = sendto(nl->fd, data, len, 0, (const struct sockaddr *)&kernel, sizeof kernel);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EMSGSIZE;
}

/* One datagram from the kernel into nl->in; its length, or -errno (-EAGAIN: nothing came). */
static ssize_t receive(struct nl *nl, int flags)
{
	struct sockaddr_nl from;
	struct iovec iov;
	struct msghdr msg = { .msg_name = &from, .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	for (;;) {
		iov = (struct iovec){ nl->in, NL_IN_SIZE };
		msg.msg_namelen = sizeof from;
		n = recvmsg(nl->fd, &msg, flags);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (msg.msg_namelen < sizeof from || from.nl_pid)
			continue;	/* any root process can send to us: only the kernel is believed */
		return (msg.msg_flags & MSG_TRUNC) ? -EMSGSIZE : n;
	}
}

/* The kernel's own words in an NLMSG_ERROR or NLMSG_DONE, whose fixed part has size bytes. */
static const char *kernel_text(const struct nlmsghdr *h, size_t fixed, char *text, size_t size)
{
	const struct nlattr *tb[NLMSGERR_ATTR_MSG + 1];

	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS) || !nl_attrs(h, fixed, tb, NLMSGERR_ATTR_MSG) ||
	    !nl_attr_text(tb[NLMSGERR_ATTR_MSG], text, size) || !text[0])
		return NULL;
	return text;
}

enum { ERRNO_MAX = 4095 };		/* the kernel's own limit */

static int error_checked(int rc)
{
	return rc > 0 || rc < -ERRNO_MAX ? -EBADMSG : rc;
}

/* Reads the result of an NLMSG_ERROR: 0 or -errno. */
static int error_read(const struct nlmsghdr *h, const char **text, char *buf, size_t size)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
	size_t fixed = sizeof *e;

	*text = NULL;
	if (mnl_nlmsg_get_payload_len(h) < sizeof *e)
		return -EBADMSG;
	if (!(h->nlmsg_flags & NLM_F_CAPPED) && e->error && e->msg.nlmsg_len > sizeof e->msg)
		fixed += MNL_ALIGN(e->msg.nlmsg_len) - sizeof e->msg;
	if (e->error)
		*text = kernel_text(h, fixed, buf, size);
	return error_checked(e->error);
}

static void failure_text(char *out, size_t size, const char *about, int rc, const char *kernel)
{
	if (kernel)
		snprintf(out, size, "%s: %s (kernel: %s)", about, strerror(-rc), kernel);
	else
		snprintf(out, size, "%s: %s", about, strerror(-rc));
}

/* ---- a commit ---- */

struct commit {
	struct nl *nl;
	const struct nl_answer *answer;
	struct err *e;
	unsigned next;			/* the first message that has no result yet */
	const char *name;		/* of that message */
	int first;			/* first error */
};

static void result(struct commit *c, int rc, const char *kernel)
{
	char text[384];

	if (rc)
		failure_text(text, sizeof text, c->name, rc, kernel);
	if (rc && !c->first)
		c->first = err_set(c->e, -rc, "%s", text);
	if (c->answer && c->answer->done)
		c->answer->done(c->answer->ctx, c->next, rc, rc ? text : NULL);
	c->next++;
	c->name += strlen(c->name) + 1;
}

/* All that are left before `position` get rc. */
static void results_until(struct commit *c, unsigned position, int rc)
{
	while (c->next < position)
		result(c, rc, NULL);
}

static void message_read(struct commit *c, const struct nlmsghdr *h, unsigned end)
{
	unsigned position = h->nlmsg_seq - c->nl->first_seq;
	const char *kernel;
	char text[256];
	int rc;

	if (position >= end || position < c->next)
		return;			/* a late answer to an earlier batch */
	if (h->nlmsg_type == NLMSG_ERROR) {
		rc = error_read(h, &kernel, text, sizeof text);
		results_until(c, position, 0);
		result(c, rc, kernel);
	} else if (h->nlmsg_type >= NLMSG_MIN_TYPE && c->answer && c->answer->data) {
		c->answer->data(c->answer->ctx, h);
	}
}

static void datagram_read(struct commit *c, ssize_t n, unsigned end)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)c->nl->in;
	int left = (int)n;

	for (; nl_message_ok(h, left); h = mnl_nlmsg_next(h, &left))
		message_read(c, h, end);
}

/* Answers to the messages before `end`, whose last one asked for an acknowledgement when acked. */
static int answers_read(struct commit *c, unsigned end, bool acked)
{
	while (c->next < end) {
		ssize_t n = receive(c->nl, acked ? 0 : MSG_DONTWAIT);

		if (n == -EAGAIN && !acked)
			break;
		if (n < 0)
			return n == -EAGAIN ? -ETIMEDOUT : (int)n;
		datagram_read(c, n, end);
	}
	results_until(c, end, 0);
	return 0;
}

/* The next chunk starts at at; returns where it ends, with *last its last message and *end that one's position + 1. */
static size_t chunk_end(struct nl *nl, size_t at, struct nlmsghdr **last, unsigned *end)
{
	unsigned n = 0;

	for (; at < nl->len && (n < NL_CHUNK || nl->protocol != NETLINK_ROUTE); n++) {
		*last = (struct nlmsghdr *)(nl->buf + at);
		at += MNL_ALIGN((*last)->nlmsg_len);
	}
	*end += n;
	return at;
}

int nl_commit(struct nl *nl, const struct nl_answer *answer, struct err *e)
{
	struct datagram in;
	struct commit c = { .nl = nl, .answer = answer, .e = e, .name = nl->names };
	bool acked = nl->protocol == NETLINK_ROUTE;
	struct nlmsghdr *last = NULL;
	unsigned end = 0;
	int rc = 0;

	nl->in = in.bytes;
	for (size_t at = 0, to; at < nl->len && !rc; at = to) {
		to = chunk_end(nl, at, &last, &end);
		if (acked)
			last->nlmsg_flags |= NLM_F_ACK;
		rc = send_bytes(nl, nl->buf + at, to - at);
		if (!rc)
			rc = answers_read(&c, end, acked);
	}
	results_until(&c, nl->count, rc);
	nl->in = NULL;
	batch_reset(nl);
	return c.first;
}

/* ---- dumps ---- */

struct dump {
	void (*each)(void *ctx, const struct nlmsghdr *h);
	void *ctx;
	struct err *e;
	const char *name;
	uint32_t seq;
	bool torn, ended;
	int rc;
};

static void dump_failed(struct dump *d, int rc, const char *kernel)
{
	char text[384];

	failure_text(text, sizeof text, d->name, rc, kernel);
	d->rc = err_set(d->e, -rc, "%s", text);
	d->ended = true;
}

static void dump_message(struct dump *d, const struct nlmsghdr *h)
{
	const char *kernel = NULL;
	char text[256];
	int rc = 0;

	if (h->nlmsg_seq != d->seq || d->ended)
		return;
	d->torn |= h->nlmsg_flags & NLM_F_DUMP_INTR;
	switch (h->nlmsg_type) {
	case NLMSG_ERROR:
		rc = error_read(h, &kernel, text, sizeof text);
		break;
	case NLMSG_DONE:		/* carries the result, and the kernel's words when it failed */
		if (mnl_nlmsg_get_payload_len(h) >= sizeof rc)
			memcpy(&rc, mnl_nlmsg_get_payload(h), sizeof rc);
		rc = error_checked(rc);
		if (rc < 0)
			kernel = kernel_text(h, sizeof rc, text, sizeof text);
		break;
	default:
		if (h->nlmsg_type >= NLMSG_MIN_TYPE)
			d->each(d->ctx, h);
		return;
	}
	d->ended = true;
	if (rc < 0)
		dump_failed(d, rc, kernel);
}

static void dump_once(struct nl *nl, struct dump *d)
{
	const struct nlmsghdr *h;
	ssize_t n;
	int left;

	while (!d->ended) {
		n = receive(nl, 0);
		if (n < 0) {
			dump_failed(d, n == -EAGAIN ? -ETIMEDOUT : (int)n, NULL);
			return;
		}
		h = (const struct nlmsghdr *)nl->in;
		left = (int)n;
		for (; nl_message_ok(h, left); h = mnl_nlmsg_next(h, &left))
			dump_message(d, h);
	}
}

int nl_dump(struct nl *nl, void (*restart)(void *ctx), void (*each)(void *ctx, const struct nlmsghdr *h), void *ctx,
	    struct err *e)
{
	struct nlmsghdr *request = (struct nlmsghdr *)nl->buf;
	struct dump d = { .each = each, .ctx = ctx, .e = e, .name = nl->names };
	struct datagram in;

	nl->in = in.bytes;
	for (int tries = 0; tries < DUMP_TRIES; tries++) {
		int rc;

		request->nlmsg_seq = d.seq = ++nl->seq;
		d.torn = d.ended = false;
		if (restart)
			restart(ctx);
		rc = send_bytes(nl, nl->buf, nl->len);
		if (rc)
			dump_failed(&d, rc, NULL);
		dump_once(nl, &d);
		if (d.rc || !d.torn)
			break;
	}
	if (!d.rc && d.torn)
		dump_failed(&d, -EINTR, "the dump was interrupted each time");
	nl->in = NULL;
	batch_reset(nl);
	return d.rc;
}

/* ---- events ---- */

int nl_events(struct nl *nl, uint32_t skip, void (*each)(void *ctx, const struct nlmsghdr *h), void *ctx)
{
	struct datagram in;
	int rc = 0;

	nl->in = in.bytes;
	for (int i = 0; i < EVENTS_A_CALL; i++) {
		ssize_t n = receive(nl, MSG_DONTWAIT);
		const struct nlmsghdr *h = (const struct nlmsghdr *)nl->in;
		int left = (int)n;

		if (n == -EAGAIN)
			break;
		if (n == -ENOBUFS || n == -EMSGSIZE) {
			rc = -ENOBUFS;
			continue;
		}
		if (n < 0) {
			rc = (int)n;
			break;
		}
		for (; nl_message_ok(h, left); h = mnl_nlmsg_next(h, &left))
			if (h->nlmsg_type >= NLMSG_MIN_TYPE && !(skip && h->nlmsg_pid == skip))
				each(ctx, h);
	}
	nl->in = NULL;
	return rc;
}
