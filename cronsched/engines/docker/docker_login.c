#include "cronsched/engines/docker/docker_login.h"

#include "cronsched/engines/docker/docker_registry.h"
#include "cronsched/io/file.h"
#include "cronsched/io/log.h"
#include "jobs/base/alloc.h"
#include "jobs/base/object.h"
#include "jobs/engine/environment.h"
#include "leader/worker/worker.h"

#include <assert.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOKUP_THREADS     2
#define LOOKUP_DEADLINE_MS (DOCKER_REGISTRY_HELPER_MS + 5000)

struct docker_logins {
    json_t *registries;
    char *config; /* the path of Docker's own config.json; NULL: none */
    struct worker *worker;
    void (*done)(void *arg);
    void *arg;
};

struct lookup {
    struct work work;
    /* not for the thread */
    struct docker_logins *logins;
    void (*done)(void *arg, const struct docker_login *login);
    void *arg;

    char host[DOCKER_REGISTRY_HOST_MAX];
    char *user, *file; /* of `registries` */
    char *config;      /* Docker's */
    struct docker_credentials found;
    char *header;
    struct error error; /* of what was looked at */
    char note[256];
};

/* ---- on the thread ---- */

static void look_in_file(struct lookup *l)
{
    if (docker_registry_password(l->file, &l->found.password, &l->error) == 0)
        l->found.user = alloc_text(l->user);
    else
        error_prefix(&l->error, "registries: %s: the file %.300s cannot be read: ", l->host, l->file);
}

/* None, where it has none; what is wrong with it is a note. */
static void look_in_config(struct lookup *l)
{
    char helper[DOCKER_REGISTRY_HELPER_MAX] = "", *data = NULL;
    struct error error = {0};
    size_t size = 0;
    int r = file_read(l->config, DOCKER_REGISTRY_CONFIG_MAX, FILE_REGULAR, &data, &size, &error);

    if (r == 0)
        r = docker_registry_config(data, size, l->host, &l->found, helper, &error);
    if (r == 0 && helper[0])
        r = docker_registry_ask(helper, l->host, &l->found, &error);
    if (r < 0 && r != ERR_NOT_FOUND)
        snprintf(l->note, sizeof(l->note), "; %.80s: %.150s", l->config, error.text);
    else if (r < 0 && helper[0] && data)
        snprintf(l->note, sizeof(l->note), "; %.200s", error.text);
    if (data)
        explicit_bzero(data, size);
    free(data);
}

static void look_up(struct work *work)
{
    struct lookup *l = LIST_ITEM(work, struct lookup, work);

    if (l->file)
        look_in_file(l);
    else
        look_in_config(l);
    l->header = docker_registry_header(&l->found, l->host);
    if (!l->header && !l->note[0])
        snprintf(
            l->note, sizeof(l->note),
            "; there are no credentials for %.100s, neither in 'registries' of the engine nor of a docker "
            "login",
            l->host);
}

/* ---- on the loop ---- */

static void on_looked_up(struct work *work, int result)
{
    struct lookup *l = LIST_ITEM(work, struct lookup, work);
    struct error error = {.code = result};
    char note[sizeof(l->note)] = "";
    struct docker_login login = {0};

    if (result < 0) /* what hangs is not to be touched: the thread has it */
        worker_result_text(l->logins->worker, result, error.text, sizeof(error.text));
    else
        error = l->error;
    login.later = environment_file_later(error.code) || error.code == ERR_TIMEOUT;
    if (error.code && l->file)
        login.error = &error;
    else if (error.code)
        snprintf(note, sizeof(note), "; %.80s: %.150s", l->config, error.text);
    else
        memcpy(note, l->note, sizeof(note));
    login.note = note[0] ? note : NULL;
    login.header = result < 0 ? NULL : l->header;
    l->done(l->arg, &login);
}

static void on_release(struct work *work)
{
    struct lookup *l = LIST_ITEM(work, struct lookup, work);

    docker_credentials_release(&l->found);
    if (l->header)
        explicit_bzero(l->header, strlen(l->header));
    free(l->header);
    free(l->user);
    free(l->file);
    free(l->config);
    free(l);
}

static const json_t *registry_of(const struct docker_logins *logins, const char *host)
{
    const char *key;
    json_t *value;

    json_object_foreach(logins->registries, key, value)
    {
        if (docker_registry_same(key, host))
            return value;
    }
    return NULL;
}

bool docker_login_find(struct docker_logins *logins, const char *image,
                       void (*done)(void *arg, const struct docker_login *login), void *arg)
{
    char host[DOCKER_REGISTRY_HOST_MAX];
    const json_t *own;
    struct lookup *l;

    docker_registry_of(image, host, sizeof(host));
    own = registry_of(logins, host);
    if (!own && !logins->config)
        return false;
    l = alloc_zero(sizeof(*l));
    l->logins = logins;
    l->done = done;
    l->arg = arg;
    memcpy(l->host, host, sizeof(host));
    l->user = alloc_text(json_string_value(json_object_get(own, "username")));
    l->file = alloc_text(json_string_value(json_object_get(own, "from_file")));
    l->config = alloc_text(logins->config);
    l->work = (struct work){.run = look_up,
                            .done = on_looked_up,
                            .release = on_release,
                            .subject = l->file ? l->file : l->config};
    worker_submit(logins->worker, &l->work);
    return true;
}

/* ---- life ---- */

static char *find_config(const char *given)
{
    const char *folder = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
    const struct passwd *user = folder || home ? NULL
                                               : getpwuid(geteuid()); /* as for a system service of root */
    char path[4096];
    int n;

    if (given)
        return *given ? alloc_text(given) : NULL;
    if (user)
        home = user->pw_dir;
    if (folder && *folder)
        n = snprintf(path, sizeof(path), "%s/config.json", folder);
    else if (home && *home)
        n = snprintf(path, sizeof(path), "%s/.docker/config.json", home);
    else
        return NULL;
    return n > 0 && n < (int)sizeof(path) ? alloc_text(path) : NULL;
}

static void told(void *arg, bool stuck, const char *subject)
{
    (void)arg;
    if (stuck)
        log_event(LOG_WARN, "file-stuck", LOG_TEXT("file", subject),
                  LOG_TEXT("text", "reading credentials does not come back"));
    else
        log_event(LOG_NOTE, "file-back", LOG_TEXT("file", subject),
                  LOG_TEXT("text", "reading it has come back"));
}

struct docker_logins *docker_logins_new(uv_loop_t *loop, const json_t *registries, const char *docker_config)
{
    struct docker_logins *logins = alloc_zero(sizeof(*logins));
    struct worker_options w = {
        .name = "registries", .threads = LOOKUP_THREADS, .deadline_ms = LOOKUP_DEADLINE_MS, .told = told};
    int r = worker_new(&logins->worker, loop, &w, NULL);

    assert(r == 0); /* with a deadline threads are made when they are needed */
    logins->registries = registries ? json_deep_copy(registries) : NULL;
    logins->config = find_config(docker_config);
    return logins;
}

static void on_closed(void *arg)
{
    struct docker_logins *logins = arg;
    void (*done)(void *) = logins->done;
    void *done_arg = logins->arg;

    json_decref(logins->registries);
    free(logins->config);
    free(logins);
    done(done_arg);
}

void docker_logins_close(struct docker_logins *logins, void (*done)(void *arg), void *arg)
{
    if (!logins)
        return;
    logins->done = done;
    logins->arg = arg;
    worker_close(logins->worker, on_closed, logins);
}
