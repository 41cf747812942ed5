/* What people see of the live state: the shapes of the API, and the metrics. */
#include "jobs/base/text.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/state/run_id.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <stdio.h>

#define NEXT_TIMES     5
#define SHOWN_RUNS_MAX 200 /* of one job that are shown with it; all are in the list of runs */

static json_t *time_or_null(int64_t ms, enum instant_form form)
{
    char text[TEXT_NUMBER_BUFFER];

    return ms == 0 || ms == HEAP_NEVER || ms == INT64_MIN
               ? json_null()
               : json_string(instant_format(ms, form, text, sizeof(text)));
}

/* The next fire time as people mean it: what is reserved is still to come. */
int64_t status_next_ms(struct scheduler *s, struct job_state *j)
{
    int64_t good_s = void_times_next_s(j);

    assert(good_s == SCHEDULE_NEVER || good_s * 1000 <= j->cursor_ms);
    if (state_paused(&s->state, j))
        return HEAP_NEVER;
    return good_s == SCHEDULE_NEVER ? rules_next_ms(s, j) : good_s * 1000;
}

json_t *scheduler_job_json(struct scheduler *s, const char *name)
{
    struct job_state *j = state_job(&s->state, name);
    struct schedule *schedule;
    json_t *o, *times = json_array(), *runs = json_array();
    char text[512];

    if (!j) {
        json_decref(times);
        json_decref(runs);
        return NULL;
    }
    invariant_job(s, j);
    o = job_row(s, j, SCHEDULER_JOB_FIELDS_ALL);
    schedule = rules_schedule(s, j);
    json_object_set_new(o, "def", job_to_json(j->def));
    json_object_set_new(o, "cursor", time_or_null(j->cursor_ms, INSTANT_MS));
    json_object_set_new(o, "created", time_or_null(j->anchor_ms, INSTANT_MS));
    if (schedule) {
        int64_t at = j->cursor_ms / 1000;

        json_object_set_new(o, "describe", json_string(schedule_describe(schedule, text, sizeof(text))));
        for (int i = 0; i < NEXT_TIMES && (at = schedule_next(schedule, at)) != SCHEDULE_NEVER; i++)
            json_array_append_new(times, time_or_null(at * 1000, INSTANT_S));
    }
    json_object_set_new(o, "next_times", times);
    LIST_EACH(link, &j->runs)
    {
        if (json_array_size(runs) < SHOWN_RUNS_MAX)
            json_array_append_new(runs, state_run_json(LIST_ITEM(link, struct run, of_job)));
    }
    json_object_set_new(o, "unfinished", runs);
    return o;
}

json_t *scheduler_run_json(struct scheduler *s, const char *id)
{
    struct run *r = state_run(&s->state, id);

    return r ? state_run_json(r) : NULL;
}

json_t *status_def(const struct job_state *j)
{
    return json_pack("{s:o,s:I,s:s?,s:I,s:I,s:I}", "def", job_to_json(j->def), "version",
                     (json_int_t)j->version, "set", j->set, "seed", (json_int_t)j->seed, "anchor",
                     (json_int_t)j->anchor_ms, "cursor", (json_int_t)j->cursor_ms);
}

uint64_t scheduler_index(const struct scheduler *s)
{
    return s->state.index;
}

const char *scheduler_leader(const struct scheduler *s)
{
    return s->state.replica;
}

uint64_t scheduler_defs_index(const struct scheduler *s)
{
    return s->state.defs_index;
}

static void count_states(struct scheduler *s, int64_t counts[RUN_ENDED + 1])
{
    struct run *r, *next;

    HASH_ITER(by_id, s->state.runs, r, next)
    {
        assert(r->state < RUN_ENDED);
        counts[r->state]++;
    }
}

int64_t scheduler_keep_logs(struct scheduler *s, const char *run)
{
    char job[RUN_ID_MAX];
    const struct job_state *j;
    int64_t at_ms;
    bool has_ms;

    if (run_id_parse(run, job, &at_ms, &has_ms) < 0)
        return -1;
    j = state_job(&s->state, job);
    return j && j->def ? j->def->keep_logs_bytes : -1;
}

static json_t *engine_view(const struct engine *e, const struct run_queue *q, const struct run_queue *running)
{
    struct engine_status status = {0};

    invariant_queue(q);
    invariant_queue(running);
    e->ops->status(e, &status);
    return json_pack("{s:s,s:s,s:b,s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:I}", "engine", e->name, "type", e->type,
                     "reachable", status.reachable, "text", status.text, "queued", status.queued, "in_flight",
                     status.in_flight, "watched", status.watched, "armed", q->taken, "max_armed", q->size,
                     "running", running->taken, "max_running", running->size, "waiting",
                     (json_int_t)running->waiting.count);
}

const char *scheduler_cluster(struct scheduler *s)
{
    return s->host.cluster(&s->host);
}

json_t *scheduler_status_json(struct scheduler *s)
{
    int64_t counts[RUN_ENDED + 1] = {0};
    json_t *engines = json_array(), *pools = json_array(), *states = json_object();

    invariant_turn(s);
    count_states(s, counts);
    for (int i = 0; i < RUN_ENDED; i++)
        json_object_set_new(states, run_state_name(i), json_integer(counts[i]));
    for (size_t i = 0; i < s->o.engine_count; i++)
        json_array_append_new(engines,
                              engine_view(s->o.engines[i], &s->engine_queues[i], &s->running_queues[i]));
    for (size_t i = 0; i < s->o.pool_count; i++)
        json_array_append_new(pools, json_pack("{s:s,s:i,s:i,s:I}", "pool", s->pool_queues[i].name, "used",
                                               s->pool_queues[i].taken, "size", s->pool_queues[i].size,
                                               "waiting", (json_int_t)s->pool_queues[i].waiting.count));
    return json_pack("{s:b,s:I,s:I,s:I,s:s,s:s,s:s?,s:I,s:I,s:b,s:o,s:o,s:o,s:o,s:s,s:I}", "leading",
                     s->leading, "epoch", (json_int_t)s->state.epoch, "index", (json_int_t)s->state.index,
                     "acked", (json_int_t)s->acked, "cluster", s->host.cluster(&s->host), "replica",
                     s->o.replica, "leader", s->state.replica, "jobs", (json_int_t)s->state.job_count,
                     "unfinished", (json_int_t)s->state.run_count, "paused", s->state.paused, "states",
                     states, "engines", engines, "pools", pools, "refusing",
                     s->refusing[0] ? json_string(s->refusing) : json_null(), "tzdata",
                     s->o.zones->version(s->o.zones), "notifications", (json_int_t)s->state.notice_count);
}

/* ---- metrics ---- */

typedef void metrics_put(void *arg, const char *format, ...);

static void put_family(metrics_put *put, void *arg, const char *name, const char *type, const char *help)
{
    put(arg, "# HELP cronsched_%s %s\n# TYPE cronsched_%s %s\n", name, help, name, type);
}

static void put_single(metrics_put *put, void *arg, const char *name, const char *type, const char *help,
                       uint64_t value)
{
    put_family(put, arg, name, type, help);
    put(arg, "cronsched_%s %llu\n", name, (unsigned long long)value);
}

static void put_lateness(struct scheduler *s, metrics_put *put, void *arg)
{
    static const char *const bounds[LATENESS_BUCKETS] = {
        "0.001", "0.002", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "1", "2.5", "5", "10", "30", "60"};
    uint64_t sum = 0;

    put_family(put, arg, "lateness_seconds", "histogram",
               "From a fire time (and its jitter) to the start of its first attempt, of starts by this "
               "replica as leader.");
    for (int i = 0; i < LATENESS_BUCKETS; i++) {
        sum += s->lateness[i];
        put(arg, "cronsched_lateness_seconds_bucket{le=\"%s\"} %llu\n", bounds[i], (unsigned long long)sum);
    }
    assert(sum + s->lateness[LATENESS_BUCKETS] == s->lateness_count);
    put(arg,
        "cronsched_lateness_seconds_bucket{le=\"+Inf\"} %llu\ncronsched_lateness_seconds_sum %.3f\n"
        "cronsched_lateness_seconds_count %llu\n",
        (unsigned long long)s->lateness_count, s->lateness_sum_s, (unsigned long long)s->lateness_count);
}

static void put_queues(struct scheduler *s, metrics_put *put, void *arg)
{
    put_family(put, arg, "queue", "gauge", "Runs that wait for a permit, by engine or pool.");
    for (size_t i = 0; i < s->o.engine_count; i++)
        invariant_queue(&s->engine_queues[i]);
    for (size_t i = 0; i < s->o.engine_count; i++)
        put(arg, "cronsched_queue{engine=\"%s\"} %zu\n", s->engine_queues[i].name,
            s->engine_queues[i].waiting.count + s->running_queues[i].waiting.count);
    for (size_t i = 0; i < s->o.pool_count; i++)
        put(arg, "cronsched_queue{pool=\"%s\"} %zu\n", s->pool_queues[i].name,
            s->pool_queues[i].waiting.count);
}

void scheduler_metrics(struct scheduler *s, void (*put)(void *arg, const char *format, ...), void *arg)
{
    int64_t counts[RUN_ENDED + 1] = {0};

    invariant_turn(s);
    put_single(put, arg, "leading", "gauge", "Whether this replica leads.", s->leading);
    put_single(put, arg, "epoch", "gauge", "The current epoch.", (uint64_t)s->state.epoch);
    put_single(put, arg, "index", "gauge", "The last batch that this replica has applied.", s->state.index);
    if (s->state.index > 0) /* else it is not known yet */
        put_single(put, arg, "jobs", "gauge", "Jobs of the cluster: the same on every replica.",
                   s->state.job_count);
    put_single(put, arg, "fired_total", "counter",
               "Fire times that became runs in this epoch, by this replica as its leader.", s->fired);
    put_single(put, arg, "started_total", "counter",
               "Attempts started in this epoch, by this replica as its leader.", s->started);
    put_single(put, arg, "started_again_total", "counter",
               "Containers of attempts that somebody else started again, in this epoch.", s->started_again);
    count_states(s, counts);
    put_family(put, arg, "runs", "gauge",
               "Unfinished runs of the cluster, by state: the same on every replica.");
    for (int i = 0; i < RUN_ENDED; i++)
        put(arg, "cronsched_runs{state=\"%s\"} %lld\n", run_state_name(i), (long long)counts[i]);
    put_family(
        put, arg, "verdicts_total", "counter",
        "Runs of the cluster that ended, and fire times skipped, by verdict, since this process began: "
        "every replica counts them.");
    for (enum run_verdict v = VERDICT_NONE + 1; v < VERDICT_COUNT; v++)
        put(arg, "cronsched_verdicts_total{verdict=\"%s\"} %llu\n", run_verdict_name(v),
            (unsigned long long)s->state.verdicts[v]);
    put_single(put, arg, "notifications_waiting", "gauge", "Notifications of the cluster not yet delivered.",
               s->state.notice_count);
    put_single(put, arg, "notifications_dropped_total", "counter",
               "The oldest of too many that waited, since this process began.", s->state.notices_dropped);
    put_single(put, arg, "snapshot_behind_bytes", "gauge", "Batches since the last snapshot, as texts.",
               s->behind_bytes);
    put_family(put, arg, "state_bytes", "gauge", "What the state is made of, which max_state bounds.");
    for (enum state_part part = 0; part < STATE_PART_COUNT; part++)
        put(arg, "cronsched_state_bytes{of=\"%s\"} %zu\n", state_part_name(part), s->state.bytes[part]);
    put_single(put, arg, "state_max_bytes", "gauge", "max_state; 0: no limit.",
               (uint64_t)s->o.max_state_bytes);
    put_lateness(s, put, arg);
    put_queues(s, put, arg);
    put_single(put, arg, "journal_in_flight", "gauge", "Batches appended and not yet durable.",
               s->pending_batch_count);
}

size_t scheduler_deaf_runs(struct scheduler *s, char *ret_text, size_t size)
{
    struct run *r, *next;
    size_t count = 0;

    HASH_ITER(by_id, s->state.runs, r, next) /* there are far fewer than jobs */
    {
        const struct attempt *a = run_attempt(r);

        if (!a || a->state != ATTEMPT_STARTED || !a->stop_reason || r->live.stops < 2)
            continue;
        if (count++ == 0)
            snprintf(ret_text, size, "%s is to end (%s) for %lld s, was asked to stop %d times, and runs on",
                     r->id, run_stop_name(a->stop_reason), (long long)(s->now_ms - a->stopping_ms) / 1000,
                     r->live.stops);
    }
    return count;
}

static void count_jobs_without_engine(struct scheduler *s, struct engineless *ret)
{
    struct job_state *j, *next;

    HASH_ITER(by_name, s->state.jobs, j, next)
    {
        const char *engine = j->def ? rules_engine_name(s, j->def) : NULL;

        if (!engine || run_queue_of_engine(s, engine, NULL))
            continue;
        snprintf(ret->engine, sizeof(ret->engine), "%s", engine);
        ret->count++;
    }
}

size_t scheduler_jobs_without_engine(struct scheduler *s, const char **ret_engine)
{
    struct engineless *e = &s->engineless;

    if (!e->counted || e->defs_index != s->state.defs_index || e->generation != s->job_generation) {
        *e = (struct engineless){!s->batch, s->state.defs_index, s->job_generation}; /* a batch may go on */
        count_jobs_without_engine(s, e);
    }
    assert(e->count <= s->state.job_count);
    if (e->count)
        *ret_engine = e->engine;
    return e->count;
}
