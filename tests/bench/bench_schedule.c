/* How long it takes to read an expression and to find its next fire time, over the sample's expressions in
 * their zones: bench_schedule SAMPLE.jsonl. Prints one JSON object: nanoseconds, medians and the worst. By
 * hand, in a release build: meson setup build-release --buildtype=release && ninja -C build-release
 * tests/bench/bench_schedule
 */
#include "jobs/time/civil.h"
#include "jobs/time/cron.h"
#include "jobs/time/walltime.h"
#include "jobs/time/zoneinfo.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CASES_MAX    2000
#define PARSE_ROUNDS 2000
#define NEXT_ROUNDS  500
#define CHAIN        10 /* fire times found one after the other, from the case's own instant */

struct times {
    double ns[CASES_MAX];
    size_t count;
};

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double quantile(struct times *times, double q)
{
    qsort(times->ns, times->count, sizeof(times->ns[0]), compare);
    return times->count ? times->ns[(size_t)(q * (double)(times->count - 1))] : 0;
}

static int64_t instant(const char *text)
{
    struct civil_text civil = {0};

    civil_parse(text, strlen(text), &civil, NULL, NULL);
    return civil.local_s - civil.offset_s;
}

/* Keeps the compiler from leaving the work out. */
static volatile int64_t sink;

static double time_parse(const char *text, const struct cron_context *context, struct cron *ret)
{
    size_t length = strlen(text);
    double start = now_ns();

    for (int i = 0; i < PARSE_ROUNDS; i++) {
        if (cron_parse(text, length, context, ret, NULL, NULL) < 0)
            return -1;
        sink = ret->first_s;
    }
    return (now_ns() - start) / PARSE_ROUNDS;
}

static double time_next(const struct cron *cron, const struct zone *zone, int64_t after_s)
{
    double start = now_ns();
    int64_t calls = 0;

    for (int i = 0; i < NEXT_ROUNDS; i++) {
        int64_t at_s = after_s;

        for (int k = 0; k < CHAIN && at_s != SCHEDULE_NEVER; k++, calls++)
            at_s = walltime_next(cron, zone, SCHEDULE_HYBRID, at_s);
        sink = at_s;
    }
    return (now_ns() - start) / (double)calls;
}

static void run_case(const json_t *item, struct zone_source *zones, struct times *parse, struct times *next)
{
    const char *text = json_string_value(json_object_get(item, "expr"));
    const char *dialect = json_string_value(json_object_get(item, "dialect"));
    struct cron_context context = {.dialect = strcmp(dialect, "quartz") == 0 ? SCHEDULE_QUARTZ
                                                                             : SCHEDULE_CRON};
    const char *name = json_string_value(json_object_get(item, "tz"));
    const struct zone *zone = zone_utc();
    struct cron cron;
    double ns = time_parse(text, &context, &cron);

    if (ns < 0 || (strcmp(name, "UTC") != 0 && zones->get(zones, name, &zone, NULL) < 0))
        return;
    parse->ns[parse->count++] = ns;
    next->ns[next->count++] =
        time_next(&cron, zone, instant(json_string_value(json_object_get(item, "after"))));
    if (zone != zone_utc())
        zones->put(zones, zone);
}

int main(int argc, char **argv)
{
    static struct times parse, next;
    struct zoneinfo *zoneinfo;
    char line[8192];
    FILE *file;

    if (argc != 2 || !(file = fopen(argv[1], "r")) ||
        zoneinfo_new(&zoneinfo, "/usr/share/zoneinfo", NULL) < 0) {
        fprintf(stderr, "usage: %s SAMPLE.jsonl\n", argv[0]);
        return 2;
    }
    while (fgets(line, sizeof(line), file) && parse.count < CASES_MAX) {
        json_t *item = json_loads(line, 0, NULL);

        if (item)
            run_case(item, zoneinfo_source(zoneinfo), &parse, &next);
        json_decref(item);
    }
    fclose(file);
    printf("{\"cases\": %zu, \"parse_ns\": %.1f, \"parse_p99_ns\": %.1f, \"next_ns\": %.1f, \"next_p99_ns\": "
           "%.1f, "
           "\"next_max_ns\": %.1f}\n",
           parse.count, quantile(&parse, 0.5), quantile(&parse, 0.99), quantile(&next, 0.5),
           quantile(&next, 0.99), quantile(&next, 1));
    zoneinfo_free(zoneinfo);
    return 0;
}
