/*
 * Pods of this node as WorkloadEndpoints, for the other nodes.  Each write is on
 * its own.  One that lost a race looks at what is there; one that the datastore
 * could not take now is tried again, ever more slowly, for as long as it takes; one that it
 * will never take ends.  The store has said why.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mac.h"
#include "base/util.h"
#include "node/node_int.h"

struct publication {
	struct node_agent *n;
	char *endpoint;			/* key of the model's endpoint row */
	char *workload;			/* key of the WorkloadEndpoint */
	struct timer again;
	unsigned backoff_ms;
	bool stale;			/* the pod changed meanwhile */
	struct publication *next;
};

/* A little later: whoever waits for an ADD comes first, and a pod that is gone by then costs nothing. */
enum { PUBLISH_MS = 20, RACE_MS = 1, BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 10000 };

static void go(struct publication *p);

/* Calico doubles the dashes of each part: "<node>-k8s-<pod>-eth0". */
static void dashed(struct str *out, const char *text)
{
	for (; *text; text++)
		str_add(out, text[0] == '-' ? "--" : text, text[0] == '-' ? 2 : 1);
}

static void workload_name(struct str *out, const struct endpoint *ep, const char *node)
{
	dashed(out, node);
	str_puts(out, *ep->pod ? "-k8s-" : "-cni-");
	dashed(out, *ep->pod ? ep->pod : ep->container);
	str_puts(out, "-");
	dashed(out, ep->ifname);
}

static const char *workload_namespace(const struct endpoint *ep)
{
	return *ep->namespace ? ep->namespace : "default";
}

static struct workload *workload_new(const struct endpoint *ep, const char *node)
{
	struct workload *w = row_new(sizeof *w);
	struct arena *mem = &w->row.mem;
	autostr struct str name = { 0 }, key = { 0 };

	workload_name(&name, ep, node);
	str_printf(&key, "%s/%s", workload_namespace(ep), str_text(&name));
	w->row.key = arena_str(mem, key.s);
	w->meta.namespace = arena_str(mem, workload_namespace(ep));
	w->meta.name = arena_str(mem, name.s);
	w->meta.uid = "";
	w->node = arena_str(mem, node);
	w->pod = arena_str(mem, ep->pod);
	w->container = arena_str(mem, ep->container);
	w->endpoint = arena_str(mem, ep->ifname);
	w->interface = arena_str(mem, ep->host_if);
	w->mac = arena_str(mem, mac_text(ep->mac).s);
	memcpy(w->ips, ep->ips, sizeof w->ips);
	return w;
}

static bool same(const struct workload *a, const struct workload *b)
{
	return addr_equal(&a->ips[0], &b->ips[0]) && addr_equal(&a->ips[1], &b->ips[1]) &&
	       strcmp(a->container, b->container) == 0 && strcmp(a->mac, b->mac) == 0 &&
	       strcmp(a->interface, b->interface) == 0;
}

static void end(struct publication *p)
{
	struct publication **at = &p->n->publications;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	timer_del(p->n->loop, &p->again);
	free(p->endpoint);
	free(p->workload);
	free(p);
}

static void try_later(struct publication *p, int rc)
{
	if (rc == -ESTALE) {
		timer_set(p->n->loop, &p->again, RACE_MS);
		return;
	}
	p->backoff_ms = p->backoff_ms ? 2 * p->backoff_ms : BACKOFF_FIRST_MS;
	if (p->backoff_ms > BACKOFF_MAX_MS)
		p->backoff_ms = BACKOFF_MAX_MS;
	timer_set(p->n->loop, &p->again, p->backoff_ms);
}

static void on_written(void *ctx, int rc)
{
	struct publication *p = ctx;

	if (!rc && p->stale) {
		go(p);
	} else if (!rc || store_is_hopeless(rc)) {
		end(p);
	} else {
		try_later(p, rc);
	}
}

static void on_again(struct timer *t)
{
	go(container_of(t, struct publication, again));
}

/* Another container's object of the same name is not ours to remove: a new sandbox of the pod owns it by now. */
static void go(struct publication *p)
{
	const struct kind *kind = kind_named("WorkloadEndpoint");
	struct model *m = p->n->model;
	const struct endpoint *ep = table_find(&m->endpoints, p->endpoint);
	const struct workload *have = table_find(&m->workloads, p->workload);
	const char *slash = strchr(p->endpoint, '/');

	p->stale = false;
	if (ep) {
		struct workload *w = workload_new(ep, m->config->node_name);

		if (!have || !same(w, have)) {
			store_put(p->n->store, kind, &w->row, have ? have->meta.version : 0, on_written, p);
			return;
		}
		row_free(&w->row);
	} else if (have && strncmp(have->container, p->endpoint, slash - p->endpoint) == 0 &&
		   !have->container[slash - p->endpoint]) {
		store_del(p->n->store, kind, p->workload, have->meta.version, on_written, p);
		return;
	}
	end(p);
}

/* One that waits for its time looks at the pod then; one that is under way, once more. */
static void publish(struct node_agent *n, const char *endpoint, const char *workload)
{
	struct publication *p;

	for (p = n->publications; p; p = p->next)
		if (strcmp(p->endpoint, endpoint) == 0 && strcmp(p->workload, workload) == 0) {
			p->stale = true;
			return;
		}
	p = xcalloc(1, sizeof *p);
	*p = (struct publication){ .n = n, .endpoint = xstrdup(endpoint), .workload = xstrdup(workload),
				   .again = { .fn = on_again }, .next = n->publications };
	n->publications = p;
	timer_set(n->loop, &p->again, PUBLISH_MS);
}

/* Published by this node, and there though its pod is not, or gone though its pod is there. */
static void look_at(struct node_agent *n, const struct workload *w)
{
	char key[400];

	snprintf(key, sizeof key, "%s/%s", w->container, w->endpoint);
	if (model_is_self(n->model, w->node) && w->row.gone == !!table_find(&n->model->endpoints, key))
		publish(n, key, w->row.key);
}

void publish_run(struct node_agent *n)
{
	const struct endpoint *ep;
	const struct workload *w;

	table_each_dirty(&n->model->endpoints, ep) {
		autostr struct str name = { 0 }, key = { 0 };

		workload_name(&name, ep, n->model->config->node_name);
		str_printf(&key, "%s/%s", workload_namespace(ep), str_text(&name));
		publish(n, ep->row.key, key.s);
	}
	if (!n->swept)			/* what an earlier life left */
		table_each(&n->model->workloads, w)
			look_at(n, w);
	n->swept = true;
	table_each_dirty(&n->model->workloads, w)
		if (w->row.gone)	/* whoever removed it */
			look_at(n, w);
}

/* What is under way ends with the store. */
void publish_stop(struct node_agent *n)
{
	while (n->publications)
		end(n->publications);
}
