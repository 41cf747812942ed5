/* The servers that an ensemble says it has (/zookeeper/config), compared with a list of ours, for `doctor`.
 *
 * They are only compared, never connected to: what is written there are the servers' own addresses among each other,
 * which need not be reachable from here (0.0.0.0, a container's name, another network), and an administrator's
 * `zookeeper:` is what decides whom this program talks to. Looks names up, which blocks: for threads of the pool.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define ZOOKEEPER_CONFIG_SERVERS_MAX 16
#define ZOOKEEPER_CONFIG_HOST_MAX    128

struct zookeeper_config_server {
    char host[ZOOKEEPER_CONFIG_HOST_MAX];
    char port[8]; /* of clients; "": it does not say */
};

struct zookeeper_config_differences {
    struct zookeeper_config_server
        missing[ZOOKEEPER_CONFIG_SERVERS_MAX]; /* of the ensemble, not in the list */
    struct zookeeper_config_server
        strange[ZOOKEEPER_CONFIG_SERVERS_MAX]; /* in the list, not of the ensemble */
    size_t missing_count, strange_count;
};

/* Of the text of /zookeeper/config; how many. What is not a server's line is passed over. */
size_t zookeeper_config_read(const char *config,
                             struct zookeeper_config_server ret[ZOOKEEPER_CONFIG_SERVERS_MAX]);
/* list: "HOST:PORT,...[/CHROOT]"; of several on one host the first are taken for the ensemble's, when it does not say which
 * ports it has. False: the ensemble does not say which servers it has. */
bool zookeeper_config_compare(const char *config, const char *list, struct zookeeper_config_differences *ret);
