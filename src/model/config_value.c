/*
 * What stands behind the '=': one setter for each form of value.  Each wants
 * the whole text to be of its form; none touches its field when it is not.
 */
#include "model/config_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/str.h"
#include "base/util.h"

int config_set_number(const struct config_key *k, void *field, const char *text, struct err *e)
{
	uint64_t n;

	(void)e;
	if (str_u64(text, k->max, &n) < 0 || n < k->min)
		return -EINVAL;
	*(unsigned *)field = (unsigned)n;
	return 0;
}

int config_set_word(const struct config_key *k, void *field, const char *text, struct err *e)
{
	(void)e;
	for (unsigned i = 0; k->words[i]; i++) {
		if (strcmp(text, k->words[i]) == 0) {
			*(unsigned *)field = i;
			return 0;
		}
	}
	return -EINVAL;
}

int config_set_bool(const struct config_key *k, void *field, const char *text, struct err *e)
{
	bool yes = strcmp(text, "yes") == 0;

	(void)k;
	(void)e;
	if (!yes && strcmp(text, "no") != 0)
		return -EINVAL;
	*(bool *)field = yes;
	return 0;
}

static int copy_path(char *field, size_t size, const char *text, struct err *e)
{
	if (text[0] != '/')
		return -EINVAL;
	if (!str_copy(field, size, text))
		return err_set(e, EINVAL, "%s: longer than %zu bytes", text, size - 1);
	return 0;
}

int config_set_path(const struct config_key *k, void *field, const char *text, struct err *e)
{
	if (!*text) {
		*(char *)field = '\0';
		return 0;
	}
	return copy_path(field, k->max, text, e);
}

/* A Kubernetes object name (DNS-1123 subdomain): labels of a-z 0-9 -, joined by dots. */
bool config_is_node_name(const char *text)
{
	char before = '.';

	if (!*text || strlen(text) >= CONFIG_NAME_MAX)
		return false;
	for (; *text; before = *text++) {
		bool edge = before == '.' || text[1] == '.' || !text[1];

		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-.", *text) || (edge && strchr("-.", *text)))
			return false;
	}
	return true;
}

int config_set_node_name(const struct config_key *k, void *field, const char *text, struct err *e)
{
	(void)e;
	if (!config_is_node_name(text))
		return -EINVAL;
	str_copy(field, k->max, text);
	return 0;
}

/* With a prefix length, and no bits behind it. */
static int parse_network(struct prefix *p, const char *text, struct err *e)
{
	struct prefix masked;

	if (!strchr(text, '/'))
		return -EINVAL;
	if (prefix_parse(p, text, e) < 0)
		return -EINVAL;
	masked = prefix_mask(*p);
	if (!prefix_equal(p, &masked))
		return err_set(e, EINVAL, "%s: bits behind the prefix length are set, want %s", text,
			       prefix_text(&masked).s);
	return 0;
}

/* What is neither a node's address nor a pool's. */
static const char *special_range(const struct prefix *p)
{
	static const struct { const char *cidr, *what; } ranges[] = {
		{ "0.0.0.0/8", "unspecified" }, { "127.0.0.0/8", "loopback" }, { "169.254.0.0/16", "link-local" },
		{ "224.0.0.0/4", "multicast" }, { "::/127", "loopback" }, { "fe80::/10", "link-local" },
		{ "ff00::/8", "multicast" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		struct prefix range;

		if (prefix_parse(&range, ranges[i].cidr, NULL) == 0 && prefix_overlaps(&range, p))
			return ranges[i].what;
	}
	return NULL;
}

/* ADDRESS/LEN[,ADDRESS/LEN], one a family. */
static int parse_given(struct node_address *a, const char *text, struct err *e)
{
	a->how = ADDRESS_GIVEN;
	for (;;) {
		size_t len = strcspn(text, ",");
		struct prefix p, host, *to;
		char one[64];

		snprintf(one, sizeof one, "%.*s", len < sizeof one ? (int)len : 0, text);
		if (!strchr(one, '/') || prefix_parse(&p, one, NULL) < 0)
			return -EINVAL;
		host = prefix_host(&p.addr);
		if (special_range(&host))
			return err_set(e, EINVAL, "%s: no node address: it is %s", one, special_range(&host));
		to = &a->given[family_index(p.addr.family)];
		if (to->addr.family)
			return err_set(e, EINVAL, "%s: a second address of one family", one);
		*to = p;
		if (!text[len])
			return 0;
		text += len + 1;
	}
}

static int parse_interface(struct node_address *a, const char *name)
{
	a->how = ADDRESS_INTERFACE;
	if (!*name || name[strcspn(name, "/ \t:")] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	return str_copy(a->interface, sizeof a->interface, name) ? 0 : -EINVAL;
}

static int parse_reach(struct node_address *a, const char *text, struct err *e)
{
	struct addr to;

	a->how = ADDRESS_REACH;
	if (addr_parse(&to, text, e) < 0)
		return -EINVAL;
	a->given[0] = prefix_host(&to);
	return 0;
}

/* The text behind a first word and its blanks, or NULL when text begins with another word. */
static const char *after_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(text, word, len) != 0 || (text[len] && !isblank((unsigned char)text[len])))
		return NULL;
	return text + len + strspn(text + len, " \t");
}

int config_set_node_address(const struct config_key *k, void *field, const char *text, struct err *e)
{
	struct node_address a = { .how = ADDRESS_AUTO };
	const char *rest;
	int rc = 0;

	(void)k;
	if ((rest = after_word(text, "interface"))) {
		rc = parse_interface(&a, rest);
	} else if ((rest = after_word(text, "cidr"))) {
		a.how = ADDRESS_CIDR;
		rc = parse_network(&a.given[0], rest, e);
	} else if ((rest = after_word(text, "reach"))) {
		rc = parse_reach(&a, rest, e);
	} else if (strcmp(text, "auto") != 0) {
		rc = parse_given(&a, text, e);
	}
	if (rc == 0)
		*(struct node_address *)field = a;
	return rc;
}

/* Comma-separated, each with a scheme and a host. */
static bool are_urls(const char *text)
{
	for (;;) {
		size_t len = strcspn(text, ","), scheme;

		scheme = str_prefix(text, "http://") ? 7 : str_prefix(text, "https://") ? 8 : 0;
		if (!scheme || len <= scheme || text[scheme] == '/' || strcspn(text, " \t") < len)
			return false;
		if (!text[len])
			return true;
		text += len + 1;
	}
}

int config_set_datastore(const struct config_key *k, void *field, const char *text, struct err *e)
{
	struct datastore d = { .driver = DATASTORE_FILE };
	const char *rest;
	int rc = 0;

	(void)k;
	if ((rest = after_word(text, "file"))) {
		rc = copy_path(d.where, sizeof d.where, rest, e);
	} else if ((rest = after_word(text, "kubernetes"))) {
		d.driver = DATASTORE_KUBERNETES;
		if (*rest)
			rc = copy_path(d.where, sizeof d.where, rest, e);
	} else if ((rest = after_word(text, "etcd")) && are_urls(rest)) {
		d.driver = DATASTORE_ETCD;
		if (!str_copy(d.where, sizeof d.where, rest))
			return err_set(e, EINVAL, "%s: longer than %zu bytes", rest, sizeof d.where - 1);
	} else {
		rc = -EINVAL;
	}
	if (rc == 0)
		*(struct datastore *)field = d;
	return rc;
}

int config_set_pool(const struct config_key *k, void *field, const char *text, struct err *e)
{
	struct pool_list *l = field;
	struct prefix p;

	(void)k;
	if (parse_network(&p, text, e) < 0)
		return -EINVAL;
	if (special_range(&p))
		return err_set(e, EINVAL, "%s: %s addresses are no pool", text, special_range(&p));
	for (unsigned i = 0; i < l->count; i++) {
		if (prefix_overlaps(&p, &l->cidr[i]))
			return err_set(e, EINVAL, "%s: overlaps pool %s", text, prefix_text(&l->cidr[i]).s);
	}
	if (l->count == CONFIG_POOLS_MAX)
		return err_set(e, EINVAL, "%s: more than %d pools", text, CONFIG_POOLS_MAX);
	l->line[l->count] = 0;
	l->cidr[l->count++] = p;
	return 0;
}

/* Plain, or as two halves "x.y" (RFC 5396). */
static int parse_asn(const char *text, uint32_t *asn)
{
	const char *dot = strchr(text, '.');
	uint64_t high = 0, low;
	char half[8] = "";

	if (dot) {
		if ((size_t)(dot - text) >= sizeof half)
			return -EINVAL;
		memcpy(half, text, (size_t)(dot - text));
		if (str_u64(half, 65535, &high) < 0)
			return -EINVAL;
	}
	if (str_u64(dot ? dot + 1 : text, dot ? 65535 : UINT32_MAX, &low) < 0 || high + low == 0)
		return -EINVAL;
	*asn = (uint32_t)(high << 16 | low);
	return 0;
}

int config_set_asn(const struct config_key *k, void *field, const char *text, struct err *e)
{
	(void)k;
	(void)e;
	return parse_asn(text, field);
}

/* ADDRESS as NUMBER */
int config_set_bgp_peer(const struct config_key *k, void *field, const char *text, struct err *e)
{
	struct bgp_peer_list *l = field;
	struct bgp_peer p;
	size_t len = strcspn(text, " \t");
	const char *asn = after_word(text + len + strspn(text + len, " \t"), "as");
	char address[48];

	(void)k;
	if (!asn || len >= sizeof address || parse_asn(asn, &p.asn) < 0)
		return -EINVAL;
	memcpy(address, text, len);
	address[len] = '\0';
	if (addr_parse(&p.address, address, e) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < l->count; i++) {
		if (addr_equal(&p.address, &l->peer[i].address))
			return err_set(e, EINVAL, "%s: given twice", address);
	}
	if (l->count == CONFIG_PEERS_MAX)
		return err_set(e, EINVAL, "%s: more than %d peers", address, CONFIG_PEERS_MAX);
	l->peer[l->count++] = p;
	return 0;
}

int config_set_port(const struct config_key *k, void *field, const char *text, struct err *e)
{
	uint64_t n = 0;

	(void)e;
	if (*text && str_u64(text, k->max, &n) < 0)
		return -EINVAL;
	*(uint16_t *)field = (uint16_t)n;
	return 0;
}

/* ADDRESS:PORT, an IPv6 address in brackets. */
int listen_address_parse(struct listen_address *a, const char *text, bool port_needed)
{
	bool brackets = text[0] == '[';
	const char *end = brackets ? strchr(text, ']') : text + strcspn(text, ":");
	uint64_t port = 0;
	char host[48];
	size_t len;

	if (!end)
		return -EINVAL;
	text += brackets;
	len = (size_t)(end - text);
	end += brackets;
	if (len >= sizeof host || (*end ? *end != ':' || str_u64(end + 1, 65535, &port) < 0 || port == 0 : port_needed))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	a->port = (uint16_t)port;
	return addr_parse(&a->address, host, NULL) < 0 || brackets != (a->address.family == AF_INET6) ? -EINVAL : 0;
}

int config_set_listen(const struct config_key *k, void *field, const char *text, struct err *e)
{
	struct listen_address a = { .port = 0 };

	(void)k;
	(void)e;
	if (*text && listen_address_parse(&a, text, true) < 0)
		return -EINVAL;
	a.asked = *text;
	*(struct listen_address *)field = a;
	return 0;
}

int config_set_servers(const struct config_key *k, void *field, const char *text, struct err *e)
{
	struct server_list l = { .count = 0 };
	char one[64];

	(void)k;
	for (size_t len; *text; text += len + (text[len] == ',')) {
		len = strcspn(text, ",");
		if (l.count == CONFIG_SERVERS_MAX)
			return err_set(e, EINVAL, "more than %d addresses", CONFIG_SERVERS_MAX);
		snprintf(one, sizeof one, "%.*s", (int)len, text);
		if (len >= sizeof one || (text[len] && !text[len + 1]) || listen_address_parse(&l.server[l.count++], one, false) < 0)
			return -EINVAL;
	}
	*(struct server_list *)field = l;
	return 0;
}

int config_set_log_level(const struct config_key *k, void *field, const char *text, struct err *e)
{
	(void)k;
	(void)e;
	return log_level_parse(text, field);
}
