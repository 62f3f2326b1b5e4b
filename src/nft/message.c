#include "nft/message.h"

#include <arpa/inet.h>
#include <string.h>
#include <linux/netfilter.h>

/* ---- parts ---- */

static void put_be32(struct nlmsghdr *h, uint16_t type, uint32_t v)
{
	mnl_attr_put_u32(h, type, htonl(v));
}

bool attr_be32(const struct nlattr *a, uint32_t *v)
{
	uint32_t read;

	if (!nl_attr_u32(a, &read))
		return false;
	*v = ntohl(read);
	return true;
}

enum { COMMENT = 0, COMMENT_MAX = 128, ENTRY_MAX = 16 };	/* nft(8)'s entry, the same for rules and chains */

/* Our entry (size 0: none), and a comment in nft(8)'s form (NULL: none). */
static void put_userdata(struct nlmsghdr *h, uint16_t type, const void *v, uint8_t size, const char *comment)
{
	uint8_t data[2 + ENTRY_MAX + 2 + COMMENT_MAX];
	size_t len = 0, text = comment ? strlen(comment) + 1 : 0;

	if (text > COMMENT_MAX)
		text = 0;
	if (size) {
		data[len++] = USERDATA_MANX;
		data[len++] = size;
		memcpy(data + len, v, size);
		len += size;
	}
	if (text) {
		data[len++] = COMMENT;
		data[len++] = (uint8_t)text;
		memcpy(data + len, comment, text);
		len += text;
	}
	if (len)
		mnl_attr_put(h, type, len, data);
}

bool userdata_read(const struct nlattr *a, void *v, size_t size)
{
	const uint8_t *at = a ? mnl_attr_get_payload(a) : NULL;
	size_t left = a ? mnl_attr_get_payload_len(a) : 0;

	while (left >= 2 && left - 2 >= at[1]) {
		if (at[0] == USERDATA_MANX && at[1] == size) {
			memcpy(v, at + 2, size);
			return true;
		}
		left -= 2u + at[1];
		at += 2 + at[1];
	}
	return false;
}

static void put_header(struct nlmsghdr *h, uint8_t family, uint16_t resource)
{
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof *g);

	*g = (struct nfgenmsg){ .nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource) };
}

/* ---- batches ---- */

void batch_begin(struct nl *nl, uint32_t generation)
{
	struct nlmsghdr *h = nl_begin(nl, NFNL_MSG_BATCH_BEGIN, 0, "nf_tables");

	put_header(h, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	if (generation)
		put_be32(h, NFNL_BATCH_GENID, generation);
	nl_end(nl, h);
}

void batch_end(struct nl *nl)
{
	struct nlmsghdr *h = nl_begin(nl, NFNL_MSG_BATCH_END, 0, "nf_tables");

	put_header(h, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	nl_end(nl, h);
}

/* ---- the table ---- */

void message_table(struct nl *nl, unsigned message, const char *name, uint32_t flags)
{
	uint16_t create = message == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0;
	struct nlmsghdr *h = nl_begin(nl, NFT_TYPE(message), create, "nf_tables table inet %s", name);
	uint32_t version = htonl(LAYOUT_VERSION);

	put_header(h, NFPROTO_INET, 0);
	mnl_attr_put_strz(h, NFTA_TABLE_NAME, name);
	if (create && flags)
		put_be32(h, NFTA_TABLE_FLAGS, flags);
	if (create)
		put_userdata(h, NFTA_TABLE_USERDATA, &version, sizeof version, NULL);
	nl_end(nl, h);
}

/* ---- chains and rules ---- */

void message_chain(struct nl *nl, unsigned message, const char *table, const struct chain *c)
{
	uint16_t create = message == NFT_MSG_NEWCHAIN ? NLM_F_CREATE : 0;
	struct nlmsghdr *h = nl_begin(nl, NFT_TYPE(message), create, "nf_tables chain %s", c->name);

	put_header(h, NFPROTO_INET, 0);
	mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, table);
	mnl_attr_put_strz(h, NFTA_CHAIN_NAME, c->name);
	if (create && c->hook) {
		struct nlattr *hook = mnl_attr_nest_start(h, NFTA_CHAIN_HOOK);

		put_be32(h, NFTA_HOOK_HOOKNUM, c->hook->hook);
		put_be32(h, NFTA_HOOK_PRIORITY, (uint32_t)c->hook->priority);
		mnl_attr_nest_end(h, hook);
		mnl_attr_put_strz(h, NFTA_CHAIN_TYPE, c->hook->type);
		put_be32(h, NFTA_CHAIN_POLICY, NF_ACCEPT);
	}
	if (create)
		put_userdata(h, NFTA_CHAIN_USERDATA, NULL, 0, c->comment);
	nl_end(nl, h);
}

void message_rule(struct nl *nl, const char *table, const struct chain *c, const struct rule *r)
{
	message_rule_of(nl, NFPROTO_INET, table, c->name, r);
}

void message_rule_of(struct nl *nl, uint8_t family, const char *table, const char *chain, const struct rule *r)
{
	struct nlmsghdr *h = nl_begin(nl, NFT_TYPE(NFT_MSG_NEWRULE), NLM_F_CREATE | NLM_F_APPEND,
				      "nf_tables rule of chain %s", chain);

	put_header(h, family, 0);
	mnl_attr_put_strz(h, NFTA_RULE_TABLE, table);
	mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
	expressions_put(h, r);
	put_userdata(h, NFTA_RULE_USERDATA, &r->digest, sizeof r->digest, r->comment);
	nl_end(nl, h);
}

void message_rules_flush(struct nl *nl, const struct chain *c)
{
	struct nlmsghdr *h = nl_begin(nl, NFT_TYPE(NFT_MSG_DELRULE), 0, "nf_tables rules of chain %s", c->name);

	put_header(h, NFPROTO_INET, 0);
	mnl_attr_put_strz(h, NFTA_RULE_TABLE, NFT_TABLE);
	mnl_attr_put_strz(h, NFTA_RULE_CHAIN, c->name);
	nl_end(nl, h);
}

/* ---- sets ---- */

void message_set(struct nl *nl, unsigned message, const struct set *s)
{
	message_set_of(nl, message, NFT_TABLE, s);
}

void message_set_of(struct nl *nl, unsigned message, const char *table, const struct set *s)
{
	uint16_t create = message == NFT_MSG_NEWSET ? NLM_F_CREATE : 0;
	struct nlmsghdr *h = nl_begin(nl, NFT_TYPE(message), create, "nf_tables set %s", s->name);

	put_header(h, NFPROTO_INET, 0);
	mnl_attr_put_strz(h, NFTA_SET_TABLE, table);
	mnl_attr_put_strz(h, NFTA_SET_NAME, s->name);
	if (create) {
		put_be32(h, NFTA_SET_FLAGS, set_flags(s));
		put_be32(h, NFTA_SET_KEY_TYPE, fields_type(s->fields));
		put_be32(h, NFTA_SET_KEY_LEN, s->key_len);
		put_be32(h, NFTA_SET_ID, 1);	/* only named ones are ever referred to */
		if (s->kind == SET_VERDICTS)
			put_be32(h, NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
		if (set_nat_fields(s)) {
			put_be32(h, NFTA_SET_DATA_TYPE, fields_type(set_nat_fields(s)));
			put_be32(h, NFTA_SET_DATA_LEN, fields_len(set_nat_fields(s)));
		}
	}
	nl_end(nl, h);
}

static struct nlmsghdr *elements_begin(struct nl *nl, unsigned message, const struct set *s, struct nlattr **list)
{
	uint16_t create = message == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0;
	struct nlmsghdr *h = nl_begin(nl, NFT_TYPE(message), create, "nf_tables elements of set %s", s->name);

	put_header(h, NFPROTO_INET, 0);
	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE);
	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, s->name);
	*list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
	return h;
}

static void put_element(struct nlmsghdr *h, const struct element *e)
{
	struct nlattr *nest = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
	struct nlattr *key = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
	const uint8_t *more = e->key + e->set->key_len;
	struct target target;

	mnl_attr_put(h, NFTA_DATA_VALUE, e->set->key_len, e->key);
	mnl_attr_nest_end(h, key);
	if (e->set->kind == SET_VERDICTS) {
		memcpy(&target, more, sizeof target);
		verdict_put(h, NFTA_SET_ELEM_DATA, target.verdict, target.chain[0] ? target.chain : NULL);
	} else if (e->set->kind == SET_RANGES && *more) {
		put_be32(h, NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
	}
	if (set_nat_fields(e->set)) {
		struct nlattr *data = mnl_attr_nest_start(h, NFTA_SET_ELEM_DATA);

		mnl_attr_put(h, NFTA_DATA_VALUE, fields_len(set_nat_fields(e->set)), more);
		mnl_attr_nest_end(h, data);
	}
	mnl_attr_nest_end(h, nest);
}

static void elements_end(struct nl *nl, struct nlmsghdr *h, struct nlattr *list)
{
	mnl_attr_nest_end(h, list);
	nl_end(nl, h);
}

void message_elements(struct nl *nl, unsigned message, const struct set *s, bool (*chosen)(const struct element *e))
{
	struct nlmsghdr *h = NULL;
	struct nlattr *list = NULL;

	for (const struct element *e = s->marks; e; e = e->marked_next) {
		if (!chosen(e))
			continue;
		if (h && h->nlmsg_len > NL_MESSAGE_MAX - 2 * KEY_MAX) {
			elements_end(nl, h, list);
			h = NULL;
		}
		if (!h)
			h = elements_begin(nl, message, s, &list);
		put_element(h, e);
	}
	if (h)
		elements_end(nl, h, list);
}

/* ---- asking ---- */

/* Every kind of object names its table first, and an element list its set second. */
void message_get(struct nl *nl, unsigned message, uint16_t flags, const char *set)
{
	struct nlmsghdr *h = nl_begin(nl, NFT_TYPE(message), flags, "reading nf_tables table inet " NFT_TABLE);

	put_header(h, NFPROTO_INET, 0);
	if (message != NFT_MSG_GETGEN)
		mnl_attr_put_strz(h, NFTA_TABLE_NAME, NFT_TABLE);
	if (set)
		mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
	nl_end(nl, h);
}
