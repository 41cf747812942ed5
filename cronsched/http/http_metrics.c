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
    put(arg, "cronsched_http_request_seconds_sum{method=\"%s\",path=\"%s\"} %.6f\n", r->method, r->path,
        (double)e->total_ns / 1e9);
    put(arg, "cronsched_http_request_seconds_count{method=\"%s\",path=\"%s\"} %llu\n", r->method, r->path,
        (unsigned long long)n);
}

enum family {
    REQUESTS_TOTAL,
    REQUEST_SECONDS,
    CONNECTIONS,
    CONNECTIONS_TOTAL,
    DROPPED_TOTAL,
    REFUSED_TOTAL,
    TLS_HANDSHAKES_TOTAL,
    TLS_FAILED_TOTAL,
    TLS_EXPIRY_SECONDS,
    LISTENER_GAP_SECONDS,
    REQUESTS_OPEN
};

static const struct {
    const char *name, *type, *help;
} families[] = {
    [REQUESTS_TOTAL] = {"cronsched_http_requests_total", "counter",
                        "Requests answered, by route and class of status."},
    [REQUEST_SECONDS] = {"cronsched_http_request_seconds", "summary",
                         "Time from a request's first line to its answer."},
    [CONNECTIONS] = {"cronsched_http_connections", "gauge", "Open connections."},
    [CONNECTIONS_TOTAL] = {"cronsched_http_connections_total", "counter", "Connections accepted."},
    [DROPPED_TOTAL] = {"cronsched_http_connections_dropped_total", "counter",
                       "Idle connections that had to make room for others."},
    [REFUSED_TOTAL] = {"cronsched_http_refused_total", "counter",
                       "Requests and connections refused, by reason."},
    [TLS_HANDSHAKES_TOTAL] = {"cronsched_tls_handshakes_total", "counter", "TLS handshakes begun."},
    [TLS_FAILED_TOTAL] = {"cronsched_tls_handshakes_failed_total", "counter",
                          "TLS handshakes that did not end well."},
    [TLS_EXPIRY_SECONDS] = {"cronsched_tls_certificate_expiry_timestamp_seconds", "gauge",
                            "When the certificate that this replica serves ends."},
    [LISTENER_GAP_SECONDS] =
        {"cronsched_http_listener_gap_seconds", "gauge",
         "The longest time a listener kept the event loop at once, within the last one to two "
         "minutes."},
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

static void put_refusals(const struct http *http, put_function *put, void *arg)
{
    put_head(REFUSED_TOTAL, put, arg);
    for (int i = 0; i < HTTP_REFUSALS; i++)
        put(arg, "%s{reason=\"%s\"} %llu\n", families[REFUSED_TOTAL].name,
            http_refusal_name((enum http_refusal)i), (unsigned long long)http->refused.counts[i]);
}

static void put_handshakes(const struct http *http, put_function *put, void *arg)
{
    struct http_tls_counts all = {0}, one;

    for (size_t i = 0; i < http->listener_count; i++)
        if (http->listeners[i]->tls) {
            http_tls_counts(http->listeners[i]->tls, &one);
            all.handshakes += one.handshakes;
            all.failed += one.failed;
        }
    put_metric(TLS_HANDSHAKES_TOTAL, all.handshakes, put, arg);
    put_metric(TLS_FAILED_TOTAL, all.failed, put, arg);
    if (http_certificate_expires_ms(http) != INT64_MAX)
        put_metric(TLS_EXPIRY_SECONDS, (uint64_t)http_certificate_expires_ms(http) / 1000, put, arg);
}

static void put_listeners(const struct http *http, put_function *put, void *arg)
{
    put_head(LISTENER_GAP_SECONDS, put, arg);
    for (size_t i = 0; i < http->listener_count; i++) {
        const struct http_listener *l = http->listeners[i];
        uint64_t longest = l->daemon ? l->daemon->longest_ns : 0;

        if (l->daemon && l->daemon->longest_before_ns > longest)
            longest = l->daemon->longest_before_ns;
        put(arg, "%s{listener=\"%s\"} %.6f\n", families[LISTENER_GAP_SECONDS].name, l->socket.name,
            (double)longest / 1e9);
    }
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
    put_metric(DROPPED_TOTAL, http->dropped, put, arg);
    put_refusals(http, put, arg);
    put_handshakes(http, put, arg);
    put_listeners(http, put, arg);
    put_metric(REQUESTS_OPEN, http->request_count, put, arg);
}
