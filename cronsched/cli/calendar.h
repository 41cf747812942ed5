/* Calendar files of days off, as `except` names them: from disk to stretches of days. Main thread. */
#pragma once

#include "jobs/base/error.h"
#include "jobs/time/civil.h"

#define CALENDAR_YEARS 20 /* how far events that recur are followed, from this year on */

/* The whole days of an iCalendar file, sorted, for free(). A relative path is meant from the folder of
 * `file`; NULL or
 * "-": from the working directory. The form is that of jobfile_set.calendar; arg: const struct beside *, may be NULL. The text of
 * an error begins with the path and, where one is known, the line. */
int calendar_read(void *arg, const char *file, const char *path, struct civil_range **ret, size_t *ret_count,
                  struct error *error);
