/* The command backfill: which fire times of a range are run. See commands.c.
 */
#include "jobs/base/text.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/state/run_id.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

static int read_instant(const json_t *body, const char *key, int64_t *ret, struct error *error)
{
    const char *text = json_string_value(json_object_get(body, key));

    if (!text)
        return error_set(error, ERR_INVALID, "backfill: %s is missing", key);
    return instant_parse(text, ret, error) < 0 ? error_prefix(error, "backfill: %s: ", key) : 0;
}

/* Fire times that need no run, in milliseconds and ascending, and how far the walk along the range is in them. */
struct taken {
    const json_t *times;
    size_t at;
};

struct range {
    int64_t from_ms, to_ms;
    bool again; /* nothing is taken */
    struct taken taken[1 + BACKFILLS_PER_JOB_MAX];
    size_t taken_count;
};

static bool is_taken(struct taken *t, int64_t at_ms)
{
    size_t count = json_array_size(t->times);

    assert(t->at <= count);
    while (t->at < count && json_integer_value(json_array_get(t->times, t->at)) < at_ms)
        t->at++;
    return t->at < count && json_integer_value(json_array_get(t->times, t->at)) == at_ms;
}

/* By a run of the history, by another backfill of the job, or by a run that has not ended. */
static bool is_done(struct scheduler *s, const struct job_state *j, struct range *range, int64_t at_ms)
{
    char id[RUN_ID_MAX];

    assert(range->taken_count <= sizeof(range->taken) / sizeof(range->taken[0]));
    if (range->again)
        return false;
    for (size_t i = 0; i < range->taken_count; i++)
        if (is_taken(&range->taken[i], at_ms))
            return true;
    return state_run(&s->state, run_id_format(j->name, at_ms, false, id)) != NULL;
}

static int read_range(struct scheduler *s, const struct job_state *j, const json_t *body, struct range *ret,
                      struct error *error)
{
    int rc = read_instant(body, "from", &ret->from_ms, error);

    rc = rc < 0 ? rc : read_instant(body, "to", &ret->to_ms, error);
    if (rc == 0 && ret->from_ms > ret->to_ms)
        rc = error_set(error, ERR_INVALID, "backfill: from is later than to");
    if (rc < 0)
        return rc;
    if (ret->to_ms > j->cursor_ms)
        ret->to_ms = j->cursor_ms; /* what comes later fires by itself */
    ret->again = json_is_true(json_object_get(body, "again"));
    ret->taken[ret->taken_count++].times = json_object_get(body, "existing"); /* the caller looked them up */
    LIST_EACH(link, &j->backfills)
    {
        const struct backfill *b = LIST_ITEM(link, struct backfill, of_job);

        if (ret->taken_count <= BACKFILLS_PER_JOB_MAX)
            ret->taken[ret->taken_count++] = (struct taken){b->times, b->done};
    }
    assert(ret->taken_count <= sizeof(ret->taken) / sizeof(ret->taken[0]) && ret->to_ms <= j->cursor_ms);
    return 0;
}

/* One walk along the range and the lists beside it. The range is bounded first, however many of its fire times have run. */
static int backfill_times(struct scheduler *s, struct job_state *j, struct range *range, json_t *times,
                          struct error *error)
{
    struct schedule *schedule = rules_schedule(s, j);
    int64_t before_s = instant_ceil_s(range->from_ms) - 1, to_s = instant_floor_s(range->to_ms);

    assert(range->to_ms <= j->cursor_ms);
    if (!schedule)
        return error_set(error, ERR_INVALID, "%s has no schedule to take fire times from", j->name);
    if (schedule_count(schedule, before_s, to_s, BACKFILL_RANGE_MAX + 1) > BACKFILL_RANGE_MAX)
        return error_set(error, ERR_LIMIT, "more than %d fire times in the range; take a shorter one",
                         BACKFILL_RANGE_MAX);
    for (int64_t at = schedule_next(schedule, before_s); at != SCHEDULE_NEVER && at <= to_s;
         at = schedule_next(schedule, at)) {
        if (is_done(s, j, range, at * 1000))
            continue;
        if (json_array_size(times) == BACKFILL_TIMES_MAX)
            return error_set(error, ERR_LIMIT, "more than %d fire times to be run; take a shorter range",
                             BACKFILL_TIMES_MAX);
        json_array_append_new(times, json_integer(at * 1000));
    }
    return 0;
}

static json_t *backfill_reply(const char *name, const json_t *times)
{
    json_t *first = json_array();
    char text[TEXT_NUMBER_BUFFER];

    assert(json_array_size(times) <= BACKFILL_TIMES_MAX);
    for (size_t i = 0; i < json_array_size(times) && i < 100; i++)
        json_array_append_new(first, json_string(instant_format(json_integer_value(json_array_get(times, i)),
                                                                INSTANT_S, text, sizeof(text))));
    return json_pack("{s:s,s:I,s:o}", "job", name, "count", (json_int_t)json_array_size(times), "fire_times",
                     first);
}

static int backfill_count(const struct job_state *j)
{
    int n = 0;

    LIST_EACH(link, &j->backfills)
    {
        n++;
    }
    return n;
}

static void put_backfill(struct scheduler *s, struct job_state *j, json_t *times, int64_t max_parallel,
                         bool again, const char *by)
{
    struct record *r = turn_record(s, RECORD_BACKFILL);

    assert(json_array_size(times) > 0 && max_parallel >= 1);
    PUT_TEXT(s, r, job, j->name);
    PUT_JSON(s, r, report, times);
    PUT_INT(s, r, max_parallel, max_parallel);
    if (again)
        PUT_INT(s, r, again, 1);
    PUT_TEXT(s, r, by, by);
    turn_commit(s, r);
    assert(!list_empty(&j->backfills));
    turn_wake_job(s, j, s->now_ms);
}

/* What has no run yet of all the job's backfills. */
static int64_t drop_backfills(struct scheduler *s, struct job_state *j)
{
    int64_t dropped = 0;

    while (!list_empty(&j->backfills)) {
        const struct backfill *b = LIST_ITEM(j->backfills.next, struct backfill, of_job);
        struct record *r = turn_record(s, RECORD_BACKFILLED);

        dropped += (int64_t)(json_array_size(b->times) - b->done);
        PUT_TEXT(s, r, job, j->name);
        PUT_INT(s, r, count, (int64_t)json_array_size(b->times));
        turn_commit(s, r);
    }
    return dropped;
}

int scheduler_cancel_backfills(struct scheduler *s, const char *name, const char *by,
                               struct scheduler_result *ret)
{
    struct job_state *j = NULL;
    int rc = commands_enter(s, &ret->error);
    int64_t dropped;
    char text[320];

    rc = rc < 0 ? rc : commands_find_job(s, name, &j, &ret->error);
    if (rc < 0)
        return rc;
    dropped = drop_backfills(s, j);
    snprintf(text, sizeof(text), "%" PRId64 " fire times are not run, by %.256s", dropped, by);
    if (dropped > 0)
        s->o.env->log(s->o.env, LOG_NOTE, "backfill-cancelled", j->name, NULL, text);
    commands_finish(s, json_pack("{s:s,s:I,s:[]}", "job", name, "count", (json_int_t)dropped, "fire_times"),
                    ret);
    return 0;
}

int scheduler_backfill(struct scheduler *s, const char *name, const json_t *body, const char *by,
                       struct scheduler_result *ret)
{
    const json_t *parallel = json_object_get(body, "max_parallel");
    int64_t max_parallel = parallel ? json_integer_value(parallel) : 1;
    struct range range = {0};
    struct job_state *j = NULL;
    json_t *times;
    int rc = commands_enter(s, &ret->error);

    rc = rc < 0 ? rc : commands_find_job(s, name, &j, &ret->error);
    rc = rc < 0 ? rc : read_range(s, j, body, &range, &ret->error);
    if (rc < 0)
        return rc;
    if (max_parallel < 1 || max_parallel > 1000)
        return error_set(&ret->error, ERR_INVALID, "backfill: max_parallel is 1 to 1000");
    if (backfill_count(j) >= BACKFILLS_PER_JOB_MAX)
        return error_set(&ret->error, ERR_LIMIT, "%s has %d backfills under way; wait for one to end", name,
                         BACKFILLS_PER_JOB_MAX);
    times = json_array();
    rc = backfill_times(s, j, &range, times, &ret->error);
    if (rc == 0)
        rc = commands_room(s, STATE_BACKFILLS, json_array_size(times) * STATE_BACKFILL_TIME_BYTES,
                           &ret->error);
    if (rc == 0) {
        if (json_array_size(times) && !json_is_true(json_object_get(body, "dry_run")))
            put_backfill(s, j, times, max_parallel, range.again, by);
        commands_finish(s, backfill_reply(name, times), ret);
    }
    json_decref(times);
    assert(rc == 0 || !ret->reply);
    return rc;
}
