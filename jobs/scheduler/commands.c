/* What clients ask: each request is checked as a whole before its first record, so that it is done whole or
 * not at all. Before a definition, a pause or a deletion takes effect, every fire time up to now is accounted
 * for under what was in force (job_account).
 */
#include "jobs/base/hash.h"
#include "jobs/base/near.h"
#include "jobs/base/text.h"
#include "jobs/engine/environment.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/state/run_id.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <stdio.h>

#define PARAMS_BYTES_MAX (16 * 1024)
#define KEY_MAX          200

int commands_enter(struct scheduler *s, struct error *error)
{
    struct journal_status journal = {0};

    s->journal->ops->status(s->journal, &journal);
    if (!s->leading && journal.lost)
        return error_set(error, ERR_REFUSED, "no writes are accepted: %s",
                         s->refusing); /* asking again is of no use */
    if (!s->leading || s->stopping)
        return error_set(error, ERR_NO_LEADER, "no leader: %s", s->refusing);
    if (s->pending_batch_count >= SCHEDULER_PENDING_BATCHES_MAX)
        return error_set(error, ERR_LIMIT, "the journal is %zu batches behind; try again",
                         s->pending_batch_count);
    if (journal.refused)
        return error_set(error, ERR_FULL, "%s", journal.text);
    turn_enter(s);
    reconcile_due(s); /* what is due is evaluated first */
    assert(s->leading && !s->stopping);
    return 0;
}

int commands_room(struct scheduler *s, enum state_part part, size_t more, struct error *error)
{
    static const int quarters[STATE_PART_COUNT] = {
        [STATE_JOBS] = 4, [STATE_RUNS] = 2, [STATE_KEYS] = 1, [STATE_BACKFILLS] = 1};
    size_t quarter = (size_t)s->o.max_state_bytes / 4, all = state_bytes(&s->state);

    assert(quarters[part] > 0);
    if (s->o.max_state_bytes <= 0)
        return 0;
    if (s->state.bytes[part] + more > quarters[part] * quarter)
        return error_set(error, ERR_LIMIT,
                         "the %s of the state have %zu bytes, and these are %zu more; %d quarters of "
                         "max_state are for them",
                         state_part_name(part), s->state.bytes[part], more, quarters[part]);
    if (part == STATE_JOBS && all + more > 4 * quarter)
        return error_set(error, ERR_LIMIT,
                         "the state has %zu bytes, and these are %zu more than max_state allows", all, more);
    if (part != STATE_JOBS && all + more > 3 * quarter)
        return error_set(
            error, ERR_LIMIT,
            "the state has %zu bytes, and these are %zu more; three quarters of max_state are for "
            "all but definitions of jobs",
            all, more);
    return 0;
}

int commands_find_job(struct scheduler *s, const char *name, struct job_state **ret, struct error *error)
{
    struct job_state *j = state_job(&s->state, name);
    char hint[NEAR_HINT_BUFFER];

    if (j) {
        *ret = j;
        return 0;
    }
    return error_set(error, ERR_NOT_FOUND, "no job %s%s", name,
                     near_hint(scheduler_near_job(s, name), hint, sizeof(hint)));
}

int commands_finish(struct scheduler *s, json_t *reply, struct scheduler_result *ret)
{
    assert(!ret->reply && !ret->index);
    reconcile_due(s);
    ret->index = turn_index(s);
    ret->reply = reply;
    return 0;
}

/* ---- delete ---- */

void commands_close_job(struct scheduler *s, struct job_state *j, const char *by)
{
    struct list *last = &j->runs; /* the last that stays: closing one may end those after it, too */

    assert(s->leading);
    planner_account(s, j, "deleted");
    while (last->next != &j->runs) {
        struct run *run = LIST_ITEM(last->next, struct run, of_job);

        if (run->state == RUN_RETRYING || run->state == RUN_WAITING) /* nothing of it executes */
            launch_close(s, run, VERDICT_DELETED, "the job was deleted", by);
        if (last->next == &run->of_job)
            last = last->next;
    }
}

void commands_put_delete(struct scheduler *s, const char *job, bool staged, const char *set, const char *by)
{
    struct record *r = turn_record(s, staged ? RECORD_STAGE : RECORD_JOB_DELETE);

    assert(staged || !set);
    PUT_TEXT(s, r, job, job);
    PUT_TEXT(s, r, set, set);
    PUT_TEXT(s, r, by, by);
    turn_commit(s, r);
}

int scheduler_delete(struct scheduler *s, const char *name, const char *by, struct scheduler_result *ret)
{
    const struct state_children *children;
    struct job_state *j = NULL;
    int rc = commands_enter(s, &ret->error);

    rc = rc < 0 ? rc : apply_refuses(s, &ret->error);
    rc = rc < 0 ? rc : commands_find_job(s, name, &j, &ret->error);
    if (rc < 0)
        return rc;
    children = state_after(&s->state, name);
    if (children)
        return error_set(&ret->error, ERR_CONFLICT, "%s comes after %s; delete or change it first",
                         children->jobs[0]->name, name);
    commands_close_job(s, j, by);
    commands_put_delete(s, name, false, NULL, by);
    assert(!state_job(&s->state, name));
    return commands_finish(s, json_pack("{s:s}", "job", name), ret);
}

/* ---- pause and resume ---- */

static int pause_all(struct scheduler *s, int64_t until_ms, const char *reason, const char *by,
                     struct scheduler_result *ret)
{
    assert(s->leading);
    if (resume_goes_on(s) || all_jobs_pause_goes_on(s))
        return error_set(&ret->error, ERR_BUSY, "all jobs are being %s; pause them when that is done",
                         resume_goes_on(s) ? "resumed" : "paused");
    all_jobs_pause(s, until_ms, reason, by);
    commands_finish(s, json_pack("{s:n,s:b}", "job", "paused", 1), ret);
    if (all_jobs_pause_goes_on(s))
        ret->index = SCHEDULER_INDEX_LATER;
    return 0;
}

int scheduler_pause(struct scheduler *s, const char *name, int64_t until_ms, const char *reason,
                    const char *by, struct scheduler_result *ret)
{
    struct job_state *j = NULL;
    struct record *r;
    int rc = commands_enter(s, &ret->error);

    if (rc == 0 && name)
        rc = commands_find_job(s, name, &j, &ret->error);
    if (rc == 0 && until_ms && until_ms <= s->now_ms)
        rc = error_set(&ret->error, ERR_INVALID, "until is in the past");
    if (rc == 0 && reason)
        rc = commands_room(s, STATE_JOBS, strlen(reason), &ret->error);
    if (rc < 0)
        return rc;
    if (!j)
        return pause_all(s, until_ms, reason, by, ret);
    planner_account(s, j, "paused");
    r = turn_record(s, RECORD_PAUSE);
    PUT_TEXT(s, r, job, name);
    if (until_ms)
        PUT_INT(s, r, until_ms, until_ms);
    PUT_TEXT(s, r, reason, reason);
    PUT_TEXT(s, r, by, by);
    turn_commit(s, r);
    assert(j->paused);
    turn_wake_job(s, j, s->now_ms);
    return commands_finish(s, json_pack("{s:s,s:b}", "job", name, "paused", 1), ret);
}

int scheduler_resume(struct scheduler *s, const char *name, const char *by, struct scheduler_result *ret)
{
    struct job_state *j = NULL;
    struct record *r;
    int rc = commands_enter(s, &ret->error);

    if (rc == 0 && name)
        rc = commands_find_job(s, name, &j, &ret->error);
    if (rc == 0 && !name && all_jobs_pause_goes_on(s))
        rc = error_set(&ret->error, ERR_BUSY, "all jobs are being paused; resume them when that is done");
    if (rc == 0 && j && !j->paused && s->state.paused)
        rc = error_set(&ret->error, ERR_CONFLICT, "all jobs are paused; resume --all");
    if (rc < 0)
        return rc;
    if (j && j->paused) {
        planner_skip_to(s, j, s->now_ms, VERDICT_PAUSED, j->pause_reason);
        r = turn_record(s, RECORD_RESUME);
        PUT_TEXT(s, r, job, name);
        PUT_TEXT(s, r, by, by);
        turn_commit(s, r);
        assert(!j->paused);
        turn_wake_job(s, j, s->now_ms);
    }
    if (!j && s->state.paused)
        resume_begin(s, s->now_ms, by);
    commands_finish(s, json_pack("{s:s?,s:b}", "job", name, "paused", 0), ret);
    if (!j && resume_goes_on(s))
        ret->index = SCHEDULER_INDEX_LATER;
    return 0;
}

/* ---- trigger ---- */

struct trigger {
    const char *key;
    json_t *params;
    size_t params_bytes;
    bool queue, children;
    char digest[33];
};

static int read_trigger(const json_t *body, struct trigger *t, struct error *error)
{
    const char *key;
    json_t *value;
    char *text;

    assert(!t->key && !t->params);
    json_object_foreach((json_t *)(uintptr_t)body, key, value)
    {
        if (strcmp(key, "key") == 0 && json_is_string(value))
            t->key = json_string_value(value);
        else if (strcmp(key, "params") == 0 && json_is_object(value))
            t->params = value;
        else if (strcmp(key, "queue") == 0 && json_is_boolean(value))
            t->queue = json_is_true(value);
        else if (strcmp(key, "with_children") == 0 && json_is_boolean(value))
            t->children = json_is_true(value);
        else
            return error_set(error, ERR_INVALID, "trigger: %s is not known, or of the wrong type", key);
    }
    if (t->key && (!t->key[0] || strlen(t->key) > KEY_MAX))
        return error_set(error, ERR_INVALID, "trigger: a key has 1 to %d bytes", KEY_MAX);
    if (environment_check_params(t->params, error) < 0)
        return error_prefix(error, "trigger: ");
    t->params_bytes = t->params ? json_dumpb(t->params, NULL, 0, JSON_COMPACT) : 0;
    if (t->params_bytes > PARAMS_BYTES_MAX)
        return error_set(error, ERR_LIMIT, "trigger: the parameters have more than %d bytes",
                         PARAMS_BYTES_MAX);
    text = json_dumps(t->params ? t->params : json_null(), JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    if (!text)
        return ERR_NOMEM;
    batch_hash(text, strlen(text), t->digest);
    free(text);
    return 0;
}

/* May a manual run come now, as far as overlap goes? */
static int trigger_overlap(struct scheduler *s, struct job_state *j, const struct trigger *t,
                           struct error *error)
{
    int waiting = rules_waiting_count(j, NULL);

    if (j->def->concurrency == JOB_QUEUE || t->queue)
        return waiting >= j->def->queue_max
                   ? error_set(error, ERR_CONFLICT, "%d runs of %s are waiting already", waiting, j->name)
                   : 0;
    if (j->def->concurrency == JOB_ALLOW && rules_max_running(j->def) &&
        rules_busy_count(s, j, NULL) >= rules_max_running(j->def))
        return error_set(error, ERR_CONFLICT,
                         "%d runs of %s have not ended, and its max_running is %d; --queue waits for one",
                         rules_busy_count(s, j, NULL), j->name, j->def->max_running);
    LIST_EACH(link, &j->runs)
    {
        const struct run *r = LIST_ITEM(link, struct run, of_job);

        if (j->def->concurrency == JOB_FORBID && r->fired)
            return error_set(error, ERR_CONFLICT,
                             "%s has not ended and the job forbids overlap; --queue waits for it", r->id);
    }
    if (j->def->concurrency == JOB_FORBID && stray_of(s, j))
        return error_set(
            error, ERR_CONFLICT,
            "%s was started again by somebody else and the job forbids overlap; --queue waits for it",
            stray_of(s, j));
    return 0;
}

/* The run, its parameters and its key stay for a while. */
static int trigger_room(struct scheduler *s, const struct job_state *j, const struct trigger *t,
                        struct error *error)
{
    size_t key = t->key ? STATE_KEY_BYTES + 2 * strlen(j->name) + strlen(t->key) + sizeof(t->digest) : 0;
    int rc;

    if (j->run_count >= JOB_RUNS_MAX)
        return error_set(error, ERR_LIMIT, "%zu runs of %s have not ended", j->run_count, j->name);
    rc = commands_room(s, STATE_RUNS, STATE_RUN_BYTES + t->params_bytes, error);
    return rc < 0 || !key ? rc : commands_room(s, STATE_KEYS, key, error);
}

int scheduler_trigger(struct scheduler *s, const char *name, const json_t *body, const char *by,
                      struct scheduler_result *ret)
{
    struct trigger t = {0};
    struct trigger_key *known;
    struct job_state *j = NULL;
    char id[RUN_ID_MAX];
    struct record *r;
    struct run *run;
    int64_t at_ms;
    int rc = commands_enter(s, &ret->error);

    rc = rc < 0 ? rc : read_trigger(body, &t, &ret->error);
    rc = rc < 0 ? rc : commands_find_job(s, name, &j, &ret->error);
    if (rc < 0)
        return rc;
    known = t.key ? state_key(&s->state, name, t.key) : NULL;
    if (known && strcmp(known->digest, t.digest) != 0)
        return error_set(&ret->error, ERR_CONFLICT, "key %s was used for %s with other parameters", t.key,
                         known->run);
    if (known) {
        return commands_finish(s, json_pack("{s:s,s:b}", "run", known->run, "existing", 1), ret);
    }
    rc = trigger_overlap(s, j, &t, &ret->error);
    rc = rc < 0 ? rc : trigger_room(s, j, &t, &ret->error);
    if (rc < 0)
        return rc;
    at_ms = rules_exact_ms(s, j);
    r = turn_record(s, RECORD_TRIGGER);
    PUT_TEXT(s, r, run, run_id_format(name, at_ms, true, id));
    PUT_INT(s, r, fire_ms, at_ms);
    PUT_TEXT(s, r, cause, run_cause_name(CAUSE_MANUAL));
    PUT_TEXT(s, r, key, t.key);
    if (t.key)
        PUT_TEXT(s, r, digest, t.digest);
    PUT_JSON(s, r, params, t.params);
    PUT_TEXT(s, r, by, by);
    if (t.queue)
        PUT_INT(s, r, queue, 1);
    if (t.children)
        PUT_INT(s, r, children, 1);
    turn_commit(s, r);
    run = state_run(&s->state, id);
    assert(run && run->job == j && run->fired && run->cause == CAUSE_MANUAL);
    if (j->def->concurrency == JOB_REPLACE)
        launch_stop_others(s, run);
    turn_wake_run(s, run, s->now_ms);
    return commands_finish(s, json_pack("{s:s,s:b}", "run", id, "existing", 0), ret);
}

int scheduler_kill(struct scheduler *s, const char *id, const char *by, struct scheduler_result *ret)
{
    char job[RUN_ID_MAX];
    int64_t at_ms;
    bool has_ms;
    struct run *r;
    int rc = commands_enter(s, &ret->error);

    if (rc < 0)
        return rc;
    if (run_id_parse(id, job, &at_ms, &has_ms) < 0)
        return error_set(&ret->error, ERR_INVALID, "%.150s is not a run id (JOB@20261122T030000Z)", id);
    r = state_run(&s->state, id);
    if (!r)
        return error_set(&ret->error, ERR_NOT_FOUND, "no unfinished run %s", id);
    launch_stop(s, r, STOP_KILLED, by);
    assert(r->state == RUN_ENDED || run_attempt(r)->stop_reason != STOP_NONE);
    return commands_finish(s, json_pack("{s:s}", "run", id), ret);
}

/* ---- notifications ---- */

bool scheduler_notice_next(struct scheduler *s, const struct list **at, struct scheduler_notice *ret)
{
    const struct list *next = *at ? (*at)->next : s->state.notices.next;
    const struct notice *n;

    if (!s->leading || s->stopping || next == &s->state.notices)
        return false;
    assert(s->state.notice_count > 0);
    n = LIST_ITEM(next, const struct notice, all);
    *ret = (struct scheduler_notice){n->id, n->url, n->headers, n->body};
    *at = next;
    return true;
}

void scheduler_notice_done(struct scheduler *s, const char *id, int status, const char *text)
{
    struct record *r;

    assert(status >= 0);
    if (!s->leading || s->stopping)
        return; /* the next leader delivers it once more: at least once */
    turn_enter(s);
    r = turn_record(s, RECORD_NOTIFIED);
    PUT_TEXT(s, r, run, id);
    PUT_INT(s, r, code, status);
    PUT_TEXT(s, r, text, text);
    turn_commit(s, r);
    reconcile_due(s);
}
