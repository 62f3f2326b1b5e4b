#ifndef NL_NL_H
#define NL_NL_H
/*
 * Netlink requests in batches (libmnl builds and parses the messages).
 *
 *	struct nlmsghdr *h = nl_begin(nl, RTM_NEWROUTE, NLM_F_CREATE, "route %s", ...);
 *	... mnl_nlmsg_put_extra_header(h, ...), mnl_attr_put(h, ...) ...
 *	nl_end(nl, h);
 *	rc = nl_commit(nl, &answer, &err);
 *
 * One commit is one sendmsg(2) (rtnetlink: one for every NL_CHUNK messages, so
 * that the answers fit the socket).  Each message has its own sequence number,
 * so an error names its object and carries the kernel's own text.
 *
 * A struct nl belongs to one thread.  The callbacks below run while its
 * receive buffer is being read: they must not use the same struct nl.
 */
#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/prefix.h"

enum {
	NL_MESSAGE_MAX = 16384,		/* what nl_begin() promises for one message */
	NL_CHUNK = 128,
	NL_IN_SIZE = 32768,		/* the largest datagram that a dump sends */
};

struct nl {
	int fd;				/* owned; -1 when closed */
	int protocol;
	uint32_t port;			/* 0: not known (adopted) */
	uint32_t seq, first_seq;	/* the last one given; that of the batch's first message */
	char *buf;			/* the batch being built */
	size_t len, cap;
	unsigned count;
	char *names;			/* what each message is about, for errors */
	size_t names_len, names_cap;
	char *in;			/* NL_IN_SIZE bytes on the stack, while the answers are read */
	size_t send_limit;		/* what SO_SNDBUF lets through; 0: not asked yet */
};

/* protocol: NETLINK_ROUTE ...; groups: a 0-terminated list of multicast groups, or NULL.  0 or -errno. */
int nl_open(struct nl *nl, int protocol, const unsigned *groups);
int nl_listen(struct nl *nl, unsigned group, bool on);	/* joins the group, or leaves it; 0 or -errno */
/*
 * Uses an rtnetlink socket that somebody opened elsewhere (inside a pod's namespace) and still owns, bound or
 * not.  Buffers of an earlier use are kept; with fd set to -1 again nl is idle, nl_close() frees it.
 */
int nl_adopt(struct nl *nl, int fd);
void nl_close(struct nl *nl);		/* repeatable */

/* Starts a message; NLM_F_REQUEST is added.  The text names its object in errors. */
struct nlmsghdr *nl_begin(struct nl *nl, uint16_t type, uint16_t flags, const char *about, ...)
	__attribute__((format(printf, 4, 5)));
void nl_end(struct nl *nl, struct nlmsghdr *h);

/*
 * Sends the batch and reads what the kernel says to it.  done() is called for
 * each message in order: its position (from 0), 0 or -errno, and "about: error
 * (kernel: text)" or NULL.  The first error also ends up in *e (may be NULL) and is
 * returned.  What answers a message with data (RTM_GETLINK of one link) goes to data().
 *
 * rtnetlink goes on after a message that failed.  An nf_tables batch that
 * returns an error changed nothing, whatever done() was told of the others.
 * A batch that could not be sent, or whose answers did not come within 5 s, fails
 * for each message that is left.
 */
struct nl_answer {
	void (*done)(void *ctx, unsigned position, int rc, const char *text);
	void (*data)(void *ctx, const struct nlmsghdr *h);
	void *ctx;
};
int nl_commit(struct nl *nl, const struct nl_answer *answer, struct err *e);

/*
 * A dump: one request built by the caller with nl_begin(..., NLM_F_DUMP, ...)
 * and nl_end(), then this.  restart() (may be NULL) is called before the first message and
 * again each time the kernel says the dump was interrupted, at most 5 times
 * (then -EINTR).
 */
int nl_dump(struct nl *nl, void (*restart)(void *ctx), void (*each)(void *ctx, const struct nlmsghdr *h), void *ctx,
	    struct err *e);

/*
 * Reads what an event socket has, without blocking (at most a thousand datagrams;
 * epoll tells of the rest).  Messages caused by port `skip` (our own command socket; 0: nobody's) are left out.
 * -ENOBUFS: something was lost, dump again.
 */
int nl_events(struct nl *nl, uint32_t skip, void (*each)(void *ctx, const struct nlmsghdr *h), void *ctx);

/* Is there a whole message at h, in the left bytes that are there? */
bool nl_message_ok(const struct nlmsghdr *h, int left);

/*
 * Attributes of h after an extra header of size bytes, by type, into tb[max + 1]; NULL where
 * there is none.  Lengths are checked against the message; a torn one ends the walk.
 * False: h is too short for the extra header.
 */
bool nl_attrs(const struct nlmsghdr *h, size_t extra, const struct nlattr **tb, unsigned max);
void nl_attrs_nested(const struct nlattr *nest, const struct nlattr **tb, unsigned max);	/* nest may be NULL */

/* The value when a is there and has the right length; else false, and *v stays. */
bool nl_attr_u8(const struct nlattr *a, uint8_t *v);
bool nl_attr_u16(const struct nlattr *a, uint16_t *v);
bool nl_attr_u32(const struct nlattr *a, uint32_t *v);
bool nl_attr_bytes(const struct nlattr *a, void *v, size_t size);
bool nl_attr_text(const struct nlattr *a, char *dst, size_t size);	/* cut to size */
bool nl_attr_addr(const struct nlattr *a, uint8_t family, struct addr *v);

#endif
