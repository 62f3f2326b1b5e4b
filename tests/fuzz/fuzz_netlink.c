/*
 * What the kernel says, in datagrams: two bytes of length before each.  The first byte says who
 * asked (a commit, a dump, an event socket); each message then goes to every reader there is.
 */
#include <sys/socket.h>
#include "fuzz.h"

static const uint8_t *told;
static size_t told_len;

static ssize_t next_datagram(int fd, struct msghdr *msg, int flags);
static ssize_t swallow(int fd, const void *data, size_t len, int flags, const struct sockaddr *to, socklen_t to_len);

#define recvmsg next_datagram
#define sendto swallow
#include "../../src/nl/nl.c"
#undef recvmsg
#undef sendto
#include "../../src/nft/have.c"
#include "nl/rtnl.h"

static ssize_t next_datagram(int fd, struct msghdr *msg, int flags)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	size_t len;
	(void)fd;
	(void)flags;

	if (told_len < 2) {
		errno = EAGAIN;
		return -1;
	}
	len = told[0] | told[1] << 8;
	len = len < told_len - 2 ? len : told_len - 2;
	len = len < msg->msg_iov->iov_len ? len : msg->msg_iov->iov_len;
	memcpy(msg->msg_name, &kernel, sizeof kernel);
	memcpy(msg->msg_iov->iov_base, told + 2, len);
	told += 2 + len;
	told_len -= 2 + len;
	msg->msg_flags = 0;
	return (ssize_t)len;
}

static ssize_t swallow(int fd, const void *data, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
	(void)fd;
	(void)data;
	(void)flags;
	(void)to;
	(void)to_len;
	return (ssize_t)len;
}

static void on_message(void *ctx, const struct nlmsghdr *h)
{
	struct rtnl_route route;
	struct rtnl_link link;
	struct rtnl_addr addr;
	struct rtnl_neigh neigh;

	if (rtnl_link_parse(h, &link))
		CLAIM(strnlen(link.name, sizeof link.name) < sizeof link.name && strnlen(link.alias, sizeof link.alias) < sizeof link.alias);
	if (rtnl_route_parse(h, &route))
		CLAIM(route.dst.len <= addr_bits(&route.dst.addr));
	rtnl_addr_parse(h, &addr);
	rtnl_neigh_parse(h, &neigh);
	on_answer(ctx, h);
	on_dumped(ctx, h);
}

static void ask(struct nl *nl, struct nft *n, unsigned who)
{
	struct nl_answer answer = { .data = on_message, .ctx = n };
	struct err e = { 0 };

	if (who == 0)
		nl_events(nl, 0, on_message, n);
	else if (who == 1) {
		rtnl_link_get(nl, "eth0", 0);
		rtnl_link_get(nl, "eth1", 0);
		nl_commit(nl, &answer, &e);
	} else {
		rtnl_link_dump_request(nl);
		nl_dump(nl, NULL, on_message, n, &e);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nl nl = { .fd = -1, .protocol = NETLINK_ROUTE };
	struct nft n = { .command = { .fd = -1 }, .reading = 1 };

	if (!size)
		return 0;
	told = data + 1;
	told_len = size - 1;
	base_sets(&n);
	ask(&nl, &n, data[0] % 3);
	have_done(&n);
	askers_free(&n);
	ruleset_free(&n.rules);
	nl_close(&nl);
	return 0;
}
