/* The fence of a Kubernetes: a table of single paths, and a search through every interleaving of one fence with releases
 * that are under way, answers that are lost, a policy that refuses changes and a Pod that somebody deletes. */
#include "jobs/engine/kube_fence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- single paths ---- */

#define STEPS 5

struct step {
    enum kube_fence_want want;
    struct kube_fact fact;
};

/* clang-format off */
#define AT(v, g)      {KUBE_FENCE_LOOK, {.kind = KUBE_FACT_POD, .status = 200, .version = (v), .gated = (g)}}
#define OTHER         {KUBE_FENCE_LOOK, {.kind = KUBE_FACT_POD, .status = 200, .version = "9", .gated = true, .other = true}}
#define GONE          {KUBE_FENCE_LOOK, {.kind = KUBE_FACT_POD, .status = 404}}
#define LOOK(code)    {KUBE_FENCE_LOOK, {.kind = KUBE_FACT_POD, .status = (code), .text = "not now"}}
#define MARK(code, g) {KUBE_FENCE_ANNOTATE, {.kind = KUBE_FACT_CHANGED, .status = (code), .gated = (g), .text = "modified"}}
#define DELETE(code, g) {KUBE_FENCE_DELETE, {.kind = KUBE_FACT_CHANGED, .status = (code), .gated = (g), .text = "modified"}}
#define CLUSTER(name) {KUBE_FENCE_CLUSTER, {.kind = KUBE_FACT_CLUSTER, .text = (name)}}
#define SILENCE(w)    {(w), {.kind = KUBE_FACT_UNREACHABLE, .text = "connection refused"}}

static const struct path {
    const char *name;
    bool may_have_run;
    struct step steps[STEPS];
    size_t count;
    enum engine_event event;
    const char *part;
} paths[] = {
    {"never released", true, {AT("7", true), MARK(200, true)}, 2, ENGINE_NEVER_RAN, "at version 7: our scheduling gate was never taken away"},
    {"released", true, {AT("8", false)}, 1, ENGINE_ACCEPTED, "released"},
    {"the release came first", true, {AT("7", true), MARK(409, false), AT("8", false)}, 3, ENGINE_ACCEPTED, "released"},
    {"somebody else changed it", true, {AT("7", true), MARK(409, false), AT("8", true), MARK(200, true)}, 4, ENGINE_NEVER_RAN, "at version 8"},
    {"the answer to its change is lost", true, {AT("7", true), SILENCE(KUBE_FENCE_ANNOTATE), AT("8", true), MARK(200, true)}, 4, ENGINE_NEVER_RAN, NULL},
    {"an answer without the gate proves nothing", true, {AT("7", true), MARK(200, false), AT("9", false)}, 3, ENGINE_ACCEPTED, NULL},
    {"an API server that restarts", true, {LOOK(503), SILENCE(KUBE_FENCE_LOOK), AT("7", true), MARK(200, true)}, 4, ENGINE_NEVER_RAN, NULL},
    {"a policy refuses the change", true, {AT("7", true), MARK(403, false), DELETE(200, true)}, 3, ENGINE_NEVER_RAN, "deleted at version 7 with our scheduling gate"},
    {"a policy refuses the change, and the release came", true, {AT("7", true), MARK(422, false), DELETE(409, false), AT("8", false)}, 4, ENGINE_ACCEPTED, NULL},
    {"a deletion that answers without the gate", true, {AT("7", true), MARK(403, false), DELETE(200, false), AT("8", false)}, 4, ENGINE_ACCEPTED, NULL},
    {"deleted before any release", false, {GONE, CLUSTER("kube-a")}, 2, ENGINE_NEVER_RAN, "no release was ever sent"},
    {"deleted, and it may have been released", true, {GONE, CLUSTER("kube-a")}, 2, ENGINE_UNKNOWN, "deleted"},
    {"another Pod of its name", true, {OTHER, CLUSTER("kube-a")}, 2, ENGINE_UNKNOWN, "deleted"},
    {"not in this cluster", false, {GONE, CLUSTER("kube-b")}, 2, ENGINE_UNREACHABLE, "another engine"},
    {"not there, and which cluster it is is not told", false, {GONE, CLUSTER(NULL)}, 2, ENGINE_UNREACHABLE, NULL},
    {"deleted between look and change", true, {AT("7", true), MARK(404, false), GONE, CLUSTER("kube-a")}, 4, ENGINE_UNKNOWN, NULL},
};
/* clang-format on */

static void each_path_comes_to_its_verdict(void **state)
{
    for (size_t i = 0; i < COUNT(paths); i++) {
        const struct path *p = &paths[i];
        struct kube_fence f;

        kube_fence_begin(&f, "cs-1", "kube-a", 5, p->may_have_run);
        for (size_t k = 0; k < p->count; k++) {
            if (f.want != p->steps[k].want)
                fail_msg("%s: step %zu wants %d", p->name, k, (int)f.want);
            kube_fence_tell(&f, &p->steps[k].fact);
        }
        if (f.want != KUBE_FENCE_DONE || f.verdict.event != p->event ||
            (p->part && !strstr(f.verdict.text, p->part)))
            fail_msg("%s: want %d, %s: %s", p->name, (int)f.want, engine_event_name(f.verdict.event),
                     f.verdict.text);
    }
}

static void it_always_ends(void **state)
{
    const struct kube_fact found = {.kind = KUBE_FACT_POD, .status = 200, .version = "1", .gated = true};
    const struct kube_fact refused = {.kind = KUBE_FACT_CHANGED, .status = 403, .text = "a policy says no"};
    struct kube_fence f;
    int steps = 0;

    kube_fence_begin(&f, "cs-1", NULL, 5, true);
    while (f.want != KUBE_FENCE_DONE && steps++ < 1000)
        kube_fence_tell(&f, f.want == KUBE_FENCE_LOOK ? &found : &refused);
    assert_in_range(steps, KUBE_FENCE_ROUNDS_MAX, 4 * KUBE_FENCE_ROUNDS_MAX);
    assert_int_equal(f.verdict.event, ENGINE_UNREACHABLE);
    assert_non_null(strstr(f.verdict.text, "a policy says no"));
}

/* ---- every interleaving ---- */

struct world {
    struct kube_fence fence;
    bool there, deleting, released;
    uint64_t version;
    uint64_t
        releases[2]; /* under way: at that version; 0: none. The second is the first, sent again by a proxy */
    bool asked, answered; /* the fence's request */
    struct kube_fact answer;
    char text[24];                   /* of its version */
    int losses, removals, strangers; /* that may still happen */
};

struct search {
    bool swaps;   /* the API compares the version */
    bool refuses; /* a policy refuses to change annotations */
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

static void answer_changed(struct world *w, bool done, int otherwise)
{
    w->answer = (struct kube_fact){
        .kind = KUBE_FACT_CHANGED, .status = done ? 200 : otherwise, .gated = done && !w->released};
}

/* The request is carried out. */
static void serve(const struct search *s, struct world *w)
{
    uint64_t version = strtoull(w->fence.version, NULL, 10);

    w->asked = false;
    w->answered = true;
    switch (w->fence.want) {
    case KUBE_FENCE_LOOK:
        snprintf(w->text, sizeof(w->text), "%llu", (unsigned long long)w->version);
        w->answer =
            (struct kube_fact){.kind = KUBE_FACT_POD, .status = w->there ? 200 : 404, .gated = !w->released};
        break;
    case KUBE_FENCE_ANNOTATE:
        if (s->refuses)
            answer_changed(w, false, 403);
        else
            answer_changed(w, update(s, w, version), 409);
        break;
    case KUBE_FENCE_DELETE:
        w->deleting = update(s, w, version) || w->deleting;
        answer_changed(w, w->deleting, 409);
        break;
    default:
        w->answer = (struct kube_fact){.kind = KUBE_FACT_CLUSTER, .text = "kube-a"};
    }
}

static void tell(struct search *s, struct world w, const struct kube_fact *fact)
{
    struct kube_fact with = *fact;

    w.answered = false;
    if (with.kind == KUBE_FACT_POD)
        with.version = w.text;
    kube_fence_tell(&w.fence, &with);
    w.asked = true;
    if (w.fence.want == KUBE_FENCE_DONE)
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
    static const struct kube_fact silence = {.kind = KUBE_FACT_UNREACHABLE};

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

static struct search search(bool swaps, bool refuses)
{
    struct search s = {.swaps = swaps, .refuses = refuses};
    struct world w = {.there = true,
                      .version = 7,
                      .releases = {7, 7},
                      .asked = true,
                      .losses = refuses ? 1 : 2,
                      .removals = 1,
                      .strangers = 1};

    kube_fence_begin(&w.fence, "cs-1", "kube-a", 5, true);
    walk(&s, w);
    return s;
}

static void search_and_check(bool refuses)
{
    struct search s = search(true, refuses);

    print_message("%zu worlds: %zu never ran, %zu accepted, %zu unknown, %zu unreachable\n", s.worlds,
                  s.verdicts[ENGINE_NEVER_RAN], s.verdicts[ENGINE_ACCEPTED], s.verdicts[ENGINE_UNKNOWN],
                  s.verdicts[ENGINE_UNREACHABLE]);
    assert_int_equal(s.wrong, 0);
    assert_true(s.verdicts[ENGINE_NEVER_RAN] && s.verdicts[ENGINE_ACCEPTED] && s.verdicts[ENGINE_UNKNOWN]);
}

static void no_interleaving_breaks_it(void **state)
{
    search_and_check(false);
}

static void nor_where_a_policy_refuses_changes(void **state)
{
    search_and_check(true);
}

/* The search would see it: where the API does not compare, the fence proves nothing. */
static void without_compare_and_swap_it_is_broken(void **state)
{
    assert_true(search(false, false).wrong > 0);
    assert_true(search(false, true).wrong > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_path_comes_to_its_verdict),
        cmocka_unit_test(it_always_ends),
        cmocka_unit_test(no_interleaving_breaks_it),
        cmocka_unit_test(nor_where_a_policy_refuses_changes),
        cmocka_unit_test(without_compare_and_swap_it_is_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
