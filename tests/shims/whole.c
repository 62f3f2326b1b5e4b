/*
 * The program of "make link-test": it is linked with every member of the libraries,
 * and tries the checks that src/shims.c makes in glibc's stead.
 */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void *__memcpy_chk(void *to, const void *from, size_t len, size_t room);
void *__memmove_chk(void *to, const void *from, size_t len, size_t room);
void *__memset_chk(void *to, int byte, size_t len, size_t room);
int __sprintf_chk(char *to, int flag, size_t room, const char *fmt, ...);

static char to[16];

static void copy(size_t room)  { __memcpy_chk(to, "12345678", 8, room); }
static void move(size_t room)  { __memmove_chk(to, "12345678", 8, room); }
static void set(size_t room)   { __memset_chk(to, '1', 8, room); }
static void print(size_t room) { __sprintf_chk(to, 1, room, "%s", "1234567"); }

static const struct {
	const char *name;
	void (*call)(size_t room);
} shims[] = { { "memcpy", copy }, { "memmove", move }, { "memset", set }, { "sprintf", print } };

/* True if the call ended its process, which is to happen only if the room is too small. */
static bool aborts(void (*call)(size_t room), size_t room)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		call(room);
		_exit(to[0] == '1' ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	return status != 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

int main(void)
{
	int bad = 0;

	for (size_t i = 0; i < sizeof shims / sizeof *shims; i++) {
		shims[i].call(8);
		if (to[0] != '1' || aborts(shims[i].call, 8) || !aborts(shims[i].call, 7)) {
			printf("%s: the check fails\n", shims[i].name);
			bad = 1;
		}
		memset(to, 0, sizeof to);
	}
	return bad;
}
