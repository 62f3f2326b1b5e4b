#include "nft/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/util.h"

/*
 * The pass: dirty rows become wants, wants and what the kernel has become a
 * batch.  What the kernel refuses is looked into: first everything is read again,
 * then the table is made anew, then the timer tries it again, ever more slowly.  Meanwhile
 * the kernel keeps what it has.
 */

enum { ROUNDS = 6, RACES = 4, HELD_TRIES = 5, LOOK_EVERY_MS = 100, BACKOFF_FIRST_MS = 10, BACKOFF_MAX_MS = 5000, TELL_EVERY_MS = 10000 };

static bool model_concerns_us(const struct nft *n)
{
	const struct model *m = n->model;

	return !n->started || m->endpoints.dirty || m->blocks.dirty || m->nodes.dirty || m->pools.dirty ||
	       m->uplinks.dirty || policies_dirty(n);
}

/* ---- what is told ---- */

static void tell_trouble(struct nft *n, const struct err *e)
{
	const char *remedy = e->code == EPERM ? "end the other agent, or program, that owns the table" : "";

	if (!n->rc)
		log_warn("nft", "%s%s%s", e->text, *remedy ? ": " : "", remedy);
	model_problem(n->model, "nft", "table", remedy, "%s", e->text);
	n->rc = -e->code;
	str_copy(n->why, sizeof n->why, e->text);
}

static void tell_health(struct nft *n)
{
	if (!n->rc)
		return;
	n->rc = 0;
	log_info("nft", "table inet " NFT_TABLE ": in place");
	model_problem_clear(n->model, "nft", "table");
}

static void tell_repair(struct nft *n)
{
	uint64_t now = now_ms();

	if (n->told_ms && now - n->told_ms < TELL_EVERY_MS)
		return;
	n->told_ms = now;
	log_warn("nft", "table inet " NFT_TABLE " was changed by another program: repaired");
}

/* ---- a round ---- */

/* Somebody changed some table: ours is looked at, but not at every change of a busy ruleset. */
static void suspicion_heed(struct nft *n)
{
	uint64_t now = now_ms();

	if (!n->suspect || n->lost || now - n->looked_ms < LOOK_EVERY_MS)
		return;
	n->suspect = false;
	n->lost = true;
}

static int look(struct nft *n, struct err *e)
{
	bool settled = n->looked_ms && !n->rules.unread && !nft_differs(n);	/* what was not read may be old */
	int rc = have_read(n, e);

	n->looked_ms = now_ms();
	n->lost = rc != 0;
	n->repairing |= !rc && settled && nft_differs(n);
	return rc;
}

static void succeeded(struct nft *n)
{
	n->failures = n->backoff_ms = 0;
	n->waiting = false;
	policies_accepted(n);
	tell_health(n);
	if (n->repairing)
		tell_repair(n);
	n->repairing = false;
}

/* True when another try at once makes sense. */
static bool failed(struct nft *n, const struct err *e)
{
	bool held = e->code == EPERM;	/* by the last agent, for a moment, or by somebody else */

	n->lost = true;
	n->failures++;
	if (n->failures == 2 && n->full && !held && e->code != ERESTART && policies_refuse(n, e)) {
		n->failures = 0;
		return true;
	}
	n->replace_next = n->full && !held && n->failures > (e->code == ERESTART ? RACES : 1);
	if (n->failures < ROUNDS && !held)
		return true;
	if (n->failures >= HELD_TRIES || !held)
		tell_trouble(n, e);
	n->backoff_ms = n->backoff_ms ? n->backoff_ms * 2 : BACKOFF_FIRST_MS;
	if (n->backoff_ms > BACKOFF_MAX_MS)
		n->backoff_ms = BACKOFF_MAX_MS;
	n->waiting = true;
	return false;
}

/* True: again. */
static bool try(struct nft *n)
{
	struct err e = { 0 };
	int rc = n->lost ? look(n, &e) : 0;

	if (n->replace_next && n->full) {	/* needs no look */
		n->replace = true;
		rc = 0;
	}
	if (!rc && nft_differs(n))
		rc = nft_apply(n, &e);
	n->wanted = false;
	if (rc)
		return failed(n, &e);
	n->replace_next = n->lost = false;
	succeeded(n);
	return false;
}

static bool has_work(const struct nft *n)
{
	return n->lost || nft_differs(n);
}

static void retry_arm(struct nft *n)
{
	uint64_t since = now_ms() - n->looked_ms;

	if (n->waiting)
		timer_set(n->loop, &n->retry, n->backoff_ms);
	else if (n->suspect)
		timer_set(n->loop, &n->retry, since < LOOK_EVERY_MS ? LOOK_EVERY_MS - since : 1);
	else
		timer_del(n->loop, &n->retry);
	if (!n->refused)
		timer_del(n->loop, &n->second_look);
}

/* All that depends on what the kernel can is looked at again. */
static void on_doubt(struct timer *t)
{
	container_of(t, struct nft, doubt)->started = false;
}

static bool is_usable(struct nft *n)
{
	struct err e = { 0 };

	if (n->present == ANSWER_UNKNOWN && !n->doubt.on && kernel_open(n, &e) < 0)
		timer_set(n->loop, &n->doubt, BACKOFF_MAX_MS);
	return n->present == ANSWER_YES;
}

/* The pass that they wake does the rest. */
static void on_second_look(struct timer *t)
{
	(void)t;
}

static void on_retry(struct timer *t)
{
	struct nft *n = container_of(t, struct nft, retry);

	n->waiting = false;
}

void nft_run(struct nft *n)
{
	if (!is_usable(n))
		return;
	forward_look(n);
	if (model_concerns_us(n))
		nft_want(n);
	policies_reconsider(n);
	n->full = n->model->complete && n->model->endpoints_known;
	suspicion_heed(n);
	n->lost |= n->rules.unread;
	if (has_work(n) && (!n->waiting || n->wanted)) {
		while (try(n))
			;
		retry_arm(n);
	} else if (n->suspect && !n->retry.on) {
		retry_arm(n);
	}
	if (n->touched_count)
		askers_report(n);
	flows_run(n);
}

bool nft_settled(const struct nft *n)
{
	return n->present == ANSWER_NO || (n->present == ANSWER_YES && n->started && n->full && !n->doubt.on && !has_work(n));
}

struct nft_counts nft_counts(const struct nft *n)
{
	return (struct nft_counts){ n->rules.have_rules, n->rules.have_sets, n->rules.have_elements };
}

int nft_cleanup(struct nft *n, struct err *e)
{
	int rc;

	if (n->present != ANSWER_YES)
		return 0;
	batch_begin(&n->command, 0);
	message_table(&n->command, NFT_MSG_NEWTABLE, NFT_TABLE, 0);
	message_table(&n->command, NFT_MSG_DELTABLE, NFT_TABLE, 0);
	batch_end(&n->command);
	rc = nl_commit(&n->command, NULL, e);
	if (!rc) {
		n->lost = true;
		rc = forward_cleanup(n, e);
	}
	return rc;
}

struct nft *nft_new(struct loop *l, struct model *m, struct err *e)
{
	struct nft *n = xcalloc(1, sizeof *n);

	n->loop = l;
	n->model = m;
	n->command.fd = n->events.fd = -1;
	n->retry.fn = on_retry;
	n->second_look.fn = n->forward_timer.fn = on_second_look;
	n->doubt.fn = on_doubt;
	n->lost = true;
	if (flows_open(n) < 0 || kernel_open(n, e) < 0) {
		nft_free(n);
		return NULL;
	}
	policies_open(n);
	base_sets(n);
	return n;
}

void nft_free(struct nft *n)
{
	if (!n)
		return;
	timer_del(n->loop, &n->retry);
	timer_del(n->loop, &n->second_look);
	timer_del(n->loop, &n->forward_timer);
	timer_del(n->loop, &n->doubt);
	flows_close(n);
	kernel_close(n);
	policies_close(n);
	askers_free(n);
	ruleset_free(&n->rules);
	free(n->own);
	free(n->notes);
	free(n);
}
