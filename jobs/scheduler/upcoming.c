/* The fire times of a span to come, of many jobs: the first of them in order, and how many there are in each bucket.
 *
 * Jobs are looked at one after the other, some fire times in a step, so no turn of the loop is long. The first `limit` are kept
 * in a heap with the latest on top; of the others the number counts. Pauses, overlap and pools do not: it says when jobs would fire.
 */
#include "jobs/base/alloc.h"
#include "jobs/base/text.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/time/instant.h"

#include <assert.h>

#define STEP_TIMES 512 /* fire times, about: well below a millisecond */
#define STEP_JOBS  64

struct moment {
    int64_t at_s;
    struct job_state *job;
};

struct scheduler_upcoming {
    struct object object;
    struct scheduler *s;
    struct scheduler_upcoming_query query;
    uint64_t generation;
    struct job_state *next; /* to be looked at; */
    int64_t at_s;           /* it has been up to here */
    struct moment *heap;    /* the latest on top */
    size_t count;
    int64_t total;
    bool truncated, sorted;
    uint32_t *buckets;
    int64_t *busy_ms;
    size_t bucket_count;
};

int scheduler_upcoming_new(struct scheduler_upcoming **ret, struct scheduler *s,
                           const struct scheduler_upcoming_query *query, struct error *error)
{
    int64_t span_s = query->until_s - query->from_s;
    struct scheduler_upcoming *u;

    if (span_s <= 0 || span_s > SCHEDULER_UPCOMING_SPAN_S)
        return error_set(error, ERR_INVALID,
                         "the time from 'from' to 'to' is to be more than none and 31 days at most");
    if (query->bucket_s < 60 || span_s / query->bucket_s >= SCHEDULER_UPCOMING_BUCKETS)
        return error_set(error, ERR_INVALID, "the buckets are too small for that time: more than %d",
                         SCHEDULER_UPCOMING_BUCKETS);
    u = OBJECT_NEW(struct scheduler_upcoming);
    u->s = s;
    u->query = *query;
    u->generation = s->job_generation;
    u->next = s->state.jobs;
    u->at_s = query->from_s - 1;
    u->heap = alloc_zero((query->limit + 1) * sizeof(*u->heap));
    u->bucket_count = (size_t)((span_s + query->bucket_s - 1) / query->bucket_s);
    u->buckets = alloc_zero(u->bucket_count * sizeof(*u->buckets));
    u->busy_ms = alloc_zero(u->bucket_count * sizeof(*u->busy_ms));
    *ret = u;
    return 0;
}

void scheduler_upcoming_free(struct scheduler_upcoming *u)
{
    if (!u)
        return;
    filter_free(u->query.filter);
    free(u->heap);
    free(u->buckets);
    free(u->busy_ms);
    OBJECT_FREE(struct scheduler_upcoming, u);
}

static bool is_later(const struct moment *a, const struct moment *b)
{
    return a->at_s != b->at_s ? a->at_s > b->at_s : strcmp(a->job->name, b->job->name) > 0;
}

static void sift_down(struct scheduler_upcoming *u)
{
    size_t at = 0;
    struct moment top = u->heap[0];

    for (size_t child = 1; child < u->count; child = 2 * at + 1) {
        if (child + 1 < u->count && is_later(&u->heap[child + 1], &u->heap[child]))
            child++;
        if (!is_later(&u->heap[child], &top))
            break;
        u->heap[at] = u->heap[child];
        at = child;
    }
    u->heap[at] = top;
}

static void keep(struct scheduler_upcoming *u, struct moment moment)
{
    size_t at = u->count;

    if (u->count == u->query.limit) {
        if (u->count && is_later(&u->heap[0], &moment)) {
            u->heap[0] = moment;
            sift_down(u);
        }
        return;
    }
    u->count++;
    for (; at > 0 && is_later(&moment, &u->heap[(at - 1) / 2]); at = (at - 1) / 2)
        u->heap[at] = u->heap[(at - 1) / 2];
    u->heap[at] = moment;
}

static void take(struct scheduler_upcoming *u, struct job_state *j, int64_t at_s)
{
    size_t bucket = (size_t)((at_s - u->query.from_s) / u->query.bucket_s);
    int64_t took_ms = j->recent.duration_ms;

    assert(bucket < u->bucket_count);
    u->total++;
    u->buckets[bucket]++;
    u->busy_ms[bucket] += took_ms > 0 ? took_ms : 0;
    keep(u, (struct moment){at_s, j});
}

static void next_job(struct scheduler_upcoming *u)
{
    u->next = u->next->by_name.next;
    u->at_s = u->query.from_s - 1;
}

int scheduler_upcoming_step(struct scheduler_upcoming *u)
{
    int times = 0;

    if (u->generation != u->s->job_generation)
        return ERR_DEPOSED;
    for (int jobs = 0; u->next && jobs < STEP_JOBS && times < STEP_TIMES && !u->truncated;) {
        struct job_state *j = u->next;
        struct schedule *schedule = j->def ? rules_schedule(u->s, j) : NULL;

        if (!schedule || (u->at_s < u->query.from_s &&
                          !filter_job(u->query.filter, &u->s->state, j, u->s->o.default_engine))) {
            next_job(u);
            jobs++;
            continue;
        }
        for (; times < STEP_TIMES; times++) {
            u->at_s = schedule_next(schedule, u->at_s);
            if (u->at_s >= u->query.until_s) /* or never */
                break;
            take(u, j, u->at_s);
        }
        if (u->at_s >= u->query.until_s) {
            next_job(u);
            jobs++;
        }
        u->truncated = u->total >= SCHEDULER_UPCOMING_TIMES_MAX;
    }
    return !u->next || u->truncated;
}

/* ---- what was found ---- */

static int earlier_first(const void *a, const void *b)
{
    if (is_later(a, b))
        return 1;
    return is_later(b, a) ? -1 : 0;
}

static json_t *time_json(int64_t at_s)
{
    char text[TEXT_NUMBER_BUFFER];

    return json_string(instant_format(at_s * 1000, INSTANT_S, text, sizeof(text)));
}

json_t *scheduler_upcoming_row(struct scheduler_upcoming *u, size_t i)
{
    const struct moment *m = &u->heap[i];
    int64_t took_ms;

    if (!u->sorted && u->count)
        qsort(u->heap, u->count, sizeof(*u->heap), earlier_first);
    u->sorted = true;
    if (i >= u->count || u->generation != u->s->job_generation)
        return NULL;
    took_ms = m->job->recent.duration_ms;
    return json_pack("{s:s,s:o,s:b,s:o}", "job", m->job->name, "time", time_json(m->at_s), "paused",
                     state_paused(&u->s->state, m->job), "expected_ms",
                     took_ms < 0 ? json_null() : json_integer(took_ms));
}

json_t *scheduler_upcoming_summary(const struct scheduler_upcoming *u)
{
    json_t *buckets = json_array();
    size_t peak = 0;

    for (size_t i = 0; i < u->bucket_count; i++) {
        int64_t at_s = u->query.from_s + (int64_t)i * u->query.bucket_s;

        if (u->buckets[i])
            json_array_append_new(buckets, json_pack("[I,I,I]", (json_int_t)at_s * 1000,
                                                     (json_int_t)u->buckets[i], (json_int_t)u->busy_ms[i]));
        peak = u->buckets[i] > u->buckets[peak] ? i : peak;
    }
    return json_pack("{s:o,s:o,s:I,s:b,s:o,s:{s:o,s:I}}", "from", time_json(u->query.from_s), "to",
                     time_json(u->query.until_s), "total", (json_int_t)u->total, "truncated", u->truncated,
                     "buckets", buckets, "peak", "time",
                     u->total ? time_json(u->query.from_s + (int64_t)peak * u->query.bucket_s) : json_null(),
                     "count", (json_int_t)u->buckets[peak]);
}
