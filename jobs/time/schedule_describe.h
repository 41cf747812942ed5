/* Plain English for schedules: "at 02:30 on weekdays", "every 15 minutes from 09:00 to 17:45". What is too
 * irregular for a short sentence is listed; nothing is left out. Pure; any thread.
 */
#pragma once

#include "jobs/base/line.h"
#include "jobs/time/cron.h"
#include "jobs/time/interval.h"

void schedule_describe_cron(struct line *line, const struct cron *cron);
void schedule_describe_interval(struct line *line, const struct interval *interval);
