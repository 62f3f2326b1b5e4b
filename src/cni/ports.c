/*
 * The capability portMappings, and the keeping of bandwidth.  A pod's host ports are in its
 * row, from which the rules are made; and, as the runtime gave them, in a file beside the agent's socket,
 * written before the ADD is answered, since the next agent must know them and the
 * kernel's table may be gone by then.  run_dir ends with the node's boot, as pods do.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "cni/cni_int.h"

enum { PORTS_MAX = 1 << 20 };

/* ---- reading ---- */

static const struct { const char *name; uint8_t number; } protocols[] = {
	{ "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "sctp", IPPROTO_SCTP },
};

static const char *protocol_name(uint8_t number)
{
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (protocols[i].number == number)
			return protocols[i].name;
	return "?";
}

static int read_protocol(struct json_ctx *c, json_value v, void *field)
{
	const char *text = json_string(c->j, v, c->mem);

	for (size_t i = 0; text && i < ARRAY_SIZE(protocols); i++)
		if (strcasecmp(text, protocols[i].name) == 0) {
			*(uint8_t *)field = protocols[i].number;
			return 0;
		}
	return json_refuse(c, v, "want tcp, udp or sctp");
}

static int read_port(struct json_ctx *c, json_value v, void *field)
{
	int64_t number;

	if (json_int(c->j, v, &number) < 0 || number < 0 || number > UINT16_MAX)
		return json_refuse(c, v, "want a port, 0 to 65535");
	*(uint16_t *)field = (uint16_t)number;
	return 0;
}

static int read_host(struct json_ctx *c, json_value v, void *field)
{
	const char *text = json_string(c->j, v, c->mem);

	if (text && (!*text || addr_parse(field, text, NULL) == 0))
		return 0;
	return json_refuse(c, v, "want an address");
}

/* containerd writes the names of its Go fields: the CNI project's own plugins look at no letter's case. */
static int read_mapping(struct json_ctx *c, json_value v, void *item)
{
	bool go = json_get(c->j, v, "HostPort") >= 0;
	const struct json_field fields[] = {
		{ go ? "HostPort" : "hostPort", offsetof(struct host_port, number), read_port, true },
		{ go ? "ContainerPort" : "containerPort", offsetof(struct host_port, target), read_port, true },
		{ go ? "Protocol" : "protocol", offsetof(struct host_port, protocol), read_protocol, false },
		{ go ? "HostIP" : "hostIP", offsetof(struct host_port, host), read_host, false },
	};
	struct host_port *p = item;

	p->protocol = IPPROTO_TCP;
	if (json_fields(c, v, fields, ARRAY_SIZE(fields), p) < 0)
		return -EINVAL;
	return p->number && !p->target ? json_refuse_member(c, v, "containerPort", "want a port") : 0;
}

/* Those without a host's port ask for nothing. */
static int read_ports(const struct json *j, json_value list, struct arena *mem, struct endpoint *ep, struct err *e)
{
	struct json_ctx c = { .j = j, .mem = mem, .e = e };
	void *items = NULL;
	unsigned count, wanted = 0;

	if (json_type(j, list) == JSON_NULL)
		return 0;
	if (json_array(&c, list, sizeof(struct host_port), read_mapping, &items, &count) < 0)
		return -EINVAL;
	struct host_port *ports = items;

	for (unsigned i = 0; i < count; i++)
		if (ports[i].number)
			ports[wanted++] = ports[i];
	ep->host_ports = ports;
	ep->host_port_count = wanted;
	return 0;
}

/* ---- two pods that want one port ---- */

static bool is_any(const struct addr *a)
{
	static const struct addr none;

	return memcmp(a->b, none.b, sizeof a->b) == 0;
}

static bool clash(const struct host_port *a, const struct host_port *b)
{
	if (a->protocol != b->protocol || a->number != b->number)
		return false;
	if (a->host.family && b->host.family && a->host.family != b->host.family)
		return false;
	return is_any(&a->host) || is_any(&b->host) || addr_equal(&a->host, &b->host);
}

static const struct host_port *find_clash(const struct endpoint *a, const struct endpoint *b)
{
	for (unsigned i = 0; i < a->host_port_count; i++)
		for (unsigned k = 0; k < b->host_port_count; k++)
			if ((a != b || i < k) && clash(&a->host_ports[i], &b->host_ports[k]))
				return &a->host_ports[i];
	return NULL;
}

/* An earlier sandbox of the pod, whose DEL is still to come, gives them up. */
static bool is_earlier(const struct endpoint *ep, const struct endpoint *other)
{
	return *ep->pod && strcmp(ep->container, other->container) != 0 && strcmp(ep->pod, other->pod) == 0 &&
	       strcmp(ep->namespace, other->namespace) == 0;
}

static void take_over(struct cni *c, const struct endpoint *ep)
{
	struct endpoint *other;

	table_each(&c->model->endpoints, other) {
		if (!is_earlier(ep, other) || !find_clash(ep, other))
			continue;
		ports_forget(c, other->container, other->ifname);
		other->host_port_count = 0;
		table_touch(&c->model->endpoints, &other->row);
	}
}

/* All of them, or none. */
static int claim(struct cni *c, const struct endpoint *ep, struct err *e)
{
	const struct host_port *p = find_clash(ep, ep);
	const struct endpoint *other;

	if (p)
		return err_set(e, EADDRINUSE, "portMappings: host port %u/%s stands there twice", p->number,
			       protocol_name(p->protocol));
	table_each(&c->model->endpoints, other) {
		if (strcmp(other->row.key, ep->row.key) == 0 || is_earlier(ep, other) || !(p = find_clash(ep, other)))
			continue;
		return err_set(e, EADDRINUSE, "portMappings: host port %u/%s is taken by %s%s%s", p->number,
			       protocol_name(p->protocol), *other->pod ? other->namespace : "container",
			       *other->pod ? "/" : " ", *other->pod ? other->pod : other->container);
	}
	take_over(c, ep);
	return 0;
}

/* ---- kept for the next agent ---- */

static void dir_path(const struct cni *c, char path[CONFIG_PATH_MAX + 8])
{
	snprintf(path, CONFIG_PATH_MAX + 8, "%s/ports", c->model->config->run_dir);
}

static void file_path(const struct cni *c, const char *container, const char *ifname, char path[CONFIG_PATH_MAX + 256])
{
	snprintf(path, CONFIG_PATH_MAX + 256, "%s/ports/%s@%s", c->model->config->run_dir, container, ifname);
}

static const char *const kept[] = { "portMappings", "bandwidth" };

static int keep(struct cni_request *r, json_value runtime, struct err *e)
{
	char dir[CONFIG_PATH_MAX + 8], path[CONFIG_PATH_MAX + 256];
	autostr struct str text = { 0 };
	struct json_out o = { .to = &text };
	int rc;

	json_open(&o, NULL, '{');
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		json_value v = json_get(&r->conf, runtime, kept[i]);
		size_t len;

		if (json_type(&r->conf, v) == JSON_NULL)
			continue;
		const char *raw = json_raw(&r->conf, v, &len);

		json_put_raw(&o, kept[i], raw, len);
	}
	json_close(&o, '}');

	dir_path(r->cni, dir);
	file_path(r->cni, r->container, r->ifname, path);
	if ((rc = fs_mkdirs(dir, 0700)) < 0 || (rc = fs_replace(AT_FDCWD, path, text.s, text.len, 0600)) < 0)
		return err_set(e, -rc, "%s: %s", path, strerror(-rc));
	r->ports_kept = true;
	return 0;
}

void ports_forget(const struct cni *c, const char *container, const char *ifname)
{
	char path[CONFIG_PATH_MAX + 256];

	file_path(c, container, ifname, path);
	unlink(path);
}

bool ports_kept(const struct endpoint *ep)
{
	return ep->host_port_count || shape_is_wanted(ep);
}

static int read_kept(const struct json *j, json_value from, struct endpoint *ep, struct err *e)
{
	if (read_ports(j, json_get(j, from, kept[0]), &ep->row.mem, ep, e) < 0)
		return -EINVAL;
	if (shape_read(j, json_get(j, from, kept[1]), ep, e) == 0)
		return 0;
	err_prefix(e, "bandwidth: ");
	return -EINVAL;
}

bool ports_asked(const struct cni_request *r)
{
	json_value runtime = json_get(&r->conf, 0, "runtimeConfig");

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (json_type(&r->conf, json_get(&r->conf, runtime, kept[i])) != JSON_NULL)
			return true;
	return false;
}

int ports_take(struct cni_request *r, struct endpoint *ep, struct err *e)
{
	json_value runtime = json_get(&r->conf, 0, "runtimeConfig");

	if (read_kept(&r->conf, runtime, ep, e) < 0)
		return CNI_CONFIG;
	if (!ports_kept(ep))
		return CNI_OK;
	if (claim(r->cni, ep, e) < 0)
		return CNI_PORT_TAKEN;
	return keep(r, runtime, e) < 0 ? CNI_IO : CNI_OK;
}

void ports_recall(struct cni *c, struct endpoint *ep)
{
	char path[CONFIG_PATH_MAX + 256];
	autostr struct str text = { 0 };
	struct err e = { 0 };
	struct json j;
	int rc;

	file_path(c, ep->container, ep->ifname, path);
	if ((rc = fs_read(AT_FDCWD, path, PORTS_MAX, &text)) == -ENOENT)
		return;
	if (rc < 0) {
		log_warn("cni", "%s: %s", path, strerror(-rc));
		return;
	}
	if (json_parse(&j, str_text(&text), text.len, &e) < 0) {
		log_warn("cni", "%s: %s", path, e.text);
		return;
	}
	if (read_kept(&j, 0, ep, &e) < 0 || claim(c, ep, &e) < 0) {
		log_warn("cni", "%s: %s", path, e.text);
		ep->host_port_count = 0;
	}
	json_free(&j);
}

void ports_sweep(const struct cni *c)
{
	char dir[CONFIG_PATH_MAX + 8], key[256 + 1];
	DIR *d;

	dir_path(c, dir);
	if (!(d = opendir(dir)))
		return;
	for (struct dirent *entry; (entry = readdir(d)); ) {
		char *at = strchr(entry->d_name, '@');

		if (!at)
			continue;
		snprintf(key, sizeof key, "%s", entry->d_name);
		key[at - entry->d_name] = '/';
		if (!table_find(&c->model->endpoints, key))
			unlinkat(dirfd(d), entry->d_name, 0);
	}
	closedir(d);
}
