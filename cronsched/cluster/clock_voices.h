/* The clocks of other machines, as this replica heard them, and what they say of its own. A clock confirms nothing about
 * itself, and ZooKeeper's time is the clock of one machine, often of one where a replica runs too. So the reference is
 * the median: of all members, this replica among them; where their number is even, ZooKeeper's time is one more voice.
 *
 * A clock is kept as its wall clock less this machine's boot time, which no one sets: so a jump of this machine's own
 * wall clock changes no voice. Plain data; one thread.
 */
#pragma once

#include "leader/replicated/replicated.h"

#define CLOCK_VOICE_FRESH_MS 15000 /* older voices do not count */
#define CLOCK_VOICE_AGREES_MS                                                                                \
    60000 /* as GUARDED_CLOCK_JUMP_MS: two clocks that differ less agree about a jump */
#define CLOCK_VOICE_ID_MAX 256

struct clock_voice {
    char id[CLOCK_VOICE_ID_MAX]; /* of the member; "": ZooKeeper */
    int64_t wall_ms;             /* its wall clock as it is set, less this machine's boot time */
    int64_t jump_ms;             /* of these it does not believe so much itself; 0: it believes its clock */
    uint64_t heard_ms;           /* boot time of the question */
};

struct clock_voices { /* all zero: nothing was heard */
    struct clock_voice voices[REPLICATED_MEMBERS_MAX + 1];
    size_t count;
};

/* Replaces what was heard of it before. */
void clock_voices_hear(struct clock_voices *v, const struct clock_voice *voice);

/* How far a clock of this machine (wall_ms, less boot time) is ahead of the reference. False: nobody was heard. With
 * ZooKeeper's voice alone, it is the reference. */
bool clock_voices_offset(const struct clock_voices *v, int64_t wall_ms, uint64_t now_ms, int64_t *ret_ms);

/* This machine's wall clock jumped at boot time since_ms, and is wall_ms now, less boot time: do more of the voices
 * that were heard after that agree with it than disagree? One that was heard lately, and not since, may disagree: the
 * first to be heard must not decide alone, since that may be ZooKeeper, whose clock jumped with this one. */
bool clock_voices_confirm(const struct clock_voices *v, int64_t wall_ms, uint64_t since_ms, uint64_t now_ms);
