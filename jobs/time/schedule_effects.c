/* What changes of a zone's offset do to a schedule: to one fire time, and over a span of time. */
#include "jobs/time/schedule_priv.h"

#include "jobs/time/schedule_count.h"
#include "jobs/time/walltime.h"

/* ---- DST marks ---- */

static bool moved(const struct schedule *s, int64_t at_s)
{
    bool any = false;

    for (size_t i = 0; i < s->count; i++) {
        const struct schedule_entry *e = &s->entries[i];

        if (schedule_entry_next(s, e, at_s - 1) != at_s)
            continue;
        if (e->kind == ENTRY_CRON ? !walltime_moved(&e->cron, s->clock, s->dst, at_s)
                                  : !interval_moved(&e->interval, s->clock, at_s))
            return false; /* it would fire then without the gap as well */
        any = true;
    }
    return any;
}

enum schedule_mark schedule_mark(const struct schedule *s, int64_t at_s)
{
    const struct zone *zone = s->clock;
    uint32_t i = zone_segment(zone, at_s);
    int64_t local_s = at_s + zone->offset_s[i];

    if (i > 0 && at_s == zone->start_s[i] && moved(s, at_s))
        return SCHEDULE_MOVED;
    if (i > 0 && local_s < zone->start_s[i] + zone->offset_s[i - 1])
        return SCHEDULE_SECOND;
    if (i + 1 < zone->count && local_s >= zone->start_s[i + 1] + zone->offset_s[i + 1])
        return SCHEDULE_FIRST;
    return SCHEDULE_PLAIN;
}

/* ---- over a span ---- */

/* A change of offset, and the wall times that it leaves out or shows again: [from, to). */
struct change {
    int64_t at_s, from, to;
    int32_t before_s, after_s;
};

static struct change change_at(const struct zone *zone, uint32_t i)
{
    struct change c = {
        .at_s = zone->start_s[i], .before_s = zone->offset_s[i - 1], .after_s = zone->offset_s[i]};

    c.from = c.at_s + (c.after_s > c.before_s ? c.before_s : c.after_s);
    c.to = c.at_s + (c.after_s > c.before_s ? c.after_s : c.before_s);
    return c;
}

static bool cron_effect(const struct schedule *s, const struct cron *cron, const struct change *c,
                        struct schedule_effect *ret)
{
    /* wall time is counted as if it were UTC: what matters here is what the clock would have shown */
    struct schedule_counted counted = {.zone = zone_utc(), .crons = 1, .cron = {cron}};
    struct walltime_policy policy = walltime_policy(cron, s->dst);
    bool gap = c->after_s > c->before_s;

    ret->count = schedule_count_fires(&counted, c->from - 1, c->to - 1, INT64_MAX);
    if (ret->count == 0)
        return false;
    ret->local_s = cron_next(cron, c->from);
    if (gap)
        ret->what = policy.gap_edge && c->to - c->from <= WALLTIME_GAP_MAX_S ? SCHEDULE_EFFECT_MOVED
                                                                             : SCHEDULE_EFFECT_LOST;
    else
        ret->what = policy.first_pass ? SCHEDULE_EFFECT_ONCE : SCHEDULE_EFFECT_TWICE;
    return true;
}

/* Only what is written as a wall time is touched. */
static bool interval_effect(const struct schedule *s, const struct interval *v, const struct change *c,
                            struct schedule_effect *ret)
{
    bool gap = c->after_s > c->before_s;
    int64_t at_s = c->at_s;

    if (v->kind == INTERVAL_EVERY || v->has_offset || v->seconds != 0)
        return false;
    if (!gap) /* the first pass is before the change */
        at_s = interval_next(v, s->clock, c->at_s - (c->to - c->from) - 1);
    if (gap ? !interval_moved(v, s->clock, at_s) : at_s >= c->at_s)
        return false;
    ret->count = 1;
    ret->local_s = gap ? interval_local(v, s->clock, at_s) : at_s + c->before_s;
    ret->what = gap ? SCHEDULE_EFFECT_MOVED : SCHEDULE_EFFECT_ONCE;
    return true;
}

static bool in_window(const struct schedule *s, int64_t at_s)
{
    return at_s >= s->start_s && at_s < s->end_s && !schedule_excluded(s, at_s);
}

size_t schedule_effects(const struct schedule *s, int64_t after_s, int64_t until_s,
                        struct schedule_effect *ret, size_t max)
{
    const struct zone *zone = s->clock;
    size_t count = 0;

    for (uint32_t i = zone_segment(zone, after_s) + 1; i < zone->count && zone->start_s[i] <= until_s; i++) {
        struct change change = change_at(zone, i);

        if (!in_window(s, change.at_s))
            continue;
        for (size_t k = 0; k < s->count && count < max; k++) {
            const struct schedule_entry *e = &s->entries[k];
            struct schedule_effect effect = {
                .at_s = change.at_s, .before_s = change.before_s, .after_s = change.after_s, .index = k};

            if (e->kind == ENTRY_CRON
                    ? cron_effect(s, &e->cron, &change, &effect)
                    : e->kind == ENTRY_INTERVAL && interval_effect(s, &e->interval, &change, &effect))
                ret[count++] = effect;
        }
    }
    return count;
}
