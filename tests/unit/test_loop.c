/* links: src/base/loop.c src/base/util.c src/base/log.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/util.h"

/* What happened, a letter each. */
static char seen[64];
static struct loop loop;

static void note(char c)
{
	size_t len = strlen(seen);

	if (len + 1 < sizeof seen)
		seen[len] = c;
}

static int open_loop(void **state)
{
	(void)state;
	memset(seen, 0, sizeof seen);
	alarm(20);		/* what waits for ever fails */
	return loop_open(&loop);
}

static int close_loop(void **state)
{
	(void)state;
	alarm(0);
	loop_close(&loop);
	return 0;
}

struct named_timer { struct timer timer; char name; };

static void on_timer(struct timer *t)
{
	note(container_of(t, struct named_timer, timer)->name);
}

static void timers_run_in_order_once(void **state)
{
	struct named_timer t[4] = { { { .fn = on_timer }, 'a' }, { { .fn = on_timer }, 'b' },
				    { { .fn = on_timer }, 'c' }, { { .fn = on_timer }, 'd' } };
	uint64_t start = now_ms();

	(void)state;
	timer_set(&loop, &t[0].timer, 30);
	timer_set(&loop, &t[1].timer, 10);
	timer_set(&loop, &t[2].timer, 10);
	timer_set(&loop, &t[3].timer, 1000000);
	timer_set(&loop, &t[3].timer, 1);
	timer_set(&loop, &t[0].timer, 20);
	while (strlen(seen) < 4)
		assert_int_equal(loop_turn(&loop, 50), 0);
	assert_string_equal(seen, "dbca");
	assert_true(now_ms() - start >= 20);
	assert_false(t[0].timer.on);
	timer_set(&loop, &t[0].timer, 0);
	timer_del(&loop, &t[0].timer);
	timer_del(&loop, &t[0].timer);
	loop_turn(&loop, 0);
	assert_string_equal(seen, "dbca");
}

/* A timer that sets itself to 0 must not keep the turn. */
static void on_again(struct timer *t)
{
	note('t');
	timer_set(&loop, t, 0);
}

static void timer_set_to_now_lets_the_turn_go_on(void **state)
{
	struct timer t = { .fn = on_again };

	(void)state;
	timer_set(&loop, &t, 0);
	for (int i = 0; i < 3; i++)
		loop_turn(&loop, -1);
	assert_true(strlen(seen) >= 3);
	timer_del(&loop, &t);
}

static struct timer armed_by_pass = { .fn = NULL };
static struct deferred deferred_by_pass;

static void on_pass(void *ctx)
{
	(void)ctx;
	note('p');
}

static void on_deferred(struct deferred *d)
{
	(void)d;
	note('d');
}

static void on_armed(struct timer *t)
{
	(void)t;
	note('t');
	loop.stop = true;
}

static void on_arming_pass(void *ctx)
{
	(void)ctx;
	note('p');
	if (strlen(seen) == 1) {
		loop_defer(&loop, &deferred_by_pass);
		loop_defer(&loop, &deferred_by_pass);
		armed_by_pass.fn = on_armed;
		timer_set(&loop, &armed_by_pass, 5);
	}
}

/* pass, what it deferred, pass again, the wait for the timer that it set, the timer. */
static void pass_repeats_until_nothing_is_deferred(void **state)
{
	(void)state;
	deferred_by_pass.fn = on_deferred;
	loop.pass = on_arming_pass;
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(seen, "pdptp");
}

static void on_endless(struct deferred *d)
{
	loop_defer(&loop, d);
}

static void endless_deferral_leaves_the_turn(void **state)
{
	struct deferred d = { .fn = on_endless };

	(void)state;
	loop_defer(&loop, &d);
	assert_int_equal(loop_turn(&loop, -1), 0);
	assert_true(d.on);
	deferred_del(&loop, &d);
	assert_null(loop.deferred);
}

static void deferred_can_be_taken_back(void **state)
{
	struct deferred a = { .fn = on_deferred }, b = { .fn = on_deferred }, c = { .fn = on_deferred };

	(void)state;
	loop_defer(&loop, &a);
	loop_defer(&loop, &b);
	deferred_del(&loop, &b);
	deferred_del(&loop, &b);
	loop_defer(&loop, &c);
	loop_turn(&loop, 0);
	assert_string_equal(seen, "dd");
	loop_defer(&loop, &b);
	loop_turn(&loop, 0);
	assert_string_equal(seen, "ddd");
}

struct pipe_watch { struct watch watch; int in; struct watch *kills; };

static void on_readable(struct watch *w, uint32_t events)
{
	struct pipe_watch *p = container_of(w, struct pipe_watch, watch);

	assert_true(events & EPOLLIN);
	note('r');
	if (p->kills)
		watch_del(&loop, p->kills);
}

static void pipe_open(struct pipe_watch *p)
{
	int fd[2];

	assert_int_equal(pipe(fd), 0);
	*p = (struct pipe_watch){ .watch = { .fd = fd[0], .fn = on_readable }, .in = fd[1] };
	assert_int_equal(write(fd[1], "x", 1), 1);
	assert_int_equal(watch_add(&loop, &p->watch, EPOLLIN), 0);
}

static void pipe_close(struct pipe_watch *p)
{
	watch_del(&loop, &p->watch);
	watch_del(&loop, &p->watch);
	close(p->watch.fd);
	close(p->in);
}

/* Both are ready in one turn and each deletes the other: exactly one is called. */
static void deleted_watch_is_not_called_back(void **state)
{
	struct pipe_watch a, b;

	(void)state;
	pipe_open(&a);
	pipe_open(&b);
	a.kills = &b.watch;
	b.kills = &a.watch;
	loop_turn(&loop, 1000);
	assert_string_equal(seen, "r");
	assert_int_equal(a.watch.on + b.watch.on, 1);
	pipe_close(&a);
	pipe_close(&b);
	loop_turn(&loop, 0);
	assert_string_equal(seen, "r");
}

static void pass_runs_before_the_wait_and_handlers_after(void **state)
{
	struct pipe_watch a;

	(void)state;
	loop.pass = on_pass;
	pipe_open(&a);
	loop_turn(&loop, 1000);
	assert_string_equal(seen, "pr");
	assert_int_equal(watch_change(&loop, &a.watch, 0), 0);
	loop_turn(&loop, 0);
	assert_string_equal(seen, "prp");
	pipe_close(&a);
}

static void errors_come_back(void **state)
{
	struct watch w = { .fd = -1, .fn = on_readable };

	(void)state;
	assert_int_equal(watch_add(&loop, &w, EPOLLIN), -EBADF);
	assert_false(w.on);
}

static void on_sig(void *ctx, int signo)
{
	assert_ptr_equal(ctx, seen);
	note(signo == SIGUSR1 ? '1' : '2');
	if (signo == SIGUSR2)
		loop.stop = true;
}

static void signals_arrive_as_calls(void **state)
{
	static const int signos[] = { SIGUSR1, SIGUSR2, 0 };

	(void)state;
	assert_int_equal(loop_signals(&loop, signos, on_sig, seen), 0);
	kill(getpid(), SIGUSR1);
	loop_turn(&loop, 1000);
	kill(getpid(), SIGUSR2);
	loop_run(&loop);
	assert_string_equal(seen, "12");
}

static void on_alrm(int signo)
{
	(void)signo;
	note('i');
}

static void interrupted_wait_is_no_error(void **state)
{
	struct sigaction sa = { .sa_handler = on_alrm }, old;

	(void)state;
	sigaction(SIGALRM, &sa, &old);
	alarm(1);
	assert_int_equal(loop_turn(&loop, 5000), 0);
	assert_string_equal(seen, "i");
	sigaction(SIGALRM, &old, NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_loop, close_loop)
	const struct CMUnitTest tests[] = {
		TEST(timers_run_in_order_once), TEST(timer_set_to_now_lets_the_turn_go_on),
		TEST(pass_repeats_until_nothing_is_deferred), TEST(endless_deferral_leaves_the_turn),
		TEST(deferred_can_be_taken_back), TEST(deleted_watch_is_not_called_back),
		TEST(pass_runs_before_the_wait_and_handlers_after), TEST(errors_come_back),
		TEST(signals_arrive_as_calls), TEST(interrupted_wait_is_no_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
