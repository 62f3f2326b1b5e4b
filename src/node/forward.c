/*
 * Forwarding, for the families that some pool serves, and said so.  IPv6: turning
 * it on makes the kernel forget learned default routes: see learned.c.
 * What is on already is never written again, and nothing is ever turned off.
 * Whoever turns it off while the agent runs is told of in the log, and it is on again at
 * once: the kernel says so (events.c).
 */
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

bool sysctl_is(const char *path, char digit)
{
	autostr struct str text = { 0 };

	return fs_read(-1, path, 64, &text) == 0 && str_text(&text)[0] == digit;
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

	if (family == FAMILY_V6 && !sysctl_is(path, '1'))
		learned_keep();
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
	if (served(n->model, FAMILY_V6))
		learned_watch(n);
	n->forwarding = true;
}
