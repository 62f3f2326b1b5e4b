#include "wire/x509.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static int digit(unsigned char c)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(set, c) : NULL;

	return at ? (int)(at - set) : -1;
}

int base64_read(const char *text, size_t len, struct arena *mem, struct der *out)
{
	uint8_t *to = arena_alloc(mem, len / 4 * 3 + 3);
	uint32_t bits = 0;
	unsigned count = 0, padding = 0;

	*out = der_of(to, 0);
	for (size_t i = 0; i < len; i++) {
		int d = digit((unsigned char)text[i]);

		if (isspace((unsigned char)text[i]))
			continue;
		padding += text[i] == '=';
		if (text[i] != '=' && (d < 0 || padding))
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(d < 0 ? 0 : d);
		if (++count % 4)
			continue;
		*to++ = (uint8_t)(bits >> 16);
		*to++ = (uint8_t)(bits >> 8);
		*to++ = (uint8_t)bits;
	}
	out->end = to - padding;
	return count % 4 || padding > 2 || padding > (size_t)(to - out->p) ? -EINVAL : 0;
}

int pem_next(const char **text, struct arena *mem, char label[32], struct der *der, struct err *e)
{
	static const char begin[] = "-----BEGIN ", dashes[] = "-----";
	const char *name = strstr(*text, begin), *body, *end;
	size_t len;

	if (!name)
		return 0;
	name += sizeof begin - 1;
	len = strcspn(name, "-\n");
	body = strncmp(name + len, dashes, 5) == 0 ? name + len + 5 : "";
	end = strstr(body, "-----END ");
	if (len >= 32 || !end || strncmp(end + 9, name, len + 5) != 0)
		return err_set(e, EINVAL, "a PEM block that does not end");
	memcpy(label, name, len);
	label[len] = '\0';
	*text = end + 9 + len + 5;
	if (base64_read(body, (size_t)(end - body), mem, der) < 0)
		return err_set(e, EINVAL, "%s: not base64%s", label, memmem(body, (size_t)(end - body), "ENCRYPTED", 9) ?
			       " but encrypted, which is not supported" : "");
	return 1;
}
