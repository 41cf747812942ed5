/* See session.h. */
#include "cronsched/http/session.h"

#include "jobs/base/hash.h"
#include "jobs/base/scan.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION "v1"
#define PARTS   7

void session_key(const char *secret, char ret[SESSION_KEY_BYTES + 1])
{
    static const char use[] = "cronsched session";

    _Static_assert(SESSION_KEY_BYTES + 1 == HASH_SHA256_HEX, "a key is an HMAC in hex");
    hash_hmac_hex(secret, strlen(secret), use, strlen(use), ret);
}

const char *session_seal(const struct session *session, const char *key, char ret[SESSION_COOKIE_SIZE])
{
    char hex[2 * AUTH_CALLER_SIZE + 1] = "", seal[HASH_SHA256_HEX];
    size_t n;

    for (size_t i = 0; session->name[i]; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)session->name[i]);
    n = (size_t)snprintf(ret, SESSION_COOKIE_SIZE, VERSION ".%s.%" PRIx64 ".%" PRId64 ".%" PRId64 ".%s",
                         auth_role_name(session->role), session->token, session->issued_s, session->expires_s,
                         hex);
    hash_hmac_hex(key, strlen(key), ret, n, seal);
    snprintf(ret + n, SESSION_COOKIE_SIZE - n, ".%s", seal);
    return ret;
}

/* ---- and back ---- */

static bool read_number(const char *text, int base, uint64_t *ret)
{
    char *end;

    if (!text[0] || strspn(text, "0123456789abcdef") != strlen(text))
        return false;
    errno = 0;
    *ret = strtoull(text, &end, base);
    return !errno && !*end;
}

static bool read_name(const char *hex, char ret[AUTH_CALLER_SIZE])
{
    size_t n = strlen(hex) / 2;

    if (strlen(hex) % 2 || n == 0 || n >= AUTH_CALLER_SIZE)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = scan_hex(hex[2 * i]), low = scan_hex(hex[2 * i + 1]);

        if (high < 0 || low < 0 || high + low == 0)
            return false;
        ret[i] = (char)(high << 4 | low);
    }
    ret[n] = '\0';
    return true;
}

static bool is_sealed(const char *cookie, const char *key)
{
    const char *seal = strrchr(cookie, '.');
    char expected[HASH_SHA256_HEX];

    if (!seal || strlen(seal + 1) != HASH_SHA256_HEX - 1)
        return false;
    hash_hmac_hex(key, strlen(key), cookie, (size_t)(seal - cookie), expected);
    return CRYPTO_memcmp(expected, seal + 1, HASH_SHA256_HEX - 1) == 0;
}

int session_open(struct session *ret, const char *cookie, const char *key, int64_t now_s)
{
    char copy[SESSION_COOKIE_SIZE], *rest = copy, *parts[PARTS];
    uint64_t issued, expires;
    size_t count = 0;

    *ret = (struct session){0};
    if (!key[0] || strlen(cookie) >= sizeof(copy) || !is_sealed(cookie, key))
        return ERR_DENIED;
    memcpy(copy, cookie, strlen(cookie) + 1);
    while (rest && count < PARTS)
        parts[count++] = strsep(&rest, ".");
    if (rest || count != PARTS || strcmp(parts[0], VERSION) != 0 ||
        auth_role_parse(parts[1], &ret->role) < 0 || !read_number(parts[2], 16, &ret->token) ||
        !read_number(parts[3], 10, &issued) || !read_number(parts[4], 10, &expires) ||
        !read_name(parts[5], ret->name))
        return ERR_DENIED;
    ret->issued_s = (int64_t)issued;
    ret->expires_s = (int64_t)expires;
    return now_s < ret->expires_s ? 0 : ERR_DENIED;
}
