/* records: what the journal has on what happened, and by whom. */
#include "cronsched/cli/human_time.h"
#include "cronsched/cli/records.h"
#include "jobs/time/instant.h"

#include <string.h>

#define SINCE_DEFAULT "24h"

static const struct verb_option options[] = {
    {"kinds", 0, "KIND,...", "these kinds: job, pause, trigger, ...; all (default what people cause)"},
    {"run", 0, "RUN", "of this run"},
    {"since", 0, "TIME",
     "from this time on: 2h, yesterday, 2026-11-22, RFC 3339 (default " SINCE_DEFAULT ", without --until)"},
    {"until", 0, "TIME", "up to this time"},
    {"limit", 'n', "N", "the last N of these"},
    {0}};

/* What a record says beside its job, run and caller: the first of these that it has. */
static json_t *text_of(const json_t *record)
{
    static const char *const keys[] = {"text", "reason", "cause", "verdict", "set"};
    const json_t *report = json_object_get(record, "report"), *version = json_object_get(record, "version");
    const char *replica = json_string_value(json_object_get(record, "replica"));

    if (json_is_string(json_object_get(report, "text")))
        return json_incref(json_object_get(report, "text"));
    if (version)
        return json_sprintf("version %" JSON_INTEGER_FORMAT, json_integer_value(version));
    if (replica)
        return json_sprintf("%s leads: %s", replica, output_text(json_object_get(record, "cause")));
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (json_is_string(json_object_get(record, keys[i])))
            return json_incref(json_object_get(record, keys[i]));
    return json_null();
}

static const json_t *about(const json_t *record)
{
    const json_t *run = json_object_get(record, "run");

    return run ? run : json_object_get(record, "job");
}

static void show(const struct output *out, const json_t *records)
{
    static const struct output_column columns[] = {{"TIME", "time", OUTPUT_TIME},
                                                   {"KIND", "kind", OUTPUT_TEXT},
                                                   {"ABOUT", "about", OUTPUT_TEXT},
                                                   {"BY", "by", OUTPUT_TEXT},
                                                   {"TEXT", "text", OUTPUT_CUT}};
    json_t *rows = json_array(), *entry;
    size_t i;

    json_array_foreach(records, i, entry)
    {
        const json_t *record = json_object_get(entry, "record"), *by = json_object_get(record, "by");
        const json_t *report = json_object_get(record, "report");

        json_array_append_new(rows,
                              json_pack("{s:O?,s:O?,s:O?,s:O?,s:o}", "time", json_object_get(entry, "time"),
                                        "kind", json_object_get(entry, "kind"), "about", about(record), "by",
                                        by ? by : json_object_get(report, "by"), "text", text_of(record)));
    }
    output_rows(out, rows, columns, sizeof(columns) / sizeof(columns[0]), "No records.");
    json_decref(rows);
}

/* All but the last `limit` go. */
static json_t *last_of(json_t *records, size_t limit)
{
    json_t *last = json_array();
    size_t count = json_array_size(records);

    for (size_t i = count > limit ? count - limit : 0; i < count; i++)
        json_array_append(last, json_array_get(records, i));
    json_decref(records);
    return last;
}

static int put_query(struct cli_context *s, const struct verb_call *call)
{
    char since[TEXT_NUMBER_BUFFER];
    struct error error;
    int64_t ms;
    int code;

    cli_path(s, "/v1/records");
    cli_query(s, "job", call->args[0]);
    cli_query(s, "run", verb_option(call, "run"));
    cli_query(s, "kinds", verb_option(call, "kinds"));
    code = cli_query_range(s);
    if (!verb_option(call, "since") && !verb_option(call, "until") && !verb_option(call, "run") &&
        human_time_parse(SINCE_DEFAULT, s->out.now_ms, HUMAN_TIME_PAST, &ms, &error) == 0)
        cli_query(s, "since", instant_format(ms, INSTANT_MS, since, sizeof(since)));
    return code;
}

static int run_records(const struct verb_call *call)
{
    struct cli_context s;
    struct error error;
    json_t *records = NULL;
    long limit = 0;
    int code = cli_open(&s, call);

    if (code != EXIT_FINE)
        return cli_close(&s, code);
    if (verb_option_int(call, "limit", 1, RECORDS_MAX, &limit, &error) < 0)
        return cli_close(&s, verb_usage(call, "%s", error.text));
    code = put_query(&s, call);
    if (code == EXIT_FINE)
        code = records_get(&s, &records);
    if (code == EXIT_FINE && limit > 0)
        records = last_of(records, (size_t)limit);
    if (code == EXIT_FINE && s.out.format == OUTPUT_TABLE)
        show(&s.out, records);
    else if (code == EXIT_FINE)
        output_value(&s.out, records);
    json_decref(records);
    return cli_close(&s, code);
}

const struct verb verb_records = {
    .name = "records",
    .args = "[JOB]",
    .help = "list who changed, paused, triggered or killed what, and who led",
    .text = "The journal's records of all replicas, the oldest first, as far back as history goes. --kinds "
            "all adds "
            "those of every run: armed, started, ended. -o json prints each record whole.",
    .group = VERB_GROUP_TIME,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = options,
    .run = run_records,
};
