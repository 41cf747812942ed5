#include "cronsched/cluster/clock_voices.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool is_zookeeper(const struct clock_voice *voice)
{
    return voice->id[0] == '\0';
}

void clock_voices_hear(struct clock_voices *v, const struct clock_voice *voice)
{
    struct clock_voice *oldest = &v->voices[0];

    for (size_t i = 0; i < v->count; i++) {
        if (strcmp(v->voices[i].id, voice->id) == 0) {
            v->voices[i] = *voice;
            return;
        }
        if (v->voices[i].heard_ms < oldest->heard_ms)
            oldest = &v->voices[i];
    }
    if (v->count < sizeof(v->voices) / sizeof(v->voices[0]))
        oldest = &v->voices[v->count++];
    *oldest = *voice;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

bool clock_voices_offset(const struct clock_voices *v, int64_t wall_ms, uint64_t now_ms, int64_t *ret_ms)
{
    int64_t ahead[REPLICATED_MEMBERS_MAX + 2];
    const struct clock_voice *zookeeper = NULL;
    size_t n = 0;

    ahead[n++] = 0; /* this replica's own */
    for (size_t i = 0; i < v->count; i++) {
        const struct clock_voice *voice = &v->voices[i];

        if (voice->heard_ms + CLOCK_VOICE_FRESH_MS < now_ms)
            continue;
        if (is_zookeeper(voice))
            zookeeper = voice;
        else
            ahead[n++] = wall_ms - (voice->wall_ms - voice->jump_ms);
    }
    if (n == 1 && !zookeeper)
        return false;
    if (n == 1) { /* two voices and no majority: reported, though nobody knows which one is wrong */
        *ret_ms = wall_ms - zookeeper->wall_ms;
        return true;
    }
    if (n % 2 == 0 && zookeeper)
        ahead[n++] = wall_ms - zookeeper->wall_ms;
    qsort(ahead, n, sizeof(ahead[0]), compare);
    *ret_ms = ahead[n / 2];
    if (n % 2 == 0 && llabs(ahead[n / 2 - 1]) < llabs(*ret_ms))
        *ret_ms = ahead[n / 2 - 1];
    return true;
}

bool clock_voices_confirm(const struct clock_voices *v, int64_t wall_ms, uint64_t since_ms, uint64_t now_ms)
{
    size_t for_it = 0, against = 0;

    for (size_t i = 0; i < v->count; i++) {
        const struct clock_voice *voice = &v->voices[i];

        if (voice->heard_ms <= since_ms)
            against += voice->heard_ms + CLOCK_VOICE_FRESH_MS >= now_ms;
        else if (llabs(wall_ms - voice->wall_ms) <= CLOCK_VOICE_AGREES_MS)
            for_it++;
        else
            against++;
    }
    return for_it > against;
}
