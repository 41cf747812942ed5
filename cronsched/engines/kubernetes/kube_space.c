/* A namespace in which something is watched: one list of our Pods there, then the stream of their changes, whoever they are
 * of. A stream that ends is opened again where it ended; where that is no longer known (410, also as an event in a stream of
 * status 200), a line that cannot be read, or a stream that cannot be opened again and again, it begins with a list. Bookmarks
 * come about once in a minute: a stream that is silent for longer is a dead one.
 */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/alloc.h"
#include "jobs/base/percent.h"
#include "leader/worker/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_IDLE_MS 150000
#define STREAM_SECONDS "290"
#define OPEN_LEAST_MS  1000 /* between two openings */
#define FAILURES_MAX   3    /* of a stream, before it is listed again */
#define LINE_MAX_BYTES (2 * 1024 * 1024)
#define CONTINUE_MAX   512
#define EVENTS_MAX     512 /* that have come and are not looked at yet; then the stream waits */

struct kube_space {
    struct object object; /* first */
    struct list link;
    struct kube *kube;
    char namespace[KUBE_NAME_MAX];
    int wanted;                     /* watches in it; 0: it goes when nobody comes for a while */
    char version[KUBE_VERSION_MAX]; /* from which the stream goes on; "": it is to be listed */
    struct http_call *call;
    struct lines lines;
    json_t *events; /* that have come; looked at in the next turn, as whoever is told may close this */
    bool paused;
    bool stale;   /* the stream has said so, or cannot be read */
    int failures; /* in a row */
    uint64_t opened_ms;
    uv_timer_t timer;
    bool closing;
};

static void list(struct kube_space *s, const char *next);
static void open_stream(struct kube_space *s);

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(json_object_get(object, "metadata"), key));

    return text ? text : "";
}

/* ---- when ---- */

static void go_on(struct kube_space *s)
{
    if (s->call || s->kube->link != KUBE_LINK_UP || s->closing || s->wanted == 0)
        return;
    if (s->version[0])
        open_stream(s);
    else
        list(s, "");
}

static void take_events(struct kube_space *s);
static void abandon_stream(struct kube_space *s);

static void on_timer(uv_timer_t *timer)
{
    struct kube_space *s = OBJECT(struct kube_space, timer->data);

    take_events(s);
    if (s->closing)
        return;
    if (s->call && s->stale)
        abandon_stream(s);
    else
        go_on(s);
}

static void go_on_in(struct kube_space *s, int64_t ms)
{
    if (!s->closing)
        loop_timer_start(&s->timer, on_timer, (uint64_t)ms, 0);
}

static int64_t back_off_ms(const struct kube_space *s)
{
    int64_t ms = KUBE_RETRY_FIRST_MS;

    for (int i = 1; i < s->failures && ms < KUBE_RETRY_MAX_MS; i++)
        ms *= 2;
    return ms < KUBE_RETRY_MAX_MS ? ms : KUBE_RETRY_MAX_MS;
}

static void failed(struct kube_space *s, const struct kube_reply *reply)
{
    int64_t ms = back_off_ms(s);

    s->failures++;
    if (kube_lost(reply))
        kube_link_suspect(s->kube);
    go_on_in(s, reply->retry_ms > ms ? reply->retry_ms : ms);
}

static void stop(struct kube_space *s)
{
    http_call_cancel(s->call);
    s->call = NULL;
    uv_timer_stop(&s->timer);
    lines_release(&s->lines);
    if (s->events)
        json_array_clear(s->events);
}

/* ---- the stream ---- */

static void note_version(struct kube_space *s, const json_t *object)
{
    const char *version = text_at(object, "resourceVersion");

    if (*version && strlen(version) < sizeof(s->version))
        snprintf(s->version, sizeof(s->version), "%s", version);
}

static void take_event(struct kube_space *s, const json_t *event)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    const json_t *object = json_object_get(event, "object");

    if (!type || !json_is_object(object) || strcmp(type, "ERROR") == 0) {
        s->stale = true;
        return;
    }
    note_version(s, object);
    if (strcmp(type, "BOOKMARK") != 0)
        kube_watch_saw(s->kube, object, strcmp(type, "DELETED") == 0);
}

static void take_events(struct kube_space *s)
{
    json_t *events = s->events;

    s->events = json_array();
    for (size_t i = 0; i < json_array_size(events) && !s->closing && !s->stale; i++)
        take_event(s, json_array_get(events, i));
    json_decref(events);
    if (s->paused && s->call && !s->stale && !s->closing) {
        s->paused = false;
        http_call_resume(s->call);
    }
}

static void on_line(void *arg, const char *line, size_t size)
{
    struct kube_space *s = OBJECT(struct kube_space, arg);
    json_t *event = NULL;

    if (s->stale || json_text_object(line, size, "event", &event, NULL) < 0)
        s->stale = true;
    else
        json_array_append_new(s->events, event);
}

static bool on_data(void *arg, const char *bytes, size_t size)
{
    struct kube_space *s = OBJECT(struct kube_space, arg);

    if (json_array_size(s->events) > EVENTS_MAX) {
        s->paused = true;
        return false;
    }
    if (!lines_feed(&s->lines, bytes, size))
        s->stale = true;
    if (s->stale || json_array_size(s->events) > 0)
        go_on_in(s, 0);
    return true;
}

/* It cannot be read on: from a list again, in a moment. */
static void abandon_stream(struct kube_space *s)
{
    stop(s);
    s->version[0] = '\0';
    s->failures++;
    go_on_in(s, back_off_ms(s));
}

static void on_stream_end(void *arg, const struct http_answer *answer)
{
    struct kube_space *s = OBJECT(struct kube_space, arg);
    json_t *json;
    struct kube_reply reply = kube_read(s->kube, answer, &json);
    bool opened = answer->outcome == HTTP_ANSWERED && answer->status == 200;
    uint64_t since = uv_now(s->kube->tasks.loop) - s->opened_ms;

    s->call = NULL;
    lines_release(&s->lines);
    take_events(s);
    if (s->stale || reply.status == 410)
        s->version[0] = '\0';
    if (opened && !s->stale) {
        s->failures = 0;
        go_on_in(s, since < OPEN_LEAST_MS ? OPEN_LEAST_MS - (int64_t)since : 0);
    } else {
        failed(s, &reply);
    }
    if (s->failures >= FAILURES_MAX)
        s->version[0] = '\0';
    json_decref(json);
}

static void open_stream(struct kube_space *s)
{
    char path[KUBE_PATH_MAX], rest[256];
    struct kube_call call = {
        .method = "GET", .path = path, .timeout_ms = -1, .idle_ms = STREAM_IDLE_MS, .once = true};

    s->stale = s->paused = false;
    s->opened_ms = uv_now(s->kube->tasks.loop);
    s->lines = (struct lines){.max = LINE_MAX_BYTES, .line = on_line, .arg = s};
    snprintf(rest, sizeof(rest),
             "&watch=1&allowWatchBookmarks=true&timeoutSeconds=" STREAM_SECONDS "&resourceVersion=");
    if (percent_append(rest, sizeof(rest), s->version) < 0)
        s->version[0] = '\0';
    kube_list_path(s->kube, path, s->namespace, rest);
    s->call = kube_open(s->kube, &call,
                        &(struct client_request){.data = on_data, .done = on_stream_end, .arg = s}, NULL);
    if (!s->call)
        go_on_in(s, KUBE_RETRY_MAX_MS);
}

/* ---- the list ---- */

static void take_items(struct kube_space *s, const json_t *items)
{
    json_t *each;
    size_t i;

    json_array_foreach(items, i, each) kube_watch_saw(s->kube, each, false);
}

static void on_list(void *arg, const struct http_answer *answer)
{
    struct kube_space *s = OBJECT(struct kube_space, arg);
    json_t *json;
    struct kube_reply reply = kube_read(s->kube, answer, &json);
    const json_t *items = json_object_get(json, "items");
    char next[CONTINUE_MAX];

    s->call = NULL;
    snprintf(next, sizeof(next), "%s", text_at(json, "continue"));
    if (kube_lost(&reply) || reply.status != 200 || !json_is_array(items) ||
        !*text_at(json, "resourceVersion")) {
        failed(s, &reply);
    } else {
        s->failures = 0;
        take_items(s, items);
        if (*next)
            list(s, next);
        else {
            note_version(s, json);
            kube_watch_listed(s->kube, s->namespace);
            go_on_in(s, 0);
        }
    }
    json_decref(json);
}

static void list(struct kube_space *s, const char *next)
{
    char path[KUBE_PATH_MAX], rest[CONTINUE_MAX + 64];
    struct kube_call call = {.method = "GET", .path = path, .max_bytes = KUBE_LIST_BYTES_MAX};

    if (!*next)
        kube_watch_listing(s->kube, s->namespace);
    snprintf(rest, sizeof(rest), "&limit=" KUBE_PAGE "%s", *next ? "&continue=" : "");
    if (percent_append(rest, sizeof(rest), next) < 0)
        rest[0] = '\0'; /* then without pages */
    kube_list_path(s->kube, path, s->namespace, rest);
    s->call = kube_open(s->kube, &call, &(struct client_request){.done = on_list, .arg = s}, NULL);
    if (!s->call)
        go_on_in(s, KUBE_RETRY_MAX_MS);
}

/* ---- life ---- */

static struct kube_space *find(struct kube *k, const char *namespace)
{
    LIST_EACH(link, &k->spaces)
    {
        struct kube_space *s = LIST_ITEM(link, struct kube_space, link);

        if (strcmp(s->namespace, namespace) == 0)
            return s;
    }
    return NULL;
}

void kube_space_want(struct kube *k, const char *namespace)
{
    struct kube_space *s = find(k, namespace);

    if (!s) {
        s = OBJECT_NEW(struct kube_space);
        s->kube = k;
        snprintf(s->namespace, sizeof(s->namespace), "%s", namespace);
        uv_timer_init(k->tasks.loop, &s->timer);
        s->timer.data = s;
        tasks_hold(&k->tasks);
        s->events = json_array();
        list_append(&k->spaces, &s->link);
    }
    if (s->wanted++ == 0)
        go_on_in(s, 0);
}

/* What is watched next may come soon: the stream stays until it ends by itself. */
void kube_space_leave(struct kube *k, const char *namespace)
{
    struct kube_space *s = find(k, namespace);

    if (s && s->wanted > 0)
        s->wanted--;
}

void kube_spaces_link_up(struct kube *k)
{
    LIST_EACH(link, &k->spaces)
    {
        struct kube_space *s = LIST_ITEM(link, struct kube_space, link);

        s->version[0] = '\0';
        s->failures = 0;
        go_on_in(s, 0);
    }
}

void kube_spaces_link_down(struct kube *k)
{
    LIST_EACH(link, &k->spaces) stop(LIST_ITEM(link, struct kube_space, link));
}

static void on_closed(uv_handle_t *handle)
{
    struct kube_space *s = OBJECT(struct kube_space, handle->data);
    struct tasks *tasks = &s->kube->tasks;

    json_decref(s->events);
    OBJECT_FREE(struct kube_space, s);
    tasks_release(tasks);
}

void kube_spaces_free(struct kube *k)
{
    LIST_EACH_SAFE(link, &k->spaces)
    {
        struct kube_space *s = LIST_ITEM(link, struct kube_space, link);

        stop(s);
        s->closing = true;
        list_remove(&s->link);
        uv_close((uv_handle_t *)&s->timer, on_closed);
    }
}
