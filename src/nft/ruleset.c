#include "nft/ruleset.h"

#include <stdlib.h>
#include <string.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include "base/digest.h"
#include "base/util.h"

/* ---- keys ---- */

uint8_t fields_len(const uint8_t *fields)
{
	unsigned len = 0;

	if (!fields[1])
		return field_info[fields[0]].len;
	for (unsigned i = 0; i < KEY_FIELDS && fields[i]; i++)
		len += (field_info[fields[i]].len + 3u) & ~3u;
	return (uint8_t)len;
}

uint64_t set_shape(uint32_t type, uint32_t len, uint32_t flags)
{
	uint32_t all[] = { type, len, flags };

	return fnv64a(all, sizeof all);
}

uint32_t set_flags(const struct set *s)
{
	static const uint32_t flags[] = { [SET_VERDICTS] = NFT_SET_MAP, [SET_RANGES] = NFT_SET_INTERVAL,
					  [SET_NAT] = NFT_SET_MAP, [SET_NAT_6] = NFT_SET_MAP };

	return flags[s->kind];
}

const uint8_t *set_nat_fields(const struct set *s)
{
	static const uint8_t fields[FAMILIES][KEY_FIELDS] = {
		{ FIELD_IP_DADDR, FIELD_DPORT }, { FIELD_IP6_DADDR, FIELD_DPORT },
	};

	return s->kind == SET_NAT || s->kind == SET_NAT_6 ? fields[s->kind - SET_NAT] : NULL;
}

uint64_t set_shape_wanted(const struct set *s)
{
	return set_shape(fields_type(s->fields), s->key_len, set_flags(s));
}

uint64_t chain_shape(const char *type, uint32_t hook, int priority, uint32_t policy)
{
	uint32_t all[] = { hook, (uint32_t)priority, policy };

	return fnv64a(type, strlen(type)) ^ fnv64a(all, sizeof all);
}

uint32_t fields_type(const uint8_t *fields)
{
	uint32_t type = 0;

	for (unsigned i = 0; i < KEY_FIELDS && fields[i]; i++)
		type = type << 6 | field_info[fields[i]].type;
	return type;
}

/* ---- sets ---- */

static uint32_t name_hash(const char *name)
{
	return fnv32a(name, strlen(name));
}

struct set *set_find(const struct ruleset *rs, const char *name)
{
	for (struct hash_node *n = hash_find(&rs->sets, name_hash(name)); n; n = hash_more(n)) {
		struct set *s = container_of(n, struct set, node);

		if (strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

struct set *set_get_kind(struct ruleset *rs, const char *name, const uint8_t *fields, enum set_kind kind)
{
	static const uint8_t more[] = { [SET_VERDICTS] = sizeof(struct target), [SET_RANGES] = 1, [SET_NAT] = 4 + 4,
					[SET_NAT_6] = 16 + 4 };
	struct set *s = set_find(rs, name);
	size_t len = strlen(name);

	if (!s) {
		s = xcalloc(1, sizeof *s + len + 1);
		memcpy(s->name, name, len + 1);
		hash_insert(&rs->sets, &s->node, name_hash(name));
	}
	if (fields && !s->fields[0]) {
		memcpy(s->fields, fields, KEY_FIELDS);
		s->kind = (uint8_t)kind;
		s->key_len = fields_len(fields);
		s->entry_len = (uint8_t)(s->key_len + more[kind]);
		rs->unread |= s->unread;
	}
	return s;
}

struct set *set_get(struct ruleset *rs, const char *name, const uint8_t *fields)
{
	return set_get_kind(rs, name, fields, SET_PLAIN);
}

void set_mark(struct ruleset *rs, struct set *s)
{
	if (s->marked)
		return;
	s->marked = true;
	s->marked_next = rs->marked_sets;
	rs->marked_sets = s;
}

void set_want(struct ruleset *rs, struct set *s, bool wanted)
{
	if (s->wanted == wanted)
		return;
	s->wanted = wanted;
	set_mark(rs, s);
}

void set_have(struct ruleset *rs, struct set *s, bool have)
{
	if (s->have == have)
		return;
	s->have = have;
	if (have)
		rs->have_sets++;
	else
		rs->have_sets--;
	if (have)
		return;
	s->unread = false;
	hash_each(&s->elements, n) {
		struct element *e = container_of(n, struct element, node);

		element_have(rs, e, false);
		element_release(e);
	}
}

bool set_is_odd(const struct set *s)
{
	return s->wanted && s->have && s->have_shape != set_shape_wanted(s);
}

void set_release(struct ruleset *rs, struct set *s)
{
	if (s->wanted || s->have || s->marked || s->elements.count)
		return;
	hash_remove(&rs->sets, &s->node);
	hash_clear(&s->elements);
	free(s);
}

/* ---- elements ---- */

struct element *element_find(const struct set *s, const void *key)
{
	for (struct hash_node *n = hash_find(&s->elements, fnv32a(key, s->key_len)); n; n = hash_more(n)) {
		struct element *e = container_of(n, struct element, node);

		if (memcmp(e->key, key, s->entry_len) == 0)
			return e;
	}
	return NULL;
}

struct element *element_rival(const struct element *e, const struct element *after)
{
	struct hash_node *n = after ? hash_more(&after->node) : hash_find(&e->set->elements, e->node.hash);

	for (; n; n = hash_more(n)) {
		struct element *other = container_of(n, struct element, node);

		if (other != e && other->wants && memcmp(e->key, other->key, e->set->key_len) == 0)
			return other;
	}
	return NULL;
}

struct element *element_get(struct set *s, const void *key)
{
	struct element *e = element_find(s, key);

	if (e)
		return e;
	e = xcalloc(1, sizeof *e + s->entry_len);
	e->set = s;
	memcpy(e->key, key, s->entry_len);
	hash_insert(&s->elements, &e->node, fnv32a(key, s->key_len));
	return e;
}

void element_mark(struct ruleset *rs, struct element *e)
{
	set_mark(rs, e->set);
	if (e->marked)
		return;
	e->marked = true;
	e->marked_next = e->set->marks;
	e->set->marks = e;
}

void element_want(struct ruleset *rs, struct element *e)
{
	if (!e->wants++ && !e->have)
		element_mark(rs, e);
}

void element_unwant(struct ruleset *rs, struct element *e)
{
	if (--e->wants == 0)
		element_mark(rs, e);
}

void element_have(struct ruleset *rs, struct element *e, bool have)
{
	if (e->have == have)
		return;
	e->have = have;
	if (have)
		rs->have_elements++;
	else
		rs->have_elements--;
	if (have != (e->wants > 0))
		element_mark(rs, e);
}

void element_release(struct element *e)
{
	if (e->wants || e->have || e->marked)
		return;
	hash_remove(&e->set->elements, &e->node);
	free(e);
}

/* ---- rules ---- */

uint64_t rules_digest(uint64_t digest, uint64_t rule)
{
	uint64_t pair[2] = { digest, rule };

	return fnv64a(pair, sizeof pair);
}

/* Of a match: what it says, by names instead of addresses. */
static uint64_t match_digest(uint64_t digest, const struct match *m)
{
	uint8_t bytes[KEY_FIELDS + 2 + VALUE_MAX];

	memcpy(bytes, m->fields, KEY_FIELDS);
	bytes[KEY_FIELDS] = (uint8_t)(m->how << 1 | m->negate);
	bytes[KEY_FIELDS + 1] = m->bits;
	memcpy(bytes + KEY_FIELDS + 2, m->value, VALUE_MAX);
	digest = rules_digest(digest, fnv64a(bytes, sizeof bytes));
	return m->set ? rules_digest(digest, fnv64a(m->set->name, strlen(m->set->name))) : digest;
}

static uint64_t rule_digest(const struct rule *r)
{
	uint64_t digest = r->verdict + 1;

	if (r->to)
		digest = rules_digest(digest, fnv64a(r->to->name, strlen(r->to->name)));
	for (const struct match *m = r->matches; m; m = m->next)
		digest = match_digest(digest, m);
	return r->comment ? rules_digest(digest, fnv64a(r->comment, strlen(r->comment))) : digest;
}

static void rules_seal(struct rule_list *l)
{
	l->digest = 0;
	for (struct rule *r = l->first; r; r = r->next) {
		r->digest = rule_digest(r);
		l->digest = rules_digest(l->digest, r->digest);
	}
}

struct rule *rule_add(struct rule_list *l, enum verdict v, const struct chain *to)
{
	struct rule *r = arena_alloc(&l->mem, sizeof *r);

	r->verdict = (uint8_t)v;
	r->to = to;
	r->tail = &r->matches;
	if (l->last)
		l->last->next = r;
	else
		l->first = r;
	l->last = r;
	l->count++;
	return r;
}

void rule_comment(struct rule_list *l, const char *text)
{
	l->last->comment = arena_str(&l->mem, text);
}

static struct match *match_add(struct rule_list *l, const struct match *m)
{
	struct match *copy = arena_alloc(&l->mem, sizeof *copy);

	*copy = *m;
	*l->last->tail = copy;
	l->last->tail = &copy->next;
	return copy;
}

void match_set(struct rule_list *l, const struct set *s, bool negate)
{
	struct match m = { .set = s, .negate = negate };

	memcpy(m.fields, s->fields, KEY_FIELDS);
	match_add(l, &m);
}

void match_field_set(struct rule_list *l, enum field f, const struct set *s)
{
	struct match m = { .set = s, .fields = { (uint8_t)f } };

	match_add(l, &m);
}

static void number_put(uint8_t *to, const struct field_info *i, uint32_t number)
{
	if (i->form == FORM_NUMBER && i->len == sizeof number)
		memcpy(to, &number, sizeof number);	/* the host's byte order */
	else
		for (unsigned at = i->len; at--; number >>= 8)
			to[at] = (uint8_t)number;
}

static struct match *number_add(struct rule_list *l, enum field f, enum match_how how, uint32_t number)
{
	const struct field_info *i = &field_info[f];
	struct match m = { .fields = { (uint8_t)f }, .bits = (uint8_t)(i->len * 8), .how = (uint8_t)how };

	number_put(m.value, i, number);
	return match_add(l, &m);
}

void match_number(struct rule_list *l, enum field f, uint32_t number)
{
	number_add(l, f, MATCH_EQUAL, number);
}

void match_any_bit(struct rule_list *l, enum field f, uint32_t bits)
{
	number_add(l, f, MATCH_ANY_BIT, bits);
}

void match_range(struct rule_list *l, enum field f, uint32_t first, uint32_t last)
{
	struct match *m = number_add(l, f, first == last ? MATCH_EQUAL : MATCH_RANGE, first);

	if (first != last)
		number_put(m->value + field_info[f].len, &field_info[f], last);
}

void match_name(struct rule_list *l, enum field f, const char *name)
{
	struct match m = { .fields = { (uint8_t)f }, .bits = VALUE_MAX * 8 };
	size_t len = strlen(name);

	if (len && name[len - 1] == '*')
		m.bits = (uint8_t)(--len * 8);
	memcpy(m.value, name, len < VALUE_MAX ? len : VALUE_MAX - 1);
	match_add(l, &m);
}

void match_prefix(struct rule_list *l, enum field f, const struct prefix *p)
{
	struct match m = { .fields = { (uint8_t)f }, .bits = p->len };
	struct prefix masked = prefix_mask(*p);

	memcpy(m.value, masked.addr.b, sizeof m.value);
	match_add(l, &m);
}

void rules_free(struct rule_list *l)
{
	arena_free(&l->mem);
	*l = (struct rule_list){ 0 };
}

/* ---- chains ---- */

struct chain *chain_find(const struct ruleset *rs, const char *name)
{
	for (struct hash_node *n = hash_find(&rs->chains, name_hash(name)); n; n = hash_more(n)) {
		struct chain *c = container_of(n, struct chain, node);

		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

struct chain *chain_get(struct ruleset *rs, const char *name)
{
	struct chain *c = chain_find(rs, name);
	size_t len = strlen(name);

	if (c)
		return c;
	c = xcalloc(1, sizeof *c + len + 1);
	memcpy(c->name, name, len + 1);
	hash_insert(&rs->chains, &c->node, name_hash(name));
	return c;
}

void chain_mark(struct ruleset *rs, struct chain *c)
{
	if (c->marked)
		return;
	c->marked = true;
	c->marked_next = rs->marked_chains;
	rs->marked_chains = c;
}

uint64_t chain_shape_wanted(const struct chain *c)
{
	return c->hook ? chain_shape(c->hook->type, c->hook->hook, c->hook->priority, NF_ACCEPT) : 0;
}

bool chain_is_odd(const struct chain *c)
{
	return c->wanted && c->have && c->have_shape != chain_shape_wanted(c);
}

bool chain_fits(const struct chain *c)
{
	if (!c->wanted || !c->have)
		return c->wanted == c->have;
	return !chain_is_odd(c) && c->have_rules == c->rules.count && c->have_digest == c->rules.digest;
}

void chain_want(struct ruleset *rs, struct chain *c, const struct hook *hook, struct rule_list *rules)
{
	struct rule_list old = c->rules;

	rules_seal(rules);
	if (hook && !rules->count) {
		rules_free(rules);
		chain_unwant(rs, c);
		return;
	}
	if (c->wanted && old.count == rules->count && old.digest == rules->digest) {
		rules_free(rules);
		return;
	}
	c->wanted = true;
	c->hook = hook;
	c->rules = *rules;
	*rules = (struct rule_list){ 0 };
	rules_free(&old);
	chain_mark(rs, c);
}

void chain_unwant(struct ruleset *rs, struct chain *c)
{
	if (!c->wanted)
		return;
	c->wanted = false;
	rules_free(&c->rules);
	chain_mark(rs, c);
}

void chain_have(struct ruleset *rs, struct chain *c, bool have, uint64_t digest, unsigned rules)
{
	rs->have_rules += rules - c->have_rules;
	c->have = have;
	c->have_digest = digest;
	c->have_rules = rules;
	if (!chain_fits(c))
		chain_mark(rs, c);
}

void chain_release(struct ruleset *rs, struct chain *c)
{
	if (c->wanted || c->have || c->marked)
		return;
	hash_remove(&rs->chains, &c->node);
	free(c->comment);
	free(c);
}

/* ---- all ---- */

static void set_free(struct set *s)
{
	hash_each(&s->elements, n)
		free(container_of(n, struct element, node));
	hash_clear(&s->elements);
	free(s);
}

void ruleset_free(struct ruleset *rs)
{
	hash_each(&rs->sets, n)
		set_free(container_of(n, struct set, node));
	hash_each(&rs->chains, n) {
		struct chain *c = container_of(n, struct chain, node);

		rules_free(&c->rules);
		free(c->comment);
		free(c);
	}
	hash_clear(&rs->sets);
	hash_clear(&rs->chains);
}
