#include "jobs/base/hash_table.h"

#include <string.h>

uint8_t hash_table_key[HASH_TABLE_KEY_BYTES];

void hash_table_set_key(const uint8_t key[HASH_TABLE_KEY_BYTES])
{
    memcpy(hash_table_key, key, HASH_TABLE_KEY_BYTES);
}
