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
#include "cni/shim.h"

enum { STDIN_MAX = 1 << 20 };

extern char **environ;

static int ask_agent(struct shim *s);

/* The name by which it is called chooses; any other name than these is manx. */
static const struct face {
	const char *name;
	int (*run)(struct shim *s);
	bool addresses;			/* only these, for another plugin, which makes the interface */
} faces[] = {
	{ "manx", ask_agent },
	{ "calico", ask_agent },
	{ "calico-ipam", ask_agent, true },
	{ "loopback", loopback_run },
};

int shim_put(int fd, const struct str *text)
{
	for (size_t at = 0; at < text->len; ) {
		ssize_t n = write(fd, text->s + at, text->len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += (size_t)n;
	}
	return 0;
}

bool shim_is(const struct shim *s, const char *verb)
{
	return strcmp(s->verb->name, verb) == 0;
}

/* One line for the runtime's log, whatever the text holds. */
static void say(const char *text)
{
	autostr struct str line = { 0 };

	str_printf(&line, "manx: %s", text);
	for (size_t i = 0; i < line.len; i++)
		if (line.s[i] == '\n' || line.s[i] == '\r')
			line.s[i] = ' ';
	str_puts(&line, "\n");
	shim_put(STDERR_FILENO, &line);
}

int shim_fail(const struct shim *s, int code, const char *fmt, ...)
{
	autostr struct str out = { 0 };
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	err_text(text, sizeof text, fmt, ap);
	va_end(ap);
	result_error(&out, s->version, code, text);
	if (!s->answered)
		shim_put(STDOUT_FILENO, &out);
	say(text);
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
static bool env_missing(unsigned needs, struct str *missing)
{
	static const struct { const char *name; unsigned flag; } variables[] = {
		{ "CNI_CONTAINERID", NEEDS_CONTAINER }, { "CNI_NETNS", NEEDS_NETNS }, { "CNI_IFNAME", NEEDS_IFNAME },
		{ "CNI_PATH", NEEDS_PATH },
	};

	for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
		const char *value = getenv(variables[i].name);

		if (needs & variables[i].flag && (!value || !*value))
			str_printf(missing, "%s%s", missing->len ? ", " : "", variables[i].name);
	}
	return missing->len;
}

/* 0, or a printed failure's exit code. */
static int read_conf(struct shim *s)
{
	struct err e = { 0 };
	int rc = read_stdin(&s->conf);
	json_value socket;

	if (rc < 0)
		return shim_fail(s, CNI_IO, "stdin: %s", strerror(-rc));
	if (json_parse(&s->json, str_text(&s->conf), s->conf.len, &e) < 0)
		return shim_fail(s, CNI_DECODE, "network configuration: %s", e.text);
	if (json_type(&s->json, 0) != JSON_OBJECT)
		return shim_fail(s, CNI_DECODE, "network configuration: want an object");
	s->version = json_string(&s->json, json_get(&s->json, 0, "cniVersion"), &s->mem);
	socket = json_get(&s->json, 0, "socket");
	s->socket = json_string(&s->json, socket, &s->mem);
	if (!s->version)
		return shim_fail(s, CNI_VERSION, "network configuration has no cniVersion");
	if (!cni_version_known(s->version))
		return shim_fail(s, CNI_VERSION, "cniVersion %s is not supported (0.3.1, 0.4.0, 1.0.0 and 1.1.0 are)",
				 s->version);
	if (!cni_verb_in_version(s->verb, s->version))
		return shim_fail(s, CNI_VERSION, "CNI_COMMAND %s wants cniVersion %s or later, the network configuration says %s",
				 s->verb->name, s->verb->since, s->version);
	if (!s->socket && json_type(&s->json, socket) == JSON_NULL)
		s->socket = CNI_DEFAULT_SOCKET;
	if (!s->socket || *s->socket != '/')
		return shim_fail(s, CNI_CONFIG, "network configuration: socket: want an absolute path");
	return 0;
}

int shim_netns_open(const struct shim *s, const char *path)
{
	autoclose int fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
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

bool shim_netns_is(int netns, int own)
{
	const char *override = getenv("CNI_NETNS_OVERRIDE");
	struct stat there, here;

	if (override && (strcmp(override, "1") == 0 || strcmp(override, "true") == 0))
		return false;
	return fstat(netns, &there) == 0 && fstat(own, &here) == 0 && there.st_dev == here.st_dev &&
	       there.st_ino == here.st_ino;
}

/* agent: a socket of the node's own namespace. */
static bool is_own_netns(int netns, int agent)
{
	autoclose int own = ioctl(agent, SIOCGSKNS);

	return own >= 0 && shim_netns_is(netns, own);
}

/* The node forwards IPv6 when it has pods with IPv6 addresses. */
static bool node_serves_ipv6(void)
{
	autoclose int fd = openat(AT_FDCWD, "/proc/sys/net/ipv6/conf/all/forwarding", O_RDONLY | O_CLOEXEC);
	char value = '0';

	return fd >= 0 && read(fd, &value, 1) == 1 && value != '0';
}

/*
 * The pod's own settings, which its link will inherit: IPv6 on, no router
 * advertisements; forwarding on, which service load balancers in pods rely on
 * (what a pod forwards must still pass the anti-spoofing of its own link).
 * Looking for a file in a young namespace is slow, and most namespaces forward
 * already as the node does: the kernel is asked first.
 */
static void pod_sysctls(int rtnetlink, bool ipv6)
{
	if (ipv6) {
		fs_sysctl("/proc/sys/net/ipv6/conf/default/disable_ipv6", "0");
		fs_sysctl("/proc/sys/net/ipv6/conf/default/accept_ra", "0");
	}
	if (rtnl_forwards(rtnetlink, AF_INET) != 1)
		fs_sysctl("/proc/sys/net/ipv4/ip_forward", "1");
}

/*
 * fds: an rtnetlink socket inside the namespace, and the namespace.  CHECK only looks.  0, or a printed
 * failure's exit code.
 */
static int enter_netns(const struct shim *s, int agent, int fds[FRAME_FDS])
{
	const char *path = getenv("CNI_NETNS");
	const bool add = shim_is(s, "ADD"), ipv6 = add && node_serves_ipv6();

	if ((fds[1] = shim_netns_open(s, path)) < 0)
		return 1;
	if (is_own_netns(fds[1], agent))
		return shim_fail(s, CNI_NETNS, "CNI_NETNS %s: this is the node's own namespace", path);
	if (setns(fds[1], CLONE_NEWNET) < 0)
		return shim_fail(s, CNI_NETNS, "CNI_NETNS %s: cannot enter: %s", path, strerror(errno));
	fds[0] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fds[0] < 0)
		return shim_fail(s, CNI_KERNEL, "CNI_NETNS %s: rtnetlink socket: %s", path, strerror(errno));
	if (add)
		pod_sysctls(fds[0], ipv6);
	return 0;
}

/* CNI_* of the environment, each terminated, an empty one, then stdin. */
static void make_payload(struct shim *s)
{
	if (s->face->addresses)
		str_add(&s->payload, CNI_ADDRESSES "=", sizeof CNI_ADDRESSES "=");
	for (char **e = environ; *e; e++)
		if (str_prefix(*e, "CNI_"))
			str_add(&s->payload, *e, strlen(*e) + 1);
	str_add(&s->payload, "", 1);
	str_add(&s->payload, str_text(&s->conf), s->conf.len);
}

/* One request and its answer.  0, a negative errno, or the exit code of a failure that was printed. */
static int converse(const struct shim *s, unsigned connect_ms, unsigned answer_ms, uint8_t *status, struct str *answer)
{
	autoclose int agent = frame_connect(s->socket, connect_ms);
	const bool enters = s->verb->flags & NEEDS_NETNS && !s->face->addresses;
	int fds[FRAME_FDS] = { -1, -1 }, rc;

	if (agent < 0)
		return agent;
	if (enters && (rc = enter_netns(s, agent, fds)) != 0)
		return rc;
	rc = frame_send(agent, FRAME_CNI, s->payload.s, s->payload.len, fds, enters ? FRAME_FDS : 0);
	for (unsigned i = 0; enters && i < FRAME_FDS; i++)
		close(fds[i]);		/* while the agent works, not at the exit that the runtime waits for */
	return rc < 0 ? rc : frame_answer(agent, answer_ms, status, answer);
}

/*
 * A file beside the agent's socket, which it follows when it starts.  Without that folder no agent has run since the boot,
 * and the next one gives back what it does not find.  0, or a printed failure's exit code.
 */
static int write_note(const struct shim *s, char path[512])
{
	const char *slash = strrchr(s->socket, '/'), *container = getenv("CNI_CONTAINERID"), *ifname = getenv("CNI_IFNAME");
	char run_dir[256];
	int rc;

	if (!cni_name_valid(container) || !cni_ifname_valid(ifname))
		return shim_fail(s, CNI_ENVIRONMENT, "CNI_CONTAINERID or CNI_IFNAME is not valid");
	if ((size_t)(slash - s->socket) >= sizeof run_dir)
		return shim_fail(s, CNI_CONFIG, "socket %.100s: not the path of an agent's socket", s->socket);
	snprintf(run_dir, sizeof run_dir, "%.*s", (int)(slash - s->socket), s->socket);
	snprintf(path, 512, "%s/del", run_dir);
	rc = mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
	if (rc == -ENOENT)
		return 0;
	if (rc == 0) {
		snprintf(path, 512, CNI_NOTE_FORMAT, run_dir, container, ifname);
		rc = fs_replace(AT_FDCWD, path, s->payload.s, s->payload.len, 0600);
	}
	return rc < 0 ? shim_fail(s, CNI_TRY_LATER, "no agent on %s, and the note %s cannot be written: %s", s->socket, path,
				  strerror(-rc)) : 0;
}

/*
 * DEL without an agent that could do it.  An agent that has started meanwhile may have looked for notes just before
 * this one was there: it is asked once more.
 */
static int leave_note(const struct shim *s)
{
	autostr struct str answer = { 0 };
	char path[512];
	uint8_t status;
	int rc = write_note(s, path);

	if (rc == 0 && converse(s, 0, CNI_NOTED_MS, &status, &answer) == 0 && status == CNI_DONE)
		unlink(path);
	return rc;
}

void shim_say_error(const struct shim *s, const struct str *answer)
{
	struct arena mem = { 0 };
	struct json j;
	(void)s;

	if (json_parse(&j, str_text(answer), answer->len, NULL) < 0)
		return;
	const char *text = json_string(&j, json_get(&j, 0, "msg"), &mem);

	say(text ? text : "failed");
	arena_free(&mem);
	json_free(&j);
}

static int no_answer(const struct shim *s, int rc)
{
	const bool absent = rc == -ENOENT || rc == -ECONNREFUSED;
	const int code = shim_is(s, "STATUS") || (absent && !shim_is(s, "ADD")) ? CNI_UNAVAILABLE : CNI_TRY_LATER;

	if (rc == -EACCES && !shim_is(s, "STATUS"))
		return shim_fail(s, CNI_IO, "agent on %s: %s: only root may ask it", s->socket, strerror(EACCES));
	if (rc == -ENAMETOOLONG)
		return shim_fail(s, CNI_CONFIG, "network configuration: socket: longer than a socket's path may be");
	return shim_fail(s, code, "%s on %s: %s", absent ? "no agent" : "agent", s->socket, strerror(-rc));
}

static int talk(struct shim *s)
{
	const bool del = shim_is(s, "DEL");
	autostr struct str answer = { 0 };
	uint8_t status = CNI_FAILED;
	int rc;

	make_payload(s);
	rc = converse(s, shim_is(s, "ADD") ? CNI_CONNECT_MS : 0, shim_is(s, "STATUS") ? CNI_STATUS_MS : CNI_SHIM_MS, &status, &answer);
	if (del && rc != -ENAMETOOLONG && rc != -EACCES && (rc < 0 || status == CNI_LEAVE_NOTE))
		return leave_note(s);
	if (rc < 0)
		return no_answer(s, rc);
	if (rc > 0)
		return rc;
	rc = shim_put(STDOUT_FILENO, &answer);
	if (status)
		shim_say_error(s, &answer);
	else if (rc < 0)
		say("the result cannot be written");
	return status || rc < 0;
}

/* With a delegate: it comes first, but goes last. */
static int talk_behind_delegate(struct shim *s)
{
	const bool add = shim_is(s, "ADD"), del = shim_is(s, "DEL");
	autostr struct str said = { 0 };
	int rc = add ? delegate_add(s) : del ? 0 : delegate_run(s, s->verb->name, &said);

	if (rc)
		return rc;
	rc = talk(s);
	s->answered = add;
	if (add ? rc : del && !rc)
		rc |= delegate_run(s, "DEL", &said);
	return rc;
}

static int ask_agent(struct shim *s)
{
	s->delegate = delegate_of(s);
	_exit(s->delegate ? talk_behind_delegate(s) : talk(s));	/* nothing is left to flush or to give back */
}

static const struct face *face_of(const char *program)
{
	const char *slash = strrchr(program, '/'), *name = slash ? slash + 1 : program;

	for (size_t i = 1; i < ARRAY_SIZE(faces); i++)
		if (strcmp(faces[i].name, name) == 0)
			return &faces[i];
	return &faces[0];
}

bool cni_is_plugin(const char *program)
{
	return getenv("CNI_COMMAND") || face_of(program) != faces;
}

/* To a person who calls the plugin by hand, as the reference plugins do. */
static int about(const struct face *face)
{
	autostr struct str text = { 0 };

	str_printf(&text, "CNI plugin %s of manx\nCNI protocol versions supported:", face->name);
	for (const char *const *v = cni_versions; *v; v++)
		str_printf(&text, "%s %s", v == cni_versions ? "" : ",", *v);
	str_puts(&text, "\n");
	return shim_put(STDERR_FILENO, &text) < 0;
}

int cni_shim(const char *program)
{
	const char *command = getenv("CNI_COMMAND");
	struct shim s = { .verb = cni_verb_named(command), .face = face_of(program) };
	autostr struct str text = { 0 };
	int rc;

	if (!command)
		return about(s.face);
	if (!s.verb)
		return shim_fail(&s, CNI_ENVIRONMENT, "CNI_COMMAND %s: no such verb", command);
	if (shim_is(&s, "VERSION")) {
		result_versions(&text, NULL);
		return shim_put(STDOUT_FILENO, &text) < 0;
	}
	if (env_missing(s.verb->flags, &text))
		return shim_fail(&s, CNI_ENVIRONMENT, "not in the environment: %s", text.s);
	if ((rc = read_conf(&s)) != 0)
		return rc;
	return s.face->run(&s);
}
