/*
 * Forwarding, for the families that some pool serves, and said so.  IPv6: turning
 * it on makes the kernel forget default routes learned from router
 * advertisements unless accept_ra is 2, so links that have 1 get 2 first.
 * What is on already is never written again, and nothing is ever turned off.
 * Whoever turns it off while the agent runs is told of in the log, and it is on again at
 * once: the kernel says so (events.c).
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "node/node_int.h"

static const char *const switches[FAMILIES] = {
	"/proc/sys/net/ipv4/ip_forward",
	"/proc/sys/net/ipv6/conf/all/forwarding",
};

static bool reads_one(const char *path)
{
	autostr struct str text = { 0 };

	return fs_read(-1, path, 64, &text) == 0 && str_text(&text)[0] == '1';
}

static void keep_learned_routes(void)
{
	DIR *dir = opendir("/proc/sys/net/ipv6/conf");
	char path[320];

	if (!dir)
		return;
	for (struct dirent *d; (d = readdir(dir)); ) {
		if (d->d_name[0] == '.' || strcmp(d->d_name, "all") == 0)
			continue;
		snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/accept_ra", d->d_name);
		if (reads_one(path) && fs_sysctl(path, "2") > 0)
			log_info("node", "accept_ra of %s set to 2: it keeps its learned routes", d->d_name);
	}
	closedir(dir);
}

static bool served(const struct model *m, int family)
{
	const struct pool *p;

	table_each(&m->pools, p)
		if (!p->refused && p->cidr.addr.family == family_of(family))
			return true;
	return false;
}

static void forward(struct node_agent *n, int family)
{
	const char *path = switches[family];
	int rc;

	if (family == FAMILY_V6 && !reads_one(path))
		keep_learned_routes();
	rc = fs_sysctl(path, "1");
	if (rc < 0)
		model_problem(n->model, "node", path, "make it writable, or set it to 1",
			      "%s: cannot turn forwarding on: %s", path, strerror(-rc));
	else
		model_problem_clear(n->model, "node", path);
	if (rc > 0)
		log_info("node", "IPv%d forwarding turned on", family == FAMILY_V6 ? 6 : 4);
}

void forward_run(struct node_agent *n)
{
	for (int f = 0; f < FAMILIES; f++)
		if (served(n->model, f))
			forward(n, f);
	n->forwarding = true;
}
