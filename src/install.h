#ifndef INSTALL_H
#define INSTALL_H
/*
 * `manx install`: this program as a service of the host, with settings for the distribution that is found there.
 * What it writes is listed in state_dir/installed; `manx uninstall` takes that away again.
 */
#include "model/config.h"

#define DEFAULT_CONFIG "/etc/manx.conf"

/* c: DEFAULT_CONFIG if there is one, and the sets ("key=value") over it.  dry: only says what would be.  The exit code. */
int install_run(const struct config *c, const char *const *sets, unsigned set_count, bool dry);

/* Removes what install_run() wrote, and says so.  The exit code. */
int install_undo(const struct config *c);

#endif
