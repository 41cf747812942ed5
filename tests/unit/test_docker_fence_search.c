/* The fence of the docker engine: a search through every interleaving of a small engine that crashes, forgets, starts,
 * ends, cannot mount and loses its host at the worst moments, around the shipped step function. Single paths are in
 * test_docker_fence.c. */
#include "jobs/engine/docker_fence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* One container, one fence, at most one start request that may arrive at any time or never. The engine's lock
 * is held from the start's begin to its state write, but nothing here rests on it: the file system decides
 * between the witness and the seal. */
enum phase { IDLE, LOCKED, MOUNTED /* the witness is there */, EXECUTED /* not yet written down */ };

#define RING_MAX  8
#define QUEUE_MAX 10

struct world {
    struct docker_fence fence;
    /* the engine */
    unsigned char up, exists, status, started, failed, witness, sealed, phase, ran, boot, start_to_come;
    unsigned char unmounted; /* a volume of it cannot be mounted just now */
    unsigned char ring[RING_MAX], ring_len;
    /* the stream: opened, then (later) subscribed */
    unsigned char stream, subscribed, queue[QUEUE_MAX], queue_len, stream_broke;
    /* the request under way: not yet seen by the engine, or its answer on the way */
    unsigned char asked, answered, answer_lost;
    struct docker_fact answer;
    struct docker_state answer_state;
    /* what may still go wrong */
    unsigned char crashes, host_crashes, forgets, removals, quiets, refences, mount_changes;
    unsigned char may_have_run;
};

/* The states seen are kept as 128 bits of hash: at a million states a collision is a matter of 1e-26. */
struct mark {
    uint64_t a, b;
};

struct search {
    struct mark *seen; /* open addressing; 0, 0: free */
    size_t size, count;
    struct world *stack;
    size_t depth, stack_size;
    bool no_witness, overwrites, forces; /* broken on purpose: the search must find it */
    size_t verdicts[ENGINE_DONE + 1], wrong;
    const char *first_wrong;
};

static struct mark mark_of(const struct world *w)
{
    struct mark m = {0x9e3779b97f4a7c15u, 0xc2b2ae3d27d4eb4fu};
    for (size_t i = 0; i < sizeof(*w) / 8; i++) {
        uint64_t word;
        memcpy(&word, (const char *)w + 8 * i, 8);
        if (word == 0) /* most of it is text that is not there */
            continue;
        word ^= (uint64_t)i << 48;
        m.a = (m.a ^ word) * 0xff51afd7ed558ccdu;
        m.a ^= m.a >> 32;
        m.b = (m.b + word) * 0x9fb21c651e98df25u;
        m.b ^= m.b >> 29;
    }
    m.a |= 1;
    return m;
}

static void push(struct search *s, const struct world *w)
{
    struct mark m = mark_of(w);
    size_t at = m.b & (s->size - 1);
    for (; s->seen[at].a; at = (at + 1) & (s->size - 1))
        if (s->seen[at].a == m.a && s->seen[at].b == m.b)
            return;
    assert_true(s->count < s->size / 2);
    s->seen[at] = m;
    s->count++;
    if (s->depth == s->stack_size) {
        s->stack_size = s->stack_size ? 2 * s->stack_size : 1024;
        s->stack = realloc(s->stack, s->stack_size * sizeof(*s->stack));
        assert_non_null(s->stack);
    }
    s->stack[s->depth++] = *w;
}

static void publish(struct world *w, enum docker_event event)
{
    assert_true(w->ring_len < RING_MAX);
    w->ring[w->ring_len++] = (unsigned char)event;
    if (w->subscribed) {
        assert_true(w->queue_len < QUEUE_MAX);
        w->queue[w->queue_len++] = (unsigned char)event;
    }
}

static void engine_dies(struct world *w)
{
    w->up = 0;
    w->phase =
        IDLE; /* LOCKED, MOUNTED: the process was never executed; EXECUTED: it was, and nobody wrote it down */
    if (w->status == DOCKER_RUNNING)
        w->status = DOCKER_EXITED; /* as its next start will find */
    w->ring_len = 0;
    memset(w->ring, 0, sizeof(w->ring));
    w->subscribed = 0;
    if (w->stream)
        w->stream_broke = 1;
    if (w->asked) {
        w->asked = 0;
        w->answered = w->answer_lost = 1;
    }
}

static void remove_container(struct world *w)
{
    w->exists = 0;
    publish(w, DOCKER_EVENT_DESTROY);
}

/* The engine sees the request that is under way. */
static void serve(const struct search *s, struct world *w)
{
    struct docker_fact a = {0};
    switch (w->fence.want) {
    case DOCKER_FENCE_OPEN_EVENTS:
        a.kind = DOCKER_FACT_OPENED;
        w->stream = 1;
        break;
    case DOCKER_FENCE_INSPECT:
        a.kind = DOCKER_FACT_STATE;
        a.status = w->exists ? 200 : 404;
        memset(&w->answer_state, 0, sizeof(w->answer_state));
        w->answer_state.status = w->status;
        w->answer_state.started_ms = w->started;
        if (w->failed == 2)
            w->answer_state.exit_code = 128;
        else if (w->failed)
            w->answer_state.exit_code = 127;
        if (w->failed)
            memcpy(w->answer_state.error, "exec", 4);
        break;
    case DOCKER_FENCE_CHANGES:
        a.kind = DOCKER_FACT_CHANGES;
        a.status = w->exists ? 200 : 404;
        a.witness = w->witness;
        break;
    case DOCKER_FENCE_BOOT_ID:
        a.kind = DOCKER_FACT_BOOT_ID;
        a.status = w->boot;
        break;
    case DOCKER_FENCE_SEAL:
        a.kind = DOCKER_FACT_SEALED;
        a.status = !w->exists ? 404 : (w->witness && !s->overwrites) || w->unmounted ? 500 : 200;
        if (a.status == 200) {
            w->sealed = 1;
            publish(w, DOCKER_EVENT_SEAL);
        }
        break;
    case DOCKER_FENCE_REMOVE:
        a.kind = DOCKER_FACT_REMOVED;
        a.status = !w->exists                                                        ? 404
                   : (w->status == DOCKER_RUNNING || w->phase != IDLE) && !s->forces ? 409
                                                                                     : 204;
        if (a.status == 204) {
            remove_container(w);
            w->phase = IDLE;
        }
        break;
    default:
        fail();
    }
    w->answer = a;
    w->asked = 0;
    w->answered = 1;
}

static void drop_stream(struct world *w)
{
    w->stream = w->subscribed = w->queue_len = w->stream_broke = 0;
    memset(w->queue, 0, sizeof(w->queue));
}

static void begin(struct world *w)
{
    drop_stream(w);
    docker_fence_init(&w->fence, w->may_have_run, "kernel=a", NULL);
    w->asked = 1;
    w->answered = w->answer_lost = 0;
}

static void tell(struct search *s, const struct world *from, const struct docker_fact *fact);

static void deliver_answer(struct search *s, const struct world *from)
{
    struct world w = *from;
    struct docker_fact fact = w.answer;
    bool lost = w.answer_lost;
    fact.state = &from->answer_state;
    if (fact.kind == DOCKER_FACT_BOOT_ID)
        fact.text = w.boot == 0 ? "kernel=a" : "kernel=b";
    w.answered = w.answer_lost = 0;
    memset(&w.answer, 0, sizeof(w.answer));
    memset(&w.answer_state, 0, sizeof(w.answer_state));
    if (lost)
        fact = (struct docker_fact){.kind = DOCKER_FACT_UNREACHABLE};
    tell(s, &w, &fact);
}

static void expect(struct search *s, bool holds, const char *what)
{
    if (holds)
        return;
    s->wrong++;
    if (!s->first_wrong)
        s->first_wrong = what;
}

/* What must hold whenever the fence has decided. */
static void judge(struct search *s, const struct world *w)
{
    s->verdicts[w->fence.verdict.event]++;
    switch (w->fence.verdict.event) {
    case ENGINE_NEVER_RAN:
        expect(s, w->ran == 0, "NEVER_RAN, and it ran");
        expect(s, w->sealed || !w->exists || !w->start_to_come, "NEVER_RAN, and it may yet be started");
        break;
    case ENGINE_REFUSED:
        expect(s, w->ran == 0, "REFUSED, and it ran");
        expect(s, !w->start_to_come, "REFUSED, and it may yet be started");
        break;
    case ENGINE_STARTED:
    case ENGINE_ENDED:
        expect(s, w->ran == 1, "STARTED, and it never ran");
        break;
    case ENGINE_UNKNOWN:
        expect(s, w->sealed || w->witness || !w->exists || !w->start_to_come,
               "UNKNOWN, and it may yet be started");
        break;
    case ENGINE_UNREACHABLE:
        break;
    default:
        fail();
    }
}

static void tell(struct search *s, const struct world *from, const struct docker_fact *fact)
{
    struct world w = *from;
    bool fresh = docker_fence_tell(&w.fence, fact);
    if (w.fence.want == DOCKER_FENCE_DONE) {
        judge(s, &w);
        if (w.fence.verdict.event == ENGINE_UNREACHABLE && w.refences) { /* the scheduler comes again */
            w.refences--;
            begin(&w);
            push(s, &w);
        }
        return;
    }
    w.fence.rounds = 0; /* the bound is tested elsewhere; here it would only blow up the search */
    if (fresh && w.fence.want != DOCKER_FENCE_WAIT) {
        assert_int_equal(w.asked + w.answered, 0);
        if (w.fence.want == DOCKER_FENCE_OPEN_EVENTS)
            drop_stream(&w);
        w.asked = 1;
    }
    push(s, &w);
}

static void deliver_event(struct search *s, const struct world *from)
{
    struct world w = *from;
    struct docker_fact fact = {.kind = DOCKER_FACT_EVENT, .event = w.queue[0], .at_ms = 1, .exit_code = 0};
    memmove(w.queue, w.queue + 1, QUEUE_MAX - 1);
    w.queue[QUEUE_MAX - 1] = 0;
    w.queue_len--;
    tell(s, &w, &fact);
}

static void deliver_close(struct search *s, const struct world *from)
{
    struct world w = *from;
    w.stream = w.subscribed = w.stream_broke = 0;
    tell(s, &w, &(struct docker_fact){.kind = DOCKER_FACT_CLOSED});
}

#define MAYBE(condition, change)                                                                             \
    do {                                                                                                     \
        if (condition) {                                                                                     \
            struct world w = *from;                                                                          \
            change;                                                                                          \
            push(s, &w);                                                                                     \
        }                                                                                                    \
    } while (0)

static void engine_moves(struct search *s, const struct world *from)
{
    bool up = from->up, idle = from->phase == IDLE;
    bool startable = up && idle && from->exists && from->status == DOCKER_CREATED;
    /* the one start request arrives, or never will */
    MAYBE(from->start_to_come && startable, {
        w.start_to_come = 0;
        w.phase = LOCKED;
    });
    MAYBE(from->phase == LOCKED && from->unmounted, {
        w.phase = IDLE;
        w.failed = 2;
    });
    MAYBE(from->phase == LOCKED && !from->sealed && !from->unmounted, {
        w.witness = !s->no_witness;
        w.phase = MOUNTED;
    });
    MAYBE(from->phase == LOCKED, w.phase = IDLE); /* it fails before its mounts, or meets the seal */
    MAYBE(from->start_to_come && up && !from->exists, w.start_to_come = 0);
    MAYBE(from->start_to_come, w.start_to_come = 0);
    MAYBE(from->phase == MOUNTED, {
        w.phase = EXECUTED;
        w.ran = 1;
    });
    MAYBE(from->phase == MOUNTED, {
        w.phase = IDLE;
        w.failed = 1;
    });
    MAYBE(from->phase == EXECUTED, {
        w.phase = IDLE;
        w.status = DOCKER_RUNNING;
        w.started = 1;
        publish(&w, DOCKER_EVENT_START);
    });
    MAYBE(up && from->exists && from->status == DOCKER_RUNNING, {
        w.status = DOCKER_EXITED;
        publish(&w, DOCKER_EVENT_DIE);
    });
    MAYBE(from->asked && up, serve(s, &w));
    MAYBE(from->stream && !from->subscribed && up && !from->stream_broke, {
        w.subscribed = 1;
        memcpy(w.queue, w.ring, w.ring_len);
        w.queue_len = w.ring_len;
    });
    MAYBE(!up, w.up = 1);
}

static void things_go_wrong(struct search *s, const struct world *from)
{
    MAYBE(from->up && from->crashes, {
        w.crashes--;
        engine_dies(&w);
    });
    MAYBE(from->host_crashes, {
        w.host_crashes--;
        engine_dies(&w);
        w.boot = 1;
        /* They were never synced. A start that met the seal died with the host; one that is sent only after
         * all this, by a leader that was deposed long ago, is a matter of its lease. */
        w.start_to_come &= !w.sealed;
        w.witness = w.sealed = 0;
    });
    /* not between a stream's headers and its subscription: 256 events do not happen in those microseconds */
    MAYBE(from->forgets && from->ring_len && (!from->stream || from->subscribed), {
        w.forgets--;
        w.ring_len = 0;
        memset(w.ring, 0, sizeof(w.ring));
    });
    MAYBE(from->removals && from->up && from->phase == IDLE && from->exists && from->status != DOCKER_RUNNING,
          {
              w.removals--;
              remove_container(&w);
          });
    MAYBE(from->mount_changes, {
        w.mount_changes--;
        w.unmounted ^= 1;
    });
    MAYBE(from->asked && !from->up, { /* connection refused */
                                      w.asked = 0;
                                      w.answered = w.answer_lost = 1;
    });
}

static void expand(struct search *s, const struct world *from)
{
    engine_moves(s, from);
    things_go_wrong(s, from);
    if (from->answered)
        deliver_answer(s, from);
    if (from->queue_len)
        deliver_event(s, from);
    else if (from->stream_broke)
        deliver_close(s, from);
    if (from->fence.want == DOCKER_FENCE_WAIT && from->quiets) {
        struct world w = *from;
        w.quiets--;
        tell(s, &w, &(struct docker_fact){.kind = DOCKER_FACT_QUIET});
    }
}

static void search(struct search *s, const struct world *adversity)
{
    struct world w;
    memset(&w, 0, sizeof(w)); /* padding counts in the hash */
    w = *adversity;
    w.up = w.exists = 1;
    w.start_to_come = w.may_have_run;
    w.ring[w.ring_len++] = DOCKER_EVENT_CREATE;
    begin(&w);
    s->size = 1u << 23;
    s->seen = calloc(s->size, sizeof(*s->seen));
    assert_non_null(s->seen);
    push(s, &w);
    while (s->depth > 0) {
        w = s->stack[--s->depth];
        expand(s, &w);
    }
    free(s->seen);
    free(s->stack);
}

static void no_interleaving_makes_it_lie(void **state)
{
    static const struct world adversities[] = {
        {.may_have_run = 1, .crashes = 2, .forgets = 1, .quiets = 2, .refences = 1},
        {.may_have_run = 1, .crashes = 1, .removals = 1, .forgets = 1, .quiets = 2},
        {.may_have_run = 1, .host_crashes = 1, .forgets = 1, .quiets = 2, .refences = 1},
        {.may_have_run = 1, .crashes = 1, .host_crashes = 1, .quiets = 2},
        {.may_have_run = 1,
         .crashes = 1,
         .quiets = DOCKER_FENCE_LOOKS_MAX + 2}, /* looks at a witness to the end */
        {.may_have_run = 1, .unmounted = 1, .mount_changes = 1, .crashes = 1, .quiets = 3, .refences = 1},
        {.may_have_run = 1, .mount_changes = 2, .forgets = 1, .quiets = 3, .refences = 1},
        {.may_have_run = 0, .unmounted = 1, .crashes = 1, .removals = 1, .forgets = 1, .quiets = 3},
        {.may_have_run = 0,
         .crashes = 2,
         .host_crashes = 1,
         .removals = 1,
         .forgets = 1,
         .quiets = 2,
         .refences = 1},
    };
    size_t verdicts[ENGINE_DONE + 1] = {0};
    for (size_t i = 0; i < COUNT(adversities); i++) {
        struct search s = {0};
        search(&s, &adversities[i]);
        print_message("# %zu states\n", s.count);
        if (s.wrong)
            fail_msg("%zu: %s (%zu times)", i, s.first_wrong, s.wrong);
        for (size_t v = 0; v < COUNT(verdicts); v++)
            verdicts[v] += s.verdicts[v];
    }
    /* and it is not silent about everything: each verdict is reached */
    assert_true(verdicts[ENGINE_NEVER_RAN] && verdicts[ENGINE_STARTED] && verdicts[ENGINE_ENDED] &&
                verdicts[ENGINE_REFUSED] && verdicts[ENGINE_UNKNOWN] && verdicts[ENGINE_UNREACHABLE]);
}

static void without_faults_nothing_is_unknown(void **state)
{
    static const struct world calm = {.may_have_run = 1, .quiets = 0};
    struct search s = {0};
    search(&s, &calm);
    assert_int_equal(s.wrong, 0);
    assert_int_equal(s.verdicts[ENGINE_UNKNOWN], 0);
}

static void the_search_finds_what_is_broken_on_purpose(void **state)
{
    static const struct world adversity = {.may_have_run = 1, .crashes = 1, .forgets = 1, .quiets = 2};
    static const struct world mounts = {.may_have_run = 1, .unmounted = 1, .mount_changes = 1, .quiets = 3};
    struct search no_witness = {.no_witness = true}, overwrites = {.overwrites = true};
    struct search forces = {.forces = true};
    search(&no_witness, &adversity);
    assert_true(no_witness.wrong > 0);
    search(&overwrites, &adversity);
    assert_true(overwrites.wrong > 0);
    search(&forces, &mounts);
    assert_true(forces.wrong > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_interleaving_makes_it_lie),
        cmocka_unit_test(without_faults_nothing_is_unknown),
        cmocka_unit_test(the_search_finds_what_is_broken_on_purpose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
