#include "store/kube_int.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "wire/kubeconfig.h"

enum { TEXT_MAX = 256 * 1024, ANCHORS_MAX = 64, HTTPS_PORT = 443 };

#define IN_POD "/var/run/secrets/kubernetes.io/serviceaccount/"

/* A file whole, as text that is there while the login is read, and on its list. */
static const char *file_text(struct kube_login *l, const char *path, struct err *e)
{
	autostr struct str b = { 0 };
	const char *text = NULL;
	int rc = fs_read(AT_FDCWD, path, TEXT_MAX, &b);

	if (l->file_count < KUBE_FILES_MAX)
		l->files[l->file_count++] = arena_str(&l->mem, path);
	if (rc < 0)
		err_set(e, -rc, "%s: %s", path, strerror(-rc));
	else if (!b.len || memchr(b.s, 0, b.len))
		err_set(e, EINVAL, "%s: %s", path, b.len ? "not a text file" : "empty");
	else
		text = arena_strn(&l->scratch, b.s, b.len);
	if (b.s)
		explicit_bzero(b.s, b.len);
	return text;
}

/* What the kubeconfig holds itself, or what it names a file for; *name is what errors call it. */
static const char *text_of(struct kube_login *l, const char *data, const char *file, const char **name, struct err *e)
{
	struct der bytes;

	if (!data) {
		*name = file;
		return file_text(l, file, e);
	}
	if (base64_read(data, strlen(data), &l->scratch, &bytes) == 0)
		return arena_strn(&l->scratch, (const char *)bytes.p, der_left(&bytes));
	err_set(e, EINVAL, "%s: not base64", *name);
	return NULL;
}

/* The next certificate of a text.  1, 0: there is no more, or -EINVAL. */
static int next_certificate(struct kube_login *l, const char **text, struct x509 *c, struct err *e)
{
	char label[32];
	struct der der;
	int rc;

	while ((rc = pem_next(text, &l->mem, label, &der, e)) > 0) {
		if (strcmp(label, "CERTIFICATE") != 0)
			continue;
		if (x509_read(c, der.p, der_left(&der)) < 0)
			return err_set(e, EINVAL, "a certificate that cannot be read");
		if (c->not_before > l->not_before)
			l->not_before = c->not_before;
		return 1;
	}
	return rc;
}

static int read_anchors(struct kube_login *l, const char *text, const char *name, struct err *e)
{
	br_x509_trust_anchor all[ANCHORS_MAX] = { 0 };
	struct x509 c;
	int rc;

	while ((rc = next_certificate(l, &text, &c, e)) > 0) {
		if (c.odd_key)
			log_warn("kubernetes", "%s: a CA whose key is %s: not supported, it counts for nothing", name, c.odd_key);
		else if (l->anchor_count < ANCHORS_MAX)
			all[l->anchor_count++] = (br_x509_trust_anchor){
				.dn = { (uint8_t *)c.subject.p, der_left(&c.subject) }, .pkey = c.key,
				.flags = c.ca ? BR_X509_TA_CA : 0 };
	}
	if (rc < 0 || l->anchor_count == 0)
		return rc < 0 ? rc : err_set(e, EINVAL, "no CA certificate that can be used");
	l->anchors = arena_alloc(&l->mem, l->anchor_count * sizeof *all);
	memcpy(l->anchors, all, l->anchor_count * sizeof *all);
	return 0;
}

static int read_chain(struct kube_login *l, const char *text, struct err *e)
{
	struct x509 c;
	int rc;

	while ((rc = next_certificate(l, &text, &c, e)) > 0) {
		if (l->chain_len == KUBE_CHAIN_MAX)
			return err_set(e, EINVAL, "more than %d certificates", KUBE_CHAIN_MAX);
		if (l->chain_len == 0 && c.odd_key)
			return err_set(e, EINVAL, "the key is %s: not supported", c.odd_key);
		l->chain[l->chain_len++] = (br_x509_certificate){ (uint8_t *)c.whole.p, der_left(&c.whole) };
	}
	return rc < 0 || l->chain_len ? rc : err_set(e, EINVAL, "no certificate in it");
}

static int read_key(struct kube_login *l, const char *text, struct err *e)
{
	char label[32];
	struct der der;
	int rc;

	while ((rc = pem_next(&text, &l->mem, label, &der, e)) > 0) {
		size_t len = strlen(label), want = sizeof "PRIVATE KEY" - 1;

		if (strncmp(label, "ENCRYPTED", 9) == 0)
			return err_set(e, EINVAL, "encrypted, which is not supported");
		if (len >= want && strcmp(label + len - want, "PRIVATE KEY") == 0)
			return private_key_read(&l->key, der.p, der_left(&der), e);
	}
	return rc < 0 ? rc : err_set(e, EINVAL, "no private key in it");
}

static int read_token(struct kube_login *l, char *text, struct err *e)
{
	size_t len = strlen(text);

	while (len && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)text[i]))
			return err_set(e, EINVAL, "no token: byte %zu is none that a header may have", i + 1);
	l->token = arena_str(&l->mem, text);
	return len ? 0 : err_set(e, EINVAL, "an empty token");
}

static int read_credentials(struct kube_login *l, const struct kubeconfig *k, struct err *e)
{
	const char *name = "certificate-authority-data", *text;
	int rc = -EINVAL;

	if (!k->ca_data && !k->ca_file)
		return err_set(e, EINVAL, "no certificate-authority is given");
	if ((text = text_of(l, k->ca_data, k->ca_file, &name, e)))
		rc = read_anchors(l, text, name, e);
	if (text && rc == 0 && (k->cert_data || k->cert_file)) {
		name = "client-certificate-data";
		if ((text = text_of(l, k->cert_data, k->cert_file, &name, e)))
			rc = read_chain(l, text, e);
		if (text && rc == 0 && !k->key_data && !k->key_file)
			rc = err_set(e, EINVAL, "a client certificate without its key");
		else if (text && rc == 0) {
			name = "client-key-data";
			if ((text = text_of(l, k->key_data, k->key_file, &name, e)))
				rc = read_key(l, text, e);
		}
	}
	if (text && rc == 0 && (k->token_file || k->token)) {
		name = "token";
		text = k->token_file ? text_of(l, NULL, k->token_file, &name, e) : k->token;
		if (text)
			rc = read_token(l, (char *)text, e);
	}
	if (!text)
		return -e->code;	/* which names the file */
	if (rc < 0)
		err_prefix(e, "%s: ", name);
	else if (!l->token && !l->chain_len)
		rc = err_set(e, EINVAL, "neither a token nor a client certificate is given");
	return rc;
}

/* --- where --- */

/* The addresses of a name in /etc/hosts. */
static void find_host(struct kube_login *l, const char *name, uint16_t port)
{
	struct err e = { 0 };
	const char *text = file_text(l, "/etc/hosts", &e), *line_end;
	struct server_list *s = &l->servers;

	for (; text && *text; text = line_end + (*line_end == '\n')) {
		const char *word = text + strspn(text, " \t"), *end = text + strcspn(text, "#\n");
		size_t len = strcspn(word, " \t#\n");
		struct addr a;
		char first[64];

		line_end = text + strcspn(text, "\n");
		snprintf(first, sizeof first, "%.*s", (int)(len < 63 ? len : 63), word);
		if (addr_parse(&a, first, NULL) < 0)
			continue;
		while (word + len < end && s->count < CONFIG_SERVERS_MAX) {
			word += len;
			word += strspn(word, " \t");
			len = strcspn(word, " \t#\n");
			if (len == strlen(name) && strncasecmp(word, name, len) == 0) {
				s->server[s->count++] = (struct listen_address){ a, port };
				break;
			}
		}
	}
}

/* "https://HOST[:PORT][/PATH]" */
static int read_server(struct kube_login *l, const struct kubeconfig *k, const struct server_list *given, struct err *e)
{
	static const char https[] = "https://";
	const char *rest = k->server + sizeof https - 1, *colon;
	struct listen_address at = { .port = 0 };
	uint64_t port = HTTPS_PORT;
	size_t len = strncasecmp(k->server, https, sizeof https - 1) == 0 ? strcspn(rest, "/?#@") : 0;
	char *name, *end;

	if (!len || (rest[len] && rest[len] != '/'))
		return err_set(e, EINVAL, "server: %s: want https://HOST[:PORT][/PATH]", k->server);
	l->host = name = arena_strn(&l->mem, rest, len);
	l->prefix = end = arena_str(&l->mem, rest + len);
	for (len = strlen(end); len && end[len - 1] == '/'; len--)
		end[len - 1] = '\0';
	if (listen_address_parse(&at, l->host, false) == 0) {
		port = at.port ? at.port : HTTPS_PORT;
		l->addr = at.address;
		l->name = "kubernetes.default.svc";
	} else {
		name = arena_str(&l->mem, l->host);
		colon = strchr(name, ':');
		if (colon && (str_u64(colon + 1, 65535, &port) < 0 || !port))
			return err_set(e, EINVAL, "server: %s: a port that is none", k->server);
		name[strcspn(name, ":")] = '\0';
		l->name = l->sni = name;
	}
	if (k->tls_server_name && addr_parse(&l->addr, k->tls_server_name, NULL) < 0) {
		l->addr.family = 0;
		l->name = l->sni = arena_str(&l->mem, k->tls_server_name);
	}
	if (given->count)
		l->servers = *given;
	else if (at.address.family)
		l->servers = (struct server_list){ { at }, 1 };
	else
		find_host(l, name, (uint16_t)port);
	for (unsigned i = 0; i < l->servers.count; i++)
		if (!l->servers.server[i].port)
			l->servers.server[i].port = (uint16_t)port;
	return l->servers.count ? 0 : err_set(e, EINVAL, "server: %s: not in /etc/hosts; put it there, or give "
					      "api_address = ADDRESS in the configuration: DNS is not asked", name);
}

/* What a pod finds about itself. */
static int read_pod(struct kube_login *l, struct kubeconfig *k, struct err *e)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
	bool v6 = host && strchr(host, ':');
	autostr struct str url = { 0 };

	if (!host || !port)
		return err_set(e, EINVAL, "datastore: kubernetes without a kubeconfig is for pods: "
			       "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set");
	str_printf(&url, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
	*k = (struct kubeconfig){ .server = arena_str(&l->scratch, url.s), .ca_file = IN_POD "ca.crt",
				  .token_file = IN_POD "token" };
	return 0;
}

/* A path of the kubeconfig, which may be relative to it. */
static void resolve(struct kube_login *l, const char *kubeconfig, const char **path)
{
	autostr struct str b = { 0 };

	if (!*path || **path == '/')
		return;
	str_printf(&b, "%.*s%s", (int)(strrchr(kubeconfig, '/') + 1 - kubeconfig), kubeconfig, *path);
	*path = arena_str(&l->scratch, b.s);
}

static int read_file(struct kube_login *l, const char *kubeconfig, struct kubeconfig *k, struct err *e)
{
	const char *text = file_text(l, kubeconfig, e);

	if (!text)
		return -e->code;
	if (kubeconfig_read(k, text, strlen(text), &l->scratch, e) < 0) {
		err_prefix(e, "%s:", kubeconfig);
		return -EINVAL;
	}
	resolve(l, kubeconfig, &k->ca_file);
	resolve(l, kubeconfig, &k->cert_file);
	resolve(l, kubeconfig, &k->key_file);
	resolve(l, kubeconfig, &k->token_file);
	return 0;
}

struct kube_login *kube_login_read(const char *kubeconfig, const struct server_list *given, struct err *e)
{
	struct kube_login *l = xcalloc(1, sizeof *l);
	struct kubeconfig k = { .server = "" };
	int rc;

	l->refs = 1;
	rc = *kubeconfig ? read_file(l, kubeconfig, &k, e) : read_pod(l, &k, e);
	if (rc == 0) {
		rc = read_server(l, &k, given, e);
		if (rc == 0)
			rc = read_credentials(l, &k, e);
		if (rc < 0 && *kubeconfig && strncmp(e->text, "/", 1) != 0)
			err_prefix(e, "%s: ", kubeconfig);
	}
	arena_wipe(&l->scratch);
	arena_free(&l->scratch);
	if (rc == 0)
		return l;
	kube_login_free(l);
	return NULL;
}

void kube_login_free(struct kube_login *l)
{
	if (!l || --l->refs)
		return;
	arena_wipe(&l->mem);
	arena_free(&l->mem);
	free(l);
}

uint64_t kube_login_stamp(const struct kube_login *l)
{
	uint64_t of[KUBE_FILES_MAX][5] = { 0 };

	for (unsigned i = 0; i < l->file_count; i++) {
		struct stat st = { 0 };

		stat(l->files[i], &st);		/* one that is not there counts as empty */
		memcpy(of[i], (uint64_t[]){ (uint64_t)st.st_dev, st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec,
					    (uint64_t)st.st_mtim.tv_nsec }, sizeof of[i]);
	}
	return fnv64a(of, sizeof of);
}
