/* WATCH: follows what was released to its end.
 *
 * A Swarm tells nobody of its tasks. So one list of all tasks that are to run is asked for, for all watches together: every
 * second, more often where something was released a moment ago, more seldom where everything has run for a while. What is
 * not in that list has ended, is to end, or has no task yet: it is looked at alone. What is withdrawn is looked at
 * ten times a second, so that it is seen whether it was still started.
 *
 * Its end is known -> the rest of its log is read -> it is answered. What a list or a look does not say concludes nothing:
 * a task that is gone is UNKNOWN, unless it was seen to be taken back before any node had it.
 *
 * A node that does not answer: its task stays `running`, to be shut down; that is told as UNREACHABLE, with the node's name.
 */
#include "cronsched/engines/swarm/swarm_core.h"

#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "leader/worker/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_STOPPING_MS 100
#define POLL_FRESH_MS    250
#define POLL_MS          1000
#define POLL_OLD_MS      5000
#define FRESH_MS         5000  /* so long after its watch began */
#define OLD_MS           60000 /* it runs, and has been watched so long */
#define POLL_FAILURES    5     /* in a row, before the watches are told */
#define STOP_TAKES_MS    10000 /* beside its grace */
#define TASKLESS_LOOKS   20    /* of a service with a replica, and without a task */

struct swarm_watch {
    struct http_call *look;
    bool wanted;                /* it is to be looked at alone */
    bool stopping;              /* by us */
    bool started, told_started; /* it was seen to run; the scheduler knows */
    bool away;                  /* the scheduler was told that it cannot be asked */
    bool unplaced;              /* seen taken back before any node had it */
    bool ended;
    int taskless, starts, told_starts;
    int64_t began_ms;    /* of uv_now */
    int64_t stopping_ms; /* likewise; since when */
    int64_t started_ms;  /* 0: not known */
    char task[SWARM_ID_MAX], node[SWARM_ID_MAX];
    char told[SWARM_TEXT_MAX]; /* why it is not started */
    struct swarm_state end;
};

static void on_poll_timer(uv_timer_t *timer);

static struct swarm_task *find(struct swarm *s, const char *id)
{
    LIST_EACH(link, &s->tasks.watches)
    {
        struct swarm_task *t = swarm_task_at(link);

        if (strcmp(t->task.q.id, id) == 0)
            return t;
    }
    return NULL;
}

/* ---- what the scheduler is told; it may end the watch from within ---- */

static void tell(struct swarm_task *t, const struct engine_answer *answer)
{
    struct engine_answer a = *answer;

    a.ticket = t->task.q.ticket;
    a.exit_code = -1;
    t->swarm->host->answer(t->swarm->host, &a);
}

static void tell_away(struct swarm_task *t, const char *text)
{
    if (t->watch->away || t->watch->ended)
        return;
    t->watch->away = true;
    tell(t, &(struct engine_answer){.event = ENGINE_UNREACHABLE, .text = text});
}

static void tell_pending(struct swarm_task *t, const struct swarm_state *state)
{
    struct swarm_watch *w = t->watch;

    if (w->started || (!w->away && strcmp(w->told, state->text) == 0))
        return;
    w->away = false;
    snprintf(w->told, sizeof(w->told), "%s", state->text);
    tell(t, &(struct engine_answer){.event = ENGINE_PENDING, .text = w->told});
}

static void tell_started(struct swarm_task *t, const struct swarm_state *state)
{
    struct swarm_watch *w = t->watch;
    char text[64] = "";

    if (!w->started_ms)
        w->started_ms = state->at_ms;
    w->started = true;
    w->starts = state->count;
    if (w->told_started && !w->away && w->starts <= w->told_starts)
        return;
    w->told_started = true;
    w->away = false;
    w->told_starts = w->starts;
    if (w->starts > 1)
        snprintf(text, sizeof(text), "the Swarm was made to start it %d times", w->starts);
    tell(t, &(struct engine_answer){.event = ENGINE_STARTED,
                                    .started_ms = w->started_ms,
                                    .starts = w->starts > 1 ? w->starts : 0,
                                    .text = *text ? text : NULL});
}

/* ---- the end ---- */

/* It was told to end before it was seen to run: a container that was made and never started has the exit code 0. */
static void judge_unseen(struct swarm_state *end)
{
    if (end->event != ENGINE_ENDED || strcmp(end->cause, "engine") != 0 || end->exit_code > 0)
        return;
    end->event = ENGINE_UNKNOWN;
    end->exit_code = -1;
    snprintf(end->text, sizeof(end->text),
             "it was taken back while it was being started: whether its program ran is not known");
}

/* "TEXT; MORE" */
static void add_text(char *text, size_t size, const char *more)
{
    size_t n = strlen(text);

    snprintf(text + n, size - n, "%s%s", n ? "; " : "", more);
}

/* What the Swarm or a person has ended did not succeed, whatever its program makes of the signal. */
static void judge_stopped(const struct swarm_watch *w, struct swarm_state *end)
{
    if (end->event != ENGINE_ENDED || strcmp(end->cause, "engine") != 0)
        return;
    if (w->stopping) {
        end->cause = end->exit_code > 128 ? "signal" : "exit";
        return;
    }
    add_text(end->text, sizeof(end->text), "its node, the Swarm or a person has ended it");
    if (end->exit_code == 0)
        add_text(end->text, sizeof(end->text), "its program then exited with 0");
    if (end->exit_code == 0)
        end->exit_code = -1;
}

static void on_log_kept(void *arg, const char *remark)
{
    struct swarm_task *t = OBJECT(struct swarm_task, arg);
    struct swarm_watch *w = t->watch;
    struct swarm_state *end = &w->end;
    char text[SWARM_TEXT_MAX * 2];
    struct engine_answer a = {.event = end->event, .exit_code = end->exit_code, .cause = end->cause};

    FAULT_POINT("swarm.ended", t->task.q.run);
    snprintf(text, sizeof(text), "%s", end->text);
    if (remark)
        add_text(text, sizeof(text), remark);
    a.text = *text ? text : NULL;
    a.at_ms = end->at_ms;
    a.started_ms = w->started_ms ? w->started_ms : end->at_ms;
    a.starts = w->starts > 1 ? w->starts : 0;
    task_answer(&t->task, &a);
}

static void finish(struct swarm_task *t, const struct swarm_state *end)
{
    struct swarm_watch *w = t->watch;
    bool has_output = end->event == ENGINE_ENDED || end->event == ENGINE_UNKNOWN;

    w->ended = true;
    w->end = *end;
    w->starts = end->count > w->starts ? end->count : w->starts;
    if (w->started && w->end.event == ENGINE_NEVER_RAN) {
        w->end.event = ENGINE_UNKNOWN;
        snprintf(w->end.text, sizeof(w->end.text), "it has run, and its container is gone");
    }
    if (!w->started)
        judge_unseen(&w->end);
    judge_stopped(w, &w->end);
    if (w->end.event == ENGINE_NEVER_RAN && w->told[0])
        snprintf(w->end.text, sizeof(w->end.text), "withdrawn before it had a container: %.400s", w->told);
    if (has_output && w->task[0])
        docker_log_finish(t->log, on_log_kept);
    else
        on_log_kept(t, NULL);
}

static void finish_gone(struct swarm_task *t, const char *why)
{
    struct swarm_state end = {.event = t->watch->unplaced ? ENGINE_NEVER_RAN : ENGINE_UNKNOWN,
                              .exit_code = -1};

    snprintf(end.text, sizeof(end.text), "%s", why);
    finish(t, &end);
}

/* Its service has no replica any more. A task goes only once it is over, so what was seen to run has ended. */
static void finish_scaled(struct swarm_task *t)
{
    struct swarm_state end = {.event = ENGINE_ENDED,
                              .exit_code = -1,
                              .cause = "engine",
                              .at_ms = t->swarm->host->now_ms(t->swarm->host),
                              .text = "it was stopped, and its exit code was not seen in time"};

    if (t->watch->started)
        finish(t, &end);
    else
        finish_gone(t, t->watch->unplaced ? "it was taken back before any node had it"
                                          : "its task is gone, and its end was not seen");
}

/* ---- looks ---- */

static void look(struct swarm_task *t, const char *path, void (*done)(void *, const struct http_answer *))
{
    t->watch->look = swarm_open(t->swarm, &(struct swarm_call){.method = "GET", .path = path},
                                &(struct client_request){.done = done, .arg = t}, NULL);
    if (t->watch->look)
        t->swarm->looking++;
    else
        t->watch->wanted = true;
}

static void look_over(struct swarm_task *t)
{
    t->watch->look = NULL;
    t->swarm->looking--;
    swarm_poll_soon(t->swarm);
}

static void on_node(void *arg, const struct http_answer *answer)
{
    struct swarm_task *t = OBJECT(struct swarm_task, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);
    const json_t *status = json_object_get(json, "Status");
    const char *state = json_string_value(json_object_get(status, "State"));
    const char *name = json_string_value(json_object_get(json_object_get(json, "Description"), "Hostname"));
    const char *message = json_string_value(json_object_get(status, "Message"));
    char text[SWARM_TEXT_MAX];

    look_over(t);
    if (!docker_lost(&reply) && reply.status == 404) {
        json_decref(json);
        finish_gone(t, "its node was removed from the Swarm: how it ended is not known");
        return;
    }
    if (!docker_lost(&reply) && reply.status == 200 && state && strcmp(state, "ready") != 0) {
        snprintf(text, sizeof(text), "node %.60s is %.20s", name ? name : t->watch->node, state);
        if (message && *message)
            add_text(text, sizeof(text), message);
        add_text(text, sizeof(text), "its container may run on");
        tell_away(t, text);
    }
    json_decref(json);
}

/* By us, and its node has had the time for it: beyond that it may not answer. */
static bool is_being_stopped(const struct swarm_task *t)
{
    const struct swarm_watch *w = t->watch;
    int64_t grace_ms = t->task.q.job->stop_grace_ms + STOP_TAKES_MS;

    return w->stopping && (int64_t)uv_now(t->swarm->loop) - w->stopping_ms < grace_ms;
}

/* Not over, and to end, though not by us: is its node there? Until that is told, nothing it says is news. True: it was
 * told that the node is not. */
static bool is_in_doubt(struct swarm_task *t, const struct swarm_state *state)
{
    char path[SWARM_PATH_MAX];
    bool over = state->event != ENGINE_STARTED && state->event != ENGINE_PENDING;

    if (over || !state->leaving || !state->node[0] || is_being_stopped(t))
        return false;
    snprintf(path, sizeof(path), "/nodes/%s", state->node);
    look(t, path, on_node);
    return t->watch->away;
}

/* What the newest of its tasks says. */
static void apply(struct swarm_task *t, const struct swarm_state *state)
{
    struct swarm_watch *w = t->watch;

    w->taskless = 0;
    w->unplaced = w->unplaced || (state->unplaced && !w->node[0]);
    snprintf(w->task, sizeof(w->task), "%s", state->id);
    if (state->node[0])
        snprintf(w->node, sizeof(w->node), "%s", state->node);
    if (is_in_doubt(t, state))
        return;
    switch (state->event) {
    case ENGINE_PENDING:
        tell_pending(t, state);
        break;
    case ENGINE_STARTED:
        docker_log_follow(t->log);
        tell_started(t, state); /* last: it may be gone then */
        break;
    default:
        finish(t, state);
    }
}

static void on_service(void *arg, const struct http_answer *answer)
{
    struct swarm_task *t = OBJECT(struct swarm_task, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);
    struct swarm_service service;
    const struct swarm_state none = {.event = ENGINE_PENDING, .text = "no task of it is there yet"};

    look_over(t);
    if (!docker_lost(&reply) && reply.status == 404)
        finish_gone(t, t->watch->unplaced ? "its service was removed before any node had it"
                                          : "its service was removed: how it ended is not known");
    else if (docker_lost(&reply) || reply.status != 200 || !swarm_service_read(json, &service))
        t->watch->wanted = true;
    else if (service.replicas == 0)
        finish_scaled(t);
    else if (++t->watch->taskless > TASKLESS_LOOKS && t->watch->task[0])
        finish_gone(t, "its task is gone, and its end was not seen");
    else
        tell_pending(t, &none);
    json_decref(json);
}

static void on_look(void *arg, const struct http_answer *answer)
{
    struct swarm_task *t = OBJECT(struct swarm_task, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);
    struct swarm_state state;
    char path[SWARM_PATH_MAX];

    look_over(t);
    if (t->watch->ended) {
        ; /* by what was seen meanwhile */
    } else if (docker_lost(&reply) || reply.status != 200 || !json_is_array(json)) {
        t->watch->wanted = true;
        if (docker_lost(&reply))
            swarm_link_suspect(t->swarm);
    } else if (swarm_state_read(json, &state)) {
        apply(t, &state);
    } else {
        swarm_service_path(path, t->task.q.id, "");
        look(t, path, on_service);
    }
    json_decref(json);
}

static void look_at_wanted(struct swarm *s)
{
    char path[SWARM_PATH_MAX];

    LIST_EACH(link, &s->tasks.watches)
    {
        struct swarm_task *t = swarm_task_at(link);

        if (s->looking >= SWARM_LOOKS_AT_ONCE)
            return;
        if (t->watch->look || t->watch->ended || !(t->watch->wanted || t->watch->stopping))
            continue;
        t->watch->wanted = false;
        swarm_list_path(path, sizeof(path), "tasks", "service", t->task.q.id, NULL, NULL);
        look(t, path, on_look);
    }
}

/* ---- the poll ---- */

static int64_t interval_of(const struct swarm_watch *w, int64_t age_ms)
{
    if ((w->stopping && !w->started) || w->wanted)
        return POLL_STOPPING_MS;
    if (age_ms < FRESH_MS || w->stopping)
        return POLL_FRESH_MS;
    return w->started && age_ms > OLD_MS ? POLL_OLD_MS : POLL_MS;
}

/* The shortest that any watch asks for. */
static int64_t poll_interval(const struct swarm *s)
{
    int64_t now = (int64_t)uv_now(s->loop), least = POLL_OLD_MS;

    LIST_EACH(link, &s->tasks.watches)
    {
        const struct swarm_watch *w = swarm_task_at(link)->watch;
        int64_t ms = w->ended ? POLL_OLD_MS : interval_of(w, now - w->began_ms);

        least = ms < least ? ms : least;
    }
    return least;
}

static void poll_next(struct swarm *s)
{
    if (!s->tasks.closing && s->watched > 0 && s->link == SWARM_LINK_UP && !s->poll)
        loop_timer_start(&s->poll_timer, on_poll_timer, (uint64_t)poll_interval(s), 0);
}

/* Tasks by service: {ID: [TASK, ...]}. */
static json_t *by_service(const json_t *tasks)
{
    json_t *map = json_object(), *each;
    size_t i;

    json_array_foreach(tasks, i, each)
    {
        const char *id = json_string_value(json_object_get(each, "ServiceID"));
        json_t *of = id ? json_object_get(map, id) : NULL;

        if (id && !of)
            json_object_set_new(map, id, json_pack("[O]", each));
        else if (of)
            json_array_append(of, each);
    }
    return map;
}

/* The next watch of a round through all of them: it goes to the end of the list first, as what it is told may end it, and
 * others. */
static struct swarm_task *next_in_turn(struct swarm *s)
{
    struct swarm_task *t = swarm_task_at(s->tasks.watches.next);

    list_remove(&t->task.link);
    list_append(&s->tasks.watches, &t->task.link);
    return t;
}

static void apply_all(struct swarm *s, const json_t *map)
{
    for (int n = s->watched; n > 0 && s->watched > 0 && !s->tasks.closing; n--) {
        struct swarm_task *t = next_in_turn(s);
        struct swarm_state state;

        if (t->watch->ended || t->watch->look || t->watch->stopping)
            continue;
        if (swarm_state_read(json_object_get(map, t->task.q.id), &state))
            apply(t, &state);
        else
            t->watch->wanted = true;
    }
}

static void poll_failed(struct swarm *s, const struct docker_reply *reply)
{
    if (docker_lost(reply))
        swarm_link_suspect(s);
    if (++s->poll_failures == POLL_FAILURES)
        swarm_watches_link_down(s);
}

static void on_poll(void *arg, const struct http_answer *answer)
{
    struct swarm *s = OBJECT(struct swarm, arg);
    json_t *json, *map;
    struct docker_reply reply = docker_read(answer, &json);

    s->poll = NULL;
    if (docker_lost(&reply) || reply.status != 200 || !json_is_array(json)) {
        snprintf(s->why, sizeof(s->why), "%.100s: %.150s", s->endpoints[s->at].text, reply.text);
        poll_failed(s, &reply);
    } else {
        s->poll_failures = 0;
        map = by_service(json);
        apply_all(s, map);
        json_decref(map);
    }
    json_decref(json);
    look_at_wanted(s);
    poll_next(s);
}

static void on_poll_timer(uv_timer_t *timer)
{
    struct swarm *s = OBJECT(struct swarm, timer->data);
    char path[SWARM_PATH_MAX], label[128];

    if (s->poll || s->tasks.closing || s->link != SWARM_LINK_UP || s->watched == 0)
        return;
    look_at_wanted(s);
    snprintf(label, sizeof(label), "cronsched.cluster=%.100s", s->host->cluster(s->host));
    swarm_list_path(path, sizeof(path), "tasks", "label", label, "desired-state", "running");
    s->poll = swarm_open(s, &(struct swarm_call){.method = "GET", .path = path},
                         &(struct client_request){.done = on_poll, .arg = s}, NULL);
    if (!s->poll)
        poll_next(s);
}

void swarm_poll_soon(struct swarm *s)
{
    bool is_soon = uv_is_active((uv_handle_t *)&s->poll_timer) &&
                   uv_timer_get_due_in(&s->poll_timer) <= POLL_STOPPING_MS;

    if (!s->tasks.closing && !s->poll && s->link == SWARM_LINK_UP && s->watched > 0 && !is_soon)
        loop_timer_start(&s->poll_timer, on_poll_timer, POLL_STOPPING_MS, 0);
}

/* ---- the link, and stops ---- */

void swarm_watches_link_up(struct swarm *s)
{
    s->poll_failures = 0;
    swarm_poll_soon(s);
}

void swarm_watches_link_down(struct swarm *s)
{
    http_call_cancel(s->poll);
    s->poll = NULL;
    for (int n = s->watched; n > 0 && s->watched > 0 && !s->tasks.closing; n--)
        tell_away(next_in_turn(s), s->why);
}

void swarm_watch_stopping(struct swarm *s, const char *id)
{
    struct swarm_task *t = find(s, id);

    if (!t)
        return;
    if (!t->watch->stopping)
        t->watch->stopping_ms = (int64_t)uv_now(s->loop);
    t->watch->stopping = true;
    swarm_poll_soon(s);
}

/* ---- life ---- */

static void begin(struct swarm_task *t)
{
    struct swarm *s = t->swarm;
    char text[SWARM_TEXT_MAX];

    if (engine_is_another(s->cluster_id, t->task.q.identity, text, sizeof(text)) && s->link == SWARM_LINK_UP)
        tell_away(t, text);
    else if (s->link == SWARM_LINK_DOWN)
        tell_away(t, s->why);
    else
        swarm_poll_soon(s);
}

void swarm_watch_begin(struct swarm_task *t)
{
    struct swarm *s = t->swarm;
    struct swarm_task *old = find(s, t->task.q.id);

    if (old) /* of another leader, which asked through this replica, or of one before it was replaced */
        task_free(&old->task);
    t->watch = alloc_zero(sizeof(*t->watch));
    t->watch->began_ms = (int64_t)uv_now(s->loop);
    t->watch->started_ms = t->task.q.started_ms;
    t->watch->started = t->task.q.started_ms != 0;
    t->watch->told_started = t->watch->started;
    t->watch->told_starts = 1;
    t->watch->away = t->task.q.unresolved;
    t->log = swarm_log_of(t);
    task_watch(&t->task);
    s->watched++;
    swarm_wake_in(t, 0, begin); /* nothing is told from within */
}

void swarm_watch_free(struct swarm_task *t)
{
    struct swarm *s = t->swarm;

    if (!t->watch)
        return;
    if (t->watch->look) {
        http_call_cancel(t->watch->look);
        s->looking--;
    }
    docker_log_free(t->log);
    free(t->watch);
    t->watch = NULL;
    t->log = NULL;
    s->watched--;
    if (s->watched == 0) {
        http_call_cancel(s->poll);
        s->poll = NULL;
    }
}

/* For the log: the task whose output it is. */
const char *swarm_watch_task(const struct swarm_task *t)
{
    return t->watch->task;
}
