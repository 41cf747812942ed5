#include "cronsched/http/auth.h"

#include "cronsched/http/http_form.h"
#include "cronsched/http/session.h"
#include "cronsched/io/file.h"
#include "jobs/base/clock.h"
#include "jobs/base/hash.h"
#include "jobs/base/scan.h"
#include "jobs/base/text.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#define TOKEN_PREFIX "cs_"
#define TOKEN_BYTES  32

struct token {
    char name[AUTH_NAME_MAX + 1];
    enum auth_role role;
    uint8_t digest[HASH_SHA256_BYTES];
};

struct tokens {
    struct token *items;
    size_t count;
};

struct auth {
    char *tokens_file;
    bool insecure, loopback_read;
    char *const *hosts;
    size_t host_count;
    const char *advertise;
    struct tokens tokens;
    struct error trouble; /* of the last reload; code 0: none */
    char secret[AUTH_SECRET_MAX], old_secret[AUTH_SECRET_MAX];
    int64_t old_until_ms; /* boot time */
    int64_t begun_ms;     /* likewise */
    bool clustered;
    char session_key[SESSION_KEY_BYTES + 1],
        old_session_key[SESSION_KEY_BYTES + 1]; /* old: until old_until_ms */
    char cookie[AUTH_COOKIE_NAME_SIZE];
};

static const char *const role_names[] = {"nobody", "read", "operate", "admin"};

const char *auth_role_name(enum auth_role role)
{
    return role_names[role];
}

int auth_role_parse(const char *text, enum auth_role *ret)
{
    for (int i = AUTH_READ; i <= AUTH_ADMIN; i++) {
        if (strcmp(text, role_names[i]) == 0) {
            *ret = (enum auth_role)i;
            return 0;
        }
    }
    return ERR_INVALID;
}

static bool token_name_valid(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return n > 0 && n <= AUTH_NAME_MAX && name[n] == '\0';
}

/* ---- the tokens file ---- */

static bool parse_digest(const char *hex, uint8_t ret[HASH_SHA256_BYTES])
{
    if (strlen(hex) != 2 * HASH_SHA256_BYTES)
        return false;
    for (size_t i = 0; i < HASH_SHA256_BYTES; i++) {
        int high = scan_hex(hex[2 * i]), low = scan_hex(hex[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* The next word of the line, cut out in place; NULL at its end. */
static char *next_word(char **at)
{
    static const char blank[] = " \t\r";
    char *word = *at + strspn(*at, blank);
    size_t n = strcspn(word, blank);

    *at = word + n + (word[n] != '\0');
    word[n] = '\0';
    return n > 0 ? word : NULL;
}

/* Blank lines and comments give an empty name. */
static int parse_line(char *line, struct token *ret, struct error *error)
{
    char *name = next_word(&line), *role, *digest;

    if (!name || name[0] == '#')
        return 0;
    role = next_word(&line);
    digest = next_word(&line);
    if (!role || !digest || next_word(&line))
        return error_set(error, ERR_INVALID, "a line is NAME ROLE SHA256-HEX");
    if (!token_name_valid(name))
        return error_set(error, ERR_INVALID,
                         "a name may have letters, digits and ._- only, and up to %d of them", AUTH_NAME_MAX);
    if (auth_role_parse(role, &ret->role) < 0)
        return error_set(error, ERR_INVALID, "the role of '%s' must be read, operate or admin", name);
    if (!parse_digest(digest, ret->digest))
        return error_set(error, ERR_INVALID, "the third word of '%s' is not a SHA-256 in 64 hex digits",
                         name);
    memcpy(ret->name, name, strlen(name) + 1);
    return 0;
}

static int add_token(struct tokens *tokens, const struct token *token, struct error *error)
{
    struct token *grown;

    for (size_t i = 0; i < tokens->count; i++) {
        if (strcmp(tokens->items[i].name, token->name) == 0)
            return error_set(error, ERR_INVALID, "there are two tokens named '%s'", token->name);
        if (memcmp(tokens->items[i].digest, token->digest, HASH_SHA256_BYTES) == 0)
            return error_set(error, ERR_INVALID, "'%s' and '%s' have the same token", tokens->items[i].name,
                             token->name);
    }
    if (tokens->count == AUTH_TOKENS_MAX)
        return error_set(error, ERR_LIMIT, "more than %d tokens", AUTH_TOKENS_MAX);
    grown = realloc(tokens->items, (tokens->count + 1) * sizeof(*grown));
    if (!grown)
        return error_set(error, ERR_NOMEM, "out of memory");
    tokens->items = grown;
    grown[tokens->count++] = *token;
    return 0;
}

/* text is changed. */
static int parse_tokens(char *text, const char *file, struct tokens *ret, struct error *error)
{
    struct tokens tokens = {0};
    int number = 1;

    for (char *line = text, *end; line; line = end, number++) {
        struct token token = {0};
        int r;

        end = strchr(line, '\n');
        if (end)
            *end++ = '\0';
        r = parse_line(line, &token, error);
        if (r == 0 && token.name[0])
            r = add_token(&tokens, &token, error);
        if (r < 0) {
            free(tokens.items);
            error_prefix(error, "%s:%d: ", file, number);
            return r;
        }
    }
    *ret = tokens;
    return 0;
}

/* The file's text for free(). flags: FILE_TRUSTED, or none. */
static int read_file(const char *file, unsigned flags, char **ret, struct error *error)
{
    struct error why;
    size_t n;
    int r = file_read(file, AUTH_FILE_BYTES_MAX, FILE_REGULAR | flags, ret, &n, &why);

    if (r < 0)
        return error_set(error, r == ERR_DENIED ? ERR_DENIED : ERR_IO, "tokens_file '%s': %s", file,
                         why.text);
    if (!memchr(*ret, '\0', n))
        return 0;
    free(*ret);
    return error_set(error, ERR_IO, "tokens_file '%s': not a text file", file);
}

static int read_tokens(const char *file, unsigned flags, struct tokens *ret, struct error *error)
{
    char *text = NULL;
    int r = read_file(file, flags, &text, error);

    if (r < 0)
        return r;
    r = parse_tokens(text, file, ret, error);
    free(text);
    return r;
}

int auth_reload(struct auth *auth, struct error *error)
{
    struct tokens tokens;
    int r;

    if (!auth->tokens_file)
        return 0;
    auth->trouble = (struct error){0};
    r = read_tokens(auth->tokens_file, FILE_TRUSTED, &tokens, &auth->trouble);
    if (r < 0) {
        if (error)
            *error = auth->trouble;
        return r;
    }
    free(auth->tokens.items);
    auth->tokens = tokens;
    return 0;
}

const char *auth_trouble(const struct auth *auth)
{
    return auth->trouble.code < 0 ? auth->trouble.text : NULL;
}

/* ---- a new token ---- */

/* "NAME ROLE DIGEST" behind what the file holds, on a line of its own. */
static int append_line(int fd, const char *line)
{
    char text[AUTH_LINE_SIZE + 2], last = '\n';
    off_t size = lseek(fd, 0, SEEK_END);
    int n;

    if (size > 0 && pread(fd, &last, 1, size - 1) != 1)
        return -1;
    n = snprintf(text, sizeof(text), "%s%s\n", last == '\n' ? "" : "\n", line);
    return write(fd, text, (size_t)n) == n && fsync(fd) == 0 ? 0 : -1;
}

int auth_token_append(const char *file, const char *name, const char *line, struct error *error)
{
    struct tokens tokens = {0};
    int fd, r = 0;

    if (access(file, F_OK) == 0)
        r = read_tokens(file, 0, &tokens, error);
    for (size_t i = 0; r == 0 && i < tokens.count; i++)
        if (strcmp(tokens.items[i].name, name) == 0)
            r = error_set(error, ERR_CONFLICT, "%s: there is a token named '%s' already", file, name);
    if (r == 0 && tokens.count == AUTH_TOKENS_MAX)
        r = error_set(error, ERR_LIMIT, "%s: has %d tokens already", file, AUTH_TOKENS_MAX);
    free(tokens.items);
    if (r < 0)
        return r;
    fd = open(file, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || append_line(fd, line) < 0)
        r = error_set(error, ERR_IO, "%s: %s", file, strerror(errno));
    if (fd >= 0)
        close(fd);
    return r;
}

/* Alone this process has a key of its own, so that its end ends all sessions; replicas have the one of their secret. */
static int sessions_init(struct auth *auth, const struct auth_options *options, struct error *error)
{
    const char *cluster = options->cluster ? options->cluster : "";
    char digest[HASH_SHA256_HEX];
    uint8_t bytes[HASH_SHA256_BYTES];

    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return error_set(error, ERR_IO, "cannot get random bytes: %s", strerror(errno));
    session_key(hash_sha256_hex(bytes, sizeof(bytes), digest), auth->session_key);
    snprintf(auth->cookie, sizeof(auth->cookie), "cronsched-%.8s",
             hash_sha256_hex(cluster, strlen(cluster), digest));
    return 0;
}

int auth_new(struct auth **ret, const struct auth_options *options, struct error *error)
{
    struct auth *auth = calloc(1, sizeof(*auth));
    int r;

    if (!auth)
        return error_set(error, ERR_NOMEM, "out of memory");
    auth->insecure = options->insecure;
    auth->loopback_read = options->loopback_read;
    auth->hosts = options->hosts;
    auth->host_count = options->host_count;
    auth->advertise = options->advertise;
    auth->clustered = options->clustered;
    if (sessions_init(auth, options, error) < 0) {
        free(auth);
        return ERR_IO;
    }
    auth->begun_ms = clock_boot_ms();
    if (options->tokens_file && !(auth->tokens_file = strdup(options->tokens_file))) {
        free(auth);
        return error_set(error, ERR_NOMEM, "out of memory");
    }
    r = auth_reload(auth, error);
    if (r < 0) {
        auth_free(auth);
        return r;
    }
    *ret = auth;
    return 0;
}

void auth_free(struct auth *auth)
{
    if (!auth)
        return;
    free(auth->tokens.items);
    free(auth->tokens_file);
    free(auth);
}

const char *auth_tokens_file(const struct auth *auth)
{
    return auth->tokens_file;
}

size_t auth_token_count(const struct auth *auth)
{
    return auth->tokens.count;
}

bool auth_insecure(const struct auth *auth)
{
    return auth->insecure;
}

bool auth_loopback_reads(const struct auth *auth)
{
    return auth->loopback_read;
}

int auth_token_new(const char *name, enum auth_role role, char ret_token[AUTH_TOKEN_SIZE],
                   char ret_line[AUTH_LINE_SIZE], struct error *error)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char digest[HASH_SHA256_HEX], token[AUTH_TOKEN_SIZE] = TOKEN_PREFIX;
    uint8_t bytes[TOKEN_BYTES + 1] = {
        0}; /* the last one stays 0: 33 bytes are 44 letters, 43 of them count */
    char *at = token + strlen(TOKEN_PREFIX);

    assert(role >= AUTH_READ && role <= AUTH_ADMIN);
    if (!token_name_valid(name))
        return error_set(error, ERR_INVALID,
                         "a token's name may have letters, digits and ._- only, and up to %d of them",
                         AUTH_NAME_MAX);
    if (getrandom(bytes, TOKEN_BYTES, 0) != TOKEN_BYTES)
        return error_set(error, ERR_IO, "cannot get random bytes: %s", strerror(errno));
    for (size_t bit = 0; bit < 43 * 6; bit += 6) {
        unsigned pair = (unsigned)bytes[bit / 8] << 8 |
                        (bit / 8 + 1 < sizeof(bytes) ? bytes[bit / 8 + 1] : 0);

        *at++ = letters[pair >> (10 - bit % 8) & 63];
    }
    *at = '\0';
    memcpy(ret_token, token, sizeof(token));
    snprintf(ret_line, AUTH_LINE_SIZE, "%s %s %s", name, auth_role_name(role),
             hash_sha256_hex(token, strlen(token), digest));
    explicit_bzero(bytes, sizeof(bytes));
    explicit_bzero(token, sizeof(token));
    return 0;
}

/* ---- browsers ---- */

/* Cuts "host:port" or "[host]:port" into its host, lower case is left to the caller. */
static bool host_part(const char *host, char *ret, size_t size)
{
    const char *end = host[0] == '[' ? strchr(host, ']') : host + strcspn(host, ":");
    const char *port;
    size_t n;

    if (!end)
        return false;
    host += host[0] == '[';
    n = (size_t)(end - host);
    port = end + (*end == ']');
    if (n == 0 || n >= size ||
        (*port && (*port != ':' || strspn(port + 1, "0123456789") != strlen(port + 1))))
        return false;
    memcpy(ret, host, n);
    ret[n] = '\0';
    return true;
}

bool auth_host_is_loopback(const char *host)
{
    char name[256];
    struct in6_addr six;
    struct in_addr four;
    size_t n;

    if (!host_part(host, name, sizeof(name)))
        return false;
    if (host[0] == '[')
        return inet_pton(AF_INET6, name, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
    if (inet_pton(AF_INET, name, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    n = strlen(name);
    if (n > 1 && name[n - 1] == '.')
        name[--n] = '\0';
    return strcasecmp(name, "localhost") == 0 || (n > 10 && strcasecmp(name + n - 10, ".localhost") == 0);
}

bool auth_host_is_address(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    char name[256];

    return host_part(host, name, sizeof(name)) &&
           inet_pton(host[0] == '[' ? AF_INET6 : AF_INET, name, address) == 1;
}

/* The host of "http://HOST:PORT", or of "HOST:PORT", is the one of `host`. */
static bool same_host(const char *host, const char *other)
{
    const char *scheme = strstr(other, "://");
    char a[256], b[256];

    return host_part(host, a, sizeof(a)) && host_part(scheme ? scheme + 3 : other, b, sizeof(b)) &&
           strcasecmp(a, b) == 0;
}

/* A name that is neither an address nor known to be this server's may be anybody's that points here. */
static int check_own_host(const struct auth *auth, const struct auth_claim *claim, struct error *error)
{
    if (!claim->host)
        return error_set(error, ERR_DENIED, "a Host header is missing");
    if (auth_host_is_address(claim->host) || auth_host_is_loopback(claim->host))
        return 0;
    if (auth->advertise && same_host(claim->host, auth->advertise))
        return 0;
    for (size_t i = 0; i < auth->host_count; i++)
        if (same_host(claim->host, auth->hosts[i]))
            return 0;
    return error_set(error, ERR_DENIED,
                     "the Host is neither an address nor a name of this server (advertise, allowed_hosts)");
}

bool auth_origin_is_host(const char *origin, const char *host, bool tls)
{
    const char *scheme = tls ? "https://" : "http://";
    size_t n = strlen(scheme);

    return strncasecmp(origin, scheme, n) == 0 && strcasecmp(origin + n, host) == 0;
}

/* The page that made a browser send this request is ours, or there is none. Following a link to our page is
 * harmless wherever the link was. */
static int check_not_foreign(const struct auth_claim *claim, struct error *error)
{
    const char *site = claim->fetch_site;

    if (claim->origin && (!claim->host || !auth_origin_is_host(claim->origin, claim->host, claim->tls)))
        return error_set(error, ERR_DENIED, "requests from pages of other sites (Origin) are refused");
    if (!site || strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0)
        return 0;
    if (claim->safe && claim->fetch_mode && strcmp(claim->fetch_mode, "navigate") == 0 && claim->fetch_dest &&
        strcmp(claim->fetch_dest, "document") == 0 && !claim->origin)
        return 0;
    return error_set(error, ERR_DENIED, "requests from pages of other sites (Sec-Fetch-Site) are refused");
}

/* ---- who is calling ---- */

static const struct token *find_token(const struct auth *auth, const char *text, size_t n)
{
    uint8_t digest[HASH_SHA256_BYTES];
    const struct token *found = NULL;

    hash_sha256(text, n, digest);
    for (size_t i = 0; i < auth->tokens.count;
         i++) /* all of them, whatever was found: its time reveals nothing */
        if (CRYPTO_memcmp(auth->tokens.items[i].digest, digest, sizeof(digest)) == 0)
            found = &auth->tokens.items[i];
    return found;
}

/* Names the token as long as its line stands; never 0. */
static uint64_t token_number(const struct token *token)
{
    uint64_t number;

    memcpy(&number, token->digest, sizeof(number));
    return number ? number : 1;
}

bool auth_still(const struct auth *auth, const struct auth_identity *who, enum auth_role role)
{
    for (size_t i = 0; who->token && i < auth->tokens.count; i++)
        if (token_number(&auth->tokens.items[i]) == who->token)
            return auth->tokens.items[i].role >= role;
    return !who->token;
}

static int by_token(const struct auth *auth, const char *authorization, struct auth_identity *ret,
                    struct error *error)
{
    static const char scheme[] = "Bearer ";
    const struct token *token;
    const char *text;

    ret->challenge = true;
    if (strncasecmp(authorization, scheme, strlen(scheme)) != 0)
        return error_set(error, ERR_DENIED, "the Authorization header must be 'Bearer TOKEN'");
    text = authorization + strlen(scheme);
    text += strspn(text, " ");
    token = find_token(auth, text, strlen(text));
    if (!token)
        return error_set(error, ERR_DENIED,
                         auth->tokens_file ? "the token is unknown"
                                           : "a token was sent, but this server has no tokens_file");
    ret->challenge = false;
    ret->role = token->role;
    ret->token = token_number(token);
    ret->via = "token";
    snprintf(ret->name, sizeof(ret->name), "token:%s", token->name);
    return 0;
}

static bool is_owner(const struct auth_peer *peer)
{
    return peer->uid_known && (peer->uid == 0 || peer->uid == geteuid());
}

/* Authority that comes with the place a request comes from, not with something it shows. */
static int by_loopback(const struct auth_claim *claim, struct auth_identity *ret, struct error *error)
{
    int r;

    if (claim->forwarded)
        return error_set(error, ERR_DENIED, "requests that come through a proxy need a token");
    if (!claim->host || !auth_host_is_loopback(claim->host))
        return error_set(error, ERR_DENIED,
                         "the Host is not a name of this machine, such as localhost or 127.0.0.1");
    r = check_not_foreign(claim, error);
    if (r < 0)
        return r;
    ret->role = AUTH_READ;
    ret->via = "loopback";
    return 0;
}

/* `insecure: true`: whoever gets here is admin, but not the page of another site in somebody's browser. */
static int by_insecure(const struct auth *auth, const struct auth_claim *claim, struct auth_identity *ret,
                       struct error *error)
{
    int r = check_own_host(auth, claim, error);

    if (r == 0)
        r = check_not_foreign(claim, error);
    if (r == 0)
        ret->role = AUTH_ADMIN;
    ret->via = "insecure";
    return r;
}

void auth_set_secret(struct auth *auth, const char *secret)
{
    memcpy(auth->old_session_key, auth->session_key, sizeof(auth->session_key));
    if (secret && secret[0])
        session_key(secret, auth->session_key);
    if (auth->secret[0]) {
        memcpy(auth->old_secret, auth->secret, sizeof(auth->secret));
        auth->old_until_ms = clock_boot_ms() + AUTH_SECRET_BOTH_MS;
    }
    snprintf(auth->secret, sizeof(auth->secret), "%s", secret ? secret : "");
}

static bool is_secret(const char *secret, const char *shown)
{
    size_t n = strlen(secret);

    return n > 0 && strlen(shown) == n && CRYPTO_memcmp(shown, secret, n) == 0;
}

/* Compared in a time that does not depend on what was shown. */
static bool shows_secret(const struct auth *auth, const char *authorization)
{
    const char *shown = strncasecmp(authorization, "Bearer ", 7) == 0 ? authorization + 7 : "";

    return is_secret(auth->secret, shown) ||
           (is_secret(auth->old_secret, shown) && clock_boot_ms() < auth->old_until_ms);
}

/* Another replica forwards a request of a caller whom it has identified. */
static int by_replica(const struct auth_claim *claim, struct auth_identity *ret, struct error *error)
{
    const char *name = claim->acting ? strchr(claim->acting, ' ') : NULL;
    char role[16];

    ret->replica = true;
    ret->via = "replica";
    ret->role = AUTH_ADMIN;
    snprintf(ret->name, sizeof(ret->name), "replica");
    if (!claim->acting)
        return 0;
    snprintf(role, sizeof(role), "%.*s", name ? (int)(name - claim->acting) : 0, claim->acting);
    if (!name || auth_role_parse(role, &ret->role) < 0)
        return error_set(error, ERR_DENIED, "Cronsched-Acting must be 'ROLE NAME'");
    snprintf(ret->name, sizeof(ret->name), "%s", name + 1);
    return 0;
}

static enum auth_role unix_role(const struct auth_peer *peer)
{
    if (is_owner(peer))
        return AUTH_ADMIN;
    return peer->in_group ? AUTH_OPERATE : AUTH_READ;
}

/* A name that is no public one: a proxy that passes requests of the network on to the socket passes on their names. */
static bool host_is_local(const char *host)
{
    char name[256];

    return !host || auth_host_is_loopback(host) ||
           (host_part(host, name, sizeof(name)) && host[0] != '[' && !strchr(name, '.'));
}

static int by_unix(const struct auth_peer *peer, const struct auth_claim *claim, struct auth_identity *ret,
                   struct error *error)
{
    int r;

    if (claim->forwarded || !host_is_local(claim->host))
        return error_set(error, ERR_DENIED, "requests that come through a proxy need a token");
    r = check_not_foreign(claim, error);
    if (r == 0)
        ret->role = unix_role(peer);
    ret->via = "unix";
    return r;
}

static bool is_early(const struct auth *auth)
{
    return auth->clustered && !auth->secret[0] && clock_boot_ms() < auth->begun_ms + AUTH_SECRET_EARLY_MS;
}

/* ---- sessions ---- */

int auth_by_token(const struct auth *auth, const char *text, struct auth_identity *ret, struct error *error)
{
    const struct token *token = find_token(auth, text, strlen(text));

    *ret = (struct auth_identity){.role = AUTH_NOBODY, .challenge = true};
    if (!token)
        return error_set(error, ERR_DENIED,
                         auth->tokens_file ? "the token is unknown" : "this server has no tokens_file");
    *ret = (struct auth_identity){.role = token->role, .token = token_number(token), .via = "token"};
    snprintf(ret->name, sizeof(ret->name), "token:%s", token->name);
    return 0;
}

/* With TLS a cookie that no neighbour can set, and that goes nowhere without it. */
static const char *cookie_name(const struct auth *auth, bool tls, char ret[AUTH_COOKIE_NAME_SIZE + 8])
{
    snprintf(ret, AUTH_COOKIE_NAME_SIZE + 8, "%s%s", tls ? "__Host-" : "", auth->cookie);
    return ret;
}

static const char *set_cookie(const struct auth *auth, const char *value, long life_s, bool tls, char *ret,
                              size_t size)
{
    char name[AUTH_COOKIE_NAME_SIZE + 8];

    snprintf(ret, size, "%s=%s; Path=/; Max-Age=%ld; HttpOnly; SameSite=Lax%s", cookie_name(auth, tls, name),
             value, life_s, tls ? "; Secure" : "");
    return ret;
}

const char *auth_session_begin(const struct auth *auth, const struct auth_identity *who, bool tls, char *ret,
                               size_t size)
{
    int64_t now_s = clock_wall_ms() / 1000;
    struct session session = {
        .role = who->role, .token = who->token, .issued_s = now_s, .expires_s = now_s + SESSION_LIFE_S};
    char value[SESSION_COOKIE_SIZE];

    memcpy(session.name, who->name, sizeof(session.name));
    return set_cookie(auth, session_seal(&session, auth->session_key, value), SESSION_LIFE_S, tls, ret, size);
}

const char *auth_session_end(const struct auth *auth, bool tls, char *ret, size_t size)
{
    return set_cookie(auth, "", 0, tls, ret, size);
}

int auth_check_page(const struct auth_claim *claim, struct error *error)
{
    const char *origin = claim->origin, *host = claim->host ? claim->host : "";
    bool ours = origin &&
                (auth_origin_is_host(origin, host, claim->tls) ||
                 (claim->forwarded && auth_origin_is_host(origin, host, true))); /* a proxy had the TLS */

    if (origin && !ours)
        return error_set(error, ERR_DENIED,
                         "the page that sent this is of %.100s, and this server is reached as %s%.100s: a "
                         "proxy has to pass on the Host",
                         origin, claim->tls ? "https://" : "http://", host);
    if (claim->fetch_site ? strcmp(claim->fetch_site, "same-origin") == 0 : ours)
        return 0;
    if (claim->safe && !origin)
        return 0; /* a link, wherever it was: it changes nothing */
    return error_set(error, ERR_DENIED, "this was not sent by a page of this server");
}

/* False: there is no cookie, or none that is good now; then the caller is known in another way, or not at all. */
static bool by_session(const struct auth *auth, const struct auth_claim *claim, struct auth_identity *ret)
{
    char name[AUTH_COOKIE_NAME_SIZE + 8], value[SESSION_COOKIE_SIZE];
    int64_t now_s = clock_wall_ms() / 1000;
    const char *cookie = http_cookie(claim->cookie, cookie_name(auth, true, name), value, sizeof(value));
    struct session session;

    cookie = cookie ? cookie
                    : http_cookie(claim->cookie, cookie_name(auth, false, name), value, sizeof(value));
    if (!cookie)
        return false;
    if (session_open(&session, cookie, auth->session_key, now_s) < 0 &&
        (clock_boot_ms() >= auth->old_until_ms ||
         session_open(&session, cookie, auth->old_session_key, now_s) < 0))
        return false;
    *ret = (struct auth_identity){
        .role = session.role, .token = session.token, .via = "session", .expires_s = session.expires_s};
    memcpy(ret->name, session.name, sizeof(ret->name));
    return auth_still(auth, ret, session.role);
}

int auth_identify(const struct auth *auth, const struct auth_peer *peer, const struct auth_claim *claim,
                  struct auth_identity *ret, struct error *error)
{
    *ret = (struct auth_identity){.role = AUTH_NOBODY};
    memcpy(ret->name, peer->name, sizeof(ret->name));
    if (claim->authorization && shows_secret(auth, claim->authorization))
        return by_replica(claim, ret, error);
    if (claim->authorization) {
        ret->early = is_early(auth);
        return by_token(auth, claim->authorization, ret, error);
    }
    if (by_session(auth, claim, ret)) {
        if (auth_check_page(claim, error) < 0)
            ret->role = AUTH_NOBODY;
        return ret->role > AUTH_NOBODY ? 0 : ERR_DENIED;
    }
    *ret = (struct auth_identity){.role = AUTH_NOBODY};
    memcpy(ret->name, peer->name, sizeof(ret->name));
    if (peer->via == AUTH_VIA_UNIX)
        return by_unix(peer, claim, ret, error);
    if (auth->insecure && !auth->tokens_file)
        return by_insecure(auth, claim, ret, error);
    if (auth->loopback_read && peer->via == AUTH_VIA_LOOPBACK)
        return by_loopback(claim, ret, error);
    if (auth->tokens_file) {
        ret->challenge = true;
        return error_set(error, ERR_DENIED, "this server needs a token (Authorization: Bearer TOKEN)");
    }
    return error_set(error, ERR_DENIED,
                     "this server has no tokens_file: over TCP it serves nobody, use its unix socket");
}

int auth_check_listen(const struct auth *auth, const char *address, bool beyond_loopback, bool tls,
                      struct error *error)
{
    const char *needs = "tls", *danger = "read the tokens on their way";

    if (!beyond_loopback || auth->insecure || (auth->tokens_file && tls))
        return 0;
    if (!auth->tokens_file) {
        needs = tls ? "a tokens_file" : "a tokens_file and tls";
        danger = "run anything here";
    }
    return error_set(
        error, ERR_DENIED,
        "listen: '%s' can be reached from other machines: this needs %s (or 'insecure: true', which lets "
        "everybody who can reach it %s)",
        address, needs, danger);
}
