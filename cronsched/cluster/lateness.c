/* See lateness.h. */
#include "cronsched/cluster/lateness.h"

void lateness_note(struct lateness *l, uint64_t late_ms)
{
    uint64_t mean, stray;

    if (late_ms > LATENESS_MAX_MS)
        late_ms = LATENESS_MAX_MS;
    if (!l->measured) {
        *l = (struct lateness){.mean_8 = 8 * late_ms, .stray_4 = 2 * late_ms, .measured = true};
        return;
    }
    mean = l->mean_8 / 8;
    stray = late_ms > mean ? late_ms - mean : mean - late_ms;
    l->stray_4 += stray - l->stray_4 / 4;
    l->mean_8 += late_ms - mean;
}

uint64_t lateness_ms(const struct lateness *l)
{
    uint64_t ms = l->mean_8 / 8 + l->stray_4 / 4;

    return ms < LATENESS_MAX_MS ? ms : LATENESS_MAX_MS;
}
