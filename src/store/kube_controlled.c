/* Do Calico's controllers run?  Their pods say so, wherever they are. */
#include "store/kube_driver.h"

#include "base/util.h"

static const char path[] = "/api/v1/pods?labelSelector=k8s-app%3Dcalico-kube-controllers"
			   "&fieldSelector=status.phase%21%3DFailed%2Cstatus.phase%21%3DSucceeded";

static void on_end(struct kube_call *c, const struct err *e)
{
	struct kube_store *ks = container_of(c, struct kube_store, controlled.call);
	struct err ignored = { 0 };
	bool yes = true;
	struct json j;

	if (!e && c->status == 200 && json_parse(&j, str_text(c->answer), c->answer->len, &ignored) == 0) {
		json_value items = json_get(&j, 0, "items");

		yes = json_type(&j, items) != JSON_ARRAY || json_length(&j, items) > 0;
		json_free(&j);
	}
	str_free(c->answer);
	ks->controlled.answer(ks->controlled.ctx, yes);
}

void kube_controlled(struct store *s, void (*answer)(void *ctx, bool yes), void *ctx)
{
	struct kube_store *ks = s->driver_state;

	ks->controlled.answer = answer;
	ks->controlled.ctx = ctx;
	ks->controlled.call = (struct kube_call){ .method = "GET", .path = path, .answer = &ks->controlled.text, .on_end = on_end };
	kube_start(ks->kube, &ks->controlled.call);
}

void kube_controlled_stop(struct kube_store *ks)
{
	kube_cancel(&ks->controlled.call);
	str_free(&ks->controlled.text);
}
