/*
 * What the kernel has of our table.
 *
 * The ruleset is read at the start, and when somebody changed it.  Its
 * generation is read first: what is read later may be newer, but then the batch that is
 * built on it carries an old generation, is refused, and everything is read again.
 *
 * Rules are not compared byte for byte, since kernels differ in how they tell them: each carries
 * in its user data the digest of what it says.  A foreign one carries none.
 */
#include "nft/nft_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <linux/netfilter.h>
#include "base/util.h"

enum { NAME_SIZE = 128 };

/* Attributes of a message about our table, which is always attribute 1, named so. */
static bool read_attrs(const struct nlmsghdr *h, const struct nlattr **tb, unsigned max)
{
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(h);
	char table[NAME_SIZE];

	return nl_attrs(h, sizeof *g, tb, max) && g->nfgen_family == NFPROTO_INET &&
	       nl_attr_text(tb[NFTA_TABLE_NAME], table, sizeof table) && strcmp(table, NFT_TABLE) == 0;
}

/* ---- the table ---- */

static void on_generation(struct nft *n, const struct nlmsghdr *h)
{
	const struct nlattr *tb[NFTA_GEN_ID + 1];

	if (nl_attrs(h, sizeof(struct nfgenmsg), tb, NFTA_GEN_ID))
		attr_be32(tb[NFTA_GEN_ID], &n->generation);
}

/* Whether the table can stay, and whether it is ours already. */
static void on_table(struct nft *n, const struct nlmsghdr *h)
{
	const struct nlattr *tb[NFTA_TABLE_OWNER + 1];
	uint32_t flags = 0, owner = 0, version = 0, ours = htonl(LAYOUT_VERSION);

	if (!read_attrs(h, tb, NFTA_TABLE_OWNER))
		return;
	attr_be32(tb[NFTA_TABLE_FLAGS], &flags);
	attr_be32(tb[NFTA_TABLE_OWNER], &owner);
	n->table = true;
	n->owned = flags & NFT_TABLE_F_OWNER && owner == n->command.port;
	n->replace = !userdata_read(tb[NFTA_TABLE_USERDATA], &version, sizeof version) || version != ours ||
		     flags & ~(uint32_t)(NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST) ||
		     (n->owning && !(flags & NFT_TABLE_F_PERSIST));
}

static void on_answer(void *ctx, const struct nlmsghdr *h)
{
	if (h->nlmsg_type == NFT_TYPE(NFT_MSG_NEWGEN))
		on_generation(ctx, h);
	else if (h->nlmsg_type == NFT_TYPE(NFT_MSG_NEWTABLE))
		on_table(ctx, h);
}

static int read_table(struct nft *n, struct err *e)
{
	struct nl_answer answer = { .data = on_answer, .ctx = n };
	int rc;

	n->table = n->owned = n->replace = false;
	message_get(&n->command, NFT_MSG_GETGEN, 0, NULL);
	message_get(&n->command, NFT_MSG_GETTABLE, 0, NULL);
	rc = nl_commit(&n->command, &answer, e);
	return rc == -ENOENT ? 0 : rc;
}

/* ---- chains and rules ---- */

static uint64_t read_shape(const struct nlattr *const *tb)
{
	const struct nlattr *hook[NFTA_HOOK_PRIORITY + 1];
	uint32_t number = 0, priority = 0, policy = 0;
	char type[32] = "";

	if (!tb[NFTA_CHAIN_HOOK])
		return 0;
	nl_attrs_nested(tb[NFTA_CHAIN_HOOK], hook, NFTA_HOOK_PRIORITY);
	attr_be32(hook[NFTA_HOOK_HOOKNUM], &number);
	attr_be32(hook[NFTA_HOOK_PRIORITY], &priority);
	attr_be32(tb[NFTA_CHAIN_POLICY], &policy);
	nl_attr_text(tb[NFTA_CHAIN_TYPE], type, sizeof type);
	return chain_shape(type, number, (int)priority, policy);
}

void have_chain(struct nft *n, const struct nlmsghdr *h)
{
	const struct nlattr *tb[NFTA_CHAIN_TYPE + 1];
	char name[NAME_SIZE];
	struct chain *c;

	if (!read_attrs(h, tb, NFTA_CHAIN_TYPE) || !nl_attr_text(tb[NFTA_CHAIN_NAME], name, sizeof name))
		return;
	c = chain_get(&n->rules, name);
	c->have_shape = read_shape(tb);
	c->seen = n->reading;
	c->read_digest = 0;
	c->read_rules = 0;
}

void have_rule(struct nft *n, const struct nlmsghdr *h)
{
	const struct nlattr *tb[NFTA_RULE_USERDATA + 1];
	char name[NAME_SIZE];
	uint64_t digest = 0;
	struct chain *c;

	if (!read_attrs(h, tb, NFTA_RULE_USERDATA) || !nl_attr_text(tb[NFTA_RULE_CHAIN], name, sizeof name))
		return;
	userdata_read(tb[NFTA_RULE_USERDATA], &digest, sizeof digest);
	c = chain_get(&n->rules, name);
	c->read_digest = rules_digest(c->read_digest, digest);
	c->read_rules++;
}

/* ---- sets and elements ---- */

void have_set(struct nft *n, const struct nlmsghdr *h)
{
	const struct nlattr *tb[NFTA_SET_KEY_LEN + 1];
	uint32_t flags = 0, type = 0, len = 0;
	char name[NAME_SIZE];
	struct set *s;

	if (!read_attrs(h, tb, NFTA_SET_KEY_LEN) || !nl_attr_text(tb[NFTA_SET_NAME], name, sizeof name))
		return;
	attr_be32(tb[NFTA_SET_FLAGS], &flags);
	attr_be32(tb[NFTA_SET_KEY_TYPE], &type);
	attr_be32(tb[NFTA_SET_KEY_LEN], &len);
	s = set_get(&n->rules, name, NULL);
	s->have_shape = set_shape(type, len, flags);
	s->seen = n->reading;
	set_have(&n->rules, s, true);
}

static void read_target(const struct nlattr *data, uint8_t *to)
{
	const struct nlattr *value[NFTA_DATA_VERDICT + 1], *tb[NFTA_VERDICT_CHAIN + 1];
	struct target t = { 0 };
	uint32_t code = 0;

	nl_attrs_nested(data, value, NFTA_DATA_VERDICT);
	nl_attrs_nested(value[NFTA_DATA_VERDICT], tb, NFTA_VERDICT_CHAIN);
	attr_be32(tb[NFTA_VERDICT_CODE], &code);
	while (t.verdict < VERDICT_MASQUERADE && (uint32_t)verdict_codes[t.verdict] != code)
		t.verdict++;
	nl_attr_text(tb[NFTA_VERDICT_CHAIN], t.chain, sizeof t.chain);
	memcpy(to, &t, sizeof t);
}

static void read_bytes(const struct nlattr *data, uint8_t *to, size_t len)
{
	const struct nlattr *value[NFTA_DATA_VALUE + 1];

	nl_attrs_nested(data, value, NFTA_DATA_VALUE);
	nl_attr_bytes(value[NFTA_DATA_VALUE], to, len);
}

static void have_element(struct nft *n, struct set *s, const struct nlattr *nest)
{
	const struct nlattr *tb[NFTA_SET_ELEM_FLAGS + 1], *value[NFTA_DATA_VALUE + 1];
	uint8_t key[KEY_MAX] = { 0 };
	uint32_t flags = 0;
	struct element *e;

	nl_attrs_nested(nest, tb, NFTA_SET_ELEM_FLAGS);
	nl_attrs_nested(tb[NFTA_SET_ELEM_KEY], value, NFTA_DATA_VALUE);
	if (!nl_attr_bytes(value[NFTA_DATA_VALUE], key, s->key_len))
		return;
	attr_be32(tb[NFTA_SET_ELEM_FLAGS], &flags);
	if (s->kind == SET_VERDICTS)
		read_target(tb[NFTA_SET_ELEM_DATA], key + s->key_len);
	else if (set_nat_fields(s))
		read_bytes(tb[NFTA_SET_ELEM_DATA], key + s->key_len, fields_len(set_nat_fields(s)));
	else if (s->kind == SET_RANGES)
		key[s->key_len] = (flags & NFT_SET_ELEM_INTERVAL_END) ? 1 : 0;
	e = element_get(s, key);
	e->seen = n->reading;
	element_have(&n->rules, e, true);
}

void have_elements(struct nft *n, const struct nlmsghdr *h)
{
	const struct nlattr *tb[NFTA_SET_ELEM_LIST_ELEMENTS + 1], *at;
	char name[NAME_SIZE];
	struct set *s;

	if (!read_attrs(h, tb, NFTA_SET_ELEM_LIST_ELEMENTS) || !tb[NFTA_SET_ELEM_LIST_ELEMENTS] ||
	    !nl_attr_text(tb[NFTA_SET_ELEM_LIST_SET], name, sizeof name) || !(s = set_find(&n->rules, name)))
		return;
	mnl_attr_for_each_nested(at, tb[NFTA_SET_ELEM_LIST_ELEMENTS])
		have_element(n, s, at);
}

/* ---- reading all ---- */

static void on_dumped(void *ctx, const struct nlmsghdr *h)
{
	static void (*const readers[])(struct nft *n, const struct nlmsghdr *h) = {
		[NFT_MSG_NEWCHAIN] = have_chain, [NFT_MSG_NEWRULE] = have_rule,
		[NFT_MSG_NEWSET] = have_set, [NFT_MSG_NEWSETELEM] = have_elements,
	};
	unsigned message = h->nlmsg_type & 0xff;

	if (h->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES && message < ARRAY_SIZE(readers) && readers[message])
		readers[message](ctx, h);
}

static void rules_restart(void *ctx)
{
	struct nft *n = ctx;

	hash_each(&n->rules.chains, at) {
		struct chain *c = container_of(at, struct chain, node);

		c->read_digest = 0;
		c->read_rules = 0;
	}
}

static int dump(struct nft *n, unsigned message, const char *set, struct err *e)
{
	message_get(&n->command, message, NLM_F_DUMP, set);
	return nl_dump(&n->command, message == NFT_MSG_GETRULE ? rules_restart : NULL, on_dumped, n, e);
}

static int read_elements(struct nft *n, struct err *e)
{
	hash_each(&n->rules.sets, at) {
		struct set *s = container_of(at, struct set, node);
		int rc;

		s->unread = s->have && !s->key_len;
		if (!s->have || s->seen != n->reading || s->unread)
			continue;
		rc = dump(n, NFT_MSG_GETSETELEM, s->name, e);
		if (rc)
			return rc;
	}
	return 0;
}

/* What was not seen in this reading is not there. */
static void sweep_set(struct nft *n, struct set *s)
{
	hash_each(&s->elements, at) {
		struct element *e = container_of(at, struct element, node);

		if (e->seen != n->reading)
			element_have(&n->rules, e, false);
		element_release(e);
	}
	if (s->seen != n->reading)
		set_have(&n->rules, s, false);
	if (s->wanted != s->have || set_is_odd(s))
		set_mark(&n->rules, s);
	set_release(&n->rules, s);
}

void have_done(struct nft *n)
{
	hash_each(&n->rules.sets, at)
		sweep_set(n, container_of(at, struct set, node));
	hash_each(&n->rules.chains, at) {
		struct chain *c = container_of(at, struct chain, node);
		bool have = c->seen == n->reading;

		chain_have(&n->rules, c, have, have ? c->read_digest : 0, have ? c->read_rules : 0);
		chain_release(&n->rules, c);
	}
}

void have_nothing(struct nft *n)
{
	n->reading++;
	have_done(n);
}

int have_read(struct nft *n, struct err *e)
{
	static const unsigned kinds[] = { NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFT_MSG_GETSET };
	int rc = read_table(n, e);

	if (rc)
		return rc;
	n->rules.unread = false;
	n->reading++;
	for (size_t i = 0; n->table && !n->replace && i < ARRAY_SIZE(kinds); i++) {
		rc = dump(n, kinds[i], NULL, e);
		if (rc)
			return rc;
	}
	rc = n->table && !n->replace ? read_elements(n, e) : 0;
	if (!rc)
		have_done(n);
	return rc;
}
