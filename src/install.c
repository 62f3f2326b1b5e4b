#include "install.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/util.h"
#include "ctl/ctl.h"

#define PROGRAM "/usr/local/bin/manx"
#define UNIT "/etc/systemd/system/manx.service"
#define WANTS "/etc/systemd/system/multi-user.target.wants"
#define UNIT_WANTED WANTS "/manx.service"
#define OPENRC "/etc/init.d/manx"

enum { PROGRAM_MAX = 64 << 20 };

/* The service files as they are in the source. */
#define EMBED(name, file) \
	extern const char name[] __attribute__((visibility("hidden"))); \
	__asm__(".pushsection .rodata\n.globl " #name "\n.hidden " #name "\n" #name ":\n.incbin \"" file "\"\n.byte 0\n.popsection\n")
EMBED(install_unit, "config/manx.service");
EMBED(install_openrc, "config/manx.openrc");

/* Where each distribution keeps what the network needs, and a credential for all that an agent reads. */
static const struct distribution {
	const char *name, *mark, *conf_dir, *bin_dir, *kubeconfig;
} distributions[] = {
#define K3S "/var/lib/rancher/k3s/"
#define SNAP "/var/snap/microk8s/current/"
	{ "k3s", K3S "data/cni", K3S "agent/etc/cni/net.d", K3S "data/cni", "/etc/rancher/k3s/k3s.yaml" },
	{ "k3s", K3S "data/current", K3S "agent/etc/cni/net.d", K3S "data/current/bin", "/etc/rancher/k3s/k3s.yaml" },
	{ "RKE2", "/var/lib/rancher/rke2", "", "", "/etc/rancher/rke2/rke2.yaml" },
	{ "MicroK8s", SNAP "args", SNAP "args/cni-network", SNAP "opt/cni/bin", SNAP "credentials/client.config" },
	{ "k0s", "/var/lib/k0s", "", "", "/var/lib/k0s/pki/admin.conf" },
	{ "RKE1", "/etc/kubernetes/ssl/kubecfg-kube-node.yaml", "", "", "/etc/kubernetes/ssl/kubecfg-kube-controller-manager.yaml" },
	{ "kubeadm", "/etc/kubernetes/kubelet.conf", "", "", "/etc/kubernetes/admin.conf" },
};
static const char default_conf_dir[] = "/etc/cni/net.d", default_bin_dir[] = "/opt/cni/bin";

struct install {
	const struct config *config;
	const struct distribution *found;	/* or NULL */
	const char *program;			/* where it will be */
	const char *conf_dir, *bin_dir;
	const char *const *sets;
	unsigned set_count;
	bool dry;
	char list_path[CONFIG_PATH_MAX + 16];
	struct str before, list;		/* what was in the list, what will be */
};

/* --- what is there --- */

static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static const struct distribution *distribution_find(void)
{
	const struct distribution *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(distributions); i++) {
		const struct distribution *d = &distributions[i];

		if (!is_there(d->mark) || (found && found->name == d->name))
			continue;
		printf(found ? "also found: %s (%s), not used\n" : "found: %s (%s)\n", d->name, d->mark);
		found = found ? found : d;
	}
	if (!found)
		printf("found no Kubernetes distribution: CNI's own folders\n");
	return found;
}

static bool is_set(const struct install *in, const char *key)
{
	size_t len = strlen(key);

	for (unsigned i = 0; i < in->set_count; i++)
		if (strncmp(in->sets[i], key, len) == 0 && strchr("= \t", in->sets[i][len]))
			return true;
	return false;
}

/* What the configuration asks for, else what was found, else the default. */
static const char *folder(const char *asked, const char *found, const char *usual)
{
	return strcmp(asked, usual) != 0 ? asked : found && *found ? found : usual;
}

/* --- what is written --- */

static bool is_listed(const struct str *list, const char *path)
{
	size_t len = strlen(path);

	for (const char *at = str_text(list); (at = strstr(at, path)); at += len)
		if ((at == list->s || at[-1] == '\n') && at[len] == '\n')
			return true;
	return false;
}

static int fail(const char *path, int rc)
{
	fprintf(stderr, "manx: %s: %s\n", path, strerror(-rc));
	return rc == -EPERM || rc == -EACCES ? EXIT_PERMISSION : EXIT_FAILED;
}

static int put(struct install *in, const char *path, const char *data, size_t len, mode_t mode)
{
	char dir[CONFIG_PATH_MAX];
	int rc;

	if (is_there(path) && (!is_listed(&in->before, path) || strcmp(path, DEFAULT_CONFIG) == 0)) {
		printf("kept %s: it is there already\n", path);
		return EXIT_OK;
	}
	printf("%s %s\n", in->dry ? "would write" : "wrote", path);
	if (in->dry)
		return EXIT_OK;
	snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
	if ((rc = fs_mkdirs(dir, 0755)) < 0 || (rc = fs_replace(AT_FDCWD, path, data, len, mode)) < 0)
		return fail(path, rc);
	return EXIT_OK;
}

static int put_program(struct install *in)
{
	autostr struct str self = { 0 };
	int rc;

	if (strcmp(in->program, PROGRAM) != 0)
		return EXIT_OK;
	if ((rc = fs_read(AT_FDCWD, "/proc/self/exe", PROGRAM_MAX, &self)) < 0)
		return fail("/proc/self/exe", rc);
	return put(in, PROGRAM, self.s, self.len, 0755);
}

static int put_config(struct install *in)
{
	autostr struct str text = { 0 };
	const char *kubeconfig = in->found && is_there(in->found->kubeconfig) ? in->found->kubeconfig : NULL;

	str_printf(&text, "# Written by \"manx install\"%s%s; every key: manx.conf(5).\n", in->found ? " for " : "", in->found ? in->found->name : "");
	if (kubeconfig && !is_set(in, "datastore"))
		str_printf(&text, "datastore = kubernetes %s\n", kubeconfig);
	if (!is_set(in, "cni_conf_dir"))
		str_printf(&text, "cni_conf_dir = %s\n", in->conf_dir);
	if (!is_set(in, "cni_bin_dir"))
		str_printf(&text, "cni_bin_dir = %s\n", in->bin_dir);
	for (unsigned i = 0; i < in->set_count; i++)
		str_printf(&text, "%s\n", in->sets[i]);
	if (in->found && !kubeconfig && !is_set(in, "datastore"))
		printf("no %s on this node: give it a credential by --set \"datastore=kubernetes FILE\"\n", in->found->kubeconfig);
	return put(in, DEFAULT_CONFIG, text.s, text.len, 0644);
}

/* A service file that names program and folders where they are. */
static int put_service(struct install *in, const char *path, const char *from, mode_t mode)
{
	const struct { const char *from, *to; } names[] = {
		{ "/usr/bin/manx", in->program },
		{ "/etc/cni", *in->conf_dir ? in->conf_dir : default_conf_dir },
		{ "/opt/cni", *in->bin_dir ? in->bin_dir : default_bin_dir },
	};
	autostr struct str text = { 0 };

	while (*from) {
		size_t i = 0;

		while (i < ARRAY_SIZE(names) && !str_prefix(from, names[i].from))
			i++;
		if (i < ARRAY_SIZE(names)) {
			str_puts(&text, names[i].to);
			from += strlen(names[i].from);
		} else {
			str_add(&text, from++, 1);
		}
	}
	return put(in, path, text.s, text.len, mode);
}

static int put_unit(struct install *in)
{
	int rc = put_service(in, UNIT, install_unit, 0644);

	if (rc != EXIT_OK || in->dry)
		return rc;
	if ((rc = fs_mkdirs(WANTS, 0755)) < 0 || (symlink(UNIT, UNIT_WANTED) < 0 && (rc = -errno) != -EEXIST))
		return fail(UNIT_WANTED, rc);
	return EXIT_OK;
}

/* The init system's file, or NULL where it has none. */
static const char *service_path(void)
{
	return is_there("/run/systemd/system") ? UNIT : is_there("/sbin/openrc-run") ? OPENRC : NULL;
}

/* The list goes first: what is in it may be absent, what is not stays for ever. */
static int put_list(struct install *in, const char *service)
{
	const char *const will[] = { in->program, DEFAULT_CONFIG, service, service && strcmp(service, UNIT) == 0 ? UNIT_WANTED : NULL };
	int rc;

	for (size_t i = 0; i < ARRAY_SIZE(will); i++)
		if (will[i] && (is_listed(&in->before, will[i]) || !is_there(will[i])))
			str_printf(&in->list, "%s\n", will[i]);
	if (in->dry)
		return EXIT_OK;
	if ((rc = fs_mkdirs(in->config->state_dir, 0755)) < 0 ||
	    (rc = fs_replace(AT_FDCWD, in->list_path, in->list.s, in->list.len, 0644)) < 0)
		return fail(in->list_path, rc);
	return EXIT_OK;
}

static int put_all(struct install *in)
{
	const char *service = service_path();
	bool systemd = service && strcmp(service, UNIT) == 0;
	int rc;

	if ((rc = put_list(in, service)) != EXIT_OK || (rc = put_program(in)) != EXIT_OK || (rc = put_config(in)) != EXIT_OK)
		return rc;
	if (systemd)
		rc = put_unit(in);
	else if (service)
		rc = put_service(in, OPENRC, install_openrc, 0755);
	if (rc == EXIT_OK)
		printf("next: %s\n", systemd ? "systemctl daemon-reload && systemctl start manx" :
		       service ? "rc-update add manx && rc-service manx start" : "let your init system run \"manx agent\"");
	return rc;
}

/* An installed program stays where it is. */
static const char *program_path(char *self, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", self, size - 1);

	self[n < 0 ? 0 : n] = '\0';
	return str_prefix(self, "/usr/") ? self : PROGRAM;
}

static void list_read(const struct config *c, char *path, size_t size, struct str *list)
{
	snprintf(path, size, "%s/installed", c->state_dir);
	fs_read(AT_FDCWD, path, 4096, list);
}

int install_run(const struct config *c, const char *const *sets, unsigned set_count, bool dry)
{
	char self[256];
	struct install in = { .config = c, .sets = sets, .set_count = set_count, .dry = dry, .program = program_path(self, sizeof self),
			      .found = distribution_find() };
	int rc;

	in.conf_dir = folder(c->cni_conf_dir, in.found ? in.found->conf_dir : NULL, default_conf_dir);
	in.bin_dir = folder(c->cni_bin_dir, in.found ? in.found->bin_dir : NULL, default_bin_dir);
	printf("cni_conf_dir: %s\ncni_bin_dir: %s\n", in.conf_dir, in.bin_dir);
	list_read(c, in.list_path, sizeof in.list_path, &in.before);
	rc = put_all(&in);
	str_free(&in.before);
	str_free(&in.list);
	return rc;
}


int install_undo(const struct config *c)
{
	const char *const places[] = { UNIT_WANTED, UNIT, OPENRC, DEFAULT_CONFIG, PROGRAM };
	char path[CONFIG_PATH_MAX + 16];
	autostr struct str list = { 0 };
	int rc = EXIT_OK;

	list_read(c, path, sizeof path, &list);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (!is_listed(&list, places[i]))
			continue;
		if (unlink(places[i]) == 0)
			printf("removed %s\n", places[i]);
		else if (errno != ENOENT)
			rc = fail(places[i], -errno);
	}
	if (rc == EXIT_OK && unlink(path) == 0)
		rmdir(c->state_dir);
	return rc;
}
