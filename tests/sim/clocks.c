/* Clocks of worlds with an ensemble: each process reads its own through the guard of the program, and hears those of
 * the other and of ZooKeeper. They jump, and sometimes ZooKeeper's jumps with one of them, since it is the clock of that
 * very machine. True time is the world's.
 */
#include "tests/sim/sim.h"

#include <stdio.h>

#define FIT_MS 5000 /* as the program's */

static uint64_t boot_ms(const struct replica *r)
{
    return (uint64_t)(r->world->now_ms - START_MS + 1);
}

int64_t replica_wall_ms(struct replica *r)
{
    return r->world->now_ms + r->offset_ms;
}

static int64_t wall_less_boot_ms(struct replica *of, const struct replica *here)
{
    return replica_wall_ms(of) - (int64_t)boot_ms(here);
}

static struct replica *other_of(struct replica *r)
{
    return &r->world->replicas[1 - r->number];
}

void clocks_hear(struct replica *r)
{
    const struct replicated_view *v = replicated_view(r->core);
    struct replica *other = other_of(r);
    struct clock_voice zookeeper = {.wall_ms = v->ensemble_ms, .heard_ms = v->offset_asked_ms};
    struct clock_voice voice = {.id = "other",
                                .wall_ms = wall_less_boot_ms(other, r),
                                .jump_ms = other->clock.held ? other->clock.jump_ms : 0,
                                .heard_ms = boot_ms(r)};

    if (v->offset_known)
        clock_voices_hear(&r->voices, &zookeeper);
    if (other->scheduler && other->frozen_until_ms <= r->world->now_ms && chance(r->world, 800))
        clock_voices_hear(&r->voices, &voice);
}

static bool other_is_heard(const struct replica *r)
{
    for (size_t i = 0; i < r->voices.count; i++)
        if (r->voices.voices[i].id[0] && r->voices.voices[i].heard_ms + CLOCK_VOICE_FRESH_MS >= boot_ms(r))
            return true;
    return false;
}

/* One other clock that jumped with it, ZooKeeper's, is not believed against the other member's. */
static void check_confirmed(struct replica *r)
{
    struct replica *other = other_of(r);
    int64_t apart_ms = r->offset_ms - other->offset_ms;

    if (other_is_heard(r) && (apart_ms > CLOCK_VOICE_AGREES_MS || apart_ms < -CLOCK_VOICE_AGREES_MS))
        violation(r->world,
                  "r%d believes its clock, which jumped by %lld ms, though the other member disagrees",
                  r->number, (long long)r->clock.jump_ms);
}

/* Of one alone nothing else knows; a person sometimes says that it is right. */
static bool confirmed(struct replica *r)
{
    if (!r->world->ensemble)
        return chance(r->world, 10);
    if (!clock_voices_confirm(&r->voices, wall_less_boot_ms(r, r), r->clock.held_boot_ms, boot_ms(r)))
        return false;
    check_confirmed(r);
    return true;
}

int64_t clocks_believed_ms(struct replica *r)
{
    bool held = r->clock.held, begun = r->clock.begun && !r->clock.from_journal,
         confirms = held && confirmed(r);
    int64_t before_ms = r->clock.wall_ms + (int64_t)(boot_ms(r) - r->clock.boot_ms), wall_ms, jump_ms;

    if (confirms)
        guarded_clock_confirm(&r->clock);
    wall_ms = guarded_clock_read(&r->clock, replica_wall_ms(r), boot_ms(r));
    jump_ms = wall_ms - before_ms;
    if (begun && !confirms && (jump_ms > GUARDED_CLOCK_JUMP_MS || jump_ms < -GUARDED_CLOCK_JUMP_MS))
        violation(r->world, "r%d follows a jump of its clock by %lld ms, and nothing confirmed it", r->number,
                  (long long)jump_ms);
    if (r->clock.held && !held) {
        r->world->held_jumps++;
        tell(r->world, "r%d does not believe its clock, which is %lld ms off", r->number,
             (long long)r->clock.jump_ms);
    }
    return wall_ms;
}

void clocks_not_before(struct replica *r, int64_t wall_ms)
{
    if (!r->world->ensemble)
        guarded_clock_not_before(&r->clock, wall_ms, boot_ms(r));
}

/* As host_fit in cronsched/cluster/replica.c. */
bool clocks_fit(struct replica *r, const char **ret_why)
{
    int64_t offset_ms = 0;

    clocks_believed_ms(r);
    *ret_why = "its clock jumped, and the others' clocks disagree";
    if (r->clock.held)
        return false;
    *ret_why = "its clock is more than 5 s off the others'";
    return !clock_voices_offset(&r->voices, wall_less_boot_ms(r, r), boot_ms(r), &offset_ms) ||
           (offset_ms <= FIT_MS && offset_ms >= -FIT_MS);
}

void clocks_jump(struct world *w, struct replica *r)
{
    static const int64_t sizes_ms[] = {50, 2000, 20000, 90000, 400000};
    bool common = w->ensemble && chance(w, 400);
    int64_t size = sizes_ms[common ? 3 + draw(w) % 2 : draw(w) % (w->loses ? 3 : 5)];

    w->clock_steps++;
    w->common_jumps += common;
    r->offset_ms = chance(w, 400) ? 0 : between(w, -size, size);
    if (common)
        w->zoo.ahead_ms = r->offset_ms;
    tell(w, "r%d: its clock%s is %+lld ms off now", r->number, common ? ", and ZooKeeper's with it," : "",
         (long long)r->offset_ms);
    if (r->scheduler)
        plan_for(r, EVENT_WAKE, between(w, 0, 1000));
}

/* Somebody has set all of them. */
void clocks_right(struct world *w)
{
    w->zoo.ahead_ms = 0;
    for (int i = 0; i < w->replica_count; i++) {
        w->replicas[i].offset_ms = 0;
        if (w->replicas[i].scheduler)
            plan_for(&w->replicas[i], EVENT_WAKE, 0); /* as the environment does when the clock was set */
    }
}
