/* Fire times: which are due, late, missed or to be armed ahead; pauses that expire; backfills.
 *
 * For each job, in this order: the fire times up to now are evaluated, each once and in their order: it becomes
 * a run (FIRE), or is passed over (SKIPPED) with its reason; in both cases the cursor moves in the same
 * record. Then fire times of the next half minute, or as far as the engine prepares attempts, are reserved (ARM),
 * without gaps.
 *
 * After an outage several are due at once, and it decides over them together, over their times alone: whether an earlier
 * leader had armed one makes no difference (rules_is_left). For those older than late_grace catch_up decides; later ones
 * are late and run, as far as the job's runs may go on beside one another: where they may not, the newest does.
 */
#include "jobs/base/mutant.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/state/run_id.h"

#include <assert.h>
#include <stdio.h>

/* ---- records about fire times ---- */

static void put_skip(struct scheduler *s, struct job_state *j, int64_t from_s, int64_t to_s, int64_t count,
                     enum run_verdict reason, const char *text)
{
    struct record *r;

    assert(from_s > rules_cursor_s(j)); /* what is accounted for is so once */
    assert(from_s <= to_s && count > 0 && run_verdict_is_skip(reason));
    r = turn_record(s, RECORD_SKIPPED);
    PUT_TEXT(s, r, job, j->name);
    PUT_INT(s, r, from_ms, from_s * 1000);
    PUT_INT(s, r, to_ms, to_s * 1000);
    PUT_INT(s, r, count, count);
    PUT_TEXT(s, r, reason, run_verdict_name(reason));
    PUT_TEXT(s, r, text, text);
    turn_commit(s, r);
    assert(rules_cursor_s(j) >= to_s);
    takeover_note_skipped(s, j, from_s * 1000, to_s * 1000, count, reason);
    s->o.env->log(s->o.env, LOG_NOTE, "skipped", j->name, NULL, run_verdict_name(reason));
}

static void put_fire(struct scheduler *s, struct job_state *j, int64_t at_s, int64_t due_ms,
                     enum run_cause cause)
{
    char id[RUN_ID_MAX];
    struct record *r = turn_record(s, RECORD_FIRE);

    assert(at_s > rules_cursor_s(j) && due_ms >= at_s * 1000);
    PUT_TEXT(s, r, run, run_id_format(j->name, at_s * 1000, false, id));
    PUT_INT(s, r, fire_ms, at_s * 1000);
    PUT_INT(s, r, due_ms, due_ms);
    PUT_TEXT(s, r, cause, run_cause_name(cause));
    turn_commit(s, r);
    if (due_ms <= s->takeover.lead_ms)
        takeover_note_late(s, j, at_s * 1000, cause);
    s->fired++;
}

/* Reservations in (…, to_s] go: what they stood for is being skipped. */
static void revoke_up_to(struct scheduler *s, struct job_state *j, int64_t to_s, const char *reason)
{
    LIST_EACH_SAFE(link, &j->runs)
    {
        struct run *r = LIST_ITEM(link, struct run, of_job);

        if (!r->fired && r->fire_ms <= to_s * 1000)
            launch_revoke(s, r, reason);
    }
}

static void put_passed(struct scheduler *s, struct job_state *j, int64_t at_s)
{
    struct record *r = turn_record(s, RECORD_PASSED);

    PUT_TEXT(s, r, job, j->name);
    PUT_INT(s, r, to_ms, at_s * 1000);
    turn_commit(s, r);
    assert(rules_cursor_s(j) >= at_s);
}

/* What an earlier leader committed cannot be revoked before it is known not to run: its fire time becomes a
 * run now, and the fence decides about it. */
static void fire_unrecovered(struct scheduler *s, struct job_state *j, int64_t to_s)
{
    LIST_EACH(link, &j->runs)
    {
        struct run *r = LIST_ITEM(link, struct run, of_job);

        if (!r->fired && r->live.unrecovered && r->fire_ms <= to_s * 1000)
            launch_fire_ahead(s, r);
    }
}

/* Skips every fire time after the cursor up to to_s that has no run: a range, or several around those that
 * have. */
static void skip_up_to(struct scheduler *s, struct job_state *j, int64_t to_s, enum run_verdict reason,
                       const char *text)
{
    struct schedule *schedule = rules_schedule(s, j);

    assert(run_verdict_is_skip(reason));
    if (schedule)
        fire_unrecovered(s, j, to_s);
    while (schedule) {
        bool ahead = j->ahead_count > 0 && j->ahead[0] / 1000 <= to_s;
        int64_t end = ahead ? j->ahead[0] / 1000 - 1 : to_s,
                from = schedule_next(schedule, rules_cursor_s(j));

        if (from <= end) {
            revoke_up_to(s, j, end, run_verdict_name(reason));
            put_skip(s, j, from, schedule_prev(schedule, end + 1),
                     schedule_count(schedule, rules_cursor_s(j), end, INT64_MAX), reason, text);
        }
        if (!ahead)
            return;
        put_passed(s, j, j->ahead[0] / 1000);
    }
}

void planner_skip_to(struct scheduler *s, struct job_state *j, int64_t to_ms, enum run_verdict reason,
                     const char *text)
{
    skip_up_to(s, j, to_ms / 1000, reason, text);
}

/* ---- evaluating ---- */

/* The reservation of a fire time that turns out not to run. */
static void evaluate_skip(struct scheduler *s, struct job_state *j, struct run *r, int64_t at_s,
                          enum run_verdict reason, const char *text)
{
    assert(!r || (r->job == j && !r->fired));
    if (r)
        launch_revoke(s, r, run_verdict_name(reason));
    put_skip(s, j, at_s, at_s, 1, reason, text);
}

#define REASON_BUFFER (RUN_ID_MAX + 64)

/* Why a fire time does not become a run now, or VERDICT_NONE; r: its reservation, or NULL. */
static enum run_verdict blocked(struct scheduler *s, struct job_state *j, const struct run *r, int64_t at_s,
                                enum run_cause cause, char text[REASON_BUFFER])
{
    const struct job *def = j->def;
    bool in_turn = rules_catches_up_in_turn(def, cause);
    const struct run *other = rules_busy_with(s, j, r);

    assert(!r || r->job == j);
    if (def->start_within_ms > 0 && s->now_ms - at_s * 1000 > def->start_within_ms) {
        snprintf(text, REASON_BUFFER, TEXT_DEADLINE);
        return VERDICT_DEADLINE;
    }
    if (def->concurrency == JOB_FORBID && !in_turn && other) {
        snprintf(text, REASON_BUFFER, "%s has not ended", other->id);
        return VERDICT_OVERLAP;
    }
    if (def->concurrency == JOB_ALLOW && rules_max_running(def) && !in_turn &&
        rules_busy_count(s, j, r) >= rules_max_running(def)) {
        snprintf(text, REASON_BUFFER, "%d runs have not ended, and max_running is %d",
                 rules_busy_count(s, j, r), def->max_running);
        return VERDICT_OVERLAP;
    }
    if (def->concurrency == JOB_FORBID && !in_turn && stray_of(s, j)) {
        snprintf(text, REASON_BUFFER, "%s was started again by somebody else and runs", stray_of(s, j));
        return VERDICT_OVERLAP;
    }
    if (j->run_count >= JOB_RUNS_MAX) {
        snprintf(text, REASON_BUFFER, "%zu runs have not ended", j->run_count);
        return VERDICT_QUEUE_FULL;
    }
    if (def->concurrency == JOB_QUEUE && rules_waiting_count(j, NULL) >= def->queue_max) {
        snprintf(text, REASON_BUFFER, "%d runs are waiting", def->queue_max);
        return VERDICT_QUEUE_FULL;
    }
    return VERDICT_NONE;
}

/* One fire time has come: it becomes a run or is skipped. */
static void evaluate(struct scheduler *s, struct job_state *j, int64_t at_s, int64_t due_ms,
                     enum run_cause cause)
{
    char id[RUN_ID_MAX], text[REASON_BUFFER];
    struct run *r = state_run(&s->state, run_id_format(j->name, at_s * 1000, false, id));
    enum run_verdict verdict;

    if (state_fired_ahead(j, at_s * 1000)) {
        put_passed(s, j, at_s);
        return;
    }
    assert(!r || !r->fired); /* firing moved the cursor past it */
    if (r && r->live.unrecovered) {
        put_fire(s, j, at_s, due_ms, cause); /* it may run already; the fence decides */
        return;
    }
    verdict = blocked(s, j, r, at_s, cause, text);
    if (verdict != VERDICT_NONE) {
        evaluate_skip(s, j, r, at_s, verdict, text);
        return;
    }
    put_fire(s, j, at_s, due_ms, cause);
    r = state_run(&s->state, id);
    if (!r)
        return; /* prepared ahead and refused: it has ended as failed */
    if (j->def->concurrency == JOB_REPLACE)
        launch_stop_others(s, r);
    launch_release(s, r);
}

/* ---- what was missed ---- */

/* The fire times of a job that are due and not accounted for. More than one at once: nobody looked when they were due. */
struct due {
    int64_t newest_s; /* of them; INT64_MIN: there is none */
    int64_t
        old_s; /* up to here they are older than the grace, and catch_up decides; INT64_MIN: none is due so long ago */
    bool many;                /* with those that a leader had begun and never started */
    enum run_verdict verdict; /* why the newest does not run; VERDICT_NONE: it does */
    char text[REASON_BUFFER];
};

static int64_t grace_ms(const struct scheduler *s, const struct job *def)
{
    return def->start_within_ms > 0 && def->start_within_ms < s->o.late_grace_ms ? def->start_within_ms
                                                                                 : s->o.late_grace_ms;
}

/* The last fire time that was due at that instant; what is due keeps the order of the fire times. */
static int64_t last_due_s(const struct schedule *schedule, int64_t ms)
{
    int64_t at = schedule_prev(schedule, ms / 1000 + 1);

    while (at != INT64_MIN && rules_due_ms(schedule, at) > ms)
        at = schedule_prev(schedule, at);
    assert(at == INT64_MIN || rules_due_ms(schedule, at) <= ms);
    return at;
}

/* A run that is left; NULL: none. */
static struct run *left_run(struct scheduler *s, struct job_state *j)
{
    assert(s->leading);
    LIST_EACH(link, &j->runs)
    {
        struct run *r = LIST_ITEM(link, struct run, of_job);

        if (rules_is_left(s, r))
            return r;
    }
    return NULL;
}

/* With all, also those whose fire time has come but not their jitter. */
static void due_survey(struct scheduler *s, struct job_state *j, struct schedule *schedule, bool all,
                       struct due *ret)
{
    int64_t first = schedule_next(schedule, rules_cursor_s(j)), old_ms = s->now_ms - grace_ms(s, j->def) - 1;
    bool left = left_run(s, j) != NULL;
    enum run_cause cause;
    char id[RUN_ID_MAX];

    *ret = (struct due){.newest_s = INT64_MIN, .old_s = INT64_MIN};
    if (all && first <= s->now_ms / 1000)
        ret->newest_s = schedule_prev(schedule, s->now_ms / 1000 + 1);
    else if (!all && first != SCHEDULE_NEVER && rules_due_ms(schedule, first) <= s->now_ms)
        ret->newest_s = last_due_s(schedule, s->now_ms);
    if (ret->newest_s == INT64_MIN)
        return;
    if (first <= old_ms / 1000)
        ret->old_s = last_due_s(schedule, old_ms);
    assert(ret->newest_s >= first && ret->old_s <= ret->newest_s);
    ret->many = left || ret->newest_s > first;
    if (!ret->many && ret->old_s < first)
        return;
    cause = j->def->catch_up == JOB_CATCH_UP_ALL ? CAUSE_CATCH_UP : CAUSE_SCHEDULE;
    ret->verdict = blocked(s, j,
                           state_run(&s->state, run_id_format(j->name, ret->newest_s * 1000, false, id)),
                           ret->newest_s, cause, ret->text);
}

/* Why those before the newest do not run: because that one does, or for the reason for which that one does not. */
static enum run_verdict superseded(const struct due *due, const char **ret_text)
{
    assert(!due->verdict || run_verdict_is_skip(due->verdict));
    *ret_text = due->verdict ? due->text : "a later fire time was run for it";
    return due->verdict ? due->verdict : VERDICT_COALESCED;
}

/* What catch_up says of a run that was begun by a leader and never started: the same as if it had not been. True: it was
 * closed. */
static bool left_close(struct scheduler *s, struct job_state *j, struct schedule *schedule, struct run *r,
                       const struct due *due)
{
    const struct job *def = j->def;
    bool old = s->now_ms - r->due_ms > s->o.late_grace_ms;
    bool later = due->newest_s > r->fire_ms / 1000 || j->last_fire_ms > r->fire_ms;
    enum run_verdict verdict = VERDICT_NONE;
    const char *text = "";

    assert(rules_is_left(s, r));
    if (launch_too_late(s, r))
        return true;
    if (old && def->catch_up == JOB_CATCH_UP_NONE) {
        verdict = VERDICT_MISSED;
        text = "catch_up: none";
    } else if (def->catch_up == JOB_CATCH_UP_ALL) {
        text = "more than max_catch_up";
        if (old && schedule && due->old_s != INT64_MIN &&
            schedule_count(schedule, r->fire_ms / 1000, due->old_s, def->max_catch_up) >= def->max_catch_up)
            verdict = VERDICT_MISSED;
    } else if (later && (old || rules_room(def) == 1)) {
        verdict = superseded(due, &text);
    }
    if (verdict == VERDICT_NONE)
        return false;
    launch_close(s, r, verdict, text, NULL);
    return true;
}

/* It runs after all, late: as a run that was not begun would. */
static void left_keep(struct scheduler *s, const struct run *r)
{
    struct record *rec;

    assert(r->fired && (r->cause == CAUSE_SCHEDULE || r->cause == CAUSE_CATCH_UP));
    if (r->cause == CAUSE_CATCH_UP)
        return;
    rec = turn_record(s, RECORD_FIRE);
    PUT_TEXT(s, rec, run, r->id);
    PUT_INT(s, rec, fire_ms, r->fire_ms);
    PUT_INT(s, rec, due_ms, r->due_ms);
    PUT_TEXT(s, rec, cause, run_cause_name(CAUSE_CATCH_UP));
    PUT_INT(s, rec, ahead, 1);
    turn_commit(s, rec);
    assert(r->cause == CAUSE_CATCH_UP);
}

static void judge_left(struct scheduler *s, struct job_state *j, struct schedule *schedule,
                       const struct due *due)
{
    bool again = !MUTANT(ARMED_IS_BUSY);

    assert(due->old_s <= due->newest_s);
    while (again) { /* closing one may end the list's next */
        again = false;
        LIST_EACH(link, &j->runs)
        {
            struct run *r = LIST_ITEM(link, struct run, of_job);

            if (!rules_is_left(s, r))
                continue;
            if (left_close(s, j, schedule, r, due)) {
                again = true;
                break;
            }
            if (s->now_ms - r->due_ms > s->o.late_grace_ms ||
                (due->many && rules_catches_up_in_turn(j->def, CAUSE_CATCH_UP)))
                left_keep(s, r);
        }
    }
}

/* Fire times of one job older than the grace: catch_up decides. True when some are left for the next turn. */
static bool catch_up(struct scheduler *s, struct job_state *j, struct schedule *schedule,
                     const struct due *due, int *budget)
{
    const struct job *def = j->def;
    int64_t last = due->old_s, n, dead_s = (s->now_ms - def->start_within_ms - 1) / 1000;
    const char *text;
    enum run_verdict verdict = superseded(due, &text);

    assert(due->old_s > INT64_MIN && due->old_s <= due->newest_s);
    if (def->start_within_ms > 0)
        skip_up_to(s, j, dead_s < last ? dead_s : last, VERDICT_DEADLINE, "later than start_within allows");
    if (schedule_next(schedule, rules_cursor_s(j)) > last)
        return false;
    if (def->catch_up == JOB_CATCH_UP_NONE) {
        skip_up_to(s, j, last, VERDICT_MISSED, "catch_up: none");
        return false;
    }
    if (def->catch_up == JOB_CATCH_UP_LATEST) {
        bool newer = due->newest_s > last;

        skip_up_to(s, j, newer ? last : last - 1, verdict, text);
        if (!newer)
            evaluate(s, j, last, rules_due_ms(schedule, last), CAUSE_CATCH_UP);
        return false;
    }
    n = schedule_count(schedule, rules_cursor_s(j), last, INT64_MAX);
    if (n > def->max_catch_up) {
        int64_t keep = last;

        for (int i = 1; i < def->max_catch_up; i++)
            keep = schedule_prev(schedule, keep);
        skip_up_to(s, j, keep - 1, VERDICT_MISSED, "more than max_catch_up");
    }
    for (int64_t at = schedule_next(schedule, rules_cursor_s(j)); at <= last;
         at = schedule_next(schedule, rules_cursor_s(j))) {
        if ((*budget)-- <= 0)
            return true;
        evaluate(s, j, at, rules_due_ms(schedule, at), CAUSE_CATCH_UP);
    }
    return false;
}

/* Those within the grace that cannot run beside one another: as many as can do, and the newest. */
static void skip_late(struct scheduler *s, struct job_state *j, struct schedule *schedule,
                      const struct due *due)
{
    int room = rules_room(j->def);
    int64_t keep = due->newest_s;
    const char *text;
    enum run_verdict verdict = superseded(due, &text);

    assert(due->newest_s > INT64_MIN);
    if (!due->many || room == 0 || j->def->catch_up == JOB_CATCH_UP_ALL)
        return;
    if (j->def->concurrency == JOB_ALLOW)
        room -= rules_busy_count(s, j, NULL);
    while (room-- > 1 && keep > rules_cursor_s(j))
        keep = schedule_prev(schedule, keep);
    if (schedule_next(schedule, rules_cursor_s(j)) < keep)
        skip_up_to(s, j, schedule_prev(schedule, keep), verdict, text);
}

/* Judges every fire time that is due; with all, also those whose fire time has come but not their jitter.
 * True when the turn's budget ended before. */
static bool evaluate_due(struct scheduler *s, struct job_state *j, struct schedule *schedule, bool all)
{
    int budget = all ? INT32_MAX : EVALUATED_PER_TURN_MAX;
    enum run_cause cause = CAUSE_SCHEDULE;
    struct due due;

    assert(!j->live.held && !state_paused(&s->state, j));
    due_survey(s, j, schedule, all, &due);
    judge_left(s, j, schedule, &due);
    if (due.newest_s == INT64_MIN)
        return false;
    if (due.old_s != INT64_MIN && catch_up(s, j, schedule, &due, &budget))
        return true;
    skip_late(s, j, schedule, &due);
    if (due.many && rules_catches_up_in_turn(j->def, CAUSE_CATCH_UP))
        cause = CAUSE_CATCH_UP;
    for (;;) {
        int64_t at = schedule_next(schedule, rules_cursor_s(j));

        if (at == SCHEDULE_NEVER || at > due.newest_s)
            return false;
        if (budget-- <= 0)
            return true;
        evaluate(s, j, at, rules_due_ms(schedule, at), cause);
    }
}

/* ---- other zone rules ---- */

#define LOCAL_BYTES (sizeof("2026-03-29T03:00:00") - 1) /* what of a local time to compare: not its offset */

/* What the job has had already by its local time is skipped, so that a night's run never doubles. */
static void follow_zones(struct scheduler *s, struct job_state *j)
{
    struct schedule *schedule = rules_schedule(s, j);
    char local[sizeof(j->live.ran_local)];
    int64_t from, to, count = 0;

    assert(s->leading);
    if (!j->live.other_zones)
        return;
    j->live.other_zones = false;
    if (!schedule || !j->live.ran_local[0])
        return;
    from = to = schedule_next(schedule, rules_cursor_s(j));
    for (int64_t at = from; at != SCHEDULE_NEVER; at = schedule_next(schedule, at)) {
        schedule_local(schedule, at, local, sizeof(local));
        if (strncmp(local, j->live.ran_local, LOCAL_BYTES) > 0)
            break;
        to = at;
        count++;
    }
    if (count > 0)
        put_skip(s, j, from, to, count, VERDICT_COALESCED, TEXT_HAD_LOCAL_TIME);
}

/* ---- what comes before a change ---- */

void planner_evaluate_all(struct scheduler *s, struct job_state *j)
{
    struct schedule *schedule;

    invariant_job(s, j);
    assert(s->leading);
    follow_zones(s, j);
    schedule = rules_schedule(s, j);
    if (MUTANT(EDIT_UNACCOUNTED) || j->live.held) /* a held one was accounted for when it was staged */
        schedule = NULL;
    if (!schedule)
        return;
    if (state_paused(&s->state, j))
        skip_up_to(s, j, s->now_ms / 1000, VERDICT_PAUSED,
                   s->state.paused ? s->state.pause_reason : j->pause_reason);
    else
        evaluate_due(s, j, schedule, true);
}

void planner_account(struct scheduler *s, struct job_state *j, const char *reason)
{
    planner_evaluate_all(s, j);
    LIST_EACH_SAFE(link, &j->runs)
    {
        struct run *r = LIST_ITEM(link, struct run, of_job);

        if (!r->fired && !r->live.unrecovered && !MUTANT(PAUSE_KEEPS_ARMED))
            launch_revoke(s, r,
                          reason); /* an unrecovered one is revoked once its attempt is known not to run */
    }
}

/* ---- arming ahead ---- */

static int64_t newest_reserved_s(const struct job_state *j, int *ret_count)
{
    int64_t at = rules_cursor_s(j);

    *ret_count = 0;
    LIST_EACH(link, &j->runs)
    {
        const struct run *r = LIST_ITEM(link, struct run, of_job);

        if (r->fired)
            continue;
        (*ret_count)++;
        if (r->fire_ms / 1000 > at)
            at = r->fire_ms / 1000;
    }
    assert((size_t)*ret_count <= j->run_count && at >= rules_cursor_s(j));
    return at;
}

static int64_t ahead_ms(struct scheduler *s, const struct job_state *j)
{
    int64_t most_ms = s->o.arm_ahead_ms;
    struct engine *engine = NULL;

    run_queue_of_engine(s, rules_engine_name(s, j->def), &engine);
    assert(!engine || engine->ahead_ms >= 0);
    return engine && engine->ahead_ms && engine->ahead_ms < most_ms ? engine->ahead_ms : most_ms;
}

/* Reserves the fire times within ahead_ms; gives when to look again. */
static int64_t arm_ahead(struct scheduler *s, struct job_state *j, struct schedule *schedule)
{
    int64_t first = schedule_next(schedule, rules_cursor_s(j)), ahead = ahead_ms(s, j), again, at;
    int reserved;

    assert(!state_paused(&s->state, j) && !takeover_holds(s, j));
    if (first == SCHEDULE_NEVER)
        return HEAP_NEVER;
    again = rules_due_ms(schedule, first);
    at = schedule_next(schedule, newest_reserved_s(j, &reserved));
    while (at != SCHEDULE_NEVER && at * 1000 - ahead <= s->now_ms) {
        char id[RUN_ID_MAX];

        if (state_fired_ahead(j, at * 1000)) { /* it has had its run */
            at = schedule_next(schedule, at);
            continue;
        }
        if (at * 1000 <= j->live.refused_ms)
            return again;
        /* without a gap: what cannot be reserved now is prepared when it is due, and so is all after it */
        if (reserved++ == ARMED_PER_JOB_MAX ||
            !launch_arm_ahead(s, j, run_id_format(j->name, at * 1000, false, id), at * 1000,
                              rules_due_ms(schedule, at)))
            return again;
        at = schedule_next(schedule, at);
    }
    if (at != SCHEDULE_NEVER && at * 1000 - ahead < again)
        again = at * 1000 - ahead;
    return again;
}

/* ---- pauses and backfills ---- */

static void put_resume(struct scheduler *s, const char *job)
{
    struct record *r = turn_record(s, RECORD_RESUME);

    assert(job); /* without one it would be of all */
    PUT_TEXT(s, r, job, job);
    PUT_TEXT(s, r, by, "expiry");
    turn_commit(s, r);
}

/* A pause by hand has ended, and the file has one of its own. */
static void put_pause_of_file(struct scheduler *s, const struct job_state *j)
{
    struct record *r = turn_record(s, RECORD_PAUSE);

    assert(j->def->paused);
    PUT_TEXT(s, r, job, j->name);
    PUT_TEXT(s, r, reason, STATE_PAUSED_IN_FILE);
    PUT_TEXT(s, r, by, "expiry");
    turn_commit(s, r);
    assert(j->paused && !j->pause_until_ms);
}

/* True while the job is paused; a pause of its own that has expired ends here, that of all in resume.c. */
static bool paused(struct scheduler *s, struct job_state *j)
{
    if (j->paused && j->pause_until_ms && j->pause_until_ms <= s->now_ms) {
        planner_skip_to(s, j, j->pause_until_ms, VERDICT_PAUSED, j->pause_reason);
        if (j->def->paused)
            put_pause_of_file(s, j);
        else
            put_resume(s, j->name);
    }
    assert(!j->paused || !j->pause_until_ms || j->pause_until_ms > s->now_ms);
    return state_paused(&s->state, j);
}

static int64_t pause_ends_ms(const struct scheduler *s, const struct job_state *j)
{
    int64_t at = HEAP_NEVER;

    if (s->state.paused && s->state.pause_until_ms && s->state.pause_until_ms > s->now_ms)
        at = s->state.pause_until_ms; /* then all are looked at that need it */
    if (j->paused && j->pause_until_ms && j->pause_until_ms < at)
        at = j->pause_until_ms;
    assert(at > s->now_ms);
    return at;
}

static void backfill_one(struct scheduler *s, struct job_state *j, struct backfill *b)
{
    int64_t at_ms = json_integer_value(json_array_get(b->times, b->done));
    char id[RUN_ID_MAX];
    struct record *r;

    assert(b->done < json_array_size(b->times));
    run_id_format(j->name, at_ms, false, id);
    if (b->again || state_run(&s->state, id)) /* another run of the same fire time needs an id of its own */
        run_id_format(j->name, rules_exact_ms(s, j), true, id);
    r = turn_record(s, RECORD_TRIGGER);
    PUT_TEXT(s, r, run, id);
    PUT_INT(s, r, fire_ms, at_ms);
    PUT_TEXT(s, r, cause, run_cause_name(CAUSE_BACKFILL));
    PUT_TEXT(s, r, by, b->by);
    PUT_INT(s, r, queue, 1);
    turn_commit(s, r);
    r = turn_record(s, RECORD_BACKFILLED);
    PUT_TEXT(s, r, job, j->name);
    PUT_INT(s, r, count, (int64_t)b->done + 1);
    turn_commit(s, r);
}

static void backfill(struct scheduler *s, struct job_state *j)
{
    int running = 0;

    assert(!state_paused(&s->state, j));
    LIST_EACH(link, &j->runs)
    {
        running += LIST_ITEM(link, struct run, of_job)->cause == CAUSE_BACKFILL;
    }
    while (!list_empty(&j->backfills)) {
        struct backfill *b = LIST_ITEM(j->backfills.next, struct backfill, of_job);

        if (running++ >= b->max_parallel || rules_waiting_count(j, NULL) >= j->def->queue_max ||
            j->run_count >= JOB_RUNS_MAX)
            break; /* the end of one wakes the job */
        backfill_one(s, j, b);
    }
}

/* ---- what a clock that was ahead has passed over ---- */

static void make_good(struct scheduler *s, struct job_state *j, int64_t at_s)
{
    char id[RUN_ID_MAX], text[REASON_BUFFER];
    struct record *r;

    assert(at_s * 1000 <= s->now_ms);
    run_id_format(j->name, at_s * 1000, false, id);
    if (state_run(&s->state, id) || s->now_ms - at_s * 1000 > s->o.late_grace_ms ||
        blocked(s, j, NULL, at_s, CAUSE_BACKFILL, text) != VERDICT_NONE)
        return; /* it stays skipped, as is recorded */
    r = turn_record(s, RECORD_TRIGGER);
    PUT_TEXT(s, r, run, id);
    PUT_INT(s, r, fire_ms, at_s * 1000);
    PUT_TEXT(s, r, cause, run_cause_name(CAUSE_BACKFILL));
    PUT_TEXT(s, r, by, "clock");
    turn_commit(s, r);
    if (j->def->concurrency == JOB_REPLACE)
        launch_stop_others(s, state_run(&s->state, id));
}

/* Gives when to look again. */
static int64_t make_all_good(struct scheduler *s, struct job_state *j)
{
    int64_t at_s;

    while ((at_s = void_times_next_s(j)) != SCHEDULE_NEVER && at_s * 1000 <= s->now_ms) {
        if (!state_paused(&s->state, j))
            make_good(s, j, at_s);
        void_times_pass(s, j);
    }
    assert(at_s == SCHEDULE_NEVER || at_s * 1000 > s->now_ms);
    return at_s == SCHEDULE_NEVER ? HEAP_NEVER : at_s * 1000;
}

/* ---- reconciling ---- */

/* What is due and what is ahead of an existing job; gives when to look again. */
static int64_t plan(struct scheduler *s, struct job_state *j)
{
    struct schedule *schedule;
    int64_t again = HEAP_NEVER, good;

    assert(j->def);
    if (j->live.held)
        return HEAP_NEVER; /* it is looked at when its new definition is in force */
    follow_zones(s, j);
    schedule = rules_schedule(s, j);
    if (schedule && s->state.lost_until_ms > j->cursor_ms && !MUTANT(LOST_TIME_FIRED))
        skip_up_to(s, j, s->state.lost_until_ms / 1000, VERDICT_JOURNAL_LOST, TEXT_JOURNAL_LOST);
    if (paused(s, j)) {
        if (!takeover_holds(s, j))
            judge_left(s, j, schedule, &(struct due){.newest_s = INT64_MIN, .old_s = INT64_MIN});
        return pause_ends_ms(s, j);
    }
    if (takeover_holds(s, j))
        return HEAP_NEVER; /* each that is recovered wakes the job */
    /* what an earlier leader reserved, of a definition that put it off longer, may be fired here, and holds its job then */
    if (schedule && evaluate_due(s, j, schedule, false))
        again = s->now_ms + 1;
    else if (schedule && !takeover_holds(s, j))
        again = arm_ahead(s, j, schedule);
    backfill(s, j);
    good = make_all_good(s, j);
    return again < good ? again : good;
}

void planner_reconcile(struct scheduler *s, struct job_state *j)
{
    struct run *left;
    int64_t again;

    invariant_job(s, j);
    assert(s->leading);
    list_remove(&j->live.later);
    again = j->def ? plan(s, j) : HEAP_NEVER;
    while (!j->def && (left = left_run(s, j)))
        launch_close(s, left, VERDICT_DELETED, "the job was deleted", NULL);

    LIST_EACH(link, &j->runs)
    {
        struct run *r = LIST_ITEM(link, struct run, of_job);

        if (r->fired && r->state != RUN_RUNNING)
            turn_wake_run(s, r,
                          s->now_ms); /* its turn may have come; also when the job was deleted meanwhile */
    }
    if (again != HEAP_NEVER)
        turn_wake_job(s, j, again);
}
