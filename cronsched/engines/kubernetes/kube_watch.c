/* WATCH: follows what was released to its end.
 *
 * The changes of Pods come from the stream of their namespace (kube_space.c), which is enough to say that one waits or runs.
 * What cannot be taken back (an end, a Pod that is gone) is read once more, without a cache: a look. Its end is known -> the
 * rest of its log is read -> it is answered.
 *
 * A node that does not answer: its Pod stays as it was, and that is told as UNREACHABLE, with the node's name. A Pod that can
 * never start (ErrImageNeverPull and its like) is deleted here, and answered as REFUSED with the cluster's words.
 */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOKS_AT_ONCE    8
#define LOOK_AGAIN_MS    500
#define LOOK_TURN_MS     50
#define DELETED_LOOK_MS  5000  /* of one that is deleted, and runs on */
#define DELETED_TAKES_MS 20000 /* beside its grace */
#define REFUSED_MAX_MS   60000
#define EVENTS_FIRST_MS  3000 /* that it waits on its node */
#define EVENTS_AGAIN_MS  30000

struct kube_watch {
    struct http_call *look;
    bool listed; /* in the list that is being read */
    bool again;  /* something changed while it was looked at */
    bool stopping, withdrawing;
    bool started, told_started; /* it was seen to run; the scheduler knows */
    bool away;                  /* the scheduler was told that it cannot be asked */
    bool unbound;               /* seen deleted before any node had it */
    bool mute;                  /* it waits on its node, which says no more than that */
    bool uncreated;             /* its container cannot be made, its node said last */
    bool ended;
    int starts, told_starts;
    int64_t started_ms;       /* 0: not known */
    int64_t deleted_ms;       /* of uv_now: seen deleted, though it runs; 0: not */
    char container[96];       /* the first one of its Pod */
    char told[KUBE_TEXT_MAX]; /* why it is not started */
    char event[400];          /* of the cluster, about that; "": none */
    struct kube_state end;
};

static void look(struct kube_task *t);

static struct kube_task *find(struct kube *k, const struct kube_id *id)
{
    LIST_EACH(link, &k->tasks.watches)
    {
        struct kube_task *t = kube_task_of(LIST_ITEM(link, struct task, link));

        if (strcmp(t->id.uid, id->uid) == 0 && strcmp(t->id.name, id->name) == 0)
            return t;
    }
    return NULL;
}

/* ---- what the scheduler is told; it may end the watch from within ---- */

static void tell(struct kube_task *t, const struct engine_answer *answer)
{
    struct engine_answer a = *answer;

    a.ticket = t->task.q.ticket;
    a.exit_code = -1;
    t->kube->tasks.host->answer(t->kube->tasks.host, &a);
}

static void tell_away(struct kube_task *t, const char *text)
{
    if (t->watch->away || t->watch->ended)
        return;
    t->watch->away = true;
    tell(t, &(struct engine_answer){.event = ENGINE_UNREACHABLE, .text = text});
}

static void tell_pending(struct kube_task *t, const struct kube_state *state)
{
    struct kube_watch *w = t->watch;
    char text[KUBE_TEXT_MAX];

    snprintf(text, sizeof(text), "%s", state->deleting && w->told[0] ? w->told : state->text);
    if (w->event[0] && !state->deleting) /* why it waited, and not that it goes */
        kube_text_add(text, sizeof(text), w->event);
    if (w->started || (!w->away && strcmp(w->told, text) == 0))
        return;
    w->away = false;
    snprintf(w->told, sizeof(w->told), "%s", text);
    tell(t, &(struct engine_answer){.event = ENGINE_PENDING, .text = w->told});
}

/* Another container than the first one, or the kubelet's own count. */
static void count_starts(struct kube_watch *w, const struct kube_state *state)
{
    if (!w->container[0])
        snprintf(w->container, sizeof(w->container), "%s", state->container);
    else if (state->container[0] && strcmp(w->container, state->container) != 0 && w->starts < 2)
        w->starts = 2;
    if (state->starts > w->starts)
        w->starts = state->starts;
}

static void tell_started(struct kube_task *t, const struct kube_state *state)
{
    struct kube_watch *w = t->watch;
    char text[96] = "";

    if (!w->started_ms)
        w->started_ms = state->started_ms;
    w->started = true;
    if (w->told_started && !w->away && w->starts <= w->told_starts)
        return;
    w->told_started = true;
    w->away = false;
    w->told_starts = w->starts > 1 ? w->starts : 1;
    if (w->starts > 1)
        snprintf(text, sizeof(text), "its node has started it %d times", w->starts);
    tell(t, &(struct engine_answer){.event = ENGINE_STARTED,
                                    .started_ms = w->started_ms,
                                    .starts = w->starts > 1 ? w->starts : 0,
                                    .text = *text ? text : NULL});
}

/* ---- the end ---- */

/* What the cluster or a person has ended did not succeed, whatever its program makes of the signal. */
static void judge_by_others(const struct kube_watch *w, struct kube_state *end)
{
    if (end->event != ENGINE_ENDED || !end->by_others)
        return;
    if (w->stopping) {
        end->cause = end->exit_code > 128 ? "signal" : "exit";
        end->text[0] = '\0';
        return;
    }
    kube_text_add(end->text, sizeof(end->text), "the cluster or a person has ended it");
    if (end->exit_code == 0)
        kube_text_add(end->text, sizeof(end->text), "its program then exited with 0");
    if (end->exit_code == 0)
        end->exit_code = -1;
}

/* Its node makes up an end for a container that it never made, as it had said before its Pod was deleted. */
static void judge_uncreated(const struct kube_watch *w, struct kube_state *end)
{
    if (w->started || end->container[0] || end->starts > 1 || !(w->uncreated || end->roomless) ||
        (end->event != ENGINE_UNKNOWN && end->event != ENGINE_NEVER_RAN))
        return;
    end->event = w->withdrawing ? ENGINE_REFUSED : ENGINE_NEVER_RAN;
    snprintf(end->text, sizeof(end->text), "%s%.400s",
             w->withdrawing ? "" : "deleted before it had a container: ", w->told);
}

static void answer_end(struct kube_task *t, const char *remark)
{
    struct kube_watch *w = t->watch;
    struct kube_state *end = &w->end;
    char text[KUBE_TEXT_MAX * 2];
    struct engine_answer a = {.event = end->event, .exit_code = end->exit_code, .cause = end->cause};

    FAULT_POINT("kube.ended", t->task.q.run);
    snprintf(text, sizeof(text), "%s", end->text);
    if (remark)
        kube_text_add(text, sizeof(text), remark);
    a.text = *text ? text : NULL;
    a.at_ms = end->at_ms;
    a.started_ms = end->started_ms ? end->started_ms : w->started_ms;
    a.starts = w->starts > 1 ? w->starts : 0;
    kube_sweep_soon(t->kube);
    task_answer(&t->task, &a);
}

static void on_log_kept(void *arg, const char *remark)
{
    answer_end(OBJECT(struct kube_task, arg), remark);
}

static void on_refused_later(struct kube_task *t)
{
    answer_end(t, NULL);
}

/* It is prepared again at once, and its node may say the same again: each time later. */
static int64_t refused_wait_ms(const struct kube_task *t)
{
    int tries = t->task.q.try < 6 ? t->task.q.try - 1 : 6;
    int64_t ms = INT64_C(1000) << (tries > 0 ? tries : 0);

    return ms < REFUSED_MAX_MS ? ms : REFUSED_MAX_MS;
}

static void finish(struct kube_task *t, const struct kube_state *end)
{
    struct kube_watch *w = t->watch;
    bool has_output = end->event == ENGINE_ENDED || end->event == ENGINE_UNKNOWN ||
                      end->event == ENGINE_REFUSED;

    w->ended = true;
    w->end = *end;
    w->end.cluster = w->end.run = "";
    judge_uncreated(w, &w->end);
    judge_by_others(w, &w->end);
    if (w->started && w->end.event == ENGINE_NEVER_RAN) {
        w->end.event = ENGINE_UNKNOWN;
        snprintf(w->end.text, sizeof(w->end.text), "it has run, and its container is gone");
    }
    if (w->end.event == ENGINE_NEVER_RAN && !w->end.refused_by_node && !w->uncreated && w->told[0])
        kube_text_add(w->end.text, sizeof(w->end.text), w->told);
    if (w->end.event == ENGINE_ENDED && !w->end.at_ms)
        w->end.at_ms = t->kube->tasks.host->now_ms(t->kube->tasks.host);
    if (has_output && end->container[0])
        docker_log_finish(t->log, on_log_kept);
    else if (w->end.refused_by_node)
        kube_wake_in(t, refused_wait_ms(t), on_refused_later);
    else
        answer_end(t, NULL);
}

/* ---- its Pod is gone ---- */

static void finish_gone(struct kube_task *t)
{
    struct kube_state end = {.event = ENGINE_UNKNOWN, .exit_code = -1, .cause = ""};

    if (t->watch->unbound && !t->watch->started)
        end.event = ENGINE_NEVER_RAN;
    snprintf(end.text, sizeof(end.text), "%s",
             end.event == ENGINE_NEVER_RAN ? "its Pod was deleted before any node had it"
                                           : "its Pod was deleted, and its end was not seen");
    finish(t, &end);
}

static void look_over(struct kube_task *t)
{
    t->watch->look = NULL;
    t->kube->looking--;
}

static void look_later(struct kube_task *t, int64_t ms)
{
    kube_wake_in(t, ms, look);
}

static void on_cluster(void *arg, const struct http_answer *answer)
{
    struct kube_task *t = OBJECT(struct kube_task, arg);
    char identity[ENGINE_IDENTITY_MAX], text[KUBE_TEXT_MAX];
    json_t *json;
    struct kube_reply reply = kube_read(t->kube, answer, &json);

    look_over(t);
    if (kube_lost(&reply) || reply.status != 200 || !kube_link_identity(json, identity))
        look_later(t, LOOK_AGAIN_MS);
    else if (engine_is_another(identity, t->task.q.identity, text, sizeof(text)))
        tell_away(t, text);
    else
        finish_gone(t);
    json_decref(json);
}

static void ask(struct kube_task *t, const struct kube_call *call,
                void (*done)(void *arg, const struct http_answer *answer))
{
    t->watch->look = kube_open(t->kube, call, &(struct client_request){.done = done, .arg = t}, NULL);
    if (t->watch->look)
        t->kube->looking++;
    else
        look_later(t, LOOK_AGAIN_MS);
}

static void look_at_cluster(struct kube_task *t)
{
    char path[KUBE_PATH_MAX];

    kube_link_identity_path(t->kube, path);
    ask(t, &(struct kube_call){.method = "GET", .path = path}, on_cluster);
}

/* ---- it can never start ---- */

static void on_withdrawn(void *arg, const struct http_answer *answer)
{
    struct kube_task *t = OBJECT(struct kube_task, arg);
    json_t *json;
    struct kube_reply reply = kube_read(t->kube, answer, &json);

    look_over(t);
    if (kube_lost(&reply) || (reply.status >= 300 && reply.status != 404))
        t->watch->withdrawing = false; /* the next look tries again */
    look_later(t, LOOK_AGAIN_MS);
    json_decref(json);
}

static void withdraw(struct kube_task *t)
{
    json_t *body = json_pack("{s:i, s:{s:s}}", "gracePeriodSeconds", 1, "preconditions", "uid", t->id.uid);
    char path[KUBE_PATH_MAX];

    t->watch->withdrawing = true;
    kube_pod_path(path, &t->id, "");
    ask(t, &(struct kube_call){.method = "DELETE", .path = path, .body = body}, on_withdrawn);
    json_decref(body);
}

/* ---- events ---- */

static void on_events(void *arg, const struct http_answer *answer)
{
    struct kube_task *t = OBJECT(struct kube_task, arg);
    json_t *json;
    struct kube_reply reply = kube_read(t->kube, answer, &json);
    bool found;

    look_over(t);
    t->kube->no_events = t->kube->no_events || (!kube_lost(&reply) && reply.status == 403);
    found = !kube_lost(&reply) && reply.status == 200 &&
            kube_events_read(json, t->watch->event, sizeof(t->watch->event));
    json_decref(json);
    if (found)
        look(t); /* and tells it together with what the Pod says now */
}

static void ask_events(struct kube_task *t)
{
    struct kube *k = t->kube;
    char path[KUBE_PATH_MAX];

    if (!t->watch->mute || t->watch->ended || k->no_events || k->link != KUBE_LINK_UP)
        return;
    kube_wake_in(t, EVENTS_AGAIN_MS, ask_events);
    kube_events_path(&t->id, path);
    if (!t->watch->look && k->looking < LOOKS_AT_ONCE)
        ask(t, &(struct kube_call){.method = "GET", .path = path}, on_events);
}

/* A Pod that waits on its node: how long, and is there more to say of it? */
static void note_mute(struct kube_task *t, const struct kube_state *state)
{
    bool mute = state->event == ENGINE_PENDING && state->bound && !state->uncreated && !state->deleting;

    if (mute && !t->watch->mute && !t->task.wake_ms)
        kube_wake_in(t, EVENTS_FIRST_MS, ask_events);
    if (!mute)
        t->watch->event[0] = '\0';
    t->watch->mute = mute;
}

/* ---- what a Pod says ---- */

/* Deleted, and still running long after its grace: its node does not answer, or is no more. */
static bool is_stuck(struct kube_task *t, const struct kube_state *state)
{
    int64_t now = (int64_t)uv_now(t->kube->tasks.loop);

    if (!state->deleting)
        return false;
    if (!t->watch->deleted_ms)
        t->watch->deleted_ms = now;
    if (!t->task.wake_ms)
        look_later(t, DELETED_LOOK_MS);
    return now - t->watch->deleted_ms > t->task.q.job->stop_grace_ms + DELETED_TAKES_MS;
}

static void apply_running(struct kube_task *t, const struct kube_state *state)
{
    char text[KUBE_TEXT_MAX];
    bool stuck = is_stuck(t, state);

    snprintf(text, sizeof(text), "node %.100s does not answer%s; its container may run on", state->node,
             stuck ? " to the deletion of the Pod" : "");
    docker_log_follow(t->log);
    if (state->away || stuck)
        tell_away(t, text);
    else
        tell_started(t, state); /* last: it may be gone then */
}

/* sure: it was read for this, without a cache. */
static void apply(struct kube_task *t, const struct kube_state *state, bool sure)
{
    struct kube_watch *w = t->watch;
    bool over = state->event != ENGINE_PENDING && state->event != ENGINE_STARTED;

    count_starts(w, state);
    w->unbound = w->unbound || (state->deleting && !state->bound);
    if (over && !sure) {
        look(t);
        return;
    }
    note_mute(t, state);
    if (state->event == ENGINE_PENDING && !state->deleting) /* while it is, "ContainerCreating" again */
        w->uncreated = state->uncreated;
    if (over)
        finish(t, state);
    else if (state->event == ENGINE_STARTED)
        apply_running(t, state);
    else if (state->permanent && !w->stopping && !w->withdrawing && sure && !w->look) {
        snprintf(w->told, sizeof(w->told), "%s", state->text);
        withdraw(t);
    } else if (state->permanent && !sure)
        look(t);
    else
        tell_pending(t, state);
}

static void on_look(void *arg, const struct http_answer *answer)
{
    struct kube_task *t = OBJECT(struct kube_task, arg);
    json_t *json;
    struct kube_reply reply = kube_read(t->kube, answer, &json);
    bool answered = !kube_lost(&reply) && reply.status == 200, again = t->watch->again;
    struct kube_state state;

    look_over(t);
    if (again && !t->watch->ended)
        kube_wake_in(t, 0, look); /* unless this is the end, and its log is read then */
    if (t->watch->ended)
        ; /* by what was seen meanwhile */
    else if (!kube_lost(&reply) && reply.status == 404)
        look_at_cluster(t);
    else if (!answered || !kube_state_read(json, &state))
        look_later(t, reply.retry_ms > 0 ? reply.retry_ms : LOOK_AGAIN_MS);
    else if (strcmp(state.id.uid, t->id.uid) != 0)
        look_at_cluster(t);
    else
        apply(t, &state, true);
    json_decref(json);
}

static void look(struct kube_task *t)
{
    struct kube *k = t->kube;
    char path[KUBE_PATH_MAX];

    t->watch->again = t->watch->look != NULL;
    if (t->watch->ended || t->watch->look || k->link != KUBE_LINK_UP)
        return;
    if (k->looking >= LOOKS_AT_ONCE) {
        kube_wake_in(t, LOOK_TURN_MS, look);
        return;
    }
    kube_pod_path(path, &t->id, "");
    ask(t, &(struct kube_call){.method = "GET", .path = path}, on_look);
}

void kube_watch_saw(struct kube *k, const json_t *pod, bool gone)
{
    struct kube_state state;
    struct kube_task *t;

    if (!kube_state_read(pod, &state))
        return;
    t = find(k, &state.id);
    if (!t || t->watch->ended)
        return;
    t->watch->listed = true;
    if (gone)
        look(t);
    else
        apply(t, &state, false);
}

/* ---- lists ---- */

/* The next watch of a round through all of them: it goes to the end of the list first, as what it is told may end it, and
 * others. */
static struct kube_task *next_in_turn(struct kube *k)
{
    struct task *t = LIST_ITEM(k->tasks.watches.next, struct task, link);

    list_remove(&t->link);
    list_append(&k->tasks.watches, &t->link);
    return kube_task_of(t);
}

void kube_watch_listing(struct kube *k, const char *namespace)
{
    LIST_EACH(link, &k->tasks.watches)
    {
        struct kube_task *t = kube_task_of(LIST_ITEM(link, struct task, link));

        if (strcmp(t->id.namespace, namespace) == 0)
            t->watch->listed = false;
    }
}

void kube_watch_listed(struct kube *k, const char *namespace)
{
    for (int n = k->watched; n > 0 && k->watched > 0 && !k->tasks.closing; n--) {
        struct kube_task *t = next_in_turn(k);

        if (strcmp(t->id.namespace, namespace) == 0 && !t->watch->listed && !t->watch->ended)
            look(t);
    }
}

/* ---- the link, and stops ---- */

void kube_watches_link_up(struct kube *k)
{
    for (int n = k->watched; n > 0 && k->watched > 0 && !k->tasks.closing; n--)
        look(next_in_turn(k));
}

void kube_watches_link_down(struct kube *k)
{
    for (int n = k->watched; n > 0 && k->watched > 0 && !k->tasks.closing; n--)
        tell_away(next_in_turn(k), k->why);
}

void kube_watch_stopping(struct kube *k, const char *id)
{
    struct kube_id parts;
    struct kube_task *t = kube_id_read(id, &parts) ? find(k, &parts) : NULL;

    if (!t)
        return;
    t->watch->stopping = true;
    look(t);
}

/* ---- life ---- */

static void begin(struct kube_task *t)
{
    struct kube *k = t->kube;
    char text[KUBE_TEXT_MAX];

    if (!t->id.uid[0])
        task_answer_text(&t->task, ENGINE_UNKNOWN, -1, "'%.100s' is no id of this engine", t->task.q.id);
    else if (engine_is_another(k->identity, t->task.q.identity, text, sizeof(text)) &&
             k->link == KUBE_LINK_UP)
        tell_away(t, text);
    else if (k->link == KUBE_LINK_DOWN)
        tell_away(t, k->why);
    else
        look(t);
}

void kube_watch_begin(struct kube_task *t)
{
    struct kube *k = t->kube;
    struct kube_task *old;

    if (!kube_id_read(t->task.q.id, &t->id))
        t->id = (struct kube_id){.namespace = ""};
    old = t->id.uid[0] ? find(k, &t->id) : NULL;
    if (old) /* of another leader, which asked through this replica, or of one before it was replaced */
        task_free(&old->task);
    t->watch = alloc_zero(sizeof(*t->watch));
    t->watch->started_ms = t->task.q.started_ms;
    t->watch->started = t->task.q.started_ms != 0;
    t->watch->told_started = t->watch->started;
    t->watch->told_starts = 1;
    t->watch->away = t->task.q.unresolved;
    kube_log_begin(t);
    k->watched++;
    if (t->id.uid[0])
        kube_space_want(k, t->id.namespace);
    task_watch(&t->task);
    kube_wake_in(t, 0, begin); /* nothing is told from within */
}

void kube_watch_free(struct kube_task *t)
{
    struct kube *k = t->kube;

    if (!t->watch)
        return;
    if (t->watch->look) {
        http_call_cancel(t->watch->look);
        k->looking--;
    }
    kube_log_end(t);
    free(t->watch);
    t->watch = NULL;
    k->watched--;
    if (t->id.uid[0])
        kube_space_leave(k, t->id.namespace);
}
