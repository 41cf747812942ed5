/* A history store on a pool whose work happens when the test says so; batches for it, and questions. For the
 * tests of the store, each of which is one program with one bench.
 */
#pragma once

#include "jobs/base/alloc.h"
#include "jobs/base/sqlite.h"
#include "jobs/history/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#define T0    INT64_C(1700000000000)
#define HOUR  INT64_C(3600000)
#define DAY   (24 * HOUR)
#define NEVER UINT64_MAX

struct task {
    void (*work)(void *arg), (*done)(void *arg);
    void *arg;
};

struct bench {
    struct store_pool table;
    struct task tasks[STORE_WORK_MAX];
    int count;
    uint64_t delay_ms[STORE_TIMERS];
    void (*wake[STORE_TIMERS])(void *arg);
    void *wake_arg[STORE_TIMERS];

    struct history *history;
    char dir[64], path[96];
    int failures, closed, removed;
    struct error failure;
    char removed_runs[4096];
};
extern struct bench b;

struct answer {
    int calls;
    json_t *result;
    struct error error;
};

/* One event: the oldest piece of work, or a timer due within the time. False: nothing to do. */
bool step(uint64_t within_ms);

/* All that is due now, or after the pauses of the pruning. */
void drain(void);

void on_removed(void *arg, const char *job, char *const *runs, size_t count);
void on_failed(void *arg, const struct error *error);

/* cmocka's set-up: a bench with a folder and no store yet; open_with() makes one, with a queue of so many bytes. */
int set_up(void **state);
int tear_down(void **state);
void open_with(size_t queue_bytes);
void close_store(void);

/* A write of that batch, what may be added to it (texts are copied), and the hand-over to the store, which frees it. */
struct history_write *new_write(uint64_t index);
void add_run(struct history_write *w, const char *run, int64_t at_ms, const char *state, const char *verdict,
             const char *cause);
void add_skip(struct history_write *w, const char *job, int64_t from_ms, int64_t to_ms, int64_t count,
              const char *reason);
void add_record(struct history_write *w, const char *kind, const char *job, const char *run);
void put(struct history_write *w);

/* A batch that ended one run of a minutely job. */
void put_minute(uint64_t index, const char *job, int minute);

/* Asks, and keeps the answer in `a`; get() also waits for it: the caller releases what it returns. */
void on_answer(void *arg, json_t *result, const struct error *error);
void ask(const struct history_query *q, struct answer *a);
json_t *get(const struct history_query *q);

/* The values of a key in each object of the answer, joined by blanks. */
void assert_answer(const struct history_query *q, const char *key, const char *expected);

/* How many objects the answer has. */
size_t count_of(const struct history_query *q);

/* The gaps that an audit names, as compact JSON. */
void assert_gaps(const char *expected);
