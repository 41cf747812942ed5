/* A job as it is listed: a row of those fields that were asked for. */
#include "jobs/base/near.h"
#include "jobs/base/text.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <string.h>

static const char *const names[] = {
#define X(field, name) [JOB_FIELD_##field] = name,
    SCHEDULER_JOB_FIELDS(X)
#undef X
};

static json_t *time_or_null(int64_t ms, enum instant_form form)
{
    char text[TEXT_NUMBER_BUFFER];

    return ms == 0 || ms == HEAP_NEVER || ms == INT64_MIN
               ? json_null()
               : json_string(instant_format(ms, form, text, sizeof(text)));
}

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

static json_t *schedule_json(const struct job *def)
{
    struct text t;
    json_t *json;

    text_init(&t, 4096);
    for (size_t i = 0; i < def->schedule.count; i++)
        text_addf(&t, "%s%s", i ? "; " : "", def->schedule.items[i]);
    for (size_t i = 0; i < def->after.count; i++)
        text_addf(&t, "%s%s", i ? ", " : "after ", def->after.items[i]);
    json = t.failed || !t.len ? json_null() : json_string(text_str(&t));
    text_release(&t);
    return json;
}

static json_t *describe_json(struct scheduler *s, struct job_state *j)
{
    struct schedule *schedule = rules_schedule(s, j);
    char text[512];

    return schedule ? json_string(schedule_describe(schedule, text, sizeof(text))) : NULL;
}

/* Of the pause in force: its own, or the one of all. NULL: there is none. */
static json_t *pause_json(const struct scheduler *s, const struct job_state *j,
                          enum scheduler_job_field field)
{
    const struct state *all = &s->state;

    if (!state_paused(all, j))
        return NULL;
    if (field == JOB_FIELD_PAUSE_REASON)
        return text_or_null(j->paused ? j->pause_reason : all->pause_reason);
    if (field == JOB_FIELD_PAUSED_BY)
        return text_or_null(j->paused ? j->pause_by : all->pause_by);
    return time_or_null(j->paused ? j->pause_until_ms : all->pause_until_ms, INSTANT_S);
}

/* One word for a job: what a person has to know first. */
static const char *health_of(const struct scheduler *s, const struct job_state *j, int running)
{
    if (state_recent(j).failures)
        return "failing";
    if (state_paused(&s->state, j))
        return "paused";
    if (running)
        return "running";
    return j->last_run ? "ok" : "never";
}

static json_t *counts_json(const struct recent *recent)
{
    json_t *counts = json_object();

    for (enum run_verdict v = VERDICT_NONE + 1; v < VERDICT_COUNT; v++)
        if (recent->counts[v])
            json_object_set_new(counts, run_verdict_name(v), json_integer((json_int_t)recent->counts[v]));
    return counts;
}

struct seen {
    const struct run *current; /* the newest that was fired and is not over; NULL: none */
    int running;               /* how many */
    struct recent recent;
};

static struct seen see_runs(const struct job_state *j)
{
    struct seen seen = {.recent = state_recent(j)};

    LIST_EACH(link, &j->runs)
    {
        const struct run *r = LIST_ITEM(link, struct run, of_job);

        if (!r->fired)
            continue;
        assert(r->state < RUN_ENDED);
        seen.current = r;
        seen.running++;
    }
    return seen;
}

static json_t *definition_field(struct scheduler *s, struct job_state *j, enum scheduler_job_field field)
{
    switch (field) {
    case JOB_FIELD_JOB:
        return json_string(j->name);
    case JOB_FIELD_SCHEDULE:
        return schedule_json(j->def);
    case JOB_FIELD_DESCRIBE:
        return describe_json(s, j);
    case JOB_FIELD_TIMEZONE:
        return json_string(j->def->timezone);
    case JOB_FIELD_NEXT:
        return time_or_null(status_next_ms(s, j), INSTANT_S);
    case JOB_FIELD_SET:
        return text_or_null(j->set);
    case JOB_FIELD_DESCRIPTION:
        return text_or_null(j->def->description);
    case JOB_FIELD_OWNER:
        return text_or_null(j->def->owner);
    case JOB_FIELD_LABELS:
        return j->def->labels ? json_incref(j->def->labels) : json_object();
    case JOB_FIELD_ENGINE:
        return text_or_null(rules_engine_name(s, j->def));
    case JOB_FIELD_VERSION:
        return json_integer(j->version);
    default:
        return NULL;
    }
}

static json_t *run_field(struct scheduler *s, struct job_state *j, enum scheduler_job_field field,
                         const struct seen *seen)
{
    const struct recent *recent = &seen->recent;

    switch (field) {
    case JOB_FIELD_LAST:
        return time_or_null(seen->current ? seen->current->fire_ms : j->last_ended_ms, INSTANT_S);
    case JOB_FIELD_VERDICT:
        return text_or_null(run_verdict_name(j->last_verdict));
    case JOB_FIELD_PAUSED:
        return json_boolean(state_paused(&s->state, j));
    case JOB_FIELD_STATE:
        return seen->current ? json_string(run_state_name(seen->current->state)) : NULL;
    case JOB_FIELD_LAST_RUN:
        return text_or_null(seen->current ? seen->current->id : j->last_run);
    case JOB_FIELD_LAST_ENDED:
        return time_or_null(j->last_ended_ms, INSTANT_MS);
    case JOB_FIELD_HEALTH:
        return json_string(health_of(s, j, seen->running));
    case JOB_FIELD_FAILURES:
        return json_integer(recent->failures);
    case JOB_FIELD_RUNNING:
        return json_integer(seen->running);
    case JOB_FIELD_LAST_SUCCESS:
        return time_or_null(recent->success_ms, INSTANT_MS);
    case JOB_FIELD_LAST_DURATION:
        return recent->duration_ms < 0 ? json_null() : json_integer(recent->duration_ms);
    case JOB_FIELD_STRIP:
        return json_string(recent->strip);
    case JOB_FIELD_COUNTS:
        return counts_json(recent);
    default:
        return pause_json(s, j, field);
    }
}

json_t *job_row(struct scheduler *s, struct job_state *j, uint64_t fields)
{
    struct seen seen = see_runs(j);
    json_t *row = json_object();

    for (enum scheduler_job_field f = 0; f < JOB_FIELD_COUNT; f++) {
        json_t *value = NULL;

        if (fields >> f & 1)
            value = f < JOB_FIELD_LAST ? definition_field(s, j, f) : run_field(s, j, f, &seen);
        if (value)
            json_object_set_new(row, names[f], value);
    }
    return row;
}

int scheduler_job_fields(const char *list, uint64_t *ret, struct error *error)
{
    char hint[NEAR_HINT_BUFFER], name[64];

    *ret = 0;
    while (*list) {
        size_t n = strcspn(list, ","), f = 0;

        snprintf(name, sizeof(name), "%.*s", n < sizeof(name) ? (int)n : (int)sizeof(name) - 1, list);
        while (f < JOB_FIELD_COUNT && strcmp(names[f], name) != 0)
            f++;
        if (f == JOB_FIELD_COUNT)
            return error_set(error, ERR_INVALID, "fields: there is no '%.40s'%s", name,
                             near_hint(near_find(name, names, JOB_FIELD_COUNT), hint, sizeof(hint)));
        *ret |= UINT64_C(1) << f;
        list += n + (list[n] == ',');
    }
    return *ret ? 0 : error_set(error, ERR_INVALID, "fields: name at least one");
}
