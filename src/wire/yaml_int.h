#ifndef WIRE_YAML_INT_H
#define WIRE_YAML_INT_H
/* Shared by the files of the YAML reader. */
#include "wire/yaml.h"

enum yaml_plain { PLAIN_STRING, PLAIN_NULL, PLAIN_BOOL, PLAIN_INTEGER, PLAIN_FLOAT, PLAIN_NOT_FINITE };
enum { PLAIN_NUMBER_MAX = 400, PLAIN_JSON_MAX = PLAIN_NUMBER_MAX + 32 };

/* What a scalar without quotes is; its JSON in out for null, booleans and numbers. */
enum yaml_plain yaml_plain(const char *text, size_t len, char out[PLAIN_JSON_MAX]);

/* Refuses the first name that its mapping has twice. */
int yaml_check_names(const struct json *j, struct err *e);

#endif
