/*
 * packets COUNT ROUNDS est|new  SENDER RECEIVER SOURCE DESTINATION ...    What a forwarded UDP packet costs.
 *
 * Each path is two network namespaces (files) and two IPv4 addresses; COUNT packets a round go to port 8080, round
 * by round over all paths, so that noise hits them alike.  est: the receiver has sent first, so what comes is
 * an answer; new: each packet has a source port of its own.  The whole way runs in the sender's system call.
 * Prints a line a path: nanoseconds a packet (lower quartile of the rounds), and how many of a hundred arrived.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATHS_MAX = 32, ROUNDS_MAX = 1000, PORT = 8080, SENDERS_PORT = 40000, FIRST_PORT = 1024, LENGTH = 46, WARM_UP = 2 };

struct path {
	const char *sender, *receiver;
	struct sockaddr_in from, to;
	int plain, raw;
	uint16_t port;
	uint8_t packet[LENGTH];
	long received;
	double ns[ROUNDS_MAX];
};

static void enter(const char *netns)
{
	int fd = open(netns, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		err(1, "%s", netns);
	close(fd);
}

static long received(const struct path *p)
{
	char line[512];
	long bytes, packets = 0;
	FILE *f;

	enter(p->receiver);
	if (!(f = fopen("/proc/thread-self/net/dev", "r")))
		err(1, "/proc/thread-self/net/dev");
	while (fgets(line, sizeof line, f)) {
		char *eth0 = strstr(line, "eth0:");

		if (eth0)
			sscanf(eth0 + 5, "%ld %ld", &bytes, &packets);
	}
	fclose(f);
	return packets;
}

static struct sockaddr_in address(const char *text, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (inet_pton(AF_INET, text, &a.sin_addr) != 1)
		errx(1, "%s: no IPv4 address", text);
	return a;
}

static int bound(int type, int protocol, const struct sockaddr_in *a)
{
	int fd = socket(AF_INET, type, protocol), size = 8 << 20;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0 ||
	    (a && bind(fd, (const struct sockaddr *)a, sizeof *a) < 0))
		err(1, "socket");
	return fd;
}

/* The receiver speaks first: then its flow is established when the sender's packets come. */
static void speak_first(const struct path *p)
{
	int fd;

	enter(p->receiver);
	fd = bound(SOCK_DGRAM, 0, &p->to);
	for (int i = 0; i < 3; i++)
		if (sendto(fd, "x", 1, 0, (const struct sockaddr *)&p->from, sizeof p->from) < 0)
			err(1, "%s speaks first", p->receiver);
	close(fd);
}

static void path_open(struct path *p, int established)
{
	if (established)
		speak_first(p);
	enter(p->sender);
	p->plain = bound(SOCK_DGRAM, 0, &p->from);
	if (connect(p->plain, (const struct sockaddr *)&p->to, sizeof p->to) < 0)
		err(1, "connect");
	p->raw = bound(SOCK_RAW, IPPROTO_RAW, NULL);
	p->port = FIRST_PORT;
	p->packet[0] = 0x45;
	p->packet[3] = LENGTH;
	p->packet[8] = 64;
	p->packet[9] = IPPROTO_UDP;
	memcpy(p->packet + 12, &p->from.sin_addr, 4);
	memcpy(p->packet + 16, &p->to.sin_addr, 4);
	memcpy(p->packet + 22, &p->to.sin_port, 2);
	p->packet[25] = LENGTH - 20;
	p->received = received(p);
}

static void send_established(struct path *p, long count)
{
	for (long i = 0; i < count; i++)
		if (send(p->plain, p->packet + 28, LENGTH - 28, 0) < 0)
			err(1, "send");
}

static void send_new(struct path *p, long count)
{
	for (long i = 0; i < count; i++) {
		p->packet[20] = p->port >> 8;
		p->packet[21] = (uint8_t)p->port;
		p->port = p->port == UINT16_MAX ? FIRST_PORT : p->port + 1;
		if (sendto(p->raw, p->packet, LENGTH, 0, (const struct sockaddr *)&p->to, sizeof p->to) < 0)
			err(1, "send");
	}
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static struct path paths[PATHS_MAX];
	const struct timespec pause = { .tv_nsec = 200000 };
	cpu_set_t last;
	int count = (argc - 4) / 4;

	if (argc < 8 || (argc - 4) % 4 || count > PATHS_MAX)
		errx(2, "usage: packets COUNT ROUNDS est|new SENDER RECEIVER SOURCE DESTINATION ...");
	const long packets = atol(argv[1]), rounds = atol(argv[2]) < ROUNDS_MAX ? atol(argv[2]) : ROUNDS_MAX;
	const int established = strcmp(argv[3], "est") == 0;

	CPU_ZERO(&last);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &last);
	sched_setaffinity(0, sizeof last, &last);
	for (int i = 0; i < count; i++) {
		char **a = argv + 4 + 4 * i;

		paths[i].sender = a[0];
		paths[i].receiver = a[1];
		paths[i].from = address(a[2], SENDERS_PORT);
		paths[i].to = address(a[3], PORT);
		path_open(&paths[i], established);
	}
	for (long r = -WARM_UP; r < rounds; r++) {
		for (int i = 0; i < count; i++) {
			double begun = now_ns();

			(established ? send_established : send_new)(&paths[i], packets);
			if (r >= 0)
				paths[i].ns[r] = (now_ns() - begun) / packets;
			nanosleep(&pause, NULL);
		}
	}
	for (int i = 0; i < count; i++) {
		qsort(paths[i].ns, rounds, sizeof(double), by_number);
		printf("%.0f %.0f\n", paths[i].ns[rounds / 4],
		       100.0 * (received(&paths[i]) - paths[i].received) / (packets * (rounds + WARM_UP)));
	}
	return 0;
}
