#ifndef BASE_ERR_H
#define BASE_ERR_H
/*
 * What a user must be told.  A struct err is passed down, filled where the
 * text is known, and returned in one statement:
 *
 *	return err_set(e, EINVAL, "%s: want address/length", text);
 *
 * The text begins with the offending thing.  Callers higher up may put a
 * place before it (err_prefix), never after.
 */
#include <stdarg.h>
#include <stddef.h>

struct err {
	int code;		/* positive errno; 0: nothing went wrong */
	char text[256];
};

/* Fills *e (e may be NULL: then only the code counts).  Returns -code. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * What fmt says into to[size], at least 8 bytes.  Of a text that does not fit the middle goes ("..."): the thing
 * stands first, the reason last.  The arguments may point into to.
 */
void err_text(char *to, size_t size, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

/* Puts a place ("pods.json:3:7: ") before the text of *e; keeps the code. */
void err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
