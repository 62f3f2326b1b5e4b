/*
 * What a static program made of Debian's libraries needs and musl does not have.
 *
 * The archives of BearSSL, libmnl and libyaml are built against glibc with
 * _FORTIFY_SOURCE, and on 32 bit with its 64-bit times and offsets. The functions
 * here keep glibc's promise where there is a length to check: they end the
 * process rather than write past the object. "make link-test" links the libraries
 * whole for every architecture, so a name that is missing here shows there first.
 */
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>

void *__memcpy_chk(void *to, const void *from, size_t len, size_t room);
void *__memmove_chk(void *to, const void *from, size_t len, size_t room);
void *__memset_chk(void *to, int byte, size_t len, size_t room);
int __fprintf_chk(FILE *f, int flag, const char *fmt, ...);
int __sprintf_chk(char *to, int flag, size_t room, const char *fmt, ...);

void *__memcpy_chk(void *to, const void *from, size_t len, size_t room)
{
	if (len > room)
		abort();
	return memcpy(to, from, len);
}

void *__memmove_chk(void *to, const void *from, size_t len, size_t room)
{
	if (len > room)
		abort();
	return memmove(to, from, len);
}

void *__memset_chk(void *to, int byte, size_t len, size_t room)
{
	if (len > room)
		abort();
	return memset(to, byte, len);
}

/* glibc's flag refuses %n in writable formats; the libraries' are all literals. */
int __fprintf_chk(FILE *f, int flag, const char *fmt, ...)
{
	va_list ap;
	int n;

	(void)flag;
	va_start(ap, fmt);
	n = vfprintf(f, fmt, ap);
	va_end(ap);
	return n;
}

int __sprintf_chk(char *to, int flag, size_t room, const char *fmt, ...)
{
	va_list ap;
	int n;

	(void)flag;
	va_start(ap, fmt);
	n = vsnprintf(to, room, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n >= room)
		abort();
	return n;
}

#if __SIZEOF_LONG__ == 4
/* musl has one size of time_t and off_t, and these are its plain names. */
int open64(const char *path, int flags, ...);
int __getsockopt64(int fd, int level, int name, void *value, socklen_t *len);
int __setsockopt64(int fd, int level, int name, const void *value, socklen_t len);
ssize_t __recvmsg64(int fd, struct msghdr *msg, int flags);

int open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode = 0;

	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return open(path, flags, mode);
}

int __getsockopt64(int fd, int level, int name, void *value, socklen_t *len)
{
	return getsockopt(fd, level, name, value, len);
}

int __setsockopt64(int fd, int level, int name, const void *value, socklen_t len)
{
	return setsockopt(fd, level, name, value, len);
}

ssize_t __recvmsg64(int fd, struct msghdr *msg, int flags)
{
	return recvmsg(fd, msg, flags);
}
#endif

/*
 * A dynamic linker makes the relocated constants (RELRO) read-only once they are
 * relocated. musl's start code relocates a static-pie program and leaves it at that.
 * Called by those who live long; the CNI plugin is gone before it would matter.
 */
void relro_protect(void);

extern const ElfW(Ehdr) __ehdr_start;	/* the linker's: where this program begins */

void relro_protect(void)
{
	const char *base = (const char *)&__ehdr_start;
	const ElfW(Phdr) *ph = (const void *)(base + __ehdr_start.e_phoff);
	const uintptr_t page = getauxval(AT_PAGESZ);

	for (int i = 0; i < __ehdr_start.e_phnum; i++) {
		uintptr_t from = ((uintptr_t)base + ph[i].p_vaddr) & -page;
		uintptr_t to = ((uintptr_t)base + ph[i].p_vaddr + ph[i].p_memsz) & -page;

		if (ph[i].p_type == PT_GNU_RELRO && to > from)
			mprotect((void *)from, to - from, PROT_READ);
	}
}
