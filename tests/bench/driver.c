/*
 * driver FOLDER PLUGIN CONF COUNT AT_ONCE PID: what a runtime does, timed.
 *
 * Makes COUNT pod namespaces in FOLDER, ADDs them (AT_ONCE at a time), DELs them, by spawning PLUGIN with
 * CONF on stdin and reading its answer.  Prints JSON: for each verb the microseconds of every call, of the
 * whole, and the CPU time of plugin and daemon (PID; 0: none).  DRIVER_STATUS: STATUS as often in between.
 * Other variables of the environment go through to the plugin.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CALLS_MAX = 1000 };

struct call {
	pid_t pid;
	int out;
	double begun, us, cpu;
	bool failed;
	char answer[4096];
};

static struct call calls[CALLS_MAX];
static struct pollfd waits[CALLS_MAX];
static const char *folder, *plugin, *daemon_pid;
static char conf[8192];
static size_t conf_len;
static int home;
/* Container ids have 64 hex digits; letters first, since stub.c takes what follows as the pod's number. */
static const char hex_letters[] = "abcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdef";

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

/* CPU time of all threads of the daemon, from the scheduler's own count in nanoseconds. */
static double daemon_cpu_us(void)
{
	char path[320];
	struct dirent *e;
	double sum = 0;
	DIR *d;

	snprintf(path, sizeof path, "/proc/%s/task", daemon_pid);
	if (!(d = opendir(path)))
		return 0;
	while ((e = readdir(d))) {
		unsigned long long ns;
		FILE *f;

		snprintf(path, sizeof path, "/proc/%s/task/%s/schedstat", daemon_pid, e->d_name);
		if (e->d_name[0] == '.' || !(f = fopen(path, "r")))
			continue;
		sum += fscanf(f, "%llu", &ns) == 1 ? ns / 1e3 : 0;
		fclose(f);
	}
	closedir(d);
	return sum;
}

static void netns_path(char *path, size_t size, int n)
{
	snprintf(path, size, "%s/pod%d", folder, n);
}

/* Linux gives a new namespace the IPv4 settings of the first one, and a node's forwards. */
static void inherit_forwarding(void)
{
	int fd = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1", 1) != 1)
		die("ip_forward");
	close(fd);
}

static void netns_new(int n)
{
	char path[256];
	int fd;

	netns_path(path, sizeof path, n);
	if ((fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600)) < 0)
		die(path);
	close(fd);
	if (unshare(CLONE_NEWNET) < 0 || mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL) < 0)
		die("namespace");
	inherit_forwarding();
	if (setns(home, CLONE_NEWNET) < 0)
		die("namespace");
}

static void netns_free(int n)
{
	char path[256];

	netns_path(path, sizeof path, n);
	umount2(path, MNT_DETACH);
	unlink(path);
}

/* The environment of a call: what a runtime sets, then what the driver was given. */
static char **environment(const char *verb, int n)
{
	static char text[6][384], *env[64];
	extern char **environ;
	int count = 0;

	snprintf(text[0], sizeof text[0], "CNI_COMMAND=%s", verb);
	snprintf(text[1], sizeof text[1], "CNI_CONTAINERID=%.54s%010d", hex_letters, n);
	snprintf(text[2], sizeof text[2], "CNI_NETNS=%s/pod%d", folder, n);
	snprintf(text[3], sizeof text[3], "CNI_IFNAME=eth0");
	snprintf(text[4], sizeof text[4], "CNI_PATH=/usr/lib/cni");
	snprintf(text[5], sizeof text[5], "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-%d", n);
	for (; count < 6; count++)
		env[count] = text[count];
	for (char **e = environ; *e && count < 63; e++)
		env[count++] = *e;
	env[count] = NULL;
	return env;
}

static void start(struct call *c, const char *verb, int n)
{
	char *argv[] = { (char *)plugin, NULL };
	posix_spawn_file_actions_t files;
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		die("pipe");
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, in[0], 0);
	posix_spawn_file_actions_adddup2(&files, out[1], 1);
	memset(c, 0, sizeof *c);
	c->begun = now_us();
	if (posix_spawn(&c->pid, plugin, &files, NULL, argv, environment(verb, n)))
		die(plugin);
	posix_spawn_file_actions_destroy(&files);
	close(in[0]);
	close(out[1]);
	if (write(in[1], conf, conf_len) != (ssize_t)conf_len)
		die("stdin");
	close(in[1]);
	c->out = out[0];
}

static double seconds(struct timeval t)
{
	return t.tv_sec * 1e6 + t.tv_usec;
}

static void finish(struct call *c)
{
	struct rusage used;
	size_t len = 0;
	ssize_t r;
	int status;

	while ((r = read(c->out, c->answer + len, sizeof c->answer - 1 - len)) > 0)
		len += r;
	close(c->out);
	wait4(c->pid, &status, 0, &used);
	c->us = now_us() - c->begun;
	c->cpu = seconds(used.ru_utime) + seconds(used.ru_stime);
	c->failed = status != 0;
	if (c->failed)
		fprintf(stderr, "%s: %s\n", plugin, c->answer);
}

static void batch(const char *verb, int first, int last)
{
	int left = last - first;

	for (int i = first; i < last; i++) {
		start(&calls[i], verb, i);
		waits[i] = (struct pollfd){ .fd = calls[i].out, .events = POLLIN };
	}
	while (left) {
		if (poll(waits + first, last - first, 30000) <= 0)
			die("a call that does not end");
		for (int i = first; i < last; i++) {
			if (waits[i].fd < 0 || !waits[i].revents)
				continue;
			finish(&calls[i]);
			waits[i].fd = -1;
			left--;
		}
	}
}

static void phase(const char *verb, int count, int at_once)
{
	double cpu = 0, daemon = daemon_cpu_us(), begun = now_us(), all;
	int failed = 0;

	for (int i = 0; i < count; i += at_once)
		batch(verb, i, i + at_once < count ? i + at_once : count);
	all = now_us() - begun;
	daemon = daemon_cpu_us() - daemon;
	printf("\"%s\": {\"us\": [", verb);
	for (int i = 0; i < count; i++) {
		printf("%s%.0f", i ? ", " : "", calls[i].us);
		cpu += calls[i].cpu;
		failed += calls[i].failed;
	}
	printf("], \"all_us\": %.0f, \"plugin_cpu_us\": %.1f, \"daemon_cpu_us\": %.1f, \"failed\": %d}", all, cpu / count,
	       daemon / count, failed);
}

int main(int argc, char **argv)
{
	int count, at_once;
	FILE *f;

	if (argc != 7)
		return 2;
	folder = argv[1];
	plugin = argv[2];
	count = strtol(argv[4], NULL, 10);
	at_once = strtol(argv[5], NULL, 10);
	daemon_pid = argv[6];
	if (count < 1 || count > CALLS_MAX || at_once < 1)
		return 2;
	if (!(f = fopen(argv[3], "r")))
		die(argv[3]);
	conf_len = fread(conf, 1, sizeof conf, f);
	fclose(f);
	home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < count; i++)
		netns_new(i);
	usleep(200000);
	printf("{");
	phase("ADD", count, at_once);
	printf(", ");
	if (getenv("DRIVER_STATUS")) {		/* with pods there */
		phase("STATUS", count, at_once);
		printf(", ");
	}
	phase("DEL", count, at_once);
	printf("}\n");
	for (int i = 0; i < count; i++)
		netns_free(i);
	return 0;
}
