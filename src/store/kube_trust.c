/*
 * Is the server who it should be?  BearSSL verifies signatures, validity and what certificates may be used for; it
 * wants them in order and at a time that it is told, and knows no addresses.  So the certificates are gathered
 * first.  Then each is put behind the one that it signed, as others do too; the time is set; and after BearSSL the
 * names of the server's own certificate are compared, always.
 *
 * The clock of a board without a battery begins in 1970, or where it stopped.  It cannot be before the
 * CA's or our own certificate was made, nor before this program: where it says so, it is not believed, and all that
 * is known is that it is later than these.  A certificate is then good if there is a time after them at which the whole
 * chain is valid: what has expired by then is refused all the same.
 */
#include "store/kube_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

enum { WRITTEN = 1796000000 /* 2026-11-30 */, DAY = 86400, DAYS_TO_1970 = 719528,
       DER_MAX = 64 * 1024, RSA_BYTES_MIN = 256 };

static struct kube_chain *chain_of(const br_x509_class **ctx)
{
	return container_of(ctx, struct kube_chain, vtable);
}

static void start_chain(const br_x509_class **ctx, const char *server_name)
{
	(void)ctx;
	(void)server_name;		/* login knows better */
}

static void start_cert(const br_x509_class **ctx, uint32_t length)
{
	(void)ctx;
	(void)length;
}

static void append(const br_x509_class **ctx, const unsigned char *data, size_t len)
{
	struct kube_chain *c = chain_of(ctx);

	if (c->der.len + len > DER_MAX)
		c->count = KUBE_CHAIN_MAX + 1;
	if (c->count < KUBE_CHAIN_MAX)
		str_add(&c->der, (const char *)data, len);
}

static void end_cert(const br_x509_class **ctx)
{
	struct kube_chain *c = chain_of(ctx);

	if (c->count < KUBE_CHAIN_MAX)
		c->end[c->count] = c->der.len;
	c->count += c->count <= KUBE_CHAIN_MAX;
}

static bool same(const struct der *a, const struct der *b)
{
	return der_equal(a, b->p, der_left(b));
}

static bool is_anchored(const struct kube_login *l, const struct x509 *c)
{
	for (unsigned i = 0; i < l->anchor_count; i++)
		if (der_equal(&c->issuer, l->anchors[i].dn.data, l->anchors[i].dn.len))
			return true;
	return false;
}

/* Puts behind the first certificate the one that signed it, and so on up to an anchor's.  How many these are. */
static unsigned put_in_order(const struct kube_login *l, struct x509 *certs, unsigned count)
{
	unsigned n = 1;

	while (n < count && !is_anchored(l, &certs[n - 1])) {
		unsigned i = n;

		while (i < count && !same(&certs[i].subject, &certs[n - 1].issuer))
			i++;
		if (i == count)
			break;
		struct x509 next = certs[i];

		certs[i] = certs[n];
		certs[n++] = next;
	}
	return n;
}

/* As of when the chain is verified. */
static int64_t time_of(const struct kube_login *l, const struct x509 *certs, unsigned count)
{
	static bool said;
	int64_t now = wall_ns() / 1000000000, floor = l->not_before > WRITTEN ? l->not_before : WRITTEN;
	bool wrong = now < floor;

	if (wrong && !said)
		log_warn("kubernetes", "the clock is wrong: it says %d, before certificates of the cluster were made; what has not "
			 "expired by then is accepted", utc_of(wall_ns()).year);
	said = wrong;
	if (!wrong)
		return now;
	for (unsigned i = 0; i < count; i++)
		if (certs[i].not_before > floor)
			floor = certs[i].not_before;
	return floor;
}

static int date_err(struct err *e, const char *what, int64_t when, int64_t now)
{
	struct utc u = utc_of(when * 1000000000), n = utc_of(now * 1000000000);

	return err_set(e, EKEYREJECTED, "its certificate %s %d-%02d-%02d %02d:%02d; it is %d-%02d-%02d %02d:%02d (UTC)", what,
		       u.year, u.month, u.day, u.hour, u.minute, n.year, n.month, n.day, n.hour, n.minute);
}

/* What can be said by name before BearSSL is asked. */
static int look_at(const struct x509 *certs, unsigned count, int64_t now, struct err *e)
{
	for (unsigned i = 0; i < count; i++) {
		const struct x509 *c = &certs[i];

		if (c->odd_key || c->odd_signature)
			return err_set(e, EKEYREJECTED, "its certificate%s %s %s: not supported", i ? "'s issuer" : "",
				       c->odd_key ? "has a key that is" : "is signed with", c->odd_key ? c->odd_key : c->odd_signature);
		if (now > c->not_after)
			return date_err(e, "expired on", c->not_after, now);
		if (now < c->not_before)
			return date_err(e, "is not valid before", c->not_before, now);
	}
	return 0;
}

static const char *reason(unsigned code)
{
	switch (code) {
	case BR_ERR_X509_NOT_TRUSTED:
		return "is not signed by the cluster's CA";
	case BR_ERR_X509_BAD_SIGNATURE:
		return "has a signature that is wrong";
	case BR_ERR_X509_NOT_CA:
		return "is signed by one that is no CA";
	case BR_ERR_X509_FORBIDDEN_KEY_USAGE:
		return "is not for servers";
	case BR_ERR_X509_CRITICAL_EXTENSION:
		return "has a critical extension that is not supported";
	case BR_ERR_X509_WEAK_PUBLIC_KEY:
		return "has a key that is too short";
	}
	return NULL;
}

static unsigned verify(struct kube_chain *c, const struct x509 *certs, unsigned count, int64_t now)
{
	const br_x509_class *const *x = &c->minimal.vtable, *v = &br_x509_minimal_vtable;

	br_x509_minimal_init(&c->minimal, &br_sha256_vtable, c->login->anchors, c->login->anchor_count);
	br_x509_minimal_set_rsa(&c->minimal, br_rsa_i31_pkcs1_vrfy);
	br_x509_minimal_set_ecdsa(&c->minimal, &br_ec_all_m31, br_ecdsa_i31_vrfy_asn1);
	br_x509_minimal_set_hash(&c->minimal, br_sha256_ID, &br_sha256_vtable);
	br_x509_minimal_set_hash(&c->minimal, br_sha384_ID, &br_sha384_vtable);
	br_x509_minimal_set_hash(&c->minimal, br_sha512_ID, &br_sha512_vtable);
	br_x509_minimal_set_minrsa(&c->minimal, RSA_BYTES_MIN);
	br_x509_minimal_set_time(&c->minimal, (uint32_t)(now / DAY + DAYS_TO_1970), (uint32_t)(now % DAY));
	v->start_chain((const br_x509_class **)x, NULL);
	for (unsigned i = 0; i < count; i++) {
		size_t len = der_left(&certs[i].whole);

		v->start_cert((const br_x509_class **)x, (uint32_t)len);
		v->append((const br_x509_class **)x, certs[i].whole.p, len);
		v->end_cert((const br_x509_class **)x);
	}
	return v->end_chain((const br_x509_class **)x);
}

static int check(struct kube_chain *c)
{
	const struct kube_login *l = c->login;
	struct x509 certs[KUBE_CHAIN_MAX];
	unsigned count = c->count, code;
	char names[128];
	int64_t now;
	int rc;

	if (count == 0 || count > KUBE_CHAIN_MAX)
		return err_set(&c->err, EKEYREJECTED, "%s", count ? "it sends too many certificates" : "it has no certificate");
	for (unsigned i = 0; i < count; i++) {
		size_t at = i ? c->end[i - 1] : 0;

		if (x509_read(&certs[i], (const uint8_t *)c->der.s + at, c->end[i] - at) < 0)
			return err_set(&c->err, EKEYREJECTED, "it sends a certificate that cannot be read");
	}
	count = put_in_order(l, certs, count);
	now = time_of(l, certs, count);
	if ((rc = look_at(certs, count, now, &c->err)) < 0)
		return rc;
	code = verify(c, certs, count, now);
	if (code && reason(code))
		return err_set(&c->err, EKEYREJECTED, "its certificate %s", reason(code));
	if (code)
		return err_set(&c->err, EKEYREJECTED, "its certificate is refused (BearSSL's error %u)", code);
	if (x509_is_for(&certs[0], l->name, &l->addr))
		return 0;
	x509_names(&certs[0], names, sizeof names);
	return err_set(&c->err, EKEYREJECTED, "its certificate is for %s, not for %s%s%s", *names ? names : "no name at all",
		       l->name, l->addr.family ? " or " : "", addr_text(&l->addr).s);
}

static unsigned end_chain(const br_x509_class **ctx)
{
	return check(chain_of(ctx)) < 0 ? BR_ERR_X509_NOT_TRUSTED : 0;
}

static const br_x509_pkey *get_pkey(const br_x509_class *const *ctx, unsigned *usages)
{
	const struct kube_chain *c = container_of(ctx, struct kube_chain, vtable);

	return c->minimal.vtable->get_pkey(&c->minimal.vtable, usages);
}

static const br_x509_class chain_class = { sizeof(struct kube_chain), start_chain, start_cert, append, end_cert,
					   end_chain, get_pkey };

void kube_chain_init(struct kube_chain *c, const struct kube_login *login)
{
	*c = (struct kube_chain){ .vtable = &chain_class, .login = login };
}

void kube_chain_fini(struct kube_chain *c)
{
	str_free(&c->der);
}
