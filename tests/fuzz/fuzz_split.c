/* A list or a watch in pieces: the first byte says which, the second how long the pieces are.  However it is cut, the same objects come out. */
#include "fuzz.h"

#include <string.h>

#include "base/digest.h"
#include "wire/json_int.h"
#include "wire/json_split.h"

struct seen { uint64_t hash; unsigned count; size_t bytes; bool ballast; };

/* What was checked as it came is what the other reader makes of it. */
static void is_what_it_seems(const struct json *j, const char *wrong, bool whole_text)
{
	struct err e = { 0 };
	struct json whole;
	char *copy = memcpy(malloc(j->len + 1), j->text, j->len);
	bool good = json_parse(&whole, copy, j->len, &e) == 0;

	CLAIM(good == !wrong || (wrong && (!whole_text || j->len >= 4096)));	/* what is wrong may be in what is left out */
	if (good && !wrong)
		CLAIM(whole.count == j->count && memcmp(whole.tokens, j->tokens, (size_t)j->count * sizeof *j->tokens) == 0);
	json_free(&whole);
	free(copy);
}

static void each(void *ctx, const struct json *j, const char *wrong)
{
	struct seen *s = ctx;

	is_what_it_seems(j, wrong, !s->ballast);
	s->hash = (s->hash ^ fnv64a(j->text, j->len)) * 0x9e3779b97f4a7c15ull + !wrong;
	s->count++;
	s->bytes += j->len;
}

static bool split(struct seen *seen, bool list, const char *const *ballast, const char *text, size_t len, size_t piece)
{
	struct json_split s;
	bool whole;

	*seen = (struct seen){ .ballast = ballast };
	json_split_init(&s, list, each, seen);
	s.ballast = ballast;
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
	static const char *const ballast[] = { "a", "spec", "name", "volumes", NULL };
	const char *const *left_out = size && data[0] & 2 ? ballast : NULL;
	struct seen one, many;
	bool a, b;

	if (size < 3)
		return 0;
	a = split(&one, data[0] & 1, left_out, (const char *)data + 2, size - 2, size);
	b = split(&many, data[0] & 1, left_out, (const char *)data + 2, size - 2, 1 + data[1] % 64);
	CLAIM(a == b && one.hash == many.hash && one.count == many.count && one.bytes <= size);
	return 0;
}
