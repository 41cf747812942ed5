/* Who may do what over HTTP: tokens, callers on this machine, and what browsers must not be used for.
 *
 * A caller is known in one of six ways, in this order:
 *   replica   the cluster's secret as its bearer token; it names in Cronsched-Acting the caller whose request
 *             it passes on, and the role that it found.
 *   token     "Authorization: Bearer TOKEN" whose SHA-256 is a line of tokens_file: that line's name and
 *             role. A token that is not in the file is refused, wherever it comes from.
 *   session   a cookie of this cluster (session.h): who logged in with a token, or by a link that a caller of another way
 *             asked for. The token's line has to stand, with that role. Requests that change something have to come from
 *             our own page (Sec-Fetch-Site or Origin).
 *   unix      by the kernel (SO_PEERCRED): root and the daemon's own user are admin; members of the group
 *             that owns the socket file operate; anybody else that its mode lets in reads.
 *   insecure  only without a tokens_file and with `insecure: true`: everybody who reaches a TCP address is admin.
 *   loopback  only with `loopback: read`: everybody on this machine reads, over TCP.
 * Over TCP nobody else has a role: a network namespace, a container or a web page reaches 127.0.0.1 as well as
 * a user does, so the owner of a local connection proves nothing.
 *
 * The last two are ambient authority: requests that a foreign web page may have caused are refused. Their Host
 * has to be an address, a loopback name or (insecure) one of `hosts`, since any other name may be an attacker's
 * that points here (DNS rebinding); an Origin or Sec-Fetch-Site has to be this server's. loopback also refuses
 * what came through a proxy.
 *
 * Roles include the lesser ones. tokens_file holds hashes only; a token is shown once, when it is made.
 * One thread: the loop's. auth_new copies its options; auth_peer and auth_identity are plain values.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define AUTH_SECRET_MAX     128 /* with its NUL */
#define AUTH_TOKENS_MAX     1000
#define AUTH_FILE_BYTES_MAX (256 * 1024)
#define AUTH_NAME_MAX       64                   /* of a token, without its NUL */
#define AUTH_CALLER_SIZE    96                   /* holds any caller's name */
#define AUTH_TOKEN_SIZE     48                   /* "cs_", 43 letters and the NUL */
#define AUTH_LINE_SIZE      (AUTH_NAME_MAX + 80) /* a line of tokens_file without its newline, and the NUL */

enum auth_role { AUTH_NOBODY, AUTH_READ, AUTH_OPERATE, AUTH_ADMIN };
const char *auth_role_name(enum auth_role role);

enum auth_via { AUTH_VIA_UNIX, AUTH_VIA_LOOPBACK, AUTH_VIA_NETWORK };

/* The other end of one connection. */
struct auth_peer {
    enum auth_via via;
    bool uid_known; /* unix only, as are the next two */
    uid_t uid;
    bool in_group;               /* unix: of the socket's group */
    char name[AUTH_CALLER_SIZE]; /* "unix:alice", "tcp:192.0.2.7" */
};

/* What a request says; NULL: the header is absent. Borrowed during the call. */
struct auth_claim {
    const char *authorization, *host, *origin, *cookie;
    const char *acting; /* Cronsched-Acting: "ROLE NAME", by a replica that passes a request on */
    const char *fetch_site, *fetch_mode, *fetch_dest; /* Sec-Fetch-* */
    bool forwarded;                                   /* Forwarded, X-Forwarded-For or Via is there */
    bool tls;
    bool safe; /* GET or HEAD: it changes nothing */
};

struct auth_identity {
    enum auth_role role;
    uint64_t token;              /* which one; 0: known otherwise */
    char name[AUTH_CALLER_SIZE]; /* for the audit log: "token:deploy", or the peer's */
    bool replica;                /* another replica of the cluster, for itself or for the caller it names */
    bool challenge;              /* refused because the token is missing or wrong: 401 rather than 403 */
    const char *via;   /* "token", "session", "unix", "loopback", "insecure", "replica"; NULL: not known */
    int64_t expires_s; /* of UTC, of a session; 0: it has no end of its own */
    bool early; /* likewise, by a replica that has just started and knows no secret yet: it may be one's */
};

struct auth_options {
    const char *tokens_file; /* NULL: none */
    bool insecure;
    bool loopback_read; /* everybody on this machine reads over TCP */
    /* Names of this server beside its addresses, for `insecure`. Borrowed: they outlive the auth. */
    char *const *hosts;
    size_t host_count;
    const char *advertise; /* URL whose host is another one of them; NULL: none. Borrowed */
    bool clustered;        /* there will be a secret */
    const char *
        cluster; /* its name, for that of the cookie: ports of a host share their cookies. NULL: none. Borrowed */
};

struct auth;

/* Reads the tokens file. Errors carry FILE:LINE. */
int auth_new(struct auth **ret, const struct auth_options *options, struct error *error);
void auth_free(struct auth *auth);

/* Reads it again, after a signal or a change. When it cannot be read or is wrong the tokens stay as they
 * were, those that were to go among them, and auth_trouble says so until it succeeds. */
int auth_reload(struct auth *auth, struct error *error);
const char *auth_trouble(const struct auth *auth); /* NULL: the tokens are as the file says */
/* Somebody who was let in before, and still uses it, has this role yet: the token is there, with a role that includes
 * it. */
bool auth_still(const struct auth *auth, const struct auth_identity *who, enum auth_role role);
const char *auth_tokens_file(const struct auth *auth); /* NULL: none */
#define AUTH_SECRET_BOTH_MS  (5 * 60 * 1000)
#define AUTH_SECRET_EARLY_MS (10 * 1000) /* from the start */
/* By which replicas of a cluster know one another; NULL or "": no replica is identified by it. Copied. The one before is
 * accepted for AUTH_SECRET_BOTH_MS more: not all replicas see a new one at the same moment. */
void auth_set_secret(struct auth *auth, const char *secret);
size_t auth_token_count(const struct auth *auth);
bool auth_insecure(const struct auth *auth);       /* as configured */
bool auth_loopback_reads(const struct auth *auth); /* likewise */

/* Who is calling. 0, or ERR_DENIED with a text for the caller; *ret is set either way. */
int auth_identify(const struct auth *auth, const struct auth_peer *peer, const struct auth_claim *claim,
                  struct auth_identity *ret, struct error *error);

/* ---- sessions ---- */

#define AUTH_COOKIE_NAME_SIZE 40
/* Whose token this is, for a login. ERR_DENIED. */
int auth_by_token(const struct auth *auth, const char *token, struct auth_identity *ret, struct error *error);
/* A cookie for this caller, from now on: the value of Set-Cookie. */
const char *auth_session_begin(const struct auth *auth, const struct auth_identity *who, bool tls, char *ret,
                               size_t size);
const char *auth_session_end(const struct auth *auth, bool tls, char *ret,
                             size_t size); /* one that removes it */
/* ERR_DENIED: a request that changes something did not come from a page of this server. */
int auth_check_page(const struct auth_claim *claim, struct error *error);

/* May this server listen there? Beyond this machine it takes a tokens_file and TLS, or `insecure: true`. */
int auth_check_listen(const struct auth *auth, const char *address, bool beyond_loopback, bool tls,
                      struct error *error);

/* The other end of a connected socket; never fails: what cannot be known stays unknown. `group`: of the unix
 * socket's file. */
void auth_peer_init(struct auth_peer *peer, int fd, gid_t group);

/* A new token: the token itself, to be shown once, and the line for tokens_file. */
int auth_token_new(const char *name, enum auth_role role, char ret_token[AUTH_TOKEN_SIZE],
                   char ret_line[AUTH_LINE_SIZE], struct error *error);

/* Adds the line of a new token to the file, which is made if there is none. A file that has faults, or a token of that
 * name, stays as it is: the server would reject the whole file. ERR_CONFLICT,
 * ERR_INVALID, ERR_IO. */
int auth_token_append(const char *file, const char *name, const char *line, struct error *error);

/* Pure checks, for the tests and the fuzzer as well. */
int auth_role_parse(const char *text, enum auth_role *ret);
bool auth_host_is_loopback(const char *host); /* "localhost:7460", "127.0.0.1", "[::1]:1" */
bool auth_host_is_address(const char *host);  /* "192.0.2.7:7460", "[2001:db8::1]" */
bool auth_origin_is_host(const char *origin, const char *host, bool tls);
