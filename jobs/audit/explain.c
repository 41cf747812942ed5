#include "jobs/audit/explain.h"

#include "jobs/audit/explain_priv.h"
#include "jobs/base/alloc.h"
#include "jobs/base/duration.h"
#include "jobs/base/text.h"
#include "jobs/state/run.h"
#include "jobs/state/run_id.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <stdio.h>

#define AROUND_MAX       50 /* runs looked at for what the fire time overlapped */
#define AROUND_SHOWN_MAX 3
#define LINE_BYTES_MAX   4096

/* ---- what to ask history ---- */

void explain_init(struct explain_request *request, const char *job, int64_t at_ms, int64_t now_ms,
                  int64_t late_grace_ms)
{
    *request = (struct explain_request){
        .job = job, .at_ms = at_ms, .now_ms = now_ms, .late_grace_ms = late_grace_ms};
    run_id_format(job, at_ms, at_ms % 1000 != 0, request->run);
}

void explain_query(const struct explain_request *r, enum explain_part part, struct history_query *ret)
{
    *ret = (struct history_query){.kind = HISTORY_RECORDS};
    switch (part) {
    case EXPLAIN_JOB:
        ret->job = r->job;
        ret->kinds = "job,delete,pause,resume";
        break;
    case EXPLAIN_PAUSES:
        ret->kinds = "pause,resume";
        break;
    case EXPLAIN_EPOCHS:
        ret->kinds = "epoch";
        break;
    case EXPLAIN_RUN:
        ret->kind = HISTORY_RUN;
        ret->run = r->run;
        break;
    case EXPLAIN_RECORDS:
        ret->run = r->run;
        break;
    case EXPLAIN_SKIPS:
        ret->kind = HISTORY_SKIPS;
        ret->job = r->job;
        ret->since_ms = ret->until_ms = r->at_ms;
        break;
    case EXPLAIN_AROUND:
        ret->kind = HISTORY_RUNS;
        ret->job = r->job;
        ret->until_ms = r->at_ms - 1;
        ret->limit = AROUND_MAX;
        break;
    case EXPLAIN_PARTS:
        assert(false);
    }
}

/* " by NAME", or nothing. */
static const char *by(const char *name, char *buffer, size_t size)
{
    buffer[0] = '\0';
    if (name)
        snprintf(buffer, size, " by %s", name);
    return buffer;
}

/* ---- the definition ---- */

/* ", taken over from the set NAME", or nothing. */
static const char *taken_over(const struct versions_entry *v, char *buffer, size_t size)
{
    buffer[0] = '\0';
    if (v->taken_over && v->former_set)
        snprintf(buffer, size, ", taken over from the set %s", v->former_set);
    else if (v->taken_over)
        snprintf(buffer, size, ", taken over from no set");
    return buffer;
}

static void say_version(struct explain *e)
{
    const struct versions_entry *v = e->version;
    char buffer[TEXT_NUMBER_BUFFER], who[160], from[240];

    explain_line(e, v->time_ms, "job", "version %lld is defined%s%s, in force for fire times after %s",
                 (long long)v->number, by(v->by, who, sizeof(who)), taken_over(v, from, sizeof(from)),
                 explain_time(v->after_s * 1000, buffer, sizeof(buffer)));
    if (v->until_s == INT64_MAX)
        return;
    explain_time(v->until_s * 1000, buffer, sizeof(buffer));
    if (v->deleted)
        explain_line(e, v->until_s * 1000, "job", "the job is deleted%s", by(v->ended_by, who, sizeof(who)));
    else
        explain_line(e, v->until_s * 1000, "job", "a newer version takes over");
}

/* No version is in force: which ones come before and after the time. */
static void say_no_version(struct explain *e)
{
    const struct versions_entry *before = NULL, *after = NULL;
    char buffer[TEXT_NUMBER_BUFFER], who[160];

    for (size_t i = 0; i < e->job->count; i++) {
        const struct versions_entry *v = &e->job->versions[i];

        if (e->at_s > v->until_s)
            before = v;
        else if (!after)
            after = v;
    }
    if (before)
        explain_line(e, 0, "job", "it was not defined then: deleted at %s%s",
                     explain_time(before->until_s * 1000, buffer, sizeof(buffer)),
                     by(before->ended_by, who, sizeof(who)));
    if (after)
        explain_line(e, 0, "job", "%sit was defined at %s%s; fire times up to %s do not count",
                     before ? "" : "not then: ", explain_time(after->time_ms, buffer, sizeof(buffer)),
                     by(after->by, who, sizeof(who)), buffer);
    if (!before && !after)
        explain_line(e, 0, "job", "its definition is not in this history");
}

static void say_schedule(struct explain *e)
{
    const struct strings *texts = &e->version->job->schedule;
    char describe[512], local[64];
    struct text list;

    text_init(&list, 2048);
    for (size_t i = 0; i < texts->count; i++)
        text_addf(&list, "%s\"%s\"", i ? ", " : "", texts->items[i]);
    explain_line(e, 0, "schedule", "%s: %s", text_str(&list),
                 schedule_describe(e->schedule, describe, sizeof(describe)));
    text_release(&list);
    explain_line(e, 0, "zone", "%s in %s", schedule_local(e->schedule, e->at_s, local, sizeof(local)),
                 schedule_zone(e->schedule));
}

static void say_fire_time(struct explain *e)
{
    static const char *const marks[] = {
        [SCHEDULE_MOVED] =
            "its wall time falls into a gap of the zone's clocks; it runs at the end of the gap",
        [SCHEDULE_FIRST] = "the first pass of a time that the zone's clocks repeat",
        [SCHEDULE_SECOND] = "the second pass of a time that the zone's clocks repeat",
    };
    enum schedule_mark mark = schedule_mark(e->schedule, e->at_s);
    int64_t jitter_ms = schedule_jitter_ms(e->schedule, e->at_s);
    char duration[TEXT_NUMBER_BUFFER];

    explain_line(e, 0, "schedule", "it is a fire time");
    if (mark != SCHEDULE_PLAIN)
        explain_line(e, 0, "dst", "%s", marks[mark]);
    if (jitter_ms)
        explain_line(e, 0, "jitter", "it is released %s later; always the same for this fire time",
                     duration_format(jitter_ms, duration, sizeof(duration)));
}

/* ---- pauses, skips, overlaps ---- */

static void say_pause(struct explain *e)
{
    const struct versions_pause *p = versions_pause_at(&e->versions, e->job, e->request->at_ms);
    char buffer[TEXT_NUMBER_BUFFER], who[160];
    struct text t;

    if (!p)
        return;
    text_init(&t, LINE_BYTES_MAX);
    text_add(&t, p->all ? "all jobs are paused" : "the job is paused");
    if (p->until_ms)
        text_addf(&t, " until %s", explain_time(p->until_ms, buffer, sizeof(buffer)));
    text_add(&t, by(p->by, who, sizeof(who)));
    if (p->reason)
        text_addf(&t, ": %s", p->reason);
    explain_line(e, p->from_ms, "pause", "%s", text_str(&t));
    text_release(&t);
    if (p->to_ms != INT64_MAX)
        explain_line(e, p->to_ms, "pause", "the pause ends%s", by(p->ended_by, who, sizeof(who)));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static void say_skips(struct explain *e)
{
    json_t *skip;
    size_t i;

    json_array_foreach(e->answers[EXPLAIN_SKIPS], i, skip)
    {
        json_int_t count = json_integer_value(json_object_get(skip, "count"));
        const char *text = text_of(skip, "text");
        char range[160] = "";

        if (count > 1)
            snprintf(range, sizeof(range), "; one of %lld fire times from %.30s to %.30s", (long long)count,
                     text_of(skip, "from"), text_of(skip, "to"));
        explain_line(e, versions_time(json_object_get(skip, "time")), "skip", "skipped: %s%s%s%s",
                     text_of(skip, "reason"), *text ? ", " : "", text, range);
    }
}

/* Runs of the job that were not ended at the time. */
static void say_around(struct explain *e)
{
    json_t *run;
    int shown = 0;
    size_t i;

    json_array_foreach(e->answers[EXPLAIN_AROUND], i, run)
    {
        int64_t ended_ms = versions_time(json_object_get(run, "ended"));
        enum run_state state = run_state_of(text_of(run, "state"));
        bool over = state == RUN_SKIPPED || (state == RUN_ENDED && ended_ms <= e->request->at_ms);

        if (over || shown == AROUND_SHOWN_MAX)
            continue;
        explain_line(e, 0, "overlap", "%s had not ended then%s%s", text_of(run, "run"),
                     ended_ms ? ": it ended at " : "", text_of(run, "ended"));
        shown++;
    }
}

/* ---- the verdict ---- */

static void give_verdict(json_t *result, const char *verdict, const char *text)
{
    json_object_set_new(result, "verdict", json_string(verdict));
    json_object_set_new(result, "text", json_string(text));
}

static const char *verdict_sentence(const char *verdict)
{
    static const char *const sentences[VERDICT_COUNT] = {
        [VERDICT_SUCCEEDED] = "it succeeded",
        [VERDICT_FAILED] = "it failed",
        [VERDICT_TIMED_OUT] = "it timed out",
        [VERDICT_KILLED] = "it was killed",
        [VERDICT_LOST] = "it is lost: its outcome cannot be proved",
    };
    const char *sentence = sentences[run_verdict_of(verdict)];

    return sentence ? sentence : verdict;
}

static void run_verdict(const json_t *run, json_t *result)
{
    const char *verdict = text_of(run, "verdict"), *state = text_of(run, "state");
    const json_t *code = json_object_get(run, "exit_code");
    size_t attempts = json_array_size(json_object_get(run, "attempts"));
    int64_t started = versions_time(json_object_get(run, "started")),
            ended = versions_time(json_object_get(run, "ended"));
    char duration[TEXT_NUMBER_BUFFER];
    struct text t;

    text_init(&t, 4096);
    if (!*verdict) {
        text_addf(&t, "it has not ended: %s", state);
    } else if (run_state_of(state) == RUN_SKIPPED) {
        text_addf(&t, "it was skipped: %s", verdict);
    } else {
        text_add(&t, verdict_sentence(verdict));
        if (json_is_integer(code))
            text_addf(&t, ", exit code %" JSON_INTEGER_FORMAT, json_integer_value(code));
        if (started && ended >= started)
            text_addf(&t, ", after %s", duration_format(ended - started, duration, sizeof(duration)));
        if (attempts > 1)
            text_addf(&t, ", in %zu attempts", attempts);
    }
    if (*text_of(run, "text"))
        text_addf(&t, " (%s)", text_of(run, "text"));
    give_verdict(result, *verdict ? verdict : "open", text_str(&t));
    text_release(&t);
}

/* A fire time without a run and without a skip. */
static void bare_verdict(struct explain *e, json_t *result)
{
    const struct explain_request *r = e->request;
    const struct versions_pause *p = versions_pause_at(&e->versions, e->job, r->at_ms);
    int64_t due_ms = r->at_ms + schedule_jitter_ms(e->schedule, e->at_s);

    if (due_ms > r->now_ms)
        give_verdict(result, "open",
                     json_array_size(e->answers[EXPLAIN_RECORDS]) ? "it is prepared, and not due yet"
                                                                  : "it is not due yet");
    else if (p && p->to_ms == INT64_MAX && e->version->until_s == INT64_MAX)
        give_verdict(result, "open", "it waits for the end of the pause, which will skip it");
    else if (due_ms + r->late_grace_ms >= r->now_ms)
        give_verdict(result, "open", "it is due now, and nothing is decided yet");
    else
        give_verdict(result, "unaccounted", "the outcome is unknown: no run and no skip is recorded");
}

static void verdict(struct explain *e, json_t *result)
{
    const json_t *run = e->answers[EXPLAIN_RUN], *skip = json_array_get(e->answers[EXPLAIN_SKIPS], 0);
    char text[256];

    if (json_is_object(run)) {
        run_verdict(run, result);
    } else if (e->is_fire_time && skip) {
        snprintf(text, sizeof(text), "it was skipped: %.64s", text_of(skip, "reason"));
        give_verdict(result, text_of(skip, "reason"), text);
    } else if (!e->version) {
        give_verdict(result, "not-defined", "the job was not defined then");
    } else if (!e->is_fire_time) {
        give_verdict(result, "not-a-fire-time", "it is not a fire time of the job");
    } else {
        bare_verdict(e, result);
    }
}

/* ---- together ---- */

static json_t *time_or_null(int64_t at_s)
{
    char buffer[TEXT_NUMBER_BUFFER];

    if (at_s == SCHEDULE_NEVER || at_s == INT64_MIN)
        return json_null();
    return json_string(instant_format(at_s * 1000, INSTANT_S, buffer, sizeof(buffer)));
}

static void set_nearest(struct explain *e, json_t *result)
{
    int64_t before = INT64_MIN, after = SCHEDULE_NEVER;

    if (e->schedule) {
        before = schedule_prev(e->schedule, e->at_s + (e->request->at_ms % 1000 != 0));
        after = schedule_next(e->schedule, e->at_s);
    }
    json_object_set_new(result, "previous", time_or_null(before));
    json_object_set_new(result, "next", time_or_null(after));
}

static void say_definition(struct explain *e)
{
    if (!e->version) {
        say_no_version(e);
        return;
    }
    say_version(e);
    if (e->schedule)
        say_schedule(e);
    if (e->is_fire_time)
        say_fire_time(e);
    else
        explain_why_not(e);
}

/* Of the records of pauses only those for all jobs: the job's own are in the other answer. */
static json_t *pauses_of_all(const json_t *records)
{
    json_t *list = json_array(), *item;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)records, i,
                       item) if (!json_object_get(json_object_get(item, "record"), "job"))
        json_array_append(list, item);
    return list;
}

/* The verdict is as old as what it follows from, not as the question. */
static bool is_decided(const struct explain *e)
{
    return *text_of(e->answers[EXPLAIN_RUN], "verdict") && e->last_ms;
}

static void build(struct explain *e, json_t *result)
{
    char time[TEXT_NUMBER_BUFFER];

    say_definition(e);
    if (e->is_fire_time) {
        say_pause(e);
        say_skips(e);
        say_around(e);
    }
    explain_records(e);
    json_object_set_new(result, "job", json_string(e->request->job));
    json_object_set_new(result, "time", json_string(explain_time(e->request->at_ms, time, sizeof(time))));
    json_object_set_new(result, "run",
                        json_is_object(e->answers[EXPLAIN_RUN]) ? json_string(e->request->run) : json_null());
    json_object_set_new(result, "is_fire_time", json_boolean(e->is_fire_time));
    verdict(e, result);
    set_nearest(e, result);
    explain_line(e, is_decided(e) ? e->last_ms : e->request->now_ms, "verdict", "%s",
                 text_of(result, "text"));
    json_object_set(result, "lines", e->lines);
}

int explain_build(const struct explain_request *request, json_t *const answers[EXPLAIN_PARTS],
                  struct zone_source *zones, json_t **ret, struct error *error)
{
    struct explain e = {.request = request, .answers = answers, .zones = zones};
    json_t *pauses = pauses_of_all(answers[EXPLAIN_PAUSES]);
    int rc = 0;

    versions_init(&e.versions);
    versions_add(&e.versions, answers[EXPLAIN_JOB]);
    versions_add(&e.versions, pauses);
    json_decref(pauses);
    e.job = versions_job(&e.versions, request->job);
    if (!e.job) {
        rc = error_set(error, ERR_NOT_FOUND, "the history has no job %.100s", request->job);
    } else {
        e.lines = json_array();
        e.at_s = request->at_ms >= 0 ? request->at_ms / 1000 : (request->at_ms - 999) / 1000;
        /* a run triggered in the second of its job's definition is of that version */
        e.version = versions_at(e.job, e.at_s + (request->at_ms % 1000 != 0));
        if (e.version && versions_compile(e.job, e.version, zones) == 0)
            e.schedule = e.version->schedule;
        e.is_fire_time = e.schedule && request->at_ms % 1000 == 0 && schedule_match(e.schedule, e.at_s);
        *ret = json_object();
        build(&e, *ret);
    }
    json_decref(e.lines);
    versions_release(&e.versions);
    return rc;
}
