/* The table as nft(8) would list it, sorted, so that two of them compare as text. */
#include "nft/ruleset.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include "base/util.h"

static const char *const verdict_names[] = {
	[VERDICT_ACCEPT] = "accept", [VERDICT_DROP] = "drop", [VERDICT_RETURN] = "return", [VERDICT_GOTO] = "goto",
	[VERDICT_JUMP] = "jump", [VERDICT_MASQUERADE] = "masquerade fully-random", [VERDICT_DNAT] = "dnat",
};

static uint32_t number_of(const struct field_info *i, const uint8_t *value)
{
	uint32_t number = 0;

	if (i->form == FORM_NUMBER && i->len == sizeof number) {
		memcpy(&number, value, sizeof number);
		return number;
	}
	for (unsigned at = 0; at < i->len; at++)
		number = number << 8 | value[at];
	return number;
}

static void value_text(const struct field_info *i, const uint8_t *value, unsigned bits, struct str *out)
{
	struct prefix p = { .addr.family = i->len == 4 ? AF_INET : AF_INET6, .len = (uint8_t)bits };

	switch ((enum field_form)i->form) {
	case FORM_NUMBER:
	case FORM_NETWORK_NUMBER:
		str_printf(out, "%u", (unsigned)number_of(i, value));
		break;
	case FORM_NAME:
		str_printf(out, "\"%.16s%s\"", (const char *)value, bits < VALUE_MAX * 8 ? "*" : "");
		break;
	case FORM_ADDRESS:
		memcpy(p.addr.b, value, i->len);
		str_puts(out, bits < i->len * 8u ? prefix_text(&p).s : addr_text(&p.addr).s);
		break;
	}
}

static void fields_text(const uint8_t *fields, bool types, struct str *out)
{
	for (unsigned i = 0; i < KEY_FIELDS && fields[i]; i++)
		str_printf(out, "%s%s", i ? " . " : "",
			   types ? field_info[fields[i]].type_name : field_info[fields[i]].name);
}

static void match_text(const struct match *m, struct str *out)
{
	const struct field_info *f = &field_info[m->fields[0]];

	fields_text(m->fields, false, out);
	str_puts(out, m->negate ? " != " : m->how == MATCH_ANY_BIT ? " & " : " ");
	if (m->set)
		str_printf(out, "%s@%s", m->set->kind == SET_VERDICTS ? "vmap " : set_nat_fields(m->set) ? "map " : "", m->set->name);
	else
		value_text(f, m->value, m->bits, out);
	if (m->how == MATCH_RANGE) {
		str_puts(out, "-");
		value_text(f, m->value + f->len, m->bits, out);
	}
	str_puts(out, " ");
}

void rule_text(const struct rule *r, struct str *out)
{
	for (const struct match *m = r->matches; m; m = m->next)
		match_text(m, out);
	if (r->verdict != VERDICT_MAP)
		str_printf(out, "%s%s%s", verdict_names[r->verdict], r->to ? " " : "", r->to ? r->to->name : "");
	if (r->comment)
		str_printf(out, " comment \"%s\"", r->comment);
}

static void values_text(const uint8_t *fields, const uint8_t *at, struct str *out)
{
	for (unsigned i = 0; i < KEY_FIELDS && fields[i]; i++) {
		const struct field_info *f = &field_info[fields[i]];

		str_puts(out, i ? " . " : "");
		value_text(f, at, f->len * 8u, out);
		at += (f->len + 3u) & ~3u;
	}
}

static void more_text(const struct element *e, struct str *out)
{
	const uint8_t *more = e->key + e->set->key_len;
	struct target t;

	if (e->set->kind == SET_VERDICTS) {
		memcpy(&t, more, sizeof t);
		str_printf(out, " : %s%s%s", verdict_names[t.verdict], t.chain[0] ? " " : "", t.chain);
	} else if (e->set->kind == SET_RANGES) {
		str_puts(out, *more ? " end" : "");
	} else if (set_nat_fields(e->set)) {
		str_puts(out, " : ");
		values_text(set_nat_fields(e->set), more, out);
	}
}

void element_text(const struct element *e, struct str *out)
{
	values_text(e->set->fields, e->key, out);
	more_text(e, out);
}

/* ---- sorting ---- */

static int by_key(const void *a, const void *b)
{
	const struct element *x = *(struct element *const *)a, *y = *(struct element *const *)b;

	return memcmp(x->key, y->key, x->set->entry_len);
}

static int by_set_name(const void *a, const void *b)
{
	return strcmp((*(struct set *const *)a)->name, (*(struct set *const *)b)->name);
}

static int by_chain_name(const void *a, const void *b)
{
	return strcmp((*(struct chain *const *)a)->name, (*(struct chain *const *)b)->name);
}

/* ---- the table ---- */

static void elements_text(const struct set *s, bool have, struct str *out)
{
	struct element **list = xcalloc(s->elements.count + 1, sizeof *list);
	unsigned count = 0;

	hash_each(&s->elements, n) {
		struct element *e = container_of(n, struct element, node);

		if (have ? e->have : e->wants > 0)
			list[count++] = e;
	}
	qsort(list, count, sizeof *list, by_key);
	for (unsigned i = 0; i < count; i++) {
		str_puts(out, i ? ",\n\t\t\t     " : "\t\telements = { ");
		element_text(list[i], out);
	}
	str_puts(out, count ? " }\n" : "");
	free(list);
}

static void set_text(const struct set *s, bool have, struct str *out)
{
	str_printf(out, "\t%s %s {\n\t\ttype ", set_flags(s) & NFT_SET_MAP ? "map" : "set", s->name);
	fields_text(s->fields, true, out);
	str_puts(out, s->kind == SET_VERDICTS ? " : verdict" : set_nat_fields(s) ? " : " : "");
	if (set_nat_fields(s))
		fields_text(set_nat_fields(s), true, out);
	str_puts(out, "\n");
	str_puts(out, s->kind == SET_RANGES ? "\t\tflags interval\n" : "");
	elements_text(s, have, out);
	str_puts(out, "\t}\n");
}

static void chain_text(const struct chain *c, struct str *out)
{
	str_printf(out, "\tchain %s {\n", c->name);
	if (c->hook)
		str_printf(out, "\t\ttype %s hook %s priority %d; policy accept;\n", c->hook->type, c->hook->point,
			   c->hook->priority);
	for (const struct rule *r = c->rules.first; r; r = r->next) {
		str_puts(out, "\t\t");
		rule_text(r, out);
		str_puts(out, "\n");
	}
	str_puts(out, "\t}\n");
}

void ruleset_text(const struct ruleset *rs, bool have, struct str *out)
{
	struct set **sets = xcalloc(rs->sets.count + 1, sizeof *sets);
	struct chain **chains = xcalloc(rs->chains.count + 1, sizeof *chains);
	unsigned set_count = 0, chain_count = 0;

	hash_each(&rs->sets, n) {
		struct set *s = container_of(n, struct set, node);

		if (have ? s->have : s->wanted)
			sets[set_count++] = s;
	}
	hash_each(&rs->chains, n) {
		struct chain *c = container_of(n, struct chain, node);

		if (have ? c->have : c->wanted)
			chains[chain_count++] = c;
	}
	qsort(sets, set_count, sizeof *sets, by_set_name);
	qsort(chains, chain_count, sizeof *chains, by_chain_name);
	str_puts(out, "table inet manx {\n");
	for (unsigned i = 0; i < set_count; i++)
		set_text(sets[i], have, out);
	for (unsigned i = 0; i < chain_count; i++)
		chain_text(chains[i], out);
	str_puts(out, "}\n");
	free(sets);
	free(chains);
}
