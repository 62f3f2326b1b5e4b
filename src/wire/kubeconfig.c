#include "wire/kubeconfig.h"

#include <errno.h>

#include "base/util.h"
#include "wire/yaml.h"

#define TEXT(name, member) { name, offsetof(struct kubeconfig, member), json_read_string }

static const struct json_field cluster_fields[] = {
	{ "server", offsetof(struct kubeconfig, server), json_read_string, .required = true },
	TEXT("tls-server-name", tls_server_name),
	TEXT("certificate-authority", ca_file),
	TEXT("certificate-authority-data", ca_data),
};
static const struct json_field user_fields[] = {
	TEXT("client-certificate", cert_file),
	TEXT("client-certificate-data", cert_data),
	TEXT("client-key", key_file),
	TEXT("client-key-data", key_data),
	TEXT("token", token),
	TEXT("tokenFile", token_file),
};

/* Where kubectl would do as asked, we say that we do not. */
static const struct { const char *name, *why; } refused[] = {
	{ "insecure-skip-tls-verify", "a server is always verified" },
	{ "proxy-url", "proxies are not supported" },
	{ "exec", "programs are not run; give a token, a tokenFile or a client certificate" },
	{ "auth-provider", "not supported; give a token, a tokenFile or a client certificate" },
	{ "username", "passwords are not supported; give a token, a tokenFile or a client certificate" },
	{ "as", "not supported" },
};

static int check(struct json_ctx *c, json_value object)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		json_value v = json_get(c->j, object, refused[i].name);
		bool yes = true;

		if (v < 0 || json_type(c->j, v) == JSON_NULL || (json_bool(c->j, v, &yes) == 0 && !yes))
			continue;
		return json_refuse(c, v, "%s", refused[i].why);
	}
	return 0;
}

/*
 * The part called what of the element of the list that has this name, checked and read into out:
 * clusters: [{ name: a, cluster: { ... } }].
 */
static int read_named(struct json_ctx *c, const char *list, const char *what, const char *name,
		      const struct json_field *fields, unsigned count, void *out)
{
	json_value all = json_get(c->j, c->root, list), part = -1;

	json_each(c->j, all, v) {
		if (part < 0 && json_is(c->j, json_get(c->j, v, "name"), name))
			part = json_get(c->j, v, what);
	}
	if (part < 0)
		return json_refuse(c, all < 0 ? c->root : all, "there is no %s called %s", what, name);
	return check(c, part) < 0 ? -EINVAL : json_fields(c, part, fields, count, out);
}

struct way { const char *current, *cluster, *user; };

static const struct json_field top_fields[] = {
	{ "current-context", offsetof(struct way, current), json_read_string, .required = true },
};
static const struct json_field context_fields[] = {
	{ "cluster", offsetof(struct way, cluster), json_read_string, .required = true },
	{ "user", offsetof(struct way, user), json_read_string, .required = true },
};

static int read_all(struct json_ctx *c, struct kubeconfig *k)
{
	struct way way;

	if (json_fields(c, c->root, top_fields, ARRAY_SIZE(top_fields), &way) < 0 ||
	    read_named(c, "contexts", "context", way.current, context_fields, ARRAY_SIZE(context_fields), &way) < 0 ||
	    read_named(c, "clusters", "cluster", way.cluster, cluster_fields, ARRAY_SIZE(cluster_fields), k) < 0)
		return -EINVAL;
	return read_named(c, "users", "user", way.user, user_fields, ARRAY_SIZE(user_fields), k);
}

int kubeconfig_read(struct kubeconfig *k, const char *text, size_t len, struct arena *mem, struct err *e)
{
	struct json j;
	struct json_ctx c = { .j = &j, .mem = mem, .e = e };
	int rc = yaml_parse(&j, text, len, e);

	*k = (struct kubeconfig){ 0 };
	if (rc < 0)
		return rc;
	rc = read_all(&c, k);
	json_free(&j);
	return rc;
}
