/* links: src/base/table.c src/base/arena.c src/base/digest.c src/base/util.c src/base/log.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"

struct thing {
	struct row row;
	unsigned id, value;
};

static struct thing *thing_new(unsigned id, unsigned value)
{
	struct thing *t = row_new(sizeof *t);
	char key[16];

	snprintf(key, sizeof key, "key-%u", id);
	t->row.key = arena_str(&t->row.mem, key);
	t->row.digest = value;
	t->id = id;
	t->value = value;
	return t;
}

static bool put(struct table *t, unsigned id, unsigned value)
{
	return table_put(t, &thing_new(id, value)->row);
}

/* The dirty list in words: "key-1=5 key-2- ", '-' for gone. */
static const char *dirty_text(struct table *t)
{
	static char text[256];
	size_t len = 0;
	struct thing *r;

	text[0] = '\0';
	table_each_dirty(t, r)
		len += (size_t)snprintf(text + len, sizeof text - len, r->row.gone ? "%s- " : "%s=%u ",
					r->row.key + 4, r->value);
	return text;
}

static void put_find_delete(void **state)
{
	struct table t;
	struct thing *r;

	(void)state;
	table_init(&t, "things");
	assert_null(table_find(&t, "key-1"));
	assert_false(table_del(&t, "key-1"));
	assert_null(table_first(&t));
	assert_true(put(&t, 1, 10));
	r = table_find(&t, "key-1");
	assert_int_equal(r->value, 10);
	assert_ptr_equal(r->row.table, &t);
	assert_true(table_del(&t, "key-1"));
	assert_false(table_del(&t, "key-1"));
	assert_null(table_find(&t, "key-1"));
	assert_null(table_first(&t));
	assert_int_equal(t.count, 0);
	assert_string_equal(dirty_text(&t), "1- ");
	table_clean(&t);
	assert_null(t.dirty);
	table_fini(&t);
}

static void equal_digest_replaces_and_dirties_nothing(void **state)
{
	struct table t;
	struct thing *r;

	(void)state;
	table_init(&t, "things");
	put(&t, 1, 10);
	table_clean(&t);
	r = thing_new(1, 10);
	assert_false(table_put(&t, &r->row));
	assert_ptr_equal(table_find(&t, "key-1"), r);
	assert_string_equal(dirty_text(&t), "");
	assert_true(put(&t, 1, 11));
	assert_string_equal(dirty_text(&t), "1=11 ");
	assert_int_equal(t.count, 1);
	table_fini(&t);
}

static void replaced_rows_keep_their_place_in_the_dirty_list(void **state)
{
	struct table t;

	(void)state;
	table_init(&t, "things");
	for (unsigned i = 1; i <= 3; i++)
		put(&t, i, i);
	assert_string_equal(dirty_text(&t), "1=1 2=2 3=3 ");
	assert_true(put(&t, 2, 20));
	assert_false(put(&t, 3, 3));
	put(&t, 4, 4);
	put(&t, 1, 10);
	assert_string_equal(dirty_text(&t), "1=10 2=20 3=3 4=4 ");
	table_fini(&t);
}

static void gone_row_is_revived_in_its_place(void **state)
{
	struct table t;

	(void)state;
	table_init(&t, "things");
	put(&t, 1, 1);
	put(&t, 2, 2);
	table_clean(&t);
	table_del(&t, "key-1");
	table_touch(&t, table_find(&t, "key-2"));
	table_touch(&t, table_find(&t, "key-2"));
	assert_string_equal(dirty_text(&t), "1- 2=2 ");
	assert_true(put(&t, 1, 1));	/* the same digest: still news */
	assert_string_equal(dirty_text(&t), "1=1 2=2 ");
	assert_int_equal(t.count, 2);
	table_clean(&t);
	assert_non_null(table_find(&t, "key-1"));
	table_fini(&t);
}

static void full_list_deletes_what_it_does_not_name(void **state)
{
	struct table t;

	(void)state;
	table_init(&t, "things");
	for (unsigned i = 1; i <= 3; i++)
		put(&t, i, i);
	table_clean(&t);
	table_begin(&t);
	put(&t, 1, 1);
	put(&t, 3, 30);
	put(&t, 4, 4);
	table_end(&t);
	assert_null(table_find(&t, "key-2"));
	assert_int_equal(t.count, 3);
	assert_string_equal(dirty_text(&t), "3=30 4=4 2- ");
	table_fini(&t);
}

static void rows_may_be_deleted_and_touched_while_iterating(void **state)
{
	unsigned visits = 0;
	struct table t;
	struct thing *r;

	(void)state;
	table_init(&t, "things");
	for (unsigned i = 0; i < 100; i++)
		put(&t, i, i);
	table_clean(&t);
	table_each(&t, r) {
		visits++;
		if (r->value % 2)
			table_del(&t, r->row.key);
		else
			table_touch(&t, &r->row);
	}
	assert_int_equal(visits, 100);
	assert_int_equal(t.count, 50);
	table_clean(&t);
	table_each(&t, r)
		assert_int_equal(r->value % 2, 0);
	table_fini(&t);
}

/* The naive model: what each key should be, and the order in which it became dirty. */
enum { KEYS = 300 };
struct expected {
	bool present, gone, marked;
	unsigned value, dirty;		/* dirty: place in the list, 0: clean */
} want[KEYS];
static unsigned want_dirty;

static void want_dirtied(struct expected *w)
{
	if (!w->dirty)
		w->dirty = ++want_dirty;
}

static void want_deleted(struct expected *w)
{
	w->present = false;
	w->gone = true;
	want_dirtied(w);
}

static void step_put(struct table *t, unsigned id, unsigned value)
{
	struct expected *w = &want[id];
	bool changed = !w->present || w->value != value;

	assert_int_equal(put(t, id, value), changed);
	if (changed)
		want_dirtied(w);
	*w = (struct expected){ .present = true, .marked = true, .value = value, .dirty = w->dirty };
}

static void step_del(struct table *t, unsigned id)
{
	char key[16];

	snprintf(key, sizeof key, "key-%u", id);
	assert_int_equal(table_del(t, key), want[id].present);
	if (want[id].present)
		want_deleted(&want[id]);
}

static void step_clean(struct table *t)
{
	table_clean(t);
	want_dirty = 0;
	for (unsigned i = 0; i < KEYS; i++) {
		want[i].gone = false;
		want[i].dirty = 0;
	}
}

static int value_order(const void *a, const void *b)
{
	return (int)(*(struct expected *const *)a)->dirty - (int)(*(struct expected *const *)b)->dirty;
}

/* Order of the deletions within one table_end() is the hash's, so ask the table. */
static void step_list(struct table *t)
{
	struct thing *r;

	for (unsigned i = 0; i < KEYS; i++)
		want[i].marked = false;
	table_begin(t);
	for (unsigned i = 0; i < 40; i++)
		step_put(t, (unsigned)rand() % KEYS, (unsigned)rand() % 3);
	table_each(t, r) {
		struct expected *w = &want[r->id];

		if (!w->marked)
			want_deleted(w);
	}
	table_end(t);
}

static void compare(struct table *t)
{
	struct expected *list[KEYS], **at = list;
	unsigned present = 0, seen = 0, dirty = 0;
	struct thing *r;

	for (unsigned i = 0; i < KEYS; i++) {
		char key[16];

		snprintf(key, sizeof key, "key-%u", i);
		r = table_find(t, key);
		assert_int_equal(r != NULL, want[i].present);
		if (r)
			assert_int_equal(r->value, want[i].value);
		present += want[i].present;
		if (want[i].dirty)
			list[dirty++] = &want[i];
	}
	assert_int_equal(t->count, present);
	table_each(t, r)
		seen++;
	assert_int_equal(seen, present);
	qsort(list, dirty, sizeof *list, value_order);
	table_each_dirty(t, r) {
		assert_true(at < list + dirty);
		assert_ptr_equal(*at++, &want[r->id]);
		assert_int_equal(r->row.gone, at[-1]->gone);
	}
	assert_ptr_equal(at, list + dirty);
}

static void random_changes_equal_the_naive_model(void **state)
{
	struct table t;

	(void)state;
	srand(7);
	print_message("seed 7\n");
	table_init(&t, "things");
	for (int i = 0; i < 6000; i++) {
		unsigned id = (unsigned)rand() % KEYS, what = (unsigned)rand() % 100;

		if (what < 55)
			step_put(&t, id, (unsigned)rand() % 3);
		else if (what < 95)
			step_del(&t, id);
		else if (what < 98)
			step_clean(&t);
		else
			step_list(&t);
		if (i % 7 == 0)
			compare(&t);
	}
	table_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put_find_delete),
		cmocka_unit_test(equal_digest_replaces_and_dirties_nothing),
		cmocka_unit_test(replaced_rows_keep_their_place_in_the_dirty_list),
		cmocka_unit_test(gone_row_is_revived_in_its_place),
		cmocka_unit_test(full_list_deletes_what_it_does_not_name),
		cmocka_unit_test(rows_may_be_deleted_and_touched_while_iterating),
		cmocka_unit_test(random_changes_equal_the_naive_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
