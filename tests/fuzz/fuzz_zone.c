/* Any bytes as a zone file. What is accepted must be a sound table: ascending, without gaps in itself, every
 * question answered; and an expression's fire times in it must ascend. */
#include "jobs/time/walltime.h"
#include "jobs/time/zone.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_table(const struct zone *zone)
{
    require(zone->count >= 1);
    require(zone->start_s[0] == INT64_MIN && zone->start_s[zone->count] == INT64_MAX);
    for (uint32_t i = 0; i < zone->count; i++) {
        require(zone->start_s[i] < zone->start_s[i + 1]);
        require(i == 0 || zone->offset_s[i] != zone->offset_s[i - 1]);
        require(zone->offset_s[i] > -ZONE_OFFSET_MAX && zone->offset_s[i] < ZONE_OFFSET_MAX);
        require(zone_segment(zone, zone->start_s[i]) == i);
        require(i == 0 || zone_segment(zone, zone->start_s[i] - 1) == i - 1);
    }
}

static void check_wall_times(const struct zone *zone)
{
    for (uint32_t i = 1; i < zone->count; i++) {
        int64_t at_s = zone->start_s[i];

        if (at_s < WALLTIME_FIRST_S || at_s > WALLTIME_LAST_S)
            continue;
        for (int64_t local_s = at_s - 7200; local_s <= at_s + 7200; local_s += 900) {
            enum zone_fit fit;
            int64_t instant_s = zone_instant(zone, local_s, &fit);

            require(fit == ZONE_NONE || instant_s + zone_offset(zone, instant_s) == local_s);
        }
    }
}

static void check_fires(const struct zone *zone, const char *text)
{
    struct cron_context context = {.dialect = SCHEDULE_CRON};
    struct cron cron;

    require(cron_parse(text, strlen(text), &context, &cron, NULL, NULL) == 0);
    for (int dst = SCHEDULE_HYBRID; dst <= SCHEDULE_BOTH; dst++) {
        int64_t at_s = INT64_MIN;

        for (int i = 0; i < 200; i++) {
            int64_t next_s = walltime_next(&cron, zone, (enum schedule_dst)dst, at_s);

            require(next_s > at_s);
            if (next_s == SCHEDULE_NEVER)
                break;
            require(walltime_next(&cron, zone, (enum schedule_dst)dst, next_s - 1) == next_s);
            at_s = next_s;
        }
        require(walltime_prev(&cron, zone, (enum schedule_dst)dst, INT64_MIN) == INT64_MIN);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zone *zone;
    struct error error;

    if (zone_parse(data, size, "Fuzz", &zone, &error) < 0) {
        require(error.text[0] != '\0');
        return 0;
    }
    check_table(zone);
    check_wall_times(zone);
    check_fires(zone, "30 2 * * *");
    check_fires(zone, "*/20 1 * * SUN");
    check_fires(zone, "0 0 29 2 *");
    zone_free(zone);
    return 0;
}
