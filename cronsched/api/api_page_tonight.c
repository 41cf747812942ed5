/* The page of what is to come: from now to the next morning, unless it is asked for another span. */
#include "cronsched/api/api_page.h"
#include "jobs/state/filter.h"
#include "jobs/time/instant.h"

#include <stdlib.h>

#define DAY_S     86400
#define MORNING_S (8 * 3600)
#define BUCKET_S  300
#define ROWS      5000 /* fire times by which the jobs of an hour are named; the numbers are of all */
#define PIECE     64   /* fire times that are made in one turn */

struct tonight {
    struct api_rows rows; /* first */
    struct api *api;
    struct http_request *request;
    struct scheduler_upcoming *upcoming;
    json_t *model;
    json_t *times; /* so far; NULL: they are not found yet */
};

/* 1: all is in the model. */
static int take_times(struct tonight *t)
{
    for (size_t n = 0; n < PIECE; n++) {
        json_t *row = scheduler_upcoming_row(t->upcoming, json_array_size(t->times)), *summary;

        if (row) {
            json_array_append_new(t->times, row);
            continue;
        }
        summary = scheduler_upcoming_summary(t->upcoming);
        json_object_set_new(summary, "times", t->times);
        t->times = NULL;
        json_object_set_new(t->model, "upcoming", summary);
        return 1;
    }
    return 0;
}

static int tonight_next(struct api_rows *rows, struct text *text)
{
    struct tonight *t = (struct tonight *)(void *)rows;
    json_t *model;
    int r;

    if (!t->times) {
        r = scheduler_upcoming_step(t->upcoming);
        if (r == 1)
            t->times = json_array();
        return r < 0 ? r : 0;
    }
    if (take_times(t) == 0)
        return 0;
    model = t->model;
    t->model = NULL;
    r = api_page_text(t->api, t->request, &page_tonight, "Tonight", model, text);
    return r < 0 ? r : 1;
}

static bool tonight_release(struct api_rows *rows)
{
    struct tonight *t = (struct tonight *)(void *)rows;

    scheduler_upcoming_free(t->upcoming);
    json_decref(t->model);
    json_decref(t->times);
    http_request_unref(t->request);
    free(t);
    return true;
}

/* The span; a key that is empty is as one that is not there. */
static int read_span(struct api *api, struct http_request *request, struct scheduler_upcoming_query *q,
                     struct error *error)
{
    const char *from = api_query_text(request, "from"), *to = api_query_text(request, "to");
    int64_t from_ms = api->context.wall_ms(api->context.arg), to_ms;

    if (from && instant_parse(from, &from_ms, error) < 0)
        return error_prefix(error, "from: ");
    from_ms -= from_ms % (BUCKET_S * 1000);
    to_ms = (from_ms / 1000 / DAY_S * DAY_S + DAY_S + MORNING_S) * 1000;
    if (to && instant_parse(to, &to_ms, error) < 0)
        return error_prefix(error, "to: ");
    q->from_s = from_ms / 1000;
    q->until_s = to_ms / 1000;
    return 0;
}

/* What the form was filled with. */
static json_t *model_of(struct http_request *request)
{
    static const char *const keys[] = {"from", "to", "q"};
    json_t *model = json_object();

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *value = api_query_text(request, keys[i]);

        json_object_set_new(model, keys[i], json_string(value ? value : ""));
    }
    return model;
}

static void tonight_then(struct api *api, struct http_request *request)
{
    struct scheduler_upcoming_query query = {.bucket_s = BUCKET_S, .limit = ROWS};
    json_t *model = model_of(request);
    struct tonight *t = calloc(1, sizeof(*t));
    struct error e;
    int r = t ? read_span(api, request, &query, &e) : error_set(&e, ERR_NOMEM, "out of memory");

    if (r == 0)
        r = filter_new(&query.filter, api_query_text(request, "q"), FILTER_JOBS, &e);
    if (r == 0)
        r = scheduler_upcoming_new(&t->upcoming, api->context.scheduler, &query, &e);
    if (r < 0) {
        filter_free(query.filter);
        free(t);
        json_object_set_new(model, "error", json_string(e.text));
        api_page_reply(api, request, 400, &page_tonight, "Tonight", model);
        return;
    }
    t->rows = (struct api_rows){tonight_next, tonight_release, .type = "text/html; charset=utf-8",
                                .whole = API_PAGE_BYTES_MAX};
    t->api = api;
    t->request = http_request_ref(request);
    t->model = model;
    api_page_headers(request);
    api_rows_reply(api, request, "", &t->rows);
}

void api_page_tonight(struct http_request *request, void *arg)
{
    api_read(OBJECT(struct api, arg), request, tonight_then);
}
