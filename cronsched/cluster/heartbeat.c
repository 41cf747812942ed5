/* See heartbeat.h. A link is a timer and at most one call. To the leader: send -> answer after HEARTBEAT_MS -> send ...;
 * the timer then waits for silence. To another member: send -> answer -> pause -> send.
 *
 * Failures: a call that fails on a link that stood is sent again at once, over a fresh connection, before it counts: the
 * other may have closed a connection that was idle. Silence only counts while this process itself runs in time: a timer
 * that comes late gets a period of grace, in which answers that wait in the socket are read.
 */
#include "cronsched/cluster/heartbeat.h"

#include "cronsched/cluster/lateness.h"
#include "cronsched/io/json_text.h"
#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"
#include "jobs/base/list.h"
#include "jobs/base/object.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <stdio.h>

#define WHY_SIZE         160
#define URL_SIZE         512
#define TIMER_LATE_MS    100
#define SLOW_TIMEOUT_MS  2000
#define SLOWNESS_FACTOR  4
#define SILENCES_MAX     4
#define UNREACHABLE_MAX  8
#define HEARTBEAT_QUERY  HEARTBEAT_PATH "?hold=250"
#define NO_SECRET_YET_MS 250

struct link {
    struct object object; /* first */
    struct list of_heartbeat;
    struct heartbeat *h;
    char id[CLOCK_VOICE_ID_MAX], url[URL_SIZE];
    uv_timer_t timer;
    struct http_call *call;
    bool leads; /* this is the leader; `epoch` is its */
    int64_t epoch;
    bool stood, reported; /* in this epoch: it has answered; it was reported as down */
    bool asked;           /* by heartbeat_ask, and not answered yet */
    bool silent;          /* was told so: what it said of itself does not count any more */
    unsigned failures;    /* in a row */
    char why[WHY_SIZE];
    uint64_t sent_ms, heard_ms, due_ms; /* boot time; due: of the timer */
    uint64_t down_ms, not_leading_ms;   /* since when; 0: it is not */
    struct lateness late;
};

struct held_request {
    struct list link;
    struct http_request *request;
    uint64_t due_ms;
};

struct heartbeat {
    struct object object; /* first */
    struct heartbeat_options o;
    struct list links;
    struct list held; /* in the order of their times */
    size_t held_count;
    uv_timer_t answer; /* the first one held is due */
    uv_timer_t ask;    /* heartbeat_ask waits no longer */
    size_t asking;     /* links that were asked and have not answered */
    bool ask_under_way;
    size_t handles; /* not yet closed */
    bool stopped, closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static uint64_t now_ms(void)
{
    return (uint64_t)clock_boot_ms();
}

static void finish(struct heartbeat *h)
{
    void (*closed)(void *arg) = h->closed;
    void *arg = h->closed_arg;

    if (!h->closing || h->handles > 0)
        return;
    OBJECT_FREE(struct heartbeat, h);
    closed(arg);
}

/* ---- what others ask ---- */

static void reply(struct heartbeat *h, struct http_request *request)
{
    static const struct replicated_view nothing = {0};
    const struct replicated_view *v = h->stopped ? &nothing : h->o.view(h->o.arg);
    json_t *o = json_pack("{s:s, s:I, s:b, s:I, s:I}", "replica", h->o.self, "epoch", (json_int_t)v->epoch,
                          "leading", v->leading, "wall_ms", (json_int_t)clock_wall_ms(), "jump_ms",
                          (json_int_t)h->o.jump_ms(h->o.arg));

    if (v->mark && v->mark->cluster[0])
        json_object_set_new(o, "mark", mark_json(v->mark));
    json_object_set_new(o, "role", json_string(replicated_role_name(v->role)));
    if (v->role != REPLICATED_STANDBY) {
        json_object_set_new(o, "base", json_integer(v->base));
        json_object_set_new(o, "nonce", json_string(v->nonce));
    }
    http_reply_json(request, 200, o);
}

static void on_answer_due(uv_timer_t *timer)
{
    struct heartbeat *h = OBJECT(struct heartbeat, timer->data);

    while (!list_empty(&h->held)) {
        struct held_request *held = LIST_ITEM(h->held.next, struct held_request, link);
        uint64_t now = now_ms();

        if (!h->stopped && held->due_ms > now) {
            loop_timer_start(&h->answer, on_answer_due, held->due_ms - now, 0);
            return;
        }
        list_remove(&held->link);
        h->held_count--;
        reply(h, held->request);
        http_request_unref(held->request);
        free(held);
    }
}

void heartbeat_request(struct heartbeat *h, struct http_request *request)
{
    const char *hold = http_query(request, "hold");
    struct held_request *held;

    if (!http_caller(request)->replica) {
        http_reply_error(request, ERR_DENIED, "this is for replicas of the cluster alone");
        return;
    }
    /* one length for all: so those held are in the order of their times */
    if (!hold || strcmp(hold, "250") != 0 || h->held_count == HEARTBEAT_HELD_MAX || h->stopped) {
        reply(h, request);
        return;
    }
    held = alloc_zero(sizeof(*held));
    list_init(&held->link);
    held->request = http_request_ref(request);
    held->due_ms = now_ms() + HEARTBEAT_MS;
    list_append(&h->held, &held->link);
    if (h->held_count++ == 0)
        loop_timer_start(&h->answer, on_answer_due, HEARTBEAT_MS, 0);
}

/* ---- links ---- */

static void link_send(struct link *l);

/* After silence the next attempt gets more time: a slow way needs it for its first answer, by which it is measured. */
static uint64_t silence_ms(const struct link *l)
{
    unsigned more = l->failures < SILENCES_MAX ? l->failures : SILENCES_MAX;

    return HEARTBEAT_SILENT_MS * (1 + more) + SLOWNESS_FACTOR * lateness_ms(&l->late);
}

static void report(struct link *l, enum replicated_link_state state)
{
    struct replicated_link link = {.state = state, .why = l->why, .late_ms = lateness_ms(&l->late)};
    struct heartbeat *h = l->h;

    l->reported = state != REPLICATED_LINK_UP;
    h->o.link(h->o.arg, l->epoch, &link); /* may change the view, and with it this link */
}

static void on_timer(uv_timer_t *timer);

static void wait_for(struct link *l, uint64_t due_ms)
{
    uint64_t now = now_ms();

    l->due_ms = due_ms;
    loop_timer_start(&l->timer, on_timer, due_ms > now ? due_ms - now : 0, 0);
}

static void mark_down(struct link *l)
{
    if (!l->down_ms)
        l->down_ms = now_ms();
}

static void on_ask_over(uv_timer_t *timer)
{
    struct heartbeat *h = OBJECT(struct heartbeat, timer->data);

    LIST_EACH(at, &h->links)
    {
        LIST_ITEM(at, struct link, of_heartbeat)->asked = false;
    }
    h->asking = 0;
    h->ask_under_way = false;
    h->o.asked(h->o.arg);
}

/* An answer to heartbeat_ask, or that none will come. The last one is told from the loop. */
static void ask_answered(struct link *l)
{
    struct heartbeat *h = l->h;

    if (!l->asked)
        return;
    l->asked = false;
    assert(h->asking > 0);
    if (--h->asking == 0)
        loop_timer_start(&h->ask, on_ask_over, 0, 0);
}

static void tell_silent(struct link *l)
{
    l->silent = true;
    l->h->o.silent(l->h->o.arg, l->id);
}

static void went_wrong(struct link *l, bool refused)
{
    uint64_t now = now_ms();

    if (l->leads && l->stood && !refused && l->failures++ == 0) {
        wait_for(l, now);
        return;
    }
    mark_down(l);
    ask_answered(l);
    wait_for(l, now + (l->leads ? HEARTBEAT_MS : HEARTBEAT_SLOW_MS));
    if (l->leads || refused || l->failures++ > 0) /* one late answer of a replica that lives proves nothing */
        tell_silent(l);
    if (l->leads)
        report(l, l->stood && refused ? REPLICATED_LINK_BROKEN : REPLICATED_LINK_REFUSED);
}

static void hear_clock(struct link *l, const json_t *o, uint64_t now)
{
    struct clock_voice voice = {.heard_ms = l->sent_ms};
    uint64_t under_way = l->leads ? 0 : (now - l->sent_ms) / 2; /* one that was held left just now */
    int64_t wall_ms, jump_ms;

    if (json_text_int(o, "wall_ms", 1, JSON_TEXT_TIME_MAX, &wall_ms) < 0 ||
        json_text_int(o, "jump_ms", -JSON_TEXT_TIME_MAX, JSON_TEXT_TIME_MAX, &jump_ms) < 0)
        return;
    snprintf(voice.id, sizeof(voice.id), "%s", l->id);
    voice.wall_ms = wall_ms + (int64_t)under_way - (int64_t)now;
    voice.jump_ms = jump_ms;
    l->h->o.clock(l->h->o.arg, &voice);
}

/* The leader's process lives but says that it does not lead: it may have been elected just now. False: for too long.
 * o NULL: it does not say. */
static bool believable(struct link *l, const json_t *o, uint64_t now)
{
    if (!l->leads || !o || json_is_true(json_object_get(o, "leading"))) {
        l->not_leading_ms = 0;
        return true;
    }
    if (!l->not_leading_ms)
        l->not_leading_ms = now;
    return now - l->not_leading_ms <= (uint64_t)l->h->o.view(l->h->o.arg)->session_timeout_ms;
}

static enum replicated_role role_of(const char *name)
{
    enum replicated_role role = REPLICATED_LEADER;

    while (role > REPLICATED_STANDBY && (!name || strcmp(name, replicated_role_name(role)) != 0))
        role--;
    return role;
}

/* What it says of its leadership. An older build says nothing. */
static void hear_role(struct link *l, const json_t *o)
{
    struct replicated_heard heard = {.id = l->id, .url = l->url, .asked_ms = l->sent_ms};
    const char *nonce = json_string_value(json_object_get(o, "nonce"));

    if (mark_parse(&heard.mark, json_object_get(o, "mark"), NULL) < 0)
        heard.mark = (struct mark){.index = 0};
    heard.role = nonce ? role_of(json_string_value(json_object_get(o, "role"))) : REPLICATED_STANDBY;
    heard.nonce = nonce ? nonce : "";
    heard.base = json_integer_value(json_object_get(o, "base"));
    heard.epoch = json_integer_value(json_object_get(o, "epoch"));
    l->h->o.heard(l->h->o.arg, &heard);
}

static void heard(struct link *l, const json_t *o)
{
    uint64_t now = now_ms();

    hear_clock(l, o, now);
    ask_answered(l);
    if (!believable(l, o, now)) {
        snprintf(l->why, sizeof(l->why), "it answers that it does not lead");
        went_wrong(l, false);
        return;
    }
    if (l->leads)
        lateness_note(&l->late, now > l->sent_ms + HEARTBEAT_MS ? now - l->sent_ms - HEARTBEAT_MS : 0);
    l->failures = 0;
    l->silent = false;
    l->down_ms = 0;
    l->stood = true;
    l->heard_ms = now;
    wait_for(l, l->leads ? l->sent_ms + HEARTBEAT_MS : now + HEARTBEAT_SLOW_MS);
    if (l->leads && l->reported)
        report(l, REPLICATED_LINK_UP);
    hear_role(l, o); /* may change the view, and with it this link */
}

/* It has no such route, but says so as this program does. Its clock and its role stay unknown. */
static bool is_older_build(const struct http_answer *a)
{
    struct error error;
    json_t *o = a->status == 404 ? peer_json(a, &error) : NULL;
    bool older = json_is_string(json_object_get(json_object_get(o, "error"), "code"));

    json_decref(o);
    return older;
}

static void on_done(void *arg, const struct http_answer *a)
{
    struct link *l = OBJECT(struct link, arg);
    struct error error;
    json_t *o = NULL;
    const char *id;

    l->call = NULL;
    if (a->status == 200)
        o = peer_json(a, &error);
    id = json_string_value(json_object_get(o, "replica"));
    if ((id && strcmp(id, l->id) == 0) || is_older_build(a)) {
        heard(l, o);
        json_decref(o);
        return;
    }
    if (id)
        snprintf(l->why, sizeof(l->why), "replica %.100s answers there", id);
    else if (peer_answered(a) && a->status == 401)
        snprintf(
            l->why, sizeof(l->why),
            "it does not know this replica: it has not read the cluster's secret in ZooKeeper yet, or reads "
            "another one");
    else if (peer_answered(a))
        snprintf(l->why, sizeof(l->why), "HTTP status %d", a->status);
    else
        snprintf(l->why, sizeof(l->why), "%s", a->error);
    json_decref(o);
    went_wrong(l, a->outcome == HTTP_NOT_SENT);
}

static void link_send(struct link *l)
{
    struct peer_target target = {.url = l->url,
                                 .path = l->leads && !l->asked ? HEARTBEAT_QUERY : HEARTBEAT_PATH};
    struct client_request request = {.method = "GET", .done = on_done, .arg = l};
    struct error error;

    assert(!l->call);
    if (!l->h->o.peer->secret[0]) {
        wait_for(l, now_ms() + NO_SECRET_YET_MS);
        return;
    }
    if (l->leads && l->stood) /* a name may have an address that is silent beside the one that refuses */
        request.connect_timeout_ms = HEARTBEAT_CONNECT_MS +
                                     (int64_t)(SLOWNESS_FACTOR * lateness_ms(&l->late));
    request.timeout_ms = l->leads ? 0 : SLOW_TIMEOUT_MS; /* silence is noticed by the timer */
    l->sent_ms = now_ms();
    if (peer_start(&l->call, l->h->o.peer, &target, &request, &error) < 0) {
        snprintf(l->why, sizeof(l->why), "%.*s", WHY_SIZE - 1, error.text);
        wait_for(l, now_ms() + HEARTBEAT_SLOW_MS);
        mark_down(l);
        return;
    }
    if (l->leads)
        wait_for(l, l->sent_ms + silence_ms(l));
}

static void on_timer(uv_timer_t *timer)
{
    struct link *l = OBJECT(struct link, timer->data);
    uint64_t now = now_ms();

    if (!l->call) {
        link_send(l);
        return;
    }
    if (now - l->due_ms > TIMER_LATE_MS) {
        wait_for(l, now + HEARTBEAT_GRACE_MS);
        return;
    }
    http_call_cancel(l->call);
    l->call = NULL;
    l->failures++;
    mark_down(l);
    snprintf(l->why, sizeof(l->why), "no answer for %llu ms",
             (unsigned long long)(now - (l->heard_ms ? l->heard_ms : l->sent_ms)));
    ask_answered(l);
    link_send(l);
    tell_silent(l);
    report(l, REPLICATED_LINK_SILENT);
}

/* ---- which links there are ---- */

static void on_link_closed(uv_handle_t *handle)
{
    struct link *l = OBJECT(struct link, handle->data);
    struct heartbeat *h = l->h;

    OBJECT_FREE(struct link, l);
    assert(h->handles > 0);
    h->handles--;
    finish(h);
}

static void link_close(struct link *l)
{
    http_call_cancel(l->call);
    l->call = NULL;
    ask_answered(l);
    list_remove(&l->of_heartbeat);
    uv_close((uv_handle_t *)&l->timer, on_link_closed);
}

static struct link *link_find(struct heartbeat *h, const char *id)
{
    LIST_EACH(at, &h->links)
    {
        struct link *l = LIST_ITEM(at, struct link, of_heartbeat);

        if (strcmp(l->id, id) == 0)
            return l;
    }
    return NULL;
}

static struct link *link_new(struct heartbeat *h, const char *id, const char *url)
{
    struct link *l = OBJECT_NEW(struct link);

    l->h = h;
    snprintf(l->id, sizeof(l->id), "%s", id);
    snprintf(l->url, sizeof(l->url), "%s", url);
    uv_timer_init(h->o.loop, &l->timer);
    l->timer.data = l;
    h->handles++;
    list_init(&l->of_heartbeat);
    list_append(&h->links, &l->of_heartbeat);
    return l;
}

/* There is a link to this replica, at this address, in the role that it has now. */
static void link_set(struct heartbeat *h, const char *id, const char *url, bool leads, int64_t epoch)
{
    struct link *l = link_find(h, id);

    if (strcmp(id, h->o.self) == 0 || !url || !url[0])
        return;
    if (l && strcmp(l->url, url) != 0) {
        link_close(l);
        l = NULL;
    }
    if (l && l->leads == leads && (!leads || l->epoch == epoch))
        return;
    if (!l)
        l = link_new(h, id, url);
    l->leads = leads;
    l->epoch = epoch;
    l->stood = l->stood && !l->down_ms;
    l->reported = false;
    l->failures = 0;
    l->not_leading_ms = 0;
    http_call_cancel(l->call);
    l->call = NULL;
    wait_for(l, now_ms()); /* one that was asked is asked again */
}

static bool is_member(const struct replicated_view *v, const char *id)
{
    for (size_t i = 0; i < v->member_count; i++)
        if (strcmp(v->members[i].id, id) == 0)
            return true;
    return v->leader && strcmp(v->leader, id) == 0;
}

/* Those that are not members now: they may serve another ensemble. */
static void set_known_links(struct heartbeat *h, const struct replicated_view *v)
{
    json_t *known = (json_t *)(uintptr_t)h->o.known(h->o.arg), *one;
    const char *id;

    json_object_foreach(known, id, one)
    {
        if (!is_member(v, id))
            link_set(h, id, json_string_value(json_object_get(one, "url")), false, 0);
    }
}

void heartbeat_changed(struct heartbeat *h)
{
    const struct replicated_view *v = h->o.view(h->o.arg);

    if (h->stopped)
        return;
    LIST_EACH_SAFE(at, &h->links)
    {
        struct link *l = LIST_ITEM(at, struct link, of_heartbeat);

        if (!is_member(v, l->id) && !json_object_get(h->o.known(h->o.arg), l->id))
            link_close(l);
    }
    for (size_t i = 0; i < v->member_count; i++) {
        const struct replicated_member *m = &v->members[i];

        if (!v->leader || strcmp(m->id, v->leader) != 0)
            link_set(h, m->id, json_string_value(json_object_get(m->facts, "url")), false, 0);
    }
    if (v->leader && !v->leading)
        link_set(h, v->leader, v->leader_url, true, v->epoch);
    set_known_links(h, v);
}

bool heartbeat_ask(struct heartbeat *h)
{
    uint64_t wait_ms = HEARTBEAT_ASK_MS;

    if (h->ask_under_way)
        return true;
    LIST_EACH(at, &h->links)
    {
        struct link *l = LIST_ITEM(at, struct link, of_heartbeat);

        if (h->stopped || l->silent)
            continue;
        http_call_cancel(l->call);
        l->call = NULL;
        l->asked = h->ask_under_way = true;
        h->asking++;
        if (!l->heard_ms)
            wait_ms = HEARTBEAT_FIRST_MS; /* a slow way takes some time for its first connection */
        wait_for(l, now_ms());
    }
    if (h->ask_under_way)
        loop_timer_start(&h->ask, on_ask_over, wait_ms, 0);
    return h->ask_under_way;
}

const char *heartbeat_down(const struct heartbeat *h, const char *id)
{
    const struct link *l = link_find((struct heartbeat *)(uintptr_t)h, id);

    if (!l || (!l->down_ms && !l->heard_ms))
        return NULL;
    return l->down_ms ? l->why : "";
}

json_t *heartbeat_unreachable(const struct heartbeat *h)
{
    json_t *all = json_array();
    uint64_t now = now_ms();

    LIST_EACH(at, &h->links)
    {
        const struct link *l = LIST_ITEM(at, struct link, of_heartbeat);

        if (l->down_ms && is_member(h->o.view(h->o.arg), l->id) && now - l->down_ms >= HEARTBEAT_TELL_MS &&
            json_array_size(all) < UNREACHABLE_MAX)
            json_array_append_new(
                all, json_sprintf("%s cannot reach %s at %s: %s", h->o.self, l->id, l->url, l->why));
    }
    return all;
}

/* ---- life ---- */

void heartbeat_new(struct heartbeat **ret, const struct heartbeat_options *options)
{
    struct heartbeat *h = OBJECT_NEW(struct heartbeat);

    h->o = *options;
    list_init(&h->links);
    list_init(&h->held);
    uv_timer_init(h->o.loop, &h->answer);
    uv_timer_init(h->o.loop, &h->ask);
    h->answer.data = h->ask.data = h;
    h->handles = 2;
    *ret = h;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct heartbeat *h = OBJECT(struct heartbeat, handle->data);

    h->handles--;
    finish(h);
}

void heartbeat_stop(struct heartbeat *h)
{
    h->stopped = true;
    h->ask_under_way = false;
    LIST_EACH_SAFE(at, &h->links)
    {
        link_close(LIST_ITEM(at, struct link, of_heartbeat));
    }
    uv_timer_stop(&h->ask);
    on_answer_due(&h->answer);
}

void heartbeat_close(struct heartbeat *h, void (*done)(void *arg), void *arg)
{
    assert(!h->closing);
    heartbeat_stop(h);
    h->closing = true;
    h->closed = done;
    h->closed_arg = arg;
    uv_close((uv_handle_t *)&h->answer, on_timer_closed);
    uv_close((uv_handle_t *)&h->ask, on_timer_closed);
}
