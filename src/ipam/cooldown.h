#ifndef IPAM_COOLDOWN_H
#define IPAM_COOLDOWN_H
/* Addresses that were given back and rest. */
#include "model/model.h"

bool is_released(const struct block_attribute *a);	/* its entry says only when */
/* Is that moment (RFC 3339; NULL: long ago) so many seconds away from now, on whichever side? */
bool moment_is_over(const char *text, unsigned seconds, int64_t wall_ns);
bool cooldown_is_over(const struct block_attribute *a, unsigned cooldown_s, int64_t wall_ns);

#endif
