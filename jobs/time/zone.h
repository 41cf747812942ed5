/* Time zones: the offset from UTC at every instant, read from TZif bytes (RFC 9636, versions 1 to 4).
 *
 * A zone is one sorted table of segments of constant offset. The rule at the end of the file (its footer) is
 * expanded to 2200, so that fat and slim files give the same table and one binary search serves all. What
 * counts is the offset: changes of name or of the DST flag alone are not changes here.
 *
 * A zone is immutable once made and may be read from any thread; its maker owns it. Files of others are not
 * trusted: everything is bounds-checked and the table's invariants hold for whatever bytes were given.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ZONE_NAME_MAX    64
#define ZONE_FILE_MAX    (64 * 1024) /* bytes of a TZif file */
#define ZONE_CHANGES_MAX 2000        /* transitions in a file (tzcode's own limit) */
#define ZONE_OFFSET_MAX  (26 * 3600) /* exclusive, either way */

struct zone {
    char name[ZONE_NAME_MAX + 1]; /* as asked for; links keep their name */
    uint32_t count;               /* segments, at least 1 */
    int32_t offset_min_s, offset_max_s, gap_max_s;
    /* Segment i is [start_s[i], start_s[i + 1]), with offset_s[i] seconds east. start_s[0] is INT64_MIN,
     * start_s[count] is INT64_MAX, both ascend strictly; neighbours differ in their offset. */
    const int64_t *start_s;
    const int32_t *offset_s;
};

/* ERR_CORRUPT with a reason, ERR_UNSUPPORTED (leap seconds), ERR_NOMEM. `name` is copied, cut if too long. */
int zone_parse(const void *bytes, size_t size, const char *name, struct zone **ret, struct error *error);
void zone_free(struct zone *zone); /* NULL is fine; not for zone_utc */

const struct zone *zone_utc(void); /* built in, never freed; "UTC" */

/* A name that may be looked for in a zoneinfo folder: no way out of it, no private corners (posix/, right/).
 */
bool zone_name_valid(const char *name, size_t length);

/* ERR_INVALID for a name that is none. It may be anything, so that it is only repeated if it can be printed.
 */
int zone_name_fail(const char *name, struct error *error);

bool zone_equal(const struct zone *a, const struct zone *b); /* same table; names do not count */

/* The segment that holds an instant. */
static inline uint32_t zone_segment(const struct zone *zone, int64_t at_s)
{
    const int64_t *start = zone->start_s;
    uint32_t base = 0, n = zone->count;

    while (n > 1) { /* invariant: start[base] <= at_s, and the answer is in [base, base + n) */
        uint32_t half = n / 2;

        base = start[base + half] <= at_s ? base + half : base;
        n -= half;
    }
    return base;
}

static inline int32_t zone_offset(const struct zone *zone, int64_t at_s)
{
    return zone->offset_s[zone_segment(zone, at_s)];
}

/* How a wall time relates to UTC. */
enum zone_fit {
    ZONE_ONCE,
    ZONE_NONE, /* in a gap: the answer is the instant of the change */
    ZONE_TWICE /* in an overlap: the answer is the first pass */
};

int64_t zone_instant(const struct zone *zone, int64_t local_s, enum zone_fit *ret_fit /* may be NULL */);
