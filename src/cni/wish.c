/*
 * What an ADD asks for beyond "an address": Calico's annotations of the pod and of
 * its namespace, and the capabilities ips and mac.  All of it is looked at before
 * anything is assigned, so a bad wish costs nothing.
 *
 * An annotation is taken from where it is found first: what the runtime passes on,
 * the Pod object, the Namespace (pools and families only).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cni/cni_int.h"

#define PREFIX "cni.projectcalico.org/"

struct wishes {
	struct cni_request *r;
	json_value runtime;		/* runtimeConfig */
	json_value passed;		/* of it, the pod's annotations */
	const struct pod *pod;		/* or NULL */
	const struct namespace *in;	/* or NULL */
	const char *place;		/* what is being read, for errors */
	struct err *e;
	int code;			/* of the error */

	bool families_asked, families[FAMILIES];
	struct addr addresses[FAMILIES];	/* of the list being read */
	int pool_family;
	const char **pools;
	unsigned pool_count;
};

static int refuse(struct wishes *w, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int refuse(struct wishes *w, int code, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	err_text(text, sizeof text, fmt, ap);
	va_end(ap);
	w->code = code;
	return err_set(w->e, EINVAL, "%s: %s", w->place, text);
}

/* --- where wishes come from --- */

static const char *place(struct wishes *w, const char *key, const char *kind, const char *name)
{
	char text[400];

	snprintf(text, sizeof text, "annotation %s of %s %s", key, kind, name);
	return arena_str(&w->r->mem, text);
}

/* The annotation's text, or NULL. */
static const char *annotation(struct wishes *w, const char *key, bool of_namespace_too)
{
	const char *text = json_string(&w->r->conf, json_get(&w->r->conf, w->passed, key), &w->r->mem);

	if (!text && w->pod)
		text = label_find(w->pod->meta.annotations, w->pod->meta.annotation_count, key);
	if (text) {
		w->place = place(w, key, "pod", w->r->pod);
		return text;
	}
	if (of_namespace_too && w->in)
		text = label_find(w->in->meta.annotations, w->in->meta.annotation_count, key);
	if (text)
		w->place = place(w, key, "namespace", w->r->namespace);
	return text;
}

static int each_string(struct wishes *w, const struct json *j, json_value list,
		       int (*take)(struct wishes *w, const char *text))
{
	if (json_type(j, list) != JSON_ARRAY || json_length(j, list) == 0)
		return refuse(w, CNI_CONFIG, "want a JSON list of strings");
	for (json_value v = json_first(j, list); v >= 0; v = json_next(j, list, v)) {
		const char *text = json_string(j, v, &w->r->mem);

		if (!text)
			return refuse(w, CNI_CONFIG, "want a JSON list of strings");
		if (take(w, text) < 0)
			return -EINVAL;
	}
	return 0;
}

static int each_of_text(struct wishes *w, const char *text, int (*take)(struct wishes *w, const char *text))
{
	struct err e = { 0 };
	struct json j;
	int rc;

	if (json_parse(&j, text, strlen(text), &e) < 0)
		return refuse(w, CNI_CONFIG, "want a JSON list of strings, and %s: %s", text, e.text);
	rc = each_string(w, &j, 0, take);
	json_free(&j);
	return rc;
}

/* --- families and pools --- */

static const char *const family_names[FAMILIES] = { "IPv4", "IPv6" };

static int take_family(struct wishes *w, const char *text)
{
	for (int f = 0; f < FAMILIES; f++)
		if (strcmp(text, family_names[f]) == 0) {
			if (w->families[f])
				return refuse(w, CNI_CONFIG, "%s stands there twice", text);
			w->families[f] = true;
			return 0;
		}
	return refuse(w, CNI_CONFIG, "%s: want IPv4 or IPv6", text);
}

static int take_pool(struct wishes *w, const char *text)
{
	struct err e = { 0 };

	if (ipam_check_pool(w->r->cni->ipam, w->pool_family, text, &e) < 0)
		return refuse(w, CNI_CONFIG, "%s", e.text);
	w->pools[w->pool_count++] = text;
	return 0;
}

static int read_pools(struct wishes *w, int family)
{
	struct cni_request *r = w->r;
	const char *text = annotation(w, family == FAMILY_V6 ? PREFIX "ipv6pools" : PREFIX "ipv4pools", true);

	if (!text || (w->families_asked && !w->families[family]))
		return 0;
	w->pool_family = family;
	w->pool_count = 0;
	w->pools = arena_alloc(&r->mem, strlen(text) * sizeof *w->pools);	/* more than there can be in it */
	if (each_of_text(w, text, take_pool) < 0)
		return -EINVAL;
	r->ipam.pools[family] = (struct pool_names){ w->pools, w->pool_count };
	if (!ipam_offers(r->cni->ipam, &r->ipam, family))
		return refuse(w, CNI_CONFIG, "none of these pools is for pods");
	return 0;
}

static int read_families(struct wishes *w)
{
	const char *text = annotation(w, PREFIX "ipFamilies", true);

	w->families_asked = text;
	return text ? each_of_text(w, text, take_family) : 0;
}

/* Of each family that has a pool for this pod, or (asked for) of that family or none. */
static int choose_families(struct wishes *w)
{
	struct cni_request *r = w->r;

	for (int f = 0; f < FAMILIES; f++) {
		bool offered = ipam_offers(r->cni->ipam, &r->ipam, f);

		if (w->families_asked && w->families[f] && !offered) {
			annotation(w, PREFIX "ipFamilies", true);
			return refuse(w, CNI_NO_ADDRESS, "no %s pool serves this pod", family_names[f]);
		}
		r->ipam.want[f] = w->families_asked ? w->families[f] : offered;
	}
	return 0;
}

/* --- addresses --- */

static int take_address(struct wishes *w, const char *text)
{
	struct err e = { 0 };
	struct addr a;
	int f;

	if (addr_parse(&a, text, &e) < 0)
		return refuse(w, CNI_CONFIG, "%s", e.text);
	f = family_index(a.family);
	if (addr_equal(&w->addresses[f], &a))
		return refuse(w, CNI_CONFIG, "%s stands there twice", text);
	if (w->addresses[f].family)
		return refuse(w, CNI_CONFIG, "%s and %s: one address of each family at most", addr_text(&w->addresses[f]).s, text);
	if (w->families_asked && !w->families[f])
		return refuse(w, CNI_CONFIG, "%s is of a family that " PREFIX "ipFamilies leaves out", text);
	w->addresses[f] = a;
	return 0;
}

/* The length says what network it is in, which here is always the pod alone. */
static int take_network(struct wishes *w, const char *text)
{
	return take_address(w, arena_strn(&w->r->mem, text, strcspn(text, "/ ")));
}

/* The addresses that were read are to be assigned from pools. */
static int fix_addresses(struct wishes *w)
{
	struct ipam_request *a = &w->r->ipam;

	for (int f = 0; f < FAMILIES; f++) {
		struct err e = { 0 };

		if (!w->addresses[f].family)
			continue;
		if (ipam_check_address(w->r->cni->ipam, &w->addresses[f], &e) < 0)
			return refuse(w, CNI_CONFIG, "%s", e.text);
		a->fixed[f] = w->addresses[f];
		a->want[f] = true;
	}
	return 0;
}

/* Of this node's own pods, what is published may lag behind. */
static bool is_in_use(const struct model *m, const struct addr *a)
{
	const int f = family_index(a->family);
	const struct endpoint *ep;
	const struct workload *other;
	const struct node *n;

	table_each(&m->endpoints, ep)
		if (addr_equal(&ep->ips[f], a))
			return true;
	table_each(&m->workloads, other)
		if (!model_is_self(m, other->node) && addr_equal(&other->ips[f], a))
			return true;
	table_each(&m->nodes, n)
		if (addr_equal(&n->address[f].addr, a))
			return true;
	return false;
}

/* The addresses that were read are nobody's to assign: the pod gets these, and no other. */
static int take_outside(struct wishes *w, const char *else_want)
{
	struct cni_request *r = w->r;

	for (int f = 0; f < FAMILIES; f++) {
		const struct addr *a = &w->addresses[f];
		const struct pool *p = a->family ? model_pool_of(r->cni->model, a) : NULL;

		if (p)
			return refuse(w, CNI_CONFIG, "%s is in pool %s: want %s", addr_text(a).s, p->meta.name, else_want);
		if (a->family && is_in_use(r->cni->model, a))
			return refuse(w, CNI_ADDRESS_TAKEN, "address %s is taken", addr_text(a).s);
		r->ipam.want[f] = false;
		r->ips[f] = *a;
	}
	return 0;
}

static bool allows_outside(const struct cni_request *r)
{
	bool allowed = false;

	json_bool(&r->conf, json_path(&r->conf, 0, "feature_control.ip_addrs_no_ipam"), &allowed);
	return allowed;
}

/* A delegate's. */
static int read_given(struct wishes *w)
{
	struct cni_request *r = w->r;

	w->place = "what the ipam plugin gives";
	for (const char *at = r->given; *at; at += strcspn(at, " "), at += strspn(at, " "))
		if (take_network(w, at) < 0)
			return -EINVAL;
	if (!*r->given)
		return refuse(w, CNI_CONFIG, "no address");
	return take_outside(w, "ipam.type calico-ipam, or the subnet " POD_CIDR_WORD);
}

/* The Node's podCIDR, asked for in the words of Calico's host-local lists. */
static int check_pod_cidr(struct wishes *w)
{
	const struct cni_request *r = w->r;

	w->place = "ipam.type host-local, subnet " POD_CIDR_WORD;
	if (json_is(&r->conf, json_path(&r->conf, 0, "ipam.type"), "host-local") && r->cni->model->config->ipam != IPAM_PODCIDR)
		return refuse(w, CNI_CONFIG, "wants ipam = podcidr in the agent's configuration");
	return 0;
}

static bool is_empty_list(const struct json *j, json_value v)
{
	return json_type(j, v) == JSON_ARRAY && json_length(j, v) == 0;
}

static int read_addresses(struct wishes *w)
{
	const struct json *conf = &w->r->conf;
	json_value ips = json_get(conf, w->runtime, "ips");
	const char *outside = annotation(w, PREFIX "ipAddrsNoIpam", false), *text = annotation(w, PREFIX "ipAddrs", false);

	if (outside && text)
		return refuse(w, CNI_CONFIG, "the pod has " PREFIX "ipAddrsNoIpam too");
	if (json_type(conf, ips) != JSON_NULL && !is_empty_list(conf, ips)) {
		w->place = "runtimeConfig.ips";
		return each_string(w, conf, ips, take_network) < 0 ? -EINVAL : fix_addresses(w);
	}
	if (text)
		return each_of_text(w, text, take_address) < 0 ? -EINVAL : fix_addresses(w);
	if (!outside)
		return 0;
	annotation(w, PREFIX "ipAddrsNoIpam", false);
	if (!allows_outside(w->r))
		return refuse(w, CNI_CONFIG, "the network configuration does not allow it (feature_control.ip_addrs_no_ipam)");
	return each_of_text(w, outside, take_address) < 0 ? -EINVAL : take_outside(w, PREFIX "ipAddrs");
}

/* --- the MAC --- */

static int read_mac(struct wishes *w)
{
	struct cni_request *r = w->r;
	json_value v = json_get(&r->conf, w->runtime, "mac");
	const char *text = json_type(&r->conf, v) == JSON_NULL ? annotation(w, PREFIX "hwAddr", false) :
								 json_string(&r->conf, v, &r->mem);

	if (json_type(&r->conf, v) != JSON_NULL)
		w->place = "runtimeConfig.mac";
	else if (!text)
		return 0;
	r->has_mac = true;
	if (!text || !end_mac_parse(r->mac, text))
		return refuse(w, CNI_CONFIG, "%s: want a MAC address of one device, as 02:00:5e:10:00:01", text ? text : "no text");
	return 0;
}

/* --- */

static int find_sources(struct wishes *w)
{
	struct cni_request *r = w->r;
	const struct model *m = r->cni->model;
	char key[OBJECT_KEY_MAX];
	const char *text;
	json_value v;
	size_t len;

	v = json_get(&r->conf, 0, "device_type");
	if (json_type(&r->conf, v) != JSON_NULL && !json_is(&r->conf, v, "veth")) {
		w->place = "network configuration";
		text = json_raw(&r->conf, v, &len);
		return refuse(w, CNI_UNSUPPORTED, "device_type %.*s is not supported: pods have veth", (int)len, text);
	}
	w->place = "runtimeConfig";
	w->runtime = json_get(&r->conf, 0, "runtimeConfig");
	if (json_type(&r->conf, w->runtime) != JSON_NULL && json_type(&r->conf, w->runtime) != JSON_OBJECT)
		return refuse(w, CNI_CONFIG, "want an object");
	w->passed = json_get(&r->conf, w->runtime, "io.kubernetes.cri.pod-annotations");
	if (json_type(&r->conf, w->passed) != JSON_NULL && json_type(&r->conf, w->passed) != JSON_OBJECT)
		return refuse(w, CNI_CONFIG, "io.kubernetes.cri.pod-annotations: want an object");
	if (!*r->pod)
		return 0;
	snprintf(key, sizeof key, "%s/%s", r->namespace, r->pod);
	w->pod = table_find(&m->pods, key);
	w->in = table_find(&m->namespaces, r->namespace);
	return 0;
}

int wishes_read(struct cni_request *r, struct err *e)
{
	struct wishes w = { .r = r, .e = e };

	if (find_sources(&w) < 0)
		return w.code;
	if (r->given)
		return read_given(&w) < 0 || read_mac(&w) < 0 ? w.code : CNI_OK;
	if (check_pod_cidr(&w) < 0 || read_families(&w) < 0 || read_pools(&w, FAMILY_V4) < 0 || read_pools(&w, FAMILY_V6) < 0 ||
	    choose_families(&w) < 0 || read_addresses(&w) < 0 || read_mac(&w) < 0)
		return w.code;
	return CNI_OK;
}
