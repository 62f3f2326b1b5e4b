/*
 * The network list and the plugin's binary, where the runtime looks for them.
 * Each is written beside its place and renamed: containerd loads a list on the
 * rename out of the same folder, and a running plugin is never written over.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/util.h"
#include "cni/cni_int.h"

enum { BINARY_MAX = 64 << 20 };

static const char plugin_name[] = "manx", list_name[] = "10-manx.conflist", loopback_name[] = "loopback";

static int put_file(const char *dir, const char *name, const struct str *data, mode_t mode, struct err *e)
{
	autostr struct str old = { 0 };
	char path[CONFIG_PATH_MAX + 32];
	int rc;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	if (fs_read(AT_FDCWD, path, data->len + 1, &old) == 0 && old.len == data->len &&
	    memcmp(old.s, data->s, data->len) == 0)
		return 0;
	if ((rc = fs_mkdirs(dir, 0755)) < 0 || (rc = fs_replace(AT_FDCWD, path, data->s, data->len, mode)) < 0)
		return err_set(e, -rc, "%s: %s", path, strerror(-rc));
	return 1;
}

/* Page by page: what is as large as the program is not to be held twice, at every start. */
static bool is_same(const char *a, const char *b)
{
	autoclose int fa = open(a, O_RDONLY | O_CLOEXEC), fb = open(b, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char x[8192], y[sizeof x];
	ssize_t n;

	if (fa < 0 || fb < 0)
		return false;
	for (off_t at = 0; (n = pread(fa, x, sizeof x, at)) > 0; at += n)
		if (pread(fb, y, sizeof y, at) != n || memcmp(x, y, (size_t)n) != 0)
			return false;
	return n == 0 && lseek(fa, 0, SEEK_END) == lseek(fb, 0, SEEK_END);
}

/* This program. */
static int put_program(const char *dir, struct err *e)
{
	static const char self[] = "/proc/self/exe";
	autostr struct str binary = { 0 };
	char path[CONFIG_PATH_MAX + 32];
	int rc;

	snprintf(path, sizeof path, "%s/%s", dir, plugin_name);
	if (is_same(self, path))
		return 0;
	if ((rc = fs_read(AT_FDCWD, self, BINARY_MAX, &binary)) < 0)
		return err_set(e, -rc, "%s: %s", self, strerror(-rc));
	return put_file(dir, plugin_name, &binary, 0755, e);
}

/* Runtimes want a plugin of that name too.  Whoever has put one there keeps it. */
static int put_loopback(const char *dir, struct err *e)
{
	char path[CONFIG_PATH_MAX + 32];

	snprintf(path, sizeof path, "%s/%s", dir, loopback_name);
	if (symlink(plugin_name, path) < 0 && errno != EEXIST)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	return 0;
}

/* capabilities: what a runtime may pass on in runtimeConfig. */
static void network_list(struct str *out, const char *socket)
{
	static const char *const capabilities[] = { "portMappings", "bandwidth", "ips", "mac", "io.kubernetes.cri.pod-annotations" };
	struct json_out o = { .to = out };

	json_open(&o, NULL, '{');
	json_put_string(&o, "cniVersion", "1.0.0");
	json_put_string(&o, "name", "k8s-pod-network");
	json_open(&o, "plugins", '[');
	json_open(&o, NULL, '{');
	json_put_string(&o, "type", "manx");
	json_put_string(&o, "socket", socket);
	json_open(&o, "capabilities", '{');
	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
		json_put_bool(&o, capabilities[i], true);
	json_close(&o, '}');
	json_close(&o, '}');
	json_close(&o, ']');
	json_close(&o, '}');
	str_puts(out, "\n");
}

int cni_install(const struct config *c, const char *socket, struct err *e)
{
	autostr struct str list = { 0 };
	int rc = 0;

	if (*c->cni_bin_dir) {
		rc = put_program(c->cni_bin_dir, e);
		if (rc >= 0)
			rc = put_loopback(c->cni_bin_dir, e);
	}
	if (rc >= 0 && *c->cni_conf_dir) {
		network_list(&list, socket);
		rc = put_file(c->cni_conf_dir, list_name, &list, 0644, e);
	}
	return rc < 0 ? rc : 0;
}

/* --- and away again --- */

/* A list that runs our plugin with our socket. */
static bool list_is_ours(const struct str *text, const char *socket)
{
	struct arena mem = { 0 };
	struct json j;
	bool ours = false;

	if (json_parse(&j, str_text(text), text->len, NULL) < 0)
		return false;
	json_value plugins = json_get(&j, 0, "plugins");

	for (json_value p = json_first(&j, plugins); p >= 0 && !ours; p = json_next(&j, plugins, p)) {
		const char *at = json_string(&j, json_get(&j, p, "socket"), &mem);

		ours = json_is(&j, json_get(&j, p, "type"), plugin_name) && strcmp(at ? at : CNI_DEFAULT_SOCKET, socket) == 0;
	}
	arena_free(&mem);
	json_free(&j);
	return ours;
}

/* This program, of whichever version: it knows the list's name, as no other does. */
static bool plugin_is_ours(const struct str *binary, const char *socket)
{
	const char *at = str_text(binary), *end = at + binary->len - sizeof list_name;
	(void)socket;

	while (at && at <= end && memcmp(at, list_name, sizeof list_name) != 0)
		at = memchr(at + 1, list_name[0], (size_t)(end - at));
	return at && at <= end;
}

static int take_away(const char *dir, const char *name, bool (*is_ours)(const struct str *data, const char *socket),
		     const char *socket, struct str *said, struct err *e)
{
	char path[CONFIG_PATH_MAX + 32];
	autostr struct str data = { 0 };

	snprintf(path, sizeof path, "%s/%s", dir, name);
	if (!*dir || fs_read(AT_FDCWD, path, BINARY_MAX, &data) < 0 || !is_ours(&data, socket))
		return 0;
	if (unlink(path) < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	str_printf(said, "removed %s\n", path);
	return 0;
}

static int take_loopback(const char *dir, struct str *said, struct err *e)
{
	char path[CONFIG_PATH_MAX + 32], to[sizeof plugin_name] = "";

	snprintf(path, sizeof path, "%s/%s", dir, loopback_name);
	if (!*dir || readlink(path, to, sizeof to) != sizeof plugin_name - 1 || memcmp(to, plugin_name, sizeof plugin_name - 1) != 0)
		return 0;
	if (unlink(path) < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	str_printf(said, "removed %s\n", path);
	return 0;
}

int cni_uninstall(const struct config *c, const char *socket, struct str *said, struct err *e)
{
	int list = take_away(c->cni_conf_dir, list_name, list_is_ours, socket, said, e);
	int loopback = take_loopback(c->cni_bin_dir, said, e);
	int plugin = take_away(c->cni_bin_dir, plugin_name, plugin_is_ours, socket, said, e);

	return list ? list : loopback ? loopback : plugin;
}
