/* By how much answers are late, lately: the mean of the latest ones and how far they stray from it, as TCP estimates a
 * round trip (RFC 6298). A way that is slow all the time is known to be slow after a few answers; one answer that was held
 * up is forgotten after as many, so that it does not delay for long what is noticed by silence.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LATENESS_MAX_MS 1000 /* of one answer, and of the estimate */

struct lateness {             /* zeroed: nothing was measured */
    uint64_t mean_8, stray_4; /* times 8 and 4, so that small steps are not lost */
    bool measured;
};

/* An answer was late by so much. */
void lateness_note(struct lateness *l, uint64_t late_ms);
/* By how much one may be late. */
uint64_t lateness_ms(const struct lateness *l);
