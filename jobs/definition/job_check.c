/* What concerns a job as a whole: keys that exclude one another, the schedule in its zone and window, the
 * size. */
#include "jobs/definition/job_keys.h"

#include <string.h>

#define BEFORE_ALL_S                                                                                         \
    INT64_C(-172800) /* two days before the first year of schedules, so that it is so in every zone */

/* What the checks of times try a schedule with; what was found wrong is left out of the next try. */
struct trial {
    struct job_reader *reader;
    struct zone_source *zones;
    struct schedule_options options;
    const char *except[SCHEDULE_EXCEPT_MAX];
};

static void report_at(struct trial *trial, enum job_key_id id, const char *text, size_t column,
                      const struct error *error)
{
    job_report_within(trial->reader, &job_keys[id], job_item_node(trial->reader, id, text), column, "%s",
                      error->text);
}

/* Drops exclusion `index` from the trial. */
static void drop_except(struct trial *trial, size_t index)
{
    trial->options.except_count--;
    memmove(&trial->except[index], &trial->except[index + 1],
            (trial->options.except_count - index) * sizeof(trial->except[0]));
}

/* Reports a fault of zone, window or exclusions, and takes it out of the trial. False: it is none of these.
 */
static bool take_out(struct trial *trial, const struct schedule_fault *fault, const struct error *error)
{
    struct schedule_options *o = &trial->options;

    switch (fault->where) {
    case SCHEDULE_FAULT_ZONE:
        if (!o->zone)
            return false;
        report_at(trial, JOB_KEY_TIMEZONE, o->zone, 0, error);
        o->zone = NULL;
        return true;
    case SCHEDULE_FAULT_START:
        if (!o->start)
            return false;
        report_at(trial, JOB_KEY_START, o->start, fault->column, error);
        o->start = NULL;
        return true;
    case SCHEDULE_FAULT_END:
        if (!o->end)
            return false;
        report_at(trial, JOB_KEY_END, o->end, fault->column, error);
        o->end = NULL;
        return true;
    case SCHEDULE_FAULT_EXCEPT:
        if (fault->index >= o->except_count)
            return false;
        report_at(trial, JOB_KEY_EXCEPT, trial->except[fault->index], fault->column, error);
        drop_except(trial, fault->index);
        return true;
    default:
        return false;
    }
}

/* Zone, window and exclusions, with a schedule that cannot be wrong itself. */
static void check_window(struct trial *trial)
{
    static const char *const daily[] = {"@daily"};
    struct schedule_options *o = &trial->options;
    enum schedule_dialect dialect = o->dialect;

    o->dialect = SCHEDULE_CRON;
    for (;;) {
        struct schedule *schedule = NULL;
        struct schedule_fault fault = {0};
        struct error error = {0};
        int r = schedule_new(&schedule, daily, 1, o, trial->zones, &fault, &error);

        schedule_free(schedule);
        if (r == ERR_NOMEM)
            trial->reader->no_memory = true;
        if (r == 0 || r == ERR_NOMEM)
            break;
        if (!take_out(trial, &fault, &error)) {
            job_report(trial->reader, &job_keys[JOB_KEY_SCHEDULE], trial->reader->places[JOB_KEY_SCHEDULE],
                       "%s", error.text);
            break;
        }
    }
    o->dialect = dialect;
}

static bool never_fires(const struct trial *trial, const char *text, const struct schedule_options *options)
{
    struct schedule *schedule = NULL;
    bool never = schedule_new(&schedule, &text, 1, options, trial->zones, NULL, NULL) == 0 &&
                 schedule_next(schedule, BEFORE_ALL_S) == SCHEDULE_NEVER;

    schedule_free(schedule);
    return never;
}

static void warn_if_never(struct trial *trial, const char *text)
{
    const struct yaml_node *at = job_item_node(trial->reader, JOB_KEY_SCHEDULE, text);
    struct schedule_options unbounded = trial->options;

    if (strstr(text, "@manually") || !never_fires(trial, text, &trial->options))
        return;
    if (strstr(text, "@reboot")) {
        job_warn(
            trial->reader, &job_keys[JOB_KEY_SCHEDULE], at,
            "'%.200s' never fires: no machine's start is one of a cluster; let that machine trigger the job",
            text);
        return;
    }
    unbounded.start = unbounded.end = NULL;
    unbounded.except_count = 0;
    if (never_fires(trial, text, &unbounded))
        job_warn(trial->reader, &job_keys[JOB_KEY_SCHEDULE], at, "'%.200s' never fires", text);
    else
        job_warn(trial->reader, &job_keys[JOB_KEY_SCHEDULE], at,
                 "'%.200s' never fires: start, end and except leave no fire time", text);
}

/* As in every cron; but in many a field that begins with a star, such as a step, makes it "both", and people mean that. */
static void warn_if_either(struct trial *trial, const char *text, const struct schedule *schedule)
{
    if (schedule_days_either(schedule))
        job_warn(trial->reader, &job_keys[JOB_KEY_SCHEDULE],
                 job_item_node(trial->reader, JOB_KEY_SCHEDULE, text),
                 "'%.200s' runs on each day that one of its two day fields names: for days that both name, "
                 "write + "
                 "before the weekday (+MON); for the first Monday of a month, MON#1",
                 text);
}

static void warn_of_remark(struct trial *trial, const struct schedule *schedule, const char *text)
{
    const struct yaml_node *at = job_item_node(trial->reader, JOB_KEY_SCHEDULE, text);
    char remark[SCHEDULE_REMARK_MAX];

    if (schedule_remark(schedule, 0, remark))
        job_warn(trial->reader, &job_keys[JOB_KEY_SCHEDULE], at, "%s", remark);
}

/* Each text by itself, so that all that are wrong are reported. */
static void check_texts(struct trial *trial)
{
    const struct strings *texts = &trial->reader->job->schedule;

    for (size_t i = 0; i < texts->count; i++) {
        struct schedule *schedule = NULL;
        struct schedule_fault fault = {0};
        struct error error = {0};
        const char *text = texts->items[i];
        int r = schedule_new(&schedule, &text, 1, &trial->options, trial->zones, &fault, &error);

        if (r == ERR_NOMEM)
            trial->reader->no_memory = true;
        else if (r < 0)
            report_at(trial, JOB_KEY_SCHEDULE, text, fault.column, &error);
        else
            warn_of_remark(trial, schedule, text);
        if (r == 0)
            warn_if_never(trial, text);
        if (r == 0)
            warn_if_either(trial, text, schedule);
        schedule_free(schedule);
    }
}

/* What is wrong only with all texts together, such as two zones. */
static void check_union(struct trial *trial)
{
    const struct strings *texts = &trial->reader->job->schedule;
    struct schedule *schedule = NULL;
    struct schedule_fault fault = {0};
    struct error error = {0};
    int r = schedule_new(&schedule, (const char *const *)texts->items, texts->count, &trial->options,
                         trial->zones, &fault, &error);

    schedule_free(schedule);
    if (r == ERR_NOMEM)
        trial->reader->no_memory = true;
    else if (r < 0)
        report_at(trial, JOB_KEY_SCHEDULE, texts->items[fault.index < texts->count ? fault.index : 0],
                  fault.column, &error);
}

static void check_times(struct job_reader *reader, struct zone_source *zones)
{
    struct job *job = reader->job;
    struct trial trial = {.reader = reader, .zones = zones};
    size_t faults = reader->faults;

    job_schedule_options(job, 0, 0, &trial.options);
    for (size_t i = 0; i < job->except.count && i < SCHEDULE_EXCEPT_MAX; i++)
        trial.except[i] = job->except.items[i];
    trial.options.except = trial.except;
    check_window(&trial);
    check_texts(&trial);
    if (reader->faults == faults && !reader->no_memory && job->schedule.count > 1)
        check_union(&trial);
}

static void check_after(struct job_reader *reader)
{
    const struct job *job = reader->job;
    const struct job_key *key = &job_keys[JOB_KEY_AFTER];

    if (job->after.count == 0)
        return;
    if (job->schedule.count > 0)
        job_report(reader, key, reader->places[JOB_KEY_AFTER],
                   "a job runs after others or by a schedule, not both; leave one of the two out");
    for (size_t i = 0; i < job->after.count; i++)
        if (strcmp(job->after.items[i], job->name) == 0)
            job_report(reader, key, job_item_node(reader, JOB_KEY_AFTER, job->name),
                       "a job cannot run after itself");
}

static void check_user(struct job_reader *reader)
{
    const char *user = reader->job->user;
    struct error error;

    if (user && job_check_user(user, &error) < 0)
        job_report(reader, &job_keys[JOB_KEY_USER], reader->places[JOB_KEY_USER], "%s", error.text);
}

/* A delay that is longer than the usual max_delay raises it; one that contradicts a given max_delay is a
 * fault. */
static void check_retries(struct job_reader *reader)
{
    struct job *job = reader->job;

    if (job->retries_delay_ms <= job->retries_max_delay_ms)
        return;
    if (reader->places[JOB_KEY_RETRIES_MAX_DELAY])
        job_report(reader, &job_keys[JOB_KEY_RETRIES_MAX_DELAY], reader->places[JOB_KEY_RETRIES_MAX_DELAY],
                   "is shorter than retries.delay");
    else
        job->retries_max_delay_ms = job->retries_delay_ms;
}

static void check_size(struct job_reader *reader)
{
    json_t *json = job_to_json(reader->job);
    size_t size = json ? json_dumpb(json, NULL, 0, JSON_COMPACT) : 0;

    if (!json)
        reader->no_memory = true;
    if (size > JOB_BYTES_MAX)
        job_report(reader, NULL, NULL, "the job takes %zu bytes as JSON; at most %d", size, JOB_BYTES_MAX);
    json_decref(json);
}

/* The engines that come with the program, by the names that they have unless a server's configuration says
 * otherwise. None of them honours the keys of warn_unhonoured. */
static bool runs_on_own_engines(const struct job *job)
{
    static const char *const own[] = {"docker", "process", "null"};

    for (size_t i = 0; i < job->engine.count; i++) {
        bool found = false;

        for (size_t k = 0; k < sizeof(own) / sizeof(own[0]); k++)
            found |= strcmp(job->engine.items[i], own[k]) == 0;
        if (!found)
            return false;
    }
    return true;
}

static bool has_secret_variable(const struct job *job)
{
    for (size_t i = 0; i < job->environment_count; i++)
        if (job->environment[i].from_secret)
            return true;
    return false;
}

/* Keys that an engine of another name may honour, and that those of the program refuse or ignore. */
static void warn_unhonoured(struct job_reader *reader)
{
    const struct job *job = reader->job;
    const struct {
        enum job_key_id id;
        bool given;
        const char *text;
    } keys[] = {
        {JOB_KEY_ENVIRONMENT, has_secret_variable(job),
         "the engines docker and process have no secrets for from_secret; use from_file"},
        {JOB_KEY_SECRETS, job->secrets.count > 0,
         "the engines docker and process have none; use environment with from_file, or a volume"},
        {JOB_KEY_CONFIGS, job->configs.count > 0, "the engines docker and process have none; use a volume"},
        {JOB_KEY_CONSTRAINTS, job->constraints.count > 0,
         "the engines docker and process have no hosts to choose from"},
        {JOB_KEY_KUBERNETES, job->kubernetes != NULL, "the engines docker and process do not use this"},
        {JOB_KEY_ACCEPT_DOUBLE, job->accept_double,
         "has no effect: the engines docker and process never start an attempt twice"},
    };

    if (!runs_on_own_engines(job))
        return;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (keys[i].given)
            job_warn(reader, &job_keys[keys[i].id], reader->places[keys[i].id], "%s", keys[i].text);
}

static bool rules_out_overlap(const struct job *job)
{
    return job->concurrency == JOB_FORBID || job->concurrency == JOB_REPLACE;
}

void job_check(struct job_reader *reader, struct zone_source *zones)
{
    const struct job *job = reader->job;

    if (reader->no_memory)
        return;
    job_expand_calendars(reader);
    job_check_dollars(reader); /* of what is written in the job: files of variables are others' */
    job_expand_env_files(reader);
    check_after(reader);
    check_retries(reader);
    if (zones)
        check_user(reader);
    if (job->start_within_ms > 0 && job->jitter_ms > job->start_within_ms)
        job_warn(reader, &job_keys[JOB_KEY_JITTER], reader->places[JOB_KEY_JITTER],
                 "is longer than start_within: such runs are skipped");
    if (job->with_children)
        job_warn(reader, &job_keys[JOB_KEY_WITH_CHILDREN], reader->places[JOB_KEY_WITH_CHILDREN],
                 "has no effect: say 'trigger --with-children' for the parent");
    if (job->max_running > 0 && rules_out_overlap(job))
        job_warn(reader, &job_keys[JOB_KEY_MAX_RUNNING], reader->places[JOB_KEY_MAX_RUNNING],
                 "has no effect: with this concurrency one run goes on at a time");
    warn_unhonoured(reader);
    if (zones)
        check_times(reader, zones);
    if (reader->faults == 0)
        check_size(reader);
}
