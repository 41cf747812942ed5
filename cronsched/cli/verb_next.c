/* next: the next fire times of an expression, without a server, or of a job that the server has. */
#include "cronsched/cli/calendar.h"
#include "cronsched/cli/human_time.h"
#include "cronsched/cli/output.h"
#include "cronsched/cli/stored_job.h"
#include "cronsched/command/verbs.h"
#include "cronsched/io/zones.h"
#include "jobs/time/instant.h"

#include "jobs/time/civil.h"
#include "jobs/time/schedule.h"

#include <stdlib.h>
#include <string.h>

#define COUNT_DEFAULT 10
#define COUNT_MAX     100000
#define DESCRIBE_MAX  4096

static const struct verb_option options[] = {
    {"count", 'n', "N", "how many (default 10)"},
    {"from", 0, "TIME", "only times after this one (default now)"},
    {"timezone", 'z', "ZONE", "the schedule's zone (default UTC)"},
    {"dialect", 0, "cron|quartz", "what the fields mean (default cron)"},
    {"dst", 0, "hybrid|skip|both|utc", "what clock changes do (default hybrid)"},
    {"except", 0, "DAYS", "no fire times on 2026-12-25, 2026-07-14/2026-07-20, or those of FILE.ics",
     .many = true},
    {"start", 0, "TIME", "no fire times before"},
    {"end", 0, "TIME", "no fire times from this time on"},
    {"anchor", 0, "TIME", "where @every and R//PERIOD start (default 1970-01-01T00:00:00Z)"},
    {"name", 0, "JOB", "the job's name, from which H chooses"},
    {"job", 'j', "JOB", "the schedule of a job that the server has"},
    {"output", 'o', "text|json", "form of the answer"},
    {0}};

struct next {
    const struct verb_call *call;
    struct zoneinfo *zoneinfo;
    struct schedule *schedule;
    const char *text; /* NULL: a job's */
    char **except;    /* texts of stretches of days, each for free() */
    size_t except_count;
    int64_t now_ms, from_s;
    long count;
};

/* ---- the expression ---- */

/* The text with a mark below its fault; what cannot be printed is shown as a question mark. */
static void print_mark(const char *text, size_t column)
{
    fputs("  ", stderr);
    for (const char *c = text; *c; c++)
        fputc(*c >= ' ' && *c <= '~' ? *c : '?', stderr);
    fprintf(stderr, "\n  %*s^\n", (int)column, "");
}

static int fail_schedule(const struct next *n, const struct schedule_fault *fault, const struct error *error)
{
    static const char *const wheres[] = {
        [SCHEDULE_FAULT_ZONE] = "--timezone",
        [SCHEDULE_FAULT_START] = "--start",
        [SCHEDULE_FAULT_END] = "--end",
        [SCHEDULE_FAULT_EXCEPT] = "--except",
    };

    if (fault->where != SCHEDULE_FAULT_TEXT)
        return verb_usage(n->call, "%s: %s", wheres[fault->where], error->text);
    verb_print(stderr, "cronsched: column %zu: %s\n", fault->column + 1, error->text);
    if (strlen(n->text) <= SCHEDULE_TEXT_MAX)
        print_mark(n->text, fault->column);
    return EXIT_DIFFERS;
}

static int choice(const struct verb_call *call, const char *option, const char *const *names, int count)
{
    const char *value = verb_option(call, option);

    for (int i = 0; value && i < count; i++)
        if (strcmp(value, names[i]) == 0)
            return i;
    return 0; /* the first is the default; others than these are refused with the options */
}

static int add_except(struct next *n, const char *text)
{
    char **grown = realloc(n->except, (n->except_count + 1) * sizeof(*grown));

    if (!grown)
        return cli_fail(ERR_NOMEM, "out of memory");
    n->except = grown;
    n->except[n->except_count] = strdup(text);
    if (!n->except[n->except_count])
        return cli_fail(ERR_NOMEM, "out of memory");
    n->except_count++;
    return EXIT_FINE;
}

static int add_calendar(struct next *n, const char *path)
{
    struct civil_range *ranges = NULL;
    char text[CIVIL_TEXT_MAX];
    struct error error;
    size_t count = 0;
    int code = EXIT_FINE;

    if (calendar_read(NULL, NULL, path, &ranges, &count, &error) < 0)
        return verb_usage(n->call, "--except: %s", error.text);
    for (size_t i = 0; i < count && code == EXIT_FINE; i++)
        code = add_except(n, civil_range_format(&ranges[i], text, sizeof(text)));
    free(ranges);
    return code;
}

static bool is_calendar(const char *text)
{
    size_t length = strlen(text);

    return length > 4 && strcasecmp(text + length - 4, ".ics") == 0;
}

static int read_except(struct next *n)
{
    const char *value;
    int code = EXIT_FINE;

    for (size_t i = 0; code == EXIT_FINE && (value = verb_option_at(n->call, "except", i)); i++)
        code = is_calendar(value) ? add_calendar(n, value) : add_except(n, value);
    return code;
}

static int compile_text(struct next *n)
{
    static const char *const dialects[] = {"cron", "quartz"}, *const policies[] = {"hybrid", "skip", "both",
                                                                                   "utc"};
    struct schedule_options o = {
        .zone = verb_option(n->call, "timezone"),
        .dialect = (enum schedule_dialect)choice(n->call, "dialect", dialects, 2),
        .dst = (enum schedule_dst)choice(n->call, "dst", policies, 4),
        .job = verb_option(n->call, "name"),
        .start = verb_option(n->call, "start"),
        .end = verb_option(n->call, "end"),
    };
    const char *anchor = verb_option(n->call, "anchor");
    struct schedule_fault fault;
    struct error error;
    int64_t anchor_ms = 0;
    int code = read_except(n);

    if (code != EXIT_FINE)
        return code;
    if (anchor && human_time_parse(anchor, n->now_ms, HUMAN_TIME_PAST, &anchor_ms, &error) < 0)
        return verb_usage(n->call, "--anchor: %s", error.text);
    if (anchor_ms < 0)
        return verb_usage(n->call, "--anchor: before 1970");
    o.anchor_s = anchor_ms / 1000;
    o.except = (const char *const *)n->except;
    o.except_count = n->except_count;
    n->text = n->call->args[0];
    if (schedule_new(&n->schedule, &n->text, 1, &o, zoneinfo_source(n->zoneinfo), &fault, &error) < 0)
        return fail_schedule(n, &fault, &error);
    return EXIT_FINE;
}

/* ---- a job ---- */

static int compile_job(struct next *n, const char *name)
{
    const json_t *stored;
    json_t *jobs = NULL;
    struct cli_context cli;
    struct error error;
    int code = cli_open(&cli, n->call);

    if (code == EXIT_FINE)
        code = stored_jobs_get(&cli, &jobs);
    if (code != EXIT_FINE)
        return cli_close(&cli, code);
    stored = json_object_get(jobs, name);
    if (!stored)
        code = cli_fail(ERR_NOT_FOUND, "there is no job '%s'", name);
    else if (stored_job_compile(name, stored, zoneinfo_source(n->zoneinfo), &n->schedule, &error) < 0)
        code = verb_fail(&error);
    else if (!n->schedule)
        code = cli_fail(ERR_INVALID, "the job '%s' has no schedule", name);
    json_decref(jobs);
    return cli_close(&cli, code);
}

/* ---- the answer ---- */

/* A time without an offset is one of the schedule's zone. */
static int read_from(struct next *n)
{
    const char *text = verb_option(n->call, "from");
    int64_t from_ms = n->now_ms;
    struct civil_text civil;
    struct error error;

    if (text && civil_parse(text, strlen(text), &civil, NULL, NULL) == 0) {
        n->from_s = civil.has_offset ? civil.local_s - civil.offset_s
                                     : schedule_instant(n->schedule, civil.local_s);
        return EXIT_FINE;
    }
    if (text && human_time_parse(text, n->now_ms, HUMAN_TIME_PAST, &from_ms, &error) < 0)
        return verb_usage(n->call, "--from: %s", error.text);
    n->from_s = from_ms / 1000 -
                (from_ms % 1000 < 0); /* a part of a second is dropped, before 1970 as well */
    return EXIT_FINE;
}

static void note_never(const struct next *n, bool any)
{
    char local[CIVIL_TEXT_MAX];

    if (any)
        fprintf(stderr, "cronsched: there are no more fire times\n");
    else
        fprintf(stderr, "cronsched: it never fires after %s\n",
                schedule_local(n->schedule, n->from_s, local, sizeof(local)));
}

static void print_json(const struct next *n)
{
    int64_t at_s = n->from_s;
    bool any = false;

    putchar('[');
    for (long i = 0; i < n->count; i++, any = true) {
        char text[TEXT_NUMBER_BUFFER];

        at_s = schedule_next(n->schedule, at_s);
        if (at_s == SCHEDULE_NEVER)
            break;
        printf("%s\"%s\"", any ? ", " : "", instant_format(at_s * 1000, INSTANT_S, text, sizeof(text)));
    }
    puts("]");
    if (!any)
        note_never(n, false);
}

static const char *mark_text(enum schedule_mark mark)
{
    switch (mark) {
    case SCHEDULE_MOVED:
        return "  moved: the clock skips its time";
    case SCHEDULE_FIRST:
        return "  the clock shows this twice: first time";
    case SCHEDULE_SECOND:
        return "  the clock shows this twice: second time";
    case SCHEDULE_PLAIN:
    default:
        return "";
    }
}

static void print_heading(const struct next *n)
{
    char text[DESCRIBE_MAX], canonical[SCHEDULE_TEXT_MAX + 16];

    puts(schedule_describe(n->schedule, text, sizeof(text)));
    if (n->text && strcmp(schedule_canonical(n->schedule, 0, canonical, sizeof(canonical)), n->text) != 0)
        verb_print(stdout, "the same as: %s\n", canonical);
}

static void print_text(const struct next *n)
{
    int64_t at_s = n->from_s;
    long i;

    print_heading(n);
    if (n->text && strchr(n->text, '~'))
        fputs("Each job has times of its own for '~', chosen when it is made: --job JOB shows them.\n",
              stderr);
    for (i = 0; i < n->count; i++) {
        char local[CIVIL_TEXT_MAX], left[TEXT_NUMBER_BUFFER];

        at_s = schedule_next(n->schedule, at_s);
        if (at_s == SCHEDULE_NEVER)
            break;
        printf("%-25s  %s%s\n", schedule_local(n->schedule, at_s, local, sizeof(local)),
               human_time_relative(at_s * 1000, n->now_ms, left, sizeof(left)),
               mark_text(schedule_mark(n->schedule, at_s)));
    }
    if (i < n->count)
        note_never(n, i > 0);
}

/* ---- the verb ---- */

static int check_usage(struct next *n)
{
    static const char *const textual[] = {"timezone", "dialect", "dst",    "except",
                                          "start",    "end",     "anchor", "name"};
    bool job = verb_option(n->call, "job");
    struct error error;

    n->count = COUNT_DEFAULT;
    if (verb_option_int(n->call, "count", 0, COUNT_MAX, &n->count, &error) < 0)
        return verb_usage(n->call, "%s", error.text);
    if (n->call->arg_count > 1)
        return verb_usage(n->call, "one expression, in quotes: cronsched next '30 2 * * *'");
    if (job == (n->call->arg_count > 0))
        return verb_usage(n->call,
                          job ? "an expression or --job, not both" : "an expression is missing, or --job");
    for (size_t i = 0; job && i < sizeof(textual) / sizeof(textual[0]); i++)
        if (verb_option(n->call, textual[i]))
            return verb_usage(n->call, "--%s does not go with --job, which has its own", textual[i]);
    return EXIT_FINE;
}

static int answer(struct next *n)
{
    const char *job = verb_option(n->call, "job"), *form = verb_option(n->call, "output");
    int code = job ? compile_job(n, job) : compile_text(n);

    if (code == EXIT_FINE)
        code = read_from(n);
    if (code != EXIT_FINE)
        return code;
    if (form && strcmp(form, "json") == 0)
        print_json(n);
    else
        print_text(n);
    return EXIT_FINE;
}

static int run(const struct verb_call *call)
{
    struct next n = {.call = call, .now_ms = output_now_ms()};
    struct error error;
    int code = check_usage(&n);

    if (code != EXIT_FINE)
        return code;
    if (zones_open(&n.zoneinfo, &error) < 0)
        return verb_fail(&error);
    code = answer(&n);
    schedule_free(n.schedule);
    zoneinfo_free(n.zoneinfo);
    for (size_t i = 0; i < n.except_count; i++)
        free(n.except[i]);
    free(n.except);
    return code;
}

const struct verb verb_next = {
    .name = "next",
    .args = "[EXPR]",
    .help = "print the next fire times of a schedule, and explain it",
    .text =
        "EXPR is one schedule as in a job file, in quotes: cron with five to seven fields, @daily, @every "
        "15m, "
        "@at "
        "2026-12-24T18:00:00, R/2026-01-01T00:00:00Z/P1D; TZ=ZONE or quartz: may come first. No server "
        "is "
        "needed, except for --job.\n\n"
        "As text, the schedule in English and then its times with what a change of the clock did to them; as "
        "JSON, an array of times in UTC and nothing else. Exit code 1 when the expression is not valid, with "
        "its "
        "column on stderr. A schedule that never fires is valid: no times, and a note on stderr.",
    .group = VERB_GROUP_TIME,
    .shared = VERB_SERVER,
    .options = options,
    .run = run,
};
