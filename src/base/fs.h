#ifndef BASE_FS_H
#define BASE_FS_H
/* Files: read whole, replace atomically, write a sysctl. */
#include <stddef.h>
#include <sys/types.h>
#include "base/str.h"

/* Reads all of path (relative to dirfd, or AT_FDCWD) into b, at most max bytes (-EFBIG).  0 or -errno.  Regular files only (-EINVAL). */
int fs_read(int dirfd, const char *path, size_t max, struct str *b);
int fs_read_fd(int fd, size_t max, struct str *b);	/* the same of an open descriptor, a pipe or stdin too; may block */

/*
 * Writes a new file beside path (".<name>.<pid>.tmp") and renames it over path: a reader
 * sees the old or the new file.  Without fsync: a kill loses nothing, a power cut may.
 */
int fs_replace(int dirfd, const char *path, const void *data, size_t len, mode_t mode);

/* Writes path in place, made or cut first; removed again when that fails. */
int fs_write(int dirfd, const char *path, const void *data, size_t len, mode_t mode);

int fs_mkdirs(const char *path, mode_t mode);		/* like mkdir -p; 0 or -errno */

/* Removes a file, or a folder with all that is in it, so many levels of folders deep.  0 (also when there is none), or -errno. */
int fs_remove(const char *path, unsigned depth);

/*
 * Writes text when the file holds something else (so an equal value is never rewritten). 1 changed, 0 equal, -errno.
 * A container's own /proc/sys is read-only: there the host's is under /host.
 */
int fs_sysctl(const char *path, const char *text);

/* flock(LOCK_EX | LOCK_NB).  0, -EWOULDBLOCK, -errno. */
int fs_trylock(int fd);
/* The same of a file, made if it is missing; who held the lock may have removed it.  *fd: -1, or from the last try. */
int fs_trylock_file(int dirfd, const char *path, int *fd);

#endif
