#include "cronsched/cli/run_find.h"

#include "cronsched/cli/run_view.h"
#include "jobs/base/alloc.h"

#include <string.h>

#define RUNS_LOOKED_AT "1000" /* the newest, for the last one that has begun */
#define NAMED_MAX      10     /* runs, in an error */

/* Whether any of it has been started, or is being. */
static bool has_begun(const json_t *run)
{
    static const char *const not_yet[] = {"waiting", "armed", "skipped"};
    const char *state = run_view_text(run, "state");

    for (size_t i = 0; state && i < sizeof(not_yet) / sizeof(*not_yet); i++)
        if (strcmp(state, not_yet[i]) == 0)
            return false;
    return json_array_size(json_object_get(run, "attempts")) > 0;
}

/* The one that started last, which is not always the one of the latest fire time: a backfill runs old ones. */
static const json_t *last_begun(const json_t *runs)
{
    const json_t *run, *last = NULL;
    size_t i;

    json_array_foreach(runs, i, run)
    {
        const char *started = run_view_text(run, "started"), *latest = run_view_text(last, "started");

        if (has_begun(run) && (!last || (started && latest && strcmp(started, latest) > 0)))
            last = run;
    }
    return last;
}

/* Why there is none. */
static int no_run(struct cli_context *s, const char *job)
{
    json_t *known = NULL;
    int code;

    cli_path(s, "/v1/jobs/%s", job); /* one that is not there has its error here */
    code = cli_get(s, &known);
    json_decref(known);
    return code != EXIT_FINE ? code : cli_fail(ERR_NOT_FOUND, "no run of %s has begun yet", job);
}

/* A job that is gone may have runs. */
int run_find_last(struct cli_context *s, const char *job, char **ret)
{
    json_t *runs = NULL;
    const json_t *last;
    int code;

    if (strchr(job, '@')) {
        *ret = alloc_text(job);
        return EXIT_FINE;
    }
    cli_path(s, "/v1/runs");
    cli_query(s, "job", job);
    cli_query(s, "limit", RUNS_LOOKED_AT);
    code = cli_get(s, &runs);
    last = last_begun(runs);
    if (last)
        *ret = alloc_text(run_view_text(last, "run"));
    json_decref(runs);
    return code == EXIT_FINE && !last ? no_run(s, job) : code;
}

/* Those of them that are a run, and no reservation of a fire time to come. */
static json_t *under_way(const json_t *job)
{
    json_t *all = json_array(), *run;
    size_t i;

    json_array_foreach(json_object_get(job, "unfinished"), i, run)
    {
        const char *state = run_view_text(run, "state");

        if (state && strcmp(state, "armed") != 0)
            json_array_append(all, run);
    }
    return all;
}

static int which_of(const char *job, const json_t *runs)
{
    size_t count = json_array_size(runs);
    struct text names;
    int code;

    if (count == 0)
        return cli_fail(ERR_NOT_FOUND, "no run of %s is under way", job);
    text_init(&names, 4096);
    for (size_t i = 0; i < count && i < NAMED_MAX; i++)
        text_addf(&names, "%s%s", i ? ", " : "",
                  output_text(json_object_get(json_array_get(runs, i), "run")));
    code = cli_fail(ERR_INVALID, "%zu runs of %s are under way; name one: %s%s", count, job, text_str(&names),
                    count > NAMED_MAX ? ", ..." : "");
    text_release(&names);
    return code;
}

int run_find_unfinished(struct cli_context *s, const char *job, char **ret)
{
    json_t *found = NULL, *runs;
    int code;

    if (strchr(job, '@')) {
        *ret = alloc_text(job);
        return EXIT_FINE;
    }
    cli_path(s, "/v1/jobs/%s", job);
    code = cli_get(s, &found);
    if (code != EXIT_FINE)
        return code;
    runs = under_way(found);
    if (json_array_size(runs) == 1)
        *ret = alloc_text(output_text(json_object_get(json_array_get(runs, 0), "run")));
    else
        code = which_of(job, runs);
    json_decref(runs);
    json_decref(found);
    return code;
}
