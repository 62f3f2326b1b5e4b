#ifndef WIRE_JSON_H
#define WIRE_JSON_H
/*
 * JSON in and out.  Reading: the whole text is checked against the grammar
 * first (RFC 8259, UTF-8, depth, no NUL), so that an error has a line and a
 * column; jsmn then makes tokens; fields are read by tables of rows.
 * Integers stay exact to 64 bits; nothing goes through a double.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/prefix.h"
#include "base/str.h"

enum { JSON_DEPTH_MAX = 32, JSON_SIZE_MAX = 4 << 20, JSON_ELEMENTS_MAX = 65536 };

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_token;			/* layout in json_int.h */
struct json_mark;
struct json {
	const char *text;		/* must outlive the document, which owns it only when own says so */
	size_t len;
	struct json_token *tokens;
	int count;
	struct json_mark *marks;	/* place of each token in another text (YAML), or NULL: counted in text */
	char *own;			/* text, when it was made for this document (YAML), or NULL */
};
/* A value: index of its token, or -1 for "absent". */
typedef int json_value;

/* 0, or -EINVAL with "LINE:COL: text" in *e, or -EFBIG. */
int json_parse(struct json *j, const char *text, size_t len, struct err *e);
void json_free(struct json *j);

enum json_type json_type(const struct json *j, json_value v);	/* JSON_NULL when absent */
/* Line and column where v begins: both from 1, columns count bytes. */
void json_place(const struct json *j, json_value v, unsigned *line, unsigned *column);
/* The raw text of v, quotes included for strings. */
const char *json_raw(const struct json *j, json_value v, size_t *len);

json_value json_get(const struct json *j, json_value object, const char *name);	/* -1: absent, or not an object */
json_value json_path(const struct json *j, json_value object, const char *path);	/* "metadata.name" */
unsigned json_length(const struct json *j, json_value container);	/* members or elements; 0 for others */
/* Iteration over an array or object: first/next give the element, or the member's name token. */
json_value json_first(const struct json *j, json_value container);	/* -1 when empty */
json_value json_next(const struct json *j, json_value container, json_value v);
json_value json_member(const struct json *j, json_value name);	/* value of a member from its name */
#define json_each(j, container, v) \
	for (json_value v = json_first(j, container); v >= 0; v = json_next(j, container, v))

/* Unescaped copy; NULL unless v is a string. */
const char *json_string(const struct json *j, json_value v, struct arena *mem);
/* The same to buf, cut where it is full.  False: that, or v is no string ("" then). */
bool json_copy(const struct json *j, json_value v, char *buf, size_t size);
bool json_is(const struct json *j, json_value v, const char *text);
int json_int(const struct json *j, json_value v, int64_t *out);	/* -EINVAL, -ERANGE */
int json_bool(const struct json *j, json_value v, bool *out);

/*
 * Decoding by a table.  Each row names a member ("spec.cidr" is one of an object
 * inside), where its value goes and the reader for it.  Null counts as absent.  A
 * member that appears twice among those we read is refused; members that no row
 * names are skipped.  Errors: "LINE:COL: <path>: text" in *e.  At most 32 rows.
 */
struct json_ctx {
	const struct json *j;
	struct arena *mem;		/* strings and arrays go here */
	struct err *e;
	json_value root;		/* errors name the way from here: "spec.peers[2]" */
};
struct json_field {
	const char *name;
	size_t offset;
	int (*read)(struct json_ctx *c, json_value v, void *field);
	bool required;
};
int json_fields(struct json_ctx *c, json_value object, const struct json_field *fields, unsigned count, void *out);
/* The elements of the array v, each read into size bytes of *items (in c->mem).  -EINVAL when v is no array or too long. */
int json_array(struct json_ctx *c, json_value v, size_t size,
	       int (*read)(struct json_ctx *c, json_value v, void *item), void **items, unsigned *count);
/* The same for elements that are put together into one field. */
int json_elements(struct json_ctx *c, json_value v, int (*read)(struct json_ctx *c, json_value v, void *field), void *field);
/* Refuses v, or a member of it that may be missing: puts place and path before the text; returns -EINVAL.  The first refusal counts. */
int json_refuse(struct json_ctx *c, json_value v, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int json_refuse_member(struct json_ctx *c, json_value object, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Readers for common types. */
int json_read_string(struct json_ctx *c, json_value v, void *field);	/* const char * */
int json_read_bool(struct json_ctx *c, json_value v, void *field);
int json_read_int64(struct json_ctx *c, json_value v, void *field);
int json_read_u32(struct json_ctx *c, json_value v, void *field);
int json_read_prefix(struct json_ctx *c, json_value v, void *field);	/* struct prefix, no host bits allowed */
int json_read_addr(struct json_ctx *c, json_value v, void *field);

/* Writing: commas are put where they belong; what is not UTF-8 becomes U+FFFD; a NULL string is null. */
struct json_out {
	struct str *to;
	bool comma;
};
void json_open(struct json_out *o, const char *name, char bracket);	/* '{' or '['; name NULL in arrays and at the top */
void json_close(struct json_out *o, char bracket);			/* '}' or ']' */
void json_put_string(struct json_out *o, const char *name, const char *value);
void json_put_int(struct json_out *o, const char *name, int64_t value);
void json_put_bool(struct json_out *o, const char *name, bool value);
void json_put_null(struct json_out *o, const char *name);
void json_put_raw(struct json_out *o, const char *name, const char *json, size_t len);

#endif
