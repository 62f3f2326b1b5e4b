/*
 * What a peer sends to the agent's socket, in two pieces.  A request that is taken is whole,
 * and its answer can be read by the other end.
 */
#include "../../src/base/server.c"

#include "fuzz.h"

static unsigned taken;

static void on_request(void *ctx, struct conn *c)
{
	(void)ctx;
	CLAIM(c->payload.len == c->length && !str_text(&c->payload)[c->length]);
	taken++;
	conn_answer(c, 0, "yes", 3);
}

static struct conn *conn_new(struct server *s, int fd)
{
	struct conn *c = xcalloc(1, sizeof *c);

	*c = (struct conn){ .server = s, .watch = { .fd = fd, .fn = on_conn }, .timeout = { .fn = on_timeout }, .fds = { -1, -1 } };
	s->conns = c;
	s->count = 1;
	CLAIM(watch_add(s->loop, &c->watch, EPOLLIN) == 0);
	return c;
}

static void feed(struct server *s, int to, const uint8_t *data, size_t len)
{
	if (len && s->conns)
		CLAIM(send(to, data, len, MSG_NOSIGNAL) == (ssize_t)len);
	if (s->conns)
		on_conn(&s->conns->watch, EPOLLIN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop loop = { .epoll = -1 };
	struct server s = { .loop = &loop, .watch = { .fd = -1 }, .handle = on_request };
	int pair[2];
	size_t first = size ? data[0] % size : 0;

	if (size > 65536)
		return 0;
	if (loop.epoll < 0)
		CLAIM(loop_open(&loop) == 0);
	CLAIM(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	conn_new(&s, pair[0]);
	taken = 0;
	feed(&s, pair[1], data, first);
	feed(&s, pair[1], data + first, size - first);
	if (taken) {
		autostr struct str answer = { 0 };
		uint8_t status;

		CLAIM(taken == 1 && frame_answer(pair[1], 1000, &status, &answer) == 0 && answer.len == 3);
	}
	server_close(&s);
	close(pair[1]);
	return 0;
}
