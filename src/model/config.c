#include "model/config_int.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/util.h"

enum { FILE_SIZE_MAX = 64 * 1024 };

static const char *const encapsulations[] = { "auto", "ipip", "ipip-cross-subnet", "vxlan", "vxlan-cross-subnet",
					      "none", NULL };
static const char *const ipam_modes[] = { "block", "podcidr", NULL };
static const char *const nft_owners[] = { "auto", "no", NULL };
static const char *const bgp_modes[] = { "off", "mesh", "peers", NULL };

#define AT(member) .offset = offsetof(struct config, member), .size = sizeof ((struct config *)0)->member
#define PATH "an absolute path"

static const struct config_key keys[] = {
	{ "node_name", NULL, "a Kubernetes node name: a-z, 0-9, '-' and '.', at most 253",
	  AT(node_name), config_set_node_name, .max = CONFIG_NAME_MAX },
	{ "node_address", "auto", "auto, ADDRESS/LEN[,V6/LEN], interface NAME, cidr PREFIX or reach ADDRESS",
	  AT(node_address), config_set_node_address },
	{ "datastore", "file /var/lib/manx/store", "file DIR, kubernetes [KUBECONFIG] or etcd URL[,URL...], paths absolute",
	  AT(datastore), config_set_datastore },
	{ "api_address", "", "ADDRESS[:PORT][,ADDRESS[:PORT]...], or nothing",
	  AT(api_address), config_set_servers, KEY_MAY_BE_EMPTY },
	{ "run_dir", "/run/manx", PATH, AT(run_dir), config_set_path, .max = CONFIG_PATH_MAX },
	{ "state_dir", "/var/lib/manx", PATH, AT(state_dir), config_set_path, .max = CONFIG_PATH_MAX },
	{ "cni_conf_dir", "/etc/cni/net.d", PATH,
	  AT(cni_conf_dir), config_set_path, KEY_MAY_BE_EMPTY, .max = CONFIG_PATH_MAX },
	{ "cni_bin_dir", "/opt/cni/bin", PATH,
	  AT(cni_bin_dir), config_set_path, KEY_MAY_BE_EMPTY, .max = CONFIG_PATH_MAX },
	{ "pool", "10.42.0.0/16", "ADDRESS/LEN", AT(pools), config_set_pool, KEY_REPEATABLE | KEY_LIVE },
	{ "block_size", "26", "a number from 20 to 32",
	  AT(block_size), config_set_number, KEY_LIVE, .min = 20, .max = 32 },
	{ "block_size_v6", "122", "a number from 116 to 128",
	  AT(block_size_v6), config_set_number, KEY_LIVE, .min = 116, .max = 128 },
	{ "encapsulation", "auto", "auto, ipip, ipip-cross-subnet, vxlan, vxlan-cross-subnet or none",
	  AT(encapsulation), config_set_word, KEY_LIVE, .words = encapsulations },
	{ "nat_outgoing", "yes", "yes or no", AT(nat_outgoing), config_set_bool, KEY_LIVE },
	{ "ipam", "block", "block or podcidr", AT(ipam), config_set_word, .words = ipam_modes },
	{ "ipam_reserve", "8", "a number from 0 to 256",
	  AT(ipam_reserve), config_set_number, .max = 256 },
	{ "nft_owner", "auto", "auto or no", AT(nft_owner), config_set_word, .words = nft_owners },
	{ "bgp", "off", "off, mesh or peers", AT(bgp), config_set_word, .words = bgp_modes },
	{ "as_number", "64512", "a number from 1 to 4294967295", AT(as_number), config_set_asn },
	{ "bgp_peer", NULL, "ADDRESS as NUMBER",
	  AT(bgp_peers), config_set_bgp_peer, KEY_REPEATABLE | KEY_MAY_BE_EMPTY },
	{ "bgp_listen", "179", "a port, or nothing",
	  AT(bgp_listen), config_set_port, KEY_MAY_BE_EMPTY, .max = 65535 },
	{ "metrics_listen", "", "ADDRESS:PORT, or nothing",
	  AT(metrics_listen), config_set_listen, KEY_MAY_BE_EMPTY },
	{ "health_listen", "127.0.0.1:9099", "ADDRESS:PORT, or nothing",
	  AT(health_listen), config_set_listen, KEY_MAY_BE_EMPTY },
	{ "log_level", "info", "err, warn, info or debug", AT(log_level), config_set_log_level, KEY_LIVE },
};

_Static_assert(ARRAY_SIZE(keys) <= CONFIG_KEYS_MAX, "struct config_sets has a bit for each");

const char *encapsulation_text(enum encapsulation e)
{
	return encapsulations[e];
}

bool config_key(unsigned n, const char **name, const char **def)
{
	if (n >= ARRAY_SIZE(keys))
		return false;
	*name = keys[n].name;
	*def = keys[n].def;
	return true;
}

/* Index, or -1. */
static int key_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strcmp(name, keys[i].name) == 0)
			return (int)i;
	}
	return -1;
}

void config_take(struct config *c, const struct config *now, struct str *restart)
{
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct config_key *k = &keys[i];

		if (c->given[i] == now->given[i])
			continue;
		if (!(k->flags & KEY_LIVE)) {
			str_printf(restart, "%s%s", restart->len ? ", " : "", k->name);
			continue;
		}
		memcpy((char *)c + k->offset, (const char *)now + k->offset, k->size);
		c->given[i] = now->given[i];
	}
}

/* Values of a repeatable key add up; an empty one is as none. */
static void note_given(struct config *c, const struct config_key *k, const char *text)
{
	uint32_t *given = &c->given[k - keys];

	if (!(k->flags & KEY_REPEATABLE))
		*given = 0;
	if (*text)
		*given = *given * 31 + fnv32a(text, strlen(text));
}

/* Empties a repeatable key's list: what is given replaces the default, or the file's. */
static void key_clear(struct config *c, const struct config_key *k)
{
	c->given[k - keys] = 0;
	if (k->set == config_set_pool)
		c->pools = (struct pool_list){ .given = true };
	else
		c->bgp_peers.count = 0;
}

static int key_set(struct config *c, const struct config_key *k, const char *text, struct err *e)
{
	struct err why = { 0 };

	if (!*text && !(k->flags & KEY_MAY_BE_EMPTY))
		return err_set(e, EINVAL, "%s: an empty value; want %s", k->name, k->want);
	if (!*text && (k->flags & KEY_REPEATABLE))
		return 0;	/* the list was emptied */
	note_given(c, k, text);
	if (k->set(k, (char *)c + k->offset, text, &why) == 0)
		return 0;
	if (why.code)
		return err_set(e, EINVAL, "%s: %s", k->name, why.text);
	return err_set(e, EINVAL, "%s: %s: want %s", k->name, text, k->want);
}

/* The default pool is everybody's but Kubernetes', where the cluster says. */
static void default_pools(struct config *c)
{
	const struct config_key *k = &keys[key_find("pool")];

	if (c->pools.given)
		return;
	c->pools.count = 0;
	if (c->datastore.driver != DATASTORE_KUBERNETES)
		k->set(k, &c->pools, k->def, NULL);
}

/* $NODE_NAME, else the host name in lower case; left empty when that is no node name. */
static void default_node_name(struct config *c)
{
	const char *given = getenv("NODE_NAME");
	char host[CONFIG_NAME_MAX] = "";

	if (!given || !*given) {
		if (gethostname(host, sizeof host - 1) < 0)
			host[0] = '\0';
		for (char *p = host; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		given = host;
	}
	if (config_is_node_name(given))
		str_copy(c->node_name, sizeof c->node_name, given);
}

int config_init(struct config *c, struct err *e)
{
	*c = (struct config){ 0 };
	default_node_name(c);
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		int rc = keys[i].def && *keys[i].def ? key_set(c, &keys[i], keys[i].def, e) : 0;

		if (rc < 0)
			return rc;
	}
	c->health_listen.asked = false;
	return 0;
}

/* Cuts blanks off both ends, in place. */
static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t\r");
	len = strlen(text);
	while (len && strchr(" \t\r", text[len - 1]))
		len--;
	text[len] = '\0';
	return text;
}

/* Splits "key = value" in place; *value is NULL without a '='. */
static char *split(char *line, char **value)
{
	char *equals = strchr(line, '=');

	*value = NULL;
	if (equals) {
		*equals = '\0';
		*value = trim(equals + 1);
	}
	return trim(line);
}

static void cut_comment(char *line)
{
	for (char *p = line; *p; p++) {
		if (*p == '#' && (p == line || isblank((unsigned char)p[-1]))) {
			*p = '\0';
			return;
		}
	}
}

struct reading {
	struct config *c;
	unsigned line;
	unsigned seen[ARRAY_SIZE(keys)];	/* line of each key's first occurrence */
};

static int read_line(struct reading *r, char *line, struct err *e)
{
	char *value, *name;
	int i, rc;

	cut_comment(line);
	line = trim(line);
	if (!*line)
		return 0;
	name = split(line, &value);
	if (!value || !*name)
		return err_set(e, EINVAL, "%s: want key = value", value ? "=" : name);
	i = key_find(name);
	if (i < 0)
		return err_set(e, EINVAL, "%s: unknown key", name);
	if (r->seen[i] && !(keys[i].flags & KEY_REPEATABLE))
		return err_set(e, EINVAL, "%s: given twice, first in line %u", name, r->seen[i]);
	if (!r->seen[i] && (keys[i].flags & KEY_REPEATABLE))
		key_clear(r->c, &keys[i]);
	r->seen[i] = r->line;
	rc = key_set(r->c, &keys[i], value, e);
	if (rc == 0 && keys[i].set == config_set_pool)
		r->c->pools.line[r->c->pools.count - 1] = r->line;
	return rc;
}

static int read_lines(struct reading *r, const char *path, char *text, config_report *report, void *ctx)
{
	int rc = 0;

	for (char *next; text; text = next) {
		struct err e = { 0 };
		char place[PATH_MAX + 320];

		next = strchr(text, '\n');
		if (next)
			*next++ = '\0';
		r->line++;
		if (read_line(r, text, &e) == 0)
			continue;
		snprintf(place, sizeof place, "%s:%u: %s", path, r->line, e.text);
		report(ctx, place);
		rc = -EINVAL;
	}
	return rc;
}

int config_read(struct config *c, const char *path, bool optional, config_report *report, void *ctx)
{
	struct reading r = { .c = c };
	autostr struct str text = { 0 };
	int rc = fs_read(AT_FDCWD, path, FILE_SIZE_MAX, &text);

	c->file = path;
	if (rc == -ENOENT && optional)
		return 0;
	if (rc == 0 && strlen(str_text(&text)) != text.len)
		rc = -EILSEQ;	/* a NUL byte: no text file */
	if (rc < 0) {
		char line[PATH_MAX + 80];

		snprintf(line, sizeof line, "%s: %s", path, rc == -EILSEQ ? "not a text file" : strerror(-rc));
		report(ctx, line);
		return rc;
	}
	if (text.len)
		rc = read_lines(&r, path, text.s, report, ctx);
	default_pools(c);
	return rc;
}

int config_set(struct config *c, struct config_sets *sets, const char *assignment, struct err *e)
{
	autofree char *copy = xstrdup(assignment);
	char *value, *name = split(copy, &value);
	int i = value ? key_find(name) : -1, rc;
	bool again;

	if (!value)
		return err_set(e, EINVAL, "%s: want key=value", assignment);
	if (i < 0)
		return err_set(e, EINVAL, "%s: unknown key", name);
	again = sets->seen >> i & 1;
	if (again && !(keys[i].flags & KEY_REPEATABLE))
		return err_set(e, EINVAL, "%s: given twice", name);
	if (!again && (keys[i].flags & KEY_REPEATABLE))
		key_clear(c, &keys[i]);
	sets->seen |= 1ull << i;
	rc = key_set(c, &keys[i], value, e);
	default_pools(c);
	return rc;
}

int config_check(const struct config *c, struct err *e)
{
	if (!*c->node_name)
		return err_set(e, EINVAL, "node_name: neither NODE_NAME nor the host name is a Kubernetes node name; "
			       "give one");
	for (unsigned i = 0; i < c->pools.count && c->ipam == IPAM_BLOCK; i++) {
		const struct prefix *p = &c->pools.cidr[i];
		bool v6 = p->addr.family == AF_INET6;
		unsigned size = v6 ? c->block_size_v6 : c->block_size;

		if (p->len <= size)
			continue;
		err_set(e, EINVAL, "pool: %s: smaller than a block (%s = %u)", prefix_text(p).s,
			v6 ? "block_size_v6" : "block_size", size);
		if (c->file && c->pools.line[i])
			err_prefix(e, "%s:%u: ", c->file, c->pools.line[i]);
		return -EINVAL;
	}
	return 0;
}

int config_built(const struct config *c, struct err *e)
{
	const struct { bool asked; const char *what; } later[] = {
		{ c->bgp != BGP_OFF, "bgp" },
		{ c->bgp_peers.count > 0, "bgp_peer" },
		{ c->metrics_listen.asked, "metrics_listen" },
		{ c->health_listen.asked, "health_listen" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(later); i++)
		if (later[i].asked)
			return err_set(e, EPROTONOSUPPORT, "%s: not in this version", later[i].what);
	return 0;
}
