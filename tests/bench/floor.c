/*
 * floor SOCKET: the least that attaching a pod the Calico way costs on this kernel.
 *
 * A daemon of one thread that serves stub.c: "ADD n NETNS", "DEL n", "LAZ n" (the link is deleted later).
 * An ADD is three sendmsg: host end with settings and route; pod end with address, neighbour and routes;
 * one element of an nftables map.  Interface indexes are chosen here, so that nothing has to be asked.
 * No datastore, no checks, IPv4 only.
 */
#define _GNU_SOURCE
#include "nl.h"
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/un.h>
#include <unistd.h>

enum { ACK = NLM_F_ACK, NEW = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, LAZY_MAX = 65536, GROUP = 77 };

static struct nlbuf B;
static int home, route_fd, nft_fd;
static const unsigned char host_mac[6] = { 0xee, 0xee, 0xee, 0xee, 0xee, 0xee };
static uint32_t gateway;

static int host_index(int pod)
{
	return 100000 + pod;
}

static uint32_t pod_ip(int pod)
{
	return htonl(0x0a410002u + pod);
}

static void talk(int fd, const char *what)
{
	int rc = nl_talk(fd, &B);

	if (rc < 0) {
		fprintf(stderr, "floor: %s: %s\n", what, strerror(-rc));
		exit(1);
	}
}

static int socket_in(int netns)
{
	int fd;

	if (setns(netns, CLONE_NEWNET) < 0)
		die("setns");
	fd = nl_open(NETLINK_ROUTE);
	if (setns(home, CLONE_NEWNET) < 0)
		die("setns home");
	return fd;
}

static void veth_end(const char *name, const unsigned char *mac)
{
	nl_str(&B, IFLA_IFNAME, name);
	nl_put(&B, IFLA_ADDRESS, mac, 6);
	nl_u32(&B, IFLA_MTU, 1450);
	nl_u32(&B, IFLA_NUM_TX_QUEUES, 1);
	nl_u32(&B, IFLA_NUM_RX_QUEUES, 1);
}

static void veth(int pod, int netns)
{
	struct ifinfomsg host = { .ifi_index = host_index(pod), .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct ifinfomsg peer = { .ifi_index = 2 };
	struct nlattr *info, *data, *nest;
	unsigned char mac[6] = { 0x0a, 0x58 };
	uint32_t ip = pod_ip(pod);
	char name[IFNAMSIZ];

	snprintf(name, sizeof name, "cali%08x", pod);
	memcpy(mac + 2, &ip, 4);
	nl_begin(&B, RTM_NEWLINK, NEW, &host, sizeof host);
	veth_end(name, host_mac);
	info = nl_nest(&B, IFLA_LINKINFO);
	nl_str(&B, IFLA_INFO_KIND, "veth");
	data = nl_nest(&B, IFLA_INFO_DATA);
	nest = nl_nest(&B, VETH_INFO_PEER);
	memcpy(nl_room(&B, sizeof peer), &peer, sizeof peer);
	veth_end("eth0", mac);
	nl_u32(&B, IFLA_NET_NS_FD, netns);
	nl_unnest(&B, nest);
	nl_unnest(&B, data);
	nl_unnest(&B, info);
}

static void settings(int index)
{
	struct ifinfomsg i = { .ifi_index = index };
	struct nlattr *spec, *inet, *conf;

	nl_begin(&B, RTM_SETLINK, ACK, &i, sizeof i);
	spec = nl_nest(&B, IFLA_AF_SPEC);
	inet = nl_nest(&B, AF_INET);
	conf = nl_nest(&B, IFLA_INET_CONF);
	nl_u32(&B, IPV4_DEVCONF_FORWARDING, 1);
	nl_u32(&B, IPV4_DEVCONF_RP_FILTER, 1);
	nl_unnest(&B, conf);
	nl_unnest(&B, inet);
	nl_unnest(&B, spec);
}

static void route(int type, uint32_t dst, int len, uint32_t via, int index)
{
	struct rtmsg r = { .rtm_family = AF_INET, .rtm_dst_len = len, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = 80,
			   .rtm_scope = via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK, .rtm_type = RTN_UNICAST,
			   .rtm_flags = via ? RTNH_F_ONLINK : 0 };

	nl_begin(&B, type, type == RTM_NEWROUTE ? NEW : ACK, &r, sizeof r);
	if (len)
		nl_put(&B, RTA_DST, &dst, 4);
	if (via)
		nl_put(&B, RTA_GATEWAY, &via, 4);
	nl_u32(&B, RTA_OIF, index);
}

static void pod_end(uint32_t ip)
{
	struct ifinfomsg up = { .ifi_index = 2, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct ifaddrmsg a = { .ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = 2 };
	struct ndmsg n = { .ndm_family = AF_INET, .ndm_ifindex = 2, .ndm_state = NUD_PERMANENT };

	nl_begin(&B, RTM_NEWLINK, ACK, &up, sizeof up);
	nl_begin(&B, RTM_NEWADDR, NEW, &a, sizeof a);
	nl_put(&B, IFA_LOCAL, &ip, 4);
	nl_put(&B, IFA_ADDRESS, &ip, 4);
	nl_begin(&B, RTM_NEWNEIGH, NEW, &n, sizeof n);
	nl_put(&B, NDA_DST, &gateway, 4);
	nl_put(&B, NDA_LLADDR, host_mac, 6);
	route(RTM_NEWROUTE, gateway, 32, 0, 2);
	route(RTM_NEWROUTE, 0, 0, gateway, 2);
}

static void element(int type, uint32_t ip)
{
	struct nlattr *list, *element, *key, *data, *verdict;
	uint32_t go_to = htonl((uint32_t)NFT_GOTO);

	nft_batch(&B, NFNL_MSG_BATCH_BEGIN);
	nft_msg(&B, type, type == NFT_MSG_NEWSETELEM ? NEW : ACK);
	nl_str(&B, NFTA_SET_ELEM_LIST_TABLE, "floor");
	nl_str(&B, NFTA_SET_ELEM_LIST_SET, "pods");
	list = nl_nest(&B, NFTA_SET_ELEM_LIST_ELEMENTS);
	element = nl_nest(&B, NFTA_LIST_ELEM);
	key = nl_nest(&B, NFTA_SET_ELEM_KEY);
	nl_put(&B, NFTA_DATA_VALUE, &ip, 4);
	nl_unnest(&B, key);
	if (type == NFT_MSG_NEWSETELEM) {
		data = nl_nest(&B, NFTA_SET_ELEM_DATA);
		verdict = nl_nest(&B, NFTA_DATA_VERDICT);
		nl_put(&B, NFTA_VERDICT_CODE, &go_to, 4);
		nl_str(&B, NFTA_VERDICT_CHAIN, "p0");
		nl_unnest(&B, verdict);
		nl_unnest(&B, data);
	}
	nl_unnest(&B, element);
	nl_unnest(&B, list);
	nft_batch(&B, NFNL_MSG_BATCH_END);
	talk(nft_fd, "nftables element");
}

static int add(int pod, const char *path, char *answer, size_t size)
{
	int netns = open(path, O_RDONLY | O_CLOEXEC), fd;
	struct in_addr ip = { pod_ip(pod) };

	if (netns < 0)
		die(path);
	veth(pod, netns);
	settings(host_index(pod));
	route(RTM_NEWROUTE, ip.s_addr, 32, 0, host_index(pod));
	talk(route_fd, "host end");
	fd = socket_in(netns);
	pod_end(ip.s_addr);
	talk(fd, "pod end");
	close(fd);
	close(netns);
	element(NFT_MSG_NEWSETELEM, ip.s_addr);
	return snprintf(answer, size, "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"cali%08x\"},"
			"{\"name\":\"eth0\",\"sandbox\":\"%s\"}],\"ips\":[{\"address\":\"%s/32\",\"interface\":1}]}\n",
			pod, path, inet_ntoa(ip));
}

static void link_del(int pod)
{
	struct ifinfomsg i = { .ifi_index = host_index(pod) };

	nl_begin(&B, RTM_DELLINK, ACK, &i, sizeof i);
	talk(route_fd, "link");
}

/* The links of a burst: moved to a group, then one RTM_DELLINK, one grace period for all. */
static void reap(const int *pods, int count)
{
	struct ifinfomsg all = { 0 };

	for (int i = 0; i < count; i++) {
		struct ifinfomsg m = { .ifi_index = host_index(pods[i]) };

		nl_begin(&B, RTM_SETLINK, ACK, &m, sizeof m);
		nl_u32(&B, IFLA_GROUP, GROUP);
		if (B.len > sizeof B.b / 2 || i + 1 == count)
			nl_talk(route_fd, &B);	/* some died with their namespace */
	}
	nl_begin(&B, RTM_DELLINK, ACK, &all, sizeof all);
	nl_u32(&B, IFLA_GROUP, GROUP);
	nl_talk(route_fd, &B);
}

static int lazy[LAZY_MAX], lazy_count;

static int serve(char *text, size_t size)
{
	char verb[8], path[256] = "";
	int pod;

	if (sscanf(text, "%7s %d %255s", verb, &pod, path) < 2)
		return 0;
	if (!strcmp(verb, "ADD"))
		return add(pod, path, text, size);
	element(NFT_MSG_DELSETELEM, pod_ip(pod));
	if (!strcmp(verb, "DEL")) {
		link_del(pod);
	} else {
		route(RTM_DELROUTE, pod_ip(pod), 32, 0, host_index(pod));
		talk(route_fd, "route");
		lazy[lazy_count++ % LAZY_MAX] = pod;
	}
	return snprintf(text, size, "{}\n");
}

static int listen_on(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	if (fd < 0 || bind(fd, (void *)&a, sizeof a) < 0 || listen(fd, 256) < 0)
		die(path);
	return fd;
}

int main(int argc, char **argv)
{
	struct pollfd wait = { .events = POLLIN };
	char text[512];

	if (argc != 2)
		return 2;
	gateway = inet_addr("169.254.1.1");
	home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	route_fd = nl_open(NETLINK_ROUTE);
	nft_fd = nl_open(NETLINK_NETFILTER);
	wait.fd = listen_on(argv[1]);
	for (;;) {
		ssize_t size;
		int c;

		if (lazy_count && poll(&wait, 1, 20) == 0) {
			reap(lazy, lazy_count);
			lazy_count = 0;
		}
		if ((c = accept4(wait.fd, NULL, NULL, SOCK_CLOEXEC)) < 0)
			continue;
		if ((size = recv(c, text, sizeof text - 1, 0)) > 0) {
			text[size] = '\0';
			size = serve(text, sizeof text);
			send(c, text, size, MSG_NOSIGNAL);
		}
		close(c);
	}
}
