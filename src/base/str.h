#ifndef BASE_STR_H
#define BASE_STR_H
/*
 * Growing text.  One struct str is one heap buffer, always terminated;
 * str_free() gives it back.  Appending cannot fail (xrealloc).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
	char *s;		/* NULL while empty: use str_text() to print */
	size_t len, cap;
};

void str_add(struct str *b, const char *data, size_t len);
void str_puts(struct str *b, const char *text);
/* Appends len bytes for the caller to fill; valid until the next change. */
char *str_grow(struct str *b, size_t len);
void str_printf(struct str *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void str_clear(struct str *b);	/* empty, keeps the buffer */
void str_free(struct str *b);
const char *str_text(const struct str *b);	/* "" while empty */
#define autostr __attribute__((cleanup(str_free)))

/* Copies text into dst[size], always terminated.  False when it was cut. */
bool str_copy(char *dst, size_t size, const char *text);
bool str_prefix(const char *text, const char *prefix);

/* Decimal text to *value, whole text, at most max.  -EINVAL or -ERANGE. */
int str_u64(const char *text, uint64_t max, uint64_t *value);

#endif
