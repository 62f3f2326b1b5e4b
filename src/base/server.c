#include "base/server.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "base/log.h"
#include "base/util.h"

enum { CONNS_MAX = 1024, REQUEST_MS = 10000, CONNECT_PAUSE_MS = 20, ACCEPT_PAUSE_MS = 200, SEND_S = 5 };

void frame_header(uint8_t out[FRAME_HEADER], uint8_t kind, uint8_t status, uint32_t length)
{
	const uint8_t h[FRAME_HEADER] = { FRAME_VERSION, kind, status, 0, length >> 24, length >> 16, length >> 8, length };

	memcpy(out, h, sizeof h);
}

int frame_read_header(const uint8_t in[FRAME_HEADER], uint8_t *kind, uint8_t *status, uint32_t *length)
{
	if (in[0] != FRAME_VERSION)
		return -EPROTO;
	*kind = in[1];
	*status = in[2];
	*length = (uint32_t)in[4] << 24 | (uint32_t)in[5] << 16 | (uint32_t)in[6] << 8 | in[7];
	return *length > FRAME_MAX ? -EFBIG : 0;
}

/* A socket that cannot be accepted from would wake the loop again and again. */
static void server_pause(struct server *s)
{
	if (!s->said)
		log_warn("server", "%s: no descriptor for another connection: they wait", s->path);
	s->said = true;
	watch_del(s->loop, &s->watch);
	timer_set(s->loop, &s->pause, ACCEPT_PAUSE_MS);
}

static void server_resume(struct server *s)
{
	timer_del(s->loop, &s->pause);
	if (watch_add(s->loop, &s->watch, EPOLLIN) < 0)
		timer_set(s->loop, &s->pause, ACCEPT_PAUSE_MS);
}

static void on_pause_end(struct timer *t)
{
	server_resume(container_of(t, struct server, pause));
}

static void conn_free(struct conn *c)
{
	struct server *s = c->server;

	for (struct conn **at = &s->conns; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			s->count--;
			break;
		}
	timer_del(s->loop, &c->timeout);
	watch_del(s->loop, &c->watch);
	close(c->watch.fd);
	for (int i = 0; i < FRAME_FDS; i++)
		if (c->fds[i] >= 0)
			close(c->fds[i]);
	if (s->pause.on)
		server_resume(s);
	str_free(&c->payload);
	str_free(&c->answer);
	free(c);
}

static void conn_drop(struct conn *c)
{
	if (c->asked && !c->answering && c->on_hangup)
		c->on_hangup(c);
	conn_free(c);
}

static void on_timeout(struct timer *t)
{
	conn_drop(container_of(t, struct conn, timeout));
}

/* False: the peer has gone.  The connection is freed unless there is more to send. */
static bool conn_send(struct conn *c)
{
	bool gone = false;

	while (c->sent < c->answer.len) {
		ssize_t n = send(c->watch.fd, c->answer.s + c->sent, c->answer.len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			watch_change(c->server->loop, &c->watch, EPOLLOUT);
			return true;
		}
		gone = n < 0;
		if (gone)
			break;
		c->sent += n;
	}
	conn_free(c);
	return !gone;
}

bool conn_answer(struct conn *c, uint8_t status, const char *data, size_t len)
{
	uint8_t header[FRAME_HEADER];

	frame_header(header, c->kind, status, len);
	str_add(&c->answer, (const char *)header, sizeof header);
	str_add(&c->answer, data, len);
	c->answering = true;
	timer_set(c->server->loop, &c->timeout, REQUEST_MS);
	return conn_send(c);
}

/* Descriptors that came with the message; more than we expect are closed at once. */
static void take_fds(struct conn *c, struct msghdr *msg)
{
	for (struct cmsghdr *m = CMSG_FIRSTHDR(msg); m; m = CMSG_NXTHDR(msg, m)) {
		if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (m->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < count; i++) {
			int fd, at = 0;

			memcpy(&fd, CMSG_DATA(m) + i * sizeof fd, sizeof fd);
			while (at < FRAME_FDS && c->fds[at] >= 0)
				at++;
			if (at < FRAME_FDS)
				c->fds[at] = fd;
			else
				close(fd);
		}
	}
}

static ssize_t conn_read(struct conn *c, void *to, size_t len)
{
	union { char b[CMSG_SPACE(sizeof(int) * FRAME_FDS)]; struct cmsghdr align; } control;
	struct iovec iov = { to, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.b, .msg_controllen = sizeof control.b };
	ssize_t n;

	do
		n = recvmsg(c->watch.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		take_fds(c, &msg);
	return n;
}

/* 1: the request is whole; 0: more to come; negative: drop it. */
static int conn_fill(struct conn *c)
{
	char chunk[16384];
	uint8_t status;

	for (;;) {
		ssize_t n = conn_read(c, chunk, sizeof chunk);

		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : -1;
		size_t head = FRAME_HEADER - c->header_len;

		head = head < (size_t)n ? head : (size_t)n;
		memcpy(c->header + c->header_len, chunk, head);
		c->header_len += head;
		if (c->header_len < FRAME_HEADER)
			continue;
		if (head && frame_read_header(c->header, &c->kind, &status, &c->length) < 0)
			return -1;
		str_add(&c->payload, chunk + head, n - head);
		if (c->payload.len >= c->length)
			return c->payload.len == c->length ? 1 : -1;
	}
}

static void on_conn(struct watch *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, watch);

	if (c->answering) {
		if (events & (EPOLLHUP | EPOLLERR))
			conn_free(c);
		else
			conn_send(c);
		return;
	}
	if (c->asked) {			/* nothing more is expected: the peer hung up, or talks too much */
		conn_drop(c);
		return;
	}
	int rc = conn_fill(c);

	if (rc < 0) {
		conn_drop(c);
	} else if (rc > 0) {
		c->asked = true;
		timer_del(c->server->loop, &c->timeout);
		c->server->handle(c->server->ctx, c);
	}
}

static bool peer_is_root(int fd)
{
	struct ucred who;
	socklen_t len = sizeof who;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.uid == 0;
}

static void on_accept(struct watch *w, uint32_t events)
{
	struct server *s = container_of(w, struct server, watch);
	(void)events;

	for (int i = 0; i < 64; i++) {	/* the rest in the next turn: others want to be served too */
		int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				server_pause(s);
			return;
		}
		s->said = false;
		if (s->count >= CONNS_MAX || !peer_is_root(fd)) {
			close(fd);
			continue;
		}
		struct conn *c = xcalloc(1, sizeof *c);

		*c = (struct conn){ .server = s, .watch = { .fd = fd, .fn = on_conn }, .timeout = { .fn = on_timeout },
				    .fds = { -1, -1 }, .next = s->conns };
		s->conns = c;
		s->count++;
		timer_set(s->loop, &c->timeout, REQUEST_MS);
		watch_add(s->loop, &c->watch, EPOLLIN | EPOLLRDHUP);
		on_conn(&c->watch, EPOLLIN);	/* what has already arrived needs no second wait */
	}
}

static int address(struct sockaddr_un *a, const char *path)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return str_copy(a->sun_path, sizeof a->sun_path, path) ? 0 : -ENAMETOOLONG;
}

int server_open(struct server *s, struct loop *l, const char *path, void (*handle)(void *ctx, struct conn *c), void *ctx,
		struct err *e)
{
	struct sockaddr_un a;
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	*s = (struct server){ .loop = l, .watch = { .fd = -1, .fn = on_accept }, .handle = handle, .ctx = ctx,
			       .pause = { .fn = on_pause_end } };
	if (fd < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	if (address(&a, path) < 0)
		return err_set(e, ENAMETOOLONG, "%s: longer than a socket's path may be", path);
	unlink(path);
	mode_t old = umask(0177);
	int rc = bind(fd, (struct sockaddr *)&a, sizeof a);

	umask(old);
	if (rc < 0 || listen(fd, 512) < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	str_copy(s->path, sizeof s->path, path);
	s->watch.fd = keep_fd(&fd);
	rc = watch_add(l, &s->watch, EPOLLIN);
	return rc < 0 ? err_set(e, -rc, "%s: %s", path, strerror(-rc)) : 0;
}

void server_close(struct server *s)
{
	while (s->conns)
		conn_free(s->conns);
	if (s->watch.fd < 0)
		return;
	timer_del(s->loop, &s->pause);
	watch_del(s->loop, &s->watch);
	close(s->watch.fd);
	unlink(s->path);
	s->watch.fd = -1;
}

int frame_connect(const char *path, unsigned wait_ms)
{
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct timespec pause = { .tv_nsec = CONNECT_PAUSE_MS * 1000000 };
	const struct timeval limit = { .tv_sec = SEND_S };
	const uint64_t until = now_ms() + wait_ms;
	struct sockaddr_un a;

	if (fd < 0)
		return -errno;
	if (address(&a, path) < 0)
		return -ENAMETOOLONG;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)	/* for a place in the queue, too */
		return -errno;
	while (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
		if (errno == EAGAIN)
			return -ETIMEDOUT;
		if (errno != ENOENT && errno != ECONNREFUSED && errno != EINTR)
			return -errno;
		if (now_ms() >= until)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return keep_fd(&fd);
}

static int send_all(int fd, struct msghdr *msg)
{
	while (msg->msg_iovlen) {
		ssize_t n = sendmsg(fd, msg, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		msg->msg_control = NULL;	/* descriptors went with the first byte */
		msg->msg_controllen = 0;
		for (; msg->msg_iovlen && (size_t)n >= msg->msg_iov->iov_len; msg->msg_iov++, msg->msg_iovlen--)
			n -= msg->msg_iov->iov_len;
		if (msg->msg_iovlen) {
			msg->msg_iov->iov_base = (char *)msg->msg_iov->iov_base + n;
			msg->msg_iov->iov_len -= n;
		}
	}
	return 0;
}

int frame_send(int fd, uint8_t kind, const char *data, size_t len, const int *fds, unsigned fd_count)
{
	union { char b[CMSG_SPACE(sizeof(int) * FRAME_FDS)]; struct cmsghdr align; } control = { { 0 } };
	uint8_t header[FRAME_HEADER];
	struct iovec iov[] = { { header, sizeof header }, { (char *)data, len } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov) };

	frame_header(header, kind, 0, len);
	if (fd_count) {
		struct cmsghdr *m = (struct cmsghdr *)control.b;

		m->cmsg_level = SOL_SOCKET;
		m->cmsg_type = SCM_RIGHTS;
		m->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(m), fds, sizeof(int) * fd_count);
		msg.msg_control = control.b;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
	}
	return send_all(fd, &msg);
}

/* Until len bytes are there, or none came for as long as the socket waits. */
static int recv_all(int fd, char *to, size_t len)
{
	while (len) {
		ssize_t n = recv(fd, to, len, MSG_WAITALL);

		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (n > 0) {
			to += n;
			len -= n;
		}
	}
	return 0;
}

int frame_answer(int fd, unsigned answer_ms, uint8_t *status, struct str *answer)
{
	const struct timeval limit = { .tv_sec = answer_ms / 1000, .tv_usec = answer_ms % 1000 * 1000 };
	uint8_t header[FRAME_HEADER], kind;
	uint32_t length;
	int rc;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0)
		return -errno;
	if ((rc = recv_all(fd, (char *)header, sizeof header)) < 0 ||
	    (rc = frame_read_header(header, &kind, status, &length)) < 0)
		return rc;
	while (length) {
		char chunk[2048];
		size_t n = length < sizeof chunk ? length : sizeof chunk;

		if ((rc = recv_all(fd, chunk, n)) < 0)
			return rc;
		str_add(answer, chunk, n);
		length -= n;
	}
	return 0;
}
