/* links: src/wire/x509.c src/wire/der.c src/wire/pem.c src/base/arena.c src/base/err.c src/base/log.c src/base/prefix.c src/base/str.c src/base/util.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include "base/util.h"

static int64_t clock_s;
#define wall_ns() (clock_s * 1000000000)
#include "../../src/store/kube_trust.c"
#undef wall_ns

#include "x509_samples.h"

/* When certificates are believed, by what the clock says. */

static struct arena mem;

static struct der der_block(const char *pem)
{
	struct err e = { 0 };
	char label[32];
	struct der d;

	assert_int_equal(pem_next(&pem, &mem, label, &d, &e), 1);
	return d;
}

static struct kube_login login_of(const char *ca)
{
	static br_x509_trust_anchor anchor;
	struct der d = der_block(ca);
	struct x509 c;

	assert_int_equal(x509_read(&c, d.p, der_left(&d)), 0);
	anchor = (br_x509_trust_anchor){ .dn = { (uint8_t *)c.subject.p, der_left(&c.subject) }, .flags = BR_X509_TA_CA, .pkey = c.key };
	return (struct kube_login){ .anchors = &anchor, .anchor_count = 1, .not_before = c.not_before, .name = "kubernetes.default.svc" };
}

/* What the chain says of certificates that come in small pieces; "" when it is content. */
static const char *verdict(const struct kube_login *l, const char *const *pems)
{
	static struct kube_chain c;
	unsigned code;

	kube_chain_fini(&c);
	kube_chain_init(&c, l);
	c.vtable->start_chain(&c.vtable, NULL);
	for (; *pems; pems++) {
		struct der d = der_block(*pems);

		c.vtable->start_cert(&c.vtable, (uint32_t)der_left(&d));
		for (size_t n; (n = der_left(&d) < 100 ? der_left(&d) : 100); d.p += n)
			c.vtable->append(&c.vtable, d.p, n);
		c.vtable->end_cert(&c.vtable);
	}
	code = c.vtable->end_chain(&c.vtable);
	assert_int_equal(code != 0, c.err.code != 0);
	kube_chain_fini(&c);
	return c.err.text;
}

static const char *verdict_at(const char *ca, const char *leaf, int64_t when)
{
	struct kube_login l = login_of(ca);

	clock_s = when;
	return verdict(&l, (const char *const []){ leaf, NULL });
}

enum { YEAR_1970 = 0, DECEMBER_2026 = 1797000000, APRIL_2031 = 1933000000 };
static const int64_t year_2045 = 2380000000;

static void a_right_clock_is_believed(void **state)
{
	(void)state;
	assert_string_equal(verdict_at(ca_pem, ec_pem, DECEMBER_2026), "");
	assert_string_equal(verdict_at(old_ca_pem, old_pem, DECEMBER_2026), "its certificate expired on 2026-01-01 00:00; it is 2026-12-11 14:40 (UTC)");
	assert_string_equal(verdict_at(old_ca_pem, future_pem, DECEMBER_2026),
			    "its certificate is not valid before 2030-01-01 00:00; it is 2026-12-11 14:40 (UTC)");
	assert_string_equal(verdict_at(old_ca_pem, future_pem, APRIL_2031), "");
	assert_non_null(strstr(verdict_at(old_ca_pem, future_pem, year_2045), "expired on 2040-01-01"));
}

/* A clock that cannot be right locks nobody out, but what had expired before this program was written stays refused. */
static void a_wrong_clock_is_not(void **state)
{
	(void)state;
	assert_string_equal(verdict_at(ca_pem, ec_pem, YEAR_1970), "");
	assert_string_equal(verdict_at(old_ca_pem, future_pem, YEAR_1970), "");
	assert_non_null(strstr(verdict_at(old_ca_pem, old_pem, YEAR_1970), "expired on 2026-01-01"));
	assert_string_equal(verdict_at(ca_pem, ec_pem, WRITTEN + 1), "");	/* before the CA was made */
	assert_non_null(strstr(verdict_at(ca_pem, old_pem, YEAR_1970), "expired"));
}

static void the_own_certificate_tells_the_time_too(void **state)
{
	struct kube_login l = login_of(old_ca_pem);
	(void)state;

	l.not_before = year_2045;
	clock_s = DECEMBER_2026;
	assert_non_null(strstr(verdict(&l, (const char *const []){ future_pem, NULL }), "expired on 2040-01-01"));
}

static void chains_that_are_too_much(void **state)
{
	struct kube_login l = login_of(ca_pem);
	(void)state;

	clock_s = DECEMBER_2026;
	assert_string_equal(verdict(&l, (const char *const []){ NULL }), "it has no certificate");
	assert_string_equal(verdict(&l, (const char *const []){ ec_pem, p384_pem, rsa_pem, ec_pem, ec_pem, ec_pem, ec_pem, ec_pem, NULL }), "");
	assert_string_equal(verdict(&l, (const char *const []){ ec_pem, ec_pem, ec_pem, ec_pem, ec_pem, ec_pem, ec_pem, ec_pem, ec_pem, NULL }),
			    "it sends too many certificates");
	assert_string_equal(verdict(&l, (const char *const []){ rsa_pem, NULL }), "its certificate has a key that is too short");
}

static void names_are_always_compared(void **state)
{
	struct kube_login l = login_of(ca_pem);
	(void)state;

	clock_s = DECEMBER_2026;
	l.name = "kubernetes.default";
	assert_string_equal(verdict(&l, (const char *const []){ ec_pem, NULL }), "its certificate is for kubernetes, kubernetes.default.svc, "
			    "10.0.0.1, fd00::1, not for kubernetes.default");
	assert_int_equal(addr_parse(&l.addr, "10.0.0.1", NULL), 0);
	assert_string_equal(verdict(&l, (const char *const []){ ec_pem, NULL }), "");
	l.addr.b[3] = 2;
	assert_non_null(strstr(verdict(&l, (const char *const []){ ec_pem, NULL }), "not for kubernetes.default or 10.0.0.2"));
	l.name = NULL;
	l.addr.family = 0;
	assert_non_null(strstr(verdict(&l, (const char *const []){ ec_pem, NULL }), "not for"));
	assert_non_null(strstr(verdict(&l, (const char *const []){ ca_pem, NULL }), "no name at all"));
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
		cmocka_unit_test(a_right_clock_is_believed),
		cmocka_unit_test(a_wrong_clock_is_not),
		cmocka_unit_test(the_own_certificate_tells_the_time_too),
		cmocka_unit_test(chains_that_are_too_much),
		cmocka_unit_test(names_are_always_compared),
	};

	return cmocka_run_group_tests(tests, NULL, free_mem);
}
