#ifndef MODEL_SELECTOR_H
#define MODEL_SELECTOR_H
/*
 * Selectors: which labels an object must have.  One form for Calico's language
 *
 *	app == 'web' && !(tier in {'db', 'cache'} || has(legacy))
 *
 * and for Kubernetes' labelSelectors, which are put together term by term.  A selector is a
 * postfix list of terms, so matching is a loop; it lives in the arena that it was made in.
 */
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"

enum selector_test {
	SELECT_ALL,			/* everything */
	SELECT_GLOBAL,			/* what has no namespace */
	SELECT_HAS,			/* has(key) */
	SELECT_IN,			/* the key is there with one of the values; ==, in */
	SELECT_CONTAINS, SELECT_STARTS, SELECT_ENDS,	/* the value of the key and values[0] */
	SELECT_NOT, SELECT_AND, SELECT_OR,	/* of what stands before */
};

struct selector_term {
	uint8_t test;			/* enum selector_test */
	const char *key;
	const char *const *values;	/* sorted, no two alike */
	unsigned value_count;
};

struct selector {
	const struct selector_term *terms;
	unsigned count;
	uint64_t digest;		/* the same for selectors of the same terms */
};

/* Whose labels: find() gives a key's value, or NULL. */
struct label_source { const char *(*find)(const struct label_source *s, const char *key); };

/* Calico's language; "" is all().  NULL with *e: "column 7: want a label". */
const struct selector *selector_parse(struct arena *mem, const char *text, struct err *e);
bool selector_match(const struct selector *s, const struct label_source *labels);
const struct selector *selector_copy(struct arena *mem, const struct selector *s);	/* with its texts */

/*
 * Putting one together: terms are added (texts are kept, not copied), each AND the ones before;
 * negate: true where the term is not, so also where the key is missing.  Without a term it is all().
 */
struct selector_maker { struct selector_term *terms; unsigned count, cap; };
void selector_add(struct arena *mem, struct selector_maker *m, enum selector_test test, bool negate, const char *key,
		  const char **values, unsigned count);
const struct selector *selector_made(struct arena *mem, const struct selector_maker *m);

/*
 * A key (and, if *value is not NULL, its value) without which nothing matches: what an index can
 * go by.  False: there is no such key.
 */
bool selector_needs(const struct selector *s, const char **key, const char **value);

#endif
