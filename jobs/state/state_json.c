/* The state as text: the parts of the canonical snapshot (state_image.c puts them together, state_decode.c is the way back),
 * and the shapes in which runs are shown. */
#include "jobs/base/alloc.h"
#include "jobs/base/mutant.h"
#include "jobs/base/text.h"
#include "jobs/state/state_priv.h"
#include "jobs/time/instant.h"

#include <assert.h>

/* ---- a run for people ---- */

static json_t *time_json(int64_t ms, enum instant_form form)
{
    char buffer[TEXT_NUMBER_BUFFER];

    return ms == 0 ? json_null() : json_string(instant_format(ms, form, buffer, sizeof(buffer)));
}

static void set_text(json_t *object, const char *key, const char *value)
{
    if (value)
        json_object_set_new(object, key, json_string(value));
}

static json_t *attempt_to_json(const struct attempt *a)
{
    json_t *o = json_object();

    json_object_set_new(o, "attempt", json_integer(a->number));
    json_object_set_new(o, "engine", json_string(a->engine));
    json_object_set_new(o, "id", a->id ? json_string(a->id) : json_null());
    json_object_set_new(o, "state", json_string(run_attempt_state_name(a->state)));
    if (a->accepted_ms)
        json_object_set_new(o, "accepted", time_json(a->accepted_ms, INSTANT_MS));
    json_object_set_new(o, "started", time_json(a->started_ms, INSTANT_MS));
    if (a->restarts > 0)
        json_object_set_new(o, "starts", json_integer(a->restarts + 1));
    json_object_set_new(o, "ended", time_json(a->ended_ms, INSTANT_MS));
    json_object_set_new(o, "exit_code", a->exit_code < 0 ? json_null() : json_integer(a->exit_code));
    json_object_set_new(o, "epoch", json_integer(a->epoch));
    json_object_set_new(o, "try", json_integer(a->try));
    set_text(o, "engine_identity", a->identity);
    set_text(o, "cause", a->cause);
    set_text(o, "text", a->text);
    set_text(o, "stopping", run_stop_name(a->stop_reason));
    return o;
}

/* Its text says why it was unresolved, and its engine has told what became of it since. */
static bool is_told(const struct run *run, const struct attempt *last)
{
    if (run->state == RUN_RUNNING)
        return true;
    if (last->state != ATTEMPT_ENDED)
        return false;
    switch (run->verdict) {
    case VERDICT_NONE:
    case VERDICT_SUCCEEDED:
    case VERDICT_TIMED_OUT:
        return run->state != RUN_UNRESOLVED;
    case VERDICT_FAILED:
        return last->text && *last->text;
    case VERDICT_KILLED:
        return last->stop_reason != STOP_NONE;
    default:
        return false;
    }
}

json_t *state_run_json(const struct run *run)
{
    const struct attempt *last = run->attempt_count ? &run->attempts[run->attempt_count - 1] : NULL;
    json_t *o = json_object(), *attempts = json_array();

    json_object_set_new(o, "run", json_string(run->id));
    json_object_set_new(o, "job", json_string(run->job->name));
    json_object_set_new(o, "fire_time", time_json(run->fire_ms, run->has_ms ? INSTANT_MS : INSTANT_S));
    json_object_set_new(o, "cause", json_string(run_cause_name(run->cause)));
    json_object_set_new(o, "state", json_string(run_state_name(run_shown_state(run))));
    json_object_set_new(o, "verdict",
                        run->verdict ? json_string(run_verdict_name(run->verdict)) : json_null());
    json_object_set_new(o, "started", time_json(run->started_ms, INSTANT_MS));
    json_object_set_new(o, "ended", time_json(run->ended_ms, INSTANT_MS));
    json_object_set_new(o, "exit_code",
                        last && last->exit_code >= 0 ? json_integer(last->exit_code) : json_null());
    for (size_t i = 0; i < run->attempt_count; i++)
        json_array_append_new(attempts, attempt_to_json(&run->attempts[i]));
    json_object_set_new(o, "attempts", attempts);
    if (run->state == RUN_RETRYING)
        json_object_set_new(o, "retry_at", time_json(run->retry_ms, INSTANT_MS));
    if (run->state != RUN_ENDED && run->due_ms != run->fire_ms)
        json_object_set_new(o, "due", time_json(run->due_ms, INSTANT_MS));
    if (run->params)
        json_object_set(o, "params", run->params);
    set_text(o, "by", run->by);
    if (run->text && !(last && is_told(run, last)))
        set_text(o, "text", run->text);
    else if (last)
        set_text(o, "text", last->text);
    return o;
}

/* ---- the snapshot: short keys are left out when they hold the default ---- */

static void put_int(json_t *o, const char *key, int64_t value, int64_t none)
{
    if (value != none)
        json_object_set_new(o, key, json_integer(value));
}

static void put_flag(json_t *o, const char *key, bool value)
{
    if (value)
        json_object_set_new(o, key, json_true());
}

static json_t *encode_attempt(const struct attempt *a)
{
    json_t *o = json_object();

    put_int(o, "number", a->number, 0);
    put_int(o, "try", a->try, 0);
    put_int(o, "state", a->state, -1);
    set_text(o, "engine", a->engine);
    set_text(o, "id", a->id);
    set_text(o, "boot", a->boot_id);
    set_text(o, "identity", a->identity);
    put_int(o, "epoch", a->epoch, 0);
    put_int(o, "index", (int64_t)a->index, 0);
    put_int(o, "committed_epoch", a->committed_epoch, 0);
    put_flag(o, "handed_over", a->handed_over);
    put_int(o, "accepted", a->accepted_ms, 0);
    put_int(o, "started", a->started_ms, 0);
    put_int(o, "restarts", a->restarts, 0);
    put_int(o, "ended", a->ended_ms, 0);
    put_int(o, "code", a->exit_code, -1);
    set_text(o, "cause", a->cause);
    set_text(o, "text", a->text);
    set_text(o, "stop", run_stop_name(a->stop_reason));
    put_int(o, "stopping", a->stopping_ms, 0);
    return o;
}

static json_t *encode_run(const struct run *r)
{
    json_t *o = json_object(), *attempts = json_array();

    set_text(o, "id", r->id);
    put_int(o, "seq", (int64_t)r->seq, 0);
    put_int(o, "fire", r->fire_ms, INT64_MIN);
    put_int(o, "due", r->due_ms, INT64_MIN);
    put_int(o, "previous", r->previous_fire_ms, 0);
    set_text(o, "cause", run_cause_name(r->cause));
    set_text(o, "by", r->by);
    if (r->params)
        json_object_set(o, "params", r->params);
    put_flag(o, "queued", r->queued);
    put_flag(o, "children", r->children);
    put_flag(o, "fired", r->fired);
    put_flag(o, "journal_lost", r->journal_lost);
    if (r->def && job_equal(r->def, r->job->def ? r->job->def : r->def) && r->job->def)
        put_flag(o, "frozen", true);
    else if (r->def)
        json_object_set_new(o, "def", job_to_json(r->def));
    put_int(o, "state", r->state, -1);
    for (size_t i = 0; i < r->attempt_count; i++)
        json_array_append_new(attempts, encode_attempt(&r->attempts[i]));
    json_object_set_new(o, "attempts", attempts);
    put_int(o, "retry", r->retry_ms, 0);
    put_int(o, "started", r->started_ms, 0);
    put_int(o, "unresolved", r->unresolved_ms, 0);
    set_text(o, "text", r->text);
    return o;
}

static json_t *encode_backfill(const struct backfill *b)
{
    json_t *o = json_object();

    json_object_set(o, "times", b->times);
    put_int(o, "done", (int64_t)b->done, 0);
    put_int(o, "max_parallel", b->max_parallel, 0);
    put_flag(o, "again", b->again);
    set_text(o, "by", b->by);
    return o;
}

json_t *state_job_json(const struct job_state *j)
{
    json_t *o = json_object(), *runs = json_array(), *backfills = json_array(), *ahead = json_array();

    if (j->def)
        json_object_set_new(o, "def", job_to_json(j->def));
    put_int(o, "version", j->version, 0);
    set_text(o, "set", j->set);
    put_int(o, "seed", (int64_t)j->seed, 0);
    put_int(o, "anchor", j->anchor_ms, 0);
    put_int(o, "cursor", j->cursor_ms, INT64_MIN);
    for (size_t i = 0; i < j->ahead_count; i++)
        json_array_append_new(ahead, json_integer(j->ahead[i]));
    if (j->ahead_count)
        json_object_set(o, "ahead", ahead);
    json_decref(ahead);
    put_flag(o, "paused", j->paused);
    put_int(o, "paused_at", j->paused_ms, 0);
    put_int(o, "pause_until", j->pause_until_ms, 0);
    set_text(o, "pause_reason", j->pause_reason);
    set_text(o, "pause_by", j->pause_by);
    put_int(o, "deleted", j->deleted_ms, 0);
    put_int(o, "last_exact", j->last_manual_ms, 0);
    put_int(o, "last_fire", j->last_fire_ms, INT64_MIN);
    set_text(o, "last_run", j->last_run);
    set_text(o, "last_verdict", run_verdict_name(j->last_verdict));
    put_int(o, "last_ended", j->last_ended_ms, 0);
    put_int(o, "after_done", j->after_done, 0);
    if (j->recent.strip[0])
        json_object_set_new(o, "recent", recent_encode(&j->recent));
    LIST_EACH(link, &j->runs)
    {
        if (!MUTANT(SHORT_SNAPSHOT) || link->next != &j->runs)
            json_array_append_new(runs, encode_run(LIST_ITEM(link, struct run, of_job)));
    }
    LIST_EACH(link, &j->backfills)
    {
        json_array_append_new(backfills, encode_backfill(LIST_ITEM(link, struct backfill, of_job)));
    }
    json_object_set_new(o, "runs", runs);
    json_object_set_new(o, "backfills", backfills);
    return o;
}

json_t *state_fields_json(const struct state *s)
{
    json_t *root = json_object();

    put_int(root, "index", (int64_t)s->index, -1);
    set_text(root, "hash", s->hash);
    put_int(root, "epoch", s->epoch, 0);
    put_int(root, "time", s->time_ms, 0);
    put_int(root, "level", s->level, 0);
    put_int(root, "defs_index", (int64_t)s->defs_index, 0);
    put_int(root, "next_seq", (int64_t)s->next_seq, 0);
    set_text(root, "cluster", s->cluster);
    set_text(root, "replica", s->replica);
    set_text(root, "tzdata", s->tzdata);
    put_flag(root, "paused", s->paused);
    put_int(root, "paused_at", s->paused_ms, 0);
    put_int(root, "pause_until", s->pause_until_ms, 0);
    set_text(root, "pause_reason", s->pause_reason);
    set_text(root, "pause_by", s->pause_by);
    put_int(root, "lost_from", s->lost_from_ms, 0);
    put_int(root, "lost_until", s->lost_until_ms, 0);
    return root;
}
