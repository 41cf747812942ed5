#include "cronsched/cli/plan.h"

#include "cronsched/cli/dst_effects.h"
#include "cronsched/cli/jobfiles.h"
#include "cronsched/cli/start_histogram.h"
#include "cronsched/io/zones.h"
#include "jobs/time/instant.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define DST_SPAN_S (INT64_C(366) * 24 * 3600)
#define LOOK_MAX   1000 /* fire times that are compared, of each side */

/* ---- loading ---- */

static void print_faults(const struct jobfile_set *files)
{
    char line[JOBFILE_LINE_MAX];

    for (size_t i = 0; i < files->error_count; i++)
        fprintf(stderr, "%s\n", jobfile_error_format(&files->errors[i], line, sizeof(line)));
}

/* The names that the server has may be parents in `after`. */
static int finish_files(struct plan *set)
{
    const json_t *jobs = json_object_get(set->defs, "jobs");
    const char **names = calloc(json_object_size(jobs) + 1, sizeof(*names)), *name;
    json_t *item;
    size_t n = 0;
    int r;

    if (!names)
        return ERR_NOMEM;
    json_object_foreach((json_t *)jobs, name, item) names[n++] = name;
    r = jobfile_finish(&set->files, names, n);
    free(names);
    return r;
}

static int read_files(struct plan *set)
{
    const struct verb_call *call = set->cli->call;
    struct error error = {0};

    if (zones_open(&set->zoneinfo, &error) < 0)
        return verb_fail(&error);
    if (jobfiles_load(&set->files, call->args, call->arg_count, verb_option(call, "follow-links") != NULL,
                      zoneinfo_source(set->zoneinfo), NULL) == ERR_NOMEM)
        return cli_fail(ERR_NOMEM, "out of memory");
    return EXIT_FINE;
}

static int collect_jobs(struct plan *set)
{
    set->jobs = json_object();
    for (size_t i = 0; i < set->files.count; i++)
        if (json_object_set_new(set->jobs, set->files.jobs[i]->name, job_to_json(set->files.jobs[i])) < 0)
            return cli_fail(ERR_NOMEM, "out of memory");
    return EXIT_FINE;
}

int plan_load(struct plan *set, struct cli_context *cli)
{
    bool raw = cli->client.raw;
    struct error error = {0};
    int code, r;

    *set = (struct plan){.cli = cli};
    jobfile_set_init(&set->files);
    code = read_files(set);
    if (code != EXIT_FINE)
        return code;
    cli_path(cli, "/v1/defs");
    cli->client.raw = true; /* they are compared with those of the files */
    r = client_call(&cli->client, "GET", text_str(&cli->path), NULL, CLIENT_REPEATABLE, &set->defs, &error);
    cli->client.raw = raw;
    if (r == 0 && finish_files(set) == ERR_NOMEM)
        return cli_fail(ERR_NOMEM, "out of memory");
    print_faults(&set->files);
    if (set->files.failed > 0) { /* whether or not a server is there */
        fprintf(stderr, "cronsched: nothing was sent\n");
        return EXIT_USAGE;
    }
    return r < 0 ? verb_fail(&error) : collect_jobs(set);
}

void plan_release(struct plan *set)
{
    jobfile_set_release(&set->files);
    zoneinfo_free(set->zoneinfo);
    json_decref(set->defs);
    json_decref(set->jobs);
    *set = (struct plan){0};
}

json_t *plan_body(const struct plan *set, bool dry_run, int *ret_code)
{
    const struct verb_call *call = set->cli->call;
    const char *owner = verb_option(call, "set");
    struct error error;
    long index = -1;
    json_t *body;

    if (verb_flag(call, "prune") && !owner) {
        *ret_code =
            verb_usage(call, "--prune needs --set: it deletes jobs of the set that are not in the files");
        return NULL;
    }
    if (!dry_run && verb_option_int(call, "check-index", 0, LONG_MAX, &index, &error) < 0) {
        *ret_code = verb_usage(call, "%s", error.text);
        return NULL;
    }
    body = json_pack("{s:O}", "jobs", set->jobs);
    if (owner && (*ret_code = cli_put_text(call, body, "set", "--set", owner)) != EXIT_FINE) {
        json_decref(body);
        return NULL;
    }
    if (verb_flag(call, "prune"))
        json_object_set_new(body, "prune", json_true());
    if (dry_run)
        json_object_set_new(body, "dry_run", json_true());
    if (index >= 0)
        json_object_set_new(body, "check_index", json_integer(index));
    return body;
}

/* ---- fields ---- */

static void add_field(json_t *fields, const char *name, json_t *before, json_t *after)
{
    if (before == after || (before && after && json_equal(before, after)))
        return;
    if (!before)
        before = json_null();
    if (!after)
        after = json_null();
    json_array_append_new(fields, json_pack("{s:s,s:O,s:O}", "field", name, "old", before, "new", after));
}

/* Maps are compared key by key: "retries.max". */
static void add_map_fields(json_t *fields, const char *prefix, json_t *before, json_t *after)
{
    const char *key;
    char name[256];
    json_t *item;

    json_object_foreach(before, key, item)
    {
        snprintf(name, sizeof(name), "%s.%s", prefix, key);
        add_field(fields, name, item, json_object_get(after, key));
    }
    json_object_foreach(after, key, item)
    {
        snprintf(name, sizeof(name), "%s.%s", prefix, key);
        if (!json_object_get(before, key))
            add_field(fields, name, NULL, item);
    }
}

static void compare_key(json_t *fields, const char *key, json_t *before, json_t *after)
{
    if ((!before || json_is_object(before)) && (!after || json_is_object(after)))
        add_map_fields(fields, key, before, after);
    else
        add_field(fields, key, before, after);
}

json_t *plan_fields(const json_t *old_def, const json_t *new_def)
{
    json_t *fields = json_array(), *item;
    const char *key;

    json_object_foreach((json_t *)old_def, key, item)
        compare_key(fields, key, item, json_object_get(new_def, key));
    json_object_foreach((json_t *)new_def, key, item) if (!json_object_get(old_def, key))
        compare_key(fields, key, NULL, item);
    return fields;
}

/* ---- fire times ---- */

static bool same_key(const json_t *a, const json_t *b, const char *key)
{
    const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);

    return x == y || (x && y && json_equal(x, y));
}

/* The server keeps anchor and seed as long as these stay. */
static bool same_schedule(const json_t *a, const json_t *b)
{
    return same_key(a, b, "schedule") && same_key(a, b, "timezone") && same_key(a, b, "dialect");
}

static bool is_chosen(const struct job *job)
{
    for (size_t i = 0; i < job->schedule.count; i++)
        if (strchr(job->schedule.items[i], '~'))
            return true;
    return false;
}

/* The schedule of a definition. *ret_chosen: its `~` is not known yet. NULL: it has none, or does not compile
 * here. */
static struct schedule *compile(const struct plan *set, const char *name, const json_t *def,
                                const json_t *stored, int64_t now_ms, bool *ret_chosen)
{
    struct zone_source *zones = zoneinfo_source(set->zoneinfo);
    struct schedule *schedule = NULL;
    struct job *job;
    uint64_t seed = 0;
    int64_t anchor_s = now_ms / 1000;
    bool known = stored && same_schedule(json_object_get(stored, "def"), def);

    *ret_chosen = false;
    if (!def || job_from_json(&job, name, def, zones, NULL) < 0)
        return NULL;
    if (known) {
        seed = (uint64_t)json_integer_value(json_object_get(stored, "seed"));
        anchor_s = json_integer_value(json_object_get(stored, "anchor")) / 1000;
    }
    *ret_chosen = !known && is_chosen(job);
    if (job_compile(job, seed, anchor_s, zones, &schedule, NULL) < 0)
        schedule = NULL;
    job_unref(job);
    return schedule;
}

static void add_time(json_t *times, int64_t at_s)
{
    char text[TEXT_NUMBER_BUFFER];

    json_array_append_new(times, json_string(instant_format(at_s * 1000, INSTANT_S, text, sizeof(text))));
}

json_t *plan_next_times(const struct plan *set, const char *name, const json_t *def, const json_t *stored,
                        int64_t now_ms)
{
    bool chosen;
    struct schedule *schedule = compile(set, name, def, stored, now_ms, &chosen);
    json_t *times = json_array();
    int64_t at = now_ms / 1000;

    for (int i = 0; schedule && !chosen && i < PLAN_NEXT_TIMES; i++) {
        at = schedule_next(schedule, at);
        if (at == SCHEDULE_NEVER)
            break;
        add_time(times, at);
    }
    schedule_free(schedule);
    if (chosen) {
        json_decref(times);
        return NULL;
    }
    return times;
}

/* The first fire times of one schedule that the other does not have; either may be NULL. */
static json_t *times_apart(const struct schedule *of, const struct schedule *other, int64_t after_s)
{
    json_t *times = json_array();

    for (int i = 0; of && i < LOOK_MAX && json_array_size(times) <= PLAN_NEXT_TIMES; i++) {
        after_s = schedule_next(of, after_s);
        if (after_s == SCHEDULE_NEVER)
            break;
        if (!other || !schedule_match(other, after_s))
            add_time(times, after_s);
    }
    return times;
}

void plan_compare_times(const struct plan *set, const char *name, const json_t *def, const json_t *stored,
                        int64_t now_ms, json_t **ret_removed, json_t **ret_added)
{
    bool chosen;
    struct schedule *before = compile(set, name, json_object_get(stored, "def"), stored, now_ms, &chosen);
    struct schedule *after = compile(set, name, def, stored, now_ms, &chosen);

    *ret_removed = chosen ? json_null() : times_apart(before, after, now_ms / 1000);
    *ret_added = chosen ? json_null() : times_apart(after, before, now_ms / 1000);
    schedule_free(before);
    schedule_free(after);
}

json_t *plan_dst_effects(const struct plan *set, const char *name, const json_t *def, const json_t *stored,
                         int64_t now_ms)
{
    bool chosen;
    struct schedule *schedule = compile(set, name, def, stored, now_ms, &chosen);
    json_t *effects = NULL;

    if (schedule)
        effects = dst_effects(NULL, schedule, now_ms / 1000, now_ms / 1000 + DST_SPAN_S);
    schedule_free(schedule);
    return effects ? effects : json_array();
}

/* ---- launches per minute ---- */

static void add_launches(const struct plan *set, struct start_histogram *launches, const char *name,
                         const json_t *def, const json_t *stored, int64_t now_ms)
{
    bool chosen;
    struct schedule *schedule = compile(set, name, def, stored, now_ms, &chosen);

    if (schedule)
        start_histogram_add(launches, schedule);
    schedule_free(schedule);
}

static bool contains(const json_t *names, const char *name)
{
    const json_t *item;
    size_t i;

    json_array_foreach(names, i, item) if (strcmp(output_text(item), name) == 0) return true;
    return false;
}

json_t *plan_load_summary(const struct plan *set, const json_t *deleted, int64_t now_ms)
{
    json_t *stored_jobs = json_object_get(set->defs, "jobs"), *item;
    struct start_histogram before, after;
    const char *name;

    start_histogram_init(&before, now_ms);
    start_histogram_init(&after, now_ms);
    json_object_foreach(stored_jobs, name, item)
    {
        add_launches(set, &before, name, json_object_get(item, "def"), item, now_ms);
        if (!json_object_get(set->jobs, name) && !contains(deleted, name))
            add_launches(set, &after, name, json_object_get(item, "def"), item, now_ms);
    }
    json_object_foreach(set->jobs, name, item)
        add_launches(set, &after, name, item, json_object_get(stored_jobs, name), now_ms);
    return json_pack("{s:o,s:o}", "before", start_histogram_json(&before), "after",
                     start_histogram_json(&after));
}
