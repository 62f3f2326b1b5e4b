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
#include <time.h>

#include "base/util.h"
#include "cni/cni_int.h"

enum { REAPER_GROUP = 0x6d616e78, REAPER_BATCH = 256, REAPER_GATHER_MS = 20 };

struct reaper {
	pthread_t thread;
	int in, out;		/* ends of the pipe: the loop's, the thread's */
	struct nl nl;
};

static void *reap(void *arg)
{
	struct reaper *r = arg;
	const struct timespec gather = { .tv_nsec = REAPER_GATHER_MS * 1000000 };
	int dead[REAPER_BATCH];
	struct pollfd p = { .fd = r->out, .events = POLLIN };
	ssize_t n;

	for (;;) {
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			break;
		nanosleep(&gather, NULL);	/* pods die in groups */
		if ((n = read(r->out, dead, sizeof dead)) == 0)
			break;
		if (n < 0)
			continue;
		for (size_t i = 0; i < n / sizeof *dead; i++)
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
		err_set(e, errno, "reaper: %s", strerror(errno));
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
