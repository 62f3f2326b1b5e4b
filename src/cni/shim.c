/*
 * What the runtime executes.  It needs no credentials and makes no API call:
 *
 *   read stdin, check what can be checked without an agent
 *   connect to the agent (ADD waits 10 s for it; DEL leaves a note for it)
 *   enter the pod's namespace, set its sysctls, open an rtnetlink socket there
 *   send environment, stdin and both descriptors; print what comes back
 *
 * It does not come back from the namespace: unix sockets have names in the file
 * system, which is the same on both sides.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/fs.h"
#include "base/util.h"
#include "cni/cni_int.h"

enum { STDIN_MAX = 1 << 20 };

extern char **environ;

struct shim {
	struct str conf;		/* stdin */
	struct str payload;
	struct json json;
	struct arena mem;
	const char *command, *version, *socket;
};

/* The error as JSON on stdout, one line on stderr. */
static int shim_fail(const struct shim *s, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int shim_fail(const struct shim *s, int code, const char *fmt, ...)
{
	autostr struct str out = { 0 };
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	result_error(&out, s->version, code, text);
	fputs(out.s, stdout);
	fprintf(stderr, "manx: %s\n", text);
	return 1;
}

static int read_stdin(struct str *to)
{
	char chunk[2048];	/* a configuration fits; more stack would be more pages to touch */
	ssize_t n;

	while ((n = read(STDIN_FILENO, chunk, sizeof chunk)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		str_add(to, chunk, n);
		if (to->len > STDIN_MAX)
			return -EFBIG;
	}
	return 0;
}

/* Every variable that the verb needs and does not have, in one message. */
static bool env_missing(const char *command, struct str *missing)
{
	static const struct { const char *name, *verbs; } needs[] = {
		{ "CNI_CONTAINERID", "ADD DEL CHECK" }, { "CNI_NETNS", "ADD CHECK" },
		{ "CNI_IFNAME", "ADD DEL CHECK" }, { "CNI_PATH", "ADD DEL CHECK GC STATUS" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
		const char *value = getenv(needs[i].name);

		if (strstr(needs[i].verbs, command) && (!value || !*value))
			str_printf(missing, "%s%s", missing->len ? ", " : "", needs[i].name);
	}
	return missing->len;
}

/* 0, or a printed failure's exit code. */
static int read_conf(struct shim *s)
{
	struct err e = { 0 };
	int rc = read_stdin(&s->conf);

	if (rc < 0)
		return shim_fail(s, CNI_IO, "stdin: %s", strerror(-rc));
	if (json_parse(&s->json, str_text(&s->conf), s->conf.len, &e) < 0)
		return shim_fail(s, CNI_DECODE, "network configuration: %s", e.text);
	if (json_type(&s->json, 0) != JSON_OBJECT)
		return shim_fail(s, CNI_DECODE, "network configuration: want an object");
	s->version = json_string(&s->json, json_get(&s->json, 0, "cniVersion"), &s->mem);
	s->socket = json_string(&s->json, json_get(&s->json, 0, "socket"), &s->mem);
	if (!s->socket)
		s->socket = CNI_DEFAULT_SOCKET;
	if (!s->version)
		return shim_fail(s, CNI_VERSION, "network configuration has no cniVersion");
	if (!cni_version_known(s->version))
		return shim_fail(s, CNI_VERSION, "cniVersion %s is not supported (0.3.1, 0.4.0, 1.0.0 and 1.1.0 are)",
				 s->version);
	return 0;
}

/* A descriptor of a network namespace, or a printed failure (negative). */
static int netns_open(const struct shim *s, const char *path)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct statfs fs;

	if (fd < 0) {
		shim_fail(s, CNI_NETNS, "CNI_NETNS %s: %s", path, strerror(errno));
		return -1;
	}
	if (fstatfs(fd, &fs) < 0 || fs.f_type != NSFS_MAGIC || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET) {
		shim_fail(s, CNI_NETNS, "CNI_NETNS %s: not a network namespace", path);
		return -1;
	}
	return keep_fd(&fd);
}

/* agent: a socket of the node's own namespace. */
static bool is_own_netns(int netns, int agent)
{
	autoclose int own = ioctl(agent, SIOCGSKNS);
	struct stat there, here;

	return own >= 0 && fstat(netns, &there) == 0 && fstat(own, &here) == 0 && there.st_dev == here.st_dev &&
	       there.st_ino == here.st_ino;
}

static bool may_be_own(void)
{
	const char *override = getenv("CNI_NETNS_OVERRIDE");

	return override && (strcmp(override, "1") == 0 || strcmp(override, "true") == 0);
}

/* The node forwards IPv6 when it has pods with IPv6 addresses. */
static bool node_serves_ipv6(void)
{
	autostr struct str text = { 0 };

	return fs_read(AT_FDCWD, "/proc/sys/net/ipv6/conf/all/forwarding", 16, &text) == 0 && str_text(&text)[0] != '0';
}

/*
 * The pod's own settings, which its link will inherit: IPv6 on, no router
 * advertisements; forwarding on, which service load balancers in pods rely on
 * (what a pod forwards must still pass the anti-spoofing of its own link).
 */
static void pod_sysctls(bool ipv6)
{
	static const struct { const char *path, *value; bool ipv6; } wanted[] = {
		{ "/proc/sys/net/ipv6/conf/default/disable_ipv6", "0", true },
		{ "/proc/sys/net/ipv6/conf/default/accept_ra", "0", true },
		{ "/proc/sys/net/ipv4/ip_forward", "1", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (ipv6 || !wanted[i].ipv6)
			fs_sysctl(wanted[i].path, wanted[i].value);
}

/* fds: an rtnetlink socket inside the namespace, and the namespace.  0, or a printed failure's exit code. */
static int enter_netns(const struct shim *s, int agent, int fds[FRAME_FDS])
{
	const char *path = getenv("CNI_NETNS");
	bool ipv6 = node_serves_ipv6();

	if ((fds[1] = netns_open(s, path)) < 0)
		return 1;
	if (is_own_netns(fds[1], agent) && !may_be_own())
		return shim_fail(s, CNI_NETNS, "CNI_NETNS %s: this is the node's own namespace", path);
	if (setns(fds[1], CLONE_NEWNET) < 0)
		return shim_fail(s, CNI_NETNS, "CNI_NETNS %s: cannot enter: %s", path, strerror(errno));
	pod_sysctls(ipv6);
	fds[0] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fds[0] < 0)
		return shim_fail(s, CNI_KERNEL, "CNI_NETNS %s: rtnetlink socket: %s", path, strerror(errno));
	return 0;
}

/* CNI_* of the environment, each terminated, an empty one, then stdin. */
static void make_payload(struct shim *s)
{
	for (char **e = environ; *e; e++)
		if (str_prefix(*e, "CNI_"))
			str_add(&s->payload, *e, strlen(*e) + 1);
	str_add(&s->payload, "", 1);
	str_add(&s->payload, str_text(&s->conf), s->conf.len);
}

/* An agent that has come meanwhile may have read its notes already: it is asked, and the note goes. */
static int hand_over(struct shim *s, const char *note)
{
	autoclose int fd = frame_connect(s->socket, 0);
	autostr struct str answer = { 0 };
	uint8_t status;

	if (fd >= 0 && frame_send(fd, FRAME_CNI, s->payload.s, s->payload.len, NULL, 0) == 0 &&
	    frame_answer(fd, CNI_SHIM_MS, &status, &answer) == 0 && status == 0)
		unlink(note);
	return 0;
}

/* DEL without an agent: a note beside its socket, which it follows when it starts. */
static int leave_note(struct shim *s)
{
	const char *slash = strrchr(s->socket, '/'), *container = getenv("CNI_CONTAINERID"), *ifname = getenv("CNI_IFNAME");
	char dir[CONFIG_PATH_MAX + 8], path[512];
	int rc;

	if (!slash || !cni_name_valid(container) || !cni_ifname_valid(ifname))
		return shim_fail(s, CNI_ENVIRONMENT, "CNI_CONTAINERID or CNI_IFNAME is not valid");
	snprintf(dir, sizeof dir, "%.*s/del", (int)(slash - s->socket), s->socket);
	snprintf(path, sizeof path, "%s/%s@%s", dir, container, ifname);
	if ((rc = fs_mkdirs(dir, 0700)) < 0 || (rc = fs_replace(AT_FDCWD, path, s->payload.s, s->payload.len, 0600)) < 0)
		return shim_fail(s, CNI_TRY_LATER, "no agent on %s, and its note %s cannot be written: %s", s->socket, path,
				 strerror(-rc));
	return hand_over(s, path);
}

/* The agent's error, as a line for the runtime's log. */
static void say_error(struct shim *s, const struct str *answer)
{
	struct json j;

	if (json_parse(&j, str_text(answer), answer->len, NULL) < 0)
		return;
	const char *text = json_string(&j, json_get(&j, 0, "msg"), &s->mem);

	fprintf(stderr, "manx: %s\n", text ? text : "failed");
	json_free(&j);
}

static int ask_agent(struct shim *s)
{
	const bool add = strcmp(s->command, "ADD") == 0, del = strcmp(s->command, "DEL") == 0;
	autoclose int fd = frame_connect(s->socket, add ? CNI_CONNECT_MS : 0);
	autostr struct str answer = { 0 };
	int fds[FRAME_FDS] = { -1, -1 }, rc;
	uint8_t status;

	make_payload(s);
	if (fd < 0 && del)
		return leave_note(s);
	if (fd < 0)
		return shim_fail(s, add ? CNI_TRY_LATER : CNI_UNAVAILABLE, "no agent on %s: %s", s->socket, strerror(-fd));
	if (add && (rc = enter_netns(s, fd, fds)) != 0)
		return rc;
	rc = frame_send(fd, FRAME_CNI, s->payload.s, s->payload.len, fds, add ? FRAME_FDS : 0);
	if (rc == 0)
		rc = frame_answer(fd, CNI_SHIM_MS, &status, &answer);
	if (rc < 0 && del)
		return leave_note(s);
	if (rc < 0)
		return shim_fail(s, CNI_TRY_LATER, "agent on %s: %s", s->socket, strerror(-rc));
	if (write(STDOUT_FILENO, str_text(&answer), answer.len) < 0)
		return 1;
	if (status)
		say_error(s, &answer);
	_exit(status);		/* nothing is left to flush or to give back */
}

int cni_shim(void)
{
	static const char *const verbs[] = { "ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION" };
	struct shim s = { .command = getenv("CNI_COMMAND") };
	autostr struct str missing = { 0 };
	bool known = false;
	int rc;

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		known |= strcmp(s.command, verbs[i]) == 0;
	if (!known)
		return shim_fail(&s, CNI_ENVIRONMENT, "CNI_COMMAND %s: no such verb", s.command);
	if (strcmp(s.command, "VERSION") == 0) {
		result_versions(&missing, NULL);
		fputs(missing.s, stdout);
		return 0;
	}
	if (env_missing(s.command, &missing))
		return shim_fail(&s, CNI_ENVIRONMENT, "not in the environment: %s", missing.s);
	if ((rc = read_conf(&s)) != 0)
		return rc;
	return ask_agent(&s);
}
