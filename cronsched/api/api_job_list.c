/* The list of jobs: all of them, or those that a filter finds, a page at a time. */
#include "cronsched/api/api_priv.h"
#include "jobs/state/filter.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What was asked for. */
struct job_list {
    struct filter *filter;
    uint64_t fields;
    bool paged;
    struct scheduler_job_page_query page; /* its filter is set when the page is made */
};

static const char *const order_words[] = {"next", "name", "last", "failures"};
static const char *const direction_words[] = {"asc", "desc"};

/* Keys that are one term of the filter each. */
static const char *const term_keys[] = {"set", "label", "state"};

static bool read_filter(struct http_request *request, struct job_list *list)
{
    struct error e;
    int r = filter_new(&list->filter, api_query_text(request, "q"), FILTER_JOBS, &e);

    for (size_t i = 0; r == 0 && i < sizeof(term_keys) / sizeof(term_keys[0]); i++) {
        const char *value = api_query_text(request, term_keys[i]);

        r = value ? filter_add(list->filter, term_keys[i], value, &e) : 0;
    }
    if (r < 0)
        http_reply_failure(request, &e);
    return r == 0;
}

static bool read_fields(struct http_request *request, struct job_list *list)
{
    const char *fields = api_query_text(request, "fields");
    struct error e;

    list->fields = list->paged ? SCHEDULER_JOB_FIELDS_ALL : SCHEDULER_JOB_FIELDS_LISTED;
    if (!fields || scheduler_job_fields(fields, &list->fields, &e) == 0)
        return true;
    http_reply_failure(request, &e);
    return false;
}

static size_t index_of(const char *word, const char *const *words)
{
    size_t i = 0;

    while (strcmp(words[i], word) != 0)
        i++;
    return i;
}

/* A list in an order that was asked for comes in pages. */
static bool read_page(struct api *api, struct http_request *request, struct job_list *list)
{
    const char *sort = NULL, *order = NULL, *stale = api_query_text(request, "stale");
    int limit = 0;
    int64_t stale_ms = 0;

    if (!api_query_int(request, "limit", 1, API_JOB_PAGE_MAX, &limit) ||
        !api_query_word(request, "sort", order_words, 4, &sort) ||
        !api_query_word(request, "order", direction_words, 2, &order) ||
        !api_query_duration(request, "stale", &stale_ms))
        return false;
    list->page.after = api_query_text(request, "after");
    list->page.order = sort ? (enum scheduler_job_order)index_of(sort, order_words) : SCHEDULER_BY_NEXT;
    list->page.descending = order ? strcmp(order, "desc") == 0 : list->page.order >= SCHEDULER_BY_LAST;
    list->page.stale_before_ms = stale ? api->context.wall_ms(api->context.arg) - stale_ms : 0;
    list->paged = limit || sort || order || stale || list->page.after;
    list->page.limit = limit ? (size_t)limit : API_JOB_PAGE_MAX;
    return true;
}

/* False: it is answered with what is wrong, and nothing is held. */
static bool read_list(struct api *api, struct http_request *request, struct job_list *list)
{
    *list = (struct job_list){0};
    if (read_filter(request, list) && read_page(api, request, list) && read_fields(request, list))
        return true;
    filter_free(list->filter);
    return false;
}

/* ---- a page ---- */

struct page_rows {
    struct api_rows rows; /* first */
    struct http_request *request;
    struct scheduler_job_page *page;
    bool found, begun;
    size_t at;
};

static void tell_page(struct page_rows *p)
{
    char text[SCHEDULER_CURSOR_SIZE];

    snprintf(text, sizeof(text), "%zu", scheduler_job_page_total(p->page));
    http_reply_header(p->request, "Cronsched-Total", text);
    if (scheduler_job_page_cursor(p->page, text, sizeof(text)))
        http_reply_header(p->request, "Cronsched-Next", text);
}

static int page_rows_next(struct api_rows *rows, struct text *text)
{
    struct page_rows *p = (struct page_rows *)(void *)rows;
    int r = 0;

    if (!p->found) {
        r = scheduler_job_page_step(p->page);
        p->found = r == 1;
        if (p->found)
            tell_page(p);
        return r < 0 ? r : 0;
    }
    for (int i = 0; i < API_ROWS_PIECE && r == 0; i++) {
        json_t *row = scheduler_job_page_row(p->page, p->at++);

        if (!row) {
            text_add(text, "]\n");
            return 1;
        }
        if (json_is_object(row))
            r = api_rows_add(rows, text, p->begun ? "," : "", row);
        p->begun = p->begun || json_is_object(row);
        json_decref(row);
    }
    return r;
}

static bool page_rows_release(struct api_rows *rows)
{
    struct page_rows *p = (struct page_rows *)(void *)rows;

    http_request_unref(p->request);
    scheduler_job_page_free(p->page);
    free(p);
    return true;
}

static void reply_page(struct api *api, struct http_request *request, struct job_list *list)
{
    struct page_rows *p = calloc(1, sizeof(*p));
    struct error e;

    if (!p) {
        filter_free(list->filter);
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    list->page.filter = list->filter;
    list->page.fields = list->fields;
    if (scheduler_job_page_new(&p->page, api->context.scheduler, &list->page, &e) < 0) {
        filter_free(list->filter);
        free(p);
        http_reply_failure(request, &e);
        return;
    }
    p->rows = (struct api_rows){page_rows_next, page_rows_release};
    p->request = http_request_ref(request);
    api_rows_reply(api, request, "[", &p->rows);
}

/* ---- all of them ---- */

static void jobs_then(struct api *api, struct http_request *request)
{
    struct job_list list;

    if (!read_list(api, request, &list))
        return;
    if (list.paged)
        reply_page(api, request, &list);
    else
        api_rows_reply(api, request, "[",
                       api_job_rows(scheduler_jobs_walk(api->context.scheduler, list.filter, list.fields),
                                    list.filter, false, "]\n"));
}

void api_handle_jobs(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    struct job_list list;

    if (!read_list(api, request, &list)) /* what is wrong needs no waiting */
        return;
    filter_free(list.filter);
    api_read(api, request, jobs_then);
}
