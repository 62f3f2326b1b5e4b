/* Objects as JSON: a user's file, an agent's, a server's answer. */
#include "objects.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	objects_read(TEXT_JSON, data, size);
	return 0;
}
