#include "base/prefix.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/str.h"

int addr_parse(struct addr *a, const char *text, struct err *e)
{
	struct addr r = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };

	*a = (struct addr){ 0 };
	if (inet_pton(r.family, text, r.b) != 1)
		return err_set(e, EINVAL, "%s: not an IP address", text);
	*a = r;
	return 0;
}

int prefix_parse(struct prefix *p, const char *text, struct err *e)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char buf[sizeof ((struct addr_text *)0)->s];
	uint64_t bits;

	*p = (struct prefix){ 0 };
	if (len >= sizeof buf)
		return err_set(e, EINVAL, "%s: not an IP address", text);
	memcpy(buf, text, len);
	buf[len] = '\0';
	if (addr_parse(&p->addr, buf, NULL) < 0)
		return err_set(e, EINVAL, "%s: not an IP address%s", text, slash ? " with prefix length" : "");
	p->len = (uint8_t)addr_bits(&p->addr);
	if (!slash)
		return 0;
	if (str_u64(slash + 1, p->len, &bits) < 0 || (slash[1] == '0' && slash[2])) {
		err_set(e, EINVAL, "%s: prefix length is not 0 to %u", text, p->len);
		*p = (struct prefix){ 0 };
		return -EINVAL;
	}
	p->len = (uint8_t)bits;
	return 0;
}

/* 0 to 255 in decimal; returns the end. */
static char *byte_text(char *to, unsigned n)
{
	if (n >= 100)
		*to++ = (char)('0' + n / 100);
	if (n >= 10)
		*to++ = (char)('0' + n / 10 % 10);
	*to++ = (char)('0' + n % 10);
	return to;
}

/* Every message to the kernel names its object, so this is done often: IPv4 by hand, the C library prints it by printf. */
struct addr_text addr_text(const struct addr *a)
{
	struct addr_text t = { "" };
	char *at = t.s;

	if (a->family == AF_INET6)
		inet_ntop(AF_INET6, a->b, t.s, sizeof t.s);
	for (int i = 0; a->family == AF_INET && i < 4; i++) {
		at = byte_text(at, a->b[i]);
		if (i < 3)
			*at++ = '.';
	}
	return t;
}

struct addr_text prefix_text(const struct prefix *p)
{
	struct addr_text t = addr_text(&p->addr);
	char *at = t.s + strlen(t.s);

	if (p->addr.family) {
		*at++ = '/';
		*byte_text(at, p->len) = '\0';
	}
	return t;
}

unsigned addr_bits(const struct addr *a)
{
	return a->family == AF_INET6 ? 128 : 32;
}

unsigned addr_bytes(const struct addr *a)
{
	return addr_bits(a) / 8;
}

int addr_cmp(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->b, b->b, sizeof a->b);
}

int prefix_cmp(const struct prefix *a, const struct prefix *b)
{
	int c = addr_cmp(&a->addr, &b->addr);

	return c ? c : a->len < b->len ? -1 : a->len > b->len;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return addr_cmp(a, b) == 0;
}

bool prefix_equal(const struct prefix *a, const struct prefix *b)
{
	return prefix_cmp(a, b) == 0;
}

/* The first len bits of a and b are the same. */
static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned len)
{
	unsigned whole = len / 8, rest = len % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

bool prefix_has(const struct prefix *p, const struct addr *a)
{
	return p->addr.family && p->addr.family == a->family && bits_equal(p->addr.b, a->b, p->len);
}

bool prefix_covers(const struct prefix *outer, const struct prefix *inner)
{
	return outer->len <= inner->len && prefix_has(outer, &inner->addr);
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
	return prefix_covers(a, b) || prefix_covers(b, a);
}

struct prefix prefix_mask(struct prefix p)
{
	for (unsigned i = 0; i < sizeof p.addr.b; i++) {
		if (i * 8 >= p.len)
			p.addr.b[i] = 0;
		else if (i == p.len / 8)
			p.addr.b[i] &= (uint8_t)(0xff << (8 - p.len % 8));
	}
	return p;
}

struct prefix prefix_host(const struct addr *a)
{
	return (struct prefix){ .addr = *a, .len = a->family ? (uint8_t)addr_bits(a) : 0 };
}

struct addr addr_plus(const struct addr *a, uint64_t n)
{
	struct addr r = *a;

	/* Whatever is left of n is the carry too; past the last address it wraps. */
	for (unsigned i = addr_bytes(a); i-- > 0 && n; ) {
		unsigned sum = r.b[i] + (unsigned)(n & 0xff);

		r.b[i] = (uint8_t)sum;
		n = (n >> 8) + (sum >> 8);
	}
	return r;
}

uint64_t addr_distance(const struct addr *a, const struct addr *b)
{
	unsigned bytes = addr_bytes(a), borrow = 0;
	uint64_t low = 0;

	if (a->family != b->family || memcmp(a->b, b->b, sizeof a->b) > 0)
		return UINT64_MAX;
	for (unsigned i = bytes; i-- > 0; ) {
		unsigned diff = 256u + b->b[i] - a->b[i] - borrow;
		unsigned place = bytes - 1 - i;

		borrow = diff < 256;
		if (place < 8)
			low |= (uint64_t)(diff & 0xff) << (8 * place);
		else if (diff & 0xff)
			return UINT64_MAX;
	}
	return low;
}

bool addr_is_link_local(const struct addr *a)
{
	if (a->family == AF_INET6)
		return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
	return a->family == AF_INET && a->b[0] == 169 && a->b[1] == 254;
}

bool addr_is_loopback(const struct addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	if (a->family == AF_INET6)
		return memcmp(a->b, one, sizeof one) == 0;
	return a->family == AF_INET && a->b[0] == 127;
}

int family_index(uint8_t family)
{
	return family == AF_INET6 ? FAMILY_V6 : FAMILY_V4;
}

uint8_t family_of(int index)
{
	return index == FAMILY_V6 ? AF_INET6 : AF_INET;
}
