/* Runs: the live ones before the stored ones. See api_run_list.h.
 *
 * Happy path: history is asked for the stored rows, which it chooses off the loop; when it has answered the live ones are chosen, so
 * that what ends in between is in both, and the two are merged as they are read.
 */
#include "cronsched/api/api_run_list.h"
#include "jobs/base/near.h"
#include "jobs/state/record.h"
#include "jobs/state/run_id.h"
#include "jobs/time/instant.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CURSOR "1r." /* and the id of the last run of the page before */

const char *api_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

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

/* ---- what is asked for ---- */

static int read_word(struct http_request *request, const char *key, const char *const *words, size_t count,
                     const char **ret, struct error *error)
{
    const char *text = api_query_text(request, key);
    char hint[NEAR_HINT_BUFFER];

    for (size_t i = 0; text && i < count; i++) {
        if (strcmp(words[i], text) == 0) {
            *ret = words[i];
            return 0;
        }
    }
    return text ? error_set(error, ERR_INVALID, "%s: there is no '%.32s'%s", key, text,
                            near_hint(near_find(text, words, count), hint, sizeof(hint)))
                : 0;
}

static int read_time(struct http_request *request, const char *key, int64_t *ret, struct error *error)
{
    const char *text = api_query_text(request, key);
    int rc = text ? instant_parse(text, ret, error) : 0;

    if (rc < 0)
        error_prefix(error, "%s: ", key);
    return rc;
}

static int read_limit(struct http_request *request, size_t most, size_t *ret, struct error *error)
{
    const char *text = api_query_text(request, "limit");
    char *end;
    long n;

    if (!text)
        return 0;
    errno = 0;
    n = strtol(text, &end, 10);
    if (end == text || *end || errno || n < 1 || (size_t)n > most)
        return error_set(error, ERR_INVALID, "limit: '%.32s' is not a whole number from 1 to %zu", text,
                         most);
    *ret = (size_t)n;
    return 0;
}

static int read_filter(struct run_query *q, struct http_request *request, struct error *error)
{
    static const char *const terms[] = {"cause", "by", "engine"};
    int rc = filter_new(&q->filter, api_query_text(request, "q"), FILTER_RUNS, error);

    for (size_t i = 0; rc == 0 && i < sizeof(terms) / sizeof(terms[0]); i++) {
        const char *value = api_query_text(request, terms[i]);

        rc = value ? filter_add(q->filter, terms[i], value, error) : 0;
    }
    if (rc == 0 && filter_is_empty(q->filter)) {
        filter_free(q->filter);
        q->filter = NULL;
    }
    return rc;
}

static int read_cursor(struct run_query *q, struct http_request *request, struct error *error)
{
    const char *cursor = api_query_text(request, "after"), *id;
    char job[RUN_ID_MAX];
    bool has_ms;

    if (!cursor)
        return 0;
    id = cursor + strlen(CURSOR);
    if (strncmp(cursor, CURSOR, strlen(CURSOR)) != 0 || run_id_parse(id, job, &q->before_ms, &has_ms) < 0 ||
        strlen(id) >= sizeof(q->before))
        return error_set(error, ERR_INVALID,
                         "after: this is no cursor of the list of runs; begin without one");
    snprintf(q->before, sizeof(q->before), "%s", id);
    return 0;
}

static int read_fields(struct run_query *q, struct http_request *request, struct error *error)
{
    static const char *const known[] = {"run",     "job",   "fire_time", "cause",     "state",    "verdict",
                                        "started", "ended", "params",    "exit_code", "attempts", "retry_at",
                                        "due",     "by",    "text",      "count"};
    const char *list = q->fields = api_query_text(request, "fields");

    while (list && *list) {
        size_t n = strcspn(list, ","), i = 0;
        char name[40], hint[NEAR_HINT_BUFFER];

        snprintf(name, sizeof(name), "%.*s", n < sizeof(name) ? (int)n : (int)sizeof(name) - 1, list);
        while (i < sizeof(known) / sizeof(known[0]) && strcmp(known[i], name) != 0)
            i++;
        if (i == sizeof(known) / sizeof(known[0]))
            return error_set(error, ERR_INVALID, "fields: there is no '%s'%s", name,
                             near_hint(near_find(name, known, i), hint, sizeof(hint)));
        list += n + (list[n] == ',');
    }
    return 0;
}

int api_run_query_init(struct run_query *q, struct http_request *request, size_t limit, size_t limit_max,
                       struct error *error)
{
    const char *states[RUN_STATE_COUNT], *verdicts[VERDICT_COUNT - 1];
    int rc;

    for (int i = 0; i < RUN_STATE_COUNT; i++)
        states[i] = run_state_name((enum run_state)i);
    for (int i = 1; i < VERDICT_COUNT; i++)
        verdicts[i - 1] = run_verdict_name((enum run_verdict)i);
    *q = (struct run_query){.job = api_query_text(request, "job"), .limit = limit};
    rc = read_word(request, "state", states, RUN_STATE_COUNT, &q->state, error);
    rc = rc < 0 ? rc : read_word(request, "verdict", verdicts, VERDICT_COUNT - 1, &q->verdict, error);
    rc = rc < 0 ? rc : read_time(request, "since", &q->since_ms, error);
    rc = rc < 0 ? rc : read_time(request, "until", &q->until_ms, error);
    rc = rc < 0 ? rc : read_limit(request, limit_max, &q->limit, error);
    rc = rc < 0 ? rc : read_cursor(q, request, error);
    rc = rc < 0 ? rc : read_fields(q, request, error);
    rc = rc < 0 ? rc : read_filter(q, request, error);
    if (rc < 0)
        api_run_query_release(q);
    return rc;
}

void api_run_query_release(struct run_query *q)
{
    filter_free(q->filter);
    q->filter = NULL;
}

/* ---- the choice ---- */

/* Live rows come first at the same instant, as their ids do. */
static bool is_live_next(const struct run_choice *c, size_t live, size_t stored)
{
    const char *id = api_text(json_array_get(c->stored, stored), "run");
    int64_t at_ms = instant_of(id);

    if (live == c->live_count || stored == json_array_size(c->stored))
        return live < c->live_count;
    if (c->live[live].at_ms != at_ms)
        return c->live[live].at_ms > at_ms;
    return strcmp(c->live[live].id, id) > 0;
}

json_t *api_runs_take(struct run_choice *c, bool *ret_end)
{
    json_t *row;

    *ret_end = c->left == 0 || (c->live_at == c->live_count && c->stored_at == json_array_size(c->stored));
    if (*ret_end)
        return NULL;
    c->left--;
    if (is_live_next(c, c->live_at, c->stored_at))
        return scheduler_run_json(c->api->context.scheduler, c->live[c->live_at++].id);
    row = json_incref(json_array_get(c->stored, c->stored_at));
    json_array_set_new(c->stored, c->stored_at++, json_null());
    return row;
}

bool api_runs_release(struct run_choice *c)
{
    for (int i = 0; i < API_ROWS_PIECE && c->stored_at < json_array_size(c->stored); i++)
        json_array_set_new(c->stored, c->stored_at++, json_null());
    if (c->stored_at < json_array_size(c->stored))
        return false;
    scheduler_run_ids_free(c->live, c->live_count);
    json_decref(c->stored);
    return true;
}

/* A stored row that the live state knows better is out, whether the live one matches or not. Where the search for rows ended
 * before all were looked at, `ret_next` gets that place. */
static json_t *without_live(struct api *api, json_t *stored, char ret_next[RUN_CURSOR_SIZE])
{
    json_t *out = json_array(), *run;
    size_t i;

    json_array_foreach(stored, i, run)
    {
        if (json_is_string(run))
            snprintf(ret_next, RUN_CURSOR_SIZE, CURSOR "%s", json_string_value(run));
        else if (!scheduler_run_is_live(api->context.scheduler, api_text(run, "run")))
            json_array_append(out, run);
    }
    json_array_clear(stored); /* the rows have one owner */
    return out;
}

/* The last row of the page, by ids alone. */
static void find_next(struct run_choice *c)
{
    const char *last = "";
    size_t live = 0, stored = 0;

    if (c->live_count + json_array_size(c->stored) <= c->left)
        return;
    for (size_t i = 0; i < c->left; i++) {
        if (is_live_next(c, live, stored))
            last = c->live[live++].id;
        else
            last = api_text(json_array_get(c->stored, stored++), "run");
    }
    c->more = true;
    snprintf(c->next, sizeof(c->next), CURSOR "%s", last);
}

static void on_stored(struct api *api, struct http_request *request, json_t *stored, void *arg)
{
    struct run_asked *a = arg;
    const struct run_query *q = &a->query;
    struct run_choice c = {.api = api, .left = q->limit};
    struct scheduler_run_filter f = {q->job, q->state, q->verdict, q->since_ms, q->until_ms, NULL, q->filter};

    if (q->before[0]) {
        f.before = q->before;
        f.until_ms = q->before_ms;
    }
    c.live = scheduler_run_ids(api->context.scheduler, &f, q->limit + 1, &c.live_count);
    c.stored = without_live(api, stored, c.next);
    c.more = c.next[0];
    find_next(&c);
    a->then(api, request, &c, q);
}

static void asked_free(void *arg)
{
    struct run_asked *a = arg;

    api_run_query_release(&a->query);
    free(a);
}

static bool matches(const void *filter, const json_t *run)
{
    return filter_run(filter, run);
}

/* One row more than asked for shows that there are more; live rows may displace as many stored ones. */
void api_runs_ask(struct api *api, struct http_request *request, const struct run_asked *asked)
{
    const struct run_query *q = &asked->query;
    struct history_query h = {.kind = HISTORY_RUNS,
                              .job = q->job,
                              .state = q->state,
                              .verdict = q->verdict,
                              .since_ms = q->since_ms,
                              .until_ms = q->until_ms};
    struct run_asked *copy = malloc(sizeof(*copy));
    size_t limit = q->limit + 1 + scheduler_run_count(api->context.scheduler, q->job);

    if (!copy) {
        filter_free(asked->query.filter);
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    *copy = *asked;
    if (q->before[0]) {
        h.before = q->before;
        if (!h.until_ms || q->before_ms < h.until_ms)
            h.until_ms = q->before_ms;
    }
    if (q->filter) {
        h.match = matches;
        h.match_arg = copy->query.filter;
    }
    h.limit = limit <= HISTORY_ROWS_MAX ? (int)limit : HISTORY_ROWS_MAX + 1;
    api_query_with(api, request, &h, on_stored, asked_free, copy);
}

/* ---- GET /v1/runs ---- */

struct run_rows {
    struct api_rows rows; /* first */
    struct run_choice choice;
    char *fields; /* NULL: all */
    bool begun;
};

/* Those fields alone. Takes the reference and returns one. */
static json_t *pick(json_t *row, const char *fields)
{
    json_t *out;

    if (!fields)
        return row;
    out = json_object();
    while (*fields) {
        size_t n = strcspn(fields, ",");
        char name[40];

        snprintf(name, sizeof(name), "%.*s", (int)n, fields);
        if (json_object_get(row, name))
            json_object_set(out, name, json_object_get(row, name));
        fields += n + (fields[n] == ',');
    }
    json_decref(row);
    return out;
}

static int run_rows_next(struct api_rows *rows, struct text *text)
{
    struct run_rows *r = (struct run_rows *)(void *)rows;
    int rc = 0;

    for (int i = 0; i < API_ROWS_PIECE && rc == 0; i++) {
        bool end;
        json_t *row = api_runs_take(&r->choice, &end);

        if (end) {
            text_add(text, "]\n");
            return 1;
        }
        if (!row)
            continue;
        row = pick(row, r->fields);
        rc = api_rows_add(rows, text, r->begun ? "," : "", row);
        r->begun = true;
        json_decref(row);
    }
    return rc;
}

static bool run_rows_release(struct api_rows *rows)
{
    struct run_rows *r = (struct run_rows *)(void *)rows;

    if (!api_runs_release(&r->choice))
        return false;
    free(r->fields);
    free(r);
    return true;
}

static void reply_rows(struct api *api, struct http_request *request, struct run_choice *choice,
                       const struct run_query *query)
{
    struct run_rows *r = calloc(1, sizeof(*r));

    if (!r) {
        while (!api_runs_release(choice))
            ;
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    *r = (struct run_rows){.rows = {run_rows_next, run_rows_release},
                           .choice = *choice,
                           .fields = query->fields ? strdup(query->fields) : NULL};
    if (choice->more) {
        http_reply_header(request, "Cronsched-More", "true");
        http_reply_header(request, "Cronsched-Next", choice->next);
    }
    api_rows_reply(api, request, "[", &r->rows);
}

static void runs_then(struct api *api, struct http_request *request)
{
    struct run_asked asked = {.then = reply_rows};
    struct error e;

    if (api_run_query_init(&asked.query, request, API_RUNS_LIMIT, HISTORY_ROWS_MAX, &e) < 0)
        http_reply_failure(request, &e);
    else
        api_runs_ask(api, request, &asked);
}

void api_handle_runs(struct http_request *request, void *arg)
{
    struct run_query q;
    struct error e;

    if (api_run_query_init(&q, request, API_RUNS_LIMIT, HISTORY_ROWS_MAX, &e) <
        0) { /* what is wrong needs no waiting */
        http_reply_failure(request, &e);
        return;
    }
    api_run_query_release(&q);
    api_read(OBJECT(struct api, arg), request, runs_then);
}
