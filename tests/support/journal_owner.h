/* An owner of a journal for the tests: it keeps what it was told, checks the chain, and makes batches. */
#pragma once

#include "jobs/base/alloc.h"
#include "jobs/state/journal.h"
#include "leader/embedded/embedded.h"
#include "tests/support/patience.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

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
    char cause[128]; /* of the last leadership */
    struct error error;
    int recoveries;
    int64_t lost_from_ms, lost_until_ms;
    void (*on_acked)(struct owner *o);
    void (*on_yield)(struct owner *o);
};

#define OWNER_LEVEL 2 /* of its records */

#define OWNER_PATIENCE_MS 60000 /* of a fast machine */

/* Runs the loop until the condition holds; fails after OWNER_PATIENCE_MS. */
#define OWNER_UNTIL(o, condition)                                                                            \
    do {                                                                                                     \
        uint64_t deadline_ns = uv_hrtime() + (uint64_t)patience_ms(OWNER_PATIENCE_MS) * UINT64_C(1000000);   \
        while (!(condition)) {                                                                               \
            assert_true(uv_hrtime() < deadline_ns);                                                          \
            uv_run(&(o)->loop, UV_RUN_ONCE);                                                                 \
        }                                                                                                    \
    } while (0)

extern const struct journal_events owner_events; /* an owner's own */

void owner_closed(void *arg);

/* The next batch, with a note of about `bytes`. */
struct batch *owner_batch_new(struct owner *o, size_t bytes);

/* Appends it and keeps up the chain; returns what append said. */
int owner_append_batch(struct owner *o, struct batch *b);
int owner_append(struct owner *o, size_t bytes);

/* Hands the journal a snapshot of what the owner has. */
void owner_snapshot(struct owner *o);

/* An owner of the embedded journal at that path, with a loop of its own. */
int owner_open(struct owner *o, const char *path, struct error *error);
void owner_close(struct owner *o);
