#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/util.h"

static ssize_t read_some(int fd, void *buf, size_t size)
{
	ssize_t n;

	do
		n = read(fd, buf, size);
	while (n < 0 && errno == EINTR);
	return n;
}

/* A read that brings less than least is the last one: 1 on pipes, a whole buffer on files. */
static int read_all(int fd, size_t max, struct str *b, bool file)
{
	char buf[8192];
	ssize_t n, least = file ? sizeof buf : 1;

	str_clear(b);
	do {
		n = read_some(fd, buf, sizeof buf);
		if (n < 0)
			return -errno;
		if ((size_t)n > max - b->len)
			return -EFBIG;
		str_add(b, buf, (size_t)n);
	} while (n >= least);
	return 0;
}

int fs_read_fd(int fd, size_t max, struct str *b)
{
	return read_all(fd, max, b, false);
}

int fs_read(int dirfd, const char *path, size_t max, struct str *b)
{
	/* O_NONBLOCK: a fifo that lies in the folder must not stop us. */
	autoclose int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	str_clear(b);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	return st.st_size > (off_t)max ? -EFBIG : read_all(fd, max, b, true);
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Writes "<folder>/.<name>.<pid>.tmp" for path to temp[PATH_MAX]. */
static int temp_name(char temp[PATH_MAX], const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	int n = snprintf(temp, PATH_MAX, "%.*s.%.200s.%ld.tmp", (int)(name - path), path, name, (long)getpid());

	return n < 0 || n >= PATH_MAX || !*name ? -ENAMETOOLONG : 0;
}

/* A leftover of that name is of a process that had our pid before us (in a container: every time). */
static int open_temp(int dirfd, const char *temp)
{
	enum { FLAGS = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC };
	int fd = openat(dirfd, temp, FLAGS, 0600);

	if (fd < 0 && errno == EEXIST && unlinkat(dirfd, temp, 0) == 0)
		fd = openat(dirfd, temp, FLAGS, 0600);
	return fd < 0 ? -errno : fd;
}

int fs_write(int dirfd, const char *path, const void *data, size_t len, mode_t mode)
{
	autoclose int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
	int rc = fd < 0 ? -errno : write_all(fd, data, len);

	if (fd >= 0 && rc < 0)
		unlinkat(dirfd, path, 0);
	return rc;
}

int fs_replace(int dirfd, const char *path, const void *data, size_t len, mode_t mode)
{
	char temp[PATH_MAX];
	int rc = temp_name(temp, path);
	autoclose int fd = rc < 0 ? rc : open_temp(dirfd, temp);

	if (fd < 0)
		return fd;
	rc = write_all(fd, data, len);
	if (rc == 0 && mode != 0600 && fchmod(fd, mode) < 0)
		rc = -errno;
	close(keep_fd(&fd));	/* before the rename: who watches the folder then hears of it once */
	if (rc == 0 && renameat(dirfd, temp, dirfd, path) < 0)
		rc = -errno;
	if (rc < 0)
		unlinkat(dirfd, temp, 0);
	return rc;
}

int fs_remove(const char *path, unsigned depth)
{
	char below[PATH_MAX];
	struct dirent *entry;
	DIR *d;
	int rc = 0;

	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	if ((errno != EISDIR && errno != EPERM) || !depth || !(d = opendir(path)))
		return -errno;
	while ((entry = readdir(d))) {
		int n = snprintf(below, sizeof below, "%s/%s", path, entry->d_name), one;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		one = n < (int)sizeof below ? fs_remove(below, depth - 1) : -ENAMETOOLONG;
		rc = rc ? rc : one;
	}
	closedir(d);
	return rmdir(path) < 0 && !rc ? -errno : rc;
}

int fs_mkdirs(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	struct stat st;
	int rc;

	if (!*path)
		return -ENOENT;
	if (!str_copy(part, sizeof part, path))
		return -ENAMETOOLONG;
	for (char *at = part + 1; ; at++) {
		char c = *at;

		if (c != '/' && c != '\0')
			continue;
		*at = '\0';
		rc = mkdir(part, mode) < 0 ? -errno : 0;
		/* EROFS and EACCES come for what exists, too. */
		if (rc < 0 && rc != -EEXIST && stat(part, &st) < 0)
			return rc;
		*at = c;
		if (!c)
			break;
	}
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static size_t trimmed(const char *text)
{
	size_t len = strlen(text);

	while (len && strchr(" \t\r\n", text[len - 1]))
		len--;
	return len;
}

int fs_sysctl(const char *path, const char *text)
{
	autoclose int fd = openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC);	/* musl's open() sets the flag by a second call */
	size_t len = trimmed(text);
	char now[256];
	int refused = 0;
	ssize_t n;

	if (fd < 0 && (errno == EROFS || errno == EACCES)) {
		refused = errno;
		snprintf(now, sizeof now, "/host%s", path);		/* see fs.h */
		fd = openat(AT_FDCWD, now, O_RDWR | O_CLOEXEC);
		if (fd >= 0)
			refused = 0;
		else
			fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);	/* an equal value needs no writing */
	}
	if (fd < 0 || (n = read(fd, now, sizeof now - 1)) < 0)
		return -errno;
	now[n] = '\0';
	if (trimmed(now) == len && strncmp(now, text, len) == 0)
		return 0;
	if (refused)
		return -refused;
	n = pwrite(fd, text, len, 0);
	return n < 0 ? -errno : n == (ssize_t)len ? 1 : -EIO;
}

int fs_trylock(int fd)
{
	int rc;

	do
		rc = flock(fd, LOCK_EX | LOCK_NB);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

int fs_trylock_file(int dirfd, const char *path, int *fd)
{
	struct stat st;
	int rc;

	if (*fd < 0 && (*fd = openat(dirfd, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
		return -errno;
	rc = fs_trylock(*fd);
	if (fstat(*fd, &st) == 0 && st.st_nlink)
		return rc;
	close(*fd);
	*fd = -1;
	return -EWOULDBLOCK;
}
