/*
 * micro DIR   What the loop and the store cost by themselves: lines "what TAB nanoseconds TAB floor", medians
 * of several rounds.  The floor is the system calls alone, or 0 where there are none to compare with.  DIR is on a tmpfs
 * and has only pods.json, a list of LISTED Pods as a server gives it.
 */
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>

#define WHOLE_PROGRAM
#include "../unit/store_world.h"
#include "base/fs.h"
#include "wire/json_split.h"
#include "wire/yaml.h"

enum { ROUNDS = 9, TIMERS = 1000, FILES = 10000, LISTED = 2000, PIECE = 16384 };

static const char pod_json[] =
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-0\",\"namespace\":\"default\",\"uid\":\"a-b-c\","
	"\"labels\":{\"app\":\"web\",\"tier\":\"front\"},\"resourceVersion\":\"77\"},\"spec\":{\"nodeName\":\"edge-1\",\"containers\":"
	"[{\"name\":\"c\",\"ports\":[{\"name\":\"http\",\"containerPort\":80}]}]},\"status\":{\"phase\":\"Running\",\"podIP\":\"10.42.0.9\"}}";
static const char pod_yaml[] =
	"apiVersion: v1\nkind: Pod\nmetadata:\n  name: web-0\n  namespace: default\n  uid: a-b-c\n  labels:\n    app: web\n"
	"    tier: front\n  resourceVersion: \"77\"\nspec:\n  nodeName: edge-1\n  containers:\n  - name: c\n    ports:\n"
	"    - name: http\n      containerPort: 80\nstatus:\n  phase: Running\n  podIP: 10.42.0.9\n";

static struct loop loop;
static struct agent agent;
static struct timer timers[TIMERS], moved;
static struct watch watch;
static const char *dir;

static int64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* ---- the loop ---- */

static void on_timer(struct timer *t) { (void)t; }
static void on_deferred(struct deferred *d) { (void)d; }

static void on_event(struct watch *w, uint32_t events)
{
	uint64_t count;
	(void)events;

	if (read(w->fd, &count, sizeof count) < 0)
		abort();
}

static void wake(void)
{
	static const uint64_t one = 1;

	if (write(watch.fd, &one, sizeof one) < 0)
		abort();
}

static void wait_nothing(void)
{
	struct epoll_event ready[32];

	epoll_wait(loop.epoll, ready, 32, 0);
}

static void event_bare(void)
{
	wake();
	wait_nothing();
	on_event(&watch, 0);
}

static void turn_idle(void) { loop_turn(&loop, 0); }
static void event(void) { wake(); loop_turn(&loop, 0); }
static void timer_move(void) { timer_set(&loop, &moved, 3600 * 1000 + TIMERS / 2); }

static void deferred(void)
{
	static struct deferred d = { .fn = on_deferred };

	loop_defer(&loop, &d);
	loop_turn(&loop, 0);
}

/* ---- the store ---- */

static void on_object(void *ctx, struct store_object *o)
{
	(void)ctx;
	if (!o->row)
		abort();
}

static void read_json(void) { store_read_text(TEXT_JSON, pod_json, sizeof pod_json - 1, on_object, NULL, NULL); }
static void read_yaml(void) { store_read_text(TEXT_YAML, pod_yaml, sizeof pod_yaml - 1, on_object, NULL, NULL); }

/* ---- a server's list: from its bytes to rows ---- */

static struct str list;
static unsigned listed;

static void on_pod(void *ctx, const struct json *j, const char *wrong)
{
	struct object_ref ref;
	struct err e = { 0 };

	(void)ctx;
	row_free(wrong ? NULL : kind_decode_as(j, 0, kind_named("Pod"), &ref, &e));
	listed += !wrong && !e.code;
}

static void read_list(void)
{
	struct json_split s;

	listed = 0;
	json_split_init(&s, true, on_pod, NULL);
	s.ballast = kind_named("Pod")->ballast;
	for (size_t at = 0; at < list.len; at += PIECE)
		json_split_feed(&s, list.s + at, list.len - at < PIECE ? list.len - at : PIECE);
	if (!json_split_end(&s) || listed != LISTED)
		abort();
	json_split_free(&s);
}

static void list_load(void)
{
	char path[300];

	snprintf(path, sizeof path, "%s/pods.json", dir);
	if (fs_read(AT_FDCWD, path, 64 << 20, &list) < 0)
		abort();
}

static void find(void)
{
	if (!table_find(&agent.model.handles, "h"))
		abort();
}

static void put(void)
{
	static unsigned count;
	const struct handle *h = handle_of(&agent, "h");

	if (put_handle(&agent, "h", ++count, h ? h->meta.version : 0) < 0)
		abort();
}

static void put_bare(void)
{
	char from[300], to[300];
	int fd;

	snprintf(from, sizeof from, "%s/bare.tmp", dir);
	snprintf(to, sizeof to, "%s/bare", dir);
	fd = open(from, O_CREAT | O_WRONLY | O_TRUNC, 0600);
	if (fd < 0 || write(fd, pod_json, 300) < 0 || close(fd) < 0 || rename(from, to) < 0)
		abort();
}

/* Ten thousand files of one object each, read by an agent that starts. */
static void start(void)
{
	struct agent *a = xcalloc(1, sizeof *a);
	struct err e = { 0 };
	char path[300];

	snprintf(path, sizeof path, "%s/many", dir);
	if (agent_start(a, path, &e) < 0 || a->model.namespaces.count != FILES)
		abort();
	agent_stop(a);
	free(a);
}

static void many_files(void)
{
	char path[300];

	snprintf(path, sizeof path, "%s/many", dir);
	mkdir(path, 0700);
	for (int i = 0; i < FILES; i++) {
		FILE *f;

		snprintf(path, sizeof path, "%s/many/n%d.json", dir, i);
		if (!(f = fopen(path, "w")))
			abort();
		fprintf(f, "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"n%d\"}}", i);
		fclose(f);
	}
}

/* ---- ---- */

static int by_value(const void *a, const void *b)
{
	return *(const int64_t *)a < *(const int64_t *)b ? -1 : *(const int64_t *)a > *(const int64_t *)b;
}

/* Nanoseconds of one call. */
static int64_t median(void (*fn)(void), unsigned times)
{
	int64_t took[ROUNDS];

	for (int r = 0; r < ROUNDS; r++) {
		int64_t from = clock_ns();

		for (unsigned i = 0; i < times; i++)
			fn();
		took[r] = (clock_ns() - from) / times;
	}
	qsort(took, ROUNDS, sizeof *took, by_value);
	return took[ROUNDS / 2];
}

static void prepare(void)
{
	struct err e = { 0 };
	char path[300];

	snprintf(path, sizeof path, "%s/store", dir);
	watch = (struct watch){ .fd = eventfd(0, EFD_CLOEXEC), .fn = on_event };
	moved.fn = on_timer;
	if (loop_open(&loop) < 0 || watch_add(&loop, &watch, EPOLLIN) < 0 || agent_start(&agent, path, &e) < 0)
		abort();
	for (int i = 0; i < TIMERS; i++) {
		timers[i].fn = on_timer;
		timer_set(&loop, &timers[i], 3600 * 1000 + i);
	}
	many_files();
	put();
}

int main(int argc, char **argv)
{
	static const struct { const char *what; void (*fn)(void), (*floor)(void); unsigned times; } rows[] = {
		{ "loop: a turn without work", turn_idle, wait_nothing, 20000 },
		{ "loop: an event and its handler", event, event_bare, 20000 },
		{ "loop: a deferred call and its turn", deferred, wait_nothing, 20000 },
		{ "loop: a timer moved, 1000 others set", timer_move, NULL, 2000 },
		{ "store: a Pod read, JSON", read_json, NULL, 5000 },
		{ "store: a Pod read, YAML", read_yaml, NULL, 2000 },
		{ "store: a server's list of 2000 Pods, 4.5 kB each", read_list, NULL, 1 },
		{ "store: a row found by its key", find, NULL, 100000 },
		{ "store: compare-and-swap of a file", put, put_bare, 500 },
		{ "store: start with 10000 files", start, NULL, 1 },
	};

	if (argc != 2)
		return 2;
	dir = argv[1];
	prepare();
	list_load();
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		printf("%s\t%lld\t%lld\n", rows[i].what, (long long)median(rows[i].fn, rows[i].times),
		       rows[i].floor ? (long long)median(rows[i].floor, rows[i].times) : 0LL);
	return 0;
}
