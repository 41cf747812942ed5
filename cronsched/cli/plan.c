#include "cronsched/cli/plan.h"

#include "cronsched/cli/dst_effects.h"
#include "cronsched/cli/start_histogram.h"
#include "cronsched/io/zones.h"
#include "jobs/time/instant.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define DST_SPAN_S (INT64_C(366) * 24 * 3600)
#define LOOK_MAX   1000 /* fire times that are compared, of each side */

#define HIDDEN         "(hidden)" /* as the server puts it for those who may only read */
#define UNLISTED_SHOWN 20
#define PAUSE_TEXT_MAX 4096 /* who and why */

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
    struct jobfiles_options options = {.follow_links = verb_flag(call, "follow-links"),
                                       .allow_empty = verb_flag(call, "allow-empty")};
    struct error error = {0};

    if (zones_open(&set->zoneinfo, &error) < 0)
        return verb_fail(&error);
    options.zones = zoneinfo_source(set->zoneinfo);
    if (jobfiles_load(&set->files, call->args, call->arg_count, &options, &set->found) == ERR_NOMEM)
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

/* What is not there is deleted by --prune: a folder that was not mounted, a branch without the files. */
static int check_empty(const struct plan *set)
{
    const struct verb_call *call = set->cli->call;

    if (!verb_flag(call, "prune") || verb_flag(call, "allow-empty") || !set->found.empty)
        return EXIT_FINE;
    return cli_fail(ERR_INVALID,
                    "no job in %s, and --prune deletes what is not in the files; --allow-empty if that is "
                    "meant. Nothing was sent",
                    set->found.empty);
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
    code = check_empty(set);
    if (code != EXIT_FINE)
        return code;
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

/* ---- the request ---- */

static int put_texts(const struct verb_call *call, json_t *body)
{
    const char *set = verb_option(call, "set"), *cluster = verb_option(call, "cluster");
    int code = EXIT_FINE;

    if (!cluster)
        cluster = getenv("CRONSCHED_CLUSTER");
    if (set)
        code = cli_put_text(call, body, "set", "--set", set);
    if (code == EXIT_FINE && cluster && *cluster)
        code = cli_put_text(call, body, "cluster", "--cluster", cluster);
    return code;
}

static json_t *make_body(const struct plan *set, bool dry_run, int *ret_code)
{
    static const struct {
        const char *option, *key;
    } flags[] = {{"prune", "prune"}, {"take-over", "take_over"}, {"allow-empty", "allow_empty"}};
    const struct verb_call *call = set->cli->call;
    struct error error;
    long index = -1;
    json_t *body;

    if (verb_flag(call, "prune") && !verb_option(call, "set")) {
        *ret_code =
            verb_usage(call, "--prune needs --set: it deletes jobs of the set that are not in the files");
        return NULL;
    }
    if (!dry_run && verb_option_int(call, "check-index", 0, LONG_MAX, &index, &error) < 0) {
        *ret_code = verb_usage(call, "%s", error.text);
        return NULL;
    }
    body = json_pack("{s:O}", "jobs", set->jobs);
    *ret_code = put_texts(call, body);
    if (*ret_code != EXIT_FINE) {
        json_decref(body);
        return NULL;
    }
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (verb_flag(call, flags[i].option))
            json_object_set_new(body, flags[i].key, json_true());
    if (dry_run)
        json_object_set_new(body, "dry_run", json_true());
    if (index >= 0)
        json_object_set_new(body, "check_index", json_integer(index));
    return body;
}

/* Prints what the server has found wrong, each at its place in the files. */
static int refused(struct plan *set, const struct error *error)
{
    const json_t *faults = json_object_get(set->cli->client.refusal, "faults"), *fault;
    size_t before = set->files.error_count, i;
    char line[JOBFILE_LINE_MAX];

    json_array_foreach(faults, i, fault)
    {
        const char *job = json_string_value(json_object_get(fault, "job"));
        const char *text = json_string_value(json_object_get(fault, "text"));

        if (job && text && jobfile_add_job_error(&set->files, job, text) == ERR_NOT_FOUND)
            jobfile_add_error(&set->files, "the server", 0, 0, "%s: %s", job, text);
    }
    for (i = before; i < set->files.error_count; i++)
        fprintf(stderr, "%s\n", jobfile_error_format(&set->files.errors[i], line, sizeof(line)));
    if (set->files.error_count == before)
        return verb_fail(error);
    fprintf(stderr, "cronsched: nothing was changed\n");
    return verb_exit_code(error->code);
}

int plan_send(struct plan *set, bool dry_run, json_t **ret)
{
    struct client *client = &set->cli->client;
    /* The same files twice do no harm; an index that was right the first time is wrong the second. */
    enum client_repeat repeat = !dry_run && verb_option(set->cli->call, "check-index") ? CLIENT_ONCE
                                                                                       : CLIENT_REPEATABLE;
    struct error error = {0};
    json_t *body, *reply = NULL;
    int code = EXIT_FINE, r;

    body = make_body(set, dry_run, &code);
    if (!body)
        return code;
    r = client_call(client, "POST", cli_path(set->cli, "/v1/apply"), body, repeat, &reply, &error);
    json_decref(body);
    if (r < 0)
        return refused(set, &error);
    if (json_object_set_new(reply, "server", json_string(client->servers[client->current].title)) < 0) {
        json_decref(reply);
        return cli_fail(ERR_CORRUPT, "the server's answer is incomplete");
    }
    *ret = reply;
    return EXIT_FINE;
}

int plan_run(const struct verb_call *call, bool dry_run,
             int (*show)(const struct plan *set, const json_t *reply))
{
    struct cli_context s;
    struct plan set = {0};
    json_t *reply = NULL;
    int code = cli_open(&s, call);

    if (code != EXIT_FINE)
        return cli_close(&s, code);
    code = plan_load(&set, &s);
    if (code == EXIT_FINE)
        code = plan_send(&set, dry_run, &reply);
    if (code == EXIT_FINE)
        code = show(&set, reply);
    json_decref(reply);
    plan_release(&set);
    return cli_close(&s, code);
}

/* ---- of both verbs' answers, for people ---- */

const char *plan_owner(const json_t *set, char buffer[PLAN_OWNER_SIZE])
{
    if (!json_is_string(set))
        return "no set";
    snprintf(buffer, PLAN_OWNER_SIZE, "the set %s", json_string_value(set));
    return buffer;
}

void plan_print_cluster(const json_t *reply)
{
    const char *cluster = json_string_value(json_object_get(reply, "cluster"));

    if (cluster)
        verb_print(stdout, "cluster %s (%s) at %s\n", cluster,
                   json_string_value(json_object_get(reply, "uuid")),
                   json_string_value(json_object_get(reply, "server")));
}

static void print_unlisted(const struct plan *set, const json_t *reply)
{
    const json_t *names = json_object_get(reply, "unlisted"), *item;
    const char *owner = verb_option(set->cli->call, "set");
    json_int_t count = json_integer_value(json_object_get(reply, "unlisted_count"));
    size_t i;

    if (json_array_size(names) == 0)
        return;
    if (owner)
        verb_print(stdout, "On the server, of the set %s, and not in the files:\n", owner);
    else
        puts("On the server, of no set, and not in the files:");
    json_array_foreach(names, i, item)
    {
        if (i == UNLISTED_SHOWN)
            break;
        verb_print(stdout, "? %s\n", json_string_value(item));
    }
    if (count > (json_int_t)i)
        printf("? and %" JSON_INTEGER_FORMAT " more\n", count - (json_int_t)i);
    if (owner)
        puts("They stay as they are; --prune deletes them.");
}

static void print_pause(const json_t *pause)
{
    const char *job = json_string_value(json_object_get(pause, "job"));
    const char *reason = json_string_value(json_object_get(pause, "reason"));
    const char *by = json_string_value(json_object_get(pause, "by"));
    struct text text;

    if (!json_is_true(json_object_get(pause, "paused"))) {
        verb_print(stdout, "= %s: paused in its file, but resumed by hand; it stays so\n", job);
        return;
    }
    text_init(&text, PAUSE_TEXT_MAX);
    if (by)
        text_addf(&text, ", by %s", by);
    if (reason)
        text_addf(&text, ": %s", reason);
    verb_print(stdout, "= %s: paused by hand%s, %s in its file; it stays so\n", job, text_str(&text),
               json_is_true(json_object_get(pause, "file")) ? "and also" : "not");
    text_release(&text);
}

void plan_print_differences(const struct plan *set, const json_t *reply)
{
    const json_t *pause;
    size_t i;

    json_array_foreach(json_object_get(reply, "pauses"), i, pause) print_pause(pause);
    print_unlisted(set, reply);
}

/* ---- fields ---- */

/* Some values are nobody's business in the log of a pipeline: those of variables, and URLs of webhooks, which hold keys.
 */
static json_t *without_value(const char *key, json_t *value)
{
    json_t *copy, *item, *each;
    const char *name;
    size_t i;

    if (strncmp(key, "environment.", 12) == 0 || strncmp(key, "kubernetes.", 11) == 0)
        return json_is_object(value) && key[0] == 'e' ? json_incref(value) : json_string(HIDDEN);
    if (strcmp(key, "notify") != 0 && strcmp(key, "environment") != 0 && strcmp(key, "kubernetes") != 0)
        return json_incref(value);
    copy = json_deep_copy(value);
    json_array_foreach(copy, i, item) json_object_set_new(item, "url", json_string(HIDDEN));
    json_object_foreach(copy, name, each)
    {
        if (json_is_string(each) || key[0] == 'k')
            json_object_set_new(copy, name, json_string(HIDDEN));
    }
    return copy;
}

json_t *plan_without_values(const json_t *def)
{
    json_t *shown = json_object(), *value;
    const char *key;

    json_object_foreach((json_t *)(uintptr_t)def, key, value)
        json_object_set_new(shown, key, without_value(key, value));
    return shown;
}

/* The comparison of two definitions. */
struct comparison {
    json_t *fields;
    bool values;
};

static json_t *side(const struct comparison *c, const char *name, json_t *value)
{
    if (!value)
        return json_null();
    return c->values ? json_incref(value) : without_value(name, value);
}

static void add_field(struct comparison *c, const char *name, json_t *before, json_t *after)
{
    if (before == after || (before && after && json_equal(before, after)))
        return;
    json_array_append_new(c->fields, json_pack("{s:s,s:o,s:o}", "field", name, "old", side(c, name, before),
                                               "new", side(c, name, after)));
}

/* Maps are compared key by key: "retries.max". */
static void add_map_fields(struct comparison *c, const char *prefix, json_t *before, json_t *after)
{
    const char *key;
    char name[256];
    json_t *item;

    json_object_foreach(before, key, item)
    {
        snprintf(name, sizeof(name), "%s.%s", prefix, key);
        add_field(c, name, item, json_object_get(after, key));
    }
    json_object_foreach(after, key, item)
    {
        snprintf(name, sizeof(name), "%s.%s", prefix, key);
        if (!json_object_get(before, key))
            add_field(c, name, NULL, item);
    }
}

static void compare_key(struct comparison *c, const char *key, json_t *before, json_t *after)
{
    if ((!before || json_is_object(before)) && (!after || json_is_object(after)))
        add_map_fields(c, key, before, after);
    else
        add_field(c, key, before, after);
}

json_t *plan_fields(const json_t *old_def, const json_t *new_def, bool values)
{
    struct comparison c = {json_array(), values};
    const char *key;
    json_t *item;

    json_object_foreach((json_t *)(uintptr_t)old_def, key, item)
        compare_key(&c, key, item, json_object_get(new_def, key));
    json_object_foreach((json_t *)(uintptr_t)new_def, key, item) if (!json_object_get(old_def, key))
        compare_key(&c, key, NULL, item);
    return c.fields;
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
