/* replay FILE...   Gives each file to the target that is linked with this. */
#include <string.h>
#include "fuzz.h"

static int replay(const char *path)
{
	static uint8_t buf[1 << 20];
	FILE *f = fopen(path, "rb");
	uint8_t *exact;
	size_t len;

	if (!f) {
		perror(path);
		return -1;
	}
	len = fread(buf, 1, sizeof buf, f);
	fclose(f);
	exact = malloc(len ? len : 1);		/* so that a read past the end is seen */
	memcpy(exact, buf, len);
	fprintf(stderr, "%s\n", path);		/* the last one is the culprit */
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	return 0;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (replay(argv[i]) < 0)
			return 1;
	fprintf(stderr, "%d inputs\n", argc - 1);
	return argc < 2;
}
