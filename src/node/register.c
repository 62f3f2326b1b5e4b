/*
 * The Node object of this node: addresses and Calico's annotations, written
 * when they differ from what the datastore holds.
 *
 * Two agents of one name would write it in turn for ever, and every other node
 * would follow.  So whose addresses are overwritten says so, and the second time lets it be.
 *
 * On Kubernetes the kubelet says which machine a Node is, by the id of its boot.  Until it is this one, an agent that
 * starts gives nothing back and writes nothing: of another machine's pods it would find none.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "node/node_int.h"

enum { OVERWRITTEN_MAX = 2 };

static bool node_matches(const struct node *have, const struct uplink *up, const struct model *m)
{
	for (int f = 0; f < FAMILIES; f++)
		if (!prefix_equal(&have->address[f], &up->address[f]))
			return false;
	tunnel_each(t)
		if (m->config->ipam == IPAM_BLOCK && !addr_equal(&have->tunnel[t], &m->tunnel[t]))
			return false;
	return true;
}

/* What the object should be.  Annotations of others are kept; labels are the user's to give, not ours. */
static struct node *node_object(const struct model *m, const struct node *old, const struct uplink *up)
{
	struct node *n = row_new(sizeof *n);
	struct arena *mem = &n->row.mem;

	n->row.key = arena_str(mem, m->config->node_name);
	n->meta = (struct meta){ .namespace = "", .uid = "", .name = n->row.key };
	if (old) {
		n->meta.annotation_count = old->meta.annotation_count;
		n->meta.annotations = labels_copy(mem, old->meta.annotations, old->meta.annotation_count);
	}
	memcpy(n->address, up->address, sizeof n->address);
	if (m->config->ipam == IPAM_BLOCK)	/* else all know it by the podCIDR */
		memcpy(n->tunnel, m->tunnel, sizeof n->tunnel);
	for (int f = 0; f < FAMILIES; f++)
		node_vxlan_mac(n->vxlan_mac[f], m->config->node_name, f);
	node_annotations(mem, n);
	return n;
}

void register_init(struct node_agent *n)
{
	autostr struct str id = { 0 };

	if (fs_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &id) == 0)
		n->boot = fnv64a(id.s, strcspn(id.s, "\n"));
}

bool node_is_ours(struct node_agent *n)
{
	const struct node *self = model_self(n->model);
	bool taken = self && self->boot && n->boot && self->boot != n->boot && n->store->state == STORE_SYNCED;

	if (taken && !n->taken) {
		log_err("node", "Node %s is registered by the kubelet of another machine or boot: waiting for this one's", self->row.key);
		model_problem(n->model, "node", "machine", "start this machine's kubelet, or give each node a node_name of its own",
			      "Node %s is registered by the kubelet of another machine or boot", self->row.key);
	} else if (n->taken && !taken) {
		model_problem_clear(n->model, "node", "machine");
	}
	return !(n->taken = taken);
}

static bool addresses_equal(const struct prefix a[FAMILIES], const struct prefix b[FAMILIES])
{
	return prefix_equal(&a[FAMILY_V4], &b[FAMILY_V4]) && prefix_equal(&a[FAMILY_V6], &b[FAMILY_V6]);
}

/* Others' addresses stand where we wrote ours. */
static void overwritten(struct node_agent *n, const struct node *now)
{
	const struct prefix *p = &now->address[now->address[FAMILY_V4].addr.family ? FAMILY_V4 : FAMILY_V6];
	const struct problem *said;

	n->written = false;
	n->overwritten++;
	said = model_problem(n->model, "node", "name", "give each node a node_name of its own, and restart its agent",
			     "Node %s was given the address %s by another program: another agent seems to go by this name",
			     now->row.key, p->addr.family ? prefix_text(p).s : "\"\"");
	log_err("node", "%s", said->text);
}

static void on_written(void *ctx, int rc)
{
	struct node_agent *n = ctx;

	n->writing = false;
	n->written |= rc == 0;
	n->again = rc != 0;
	if (rc == 0 || rc == -ESTALE) {
		register_run(n);	/* once more, in case something moved meanwhile */
		return;
	}
	if (rc != -EAGAIN)		/* the datastore is away, which it says itself */
		model_problem(n->model, "node", "register", "see the datastore", "Node %s: cannot write: %s",
			      n->model->config->node_name, strerror(-rc));
	timer_set(n->loop, &n->retry, NODE_RETRY_MS);
}

void register_run(struct node_agent *n)
{
	const struct uplink *up = model_uplink(n->model);
	const struct node *old = model_self(n->model);
	struct node *row;

	if (!old && n->store->driver->given_nodes) {
		model_problem(n->model, "node", "register", "start the kubelet, or set node_name to the name it goes by",
			      "there is no Node %s yet", n->model->config->node_name);
		return;
	}
	if (n->store->state == STORE_AWAY) {
		n->again = true;	/* with the pass in which it is there again */
		return;
	}
	if (n->writing || (!n->model->endpoints_known && !node_is_ours(n)) || !up || (!up->address[0].addr.family && !up->address[1].addr.family))
		return;
	if (old && old->meta.version && node_matches(old, up, n->model)) {
		model_problem_clear(n->model, "node", "register");
		return;
	}
	if (old && n->written && !addresses_equal(old->address, n->address))
		overwritten(n, old);
	if (old && n->overwritten >= OVERWRITTEN_MAX)
		return;
	n->writing = true;
	memcpy(n->address, up->address, sizeof n->address);
	row = node_object(n->model, old, up);
	if (!n->again)
		log_info("node", "registering Node %s", n->model->config->node_name);
	store_put(n->store, kind_named("Node"), &row->row, old ? old->meta.version : 0, on_written, n);
}
