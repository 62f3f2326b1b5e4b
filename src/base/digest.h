#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H
/* Hashes that names in the field are made of.  Output is written whole; hex is lower case. */
#include <stddef.h>
#include <stdint.h>

void sha1(uint8_t out[20], const void *data, size_t len);
void sha256(uint8_t out[32], const void *data, size_t len);
void sha3_256(uint8_t out[32], const void *data, size_t len);	/* FIPS 202 */
uint32_t fnv32a(const void *data, size_t len);
uint64_t fnv64a(const void *data, size_t len);
uint64_t sha1_64(const void *data, size_t len);	/* its first 8 bytes: where others choose the data */

/* len bytes of data as 2*len hex digits and a terminator. */
void hex_text(char *out, const uint8_t *data, size_t len);
/* RFC 4648 base32, upper case, no padding; out needs (len * 8 + 4) / 5 + 1 bytes. */
void base32_text(char *out, const uint8_t *data, size_t len);

#endif
