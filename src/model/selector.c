/*
 * A selector is parsed by precedence climbing without recursion: operators wait on a
 * small stack until what they bind to has been written out, and the terms come out in postfix order.
 * Matching walks them with a stack of answers, one bit each.
 */
#include "model/selector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/str.h"
#include "base/util.h"

enum { DEPTH_MAX = 60, KEY_MAX_LEN = 512 };

/* ---- the terms ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Values sorted and each once, for a search by halves. */
static unsigned values_sort(const char **values, unsigned count)
{
	unsigned kept = 0;

	if (!count)
		return 0;
	qsort(values, count, sizeof *values, by_text);
	for (unsigned i = 0; i < count; i++)
		if (!kept || strcmp(values[kept - 1], values[i]) != 0)
			values[kept++] = values[i];
	return kept;
}

static void term_add(struct arena *mem, struct selector_maker *m, struct selector_term term)
{
	if (m->count == m->cap) {
		struct selector_term *more = arena_alloc(mem, (m->cap ? m->cap * 2 : 4) * sizeof *more);

		if (m->count)
			memcpy(more, m->terms, m->count * sizeof *more);
		m->terms = more;
		m->cap = m->cap ? m->cap * 2 : 4;
	}
	m->terms[m->count++] = term;
}

static void operator_add(struct arena *mem, struct selector_maker *m, enum selector_test test)
{
	term_add(mem, m, (struct selector_term){ .test = (uint8_t)test });
}

static void test_add(struct arena *mem, struct selector_maker *m, enum selector_test test, const char *key,
		     const char **values, unsigned count)
{
	count = values_sort(values, count);
	term_add(mem, m, (struct selector_term){ (uint8_t)test, key, values, count });
}

void selector_add(struct arena *mem, struct selector_maker *m, enum selector_test test, bool negate, const char *key,
		  const char **values, unsigned count)
{
	bool first = !m->count;

	test_add(mem, m, test, key, values, count);
	if (negate)
		operator_add(mem, m, SELECT_NOT);
	if (!first)
		operator_add(mem, m, SELECT_AND);
}

/* Texts with their ends, so that no two lists of terms look alike. */
static void term_write(struct str *out, const struct selector_term *t)
{
	const char head[] = { (char)('0' + t->test), t->key ? '+' : '-' };
	uint32_t count = t->value_count;

	str_add(out, head, sizeof head);
	str_add(out, (const char *)&count, sizeof count);
	if (t->key)
		str_add(out, t->key, strlen(t->key) + 1);
	for (unsigned i = 0; i < count; i++)
		str_add(out, t->values[i], strlen(t->values[i]) + 1);
}

const struct selector *selector_made(struct arena *mem, const struct selector_maker *m)
{
	struct selector *s = arena_alloc(mem, sizeof *s);
	struct selector_maker all = { 0 };
	autostr struct str text = { 0 };

	if (!m->count) {
		operator_add(mem, &all, SELECT_ALL);
		m = &all;
	}
	s->terms = m->terms;
	s->count = m->count;
	for (unsigned i = 0; i < s->count; i++)
		term_write(&text, &s->terms[i]);
	s->digest = sha1_64(text.s, text.len);
	return s;
}

const struct selector *selector_copy(struct arena *mem, const struct selector *s)
{
	struct selector_maker m = { 0 };

	for (unsigned i = 0; i < s->count; i++) {
		struct selector_term t = s->terms[i];
		const char **values = arena_alloc(mem, (t.value_count + 1) * sizeof *values);

		for (unsigned v = 0; v < t.value_count; v++)
			values[v] = arena_str(mem, t.values[v]);
		t.values = values;
		t.key = arena_str(mem, t.key);
		term_add(mem, &m, t);
	}
	return selector_made(mem, &m);
}

/* ---- matching ---- */

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), part = strlen(end);

	return part <= len && strcmp(text + len - part, end) == 0;
}

static bool is_one_of(const struct selector_term *t, const char *value)
{
	return t->value_count && bsearch(&value, t->values, t->value_count, sizeof *t->values, by_text);
}

static bool test_match(const struct selector_term *t, const struct label_source *labels)
{
	const char *value = t->key ? labels->find(labels, t->key) : NULL;

	switch (t->test) {
	case SELECT_ALL:
		return true;
	case SELECT_GLOBAL:
		return !labels->find(labels, "projectcalico.org/namespace");
	case SELECT_HAS:
		return value;
	case SELECT_IN:
		return value && is_one_of(t, value);
	case SELECT_CONTAINS:
		return value && strstr(value, t->values[0]);
	case SELECT_STARTS:
		return value && strncmp(value, t->values[0], strlen(t->values[0])) == 0;
	case SELECT_ENDS:
		return value && ends_with(value, t->values[0]);
	}
	return false;
}

bool selector_match(const struct selector *s, const struct label_source *labels)
{
	uint64_t answers = 0;		/* the lowest bit is the last one */

	for (unsigned i = 0; i < s->count; i++) {
		const struct selector_term *t = &s->terms[i];

		if (t->test == SELECT_NOT)
			answers ^= 1;
		else if (t->test == SELECT_AND)
			answers = answers >> 1 & (answers | ~(uint64_t)1);
		else if (t->test == SELECT_OR)
			answers = answers >> 1 | (answers & 1);
		else
			answers = answers << 1 | test_match(t, labels);
	}
	return answers & 1;
}

/* Of a chain of ANDs: a term that stands alone, not negated; from the back, as long as nothing else comes. */
bool selector_needs(const struct selector *s, const char **key, const char **value)
{
	bool found = false;

	for (unsigned i = 0; i < s->count; i++) {
		const struct selector_term *t = &s->terms[i];
		bool negated = i + 1 < s->count && s->terms[i + 1].test == SELECT_NOT;

		if (t->test == SELECT_OR || (t->test == SELECT_NOT && s->terms[i - 1].test >= SELECT_NOT))
			return false;
		if (negated || found || t->test == SELECT_ALL || t->test == SELECT_GLOBAL || t->test >= SELECT_NOT)
			continue;
		*key = t->key;
		*value = t->test == SELECT_IN && t->value_count == 1 ? t->values[0] : NULL;
		found = true;
	}
	return found;
}

/* ---- parsing ---- */

enum { OPEN = 0x80 };			/* on the stack of operators, beside SELECT_NOT ... */

struct parser {
	struct arena *mem;
	const char *text, *at;
	struct selector_maker out;
	uint8_t waiting[DEPTH_MAX];
	unsigned depth;
	struct err *e;
};

static int refuse(struct parser *p, const char *what)
{
	return err_set(p->e, EINVAL, "column %u: %s", (unsigned)(p->at - p->text) + 1, what);
}

static void blanks_skip(struct parser *p)
{
	p->at += strspn(p->at, " \t");
}

static bool is_label_byte(char c)
{
	return c && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-", c);
}

/* Takes the text if it stands here; a word must end where a label would. */
static bool take(struct parser *p, const char *text)
{
	size_t len = strlen(text);

	blanks_skip(p);
	if (strncmp(p->at, text, len) != 0)
		return false;
	if (is_label_byte(text[len - 1]) && is_label_byte(p->at[len]))
		return false;
	p->at += len;
	return true;
}

static int string_read(struct parser *p, const char **value)
{
	const char *end;
	char quote;

	blanks_skip(p);
	quote = *p->at;
	if (quote != '"' && quote != '\'')
		return refuse(p, "want a string in quotes");
	end = strchr(p->at + 1, quote);
	if (!end)
		return refuse(p, "the string does not end");
	*value = arena_strn(p->mem, p->at + 1, (size_t)(end - p->at) - 1);
	p->at = end + 1;
	return 0;
}

static int set_read(struct parser *p, const char ***values, unsigned *count)
{
	unsigned cap = 0;

	*values = NULL;
	*count = 0;
	if (!take(p, "{"))
		return refuse(p, "want '{'");
	while (!take(p, "}")) {
		if (*count == cap) {
			const char **more = arena_alloc(p->mem, (cap ? cap * 2 : 4) * sizeof *more);

			if (*count)
				memcpy(more, *values, *count * sizeof *more);
			*values = more;
			cap = cap ? cap * 2 : 4;
		}
		if (string_read(p, &(*values)[*count]) < 0)
			return -EINVAL;
		++*count;
		if (!take(p, ",") && *(p->at + strspn(p->at, " \t")) != '}')
			return refuse(p, "want ',' or '}'");
	}
	return 0;
}

static const struct { const char *words[2]; uint8_t test; bool negate; } operators[] = {
	{ { "==" }, SELECT_IN, false }, { { "!=" }, SELECT_IN, true },
	{ { "contains" }, SELECT_CONTAINS, false }, { { "starts", "with" }, SELECT_STARTS, false },
	{ { "ends", "with" }, SELECT_ENDS, false },
};

static int value_test_read(struct parser *p, const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
		const char **values;

		if (!take(p, operators[i].words[0]))
			continue;
		if (operators[i].words[1] && !take(p, operators[i].words[1]))
			return refuse(p, "want 'with'");
		values = arena_alloc(p->mem, sizeof *values);
		if (string_read(p, values) < 0)
			return -EINVAL;
		test_add(p->mem, &p->out, operators[i].test, key, values, 1);
		if (operators[i].negate)
			operator_add(p->mem, &p->out, SELECT_NOT);
		return 0;
	}
	return refuse(p, "want an operator");
}

/* "in", "not in", "notin"; what follows may touch the word: "in{". */
static bool take_set_word(struct parser *p, bool *negate)
{
	const char *start = p->at;

	*negate = false;
	if (take(p, "in"))
		return true;
	*negate = true;
	if (take(p, "notin") || (take(p, "not") && take(p, "in")))
		return true;
	p->at = start;
	return false;
}

static int label_test_read(struct parser *p)
{
	size_t len;
	const char *key, **values;
	unsigned count;
	bool negate;

	blanks_skip(p);
	for (len = 0; is_label_byte(p->at[len]); len++)
		;
	if (!len || len > KEY_MAX_LEN)
		return refuse(p, len ? "the label is too long" : "want a label");
	key = arena_strn(p->mem, p->at, len);
	p->at += len;
	if (!take_set_word(p, &negate))
		return value_test_read(p, key);
	if (set_read(p, &values, &count) < 0)
		return -EINVAL;
	test_add(p->mem, &p->out, SELECT_IN, key, values, count);
	if (negate)
		operator_add(p->mem, &p->out, SELECT_NOT);
	return 0;
}

/* A word and what is in its brackets: "has ( key )".  False: it is a label that is only called so. */
static bool take_call(struct parser *p, const char *word)
{
	const char *start = p->at;

	if (take(p, word) && take(p, "("))
		return true;
	p->at = start;
	return false;
}

static int term_read(struct parser *p)
{
	static const struct { const char *word; uint8_t test; } calls[] = {
		{ "all", SELECT_ALL }, { "global", SELECT_GLOBAL }, { "has", SELECT_HAS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		const char *key = NULL;
		size_t len = 0;

		if (!take_call(p, calls[i].word))
			continue;
		blanks_skip(p);
		while (calls[i].test == SELECT_HAS && is_label_byte(p->at[len]))
			len++;
		if (calls[i].test == SELECT_HAS && (!len || len > KEY_MAX_LEN))
			return refuse(p, "want a label");
		if (len)
			key = arena_strn(p->mem, p->at, len);
		p->at += len;
		if (!take(p, ")"))
			return refuse(p, "want ')'");
		test_add(p->mem, &p->out, calls[i].test, key, NULL, 0);
		return 0;
	}
	return label_test_read(p);
}

static int push(struct parser *p, uint8_t operator)
{
	if (p->depth == DEPTH_MAX)
		return refuse(p, "too deep");
	p->waiting[p->depth++] = operator;
	return 0;
}

/* Writes out what waits and binds at least as strongly as test; higher numbers bind less. */
static void settle(struct parser *p, uint8_t test)
{
	while (p->depth && p->waiting[p->depth - 1] <= test)
		operator_add(p->mem, &p->out, p->waiting[--p->depth]);
}

/* What may stand before a term: "!" and "(". */
static int prefixes_read(struct parser *p)
{
	for (;;) {
		if (take(p, "!")) {
			if (push(p, SELECT_NOT) < 0)
				return -EINVAL;
		} else if (take(p, "(")) {
			if (push(p, OPEN) < 0)
				return -EINVAL;
		} else {
			return 0;
		}
	}
}

static int closings_read(struct parser *p)
{
	while (take(p, ")")) {
		settle(p, SELECT_OR);
		if (!p->depth) {
			p->at--;
			return refuse(p, "')' without '('");
		}
		p->depth--;
	}
	return 0;
}

static int expression_read(struct parser *p)
{
	for (;;) {
		uint8_t operator;

		if (prefixes_read(p) < 0 || term_read(p) < 0 || closings_read(p) < 0)
			return -EINVAL;
		if (take(p, "&&"))
			operator = SELECT_AND;
		else if (take(p, "||"))
			operator = SELECT_OR;
		else
			break;
		settle(p, operator);
		if (push(p, operator) < 0)
			return -EINVAL;
	}
	settle(p, SELECT_OR);
	blanks_skip(p);
	if (*p->at)
		return refuse(p, "want '&&', '||' or the end");
	return p->depth ? refuse(p, "'(' is not closed") : 0;
}

const struct selector *selector_parse(struct arena *mem, const char *text, struct err *e)
{
	struct parser p = { .mem = mem, .text = text, .at = text, .e = e };

	if (text[strspn(text, " \t")] && expression_read(&p) < 0)
		return NULL;
	return selector_made(mem, &p.out);
}
