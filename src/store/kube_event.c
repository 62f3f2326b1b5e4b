/*
 * What `manx status` names under problem is also an Event of this node's Node, which `kubectl describe node` shows.
 *
 * An Event is created once for each problem and text, by a name made of both: whoever tries again, after a restart
 * too, meets its own.  None is told while it is younger than a moment, and of many only so many: a problem that
 * comes and goes must not keep the API busy.  The server forgets Events after an hour; that makes no news.
 */
#include "store/kube_driver.h"

#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/util.h"

enum { LASTED_MS = 10000, EVERY_MS = 300000, BURST = 20 };

static bool is_told(const struct kube_store *ks, uint64_t hash)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ks->told); i++)
		if (ks->told[i] == hash)
			return true;
	return false;
}

/* As by a bucket that holds BURST of them and gets one more every EVERY_MS. */
static bool may_tell(struct kube_store *ks)
{
	uint64_t now = now_ms(), next = ks->event_next > now ? ks->event_next : now;

	if (next - now > (BURST - 1) * EVERY_MS)
		return false;
	ks->event_next = next + EVERY_MS;
	return true;
}

static void body(struct kube_store *ks, const struct problem *p, uint64_t hash)
{
	const char *node = ks->s->config->node_name;
	char now[32], text[512];
	struct json_out o = { .to = &ks->event_body };

	kube_now(now);
	str_clear(o.to);
	str_printf(o.to, "{\"metadata\":{\"name\":\"%s.%llx\"},\"type\":\"Warning\",\"count\":1,\"firstTimestamp\":\"%s\","
		   "\"lastTimestamp\":\"%s\",\"source\":{\"component\":\"manx\",\"host\":\"%s\"},\"reason\":\"%c%sProblem\","
		   "\"involvedObject\":{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"%s\",\"uid\":\"%s\"}", node,
		   (unsigned long long)hash, now, now, node, *p->sub - ('a' - 'A'), p->sub + 1, node, node);
	snprintf(text, sizeof text, "%s%s%s", p->text, *p->remedy ? "; remedy: " : "", p->remedy);
	o.comma = true;
	json_put_string(&o, "message", text);
	json_close(&o, '}');
}

static void on_end(struct kube_call *c, const struct err *e)
{
	struct kube_store *ks = container_of(c, struct kube_store, event);

	ks->event_on = false;
	str_free(&ks->event_body);
	if (!e && (c->status == 201 || c->status == 409)) {
		kube_events(ks);
		return;
	}
	if (e)				/* once more when the server answers again */
		ks->told[--ks->told_count % ARRAY_SIZE(ks->told)] = 0;
	if (!ks->event_failed)
		log_warn("store", "Events: cannot create one: %s (%d)", e ? e->text : "the server refuses", c->status);
	ks->event_failed = true;
}

void kube_events(struct kube_store *ks)
{
	const struct problem *p;

	if (ks->event_on || ks->event_soon.on || ks->s->state != STORE_SYNCED)
		return;
	table_each(&ks->s->model->problems, p) {
		uint64_t hash = p->row.digest ^ fnv64a(p->row.key, strlen(p->row.key));

		if (is_told(ks, hash))
			continue;
		if (!may_tell(ks))
			return;
		ks->told[ks->told_count++ % ARRAY_SIZE(ks->told)] = hash;
		ks->event_on = true;
		body(ks, p, hash);
		ks->event = (struct kube_call){ .method = "POST", .path = "/api/v1/namespaces/default/events", .content_type = "application/json",
						.body = ks->event_body.s, .body_len = ks->event_body.len, .on_end = on_end };
		kube_start(ks->kube, &ks->event);
		return;
	}
}

static void on_soon(struct timer *t)
{
	kube_events(container_of(t, struct kube_store, event_soon));
}

void kube_problems(struct store *s)
{
	struct kube_store *ks = s->driver_state;

	ks->event_soon.fn = on_soon;
	if (!ks->event_soon.on)
		timer_set(s->loop, &ks->event_soon, LASTED_MS);
}

void kube_events_stop(struct kube_store *ks)
{
	kube_cancel(&ks->event);
	timer_del(ks->s->loop, &ks->event_soon);
	str_free(&ks->event_body);
}
