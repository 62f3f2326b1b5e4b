/* links: src/cni/ends.c src/cni/further.c src/model/model.c src/model/tunnel.c src/base/table.c src/base/hash.c src/cni/prev.c src/cni/result.c src/cni/rules.c src/nl/nl.c src/nl/nl_attr.c src/nl/rtnl_link.c src/nl/rtnl_route.c src/nl/rtnl_neigh.c src/wire/json.c src/wire/json_check.c src/wire/json_fields.c src/wire/json_out.c src/base/arena.c src/base/digest.c src/base/err.c src/base/fs.c src/base/log.c src/base/mac.c src/base/prefix.c src/base/str.c src/base/util.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "base/str.h"
#include "base/util.h"
#include "cni/cni_int.h"

/* What both ends have, as data; and CHECK's prevResult held against it. */

static struct endpoint endpoint(const char *v4, const char *v6)
{
	struct endpoint ep = { .network = "net", .container = "c1", .ifname = "eth0", .namespace = "", .pod = "",
			       .host_if = "cali0123456789a", .ifindex = 7 };

	if (v4)
		assert_int_equal(addr_parse(&ep.ips[FAMILY_V4], v4, NULL), 0);
	if (v6)
		assert_int_equal(addr_parse(&ep.ips[FAMILY_V6], v6, NULL), 0);
	end_mac(ep.mac, ep.ips);
	return ep;
}

static void both_families_give_each_end_its_parts(void **state)
{
	struct endpoint ep = endpoint("10.42.0.1", "fd00::1");
	struct end ends[ENDS];
	const struct end *host = &ends[HOST_END], *pod = &ends[POD_END];
	(void)state;

	ends_of(ends, &ep, 9);
	assert_string_equal(host->alias, "manx net c1 eth0");
	assert_string_equal(pod->alias, "");
	assert_int_equal(host->addr_count, 1);
	assert_string_equal(prefix_text(&host->addrs[0].address).s, "fe80::ecee:eeff:feee:eeee/64");
	assert_int_equal(host->neigh_count, 2);
	assert_string_equal(addr_text(&host->neighs[0].dst).s, "10.42.0.1");
	assert_string_equal(mac_text(host->neighs[1].mac).s, "0a:58:0a:2a:00:01");
	assert_int_equal(host->route_count, 2);
	assert_int_equal(host->routes[0].protocol, RTPROT_MANX_POD);
	assert_int_equal(host->routes[0].oif, 7);
	assert_int_equal(pod->addr_count, 2);
	assert_string_equal(prefix_text(&pod->addrs[1].address).s, "fd00::1/128");
	assert_int_equal(pod->neigh_count, 2);
	assert_string_equal(mac_text(pod->neighs[0].mac).s, "ee:ee:ee:ee:ee:ee");
	assert_int_equal(pod->route_count, 3);
	assert_string_equal(prefix_text(&pod->routes[0].dst).s, "169.254.1.1/32");
	assert_string_equal(prefix_text(&pod->routes[1].dst).s, "0.0.0.0/0");
	assert_string_equal(addr_text(&pod->routes[1].gateway).s, "169.254.1.1");
	assert_string_equal(prefix_text(&pod->routes[2].dst).s, "::/0");
	assert_int_equal(pod->routes[2].metric, 1024);
	for (unsigned i = 0; i < pod->route_count; i++)
		assert_int_equal(pod->routes[i].oif, 9);
}

static void one_family_leaves_the_other_out(void **state)
{
	static const struct { const char *v4, *v6; unsigned host_addrs, pod_routes; } rows[] = {
		{ "10.42.0.1", NULL, 0, 2 }, { NULL, "fd00::1", 1, 1 },
	};
	struct end ends[ENDS];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct endpoint ep = endpoint(rows[i].v4, rows[i].v6);

		ends_of(ends, &ep, 9);
		assert_int_equal(ends[HOST_END].addr_count, rows[i].host_addrs);
		assert_int_equal(ends[HOST_END].neigh_count, 1);
		assert_int_equal(ends[POD_END].addr_count, 1);
		assert_int_equal(ends[POD_END].neigh_count, 1);
		assert_int_equal(ends[POD_END].route_count, rows[i].pod_routes);
	}
}

static void alias_that_does_not_fit_is_empty(void **state)
{
	struct endpoint ep = endpoint("10.42.0.1", NULL);
	char container[201], alias[256];
	struct end ends[ENDS];
	(void)state;

	memset(container, 'c', 200);
	container[200] = '\0';
	ep.container = ep.network = container;
	ends_of(ends, &ep, 9);
	assert_string_equal(ends[HOST_END].alias, "");
	assert_false(end_alias(alias, &ep));
	ep.network = "n";
	assert_true(end_alias(alias, &ep));
}

static void a_mac_that_was_asked_for_is_in_the_alias(void **state)
{
	struct endpoint ep = endpoint("10.42.0.1", NULL);
	char alias[256];
	uint8_t mac[6];
	(void)state;

	assert_true(end_mac_parse(mac, "02:00:5E:10:00:ff"));
	memcpy(ep.mac, mac, sizeof mac);
	assert_true(end_alias(alias, &ep));
	assert_string_equal(alias, "manx net c1 eth0 02:00:5e:10:00:ff");
}

static void what_is_no_mac_of_a_device(void **state)
{
	static const char *const bad[] = { "", "02:00:5e:10:00", "02:00:5e:10:00:0", "02:00:5e:10:00:01:", "02-00-5e-10-00-01",
		"0g:00:5e:10:00:01", "02:00:5e:10:00:@1", "03:00:5e:10:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00" };
	uint8_t mac[6];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(end_mac_parse(mac, bad[i]));
}

static void the_pods_name_is_in_the_alias_where_it_fits(void **state)
{
	struct endpoint ep = endpoint("10.42.0.1", NULL);
	char alias[256], pod[254];

	(void)state;
	ep.namespace = "shop";
	ep.pod = "web-0";
	assert_true(end_alias(alias, &ep));
	assert_string_equal(alias, "manx net c1 eth0 shop/web-0");
	memset(pod, 'x', 253);
	pod[253] = '\0';
	ep.pod = pod;
	assert_true(end_alias(alias, &ep));
	assert_string_equal(alias, "manx net c1 eth0");
}

static void settings_are_one_message_with_its_alias(void **state)
{
	struct endpoint ep = endpoint("10.42.0.1", NULL);
	struct nl nl = { .fd = -1 };
	const struct nlattr *tb[IFLA_AF_SPEC + 1];
	const struct ifinfomsg *i;
	struct end ends[ENDS];
	char alias[64];
	(void)state;

	ends_of(ends, &ep, 9);
	end_put_settings(&nl, &ends[HOST_END]);
	assert_int_equal(nl.count, 1);
	const struct nlmsghdr *h = (const struct nlmsghdr *)nl.buf;

	assert_int_equal(h->nlmsg_type, RTM_SETLINK);
	i = mnl_nlmsg_get_payload(h);
	assert_int_equal(i->ifi_index, 7);
	assert_int_equal(i->ifi_flags, 0);
	assert_true(nl_attrs(h, sizeof *i, tb, IFLA_AF_SPEC));
	assert_true(nl_attr_text(tb[IFLA_IFALIAS], alias, sizeof alias));
	assert_string_equal(alias, "manx net c1 eth0");

	const struct nlattr *families[AF_INET6 + 1], *inet[IFLA_INET_CONF + 1];
	const struct nlattr *conf[IPV4_DEVCONF_MAX + 1];
	static const struct { unsigned attr, value; } wanted[] = {
		{ IPV4_DEVCONF_FORWARDING, 1 }, { IPV4_DEVCONF_RP_FILTER, 1 }, { IPV4_DEVCONF_PROXY_ARP, 0 },
	};
	uint32_t value;

	nl_attrs_nested(tb[IFLA_AF_SPEC], families, AF_INET6);
	nl_attrs_nested(families[AF_INET], inet, IFLA_INET_CONF);
	nl_attrs_nested(inet[IFLA_INET_CONF], conf, IPV4_DEVCONF_MAX);
	for (size_t n = 0; n < ARRAY_SIZE(wanted); n++) {
		assert_true(nl_attr_u32(conf[wanted[n].attr], &value));
		assert_int_equal(value, wanted[n].value);
	}
	nl_close(&nl);
}

/* ---- prevResult ---- */

#define HOST "{\"name\":\"cali0123456789a\",\"mac\":\"EE:ee:ee:ee:ee:ee\"}"
#define POD "{\"name\":\"eth0\",\"mac\":\"0a:58:0a:2a:00:01\",\"sandbox\":\"/ns\",\"mtu\":1450}"
#define IPS "[{\"address\":\"10.42.0.1/32\",\"interface\":1},{\"address\":\"fd00:0::1/128\",\"interface\":1}]"

static const struct {
	const char *prev;
	int code;
	const char *says;
} prevs[] = {
	{ "{\"interfaces\":[" HOST "," POD "],\"ips\":" IPS "}", CNI_OK, NULL },
	{ "{\"interfaces\":[" POD ",{\"name\":\"x\"}," HOST "],\"ips\":[{\"address\":\"192.0.2.7/24\"},{\"address\":\"fd00::1/128\"},"
	  "{\"address\":\"10.42.0.1/32\"}],\"routes\":[]}", CNI_OK, NULL },
	{ "{\"interfaces\":[{\"name\":\"cali0123456789a\"},{\"name\":\"eth0\",\"sandbox\":\"/ns\"}],\"ips\":" IPS "}", CNI_OK, NULL },
	{ "{}", CNI_CHANGED, "cali0123456789a" },
	{ "{\"interfaces\":[" HOST "],\"ips\":" IPS "}", CNI_CHANGED, "eth0" },
	{ "{\"interfaces\":[" HOST ",{\"name\":\"eth0\"}],\"ips\":" IPS "}", CNI_CHANGED, "eth0" },
	{ "{\"interfaces\":[" HOST ",{\"name\":\"eth0\",\"sandbox\":\"\"}],\"ips\":" IPS "}", CNI_CHANGED, "eth0" },
	{ "{\"interfaces\":[" HOST ",{\"name\":\"eth0\",\"sandbox\":\"/ns\",\"mac\":\"02:00:00:00:00:01\"}],\"ips\":" IPS "}",
	  CNI_CHANGED, "02:00:00:00:00:01" },
	{ "{\"interfaces\":[" HOST "," POD "],\"ips\":[{\"address\":\"10.42.0.1/32\"}]}", CNI_CHANGED, "fd00::1/128" },
	{ "{\"interfaces\":[" HOST "," POD "],\"ips\":[{\"address\":\"10.42.0.1/24\"},{\"address\":\"fd00::1/128\"}]}",
	  CNI_CHANGED, "10.42.0.1/32" },
	{ "[]", CNI_DECODE, "prevResult" },
	{ "7", CNI_DECODE, "prevResult" },
	{ "{\"interfaces\":7}", CNI_DECODE, "prevResult.interfaces" },
	{ "{\"interfaces\":[{\"mac\":\"x\"}]}", CNI_DECODE, "prevResult.interfaces[0].name" },
	{ "{\"interfaces\":[{\"name\":\"x\",\"mtu\":-1}]}", CNI_DECODE, "prevResult.interfaces[0].mtu" },
	{ "{\"ips\":[{\"address\":\"10.42.0/32\"}]}", CNI_DECODE, "prevResult.ips[0].address" },
	{ "{\"ips\":[{\"address\":7}]}", CNI_DECODE, "prevResult.ips[0].address" },
	{ "{\"ips\":[{}]}", CNI_DECODE, "prevResult.ips[0].address" },
};

static void prev_result_is_compared(void **state)
{
	struct endpoint ep = endpoint("10.42.0.1", "fd00::1");
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(prevs); i++) {
		autostr struct str conf = { 0 };
		struct arena mem = { 0 };
		struct end ends[ENDS];
		struct err e = { 0 };
		struct json j;

		str_printf(&conf, "{\"cniVersion\":\"1.1.0\",\"prevResult\":%s}", prevs[i].prev);
		assert_int_equal(json_parse(&j, conf.s, conf.len, &e), 0);
		ends_of(ends, &ep, 0);
		if (prev_check(&j, &mem, ends, &e) != prevs[i].code || (prevs[i].says && !strstr(e.text, prevs[i].says)))
			fail_msg("%s: \"%s\"", conf.s, e.text);
		json_free(&j);
		arena_free(&mem);
	}
}

static void prev_result_tells_the_mtu(void **state)
{
	static const char conf[] = "{\"prevResult\":{\"interfaces\":[" HOST "," POD "],\"ips\":" IPS "}}";
	struct endpoint ep = endpoint("10.42.0.1", "fd00::1");
	struct arena mem = { 0 };
	struct end ends[ENDS];
	struct err e = { 0 };
	struct json j;
	(void)state;

	assert_int_equal(json_parse(&j, conf, strlen(conf), &e), 0);
	ends_of(ends, &ep, 0);
	assert_int_equal(prev_check(&j, &mem, ends, &e), CNI_OK);
	assert_int_equal(ends[HOST_END].mtu, 0);
	assert_int_equal(ends[POD_END].mtu, 1450);
	json_free(&j);
	arena_free(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_families_give_each_end_its_parts),
		cmocka_unit_test(one_family_leaves_the_other_out),
		cmocka_unit_test(alias_that_does_not_fit_is_empty),
		cmocka_unit_test(a_mac_that_was_asked_for_is_in_the_alias),
		cmocka_unit_test(what_is_no_mac_of_a_device),
		cmocka_unit_test(the_pods_name_is_in_the_alias_where_it_fits),
		cmocka_unit_test(settings_are_one_message_with_its_alias),
		cmocka_unit_test(prev_result_is_compared),
		cmocka_unit_test(prev_result_tells_the_mtu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
