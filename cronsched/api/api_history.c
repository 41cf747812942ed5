/* What happened: the audit log, the audit, the explanation of one fire time. Both compute on the API's threads, audits one
 * at a time. */
#include "cronsched/api/api_priv.h"
#include "cronsched/io/zones.h"
#include "jobs/audit/audit.h"
#include "jobs/audit/explain.h"
#include "jobs/base/near.h"
#include "jobs/base/object.h"
#include "jobs/state/record.h"
#include "jobs/time/zoneinfo.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- records: who changed or triggered what ---- */

#define KINDS_BY_PEOPLE "job,delete,pause,resume,trigger,backfill,stopping,note,epoch,takeover,recovered"
#define KINDS_BYTES_MAX 255

static bool check_kinds(struct http_request *request, const char *kinds)
{
    const char *names[RECORD_KIND_COUNT];
    char hint[NEAR_HINT_BUFFER];

    for (int i = 0; i < RECORD_KIND_COUNT; i++)
        names[i] = record_kind_name((enum record_kind)i);
    if (strlen(kinds) > KINDS_BYTES_MAX) {
        http_reply_error(request, ERR_INVALID, "kinds: longer than %d bytes", KINDS_BYTES_MAX);
        return false;
    }
    for (const char *p = kinds; *p; p += *p == ',') {
        char word[64];
        size_t n = strcspn(p, ","), i = 0;

        snprintf(word, sizeof(word), "%.*s", (int)n, p);
        while (i < RECORD_KIND_COUNT && strcmp(names[i], word) != 0)
            i++;
        if (i == RECORD_KIND_COUNT) {
            http_reply_error(request, ERR_INVALID, "kinds: there is no kind '%.32s'%s", word,
                             near_hint(near_find(word, names, RECORD_KIND_COUNT), hint, sizeof(hint)));
            return false;
        }
        p += n;
    }
    return true;
}

/* "INDEX.SEQ" of the last record that the caller has. */
static bool read_after(struct http_request *request, struct history_query *q)
{
    const char *text = http_query(request, "after");
    uint64_t *const ret[] = {&q->first, &q->last};
    char *end = NULL;

    if (!text)
        return true;
    for (int i = 0; i < 2; i++, text = end + 1) {
        unsigned long long value = strtoull(text, &end, 10);

        if (*text < '0' || *text > '9' || value > INT64_MAX || *end != (i == 0 ? '.' : '\0')) {
            http_reply_error(request, ERR_INVALID, "after: INDEX.SEQ of a record is needed, such as 12.0");
            return false;
        }
        *ret[i] = value;
    }
    return true;
}

static bool read_records_query(struct http_request *request, struct history_query *q, int *ret_limit)
{
    const char *kinds = http_query(request, "kinds");

    *ret_limit = API_RUNS_LIMIT;
    *q = (struct history_query){.kind = HISTORY_RECORDS,
                                .job = http_query(request, "job"),
                                .run = http_query(request, "run"),
                                .kinds = kinds ? kinds : KINDS_BY_PEOPLE};
    if (kinds && strcmp(kinds, "all") == 0)
        q->kinds = NULL;
    else if (!check_kinds(request, q->kinds))
        return false;
    return api_query_time(request, "since", &q->since_ms) && api_query_time(request, "until", &q->until_ms) &&
           api_query_int(request, "limit", 1, HISTORY_ROWS_MAX - 1, ret_limit) && read_after(request, q);
}

static void records_have(struct api *api, struct http_request *request, json_t *result, json_t *more)
{
    size_t limit = (size_t)json_integer_value(more);

    if (json_array_size(result) > limit) { /* one more than asked for was wanted, to know */
        json_array_remove(result, limit);
        http_reply_header(request, "Cronsched-More", "true");
    }
    if (http_on_detour(request)) {
        http_reply_json(request, 200, json_incref(result));
        return;
    }
    api_rows_reply(api, request, "[", api_rows_of_array(json_incref(result)));
}

static void records_then(struct api *api, struct http_request *request)
{
    struct history_query q;
    int limit;

    if (!read_records_query(request, &q, &limit))
        return;
    q.limit = limit + 1;
    api_query(api, request, &q, records_have, json_integer(limit));
}

void api_handle_records(struct http_request *request, void *arg)
{
    struct history_query q;
    int limit;

    if (read_records_query(request, &q, &limit))
        api_read(OBJECT(struct api, arg), request, records_then);
}

/* ---- for another replica: a page of what it lacks ---- */

static bool read_index(struct http_request *request, const char *name, uint64_t *ret)
{
    const char *text = http_query(request, name);
    char *end = NULL;
    unsigned long long value = text ? strtoull(text, &end, 10) : 0;

    if (!text || *text < '0' || *text > '9' || *end || value == 0 || value > INT64_MAX) {
        http_reply_error(request, ERR_INVALID, "%s: a batch number is needed", name);
        return false;
    }
    *ret = value;
    return true;
}

static void page_have(struct api *api, struct http_request *request, json_t *page, json_t *unused)
{
    if (json_is_null(page))
        http_reply_error(request, ERR_NOT_FOUND, "the first of these batches is missing here, too");
    else
        http_reply_json(request, 200, json_incref(page));
}

void api_handle_peer_history(struct http_request *request, void *arg)
{
    struct history_query q = {.kind = HISTORY_COPY};

    if (!read_index(request, "first", &q.first) || !read_index(request, "last", &q.last))
        return;
    api_query(OBJECT(struct api, arg), request, &q, page_have, NULL);
}

/* ---- explain ---- */

#define LATE_GRACE_MS 60000

static int64_t late_grace_ms(const struct api *api)
{
    return api->context.late_grace_ms ? api->context.late_grace_ms : LATE_GRACE_MS;
}

static const char *zones_dir(const struct api *api)
{
    return api->context.zones_dir ? api->context.zones_dir : zones_folder();
}

static bool read_explain_query(struct api *api, struct http_request *request, struct explain_request *ret)
{
    const char *job = http_query(request, "job");
    int64_t at_ms = 0;

    if (!job || !http_query(request, "time")) {
        http_reply_error(request, ERR_INVALID, "%s is missing", job ? "time" : "job");
        return false;
    }
    if (!job_name_valid(job)) {
        http_reply_error(request, ERR_INVALID, "'%.100s' is not a job name", job);
        return false;
    }
    if (!api_query_time(request, "time", &at_ms))
        return false;
    explain_init(ret, job, at_ms, api->context.wall_ms(api->context.arg), late_grace_ms(api));
    return true;
}

/* Thousands of versions of a job may have to be read: off the loop. */
struct explain_work {
    struct object object; /* first */
    struct work work;
    struct api *api;
    struct http_request *request;
    struct explain_request explain; /* its texts are the request's */
    const char *zones_dir;
    json_t *parts, *result;
    struct error error;
};

/* The zones that the loop uses belong to the loop. */
static void explain_run(struct work *work)
{
    struct explain_work *w = OBJECT_OF(struct explain_work, work, work);
    json_t *answers[EXPLAIN_PARTS];
    struct zoneinfo *zones;

    if (zoneinfo_new(&zones, w->zones_dir, &w->error) < 0)
        return;
    for (size_t i = 0; i < EXPLAIN_PARTS; i++)
        answers[i] = json_array_get(w->parts, i);
    if (explain_build(&w->explain, answers, zoneinfo_source(zones), &w->result, &w->error) < 0)
        w->result = NULL;
    zoneinfo_free(zones);
    json_decref(w->parts);
    w->parts = NULL;
}

static void explain_done(struct work *work, int result)
{
    struct explain_work *w = OBJECT_OF(struct explain_work, work, work);
    struct api *api = w->api;

    if (result < 0)
        http_reply_error(w->request, result, API_WORK_REFUSED);
    else if (w->result)
        http_reply_json(w->request, 200, w->result);
    else
        http_reply_failure(w->request, &w->error);
    json_decref(w->parts);
    http_request_unref(w->request);
    OBJECT_FREE(struct explain_work, w);
    api_work_end(api);
}

/* Takes a reference to parts. */
static void explain_begin(struct api *api, struct http_request *request,
                          const struct explain_request *explain, json_t *parts)
{
    struct explain_work *w = calloc(1, sizeof(*w));

    if (!w) {
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    OBJECT_INIT(struct explain_work, w);
    w->api = api;
    w->request = http_request_ref(request);
    w->explain = *explain;
    w->zones_dir = zones_dir(api);
    w->parts = json_incref(parts);
    w->work = (struct work){.run = explain_run, .done = explain_done};
    api_work_begin(api);
    api_work_submit(api, &w->work);
}

/* `parts`: the answers so far. */
static void explain_have(struct api *api, struct http_request *request, json_t *answer, json_t *parts)
{
    struct explain_request explain;
    struct history_query query;

    if (!read_explain_query(api, request, &explain))
        return;
    json_array_append(parts, answer);
    if (json_array_size(parts) == EXPLAIN_PARTS) {
        explain_begin(api, request, &explain, parts);
        return;
    }
    explain_query(&explain, (enum explain_part)json_array_size(parts), &query);
    api_query(api, request, &query, explain_have, json_incref(parts));
}

static void explain_then(struct api *api, struct http_request *request)
{
    struct explain_request explain;
    struct history_query query;

    if (!read_explain_query(api, request, &explain))
        return;
    explain_query(&explain, (enum explain_part)0, &query);
    api_query(api, request, &query, explain_have, json_array());
}

void api_handle_explain(struct http_request *request, void *arg)
{
    struct explain_request explain;

    if (read_explain_query(OBJECT(struct api, arg), request, &explain))
        api_read(OBJECT(struct api, arg), request, explain_then);
}

/* ---- audit ---- */

struct audit {
    struct object object; /* first */
    struct work work;
    struct api *api;
    struct http_request *request; /* its texts are used off the loop: they do not change */
    struct audit_options options;
    const char *zones_dir;
    json_t *history, *result;
    struct error error;
};

static bool read_audit_query(struct api *api, struct http_request *request, struct audit_options *o)
{
    const struct api_context *c = &api->context;

    *o = (struct audit_options){
        .now_ms = c->wall_ms(c->arg), .late_grace_ms = late_grace_ms(api), .job = http_query(request, "job")};
    o->until_ms = o->now_ms;
    if (!http_query(request, "since")) {
        http_reply_error(request, ERR_INVALID, "since is missing");
        return false;
    }
    return api_query_time(request, "since", &o->since_ms) && api_query_time(request, "until", &o->until_ms);
}

/* The zones that the loop uses belong to the loop. */
static void audit_run(struct work *work)
{
    struct audit *a = OBJECT_OF(struct audit, work, work);
    struct zoneinfo *zones;

    if (zoneinfo_new(&zones, a->zones_dir, &a->error) < 0)
        return;
    if (audit_check(a->history, &a->options, zoneinfo_source(zones), &a->result, &a->error) < 0)
        a->result = NULL;
    zoneinfo_free(zones);
    json_decref(a->history); /* hundreds of thousands of rows: here, and not on the loop */
    a->history = NULL;
}

static void audit_done(struct work *work, int result)
{
    struct audit *a = OBJECT_OF(struct audit, work, work);
    struct api *api = a->api;
    int64_t jump_ms;

    api->auditing = false;
    if (a->result && api_clock_held(&api->context, &jump_ms))
        json_object_set_new(a->result, AUDIT_CLOCK_KEY, json_integer(jump_ms));
    if (result < 0)
        http_reply_error(a->request, result, API_WORK_REFUSED);
    else if (a->result)
        http_reply_json(a->request, 200, a->result);
    else
        http_reply_failure(a->request, &a->error);
    json_decref(a->history);
    http_request_unref(a->request);
    OBJECT_FREE(struct audit, a);
    api_work_end(api);
}

static void reply_busy(struct http_request *request)
{
    struct error e;

    error_set(&e, ERR_BUSY, "another audit is running");
    http_reply_header(request, "Retry-After", "5");
    http_reply_problem(request, 429, &e, NULL);
}

static void audit_have(struct api *api, struct http_request *request, json_t *history, json_t *more)
{
    struct audit *a;

    assert(!api->auditing); /* of all rows that there are, nobody else has any */
    a = calloc(1, sizeof(*a));
    if (!a || !read_audit_query(api, request, &a->options)) {
        free(a);
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    OBJECT_INIT(struct audit, a);
    a->api = api;
    a->request = http_request_ref(request);
    a->zones_dir = zones_dir(api);
    a->history = json_incref(history);
    a->work = (struct work){.run = audit_run, .done = audit_done};
    api->auditing = true;
    api_work_begin(api);
    api_work_submit(api, &a->work);
}

static void audit_then(struct api *api, struct http_request *request)
{
    struct history_query query = {.kind = HISTORY_AUDIT};
    struct audit_options o;

    if (!read_audit_query(api, request, &o))
        return;
    if (api->auditing) {
        reply_busy(request);
        return;
    }
    query.job = o.job;
    query.since_ms = o.since_ms;
    query.until_ms = o.until_ms;
    api_query(api, request, &query, audit_have, NULL);
}

void api_handle_audit(struct http_request *request, void *arg)
{
    struct audit_options o;

    if (read_audit_query(OBJECT(struct api, arg), request, &o))
        api_read(OBJECT(struct api, arg), request, audit_then);
}
