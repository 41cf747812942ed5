/* What a daemon tells systemd: one datagram to the socket in NOTIFY_SOCKET. Nothing happens where there is
 * none. Any thread. */
#pragma once

#include <stdint.h>

#define NOTIFY_READY    "READY=1"
#define NOTIFY_STOPPING "STOPPING=1"
#define NOTIFY_WATCHDOG "WATCHDOG=1"

/* `state`: lines such as the above, or "STATUS=leading, 12 jobs". 0; 1: nobody wants to know; or an error. */
int notify_systemd(const char *state);

/* How often NOTIFY_WATCHDOG is to be sent, half of what systemd waits for; 0: it does not want it. */
int64_t notify_systemd_watchdog_ms(void);
