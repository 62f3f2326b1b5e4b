/*
 * What only the cluster says: where pods' addresses come from.
 *
 * Without the kinds that blocks are kept in, addresses are of Nodes' podCIDRs.  Where
 * there is no IPPool and the configuration names none, the pod network is what kubeadm
 * noted, or the flag of kube-controller-manager, or the usual network that all podCIDRs
 * are in.  Otherwise the agent ends: a guess that is too wide takes others' addresses,
 * one that is too narrow has no room for the next node.
 */
#include "store/kube_driver.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "wire/yaml.h"

enum { RETRY_MS = 250 };

/* "10.42.0.0/16,fd00::/56"; false: not such a list. */
static bool take(struct kube_store *ks, const char *list)
{
	struct pool_list found = { 0 };
	struct err e = { 0 };

	while (*list && found.count < CONFIG_POOLS_MAX) {
		size_t len = strcspn(list, ",");
		char text[64];

		if (len >= sizeof text)
			return false;
		memcpy(text, list, len);
		text[len] = '\0';
		if (prefix_parse(&found.cidr[found.count++], text, &e) < 0)
			return false;
		list += len + (list[len] == ',');
	}
	if (found.count)
		ks->s->found->pools = found;
	return found.count > 0;
}

static bool take_value(struct kube_store *ks, const struct json *j, json_value v)
{
	struct arena mem = { 0 };
	const char *text = json_string(j, v, &mem);
	bool taken = text && take(ks, text);

	arena_free(&mem);
	return taken;
}

static bool read_kubeadm(struct kube_store *ks, const struct json *j)
{
	struct arena mem = { 0 };
	const char *text = json_string(j, json_path(j, 0, "data.ClusterConfiguration"), &mem);
	struct err ignored = { 0 };
	bool taken = false;
	struct json yaml;

	if (text && yaml_parse(&yaml, text, strlen(text), &ignored) == 0) {
		taken = take_value(ks, &yaml, json_path(&yaml, 0, "networking.podSubnet"));
		json_free(&yaml);
	}
	arena_free(&mem);
	return taken;
}

static bool read_words(struct kube_store *ks, const struct json *j, json_value words)
{
	static const char flag[] = "--cluster-cidr=";
	bool taken = false;

	json_each(j, words, w) {
		struct arena mem = { 0 };
		const char *text = json_string(j, w, &mem);

		taken = taken || (text && str_prefix(text, flag) && take(ks, text + strlen(flag)));
		arena_free(&mem);
	}
	return taken;
}

static bool read_controller(struct kube_store *ks, const struct json *j)
{
	bool taken = false;

	json_each(j, json_get(j, 0, "items"), pod)
		json_each(j, json_path(j, pod, "spec.containers"), c)
			taken = taken || read_words(ks, j, json_get(j, c, "command")) || read_words(ks, j, json_get(j, c, "args"));
	return taken;
}

static const struct {
	const char *path;
	bool (*read)(struct kube_store *ks, const struct json *j);
} places[] = {
	{ "/api/v1/namespaces/kube-system/configmaps/kubeadm-config", read_kubeadm },
	{ "/api/v1/namespaces/kube-system/pods?labelSelector=component%3Dkube-controller-manager", read_controller },
};

static bool all_within(const struct model *m, const char *network)
{
	const struct node *n;
	struct prefix p;
	bool any = false;

	if (prefix_parse(&p, network, NULL) < 0)
		return false;
	table_each(&m->nodes, n) {
		const struct prefix *cidr = &n->pod_cidr[FAMILY_V4];

		if (cidr->addr.family && (cidr->len < p.len || !prefix_has(&p, &cidr->addr)))
			return false;
		any |= cidr->addr.family != 0;
	}
	return any;
}

static bool take_usual(struct kube_store *ks)
{
	static const char *const usual[] = { "10.42.0.0/16", "10.244.0.0/16", "192.168.0.0/16" };

	for (unsigned i = 0; i < ARRAY_SIZE(usual); i++)
		if (all_within(ks->s->model, usual[i]))
			return take(ks, usual[i]);
	return false;
}

static void end(struct kube_store *ks)
{
	struct store *s = ks->s;
	struct err e = { 0 };

	ks->searching = false;
	ks->searched = true;
	str_free(&ks->search_answer);
	if (!s->found->pools.count && !take_usual(ks))
		err_set(&s->fatal, EINVAL, "the cluster does not say which network its pods are in: set pool = ADDRESS/LEN");
	else if (config_check(s->found, &e) < 0)
		s->fatal = e;
	if (s->fatal.code) {
		s->loop->stop = true;
		return;
	}
	for (unsigned i = 0; i < s->found->pools.count; i++)
		log_info("store", "the cluster's pods are in %s", prefix_text(&s->found->pools.cidr[i]).s);
	kube_settle(ks);
}

static void ask(struct kube_store *ks)
{
	if (ks->place == ARRAY_SIZE(places)) {
		end(ks);
		return;
	}
	ks->search.method = "GET";
	ks->search.path = places[ks->place].path;
	kube_start(ks->kube, &ks->search);
}

static void on_end(struct kube_call *c, const struct err *e)
{
	struct kube_store *ks = container_of(c, struct kube_store, search);
	struct err ignored = { 0 };
	struct json j;

	if (e || c->status == 429 || c->status >= 500) {
		timer_set(ks->s->loop, &ks->search_again, kube_backoff(ks, RETRY_MS, ks->search_tries++, KUBE_RETRY_MAX_MS));
		return;
	}
	if (c->status == 200 && json_parse(&j, str_text(&ks->search_answer), ks->search_answer.len, &ignored) == 0) {
		bool taken = places[ks->place].read(ks, &j);

		json_free(&j);
		if (taken) {
			end(ks);
			return;
		}
	}
	ks->place++;
	ask(ks);
}

static void on_again(struct timer *t)
{
	ask(container_of(t, struct kube_store, search_again));
}

/* Without the kinds there are no blocks: what the Nodes say will do. */
static void choose_ipam(struct kube_store *ks)
{
	struct config *found = ks->s->found;

	if (found->ipam == IPAM_PODCIDR || kube_has(ks, "IPAMBlock"))
		return;
	log_warn("store", "the cluster has no kind IPAMBlock (k3s-rke/manx-crds.yaml brings it): going on with ipam = podcidr");
	found->ipam = IPAM_PODCIDR;
}

bool kube_pools_recalled(struct kube_store *ks)
{
	struct store *s = ks->s;

	if (!s->found)
		return true;
	choose_ipam(ks);
	return s->model->pools.count || s->found->pools.count || (s->found->ipam == IPAM_PODCIDR && take_usual(ks));
}

bool kube_pools_known(struct kube_store *ks)
{
	struct store *s = ks->s;

	if (!s->found || ks->searched)
		return true;
	if (ks->searching)
		return false;
	choose_ipam(ks);
	if (s->fatal.code)
		return false;
	if (s->model->pools.count || s->found->pools.count) {
		ks->searched = true;
		return true;
	}
	ks->searching = true;
	ks->search = (struct kube_call){ .answer = &ks->search_answer, .on_end = on_end };
	ks->search_again.fn = on_again;
	ask(ks);
	return ks->searched;
}

void kube_pools_stop(struct kube_store *ks)
{
	kube_cancel(&ks->search);
	timer_del(ks->s->loop, &ks->search_again);
	str_free(&ks->search_answer);
}
