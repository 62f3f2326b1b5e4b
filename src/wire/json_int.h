#ifndef WIRE_JSON_INT_H
#define WIRE_JSON_INT_H
/*
 * For the readers that make documents (JSON, YAML).  Tokens stand in the
 * order of the text: a container, then all that is in it; a member is its
 * name token and then its value.
 */
#include "wire/json.h"

struct json_token {
	uint16_t type;		/* enum json_type */
	uint16_t escaped;	/* a string with a backslash in it */
	int start, end;		/* in text; a string without its quotes */
	int size;		/* members or elements; 1 for a name */
	int next;		/* index of the first token after all that belongs to this one */
};
struct json_mark { unsigned line, column; };

/* The grammar, before anything else looks at the text.  Tokens are counted; -EINVAL with "LINE:COL: text". */
int json_check(const char *text, size_t len, int *tokens, struct err *e);

/*
 * The same for a text that comes in pieces.  With keep it ends with its first value, and is kept there, with tokens
 * for it, but for the values of members that ballast names, which are only checked.
 */
struct json_check {
	struct str *keep;		/* NULL: all is one piece, tokens are only counted */
	const char *const *ballast;	/* NULL-terminated, or NULL; inside of metadata it is managedFields */
	struct json_token *tokens;	/* owned by the user, room for so many */
	int count, room;
	bool over;			/* the value has come to its end */
	const char *wrong;		/* or it is none, and why */
	bool ends, lexeme_wrong;	/* since the text ends; the place is where the number, word or character begins */
	size_t seen, lexeme;		/* bytes before this piece, or place; where the lexeme began */
	/* private */
	const char *piece, *run;	/* of it, what is to be kept begins here */
	const char *word;		/* what is left of it */
	uint64_t objects, bits;		/* which depths are objects'; of ballast, to pass over most names */
	unsigned depth, skip, metadata;	/* skip: below this depth all is left out; metadata: depth of its members */
	size_t comma;			/* of what is kept, where the last one is */
	uint16_t unit;			/* of \uXXXX */
	uint8_t at, number, more, low, top;	/* states; bytes of a character: how many more, between what the next is */
	bool name, high;		/* a member's name; the unit is a first half */
	int open[JSON_DEPTH_MAX + 1];	/* tokens */
};
/* From the beginning; tokens and room stay. */
void json_check_init(struct json_check *c, struct str *keep, const char *const *ballast);
const char *json_check_piece(struct json_check *c, const char *p, const char *end);	/* how far it came */
void json_check_end(struct json_check *c);
bool json_check_in_string(const struct json_check *c, bool *escape);	/* escape: behind a backslash */

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
