/* apply: makes the jobs as the files say, all or none. */
#include "cronsched/cli/plan.h"

#include <string.h>

static const struct verb_option options[] = {
    PLAN_OPTIONS,
    {"prune", 0, NULL, "delete the jobs of this set that are not in the files"},
    {"check-index", 0, "N",
     "only if the jobs are still as they were at this index (of plan); else exit code 6"},
    JOBFILES_OPTION,
    {0}};

/* Whose the changed job was, when it was taken over. */
static void print_former_owner(const json_t *taken_over, const char *name)
{
    const json_t *item;
    size_t i;

    json_array_foreach(taken_over, i, item)
    {
        const char *job = json_string_value(json_object_get(item, "job"));
        char owner[PLAN_OWNER_SIZE];

        if (job && strcmp(job, name) == 0)
            verb_print(stdout, " (taken over from %s)", plan_owner(json_object_get(item, "set"), owner));
    }
}

static void print_names(const struct output *out, enum output_tone tone, char sign, const json_t *names,
                        const json_t *taken_over)
{
    const json_t *item;
    size_t i;

    json_array_foreach(names, i, item)
    {
        const char *name = output_text(item);

        printf("%s%c %s%s", output_tone(out, tone), sign, name, output_plain(out));
        print_former_owner(taken_over, name);
        putchar('\n');
    }
}

static int show_apply(const struct plan *set, const json_t *reply)
{
    const struct output *out = &set->cli->out;
    const json_t *created = json_object_get(reply, "created"), *changed = json_object_get(reply, "changed"),
                 *deleted = json_object_get(reply, "deleted"), *item;
    size_t i;

    json_array_foreach(json_object_get(reply, "warnings"), i, item)
        verb_print(stderr, "warning: %s\n", output_text(item));
    if (out->format != OUTPUT_TABLE) {
        output_value(out, reply);
        return EXIT_FINE;
    }
    plan_print_cluster(reply);
    print_names(out, OUTPUT_GOOD, '+', created, NULL);
    print_names(out, OUTPUT_WARN, '~', changed, json_object_get(reply, "taken_over"));
    print_names(out, OUTPUT_BAD, '-', deleted, NULL);
    plan_print_differences(set, reply);
    printf("%zu created, %zu changed, %zu deleted, %" JSON_INTEGER_FORMAT
           " unchanged (index %" JSON_INTEGER_FORMAT ")\n",
           json_array_size(created), json_array_size(changed), json_array_size(deleted),
           json_integer_value(json_object_get(reply, "unchanged")),
           json_integer_value(json_object_get(reply, "index")));
    return EXIT_FINE;
}

static int run_apply(const struct verb_call *call)
{
    return plan_run(call, false, show_apply);
}

const struct verb verb_apply = {
    .name = "apply",
    .args = "PATH...",
    .help = "create, change and delete jobs to match the files, all or none",
    .text =
        "Reads files, and folders with all *.yaml and *.yml below them; - is the standard input. Every error "
        "is printed as FILE:LINE:COLUMN: error: TEXT; if there is one, nothing is changed (exit code 2).\n\n"
        "A set names who owns the jobs. A job of another set is left alone, and so is one of no set when a "
        "set is "
        "given: that is a conflict (exit code 6, and nothing is changed) unless --take-over is given. "
        "--prune "
        "deletes jobs of the set alone, and nothing where a PATH has no job, unless --allow-empty is "
        "given.\n\n"
        "The first line names the cluster that answered; with --cluster, or CRONSCHED_CLUSTER, any other one "
        "refuses (exit code 6). A pause by hand stays, whatever the files say of paused.",
    .group = VERB_GROUP_FILES,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = options,
    .run = run_apply,
};
