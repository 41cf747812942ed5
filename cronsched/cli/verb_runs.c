/* runs, run, kill. */
#include "cronsched/cli/cli_context.h"
#include "cronsched/cli/human_time.h"
#include "cronsched/cli/run_find.h"
#include "cronsched/cli/run_view.h"

#include <stdlib.h>
#include <string.h>

static const struct verb_option no_options[] = {{0}};

static const struct verb_option runs_options[] = {
    {"state", 0, "waiting|armed|starting|running|retrying|unresolved|ended|skipped", "runs in this state"},
    {"verdict", 0,
     "succeeded|failed|timed-out|killed|lost|overlap|paused|deadline|missed|coalesced|deleted|queue-full|"
     "journal-lost",
     "runs with this verdict; those from 'overlap' on are reasons of a skip"},
    {"since", 0, "TIME", "from this time on: 2h, yesterday, 2026-11-22, RFC 3339"},
    {"until", 0, "TIME", "up to this time"},
    {"limit", 'n', "N", "at most this many (default 50 in a table, else 10000)"},
    {0}};

#define RUNS_TABLE_LIMIT 50
#define RUNS_LIMIT_MAX   10000

/* DURATION from `started` and `ended`, or up to now; the table's own columns. */
static json_t *with_duration(const struct output *out, const json_t *runs)
{
    json_t *copy = json_deep_copy(runs), *run;
    size_t i;

    json_array_foreach(copy, i, run)
    {
        int64_t ms = run_view_duration_ms(run, out->now_ms);

        if (ms >= 0)
            json_object_set_new(run, "duration", json_integer(ms));
        json_object_set_new(run, "tries",
                            json_integer((json_int_t)json_array_size(json_object_get(run, "attempts"))));
    }
    return copy;
}

static void show_runs(const struct output *out, const json_t *runs)
{
    static const struct output_column columns[] = {
        {"RUN", "run", OUTPUT_TEXT},          {"FIRE TIME", "fire_time", OUTPUT_TIME},
        {"CAUSE", "cause", OUTPUT_TEXT},      {"STATE", "state", OUTPUT_STATE},
        {"VERDICT", "verdict", OUTPUT_STATE}, {"STARTED", "started", OUTPUT_TIME},
        {"TOOK", "duration", OUTPUT_MS},      {"EXIT", "exit_code", OUTPUT_RIGHT},
        {"ATTEMPTS", "tries", OUTPUT_RIGHT},
    };
    json_t *shown;

    if (out->format != OUTPUT_TABLE) {
        output_value(out, runs);
        return;
    }
    shown = with_duration(out, runs);
    output_rows(out, shown, columns, sizeof(columns) / sizeof(columns[0]), "No runs.");
    json_decref(shown);
}

/* Whether the answer has nothing because there is no such job: one that is gone may have runs. */
static int check_job(struct cli_context *s, const char *job)
{
    json_t *found = NULL;
    size_t count;
    int code;

    cli_path(s, "/v1/runs");
    cli_query(s, "job", job);
    cli_query(s, "limit", "1");
    code = cli_get(s, &found);
    count = json_array_size(found);
    json_decref(found);
    if (code != EXIT_FINE || count > 0)
        return code;
    cli_path(s, "/v1/jobs/%s", job); /* its error says what may be meant */
    return cli_get(s, NULL);
}

/* One more than `limit` was asked for in a table, to know whether there are more. */
static int show_or_tell(struct cli_context *s, const char *job, size_t limit)
{
    json_t *runs = NULL;
    int code = cli_get(s, &runs);
    bool more = s->out.format == OUTPUT_TABLE && json_array_size(runs) > limit;

    if (code == EXIT_FINE && job && json_array_size(runs) == 0)
        code = check_job(s, job);
    if (more)
        json_array_remove(runs, limit);
    if (code == EXIT_FINE)
        show_runs(&s->out, runs);
    if (code == EXIT_FINE && more)
        verb_print(stderr, "The newest %zu; there are more: --limit, --since, --until\n", limit);
    json_decref(runs);
    return code;
}

static int run_runs(const struct verb_call *call)
{
    struct cli_context s;
    struct error error;
    char number[32];
    long limit = 0;
    int code = cli_open(&s, call);

    if (code != EXIT_FINE)
        return cli_close(&s, code);
    if (verb_option_int(call, "limit", 1, RUNS_LIMIT_MAX, &limit, &error) < 0)
        return cli_close(&s, verb_usage(call, "%s", error.text));
    if (limit == 0)
        limit = s.out.format == OUTPUT_TABLE ? RUNS_TABLE_LIMIT : RUNS_LIMIT_MAX;
    snprintf(number, sizeof(number), "%ld", limit + (s.out.format == OUTPUT_TABLE && limit < RUNS_LIMIT_MAX));
    cli_path(&s, "/v1/runs");
    cli_query(&s, "job", call->args[0]);
    cli_query(&s, "state", verb_option(call, "state"));
    cli_query(&s, "verdict", verb_option(call, "verdict"));
    cli_query(&s, "limit", number);
    code = cli_query_range(&s);
    if (code == EXIT_FINE)
        code = show_or_tell(&s, call->args[0], (size_t)limit);
    return cli_close(&s, code);
}

const struct verb verb_runs = {
    .name = "runs",
    .args = "[JOB]",
    .help = "list runs, the newest first",
    .group = VERB_GROUP_RUNS,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = runs_options,
    .run = run_runs,
};

/* ---- run ---- */

static int run_run(const struct verb_call *call)
{
    struct cli_context s;
    char *run = NULL;
    int code = cli_open(&s, call);

    if (code == EXIT_FINE)
        code = run_find_last(&s, call->args[0], &run);
    if (code != EXIT_FINE)
        return cli_close(&s, code);
    cli_path(&s, "/v1/runs/%s", run);
    free(run);
    return cli_show(&s, run_view_show);
}

const struct verb verb_run = {
    .name = "run",
    .args = "RUN|JOB",
    .help = "show one run, or the last run of a job, and its attempts",
    .group = VERB_GROUP_RUNS,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = no_options,
    .run = run_run,
};

/* ---- kill ---- */

static int run_kill(const struct verb_call *call)
{
    struct cli_context s;
    json_t *reply = NULL;
    char *run = NULL;
    int code = cli_open(&s, call);

    if (code == EXIT_FINE)
        code = run_find_unfinished(&s, call->args[0], &run);
    if (code == EXIT_FINE) {
        cli_path(&s, "/v1/runs/%s/kill", run);
        code = cli_send(&s, "POST", NULL, CLIENT_REPEATABLE, &reply);
    }
    if (code == EXIT_FINE && s.out.format != OUTPUT_TABLE)
        output_value(&s.out, reply);
    else if (code == EXIT_FINE)
        verb_print(stdout, "%s is asked to end\n", run);
    free(run);
    json_decref(reply);
    return cli_close(&s, code);
}

const struct verb verb_kill = {
    .name = "kill",
    .args = "RUN|JOB",
    .help = "end a run: the stop signal, after stop_grace the kill; no retries",
    .text = "A job stands for its one run that is under way. It returns once the request is recorded; "
            "'cronsched run' shows when the run has ended.",
    .group = VERB_GROUP_RUNS,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = no_options,
    .run = run_kill,
};
