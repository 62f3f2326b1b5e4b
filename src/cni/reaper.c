/*
 * Deleting a link sleeps 16 to 34 ms in the kernel, for grace periods; deleting
 * many by group costs one such wait for all.  So a dead link is moved into a device
 * group of ours, which tells an agent that starts that it is dead, and a thread
 * deletes the group.  The thread shares nothing else; a pipe wakes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "base/thread.h"
#include "base/util.h"
#include "cni/cni_int.h"

enum { REAPER_GROUP = 0x6d616e78, REAPER_QUIET_MS = 20, REAPER_MAX_MS = 500 };

struct reaper {
	pthread_t thread;
	int in, out;		/* ends of the pipe: the loop's, the thread's */
	struct nl nl;		/* the thread's */
};

/*
 * Waits for dead links, and then until no more have come for a moment: the deletion holds the lock that every
 * other ADD and DEL needs.  False: the pipe is closed.
 */
static bool gather(struct reaper *r)
{
	struct pollfd p = { .fd = r->out, .events = POLLIN };
	uint64_t until = 0;
	char calls[256];

	while (!until || now_ms() < until) {
		int n = poll(&p, 1, until ? REAPER_QUIET_MS : -1);

		if (n == 0)
			break;
		if (n < 0)
			continue;
		if (read(r->out, calls, sizeof calls) <= 0)
			break;
		if (!until)
			until = now_ms() + REAPER_MAX_MS;
	}
	return until;
}

static void *reap(void *arg)
{
	struct reaper *r = arg;

	while (gather(r)) {
		rtnl_group_del(&r->nl, REAPER_GROUP);
		nl_commit(&r->nl, NULL, NULL);	/* links that have gone by themselves are no news */
	}
	return NULL;
}

static void reaper_free(struct reaper *r)
{
	close(r->out);
	nl_close(&r->nl);
	free(r);
}

struct reaper *reaper_start(struct err *e)
{
	struct reaper *r = xcalloc(1, sizeof *r);
	int ends[2] = { -1, -1 }, rc;

	r->nl.fd = -1;
	rc = pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : nl_open(&r->nl, NETLINK_ROUTE, NULL);
	r->in = ends[1];
	r->out = ends[0];
	if (rc == 0)
		rc = thread_start(&r->thread, reap, r);
	if (rc == 0)
		return r;
	err_set(e, -rc, "reaper: pipe, netlink socket or thread: %s", strerror(-rc));
	close(r->in);
	reaper_free(r);
	return NULL;
}

void reaper_stop(struct reaper *r)
{
	close(r->in);
	pthread_join(r->thread, NULL);
	reaper_free(r);
}

bool reaper_has(const struct rtnl_link *l)
{
	return l->group == REAPER_GROUP;
}

void reaper_wake(struct reaper *r)
{
	while (write(r->in, "", 1) < 0 && errno == EINTR)	/* a full pipe wakes the thread as well */
		;
}

void reaper_take(struct reaper *r, struct nl *nl, int ifindex)
{
	rtnl_link_group(nl, ifindex, REAPER_GROUP);
	nl_commit(nl, NULL, NULL);
	reaper_wake(r);
}
