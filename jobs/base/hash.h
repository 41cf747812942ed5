/* Hashes: SipHash-2-4 for spreading (what names decide: `H` fields, jitter), SHA-256 for identity (chains of
 * batches, object names, states).
 *
 * Pure functions; any thread. Both give the same answer on every machine: they are part of the journaled
 * format.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HASH_SHA256_BYTES 32
#define HASH_SHA256_HEX   65 /* with the NUL */
#define HASH_SHA1_BASE64  29 /* likewise */

uint64_t hash_siphash(const uint8_t key[16], const void *data, size_t size);

void hash_sha256(const void *data, size_t size, uint8_t ret[HASH_SHA256_BYTES]);

/* Lower-case hex; returns buffer. */
const char *hash_sha256_hex(const void *data, size_t size, char buffer[HASH_SHA256_HEX]);

/* HMAC-SHA-256 (RFC 2104) in lower-case hex; returns buffer. */
const char *hash_hmac_hex(const void *key, size_t key_size, const void *data, size_t size,
                          char buffer[HASH_SHA256_HEX]);

/* Base64 of SHA-1, as ZooKeeper names the user of a password; for nothing else. Returns buffer. */
const char *hash_sha1_base64(const void *data, size_t size, char buffer[HASH_SHA1_BASE64]);
