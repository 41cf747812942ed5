/* Why a time is not a fire time: the definition is changed in one respect after the other, until one of the
 * changed ones would fire then.
 */
#include "jobs/audit/explain_priv.h"
#include "jobs/base/alloc.h"
#include "jobs/base/duration.h"
#include "jobs/base/text.h"

#include <stdio.h>

/* Whether a changed definition would fire at the time; takes def. *ret_mark: what DST did to it. */
static bool would_fire(const struct explain *e, json_t *def, enum schedule_mark *ret_mark)
{
    struct schedule *schedule = NULL;
    struct job *job = NULL;
    bool fires = false;

    if (job_from_json(&job, e->request->job, def, e->zones, NULL) == 0 &&
        job_compile(job, (uint64_t)e->version->seed, e->version->anchor_ms / 1000, e->zones, &schedule,
                    NULL) == 0 &&
        schedule)
        fires = schedule_match(schedule, e->at_s);
    if (fires && ret_mark)
        *ret_mark = schedule_mark(schedule, e->at_s);
    schedule_free(schedule);
    job_unref(job);
    json_decref(def);
    return fires;
}

/* The definition without its window and exclusions, but for what is named. */
static json_t *bare(const struct explain *e, const char *keep)
{
    static const char *const keys[] = {"except", "start", "end"};
    json_t *def = json_deep_copy(e->version->def);

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (!keep || strcmp(keep, keys[i]) != 0)
            json_object_del(def, keys[i]);
    return def;
}

static bool say_window(struct explain *e)
{
    const char *start = json_string_value(json_object_get(e->version->def, "start"));
    const char *end = json_string_value(json_object_get(e->version->def, "end"));
    bool early = start && !would_fire(e, bare(e, "start"), NULL),
         late = end && !would_fire(e, bare(e, "end"), NULL);

    if (early)
        explain_line(e, 0, "window", "it is before the job's start, %s", start);
    if (late)
        explain_line(e, 0, "window", "it is after the job's end, %s", end);
    return early || late;
}

static bool say_except(struct explain *e)
{
    json_t *each;
    bool said = false;
    size_t i;

    json_array_foreach(json_object_get(e->version->def, "except"), i, each)
    {
        json_t *def = bare(e, NULL);

        json_object_set_new(def, "except", json_pack("[O]", each));
        if (would_fire(e, def, NULL))
            continue;
        explain_line(e, 0, "excluded", "the day is excluded: except \"%s\"", json_string_value(each));
        said = true;
    }
    return said;
}

static const char *dst_of(const struct explain *e)
{
    const char *dst = json_string_value(json_object_get(e->version->def, "dst"));

    return dst ? dst : "hybrid";
}

/* Would another dst policy fire then? */
static bool say_dst(struct explain *e)
{
    static const char *const policies[] = {"both", "hybrid", "utc"};

    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        enum schedule_mark mark = SCHEDULE_PLAIN;
        json_t *def = bare(e, NULL);

        json_object_set_new(def, "dst", json_string(policies[i]));
        if (!would_fire(e, def, &mark))
            continue;
        if (mark == SCHEDULE_SECOND)
            explain_line(
                e, 0, "dst",
                "it is the second pass of a time that the zone's clocks repeat; dst: %s runs the first only",
                dst_of(e));
        else if (mark == SCHEDULE_MOVED)
            explain_line(e, 0, "dst",
                         "the wall time falls into a gap of the zone's clocks; dst: %s leaves it out",
                         dst_of(e));
        else
            explain_line(e, 0, "dst", "dst: %s does not run it; dst: %s would", dst_of(e), policies[i]);
        return true;
    }
    return false;
}

/* The time is when a fire time's jitter ended. */
static bool say_jitter(struct explain *e)
{
    int64_t fire_s = schedule_prev(e->schedule, e->at_s + 1), jitter_ms;
    char fire[TEXT_NUMBER_BUFFER], duration[TEXT_NUMBER_BUFFER];

    if (fire_s == INT64_MIN)
        return false;
    jitter_ms = schedule_jitter_ms(e->schedule, fire_s);
    if (jitter_ms == 0 || (fire_s * 1000 + jitter_ms) / 1000 != e->at_s)
        return false;
    explain_line(e, 0, "jitter", "the fire time %s is released then, %s later: its jitter",
                 explain_time(fire_s * 1000, fire, sizeof(fire)),
                 duration_format(jitter_ms, duration, sizeof(duration)));
    return true;
}

static void say_no_schedule(struct explain *e)
{
    struct text parents;
    json_t *parent;
    size_t i;

    text_init(&parents, 4096);
    json_array_foreach(json_object_get(e->version->def, "after"), i, parent)
        text_addf(&parents, "%s%s", i ? ", " : "", json_string_value(parent));
    if (parents.len)
        explain_line(e, 0, "schedule", "it has no schedule: it runs after %s", text_str(&parents));
    else
        explain_line(e, 0, "schedule", "it has no schedule: it runs when it is triggered");
    text_release(&parents);
}

void explain_why_not(struct explain *e)
{
    bool said;

    if (e->version->broken.code) {
        explain_line(e, 0, "schedule", "the definition cannot be read any more: %s", e->version->broken.text);
        return;
    }
    if (!e->schedule) {
        say_no_schedule(e);
        return;
    }
    if (e->request->at_ms % 1000 != 0)
        explain_line(e, 0, "schedule", "fire times are whole seconds");
    said = say_jitter(e);
    if (would_fire(e, bare(e, NULL), NULL)) {
        bool window = say_window(e), except = say_except(e);

        said = said || window || except;
    } else {
        said = said || say_dst(e);
    }
    if (!said)
        explain_line(e, 0, "schedule", "the expression does not name this time");
}
