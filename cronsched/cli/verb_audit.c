/* audit and explain: the accounts of fire times. */
#include "cronsched/cli/audit_compare.h"
#include "cronsched/cli/cli_context.h"
#include "cronsched/cli/human_time.h"
#include "cronsched/cli/run_find.h"
#include "jobs/audit/audit.h"
#include "jobs/time/instant.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- audit ---- */

static const struct verb_option audit_options[] = {
    {"since", 0, "TIME", "from this time on: 2h, yesterday, 2026-11-22, RFC 3339"},
    {"until", 0, "TIME", "up to this time (default now)"},
    {"job", 0, "JOB", "of this job only"},
    {"all-replicas", 0, NULL, "ask every replica of the cluster, and compare what they have"},
    {0}};

#define AUDIT_TIMEOUT_MS (10 * 60 * 1000) /* years of fire times take their time */

static int64_t number_at(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* One kind of finding, if there is any. */
static void show_findings(const struct output *out, const json_t *audit, const char *key, const char *title,
                          const struct output_column *columns, size_t count)
{
    const json_t *list = json_object_get(audit, key);

    if (json_array_size(list) == 0)
        return;
    fprintf(out->to, "%s%s%s\n", output_tone(out, OUTPUT_BAD), title, output_plain(out));
    output_rows(out, list, columns, count, "");
    fputc('\n', out->to);
}

static void show_audit(const struct output *out, const json_t *audit)
{
    static const struct output_column fire_times[] = {
        {"JOB", "job", OUTPUT_TEXT}, {"FIRE TIME", "fire_time", OUTPUT_TEXT}, {"WHY", "why", OUTPUT_TEXT}};
    static const struct output_column ranges[] = {
        {"JOB", "job", OUTPUT_TEXT},      {"FROM", "from", OUTPUT_TEXT},
        {"TO", "to", OUTPUT_TEXT},        {"REASON", "reason", OUTPUT_TEXT},
        {"COUNT", "count", OUTPUT_RIGHT}, {"IMPLIED", "implied", OUTPUT_RIGHT}};
    static const struct output_column gaps[] = {{"FROM", "from", OUTPUT_TEXT}, {"TO", "to", OUTPUT_TEXT}};
    int64_t unaccounted = number_at(audit, "unaccounted_count");
    bool passed = audit_passed(audit);

    if (out->format != OUTPUT_TABLE) {
        output_value(out, audit);
        return;
    }
    show_findings(out, audit, "unaccounted", "Without a run and without a skip", fire_times, 3);
    show_findings(out, audit, "doubled", "With more than one verdict", fire_times, 3);
    show_findings(out, audit, "ranges", "Skipped ranges whose count is not what the schedule implies", ranges,
                  6);
    show_findings(out, audit, "gaps", "Times for which the history is missing", gaps, 2);
    if (json_object_get(audit, AUDIT_CLOCK_KEY))
        fprintf(out->to,
                "%sThe server's wall clock is %+" PRId64
                " s off the time that it goes by%s; see cronsched doctor\n",
                output_tone(out, OUTPUT_BAD), number_at(audit, AUDIT_CLOCK_KEY) / 1000, output_plain(out));
    fprintf(out->to,
            "%" PRId64 " fire times from %s to %s: %" PRId64 " ended, %" PRId64 " skipped, %" PRId64 " open",
            number_at(audit, "fire_times"), output_text(json_object_get(audit, "since")),
            output_text(json_object_get(audit, "until")),
            number_at(audit, "runs") + number_at(audit, "pruned"), number_at(audit, "skipped"),
            number_at(audit, "open"));
    if (number_at(audit, "paused") > 0)
        fprintf(out->to, " (%" PRId64 " wait for the end of a pause, which will skip them)",
                number_at(audit, "paused"));
    if (unaccounted == 0 && !passed)
        fprintf(out->to, "; %snot in order, see above%s\n", output_tone(out, OUTPUT_BAD), output_plain(out));
    else if (!passed)
        fprintf(out->to, "; %s%" PRId64 " unaccounted%s\n", output_tone(out, OUTPUT_BAD), unaccounted,
                output_plain(out));
    else
        fprintf(out->to, "; %sall accounted for%s\n", output_tone(out, OUTPUT_GOOD), output_plain(out));
}

static void show_comparison(const struct output *out, const json_t *result)
{
    static const struct output_column columns[] = {{"RUN", "run", OUTPUT_TEXT},
                                                   {"DIFFERENCE", "text", OUTPUT_TEXT}};
    int64_t differences = number_at(result, "difference_count");
    const json_t *row;
    size_t i;

    if (out->format != OUTPUT_TABLE) {
        output_value(out, result);
        return;
    }
    json_array_foreach(json_object_get(result, "replicas"), i, row)
    {
        const char *why = json_string_value(json_object_get(row, "error"));

        fprintf(out->to, "%s: ", output_text(json_object_get(row, "id")));
        if (why)
            fprintf(out->to, "%s%s%s%s\n", output_tone(out, OUTPUT_BAD),
                    json_is_object(json_object_get(row, "audit")) ? "" : "cannot be asked: ", why,
                    output_plain(out));
        if (json_is_object(json_object_get(row, "audit")))
            show_audit(out, json_object_get(row, "audit"));
    }
    if (differences > 0) {
        fprintf(out->to, "\n%sThe replicas differ about %" PRId64 " runs%s\n", output_tone(out, OUTPUT_BAD),
                differences, output_plain(out));
        output_rows(out, json_object_get(result, "differences"), columns, 2, "");
    } else if (audit_compare_passed(result)) {
        fprintf(out->to, "%sthe books of %zu replicas agree%s\n", output_tone(out, OUTPUT_GOOD),
                json_array_size(json_object_get(result, "replicas")), output_plain(out));
    }
}

/* The query's times were checked when it was made. */
static const char *query_time(struct cli_context *s, const char *name, char buffer[TEXT_NUMBER_BUFFER])
{
    const char *value = verb_option(s->call, name);
    int64_t ms = s->out.now_ms;

    if (!value && strcmp(name, "until") != 0)
        return NULL;
    if (value)
        human_time_parse(value, s->out.now_ms, HUMAN_TIME_PAST, &ms, NULL);
    return instant_format(ms, ms % 1000 ? INSTANT_MS : INSTANT_S, buffer, TEXT_NUMBER_BUFFER);
}

static int audit_all(struct cli_context *s)
{
    char since[TEXT_NUMBER_BUFFER], until[TEXT_NUMBER_BUFFER];
    const char *from = query_time(s, "since", since), *to = query_time(s, "until", until);
    json_t *result = NULL;
    int code = audit_compare(s, verb_option(s->call, "job"), from, to, &result);

    if (code == EXIT_FINE) {
        show_comparison(&s->out, result);
        if (!audit_compare_passed(result))
            code = EXIT_DIFFERS;
    }
    json_decref(result);
    return code;
}

static int run_audit(const struct verb_call *call)
{
    struct cli_context s;
    json_t *reply = NULL;
    int code;

    if (!verb_option(call, "since"))
        return verb_usage(call, "--since is needed");
    code = cli_open(&s, call);
    s.client.timeout_ms = AUDIT_TIMEOUT_MS;
    cli_path(&s, "/v1/audit");
    cli_query(&s, "job", verb_option(call, "job"));
    if (code == EXIT_FINE)
        code = cli_query_range(&s);
    if (code == EXIT_FINE && verb_flag(call, "all-replicas"))
        return cli_close(&s, audit_all(&s));
    if (code == EXIT_FINE)
        code = cli_get(&s, &reply);
    if (code == EXIT_FINE) {
        show_audit(&s.out, reply);
        if (!audit_passed(reply))
            code = EXIT_DIFFERS;
    }
    json_decref(reply);
    return cli_close(&s, code);
}

const struct verb verb_audit = {
    .name = "audit",
    .help = "check that every fire time has exactly one verdict",
    .text =
        "Computes which fire times the schedules implied, as they were at the time, and compares them "
        "with the runs "
        "and the recorded skips. Runs that have not ended count as open. Exit code 1 and the list when "
        "one is "
        "unaccounted for. With --all-replicas each replica is asked at the server of --server that it is, "
        "else at the URL that it advertises, and "
        "they must have "
        "the same ends of the same runs; one that cannot be asked, or that is known and is not there, is an "
        "error, too.",
    .group = VERB_GROUP_TIME,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = audit_options,
    .run = run_audit,
};

/* ---- explain ---- */

static const struct verb_option explain_options[] = {{0}};

static void show_nearest(const struct output *out, const json_t *reply, const char *key, const char *title)
{
    const char *text = json_string_value(json_object_get(reply, key));
    char local[TEXT_NUMBER_BUFFER];
    int64_t ms;

    if (text && instant_parse(text, &ms, NULL) == 0)
        fprintf(out->to, "%s %s\n", title, human_time_local(ms, local, sizeof(local)));
    else
        fprintf(out->to, "%s none\n", title);
}

static void show_explain(const struct output *out, const json_t *reply)
{
    static const struct output_column columns[] = {
        {"TIME", "time", OUTPUT_TIME}, {"WHAT", "what", OUTPUT_TEXT}, {"TEXT", "text", OUTPUT_TEXT}};
    static const struct output_column fields[] = {{"Job", "job", OUTPUT_TEXT},
                                                  {"Time", "time", OUTPUT_TIME},
                                                  {"Run", "run", OUTPUT_TEXT},
                                                  {"Verdict", "verdict", OUTPUT_STATE},
                                                  {"In short", "text", OUTPUT_TEXT}};

    if (out->format != OUTPUT_TABLE) {
        output_value(out, reply);
        return;
    }
    output_fields(out, reply, fields, sizeof(fields) / sizeof(fields[0]));
    if (json_array_size(json_object_get(reply, "lines"))) {
        fputc('\n', out->to);
        output_rows(out, json_object_get(reply, "lines"), columns, sizeof(columns) / sizeof(columns[0]), "");
    }
    if (json_is_false(json_object_get(reply, "is_fire_time")) &&
        (json_is_string(json_object_get(reply, "previous")) ||
         json_is_string(json_object_get(reply, "next")))) {
        fputc('\n', out->to);
        show_nearest(out, reply, "previous", "The fire time before:");
        show_nearest(out, reply, "next", "The fire time after: ");
    }
}

/* The fire time of a run, or of the last run of a job. */
static int path_of_run(struct cli_context *s, const char *run_or_job)
{
    json_t *run = NULL;
    char *id = NULL;
    int code = run_find_last(s, run_or_job, &id);

    if (code == EXIT_FINE) {
        cli_path(s, "/v1/runs/%s", id);
        code = cli_get(s, &run);
    }
    cli_path(s, "/v1/explain");
    cli_query(s, "job", output_text(json_object_get(run, "job")));
    cli_query(s, "time", output_text(json_object_get(run, "fire_time")));
    json_decref(run);
    free(id);
    return code;
}

static int path_of_time(struct cli_context *s, const char *job, const char *text)
{
    char time[TEXT_NUMBER_BUFFER];
    struct error error;
    int64_t ms;

    if (human_time_parse(text, s->out.now_ms, HUMAN_TIME_PAST, &ms, &error) < 0)
        return verb_usage(s->call, "%s", error.text);
    cli_path(s, "/v1/explain");
    cli_query(s, "job", job);
    cli_query(s, "time", instant_format(ms, ms % 1000 ? INSTANT_MS : INSTANT_S, time, sizeof(time)));
    return EXIT_FINE;
}

static int run_explain(const struct verb_call *call)
{
    struct cli_context s;
    int code = cli_open(&s, call);

    if (code == EXIT_FINE && call->arg_count == 2)
        code = path_of_time(&s, call->args[0], call->args[1]);
    else if (code == EXIT_FINE)
        code = path_of_run(&s, call->args[0]);
    return code == EXIT_FINE ? cli_show(&s, show_explain) : cli_close(&s, code);
}

const struct verb verb_explain = {
    .name = "explain",
    .args = "JOB|RUN [TIME]",
    .help = "explain why a job did or did not run at a given time",
    .text = "Without a time: of a run, or of the last run of a job. The causal chain: expression, zone, "
            "pause, overlap, the leader's epoch, the engine's calls and "
            "answers, "
            "attempts, verdict.",
    .group = VERB_GROUP_TIME,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = explain_options,
    .run = run_explain,
};
