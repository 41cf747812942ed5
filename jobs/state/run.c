/* The words of runs, and what a run says of itself. */
#include "jobs/state/run.h"

#include "jobs/state/state.h"

#include <assert.h>

static const char *const states[] = {
#define X(state, word) [RUN_##state] = word,
    RUN_STATES(X)
#undef X
};

static const char *const attempt_states[] = {
#define X(state, word) [ATTEMPT_##state] = word,
    ATTEMPT_STATES(X)
#undef X
};

static const struct {
    const char *word;
    bool skip;
} verdicts[] = {
#define X(verdict, word, skip) [VERDICT_##verdict] = {word, skip},
    RUN_VERDICTS(X)
#undef X
};

static const char *const causes[] = {
#define X(cause, word) [CAUSE_##cause] = word,
    RUN_CAUSES(X)
#undef X
};

static const char *const stops[] = {
#define X(reason, word) [STOP_##reason] = word,
    RUN_STOPS(X)
#undef X
};

const char *run_state_name(enum run_state state)
{
    assert(state < RUN_STATE_COUNT);
    return states[state];
}

const char *run_attempt_state_name(enum attempt_state state)
{
    assert(state < ATTEMPT_STATE_COUNT);
    return attempt_states[state];
}

const char *run_verdict_name(enum run_verdict verdict)
{
    assert(verdict < VERDICT_COUNT);
    return verdicts[verdict].word;
}

const char *run_cause_name(enum run_cause cause)
{
    assert(cause < CAUSE_COUNT);
    return causes[cause];
}

const char *run_stop_name(enum run_stop reason)
{
    assert(reason < STOP_COUNT);
    return stops[reason];
}

enum run_state run_state_of(const char *word)
{
    enum run_state state = 0;

    while (word && state < RUN_STATE_COUNT && strcmp(states[state], word) != 0)
        state++;
    return word ? state : RUN_STATE_COUNT;
}

enum run_verdict run_verdict_of(const char *word)
{
    for (enum run_verdict v = VERDICT_NONE + 1; word && v < VERDICT_COUNT; v++)
        if (strcmp(verdicts[v].word, word) == 0)
            return v;
    return VERDICT_NONE;
}

enum run_cause run_cause_of(const char *word)
{
    for (enum run_cause c = CAUSE_NONE + 1; word && c < CAUSE_COUNT; c++)
        if (strcmp(causes[c], word) == 0)
            return c;
    return CAUSE_NONE;
}

enum run_stop run_stop_of(const char *word)
{
    for (enum run_stop r = STOP_NONE + 1; word && r < STOP_COUNT; r++)
        if (strcmp(stops[r], word) == 0)
            return r;
    return STOP_NONE;
}

bool run_verdict_is_skip(enum run_verdict verdict)
{
    assert(verdict < VERDICT_COUNT);
    return verdicts[verdict].skip;
}

bool run_stop_ends_run(enum run_stop reason)
{
    return reason != STOP_NONE && reason != STOP_TIMEOUT;
}

struct attempt *run_attempt(struct run *run)
{
    return run->attempt_count ? &run->attempts[run->attempt_count - 1] : NULL;
}

bool run_attempt_is_released(const struct attempt *a)
{
    return a->state == ATTEMPT_STARTED || a->state == ATTEMPT_ACCEPTED;
}

struct job *run_def(const struct run *run)
{
    return run->def ? run->def : run->job->def;
}

enum run_state run_shown_state(const struct run *run)
{
    return run_verdict_is_skip(run->verdict) ? RUN_SKIPPED : run->state;
}
