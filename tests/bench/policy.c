/*
 * What policies cost, on the real kernel, in a network namespace that the caller made:
 *
 *	build/bench-policy PODS POLICIES PORTS PEERS [unique]
 *
 * PODS pods here, each with POLICIES policies of PORTS ports that let in PEERS pods of other nodes (unique: every pod
 * has a label of its own, and each policy means a part of them all).  Prints microseconds; the table stays.
 * The measured pod is the last one, 10.65.0.2; it lets 10.0.0.2 in on UDP 8080.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "nft/policy.h"
#include "store/kind.h"

static struct config config;
static struct model model;
static struct loop loop;

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static long memory_kb(void)
{
	char line[128];
	long sum = 0, value;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "SUnreclaim: %ld", &value) == 1 || sscanf(line, "Percpu: %ld", &value) == 1 ||
		    sscanf(line, "VmallocUsed: %ld", &value) == 1)
			sum += value;
	if (f)
		fclose(f);
	return sum;
}

static void put(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void put(const char *fmt, ...)
{
	static char text[1 << 16];
	struct object_ref ref;
	struct err e = { 0 };
	struct row *row;
	struct json j;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (json_parse(&j, text, strlen(text), &e) < 0 || !(row = kind_decode(&j, 0, &ref, &e)) || e.code)
		log_die("bench", "%s: %s", e.text, text);
	json_free(&j);
	table_put(kind_table(ref.kind, &model), row);
}

static void put_pod(const char *name, const char *label, const char *ip)
{
	put("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"%s\"}},"
	    "\"spec\":{\"nodeName\":\"other\"},\"status\":{\"podIP\":\"%s\"}}", name, label, ip);
}

static void put_endpoint(unsigned i, const char *ip)
{
	struct endpoint *e = row_new(sizeof *e);
	char text[64];

	snprintf(text, sizeof text, "c%u/eth0", i);
	e->row.key = arena_str(&e->row.mem, text);
	snprintf(text, sizeof text, "pod%u", i);
	e->pod = arena_str(&e->row.mem, text);
	e->namespace = "default";
	e->ifindex = (int)i + 100;
	addr_parse(&e->ips[FAMILY_V4], ip, NULL);
	e->row.digest = i;
	table_put(&model.endpoints, &e->row);
}

/* Policy k of pod i: the last one is what the measured packet needs, the others have other ports. */
static void put_policy(unsigned i, unsigned k, unsigned policies, unsigned ports, const char *peers)
{
	static char list[1 << 15];
	size_t len = 0;

	for (unsigned p = 0; p < ports; p++)
		len += (size_t)snprintf(list + len, sizeof list - len, "%s{\"protocol\":\"UDP\",\"port\":%u}", p ? "," : "",
					(k + 1 == policies ? 8080 : 9000 + k * ports) + p);
	put("{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"NetworkPolicy\",\"metadata\":{\"name\":\"p%u-%u\"},\"spec\":{"
	    "\"podSelector\":{\"matchLabels\":{\"app\":\"pod%u\"}},\"ingress\":[{\"from\":[{\"podSelector\":{\"matchLabels\":"
	    "{\"app\":\"%s\"}}}],\"ports\":[%s]}]}}", i, k, i, peers, list);
}

/* Each means a part of all the pods, none the same part. */
static void put_unique_policy(unsigned k, unsigned pods)
{
	static char list[1 << 15];
	size_t len = 0;

	for (unsigned i = k; i < pods; i += k + 2)
		len += (size_t)snprintf(list + len, sizeof list - len, "%s\"pod%u\"", len ? "," : "", i);
	put("{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"NetworkPolicy\",\"metadata\":{\"name\":\"u%u\"},\"spec\":{"
	    "\"podSelector\":{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"In\",\"values\":[%s]}]},\"ingress\":[{\"from\":"
	    "[{\"podSelector\":{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"NotIn\",\"values\":[\"pod%u\"]}]}}],"
	    "\"ports\":[{\"port\":%u}]}]}}", k, list, k, 80 + k);
}

static void pass(const char *what, struct nft *n, unsigned times)
{
	double wall = now_us(), cpu = cpu_us(), want = now_us();

	nft_want(n);
	model_clean(&model);		/* so that the run only sends */
	want = now_us() - want;
	nft_run(n);
	printf("%-26s %10.1f us, of it deciding %9.1f us, cpu %10.1f us", what, (now_us() - wall) / times, want / times,
	       (cpu_us() - cpu) / times);
	printf("; %u sets, %u rules, %u elements%s\n", nft_counts(n).sets, nft_counts(n).rules, nft_counts(n).elements,
	       nft_settled(n) ? "" : " NOT SETTLED");
}

int main(int argc, char **argv)
{
	unsigned pods = argc > 1 ? (unsigned)atoi(argv[1]) : 1000, policies = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
	unsigned ports = argc > 3 ? (unsigned)atoi(argv[3]) : 10, peers = argc > 4 ? (unsigned)atoi(argv[4]) : 100;
	bool unique = argc > 5;
	struct err e = { 0 };
	struct nft *n;
	char a[64], b[64], ip[64];
	long kb;

	str_copy(config.node_name, sizeof config.node_name, "self");
	model_init(&model, &config);
	loop_open(&loop);
	model.complete = model.endpoints_known = true;
	n = nft_new(&loop, &model, &e);
	if (!n)
		log_die("bench", "%s", e.text);
	pass("empty", n, 1);
	for (unsigned i = 0; i < pods; i++) {
		if (i + 1 < pods)
			snprintf(ip, sizeof ip, "10.66.%u.%u", i / 250, i % 250 + 2);
		else
			str_copy(ip, sizeof ip, "10.65.0.2");
		snprintf(a, sizeof a, "pod%u", i);
		put_pod(a, a, ip);
		put_endpoint(i, ip);
	}
	pass("pods", n, 1);
	for (unsigned i = 0; i < pods && !unique; i++)
		for (unsigned k = 0; k < peers; k++) {
			snprintf(a, sizeof a, "peer%u-%u", i, k);
			snprintf(b, sizeof b, "peer%u", i);
			snprintf(ip, sizeof ip, "10.%u.%u.%u", 100 + i / 100, i % 100 * 2 + k / 250, k % 250 + 1);
			put_pod(a, b, i + 1 == pods && !k ? "10.0.0.2" : ip);
		}
	pass("peers, no policy", n, 1);
	for (unsigned i = 0; i < pods && !unique; i++)
		for (unsigned k = 0; k < policies; k++) {
			snprintf(b, sizeof b, "peer%u", i);
			put_policy(i, k, policies, ports, b);
		}
	for (unsigned k = 0; k < policies && unique; k++)
		put_unique_policy(k, pods);
	sleep(2);
	kb = memory_kb();
	pass("policies, cold", n, 1);
	sleep(2);			/* what the commit gave back is free by then */
	printf("kernel memory %ld KiB\n", memory_kb() - kb);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(a, sizeof a, "new%u", i);
		snprintf(ip, sizeof ip, "10.99.0.%u", i + 1);
		put_pod(a, "peer0", ip);
		pass("a peer more", n, 1);
	}
	for (unsigned i = 0; i < 40; i++) {
		put_policy(0, 0, 2, 10 + i, "peer0");
		pass("a policy changes", n, 1);
	}
	nft_free(n);
	return 0;
}
