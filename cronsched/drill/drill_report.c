/* What a drill prints. */
#include "cronsched/drill/drill.h"
#include "jobs/time/instant.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- distributions ---- */

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

typedef int64_t measure(const struct drill_repeat *repeat, size_t engine);

static int64_t gap_of(const struct drill_repeat *repeat, size_t engine)
{
    (void)engine;
    return repeat->gap_ms;
}

static int64_t first_of(const struct drill_repeat *repeat, size_t engine)
{
    return repeat->first_ms[engine];
}

static int64_t silent_of(const struct drill_repeat *repeat, size_t engine)
{
    return repeat->silent_ms[engine];
}

static int64_t late_of(const struct drill_repeat *repeat, size_t engine)
{
    return repeat->late_ms[engine];
}

/* Nearest rank; null when no repeat has it. */
static json_t *distribution(const struct drill *d, measure *of, size_t engine)
{
    int64_t *values = malloc((d->done_count + 1) * sizeof(*values));
    json_t *result = json_null();
    size_t n = 0;

    for (size_t i = 0; values && i < d->done_count; i++)
        if (of(&d->done[i], engine) >= 0)
            values[n++] = of(&d->done[i], engine);
    if (n > 0) {
        qsort(values, n, sizeof(*values), compare);
        result = json_pack("{s:I, s:I, s:I, s:I, s:I}", "count", (json_int_t)n, "least", values[0], "median",
                           values[(n - 1) / 2], "p99", values[(99 * n + 99) / 100 - 1], "max", values[n - 1]);
    }
    free(values);
    return result;
}

static json_t *by_engine(const struct drill *d, measure *of)
{
    json_t *all = json_object();

    for (size_t e = 0; e < d->engine_count; e++)
        json_object_set_new(all, d->engines[e], distribution(d, of, e));
    return all;
}

/* ---- JSON ---- */

static json_t *or_null(int64_t ms)
{
    return ms < 0 ? json_null() : json_integer(ms);
}

static json_t *repeat_json(const struct drill *d, const struct drill_repeat *repeat)
{
    json_t *first = json_object(), *silent = json_object(), *late = json_object();
    char time[TEXT_NUMBER_BUFFER];

    for (size_t e = 0; e < d->engine_count; e++) {
        json_object_set_new(first, d->engines[e], or_null(repeat->first_ms[e]));
        json_object_set_new(silent, d->engines[e], json_integer(repeat->silent_ms[e]));
        json_object_set_new(late, d->engines[e], json_integer(repeat->late_ms[e]));
    }
    return json_pack("{s:s, s:s, s:I, s:s, s:I, s:s, s:o, s:I, s:o, s:o, s:o}", "time",
                     instant_format(repeat->fault_ms, INSTANT_MS, time, sizeof(time)), "leader",
                     repeat->before.leader, "epoch", (json_int_t)repeat->before.epoch, "successor",
                     repeat->after.leader, "successor_epoch", (json_int_t)repeat->after.epoch, "cause",
                     repeat->cause, "gap_ms", or_null(repeat->gap_ms), "broken_ms",
                     (json_int_t)(repeat->healed_ms - repeat->fault_ms), "first_fire_ms", first, "silence_ms",
                     silent, "lateness_ms", late);
}

static json_t *canaries_json(const struct drill *d)
{
    json_t *engines = json_array();

    for (size_t e = 0; e < d->engine_count; e++)
        json_array_append_new(engines, json_string(d->engines[e]));
    return json_pack("{s:o, s:I, s:I, s:I}", "engines", engines, "rate", (json_int_t)d->rate, "fire_times",
                     (json_int_t)d->verdict.fire_times, "starts", (json_int_t)d->verdict.starts);
}

json_t *drill_report(const struct drill *d)
{
    const struct drill_verdict *verdict = &d->verdict;
    json_t *repeats = json_array(), *report;

    for (size_t i = 0; i < d->done_count; i++)
        json_array_append_new(repeats, repeat_json(d, &d->done[i]));
    report = json_pack("{s:s, s:s, s:I, s:b, s:o, s:o}", "drill", d->fault->name, "at", d->point->name,
                       "seed", (json_int_t)d->seed, "passed", drill_passed(verdict), "canaries",
                       canaries_json(d), "repeats", repeats);
    json_object_set_new(report, "gap_ms", distribution(d, gap_of, 0));
    json_object_set_new(report, "first_fire_ms", by_engine(d, first_of));
    json_object_set_new(report, "silence_ms", by_engine(d, silent_of));
    json_object_set_new(report, "lateness_ms", by_engine(d, late_of));
    json_object_set_new(report, "doubled_count", json_integer((json_int_t)verdict->doubled_count));
    json_object_set_new(report, "lost_count", json_integer((json_int_t)verdict->lost_count));
    json_object_set_new(report, "unaccounted_count", json_integer((json_int_t)verdict->unaccounted_count));
    json_object_set_new(report, "passed_over_count", json_integer((json_int_t)verdict->skipped_count));
    json_object_set_new(report, "unprovable_count", json_integer((json_int_t)verdict->unprovable_count));
    json_object_set_new(report, "journal_lost_count", json_integer((json_int_t)verdict->forgotten_count));
    json_object_set_new(report, "wrongly_led_count", json_integer((json_int_t)verdict->led_count));
    json_object_set_new(report, "open_count", json_integer((json_int_t)verdict->open));
    json_object_set_new(report, "torn_lines", json_integer((json_int_t)verdict->torn));
    json_object_set(report, "doubled", verdict->doubled);
    json_object_set(report, "lost", verdict->lost);
    json_object_set(report, "unaccounted", verdict->unaccounted);
    json_object_set(report, "passed_over", verdict->skipped);
    json_object_set(report, "unprovable", verdict->unprovable);
    return report;
}

/* ---- the table ---- */

static void add_row(json_t *rows, const char *what, const char *engine, const json_t *numbers)
{
    char title[DRILL_ID_MAX];
    json_t *row = json_is_null(numbers) ? NULL : json_deep_copy(numbers);

    if (engine)
        snprintf(title, sizeof(title), "%s, %s", what, engine);
    else
        snprintf(title, sizeof(title), "%s", what);
    if (row) {
        json_object_set_new(row, "what", json_string(title));
        json_array_append_new(rows, row);
    }
}

static void show_numbers(const struct drill *d, const struct output *out, const json_t *report)
{
    static const struct output_column columns[] = {
        {"MILLISECONDS", "what", OUTPUT_TEXT}, {"COUNT", "count", OUTPUT_RIGHT},
        {"LEAST", "least", OUTPUT_RIGHT},      {"MEDIAN", "median", OUTPUT_RIGHT},
        {"P99", "p99", OUTPUT_RIGHT},          {"MAX", "max", OUTPUT_RIGHT}};
    static const struct {
        const char *key, *title;
    } kinds[] = {{"first_fire_ms", "to the new leader's first start"},
                 {"silence_ms", "longest time without a start"},
                 {"lateness_ms", "latest start after its fire time"}};
    json_t *rows = json_array();

    add_row(rows, "to the new leader", NULL, json_object_get(report, "gap_ms"));
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
        for (size_t e = 0; e < d->engine_count; e++)
            add_row(rows, kinds[k].title, d->engines[e],
                    json_object_get(json_object_get(report, kinds[k].key), d->engines[e]));
    output_rows(out, rows, columns, sizeof(columns) / sizeof(columns[0]), "There are no measurements.");
    json_decref(rows);
}

static void show_list(const struct output *out, const char *title, const json_t *list, size_t count)
{
    const json_t *item;
    size_t i;

    if (count == 0)
        return;
    fprintf(out->to, "%s%s: %zu%s\n", output_tone(out, OUTPUT_BAD), title, count, output_plain(out));
    json_array_foreach(list, i, item) fprintf(out->to, "  %s\n", json_string_value(item));
}

void drill_show(const struct drill *d, const struct output *out)
{
    const struct drill_verdict *verdict = &d->verdict;
    bool passed = drill_passed(verdict);
    json_t *report = drill_report(d);

    if (out->format != OUTPUT_TABLE) {
        output_value(out, report);
        json_decref(report);
        return;
    }
    show_numbers(d, out, report);
    fputc('\n', out->to);
    show_list(out, "Started more than once", verdict->doubled, verdict->doubled_count);
    show_list(out, "Lost", verdict->lost, verdict->lost_count);
    show_list(out, "Without a verdict", verdict->unaccounted, verdict->unaccounted_count);
    if (verdict->unprovable_count > 0)
        fprintf(out->to, "%zu lost because the %s: whether they ran is unknown\n", verdict->unprovable_count,
                d->fault->may_forget ? "journal of their time was" : "engine went down during the start");
    if (verdict->forgotten_count > 0)
        fprintf(out->to, "%zu skipped as journal-lost\n", verdict->forgotten_count);
    if (verdict->led_count > 0)
        fprintf(out->to, "%s%zu times somebody led, started or took over who may not%s\n",
                output_tone(out, OUTPUT_BAD), verdict->led_count, output_plain(out));
    show_list(out, "Skipped: a verdict, but no start", verdict->skipped, verdict->skipped_count);
    fprintf(out->to,
            "%s %zu times, %s (seed %" PRIu64 "): %" PRId64 " fire times, %" PRId64
            " starts; %zu doubled, %zu lost, "
            "%zu without a verdict, %zu skipped, %zu open: ",
            d->fault->name, d->done_count, d->point->name, d->seed, verdict->fire_times, verdict->starts,
            verdict->doubled_count, verdict->lost_count, verdict->unaccounted_count, verdict->skipped_count,
            verdict->open);
    fputs(output_tone(out, passed ? OUTPUT_GOOD : OUTPUT_BAD), out->to);
    fputs(passed ? "passed" : "failed", out->to);
    fprintf(out->to, "%s\n", output_plain(out));
    json_decref(report);
}
