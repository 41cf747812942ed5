/* See api.h: the table of routes, start and end. The handlers are in files of their own; what they wait
 * for, in api_wait.c. */
#include "cronsched/api/api_page.h"
#include "cronsched/api/event_ring.h"

#include <assert.h>
#include <stdlib.h>

#define TOKENS_POLL_MS 5000

/* ---- what only the leader can do ---- */

/* What another replica forwarded is not forwarded again: the first one will find the new leader. */
bool api_pass_on(struct api *api, struct http_request *request)
{
    const struct api_context *c = &api->context;

    if (!c->cluster_ops || scheduler_leading(c->scheduler) || http_caller(request)->replica)
        return false;
    c->cluster_ops->forward(c->cluster_arg, request);
    return true;
}

#define X(name)                                                                                              \
    static void lead_##name(struct http_request *request, void *arg)                                         \
    {                                                                                                        \
        if (!api_pass_on(OBJECT(struct api, arg), request))                                                  \
            api_handle_##name(request, arg);                                                                 \
    }
API_LEADER_HANDLERS(X)
#undef X

/* ---- start ---- */

const struct http_route api_routes[] = {
    {"GET", "/v1/jobs", "q,set,label,state,stale,sort,order,limit,after,fields", AUTH_READ, 0,
     api_handle_jobs, .heavy = true},
    {"GET", "/v1/jobs/{job}", NULL, AUTH_READ, 0, api_handle_job, .heavy = true},
    {"DELETE", "/v1/jobs/{job}", NULL, AUTH_ADMIN, 0, lead_job_delete},
    {"POST", "/v1/jobs/{job}/pause", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_pause, HTTP_REPEATABLE},
    {"POST", "/v1/jobs/{job}/resume", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_resume, HTTP_REPEATABLE},
    {"POST", "/v1/jobs/{job}/trigger", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_trigger,
     HTTP_REPEATABLE_BY_KEY},
    {"POST", "/v1/jobs/{job}/backfill", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_backfill,
     .heavy = true},
    {"POST", "/v1/pause", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_pause_all, HTTP_REPEATABLE},
    {"POST", "/v1/resume", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_resume_all, HTTP_REPEATABLE},
    {"GET", "/v1/defs", "set", AUTH_READ, 0, api_handle_defs, .heavy = true},
    {"POST", "/v1/apply", NULL, AUTH_ADMIN, API_APPLY_BYTES_MAX, lead_apply, HTTP_REPEATABLE,
     .heavy = true}, /* a dry run costs as much */
    {"GET", "/v1/events", "job,kinds,after", AUTH_READ, 0, api_handle_events},
    {"GET", "/v1/runs", "q,job,state,verdict,cause,by,engine,since,until,limit,after,fields", AUTH_READ, 0,
     api_handle_runs, .heavy = true},
    {"GET", "/v1/jobs/{job}/stats", "runs", AUTH_READ, 0, api_handle_stats, .heavy = true},
    {"GET", "/v1/runs/buckets", "job,since,until,bucket", AUTH_READ, 0, api_handle_buckets, .heavy = true},
    {"GET", "/v1/runs/{run}", NULL, AUTH_READ, 0, api_handle_run},
    {"GET", "/v1/runs/{run}/logs", "attempt,tail,follow,since,timestamps,stored", AUTH_READ, 0,
     api_handle_logs},
    {"POST", "/v1/runs/{run}/kill", NULL, AUTH_OPERATE, HTTP_BODY_BYTES_MAX, lead_kill, HTTP_REPEATABLE},
    {"GET", "/v1/explain", "job,time", AUTH_READ, 0, api_handle_explain, .heavy = true},
    {"GET", "/v1/audit", "since,until,job", AUTH_READ, 0, api_handle_audit, HTTP_REPEATABLE, API_AUDIT_MS,
     .heavy = true},
    {"GET", "/v1/records", "job,run,kinds,since,until,after,limit", AUTH_READ, 0, api_handle_records,
     .heavy = true},
    {"GET", "/v1/cluster", NULL, AUTH_READ, 0, api_handle_cluster},
    {"GET", "/v1/cluster/takeovers", "since,limit", AUTH_READ, 0, api_handle_takeovers, .heavy = true},
    {"POST", "/v1/cluster/init", NULL, AUTH_ADMIN, HTTP_BODY_BYTES_MAX, api_handle_init},
    {"POST", "/v1/cluster/join", NULL, AUTH_ADMIN, HTTP_BODY_BYTES_MAX, api_handle_join},
    {"POST", "/v1/cluster/forget", NULL, AUTH_ADMIN, HTTP_BODY_BYTES_MAX, api_handle_forget},
    {"POST", "/v1/cluster/recover", NULL, AUTH_ADMIN, HTTP_BODY_BYTES_MAX, api_handle_recover},
    {"POST", "/v1/cluster/step-down", NULL, AUTH_ADMIN, HTTP_BODY_BYTES_MAX, lead_step_down},
    {"POST", "/v1/cluster/accept-clock", NULL, AUTH_ADMIN, HTTP_BODY_BYTES_MAX, api_handle_accept_clock},
    {"GET", "/v1/peer/history", "first,last", AUTH_ADMIN, 0, api_handle_peer_history, .heavy = true},
    {"GET", "/v1/peer/heartbeat", "hold", AUTH_READ, 0, api_handle_peer_heartbeat},
    {"POST", "/v1/peer/engine", NULL, AUTH_ADMIN, API_PEER_BYTES_MAX, api_handle_peer_engine},
    {"GET", "/v1/doctor", NULL, AUTH_READ, 0, api_handle_doctor},
    {"GET", "/v1/upcoming", "from,to,q,limit,bucket", AUTH_READ, 0, api_handle_upcoming, .heavy = true},
    {"GET", "/v1/whoami", NULL, AUTH_READ, 0, api_handle_whoami},
    {"POST", "/v1/session", NULL, AUTH_NOBODY, 4096, api_handle_session},
    {"DELETE", "/v1/session", NULL, AUTH_NOBODY, 0, api_handle_session_end},
    {"POST", "/v1/session/link", NULL, AUTH_READ, HTTP_BODY_BYTES_MAX, api_handle_login_link},
    {"GET", "/v1/version", NULL, AUTH_READ, 0, api_handle_version},
    {"GET", "/healthz", NULL, AUTH_NOBODY, 0, api_handle_healthz},
    {"GET", "/readyz", NULL, AUTH_NOBODY, 0, api_handle_readyz},
    {"GET", "/leaderz", NULL, AUTH_NOBODY, 0, api_handle_leaderz},
    {"GET", "/metrics", NULL, AUTH_READ, 0, api_handle_metrics},
};
const size_t api_route_count = sizeof(api_routes) / sizeof(api_routes[0]);

static void log_error(struct api *api, const char *event, const struct error *error)
{
    if (api->context.log)
        api->context.log(api->context.arg, LOG_ERROR, event, error->text);
}

/* What was let in before is judged again. */
static int tokens_read(struct api *api, struct error *error)
{
    int r = auth_reload(api->auth, error);

    if (r == 0)
        http_judge_again(api->http);
    return r;
}

static void on_tokens_change(uv_fs_poll_t *poll, int status, const uv_stat_t *before, const uv_stat_t *after)
{
    struct api *api = OBJECT(struct api, poll->data);
    struct error e;

    if (tokens_read(api, &e) < 0)
        log_error(api, "tokens-file", &e);
    else if (api->context.log)
        api->context.log(api->context.arg, LOG_NOTE, "tokens-file", "read again");
}

static int handles_open(struct api *api, struct error *error)
{
    struct worker_options probes = {.name = "doctor", .threads = 2, .deadline_ms = API_PROBE_MS};
    struct worker_options work = {.name = "requests", .threads = API_WORK_THREADS};
    int r = worker_new(&api->probes, api->loop, &probes, NULL);

    assert(r == 0); /* with a deadline threads are made when they are needed */
    r = worker_new(&api->work, api->loop, &work, error);
    loop_gap_start(&api->gap, api->loop);
    uv_timer_init(api->loop, &api->clock);
    uv_fs_poll_init(api->loop, &api->tokens_poll);
    uv_timer_init(api->loop, &api->relisten);
    uv_timer_init(api->loop, &api->events_timer);
    api->events_timer.data = api;
    api->gap.prepare.data = api->clock.data = api->tokens_poll.data = api->relisten.data = api;
    loop_turn_init(&api->rows_turn, api->loop, api_rows_turn, api);
    api->rows_turn.idle.data = api;
    api->handles = api->work ? 8 : 7;
    if (auth_tokens_file(api->auth))
        uv_fs_poll_start(&api->tokens_poll, on_tokens_change, auth_tokens_file(api->auth), TOKENS_POLL_MS);
    return r;
}

static void on_http_closed(void *arg);

/* What was started comes down by itself; the memory with it. */
static void start_failed(struct api *api)
{
    api->closing = true;
    http_close(api->http, on_http_closed, api);
}

struct auth_options api_auth_options(const struct api_options *options)
{
    return (struct auth_options){.tokens_file = options->tokens_file,
                                 .insecure = options->insecure,
                                 .loopback_read = options->loopback_read,
                                 .hosts = options->hosts,
                                 .host_count = options->host_count,
                                 .advertise = options->context.advertise,
                                 .clustered = options->context.cluster_ops != NULL,
                                 .cluster = options->context.cluster};
}

int api_start(struct api **ret, uv_loop_t *loop, const struct api_options *options, struct error *error)
{
    struct auth_options who = api_auth_options(options);
    struct http_options http = options->limits;
    struct api *api = calloc(1, sizeof(*api));
    int r;

    if (!api)
        return error_set(error, ERR_NOMEM, "out of memory");
    OBJECT_INIT(struct api, api);
    api->context = options->context;
    api->options = *options;
    api->loop = loop;
    list_init(&api->waits);
    list_init(&api->queries);
    list_init(&api->streams);
    list_init(&api->answers);
    list_init(&api->subscribers);
    api->events = event_ring_new();
    r = api->events ? auth_new(&api->auth, &who, error) : error_set(error, ERR_NOMEM, "out of memory");
    if (r < 0) {
        event_ring_free(api->events);
        OBJECT_FREE(struct api, api);
        return r;
    }
    http.loop = loop;
    http.auth = api->auth;
    http.view = api_view;
    http.log = options->context.log;
    http.arg = options->context.arg;
    r = http_new(&api->http, &http, error);
    if (r < 0) {
        auth_free(api->auth);
        event_ring_free(api->events);
        OBJECT_FREE(struct api, api);
        return r;
    }
    r = handles_open(api, error);
    r = r < 0 ? r : http_add_routes(api->http, api_routes, api_route_count, api, error);
    r = r < 0 ? r : http_add_routes(api->http, api_page_routes, api_page_route_count, api, error);
    r = r < 0 ? r : api_listen(api, error);
    if (r < 0) {
        start_failed(api);
        return r;
    }
    if (options->insecure && api->context.log)
        api->context.log(api->context.arg, LOG_WARN, "insecure",
                         options->tokens_file ? API_INSECURE_TOKENS : API_INSECURE_OPEN);
    *ret = api;
    return 0;
}

int api_reload(struct api *api, struct error *error)
{
    int r = tokens_read(api, error);

    return r < 0 ? r : http_reload(api->http, error);
}

void api_set_secret(struct api *api, const char *secret)
{
    auth_set_secret(api->auth, secret);
}

/* ---- the end ---- */

static void on_http_closed(void *arg)
{
    struct api *api = OBJECT(struct api, arg);

    api->http_closed = true;
    api_close_if_idle(api);
}

void api_close(struct api *api, void (*done)(void *arg), void *arg)
{
    assert(!api->closing);
    api->closing = true;
    api->closed = done;
    api->closed_arg = arg;
    http_close(api->http, on_http_closed, api);
}
