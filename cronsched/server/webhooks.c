/* Happy path: every second, and when one is done, the notifications that are not under way and not waiting for their
 * next try are posted, a few at a time; a 2xx answer is recorded (NOTIFIED), and the notification goes. Failures: no
 * connection, another status, a time-out: a later try; after a day of them it is given up, which the journal
 * says. A leader deposed or killed in between: its successor has the same list and posts it again. Too many of
 * them: the oldest leave the state, and what is remembered of their tries goes with them.
 */
#include "cronsched/server/webhooks.h"

#include "cronsched/io/http_client.h"
#include "cronsched/io/log.h"
#include "cronsched/server/webhook_headers.h"
#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "jobs/base/path.h"
#include "leader/worker/loop.h"

#include <stdio.h>

struct webhook {          /* of one notification, for as long as it is in the state */
    struct object object; /* first */
    struct list all;
    struct webhooks *webhooks;
    char *id, *url;
    json_t *headers, *body;
    bool reading;           /* its files */
    struct http_call *call; /* neither: waiting */
    int failures;
    uint64_t first_ms, next_ms; /* of the loop */
};

struct webhooks {
    struct object object; /* first */
    uv_loop_t *loop;
    struct scheduler *scheduler;
    struct http_client *curl;
    struct file_reader *reader;
    char *files_dir;
    uv_timer_t timer;
    struct list all; /* in the order of the scheduler's list */
    size_t count;
    struct webhook *under_way[WEBHOOKS_PARALLEL]; /* NULL: none */
    void (*closed)(void *arg);
    void *closed_arg;
};

static void webhook_free(struct webhook *a)
{
    assert(!a->reading);
    list_remove(&a->all);
    a->webhooks->count--;
    http_call_cancel(a->call);
    json_decref(a->headers);
    json_decref(a->body);
    free(a->id);
    free(a->url);
    OBJECT_FREE(struct webhook, a);
}

static void webhook_new(struct webhooks *n, const struct scheduler_notice *notice)
{
    struct webhook *a;

    if (n->count == WEBHOOKS_TRIED_MAX)
        return;
    a = OBJECT_NEW(struct webhook);
    a->webhooks = n;
    a->id = alloc_text(notice->id);
    a->url = alloc_text(notice->url);
    a->headers = json_deep_copy(notice->headers);
    a->body = json_deep_copy(notice->body);
    a->first_ms = uv_now(n->loop);
    list_append(&n->all, &a->all);
    n->count++;
}

static void finish(struct webhook *a, int status, const char *text)
{
    if (status == 0)
        log_event(LOG_ERROR, "notification-given-up", LOG_TEXT("run", a->id), LOG_TEXT("text", text));
    scheduler_notice_done(a->webhooks->scheduler, a->id, status, text);
    webhook_free(a);
}

/* Where it is under way to, or (NULL) a free place. There is one: callers have looked. */
static struct webhook **place_of(struct webhooks *n, const struct webhook *a)
{
    struct webhook **at = n->under_way;

    while (*at != a)
        at++;
    return at;
}

static void look(uv_timer_t *timer);

/* Its place is free for another. */
static void leave(struct webhook *a)
{
    *place_of(a->webhooks, a) = NULL;
    loop_timer_start(&a->webhooks->timer, look, WEBHOOKS_NEXT_MS, WEBHOOKS_LOOK_MS);
}

/* It is tried again, later and later. */
static void fail(struct webhook *a, const char *text)
{
    uint64_t now = uv_now(a->webhooks->loop);
    int64_t wait = WEBHOOKS_FIRST_MS;

    if (now - a->first_ms > WEBHOOKS_GIVE_UP_MS) {
        finish(a, 0, text);
        return;
    }
    for (int i = 0; i < a->failures && wait < WEBHOOKS_MOST_MS; i++)
        wait *= 2;
    a->failures++;
    a->next_ms = now + (uint64_t)(wait < WEBHOOKS_MOST_MS ? wait : WEBHOOKS_MOST_MS);
    log_event(LOG_WARN, "notification-failed", LOG_TEXT("run", a->id), LOG_TEXT("text", text),
              LOG_INT("tries", a->failures));
}

static void on_done(void *arg, const struct http_answer *answer)
{
    struct webhook *a = OBJECT(struct webhook, arg);
    char text[256];

    a->call = NULL;
    leave(a);
    if (answer->outcome == HTTP_ANSWERED && answer->status / 100 == 2) {
        finish(a, answer->status, NULL);
        return;
    }
    if (answer->outcome == HTTP_ANSWERED)
        snprintf(text, sizeof(text), "answered with status %d", answer->status);
    else
        snprintf(text, sizeof(text), "%s", answer->error);
    fail(a, text);
}

/* files: what webhook_headers_files has asked for. It has a place. */
static void post(struct webhook *a, const struct file_content *files)
{
    char *text = json_dumps(a->body, JSON_COMPACT);
    struct webhook_headers headers = {0};
    struct error error = {0};
    struct client_request request = {
        .method = "POST",
        .url = a->url,
        .body = text,
        .body_size = text ? strlen(text) : 0,
        .timeout_ms = WEBHOOKS_TIMEOUT_MS,
        .max_bytes = 64 * 1024,
        .use_proxy = true,
        .done = on_done,
        .arg = a,
    };
    bool made = webhook_headers_make(&headers, a->headers, files, text, clock_wall_ms() / 1000, &error) == 0;
    int rc = ERR_INVALID;

    if (made) {
        memcpy(request.headers, headers.lines, sizeof(headers.lines));
        rc = http_client_start(&a->call, a->webhooks->curl, &request, &error);
    }
    webhook_headers_release(&headers);
    free(text);
    if (rc == 0)
        return;
    leave(a);
    if (made && rc == ERR_INVALID)
        finish(a, 0, error.text); /* no later try can do better */
    else
        fail(a, error.text);
}

static void on_files(void *arg, const struct file_content *files, size_t count, size_t at,
                     const struct error *failure)
{
    struct webhook *a = OBJECT(struct webhook, arg);

    a->reading = false;
    if (a->webhooks->closed)
        return;
    if (!failure)
        return post(a, files);
    leave(a);
    fail(a, failure->text);
}

/* There is a place for it. */
static void begin(struct webhook *a)
{
    const char *paths[WEBHOOK_FILES_MAX], *folders[WEBHOOK_FILES_MAX];
    struct webhooks *n = a->webhooks;
    size_t count = webhook_headers_files(a->headers, paths);

    *place_of(n, NULL) = a;
    if (count == 0)
        return post(a, NULL);
    for (size_t i = 0; i < count; i++) {
        folders[i] = n->files_dir;
        if (!n->files_dir || !path_is_below(paths[i], n->files_dir)) {
            leave(a);
            return fail(a,
                        "a file for its headers or its signature is not below the configuration's files_dir");
        }
    }
    a->reading = true;
    file_reader_read(n->reader, paths, folders, count, JOB_HEADER_BYTES + 1, on_files, a);
}

/* The first webhook from `link` on of this notification (NULL: of none); the list's head when there is none. Both lists
 * are in the same order: those passed over are of notifications that are gone, and go, but for calls under way. */
static struct list *find(struct webhooks *n, struct list *link, const char *id)
{
    while (link != &n->all) {
        struct webhook *a = LIST_ITEM(link, struct webhook, all);

        if (id && strcmp(a->id, id) == 0)
            break;
        link = link->next;
        if (!a->call && !a->reading)
            webhook_free(a);
    }
    return link;
}

/* A webhook for each notification in the state, and no other. */
static void follow_state(struct webhooks *n)
{
    struct list *link = n->all.next;
    const struct list *at = NULL;
    struct scheduler_notice notice;

    while (scheduler_notice_next(n->scheduler, &at, &notice)) {
        link = find(n, link, notice.id);
        if (link == &n->all)
            webhook_new(n, &notice);
        else
            link = link->next;
    }
    find(n, link, NULL);
}

/* Is there a place for one more, to this receiver? A receiver that says nothing must not take them all. */
static bool has_place(const struct webhooks *n, const char *url)
{
    int all = 0, same = 0;

    for (int i = 0; i < WEBHOOKS_PARALLEL; i++) {
        all += n->under_way[i] != NULL;
        same += n->under_way[i] && strcmp(n->under_way[i]->url, url) == 0;
    }
    return all < WEBHOOKS_PARALLEL && same < WEBHOOKS_PARALLEL_URL;
}

/* Those that were never tried go before those that have failed. */
static void look(uv_timer_t *timer)
{
    struct webhooks *n = OBJECT(struct webhooks, timer->data);

    follow_state(n);
    for (int failed = 0; failed <= 1; failed++)
        LIST_EACH_SAFE(link, &n->all)
        {
            struct webhook *a = LIST_ITEM(link, struct webhook, all);

            if (!a->call && !a->reading && (a->failures > 0) == failed && a->next_ms <= uv_now(n->loop) &&
                has_place(n, a->url))
                begin(a);
        }
}

int webhooks_new(struct webhooks **ret, uv_loop_t *loop, struct scheduler *scheduler, const char *files_dir,
                 struct error *error)
{
    struct webhooks *n = OBJECT_NEW(struct webhooks);
    int rc = http_client_new(&n->curl, loop, error);

    if (rc < 0) {
        OBJECT_FREE(struct webhooks, n);
        return rc;
    }
    n->loop = loop;
    n->scheduler = scheduler;
    n->reader = file_reader_new(loop);
    n->files_dir = alloc_text(files_dir);
    list_init(&n->all);
    uv_timer_init(loop, &n->timer);
    n->timer.data = n;
    loop_timer_start(&n->timer, look, WEBHOOKS_LOOK_MS, WEBHOOKS_LOOK_MS);
    *ret = n;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct webhooks *n = OBJECT(struct webhooks, handle->data);
    void (*closed)(void *) = n->closed;
    void *arg = n->closed_arg;

    free(n->files_dir);
    OBJECT_FREE(struct webhooks, n);
    closed(arg);
}

static void on_curl_closed(void *arg)
{
    struct webhooks *n = OBJECT(struct webhooks, arg);

    uv_close((uv_handle_t *)&n->timer, on_timer_closed);
}

/* Nothing is being read any more. */
static void on_reader_closed(void *arg)
{
    struct webhooks *n = OBJECT(struct webhooks, arg);

    while (!list_empty(&n->all))
        webhook_free(LIST_ITEM(n->all.next, struct webhook, all));
    http_client_close(n->curl, on_curl_closed, n);
}

void webhooks_close(struct webhooks *n, void (*done)(void *arg), void *arg)
{
    n->closed = done;
    n->closed_arg = arg;
    uv_timer_stop(&n->timer);
    LIST_EACH_SAFE(link, &n->all)
    {
        struct webhook *a = LIST_ITEM(link, struct webhook, all);

        if (!a->reading)
            webhook_free(a);
    }
    file_reader_close(n->reader, on_reader_closed, n);
}
