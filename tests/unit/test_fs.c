/* links: src/base/fs.c src/base/str.c src/base/util.c src/base/log.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/util.h"

static char home[64];		/* a folder of the test's own, and the working directory meanwhile */

static int enter(void **state)
{
	(void)state;
	snprintf(home, sizeof home, "/tmp/test_fs.XXXXXX");
	return mkdtemp(home) && chdir(home) == 0 ? 0 : -1;
}

/* Removes what is in the folder, two levels deep, and the folder. */
static int leave(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof command, "rm -rf %s", home);
	return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static unsigned entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void replace_then_read(void **state)
{
	autostr struct str b = { 0 };
	struct stat st;

	(void)state;
	umask(077);
	assert_int_equal(fs_replace(AT_FDCWD, "a.json", "one", 3, 0644), 0);
	assert_int_equal(fs_read(AT_FDCWD, "a.json", 100, &b), 0);
	assert_string_equal(str_text(&b), "one");
	assert_int_equal(stat("a.json", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(fs_replace(AT_FDCWD, "a.json", "", 0, 0600), 0);
	assert_int_equal(fs_read(AT_FDCWD, "a.json", 100, &b), 0);
	assert_string_equal(str_text(&b), "");
	assert_int_equal(entries("."), 1);
}

static void replace_beside_a_path_and_by_descriptor(void **state)
{
	autoclose int dir = -1;
	autostr struct str b = { 0 };
	char big[20000];

	(void)state;
	assert_int_equal(fs_mkdirs("x/y/", 0755), 0);
	dir = open("x", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	memset(big, 'b', sizeof big);
	assert_int_equal(fs_replace(dir, "y/big", big, sizeof big, 0644), 0);
	assert_int_equal(fs_read(AT_FDCWD, "x/y/big", sizeof big, &b), 0);
	assert_int_equal(b.len, sizeof big);
	assert_int_equal(fs_read(dir, "y/big", sizeof big - 1, &b), -EFBIG);
	assert_int_equal(entries("x/y"), 1);
	assert_int_equal(fs_replace(AT_FDCWD, "none/a", "", 0, 0644), -ENOENT);
	assert_int_equal(fs_replace(AT_FDCWD, "x/", "", 0, 0644), -ENAMETOOLONG);
}

static void replace_replaces_a_link_not_its_target(void **state)
{
	autostr struct str b = { 0 };
	struct stat st;

	(void)state;
	assert_int_equal(fs_replace(AT_FDCWD, "target", "safe", 4, 0644), 0);
	assert_int_equal(symlink("target", "link"), 0);
	assert_int_equal(fs_replace(AT_FDCWD, "link", "new", 3, 0644), 0);
	assert_int_equal(lstat("link", &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(fs_read(AT_FDCWD, "target", 100, &b), 0);
	assert_string_equal(str_text(&b), "safe");
}

/* A predecessor with our pid was killed in the middle; or someone put a link where the temporary file goes. */
static void leftover_temporary_file_is_in_nobodys_way(void **state)
{
	autostr struct str b = { 0 };
	char temp[64];

	(void)state;
	snprintf(temp, sizeof temp, ".a.%ld.tmp", (long)getpid());
	assert_int_equal(symlink("elsewhere", temp), 0);
	assert_int_equal(fs_replace(AT_FDCWD, "a", "data", 4, 0644), 0);
	assert_int_equal(fs_read(AT_FDCWD, "a", 100, &b), 0);
	assert_string_equal(str_text(&b), "data");
	assert_int_equal(access("elsewhere", F_OK), -1);
	assert_int_equal(entries("."), 1);
}

static void failed_replace_keeps_the_old_and_no_rubbish(void **state)
{
	struct rlimit old, small = { 1000, 0 };
	autostr struct str b = { 0 };
	char big[5000] = "";
	int rc;

	(void)state;
	assert_int_equal(fs_replace(AT_FDCWD, "a", "old", 3, 0644), 0);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &small);	/* a short write, then EFBIG */
	rc = fs_replace(AT_FDCWD, "a", big, sizeof big, 0644);
	setrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(rc, -EFBIG);
	assert_int_equal(fs_read(AT_FDCWD, "a", 100, &b), 0);
	assert_string_equal(str_text(&b), "old");
	assert_int_equal(mkdir("dir", 0755), 0);
	assert_int_equal(fs_replace(AT_FDCWD, "dir", "x", 1, 0644), -EISDIR);
	assert_int_equal(entries("."), 2);
}

static void read_takes_regular_files_only(void **state)
{
	autostr struct str b = { 0 };

	(void)state;
	assert_int_equal(fs_read(AT_FDCWD, "none", 10, &b), -ENOENT);
	assert_int_equal(fs_read(AT_FDCWD, ".", 10, &b), -EISDIR);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	alarm(10);
	assert_int_equal(fs_read(AT_FDCWD, "fifo", 10, &b), -EINVAL);
	alarm(0);
	assert_int_equal(fs_read(AT_FDCWD, "/proc/self/stat", 4096, &b), 0);
	assert_true(b.len > 10);
}

static void read_fd_takes_a_pipe(void **state)
{
	autostr struct str b = { 0 };
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], "hello", 5), 5);
	close(p[1]);
	assert_int_equal(fs_read_fd(p[0], 5, &b), 0);
	assert_string_equal(str_text(&b), "hello");
	close(p[0]);
}

static void mkdirs_is_repeatable(void **state)
{
	char deep[] = "a/b/c";
	char absolute[128];

	(void)state;
	assert_int_equal(fs_mkdirs(deep, 0755), 0);
	assert_int_equal(fs_mkdirs(deep, 0755), 0);
	snprintf(absolute, sizeof absolute, "%s/d//e", home);
	assert_int_equal(fs_mkdirs(absolute, 0755), 0);
	assert_int_equal(entries("d"), 1);
	assert_int_equal(fs_replace(AT_FDCWD, "file", "", 0, 0644), 0);
	assert_int_equal(fs_mkdirs("file", 0755), -ENOTDIR);
	assert_int_equal(fs_mkdirs("file/x", 0755), -ENOTDIR);
	assert_int_equal(fs_mkdirs("", 0755), -ENOENT);
	assert_int_equal(fs_mkdirs("/proc/no/such", 0755), -ENOENT);
}

static void sysctl_writes_only_what_differs(void **state)
{
	struct stat before, after;
	autostr struct str b = { 0 };

	(void)state;
	assert_int_equal(fs_replace(AT_FDCWD, "ip_forward", "1\n", 2, 0644), 0);
	assert_int_equal(stat("ip_forward", &before), 0);
	assert_int_equal(fs_sysctl("ip_forward", "1"), 0);
	assert_int_equal(fs_read(AT_FDCWD, "ip_forward", 10, &b), 0);
	assert_string_equal(str_text(&b), "1\n");
	assert_int_equal(fs_sysctl("ip_forward", "0"), 1);
	assert_int_equal(fs_read(AT_FDCWD, "ip_forward", 10, &b), 0);
	assert_string_equal(str_text(&b), "0\n");
	assert_int_equal(stat("ip_forward", &after), 0);
	assert_true(before.st_ino == after.st_ino);
	assert_int_equal(fs_sysctl("none", "1"), -ENOENT);
}

static void lock_is_tried_not_waited_for(void **state)
{
	autoclose int a = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600), b = open("lock", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(fs_trylock(a), 0);
	assert_int_equal(fs_trylock(b), -EWOULDBLOCK);
	close(keep_fd(&a));
	assert_int_equal(fs_trylock(b), 0);
}

static void remove_takes_folders_as_deep_as_it_is_told(void **state)
{
	(void)state;
	assert_int_equal(fs_mkdirs("kept", 0755), 0);
	assert_int_equal(fs_write(AT_FDCWD, "kept/file", "x", 1, 0644), 0);
	assert_int_equal(fs_mkdirs("top/a/b", 0755), 0);
	assert_int_equal(fs_write(AT_FDCWD, "top/a/b/file", "x", 1, 0644), 0);
	assert_int_equal(symlink("../kept", "top/link"), 0);
	assert_true(fs_remove("top", 2) < 0);
	assert_int_equal(access("top/a/b/file", F_OK), 0);
	assert_int_equal(fs_remove("top", 3), 0);
	assert_int_equal(access("top", F_OK), -1);
	assert_int_equal(access("kept/file", F_OK), 0);
	assert_int_equal(fs_remove("kept/file", 0), 0);
	assert_int_equal(fs_remove("kept/file", 0), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)
	const struct CMUnitTest tests[] = {
		TEST(replace_then_read), TEST(replace_beside_a_path_and_by_descriptor),
		TEST(replace_replaces_a_link_not_its_target), TEST(leftover_temporary_file_is_in_nobodys_way),
		TEST(failed_replace_keeps_the_old_and_no_rubbish), TEST(read_takes_regular_files_only),
		TEST(read_fd_takes_a_pipe), TEST(mkdirs_is_repeatable), TEST(sysctl_writes_only_what_differs),
		TEST(lock_is_tried_not_waited_for), TEST(remove_takes_folders_as_deep_as_it_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
