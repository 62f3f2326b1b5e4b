#ifndef WIRE_JSON_INT_H
#define WIRE_JSON_INT_H
/*
 * For the readers that make documents (JSON, YAML).  Tokens stand in the
 * order of the text: a container, then all that is in it; a member is its
 * name token and then its value.
 */
#include "wire/json.h"

struct json_token {
	enum json_type type;
	int start, end;		/* in text; a string without its quotes */
	int size;		/* members or elements; 1 for a name */
	int next;		/* index of the first token after all that belongs to this one */
};
struct json_mark { unsigned line, column; };

/* The grammar, before anything else looks at the text.  Tokens are counted; -EINVAL with "LINE:COL: text". */
int json_check(const char *text, size_t len, int *tokens, struct err *e);

/* json_is() and json_get() by a text without terminator. */
bool json_is_bytes(const struct json *j, json_value v, const char *text, size_t len);
json_value json_get_bytes(const struct json *j, json_value object, const char *name, size_t len);

/* Line and column of text[at]. */
struct json_mark json_mark(const char *text, size_t at);

/* Length of the UTF-8 character at p (RFC 3629: no surrogates, nothing overlong), or 0. */
unsigned utf8_length(const char *p, size_t left);

/*
 * The next character of a checked string token's text, escapes decoded, as
 * UTF-8 in out; moves *at on and returns the number of bytes.
 */
unsigned json_char(const char **at, char out[4]);

#endif
