/* What holds for every object of a text, whichever format the text has. */
#include <string.h>
#include "base/util.h"
#include "fuzz.h"
#include "store/store.h"

/* What agents write is read back as what was written. */
static void written_and_read(const struct kind *k, const struct row *row)
{
	autostr struct str text = { 0 };
	struct object_ref ref;
	struct json j = { 0 };
	struct err e = { 0 };
	struct row *again;

	kind_encode(k, row, 7, &text);
	CLAIM(json_parse(&j, str_text(&text), text.len, &e) == 0);
	again = kind_decode(&j, 0, &ref, &e);
	if (!again)
		fprintf(stderr, "%s\n%s\n", str_text(&text), e.text);
	CLAIM(again);
	CLAIM(again->digest == row->digest && strcmp(again->key, row->key) == 0);
	row_free(again);
	json_free(&j);
}

static void on_object(void *ctx, struct store_object *o)
{
	const struct kind *k = o->ref.kind;
	char key[OBJECT_KEY_MAX];
	(void)ctx;

	CLAIM(!o->row || k);
	CLAIM(!o->err.code || o->err.text[0]);
	if (!o->row || o->err.code)
		return;
	CLAIM(object_key(key, &o->ref) && strcmp(key, o->row->key) == 0);
	if (k->encode)
		written_and_read(k, o->row);
}

static void objects_read(enum text_format format, const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct err e = { 0 };

	memcpy(text, data, size);
	text[size] = '\0';
	if (store_read_text(format, text, size, on_object, NULL, &e) < 0)
		CLAIM(e.text[0]);
	free(text);
}
