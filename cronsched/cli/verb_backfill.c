/* backfill: runs for fire times of the past. */
#include "cronsched/cli/cli_context.h"
#include "cronsched/cli/human_time.h"

#include <inttypes.h>
#include <string.h>

static const struct verb_option options[] = {
    {"from", 0, "TIME", "the first fire time, or later: 2026-11-01, 2h, yesterday, RFC 3339"},
    {"to", 0, "TIME", "the last fire time, or earlier"},
    {"max-parallel", 0, "N", "runs at once (default 1)"},
    {"again", 0, NULL, "also fire times that already have a run"},
    {"dry-run", 0, NULL, "only list the fire times"},
    {"cancel", 0, NULL, "give up what the job's backfills have not begun"},
    {0}};

static void show(const struct verb_call *call, const struct output *out, const json_t *reply)
{
    const json_t *times = json_object_get(reply, "fire_times"), *item;
    int64_t count = json_integer_value(json_object_get(reply, "count"));
    size_t i;

    if (out->format != OUTPUT_TABLE) {
        output_value(out, reply);
        return;
    }
    json_array_foreach(times, i, item) fprintf(out->to, "%s\n", output_text(item));
    if (count > (int64_t)json_array_size(times))
        fprintf(out->to, "... and %" PRId64 " more\n", count - (int64_t)json_array_size(times));
    if (verb_flag(call, "cancel")) {
        verb_print(stderr, "%s: %" PRId64 " fire time%s given up; runs that have begun go on\n",
                   call->args[0], count, count == 1 ? " is" : "s are");
        return;
    }
    verb_print(stderr, "%s: %" PRId64 " fire time%s ", call->args[0], count, count == 1 ? "" : "s");
    fputs(verb_flag(call, "dry-run") ? "would be run\n" : "to be run\n", stderr);
    if (count == 0)
        fprintf(stderr, "None has passed in that time%s\n",
                verb_flag(call, "again") ? ""
                                         : " without a run; --again also makes runs for those that have one");
}

static int cancel(const struct verb_call *call)
{
    struct cli_context s;
    json_t *body = json_pack("{s:b}", "cancel", 1), *reply = NULL;
    int code = cli_open(&s, call);

    for (const struct verb_option *o = options; o->name; o++)
        if (code == EXIT_FINE && strcmp(o->name, "cancel") != 0 &&
            (verb_option(call, o->name) || verb_flag(call, o->name)))
            code = verb_usage(call, "--cancel and --%s do not go together", o->name);
    if (code == EXIT_FINE) {
        cli_path(&s, "/v1/jobs/%s/backfill", call->args[0]);
        code = cli_send(&s, "POST", body, CLIENT_REPEATABLE, &reply);
    }
    if (code == EXIT_FINE)
        show(call, &s.out, reply);
    json_decref(reply);
    json_decref(body);
    return cli_close(&s, code);
}

static int run_backfill(const struct verb_call *call)
{
    struct cli_context s;
    struct error error;
    json_t *body, *reply = NULL;
    long parallel = 1;
    bool again = verb_flag(call, "again"), dry_run = verb_flag(call, "dry-run");
    int code;

    if (verb_flag(call, "cancel"))
        return cancel(call);
    if (!verb_option(call, "from") || !verb_option(call, "to"))
        return verb_usage(call, "--from and --to are needed");
    if (verb_option_int(call, "max-parallel", 1, 1000, &parallel, &error) < 0)
        return verb_usage(call, "%s", error.text);
    body =
        json_pack("{s:I,s:b,s:b}", "max_parallel", (json_int_t)parallel, "again", again, "dry_run", dry_run);
    code = cli_open(&s, call);
    if (code == EXIT_FINE)
        code = cli_put_time(&s, body, "from", "from", HUMAN_TIME_PAST);
    if (code == EXIT_FINE)
        code = cli_put_time(&s, body, "to", "to", HUMAN_TIME_PAST);
    if (code == EXIT_FINE) {
        cli_path(&s, "/v1/jobs/%s/backfill", call->args[0]);
        /* Without --again what was done already is passed over, so that asking twice does no harm. */
        code = cli_send(&s, "POST", body, again && !dry_run ? CLIENT_ONCE : CLIENT_REPEATABLE, &reply);
    }
    if (code == EXIT_FINE)
        show(call, &s.out, reply);
    json_decref(reply);
    json_decref(body);
    return cli_close(&s, code);
}

const struct verb verb_backfill = {
    .name = "backfill",
    .args = "JOB",
    .help = "make runs for fire times of the past",
    .text = "It returns once they are recorded; 'cronsched runs JOB' shows what becomes of them. Fire times "
            "that have a run, "
            "or are still to come, are passed over. --cancel gives up those of all backfills of the job that "
            "have no "
            "run yet; 'cronsched kill' ends a run.",
    .group = VERB_GROUP_RUNS,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = options,
    .run = run_backfill,
};
