#ifndef NOTIFY_H
#define NOTIFY_H
/*
 * What a supervisor is told: systemd by datagrams to $NOTIFY_SOCKET (sd_notify(3)),
 * others by a newline on a descriptor.  Without either: nothing.
 */
void notify_ready(int ready_fd);	/* -1: there is none */
void notify_stopping(void);
void notify_reloading(void);		/* ends with notify_ready(-1) */

#endif
