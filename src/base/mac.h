#ifndef BASE_MAC_H
#define BASE_MAC_H
/* Hardware addresses of Ethernet: 6 bytes, as texts "0a:58:0a:2a:00:01". */
#include <stdbool.h>
#include <stdint.h>

struct mac_text { char s[18]; };		/* returned by value, as addr_text() is */
struct mac_text mac_text(const uint8_t mac[6]);	/* lower case */
/* Digits of either case, two to a byte.  False: text is no such address; then mac may be written in part. */
bool mac_parse(uint8_t mac[6], const char *text);

#endif
