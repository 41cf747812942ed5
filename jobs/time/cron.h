/* One cron expression: text to bit sets, and the next or previous wall time that matches.
 *
 * The grammar is the Open Cron Pattern Specification 1.4, strict, with `H` and `~`; or Quartz's, made sane.
 * The result is plain data without pointers or padding: it can be copied, compared with memcmp and journaled.
 * Here all time is local seconds (jobs/time/civil.h): zones and DST come on top, in jobs/time/walltime.h.
 *
 * Pure functions without allocation or recursion; any thread. Matching times are in the years 1970 to 2199,
 * which also bounds every search.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/time/schedule.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRON_TEXT_MAX       2048 /* holds any canonical text; what users write ends at SCHEDULE_TEXT_MAX */
#define CRON_ITEMS_MAX      64   /* items of one field's list */
#define CRON_ITEMS_LONG_MAX 128  /* of days of the month and years, whose canonical lists can be longer */

#define CRON_NEVER        INT64_MAX
#define CRON_NEVER_BEFORE INT64_MIN

enum cron_field {
    CRON_SECOND,
    CRON_MINUTE,
    CRON_HOUR,
    CRON_DOM,
    CRON_MONTH,
    CRON_DOW,
    CRON_YEAR,
    CRON_FIELDS
};

/* flags: how a field was written, as far as it matters */
#define CRON_STAR(field)                                                                                     \
    (1u << (field)) /* second, minute, hour: a wildcard for DST, text begins with a star */
#define CRON_SPREAD(field) (1u << (8 + (field))) /* likewise, text begins with H/ or ~/ */
#define CRON_DOM_ANY       (1u << 16)            /* day of month not restricted */
#define CRON_DOW_ANY       (1u << 17)
#define CRON_DAYS_AND      (1u << 18) /* both day fields must match; without it, either */
#define CRON_YEAR_ANY      (1u << 19)
#define CRON_DOM_SPECIAL   (1u << 20) /* L or W is used */
#define CRON_DOW_SPECIAL   (1u << 21) /* # or nL is used */
#define CRON_ANY_WILDCARD                                                                                    \
    (CRON_STAR(CRON_SECOND) | CRON_STAR(CRON_MINUTE) | CRON_STAR(CRON_HOUR) | CRON_SPREAD(CRON_SECOND) |     \
     CRON_SPREAD(CRON_MINUTE) | CRON_SPREAD(CRON_HOUR))

struct cron {
    uint64_t second, minute;   /* bits 0-59 */
    uint64_t year[4];          /* bit y - 1970; all clear with CRON_YEAR_ANY */
    uint32_t hour;             /* bits 0-23 */
    uint32_t dom;              /* bits 1-31 */
    uint32_t dom_weekday;      /* bits 1-31: nW */
    uint32_t dom_last;         /* bit n: L-n, bit 0: L */
    uint32_t dom_last_weekday; /* bit n: L-nW, bit 0: LW */
    uint32_t flags;
    int32_t first_s, last_s; /* of a matching day, seconds since midnight */
    uint16_t month;          /* bits 1-12 */
    uint8_t dow;             /* bits 0-6, 0 is Sunday */
    uint8_t nth[7];          /* per weekday: bits 1-5, bit 6 the last one */
    uint8_t spread_step[3];  /* second, minute, hour: of a leading H/ or ~/ */
    uint8_t spread_first[3]; /* where it begins */
    uint8_t spread_random;   /* bit per field: it was ~/ */
    uint8_t reserved[7];     /* 0 */
};

_Static_assert(sizeof(struct cron) == 104, "no padding: it is compared with memcmp");

/* What decides H and ~. */
struct cron_context {
    enum schedule_dialect dialect;
    const char *job; /* NULL: "" */
    uint64_t seed;
};

/* Any bytes are safe. Five to seven fields or a nickname (@daily, @daily/H ...). ERR_INVALID with the reason
 * and *ret_column (may be NULL), the byte offset of the fault; *ret is untouched then. */
int cron_parse(const char *text, size_t length, const struct cron_context *context, struct cron *ret,
               size_t *ret_column, struct error *error);

/* The least matching time >= local_s, or CRON_NEVER; the greatest <= local_s, or CRON_NEVER_BEFORE. */
int64_t cron_next(const struct cron *cron, int64_t local_s);
int64_t cron_prev(const struct cron *cron, int64_t local_s);

bool cron_match(const struct cron *cron, int64_t local_s);

/* The days of a month that match, bits 1-31. first_weekday: of its first day, 0 is Sunday. */
uint32_t cron_month_days(const struct cron *cron, int first_weekday, int length);
bool cron_year_match(const struct cron *cron, int year);

/* True when the time of day is written without wildcards: the DST class (architecture.md, "Time"). */
static inline bool cron_fixed(const struct cron *cron)
{
    return (cron->flags & CRON_ANY_WILDCARD) == 0;
}

/* Canonical text in the cron dialect: sorted numbers, no names, as few fields as possible. With the same
 * context it parses to the same struct cron. Returns buffer; size at least CRON_TEXT_MAX. */
const char *cron_print(const struct cron *cron, char *buffer, size_t size);
