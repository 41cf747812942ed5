#include "cronsched/cli/stored_job.h"

int stored_job_compile(const char *name, const json_t *stored, struct zone_source *zones,
                       struct schedule **ret, struct error *error)
{
    uint64_t seed = (uint64_t)json_integer_value(json_object_get(stored, "seed"));
    int64_t anchor_s = json_integer_value(json_object_get(stored, "anchor")) / 1000;
    struct job *job;
    int r = job_from_json(&job, name, json_object_get(stored, "def"), zones, error);

    if (r < 0)
        return r;
    r = job_compile(job, seed, anchor_s, zones, ret, error);
    job_unref(job);
    return r;
}

int stored_jobs_get(struct cli_context *cli, json_t **ret)
{
    json_t *defs = NULL, *jobs;
    int code;

    cli_path(cli, "/v1/defs");
    code = cli_get(cli, &defs);
    if (code != EXIT_FINE)
        return code;
    jobs = json_object_get(defs, "jobs");
    if (!json_is_object(jobs))
        code = cli_fail(ERR_CORRUPT, "the server's answer is incomplete");
    else
        *ret = json_incref(jobs);
    json_decref(defs);
    return code;
}
