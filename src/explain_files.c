/* `manx explain -f FILE`: the model comes from files, and from the links of pods that live on this machine. */
#include "explain.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "ctl/ctl.h"
#include "nl/rtnl.h"
#include "store/store.h"

enum { FILE_MAX = 4 << 20 };

/* ---- files ---- */

struct reading {
	struct model *model;
	const char *file;
	unsigned bad;
};

static void on_object(void *ctx, struct store_object *o)
{
	struct reading *r = ctx;

	if (o->err.code) {
		fprintf(stderr, "manx: %s:%s\n", r->file, o->err.text);
		r->bad++;
	}
	if (!o->row)
		return;
	if (o->ref.kind->place)
		kind_place(o->ref.kind, o->row)->file = arena_str(&o->row->mem, r->file);
	table_put(kind_table(o->ref.kind, r->model), o->row);
	o->row = NULL;
}

static int file_read(struct model *m, const char *path)
{
	struct reading r = { .model = m, .file = path };
	autostr struct str text = { 0 };
	struct err e = { 0 };
	int rc = text_format(path) == TEXT_NONE ? -EINVAL : fs_read(AT_FDCWD, path, FILE_MAX, &text);

	if (rc < 0) {
		fprintf(stderr, "manx: %s: %s\n", path, rc == -EINVAL ? "want .json, .yaml or .yml" : strerror(-rc));
		return rc;
	}
	if ((rc = store_read_text(text_format(path), str_text(&text), text.len, on_object, &r, &e)) < 0)
		fprintf(stderr, "manx: %s:%s\n", path, e.text);
	return rc;
}

/* ---- the pods of this machine ---- */

/* A pod whose link is here has the row that its ADD would have made. */
static void pod_look_for(struct model *m, const struct pod *p)
{
	struct endpoint *e;
	char name[IFNAMSIZ];
	int index;

	endpoint_host_if(name, p->meta.namespace, p->meta.name, "");
	if (!(index = (int)if_nametoindex(name)))
		return;
	e = row_new(sizeof *e);
	e->row.key = arena_str(&e->row.mem, p->row.key);
	e->pod = arena_str(&e->row.mem, p->meta.name);
	e->namespace = arena_str(&e->row.mem, p->meta.namespace);
	e->handle = e->network = e->container = e->ifname = e->uid = "";
	e->ifindex = index;
	str_copy(e->host_if, sizeof e->host_if, name);
	memcpy(e->ips, p->ips, sizeof e->ips);
	table_put(&m->endpoints, &e->row);
}

/* Its routes say which addresses a pod has. */
static void on_route(void *ctx, const struct nlmsghdr *h)
{
	const struct model *m = ctx;
	struct rtnl_route r;
	struct endpoint *e;

	if (!rtnl_route_parse(h, &r) || r.protocol != RTPROT_MANX_POD)
		return;
	table_each(&m->endpoints, e)
		if (e->ifindex == r.oif)
			e->ips[family_index(r.dst.addr.family)] = r.dst.addr;
}

static void pods_find(struct model *m)
{
	const struct pod *p;
	struct nl nl;

	table_each(&m->pods, p)
		pod_look_for(m, p);
	if (!m->endpoints.count || nl_open(&nl, NETLINK_ROUTE, NULL) < 0)
		return;
	for (int f = 0; f < FAMILIES; f++) {
		rtnl_route_dump_request(&nl, family_of(f));
		nl_dump(&nl, NULL, on_route, m, NULL);
	}
	nl_close(&nl);
}

int explain_files(const struct config *config, const char *const *files, unsigned file_count, const char *const *words,
		  unsigned count, bool json)
{
	autostr struct str out = { 0 };
	struct err e = { 0 };
	struct loop loop;
	struct model m;
	struct nft *kernel;
	int code;

	log_init(LOG_ERR);
	model_init(&m, config);
	for (unsigned i = 0; i < file_count; i++) {
		if (file_read(&m, files[i]) < 0) {
			model_fini(&m);
			return EXIT_CONFIG;
		}
	}
	pods_find(&m);
	kernel = loop_open(&loop) == 0 ? nft_new(&loop, &m, &e) : NULL;
	e.code = 0;
	code = explain(&m, kernel, words, count, json, &out, &e);
	nft_free(kernel);
	loop_close(&loop);
	if (e.code)
		fprintf(stderr, "manx: %s\n", e.text);
	fputs(str_text(&out), stdout);
	model_fini(&m);
	return code;
}
