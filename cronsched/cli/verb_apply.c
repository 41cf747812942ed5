/* apply: makes the jobs as the files say, all or none. */
#include "cronsched/cli/jobfiles.h"
#include "cronsched/cli/plan.h"

static const struct verb_option options[] = {
    {"set", 0, "NAME", "who owns the jobs"},
    {"prune", 0, NULL, "delete the jobs of this set that are not in the files"},
    {"check-index", 0, "N",
     "only if the jobs are still as they were at this index (of plan); else exit code 6"},
    JOBFILES_OPTION,
    {0}};

static void print_names(const struct output *out, enum output_tone tone, char sign, const json_t *names)
{
    const json_t *item;
    size_t i;

    json_array_foreach(names, i, item)
        printf("%s%c %s%s\n", output_tone(out, tone), sign, output_text(item), output_plain(out));
}

static void show(const struct output *out, const json_t *reply)
{
    const json_t *created = json_object_get(reply, "created"), *changed = json_object_get(reply, "changed"),
                 *deleted = json_object_get(reply, "deleted"), *item;
    size_t i;

    json_array_foreach(json_object_get(reply, "warnings"), i, item)
        verb_print(stderr, "warning: %s\n", output_text(item));
    if (out->format != OUTPUT_TABLE) {
        output_value(out, reply);
        return;
    }
    print_names(out, OUTPUT_GOOD, '+', created);
    print_names(out, OUTPUT_WARN, '~', changed);
    print_names(out, OUTPUT_BAD, '-', deleted);
    printf("%zu created, %zu changed, %zu deleted, %" JSON_INTEGER_FORMAT
           " unchanged (index %" JSON_INTEGER_FORMAT ")\n",
           json_array_size(created), json_array_size(changed), json_array_size(deleted),
           json_integer_value(json_object_get(reply, "unchanged")),
           json_integer_value(json_object_get(reply, "index")));
}

static int run_apply(const struct verb_call *call)
{
    struct cli_context s;
    struct plan set = {0};
    json_t *body = NULL, *reply = NULL;
    /* The same files twice do no harm; an index that was right the first time is wrong the second. */
    enum client_repeat repeat = verb_option(call, "check-index") ? CLIENT_ONCE : CLIENT_REPEATABLE;
    int code = cli_open(&s, call);

    if (code != EXIT_FINE)
        return cli_close(&s, code);
    code = plan_load(&set, &s);
    if (code == EXIT_FINE)
        body = plan_body(&set, false, &code);
    if (body) {
        cli_path(&s, "/v1/apply");
        code = cli_send(&s, "POST", body, repeat, &reply);
    }
    if (code == EXIT_FINE)
        show(&s.out, reply);
    json_decref(reply);
    json_decref(body);
    plan_release(&set);
    return cli_close(&s, code);
}

const struct verb verb_apply = {
    .name = "apply",
    .args = "PATH...",
    .help = "create, change and delete jobs to match the files, all or none",
    .text =
        "Reads files, and folders with all *.yaml and *.yml below them; - is the standard input. Every error "
        "is printed as FILE:LINE:COLUMN: error: TEXT; if there is one, nothing is sent (exit code 2).\n\n"
        "A set names who owns the jobs. --prune deletes jobs of that set alone.",
    .group = VERB_GROUP_FILES,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = options,
    .run = run_apply,
};
