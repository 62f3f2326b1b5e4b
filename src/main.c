/*
 * One binary, three faces: the CNI plugin (CNI_COMMAND in the environment and no
 * verb, or called by the name of one), the agent, and the command line that talks to it.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "base/str.h"
#include "base/util.h"
#include "check.h"
#include "cni/cni.h"
#include "ctl/ctl.h"
#include "explain.h"
#include "install.h"
#include "status.h"
#include "uninstall.h"

struct options {
	const char *config, *socket, *output, *ready_fd, *namespace;
	const char **sets, **files, **words;	/* room for all of argv */
	unsigned set_count, file_count, count;
	bool fix, ready, cleanup, dry, help, version;
	unsigned given;			/* bits of options[] */
};

static int verb_agent(struct options *o);
static int verb_ask(struct options *o);
static int verb_check(struct options *o);
static int verb_get(struct options *o);
static int verb_change(struct options *o);
static int verb_explain(struct options *o);
static int verb_install(struct options *o);
static int verb_uninstall(struct options *o);
static int verb_version(struct options *o);
static int verb_help(struct options *o);
static int verb_absent(struct options *o);

/* Options, and a bit for each: which ones a verb takes. */
enum { OPT_CONFIG = 1, OPT_SOCKET = 2, OPT_OUTPUT = 4, OPT_SET = 8, OPT_READY = 16, OPT_FIX = 32, OPT_FILE = 64,
       OPT_NAMESPACE = 128, OPT_CLEANUP = 256, OPT_HELP = 512, OPT_IS_READY = 1024, OPT_DRY = 2048 };
enum { OPT_ASK = OPT_CONFIG | OPT_SOCKET | OPT_OUTPUT, ANY = UINT_MAX };

static const struct option {
	const char *name;
	unsigned bit;
	bool value;
	size_t offset;			/* of a text, or a flag */
} options[] = {
	{ "--config", OPT_CONFIG, true, offsetof(struct options, config) },
	{ "--socket", OPT_SOCKET, true, offsetof(struct options, socket) },
	{ "-o", OPT_OUTPUT, true, offsetof(struct options, output) },
	{ "--set", OPT_SET, true, 0 },
	{ "--ready-fd", OPT_READY, true, offsetof(struct options, ready_fd) },
	{ "-f", OPT_FILE, true, 0 },
	{ "-n", OPT_NAMESPACE, true, offsetof(struct options, namespace) },
	{ "--fix", OPT_FIX, false, offsetof(struct options, fix) },
	{ "--ready", OPT_IS_READY, false, offsetof(struct options, ready) },
	{ "--cleanup", OPT_CLEANUP, false, offsetof(struct options, cleanup) },
	{ "--dry-run", OPT_DRY, false, offsetof(struct options, dry) },
	{ "--help", OPT_HELP, false, offsetof(struct options, help) },
	{ "-h", OPT_HELP, false, offsetof(struct options, help) },
	{ "--version", OPT_HELP, false, offsetof(struct options, version) },
};

/* A verb of two words stands by both; without help it is one that is not built. */
static const struct verb {
	const char *name, *args, *help;
	int (*run)(struct options *o);
	unsigned takes;			/* bits of options[] */
	unsigned words, least;		/* how many may, and must, follow the name */
} verbs[] = {
	{ "agent", "[--config FILE] [--set KEY=VALUE]... [--ready-fd N]", "run the daemon in the foreground", verb_agent,
	  OPT_CONFIG | OPT_SET | OPT_READY | OPT_CLEANUP },
	{ "status", "[--ready] [-o json]", "this node at a glance", verb_ask, OPT_ASK | OPT_IS_READY },
	{ "check", "FILE... [-o json]", "parse configuration (*.conf) and objects, change nothing", verb_check, OPT_OUTPUT, ANY, 1 },
	{ "get", "KIND [NAME] [-n NAMESPACE] [-o json]", "objects of the datastore", verb_get, OPT_ASK | OPT_NAMESPACE, 2, 1 },
	{ "apply", "-f FILE", "put the objects of a file, all of it or nothing", verb_change,
	  OPT_CONFIG | OPT_SOCKET | OPT_FILE },
	{ "delete", "-f FILE", "delete the objects that a file names", verb_change, OPT_CONFIG | OPT_SOCKET | OPT_FILE },
	{ "ipam show", "[-o json]", "the cluster's address blocks", verb_ask, OPT_ASK },
	{ "ipam check", "[--fix] [-o json]", "leaked and doubly used addresses; free what leaked", verb_ask, OPT_ASK | OPT_FIX },
	{ "ipam release", "ADDRESS", "free an address that no pod lives by", verb_ask, OPT_CONFIG | OPT_SOCKET, 1, 1 },
	{ "routes", "[-o json]", "wanted routes against the kernel's", verb_ask, OPT_ASK },
	{ "explain", "FROM TO PORT[/PROTO] [-f FILE]... [-o json]", "who lets that connection through, or not, and why",
	  verb_explain, OPT_ASK | OPT_FILE, 3, 3 },
	{ "install", "[--set KEY=VALUE]... [--dry-run]", "make this program a service of the host, with settings for what is found there",
	  verb_install, OPT_SET | OPT_DRY },
	{ "uninstall", "[--config FILE] [--set KEY=VALUE]...", "remove what manx put on this node (also: agent --cleanup)",
	  verb_uninstall, OPT_CONFIG | OPT_SET | OPT_SOCKET },
	{ "version", "[-o json]", "one line", verb_version, OPT_OUTPUT | OPT_HELP },
	{ "help", "", "this text", verb_help, ANY, ANY },
	{ "bgp", NULL, NULL, verb_absent, ANY, ANY },
};

static struct config config;		/* what this process goes by */

static int usage(const char *why, const char *what)
{
	fprintf(stderr, "manx: %s%s%s (manx help lists the verbs)\n", why, *what ? ": " : "", what);
	return EXIT_USAGE;
}

static void print_error(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "manx: %s\n", text);
}

static int load_config(const struct options *o, struct config *c, config_report *report, void *ctx)
{
	struct config_sets seen = { 0 };
	struct err e = { 0 };
	int rc = config_init(c, &e);

	if (rc == 0 && config_read(c, o->config ? o->config : DEFAULT_CONFIG, !o->config, report, ctx) < 0)
		return -EINVAL;
	for (unsigned i = 0; rc == 0 && i < o->set_count; i++)
		if ((rc = config_set(c, &seen, o->sets[i], &e)) < 0)
			err_prefix(&e, "--set ");
	if (rc == 0)
		rc = config_check(c, &e);
	if (rc < 0)
		report(ctx, e.text);
	return rc;
}

/* For SIGHUP: the same once more. */
static const struct options *started;

static int reread(struct config *c, config_report *report, void *ctx)
{
	struct err e = { 0 };
	int rc = load_config(started, c, report, ctx);

	if (rc == 0 && (rc = config_built(c, &e)) < 0)
		report(ctx, e.text);
	return rc;
}

static int verb_agent(struct options *o)
{
	struct agent_start start = { .config = &config, .config_path = o->config ? o->config : DEFAULT_CONFIG,
				     .ready_fd = -1, .reread = reread };
	uint64_t ready_fd;
	int rc;

	if (o->cleanup)
		return verb_uninstall(o);
	if (o->ready_fd && str_u64(o->ready_fd, 1 << 20, &ready_fd) < 0)
		return usage("--ready-fd wants a number", o->ready_fd);
	if (o->ready_fd)
		start.ready_fd = (int)ready_fd;
	started = o;
	rc = reread(&config, print_error, NULL);
	if (rc < 0)
		return rc == -EPROTONOSUPPORT ? EXIT_USAGE : EXIT_CONFIG;
	return agent_run(&start);
}

/* --- verbs that the running agent answers --- */

static const char *socket_path(const struct options *o)
{
	static char path[CONFIG_PATH_MAX + 16];

	snprintf(path, sizeof path, "%s/manx.sock", config.run_dir);
	return o->socket ? o->socket : path;
}

static int ask(struct options *o, const char *const *words, unsigned count)
{
	if (!o->socket && load_config(o, &config, print_error, NULL) < 0)
		return EXIT_CONFIG;
	return ctl_client(socket_path(o), words, count, o->output, false);
}

static int verb_ask(struct options *o)
{
	if (o->fix)
		o->words[o->count++] = "--fix";
	if (o->ready)
		o->words[o->count++] = "--ready";
	return ask(o, o->words, o->count);
}

static int verb_get(struct options *o)
{
	const char *words[] = { "get", o->words[1], o->count > 2 ? o->words[2] : "", o->namespace ? o->namespace : "" };

	return ask(o, words, ARRAY_SIZE(words));
}

static int verb_change(struct options *o)
{
	autostr struct str text = { 0 };
	int rc;

	if (o->file_count != 1)
		return usage("wants one -f FILE", o->words[0]);
	if ((rc = check_read(o->files[0], &text)) != EXIT_OK)
		return rc;
	return ask(o, (const char *[]){ o->words[0], o->files[0], str_text(&text) }, 3);
}

static int verb_install(struct options *o)
{
	if (load_config(o, &config, print_error, NULL) < 0)
		return EXIT_CONFIG;
	return install_run(&config, o->sets, o->set_count, o->dry);
}

/* The running agent does it, and ends; where none runs, we do it.  What it was started by is not the agent's to remove. */
static int uninstall(struct options *o)
{
	autostr struct str out = { 0 }, err = { 0 };
	int rc;

	rc = ctl_client(socket_path(o), (const char *[]){ "uninstall" }, 1, false, !o->socket);
	if (rc != EXIT_NO_AGENT || o->socket)
		return rc;
	rc = uninstall_alone(&config, &out, &err);
	fputs(str_text(&out), stdout);
	fputs(str_text(&err), stderr);
	return rc;
}

static int verb_uninstall(struct options *o)
{
	int rc, undone;

	if (load_config(o, &config, print_error, NULL) < 0)
		return EXIT_CONFIG;
	rc = uninstall(o);
	undone = o->socket ? EXIT_OK : install_undo(&config);
	return rc ? rc : undone;
}

/* --- verbs that need none --- */

static int verb_check(struct options *o)
{
	return check_files(o->words + 1, o->count - 1, o->output);
}

static int verb_explain(struct options *o)
{
	if (!o->file_count)
		return verb_ask(o);
	if (load_config(o, &config, print_error, NULL) < 0)
		return EXIT_CONFIG;
	return explain_files(&config, o->files, o->file_count, o->words + 1, o->count - 1, o->output);
}

static int verb_version(struct options *o)
{
	printf(o->output ? "{\"version\":\"%s\"}\n" : "manx %s\n", MANX_VERSION);
	return EXIT_OK;
}

static int verb_help(struct options *o)
{
	(void)o;
	printf("usage: manx [VERB] [--config FILE | --socket PATH] [ARGUMENTS]\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (verbs[i].help)
			printf("  %-13s %-54s %s\n", verbs[i].name, verbs[i].args, verbs[i].help);
	printf("\nWithout a verb: status.  With CNI_COMMAND in the environment and no verb: the CNI plugin.\n");
	return EXIT_OK;
}

static int verb_absent(struct options *o)
{
	return usage("not in this version", o->words[0]);
}

/* --- the command line --- */

static const struct option *option_find(const char *arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strcmp(options[i].name, arg) == 0)
			return &options[i];
	return NULL;
}

static void option_take(struct options *o, const struct option *opt, const char *value)
{
	char *field = (char *)o + opt->offset;

	o->given |= opt->bit;
	if (opt->bit == OPT_SET)
		o->sets[o->set_count++] = value;
	else if (opt->bit == OPT_FILE)
		o->files[o->file_count++] = value;
	else if (opt->value)
		memcpy(field, &value, sizeof value);
	else
		*(bool *)field = true;
}

/* Splits argv into options and words ("-" is a word).  0, or the exit code of a usage error. */
static int parse(struct options *o, int argc, char **argv)
{
	o->sets = xcalloc((size_t)argc + 1, sizeof *o->sets);
	o->files = xcalloc((size_t)argc + 1, sizeof *o->files);
	o->words = xcalloc((size_t)argc + 2, sizeof *o->words);
	for (int i = 1; i < argc; i++) {
		const struct option *opt = option_find(argv[i]);

		if (!opt && argv[i][0] == '-' && argv[i][1])
			return usage("no such option", argv[i]);
		if (!opt)
			o->words[o->count++] = argv[i];
		else if (opt->value && i + 1 == argc)
			return usage("needs a value", argv[i]);
		else
			option_take(o, opt, opt->value ? argv[++i] : NULL);
	}
	if (o->output && strcmp(o->output, "json") != 0)
		return usage("-o knows json only", o->output);
	if (!o->count || o->help || o->version) {
		o->words[0] = o->help ? "help" : o->version ? "version" : "status";
		o->count = 1;
	}
	return 0;
}

/* How many words of the command line the verb's name is; 0: it is another. */
static unsigned name_words(const struct verb *v, const struct options *o)
{
	size_t len = strcspn(v->name, " ");

	if (strlen(o->words[0]) != len || strncmp(o->words[0], v->name, len) != 0)
		return 0;
	if (!v->name[len])
		return 1;
	return o->count > 1 && strcmp(o->words[1], v->name + len + 1) == 0 ? 2 : 0;
}

static int run(const struct verb *v, unsigned name, struct options *o)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (o->given & ~v->takes & options[i].bit)
			return usage("not an option of this verb", options[i].name);
	if (o->count - name > v->words)
		return usage("takes no such argument", o->words[name + v->words]);
	if (o->count - name < v->least) {
		fprintf(stderr, "usage: manx %s %s\n", v->name, v->args);
		return EXIT_USAGE;
	}
	return v->run(o);
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	bool half = false;
	int rc;

	if (argc == 1 && cni_is_plugin(argv[0]))
		return cni_shim(argv[0]);
	if ((rc = parse(&o, argc, argv)) != 0)
		return rc;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		unsigned name = name_words(&verbs[i], &o);

		half |= str_prefix(verbs[i].name, o.words[0]) && verbs[i].name[strlen(o.words[0])] == ' ';
		if (name)
			return run(&verbs[i], name, &o);
	}
	return usage(half ? "half a verb" : "no such verb", o.words[0]);
}
