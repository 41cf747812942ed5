/* Job files from disk into one set: what `validate`, `plan` and `apply` begin with.
 *
 * Nothing is printed and nothing fails half-way: a file that cannot be read is an error in the set's list
 * like any other. Main thread; it blocks for the time of reading.
 */
#pragma once

#include "jobs/definition/jobfile.h"

#include "jobs/time/zone.h"

/* Of each verb that reads job files. */
#define JOBFILES_OPTION                                                                                      \
    {                                                                                                        \
        "follow-links", 0, NULL, "follow links that lead out of the folder that is read"                     \
    }

#define JOBFILES_MAX       10000 /* files of one set */
#define JOBFILES_DEPTH_MAX 32    /* folders within folders */

struct jobfiles_options {
    bool follow_links;
    bool allow_empty; /* a folder that is given and holds no job file is no error */
    struct zone_source *zones;
};

struct jobfiles_found {
    size_t files;
    const char *empty; /* the first path given in which there is no job, borrowed; NULL: there is none */
};

/* Reads every path into the set, in the order given: a file whatever its name; "-", the standard input; of a folder all
 * job files below it, sorted by name. No file and no folder is read twice.
 *
 * Job files of a folder are *.yaml and *.yml, in capitals or not; links to such files and folders are followed. *.json is an
 * error there: JSON is read only where the file itself is given. So is a link that leads nowhere. Names that begin with
 * a dot are passed over, with a warning where they end like a job file's, as are names like a.yaml.bak. Anything else
 * (calendars, files of variables, notes) is left alone.
 *
 * A path that is given is followed wherever it leads. Nothing below a folder leads out of it, nor does what a job file
 * names lead out of the folder that was given (or that of the file that was): such links are errors, unless
 * follow_links.
 *
 * `set` has been initialized by the caller, who calls jobfile_finish next. `ret` may be NULL. 0, ERR_INVALID when
 * anything was wrong (it is in the list), ERR_NOMEM. */
int jobfiles_load(struct jobfile_set *set, const char *const *paths, size_t count,
                  const struct jobfiles_options *options, struct jobfiles_found *ret);
