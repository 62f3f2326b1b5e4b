#include "wire/der.h"

#include <string.h>

struct der der_of(const uint8_t *data, size_t len)
{
	return (struct der){ data, data + len, false };
}

size_t der_left(const struct der *d)
{
	return d->bad ? 0 : (size_t)(d->end - d->p);
}

bool der_is(const struct der *d, unsigned tag)
{
	return der_left(d) && *d->p == tag;
}

/* The next element; *head: bytes of tag and length.  Lengths are minimal and below 16 MiB, tags below 31. */
static struct der next(struct der *d, size_t *head)
{
	const uint8_t *p = d->p;
	size_t left = der_left(d), len, more;

	if (left < 2 || (p[0] & 0x1f) == 0x1f)
		goto bad;
	len = p[1];
	more = len & 0x80 ? len & 0x7f : 0;
	if (more > 3 || len == 0x80 || left < 2 + more || (more && p[2] == 0))
		goto bad;
	if (more)
		len = 0;
	for (size_t i = 0; i < more; i++)
		len = len << 8 | p[2 + i];
	*head = 2 + more;
	if (len > left - *head || (more && len < 0x80))
		goto bad;
	d->p += *head + len;
	return der_of(p, *head + len);
bad:
	d->bad = true;
	*head = 0;
	return (struct der){ .bad = true };
}

struct der der_any(struct der *d)
{
	size_t head;

	return next(d, &head);
}

struct der der_take(struct der *d, unsigned tag)
{
	size_t head;
	struct der in;

	d->bad |= !der_is(d, tag);
	in = next(d, &head);
	if (head)
		in.p += head;
	return in;
}

bool der_skip(struct der *d, unsigned tag)
{
	return der_is(d, tag) && !der_take(d, tag).bad;
}

bool der_equal(const struct der *d, const void *data, size_t len)
{
	return der_left(d) == len && len && memcmp(d->p, data, len) == 0;
}
