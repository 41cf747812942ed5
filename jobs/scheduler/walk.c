/* Walks over the live state, for answers that are made a piece at a time, and choices of a few out of many. They read only.
 */
#include "jobs/base/alloc.h"
#include "jobs/base/near.h"
#include "jobs/scheduler/scheduler_priv.h"

#include <assert.h>

/* ---- over the jobs ---- */

#define CHUNK     1024 /* jobs that are sorted together; the chunks are merged as they are read */
#define STEP_JOBS 32   /* looked at in one call before there is a row */
#define NEAR_WORK                                                                                            \
    2000000 /* pairs of letters that are compared for one name that is unknown: some milliseconds */

struct place {
    int64_t next_ms;
    struct job_state *job;
};

struct scheduler_walk {
    struct object object;
    struct scheduler *s;
    uint64_t generation; /* of the jobs: later they may be gone */
    bool by_next;
    char *set; /* NULL: any */
    const struct filter *filter;
    uint64_t fields;
    struct place *places;
    size_t count, seen; /* seen: placed by their next fire time, in whole chunks sorted */
    size_t *heads;      /* of each chunk: the first that was not read */
};

static struct scheduler_walk *walk_new(struct scheduler *s, bool by_next, const char *set)
{
    struct scheduler_walk *w = OBJECT_NEW(struct scheduler_walk);
    struct job_state *j, *next;

    w->s = s;
    w->generation = s->job_generation;
    w->by_next = by_next;
    w->set = alloc_text(set);
    w->places = alloc_zero((HASH_CNT(by_name, s->state.jobs) + 1) * sizeof(*w->places));
    HASH_ITER(by_name, s->state.jobs, j, next)
    {
        if (j->def && (!set || (j->set && strcmp(set, j->set) == 0)))
            w->places[w->count++].job = j;
    }
    w->heads = alloc_zero((w->count / CHUNK + 1) * sizeof(*w->heads));
    for (size_t i = 0; i <= w->count / CHUNK; i++)
        w->heads[i] = i * CHUNK;
    return w;
}

struct scheduler_walk *scheduler_jobs_walk(struct scheduler *s, const struct filter *filter, uint64_t fields)
{
    struct scheduler_walk *w = walk_new(s, true, NULL);

    w->filter = filter;
    w->fields = fields;
    return w;
}

struct scheduler_walk *scheduler_defs_walk(struct scheduler *s, const char *set)
{
    return walk_new(s, false, set);
}

void scheduler_walk_free(struct scheduler_walk *w)
{
    if (!w)
        return;
    free(w->set);
    free(w->places);
    free(w->heads);
    OBJECT_FREE(struct scheduler_walk, w);
}

static int by_next(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    if (x->next_ms != y->next_ms)
        return x->next_ms < y->next_ms ? -1 : 1;
    return strcmp(x->job->name, y->job->name);
}

/* Places some more; a chunk that is whole is sorted. */
static void place_some(struct scheduler_walk *w)
{
    assert(w->by_next && w->seen <= w->count);
    for (int i = 0; i < STEP_JOBS && w->seen < w->count; i++) {
        struct place *p = &w->places[w->seen++];
        size_t chunk = (w->seen - 1) / CHUNK * CHUNK;

        p->next_ms = p->job->def ? status_next_ms(w->s, p->job) : HEAP_NEVER;
        if (w->seen % CHUNK == 0 || w->seen == w->count)
            qsort(&w->places[chunk], w->seen - chunk, sizeof(*p), by_next);
    }
}

/* The least of the chunks' heads; NULL: all are read. */
static struct job_state *take_next(struct scheduler_walk *w)
{
    size_t best = SIZE_MAX;

    assert(w->seen == w->count);
    for (size_t i = 0; i <= w->count / CHUNK; i++) {
        size_t end = (i + 1) * CHUNK < w->count ? (i + 1) * CHUNK : w->count;

        if (w->heads[i] < end &&
            (best == SIZE_MAX || by_next(&w->places[w->heads[i]], &w->places[w->heads[best]]) < 0))
            best = i;
    }
    return best == SIZE_MAX ? NULL : w->places[w->heads[best]++].job;
}

int scheduler_walk_next(struct scheduler_walk *w, const char **ret_name, json_t **ret)
{
    struct job_state *j;

    invariant_turn(w->s);
    *ret = NULL;
    if (w->generation != w->s->job_generation)
        return ERR_DEPOSED;
    if (w->by_next && w->seen < w->count) {
        place_some(w);
        return 0;
    }
    if (w->by_next)
        j = take_next(w);
    else
        j = w->seen < w->count ? w->places[w->seen++].job : NULL;
    if (!j)
        return 1;
    *ret_name = j->name;
    if (j->def && !w->by_next)
        *ret = status_def(j);
    else if (j->def && filter_job(w->filter, &w->s->state, j, w->s->o.default_engine))
        *ret = job_row(w->s, j, w->fields);
    return 0;
}

/* ---- a name that is not there ---- */

const char *scheduler_near_job(struct scheduler *s, const char *name)
{
    const char *near = NULL;
    struct job_state *j, *next;
    size_t length = strlen(name), left = NEAR_WORK;

    HASH_ITER(by_name, s->state.jobs, j, next)
    {
        const char *names[2] = {near ? near : j->name, j->name};
        size_t work = 32 + 2 * length * strlen(j->name); /* one that is near is looked at twice */

        if (work > left)
            break;
        left -= work;
        if (j->def)
            near = near_find(name, names, near ? 2 : 1);
    }
    assert(!near || state_job(&s->state, near));
    return near;
}

/* ---- runs ---- */

static int newest_first(const void *a, const void *b)
{
    const struct scheduler_run_id *x = a, *y = b;

    if (x->at_ms != y->at_ms)
        return x->at_ms > y->at_ms ? -1 : 1;
    return strcmp(y->id, x->id); /* as history orders them */
}

static bool matches(const struct scheduler_run_filter *f, const struct run *r)
{
    return (!f->state || strcmp(f->state, run_state_name(run_shown_state(r))) == 0) &&
           (!f->verdict || (r->verdict && strcmp(f->verdict, run_verdict_name(r->verdict)) == 0)) &&
           (!f->since_ms || r->at_ms >= f->since_ms) && (!f->until_ms || r->at_ms <= f->until_ms) &&
           (!f->before || r->at_ms < f->until_ms || strcmp(r->id, f->before) < 0) &&
           filter_live_run(f->filter, r);
}

struct choice {
    struct scheduler_run_id *ids;
    size_t count, most;
};

/* Twice as many as are wanted are kept, and then cut to the newest half. */
static void choose(struct choice *c, const struct run *r)
{
    assert(c->count <= 2 * c->most);
    if (c->count == 2 * c->most) {
        qsort(c->ids, c->count, sizeof(*c->ids), newest_first);
        c->count = c->most;
        if (c->most && newest_first(&(struct scheduler_run_id){r->at_ms, r->id}, &c->ids[c->most - 1]) > 0)
            return;
    }
    if (c->most)
        c->ids[c->count++] = (struct scheduler_run_id){r->at_ms, r->id};
}

struct scheduler_run_id *scheduler_run_ids(struct scheduler *s, const struct scheduler_run_filter *f,
                                           size_t most, size_t *ret_count)
{
    struct choice c = {.most = most, .ids = alloc_zero((2 * most + 1) * sizeof(*c.ids))};
    struct job_state *j = f->job ? state_job(&s->state, f->job) : NULL;
    struct run *r, *next;

    if (j) {
        LIST_EACH(link, &j->runs)
        {
            if (matches(f, LIST_ITEM(link, struct run, of_job)))
                choose(&c, LIST_ITEM(link, struct run, of_job));
        }
    } else {
        HASH_ITER(by_id, s->state.runs, r, next)
        {
            if ((!f->job || strcmp(f->job, r->job->name) == 0) && matches(f, r))
                choose(&c, r);
        }
    }
    if (c.count)
        qsort(c.ids, c.count, sizeof(*c.ids), newest_first);
    *ret_count = c.count < most ? c.count : most;
    assert(*ret_count <= c.count);
    for (size_t i = 0; i < *ret_count; i++)
        c.ids[i].id = alloc_text(c.ids[i].id);
    return c.ids;
}

void scheduler_run_ids_free(struct scheduler_run_id *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free((char *)(uintptr_t)ids[i].id);
    free(ids);
}

size_t scheduler_run_count(struct scheduler *s, const char *job)
{
    const struct job_state *j = job ? state_job(&s->state, job) : NULL;

    if (!job)
        return s->state.run_count;
    assert(!j || j->run_count <= s->state.run_count);
    return j ? j->run_count : 0;
}

bool scheduler_run_is_live(struct scheduler *s, const char *id)
{
    return state_run(&s->state, id) != NULL;
}
