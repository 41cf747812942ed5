/* The page Now: a few short lists, and how many there are of each kind. */
#include "cronsched/api/api_page.h"
#include "jobs/state/filter.h"

#include <stdlib.h>
#include <string.h>

#define LIST_ROWS   10
#define RUNNING_MAX 20

static const struct {
    const char *q, *count, *list; /* list NULL: only their number counts */
    enum scheduler_job_order order;
    bool descending;
} parts[] = {
    {"state:failing", "failing", "failing", SCHEDULER_BY_LAST, true},
    {"paused:no", NULL, "next", SCHEDULER_BY_NEXT, false},
    {"", "jobs", NULL, SCHEDULER_BY_NAME, false},
    {"state:running", "running", NULL, SCHEDULER_BY_NAME, false},
    {"paused:yes", "paused", NULL, SCHEDULER_BY_NAME, false},
    {"state:never", "never", NULL, SCHEDULER_BY_NAME, false},
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

struct now_page {
    struct api_rows rows; /* first */
    struct api *api;
    struct http_request *request;
    struct scheduler_job_page *pages[PARTS];
    size_t at; /* which is being looked for */
};

static json_t *rows_of(struct scheduler_job_page *page)
{
    json_t *rows = json_array(), *row;

    for (size_t i = 0; (row = scheduler_job_page_row(page, i)); i++) {
        if (json_is_object(row))
            json_array_append_new(rows, row);
        else
            json_decref(row);
    }
    return rows;
}

static json_t *running_of(struct scheduler *s)
{
    struct scheduler_run_filter all = {0};
    size_t count = 0;
    struct scheduler_run_id *ids = scheduler_run_ids(s, &all, RUNNING_MAX, &count);
    json_t *rows = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *run = scheduler_run_json(s, ids[i].id);

        if (run)
            json_array_append_new(rows, run);
    }
    scheduler_run_ids_free(ids, count);
    return rows;
}

static int now_next(struct api_rows *rows, struct text *text)
{
    struct now_page *p = (struct now_page *)(void *)rows;
    int r = scheduler_job_page_step(p->pages[p->at]);
    json_t *model, *counts;

    if (r != 1)
        return r;
    if (++p->at < PARTS)
        return 0;
    model = json_object();
    counts = json_object();
    for (size_t i = 0; i < PARTS; i++) {
        if (parts[i].count)
            json_object_set_new(counts, parts[i].count,
                                json_integer((json_int_t)scheduler_job_page_total(p->pages[i])));
        if (parts[i].list)
            json_object_set_new(model, parts[i].list, rows_of(p->pages[i]));
    }
    json_object_set_new(model, "counts", counts);
    json_object_set_new(model, "running", running_of(p->api->context.scheduler));
    r = api_page_text(p->api, p->request, &page_now, "Now", model, text);
    return r < 0 ? r : 1;
}

static bool now_release(struct api_rows *rows)
{
    struct now_page *p = (struct now_page *)(void *)rows;

    for (size_t i = 0; i < PARTS; i++)
        scheduler_job_page_free(p->pages[i]);
    http_request_unref(p->request);
    free(p);
    return true;
}

static int begin_part(struct now_page *p, size_t i, struct error *error)
{
    struct scheduler_job_page_query query = {.order = parts[i].order,
                                             .descending = parts[i].descending,
                                             .limit = parts[i].list ? LIST_ROWS : 1,
                                             .fields = SCHEDULER_JOB_FIELDS_LISTED |
                                                       SCHEDULER_JOB_FIELD(FAILURES)};
    int r = filter_new(&query.filter, parts[i].q, FILTER_JOBS, error);

    if (r == 0)
        r = scheduler_job_page_new(&p->pages[i], p->api->context.scheduler, &query, error);
    return r;
}

static void now_then(struct api *api, struct http_request *request)
{
    struct now_page *p = calloc(1, sizeof(*p));
    struct error e;
    int r = p ? 0 : error_set(&e, ERR_NOMEM, "out of memory");

    if (p) {
        p->rows = (struct api_rows){now_next, now_release, .type = "text/html; charset=utf-8",
                                    .whole = API_PAGE_BYTES_MAX};
        p->api = api;
        p->request = http_request_ref(request);
    }
    for (size_t i = 0; r == 0 && i < PARTS; i++)
        r = begin_part(p, i, &e);
    if (r < 0) {
        if (p)
            now_release(&p->rows);
        http_reply_failure(request, &e);
        return;
    }
    api_page_headers(request);
    api_rows_reply(api, request, "", &p->rows);
}

void api_page_now(struct http_request *request, void *arg)
{
    api_read(OBJECT(struct api, arg), request, now_then);
}
