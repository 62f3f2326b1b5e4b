#include "wire/json.h"

#include <inttypes.h>
#include <string.h>

#include "wire/json_int.h"

static void put_escape(struct str *to, unsigned char c)
{
	static const char from[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
	const char *found = memchr(from, c, sizeof from - 1);

	if (found)
		str_printf(to, "\\%c", letter[found - from]);
	else
		str_printf(to, "\\u%04x", c);
}

/* The length of what needs no look: ASCII that stands for itself. */
static size_t plain_length(const char *text)
{
	const char *at = text;

	while (*at >= 0x20 && *at != '"' && *at != '\\' && !(*at & 0x80))
		at++;
	return (size_t)(at - text);
}

static void put_quoted(struct str *to, const char *text)
{
	const char *plain = text, *at = text + plain_length(text);

	str_add(to, "\"", 1);
	for (size_t left = strlen(at); left; ) {
		unsigned n = utf8_length(at, left);
		unsigned char c = (unsigned char)*at;

		if (n && c >= 0x20 && c != '"' && c != '\\') {
			at += n;
			left -= n;
			continue;
		}
		str_add(to, plain, (size_t)(at - plain));
		if (n)
			put_escape(to, c);
		else
			str_puts(to, "\xef\xbf\xbd");
		plain = ++at;
		left--;
	}
	str_add(to, plain, (size_t)(at - plain));
	str_add(to, "\"", 1);
}

/* What comes before a value: the comma, the name. */
static void put_head(struct json_out *o, const char *name)
{
	const size_t plain = name ? plain_length(name) : 0;
	char *at;

	if (o->comma)
		str_add(o->to, ",", 1);
	o->comma = true;
	if (!name)
		return;
	if (name[plain]) {
		put_quoted(o->to, name);
		str_add(o->to, ":", 1);
		return;
	}
	at = str_grow(o->to, plain + 3);
	*at = '"';
	memcpy(at + 1, name, plain);
	memcpy(at + 1 + plain, "\":", 2);
}

void json_open(struct json_out *o, const char *name, char bracket)
{
	put_head(o, name);
	str_add(o->to, &bracket, 1);
	o->comma = false;
}

void json_close(struct json_out *o, char bracket)
{
	str_add(o->to, &bracket, 1);
	o->comma = true;
}

void json_put_string(struct json_out *o, const char *name, const char *value)
{
	if (!value) {
		json_put_null(o, name);
		return;
	}
	put_head(o, name);
	put_quoted(o->to, value);
}

void json_put_int(struct json_out *o, const char *name, int64_t value)
{
	char digits[22], *at = digits + sizeof digits;
	uint64_t n = value < 0 ? -(uint64_t)value : (uint64_t)value;

	do
		*--at = '0' + n % 10;
	while (n /= 10);
	if (value < 0)
		*--at = '-';
	if (!name && o->comma)
		*--at = ',';
	else
		put_head(o, name);
	o->comma = true;
	str_add(o->to, at, digits + sizeof digits - at);	/* blocks have hundreds of them */
}

void json_put_bool(struct json_out *o, const char *name, bool value)
{
	put_head(o, name);
	str_puts(o->to, value ? "true" : "false");
}

void json_put_null(struct json_out *o, const char *name)
{
	put_head(o, name);
	str_puts(o->to, "null");
}

void json_put_raw(struct json_out *o, const char *name, const char *json, size_t len)
{
	put_head(o, name);
	str_add(o->to, json, len);
}
