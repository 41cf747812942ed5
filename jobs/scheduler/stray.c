/* Objects that run although their attempt has ended: somebody else has started them again. While one runs its job is
 * busy, and its run has a note.
 */
#include "jobs/base/mutant.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/state/run_id.h"

#include <assert.h>
#include <stdio.h>

#define STRAYS_MAX 4096 /* more are not counted; nobody starts so many by hand */

const char *stray_of(const struct scheduler *s, const struct job_state *j)
{
    struct stray *stray, *next;

    assert(s->leading);
    HASH_ITER(by_id, s->strays, stray, next)
    {
        if (strcmp(stray->job, j->name) == 0 && !MUTANT(STRAY_IGNORED))
            return stray->run;
    }
    return NULL;
}

static struct stray *find(const struct scheduler *s, const char *id)
{
    struct stray *stray;

    HASH_FIND(by_id, s->strays, id, strlen(id), stray);
    return stray;
}

void stray_add(struct scheduler *s, const char *engine, const char *run, int attempt, const char *id)
{
    struct stray *stray;
    char text[RUN_ID_MAX + 200], job[RUN_ID_MAX];
    int64_t at_ms;
    bool has_ms;

    assert(s->leading);
    if (find(s, id) || strlen(id) >= sizeof(stray->id) || HASH_CNT(by_id, s->strays) >= STRAYS_MAX ||
        run_id_parse(run, job, &at_ms, &has_ms) < 0)
        return;
    stray = alloc_zero(sizeof(*stray));
    memcpy(stray->job, job, sizeof(job));
    snprintf(stray->id, sizeof(stray->id), "%s", id);
    snprintf(stray->run, sizeof(stray->run), "%s", run);
    HASH_ADD(by_id, s->strays, id, strlen(stray->id), stray);
    s->started_again++;
    snprintf(
        text, sizeof(text),
        "attempt %d runs, though by the journal it does not: somebody else has started it, or a part of the "
        "journal is lost (engine %.60s). Its job is busy while it runs",
        attempt, engine);
    turn_log(s, LOG_WARN, "started-again", NULL, "%s: %s", run, text);
    turn_note(s, run, text);
}

void stray_remove(struct scheduler *s, const char *id)
{
    struct stray *stray = find(s, id);
    struct job_state *j = stray ? state_job(&s->state, stray->job) : NULL;

    assert(s->leading);
    if (!stray)
        return;
    turn_log(s, LOG_NOTE, "started-again-ended", NULL, "%s: what was started again has ended", stray->run);
    HASH_DELETE(by_id, s->strays, stray);
    free(stray);
    if (j)
        turn_wake_job(s, j, s->now_ms);
}

void stray_clear_all(struct scheduler *s)
{
    struct stray *stray, *next;

    HASH_ITER(by_id, s->strays, stray, next)
    {
        HASH_DELETE(by_id, s->strays, stray);
        free(stray);
    }
    assert(!s->strays);
}
