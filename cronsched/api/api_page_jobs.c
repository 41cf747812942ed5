/* The page with the list of jobs: the same choice as GET /v1/jobs makes, a page of it. */
#include "cronsched/api/api_page.h"
#include "jobs/state/filter.h"

#include <stdlib.h>
#include <string.h>

#define FIELDS                                                                                               \
    (SCHEDULER_JOB_FIELDS_LISTED | SCHEDULER_JOB_FIELD(DESCRIBE) | SCHEDULER_JOB_FIELD(DESCRIPTION) |        \
     SCHEDULER_JOB_FIELD(OWNER) | SCHEDULER_JOB_FIELD(LABELS) | SCHEDULER_JOB_FIELD(STRIP) |                 \
     SCHEDULER_JOB_FIELD(FAILURES) | SCHEDULER_JOB_FIELD(RUNNING) | SCHEDULER_JOB_FIELD(HEALTH))

struct jobs_page {
    struct api_rows rows; /* first */
    struct api *api;
    struct http_request *request;
    struct scheduler_job_page *page;
    json_t *model; /* what was asked for */
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

static int jobs_page_next(struct api_rows *rows, struct text *text)
{
    struct jobs_page *p = (struct jobs_page *)(void *)rows;
    int r = scheduler_job_page_step(p->page);
    char cursor[SCHEDULER_CURSOR_SIZE];
    json_t *model = p->model;

    if (r != 1)
        return r;
    json_object_set_new(model, "jobs", rows_of(p->page));
    json_object_set_new(model, "total", json_integer((json_int_t)scheduler_job_page_total(p->page)));
    if (scheduler_job_page_cursor(p->page, cursor, sizeof(cursor)))
        json_object_set_new(model, "next", json_string(cursor));
    p->model = NULL;
    r = api_page_text(p->api, p->request, &page_jobs, "Jobs", model, text);
    return r < 0 ? r : 1;
}

static bool jobs_page_release(struct api_rows *rows)
{
    struct jobs_page *p = (struct jobs_page *)(void *)rows;

    scheduler_job_page_free(p->page);
    json_decref(p->model);
    http_request_unref(p->request);
    free(p);
    return true;
}

/* What is wrong with the filter or the cursor is said on the page, above no rows: what was typed stays there. */
static void reply_wrong(struct api *api, struct http_request *request, json_t *model,
                        const struct error *error)
{
    json_object_set_new(model, "error", json_string(error->text));
    api_page_reply(api, request, 400, &page_jobs, "Jobs", model);
}

static void jobs_then(struct api *api, struct http_request *request)
{
    static const char *const orders[] = {"next", "name", "last", "failures"};
    static const char *const directions[] = {"asc", "desc"};
    const char *q = api_query_text(request, "q"), *sort = "next", *direction = NULL;
    struct scheduler_job_page_query query = {.fields = FIELDS, .after = api_query_text(request, "after")};
    int limit = API_PAGE_ROWS;
    struct jobs_page *p;
    struct error e = {0};
    json_t *model;

    if (!api_query_word(request, "sort", orders, 4, &sort) ||
        !api_query_word(request, "order", directions, 2, &direction) ||
        !api_query_int(request, "limit", 1, 200, &limit))
        return;
    while (strcmp(orders[query.order], sort) != 0)
        query.order++;
    query.limit = (size_t)limit;
    query.descending = direction ? strcmp(direction, "desc") == 0 : query.order >= SCHEDULER_BY_LAST;
    model = json_pack("{s:s,s:s,s:s}", "q", q ? q : "", "sort", sort, "order", directions[query.descending]);
    if (filter_new(&query.filter, q, FILTER_JOBS, &e) < 0) {
        reply_wrong(api, request, model, &e);
        return;
    }
    p = calloc(1, sizeof(*p));
    if (!p || scheduler_job_page_new(&p->page, api->context.scheduler, &query, &e) < 0) {
        filter_free(query.filter);
        reply_wrong(api, request, model, &e);
        free(p);
        return;
    }
    p->rows = (struct api_rows){jobs_page_next, jobs_page_release, .type = "text/html; charset=utf-8",
                                .whole = API_PAGE_BYTES_MAX};
    p->api = api;
    p->request = http_request_ref(request);
    p->model = model;
    api_page_headers(request);
    api_rows_reply(api, request, "", &p->rows);
}

void api_page_jobs(struct http_request *request, void *arg)
{
    api_read(OBJECT(struct api, arg), request, jobs_then);
}
