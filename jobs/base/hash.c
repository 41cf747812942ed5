#include "jobs/base/hash.h"

#include <assert.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <string.h>

/* ---- SipHash-2-4 (Aumasson, Bernstein) ---- */

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static uint64_t load_le64(const uint8_t *p)
{
    uint64_t x = 0;

    for (int i = 0; i < 8; i++)
        x |= (uint64_t)p[i] << (8 * i);
    return x;
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

uint64_t hash_siphash(const uint8_t key[16], const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t k0 = load_le64(key), k1 = load_le64(key + 8);
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    uint64_t tail = (uint64_t)size << 56;
    size_t words = size / 8;

    for (size_t i = 0; i < words; i++)
        sip_word(v, load_le64(p + 8 * i));
    for (size_t i = 8 * words; i < size; i++)
        tail |= (uint64_t)p[i] << (8 * (i % 8));
    sip_word(v, tail);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- SHA-256 ---- */

void hash_sha256(const void *data, size_t size, uint8_t ret[HASH_SHA256_BYTES])
{
    SHA256(size ? data : "", size, ret);
}

static const char *hex(const uint8_t hash[HASH_SHA256_BYTES], char buffer[HASH_SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < HASH_SHA256_BYTES; i++) {
        buffer[2 * i] = digits[hash[i] >> 4];
        buffer[2 * i + 1] = digits[hash[i] & 15];
    }
    buffer[HASH_SHA256_HEX - 1] = '\0';
    return buffer;
}

const char *hash_sha256_hex(const void *data, size_t size, char buffer[HASH_SHA256_HEX])
{
    uint8_t hash[HASH_SHA256_BYTES];

    hash_sha256(data, size, hash);
    return hex(hash, buffer);
}

const char *hash_hmac_hex(const void *key, size_t key_size, const void *data, size_t size,
                          char buffer[HASH_SHA256_HEX])
{
    uint8_t hash[HASH_SHA256_BYTES];

    assert(key_size <= INT_MAX);
    HMAC(EVP_sha256(), key, (int)key_size, data, size, hash, NULL);
    return hex(hash, buffer);
}

const char *hash_sha1_base64(const void *data, size_t size, char buffer[HASH_SHA1_BASE64])
{
    unsigned char digest[SHA_DIGEST_LENGTH];

    SHA1(data, size, digest);
    EVP_EncodeBlock((unsigned char *)buffer, digest, sizeof(digest));
    return buffer;
}
