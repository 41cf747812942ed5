/* What is wrong with a change set: all of it at once, each fault with its job. Nothing here changes anything.
 *
 * What a set owns is changed in its name only: a job of another set, or of none where the apply names one, is a conflict
 * unless take_over is asked for.
 */
#include "jobs/base/alloc.h"
#include "jobs/base/near.h"
#include "jobs/base/utf8.h"
#include "jobs/definition/after.h"
#include "jobs/scheduler/apply_jobs.h"

#include <assert.h>
#include <stdio.h>

#define JOB_SPARE_BYTES 4096 /* of a record, beside the job in it */

/* ---- faults ---- */

void apply_fault(struct apply *a, const char *job, const struct error *fault)
{
    size_t whole = utf8_check(fault->text, strlen(fault->text));

    assert(fault->code < 0);
    if (a->fault_count++ == 0) {
        *a->error = *fault;
        if (fault->code == ERR_UNSUPPORTED) /* the caller is wrong, not the server */
            a->error->code = ERR_INVALID;
        error_prefix(a->error, "%s: ", job);
    }
    if (a->fault_count <= APPLY_FAULTS_MAX)
        json_array_append_new(a->faults, json_pack("{s:s,s:s%}", "job", job, "text", fault->text, whole));
}

static void faultf(struct apply *a, const char *job, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void faultf(struct apply *a, const char *job, const char *format, ...)
{
    struct error fault;
    va_list ap;

    va_start(ap, format);
    error_setv(&fault, ERR_INVALID, format, ap);
    va_end(ap);
    apply_fault(a, job, &fault);
}

int apply_judge(struct apply *a)
{
    size_t n = strlen(a->error->text);

    assert(a->fault_count == 0 || a->error->code < 0);
    if (a->fault_count == 0)
        return 0;
    if (a->fault_count > 1)
        snprintf(a->error->text + n, sizeof(a->error->text) - n, " (and %zu more)", a->fault_count - 1);
    return a->error->code;
}

/* ---- engines, pools ---- */

static void check_engine(struct apply *a, const struct job *def, const char *name)
{
    struct scheduler *s = a->s;
    const char *names[SCHEDULER_ENGINES_MAX];
    char hint[NEAR_HINT_BUFFER];
    struct engine_faults faults = {.texts = json_array()};
    struct engine *engine;
    const json_t *text;
    size_t i;

    if (run_queue_of_engine(s, name, &engine)) {
        engine_check_all(engine, def, &faults);
    } else {
        for (size_t e = 0; e < s->o.engine_count; e++)
            names[e] = s->o.engines[e]->name;
        engine_fault(&faults, ERR_INVALID, "engine: the server has no engine %s%s", name,
                     near_hint(near_find(name, names, s->o.engine_count), hint, sizeof(hint)));
    }
    assert(json_array_size(faults.texts) == 0 || faults.first.code < 0);
    json_array_foreach(faults.texts, i, text)
    {
        struct error fault;

        error_set(&fault, faults.first.code, "%s", json_string_value(text));
        apply_fault(a, def->name, &fault);
    }
    json_decref(faults.texts);
}

static void check_pool(struct apply *a, const struct job *def)
{
    for (size_t i = 0; def->pool && i < a->s->o.pool_count; i++)
        if (strcmp(a->s->o.pools[i].name, def->pool) == 0)
            return;
    if (def->pool)
        faultf(a, def->name, "pool: the server has no pool %s", def->pool);
}

/* ---- parents ---- */

/* A job that is not in the change set, as it will be. */
static bool find_other(void *arg, const char *name, const struct job **ret)
{
    const struct apply *a = OBJECT(struct apply, arg);
    struct job_state *j = state_job(&a->s->state, name);

    if (!j || apply_is_pruned(a, j))
        return false;
    *ret = j->def;
    return true;
}

static int on_missing(void *arg, const struct job *job, size_t parent)
{
    faultf(OBJECT(struct apply, arg), job->name, "after: there is no job %s", job->after.items[parent]);
    return 0;
}

static int on_circle(void *arg, const struct job *const *path, size_t count, size_t parent)
{
    struct text text;
    int rc;

    text_init(&text, AFTER_CIRCLE_TEXT_MAX);
    rc = after_circle_text(path, count, &text);
    if (rc == 0)
        faultf(OBJECT(struct apply, arg), path[count - 1]->name, "after: %s", text_str(&text));
    text_release(&text);
    return rc;
}

static int check_after(struct apply *a)
{
    const struct after_check check = {find_other, on_missing, on_circle, a};
    const struct job **jobs = calloc(a->count + 1, sizeof(*jobs));
    int rc;

    assert(a->count <= json_object_size(a->jobs));
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

    assert(p->children > 0);
    for (size_t i = 0; before && i < before->count; i++)
        count += !json_object_get(a->jobs, before->jobs[i]->name) && !apply_is_pruned(a, before->jobs[i]);
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
    assert(!table);
    return rc;
}

void apply_check_job(struct apply *a, const struct job *def)
{
    assert(def->engine.count > 0 || a->s->o.default_engine);
    for (size_t e = 0; e < def->engine.count; e++)
        check_engine(a, def, def->engine.items[e]);
    if (def->engine.count == 0)
        check_engine(a, def, a->s->o.default_engine);
    check_pool(a, def);
}

int apply_check_parents(struct apply *a)
{
    int rc;

    assert(a->count <= json_object_size(a->jobs));
    if (a->count < json_object_size(a->jobs)) /* a parent may be one that cannot be read */
        return apply_judge(a);
    rc = check_after(a);
    rc = rc < 0 ? rc : apply_judge(a);
    return rc < 0 ? rc : check_children(a);
}

int apply_check_pruned(struct apply *a)
{
    struct job_state *j, *next;

    assert(a->prune && a->set);
    HASH_ITER(by_name, a->s->state.jobs, j, next)
    {
        const struct state_children *children = apply_is_pruned(a, j) ? state_after(&a->s->state, j->name)
                                                                      : NULL;

        for (size_t i = 0; children && i < children->count; i++) {
            const char *child = children->jobs[i]->name;

            if (!json_object_get(a->jobs, child) && !apply_is_pruned(a, children->jobs[i]))
                return error_set(a->error, ERR_INVALID, "%s: after: there is no job %s", child, j->name);
        }
    }
    return 0;
}

/* ---- whose a job is ---- */

static bool same_owner(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool apply_is_unlisted(const struct apply *a, const struct job_state *j)
{
    return j->def && same_owner(j->set, a->set) && !json_object_get(a->jobs, j->name);
}

bool apply_is_pruned(const struct apply *a, const struct job_state *j)
{
    return a->prune && a->set && apply_is_unlisted(a, j);
}

bool apply_is_unchanged(const struct apply *a, const struct apply_change *c)
{
    assert(!c->old || c->old->def);
    return c->old && job_equal(c->old->def, c->def) &&
           ((!a->set && !a->take_over) || same_owner(c->old->set, a->set));
}

static bool is_anothers(const struct apply *a, const struct apply_change *c)
{
    return c->old && !same_owner(c->old->set, a->set) && !apply_is_unchanged(a, c);
}

bool apply_is_conflict(const struct apply *a, const struct apply_change *c)
{
    return !a->take_over && is_anothers(a, c);
}

bool apply_is_taken_over(const struct apply *a, const struct apply_change *c)
{
    return a->take_over && is_anothers(a, c);
}

const char *apply_owner(const char *set, char buffer[APPLY_OWNER_SIZE])
{
    if (!set)
        return "no set";
    snprintf(buffer, APPLY_OWNER_SIZE, "the set %.*s", APPLY_SET_BYTES_MAX, set);
    return buffer;
}

static void conflict_fault(struct apply *a, const struct apply_change *c)
{
    char from[APPLY_OWNER_SIZE], to[APPLY_OWNER_SIZE], hint[APPLY_OWNER_SIZE] = "";
    struct error fault;

    assert(c->old && apply_is_conflict(a, c));
    json_array_append_new(a->conflicts, json_pack("{s:s,s:s?}", "job", c->def->name, "set", c->old->set));
    if (a->dry)
        return;
    if (!a->set)
        snprintf(hint, sizeof(hint), "--set %.*s changes it, ", APPLY_SET_BYTES_MAX, c->old->set);
    error_set(&fault, ERR_CONFLICT, "it belongs to %s; %s--take-over makes it one of %s",
              apply_owner(c->old->set, from), hint, apply_owner(a->set, to));
    apply_fault(a, c->def->name, &fault);
}

int apply_check_owners(struct apply *a)
{
    assert(a->fault_count == 0); /* what was found before has been said */
    for (size_t i = 0; i < a->count; i++)
        if (apply_is_conflict(a, &a->changes[i]))
            conflict_fault(a, &a->changes[i]);
    return apply_judge(a);
}

int apply_check_empty(struct apply *a)
{
    struct job_state *j, *next;
    size_t count = 0;

    if (!a->prune || a->allow_empty || json_object_size(a->jobs) > 0)
        return 0;
    assert(a->set);
    HASH_ITER(by_name, a->s->state.jobs, j, next)
    {
        count += apply_is_pruned(a, j);
    }
    if (count == 0)
        return 0;
    return error_set(a->error, ERR_INVALID,
                     "apply: there is no job in it, and prune would delete all of the set %s: %zu %s; "
                     "--allow-empty does that",
                     a->set, count, count == 1 ? "job" : "jobs");
}

/* ---- sizes ---- */

/* One that the journal cannot take would end the leadership of every leader. */
int apply_check_sizes(struct apply *a)
{
    size_t most = a->s->journal->batch_bytes;

    assert(a->grows == 0);
    for (size_t i = 0; i < a->count; i++) {
        const struct apply_change *c = &a->changes[i];

        if (!c->old)
            a->grows += c->bytes + STATE_JOB_BYTES;
        else if (c->bytes > c->old->def_bytes)
            a->grows += c->bytes - c->old->def_bytes;
        if (most && c->bytes + JOB_SPARE_BYTES > most - most / 4)
            return error_set(a->error, ERR_LIMIT,
                             "job %s has %zu bytes, but ZooKeeper's servers take %zu in one request: raise "
                             "their jute.maxbuffer",
                             c->def->name, c->bytes, most);
    }
    return 0;
}
