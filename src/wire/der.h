#ifndef WIRE_DER_H
#define WIRE_DER_H
/* DER (X.690), read: a cursor that turns bad at the first thing that is not as it should be, and stays bad. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DER_INTEGER = 0x02, DER_BITS = 0x03, DER_OCTETS = 0x04, DER_OID = 0x06, DER_SEQUENCE = 0x30, DER_SET = 0x31 };

struct der {
	const uint8_t *p, *end;
	bool bad;
};

struct der der_of(const uint8_t *data, size_t len);
size_t der_left(const struct der *d);	/* bytes; 0 once it is bad */
bool der_is(const struct der *d, unsigned tag);	/* the next element has this tag */
/* Takes the next element, which has to have this tag; gives what is in it. */
struct der der_take(struct der *d, unsigned tag);
/* Takes the next element whatever it is, whole: with tag and length. */
struct der der_any(struct der *d);
bool der_skip(struct der *d, unsigned tag);	/* takes it if it has this tag */
bool der_equal(const struct der *d, const void *data, size_t len);

#endif
