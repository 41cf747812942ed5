/* The pull of an image, with the credentials for its registry.
 *
 * The happy path: whose image is it? -> credentials, on a thread of a worker: of the configuration's `registries`, else of
 * Docker's own config.json, or of the credential helper that it names -> POST /images/create, with X-Registry-Auth
 * when there are any -> create again.
 *
 * Failures:
 *   the file of `registries` cannot be read        REFUSED with its path; no descriptor, no thread: UNREACHABLE
 *   config.json or a helper does not do            the image may be public: pulled without, and when that is refused
 *                                                  the text says what was wrong with them
 *   the pull fails                                 REFUSED with the engine's text: the job's retries are the place for
 *                                                  registries that come and go
 *
 * Credentials are read for each pull, so changed ones count at once; they are in no text, no log and no record.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "cronsched/engines/docker/docker_registry.h"
#include "cronsched/io/file.h"
#include "cronsched/io/json_text.h"
#include "cronsched/io/log.h"
#include "jobs/base/alloc.h"
#include "jobs/base/percent.h"

#include <assert.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOKUP_THREADS     2
#define LOOKUP_DEADLINE_MS (DOCKER_REGISTRY_HELPER_MS + 5000)
#define PASSWORD_MAX       (64 * 1024)

struct lookup {
    struct work work;
    struct docker_task *task; /* not for the thread */
    char host[DOCKER_REGISTRY_HOST_MAX];
    char *user, *file; /* of `registries` */
    char *config;      /* Docker's */
    struct docker_credentials found;
    char *header;
    struct error error; /* of what was looked at */
    char note[256];
};

static void on_progress(void *arg, const char *line, size_t len)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);
    const char *error;
    json_t *json;

    json_text_object(line, len, "progress", &json, NULL);
    error = json_string_value(json_object_get(json, "error"));
    if (error && !t->pull_error)
        t->pull_error = alloc_text(error);
    json_decref(json);
}

static bool on_pull_data(void *arg, const char *bytes, size_t size)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);

    lines_feed(&t->lines, bytes, size);
    return true;
}

static bool is_about_access(const char *text)
{
    static const char *const words[] = {"unauthorized",
                                        "denied",
                                        "authentication",
                                        "no basic auth credentials",
                                        "incorrect username",
                                        "forbidden",
                                        "401",
                                        "403"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasestr(text, words[i]))
            return true;
    return false;
}

static void on_pulled(void *arg, const struct http_answer *answer)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    t->call = NULL;
    t->pulling = false;
    t->docker->pulling--;
    lines_feed(&t->lines, "\n", 1);
    if (docker_lost(&reply)) {
        docker_answer_unreachable(t, &reply);
    } else if (reply.status != 200 || t->pull_error) {
        const char *why = t->pull_error ? t->pull_error : reply.text;

        task_answer_text(&t->task, ENGINE_REFUSED, -1, "the image '%s' cannot be pulled: %s%s",
                         t->task.q.job->image, why, t->pull_note && is_about_access(why) ? t->pull_note : "");
    } else {
        t->pulled = true;
        docker_queue_again(t, t->after_pull);
    }
    json_decref(json);
}

/* NAME[:TAG][@DIGEST] as the query of a pull. Without a tag the engine would pull all of them. */
static int pull_query(const char *image, char *query, size_t size)
{
    const char *digest = strchr(image, '@'), *slash = strrchr(image, '/');
    const char *colon = strrchr(slash ? slash : image, ':');
    const char *version = digest ? digest : colon; /* with its separator */
    char name[512];
    size_t n = version ? (size_t)(version - image) : strlen(image);
    int r;

    if (n >= sizeof(name))
        return ERR_LIMIT;
    snprintf(name, sizeof(name), "%.*s", (int)n, image);
    snprintf(query, size, "fromImage=");
    r = percent_append(query, size, name);
    if (r == 0 && strlen(query) + 5 < size)
        strncat(query, "&tag=", size - strlen(query) - 1);
    if (r < 0)
        return r;
    return percent_append(query, size, version ? version + 1 : "latest");
}

static void send_pull(struct docker_task *t, const char *header)
{
    struct docker *d = t->docker;
    struct error error = {0};
    char path[64], query[DOCKER_PATH_MAX * 2];
    struct docker_call call = {.method = "POST", .path = path, .query = query, .timeout_ms = DOCKER_PULL_MS};
    struct client_request with = {
        .data = on_pull_data, .done = on_pulled, .arg = t, .idle_timeout_ms = DOCKER_PULL_IDLE_MS};

    if (pull_query(t->task.q.job->image, query, sizeof(query)) < 0) {
        task_answer_text(&t->task, ENGINE_REFUSED, -1, "the image '%.200s': the name is too long",
                         t->task.q.job->image);
        return;
    }
    snprintf(path, sizeof(path), "%s/images/create", d->api);
    t->lines.max = DOCKER_LINE_MAX;
    t->lines.line = on_progress;
    t->lines.arg = t;
    with.headers[0] = header;
    t->call = docker_open(d, &call, &with, &error);
    if (!t->call) {
        task_answer_text(&t->task, ENGINE_UNREACHABLE, -1, "%s", error.text);
        return;
    }
}

/* ---- credentials, on the thread ---- */

static void look_in_file(struct lookup *l)
{
    char *data = NULL;
    size_t size = 0;

    if (file_read(l->file, PASSWORD_MAX, FILE_REGULAR, &data, &size, &l->error) == 0 &&
        variable_files_value(data, size, false, &l->found.password, &l->error) == 0)
        l->found.user = alloc_text(l->user);
    if (l->error.code)
        error_prefix(&l->error, "registries: %s: the file %.300s cannot be read: ", l->host, l->file);
    if (data)
        explicit_bzero(data, size);
    free(data);
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

static void lookup_run(struct work *work)
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

static void pull_with(struct docker_task *t, struct lookup *l, const struct error *error)
{
    bool later = environment_file_later(error->code) || error->code == ERR_TIMEOUT;

    if (error->code && l->file) {
        task_answer_text(&t->task, later ? ENGINE_UNREACHABLE : ENGINE_REFUSED, -1, "%s", error->text);
        return;
    }
    if (error->code)
        snprintf(l->note, sizeof(l->note), "; %.80s: %.150s", l->config, error->text);
    alloc_replace(&t->pull_note, l->note[0] ? l->note : NULL);
    send_pull(t, l->header);
}

static void lookup_done(struct work *work, int result)
{
    struct lookup *l = LIST_ITEM(work, struct lookup, work);
    struct docker_task *t = l->task;
    struct docker *d = t->docker;
    struct error error = {.code = result};

    if (!task_is_wanted(&t->task))
        return;
    if (result < 0)
        worker_result_text(d->lookups, result, error.text, sizeof(error.text));
    else
        error = l->error;
    /* what hangs is not to be touched: the thread has it */
    if (result < 0) {
        struct lookup copy = {.file = l->file, .config = l->config};

        pull_with(t, &copy, &error);
    } else {
        pull_with(t, l, &error);
    }
    tasks_release(&d->tasks);
}

static void lookup_release(struct work *work)
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

static const json_t *registry_of(const struct docker *d, const char *host)
{
    const char *key;
    json_t *value;

    json_object_foreach(d->registries, key, value)
    {
        if (docker_registry_same(key, host))
            return value;
    }
    return NULL;
}

static void begin(struct docker_task *t)
{
    struct docker *d = t->docker;
    char host[DOCKER_REGISTRY_HOST_MAX];
    const json_t *own;
    struct lookup *l;

    if (d->pulling >= DOCKER_PULLS_MAX) {
        docker_wake_in(t, 1000, begin);
        return;
    }
    t->pulling = true;
    d->pulling++;
    docker_registry_of(t->task.q.job->image, host, sizeof(host));
    own = registry_of(d, host);
    if (!own && !d->docker_config) {
        send_pull(t, NULL);
        return;
    }
    l = alloc_zero(sizeof(*l));
    l->task = t;
    memcpy(l->host, host, sizeof(host));
    l->user = alloc_text(json_string_value(json_object_get(own, "username")));
    l->file = alloc_text(json_string_value(json_object_get(own, "from_file")));
    l->config = alloc_text(d->docker_config);
    l->work = (struct work){.run = lookup_run,
                            .done = lookup_done,
                            .release = lookup_release,
                            .subject = l->file ? l->file : l->config};
    docker_task_step_out(t);
    worker_submit(d->lookups, &l->work);
}

void docker_pull_begin(struct docker_task *t, void (*after)(struct docker_task *task))
{
    t->after_pull = after;
    task_step_aside(&t->task); /* it may take minutes, and others need the place */
    begin(t);
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

void docker_pull_init(struct docker *d, const struct docker_engine_options *o)
{
    struct worker_options w = {
        .name = "registries", .threads = LOOKUP_THREADS, .deadline_ms = LOOKUP_DEADLINE_MS, .told = told};
    int r = worker_new(&d->lookups, d->loop, &w, NULL);

    assert(r == 0); /* with a deadline threads are made when they are needed */
    d->registries = o->registries ? json_deep_copy(o->registries) : NULL;
    d->docker_config = find_config(o->docker_config);
}
