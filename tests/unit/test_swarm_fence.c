/* The fence of a Swarm: a table of single paths, and a search through every interleaving of one fence with releases that
 * are under way, answers that are lost and a service that somebody removes. */
#include "jobs/engine/swarm_fence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- single paths ---- */

#define STEPS 4

struct step {
    enum swarm_fence_want want;
    struct swarm_fact fact;
};

/* clang-format off */
#define AT(v, n, r)   {SWARM_FENCE_LOOK, {.kind = SWARM_FACT_SERVICE, .status = 200, .version = (v), .replicas = (n), .released = (r)}}
#define GONE          {SWARM_FENCE_LOOK, {.kind = SWARM_FACT_SERVICE, .status = 404}}
#define LOOK(code)    {SWARM_FENCE_LOOK, {.kind = SWARM_FACT_SERVICE, .status = (code), .text = "no leader"}}
#define LABEL(code)   {SWARM_FENCE_LABEL, {.kind = SWARM_FACT_LABELLED, .status = (code), .text = "update out of sequence"}}
#define CLUSTER(name) {SWARM_FENCE_CLUSTER, {.kind = SWARM_FACT_CLUSTER, .text = (name)}}
#define SILENCE(w)    {(w), {.kind = SWARM_FACT_UNREACHABLE, .text = "connection refused"}}

static const struct path {
    const char *name;
    bool may_have_run;
    struct step steps[STEPS];
    size_t count;
    enum engine_event event;
    const char *part;
} paths[] = {
    {"never released", true, {AT(7, 0, false), LABEL(200)}, 2, ENGINE_NEVER_RAN, "at version 7: no replica and never released"},
    {"released", true, {AT(8, 1, true)}, 1, ENGINE_ACCEPTED, "released"},
    {"released and withdrawn", true, {AT(9, 0, true)}, 1, ENGINE_ACCEPTED, "released"},
    {"scaled by somebody", false, {AT(9, 2, false)}, 1, ENGINE_ACCEPTED, "somebody else"},
    {"made a global service by somebody", false, {AT(9, -1, false)}, 1, ENGINE_ACCEPTED, "somebody else"},
    {"the release came first", true, {AT(7, 0, false), LABEL(500), AT(8, 1, true)}, 3, ENGINE_ACCEPTED, "released"},
    {"somebody else updated it", true, {AT(7, 0, false), LABEL(500), AT(8, 0, false), LABEL(200)}, 4, ENGINE_NEVER_RAN, "at version 8"},
    {"the answer to its update is lost", true, {AT(7, 0, false), SILENCE(SWARM_FENCE_LABEL), AT(8, 0, false), LABEL(200)}, 4, ENGINE_NEVER_RAN, NULL},
    {"a manager without a leader", true, {LOOK(500), SILENCE(SWARM_FENCE_LOOK), AT(7, 0, false), LABEL(200)}, 4, ENGINE_NEVER_RAN, NULL},
    {"removed before any release", false, {GONE, CLUSTER("swarm-a")}, 2, ENGINE_NEVER_RAN, "no release was ever sent"},
    {"removed, and it may have been released", true, {GONE, CLUSTER("swarm-a")}, 2, ENGINE_UNKNOWN, "removed"},
    {"not on this Swarm", false, {GONE, CLUSTER("swarm-b")}, 2, ENGINE_UNREACHABLE, "another engine"},
    {"not there, and which Swarm it is is not told", false, {GONE, CLUSTER(NULL)}, 2, ENGINE_UNREACHABLE, NULL},
    {"removed between look and update", true, {AT(7, 0, false), LABEL(404), GONE, CLUSTER("swarm-a")}, 4, ENGINE_UNKNOWN, NULL},
};
/* clang-format on */

static void each_path_comes_to_its_verdict(void **state)
{
    for (size_t i = 0; i < COUNT(paths); i++) {
        const struct path *p = &paths[i];
        struct swarm_fence f;

        swarm_fence_begin(&f, "service-1", "swarm-a", 5, p->may_have_run);
        for (size_t k = 0; k < p->count; k++) {
            if (f.want != p->steps[k].want)
                fail_msg("%s: step %zu wants %d", p->name, k, (int)f.want);
            swarm_fence_tell(&f, &p->steps[k].fact);
        }
        if (f.want != SWARM_FENCE_DONE || f.verdict.event != p->event ||
            (p->part && !strstr(f.verdict.text, p->part)))
            fail_msg("%s: want %d, %s: %s", p->name, (int)f.want, engine_event_name(f.verdict.event),
                     f.verdict.text);
    }
}

static void it_always_ends(void **state)
{
    const struct swarm_fact found = {.kind = SWARM_FACT_SERVICE, .status = 200, .version = 1};
    const struct swarm_fact refused = {.kind = SWARM_FACT_LABELLED, .status = 500, .text = "out of sequence"};
    struct swarm_fence f;
    int steps = 0;

    swarm_fence_begin(&f, "service-1", NULL, 5, true);
    while (f.want != SWARM_FENCE_DONE && steps++ < 1000)
        swarm_fence_tell(&f, f.want == SWARM_FENCE_LOOK ? &found : &refused);
    assert_in_range(steps, SWARM_FENCE_ROUNDS_MAX, 3 * SWARM_FENCE_ROUNDS_MAX);
    assert_int_equal(f.verdict.event, ENGINE_UNREACHABLE);
    assert_non_null(strstr(f.verdict.text, "out of sequence"));
}

/* ---- every interleaving ---- */

struct world {
    struct swarm_fence fence;
    bool there, released;
    uint64_t version;
    uint64_t releases
        [2]; /* under way: at that version; 0: none. The second is the first, sent again by a manager */
    bool asked, answered; /* the fence's request */
    struct swarm_fact answer;
    int losses, removals, strangers; /* that may still happen */
};

struct search {
    bool swaps; /* the managers compare the version */
    size_t worlds, wrong;
    size_t verdicts[ENGINE_EVENT_COUNT];
};

static void walk(struct search *s, struct world w);

static bool update(const struct search *s, struct world *w, uint64_t version)
{
    if (!w->there || (s->swaps && version != w->version))
        return false;
    w->version++;
    return true;
}

static void release_arrives(const struct search *s, struct world *w, size_t i)
{
    uint64_t version = w->releases[i];

    w->releases[i] = 0;
    if (update(s, w, version))
        w->released = true;
}

static void judge(struct search *s, struct world w)
{
    bool was_released = w.released;

    s->verdicts[w.fence.verdict.event]++;
    for (size_t i = 0; i < COUNT(w.releases); i++)
        if (w.releases[i])
            release_arrives(s, &w, i); /* as late as may be */
    switch (w.fence.verdict.event) {
    case ENGINE_NEVER_RAN:
        s->wrong += w.released;
        break;
    case ENGINE_ACCEPTED:
        s->wrong += !was_released;
        break;
    case ENGINE_UNKNOWN:
        s->wrong += w.there;
        break;
    default:
        assert_int_equal(w.fence.verdict.event, ENGINE_UNREACHABLE);
    }
}

/* The request is carried out. */
static void serve(const struct search *s, struct world *w)
{
    w->asked = false;
    w->answered = true;
    switch (w->fence.want) {
    case SWARM_FENCE_LOOK:
        w->answer = (struct swarm_fact){.kind = SWARM_FACT_SERVICE,
                                        .status = w->there ? 200 : 404,
                                        .version = w->version,
                                        .replicas = w->released,
                                        .released = w->released};
        break;
    case SWARM_FENCE_LABEL:
        w->answer = (struct swarm_fact){.kind = SWARM_FACT_LABELLED,
                                        .status = update(s, w, w->fence.version) ? 200 : 500};
        break;
    default:
        w->answer = (struct swarm_fact){.kind = SWARM_FACT_CLUSTER, .text = "swarm-a"};
    }
}

static void tell(struct search *s, struct world w, const struct swarm_fact *fact)
{
    w.answered = false;
    swarm_fence_tell(&w.fence, fact);
    w.asked = true;
    if (w.fence.want == SWARM_FENCE_DONE)
        judge(s, w);
    else
        walk(s, w);
}

#define MAYBE(condition, change)                                                                             \
    if (condition) {                                                                                         \
        struct world next = w;                                                                               \
        change;                                                                                              \
        walk(s, next);                                                                                       \
    }

static void walk(struct search *s, struct world w)
{
    static const struct swarm_fact silence = {.kind = SWARM_FACT_UNREACHABLE};

    s->worlds++;
    MAYBE(w.asked, serve(s, &next));
    if (w.answered)
        tell(s, w, &w.answer);
    if (w.losses > 0) { /* before it is carried out, or after */
        struct world next = w;

        next.losses--;
        tell(s, next, &silence);
    }
    for (size_t i = 0; i < COUNT(w.releases); i++)
        MAYBE(w.releases[i], release_arrives(s, &next, i));
    MAYBE(w.removals > 0 && w.there, next.there = false; next.removals--);
    MAYBE(w.strangers > 0 && w.there, next.version++; next.strangers--);
}

static struct search search(bool swaps)
{
    struct search s = {.swaps = swaps};
    struct world w = {.there = true,
                      .version = 7,
                      .releases = {7, 7},
                      .asked = true,
                      .losses = 2,
                      .removals = 1,
                      .strangers = 1};

    swarm_fence_begin(&w.fence, "service-1", "swarm-a", 5, true);
    walk(&s, w);
    return s;
}

static void no_interleaving_breaks_it(void **state)
{
    struct search s = search(true);

    print_message("%zu worlds: %zu never ran, %zu accepted, %zu unknown, %zu unreachable\n", s.worlds,
                  s.verdicts[ENGINE_NEVER_RAN], s.verdicts[ENGINE_ACCEPTED], s.verdicts[ENGINE_UNKNOWN],
                  s.verdicts[ENGINE_UNREACHABLE]);
    assert_int_equal(s.wrong, 0);
    assert_true(s.verdicts[ENGINE_NEVER_RAN] && s.verdicts[ENGINE_ACCEPTED] && s.verdicts[ENGINE_UNKNOWN]);
}

/* The search would see it: where the managers do not compare, the fence proves nothing. */
static void without_compare_and_swap_it_is_broken(void **state)
{
    assert_true(search(false).wrong > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_path_comes_to_its_verdict),
        cmocka_unit_test(it_always_ends),
        cmocka_unit_test(no_interleaving_breaks_it),
        cmocka_unit_test(without_compare_and_swap_it_is_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
