/* Job files from disk into one set: what `validate`, `plan` and `apply` begin with.
 *
 * Nothing is printed and nothing fails half-way: a file that cannot be read is an error in the set's list
 * like any other. Main thread; it blocks for the time of reading.
 */
#pragma once

#include "jobs/definition/jobfile.h"

/* Of each verb that reads job files. */
#define JOBFILES_OPTION                                                                                      \
    {                                                                                                        \
        "follow-links", 0, NULL, "follow links that lead out of the folder that is read"                     \
    }

#define JOBFILES_MAX       10000 /* files of one set */
#define JOBFILES_DEPTH_MAX 32    /* folders within folders */

/* Reads every path into the set, in the order given: a file whatever its name; "-", the standard input; of a
 * folder all *.yaml and *.yml below it, sorted by name. Names that begin with a dot are passed over. No file and no folder
 * is read twice. Calendars and files of variables that jobs name are read from beside their job file.
 *
 * A path that is given is followed wherever it leads. Nothing below a folder leads out of it, nor does what a job file
 * names lead out of the folder that was given (or that of the file that was): such links are errors, unless
 * follow_links.
 *
 * `set` has been initialized by the caller, who calls jobfile_finish next. ret_files (may be NULL): how many
 * files were read. 0, ERR_INVALID when anything was wrong (it is in the list), ERR_NOMEM. */
int jobfiles_load(struct jobfile_set *set, const char *const *paths, size_t count, bool follow_links,
                  struct zone_source *zones, size_t *ret_files);
