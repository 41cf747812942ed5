/* Fire times that were passed over by a clock that was ahead, and that are still to come by the one that is believed now.
 * The cursor is beyond them and stays there: each is made good when it comes, by a run of its own, as a backfill would.
 *
 * Only history knows them: it is asked for the ranges that were skipped at a later time than it is now, and for the runs
 * that there were (a fire time that has had its run does not have another). Until it has answered, and where it cannot,
 * the job waits for its cursor.
 */
#include "jobs/scheduler/scheduler_priv.h"

#include "jobs/base/alloc.h"
#include "jobs/base/object.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <stdio.h>

#define VOID_TIMES_MAX  10000 /* of one job at a time; then history is asked again */
#define VOID_RANGES_MAX 1000

struct void_times {
    int64_t *at_s; /* ascending */
    size_t count, done;
    bool more; /* there may be others after them */
};

/* A question to history. */
struct void_ask {
    struct object object;
    struct scheduler *s;
    int64_t epoch, since_ms, until_ms;
    int64_t version; /* of the job's definition */
    json_t *ranges;
    char job[RUN_ID_MAX];
};

void void_times_forget(struct job_state *j)
{
    struct void_times *v = j->live.voided;

    j->live.voided = NULL;
    if (!v)
        return;
    free(v->at_s);
    free(v);
}

int64_t void_times_next_s(const struct job_state *j)
{
    const struct void_times *v = j->live.voided;

    return v && v->done < v->count ? v->at_s[v->done] : SCHEDULE_NEVER;
}

void void_times_pass(struct scheduler *s, struct job_state *j)
{
    struct void_times *v = j->live.voided;

    assert(v && v->done < v->count);
    if (++v->done == v->count && v->more)
        void_times_look(s, j);
}

/* ---- what history says ---- */

/* Passed over for the sake of time alone; a pause or a deletion would have done so with any clock. */
static bool is_void(const json_t *range, int64_t since_ms)
{
    static const enum run_verdict reasons[] = {VERDICT_COALESCED, VERDICT_MISSED, VERDICT_DEADLINE,
                                               VERDICT_OVERLAP, VERDICT_QUEUE_FULL};
    enum run_verdict reason = run_verdict_of(json_string_value(json_object_get(range, "reason")));
    const char *time = json_string_value(json_object_get(range, "time")),
               *text = json_string_value(json_object_get(range, "text"));
    int64_t decided_ms;

    if (!time || instant_parse(time, &decided_ms, NULL) < 0 || decided_ms <= since_ms ||
        (text && strcmp(text, TEXT_HAD_LOCAL_TIME) == 0))
        return false;
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reason == reasons[i])
            return true;
    return false;
}

static bool range_of(const json_t *range, int64_t *ret_from_s, int64_t *ret_to_s)
{
    const char *from = json_string_value(json_object_get(range, "from")),
               *to = json_string_value(json_object_get(range, "to"));
    int64_t from_ms, to_ms;

    if (!from || !to || instant_parse(from, &from_ms, NULL) < 0 || instant_parse(to, &to_ms, NULL) < 0)
        return false;
    *ret_from_s = from_ms / 1000;
    *ret_to_s = to_ms / 1000;
    return true;
}

static bool covered(const struct void_ask *ask, int64_t at_s)
{
    json_t *range;
    size_t i;

    json_array_foreach(ask->ranges, i, range)
    {
        int64_t from_s, to_s;

        if (is_void(range, ask->since_ms) && range_of(range, &from_s, &to_s) && from_s <= at_s &&
            at_s <= to_s)
            return true;
    }
    return false;
}

static void gather(struct scheduler *s, struct job_state *j, const struct void_ask *ask, const json_t *fired)
{
    struct schedule *schedule = rules_schedule(s, j);
    struct void_times *v = alloc_zero(sizeof(*v));
    size_t had = 0, steps = 0;

    v->at_s = alloc_zero(VOID_TIMES_MAX * sizeof(*v->at_s));
    for (int64_t at = schedule ? schedule_next(schedule, s->now_ms / 1000) : SCHEDULE_NEVER;
         at != SCHEDULE_NEVER && at * 1000 <= ask->until_ms; at = schedule_next(schedule, at)) {
        if (v->count == VOID_TIMES_MAX || steps++ == 10 * (size_t)VOID_TIMES_MAX) {
            v->more = true;
            break;
        }
        while (had < json_array_size(fired) && json_integer_value(json_array_get(fired, had)) < at * 1000)
            had++;
        if ((had < json_array_size(fired) && json_integer_value(json_array_get(fired, had)) == at * 1000) ||
            !covered(ask, at))
            continue;
        v->at_s[v->count++] = at;
    }
    void_times_forget(j);
    j->live.voided = v;
    if (v->count)
        turn_log(s, LOG_NOTE, "fire-times-void", NULL,
                 "%s: %zu%s fire times were passed over by a clock that was ahead; they run when they come",
                 j->name, v->count, v->more ? " and more" : "");
    turn_wake_job(s, j, s->now_ms);
}

static void ask_free(struct void_ask *ask)
{
    json_decref(ask->ranges);
    OBJECT_FREE(struct void_ask, ask);
}

/* The job that was asked about, if the answer is still of use. */
static struct job_state *asked_job(const struct void_ask *ask)
{
    struct scheduler *s = ask->s;
    struct job_state *j =
        s->leading && s->epoch == ask->epoch && !s->stopping ? state_job(&s->state, ask->job) : NULL;

    return j && j->version == ask->version ? j : NULL;
}

static void on_fired(void *arg, json_t *result, const struct error *error)
{
    struct void_ask *ask = OBJECT(struct void_ask, arg);
    struct job_state *j = asked_job(ask);

    if (j && result) {
        turn_enter(ask->s);
        gather(ask->s, j, ask, json_object_get(result, "times"));
        reconcile_due(ask->s);
    } else if (j) {
        turn_log(ask->s, LOG_WARN, "fire-times-void", NULL,
                 "%s: %s: it waits until its last fire time is past", j->name, error ? error->text : "");
    }
    json_decref(result);
    ask_free(ask);
}

static void on_skips(void *arg, json_t *result, const struct error *error)
{
    struct void_ask *ask = OBJECT(struct void_ask, arg);
    struct history *history = ask->s->o.history;
    struct history_query query = {
        .kind = HISTORY_FIRED, .job = ask->job, .since_ms = ask->since_ms, .until_ms = ask->until_ms};

    (void)error;
    ask->ranges = result;
    if (asked_job(ask) && json_array_size(result) > 0)
        history->ops->query(history, &query, on_fired, ask);
    else
        ask_free(ask);
}

void void_times_look(struct scheduler *s, struct job_state *j)
{
    struct history *history = s->o.history;
    struct history_query query = {.kind = HISTORY_SKIPS,
                                  .job = j->name,
                                  .since_ms = s->now_ms,
                                  .until_ms = j->cursor_ms,
                                  .limit = VOID_RANGES_MAX};
    struct void_ask *ask;

    void_times_forget(j);
    if (!history || !history->ops->query || !j->def || j->cursor_ms <= s->now_ms)
        return;
    ask = OBJECT_NEW(struct void_ask);
    ask->s = s;
    ask->epoch = s->epoch;
    ask->version = j->version;
    ask->since_ms = s->now_ms;
    ask->until_ms = j->cursor_ms;
    snprintf(ask->job, sizeof(ask->job), "%s", j->name);
    history->ops->query(history, &query, on_skips, ask);
}

/* ---- the clock was set back ---- */

/* What this leader had put off goes by the clock as it is. */
static void hasten(struct scheduler *s, struct run *r)
{
    struct run_live *live = &r->live;

    live->not_before_ms = live->stop_again_ms = 0;
    if (live->started_ms > s->now_ms)
        live->started_ms = s->now_ms;
    if (live->recover_by_ms > s->now_ms + RECOVER_WATCH_MS)
        live->recover_by_ms = s->now_ms + RECOVER_WATCH_MS;
    turn_wake_run(s, r, s->now_ms);
}

void void_times_clock_set_back(struct scheduler *s)
{
    struct job_state *j, *next;

    s->set_back = false;
    turn_log(s, LOG_WARN, "clock-set-back", NULL,
             "the clock is behind the journal's last batch, and is believed: what is still to come is fired "
             "again, but "
             "for what has run");
    HASH_ITER(by_name, s->state.jobs, j, next)
    {
        if (j->cursor_ms > s->now_ms)
            void_times_look(s, j);
        LIST_EACH(link, &j->runs)
        {
            hasten(s, LIST_ITEM(link, struct run, of_job));
        }
        turn_wake_job_later(s, j);
    }
}
