/* What /metrics says of each job: families of one job a series, of the first jobs by name up to a bound, from the leader alone. So
 * counters are not there three times, and a replica that leads no more stops saying anything. The label is `name`: `job` is
 * Prometheus' own. Made in pieces, since there may be thousands of series.
 */
#include "cronsched/api/api_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum family {
    LAST_SUCCESS,
    LAST_END,
    NEXT_FIRE,
    LAST_DURATION,
    FAILURES,
    RUNNING,
    PAUSED,
    VERDICTS,
    FAMILIES
};

static const struct {
    const char *name, *type, *help;
} families[FAMILIES] = {
    [LAST_SUCCESS] =
        {"cronsched_job_last_success_timestamp_seconds", "gauge",
         "Fire time of the newest run of this job that succeeded; 0: none has. From the leader."},
    [LAST_END] = {"cronsched_job_last_end_timestamp_seconds", "gauge",
                  "When the last run of this job ended; 0: none has. From the leader."},
    [NEXT_FIRE] = {"cronsched_job_next_fire_timestamp_seconds", "gauge",
                   "Next fire time of this job; 0: there is none, or it is paused. From the leader."},
    [LAST_DURATION] =
        {"cronsched_job_last_duration_seconds", "gauge",
         "How long the last run of this job took; left out when none has started. From the leader."},
    [FAILURES] =
        {"cronsched_job_failures_in_a_row", "gauge",
         "Runs of this job that failed, timed out or were lost since the last success. From the leader."},
    [RUNNING] = {"cronsched_job_running", "gauge",
                 "Unfinished runs of this job whose fire time has come. From the leader."},
    [PAUSED] = {"cronsched_job_paused", "gauge",
                "Whether this job is paused, by itself or with all. From the leader."},
    [VERDICTS] = {"cronsched_job_verdicts_total", "counter",
                  "Runs of this job that ended and fire times that were skipped, by verdict, since the job "
                  "was made: kept "
                  "in the journal. From the leader."},
};

struct job_metrics {
    struct api_rows rows; /* first */
    struct scheduler_job_page *page;
    char *before; /* the other metrics */
    bool found;
    enum family family;
    size_t at;
};

static void put_seconds(struct text *t, enum family f, const char *name, int64_t ms)
{
    text_addf(t, "%s{name=\"%s\"} %.3f\n", families[f].name, name, (double)ms / 1000);
}

static void put_number(struct text *t, enum family f, const char *name, int64_t value)
{
    text_addf(t, "%s{name=\"%s\"} %" PRId64 "\n", families[f].name, name, value);
}

/* All of those that runs end with, so that the first of each is seen; of the others those that there were. */
static void put_verdicts(struct text *t, const struct scheduler_job_numbers *n)
{
    for (enum run_verdict v = VERDICT_NONE + 1; v < VERDICT_COUNT; v++)
        if (n->recent.counts[v] || !run_verdict_is_skip(v))
            text_addf(t, "%s{name=\"%s\",verdict=\"%s\"} %" PRIu64 "\n", families[VERDICTS].name, n->name,
                      run_verdict_name(v), n->recent.counts[v]);
}

/* A name of a job needs no escapes. */
static void put_job(struct text *t, enum family f, const struct scheduler_job_numbers *n)
{
    switch (f) {
    case LAST_SUCCESS:
        put_seconds(t, f, n->name, n->recent.success_ms);
        break;
    case LAST_END:
        put_seconds(t, f, n->name, n->last_ended_ms);
        break;
    case NEXT_FIRE:
        put_seconds(t, f, n->name, n->next_ms);
        break;
    case LAST_DURATION:
        if (n->recent.duration_ms >= 0)
            put_seconds(t, f, n->name, n->recent.duration_ms);
        break;
    case FAILURES:
        put_number(t, f, n->name, n->recent.failures);
        break;
    case RUNNING:
        put_number(t, f, n->name, n->running);
        break;
    case PAUSED:
        put_number(t, f, n->name, n->paused);
        break;
    default:
        put_verdicts(t, n);
    }
}

static void put_head(struct text *t, enum family f)
{
    text_addf(t, "# HELP %s %s\n# TYPE %s %s\n", families[f].name, families[f].help, families[f].name,
              families[f].type);
}

/* Those beyond the bound are told by their number. */
static void put_left_out(struct job_metrics *m, struct text *text)
{
    size_t total = scheduler_job_page_total(m->page), listed = 0;
    struct scheduler_job_numbers n;

    while (scheduler_job_page_numbers(m->page, listed, &n))
        listed++;
    text_addf(text,
              "# HELP cronsched_job_metrics_left_out Jobs that have no metrics of their own, since there are "
              "more than "
              "metrics_jobs allows. From the leader.\n# TYPE cronsched_job_metrics_left_out gauge\n"
              "cronsched_job_metrics_left_out %zu\n",
              total - listed);
}

static int job_metrics_next(struct api_rows *rows, struct text *text)
{
    struct job_metrics *m = (struct job_metrics *)(void *)rows;
    struct scheduler_job_numbers n;

    if (!m->found) {
        int r = scheduler_job_page_step(m->page);

        if (r != 1)
            return r;
        m->found = true;
        text_add(text, m->before);
        put_left_out(m, text);
        return 0;
    }
    for (int i = 0; i < API_ROWS_PIECE; i++) {
        if (m->at == 0)
            put_head(text, m->family);
        if (scheduler_job_page_numbers(m->page, m->at++, &n)) {
            put_job(text, m->family, &n);
            continue;
        }
        m->at = 0;
        if (++m->family == FAMILIES)
            return 1;
    }
    return 0;
}

static bool job_metrics_release(struct api_rows *rows)
{
    struct job_metrics *m = (struct job_metrics *)(void *)rows;

    scheduler_job_page_free(m->page);
    free(m->before);
    free(m);
    return true;
}

bool api_job_metrics_reply(struct api *api, struct http_request *request, const char *before)
{
    struct scheduler_job_page_query query = {.order = SCHEDULER_BY_NAME,
                                             .limit = (size_t)api->options.metrics_jobs};
    struct job_metrics *m;
    struct error e;

    if (api->options.metrics_jobs <= 0 || !scheduler_leading(api->context.scheduler))
        return false;
    m = calloc(1, sizeof(*m));
    if (!m || !(m->before = strdup(before)) ||
        scheduler_job_page_new(&m->page, api->context.scheduler, &query, &e) < 0) {
        free(m ? m->before : NULL);
        free(m);
        return false;
    }
    m->rows = (struct api_rows){job_metrics_next, job_metrics_release, .type = API_METRICS_TYPE};
    api_rows_reply(api, request, "", &m->rows);
    return true;
}
