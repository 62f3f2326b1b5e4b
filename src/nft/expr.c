/*
 * A rule in the kernel's words.  Each match loads its fields into registers, side
 * by side, and compares them with a value or looks them up in a set; the rule ends with
 * its verdict.  What a field makes no sense without (the address family, the
 * protocol) is compared first, once a rule, as nft(8) does, which therefore does not print it.
 */
#include "nft/message.h"

#include <arpa/inet.h>
#include <string.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>

enum { REGISTER_BYTES = 4 };

static void put_be32(struct nlmsghdr *h, uint16_t type, uint32_t v)
{
	mnl_attr_put_u32(h, type, htonl(v));
}

struct expression { struct nlattr *outer, *data; };

static struct expression begin(struct nlmsghdr *h, const char *name)
{
	struct expression e = { .outer = mnl_attr_nest_start(h, NFTA_LIST_ELEM) };

	mnl_attr_put_strz(h, NFTA_EXPR_NAME, name);
	e.data = mnl_attr_nest_start(h, NFTA_EXPR_DATA);
	return e;
}

static void end(struct nlmsghdr *h, struct expression e)
{
	mnl_attr_nest_end(h, e.data);
	mnl_attr_nest_end(h, e.outer);
}

static void put_bytes(struct nlmsghdr *h, uint16_t type, const void *bytes, size_t len)
{
	struct nlattr *nest = mnl_attr_nest_start(h, type);

	mnl_attr_put(h, NFTA_DATA_VALUE, len, bytes);
	mnl_attr_nest_end(h, nest);
}

/* ---- expressions ---- */

static void put_load(struct nlmsghdr *h, const struct field_info *f, uint32_t reg, unsigned len)
{
	static const char *const names[] = { "meta", "payload", "ct", "fib" };
	struct expression e = begin(h, names[f->source]);

	if (f->source == FROM_PAYLOAD) {
		put_be32(h, NFTA_PAYLOAD_DREG, reg);
		put_be32(h, NFTA_PAYLOAD_BASE, f->base);
		put_be32(h, NFTA_PAYLOAD_OFFSET, f->at);
		put_be32(h, NFTA_PAYLOAD_LEN, len);
	} else if (f->source == FROM_CONNTRACK) {
		put_be32(h, NFTA_CT_DREG, reg);
		put_be32(h, NFTA_CT_KEY, f->at);
	} else if (f->source == FROM_FIB) {
		put_be32(h, NFTA_FIB_DREG, reg);
		put_be32(h, NFTA_FIB_RESULT, f->at);
		put_be32(h, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
	} else {
		put_be32(h, NFTA_META_DREG, reg);
		put_be32(h, NFTA_META_KEY, f->at);
	}
	end(h, e);
}

static void put_mask(struct nlmsghdr *h, const uint8_t *mask, unsigned len)
{
	static const uint8_t zero[VALUE_MAX];
	struct expression e = begin(h, "bitwise");

	put_be32(h, NFTA_BITWISE_SREG, NFT_REG32_00);
	put_be32(h, NFTA_BITWISE_DREG, NFT_REG32_00);
	put_be32(h, NFTA_BITWISE_LEN, len);
	put_bytes(h, NFTA_BITWISE_MASK, mask, len);
	put_bytes(h, NFTA_BITWISE_XOR, zero, len);
	end(h, e);
}

static void put_compare(struct nlmsghdr *h, enum nft_cmp_ops op, const void *value, unsigned len)
{
	struct expression e = begin(h, "cmp");

	put_be32(h, NFTA_CMP_SREG, NFT_REG32_00);
	put_be32(h, NFTA_CMP_OP, op);
	put_bytes(h, NFTA_CMP_DATA, value, len);
	end(h, e);
}

static void put_lookup(struct nlmsghdr *h, const struct set *s, bool negate)
{
	struct expression e = begin(h, "lookup");

	mnl_attr_put_strz(h, NFTA_LOOKUP_SET, s->name);
	put_be32(h, NFTA_LOOKUP_SREG, NFT_REG32_00);
	if (s->kind == SET_VERDICTS)
		put_be32(h, NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
	else if (set_nat_fields(s))
		put_be32(h, NFTA_LOOKUP_DREG, NFT_REG32_00);
	if (negate)
		put_be32(h, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
	end(h, e);
}

/* To the address and port that the map, looked up last, left in the registers. */
static void put_dnat(struct nlmsghdr *h, const struct rule *r)
{
	const struct match *m = r->matches;
	struct expression e = begin(h, "nat");

	while (m->next)
		m = m->next;
	put_be32(h, NFTA_NAT_TYPE, NFT_NAT_DNAT);
	put_be32(h, NFTA_NAT_FAMILY, m->set->kind == SET_NAT ? NFPROTO_IPV4 : NFPROTO_IPV6);
	put_be32(h, NFTA_NAT_REG_ADDR_MIN, NFT_REG32_00);
	put_be32(h, NFTA_NAT_REG_PROTO_MIN, m->set->kind == SET_NAT ? NFT_REG32_01 : NFT_REG32_04);
	end(h, e);
}

static void put_masquerade(struct nlmsghdr *h)
{
	struct expression e = begin(h, "masq");

	put_be32(h, NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
	end(h, e);
}

const int32_t verdict_codes[] = {
	[VERDICT_ACCEPT] = NF_ACCEPT, [VERDICT_DROP] = NF_DROP, [VERDICT_RETURN] = NFT_RETURN,
	[VERDICT_GOTO] = NFT_GOTO, [VERDICT_JUMP] = NFT_JUMP,
};

void verdict_put(struct nlmsghdr *h, uint16_t type, enum verdict v, const char *chain)
{
	struct nlattr *data = mnl_attr_nest_start(h, type), *verdict = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);

	put_be32(h, NFTA_VERDICT_CODE, (uint32_t)verdict_codes[v]);
	if (chain)
		mnl_attr_put_strz(h, NFTA_VERDICT_CHAIN, chain);
	mnl_attr_nest_end(h, verdict);
	mnl_attr_nest_end(h, data);
}

static void put_verdict(struct nlmsghdr *h, const struct rule *r)
{
	struct expression e = begin(h, "immediate");

	put_be32(h, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	verdict_put(h, NFTA_IMMEDIATE_DATA, r->verdict, r->to ? r->to->name : NULL);
	end(h, e);
}

/* ---- matches ---- */

/* Compares what the field needs, unless that was done in this rule. */
static void put_needed(struct nlmsghdr *h, enum field f, uint32_t *done)
{
	const struct field_info *i = &field_info[f];

	if (!i->needs || *done & 1u << i->needs)
		return;
	*done |= 1u << i->needs;
	put_load(h, &field_info[i->needs], NFT_REG32_00, 1);
	put_compare(h, NFT_CMP_EQ, &i->needed, 1);
}

/* Whole bytes of a payload are loaded alone; a name may end anywhere; the rest is masked.  No bits: all fit. */
static void put_value(struct nlmsghdr *h, const struct match *m)
{
	const struct field_info *f = &field_info[m->fields[0]];
	uint8_t mask[VALUE_MAX] = { 0 };
	unsigned len = f->len;

	if (m->bits % 8 == 0 && (f->source == FROM_PAYLOAD || f->form == FORM_NAME))
		len = m->bits / 8u;
	if (!len)
		return;
	put_load(h, f, NFT_REG32_00, len);
	for (unsigned i = 0; i < m->bits; i++)
		mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
	if (m->bits < len * 8u)
		put_mask(h, mask, len);
	put_compare(h, m->negate ? NFT_CMP_NEQ : NFT_CMP_EQ, m->value, len);
}

static void put_any_bit(struct nlmsghdr *h, const struct match *m)
{
	static const uint8_t zero[VALUE_MAX];
	const struct field_info *f = &field_info[m->fields[0]];

	put_load(h, f, NFT_REG32_00, f->len);
	put_mask(h, m->value, f->len);
	put_compare(h, NFT_CMP_NEQ, zero, f->len);
}

static void put_range(struct nlmsghdr *h, const struct match *m)
{
	const struct field_info *f = &field_info[m->fields[0]];

	put_load(h, f, NFT_REG32_00, f->len);
	put_compare(h, NFT_CMP_GTE, m->value, f->len);
	put_compare(h, NFT_CMP_LTE, m->value + f->len, f->len);
}

static void put_match(struct nlmsghdr *h, const struct match *m, uint32_t *done)
{
	static void (*const puts[])(struct nlmsghdr *h, const struct match *m) = { put_value, put_any_bit, put_range };
	uint32_t reg = NFT_REG32_00;

	for (unsigned i = 0; i < KEY_FIELDS && m->fields[i]; i++)
		put_needed(h, m->fields[i], done);
	if (!m->set) {
		puts[m->how](h, m);
		return;
	}
	for (unsigned i = 0; i < KEY_FIELDS && m->fields[i]; i++) {
		const struct field_info *f = &field_info[m->fields[i]];

		put_load(h, f, reg, f->len);
		reg += (f->len + REGISTER_BYTES - 1u) / REGISTER_BYTES;
	}
	put_lookup(h, m->set, m->negate);
}

void expressions_put(struct nlmsghdr *h, const struct rule *r)
{
	struct nlattr *list = mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
	uint32_t done = 0;

	for (const struct match *m = r->matches; m; m = m->next)
		put_match(h, m, &done);
	if (r->verdict == VERDICT_MASQUERADE)
		put_masquerade(h);
	else if (r->verdict == VERDICT_DNAT)
		put_dnat(h, r);
	else if (r->verdict != VERDICT_MAP)
		put_verdict(h, r);
	mnl_attr_nest_end(h, list);
}
