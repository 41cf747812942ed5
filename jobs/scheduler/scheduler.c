/* The scheduler's life and the journal's events. See scheduler_priv.h for how it works.
 *
 * Happy path: restore, batch..., lead: an EPOCH record, then every unfinished run is reconciled. From then on
 * each entry appends records; flush hands them to the journal; acked wakes what they touched and answers
 * those who waited. A deposed scheduler forgets calls, waiters (ERR_DEPOSED) and batches not acked, shows the last
 * state it knew, and waits for restore.
 */
#include "jobs/scheduler/scheduler_priv.h"

#include "jobs/base/alloc.h"
#include "jobs/base/object.h"

#include <assert.h>
#include <stdio.h>

/* ---- zone rules, history's bounds, the end ---- */

/* Than the last that was recorded. */
static bool tzdata_is_older(const struct scheduler *s)
{
    return schedule_tzdata_older(s->o.zones->version(s->o.zones), s->state.tzdata);
}

void scheduler_zones_changed(struct scheduler *s)
{
    turn_enter(s);
    if (!s->leading) {
        s->zones_serial++;
        return;
    }
    if (tzdata_is_older(s)) {
        turn_log(s, LOG_WARN, "tzdata-older", NULL,
                 "tzdata %s is older than %s, which is in the journal: no new fire times are planned",
                 s->o.zones->version(s->o.zones), s->state.tzdata);
        return;
    }
    all_jobs_other_zones(s);
    reconcile_due(s);
}

/* The history takes only so many that wait; what it has no room for it forgets. */
void scheduler_prune(struct scheduler *s)
{
    int64_t now_ms = s->o.env->wall_ms(s->o.env);
    struct job_state *j = s->prune_next ? s->prune_next : s->state.jobs;

    for (int i = 0; i < SCHEDULER_PRUNED_MAX && j && s->o.history; i++, j = j->by_name.next)
        if (j->def)
            s->o.history->ops->prune(s->o.history, j->name, j->def->keep_runs, now_ms - j->def->keep_age_ms);
    s->prune_next = j;
}

void scheduler_stop(struct scheduler *s)
{
    apply_drop(s, "this server is stopping");
    scheduler_flush(s);
    assert(!s->apply && !s->batch);
    s->stopping = true;
    snprintf(s->refusing, sizeof(s->refusing), "this server is stopping");
}

/* ---- waiting for durability ---- */

void scheduler_wait(struct scheduler *s, uint64_t index, void (*done)(void *arg, int result), void *arg)
{
    struct waiter *w;

    if (index == 0 || (index == SCHEDULER_INDEX_LATER && !resume_goes_on(s) && !all_jobs_pause_goes_on(s)))
        index = turn_index(s);
    if (index <= s->acked || (!s->leading && index <= s->state.index)) {
        done(arg, 0);
        return;
    }
    if (!s->leading || s->waiter_count == SCHEDULER_WAITERS_MAX) {
        done(arg, s->leading ? ERR_LIMIT : ERR_DEPOSED);
        return;
    }
    assert(index > s->acked);
    w = alloc_zero(sizeof(*w));
    w->index = index;
    w->done = done;
    w->arg = arg;
    list_append(&s->waiters, &w->all);
    s->waiter_count++;
}

uint64_t scheduler_acked(const struct scheduler *s)
{
    return s->acked;
}

static void waiters_answer(struct scheduler *s, uint64_t index, int result)
{
    LIST_EACH_SAFE(link, &s->waiters)
    {
        struct waiter *w = LIST_ITEM(link, struct waiter, all);

        if (w->index > index)
            continue;
        assert(s->waiter_count > 0);
        list_remove(&w->all);
        s->waiter_count--;
        w->done(w->arg, result);
        free(w);
    }
}

/* ---- the journal's events ---- */

static void on_acked(void *arg, uint64_t index)
{
    struct scheduler *s = OBJECT(struct scheduler, arg);

    turn_enter(s);
    turn_acked(s, index);
    waiters_answer(s, index, 0);
    reconcile_due(s);
}

/* What a leader keeps of it: the next one finds none of that, and need not look at each job first. */
static void forget_job(struct job_state *j)
{
    void_times_forget(j);
    list_remove(&j->live.later);
    memset(&j->live.timer, 0, sizeof(j->live.timer));
    j->live.unrecovered = 0;
    j->live.held = j->live.other_zones = false;
    j->live.refused_ms = 0;
}

static void forget_leadership(struct scheduler *s)
{
    struct job_state *j, *next;

    assert(!s->reconciling);
    s->leading = s->set_back = false;
    s->set_back_next = NULL;
    apply_drop(s, s->refusing);
    all_jobs_drop(s);
    resume_drop(s);
    HASH_ITER(by_name, s->state.jobs, j, next)
    {
        forget_job(j);
    }
    heap_release(&s->job_timers);
    s->look_next = NULL;
    takeover_end(s);
    engine_call_drop_all(s);
    for (size_t i = 0; i < s->o.engine_count; i++)
        s->o.engines[i]->ops->abandon(s->o.engines[i]);
    turn_drop(s);
    waiters_answer(s, UINT64_MAX, ERR_DEPOSED);
    assert(!s->apply && !s->calls && !s->batch && s->waiter_count == 0);
    reconcile_due(s);
}

static void on_deposed(void *arg, const struct error *why)
{
    struct scheduler *s = OBJECT(struct scheduler, arg);

    snprintf(s->refusing, sizeof(s->refusing), "%s", why && why->text[0] ? why->text : "no leader");
    turn_log(s, LOG_WARN, "deposed", NULL, "%s", s->refusing);
    s->lead_epoch = 0;
    forget_leadership(s);
}

static void on_restore(void *arg, const char *text, size_t size, uint64_t index)
{
    struct scheduler *s = OBJECT(struct scheduler, arg);

    turn_enter(s);
    s->lead_epoch = 0;
    restore_begin(s, text, size, index);
    reconcile_due(s); /* sets the alarm, if there is more to do */
}

static void on_batch(void *arg, const struct batch *batch, const char *text, size_t size)
{
    struct scheduler *s = OBJECT(struct scheduler, arg);

    turn_enter(s);
    restore_batch(s, batch, text, size);
    reconcile_due(s); /* a hash of the state may be in the making */
}

/* What all replicas read. */
static int level_offered(const struct scheduler *s)
{
    struct journal_status status;

    s->journal->ops->status(s->journal, &status);
    return status.level < RECORD_LEVEL ? status.level : RECORD_LEVEL;
}

/* A level once written is never given up: an older build that comes back finds out and stops. */
static void level_rise(struct scheduler *s)
{
    int level = level_offered(s);
    struct record *r;

    assert(s->leading);
    if (level <= s->state.level)
        return;
    r = turn_record(s, RECORD_RISE);
    PUT_INT(s, r, level, level);
    turn_commit(s, r);
    assert(s->state.level == level);
    turn_log(s, LOG_NOTE, "level", NULL, "records of level %d may be written: every replica reads them",
             level);
}

void scheduler_yield_by(struct scheduler *s, const char *by)
{
    snprintf(s->yield_by, sizeof(s->yield_by), "%s", by ? by : "");
}

static void on_yield(void *arg)
{
    struct scheduler *s = OBJECT(struct scheduler, arg);

    if (!s->leading)
        return;
    turn_enter(s);
    apply_drop(s, "this replica hands over to another");
    takeover_yield(s);
    s->handed_over = true;
    scheduler_flush(s);
    snprintf(s->refusing, sizeof(s->refusing), "this replica hands over to another");
}

/* Whatever the other replicas read: a build that does not know the record has to stop, since it would start again what
 * may have run. */
static void record_recovery(struct scheduler *s)
{
    int level = record_kind_level(RECORD_RECOVERED);
    struct record *r;

    if (!s->recovery.until_ms)
        return;
    /* Up to three clocks. By the latest one: what ran in that time is not to be taken for what came after it. */
    if (s->recovery.until_ms < s->recovery.from_ms)
        s->recovery.until_ms = s->recovery.from_ms;
    if (s->recovery.until_ms < s->now_ms)
        s->recovery.until_ms = s->now_ms;
    if (s->state.level < level) {
        r = turn_record(s, RECORD_RISE);
        PUT_INT(s, r, level, level);
        turn_commit(s, r);
    }
    r = turn_record(s, RECORD_RECOVERED);
    PUT_INT(s, r, from_ms, s->recovery.from_ms);
    PUT_INT(s, r, until_ms, s->recovery.until_ms);
    PUT_TEXT(s, r, by, s->recovery_by);
    turn_commit(s, r);
    assert(s->state.lost_from_ms <= s->state.lost_until_ms);
    turn_log(
        s, LOG_WARN, "recovered", NULL,
        "the journal of %lld s was lost: what was due then is skipped, what ran then is not started again",
        (long long)(s->recovery.until_ms - s->recovery.from_ms) / 1000);
    s->recovery.until_ms = 0;
}

static void on_recovered(void *arg, const struct journal_recovery *recovery)
{
    struct scheduler *s = OBJECT(struct scheduler, arg);

    s->recovery = *recovery;
    snprintf(s->recovery_by, sizeof(s->recovery_by), "%s", recovery->by ? recovery->by : "");
    s->recovery.by = s->recovery_by;
}

static void lead(struct scheduler *s, int64_t epoch, const char *cause)
{
    int64_t from_epoch = s->state.epoch, last_batch_ms = s->state.time_ms;
    char *from_replica = s->state.replica ? alloc_text(s->state.replica) : NULL;
    struct record *r;

    assert(!s->leading && !s->batch && s->have_state);
    turn_enter(s);
    if (s->state.time_ms - s->now_ms > CLOCK_SET_BACK_MS && s->o.env->not_before)
        s->o.env->not_before(s->o.env, s->state.time_ms);
    turn_enter(s);
    s->set_back = s->state.time_ms - s->now_ms > CLOCK_SET_BACK_MS; /* and this clock is believed */
    if (s->state.time_ms > s->now_ms && !s->set_back)
        s->now_ms = s->state.time_ms;
    cause = takeover_cause(s, cause);
    s->handed_over = false;
    s->yield_by[0] = '\0';
    s->stall = (struct stall_look){0};
    s->leading = true;
    s->epoch = epoch;
    s->refusing[0] = '\0';
    r = turn_record(s, RECORD_EPOCH);
    PUT_INT(s, r, epoch, epoch);
    PUT_TEXT(s, r, replica, s->o.replica);
    PUT_TEXT(s, r, cluster, s->state.cluster ? s->state.cluster : s->o.cluster_uuid);
    PUT_INT(s, r, level, s->state.level ? s->state.level : level_offered(s));
    if (!tzdata_is_older(s))
        PUT_TEXT(s, r, tzdata, s->o.zones->version(s->o.zones));
    PUT_TEXT(s, r, cause, cause);
    turn_commit(s, r);
    record_recovery(s);
    turn_log(s, LOG_NOTE, "leading", NULL, "%s: epoch %lld, index %llu, %zu jobs, %zu unfinished runs", cause,
             (long long)epoch, (unsigned long long)s->state.index, s->state.job_count, s->state.run_count);
    takeover_begin(s, cause, from_epoch, from_replica, last_batch_ms);
    free(from_replica);
    s->look_next = s->state.jobs;
    reconcile_due(s);
}

/* When all is applied that was before. */
static void on_lead(void *arg, int64_t epoch, const char *cause)
{
    struct scheduler *s = OBJECT(struct scheduler, arg);

    if (!restore_goes_on(s)) {
        lead(s, epoch, cause);
        return;
    }
    s->lead_epoch = epoch;
    snprintf(s->lead_cause, sizeof(s->lead_cause), "%s", cause);
}

static void restore_on(struct scheduler *s)
{
    int64_t epoch = s->lead_epoch;

    restore_step(s);
    if (epoch == 0 || restore_goes_on(s))
        return;
    s->lead_epoch = 0;
    lead(s, epoch, s->lead_cause);
}

const struct journal_events scheduler_journal_events = {.restore = on_restore,
                                                        .batch = on_batch,
                                                        .lead = on_lead,
                                                        .acked = on_acked,
                                                        .deposed = on_deposed,
                                                        .yield = on_yield,
                                                        .recovered = on_recovered};

/* ---- turns ---- */

void scheduler_tick(struct scheduler *s)
{
    assert(!s->reconciling);
    s->wake_ms = HEAP_NEVER;
    turn_enter(s);
    turn_images(s);
    if (!state_free_spent(&s->state, FREED_PER_STEP) && !apply_free_spent(s, FREED_PER_STEP))
        restore_free_old(s, FREED_PER_STEP);
    if (!s->stopping)
        restore_on(s);
    if (s->leading && !s->stopping)
        void_times_step(s);
    if (s->leading && !s->stopping)
        all_jobs_step(s);
    if (s->leading && !s->stopping)
        resume_step(s);
    if (s->leading && !s->stopping)
        apply_step(s);
    if (s->leading && !s->stopping && s->pending_batch_count < SCHEDULER_PENDING_BATCHES_MAX)
        level_rise(s);
    reconcile_due(s);
}

/* ---- the state's callbacks ---- */

static void on_run_gone(void *arg, struct run *r)
{
    struct scheduler *s = OBJECT(struct scheduler, arg);

    launch_forget(s, r);
    if (s->leading)
        turn_wake_job(s, r->job, s->now_ms); /* somebody may have waited for it */
}

static void on_job_changed(void *arg, struct job_state *j)
{
    struct scheduler *s = OBJECT(struct scheduler, arg);

    schedule_free(j->live.schedule);
    j->live.schedule = NULL;
    j->live.compiled = false;
    j->live.held = false;
    if (!s->leading)
        return;
    LIST_EACH(link, &j->runs)
    {
        struct run *r = LIST_ITEM(link, struct run, of_job);

        if (r->live.permitted && r->attempt_count == 0)
            run_queue_withdraw_permission(
                s, r); /* under the old definition: it asks again, by the rules of the new one */
    }
    void_times_look(s, j);
    turn_wake_job_later(s, j);
}

static void on_job_gone(void *arg, struct job_state *j)
{
    struct scheduler *s = OBJECT(struct scheduler, arg);

    void_times_forget(j);

    s->job_generation++;
    all_jobs_gone(s, j);
    if (s->look_next == j)
        s->look_next = j->by_name.next;
    resume_job_gone(s, j);
    leader_stall_job_gone(s, j);
    if (s->prune_next == j)
        s->prune_next = j->by_name.next;
    if (s->set_back_next == j)
        s->set_back_next = j->by_name.next;
    list_remove(&j->live.later);
    heap_remove(&s->job_timers, &j->live.timer);
}

/* ---- life ---- */

static int64_t host_now_ms(struct engine_host *host)
{
    struct scheduler *s = OBJECT_OF(struct scheduler, host, host);

    return s->o.env->wall_ms(s->o.env);
}

static int64_t host_epoch(struct engine_host *host)
{
    struct scheduler *s = OBJECT_OF(struct scheduler, host, host);

    return s->leading ? s->epoch : 0;
}

static const char *host_cluster(struct engine_host *host)
{
    struct scheduler *s = OBJECT_OF(struct scheduler, host, host);

    return s->state.cluster ? s->state.cluster : "";
}

struct scheduler *scheduler_new(const struct scheduler_options *o)
{
    struct scheduler *s = OBJECT_NEW(struct scheduler);

    assert(o->engine_count <= SCHEDULER_ENGINES_MAX && o->pool_count <= SCHEDULER_POOLS_MAX);
    s->o = *o;
    s->thread = pthread_self();
    if (!s->o.snapshot_every)
        s->o.snapshot_every = SNAPSHOT_EVERY_BATCHES;
    s->host = (struct engine_host){.answer = engine_events_answer,
                                   .keep = engine_events_keep,
                                   .now_ms = host_now_ms,
                                   .epoch = host_epoch,
                                   .cluster = host_cluster,
                                   .back = engine_events_back,
                                   .stray = engine_events_stray};
    s->state.run_gone = on_run_gone;
    s->state.job_changed = on_job_changed;
    s->state.job_gone = on_job_gone;
    restore_begin(s, NULL, 0, 0);
    list_init(&s->pending_batches);
    list_init(&s->waiters);
    list_init(&s->discards);
    list_init(&s->later);
    heap_init(&s->job_timers);
    heap_init(&s->run_timers);
    scheduler_set_engines(s, o->engines, o->engine_count);
    for (size_t i = 0; i < o->pool_count; i++)
        s->pool_queues[i] = (struct run_queue){.name = o->pools[i].name, .size = o->pools[i].size};
    s->next_ticket = 1;
    s->wake_ms = HEAP_NEVER;
    snprintf(s->refusing, sizeof(s->refusing), "the journal is not read yet");
    return s;
}

void scheduler_set_engines(struct scheduler *s, struct engine *const *engines, size_t count)
{
    assert(count <= SCHEDULER_ENGINES_MAX);
    s->o.engines = engines;
    s->o.engine_count = count;
    s->engineless.counted = false;
    for (size_t i = 0; i < count; i++) {
        s->engine_queues[i] = (struct run_queue){.name = engines[i]->name, .size = engines[i]->max_armed};
        s->running_queues[i] = (struct run_queue){.name = engines[i]->name, .size = engines[i]->max_running};
    }
}

void scheduler_free(struct scheduler *s)
{
    if (!s)
        return;
    s->leading = false;
    apply_drop(s, "this server is stopping");
    apply_free_spent(s, SIZE_MAX);
    all_jobs_drop(s);
    resume_drop(s);
    takeover_end(s);
    engine_call_drop_all(s);
    stray_clear_all(s);
    turn_drop(s);
    waiters_answer(s, UINT64_MAX, ERR_CANCELLED);
    restore_drop(s);
    restore_free_old(s, SIZE_MAX);
    state_release(&s->state);
    heap_release(&s->job_timers);
    heap_release(&s->run_timers);
    for (size_t i = 0; i < SCHEDULER_ENGINES_MAX; i++) {
        heap_release(&s->engine_queues[i].waiting);
        heap_release(&s->running_queues[i].waiting);
    }
    for (size_t i = 0; i < SCHEDULER_POOLS_MAX; i++)
        heap_release(&s->pool_queues[i].waiting);
    OBJECT_FREE(struct scheduler, s);
}

void scheduler_set_journal(struct scheduler *s, struct journal *journal)
{
    assert(!s->leading);
    s->journal = journal;
}

struct engine_host *scheduler_engine_host(struct scheduler *s)
{
    return &s->host;
}

bool scheduler_is_reading(const struct scheduler *s)
{
    return restore_of_snapshot(s);
}

bool scheduler_leading(const struct scheduler *s)
{
    return s->leading;
}

size_t scheduler_job_count(const struct scheduler *s)
{
    return s->state.job_count;
}

char *scheduler_state_text(struct scheduler *s, uint64_t index, const char *hash, size_t *ret_size,
                           int *ret_level, int64_t *ret_time_ms)
{
    struct state *state = &s->state;
    uint64_t kept_index = state->index;
    char kept_hash[sizeof(state->hash)], *text;

    if (s->leading || !state->index || restore_goes_on(s))
        return NULL;
    assert(!s->batch && s->pending_batch_count == 0); /* what it holds is durable */
    memcpy(kept_hash, state->hash, sizeof(kept_hash));
    state->index = index;
    snprintf(state->hash, sizeof(state->hash), "%s", hash);
    text = state_encode(state, ret_size);
    state->index = kept_index;
    memcpy(state->hash, kept_hash, sizeof(kept_hash));
    *ret_level = (int)state->level;
    *ret_time_ms = state->time_ms;
    return text;
}
