/*
 * calico-ipam: addresses for an interface that another plugin makes, which calls us
 * in its verbs with its own environment and configuration.
 *
 * Nothing in the kernel shows that such an address is in use, so the blocks are all
 * that is known of it: it is held under a handle of its own form until a DEL, also over
 * the agent's death.
 */
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "cni/cni_int.h"

enum { NETWORK_DIGITS = 8 };

static void network_digits(char out[NETWORK_DIGITS + 2], const char *network)
{
	snprintf(out, NETWORK_DIGITS + 2, "%08x.", (unsigned)fnv32a(network, strlen(network)));
}

/* Names may hold any separator, and an interface's name what an object's may not: of both there are only hashes. */
const char *addresses_handle(struct arena *mem, const char *network, const char *container, const char *ifname)
{
	const size_t size = sizeof IPAM_DELEGATED + NETWORK_DIGITS + 1 + 9 + strlen(container);
	char *text = arena_alloc(mem, size), digits[NETWORK_DIGITS + 2];

	network_digits(digits, network);
	snprintf(text, size, IPAM_DELEGATED "%s%08x.%s", digits, (unsigned)fnv32a(ifname, strlen(ifname)), container);
	return text;
}

bool addresses_of_network(const char *handle, const char *network)
{
	char digits[NETWORK_DIGITS + 2];

	network_digits(digits, network);
	return str_prefix(handle, IPAM_DELEGATED) && str_prefix(handle + strlen(IPAM_DELEGATED), digits);
}

static void on_held(void *ctx, const struct block_attribute *a, const struct addr *ip)
{
	struct cni_request *r = ctx;

	if (strcmp(a->handle, r->handle) == 0)
		r->ips[family_index(ip->family)] = *ip;
}

/* What an earlier ADD of this interface got. */
static bool find_held(struct cni_request *r)
{
	ipam_each_own(r->cni->ipam, on_held, r);
	return r->ips[FAMILY_V4].family || r->ips[FAMILY_V6].family;
}

void addresses_given(struct cni_request *r)
{
	log_debug("cni", "ADD %s: %s %s, of an interface that another plugin makes", r->key, addr_text(&r->ips[0]).s,
		  addr_text(&r->ips[1]).s);
	request_result(r, NULL);
}

void addresses_add(struct cni_request *r)
{
	if (r->cni->model->config->ipam == IPAM_PODCIDR)
		request_fail(r, CNI_CONFIG, "ipam = podcidr has no record of what another plugin's interface has: use host-local");
	else if (find_held(r))
		addresses_given(r);
	else
		add_assign(r);
}

static void on_released(void *ctx)
{
	struct cni_request *r = ctx;

	r->waiting_release = false;
	request_result(r, NULL);
}

/* It is done when the blocks are written: no link would tell the next agent of it. */
void addresses_del(struct cni_request *r)
{
	r->waiting_release = true;
	ipam_release(r->cni->ipam, r->handle, NULL, on_released, r);
}

void addresses_del_give_up(struct cni_request *r, const char *why)
{
	(void)why;
	if (r->conn)
		request_note(r);
}

void addresses_check(struct cni_request *r)
{
	if (find_held(r))
		request_result(r, NULL);
	else
		request_fail(r, CNI_CHANGED, "container %s has no address for %s", r->container, r->ifname);
}
