/* plan: what apply would change, in fields and fire times. */
#include "cronsched/cli/dst_effects.h"
#include "cronsched/cli/human_time.h"
#include "cronsched/cli/plan.h"
#include "cronsched/cli/start_histogram.h"
#include "jobs/time/instant.h"

#include <inttypes.h>
#include <string.h>

static const struct verb_option options[] = {
    PLAN_OPTIONS,
    {"prune", 0, NULL, "show jobs of this set that are not in the files as deletions"},
    {"show-values", 0, NULL, "show values of environment variables and URLs of webhooks"},
    JOBFILES_OPTION,
    {0}};

/* ---- the plan as JSON ---- */

static bool shows_values(const struct plan *set)
{
    return verb_flag(set->cli->call, "show-values");
}

static json_t *times_or_null(json_t *times)
{
    return times ? times : json_null();
}

static json_t *plan_created(const struct plan *set, const json_t *names, int64_t now_ms)
{
    json_t *list = json_array();
    const json_t *item;
    size_t i;

    json_array_foreach(names, i, item)
    {
        const char *name = output_text(item);
        json_t *def = json_object_get(set->jobs, name);
        json_t *shown = shows_values(set) ? json_incref(def) : plan_without_values(def);

        json_array_append_new(list,
                              json_pack("{s:s,s:o,s:o,s:o}", "job", name, "def", shown, "next_after",
                                        times_or_null(plan_next_times(set, name, def, NULL, now_ms)),
                                        "clock_changes", plan_dst_effects(set, name, def, NULL, now_ms)));
    }
    return list;
}

/* Whose it is, when that changes. */
static void add_owner(json_t *fields, const json_t *was, const char *owner)
{
    json_t *before = json_is_string(was) ? json_incref((json_t *)(uintptr_t)was) : json_null();
    json_t *after = owner ? json_string(owner) : json_null();

    if (!json_equal(before, after))
        json_array_append_new(fields,
                              json_pack("{s:s,s:O,s:O}", "field", "(set)", "old", before, "new", after));
    json_decref(before);
    json_decref(after);
}

static json_t *plan_changed(const struct plan *set, const json_t *names, int64_t now_ms)
{
    const json_t *stored_jobs = json_object_get(set->defs, "jobs"), *item;
    json_t *list = json_array();
    size_t i;

    json_array_foreach(names, i, item)
    {
        const char *name = output_text(item);
        const json_t *stored = json_object_get(stored_jobs, name);
        json_t *before = json_object_get(stored, "def"), *after = json_object_get(set->jobs, name);
        json_t *fields = plan_fields(before, after, shows_values(set)), *removed, *added;

        plan_compare_times(set, name, after, stored, now_ms, &removed, &added);
        if (verb_flag(set->cli->call, "take-over"))
            add_owner(fields, json_object_get(stored, "set"), verb_option(set->cli->call, "set"));
        json_array_append_new(
            list,
            json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o}", "job", name, "fields", fields, "next_before",
                      times_or_null(plan_next_times(set, name, before, stored, now_ms)), "next_after",
                      times_or_null(plan_next_times(set, name, after, stored, now_ms)), "removed", removed,
                      "added", added, "clock_changes", plan_dst_effects(set, name, after, stored, now_ms)));
    }
    return list;
}

/* {NAME: the next fire times that go with it} */
static json_t *plan_deleted(const struct plan *set, const json_t *names, int64_t now_ms)
{
    const json_t *stored_jobs = json_object_get(set->defs, "jobs"), *item;
    json_t *times = json_object();
    size_t i;

    json_array_foreach(names, i, item)
    {
        const char *name = output_text(item);
        json_t *removed, *added;

        plan_compare_times(set, name, NULL, json_object_get(stored_jobs, name), now_ms, &removed, &added);
        json_object_set_new(times, name, removed);
        json_decref(added);
    }
    return times;
}

static json_t *make_plan(const struct plan *set, const json_t *reply, int64_t now_ms)
{
    static const char *const as_they_are[] = {"conflicts", "taken_over", "unlisted", "unlisted_count",
                                              "pauses",    "cluster",    "uuid",     "server"};
    json_t *deleted = json_object_get(reply, "deleted");
    json_t *plan = json_pack(
        "{s:O,s:o,s:o,s:O,s:o,s:O,s:O,s:o}", "index", json_object_get(reply, "index"), "created",
        plan_created(set, json_object_get(reply, "created"), now_ms), "changed",
        plan_changed(set, json_object_get(reply, "changed"), now_ms), "deleted", deleted, "deleted_next",
        plan_deleted(set, deleted, now_ms), "unchanged", json_object_get(reply, "unchanged"), "warnings",
        json_object_get(reply, "warnings"), "load", plan_load_summary(set, deleted, now_ms));

    for (size_t i = 0; plan && i < sizeof(as_they_are) / sizeof(as_they_are[0]); i++) {
        json_t *value = json_object_get(reply, as_they_are[i]);

        if (value)
            json_object_set(plan, as_they_are[i], value);
    }
    return plan;
}

/* ---- for people ---- */

static void print_times(const struct output *out, const char *title, const json_t *times)
{
    const json_t *item;
    size_t i;

    printf("    %s", title);
    if (!json_is_array(times))
        printf(" chosen when it is applied");
    else if (json_array_size(times) == 0)
        printf(" never by itself");
    json_array_foreach(times, i, item)
    {
        char local[TEXT_NUMBER_BUFFER];
        int64_t ms;

        if (i == PLAN_NEXT_TIMES)
            printf(", ...");
        else if (instant_parse(output_text(item), &ms, NULL) == 0)
            printf("%s%s", i ? ", " : " ", human_time_local(ms, local, sizeof(local)));
    }
    putchar('\n');
}

static void print_apart(const struct output *out, const char *title, const json_t *times)
{
    if (json_array_size(times) > 0)
        print_times(out, title, times);
}

/* The next changes of the clock that touch it, a line each. */
static void print_clock_changes(const json_t *job)
{
    const json_t *list = json_object_get(job, "clock_changes"), *effect;
    size_t i;

    json_array_foreach(list, i, effect)
    {
        char times[64];

        printf("    clock change: %s is %s\n", dst_effect_times(effect, times, sizeof(times)),
               dst_effect_words(effect));
    }
}

static void print_value(const json_t *value, const char *none)
{
    if (json_is_null(value))
        fputs(none, stdout);
    else
        output_json(stdout, value, 0);
}

/* HIDDEN values are alike: what became of them is said instead. */
static void print_field(const json_t *field)
{
    const char *name = json_string_value(json_object_get(field, "field"));
    const json_t *before = json_object_get(field, "old"), *after = json_object_get(field, "new");
    const char *none = strcmp(name, "(set)") == 0 ? "(none)" : "(default)";

    if (json_equal(before, after)) {
        verb_print(stdout, "    %s: changed; --show-values shows how\n", name);
        return;
    }
    verb_print(stdout, "    %s: ", name);
    print_value(before, none);
    fputs(" -> ", stdout);
    print_value(after, none);
    putchar('\n');
}

static void print_conflict(const struct plan *set, const json_t *conflict)
{
    const struct output *out = &set->cli->out;
    char owner[PLAN_OWNER_SIZE];

    printf("%s! %s%s", output_tone(out, OUTPUT_BAD), json_string_value(json_object_get(conflict, "job")),
           output_plain(out));
    verb_print(stdout, " belongs to %s: apply will refuse, unless --take-over is given\n",
               plan_owner(json_object_get(conflict, "set"), owner));
}

static void print_created(const struct output *out, const json_t *job)
{
    printf("%s+ %s%s\n", output_tone(out, OUTPUT_GOOD), output_text(json_object_get(job, "job")),
           output_plain(out));
    print_times(out, "next:", json_object_get(job, "next_after"));
    print_clock_changes(job);
}

static void print_changed(const struct output *out, const json_t *job)
{
    const json_t *removed = json_object_get(job, "removed"), *added = json_object_get(job, "added"), *field;
    bool same = json_is_array(added) && json_array_size(added) + json_array_size(removed) == 0;
    size_t i;

    printf("%s~ %s%s\n", output_tone(out, OUTPUT_WARN), output_text(json_object_get(job, "job")),
           output_plain(out));
    json_array_foreach(json_object_get(job, "fields"), i, field) print_field(field);
    print_times(out, same ? "next, as before:" : "next:", json_object_get(job, "next_after"));
    print_apart(out, "removed:", removed);
    print_apart(out, "added:", added);
    print_clock_changes(job);
}

static void print_deleted(const struct output *out, const char *name, const json_t *next)
{
    printf("%s- %s%s\n", output_tone(out, OUTPUT_BAD), name, output_plain(out));
    print_apart(out, "removed:", json_object_get(next, name));
}

static void print_totals(const json_t *plan)
{
    printf("%zu to create, %zu to change, %zu to delete, %" JSON_INTEGER_FORMAT
           " unchanged; apply just this with --check-index %" JSON_INTEGER_FORMAT "\n",
           json_array_size(json_object_get(plan, "created")),
           json_array_size(json_object_get(plan, "changed")),
           json_array_size(json_object_get(plan, "deleted")),
           json_integer_value(json_object_get(plan, "unchanged")),
           json_integer_value(json_object_get(plan, "index")));
    start_histogram_print(json_object_get(plan, "load"));
}

static void print_plan(const struct plan *set, const json_t *plan, bool changes)
{
    const struct output *out = &set->cli->out;
    const json_t *conflicts = json_object_get(plan, "conflicts"), *item;
    size_t i;

    json_array_foreach(json_object_get(plan, "warnings"), i, item)
        verb_print(stderr, "warning: %s\n", json_string_value(item));
    plan_print_cluster(plan);
    json_array_foreach(conflicts, i, item) print_conflict(set, item);
    json_array_foreach(json_object_get(plan, "created"), i, item) print_created(out, item);
    json_array_foreach(json_object_get(plan, "changed"), i, item) print_changed(out, item);
    json_array_foreach(json_object_get(plan, "deleted"), i, item)
        print_deleted(out, json_string_value(item), json_object_get(plan, "deleted_next"));
    plan_print_differences(set, plan);
    if (json_array_size(conflicts) > 0)
        printf("Jobs that belong to others: %zu; nothing can be applied.\n", json_array_size(conflicts));
    else if (changes)
        print_totals(plan);
    else
        puts("Nothing would change.");
}

static int show_plan(const struct plan *set, const json_t *reply)
{
    const struct output *out = &set->cli->out;
    bool changes = json_array_size(json_object_get(reply, "created")) > 0 ||
                   json_array_size(json_object_get(reply, "changed")) > 0 ||
                   json_array_size(json_object_get(reply, "deleted")) > 0;
    json_t *plan = make_plan(set, reply, out->now_ms);

    if (!plan)
        return cli_fail(ERR_CORRUPT, "the server's answer is incomplete");
    if (out->format == OUTPUT_TABLE)
        print_plan(set, plan, changes);
    else
        output_value(out, plan);
    json_decref(plan);
    if (json_array_size(json_object_get(reply, "conflicts")) > 0)
        return EXIT_CONFLICT;
    return changes ? EXIT_DIFFERS : EXIT_FINE;
}

static int run_plan(const struct verb_call *call)
{
    return plan_run(call, true, show_plan);
}

const struct verb verb_plan = {
    .name = "plan",
    .args = "PATH...",
    .help = "show what apply would change, in fields and fire times",
    .text =
        "Jobs that belong to others are marked with !, jobs of the set that are not in the files with ?, and "
        "those "
        "that are paused or resumed by hand, other than their file says, with =. Values of environment "
        "variables "
        "and URLs of webhooks are not shown.\n\n"
        "Exit code 0 when nothing would change, 1 when something would, above 1 after an error; 6 when a job "
        "belongs to others, so that apply would refuse.",
    .group = VERB_GROUP_FILES,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = options,
    .run = run_plan,
};
