#include "wire/x509.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/util.h"

enum { TIME_UTC = 0x17, TIME_GENERAL = 0x18, TAG_VERSION = 0xa0, TAG_CURVE = 0xa0, TAG_ISSUER_ID = 0x81,
       TAG_SUBJECT_ID = 0x82,
       TAG_EXTENSIONS = 0xa3, TAG_BOOLEAN = 0x01, NAME_DNS = 0x82, NAME_ADDRESS = 0x87, RSA_BYTES_MAX = 512 };

/* --- algorithms --- */

enum { USE_NONE, USE_SIGNATURE, USE_RSA, USE_EC, USE_CURVE };

/* Curves carry BearSSL's number; what has no use is there to be called by its name. */
static const struct algorithm { const char *name, *oid; uint8_t len, use, curve; } algorithms[] = {
#define OID(text) .oid = (text), .len = sizeof(text) - 1
	{ "RSA", OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"), .use = USE_RSA },
	{ "EC", OID("\x2a\x86\x48\xce\x3d\x02\x01"), .use = USE_EC },
	{ "P-256", OID("\x2a\x86\x48\xce\x3d\x03\x01\x07"), .use = USE_CURVE, .curve = BR_EC_secp256r1 },
	{ "P-384", OID("\x2b\x81\x04\x00\x22"), .use = USE_CURVE, .curve = BR_EC_secp384r1 },
	{ "P-521", OID("\x2b\x81\x04\x00\x23"), .use = USE_CURVE, .curve = BR_EC_secp521r1 },
	{ "RSA with SHA-256", OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"), .use = USE_SIGNATURE },
	{ "RSA with SHA-384", OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c"), .use = USE_SIGNATURE },
	{ "RSA with SHA-512", OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d"), .use = USE_SIGNATURE },
	{ "ECDSA with SHA-256", OID("\x2a\x86\x48\xce\x3d\x04\x03\x02"), .use = USE_SIGNATURE },
	{ "ECDSA with SHA-384", OID("\x2a\x86\x48\xce\x3d\x04\x03\x03"), .use = USE_SIGNATURE },
	{ "ECDSA with SHA-512", OID("\x2a\x86\x48\xce\x3d\x04\x03\x04"), .use = USE_SIGNATURE },
	{ "RSA-PSS", OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a") },
	{ "RSA with SHA-1", OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05") },
	{ "Ed25519", OID("\x2b\x65\x70") },
	{ "Ed448", OID("\x2b\x65\x71") },
#undef OID
};
static const struct algorithm unknown = { .name = "of a kind that is not known" };

static const struct algorithm *algorithm(struct der *d)
{
	struct der oid = der_take(d, DER_OID);

	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++)
		if (der_equal(&oid, algorithms[i].oid, algorithms[i].len))
			return &algorithms[i];
	return &unknown;
}

/* A positive integer without leading zeros. */
static struct der number(struct der *d)
{
	struct der n = der_take(d, DER_INTEGER);

	d->bad |= !der_left(&n) || *n.p & 0x80;
	while (der_left(&n) && !*n.p)
		n.p++;
	return n;
}

/* --- certificates --- */

static unsigned digits(const uint8_t *p, unsigned count)
{
	unsigned n = 0;

	for (; count; count--, p++)
		n = *p >= '0' && *p <= '9' ? n * 10 + *p - '0' : 10000;
	return n;
}

/* RFC 5280, 4.1.2.5: both forms with seconds, in UTC. */
static int64_t time_read(struct der *d)
{
	static const uint16_t before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
	bool general = der_is(d, TIME_GENERAL);
	struct der t = der_take(d, general ? TIME_GENERAL : TIME_UTC);
	unsigned year, month, day, hour, minute, second;
	const uint8_t *p;

	if (der_left(&t) != (general ? 15 : 13) || t.end[-1] != 'Z') {
		d->bad = true;
		return 0;
	}
	p = t.p + (general ? 4 : 2);
	year = digits(t.p, general ? 4 : 2);
	if (!general)
		year += year < 50 ? 2000 : 1900;
	month = digits(p, 2);
	day = digits(p + 2, 2);
	hour = digits(p + 4, 2);
	minute = digits(p + 6, 2);
	second = digits(p + 8, 2);
	d->bad |= year < 1900 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
		  second > 60;
	if (d->bad)
		return 0;
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	int64_t days = (int64_t)(year - 1) * 365 + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 - 719162 +
		       before[month - 1] + (leap && month > 2) + day - 1;

	return ((days * 24 + hour) * 60 + minute) * 60 + second;
}

static void key_read(struct x509 *c, struct der *d)
{
	struct der spki = der_take(d, DER_SEQUENCE), params = der_take(&spki, DER_SEQUENCE),
		   bits = der_take(&spki, DER_BITS);
	const struct algorithm *a = algorithm(&params);

	d->bad |= spki.bad || params.bad || !der_left(&bits) || *bits.p++ != 0;
	if (a->use == USE_RSA) {
		struct der pair = der_take(&bits, DER_SEQUENCE), n = number(&pair), e = number(&pair);

		d->bad |= pair.bad;
		c->key.key_type = BR_KEYTYPE_RSA;
		c->key.key.rsa = (br_rsa_public_key){ (uint8_t *)n.p, der_left(&n), (uint8_t *)e.p, der_left(&e) };
		c->odd_key = der_left(&n) > RSA_BYTES_MAX ? "RSA of more than 4096 bits" : NULL;
	} else if (a->use == USE_EC) {
		a = algorithm(&params);
		c->key.key_type = BR_KEYTYPE_EC;
		c->key.key.ec = (br_ec_public_key){ a->curve, (uint8_t *)bits.p, der_left(&bits) };
		c->odd_key = a->use == USE_CURVE ? NULL : "EC on a curve other than P-256, P-384 and P-521";
	} else {
		c->odd_key = a->name;
	}
}

static void extensions_read(struct x509 *c, struct der *d)
{
	struct der all = der_take(d, TAG_EXTENSIONS), list = der_take(&all, DER_SEQUENCE);

	d->bad |= all.bad;
	while (der_left(&list)) {
		struct der one = der_take(&list, DER_SEQUENCE), oid = der_take(&one, DER_OID), value, in;

		der_skip(&one, TAG_BOOLEAN);
		value = der_take(&one, DER_OCTETS);
		d->bad |= one.bad;
		if (der_equal(&oid, "\x55\x1d\x11", 3)) {
			d->bad |= der_left(&c->names) > 0;
			c->names = der_take(&value, DER_SEQUENCE);
			d->bad |= value.bad;
		} else if (der_equal(&oid, "\x55\x1d\x13", 3)) {
			in = der_take(&value, DER_SEQUENCE);
			c->ca = der_is(&in, TAG_BOOLEAN) && der_left(&in) >= 3 && in.p[2] == 0xff;
			d->bad |= value.bad;
		}
	}
	d->bad |= list.bad;
}

int x509_read(struct x509 *c, const uint8_t *data, size_t len)
{
	struct der d = der_of(data, len), cert = der_take(&d, DER_SEQUENCE), tbs = der_take(&cert, DER_SEQUENCE),
		   alg = der_take(&cert, DER_SEQUENCE), validity;
	const struct algorithm *signature = algorithm(&alg);

	*c = (struct x509){ .whole = der_of(data, len) };
	c->odd_signature = signature->use == USE_SIGNATURE ? NULL : signature->name;
	der_take(&cert, DER_BITS);
	der_skip(&tbs, TAG_VERSION);
	der_take(&tbs, DER_INTEGER);
	der_take(&tbs, DER_SEQUENCE);
	c->issuer = der_any(&tbs);
	validity = der_take(&tbs, DER_SEQUENCE);
	c->not_before = time_read(&validity);
	c->not_after = time_read(&validity);
	c->subject = der_any(&tbs);
	key_read(c, &tbs);
	der_skip(&tbs, TAG_ISSUER_ID);
	der_skip(&tbs, TAG_SUBJECT_ID);
	if (der_left(&tbs))
		extensions_read(c, &tbs);
	return d.bad || der_left(&d) || cert.bad || tbs.bad || alg.bad || validity.bad ? -EINVAL : 0;
}

/* The next DNS name or address that the certificate is for; false at the end, or where it cannot be read. */
static bool name_next(struct der *names, unsigned *tag, struct der *name)
{
	while (der_left(names)) {
		*tag = *names->p;
		*name = der_take(names, *tag);
		if (!names->bad && (*tag == NAME_DNS || *tag == NAME_ADDRESS))
			return true;
	}
	return false;
}

bool x509_is_for(const struct x509 *c, const char *name, const struct addr *addr)
{
	struct der names = c->names, n;
	unsigned tag;

	while (name_next(&names, &tag, &n)) {
		size_t len = der_left(&n);

		if (tag == NAME_DNS && name && len && len == strlen(name) && strncasecmp(name, (const char *)n.p, len) == 0)
			return true;
		if (tag == NAME_ADDRESS && addr->family && der_equal(&n, addr->b, addr_bytes(addr)))
			return true;
	}
	return false;
}

void x509_names(const struct x509 *c, char *out, size_t size)
{
	struct der names = c->names, n;
	unsigned tag;
	size_t at = 0;

	out[0] = '\0';
	while (at < size && name_next(&names, &tag, &n)) {
		struct addr a = { .family = der_left(&n) == 4 ? AF_INET : AF_INET6 };
		bool address = tag == NAME_ADDRESS;

		if (address && der_left(&n) != addr_bytes(&a))
			continue;
		if (address)
			memcpy(a.b, n.p, addr_bytes(&a));
		at += (size_t)snprintf(out + at, size - at, "%s%.*s", at ? ", " : "", address ? 48 : (int)der_left(&n),
				       address ? addr_text(&a).s : (const char *)n.p);
	}
}

/* --- private keys --- */

static void rsa_key(struct private_key *k, struct der *d)
{
	struct der n = number(d), part[5] = { 0 };
	br_rsa_private_key *rsa = &k->rsa;

	number(d);			/* the public exponent */
	number(d);			/* and the private one: the rest says the same */
	for (size_t i = 0; i < ARRAY_SIZE(part); i++)
		part[i] = number(d);
	d->bad |= !der_left(&n) || der_left(&n) > RSA_BYTES_MAX;
	for (size_t i = 0; i < ARRAY_SIZE(part); i++)
		d->bad |= !der_left(&part[i]) || der_left(&part[i]) > RSA_BYTES_MAX / 2;
	if (d->bad)
		return;
	k->type = BR_KEYTYPE_RSA;
	*rsa = (br_rsa_private_key){ (uint32_t)der_left(&n) * 8 - (uint32_t)__builtin_clz(*n.p) + 24,
				     (uint8_t *)part[0].p, der_left(&part[0]), (uint8_t *)part[1].p, der_left(&part[1]),
				     (uint8_t *)part[2].p, der_left(&part[2]), (uint8_t *)part[3].p, der_left(&part[3]),
				     (uint8_t *)part[4].p, der_left(&part[4]) };
	d->bad |= !(rsa->p[rsa->plen - 1] & rsa->q[rsa->qlen - 1] & 1);	/* even moduli are none */
}

/* SEC 1; curve 0: the key has to name it. */
static void ec_key(struct private_key *k, struct der *d, int curve)
{
	struct der x = der_take(d, DER_OCTETS);

	if (der_is(d, TAG_CURVE)) {
		struct der named = der_take(d, TAG_CURVE);

		curve = algorithm(&named)->curve;
	}
	d->bad |= !curve || !der_left(&x) ||
		  der_left(&x) > (curve == BR_EC_secp256r1 ? 32 : curve == BR_EC_secp384r1 ? 48 : 66);
	k->type = BR_KEYTYPE_EC;
	k->ec = (br_ec_private_key){ curve, (uint8_t *)x.p, der_left(&x) };
}

int private_key_read(struct private_key *k, const uint8_t *data, size_t len, struct err *e)
{
	struct der d = der_of(data, len), in = der_take(&d, DER_SEQUENCE), params, octets;
	const struct algorithm *a;
	int curve = 0;

	*k = (struct private_key){ 0 };
	der_take(&in, DER_INTEGER);
	if (der_is(&in, DER_SEQUENCE)) {	/* PKCS#8: the key of one of the others inside */
		params = der_take(&in, DER_SEQUENCE);
		a = algorithm(&params);
		octets = der_take(&in, DER_OCTETS);
		if (!params.bad && a->use != USE_RSA && a->use != USE_EC)
			return err_set(e, ENOTSUP, "a private key that is %s: not supported", a->name);
		if (a->use == USE_EC)
			curve = algorithm(&params)->curve;
		in = der_take(&octets, DER_SEQUENCE);
		der_take(&in, DER_INTEGER);
	}
	if (der_is(&in, DER_INTEGER))
		rsa_key(k, &in);
	else
		ec_key(k, &in, curve);
	return d.bad || in.bad ? err_set(e, EINVAL, "no private key that can be read") : 0;
}
