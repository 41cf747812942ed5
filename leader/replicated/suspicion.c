/* See suspicion.h. */
#include "leader/replicated/suspicion.h"

#include "jobs/base/mutant.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Whoever is suspected is so for a link that is not up. */
static void check_invariants(const struct suspicion *s)
{
    assert(s->state == SUSPICION_NONE || s->link != REPLICATED_LINK_UP);
    assert(s->state <= SUSPICION_VERDICT && s->pause_ms <= SUSPICION_PAUSE_MAX_MS);
}

static void trust(struct suspicion *s, uint64_t now_ms)
{
    check_invariants(s);
    s->state = SUSPICION_NONE;
    s->answered = false;
    s->pause_ms = 0;
    if (s->again_ms > now_ms + SUSPICION_PAUSE_MS)
        s->again_ms = now_ms + SUSPICION_PAUSE_MS;
}

static bool is_idle(const struct suspicion *s, uint64_t now_ms)
{
    check_invariants(s);
    if (s->state == SUSPICION_VERDICT)
        return now_ms - s->verdict_ms > SUSPICION_VERDICT_MS;
    return (s->state == SUSPICION_NONE || s->state == SUSPICION_CLEARED) && now_ms >= s->again_ms;
}

void suspicion_link(struct suspicion *s, int64_t epoch, const struct replicated_link *link, uint64_t now_ms)
{
    if (epoch != s->epoch)
        *s = (struct suspicion){.epoch = epoch};
    s->late_ms = link->late_ms;
    if (link->state == REPLICATED_LINK_UP) {
        trust(s, now_ms);
        return;
    }
    s->link = link->state;
    snprintf(s->why, sizeof(s->why), "%s", link->why ? link->why : "");
    if (is_idle(s, now_ms))
        s->state = SUSPICION_WANTED;
    if (MUTANT(REFUSAL_IS_DEATH)) {
        s->state = SUSPICION_VERDICT;
        s->verdict_ms = now_ms;
    }
    check_invariants(s);
}

void suspicion_sending(struct suspicion *s, uint64_t now_ms)
{
    assert(s->state == SUSPICION_WANTED || s->state == SUSPICION_ASKED);
    s->state = s->state == SUSPICION_WANTED ? SUSPICION_ASKING : SUSPICION_CONFIRMING;
    s->sent_ms = now_ms;
}

static uint64_t answer_ms(const struct suspicion *s)
{
    if (s->answered)
        return SUSPICION_ANSWER_AGAIN_MS;
    return s->link == REPLICATED_LINK_BROKEN ? SUSPICION_ANSWER_BROKEN_MS : SUSPICION_ANSWER_MS;
}

void suspicion_asked(struct suspicion *s, int32_t version, uint64_t write_ms, uint64_t now_ms)
{
    uint64_t took = now_ms - s->sent_ms, slow = (write_ms > took ? write_ms : took) + s->late_ms;

    check_invariants(s);
    if (s->state != SUSPICION_ASKING)
        return; /* the link works again */
    if (slow > SUSPICION_SLOWNESS_MAX_MS)
        slow = SUSPICION_SLOWNESS_MAX_MS;
    s->state = SUSPICION_ASKED;
    s->ask = version;
    s->deadline_ms = now_ms + SUSPICION_SLOWNESS_FACTOR * slow + answer_ms(s);
}

void suspicion_failed(struct suspicion *s, uint64_t now_ms)
{
    check_invariants(s);
    if (s->state != SUSPICION_ASKING && s->state != SUSPICION_ASKED && s->state != SUSPICION_CONFIRMING)
        return;
    s->state = SUSPICION_NONE;
    s->again_ms = now_ms + SUSPICION_PAUSE_MS;
}

bool suspicion_answered(struct suspicion *s, int64_t epoch, int32_t version, uint64_t now_ms)
{
    check_invariants(s);
    if (s->state != SUSPICION_ASKED && s->state != SUSPICION_CONFIRMING)
        return false;
    if (epoch != s->epoch || (int32_t)((uint32_t)version - (uint32_t)s->ask) < 0)
        return false;
    s->state = SUSPICION_CLEARED;
    s->answered = true;
    s->pause_ms = s->pause_ms ? 2 * s->pause_ms : SUSPICION_PAUSE_MS;
    if (s->pause_ms > SUSPICION_PAUSE_MAX_MS)
        s->pause_ms = SUSPICION_PAUSE_MAX_MS;
    s->again_ms = now_ms + s->pause_ms;
    return true;
}

bool suspicion_lasts(const struct suspicion *s)
{
    check_invariants(s);
    return s->pause_ms > SUSPICION_PAUSE_MS;
}

bool suspicion_overdue(const struct suspicion *s, uint64_t now_ms)
{
    check_invariants(s);
    return s->state == SUSPICION_ASKED && now_ms >= s->deadline_ms;
}

void suspicion_confirmed(struct suspicion *s, uint64_t now_ms)
{
    check_invariants(s);
    if (s->state != SUSPICION_CONFIRMING)
        return;
    s->state = SUSPICION_VERDICT;
    s->verdict_ms = now_ms;
}

bool suspicion_verdict(const struct suspicion *s, int64_t epoch, uint64_t now_ms)
{
    check_invariants(s);
    return s->state == SUSPICION_VERDICT && s->epoch == epoch &&
           now_ms - s->verdict_ms <= SUSPICION_VERDICT_MS;
}

const char *suspicion_cause(const struct suspicion *s)
{
    static const char *const causes[] = {[REPLICATED_LINK_UP] = "connection-closed",
                                         [REPLICATED_LINK_BROKEN] = "connection-closed",
                                         [REPLICATED_LINK_REFUSED] = "connection-refused",
                                         [REPLICATED_LINK_SILENT] = "silent"};

    assert(s->link != REPLICATED_LINK_UP);
    return causes[s->link];
}
