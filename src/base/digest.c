/*
 * SHA-1 and SHA-256 are BearSSL's.  SHA3-256 is ours, small rather than
 * fast: names of handles are short.  Keccak-f[1600] works on 25 lanes of 64
 * bits, lane x + 5y, bytes little-endian; the rate of SHA3-256 is 136 bytes.
 */
#include "base/digest.h"

#include <bearssl.h>
#include <string.h>

enum { SHA3_RATE = 136, LANES = 25 };

void sha1(uint8_t out[20], const void *data, size_t len)
{
	br_sha1_context c;

	br_sha1_init(&c);
	br_sha1_update(&c, data, len);
	br_sha1_out(&c, out);
}

uint64_t sha1_64(const void *data, size_t len)
{
	uint8_t digest[20];
	uint64_t h = 0;

	sha1(digest, data, len);
	for (int i = 0; i < 8; i++)
		h = h << 8 | digest[i];
	return h;
}

void sha256(uint8_t out[32], const void *data, size_t len)
{
	br_sha256_context c;

	br_sha256_init(&c);
	br_sha256_update(&c, data, len);
	br_sha256_out(&c, out);
}

static uint64_t rotate(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n);
}

static void theta(uint64_t a[LANES])
{
	uint64_t c[5];

	for (unsigned x = 0; x < 5; x++)
		c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
	for (unsigned i = 0; i < LANES; i++)
		a[i] ^= c[(i + 4) % 5] ^ rotate(c[(i + 1) % 5], 1);
}

/* rho and pi in one walk: each lane moves on to the next place, rotated by the triangular numbers. */
static void rho_pi(uint64_t a[LANES])
{
	unsigned x = 1, y = 0;
	uint64_t moving = a[1];

	for (unsigned t = 0; t < 24; t++) {
		unsigned to_y = (2 * x + 3 * y) % 5;
		uint64_t kept;

		x = y;
		y = to_y;
		kept = a[x + 5 * y];
		a[x + 5 * y] = rotate(moving, (t + 1) * (t + 2) / 2 % 64);
		moving = kept;
	}
}

static void chi(uint64_t a[LANES])
{
	for (unsigned y = 0; y < LANES; y += 5) {
		uint64_t row[5];

		memcpy(row, a + y, sizeof row);
		for (unsigned x = 0; x < 5; x++)
			a[y + x] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5]);
	}
}

static void keccak(uint64_t a[LANES])
{
	uint8_t lfsr = 1;	/* FIPS 202 3.2.5: the round constants' bits, x^8 + x^6 + x^5 + x^4 + 1 */

	for (unsigned round = 0; round < 24; round++) {
		theta(a);
		rho_pi(a);
		chi(a);
		for (unsigned j = 0; j < 7; j++) {
			if (lfsr & 1)
				a[0] ^= 1ull << ((1u << j) - 1);
			lfsr = (uint8_t)(lfsr << 1 ^ (lfsr & 0x80 ? 0x71 : 0));
		}
	}
}

static void absorb(uint64_t a[LANES], unsigned at, uint8_t byte)
{
	a[at / 8] ^= (uint64_t)byte << (8 * (at % 8));
}

void sha3_256(uint8_t out[32], const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t a[LANES] = { 0 };
	unsigned at = 0;

	for (size_t i = 0; i < len; i++) {
		absorb(a, at++, p[i]);
		if (at == SHA3_RATE) {
			keccak(a);
			at = 0;
		}
	}
	absorb(a, at, 0x06);
	absorb(a, SHA3_RATE - 1, 0x80);
	keccak(a);
	for (unsigned i = 0; i < 32; i++)
		out[i] = (uint8_t)(a[i / 8] >> (8 * (i % 8)));
}

uint32_t fnv32a(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 16777619u;
	return h;
}

uint64_t fnv64a(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t h = 14695981039346656037ull;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 1099511628211ull;
	return h;
}

void hex_text(char *out, const uint8_t *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[data[i] >> 4];
		*out++ = digits[data[i] & 15];
	}
	*out = '\0';
}

void base32_text(char *out, const uint8_t *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	unsigned bits = 0, have = 0;

	for (size_t i = 0; i < len; i++) {
		bits = (bits << 8 | data[i]) & 0xfff;
		for (have += 8; have >= 5; have -= 5)
			*out++ = digits[bits >> (have - 5) & 31];
	}
	if (have)
		*out++ = digits[bits << (5 - have) & 31];
	*out = '\0';
}
