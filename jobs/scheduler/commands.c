/* What clients ask: each request is checked as a whole before its first record, so that it is done whole or
 * not at all. Before a definition, a pause or a deletion takes effect, every fire time up to now is accounted
 * for under what was in force (job_account).
 */
#include "jobs/base/hash.h"
#include "jobs/base/near.h"
#include "jobs/base/text.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/state/run_id.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <stdio.h>

#define PARAMS_BYTES_MAX (16 * 1024)
#define KEY_MAX          200
#define JOB_SPARE_BYTES  4096 /* of a record, beside the job in it */

static int enter_command(struct scheduler *s, struct error *error)
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
    return 0;
}

static int find_job(struct scheduler *s, const char *name, struct job_state **ret, struct error *error)
{
    struct job_state *j = state_job(&s->state, name);
    const char *near = NULL;
    struct job_state *each, *next;
    char hint[NEAR_HINT_BUFFER];

    if (j) {
        *ret = j;
        return 0;
    }
    HASH_ITER(by_name, s->state.jobs, each, next)
    {
        const char *names[2] = {near ? near : each->name, each->name};

        if (each->def)
            near = near_find(name, names, near ? 2 : 1);
    }
    return error_set(error, ERR_NOT_FOUND, "no job %s%s", name, near_hint(near, hint, sizeof(hint)));
}

static int finish_command(struct scheduler *s, json_t *reply, struct scheduler_result *ret)
{
    reconcile_due(s);
    ret->index = turn_index(s);
    ret->reply = reply;
    return 0;
}

/* ---- apply ---- */

struct change {
    struct job *def;
    struct job_state *old; /* NULL: new */
};

struct apply {
    struct scheduler *s;
    const char *set, *by;
    bool prune;
    struct change *changes;
    size_t count;
    size_t unchanged;
    bool staged; /* larger than a batch: in parts, which one last record makes effective */
    json_t *created, *changed, *deleted, *warnings;
    struct error *error;
};

static int check_engines(struct apply *a, const struct job *def)
{
    struct scheduler *s = a->s;
    size_t n = def->engine.count ? def->engine.count : 1;

    for (size_t i = 0; i < n; i++) {
        const char *name = def->engine.count ? def->engine.items[i] : s->o.default_engine;
        struct engine *engine;
        int rc;

        if (!run_queue_of_engine(s, name, &engine)) {
            const char *names[SCHEDULER_ENGINES_MAX];
            char hint[NEAR_HINT_BUFFER];

            for (size_t e = 0; e < s->o.engine_count; e++)
                names[e] = s->o.engines[e]->name;
            return error_set(a->error, ERR_INVALID, "engine: the server has no engine %s%s", name,
                             near_hint(near_find(name, names, s->o.engine_count), hint, sizeof(hint)));
        }
        rc = engine->ops->check(engine, def, a->error);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static const struct job *def_after_apply(struct apply *a, const char *name)
{
    struct job_state *j = NULL;

    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->changes[i].def->name, name) == 0)
            return a->changes[i].def;
    j = state_job(&a->s->state, name);
    if (j && a->prune && j->set && strcmp(j->set, a->set) == 0)
        return NULL; /* it would be pruned */
    return j ? j->def : NULL;
}

/* Follows `after` from a job: a parent that is missing, or a way back to the job itself. Depth is bounded by
 * marks. */
static int check_after(struct apply *a, const struct job *def, const char *root, int depth)
{
    for (size_t i = 0; i < def->after.count; i++) {
        const char *parent = def->after.items[i];
        const struct job *p = def_after_apply(a, parent);
        int rc;

        if (!p)
            return error_set(a->error, ERR_INVALID, "after: there is no job %s", parent);
        if (strcmp(parent, root) == 0 || depth > JOB_NAME_MAX)
            return error_set(a->error, ERR_INVALID, "after: %s comes after itself, by way of %s", root,
                             def->name);
        rc = check_after(a, p, root, depth + 1);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int check_pool(struct apply *a, const struct job *def)
{
    for (size_t i = 0; def->pool && i < a->s->o.pool_count; i++)
        if (strcmp(a->s->o.pools[i].name, def->pool) == 0)
            return 0;
    return def->pool ? error_set(a->error, ERR_INVALID, "pool: the server has no pool %s", def->pool) : 0;
}

static int read_jobs(struct apply *a, const json_t *jobs)
{
    struct scheduler *s = a->s;
    const char *name;
    json_t *item;

    a->changes = calloc(json_object_size(jobs) + 1, sizeof(*a->changes));
    if (!a->changes)
        return ERR_NOMEM;
    json_object_foreach((json_t *)(uintptr_t)jobs, name, item)
    {
        struct job *def;
        int rc;

        if (!job_name_valid(name))
            return error_set(a->error, ERR_INVALID,
                             "%.120s: not a job name: lower-case letters, digits and dashes", name);
        rc = job_from_json(&def, name, item, s->o.zones, a->error);
        if (rc < 0)
            return error_prefix(a->error, "%s: ", name);
        a->changes[a->count].def = def;
        a->changes[a->count++].old = state_job(&s->state, name);
    }
    for (size_t i = 0; i < a->count; i++) {
        const struct job *def = a->changes[i].def;
        int rc = check_engines(a, def);

        rc = rc < 0 ? rc : check_pool(a, def);
        rc = rc < 0 ? rc : check_after(a, def, def->name, 0);
        if (rc < 0)
            return error_prefix(a->error, "%s: ", def->name);
    }
    return 0;
}

/* Jobs that stay must keep their parents. */
static int check_pruned(struct apply *a)
{
    LIST_EACH(link, &a->s->state.dependents)
    {
        struct job_state *j = LIST_ITEM(link, struct job_state, dependents);
        const struct job *def = def_after_apply(a, j->name);

        if (def && check_after(a, def, def->name, 0) < 0)
            return error_prefix(a->error, "%s: ", def->name);
    }
    return 0;
}

static bool same_schedule(const struct job *a, const struct job *b)
{
    if (a->schedule.count != b->schedule.count || strcmp(a->timezone, b->timezone) != 0 ||
        a->dialect != b->dialect)
        return false;
    for (size_t i = 0; i < a->schedule.count; i++)
        if (strcmp(a->schedule.items[i], b->schedule.items[i]) != 0)
            return false;
    return true;
}

static void put_job(struct apply *a, const struct change *c)
{
    struct scheduler *s = a->s;
    struct job_state *old = c->old;
    bool keep = old && same_schedule(old->def, c->def);
    json_t *def = job_to_json(c->def);
    struct record *r;

    if (old)
        planner_account(s, old, "edited");
    r = turn_record(s, a->staged ? RECORD_STAGE : RECORD_JOB);
    PUT_TEXT(s, r, job, c->def->name);
    PUT_INT(s, r, version, old ? old->version + 1 : 1);
    PUT_JSON(s, r, def, def);
    PUT_INT(s, r, seed, keep ? (int64_t)old->seed : (int64_t)(s->o.env->random(s->o.env) >> 1));
    PUT_INT(s, r, anchor_ms, keep ? old->anchor_ms : s->now_ms / 1000 * 1000);
    PUT_INT(s, r, cursor_ms, s->now_ms);
    PUT_TEXT(s, r, set, a->set || !old ? a->set : old->set); /* without a word the owner stays */
    PUT_TEXT(s, r, by, a->by);
    turn_commit(s, r);
    json_decref(def);
}

static void put_delete(struct scheduler *s, struct job_state *j, bool staged, const char *by)
{
    struct record *r;
    bool again = true;

    planner_account(s, j, "deleted");
    while (again) { /* closing one may end the list's next */
        again = false;
        LIST_EACH(link, &j->runs)
        {
            struct run *run = LIST_ITEM(link, struct run, of_job);

            if (run->state == RUN_RETRYING || run->state == RUN_WAITING) { /* nothing of it executes */
                launch_close(s, run, VERDICT_DELETED, "the job was deleted", by);
                again = true;
                break;
            }
        }
    }
    r = turn_record(s, staged ? RECORD_STAGE : RECORD_JOB_DELETE);
    PUT_TEXT(s, r, job, j->name);
    PUT_TEXT(s, r, by, by);
    turn_commit(s, r);
}

static void put_apply(struct apply *a)
{
    struct record *r = turn_record(a->s, RECORD_APPLY);

    PUT_INT(a->s, r, count, (int64_t)json_array_size(a->s->state.staged));
    PUT_TEXT(a->s, r, by, a->by);
    turn_commit(a->s, r);
}

static void warn_never(struct apply *a, const struct job *def)
{
    struct schedule *schedule = NULL;
    char text[JOB_NAME_MAX + 64];

    if (!def->schedule.count || job_compile(def, 1, a->s->now_ms / 1000, a->s->o.zones, &schedule, NULL) < 0)
        return;
    if (schedule && schedule_next(schedule, a->s->now_ms / 1000) == SCHEDULE_NEVER) {
        snprintf(text, sizeof(text), "%s: its schedule never fires", def->name);
        json_array_append_new(a->warnings, json_string(text));
    }
    schedule_free(schedule);
}

static void apply_changes(struct apply *a, const json_t *jobs, bool dry)
{
    struct job_state *j, *next;

    for (size_t i = 0; i < a->count; i++) {
        const struct change *c = &a->changes[i];
        bool same = c->old && job_equal(c->old->def, c->def) &&
                    (!a->set || (c->old->set && strcmp(c->old->set, a->set) == 0));

        if (same) {
            a->unchanged++;
            continue;
        }
        json_array_append_new(c->old ? a->changed : a->created, json_string(c->def->name));
        warn_never(a, c->def);
        if (!dry)
            put_job(a, c);
    }
    HASH_ITER(by_name, a->s->state.jobs, j, next)
    {
        if (!a->prune || !j->def || !j->set || strcmp(j->set, a->set) != 0 || json_object_get(jobs, j->name))
            continue;
        json_array_append_new(a->deleted, json_string(j->name));
        if (!dry)
            put_delete(a->s, j, a->staged, a->by);
    }
    if (a->staged && !dry)
        put_apply(a);
}

static int read_apply(struct apply *a, const json_t *body, const json_t **ret_jobs, bool *ret_dry)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)body, key, value)
    {
        if (strcmp(key, "jobs") == 0 && json_is_object(value))
            *ret_jobs = value;
        else if (strcmp(key, "set") == 0 && (json_is_string(value) || json_is_null(value)))
            a->set = json_string_value(value);
        else if (strcmp(key, "prune") == 0 && json_is_boolean(value))
            a->prune = json_is_true(value);
        else if (strcmp(key, "dry_run") == 0 && json_is_boolean(value))
            *ret_dry = json_is_true(value);
        else if (strcmp(key, "check_index") == 0 && json_is_integer(value)) {
            if ((uint64_t)json_integer_value(value) != a->s->state.defs_index)
                return error_set(
                    a->error, ERR_CONFLICT, "the jobs were changed at index %llu, after index %lld",
                    (unsigned long long)a->s->state.defs_index, (long long)json_integer_value(value));
        } else
            return error_set(a->error, ERR_INVALID, "apply: %s is not known, or of the wrong type", key);
    }
    if (!*ret_jobs)
        return error_set(a->error, ERR_INVALID, "apply: jobs is missing");
    if (a->prune && !a->set)
        return error_set(a->error, ERR_INVALID,
                         "apply: prune needs a set: it deletes jobs of the set that are not in the files");
    return 0;
}

/* As much surely goes into one batch, whatever is in it already. */
static size_t one_batch(const struct scheduler *s)
{
    size_t most = s->journal->batch_bytes;

    return most && most / 8 < BATCH_BYTES_MAX / 2 ? most / 8 : BATCH_BYTES_MAX / 2;
}

/* One that the journal cannot take would end the leadership of every leader. */
static int check_sizes(struct apply *a, const json_t *jobs)
{
    size_t most = a->s->journal->batch_bytes;
    const char *name;
    json_t *job;

    json_object_foreach((json_t *)(uintptr_t)jobs, name, job)
    {
        size_t size = json_dumpb(job, NULL, 0, JSON_COMPACT);

        if (most && size + JOB_SPARE_BYTES > most - most / 4)
            return error_set(a->error, ERR_LIMIT,
                             "job %s has %zu bytes, but ZooKeeper's servers take %zu in one request: raise "
                             "their jute.maxbuffer",
                             name, size, most);
    }
    return 0;
}

int scheduler_apply(struct scheduler *s, const json_t *body, const char *by, struct scheduler_result *ret)
{
    struct apply a = {.s = s, .by = by, .error = &ret->error};
    const json_t *jobs = NULL;
    bool dry = false;
    int rc = enter_command(s, &ret->error);

    if (rc < 0)
        return rc;
    rc = read_apply(&a, body, &jobs, &dry);
    if (rc == 0)
        rc = read_jobs(&a, jobs);
    if (rc == 0)
        rc = check_sizes(&a, jobs);
    if (rc == 0 && a.prune)
        rc = check_pruned(&a);
    if (rc == 0 && s->o.max_state_bytes > 0 && s->state_bytes > (size_t)s->o.max_state_bytes)
        rc = error_set(&ret->error, ERR_LIMIT, "the state has %zu bytes, more than max_state allows",
                       s->state_bytes);
    if (rc == 0) {
        a.created = json_array();
        a.changed = json_array();
        a.deleted = json_array();
        a.warnings = json_array();
        a.staged = json_dumpb(jobs, NULL, 0, JSON_COMPACT) > one_batch(s) || a.prune;
        apply_changes(&a, jobs, dry);
        finish_command(s,
                       json_pack("{s:I,s:o,s:o,s:o,s:I,s:o}", "index",
                                 (json_int_t)(dry ? s->state.defs_index : turn_index(s)), "created",
                                 a.created, "changed", a.changed, "deleted", a.deleted, "unchanged",
                                 (json_int_t)a.unchanged, "warnings", a.warnings),
                       ret);
    }
    for (size_t i = 0; i < a.count; i++)
        job_unref(a.changes[i].def);
    free(a.changes);
    return rc;
}

int scheduler_delete(struct scheduler *s, const char *name, const char *by, struct scheduler_result *ret)
{
    struct job_state *j = NULL;
    int rc = enter_command(s, &ret->error);

    rc = rc < 0 ? rc : find_job(s, name, &j, &ret->error);
    if (rc < 0)
        return rc;
    LIST_EACH(link, &s->state.dependents)
    {
        const struct job_state *child = LIST_ITEM(link, struct job_state, dependents);

        for (size_t i = 0; i < child->def->after.count; i++)
            if (strcmp(child->def->after.items[i], name) == 0)
                return error_set(&ret->error, ERR_CONFLICT, "%s comes after %s; delete or change it first",
                                 child->name, name);
    }
    put_delete(s, j, false, by);
    return finish_command(s, json_pack("{s:s}", "job", name), ret);
}

/* ---- pause and resume ---- */

int scheduler_pause(struct scheduler *s, const char *name, int64_t until_ms, const char *reason,
                    const char *by, struct scheduler_result *ret)
{
    struct job_state *j = NULL, *each, *next;
    struct record *r;
    int rc = enter_command(s, &ret->error);

    if (rc == 0 && name)
        rc = find_job(s, name, &j, &ret->error);
    if (rc == 0 && until_ms && until_ms <= s->now_ms)
        rc = error_set(&ret->error, ERR_INVALID, "until is in the past");
    if (rc < 0)
        return rc;
    if (j)
        planner_account(s, j, "paused");
    HASH_ITER(by_name, s->state.jobs, each, next)
    {
        if (!j && each->def)
            planner_account(s, each, "paused");
    }
    r = turn_record(s, RECORD_PAUSE);
    PUT_TEXT(s, r, job, name);
    if (until_ms)
        PUT_INT(s, r, until_ms, until_ms);
    PUT_TEXT(s, r, reason, reason);
    PUT_TEXT(s, r, by, by);
    turn_commit(s, r);
    HASH_ITER(by_name, s->state.jobs, each, next)
    {
        if (!j || each == j)
            turn_wake_job(s, each, s->now_ms);
    }
    return finish_command(s, json_pack("{s:s?,s:b}", "job", name, "paused", 1), ret);
}

int scheduler_resume(struct scheduler *s, const char *name, const char *by, struct scheduler_result *ret)
{
    struct job_state *j = NULL, *each, *next;
    struct record *r;
    int rc = enter_command(s, &ret->error);

    if (rc == 0 && name)
        rc = find_job(s, name, &j, &ret->error);
    if (rc == 0 && j && !j->paused && s->state.paused)
        rc = error_set(&ret->error, ERR_CONFLICT, "all jobs are paused; resume --all");
    if (rc < 0)
        return rc;
    if (j ? j->paused : s->state.paused) {
        HASH_ITER(by_name, s->state.jobs, each, next)
        {
            if ((!j || each == j) && each->def)
                planner_skip_to(s, each, s->now_ms, VERDICT_PAUSED,
                                each->paused ? each->pause_reason : s->state.pause_reason);
        }
        r = turn_record(s, RECORD_RESUME);
        PUT_TEXT(s, r, job, name);
        PUT_TEXT(s, r, by, by);
        turn_commit(s, r);
        HASH_ITER(by_name, s->state.jobs, each, next)
        {
            turn_wake_job(s, each, s->now_ms);
        }
    }
    return finish_command(s, json_pack("{s:s?,s:b}", "job", name, "paused", 0), ret);
}

/* ---- trigger ---- */

struct trigger {
    const char *key;
    json_t *params;
    bool queue, children;
    char digest[33];
};

static int read_trigger(const json_t *body, struct trigger *t, struct error *error)
{
    const char *key, *name;
    json_t *value, *item;
    char *text;

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
    json_object_foreach(t->params, name, item) if (!json_is_string(item)) return error_set(
        error, ERR_INVALID, "trigger: parameter %s is not a string", name);
    if (t->params && json_dumpb(t->params, NULL, 0, JSON_COMPACT) > PARAMS_BYTES_MAX)
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
static int trigger_overlap(struct job_state *j, const struct trigger *t, struct error *error)
{
    if (j->def->concurrency == JOB_QUEUE || t->queue)
        return rules_waiting_count(j) >= j->def->queue_max
                   ? error_set(error, ERR_LIMIT, "%d runs of %s are waiting already", rules_waiting_count(j),
                               j->name)
                   : 0;
    LIST_EACH(link, &j->runs)
    {
        const struct run *r = LIST_ITEM(link, struct run, of_job);

        if (j->def->concurrency == JOB_FORBID && r->fired)
            return error_set(error, ERR_CONFLICT,
                             "%s has not ended and the job forbids overlap; --queue waits for it", r->id);
    }
    return 0;
}

int scheduler_trigger(struct scheduler *s, const char *name, const json_t *body, const char *by,
                      struct scheduler_result *ret)
{
    struct trigger t = {0};
    struct trigger_key *known;
    struct job_state *j = NULL;
    char id[RUN_ID_MAX];
    struct record *r;
    int64_t at_ms;
    int rc = enter_command(s, &ret->error);

    rc = rc < 0 ? rc : read_trigger(body, &t, &ret->error);
    rc = rc < 0 ? rc : find_job(s, name, &j, &ret->error);
    if (rc < 0)
        return rc;
    known = t.key ? state_key(&s->state, name, t.key) : NULL;
    if (known && strcmp(known->digest, t.digest) != 0)
        return error_set(&ret->error, ERR_CONFLICT, "key %s was used for %s with other parameters", t.key,
                         known->run);
    if (known) {
        return finish_command(s, json_pack("{s:s,s:b}", "run", known->run, "existing", 1), ret);
    }
    rc = trigger_overlap(j, &t, &ret->error);
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
    if (j->def->concurrency == JOB_REPLACE)
        planner_stop_others(s, j, state_run(&s->state, id));
    turn_wake_run(s, state_run(&s->state, id), s->now_ms);
    return finish_command(s, json_pack("{s:s,s:b}", "run", id, "existing", 0), ret);
}

int scheduler_kill(struct scheduler *s, const char *id, const char *by, struct scheduler_result *ret)
{
    char job[RUN_ID_MAX];
    int64_t at_ms;
    bool has_ms;
    struct run *r;
    int rc = enter_command(s, &ret->error);

    if (rc < 0)
        return rc;
    if (run_id_parse(id, job, &at_ms, &has_ms) < 0)
        return error_set(&ret->error, ERR_INVALID, "%.150s is not a run id (JOB@20261122T030000Z)", id);
    r = state_run(&s->state, id);
    if (!r)
        return error_set(&ret->error, ERR_NOT_FOUND, "no unfinished run %s", id);
    launch_stop(s, r, STOP_KILLED, by);
    return finish_command(s, json_pack("{s:s}", "run", id), ret);
}

/* ---- backfill ---- */

static int read_instant(const json_t *body, const char *key, int64_t *ret, struct error *error)
{
    const char *text = json_string_value(json_object_get(body, key));

    if (!text)
        return error_set(error, ERR_INVALID, "backfill: %s is missing", key);
    return instant_parse(text, ret, error) < 0 ? error_prefix(error, "backfill: %s: ", key) : 0;
}

/* "existing": fire times (milliseconds) that have a run in history; the caller looked them up. */
static bool has_run(const json_t *existing, int64_t at_ms)
{
    const json_t *item;
    size_t i;

    json_array_foreach(existing, i, item) if (json_integer_value(item) == at_ms) return true;
    return false;
}

/* Another backfill of the job has it on its list, still to be done. */
static bool being_backfilled(const struct job_state *j, int64_t at_ms)
{
    LIST_EACH(link, &j->backfills)
    {
        const struct backfill *b = LIST_ITEM(link, struct backfill, of_job);

        for (size_t i = b->done; i < json_array_size(b->times); i++)
            if (json_integer_value(json_array_get(b->times, i)) == at_ms)
                return true;
    }
    return false;
}

static int backfill_times(struct scheduler *s, struct job_state *j, const json_t *body, int64_t from_ms,
                          int64_t to_ms, json_t *times, struct error *error)
{
    struct schedule *schedule = rules_schedule(s, j);
    bool again = json_is_true(json_object_get(body, "again"));
    const json_t *existing = json_object_get(body, "existing");
    char id[RUN_ID_MAX];

    if (!schedule)
        return error_set(error, ERR_INVALID, "%s has no schedule to take fire times from", j->name);
    for (int64_t at = schedule_next(schedule, (from_ms + 999) / 1000 - 1);
         at != SCHEDULE_NEVER && at <= to_ms / 1000; at = schedule_next(schedule, at)) {
        if (!again && (has_run(existing, at * 1000) || being_backfilled(j, at * 1000) ||
                       state_run(&s->state, run_id_format(j->name, at * 1000, false, id))))
            continue;
        if (json_array_size(times) == BACKFILL_TIMES_MAX)
            return error_set(error, ERR_LIMIT, "more than %d fire times; take a shorter range",
                             BACKFILL_TIMES_MAX);
        json_array_append_new(times, json_integer(at * 1000));
    }
    return 0;
}

static json_t *backfill_reply(const char *name, const json_t *times)
{
    json_t *first = json_array();
    char text[TEXT_NUMBER_BUFFER];

    for (size_t i = 0; i < json_array_size(times) && i < 100; i++)
        json_array_append_new(first, json_string(instant_format(json_integer_value(json_array_get(times, i)),
                                                                INSTANT_S, text, sizeof(text))));
    return json_pack("{s:s,s:I,s:o}", "job", name, "count", (json_int_t)json_array_size(times), "fire_times",
                     first);
}

int scheduler_backfill(struct scheduler *s, const char *name, const json_t *body, const char *by,
                       struct scheduler_result *ret)
{
    const json_t *parallel = json_object_get(body, "max_parallel");
    int64_t from_ms = 0, to_ms = 0, max_parallel = parallel ? json_integer_value(parallel) : 1;
    struct job_state *j = NULL;
    json_t *times;
    int rc = enter_command(s, &ret->error);

    rc = rc < 0 ? rc : find_job(s, name, &j, &ret->error);
    rc = rc < 0 ? rc : read_instant(body, "from", &from_ms, &ret->error);
    rc = rc < 0 ? rc : read_instant(body, "to", &to_ms, &ret->error);
    if (rc < 0)
        return rc;
    if (max_parallel < 1 || max_parallel > 1000)
        return error_set(&ret->error, ERR_INVALID, "backfill: max_parallel is 1 to 1000");
    if (to_ms > j->cursor_ms)
        to_ms = j->cursor_ms; /* what comes later fires by itself */
    times = json_array();
    rc = backfill_times(s, j, body, from_ms, to_ms, times, &ret->error);
    if (rc == 0) {
        if (json_array_size(times) && !json_is_true(json_object_get(body, "dry_run"))) {
            struct record *r = turn_record(s, RECORD_BACKFILL);

            PUT_TEXT(s, r, job, name);
            PUT_JSON(s, r, report, times);
            PUT_INT(s, r, max_parallel, max_parallel);
            if (json_is_true(json_object_get(body, "again")))
                PUT_INT(s, r, again, 1);
            PUT_TEXT(s, r, by, by);
            turn_commit(s, r);
            turn_wake_job(s, j, s->now_ms);
        }
        finish_command(s, backfill_reply(name, times), ret);
    }
    json_decref(times);
    return rc;
}

/* ---- notifications ---- */

bool scheduler_notice_next(struct scheduler *s, const struct list **at, struct scheduler_notice *ret)
{
    const struct list *next = *at ? (*at)->next : s->state.notices.next;
    const struct notice *n;

    if (!s->leading || s->stopping || next == &s->state.notices)
        return false;
    n = LIST_ITEM(next, const struct notice, all);
    *ret = (struct scheduler_notice){n->id, n->url, n->body};
    *at = next;
    return true;
}

void scheduler_notice_done(struct scheduler *s, const char *id, int status, const char *text)
{
    struct record *r;

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
