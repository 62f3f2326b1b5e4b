/*
 * libyaml's events become a JSON text and the tokens that point into it, as if
 * that text had been read by json_parse(); only the places are those of the
 * YAML.  The text has no blanks, and its strings are escaped the way json_out.c
 * does it.
 *
 * Around everything is a list of documents.  Whether it is needed is known at the
 * end only, so its bracket has a place at the start of the text, and its token is
 * dropped when there is one document.
 */
#include "wire/yaml_int.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/util.h"
#include "wire/json_int.h"

/* JSON has more quotes and less indentation: what people write stays about the same size. */
enum { TEXT_MAX = 2 * JSON_SIZE_MAX, DIRECTIVES_MAX = 16 };

struct reader {
	yaml_parser_t parser;
	const char *input;
	struct str text;
	struct json_token *tokens;
	struct json_mark *marks;
	int count, room;
	int open[JSON_DEPTH_MAX + 1];		/* tokens of the containers around; the first is the list of documents */
	unsigned depth;
	bool named[JSON_DEPTH_MAX + 1];		/* a name was read, its value follows */
	struct err *e;
};

static int __attribute__((format(printf, 3, 4))) refuse(struct reader *r, const yaml_mark_t *at, const char *fmt, ...)
{
	char text[sizeof r->e->text];
	va_list ap;

	va_start(ap, fmt);
	err_text(text, sizeof text, fmt, ap);
	va_end(ap);
	return err_set(r->e, EINVAL, "%zu:%zu: %s", at->line + 1, at->column + 1, text);
}

/* libyaml's sentences read well when what it was doing follows, and since when. */
static int refuse_syntax(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	char from[40] = "";
	struct json_mark at;

	if (p->error == YAML_MEMORY_ERROR)
		return err_set(r->e, ENOMEM, "1:1: no memory to read this");
	if (p->error == YAML_READER_ERROR) {
		at = json_mark(r->input, p->problem_offset);
		return err_set(r->e, EINVAL, "%u:%u: %s", at.line, at.column, p->problem);
	}
	if (str_prefix(p->problem, "found character that cannot start") && *p->buffer.pointer == '\t')
		return refuse(r, &p->problem_mark, "a tab where only blanks may indent");
	if (strcmp(p->problem, "did not find expected <document start>") == 0)
		return refuse(r, &p->problem_mark, "this does not continue what is above (check the indentation)");
	if (!p->context)
		return refuse(r, &p->problem_mark, "%s", p->problem);
	if (p->context_mark.line != p->problem_mark.line)
		snprintf(from, sizeof from, ", from line %zu", p->context_mark.line + 1);
	return refuse(r, &p->problem_mark, "%s %s%s", p->problem, p->context, from);
}

static struct json_token *around(struct reader *r)
{
	return &r->tokens[r->open[r->depth]];
}

static bool name_is_next(struct reader *r)
{
	return around(r)->type == JSON_OBJECT && !r->named[r->depth];
}

/* A token that begins here and has nothing in it. */
static struct json_token *token_add(struct reader *r, enum json_type type, const yaml_mark_t *at)
{
	if (r->count == r->room) {
		r->room = r->room ? 2 * r->room : 64;
		r->tokens = xrealloc(r->tokens, (size_t)r->room * sizeof *r->tokens);
		r->marks = xrealloc(r->marks, (size_t)r->room * sizeof *r->marks);
	}
	r->marks[r->count] = (struct json_mark){ (unsigned)at->line + 1, (unsigned)at->column + 1 };
	r->tokens[r->count] = (struct json_token){ .type = type, .start = (int)r->text.len, .next = r->count + 1 };
	return &r->tokens[r->count++];
}

/* What stands between the last value and the next name or value. */
static void separate(struct reader *r)
{
	struct json_token *t = around(r);

	if (r->named[r->depth]) {
		r->named[r->depth] = false;
		str_puts(&r->text, ":");
		return;
	}
	if (t->size++)
		str_puts(&r->text, ",");
	r->named[r->depth] = t->type == JSON_OBJECT;
}

static void string_put(struct reader *r, const char *value, const yaml_mark_t *at, int size)
{
	struct json_out o = { .to = &r->text };
	struct json_token *t;

	separate(r);
	t = token_add(r, JSON_STRING, at);
	t->size = size;
	t->start++;		/* behind the quote */
	json_put_string(&o, NULL, value);
	t->end = (int)r->text.len - 1;
	t->escaped = memchr(r->text.s + t->start, '\\', (size_t)(t->end - t->start)) != NULL;
}

static void bare_put(struct reader *r, enum json_type type, const char *json, const yaml_mark_t *at)
{
	struct json_token *t;

	separate(r);
	t = token_add(r, type, at);
	str_puts(&r->text, json);
	t->end = (int)r->text.len;
}

/* --- events --- */

static int on_name(struct reader *r, const char *value, enum yaml_plain type, const char *json, const yaml_mark_t *at)
{
	if (type == PLAIN_NULL || type == PLAIN_FLOAT || type == PLAIN_NOT_FINITE)
		return refuse(r, at, "a name that reads as %s must be quoted", type == PLAIN_NULL ? "null" : "a fraction");
	string_put(r, type == PLAIN_STRING ? value : json, at, 1);
	return 0;
}

static int on_scalar(struct reader *r, const yaml_event_t *ev)
{
	static const enum json_type types[] = {
		[PLAIN_NULL] = JSON_NULL, [PLAIN_BOOL] = JSON_BOOL, [PLAIN_INTEGER] = JSON_NUMBER, [PLAIN_FLOAT] = JSON_NUMBER,
	};
	const char *value = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length;
	enum yaml_plain type = PLAIN_STRING;
	char json[PLAIN_JSON_MAX];

	if (memchr(value, '\0', len))
		return refuse(r, &ev->start_mark, "\\0 is not allowed");
	if (ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		type = yaml_plain(value, len, json);
	if (name_is_next(r)) {
		if (type == PLAIN_STRING && ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(value, "<<") == 0)
			return refuse(r, &ev->start_mark, "merge keys are not supported");
		return on_name(r, value, type, json, &ev->start_mark);
	}
	if (type == PLAIN_NOT_FINITE)
		return refuse(r, &ev->start_mark, "%s is not a number that JSON has", value);
	if (type == PLAIN_STRING)
		string_put(r, value, &ev->start_mark, 0);
	else if (type != PLAIN_NULL || r->depth)	/* an empty document is none */
		bare_put(r, types[type], json, &ev->start_mark);
	return 0;
}

static int on_open(struct reader *r, enum json_type type, const yaml_mark_t *at)
{
	if (name_is_next(r))
		return refuse(r, at, "a name must be a scalar");
	if (r->depth == JSON_DEPTH_MAX)
		return refuse(r, at, "nested too deeply");
	separate(r);
	token_add(r, type, at);
	str_puts(&r->text, type == JSON_OBJECT ? "{" : "[");
	r->open[++r->depth] = r->count - 1;
	r->named[r->depth] = false;
	return 0;
}

static int on_close(struct reader *r)
{
	struct json_token *t = around(r);

	str_puts(&r->text, t->type == JSON_OBJECT ? "}" : "]");
	t->end = (int)r->text.len;
	t->next = r->count;
	r->depth--;
	return 0;
}

static int on_node(struct reader *r, const yaml_event_t *ev, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor)
		return refuse(r, &ev->start_mark, "anchors are not supported");
	if (tag)
		return refuse(r, &ev->start_mark, "tags are not supported");
	if (ev->type == YAML_SCALAR_EVENT)
		return on_scalar(r, ev);
	return on_open(r, ev->type == YAML_MAPPING_START_EVENT ? JSON_OBJECT : JSON_ARRAY, &ev->start_mark);
}

static int on_event(struct reader *r, const yaml_event_t *ev)
{
	int rc = 0;

	switch (ev->type) {
	case YAML_ALIAS_EVENT:
		rc = refuse(r, &ev->start_mark, "aliases are not supported (quote text that begins with *)");
		break;
	case YAML_SCALAR_EVENT:
		rc = on_node(r, ev, ev->data.scalar.anchor, ev->data.scalar.tag);
		break;
	case YAML_SEQUENCE_START_EVENT:
		rc = on_node(r, ev, ev->data.sequence_start.anchor, ev->data.sequence_start.tag);
		break;
	case YAML_MAPPING_START_EVENT:
		rc = on_node(r, ev, ev->data.mapping_start.anchor, ev->data.mapping_start.tag);
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		rc = on_close(r);
		break;
	default:		/* where streams and documents begin and end */
		break;
	}
	if (rc == 0 && r->text.len > TEXT_MAX)
		rc = err_set(r->e, EFBIG, "%zu:%zu: up to here it is more than %d bytes of JSON", ev->start_mark.line + 1,
			     ev->start_mark.column + 1, TEXT_MAX);
	return rc;
}

static int read_events(struct reader *r)
{
	bool end = false;
	int rc = 0;

	while (rc == 0 && !end) {
		yaml_event_t ev;

		if (!yaml_parser_parse(&r->parser, &ev))
			return refuse_syntax(r);
		end = ev.type == YAML_STREAM_END_EVENT;
		rc = on_event(r, &ev);
		yaml_event_delete(&ev);
	}
	return rc;
}

/* --- the document --- */

/* libyaml compares each %TAG directive with all before it: thousands of them would take minutes. */
static int check_directives(const char *text, size_t len, struct err *e)
{
	const char *end = text + len, *at = text;
	unsigned count = 0;

	while ((at = memchr(at, '%', (size_t)(end - at)))) {
		if (end - at >= 4 && memcmp(at, "%TAG", 4) == 0 && ++count > DIRECTIVES_MAX) {
			struct json_mark m = json_mark(text, (size_t)(at - text));

			return err_set(e, EINVAL, "%u:%u: tags are not supported", m.line, m.column);
		}
		at++;
	}
	return 0;
}

static void list_begin(struct reader *r)
{
	token_add(r, JSON_ARRAY, &(yaml_mark_t){ 0 });
	str_puts(&r->text, " ");
}

static void list_end(struct reader *r)
{
	if (r->tokens->size != 1) {
		r->text.s[0] = '[';
		on_close(r);
		return;
	}
	r->count--;
	memmove(r->tokens, r->tokens + 1, (size_t)r->count * sizeof *r->tokens);
	memmove(r->marks, r->marks + 1, (size_t)r->count * sizeof *r->marks);
	for (int i = 0; i < r->count; i++)
		r->tokens[i].next--;
}

int yaml_parse(struct json *j, const char *text, size_t len, struct err *e)
{
	struct reader r = { .e = e };
	size_t bom = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	int rc;

	*j = (struct json){ 0 };
	if (len > JSON_SIZE_MAX)
		return err_set(e, EFBIG, "1:1: %zu bytes, more than %d", len, JSON_SIZE_MAX);
	if (check_directives(text, len, e) < 0)
		return -EINVAL;
	if (!yaml_parser_initialize(&r.parser))
		return err_set(e, ENOMEM, "1:1: no memory to read this");
	r.input = text + bom;
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.input, len - bom);
	list_begin(&r);
	rc = read_events(&r);
	yaml_parser_delete(&r.parser);
	if (rc == 0)
		list_end(&r);
	*j = (struct json){ .text = r.text.s, .len = r.text.len, .tokens = r.tokens, .count = r.count,
			    .marks = r.marks, .own = r.text.s };
	if (rc == 0)
		rc = yaml_check_names(j, e);
	if (rc < 0)
		json_free(j);
	return rc;
}
