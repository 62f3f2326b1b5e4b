#include "base/trim.h"

#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STACK_DEPTH = 1 << 20, STACK_KEPT = 4096 };

extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));	/* the linker's */

static void drop(uintptr_t from, uintptr_t to)
{
	const uintptr_t page = getauxval(AT_PAGESZ);

	from = (from + page - 1) & ~(page - 1);
	to &= ~(page - 1);
	if (from < to)
		madvise((void *)from, to - from, MADV_DONTNEED);	/* where nothing is mapped, there is nothing to drop */
}

void trim_memory(void)
{
	const uintptr_t base = (uintptr_t)&__ehdr_start, here = (uintptr_t)__builtin_frame_address(0);
	const ElfW(Phdr) *p = (const ElfW(Phdr) *)(base + __ehdr_start.e_phoff);

	for (int i = 0; i < __ehdr_start.e_phnum; i++)
		if (p[i].p_type == PT_LOAD && p[i].p_flags & PF_X && !(p[i].p_flags & PF_W))
			drop(base + p[i].p_vaddr, base + p[i].p_vaddr + p[i].p_memsz);
	drop(here - STACK_DEPTH, here - STACK_KEPT);
}
