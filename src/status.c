/* `manx status`: one screen, or one JSON document whose keys stay. */
#include "status.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/fs.h"
#include "base/util.h"
#include "model/policy.h"
#include "wire/json.h"

static uint64_t rss_bytes(void)
{
	autostr struct str text = { 0 };
	char *resident;		/* the second number, in pages */
	uint64_t pages = 0;

	if (fs_read(AT_FDCWD, "/proc/self/statm", 256, &text) < 0 || !(resident = strchr(str_text(&text), ' ')))
		return 0;
	resident[1 + strcspn(resident + 1, " ")] = '\0';
	str_u64(resident + 1, UINT32_MAX, &pages);
	return pages * getauxval(AT_PAGESZ);
}

static void put_problems(struct json_out *o, const struct model *m)
{
	const struct problem *p;

	json_open(o, "problems", '[');
	table_each(&m->problems, p) {
		json_open(o, NULL, '{');
		json_put_string(o, "sub", p->sub);
		json_put_string(o, "text", p->text);
		json_put_string(o, "remedy", p->remedy);
		json_close(o, '}');
	}
	json_close(o, ']');
}

/* A group of counts: name, then key and value pairs up to a NULL key. */
struct count { const char *key; int64_t value; };
static void put_counts(struct json_out *o, const char *name, const struct count *counts)
{
	json_open(o, name, '{');
	for (; counts->key; counts++)
		json_put_int(o, counts->key, counts->value);
	json_close(o, '}');
}

bool agent_is_ready(const struct agent *a)
{
	return a->ready && !a->model.ipvs_link;
}

static void show_json(const struct agent *a, struct str *out)
{
	const struct uplink *up = model_uplink(&a->model);
	struct ipam_counts ipam = ipam_own_counts(a->pass.ipam);
	struct nft_counts nft = nft_counts(a->pass.nft);
	struct overlay_status overlay;
	struct json_out o = { .to = out };

	route_overlay_status(a->pass.route, &overlay);
	json_open(&o, NULL, '{');
	json_put_bool(&o, "ready", agent_is_ready(a));
	json_put_string(&o, "version", MANX_VERSION);
	json_put_string(&o, "node", a->config->node_name);
	json_open(&o, "addresses", '[');
	for (int f = 0; up && f < FAMILIES; f++)
		if (up->address[f].addr.family)
			json_put_string(&o, NULL, prefix_text(&up->address[f]).s);
	json_close(&o, ']');
	json_open(&o, "datastore", '{');
	json_put_string(&o, "driver", a->store.driver->name);
	json_put_string(&o, "state", store_state_text(&a->store));
	json_close(&o, '}');
	put_counts(&o, "cni", (struct count[]){ { "pods", a->model.endpoints.count }, { NULL, 0 } });
	put_counts(&o, "ipam", (struct count[]){ { "blocks", ipam.blocks }, { "used", ipam.used }, { "size", ipam.size },
						 { NULL, 0 } });
	json_open(&o, "overlay", '{');
	json_put_string(&o, "mode", overlay.mode);
	json_put_string(&o, "device", overlay.device);
	json_put_int(&o, "mtu", overlay.mtu);
	json_put_int(&o, "peers", overlay.peers);
	json_put_string(&o, "problem", overlay.problem);
	json_close(&o, '}');
	put_counts(&o, "bgp", (struct count[]){ { "peers", 0 }, { "established", 0 }, { NULL, 0 } });
	put_counts(&o, "policy", (struct count[]){ { "policies", policy_count(&a->model) }, { "rules", nft.rules }, { "sets", nft.sets },
						   { "elements", nft.elements }, { NULL, 0 } });
	put_counts(&o, "process", (struct count[]){ { "rss_bytes", rss_bytes() }, { "pid", getpid() }, { NULL, 0 } });
	put_problems(&o, &a->model);
	json_close(&o, '}');
	str_puts(out, "\n");
}

static void show_text(const struct agent *a, struct str *out)
{
	const struct uplink *up = model_uplink(&a->model);
	struct ipam_counts ipam = ipam_own_counts(a->pass.ipam);
	struct nft_counts nft = nft_counts(a->pass.nft);
	struct overlay_status overlay;
	const struct problem *p;
	const unsigned rss = (unsigned)((rss_bytes() * 10 + (1 << 19)) >> 20);	/* in tenths */

	route_overlay_status(a->pass.route, &overlay);
	str_printf(out, "manx %s  %s  %s  pid %d  rss %u.%u MiB\n", MANX_VERSION, a->config->node_name,
		   agent_is_ready(a) ? "ready" : "not ready", (int)getpid(), rss / 10, rss % 10);
	str_puts(out, "  address    ");
	for (int f = 0; up && f < FAMILIES; f++)
		if (up->address[f].addr.family)
			str_printf(out, " %s", prefix_text(&up->address[f]).s);
	str_printf(out, "\n  datastore   %s, %s\n", a->store.driver->name, store_state_text(&a->store));
	str_printf(out, "  cni         %u pods\n", a->model.endpoints.count);
	str_printf(out, "  ipam        %u blocks, %u of %u addresses used\n", ipam.blocks, ipam.used, ipam.size);
	if (*overlay.mode)
		str_printf(out, "  overlay     %s on %s, mtu %u, %u peers\n", overlay.mode, overlay.device, overlay.mtu,
			   overlay.peers);
	else
		str_puts(out, "  overlay     none\n");
	str_printf(out, "  policy      %u policies, %u rules, %u sets, %u elements\n", policy_count(&a->model),
		   nft.rules, nft.sets, nft.elements);
	str_puts(out, "  bgp         not in this version\n");
	table_each(&a->model.problems, p)
		str_printf(out, "  problem     %s: %s%s%s\n", p->sub, p->text, *p->remedy ? " -> " : "", p->remedy);
}

void status_show(const struct agent *a, struct str *out, bool json)
{
	if (json)
		show_json(a, out);
	else
		show_text(a, out);
}
