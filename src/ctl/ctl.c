#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

enum { WORDS_MAX = 16, ANSWER_MS = 10000 };

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

void ctl_handle(const struct ctl_verb *verbs, unsigned count, void *ctx, struct conn *conn)
{
	autostr struct str out = { 0 };
	char *words[WORDS_MAX];
	unsigned n = 0;
	bool json = false;

	for (size_t at = 0; at < conn->payload.len && n < WORDS_MAX; at += strlen(conn->payload.s + at) + 1) {
		if (conn->payload.s[at] == '\x01')	/* "-o json" as one byte that no word begins with */
			json = true;
		else
			words[n++] = conn->payload.s + at;
	}
	for (unsigned i = 0; i < count; i++) {
		unsigned own = verb_words(verbs[i].name, words, n);

		if (!own)
			continue;
		int code = verbs[i].run(ctx, words + own, n - own, json, &out);

		conn_answer(conn, code, str_text(&out), out.len);
		return;
	}
	str_printf(&out, "manx: %s: not in this version\n", n ? words[0] : "");
	conn_answer(conn, EXIT_USAGE, out.s, out.len);
}

int ctl_client(const char *socket, char **words, unsigned count, bool json)
{
	autoclose int fd = frame_connect(socket, 0);
	autostr struct str ask = { 0 }, answer = { 0 };
	uint8_t status;
	int rc;

	if (fd < 0) {
		fprintf(stderr, "manx: %s: %s\n", socket,
			fd == -ENOENT || fd == -ECONNREFUSED ? "no agent is running" : strerror(-fd));
		return fd == -EACCES || fd == -EPERM ? EXIT_PERMISSION : EXIT_NO_AGENT;
	}
	for (unsigned i = 0; i < count; i++)
		str_add(&ask, words[i], strlen(words[i]) + 1);
	if (json)
		str_add(&ask, "\x01", 2);
	rc = frame_send(fd, FRAME_CTL, str_text(&ask), ask.len, NULL, 0);
	if (rc == 0)
		rc = frame_answer(fd, ANSWER_MS, &status, &answer);
	if (rc < 0) {
		fprintf(stderr, "manx: %s: %s\n", socket, strerror(-rc));
		return rc == -ECONNRESET && geteuid() != 0 ? EXIT_PERMISSION : EXIT_FAILED;
	}
	fputs(str_text(&answer), status == EXIT_OK || json ? stdout : stderr);
	return status;
}
