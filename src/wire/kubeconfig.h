#ifndef WIRE_KUBECONFIG_H
#define WIRE_KUBECONFIG_H
/* kubeconfig files, YAML or JSON: the cluster and the user that current-context names. */
#include "base/arena.h"
#include "base/err.h"

struct kubeconfig {			/* NULL: not given */
	const char *server;		/* "https://10.0.0.1:6443"; always there */
	const char *tls_server_name;
	const char *ca_data, *cert_data, *key_data;	/* base64 of PEM; go before the files */
	const char *ca_file, *cert_file, *key_file, *token_file;	/* maybe relative to the kubeconfig's folder */
	const char *token;
};

/*
 * Texts live in mem.  -EINVAL with "LINE:COL: text" in *e; what asks for things that are not done (programs to
 * run, passwords, proxies, servers that are not verified) is refused by name.
 */
int kubeconfig_read(struct kubeconfig *k, const char *text, size_t len, struct arena *mem, struct err *e);

#endif
