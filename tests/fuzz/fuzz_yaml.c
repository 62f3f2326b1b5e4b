/* Objects as YAML. */
#include "objects.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	objects_read(TEXT_YAML, data, size);
	return 0;
}
