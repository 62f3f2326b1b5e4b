#ifndef BASE_PREFIX_H
#define BASE_PREFIX_H
/*
 * Addresses and prefixes of both families.  Bytes are in network order; an
 * IPv4 address is the first 4 bytes, the other 12 are zero, so two values
 * of one family compare by memcmp.  family 0 means "none".
 */
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

struct addr {
	uint8_t family;			/* AF_INET, AF_INET6, or 0 */
	uint8_t b[16];
};

struct prefix {
	struct addr addr;
	uint8_t len;			/* bits */
};

struct addr_text { char s[48]; };	/* returned by value: printable to the end of the statement */

int addr_parse(struct addr *a, const char *text, struct err *e);
/* "a.b.c.d/len"; a missing "/len" means a host.  Host bits are kept; see prefix_mask(). */
int prefix_parse(struct prefix *p, const char *text, struct err *e);
struct addr_text addr_text(const struct addr *a);	/* "" when family is 0 */
struct addr_text prefix_text(const struct prefix *p);

unsigned addr_bits(const struct addr *a);		/* 32 or 128 */
unsigned addr_bytes(const struct addr *a);		/* 4 or 16 */
int addr_cmp(const struct addr *a, const struct addr *b);	/* family, then bytes */
int prefix_cmp(const struct prefix *a, const struct prefix *b);	/* address, then length */
bool addr_equal(const struct addr *a, const struct addr *b);
bool prefix_equal(const struct prefix *a, const struct prefix *b);
bool prefix_has(const struct prefix *p, const struct addr *a);
bool prefix_covers(const struct prefix *outer, const struct prefix *inner);
bool prefix_overlaps(const struct prefix *a, const struct prefix *b);

struct prefix prefix_mask(struct prefix p);		/* host bits cleared */
struct prefix prefix_host(const struct addr *a);	/* /32 or /128 */
/* The address n above a, and the distance b - a (UINT64_MAX when it does not fit or families differ). */
struct addr addr_plus(const struct addr *a, uint64_t n);
uint64_t addr_distance(const struct addr *a, const struct addr *b);

bool addr_is_link_local(const struct addr *a);
bool addr_is_loopback(const struct addr *a);

/* Index of a family in arrays of two: AF_INET 0, AF_INET6 1. */
enum { FAMILY_V4, FAMILY_V6, FAMILIES };
int family_index(uint8_t family);
uint8_t family_of(int index);

#endif
