#ifndef VERBS_H
#define VERBS_H
/* Verbs of the running agent that take more than a line: see the table in agent.c.  ctx is the struct agent. */
#include "ctl/ctl.h"

/* verb_ipam.c */
void verb_ipam_check(void *ctx, struct ctl_call *c);	/* ["--fix"] */
void verb_ipam_release(void *ctx, struct ctl_call *c);	/* ADDRESS */

#endif
