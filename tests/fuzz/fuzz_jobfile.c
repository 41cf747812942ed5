/* Any bytes as a job file. What is accepted must be printed and read again as the same jobs, with and without
 * zones, in the same words; what is refused must be told with a place. */
#include "jobs/definition/jobfile.h"
#include "tests/fuzz/fuzz.h"

#include "jobs/time/zoneinfo.h"

#include <stdlib.h>
#include <string.h>

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_job(const struct job *job, struct zone_source *zones)
{
    json_t *json = job_to_json(job), *printed;
    struct job *again = NULL, *trusted = NULL;
    struct schedule *schedule = NULL;

    require(json && job_name_valid(job->name));
    require(job_from_json(&again, job->name, json, zones, NULL) == 0);
    require(job_from_json(&trusted, job->name, json, NULL, NULL) == 0);
    require(job_equal(job, again) && job_equal(job, trusted));
    printed = job_to_json(again);
    require(printed && json_equal(json, printed));
    require(job_compile(job, 1, 0, zones, &schedule, NULL) == 0);
    require((schedule != NULL) == (job->schedule.count > 0));
    schedule_free(schedule);
    job_unref(again);
    job_unref(trusted);
    json_decref(printed);
    json_decref(json);
}

static void check_errors(const struct jobfile_set *set)
{
    size_t failed = 0;

    for (size_t i = 0; i < set->error_count; i++) {
        const struct jobfile_error *e = &set->errors[i];

        require(e->text[0] && e->line >= 0 && (e->line == 0) == (e->column == 0));
        failed += !e->warning;
    }
    require(failed == set->failed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct zoneinfo *zoneinfo;
    struct jobfile_set set;
    int r;

    if (!zoneinfo)
        require(zoneinfo_new(&zoneinfo, "/usr/share/zoneinfo", NULL) == 0);
    jobfile_set_init(&set);
    r = jobfile_read(&set, "f", (const char *)data, size, zoneinfo_source(zoneinfo));
    require(r == 0 || r == ERR_INVALID);
    require((r == 0) == (set.failed == 0));
    for (size_t i = 0; i < set.count; i++)
        check_job(set.jobs[i], zoneinfo_source(zoneinfo));
    r = jobfile_finish(&set, NULL, 0);
    require(r == 0 || r == ERR_INVALID);
    check_errors(&set);
    jobfile_set_release(&set);
    return 0;
}
