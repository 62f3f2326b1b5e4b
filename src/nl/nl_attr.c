#include "nl/nl.h"

#include <string.h>
#include <sys/socket.h>

/*
 * libmnl checks no lengths of attributes, and takes a message's of 2 GiB for a short one:
 * each is measured against what holds it here, and a payload against the type that is read.
 */

bool nl_message_ok(const struct nlmsghdr *h, int left)
{
	return left >= (int)sizeof *h && h->nlmsg_len >= sizeof *h && h->nlmsg_len <= (uint32_t)left;
}

static void attrs_walk(const char *at, size_t left, const struct nlattr **tb, unsigned max)
{
	memset(tb, 0, (max + 1) * sizeof *tb);
	while (left >= sizeof(struct nlattr)) {
		const struct nlattr *a = (const struct nlattr *)at;
		size_t step = MNL_ALIGN(a->nla_len);

		if (a->nla_len < sizeof *a || a->nla_len > left)
			return;
		if (mnl_attr_get_type(a) <= max)
			tb[mnl_attr_get_type(a)] = a;
		if (step > left)
			return;
		at += step;
		left -= step;
	}
}

bool nl_attrs(const struct nlmsghdr *h, size_t extra, const struct nlattr **tb, unsigned max)
{
	size_t start = MNL_NLMSG_HDRLEN + MNL_ALIGN(extra);
	bool enough = h->nlmsg_len >= MNL_NLMSG_HDRLEN + extra;

	attrs_walk((const char *)h + start, enough && h->nlmsg_len > start ? h->nlmsg_len - start : 0, tb, max);
	return enough;
}

void nl_attrs_nested(const struct nlattr *nest, const struct nlattr **tb, unsigned max)
{
	attrs_walk(nest ? mnl_attr_get_payload(nest) : NULL, nest ? mnl_attr_get_payload_len(nest) : 0, tb, max);
}

bool nl_attr_bytes(const struct nlattr *a, void *v, size_t size)
{
	if (!a || mnl_attr_get_payload_len(a) != size)
		return false;
	memcpy(v, mnl_attr_get_payload(a), size);
	return true;
}

bool nl_attr_u8(const struct nlattr *a, uint8_t *v)
{
	return nl_attr_bytes(a, v, sizeof *v);
}

bool nl_attr_u16(const struct nlattr *a, uint16_t *v)
{
	return nl_attr_bytes(a, v, sizeof *v);
}

bool nl_attr_u32(const struct nlattr *a, uint32_t *v)
{
	return nl_attr_bytes(a, v, sizeof *v);
}

bool nl_attr_text(const struct nlattr *a, char *dst, size_t size)
{
	size_t len;

	if (!a)
		return false;
	len = strnlen(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a));
	if (len >= size)
		len = size - 1;
	memcpy(dst, mnl_attr_get_payload(a), len);
	dst[len] = '\0';
	return true;
}

bool nl_attr_addr(const struct nlattr *a, uint8_t family, struct addr *v)
{
	struct addr read = { .family = family };

	if ((family != AF_INET && family != AF_INET6) || !nl_attr_bytes(a, read.b, family == AF_INET ? 4 : 16))
		return false;
	*v = read;
	return true;
}
