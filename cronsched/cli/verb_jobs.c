/* jobs, show, delete, pause, resume. */
#include "cronsched/cli/cli_context.h"
#include "cronsched/cli/human_time.h"
#include "jobs/state/run.h"
#include "jobs/time/instant.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct verb_option no_options[] = {{0}};

/* ---- jobs ---- */

/* A paused job has no next time, and people should read why. */
static json_t *with_next_shown(const json_t *jobs)
{
    json_t *copy = json_deep_copy(jobs), *job;
    size_t i;

    json_array_foreach(copy, i, job)
    {
        json_t *next = json_object_get(job, "next");

        json_object_set(job, "left", next ? next : json_null());
        if (json_is_true(json_object_get(job, "paused")))
            json_object_set_new(job, "next", json_string("paused"));
        else if (!json_is_string(next) && json_is_string(json_object_get(job, "schedule")) &&
                 strncmp(json_string_value(json_object_get(job, "schedule")), "after ", 6) != 0)
            json_object_set_new(job, "next", json_string("never"));
        if (!json_is_string(json_object_get(job, "schedule")))
            json_object_set_new(job, "schedule", json_string("by trigger"));
        if (json_is_string(json_object_get(job, "state")))
            json_object_set(job, "verdict", json_object_get(job, "state"));
    }
    return copy;
}

static void show_jobs(const struct output *out, const json_t *jobs)
{
    static const struct output_column columns[] = {
        {"JOB", "job", OUTPUT_TEXT},           {"NEXT", "next", OUTPUT_TIME},
        {"LEFT", "left", OUTPUT_RELATIVE},     {"LAST", "last", OUTPUT_RELATIVE},
        {"VERDICT", "verdict", OUTPUT_STATE},  {"SCHEDULE", "schedule", OUTPUT_CUT},
        {"TIMEZONE", "timezone", OUTPUT_TEXT},
    };
    json_t *shown;

    if (out->format != OUTPUT_TABLE) {
        output_value(out, jobs);
        return;
    }
    shown = with_next_shown(jobs);
    output_rows(out, shown, columns, sizeof(columns) / sizeof(columns[0]), "No jobs.");
    json_decref(shown);
}

static const struct verb_option jobs_options[] = {
    {"set", 0, "NAME", "jobs of this set; '': of none"},
    {"paused", 0, NULL, "jobs that are paused"},
    {"failing", 0, NULL, "jobs whose last run failed, timed out or was lost"},
    {"filter", 'f', "FILTER",
     "words, and KEY:VALUE with job, set, label, owner, engine, zone, state, verdict, paused"},
    {"stale", 0, "DURATION", "jobs without a success for so long (1d); exit code 1 when there are any"},
    {"sort", 0, "next|name|last|failures", "the order; default: next"},
    {"limit", 'n', "N", "the first N"},
    {0}};

#define PAGE_ROWS 1000 /* in one request */

/* Whether the server is to choose: an older one knows the list of all jobs alone. */
static bool is_chosen(const struct verb_call *call)
{
    return verb_option(call, "filter") || verb_option(call, "stale") || verb_option(call, "sort") ||
           verb_option(call, "limit");
}

/* Page after page, up to `most`; said on stderr when there are more. */
static int get_pages(struct cli_context *s, long most, json_t **ret)
{
    char limit[32], after[CLIENT_CURSOR_MAX] = "";
    int code = EXIT_FINE;

    *ret = json_array();
    do {
        json_t *page = NULL;
        long left = most - (long)json_array_size(*ret);

        snprintf(limit, sizeof(limit), "%ld", left < PAGE_ROWS ? left : PAGE_ROWS);
        cli_path(s, "/v1/jobs");
        cli_query(s, "q", verb_option(s->call, "filter"));
        cli_query(s, "stale", verb_option(s->call, "stale"));
        cli_query(s, "sort", verb_option(s->call, "sort"));
        cli_query(s, "limit", limit);
        cli_query(s, "after", after[0] ? after : NULL);
        code = cli_get(s, &page);
        json_array_extend(*ret, page);
        json_decref(page);
        snprintf(after, sizeof(after), "%s", s->client.next);
    } while (code == EXIT_FINE && after[0] && (long)json_array_size(*ret) < most);
    if (code == EXIT_FINE && after[0])
        verb_print(stderr, "cronsched: there are more jobs than these %ld\n", most);
    return code;
}

static int get_jobs(struct cli_context *s, json_t **ret)
{
    const char *limit = verb_option(s->call, "limit");
    char *end = NULL;
    long most = limit ? strtol(limit, &end, 10) : LONG_MAX;

    if (!is_chosen(s->call)) {
        cli_path(s, "/v1/jobs");
        return cli_get(s, ret);
    }
    if (limit && (end == limit || *end || most < 1))
        return verb_usage(s->call, "--limit takes a number from 1");
    return get_pages(s, most, ret);
}

static bool is_failing(const json_t *job)
{
    enum run_verdict verdict = run_verdict_of(json_string_value(json_object_get(job, "verdict")));

    return verdict == VERDICT_FAILED || verdict == VERDICT_TIMED_OUT || verdict == VERDICT_LOST;
}

static bool is_wanted(const struct verb_call *call, const json_t *job)
{
    const char *set = verb_option(call, "set");

    if (set && strcmp(set, output_text(json_object_get(job, "set"))) != 0)
        return false;
    if (verb_flag(call, "paused") && !json_is_true(json_object_get(job, "paused")))
        return false;
    return !verb_flag(call, "failing") || is_failing(job);
}

static int run_jobs(const struct verb_call *call)
{
    struct cli_context s;
    json_t *jobs = NULL;
    int code = cli_open(&s, call);

    if (code == EXIT_FINE)
        code = get_jobs(&s, &jobs);
    for (size_t i = json_array_size(jobs); i-- > 0;)
        if (!is_wanted(call, json_array_get(jobs, i)))
            json_array_remove(jobs, i);
    if (code == EXIT_FINE)
        show_jobs(&s.out, jobs);
    if (code == EXIT_FINE && verb_option(call, "stale") && json_array_size(jobs) > 0)
        code = EXIT_DIFFERS;
    json_decref(jobs);
    return cli_close(&s, code);
}

const struct verb verb_jobs = {
    .name = "jobs",
    .help = "list the jobs, by their next fire time",
    .text = "NEXT is in local time. VERDICT is that of the last run, or the state of one that has not ended. "
            "A FILTER is one text: --filter 'report label:team=finance state:failing'. Words are parts of "
            "the name, "
            "the description or the owner; * stands for any text, a comma for or. States are ok, failing, "
            "running, "
            "paused and never.",
    .group = VERB_GROUP_JOBS,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = jobs_options,
    .run = run_jobs,
};

/* Names only, for the completion. */
static int run_names(const struct verb_call *call)
{
    struct error error;
    struct client client;
    json_t *jobs = NULL, *job;
    size_t i;

    if (client_init(&client, call, &error) < 0)
        return EXIT_INTERNAL;
    client.timeout_ms = 1000;
    client_get(&client, &jobs, &error, "/v1/jobs");
    client_release(&client);
    json_array_foreach(jobs, i, job) printf("%s\n", output_text(json_object_get(job, "job")));
    json_decref(jobs);
    return EXIT_FINE;
}

const struct verb verb_names = {
    .name = "__jobs",
    .help = "names of jobs, for the completion",
    .group = VERB_GROUP_HIDDEN,
    .shared = VERB_SERVER,
    .options = no_options,
    .run = run_names,
};

/* ---- show ---- */

static void show_next_times(const struct output *out, const json_t *job)
{
    const json_t *times = json_object_get(job, "next_times"), *item;
    bool paused = json_is_true(json_object_get(job, "paused"));
    size_t i;

    if (json_array_size(times))
        fprintf(out->to, "\n%sNext fire times%s%s\n", output_tone(out, OUTPUT_BOLD), output_plain(out),
                paused ? ", which the pause skips" : "");
    json_array_foreach(times, i, item)
    {
        char local[TEXT_NUMBER_BUFFER], left[TEXT_NUMBER_BUFFER];
        int64_t ms;

        if (instant_parse(output_text(item), &ms, NULL) == 0)
            fprintf(out->to, "  %s  %s\n", human_time_local(ms, local, sizeof(local)),
                    human_time_relative(ms, out->now_ms, left, sizeof(left)));
    }
}

static void show_unfinished(const struct output *out, const json_t *job)
{
    static const struct output_column columns[] = {{"RUN", "run", OUTPUT_TEXT},
                                                   {"CAUSE", "cause", OUTPUT_TEXT},
                                                   {"STATE", "state", OUTPUT_STATE},
                                                   {"STARTED", "started", OUTPUT_RELATIVE}};
    const json_t *runs = json_object_get(job, "unfinished");

    if (json_array_size(runs) == 0)
        return;
    fprintf(out->to, "\n%sUnfinished runs%s\n", output_tone(out, OUTPUT_BOLD), output_plain(out));
    output_rows(out, runs, columns, sizeof(columns) / sizeof(columns[0]), "");
}

/* Where a person and the file do not agree; NULL: they do. */
static const char *pause_note(const json_t *job)
{
    bool in_file = json_is_true(json_object_get(json_object_get(job, "def"), "paused"));
    const char *reason = json_string_value(json_object_get(job, "pause_reason"));

    if (!json_is_true(json_object_get(job, "paused")))
        return in_file ? "no: paused in its file, but resumed by hand" : NULL;
    if (!in_file)
        return "yes: by hand, not in its file";
    return reason && strcmp(reason, "paused in its file") == 0 ? NULL : "yes: by hand, and in its file";
}

static void show_fields(const struct output *out, const json_t *job)
{
    static const struct output_column fields[] = {
        {"Job", "job", OUTPUT_TEXT},
        {"Description", "def.description", OUTPUT_TEXT},
        {"Owner", "def.owner", OUTPUT_TEXT},
        {"Set", "set", OUTPUT_TEXT},
        {"Version", "version", OUTPUT_TEXT},
        {"Schedule", "schedule", OUTPUT_TEXT},
        {"In words", "describe", OUTPUT_TEXT},
        {"Timezone", "timezone", OUTPUT_TEXT},
        {"Paused", "paused", OUTPUT_YES},
        {"Paused until", "paused_until", OUTPUT_TIME},
        {"Paused by", "paused_by", OUTPUT_TEXT},
        {"Reason", "pause_reason", OUTPUT_TEXT},
        {"State", "state", OUTPUT_STATE},
        {"Last run", "last_run", OUTPUT_TEXT},
        {"Verdict", "verdict", OUTPUT_STATE},
    };

    json_t *shown = json_copy((json_t *)(uintptr_t)job);
    const char *note = pause_note(job);

    if (note)
        json_object_set_new(shown, "paused", json_string(note));
    output_fields(out, shown, fields, sizeof(fields) / sizeof(fields[0]));
    json_decref(shown);
}

static void show_job(const struct output *out, const json_t *job)
{
    if (out->format != OUTPUT_TABLE) {
        output_value(out, job);
        return;
    }
    show_fields(out, job);
    show_next_times(out, job);
    show_unfinished(out, job);
    fprintf(out->to, "\n%sDefinition%s\n", output_tone(out, OUTPUT_BOLD), output_plain(out));
    fflush(out->to);
    output_yaml(out->to, json_object_get(job, "def"));
}

static int run_show(const struct verb_call *call)
{
    struct cli_context s;
    int code = cli_open(&s, call);

    if (code != EXIT_FINE)
        return cli_close(&s, code);
    cli_path(&s, "/v1/jobs/%s", call->args[0]);
    return cli_show(&s, show_job);
}

const struct verb verb_show = {
    .name = "show",
    .args = "JOB",
    .help = "show one job: definition, next fire times, unfinished runs",
    .group = VERB_GROUP_JOBS,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = no_options,
    .run = run_show,
};

/* ---- delete ---- */

/* The reply as JSON or YAML; for people one line. */
static void acknowledge(const struct cli_context *s, const json_t *reply, const char *what, const char *whom)
{
    if (s->out.format != OUTPUT_TABLE)
        output_value(&s->out, reply);
    else
        verb_print(s->out.to, "%s %s\n", whom, what);
}

/* One after the other, each by itself: the first that fails does not keep the others. Its exit code. */
static int each_job(struct cli_context *s, int (*change)(struct cli_context *s, const char *job))
{
    int code = EXIT_FINE;

    for (size_t i = 0; i < s->call->arg_count; i++) {
        int one = change(s, s->call->args[i]);

        code = code == EXIT_FINE ? one : code;
    }
    return code;
}

static int delete_job(struct cli_context *s, const char *job)
{
    json_t *reply = NULL;
    int code;

    cli_path(s, "/v1/jobs/%s", job);
    code = cli_send(s, "DELETE", NULL, CLIENT_REPEATABLE, &reply);
    if (code == EXIT_FINE)
        acknowledge(s, reply, "deleted", job);
    json_decref(reply);
    return code;
}

static int run_delete(const struct verb_call *call)
{
    struct cli_context s;
    int code = cli_open(&s, call);

    return cli_close(&s, code == EXIT_FINE ? each_job(&s, delete_job) : code);
}

const struct verb verb_delete = {
    .name = "delete",
    .args = "JOB...",
    .help = "delete jobs",
    .text = "Its runs and their history are kept; a running one continues to its end.",
    .group = VERB_GROUP_JOBS,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = no_options,
    .run = run_delete,
};

/* ---- pause and resume ---- */

/* /v1/jobs/JOB/WORD, or /v1/WORD for all (job NULL). */
static int send_pause(struct cli_context *s, const char *job, const char *word, const char *done,
                      const json_t *body)
{
    json_t *reply = NULL;
    int code;

    if (job)
        cli_path(s, "/v1/jobs/%s/%s", job, word);
    else
        cli_path(s, "/v1/%s", word);
    code = cli_send(s, "POST", body, CLIENT_REPEATABLE, &reply);
    if (code == EXIT_FINE)
        acknowledge(s, reply, done, job ? job : "all jobs");
    json_decref(reply);
    return code;
}

static int pause_job(struct cli_context *s, const char *job)
{
    json_t *body = json_object();
    const char *reason = verb_option(s->call, "reason");
    int code = cli_put_time(s, body, "until", "until", HUMAN_TIME_FUTURE);

    if (code == EXIT_FINE && reason)
        code = cli_put_text(s->call, body, "reason", "--reason", reason);
    if (code == EXIT_FINE)
        code = send_pause(s, job, "pause", "paused", body);
    json_decref(body);
    return code;
}

static int resume_job(struct cli_context *s, const char *job)
{
    json_t *body = json_object();
    int code = send_pause(s, job, "resume", "resumed", body);

    json_decref(body);
    return code;
}

static int change_jobs(const struct verb_call *call, int (*change)(struct cli_context *s, const char *job))
{
    struct cli_context s;
    bool all = verb_flag(call, "all");
    int code = cli_open(&s, call);

    if (code == EXIT_FINE && all == (call->arg_count > 0))
        code = verb_usage(call, all ? "a job and --all at once" : "name a job, or --all");
    else if (code == EXIT_FINE)
        code = all ? change(&s, NULL) : each_job(&s, change);
    return cli_close(&s, code);
}

static int run_pause(const struct verb_call *call)
{
    return change_jobs(call, pause_job);
}

static int run_resume(const struct verb_call *call)
{
    return change_jobs(call, resume_job);
}

static const struct verb_option pause_options[] = {
    {"all", 0, NULL, "all jobs, including future ones"},
    {"until", 0, "TIME", "resume automatically at this time: 2h, tomorrow, 2026-11-22 10:30, RFC 3339"},
    {"reason", 0, "TEXT", "the reason, shown to others"},
    {0}};

static const struct verb_option resume_options[] = {{"all", 0, NULL, "undo pause --all"}, {0}};

const struct verb verb_pause = {
    .name = "pause",
    .args = "[JOB...]",
    .help = "pause jobs, or all of them",
    .text = "Fire times during the pause are recorded as skipped: paused. A paused job can still be "
            "triggered.",
    .group = VERB_GROUP_JOBS,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = pause_options,
    .run = run_pause,
};

const struct verb verb_resume = {
    .name = "resume",
    .args = "[JOB...]",
    .help = "undo a pause",
    .text = "A job that was paused individually stays paused after resume --all.",
    .group = VERB_GROUP_JOBS,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = resume_options,
    .run = run_resume,
};
