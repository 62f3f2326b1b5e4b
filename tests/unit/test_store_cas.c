/* links: src/store/store.c src/store/objects.c src/store/file.c src/store/file_user.c src/store/file_edit.c src/store/edit.c src/store/file_object.c src/store/file_read.c src/store/file_memory.c src/base/hash.c src/store/file_agent.c src/store/file_write.c src/store/kind.c src/store/kind_block.c src/store/kind_core.c src/store/kind_ipam.c src/store/kind_meta.c src/store/kind_pack.c src/store/kind_policy.c src/store/kind_ipamrules.c src/store/kind_pool.c src/store/kind_workload.c src/wire/yaml.c src/wire/yaml_names.c src/wire/yaml_plain.c src/wire/json.c src/wire/json_check.c src/wire/json_fields.c src/wire/json_out.c src/model/model.c src/model/policy.c src/model/selector.c src/model/tunnel.c src/base/arena.c src/base/aside.c src/base/thread.c src/base/digest.c src/base/err.c src/base/fs.c src/base/log.c src/base/mac.c src/base/loop.c src/base/prefix.c src/base/str.c src/base/table.c src/base/util.c */
/*
 * Several processes write one object and some are killed at any moment.  Every
 * process counts in a line of its own (the handle's count of block 10.0.0.<n>/32):
 * an acknowledged write that got lost, or one that overwrote another's, is a
 * count that is too low.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/fs.h"
#include "store_world.h"

enum { WRITERS = 4, WRITES = 1000, KILLS = 60, TIME_LIMIT_MS = 60000, VERSIONS_MAX = 1 << 16 };

/* Shared with the children: what was acknowledged, and who was given which version. */
struct shared {
	unsigned acknowledged[WRITERS];
	unsigned started;
	unsigned conflicts;
	unsigned used[VERSIONS_MAX];	/* a byte would ask riscv64 for libatomic */
};

static struct shared *shared;
static char dir[64];

struct counted { struct ended ended; struct agent *agent; uint64_t version; };

/* The version as the write left it: a moment later the model may have another writer's. */
static void on_counted(void *ctx, int rc)
{
	struct counted *c = ctx;
	const struct handle *h = table_find(&c->agent->model.handles, "counter");

	c->version = h ? h->meta.version : 0;
	on_ended(&c->ended, rc);
}

static void count_up(struct agent *a, unsigned writer)
{
	const struct handle *now = table_find(&a->model.handles, "counter");
	struct handle *h = row_new(sizeof *h);
	struct counted c = { .agent = a };
	int rc;

	set_meta(&h->row, &h->meta, "", "counter");
	h->id = h->meta.name;
	h->block_count = WRITERS;
	h->blocks = arena_alloc(&h->row.mem, WRITERS * sizeof *h->blocks);
	for (unsigned i = 0; i < WRITERS; i++) {
		h->blocks[i].cidr = (struct prefix){ { .family = AF_INET, .b = { 10, 0, 0, (uint8_t)i } }, 32 };
		h->blocks[i].count = now ? now->blocks[i].count : 0;
	}
	h->blocks[writer].count++;
	store_put(&a->store, kind_named("IPAMHandle"), &h->row, now ? now->meta.version : 0, on_counted, &c);
	rc = await(a, &c.ended);
	if (rc == 0) {
		__atomic_add_fetch(&shared->used[c.version % VERSIONS_MAX], 1, __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&shared->acknowledged[writer], 1, __ATOMIC_SEQ_CST);
	} else if (rc == -ESTALE) {
		__atomic_add_fetch(&shared->conflicts, 1, __ATOMIC_SEQ_CST);
	} else {
		dprintf(2, "write: %s\n", strerror(-rc));
		_exit(2);
	}
}

static void writer_run(unsigned writer)
{
	static struct agent a;
	struct err e = { 0 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (agent_start(&a, dir, &e) < 0) {
		dprintf(2, "%s\n", e.text);
		_exit(2);
	}
	while (shared->acknowledged[writer] < WRITES)
		count_up(&a, writer);
	_exit(0);
}

static pid_t writer_start(unsigned writer)
{
	pid_t pid = fork();

	if (pid == 0)
		writer_run(writer);
	assert_true(pid > 0);
	return pid;
}

/* The file as a stranger sees it, at any moment: whole. */
static void read_whole(void)
{
	autostr struct str text = { 0 };
	struct err e = { 0 };
	struct row *row;
	struct json j;
	char path[128];

	snprintf(path, sizeof path, "%s/.manx/ipamhandles/counter.json", dir);
	if (fs_read(AT_FDCWD, path, 1 << 16, &text) == -ENOENT)
		return;
	if (json_parse(&j, str_text(&text), text.len, &e) < 0)
		fail_msg("torn: %s: %s", e.text, str_text(&text));
	row = kind_decode(&j, 0, NULL, &e);
	json_free(&j);
	if (!row)
		fail_msg("torn: %s: %s", e.text, str_text(&text));
	row_free(row);
}

/* Random deaths among those that still run; ends when all have ended by themselves. */
static unsigned kill_and_restart(pid_t pids[WRITERS], unsigned *seed)
{
	uint64_t until = now_ms() + TIME_LIMIT_MS;
	unsigned kills = 0, running = WRITERS;

	while (running) {
		unsigned victim = rand_r(seed) % WRITERS;
		int status;

		nanosleep(&(struct timespec){ .tv_nsec = 1000000 + rand_r(seed) % 20000000 }, NULL);
		assert_true(now_ms() < until);
		for (int i = 0; i < 20; i++)
			read_whole();
		if (kills < KILLS && pids[victim] && shared->acknowledged[victim] < WRITES) {
			kill(pids[victim], SIGKILL);
			waitpid(pids[victim], &status, 0);
			kills += WIFSIGNALED(status);
			pids[victim] = writer_start(victim);
		}
		for (unsigned i = 0; i < WRITERS; i++) {
			if (!pids[i] || waitpid(pids[i], &status, WNOHANG) != pids[i])
				continue;
			assert_true(WIFEXITED(status));
			assert_int_equal(WEXITSTATUS(status), 0);
			pids[i] = 0;
			running--;
		}
	}
	return kills;
}

static void check_counts(unsigned kills)
{
	struct agent a;
	struct err e = { 0 };
	const struct handle *h;
	unsigned total = 0;

	assert_int_equal(agent_start(&a, dir, &e), 0);
	h = handle_of(&a, "counter");
	assert_non_null(h);
	for (unsigned i = 0; i < WRITERS; i++) {
		/* At most one write of each that was killed was done and not yet acknowledged. */
		assert_in_range(h->blocks[i].count, shared->acknowledged[i], shared->acknowledged[i] + kills);
		total += h->blocks[i].count;
	}
	assert_true(h->meta.version >= total);
	for (unsigned i = 0; i < VERSIONS_MAX; i++)
		assert_true(shared->used[i] <= 1);
	agent_stop(&a);
}

static void test_conflicting_writers_that_die_lose_nothing(void **state)
{
	pid_t pids[WRITERS];
	unsigned seed = 20261124, kills;

	(void)state;
	print_message("seed %u\n", seed);
	for (unsigned i = 0; i < WRITERS; i++)
		pids[i] = writer_start(i);
	kills = kill_and_restart(pids, &seed);
	print_message("%d writers, %d writes each, %u conflicts, %u killed\n", WRITERS, WRITES, shared->conflicts, kills);
	assert_true(kills > 0);
	assert_true(shared->conflicts > 0);
	check_counts(kills);
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "%s", "/tmp/store-XXXXXX");
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return !mkdtemp(dir) || shared == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	munmap(shared, sizeof *shared);
	folder_remove(dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_conflicting_writers_that_die_lose_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
