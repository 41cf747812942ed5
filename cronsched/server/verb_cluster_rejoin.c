/* cluster rejoin: sets aside what a replica's data folder keeps of the journal, while its server is stopped, so that it
 * starts as a new replica of the same cluster and copies all from the others.
 *
 * Happy path: no server runs on the folder -> the cluster's id is read -> the files are moved into a folder beside them
 * -> a mark that knows the cluster and no batch takes their place. Failures: whatever cannot be moved is told; calling
 * it again goes on.
 */
#include "cronsched/cluster/mark_file.h"
#include "cronsched/command/verbs.h"
#include "cronsched/config/config.h"
#include "cronsched/server/data_dir.h"
#include "jobs/base/clock.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096

static const struct verb_option options[] = {
    {"data-dir", 0, "DIR", "the replica's data folder (default as of 'serve')"},
    {"yes", 'y', NULL, "do it; without this it only says what would happen"},
    {0}};

/* In this order: the mark is the last to go, and with it what the folder belongs to. */
static const char *const names[] = {"history.db-wal", "history.db-shm", "history.db", "cluster", "mark"};
#define NAME_COUNT (sizeof(names) / sizeof(names[0]))
#define NAME_BYTES 64 /* a slash, the longest of them, a NUL */

static bool is_there(const char *dir, const char *name)
{
    char path[PATH_BYTES + NAME_BYTES];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static int check_folder(const char *dir, struct error *error)
{
    if (is_there(dir, "journal.db"))
        return error_set(error, ERR_CONFLICT,
                         "%s belongs to a server on its own: its journal is there and nowhere else", dir);
    if (data_dir_is_served(dir))
        return error_set(error, ERR_BUSY, "a server runs on %s: stop it first", dir);
    for (size_t i = 0; i < NAME_COUNT; i++)
        if (is_there(dir, names[i]))
            return 0;
    return error_set(error, ERR_NOT_FOUND, "%s holds nothing of a cluster: the replica can start as it is",
                     dir);
}

/* ---- setting aside ---- */

static int move_files(const char *dir, const char *aside, struct error *error)
{
    char from[PATH_BYTES + NAME_BYTES], to[PATH_BYTES + NAME_BYTES];

    if (mkdir(aside, 0750) < 0 && errno != EEXIST)
        return error_set(error, ERR_IO, "%s cannot be created: %s", aside, strerror(errno));
    for (size_t i = 0; i < NAME_COUNT; i++) {
        snprintf(from, sizeof(from), "%s/%s", dir, names[i]);
        snprintf(to, sizeof(to), "%s/%s", aside, names[i]);
        if (rename(from, to) < 0 && errno != ENOENT)
            return error_set(error, ERR_IO, "%s cannot be moved: %s", from, strerror(errno));
    }
    return 0;
}

static void say(const char *dir, const char *aside, const struct mark *mark, bool done)
{
    verb_print(stdout, "%s into %s:\n", done ? "moved" : "would move", aside);
    for (size_t i = 0; i < NAME_COUNT; i++)
        if (is_there(done ? aside : dir, names[i]))
            verb_print(stdout, "  %s\n", names[i]);
    if (mark->index)
        printf("the replica forgets that it has seen batch %llu\n", (unsigned long long)mark->index);
    if (mark->cluster[0])
        printf("it may join cluster %s again, and copies the state and what there is of history from it\n",
               mark->cluster);
    else
        printf("its cluster is not known: it will wait for 'cronsched cluster join'\n");
    if (!done)
        printf("Nothing was changed; with --yes it is done.\n");
}

static int rejoin(const char *dir, bool yes, struct error *error)
{
    char aside[PATH_BYTES], now[TEXT_NUMBER_BUFFER];
    struct mark mark = {.index = 0}, fresh = {.index = 0};
    struct error damaged;
    int rc = check_folder(dir, error);

    if (rc < 0)
        return rc;
    if (mark_file_read(dir, &mark, &damaged) < 0)
        printf("%s\n", damaged.text);
    snprintf(aside, sizeof(aside), "%s/discarded-%s", dir,
             instant_format(clock_wall_ms(), INSTANT_S, now, sizeof(now)));
    rc = yes ? move_files(dir, aside, error) : 0;
    memcpy(fresh.cluster, mark.cluster, sizeof(fresh.cluster));
    if (rc == 0 && yes && mark.cluster[0])
        rc = mark_file_write(dir, &fresh, error);
    if (rc == 0)
        say(dir, aside, &mark, yes);
    return rc;
}

static int run_rejoin(const struct verb_call *call)
{
    const char *option = verb_option(call, "data-dir");
    char *dir = option ? strdup(option) : config_default_data_dir(config_getenv, NULL, geteuid() == 0);
    struct error error = {0};
    int rc = dir ? rejoin(dir, verb_flag(call, "yes"), &error)
                 : error_set(&error, ERR_INVALID, "there is no default folder without HOME; pass --data-dir");

    free(dir);
    return rc < 0 ? verb_fail(&error) : EXIT_FINE;
}

const struct verb verb_cluster_rejoin = {
    .name = "cluster rejoin",
    .help = "make a stopped replica forget what it has and copy all from the others",
    .text = "For a replica whose history differs from the others', or whose mark is damaged. Works on the "
            "data folder of "
            "a replica that is stopped, on its own machine. Logs of runs stay; history, mark and the note of "
            "the cluster "
            "are moved into a folder discarded-TIME beside them.",
    .group = VERB_GROUP_SERVER,
    .options = options,
    .run = run_rejoin,
};
