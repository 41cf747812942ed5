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

static bool matches(const struct filter *f, const json_t *run, int64_t at_ms)
{
    return (!f->state || strcmp(f->state, text_of(run, "state")) == 0) &&
           (!f->verdict || strcmp(f->verdict, text_of(run, "verdict")) == 0) &&
           (!f->since_ms || at_ms >= f->since_ms) && (!f->until_ms || at_ms <= f->until_ms);
}

struct row {
    int64_t at_ms;
    const char *id;
    json_t *run; /* borrowed */
};

static int newest_first(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    if (x->at_ms != y->at_ms)
        return x->at_ms > y->at_ms ? -1 : 1;
    return strcmp(y->id, x->id); /* as history orders them */
}

static void add_row(struct row *rows, size_t *n, json_t *run)
{
    const char *id = text_of(run, "run");

    rows[(*n)++] = (struct row){instant_of(id), id, run};
}

/* A stored row that the live state knows better is out, whether the live one matches or not. */
static json_t *merge(const json_t *live, const json_t *stored, const struct filter *f, bool *ret_more)
{
    struct row *rows = calloc(json_array_size(live) + json_array_size(stored) + 1, sizeof(*rows));
    json_t *known = json_object(), *out = json_array(), *run;
    size_t i, n = 0;

    json_array_foreach(live, i, run)
    {
        const char *id = text_of(run, "run");

        json_object_set(known, id, run);
        if (rows && matches(f, run, instant_of(id)))
            add_row(rows, &n, run);
    }
    json_array_foreach(stored, i, run)
    {
        if (rows && !json_object_get(known, text_of(run, "run")))
            add_row(rows, &n, run);
    }
    if (rows)
        qsort(rows, n, sizeof(*rows), newest_first);
    for (i = 0; i < n && i < (size_t)f->limit; i++)
        json_array_append(out, rows[i].run);
    *ret_more = n > (size_t)f->limit;
    json_decref(known);
    if (!rows) {
        json_decref(out);
        return NULL;
    }
    free(rows);
    return out;
}

static void runs_have(struct api *api, struct http_request *request, json_t *stored, json_t *live)
{
    struct filter f;
    json_t *out;
    bool more = false;

    if (!read_filter(request, &f))
        return;
    out = merge(live, stored, &f, &more);
    if (more)
        http_reply_header(request, "Cronsched-More", "true");
    http_reply_json(request, 200, out);
}

/* The live rows are taken before history is asked: what ends meanwhile is then in one of the two. One row
 * more than asked for shows that there are more; live rows may displace as many stored ones. */
static void runs_then(struct api *api, struct http_request *request)
{
    struct history_query query = {.kind = HISTORY_RUNS};
    struct filter f;
    json_t *live;
    size_t limit;

    if (!read_filter(request, &f))
        return;
    live = scheduler_runs_json(api->context.scheduler, f.job, NULL);
    limit = (size_t)f.limit + 1 + json_array_size(live);
    query.job = f.job;
    query.state = f.state;
    query.verdict = f.verdict;
    query.since_ms = f.since_ms;
    query.until_ms = f.until_ms;
    query.limit = limit < HISTORY_ROWS_MAX ? (int)limit : HISTORY_ROWS_MAX;
    api_query(api, request, &query, runs_have, live);
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
    else
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
