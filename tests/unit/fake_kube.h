/* A transport without a network: requests are noted, a test answers them.  Each callback comes from the loop's turn. */
#ifndef TESTS_FAKE_KUBE_H
#define TESTS_FAKE_KUBE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "store/kube.h"

enum { FAKE_CALLS = 64 };
struct kube { struct kube_call *calls[FAKE_CALLS]; unsigned asked; };
static struct kube fake;

struct kube *kube_open(struct loop *l, const struct config *config, struct err *e)
{
	(void)l;
	(void)config;
	(void)e;
	memset(&fake, 0, sizeof fake);
	return &fake;
}

void kube_close(struct kube *k) { (void)k; }
const char *kube_server(const struct kube *k) { (void)k; return "192.0.2.1:6443"; }

void kube_start(struct kube *k, struct kube_call *c)
{
	unsigned i = 0;

	while (k->calls[i])
		if (++i == FAKE_CALLS)
			abort();
	k->calls[i] = c;
	k->asked++;
	c->status = 0;
	if (c->answer)
		str_clear(c->answer);
}

void kube_cancel(struct kube_call *c)
{
	for (unsigned i = 0; i < FAKE_CALLS; i++)
		if (fake.calls[i] == c)
			fake.calls[i] = NULL;
}

/* The open request of that method whose path has that in it; NULL: none. */
static inline struct kube_call *fake_find(const char *method, const char *part)
{
	for (unsigned i = 0; i < FAKE_CALLS; i++)
		if (fake.calls[i] && strcmp(fake.calls[i]->method, method) == 0 && strstr(fake.calls[i]->path, part))
			return fake.calls[i];
	return NULL;
}

static inline void fake_head(struct kube_call *c, int status)
{
	c->status = status;
	c->json = true;
	if (c->on_head)
		c->on_head(c);
}

static inline void fake_data(struct kube_call *c, const char *text)
{
	if (c->on_data)
		c->on_data(c, text, strlen(text));
	else if (c->answer)
		str_puts(c->answer, text);
}

static inline void fake_end(struct kube_call *c, int code)
{
	struct err e = { 0 };

	kube_cancel(c);
	if (code)
		err_set(&e, code, "192.0.2.1:6443: %s", strerror(code));
	c->on_end(c, code ? &e : NULL);
}

static inline void fake_answer(struct kube_call *c, int status, const char *text)
{
	fake_head(c, status);
	if (*text)
		fake_data(c, text);
	fake_end(c, 0);
}

#endif
