#include "cronsched/conformance/conformance.h"

#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"
#include "jobs/engine/engine_json.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH      10      /* attempts under way when a leader dies */
#define SETTLED_US 1500000 /* a start that nobody should have made shows itself in that time */
#define HELD_MS    20000   /* for what a leader says that was stopped */
#define MANY       100
#define AT_ONCE    40 /* prepared at once: no engine takes fewer */

#define SHORT "sleep 0.2; exit 0"
#define LONG  "sleep 2; exit 0"

static void pause_up_to(unsigned most_us)
{
    usleep((useconds_t)(random() % (most_us + 1)));
}

/* ---- what came of it ---- */

struct tally {
    size_t attempts, ran, never, unknown, twice, wrong;
    bool may_be_lost; /* one without a verdict is counted, and no failure */
    int64_t begun_ms;
    char first[CONFORMANCE_TEXT_MAX + 256]; /* of what is wrong */
};

static void note(struct tally *t, const struct conformance_attempt *a, const char *what)
{
    if (!t->first[0])
        snprintf(t->first, sizeof(t->first), "%s %s: %s", a->run, what, a->text);
}

/* may_be_cut: it may have been stopped before it noted its start. */
static void count(struct tally *t, const struct conformance *c, const struct conformance_attempt *a,
                  bool may_be_cut)
{
    int starts = c->counted ? conformance_starts(c, a->run) : a->said == SAID_RAN;

    t->attempts++;
    t->ran += a->said == SAID_RAN;
    t->never += a->said == SAID_NEVER;
    if (starts > 1) {
        t->twice++;
        note(t, a, "was started more than once");
    } else if (starts > 0 && a->said == SAID_NEVER) {
        t->wrong++;
        note(t, a, "never ran, it is said, and was started");
    } else if (starts == 0 && a->said == SAID_RAN && !may_be_cut) {
        t->wrong++;
        note(t, a, "ran, it is said, and was not started");
    } else if (a->said == SAID_UNKNOWN || a->said == SAID_NOTHING) {
        t->unknown++;
        if (c->counted)
            note(t, a, "has no verdict");
    }
}

static void count_all(struct tally *t, const struct conformance *c, const struct conformance_attempt *a,
                      size_t n, bool may_be_cut)
{
    usleep(c->counted ? SETTLED_US : 0);
    for (size_t i = 0; i < n; i++)
        count(t, c, &a[i], may_be_cut);
}

static void show(struct conformance *c, const char *name, const struct tally *t, bool fine,
                 const char *remark)
{
    const char *verdict;
    bool passed = fine && t->twice == 0 && t->wrong == 0 &&
                  (t->unknown == 0 || t->may_be_lost || !c->counted);

    c->passed &= passed;
    verdict = passed ? "ok" : "FAILED";
    printf("%-6s  %-44s %4zu attempts: %zu ran, %zu never, %zu twice, %zu without a verdict; %.1f s%s\n",
           verdict, name, t->attempts, t->ran, t->never, t->twice, t->unknown,
           (double)(clock_mono_ms() - t->begun_ms) / 1000, remark);
    if (!passed && t->first[0])
        printf("        %s\n", t->first);
    fflush(stdout);
    json_array_append_new(c->cases,
                          json_pack("{s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "case", name, "passed", passed,
                                    "attempts", (json_int_t)t->attempts, "ran", (json_int_t)t->ran, "never",
                                    (json_int_t)t->never, "twice", (json_int_t)t->twice, "unknown",
                                    (json_int_t)t->unknown, "wrong", (json_int_t)t->wrong, "text", t->first));
}

static void skip(struct conformance *c, const char *name, const char *why)
{
    printf("-       %-44s %s\n", name, why);
    json_array_append_new(c->cases, json_pack("{s:s,s:n,s:s}", "case", name, "passed", "text", why));
}

/* ---- the means ---- */

static int begin(struct conformance *c, struct conformance_leader *leader, struct error *error)
{
    return conformance_leader_start(leader, c, ++c->epoch, error);
}

static int make_all(struct conformance *c, struct conformance_attempt *a, size_t n, const char *body,
                    struct error *error)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++)
        r = conformance_attempt_make(c, &a[i], body, error);
    return r;
}

/* ---- starts and ends ---- */

static int case_starts(struct conformance *c, struct error *error)
{
    static const struct {
        const char *body;
        int code;
    } ends[] = {{"exit 0", 0},
                {"exit 3", 3},
                {"exit 137", 137} /* in a container nobody can kill the first process from within */,
                {NULL, 127}};
    struct conformance_attempt a[4];
    struct conformance_leader leader;
    struct tally t = {.begun_ms = clock_mono_ms()};
    char remark[200] = "";
    bool fine = true;
    int r = begin(c, &leader, error);

    for (size_t i = 0; r == 0 && i < 4; i++)
        r = conformance_attempt_make(c, &a[i], ends[i].body, error);
    if (r < 0)
        goto out;
    conformance_prepare(&leader, a, 4);
    conformance_release(&leader, a, 4);
    conformance_watch(&leader, a, 4);
    for (size_t i = 0; c->counted && i < 4; i++) {
        fine &= a[i].exit_code == ends[i].code || (!ends[i].body && a[i].exit_code == -1);
        snprintf(remark + strlen(remark), sizeof(remark) - strlen(remark), "%s%d", i ? ", " : "; codes ",
                 a[i].exit_code);
    }
    a[3].said = a[3].said == SAID_RAN ? SAID_NEVER : a[3].said; /* some engines say so, and its code */
    count_all(&t, c, a, 4, false);
    show(c, "exit codes 0, 3, 137, 127", &t, fine, remark);
    conformance_attempts_release(a, 4);
out:
    conformance_leader_kill(&leader);
    return r;
}

static int case_many(struct conformance *c, struct error *error)
{
    size_t many = c->trials < 10 ? (size_t)c->trials * 10 : MANY;
    struct conformance_attempt *a = alloc_zero(many * sizeof(*a));
    struct conformance_leader leader;
    struct tally t = {.begun_ms = clock_mono_ms()};
    int64_t released_ms = 0, at_ms;
    char remark[80];
    int r = begin(c, &leader, error);

    if (r == 0)
        r = make_all(c, a, many, "exit 0", error);
    if (r < 0)
        goto out;
    for (size_t i = 0; i < many; i += AT_ONCE) {
        size_t n = many - i < AT_ONCE ? many - i : AT_ONCE;

        conformance_prepare(&leader, a + i, n);
        at_ms = clock_mono_ms();
        conformance_release(&leader, a + i, n);
        released_ms += clock_mono_ms() - at_ms;
    }
    conformance_watch(&leader, a, many);
    snprintf(remark, sizeof(remark), "; released in %.1f s", (double)released_ms / 1000);
    count_all(&t, c, a, many, false);
    show(c, "many due at once", &t, true, remark);
    conformance_attempts_release(a, many);
out:
    conformance_leader_kill(&leader);
    free(a);
    return r;
}

/* Stopped at once, and while it runs. */
static int case_stop(struct conformance *c, size_t n, bool at_once, struct error *error)
{
    struct conformance_attempt a[BATCH];
    struct conformance_leader leader;
    struct tally t = {.may_be_lost = at_once, .begun_ms = clock_mono_ms()};
    const char *name = at_once ? "stopped as soon as it is released" : "stopped while it runs";
    size_t ignored = 0;
    int r = begin(c, &leader, error);

    for (size_t left = n; r == 0 && left > 0; left -= left < BATCH ? left : BATCH) {
        size_t k = left < BATCH ? left : BATCH;

        r = make_all(c, a, k, "sleep 60; exit 0", error);
        if (r < 0)
            break;
        conformance_prepare(&leader, a, k);
        conformance_release(&leader, a, k);
        for (size_t i = 0; i < k; i++) {
            uint64_t watch;

            if (a[i].said != SAID_NOTHING)
                continue;
            conformance_send(&leader, ENGINE_WATCH, &a[i], 1);
            watch = a[i].ticket;
            if (!at_once)
                usleep(SETTLED_US);
            conformance_send(&leader, ENGINE_STOP, &a[i], 1);
            json_decref(conformance_leader_hear(&leader, a[i].ticket, CONFORMANCE_WAIT_MS));
            a[i].ticket = watch;
        }
        conformance_ends(&leader, a, k);
        for (size_t i = 0; i < k; i++)
            ignored += a[i].said == SAID_RAN && a[i].exit_code == 0;
        count_all(&t, c, a, k, true);
        conformance_attempts_release(a, k);
    }
    conformance_leader_kill(&leader);
    if (r == 0)
        show(c, name, &t, ignored == 0, ignored ? "; it ended by itself" : "");
    return r;
}

/* ---- a leader that is killed ---- */

enum step { STEP_PREPARE, STEP_PREPARED, STEP_RELEASE, STEP_RELEASED, STEP_RUNNING, STEP_ENDED, STEP_COUNT };
static const char *const step_names[] = {"prepare is sent", "it is prepared", "release is sent",
                                         "it is released",  "it is watched",  "it has ended"};

/* Brings all of them to that step. */
static void go_to(struct conformance_leader *leader, struct conformance_attempt *a, size_t n, enum step step)
{
    if (step == STEP_PREPARE) {
        conformance_send(leader, ENGINE_PREPARE, a, n);
        pause_up_to(50000);
        return;
    }
    conformance_prepare(leader, a, n);
    if (step == STEP_RELEASE) {
        conformance_send(leader, ENGINE_RELEASE, a, n);
        pause_up_to(50000);
    } else if (step > STEP_RELEASE) {
        conformance_release(leader, a, n);
    }
    if (step == STEP_RUNNING) {
        conformance_send(leader, ENGINE_WATCH, a, n);
        pause_up_to(500000);
    } else if (step == STEP_ENDED) {
        conformance_watch(leader, a, n);
    }
}

static int case_killed(struct conformance *c, enum step step, struct error *error)
{
    struct conformance_attempt a[BATCH];
    struct tally t = {.begun_ms = clock_mono_ms()};
    char name[80];
    int r = 0;

    for (size_t left = (size_t)c->trials; r == 0 && left > 0; left -= left < BATCH ? left : BATCH) {
        size_t n = left < BATCH ? left : BATCH;
        struct conformance_leader first, next = {.in = -1, .out = -1};

        r = begin(c, &first, error);
        if (r == 0)
            r = make_all(c, a, n, step == STEP_RUNNING ? LONG : SHORT, error);
        if (r == 0)
            go_to(&first, a, n, step);
        conformance_leader_kill(&first);
        if (r == 0)
            r = begin(c, &next, error);
        if (r == 0 && step == STEP_PREPARE) /* nobody knows an id: there is nothing to be settled */
            for (size_t i = 0; i < n; i++)
                a[i].said = SAID_NEVER;
        else if (r == 0)
            conformance_settle(&next, a, n, false);
        if (r == 0) {
            count_all(&t, c, a, n, false);
            conformance_attempts_release(a, n);
        }
        conformance_leader_kill(&next);
    }
    snprintf(name, sizeof(name), "leader killed when %s", step_names[step]);
    if (r == 0)
        show(c, name, &t, true, "");
    return r;
}

/* ---- two leaders ---- */

/* A leader is stopped with its releases in the pipe, and goes on after its successor has fenced, and discarded every other one. */
static int case_late_release(struct conformance *c, struct error *error)
{
    struct conformance_attempt a[BATCH], stale[BATCH];
    struct tally t = {.begun_ms = clock_mono_ms()};
    size_t odd = 0;
    int r = 0;

    for (size_t left = (size_t)c->trials; r == 0 && left > 0; left -= left < BATCH ? left : BATCH) {
        size_t n = left < BATCH ? left : BATCH;
        struct conformance_leader old, next = {.in = -1, .out = -1};

        r = begin(c, &old, error);
        if (r == 0)
            r = make_all(c, a, n, SHORT, error);
        if (r == 0) {
            conformance_prepare(&old, a, n);
            kill(old.pid, SIGSTOP);
            memcpy(stale, a, sizeof(a));
            conformance_send(&old, ENGINE_RELEASE, stale, n);
            r = begin(c, &next, error);
        }
        if (r == 0) {
            for (size_t i = 0; i < n; i++)
                a[i].may_have_run = true;
            conformance_settle(&next, a, n, false);
            for (size_t i = 1; i < n; i += 2) {
                conformance_send(&next, ENGINE_DISCARD, &a[i], 1);
                json_decref(conformance_leader_hear(&next, a[i].ticket, HELD_MS));
            }
            kill(old.pid, SIGCONT);
            for (size_t i = 0; i < n; i++) {
                json_decref(conformance_leader_hear(&old, stale[i].ticket, HELD_MS));
                odd += a[i].said != SAID_NEVER;
            }
            count_all(&t, c, a, n, false);
            conformance_attempts_release(a, n);
        }
        conformance_leader_kill(&old);
        conformance_leader_kill(&next);
    }
    if (r == 0)
        show(c, "release held until after the take-over", &t, odd == 0,
             odd ? "; the fence did not hold" : "");
    return r;
}

static int case_race(struct conformance *c, struct error *error)
{
    struct conformance_attempt a[BATCH], released[BATCH];
    struct conformance_leader old, next = {.in = -1, .out = -1};
    struct tally t = {.begun_ms = clock_mono_ms()};
    int r = begin(c, &old, error);

    if (r == 0)
        r = begin(c, &next, error);
    for (size_t left = (size_t)c->trials * 5; r == 0 && left > 0; left -= left < BATCH ? left : BATCH) {
        size_t n = left < BATCH ? left : BATCH;

        r = make_all(c, a, n, SHORT, error);
        if (r < 0)
            break;
        conformance_prepare(&old, a, n);
        memcpy(released, a, sizeof(a));
        for (size_t i = 0; i < n; i++) {
            bool fence_first = random() % 2;

            a[i].may_have_run = true;
            if (fence_first)
                conformance_send(&next, ENGINE_FENCE, &a[i], 1);
            pause_up_to(random() % 2 ? 3000 : 80000);
            conformance_send(&old, ENGINE_RELEASE, &released[i], 1);
            if (!fence_first)
                conformance_send(&next, ENGINE_FENCE, &a[i], 1);
        }
        conformance_settle(&next, a, n, true);
        for (size_t i = 0; i < n; i++)
            json_decref(conformance_leader_hear(&old, released[i].ticket, HELD_MS));
        count_all(&t, c, a, n, false);
        conformance_attempts_release(a, n);
    }
    conformance_leader_kill(&old);
    conformance_leader_kill(&next);
    if (r == 0)
        show(c, "fence and release at the same time", &t, true, "");
    return r;
}

/* Every other one was released; the leader dies, and its successor in the middle of the fences. */
static int case_cut_fence(struct conformance *c, struct error *error)
{
    struct conformance_attempt a[BATCH];
    struct tally t = {.begun_ms = clock_mono_ms()};
    size_t odd = 0;
    int r = 0;

    for (size_t left = (size_t)c->trials; r == 0 && left > 0; left -= left < BATCH ? left : BATCH) {
        size_t n = left < BATCH ? left : BATCH;
        struct conformance_leader leaders[3] = {
            {.in = -1, .out = -1}, {.in = -1, .out = -1}, {.in = -1, .out = -1}};

        for (size_t i = 0; r == 0 && i < 3; i++) {
            r = begin(c, &leaders[i], error);
            if (r == 0 && i == 0)
                r = make_all(c, a, n, SHORT, error);
            if (r < 0)
                break;
            if (i == 0) {
                conformance_prepare(&leaders[i], a, n);
                for (size_t k = 0; k < n; k += 2)
                    conformance_release(&leaders[i], &a[k], 1);
                for (size_t k = 1; k < n; k += 2)
                    a[k].may_have_run = true;
            } else if (i == 1) {
                conformance_send(&leaders[i], ENGINE_FENCE, a, n);
                pause_up_to(60000);
            } else {
                conformance_settle(&leaders[i], a, n, false);
            }
            if (i < 2)
                conformance_leader_kill(&leaders[i]);
        }
        for (size_t k = 0; r == 0 && k < n; k++)
            odd += a[k].said != (k % 2 ? SAID_NEVER : SAID_RAN);
        if (r == 0) {
            count_all(&t, c, a, n, false);
            conformance_attempts_release(a, n);
        }
        for (size_t i = 0; i < 3; i++)
            conformance_leader_kill(&leaders[i]);
    }
    if (r == 0)
        show(c, "fence cut short and repeated", &t, odd == 0 || !c->counted,
             odd && c->counted ? "; not as they were left" : "");
    return r;
}

/* ---- what others do ---- */

static int run_command(const char *command, const char *id)
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        setenv("CRONSCHED_ID", id, 1);
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    return status;
}

static int case_restarted(struct conformance *c, struct error *error)
{
    static const char name[] = "engine restarted in mid-start";
    struct conformance_attempt a[BATCH];
    struct conformance_leader leader;
    struct tally t = {.begun_ms = clock_mono_ms()};
    int r;

    if (!c->restart) {
        skip(c, name, "not tried: no --restart");
        return 0;
    }
    r = begin(c, &leader, error);
    for (size_t left = (size_t)c->trials; r == 0 && left > 0; left -= left < 5 ? left : 5) {
        size_t n = left < 5 ? left : 5;

        r = make_all(c, a, n, LONG, error);
        if (r < 0)
            break;
        conformance_prepare(&leader, a, n);
        conformance_send(&leader, ENGINE_RELEASE, a, n);
        pause_up_to(800000);
        run_command(c->restart, "");
        for (size_t i = 0; i < n; i++)
            json_decref(conformance_leader_hear(&leader, a[i].ticket, HELD_MS));
        conformance_settle(&leader, a, n, false);
        count_all(&t, c, a, n, false);
        conformance_attempts_release(a, n);
    }
    conformance_leader_kill(&leader);
    if (r == 0)
        show(c, name, &t, true, "");
    return r;
}

/* Somebody takes away what runs: it may be lost, but not silently. */
static int case_removed(struct conformance *c, struct error *error)
{
    static const char name[] = "taken away while it runs";
    char remark[220];
    struct conformance_attempt a;
    struct conformance_leader leader;
    struct tally t = {.begun_ms = clock_mono_ms()};
    int r;

    if (!c->remove) {
        skip(c, name, "not tried: no --remove");
        return 0;
    }
    r = begin(c, &leader, error);
    if (r == 0)
        r = make_all(c, &a, 1, "sleep 60", error);
    if (r == 0) {
        conformance_prepare(&leader, &a, 1);
        conformance_release(&leader, &a, 1);
        usleep(SETTLED_US);
        run_command(c->remove, a.id);
        conformance_watch(&leader, &a, 1);
        if (a.said == SAID_UNKNOWN)
            a.said = SAID_RAN; /* it is told that it is lost */
        count_all(&t, c, &a, 1, false);
        snprintf(remark, sizeof(remark), "; %.200s", a.text);
        show(c, name, &t, true, remark);
        conformance_attempts_release(&a, 1);
    }
    conformance_leader_kill(&leader);
    return r;
}

/* ---- all ---- */

/* What the engine is; and that it is one that the drill can count on. */
static int look_at_engine(struct conformance *c, struct error *error)
{
    struct conformance_leader leader;
    char text[sizeof(leader.text)];
    int r = begin(c, &leader, error);

    c->hands_over = leader.hands_over;
    memcpy(c->type, leader.type, sizeof(c->type));
    memcpy(c->version, leader.version, sizeof(c->version));
    memcpy(text, leader.text, sizeof(text));
    c->counted = strcmp(c->type, "null") != 0;
    conformance_leader_kill(&leader);
    if (r == 0)
        printf("engine %s: %s: %s\n", c->engine, c->type, text);
    return r;
}

static int two_leaders(struct conformance *c, struct error *error)
{
    static const char none[] = "does not apply: what is prepared goes with its leader";
    int r;

    if (!c->hands_over) {
        skip(c, "release held until after the take-over", none);
        skip(c, "fence and release at the same time", none);
        return 0;
    }
    r = case_late_release(c, error);
    return r < 0 ? r : case_race(c, error);
}

int conformance_run(struct conformance *c, struct error *error)
{
    int r = look_at_engine(c, error);

    c->passed = true;
    if (r == 0)
        r = case_starts(c, error);
    if (r == 0)
        r = case_stop(c, 2, false, error);
    if (r == 0)
        r = case_stop(c, (size_t)c->trials, true, error);
    for (int step = 0; r == 0 && step < STEP_COUNT; step++)
        r = case_killed(c, (enum step)step, error);
    if (r == 0)
        r = two_leaders(c, error);
    if (r == 0)
        r = case_cut_fence(c, error);
    if (r == 0)
        r = case_many(c, error);
    if (r == 0)
        r = case_restarted(c, error);
    return r < 0 ? r : case_removed(c, error);
}
