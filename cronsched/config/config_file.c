/* The configuration's file: walks the tree that jobs/yaml/yaml.h made of it. */
#include "cronsched/config/config_file.h"

#include "cronsched/config/config_allow.h"
#include "cronsched/config/config_keys.h"
#include "cronsched/config/config_registries.h"
#include "jobs/base/alloc.h"
#include "jobs/base/near.h"
#include "jobs/base/object.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_PARALLEL_MAX 1000
#define CONFIG_ARMED_MAX    10000
#define CONFIG_RUNNING_MAX  1000000

static const char *const engine_types[] = {"docker", "swarm", "kubernetes", "process", "plugin", "null"};
#define ENGINE_TYPE_COUNT (sizeof(engine_types) / sizeof(engine_types[0]))

#define DOCKER_ENDPOINT   "unix:///var/run/docker.sock"
#define ENDPOINT_HOST_MAX 300
#define SOCKET_PATH_MAX   107 /* sun_path */

/* ---- faults ---- */

static void on_yaml_fault(struct yaml_sink *sink, int line, int column, const char *text)
{
    config_fault_at(OBJECT_OF(struct config_reader, sink, sink), line, column, text);
}

static void unknown_key(struct config_reader *reader, const struct yaml_node *key, const char *where,
                        const char *const *known, size_t count)
{
    char hint[NEAR_HINT_BUFFER];

    config_fault(reader, key, "%sunknown key '%s'%s", where, key->text,
                 near_hint(near_find(key->text, known, count), hint, sizeof(hint)));
}

/* ---- engines ---- */

static char *take_text(struct config_reader *reader, const struct yaml_node *node, const char *what)
{
    if (node->kind == YAML_TEXT && *node->text)
        return alloc_text(node->text);
    config_fault(reader, node, "%s: must be a text, not %s", what,
                 node->kind == YAML_TEXT ? "an empty one" : yaml_kind_name(node->kind));
    return NULL;
}

static void take_count(struct config_reader *reader, const struct yaml_node *node, const char *what, int most,
                       int *ret)
{
    if (node->kind != YAML_INT)
        config_fault(reader, node, "%s: must be a whole number, not %s", what, yaml_kind_name(node->kind));
    else if (node->integer < 1 || node->integer > most)
        config_fault(reader, node, "%s: must be from 1 to %d", what, most);
    else
        *ret = (int)node->integer;
}

static void read_engine_tls(struct config_reader *reader, struct config_engine *engine,
                            const struct yaml_node *map)
{
    static const char *const known[] = {"ca", "cert", "key"};
    char **const fields[] = {&engine->tls_ca, &engine->tls_cert, &engine->tls_key};

    if (map->kind != YAML_MAP) {
        config_fault(reader, map, "engines: %s: tls: must be a map, not %s", engine->name,
                     yaml_kind_name(map->kind));
        return;
    }
    for (size_t i = 0; i < map->count; i++) {
        size_t k = 0;

        while (k < 3 && strcmp(map->keys[i]->text, known[k]) != 0)
            k++;
        if (k == 3)
            unknown_key(reader, map->keys[i], "tls: ", known, 3);
        else
            *fields[k] = take_text(reader, map->items[i], known[k]);
    }
    if (!engine->tls_cert != !engine->tls_key)
        config_fault(reader, map, "engines: %s: tls: cert and key go together", engine->name);
}

static void read_engine_type(struct config_reader *reader, struct config_engine *engine,
                             const struct yaml_node *node)
{
    char hint[NEAR_HINT_BUFFER];
    const char *near;
    char *type = node->kind == YAML_NULL && node->text ? alloc_text(node->text) /* null is a word to YAML */
                                                       : take_text(reader, node, "type");

    if (!type)
        return;
    for (size_t i = 0; i < ENGINE_TYPE_COUNT; i++)
        if (strcmp(type, engine_types[i]) == 0) {
            engine->type = type;
            return;
        }
    near = near_find(type, engine_types, ENGINE_TYPE_COUNT);
    config_fault(
        reader, node,
        near ? "type: there is no '%s'%s"
             : "type: there is no '%s'; it is one of docker, swarm, kubernetes, process, plugin, null",
        type, near_hint(near, hint, sizeof(hint)));
    free(type);
}

/* One, or a list of them. */
static void read_endpoints(struct config_reader *reader, struct config_engine *engine,
                           const struct yaml_node *value)
{
    if (value->kind != YAML_LIST) {
        engine->endpoint = take_text(reader, value, "endpoint");
    } else if (value->count < 1 || value->count > CONFIG_ENDPOINTS_MAX) {
        config_fault(reader, value, "endpoint: must be 1 to %d of them", CONFIG_ENDPOINTS_MAX);
    } else {
        engine->endpoint = take_text(reader, value->items[0], "endpoint");
        for (size_t i = 1; i < value->count; i++)
            engine->more_endpoints[i - 1] = take_text(reader, value->items[i], "endpoint");
    }
}

/* One, or a list of them. */
static void read_namespaces(struct config_reader *reader, struct config_engine *engine,
                            const struct yaml_node *value)
{
    if (value->kind != YAML_LIST)
        engine->namespaces[0] = take_text(reader, value, "namespace");
    else if (value->count < 1 || value->count > CONFIG_NAMESPACES_MAX)
        config_fault(reader, value, "namespace: must be 1 to %d of them", CONFIG_NAMESPACES_MAX);
    for (size_t i = 0; value->kind == YAML_LIST && i < value->count && i < CONFIG_NAMESPACES_MAX; i++)
        engine->namespaces[i] = take_text(reader, value->items[i], "namespace");
}

/* Keys of a kubernetes engine alone. */
static bool read_kubernetes_key(struct config_reader *reader, struct config_engine *engine,
                                const struct yaml_node *key, const struct yaml_node *value)
{
    if (strcmp(key->text, "kubeconfig") == 0)
        engine->kubeconfig = take_text(reader, value, "kubeconfig");
    else if (strcmp(key->text, "context") == 0)
        engine->context = take_text(reader, value, "context");
    else if (strcmp(key->text, "token_file") == 0)
        engine->token_file = take_text(reader, value, "token_file");
    else if (strcmp(key->text, "namespace") == 0)
        read_namespaces(reader, engine, value);
    else
        return false;
    return true;
}

/* The program, by its whole path, and its arguments. */
static void read_command(struct config_reader *reader, struct config_engine *engine,
                         const struct yaml_node *value)
{
    if (value->kind != YAML_LIST || value->count < 1 || value->count > CONFIG_COMMAND_MAX) {
        config_fault(reader, value, "command: must be a list of 1 to %d texts, not %s", CONFIG_COMMAND_MAX,
                     yaml_kind_name(value->kind));
        return;
    }
    engine->command = alloc_zero((value->count + 1) * sizeof(*engine->command));
    for (size_t i = 0; i < value->count; i++) {
        engine->command[i] = take_text(reader, value->items[i], "command");
        if (!engine->command[i])
            return;
    }
    if (engine->command[0][0] != '/')
        config_fault(reader, value, "command: '%.200s' is not an absolute path", engine->command[0]);
}

static void read_engine_key(struct config_reader *reader, struct config_engine *engine,
                            const struct yaml_node *key, const struct yaml_node *value)
{
    static const char *const known[] = {"type",        "endpoint",  "tls",        "parallel",   "max_armed",
                                        "max_running", "allow",     "users",      "registries", "kubeconfig",
                                        "context",     "namespace", "token_file", "command"};

    if (read_kubernetes_key(reader, engine, key, value))
        return;
    if (strcmp(key->text, "type") == 0)
        read_engine_type(reader, engine, value);
    else if (strcmp(key->text, "endpoint") == 0)
        read_endpoints(reader, engine, value);
    else if (strcmp(key->text, "tls") == 0)
        read_engine_tls(reader, engine, value);
    else if (strcmp(key->text, "parallel") == 0)
        take_count(reader, value, "parallel", CONFIG_PARALLEL_MAX, &engine->parallel);
    else if (strcmp(key->text, "max_armed") == 0)
        take_count(reader, value, "max_armed", CONFIG_ARMED_MAX, &engine->max_armed);
    else if (strcmp(key->text, "max_running") == 0)
        take_count(reader, value, "max_running", CONFIG_RUNNING_MAX, &engine->max_running);
    else if (strcmp(key->text, "allow") == 0)
        config_read_allow(reader, engine, value);
    else if (strcmp(key->text, "registries") == 0)
        config_read_registries(reader, engine, value);
    else if (strcmp(key->text, "command") == 0)
        read_command(reader, engine, value);
    else if (strcmp(key->text, "users") == 0)
        config_read_users(reader, engine, value);
    else
        unknown_key(reader, key, "", known, sizeof(known) / sizeof(known[0]));
}

/* An engine without `type` that has the name of one is of that type. */
static void default_type(struct config_reader *reader, struct config_engine *engine,
                         const struct yaml_node *at)
{
    for (size_t i = 0; !engine->type && i < ENGINE_TYPE_COUNT; i++)
        if (strcmp(engine->name, engine_types[i]) == 0)
            engine->type = alloc_text(engine_types[i]);
    if (!engine->type)
        config_fault(reader, at, "engines: %s: type is missing", engine->name);
}

/* HOST or HOST:PORT behind the scheme of a URL, and at most a slash behind that. */
static bool is_host_of_url(const char *host)
{
    size_t n = strcspn(host, "/");

    if (n == 0 || n > ENDPOINT_HOST_MAX || (host[n] && host[n + 1]))
        return false;
    if (strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]") < n)
        return false;
    return !memchr(host, ':', n) || host[n - 1] == ']' || config_host_port_valid(host, n, 1);
}

/* What such an endpoint has that an engine cannot use; NULL: nothing. */
static const char *endpoint_fault(const char *endpoint)
{
    const char *rest = strstr(endpoint, "://") + 3;

    if (strncmp(endpoint, "unix", 4) == 0)
        return strlen(rest) > SOCKET_PATH_MAX ? "the path of a socket is at most 107 bytes" : NULL;
    return is_host_of_url(rest) ? NULL : "it is not http://HOST:PORT or https://HOST:PORT";
}

static void check_endpoint(struct config_reader *reader, const struct config_engine *engine, const char *e,
                           const struct yaml_node *at)
{
    bool is_docker = strcmp(engine->type, "docker") == 0 || strcmp(engine->type, "swarm") == 0;
    bool is_kubernetes = strcmp(engine->type, "kubernetes") == 0;
    const char *fault;

    if (!is_docker && !is_kubernetes)
        config_fault(reader, at, "engines: %s: an engine of type %s has no endpoint", engine->name,
                     engine->type);
    else if (strncmp(e, "http://", 7) != 0 && strncmp(e, "https://", 8) != 0 &&
             !(is_docker && strncmp(e, "unix:///", 8) == 0))
        config_fault(reader, at, "engines: %s: endpoint '%s' is not a %shttp:// or https:// URL",
                     engine->name, e, is_docker ? "unix:///PATH, " : "");
    else if (e[0] == 'h' && strchr(e, '@')) /* it would be shown to whoever may read */
        config_fault(reader, at, "engines: %s: endpoint: a name or a password has no place in it",
                     engine->name);
    else if (is_docker && (fault = endpoint_fault(e)))
        config_fault(reader, at, "engines: %s: endpoint '%.300s': %s", engine->name, e, fault);
}

static void check_endpoints(struct config_reader *reader, struct config_engine *engine,
                            const struct yaml_node *at)
{
    bool is_swarm = strcmp(engine->type, "swarm") == 0;

    if (engine->endpoint)
        check_endpoint(reader, engine, engine->endpoint, at);
    else if (is_swarm || strcmp(engine->type, "docker") == 0)
        engine->endpoint = alloc_text(DOCKER_ENDPOINT);
    if (engine->more_endpoints[0] && !is_swarm)
        config_fault(reader, at, "engines: %s: an engine of type %s has one endpoint", engine->name,
                     engine->type);
    for (size_t i = 0; is_swarm && i < CONFIG_ENDPOINTS_MAX - 1 && engine->more_endpoints[i]; i++) {
        const char *e = engine->more_endpoints[i];

        check_endpoint(reader, engine, e, at);
        for (size_t k = 0; k <= i; k++)
            if (strcmp(e, k == 0 ? engine->endpoint : engine->more_endpoints[k - 1]) == 0)
                config_fault(reader, at, "engines: %s: endpoint '%.300s' is there twice", engine->name, e);
    }
}

/* How a kubernetes engine reaches its API: one way of three. */
static void check_kubernetes(struct config_reader *reader, const struct config_engine *engine,
                             const struct yaml_node *at)
{
    bool is_kubernetes = strcmp(engine->type, "kubernetes") == 0;
    bool has_keys = engine->kubeconfig || engine->context || engine->token_file || engine->namespaces[0];
    bool has_server = engine->endpoint || engine->token_file || engine->tls_ca || engine->tls_cert;

    if (!is_kubernetes && has_keys)
        config_fault(
            reader, at,
            "engines: %s: kubeconfig, context, namespace and token_file are of an engine of type kubernetes",
            engine->name);
    if (!is_kubernetes)
        return;
    if (engine->kubeconfig && has_server)
        config_fault(reader, at,
                     "engines: %s: kubeconfig says all that endpoint, tls and token_file could say",
                     engine->name);
    if (!engine->kubeconfig && engine->context)
        config_fault(reader, at, "engines: %s: context names a part of a kubeconfig", engine->name);
    if (!engine->endpoint && has_server)
        config_fault(reader, at, "engines: %s: tls and token_file go with endpoint", engine->name);
}

static void read_engine(struct config_reader *reader, const struct yaml_node *key,
                        const struct yaml_node *value)
{
    struct config *config = reader->config;
    struct config_engine *engine = &config->engines[config->engine_count];
    int faults = reader->faults;

    if (!config_name_valid(key->text)) {
        config_fault(reader, key, "engines: '%s' is not a name", key->text);
        return;
    }
    engine->name = alloc_text(key->text);
    config->engine_count++;
    if (value->kind != YAML_MAP && value->kind != YAML_NULL) {
        config_fault(reader, value, "engines: %s: must be a map, not %s", key->text,
                     yaml_kind_name(value->kind));
        return;
    }
    for (size_t i = 0; value->kind == YAML_MAP && i < value->count; i++)
        read_engine_key(reader, engine, value->keys[i], value->items[i]);
    if (reader->faults > faults)
        return;
    default_type(reader, engine, key);
    if (engine->type) {
        check_endpoints(reader, engine, key);
        check_kubernetes(reader, engine, key);
        if (engine->registries && strcmp(engine->type, "docker") != 0 && strcmp(engine->type, "swarm") != 0)
            config_fault(reader, key,
                         "engines: %s: an engine of type %s pulls no images: it has no registries",
                         engine->name, engine->type);
        if (!engine->command != (strcmp(engine->type, "plugin") != 0))
            config_fault(reader, key,
                         engine->command ? "engines: %s: only an engine of type plugin has a command"
                                         : "engines: %s: an engine of type plugin needs a command",
                         engine->name);
        config_check_allow(reader, engine, key);
    }
}

static void read_engines(struct config_reader *reader, const struct yaml_node *map)
{
    struct config *config = reader->config;

    if (map->kind != YAML_MAP || map->count == 0) {
        config_fault(reader, map, "engines: must be a map of engines by name, not %s",
                     map->count == 0 && map->kind == YAML_MAP ? "an empty one" : yaml_kind_name(map->kind));
        return;
    }
    if (map->count > CONFIG_ENGINES_MAX) {
        config_fault(reader, map, "engines: more than %d", CONFIG_ENGINES_MAX);
        return;
    }
    config->engines = alloc_zero(map->count * sizeof(*config->engines));
    for (size_t i = 0; i < map->count; i++)
        read_engine(reader, map->keys[i], map->items[i]);
}

void config_default_engines(struct config *config)
{
    struct config_engine *engine;

    free(config->engines);
    engine = config->engines = alloc_zero(sizeof(*config->engines));
    config->engine_count = 1;
    engine->name = alloc_text("docker");
    engine->type = alloc_text("docker");
    engine->endpoint = alloc_text(DOCKER_ENDPOINT);
}

void config_release_engines(struct config *config)
{
    for (size_t i = 0; i < config->engine_count; i++) {
        struct config_engine *engine = &config->engines[i];

        free(engine->name);
        free(engine->type);
        free(engine->endpoint);
        for (size_t k = 0; k < CONFIG_ENDPOINTS_MAX - 1; k++)
            free(engine->more_endpoints[k]);
        for (size_t k = 0; k < CONFIG_NAMESPACES_MAX; k++)
            free(engine->namespaces[k]);
        free(engine->kubeconfig);
        free(engine->context);
        free(engine->token_file);
        for (size_t k = 0; engine->command && engine->command[k]; k++)
            free(engine->command[k]);
        free(engine->command);
        free(engine->tls_ca);
        free(engine->tls_cert);
        free(engine->tls_key);
        json_decref(engine->allow);
        json_decref(engine->registries);
    }
    free(config->engines);
    for (size_t i = 0; i < config->pool_count; i++)
        free(config->pools[i].name);
    free(config->pools);
}

/* ---- pools and the rest ---- */

static void read_pools(struct config_reader *reader, const struct yaml_node *map)
{
    struct config *config = reader->config;

    if (map->kind != YAML_MAP || map->count > CONFIG_POOLS_MAX) {
        config_fault(reader, map, "pools: must be a map of up to %d sizes by name, not %s", CONFIG_POOLS_MAX,
                     yaml_kind_name(map->kind));
        return;
    }
    config->pools = alloc_zero((map->count + 1) * sizeof(*config->pools));
    for (size_t i = 0; i < map->count; i++) {
        struct config_job_pool *pool = &config->pools[config->pool_count];

        if (!config_name_valid(map->keys[i]->text)) {
            config_fault(reader, map->keys[i], "pools: '%s' is not a name", map->keys[i]->text);
            continue;
        }
        take_count(reader, map->items[i], map->keys[i]->text, INT_MAX, &pool->size);
        pool->name = alloc_text(map->keys[i]->text);
        config->pool_count++;
    }
}

static void read_tls(struct config_reader *reader, const struct yaml_node *map)
{
    static const char *const known[] = {"cert", "key"};

    if (map->kind != YAML_MAP) {
        config_fault(reader, map, "tls: must be a map, not %s", yaml_kind_name(map->kind));
        return;
    }
    for (size_t i = 0; i < map->count; i++) {
        char path[64];
        const struct config_key *key;

        snprintf(path, sizeof(path), "tls.%s", map->keys[i]->text);
        key = config_key_find(path);
        if (key)
            config_set_node(reader, key, map->items[i]);
        else
            unknown_key(reader, map->keys[i], "tls: ", known, 2);
    }
}

static void read_key(struct config_reader *reader, const struct yaml_node *key, const struct yaml_node *value)
{
    const struct config_key *plain = strchr(key->text, '.') ? NULL : config_key_find(key->text);
    const char *known[64] = {"engines", "pools", "tls"};
    struct config_key_text text;
    size_t n = 3;

    if (plain) {
        config_set_node(reader, plain, value);
    } else if (strcmp(key->text, "engines") == 0) {
        read_engines(reader, value);
    } else if (strcmp(key->text, "pools") == 0) {
        read_pools(reader, value);
    } else if (strcmp(key->text, "tls") == 0) {
        read_tls(reader, value);
    } else {
        for (size_t i = 0; n < 64 && config_key_text(i, &text); i++)
            if (!strchr(text.key, '.'))
                known[n++] = text.key;
        unknown_key(reader, key, "", known, n);
    }
}

void config_read_file(struct config *config, const struct config_sources *sources, struct text *errors)
{
    static const struct yaml_limits limits = {.bytes = CONFIG_BYTES_MAX, .nodes = 20000, .depth = 16};
    struct config_reader reader = {.object = OBJECT_MARK(struct config_reader),
                                   .sink = {on_yaml_fault},
                                   .config = config,
                                   .file = sources->file,
                                   .errors = errors};
    const struct yaml_node *root;
    struct yaml_doc *doc = NULL;
    int r = yaml_doc_parse(&doc, sources->text, sources->size, &limits, &reader.sink);

    if (r < 0) {
        if (reader.faults == 0)
            config_fault_at(&reader, 0, 0, error_text(r));
        return;
    }
    root = yaml_doc_root(doc);
    if (root->kind == YAML_MAP) {
        for (size_t i = 0; i < root->count; i++)
            read_key(&reader, root->keys[i], root->items[i]);
    } else if (root->kind != YAML_NULL) {
        config_fault(&reader, root, "must be a map of settings, not %s", yaml_kind_name(root->kind));
    }
    yaml_doc_free(doc);
}
