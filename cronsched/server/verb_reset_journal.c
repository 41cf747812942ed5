/* cluster reset-journal: a person accepts that the journal of a stopped server ends where it ends. The journal is
 * not changed; what remembers more than it does (the mark in its lock file, the history) is. */
#include "cronsched/command/verbs.h"
#include "jobs/base/clock.h"
#include "jobs/history/store.h"
#include "leader/embedded/journal_db.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct verb_option options[] = {
    {"yes", 0, NULL, "do it; without this, only report what would be done"}, {0}};

struct found {
    char journal[PATH_MAX], history[PATH_MAX];
    struct journal_db_rest rest;
    uint64_t applied; /* by the history */
};

static int look(struct found *f, const char *folder, struct error *error)
{
    int rc;

    snprintf(f->journal, sizeof(f->journal), "%s/journal.db", folder);
    snprintf(f->history, sizeof(f->history), "%s/history.db", folder);
    if (access(f->journal, F_OK) < 0 && access(f->history, F_OK) < 0)
        return error_set(error, ERR_NOT_FOUND,
                         "%s holds neither journal.db nor history.db: it is not the data_dir of a "
                         "standalone server",
                         folder);
    rc = journal_db_examine(f->journal, false, &f->rest, error);
    return rc == 0 ? store_read_applied(f->history, &f->applied, error) : rc;
}

static bool history_knows_more(const struct found *f)
{
    return f->applied > f->rest.index;
}

/* The database last: whatever ends this half way, the rest is found again. */
static int put_history_aside(const struct found *f, const char *name, struct error *error)
{
    static const char *const suffixes[] = {"-wal", "-shm", ""};
    char from[PATH_MAX + 8], to[PATH_MAX + 8];

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        snprintf(from, sizeof(from), "%s%s", f->history, suffixes[i]);
        snprintf(to, sizeof(to), "%s%s", name, suffixes[i]);
        if (rename(from, to) < 0 && errno != ENOENT)
            return error_set(error, ERR_IO, "%s cannot be renamed: %s", from, strerror(errno));
    }
    return 0;
}

static void tell(const struct found *f, const char *aside)
{
    if (f->rest.exists)
        verb_print(stdout, "%s ends at batch %" PRIu64 ".\n", f->journal, f->rest.index);
    else
        verb_print(stdout, "%s is missing or empty.\n", f->journal);
    printf("Acknowledged: up to batch %" PRIu64 " by journal.db.lock, %" PRIu64 " by history.db.\n",
           f->rest.acknowledged, f->applied);
    if (f->rest.acknowledged <= f->rest.index && !history_knows_more(f)) {
        puts("Nothing is missing: there is nothing to do.");
        return;
    }
    printf("Would be lost: what batches %" PRIu64
           " and later said. Jobs as they were then; runs of that time may be "
           "started again.\n",
           f->rest.index + 1);
    if (history_knows_more(f))
        verb_print(stdout, "To be put aside: history.db, as %s; a new one begins.\n", aside);
}

static int run(const struct verb_call *call)
{
    bool yes = verb_flag(call, "yes"), missing;
    char aside[PATH_MAX], stamp[32];
    struct error error = {0};
    struct found f = {0};
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm tm;

    if (look(&f, call->args[0], &error) < 0)
        return verb_fail(&error);
    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
    snprintf(aside, sizeof(aside), "%.*s.before-%s", (int)sizeof(aside) - 40, f.history, stamp);
    tell(&f, aside);
    missing = f.rest.acknowledged > f.rest.index || history_knows_more(&f);
    if (!missing)
        return EXIT_FINE;
    if (!yes) {
        puts("Nothing was changed. It is better to put the right journal.db (with its -wal) back; otherwise "
             "use "
             "--yes.");
        return EXIT_DIFFERS;
    }
    if ((history_knows_more(&f) && put_history_aside(&f, aside, &error) < 0) ||
        journal_db_examine(f.journal, true, &f.rest, &error) < 0)
        return verb_fail(&error);
    puts("Done: the server can be started.");
    return EXIT_FINE;
}

const struct verb verb_cluster_reset_journal = {
    .name = "cluster reset-journal",
    .args = "DATA_DIR",
    .help = "accept that the journal of a stopped server is missing or older",
    .text = "For a standalone server that refuses to start because its journal ends before what was "
            "acknowledged. "
            "Reports what would be lost; with --yes, does it. The journal itself is not changed, and the "
            "history is put "
            "aside when it knows more.",
    .group = VERB_GROUP_SERVER,
    .options = options,
    .run = run,
};
