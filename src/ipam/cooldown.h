#ifndef IPAM_COOLDOWN_H
#define IPAM_COOLDOWN_H
/* Addresses that were given back and rest. */
#include "model/model.h"

bool is_released(const struct block_attribute *a);	/* its entry says only when */
bool cooldown_is_over(const struct block_attribute *a, unsigned cooldown_s, int64_t wall_ns);

#endif
