/* A kubeconfig: what is taken names a server, and every text of it is terminated within the arena. */
#include <string.h>

#include "wire/kubeconfig.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena mem = { 0 };
	struct kubeconfig k;
	struct err e = { 0 };
	int rc = kubeconfig_read(&k, (const char *)data, size, &mem, &e);

	CLAIM((rc < 0) == (e.code != 0));
	if (rc == 0) {
		const char *all[] = { k.server, k.tls_server_name, k.ca_data, k.cert_data, k.key_data, k.ca_file, k.cert_file, k.key_file,
				      k.token_file, k.token };

		CLAIM(k.server);
		for (size_t i = 0; i < sizeof all / sizeof *all; i++)
			CLAIM(!all[i] || strlen(all[i]) < 2 * size + 1);
	}
	arena_free(&mem);
	return 0;
}
