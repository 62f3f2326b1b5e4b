/*
 * A call of the plugin as the agent gets it: environment and network configuration in one
 * payload, read as far as there is something to do; then CHECK's prevResult out of it.
 */
#include "../../src/cni/server.c"

#include "fuzz.h"

static struct endpoint endpoint = { .network = "net", .container = "c1", .ifname = "eth0", .pod = "web", .namespace = "default",
				    .uid = "", .host_if = "cali0123456789a", .ifindex = 7 };

static void read_all(struct cni *c, const struct str *payload)
{
	struct cni_request *r = request_new(c, false);
	struct end ends[ENDS];
	struct err e = { 0 };

	if (!payload_split(r, payload)) {
		request_free(r);
		return;
	}
	if (!request_read(r))
		return;			/* refused, answered, freed */
	ends_of(ends, &endpoint, 3);
	if (prev_check(&r->conf, &r->mem, ends, &e) != CNI_OK)
		CLAIM(e.text[0]);
	request_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop loop = { .epoll = -1 };
	struct cni c = { .loop = &loop };
	autostr struct str payload = { 0 };

	if (loop.epoll < 0) {
		CLAIM(loop_open(&loop) == 0 && addr_parse(&endpoint.ips[FAMILY_V4], "10.42.0.1", NULL) == 0);
		log_init(LOG_ERR);
	}
	str_add(&payload, (const char *)data, size);
	read_all(&c, &payload);
	CLAIM(!c.requests);
	return 0;
}
