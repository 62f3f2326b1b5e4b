#ifndef BASE_THREAD_H
#define BASE_THREAD_H
/* The loop is the program; what would sleep in the kernel for long is done by a thread that shares nothing with it. */
#include <pthread.h>

/* As pthread_create(), with every signal blocked, since these are the loop's.  0 or -errno. */
int thread_start(pthread_t *t, void *(*fn)(void *arg), void *arg);

#endif
