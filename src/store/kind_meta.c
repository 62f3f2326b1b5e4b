/*
 * metadata, and what all decoders share.
 *
 * In the group crd.projectcalico.org/v1 the labels and annotations that a
 * person gave may be in a JSON text in the annotation
 * projectcalico.org/metadata; they are laid over the object's own.
 */
#include "store/kind_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

static const char wrapped_key[] = "projectcalico.org/metadata";
/* Of a Pod that stands for a static one: the UID that the kubelet knows that one by. */
static const char mirror_key[] = "kubernetes.io/config.mirror";
/* What kubectl leaves behind: the whole object once more. */
static const char last_applied_key[] = "kubectl.kubernetes.io/last-applied-configuration";

/* --- readers --- */

int read_value(struct json_ctx *c, json_value v, void *field)
{
	(void)c;
	*(json_value *)field = v;
	return 0;
}

static int read_text(struct json_ctx *c, json_value v, void *field)
{
	*(json_value *)field = v;
	return json_type(c->j, v) == JSON_STRING ? 0 : json_refuse(c, v, "want a string");
}

int read_loose_bool(struct json_ctx *c, json_value v, void *field)
{
	bool *to = field;

	if (json_type(c->j, v) != JSON_STRING)
		return json_read_bool(c, v, field);
	*to = json_is(c->j, v, "true");
	if (*to || json_is(c->j, v, "false") || json_is(c->j, v, ""))
		return 0;
	return json_refuse(c, v, "want true or false");
}

int read_word(struct json_ctx *c, json_value v, const char *const *words)
{
	char all[128] = "";
	size_t len = 0;

	if (json_is(c->j, v, ""))
		return 0;
	for (int i = 0; words[i]; i++) {
		if (json_is(c->j, v, words[i]))
			return i;
		if (len < sizeof all)
			len += (size_t)snprintf(all + len, sizeof all - len, "%s%s", i ? ", " : "", words[i]);
	}
	json_refuse(c, v, "want one of %s", all);
	return -1;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct label *)a)->key, ((const struct label *)b)->key);
}

static bool is_wanted(const struct string_map *map, const struct json *j, json_value name)
{
	char key[OBJECT_KEY_MAX];

	if (!map->wanted)
		return true;
	json_copy(j, name, key, sizeof key);	/* longer ones are nobody's */
	return map->wanted(map->kind, key);
}

int read_string_map(struct json_ctx *c, json_value v, void *field)
{
	struct string_map *map = field;
	const struct json *j = c->j;
	bool sorted = true;

	if (json_type(j, v) != JSON_OBJECT)
		return json_refuse(c, v, "want an object");
	json_each(j, v, name) {
		enum json_type t = json_type(j, json_member(j, name));

		if (t != JSON_STRING && t != JSON_NULL)
			return json_refuse(c, json_member(j, name), "want a string");
		map->count += is_wanted(map, j, name);
	}
	map->entry = map->count ? arena_alloc(c->mem, map->count * sizeof *map->entry) : NULL;
	map->count = 0;
	json_each(j, v, name) {
		if (!is_wanted(map, j, name))
			continue;
		struct label *to = &map->entry[map->count];
		const char *value = json_string(j, json_member(j, name), c->mem);

		*to = (struct label){ json_string(j, name, c->mem), value ? value : "" };
		sorted &= !map->count++ || strcmp(to[-1].key, to->key) < 0;
	}
	if (!sorted)
		qsort(map->entry, map->count, sizeof *map->entry, by_key);
	for (unsigned i = 1; i < map->count && !sorted; i++) {
		if (strcmp(map->entry[i].key, map->entry[i - 1].key) == 0)
			return json_refuse(c, v, "%s: given twice", map->entry[i].key);
	}
	return 0;
}

struct string_map string_map_overlay(struct arena *mem, struct string_map under, struct string_map over)
{
	struct string_map all = { .entry = arena_alloc(mem, (under.count + over.count) * sizeof *all.entry) };
	unsigned u = 0, o = 0;

	while (u < under.count || o < over.count) {
		int c = u == under.count ? 1 : o == over.count ? -1 : by_key(&under.entry[u], &over.entry[o]);

		all.entry[all.count++] = c < 0 ? under.entry[u] : over.entry[o];
		u += c <= 0;
		o += c >= 0;
	}
	return all;
}

/* --- metadata --- */

struct meta_text {
	const char *uid;
	json_value name, namespace, version, deletion;	/* the names have been read; they are only to be there once */
	struct string_map labels, annotations;
};

#define FIELD(name, member, read) { name, offsetof(struct meta_text, member), read, false }
static const struct json_field meta_fields[] = {
	FIELD("metadata.name", name, read_text),
	FIELD("metadata.namespace", namespace, read_text),
	FIELD("metadata.uid", uid, json_read_string),
	FIELD("metadata.resourceVersion", version, read_text),
	FIELD("metadata.deletionTimestamp", deletion, read_text),
	FIELD("metadata.labels", labels, read_string_map),
	FIELD("metadata.annotations", annotations, read_string_map),
};
static const struct json_field wrapped_fields[] = {
	FIELD("labels", labels, read_string_map),
	FIELD("annotations", annotations, read_string_map),
};

/* Only annotations that this kind has a use for. */
static bool is_useful(const struct kind *k, const char *key)
{
	return strcmp(key, wrapped_key) != 0 && strcmp(key, last_applied_key) != 0 &&
	       (!k->annotations || str_prefix(key, k->annotations) || strcmp(key, mirror_key) == 0);
}

/* Lays the labels and annotations of the wrapped metadata over t's. */
static int unwrap(struct json_ctx *c, json_value object, struct meta_text *t)
{
	json_value wrapped = json_get(c->j, json_path(c->j, object, "metadata.annotations"), wrapped_key);
	struct meta_text inner = { .annotations = t->annotations };
	struct arena scratch = { 0 };
	const char *text = json_string(c->j, wrapped, &scratch);
	struct err e = { 0 };
	struct json j;
	int rc;

	if (!text)
		return 0;
	inner.annotations.count = 0;
	rc = json_parse(&j, text, strlen(text), &e);
	if (rc == 0) {
		struct json_ctx in = { .j = &j, .mem = c->mem, .e = &e };

		rc = json_fields(&in, 0, wrapped_fields, ARRAY_SIZE(wrapped_fields), &inner);
		json_free(&j);
	}
	arena_free(&scratch);
	if (rc < 0)
		return json_refuse_member(c, object, "metadata.annotations", "%s: %s", wrapped_key, e.text);
	t->labels = string_map_overlay(c->mem, t->labels, inner.labels);
	t->annotations = string_map_overlay(c->mem, t->annotations, inner.annotations);
	return 0;
}

/* The API server's defaults, and what Calico adds. */
static int complete(struct json_ctx *c, json_value object, const struct kind *k, const struct meta *m, struct meta_text *t)
{
	if (strcmp(k->kind, "Namespace") == 0) {
		struct label own = { "kubernetes.io/metadata.name", m->name };

		t->labels = string_map_overlay(c->mem, t->labels, (struct string_map){ &own, 1 });
	}
	return strcmp(k->api_versions[0], "crd.projectcalico.org/v1") == 0 ? unwrap(c, object, t) : 0;
}

int meta_refuse(struct json_ctx *c, json_value object, const struct kind *k)
{
	static const struct json_field fields[] = {
		{ "metadata.name", 0, json_read_string, true }, { "metadata.namespace", sizeof(char *), json_read_string, false },
	};
	const char *names[2] = { NULL, NULL };
	struct arena scratch = { 0 };
	struct json_ctx in = *c;

	in.mem = &scratch;
	if (json_fields(&in, object, fields, ARRAY_SIZE(fields), names) == 0) {
		if (names[1] && *names[1] && k->namespaced && !kind_name_ok(k, names[1], "x"))
			json_refuse_member(&in, object, "metadata.namespace", "%s: not a namespace's name", names[1]);
		json_refuse_member(&in, object, "metadata.name", "%s: want lower case letters, digits, '-' and '.'", names[0]);
	}
	arena_free(&scratch);
	return -EINVAL;
}

static int read_version(struct json_ctx *c, json_value object, json_value v, uint64_t *version)
{
	char text[24];

	if (v < 0 || (json_copy(c->j, v, text, sizeof text) && (!*text || str_u64(text, UINT64_MAX, version) == 0)))
		return 0;
	return json_refuse_member(c, object, "metadata.resourceVersion", "%s: want a decimal number", text);
}

int meta_decode(struct json_ctx *c, json_value object, const struct kind *k, struct meta *m)
{
	struct meta_text t = { .version = -1, .deletion = -1, .annotations = { .wanted = is_useful, .kind = k } };

	if (json_fields(c, object, meta_fields, ARRAY_SIZE(meta_fields), &t) < 0 || complete(c, object, k, m, &t) < 0 ||
	    read_version(c, object, t.version, &m->version) < 0)
		return -EINVAL;
	m->labels = t.labels.entry;
	m->label_count = t.labels.count;
	m->annotations = t.annotations.entry;
	m->annotation_count = t.annotations.count;
	m->uid = t.uid ? t.uid : "";
	m->deleting = t.deletion >= 0;
	return 0;
}

static void put_map(struct json_out *o, const char *name, const struct label *l, unsigned count)
{
	if (!count)
		return;
	json_open(o, name, '{');
	for (unsigned i = 0; i < count; i++)
		json_put_string(o, l[i].key, l[i].value);
	json_close(o, '}');
}

void meta_encode_rest(struct json_out *o, const struct meta *m)
{
	if (m->uid && *m->uid)
		json_put_string(o, "uid", m->uid);
	put_map(o, "labels", m->labels, m->label_count);
	put_map(o, "annotations", m->annotations, m->annotation_count);
}

void fields_encode(struct json_out *o, const struct json_field *fields, unsigned count, const void *row)
{
	for (unsigned i = 0; i < count; i++) {
		const void *at = (const char *)row + fields[i].offset;
		const char *dot = strrchr(fields[i].name, '.'), *name = dot ? dot + 1 : fields[i].name;
		const char *text = fields[i].read == json_read_string ? *(const char *const *)at : NULL;

		if (text && *text)
			json_put_string(o, name, text);
		else if (fields[i].read == json_read_bool && *(const bool *)at)
			json_put_bool(o, name, true);
		else if (fields[i].read == json_read_prefix)
			json_put_string(o, name, prefix_text(at).s);
	}
}

/* --- digests --- */

uint64_t digest_number(uint64_t h, uint64_t number)
{
	h = (h ^ number) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

/* Eight bytes a step: a block has ten thousand of them.  What comes out is for this process alone. */
uint64_t digest_bytes(uint64_t h, const void *data, size_t len)
{
	const char *p = data;
	uint64_t word;

	h = digest_number(h, len);
	for (; len >= sizeof word; p += sizeof word, len -= sizeof word) {
		memcpy(&word, p, sizeof word);
		h = digest_number(h, word);
	}
	word = 0;
	if (len)
		memcpy(&word, p, len);
	return digest_number(h, word);
}

uint64_t digest_text(uint64_t h, const char *text)
{
	return text ? digest_bytes(h, text, strlen(text)) : digest_number(h, UINT64_MAX);
}

uint64_t fields_digest(uint64_t h, const struct json_field *fields, unsigned count, const void *row)
{
	for (unsigned i = 0; i < count; i++) {
		const void *at = (const char *)row + fields[i].offset;
		const char *text = fields[i].read == json_read_string ? *(const char *const *)at : NULL;

		if (fields[i].read == json_read_string)
			h = digest_text(h, text ? text : "");
		else if (fields[i].read == json_read_bool)
			h = digest_number(h, *(const bool *)at);
		else if (fields[i].read == json_read_prefix)
			h = digest_bytes(h, at, sizeof(struct prefix));
	}
	return h;
}

uint64_t digest_labels(uint64_t h, const struct label *l, unsigned count)
{
	uint64_t sum = 0;	/* in whatever order they stand */

	for (unsigned i = 0; i < count; i++)
		sum += digest_text(digest_text(0, l[i].key), l[i].value);
	return digest_number(digest_number(h, count), sum);
}
