#include "cronsched/cli/start_histogram.h"

#include "cronsched/cli/human_time.h"
#include "jobs/time/instant.h"

#include "jobs/base/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define MINUTE_S  60
#define BAR_WIDTH 24

/* ---- counting ---- */

void start_histogram_init(struct start_histogram *l, int64_t now_ms)
{
    *l = (struct start_histogram){.from_s = now_ms / 1000 / MINUTE_S * MINUTE_S};
}

void start_histogram_add(struct start_histogram *l, const struct schedule *schedule)
{
    int64_t end_s = l->from_s + START_HISTOGRAM_MINUTES * MINUTE_S, at_s = l->from_s - 1;

    while ((at_s = schedule_next(schedule, at_s)) < end_s) {
        int64_t launch_s = at_s + schedule_jitter_ms(schedule, at_s) / 1000;

        if (l->total == START_HISTOGRAM_MAX) {
            l->cut = true;
            return;
        }
        if (launch_s < end_s) {
            l->per_minute[(launch_s - l->from_s) / MINUTE_S]++;
            l->total++;
        }
    }
}

/* ---- as JSON ---- */

static int compare_counts(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return x < y ? -1 : x > y;
}

static json_t *histogram_json(const struct start_histogram *l)
{
    int sorted[START_HISTOGRAM_MINUTES];
    json_t *list = json_array();

    for (size_t i = 0; i < START_HISTOGRAM_MINUTES; i++)
        sorted[i] = l->per_minute[i];
    qsort(sorted, START_HISTOGRAM_MINUTES, sizeof(sorted[0]), compare_counts);
    for (size_t i = 0, from = 0; i < START_HISTOGRAM_MINUTES; i++) {
        if (i + 1 < START_HISTOGRAM_MINUTES && sorted[i + 1] == sorted[i])
            continue;
        if (sorted[i] > 0)
            json_array_append_new(
                list, json_pack("{s:i,s:i}", "launches", sorted[i], "minutes", (int)(i + 1 - from)));
        from = i + 1;
    }
    return list;
}

json_t *start_histogram_json(const struct start_histogram *l)
{
    char text[TEXT_NUMBER_BUFFER];
    size_t peak = 0;

    for (size_t i = 0; i < START_HISTOGRAM_MINUTES; i++)
        if (l->per_minute[i] > l->per_minute[peak])
            peak = i;
    instant_format((l->from_s + (int64_t)peak * MINUTE_S) * 1000, INSTANT_S, text, sizeof(text));
    return json_pack("{s:I,s:i,s:s,s:b,s:o}", "launches", (json_int_t)l->total, "peak", l->per_minute[peak],
                     "peak_at", text, "at_least", l->cut, "histogram", histogram_json(l));
}

/* ---- for people ---- */

/* The rows: from these numbers of launches in a minute up to the next. */
static const int bounds[] = {1, 2, 3, 4, 5, 10, 20, 50, 100, 200, 500, 1000};

#define ROWS (sizeof(bounds) / sizeof(bounds[0]))

static int64_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void sum_rows(const json_t *side, int64_t minutes[ROWS])
{
    const json_t *item;
    size_t i;

    json_array_foreach(json_object_get(side, "histogram"), i, item)
    {
        size_t row = ROWS - 1;

        while (row > 0 && number(item, "launches") < bounds[row])
            row--;
        minutes[row] += number(item, "minutes");
    }
}

/* Padded to `width`. */
static void print_bar(int64_t minutes, int64_t most, int width)
{
    static const char bar[] = "########################";
    int length = (int)((minutes * BAR_WIDTH + most - 1) / most); /* what is there is seen */

    _Static_assert(sizeof(bar) == BAR_WIDTH + 1, "a full bar");
    printf("  %4lld %-*.*s", (long long)minutes, width, length, bar);
}

static void print_row_name(size_t row)
{
    char name[32];

    if (row + 1 == ROWS)
        snprintf(name, sizeof(name), "%d or more", bounds[row]);
    else if (bounds[row + 1] - bounds[row] > 1)
        snprintf(name, sizeof(name), "%d-%d", bounds[row], bounds[row + 1] - 1);
    else
        snprintf(name, sizeof(name), "%d", bounds[row]);
    printf("  %12s", name);
}

static void print_histograms(const json_t *before, const json_t *after)
{
    int64_t was[ROWS] = {0}, will[ROWS] = {0}, most = 0;

    sum_rows(before, was);
    sum_rows(after, will);
    for (size_t row = 0; row < ROWS; row++) {
        most = was[row] > most ? was[row] : most;
        most = will[row] > most ? will[row] : most;
    }
    if (most == 0)
        return;
    printf("  %12s  %-*s  %s\n", "in a minute", BAR_WIDTH + 5, "minutes now", "minutes then");
    for (size_t row = 0; row < ROWS; row++) {
        if (was[row] == 0 && will[row] == 0)
            continue;
        print_row_name(row);
        print_bar(was[row], most, BAR_WIDTH);
        print_bar(will[row], most, 0);
        putchar('\n');
    }
}

void start_histogram_print(const json_t *load)
{
    const json_t *before = json_object_get(load, "before"), *after = json_object_get(load, "after");
    char local[TEXT_NUMBER_BUFFER] = "?";
    int64_t ms;

    if (instant_parse(output_text(json_object_get(after, "peak_at")), &ms, NULL) == 0)
        human_time_local(ms, local, sizeof(local));
    printf("Launches in the next 24 h: %s%lld (now %lld); most in one minute: %lld at %s (now %lld)\n",
           json_is_true(json_object_get(after, "at_least")) ? "at least " : "",
           (long long)number(after, "launches"), (long long)number(before, "launches"),
           (long long)number(after, "peak"), local, (long long)number(before, "peak"));
    print_histograms(before, after);
}
