/* GET /v1/upcoming: when which jobs would fire. */
#include "cronsched/api/api_priv.h"
#include "jobs/state/filter.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 1000

struct upcoming_rows {
    struct api_rows rows; /* first */
    struct scheduler_upcoming *upcoming;
    bool found;
    size_t at;
};

/* The summary without its last brace, then the times. */
static int begin(struct upcoming_rows *u, struct text *text)
{
    json_t *summary = scheduler_upcoming_summary(u->upcoming);
    char *line = json_dumps(summary, JSON_COMPACT);

    json_decref(summary);
    if (!line)
        return ERR_NOMEM;
    text_add_bytes(text, line, strlen(line) - 1);
    text_add(text, ",\"times\":[");
    free(line);
    u->found = true;
    return 0;
}

static int upcoming_next(struct api_rows *rows, struct text *text)
{
    struct upcoming_rows *u = (struct upcoming_rows *)(void *)rows;
    int r = 0;

    if (!u->found) {
        r = scheduler_upcoming_step(u->upcoming);
        return r == 1 ? begin(u, text) : r;
    }
    for (int i = 0; i < API_ROWS_PIECE && r == 0; i++, u->at++) {
        json_t *row = scheduler_upcoming_row(u->upcoming, u->at);

        if (!row) {
            text_add(text, "]}\n");
            return 1;
        }
        r = api_rows_add(rows, text, u->at ? "," : "", row);
        json_decref(row);
    }
    return r;
}

static bool upcoming_release(struct api_rows *rows)
{
    struct upcoming_rows *u = (struct upcoming_rows *)(void *)rows;

    scheduler_upcoming_free(u->upcoming);
    free(u);
    return true;
}

/* False: it is answered with what is wrong. */
static bool read_query(struct api *api, struct http_request *request, struct scheduler_upcoming_query *q)
{
    static const char *const words[] = {"1m", "5m", "1h"};
    static const int64_t seconds[] = {60, 300, 3600};
    int64_t from_ms = api->context.wall_ms(api->context.arg), to_ms = 0;
    const char *bucket = words[1];
    int limit = LIMIT_DEFAULT;
    struct error e;

    if (!api_query_time(request, "from", &from_ms))
        return false;
    to_ms = from_ms + INT64_C(24) * 3600 * 1000;
    if (!api_query_time(request, "to", &to_ms) || !api_query_word(request, "bucket", words, 3, &bucket) ||
        !api_query_int(request, "limit", 0, SCHEDULER_UPCOMING_ROWS_MAX, &limit))
        return false;
    *q = (struct scheduler_upcoming_query){.limit = (size_t)limit};
    for (size_t i = 0; i < 3; i++)
        if (strcmp(words[i], bucket) == 0)
            q->bucket_s = seconds[i];
    q->from_s = from_ms / 1000 -
                from_ms / 1000 % 60; /* whole minutes, so that buckets are those of a clock */
    q->until_s = to_ms / 1000;
    if (filter_new(&q->filter, api_query_text(request, "q"), FILTER_JOBS, &e) == 0)
        return true;
    http_reply_failure(request, &e);
    return false;
}

static void upcoming_then(struct api *api, struct http_request *request)
{
    struct scheduler_upcoming_query q;
    struct upcoming_rows *u;
    struct error e = {0};
    int r;

    if (!read_query(api, request, &q))
        return;
    u = calloc(1, sizeof(*u));
    r = u ? scheduler_upcoming_new(&u->upcoming, api->context.scheduler, &q, &e)
          : error_set(&e, ERR_NOMEM, "out of memory");
    if (r < 0) {
        filter_free(q.filter);
        free(u);
        http_reply_failure(request, &e);
        return;
    }
    u->rows = (struct api_rows){upcoming_next, upcoming_release};
    api_rows_reply(api, request, "", &u->rows);
}

void api_handle_upcoming(struct http_request *request, void *arg)
{
    api_read(OBJECT(struct api, arg), request, upcoming_then);
}
