#ifndef WIRE_YAML_H
#define WIRE_YAML_H
/*
 * YAML in: a text becomes the same kind of document that json_parse() makes,
 * so that whoever decodes a struct json (json_fields, json_get, json_raw, ...)
 * reads YAML too.  A file's reader picks the parser by the file's name and
 * does nothing else differently:
 *
 *	rc = yaml ? yaml_parse(&j, text, len, &e) : json_parse(&j, text, len, &e);
 *
 * The text may hold several documents ("---").  Empty ones and null are left
 * out.  If one is left, value 0 is that document; otherwise value 0 is an array
 * of all of them, which is empty for a file of comments.  One error in any of
 * them refuses the whole text.
 *
 * Plain scalars have the types that Kubernetes gives them (yaml_plain.c).
 * Anchors, aliases, tags, merge keys, a name given twice in one mapping, names
 * that are not scalars, NUL, what is not UTF-8, more than JSON_DEPTH_MAX levels
 * or JSON_SIZE_MAX bytes, and what is more than twice that as JSON are refused.
 */
#include "wire/json.h"

/*
 * 0, or -EINVAL, -EFBIG or -ENOMEM with "LINE:COL: text" in *e (a column counts
 * characters).  The document does not refer to text; json_free() frees it.
 */
int yaml_parse(struct json *j, const char *text, size_t len, struct err *e);

#endif
