/* A docker engine on a loop and a folder of its own, driven by hand as the scheduler would, against a real
 * dockerd that docker_engine.py started. That wrapper gives us, in the environment:
 *
 *   DOCKER_SOCKET      where it listens
 *   DOCKER_FOLDER      a folder that containers may see
 *   DOCKER_TLS_PORT    the same engine over TLS, on 127.0.0.1
 *   DOCKER_CERTS       the folder of certificates for that
 *
 * and takes orders (orders.h):
 *
 *   kill, stop         SIGKILL, SIGTERM to dockerd
 *   start, start-live  starts it again, without or with live-restore
 *   freeze, thaw       SIGSTOP, SIGCONT
 *
 * Between the engine and dockerd stands a proxy, on the same loop, that loses what the test wants lost.
 * Everything aborts the test when it takes longer than DEADLINE_MS. Thread: the loop's.
 */
#pragma once

#include "cronsched/engines/docker/docker.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define DEADLINE_MS  60000 /* of a fast machine: tests/support/patience.h */
#define ANSWERS_MAX  4096
#define TEST_CLUSTER "5f0c9a3e-77aa-4c1e-9e3c-d0c6e2a1b001"
#define TEST_IMAGE   "busybox:local"
#define RAN          "echo ran >> /ledger/ran; " /* of a script: the ledger counts it */
#define TEST_FIRE_MS INT64_C(1795316400000)      /* 2026-11-22T03:00:00Z */

struct test_answer {
    uint64_t ticket;
    enum engine_event event;
    char id[160], boot_id[256], identity[ENGINE_IDENTITY_MAX], cause[16], text[2048];
    int64_t started_ms, at_ms;
    int exit_code, starts;
};

enum proxy_manner {
    PROXY_PASS,
    PROXY_LOSE_REPLY, /* requests whose path holds `proxy_match` are passed on, their reply is not */
    PROXY_CUT,        /* such requests are not even passed on; the connection is closed once they were read */
    PROXY_CLOSED,     /* nobody listens */
};

struct fixture {
    struct engine_host host; /* first */
    uv_loop_t loop;
    struct engine *engine;
    char folder[256]; /* data_dir; containers see `ledger` in it as /ledger */
    char docker_socket[256], proxy_socket[256];
    int64_t epoch, now_ms;           /* what the host says; now_ms 0: the real time */
    bool keep, direct;               /* direct: without the proxy */
    char stray[160];                 /* the id that was reported last, */
    int strays, strays_over;         /* and how often */
    const char *tls_ca, *tls_client; /* over TLS: names of certificates, "ca" and "client"; NULL: not shown */
    int64_t retention_ms, sweep_ms, ping_ms;
    const char *files_dir;
    const json_t *allow;
    uint64_t next_ticket;
    struct test_answer answers[ANSWERS_MAX];
    size_t answer_count;

    uv_timer_t poll;
    uv_pipe_t listener;
    bool listening;
    enum proxy_manner manner;
    const char *match; /* in the request's first line */
    int lost;
};

struct fixture *fixture_new(void);
void fixture_free(struct fixture *f);
int fixture_set_up(void **state); /* of each test: *state is a new one */
int fixture_tear_down(void **state);
void fixture_engine_new(struct fixture *f); /* with the values above */
void fixture_engine_close(struct fixture *f);
void fixture_proxy(struct fixture *f, enum proxy_manner manner, const char *match);

/* A job of busybox that runs a shell script; `more` is JSON with keys of the job file, or NULL. /ledger is
 * mounted. */
struct job *fixture_job(struct fixture *f, const char *name, const char *script, const char *more);

struct attempt_id {
    char run[64], name[64], id[160], boot_id[256], identity[ENGINE_IDENTITY_MAX];
    int try;
    int64_t started_ms;  /* for WATCH; set by the test */
    int64_t stopping_ms; /* for STOP: an earlier leader may have asked; set by the test */
};

/* A fresh attempt: names that no other test has. */
struct attempt_id fixture_attempt(struct fixture *f, struct job *job);

uint64_t fixture_submit(struct fixture *f, enum engine_op op, struct job *job, const struct attempt_id *a,
                        bool may_have_run);
/* The next answer to this ticket that was not taken yet; waits for it. NULL: none within ms. */
struct test_answer *fixture_wait(struct fixture *f, uint64_t ticket);
struct test_answer *fixture_wait_ms(struct fixture *f, uint64_t ticket, int64_t ms);
struct test_answer *fixture_ask(struct fixture *f, enum engine_op op, struct job *job,
                                const struct attempt_id *a, bool may_have_run);
/* PREPARE, which has to work; fills id, boot and identity. */
struct attempt_id fixture_prepared(struct fixture *f, struct job *job);
/* PREPARE, RELEASE, WATCH: the end. */
struct test_answer *fixture_run(struct fixture *f, struct job *job, struct attempt_id *ret);

void fixture_until(struct fixture *f, bool (*condition)(struct fixture *f, void *arg), void *arg,
                   const char *what);
void fixture_turn(struct fixture *f, int64_t ms); /* lets the loop run so long */

/* The ledger: how many lines the file of this name has; its text, from malloc. */
int fixture_count(struct fixture *f, const char *name);
char *fixture_read(struct fixture *f, const char *name);
char *fixture_log(struct fixture *f, const struct attempt_id *a); /* NULL: none */
void fixture_until_lines(struct fixture *f, const char *name, int lines);

/* A call of the test's own to dockerd, without the engine under test: the HTTP status, and the body in
 * *ret_json. */
int fixture_docker(struct fixture *f, const char *method, const char *path, const char *body,
                   json_t **ret_json);

/* Fail the test. */
void fixture_expect(const struct test_answer *t, enum engine_event event);
void fixture_expect_text(const char *text, const char *part); /* part of it */

/* Behind the engine's back. */
int fixture_start(struct fixture *f, const struct attempt_id *a);          /* HTTP status */
int fixture_remove(struct fixture *f, const struct attempt_id *a);         /* without force */
const char *fixture_status(struct fixture *f, const struct attempt_id *a); /* "exited"; "gone" */
void fixture_make_forget(struct fixture *f); /* so many events that dockerd forgets what was before */
