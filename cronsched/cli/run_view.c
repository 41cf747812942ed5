#include "cronsched/cli/run_view.h"

#include "cronsched/cli/human_time.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <string.h>

const char *run_view_text(const json_t *run, const char *key)
{
    return json_string_value(json_object_get(run, key));
}

static bool time_at(const json_t *run, const char *key, int64_t *ret_ms)
{
    const char *text = run_view_text(run, key);

    return text && instant_parse(text, ret_ms, NULL) == 0;
}

int64_t run_view_duration_ms(const json_t *run, int64_t now_ms)
{
    int64_t started, ended;

    if (!time_at(run, "started", &started))
        return -1;
    if (!time_at(run, "ended", &ended))
        ended = now_ms;
    return ended > started ? ended - started : 0;
}

bool run_view_known(const json_t *run)
{
    static const char *const states[] = {"waiting",  "armed",      "starting", "running",
                                         "retrying", "unresolved", "ended",    "skipped"};
    const char *state = run_view_text(run, "state");

    for (size_t i = 0; state && i < sizeof(states) / sizeof(states[0]); i++)
        if (strcmp(state, states[i]) == 0)
            return true;
    return false;
}

bool run_view_over(const json_t *run)
{
    const char *state = run_view_text(run, "state");

    return state && (strcmp(state, "ended") == 0 || strcmp(state, "skipped") == 0);
}

bool run_view_succeeded(const json_t *run)
{
    const char *verdict = run_view_text(run, "verdict");

    return verdict && strcmp(verdict, "succeeded") == 0;
}

void run_view_line(FILE *to, const struct output *out, const json_t *run)
{
    const char *verdict = run_view_text(run, "verdict"), *text = run_view_text(run, "text");
    const json_t *exit_code = json_object_get(run, "exit_code");
    size_t attempts = json_array_size(json_object_get(run, "attempts"));
    int64_t ms = run_view_duration_ms(run, out->now_ms);
    char span[TEXT_NUMBER_BUFFER];

    if (!verdict)
        verdict = run_view_text(run, "state");
    verb_print(to, "%s %s", run_view_text(run, "run"), verdict ? verdict : "?");
    if (json_is_integer(exit_code) && json_integer_value(exit_code) != 0)
        fprintf(to, ", exit code %d", (int)json_integer_value(exit_code));
    if (ms >= 0)
        fprintf(to, ", after %s", human_time_span(ms, span, sizeof(span)));
    if (attempts > 1)
        fprintf(to, " (%zu attempts)", attempts);
    if (text && *text)
        verb_print(to, ": %s", text);
    fputc('\n', to);
}

static json_t *attempts_shown(const json_t *run, int64_t now_ms)
{
    json_t *copy = json_deep_copy(json_object_get(run, "attempts")), *attempt;
    size_t i;

    json_array_foreach(copy, i, attempt)
    {
        int64_t ms = run_view_duration_ms(attempt, now_ms);
        const char *id = run_view_text(attempt, "id");

        if (ms >= 0)
            json_object_set_new(attempt, "duration", json_integer(ms));
        if (id && strlen(id) > 12 &&
            strspn(id, "0123456789abcdef") == strlen(id)) /* as docker shortens them */
            json_object_set_new(attempt, "id", json_stringn(id, 12));
    }
    return copy;
}

void run_view_show(const struct output *out, const json_t *run)
{
    static const struct output_column fields[] = {
        {"Run", "run", OUTPUT_TEXT},
        {"Job", "job", OUTPUT_TEXT},
        {"Fire time", "fire_time", OUTPUT_TIME},
        {"Cause", "cause", OUTPUT_TEXT},
        {"By", "by", OUTPUT_TEXT},
        {"State", "state", OUTPUT_STATE},
        {"Verdict", "verdict", OUTPUT_STATE},
        {"Due", "due", OUTPUT_TIME},
        {"Retry at", "retry_at", OUTPUT_TIME},
        {"Started", "started", OUTPUT_TIME},
        {"Ended", "ended", OUTPUT_TIME},
        {"Took", "duration", OUTPUT_MS},
        {"Exit code", "exit_code", OUTPUT_TEXT},
        {"Parameters", "params", OUTPUT_TEXT},
        {"Text", "text", OUTPUT_TEXT},
    };
    static const struct output_column columns[] = {
        {"ATTEMPT", "attempt", OUTPUT_RIGHT},
        {"ENGINE", "engine", OUTPUT_TEXT},
        {"ID", "id", OUTPUT_CUT},
        {"STATE", "state", OUTPUT_STATE},
        {"STARTED", "started", OUTPUT_TIME},
        {"TOOK", "duration", OUTPUT_MS},
        {"EXIT", "exit_code", OUTPUT_RIGHT},
        {"EPOCH", "epoch", OUTPUT_RIGHT},
        {"TEXT", "text", OUTPUT_CUT},
    };
    json_t *shown;
    int64_t ms = run_view_duration_ms(run, out->now_ms);

    if (out->format != OUTPUT_TABLE) {
        output_value(out, run);
        return;
    }
    shown = json_copy((json_t *)run);
    if (ms >= 0)
        json_object_set_new(shown, "duration", json_integer(ms));
    output_fields(out, shown, fields, sizeof(fields) / sizeof(fields[0]));
    json_decref(shown);
    if (json_array_size(json_object_get(run, "attempts")) == 0)
        return;
    fputc('\n', out->to);
    shown = attempts_shown(run, out->now_ms);
    output_rows(out, shown, columns, sizeof(columns) / sizeof(columns[0]), "");
    json_decref(shown);
}
