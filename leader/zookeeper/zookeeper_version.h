/* What the servers of an ensemble say of themselves, for `doctor`: their version, and whether it is known to
 * lose what it acknowledged.
 *
 * Asks by the four-letter word `srvr` on the client port, the one that ZooKeeper answers by default
 * (administrator's guide, "4lw.commands.whitelist"). Blocks, at most ZOOKEEPER_VERSION_ASK_MS for each server: for
 * threads of the pool.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define ZOOKEEPER_VERSION_ASK_MS      1000
#define ZOOKEEPER_VERSION_SERVERS_MAX 9 /* of a list; the rest is not asked */

struct zookeeper_version_answer {
    char server[128];  /* as it is in the list */
    char version[32];  /* "3.8.0"; "": not known */
    char problem[128]; /* why not; "" */
};

/* list: "HOST:PORT,...[/CHROOT]", as in the configuration. Returns how many were asked. */
size_t zookeeper_version_ask(const char *list,
                             struct zookeeper_version_answer ret[ZOOKEEPER_VERSION_SERVERS_MAX]);

/* Of an answer to `srvr`; false: it holds none. */
bool zookeeper_version_read(const char *answer, char *ret, size_t size);

/* Before 3.8.5, and 3.9.0 and 3.9.1: a restart of servers can lose committed transactions (ZOOKEEPER-4785). */
bool zookeeper_version_loses(const char *version);
