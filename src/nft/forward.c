/*
 * The one thing outside our table.  Docker sets the policy of iptables' FORWARD chain to drop, and a packet must be
 * let through by every base chain: so where iptables-nft keeps that chain (table ip or ip6 "filter") with this policy,
 * two rules at its end accept what comes from and goes to a link named cali*.  Whoever owns the chain decides
 * first, as before; only its policy meets no pod any more.  Of two other ways to keep such
 * a chain that rules of ours cannot help: iptables-legacy, whose policy is read, and firewalld.
 *
 * The chains are looked at when some program has changed some table, but not more than once a second.
 */
#include "nft/nft_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"

enum { EVERY_MS = 1000, OURS = 2, ODD_MAX = 16, TABLES_MAX = 4096 };

struct forward_chain {
	uint8_t family;
	bool leaving;			/* ours are not wanted, whatever the policy */
	bool is_there, drops;
	bool have[OURS];
	uint64_t want[OURS];		/* digests */
	uint64_t odd[ODD_MAX];		/* handles of rules of ours that are not wanted: twice, or of another version */
	unsigned odd_count;
};

static const char *table_name(uint8_t family)
{
	return family == NFPROTO_IPV4 ? "ip filter" : family == NFPROTO_IPV6 ? "ip6 filter" : "inet firewalld";
}

/* A message about the table, and (chain not 0) the chain, whose name is that attribute. */
static struct nlmsghdr *begin(struct nl *nl, unsigned message, uint16_t flags, uint8_t family, uint16_t chain)
{
	const char *name = table_name(family);
	struct nlmsghdr *h = nl_begin(nl, NFT_TYPE(message), flags, "nf_tables %s FORWARD", name);
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof *g);

	*g = (struct nfgenmsg){ .nfgen_family = family, .version = NFNETLINK_V0 };
	mnl_attr_put_strz(h, NFTA_TABLE_NAME, strchr(name, ' ') + 1);
	if (chain)
		mnl_attr_put_strz(h, chain, "FORWARD");
	return h;
}

/* ---- what is there ---- */

static void on_chain(void *ctx, const struct nlmsghdr *h)
{
	const struct nlattr *tb[NFTA_CHAIN_POLICY + 1];
	struct forward_chain *c = ctx;
	uint32_t policy;

	if (h->nlmsg_type != NFT_TYPE(NFT_MSG_NEWCHAIN) || !nl_attrs(h, sizeof(struct nfgenmsg), tb, NFTA_CHAIN_POLICY))
		return;
	c->is_there = true;
	c->drops = !c->leaving && tb[NFTA_CHAIN_HOOK] && attr_be32(tb[NFTA_CHAIN_POLICY], &policy) && policy == NF_DROP;
}

static void on_rule(void *ctx, const struct nlmsghdr *h)
{
	const struct nlattr *tb[NFTA_RULE_USERDATA + 1];
	struct forward_chain *c = ctx;
	char chain[16];
	uint64_t digest, handle;

	if (!nl_attrs(h, sizeof(struct nfgenmsg), tb, NFTA_RULE_USERDATA) ||
	    !nl_attr_text(tb[NFTA_RULE_CHAIN], chain, sizeof chain) || strcmp(chain, "FORWARD") != 0 ||
	    !userdata_read(tb[NFTA_RULE_USERDATA], &digest, sizeof digest) ||
	    !nl_attr_bytes(tb[NFTA_RULE_HANDLE], &handle, sizeof handle))
		return;
	for (unsigned i = 0; i < OURS; i++)
		if (c->drops && digest == c->want[i] && !c->have[i]) {
			c->have[i] = true;
			return;
		}
	if (c->odd_count < ODD_MAX)
		c->odd[c->odd_count++] = handle;
}

/* 0 or -errno.  None of that name is none. */
static int chain_read(struct nl *nl, struct forward_chain *c, struct err *e)
{
	struct nl_answer answer = { .data = on_chain, .ctx = c };
	int rc;

	nl_end(nl, begin(nl, NFT_MSG_GETCHAIN, 0, c->family, NFTA_CHAIN_NAME));
	rc = nl_commit(nl, &answer, e);
	if (rc == -ENOENT)
		*e = (struct err){ 0 };
	if (rc || !c->is_there)
		return rc == -ENOENT ? 0 : rc;
	nl_end(nl, begin(nl, NFT_MSG_GETRULE, NLM_F_DUMP, c->family, NFTA_RULE_CHAIN));
	return nl_dump(nl, NULL, on_rule, c, e);
}

/* ---- and what should be ---- */

static void rules_want(struct rule_list *l)
{
	static const enum field ends[OURS] = { FIELD_IIFNAME, FIELD_OIFNAME };

	for (unsigned i = 0; i < OURS; i++) {
		rule_add(l, VERDICT_ACCEPT, NULL);
		rule_comment(l, NFT_TABLE);
		match_name(l, ends[i], "cali*");
	}
}

static int chain_write(struct nl *nl, const struct forward_chain *c, const struct rule_list *l, struct err *e)
{
	const struct rule *r = l->first;

	batch_begin(nl, 0);
	for (unsigned i = 0; i < c->odd_count; i++) {
		struct nlmsghdr *h = begin(nl, NFT_MSG_DELRULE, 0, c->family, NFTA_RULE_CHAIN);

		mnl_attr_put(h, NFTA_RULE_HANDLE, sizeof c->odd[i], &c->odd[i]);
		nl_end(nl, h);
	}
	for (unsigned i = 0; i < OURS; i++, r = r->next)
		if (c->drops && !c->have[i])
			message_rule_of(nl, c->family, "filter", "FORWARD", r);
	batch_end(nl);
	return nl_commit(nl, NULL, e);
}

static int chain_fix(struct nl *nl, uint8_t family, bool leaving, struct err *e)
{
	struct forward_chain c = { .family = family, .leaving = leaving };
	struct rule_list l = { 0 };
	int rc;

	rules_want(&l);
	c.want[0] = l.first->digest;
	c.want[1] = l.last->digest;
	rc = chain_read(nl, &c, e);
	if (rc == 0 && (c.odd_count || (c.drops && !(c.have[0] && c.have[1])))) {
		rc = chain_write(nl, &c, &l, e);
		if (rc == 0)
			log_info("nft", "%s FORWARD %s", table_name(family), c.drops ?
				 "drops by policy: two rules at its end accept packets of pods" : "needs no rules of ours any more");
	}
	rules_free(&l);
	return rc;
}

/* ---- chains that are not ours to change ---- */

/* The rest of a rule's entry is its matches and its target. */
static bool is_about_pods(const struct ipt_entry *at)
{
	return strncmp(at->ip.iniface, "cali", 4) == 0 || strncmp(at->ip.outiface, "cali", 4) == 0;
}

static bool entries_drop(const struct ipt_getinfo *info, const struct ipt_get_entries *list)
{
	const char *base = (const char *)list->entrytable;
	unsigned underflow = info->underflow[NF_INET_FORWARD];

	if (!(info->valid_hooks & 1u << NF_INET_FORWARD) || underflow + sizeof(struct ipt_entry) + sizeof(struct xt_standard_target) > list->size)
		return false;
	for (unsigned at = info->hook_entry[NF_INET_FORWARD]; at < underflow; ) {
		const struct ipt_entry *e = (const void *)(base + at);

		if (is_about_pods(e))
			return false;
		at += e->next_offset ? e->next_offset : underflow;
	}
	const struct ipt_entry *policy = (const void *)(base + underflow);

	return ((const struct xt_standard_target *)((const char *)policy + policy->target_offset))->verdict == -NF_DROP - 1;
}

/* Asking for a table would make it, so /proc is asked first. */
static bool legacy_drops(void)
{
	struct ipt_getinfo info = { .name = "filter" };
	socklen_t size = sizeof info;
	autostr struct str names = { 0 };
	autofree struct ipt_get_entries *list = NULL;
	autoclose int fd = -1;

	if (fs_read(AT_FDCWD, "/proc/net/ip_tables_names", TABLES_MAX, &names) < 0 || !strstr(str_text(&names), "filter\n"))
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || getsockopt(fd, IPPROTO_IP, IPT_SO_GET_INFO, &info, &size) < 0)
		return false;
	size = (socklen_t)sizeof *list + info.size;
	list = xcalloc(1, size);
	str_copy(list->name, sizeof list->name, info.name);
	list->size = info.size;
	return getsockopt(fd, IPPROTO_IP, IPT_SO_GET_ENTRIES, list, &size) == 0 && entries_drop(&info, list);
}

/* The table of firewalld, which rejects what it forwards and was not told to trust. */
static bool firewalld_is_there(struct nft *n)
{
	nl_end(&n->command, begin(&n->command, NFT_MSG_GETTABLE, 0, NFPROTO_INET, 0));
	return nl_commit(&n->command, NULL, NULL) == 0;
}

/* is: there is that problem. */
static void tell(struct nft *n, bool is, const char *what, const char *remedy, const char *text)
{
	if (is)
		model_problem(n->model, "nft", what, remedy, "%s", text);
	else
		model_problem_clear(n->model, "nft", what);
}

static void look_elsewhere(struct nft *n)
{
	struct addr_text pool = { "" };
	const struct pool *p;
	char trust[128];

	table_each(&n->model->pools, p)
		if (!p->refused)
			pool = prefix_text(&p->cidr);
	snprintf(trust, sizeof trust, "firewall-cmd --permanent --zone=trusted --add-source=%s && firewall-cmd --reload", pool.s);
	tell(n, legacy_drops(), "iptables-legacy",
	     "iptables-legacy -I FORWARD -i cali+ -j ACCEPT && iptables-legacy -I FORWARD -o cali+ -j ACCEPT",
	     "iptables-legacy drops what it forwards by policy: pods reach nobody");
	tell(n, firewalld_is_there(n), "firewalld", trust, "firewalld is here: it rejects pods' packets where it was not told to trust them");
}

/* ---- the pass ---- */

static const uint8_t families[] = { NFPROTO_IPV4, NFPROTO_IPV6 };

void forward_look(struct nft *n)
{
	uint64_t since = now_ms() - n->forward_looked_ms;
	struct err e = { 0 };

	if (!n->forward_suspect || !n->model->complete)
		return;
	if (n->forward_looked_ms && since < EVERY_MS) {
		if (!n->forward_timer.on)
			timer_set(n->loop, &n->forward_timer, EVERY_MS - since);
		return;
	}
	n->forward_suspect = false;
	n->forward_looked_ms = now_ms();
	for (size_t i = 0; i < ARRAY_SIZE(families) && !e.code; i++)
		chain_fix(&n->command, families[i], false, &e);
	tell(n, e.code, "forward", "iptables -I FORWARD -i cali+ -j ACCEPT && iptables -I FORWARD -o cali+ -j ACCEPT", e.text);
	look_elsewhere(n);
}

int forward_cleanup(struct nft *n, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(families) && !rc; i++)
		rc = chain_fix(&n->command, families[i], true, e);
	return rc;
}
