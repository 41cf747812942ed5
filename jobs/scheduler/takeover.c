/* A new leader recovers the runs that the one before left, and reports what became of them.
 *
 * Happy path: takeover_begin looks at every unfinished run. What may execute is unrecovered: it is fenced or
 * watched (launch.c), and takeover_recovered notes what became of it. What was only armed is armed again.
 * When all is recovered and every job has evaluated its fire times, or REPORT_WITHIN_MS later, the TAKEOVER
 * record reports all of it.
 *
 * A job whose runs may not overlap fires nothing while one of its runs of the earlier leader may execute: one
 * that was fired, or is due within RECOVER_AHEAD_MS. Later reservations cannot have been started: a leader
 * whose clock is off by more resigns. They are fenced last, in the order of their times, and block nothing. Where runs
 * may overlap, those due within that time block nothing either: what is due now is not to wait for them.
 *
 * Failures: an engine that does not answer leaves its runs unrecovered, and the report says so.
 */
#include "jobs/base/alloc.h"
#include "jobs/base/mutant.h"
#include "jobs/base/text.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <stdio.h>

#define REPORT_WITHIN_MS      60000
#define REPORT_RUNS_MAX       200 /* named in the report, which fits a batch; the counts are of all */
#define REPORT_TIMES_MAX      100
#define RECOVER_AHEAD_MS      5000 /* a leader whose clock is off by more resigns */
#define RECOVER_AHEAD_SPEEDUP 4    /* later reservations are recovered so many times faster than they come, */
#define RECOVER_FIRST_MS      500 /* and the first ones half as fast: until then the engine has what is due */

static const char *const outcomes[] = {
#define X(outcome, name) [OUTCOME_##outcome] = name,
    TAKEOVER_OUTCOMES(X)
#undef X
};

/* ---- what became of a run ---- */

static void note_outcome(struct scheduler *s, const struct run *r, enum takeover_outcome outcome)
{
    struct takeover *t = &s->takeover;

    assert(outcome < OUTCOME_COUNT);
    if (!t->runs)
        return;
    t->outcomes[outcome]++;
    if (json_array_size(t->runs) < REPORT_RUNS_MAX)
        json_array_append_new(t->runs, json_pack("{s:s,s:s,s:s}", "run", r->id, "was",
                                                 run_state_name(r->live.was), "became", outcomes[outcome]));
}

void takeover_recovered(struct scheduler *s, struct run *r, enum takeover_outcome outcome)
{
    if (!r->live.unrecovered)
        return;
    note_outcome(s, r, outcome);
    r->live.unrecovered = false;
    assert(r->job->live.unrecovered > 0 && s->takeover.unrecovered > 0);
    r->job->live.unrecovered--;
    s->takeover.unrecovered--;
    turn_wake_job(s, r->job, s->now_ms);
}

static bool may_overlap(const struct job_state *j)
{
    return j->def && j->def->concurrency == JOB_ALLOW && !rules_max_running(j->def);
}

bool takeover_holds(const struct scheduler *s, const struct job_state *j)
{
    invariant_job(s, j);
    if (j->live.unrecovered == 0 || may_overlap(j))
        return false;
    LIST_EACH(link, &j->runs)
    {
        const struct run *r = LIST_ITEM(link, struct run, of_job);

        if (r->live.unrecovered && (r->fired || r->due_ms <= s->now_ms + RECOVER_AHEAD_MS))
            return true;
    }
    return false;
}

/* ---- the new leader begins ---- */

/* How long after the beginning what is due in `ahead_ms` is the engine's turn. */
static int64_t recover_in(int64_t ahead_ms)
{
    int64_t in_ms = ahead_ms / RECOVER_AHEAD_SPEEDUP;
    int64_t more_ms = in_ms < RECOVER_FIRST_MS ? in_ms : RECOVER_FIRST_MS;

    return ahead_ms <= 0 ? 0 : in_ms + more_ms;
}

/* When to begin with it: at once, or a reservation for later after those that are due sooner. */
static int64_t recover_at(const struct scheduler *s, const struct run *r)
{
    int64_t held_ms = may_overlap(r->job) ? 0 : RECOVER_AHEAD_MS;

    return s->now_ms + (r->fired ? 0 : recover_in(r->due_ms - s->now_ms - held_ms));
}

int64_t takeover_prepare_at(const struct scheduler *s, const struct run *r)
{
    return r->fired ? s->now_ms : s->takeover.lead_ms + recover_in(r->due_ms - s->takeover.lead_ms);
}

static bool is_handed_over(struct scheduler *s, struct run *r)
{
    const struct attempt *a = run_attempt(r);

    return a && a->state == ATTEMPT_COMMITTED && !r->journal_lost &&
           (a->handed_over || MUTANT(RELEASE_OLD_ID)) && run_queue_of_engine(s, a->engine, NULL);
}

/* Its leader gave it up unreleased: this leader may release it from now on. */
static void commit_again(struct scheduler *s, struct run *r)
{
    struct attempt *a = run_attempt(r);
    struct record *rec;

    assert(a->state == ATTEMPT_COMMITTED);
    run_queue_take_engine_permit(run_queue_of_engine(s, a->engine, NULL),
                                 r); /* may pass its size for a while */
    rec = turn_record_about(s, RECORD_COMMITTED, r);
    PUT_TEXT(s, rec, id, a->id);
    if (a->boot_id)
        PUT_TEXT(s, rec, boot_id, a->boot_id);
    PUT_TEXT(s, rec, identity, a->identity);
    r->live.commit_index = s->batch->index;
    turn_commit(s, rec);
}

/* What an earlier leader left of this run. */
static void recover(struct scheduler *s, struct run *r)
{
    struct attempt *a = run_attempt(r);
    struct run_queue *pool = run_queue_of_pool(s, run_def(r)), *running;
    bool handed_over = is_handed_over(s, r);
    bool may_run = a && !handed_over && (a->state == ATTEMPT_COMMITTED || run_attempt_is_released(a));

    memset(&r->live, 0, sizeof(r->live));
    r->live.timer.seq = r->seq;
    r->live.was = r->state;
    /* what was only armed never ran, and asks for its turn again; so does a retry of what never started */
    r->live.permitted = r->fired && (may_run || (r->state == RUN_RETRYING && r->started_ms));
    running = run_queue_of_running(s, may_run ? a->engine : rules_engine_name(s, run_def(r)));
    if (r->live.permitted && pool)
        run_queue_take_pool_permit(pool, r); /* may pass its size for a while: what runs, runs */
    if (r->live.permitted && running)
        run_queue_take_running_permit(running, r);
    if (may_run) {
        r->live.unrecovered = true;
        r->live.recover_by_ms = s->now_ms + RECOVER_WATCH_MS;
        r->job->live.unrecovered++;
        s->takeover.unrecovered++;
    } else if (handed_over) {
        commit_again(s, r);
        note_outcome(s, r, OUTCOME_HANDED_OVER);
    } else if (state_in_lost_time(&s->state, r)) {
        note_outcome(s, r, OUTCOME_LOST);
    } else {
        note_outcome(s, r, a && a->state == ATTEMPT_ARMED ? OUTCOME_ARMED_AGAIN : OUTCOME_WAITING);
    }
    r->live.left = !may_run && !handed_over && s->takeover.gap_ms > s->o.late_grace_ms;
    if (rules_is_left(s, r))
        turn_wake_job(s, r->job, s->now_ms); /* which decides whether it still runs, and then wakes it */
    else
        turn_wake_run(s, r, may_run ? recover_at(s, r) : s->now_ms);
    invariant_run(s, r);
}

void takeover_begin(struct scheduler *s, const char *cause, int64_t from_epoch, const char *from_replica,
                    int64_t last_batch_ms)
{
    struct takeover *t = &s->takeover;
    struct job_state *j, *next_job;
    struct run *r, *next;

    assert(s->leading && list_empty(&s->pending_batches) && !s->calls);
    assert(!heap_first(&s->job_timers) && list_empty(&s->later));
    takeover_end(s);
    if (from_epoch > 0) {
        t->runs = json_array();
        t->times = json_array();
        t->from_epoch = from_epoch;
        t->gap_ms = s->now_ms > last_batch_ms ? s->now_ms - last_batch_ms : 0;
        t->cause = alloc_text(cause);
        t->from_replica = alloc_text(from_replica);
    }
    t->lead_ms = s->now_ms;
    run_queue_clear_all(s);
    stray_clear_all(s);
    heap_release(&s->run_timers);
    if (MUTANT(CATCH_UP_AGAIN)) {
        HASH_ITER(by_name, s->state.jobs, j, next_job)
        {
            if (j->cursor_ms > 0)
                j->cursor_ms -= 5000;
        }
    }
    HASH_ITER(by_id, s->state.runs, r, next)
    {
        recover(s, r);
    }
}

void takeover_end(struct scheduler *s)
{
    struct takeover *t = &s->takeover;

    json_decref(t->runs);
    json_decref(t->times);
    free(t->cause);
    free(t->from_replica);
    *t = (struct takeover){0};
}

/* ---- this leader resigns ---- */

/* A record of a kind that every build reads, so that history knows who asked and the successor why it leads. */
static void record_yield(struct scheduler *s)
{
    const char *by = s->yield_by[0] ? s->yield_by : NULL;
    struct record *r;
    json_t *report;
    char why[sizeof(s->yield_by) + 32], text[sizeof(why) + 300];

    assert(s->leading);
    if (by)
        snprintf(why, sizeof(why), "asked by %s", by);
    else
        snprintf(why, sizeof(why), "%s", s->stopping ? "it is stopping" : "another is better off");
    snprintf(text, sizeof(text), "%s hands over: %s", s->o.replica, why);
    report = json_pack("{s:I,s:b,s:s*,s:s}", "epoch", (json_int_t)s->epoch, TAKEOVER_HANDING_OVER, 1, "by",
                       by, "text", text);
    r = turn_record(s, RECORD_TAKEOVER);
    PUT_JSON(s, r, report, report);
    turn_commit(s, r);
    json_decref(report);
    s->yield_by[0] = '\0';
}

bool takeover_follows_yield(const struct batch *batch, bool followed)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct record *r = &batch->records[i];

        if (r->kind == RECORD_EPOCH)
            followed = false;
        else if (r->kind == RECORD_TAKEOVER &&
                 json_is_true(json_object_get(r->report, TAKEOVER_HANDING_OVER)))
            followed = true;
    }
    return followed;
}

/* A leader that says that it goes is not missed, whatever its successor saw of it. */
const char *takeover_cause(const struct scheduler *s, const char *cause)
{
    bool gone = strcmp(cause, "session-ended") == 0 || strcmp(cause, "connection-closed") == 0;

    return s->handed_over && gone ? "handed-over" : cause;
}

void takeover_yield(struct scheduler *s)
{
    struct job_state *j, *next;

    assert(s->leading);
    record_yield(s);
    if (s->state.level < record_kind_level(RECORD_HANDED_OVER))
        return;
    HASH_ITER(by_name, s->state.jobs, j, next)
    {
        LIST_EACH(link, &j->runs)
        {
            struct run *r = LIST_ITEM(link, struct run, of_job);
            const struct attempt *a = run_attempt(r);
            struct engine *engine = NULL;

            if (!a || a->state != ATTEMPT_COMMITTED || a->committed_epoch != s->epoch || r->live.released)
                continue;
            run_queue_of_engine(s, a->engine, &engine);
            if (engine && engine->hands_over)
                turn_commit(s, turn_record_about(s, RECORD_HANDED_OVER, r));
        }
    }
}

/* ---- fire times that were not evaluated in time ---- */

static bool extend(json_t *entry, const char *job, const char *policy, const char *to, int64_t count)
{
    int64_t had = json_integer_value(json_object_get(entry, "count"));

    assert(count > 0);
    if (!entry || strcmp(json_string_value(json_object_get(entry, "job")), job) != 0 ||
        strcmp(json_string_value(json_object_get(entry, "policy")), policy) != 0)
        return false;
    json_object_set_new(entry, "to", json_string(to));
    json_object_set_new(entry, "count", json_integer(had + count));
    return true;
}

static void note_times(struct takeover *t, const struct job_state *j, int64_t from_ms, int64_t to_ms,
                       int64_t count, const char *policy)
{
    char from[TEXT_NUMBER_BUFFER], to[TEXT_NUMBER_BUFFER];
    size_t n = json_array_size(t->times);

    assert(from_ms <= to_ms && count > 0);
    instant_format(from_ms, INSTANT_S, from, sizeof(from));
    instant_format(to_ms, INSTANT_S, to, sizeof(to));
    if ((n == 0 || !extend(json_array_get(t->times, n - 1), j->name, policy, to, count)) &&
        n < REPORT_TIMES_MAX)
        json_array_append_new(t->times, json_pack("{s:s,s:s,s:s,s:I,s:s}", "job", j->name, "from", from, "to",
                                                  to, "count", (json_int_t)count, "policy", policy));
}

void takeover_note_late(struct scheduler *s, const struct job_state *j, int64_t fire_ms, enum run_cause cause)
{
    struct takeover *t = &s->takeover;

    if (!t->times || fire_ms > t->lead_ms)
        return;
    assert(cause != CAUSE_NONE);
    t->late++;
    note_times(t, j, fire_ms, fire_ms, 1, cause == CAUSE_CATCH_UP ? run_cause_name(cause) : "late");
}

void takeover_note_skipped(struct scheduler *s, const struct job_state *j, int64_t from_ms, int64_t to_ms,
                           int64_t count, enum run_verdict reason)
{
    struct takeover *t = &s->takeover;

    if (!t->times || to_ms > t->lead_ms)
        return;
    assert(count > 0 && run_verdict_is_skip(reason));
    t->skipped += count;
    note_times(t, j, from_ms, to_ms, count, run_verdict_name(reason));
}

/* ---- the report ---- */

static void note_unrecovered(struct scheduler *s)
{
    struct run *r, *next;
    int count = 0;

    HASH_ITER(by_id, s->state.runs, r, next)
    {
        if (!r->live.unrecovered)
            continue;
        note_outcome(s, r, OUTCOME_UNRESOLVED);
        count++;
    }
    assert(count <= s->takeover.unrecovered);
}

/* In words: "gap 1.2 s; 14 runs: 3 adopted, 11 discarded; 2 fire times late". */
static void summarize(const struct takeover *t, char *text, size_t size)
{
    int runs = 0;
    size_t n;
    const char *before = ": ";

    for (int i = 0; i < OUTCOME_COUNT; i++)
        runs += t->outcomes[i];
    n = (size_t)snprintf(text, size, "gap %.1f s; %d unfinished run%s", (double)t->gap_ms / 1000, runs,
                         runs == 1 ? "" : "s");
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        if (t->outcomes[i] == 0)
            continue;
        n += (size_t)snprintf(text + n, size - n, "%s%d %s", before, t->outcomes[i], outcomes[i]);
        before = ", ";
    }
    if (t->late > 0)
        n += (size_t)snprintf(text + n, size - n, "; %lld fire times late", (long long)t->late);
    if (t->skipped > 0)
        n += (size_t)snprintf(text + n, size - n, "; %lld skipped", (long long)t->skipped);
    assert(n < size);
}

static void write_report(struct scheduler *s)
{
    struct takeover *t = &s->takeover;
    json_t *settled = json_object(), *report;
    struct record *r;
    char text[512];

    assert(t->runs && t->times);
    note_unrecovered(s);
    summarize(t, text, sizeof(text));
    for (int i = 0; i < OUTCOME_COUNT; i++)
        if (t->outcomes[i] > 0)
            json_object_set_new(settled, outcomes[i], json_integer(t->outcomes[i]));
    report = json_pack("{s:I,s:I,s:s?,s:s,s:I,s:I,s:o,s:O,s:O,s:s}", "from_epoch", (json_int_t)t->from_epoch,
                       "epoch", (json_int_t)s->epoch, "from_replica", t->from_replica, "noticed", t->cause,
                       "gap_ms", (json_int_t)t->gap_ms, "took_ms", (json_int_t)(s->now_ms - t->lead_ms),
                       "settled", settled, "runs", t->runs, "fire_times", t->times, "text", text);
    r = turn_record(s, RECORD_TAKEOVER);
    PUT_JSON(s, r, report, report);
    turn_commit(s, r);
    json_decref(report);
    turn_log(s, LOG_NOTE, "take-over", NULL, "%s", text);
    json_decref(t->runs);
    json_decref(t->times);
    t->runs = t->times = NULL;
}

int64_t takeover_report(struct scheduler *s)
{
    struct takeover *t = &s->takeover;
    struct heap_item *job = heap_first(&s->job_timers);

    assert(s->leading && !t->runs == !t->times);
    if (!t->runs)
        return HEAP_NEVER;
    if (s->now_ms < t->lead_ms + REPORT_WITHIN_MS &&
        (t->unrecovered > 0 || !list_empty(&s->later) || s->look_next || (job && job->at <= s->now_ms)))
        return t->lead_ms + REPORT_WITHIN_MS;
    write_report(s);
    return HEAP_NEVER;
}
