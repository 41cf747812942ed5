/* The command apply: many definitions, checked as a whole before the first record. See commands.c.
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
};

struct apply {
    struct object object;
    struct scheduler *s;
    const json_t *jobs;
    const char *set, *by;
    bool prune;
    struct change *changes;
    size_t count;
    size_t unchanged;
    size_t grows; /* the state, in bytes */
    bool staged;  /* larger than a batch: in parts, which one last record makes effective */
    json_t *created, *changed, *deleted, *warnings;
    struct error *error;
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

static int read_jobs(struct apply *a)
{
    struct scheduler *s = a->s;
    const char *name;
    json_t *item;
    int rc;

    if (json_object_size(a->jobs) > SCHEDULER_APPLY_JOBS_MAX)
        return error_set(a->error, ERR_LIMIT, "apply: %zu jobs at once; at most %d",
                         json_object_size(a->jobs), SCHEDULER_APPLY_JOBS_MAX);
    a->changes = calloc(json_object_size(a->jobs) + 1, sizeof(*a->changes));
    if (!a->changes)
        return ERR_NOMEM;
    json_object_foreach((json_t *)(uintptr_t)a->jobs, name, item)
    {
        struct job *def;

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

        rc = check_engines(a, def);
        rc = rc < 0 ? rc : check_pool(a, def);
        if (rc < 0)
            return error_prefix(a->error, "%s: ", def->name);
    }
    rc = check_after(a);
    return rc < 0 ? rc : check_children(a);
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

static void apply_changes(struct apply *a, bool dry)
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
        if (!is_pruned(a, j))
            continue;
        json_array_append_new(a->deleted, json_string(j->name));
        if (!dry)
            commands_put_delete(a->s, j, a->staged, a->by);
    }
    if (a->staged && !dry)
        put_apply(a);
}

static int read_apply(struct apply *a, const json_t *body, bool *ret_dry)
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
            *ret_dry = json_is_true(value);
        else if (strcmp(key, "check_index") == 0 && json_is_integer(value)) {
            if ((uint64_t)json_integer_value(value) != a->s->state.defs_index)
                return error_set(
                    a->error, ERR_CONFLICT, "the jobs were changed at index %llu, after index %lld",
                    (unsigned long long)a->s->state.defs_index, (long long)json_integer_value(value));
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

int scheduler_apply(struct scheduler *s, const json_t *body, const char *by, struct scheduler_result *ret)
{
    struct apply a = {.object = OBJECT_MARK(struct apply), .s = s, .by = by, .error = &ret->error};
    bool dry = false;
    int rc = commands_enter(s, &ret->error);

    if (rc < 0)
        return rc;
    rc = read_apply(&a, body, &dry);
    if (rc == 0)
        rc = read_jobs(&a);
    if (rc == 0)
        rc = check_sizes(&a);
    if (rc == 0 && a.prune)
        rc = check_pruned(&a);
    if (rc == 0)
        rc = commands_room(s, STATE_JOBS, a.grows, &ret->error);
    if (rc == 0) {
        a.created = json_array();
        a.changed = json_array();
        a.deleted = json_array();
        a.warnings = json_array();
        a.staged = json_dumpb(a.jobs, NULL, 0, JSON_COMPACT) > one_batch(s) || a.prune;
        apply_changes(&a, dry);
        commands_finish(s,
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
