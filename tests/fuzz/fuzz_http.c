/*
 * What a server answers, whole and in pieces: both are understood alike, and no piece of a body lies
 * outside what came.  The first byte says how it is cut.
 */
#include <string.h>

#include "../../src/wire/http.c"

#include "fuzz.h"

struct heard {
	enum http_event last;
	struct http head;
	unsigned heads;
	size_t len;
	uint64_t sum;			/* of the body, in its order */
};

static void hear(struct http *h, struct heard *r, const char *data, size_t size)
{
	const char *at = data, *end = data + size;
	size_t len = 0;

	for (;;) {
		r->last = http_next(h, &at, end, &len);
		CLAIM(at >= data && at <= end);
		if (r->last == HTTP_HEAD) {
			r->heads++;
			r->head = *h;
			CLAIM(h->status >= 200 && h->status <= 599);
		} else if (r->last == HTTP_DATA) {
			CLAIM(r->heads == 1 && len && len <= (size_t)(end - at));
			for (size_t i = 0; i < len; i++)
				r->sum = r->sum * 31 + (uint8_t)at[i];
			r->len += len;
			at += len;
		} else {
			CLAIM(r->last != HTTP_MORE || at == end);
			CLAIM((r->last == HTTP_BAD) == (h->bad != NULL));
			return;
		}
	}
}

static bool over(const struct heard *r)
{
	return r->last == HTTP_BAD || r->last == HTTP_END;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http one, two;
	struct heard whole = { 0 }, pieces = { 0 };
	size_t step = size ? data[0] % 64u + 1 : 1;
	const char *text = (const char *)data + (size > 0);

	size -= size > 0;
	http_init(&one);
	http_init(&two);
	hear(&one, &whole, text, size);
	for (size_t i = 0; i < size && !over(&pieces); i += step) {
		size_t len = size - i < step ? size - i : step;
		char *exact = malloc(len);		/* so that a read past the piece is seen */

		memcpy(exact, text + i, len);
		hear(&two, &pieces, exact, len);
		free(exact);
	}
	CLAIM(size == 0 || (whole.last == pieces.last && whole.heads == pieces.heads && whole.len == pieces.len &&
			    whole.sum == pieces.sum));
	CLAIM(!whole.heads || (whole.head.status == pieces.head.status && whole.head.json == pieces.head.json &&
			       whole.head.close == pieces.head.close && whole.head.retry_after_s == pieces.head.retry_after_s));
	CLAIM(http_is_owed(&one) == http_is_owed(&two) || over(&whole));
	CLAIM(http_eof(&one) == (size ? http_eof(&two) : HTTP_BAD));
	return 0;
}
