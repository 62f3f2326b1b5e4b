/*
 * An IPAM plugin of the network list (ipam.type: host-local, static, dhcp): it gives the
 * addresses, the agent makes the rest.  It is run as the specification says, out of CNI_PATH,
 * with the environment and the configuration that we were given.
 *
 * What it gives must be outside of all pools: their addresses are the agent's to give.  The
 * subnet usePodCidr is Calico's word for the Node's podCIDR: that is not host-local's work here,
 * but the agent's (ipam = podcidr).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/util.h"
#include "cni/shim.h"

enum { RESULT_MAX = 1 << 20 };

/* NULL: the addresses are the agent's to give. */
const char *delegate_of(struct shim *s)
{
	json_value ipam = json_get(&s->json, 0, "ipam");
	const char *type = json_string(&s->json, json_get(&s->json, ipam, "type"), &s->mem);
	size_t len;

	if (!type || !*type || strcmp(type, "calico-ipam") == 0 || strcmp(type, "manx") == 0)
		return NULL;
	const char *text = json_raw(&s->json, ipam, &len);

	return strcmp(type, "host-local") == 0 && memmem(text, len, "\"" POD_CIDR_WORD, sizeof POD_CIDR_WORD) ? NULL : type;
}

/* The program, in one of CNI_PATH's folders. */
static bool find(const char *type, char path[512])
{
	for (const char *at = getenv("CNI_PATH"); at && *at; ) {
		const char *end = strchrnul(at, ':');

		if (snprintf(path, 512, "%.*s/%s", (int)(end - at), at, type) < 512 && access(path, X_OK) == 0)
			return true;
		at = *end ? end + 1 : end;
	}
	return false;
}

/* Memory that a child reads or writes as a file: neither can block the other. */
static int memory_file(const char *name, const struct str *text)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd >= 0 && text && (shim_put(fd, text) < 0 || lseek(fd, 0, SEEK_SET) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void become(const char *path, const char *command, int in, int out)
{
	char *const argv[] = { (char *)path, NULL };

	if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 && setenv("CNI_COMMAND", command, 1) == 0)
		execv(path, argv);
	_exit(127);
}

/* Its stdout to *said.  Its wait status, or -errno. */
static int run(const struct shim *s, const char *path, const char *command, struct str *said)
{
	autoclose int in = memory_file("stdin", &s->conf), out = memory_file("stdout", NULL);
	char proc[40];
	int status = 0;
	pid_t child;

	if (in < 0 || out < 0 || (child = fork()) < 0)
		return -errno;
	if (child == 0)
		become(path, command, in, out);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", out);
	fs_read(AT_FDCWD, proc, RESULT_MAX, said);
	return status;
}

int delegate_run(const struct shim *s, const char *command, struct str *said)
{
	char path[512];
	int status;

	if (!cni_name_valid(s->delegate))
		return shim_fail(s, CNI_CONFIG, "ipam.type: %.100s is no plugin's name", s->delegate);
	if (!find(s->delegate, path))
		return shim_fail(s, CNI_CONFIG, "ipam.type: no plugin %s in CNI_PATH %s", s->delegate, getenv("CNI_PATH"));
	status = run(s, path, command, said);
	if (status == 0)
		return 0;
	if (status < 0 || !said->len)
		return shim_fail(s, CNI_IO, "ipam plugin %s: %s %d", path, status < 0 ? "cannot be run, error" : "wait status",
				 status < 0 ? -status : status);
	if (!s->answered)
		shim_put(STDOUT_FILENO, said);
	shim_say_error(s, said);
	return 1;
}

/* Addresses of its result, as a variable of the request. */
static int pass_on(struct shim *s, const struct str *said)
{
	json_value ips;
	struct json j;

	if (json_parse(&j, str_text(said), said->len, NULL) < 0)
		return shim_fail(s, CNI_DECODE, "ipam plugin %s: its result is no JSON", s->delegate);
	ips = json_get(&j, 0, "ips");
	str_puts(&s->payload, CNI_GIVEN "=");
	for (json_value v = json_first(&j, ips); v >= 0; v = json_next(&j, ips, v)) {
		const char *text = json_string(&j, json_get(&j, v, "address"), &s->mem);

		str_printf(&s->payload, "%s ", text ? text : "?");
	}
	str_add(&s->payload, "", 1);
	json_free(&j);
	return 0;
}

int delegate_add(struct shim *s)
{
	autostr struct str said = { 0 };
	int rc = delegate_run(s, "ADD", &said);

	return rc ? rc : pass_on(s, &said);
}
