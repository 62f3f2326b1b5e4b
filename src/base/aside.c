#include "base/aside.h"

#include <sys/eventfd.h>
#include <unistd.h>
#include "base/thread.h"

static void *run(void *arg)
{
	struct aside *a = arg;
	eventfd_t n;

	for (;;) {
		if (eventfd_read(a->go, &n) < 0)
			continue;	/* interrupted */
		if (!a->fn)
			return NULL;
		a->fn(a->arg);
		sem_post(&a->gone);
	}
}

static void start(struct aside *a)
{
	a->tried = true;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2 || (a->go = eventfd(0, EFD_CLOEXEC)) < 0)
		return;
	sem_init(&a->gone, 0, 0);
	a->running = thread_start(&a->thread, run, a) == 0;
	if (!a->running)
		close(a->go);
}

void aside_begin(struct aside *a, void (*fn)(void *arg), void *arg)
{
	if (!a->tried)
		start(a);
	a->fn = fn;
	a->arg = arg;
	a->busy = a->running && eventfd_write(a->go, 1) == 0;
	if (!a->busy)
		fn(arg);
}

void aside_end(struct aside *a)
{
	while (a->busy && sem_wait(&a->gone) < 0)
		;		/* interrupted */
	a->busy = false;
}

void aside_stop(struct aside *a)
{
	if (!a->running)
		return;
	a->fn = NULL;
	eventfd_write(a->go, 1);
	pthread_join(a->thread, NULL);
	close(a->go);
	*a = (struct aside){ 0 };
}
