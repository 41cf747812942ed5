/* The API over a scheduler, a history, a journal, an engine and zones that are all made up here: each says
 * what a test put into `fake`, and remembers what it was asked.
 */
#pragma once

#include "cronsched/api/api.h"
#include "tests/support/http_client.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HELD_MAX 512

struct fake {
    bool leading, reading, hold; /* hold: scheduler_wait does not answer until `release` */
    json_t *runs;                /* the live ones */
    int walk_rows;               /* so many jobs; 0: two */
    int walk_made;               /* and so many of them were asked for */
    int walk_gone;               /* from this one on the walk cannot go on; 0: it can */
    int fails;                   /* what the next write answers; 0: success */
    char yield_by[64];           /* as scheduler_yield_by was told */
    char asked[4096];            /* the last write: "trigger nightly {...} by unix:root" */
    struct {
        void (*done)(void *arg, int result);
        void *arg;
        uint64_t index;
    } held[HELD_MAX];
    size_t held_count;
    uint64_t next_index;

    bool hold_history;
    json_t *stored; /* what any query answers */
    struct history_query query;
    char query_text[256];
    void (*answer)(void *arg, json_t *result, const struct error *error);
    void *answer_arg;

    const char *history_trouble;
    bool engine_reachable;
    int64_t engine_clock_offset_ms;
    const char *engine_text; /* of one that is not; NULL: it was not asked yet */
    const char *journal_text;
    bool journal_refused;
    const char *zone_version;
};
extern struct fake fake;

extern uv_loop_t loop;
extern struct api *api;
extern char dir[40], address[64]; /* a folder of the test's own, and the socket in it */
extern const char *tcp_address;   /* the API's other listener: a port of 127.0.0.1 */

/* Answers every scheduler_wait that `fake.hold` has kept. */
void release(int result);

/* History answers from the loop, never from within. */
void answer_history(void);

/* The wall clock of the API: 2026-11-22T02:45:00Z for ever. */
int64_t fake_wall(void *arg);

/* The API on `address`, unless these options say where else; NULL: none. */
void start_api(const struct api_options *more);
void stop_api(void);

/* cmocka's set-ups: all but the API, and with it. */
int set_up_plain(void **state);
int set_up_api(void **state);
int tear_down(void **state);

/* Sends, and serves the history's answer in the loop's turns. */
struct reply ask(const char *line, const char *body);

int send_line(const char *line); /* only sends; a socket that the caller closes */

/* A run of job a, its log, and its one or two attempts, in the live state. */
#define RUN "a@20261122T010000Z"
void write_log(int attempt, const char *text);
void set_attempts(const char *run_state, const char *first, const char *second);

/* The reply's body, which the caller releases; the test fails when it is not JSON. */
json_t *body_of(const struct reply *r);

/* The answer has this status and its body this text. */
void assert_answer(const char *line, const char *body, int status, const char *text);
