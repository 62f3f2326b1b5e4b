/* links: src/wire/http.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "wire/http.h"

/* An answer in pieces of step bytes: its body, or what is bad about it. */
struct heard { enum http_event last; struct http h; char body[4096]; size_t len, rest; unsigned heads; };

static struct heard hear(const char *text, size_t size, size_t step)
{
	struct heard r = { 0 };
	size_t at_all = 0;

	http_init(&r.h);
	while (at_all < size) {
		size_t piece = size - at_all < step ? size - at_all : step, len;
		char *exact = malloc(piece);
		const char *at = exact;

		memcpy(exact, text + at_all, piece);
		do {
			r.last = http_next(&r.h, &at, exact + piece, &len);
			r.heads += r.last == HTTP_HEAD;
			if (r.last == HTTP_DATA) {
				assert_true(r.len + len <= sizeof r.body);
				memcpy(r.body + r.len, at, len);
				r.len += len;
				at += len;
			}
		} while (r.last == HTTP_HEAD || r.last == HTTP_DATA);
		at_all += (size_t)(at - exact);
		free(exact);
		if (r.last != HTTP_MORE)
			break;
	}
	r.rest = size - at_all;
	return r;
}

static void answers_are_whole_in_any_split(void **state)
{
	static const struct { const char *text, *body; int status; bool close, json; unsigned retry; } cases[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: application/json\r\n\r\nhello", "hello", 200, false, true, 0 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\ncontent-type: application/json;charset=utf-8\r\n\r\n"
		  "5\r\nhello\r\n00A;x=y\r\n, world...\r\n0\r\n\r\n", "hello, world...", 200, false, true, 0 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nTrailer: b\r\nOther: c\r\n\r\n", "a", 200, false, false, 0 },
		{ "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", "", 429, false, false, 7 },
		{ "HTTP/1.1 429 x\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n", "", 429, false, false, 0 },
		{ "HTTP/1.1 429 x\r\nRetry-After: 99999999\r\nContent-Length: 0\r\n\r\n", "", 429, false, false, 86400 },
		{ "HTTP/1.1 204\r\n\r\n", "", 204, false, false, 0 },
		{ "HTTP/1.1 304 Not Modified\nContent-Length: 9\n\n", "", 304, false, false, 0 },
		{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", "x", 201, true, false, 0 },
		{ "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", 200, true, false, 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2 \r\nContent-Length:\t2\r\nContent-Type: application/jsonp\r\n\r\nhi", "hi", 200, false, false, 0 },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t step = 1; step <= strlen(cases[i].text); step++) {
			struct heard r = hear(cases[i].text, strlen(cases[i].text), step);

			assert_int_equal(r.last, HTTP_END);
			assert_int_equal(r.heads, 1);
			assert_int_equal(r.rest, 0);
			assert_int_equal(r.len, strlen(cases[i].body));
			assert_memory_equal(r.body, cases[i].body, r.len);
			assert_int_equal(r.h.status, cases[i].status);
			assert_int_equal(r.h.close, cases[i].close);
			assert_int_equal(r.h.json, cases[i].json);
			assert_int_equal(r.h.retry_after_s, cases[i].retry);
		}
}

static void bad_answers_are_refused(void **state)
{
	static const struct { const char *text, *why; } cases[] = {
		{ "SSH-2.0-OpenSSH_9.2\r\n", "no HTTP/1.1" },
		{ "HTTP/2 200\r\n\r\n", "no HTTP/1.1" },
		{ "\r\n", "no HTTP/1.1" },
		{ "HTTP/1.1 20 OK\r\n\r\n", "no HTTP status" },
		{ "HTTP/1.1 200OK\r\n\r\n", "no HTTP status" },
		{ "HTTP/1.1 999 x\r\n\r\n", "no HTTP status" },
		{ "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "a header without a colon" },
		{ "HTTP/1.1 200 OK\r\na: b\r\n folded: x\r\n\r\n", "a header whose name has a blank" },
		{ "HTTP/1.1 200 OK\r\n: x\r\n\r\n", "a header whose name has a blank" },
		{ "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\n", "a header whose name has a blank" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n", "a Content-Length that makes no sense" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "a Content-Length that makes no sense" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "a Content-Length that makes no sense" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "a Content-Length that makes no sense" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "a Transfer-Encoding other than chunked" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		  "a Transfer-Encoding other than chunked" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", "both a Content-Length and chunks" },
		{ "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n", "a Content-Encoding that nobody asked for" },
		{ "HTTP/1.1 101 Switching\r\n\r\n", "another protocol that nobody asked for" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n", "a chunk without a size" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "a chunk without a size" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "a chunk without a size" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n", "a chunk without a size" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n", "a chunk without a size" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n", "a chunk that is longer than it says" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t step = 1; step <= strlen(cases[i].text); step += 3) {
			struct heard r = hear(cases[i].text, strlen(cases[i].text), step);

			assert_int_equal(r.last, HTTP_BAD);
			assert_string_equal(r.h.bad, cases[i].why);
		}
}

static void long_headers_count_only_where_they_are_read(void **state)
{
	char text[HTTP_HEAD_MAX + 1024];
	struct heard r;
	int n;
	(void)state;

	n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nWarning: %0*d\r\nContent-Length: 2\r\n\r\nhi", 2000, 1);
	r = hear(text, (size_t)n, 7);
	assert_int_equal(r.last, HTTP_END);
	assert_int_equal(r.len, 2);
	n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %0*d\r\n\r\nhi", 2000, 2);
	r = hear(text, (size_t)n, 7);
	assert_string_equal(r.h.bad, "a header that is too long");
	n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nWarning: %0*d\r\n\r\n", HTTP_HEAD_MAX, 1);
	r = hear(text, (size_t)n, 1000);
	assert_string_equal(r.h.bad, "a head without an end");
	memset(text, 'a', sizeof text);		/* and a line that never ends */
	memcpy(text, "HTTP/1.1 200 OK\r\n", 17);
	r = hear(text, sizeof text, 1000);
	assert_string_equal(r.h.bad, "a head without an end");
	assert_int_equal(snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"), 50);
	memset(text + 50, 'a', sizeof text - 50);	/* in the trailer too */
	r = hear(text, sizeof text, 1000);
	assert_string_equal(r.h.bad, "a head without an end");
}

/* Cut anywhere, an answer is not whole; unless its end is the connection's. */
static void an_end_that_comes_early_is_told(void **state)
{
	static const char sized[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
			  chunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			  open[] = "HTTP/1.1 200 OK\r\n\r\nhello";
	struct heard r;
	(void)state;

	for (size_t n = 0; n < strlen(sized); n++) {
		r = hear(sized, n, 5);
		assert_int_equal(http_eof(&r.h), HTTP_BAD);
	}
	for (size_t n = 0; n < strlen(chunked); n++) {
		r = hear(chunked, n, 5);
		assert_int_equal(http_eof(&r.h), HTTP_BAD);
	}
	for (size_t n = 19; n < strlen(open); n++) {
		r = hear(open, n, 5);
		assert_int_equal(r.last, HTTP_MORE);
		assert_true(r.h.close);
		assert_int_equal(http_eof(&r.h), HTTP_END);
	}
}

static void what_follows_an_answer_is_not_read(void **state)
{
	static const char two[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 404 Not Found\r\n\r\n";
	struct heard r = hear(two, strlen(two), strlen(two));
	(void)state;

	assert_int_equal(r.last, HTTP_END);
	assert_int_equal(r.len, 1);
	assert_int_equal(r.rest, 26);
}

static void between_chunks_nothing_is_owed(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n";
	static const size_t idle[] = { 47, 54 };
	(void)state;

	for (size_t n = 0; n <= strlen(text); n++) {
		struct heard r = hear(text, n, 100);

		assert_int_equal(http_is_owed(&r.h), n != idle[0] && n != idle[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_whole_in_any_split),
		cmocka_unit_test(bad_answers_are_refused),
		cmocka_unit_test(long_headers_count_only_where_they_are_read),
		cmocka_unit_test(an_end_that_comes_early_is_told),
		cmocka_unit_test(what_follows_an_answer_is_not_read),
		cmocka_unit_test(between_chunks_nothing_is_owed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
