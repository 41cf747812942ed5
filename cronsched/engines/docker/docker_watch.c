/* WATCH: follows containers to their end.
 *
 * The happy path: the watch looks (inspect) once, follows the container's output into its log, and waits for
 * `die` on the one stream of events that all watches share; then it looks again. StartedAt and FinishedAt set
 * and a state that is over: the rest of the log is read, ENDED is answered. Nobody's word but inspect's
 * counts for an end: `wait` is not used, since it answers 0 for what never ran.
 *
 * Failures:
 *   the link goes down     UNREACHABLE once; when it is back, all are looked at: still running is STARTED
 *                          again
 *   an event gets lost     each watch is looked at every DOCKER_LOOK_MS anyway
 *   the container is gone  ENDED when its `die` was seen, else UNKNOWN
 *   another engine         UNREACHABLE once; what is not there is believed only after the engine's identity
 *   an end without `die`   the engine may have been restarted meanwhile, and have made it up: the default network tells
 *                          (docker_end.c), and the events that the engine remembers. What is made up is UNKNOWN
 *   no sense, no answer    and the link is up: UNREACHABLE once, and it is looked at every second
 *   it says `created`      UNKNOWN: the engine died in mid-start and does not know what it has started
 *   it runs again          somebody else has started it again (docker restart or start, a restart policy that was
 *                          set later): the attempt runs on, and is STARTED once more with the count. After a
 *                          signal by somebody else the end is answered RESTART_WAIT_MS later, since a restart
 *                          is a stop and then a start. One that is started after its end was answered is a stray
 *                          (docker_stray.c)
 *   it was killed          with a memory limit, and the engine does not say for what: the end is answered
 *                          OOM_WAIT_MS later, since the engine learns of that beside the end (`oom`)
 *
 * A start is another one when a `die` was before it, by the events; or when StartedAt is later than that of the last
 * known one, or the container runs and has a FinishedAt; the engine's own restarts have a count.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "jobs/base/percent.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNFINISHED_LOOKS_MAX 20 /* at a state that is over without saying since when */
#define ABSENT_LOOKS_MAX                                                                                     \
    3 /* for one that is gone: its end may be among the events that are still to come                        \
       */

#define RESTART_WAIT_MS 3000
#define OOM_WAIT_MS     1000 /* in which the engine may find out why it was killed */
#define LOOK_AGAIN_MS   1000 /* after an answer that is invalid, or none */
#define START_SLACK_MS                                                                                       \
    1000 /* a start that the journal has may be by our clock, where the engine did not answer */

struct docker_watch {
    struct http_call *look;
    bool wanted;      /* look as soon as there is room */
    bool unreachable; /* the scheduler was told so */
    bool was_away;    /* the engine has been away since it was last seen running */
    bool stopping;    /* a STOP of ours */
    bool died;        /* by the events */
    int64_t died_ms;
    int died_code, foreign_signal; /* one that was sent by somebody else */
    int stop_signal;               /* of the container; 0: not known */
    bool oom;                      /* an `oom` was among its events */
    int unfinished, absent, lost;  /* looks that came to nothing */
    bool elsewhere;                /* it is on another engine, and the scheduler was told so */
    int starts, told;              /* how often it was started; as the host knows */
    int64_t start_ms;              /* of the last start that is known; 0: none */
    bool looked;                   /* at least once */
    int64_t over_ms;               /* of uv_now, since when it has been seen not to run; 0: it runs */
    struct docker_state end;
    enum docker_end_source source; /* of `end` */
    bool unread;                   /* its output, at its end */
    bool policy;                   /* it has a restart policy */
    bool ended, gone;
    bool revived; /* started again when its end was about to be answered: it will be a stray */
};

static void look_more(struct docker *d);
static void look_later(struct docker_task *t);

static struct docker_task *find(struct docker *d, const char *id)
{
    LIST_EACH(link, &d->tasks.watches)
    {
        struct docker_task *t = docker_task_at(link);

        if (strcmp(t->task.q.id, id) == 0)
            return t;
    }
    return NULL;
}

/* ---- the end ---- */

static void explain_starts(const struct docker_watch *w, char *text, size_t size)
{
    if (w->starts > 1)
        snprintf(text, size, "somebody else started the container again: it was started %d times%s",
                 w->starts, w->policy ? ", and has a restart policy by now" : "");
    else
        *text = '\0';
}

static void add(char *text, size_t size, const char *more)
{
    size_t n = strlen(text);

    if (more && *more)
        snprintf(text + n, size - n, "%s%s", n ? "; " : "", more);
}

/* It is over, and nobody knows how: what the engine says of it is not to be taken for a success or a failure. */
static void answer_unknown(struct docker_task *t, const char *remark)
{
    struct docker_watch *w = t->watch;
    char text[DOCKER_TEXT_MAX * 2], finished[TEXT_NUMBER_BUFFER] = "?";

    if (w->end.finished_ms)
        instant_format(w->end.finished_ms, INSTANT_MS, finished, sizeof(finished));
    if (w->source == DOCKER_END_MADE_UP)
        snprintf(
            text, sizeof(text),
            "the engine or its host went down while it ran, and what the engine says of its end since then "
            "(exit code %d, %s) it has not seen",
            w->end.exit_code, finished);
    else
        snprintf(text, sizeof(text), "it is over (%s), and the engine does not tell with which exit code",
                 finished);
    add(text, sizeof(text), remark);
    task_answer_text(&t->task, ENGINE_UNKNOWN, -1, "%s", text);
}

static void answer_ended(struct docker_task *t, const char *remark)
{
    struct docker_watch *w = t->watch;
    char text[DOCKER_TEXT_MAX * 2], starts[DOCKER_TEXT_MAX];
    struct docker_end end = {.state = &w->end,
                             .source = w->source,
                             .foreign_signal = w->stopping ? 0 : w->foreign_signal,
                             .stopped = w->stopping,
                             .unread = w->unread && !w->died};
    struct engine_answer a = {
        .event = ENGINE_ENDED,
        .starts = w->starts,
        .started_ms = w->end.started_ms,
        .at_ms = w->end.finished_ms,
        .exit_code = w->end.exit_code,
    };

    w->end.oom_killed |= w->oom;
    a.cause = docker_end_explain(&end, text, sizeof(text));

    add(text, sizeof(text),
        w->gone ? "somebody removed the container before its state and its log were read" : NULL);
    add(text, sizeof(text), remark);
    explain_starts(w, starts, sizeof(starts));
    add(text, sizeof(text), starts);
    a.text = text[0] ? text : NULL;
    FAULT_POINT("docker.ended", t->task.q.run);
    task_answer(&t->task, &a);
}

static void on_log_kept(void *arg, const char *remark)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);
    struct docker_watch *w = t->watch;

    if (w->source == DOCKER_END_MADE_UP || w->end.exit_code < 0) {
        answer_unknown(t, remark);
        return;
    }
    answer_ended(t, remark);
}

static void ended(struct docker_task *t)
{
    struct docker_watch *w = t->watch;

    w->ended = true;
    w->wanted = false;
    docker_log_finish(t->log, on_log_kept);
}

static void say_elsewhere(struct docker_task *t)
{
    struct docker *d = t->docker;
    struct docker_watch *w = t->watch;
    char text[DOCKER_TEXT_MAX];

    if (w->ended || w->elsewhere || !docker_identity_differs(d, t, text, sizeof(text)))
        return;
    w->elsewhere = w->unreachable = w->was_away = w->wanted = true;
    w->absent = 0;
    w->gone = false;
    d->host->answer(
        d->host, &(struct engine_answer){
                     .ticket = t->task.q.ticket, .event = ENGINE_UNREACHABLE, .exit_code = -1, .text = text});
}

static void on_gone(struct docker_task *t)
{
    struct docker_watch *w = t->watch;
    char text[DOCKER_TEXT_MAX];

    w->gone = true;
    if (docker_identity_differs(t->docker, t, text, sizeof(text))) {
        say_elsewhere(t);
        return;
    }
    if (!w->died && ++w->absent < ABSENT_LOOKS_MAX) {
        docker_identity_doubt(t->docker);
        docker_wake_in(t, 500, look_later);
        return;
    }
    if (!w->died) {
        task_answer_text(&t->task, ENGINE_UNKNOWN, -1,
                         "the container is gone: somebody removed it, and its end with it");
        return;
    }
    w->end = (struct docker_state){.finished_ms = w->died_ms, .exit_code = w->died_code};
    ended(t);
}

/* ---- looks ---- */

static void alive(struct docker_task *t, const struct docker_state *state)
{
    struct docker_watch *w = t->watch;
    bool again = w->unreachable || w->starts > w->told;
    char text[DOCKER_TEXT_MAX];

    w->unreachable = w->was_away = w->elsewhere = false;
    w->over_ms = 0;
    w->told = w->starts;
    docker_log_follow(t->log);
    explain_starts(w, text, sizeof(text));
    if (again) /* not the end of the request: it stays */
        t->docker->host->answer(t->docker->host, &(struct engine_answer){.ticket = t->task.q.ticket,
                                                                         .event = ENGINE_STARTED,
                                                                         .started_ms = state->started_ms,
                                                                         .exit_code = -1,
                                                                         .starts = w->starts,
                                                                         .text = text[0] ? text : NULL});
}

/* What was known of the last life does not hold for the next one. */
static void begin_life(struct docker_watch *w, int64_t start_ms)
{
    w->start_ms = start_ms;
    w->died = false;
    w->foreign_signal = 0;
    w->oom = false;
    w->over_ms = 0;
}

static void count_starts(struct docker_watch *w, const struct docker_state *state)
{
    /* in RESTARTING the engine has counted already and not started it yet, and may be stopped before it does */
    bool begun = state->status == DOCKER_RUNNING || state->status == DOCKER_PAUSED;
    int by_engine = state->restart_count + begun;
    int64_t slack_ms = w->looked ? 0 : START_SLACK_MS;

    w->policy = state->restarts;
    w->stop_signal = state->stop_signal;
    if (w->start_ms == 0) {
        w->start_ms = state->started_ms;
    } else if (state->started_ms > w->start_ms + slack_ms) {
        w->starts++;
        begin_life(w, state->started_ms);
    }
    w->looked = true;
    if (w->starts < 2 && begun && state->finished_ms) {
        w->starts = 2;
        begin_life(w, state->started_ms);
    }
    if (w->starts < by_engine) { /* of events that are still to come */
        w->starts = by_engine;
        begin_life(w, state->started_ms);
    }
}

static void look_later(struct docker_task *t)
{
    t->watch->wanted = true;
    look_more(t->docker);
}

/* ---- an end that this watch has not seen ---- */

static void on_life(struct docker_watch *w, const struct docker_fact *fact)
{
    if (fact->at_ms < w->start_ms)
        return; /* the stream begins with what is long known */
    if (fact->event == DOCKER_EVENT_DIE) {
        w->died = true;
        w->died_ms = fact->at_ms;
        w->died_code = fact->exit_code;
    } else if (fact->event == DOCKER_EVENT_START && w->died) {
        w->starts++;
        w->revived = w->ended;
        begin_life(w, fact->at_ms);
    } else {
        return;
    }
    w->wanted = !w->ended;
}

static void on_old_event(void *arg, const char *line, size_t len)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);
    struct docker_fact fact;
    json_t *json;

    json_text_object(line, len, "event", &json, NULL);
    if (json && docker_event_read(json, t->task.q.id, &fact))
        on_life(t->watch, &fact);
    json_decref(json);
}

/* It runs again, or its `die` has come meanwhile; or there was no answer, and all is looked at again. */
static bool is_settled(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker_watch *w = t->watch;

    if (w->ended || w->over_ms == 0)
        return true;
    if (docker_lost(reply))
        docker_link_suspect(t->docker, reply);
    if ((!docker_lost(reply) && reply->status < 500) || ++w->unfinished >= UNFINISHED_LOOKS_MAX)
        return false;
    docker_wake_in(t, 500, look_later);
    return true;
}

/* A `die` that came before this watch began is among those that the engine remembers. */
static void on_old_events(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker_watch *w = t->watch;
    struct lines lines = {.max = DOCKER_LINE_MAX, .line = on_old_event, .arg = t};

    if (is_settled(t, reply))
        return;
    if (!docker_lost(reply) && reply->status == 200)
        lines_feed(&lines, reply->body, strlen(reply->body));
    lines_release(&lines);
    if (w->died)
        w->source = DOCKER_END_OWN;
    ended(t);
}

static void ask_events(struct docker_task *t, int64_t engine_ms)
{
    char filters[DOCKER_PATH_MAX], query[DOCKER_PATH_MAX * 2];

    snprintf(query, sizeof(query), "since=1&until=%lld&filters=", (long long)(engine_ms / 1000 + 1));
    snprintf(filters, sizeof(filters),
             "{\"type\":[\"container\"],\"event\":[\"die\"],\"container\":[\"%.*s\"]}", DOCKER_ID_MAX,
             t->task.q.id);
    percent_append(query, sizeof(query), filters); /* it fits: an id is short */
    docker_send(t, &(struct docker_call){.method = "GET", .path = "/events", .query = query}, on_old_events);
}

/* Whether the end that nobody has seen is one. */
static void on_network(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker_watch *w = t->watch;
    struct docker *d = t->docker;
    const char *made = json_string_value(json_object_get(reply->json, "Created"));
    struct docker_restart restart = {.seen_away = w->was_away,
                                     .live_restore = d->live_restore,
                                     .zero = strncmp(d->version, "24.", 3) == 0};

    if (is_settled(t, reply))
        return;
    if (reply->status == 200)
        restart.network_ms = docker_time_read(made);
    docker_starts_read(d, &restart.process_ms, &restart.host_ms);
    w->source = docker_end_judge(&w->end, &restart);
    w->unread = docker_end_is_unread(&w->end, &restart);
    if (w->source == DOCKER_END_MADE_UP)
        ask_events(t, reply->date_ms ? reply->date_ms : d->host->now_ms(d->host));
    else
        ended(t);
}

static void end_with(struct docker_task *t, const struct docker_state *state)
{
    struct docker_watch *w = t->watch;

    w->end = *state;
    w->source = DOCKER_END_OWN;
    w->unread = false;
    if (w->died)
        ended(t);
    else if (!t->call)
        docker_send(t, &(struct docker_call){.method = "GET", .path = "/networks/bridge"}, on_network);
}

/* What somebody may do to it now, or the engine may find out of it, is worth so many ms of waiting. */
static int64_t wait_ms(const struct docker_watch *w, const struct docker_state *state)
{
    if (w->stopping)
        return 0;
    if (w->foreign_signal)
        return RESTART_WAIT_MS;
    return docker_end_may_be_oom(state) && !w->oom ? OOM_WAIT_MS : 0;
}

static void over(struct docker_task *t, const struct docker_state *state)
{
    struct docker_watch *w = t->watch;
    int64_t now = (int64_t)uv_now(t->docker->loop);

    if (!w->over_ms)
        w->over_ms = now;
    if (now - w->over_ms < wait_ms(w, state)) {
        docker_wake_in(t, 500, look_later);
    } else if (state->started_ms && state->finished_ms) {
        end_with(t, state);
    } else if (++w->unfinished < UNFINISHED_LOOKS_MAX) {
        docker_wake_in(t, 500, look_later);
    } else {
        task_answer_text(&t->task, ENGINE_UNKNOWN, -1, "the engine says that it is over, and not since when");
    }
}

static void judge(struct docker_task *t, const struct docker_state *state)
{
    count_starts(t->watch, state);
    switch (state->status) {
    case DOCKER_RUNNING:
    case DOCKER_PAUSED:
    case DOCKER_RESTARTING:
        alive(t, state);
        break;
    case DOCKER_EXITED:
    case DOCKER_DEAD:
    case DOCKER_REMOVING:
        over(t, state);
        break;
    case DOCKER_CREATED:
        task_answer_text(&t->task, ENGINE_UNKNOWN, -1,
                         "the engine says that it was never started: it died in the middle of the start%s%s",
                         state->error[0] ? ": " : "", state->error);
        break;
    }
}

/* Whether it runs is not known now. It is looked at on and on; once that tells, it is STARTED again. May be the end of
 * the task, if the host makes it so. */
static void say_senseless(struct docker_task *t, const struct docker_reply *reply)
{
    struct docker *d = t->docker;
    char text[DOCKER_TEXT_MAX] = "the answer to inspect is invalid";

    if (t->watch->unreachable)
        return;
    if (docker_lost(reply))
        snprintf(text, sizeof(text), "%s: %.300s", d->endpoint.text, reply->text);
    else if (reply->status != 200)
        snprintf(text, sizeof(text), "%s: HTTP %d: %.300s", d->endpoint.text, reply->status, reply->text);
    t->watch->unreachable = true;
    d->host->answer(
        d->host, &(struct engine_answer){
                     .ticket = t->task.q.ticket, .event = ENGINE_UNREACHABLE, .exit_code = -1, .text = text});
}

static void on_looked(void *arg, const struct http_answer *answer)
{
    struct docker_task *t = OBJECT(struct docker_task, arg);
    struct docker *d = t->docker;
    struct docker_state state;
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    t->watch->look = NULL;
    d->looking--;
    if (docker_lost(&reply)) {
        docker_link_suspect(d, &reply);
        docker_wake_in(t, LOOK_AGAIN_MS, look_later);
        if (++t->watch->lost > 1) /* the first time the link may be down, which is told then */
            say_senseless(t, &reply);
    } else if (reply.status == 404) {
        on_gone(t);
    } else if (reply.status != 200 || docker_state_read(json, &state) < 0) {
        docker_wake_in(t, LOOK_AGAIN_MS, look_later);
        say_senseless(t, &reply);
    } else {
        t->watch->lost = 0;
        judge(t, &state);
    }
    json_decref(json);
    look_more(d);
}

static void look(struct docker_task *t)
{
    struct docker *d = t->docker;
    char path[DOCKER_PATH_MAX];
    struct docker_call call = {.method = "GET", .path = path, .timeout_ms = DOCKER_CALL_MS};

    snprintf(path, sizeof(path), "%s/containers/%.*s/json", d->api, DOCKER_ID_MAX, t->task.q.id);
    t->watch->look = docker_open(d, &call, &(struct client_request){.done = on_looked, .arg = t}, NULL);
    if (t->watch->look) {
        t->watch->wanted = false;
        d->looking++;
    }
}

/* Starts what fits of the looks that are wanted. */
static void look_more(struct docker *d)
{
    char text[DOCKER_TEXT_MAX];

    if (d->link != DOCKER_LINK_UP || d->identity_state == DOCKER_IDENTITY_UNREAD || d->tasks.closing)
        return;
    LIST_EACH(link, &d->tasks.watches)
    {
        struct docker_task *t = docker_task_at(link);

        if (d->looking >= DOCKER_LOOKS_AT_ONCE)
            return;
        if (t->watch->wanted && !t->watch->look && !t->watch->ended &&
            !docker_identity_differs(d, t, text, sizeof(text)))
            look(t);
    }
}

static void want_all(struct docker *d)
{
    LIST_EACH(link, &d->tasks.watches)
    {
        struct docker_watch *w = docker_task_at(link)->watch;

        w->wanted = !w->ended;
    }
    look_more(d);
}

static void on_look_timer(uv_timer_t *timer)
{
    want_all(OBJECT(struct docker, timer->data));
}

void docker_looks_timer_start(struct docker *d)
{
    loop_timer_start(&d->look_timer, on_look_timer, DOCKER_LOOK_MS, DOCKER_LOOK_MS);
}

/* ---- the stream of events ---- */

static bool ends_by(const struct docker_watch *w, int signal)
{
    return signal == SIGTERM || signal == SIGKILL || signal == SIGINT || signal == SIGQUIT ||
           (signal > 0 && signal == w->stop_signal);
}

bool docker_watch_ends_by(struct docker *d, const char *id, int signal)
{
    const struct docker_task *t = find(d, id);

    return ends_by(t ? t->watch : &(struct docker_watch){0}, signal);
}

static void on_kill(struct docker *d, const json_t *event)
{
    const json_t *actor = json_object_get(event, "Actor");
    const char *id = json_string_value(json_object_get(actor, "ID"));
    const char *signal = json_string_value(json_object_get(json_object_get(actor, "Attributes"), "signal"));
    struct docker_task *t = id ? find(d, id) : NULL;
    int number = signal ? (int)strtol(signal, NULL, 10) : 0;

    if (t && json_integer_value(json_object_get(event, "timeNano")) / 1000000 < t->watch->start_ms)
        return; /* of an earlier life, told once more */
    if (t && ends_by(t->watch, number))
        t->watch->foreign_signal = number;
}

/* Often after the `die`, and before the engine's inspect says so. */
static void on_oom(struct docker *d, const json_t *event)
{
    const char *id = json_string_value(json_object_get(json_object_get(event, "Actor"), "ID"));
    struct docker_task *t = id ? find(d, id) : NULL;

    if (!t || json_integer_value(json_object_get(event, "timeNano")) / 1000000 < t->watch->start_ms)
        return;
    t->watch->oom = true;
    t->watch->wanted = !t->watch->ended;
}

static void on_unwatched(struct docker *d, const char *id, enum docker_event event)
{
    if (event == DOCKER_EVENT_START && !docker_prepared_started(d, id) &&
        !tasks_are_busy(&d->tasks, id, NULL))
        docker_stray_soon(d);
    if (event == DOCKER_EVENT_DIE && docker_stray_is(d, id))
        docker_stray_soon(d);
}

static void on_event(void *arg, const char *line, size_t len)
{
    struct docker *d = OBJECT(struct docker, arg);
    const char *id, *action;
    struct docker_fact fact;
    struct docker_task *t;
    json_t *json;

    json_text_object(line, len, "event", &json, NULL);
    id = json_string_value(json_object_get(json_object_get(json, "Actor"), "ID"));
    action = json_string_value(json_object_get(json, "Action"));
    if (action && strcmp(action, "kill") == 0)
        on_kill(d, json);
    if (action && strcmp(action, "oom") == 0)
        on_oom(d, json);
    if (id && docker_event_read(json, NULL, &fact) && (t = find(d, id)))
        on_life(t->watch, &fact);
    else if (id && docker_event_read(json, NULL, &fact))
        on_unwatched(d, id, fact.event);
    json_decref(json);
}

static bool on_events(void *arg, const char *bytes, size_t size)
{
    struct docker *d = OBJECT(struct docker, arg);

    lines_feed(&d->event_lines, bytes, size); /* of a line that is invalid looks find what it said */
    look_more(d);
    return true;
}

/* The engine has died, or restarts: a new stream is opened once a probe has found it. */
static void on_events_done(void *arg, const struct http_answer *answer)
{
    struct docker *d = OBJECT(struct docker, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    d->events = NULL;
    d->boot_id[0] = '\0';
    d->identity_state = DOCKER_IDENTITY_UNREAD; /* it may be another one that comes next */
    d->link_number++;
    LIST_EACH(link, &d->tasks.watches)
    {
        docker_task_at(link)->watch->was_away = true;
    }
    docker_link_suspect(d, &reply);
    json_decref(json);
}

void docker_events_open(struct docker *d)
{
    static const char filters[] = "{\"type\":[\"container\"],\"label\":[\"cronsched.cluster\"],"
                                  "\"event\":[\"start\",\"die\",\"kill\",\"oom\"]}";
    char path[64], query[512] = "since=1&filters=";
    struct docker_call call = {.method = "GET", .path = path, .query = query};

    lines_release(&d->event_lines);
    d->event_lines = (struct lines){.max = DOCKER_LINE_MAX, .line = on_event, .arg = d};
    snprintf(path, sizeof(path), "%s/events", d->api);
    percent_append(query, sizeof(query), filters);
    d->events = docker_open(
        d, &call, &(struct client_request){.data = on_events, .done = on_events_done, .arg = d, .once = true},
        NULL);
}

void docker_events_close(struct docker *d)
{
    http_call_cancel(d->events);
    d->events = NULL;
}

/* ---- the link ---- */

static void say_unreachable(struct docker_task *t)
{
    struct docker *d = t->docker;

    t->watch->unreachable = t->watch->was_away = t->watch->wanted = true;
    d->host->answer(d->host, &(struct engine_answer){.ticket = t->task.q.ticket,
                                                     .event = ENGINE_UNREACHABLE,
                                                     .exit_code = -1,
                                                     .text = d->why});
}

/* The host may end or add watches from within: from the list's begin again after each. */
void docker_watches_link_down(struct docker *d)
{
    bool any = true;

    while (any && d->link == DOCKER_LINK_DOWN && !d->tasks.closing) {
        any = false;
        LIST_EACH(link, &d->tasks.watches)
        {
            struct docker_task *t = docker_task_at(link);

            if (t->watch->unreachable || t->watch->ended)
                continue;
            say_unreachable(t);
            any = true;
            break;
        }
    }
}

/* As docker_watches_link_down. */
void docker_watches_identified(struct docker *d)
{
    bool any = d->identity_state != DOCKER_IDENTITY_UNREAD;
    char text[DOCKER_TEXT_MAX];

    while (any && d->link == DOCKER_LINK_UP && !d->tasks.closing) {
        any = false;
        LIST_EACH(link, &d->tasks.watches)
        {
            struct docker_task *t = docker_task_at(link);

            if (t->watch->elsewhere || t->watch->ended || !docker_identity_differs(d, t, text, sizeof(text)))
                continue;
            say_elsewhere(t);
            any = true;
            break;
        }
    }
    look_more(d);
}

void docker_watches_link_up(struct docker *d)
{
    want_all(d);
}

void docker_watch_stopping(struct docker *d, const char *id)
{
    struct docker_task *t = find(d, id);

    if (t)
        t->watch->stopping = true;
}

/* ---- begin and end ---- */

static void begin(struct docker_task *t)
{
    struct docker *d = t->docker;
    char text[DOCKER_TEXT_MAX];

    if (d->link == DOCKER_LINK_DOWN)
        say_unreachable(t);
    else if (d->identity_state != DOCKER_IDENTITY_UNREAD && docker_identity_differs(d, t, text, sizeof(text)))
        say_elsewhere(t);
    else
        look_more(d);
}

static void watch_free(struct docker_task *t)
{
    struct docker_watch *w = t->watch;

    if (w->look) {
        http_call_cancel(w->look);
        t->docker->looking--;
    }
    if (w->revived)
        docker_stray_soon(t->docker);
    docker_log_free(t->log);
    free(w);
    t->watch = NULL;
    t->log = NULL;
    t->on_detach = NULL;
    t->docker->watched--;
}

void docker_watch_begin(struct docker_task *t)
{
    struct docker *d = t->docker;
    struct docker_task *old = find(d, t->task.q.id);

    if (old) /* of another leader, which asked through this replica, or of one before it was replaced */
        task_free(&old->task);
    t->watch = alloc_zero(sizeof(*t->watch));
    t->watch->wanted = true;
    t->watch->unreachable = t->task.q.unresolved;
    t->watch->stopping = t->task.q.stopping_ms > 0; /* an earlier leader may have asked it to stop */
    t->watch->starts = t->watch->told = 1;
    t->watch->start_ms = t->task.q.started_ms;
    t->log = docker_log_of(t);
    t->on_detach = watch_free;
    task_watch(&t->task);
    d->watched++;
    docker_wake_in(t, 0, begin);
}
