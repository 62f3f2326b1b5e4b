/* A list or a watch in pieces: the first byte says which, the second how long the pieces are.  However it is cut, the same objects come out. */
#include "fuzz.h"

#include <string.h>

#include "base/digest.h"
#include "wire/json_split.h"

struct seen { uint64_t hash; unsigned count; size_t bytes; };

static void each(void *ctx, const char *text, size_t len, bool whole)
{
	struct seen *s = ctx;

	s->hash = (s->hash ^ fnv64a(text, len)) * 0x9e3779b97f4a7c15ull + whole;
	s->count++;
	s->bytes += len;
}

static bool split(struct seen *seen, bool list, const char *text, size_t len, size_t piece)
{
	struct json_split s;
	bool whole;

	*seen = (struct seen){ 0 };
	json_split_init(&s, list, each, seen);
	for (size_t at = 0; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;
		char *copy = memcpy(malloc(n), text + at, n);	/* so that a step past the end is seen */

		json_split_feed(&s, copy, n);
		free(copy);
	}
	whole = json_split_end(&s);
	json_split_free(&s);
	return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen one, many;
	bool a, b;

	if (size < 3)
		return 0;
	a = split(&one, data[0] & 1, (const char *)data + 2, size - 2, size);
	b = split(&many, data[0] & 1, (const char *)data + 2, size - 2, 1 + data[1] % 64);
	CLAIM(a == b && one.hash == many.hash && one.count == many.count && one.bytes <= size);
	return 0;
}
