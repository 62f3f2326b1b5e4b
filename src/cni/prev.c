/*
 * CHECK's prevResult against what ADD made: both ends and every address must be
 * in it.  What plugins after us added to it is theirs.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "cni/cni_int.h"

struct prev_interface {
	const char *name, *mac, *sandbox;	/* NULL: not said */
	uint32_t mtu;				/* 0: not said (before 1.1.0) */
};

struct prev_result {
	struct prev_interface *interfaces;
	struct prefix *ips;
	unsigned interface_count, ip_count;
};

static int read_interface(struct json_ctx *c, json_value v, void *item)
{
	static const struct json_field fields[] = {
		{ "name", offsetof(struct prev_interface, name), json_read_string, true },
		{ "mac", offsetof(struct prev_interface, mac), json_read_string, false },
		{ "sandbox", offsetof(struct prev_interface, sandbox), json_read_string, false },
		{ "mtu", offsetof(struct prev_interface, mtu), json_read_u32, false },
	};

	return json_fields(c, v, fields, ARRAY_SIZE(fields), item);
}

/* Others' addresses have host bits. */
static int read_address(struct json_ctx *c, json_value v, void *field)
{
	const char *text = json_string(c->j, v, c->mem);
	struct err e = { 0 };

	if (!text)
		return json_refuse(c, v, "want a string");
	return prefix_parse(field, text, &e) < 0 ? json_refuse(c, v, "%s", e.text) : 0;
}

static int read_ip(struct json_ctx *c, json_value v, void *item)
{
	static const struct json_field fields[] = { { "address", 0, read_address, true } };

	return json_fields(c, v, fields, ARRAY_SIZE(fields), item);
}

static int read_interfaces(struct json_ctx *c, json_value v, void *out)
{
	struct prev_result *p = out;
	void *items = NULL;
	int rc = json_array(c, v, sizeof *p->interfaces, read_interface, &items, &p->interface_count);

	p->interfaces = items;
	return rc;
}

static int read_ips(struct json_ctx *c, json_value v, void *out)
{
	struct prev_result *p = out;
	void *items = NULL;
	int rc = json_array(c, v, sizeof *p->ips, read_ip, &items, &p->ip_count);

	p->ips = items;
	return rc;
}

static int read_result(const struct json *j, json_value v, struct arena *mem, struct prev_result *p, struct err *e)
{
	static const struct json_field fields[] = {
		{ "interfaces", 0, read_interfaces, false }, { "ips", 0, read_ips, false },
	};
	struct json_ctx c = { .j = j, .mem = mem, .e = e };

	if (json_type(j, v) != JSON_OBJECT)
		return json_refuse(&c, v, "want an object");
	return json_fields(&c, v, fields, ARRAY_SIZE(fields), p);
}

/* The pod's end has a sandbox, the host's has none; both may have one name. */
static const struct prev_interface *find_end(const struct prev_result *p, const struct end *end, bool inside)
{
	for (unsigned i = 0; i < p->interface_count; i++) {
		const struct prev_interface *at = &p->interfaces[i];

		if (strcmp(at->name, end->name) == 0 && (at->sandbox && *at->sandbox) == inside)
			return at;
	}
	return NULL;
}

static int compare_end(const struct prev_result *p, struct end *end, bool inside, struct err *e)
{
	const struct prev_interface *said = find_end(p, end, inside);

	if (!said)
		return err_set(e, ESTALE, "prevResult has no interface %s %s the pod", end->name, inside ? "in" : "outside");
	if (said->mac && *said->mac && strcasecmp(said->mac, mac_text(end->mac).s) != 0)
		return err_set(e, ESTALE, "prevResult says that interface %s has MAC %s, ADD gave it %s", end->name, said->mac,
			       mac_text(end->mac).s);
	if (said->mtu)
		end->mtu = said->mtu;
	return 0;
}

static int compare_ips(const struct prev_result *p, const struct end *pod, struct err *e)
{
	for (unsigned i = 0; i < pod->addr_count; i++) {
		const struct prefix *own = &pod->addrs[i].address;
		bool said = false;

		for (unsigned k = 0; k < p->ip_count; k++)
			said |= prefix_equal(&p->ips[k], own);
		if (!said)
			return err_set(e, ESTALE, "prevResult lacks address %s, which ADD gave", prefix_text(own).s);
	}
	return 0;
}

int prev_check(const struct json *conf, struct arena *mem, struct end ends[ENDS], struct err *e)
{
	json_value v = json_get(conf, 0, "prevResult");
	struct prev_result p = { 0 };

	if (read_result(conf, v, mem, &p, e) < 0)
		return CNI_DECODE;
	if (compare_end(&p, &ends[HOST_END], false, e) < 0 || compare_end(&p, &ends[POD_END], true, e) < 0 ||
	    compare_ips(&p, &ends[POD_END], e) < 0)
		return CNI_CHANGED;
	return CNI_OK;
}
