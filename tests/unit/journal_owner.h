/* An owner of a journal for the tests: it keeps what it was told, checks the chain, and makes batches. */
#pragma once

#include "jobs/base/alloc.h"
#include "jobs/state/journal.h"
#include "leader/embedded/embedded.h"

#include <stdio.h>

/* the including test has cmocka.h */
struct owner {
    struct journal *journal;
    uv_loop_t loop;
    uint64_t index; /* last seen or made */
    char hash[33];
    int64_t epoch;
    uint64_t acked;
    char snapshot[64]; /* text of the last restore, "" for none */
    int restores, batches, leads, deposals, acks, yields, closed;
    bool leading;
    struct error error;
    void (*on_acked)(struct owner *o);
    void (*on_yield)(struct owner *o);
};

static inline void owner_restore(void *arg, const char *text, size_t size, uint64_t index)
{
    struct owner *o = arg;

    assert_false(o->leading);
    o->restores++;
    o->batches = 0;
    o->index = index;
    o->hash[0] = '\0';
    snprintf(o->snapshot, sizeof(o->snapshot), "%s", text ? text : "");
    if (text) /* what a snapshot holds of the chain: "INDEX HASH" */
        sscanf(text, "%*u %32s", o->hash);
}

static inline void owner_batch(void *arg, const struct batch *batch, const char *text, size_t size)
{
    struct owner *o = arg;

    assert_true(o->restores > 0);
    assert_int_equal(batch->index, o->index + 1);
    assert_string_equal(batch->prev, o->hash);
    o->index = batch->index;
    batch_hash(text, size, o->hash);
    o->batches++;
}

static inline void owner_lead(void *arg, int64_t epoch, const char *cause)
{
    struct owner *o = arg;

    assert_true(epoch > o->epoch);
    assert_false(o->leading);
    o->epoch = epoch;
    o->leading = true;
    o->leads++;
}

static inline void owner_acked(void *arg, uint64_t index)
{
    struct owner *o = arg;

    assert_true(index > o->acked || o->deposals > 0);
    assert_true(index <= o->index);
    o->acked = index;
    o->acks++;
    if (o->on_acked)
        o->on_acked(o);
}

static inline void owner_deposed(void *arg, const struct error *why)
{
    struct owner *o = arg;

    assert_true(o->leading);
    o->leading = false;
    o->deposals++;
    o->error = *why;
}

static inline void owner_yield(void *arg)
{
    struct owner *o = arg;

    assert_true(o->leading);
    o->yields++;
    if (o->on_yield)
        o->on_yield(o);
}

static const struct journal_events owner_events = {owner_restore, owner_batch,   owner_lead,
                                                   owner_acked,   owner_deposed, owner_yield};

static inline void owner_closed(void *arg)
{
    ((struct owner *)arg)->closed++;
}

/* The next batch, with a note of about `bytes`. */
static inline struct batch *owner_batch_new(struct owner *o, size_t bytes)
{
    struct batch *b = batch_new(o->epoch, 1700000000000 + (int64_t)o->index);
    char *text = alloc_zero(bytes + 1);

    memset(text, 'x', bytes);
    for (size_t left = bytes; left > 0;) {
        size_t n = left < TEXT_FIELD_MAX ? left : TEXT_FIELD_MAX;
        struct record *r = batch_add(b, RECORD_NOTE);

        RECORD_TEXT(b, r, run, "a@20261122T030000Z");
        text[n] = '\0';
        RECORD_TEXT(b, r, text, text);
        text[n] = 'x';
        left -= n;
    }
    free(text);
    b->index = o->index + 1;
    memcpy(b->prev, o->hash, sizeof(b->prev));
    return b;
}

/* Appends it and keeps up the chain; returns what append said. */
static inline int owner_append_batch(struct owner *o, struct batch *b)
{
    size_t size;
    char *text = batch_encode(b, &size), hash[33];
    int rc;

    batch_hash(text, size, hash);
    free(text);
    rc = o->journal->ops->append(o->journal, b);
    if (rc == ERR_LIMIT)
        batch_free(b);
    if (rc < 0)
        return rc;
    o->index++;
    memcpy(o->hash, hash, sizeof(hash));
    return 0;
}

static inline int owner_append(struct owner *o, size_t bytes)
{
    return owner_append_batch(o, owner_batch_new(o, bytes));
}

#define OWNER_LEVEL 2 /* of its records */

static inline void owner_snapshot(struct owner *o)
{
    char *text = alloc_zero(64);

    snprintf(text, 64, "%llu %s", (unsigned long long)o->index, o->hash);
    o->journal->ops->snapshot(o->journal, text, strlen(text), o->index, OWNER_LEVEL);
}

static inline int owner_open(struct owner *o, const char *path, struct error *error)
{
    struct journal_embedded_options options = {
        .path = path, .cluster = "c-1", .retry_min_ms = 5, .retry_max_ms = 20};

    *o = (struct owner){0};
    uv_loop_init(&o->loop);
    return journal_embedded_open(&o->journal, &o->loop, &options, &owner_events, o, error);
}

/* Runs the loop until the condition holds; a bound on turns stands in for a deadline. */
#define OWNER_UNTIL(o, condition)                                                                            \
    do {                                                                                                     \
        uint64_t deadline_ns = uv_hrtime() + UINT64_C(60000000000);                                          \
        while (!(condition)) {                                                                               \
            assert_true(uv_hrtime() < deadline_ns);                                                          \
            uv_run(&(o)->loop, UV_RUN_ONCE);                                                                 \
        }                                                                                                    \
    } while (0)

static inline void owner_close(struct owner *o)
{
    o->journal->ops->close(o->journal, owner_closed, o);
    OWNER_UNTIL(o, o->closed);
    assert_int_equal(o->closed, 1);
    assert_int_equal(uv_run(&o->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&o->loop), 0);
}
