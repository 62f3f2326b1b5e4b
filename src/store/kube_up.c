/*
 * The Node's condition NetworkUnavailable, which keeps pods away from it (as a taint) while it is
 * True: False once the node is ready, and not True while there is no agent, as pods go on without it; but
 * when manx is uninstalled (kube_write.c).
 */
#include "store/kube_driver.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

const char kube_strategic[] = "application/strategic-merge-patch+json";

enum { RETRY_MS = 5000, TIMES_MAX = 8 };

void kube_now(char now[32])
{
	const struct utc u = utc_of(wall_ns());

	snprintf(now, 32, "%04d-%02d-%02dT%02d:%02d:%02dZ", u.year, u.month, u.day, u.hour, u.minute, u.second);
}

void kube_up_condition(struct str *out, bool up)
{
	char now[32];

	kube_now(now);
	str_printf(out, "\"status\":{\"conditions\":[{\"type\":\"NetworkUnavailable\",\"status\":\"%s\",\"reason\":\"ManxIs%s\","
		   "\"message\":\"manx is %s this node\",\"lastHeartbeatTime\":\"%s\",\"lastTransitionTime\":\"%s\"}]}}",
		   up ? "False" : "True", up ? "Up" : "Gone", up ? "ready on" : "uninstalled from", now, now);
}

static void on_end(struct kube_call *c, const struct err *e)
{
	struct kube_store *ks = container_of(c, struct kube_store, up);

	str_free(&ks->up_path);
	str_free(&ks->up_body);
	ks->up_on = false;
	if (!e && c->status == 200)
		return;
	if (ks->up_times == 1)
		log_warn("store", "condition NetworkUnavailable of Node %s: %s (%d)", ks->s->config->node_name,
			 e ? e->text : "not written", c->status);
	timer_set(ks->s->loop, &ks->up_again, kube_backoff(ks, RETRY_MS, ks->up_times, KUBE_PROBE_MAX_MS));
}

void kube_up(struct kube_store *ks)
{
	const struct node *self = model_self(ks->s->model);

	if (!ks->ready || ks->up_on || ks->up_again.on || !self || self->network_up || ks->s->state != STORE_SYNCED ||
	    ks->up_times == TIMES_MAX)
		return;
	ks->up_on = true;
	ks->up_times++;
	str_printf(&ks->up_path, "/api/v1/nodes/%s/status", self->row.key);
	str_puts(&ks->up_body, "{");
	kube_up_condition(&ks->up_body, true);
	ks->up = (struct kube_call){ .method = "PATCH", .path = ks->up_path.s, .content_type = kube_strategic,
				     .body = ks->up_body.s, .body_len = ks->up_body.len, .on_end = on_end };
	kube_start(ks->kube, &ks->up);
}

static void on_again(struct timer *t)
{
	kube_up(container_of(t, struct kube_store, up_again));
}

void kube_ready(struct store *s)
{
	struct kube_store *ks = s->driver_state;

	ks->ready = true;
	ks->up_again.fn = on_again;
	kube_up(ks);
}

void kube_up_stop(struct kube_store *ks)
{
	kube_cancel(&ks->up);
	timer_del(ks->s->loop, &ks->up_again);
	str_free(&ks->up_path);
	str_free(&ks->up_body);
}
