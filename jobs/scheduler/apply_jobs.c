/* The command apply: many definitions, checked as a whole before the first record. See commands.c.
 *
 * A large one goes on over many turns: some of its jobs are read in each, then all is checked in one, then some are
 * staged in each, then one record makes all of it effective. From the first staged part on no other change of
 * definitions is taken, and jobs that it changes are not planned: the new definition is in force from when its part was
 * staged, as if all had been done at once. When the leader goes before that record nothing of it has happened.
 */
#include "jobs/base/alloc.h"
#include "jobs/base/near.h"
#include "jobs/definition/after.h"
#include "jobs/scheduler/scheduler_priv.h"

#include <stdio.h>

#define JOB_SPARE_BYTES 4096 /* of a record, beside the job in it */

struct change {
    struct job *def;
    struct job_state *old; /* NULL: new */
    bool same;
};

enum apply_step { APPLY_READS, APPLY_CHECKS, APPLY_STAGES, APPLY_ENDS };

struct apply {
    struct object object;
    struct scheduler *s;
    json_t *body;
    const json_t *jobs;
    const char *set;
    char *by;
    bool prune, dry;
    bool has_check_index;
    json_int_t check_index;
    enum apply_step step;
    void *at; /* of the jobs: the next to be read */
    struct change *changes;
    size_t count;
    size_t next; /* of the changes: to be staged */
    size_t unchanged;
    size_t grows; /* the state, in bytes */
    bool staged;  /* larger than a batch: in parts, which one last record makes effective */
    json_t *created, *changed, *deleted, *warnings;
    struct error *error;
    struct scheduler_result result; /* of one that goes on */
    void (*done)(void *arg, int rc, struct scheduler_result *result);
    void *arg;
};

/* It is of the set, and not in its files any more. */
static bool is_pruned(const struct apply *a, const struct job_state *j)
{
    return a->prune && j->def && j->set && strcmp(j->set, a->set) == 0 && !json_object_get(a->jobs, j->name);
}

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

/* A job that is not in the change set, as it will be. */
static bool find_other(void *arg, const char *name, const struct job **ret)
{
    const struct apply *a = OBJECT(struct apply, arg);
    struct job_state *j = state_job(&a->s->state, name);

    if (!j || is_pruned(a, j))
        return false;
    *ret = j->def;
    return true;
}

static int on_missing(void *arg, const struct job *job, size_t parent)
{
    const struct apply *a = OBJECT(struct apply, arg);

    return error_set(a->error, ERR_INVALID, "%s: after: there is no job %s", job->name,
                     job->after.items[parent]);
}

static int on_circle(void *arg, const struct job *const *path, size_t count, size_t parent)
{
    const struct apply *a = OBJECT(struct apply, arg);
    struct text text;
    int rc;

    text_init(&text, AFTER_CIRCLE_TEXT_MAX);
    rc = after_circle_text(path, count, &text);
    if (rc == 0)
        rc = error_set(a->error, ERR_INVALID, "%s: after: %s", path[count - 1]->name, text_str(&text));
    text_release(&text);
    return rc;
}

static int check_after(struct apply *a)
{
    const struct after_check check = {find_other, on_missing, on_circle, a};
    const struct job **jobs = calloc(a->count + 1, sizeof(*jobs));
    int rc;

    if (!jobs)
        return ERR_NOMEM;
    for (size_t i = 0; i < a->count; i++)
        jobs[i] = a->changes[i].def;
    rc = after_check(&check, jobs, a->count);
    free(jobs);
    return rc;
}

struct parent {
    const char *name;
    size_t children; /* of the change set */
    UT_hash_handle hh;
};

static struct parent *parent_get(struct parent **table, const char *name)
{
    struct parent *p = NULL;

    HASH_FIND_STR(*table, name, p);
    if (!p) {
        p = alloc_zero(sizeof(*p));
        p->name = name;
        HASH_ADD_KEYPTR(hh, *table, p->name, strlen(p->name), p);
    }
    return p;
}

/* More than there may be are left alone where they are, and do not grow. */
static int check_parent(struct apply *a, const struct parent *p)
{
    const struct state_children *before = state_after(&a->s->state, p->name);
    size_t count = p->children;

    for (size_t i = 0; before && i < before->count; i++)
        count += !json_object_get(a->jobs, before->jobs[i]->name) && !is_pruned(a, before->jobs[i]);
    if (count <= SCHEDULER_CHILDREN_MAX || (before && count <= before->count))
        return 0;
    return error_set(a->error, ERR_LIMIT, "after: %zu jobs would come after %s; at most %d", count, p->name,
                     SCHEDULER_CHILDREN_MAX);
}

static int check_children(struct apply *a)
{
    struct parent *table = NULL, *p, *next;
    int rc = 0;

    for (size_t i = 0; i < a->count; i++)
        for (size_t k = 0; k < a->changes[i].def->after.count; k++)
            parent_get(&table, a->changes[i].def->after.items[k])->children++;
    HASH_ITER(hh, table, p, next)
    {
        rc = rc < 0 ? rc : check_parent(a, p);
        HASH_DEL(table, p);
        free(p);
    }
    return rc;
}

static int check_pool(struct apply *a, const struct job *def)
{
    for (size_t i = 0; def->pool && i < a->s->o.pool_count; i++)
        if (strcmp(a->s->o.pools[i].name, def->pool) == 0)
            return 0;
    return def->pool ? error_set(a->error, ERR_INVALID, "pool: the server has no pool %s", def->pool) : 0;
}

static int read_job(struct apply *a, const char *name, const json_t *item)
{
    struct job *def;
    int rc;

    if (!job_name_valid(name))
        return error_set(a->error, ERR_INVALID,
                         "%.120s: not a job name: lower-case letters, digits and dashes", name);
    rc = job_from_json(&def, name, item, a->s->o.zones, a->error);
    if (rc < 0)
        return error_prefix(a->error, "%s: ", name);
    a->changes[a->count++].def = def;
    rc = check_engines(a, def);
    rc = rc < 0 ? rc : check_pool(a, def);
    return rc < 0 ? error_prefix(a->error, "%s: ", name) : 0;
}

/* 1: all are read. */
static int read_some(struct apply *a, size_t most)
{
    json_t *jobs = (json_t *)(uintptr_t)a->jobs;
    int rc = 0;

    for (; a->at && most > 0 && rc == 0; most--) {
        rc = read_job(a, json_object_iter_key(a->at), json_object_iter_value(a->at));
        a->at = json_object_iter_next(jobs, a->at);
    }
    return rc < 0 ? rc : !a->at;
}

/* Jobs that stay must keep their parents. Those of the change set have been looked at. */
static int check_pruned(struct apply *a)
{
    struct job_state *j, *next;

    HASH_ITER(by_name, a->s->state.jobs, j, next)
    {
        const struct state_children *children = is_pruned(a, j) ? state_after(&a->s->state, j->name) : NULL;

        for (size_t i = 0; children && i < children->count; i++) {
            const char *child = children->jobs[i]->name;

            if (!json_object_get(a->jobs, child) && !is_pruned(a, children->jobs[i]))
                return error_set(a->error, ERR_INVALID, "%s: after: there is no job %s", child, j->name);
        }
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
    if (old && a->staged)
        old->live.held = true; /* until the new definition is in force */
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

/* What there is to do, and what to say of it. */
static void compare(struct apply *a)
{
    struct job_state *j, *next;

    for (size_t i = 0; i < a->count; i++) {
        struct change *c = &a->changes[i];

        c->same = c->old && job_equal(c->old->def, c->def) &&
                  (!a->set || (c->old->set && strcmp(c->old->set, a->set) == 0));
        a->unchanged += c->same;
        if (!c->same)
            json_array_append_new(c->old ? a->changed : a->created, json_string(c->def->name));
    }
    HASH_ITER(by_name, a->s->state.jobs, j, next)
    {
        if (is_pruned(a, j))
            json_array_append_new(a->deleted, json_string(j->name));
    }
}

/* 1: all are. */
static int stage_some(struct apply *a, size_t most)
{
    for (; a->next < a->count && most > 0; a->next++) {
        const struct change *c = &a->changes[a->next];

        if (c->same)
            continue;
        most--;
        warn_never(a, c->def);
        if (!a->dry)
            put_job(a, c);
    }
    return a->next == a->count;
}

static void prune_and_end(struct apply *a)
{
    json_t *name;
    size_t i;

    if (a->dry)
        return;
    json_array_foreach(a->deleted, i, name)
    {
        struct job_state *j = state_job(&a->s->state, json_string_value(name));

        if (j)
            commands_put_delete(a->s, j, a->staged, a->by);
    }
    if (a->staged)
        put_apply(a);
}

static int read_apply(struct apply *a, const json_t *body)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)body, key, value)
    {
        if (strcmp(key, "jobs") == 0 && json_is_object(value))
            a->jobs = value;
        else if (strcmp(key, "set") == 0 && (json_is_string(value) || json_is_null(value)))
            a->set = json_string_value(value);
        else if (strcmp(key, "prune") == 0 && json_is_boolean(value))
            a->prune = json_is_true(value);
        else if (strcmp(key, "dry_run") == 0 && json_is_boolean(value))
            a->dry = json_is_true(value);
        else if (strcmp(key, "check_index") == 0 && json_is_integer(value)) {
            a->has_check_index = true;
            a->check_index = json_integer_value(value);
        } else
            return error_set(a->error, ERR_INVALID, "apply: %s is not known, or of the wrong type", key);
    }
    if (!a->jobs)
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
static int check_sizes(struct apply *a)
{
    size_t most = a->s->journal->batch_bytes;
    const char *name;
    json_t *job;

    json_object_foreach((json_t *)(uintptr_t)a->jobs, name, job)
    {
        size_t size = json_dumpb(job, NULL, 0, JSON_COMPACT);
        const struct job_state *old = state_job(&a->s->state, name);

        if (!old)
            a->grows += size + STATE_JOB_BYTES;
        else if (size > old->def_bytes)
            a->grows += size - old->def_bytes;
        if (most && size + JOB_SPARE_BYTES > most - most / 4)
            return error_set(a->error, ERR_LIMIT,
                             "job %s has %zu bytes, but ZooKeeper's servers take %zu in one request: raise "
                             "their jute.maxbuffer",
                             name, size, most);
    }
    return 0;
}

static int check_index(struct apply *a)
{
    if (!a->has_check_index || (uint64_t)a->check_index == a->s->state.defs_index)
        return 0;
    return error_set(a->error, ERR_CONFLICT, "the jobs were changed at index %llu, after index %lld",
                     (unsigned long long)a->s->state.defs_index, (long long)a->check_index);
}

/* All that depends on the jobs that are there, which may have changed since the first of these was read. */
static int check_all(struct apply *a)
{
    int rc = check_index(a);

    for (size_t i = 0; i < a->count; i++)
        a->changes[i].old = state_job(&a->s->state, a->changes[i].def->name);
    rc = rc < 0 ? rc : check_after(a);
    rc = rc < 0 ? rc : check_children(a);
    rc = rc < 0 ? rc : check_sizes(a);
    if (rc == 0 && a->prune)
        rc = check_pruned(a);
    rc = rc < 0 ? rc : commands_room(a->s, STATE_JOBS, a->grows, a->error);
    if (rc < 0)
        return rc;
    a->created = json_array();
    a->changed = json_array();
    a->deleted = json_array();
    a->warnings = json_array();
    a->staged = a->done || json_dumpb(a->jobs, NULL, 0, JSON_COMPACT) > one_batch(a->s) || a->prune;
    compare(a);
    return 0;
}

static void apply_free(struct apply *a)
{
    for (size_t i = 0; i < a->count; i++)
        job_unref(a->changes[i].def);
    free(a->changes);
    free(a->by);
    json_decref(a->created);
    json_decref(a->changed);
    json_decref(a->deleted);
    json_decref(a->warnings);
    json_decref(a->body);
    OBJECT_FREE(struct apply, a);
}

static struct apply *apply_new(struct scheduler *s, const json_t *body, const char *by, struct error *error)
{
    struct apply *a = OBJECT_NEW(struct apply);

    a->s = s;
    a->body = json_incref((json_t *)(uintptr_t)body);
    a->by = alloc_text(by);
    a->error = error;
    return a;
}

/* Its form, its size and the index; the rest comes later. */
static int apply_begin(struct apply *a)
{
    int rc = read_apply(a, a->body);

    rc = rc < 0 ? rc : check_index(a);
    if (rc < 0)
        return rc;
    if (json_object_size(a->jobs) > SCHEDULER_APPLY_JOBS_MAX)
        return error_set(a->error, ERR_LIMIT, "apply: %zu jobs at once; at most %d",
                         json_object_size(a->jobs), SCHEDULER_APPLY_JOBS_MAX);
    a->changes = alloc_zero((json_object_size(a->jobs) + 1) * sizeof(*a->changes));
    a->at = json_object_iter((json_t *)(uintptr_t)a->jobs);
    return 0;
}

static int apply_reply(struct apply *a, struct scheduler_result *ret)
{
    struct scheduler *s = a->s;

    return commands_finish(s,
                           json_pack("{s:I,s:O,s:O,s:O,s:I,s:O}", "index",
                                     (json_int_t)(a->dry ? s->state.defs_index : turn_index(s)), "created",
                                     a->created, "changed", a->changed, "deleted", a->deleted, "unchanged",
                                     (json_int_t)a->unchanged, "warnings", a->warnings),
                           ret);
}

int apply_refuses(const struct scheduler *s, struct error *error)
{
    if (!s->apply || s->apply->dry || s->apply->step < APPLY_STAGES)
        return 0;
    return error_set(error, ERR_BUSY, "a large apply is being recorded; try again in a moment");
}

static int apply_at_once(struct apply *a, struct scheduler_result *ret)
{
    int rc = read_some(a, SIZE_MAX);

    rc = rc < 0 ? rc : check_all(a);
    if (rc < 0)
        return rc;
    stage_some(a, SIZE_MAX);
    prune_and_end(a);
    return apply_reply(a, ret);
}

int scheduler_apply(struct scheduler *s, const json_t *body, const char *by, struct scheduler_result *ret)
{
    struct apply *a;
    int rc = commands_enter(s, &ret->error);

    rc = rc < 0 ? rc : apply_refuses(s, &ret->error);
    if (rc < 0)
        return rc;
    a = apply_new(s, body, by, &ret->error);
    rc = apply_begin(a);
    rc = rc < 0 ? rc : apply_at_once(a, ret);
    apply_free(a);
    return rc;
}

/* ---- one that goes on ---- */

static size_t items_of(const struct scheduler *s)
{
    return s->o.apply_items ? s->o.apply_items : APPLIED_PER_STEP;
}

void scheduler_apply_then(struct scheduler *s, const json_t *body, const char *by,
                          void (*done)(void *arg, int rc, struct scheduler_result *result), void *arg)
{
    struct scheduler_result result = {0};
    struct apply *a = NULL;
    int rc = commands_enter(s, &result.error);

    rc = rc < 0 ? rc : apply_refuses(s, &result.error);
    if (rc == 0) {
        a = apply_new(s, body, by, &result.error);
        rc = apply_begin(a);
    }
    if (rc == 0 && json_object_size(a->jobs) <= items_of(s))
        rc = apply_at_once(a, &result);
    else if (rc == 0 && s->apply)
        rc = error_set(&result.error, ERR_BUSY,
                       "another large apply is being worked off; try again in a moment");
    else if (rc == 0) {
        a->error = &a->result.error;
        a->done = done;
        a->arg = arg;
        s->apply = a;
        reconcile_due(s); /* wakes it */
        return;
    }
    if (a)
        apply_free(a);
    done(arg, rc, &result);
}

/* The caller's turn comes last: it may ask for the next one. */
static void apply_end(struct scheduler *s, int rc)
{
    struct apply *a = s->apply;

    s->apply = NULL;
    a->done(a->arg, rc, &a->result);
    apply_free(a);
}

bool apply_wants_turn(const struct scheduler *s)
{
    return s->apply && s->pending_batch_count < SCHEDULER_PENDING_BATCHES_MAX / 2;
}

void apply_step(struct scheduler *s)
{
    struct apply *a = s->apply;
    int rc = 0;

    if (!apply_wants_turn(s))
        return;
    switch (a->step) {
    case APPLY_READS:
        rc = read_some(a, items_of(s));
        break;
    case APPLY_CHECKS:
        rc = check_all(a);
        rc = rc < 0 ? rc : 1;
        break;
    case APPLY_STAGES:
        rc = stage_some(a, items_of(s));
        break;
    case APPLY_ENDS:
        prune_and_end(a);
        apply_reply(a, &a->result);
        apply_end(s, 0);
        return;
    }
    if (rc < 0)
        apply_end(s, rc);
    else
        a->step += (unsigned)rc;
}

void apply_drop(struct scheduler *s, const char *why)
{
    struct apply *a = s->apply;

    if (!a)
        return;
    for (size_t i = 0; i < a->next; i++)
        if (a->changes[i].old)
            a->changes[i].old->live.held = false;
    error_set(a->error, ERR_NO_LEADER, "%s; nothing was changed", why);
    apply_end(s, ERR_NO_LEADER);
}
