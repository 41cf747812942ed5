/* See event_ring.h. */
#include "cronsched/api/event_ring.h"

#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct event_ring {
    struct event events[EVENT_RING_EVENTS_MAX]; /* number n is at n % the size */
    uint64_t first, end;
    size_t bytes;
    uint64_t index;      /* of the last batch */
    uint64_t gone_index; /* all that came behind this place is kept: */
    uint32_t gone_number;
};

static const char *const kind_names[] = {
#define X(kind, word) [EVENT_##kind] = word,
    EVENT_KINDS(X)
#undef X
};

const char *event_kind_name(enum event_kind kind)
{
    assert(kind < EVENT_KIND_COUNT);
    return kind_names[kind];
}

struct event_ring *event_ring_new(void)
{
    return calloc(1, sizeof(struct event_ring));
}

static struct event *slot(struct event_ring *ring, uint64_t number)
{
    return &ring->events[number % EVENT_RING_EVENTS_MAX];
}

static void drop_first(struct event_ring *ring)
{
    struct event *e = slot(ring, ring->first++);

    ring->gone_index = e->index;
    ring->gone_number = e->number;
    ring->bytes -= e->bytes;
    free(e->job);
    free(e->data);
    *e = (struct event){0};
}

/* What is known begins behind this batch. */
static void forget(struct event_ring *ring, uint64_t index)
{
    while (ring->first < ring->end)
        drop_first(ring);
    ring->gone_index = index;
    ring->gone_number = UINT32_MAX;
}

void event_ring_free(struct event_ring *ring)
{
    if (!ring)
        return;
    forget(ring, 0);
    free(ring);
}

/* ---- filling ---- */

static void add_time(struct text *t, const char *key, int64_t ms, enum instant_form form)
{
    char text[TEXT_NUMBER_BUFFER];

    if (ms)
        text_addf(t, ",\"%s\":\"%s\"", key, instant_format(ms, form, text, sizeof(text)));
    else
        text_addf(t, ",\"%s\":null", key);
}

/* Takes the text. False: no memory. */
static bool put(struct event_ring *ring, uint64_t index, uint32_t number, enum event_kind kind,
                const char *job, struct text *text)
{
    struct event e = {.index = index, .number = number, .kind = kind};

    e.job = job ? strdup(job) : NULL;
    e.bytes = text->len + sizeof(e) + (job ? strlen(job) : 0);
    e.data = text_take(text);
    text_release(text);
    if (!e.data || (job && !e.job)) {
        free(e.job);
        free(e.data);
        return false;
    }
    while (ring->first < ring->end &&
           (ring->end - ring->first == EVENT_RING_EVENTS_MAX || ring->bytes + e.bytes > EVENT_RING_BYTES_MAX))
        drop_first(ring);
    *slot(ring, ring->end++) = e;
    ring->bytes += e.bytes;
    return true;
}

/* Ids, states and verdicts are words of our own: nothing in them needs an escape. */
static bool add_run(struct event_ring *ring, uint64_t index, uint32_t number, const struct history_run *run)
{
    struct text t;

    text_init(&t, 4096);
    text_addf(&t, "{\"run\":\"%s\",\"job\":\"%s\",\"state\":\"%s\"", run->run, run->job, run->state);
    if (run->verdict)
        text_addf(&t, ",\"verdict\":\"%s\"", run->verdict);
    else
        text_add(&t, ",\"verdict\":null");
    add_time(&t, "fire_time", run->fire_ms, INSTANT_MS);
    add_time(&t, "started", run->started_ms, INSTANT_MS);
    add_time(&t, "ended", run->ended_ms, INSTANT_MS);
    text_addf(&t, ",\"index\":%" PRIu64 "}", index);
    return put(ring, index, number, EVENT_RUN, run->job, &t);
}

static bool is_among(const char *kind, const char *const *kinds)
{
    for (; *kinds; kinds++)
        if (strcmp(kind, *kinds) == 0)
            return true;
    return false;
}

/* False: no memory. *number counts those that are events. */
static bool add_record(struct event_ring *ring, uint64_t index, uint32_t *number,
                       const struct history_record *record)
{
    static const char *const of_jobs[] = {"job", "delete", "pause", "resume", NULL};
    static const char *const of_cluster[] = {"epoch", "takeover", "rise", "tzdata", "recovered", NULL};
    enum event_kind kind = EVENT_JOB;
    struct text t;

    if (is_among(record->kind, of_cluster))
        kind = EVENT_CLUSTER;
    else if (!is_among(record->kind, of_jobs))
        return true;
    text_init(&t, 4096);
    text_addf(&t, "{\"kind\":\"%s\"", record->kind);
    if (record->job)
        text_addf(&t, ",\"job\":\"%s\"", record->job);
    text_addf(&t, ",\"index\":%" PRIu64 "}", index);
    return put(ring, index, ++*number, kind, record->job, &t);
}

void event_ring_add(struct event_ring *ring, const struct history_write *write)
{
    uint32_t number = 0;
    bool ok = true;

    if (write->index != ring->index + 1)
        forget(ring, write->index - 1);
    ring->index = write->index;
    for (size_t i = 0; ok && i < write->record_count; i++)
        ok = add_record(ring, write->index, &number, &write->records[i]);
    for (size_t i = 0; ok && i < write->run_count; i++)
        ok = add_run(ring, write->index, ++number, &write->runs[i]);
    if (!ok)
        forget(ring, write->index);
}

/* ---- reading ---- */

uint64_t event_ring_first(const struct event_ring *ring)
{
    return ring->first;
}

uint64_t event_ring_end(const struct event_ring *ring)
{
    return ring->end;
}

const struct event *event_ring_at(const struct event_ring *ring, uint64_t number)
{
    assert(number >= ring->first && number < ring->end);
    return &ring->events[number % EVENT_RING_EVENTS_MAX];
}

uint64_t event_ring_index(const struct event_ring *ring)
{
    return ring->index;
}

const char *event_id(const struct event *event, const char *cluster, char ret[EVENT_ID_SIZE])
{
    snprintf(ret, EVENT_ID_SIZE, "%" PRIu64 ".%" PRIu32 ".%.*s", event->index, event->number,
             EVENT_CLUSTER_LETTERS, cluster);
    return ret;
}

static const char *read_number(const char *text, uint64_t most, uint64_t *ret)
{
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return NULL;
    errno = 0;
    *ret = strtoull(text, &end, 10);
    return errno || *ret > most || *end != '.' ? NULL : end + 1;
}

static bool is_before(uint64_t index, uint64_t number, uint64_t other_index, uint64_t other_number)
{
    return index != other_index ? index < other_index : number < other_number;
}

int event_ring_after(const struct event_ring *ring, const char *id, const char *cluster, uint64_t *ret_number)
{
    uint64_t index, number, low = ring->first, high = ring->end;
    const char *rest = read_number(id, UINT64_MAX - 1, &index);

    rest = rest ? read_number(rest, UINT32_MAX, &number) : NULL;
    if (!rest || strlen(rest) != EVENT_CLUSTER_LETTERS || strncmp(rest, cluster, EVENT_CLUSTER_LETTERS) != 0)
        return ERR_NOT_FOUND;
    if (index > ring->index || is_before(index, number, ring->gone_index, ring->gone_number))
        return ERR_NOT_FOUND;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const struct event *e = event_ring_at(ring, middle);

        if (is_before(index, number, e->index, e->number))
            high = middle;
        else
            low = middle + 1;
    }
    *ret_number = low;
    return 0;
}
