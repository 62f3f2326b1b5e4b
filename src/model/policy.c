#include "model/policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/str.h"
#include "base/util.h"

#define CALICO_PREFIX "projectcalico.org/"

/* ---- who ---- */

static const char *namespace_label(const struct party *p, const char *key)
{
	if (p->in)
		return label_find(p->in->meta.labels, p->in->meta.label_count, key);
	/* Pods may be there before the object of their namespace is. */
	return strcmp(key, "kubernetes.io/metadata.name") == 0 && *p->namespace ? p->namespace : NULL;
}

static const char *find_of_namespace(const struct label_source *s, const char *key)
{
	return namespace_label(container_of(s, struct party, namespace_labels), key);
}

/* Its own labels, and those that Calico gives a pod. */
static const char *find_of_pod(const struct label_source *s, const char *key)
{
	const struct party *p = container_of(s, struct party, labels);
	const char *own = p->pod ? label_find(p->pod->meta.labels, p->pod->meta.label_count, key) : NULL;

	if (own || !p->is_pod)
		return own;
	if (strcmp(key, CALICO_PREFIX "namespace") == 0)
		return p->namespace;
	if (strcmp(key, CALICO_PREFIX "orchestrator") == 0)
		return "k8s";
	if (strcmp(key, CALICO_PREFIX "serviceaccount") == 0)
		return p->pod ? p->pod->service_account : "default";
	return strncmp(key, "pcns.", 5) == 0 ? namespace_label(p, key + 5) : NULL;
}

void party_set(const struct model *m, const char *namespace, const char *name, struct party *out)
{
	char key[POLICY_KEY_MAX];

	*out = (struct party){ .labels.find = find_of_pod, .namespace_labels.find = find_of_namespace,
			       .namespace = namespace, .name = name };
	if (!*name)
		return;
	pod_key(key, namespace, name);
	out->pod = table_find(&m->pods, key);
	out->in = table_find(&m->namespaces, namespace);
	out->is_pod = !out->pod || !out->pod->host_network;
	out->ended = out->pod && (out->pod->phase == POD_SUCCEEDED || out->pod->phase == POD_FAILED);
}

void pod_key(char out[POLICY_KEY_MAX], const char *namespace, const char *name)
{
	size_t len = strlen(namespace);

	str_copy(out, POLICY_KEY_MAX - 1, namespace);
	len = len < POLICY_KEY_MAX - 2 ? len : POLICY_KEY_MAX - 2;
	out[len] = '/';
	str_copy(out + len + 1, POLICY_KEY_MAX - len - 1, name);
}

/* An address counts where the pod runs; then where its node published it; the object's own word is the last. */
void party_addresses(const struct model *m, struct party *p, const struct endpoint *e, const struct workload *w)
{
	p->local = e;
	if (e)
		memcpy(p->ips, e->ips, sizeof p->ips);
	else if (w && !model_is_self(m, w->node))
		memcpy(p->ips, w->ips, sizeof p->ips);
	else if (p->pod && (p->pod->host_network || !model_is_self(m, p->pod->node)))
		memcpy(p->ips, p->pod->ips, sizeof p->ips);
}

static const struct endpoint *endpoint_of(const struct model *m, const char *namespace, const char *name)
{
	const struct endpoint *e;

	table_each(&m->endpoints, e)
		if (strcmp(e->pod, name) == 0 && strcmp(e->namespace, namespace) == 0)
			return e;
	return NULL;
}

static const struct workload *workload_of(const struct model *m, const char *namespace, const char *name)
{
	const struct workload *w;

	table_each(&m->workloads, w)
		if (strcmp(w->pod, name) == 0 && strcmp(w->meta.namespace, namespace) == 0 &&
		    !model_is_self(m, w->node))
			return w;
	return NULL;
}

bool party_of_pod(const struct model *m, const char *namespace, const char *name, struct party *out)
{
	const struct endpoint *e = endpoint_of(m, namespace, name);
	const struct workload *w = workload_of(m, namespace, name);

	party_set(m, namespace, name, out);
	party_addresses(m, out, e, w);
	return out->pod || e || w;
}

static bool has_address(const struct addr ips[FAMILIES], const struct addr *a)
{
	return addr_equal(&ips[family_index(a->family)], a);
}

/* The pod that has the address: of two, as when one has just ended, the one that still counts. */
void party_of_address(const struct model *m, const struct addr *a, struct party *out)
{
	const struct endpoint *e;
	const struct workload *w;
	const struct pod *p;

	table_each(&m->endpoints, e) {
		if (!has_address(e->ips, a) || !*e->pod)
			continue;
		party_set(m, e->namespace, e->pod, out);
		party_addresses(m, out, e, NULL);
		return;
	}
	table_each(&m->workloads, w) {
		if (!has_address(w->ips, a) || !*w->pod || model_is_self(m, w->node) ||
		    endpoint_of(m, w->meta.namespace, w->pod))
			continue;
		party_set(m, w->meta.namespace, w->pod, out);
		party_addresses(m, out, NULL, w);
		return;
	}
	table_each(&m->pods, p)
		if (has_address(p->ips, a) && !p->host_network &&
		    party_of_pod(m, p->meta.namespace, p->meta.name, out) && has_address(out->ips, a) && !out->ended)
			return;
	party_set(m, "", "", out);
	out->ips[family_index(a->family)] = *a;
}

/* ---- what matches ---- */

static bool peer_asks_for_pods(const struct peer *p)
{
	return p->pods || p->namespaces || p->namespace;
}

bool peer_matches_pod(const struct peer *p, const struct party *who)
{
	return who->is_pod && (!p->namespace || strcmp(p->namespace, who->namespace) == 0) &&
	       (!p->namespaces || selector_match(p->namespaces, &who->namespace_labels)) &&
	       (!p->pods || selector_match(p->pods, &who->labels));
}

static bool net_matches(const struct peer *p, const struct addr *a)
{
	if (!prefix_has(&p->net, a))
		return false;
	for (unsigned i = 0; i < p->except_count; i++)
		if (prefix_has(&p->except[i], a))
			return false;
	return true;
}

bool peer_matches(const struct peer *p, const struct party *who, int family)
{
	if (peer_asks_for_pods(p) && (who->ended || !peer_matches_pod(p, who)))
		return false;
	return !p->net.addr.family || net_matches(p, &who->ips[family]);
}

static bool name_matches(const struct policy_port *p, const struct party *dst, uint16_t port)
{
	for (unsigned i = 0; dst->pod && i < dst->pod->port_count; i++) {
		const struct pod_port *have = &dst->pod->ports[i];

		if (have->protocol == p->protocol && have->number == port && strcmp(have->name, p->name) == 0)
			return true;
	}
	return false;
}

bool port_matches(const struct policy_port *p, const struct party *dst, uint8_t protocol, uint16_t port)
{
	if (p->protocol && p->protocol != protocol)
		return false;
	if (p->name)
		return dst->is_pod && name_matches(p, dst, port);
	return !p->last || (port >= p->first && port <= p->last);
}

bool rule_matches(const struct policy_rule *r, enum direction d, const struct party *self, const struct party *other,
		  int family, uint8_t protocol, uint16_t port)
{
	bool peer = !r->peer_count, number = !r->port_count;

	for (unsigned i = 0; i < r->peer_count && !peer; i++)
		peer = peer_matches(&r->peers[i], other, family);
	for (unsigned i = 0; i < r->port_count && !number; i++)
		number = port_matches(&r->ports[i], d == INGRESS ? self : other, protocol, port);
	return peer && number;
}

/* ---- digests ---- */

static void prefix_write(struct str *out, const struct prefix *p)
{
	const char head[] = { (char)p->addr.family, (char)p->len };

	str_add(out, head, sizeof head);
	str_add(out, (const char *)p->addr.b, sizeof p->addr.b);
}

uint64_t peer_digest(const struct peer *p)
{
	const uint64_t selectors[] = { p->pods ? p->pods->digest : 0, p->namespaces ? p->namespaces->digest : 0 };
	const char *namespace = p->namespace ? p->namespace : "";
	autostr struct str text = { 0 };

	str_add(&text, (const char *)selectors, sizeof selectors);
	str_add(&text, namespace, strlen(namespace) + 1);
	prefix_write(&text, &p->net);
	for (unsigned i = 0; i < p->except_count; i++)
		prefix_write(&text, &p->except[i]);
	return sha1_64(text.s, text.len);
}

uint64_t peers_digest(const struct peer *peers, unsigned count)
{
	autofree uint64_t *all = xcalloc(count + 1u, sizeof *all);

	for (unsigned i = 0; i < count; i++)
		all[i] = peer_digest(&peers[i]);
	return sha1_64(all, count * sizeof *all);
}

/* ---- which policies ---- */

unsigned policy_count(const struct model *m)
{
	return m->network_policies.count - (table_find(&m->network_policies, POLICY_STRANGERS) != NULL);
}

bool policy_selects(const struct policy *p, const struct party *who)
{
	return peer_matches_pod(&p->target, who) && !(p->strangers && who->pod);
}

int policy_order(const struct policy *a, const struct policy *b)
{
	int tiers = strcmp(a->tier, b->tier);

	if (tiers)
		return tiers;
	if (a->order < b->order || a->order > b->order)
		return a->order < b->order ? -1 : 1;
	tiers = strcmp(a->row.key, b->row.key);
	return tiers ? tiers : strcmp(a->kind, b->kind);
}

static int by_order(const void *a, const void *b)
{
	return policy_order(*(const struct policy *const *)a, *(const struct policy *const *)b);
}

unsigned policies_of(const struct model *m, const struct party *p, enum direction d, const struct policy ***list)
{
	const struct policy *policy;
	unsigned count = 0;

	*list = xcalloc(m->network_policies.count + 1u, sizeof **list);
	table_each(&m->network_policies, policy)
		if (policy->applies[d] && policy_selects(policy, p))
			(*list)[count++] = policy;
	qsort(*list, count, sizeof **list, by_order);
	return count;
}
