/* The configuration file, and the same lines as --set gives them. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fuzz.h"
#include "model/config.h"

static void on_error(void *ctx, const char *text)
{
	CLAIM(text[0]);
	++*(unsigned *)ctx;
}

static void as_file(const uint8_t *data, size_t size)
{
	int fd = memfd_create("conf", 0);
	unsigned errors = 0;
	struct config c;
	struct err e = { 0 };
	char path[40];

	CLAIM(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	CLAIM(config_init(&c, &e) == 0);
	CLAIM((config_read(&c, path, false, on_error, &errors) < 0) == (errors > 0));
	if (config_check(&c, &e) == 0)
		config_built(&c, &e);
	close(fd);
}

static void as_sets(const uint8_t *data, size_t size)
{
	struct config_sets sets = { 0 };
	struct config c;
	struct err e = { 0 };
	char *text = malloc(size + 1), *at = text, *line;

	memcpy(text, data, size);
	text[size] = '\0';
	CLAIM(config_init(&c, &e) == 0);
	while ((line = strsep(&at, "\n")))
		config_set(&c, &sets, line, &e);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	setenv("NODE_NAME", "edge-1", 1);
	as_file(data, size);
	as_sets(data, size);
	return 0;
}
