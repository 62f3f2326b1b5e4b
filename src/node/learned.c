/*
 * A link that forwards keeps default routes which it learned from router advertisements only while its accept_ra
 * is 2.  So links that have 1 get 2 before forwarding is turned on, and the uplink's stays 2.  Netlink tells
 * nothing of this setting; inotify tells of whoever writes it through this mount of /proc.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "node/node_int.h"

enum { SETTING_PATH = 64 + NAME_MAX };

static void setting(char path[SETTING_PATH], const char *link)
{
	snprintf(path, SETTING_PATH, "/proc/sys/net/ipv6/conf/%s/accept_ra", link);
}

/* 1 becomes 2; whatever else it is, is somebody's decision. */
static void keep(const char *link, const char *why)
{
	char path[SETTING_PATH];

	setting(path, link);
	if (sysctl_is(path, '1') && fs_sysctl(path, "2") > 0)
		log_info("node", "accept_ra of %s set to 2%s: it keeps its learned routes", link, why);
}

void learned_keep(void)
{
	DIR *dir = opendir("/proc/sys/net/ipv6/conf");

	for (struct dirent *d; dir && (d = readdir(dir)); )
		if (d->d_name[0] != '.' && strcmp(d->d_name, "all") != 0)
			keep(d->d_name, "");
	if (dir)
		closedir(dir);
}

static void on_written(struct watch *w, uint32_t events)
{
	struct node_agent *n = container_of(w, struct node_agent, learned);
	char drop[256];

	(void)events;
	while (read(w->fd, drop, sizeof drop) > 0)
		;
	keep(n->learned_link, " again");
}

void learned_close(struct node_agent *n)
{
	watch_del(n->loop, &n->learned);
	if (n->learned.fd >= 0)
		close(n->learned.fd);
	if (n->learned_held >= 0)
		close(n->learned_held);
	n->learned.fd = n->learned_held = -1;
	n->learned_link[0] = '\0';
}

void learned_watch(struct node_agent *n)
{
	const struct uplink *up = model_uplink(n->model);
	char path[SETTING_PATH], link[IFNAMSIZ];

	if (!up || !if_indextoname((unsigned)up->ifindex[FAMILY_V6], link) || strcmp(link, n->learned_link) == 0)
		return;
	learned_close(n);
	setting(path, link);
	if (!sysctl_is(path, '2'))
		return;
	str_copy(n->learned_link, sizeof n->learned_link, link);
	n->learned_held = open(path, O_PATH | O_CLOEXEC);	/* the kernel forgets a watch with the file's last user */
	n->learned = (struct watch){ .fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .fn = on_written };
	if (inotify_add_watch(n->learned.fd, path, IN_MODIFY) < 0 || watch_add(n->loop, &n->learned, EPOLLIN) < 0)
		log_warn("node", "%s: cannot be watched: %m", path);
}
