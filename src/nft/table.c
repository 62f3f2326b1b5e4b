/*
 * The sockets, and what this kernel can (probe.c).
 *
 * A table that a socket owns cannot be changed by anybody else, and with "persist"
 * it stays when the owner goes (Linux 6.9).  Then nobody has to look at it again.  An event
 * socket says that some program changed some table, and no more.
 */
#include "nft/nft_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <linux/netfilter.h>
#include "base/log.h"
#include "base/util.h"

enum { DOUBT_MS = 250 };

/* ---- what the kernel can ---- */

bool nft_is_lack(int rc)
{
	return rc == -EOPNOTSUPP || rc == -EPROTONOSUPPORT || rc == -EAFNOSUPPORT || rc == -EINVAL || rc == -ENOENT;
}

/* What a probe said, as an answer; when it said nothing, it is asked again in a while. */
static enum answer answer_of(struct nft *n, const char *what, enum probe p)
{
	int rc = n->probed[p];

	if (!rc)
		return ANSWER_YES;
	if (!nft_is_lack(rc)) {
		timer_set(n->loop, &n->doubt, DOUBT_MS);
		return ANSWER_UNKNOWN;
	}
	log_warn("nft", "no %s: %s", what, strerror(-rc));
	return ANSWER_NO;
}

static void ask(struct nft *n, const char *what, enum probe p, enum answer *answer)
{
	if (*answer != ANSWER_UNKNOWN || n->command.fd < 0)
		return;
	if (n->probed[p] && !nft_is_lack(n->probed[p]))
		nft_probe(&n->command, n->probed);
	*answer = answer_of(n, what, p);
}

bool kernel_has_dnat(struct nft *n)
{
	ask(n, "translation of destinations", PROBE_DNAT, &n->dnat);
	return n->dnat == ANSWER_YES && kernel_has_nat(n);
}

bool kernel_has_nat(struct nft *n)
{
	const bool asked = n->nat != ANSWER_UNKNOWN;

	ask(n, "masquerading", PROBE_NAT, &n->nat);
	if (!asked && n->nat == ANSWER_NO)
		model_problem(n->model, "nft", "nat",
			      "a kernel with CONFIG_NF_NAT, CONFIG_NFT_NAT and CONFIG_NFT_MASQ, or pools without natOutgoing",
			      "this kernel cannot masquerade by nf_tables (%s): pods' packets leave with pods' addresses",
			      strerror(-n->probed[PROBE_NAT]));
	return n->nat == ANSWER_YES;
}

static void conntrack_ask(struct nft *n)
{
	n->conntrack = answer_of(n, "connection tracking", PROBE_CONNTRACK);
	if (n->conntrack == ANSWER_NO)
		model_problem(n->model, "nft", "conntrack", "a kernel with CONFIG_NF_CONNTRACK and CONFIG_NFT_CT",
			      "this kernel cannot match by connection state (%s): a pod with a policy is closed",
			      strerror(-n->probed[PROBE_CONNTRACK]));
}

/* ---- events ---- */

static void on_event(void *ctx, const struct nlmsghdr *h)
{
	struct nft *n = ctx;

	if (h->nlmsg_type != NFT_TYPE(NFT_MSG_NEWGEN))
		return;
	n->suspect |= !n->owning;
	n->forward_suspect = true;
}

static void on_readable(struct watch *w, uint32_t events)
{
	struct nft *n = container_of(w, struct nft, watch);
	(void)events;

	if (nl_events(&n->events, n->command.port, on_event, n) >= 0)
		return;
	n->suspect |= !n->owning;
	n->forward_suspect = true;
}

/* Of all that a commit tells, only its last message: that there is a new generation. */
static int events_filter(struct nl *nl)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(NFT_TYPE(NFT_MSG_NEWGEN)), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };

	return setsockopt(nl->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ? -errno : 0;
}

static int events_open(struct nft *n, struct err *e)
{
	static const unsigned groups[] = { NFNLGRP_NFTABLES, 0 };
	int rc = nl_open(&n->events, NETLINK_NETFILTER, groups);

	if (!rc) {
		events_filter(&n->events);	/* without it we only wake up more often */
		n->watch = (struct watch){ .fd = n->events.fd, .fn = on_readable };
		rc = watch_add(n->loop, &n->watch, EPOLLIN);
	}
	return rc ? err_set(e, -rc, "nf_tables event socket: %s", strerror(-rc)) : 0;
}

/* ---- opening ---- */

static int unusable(struct nft *n, int rc)
{
	n->present = ANSWER_NO;
	log_warn("nft", "no nf_tables in this kernel (%s): no anti-spoofing, no masquerading", strerror(-rc));
	model_problem(n->model, "nft", "kernel", "a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET",
		      "this kernel has no nf_tables (%s): pods may use any address, and nothing is masqueraded",
		      strerror(-rc));
	return 0;
}

/* Nothing can be said of this kernel yet, and pods without rules would be open: the agent is not ready. */
static int unknown(struct nft *n, int rc)
{
	if (!n->doubted)
		log_warn("nft", "nf_tables: %s: asked again", strerror(-rc));
	n->doubted = true;
	model_problem(n->model, "nft", "kernel", "", "nf_tables does not answer (%s): asked again", strerror(-rc));
	nl_close(&n->command);
	timer_set(n->loop, &n->doubt, DOUBT_MS);
	return 0;
}

/* 0, or why the table cannot be made. */
static int tables_ask(struct nft *n)
{
	int rc = n->command.fd < 0 ? nl_open(&n->command, NETLINK_NETFILTER, NULL) : 0;
	const bool wanted = n->model->config->nft_owner == NFT_OWNER_AUTO;

	if (rc)
		return rc;
	nft_probe(&n->command, n->probed);
	rc = n->probed[PROBE_OWNED];
	n->owning = wanted && !rc;
	return wanted && rc && !nft_is_lack(rc) ? rc : n->probed[PROBE_TABLE];
}

int kernel_open(struct nft *n, struct err *e)
{
	int rc = tables_ask(n);

	if (!rc)
		conntrack_ask(n);
	if (rc == -EPERM)	/* that says nothing about the kernel, and pods without rules would be open */
		return err_set(e, EPERM, "nf_tables: %s: needs CAP_NET_ADMIN", strerror(EPERM));
	if (rc && nft_is_lack(rc))
		return unusable(n, rc);
	if (rc || n->conntrack == ANSWER_UNKNOWN)
		return unknown(n, rc ? rc : -EAGAIN);
	rc = events_open(n, e);
	n->forward_suspect = true;
	n->present = rc ? ANSWER_UNKNOWN : ANSWER_YES;
	if (n->doubted && !rc)
		model_problem_clear(n->model, "nft", "kernel");
	return rc;
}

void kernel_close(struct nft *n)
{
	if (n->watch.on)
		watch_del(n->loop, &n->watch);
	nl_close(&n->events);
	nl_close(&n->command);
}

uint32_t table_flags(const struct nft *n)
{
	return n->owning ? NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST : 0;
}
