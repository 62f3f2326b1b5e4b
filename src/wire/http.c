#include "wire/http.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { AT_STATUS, AT_HEADER, AT_BODY, AT_REST, AT_SIZE, AT_CHUNK, AT_CHUNK_END, AT_TRAILER, AT_END, AT_BAD };

static enum http_event bad(struct http *h, const char *why)
{
	h->state = AT_BAD;
	h->bad = why;
	return HTTP_BAD;
}

void http_init(struct http *h)
{
	*h = (struct http){ .state = AT_STATUS };
}

/* A line into h->line, without its end; what has no room is skipped, but remembered.  False: it is not whole yet. */
static bool line_read(struct http *h, const char **at, const char *end)
{
	while (*at < end) {
		char c = *(*at)++;

		h->head_len++;
		if (c == '\n') {
			h->whole_line = h->line_len < HTTP_LINE_KEPT;
			h->line_len -= h->whole_line && h->line_len && h->line[h->line_len - 1] == '\r';
			h->line[h->whole_line ? h->line_len : HTTP_LINE_KEPT - 1] = '\0';
			h->line_len = 0;
			return true;
		}
		if (h->line_len < HTTP_LINE_KEPT)
			h->line[h->line_len++] = c ? c : 1;	/* so that no text seems to end there */
	}
	return false;
}

/* Digits of base 10 or 16; *end: what follows.  False: none, or too many. */
static bool number(const char *text, unsigned base, uint64_t *n, const char **end)
{
	unsigned count = 0;

	for (*n = 0; base == 16 ? isxdigit((unsigned char)*text) : isdigit((unsigned char)*text); text++, count++)
		*n = *n * base + (unsigned)(isdigit((unsigned char)*text) ? *text - '0' : (*text | 0x20) - 'a' + 10);
	*end = text;
	return count && count < 16;
}

static bool word_is(const char *value, const char *word)
{
	return strcasecmp(value, word) == 0;
}

static const char *content_length(struct http *h, const char *value)
{
	const char *end;
	uint64_t n;

	if (!number(value, 10, &n, &end) || *end || (h->sized && n != h->left))
		return "a Content-Length that makes no sense";
	h->sized = true;
	h->left = n;
	return NULL;
}

static const char *transfer_encoding(struct http *h, const char *value)
{
	if (!word_is(value, "chunked") || h->chunked)
		return "a Transfer-Encoding other than chunked";
	h->chunked = true;
	return NULL;
}

static const char *content_encoding(struct http *h, const char *value)
{
	(void)h;
	return word_is(value, "identity") ? NULL : "a Content-Encoding that nobody asked for";
}

static const char *connection(struct http *h, const char *value)
{
	h->close |= word_is(value, "close");
	return NULL;
}

static const char *content_type(struct http *h, const char *value)
{
	static const char json[] = "application/json";

	h->json = strncasecmp(value, json, sizeof json - 1) == 0 && strchr("; ", value[sizeof json - 1]);
	return NULL;
}

static const char *retry_after(struct http *h, const char *value)
{
	const char *end;
	uint64_t n;

	if (number(value, 10, &n, &end) && !*end)
		h->retry_after_s = n < 86400 ? (unsigned)n : 86400;
	return NULL;
}

static const struct { const char *name; const char *(*read)(struct http *h, const char *value); } headers[] = {
	{ "content-length", content_length },
	{ "transfer-encoding", transfer_encoding },
	{ "content-encoding", content_encoding },
	{ "connection", connection },
	{ "content-type", content_type },
	{ "retry-after", retry_after },
};

static const char *header_read(struct http *h)
{
	char *value = strchr(h->line, ':'), *end;

	if (!value)
		return h->whole_line ? "a header without a colon" : NULL;
	*value++ = '\0';
	if (!h->line[0] || strpbrk(h->line, " \t"))	/* folded lines too, which are obsolete */
		return "a header whose name has a blank";
	value += strspn(value, " \t");
	for (end = value + strlen(value); end > value && strchr(" \t", end[-1]); end--)
		;
	*end = '\0';
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
		if (word_is(h->line, headers[i].name))
			return h->whole_line ? headers[i].read(h, value) : "a header that is too long";
	return NULL;
}

/* "HTTP/1.1 200 OK"; 1.0 closes. */
static const char *status_read(struct http *h)
{
	const char *end;
	uint64_t n;

	if (strncmp(h->line, "HTTP/1.", 7) != 0 || (h->line[7] != '0' && h->line[7] != '1') || h->line[8] != ' ')
		return "no HTTP/1.1";
	if (!number(h->line + 9, 10, &n, &end) || n < 100 || n > 599 || (*end && *end != ' '))
		return "no HTTP status";
	h->status = (int)n;
	h->close = h->line[7] == '0';
	return NULL;
}

/* The head is whole: what comes after it? */
static enum http_event head_end(struct http *h)
{
	if (h->status < 200) {		/* an interim answer */
		if (h->status == 101)
			return bad(h, "another protocol that nobody asked for");
		http_init(h);
		return HTTP_MORE;
	}
	if (h->chunked && h->sized)
		return bad(h, "both a Content-Length and chunks");
	h->state = h->status == 204 || h->status == 304 || (h->sized && !h->left) ? AT_END :
		   h->chunked ? AT_SIZE : h->sized ? AT_BODY : AT_REST;
	h->close |= h->state == AT_REST;
	h->head_len = 0;
	return HTTP_HEAD;
}

/* What a line says, by where it stands.  HTTP_MORE: nothing to tell. */
static enum http_event line_done(struct http *h)
{
	const char *why = NULL, *end;

	switch (h->state) {
	case AT_STATUS:
		why = status_read(h);
		h->state = AT_HEADER;
		break;
	case AT_HEADER:
		if (!h->line[0])
			return head_end(h);
		why = header_read(h);
		break;
	case AT_SIZE:
		h->head_len = 0;
		if (!number(h->line, 16, &h->left, &end) || !(*end == '\0' || *end == ';' || *end == ' ' || *end == '\t'))
			why = "a chunk without a size";
		h->state = h->left ? AT_CHUNK : AT_TRAILER;
		break;
	case AT_CHUNK_END:
		h->head_len = 0;
		if (h->line[0] || !h->whole_line)
			why = "a chunk that is longer than it says";
		h->state = AT_SIZE;
		break;
	default:			/* AT_TRAILER: of no interest */
		if (!h->line[0])
			h->state = AT_END;
	}
	return why ? bad(h, why) : HTTP_MORE;
}

/* What is there of the body; *at is stepped on by the caller. */
static enum http_event body(struct http *h, const char *at, const char *end, size_t *len)
{
	uint64_t there = (uint64_t)(end - at);

	if (!there)
		return HTTP_MORE;
	*len = (size_t)(h->state != AT_REST && h->left < there ? h->left : there);
	if (h->state == AT_REST)
		return HTTP_DATA;
	h->left -= *len;
	if (!h->left)
		h->state = h->state == AT_BODY ? AT_END : AT_CHUNK_END;
	return HTTP_DATA;
}

enum http_event http_next(struct http *h, const char **at, const char *end, size_t *len)
{
	enum http_event event = HTTP_MORE;

	while (event == HTTP_MORE) {
		if (h->state == AT_END)
			return HTTP_END;
		if (h->state == AT_BAD)
			return HTTP_BAD;
		if (h->state == AT_BODY || h->state == AT_REST || h->state == AT_CHUNK)
			return body(h, *at, end, len);
		if (!line_read(h, at, end))
			return h->head_len > HTTP_HEAD_MAX ? bad(h, "a head without an end") : HTTP_MORE;
		event = h->head_len > HTTP_HEAD_MAX ? bad(h, "a head without an end") : line_done(h);
	}
	return event;
}

enum http_event http_eof(struct http *h)
{
	if (h->state == AT_REST)
		h->state = AT_END;
	return h->state == AT_END ? HTTP_END : bad(h, "the answer ends before its end");
}

bool http_is_owed(const struct http *h)
{
	return h->state != AT_REST && h->state != AT_END && !(h->state == AT_SIZE && !h->head_len);
}
