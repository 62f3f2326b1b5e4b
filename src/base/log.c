#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

enum { LINE_MAX_BYTES = 512 };

static const char *const level_names[] = { "err", "warn", "info", "debug" };
static enum log_level log_threshold = LOG_INFO;
static unsigned long dropped;		/* lines since the last one that was written */

int log_level_parse(const char *text, enum log_level *level)
{
	for (unsigned i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*level = i;
			return 0;
		}
	}
	return -EINVAL;
}

void log_init(enum log_level level)
{
	log_threshold = level;
}

/* One byte of a quoted value.  Terminals act on C0 and C1 controls, so neither gets through. */
static size_t escape(char out[5], const unsigned char *at)
{
	unsigned char c = *at;

	if (c == '"' || c == '\\')
		return (size_t)snprintf(out, 5, "\\%c", c);
	if (c == '\n')
		return (size_t)snprintf(out, 5, "\\n");
	if (c < 0x20 || c == 0x7f || (c == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0))
		return (size_t)snprintf(out, 5, "\\x%02x", c);
	out[0] = (char)c;
	return 1;
}

/* Copies msg escaped to out[room]; a cut never splits an escape or a UTF-8 character. */
static size_t put_escaped(char *out, size_t room, const char *msg)
{
	const unsigned char *at = (const unsigned char *)msg;
	size_t len = 0, whole = 0;
	char piece[5];

	for (; *at; at++) {
		size_t n = escape(piece, at);

		if ((*at & 0xc0) != 0x80)
			whole = len;
		if (len + n > room)
			return whole;
		memcpy(out + len, piece, n);
		len += n;
	}
	return len;
}

/* time=... level=... sub=... [dropped=N ]msg=" */
static size_t put_head(char *out, size_t room, enum log_level level, const char *sub)
{
	int64_t ns = wall_ns();
	struct utc t = utc_of(ns);
	char lost[40] = "";
	int n;

	if (dropped)
		snprintf(lost, sizeof lost, "dropped=%lu ", dropped);
	n = snprintf(out, room, "time=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ level=%s sub=%.32s %smsg=\"",
		     t.year, t.month, t.day, t.hour, t.minute, t.second, (int)(ns % 1000000000 / 1000000), level_names[level], sub, lost);
	return n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

/*
 * stderr is shared with whoever started us, so it is not made non-blocking:
 * we ask first.  A pipe that says POLLOUT has room for a whole line.
 */
static void put_line(const char *line, size_t len)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t n = -1;

	if (poll(&p, 1, 0) == 1 && p.revents == POLLOUT)
		n = write(STDERR_FILENO, line, len);
	if (n < 0)
		dropped++;
	else
		dropped = 0;
}

static void log_line(enum log_level level, const char *sub, const char *fmt, va_list ap)
{
	char msg[LINE_MAX_BYTES], line[LINE_MAX_BYTES];
	size_t len;

	vsnprintf(msg, sizeof msg, fmt, ap);	/* first: fmt may say %m */
	len = put_head(line, sizeof line, level, sub);
	len += put_escaped(line + len, sizeof line - 2 - len, msg);
	line[len++] = '"';
	line[len++] = '\n';
	put_line(line, len);
}

void log_write(enum log_level level, const char *sub, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (level > log_threshold)
		return;
	va_start(ap, fmt);
	log_line(level, sub, fmt, ap);
	va_end(ap);
	errno = saved;
}

_Noreturn void log_die(const char *sub, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(LOG_ERR, sub, fmt, ap);
	va_end(ap);
	abort();
}
