/*
 * What decides about addresses beside pools: IPAMConfig (in the v3 group IPAMConfiguration)
 * and IPReservation.
 */
#include "store/kind_int.h"

#include <errno.h>

#include "base/util.h"

enum { COOLDOWN_MAX = 1200 };

#define FIELD(name, member, read) { "spec." name, offsetof(struct ipam_config, member), read, false }
static const struct json_field config_fields[] = {
	FIELD("strictAffinity", strict_affinity, json_read_bool),
	FIELD("autoAllocateBlocks", auto_allocate, json_read_bool),
	FIELD("maxBlocksPerHost", max_blocks, json_read_u32),
	FIELD("ipCooldownSeconds", cooldown_s, json_read_u32),
};

int ipam_config_decode(struct json_ctx *c, json_value object, struct row *row)
{
	struct ipam_config *i = container_of(row, struct ipam_config, row);

	i->auto_allocate = true;
	if (json_fields(c, object, config_fields, ARRAY_SIZE(config_fields), i) < 0)
		return -EINVAL;
	if (!i->strict_affinity && !i->auto_allocate)
		return json_refuse_member(c, object, "spec.autoAllocateBlocks", "false wants strictAffinity true");
	if (i->cooldown_s > COOLDOWN_MAX)
		return json_refuse_member(c, object, "spec.ipCooldownSeconds", "want 0 to %d", COOLDOWN_MAX);
	return 0;
}

uint64_t ipam_config_digest(const struct row *row)
{
	const struct ipam_config *i = container_of(row, struct ipam_config, row);
	const uint64_t numbers[] = { i->strict_affinity, i->auto_allocate, i->max_blocks, i->cooldown_s };

	return digest_bytes(0, numbers, sizeof numbers);
}

static int read_cidr(struct json_ctx *c, json_value v, void *item)
{
	return json_read_prefix(c, v, item);
}

static int read_cidrs(struct json_ctx *c, json_value v, void *field)
{
	struct reservation *r = field;
	void *items = NULL;
	int rc = json_array(c, v, sizeof *r->cidrs, read_cidr, &items, &r->count);

	r->cidrs = items;
	return rc;
}

static const struct json_field reservation_fields[] = { { "spec.reservedCIDRs", 0, read_cidrs, false } };

int reservation_decode(struct json_ctx *c, json_value object, struct row *row)
{
	return json_fields(c, object, reservation_fields, ARRAY_SIZE(reservation_fields),
			   container_of(row, struct reservation, row));
}

uint64_t reservation_digest(const struct row *row)
{
	const struct reservation *r = container_of(row, struct reservation, row);

	return digest_bytes(0, r->cidrs, r->count * sizeof *r->cidrs);
}
