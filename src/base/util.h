#ifndef BASE_UTIL_H
#define BASE_UTIL_H
/* The few macros and helpers that every file uses. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof *(a))
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* Heap that cannot fail: log_die() when the kernel gives no more. */
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *text);

static inline void autoclose_(int *fd) { if (*fd >= 0) close(*fd); }
static inline void autofree_(void *p) { free(*(void **)p); }
#define autoclose __attribute__((cleanup(autoclose_)))
#define autofree  __attribute__((cleanup(autofree_)))

/* Gives an autoclose descriptor away: returns it and leaves -1 behind. */
static inline int keep_fd(int *fd) { int f = *fd; *fd = -1; return f; }

/* Monotonic and wall clock. */
uint64_t now_ms(void);		/* CLOCK_MONOTONIC, milliseconds */
int64_t wall_ns(void);		/* CLOCK_REALTIME, nanoseconds */

/* wall (nanoseconds since 1970) in UTC; month and day from 1.  The C library's way brings its time zones along. */
struct utc { int year, month, day, hour, minute, second; };
struct utc utc_of(int64_t wall);

#endif
