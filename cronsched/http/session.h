/* The session of a browser: a cookie that says who logged in, sealed with a key that only the replicas have, so that nothing is
 * stored and any of them takes it. Pure functions; any thread.
 *
 * A cookie is v1.ROLE.TOKEN.ISSUED.EXPIRES.NAME.SEAL: the role's word, the number of the token in hex (0: none), seconds of UTC, the
 * name in hex, and the HMAC-SHA-256 of all before it.
 */
#pragma once

#include "cronsched/http/auth.h"

#define SESSION_COOKIE_SIZE 512
#define SESSION_KEY_BYTES   64 /* in hex */
#define SESSION_LIFE_S      (12 * 3600)

struct session {
    enum auth_role role;
    uint64_t token;
    int64_t issued_s, expires_s;
    char name[AUTH_CALLER_SIZE];
};

/* The key of a secret; secrets are not used for two purposes. */
void session_key(const char *secret, char ret[SESSION_KEY_BYTES + 1]);

const char *session_seal(const struct session *session, const char *key, char ret[SESSION_COOKIE_SIZE]);
/* ERR_DENIED: it was not sealed with that key, or is over, or is no cookie of ours at all. */
int session_open(struct session *ret, const char *cookie, const char *key, int64_t now_s);
