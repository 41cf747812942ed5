/* The inside of a compiled schedule, for jobs/time/schedule.c and jobs/time/schedule_effects.c alone. */
#pragma once

#include "jobs/time/civil.h"
#include "jobs/time/cron.h"
#include "jobs/time/interval.h"
#include "jobs/time/schedule.h"
#include "jobs/time/zone.h"

struct schedule_entry {
    enum { ENTRY_CRON, ENTRY_INTERVAL, ENTRY_NEVER } kind;
    union {
        struct cron cron;
        struct interval interval;
    };
    char *text; /* as written, without zone and dialect; owned */
    enum schedule_dialect dialect;
};

struct schedule {
    struct zone_source *source;
    const struct zone *zone;  /* of the name */
    const struct zone *clock; /* in which wall times are meant: zone, or UTC under the policy utc */
    enum schedule_dst dst;
    int64_t start_s, end_s; /* [start, end) */
    int64_t jitter_ms;
    char *zone_name, *job;
    struct civil_range *except; /* sorted, apart */
    size_t except_count;
    size_t count;
    struct schedule_entry entries[];
};

int64_t schedule_entry_next(const struct schedule *schedule, const struct schedule_entry *entry,
                            int64_t after_s);

/* The excluded stretch of days that holds an instant, or NULL. */
const struct civil_range *schedule_excluded(const struct schedule *schedule, int64_t at_s);
