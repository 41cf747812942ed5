/* The changes of leader, with the reports that the new leaders wrote: from the records of history. */
#include "cronsched/api/api_priv.h"

#include <string.h>

#define TAKEOVERS_LIMIT 100
#define RECORDS_MAX     500 /* at a time */

/* What an epoch's record says of it. */
static json_t *takeover_of(const json_t *entry, const json_t *record)
{
    static const char *const keys[] = {"epoch", "replica", "cause", "tzdata", "level"};
    json_t *takeover = json_object();

    json_object_set(takeover, "time", json_object_get(entry, "time"));
    json_object_set(takeover, "index", json_object_get(entry, "index"));
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (json_object_get(record, keys[i]))
            json_object_set(takeover, keys[i], json_object_get(record, keys[i]));
    return takeover;
}

/* Adds what records say, oldest first, and keeps the newest. A report belongs to the epoch before it; that of a leader which hands
 * over is about the next one, and it is left out. True: older ones were dropped. */
static bool add_records(json_t *takeovers, const json_t *records, size_t most)
{
    const json_t *entry;
    bool dropped = false;
    size_t i;

    json_array_foreach(records, i, entry)
    {
        const json_t *record = json_object_get(entry, "record");
        json_t *report = json_object_get(record, "report");
        size_t count = json_array_size(takeovers);

        if (!report)
            json_array_append_new(takeovers, takeover_of(entry, record));
        else if (count && !json_is_true(json_object_get(report, "handing_over")))
            json_object_set(json_array_get(takeovers, count - 1), "report", report);
        if (json_array_size(takeovers) > most) {
            json_array_remove(takeovers, 0);
            dropped = true;
        }
    }
    return dropped;
}

static json_t *newest_first(const json_t *takeovers)
{
    json_t *newest = json_array();

    for (size_t i = json_array_size(takeovers); i > 0; i--)
        json_array_append(newest, json_array_get(takeovers, i - 1));
    return newest;
}

/* False: it has been answered. */
static bool read_query(struct http_request *request, struct history_query *q, int *ret_limit)
{
    *q = (struct history_query){.kind = HISTORY_RECORDS, .kinds = "epoch,takeover", .limit = RECORDS_MAX};
    *ret_limit = 20;
    return api_query_time(request, "since", &q->since_ms) &&
           api_query_int(request, "limit", 1, TAKEOVERS_LIMIT, ret_limit);
}

/* History gives the oldest first, so all are looked at. `so_far`: the newest of those that were. */
static void takeovers_have(struct api *api, struct http_request *request, json_t *records, json_t *so_far)
{
    size_t count = json_array_size(records);
    const json_t *last = json_array_get(records, count - 1);
    struct history_query q;
    int limit;

    if (!read_query(request, &q, &limit))
        return;
    if (add_records(json_object_get(so_far, "takeovers"), records, (size_t)limit))
        json_object_set_new(so_far, "more", json_true());
    if (count == RECORDS_MAX) {
        q.first = (uint64_t)json_integer_value(json_object_get(last, "index"));
        q.last = (uint64_t)json_integer_value(json_object_get(last, "seq"));
        api_query(api, request, &q, takeovers_have, json_incref(so_far));
        return;
    }
    if (json_object_get(so_far, "more"))
        http_reply_header(request, "Cronsched-More", "true");
    http_reply_json(request, 200, newest_first(json_object_get(so_far, "takeovers")));
}

static void takeovers_then(struct api *api, struct http_request *request)
{
    struct history_query q;
    int limit;

    if (read_query(request, &q, &limit))
        api_query(api, request, &q, takeovers_have, json_pack("{s:[]}", "takeovers"));
}

void api_handle_takeovers(struct http_request *request, void *arg)
{
    struct history_query q;
    int limit;

    if (read_query(request, &q, &limit))
        api_read(OBJECT(struct api, arg), request, takeovers_then);
}
