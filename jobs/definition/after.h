/* The keys `after` of many jobs together: parents that are not there, and circles. Job files and the server are checked
 * by this one walk. It goes depth first without recursion and looks at each job and at each of its parents once, so it
 * takes time in proportion to them, however many ways there are from one job to another.
 *
 * Pure; any thread.
 */
#pragma once

#include "jobs/base/text.h"
#include "jobs/definition/job.h"

#define AFTER_CIRCLE_TEXT_MAX 960 /* a circle in words; a longer one is cut */

struct after_check {
    /* False: there is no job of that name. *ret: its definition; NULL: nothing is known of what it comes after.
     * It is asked once for each name that is not among the jobs that are checked. */
    bool (*find)(void *arg, const char *name, const struct job **ret);
    /* Told what is wrong. Negative ends the walk, and is what after_check returns.
     * missing: job->after.items[parent] is not there. circle: each job of the path comes after the next one, the last one,
     * by after.items[parent], after the first. A job that comes after itself is not told: job_check reports it. */
    int (*missing)(void *arg, const struct job *job, size_t parent);
    int (*circle)(void *arg, const struct job *const *path, size_t count, size_t parent);
    void *arg;
};

/* First the missing parents of `jobs`, in their order; then circles through them or above them. The jobs have different
 * names; all jobs are borrowed. 0, what a callback returned, ERR_NOMEM. */
int after_check(const struct after_check *check, const struct job *const *jobs, size_t count);

/* "a cycle: a after b after a". ERR_NOMEM, else 0: what does not fit is cut. `text` is one of AFTER_CIRCLE_TEXT_MAX. */
int after_circle_text(const struct job *const *path, size_t count, struct text *text);
