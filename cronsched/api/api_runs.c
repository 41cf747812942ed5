/* Runs: the live ones before the stored ones. */
#include "cronsched/api/api_priv.h"
#include "jobs/state/record.h"
#include "jobs/state/run_id.h"

#include <stdlib.h>
#include <string.h>

static const char *const state_words[] = {"waiting",  "armed",      "starting", "running",
                                          "retrying", "unresolved", "ended",    "skipped"};
static const char *const verdict_words[] = {"succeeded", "failed",     "timed-out",   "killed", "lost",
                                            "overlap",   "paused",     "deadline",    "missed", "coalesced",
                                            "deleted",   "queue-full", "journal-lost"};

/* What was asked for. */
struct filter {
    const char *job, *state, *verdict;
    int64_t since_ms, until_ms;
    int limit;
};

static bool read_filter(struct http_request *request, struct filter *f)
{
    *f = (struct filter){.job = http_query(request, "job"), .limit = API_RUNS_LIMIT};
    return api_query_word(request, "state", state_words, sizeof(state_words) / sizeof(state_words[0]),
                          &f->state) &&
           api_query_word(request, "verdict", verdict_words, sizeof(verdict_words) / sizeof(verdict_words[0]),
                          &f->verdict) &&
           api_query_time(request, "since", &f->since_ms) && api_query_time(request, "until", &f->until_ms) &&
           api_query_int(request, "limit", 1, HISTORY_ROWS_MAX, &f->limit);
}

static const char *text_of(const json_t *run, const char *key)
{
    const char *text = json_string_value(json_object_get(run, key));

    return text ? text : "";
}

/* The instant in the id: the order of listings. */
static int64_t instant_of(const char *id)
{
    char job[RUN_ID_MAX];
    int64_t at_ms = 0;
    bool has_ms;

    return run_id_parse(id, job, &at_ms, &has_ms) == 0 ? at_ms : 0;
}

/* Live runs and stored rows, both newest first, being merged. */
struct run_rows {
    struct api_rows rows; /* first */
    struct api *api;
    struct scheduler_run_id *live; /* NULL: none */
    size_t live_count, live_at;
    json_t *stored; /* those that the live state does not know better; NULL before history has answered */
    size_t stored_at, left; /* rows that may still be added */
    bool begun;
};

/* Live rows come first at the same instant, as their ids do. */
static bool is_live_next(const struct run_rows *r)
{
    const char *stored = text_of(json_array_get(r->stored, r->stored_at), "run");
    int64_t at_ms = instant_of(stored);

    if (r->live_at == r->live_count || r->stored_at == json_array_size(r->stored))
        return r->live_at < r->live_count;
    if (r->live[r->live_at].at_ms != at_ms)
        return r->live[r->live_at].at_ms > at_ms;
    return strcmp(r->live[r->live_at].id, stored) > 0;
}

/* A new reference; NULL: it has ended and gone meanwhile. */
static json_t *take_row(struct run_rows *r)
{
    json_t *row;

    if (is_live_next(r))
        return scheduler_run_json(r->api->context.scheduler, r->live[r->live_at++].id);
    row = json_incref(json_array_get(r->stored, r->stored_at));
    json_array_set_new(r->stored, r->stored_at++, json_null());
    return row;
}

static int run_rows_next(struct api_rows *rows, struct text *text)
{
    struct run_rows *r = (struct run_rows *)(void *)rows;
    int rc = 0;

    for (int i = 0; i < API_ROWS_PIECE && rc == 0; i++) {
        json_t *row;

        if (r->left == 0 || (r->live_at == r->live_count && r->stored_at == json_array_size(r->stored))) {
            text_add(text, "]\n");
            return 1;
        }
        row = take_row(r);
        r->left--;
        if (row)
            rc = api_rows_add(rows, text, r->begun ? "," : "", row);
        r->begun = r->begun || row;
        json_decref(row);
    }
    return rc;
}

static bool run_rows_release(struct api_rows *rows)
{
    struct run_rows *r = (struct run_rows *)(void *)rows;

    for (int i = 0; i < API_ROWS_PIECE && r->stored_at < json_array_size(r->stored); i++)
        json_array_set_new(r->stored, r->stored_at++, json_null());
    if (r->stored_at < json_array_size(r->stored))
        return false;
    scheduler_run_ids_free(r->live, r->live_count);
    json_decref(r->stored);
    free(r);
    return true;
}

/* A stored row that the live state knows better is out, whether the live one matches or not. */
static json_t *without_live(struct api *api, json_t *stored)
{
    json_t *out = json_array(), *run;
    size_t i;

    json_array_foreach(stored, i, run)
    {
        if (!scheduler_run_is_live(api->context.scheduler, text_of(run, "run")))
            json_array_append(out, run);
    }
    json_array_clear(stored); /* the rows have one owner */
    return out;
}

/* The live rows are chosen when history has answered: what ends in between is in both, and what has ended before is there. */
static void runs_have(struct api *api, struct http_request *request, json_t *stored, json_t *unused)
{
    struct run_rows *r = calloc(1, sizeof(*r));
    struct filter f;

    if (!r || !read_filter(request, &f)) {
        free(r);
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    *r = (struct run_rows){.rows = {run_rows_next, run_rows_release}, .api = api, .left = (size_t)f.limit};
    r->live =
        scheduler_run_ids(api->context.scheduler,
                          &(struct scheduler_run_filter){f.job, f.state, f.verdict, f.since_ms, f.until_ms},
                          r->left + 1, &r->live_count);
    r->stored = without_live(api, stored);
    if (r->live_count + json_array_size(r->stored) > r->left)
        http_reply_header(request, "Cronsched-More", "true");
    api_rows_reply(api, request, "[", &r->rows);
}

/* One row more than asked for shows that there are more; live rows may displace as many stored ones. */
static void runs_then(struct api *api, struct http_request *request)
{
    struct history_query query = {.kind = HISTORY_RUNS};
    struct filter f;
    size_t limit;

    if (!read_filter(request, &f))
        return;
    query.job = f.job;
    query.state = f.state;
    query.verdict = f.verdict;
    query.since_ms = f.since_ms;
    query.until_ms = f.until_ms;
    limit = (size_t)f.limit + 1 + scheduler_run_count(api->context.scheduler, f.job);
    query.limit = limit < HISTORY_ROWS_MAX ? (int)limit : HISTORY_ROWS_MAX;
    api_query(api, request, &query, runs_have, NULL);
}

void api_handle_runs(struct http_request *request, void *arg)
{
    struct filter f;

    if (read_filter(request, &f)) /* what is wrong needs no waiting */
        api_read(OBJECT(struct api, arg), request, runs_then);
}

/* ---- one ---- */

json_t *api_find_run(json_t *runs, const char *id)
{
    json_t *run;
    size_t i;

    if (json_is_object(runs))
        return strcmp(text_of(runs, "run"), id) == 0 ? runs : NULL;
    json_array_foreach(runs, i, run) if (strcmp(text_of(run, "run"), id) == 0) return run;
    return NULL;
}

static void run_have(struct api *api, struct http_request *request, json_t *stored, json_t *more)
{
    const char *id = http_param(request, "run");
    json_t *run = api_find_run(stored, id);

    if (run)
        http_reply_json(request, 200, json_incref(run));
    else if (!api_pass_on(api, request))
        http_reply_error(request, ERR_NOT_FOUND, "no run %s", id);
}

static void run_then(struct api *api, struct http_request *request)
{
    struct history_query query = {.kind = HISTORY_RUN, .run = http_param(request, "run")};
    json_t *run = scheduler_run_json(api->context.scheduler, query.run);

    if (run)
        http_reply_json(request, 200, run);
    else
        api_query(api, request, &query, run_have, NULL);
}

void api_handle_run(struct http_request *request, void *arg)
{
    if (api_param_run(request, http_param(request, "run")))
        api_read(OBJECT(struct api, arg), request, run_then);
}

void api_handle_kill(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    struct scheduler_result result = {0};
    int r = api_body_check("kill", http_body(request), NULL, 0, &result.error);

    if (r == 0)
        r = scheduler_kill(api->context.scheduler, http_param(request, "run"), http_caller(request)->name,
                           &result);
    api_write_result(api, request, r, &result);
}
