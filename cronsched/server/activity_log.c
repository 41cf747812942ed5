#include "cronsched/server/activity_log.h"

#include "cronsched/io/log.h"
#include "jobs/state/record.h"
#include "jobs/state/run.h"
#include "jobs/time/instant.h"

#include <string.h>

/* ---- runs ---- */

static const char *text_of(const json_t *object, const char *key)
{
    return key ? json_string_value(json_object_get(object, key)) : NULL;
}

/* NONE when there is no such number. */
static struct log_field int_field(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) ? LOG_INT(key, json_integer_value(value)) : (struct log_field){0};
}

static struct log_field took_field(const struct history_run *row)
{
    if (!row->started_ms || row->ended_ms < row->started_ms)
        return (struct log_field){0};
    return LOG_INT("took_ms", row->ended_ms - row->started_ms);
}

/* Fire times that were skipped have no run, and a line of their own from the planner. */
static void tell_end(const struct history_run *row)
{
    enum run_verdict verdict = run_verdict_of(row->verdict);
    const json_t *attempts, *last;
    const char *event = "run-failed";
    json_t *run;
    enum log_level level = LOG_WARN;

    if (!row->over || verdict == VERDICT_NONE || run_verdict_is_skip(verdict))
        return;
    if (verdict == VERDICT_SUCCEEDED || verdict == VERDICT_KILLED) {
        event = "run-ended";
        level = LOG_NOTE;
    }
    run = json_loads(row->json, 0, NULL);
    attempts = json_object_get(run, "attempts");
    last = json_array_get(attempts, json_array_size(attempts) - 1); /* NULL: it has none */
    log_activity(level, event, LOG_TEXT("job", row->job), LOG_TEXT("run", row->run),
                 LOG_TEXT("verdict", row->verdict), int_field(run, "exit_code"),
                 LOG_TEXT("cause", text_of(run, "cause")), LOG_TEXT("engine", text_of(last, "engine")),
                 LOG_INT("attempts", (int64_t)json_array_size(attempts)), took_field(row),
                 LOG_TEXT("text", text_of(run, "text")));
    json_decref(run);
}

static void tell_start(const struct history_record *record)
{
    json_t *r = json_loads(record->json, 0, NULL);

    log_activity(LOG_NOTE, "run-started", LOG_TEXT("job", record->job), LOG_TEXT("run", record->run),
                 int_field(r, "attempt"));
    json_decref(r);
}

/* ---- changes ---- */

static const struct change {
    enum record_kind kind;
    const char *event;
    const char *text; /* key in the record; NULL: it is not read, and may be large */
} changes[] = {
    {RECORD_JOB, "applied", NULL},
    {RECORD_JOB_DELETE, "deleted", NULL},
    {RECORD_PAUSE, "paused", "reason"},
    {RECORD_RESUME, "resumed", "reason"},
    {RECORD_TRIGGER, "triggered", "cause"},
    {RECORD_BACKFILL, "backfilled", NULL},
    {RECORD_STOPPING, "run-stopping", "reason"},
    {RECORD_NOTE, "noted", "text"},
};

static const struct change *change_of(const char *kind)
{
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        if (strcmp(record_kind_name(changes[i].kind), kind) == 0)
            return &changes[i];
    return NULL;
}

static void tell_change(const struct change *change, const struct history_record *record)
{
    json_t *r = change->text ? json_loads(record->json, 0, NULL) : NULL;

    log_activity(LOG_NOTE, change->event, LOG_TEXT("job", record->job), LOG_TEXT("run", record->run),
                 LOG_TEXT("by", record->by), LOG_TEXT("text", text_of(r, change->text)));
    json_decref(r);
}

void activity_log_write(const struct history_write *w)
{
    for (size_t i = 0; i < w->record_count; i++) {
        const struct change *change = change_of(w->records[i].kind);

        if (change)
            tell_change(change, &w->records[i]);
        else if (strcmp(w->records[i].kind, record_kind_name(RECORD_STARTED)) == 0)
            tell_start(&w->records[i]);
    }
    for (size_t i = 0; i < w->run_count; i++)
        tell_end(&w->runs[i]);
}
