/* What this replica is and how it is: version, health. */
#include "cronsched/api/api_priv.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <stdio.h>

void api_handle_version(struct http_request *request, void *arg)
{
    const struct api_context *c = &OBJECT(struct api, arg)->context;
    char started[TEXT_NUMBER_BUFFER];

    http_reply_json(request, 200,
                    json_pack("{s:s, s:s, s:s, s:s, s:s}", "version", CRONSCHED_VERSION, "api", "v1",
                              "cluster", c->cluster, "replica", c->replica, "started",
                              instant_format(c->started_ms, INSTANT_S, started, sizeof(started))));
}

/* ---- health ---- */

void api_handle_healthz(struct http_request *request, void *arg)
{
    http_reply_text(request, 200, "text/plain; charset=utf-8", "ok\n");
}

__attribute__((format(printf, 2, 3))) static void add_reason(json_t *reasons, const char *format, ...)
{
    char text[API_REFUSING_SIZE + 80];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    json_array_append_new(reasons, json_string(text));
}

/* Whether each engine has been asked at least once. One that is away does not stop the others, and is a warning: it may
 * be away for all replicas, and one has to answer. */
static void check_engines(const struct api_context *c, json_t *reasons, json_t *warnings)
{
    for (size_t i = 0; i < c->engine_count; i++) {
        const struct engine *engine = c->engines[i];
        struct engine_status status = {0};

        engine->ops->status(engine, &status);
        if (!status.reachable && !status.text[0])
            add_reason(reasons, "engine %s has not answered yet", engine->name);
        else if (!status.reachable)
            add_reason(warnings, "engine %s cannot be reached: %s", engine->name, status.text);
    }
}

/* Those that are members and take part. Who is missing does not make this replica less ready. */
static void check_replicas(const struct api_context *c, json_t *warnings)
{
    json_t *cluster = c->expected_replicas > 0 ? api_cluster_json(c) : NULL;
    int present = api_replicas_present(cluster);

    if (cluster && present < c->expected_replicas)
        add_reason(warnings, "%d of %d expected replicas %s here", present, c->expected_replicas,
                   present == 1 ? "is" : "are");
    json_decref(cluster);
}

/* Lists of past runs are asked of whoever a load balancer names. */
static void check_history(const struct api_context *c, json_t *reasons)
{
    const char *trouble = c->history->ops->trouble(c->history);

    if (trouble)
        add_reason(reasons, "history cannot be written: %s", trouble);
}

bool api_clock_held(const struct api_context *c, int64_t *ret_jump_ms)
{
    return c->clock_held && c->clock_held(c->arg, ret_jump_ms);
}

/* The scheduler may lead for a moment longer than its journal does. */
static void check_leading(const struct api_context *c, const struct journal_status *journal, bool leads,
                          json_t *reasons)
{
    char why[API_REFUSING_SIZE];

    if (leads && !journal->leading && journal->text[0])
        add_reason(reasons, "the journal: %s", journal->text);
    else if (!leads)
        add_reason(reasons, "this replica neither leads nor follows: %s", api_refusing(c, why));
}

/* Whatever is asked of this replica has to be written first. */
static void check_journal(const struct journal_status *journal, json_t *reasons)
{
    if (journal->busy_ms >= API_STUCK_MS)
        add_reason(reasons, "the journal's file has not answered for %lld s",
                   (long long)journal->busy_ms / 1000);
}

/* For load balancers that send to the leader alone. */
void api_handle_leaderz(struct http_request *request, void *arg)
{
    const struct api_context *c = &OBJECT(struct api, arg)->context;
    struct journal_status journal = {0};
    bool leads;

    c->journal->ops->status(c->journal, &journal);
    leads = journal.leading && scheduler_leading(c->scheduler);
    if (leads)
        http_reply_text(request, 200, "text/plain; charset=utf-8", "leader\n");
    else
        http_reply_text(request, 503, "text/plain; charset=utf-8", "not the leader\n");
}

void api_handle_readyz(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const struct api_context *c = &api->context;
    bool leads = scheduler_leading(c->scheduler),
         follows = !leads && api_following(c) && !scheduler_is_reading(c->scheduler);
    const char *role = leads ? "leader" : "standby";
    json_t *reasons = json_array(), *warnings = json_array(), *answer;
    struct journal_status journal = {0};
    int64_t jump_ms;
    size_t n;

    c->journal->ops->status(c->journal, &journal);
    if (!follows)
        check_leading(c, &journal, leads, reasons);
    if (!leads && !follows)
        role = "none";
    if (journal.warning[0])
        add_reason(warnings, "%s", journal.warning);
    if (leads && journal.refused)
        add_reason(reasons, "nothing can be written: %s", journal.text);
    check_journal(&journal, reasons);
    if (api_clock_held(c, &jump_ms))
        add_reason(
            reasons,
            "the wall clock is %+lld s off what is believed: correct it, or cronsched cluster accept-clock",
            (long long)jump_ms / 1000);
    check_history(c, reasons);
    check_engines(c, reasons, warnings);
    check_replicas(c, warnings);
    n = json_array_size(reasons);
    if (n > 0)
        http_reply_header(request, "Retry-After", "1");
    answer = json_pack("{s:b, s:s, s:o, s:o*}", "ready", n == 0, "role", role, "reasons", reasons, "warnings",
                       json_array_size(warnings) ? json_incref(warnings) : NULL);
    json_decref(warnings);
    if (c->cluster_ops && c->cluster_ops->process) { /* by which one that has its name knows this process */
        json_object_set_new(answer, "replica", json_string(c->replica));
        json_object_set_new(answer, "process", json_string(c->cluster_ops->process(c->cluster_arg)));
    }
    http_reply_json(request, n ? 503 : 200, answer);
}
