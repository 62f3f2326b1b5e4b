#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"

enum { WORDS_MAX = 16, ANSWER_MS = 10000 };

/* --- the agent's end --- */

/* Does the list of words begin with the verb's own?  How many they are, or 0. */
static unsigned verb_words(const char *name, char **words, unsigned count)
{
	unsigned n = 0;

	while (*name) {
		size_t len = strcspn(name, " ");

		if (n == count || strlen(words[n]) != len || strncmp(words[n], name, len) != 0)
			return 0;
		n++;
		name += len + (name[len] == ' ');
	}
	return n;
}

static void on_hangup(struct conn *conn)
{
	struct ctl_call *c = conn->ctx;

	c->conn = NULL;
}

static void call_free(struct ctl_call *c)
{
	if (c->late >= 0)
		close(c->late);
	str_free(&c->out);
	str_free(&c->err);
	free(c);
}

void ctl_detach(struct ctl_call *c)
{
	c->late = fcntl(c->conn->watch.fd, F_DUPFD_CLOEXEC, 0);
	c->conn->on_hangup = NULL;
	c->conn = NULL;
}

/* A short text: it fits into the socket's buffer.  Who asked may have left. */
static void answer_late(int fd, int code, const struct str *text)
{
	autostr struct str frame = { 0 };
	uint8_t header[FRAME_HEADER];

	frame_header(header, FRAME_CTL, (uint8_t)code, (uint32_t)text->len);
	str_add(&frame, (const char *)header, sizeof header);
	str_add(&frame, str_text(text), text->len);
	send(fd, frame.s, frame.len, MSG_NOSIGNAL);
}

void ctl_answer(struct ctl_call *c, int code)
{
	struct conn *conn = c->conn;

	if (c->out.len + c->err.len >= FRAME_MAX) {
		str_clear(&c->out);
		str_clear(&c->err);
		str_printf(&c->err, "manx: more than %d MiB to answer: ask for less\n", FRAME_MAX >> 20);
		code = EXIT_FAILED;
	}
	if (c->err.len) {
		str_add(&c->out, "", 1);
		str_add(&c->out, c->err.s, c->err.len);
	}
	if (conn) {
		conn->on_hangup = NULL;
		conn_answer(conn, (uint8_t)code, str_text(&c->out), c->out.len);
	} else if (c->late >= 0) {
		answer_late(c->late, code, &c->out);
	}
	call_free(c);
}

void ctl_refuse(struct ctl_call *c, int code, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	err_text(text, sizeof text, fmt, ap);
	va_end(ap);
	str_clear(&c->out);
	str_printf(&c->err, "manx: %s\n", text);
	ctl_answer(c, code);
}

void ctl_handle(const struct ctl_verb *verbs, unsigned count, void *ctx, struct conn *conn)
{
	struct ctl_call *c = xcalloc(1, sizeof *c);
	char *words[WORDS_MAX];
	unsigned n = 0;

	*c = (struct ctl_call){ .conn = conn, .late = -1 };
	conn->ctx = c;
	conn->on_hangup = on_hangup;
	for (size_t at = 0; at < conn->payload.len && n < WORDS_MAX; at += strlen(conn->payload.s + at) + 1) {
		if (conn->payload.s[at] == '\x01')	/* "-o json" as one byte that no word begins with */
			c->json = true;
		else
			words[n++] = conn->payload.s + at;
	}
	for (unsigned i = 0; i < count; i++) {
		unsigned own = verb_words(verbs[i].name, words, n);

		if (!own)
			continue;
		c->words = words + own;
		c->count = n - own;
		verbs[i].begin(ctx, c);
		return;
	}
	ctl_refuse(c, EXIT_USAGE, "%s: not in this version", n ? words[0] : "");
}

/* --- the command line's end --- */

static int client_failed(const char *socket, int rc, bool quiet)
{
	bool absent = rc == -ENOENT || rc == -ENOTDIR || rc == -ECONNREFUSED;

	if (!absent || !quiet)
		fprintf(stderr, "manx: %s: %s\n", socket, absent ? "no agent is running" : strerror(-rc));
	if (absent)
		return EXIT_NO_AGENT;
	/* The agent hangs up on whoever is not root. */
	return rc == -EACCES || rc == -EPERM || (rc == -ECONNRESET && geteuid() != 0) ? EXIT_PERMISSION : EXIT_FAILED;
}

static int print_answer(const struct str *answer)
{
	const char *out = str_text(answer);
	size_t len = strlen(out);

	fputs(out, stdout);
	if (fflush(stdout) != 0)
		return EXIT_FAILED;
	if (len < answer->len)
		fputs(out + len + 1, stderr);
	return EXIT_OK;
}

int ctl_client(const char *socket, const char *const *words, unsigned count, bool json, bool quiet)
{
	autoclose int fd = frame_connect(socket, 0);
	autostr struct str request = { 0 }, answer = { 0 };
	uint8_t status;
	int rc = fd;

	for (unsigned i = 0; i < count; i++)
		str_add(&request, words[i], strlen(words[i]) + 1);
	if (json)
		str_add(&request, "\x01", 2);
	if (fd >= 0)
		rc = frame_send(fd, FRAME_CTL, str_text(&request), request.len, NULL, 0);
	if (rc >= 0)
		rc = frame_answer(fd, ANSWER_MS, &status, &answer);
	if (rc < 0)
		return client_failed(socket, rc, quiet);
	return print_answer(&answer) == EXIT_OK ? status : EXIT_FAILED;
}
