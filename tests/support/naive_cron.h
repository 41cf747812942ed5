/* Cron made slow and plain, to check the real one against: random expressions together with what they mean as
 * arrays of flags, and matching by asking every field. Shares no code with jobs/ but the calendar.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct naive_cron {
    bool second[60], minute[60], hour[24], dom[32], month[13], dow[7], year[2200];
    bool dom_last[31], dom_last_weekday[31], dom_weekday[32]; /* L-n, L-nW, nW */
    bool nth[7][7];                                           /* [weekday][1-5, 6: last] */
    bool dom_any, dow_any, both, wildcard;
    char text[512];
};

extern uint64_t random_state;

/* splitmix64 */
uint64_t random_u64(void);
int random_below(int n);
bool random_chance(int percent);

/* Five, six or seven fields. Half of the expressions are likely to have to do with the given wall time. */
void naive_random(struct naive_cron *n, int fields, int64_t local_s);

/* Is this second of local time one of the expression's? */
bool naive_matches(const struct naive_cron *n, int64_t local_s);
