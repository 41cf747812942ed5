/* What is to be said of many runs at once: GET /v1/jobs/{job}/stats, GET /v1/runs/buckets. History counts off the loop; what is left to
 * do here is as much as the rows that were asked for. */
#include "cronsched/api/api_run_list.h"
#include "jobs/time/instant.h"
#include "jobs/time/zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS         (INT64_C(24) * 3600 * 1000)
#define DAYS           371                       /* 53 weeks */
#define DAY_BUCKET_MS  (INT64_C(15) * 60 * 1000) /* every zone's days begin with one */
#define RUNS_DEFAULT   500
#define RUNS_MAX       2000
#define BUCKETS_MAX_MS (400 * DAY_MS)

/* ---- numbers ---- */

struct numbers {
    int64_t values[RUNS_MAX];
    size_t count;
};

static int ascending(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Of nothing: null. */
static json_t *percentile(const struct numbers *n, size_t percent)
{
    return n->count ? json_integer(n->values[(n->count - 1) * percent / 100]) : json_null();
}

static json_t *summary_of(struct numbers *n)
{
    qsort(n->values, n->count, sizeof(n->values[0]), ascending);
    return json_pack("{s:I,s:o,s:o,s:o}", "count", (json_int_t)n->count, "p50_ms", percentile(n, 50),
                     "p95_ms", percentile(n, 95), "max_ms", percentile(n, 100));
}

/* ---- of one job ---- */

struct stats {
    struct object object; /* first */
    struct numbers durations, lateness;
    json_t *samples;
    int64_t now_ms;
    const struct zone *zone; /* while it is used; NULL: UTC */
    char timezone[ZONE_NAME_MAX + 1];
};

static bool time_of(const json_t *run, const char *key, int64_t *ret_ms)
{
    const char *text = api_text(run, key);
    struct error e;

    return text[0] && instant_parse(text, ret_ms, &e) == 0;
}

static void add_run(struct stats *s, const json_t *run)
{
    const char *verdict = api_text(run, "verdict");
    int64_t fire_ms, started_ms, ended_ms;
    bool started = time_of(run, "started", &started_ms);

    if (!time_of(run, "fire_time", &fire_ms) || !started || s->lateness.count == RUNS_MAX)
        return;
    s->lateness.values[s->lateness.count++] = started_ms > fire_ms ? started_ms - fire_ms : 0;
    if (!verdict[0] || !time_of(run, "ended", &ended_ms) || ended_ms < started_ms)
        return;
    s->durations.values[s->durations.count++] = ended_ms - started_ms;
    json_array_append_new(
        s->samples, json_pack("[I,I,s]", (json_int_t)fire_ms, (json_int_t)(ended_ms - started_ms), verdict));
}

/* How bad a day was: the worst verdict in it. */
static int badness(const char *verdict)
{
    static const char *const order[] = {"succeeded", "killed", "failed", "timed-out", "lost"};

    for (int i = 0; i < 5; i++)
        if (strcmp(order[i], verdict) == 0)
            return i == 0 ? 0 : i + 1;
    return 1; /* passed over, or not over yet */
}

struct day {
    int64_t number; /* days since 1970 in the zone */
    const char *worst;
    int64_t runs, failures;
};

static void add_day(json_t *days, const struct day *day)
{
    char text[TEXT_NUMBER_BUFFER];

    if (!day->runs)
        return;
    instant_format(day->number * DAY_MS, INSTANT_S, text, sizeof(text));
    text[10] = '\0';
    json_array_append_new(
        days, json_pack("[s,s,I,I]", text, day->worst, (json_int_t)day->runs, (json_int_t)day->failures));
}

/* Quarters of an hour to local days. */
static json_t *days_of(const struct stats *s, const json_t *buckets)
{
    json_t *days = json_array(), *row;
    struct day day = {0};
    size_t i;

    json_array_foreach(buckets, i, row)
    {
        int64_t at_s = json_integer_value(json_array_get(row, 0)) * (DAY_BUCKET_MS / 1000);
        int64_t number = (at_s + (s->zone ? zone_offset(s->zone, at_s) : 0)) / (DAY_MS / 1000);
        const char *verdict = json_string_value(json_array_get(row, 1));
        int64_t count = json_integer_value(json_array_get(row, 2));

        if (number != day.number) {
            add_day(days, &day);
            day = (struct day){.number = number};
        }
        if (!day.runs || badness(verdict) > badness(day.worst))
            day.worst = verdict;
        day.runs += count;
        day.failures += badness(verdict) > 2 ? count : 0;
    }
    add_day(days, &day);
    return days;
}

/* Of those that ran and were not killed, in the last 30 days; null when there were none. */
static json_t *success_rate(const struct stats *s, const json_t *buckets)
{
    int64_t since = (s->now_ms - 30 * DAY_MS) / DAY_BUCKET_MS, good = 0, bad = 0;
    const json_t *row;
    size_t i;

    json_array_foreach(buckets, i, row)
    {
        int bad_as = badness(json_string_value(json_array_get(row, 1)));
        int64_t count = json_integer_value(json_array_get(row, 2));

        if (json_integer_value(json_array_get(row, 0)) < since)
            continue;
        good += bad_as == 0 ? count : 0;
        bad += bad_as > 2 ? count : 0;
    }
    return good + bad ? json_real((double)good / (double)(good + bad)) : json_null();
}

static void stats_release(void *arg)
{
    struct stats *s = OBJECT(struct stats, arg);

    json_decref(s->samples);
    OBJECT_FREE(struct stats, s);
}

static void have_buckets(struct api *api, struct http_request *request, json_t *buckets, void *arg)
{
    struct stats *s = OBJECT(struct stats, arg);
    json_t *durations = summary_of(&s->durations);
    struct zone_source *zones = api->context.zones;
    struct error e;

    if (zones->get(zones, s->timezone, &s->zone, &e) < 0)
        s->zone = NULL;
    json_object_set(durations, "samples", s->samples);
    http_reply_json(request, 200,
                    json_pack("{s:s,s:s,s:o,s:o,s:o,s:o}", "job", http_param(request, "job"), "timezone",
                              s->zone ? s->zone->name : "UTC", "durations", durations, "lateness",
                              summary_of(&s->lateness), "days", days_of(s, buckets), "success_rate_30d",
                              success_rate(s, buckets)));
    if (s->zone)
        zones->put(zones, s->zone);
}

static void have_runs(struct api *api, struct http_request *request, struct run_choice *choice,
                      const struct run_query *query)
{
    struct history_query h = {
        .kind = HISTORY_BUCKETS, .job = http_param(request, "job"), .bucket_ms = DAY_BUCKET_MS};
    struct stats *s = OBJECT_NEW(struct stats);
    json_t *job = scheduler_job_json(api->context.scheduler, h.job);

    s->samples = json_array();
    s->now_ms = api->context.wall_ms(api->context.arg);
    for (bool end = false; !end;) {
        json_t *run = api_runs_take(choice, &end);

        add_run(s, run);
        json_decref(run);
    }
    while (!api_runs_release(choice))
        ;
    snprintf(s->timezone, sizeof(s->timezone), "%s", api_text(job, "timezone"));
    json_decref(job);
    h.since_ms = s->now_ms - DAYS * DAY_MS;
    api_query_with(api, request, &h, have_buckets, stats_release, s);
}

static void stats_then(struct api *api, struct http_request *request)
{
    struct run_asked asked = {.query = {.job = http_param(request, "job")}, .then = have_runs};
    json_t *job = scheduler_job_json(api->context.scheduler, asked.query.job);
    int runs = RUNS_DEFAULT;

    if (!job) {
        http_reply_error(request, ERR_NOT_FOUND, "no job %.100s", asked.query.job);
        return;
    }
    json_decref(job);
    if (!api_query_int(request, "runs", 1, RUNS_MAX, &runs))
        return;
    asked.query.limit = (size_t)runs;
    api_runs_ask(api, request, &asked);
}

void api_handle_stats(struct http_request *request, void *arg)
{
    api_read(OBJECT(struct api, arg), request, stats_then);
}

/* ---- buckets of all, or of one job ---- */

static bool read_buckets(struct api *api, struct http_request *request, struct history_query *h)
{
    int64_t since_ms = -1;

    h->kind = HISTORY_BUCKETS;
    h->job = api_query_text(request, "job");
    h->bucket_ms = 3600 * 1000;
    h->until_ms = api->context.wall_ms(api->context.arg);
    if (!api_query_time(request, "until", &h->until_ms) || !api_query_time(request, "since", &since_ms) ||
        !api_query_duration(request, "bucket", &h->bucket_ms))
        return false;
    h->since_ms = since_ms < 0 ? h->until_ms - DAY_MS : since_ms;
    if (h->bucket_ms >= 60000 && h->since_ms > 0 && h->since_ms <= h->until_ms &&
        h->until_ms - h->since_ms <= BUCKETS_MAX_MS)
        return true;
    http_reply_error(request, ERR_INVALID,
                     "'since' is before 'until', by 400 days at most, and 'bucket' is at least 1m");
    return false;
}

static void reply_buckets(struct api *api, struct http_request *request, json_t *rows, json_t *more)
{
    int64_t bucket_ms = json_integer_value(more);
    json_t *out = json_array(), *row, *counts = NULL;
    json_int_t last = -1;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        json_int_t at = json_integer_value(json_array_get(row, 0));

        if (at != last) {
            counts = json_object();
            json_array_append_new(out, json_pack("[I,o]", (json_int_t)(at * bucket_ms), counts));
        }
        last = at;
        json_object_set(counts, json_string_value(json_array_get(row, 1)), json_array_get(row, 2));
    }
    http_reply_json(request, 200, out);
}

static void buckets_then(struct api *api, struct http_request *request)
{
    struct history_query h = {0};

    if (read_buckets(api, request, &h))
        api_query(api, request, &h, reply_buckets, json_integer(h.bucket_ms));
}

void api_handle_buckets(struct http_request *request, void *arg)
{
    struct history_query h = {0};

    if (read_buckets(OBJECT(struct api, arg), request, &h)) /* what is wrong needs no waiting */
        api_read(OBJECT(struct api, arg), request, buckets_then);
}
