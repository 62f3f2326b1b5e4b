/* Calico's selectors. */
#include <string.h>
#include "base/arena.h"
#include "base/util.h"
#include "fuzz.h"
#include "model/selector.h"

/* Somebody's labels: those in the table, less the one that is left out. */
struct somebody { struct label_source labels; const char *without; };

static const char *find(const struct label_source *s, const char *key)
{
	static const char *const labels[][2] = { { "app", "web" }, { "env", "prod" }, { "tier", "" }, { "in", "not" }, { "has", "a" } };
	const struct somebody *who = container_of(s, const struct somebody, labels);

	for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
		if (strcmp(labels[i][0], key) == 0 && (!who->without || strcmp(who->without, key) != 0))
			return labels[i][1];
	return NULL;
}

/* Without the label that it needs it matches nobody; a copy matches whom it does. */
static void selector_try(const struct selector *s)
{
	struct somebody all = { .labels.find = find }, less = all;
	const char *key, *value;
	struct arena mem = { 0 };
	const struct selector *copy = selector_copy(&mem, s);

	CLAIM(copy->digest == s->digest && copy->count == s->count);
	CLAIM(selector_match(copy, &all.labels) == selector_match(s, &all.labels));
	if (selector_needs(s, &key, &value)) {
		less.without = key;
		CLAIM(!selector_match(s, &less.labels));
		CLAIM(!value || !selector_match(s, &all.labels) || strcmp(find(&all.labels, key), value) == 0);
	}
	arena_free(&mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena mem = { 0 };
	struct err e = { 0 };
	const struct selector *s = selector_parse(&mem, arena_strn(&mem, (const char *)data, size), &e);

	CLAIM(s || e.text[0]);
	if (s)
		selector_try(s);
	arena_free(&mem);
	return 0;
}
