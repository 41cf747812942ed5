/* The plain values of the configuration: one table feeds the file's reader, flags, environment and manual.
 * Engines and pools, which only a file can hold, are in config_file.c. */
#include "cronsched/config/config_keys.h"

#include "cronsched/io/log.h"
#include "jobs/base/alloc.h"
#include "jobs/base/byte_size.h"
#include "jobs/base/duration.h"
#include "jobs/base/path.h"

#include <ctype.h>
#include <grp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the table ---- */

/* key in the file, flag, kind, field, argument, default, help */
#define CONFIG_KEYS(X)                                                                                       \
    X("cluster", "cluster", NAME, cluster, "NAME", "default", "name of the cluster")                         \
    X("data_dir", "data-dir", PATH, data_dir, "DIR", NULL, "folder for history, logs and the socket")        \
    X("listen", "listen", LISTEN, listen, "ADDRESS", NULL,                                                   \
      "where to serve: unix:PATH or HOST:PORT; several may be given")                                        \
    X("socket_group", "socket-group", GROUP, socket_group, "GROUP", NULL,                                    \
      "group of the unix socket: its members may operate (default the server's own)")                        \
    X("socket_mode", "socket-mode", MODE, socket_mode, "OCTAL", "0660",                                      \
      "mode of the unix socket; 0666 lets every user of this machine read")                                  \
    X("loopback", "loopback", LOOPBACK, loopback_read, "none|read", "none",                                  \
      "what everybody on this machine may do over TCP without a token")                                      \
    X("advertise", "advertise", URL, advertise, "URL", NULL,                                                 \
      "URL under which other replicas reach this one")                                                       \
    X("zookeeper", "zookeeper", ZOOKEEPER, zookeeper, "HOSTS", NULL,                                         \
      "the ZooKeeper ensemble, HOST:PORT,...[/CHROOT]; without it the journal is in the data folder")        \
    X("zookeeper_auth_file", "zookeeper-auth-file", PATH, zookeeper_auth_file, "FILE", NULL,                 \
      "file with USER:PASSWORD on a line: only this user can access the cluster's nodes")                    \
    X("replica", "replica", NAME, replica, "ID", NULL,                                                       \
      "id of this replica, unique in the cluster (default the host's name)")                                 \
    X("cluster_id", "cluster-id", UUID, cluster_id, "UUID", NULL,                                            \
      "the cluster that this replica may join without being asked; also the id of a new one")                \
    X("init", "init", BOOL, init, NULL, "false",                                                             \
      "make the cluster if ZooKeeper holds none and none is known here")                                     \
    X("session_timeout", "session-timeout", DURATION, session_timeout_ms, "DURATION", "10s",                 \
      "time after which a silent replica counts as dead")                                                    \
    X("expected_replicas", "expected-replicas", COUNT, expected_replicas, "N", NULL,                         \
      "how many replicas there are to be; with fewer doctor and readyz say so")                              \
    X("default_engine", "default-engine", NAME, default_engine, "NAME", NULL,                                \
      "engine of jobs that name none")                                                                       \
    X("files_dir", "files-dir", FOLDER, files_dir, "DIR", NULL,                                              \
      "folder that files of variables (from_file) must lie below, for all engines")                          \
    X("tokens_file", "tokens-file", PATH, tokens_file, "FILE", NULL,                                         \
      "tokens and their roles, see 'cronsched token'")                                                       \
    X("tls.cert", "tls-cert", PATH, tls_cert, "FILE", NULL, "certificate for https")                         \
    X("tls.key", "tls-key", PATH, tls_key, "FILE", NULL, "its key")                                          \
    X("tls.ca", "tls-ca", PATH, tls_ca, "FILE", NULL,                                                        \
      "CA certificates to verify other replicas; no others are trusted (default the system's)")              \
    X("insecure", "insecure", BOOL, insecure, NULL, "false",                                                 \
      "serve other machines without tokens or without TLS")                                                  \
    X("allowed_hosts", "allowed-host", HOSTS, allowed_hosts, "NAME", NULL,                                   \
      "name of this server in requests under insecure; several may be given")                                \
    X("resolve_within", "resolve-within", DURATION, resolve_within_ms, "DURATION", "1h",                     \
      "how long a run stays unresolved while its engine does not answer, before it counts as lost")          \
    X("late_grace", "late-grace", DURATION, late_grace_ms, "DURATION", "60s",                                \
      "how late a run may start before catch_up applies")                                                    \
    X("max_state", "max-state", SIZE, max_state_bytes, "SIZE", "64m",                                        \
      "size of the live state; what would make it larger is refused")                                        \
    X("metrics_jobs", "metrics-jobs", JOBS, metrics_jobs, "N", "1000",                                       \
      "how many jobs have metrics of their own, the first by name")                                          \
    X("log", "log", LOG, log, "human|json", NULL,                                                            \
      "form of the log (default human on a terminal, else json)")                                            \
    X("log_level", "log-level", LOG_LEVEL, log_level, "error|warning|info|debug", "info",                    \
      "what is logged: lines of this level and of more weight")

const struct config_key config_keys[] = {
#define X(key, flag, kind, field, arg, fallback, help)                                                       \
    {key, flag, CONFIG_KIND_##kind, offsetof(struct config, field), arg, fallback, help},
    CONFIG_KEYS(X)
#undef X
};
const size_t config_key_count = sizeof(config_keys) / sizeof(config_keys[0]);

const struct verb_option config_options[] = {
    {"config", 'c', "FILE", "read this file (also CRONSCHED_CONFIG)"},
    {"check", 0, NULL, "check the configuration and the files that it names, and leave"},
#define X(key, flag, kind, field, arg, fallback, help)                                                       \
    {flag, 0, arg, help, CONFIG_KIND_##kind == CONFIG_KIND_LISTEN || CONFIG_KIND_##kind == CONFIG_KIND_HOSTS},
    CONFIG_KEYS(X)
#undef X
        {0}};

/* "tls.cert" to "CRONSCHED_TLS_CERT" */
const char *config_key_variable(const char *key, char *buffer, size_t size)
{
    snprintf(buffer, size, "CRONSCHED_%s", key);
    for (char *p = buffer; *p; p++)
        *p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
    return buffer;
}

bool config_key_text(size_t i, struct config_key_text *ret)
{
    static char variable[64];

    if (i >= config_key_count)
        return false;
    *ret = (struct config_key_text){
        .key = config_keys[i].key,
        .flag = config_keys[i].flag,
        .variable = config_key_variable(config_keys[i].key, variable, sizeof(variable)),
        .arg = config_keys[i].arg,
        .help = config_keys[i].help,
        .fallback = config_keys[i].fallback,
    };
    return true;
}

/* ---- checks of single values ---- */

bool config_name_valid(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > CONFIG_NAME_MAX || !isalnum((unsigned char)name[0]))
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

bool config_host_port_valid(const char *s, size_t n, long least_port)
{
    const char *colon = memrchr(s, ':', n);
    char port[8];
    char *end;
    long value;
    size_t digits;

    if (!colon || colon == s)
        return false;
    if (memchr(s, ':', (size_t)(colon - s)) && (s[0] != '[' || colon[-1] != ']'))
        return false;
    digits = n - (size_t)(colon + 1 - s);
    if (digits == 0 || digits >= sizeof(port) || strspn(colon + 1, "0123456789") < digits)
        return false;
    memcpy(port, colon + 1, digits);
    port[digits] = '\0';
    value = strtol(port, &end, 10);
    return !*end && value >= least_port && value <= 65535;
}

static int check_path(const char *s, struct error *error)
{
    return *s ? 0 : error_set(error, ERR_INVALID, "an empty path");
}

static int check_folder(const char *s, struct error *error)
{
    if (path_is_straight(s))
        return 0;
    return error_set(error, ERR_INVALID, "'%s' is not an absolute path without empty parts, . and ..", s);
}

static int check_listen(const char *s, struct error *error)
{
    if (strncmp(s, "unix:", 5) == 0) {
        if (s[5] == '/' && strlen(s + 5) < 108)
            return 0;
        return error_set(error, ERR_INVALID, "'%s' has no absolute path of up to 107 bytes", s);
    }
    if (!config_host_port_valid(s, strlen(s), 0))
        return error_set(error, ERR_INVALID, "'%s' is neither unix:/PATH nor HOST:PORT", s);
    return 0;
}

static int check_url(const char *s, struct error *error)
{
    const char *host = NULL;

    if (strncmp(s, "http://", 7) == 0)
        host = s + 7;
    else if (strncmp(s, "https://", 8) == 0)
        host = s + 8;
    if (!host || !*host || strpbrk(host, " /?#@"))
        return error_set(error, ERR_INVALID, "'%s' is not http://HOST:PORT or https://HOST:PORT", s);
    return 0;
}

static int check_zookeeper(const char *s, struct error *error)
{
    size_t hosts = strcspn(s, "/");

    for (size_t at = 0;; at++) {
        size_t n = strcspn(s + at, ",/");

        if (!config_host_port_valid(s + at, n, 1))
            return error_set(error, ERR_INVALID, "'%.*s' is not HOST:PORT", (int)n, s + at);
        at += n;
        if (at >= hosts)
            break;
    }
    if (s[hosts] && (!s[hosts + 1] || s[strlen(s) - 1] == '/' || strstr(s, "//")))
        return error_set(error, ERR_INVALID, "'%s' is not a valid path", s + hosts);
    return 0;
}

/* As 'uuidgen' prints it; kept in lower case. */
static int check_uuid(const char *s, struct error *error)
{
    static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    bool good = strlen(s) == sizeof(shape) - 1;

    for (size_t i = 0; good && i < sizeof(shape) - 1; i++)
        good = shape[i] == 'x' ? isxdigit((unsigned char)s[i]) != 0 : s[i] == '-';
    return good ? 0 : error_set(error, ERR_INVALID, "'%s' is not a UUID such as 'uuidgen' prints", s);
}

static int parse_bool(const char *s, bool *ret, struct error *error)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"false", false}, {"no", false}, {"off", false}, {"0", false},
                 {"true", true},   {"yes", true}, {"on", true},   {"1", true}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasecmp(s, words[i].word) == 0) {
            *ret = words[i].value;
            return 0;
        }
    return error_set(error, ERR_INVALID, "'%s' is neither true nor false", s);
}

/* ---- setting a value ---- */

static void replace_text(char **at, const char *value)
{
    char *copy = alloc_text(value);

    free(*at);
    *at = copy;
}

bool config_kind_is_list(enum config_kind kind)
{
    return kind == CONFIG_KIND_LISTEN || kind == CONFIG_KIND_HOSTS;
}

void config_clear_list(struct config *config, enum config_kind kind)
{
    char **items = kind == CONFIG_KIND_LISTEN ? config->listen : config->allowed_hosts;
    size_t *count = kind == CONFIG_KIND_LISTEN ? &config->listen_count : &config->allowed_host_count;

    while (*count > 0) {
        --*count;
        free(items[*count]);
        items[*count] = NULL;
    }
}

int config_add_listen(struct config *config, const char *value, struct error *error)
{
    int r = check_listen(value, error);

    if (r < 0)
        return r;
    if (config->listen_count == CONFIG_LISTEN_MAX)
        return error_set(error, ERR_LIMIT, "more than %d addresses", CONFIG_LISTEN_MAX);
    if (!config->listen)
        config->listen = alloc_zero(CONFIG_LISTEN_MAX * sizeof(*config->listen));
    replace_text(&config->listen[config->listen_count++], value);
    return 0;
}

static int add_host(struct config *config, const char *value, struct error *error)
{
    if (!*value || strpbrk(value, "/ :@"))
        return error_set(error, ERR_INVALID, "'%s' is not the name of a host", value);
    if (config->allowed_host_count == CONFIG_HOSTS_MAX)
        return error_set(error, ERR_LIMIT, "more than %d names", CONFIG_HOSTS_MAX);
    if (!config->allowed_hosts)
        config->allowed_hosts = alloc_zero(CONFIG_HOSTS_MAX * sizeof(*config->allowed_hosts));
    replace_text(&config->allowed_hosts[config->allowed_host_count++], value);
    return 0;
}

/* A name of this machine's groups, or a number. */
static int parse_group(const char *value, gid_t *ret, struct error *error)
{
    const struct group *group = getgrnam(value);
    size_t digits = strspn(value, "0123456789");

    if (group)
        *ret = group->gr_gid;
    else if (digits > 0 && digits < 10 && !value[digits])
        *ret = (gid_t)strtoul(value, NULL, 10);
    else
        return error_set(error, ERR_INVALID, "there is no group '%s' on this machine", value);
    return 0;
}

static int parse_mode(const char *value, mode_t *ret, struct error *error)
{
    char *end;
    unsigned long mode = strtoul(value, &end, 8);

    if (*end || value[0] < '0' || value[0] > '7' || (mode & ~0666UL) != 0 || (mode & 0600) != 0600)
        return error_set(error, ERR_INVALID, "'%s' is not an octal mode such as 0660: 06, and 0 to 6 twice",
                         value);
    *ret = (mode_t)mode;
    return 0;
}

static int parse_loopback(const char *value, bool *ret, struct error *error)
{
    if (strcmp(value, "none") != 0 && strcmp(value, "read") != 0)
        return error_set(error, ERR_INVALID, "'%s' is neither none nor read", value);
    *ret = *value == 'r';
    return 0;
}

static int parse_log(const char *value, enum config_log *ret, struct error *error)
{
    if (strcmp(value, "human") != 0 && strcmp(value, "json") != 0)
        return error_set(error, ERR_INVALID, "'%s' is neither human nor json", value);
    *ret = *value == 'h' ? CONFIG_LOG_HUMAN : CONFIG_LOG_JSON;
    return 0;
}

static int parse_positive(const char *value, enum config_kind kind, int64_t *ret, struct error *error)
{
    int64_t n;
    int r = kind == CONFIG_KIND_SIZE ? byte_size_parse(value, &n, error) : duration_parse(value, &n, error);

    if (r < 0)
        return r;
    if (n <= 0)
        return error_set(error, ERR_INVALID, "must be above zero");
    *ret = n;
    return 0;
}

static int parse_count(const char *value, int most, int *ret, struct error *error)
{
    char *end;
    long n = strtol(value, &end, 10);

    if (*end || end == value || n < 1 || n > most)
        return error_set(error, ERR_INVALID, "'%s' is not a number from 1 to %d", value, most);
    *ret = (int)n;
    return 0;
}

/* What takes its field alone. */
static int parse_plain(const char *value, enum config_kind kind, void *field, struct error *error)
{
    switch (kind) {
    case CONFIG_KIND_BOOL:
        return parse_bool(value, field, error);
    case CONFIG_KIND_COUNT:
        return parse_count(value, CONFIG_COUNT_MAX, field, error);
    case CONFIG_KIND_JOBS:
        return parse_count(value, CONFIG_JOBS_MAX, field, error);
    case CONFIG_KIND_GROUP:
        return parse_group(value, field, error);
    case CONFIG_KIND_MODE:
        return parse_mode(value, field, error);
    case CONFIG_KIND_LOOPBACK:
        return parse_loopback(value, field, error);
    case CONFIG_KIND_LOG:
        return parse_log(value, field, error);
    case CONFIG_KIND_LOG_LEVEL:
        if (log_level_parse(value, field))
            return 0;
        return error_set(error, ERR_INVALID, "'%s' is none of error, warning, info and debug", value);
    default:
        return ERR_INTERNAL;
    }
}

int config_set_value(struct config *config, const struct config_key *key, const char *value,
                     struct error *error)
{
    void *field = (char *)config + key->offset;
    int r = 0;

    switch (key->kind) {
    case CONFIG_KIND_NAME:
        if (!config_name_valid(value))
            return error_set(
                error, ERR_INVALID,
                "'%s' is not a name: up to %d letters, digits, '-', '_' and '.', a letter or digit first",
                value, CONFIG_NAME_MAX);
        replace_text(field, value);
        return 0;
    case CONFIG_KIND_PATH:
    case CONFIG_KIND_FOLDER:
        r = key->kind == CONFIG_KIND_PATH ? check_path(value, error) : check_folder(value, error);
        if (r == 0)
            replace_text(field, value);
        return r;
    case CONFIG_KIND_LISTEN:
        return config_add_listen(config, value, error);
    case CONFIG_KIND_HOSTS:
        return add_host(config, value, error);
    case CONFIG_KIND_URL:
    case CONFIG_KIND_ZOOKEEPER:
        r = key->kind == CONFIG_KIND_URL ? check_url(value, error) : check_zookeeper(value, error);
        if (r == 0)
            replace_text(field, value);
        return r;
    case CONFIG_KIND_UUID:
        r = check_uuid(value, error);
        if (r < 0)
            return r;
        replace_text(field, value);
        for (char *c = *(char **)field; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        return 0;
    case CONFIG_KIND_DURATION:
    case CONFIG_KIND_SIZE:
        return parse_positive(value, key->kind, field, error);
    default:
        return parse_plain(value, key->kind, field, error);
    }
}

/* ---- from the file ---- */

void config_fault_at(struct config_reader *reader, int line, int column, const char *text)
{
    if (++reader->faults > CONFIG_ERRORS_MAX)
        return;
    if (reader->faults == CONFIG_ERRORS_MAX)
        text_addf(reader->errors, "%s: error: too many errors\n", reader->file);
    else if (line > 0)
        text_addf(reader->errors, "%s:%d:%d: error: %s\n", reader->file, line, column, text);
    else
        text_addf(reader->errors, "%s: error: %s\n", reader->file, text);
}

void config_fault(struct config_reader *reader, const struct yaml_node *node, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    config_fault_at(reader, node->line, node->column, text);
}

const struct config_key *config_key_find(const char *key)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (strcmp(config_keys[i].key, key) == 0)
            return &config_keys[i];
    return NULL;
}

static const char *kind_wanted(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_KIND_BOOL:
        return "true or false";
    case CONFIG_KIND_DURATION:
        return "a duration such as 10s";
    case CONFIG_KIND_COUNT:
    case CONFIG_KIND_JOBS:
        return "a number";
    default:
        return "a text";
    }
}

void config_set_node(struct config_reader *reader, const struct config_key *key, const struct yaml_node *node)
{
    struct error error;
    bool ok = node->kind == YAML_TEXT ||
              ((key->kind == CONFIG_KIND_SIZE || key->kind == CONFIG_KIND_DURATION ||
                key->kind == CONFIG_KIND_MODE || key->kind == CONFIG_KIND_GROUP ||
                key->kind == CONFIG_KIND_COUNT || key->kind == CONFIG_KIND_JOBS) &&
               node->kind == YAML_INT);

    if (key->kind == CONFIG_KIND_BOOL)
        ok = node->kind == YAML_BOOL;
    if (config_kind_is_list(key->kind))
        config_clear_list(reader->config, key->kind);
    if (config_kind_is_list(key->kind) && node->kind == YAML_LIST) {
        for (size_t i = 0; i < node->count; i++)
            if (node->items[i]->kind != YAML_TEXT)
                config_fault(reader, node->items[i], "%s: must be a text, not %s", key->key,
                             yaml_kind_name(node->items[i]->kind));
            else if (config_set_value(reader->config, key, node->items[i]->text, &error) < 0)
                config_fault(reader, node->items[i], "%s: %s", key->key, error.text);
        return;
    }
    if (!ok)
        config_fault(reader, node, "%s: must be %s, not %s", key->key, kind_wanted(key->kind),
                     yaml_kind_name(node->kind));
    else if (config_set_value(reader->config, key, node->text, &error) < 0)
        config_fault(reader, node, "%s: %s", key->key, error.text);
}
