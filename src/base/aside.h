#ifndef BASE_ASIDE_H
#define BASE_ASIDE_H
/*
 * One thing done beside another: the loop begins it, does what it can do meanwhile, and waits for its end before it does
 * anything else.  So the loop stays the only one that acts, and nothing has to be locked.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

struct aside {
	bool tried, running;		/* the thread, which begins with the first use */
	bool busy;			/* it was given something */
	pthread_t thread;
	int go;				/* eventfd that the thread waits on */
	sem_t gone;
	void (*fn)(void *arg);		/* NULL: the thread ends */
	void *arg;
};

/* A zeroed one is ready.  Where there is one processor, or the thread cannot be had, fn is over when this returns. */
void aside_begin(struct aside *a, void (*fn)(void *arg), void *arg);
void aside_end(struct aside *a);	/* waits for what was begun */
void aside_stop(struct aside *a);	/* it may be begun anew */

#endif
