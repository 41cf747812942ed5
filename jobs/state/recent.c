/* See recent.h. */
#include "jobs/state/recent.h"

#include "jobs/base/alloc.h"

#include <string.h>

static const char letters[VERDICT_COUNT] = {
    [VERDICT_SUCCEEDED] = 's',    [VERDICT_FAILED] = 'f',   [VERDICT_TIMED_OUT] = 't',
    [VERDICT_KILLED] = 'k',       [VERDICT_LOST] = 'l',     [VERDICT_OVERLAP] = 'o',
    [VERDICT_PAUSED] = 'p',       [VERDICT_DEADLINE] = 'd', [VERDICT_MISSED] = 'm',
    [VERDICT_COALESCED] = 'c',    [VERDICT_DELETED] = 'r',  [VERDICT_QUEUE_FULL] = 'q',
    [VERDICT_JOURNAL_LOST] = 'j',
};

void recent_init(struct recent *recent)
{
    *recent = (struct recent){.duration_ms = -1};
}

bool recent_is_failure(enum run_verdict verdict)
{
    return verdict == VERDICT_FAILED || verdict == VERDICT_TIMED_OUT || verdict == VERDICT_LOST;
}

char recent_letter(enum run_verdict verdict)
{
    return verdict > VERDICT_NONE && verdict < VERDICT_COUNT ? letters[verdict] : '?';
}

enum run_verdict recent_verdict_of_letter(char letter)
{
    for (enum run_verdict v = VERDICT_NONE + 1; v < VERDICT_COUNT; v++)
        if (letters[v] == letter)
            return v;
    return VERDICT_NONE;
}

static void strip_add(struct recent *recent, enum run_verdict verdict)
{
    size_t n = strlen(recent->strip);

    if (n == RECENT_STRIP_MAX)
        memmove(recent->strip, recent->strip + 1, n--);
    recent->strip[n] = recent_letter(verdict);
    recent->strip[n + 1] = '\0';
}

void recent_seed(struct recent *recent, enum run_verdict last, int64_t ended_ms)
{
    if (recent->strip[0] || !last)
        return;
    strip_add(recent, last);
    recent->counts[last] = 1;
    recent->failures = recent_is_failure(last);
    if (last != VERDICT_SUCCEEDED)
        return;
    recent->success_ms = recent->success_ended_ms = ended_ms;
}

void recent_ended(struct recent *recent, enum run_verdict verdict, int64_t fire_ms, int64_t started_ms,
                  int64_t ended_ms)
{
    strip_add(recent, verdict);
    recent->counts[verdict]++;
    if (run_verdict_is_skip(verdict))
        return;
    recent->duration_ms = started_ms && ended_ms >= started_ms ? ended_ms - started_ms : -1;
    if (recent_is_failure(verdict))
        recent->failures++;
    if (verdict != VERDICT_SUCCEEDED)
        return;
    recent->failures = 0;
    if (fire_ms < recent->success_ms)
        return; /* an older fire time that was run again */
    recent->success_ms = fire_ms;
    recent->success_ended_ms = ended_ms;
}

void recent_skipped(struct recent *recent, enum run_verdict reason, int64_t count)
{
    strip_add(recent, reason);
    recent->counts[reason] += (uint64_t)count;
}

/* ---- in the snapshot ---- */

static void put(json_t *o, const char *key, int64_t value, int64_t none)
{
    if (value != none)
        json_object_set_new(o, key, json_integer(value));
}

json_t *recent_encode(const struct recent *recent)
{
    json_t *o, *counts;

    if (!recent->strip[0])
        return NULL;
    o = json_object();
    counts = json_object();
    if (!o || !counts)
        alloc_failed();
    json_object_set_new(o, "strip", json_string(recent->strip));
    put(o, "failures", recent->failures, 0);
    put(o, "success", recent->success_ms, 0);
    put(o, "success_ended", recent->success_ended_ms, 0);
    put(o, "duration", recent->duration_ms, -1);
    for (enum run_verdict v = VERDICT_NONE + 1; v < VERDICT_COUNT; v++)
        put(counts, (char[2]){letters[v], '\0'}, (int64_t)recent->counts[v], 0);
    json_object_set_new(o, "counts", counts);
    return o;
}

static int64_t get(const json_t *o, const char *key, int64_t none)
{
    const json_t *value = json_object_get(o, key);

    return json_is_integer(value) ? json_integer_value(value) : none;
}

int recent_decode(struct recent *recent, const json_t *json)
{
    const char *strip = json_string_value(json_object_get(json, "strip"));

    recent_init(recent);
    if (!json)
        return 0;
    if (!strip || !strip[0] || strlen(strip) > RECENT_STRIP_MAX)
        return ERR_CORRUPT;
    for (const char *p = strip; *p; p++)
        if (!recent_verdict_of_letter(*p))
            return ERR_CORRUPT;
    memcpy(recent->strip, strip, strlen(strip) + 1);
    recent->failures = get(json, "failures", 0);
    recent->success_ms = get(json, "success", 0);
    recent->success_ended_ms = get(json, "success_ended", 0);
    recent->duration_ms = get(json, "duration", -1);
    for (enum run_verdict v = VERDICT_NONE + 1; v < VERDICT_COUNT; v++)
        recent->counts[v] = (uint64_t)get(json_object_get(json, "counts"), (char[2]){letters[v], '\0'}, 0);
    return 0;
}
