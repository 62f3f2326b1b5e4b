/* links: src/model/config.c src/model/config_value.c src/base/prefix.c src/base/fs.c src/base/str.c src/base/err.c src/base/util.c src/base/log.c src/base/digest.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/util.h"
#include "model/config.h"

static char path[] = "/tmp/test_config.XXXXXX";
static struct str reported;		/* what config_read() said, a line each, without the path */

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	setenv("NODE_NAME", "edge-07", 1);
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	str_free(&reported);
	return unlink(path);
}

static void report(void *ctx, const char *text)
{
	assert_ptr_equal(ctx, path);
	assert_true(str_prefix(text, path));
	str_printf(&reported, "%s\n", text + strlen(path));
}

static int read_text(struct config *c, const char *text, size_t len)
{
	struct err e = { 0 };

	str_clear(&reported);
	if (fs_replace(AT_FDCWD, path, text, len, 0600) < 0)
		fail_msg("%s", path);
	if (config_init(c, &e) < 0)
		fail_msg("%s", e.text);
	return config_read(c, path, false, report, path);
}

/* The text is taken. */
static struct config config_of(const char *text)
{
	struct config c;

	if (read_text(&c, text, strlen(text)) < 0)
		fail_msg("%s", str_text(&reported));
	return c;
}

/* The text is refused with want; each error a line ":LINE: text". */
static void assert_refused(const char *text, const char *want)
{
	struct config c;

	assert_int_equal(read_text(&c, text, strlen(text)), -EINVAL);
	assert_string_equal(str_text(&reported), want);
}

static void defaults_are_the_contract_s(void **state)
{
	struct config c = config_of("");

	(void)state;
	assert_string_equal(c.node_name, "edge-07");
	assert_int_equal(c.node_address.how, ADDRESS_AUTO);
	assert_int_equal(c.datastore.driver, DATASTORE_FILE);
	assert_string_equal(c.datastore.where, "/var/lib/manx/store");
	assert_string_equal(c.run_dir, "/run/manx");
	assert_string_equal(c.state_dir, "/var/lib/manx");
	assert_string_equal(c.cni_conf_dir, "/etc/cni/net.d");
	assert_string_equal(c.cni_bin_dir, "/opt/cni/bin");
	assert_int_equal(c.pools.count, 1);
	assert_string_equal(prefix_text(&c.pools.cidr[0]).s, "10.42.0.0/16");
	assert_int_equal(c.block_size, 26);
	assert_int_equal(c.block_size_v6, 122);
	assert_int_equal(c.encapsulation, ENCAP_AUTO);
	assert_true(c.nat_outgoing);
	assert_int_equal(c.ipam, IPAM_BLOCK);
	assert_int_equal(c.ipam_reserve, 8);
	assert_int_equal(c.nft_owner, NFT_OWNER_AUTO);
	assert_int_equal(c.bgp, BGP_OFF);
	assert_int_equal(c.as_number, 64512);
	assert_int_equal(c.bgp_peers.count, 0);
	assert_int_equal(c.bgp_listen, 179);
	assert_int_equal(c.metrics_listen.port, 0);
	assert_int_equal(c.health_listen.port, 9099);
	assert_string_equal(addr_text(&c.health_listen.address).s, "127.0.0.1");
	assert_int_equal(c.log_level, LOG_INFO);
	assert_int_equal(config_check(&c, NULL), 0);
}

static void every_form_is_read(void **state)
{
	struct config c = config_of(
		"# a comment\n"
		"\t # another\r\n"
		"node_name=a.b-c\n"
		"  node_address\t=  10.0.0.7/24,fd00::7/64   # behind a blank\n"
		"datastore = etcd https://10.0.0.1:2379,http://[fd00::1]:2379/#frag\n"
		"api_address = 10.0.0.1,[fd00::1]:6443\n"
		"run_dir = /tmp/a b#c\n"
		"cni_conf_dir =\n"
		"cni_bin_dir =   # nothing\n"
		"pool = 10.43.0.0/16\n"
		"pool = fd00:42::/64\n"
		"block_size = 32\nblock_size_v6 = 116\n"
		"encapsulation = vxlan-cross-subnet\nnat_outgoing = no\nipam = podcidr\nipam_reserve = 0\n"
		"nft_owner = no\nbgp = peers\nas_number = 1.10\n"
		"bgp_peer = 192.0.2.1 as 64500\nbgp_peer = fd00::9   as 4294967295\n"
		"bgp_listen =\nmetrics_listen = [::1]:9100\nhealth_listen = \nlog_level = debug");

	(void)state;
	assert_string_equal(c.node_name, "a.b-c");
	assert_int_equal(c.node_address.how, ADDRESS_GIVEN);
	assert_string_equal(prefix_text(&c.node_address.given[FAMILY_V4]).s, "10.0.0.7/24");
	assert_string_equal(prefix_text(&c.node_address.given[FAMILY_V6]).s, "fd00::7/64");
	assert_int_equal(c.datastore.driver, DATASTORE_ETCD);
	assert_string_equal(c.datastore.where, "https://10.0.0.1:2379,http://[fd00::1]:2379/#frag");
	assert_int_equal(c.api_address.count, 2);
	assert_string_equal(addr_text(&c.api_address.server[0].address).s, "10.0.0.1");
	assert_int_equal(c.api_address.server[0].port, 0);
	assert_string_equal(addr_text(&c.api_address.server[1].address).s, "fd00::1");
	assert_int_equal(c.api_address.server[1].port, 6443);
	assert_string_equal(c.run_dir, "/tmp/a b#c");
	assert_string_equal(c.cni_conf_dir, "");
	assert_string_equal(c.cni_bin_dir, "");
	assert_int_equal(c.pools.count, 2);
	assert_string_equal(prefix_text(&c.pools.cidr[0]).s, "10.43.0.0/16");
	assert_string_equal(prefix_text(&c.pools.cidr[1]).s, "fd00:42::/64");
	assert_int_equal(c.block_size, 32);
	assert_int_equal(c.block_size_v6, 116);
	assert_int_equal(c.encapsulation, ENCAP_VXLAN_CROSS_SUBNET);
	assert_false(c.nat_outgoing);
	assert_int_equal(c.ipam, IPAM_PODCIDR);
	assert_int_equal(c.ipam_reserve, 0);
	assert_int_equal(c.nft_owner, NFT_OWNER_NO);
	assert_int_equal(c.bgp, BGP_PEERS);
	assert_int_equal(c.as_number, 65546);
	assert_int_equal(c.bgp_peers.count, 2);
	assert_string_equal(addr_text(&c.bgp_peers.peer[1].address).s, "fd00::9");
	assert_true(c.bgp_peers.peer[0].asn == 64500 && c.bgp_peers.peer[1].asn == UINT32_MAX);
	assert_int_equal(c.bgp_listen, 0);
	assert_int_equal(c.metrics_listen.port, 9100);
	assert_string_equal(addr_text(&c.metrics_listen.address).s, "::1");
	assert_int_equal(c.health_listen.port, 0);
	assert_int_equal(c.log_level, LOG_DEBUG);
}

static void node_address_forms(void **state)
{
	struct config c = config_of("node_address = interface eth0.10\n");

	(void)state;
	assert_int_equal(c.node_address.how, ADDRESS_INTERFACE);
	assert_string_equal(c.node_address.interface, "eth0.10");
	c = config_of("node_address = cidr 192.168.0.0/16\n");
	assert_int_equal(c.node_address.how, ADDRESS_CIDR);
	assert_string_equal(prefix_text(&c.node_address.given[0]).s, "192.168.0.0/16");
	c = config_of("node_address = reach 2001:db8::1\n");
	assert_int_equal(c.node_address.how, ADDRESS_REACH);
	assert_string_equal(prefix_text(&c.node_address.given[0]).s, "2001:db8::1/128");
	c = config_of("node_address = fd00::7/64,10.0.0.7/24\n");
	assert_string_equal(prefix_text(&c.node_address.given[FAMILY_V4]).s, "10.0.0.7/24");
	c = config_of("node_address = fd00::7/64\n");
	assert_int_equal(c.node_address.given[FAMILY_V4].addr.family, 0);
	assert_string_equal(prefix_text(&c.node_address.given[FAMILY_V6]).s, "fd00::7/64");
}

static void datastore_forms_and_the_default_pool(void **state)
{
	struct config c = config_of("datastore = kubernetes\n");

	(void)state;
	assert_int_equal(c.datastore.driver, DATASTORE_KUBERNETES);
	assert_string_equal(c.datastore.where, "");
	assert_int_equal(c.pools.count, 0);
	assert_false(c.pools.given);
	c = config_of("pool = 10.0.0.0/8\ndatastore = kubernetes /root/.kube/config\n");
	assert_string_equal(c.datastore.where, "/root/.kube/config");
	assert_int_equal(c.pools.count, 1);
	assert_true(c.pools.given);
	c = config_of("datastore = file /srv/store\n");
	assert_string_equal(c.datastore.where, "/srv/store");
	assert_int_equal(c.pools.count, 1);
	c = config_of("datastore = etcd http://10.0.0.1:2379\n");
	assert_int_equal(c.pools.count, 1);
}

static void bad_lines_are_all_named(void **state)
{
	(void)state;
	assert_refused("nonsense\n\npod_cidr = 10.0.0.0/8\nlog_level = info\nlog_level = debug\nblock_size = 33\n= 7\n",
		       ":1: nonsense: want key = value\n"
		       ":3: pod_cidr: unknown key\n"
		       ":5: log_level: given twice, first in line 4\n"
		       ":6: block_size: 33: want a number from 20 to 32\n"
		       ":7: =: want key = value\n");
}

static void bad_values_are_refused(void **state)
{
	static const char *const rows[] = {
		"node_name = Edge", "node_name = a_b", "node_name = -a", "node_name = a-", "node_name = a..b", "node_name = .a",
		"node_name = a.", "node_name = a.-b", "node_name =", "node_name = a b",
		"node_address =", "node_address = 10.0.0.7", "node_address = 10.0.0.7/33", "node_address = eth0",
		"node_address = 10.0.0.7/24,", "node_address = ,10.0.0.7/24", "node_address = 10.0.0.7/24,10.0.0.8/24",
		"node_address = 10.0.0.7/24,fd00::1/64,fd00::2/64", "node_address = 127.0.0.1/8", "node_address = fe80::1/64",
		"node_address = 169.254.3.4/16", "node_address = 0.0.0.0/0", "node_address = 224.0.0.1/4",
		"node_address = interface", "node_address = interface a/b", "node_address = interface sixteen-letters-",
		"node_address = interface a b", "node_address = interface ..", "node_address = cidr 10.0.0.0",
		"node_address = cidr 10.0.0.1/8", "node_address = cidr", "node_address = reach 10.0.0.0/8",
		"node_address = reach", "node_address = reach gateway", "node_address = automatic",
		"datastore =", "datastore = file", "datastore = file store", "datastore = files /x", "datastore = etcd",
		"datastore = etcd 10.0.0.1:2379", "datastore = etcd http://", "datastore = etcd http:///x",
		"datastore = etcd http://a,", "datastore = etcd http://a, http://b", "datastore = kubernetes config",
		"datastore = mysql",
		"api_address = kubernetes", "api_address = 10.0.0.1,", "api_address = ,10.0.0.1", "api_address = 10.0.0.1:0",
		"api_address = 10.0.0.1:", "api_address = fd00::1", "api_address = [fd00::1", "api_address = [10.0.0.1]:1",
		"api_address = 10.0.0.1, 10.0.0.2", "api_address = 1.1.1.1,2.2.2.2,1.1.1.1,2.2.2.2,1.1.1.1,2.2.2.2,1.1.1.1,2.2.2.2,1.1.1.1",
		"run_dir =", "run_dir = run", "state_dir =", "state_dir = ./x", "cni_conf_dir = x", "cni_bin_dir = x",
		"pool =", "pool = 10.0.0.1", "pool = 10.0.0.0", "pool = 10.0.0.1/8", "pool = 169.254.0.0/24", "pool = fe80::/64",
		"pool = 127.1.0.0/16", "pool = 224.0.0.0/8", "pool = ff00::/16", "pool = ::/0", "pool = 0.0.0.0/0",
		"pool = 10.0.0.0/8 10.0.0.0/9", "block_size = 19", "block_size = 33", "block_size = -1", "block_size = 26x",
		"block_size = 0x1a", "block_size = 26.0", "block_size =", "block_size_v6 = 115", "block_size_v6 = 129",
		"encapsulation = IPIP", "encapsulation = geneve", "encapsulation =", "nat_outgoing = true", "nat_outgoing = 1",
		"nat_outgoing =", "ipam = blocks", "ipam =", "ipam_reserve = 257", "ipam_reserve = -1", "ipam_reserve =",
		"nft_owner = yes", "nft_owner =", "bgp = on", "bgp =", "as_number = 0", "as_number = 4294967296",
		"as_number = 65536.1", "as_number = 1.65536", "as_number = 1.", "as_number = .1", "as_number = 0.0",
		"as_number = 1.2.3", "as_number =", "bgp_peer = 192.0.2.1", "bgp_peer = 192.0.2.1 as", "bgp_peer = 192.0.2.1 AS 1",
		"bgp_peer = 192.0.2.1 as 0", "bgp_peer = 192.0.2.1/32 as 1", "bgp_peer = as 1", "bgp_peer = 192.0.2.1 as 1 2",
		"bgp_peer = router as 1", "bgp_peer = 192.0.2.1 asx 1", "bgp_listen = 65536", "bgp_listen = bgp",
		"metrics_listen = 9100", "metrics_listen = :9100", "metrics_listen = 127.0.0.1", "metrics_listen = 127.0.0.1:0",
		"metrics_listen = 127.0.0.1:65536", "metrics_listen = ::1:9100", "metrics_listen = [127.0.0.1]:9100",
		"metrics_listen = [::1]9100", "metrics_listen = [::1]:", "metrics_listen = [:9100", "health_listen = localhost:9099",
		"health_listen = [", "health_listen = ]:1", "log_level = trace", "log_level =", "LOG_LEVEL = info",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config c;
		int rc = read_text(&c, rows[i], strlen(rows[i]));

		if (rc != -EINVAL)
			fail_msg("\"%s\" was taken", rows[i]);
		assert_true(str_prefix(str_text(&reported), ":1: "));
		assert_memory_equal(reported.s + 4, rows[i], strcspn(rows[i], " "));
		assert_true(reported.len > 6);
	}
}

static void errors_say_what_would_do(void **state)
{
	(void)state;
	assert_refused("pool = 10.42.7.0/16\n",
		       ":1: pool: 10.42.7.0/16: bits behind the prefix length are set, want 10.42.0.0/16\n");
	assert_refused("pool = 10.42.0.0/16\npool = 10.42.128.0/17\n",
		       ":2: pool: 10.42.128.0/17: overlaps pool 10.42.0.0/16\n");
	assert_refused("pool = fe80::/64\n", ":1: pool: fe80::/64: link-local addresses are no pool\n");
	assert_refused("encapsulation =\n", ":1: encapsulation: an empty value; want auto, ipip, ipip-cross-subnet, "
		       "vxlan, vxlan-cross-subnet or none\n");
	assert_refused("bgp_peer = 192.0.2.1 as 1\nbgp_peer = 192.0.2.1 as 2\n", ":2: bgp_peer: 192.0.2.1: given twice\n");
	assert_refused("nat_outgoing = maybe\n", ":1: nat_outgoing: maybe: want yes or no\n");
}

static void long_values_are_refused_not_cut(void **state)
{
	char line[700], want[16];

	(void)state;
	memset(line, 'x', sizeof line);
	for (unsigned len = CONFIG_PATH_MAX - 2; len < CONFIG_PATH_MAX + 1; len++) {
		struct config c;
		int n = snprintf(line, sizeof line, "run_dir = /");

		memset(line + n, 'x', len - 1);
		line[(unsigned)n + len - 1] = '\0';
		assert_int_equal(read_text(&c, line, strlen(line)), len < CONFIG_PATH_MAX ? 0 : -EINVAL);
	}
	memset(line, 'a', 266);
	memcpy(line, "node_name = ", 12);
	line[12 + 253] = '\0';
	assert_int_equal(strlen(config_of(line).node_name), 253);
	line[12 + 253] = 'a';
	line[12 + 254] = '\0';
	snprintf(want, sizeof want, ":1: node_name");
	assert_int_equal(read_text(&(struct config){ 0 }, line, strlen(line)), -EINVAL);
	assert_true(str_prefix(str_text(&reported), want));
}

static void lists_have_a_limit(void **state)
{
	autostr struct str b = { 0 }, p = { 0 };
	struct config c;

	(void)state;
	for (int i = 0; i < CONFIG_POOLS_MAX; i++)
		str_printf(&b, "pool = 10.%d.0.0/16\n", i);
	c = config_of(b.s);
	assert_int_equal(c.pools.count, CONFIG_POOLS_MAX);
	str_puts(&b, "pool = 10.99.0.0/16\n");
	assert_refused(b.s, ":17: pool: 10.99.0.0/16: more than 16 pools\n");
	for (int i = 0; i <= CONFIG_PEERS_MAX; i++)
		str_printf(&p, "bgp_peer = 10.0.0.%d as 1\n", i);
	assert_refused(p.s, ":33: bgp_peer: 10.0.0.32: more than 32 peers\n");
}

static void files_that_cannot_be_read(void **state)
{
	struct config c;

	(void)state;
	assert_int_equal(read_text(&c, "log_level = info\0\n", 18), -EILSEQ);
	assert_string_equal(str_text(&reported), ": not a text file\n");
	unlink(path);
	str_clear(&reported);
	assert_int_equal(config_read(&c, path, true, report, path), 0);
	assert_int_equal(reported.len, 0);
	assert_int_equal(config_read(&c, path, false, report, path), -ENOENT);
	assert_string_equal(str_text(&reported), ": No such file or directory\n");
	assert_int_equal(fs_replace(AT_FDCWD, path, "", 0, 0600), 0);
}

static void sets_go_over_the_file(void **state)
{
	struct config c = config_of("pool = 10.1.0.0/16\npool = 10.2.0.0/16\nbgp_peer = 10.0.0.1 as 1\nlog_level = err\n");
	struct config_sets sets = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(config_set(&c, &sets, "pool=10.3.0.0/16", &e), 0);
	assert_int_equal(c.pools.count, 1);
	assert_int_equal(config_set(&c, &sets, " pool = 10.1.0.0/16 ", &e), 0);
	assert_int_equal(c.pools.count, 2);
	assert_string_equal(prefix_text(&c.pools.cidr[1]).s, "10.1.0.0/16");
	assert_int_equal(config_set(&c, &sets, "bgp_peer=", &e), 0);
	assert_int_equal(c.bgp_peers.count, 0);
	assert_int_equal(config_set(&c, &sets, "log_level=debug", &e), 0);
	assert_int_equal(c.log_level, LOG_DEBUG);
	assert_int_equal(config_set(&c, &sets, "log_level=info", &e), -EINVAL);
	assert_string_equal(e.text, "log_level: given twice");
	assert_int_equal(config_set(&c, &sets, "bgp_listen", &e), -EINVAL);
	assert_string_equal(e.text, "bgp_listen: want key=value");
	assert_int_equal(config_set(&c, &sets, "pools=1", &e), -EINVAL);
	assert_string_equal(e.text, "pools: unknown key");
	assert_int_equal(config_set(&c, &sets, "block_size=5", &e), -EINVAL);
	assert_string_equal(e.text, "block_size: 5: want a number from 20 to 32");
	assert_int_equal(config_set(&c, &sets, "run_dir=/a=b", &e), 0);
	assert_string_equal(c.run_dir, "/a=b");
}

static void datastore_by_set_decides_the_default_pool(void **state)
{
	struct config c = config_of("");
	struct config_sets sets = { 0 };

	(void)state;
	assert_int_equal(config_set(&c, &sets, "datastore=kubernetes", NULL), 0);
	assert_int_equal(c.pools.count, 0);
	c = config_of("datastore = kubernetes\n");
	sets.seen = 0;
	assert_int_equal(config_set(&c, &sets, "datastore=file /srv", NULL), 0);
	assert_int_equal(c.pools.count, 1);
	c = config_of("pool = 10.9.0.0/16\n");
	sets.seen = 0;
	assert_int_equal(config_set(&c, &sets, "datastore=kubernetes", NULL), 0);
	assert_string_equal(prefix_text(&c.pools.cidr[0]).s, "10.9.0.0/16");
}

static void pools_must_hold_a_block(void **state)
{
	struct config c = config_of("block_size = 24\n\npool = 10.0.0.0/24\npool = 10.1.0.0/25\n");
	struct config_sets sets = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(config_check(&c, &e), -EINVAL);
	assert_true(str_prefix(e.text, path));
	assert_string_equal(e.text + strlen(path), ":4: pool: 10.1.0.0/25: smaller than a block (block_size = 24)");
	assert_int_equal(config_set(&c, &sets, "block_size=25", &e), 0);
	assert_int_equal(config_check(&c, &e), 0);
	assert_int_equal(config_set(&c, &sets, "pool=fd00::/123", &e), 0);
	assert_int_equal(config_check(&c, &e), -EINVAL);
	assert_string_equal(e.text, "pool: fd00::/123: smaller than a block (block_size_v6 = 122)");
	assert_int_equal(config_set(&c, &sets, "ipam=podcidr", &e), 0);
	assert_int_equal(config_check(&c, &e), 0);
}

static void node_name_comes_from_the_environment_or_the_host(void **state)
{
	char host[256] = "";
	struct config c;
	struct err e = { 0 };

	(void)state;
	setenv("NODE_NAME", "Not_A_Name", 1);
	assert_int_equal(config_init(&c, &e), 0);
	assert_string_equal(c.node_name, "");
	assert_int_equal(config_check(&c, &e), -EINVAL);
	assert_true(str_prefix(e.text, "node_name: "));
	unsetenv("NODE_NAME");
	assert_int_equal(config_init(&c, &e), 0);
	gethostname(host, sizeof host - 1);
	for (char *p = host; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	assert_true(strcmp(c.node_name, host) == 0 || !*c.node_name);
	setenv("NODE_NAME", "edge-07", 1);
}

/* "#key = value" in the file, in the table's order, each below a comment, and nothing else. */
static void example_file_is_the_table(void **state)
{
	autostr struct str file = { 0 }, active = { 0 };
	const char *name, *def, *before = "";
	struct config from_file, defaults;
	unsigned n = 0;

	(void)state;
	if (fs_read(AT_FDCWD, "config/manx.conf", 65536, &file) < 0)
		fail_msg("config/manx.conf: not found from here");
	for (char *line = file.s, *next; *line; before = line, line = next) {
		char want[128];

		next = line + strcspn(line, "\n");
		assert_int_equal(*next, '\n');
		*next++ = '\0';
		if (!*line)
			continue;
		assert_int_equal(line[0], '#');
		if (line[1] == ' ')
			continue;
		assert_true(config_key(n++, &name, &def));
		assert_int_equal(before[1], ' ');
		snprintf(want, sizeof want, "#%s =%s%s", name, def && *def ? " " : "", def ? def : "");
		if (def)
			assert_string_equal(line, want);
		else
			assert_true(str_prefix(line, want));
		str_printf(&active, "%s\n", line + 1);
	}
	assert_false(config_key(n, &name, &def));

	defaults = config_of("bgp_peer = 192.0.2.1 as 64500\n");
	from_file = config_of(active.s);
	memset(from_file.pools.line, 0, sizeof from_file.pools.line);
	from_file.pools.given = false;
	assert_memory_equal(&from_file.pools, &defaults.pools, sizeof defaults.pools);
	assert_memory_equal(&from_file.node_address, &defaults.node_address, sizeof defaults.node_address);
	assert_memory_equal(&from_file.datastore, &defaults.datastore, sizeof defaults.datastore);
	assert_string_equal(from_file.run_dir, defaults.run_dir);
	assert_string_equal(from_file.state_dir, defaults.state_dir);
	assert_int_equal(from_file.bgp_peers.count, 1);
	assert_int_equal(from_file.bgp_listen, defaults.bgp_listen);
	assert_memory_equal(&from_file.health_listen.address, &defaults.health_listen.address, sizeof (struct addr));
	assert_int_equal(from_file.health_listen.port, defaults.health_listen.port);
	assert_true(from_file.health_listen.asked && !defaults.health_listen.asked);
}

/* What manx.conf(5) says about a key: moves *at from its item to the next. */
static struct str manual_item(const char **at, const char *name)
{
	static const char begin[] = "\n.It Ic ";
	struct str item = { 0 };
	const char *end;

	*at = strstr(*at, begin);
	if (!*at || !str_prefix(*at + strlen(begin), name) || !str_prefix(*at + strlen(begin) + strlen(name), " No = "))
		fail_msg("manx.conf.5: want an item \"%s\" at \"%.40s\"", name, *at ? *at + 1 : "its end");
	end = strstr(++*at, begin);
	if (!end)
		end = strstr(*at, "\n.El\n");
	assert_non_null(end);
	str_add(&item, *at, (size_t)(end + 1 - *at));
	*at = end;
	return item;
}

/* Every key in the table's order, with its default. */
static void manual_is_the_table(void **state)
{
	autostr struct str file = { 0 };
	const char *at, *name, *def;

	(void)state;
	if (fs_read(AT_FDCWD, "config/man/manx.conf.5", 65536, &file) < 0)
		fail_msg("config/man/manx.conf.5: not found from here");
	at = file.s;
	for (unsigned n = 0; config_key(n, &name, &def); n++) {
		autostr struct str item = manual_item(&at, name);
		char want[128];

		snprintf(want, sizeof want, def && *def ? "\n.br\nDefault:\n.Ql %s .\n" : "\n.br\nDefault: ", def);
		if (!strstr(item.s, want))
			fail_msg("manx.conf.5: %s: want its default: %s", name, def ? def : "none");
	}
	assert_null(strstr(at, "\n.It Ic "));
}

/* The manual says "Not in this version." of exactly the keys that the agent refuses so. */
static void manual_says_what_is_not_built(void **state)
{
	static const char *const asking[] = { "bgp=mesh", "bgp_peer=192.0.2.1 as 64500",
					      "metrics_listen=127.0.0.1:9100", "health_listen=127.0.0.1:9099" };
	autostr struct str file = { 0 };
	const char *at, *name, *def;

	(void)state;
	assert_int_equal(fs_read(AT_FDCWD, "config/man/manx.conf.5", 65536, &file), 0);
	at = file.s;
	for (unsigned n = 0; config_key(n, &name, &def); n++) {
		autostr struct str item = manual_item(&at, name);
		bool absent = false;

		for (size_t i = 0; i < ARRAY_SIZE(asking); i++) {
			struct config c = config_of("");
			struct config_sets sets = { 0 };

			if (!str_prefix(asking[i], name) || asking[i][strlen(name)] != '=')
				continue;
			assert_int_equal(config_set(&c, &sets, asking[i], NULL), 0);
			absent = config_built(&c, NULL) < 0;
		}
		if (absent != !!strstr(item.s, "Not in this version."))
			fail_msg("manx.conf.5: %s is %sbuilt", name, absent ? "not " : "");
	}
}

static void a_running_agent_takes_what_it_can_and_names_the_rest(void **state)
{
	struct config c = config_of("log_level = info\npool = 10.1.0.0/16\npool = 10.2.0.0/16\nbgp_listen =\n");
	const struct config same = config_of("# moved\npool = 10.1.0.0/16\npool = 10.2.0.0/16\nbgp_listen =\n");
	const struct config now = config_of("log_level = debug\npool = 10.1.0.0/16\nnat_outgoing = no\nrun_dir = /x\n"
					    "bgp_listen = 180\nmetrics_listen =\n");
	autostr struct str restart = { 0 };

	(void)state;
	config_take(&c, &same, &restart);
	assert_string_equal(str_text(&restart), "");
	config_take(&c, &now, &restart);
	assert_string_equal(str_text(&restart), "run_dir, bgp_listen");
	assert_int_equal(c.log_level, LOG_DEBUG);
	assert_int_equal(c.pools.count, 1);
	assert_false(c.nat_outgoing);
	assert_string_equal(c.run_dir, "/run/manx");
	assert_int_equal(c.bgp_listen, 0);
	str_clear(&restart);
	config_take(&c, &now, &restart);
	assert_string_equal(str_text(&restart), "run_dir, bgp_listen");	/* until it is restarted */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_the_contract_s),
		cmocka_unit_test(every_form_is_read),
		cmocka_unit_test(node_address_forms),
		cmocka_unit_test(datastore_forms_and_the_default_pool),
		cmocka_unit_test(bad_lines_are_all_named),
		cmocka_unit_test(bad_values_are_refused),
		cmocka_unit_test(errors_say_what_would_do),
		cmocka_unit_test(long_values_are_refused_not_cut),
		cmocka_unit_test(lists_have_a_limit),
		cmocka_unit_test(files_that_cannot_be_read),
		cmocka_unit_test(sets_go_over_the_file),
		cmocka_unit_test(datastore_by_set_decides_the_default_pool),
		cmocka_unit_test(pools_must_hold_a_block),
		cmocka_unit_test(a_running_agent_takes_what_it_can_and_names_the_rest),
		cmocka_unit_test(node_name_comes_from_the_environment_or_the_host),
		cmocka_unit_test(example_file_is_the_table),
		cmocka_unit_test(manual_is_the_table),
		cmocka_unit_test(manual_says_what_is_not_built),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
