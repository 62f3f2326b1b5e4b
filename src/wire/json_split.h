#ifndef WIRE_JSON_SPLIT_H
#define WIRE_JSON_SPLIT_H
/*
 * Objects out of a text that is too long to hold: the values of a stream that
 * stand one behind the other (a watch), or the elements of the array "items"
 * of one object (a list).  Bytes come in any pieces, and are looked at once: each
 * object is checked and made a document as it comes.  Of a bad one brackets are
 * counted and strings skipped, so that the place where it ends is found.  Held are
 * the bytes of one object, at most JSON_SIZE_MAX, and of a list what is not
 * in items.
 */
#include "wire/json.h"

struct json_split {
	/*
	 * One object, for the time of the call.  wrong: it is none, or too long; then j->text is how it begins.
	 * What ballast names is neither in the document nor in its text.
	 */
	void (*each)(void *ctx, const struct json *j, const char *wrong);
	void *ctx;
	const char *const *ballast;	/* members whose values are left out, NULL-terminated, or NULL; of metadata managedFields */
	struct str frame;		/* of a list: all but the elements; more than JSON_FRAME_MAX is cut */
	struct str text;		/* of the object at hand */
	struct json_check *check;
	unsigned depth;			/* of open brackets */
	bool list, items;		/* inside of the elements */
	bool string, escape;		/* inside of a string, behind a backslash */
	bool begun;			/* inside of an object */
};
enum { JSON_FRAME_MAX = 16384 };

void json_split_init(struct json_split *s, bool list, void (*each)(void *ctx, const struct json *j, const char *wrong),
		     void *ctx);
void json_split_feed(struct json_split *s, const char *bytes, size_t len);
/* No more comes: true when nothing is left open.  A bare number that was last is handed over here. */
bool json_split_end(struct json_split *s);
void json_split_free(struct json_split *s);	/* what is held; repeatable */

#endif
