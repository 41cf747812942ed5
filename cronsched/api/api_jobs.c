/* Jobs: what there is, changing it, pausing it, running it. */
#include "cronsched/api/api_priv.h"
#include "jobs/base/near.h"
#include "jobs/state/filter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- reads ---- */

/* The rows of jobs or of definitions. */
struct job_rows {
    struct api_rows rows; /* first */
    struct scheduler_walk *walk;
    struct filter *filter; /* of the walk */
    const char *end;
    bool named, begun;
};

static int job_rows_next(struct api_rows *rows, struct text *text)
{
    struct job_rows *j = (struct job_rows *)(void *)rows;
    int r = 0;

    for (int i = 0; i < API_ROWS_PIECE && r == 0; i++) {
        const char *name = NULL;
        json_t *row;

        r = scheduler_walk_next(j->walk, &name, &row);
        if (!row)
            continue;
        if (j->begun)
            text_add(text, ",");
        if (j->named)
            text_addf(text, "\"%s\":", name); /* a job's name needs no escapes */
        if (api_rows_add(rows, text, "", row) < 0)
            r = ERR_NOMEM;
        j->begun = true;
        json_decref(row);
    }
    if (r == 1)
        text_add(text, j->end);
    return r;
}

static bool job_rows_release(struct api_rows *rows)
{
    struct job_rows *j = (struct job_rows *)(void *)rows;

    scheduler_walk_free(j->walk);
    filter_free(j->filter);
    free(j);
    return true;
}

struct api_rows *api_job_rows(struct scheduler_walk *walk, struct filter *filter, bool named, const char *end)
{
    struct job_rows *j = calloc(1, sizeof(*j));

    if (!j) {
        scheduler_walk_free(walk);
        filter_free(filter);
        return NULL;
    }
    *j = (struct job_rows){.rows = {job_rows_next, job_rows_release},
                           .walk = walk,
                           .filter = filter,
                           .named = named,
                           .end = end};
    return &j->rows;
}

static void reply_no_job(struct api *api, struct http_request *request, const char *name)
{
    char hint[NEAR_HINT_BUFFER];

    http_reply_error(request, ERR_NOT_FOUND, "no job %.100s%s", name,
                     near_hint(scheduler_near_job(api->context.scheduler, name), hint, sizeof(hint)));
}

static void job_then(struct api *api, struct http_request *request)
{
    const char *name = http_param(request, "job");
    json_t *job = scheduler_job_json(api->context.scheduler, name);

    if (job)
        http_reply_json(request, 200, job);
    else if (!api_pass_on(api, request))
        reply_no_job(api, request, name);
}

void api_handle_job(struct http_request *request, void *arg)
{
    api_read(OBJECT(struct api, arg), request, job_then);
}

/* The index comes first: what changes after it is a conflict for an apply that checks it. */
static void defs_then(struct api *api, struct http_request *request)
{
    struct scheduler *s = api->context.scheduler;
    char begin[64];

    snprintf(begin, sizeof(begin), "{\"index\":%" PRIu64 ",\"jobs\":{", scheduler_defs_index(s));
    api_rows_reply(api, request, begin,
                   api_job_rows(scheduler_defs_walk(s, http_query(request, "set")), NULL, true, "}}\n"));
}

void api_handle_defs(struct http_request *request, void *arg)
{
    api_read(OBJECT(struct api, arg), request, defs_then);
}

/* ---- writes ---- */

struct apply_wait {
    struct object object; /* first */
    struct api *api;
    struct http_request *request;
};

static void on_applied(void *arg, int r, struct scheduler_result *result)
{
    struct apply_wait *w = OBJECT(struct apply_wait, arg);
    struct api *api = w->api;

    if (r == 0)
        json_object_update_new(result->reply, json_pack("{s:s,s:s}", "cluster", api->context.cluster, "uuid",
                                                        scheduler_cluster(api->context.scheduler)));
    if (r == ERR_BUSY) {
        http_reply_header(w->request, "Retry-After", "1");
        http_reply_problem(w->request, 429, &result->error, NULL);
    } else {
        api_write_result(api, w->request, r, result);
    }
    http_request_unref(w->request);
    OBJECT_FREE(struct apply_wait, w);
    api_work_end(api);
}

/* 'cluster' of an apply is the name or the UUID of the one that is meant. */
static int check_cluster(const struct api *api, const json_t *body, struct error *error)
{
    const json_t *value = json_object_get(body, "cluster");
    const char *wanted = json_string_value(value), *uuid = scheduler_cluster(api->context.scheduler);

    if (!value)
        return 0;
    if (!wanted)
        return error_set(error, ERR_INVALID, "apply: cluster must be a text");
    if (strcmp(wanted, api->context.cluster) == 0 || strcasecmp(wanted, uuid) == 0)
        return 0;
    return error_set(error, ERR_CONFLICT, "this is the cluster %s (%s), not %.200s", api->context.cluster,
                     uuid, wanted);
}

/* A large one goes on over many turns; the scheduler answers it at the latest when it stops. */
void api_handle_apply(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    json_t *body = json_copy((json_t *)(uintptr_t)http_body(request)); /* NULL: there is none */
    struct apply_wait *w;
    struct error error;

    if (!body) {
        http_reply_error(request, ERR_INVALID, "apply: the body is missing");
        return;
    }
    if (check_cluster(api, body, &error) < 0) {
        http_reply_failure(request, &error);
        json_decref(body);
        return;
    }
    json_object_del(body, "cluster");
    w = calloc(1, sizeof(*w));
    if (!w) {
        json_decref(body);
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    OBJECT_INIT(struct apply_wait, w);
    w->api = api;
    w->request = http_request_ref(request);
    api_work_begin(api);
    scheduler_apply_then(api->context.scheduler, body, http_caller(request)->name, on_applied, w);
    json_decref(body);
}

void api_handle_job_delete(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    struct scheduler_result result = {0};
    int r = scheduler_delete(api->context.scheduler, http_param(request, "job"), http_caller(request)->name,
                             &result);

    api_write_result(api, request, r, &result);
}

static void do_pause(struct api *api, struct http_request *request, const char *job)
{
    const json_t *body = http_body(request);
    struct scheduler_result result = {0};
    int r = api_body_check("pause", body, api_body_pause, api_body_pause_count, &result.error);

    if (r == 0)
        r = scheduler_pause(api->context.scheduler, job, api_body_time(body, "until", 0),
                            json_string_value(json_object_get(body, "reason")), http_caller(request)->name,
                            &result);
    api_write_result(api, request, r, &result);
}

void api_handle_pause(struct http_request *request, void *arg)
{
    do_pause(OBJECT(struct api, arg), request, http_param(request, "job"));
}

void api_handle_pause_all(struct http_request *request, void *arg)
{
    do_pause(OBJECT(struct api, arg), request, NULL);
}

static void do_resume(struct api *api, struct http_request *request, const char *job)
{
    struct scheduler_result result = {0};
    int r = api_body_check("resume", http_body(request), NULL, 0, &result.error);

    if (r == 0)
        r = scheduler_resume(api->context.scheduler, job, http_caller(request)->name, &result);
    api_write_result(api, request, r, &result);
}

void api_handle_resume(struct http_request *request, void *arg)
{
    do_resume(OBJECT(struct api, arg), request, http_param(request, "job"));
}

void api_handle_resume_all(struct http_request *request, void *arg)
{
    do_resume(OBJECT(struct api, arg), request, NULL);
}

void api_handle_trigger(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    struct scheduler_result result = {0};
    int r = scheduler_trigger(api->context.scheduler, http_param(request, "job"), http_body(request),
                              http_caller(request)->name, &result);

    api_write_result(api, request, r, &result);
}

/* ---- backfill: which fire times have run is history's to say ---- */

static void backfill_with(struct api *api, struct http_request *request, json_t *existing)
{
    json_t *body = json_copy((json_t *)(uintptr_t)http_body(request));
    struct scheduler_result result = {0};
    int r = ERR_NOMEM;

    if (!body || (existing && json_object_set(body, "existing", existing) < 0))
        error_set(&result.error, ERR_NOMEM, "out of memory");
    else
        r = scheduler_backfill(api->context.scheduler, http_param(request, "job"), body,
                               http_caller(request)->name, &result);
    api_write_result(api, request, r, &result);
    json_decref(body);
}

/* Where rows are missing it is unknown what ran. The caller must ask to run something a second time. */
static bool history_is_whole(struct http_request *request, const json_t *result)
{
    const char *missing = NULL;

    if (json_integer_value(json_object_get(result, "pruned")) > 0)
        missing = "is no longer kept";
    else if (json_integer_value(json_object_get(result, "gaps")) > 0)
        missing = "has gaps";
    if (missing)
        http_reply_error(
            request, ERR_CONFLICT,
            "the history of %.100s in that range %s, so it is unknown which fire times have run; "
            "'again' runs them all",
            http_param(request, "job"), missing);
    return !missing;
}

static void backfill_then(struct api *api, struct http_request *request, json_t *result, json_t *more)
{
    if (history_is_whole(request, result))
        backfill_with(api, request, json_object_get(result, "times"));
}

static void cancel_backfills(struct api *api, struct http_request *request)
{
    struct scheduler_result result = {0};
    struct error e;
    int r;

    if (api_body_check("backfill", http_body(request), api_body_cancel, 1, &e) < 0) {
        http_reply_failure(request, &e);
        return;
    }
    r = scheduler_cancel_backfills(api->context.scheduler, http_param(request, "job"),
                                   http_caller(request)->name, &result);
    api_write_result(api, request, r, &result);
}

void api_handle_backfill(struct http_request *request, void *arg)
{
    const json_t *body = http_body(request);
    struct history_query query = {.kind = HISTORY_FIRED, .job = http_param(request, "job")};
    struct error e;

    if (json_is_true(json_object_get(body, "cancel"))) {
        cancel_backfills(OBJECT(struct api, arg), request);
        return;
    }
    if (api_body_check("backfill", body, api_body_backfill, api_body_backfill_count, &e) < 0) {
        http_reply_failure(request, &e);
        return;
    }
    if (json_is_true(json_object_get(body, "again"))) {
        backfill_with(OBJECT(struct api, arg), request, NULL);
        return;
    }
    query.since_ms = api_body_time(body, "from", 0) - 1; /* its time begins after it */
    query.until_ms = api_body_time(body, "to", 0);
    api_query(OBJECT(struct api, arg), request, &query, backfill_then, NULL);
}
