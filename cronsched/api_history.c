/* What happened: the audit log. */
#include "cronsched/api_internal.h"
#include "jobs/record.h"
#include "jobs/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- records: who changed or triggered what ---------------------------------------------------------------
 */

#define KINDS_BY_PEOPLE "job,delete,pause,resume,trigger,backfill,stopping,note,epoch,takeover"
#define KINDS_BYTES_MAX 255

static bool check_kinds(struct http_request *request, const char *kinds)
{
    const char *names[RECORD_KIND_COUNT], *near;

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
            near = text_nearest(word, names, RECORD_KIND_COUNT);
            http_reply_error(request, ERR_INVALID,
                             near ? "kinds: there is no kind '%.32s'; did you mean '%s'?"
                                  : "kinds: there is no kind '%.32s'",
                             word, near);
            return false;
        }
        p += n;
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
           api_query_int(request, "limit", 1, HISTORY_ROWS_MAX - 1, ret_limit);
}

static void records_have(struct api *api, struct http_request *request, json_t *result, json_t *more)
{
    size_t limit = (size_t)json_integer_value(more);

    if (json_array_size(result) > limit) { /* one more than asked for was wanted, to know */
        json_array_remove(result, limit);
        http_reply_header(request, "Cronsched-More", "true");
    }
    http_reply_json(request, 200, json_incref(result));
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
        api_read(arg, request, records_then);
}
