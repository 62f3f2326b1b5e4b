/* links: src/wire/x509.c src/wire/der.c src/wire/pem.c src/base/arena.c src/base/err.c src/base/log.c src/base/prefix.c src/base/str.c src/base/util.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "base/util.h"
#include "wire/x509.h"
#include "x509_samples.h"

static struct arena mem;

static struct der block(const char *pem, const char *want_label)
{
	struct err e = { 0 };
	char label[32];
	struct der d;

	assert_int_equal(pem_next(&pem, &mem, label, &d, &e), 1);
	assert_string_equal(label, want_label);
	return d;
}

static struct x509 certificate(const char *pem)
{
	struct der d = block(pem, "CERTIFICATE");
	struct x509 c;

	assert_int_equal(x509_read(&c, d.p, der_left(&d)), 0);
	return c;
}

static void a_certificate_is_read(void **state)
{
	struct x509 c = certificate(ec_pem), ca = certificate(ca_pem);
	char names[80];
	(void)state;

	assert_int_equal(c.key.key_type, BR_KEYTYPE_EC);
	assert_int_equal(c.key.key.ec.curve, BR_EC_secp256r1);
	assert_int_equal(c.key.key.ec.qlen, 65);
	assert_int_equal(c.key.key.ec.q[0], 4);
	assert_null(c.odd_key);
	assert_null(c.odd_signature);
	assert_false(c.ca);
	assert_true(ca.ca);
	assert_int_equal(c.not_before, 1796075762);	/* a UTCTime, and a GeneralizedTime: */
	assert_int_equal(c.not_after, 4949675762);
	assert_true(der_equal(&c.issuer, ca.subject.p, der_left(&ca.subject)));
	assert_false(der_equal(&c.subject, ca.subject.p, der_left(&ca.subject)));
	x509_names(&c, names, sizeof names);
	assert_string_equal(names, "kubernetes, kubernetes.default.svc, 10.0.0.1, fd00::1");
	x509_names(&c, names, 16);
	assert_string_equal(names, "kubernetes, kub");
	c = certificate(rsa_pem);
	assert_int_equal(c.key.key_type, BR_KEYTYPE_RSA);
	assert_int_equal(c.key.key.rsa.nlen, 128);
	assert_int_equal(c.key.key.rsa.elen, 3);
	assert_int_equal(certificate(p384_pem).key.key.ec.curve, BR_EC_secp384r1);
}

static void what_is_not_supported_has_its_name(void **state)
{
	(void)state;
	assert_string_equal(certificate(ed_pem).odd_key, "Ed25519");
	assert_null(certificate(ed_pem).odd_signature);
	assert_string_equal(certificate(edself_pem).odd_signature, "Ed25519");
	assert_string_equal(certificate(pss_pem).odd_signature, "RSA-PSS");
	assert_null(certificate(pss_pem).odd_key);
}

static void names_and_addresses_are_compared_whole(void **state)
{
	static const struct { const char *name, *addr; bool yes; } cases[] = {
		{ "kubernetes.default.svc", NULL, true },
		{ "KUBERNETES.Default.svc", NULL, true },
		{ "kubernetes.default.svc.", NULL, false },
		{ "kubernetes.default", NULL, false },
		{ "kube-apiserver", NULL, false },	/* the common name */
		{ "10.0.0.1", NULL, false },
		{ "", NULL, false },
		{ NULL, "10.0.0.1", true },
		{ NULL, "fd00::1", true },
		{ NULL, "10.0.0.2", false },
		{ NULL, "fd00::2", false },
		{ NULL, NULL, false },
		{ "other", "10.0.0.1", true },
	};
	struct x509 c = certificate(ec_pem);
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr a = { 0 };

		if (cases[i].addr)
			assert_int_equal(addr_parse(&a, cases[i].addr, NULL), 0);
		assert_int_equal(x509_is_for(&c, cases[i].name, &a), cases[i].yes);
	}
	c = certificate(ca_pem);	/* it has no names at all */
	assert_false(x509_is_for(&c, "kubernetes-ca", &(struct addr){ 0 }));
}

static void a_name_with_a_zero_byte_or_a_star_is_no_match(void **state)
{
	uint8_t san[] = { 0x82, 9, 'k', 'u', 'b', 'e', 0, 'e', 'v', 'i', 'l', 0x82, 3, '*', '.', 'a', 0x82, 200, 'x' };
	struct x509 c = { .names = der_of(san, sizeof san) };
	char names[40];
	(void)state;

	assert_false(x509_is_for(&c, "kube", &(struct addr){ 0 }));
	assert_false(x509_is_for(&c, "b.a", &(struct addr){ 0 }));
	x509_names(&c, names, sizeof names);
	assert_string_equal(names, "kube, *.a");
}

/* A byte cut off, or changed anywhere: an error or a certificate, never more. */
static void cut_and_broken_certificates_are_refused(void **state)
{
	struct der d = block(ec_pem, "CERTIFICATE");
	size_t len = der_left(&d);
	struct x509 c;
	(void)state;

	for (size_t n = 0; n < len; n++) {
		autofree uint8_t *copy = malloc(n + 1);

		memcpy(copy, d.p, n);
		assert_int_equal(x509_read(&c, copy, n), -EINVAL);
	}
	for (size_t n = 0; n < len; n++)
		for (unsigned bit = 0; bit < 8; bit++) {
			autofree uint8_t *copy = malloc(len);
			char names[64];

			memcpy(copy, d.p, len);
			copy[n] ^= (uint8_t)(1 << bit);
			if (x509_read(&c, copy, len) == 0)
				x509_names(&c, names, sizeof names);
		}
}

static struct private_key key(const char *pem, const char *label)
{
	struct der d = block(pem, label);
	struct private_key k;
	struct err e = { 0 };

	assert_int_equal(private_key_read(&k, d.p, der_left(&d), &e), 0);
	return k;
}

/* What a key signs, its certificate confirms: in each of its forms. */
static void private_keys_sign(void **state)
{
	static const uint8_t hash[32] = { 1, 2, 3 }, oid[] = { 9, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01 };
	const struct private_key rsa[] = { key(rsa_pkcs1, "RSA PRIVATE KEY"), key(rsa_pkcs8, "PRIVATE KEY") },
				 ec[] = { key(ec_sec1, "EC PRIVATE KEY"), key(ec_pkcs8, "PRIVATE KEY") };
	struct x509 rsa_cert = certificate(rsa_pem), ec_cert = certificate(ec_pem);
	uint8_t sig[256], back[32];
	(void)state;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(rsa[i].type, BR_KEYTYPE_RSA);
		assert_int_equal(rsa[i].rsa.n_bitlen, 1024);
		assert_int_equal(br_rsa_i31_pkcs1_sign(oid, hash, 32, &rsa[i].rsa, sig), 1);
		assert_int_equal(br_rsa_i31_pkcs1_vrfy(sig, 128, oid, 32, &rsa_cert.key.key.rsa, back), 1);
		assert_memory_equal(hash, back, 32);
		assert_int_equal(ec[i].type, BR_KEYTYPE_EC);
		size_t len = br_ecdsa_i31_sign_asn1(&br_ec_p256_m31, &br_sha256_vtable, hash, &ec[i].ec, sig);

		assert_true(len > 0);
		assert_int_equal(br_ecdsa_i31_vrfy_asn1(&br_ec_p256_m31, hash, 32, &ec_cert.key.key.ec, sig, len), 1);
	}
}

static void bad_private_keys_are_refused(void **state)
{
	static const struct { const char *pem, *label; } keys[] = { { rsa_pkcs1, "RSA PRIVATE KEY" }, { rsa_pkcs8, "PRIVATE KEY" },
								     { ec_sec1, "EC PRIVATE KEY" }, { ec_pkcs8, "PRIVATE KEY" } };
	struct der d = block(ed_pkcs8, "PRIVATE KEY");
	struct private_key k;
	struct err e = { 0 };
	(void)state;

	assert_int_equal(private_key_read(&k, d.p, der_left(&d), &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "Ed25519"));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		d = block(keys[i].pem, keys[i].label);
		for (size_t n = 0; n < der_left(&d); n++) {
			autofree uint8_t *copy = malloc(n + 1);

			memcpy(copy, d.p, n);
			assert_int_equal(private_key_read(&k, copy, n, &e), -EINVAL);
		}
	}
	d = block(ca_pem, "CERTIFICATE");
	assert_int_equal(private_key_read(&k, d.p, der_left(&d), &e), -EINVAL);
}

static void pem_blocks_are_found_one_by_one(void **state)
{
	char two[4096];
	const char *at = two;
	struct err e = { 0 };
	char label[32];
	struct der d;
	(void)state;

	snprintf(two, sizeof two, "# both\n%s\nand\n%s", ec_pem, rsa_pkcs8);
	assert_int_equal(pem_next(&at, &mem, label, &d, &e), 1);
	assert_string_equal(label, "CERTIFICATE");
	assert_int_equal(pem_next(&at, &mem, label, &d, &e), 1);
	assert_string_equal(label, "PRIVATE KEY");
	assert_int_equal(pem_next(&at, &mem, label, &d, &e), 0);
	for (size_t n = 27; n < strlen(ec_pem) - 2; n++) {	/* cut anywhere behind its first line */
		memcpy(two, ec_pem, n);
		two[n] = '\0';
		at = two;
		assert_int_equal(pem_next(&at, &mem, label, &d, &e), -EINVAL);
	}
	at = rsa_encrypted;
	e.code = 0;
	assert_int_equal(pem_next(&at, &mem, label, &d, &e), -EINVAL);
	assert_string_equal(e.text, "RSA PRIVATE KEY: not base64 but encrypted, which is not supported");
}

static void base64_is_exact(void **state)
{
	static const struct { const char *text, *want; } cases[] = {
		{ "", "" }, { "Zg==", "f" }, { "Zm8=", "fo" }, { "Zm9v", "foo" }, { "Zm9v\nYmFy ", "foobar" },
		{ "Zg=", NULL }, { "Zg", NULL }, { "Z===", NULL }, { "====", NULL }, { "=", NULL }, { "Zg==Zg==", NULL },
		{ "Zm9v-mFy", NULL }, { "Zg=A", NULL },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct der d;
		int rc = base64_read(cases[i].text, strlen(cases[i].text), &mem, &d);

		assert_int_equal(rc, cases[i].want ? 0 : -EINVAL);
		if (rc == 0) {
			assert_int_equal(der_left(&d), strlen(cases[i].want));
			assert_memory_equal(d.p, cases[i].want, der_left(&d));
		}
	}
}

static void lengths_have_one_form(void **state)
{
	static const struct { uint8_t b[8]; size_t len; bool good; } cases[] = {
		{ { 4, 1, 7 }, 3, true }, { { 4, 0 }, 2, true }, { { 4, 0x81, 1, 7 }, 4, false }, { { 4, 0x80, 0, 0 }, 4, false },
		{ { 4, 2, 7 }, 3, false }, { { 4, 0x82, 0, 1, 7 }, 5, false }, { { 0x1f, 1, 7 }, 3, false }, { { 4 }, 1, false },
		{ { 4, 0x84, 0, 0, 0, 1, 7 }, 7, false }, { { 4, 0x83, 0xff, 0xff, 0xff }, 5, false },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct der d = der_of(cases[i].b, cases[i].len);

		der_any(&d);
		assert_int_equal(!d.bad, cases[i].good);
		if (d.bad) {
			der_any(&d);		/* once bad, bad */
			assert_true(d.bad);
			assert_int_equal(der_left(&d), 0);
		}
	}
}

static int free_mem(void **state)
{
	(void)state;
	arena_free(&mem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_certificate_is_read),
		cmocka_unit_test(what_is_not_supported_has_its_name),
		cmocka_unit_test(names_and_addresses_are_compared_whole),
		cmocka_unit_test(a_name_with_a_zero_byte_or_a_star_is_no_match),
		cmocka_unit_test(cut_and_broken_certificates_are_refused),
		cmocka_unit_test(private_keys_sign),
		cmocka_unit_test(bad_private_keys_are_refused),
		cmocka_unit_test(pem_blocks_are_found_one_by_one),
		cmocka_unit_test(base64_is_exact),
		cmocka_unit_test(lengths_have_one_form),
	};

	return cmocka_run_group_tests(tests, NULL, free_mem);
}
