/* validate: checks job files, without a server. */
#include "cronsched/cli/jobfiles.h"
#include "cronsched/cli/output.h"
#include "cronsched/command/verbs.h"

#include "cronsched/io/zones.h"

#include <stdlib.h>

static void print_lines(const struct jobfile_set *set)
{
    char line[JOBFILE_LINE_MAX];

    for (size_t i = 0; i < set->error_count; i++)
        fprintf(stderr, "%s\n", jobfile_error_format(&set->errors[i], line, sizeof(line)));
}

static json_t *error_json(const struct jobfile_error *e)
{
    return json_pack("{s:s, s:i, s:i, s:s, s:s}", "file", e->file, "line", e->line, "column", e->column,
                     "severity", e->warning ? "warning" : "error", "text", e->text);
}

static int print_json(const struct output *out, const struct jobfile_set *set, size_t files)
{
    json_t *errors = json_array(), *answer;

    for (size_t i = 0; i < set->error_count; i++)
        json_array_append_new(errors, error_json(&set->errors[i]));
    answer = json_pack("{s:I, s:I, s:I, s:o}", "files", (json_int_t)files, "jobs", (json_int_t)set->count,
                       "failed", (json_int_t)set->failed, "errors", errors);
    if (!answer)
        return ERR_NOMEM;
    output_value(out, answer);
    json_decref(answer);
    return 0;
}

static void print_count(size_t count, const char *what)
{
    printf("%zu %s%s", count, what, count == 1 ? "" : "s");
}

static void print_summary(const struct jobfile_set *set, size_t files)
{
    print_count(set->count, "job");
    fputs(" in ", stdout);
    print_count(files, "file");
    fputs(", ", stdout);
    if (set->failed > 0)
        print_count(set->failed, "error");
    else
        fputs("no errors", stdout);
    putchar('\n');
}

static int check(const struct verb_call *call, struct jobfile_set *set, struct zone_source *zones)
{
    struct output out;
    const struct jobfiles_options options = {.follow_links = verb_flag(call, "follow-links"), .zones = zones};
    struct jobfiles_found found = {0};
    int r = jobfiles_load(set, call->args, call->arg_count, &options, &found);

    if (r != ERR_NOMEM)
        r = jobfile_finish(set, NULL, 0);
    if (r == ERR_NOMEM)
        return r;
    output_init(&out, call);
    if (out.format != OUTPUT_TABLE)
        return print_json(&out, set, found.files);
    print_lines(set);
    print_summary(set, found.files);
    return 0;
}

static int run(const struct verb_call *call)
{
    struct zoneinfo *zoneinfo = NULL;
    struct jobfile_set set;
    struct error error;
    int r = zones_open(&zoneinfo, &error);
    size_t failed;

    if (r < 0)
        return verb_fail(&error);
    jobfile_set_init(&set);
    r = check(call, &set, zoneinfo_source(zoneinfo));
    failed = set.failed;
    jobfile_set_release(&set);
    zoneinfo_free(zoneinfo);
    if (r < 0) {
        error_set(&error, r, "%s", error_text(r));
        return verb_fail(&error);
    }
    return failed > 0 ? EXIT_DIFFERS : EXIT_FINE;
}

static const struct verb_option options[] = {JOBFILES_OPTION, {0}};

const struct verb verb_validate = {
    .name = "validate",
    .args = "PATH...",
    .help = "check job files, without a server",
    .text =
        "Reads files, and folders with all *.yaml and *.yml below them; - is the standard input. Every error "
        "is printed on stderr as FILE:LINE:COLUMN: error: TEXT. Exit code 0 without errors (there may be "
        "warnings), "
        "1 with errors.\n\n"
        "What only the server knows is not checked: whether an engine is configured, and what it can honour.",
    .group = VERB_GROUP_FILES,
    .shared = VERB_OUTPUT,
    .options = options,
    .run = run,
};
