/* GET /v1/events: what happens, as it happens, for those who keep looking.
 *
 * Happy path: a batch is durable, its events are in the ring (event_ring.h), and within EVENTS_PUMP_MS every subscriber is given
 * those that he has not had: each has his place in the ring, and nothing of his own but what his connection has not sent yet. Who is
 * behind gets no more until that has gone out.
 *
 * Failures: a subscriber is overtaken by the ring, comes back with an id that is too old, of another cluster or of none, or a
 * snapshot was restored: he gets `reset` and goes on from now; he has to look at everything again. He goes: `closed`. His token
 * goes: the stream is cut (http_judge_again). All places are taken: 503, of one caller: 429.
 */
#include "cronsched/api/api_priv.h"
#include "cronsched/api/event_ring.h"
#include "jobs/definition/job.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_PUMP_MS     50
#define EVENTS_BEAT_MS     15000
#define EVENTS_PIECE_BYTES (32 * 1024) /* for one subscriber in one go */
#define EVENTS_TURN_NS     (8 * UINT64_C(1000000))

struct subscriber {
    struct object object; /* first */
    struct list all;      /* in api->subscribers */
    struct api *api;
    struct http_stream *stream;
    char caller[AUTH_CALLER_SIZE];
    char job[RUN_ID_MAX];         /* "": any */
    bool kinds[EVENT_KIND_COUNT]; /* those that are wanted */
    bool lines;                   /* JSON in lines; else as browsers take it */
    bool full;                    /* waits for `drained` */
    uint64_t next;                /* number of the event that he gets next */
    uint64_t sent_ms;             /* something was */
};

/* ---- what is sent ---- */

static const char *cluster_of(const struct api *api)
{
    return scheduler_cluster(api->context.scheduler);
}

static void add_event(struct text *t, const struct subscriber *s, const char *id, const char *kind,
                      const char *data)
{
    if (!s->lines)
        text_addf(t, "id: %s\nevent: %s\ndata: %s\n\n", id, kind, data);
    else
        text_addf(t, "{\"event\":\"%s\",\"id\":\"%s\",\"data\":%s}\n", kind, id, data);
}

/* An id by which he may go on from here, when nothing has happened since. */
static const char *id_now(struct api *api, char ret[EVENT_ID_SIZE])
{
    struct event now = {.index = event_ring_index(api->events), .number = UINT32_MAX};

    return event_id(&now, cluster_of(api), ret);
}

static void add_hello(struct api *api, struct text *t, const struct subscriber *s, const char *kind)
{
    const struct api_context *c = &api->context;
    char data[1024], quoted[256] = "null", id[EVENT_ID_SIZE], now[TEXT_NUMBER_BUFFER];
    const char *leader = scheduler_leader(c->scheduler);

    if (leader)
        snprintf(quoted, sizeof(quoted), "\"%.200s\"", leader);
    snprintf(data, sizeof(data),
             "{\"replica\":\"%.200s\",\"leader\":%s,\"index\":%" PRIu64 ",\"now\":\"%s\"}", c->replica,
             quoted, event_ring_index(api->events),
             instant_format(c->wall_ms(c->arg), INSTANT_MS, now, sizeof(now)));
    add_event(t, s, id_now(api, id), kind, data);
}

static bool is_wanted(const struct subscriber *s, const struct event *e)
{
    return s->kinds[e->kind] && (!s->job[0] || (e->job && strcmp(s->job, e->job) == 0));
}

/* Up to EVENTS_PIECE_BYTES of what he has not had. */
static void add_some(struct subscriber *s, struct text *t)
{
    const struct event_ring *ring = s->api->events;
    char id[EVENT_ID_SIZE];

    if (s->next < event_ring_first(ring)) {
        add_hello(s->api, t, s, "reset");
        s->next = event_ring_end(ring);
    }
    for (; s->next < event_ring_end(ring) && t->len < EVENTS_PIECE_BYTES; s->next++) {
        const struct event *e = event_ring_at(ring, s->next);

        if (is_wanted(s, e))
            add_event(t, s, event_id(e, cluster_of(s->api), id), event_kind_name(e->kind), e->data);
    }
}

static void give(struct subscriber *s, const struct text *t)
{
    int r = http_stream_write(s->stream, t->data, t->len);

    s->sent_ms = uv_now(s->api->loop);
    s->full = r == ERR_BUSY;
    if (t->failed || (r < 0 && r != ERR_BUSY))
        http_stream_cut(s->stream);
}

/* True: there is more for him. */
static bool pump_one(struct subscriber *s)
{
    struct text t;

    if (s->full || !s->stream)
        return false;
    text_init(&t, 1024 * 1024);
    add_some(s, &t);
    if (!t.len && uv_now(s->api->loop) - s->sent_ms >= EVENTS_BEAT_MS)
        text_add(&t, s->lines ? "\n" : ": beat\n\n");
    if (t.len)
        give(s, &t);
    text_release(&t);
    return s->next < event_ring_end(s->api->events);
}

static void on_pump(uv_timer_t *timer)
{
    struct api *api = OBJECT(struct api, timer->data);
    uint64_t begun_ns = uv_hrtime();
    struct list *last = api->subscribers.prev, *at;
    bool more = false;

    api->events_soon = false;
    if (list_empty(&api->subscribers))
        return;
    do { /* those that had their turn stand behind the others next time */
        at = api->subscribers.next;
        list_remove(at);
        list_append(&api->subscribers, at);
        more = pump_one(LIST_ITEM(at, struct subscriber, all)) || more;
    } while (at != last && uv_hrtime() - begun_ns < EVENTS_TURN_NS);
    more = more || at != last;
    loop_timer_start(&api->events_timer, on_pump, more ? 1 : EVENTS_BEAT_MS / 3, 0);
    api->events_soon = more;
}

static void pump_soon(struct api *api)
{
    if (api->events_soon || list_empty(&api->subscribers) || api->closing)
        return;
    api->events_soon = true;
    loop_timer_start(&api->events_timer, on_pump, EVENTS_PUMP_MS, 0);
}

void api_seen(struct api *api, const struct history_write *write)
{
    event_ring_add(api->events, write);
    pump_soon(api);
}

/* ---- subscribers ---- */

static void on_drained(void *arg)
{
    struct subscriber *s = OBJECT(struct subscriber, arg);

    s->full = false;
    pump_soon(s->api);
}

static void on_closed(void *arg)
{
    struct subscriber *s = OBJECT(struct subscriber, arg);
    struct api *api = s->api;

    list_remove(&s->all);
    api->subscriber_count--;
    OBJECT_FREE(struct subscriber, s);
    api_work_end(api);
}

static bool has_place(struct api *api, struct http_request *request)
{
    const char *name = http_caller(request)->name;
    size_t own = 0;
    struct error e;

    LIST_EACH(at, &api->subscribers)
    {
        own += strcmp(LIST_ITEM(at, struct subscriber, all)->caller, name) == 0;
    }
    if (api->subscriber_count < API_EVENTS_SUBSCRIBERS_MAX && own < API_EVENTS_SUBSCRIBERS_CALLER)
        return true;
    http_reply_header(request, "Retry-After", "5");
    if (own >= API_EVENTS_SUBSCRIBERS_CALLER)
        error_set(&e, ERR_LIMIT, "%s listens %d times already", name, API_EVENTS_SUBSCRIBERS_CALLER);
    else
        error_set(&e, ERR_LIMIT, "%d listen already", API_EVENTS_SUBSCRIBERS_MAX);
    http_reply_problem(request, own >= API_EVENTS_SUBSCRIBERS_CALLER ? 429 : 503, &e, NULL);
    return false;
}

static bool read_kinds(struct http_request *request, struct subscriber *s)
{
    const char *list = api_query_text(request, "kinds");

    for (int k = 0; k < EVENT_KIND_COUNT; k++)
        s->kinds[k] = !list;
    while (list && *list) {
        size_t n = strcspn(list, ",");
        int k = 0;

        while (k < EVENT_KIND_COUNT &&
               (strlen(event_kind_name(k)) != n || strncmp(event_kind_name(k), list, n) != 0))
            k++;
        if (k == EVENT_KIND_COUNT) {
            http_reply_error(request, ERR_INVALID, "kinds: there are run, job and cluster");
            return false;
        }
        s->kinds[k] = true;
        list += n + (list[n] == ',');
    }
    return true;
}

/* From where on: behind the event that he had last. False: that is not known here, or he never had one. */
static bool find_place(struct subscriber *s, struct http_request *request)
{
    const char *id = http_header(request, "Last-Event-ID");

    id = id ? id : api_query_text(request, "after");
    s->next = event_ring_end(s->api->events);
    return !id || event_ring_after(s->api->events, id, cluster_of(s->api), &s->next) == 0;
}

static bool read_subscriber(struct http_request *request, struct subscriber *s)
{
    const char *job = api_query_text(request, "job"), *accept = http_header(request, "Accept");

    s->lines = accept && strstr(accept, "application/x-ndjson");
    if (job && !job_name_valid(job)) {
        http_reply_error(request, ERR_INVALID, "job: '%.100s' is no name of a job", job);
        return false;
    }
    snprintf(s->job, sizeof(s->job), "%s", job ? job : "");
    snprintf(s->caller, sizeof(s->caller), "%s", http_caller(request)->name);
    return read_kinds(request, s);
}

static void begin(struct subscriber *s, struct http_request *request)
{
    static const struct http_stream_events events = {on_drained, on_closed};
    struct api *api = s->api;
    bool known = find_place(s, request);
    struct text t;

    http_reply_header(request, "X-Accel-Buffering", "no");
    http_reply_header(request, "Cache-Control", "no-store, no-transform");
    s->stream =
        http_reply_stream(request, 200, s->lines ? "application/x-ndjson" : "text/event-stream", &events, s);
    if (!s->stream) { /* HEAD, or he is gone */
        OBJECT_FREE(struct subscriber, s);
        return;
    }
    list_append(&api->subscribers, &s->all);
    api->subscriber_count++;
    api_work_begin(api); /* api_close waits for it */
    text_init(&t, 65536);
    add_hello(api, &t, s, "hello");
    if (!known)
        add_hello(api, &t, s, "reset");
    give(s, &t);
    text_release(&t);
    api->events_soon = false;
    pump_soon(api);
}

void api_handle_events(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    struct subscriber *s;

    if (!has_place(api, request))
        return;
    s = calloc(1, sizeof(*s));
    if (!s) {
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    OBJECT_INIT(struct subscriber, s);
    s->api = api;
    if (read_subscriber(request, s))
        begin(s, request);
    else
        OBJECT_FREE(struct subscriber, s);
}
