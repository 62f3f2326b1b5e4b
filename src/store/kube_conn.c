/*
 * One connection: TCP, TLS and one request after the other.  BearSSL's engine says what it wants (bytes from the
 * network, for it, of the answer), pump() does that until the socket would block.  A connection that waits for
 * the next record holds little more than its context: the 32 KiB of its buffers go back to the kernel.
 */
#include "store/kube_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/util.h"

enum { CONNECT_MS = 3000, HANDSHAKE_MS = 8000, ANSWER_MS = 30000, IDLE_MS = 60000, STEP = 16384,
       UNACKED_MS = 20000, PROBE_S = 10, PROBE_EACH_S = 5, PROBES = 3, READS_A_TURN = 16 };

static void conn_fail(struct kube_conn *c, int code, const char *why)
{
	struct err e;

	err_set(&e, code, "%s: %s", kube_server_text(&c->login->servers.server[c->server]).s, why ? why : strerror(code));
	kube_conn_failed(c, &e);
}

/* --- TLS --- */

/* What alerts of the server say, where it helps (RFC 5246, 7.2.2). */
static const struct { uint8_t alert; const char *text; } alerts[] = {
	{ BR_ALERT_PROTOCOL_VERSION, "it wants TLS 1.3, which is not supported: TLS 1.2 is what this speaks" },
	{ BR_ALERT_HANDSHAKE_FAILURE, "it has no cipher and key in common with this: ECDHE with ChaCha20 or AES-GCM, "
	  "RSA or ECDSA; keys of Ed25519 and RSA-PSS are not supported" },
	{ BR_ALERT_INSUFFICIENT_SECURITY, "it wants other ciphers than ECDHE with ChaCha20 or AES-GCM" },
	{ BR_ALERT_BAD_CERTIFICATE, "it refuses the client certificate" },
	{ BR_ALERT_UNSUPPORTED_CERTIFICATE, "it does not support the client certificate" },
	{ BR_ALERT_CERTIFICATE_REVOKED, "the client certificate is revoked" },
	{ BR_ALERT_CERTIFICATE_EXPIRED, "the client certificate has expired" },
	{ BR_ALERT_CERTIFICATE_UNKNOWN, "it refuses the client certificate" },
	{ BR_ALERT_UNKNOWN_CA, "it does not know the CA of the client certificate" },
	{ BR_ALERT_DECRYPT_ERROR, "the client certificate and its key do not belong together" },
};

static void tls_fail(struct kube_conn *c)
{
	unsigned code = (unsigned)br_ssl_engine_last_error(&c->tls.eng), alert = code - BR_ERR_RECV_FATAL_ALERT;
	bool shaking = c->state == KUBE_HANDSHAKE, plain = shaking && !c->tls.eng.version_in;
	char text[128];

	if (c->chain && c->chain->err.code) {
		struct err e = c->chain->err;

		conn_fail(c, e.code, e.text);
		return;
	}
	for (size_t i = 0; shaking && i < ARRAY_SIZE(alerts); i++)
		if (alert == alerts[i].alert) {
			conn_fail(c, EKEYREJECTED, alerts[i].text);
			return;
		}
	if (alert < 256)
		snprintf(text, sizeof text, "the server ends TLS by alert %u", alert);
	else
		snprintf(text, sizeof text, "%s (BearSSL's error %u)", plain ? "that is no TLS 1.2" : "TLS fails", code);
	conn_fail(c, shaking ? EKEYREJECTED : EPROTO, text);
}

/* False: not yet, and the connection has ended. */
static bool tls_init(struct kube_conn *c)
{
	static const uint16_t suites[] = {
		BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	};
	static const char *alpn = "http/1.1";
	br_ssl_engine_context *eng = &c->tls.eng;
	const struct kube_login *l = c->login;
	uint8_t seed[32];

	if (getrandom(seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed) {
		conn_fail(c, EAGAIN, "the kernel has no random numbers yet");
		return false;
	}
	br_ssl_client_zero(&c->tls);
	br_ssl_engine_set_versions(eng, BR_TLS12, BR_TLS12);
	br_ssl_engine_set_suites(eng, suites, ARRAY_SIZE(suites));
	br_ssl_engine_set_ec(eng, &br_ec_all_m31);
	br_ssl_engine_set_rsavrfy(eng, br_rsa_i31_pkcs1_vrfy);
	br_ssl_engine_set_ecdsa(eng, br_ecdsa_i31_vrfy_asn1);
	br_ssl_engine_set_hash(eng, br_sha256_ID, &br_sha256_vtable);
	br_ssl_engine_set_hash(eng, br_sha384_ID, &br_sha384_vtable);
	br_ssl_engine_set_hash(eng, br_sha512_ID, &br_sha512_vtable);
	br_ssl_engine_set_prf_sha256(eng, br_tls12_sha256_prf);
	br_ssl_engine_set_prf_sha384(eng, br_tls12_sha384_prf);
	br_ssl_engine_set_chapol(eng, &br_sslrec_in_chapol_vtable, &br_sslrec_out_chapol_vtable);
	br_ssl_engine_set_chacha20(eng, br_chacha20_ct_run);
	br_ssl_engine_set_poly1305(eng, br_poly1305_ctmul_run);
	br_ssl_engine_set_gcm(eng, &br_sslrec_in_gcm_vtable, &br_sslrec_out_gcm_vtable);
#if UINTPTR_MAX > UINT32_MAX
	br_ssl_engine_set_aes_ctr(eng, &br_aes_ct64_ctr_vtable);
	br_ssl_engine_set_ghash(eng, br_ghash_ctmul64);
#else
	br_ssl_engine_set_aes_ctr(eng, &br_aes_ct_ctr_vtable);
	br_ssl_engine_set_ghash(eng, br_ghash_ctmul32);
#endif
	br_ssl_engine_add_flags(eng, BR_OPT_NO_RENEGOTIATION);
	br_ssl_engine_set_protocol_names(eng, &alpn, 1);
	br_ssl_engine_set_buffers_bidi(eng, c->in, sizeof c->in, c->out, sizeof c->out);
	br_ssl_engine_set_x509(eng, &c->chain->vtable);
	if (l->key.type == BR_KEYTYPE_RSA)
		br_ssl_client_set_single_rsa(&c->tls, l->chain, l->chain_len, &l->key.rsa, br_rsa_i31_pkcs1_sign);
	else if (l->key.type == BR_KEYTYPE_EC)
		br_ssl_client_set_single_ec(&c->tls, l->chain, l->chain_len, &l->key.ec, BR_KEYTYPE_SIGN, BR_KEYTYPE_EC,
					    &br_ec_all_m31, br_ecdsa_i31_sign_asn1);
	br_ssl_engine_inject_entropy(eng, seed, sizeof seed);
	explicit_bzero(seed, sizeof seed);
	br_ssl_client_reset(&c->tls, l->sni, 0);
	return true;
}

/* --- the request --- */

static void request_head(struct kube_conn *c)
{
	const struct kube_call *call = c->call;

	str_clear(&c->head);
	str_printf(&c->head, "%s %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: manx\r\nAccept: application/json\r\n", call->method,
		   c->login->prefix, call->path, c->login->host);
	if (c->login->token)
		str_printf(&c->head, "Authorization: Bearer %s\r\n", c->login->token);
	if (call->content_type)
		str_printf(&c->head, "Content-Type: %s\r\nContent-Length: %zu\r\n", call->content_type, call->body_len);
	str_puts(&c->head, "\r\n");
}

static void request_forget(struct kube_conn *c)
{
	if (c->head.s)
		explicit_bzero(c->head.s, c->head.len);
	str_free(&c->head);
}

static bool request_is_sent(const struct kube_conn *c)
{
	return !c->head.s;
}

/* Gives the engine as much of head and body as it takes. */
static void request_send(struct kube_conn *c)
{
	const struct kube_call *call = c->call;
	size_t body = call->content_type ? call->body_len : 0, all = c->head.len + body, room;
	unsigned char *to;

	while (c->sent < all && (to = br_ssl_engine_sendapp_buf(&c->tls.eng, &room))) {
		bool in_head = c->sent < c->head.len;
		size_t there = in_head ? c->head.len - c->sent : all - c->sent, n = there < room ? there : room;

		memcpy(to, in_head ? c->head.s + c->sent : call->body + (c->sent - c->head.len), n);
		br_ssl_engine_sendapp_ack(&c->tls.eng, n);
		c->sent += n;
	}
	if (c->sent < all)
		return;
	br_ssl_engine_flush(&c->tls.eng, 0);
	request_forget(c);
}

/* --- the answer --- */

/* How long may it take until more comes? */
static void set_patience(struct kube_conn *c)
{
	bool streaming = c->call->stream && c->http.status && request_is_sent(c), owed = !streaming || http_is_owed(&c->http);

	if (owed && c->owed && c->timer.on && c->moved < STEP)
		return;			/* a byte now and then buys no time */
	c->owed = owed;
	c->moved = 0;
	if (owed || c->call->silence_ms)
		timer_set(c->kube->loop, &c->timer, owed ? ANSWER_MS : c->call->silence_ms);
	else
		timer_del(c->kube->loop, &c->timer);
}

/* False: the call has ended, and the connection may be gone. */
static bool tell(struct kube_conn *c, enum http_event event, const char *at, size_t len)
{
	struct kube_call *call = c->call;

	if (event == HTTP_HEAD) {
		call->status = c->http.status;
		call->retry_after_s = c->http.retry_after_s;
		call->json = c->http.json;
		if (call->on_head)
			call->on_head(call);
	} else if (event == HTTP_DATA) {
		if (call->on_data)
			call->on_data(call, at, len);
		else if (call->answer && call->answer->len + len <= JSON_SIZE_MAX)
			str_add(call->answer, at, len);
	} else if (event == HTTP_END) {
		kube_conn_done(c);
		return false;
	} else {
		conn_fail(c, EPROTO, c->http.bad);
		return false;
	}
	return c->call == call;
}

/* Hands on what the engine has of an answer.  False as above. */
static bool answer_read(struct kube_conn *c)
{
	enum http_event event;
	const char *data, *at;
	size_t all, len = 0;

	while ((data = (const char *)br_ssl_engine_recvapp_buf(&c->tls.eng, &all))) {
		if (!c->call) {		/* nobody asked */
			kube_conn_free(c);
			return false;
		}
		c->answered = true;
		c->moved += all;
		at = data;
		while ((event = http_next(&c->http, &at, data + all, &len)) != HTTP_MORE) {
			if (event == HTTP_END && at > data)
				br_ssl_engine_recvapp_ack(&c->tls.eng, (size_t)(at - data));
			if (!tell(c, event, at, len))
				return false;
			if (event == HTTP_DATA)
				at += len;
		}
		br_ssl_engine_recvapp_ack(&c->tls.eng, all);
	}
	return true;
}

/* --- the socket --- */

static void want(struct kube_conn *c, uint32_t events)
{
	if (c->events != events && watch_change(c->kube->loop, &c->watch, events) == 0)
		c->events = events;
}

/* 1: bytes moved, 0: it would block, negative: the connection has ended. */
static int net_send(struct kube_conn *c)
{
	size_t len;
	unsigned char *data = br_ssl_engine_sendrec_buf(&c->tls.eng, &len);
	ssize_t n = send(c->watch.fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	c->big |= n > 2048;
	br_ssl_engine_sendrec_ack(&c->tls.eng, (size_t)n);
	c->moved += (size_t)n;
	return 1;
}

static int net_recv(struct kube_conn *c)
{
	size_t len;
	unsigned char *data = br_ssl_engine_recvrec_buf(&c->tls.eng, &len);
	ssize_t n = recv(c->watch.fd, data, len, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	c->big |= n > 2048;
	br_ssl_engine_recvrec_ack(&c->tls.eng, (size_t)n);
	return 1;
}

/* The handshake is over: what it took is given back. */
static void opened(struct kube_conn *c)
{
	c->state = KUBE_OPEN;
	kube_chain_fini(c->chain);
	free(c->chain);
	c->chain = NULL;
	timer_del(c->kube->loop, &c->timer);
}

/* The engine is closed: by the server in good order, or by an error. */
static void closed(struct kube_conn *c)
{
	if (br_ssl_engine_last_error(&c->tls.eng))
		tls_fail(c);
	else if (c->call && c->state == KUBE_OPEN && http_eof(&c->http) == HTTP_END)
		kube_conn_done(c);
	else
		conn_fail(c, ECONNRESET, c->answered ? c->http.bad : "the server closed the connection");
}

/* One thing that the engine wants.  True: go on; false: nothing more can be done now, or the connection has ended. */
static bool pump_once(struct kube_conn *c, bool *full, unsigned *reads)
{
	unsigned now = br_ssl_engine_current_state(&c->tls.eng);
	int rc = 0;

	if (now & BR_SSL_CLOSED) {
		closed(c);
		return false;
	}
	if (c->state == KUBE_HANDSHAKE && (now & BR_SSL_SENDAPP))
		opened(c);
	if (c->state == KUBE_OPEN && !request_is_sent(c) && (now & BR_SSL_SENDAPP)) {
		request_send(c);
		return true;
	}
	if (now & BR_SSL_RECVAPP)
		return answer_read(c);
	if ((now & BR_SSL_SENDREC) && !*full) {
		rc = net_send(c);
		*full = rc <= 0;
		if (rc >= 0)
			return true;
		if ((now & BR_SSL_RECVREC) && net_recv(c) > 0)	/* who hangs up may have said why */
			return true;
	} else if ((now & BR_SSL_RECVREC) && *reads) {	/* others want to be served too */
		rc = net_recv(c);
		(*reads)--;
	}
	if (rc < 0)
		conn_fail(c, -rc, NULL);
	return rc > 0;
}

/* Between records the buffers are empty: their pages go back. */
static void rest(struct kube_conn *c)
{
	size_t len, page = getauxval(AT_PAGESZ), from = (offsetof(struct kube_conn, out) + page - 1) / page * page;

	if (!c->big || !request_is_sent(c) || (br_ssl_engine_current_state(&c->tls.eng) & BR_SSL_SENDREC) ||
	    br_ssl_engine_recvrec_buf(&c->tls.eng, &len) != c->in || len != 5)
		return;
	c->big = false;
	if (from < sizeof *c)
		madvise((char *)c + from, sizeof *c - from, MADV_DONTNEED);
}

static void pump(struct kube_conn *c)
{
	unsigned reads = READS_A_TURN;
	bool full = false;

	c->pumping = true;
	while (!c->dead && pump_once(c, &full, &reads))
		;
	c->pumping = false;
	if (c->dead) {
		kube_conn_free(c);
		return;
	}
	rest(c);
	if (c->state == KUBE_OPEN && c->call)
		set_patience(c);
	want(c, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void on_timer(struct timer *t)
{
	struct kube_conn *c = container_of(t, struct kube_conn, timer);

	if (!c->call)
		kube_conn_free(c);
	else
		conn_fail(c, ETIMEDOUT, c->state == KUBE_CONNECTING ? NULL : c->state == KUBE_HANDSHAKE ? "no TLS handshake" :
			  c->owed ? "nothing more came for too long" : "silence");
}

/* Connected, or not. */
static bool connected(struct kube_conn *c)
{
	int code = 0;
	socklen_t len = sizeof code;

	if (getsockopt(c->watch.fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		code = errno;
	if (code) {
		conn_fail(c, code, NULL);
		return false;
	}
	c->state = KUBE_HANDSHAKE;
	c->chain = xcalloc(1, sizeof *c->chain);
	kube_chain_init(c->chain, c->login);
	timer_set(c->kube->loop, &c->timer, HANDSHAKE_MS);
	request_head(c);
	return tls_init(c);
}

static void on_socket(struct watch *w, uint32_t events)
{
	struct kube_conn *c = container_of(w, struct kube_conn, watch);

	(void)events;
	if (c->state != KUBE_CONNECTING || connected(c))
		pump(c);
}

/* The kernel notices a peer that left without a word: after 20 s for what it did not acknowledge, 25 s in silence. */
static int open_socket(struct kube_conn *c)
{
	static const struct { int level, name, value; } options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, PROBE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, PROBE_EACH_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, PROBES },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MS },
	};
	const struct listen_address *to = &c->login->servers.server[c->server];
	bool v6 = to->address.family == AF_INET6;
	union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } a = { 0 };

	a.any.sa_family = to->address.family;
	a.v4.sin_port = htons(to->port);	/* sin6_port lies there too */
	memcpy(v6 ? (void *)&a.v6.sin6_addr : &a.v4.sin_addr, to->address.b, addr_bytes(&to->address));
	c->watch.fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->watch.fd < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		setsockopt(c->watch.fd, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
	if (connect(c->watch.fd, &a.any, v6 ? sizeof a.v6 : sizeof a.v4) < 0 && errno != EINPROGRESS)
		return -errno;
	return watch_add(c->kube->loop, &c->watch, EPOLLOUT);
}

void kube_connect(struct kube *k, struct kube_call *call)
{
	struct kube_conn *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc;

	if (c == MAP_FAILED)
		log_die("memory", "no memory for a connection");
	c->kube = k;
	c->login = k->login;
	c->login->refs++;
	c->server = k->current;
	c->call = call;
	call->conn = c;
	c->watch = (struct watch){ .fn = on_socket, .fd = -1 };
	c->timer.fn = on_timer;
	c->events = EPOLLOUT;
	c->next = k->conns;
	k->conns = c;
	http_init(&c->http);
	rc = open_socket(c);
	if (rc < 0)
		conn_fail(c, -rc, NULL);
	else
		timer_set(k->loop, &c->timer, CONNECT_MS);
}

bool kube_conn_is_alive(struct kube_conn *c)
{
	char byte;

	return recv(c->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

void kube_conn_use(struct kube_conn *c, struct kube_call *call)
{
	c->call = call;
	call->conn = c;
	c->state = KUBE_OPEN;
	c->used = true;
	c->answered = c->owed = false;
	c->sent = 0;
	http_init(&c->http);
	request_head(c);
	pump(c);
}

bool kube_conn_is_clean(struct kube_conn *c)
{
	size_t len;

	return !c->http.close && request_is_sent(c) && !br_ssl_engine_recvapp_buf(&c->tls.eng, &len);
}

void kube_conn_idle(struct kube_conn *c)
{
	c->state = KUBE_IDLE;
	timer_set(c->kube->loop, &c->timer, IDLE_MS);
}

void kube_conn_free(struct kube_conn *c)
{
	if (c->call)
		c->call->conn = NULL;
	c->call = NULL;
	c->dead = true;
	if (c->pumping)
		return;			/* pump() will do it */
	for (struct kube_conn **at = &c->kube->conns; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	timer_del(c->kube->loop, &c->timer);
	watch_del(c->kube->loop, &c->watch);
	if (c->watch.fd >= 0)
		close(c->watch.fd);
	if (c->chain)
		kube_chain_fini(c->chain);
	free(c->chain);
	request_forget(c);
	kube_login_free(c->login);
	explicit_bzero(&c->tls, sizeof c->tls);
	munmap(c, sizeof *c);
}
