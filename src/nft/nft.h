#ifndef NFT_NFT_H
#define NFT_NFT_H
/*
 * The reconciler of the one nf_tables table, inet manx.  want.c and base.c turn
 * dirty rows into wanted sets and chains, have.c reads the kernel's (at the
 * start, and when somebody else changed the ruleset), apply.c sends the difference
 * as one batch.  Nobody else's table is touched, but for two rules in iptables' FORWARD chain (forward.c).
 */
#include "base/loop.h"
#include "base/str.h"
#include "model/model.h"

struct nft;

/* Opens its netlink sockets.  NULL with *e.  A kernel without nf_tables is no error: it is a problem in the model. */
struct nft *nft_new(struct loop *l, struct model *m, struct err *e);
void nft_free(struct nft *n);	/* leaves the kernel as it is */

/*
 * The pass.  Cheap when nothing is dirty.  Of an endpoint whose elements are not in the kernel the row says so
 * (rc, why).  Nothing is deleted before model->complete and ->endpoints_known; until then only
 * elements are added, to a table that is there.  Flows of attachments that went end soon, and before an address is
 * in use again.
 */
void nft_run(struct nft *n);

/* True when everything wanted is in the kernel, or the kernel has no nf_tables. */
bool nft_settled(const struct nft *n);

/* A packet that opens a connection, forwarded or (to_host) for this node.  Of a link that is no pod's: iif 0, name "". */
struct nft_packet {
	bool to_host;
	int iif;
	const char *iifname, *oifname;
	struct addr from, to;
	uint8_t protocol;
	uint16_t port;
};
struct nft_answer {
	bool allows;
	bool knows;			/* false: a chain is not as it should be, so the rules are not known */
	struct str differs;		/* what the packet met that is not as the rows want it; "": nothing */
};
/*
 * What the table in the kernel, read anew, does with a packet.  Changes nothing.  0, or negative
 * with *e: it cannot be read.
 */
int nft_trace(struct nft *n, const struct nft_packet *p, struct nft_answer *answer, struct err *e);

struct nft_counts { unsigned rules, sets, elements; };
struct nft_counts nft_counts(const struct nft *n);	/* what the kernel has of ours */

/* Deletes the table and those rules.  The next pass makes it again: for an agent that ends, or one that never ran. */
int nft_cleanup(struct nft *n, struct err *e);

#endif
