/* No stepping: a search in the segment at hand nearly always answers. When the next matching wall time is
 * beyond the segment, the search continues in the segment that can hold it, however many changes are between;
 * only a segment that begins with an overlap, right behind the one at hand, shows wall times again and has to
 * be looked at itself. */
#include "jobs/time/walltime.h"

#include <assert.h>

struct walltime_policy walltime_policy(const struct cron *cron, enum schedule_dst dst)
{
    bool hybrid_fixed = dst == SCHEDULE_HYBRID && cron_fixed(cron);

    return (struct walltime_policy){.first_pass = hybrid_fixed || dst == SCHEDULE_SKIP,
                                    .gap_edge = hybrid_fixed};
}

/* What the last search showed: nothing matches between `from` and `hit`. */
struct known {
    int64_t from, hit;
};

static int64_t look_up(const struct cron *cron, int64_t local_s, struct known *known)
{
    if (local_s < known->from || local_s > known->hit)
        *known = (struct known){local_s, cron_next(cron, local_s)};
    return known->hit;
}

static int64_t look_down(const struct cron *cron, int64_t local_s, struct known *known)
{
    if (local_s > known->from || local_s < known->hit)
        *known = (struct known){local_s, cron_prev(cron, local_s)};
    return known->hit;
}

/* The length of the gap that begins segment i; 0 when it begins with an overlap or is the first. */
static int32_t gap_before(const struct zone *zone, uint32_t i)
{
    int32_t gap = i > 0 ? zone->offset_s[i] - zone->offset_s[i - 1] : 0;

    return gap > 0 ? gap : 0;
}

/* The first wall time of segment i that is not a repetition. */
static int64_t first_new_local(const struct zone *zone, uint32_t i)
{
    return i > 0 ? zone->start_s[i] + zone->offset_s[i - 1] : INT64_MIN;
}

int64_t walltime_next(const struct cron *cron, const struct zone *zone, enum schedule_dst dst,
                      int64_t after_s)
{
    struct walltime_policy policy = walltime_policy(cron, dst);
    struct known known = {1, 0};
    int64_t at_s;
    uint32_t i;

    if (after_s >= WALLTIME_LAST_S)
        return SCHEDULE_NEVER;
    at_s = after_s < WALLTIME_FIRST_S ? WALLTIME_FIRST_S : after_s + 1;
    i = zone_segment(zone, at_s);
    for (;;) {
        int32_t offset = zone->offset_s[i];
        int64_t local_s = at_s + offset, hit;
        uint32_t landing;

        if (policy.gap_edge && at_s == zone->start_s[i]) {
            int32_t gap = gap_before(zone, i);

            if (gap > 0 && gap <= WALLTIME_GAP_MAX_S && look_up(cron, local_s - gap, &known) < local_s)
                return at_s;
        }
        if (policy.first_pass && local_s < first_new_local(zone, i))
            local_s = first_new_local(zone, i);
        hit = look_up(cron, local_s, &known);
        if (hit != CRON_NEVER && hit - offset < zone->start_s[i + 1]) {
            assert(hit - offset > after_s);
            return hit - offset;
        }
        if (++i == zone->count)
            return SCHEDULE_NEVER;
        if (zone->offset_s[i] > offset) { /* not an overlap: nothing before `hit` comes again */
            if (hit == CRON_NEVER)
                return SCHEDULE_NEVER;
            landing = zone_segment(zone, hit - zone->offset_max_s);
            if (landing > i)
                i = landing;
        }
        at_s = zone->start_s[i];
    }
}

int64_t walltime_prev(const struct cron *cron, const struct zone *zone, enum schedule_dst dst,
                      int64_t before_s)
{
    struct walltime_policy policy = walltime_policy(cron, dst);
    struct known known = {-1, 0};
    int64_t at_s;
    uint32_t i;

    if (before_s <= WALLTIME_FIRST_S)
        return INT64_MIN;
    at_s = before_s > WALLTIME_LAST_S ? WALLTIME_LAST_S : before_s - 1;
    i = zone_segment(zone, at_s);
    for (;;) {
        int32_t offset = zone->offset_s[i], gap = gap_before(zone, i);
        int64_t first_s = i > 0 ? zone->start_s[i] + offset : INT64_MIN, hit;
        uint32_t landing;

        if (policy.first_pass && first_s < first_new_local(zone, i))
            first_s = first_new_local(zone, i);
        hit = look_down(cron, at_s + offset, &known);
        if (hit != CRON_NEVER_BEFORE && hit >= first_s) {
            assert(hit - offset < before_s);
            return hit - offset;
        }
        if (policy.gap_edge && gap > 0 && gap <= WALLTIME_GAP_MAX_S && hit != CRON_NEVER_BEFORE &&
            look_down(cron, first_s - 1, &known) >= first_s - gap)
            return zone->start_s[i];
        if (i == 0)
            return INT64_MIN;
        i--;
        if (zone->offset_s[i] < offset) { /* before a gap, nothing behind `hit` comes again */
            if (hit == CRON_NEVER_BEFORE)
                return INT64_MIN;
            landing = zone_segment(zone, hit - zone->offset_min_s);
            if (landing < i)
                i = landing;
        }
        at_s = zone->start_s[i + 1] - 1;
    }
}

bool walltime_moved(const struct cron *cron, const struct zone *zone, enum schedule_dst dst, int64_t at_s)
{
    uint32_t i = zone_segment(zone, at_s);
    int64_t local_s = at_s + zone->offset_s[i];
    int32_t gap = gap_before(zone, i);

    return walltime_policy(cron, dst).gap_edge && gap > 0 && gap <= WALLTIME_GAP_MAX_S &&
           at_s == zone->start_s[i] && !cron_match(cron, local_s) && cron_next(cron, local_s - gap) < local_s;
}
