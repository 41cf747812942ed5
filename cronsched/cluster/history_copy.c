#include "cronsched/cluster/history_copy.h"

#include "cronsched/cluster/member_info.h"
#include "cronsched/io/json_text.h"
#include "cronsched/io/log.h"
#include "jobs/base/alloc.h"
#include "jobs/base/object.h"
#include "leader/worker/loop.h"

#include <inttypes.h>
#include <stdio.h>

struct history_copy {
    struct object object; /* first */
    struct history_copy_options o;
    uv_timer_t timer;
    uint64_t first, last, below; /* of the gap that is being filled; older ones begin below */
    bool busy;                   /* from a look to its end */
    bool with_history;           /* it owes an answer */
    char *urls[REPLICATED_MEMBERS_MAX];
    size_t url_count, next;
    struct http_call *call;
    uint64_t copied; /* batches, in this look */
    bool stopping, timer_closed;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

static void look(struct history_copy *c);
static void ask_next(struct history_copy *c);

static void forget_urls(struct history_copy *c)
{
    for (size_t i = 0; i < c->url_count; i++)
        free(c->urls[i]);
    c->url_count = c->next = 0;
}

static void finish_stop(struct history_copy *c)
{
    void (*stopped)(void *arg) = c->stopped;
    void *arg = c->stopped_arg;

    if (!c->stopping || !c->timer_closed || c->with_history)
        return;
    forget_urls(c);
    OBJECT_FREE(struct history_copy, c);
    stopped(arg);
}

static void look_ends(struct history_copy *c)
{
    if (c->copied > 0)
        log_event(LOG_NOTE, "history-copied", LOG_INT("batches", (int64_t)c->copied),
                  LOG_TEXT("text", "history that was missing here came from other replicas"));
    c->busy = false;
    c->copied = c->below = 0;
    forget_urls(c);
}

/* ---- taking a page in ---- */

static void on_filled(void *arg, const struct error *error)
{
    struct history_copy *c = OBJECT(struct history_copy, arg);

    c->with_history = false;
    if (c->stopping) {
        finish_stop(c);
    } else if (error) {
        log_event(LOG_WARN, "history-copy", LOG_TEXT("from", c->urls[c->next - 1]),
                  LOG_TEXT("text", error->text));
        ask_next(c);
    } else {
        look(c); /* is there more? */
    }
}

/* ---- asking ---- */

static void on_page(void *arg, const struct http_answer *answer)
{
    struct history_copy *c = OBJECT(struct history_copy, arg);
    json_t *page = answer->status == 200 ? peer_json(answer, NULL) : NULL;
    int64_t first, last;

    c->call = NULL;
    /* a page that ends before it begins would be asked for again, for ever */
    if (!page || json_text_int(page, "first", (int64_t)c->first, (int64_t)c->first, &first) < 0 ||
        json_text_int(page, "last", first, (int64_t)c->last, &last) < 0) {
        json_decref(page);
        ask_next(c);
        return;
    }
    c->copied += (uint64_t)(last - first) + 1;
    c->with_history = true;
    c->o.history->ops->fill(c->o.history, page, on_filled, c);
}

/* No replica has it: try an older one. */
static void give_up_gap(struct history_copy *c)
{
    c->below = c->first;
    look(c);
}

static void ask_next(struct history_copy *c)
{
    char path[96];
    struct peer_target target = {.path = path};
    struct client_request q = {
        .method = "GET", .timeout_ms = HISTORY_COPY_REPLY_MS, .done = on_page, .arg = c};

    snprintf(path, sizeof(path), "/v1/peer/history?first=%" PRIu64 "&last=%" PRIu64, c->first, c->last);
    while (c->next < c->url_count) {
        target.url = c->urls[c->next++];
        if (peer_start(&c->call, c->o.peer, &target, &q, NULL) == 0)
            return;
    }
    give_up_gap(c);
}

/* ---- looking ---- */

static void on_gap(void *arg, json_t *gap, const struct error *error)
{
    struct history_copy *c = OBJECT(struct history_copy, arg);

    (void)error; /* the history has logged it */
    c->with_history = false;
    if (c->stopping) {
        finish_stop(c);
    } else if (!json_is_object(gap)) {
        look_ends(c);
    } else {
        c->first = (uint64_t)json_integer_value(json_object_get(gap, "first"));
        c->last = (uint64_t)json_integer_value(json_object_get(gap, "last"));
        forget_urls(c);
        c->url_count = member_info_others(c->o.view(c->o.arg), c->o.self, NULL, c->urls);
        ask_next(c);
    }
    json_decref(gap);
}

static void look(struct history_copy *c)
{
    struct history_query q = {.kind = HISTORY_GAP, .first = c->below};

    c->with_history = true;
    c->o.history->ops->query(c->o.history, &q, on_gap, c);
}

static void on_timer(uv_timer_t *timer)
{
    struct history_copy *c = OBJECT(struct history_copy, timer->data);

    if (c->busy || !c->o.view(c->o.arg)->connected)
        return;
    c->busy = true;
    look(c);
}

/* ---- life ---- */

void history_copy_start(struct history_copy **ret, const struct history_copy_options *o)
{
    struct history_copy *c = OBJECT_NEW(struct history_copy);

    c->o = *o;
    uv_timer_init(o->loop, &c->timer);
    c->timer.data = c;
    loop_timer_start(&c->timer, on_timer, HISTORY_COPY_LOOK_MS, HISTORY_COPY_LOOK_MS);
    *ret = c;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct history_copy *c = OBJECT(struct history_copy, handle->data);

    c->timer_closed = true;
    finish_stop(c);
}

void history_copy_stop(struct history_copy *c, void (*done)(void *arg), void *arg)
{
    c->stopping = true;
    c->stopped = done;
    c->stopped_arg = arg;
    http_call_cancel(c->call);
    c->call = NULL;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}
