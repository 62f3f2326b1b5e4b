#include <errno.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "nl/nl.h"
#include "nl/rtnl.h"

/* On the plain socket: a plugin lives too short a time for the buffers of a struct nl. */
int rtnl_forwards(int fd, uint8_t family)
{
	_Alignas(struct nlmsghdr) char room[512] = { 0 };
	struct nlmsghdr *h = mnl_nlmsg_put_header(room);
	struct netconfmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);
	const struct nlattr *tb[NETCONFA_MAX + 1];
	uint32_t forwards;
	ssize_t n;

	h->nlmsg_type = RTM_GETNETCONF;
	h->nlmsg_flags = NLM_F_REQUEST;
	m->ncm_family = family;
	mnl_attr_put_u32(h, NETCONFA_IFINDEX, (uint32_t)NETCONFA_IFINDEX_ALL);
	if (send(fd, h, h->nlmsg_len, 0) < 0 || (n = recv(fd, room, sizeof room, MSG_DONTWAIT)) < 0)
		return -errno;
	if (!nl_message_ok(h, (int)n) || h->nlmsg_type != RTM_NEWNETCONF || !nl_attrs(h, sizeof *m, tb, NETCONFA_MAX) ||
	    !nl_attr_u32(tb[NETCONFA_FORWARDING], &forwards))
		return -ENOMSG;
	return forwards != 0;
}
