/* Happy path: every second the oldest notifications that are not under way and not waiting for their next try
 * are posted, a few at a time; a 2xx answer is recorded (NOTIFIED), and the notification goes. Failures: no
 * connection, another status, a time-out: a later try; after a day of them it is given up, which the journal
 * says. A leader deposed or killed in between: its successor has the same list and posts it again.
 */
#include "cronsched/notify.h"

#include "cronsched/engines/curl_uv.h"
#include "cronsched/log.h"
#include "jobs/alloc.h"
#include "jobs/list.h"

#include <stdio.h>

struct attempt { /* of one notification, for as long as it is in the state */
    struct list all;
    struct notify *notify;
    char *id, *url;
    struct curl_call *call; /* NULL: waiting */
    int failures;
    uint64_t first_ms, next_ms; /* of the loop */
};

struct notify {
    uv_loop_t *loop;
    struct scheduler *scheduler;
    struct curl_uv *curl;
    uv_timer_t timer;
    struct list attempts;
    size_t count, under_way;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void attempt_free(struct attempt *a)
{
    list_remove(&a->all);
    a->notify->count--;
    curl_call_cancel(a->call);
    free(a->id);
    free(a->url);
    free(a);
}

static struct attempt *attempt_of(struct notify *n, const struct scheduler_notice *notice)
{
    struct attempt *a;

    LIST_EACH(link, &n->attempts)
    {
        a = LIST_ITEM(link, struct attempt, all);
        if (strcmp(a->id, notice->id) == 0)
            return a;
    }
    if (n->count == NOTIFY_TRIED_MAX)
        return NULL;
    a = alloc_zero(sizeof(*a));
    a->notify = n;
    a->id = alloc_text(notice->id);
    a->url = alloc_text(notice->url);
    a->first_ms = uv_now(n->loop);
    list_append(&n->attempts, &a->all);
    n->count++;
    return a;
}

static void finish(struct attempt *a, int status, const char *text)
{
    if (status == 0)
        log_event(LOG_ERROR, "notification-given-up", LOG_TEXT("run", a->id), LOG_TEXT("text", text));
    scheduler_notice_done(a->notify->scheduler, a->id, status, text);
    attempt_free(a);
}

static void on_done(void *arg, const struct http_answer *answer)
{
    struct attempt *a = arg;
    uint64_t now = uv_now(a->notify->loop);
    int64_t wait = NOTIFY_FIRST_MS;
    char text[256];

    a->call = NULL;
    a->notify->under_way--;
    if (answer->outcome == HTTP_ANSWERED && answer->status / 100 == 2) {
        finish(a, answer->status, NULL);
        return;
    }
    if (answer->outcome == HTTP_ANSWERED)
        snprintf(text, sizeof(text), "answered with status %d", answer->status);
    else
        snprintf(text, sizeof(text), "%s", answer->error);
    if (now - a->first_ms > NOTIFY_GIVE_UP_MS) {
        finish(a, 0, text);
        return;
    }
    for (int i = 0; i < a->failures && wait < NOTIFY_MOST_MS; i++)
        wait *= 2;
    a->failures++;
    a->next_ms = now + (uint64_t)(wait < NOTIFY_MOST_MS ? wait : NOTIFY_MOST_MS);
    log_event(LOG_WARN, "notification-failed", LOG_TEXT("run", a->id), LOG_TEXT("text", text),
              LOG_INT("tries", a->failures));
}

static void post(struct attempt *a, const json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);
    struct error error = {0};
    struct http_request request = {
        .method = "POST",
        .url = a->url,
        .body = text,
        .body_size = text ? strlen(text) : 0,
        .headers = {"Content-Type: application/json", "User-Agent: cronsched/" CRONSCHED_VERSION},
        .timeout_ms = NOTIFY_TIMEOUT_MS,
        .max_bytes = 64 * 1024,
        .use_proxy = true,
        .done = on_done,
        .arg = a,
    };

    if (!text)
        return;
    if (curl_uv_start(&a->call, a->notify->curl, &request, &error) == 0)
        a->notify->under_way++;
    else if (error.code == ERR_INVALID)
        finish(a, 0, error.text); /* no later try can do better */
    free(text);
}

static void look(uv_timer_t *timer)
{
    struct notify *n = timer->data;
    struct scheduler_notice notice;

    for (size_t i = 0; n->under_way < NOTIFY_PARALLEL && scheduler_notice_at(n->scheduler, i, &notice); i++) {
        struct attempt *a = attempt_of(n, &notice);

        if (a && !a->call && a->next_ms <= uv_now(n->loop))
            post(a, notice.body);
    }
}

int notify_new(struct notify **ret, uv_loop_t *loop, struct scheduler *scheduler, struct error *error)
{
    struct notify *n = alloc_zero(sizeof(*n));
    int rc = curl_uv_new(&n->curl, loop, error);

    if (rc < 0) {
        free(n);
        return rc;
    }
    n->loop = loop;
    n->scheduler = scheduler;
    list_init(&n->attempts);
    uv_timer_init(loop, &n->timer);
    n->timer.data = n;
    uv_timer_start(&n->timer, look, NOTIFY_LOOK_MS, NOTIFY_LOOK_MS);
    *ret = n;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct notify *n = handle->data;
    void (*closed)(void *) = n->closed;
    void *arg = n->closed_arg;

    free(n);
    closed(arg);
}

static void on_curl_closed(void *arg)
{
    struct notify *n = arg;

    uv_close((uv_handle_t *)&n->timer, on_timer_closed);
}

void notify_close(struct notify *n, void (*done)(void *arg), void *arg)
{
    n->closed = done;
    n->closed_arg = arg;
    uv_timer_stop(&n->timer);
    while (!list_empty(&n->attempts))
        attempt_free(LIST_ITEM(n->attempts.next, struct attempt, all));
    curl_uv_close(n->curl, on_curl_closed, n);
}
