/* See kube_access.h. The steps of a reading, each begun by the end of the one before:
 *
 *   the kubeconfig's files -> the files that it names, or the settings do -> the exec plug-in, when it has to run -> a login
 *
 * One reading at a time; one that is asked for meanwhile begins when it has ended.
 */
#include "cronsched/engines/kubernetes/kube_access.h"

#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"
#include "jobs/base/object.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define PROGRAM_DEADLINE_MS (KUBE_EXEC_MS + 5000)
#define RETRY_MS            5000 /* after a reading that failed */
#define RENEW_LEAST_MS      1000
#define LIFE_LEAST_MS       10000

enum part { PART_CA, PART_CERT, PART_KEY, PART_TOKEN, PART_NAMESPACE, PART_COUNT };

/* The work of an exec plug-in: it outlives the access when it does not return. */
struct program {
    struct work work;
    struct kube_access *access;
    json_t *exec, *cluster_info;
    struct kube_credential credential;
    struct error error;
    int result;
};

struct kube_access {
    struct object object; /* first */
    uv_loop_t *loop;
    struct kube_access_events events;
    void *arg;
    char *kubeconfig[KUBE_ACCESS_FILES_MAX]; /* of its files; [0] NULL: see `fixed` */
    size_t kubeconfig_count;
    char *context;
    struct kube_config fixed, config; /* fixed: of the settings; config: of this reading */
    struct kube_login *login;
    char *exec_text; /* the plug-in whose credential this is; NULL: none */
    struct kube_credential credential;
    int64_t renew_at_ms; /* of the wall clock: the credential's life is mostly over; 0: it does not end */
    bool refused;        /* by the API: the plug-in is to run in any case */
    bool reading, again;
    uint64_t began_ms;
    struct file_reader *reader;
    struct worker *programs;
    uv_timer_t timer;
    int held;
    void (*closed)(void *arg);
    void *closed_arg;
    bool closing;
};

static void begin(struct kube_access *a);

/* ---- the login ---- */

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void login_free(struct kube_login *l)
{
    if (!l)
        return;
    free(l->server);
    free(l->tls_name);
    free(l->connect_to);
    free(l->proxy);
    free(l->namespace);
    free(l->ca);
    free(l->cert);
    wipe(l->key);
    wipe(l->authorization);
    free(l);
}

static char *copy(const char *text)
{
    return text && *text ? alloc_text(text) : NULL;
}

/* A token in one header line; one that cannot be is none. */
static char *authorization(const char *token)
{
    size_t n = token ? strcspn(token, "\r\n") : 0;
    char *made;

    if (n == 0)
        return NULL;
    made = alloc_zero(n + 32);
    snprintf(made, n + 32, "Authorization: Bearer %.*s", (int)n, token);
    return made;
}

/* https://HOST:PORT/PREFIX as https://NAME:PORT/PREFIX, with HOST:PORT in *ret_address: TLS asks for NAME. */
static char *renamed_server(const char *server, const char *name, char **ret_address)
{
    const char *host = strstr(server, "://") + 3, *path = host + strcspn(host, "/");
    const char *bracket = memchr(host, ']', (size_t)(path - host));
    const char *colon = strchr(bracket ? bracket : host, ':');
    size_t size = strlen(server) + strlen(name) + 16;
    char *made = alloc_zero(size);
    bool has_port = colon && colon < path;

    *ret_address = alloc_zero(size);
    snprintf(*ret_address, size, "%.*s%s", (int)(path - host), host, has_port ? "" : ":443");
    snprintf(made, size, "%.*s%s%s", (int)(host - server), server, name, has_port ? colon : path);
    return made;
}

static void set_login(struct kube_access *a)
{
    const struct kube_config *c = &a->config;
    const struct kube_credential *own = c->exec ? &a->credential : &(struct kube_credential){0};
    struct kube_login *l = alloc_zero(sizeof(*l));

    l->insecure = c->insecure;
    l->tls_name = copy(c->tls_name);
    l->proxy = copy(c->proxy);
    l->namespace = copy(c->namespace);
    l->ca = copy(c->ca.text);
    l->cert = copy(own->cert ? own->cert : c->cert.text);
    l->key = copy(own->key ? own->key : c->key.text);
    l->authorization = authorization(own->token ? own->token : c->token.text);
    if (l->tls_name && strncmp(c->server, "https://", 8) == 0)
        l->server = renamed_server(c->server, l->tls_name, &l->connect_to);
    else
        l->server = copy(c->server);
    login_free(a->login);
    a->login = l;
}

/* ---- the end of a reading ---- */

static void on_timer(uv_timer_t *timer)
{
    begin(OBJECT(struct kube_access, timer->data));
}

static int64_t next_in_ms(const struct kube_access *a, bool failed)
{
    int64_t ms = failed ? RETRY_MS : KUBE_ACCESS_AGAIN_MS, left = a->renew_at_ms - clock_wall_ms();

    if (!failed && a->config.exec && a->renew_at_ms && left < ms)
        ms = left > RENEW_LEAST_MS ? left : RENEW_LEAST_MS;
    return ms;
}

static void finish(struct kube_access *a, const struct error *error)
{
    if (!error)
        set_login(a);
    a->reading = false;
    if (a->closing)
        return;
    loop_timer_start(&a->timer, on_timer, (uint64_t)(a->again ? 0 : next_in_ms(a, error)), 0);
    a->again = false;
    a->events.read(a->arg, error);
}

/* ---- the exec plug-in ---- */

static void program_run(struct work *work)
{
    struct program *p = (struct program *)work;

    p->result = kube_exec_run(p->exec, p->cluster_info, &p->credential, &p->error);
}

static void take_credential(struct kube_access *a, struct program *p)
{
    int64_t life = p->credential.expires_ms - clock_wall_ms();

    kube_credential_release(&a->credential);
    a->credential = p->credential;
    p->credential = (struct kube_credential){0};
    free(a->exec_text);
    a->exec_text = json_dumps(p->exec, JSON_COMPACT | JSON_SORT_KEYS);
    a->refused = false;
    life = life > LIFE_LEAST_MS ? life : LIFE_LEAST_MS;
    a->renew_at_ms = a->credential.expires_ms ? clock_wall_ms() + life / 5 * 4 : 0;
}

static void program_done(struct work *work, int result)
{
    struct program *p = (struct program *)work;
    struct kube_access *a = OBJECT(struct kube_access, p->access);

    if (result < 0) /* p is the thread's still */
        finish(a, &(struct error){.code = result, .text = "the exec plug-in does not come back"});
    else if (p->result < 0)
        finish(a, &p->error);
    else
        take_credential(a, p);
    if (result == 0 && p->result == 0)
        finish(a, NULL);
}

static void program_release(struct work *work)
{
    struct program *p = (struct program *)work;

    kube_credential_release(&p->credential);
    json_decref(p->exec);
    json_decref(p->cluster_info);
    free(p);
}

static void set_string(json_t *object, const char *key, const char *text)
{
    if (text)
        json_object_set_new(object, key, json_string(text));
}

/* As spec.cluster of what a plug-in is told. */
static json_t *cluster_info(const struct kube_config *c)
{
    json_t *info = json_pack("{s:s}", "server", c->server);

    set_string(info, "tls-server-name", c->tls_name);
    set_string(info, "proxy-url", c->proxy);
    if (c->insecure)
        json_object_set_new(info, "insecure-skip-tls-verify", json_true());
    return info;
}

static bool must_run(const struct kube_access *a)
{
    char *text = json_dumps(a->config.exec, JSON_COMPACT | JSON_SORT_KEYS);
    bool other = !a->exec_text || !text || strcmp(a->exec_text, text) != 0;

    free(text);
    return other || a->refused || (a->renew_at_ms && a->renew_at_ms <= clock_wall_ms());
}

static void run_program(struct kube_access *a)
{
    struct program *p;

    if (!a->config.exec || !must_run(a)) {
        finish(a, NULL);
        return;
    }
    p = alloc_zero(sizeof(*p));
    p->work = (struct work){.run = program_run, .done = program_done, .release = program_release};
    p->access = a;
    p->exec = json_deep_copy(a->config.exec);
    p->cluster_info = cluster_info(&a->config);
    worker_submit(a->programs, &p->work);
}

/* ---- files ---- */

static struct kube_part *part_of(struct kube_config *c, size_t i)
{
    struct kube_part *const parts[PART_COUNT] = {&c->ca, &c->cert, &c->key, &c->token, &c->namespace_file};

    return parts[i];
}

static void on_parts(void *arg, const struct file_content *files, size_t count, size_t at,
                     const struct error *error)
{
    struct kube_access *a = OBJECT(struct kube_access, arg);
    bool is_empty;

    if (a->closing || error) {
        finish(a, error);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (!files[i].data)
            continue;
        is_empty = files[i].size == 0 || strlen(files[i].data) != files[i].size;
        if (is_empty) { /* as one that is being written: another time */
            struct error fault;

            error_set(&fault, ERR_INVALID, "%.300s is empty, or no text", files[i].path);
            finish(a, &fault);
            return;
        }
        wipe(part_of(&a->config, i)->text);
        part_of(&a->config, i)->text = alloc_text(files[i].data);
    }
    if (a->config.namespace_file.text && !a->config.namespace)
        a->config.namespace =
            strndup(a->config.namespace_file.text, strcspn(a->config.namespace_file.text, " \r\n"));
    run_program(a);
}

static void read_parts(struct kube_access *a)
{
    const char *paths[PART_COUNT] = {0};
    bool any = false;

    for (size_t i = 0; i < PART_COUNT; i++) {
        paths[i] = part_of(&a->config, i)->path;
        any = any || paths[i];
    }
    if (any)
        file_reader_read(a->reader, paths, NULL, PART_COUNT, KUBE_ACCESS_FILE_BYTES, on_parts, a);
    else
        run_program(a);
}

static void on_kubeconfig(void *arg, const struct file_content *files, size_t count, size_t at,
                          const struct error *error)
{
    struct kube_access *a = OBJECT(struct kube_access, arg);
    struct error fault = {0};

    if (a->closing || error) {
        finish(a, error);
        return;
    }
    kube_config_release(&a->config);
    if (kube_config_read(&a->config, files, count, a->context, &fault) < 0)
        finish(a, &fault);
    else
        read_parts(a);
}

static void copy_part(struct kube_part *to, const struct kube_part *from)
{
    to->text = from->text ? alloc_text(from->text) : NULL;
    to->path = from->path ? alloc_text(from->path) : NULL;
}

static void begin(struct kube_access *a)
{
    if (a->reading) {
        a->again = true;
        return;
    }
    a->reading = true;
    a->began_ms = uv_now(a->loop);
    if (a->kubeconfig_count > 0) {
        file_reader_read(a->reader, (const char *const *)a->kubeconfig, NULL, a->kubeconfig_count,
                         KUBE_ACCESS_FILE_BYTES, on_kubeconfig, a);
        return;
    }
    kube_config_release(&a->config);
    a->config.server = alloc_text(a->fixed.server);
    for (size_t i = 0; i < PART_COUNT; i++)
        copy_part(part_of(&a->config, i), part_of(&a->fixed, i));
    read_parts(a);
}

/* ---- the source ---- */

static char *joined(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = alloc_zero(size);

    snprintf(path, size, "%s/%s", folder, name);
    return path;
}

static int set_account(struct kube_access *a, const char *folder, struct error *error)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    char url[512];

    if (!host || !*host || !port || !*port)
        return error_set(
            error, ERR_INVALID,
            "it has neither kubeconfig nor endpoint, and this is no Pod: KUBERNETES_SERVICE_HOST is not set");
    if (strchr(host, ':'))
        snprintf(url, sizeof(url), "https://[%.200s]:%.20s", host, port);
    else
        snprintf(url, sizeof(url), "https://%.200s:%.20s", host, port);
    a->fixed.ca.path = joined(folder, "ca.crt");
    a->fixed.token.path = joined(folder, "token");
    a->fixed.namespace_file.path = joined(folder, "namespace");
    return kube_config_server(&a->fixed, url, error);
}

static int set_source(struct kube_access *a, const struct kube_source *s, struct error *error)
{
    const char *at = s->kubeconfig;

    a->context = copy(s->context);
    while (at && *at) {
        size_t n = strcspn(at, ":");

        if (n > 0 && a->kubeconfig_count == KUBE_ACCESS_FILES_MAX)
            return error_set(error, ERR_LIMIT, "kubeconfig: more than %d files", KUBE_ACCESS_FILES_MAX);
        if (n > 0)
            a->kubeconfig[a->kubeconfig_count++] = strndup(at, n);
        at += n + (at[n] == ':');
    }
    if (a->kubeconfig_count > 0)
        return 0;
    if (!s->endpoint)
        return set_account(a, s->account ? s->account : KUBE_ACCOUNT_FOLDER, error);
    a->fixed.ca.path = copy(s->ca_file);
    a->fixed.cert.path = copy(s->cert_file);
    a->fixed.key.path = copy(s->key_file);
    a->fixed.token.path = copy(s->token_file);
    return kube_config_server(&a->fixed, s->endpoint, error);
}

static void access_free(struct kube_access *a)
{
    for (size_t i = 0; i < a->kubeconfig_count; i++)
        free(a->kubeconfig[i]);
    free(a->context);
    free(a->exec_text);
    kube_config_release(&a->fixed);
    kube_config_release(&a->config);
    kube_credential_release(&a->credential);
    login_free(a->login);
    OBJECT_FREE(struct kube_access, a);
}

/* ---- life ---- */

int kube_access_new(struct kube_access **ret, uv_loop_t *loop, const struct kube_source *source,
                    const struct kube_access_events *events, void *arg, struct error *error)
{
    struct kube_access *a = OBJECT_NEW(struct kube_access);
    int rc;

    a->loop = loop;
    a->events = *events;
    a->arg = arg;
    rc = set_source(a, source, error);
    if (rc == 0)
        rc = worker_new(
            &a->programs, loop,
            &(struct worker_options){.name = "kube-exec", .threads = 1, .deadline_ms = PROGRAM_DEADLINE_MS},
            error);
    if (rc < 0) {
        access_free(a);
        return rc;
    }
    a->reader = file_reader_new(loop);
    uv_timer_init(loop, &a->timer);
    a->timer.data = a;
    loop_timer_start(&a->timer, on_timer, 0, 0);
    *ret = a;
    return 0;
}

const struct kube_login *kube_access_login(const struct kube_access *access)
{
    return access->login;
}

void kube_access_renew(struct kube_access *a)
{
    uint64_t since = uv_now(a->loop) - a->began_ms;

    if (a->closing)
        return;
    a->refused = true;
    if (a->reading)
        return;
    loop_timer_start(&a->timer, on_timer, since < RENEW_LEAST_MS ? RENEW_LEAST_MS - since : 0, 0);
}

size_t kube_access_stuck(const struct kube_access *access)
{
    return file_reader_stuck(access->reader);
}

static void part_closed(struct kube_access *a)
{
    void (*closed)(void *) = a->closed;
    void *arg = a->closed_arg;

    if (--a->held > 0)
        return;
    access_free(a);
    closed(arg);
}

static void on_part_closed(void *arg)
{
    part_closed(OBJECT(struct kube_access, arg));
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_closed(OBJECT(struct kube_access, handle->data));
}

void kube_access_close(struct kube_access *a, void (*done)(void *arg), void *arg)
{
    assert(!a->closing);
    a->closing = true;
    a->closed = done;
    a->closed_arg = arg;
    a->held = 3;
    uv_close((uv_handle_t *)&a->timer, on_timer_closed);
    file_reader_close(a->reader, on_part_closed, a);
    worker_close(a->programs, on_part_closed, a);
}
