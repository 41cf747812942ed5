/* Where the servers of an ensemble are: a list of names and addresses, looked up off the loop, handed out one
 * at a time, round and round, in an order of its own.
 *
 * Addresses written as such are known at once. Names are looked up one after the other, when asked to
 * refresh, on a thread of their own with a deadline; what was known stays until something better is. One thread: the loop's; owned by its coordinator.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define ZOOKEEPER_SERVERS_ADDRESSES_MAX    8    /* of one name */
#define ZOOKEEPER_SERVERS_REFRESH_EVERY_MS 5000 /* look-ups, while nothing answers */
#define ZOOKEEPER_SERVERS_ADDRESS_TEXT     64

struct zookeeper_servers;

struct zookeeper_servers_user {
    uint64_t (*random)(void *arg);
    void *random_arg;
    void (*found)(void *arg);     /* addresses are known where none were */
    void (*looked_up)(void *arg); /* each name has been looked up; NULL: of no interest */
    void *arg;
};

int zookeeper_servers_new(struct zookeeper_servers **ret, uv_loop_t *loop, const char *list,
                          const struct zookeeper_servers_user *user, struct error *error);
void zookeeper_servers_free(struct zookeeper_servers *servers); /* a look-up under way is forgotten */

/* The next address to try, as libzookeeper reads it ("127.0.0.1:2181", "::1:2181"); NULL: none is known.
 * Borrowed until the next call. */
const char *zookeeper_servers_next(struct zookeeper_servers *servers);
size_t zookeeper_servers_count(const struct zookeeper_servers *servers); /* addresses known */
bool zookeeper_servers_has(const struct zookeeper_servers *servers,
                           const char *address); /* is it one of them? */
/* Looks the names up again, unless that was done lately or is under way. `looked_up` is called within, when all servers
 * are written as addresses. */
void zookeeper_servers_refresh(struct zookeeper_servers *servers);
const char *
zookeeper_servers_problem(const struct zookeeper_servers *servers); /* why a name is not known; "" */
