/*
 * What a server calls its certificate, and what a file calls a key.  The first byte says which: DER of a
 * certificate, DER of a private key, or PEM of both.  A key that is taken is used once, as TLS would.
 */
#include <string.h>

#include "wire/x509.h"

#include "fuzz.h"

static void certificate(const uint8_t *data, size_t size)
{
	static const uint8_t hash[32] = { 1 };
	struct addr a = { .family = 2, .b = { 10, 0, 0, 1 } };
	struct x509 c;
	char names[64];

	if (x509_read(&c, data, size) < 0)
		return;
	x509_names(&c, names, sizeof names);
	CLAIM(strlen(names) < sizeof names);
	x509_is_for(&c, "kubernetes.default.svc", &a);
	CLAIM(c.odd_key || c.key.key_type);
	if (!c.odd_key && c.key.key_type == BR_KEYTYPE_EC)
		br_ecdsa_i31_vrfy_asn1(&br_ec_prime_i31, hash, 32, &c.key.key.ec, data, 8);
	else if (!c.odd_key)
		br_rsa_i31_pkcs1_vrfy(data, size < 512 ? size : 512, BR_HASH_OID_SHA256, 32, &c.key.key.rsa, (uint8_t[64]){ 0 });
}

static void private_key(const uint8_t *data, size_t size)
{
	static const uint8_t hash[32] = { 1 };
	uint8_t sig[BR_X509_BUFSIZE_SIG + 64];
	struct private_key k;
	struct err e = { 0 };
	int rc = private_key_read(&k, data, size, &e);

	CLAIM((rc < 0) == (e.code != 0));
	if (rc < 0)
		return;
	if (k.type == BR_KEYTYPE_RSA)
		br_rsa_i31_pkcs1_sign(BR_HASH_OID_SHA256, hash, 32, &k.rsa, sig);
	else
		br_ecdsa_i31_sign_asn1(&br_ec_prime_i31, &br_sha256_vtable, hash, &k.ec, sig);
}

static void pem(const uint8_t *data, size_t size)
{
	struct arena mem = { 0 };
	const char *at = arena_strn(&mem, (const char *)data, size);
	struct err e = { 0 };
	char label[32];
	struct der d;

	while (pem_next(&at, &mem, label, &d, &e) > 0) {
		CLAIM(strlen(label) < sizeof label);
		certificate(d.p, (size_t)(d.end - d.p));
		private_key(d.p, (size_t)(d.end - d.p));
	}
	arena_free(&mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const reader[])(const uint8_t *data, size_t size) = { certificate, private_key, pem };

	if (size)
		reader[data[0] % 3](data + 1, size - 1);
	return 0;
}
