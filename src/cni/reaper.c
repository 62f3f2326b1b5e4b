/*
 * Deleting a link sleeps 16 to 34 ms in the kernel, for grace periods; deleting
 * many by group costs one such wait for all.  So dead links go through a pipe to
 * a thread that shares nothing else: it moves what it finds there into one
 * device group and deletes the group.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/util.h"
#include "cni/cni_int.h"

enum { REAPER_GROUP = 0x6d616e78, REAPER_BATCH = 256, REAPER_QUIET_MS = 20, REAPER_MAX_MS = 500 };

struct reaper {
	pthread_t thread;
	int in, out;		/* ends of the pipe: the loop's, the thread's */
	struct nl nl;
};

/*
 * The next dead links, gathered until none has come for a moment: the deletion holds the lock that
 * every other ADD and DEL needs.  How many; 0: the pipe is closed.
 */
static size_t gather(struct reaper *r, int dead[REAPER_BATCH])
{
	struct pollfd p = { .fd = r->out, .events = POLLIN };
	uint64_t until = 0;
	size_t count = 0;

	while (count < REAPER_BATCH && (!count || now_ms() < until)) {
		int n = poll(&p, 1, count ? REAPER_QUIET_MS : -1);
		ssize_t got;

		if (n == 0 || (n < 0 && errno != EINTR))
			break;
		if (n < 0)
			continue;
		got = read(r->out, dead + count, (REAPER_BATCH - count) * sizeof *dead);
		if (got <= 0)
			break;
		if (!count)
			until = now_ms() + REAPER_MAX_MS;
		count += (size_t)got / sizeof *dead;
	}
	return count;
}

static void *reap(void *arg)
{
	struct reaper *r = arg;
	int dead[REAPER_BATCH];
	size_t count;

	while ((count = gather(r, dead))) {
		for (size_t i = 0; i < count; i++)
			rtnl_link_group(&r->nl, dead[i], REAPER_GROUP);
		nl_commit(&r->nl, NULL, NULL);	/* a link that has gone by itself is no news */
		rtnl_group_del(&r->nl, REAPER_GROUP);
		nl_commit(&r->nl, NULL, NULL);
	}
	return NULL;
}

struct reaper *reaper_start(struct err *e)
{
	struct reaper *r = xcalloc(1, sizeof *r);
	int ends[2], rc;
	sigset_t all, old;

	if (pipe2(ends, O_CLOEXEC) < 0 || (rc = nl_open(&r->nl, NETLINK_ROUTE, NULL)) < 0) {
		err_set(e, errno, "reaper: pipe or netlink socket: %s", strerror(errno));
		free(r);
		return NULL;
	}
	r->in = ends[1];
	r->out = ends[0];
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);	/* signals are the loop's */
	rc = pthread_create(&r->thread, NULL, reap, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		err_set(e, rc, "reaper: %s", strerror(rc));
		close(r->in);
		close(r->out);
		nl_close(&r->nl);
		free(r);
		return NULL;
	}
	return r;
}

void reaper_stop(struct reaper *r)
{
	close(r->in);
	pthread_join(r->thread, NULL);
	close(r->out);
	nl_close(&r->nl);
	free(r);
}

void reaper_take(struct reaper *r, int ifindex)
{
	/* a pipe holds 16384 of them: more than a node has pods */
	while (write(r->in, &ifindex, sizeof ifindex) < 0 && errno == EINTR)
		;
}
