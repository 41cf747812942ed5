/* audit and explain: the accounts of fire times. */
#include "cronsched/session.h"
#include "cronsched/when.h"

#include <inttypes.h>

/* --- audit
 * -------------------------------------------------------------------------------------------------- */

static const struct verb_option audit_options[] = {
    {"since", 0, "TIME", "from this time on: 2h, yesterday, 2026-11-22, RFC 3339"},
    {"until", 0, "TIME", "up to this time (default now)"},
    {0}};

static void show_audit(const struct output *out, const json_t *audit)
{
    static const struct output_column columns[] = {
        {"JOB", "job", OUTPUT_TEXT},
        {"FIRE TIME", "fire_time", OUTPUT_TEXT},
        {"WHAT IS WRONG", "text", OUTPUT_CUT},
    };
    const json_t *unaccounted = json_object_get(audit, "unaccounted"), *open = json_object_get(audit, "open");

    if (out->format != OUTPUT_TABLE) {
        output_value(out, audit);
        return;
    }
    if (json_array_size(unaccounted)) {
        output_rows(out, unaccounted, columns, sizeof(columns) / sizeof(columns[0]), "");
        fputc('\n', out->to);
    }
    fprintf(out->to, "%" JSON_INTEGER_FORMAT " fire times from %s to %s: ",
            json_integer_value(json_object_get(audit, "fire_times")),
            json_string_value(json_object_get(audit, "since")),
            json_string_value(json_object_get(audit, "until")));
    if (json_is_integer(open) && json_integer_value(open) > 0)
        fprintf(out->to, "%" JSON_INTEGER_FORMAT " open, ", json_integer_value(open));
    if (json_array_size(unaccounted))
        fprintf(out->to, "%s%zu unaccounted%s\n", output_tone(out, OUTPUT_BAD), json_array_size(unaccounted),
                output_plain(out));
    else
        fprintf(out->to, "%sall accounted for%s\n", output_tone(out, OUTPUT_GOOD), output_plain(out));
}

static int run_audit(const struct verb_call *call)
{
    struct session s;
    json_t *reply = NULL;
    int code;

    if (!verb_option(call, "since"))
        return verb_usage(call, "--since is needed");
    code = session_open(&s, call);
    session_path(&s, "/v1/audit");
    if (code == EXIT_FINE)
        code = session_query_time(&s, "since", "since", WHEN_PAST);
    if (code == EXIT_FINE)
        code = session_query_time(&s, "until", "until", WHEN_PAST);
    if (code == EXIT_FINE)
        code = session_get(&s, &reply);
    if (code == EXIT_FINE) {
        show_audit(&s.out, reply);
        if (json_array_size(json_object_get(reply, "unaccounted")) > 0)
            code = EXIT_DIFFERS;
    }
    json_decref(reply);
    return session_close(&s, code);
}

const struct verb verb_audit = {
    .name = "audit",
    .help = "check that every fire time has exactly one verdict",
    .text = "Computes which fire times the schedules implied, as they were at the time, and compares them "
            "with the runs "
            "and the recorded skips. Runs that have not ended count as open. Exit code 1 and the list when "
            "one is "
            "unaccounted for.",
    .group = VERB_GROUP_TIME,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = audit_options,
    .run = run_audit,
};

/* --- explain
 * ------------------------------------------------------------------------------------------------ */

static const struct verb_option explain_options[] = {{0}};

static void show_explain(const struct output *out, const json_t *reply)
{
    static const struct output_column columns[] = {
        {"TIME", "time", OUTPUT_TEXT},
        {"WHAT", "what", OUTPUT_TEXT},
        {"TEXT", "text", OUTPUT_TEXT},
    };
    const char *answer = json_string_value(json_object_get(reply, "text"));

    if (out->format != OUTPUT_TABLE) {
        output_value(out, reply);
        return;
    }
    if (answer)
        fprintf(out->to, "%s\n", answer);
    if (json_array_size(json_object_get(reply, "chain"))) {
        fputc('\n', out->to);
        output_rows(out, json_object_get(reply, "chain"), columns, sizeof(columns) / sizeof(columns[0]), "");
    }
}

static int run_explain(const struct verb_call *call)
{
    char time[TEXT_NUMBER_BUFFER];
    struct session s;
    struct error error;
    int64_t ms;
    int code = session_open(&s, call);

    if (code == EXIT_FINE && when_parse(call->args[1], s.out.now_ms, WHEN_PAST, &ms, &error) < 0)
        code = verb_usage(call, "%s", error.text);
    if (code != EXIT_FINE)
        return session_close(&s, code);
    session_path(&s, "/v1/explain");
    session_query(&s, "job", call->args[0]);
    session_query(&s, "time",
                  text_format_time(ms, ms % 1000 ? TEXT_TIME_MS : TEXT_TIME_S, time, sizeof(time)));
    return session_show(&s, show_explain);
}

const struct verb verb_explain = {
    .name = "explain",
    .args = "JOB TIME",
    .help = "say why a job did or did not run at a time",
    .text = "The causal chain: expression, zone, pause, overlap, the leader's reign, the engine's calls and "
            "answers, "
            "attempts, verdict.",
    .group = VERB_GROUP_TIME,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = explain_options,
    .run = run_explain,
};
