/* Where the servers of an ensemble are: a list of names and addresses, looked up off the loop, handed out one
 * at a time, round and round, in an order of its own.
 *
 * Addresses written as such are known at once. Names are looked up one after the other, when asked to
 * refresh; what was known stays until something better is. One thread: the loop's; owned by its coordinator.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define SERVERS_ADDRESSES_MAX    8    /* of one name */
#define SERVERS_REFRESH_EVERY_MS 5000 /* look-ups, while nothing answers */
#define SERVERS_ADDRESS_TEXT     64

struct servers;

struct servers_user {
    uint64_t (*random)(void *arg);
    void *random_arg;
    void (*found)(void *arg); /* addresses are known where none were */
    void *arg;
};

int servers_new(struct servers **ret, uv_loop_t *loop, const char *list, const struct servers_user *user,
                struct error *error);
void servers_free(struct servers *servers); /* a look-up under way is forgotten */

/* The next address to try, as libzookeeper reads it ("127.0.0.1:2181", "::1:2181"); NULL: none is known.
 * Borrowed until the next call. */
const char *servers_next(struct servers *servers);
size_t servers_count(const struct servers *servers); /* addresses known */
/* Looks the names up again, unless that was done lately or is under way. */
void servers_refresh(struct servers *servers);
const char *servers_problem(const struct servers *servers); /* why a name is not known; "" */
