/* Shapes of the keys that confine a container or widen what it may: as Compose writes them, and nothing that an engine
 * would read in another way than people do. */
#include "jobs/definition/job_keys.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#define ID_MAX                                                                                               \
    INT64_C(2147483647) /* a larger number may wrap in an engine, to root for one (CVE-2024-40635) */
#define ID_CHARS 10

static const char digits[] = "0123456789";
static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";

/* ---- who ---- */

/* A name, or a number that every engine reads as the same number. */
static bool is_account(const char *s, size_t n)
{
    size_t number = strspn(s, digits);
    int64_t value = 0;

    if (n == 0)
        return false;
    if (s[0] == '-' || s[0] == '+')
        return false;
    if (!isdigit((unsigned char)s[0]))
        return true;
    if (number < n) /* "1x", which one may read as 1 and another as a name */
        return false;
    for (size_t i = 0; i < n && n <= ID_CHARS; i++)
        value = value * 10 + (s[i] - '0');
    return n <= ID_CHARS && value <= ID_MAX;
}

int job_check_user(const char *text, struct error *error)
{
    const char *colon = strchr(text, ':');
    int r = job_check_word(text, error);

    if (r < 0)
        return r;
    if (!is_account(text, colon ? (size_t)(colon - text) : strlen(text)) ||
        (colon && (strchr(colon + 1, ':') || !is_account(colon + 1, strlen(colon + 1)))))
        return error_set(error, ERR_INVALID,
                         "'%.80s' must be USER or USER:GROUP: names, or numbers up to 2147483647", text);
    return 0;
}

int job_check_group(const char *text, struct error *error)
{
    int r = job_check_word(text, error);

    if (r == 0 && (strchr(text, ':') || !is_account(text, strlen(text))))
        r = error_set(error, ERR_INVALID, "'%.80s' must be a group: a name, or a number up to 2147483647",
                      text);
    return r;
}

/* ---- what it may ---- */

int job_check_capability(const char *text, struct error *error)
{
    if (strspn(text, letters) < strlen(text) || strcasecmp(text, "CAP_") == 0 ||
        isdigit((unsigned char)text[0]))
        return error_set(error, ERR_INVALID, "'%.60s' must be a capability such as NET_ADMIN, or ALL", text);
    return 0;
}

int job_check_security_opt(const char *text, struct error *error)
{
    static const struct {
        const char *name, *values; /* separated by blanks; NULL: any word */
        bool alone;
    } options[] = {
        {"no-new-privileges", "true false", true},
        {"seccomp", "unconfined builtin", false},
        {"apparmor", NULL, false},
        {"label", NULL, false},
    };
    size_t n = strcspn(text, "=:");
    const char *value = text[n] ? text + n + 1 : NULL;
    int r = job_check_word(text, error);

    if (r < 0)
        return r;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        const char *among = options[i].values, *at = value && among ? strstr(among, value) : NULL;

        if (strlen(options[i].name) != n || strncmp(text, options[i].name, n) != 0)
            continue;
        if ((!value && options[i].alone) || (value && *value && !among) ||
            (at && *value && (at == among || at[-1] == ' ') &&
             (!at[strlen(value)] || at[strlen(value)] == ' ')))
            return 0;
        if (among)
            return error_set(error, ERR_INVALID, "'%.200s': %s is one of these: %s", text, options[i].name,
                             among);
        return error_set(error, ERR_INVALID, "'%.200s' must be %s=VALUE", text, options[i].name);
    }
    return error_set(
        error, ERR_INVALID,
        "'%.200s' must be no-new-privileges, seccomp=unconfined, apparmor=PROFILE or label=OPTION", text);
}

int job_check_device(const char *text, struct error *error)
{
    const char *target = strchr(text, ':'), *mode = target ? strchr(target + 1, ':') : NULL;
    int r = job_check_line(text, error);

    if (r < 0)
        return r;
    if (text[0] != '/' || (target && target[1] != '/') ||
        (mode && (!mode[1] || strspn(mode + 1, "rwm") < strlen(mode + 1))))
        return error_set(error, ERR_INVALID,
                         "'%.200s' must be /dev/SOURCE, /dev/SOURCE:/dev/TARGET or with :rwm behind", text);
    return 0;
}

int job_check_ulimit(const char *name, struct error *error)
{
    static const char *const known[] = {"core",    "cpu",      "data",   "fsize",      "locks",
                                        "memlock", "msgqueue", "nice",   "nofile",     "nproc",
                                        "rss",     "rtprio",   "rttime", "sigpending", "stack"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i], name) == 0)
            return 0;
    return error_set(error, ERR_INVALID, "'%.40s' is not a limit such as nofile or nproc", name);
}

/* ---- what it sees ---- */

int job_check_tmpfs(const char *text, struct error *error)
{
    const char *options = strchr(text, ':');

    if (text[0] != '/' || !text[1] || text[1] == ':' || (options && !options[1]))
        return error_set(error, ERR_INVALID, "'%.200s' must be /TARGET or /TARGET:OPTIONS", text);
    return job_check_word(text, error);
}

static bool is_host(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !(i > 0 && i + 1 < n && strchr("-_.", s[i])))
            return false;
    return n > 0;
}

int job_check_hostname(const char *text, struct error *error)
{
    if (!is_host(text, strlen(text)))
        return error_set(error, ERR_INVALID, "'%.63s' is not a host's name", text);
    return 0;
}

int job_check_address(const char *text, struct error *error)
{
    unsigned char address[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1)
        return 0;
    return error_set(error, ERR_INVALID, "'%.64s' is not an IP address", text);
}

/* NAME:ADDRESS or NAME=ADDRESS; the engine's own word host-gateway is one, too. */
int job_check_extra_host(const char *text, struct error *error)
{
    size_t n = strcspn(text, ":="), size = text[n] ? strlen(text + n + 1) : 0;
    const char *address = text + n + (size > 0);
    char bare[64];

    if (size > 2 && address[0] == '[' && address[size - 1] == ']') {
        address++;
        size -= 2;
    }
    if (!is_host(text, n) || size == 0 || size >= sizeof(bare))
        return error_set(error, ERR_INVALID, "'%.200s' must be NAME:ADDRESS", text);
    memcpy(bare, address, size);
    bare[size] = '\0';
    if (strcmp(bare, "host-gateway") == 0)
        return 0;
    return job_check_address(bare, error);
}

int job_check_signal(const char *text, struct error *error)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-");
    bool number = strspn(text, digits) == strlen(text);

    if (text[n] || (number ? strlen(text) > 2 || text[0] == '0' : strncmp(text, "SIG", 3) != 0 || !text[3]))
        return error_set(error, ERR_INVALID, "'%.16s' must be a signal such as SIGINT, or its number", text);
    return 0;
}
