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

enum family { REQUESTS_TOTAL, REQUEST_SECONDS, CONNECTIONS, CONNECTIONS_TOTAL, REQUESTS_OPEN };

static const struct {
    const char *name, *type, *help;
} families[] = {
    [REQUESTS_TOTAL] = {"cronsched_http_requests_total", "counter",
                        "Requests answered, by route and class of status."},
    [REQUEST_SECONDS] = {"cronsched_http_request_seconds", "summary",
                         "Time from a request's first line to its answer."},
    [CONNECTIONS] = {"cronsched_http_connections", "gauge", "Open connections."},
    [CONNECTIONS_TOTAL] = {"cronsched_http_connections_total", "counter", "Connections accepted."},
    [REQUESTS_OPEN] = {"cronsched_http_requests_open", "gauge", "Requests not yet answered in full."},
};

/* The two comment lines before a family's values. */
static void put_head(enum family family, put_function *put, void *arg)
{
    put(arg, "# HELP %s %s\n# TYPE %s %s\n", families[family].name, families[family].help,
        families[family].name, families[family].type);
}

static void put_metric(enum family family, uint64_t value, put_function *put, void *arg)
{
    put_head(family, put, arg);
    put(arg, "%s %llu\n", families[family].name, (unsigned long long)value);
}

void http_metrics(const struct http *http, put_function *put, void *arg)
{
    put_head(REQUESTS_TOTAL, put, arg);
    for (size_t i = 0; i < http->entry_count; i++)
        put_entry(&http->entries[i], http->entries[i].route->method, http->entries[i].route->path, put, arg);
    put_entry(&http->unrouted, "other", "other", put, arg);
    put_head(REQUEST_SECONDS, put, arg);
    for (size_t i = 0; i < http->entry_count; i++)
        put_time(&http->entries[i], put, arg);
    put_metric(CONNECTIONS, http->connection_count, put, arg);
    put_metric(CONNECTIONS_TOTAL, http->accepted, put, arg);
    put_metric(REQUESTS_OPEN, http->request_count, put, arg);
}
