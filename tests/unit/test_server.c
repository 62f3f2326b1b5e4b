/* links: src/base/server.c src/base/loop.c src/base/log.c src/base/str.c src/base/err.c src/base/util.c src/base/prefix.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/server.h"
#include "base/util.h"

enum { CLIENTS = 8, LIMIT = 100 };

static char dir[] = "/tmp/server-XXXXXX", path[64];
static struct loop loop;
static struct server server;
static unsigned served;

static void on_request(void *ctx, struct conn *c)
{
	(void)ctx;
	served++;
	conn_answer(c, 0, c->payload.s, c->payload.len);
}

static int setup(void **state)
{
	struct err e = { 0 };

	(void)state;
	strcpy(dir + sizeof dir - 7, "XXXXXX");
	if (!mkdtemp(dir) || loop_open(&loop) < 0)
		return -1;
	snprintf(path, sizeof path, "%s/sock", dir);
	served = 0;
	return server_open(&server, &loop, path, on_request, NULL, &e);
}

static int teardown(void **state)
{
	(void)state;
	server_close(&server);
	loop_close(&loop);
	return rmdir(dir);
}

/* The server answers nobody else. */
static void needs_root(void)
{
	if (geteuid() != 0)
		skip();
}

static int client(void)
{
	int fd = frame_connect(path, 0);

	assert_true(fd >= 0);
	assert_int_equal(frame_send(fd, FRAME_CTL, "hello", 5, NULL, 0), 0);
	return fd;
}

static void check_answer(int fd)
{
	autostr struct str answer = { 0 };
	uint8_t status;

	assert_int_equal(frame_answer(fd, 1000, &status, &answer), 0);
	assert_string_equal(answer.s, "hello");
	close(fd);
}

static void test_requests_are_answered(void **state)
{
	int fds[CLIENTS];

	(void)state;
	needs_root();
	for (int i = 0; i < CLIENTS; i++)
		fds[i] = client();
	for (uint64_t until = now_ms() + 2000; served < CLIENTS && now_ms() < until; )
		loop_turn(&loop, 20);
	for (int i = 0; i < CLIENTS; i++)
		check_answer(fds[i]);
	assert_int_equal(server.count, 0);
}

/* Turns that the loop makes in that time: a loop that sleeps makes few. */
static unsigned turns_in(unsigned ms)
{
	unsigned turns = 0;

	for (uint64_t until = now_ms() + ms; now_ms() < until; turns++)
		loop_turn(&loop, 50);
	return turns;
}

static void test_no_descriptor_left_is_waited_out(void **state)
{
	struct rlimit before, small = { .rlim_cur = LIMIT };
	int fds[CLIENTS], taken[LIMIT], count = 0;

	(void)state;
	needs_root();
	for (int i = 0; i < CLIENTS; i++)
		fds[i] = client();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	small.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
	while (count < LIMIT && (taken[count] = open("/dev/null", O_RDONLY)) >= 0)
		count++;
	assert_int_equal(errno, EMFILE);
	assert_true(turns_in(500) < 30);
	assert_int_equal(served, 0);
	close(taken[--count]);		/* one by one is enough for all of them */
	for (uint64_t until = now_ms() + 3000; served < CLIENTS && now_ms() < until; )
		loop_turn(&loop, 50);
	assert_int_equal(served, CLIENTS);
	while (count)
		close(taken[--count]);
	setrlimit(RLIMIT_NOFILE, &before);
	for (int i = 0; i < CLIENTS; i++)
		check_answer(fds[i]);
}

static void test_connection_that_ends_makes_room_at_once(void **state)
{
	struct rlimit before, small = { .rlim_cur = LIMIT };
	int first, second, taken[LIMIT], count = 0;
	uint64_t begun;

	(void)state;
	needs_root();
	first = frame_connect(path, 0);		/* says nothing yet */
	loop_turn(&loop, 50);
	assert_int_equal(server.count, 1);
	second = client();
	getrlimit(RLIMIT_NOFILE, &before);
	small.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_NOFILE, &small);
	while (count < LIMIT && (taken[count] = open("/dev/null", O_RDONLY)) >= 0)
		count++;
	loop_turn(&loop, 50);
	assert_int_equal(served, 0);
	begun = now_ms();
	close(first);
	for (int i = 0; i < 10 && !served; i++)
		loop_turn(&loop, 50);
	assert_int_equal(served, 1);
	assert_true(now_ms() - begun < 150);
	while (count)
		close(taken[--count]);
	setrlimit(RLIMIT_NOFILE, &before);
	check_answer(second);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_requests_are_answered),
		T(test_no_descriptor_left_is_waited_out),
		T(test_connection_that_ends_makes_room_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
