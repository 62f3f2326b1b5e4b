#ifndef BASE_LOOP_H
#define BASE_LOOP_H
/*
 * The one loop: epoll, timers, deferred calls, signals.
 *
 * A turn: due timers, then deferred calls, then loop->pass (the reconcile
 * pass and the answers that waited for it) until nothing is deferred any
 * more, then the wait, then the handlers of what is ready.  Watches and
 * timers are embedded in their owners; nothing here allocates.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

enum { LOOP_REST_MS = 2000 };

struct watch {
	int fd;				/* owned by the watch's owner */
	void (*fn)(struct watch *w, uint32_t events);	/* EPOLLIN ... */
	bool on;
};

struct timer {
	void (*fn)(struct timer *t);
	uint64_t due_ms;		/* CLOCK_MONOTONIC; valid while on */
	struct timer *next;
	bool on;
};

struct deferred {
	void (*fn)(struct deferred *d);
	struct deferred *next;
	bool on;
};

struct loop {
	int epoll;
	struct timer *timers;		/* sorted by due_ms */
	struct deferred *deferred, **deferred_tail;
	void (*pass)(void *ctx);
	void *pass_ctx;
	void (*rest)(void);		/* once, when nothing has happened for LOOP_REST_MS; may be NULL */
	bool rested;			/* since the last event */
	struct epoll_event ready[32];
	int ready_count;
	bool stop;
	struct watch signal_watch;
	void (*on_signal)(void *ctx, int signo);
	void *signal_ctx;
};

int loop_open(struct loop *l);		/* 0 or -errno */
void loop_close(struct loop *l);
/* Until loop->stop; 0, or -errno when epoll itself fails. */
int loop_run(struct loop *l);
/* One turn that waits at most max_ms (-1: as long as it takes). */
int loop_turn(struct loop *l, int max_ms);

int watch_add(struct loop *l, struct watch *w, uint32_t events);	/* 0 or -errno */
int watch_change(struct loop *l, struct watch *w, uint32_t events);
void watch_del(struct loop *l, struct watch *w);	/* repeatable; never called back afterwards */

void timer_set(struct loop *l, struct timer *t, uint64_t in_ms);	/* moves it when it is on */
void timer_del(struct loop *l, struct timer *t);

/* fn is called in this turn, after the current handler returns, before the next wait. */
void loop_defer(struct loop *l, struct deferred *d);
void deferred_del(struct loop *l, struct deferred *d);

/* Signals (a 0-terminated list) are blocked and arrive as calls from the loop. */
int loop_signals(struct loop *l, const int *signos, void (*fn)(void *ctx, int signo), void *ctx);

#endif
