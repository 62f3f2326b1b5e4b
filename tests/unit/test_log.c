/* links: src/base/log.c src/base/util.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

/* stderr is a pipe during a test; what was written to it is read back here. */
struct capture {
	int old, in;
	char text[70000];
};
static struct capture cap;

static int redirect(void **state)
{
	int p[2];

	(void)state;
	if (pipe(p) < 0)
		return -1;
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	cap.old = dup(STDERR_FILENO);
	dup2(p[1], STDERR_FILENO);
	close(p[1]);
	cap.in = p[0];
	log_init(LOG_INFO);
	return 0;
}

static int restore(void **state)
{
	(void)state;
	dup2(cap.old, STDERR_FILENO);
	close(cap.old);
	if (cap.in >= 0)
		close(cap.in);
	return 0;
}

static const char *written(void)
{
	ssize_t n, len = 0;

	while ((n = read(cap.in, cap.text + len, sizeof cap.text - 1 - (size_t)len)) > 0)
		len += n;
	cap.text[len] = '\0';
	return cap.text;
}

static void line_is_logfmt(void **state)
{
	const char *text;

	(void)state;
	log_info("store", "%d objects in %s", 3, "DIR");
	text = written();
	assert_memory_equal(text, "time=2", 6);
	assert_int_equal(text[5 + 10], 'T');
	assert_int_equal(text[5 + 19], '.');
	assert_string_equal(text + 5 + 23, "Z level=info sub=store msg=\"3 objects in DIR\"\n");
}

static void quotes_and_control_bytes_are_escaped(void **state)
{
	(void)state;
	log_err("x", "a\"b\\c\nd\x1b[31m\x7f\xc2\x9b ok \xc3\xa9");
	assert_string_equal(strstr(written(), "msg="), "msg=\"a\\\"b\\\\c\\nd\\x1b[31m\\x7f\\xc2\x9b ok \xc3\xa9\"\n");
}

static void level_filters_and_errno_stays(void **state)
{
	enum log_level l;

	(void)state;
	log_debug("x", "not said");
	assert_string_equal(written(), "");
	assert_int_equal(log_level_parse("debug", &l), 0);
	assert_int_equal(l, LOG_DEBUG);
	assert_int_equal(log_level_parse("Debug", &l), -EINVAL);
	assert_int_equal(log_level_parse("", &l), -EINVAL);
	log_init(LOG_DEBUG);
	errno = ENOENT;
	log_debug("x", "%m");
	assert_int_equal(errno, ENOENT);
	assert_non_null(strstr(written(), strerror(ENOENT)));
}

static void long_line_is_cut_at_512_and_whole(void **state)
{
	char big[2000];
	const char *text;

	(void)state;
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	log_info("x", "%s", big);
	text = written();
	assert_int_equal(strlen(text), 512);
	assert_string_equal(text + 508, "xx\"\n");
	for (size_t i = 0; i < 1000; i++)
		memcpy(big + 2 * i, "\xc3\xa9", i < 999 ? 2 : 0);
	big[1998] = '\0';
	for (unsigned shift = 0; shift < 2; shift++) {
		log_info("x", "%s%s", shift ? "." : "", big);
		text = written();
		assert_true(strlen(text) >= 511 && strlen(text) <= 512);
		assert_memory_equal(text + strlen(text) - 4, "\xc3\xa9\"\n", 4);
	}
}

static void full_pipe_loses_lines_and_says_how_many(void **state)
{
	(void)state;
	alarm(20);		/* a write that blocks fails the test */
	for (int i = 0; i < 3000; i++)
		log_info("x", "line %d", i);
	assert_true(strlen(written()) < 70000);
	assert_null(strstr(cap.text, "dropped="));
	log_info("x", "after");
	assert_non_null(strstr(written(), " sub=x dropped="));
	log_info("x", "later");
	assert_null(strstr(written(), "dropped="));
	alarm(0);
}

static void reader_that_is_gone_kills_nobody(void **state)
{
	(void)state;
	close(cap.in);
	cap.in = -1;
	log_info("x", "to nobody");	/* SIGPIPE has its default action here */
}

static void die_says_why_and_aborts(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	log_info("x", "takes the count of what the last test lost");
	pid = fork();
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		log_die("memory", "none left");
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_non_null(strstr(written(), "level=err sub=memory msg=\"none left\"\n"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, redirect, restore)
	const struct CMUnitTest tests[] = {
		TEST(line_is_logfmt), TEST(quotes_and_control_bytes_are_escaped), TEST(level_filters_and_errno_stays),
		TEST(long_line_is_cut_at_512_and_whole), TEST(full_pipe_loses_lines_and_says_how_many),
		TEST(reader_that_is_gone_kills_nobody), TEST(die_says_why_and_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
