/* What a daemon reports to systemd: one datagram to the socket in NOTIFY_SOCKET. Nothing happens where
 * there is none. Any thread. */
#pragma once

#include <stdint.h>

#define SD_NOTIFY_READY    "READY=1"
#define SD_NOTIFY_STOPPING "STOPPING=1"
#define SD_NOTIFY_WATCHDOG "WATCHDOG=1"

/* `state`: lines such as the above, or "STATUS=leading, 12 jobs". 0; 1: nothing listens; or an error. */
int sd_notify_state(const char *state);

/* How often SD_NOTIFY_WATCHDOG must be sent, half of what systemd waits for; 0: it is not used. */
int64_t sd_notify_watchdog_ms(void);
