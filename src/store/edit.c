/* Changes that people ask for, whatever the driver. */
#include "store/store.h"

#include <errno.h>

#include "base/util.h"

static void on_deliver(struct deferred *d)
{
	struct store_edit *e = container_of(d, struct store_edit, deliver);

	e->done(e);
}

void store_edited(struct store_edit *e, enum edit_outcome outcome)
{
	e->outcome = outcome;
	loop_defer(e->store->loop, &e->deliver);
}

void store_edit(struct store *s, struct store_edit *e)
{
	e->store = s;
	e->deliver = (struct deferred){ .fn = on_deliver };
	if (s->state == STORE_SYNCED && s->driver->edit) {
		s->driver->edit(s, e);
		return;
	}
	if (s->driver->edit)
		err_set(&e->err, ENOTCONN, "the datastore is %s", store_state_text(s));
	else
		err_set(&e->err, EPROTONOSUPPORT, "datastore %s: not in this version", s->driver->name);
	store_edited(e, EDIT_FAILED);
}
