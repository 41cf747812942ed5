/* The pull of an image, with the credentials for its registry.
 *
 * The happy path: the credentials (docker_login.h) -> POST /images/create, with X-Registry-Auth when there are any ->
 * create again.
 *
 * Failures:
 *   the file of `registries` cannot be read        REFUSED with its path; no descriptor, no thread: UNREACHABLE
 *   config.json or a helper does not do            the image may be public: pulled without, and when that is refused
 *                                                  the text says what was wrong with them
 *   the pull fails                                 REFUSED with the engine's text: the job's retries are the place for
 *                                                  registries that come and go
 */
#include "cronsched/engines/docker/docker_core.h"

#include "cronsched/engines/docker/docker_login.h"
#include "cronsched/io/json_text.h"
#include "jobs/base/alloc.h"
#include "jobs/base/percent.h"

#include <stdio.h>
#include <string.h>

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

static void on_login(void *arg, const struct docker_login *login)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);
    struct docker *d = t->docker;

    if (!task_is_wanted(&t->task))
        return;
    if (login->error) {
        task_answer_text(&t->task, login->later ? ENGINE_UNREACHABLE : ENGINE_REFUSED, -1, "%s",
                         login->error->text);
    } else {
        alloc_replace(&t->pull_note, login->note);
        send_pull(t, login->header);
    }
    tasks_release(&d->tasks);
}

static void begin(struct docker_task *t)
{
    struct docker *d = t->docker;

    if (d->pulling >= DOCKER_PULLS_MAX) {
        docker_wake_in(t, 1000, begin);
        return;
    }
    t->pulling = true;
    d->pulling++;
    if (docker_login_find(d->logins, t->task.q.job->image, on_login, t))
        docker_task_step_out(t);
    else
        send_pull(t, NULL);
}

void docker_pull_begin(struct docker_task *t, void (*after)(struct docker_task *task))
{
    t->after_pull = after;
    task_step_aside(&t->task); /* it may take minutes, and others need the place */
    begin(t);
}
