/*
 * Traffic control, as much as a pod's bandwidth takes: a token bucket at a link's root, and
 * a redirection of all that comes in by a link to another one's root.
 */
#include "nl/rtnl.h"

#include <arpa/inet.h>
#include <limits.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <string.h>
#include <sys/socket.h>

#include "base/str.h"

enum { EVERYTHING = 0x80000800 };	/* u32's first table, its first rule: so that putting it again replaces it */

static struct nlmsghdr *tc_begin(struct nl *nl, uint16_t type, uint16_t flags, int ifindex, uint32_t parent, const char *what)
{
	struct nlmsghdr *h = nl_begin(nl, type, flags, "%s of link number %d", what, ifindex);
	struct tcmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);

	m->tcm_family = AF_UNSPEC;
	m->tcm_ifindex = ifindex;
	m->tcm_parent = parent;
	return h;
}

static struct tcmsg *header(struct nlmsghdr *h)
{
	return mnl_nlmsg_get_payload(h);
}

static uint32_t capped(uint64_t n)
{
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

void rtnl_tbf_put(struct nl *nl, int ifindex, const struct rtnl_tbf *t)
{
	struct nlmsghdr *h = tc_begin(nl, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, ifindex, TC_H_ROOT, "token bucket (NET_SCH_TBF)");
	/* A link layer is named so that the kernel wants no table of rates. */
	const struct tc_tbf_qopt parameters = { .rate = { .rate = capped(t->rate), .linklayer = TC_LINKLAYER_ETHERNET },
						.limit = t->limit };
	struct nlattr *options;

	mnl_attr_put_strz(h, TCA_KIND, "tbf");
	options = mnl_attr_nest_start(h, TCA_OPTIONS);
	mnl_attr_put(h, TCA_TBF_PARMS, sizeof parameters, &parameters);
	mnl_attr_put_u32(h, TCA_TBF_BURST, t->burst);
	if (t->rate > UINT32_MAX)
		mnl_attr_put_u64(h, TCA_TBF_RATE64, t->rate);
	mnl_attr_nest_end(h, options);
	nl_end(nl, h);
}

void rtnl_redirect_put(struct nl *nl, int ifindex, int to)
{
	struct nlmsghdr *h = tc_begin(nl, RTM_NEWQDISC, NLM_F_CREATE, ifindex, TC_H_INGRESS, "ingress (NET_SCH_INGRESS)");
	const struct { struct tc_u32_sel sel; struct tc_u32_key key; } all = { .sel = { .flags = TC_U32_TERMINAL, .nkeys = 1 } };
	const struct tc_mirred redirect = { .action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = (uint32_t)to };
	struct nlattr *options, *actions, *action, *inner;

	header(h)->tcm_handle = TC_H_MAKE(TC_H_INGRESS, 0);
	mnl_attr_put_strz(h, TCA_KIND, "ingress");
	nl_end(nl, h);

	h = tc_begin(nl, RTM_NEWTFILTER, NLM_F_CREATE, ifindex, TC_H_MAKE(TC_H_INGRESS, 0), "redirection (NET_CLS_U32, NET_ACT_MIRRED)");
	header(h)->tcm_handle = EVERYTHING;
	header(h)->tcm_info = TC_H_MAKE(1 << 16, htons(ETH_P_ALL));
	mnl_attr_put_strz(h, TCA_KIND, "u32");
	options = mnl_attr_nest_start(h, TCA_OPTIONS);
	mnl_attr_put(h, TCA_U32_SEL, sizeof all, &all);
	actions = mnl_attr_nest_start(h, TCA_U32_ACT);
	action = mnl_attr_nest_start(h, 1);
	mnl_attr_put_strz(h, TCA_ACT_KIND, "mirred");
	inner = mnl_attr_nest_start(h, TCA_ACT_OPTIONS);
	mnl_attr_put(h, TCA_MIRRED_PARMS, sizeof redirect, &redirect);
	mnl_attr_nest_end(h, inner);
	mnl_attr_nest_end(h, action);
	mnl_attr_nest_end(h, actions);
	mnl_attr_nest_end(h, options);
	nl_end(nl, h);
}

void rtnl_qdisc_dump_request(struct nl *nl, int ifindex)
{
	nl_end(nl, tc_begin(nl, RTM_GETQDISC, NLM_F_DUMP, ifindex, 0, "queueing disciplines"));
}

void rtnl_filter_dump_request(struct nl *nl, int ifindex)
{
	nl_end(nl, tc_begin(nl, RTM_GETTFILTER, NLM_F_DUMP, ifindex, TC_H_MAKE(TC_H_INGRESS, 0), "filters"));
}

int rtnl_tc_index(const struct nlmsghdr *h)
{
	const struct tcmsg *m = mnl_nlmsg_get_payload(h);

	return mnl_nlmsg_get_payload_len(h) >= sizeof *m ? m->tcm_ifindex : 0;
}

bool rtnl_tbf_parse(const struct nlmsghdr *h, int *ifindex, struct rtnl_tbf *t)
{
	const struct tcmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[TCA_OPTIONS + 1], *options[TCA_TBF_RATE64 + 1];
	struct tc_tbf_qopt parameters;
	char kind[8] = "";

	if (h->nlmsg_type != RTM_NEWQDISC || !nl_attrs(h, sizeof *m, tb, TCA_OPTIONS) || m->tcm_parent != TC_H_ROOT)
		return false;
	nl_attr_text(tb[TCA_KIND], kind, sizeof kind);
	nl_attrs_nested(tb[TCA_OPTIONS], options, TCA_TBF_RATE64);
	if (strcmp(kind, "tbf") != 0 || !nl_attr_bytes(options[TCA_TBF_PARMS], &parameters, sizeof parameters))
		return false;
	*ifindex = m->tcm_ifindex;
	*t = (struct rtnl_tbf){ .rate = parameters.rate.rate, .limit = parameters.limit };
	nl_attr_bytes(options[TCA_TBF_RATE64], &t->rate, sizeof t->rate);
	return true;
}

int rtnl_redirect_parse(const struct nlmsghdr *h)
{
	const struct nlattr *tb[TCA_OPTIONS + 1], *options[TCA_U32_ACT + 1], *actions[2], *action[TCA_ACT_OPTIONS + 1],
			    *inner[TCA_MIRRED_PARMS + 1];
	struct tc_mirred redirect;

	if (h->nlmsg_type != RTM_NEWTFILTER || !nl_attrs(h, sizeof(struct tcmsg), tb, TCA_OPTIONS))
		return 0;
	nl_attrs_nested(tb[TCA_OPTIONS], options, TCA_U32_ACT);
	nl_attrs_nested(options[TCA_U32_ACT], actions, 1);
	nl_attrs_nested(actions[1], action, TCA_ACT_OPTIONS);
	nl_attrs_nested(action[TCA_ACT_OPTIONS], inner, TCA_MIRRED_PARMS);
	return nl_attr_bytes(inner[TCA_MIRRED_PARMS], &redirect, sizeof redirect) && redirect.eaction == TCA_EGRESS_REDIR ?
	       (int)redirect.ifindex : 0;
}
