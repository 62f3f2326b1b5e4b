#include "route/route.h"

#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/util.h"
#include "route/route_int.h"

/* `manx routes`, and the overlay's line in `manx status`. */

static const char *const state_names[] = {
	[STATE_OK] = "ok", [STATE_MISSING] = "missing", [STATE_WAITING] = "waiting",
	[STATE_CONFLICT] = "conflict", [STATE_FAILED] = "failed",
};

static int object_cmp(const void *a, const void *b)
{
	const struct object *x = *(const struct object *const *)a, *y = *(const struct object *const *)b;

	return prefix_cmp(&x->key.dst, &y->key.dst);
}

/* A foreign route that stands inside a route of ours takes part of its traffic. */
static bool lies_in_ours(const struct route *r, const struct prefix *dst)
{
	struct prefix outer = *dst;

	while (outer.len > 0) {
		struct object_key k;
		const struct object *o;

		outer.len--;
		outer = prefix_mask(outer);
		k = key_route(&outer);
		o = object_find(r, &k);
		if (o && o->wants)
			return true;
	}
	return false;
}

static bool is_foreign(const struct route *r, const struct object *o, const struct kernel_route *k)
{
	if (route_is_ours(&k->route))
		return false;
	return o->wants ? k->route.metric <= ROUTE_METRIC : lies_in_ours(r, &o->key.dst);
}

/* The routes that are wanted, or that hold something foreign, in order. */
static struct object_list sorted_routes(const struct route *r)
{
	struct object_list l = { 0 };

	hash_each(&r->objects, n) {
		struct object *o = container_of(n, struct object, node);

		if (o->key.kind == OBJECT_ROUTE && (o->wants || o->routes))
			object_list_add(&l, o);
	}
	if (l.count)
		qsort(l.at, l.count, sizeof *l.at, object_cmp);
	return l;
}

/* What leaves through: the tunnel device, the link asked for, or the one that the kernel found. */
static const char *device_text(const struct route *r, const struct object *o, char *number, size_t size)
{
	const struct spec *s = &o->wants->spec;
	int oif = s->oif;
	const struct link *l;

	number[0] = '\0';
	if (s->tunnel)
		return r->devices[s->tunnel].want.name;
	for (const struct kernel_route *k = o->routes; k && !oif; k = k->next)
		oif = k->route.oif;
	l = link_find(r, oif);
	if (!l && oif)
		snprintf(number, size, "%d", oif);
	return l ? l->name : number;
}

static void json_text(struct str *out, const char *name, const char *text)
{
	str_printf(out, "\"%s\":\"", name);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			str_printf(out, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)	/* a link's name may hold any bytes */
			str_printf(out, "\\u%04x", c);
		else
			str_add(out, text, 1);
	}
	str_puts(out, "\"");
}

/* Columns: the longest of each but the last, as addresses of IPv6 need more room than those of IPv4. */
struct widths { int dst, via; };

static struct addr_text via_text(const struct spec *s)
{
	if (s->type == RTN_BLACKHOLE)
		return (struct addr_text){ "blackhole" };
	return s->via.family ? addr_text(&s->via) : (struct addr_text){ "-" };
}

static struct widths widths_of(const struct object_list *l)
{
	struct widths w = { strlen("DESTINATION"), strlen("blackhole") };

	for (unsigned i = 0; i < l->count; i++) {
		int dst, via;

		if (!l->at[i]->wants)
			continue;
		dst = strlen(prefix_text(&l->at[i]->key.dst).s);
		via = strlen(via_text(&l->at[i]->wants->spec).s);
		w.dst = dst > w.dst ? dst : w.dst;
		w.via = via > w.via ? via : w.via;
	}
	return w;
}

static void route_row(struct route *r, struct object *o, const struct widths *w, struct str *out, bool json, bool first)
{
	char number[16];
	const char *dev = device_text(r, o, number, sizeof number), *why = o->why ? o->why : "";
	const char *state = state_names[o->marked ? STATE_MISSING : o->state];
	const struct spec *s = &o->wants->spec;

	if (!json) {
		str_printf(out, "%-*s %-*s %-16s %-8u %s%s%s\n", w->dst, prefix_text(&o->key.dst).s, w->via, via_text(s).s,
			   *dev ? dev : "-", s->protocol, state, *why ? "  " : "", why);
		return;
	}
	str_puts(out, first ? "{" : ",{");
	json_text(out, "dst", prefix_text(&o->key.dst).s);
	str_puts(out, ",");
	json_text(out, "type", s->type == RTN_BLACKHOLE ? "blackhole" : "unicast");
	str_puts(out, ",");
	json_text(out, "via", addr_text(&s->via).s);
	str_puts(out, ",");
	json_text(out, "dev", dev);
	str_printf(out, ",\"protocol\":%u,", s->protocol);
	json_text(out, "state", state);
	str_puts(out, ",");
	json_text(out, "why", why);
	str_puts(out, "}");
}

static void conflict_row(struct route *r, const struct object *o, const struct kernel_route *k, struct str *out, bool json,
			 bool first)
{
	autostr struct str text = { 0 };

	route_text(r, &k->route, &text);
	if (!json) {
		str_printf(out, "%s%s %s: not ours, left alone\n", first ? "conflicts:\n  " : "  ",
			   prefix_text(&o->key.dst).s, str_text(&text));
		return;
	}
	str_puts(out, first ? "{" : ",{");
	json_text(out, "dst", prefix_text(&o->key.dst).s);
	str_printf(out, ",\"protocol\":%u,\"metric\":%u,", k->route.protocol, (unsigned)k->route.metric);
	json_text(out, "route", str_text(&text));
	str_puts(out, "}");
}

void route_show(struct route *r, struct str *out, bool json)
{
	struct object_list l = sorted_routes(r);
	const struct widths w = widths_of(&l);
	bool first = true;

	if (json)
		str_puts(out, "{\"routes\":[");
	else
		str_printf(out, "%-*s %-*s %-16s %-8s %s\n", w.dst, "DESTINATION", w.via, "VIA", "DEVICE", "PROTOCOL", "STATE");
	for (unsigned i = 0; i < l.count; i++) {
		if (!l.at[i]->wants)
			continue;
		route_row(r, l.at[i], &w, out, json, first);
		first = false;
	}
	if (json)
		str_puts(out, "],\"conflicts\":[");
	first = true;
	for (unsigned i = 0; i < l.count; i++) {
		for (const struct kernel_route *k = l.at[i]->routes; k; k = k->next) {
			if (!is_foreign(r, l.at[i], k))
				continue;
			conflict_row(r, l.at[i], k, out, json, first);
			first = false;
		}
	}
	if (json)
		str_puts(out, "]}\n");
	free(l.at);
}

static unsigned peers_count(const struct route *r, enum tunnel t)
{
	const struct node *n;
	unsigned count = 0;

	table_each(&r->model->nodes, n)
		count += node_is_peer(r, n, t);
	return count;
}

/* The mode that takes the tunnel to everybody goes before the one that does not. */
static enum encapsulation mode_of(const struct route *r, const struct tunnel_kind *k)
{
	for (unsigned i = 0; i < r->pool_count; i++)
		if (r->pools[i].encapsulation == k->always && r->pools[i].cidr.addr.family == family_of(k->family))
			return k->always;
	return k->cross_subnet;
}

void route_overlay_status(const struct route *r, struct overlay_status *out)
{
	*out = (struct overlay_status){ .mode = "", .device = "" };
	tunnel_each(t) {
		const struct device *d = &r->devices[t];
		unsigned peers = peers_count(r, t);

		if (!d->wanted)
			continue;
		out->peers = peers > out->peers ? peers : out->peers;
		if (!out->problem[0])
			str_copy(out->problem, sizeof out->problem, d->why);
		if (*out->device)
			continue;
		out->mode = encapsulation_text(mode_of(r, d->kind));
		out->device = d->want.name;
		out->mtu = d->want.mtu;
	}
}
