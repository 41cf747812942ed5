#include "cronsched/cli/dst_effects.h"

#include "jobs/base/text.h"
#include "jobs/time/civil.h"
#include "jobs/time/instant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *words;
} kinds[] = {
    [SCHEDULE_EFFECT_MOVED] = {"moved", "skipped by the clock: runs at the change"},
    [SCHEDULE_EFFECT_LOST] = {"lost", "skipped by the clock: does not run"},
    [SCHEDULE_EFFECT_ONCE] = {"once", "shown twice: runs the first time"},
    [SCHEDULE_EFFECT_TWICE] = {"twice", "shown twice: runs both times"},
};

/* "+02:00" */
static const char *offset_text(int32_t offset_s, char buffer[CIVIL_TEXT_MAX])
{
    civil_format(0, offset_s, false, buffer, CIVIL_TEXT_MAX);
    return buffer + strlen("1970-01-01T00:00:00");
}

static json_t *effect_json(const struct schedule *s, const struct schedule_effect *e)
{
    char text[SCHEDULE_TEXT_MAX + 16], wall[CIVIL_TEXT_MAX], at[TEXT_NUMBER_BUFFER], shown[CIVIL_TEXT_MAX];
    char before[CIVIL_TEXT_MAX], after[CIVIL_TEXT_MAX];

    civil_format(e->local_s, 0, true, wall, sizeof(wall));
    wall[strlen(wall) - 1] = '\0'; /* no Z: it is a wall time */
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:s}", "schedule",
                     schedule_canonical(s, e->index, text, sizeof(text)), "timezone", schedule_zone(s),
                     "change_at", instant_format(e->at_s * 1000, INSTANT_S, at, sizeof(at)), "change_local",
                     schedule_local(s, e->at_s, shown, sizeof(shown)), "before",
                     offset_text(e->before_s, before), "after", offset_text(e->after_s, after), "wall_time",
                     wall, "count", (json_int_t)e->count, "effect", kinds[e->what].name);
}

json_t *dst_effects(const char *job, const struct schedule *s, int64_t after_s, int64_t until_s)
{
    struct schedule_effect *found = calloc(DST_EFFECTS_MAX, sizeof(*found));
    json_t *list = json_array();
    size_t count;

    if (!found || !list) {
        free(found);
        json_decref(list);
        return NULL;
    }
    count = schedule_effects(s, after_s, until_s, found, DST_EFFECTS_MAX);
    for (size_t i = 0; i < count; i++) {
        json_t *row = json_object(), *rest = effect_json(s, &found[i]);

        if (job)
            json_object_set_new(row, "job", json_string(job));
        json_object_update(row, rest);
        json_decref(rest);
        json_array_append_new(list, row);
    }
    free(found);
    return list;
}

const char *dst_effect_times(const json_t *effect, char *buffer, size_t size)
{
    const char *wall = json_string_value(json_object_get(effect, "wall_time"));
    json_int_t more = json_integer_value(json_object_get(effect, "count")) - 1;

    snprintf(buffer, size, more > 0 ? "%.10s %.5s and %" JSON_INTEGER_FORMAT " more" : "%.10s %.5s", wall,
             wall + 11, more);
    return buffer;
}

const char *dst_effect_words(const json_t *effect)
{
    const char *name = json_string_value(json_object_get(effect, "effect"));

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (name && strcmp(name, kinds[i].name) == 0)
            return kinds[i].words;
    return "";
}
