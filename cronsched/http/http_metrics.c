#include "cronsched/http/http_core.h"

typedef void put_function(void *arg, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put_entry(const struct http_entry *e, const char *method, const char *path, put_function *put,
                      void *arg)
{
    for (size_t class = 2; class < 6; class ++)
        if (e->answered[class])
            put(arg, "cronsched_http_requests_total{method=\"%s\",path=\"%s\",code=\"%zuxx\"} %llu\n", method,
                path, class, (unsigned long long)e->answered[class]);
}

static uint64_t answered(const struct http_entry *e)
{
    uint64_t n = 0;

    for (size_t class = 2; class < 6; class ++)
        n += e->answered[class];
    return n;
}

static void put_time(const struct http_entry *e, put_function *put, void *arg)
{
    const struct http_route *r = e->route;
    uint64_t n = answered(e);

    if (n == 0)
        return;
    put(arg, "cronsched_http_request_seconds_sum{method=\"%s\",path=\"%s\"} %.3f\n", r->method, r->path,
        (double)e->total_ms / 1000);
    put(arg, "cronsched_http_request_seconds_count{method=\"%s\",path=\"%s\"} %llu\n", r->method, r->path,
        (unsigned long long)n);
}

void http_metrics(const struct http *http, put_function *put, void *arg)
{
    put(arg, "# HELP cronsched_http_requests_total Requests answered, by route and class of status.\n"
             "# TYPE cronsched_http_requests_total counter\n");
    for (size_t i = 0; i < http->entry_count; i++)
        put_entry(&http->entries[i], http->entries[i].route->method, http->entries[i].route->path, put, arg);
    put_entry(&http->unrouted, "other", "other", put, arg);
    put(arg, "# HELP cronsched_http_request_seconds Time from a request's first line to its answer.\n"
             "# TYPE cronsched_http_request_seconds summary\n");
    for (size_t i = 0; i < http->entry_count; i++)
        put_time(&http->entries[i], put, arg);
    put(arg,
        "# HELP cronsched_http_connections Open connections.\n"
        "# TYPE cronsched_http_connections gauge\n"
        "cronsched_http_connections %zu\n"
        "# HELP cronsched_http_connections_total Connections accepted.\n"
        "# TYPE cronsched_http_connections_total counter\n"
        "cronsched_http_connections_total %llu\n"
        "# HELP cronsched_http_requests_open Requests not yet answered in full.\n"
        "# TYPE cronsched_http_requests_open gauge\n"
        "cronsched_http_requests_open %zu\n",
        http->connection_count, (unsigned long long)http->accepted, http->request_count);
}
