#ifndef UNINSTALL_H
#define UNINSTALL_H
/*
 * `manx uninstall`: removes what manx put on this node, and nothing else.  Folders that
 * are not empty stay, and so do settings of the kernel (forwarding).
 */
#include "base/str.h"
#include "model/config.h"

/*
 * The whole, in this process and its network namespace: no agent runs, and the caller holds run_dir's lock or there is
 * no run_dir.  away: the datastore is, so what it says of this node stays.  out: what went; err: what could not go.  The
 * exit code.
 */
int uninstall_run(const struct config *c, bool away, struct str *out, struct str *err);

/* Where no agent runs: takes the lock, then all of it. */
int uninstall_alone(const struct config *c, struct str *out, struct str *err);

#endif
