/* dst-report: every job and wall time that a change of the clock touches within a year. */
#include "cronsched/cli/dst_effects.h"
#include "cronsched/cli/jobfiles.h"
#include "cronsched/cli/output.h"
#include "cronsched/cli/stored_job.h"
#include "cronsched/io/zones.h"

#include "jobs/time/civil.h"

#include <stdlib.h>
#include <string.h>

struct report {
    const struct verb_call *call;
    struct output out;
    struct zoneinfo *zoneinfo;
    int64_t from_s, to_s; /* the year, UTC */
    long year;
    json_t *rows;
    bool failed; /* a job could not be compiled */
};

static int add_job(struct report *r, const char *job, const struct schedule *s)
{
    json_t *found = dst_effects(job, s, r->from_s - 1, r->to_s - 1);

    if (!found || json_array_extend(r->rows, found) < 0) {
        json_decref(found);
        return cli_fail(ERR_NOMEM, "out of memory");
    }
    json_decref(found);
    return EXIT_FINE;
}

static void fail_job(struct report *r, const char *job, const struct error *error)
{
    verb_print(stderr, "cronsched: %s: %s\n", job, error->text);
    r->failed = true;
}

/* ---- where jobs come from ---- */

static int add_files(struct report *r)
{
    struct zone_source *zones = zoneinfo_source(r->zoneinfo);
    const struct jobfiles_options options = {.follow_links = verb_flag(r->call, "follow-links"),
                                             .zones = zones};
    struct jobfile_set set;
    char line[JOBFILE_LINE_MAX];
    int code = EXIT_FINE;

    jobfile_set_init(&set);
    if (jobfiles_load(&set, r->call->args, r->call->arg_count, &options, NULL) == ERR_NOMEM)
        code = cli_fail(ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < set.error_count; i++)
        if (!set.errors[i].warning)
            fprintf(stderr, "%s\n", jobfile_error_format(&set.errors[i], line, sizeof(line)));
    r->failed = set.failed > 0;
    for (size_t i = 0; i < set.count && code == EXIT_FINE; i++) {
        struct schedule *schedule = NULL;
        struct error error;

        /* what a `~` will choose is not known yet: any choice is as good */
        if (job_compile(set.jobs[i], 0, 0, zones, &schedule, &error) < 0)
            fail_job(r, set.jobs[i]->name, &error);
        else if (schedule)
            code = add_job(r, set.jobs[i]->name, schedule);
        schedule_free(schedule);
    }
    jobfile_set_release(&set);
    return code;
}

static int add_stored(struct report *r)
{
    json_t *jobs = NULL, *stored;
    struct cli_context cli;
    const char *name;
    int code = cli_open(&cli, r->call);

    if (code == EXIT_FINE)
        code = stored_jobs_get(&cli, &jobs);
    json_object_foreach(jobs, name, stored)
    {
        struct schedule *schedule = NULL;
        struct error error;

        if (code != EXIT_FINE)
            break;
        if (stored_job_compile(name, stored, zoneinfo_source(r->zoneinfo), &schedule, &error) < 0)
            fail_job(r, name, &error);
        else if (schedule)
            code = add_job(r, name, schedule);
        schedule_free(schedule);
    }
    json_decref(jobs);
    return cli_close(&cli, code);
}

/* ---- the verb ---- */

static int compare_rows(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int order = strcmp(json_string_value(json_object_get(x, "change_at")),
                       json_string_value(json_object_get(y, "change_at")));

    return order ? order
                 : strcmp(json_string_value(json_object_get(x, "job")),
                          json_string_value(json_object_get(y, "job")));
}

/* By the time of the change, then by job. */
static json_t *sorted(const json_t *rows)
{
    size_t count = json_array_size(rows);
    json_t **list = calloc(count + 1, sizeof(json_t *)), *ret = json_array();

    for (size_t i = 0; list && i < count; i++)
        list[i] = json_array_get(rows, i);
    if (list)
        qsort(list, count, sizeof(json_t *), compare_rows);
    for (size_t i = 0; list && i < count; i++)
        json_array_append(ret, list[i]);
    free(list);
    return ret;
}

/* What only the table shows. */
static void add_words(json_t *rows)
{
    char times[64];
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        json_object_set_new(row, "times", json_string(dst_effect_times(row, times, sizeof(times))));
        json_object_set_new(row, "words", json_string(dst_effect_words(row)));
    }
}

static void print(struct report *r)
{
    static const struct output_column columns[] = {
        {"CHANGE", "change_local", OUTPUT_TEXT},
        {"TIMEZONE", "timezone", OUTPUT_TEXT},
        {"JOB", "job", OUTPUT_TEXT},
        {"WALL TIME", "times", OUTPUT_TEXT},
        {"EFFECT", "words", OUTPUT_CUT},
        {"SCHEDULE", "schedule", OUTPUT_CUT},
    };
    json_t *rows = sorted(r->rows);
    char none[64];

    snprintf(none, sizeof(none), "No clock change affects a job in %ld.", r->year);
    if (r->out.format == OUTPUT_TABLE) {
        add_words(rows);
        output_rows(&r->out, rows, columns, sizeof(columns) / sizeof(columns[0]), none);
    } else {
        output_value(&r->out, rows);
    }
    json_decref(rows);
}

static int run(const struct verb_call *call)
{
    struct report r = {.call = call, .rows = json_array()};
    struct error error;
    int month, day, year, code;

    output_init(&r.out, call);
    civil_from_days(civil_day_of(r.out.now_ms / 1000), &year, &month, &day);
    r.year = year;
    if (verb_option_int(call, "year", CIVIL_YEAR_MIN, CIVIL_YEAR_MAX, &r.year, &error) < 0)
        code = verb_usage(call, "%s", error.text);
    else if (zones_open(&r.zoneinfo, &error) < 0)
        code = verb_fail(&error);
    else {
        r.from_s = civil_days((int)r.year, 1, 1) * CIVIL_DAY_S;
        r.to_s = civil_days((int)r.year + 1, 1, 1) * CIVIL_DAY_S;
        code = call->arg_count > 0 ? add_files(&r) : add_stored(&r);
    }
    if (code == EXIT_FINE)
        print(&r);
    zoneinfo_free(r.zoneinfo);
    json_decref(r.rows);
    return code == EXIT_FINE && r.failed ? EXIT_DIFFERS : code;
}

static const struct verb_option options[] = {
    {"year", 'y', "YEAR", "of this year (default the current one)"}, JOBFILES_OPTION, {0}};

const struct verb verb_dst_report = {
    .name = "dst-report",
    .args = "[PATH...]",
    .help = "list jobs and times that clock changes affect",
    .text =
        "Of the jobs of the files, without a server, or of all jobs that the server has. Each row is a "
        "change of a "
        "zone's offset and the wall times of one job that the clock skips or shows twice then, with what the "
        "job's policy makes of them. Every change of offset counts, whether it is called daylight saving or "
        "not.\n\nExit code 0, or 1 when a file or a job could not be read.",
    .group = VERB_GROUP_TIME,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = options,
    .run = run,
};
