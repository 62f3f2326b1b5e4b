#ifndef VERBS_H
#define VERBS_H
/* Verbs of the running agent that take more than a line: see the table in agent.c.  ctx is the struct agent. */
#include "ctl/ctl.h"

/* verb_object.c: words[0] of apply and delete is the file's name as it was given, words[1] its text. */
void verb_get(void *ctx, struct ctl_call *c);		/* KIND NAME NAMESPACE; the last two may be "" */
void verb_apply(void *ctx, struct ctl_call *c);
void verb_delete(void *ctx, struct ctl_call *c);

/* verb_ipam.c */
void verb_ipam_check(void *ctx, struct ctl_call *c);	/* ["--fix"] */
void verb_ipam_release(void *ctx, struct ctl_call *c);	/* ADDRESS */

#endif
