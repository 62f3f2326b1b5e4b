#ifndef WIRE_JSON_SPLIT_H
#define WIRE_JSON_SPLIT_H
/*
 * Objects out of a text that is too long to hold: the values of a stream that
 * stand one behind the other (a watch), or the elements of the array "items"
 * of one object (a list).  Bytes come in any pieces.  Only brackets are
 * counted and strings skipped here, so that the place where an object ends is
 * found even when the object is bad; json_parse() judges each one.  Held are
 * the bytes of one object, at most JSON_SIZE_MAX, and of a list what is not
 * in items.
 */
#include <stdbool.h>
#include <stddef.h>
#include "base/str.h"

struct json_split {
	/* One object, not terminated, for the time of the call.  whole false: it is too long, and this is its beginning. */
	void (*each)(void *ctx, const char *text, size_t len, bool whole);
	void *ctx;
	struct str frame;		/* of a list: all but the elements; more than JSON_FRAME_MAX is cut */
	struct str text;		/* of the object at hand what came in earlier pieces */
	unsigned depth;			/* of open brackets */
	bool list, items;		/* inside of the elements */
	bool string, escape;		/* inside of a string, behind a backslash */
	bool begun;			/* inside of an object */
	bool cut;			/* the object at hand is longer than may be held */
};
enum { JSON_FRAME_MAX = 16384 };

void json_split_init(struct json_split *s, bool list, void (*each)(void *ctx, const char *text, size_t len, bool whole),
		     void *ctx);
void json_split_feed(struct json_split *s, const char *bytes, size_t len);
/* No more comes: true when nothing is left open.  A bare number that was last is handed over here. */
bool json_split_end(struct json_split *s);
void json_split_free(struct json_split *s);	/* what is held; repeatable */

#endif
