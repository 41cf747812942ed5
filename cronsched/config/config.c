/* See config.h: the sources in their order, the defaults, the check of the whole. */
#include "cronsched/config/config.h"

#include "cronsched/config/config_file.h"
#include "cronsched/config/config_keys.h"
#include "cronsched/io/file.h"
#include "jobs/base/alloc.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- sources: environment, flags ---- */

static void read_environment(struct config *config, const struct config_sources *sources, struct text *errors)
{
    for (size_t i = 0; sources->environment && i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        char name[64], part[PATH_MAX];
        const char *value =
            sources->environment(sources->arg, config_key_variable(key->key, name, sizeof(name)));
        struct error error;

        if (!value || !*value)
            continue;
        if (config_kind_is_list(key->kind))
            config_clear_list(config, key->kind);
        do { /* only lists come as several, with commas */
            size_t n = config_kind_is_list(key->kind) ? strcspn(value, ",") : strlen(value);

            snprintf(part, sizeof(part), "%.*s", (int)n, value);
            if (config_set_value(config, key, part, &error) < 0)
                text_addf(errors, "%s: error: %s\n", name, error.text);
            value += n + (value[n] == ',');
        } while (*value);
    }
}

static void read_flags(struct config *config, const struct config_sources *sources, struct text *errors)
{
    for (size_t i = 0; sources->flag && i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        const char *value;
        struct error error;

        for (size_t n = 0; (value = sources->flag(sources->arg, key->flag, n)); n++) {
            if (config_kind_is_list(key->kind) && n == 0)
                config_clear_list(config, key->kind);
            if (config_set_value(config, key, key->arg ? value : "true", &error) < 0)
                text_addf(errors, "--%s: error: %s\n", key->flag, error.text);
            if (!config_kind_is_list(key->kind))
                break;
        }
    }
}

/* ---- defaults and the check of the whole ---- */

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
    for (size_t i = 0; i < config_key_count; i++)
        if (config_keys[i].fallback &&
            config_set_value(config, &config_keys[i], config_keys[i].fallback, NULL) < 0)
            text_addf(errors, "error: out of memory\n");
    config->socket_group = (gid_t)-1;
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
        text_addf(errors, "error: data_dir: there is no default without HOME; set it\n");
        return;
    }
    make_absolute(&config->data_dir);
    if (config->listen_count > 0)
        return;
    if (asprintf(&path, "unix:%s/" CONFIG_SOCKET_NAME, config->data_dir) < 0)
        path = NULL;
    if (!path || config_add_listen(config, path, &error) < 0)
        text_addf(errors, "error: listen: %s; set it\n", path ? error.text : "out of memory");
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
        text_addf(errors, "error: advertise: with zookeeper it must be the URL under which other replicas "
                          "reach this one\n");
}

/* Of the address as it is written: a name may be anybody's. */
static bool is_beyond_loopback(const char *listen)
{
    return strncmp(listen, "unix:", 5) != 0 && strncmp(listen, "127.", 4) != 0 &&
           strncmp(listen, "[::1]:", 6) != 0 && strncmp(listen, "localhost:", 10) != 0;
}

/* Whoever may write the nodes runs what he likes on every replica: that must not be everybody where the rest is
 * guarded. */
static void check_zookeeper_users(const struct config *config, struct text *errors)
{
    const char *beside = NULL;

    if (config->tls_cert)
        beside = "tls";
    if (config->tokens_file)
        beside = "a tokens_file";
    for (size_t i = 0; i < config->listen_count && !beside; i++)
        if (is_beyond_loopback(config->listen[i]))
            beside = config->listen[i];
    if (beside)
        text_addf(
            errors,
            "error: zookeeper: without zookeeper_auth_file everybody who reaches ZooKeeper may run anything "
            "here, and there is %s: make a file with 'cronsched cluster password' (or say 'insecure: "
            "true')\n",
            beside);
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
    if (config->zookeeper && !config->zookeeper_auth_file && !config->insecure)
        check_zookeeper_users(config, errors);
    if (config->init && !config->zookeeper)
        text_addf(errors, "error: init: there is no zookeeper, and a server on its own needs no cluster\n");
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
    config_clear_list(config, CONFIG_KIND_LISTEN);
    config_clear_list(config, CONFIG_KIND_HOSTS);
    free(config->listen);
    free(config->allowed_hosts);
    free(config->cluster);
    free(config->data_dir);
    free(config->advertise);
    free(config->zookeeper);
    free(config->zookeeper_auth_file);
    free(config->replica);
    free(config->cluster_id);
    free(config->default_engine);
    free(config->files_dir);
    free(config->tokens_file);
    free(config->tls_cert);
    free(config->tls_key);
    free(config->tls_ca);
    config_release_engines(config);
    *config = (struct config){0};
}

/* ---- for the verb ---- */

static const char *flag_of_call(void *arg, const char *name, size_t i)
{
    const struct verb_call *call = arg;

    if (strcmp(name, "listen") == 0 || strcmp(name, "allowed-host") == 0)
        return verb_option_at(call, name, i);
    return i == 0 ? verb_option(call, name) : NULL;
}

static int load(struct config *ret, const char *file, const struct verb_call *flags)
{
    struct config_sources sources = {.flag = flags ? flag_of_call : NULL,
                                     .environment = config_getenv,
                                     .arg = (void *)flags,
                                     .root = geteuid() == 0};
    struct error error = {0};
    struct text errors;
    char *text = NULL;
    int r;

    *ret = (struct config){0};
    if (!file)
        file = getenv("CRONSCHED_CONFIG");
    if (file && *file) {
        if (file_read(file, CONFIG_BYTES_MAX, 0, &text, &sources.size, &error) < 0) {
            verb_print(stderr, "cronsched: %s: %s\n", file, error.text);
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
    if (r == 0)
        return EXIT_FINE;
    return r == ERR_NOMEM ? EXIT_INTERNAL : EXIT_USAGE;
}

int config_load_call(struct config *ret, const struct verb_call *call)
{
    return load(ret, verb_option(call, "config"), call);
}

int config_load_file(struct config *ret, const char *file)
{
    return load(ret, file, NULL);
}
