#ifndef NFT_RULESET_H
#define NFT_RULESET_H
/*
 * The table in memory: sets with their elements, chains with their rules.
 *
 * Each thing knows both what is wanted and what the kernel has; whoever
 * changes either marks it, and apply.c visits what is marked.  Nothing here knows netlink:
 * message.c and expr.c say it in the kernel's words, ruleset_text() in those of nft(8).
 */
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/hash.h"
#include "base/prefix.h"
#include "base/str.h"

/* ---- what a rule can look at ---- */

enum field {
	FIELD_NONE,
	FIELD_FAMILY, FIELD_PROTOCOL, FIELD_IIF, FIELD_IIFNAME, FIELD_OIFNAME,
	FIELD_IP_SADDR, FIELD_IP_DADDR, FIELD_IP6_SADDR, FIELD_IP6_DADDR,
	FIELD_UDP_SPORT, FIELD_UDP_DPORT, FIELD_ICMP_TYPE, FIELD_ICMP6_TYPE,
	FIELD_DPORT,			/* of whatever protocol has ports */
	FIELD_CT_STATE,
	FIELD_FIB_DADDR,		/* what the destination is to this node: RTN_LOCAL ... */
	FIELDS
};

enum field_form { FORM_NUMBER, FORM_NETWORK_NUMBER, FORM_NAME, FORM_ADDRESS };

enum field_source { FROM_META, FROM_PAYLOAD, FROM_CONNTRACK, FROM_FIB };

struct field_info {
	const char *name;		/* in nft's words */
	uint8_t len;			/* bytes; each field of a concatenation starts at a multiple of four */
	uint8_t form;			/* how it reads */
	uint8_t source;			/* enum field_source */
	uint8_t at;			/* NFT_META_..., NFT_CT_...; payload: offset in the header ... */
	uint8_t base;			/* ... NFT_PAYLOAD_..._HEADER */
	uint8_t needs, needed;		/* a field, and the value without which this one makes no sense */
	uint8_t type;			/* number of the type in nft(8), with which it prints elements */
	const char *type_name;
};
extern const struct field_info field_info[FIELDS];

enum { KEY_FIELDS = 4, KEY_MAX = 64, VALUE_MAX = 16, TARGET_MAX = 15 };

enum verdict {
	VERDICT_ACCEPT, VERDICT_DROP, VERDICT_RETURN, VERDICT_GOTO, VERDICT_JUMP, VERDICT_MASQUERADE,
	VERDICT_MAP,			/* what the map says that the rule ends with */
	VERDICT_DNAT,			/* to what the map says, a set of SET_NAT or SET_NAT_6 that the rule ends with */
};

/* ---- sets ---- */

/* Ranges never change: another list is another set. */
enum set_kind { SET_PLAIN, SET_VERDICTS, SET_RANGES, SET_NAT, SET_NAT_6 };

/* What follows the key in an element of SET_VERDICTS: a verdict, and the chain to go to.  Of SET_RANGES a byte: 1 behind its end.
 * Of SET_NAT and SET_NAT_6 an address, and a port in network order at a multiple of four: set_nat_fields(). */
struct target { uint8_t verdict; char chain[TARGET_MAX]; };

struct set {
	struct hash_node node;
	struct set *marked_next;
	struct element *marks;		/* elements that are marked */
	struct hash elements;
	uint8_t fields[KEY_FIELDS];	/* FIELD_NONE fills up */
	uint8_t kind;			/* enum set_kind */
	uint8_t key_len, entry_len;	/* of the kernel's key; with what follows it */
	bool wanted, have, marked;
	bool unread;			/* the kernel's elements were not looked at, since nobody knew their fields */
	uint64_t have_shape;		/* of the kernel's; see set_shape() */
	uint32_t seen;
	char name[];
};

struct element {
	struct hash_node node;
	struct element *marked_next;
	struct set *set;
	uint32_t wants;			/* by how many it is wanted */
	uint32_t seen;
	bool have, marked;
	uint8_t key[];
};

/* ---- chains ---- */

struct hook { const char *type, *point; uint8_t hook; int priority; };

/* One comparison: fields, together, with a value or a set. */
enum match_how { MATCH_EQUAL, MATCH_ANY_BIT, MATCH_RANGE };	/* RANGE: value, then the last one */

struct match {
	struct match *next;
	const struct set *set;		/* NULL: the value */
	uint8_t fields[KEY_FIELDS];
	bool negate;
	uint8_t how;			/* enum match_how */
	uint8_t bits;			/* of the value: how many count; may end inside a field */
	uint8_t value[VALUE_MAX];
};

struct rule {
	struct rule *next;
	struct match *matches, **tail;
	uint8_t verdict;
	const struct chain *to;		/* GOTO, JUMP */
	const char *comment;		/* or NULL */
	uint64_t digest;		/* of all that the rule says */
};

struct rule_list {
	struct arena mem;
	struct rule *first, *last;
	unsigned count;
	uint64_t digest;		/* of all rules, in order */
};

struct chain {
	struct hash_node node;
	struct chain *marked_next;
	const struct hook *hook;	/* NULL: not a base chain */
	char *comment;			/* or NULL; settled before it is wanted */
	struct rule_list rules;
	bool wanted, have, marked;
	uint64_t have_shape, have_digest, read_digest;	/* see chain_shape(); of the rules; while they are read */
	unsigned have_rules, read_rules;
	uint32_t seen;
	char name[];
};

struct ruleset {
	struct hash sets, chains;
	struct set *marked_sets;
	struct chain *marked_chains;
	unsigned have_sets, have_rules, have_elements;
	bool unread;			/* some wanted set is */
};

void ruleset_free(struct ruleset *rs);
/* As `nft list table` would print it: what is wanted, or (have) what the kernel has of sets and elements.  Sorted. */
void ruleset_text(const struct ruleset *rs, bool have, struct str *out);
void rule_text(const struct rule *r, struct str *out);
void element_text(const struct element *e, struct str *out);

/*
 * What cannot be altered of a set or a base chain, as one number: a set's key; a base chain's type, hook,
 * priority and policy.  0: not a base chain.
 */
uint64_t set_shape(uint32_t type, uint32_t len, uint32_t flags);
uint64_t set_shape_wanted(const struct set *s);
uint32_t set_flags(const struct set *s);	/* NFT_SET_... */
const uint8_t *set_nat_fields(const struct set *s);	/* of what follows the key; NULL: of another kind */
uint64_t chain_shape(const char *type, uint32_t hook, int priority, uint32_t policy);
uint64_t chain_shape_wanted(const struct chain *c);

/* Made when missing; fields may be NULL (the kernel has it, and nobody knows what it is). */
struct set *set_get(struct ruleset *rs, const char *name, const uint8_t *fields);
struct set *set_get_kind(struct ruleset *rs, const char *name, const uint8_t *fields, enum set_kind kind);
struct set *set_find(const struct ruleset *rs, const char *name);
void set_want(struct ruleset *rs, struct set *s, bool wanted);
void set_mark(struct ruleset *rs, struct set *s);
void set_have(struct ruleset *rs, struct set *s, bool have);
bool set_is_odd(const struct set *s);	/* wanted, and there with another shape */
void set_release(struct ruleset *rs, struct set *s);	/* frees it when it is neither wanted nor there */

struct element *element_find(const struct set *s, const void *key);
struct element *element_get(struct set *s, const void *key);
/* Another one that is wanted, of the same key to the kernel; after NULL: the first. */
struct element *element_rival(const struct element *e, const struct element *after);
void element_mark(struct ruleset *rs, struct element *e);
void element_want(struct ruleset *rs, struct element *e);	/* once more */
void element_unwant(struct ruleset *rs, struct element *e);	/* once less */
void element_have(struct ruleset *rs, struct element *e, bool have);
void element_release(struct element *e);

struct chain *chain_get(struct ruleset *rs, const char *name);
struct chain *chain_find(const struct ruleset *rs, const char *name);
/*
 * From now on the chain is wanted with these rules, which it takes; what is as it was changes nothing.  A base
 * chain without rules is not wanted.
 */
void chain_want(struct ruleset *rs, struct chain *c, const struct hook *hook, struct rule_list *rules);
void chain_unwant(struct ruleset *rs, struct chain *c);
void chain_mark(struct ruleset *rs, struct chain *c);
/* The kernel has it, with rules of this digest; or (have false) no more. */
void chain_have(struct ruleset *rs, struct chain *c, bool have, uint64_t digest, unsigned rules);
bool chain_fits(const struct chain *c);			/* the kernel has what is wanted */
bool chain_is_odd(const struct chain *c);
void chain_release(struct ruleset *rs, struct chain *c);

/* ---- rules; in a list that chain_want() takes ---- */

struct rule *rule_add(struct rule_list *l, enum verdict v, const struct chain *to);
void rule_comment(struct rule_list *l, const char *text);	/* of the last rule */
void match_set(struct rule_list *l, const struct set *s, bool negate);	/* of the last rule; the set's own fields */
void match_field_set(struct rule_list *l, enum field f, const struct set *s);	/* that field, in a set of its like */
void match_number(struct rule_list *l, enum field f, uint32_t number);
void match_any_bit(struct rule_list *l, enum field f, uint32_t bits);
void match_range(struct rule_list *l, enum field f, uint32_t first, uint32_t last);
void match_name(struct rule_list *l, enum field f, const char *name);	/* "cali*": all that begin so */
void match_prefix(struct rule_list *l, enum field f, const struct prefix *p);
void rules_free(struct rule_list *l);
uint64_t rules_digest(uint64_t digest, uint64_t rule);	/* of a list and one rule more; starts at 0 */

/* Length of the key, with each field at a multiple of four; one field alone has its own length. */
uint8_t fields_len(const uint8_t *fields);
uint32_t fields_type(const uint8_t *fields);	/* as nft(8) numbers it */

#endif
