/* The plain values of the configuration: one table feeds the file's reader, flags, environment and manual.
 * Engines and pools, which only a file can hold, are in config_file.c. */
#include "cronsched/config/config.h"

#include "cronsched/config/config_priv.h"
#include "jobs/base/alloc.h"
#include "jobs/base/byte_size.h"
#include "jobs/base/duration.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the table ------------------------------------------------------------------------------------------ */

/* key in the file, flag, kind, field, argument, default, help */
#define CONFIG_KEYS(X)                                                                                       \
    X("cluster", "cluster", NAME, cluster, "NAME", "default", "name of the cluster")                         \
    X("data_dir", "data-dir", PATH, data_dir, "DIR", NULL, "folder for history, logs and the socket")        \
    X("listen", "listen", LISTEN, listen, "ADDRESS", NULL,                                                   \
      "where to serve: unix:PATH or HOST:PORT; several may be given")                                        \
    X("advertise", "advertise", URL, advertise, "URL", NULL, "where other replicas reach this one")          \
    X("zookeeper", "zookeeper", ZOOKEEPER, zookeeper, "HOSTS", NULL,                                         \
      "the ensemble, HOST:PORT,...[/CHROOT]; without it the journal lives in the data folder")               \
    X("zookeeper_auth_file", "zookeeper-auth-file", PATH, zookeeper_auth_file, "FILE", NULL,                 \
      "USER:PASSWORD on its first line: the cluster's nodes are made for these alone")                       \
    X("replica", "replica", NAME, replica, "ID", NULL,                                                       \
      "id of this replica, of its own in the cluster (default the host's name)")                             \
    X("session_timeout", "session-timeout", DURATION, session_timeout_ms, "DURATION", "10s",                 \
      "after which a silent replica counts as dead")                                                         \
    X("default_engine", "default-engine", NAME, default_engine, "NAME", NULL,                                \
      "engine of jobs that name none")                                                                       \
    X("tokens_file", "tokens-file", PATH, tokens_file, "FILE", NULL,                                         \
      "who may do what, see 'cronsched token'")                                                              \
    X("tls.cert", "tls-cert", PATH, tls_cert, "FILE", NULL, "certificate for https")                         \
    X("tls.key", "tls-key", PATH, tls_key, "FILE", NULL, "its key")                                          \
    X("tls.ca", "tls-ca", PATH, tls_ca, "FILE", NULL,                                                        \
      "certificates by which other replicas are known (default the system's)")                               \
    X("insecure", "insecure", BOOL, insecure, NULL, "false",                                                 \
      "serve other machines without tokens or without TLS")                                                  \
    X("resolve_within", "resolve-within", DURATION, resolve_within_ms, "DURATION", "1h",                     \
      "how long a run whose engine cannot be asked stays unresolved before it counts as lost")               \
    X("late_grace", "late-grace", DURATION, late_grace_ms, "DURATION", "60s",                                \
      "how late a fire time may be to run without a word of catch_up")                                       \
    X("max_state", "max-state", SIZE, max_state_bytes, "SIZE", "64m",                                        \
      "size of the live state beyond which apply is refused")                                                \
    X("log", "log", LOG, log, "human|json", NULL, "form of the log (default human on a terminal, else json)")

enum config_kind { NAME, PATH, LISTEN, URL, ZOOKEEPER, DURATION, SIZE, BOOL, LOG };

struct config_key {
    const char *key, *flag;
    enum config_kind kind;
    size_t offset;
    const char *arg, *fallback, *help;
};

static const struct config_key config_keys[] = {
#define X(key, flag, kind, field, arg, fallback, help)                                                       \
    {key, flag, kind, offsetof(struct config, field), arg, fallback, help},
    CONFIG_KEYS(X)
#undef X
};
#define CONFIG_KEY_COUNT (sizeof(config_keys) / sizeof(config_keys[0]))

const struct verb_option config_options[] = {
    {"config", 'c', "FILE", "read this file (also CRONSCHED_CONFIG)"},
#define X(key, flag, kind, field, arg, fallback, help) {flag, 0, arg, help, (kind) == LISTEN},
    CONFIG_KEYS(X)
#undef X
        {0}};

/* "tls.cert" to "CRONSCHED_TLS_CERT" */
static const char *variable_name(const char *key, char *buffer, size_t size)
{
    snprintf(buffer, size, "CRONSCHED_%s", key);
    for (char *p = buffer; *p; p++)
        *p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
    return buffer;
}

bool config_key_text(size_t i, struct config_key_text *ret)
{
    static char variable[64];

    if (i >= CONFIG_KEY_COUNT)
        return false;
    *ret = (struct config_key_text){
        .key = config_keys[i].key,
        .flag = config_keys[i].flag,
        .variable = variable_name(config_keys[i].key, variable, sizeof(variable)),
        .arg = config_keys[i].arg,
        .help = config_keys[i].help,
        .fallback = config_keys[i].fallback,
    };
    return true;
}

/* --- checks of single values ---------------------------------------------------------------------------- */

bool config_name_valid(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > CONFIG_NAME_MAX || !isalnum((unsigned char)name[0]))
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

/* "HOST:PORT", "[ADDRESS]:PORT"; port 0 (any free one) only where it makes sense. */
static bool host_port_valid(const char *s, size_t n, long least_port)
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

static int check_listen(const char *s, struct error *error)
{
    if (strncmp(s, "unix:", 5) == 0) {
        if (s[5] == '/' && strlen(s + 5) < 108)
            return 0;
        return error_set(error, ERR_INVALID, "'%s' has no absolute path of up to 107 bytes", s);
    }
    if (!host_port_valid(s, strlen(s), 0))
        return error_set(error, ERR_INVALID, "'%s' is neither unix:/PATH nor HOST:PORT", s);
    return 0;
}

static int check_url(const char *s, struct error *error)
{
    const char *host = strncmp(s, "http://", 7) == 0 ? s + 7 : strncmp(s, "https://", 8) == 0 ? s + 8 : NULL;

    if (!host || !*host || strpbrk(host, " /?#@"))
        return error_set(error, ERR_INVALID, "'%s' is no http://HOST:PORT or https://HOST:PORT", s);
    return 0;
}

static int check_zookeeper(const char *s, struct error *error)
{
    size_t hosts = strcspn(s, "/");

    for (size_t at = 0;; at++) {
        size_t n = strcspn(s + at, ",/");

        if (!host_port_valid(s + at, n, 1))
            return error_set(error, ERR_INVALID, "'%.*s' is no HOST:PORT", (int)n, s + at);
        at += n;
        if (at >= hosts)
            break;
    }
    if (s[hosts] && (!s[hosts + 1] || s[strlen(s) - 1] == '/' || strstr(s, "//")))
        return error_set(error, ERR_INVALID, "'%s' is no path to live below", s + hosts);
    return 0;
}

static int parse_bool(const char *s, bool *ret, struct error *error)
{
    static const char *const words[2][5] = {{"false", "no", "off", "0", ""},
                                            {"true", "yes", "on", "1", "true"}};

    for (int value = 0; value < 2; value++)
        for (size_t i = 0; i < 5; i++)
            if (strcasecmp(s, words[value][i]) == 0) {
                *ret = value;
                return 0;
            }
    return error_set(error, ERR_INVALID, "'%s' is neither true nor false", s);
}

/* --- setting a value ------------------------------------------------------------------------------------ */

static void replace_text(char **at, const char *value)
{
    char *copy = alloc_text(value);

    free(*at);
    *at = copy;
}

static void clear_listen(struct config *config)
{
    while (config->listen_count > 0) {
        config->listen_count--;
        free(config->listen[config->listen_count]);
        config->listen[config->listen_count] = NULL;
    }
}

static int add_listen(struct config *config, const char *value, struct error *error)
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

static int parse_positive(const char *value, enum config_kind kind, int64_t *ret, struct error *error)
{
    int64_t n;
    int r = kind == SIZE ? byte_size_parse(value, &n, error) : duration_parse(value, &n, error);

    if (r < 0)
        return r;
    if (n <= 0)
        return error_set(error, ERR_INVALID, "must be above zero");
    *ret = n;
    return 0;
}

/* One value from its text; what was there is replaced, but addresses to listen on are added. */
static int set_value(struct config *config, const struct config_key *key, const char *value,
                     struct error *error)
{
    void *field = (char *)config + key->offset;
    int r = 0;

    switch (key->kind) {
    case NAME:
        if (!config_name_valid(value))
            return error_set(
                error, ERR_INVALID,
                "'%s' is no name: up to %d letters, digits, '-', '_' and '.', a letter or digit first", value,
                CONFIG_NAME_MAX);
        replace_text(field, value);
        return 0;
    case PATH:
        if (!*value)
            return error_set(error, ERR_INVALID, "an empty path");
        replace_text(field, value);
        return 0;
    case LISTEN:
        return add_listen(config, value, error);
    case URL:
    case ZOOKEEPER:
        r = key->kind == URL ? check_url(value, error) : check_zookeeper(value, error);
        if (r == 0)
            replace_text(field, value);
        return r;
    case DURATION:
    case SIZE:
        return parse_positive(value, key->kind, field, error);
    case BOOL:
        return parse_bool(value, field, error);
    case LOG:
        if (strcmp(value, "human") != 0 && strcmp(value, "json") != 0)
            return error_set(error, ERR_INVALID, "'%s' is neither human nor json", value);
        *(enum config_log *)field = *value == 'h' ? CONFIG_LOG_HUMAN : CONFIG_LOG_JSON;
        return 0;
    }
    return ERR_INTERNAL;
}

/* --- sources: file, environment, flags ------------------------------------------------------------------ */

const struct config_key *config_key_find(const char *key)
{
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
        if (strcmp(config_keys[i].key, key) == 0)
            return &config_keys[i];
    return NULL;
}

static const char *kind_wanted(enum config_kind kind)
{
    return kind == BOOL ? "true or false" : kind == DURATION ? "a duration such as 10s" : "a text";
}

void config_set_node(struct config_reader *reader, const struct config_key *key, const struct yaml_node *node)
{
    struct error error;
    bool ok = node->kind == YAML_TEXT ||
              ((key->kind == SIZE || key->kind == DURATION) && node->kind == YAML_INT);

    if (key->kind == BOOL)
        ok = node->kind == YAML_BOOL;
    if (key->kind == LISTEN)
        clear_listen(reader->config);
    if (key->kind == LISTEN && node->kind == YAML_LIST) {
        for (size_t i = 0; i < node->count; i++)
            if (node->items[i]->kind != YAML_TEXT)
                config_fault(reader, node->items[i], "%s: must be a text, not %s", key->key,
                             yaml_kind_name(node->items[i]->kind));
            else if (set_value(reader->config, key, node->items[i]->text, &error) < 0)
                config_fault(reader, node->items[i], "%s: %s", key->key, error.text);
        return;
    }
    if (!ok)
        config_fault(reader, node, "%s: must be %s, not %s", key->key, kind_wanted(key->kind),
                     yaml_kind_name(node->kind));
    else if (set_value(reader->config, key, node->text, &error) < 0)
        config_fault(reader, node, "%s: %s", key->key, error.text);
}

static void read_environment(struct config *config, const struct config_sources *sources, struct text *errors)
{
    for (size_t i = 0; sources->environment && i < CONFIG_KEY_COUNT; i++) {
        const struct config_key *key = &config_keys[i];
        char name[64], part[PATH_MAX];
        const char *value = sources->environment(sources->arg, variable_name(key->key, name, sizeof(name)));
        struct error error;

        if (!value || !*value)
            continue;
        if (key->kind == LISTEN)
            clear_listen(config);
        do { /* only addresses come as several, with commas */
            size_t n = key->kind == LISTEN ? strcspn(value, ",") : strlen(value);

            snprintf(part, sizeof(part), "%.*s", (int)n, value);
            if (set_value(config, key, part, &error) < 0)
                text_addf(errors, "%s: error: %s\n", name, error.text);
            value += n + (value[n] == ',');
        } while (*value);
    }
}

static void read_flags(struct config *config, const struct config_sources *sources, struct text *errors)
{
    for (size_t i = 0; sources->flag && i < CONFIG_KEY_COUNT; i++) {
        const struct config_key *key = &config_keys[i];
        const char *value;
        struct error error;

        for (size_t n = 0; (value = sources->flag(sources->arg, key->flag, n)); n++) {
            if (key->kind == LISTEN && n == 0)
                clear_listen(config);
            if (set_value(config, key, key->arg ? value : "true", &error) < 0)
                text_addf(errors, "--%s: error: %s\n", key->flag, error.text);
            if (key->kind != LISTEN)
                break;
        }
    }
}

/* --- defaults and the check of the whole ---------------------------------------------------------------- */

const char *config_getenv(void *arg, const char *name)
{
    return getenv(name);
}

char *config_default_data_dir(const char *(*environment)(void *arg, const char *name), void *arg, bool root)
{
    const char *dir = environment ? environment(arg, "CRONSCHED_DATA_DIR") : NULL;
    char *path = NULL;

    if (dir && *dir)
        return alloc_text(dir);
    if (root)
        return alloc_text("/var/lib/cronsched");
    dir = environment ? environment(arg, "XDG_STATE_HOME") : NULL;
    if (dir && *dir == '/')
        return asprintf(&path, "%s/cronsched", dir) < 0 ? NULL : path;
    dir = environment ? environment(arg, "HOME") : NULL;
    if (dir && *dir == '/')
        return asprintf(&path, "%s/.local/state/cronsched", dir) < 0 ? NULL : path;
    return NULL;
}

static void fill_defaults(struct config *config, const struct config_sources *sources, struct text *errors)
{
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++)
        if (config_keys[i].fallback && set_value(config, &config_keys[i], config_keys[i].fallback, NULL) < 0)
            text_addf(errors, "error: out of memory\n");
    config->data_dir = config_default_data_dir(sources->environment, sources->arg, sources->root);
}

static void make_absolute(char **path)
{
    char cwd[PATH_MAX], *whole = NULL;

    if (**path == '/' || !getcwd(cwd, sizeof(cwd)) || asprintf(&whole, "%s/%s", cwd, *path) < 0)
        return;
    free(*path);
    *path = whole;
}

/* What depends on other values. */
static void fill_dependent(struct config *config, struct text *errors)
{
    struct error error = {0};
    char *path = NULL;

    if (!config->data_dir) {
        text_addf(errors, "error: data_dir: there is no default without HOME; say where\n");
        return;
    }
    make_absolute(&config->data_dir);
    if (config->listen_count > 0)
        return;
    if (asprintf(&path, "unix:%s/" CONFIG_SOCKET_NAME, config->data_dir) < 0)
        path = NULL;
    if (!path || add_listen(config, path, &error) < 0 || add_listen(config, "127.0.0.1:7460", &error) < 0)
        text_addf(errors, "error: listen: %s; say where to listen\n", path ? error.text : "out of memory");
    free(path);
}

/* "0.0.0.0:7460" and ":7460" say where to listen, not where to be found. */
static bool names_a_host(const char *listen)
{
    return strncmp(listen, "unix:", 5) != 0 && listen[0] != ':' && strncmp(listen, "0.0.0.0:", 8) != 0 &&
           strncmp(listen, "[::]:", 5) != 0 && strcmp(strrchr(listen, ':'), ":0") != 0;
}

/* Other replicas have to reach this one. */
static void check_advertise(struct config *config, struct text *errors)
{
    for (size_t i = 0; i < config->listen_count && !config->advertise; i++)
        if (names_a_host(config->listen[i]) &&
            asprintf(&config->advertise, "%s://%s", config->tls_cert ? "https" : "http", config->listen[i]) <
                0)
            config->advertise = NULL;
    if (!config->advertise)
        text_addf(errors,
                  "error: advertise: with zookeeper it is to say under which URL other replicas reach "
                  "this one\n");
}

static void check_whole(struct config *config, struct text *errors)
{
    bool known = false;

    if (!config->default_engine && config->engine_count == 1)
        config->default_engine = alloc_text(config->engines[0].name);
    if (!config->default_engine)
        config->default_engine = alloc_text("docker");
    for (size_t i = 0; i < config->engine_count; i++)
        known |= strcmp(config->engines[i].name, config->default_engine) == 0;
    if (!known)
        text_addf(errors, "error: default_engine: there is no engine '%s'\n", config->default_engine);
    if (!config->tls_cert != !config->tls_key)
        text_addf(errors, "error: tls: cert and key go together\n");
    if (config->zookeeper)
        check_advertise(config, errors);
}

int config_load(struct config *ret, const struct config_sources *sources, struct text *errors)
{
    size_t before = errors->len;

    *ret = (struct config){0};
    fill_defaults(ret, sources, errors);
    if (sources->file)
        config_read_file(ret, sources, errors);
    read_environment(ret, sources, errors);
    read_flags(ret, sources, errors);
    fill_dependent(ret, errors);
    if (ret->engine_count == 0)
        config_default_engines(ret);
    if (errors->len == before)
        check_whole(ret, errors);
    return errors->len == before && !errors->failed ? 0 : ERR_INVALID;
}

void config_release(struct config *config)
{
    if (!config)
        return;
    clear_listen(config);
    free(config->listen);
    free(config->cluster);
    free(config->data_dir);
    free(config->advertise);
    free(config->zookeeper);
    free(config->zookeeper_auth_file);
    free(config->replica);
    free(config->default_engine);
    free(config->tokens_file);
    free(config->tls_cert);
    free(config->tls_key);
    free(config->tls_ca);
    config_release_engines(config);
    *config = (struct config){0};
}

/* --- for the verb --------------------------------------------------------------------------------------- */

static const char *flag_of_call(void *arg, const char *name, size_t i)
{
    const struct verb_call *call = arg;

    if (strcmp(name, "listen") == 0)
        return verb_option_at(call, name, i);
    return i == 0 ? verb_option(call, name) : NULL;
}

static char *read_file(const char *path, size_t *ret_size, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *data = malloc(CONFIG_BYTES_MAX + 1);
    size_t size = 0;
    ssize_t n = -1;

    while (fd >= 0 && data && size <= CONFIG_BYTES_MAX &&
           (n = read(fd, data + size, CONFIG_BYTES_MAX + 1 - size)) > 0)
        size += (size_t)n;
    if (!data)
        error_set(error, ERR_NOMEM, "out of memory");
    else if (fd < 0 || n < 0)
        error_set(error, ERR_IO, "%s: %s", path, strerror(errno));
    else if (size > CONFIG_BYTES_MAX)
        error_set(error, ERR_LIMIT, "%s: larger than %d bytes", path, CONFIG_BYTES_MAX);
    if (fd >= 0)
        close(fd);
    if (error->code < 0) {
        free(data);
        return NULL;
    }
    *ret_size = size;
    return data;
}

int config_load_call(struct config *ret, const struct verb_call *call)
{
    const char *file = verb_option(call, "config");
    struct config_sources sources = {
        .flag = flag_of_call, .environment = config_getenv, .arg = (void *)call, .root = geteuid() == 0};
    struct error error = {0};
    struct text errors;
    char *text = NULL;
    int r;

    *ret = (struct config){0};
    if (!file)
        file = getenv("CRONSCHED_CONFIG");
    if (file && *file) {
        text = read_file(file, &sources.size, &error);
        if (!text) {
            fprintf(stderr, "cronsched: %s\n", error.text);
            return EXIT_USAGE;
        }
        sources.file = file;
        sources.text = text;
    }
    text_init(&errors, 1024 * 1024);
    r = config_load(ret, &sources, &errors);
    fputs(text_str(&errors), stderr);
    text_release(&errors);
    free(text);
    return r == 0 ? EXIT_FINE : r == ERR_NOMEM ? EXIT_INTERNAL : EXIT_USAGE;
}
