#ifndef CHECK_H
#define CHECK_H
/* `manx check`, and the reading of files that apply and delete send to the agent.  Both need no agent. */
#include <stdbool.h>
#include "base/str.h"

/* Parses each file: NAME.conf as configuration, others as objects ("-": stdin).  Prints errors and a summary. */
int check_files(const char *const *names, unsigned count, bool json);

/* The text of a file ("-": stdin) that fits into a request.  EXIT_OK, or it has said why, and the exit code. */
int check_read(const char *name, struct str *text);

#endif
