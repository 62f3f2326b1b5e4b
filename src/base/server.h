#ifndef BASE_SERVER_H
#define BASE_SERVER_H
/*
 * The agent's one unix socket.  A request is a frame: 8 bytes of header, then
 * the payload; up to two descriptors may come with its first byte.  The answer is
 * a frame too, then the connection ends.  Both the CNI plugin and the command line
 * talk this way.
 *
 * Only uid 0 is served (by SO_PEERCRED; a pid from another PID namespace reads
 * as 0 and is not looked at).  A request that is not whole after 10 s is dropped.
 */
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/loop.h"
#include "base/str.h"

enum { FRAME_VERSION = 1, FRAME_CNI = 1, FRAME_CTL = 2 };
enum { FRAME_HEADER = 8, FRAME_MAX = 2 << 20, FRAME_FDS = 2 };

/* Header bytes: version, kind, status (exit code of an answer), 0, length (big endian). */
void frame_header(uint8_t out[FRAME_HEADER], uint8_t kind, uint8_t status, uint32_t length);
/* -EPROTO for another version, -EFBIG above FRAME_MAX. */
int frame_read_header(const uint8_t in[FRAME_HEADER], uint8_t *kind, uint8_t *status, uint32_t *length);

struct conn {
	struct server *server;
	struct watch watch;
	struct timer timeout;
	uint8_t header[FRAME_HEADER];
	unsigned header_len;
	uint8_t kind;
	uint32_t length;
	struct str payload;		/* always terminated */
	int fds[FRAME_FDS];		/* -1: none; the handler may take them */
	struct str answer;
	size_t sent;
	bool asked, answering;
	void *ctx;			/* the handler's */
	void (*on_hangup)(struct conn *c);	/* the peer left before its answer; the conn is freed right after */
	struct conn *next;
};

struct server {
	struct loop *loop;
	struct watch watch;
	char path[108];
	void (*handle)(void *ctx, struct conn *c);	/* a whole request; ends in conn_answer(), now or later */
	void *ctx;
	struct conn *conns;
	unsigned count;
	struct timer pause;		/* on: no descriptor was left, connections wait where they are */
	bool said;			/* that this is so */
};

/* Listens on path (mode 0600; an old socket there is replaced: the caller holds the run_dir's lock). */
int server_open(struct server *s, struct loop *l, const char *path, void (*handle)(void *ctx, struct conn *c), void *ctx,
		struct err *e);
void server_close(struct server *s);

/* Sends the answer and frees the connection when it is out.  False: the peer has gone. */
bool conn_answer(struct conn *c, uint8_t status, const char *data, size_t len);

/*
 * The other end, blocking.  connect: a descriptor (again every 20 ms for wait_ms while nobody listens), or
 * -ENOENT/-ECONNREFUSED (nobody listens), -ETIMEDOUT (whoever listens accepts nothing for 5 s), -EACCES, ...  send: one
 * request, -ETIMEDOUT when none of it is taken for 5 s.  answer: -ETIMEDOUT when nothing comes for answer_ms (not 0),
 * -ECONNRESET (the agent went away), -errno.
 */
int frame_connect(const char *path, unsigned wait_ms);
int frame_send(int fd, uint8_t kind, const char *data, size_t len, const int *fds, unsigned fd_count);
int frame_answer(int fd, unsigned answer_ms, uint8_t *status, struct str *answer);

#endif
