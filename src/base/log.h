#ifndef BASE_LOG_H
#define BASE_LOG_H
/*
 * logfmt on stderr: time= level= sub= msg= and what the caller adds.
 * One line a write(2); a blocked reader loses lines, never stops us.
 *
 * err: someone must act.  warn: we coped.  info: a state changed.  debug: an object.
 */
enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* level: "err", "warn", "info", "debug".  -EINVAL when it is none of them. */
int log_level_parse(const char *text, enum log_level *level);
void log_init(enum log_level level);

/* msg is printf-formatted and quoted; control bytes are escaped, the whole is cut at 512 bytes. */
void log_write(enum log_level level, const char *sub, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_err(sub, ...)   log_write(LOG_ERR, sub, __VA_ARGS__)
#define log_warn(sub, ...)  log_write(LOG_WARN, sub, __VA_ARGS__)
#define log_info(sub, ...)  log_write(LOG_INFO, sub, __VA_ARGS__)
#define log_debug(sub, ...) log_write(LOG_DEBUG, sub, __VA_ARGS__)

/* Out of memory, a broken invariant: says so and aborts.  A supervisor restarts us, a pass repairs the node. */
_Noreturn void log_die(const char *sub, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
