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

#include "base/fs.h"
#include "base/util.h"
#include "cni/cni_int.h"

enum { BINARY_MAX = 64 << 20 };

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

static void network_list(struct str *out, const char *socket)
{
	struct json_out o = { .to = out };

	json_open(&o, NULL, '{');
	json_put_string(&o, "cniVersion", "1.0.0");
	json_put_string(&o, "name", "k8s-pod-network");
	json_open(&o, "plugins", '[');
	json_open(&o, NULL, '{');
	json_put_string(&o, "type", "manx");
	json_put_string(&o, "socket", socket);
	json_close(&o, '}');
	json_close(&o, ']');
	json_close(&o, '}');
	str_puts(out, "\n");
}

int cni_install(const struct config *c, const char *socket, struct err *e)
{
	autostr struct str binary = { 0 }, list = { 0 };
	int rc = 0;

	if (*c->cni_bin_dir) {
		if ((rc = fs_read(AT_FDCWD, "/proc/self/exe", BINARY_MAX, &binary)) < 0)
			return err_set(e, -rc, "/proc/self/exe: %s", strerror(-rc));
		rc = put_file(c->cni_bin_dir, "manx", &binary, 0755, e);
	}
	if (rc >= 0 && *c->cni_conf_dir) {
		network_list(&list, socket);
		rc = put_file(c->cni_conf_dir, "10-manx.conflist", &list, 0644, e);
	}
	return rc < 0 ? rc : 0;
}
