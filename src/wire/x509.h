#ifndef WIRE_X509_H
#define WIRE_X509_H
/*
 * Certificates and private keys, read from DER (RFC 5280, 5915, 5958, 8017).  Nothing is verified here; what is
 * read points into the bytes given, which must outlive it.
 */
#include <bearssl.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/prefix.h"
#include "wire/der.h"

struct x509 {
	struct der whole, issuer, subject;	/* names with their tags, as they are compared */
	struct der names;		/* what subjectAltName holds; empty: there is none */
	int64_t not_before, not_after;	/* seconds since 1970 */
	br_x509_pkey key;
	const char *odd_key, *odd_signature;	/* names of what we cannot use ("Ed25519"), or NULL */
	bool ca;			/* basicConstraints says so */
};

int x509_read(struct x509 *c, const uint8_t *data, size_t len);	/* -EINVAL: no certificate */

/*
 * Is it for this DNS name (exactly, but for case; wildcards and the common name do not count), for this address?
 * name NULL or addr->family 0: not asked for.
 */
bool x509_is_for(const struct x509 *c, const char *name, const struct addr *addr);
/* The names it is for, cut where there is no more room: "kubernetes, 10.0.0.1". */
void x509_names(const struct x509 *c, char *out, size_t size);

struct private_key {
	unsigned type;			/* BR_KEYTYPE_RSA or BR_KEYTYPE_EC; 0: none */
	br_rsa_private_key rsa;
	br_ec_private_key ec;
};

/* PKCS#1, SEC 1 and PKCS#8, in the clear. */
int private_key_read(struct private_key *k, const uint8_t *data, size_t len, struct err *e);

/*
 * The next block of a PEM text ("-----BEGIN CERTIFICATE-----"), its content in mem.  1: *label and *der are set;
 * 0: there is no more; -EINVAL with *e.  Text around blocks is skipped.
 */
int pem_next(const char **text, struct arena *mem, char label[32], struct der *der, struct err *e);
/* Base64 (RFC 4648; blanks are skipped) into mem.  -EINVAL. */
int base64_read(const char *text, size_t len, struct arena *mem, struct der *out);

#endif
