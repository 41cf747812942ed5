#include "cronsched/server/server_clock.h"

#include "cronsched/io/log.h"
#include "jobs/base/clock.h"

#include <stdio.h>
#include <sys/timex.h>

/* The kernel's word that a time service keeps its clock, which setting it by hand takes back; only of the clock that is read
 * here: a process may be shown another one. */
static bool kernel_confirms(int64_t wall_ms)
{
    struct timex tx = {0};
    int state = adjtimex(&tx);
    int64_t apart_ms = wall_ms - (int64_t)tx.time.tv_sec * 1000;

    return state >= 0 && state != TIME_ERROR && !(tx.status & STA_UNSYNC) && apart_ms > -2000 &&
           apart_ms < 2000;
}

static bool is_confirmed(const struct guarded_clock *clock, struct replica *replica, int64_t wall_ms)
{
    return replica ? replica_clock_confirms(replica, clock->held_boot_ms) : kernel_confirms(wall_ms);
}

static void tell(const struct guarded_clock *clock)
{
    char text[256];

    if (!clock->held) {
        log_event(LOG_NOTE, "clock-jump", LOG_TEXT("text", "the wall clock is believed again"));
        return;
    }
    snprintf(text, sizeof(text),
             "the wall clock %s, and nothing confirms it: time goes on as before. Correct the clock, or if "
             "it is right, "
             "say so with 'cronsched cluster accept-clock'",
             clock->from_journal ? "is behind the journal's last batch" : "jumped");
    log_event(LOG_ERROR, "clock-jump", LOG_INT("jump_ms", clock->jump_ms), LOG_TEXT("text", text));
}

int64_t server_clock_read(struct guarded_clock *clock, struct replica *replica)
{
    bool held = clock->held;
    int64_t wall_ms = clock_wall_ms();

    if (held && is_confirmed(clock, replica, wall_ms))
        guarded_clock_confirm(clock);
    wall_ms = guarded_clock_read(clock, wall_ms, (uint64_t)clock_boot_ms());
    if (clock->held != held)
        tell(clock);
    return wall_ms;
}
