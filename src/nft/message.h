#ifndef NFT_MESSAGE_H
#define NFT_MESSAGE_H
/*
 * nf_tables messages: each function adds one (elements: some) to the batch of
 * nl, byte for byte as the kernel takes them.  Numbers in nf_tables attributes are big-endian.
 * Source: uapi linux/netfilter/nf_tables.h, nfnetlink.h.
 */
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include "nft/ruleset.h"
#include "nl/nl.h"

#ifndef NFT_TABLE_F_OWNER
#define NFT_TABLE_F_OWNER 0x2
#define NFTA_TABLE_OWNER 7
#endif
#ifndef NFT_TABLE_F_PERSIST
#define NFT_TABLE_F_PERSIST 0x4
#endif

#define NFT_TABLE "manx"

/* The version of chains, sets and rules as a whole: another one in the kernel is replaced, not compared. */
enum { LAYOUT_VERSION = 3 };

/* Our own kind of entry in a table's or rule's user data, a list of type, length, bytes; nft(8) skips it. */
enum { USERDATA_MANX = 0x6d };

#define NFT_TYPE(message) (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (message))

/* What stands around every batch; with a generation (not 0) the kernel takes it only if that is still the current one. */
void batch_begin(struct nl *nl, uint32_t generation);
void batch_end(struct nl *nl);

/* message: NFT_MSG_NEW... or NFT_MSG_DEL... */
void message_table(struct nl *nl, unsigned message, const char *name, uint32_t flags);	/* flags 0: none named */
void message_chain(struct nl *nl, unsigned message, const char *table, const struct chain *c);
void message_rule(struct nl *nl, const char *table, const struct chain *c, const struct rule *r);
void message_rule_of(struct nl *nl, uint8_t family, const char *table, const char *chain, const struct rule *r);
void message_rules_flush(struct nl *nl, const struct chain *c);
void message_set(struct nl *nl, unsigned message, const struct set *s);
void message_set_of(struct nl *nl, unsigned message, const char *table, const struct set *s);
/* Of the set's marked elements those that were chosen, in as many messages as it takes. */
void message_elements(struct nl *nl, unsigned message, const struct set *s, bool (*chosen)(const struct element *e));

/* One GET; dump it or commit it. */
void message_get(struct nl *nl, unsigned message, uint16_t flags, const char *set);

/* The expressions of a rule, as the attribute NFTA_RULE_EXPRESSIONS. */
void expressions_put(struct nlmsghdr *h, const struct rule *r);

/* A verdict as an attribute of that type, and the kernel's numbers of them. */
void verdict_put(struct nlmsghdr *h, uint16_t type, enum verdict v, const char *chain);
extern const int32_t verdict_codes[];

/* Reading. */
bool attr_be32(const struct nlattr *a, uint32_t *v);
/* The bytes of our entry in user data. */
bool userdata_read(const struct nlattr *a, void *v, size_t size);

#endif
