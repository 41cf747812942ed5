/* uthash with a keyed hash function. Names, keys and ids come from callers: with a known function somebody could choose
 * thousands that fall into one place of a table, and make each look-up walk them all. The key is this process's own; nothing
 * depends on it but speed, since uthash iterates in the order of insertion.
 *
 * Include this instead of uthash.h, after what says how its failures are handled (jobs/base/alloc.h).
 */
#pragma once

#include "jobs/base/hash.h"

#define HASH_TABLE_KEY_BYTES 16

extern uint8_t hash_table_key[HASH_TABLE_KEY_BYTES];

/* Before the first table is filled; without it the key is zeros. */
void hash_table_set_key(const uint8_t key[HASH_TABLE_KEY_BYTES]);

#define HASH_FUNCTION(name, size, value) ((value) = (unsigned)hash_siphash(hash_table_key, (name), (size)))

#include <uthash.h>
