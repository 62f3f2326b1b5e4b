#ifndef BASE_FORMAT_H
#define BASE_FORMAT_H
/*
 * What this program uses of printf: flags "-0+ #", widths, precisions, the lengths hh to j, and d i u o x X c s p m %.
 * No floating point, no %n; what it does not know stays in the text as it is.
 */
#include <stdarg.h>
#include <stddef.h>

/* As vsnprintf(): the length of the whole text, of which at most size - 1 bytes and a NUL are written. */
int format_text(char *out, size_t size, const char *fmt, va_list ap);

#endif
