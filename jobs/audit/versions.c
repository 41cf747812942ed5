#include "jobs/audit/versions.h"

#include "jobs/base/alloc.h"
#include "jobs/state/record.h"
#include "jobs/time/instant.h"

static const char *text_of(const json_t *record, const char *key)
{
    return json_string_value(json_object_get(record, key));
}

static int64_t int_of(const json_t *record, const char *key)
{
    return json_integer_value(json_object_get(record, key)); /* 0 when it is absent */
}

int64_t versions_time(const json_t *time)
{
    int64_t ms = 0;

    if (json_is_integer(time))
        return json_integer_value(time);
    if (json_is_string(time))
        instant_parse(json_string_value(time), &ms, NULL);
    return ms;
}

/* ---- pauses ---- */

static void pause_end(struct versions_pauses *pauses, int64_t time_ms, const char *by)
{
    struct versions_pause *last = pauses->count ? &pauses->items[pauses->count - 1] : NULL;

    if (last && last->to_ms == INT64_MAX) {
        /* one that expired is resumed a little later, by a record that says so */
        last->to_ms = last->until_ms && last->until_ms < time_ms ? last->until_ms : time_ms;
        last->ended_by = by;
    }
}

static void pause_begin(struct versions_pauses *pauses, const struct versions_pause *pause)
{
    pause_end(pauses, pause->from_ms, pause->by); /* pausing again gives another end or reason */
    pauses->items = alloc_resize(pauses->items, (pauses->count + 1) * sizeof(*pause));
    pauses->items[pauses->count++] = *pause;
}

static const struct versions_pause *pause_find(const struct versions_pauses *pauses, int64_t at_ms)
{
    for (size_t i = pauses->count; i-- > 0;) {
        const struct versions_pause *p = &pauses->items[i];

        if (at_ms >= p->from_ms && at_ms < p->to_ms && (!p->until_ms || at_ms < p->until_ms))
            return p;
    }
    return NULL;
}

const struct versions_pause *versions_pause_at(const struct versions *versions,
                                               const struct versions_job *job, int64_t at_ms)
{
    const struct versions_pause *p = pause_find(&job->pauses, at_ms);

    return p ? p : pause_find(&versions->pauses, at_ms);
}

/* ---- records ---- */

static struct versions_job *job_get(struct versions *versions, const char *name)
{
    struct versions_job *job = versions_job(versions, name);

    if (!job) {
        job = alloc_zero(sizeof(*job));
        job->name = alloc_text(name);
        HASH_ADD_KEYPTR(by_name, versions->jobs, job->name, strlen(name), job);
    }
    return job;
}

static struct versions_entry *version_last(struct versions_job *job)
{
    return job->count ? &job->versions[job->count - 1] : NULL;
}

/* As when a record is applied: a definition pauses and resumes only where its `paused` changes. */
static void follow_definition(struct versions_job *job, const struct versions_entry *before,
                              const json_t *record, int64_t time_ms)
{
    bool was = before && !before->deleted && json_is_true(json_object_get(before->def, "paused"));
    bool is = json_is_true(json_object_get(json_object_get(record, "def"), "paused"));

    if (is && !was)
        pause_begin(&job->pauses, &(struct versions_pause){.from_ms = time_ms,
                                                           .to_ms = INT64_MAX,
                                                           .reason = "paused in its file",
                                                           .by = text_of(record, "by")});
    else if (was && !is)
        pause_end(&job->pauses, time_ms, text_of(record, "by"));
}

static bool same_set(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void add_version(struct versions_job *job, json_t *record, int64_t time_ms)
{
    struct versions_entry *last = version_last(job);
    int64_t cursor_s = instant_floor_s(int_of(record, "cursor"));
    struct versions_entry v = {
        .number = int_of(record, "version"),
        .after_s = cursor_s,
        .until_s = INT64_MAX,
        .time_ms = time_ms,
        .by = text_of(record, "by"),
        .def = json_object_get(record, "def"),
        .seed = int_of(record, "seed"),
        .anchor_ms = int_of(record, "anchor"),
        .set = text_of(record, "set"),
    };

    if (last && !last->deleted && !same_set(last->set, v.set)) {
        v.taken_over = true;
        v.former_set = last->set;
    }

    follow_definition(job, last, record, time_ms);
    if (last && !last->deleted)
        last->until_s = cursor_s;
    if (last && v.after_s < last->until_s)
        v.after_s = last->until_s; /* a re-created job begins after its tombstone */
    job->versions = alloc_resize(job->versions, (job->count + 1) * sizeof(v));
    job->versions[job->count++] = v;
}

static void end_version(struct versions_job *job, const json_t *record, int64_t time_ms)
{
    struct versions_entry *last = version_last(job);

    if (!last || last->deleted)
        return;
    last->until_s = instant_floor_s(time_ms) > last->after_s ? instant_floor_s(time_ms) : last->after_s;
    last->deleted = true;
    last->ended_by = text_of(record, "by");
    pause_end(&job->pauses, time_ms, last->ended_by);
}

static void add_pause(struct versions *versions, const json_t *record, int64_t time_ms)
{
    const char *name = text_of(record, "job");
    struct versions_pause pause = {
        .from_ms = time_ms,
        .to_ms = INT64_MAX,
        .until_ms = int_of(record, "until"),
        .reason = text_of(record, "reason"),
        .by = text_of(record, "by"),
        .all = !name,
    };

    pause_begin(name ? &job_get(versions, name)->pauses : &versions->pauses, &pause);
}

static void end_pause(struct versions *versions, const json_t *record, int64_t time_ms)
{
    const char *name = text_of(record, "job");

    pause_end(name ? &job_get(versions, name)->pauses : &versions->pauses, time_ms, text_of(record, "by"));
}

static void add_record(struct versions *versions, const json_t *item)
{
    const char *kind = text_of(item, "kind");
    json_t *record = json_object_get(item, "record");
    const char *name = text_of(record, "job");
    int64_t time_ms = versions_time(json_object_get(item, "time"));

    if (!record)
        return;
    switch (record_kind_of(kind)) {
    case RECORD_JOB:
        if (name)
            add_version(job_get(versions, name), record, time_ms);
        break;
    case RECORD_JOB_DELETE:
        if (name)
            end_version(job_get(versions, name), record, time_ms);
        break;
    case RECORD_PAUSE:
        add_pause(versions, record, time_ms);
        break;
    case RECORD_RESUME:
        end_pause(versions, record, time_ms);
        break;
    case RECORD_TZDATA:
        versions->tzdata_ms = time_ms;
        versions->tzdata = text_of(record, "tzdata");
        break;
    default:
        break;
    }
}

void versions_init(struct versions *versions)
{
    *versions = (struct versions){.records = json_array()};
}

void versions_add(struct versions *versions, json_t *records)
{
    json_t *item;
    size_t i;

    json_array_append(versions->records, records); /* what the versions point into */
    json_array_foreach(records, i, item) add_record(versions, item);
}

void versions_release(struct versions *versions)
{
    struct versions_job *job, *next;

    HASH_ITER(by_name, versions->jobs, job, next)
    {
        HASH_DELETE(by_name, versions->jobs, job);
        for (size_t i = 0; i < job->count; i++) {
            schedule_free(job->versions[i].schedule);
            job_unref(job->versions[i].job);
        }
        free(job->versions);
        free(job->pauses.items);
        free(job->name);
        free(job);
    }
    free(versions->pauses.items);
    json_decref(versions->records);
    *versions = (struct versions){0};
}

struct versions_job *versions_job(const struct versions *versions, const char *name)
{
    struct versions_job *job;

    HASH_FIND(by_name, versions->jobs, name, strlen(name), job);
    return job;
}

struct versions_entry *versions_at(const struct versions_job *job, int64_t at_s)
{
    for (size_t i = job->count; i-- > 0;)
        if (at_s > job->versions[i].after_s && at_s <= job->versions[i].until_s)
            return &job->versions[i];
    return NULL;
}

int versions_compile(const struct versions_job *job, struct versions_entry *v, struct zone_source *zones)
{
    if (v->compiled)
        return v->broken.code;
    v->compiled = true;
    if (job_from_json(&v->job, job->name, v->def, zones, &v->broken) == 0)
        job_compile(v->job, (uint64_t)v->seed, v->anchor_ms / 1000, zones, &v->schedule, &v->broken);
    return v->broken.code;
}
