#include "tests/support/journal_owner.h"

static void owner_restore(void *arg, const char *text, size_t size, uint64_t index)
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

static void owner_batch(void *arg, const struct batch *batch, const char *text, size_t size)
{
    struct owner *o = arg;

    assert_true(o->restores > 0);
    assert_int_equal(batch->index, o->index + 1);
    assert_string_equal(batch->prev, o->hash);
    o->index = batch->index;
    batch_hash(text, size, o->hash);
    o->batches++;
}

static void owner_lead(void *arg, int64_t epoch, const char *cause)
{
    struct owner *o = arg;

    assert_true(epoch > o->epoch);
    assert_false(o->leading);
    o->epoch = epoch;
    o->leading = true;
    o->leads++;
    snprintf(o->cause, sizeof(o->cause), "%s", cause);
}

static void owner_acked(void *arg, uint64_t index)
{
    struct owner *o = arg;

    assert_true(index > o->acked || o->deposals > 0);
    assert_true(index <= o->index);
    o->acked = index;
    o->acks++;
    if (o->on_acked)
        o->on_acked(o);
}

static void owner_deposed(void *arg, const struct error *why)
{
    struct owner *o = arg;

    assert_true(o->leading);
    o->leading = false;
    o->deposals++;
    o->error = *why;
}

static void owner_yield(void *arg)
{
    struct owner *o = arg;

    assert_true(o->leading);
    o->yields++;
    if (o->on_yield)
        o->on_yield(o);
}

static void owner_recovered(void *arg, const struct journal_recovery *recovery)
{
    struct owner *o = arg;

    assert_false(o->leading);
    o->recoveries++;
    o->lost_from_ms = recovery->from_ms;
    o->lost_until_ms = recovery->until_ms;
}

const struct journal_events owner_events = {owner_restore, owner_batch, owner_lead,     owner_acked,
                                            owner_deposed, owner_yield, owner_recovered};

void owner_closed(void *arg)
{
    ((struct owner *)arg)->closed++;
}

struct batch *owner_batch_new(struct owner *o, size_t bytes)
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

int owner_append_batch(struct owner *o, struct batch *b)
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

int owner_append(struct owner *o, size_t bytes)
{
    return owner_append_batch(o, owner_batch_new(o, bytes));
}

void owner_snapshot(struct owner *o)
{
    char *text = alloc_zero(64);

    snprintf(text, 64, "%llu %s", (unsigned long long)o->index, o->hash);
    o->journal->ops->snapshot(o->journal, text, strlen(text), o->index, OWNER_LEVEL);
}

int owner_open(struct owner *o, const char *path, struct error *error)
{
    struct embedded_options options = {.path = path, .cluster = "c-1", .retry_min_ms = 5, .retry_max_ms = 20};

    *o = (struct owner){0};
    uv_loop_init(&o->loop);
    return embedded_open(&o->journal, &o->loop, &options, &owner_events, o, error);
}

void owner_close(struct owner *o)
{
    o->journal->ops->close(o->journal, owner_closed, o);
    OWNER_UNTIL(o, o->closed);
    assert_int_equal(o->closed, 1);
    assert_int_equal(uv_run(&o->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&o->loop), 0);
}
