/* One page of the list of jobs, out of many jobs: chosen by a filter, in one of four orders, from a cursor on.
 *
 * Each step looks at some jobs, in the order in which they were made; of those that match and come after the cursor the first
 * `limit` are kept. So a page costs one look at each job and no list of all of them, whatever was asked for, and no turn of the
 * loop is long. A job that is freed meanwhile (few are, by a new leader) begins the search again.
 */
#include "jobs/base/alloc.h"
#include "jobs/scheduler/scheduler_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#define STEP_JOBS    64
#define RESTARTS_MAX 3

struct place {
    int64_t key; /* of the order; HEAP_NEVER: it has none, and comes last in both directions */
    struct job_state *job;
};

struct scheduler_job_page {
    struct object object;
    struct scheduler *s;
    struct scheduler_job_page_query query;
    bool has_cursor; /* with these: */
    int64_t after_key;
    char after_name[JOB_NAME_MAX + 1];
    uint64_t generation;
    int restarts;
    bool begun, done;
    struct job_state *next; /* to be looked at */
    struct place *places;   /* twice as many as are wanted */
    size_t count, total;
};

static const char letters[] = {[SCHEDULER_BY_NEXT] = 'n',
                               [SCHEDULER_BY_NAME] = 'a',
                               [SCHEDULER_BY_LAST] = 'l',
                               [SCHEDULER_BY_FAILURES] = 'f'};

/* ---- the order ---- */

static int64_t key_of(struct scheduler_job_page *p, struct job_state *j)
{
    int64_t key = 0;

    switch (p->query.order) {
    case SCHEDULER_BY_NEXT:
        key = status_next_ms(p->s, j);
        break;
    case SCHEDULER_BY_LAST:
        key = j->last_ended_ms ? j->last_ended_ms : HEAP_NEVER;
        break;
    case SCHEDULER_BY_FAILURES:
        key = state_recent(j).failures;
        break;
    case SCHEDULER_BY_NAME:
        break;
    }
    return p->query.descending && key != HEAP_NEVER ? -key : key;
}

static int compare(const struct scheduler_job_page *p, int64_t key_a, const char *a, int64_t key_b,
                   const char *b)
{
    if (key_a != key_b)
        return key_a < key_b ? -1 : 1;
    return p->query.order == SCHEDULER_BY_NAME && p->query.descending ? strcmp(b, a) : strcmp(a, b);
}

static int by_order(const void *a, const void *b, void *arg)
{
    const struct place *x = a, *y = b;

    return compare(arg, x->key, x->job->name, y->key, y->job->name);
}

/* ---- the cursor: VERSION LETTER DIRECTION . KEY . NAME ---- */

#define CURSOR_VERSION '1'

static int read_cursor(struct scheduler_job_page *p, const char *cursor, struct error *error)
{
    static const char text[] = "after: this is no cursor of this list in this order; begin without one";
    char *end;

    if (cursor[0] != CURSOR_VERSION || cursor[1] != letters[p->query.order] ||
        cursor[2] != (p->query.descending ? 'd' : 'u') || cursor[3] != '.' ||
        (cursor[4] != '-' && (cursor[4] < '0' || cursor[4] > '9')))
        return error_set(error, ERR_INVALID, "%s", text);
    errno = 0;
    p->after_key = strtoll(cursor + 4, &end, 10);
    if (errno || end == cursor + 4 || *end != '.' || !job_name_valid(end + 1))
        return error_set(error, ERR_INVALID, "%s", text);
    snprintf(p->after_name, sizeof(p->after_name), "%s", end + 1);
    p->has_cursor = true;
    return 0;
}

const char *scheduler_job_page_cursor(const struct scheduler_job_page *p, char *ret, size_t size)
{
    const struct place *last = p->query.limit ? &p->places[p->query.limit - 1] : NULL;

    if (!last || p->count <= p->query.limit)
        return NULL;
    snprintf(ret, size, "%c%c%c.%lld.%s", CURSOR_VERSION, letters[p->query.order],
             p->query.descending ? 'd' : 'u', (long long)last->key, last->job->name);
    return ret;
}

/* ---- the search ---- */

int scheduler_job_page_new(struct scheduler_job_page **ret, struct scheduler *s,
                           const struct scheduler_job_page_query *query, struct error *error)
{
    struct scheduler_job_page *p = OBJECT_NEW(struct scheduler_job_page);
    int r;

    assert(query->limit > 0 && query->limit <= SCHEDULER_JOB_PAGE_MAX);
    p->s = s;
    p->query = *query;
    p->query.after = NULL;
    p->places = alloc_zero(2 * (query->limit + 1) * sizeof(*p->places));
    r = query->after ? read_cursor(p, query->after, error) : 0;
    if (r < 0) {
        p->query.filter = NULL; /* it stays the caller's */
        scheduler_job_page_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

void scheduler_job_page_free(struct scheduler_job_page *p)
{
    if (!p)
        return;
    filter_free(p->query.filter);
    free(p->places);
    OBJECT_FREE(struct scheduler_job_page, p);
}

static void sort(struct scheduler_job_page *p)
{
    size_t most = p->query.limit + 1; /* one more tells that there are more */

    qsort_r(p->places, p->count, sizeof(*p->places), by_order, p);
    p->count = p->count < most ? p->count : most;
}

/* Its newest success is older, or it has none and was made before. */
static bool is_stale(const struct scheduler_job_page *p, const struct job_state *j)
{
    int64_t success_ms = state_recent(j).success_ms;

    return (success_ms ? success_ms : j->anchor_ms) < p->query.stale_before_ms;
}

static void look_at(struct scheduler_job_page *p, struct job_state *j)
{
    struct place place = {.job = j};

    if (!j->def || !filter_job(p->query.filter, &p->s->state, j, p->s->o.default_engine))
        return;
    if (p->query.stale_before_ms && !is_stale(p, j))
        return;
    p->total++;
    place.key = key_of(p, j);
    if (p->has_cursor && compare(p, place.key, j->name, p->after_key, p->after_name) <= 0)
        return;
    if (p->count == 2 * (p->query.limit + 1))
        sort(p);
    p->places[p->count++] = place;
}

static void begin(struct scheduler_job_page *p)
{
    p->generation = p->s->job_generation;
    p->next = p->s->state.jobs;
    p->count = p->total = 0;
    p->begun = true;
    p->done = false;
}

int scheduler_job_page_step(struct scheduler_job_page *p)
{
    if (!p->begun || p->generation != p->s->job_generation) {
        if (p->restarts++ > RESTARTS_MAX)
            return ERR_DEPOSED;
        begin(p);
    }
    for (int i = 0; i < STEP_JOBS && p->next; i++) {
        look_at(p, p->next);
        p->next = p->next->by_name.next;
    }
    if (p->next)
        return 0;
    if (!p->done)
        sort(p);
    p->done = true;
    return 1;
}

size_t scheduler_job_page_total(const struct scheduler_job_page *p)
{
    return p->total;
}

json_t *scheduler_job_page_row(struct scheduler_job_page *p, size_t i)
{
    size_t count = p->count < p->query.limit ? p->count : p->query.limit;

    assert(p->done);
    if (i >= count || p->generation != p->s->job_generation)
        return NULL;
    if (!p->places[i].job->def)
        return json_null(); /* it was deleted meanwhile */
    return job_row(p->s, p->places[i].job, p->query.fields);
}

bool scheduler_job_page_numbers(const struct scheduler_job_page *p, size_t i,
                                struct scheduler_job_numbers *ret)
{
    size_t count = p->count < p->query.limit ? p->count : p->query.limit;
    struct job_state *j;
    int64_t next_ms;

    assert(p->done);
    if (i >= count || p->generation != p->s->job_generation)
        return false;
    j = p->places[i].job;
    next_ms = j->def ? status_next_ms(p->s, j) : HEAP_NEVER;
    *ret = (struct scheduler_job_numbers){.name = j->name,
                                          .recent = state_recent(j),
                                          .next_ms = next_ms == HEAP_NEVER ? 0 : next_ms,
                                          .last_ended_ms = j->last_ended_ms,
                                          .paused = state_paused(&p->s->state, j)};
    LIST_EACH(link, &j->runs)
    {
        ret->running += LIST_ITEM(link, struct run, of_job)->fired;
    }
    return true;
}
