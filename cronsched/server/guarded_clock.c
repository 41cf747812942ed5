#include "cronsched/server/guarded_clock.h"

#include "jobs/base/mutant.h"

static bool far_off(int64_t ms)
{
    return ms > GUARDED_CLOCK_JUMP_MS || ms < -GUARDED_CLOCK_JUMP_MS;
}

int64_t guarded_clock_read(struct guarded_clock *c, int64_t wall_ms, uint64_t boot_ms)
{
    int64_t expected = c->wall_ms + (int64_t)(boot_ms - c->boot_ms);

    bool arrived = c->from_journal && wall_ms >= expected; /* any start so late would be believed */

    c->boot_ms = boot_ms;
    if (c->begun && far_off(wall_ms - expected) && !arrived && !MUTANT(CLOCK_UNCONFIRMED)) {
        if (!c->held)
            c->held_boot_ms = boot_ms;
        c->held = true;
        c->jump_ms = wall_ms - expected;
        c->wall_ms = expected;
    } else {
        c->begun = true;
        c->held = c->from_journal = false;
        c->wall_ms = wall_ms;
    }
    return c->wall_ms;
}

void guarded_clock_not_before(struct guarded_clock *c, int64_t wall_ms, uint64_t boot_ms)
{
    c->begun = c->from_journal = true;
    c->wall_ms = wall_ms;
    c->boot_ms = boot_ms;
}

void guarded_clock_confirm(struct guarded_clock *c)
{
    if (c->held)
        c->begun = false;
}
