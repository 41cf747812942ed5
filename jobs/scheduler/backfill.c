/* The command backfill: which fire times of a range are run. See commands.c.
 */
#include "jobs/base/text.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/state/run_id.h"
#include "jobs/time/instant.h"

static int read_instant(const json_t *body, const char *key, int64_t *ret, struct error *error)
{
    const char *text = json_string_value(json_object_get(body, key));

    if (!text)
        return error_set(error, ERR_INVALID, "backfill: %s is missing", key);
    return instant_parse(text, ret, error) < 0 ? error_prefix(error, "backfill: %s: ", key) : 0;
}

/* "existing": fire times (milliseconds) that have a run in history; the caller looked them up. */
static bool has_run(const json_t *existing, int64_t at_ms)
{
    const json_t *item;
    size_t i;

    json_array_foreach(existing, i, item) if (json_integer_value(item) == at_ms) return true;
    return false;
}

/* Another backfill of the job has it on its list, still to be done. */
static bool being_backfilled(const struct job_state *j, int64_t at_ms)
{
    LIST_EACH(link, &j->backfills)
    {
        const struct backfill *b = LIST_ITEM(link, struct backfill, of_job);

        for (size_t i = b->done; i < json_array_size(b->times); i++)
            if (json_integer_value(json_array_get(b->times, i)) == at_ms)
                return true;
    }
    return false;
}

static int backfill_times(struct scheduler *s, struct job_state *j, const json_t *body, int64_t from_ms,
                          int64_t to_ms, json_t *times, struct error *error)
{
    struct schedule *schedule = rules_schedule(s, j);
    bool again = json_is_true(json_object_get(body, "again"));
    const json_t *existing = json_object_get(body, "existing");
    char id[RUN_ID_MAX];

    if (!schedule)
        return error_set(error, ERR_INVALID, "%s has no schedule to take fire times from", j->name);
    for (int64_t at = schedule_next(schedule, (from_ms + 999) / 1000 - 1);
         at != SCHEDULE_NEVER && at <= to_ms / 1000; at = schedule_next(schedule, at)) {
        if (!again && (has_run(existing, at * 1000) || being_backfilled(j, at * 1000) ||
                       state_run(&s->state, run_id_format(j->name, at * 1000, false, id))))
            continue;
        if (json_array_size(times) == BACKFILL_TIMES_MAX)
            return error_set(error, ERR_LIMIT, "more than %d fire times; take a shorter range",
                             BACKFILL_TIMES_MAX);
        json_array_append_new(times, json_integer(at * 1000));
    }
    return 0;
}

static json_t *backfill_reply(const char *name, const json_t *times)
{
    json_t *first = json_array();
    char text[TEXT_NUMBER_BUFFER];

    for (size_t i = 0; i < json_array_size(times) && i < 100; i++)
        json_array_append_new(first, json_string(instant_format(json_integer_value(json_array_get(times, i)),
                                                                INSTANT_S, text, sizeof(text))));
    return json_pack("{s:s,s:I,s:o}", "job", name, "count", (json_int_t)json_array_size(times), "fire_times",
                     first);
}

int scheduler_backfill(struct scheduler *s, const char *name, const json_t *body, const char *by,
                       struct scheduler_result *ret)
{
    const json_t *parallel = json_object_get(body, "max_parallel");
    int64_t from_ms = 0, to_ms = 0, max_parallel = parallel ? json_integer_value(parallel) : 1;
    struct job_state *j = NULL;
    json_t *times;
    int rc = commands_enter(s, &ret->error);

    rc = rc < 0 ? rc : commands_find_job(s, name, &j, &ret->error);
    rc = rc < 0 ? rc : read_instant(body, "from", &from_ms, &ret->error);
    rc = rc < 0 ? rc : read_instant(body, "to", &to_ms, &ret->error);
    if (rc < 0)
        return rc;
    if (max_parallel < 1 || max_parallel > 1000)
        return error_set(&ret->error, ERR_INVALID, "backfill: max_parallel is 1 to 1000");
    if (to_ms > j->cursor_ms)
        to_ms = j->cursor_ms; /* what comes later fires by itself */
    times = json_array();
    rc = backfill_times(s, j, body, from_ms, to_ms, times, &ret->error);
    if (rc == 0) {
        if (json_array_size(times) && !json_is_true(json_object_get(body, "dry_run"))) {
            struct record *r = turn_record(s, RECORD_BACKFILL);

            PUT_TEXT(s, r, job, name);
            PUT_JSON(s, r, report, times);
            PUT_INT(s, r, max_parallel, max_parallel);
            if (json_is_true(json_object_get(body, "again")))
                PUT_INT(s, r, again, 1);
            PUT_TEXT(s, r, by, by);
            turn_commit(s, r);
            turn_wake_job(s, j, s->now_ms);
        }
        commands_finish(s, backfill_reply(name, times), ret);
    }
    json_decref(times);
    return rc;
}
