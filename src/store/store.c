#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

static const struct store_driver *const drivers[] = { &store_file, &store_kubernetes };

static const char *driver_name(enum datastore_driver d)
{
	switch (d) {
	case DATASTORE_FILE:
		return "file";
	case DATASTORE_KUBERNETES:
		return "kubernetes";
	case DATASTORE_ETCD:
		return "etcd";
	}
	return "";
}

static void write_free(struct store_write *w)
{
	row_free(w->row);
	free(w);
}

static void on_deliver(struct deferred *d)
{
	struct store *s = container_of(d, struct store, deliver);
	struct store_write *w = s->finished;

	s->finished = NULL;
	s->finished_tail = &s->finished;
	while (w) {
		struct store_write *next = w->next;

		if (w->done)
			w->done(w->ctx, w->rc);
		write_free(w);
		w = next;
	}
}

/* NULL: not in this version. */
static const struct store_driver *driver_of(const struct config *c)
{
	for (unsigned i = 0; i < ARRAY_SIZE(drivers); i++)
		if (strcmp(drivers[i]->name, driver_name(c->datastore.driver)) == 0)
			return drivers[i];
	return NULL;
}

int store_start(struct store *s, struct loop *l, struct model *m, const struct config *c, struct err *e)
{
	*s = (struct store){ .loop = l, .model = m, .config = c, .driver = driver_of(c), .deliver.fn = on_deliver };
	s->finished_tail = &s->finished;
	if (s->driver)
		return s->driver->start(s, c->datastore.where, e);
	return err_set(e, EPROTONOSUPPORT, "datastore = %s: not in this version", driver_name(c->datastore.driver));
}

bool store_is_hopeless(int rc)
{
	return rc == -EPERM || rc == -EINVAL || rc == -ENAMETOOLONG;
}

bool store_is_used(const struct config *c)
{
	const struct store_driver *d = driver_of(c);

	return d && (!d->is_used || d->is_used(c->datastore.where));
}

int store_purge(const struct config *c)
{
	const struct store_driver *d = driver_of(c);

	return d && d->purge ? d->purge(c->datastore.where) : 0;
}

void store_stop(struct store *s)
{
	if (s->driver)
		s->driver->stop(s);
	if (s->loop)
		deferred_del(s->loop, &s->deliver);
	for (struct store_write *w = s->finished, *next; w; w = next) {
		next = w->next;
		write_free(w);
	}
	s->driver = NULL;
	s->finished = NULL;
	s->finished_tail = &s->finished;
}

const char *store_state_text(const struct store *s)
{
	switch (s->state) {
	case STORE_CONNECTING:
		return "connecting";
	case STORE_SYNCED:
		return "synced";
	case STORE_AWAY:
		return "away";
	}
	return "";
}

static struct store_write *write_new(const struct kind *k, const char *key, uint64_t expected, store_done *done,
				     void *ctx)
{
	size_t size = strlen(key) + 1;
	struct store_write *w = xcalloc(1, sizeof *w + size);

	*w = (struct store_write){ .kind = k, .expected = expected, .done = done, .ctx = ctx };
	w->key = memcpy(w + 1, key, size);
	return w;
}

void store_put_meanwhile(struct store *s, const struct kind *k, struct row *row, uint64_t expected,
			 store_meanwhile *meanwhile, store_done *done, void *ctx)
{
	struct store_write *w = write_new(k, row->key, expected, done, ctx);

	row->digest = k->digest(row);
	w->row = row;
	w->meanwhile = meanwhile;
	s->driver->write(s, w);
}

void store_put(struct store *s, const struct kind *k, struct row *row, uint64_t expected, store_done *done, void *ctx)
{
	store_put_meanwhile(s, k, row, expected, NULL, done, ctx);
}

void store_del(struct store *s, const struct kind *k, const char *key, uint64_t expected, store_done *done, void *ctx)
{
	s->driver->write(s, write_new(k, key, expected, done, ctx));
}

/*
 * Conflicts are ordinary, and a driver says itself that it is away.  What else a write may meet is shown until some
 * write succeeds, and said once for a kind, each of which may have a folder or rights of its own.
 */
static void tell(struct store *s, const struct store_write *w, int rc)
{
	uint64_t *said = &s->failing[w->row ? 1 : 0], bit = 1ull << (w->kind - kinds);
	const char *verb = w->row ? "write" : "delete";

	if (rc == 0) {
		if (*said & bit)
			log_info("store", "%s %s: can %s again", w->kind->kind, w->key, verb);
		*said &= ~bit;
		model_problem_clear(s->model, "store", "write");
		return;
	}
	if (!(*said & bit))
		log_err("store", "%s %s: cannot %s: %s", w->kind->kind, w->key, verb, strerror(-rc));
	*said |= bit;
	model_problem(s->model, "store", "write", "see the datastore", "%s %s: cannot %s: %s", w->kind->kind, w->key, verb,
		      strerror(-rc));
}

/* Where the driver hears of changes by another way, the model may be past this one already. */
static void take(struct store *s, struct store_write *w, uint64_t version)
{
	struct row *now = table_find(kind_table(w->kind, s->model), w->key);
	uint64_t past = now ? kind_meta(w->kind, now)->version : 0;

	if (w->row && past <= version) {
		kind_meta(w->kind, w->row)->version = version;
		store_event_put(s, w->kind, w->row);
		w->row = NULL;
	} else if (!w->row && past <= w->expected) {
		store_event_del(s, w->kind, w->key);
	}
}

void store_written(struct store *s, struct store_write *w, int rc, uint64_t version)
{
	if (rc != -ESTALE && rc != -EPERM && rc != -EAGAIN)
		tell(s, w, rc);
	if (rc == 0)
		take(s, w, version);
	w->rc = rc;
	w->next = NULL;
	*s->finished_tail = w;
	s->finished_tail = &w->next;
	loop_defer(s->loop, &s->deliver);
}

/* Is it of this node, as far as is known?  Where agents are asked to write what users gave, nothing is. */
static bool is_elsewhere(const struct store *s, const struct kind *k, const struct row *row)
{
	const char *node = kind_meta(k, (struct row *)row)->name;

	if (strcmp(k->kind, "Pod") == 0)
		node = container_of(row, struct pod, row)->node;
	return s->driver->given_nodes && *node && !model_is_self(s->model, node);
}

bool store_event_put(struct store *s, const struct kind *k, struct row *row)
{
	if (k->pack && is_elsewhere(s, k, row))
		row = k->pack(k, row);
	if (kind_is_used(k, s->model->config))
		return table_put(kind_table(k, s->model), row);
	row_free(row);
	return false;
}

void store_event_del(struct store *s, const struct kind *k, const char *key)
{
	table_del(kind_table(k, s->model), key);
}
