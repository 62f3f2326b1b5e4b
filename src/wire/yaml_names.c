/*
 * A name given twice in one mapping.  The names of each mapping are sorted, so
 * that a hostile file with a million names in one costs no more than a million
 * in many.
 */
#include "wire/yaml_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "wire/json_int.h"

struct name {
	const char *text;
	int len, token;
};

static int compare(const void *left, const void *right)
{
	const struct name *a = left, *b = right;
	int c = memcmp(a->text, b->text, (size_t)(a->len < b->len ? a->len : b->len));

	if (c == 0)
		c = (a->len > b->len) - (a->len < b->len);
	return c ? c : (a->token > b->token) - (a->token < b->token);
}

static bool same(const struct name *a, const struct name *b)
{
	return a->len == b->len && memcmp(a->text, b->text, (size_t)a->len) == 0;
}

/* The first name that stood there before, and where that was; NULL: there is none. */
static const struct name *find_again(const struct name *names, int count, int *before)
{
	const struct name *again = NULL;

	for (int i = 1; i < count; i++) {
		if (same(&names[i - 1], &names[i]) && (!again || names[i].token < again->token)) {
			again = &names[i];
			*before = names[i - 1].token;
		}
	}
	return again;
}

static int check_mapping(const struct json *j, json_value mapping, struct name *names, struct err *e)
{
	const struct name *again;
	int count = 0, before = 0;

	for (json_value v = json_first(j, mapping); v >= 0; v = json_next(j, mapping, v))
		names[count++] = (struct name){ j->text + j->tokens[v].start, j->tokens[v].end - j->tokens[v].start, v };
	qsort(names, (size_t)count, sizeof *names, compare);
	again = find_again(names, count, &before);
	if (!again)
		return 0;
	return err_set(e, EINVAL, "%u:%u: %.*s: given twice, first in line %u", j->marks[again->token].line,
		       j->marks[again->token].column, again->len < 64 ? again->len : 64, again->text, j->marks[before].line);
}

int yaml_check_names(const struct json *j, struct err *e)
{
	autofree struct name *names = NULL;
	int most = 0, rc = 0;

	for (int i = 0; i < j->count; i++) {
		if (j->tokens[i].type == JSON_OBJECT && j->tokens[i].size > most)
			most = j->tokens[i].size;
	}
	if (most < 2)
		return 0;
	names = xcalloc((size_t)most, sizeof *names);
	for (int i = 0; i < j->count && rc == 0; i++) {
		if (j->tokens[i].type == JSON_OBJECT && j->tokens[i].size > 1)
			rc = check_mapping(j, i, names, e);
	}
	return rc;
}
