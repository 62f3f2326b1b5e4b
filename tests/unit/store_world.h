/* A datastore folder, and agents on it: what the tests of the file driver share. */
#ifndef TESTS_STORE_WORLD_H
#define TESTS_STORE_WORLD_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "store/store.h"

#ifndef WHOLE_PROGRAM			/* else the other driver is not linked */
const struct store_driver store_kubernetes = { .name = "kubernetes" };
#endif

struct agent {
	struct loop loop;
	struct config config;
	struct model model;
	struct store store;
};

static inline int agent_start(struct agent *a, const char *dir, struct err *e)
{
	*a = (struct agent){ .config.datastore.driver = DATASTORE_FILE };
	snprintf(a->config.datastore.where, sizeof a->config.datastore.where, "%s", dir);
	snprintf(a->config.state_dir, sizeof a->config.state_dir, "%s-state", dir);
	model_init(&a->model, &a->config);
	if (loop_open(&a->loop) < 0)
		abort();
	return store_start(&a->store, &a->loop, &a->model, &a->config, e);
}

static inline void agent_stop(struct agent *a)
{
	store_stop(&a->store);
	loop_close(&a->loop);
	model_fini(&a->model);
}

/* One turn; what it changed is then clean. */
static inline void agent_turn(struct agent *a, int ms)
{
	loop_turn(&a->loop, ms);
	model_clean(&a->model);
}

/* A write and its end. */
struct ended { bool done; int rc; };

static inline void on_ended(void *ctx, int rc)
{
	struct ended *e = ctx;

	e->done = true;
	e->rc = rc;
}

static inline int await(struct agent *a, struct ended *e)
{
	uint64_t until = now_ms() + 5000;

	while (!e->done && now_ms() < until)
		agent_turn(a, 5);
	return e->done ? e->rc : -ETIMEDOUT;
}

static inline void set_meta(struct row *row, struct meta *m, const char *namespace, const char *name)
{
	char key[OBJECT_KEY_MAX];

	snprintf(key, sizeof key, "%s%s%s", namespace, *namespace ? "/" : "", name);
	row->key = arena_str(&row->mem, key);
	*m = (struct meta){ .namespace = arena_str(&row->mem, namespace), .name = arena_str(&row->mem, name), .uid = "" };
}

/* A handle whose one block's count is the value that a test changes. */
static inline int put_handle(struct agent *a, const char *name, unsigned count, uint64_t expected)
{
	struct handle *h = row_new(sizeof *h);
	struct ended e = { 0 };

	set_meta(&h->row, &h->meta, "", name);
	h->id = h->meta.name;
	h->blocks = arena_alloc(&h->row.mem, sizeof *h->blocks);
	h->block_count = 1;
	h->blocks[0].count = count;
	prefix_parse(&h->blocks[0].cidr, "10.42.0.0/26", NULL);
	store_put(&a->store, kind_named("IPAMHandle"), &h->row, expected, on_ended, &e);
	return await(a, &e);
}

static inline int del(struct agent *a, const char *kind, const char *key, uint64_t expected)
{
	struct ended e = { 0 };

	store_del(&a->store, kind_named(kind), key, expected, on_ended, &e);
	return await(a, &e);
}

static inline const struct handle *handle_of(struct agent *a, const char *name)
{
	return table_find(&a->model.handles, name);
}

/* rm -r; only ever of a folder that mkdtemp() made. */
static inline void folder_remove(const char *path)
{
	DIR *d = opendir(path);

	for (struct dirent *e; d && (e = readdir(d)); ) {
		char name[512];
		struct stat st;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(name, sizeof name, "%.250s/%.250s", path, e->d_name);
		if (lstat(name, &st) == 0 && S_ISDIR(st.st_mode))
			folder_remove(name);
		else
			unlink(name);
	}
	if (d)
		closedir(d);
	rmdir(path);
}

#endif
