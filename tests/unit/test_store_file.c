/* links: src/store/store.c src/store/objects.c src/store/file.c src/store/file_user.c src/store/file_edit.c src/store/edit.c src/store/file_object.c src/store/file_read.c src/store/file_memory.c src/base/hash.c src/store/file_agent.c src/store/file_write.c src/store/kind.c src/store/kind_block.c src/store/kind_core.c src/store/kind_ipam.c src/store/kind_meta.c src/store/kind_pack.c src/store/kind_policy.c src/store/kind_ipamrules.c src/store/kind_pool.c src/store/kind_workload.c src/wire/yaml.c src/wire/yaml_names.c src/wire/yaml_plain.c src/wire/json.c src/wire/json_check.c src/wire/json_fields.c src/wire/json_out.c src/model/model.c src/model/policy.c src/model/selector.c src/model/tunnel.c src/base/arena.c src/base/aside.c src/base/thread.c src/base/digest.c src/base/err.c src/base/fs.c src/base/log.c src/base/mac.c src/base/loop.c src/base/prefix.c src/base/str.c src/base/table.c src/base/util.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "base/fs.h"
#include "model/policy.h"
#include "store_world.h"

static char root[64], dir[80];
static struct agent a, b;
static bool a_runs, b_runs;
static int real_stderr = -1;
static char log_path[80];

/* --- a folder for each test, and its log --- */

static int setup(void **state)
{
	(void)state;
	snprintf(root, sizeof root, "%s", "/tmp/store-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(dir, sizeof dir, "%s/store", root);
	snprintf(log_path, sizeof log_path, "%s/log", root);
	mkdir(dir, 0755);
	real_stderr = dup(2);
	return dup2(open(log_path, O_RDWR | O_CREAT | O_APPEND, 0600), 2) < 0;
}

static int teardown(void **state)
{
	(void)state;
	if (a_runs)
		agent_stop(&a);
	if (b_runs)
		agent_stop(&b);
	a_runs = b_runs = false;
	dup2(real_stderr, 2);
	close(real_stderr);
	folder_remove(root);
	return 0;
}

/* How often the log says text. */
static unsigned logged(const char *text)
{
	autostr struct str log = { 0 };
	unsigned n = 0;

	fs_read(AT_FDCWD, log_path, 1 << 24, &log);
	for (const char *p = str_text(&log); (p = strstr(p, text)); p++)
		n++;
	return n;
}

static void start(void)
{
	struct err e = { 0 };

	if (agent_start(&a, dir, &e) < 0)
		fail_msg("%s", e.text);
	a_runs = true;
	assert_string_equal(store_state_text(&a.store), "synced");
	assert_true(a.model.complete);
}

static void start_b(void)
{
	struct err e = { 0 };

	assert_int_equal(agent_start(&b, dir, &e), 0);
	b_runs = true;
}

static void restart(void)
{
	agent_stop(&a);
	start();
}

/* Lets events arrive. */
static void settle(void)
{
	for (int i = 0; i < 4; i++) {
		agent_turn(&a, 2);
		if (b_runs)
			agent_turn(&b, 2);
	}
}

static void path_of(char out[256], const char *name)
{
	snprintf(out, 256, "%s/%s", dir, name);
}

static void in_place(const char *name, const char *text)
{
	char path[256];
	int fd;

	path_of(path, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void write_file(const char *name, const char *text)
{
	in_place(name, text);
	settle();
}

static void remove_file(const char *name)
{
	char path[256];

	path_of(path, name);
	assert_int_equal(unlink(path), 0);
	settle();
}

static void rename_file(const char *from, const char *to)
{
	char old[256], new[256];

	path_of(old, from);
	path_of(new, to);
	assert_int_equal(rename(old, new), 0);
	settle();
}

static void read_own(const char *name, struct str *text)
{
	char path[256];

	path_of(path, name);
	if (fs_read(AT_FDCWD, path, 1 << 20, text) < 0)
		fail_msg("%s: %s", path, strerror(errno));
}

static bool exists(const char *name)
{
	char path[256];

	path_of(path, name);
	return access(path, F_OK) == 0;
}

#define NS(name, value) "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"" name "\",\"labels\":{\"v\":\"" value "\"}}}"
#define POOL(name, cidr) "{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"IPPool\",\"metadata\":{\"name\":\"" name "\"}," \
	"\"spec\":{\"cidr\":\"" cidr "\"}}"

/* The label v of a namespace, or NULL when there is no such namespace. */
static const char *value_of(const char *name)
{
	const struct namespace *ns = table_find(&a.model.namespaces, name);

	return ns ? label_find(ns->meta.labels, ns->meta.label_count, "v") : NULL;
}

static const struct pool *pool_of(const char *name)
{
	return table_find(&a.model.pools, name);
}

static const struct node *node_of(const char *name)
{
	return table_find(&a.model.nodes, name);
}

#define assert_value(name, value) assert_string_equal(value_of(name) ? value_of(name) : "(none)", value)

/* --- users' files --- */

static void test_start_reads_objects_arrays_and_lists(void **state)
{
	(void)state;
	in_place("one.json", NS("one", "1"));
	in_place("array.json", "[" NS("two", "1") "," NS("three", "1") "]");
	in_place("list.json", "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[" NS("four", "1") "]}");
	in_place(".hidden.json", NS("hidden", "1"));
	in_place("edit.json.tmp", NS("tmp", "1"));
	in_place("notes.txt", "no object");
	start();
	assert_int_equal(a.model.namespaces.count, 4);
	assert_value("four", "1");
	assert_int_equal(((struct namespace *)table_find(&a.model.namespaces, "one"))->meta.version, 0);
}

static void test_start_makes_the_folder(void **state)
{
	struct stat st;
	char path[256];

	(void)state;
	snprintf(dir, sizeof dir, "%s/new/store", root);
	start();
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0755);
	path_of(path, ".manx");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

static void test_start_says_what_is_in_the_way(void **state)
{
	struct err e = { 0 };

	(void)state;
	snprintf(dir, sizeof dir, "%s/store/file", root);
	assert_int_equal(close(open(dir, O_WRONLY | O_CREAT, 0600)), 0);
	assert_true(agent_start(&a, dir, &e) < 0);
	agent_stop(&a);
	assert_non_null(strstr(e.text, dir));
	assert_non_null(strstr(e.text, "Not a directory"));
}

static void test_etcd_says_that_it_is_not_here(void **state)
{
	struct agent k = { .config.datastore.driver = DATASTORE_ETCD };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(store_start(&k.store, &k.loop, &k.model, &k.config, &e), -EPROTONOSUPPORT);
	assert_string_equal(e.text, "datastore = etcd: not in this version");
}

static void test_files_come_change_move_and_go(void **state)
{
	(void)state;
	start();
	write_file("x.json", NS("x", "1"));
	assert_value("x", "1");
	write_file("x.json", NS("x", "2"));
	assert_value("x", "2");
	write_file("x.json.tmp", NS("x", "3"));
	assert_value("x", "2");
	rename_file("x.json.tmp", "x.json");
	assert_value("x", "3");
	rename_file("x.json", "y.json");
	assert_value("x", "3");
	write_file("y.json", "[" NS("y", "4") "]");
	assert_value("x", "(none)");
	assert_value("y", "4");
	rename_file("y.json", "y.json.off");
	assert_value("y", "(none)");
	rename_file("y.json.off", "y.json");
	assert_value("y", "4");
	remove_file("y.json");
	assert_value("y", "(none)");
	assert_int_equal(a.model.problems.count, 0);
}

static void test_equal_rewrite_dirties_nothing(void **state)
{
	(void)state;
	start();
	write_file("x.json", NS("x", "1"));
	in_place("x.json", "[ " NS("x", "1") " ]");
	loop_turn(&a.loop, 5);
	loop_turn(&a.loop, 5);
	assert_null(a.model.namespaces.dirty);
	in_place("x.json", NS("x", "2"));
	loop_turn(&a.loop, 5);
	loop_turn(&a.loop, 5);
	assert_non_null(a.model.namespaces.dirty);
}

static void test_links_work_as_configmap_mounts_make_them(void **state)
{
	char path[256], target[256];

	(void)state;
	start();
	path_of(path, "..one");
	assert_int_equal(mkdir(path, 0755), 0);
	in_place("..one/x.json", NS("x", "1"));
	path_of(path, "..two");
	assert_int_equal(mkdir(path, 0755), 0);
	in_place("..two/x.json", NS("x", "2"));
	path_of(path, "..data");
	assert_int_equal(symlink("..one", path), 0);
	path_of(path, "x.json");
	assert_int_equal(symlink("..data/x.json", path), 0);
	settle();
	assert_value("x", "1");
	path_of(path, "..data_tmp");
	path_of(target, "..data");
	assert_int_equal(symlink("..two", path), 0);
	assert_int_equal(rename(path, target), 0);
	settle();
	assert_value("x", "2");
}

static void test_broken_syntax_keeps_what_the_file_last_gave(void **state)
{
	(void)state;
	start();
	write_file("x.json", "[" NS("x", "1") "," NS("y", "1") "]");
	write_file("x.json", "[\n " NS("x", "2") ",\n oops]");
	assert_value("x", "1");
	assert_value("y", "1");
	assert_int_equal(logged("x.json:3:2: "), 1);
	assert_int_equal(a.model.problems.count, 1);
	write_file("x.json", "[\n " NS("x", "2") ",\n oops]");	/* the same again: said once */
	assert_int_equal(logged("x.json:3:2: "), 1);
	write_file("z.json", NS("z", "1"));
	assert_value("z", "1");
	write_file("x.json", "[" NS("x", "3") "]");
	assert_value("x", "3");
	assert_value("y", "(none)");
	assert_int_equal(a.model.problems.count, 0);
}

static void test_broken_file_at_the_start_stops_nobody(void **state)
{
	(void)state;
	in_place("a.json", "{");
	in_place("b.json", NS("x", "1"));
	start();
	assert_value("x", "1");
	assert_int_equal(logged("a.json:1:"), 1);
}

static void test_files_of_long_names_have_a_problem_each(void **state)
{
	char name[2][220];

	(void)state;
	start();
	for (int i = 0; i < 2; i++) {
		snprintf(name[i], sizeof name[i], "%0200d-%d.json", 0, i);
		write_file(name[i], "{");
	}
	assert_int_equal(a.model.problems.count, 2);
	write_file(name[0], NS("x", "1"));
	assert_int_equal(a.model.problems.count, 1);
}

static void test_bad_object_keeps_its_last_good_state(void **state)
{
	(void)state;
	start();
	write_file("x.json", "[" POOL("p", "10.1.0.0/16") "," NS("x", "1") "]");
	write_file("x.json", "[" POOL("p", "10.1.0.1/16") "," NS("x", "2") "," POOL("never", "nonsense") "]");
	assert_string_equal(prefix_text(&pool_of("p")->cidr).s, "10.1.0.0/16");
	assert_value("x", "2");
	assert_null(pool_of("never"));
	assert_int_equal(logged("spec.cidr: 10.1.0.1/16"), 1);
	assert_int_equal(logged("spec.cidr: nonsense"), 1);
	assert_int_equal(a.model.problems.count, 1);
	write_file("x.json", NS("x", "2"));
	assert_null(pool_of("p"));
	assert_int_equal(a.model.problems.count, 0);
}

static void test_kinds_that_are_not_ours_are_said_once_a_file(void **state)
{
	(void)state;
	start();
#define SERVICE "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s\"}}"
	write_file("x.json", "[" SERVICE "," NS("x", "1") "," SERVICE "]");
	assert_value("x", "1");
	assert_int_equal(logged("level=info"), 1);
	assert_int_equal(logged("x.json: kind Service (v1)"), 1);
	assert_int_equal(a.model.problems.count, 0);
}

#define YAML_NS(name, value) "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: " name "\n  labels: {v: '" value "'}\n"

static void test_yaml_holds_objects_documents_lists_and_arrays(void **state)
{
	(void)state;
	in_place("one.yaml", YAML_NS("one", "1"));
	in_place("documents.yml", "# two\n---\n" YAML_NS("two", "1") "---\n# nothing\n---\n" YAML_NS("three", "1") "---\n");
	in_place("list.yaml", "apiVersion: v1\nkind: List\nitems:\n- " NS("four", "1") "\n- " NS("five", "1") "\n");
	in_place("array.yaml", "- " NS("six", "1") "\n");
	in_place("arrays.yaml", "- " NS("seven", "1") "\n---\n- " NS("eight", "1") "\n---\n" YAML_NS("nine", "1"));
	in_place("empty.yaml", "# nothing yet\n");
	in_place(".yaml", YAML_NS("hidden", "1"));
	start();
	assert_int_equal(a.model.namespaces.count, 9);
	assert_value("five", "1");
	assert_value("nine", "1");
	assert_int_equal(a.model.problems.count, 0);
	write_file("one.yaml", YAML_NS("one", "2"));
	assert_value("one", "2");
	rename_file("one.yaml", "one.json");
	assert_int_equal(logged("one.json:1:1: "), 1);
	assert_value("one", "(none)");
}

static void test_bad_yaml_document_is_named_and_the_other_counts(void **state)
{
	(void)state;
	start();
#define YAML_POOL(cidr) "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: p\nspec:\n  cidr: " cidr "\n"
	write_file("x.yaml", YAML_POOL("10.1.0.0/16") "---\n" YAML_NS("x", "1"));
	assert_value("x", "1");
	write_file("x.yaml", YAML_NS("x", "2") "---\n" YAML_POOL("10.1.0.1/16"));
	assert_value("x", "2");
	assert_int_equal(logged("x.yaml:12:9: spec.cidr: 10.1.0.1/16"), 1);
	assert_string_equal(prefix_text(&pool_of("p")->cidr).s, "10.1.0.0/16");
	write_file("x.yaml", YAML_NS("x", "3") "---\nkind: [\n");
	assert_int_equal(logged("x.yaml:8:1: "), 1);
	assert_value("x", "2");
	assert_non_null(pool_of("p"));
	assert_int_equal(a.model.problems.count, 1);
}

/* The file first, and of two files of the same object the one whose name sorts first, whatever the format. */
static void test_formats_are_ordered_by_file_name(void **state)
{
	(void)state;
	start();
	write_file("x.yaml", YAML_NS("x", "yaml"));
	write_file("x.json", NS("x", "json"));
	assert_value("x", "json");
	assert_int_equal(logged("x.json and in x.yaml"), 1);
	remove_file("x.json");
	assert_value("x", "yaml");
}

static void test_same_object_in_two_files(void **state)
{
	(void)state;
	start();
	write_file("b.json", NS("x", "b"));
	write_file("c.json", NS("x", "c"));
	assert_value("x", "b");
	assert_int_equal(logged("Namespace x: in "), 1);
	assert_int_equal(logged("b.json and in c.json"), 1);
	write_file("a.json", NS("x", "a"));
	assert_value("x", "a");
	assert_int_equal(logged("a.json and in b.json"), 1);
	write_file("b.json", NS("x", "bb"));
	assert_value("x", "a");
	remove_file("a.json");
	assert_value("x", "bb");
	remove_file("b.json");
	assert_value("x", "c");
	remove_file("c.json");
	assert_value("x", "(none)");
}

#define assert_pool(name, prefix) \
	assert_string_equal(pool_of(name) ? prefix_text(&pool_of(name)->cidr).s : "(none)", prefix)

/* The first file name counts with its last good state, when it has one. */
static void test_hidden_object_that_went_bad_is_revealed_as_it_last_was(void **state)
{
	(void)state;
	start();
	write_file("a.json", POOL("p", "10.1.0.0/16"));
	write_file("b.json", POOL("p", "10.2.0.0/16"));
	write_file("c.json", POOL("p", "10.3.0.0/16"));
	write_file("b.json", POOL("p", "10.2.0.1/16"));
	assert_pool("p", "10.1.0.0/16");
	remove_file("a.json");
	assert_pool("p", "10.2.0.0/16");
	remove_file("b.json");
	assert_pool("p", "10.3.0.0/16");
	write_file("b.json", POOL("p", "10.2.0.1/16"));		/* never was good */
	assert_pool("p", "10.3.0.0/16");
}

static void test_hidden_file_that_broke_is_revealed_as_it_last_was(void **state)
{
	(void)state;
	start();
	write_file("a.json", NS("x", "a"));
	write_file("b.json", NS("x", "b"));
	write_file("b.json", "{");
	assert_value("x", "a");
	remove_file("a.json");
	assert_value("x", "b");
	write_file("b.json", NS("x", "bb"));
	assert_value("x", "bb");
}

/* --- across restarts --- */

static void state_path(char out[256], const char *name)
{
	snprintf(out, 256, "%s-state/last-good/%s", dir, name);
}

static void test_last_good_state_outlives_a_restart(void **state)
{
	(void)state;
	start();
	write_file("x.yaml", YAML_POOL("10.1.0.0/16") "---\n" YAML_NS("x", "1") "---\n" YAML_NS("y", "1"));
	write_file("x.yaml", YAML_POOL("10.1.0.1/16") "---\n" YAML_NS("x", "2"));
	restart();
	assert_pool("p", "10.1.0.0/16");
	assert_value("x", "2");
	assert_value("y", "(none)");
	assert_int_equal(a.model.problems.count, 1);
	assert_int_equal(logged("x.yaml: 1 of its objects as they last were"), 1);
	restart();			/* it is kept from one to the next */
	assert_pool("p", "10.1.0.0/16");
	write_file("x.yaml", "{");
	restart();
	assert_pool("p", "10.1.0.0/16");
	assert_value("x", "2");
	write_file("x.yaml", YAML_NS("x", "3"));
	assert_pool("p", "(none)");
	assert_value("x", "3");
	write_file("x.yaml", YAML_POOL("10.1.0.1/16"));
	restart();			/* what the file gave up is not remembered */
	assert_pool("p", "(none)");
	assert_value("x", "(none)");
}

static void test_file_that_broke_while_no_agent_ran_is_as_it_last_was(void **state)
{
	(void)state;
	start();
	write_file("a.json", "[" POOL("p", "10.1.0.0/16") "," NS("x", "1") "]");
	write_file("b.json", NS("y", "1"));
	agent_stop(&a);
	in_place("a.json", "[" POOL("p", "nonsense") "," NS("x", "2") "]");
	in_place("b.json", "");
	start();
	assert_pool("p", "10.1.0.0/16");
	assert_value("x", "2");
	assert_value("y", "1");
}

static void test_memory_that_is_torn_is_not_trusted(void **state)
{
	static const char *const torn[] = { "", "[", "[" NS("x", "1"), "{}", "nonsense" };
	char path[256];

	(void)state;
	start();
	state_path(path, "x.json");
	for (unsigned i = 0; i < ARRAY_SIZE(torn); i++) {
		write_file("x.json", NS("x", "1"));
		write_file("x.json", "{");
		assert_int_equal(fs_replace(AT_FDCWD, path, torn[i], strlen(torn[i]), 0600), 0);
		restart();
		assert_value("x", "(none)");
	}
	write_file("x.json", NS("x", "2"));
	write_file("x.json", "{");
	restart();
	assert_value("x", "2");
}

static void test_memory_goes_with_its_file_and_is_written_only_when_it_changes(void **state)
{
	struct stat before, after;
	char path[256];

	(void)state;
	start();
	write_file("x.json", NS("x", "1"));
	state_path(path, "x.json");
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(before.st_mode & 0777, 0600);
	in_place("x.json", NS("x", "1") "\n");
	settle();
	restart();
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_ino, before.st_ino);
	remove_file("x.json");
	assert_true(stat(path, &after) < 0);
	write_file("x.json", NS("x", "1"));
	write_file("y.json", NS("y", "1"));
	agent_stop(&a);
	path_of(path, "x.json");
	unlink(path);
	start();			/* gone meanwhile */
	state_path(path, "x.json");
	assert_true(stat(path, &after) < 0);
	state_path(path, "y.json");
	assert_int_equal(stat(path, &after), 0);
}

static void test_memory_is_written_a_moment_after_the_change(void **state)
{
	struct stat st;
	char path[256];

	(void)state;
	start();
	settle();
	state_path(path, "x.json");
	in_place("x.json", NS("x", "1"));
	agent_turn(&a, 5);
	assert_value("x", "1");
	assert_true(stat(path, &st) < 0);
	in_place("x.json", "{");	/* bad before it was written */
	restart();
	assert_value("x", "1");
	assert_int_equal(stat(path, &st), 0);
}

#define POLICY(name, spec) "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"NetworkPolicy\",\"metadata\":{\"name\":\"" name "\"},\n" \
	"\"spec\":{" spec "}}"

static const struct policy *policy_of(const char *key)
{
	const struct policy *p = table_find(&a.model.network_policies, key);

	if (!p)
		fail_msg("no policy %s", key);
	return p;
}

/* Good with two rules, or a stand-in that says why. */
static void check_policy(const char *key, unsigned rules, const char *bad)
{
	const struct policy *p = policy_of(key);

	assert_int_equal(p->rule_count[INGRESS], rules);
	if (bad ? !p->bad || !strstr(p->bad, bad) : p->bad != NULL)
		fail_msg("%s: bad: %s", key, p->bad ? p->bad : "(it is good)");
}

static void test_refused_policy_stands_in_unless_a_good_state_is_known(void **state)
{
	(void)state;
	in_place("x.json", "[" POLICY("web", "\"ingress\":[{},{\"from\":[{}]}],\"policyTypes\":[\"Ingress\"]") "]");
	start();
	check_policy("default/web", 0, "2:");
	assert_true(policy_of("default/web")->applies[INGRESS] && !policy_of("default/web")->applies[EGRESS]);
	assert_int_equal(logged("NetworkPolicy default/web: no good state is known: closed"), 1);
	assert_int_equal(a.model.problems.count, 1);
	write_file("x.json", "[" POLICY("web", "\"ingress\":[7]") "]");	/* another stand-in: both directions are the default */
	check_policy("default/web", 0, "spec.ingress[0]");
	write_file("x.json", "[" POLICY("web", "\"ingress\":[{},{}]") "]");
	check_policy("default/web", 2, NULL);
	assert_int_equal(a.model.problems.count, 0);
	write_file("x.json", "[" POLICY("web", "\"ingress\":[7]") "]");
	check_policy("default/web", 2, NULL);
	restart();
	check_policy("default/web", 2, NULL);
	write_file("x.json", "[]");
	assert_int_equal(a.model.network_policies.count, 0);
}

static void test_policy_with_bad_metadata_stands_in(void **state)
{
	(void)state;
	start();
	write_file("x.yaml", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: web\n  namespace: shop\n"
		   "  labels: {v: 7}\nspec:\n  podSelector: {}\n  ingress: [{}]\n");
	check_policy("shop/web", 0, "6:15: metadata.labels.v: want a string");
}

static void test_policy_knows_file_and_line(void **state)
{
	(void)state;
	start();
	write_file("x.json", "[\n" NS("x", "1") ",\n\n " POLICY("web", "") ", " POLICY("db", "") "]");
	assert_string_equal(policy_of("default/web")->place.file, "x.json");
	assert_int_equal(policy_of("default/web")->place.line, 4);
	assert_int_equal(policy_of("default/db")->place.line, 5);
	write_file("x.json", "[\n\n\n\n" POLICY("web", "") ", " POLICY("db", "\"ingress\":7") "]");
	assert_int_equal(policy_of("default/web")->place.line, 5);
	restart();			/* the good state of the other one stands nowhere now */
	assert_int_equal(policy_of("default/db")->place.line, 0);
	assert_string_equal(policy_of("default/db")->place.file, "x.json");
	remove_file("x.json");
	write_file("y.yml", "# a comment\n---\n# one\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web}\n");
	assert_string_equal(policy_of("default/web")->place.file, "y.yml");
	assert_int_equal(policy_of("default/web")->place.line, 4);
}

/* A folder of state that cannot be: said once, shown, and cured by itself. */
static void test_state_dir_that_cannot_be_written_is_a_problem_only(void **state)
{
	char path[256], moved[256];

	(void)state;
	snprintf(path, sizeof path, "%s-state", dir);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	start();
	write_file("x.json", NS("x", "1"));
	write_file("y.json", NS("y", "1"));
	assert_value("y", "1");
	assert_int_equal(a.model.problems.count, 1);
	assert_int_equal(logged("bad objects will not keep their last good state"), 1);
	unlink(path);
	write_file("z.json", NS("z", "1"));
	assert_int_equal(a.model.problems.count, 0);
	assert_int_equal(logged("can be written again"), 1);
	state_path(path, "z.json");
	assert_int_equal(access(path, F_OK), 0);
	snprintf(path, sizeof path, "%s-state/last-good", dir);	/* the folder goes while it is in use */
	snprintf(moved, sizeof moved, "%s-state/away", dir);
	assert_int_equal(rename(path, moved), 0);
	folder_remove(moved);
	write_file("z.json", NS("z", "2"));
	state_path(path, "z.json");
	assert_int_equal(access(path, F_OK), 0);
}

static void test_many_files_at_once_are_remembered_in_a_while(void **state)
{
	char name[32], path[256], text[256];
	unsigned there = 0;

	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		snprintf(name, sizeof name, "x-%03u.json", i);
		snprintf(text, sizeof text, "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"x-%03u\"}}", i);
		in_place(name, text);
	}
	start();
	assert_int_equal(a.model.namespaces.count, 500);
	for (uint64_t until = now_ms() + 5000; there < 500 && now_ms() < until; ) {
		agent_turn(&a, 5);
		there = 0;
		for (unsigned i = 0; i < 500; i++) {
			snprintf(name, sizeof name, "x-%03u.json", i);
			state_path(path, name);
			there += access(path, F_OK) == 0;
		}
	}
	assert_int_equal(there, 500);
	assert_false(a.store.loop->timers);
}

static void test_object_twice_in_one_file(void **state)
{
	(void)state;
	start();
	write_file("a.json", "[" NS("x", "1") "," NS("x", "2") "]");
	assert_value("x", "1");
	assert_int_equal(logged("Namespace x: named before in this file"), 1);
}

static void test_random_files_come_out_as_if_read_afresh(void **state)
{
	unsigned seed = 20261124;

	(void)state;
	print_message("seed %u\n", seed);
	start();
	for (unsigned step = 0; step < 300; step++) {
		char name[16], text[512] = "[", path[256];

		seed = seed * 1103515245 + 12345;
		snprintf(name, sizeof name, "%c.json", 'a' + (seed >> 16) % 4);
		path_of(path, name);
		if ((seed >> 20) % 4 == 0) {
			unlink(path);
		} else {
			for (unsigned i = 0; i < 3; i++)
				if (seed >> (24 + i) & 1)
					snprintf(text + strlen(text), sizeof text - strlen(text),
						 "%s{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"n%u\","
						 "\"labels\":{\"v\":\"%s-%u\"}}}", text[1] ? "," : "", i, name, step);
			snprintf(text + strlen(text), sizeof text - strlen(text), "]");
			in_place(name, text);
		}
		if (step % 3)
			continue;
		settle();
		start_b();
		assert_int_equal(a.model.namespaces.count, b.model.namespaces.count);
		for (unsigned i = 0; i < 3; i++) {
			const struct namespace *na, *nb;

			snprintf(name, sizeof name, "n%u", i);
			na = table_find(&a.model.namespaces, name);
			nb = table_find(&b.model.namespaces, name);
			assert_true(!na == !nb);
			if (na)
				assert_string_equal(label_find(na->meta.labels, na->meta.label_count, "v"),
						    label_find(nb->meta.labels, nb->meta.label_count, "v"));
		}
		agent_stop(&b);
		b_runs = false;
	}
}

static void test_queue_overflow_reads_everything_again(void **state)
{
	char path[256];
	int limit = 16384;
	FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "r");

	(void)state;
	if (f) {
		if (fscanf(f, "%d", &limit) != 1)
			limit = 16384;
		fclose(f);
	}
	if (limit > 100000)
		skip();
	start();
	write_file("gone.json", NS("gone", "1"));
	assert_int_equal(put_handle(&a, "h-gone", 1, 0), 0);
	for (int i = 0; i < limit; i++)
		in_place(i % 2 ? "noise-1" : "noise-2", "");
	in_place("late.json", NS("late", "1"));
	path_of(path, "gone.json");
	unlink(path);
	path_of(path, ".manx/ipamhandles/h-gone.json");
	unlink(path);
	for (int i = 0; i < 2000 && !value_of("late"); i++)
		agent_turn(&a, 2);
	assert_int_equal(logged("too many changes at once"), 1);
	assert_value("late", "1");
	assert_value("gone", "(none)");
	assert_null(handle_of(&a, "h-gone"));
}

/* --- what agents write --- */

static void test_writes_are_compare_and_swap(void **state)
{
	uint64_t first, second;

	(void)state;
	start();
	assert_int_equal(put_handle(&a, "h", 1, 7), -ESTALE);
	assert_null(handle_of(&a, "h"));
	assert_int_equal(put_handle(&a, "h", 1, 0), 0);
	first = handle_of(&a, "h")->meta.version;
	assert_true(first > 0);
	assert_int_equal(put_handle(&a, "h", 2, 0), -ESTALE);
	assert_int_equal(handle_of(&a, "h")->blocks[0].count, 1);
	assert_int_equal(put_handle(&a, "h", 2, first), 0);
	second = handle_of(&a, "h")->meta.version;
	assert_true(second > first);
	assert_int_equal(put_handle(&a, "h", 3, first), -ESTALE);
	assert_int_equal(handle_of(&a, "h")->blocks[0].count, 2);
	assert_int_equal(del(&a, "IPAMHandle", "h", first), -ESTALE);
	assert_non_null(handle_of(&a, "h"));
	assert_int_equal(del(&a, "IPAMHandle", "h", second), 0);
	assert_null(handle_of(&a, "h"));
	assert_false(exists(".manx/ipamhandles/h.json"));
	assert_int_equal(del(&a, "IPAMHandle", "h", second), -ESTALE);
	assert_int_equal(put_handle(&a, "h", 4, 0), 0);
	assert_true(handle_of(&a, "h")->meta.version > second);
}

struct inside { bool in_put, called_inside; };

static void on_maybe_inside(void *ctx, int rc)
{
	struct inside *i = ctx;

	(void)rc;
	i->called_inside = i->in_put;
}

struct prepared { struct ended ended; unsigned times; bool early, unlocked; };

/* The write may still be under way; soon its lock is free, whatever is done here. */
static void on_meanwhile(void *ctx)
{
	struct prepared *p = ctx;
	char path[96];
	int lock;

	snprintf(path, sizeof path, "%s/.manx/lock", dir);
	lock = open(path, O_RDWR | O_CLOEXEC);
	p->times++;
	p->early = !p->ended.done;
	for (int i = 0; i < 300 && !p->unlocked; i++) {
		p->unlocked = flock(lock, LOCK_EX | LOCK_NB) == 0;
		usleep(1000);
	}
	close(lock);
}

static void on_prepared_ended(void *ctx, int rc)
{
	on_ended(&((struct prepared *)ctx)->ended, rc);
}

static int put_prepared(struct prepared *p, const char *name, uint64_t expected)
{
	struct handle *h = row_new(sizeof *h);

	*p = (struct prepared){ 0 };
	set_meta(&h->row, &h->meta, "", name);
	h->id = h->meta.name;
	store_put_meanwhile(&a.store, kind_named("IPAMHandle"), &h->row, expected, on_meanwhile, on_prepared_ended, p);
	return await(&a, &p->ended);
}

static void test_meanwhile_comes_once_and_before_the_end(void **state)
{
	struct prepared p;
	(void)state;

	start();
	assert_int_equal(put_prepared(&p, "h", 0), 0);
	assert_true(p.times == 1 && p.early && p.unlocked);
	assert_non_null(handle_of(&a, "h"));
	assert_int_equal(put_prepared(&p, "h", handle_of(&a, "h")->meta.version), 0);
	assert_true(p.times == 1 && p.early && p.unlocked);
	assert_int_equal(put_prepared(&p, "h", 99), -ESTALE);	/* in vain */
	assert_true(p.times == 1 && p.early);
	assert_int_equal(put_prepared(&p, "h", 0), -ESTALE);
	assert_int_equal(p.times, 1);
}

static void test_done_is_never_called_inside_the_put(void **state)
{
	struct inside in = { .in_put = true, .called_inside = true };
	struct handle *h = row_new(sizeof *h);

	(void)state;
	start();
	set_meta(&h->row, &h->meta, "", "h");
	h->id = "h";
	store_put(&a.store, kind_named("IPAMHandle"), &h->row, 0, on_maybe_inside, &in);
	in.in_put = false;
	agent_turn(&a, 5);
	assert_false(in.called_inside);
}

static void test_conflict_brings_what_the_other_wrote(void **state)
{
	uint64_t version;

	(void)state;
	start();
	start_b();
	assert_int_equal(put_handle(&a, "h", 1, 0), 0);
	version = handle_of(&a, "h")->meta.version;
	assert_int_equal(put_handle(&b, "h", 2, version), 0);
	assert_int_equal(put_handle(&a, "h", 3, version), -ESTALE);	/* before any event was read */
	assert_int_equal(handle_of(&a, "h")->blocks[0].count, 2);
	assert_true(handle_of(&a, "h")->meta.version > version);
	assert_int_equal(put_handle(&b, "other", 1, 0), 0);
	assert_int_equal(del(&b, "IPAMHandle", "h", handle_of(&b, "h")->meta.version), 0);
	assert_int_equal(put_handle(&a, "h", 3, handle_of(&a, "h")->meta.version), -ESTALE);
	assert_null(handle_of(&a, "h"));
}

static void test_others_see_writes_and_deletes(void **state)
{
	struct workload *w = row_new(sizeof *w);
	struct ended e = { 0 };

	(void)state;
	start();
	start_b();
	set_meta(&w->row, &w->meta, "shop", "edge1-k8s-web-eth0");
	w->node = "edge1";
	store_put(&a.store, kind_named("WorkloadEndpoint"), &w->row, 0, on_ended, &e);
	assert_int_equal(await(&a, &e), 0);
	assert_true(exists(".manx/workloadendpoints/shop/edge1-k8s-web-eth0.json"));
	assert_int_equal(put_handle(&a, "h", 1, 0), 0);
	settle();
	assert_int_equal(handle_of(&b, "h")->blocks[0].count, 1);
	w = table_find(&b.model.workloads, "shop/edge1-k8s-web-eth0");
	assert_non_null(w);
	assert_int_equal(del(&b, "WorkloadEndpoint", "shop/edge1-k8s-web-eth0", w->meta.version), 0);
	settle();
	assert_null(table_find(&a.model.workloads, "shop/edge1-k8s-web-eth0"));
	restart();
	assert_non_null(handle_of(&a, "h"));
	assert_int_equal(a.model.workloads.count, 0);
}

static void test_own_writes_are_not_read_again(void **state)
{
	(void)state;
	start();
	for (unsigned i = 1; i < 10; i++) {
		const struct handle *before = handle_of(&a, "h");
		struct handle *h = row_new(sizeof *h);
		struct ended e = { 0 };

		set_meta(&h->row, &h->meta, "", "h");
		h->id = h->meta.name;
		store_put(&a.store, kind_named("IPAMHandle"), &h->row, before ? before->meta.version : 0, on_ended, &e);
		a.loop.stop = true;	/* the write and its end, but no events */
		loop_turn(&a.loop, 0);
		a.loop.stop = false;
		assert_true(e.done && e.rc == 0);
		before = handle_of(&a, "h");
		settle();
		assert_ptr_equal(handle_of(&a, "h"), before);
	}
}

static void test_written_file_is_the_golden_form(void **state)
{
	autostr struct str text = { 0 }, counter = { 0 };

	(void)state;
	start();
	assert_int_equal(put_handle(&a, "h", 3, 0), 0);
	read_own(".manx/ipamhandles/h.json", &text);
	assert_string_equal(text.s, "{\"apiVersion\":\"crd.projectcalico.org/v1\",\"kind\":\"IPAMHandle\",\"metadata\":"
			    "{\"name\":\"h\",\"resourceVersion\":\"1\"},\"spec\":{\"handleID\":\"h\","
			    "\"block\":{\"10.42.0.0/26\":3},\"deleted\":false}}\n");
	read_own(".manx/lock", &counter);
	assert_int_equal(strtoull(counter.s, NULL, 10), 1);
}

static void test_counter_never_falls_behind_what_was_seen(void **state)
{
	static const char *const counters[] = { "", "5", "garbage\n", "99999999999999999999999" };

	(void)state;
	start();
	assert_int_equal(put_handle(&a, "h", 1, 0), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(counters); i++) {
		uint64_t before = handle_of(&a, "h")->meta.version;

		in_place(".manx/lock", counters[i]);
		restart();
		assert_int_equal(put_handle(&a, "h", 1, before), 0);
		assert_true(handle_of(&a, "h")->meta.version > before);
		assert_true(handle_of(&a, "h")->meta.version <= before + 6);
	}
}

static void test_lock_is_waited_for_by_timer(void **state)
{
	char path[256];
	struct ended e = { 0 };
	struct handle *h = row_new(sizeof *h);
	int fd;

	(void)state;
	start();
	path_of(path, ".manx/lock");
	fd = open(path, O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	set_meta(&h->row, &h->meta, "", "h");
	h->id = "h";
	store_put(&a.store, kind_named("IPAMHandle"), &h->row, 0, on_ended, &e);
	for (int i = 0; i < 10; i++)
		agent_turn(&a, 2);
	assert_false(e.done);
	close(fd);
	assert_int_equal(await(&a, &e), 0);
	assert_non_null(handle_of(&a, "h"));
}

static void test_lock_file_that_was_removed_is_made_anew(void **state)
{
	char path[256];

	(void)state;
	start();
	start_b();
	assert_int_equal(put_handle(&a, "h", 1, 0), 0);
	path_of(path, ".manx/lock");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(put_handle(&a, "h", 2, handle_of(&a, "h")->meta.version), 0);
	assert_true(exists(".manx/lock"));
	settle();
	assert_int_equal(put_handle(&b, "g", 1, 0), 0);
	assert_true(handle_of(&b, "g")->meta.version > handle_of(&a, "h")->meta.version);
}

static void test_many_writes_queue_in_order(void **state)
{
	struct ended e[100] = { 0 };
	uint64_t last = 0;

	(void)state;
	start();
	for (unsigned i = 0; i < ARRAY_SIZE(e); i++) {
		struct handle *h = row_new(sizeof *h);
		char name[16];

		snprintf(name, sizeof name, "h-%03u", i);
		set_meta(&h->row, &h->meta, "", name);
		h->id = h->meta.name;
		store_put(&a.store, kind_named("IPAMHandle"), &h->row, 0, on_ended, &e[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(e); i++) {
		char name[16];

		assert_int_equal(await(&a, &e[i]), 0);
		snprintf(name, sizeof name, "h-%03u", i);
		assert_true(handle_of(&a, name)->meta.version > last);
		last = handle_of(&a, name)->meta.version;
	}
}

static void test_stop_drops_what_waits(void **state)
{
	struct ended e[2] = { 0 };

	(void)state;
	start();
	for (unsigned i = 0; i < 2; i++) {
		struct handle *h = row_new(sizeof *h);

		set_meta(&h->row, &h->meta, "", "h");
		h->id = "h";
		store_put(&a.store, kind_named("IPAMHandle"), &h->row, 0, on_ended, &e[i]);
	}
	restart();
	assert_false(e[0].done || e[1].done);
}

static unsigned files_in(const char *name)
{
	char path[256];
	unsigned n = 0;
	DIR *d;

	path_of(path, name);
	d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d)); )
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(d);
	return n;
}

static void test_failed_write_leaves_nothing_behind(void **state)
{
	struct rlimit small = { .rlim_cur = 64, .rlim_max = RLIM_INFINITY }, before;
	uint64_t version;

	(void)state;
	start();
	assert_int_equal(put_handle(&a, "h", 1, 0), 0);
	version = handle_of(&a, "h")->meta.version;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	dup2(real_stderr, 2);			/* the log must not grow either */
	small.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_equal(put_handle(&a, "h", 2, version), -EFBIG);
	assert_int_equal(put_handle(&a, "new", 2, 0), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(files_in(".manx/ipamhandles"), 1);
	assert_int_equal(handle_of(&a, "h")->blocks[0].count, 1);
	assert_null(handle_of(&a, "new"));
	assert_int_equal(put_handle(&a, "h", 2, version), 0);
	assert_true(handle_of(&a, "h")->meta.version > version);
}

static void test_names_that_are_no_file_names_are_refused(void **state)
{
	char name[OBJECT_NAME_MAX];

	(void)state;
	start();
	memset(name, 'n', sizeof name);
	name[253] = '\0';
	assert_int_equal(put_handle(&a, name, 1, 0), -ENAMETOOLONG);
	name[250] = '\0';
	assert_int_equal(put_handle(&a, name, 1, 0), 0);
	assert_int_equal(put_handle(&a, ".hidden", 1, 0), -EINVAL);
	assert_int_equal(put_handle(&a, "a/b", 1, 0), -EINVAL);
	assert_int_equal(put_handle(&a, "..", 1, 0), -EINVAL);
}

static void test_torn_file_counts_as_absent(void **state)
{
	static const char *const torn[] = {
		"", "{", "[]", "{\"apiVersion\":\"v1\",\"kind\":\"Service\"}",
		"{\"apiVersion\":\"crd.projectcalico.org/v1\",\"kind\":\"IPAMHandle\",\"metadata\":{\"name\":\"h\"},"
			"\"spec\":{\"handleID\":\"h\"}}",
		"{\"apiVersion\":\"crd.projectcalico.org/v1\",\"kind\":\"IPAMHandle\",\"metadata\":{\"name\":\"x\","
			"\"resourceVersion\":\"1\"},\"spec\":{\"handleID\":\"h\"}}",
		"{\"apiVersion\":\"crd.projectcalico.org/v1\",\"kind\":\"IPAMHandle\",\"metadata\":{\"name\":\"h\","
			"\"resourceVersion\":\"18446744073709551615\"},\"spec\":{\"handleID\":\"h\"}}",
		"{\"apiVersion\":\"crd.projectcalico.org/v1\",\"kind\":\"IPAMHandle\",\"metadata\":{\"name\":\"h\","
			"\"resourceVersion\":\"3\"},\"spec\":{\"handl",
	};

	(void)state;
	start();
	for (unsigned i = 0; i < ARRAY_SIZE(torn); i++) {
		unsigned before = logged("not trusted, counts as absent");

		assert_int_equal(put_handle(&a, "h", 1, 0), 0);
		settle();
		write_file(".manx/ipamhandles/h.json", torn[i]);
		assert_null(handle_of(&a, "h"));
		assert_true(logged("not trusted, counts as absent") > before);
		restart();
		assert_null(handle_of(&a, "h"));
		assert_int_equal(put_handle(&a, "h", 2, 99), -ESTALE);
		assert_int_equal(put_handle(&a, "h", 2, 0), 0);
		assert_int_equal(del(&a, "IPAMHandle", "h", handle_of(&a, "h")->meta.version), 0);
	}
}

/* --- users' objects and agents' --- */

static int put_pool(const char *name, const char *cidr, uint64_t expected)
{
	struct pool *p = row_new(sizeof *p);
	struct ended e = { 0 };

	set_meta(&p->row, &p->meta, "", name);
	prefix_parse(&p->cidr, cidr, NULL);
	p->block_size = 26;
	p->encapsulation = ENCAP_NONE;
	p->use_workload = true;
	store_put(&a.store, kind_named("IPPool"), &p->row, expected, on_ended, &e);
	return await(&a, &e);
}

static void test_users_object_hides_the_agents_and_reveals_it(void **state)
{
	uint64_t version;

	(void)state;
	start();
	assert_int_equal(put_pool("p", "10.1.0.0/16", 0), 0);
	version = pool_of("p")->meta.version;
	write_file("p.json", POOL("p", "10.2.0.0/16"));
	assert_string_equal(prefix_text(&pool_of("p")->cidr).s, "10.2.0.0/16");
	assert_int_equal(pool_of("p")->meta.version, 0);
	assert_int_equal(put_pool("p", "10.3.0.0/16", 0), -EPERM);
	assert_int_equal(del(&a, "IPPool", "p", version), -EPERM);
	restart();
	assert_string_equal(prefix_text(&pool_of("p")->cidr).s, "10.2.0.0/16");
	write_file("p.json", POOL("p", "10.2.0.0/99"));
	assert_string_equal(prefix_text(&pool_of("p")->cidr).s, "10.2.0.0/16");
	remove_file("p.json");
	assert_string_equal(prefix_text(&pool_of("p")->cidr).s, "10.1.0.0/16");
	assert_int_equal(pool_of("p")->meta.version, version);
	assert_int_equal(put_pool("p", "10.3.0.0/16", version), 0);
}

static int put_node(const char *address, uint64_t expected)
{
	struct node *n = row_new(sizeof *n);
	struct ended e = { 0 };

	set_meta(&n->row, &n->meta, "", "edge1");
	prefix_parse(&n->address[FAMILY_V4], address, NULL);
	node_annotations(&n->row.mem, n);
	store_put(&a.store, kind_named("Node"), &n->row, expected, on_ended, &e);
	return await(&a, &e);
}

static void check_node(const char *address, const char *zone)
{
	const struct node *n = node_of("edge1");
	const char *label;

	assert_non_null(n);
	label = label_find(n->meta.labels, n->meta.label_count, "zone");
	assert_string_equal(prefix_text(&n->address[FAMILY_V4]).s, address);
	assert_string_equal(label ? label : "", zone);
}

#define NODE(zone) "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"edge1\",\"labels\":{\"zone\":\"" zone "\"}," \
	"\"annotations\":{\"projectcalico.org/IPv4Address\":\"9.9.9.9/24\"}}}"

static void test_node_is_made_of_both_halves(void **state)
{
	uint64_t version;

	(void)state;
	start();
	assert_int_equal(put_node("192.168.7.1/24", 0), 0);
	check_node("192.168.7.1/24", "");
	version = node_of("edge1")->meta.version;
	write_file("node.json", NODE("a"));
	check_node("192.168.7.1/24", "a");
	assert_int_equal(node_of("edge1")->meta.version, version);
	assert_int_equal(put_node("192.168.7.2/24", version), 0);
	check_node("192.168.7.2/24", "a");
	settle();
	check_node("192.168.7.2/24", "a");
	write_file("node.json", NODE("b"));
	check_node("192.168.7.2/24", "b");
	restart();
	check_node("192.168.7.2/24", "b");
	assert_int_equal(del(&a, "Node", "edge1", node_of("edge1")->meta.version), 0);
	check_node("9.9.9.9/24", "b");
	assert_int_equal(put_node("192.168.7.3/24", 0), 0);
	check_node("192.168.7.3/24", "b");
	remove_file("node.json");
	check_node("192.168.7.3/24", "");
	assert_int_equal(del(&a, "Node", "edge1", node_of("edge1")->meta.version), 0);
	assert_null(node_of("edge1"));
}

static void test_node_is_the_same_for_others(void **state)
{
	const struct node *n;

	(void)state;
	start();
	start_b();
	write_file("node.json", NODE("a"));
	assert_int_equal(put_node("192.168.7.1/24", 0), 0);
	settle();
	n = table_find(&b.model.nodes, "edge1");
	assert_non_null(n);
	assert_string_equal(prefix_text(&n->address[FAMILY_V4]).s, "192.168.7.1/24");
	assert_string_equal(label_find(n->meta.labels, n->meta.label_count, "zone"), "a");
}

/* --- the folder goes and comes back --- */

static void test_folder_that_goes_is_waited_for(void **state)
{
	char away[128];

	(void)state;
	start();
	write_file("x.json", NS("x", "1"));
	assert_int_equal(put_handle(&a, "h", 1, 0), 0);
	snprintf(away, sizeof away, "%s/away", root);
	assert_int_equal(rename(dir, away), 0);
	settle();
	assert_string_equal(store_state_text(&a.store), "away");
	assert_value("x", "1");
	assert_int_equal(a.model.problems.count, 1);
	assert_int_equal(put_handle(&a, "h", 2, handle_of(&a, "h")->meta.version), -EAGAIN);
	mkdir(dir, 0755);		/* an empty one in its place is not believed */
	for (uint64_t until = now_ms() + 1200; now_ms() < until; )
		agent_turn(&a, 50);
	assert_string_equal(store_state_text(&a.store), "away");
	assert_value("x", "1");
	rmdir(dir);
	assert_int_equal(rename(away, dir), 0);
	in_place("x.json", NS("x", "2"));
	for (uint64_t until = now_ms() + 3000; now_ms() < until && a.store.state == STORE_AWAY; )
		agent_turn(&a, 50);
	assert_string_equal(store_state_text(&a.store), "synced");
	assert_value("x", "2");
	assert_int_equal(a.model.problems.count, 0);
	assert_int_equal(put_handle(&a, "h", 2, handle_of(&a, "h")->meta.version), 0);
}

static void test_folder_that_was_deleted_is_waited_for(void **state)
{
	(void)state;
	start();
	write_file("x.json", NS("x", "1"));
	folder_remove(dir);
	mkdir(dir, 0755);
	for (uint64_t until = now_ms() + 1200; now_ms() < until; )
		agent_turn(&a, 50);
	assert_string_equal(store_state_text(&a.store), "away");
	assert_int_equal(logged("waiting for it"), 1);
	restart();			/* which is to say that it is meant */
	assert_int_equal(put_handle(&a, "h", 1, 0), 0);
}

static void test_own_folder_that_goes_is_made_again(void **state)
{
	char path[256];

	(void)state;
	start();
	write_file("x.json", NS("x", "1"));
	assert_int_equal(put_handle(&a, "h", 1, 0), 0);
	path_of(path, ".manx");
	folder_remove(path);
	for (uint64_t until = now_ms() + 3000; now_ms() < until && !exists(".manx/ipamhandles"); )
		agent_turn(&a, 20);
	assert_null(handle_of(&a, "h"));
	assert_value("x", "1");
	assert_int_equal(put_handle(&a, "h", 1, 0), 0);
	assert_true(exists(".manx/ipamhandles/h.json"));
}

/* --- what cannot be listed --- */

/* From now on only so many more descriptors can be had. */
static void descriptors_left(unsigned count, struct rlimit *before)
{
	int free_fd = dup(2);
	struct rlimit few;

	assert_true(free_fd >= 0);
	close(free_fd);
	getrlimit(RLIMIT_NOFILE, before);
	few = (struct rlimit){ (rlim_t)free_fd + count, before->rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
}

static void test_start_that_cannot_read_everything_is_none(void **state)
{
	unsigned refused = 0, count = 0;
	struct err e;
	int rc;

	(void)state;
	start();
	write_file("x.json", NS("x", "1"));
	assert_int_equal(put_handle(&a, "h", 1, 0), 0);
	agent_stop(&a);
	a_runs = false;
	do {
		struct rlimit before;

		e = (struct err){ 0 };
		descriptors_left(count++ + 1, &before);
		rc = agent_start(&a, dir, &e);
		setrlimit(RLIMIT_NOFILE, &before);
		assert_int_equal(a.model.complete, rc == 0);
		if (rc == 0) {
			assert_value("x", "1");
			assert_non_null(handle_of(&a, "h"));
		}
		refused += strstr(e.text, "not all of it can be listed: ") != NULL;
		agent_stop(&a);
	} while (rc < 0 && count < 100);
	assert_int_equal(rc, 0);
	assert_true(refused);
}

static void test_folder_that_cannot_be_listed_is_read_later(void **state)
{
	char path[256], target[256];
	struct rlimit before;

	(void)state;
	start();
	write_file("x.json", NS("x", "1"));
	descriptors_left(0, &before);
	path_of(path, "..tmp");
	path_of(target, "..data");
	assert_int_equal(symlink(".", path), 0);
	assert_int_equal(rename(path, target), 0);	/* asks for a look at all of it */
	settle();
	assert_string_equal(store_state_text(&a.store), "away");
	assert_int_equal(a.model.problems.count, 1);
	assert_value("x", "1");
	setrlimit(RLIMIT_NOFILE, &before);
	in_place("x.json", NS("x", "2"));
	for (uint64_t until = now_ms() + 3000; now_ms() < until && a.store.state == STORE_AWAY; )
		agent_turn(&a, 50);
	assert_string_equal(store_state_text(&a.store), "synced");
	assert_int_equal(a.model.problems.count, 0);
	assert_value("x", "2");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_start_reads_objects_arrays_and_lists),
		T(test_start_makes_the_folder),
		T(test_start_says_what_is_in_the_way),
		T(test_etcd_says_that_it_is_not_here),
		T(test_files_come_change_move_and_go),
		T(test_equal_rewrite_dirties_nothing),
		T(test_links_work_as_configmap_mounts_make_them),
		T(test_broken_syntax_keeps_what_the_file_last_gave),
		T(test_broken_file_at_the_start_stops_nobody),
		T(test_files_of_long_names_have_a_problem_each),
		T(test_bad_object_keeps_its_last_good_state),
		T(test_kinds_that_are_not_ours_are_said_once_a_file),
		T(test_yaml_holds_objects_documents_lists_and_arrays),
		T(test_bad_yaml_document_is_named_and_the_other_counts),
		T(test_formats_are_ordered_by_file_name),
		T(test_same_object_in_two_files),
		T(test_hidden_object_that_went_bad_is_revealed_as_it_last_was),
		T(test_hidden_file_that_broke_is_revealed_as_it_last_was),
		T(test_last_good_state_outlives_a_restart),
		T(test_file_that_broke_while_no_agent_ran_is_as_it_last_was),
		T(test_memory_that_is_torn_is_not_trusted),
		T(test_memory_goes_with_its_file_and_is_written_only_when_it_changes),
		T(test_memory_is_written_a_moment_after_the_change),
		T(test_refused_policy_stands_in_unless_a_good_state_is_known),
		T(test_policy_with_bad_metadata_stands_in),
		T(test_policy_knows_file_and_line),
		T(test_state_dir_that_cannot_be_written_is_a_problem_only),
		T(test_many_files_at_once_are_remembered_in_a_while),
		T(test_object_twice_in_one_file),
		T(test_random_files_come_out_as_if_read_afresh),
		T(test_queue_overflow_reads_everything_again),
		T(test_writes_are_compare_and_swap),
		T(test_meanwhile_comes_once_and_before_the_end),
		T(test_done_is_never_called_inside_the_put),
		T(test_conflict_brings_what_the_other_wrote),
		T(test_others_see_writes_and_deletes),
		T(test_own_writes_are_not_read_again),
		T(test_written_file_is_the_golden_form),
		T(test_counter_never_falls_behind_what_was_seen),
		T(test_lock_is_waited_for_by_timer),
		T(test_lock_file_that_was_removed_is_made_anew),
		T(test_many_writes_queue_in_order),
		T(test_stop_drops_what_waits),
		T(test_failed_write_leaves_nothing_behind),
		T(test_names_that_are_no_file_names_are_refused),
		T(test_torn_file_counts_as_absent),
		T(test_users_object_hides_the_agents_and_reveals_it),
		T(test_node_is_made_of_both_halves),
		T(test_node_is_the_same_for_others),
		T(test_folder_that_goes_is_waited_for),
		T(test_folder_that_was_deleted_is_waited_for),
		T(test_own_folder_that_goes_is_made_again),
		T(test_start_that_cannot_read_everything_is_none),
		T(test_folder_that_cannot_be_listed_is_read_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
