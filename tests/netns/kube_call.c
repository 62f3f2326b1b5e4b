/* links: src/base/arena.c src/base/digest.c src/base/err.c src/base/fs.c src/base/hash.c src/base/log.c src/base/loop.c src/base/prefix.c src/base/str.c src/base/util.c src/model/config.c src/model/config_value.c src/store/kube_call.c src/store/kube_conn.c src/store/kube_login.c src/store/kube_trust.c src/wire/der.c src/wire/http.c src/wire/json.c src/wire/json_check.c src/wire/json_fields.c src/wire/json_out.c src/wire/kubeconfig.c src/wire/pem.c src/wire/x509.c src/wire/yaml.c src/wire/yaml_names.c src/wire/yaml_plain.c */
/*
 * kube_call KUBECONFIG [API_ADDRESS]   Drives the transport: a command a line on stdin, what happens on stdout.
 *
 *	start N METHOD PATH [stream] [silence=MS] [body=TEXT|bytes=COUNT] [again=COUNT] [stop=head|data]
 *	cancel N | server | open
 *
 *	head N STATUS RETRY_AFTER JSON	data N LENGTH TEXT	end N ok LENGTH SUM	end N CODE UNSURE TEXT
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "store/kube.h"

enum { CALLS = 64 };

static struct loop loop;
static struct kube *kube;
static struct one { struct kube_call call; char method[16], path[512], stop[8], *body; size_t len; unsigned sum, again; } ones[CALLS];

static int number(struct kube_call *c)
{
	return (int)(container_of(c, struct one, call) - ones);
}

/* Cancels from within a callback; again: and starts anew there. */
static void stop_at(struct kube_call *c, const char *where)
{
	struct one *o = container_of(c, struct one, call);

	if (strcmp(o->stop, where) != 0)
		return;
	kube_cancel(c);
	if (o->again && o->again--)
		kube_start(kube, c);
	else
		printf("end %d stopped\n", number(c));
}

static void on_head(struct kube_call *c)
{
	printf("head %d %d %u %d\n", number(c), c->status, c->retry_after_s, c->json);
	stop_at(c, "head");
}

static int line_len(const char *data, size_t len)
{
	int n = 0;

	while ((size_t)n < len && data[n] != '\r' && data[n] != '\n')
		n++;
	return n;
}

static void on_data(struct kube_call *c, const char *data, size_t len)
{
	struct one *o = container_of(c, struct one, call);

	o->len += len;
	for (size_t i = 0; i < len; i++)
		o->sum = o->sum * 31 + (unsigned char)data[i];
	if (len < 1000)
		printf("data %d %zu %.*s\n", number(c), len, line_len(data, len), data);
	stop_at(c, "data");
}

static void on_end(struct kube_call *c, const struct err *e)
{
	struct one *o = container_of(c, struct one, call);

	if (o->again && o->again--)
		kube_start(kube, c);
	else if (e)
		printf("end %d %d %d %s\n", number(c), e->code, c->unsure, e->text);
	else
		printf("end %d ok %zu %u\n", number(c), o->len, o->sum);
}

static void start(char *line)
{
	char *save, *word = strtok_r(line, " ", &save), *method = strtok_r(NULL, " ", &save), *path = strtok_r(NULL, " ", &save);
	struct one *o = &ones[atoi(word) % CALLS];

	free(o->body);
	*o = (struct one){ .call = { .on_head = on_head, .on_data = on_data, .on_end = on_end } };
	snprintf(o->method, sizeof o->method, "%s", method);
	snprintf(o->path, sizeof o->path, "%s", path);
	o->call.method = o->method;
	o->call.path = o->path;
	while ((word = strtok_r(NULL, " ", &save))) {
		if (strcmp(word, "stream") == 0)
			o->call.stream = true;
		else if (strncmp(word, "silence=", 8) == 0)
			o->call.silence_ms = (unsigned)atoi(word + 8);
		else if (strncmp(word, "again=", 6) == 0)
			o->again = (unsigned)atoi(word + 6);
		else if (strncmp(word, "stop=", 5) == 0)
			snprintf(o->stop, sizeof o->stop, "%s", word + 5);
		else if (strncmp(word, "body=", 5) == 0)
			o->body = xstrdup(word + 5);
		else if (strncmp(word, "bytes=", 6) == 0)
			o->body = memset(xcalloc(1, (size_t)atoi(word + 6) + 1), 'x', (size_t)atoi(word + 6));
	}
	if (o->body) {
		o->call.content_type = "application/json";
		o->call.body = o->body;
		o->call.body_len = strlen(o->body);
	}
	kube_start(kube, &o->call);
}

static void on_stdin(struct watch *w, uint32_t events)
{
	static char buf[8192];
	static size_t have;
	ssize_t n = read(w->fd, buf + have, sizeof buf - have - 1);
	char *end;
	(void)events;

	if (n <= 0) {
		loop.stop = true;
		return;
	}
	buf[have += (size_t)n] = '\0';
	while ((end = strchr(buf, '\n'))) {
		*end = '\0';
		if (strncmp(buf, "start ", 6) == 0)
			start(buf + 6);
		else if (strncmp(buf, "cancel ", 7) == 0)
			kube_cancel(&ones[atoi(buf + 7) % CALLS].call);
		else if (strcmp(buf, "server") == 0)
			printf("server %s\n", kube_server(kube));
		have -= (size_t)(end + 1 - buf);
		memmove(buf, end + 1, have + 1);
	}
}

int main(int argc, char **argv)
{
	static struct config config;
	struct watch in = { .fd = 0, .fn = on_stdin };
	struct config_sets sets = { 0 };
	struct err e = { 0 };
	char set[300];

	setvbuf(stdout, NULL, _IOLBF, 0);
	config_init(&config, &e);
	snprintf(set, sizeof set, "datastore=kubernetes %s", argv[1]);
	config_set(&config, &sets, set, &e);
	snprintf(set, sizeof set, "api_address=%s", argc > 2 ? argv[2] : "");
	if (config_set(&config, &sets, set, &e) < 0 || loop_open(&loop) < 0)
		return 2;
	kube = kube_open(&loop, &config, &e);
	if (!kube) {
		printf("refused %d %s\n", e.code, e.text);
		return 5;
	}
	printf("open %s\n", kube_server(kube));
	if (watch_add(&loop, &in, EPOLLIN) < 0)
		return 1;
	loop_run(&loop);
	kube_close(kube);
	for (int i = 0; i < CALLS; i++)
		free(ones[i].body);
	loop_close(&loop);
	return 0;
}
