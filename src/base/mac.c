#include "base/mac.h"

#include <string.h>

/* Every message about a forwarding entry names it, so by hand: the C library prints it by printf. */
struct mac_text mac_text(const uint8_t mac[6])
{
	static const char digits[] = "0123456789abcdef";
	struct mac_text t;

	for (int i = 0; i < 6; i++) {
		t.s[i * 3] = digits[mac[i] >> 4];
		t.s[i * 3 + 1] = digits[mac[i] & 15];
		t.s[i * 3 + 2] = i < 5 ? ':' : '\0';
	}
	return t;
}

bool mac_parse(uint8_t mac[6], const char *text)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";

	if (strlen(text) != 17)
		return false;
	for (int i = 0; i < 6; i++, text += 3) {
		const char *high = memchr(digits, text[0], 32), *low = memchr(digits, text[1], 32);

		if (!high || !low || text[2] != (i < 5 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)((high - digits) % 16 << 4 | (low - digits) % 16);
	}
	return true;
}
