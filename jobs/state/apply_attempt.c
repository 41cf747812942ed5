/* What becomes of attempts: the records of the launch protocol. */
#include "jobs/base/alloc.h"
#include "jobs/base/mutant.h"
#include "jobs/state/apply_priv.h"

#include <assert.h>
#include <limits.h>

/* the same for attempts; ARM makes a new one, unless the one before may still run */
static const unsigned attempt_moves[] = {
#define TO(x) (1u << ATTEMPT_##x)
    [ATTEMPT_ARMED] = TO(COMMITTED) | TO(REVOKED) | TO(NEVER_RAN) | TO(START_FAILED),
    [ATTEMPT_COMMITTED] = TO(COMMITTED) | TO(ACCEPTED) | TO(STARTED) | TO(REVOKED) | TO(NEVER_RAN) |
                          TO(START_FAILED) | TO(UNKNOWN),
    [ATTEMPT_ACCEPTED] = TO(ACCEPTED) | TO(STARTED) | TO(NEVER_RAN) | TO(START_FAILED) | TO(UNKNOWN),
    [ATTEMPT_STARTED] = TO(STARTED) | TO(START_FAILED) | TO(ENDED) | TO(UNKNOWN),
    [ATTEMPT_REVOKED] = 0,
    [ATTEMPT_NEVER_RAN] = TO(REVOKED),
    [ATTEMPT_START_FAILED] = TO(REVOKED),
    [ATTEMPT_ENDED] = 0,
    [ATTEMPT_UNKNOWN] = 0,
#undef TO
};

static void move_attempt(struct apply_context *c, struct attempt *a, enum attempt_state to)
{
    if (!(attempt_moves[a->state] >> to & 1))
        c->bad_move = true;
    a->state = to;
}

static bool may_run(const struct attempt *a)
{
    return a->state == ATTEMPT_COMMITTED || run_attempt_is_released(a);
}

static void attempt_ended(struct apply_context *c, struct run *run)
{
    const struct attempt *a = run_attempt(run);

    if (run_stop_ends_run(a->stop_reason) && !MUTANT(KILL_RETRIES))
        apply_run_end(c, run, VERDICT_KILLED);
    else if (!a->stop_reason && a->exit_code == 0)
        apply_run_end(c, run, VERDICT_SUCCEEDED);
    else
        apply_run_retry_or_end(c, run, a->stop_reason ? VERDICT_TIMED_OUT : VERDICT_FAILED);
}

/* ---- records ---- */

int apply_attempt_arm(struct apply_context *c)
{
    const struct record *r = c->r;
    struct run *run = state_run(c->s, r->run);
    struct attempt *a;
    int rc = run ? 0 : apply_run_new(c, &run);

    if (rc < 0)
        return rc;
    if (!run_def(run))
        return apply_corrupt(c, "the job is gone");
    run->journal_lost = false; /* whatever it was, it ended after the lost time */
    if (r->attempt < 1 || r->attempt > INT_MAX || r->try < 1 || r->try > INT_MAX)
        return apply_corrupt(c, "attempts and tries count from 1");
    if (run_attempt(run) && may_run(run_attempt(run)))
        return apply_corrupt(c, "the attempt before may still run");
    if (!run->def)
        run->def = job_ref(run->job->def);
    a = state_add_attempt(run, (int)r->attempt);
    a->try = (int)r->try;
    a->engine = alloc_text(r->engine);
    a->epoch = c->batch->epoch;
    a->index = c->batch->index;
    a->state = ATTEMPT_ARMED;
    apply_run_move(c, run, run->fired ? RUN_STARTING : RUN_ARMED);
    apply_run_touch(c, run);
    return 0;
}

static int apply_committed(struct apply_context *c, struct run *run, struct attempt *a)
{
    bool again = a->state == ATTEMPT_COMMITTED && a->handed_over && strcmp(a->id, c->r->id) == 0;

    if (!again && (a->state != ATTEMPT_ARMED || a->epoch != c->batch->epoch))
        return apply_corrupt(c, "the attempt is neither armed in this epoch nor handed over to it");
    alloc_replace(&a->id, c->r->id);
    alloc_replace(&a->boot_id, RECORD_HAS(c->r, boot_id) ? c->r->boot_id : NULL);
    alloc_replace(&a->identity, RECORD_HAS(c->r, identity) ? c->r->identity : NULL);
    a->handed_over = false;
    a->committed_epoch = c->batch->epoch;
    move_attempt(c, a, ATTEMPT_COMMITTED);
    return 0;
}

static int apply_revoked(struct apply_context *c, struct run *run, struct attempt *a)
{
    move_attempt(c, a, ATTEMPT_REVOKED);
    if (run->fired)
        apply_run_move(c, run, RUN_WAITING);
    else
        state_end_run(c->s, run); /* the reservation is given up; its fire time is evaluated again */
    return 0;
}

static int apply_handed_over(struct apply_context *c, struct attempt *a)
{
    if (a->state != ATTEMPT_COMMITTED || a->committed_epoch != c->batch->epoch)
        return apply_corrupt(c, "the attempt is not committed in this epoch");
    a->handed_over = true;
    return 0;
}

static int apply_accepted(struct apply_context *c, struct run *run, struct attempt *a)
{
    apply_run_set_fired(c, run, false); /* whatever the clocks say: its engine has it */
    if (a->state != ATTEMPT_ACCEPTED)
        a->accepted_ms = c->batch->time_ms;
    move_attempt(c, a, ATTEMPT_ACCEPTED);
    alloc_replace(&a->text, RECORD_HAS(c->r, text) ? c->r->text : NULL);
    run->unresolved_ms = 0;
    apply_run_move(c, run, RUN_STARTING);
    return 0;
}

static int apply_started(struct apply_context *c, struct run *run, struct attempt *a)
{
    apply_run_set_fired(c, run, false); /* whatever the clocks say: it runs */
    move_attempt(c, a, ATTEMPT_STARTED);
    a->started_ms = c->r->at_ms + (MUTANT(HIDDEN_STATE) && run->live.permitted);
    if (a->accepted_ms)
        alloc_replace(&a->text, NULL); /* why it had not started */
    if (!run->started_ms)
        run->started_ms = c->r->at_ms;
    run->unresolved_ms = 0;
    apply_run_move(c, run, RUN_RUNNING);
    return 0;
}

static int apply_started_again(struct apply_context *c, struct attempt *a)
{
    if (a->state != ATTEMPT_STARTED || c->r->count < 2 || c->r->count > INT_MAX)
        return apply_corrupt(c, "it is not running, or was not started again");
    a->restarts = (int)c->r->count - 1;
    return 0;
}

static int apply_start_failed(struct apply_context *c, struct run *run, struct attempt *a)
{
    move_attempt(c, a, ATTEMPT_START_FAILED);
    a->exit_code = RECORD_HAS(c->r, code) ? (int)c->r->code : -1;
    a->ended_ms = c->batch->time_ms;
    alloc_replace(&a->text, c->r->text);
    run->unresolved_ms = 0;
    if (!run->fired)
        return 0; /* evaluated at its time */
    if (run_stop_ends_run(a->stop_reason))
        apply_run_end(c, run, VERDICT_KILLED);
    else
        apply_run_retry_or_end(c, run, VERDICT_FAILED);
    return 0;
}

static int apply_stopping(struct apply_context *c, struct run *run, struct attempt *a)
{
    if (!may_run(a))
        return apply_corrupt(c, "the attempt cannot run");
    a->stop_reason = run_stop_of(c->r->reason);
    if (!a->stop_reason)
        return apply_corrupt(c, "the reason is unknown");
    a->stopping_ms = c->batch->time_ms;
    return 0;
}

static int apply_ended(struct apply_context *c, struct run *run, struct attempt *a)
{
    apply_run_set_fired(c, run, false);
    move_attempt(c, a, ATTEMPT_ENDED);
    a->ended_ms = c->r->at_ms;
    a->exit_code = (int)c->r->code;
    alloc_replace(&a->cause, RECORD_HAS(c->r, cause) ? c->r->cause : NULL);
    if (RECORD_HAS(c->r, text))
        alloc_replace(&a->text, c->r->text);
    run->unresolved_ms = 0;
    attempt_ended(c, run);
    return 0;
}

static int apply_never_ran(struct apply_context *c, struct run *run, struct attempt *a)
{
    move_attempt(c, a, ATTEMPT_NEVER_RAN);
    alloc_replace(&a->text, c->r->text);
    run->unresolved_ms = 0;
    apply_run_move(c, run, run->fired ? RUN_WAITING : RUN_ARMED);
    return 0;
}

static int apply_unknown(struct apply_context *c, struct run *run, struct attempt *a)
{
    const struct job *def = run_def(run);
    int allowed = def->retries_max + 1;

    apply_run_set_fired(c, run, false);
    move_attempt(c, a, ATTEMPT_UNKNOWN);
    a->ended_ms = c->batch->time_ms;
    alloc_replace(&a->text, c->r->text);
    run->unresolved_ms = 0;
    if (def->on_lost == JOB_ON_LOST_RERUN && !run->journal_lost && !a->stop_reason &&
        a->number < (allowed > 2 ? allowed : 2)) {
        apply_run_move(c, run,
                       RUN_RETRYING); /* at least one rerun, else the word would be empty without retries */
        run->retry_ms = apply_run_retry_ms(c, run);
    } else {
        alloc_replace(&run->text, c->r->text);
        apply_run_end(c, run, VERDICT_LOST);
    }
    return 0;
}

static int apply_unresolved(struct apply_context *c, struct run *run, struct attempt *a)
{
    if (!may_run(a))
        return apply_corrupt(c, "the attempt cannot run");
    if (!run->unresolved_ms)
        run->unresolved_ms = c->batch->time_ms;
    alloc_replace(&run->text, c->r->text);
    apply_run_move(c, run, RUN_UNRESOLVED);
    return 0;
}

/* Records about the newest attempt of a run that is there. */
int apply_attempt_record(struct apply_context *c)
{
    struct run *run = state_run(c->s, c->r->run);
    struct attempt *a = run ? run_attempt(run) : NULL;

    if (!a || a->number != c->r->attempt)
        return apply_corrupt(c, "there is no such attempt");
    apply_run_touch(c, run);
    switch (c->r->kind) {
    case RECORD_COMMITTED:
        return apply_committed(c, run, a);
    case RECORD_REVOKED:
        return apply_revoked(c, run, a);
    case RECORD_HANDED_OVER:
        return apply_handed_over(c, a);
    case RECORD_ACCEPTED:
        return apply_accepted(c, run, a);
    case RECORD_STARTED:
        return apply_started(c, run, a);
    case RECORD_STARTED_AGAIN:
        return apply_started_again(c, a);
    case RECORD_START_FAILED:
        return apply_start_failed(c, run, a);
    case RECORD_STOPPING:
        return apply_stopping(c, run, a);
    case RECORD_ENDED:
        return apply_ended(c, run, a);
    case RECORD_NEVER_RAN:
        return apply_never_ran(c, run, a);
    case RECORD_UNKNOWN:
        return apply_unknown(c, run, a);
    default:
        assert(c->r->kind == RECORD_UNRESOLVED);
        return apply_unresolved(c, run, a);
    }
}
