/* Job by job, and within a job version by version, the fire times are stepped through in order beside sorted
 * arrays of what history has: its runs, and the beginnings and ends of its skipped ranges. How many ranges
 * cover a fire time is how many have begun less how many have ended.
 */
#include "jobs/audit/audit.h"

#include "jobs/audit/versions.h"
#include "jobs/base/alloc.h"
#include "jobs/base/text.h"
#include "jobs/state/record.h"
#include "jobs/state/run.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

enum audit_run_kind { AUDIT_OPEN, AUDIT_ENDED, AUDIT_SKIPPED, AUDIT_BACKFILL };

struct audit_run {
    int64_t at_s;
    enum audit_run_kind kind;
    bool open; /* a backfill's, too */
};

struct audit_range {
    int64_t from_s, to_s, count;
    const char *reason;
    int64_t uncovered; /* pruned ones: fire times within that nothing else accounts for */
};

/* What history has of one job, sorted by time. */
struct audit_job {
    const char *name;
    struct audit_run *runs;
    struct audit_range *skips, *pruned, *lost; /* lost: skipped since the journal of that time was lost */
    struct audit_range *ahead;                 /* of skips, those that a clock decided which was ahead */
    int64_t *ends;                             /* of skips, sorted */
    size_t run_count, skip_count, pruned_count, lost_count, ahead_count;
    bool unresolved; /* one of its runs is: it decides nothing until that is settled */
    int64_t unresolved_s;
    UT_hash_handle by_name;
};

struct audit {
    const struct audit_options *o;
    struct zone_source *zones;
    struct versions versions;
    struct audit_job *jobs; /* uthash */
    const json_t *gaps, *copied;
    int64_t since_s, until_s; /* (since, until] */
    int64_t stepped;
    json_int_t fire_times, runs, skipped, pruned, open, paused, unaccounted, doubled, ranges;
    json_t *unaccounted_list, *doubled_list, *range_list;
    struct error *error;
};

static const char *time_text(int64_t at_s, char buffer[TEXT_NUMBER_BUFFER])
{
    return instant_format(at_s * 1000, INSTANT_S, buffer, TEXT_NUMBER_BUFFER);
}

/* ---- findings ---- */

static void __attribute__((format(printf, 5, 6)))
find(json_t *list, json_int_t *count, const char *job, int64_t at_s, const char *format, ...)
{
    char why[512], at[TEXT_NUMBER_BUFFER];
    va_list ap;

    if (++*count > AUDIT_FINDINGS_MAX)
        return;
    va_start(ap, format);
    vsnprintf(why, sizeof(why), format, ap);
    va_end(ap);
    json_array_append_new(
        list, json_pack("{s:s,s:s,s:s}", "job", job, "fire_time", time_text(at_s, at), "why", why));
}

static void find_range(struct audit *a, const char *job, const struct audit_range *r, int64_t implied)
{
    char from[TEXT_NUMBER_BUFFER], to[TEXT_NUMBER_BUFFER];

    if (++a->ranges > AUDIT_FINDINGS_MAX)
        return;
    json_array_append_new(a->range_list, json_pack("{s:s,s:s,s:s,s:s,s:I,s:I}", "job", job, "from",
                                                   time_text(r->from_s, from), "to", time_text(r->to_s, to),
                                                   "reason", r->reason, "count", (json_int_t)r->count,
                                                   "implied", (json_int_t)implied));
}

/* ---- reading history's answer ---- */

static struct audit_job *job_get(struct audit *a, const char *name)
{
    struct audit_job *j;

    HASH_FIND(by_name, a->jobs, name, strlen(name), j);
    if (!j) {
        j = alloc_zero(sizeof(*j));
        j->name = name;
        HASH_ADD_KEYPTR(by_name, a->jobs, name, strlen(name), j);
    }
    return j;
}

/* Grows at powers of two. */
static void *array_add(void *items, size_t count, size_t size)
{
    if (count & (count - 1))
        return items;
    return alloc_resize(items, (count ? count * 2 : 1) * size);
}

static enum audit_run_kind run_kind(enum run_state state, enum run_cause cause)
{
    if (cause == CAUSE_BACKFILL)
        return AUDIT_BACKFILL;
    if (state == RUN_SKIPPED)
        return AUDIT_SKIPPED;
    return state == RUN_ENDED ? AUDIT_ENDED : AUDIT_OPEN;
}

/* Those of a job that are in one state for one cause. */
static bool read_runs(struct audit *a, const json_t *item)
{
    const char *job, *word, *cause = NULL;
    struct audit_job *j;
    struct audit_run run;
    enum run_state state;
    json_t *times, *at;
    size_t i;

    if (json_unpack((json_t *)(uintptr_t)item, "{s:s,s:o,s:s,s?s}", "job", &job, "at", &times, "state", &word,
                    "cause", &cause) < 0 ||
        !json_is_array(times))
        return false;
    state = run_state_of(word);
    run.open = state != RUN_ENDED && state != RUN_SKIPPED;
    run.kind = run_kind(state, run_cause_of(cause));
    j = job_get(a, job);
    json_array_foreach(times, i, at)
    {
        run.at_s = instant_floor_s(json_integer_value(at));
        j->runs = array_add(j->runs, j->run_count, sizeof(run));
        j->runs[j->run_count++] = run;
    }
    return true;
}

static void add_range(struct audit_range **list, size_t *count, struct audit_range range)
{
    *list = array_add(*list, *count, sizeof(range));
    (*list)[(*count)++] = range;
}

/* Decided later than it is now: by a clock that was ahead. A pause or a deletion would have passed it over at any time. */
static bool decided_ahead(const struct audit *a, int64_t time_ms, enum run_verdict reason)
{
    return time_ms > a->o->now_ms + AUDIT_CLOCK_AHEAD_MS && reason != VERDICT_PAUSED &&
           reason != VERDICT_DELETED;
}

static bool read_range(struct audit *a, const json_t *item, bool pruned)
{
    const char *job, *reason = "";
    struct audit_job *j;
    json_int_t from, to, count, time = 0;
    struct audit_range range;

    if (json_unpack((json_t *)(uintptr_t)item, "{s:s,s:I,s:I,s:I,s?s,s?I}", "job", &job, "from", &from, "to",
                    &to, "count", &count, "reason", &reason, "time", &time) < 0)
        return false;
    range = (struct audit_range){
        .from_s = instant_floor_s(from), .to_s = instant_floor_s(to), .count = count, .reason = reason};
    j = job_get(a, job);
    if (pruned)
        add_range(&j->pruned, &j->pruned_count, range);
    else if (run_verdict_of(reason) == VERDICT_JOURNAL_LOST)
        add_range(&j->lost, &j->lost_count, range);
    else
        add_range(&j->skips, &j->skip_count, range);
    if (!pruned && decided_ahead(a, time, run_verdict_of(reason)))
        add_range(&j->ahead, &j->ahead_count, range);
    return true;
}

static bool read_skip(struct audit *a, const json_t *item)
{
    return read_range(a, item, false);
}

/* An attempt of a run ended more than once. */
static bool read_ends(struct audit *a, const json_t *item)
{
    char job[RUN_ID_MAX];
    const char *run;
    json_int_t count;
    int64_t at_ms;
    bool has_ms;

    if (json_unpack((json_t *)(uintptr_t)item, "{s:s,s:I}", "run", &run, "count", &count) < 0 ||
        run_id_parse(run, job, &at_ms, &has_ms) < 0)
        return false;
    if (instant_floor_s(at_ms) > a->since_s && instant_floor_s(at_ms) <= a->until_s)
        find(a->doubled_list, &a->doubled, job, instant_floor_s(at_ms), "an attempt of %s ended %lld times",
             run, (long long)count);
    return true;
}

static bool read_pruned(struct audit *a, const json_t *item)
{
    return read_range(a, item, true);
}

static bool read_unfinished(struct audit *a, const json_t *item)
{
    const char *job, *state;
    struct audit_job *j;
    json_int_t at;

    if (json_unpack((json_t *)(uintptr_t)item, "{s:s,s:I,s:s}", "job", &job, "at", &at, "state", &state) < 0)
        return false;
    j = job_get(a, job);
    if (run_state_of(state) == RUN_UNRESOLVED && (!j->unresolved || instant_floor_s(at) < j->unresolved_s)) {
        j->unresolved = true;
        j->unresolved_s = instant_floor_s(at);
    }
    return true;
}

static int by_at(const void *x, const void *y)
{
    const struct audit_run *a = x, *b = y;

    return (a->at_s > b->at_s) - (a->at_s < b->at_s);
}

static int by_from(const void *x, const void *y)
{
    const struct audit_range *a = x, *b = y;

    return (a->from_s > b->from_s) - (a->from_s < b->from_s);
}

static int by_value(const void *x, const void *y)
{
    const int64_t *a = x, *b = y;

    return (*a > *b) - (*a < *b);
}

/* Pruned days that overlap can only be held to account together. */
static void merge_pruned(struct audit_job *j)
{
    size_t n = 0;

    for (size_t i = 0; i < j->pruned_count; i++) {
        struct audit_range *last = n ? &j->pruned[n - 1] : NULL;

        if (last && j->pruned[i].from_s <= last->to_s) {
            last->to_s = j->pruned[i].to_s > last->to_s ? j->pruned[i].to_s : last->to_s;
            last->count += j->pruned[i].count;
        } else {
            j->pruned[n++] = j->pruned[i];
        }
    }
    j->pruned_count = n;
}

static void sort(void *items, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    if (count)
        qsort(items, count, size, compare);
}

static void sort_job(struct audit_job *j)
{
    sort(j->runs, j->run_count, sizeof(*j->runs), by_at);
    sort(j->skips, j->skip_count, sizeof(*j->skips), by_from);
    sort(j->pruned, j->pruned_count, sizeof(*j->pruned), by_from);
    merge_pruned(j);
    j->ends = alloc_zero((j->skip_count + 1) * sizeof(*j->ends));
    for (size_t i = 0; i < j->skip_count; i++)
        j->ends[i] = j->skips[i].to_s;
    sort(j->ends, j->skip_count, sizeof(*j->ends), by_value);
}

static int read_history(struct audit *a, const json_t *history)
{
    static const struct {
        const char *key;
        bool (*read)(struct audit *a, const json_t *item);
    } parts[] = {
        {"runs", read_runs}, {"skips", read_skip}, {"pruned", read_pruned}, {"unfinished", read_unfinished},
        {"ends", read_ends},
    };
    struct audit_job *j, *next;

    if (!json_is_array(json_object_get(history, "records")))
        return error_set(a->error, ERR_CORRUPT, "audit: history has no records");
    versions_add(&a->versions, json_object_get(history, "records"));
    for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
        json_t *item;
        size_t i;

        json_array_foreach(json_object_get(history, parts[p].key), i,
                           item) if (!parts[p].read(a, item)) return error_set(a->error, ERR_CORRUPT,
                                                                               "audit: %s[%zu] is invalid",
                                                                               parts[p].key, i);
    }
    HASH_ITER(by_name, a->jobs, j, next)
    {
        sort_job(j);
    }
    a->gaps = json_object_get(history, "gaps");
    a->copied = json_object_get(history, "copied");
    return 0;
}

/* ---- one fire time ---- */

/* Positions in the arrays; fire times come in order. */
struct walk {
    struct audit *a;
    const struct versions_job *timeline;
    struct versions_entry *version;
    struct audit_job *job;
    size_t run, begun, ended, pruned;
};

/* How many skipped ranges cover it. */
static size_t ranges_at(struct walk *w, int64_t at_s)
{
    while (w->begun < w->job->skip_count && w->job->skips[w->begun].from_s <= at_s)
        w->begun++;
    while (w->ended < w->job->skip_count && w->job->ends[w->ended] < at_s)
        w->ended++;
    return w->begun - w->ended;
}

/* Few: a person's act each. */
static bool is_within(const struct audit_range *ranges, size_t count, int64_t at_s)
{
    for (size_t i = 0; i < count; i++)
        if (at_s >= ranges[i].from_s && at_s <= ranges[i].to_s)
            return true;
    return false;
}

static bool is_lost(const struct audit_job *j, int64_t at_s)
{
    return is_within(j->lost, j->lost_count, at_s);
}

/* It has come meanwhile, and is accounted for by nothing but the word of a clock that was ahead. */
static bool only_ahead(const struct walk *w, int64_t at_s)
{
    return is_within(w->job->ahead, w->job->ahead_count, at_s) &&
           at_s * 1000 + schedule_jitter_ms(w->version->schedule, at_s) + w->a->o->late_grace_ms <
               w->a->o->now_ms;
}

static const struct audit_run *run_at(struct walk *w, int64_t at_s)
{
    while (w->run < w->job->run_count && w->job->runs[w->run].at_s < at_s)
        w->run++;
    return w->run < w->job->run_count && w->job->runs[w->run].at_s == at_s ? &w->job->runs[w->run] : NULL;
}

static struct audit_range *pruned_at(struct walk *w, int64_t at_s)
{
    while (w->pruned < w->job->pruned_count && w->job->pruned[w->pruned].to_s < at_s)
        w->pruned++;
    return w->pruned < w->job->pruned_count && w->job->pruned[w->pruned].from_s <= at_s
               ? &w->job->pruned[w->pruned]
               : NULL;
}

/* Nobody had to decide it yet. */
static bool undecided(struct walk *w, int64_t at_s)
{
    const struct audit_options *o = w->a->o;
    const struct versions_pause *pause;

    if (at_s * 1000 + schedule_jitter_ms(w->version->schedule, at_s) + o->late_grace_ms >= o->now_ms)
        return true;
    if (w->job->unresolved && at_s > w->job->unresolved_s)
        return true;
    if (w->version->until_s != INT64_MAX)
        return false; /* the change that ended the version has accounted for all before it */
    pause = versions_pause_at(&w->a->versions, w->timeline, at_s * 1000);
    if (!pause)
        return false;
    return pause->to_ms == INT64_MAX && (!pause->until_ms || pause->until_ms + o->late_grace_ms >= o->now_ms);
}

/* One of these times overlaps [from_s, to_s]. */
static bool reaches_into(const json_t *times, int64_t from_s, int64_t to_s)
{
    const json_t *one;
    size_t i;

    json_array_foreach(times, i, one)
    {
        if (to_s * 1000 >= json_integer_value(json_object_get(one, "from")) &&
            from_s * 1000 <= json_integer_value(json_object_get(one, "to")))
            return true;
    }
    return false;
}

static void find_unaccounted(struct walk *w, int64_t at_s)
{
    struct audit *a = w->a;
    const struct versions_pause *pause = versions_pause_at(&a->versions, w->timeline, at_s * 1000);
    const char *gap = reaches_into(a->gaps, at_s, at_s) ? "; this history lacks batches of that time" : "";
    char tz[128] = "";

    if (a->versions.tzdata_ms > at_s * 1000)
        snprintf(tz, sizeof(tz), "; the time zone data has changed since, to %.32s",
                 a->versions.tzdata ? a->versions.tzdata : "?");
    find(a->unaccounted_list, &a->unaccounted, w->timeline->name, at_s, "no run and no skip%s%s%s",
         pause ? ", though its job was paused and the pause has ended" : "", gap, tz);
}

/* What accounts for it, beside a range: one of the counters. */
static void judge_run(struct walk *w, int64_t at_s, const struct audit_run *run, size_t ranges)
{
    struct audit *a = w->a;

    if (run->kind != AUDIT_SKIPPED && run->kind != AUDIT_BACKFILL && ranges > 0)
        find(a->doubled_list, &a->doubled, w->timeline->name, at_s, "a run, and %zu skipped range%s", ranges,
             ranges == 1 ? "" : "s");
    else if (ranges > 1)
        find(a->doubled_list, &a->doubled, w->timeline->name, at_s, "%zu skipped ranges", ranges);
    if (run->open)
        a->open++;
    else if (run->kind == AUDIT_SKIPPED || (run->kind == AUDIT_BACKFILL && ranges > 0))
        a->skipped++;
    else
        a->runs++;
}

static void judge(struct walk *w, int64_t at_s)
{
    struct audit *a = w->a;
    const struct audit_run *run = run_at(w, at_s);
    size_t ranges = ranges_at(w, at_s);
    struct audit_range *pruned = run || ranges || is_lost(w->job, at_s) ? NULL : pruned_at(w, at_s);
    bool asked = at_s > a->since_s && at_s <= a->until_s;

    if (pruned)
        pruned->uncovered++;
    if (!asked)
        return; /* it only counts for its pruned day */
    a->fire_times++;
    if (run) {
        judge_run(w, at_s, run, ranges);
    } else if (ranges && only_ahead(w, at_s)) {
        find(a->unaccounted_list, &a->unaccounted, w->timeline->name, at_s,
             "it was passed over by a clock that was ahead, and nothing ran when it came");
    } else if (ranges || is_lost(w->job, at_s)) {
        a->skipped++;
        if (ranges > 1)
            find(a->doubled_list, &a->doubled, w->timeline->name, at_s, "%zu skipped ranges", ranges);
    } else if (pruned) {
        a->pruned++;
    } else if (undecided(w, at_s)) {
        a->open++;
        a->paused += versions_pause_at(&a->versions, w->timeline, at_s * 1000) != NULL;
    } else {
        find_unaccounted(w, at_s);
    }
}

/* ---- one job ---- */

static int64_t max_s(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t min_s(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The time asked for, and whole pruned days that reach into it. */
static void job_window(const struct audit *a, const struct audit_job *j, int64_t *from_s, int64_t *to_s)
{
    *from_s = a->since_s;
    *to_s = a->until_s;
    for (size_t i = 0; i < j->pruned_count; i++) {
        if (j->pruned[i].to_s <= a->since_s || j->pruned[i].from_s > a->until_s)
            continue;
        *from_s = min_s(*from_s, j->pruned[i].from_s - 1);
        *to_s = max_s(*to_s, j->pruned[i].to_s);
    }
}

static int walk_version(struct walk *w, int64_t from_s, int64_t to_s)
{
    struct versions_entry *v = w->version;
    struct audit *a = w->a;

    from_s = max_s(from_s, v->after_s);
    to_s = min_s(to_s, v->until_s);
    if (from_s >= to_s)
        return 0;
    if (versions_compile(w->timeline, v, a->zones) < 0) {
        find(a->unaccounted_list, &a->unaccounted, w->timeline->name, from_s,
             "version %lld of the job cannot be read any more: %.300s", (long long)v->number, v->broken.text);
        return 0;
    }
    if (!v->schedule)
        return 0;
    for (int64_t at = schedule_next(v->schedule, from_s); at <= to_s; at = schedule_next(v->schedule, at)) {
        if (++a->stepped > AUDIT_FIRE_TIMES_MAX)
            return error_set(a->error, ERR_LIMIT,
                             "more than %d fire times; ask for less time, or for one job",
                             AUDIT_FIRE_TIMES_MAX);
        judge(w, at);
    }
    return 0;
}

/* How many fire times a range should hold; slack_s more after a deletion. */
static int64_t implied(struct audit *a, const struct versions_job *timeline, const struct audit_range *r,
                       int64_t slack_s)
{
    int64_t n = 0;

    for (size_t i = 0; i < timeline->count; i++) {
        struct versions_entry *v = &timeline->versions[i];
        int64_t until_s = v->deleted ? v->until_s + slack_s : v->until_s;

        if (versions_compile(timeline, v, a->zones) == 0 && v->schedule &&
            max_s(r->from_s - 1, v->after_s) < min_s(r->to_s, until_s))
            n += schedule_count(v->schedule, max_s(r->from_s - 1, v->after_s), min_s(r->to_s, until_s),
                                INT64_MAX);
    }
    return n;
}

static void check_ranges(struct audit *a, const struct versions_job *timeline, const struct audit_job *j)
{
    for (size_t i = 0; i < j->skip_count; i++) {
        const struct audit_range *r = &j->skips[i];
        int64_t n;

        if (r->to_s <= a->since_s || r->from_s > a->until_s)
            continue;
        n = implied(a, timeline, r, 0);
        /* the deletion's record has its batch's time, which can be a little before the instant it accounted
         * up to */
        if (n != r->count && implied(a, timeline, r, 1) != r->count)
            find_range(a, timeline->name, r, n);
    }
}

/* The day as a whole: more is missing than was pruned, or less. */
static void check_pruned_day(struct audit *a, const char *job, const struct audit_range *r)
{
    int64_t missing = r->uncovered - r->count;
    char to[TEXT_NUMBER_BUFFER];

    time_text(r->to_s, to);
    if (missing > 0) {
        find(a->unaccounted_list, &a->unaccounted, job, r->from_s,
             "between this time and %s, where runs were pruned, %lld fire times had no run and no skip", to,
             (long long)missing);
        a->unaccounted += missing - 1;
        a->pruned -= missing;
    } else if (missing < 0 && !reaches_into(a->copied, r->from_s, INT64_MAX / 1000)) {
        /* (with history from another replica came its counts of what it had pruned, of any day before, and some of it
         * was still here, to be pruned and counted again) */
        find(a->doubled_list, &a->doubled, job, r->from_s,
             "between this time and %s %lld runs or skips were pruned beyond what the schedule implies", to,
             (long long)-missing);
    }
}

static void check_pruned(struct audit *a, const struct versions_job *timeline, const struct audit_job *j)
{
    for (size_t i = 0; i < j->pruned_count; i++)
        if (j->pruned[i].to_s > a->since_s && j->pruned[i].from_s <= a->until_s)
            check_pruned_day(a, timeline->name, &j->pruned[i]);
}

static int check_job(struct audit *a, struct versions_job *timeline)
{
    struct audit_job none = {.name = timeline->name}, *j;
    struct walk w = {.a = a, .timeline = timeline};
    int64_t from_s, to_s;
    int rc = 0;

    HASH_FIND(by_name, a->jobs, timeline->name, strlen(timeline->name), j);
    w.job = j ? j : &none;
    job_window(a, w.job, &from_s, &to_s);
    for (size_t i = 0; rc == 0 && i < timeline->count; i++) {
        w.version = &timeline->versions[i];
        rc = walk_version(&w, from_s, to_s);
    }
    if (rc == 0) {
        check_ranges(a, timeline, w.job);
        check_pruned(a, timeline, w.job);
    }
    return rc;
}

/* ---- all of it ---- */

static json_t *gaps_json(const struct audit *a)
{
    json_t *list = json_array(), *gap;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)a->gaps, i, gap)
    {
        int64_t from = json_integer_value(json_object_get(gap, "from")),
                to = json_integer_value(json_object_get(gap, "to"));
        char from_text[TEXT_NUMBER_BUFFER], to_text[TEXT_NUMBER_BUFFER];

        if (from / 1000 <= a->until_s)
            json_array_append_new(list, json_pack("{s:s,s:s}", "from", time_text(from / 1000, from_text),
                                                  "to", time_text(to / 1000, to_text)));
    }
    return list;
}

static json_t *result_json(struct audit *a)
{
    char since[TEXT_NUMBER_BUFFER], until[TEXT_NUMBER_BUFFER];

    return json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:O,s:O,s:O,s:I,s:I,s:I,s:o}", "since",
                     time_text(a->since_s, since), "until", time_text(a->until_s, until), "fire_times",
                     a->fire_times, "runs", a->runs, "skipped", a->skipped, "pruned", a->pruned, "open",
                     a->open, "paused", a->paused, "unaccounted", a->unaccounted_list, "doubled",
                     a->doubled_list, "ranges", a->range_list, "unaccounted_count", a->unaccounted,
                     "doubled_count", a->doubled, "range_count", a->ranges, "gaps", gaps_json(a));
}

static void audit_release(struct audit *a)
{
    struct audit_job *j, *next;

    HASH_ITER(by_name, a->jobs, j, next)
    {
        HASH_DELETE(by_name, a->jobs, j);
        free(j->runs);
        free(j->skips);
        free(j->pruned);
        free(j->ends);
        free(j->lost);
        free(j->ahead);
        free(j);
    }
    versions_release(&a->versions);
    json_decref(a->unaccounted_list);
    json_decref(a->doubled_list);
    json_decref(a->range_list);
}

int audit_check(const json_t *history, const struct audit_options *options, struct zone_source *zones,
                json_t **ret, struct error *error)
{
    struct audit a = {.o = options, .zones = zones, .error = error};
    struct versions_job *timeline, *next;
    int rc;

    a.since_s = instant_floor_s(options->since_ms);
    a.until_s = instant_floor_s(options->until_ms < options->now_ms ? options->until_ms : options->now_ms);
    a.unaccounted_list = json_array();
    a.doubled_list = json_array();
    a.range_list = json_array();
    versions_init(&a.versions);
    rc = read_history(&a, history);
    HASH_ITER(by_name, a.versions.jobs, timeline, next)
    {
        if (rc == 0 && (!options->job || strcmp(options->job, timeline->name) == 0))
            rc = check_job(&a, timeline);
    }
    if (rc == 0)
        *ret = result_json(&a);
    audit_release(&a);
    return rc;
}

bool audit_passed(const json_t *result)
{
    static const char *const lists[] = {"unaccounted", "doubled", "ranges", "gaps"};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        if (json_array_size(json_object_get(result, lists[i])) > 0)
            return false;
    return !json_object_get(result, AUDIT_CLOCK_KEY);
}
