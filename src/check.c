#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "ctl/ctl.h"
#include "model/config.h"
#include "store/store.h"

enum { REQUEST_MAX = FRAME_MAX - 4096 };	/* the text of a file, beside the words */

struct check {
	const char *file;
	unsigned objects, ignored, errors;
	bool unbuilt;			/* a configuration asks for what is not in this version */
	struct str list;		/* of errors, as JSON */
	struct json_out out;
};

static void report(struct check *c, const char *text)
{
	c->errors++;
	fprintf(stderr, "%s\n", text);
	json_put_string(&c->out, NULL, text);
}

static void on_config_error(void *ctx, const char *text)
{
	report(ctx, text);
}

static void check_config(struct check *c)
{
	struct config config;
	struct err e = { 0 };

	if (config_init(&config, &e) == 0 && config_read(&config, c->file, false, on_config_error, c) < 0)
		return;
	if (e.code || config_check(&config, &e) < 0) {
		report(c, e.text);
	} else if (config_built(&config, &e) < 0) {
		fprintf(stderr, "%s: %s\n", c->file, e.text);
		c->unbuilt = true;
	}
}

static void on_object(void *ctx, bool bad, const char *text)
{
	struct check *c = ctx;
	autostr struct str whole = { 0 };

	str_printf(&whole, "%s:%s", c->file, text);
	if (bad) {
		report(c, whole.s);
	} else {
		fprintf(stderr, "%s\n", whole.s);
		c->ignored++;
	}
}

static int read_whole(const char *name, struct str *text)
{
	return strcmp(name, "-") == 0 ? fs_read_fd(STDIN_FILENO, JSON_SIZE_MAX, text) :
					fs_read(AT_FDCWD, name, JSON_SIZE_MAX, text);
}

static void check_objects(struct check *c)
{
	autostr struct str text = { 0 }, why = { 0 };
	int rc = read_whole(c->file, &text);

	if (rc < 0) {
		str_printf(&why, "%s: %s", c->file, strerror(-rc));
		report(c, why.s);
		return;
	}
	rc = store_check_text(text_guess(c->file, str_text(&text)), str_text(&text), text.len, on_object, c);
	c->objects += rc > 0 ? (unsigned)rc : 0;
}

static bool is_config(const char *name)
{
	size_t len = strlen(name);

	return len >= 5 && strcmp(name + len - 5, ".conf") == 0;
}

int check_files(const char *const *names, unsigned count, bool json)
{
	struct check c = { .out.to = &c.list };

	for (unsigned i = 0; i < count; i++) {
		c.file = names[i];
		if (is_config(names[i]))
			check_config(&c);
		else
			check_objects(&c);
	}
	if (json)
		printf("{\"files\":%u,\"objects\":%u,\"ignored\":%u,\"errors\":[%s]}\n", count, c.objects, c.ignored,
		       str_text(&c.list));
	else
		printf("files %u, objects in order %u, ignored %u, errors %u\n", count, c.objects, c.ignored, c.errors);
	str_free(&c.list);
	return c.errors ? EXIT_CONFIG : c.unbuilt ? EXIT_USAGE : EXIT_OK;
}

int check_read(const char *name, struct str *text)
{
	int rc = read_whole(name, text);
	const char *why = rc < 0 ? strerror(-rc) : strlen(str_text(text)) != text->len ? "not a text" :
			  text->len > REQUEST_MAX ? "too much at once: divide it" : NULL;

	if (!why)
		return EXIT_OK;
	fprintf(stderr, "manx: %s: %s\n", name, why);
	return rc == -EACCES || rc == -EPERM ? EXIT_PERMISSION : EXIT_CONFIG;
}
