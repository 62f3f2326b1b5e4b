#ifndef NFT_NFT_INT_H
#define NFT_NFT_INT_H
/*
 * Inside the nf_tables reconciler.
 *
 * An *asker* is a row that asks for elements (an endpoint, a node, a block).
 * An element is wanted while some asker asks for it, so what is wanted is a function of the
 * rows alone.  Chains are few and small: what they depend on rebuilds them whole, and
 * chain_want() sees whether they differ.
 */
#include "model/index.h"
#include "nft/message.h"
#include "nft/nft.h"
#include "nft/ruleset.h"

struct note { unsigned from; const struct chain *chain; const struct set *set; };

enum asker_kind { ASKER_BASE, ASKER_ENDPOINT, ASKER_NODE, ASKER_BLOCK };

struct asker {
	struct hash_node node;
	uint8_t kind;
	bool touched;
	bool reported;			/* the endpoint row's rc is ours */
	bool denied;			/* the kernel cannot lead its host ports to it */
	bool shares;			/* an address that another one's policies are about: it has nothing */
	struct element **elements;
	unsigned count;
	char key[];
};

/* The sets of base.c; those of one family and of the other stand side by side. */
enum fixed_set {
	SET_PODS, SET_PODS_6,		/* link and address of each local pod */
	SET_NODES, SET_NODES_6,		/* other nodes */
	SET_BORROWED, SET_BORROWED_6,	/* addresses of local pods that no own block holds */
	SET_LENT, SET_LENT_6,		/* addresses of own blocks that another node's pod has */
	SET_NEIGHBOUR_TYPES,		/* of ICMPv6, what a link-local address may send */
	SET_DISCOVERY_TYPES,		/* of ICMPv6, what no policy is asked about */
	SET_IN_PORTS, SET_IN_PORTS_6,	/* maps: isolated pod, protocol and port, to who may */
	SET_IN, SET_IN_6,		/* maps: isolated pod, to who may on other ports */
	SET_OUT_PORTS, SET_OUT_PORTS_6, SET_OUT, SET_OUT_6,
	SET_HAIRPIN, SET_HAIRPIN_6,	/* an isolated pod's address, twice: it may always reach itself */
	SET_HOST_PORTS, SET_HOST_PORTS_6,	/* maps: node's address, protocol and port, to a pod's address and port */
	SET_ANY_PORTS, SET_ANY_PORTS_6,	/* maps: the same of all addresses of the node */
	SET_PORT_PODS, SET_PORT_PODS_6,	/* address of a pod that has some, twice */
	FIXED_SETS
};

/* Addresses of pods that have gone, whose flows are to end; see conntrack.c. */
struct flows {
	struct addr *gone;
	unsigned count, cap;
	struct search *search;		/* that is under way */
	struct timer timer;
	struct watch watch;		/* its end */
	bool swept;			/* free addresses were looked at once */
	bool told;			/* that it failed */
};

/* What kernels may lack: see probe.c. */
enum probe { PROBE_TABLE, PROBE_OWNED, PROBE_CONNTRACK, PROBE_NAT, PROBE_DNAT, PROBES };

struct nft {
	struct loop *loop;
	struct model *model;
	struct nl command, events;
	struct watch watch;
	struct timer retry;

	/* want */
	struct ruleset rules;
	struct hash askers;
	struct asker **touched;
	unsigned touched_count, touched_cap;
	struct element **asked;		/* by the asker at hand */
	unsigned asked_count, asked_cap;
	unsigned sharing;		/* askers that share */
	struct set *set[FIXED_SETS];
	struct prefix *own;		/* own blocks, sorted */
	unsigned own_count;
	bool tunnel[TUNNELS], tunnelled;	/* which some pool asks for; any */
	struct index index;		/* pods and the peers that mean them */
	struct hash peer_sets, range_sets, decisions, profiles, refs, filed;	/* see policy.h */
	uint32_t aims;			/* pods whose policies were looked for */
	struct chain *deny, *ingress;	/* ingress: where a source that may goes on */
	bool families[FAMILIES];	/* that pods may have addresses of */
	bool host_ports;		/* some pod has them, and the kernel can */
	enum answer conntrack;		/* the kernel has it; else an isolated pod is closed */
	struct flows flows;
	bool started;			/* every row was looked at once */
	bool wanted;			/* something was asked for since the last try */

	/* the kernel */
	enum answer present;	/* it has nf_tables; UNKNOWN: it did not answer yet */
	bool owning;			/* tables can be owned, and are to be */
	int probed[PROBES];		/* 0, or why not */
	enum answer nat, dnat;		/* has masquerading, and what host ports need; told when it is first wanted */
	struct timer doubt;		/* on: some answer is missing; then it is asked again */
	bool doubted;			/* that it was, was told */
	bool table;			/* is there ... */
	bool owned;			/* ... and ours alone */
	bool replace;			/* ... but is to be made again */
	bool replace_next;		/* since nothing else helped */
	uint32_t generation;		/* of the ruleset as it was read; not used when owned */

	/* apply */
	struct note *notes;		/* whose messages begin where in the batch */
	unsigned note_count, note_cap;
	struct note culprit;		/* the first that the kernel refused; all NULL: unknown */
	unsigned refused;		/* policies that the kernel does not take */
	uint64_t reconsider_ms;		/* when they are tried again */
	unsigned reconsider_in_ms;
	struct timer second_look;
	bool full;			/* everything may be changed, see nft_run() */
	bool lost;			/* what the kernel has is not known: read it */
	bool suspect;			/* somebody changed the ruleset, perhaps our table */
	bool waiting;			/* for the timer, after a failure */
	bool repairing;			/* what differs was not our doing */
	uint64_t looked_ms, told_ms;
	bool forward_suspect;		/* somebody changed some table: forward.c looks at others' chains */
	uint64_t forward_looked_ms;
	struct timer forward_timer;
	unsigned failures, backoff_ms;
	int rc;				/* of the last failure, with its text; 0: all is well */
	char why[256];
	uint32_t reading;		/* number of the reading at hand */
};

/* ---- asker.c: who asks for elements ---- */

struct asker *asker_begin(struct nft *n, enum asker_kind kind, const char *key);
void asker_ask(struct nft *n, struct set *s, const void *key);
void asker_end(struct nft *n, struct asker *o);	/* what it asked for before and not now goes */
void askers_report(struct nft *n);		/* tells the endpoints' rows what became of theirs */
void askers_free(struct nft *n);

/* ---- base.c: the sets and chains of every node ---- */

void base_sets(struct nft *n);			/* once */
void base_chains(struct nft *n);

/* ---- hostport.c ---- */

bool host_ports_update(struct nft *n);		/* true: there are some now, or none any more */
void host_ports_ask(struct nft *n, const struct endpoint *e);
void host_ports_chains(struct nft *n);
void host_ports_masquerade(struct nft *n, struct rule_list *l);

/* ---- want.c ---- */

void want_endpoint(struct nft *n, const struct endpoint *e);
void nft_want(struct nft *n);		/* takes in the dirty rows (all rows the first time) */

/* ---- conntrack.c ---- */

int flows_open(struct nft *n);
void flows_run(struct nft *n);		/* part of the pass, behind the rules */
void flows_close(struct nft *n);

/* ---- table.c: the sockets, what the kernel can, the table as such ---- */

int kernel_open(struct nft *n, struct err *e);	/* also again, while ->present is UNKNOWN */
void kernel_close(struct nft *n);
bool kernel_has_nat(struct nft *n);
bool kernel_has_dnat(struct nft *n);
/* Does an error say what the kernel lacks?  Others (no memory, interrupted ...) say nothing of it. */
bool nft_is_lack(int rc);
uint32_t table_flags(const struct nft *n);	/* with which the table is made */

/* ---- probe.c ---- */

void nft_probe(struct nl *nl, int rc[PROBES]);	/* asks the kernel: 0, or -errno for each */

/* ---- forward.c: the chains of others that would drop pods' packets ---- */

void forward_look(struct nft *n);
int forward_cleanup(struct nft *n, struct err *e);

/* ---- have.c ---- */

int have_read(struct nft *n, struct err *e);	/* 0, or -errno: not known */
void have_nothing(struct nft *n);		/* the table is gone */
/* One message of a dump, which have_done() ends: what it did not name is not there. */
void have_chain(struct nft *n, const struct nlmsghdr *h);
void have_rule(struct nft *n, const struct nlmsghdr *h);
void have_set(struct nft *n, const struct nlmsghdr *h);
void have_elements(struct nft *n, const struct nlmsghdr *h);
void have_done(struct nft *n);

/* ---- apply.c ---- */

bool nft_differs(const struct nft *n);	/* from what it should be, as far as that may be changed now */
int nft_apply(struct nft *n, struct err *e);

#endif
