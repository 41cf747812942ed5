/* A thread that looks at something every JOURNAL_WATCH_MS, whatever the loop and the thread pool are busy with.
 *
 * Ownership: the watch lives until `stopped`. All functions and callbacks belong to the loop, but for look.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <uv.h>

#define JOURNAL_WATCH_MS       250
#define JOURNAL_WATCH_FRESH_MS 1000 /* what was seen longer ago says nothing */

struct journal_watch;

struct journal_watch_events {
    int (*look)(void *arg, struct error *error);          /* on the thread */
    void (*failed)(void *arg, const struct error *error); /* it did, and had not the time before */
    void (*stopped)(void *arg);
};

/* Keeps no loop alive. Borrows events and arg. */
int journal_watch_start(struct journal_watch **ret, uv_loop_t *loop,
                        const struct journal_watch_events *events, void *arg, struct error *error);
void journal_watch_stop(struct journal_watch *watch);

/* All was well when it last looked, and that was just now: not so after a pause of this process or of the machine,
 * or while looking does not come back. */
bool journal_watch_fresh(const struct journal_watch *watch);
