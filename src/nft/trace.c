/*
 * What the table in the kernel does with a packet, for `manx explain`.
 *
 * Chains are walked by the rules that are wanted, since the kernel tells of its own only whether they are
 * those: at one that differs the walk ends.  Sets and maps are looked up as the kernel has them, read
 * anew; where the answer is not the one that is wanted, the element that makes it differ is noted.
 */
#include "nft/nft_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include "base/util.h"

enum { DEPTH_MAX = 16, FIRST_PORT = 40000 };

/* The packet as rules see it, each field in the bytes that it is compared in. */
struct view {
	uint8_t family, protocol, icmp_type;
	uint32_t iif, ct_state;
	char iifname[IFNAMSIZ], oifname[IFNAMSIZ];
	uint8_t from[16], to[16];
	uint16_t sport_be, dport_be;
};

static const size_t view_at[FIELDS] = {
	[FIELD_FAMILY] = offsetof(struct view, family), [FIELD_PROTOCOL] = offsetof(struct view, protocol),
	[FIELD_IIF] = offsetof(struct view, iif), [FIELD_CT_STATE] = offsetof(struct view, ct_state),
	[FIELD_IIFNAME] = offsetof(struct view, iifname), [FIELD_OIFNAME] = offsetof(struct view, oifname),
	[FIELD_IP_SADDR] = offsetof(struct view, from), [FIELD_IP_DADDR] = offsetof(struct view, to),
	[FIELD_IP6_SADDR] = offsetof(struct view, from), [FIELD_IP6_DADDR] = offsetof(struct view, to),
	[FIELD_UDP_SPORT] = offsetof(struct view, sport_be), [FIELD_UDP_DPORT] = offsetof(struct view, dport_be),
	[FIELD_DPORT] = offsetof(struct view, dport_be),
	[FIELD_ICMP_TYPE] = offsetof(struct view, icmp_type), [FIELD_ICMP6_TYPE] = offsetof(struct view, icmp_type),
};

struct trace {
	const struct nft *nft;
	struct view view;
	struct str *differs;		/* the first that does */
	bool lost;			/* at a chain that is not the wanted one */
};

static void view_set(struct view *v, const struct nft_packet *p)
{
	*v = (struct view){ .family = p->from.family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6, .protocol = p->protocol,
			    .iif = (uint32_t)p->iif, .ct_state = NF_CT_STATE_BIT(IP_CT_NEW),
			    .sport_be = htons(FIRST_PORT), .dport_be = htons(p->port) };
	str_copy(v->iifname, sizeof v->iifname, p->iifname);
	str_copy(v->oifname, sizeof v->oifname, p->oifname);
	memcpy(v->from, p->from.b, sizeof v->from);
	memcpy(v->to, p->to.b, sizeof v->to);
}

/* The packet's bytes of these fields as a key; false: it lacks one of them. */
static bool view_key(const struct view *v, const uint8_t *fields, uint8_t key[KEY_MAX])
{
	const uint8_t *bytes = (const uint8_t *)v;
	unsigned at = 0;

	memset(key, 0, KEY_MAX);
	for (unsigned i = 0; i < KEY_FIELDS && fields[i]; i++) {
		const struct field_info *f = &field_info[fields[i]];

		if (f->needs && bytes[view_at[f->needs]] != f->needed)
			return false;
		memcpy(key + at, bytes + view_at[fields[i]], f->len);
		at += (f->len + 3u) & ~3u;
	}
	return true;
}

/* ---- sets ---- */

static bool is_in(const struct element *e, bool kernel)
{
	return kernel ? e->have : e->wants > 0;
}

/* The element of a plain set or a map that has this key. */
static const struct element *keyed(const struct set *s, const uint8_t *key, bool kernel)
{
	hash_each(&s->elements, at) {
		const struct element *e = container_of(at, struct element, node);

		if (is_in(e, kernel) && memcmp(e->key, key, s->key_len) == 0)
			return e;
	}
	return NULL;
}

/* The beginning of the range that the key is in: the last one before it, if no end is between. */
static const struct element *ranged(const struct set *s, const uint8_t *key, bool kernel)
{
	const struct element *last = NULL;

	hash_each(&s->elements, at) {
		const struct element *e = container_of(at, struct element, node);

		if (is_in(e, kernel) && memcmp(e->key, key, s->key_len) <= 0 &&
		    (!last || memcmp(e->key, last->key, s->entry_len) > 0))
			last = e;
	}
	return last && !last->key[s->key_len] ? last : NULL;
}

static const struct element *lookup(const struct set *s, const uint8_t *key, bool kernel)
{
	return s->kind == SET_RANGES ? ranged(s, key, kernel) : keyed(s, key, kernel);
}

static void note_element(struct trace *t, const struct set *s, const char *what, const struct element *e)
{
	autostr struct str text = { 0 };

	element_text(e, &text);
	str_printf(t->differs, "%s%s %s %s { %s }", t->differs->len ? "; " : "", s->kind == SET_VERDICTS ? "map" : "set",
		   s->name, what, str_text(&text));
}

static const struct element *look_up(struct trace *t, const struct set *s, const uint8_t *key)
{
	const struct element *have = lookup(s, key, true), *want = lookup(s, key, false);

	if (have != want && !t->differs->len) {
		if (want)
			note_element(t, s, "lacks", want);
		if (have)
			note_element(t, s, "has", have);
	}
	return have;
}

/* ---- rules ---- */

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned rest = bits % 8;

	return memcmp(a, b, bits / 8) == 0 && (!rest || (a[bits / 8] ^ b[bits / 8]) >> (8 - rest) == 0);
}

static bool has_any_bit(const uint8_t *a, const uint8_t *b, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		if (a[i] & b[i])
			return true;
	return false;
}

/* *found: of a map the element that says how it goes on. */
static bool match_holds(struct trace *t, const struct match *m, const struct element **found)
{
	uint8_t key[KEY_MAX];
	unsigned len = field_info[m->fields[0]].len;
	bool holds = false;

	if (!view_key(&t->view, m->fields, key))
		return false;
	if (m->set) {
		const struct element *e = look_up(t, m->set, key);

		holds = e;
		*found = e;
	} else {
		switch ((enum match_how)m->how) {
		case MATCH_EQUAL:
			holds = bits_equal(key, m->value, m->bits);
			break;
		case MATCH_ANY_BIT:
			holds = has_any_bit(key, m->value, len);
			break;
		case MATCH_RANGE:
			holds = memcmp(key, m->value, len) >= 0 && memcmp(key, m->value + len, len) <= 0;
			break;
		}
	}
	return holds != m->negate;
}

static bool rule_holds(struct trace *t, const struct rule *r, const struct element **found)
{
	for (const struct match *m = r->matches; m; m = m->next)
		if (!match_holds(t, m, found))
			return false;
	return true;
}

/* ---- chains ---- */

static enum verdict walk(struct trace *t, const struct chain *c, unsigned depth);

/* What a verdict comes to: ACCEPT, DROP, RETURN (from this chain), or JUMP (nothing: the next rule). */
static enum verdict follow(struct trace *t, enum verdict v, const struct chain *to, unsigned depth)
{
	enum verdict end;

	if (v != VERDICT_GOTO && v != VERDICT_JUMP)
		return v;
	end = walk(t, to, depth + 1);
	return end == VERDICT_RETURN && v == VERDICT_JUMP ? VERDICT_JUMP : end;
}

static enum verdict follow_rule(struct trace *t, const struct rule *r, const struct element *found, unsigned depth)
{
	struct target target;

	if (r->verdict != VERDICT_MAP)
		return follow(t, r->verdict, r->to, depth);
	memcpy(&target, found->key + found->set->key_len, sizeof target);
	return follow(t, target.verdict, chain_find(&t->nft->rules, target.chain), depth);
}

static enum verdict walk(struct trace *t, const struct chain *c, unsigned depth)
{
	if (!c || !c->wanted || !chain_fits(c) || depth == DEPTH_MAX) {
		str_clear(t->differs);
		str_printf(t->differs, "chain %s is not as it should be", c ? c->name : "?");
		t->lost = true;
		return VERDICT_DROP;
	}
	for (const struct rule *r = c->rules.first; r; r = r->next) {
		const struct element *found = NULL;
		enum verdict v = rule_holds(t, r, &found) ? follow_rule(t, r, found, depth) : VERDICT_JUMP;

		if (v != VERDICT_JUMP)
			return v;
	}
	return VERDICT_RETURN;
}

int nft_trace(struct nft *n, const struct nft_packet *p, struct nft_answer *answer, struct err *e)
{
	struct trace t = { .nft = n, .differs = &answer->differs };
	int rc;

	if (n->present != ANSWER_YES)
		return err_set(e, EPROTONOSUPPORT, "nf_tables cannot be asked here");
	nft_want(n);
	rc = have_read(n, e);
	if (rc)
		return rc;
	if (!n->table) {
		answer->allows = true;
		str_puts(t.differs, "there is no table inet " NFT_TABLE);
		return 0;
	}
	view_set(&t.view, p);
	answer->allows = walk(&t, chain_find(&n->rules, p->to_host ? "input" : "forward"), 0) != VERDICT_DROP;
	answer->knows = !t.lost;
	return 0;
}
