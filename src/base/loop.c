#include "base/loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "base/util.h"

enum { SETTLE_ROUNDS = 64 };	/* what defers itself for ever must not starve the descriptors */

int loop_open(struct loop *l)
{
	*l = (struct loop){ .epoll = epoll_create1(EPOLL_CLOEXEC), .signal_watch.fd = -1 };
	l->deferred_tail = &l->deferred;
	return l->epoll < 0 ? -errno : 0;
}

void loop_close(struct loop *l)
{
	watch_del(l, &l->signal_watch);
	if (l->signal_watch.fd >= 0)
		close(l->signal_watch.fd);
	if (l->epoll >= 0)
		close(l->epoll);
	l->epoll = l->signal_watch.fd = -1;
}

static void run_timers(struct loop *l)
{
	uint64_t now = now_ms();	/* read once: a timer that sets itself to 0 keeps the turn for this millisecond at most */

	while (l->timers && l->timers->due_ms <= now) {
		struct timer *t = l->timers;

		l->timers = t->next;
		t->on = false;
		t->fn(t);
	}
}

/* Those that are on the list now; what they defer comes in the next round. */
static void run_deferred(struct loop *l)
{
	unsigned count = 0;

	for (struct deferred *d = l->deferred; d; d = d->next)
		count++;
	while (count-- && l->deferred) {
		struct deferred *d = l->deferred;

		deferred_del(l, d);
		d->fn(d);
	}
}

static void settle(struct loop *l)
{
	unsigned rounds = 0;

	do {
		run_deferred(l);
		if (l->pass)
			l->pass(l->pass_ctx);
	} while (l->deferred && ++rounds < SETTLE_ROUNDS);
}

/* After the pass, since the pass sets timers. */
static int wait_ms(const struct loop *l, int max_ms)
{
	uint64_t now = now_ms(), left;

	if (l->deferred)
		return 0;
	if (!l->timers)
		return max_ms;
	left = l->timers->due_ms > now ? l->timers->due_ms - now : 0;
	if (max_ms >= 0 && left > (uint64_t)max_ms)
		return max_ms;
	return left > INT_MAX ? INT_MAX : (int)left;
}

/* How many are ready, or negative.  Straight back to the wait after a rest: what it gave up is not needed for that. */
static int await(struct loop *l, int max_ms)
{
	int wait = wait_ms(l, max_ms), n;
	bool rests = l->rest && !l->rested && (wait < 0 || wait > LOOP_REST_MS);

	n = epoll_wait(l->epoll, l->ready, ARRAY_SIZE(l->ready), rests ? LOOP_REST_MS : wait);
	if (n == 0 && rests) {
		l->rested = true;
		l->rest();
		n = epoll_wait(l->epoll, l->ready, ARRAY_SIZE(l->ready), wait_ms(l, max_ms));
	}
	l->rested &= n <= 0;
	return n;
}

static void dispatch(struct loop *l)
{
	for (int i = 0; i < l->ready_count; i++) {
		struct watch *w = l->ready[i].data.ptr;

		if (w)		/* else deleted by a handler before it */
			w->fn(w, l->ready[i].events);
	}
	l->ready_count = 0;
}

int loop_turn(struct loop *l, int max_ms)
{
	int n;

	run_timers(l);
	settle(l);
	if (l->stop)
		return 0;
	n = await(l, max_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	l->ready_count = n;
	dispatch(l);
	return 0;
}

int loop_run(struct loop *l)
{
	int rc = 0;

	while (!l->stop && rc == 0)
		rc = loop_turn(l, -1);
	return rc;
}

int watch_add(struct loop *l, struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, w->fd, &ev) < 0)
		return -errno;
	w->on = true;
	return 0;
}

int watch_change(struct loop *l, struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	return epoll_ctl(l->epoll, EPOLL_CTL_MOD, w->fd, &ev) < 0 ? -errno : 0;
}

void watch_del(struct loop *l, struct watch *w)
{
	if (!w->on)
		return;
	w->on = false;
	epoll_ctl(l->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	for (int i = 0; i < l->ready_count; i++) {
		if (l->ready[i].data.ptr == w)
			l->ready[i].data.ptr = NULL;
	}
}

void timer_set(struct loop *l, struct timer *t, uint64_t in_ms)
{
	struct timer **at = &l->timers;
	uint64_t now = now_ms();

	timer_del(l, t);
	t->due_ms = in_ms > UINT64_MAX - now ? UINT64_MAX : now + in_ms;
	while (*at && (*at)->due_ms <= t->due_ms)
		at = &(*at)->next;
	t->next = *at;
	*at = t;
	t->on = true;
}

void timer_del(struct loop *l, struct timer *t)
{
	if (!t->on)
		return;
	for (struct timer **at = &l->timers; *at; at = &(*at)->next) {
		if (*at == t) {
			*at = t->next;
			break;
		}
	}
	t->on = false;
}

void loop_defer(struct loop *l, struct deferred *d)
{
	if (d->on)
		return;
	d->on = true;
	d->next = NULL;
	*l->deferred_tail = d;
	l->deferred_tail = &d->next;
}

void deferred_del(struct loop *l, struct deferred *d)
{
	if (!d->on)
		return;
	for (struct deferred **at = &l->deferred; *at; at = &(*at)->next) {
		if (*at != d)
			continue;
		*at = d->next;
		if (!*at)
			l->deferred_tail = at;
		break;
	}
	d->on = false;
}

static void on_signal(struct watch *w, uint32_t events)
{
	struct loop *l = container_of(w, struct loop, signal_watch);
	struct signalfd_siginfo info;

	(void)events;
	while (read(w->fd, &info, sizeof info) == sizeof info)
		l->on_signal(l->signal_ctx, (int)info.ssi_signo);
}

int loop_signals(struct loop *l, const int *signos, void (*fn)(void *ctx, int signo), void *ctx)
{
	struct watch *w = &l->signal_watch;
	sigset_t set;

	sigemptyset(&set);
	for (; *signos; signos++)
		sigaddset(&set, *signos);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	w->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (w->fd < 0)
		return -errno;
	w->fn = on_signal;
	l->on_signal = fn;
	l->signal_ctx = ctx;
	return watch_add(l, w, EPOLLIN);
}
