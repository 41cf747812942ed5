/* What `plan` and `apply` have in common: job files on one side, the server's definitions on the other,
 * and the difference between them. Functions that can fail print why and return an exit code, as those of
 * cli_context.h. Main thread.
 */
#pragma once

#include "cronsched/cli/cli_context.h"
#include "cronsched/cli/jobfiles.h"
#include "jobs/definition/jobfile.h"
#include "jobs/time/zoneinfo.h"

#define PLAN_NEXT_TIMES 3

/* Of both verbs. */
#define PLAN_OPTIONS                                                                                         \
    {"set", 0, "NAME", "who owns the jobs"}, {"take-over", 0, NULL, "take jobs of other sets, and of none"}, \
        {"allow-empty", 0, NULL, "files without a job are meant, and --prune may delete all of the set"},    \
    {                                                                                                        \
        "cluster", 0, "NAME", "only if this cluster answers, by name or UUID (default: $CRONSCHED_CLUSTER)"  \
    }

struct plan {
    struct cli_context *cli;
    struct zoneinfo *zoneinfo;
    struct jobfile_set files;
    struct jobfiles_found found;
    json_t *defs; /* the server's: {"index","jobs":{NAME:{"def","set","seed","anchor",...}}} */
    json_t *jobs; /* the files': {NAME: definition} */
};

/* Reads the files that the call names and asks the server for its definitions. Every fault of the files is
 * printed; with any, nothing is left to do: EXIT_USAGE. Release in any case. */
int plan_load(struct plan *set, struct cli_context *cli);
void plan_release(struct plan *set);

/* POST /v1/apply, with --set, --prune, --take-over, --allow-empty, --cluster and --check-index of the call. What the
 * server finds wrong with the jobs is printed with its place in the files. The reply is a new reference, with the
 * "server" that answered. */
int plan_send(struct plan *set, bool dry_run, json_t **ret);

/* A whole verb of the two: loads, sends, shows; gives the code of `show`, or of what failed before. */
int plan_run(const struct verb_call *call, bool dry_run,
             int (*show)(const struct plan *set, const json_t *reply));

/* "the set NAME", "no set": the buffer has the longer one, cut if need be. */
#define PLAN_OWNER_SIZE 240
const char *plan_owner(const json_t *set, char buffer[PLAN_OWNER_SIZE]);

/* For people: the cluster that answered, "cluster NAME (UUID) at SERVER"; nothing where the reply does not have it. */
void plan_print_cluster(const json_t *reply);
/* Jobs that the server has and the files do not, and pauses in which the two differ: of both verbs' replies. */
void plan_print_differences(const struct plan *set, const json_t *reply);

/* What would change in one job: array of {"field","old","new"}, null where a side has the default. Values of
 * variables and URLs of webhooks are left out of it unless `values`. */
json_t *plan_fields(const json_t *old_def, const json_t *new_def, bool values);
/* A definition without these values; a new reference. */
json_t *plan_without_values(const json_t *def);

/* The next fire times after now_ms, RFC 3339; NULL when they are not fixed yet (a `~` is chosen when the job
 * is stored), an empty array when there are none. `stored`: the server's {"def","seed","anchor"} of the job,
 * or NULL. */
json_t *plan_next_times(const struct plan *set, const char *name, const json_t *def, const json_t *stored,
                        int64_t now_ms);

/* The fire times after now_ms that a job of the server would lose and gain: the first PLAN_NEXT_TIMES of
 * each, and one more when there are more; JSON null when they are not fixed yet. `def` NULL: the job would
 * go.
 */
void plan_compare_times(const struct plan *set, const char *name, const json_t *def, const json_t *stored,
                        int64_t now_ms, json_t **ret_removed, json_t **ret_added);

/* What the next changes of the clock do to it, within a year of now_ms: rows as of dst_effects.h. Never NULL.
 */
json_t *plan_dst_effects(const struct plan *set, const char *name, const json_t *def, const json_t *stored,
                         int64_t now_ms);

/* Launches per minute of the next day, as it is and as it would be: {"before","after"}, each as of
 * start_histogram.h. `deleted`: names that would go. */
json_t *plan_load_summary(const struct plan *set, const json_t *deleted, int64_t now_ms);
