/* Results and errors, in the version that was asked for. */
#include <stdio.h>
#include <string.h>

#include "cni/cni_int.h"

void result_error(struct str *out, const char *version, int code, const char *text)
{
	struct json_out o = { .to = out };

	json_open(&o, NULL, '{');
	json_put_string(&o, "cniVersion", version && cni_version_known(version) ? version : "1.0.0");
	json_put_int(&o, "code", code);
	json_put_string(&o, "msg", text);
	json_close(&o, '}');
	str_puts(out, "\n");
}

void result_versions(struct str *out, const char *version)
{
	struct json_out o = { .to = out };

	json_open(&o, NULL, '{');
	json_put_string(&o, "cniVersion", version && cni_version_known(version) ? version : "1.0.0");
	json_open(&o, "supportedVersions", '[');
	for (const char *const *v = cni_versions; *v; v++)
		json_put_string(&o, NULL, *v);
	json_close(&o, ']');
	json_close(&o, '}');
	str_puts(out, "\n");
}

void result_interface(struct json_out *o, const char *name, const uint8_t mac[6], unsigned mtu, const char *sandbox)
{
	json_open(o, NULL, '{');
	json_put_string(o, "name", name);
	json_put_string(o, "mac", mac_text(mac).s);
	if (mtu)
		json_put_int(o, "mtu", mtu);
	if (sandbox)
		json_put_string(o, "sandbox", sandbox);
	json_close(o, '}');
}

void result_ips(struct json_out *o, const char *version, const struct prefix ips[FAMILIES], int interface)
{
	json_open(o, "ips", '[');
	for (int f = 0; f < FAMILIES; f++) {
		if (!ips[f].addr.family)
			continue;
		json_open(o, NULL, '{');
		if (version[0] == '0')
			json_put_string(o, "version", f == FAMILY_V6 ? "6" : "4");
		json_put_string(o, "address", prefix_text(&ips[f]).s);
		if (interface >= 0)
			json_put_int(o, "interface", interface);
		json_close(o, '}');
	}
	json_close(o, ']');
}

/* As the network configuration has it. */
static void put_dns(struct json_out *o, const struct cni_request *r)
{
	json_value dns = json_get(&r->conf, 0, "dns");
	const char *raw = "{}";
	size_t len = 2;

	if (json_type(&r->conf, dns) == JSON_OBJECT)
		raw = json_raw(&r->conf, dns, &len);
	json_put_raw(o, "dns", raw, len);
}

void result_add(struct str *out, const struct cni_request *r, const struct endpoint *ep)
{
	const bool newest = strcmp(r->version, "1.1.0") == 0;
	struct json_out o = { .to = out };
	struct prefix ips[FAMILIES];

	json_open(&o, NULL, '{');
	json_put_string(&o, "cniVersion", r->version);
	json_open(&o, "interfaces", '[');
	result_interface(&o, ep->host_if, end_host_mac, newest ? ep->mtu : 0, NULL);
	result_interface(&o, ep->ifname, ep->mac, newest ? ep->mtu : 0, r->netns);
	json_close(&o, ']');
	for (int f = 0; f < FAMILIES; f++)
		ips[f] = prefix_host(&ep->ips[f]);
	result_ips(&o, r->version, ips, 1);
	put_dns(&o, r);
	json_close(&o, '}');
	str_puts(out, "\n");
}

void result_addresses(struct str *out, const struct cni_request *r)
{
	struct json_out o = { .to = out };
	struct prefix ips[FAMILIES];

	for (int f = 0; f < FAMILIES; f++)
		ips[f] = prefix_host(&r->ips[f]);
	json_open(&o, NULL, '{');
	json_put_string(&o, "cniVersion", r->version);
	result_ips(&o, r->version, ips, -1);
	put_dns(&o, r);
	json_close(&o, '}');
	str_puts(out, "\n");
}
