#ifndef WIRE_HTTP_H
#define WIRE_HTTP_H
/*
 * Answers of HTTP/1.1 (RFC 9112), read as they come, in any split.  Nothing is kept but a line of the head;
 * bodies pass by.
 *
 *	while ((event = http_next(&h, &at, end, &len)) != HTTP_MORE)
 *		... HTTP_DATA: len bytes of the body at "at", to be stepped over by the caller
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_HEAD_MAX = 16384, HTTP_LINE_KEPT = 128 };

enum http_event {
	HTTP_MORE,		/* all is read, there will be more */
	HTTP_HEAD,		/* the head is whole: status and so on are set */
	HTTP_DATA,
	HTTP_END,		/* the answer is whole; what follows is not part of it */
	HTTP_BAD,		/* bad says why */
};

struct http {
	/* From HTTP_HEAD on. */
	int status;
	unsigned retry_after_s;	/* 0: not given, or as a date */
	bool json;		/* Content-Type says application/json */
	bool close;		/* the connection takes no other request */
	const char *bad;

	/* For http.c. */
	uint8_t state;
	bool chunked, sized, whole_line;
	uint64_t left;		/* of the body, or of a chunk */
	unsigned head_len, line_len;
	char line[HTTP_LINE_KEPT];
};

void http_init(struct http *h);
/*
 * Steps *at on, up to end, until something is to be told.  HTTP_DATA: *len bytes at *at, which the next call
 * expects to be stepped over.
 */
enum http_event http_next(struct http *h, const char **at, const char *end, size_t *len);
/* The connection has ended in good order: HTTP_END where that ends the body, else HTTP_BAD. */
enum http_event http_eof(struct http *h);
/* Inside a chunk, a head or a body of known length, where more is due soon? */
bool http_is_owed(const struct http *h);

#endif
