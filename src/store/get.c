/*
 * `manx get`.  The model's rows say which objects there are; their texts are what a
 * user gave, or what agents write.
 */
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "model/policy.h"

enum { COLUMNS = 3 };

/* A column's value is at a path of the object, or ("@name") an annotation. */
static const struct columns {
	const char *kind;
	struct { const char *head, *path; } column[COLUMNS];
} columns[] = {
	{ "Pod", { { "PHASE", "status.phase" }, { "NODE", "spec.nodeName" }, { "ADDRESS", "status.podIP" } } },
	{ "Node", { { "IPV4", "@projectcalico.org/IPv4Address" }, { "IPV6", "@projectcalico.org/IPv6Address" } } },
	{ "IPPool", { { "CIDR", "spec.cidr" }, { "IPIP", "spec.ipipMode" }, { "VXLAN", "spec.vxlanMode" } } },
	{ "IPAMBlock", { { "CIDR", "spec.cidr" }, { "AFFINITY", "spec.affinity" } } },
	{ "BlockAffinity", { { "CIDR", "spec.cidr" }, { "NODE", "spec.node" }, { "STATE", "spec.state" } } },
	{ "WorkloadEndpoint", { { "NODE", "spec.node" }, { "POD", "spec.pod" }, { "INTERFACE", "spec.interfaceName" } } },
	{ "", { { NULL } } },
};

static const struct columns *columns_of(const struct kind *k)
{
	const struct columns *c = columns;

	while (*c->kind && strcmp(c->kind, k->kind) != 0)
		c++;
	return c;
}

/* --- which objects --- */

struct item { struct row *row; struct str text; };
struct items {
	const struct kind *kind;
	struct item *at;
	unsigned count;
};

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->row->key, ((const struct item *)b)->row->key);
}

static void on_text(void *ctx, const char *key, const struct str *text)
{
	struct items *list = ctx;
	struct row row = { .key = key };
	const struct item want = { .row = &row };
	struct item *found = bsearch(&want, list->at, list->count, sizeof *list->at, by_key);

	if (found && !found->text.len)
		str_add(&found->text, text->s, text->len);
}

/* What agents write, and what they added to a user's half; of one whose file cannot be read any more, its name. */
static void item_encode(const struct kind *k, struct item *i)
{
	const struct meta *m = kind_meta(k, i->row);

	if (i->text.len && !(k->merge && m->version))
		return;
	str_clear(&i->text);
	if (k->encode) {
		kind_encode(k, i->row, m->version, &i->text);
		return;
	}
	kind_encode_head(k, m, m->version, &i->text);
	str_puts(&i->text, "}}");
}

static struct items items_of(struct store *s, const struct kind *k, const struct store_query *q)
{
	const char *namespace = q->namespace || !q->name ? q->namespace : "default";
	struct table *t = kind_table(k, s->model);
	struct items list = { .kind = k, .at = xcalloc(t->count + 1, sizeof *list.at) };
	struct row *row;

	table_each(t, row) {
		const struct meta *m = kind_meta(k, row);

		if (strcmp(row->key, POLICY_STRANGERS) != 0 && (!q->name || strcmp(m->name, q->name) == 0) &&
		    (!k->namespaced || !namespace || strcmp(m->namespace, namespace) == 0))
			list.at[list.count++].row = row;
	}
	qsort(list.at, list.count, sizeof *list.at, by_key);
	if (s->driver->texts && list.count)
		s->driver->texts(s, k, on_text, &list);
	for (unsigned i = 0; i < list.count; i++)
		item_encode(k, &list.at[i]);
	return list;
}

static void items_free(struct items *list)
{
	for (unsigned i = 0; i < list->count; i++)
		str_free(&list->at[i].text);
	free(list->at);
}

/* --- table --- */

static void put_columns(struct str *out, const struct columns *c, const struct str *text)
{
	struct arena mem = { 0 };
	struct err e;
	struct json j;

	if (json_parse(&j, str_text(text), text->len, &e) < 0)
		return;
	for (unsigned i = 0; i < COLUMNS && c->column[i].head; i++) {
		const char *path = c->column[i].path;
		json_value v = *path == '@' ? json_get(&j, json_path(&j, 0, "metadata.annotations"), path + 1) :
					      json_path(&j, 0, path);
		const char *value = json_string(&j, v, &mem);

		str_printf(out, " %-24s", value && *value ? value : "-");
	}
	arena_free(&mem);
	json_free(&j);
}

static void end_line(struct str *out)
{
	while (out->len && out->s[out->len - 1] == ' ')
		out->s[--out->len] = '\0';
	str_puts(out, "\n");
}

static void put_table(struct str *out, const struct items *list)
{
	const struct columns *c = columns_of(list->kind);

	if (out->len)
		str_puts(out, "\n");
	str_printf(out, "%s%-32s", list->kind->namespaced ? "NAMESPACE        " : "", "NAME");
	for (unsigned i = 0; i < COLUMNS && c->column[i].head; i++)
		str_printf(out, " %-24s", c->column[i].head);
	end_line(out);
	for (unsigned i = 0; i < list->count; i++) {
		const struct meta *m = kind_meta(list->kind, list->at[i].row);

		if (list->kind->namespaced)
			str_printf(out, "%-16s ", m->namespace);
		str_printf(out, "%-32s", m->name);
		put_columns(out, c, &list->at[i].text);
		end_line(out);
	}
}

/* --- the verb --- */

static bool equals(const char *word, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(word, name, len) == 0;
}

/* "pod", "Pods", "ippools.crd.projectcalico.org" */
static bool means(const struct kind *k, const char *word)
{
	size_t len = strcspn(word, ".");
	const char *group = k->api_versions[0];

	if (!equals(word, len, k->kind) && !equals(word, len, k->plural))
		return false;
	return !word[len] || (strchr(group, '/') && equals(group, strcspn(group, "/"), word + len + 1));
}

static void put_json(struct str *out, const struct items *list, bool *comma)
{
	for (unsigned i = 0; i < list->count; i++) {
		str_puts(out, *comma ? "," : "");
		str_puts(out, list->at[i].text.s);
		*comma = true;
	}
}

int store_get(struct store *s, const struct store_query *q, bool json, struct str *out, struct err *e)
{
	bool known = false, comma = false;
	unsigned found = 0;

	if (json && !q->name)
		str_puts(out, "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"metadata\":{},\"items\":[");
	for (unsigned i = 0; i < kind_count; i++) {
		struct items list;

		if (!means(&kinds[i], q->kind) || (q->name && found))
			continue;
		known = true;
		list = items_of(s, &kinds[i], q);
		found += list.count;
		if (json)
			put_json(out, &list, &comma);
		else if (list.count)
			put_table(out, &list);
		items_free(&list);
	}
	if (!known)
		return err_set(e, EINVAL, "%s: not a kind that manx knows", q->kind);
	if (q->name && !found)
		return err_set(e, ENOENT, "%s %s: not found", q->kind, q->name);
	str_puts(out, !json ? "" : q->name ? "\n" : "]}\n");
	return 0;
}
