/*
 * One binary, three faces: the CNI plugin (CNI_COMMAND in the environment and no
 * verb), the agent, and the command line that talks to it.
 */
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "base/str.h"
#include "base/util.h"
#include "cni/cni.h"
#include "ctl/ctl.h"
#include "status.h"

#define DEFAULT_CONFIG "/etc/manx.conf"

struct options {
	const char *config;
	bool config_given, json;
	const char *file;
	char *sets[64];
	unsigned set_count;
	const char *socket;
	int ready_fd;
	char *words[16];
	unsigned count;
};

static int verb_agent(struct options *o);
static int verb_ask(struct options *o);
static int verb_version(struct options *o);
static int verb_help(struct options *o);
static int verb_absent(struct options *o);

static const struct verb {
	const char *name, *args, *help;
	int (*run)(struct options *o);
} verbs[] = {
	{ "agent", "[--config FILE] [--set KEY=VALUE]... [--ready-fd N]", "run the daemon in the foreground", verb_agent },
	{ "status", "[-o json]", "this node at a glance", verb_ask },
	{ "ipam", "show [-o json]", "the cluster's address blocks", verb_ask },
	{ "routes", "[-o json]", "wanted routes against the kernel's", verb_ask },
	{ "version", "", "one line", verb_version },
	{ "help", "", "this text", verb_help },
	{ "check", NULL, NULL, verb_absent },
	{ "explain", NULL, NULL, verb_absent },
	{ "get", NULL, NULL, verb_absent },
	{ "apply", NULL, NULL, verb_absent },
	{ "delete", NULL, NULL, verb_absent },
	{ "bgp", NULL, NULL, verb_absent },
	{ "install", NULL, NULL, verb_absent },
	{ "uninstall", NULL, NULL, verb_absent },
};

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

static int load_config(struct options *o, struct config *c)
{
	struct config_sets seen = { 0 };
	struct err e = { 0 };

	if (config_init(c, &e) < 0) {
		print_error(NULL, e.text);
		return EXIT_CONFIG;
	}
	if (config_read(c, o->config, !o->config_given, print_error, NULL) < 0)
		return EXIT_CONFIG;
	for (unsigned i = 0; i < o->set_count; i++)
		if (config_set(c, &seen, o->sets[i], &e) < 0) {
			fprintf(stderr, "manx: --set %s\n", e.text);
			return EXIT_CONFIG;
		}
	if (config_check(c, &e) < 0) {
		print_error(NULL, e.text);
		return EXIT_CONFIG;
	}
	return EXIT_OK;
}

static int verb_agent(struct options *o)
{
	static struct config config;
	struct err e = { 0 };
	int rc;

	if (o->count > 1)
		return usage("agent takes no such argument", o->words[1]);
	if ((rc = load_config(o, &config)) != EXIT_OK)
		return rc;
	if (config_built(&config, &e) < 0) {
		print_error(NULL, e.text);
		return EXIT_USAGE;
	}
	return agent_run(&config, o->config, o->ready_fd);
}

/* Verbs that the running agent answers. */
static int verb_ask(struct options *o)
{
	static struct config config;
	char socket[CONFIG_PATH_MAX + 16];
	int rc;

	if (!o->socket) {
		if ((rc = load_config(o, &config)) != EXIT_OK)
			return rc;
		snprintf(socket, sizeof socket, "%s/manx.sock", config.run_dir);
		o->socket = socket;
	}
	return ctl_client(o->socket, o->words, o->count, o->json);
}

static int verb_version(struct options *o)
{
	(void)o;
	printf("manx %s\n", MANX_VERSION);
	return EXIT_OK;
}

static int verb_help(struct options *o)
{
	(void)o;
	printf("usage: manx [VERB] [--config FILE | --socket PATH] [ARGUMENTS]\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (verbs[i].help)
			printf("  %-8s %-55s %s\n", verbs[i].name, verbs[i].args, verbs[i].help);
	printf("\nWithout a verb: status.  With CNI_COMMAND in the environment and no verb: the CNI plugin.\n");
	return EXIT_OK;
}

static int verb_absent(struct options *o)
{
	return usage("not in this version", o->words[0]);
}

/* Splits argv into options and words.  0, or the exit code of a usage error. */
static int parse(struct options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
		const bool wants_value = strcmp(arg, "-o") == 0 || strcmp(arg, "--config") == 0 ||
					 strcmp(arg, "--set") == 0 || strcmp(arg, "--socket") == 0 ||
					 strcmp(arg, "--ready-fd") == 0 || strcmp(arg, "-f") == 0;
		uint64_t fd;

		if (wants_value && !value)
			return usage("needs a value", arg);
		i += wants_value;
		if (strcmp(arg, "-o") == 0) {
			if (strcmp(value, "json") != 0)
				return usage("-o knows json only", value);
			o->json = true;
		} else if (strcmp(arg, "--config") == 0) {
			o->config = value;
			o->config_given = true;
		} else if (strcmp(arg, "--set") == 0) {
			if (o->set_count == ARRAY_SIZE(o->sets))
				return usage("too many --set", value);
			o->sets[o->set_count++] = argv[i];
		} else if (strcmp(arg, "--socket") == 0) {
			o->socket = value;
		} else if (strcmp(arg, "-f") == 0) {
			o->file = value;
		} else if (strcmp(arg, "--ready-fd") == 0) {
			if (str_u64(value, 1 << 20, &fd) < 0)
				return usage("--ready-fd wants a number", value);
			o->ready_fd = fd;
		} else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
			o->words[0] = "help";
			o->count = 1;
			return 0;
		} else if (arg[0] == '-') {
			return usage("no such option", arg);
		} else if (o->count == ARRAY_SIZE(o->words)) {
			return usage("too many arguments", arg);
		} else {
			o->words[o->count++] = argv[i];
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = { .config = DEFAULT_CONFIG, .ready_fd = -1 };
	int rc;

	if (argc == 1 && getenv("CNI_COMMAND"))
		return cni_shim();
	if ((rc = parse(&o, argc, argv)) != 0)
		return rc;
	if (!o.count) {
		o.words[0] = "status";
		o.count = 1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, o.words[0]) == 0)
			return verbs[i].run(&o);
	return usage("no such verb", o.words[0]);
}
