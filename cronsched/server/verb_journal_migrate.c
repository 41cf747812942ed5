/* journal migrate: moves the journal from a data folder into ZooKeeper, or back; see migration.h. */
#include "cronsched/command/verbs.h"
#include "cronsched/server/migration.h"

#include <string.h>

static const struct verb_option options[] = {
    {"config", 'c', "FILE", "the configuration that has zookeeper (also CRONSCHED_CONFIG)"},
    {"dry-run", 'n', NULL, "only say what would happen; so it is without --yes"},
    {"yes", 'y', NULL, "do it"},
    {0}};

static int run_migrate(const struct verb_call *call)
{
    const char *to = call->args[0];
    bool out = strcmp(to, "embedded") == 0, do_it = verb_flag(call, "yes") && !verb_flag(call, "dry-run");
    struct config config;
    struct error error = {0};
    int code;

    if (!out && strcmp(to, "zookeeper") != 0) {
        error_set(&error, ERR_INVALID, "'%s': the journal can be moved to 'zookeeper' or 'embedded'", to);
        return verb_fail(&error);
    }
    code = config_load_file(&config, verb_option(call, "config"));
    if (code == EXIT_FINE &&
        migration_run(&config, out ? MIGRATION_TO_EMBEDDED : MIGRATION_TO_ZOOKEEPER, do_it, &error) < 0)
        code = verb_fail(&error);
    config_release(&config);
    return code;
}

const struct verb verb_journal_migrate = {
    .name = "journal migrate",
    .args = "TO",
    .help = "move the journal of a stopped server into ZooKeeper, or back",
    .text = "TO is 'zookeeper' (from journal.db in data_dir) or 'embedded' (into it). The configuration is "
            "that of the "
            "replica, with zookeeper, cluster and data_dir. Jobs, fire times, keys, runs and their numbers "
            "stay as they "
            "are; history and logs stay in the folder. No server may run, on the folder or in the cluster. "
            "The place "
            "where the journal was is sealed, and no server starts from it. Whatever interrupts it: call it "
            "again.",
    .group = VERB_GROUP_SERVER,
    .options = options,
    .run = run_migrate,
};
