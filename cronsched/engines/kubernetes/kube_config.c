/* A kubeconfig, as kubectl reads it. What it may say and is not understood here is refused by name: a setting that is passed
 * over could mean another user, or another server. See kube_access.h. */
#include "cronsched/engines/kubernetes/kube_access.h"

#include "jobs/base/alloc.h"
#include "jobs/yaml/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX 50000
#define DEPTH_MAX 32

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void part_release(struct kube_part *part)
{
    wipe(part->text);
    free(part->path);
}

void kube_config_release(struct kube_config *c)
{
    struct kube_part *const parts[] = {&c->ca, &c->cert, &c->key, &c->token, &c->namespace_file};

    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        part_release(parts[i]);
    free(c->server);
    free(c->tls_name);
    free(c->proxy);
    free(c->namespace);
    json_decref(c->exec);
    *c = (struct kube_config){0};
}

/* ---- texts ---- */

static int sextet(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Line breaks are passed over. NULL: it is none, or it is empty, or it has a NUL in it. */
static char *base64_text(const char *text)
{
    char *made = alloc_zero(strlen(text) / 4 * 3 + 4);
    unsigned bits = 0;
    size_t n = 0, count = 0;

    for (; *text && *text != '='; text++) {
        int value = sextet(*text);

        if (strchr(" \t\r\n", *text))
            continue;
        if (value < 0)
            break;
        bits = bits << 6 | (unsigned)value;
        if (++count % 4 != 1)
            made[n++] = (char)(bits >> (6 - 2 * ((count - 1) % 4)) & 0xff);
    }
    if (text[strspn(text, "= \t\r\n")] || n == 0 || strlen(made) != n) {
        wipe(made);
        return NULL;
    }
    return made;
}

/* A path of a kubeconfig is relative to it. */
static char *path_beside(const char *file, const char *path)
{
    const char *slash = file ? strrchr(file, '/') : NULL;
    size_t size = slash ? (size_t)(slash - file) + strlen(path) + 2 : 0;
    char *made;

    if (path[0] == '/' || !slash)
        return alloc_text(path);
    made = alloc_zero(size);
    snprintf(made, size, "%.*s/%s", (int)(slash - file), file, path);
    return made;
}

/* ---- the server ---- */

int kube_config_server(struct kube_config *ret, const char *url, struct error *error)
{
    size_t n = strlen(url), scheme = strncmp(url, "https://", 8) == 0 ? 8 : 7;

    if (scheme == 7 && strncmp(url, "http://", 7) != 0)
        return error_set(error, ERR_INVALID, "the server '%.200s' is not an http:// or https:// URL", url);
    while (n > scheme && url[n - 1] == '/')
        n--;
    if (n == scheme || n > KUBE_ACCESS_URL_MAX || strcspn(url, "?#@ \t\r\n") < strlen(url))
        return error_set(error, ERR_INVALID, "the server '%.200s' is not a URL of a server", url);
    free(ret->server);
    ret->server = alloc_zero(n + 1);
    memcpy(ret->server, url, n);
    return 0;
}

/* ---- entries ---- */

struct entry {
    const struct yaml_node *node; /* of a cluster, a user or a context; NULL: there is none of that name */
    const char *file;
};

struct reading {
    struct yaml_sink sink;
    struct yaml_doc **docs;
    const struct file_content *files;
    size_t count;
    const char *file; /* that is parsed */
    struct error *error;
};

static const char *text_of(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node = yaml_node_get(map, key);

    return node && node->text && *node->text && node->kind != YAML_LIST && node->kind != YAML_MAP &&
                   node->kind != YAML_NULL
               ? node->text
               : NULL;
}

static bool is_true(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node = yaml_node_get(map, key);

    return node && node->kind == YAML_BOOL && node->boolean;
}

/* The first of that name in any file. */
static struct entry find_entry(const struct reading *r, const char *list, const char *inner, const char *name)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct yaml_node *items = yaml_node_get(yaml_doc_root(r->docs[i]), list);

        for (size_t k = 0; items && items->kind == YAML_LIST && k < items->count; k++) {
            const char *is = text_of(items->items[k], "name");

            if (is && strcmp(is, name) == 0)
                return (struct entry){yaml_node_get(items->items[k], inner), r->files[i].path};
        }
    }
    return (struct entry){0};
}

static const char *current_context(const struct reading *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const char *name = text_of(yaml_doc_root(r->docs[i]), "current-context");

        if (name)
            return name;
    }
    return NULL;
}

/* KEY-data in base64 goes before KEY, a path. */
static int read_part(struct kube_part *ret, const struct entry *e, const char *key, struct error *error)
{
    char data_key[64];
    const char *data, *path = text_of(e->node, key);

    snprintf(data_key, sizeof(data_key), "%s-data", key);
    data = text_of(e->node, data_key);
    if (data && !(ret->text = base64_text(data)))
        return error_set(error, ERR_INVALID, "%.100s: %s is not base64", e->file, data_key);
    if (!data && path)
        ret->path = path_beside(e->file, path);
    return 0;
}

/* ---- the parts of a context ---- */

static int read_cluster(struct kube_config *ret, const struct entry *e, struct error *error)
{
    const char *server = text_of(e->node, "server"), *proxy = text_of(e->node, "proxy-url");
    const char *tls_name = text_of(e->node, "tls-server-name");
    int rc;

    if (!server)
        return error_set(error, ERR_INVALID, "%.100s: the cluster has no server", e->file);
    if (proxy && strncmp(proxy, "http://", 7) != 0 && strncmp(proxy, "https://", 8) != 0 &&
        strncmp(proxy, "socks5://", 9) != 0)
        return error_set(error, ERR_INVALID, "%.100s: proxy-url is not http://, https:// or socks5://",
                         e->file);
    rc = kube_config_server(ret, server, error);
    if (rc == 0)
        rc = read_part(&ret->ca, e, "certificate-authority", error);
    ret->insecure = is_true(e->node, "insecure-skip-tls-verify");
    ret->tls_name = tls_name ? alloc_text(tls_name) : NULL;
    ret->proxy = proxy ? alloc_text(proxy) : NULL;
    return rc;
}

static int read_exec_environment(json_t *ret, const struct yaml_node *list)
{
    for (size_t i = 0; list && list->kind == YAML_LIST && i < list->count; i++) {
        const char *name = text_of(list->items[i], "name");
        const struct yaml_node *value = yaml_node_get(list->items[i], "value");

        if (!name || strchr(name, '='))
            return -1;
        json_object_set_new(ret, name, json_string(value && value->text ? value->text : ""));
    }
    return 0;
}

static const char *exec_version(const struct yaml_node *exec)
{
    const char *version = text_of(exec, "apiVersion");
    static const char prefix[] = "client.authentication.k8s.io/";

    if (!version || strncmp(version, prefix, sizeof(prefix) - 1) != 0)
        return NULL;
    return strcmp(version + sizeof(prefix) - 1, "v1") == 0 ||
                   strcmp(version + sizeof(prefix) - 1, "v1beta1") == 0
               ? version
               : NULL;
}

static json_t *exec_arguments(const struct yaml_node *list)
{
    json_t *array = json_array();

    for (size_t i = 0; list && list->kind == YAML_LIST && i < list->count; i++)
        json_array_append_new(array, json_string(list->items[i]->text ? list->items[i]->text : ""));
    return array;
}

static int read_exec(struct kube_config *ret, const struct entry *e, const struct yaml_node *exec,
                     struct error *error)
{
    const char *command = text_of(exec, "command"), *mode = text_of(exec, "interactiveMode");
    const char *version = exec_version(exec), *hint = text_of(exec, "installHint");
    char *path;

    if (!command)
        return error_set(error, ERR_INVALID, "%.100s: exec has no command", e->file);
    if (!version)
        return error_set(error, ERR_INVALID,
                         "%.100s: exec: apiVersion must be client.authentication.k8s.io/v1 or v1beta1",
                         e->file);
    if (mode && strcmp(mode, "Always") == 0)
        return error_set(error, ERR_INVALID,
                         "%.100s: exec: interactiveMode Always needs a terminal, which a server has not",
                         e->file);
    path = strchr(command, '/') ? path_beside(e->file, command) : alloc_text(command);
    ret->exec = json_pack("{s:s, s:o, s:{}, s:s, s:b, s:s}", "command", path, "args",
                          exec_arguments(yaml_node_get(exec, "args")), "env", "apiVersion", version,
                          "cluster", is_true(exec, "provideClusterInfo"), "hint", hint ? hint : "");
    free(path);
    if (!ret->exec || json_array_size(json_object_get(ret->exec, "args")) > KUBE_EXEC_ARGUMENTS_MAX ||
        read_exec_environment(json_object_get(ret->exec, "env"), yaml_node_get(exec, "env")) < 0)
        return error_set(error, ERR_INVALID, "%.100s: exec: args or env are not as they should be", e->file);
    return 0;
}

static int refuse_user_keys(const struct entry *e, struct error *error)
{
    static const struct {
        const char *key, *what;
    } refused[] = {
        {"auth-provider", "auth-provider is no longer known to Kubernetes: use exec"},
        {"username", "username and password are not supported: use a token, a certificate or exec"},
        {"as", "impersonation (as) is not supported: name the user itself"},
        {"as-uid", "impersonation (as-uid) is not supported: name the user itself"},
    };

    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        if (yaml_node_get(e->node, refused[i].key))
            return error_set(error, ERR_INVALID, "%.100s: %s", e->file, refused[i].what);
    return 0;
}

/* As client-go has it: a token goes before a file with one, and that before exec. */
static int read_user(struct kube_config *ret, const struct entry *e, struct error *error)
{
    const struct yaml_node *exec = yaml_node_get(e->node, "exec");
    const char *token = text_of(e->node, "token"), *token_file = text_of(e->node, "tokenFile");
    int rc = refuse_user_keys(e, error);

    if (rc == 0)
        rc = read_part(&ret->cert, e, "client-certificate", error);
    if (rc == 0)
        rc = read_part(&ret->key, e, "client-key", error);
    if (rc < 0)
        return rc;
    if ((ret->cert.text || ret->cert.path) != (ret->key.text || ret->key.path))
        return error_set(error, ERR_INVALID, "%.100s: a client certificate and its key go together", e->file);
    if (token_file)
        ret->token.path = path_beside(e->file, token_file);
    else if (token)
        ret->token.text = alloc_text(token);
    else if (exec && exec->kind == YAML_MAP)
        return read_exec(ret, e, exec, error);
    return 0;
}

static int read_context(struct kube_config *ret, const struct reading *r, const char *wanted)
{
    const char *name = wanted ? wanted : current_context(r), *cluster, *user, *namespace;
    struct entry context, e;
    int rc;

    if (!name)
        return error_set(r->error, ERR_INVALID, "%.200s: it has no current-context: name one with context",
                         r->files[0].path);
    context = find_entry(r, "contexts", "context", name);
    if (!context.node)
        return error_set(r->error, ERR_INVALID, "%.200s: there is no context '%.100s'", r->files[0].path,
                         name);
    cluster = text_of(context.node, "cluster");
    user = text_of(context.node, "user");
    namespace = text_of(context.node, "namespace");
    e = find_entry(r, "clusters", "cluster", cluster ? cluster : "");
    if (!e.node)
        return error_set(r->error, ERR_INVALID, "%.200s: context %.100s names no cluster that is there",
                         context.file, name);
    rc = read_cluster(ret, &e, r->error);
    if (rc < 0)
        return rc;
    ret->namespace = namespace ? alloc_text(namespace) : NULL;
    e = find_entry(r, "users", "user", user ? user : "");
    if (!e.node || e.node->kind == YAML_NULL)
        return user && !e.file
                   ? error_set(r->error, ERR_INVALID, "%.200s: context %.100s names no user that is there",
                               context.file, name)
                   : 0;
    return read_user(ret, &e, r->error);
}

/* ---- the whole ---- */

static void on_fault(struct yaml_sink *sink, int line, int column, const char *text)
{
    struct reading *r = (struct reading *)((char *)sink - offsetof(struct reading, sink));

    if (r->error && r->error->code == 0)
        error_set(r->error, ERR_INVALID, "%.200s:%d:%d: %.200s", r->file, line, column, text);
}

int kube_config_read(struct kube_config *ret, const struct file_content *files, size_t count,
                     const char *context, struct error *error)
{
    static const struct yaml_limits limits = {
        .bytes = KUBE_ACCESS_FILE_BYTES, .nodes = NODES_MAX, .depth = DEPTH_MAX};
    struct yaml_doc *docs[KUBE_ACCESS_FILES_MAX] = {0};
    struct error own = {0};
    struct reading r = {.sink = {on_fault}, .docs = docs, .files = files, .count = count, .error = &own};
    int rc = 0;

    *ret = (struct kube_config){0};
    if (count < 1 || count > KUBE_ACCESS_FILES_MAX)
        return error_set(error, ERR_LIMIT, "a kubeconfig has 1 to %d files", KUBE_ACCESS_FILES_MAX);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        r.file = files[i].path;
        rc = yaml_doc_parse(&docs[i], files[i].data, files[i].size, &limits, &r.sink);
        if (rc == 0)
            rc = own.code;
        else if (own.code == 0)
            error_set(&own, rc, "%.200s: %s", files[i].path, error_text(rc));
    }
    if (rc == 0)
        rc = read_context(ret, &r, context);
    for (size_t i = 0; i < count; i++)
        yaml_doc_free(docs[i]);
    if (rc < 0 && error)
        *error = own;
    return rc;
}
