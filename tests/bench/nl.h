/* A small netlink writer for the floor program: one buffer, one sendmsg, every acknowledgement read. */
#ifndef BENCH_NL_H
#define BENCH_NL_H
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct nlbuf {
	char b[16384];
	size_t len;
	struct nlmsghdr *h;
	int acks;
	uint32_t seq;
};

static inline void die(const char *what)
{
	perror(what);
	exit(1);
}

static inline int nl_open(int protocol)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), one = 1;
	struct sockaddr_nl a = { .nl_family = AF_NETLINK };

	if (fd < 0 || bind(fd, (void *)&a, sizeof a) < 0)
		die("netlink");
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
	return fd;
}

static inline void *nl_room(struct nlbuf *n, size_t len)
{
	void *p = n->b + n->len;

	n->len += NLMSG_ALIGN(len);
	if (n->len > sizeof n->b)
		die("netlink buffer");
	return memset(p, 0, NLMSG_ALIGN(len));
}

static inline void nl_end(struct nlbuf *n)
{
	n->h->nlmsg_len = n->b + n->len - (char *)n->h;
}

static inline void nl_begin(struct nlbuf *n, int type, int flags, const void *body, size_t len)
{
	n->h = nl_room(n, NLMSG_HDRLEN);
	n->h->nlmsg_type = type;
	n->h->nlmsg_flags = NLM_F_REQUEST | flags;
	n->h->nlmsg_seq = ++n->seq;
	n->acks += (flags & NLM_F_ACK) != 0;
	memcpy(nl_room(n, len), body, len);
	nl_end(n);
}

static inline void nl_put(struct nlbuf *n, int type, const void *data, size_t len)
{
	struct nlattr *a = nl_room(n, NLA_HDRLEN + len);

	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + len;
	memcpy((char *)a + NLA_HDRLEN, data, len);
	nl_end(n);
}

static inline void nl_u32(struct nlbuf *n, int type, uint32_t value)
{
	nl_put(n, type, &value, sizeof value);
}

static inline void nl_str(struct nlbuf *n, int type, const char *text)
{
	nl_put(n, type, text, strlen(text) + 1);
}

static inline struct nlattr *nl_nest(struct nlbuf *n, int type)
{
	struct nlattr *a = nl_room(n, NLA_HDRLEN);

	a->nla_type = type | NLA_F_NESTED;
	return a;
}

static inline void nl_unnest(struct nlbuf *n, struct nlattr *a)
{
	a->nla_len = n->b + n->len - (char *)a;
	nl_end(n);
}

/* Sends the buffer, reads until every acknowledgement is in; the first error wins. */
static inline int nl_talk(int fd, struct nlbuf *n)
{
	static char answer[65536];
	int left = n->acks, rc = 0;

	if (send(fd, n->b, n->len, 0) < 0)
		return -errno;
	n->len = n->acks = 0;
	while (left > 0) {
		ssize_t size = recv(fd, answer, sizeof answer, 0);

		if (size < 0)
			return -errno;
		for (struct nlmsghdr *h = (void *)answer; NLMSG_OK(h, size); h = NLMSG_NEXT(h, size)) {
			const struct nlmsgerr *e = NLMSG_DATA(h);

			if (h->nlmsg_type != NLMSG_ERROR)
				continue;
			left--;
			rc = e->error && !rc ? e->error : rc;
		}
	}
	return rc;
}

static inline void nft_msg(struct nlbuf *n, int type, int flags)
{
	struct nfgenmsg g = { .nfgen_family = NFPROTO_INET };

	nl_begin(n, NFNL_SUBSYS_NFTABLES << 8 | type, flags, &g, sizeof g);
}

static inline void nft_batch(struct nlbuf *n, int type)
{
	struct nfgenmsg g = { .res_id = htons(NFNL_SUBSYS_NFTABLES) };

	nl_begin(n, type, 0, &g, sizeof g);
}

#endif
