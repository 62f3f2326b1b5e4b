/*
 * The difference between what is wanted and what the kernel has, as one batch:
 * all of it comes true, or nothing.  What something else needs comes first:
 *
 *	the table, new sets, new chains, empty what changes, elements that go,
 *	rules, elements that come, sets and chains that go
 *
 * A table of another layout, or one that cannot become ours, is deleted and made again
 * in the same batch, which looks at nothing that was there.
 */
#include "nft/nft_int.h"

#include <errno.h>
#include <string.h>
#include "base/log.h"
#include "base/util.h"

enum { LARGE = 1 << 15 };		/* bytes of a batch */

static bool is_new(const struct element *e)
{
	return e->wants && !e->have;
}

static bool is_old(const struct element *e)
{
	return !e->wants && e->have;
}

static bool has_new(const struct set *s)
{
	for (const struct element *e = s->marks; e; e = e->marked_next)
		if (is_new(e))
			return true;
	return false;
}

static bool differs(const struct set *s)
{
	if (s->wanted != s->have)
		return true;
	for (const struct element *e = s->marks; e; e = e->marked_next)
		if (is_new(e) || is_old(e))
			return true;
	return false;
}

/* ---- is there anything to do? ---- */

/* The kernel's table is to become ours. */
static bool to_be_owned(const struct nft *n)
{
	return n->table && !n->replace && n->owning && !n->owned;
}

/* Before everything is known: what leads to chains waits for them. */
static bool may_grow(const struct set *s)
{
	return s->have && !set_is_odd(s) && s->kind != SET_VERDICTS;
}

static bool only_adds_needed(const struct nft *n)
{
	if (!n->table || n->replace)
		return false;
	for (const struct set *s = n->rules.marked_sets; s; s = s->marked_next)
		if (may_grow(s) && has_new(s))
			return true;
	return false;
}

static bool all_needed(const struct nft *n)
{
	if (!n->table || n->replace)
		return true;
	for (const struct set *s = n->rules.marked_sets; s; s = s->marked_next)
		if (differs(s) || set_is_odd(s))
			return true;
	for (const struct chain *c = n->rules.marked_chains; c; c = c->marked_next)
		if (!chain_fits(c))
			return true;
	return false;
}

bool nft_differs(const struct nft *n)
{
	return to_be_owned(n) || (n->full ? all_needed(n) : only_adds_needed(n));
}

/* What cannot be altered is other than it should be. */
static bool something_is_odd(const struct nft *n)
{
	for (const struct set *s = n->rules.marked_sets; s; s = s->marked_next)
		if (set_is_odd(s))
			return true;
	for (const struct chain *c = n->rules.marked_chains; c; c = c->marked_next)
		if (chain_is_odd(c))
			return true;
	return false;
}

/* ---- the batch ---- */

/* The messages from here on are about that chain or set. */
static void note(struct nft *n, const struct chain *c, const struct set *s)
{
	if (n->note_count == n->note_cap) {
		n->note_cap = n->note_cap ? n->note_cap * 2 : 32;
		n->notes = xrealloc(n->notes, n->note_cap * sizeof *n->notes);
	}
	n->notes[n->note_count++] = (struct note){ n->command.count, c, s };
}

/* Of the refused messages the first tells; those behind it may only have failed for want of it. */
static void on_answered(void *ctx, unsigned position, int rc, const char *text)
{
	struct nft *n = ctx;
	(void)text;

	if (!rc || n->culprit.chain || n->culprit.set)
		return;
	for (unsigned i = n->note_count; i--;) {
		if (n->notes[i].from > position)
			continue;
		n->culprit = n->notes[i];
		return;
	}
}

static void plan_table(struct nft *n)
{
	struct nl *nl = &n->command;

	if (n->replace) {		/* so that it can be deleted, it is there */
		message_table(nl, NFT_MSG_NEWTABLE, NFT_TABLE, 0);
		message_table(nl, NFT_MSG_DELTABLE, NFT_TABLE, 0);
	}
	if (!n->table || n->replace || to_be_owned(n))
		message_table(nl, NFT_MSG_NEWTABLE, NFT_TABLE, table_flags(n));
}

#define each_marked_set(n, s) for (struct set *(s) = (n)->rules.marked_sets; (s); (s) = (s)->marked_next)
#define each_marked_chain(n, c) for (struct chain *(c) = (n)->rules.marked_chains; (c); (c) = (c)->marked_next)

static void plan_new(struct nft *n)
{
	each_marked_set(n, s) {
		if (!s->wanted || s->have)
			continue;
		note(n, NULL, s);
		message_set(&n->command, NFT_MSG_NEWSET, s);
	}
	each_marked_chain(n, c) {
		if (!c->wanted || c->have)
			continue;
		note(n, c, NULL);
		message_chain(&n->command, NFT_MSG_NEWCHAIN, NFT_TABLE, c);
	}
}

static void plan_rules(struct nft *n)
{
	each_marked_chain(n, c)
		if (c->have_rules && !chain_fits(c))
			message_rules_flush(&n->command, c);
	each_marked_set(n, s)
		if (s->wanted)
			message_elements(&n->command, NFT_MSG_DELSETELEM, s, is_old);
	each_marked_chain(n, c) {
		if (!c->wanted || chain_fits(c))
			continue;
		note(n, c, NULL);
		for (const struct rule *r = c->rules.first; r; r = r->next)
			message_rule(&n->command, NFT_TABLE, c, r);
	}
}

static void plan_elements(struct nft *n)
{
	each_marked_set(n, s) {
		if (!(n->full ? s->wanted : may_grow(s)))
			continue;
		note(n, NULL, s);
		message_elements(&n->command, NFT_MSG_NEWSETELEM, s, is_new);
	}
	note(n, NULL, NULL);
}

static void plan_gone(struct nft *n)
{
	each_marked_set(n, s)
		if (!s->wanted && s->have)
			message_set(&n->command, NFT_MSG_DELSET, s);
	each_marked_chain(n, c)
		if (!c->wanted && c->have)
			message_chain(&n->command, NFT_MSG_DELCHAIN, NFT_TABLE, c);
}

/* ---- what became of it ---- */

static void settle_elements(struct nft *n, struct set *s)
{
	struct element *e = s->marks, *next;

	s->marks = NULL;
	for (; e; e = next) {
		next = e->marked_next;
		e->marked = false;
		if (is_new(e) && s->have && (n->full || may_grow(s)))
			element_have(&n->rules, e, true);
		else if (is_old(e) && n->full)
			element_have(&n->rules, e, false);
		else if (is_new(e) || is_old(e))
			element_mark(&n->rules, e);
		element_release(e);
	}
}

static void settle_sets(struct nft *n)
{
	struct set *s = n->rules.marked_sets, *next;

	n->rules.marked_sets = NULL;
	for (; s; s = next) {
		next = s->marked_next;
		s->marked = false;
		if (n->full && s->wanted && !s->have)
			s->have_shape = set_shape_wanted(s);
		if (n->full)
			set_have(&n->rules, s, s->wanted);
		settle_elements(n, s);
		if (s->wanted != s->have)
			set_mark(&n->rules, s);
		set_release(&n->rules, s);
	}
}

static void settle_chains(struct nft *n)
{
	struct chain *c = n->rules.marked_chains, *next;

	if (!n->full)
		return;
	n->rules.marked_chains = NULL;
	for (; c; c = next) {
		next = c->marked_next;
		c->marked = false;
		if (c->wanted && !c->have)
			c->have_shape = chain_shape_wanted(c);
		chain_have(&n->rules, c, c->wanted, c->wanted ? c->rules.digest : 0, c->wanted ? c->rules.count : 0);
		chain_release(&n->rules, c);
	}
}

static void settle(struct nft *n)
{
	n->table = true;
	n->owned = n->owning;
	n->suspect |= n->replace && !n->owning;	/* the generation that was read is an older one */
	n->replace = false;
	if (n->generation && !++n->generation)
		n->generation = 1;
	settle_sets(n);
	settle_chains(n);
}

/*
 * The kernel makes a message of each element and rule for whoever listens, 4 KiB each until the commit ends: of a
 * large batch that is most of the time and hundreds of megabytes.  Our own changes are no news to us, so we do not
 * listen meanwhile; then somebody else may have changed something.
 */
static int commit(struct nft *n, struct err *e)
{
	struct nl_answer answer = { .done = on_answered, .ctx = n };
	bool large = n->events.fd >= 0 && n->command.len > LARGE;
	int rc;

	if (large)
		nl_listen(&n->events, NFNLGRP_NFTABLES, false);
	rc = nl_commit(&n->command, &answer, e);
	if (large && nl_listen(&n->events, NFNLGRP_NFTABLES, true) < 0)
		log_warn("nft", "changes by others are not heard of any more");
	n->forward_suspect |= large;
	n->suspect |= large && !n->owning;
	return rc;
}

int nft_apply(struct nft *n, struct err *e)
{
	int rc;

	n->note_count = 0;
	n->culprit = (struct note){ 0 };
	if (n->full && something_is_odd(n))
		n->replace = true;
	if (n->full && n->replace)
		have_nothing(n);
	batch_begin(&n->command, n->owning || n->replace ? 0 : n->generation);
	if (n->full || to_be_owned(n))
		plan_table(n);
	if (n->full) {
		plan_new(n);
		plan_rules(n);
	}
	plan_elements(n);
	if (n->full)
		plan_gone(n);
	batch_end(&n->command);
	rc = commit(n, e);
	if (!rc)
		settle(n);
	return rc;
}
