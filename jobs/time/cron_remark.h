/* What is right in a cron expression and yet hardly meant: a remark for the author of a job. Pure; any thread. */
#pragma once

#include "jobs/time/cron.h"

#define CRON_REMARK_MAX 512

/* A step beyond its field, which leaves one value. `text`: a right one in the cron dialect, without prefixes. False: there
 * is nothing to say. */
bool cron_remark(const char *text, char ret[CRON_REMARK_MAX]);
