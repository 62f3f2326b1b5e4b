#ifndef STORE_KUBE_INT_H
#define STORE_KUBE_INT_H
/*
 * Shared by the files of the transport: kube_login.c reads who and where everybody is, kube_trust.c decides
 * whether a server is who it should be, kube_conn.c moves the bytes of one connection, kube_call.c
 * deals connections out to calls.
 */
#include <bearssl.h>
#include "base/arena.h"
#include "store/kube.h"
#include "wire/http.h"
#include "wire/json.h"
#include "wire/x509.h"

enum { KUBE_CHAIN_MAX = 8, KUBE_FILES_MAX = 6 };

/* All that the kubeconfig and its files say, at one time.  Never changed; connections that shake hands hold it too. */
struct kube_login {
	unsigned refs;
	struct arena mem;		/* of all that is pointed to */
	struct arena scratch;		/* texts, while they are read */
	const char *files[KUBE_FILES_MAX];	/* what was read: when one changes, all are read again */
	unsigned file_count;
	struct server_list servers;
	const char *host, *prefix;	/* for the head of a request: "10.0.0.1:6443", "" or "/k8s/clusters/c-1" */
	const char *sni;		/* NULL: none is sent, since the server is an address */
	const char *name;		/* one of these has to stand in its certificate */
	struct addr addr;
	const char *token;		/* or NULL */
	br_x509_trust_anchor *anchors;
	unsigned anchor_count;
	int64_t not_before;		/* the newest of CA and own certificates: the clock cannot be before it */
	br_x509_certificate chain[KUBE_CHAIN_MAX];	/* our own */
	unsigned chain_len;		/* 0: no client certificate */
	struct private_key key;
};

/* config as of kube_open().  NULL with *e. */
struct kube_login *kube_login_read(const char *kubeconfig, const struct server_list *given, struct err *e);
void kube_login_free(struct kube_login *l);	/* gives one reference back; NULL is fine */
uint64_t kube_login_stamp(const struct kube_login *l);	/* changes when a file does */

/* Gathers the certificates that a server sends; then they are put in order, and BearSSL verifies them. */
struct kube_chain {
	const br_x509_class *vtable;
	const struct kube_login *login;
	struct str der;
	size_t end[KUBE_CHAIN_MAX];
	unsigned count;			/* more than KUBE_CHAIN_MAX: too many */
	br_x509_minimal_context minimal;
	struct err err;			/* why the server is refused */
};
void kube_chain_init(struct kube_chain *c, const struct kube_login *login);
void kube_chain_fini(struct kube_chain *c);

/* In this order. */
enum kube_state { KUBE_CONNECTING, KUBE_HANDSHAKE, KUBE_OPEN, KUBE_IDLE };

struct kube_conn {
	br_ssl_client_context tls;
	struct kube *kube;
	struct kube_login *login;
	struct kube_chain *chain;	/* during the handshake */
	struct kube_call *call;		/* NULL: idle */
	struct watch watch;
	struct timer timer;
	struct http http;
	struct str head;		/* of the request, until it is sent */
	size_t sent;			/* of head and body */
	size_t moved;			/* bytes since the timer was set */
	unsigned server;		/* which of login->servers */
	uint32_t events;
	enum kube_state state;
	bool used;			/* an earlier call came to its end here */
	bool answered;			/* a byte of an answer came */
	bool owed;			/* the timer says when more is due, not how long silence may be */
	bool big;			/* much is in the buffers, or was */
	bool pumping, dead;
	struct kube_conn *next;
	/* Last, since their pages are given back while nothing is in them.  Smaller ones would make small records. */
	uint8_t out[BR_SSL_BUFSIZE_OUTPUT], in[BR_SSL_BUFSIZE_INPUT];
};

struct kube {
	struct loop *loop;
	char where[sizeof ((struct config *)0)->datastore.where];
	struct server_list given;
	struct kube_login *login;
	uint64_t stamp, refused;	/* of the login, and of files that would not do */
	bool suspect;			/* the server did not know us: read them again */
	unsigned current;		/* which of login->servers */
	struct kube_conn *conns;
	struct kube_server_text { char s[56]; } text;	/* for kube_server() */
};

struct kube_server_text kube_server_text(const struct listen_address *a);

/* Connects to the current server for the call; ends in one of the two below. */
void kube_connect(struct kube *k, struct kube_call *call);
bool kube_conn_is_alive(struct kube_conn *c);	/* an idle one: nothing came since, not even its end */
void kube_conn_use(struct kube_conn *c, struct kube_call *call);	/* an idle one: the same */
bool kube_conn_is_clean(struct kube_conn *c);	/* nothing is left over: it may be used again */
void kube_conn_idle(struct kube_conn *c);	/* waits for the next call, for a while */
void kube_conn_free(struct kube_conn *c);	/* its call gets nothing */
/* In kube_call.c: the connection has ended, or the answer has: what becomes of its call, and of it? */
void kube_conn_failed(struct kube_conn *c, const struct err *e);
void kube_conn_done(struct kube_conn *c);

#endif
