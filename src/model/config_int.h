#ifndef MODEL_CONFIG_INT_H
#define MODEL_CONFIG_INT_H
/* One row of the table of keys, and the setters that rows name. */
#include "model/config.h"

#include <stddef.h>

enum { KEY_REPEATABLE = 1, KEY_MAY_BE_EMPTY = 2, KEY_LIVE = 4 };	/* LIVE: a running agent may take another value */

struct config_key;

/*
 * A setter fills field from text.  On -EINVAL it has filled *e with the text
 * after "key: ", or left e->code 0: then "VALUE: want <want>" is said.
 */
typedef int config_setter(const struct config_key *k, void *field, const char *text, struct err *e);

struct config_key {
	const char *name, *def, *want;
	uint16_t offset, size;
	config_setter *set;
	unsigned flags;				/* KEY_... */
	unsigned min, max;			/* of numbers; max: size of a text */
	const char *const *words;		/* of an enum, in its order, NULL at the end */
};

config_setter config_set_number, config_set_word, config_set_bool, config_set_path, config_set_node_name,
	config_set_node_address, config_set_datastore, config_set_pool, config_set_asn, config_set_bgp_peer,
	config_set_port, config_set_listen, config_set_servers, config_set_log_level;

bool config_is_node_name(const char *text);

#endif
