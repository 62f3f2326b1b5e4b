#ifndef EXPLAIN_H
#define EXPLAIN_H
/*
 * `manx explain FROM TO PORT[/PROTO]`: who decides, step by step; of the agent's model, or (explain_files) of
 * objects in files, without an agent.
 */
#include "base/err.h"
#include "base/str.h"
#include "model/verdict.h"
#include "nft/nft.h"

/* What is asked for, and the text or JSON goes to out.  The exit code, or (EXIT_USAGE, EXIT_FAILED) *e says why not. */
int explain(const struct model *m, struct nft *kernel, const char *const *words, unsigned count, bool json, struct str *out,
	    struct err *e);

/* The same, reading files and the kernel itself; prints.  The exit code. */
int explain_files(const struct config *config, const char *const *files, unsigned file_count, const char *const *words,
		  unsigned count, bool json);

/*
 * "agrees", or what differs, or why the kernel was not asked.  to_host: the packet ends at this node itself.  allowed:
 * what the policies say, of which this node's kernel knows that of its own pods.
 */
void explain_kernel(const struct model *m, struct nft *n, const struct question *q, bool to_host,
		    const bool allowed[DIRECTIONS], struct str *out);

#endif
