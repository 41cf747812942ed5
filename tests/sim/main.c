/* sim [--seed N] [--worlds N] [--minutes N] [--seconds N] [--mutant NAME] [--slow-stops] [--verbose]
 * sim --mutants
 *
 * Runs that many worlds from that seed on, or as many as fit into so many seconds, the last of which is left before its
 * end; a violation prints the seed and how to replay it, and exits with 1. With a mutant (jobs/base/mutant.h) the shipped code has that
 * fault. --mutants lists them. With --slow-stops engines take about a
 * minute to answer a stop.
 */
#include "tests/sim/sim.h"

#include "jobs/base/mutant.h"
#include "jobs/time/zoneinfo.h"

#include <getopt.h>
#include <stdio.h>

/* Of all worlds, in the order of their printing: field, words. */
#define FIGURES(X)                                                                                           \
    X(steps, "steps")                                                                                        \
    X(crashes, "crashes")                                                                                    \
    X(takeovers, "take-overs")                                                                               \
    X(step_downs, "hand-overs")                                                                              \
    X(handed_over, "attempts handed over")                                                                   \
    X(freezes, "freezes")                                                                                    \
    X(journal_failures, "journal failures")                                                                  \
    X(clock_steps, "clock steps")                                                                            \
    X(common_jumps, "of them with ZooKeeper's clock")                                                        \
    X(held_jumps, "jumps not believed")                                                                      \
    X(restores, "restored from snapshots")                                                                   \
    X(wrong_trees, "times the tree went back")                                                               \
    X(recoveries, "recoveries of it")                                                                        \
    X(losses, "journals put back")                                                                           \
    X(orphans, "orphans in the leader's place")                                                              \
    X(replaced, "engines replaced")                                                                          \
    X(started_again, "objects started by somebody else")                                                     \
    X(strays, "of them told as kept by nobody")                                                              \
    X(supervisors, "supervisors killed")                                                                     \
    X(requests, "requests")                                                                                  \
    X(batch_count, "batches")                                                                                \
    X(starts, "starts")                                                                                      \
    X(ended, "runs ended")                                                                                   \
    X(lost, "lost")                                                                                          \
    X(late, "times a leader found late")

struct figures {
    uint64_t worlds, cut;
#define X(field, words) uint64_t field;
    FIGURES(X)
#undef X
};

static void add(struct figures *f, const struct world *w)
{
    f->worlds++;
    f->cut += w->cut;
#define X(field, words) f->field += w->field;
    FIGURES(X)
#undef X
}

static void print(const struct figures *f, double s)
{
    printf("%llu worlds, %llu of them left before their end", (unsigned long long)f->worlds,
           (unsigned long long)f->cut);
#define X(field, words) printf(", %llu %s", (unsigned long long)f->field, words);
    FIGURES(X)
#undef X
    printf("; %.1f s, %.0f steps a second\n", s, (double)f->steps / s);
}

#ifdef CRONSCHED_FAULTS
static const struct {
    const char *name, *text;
} mutants[] = {
#define X(id, name, text) [MUTANT_##id] = {name, text},
    MUTANTS(X)
#undef X
};

static bool mutate(const char *name)
{
    for (size_t i = 1; i < sizeof(mutants) / sizeof(mutants[0]); i++)
        if (strcmp(mutants[i].name, name) == 0) {
            mutant_on = (enum mutant)i;
            return true;
        }
    return false;
}

static int list_mutants(void)
{
    for (size_t i = 1; i < sizeof(mutants) / sizeof(mutants[0]); i++)
        printf("%s\t%s\n", mutants[i].name, mutants[i].text);
    return 0;
}
#else
static bool mutate(const char *name)
{
    fprintf(stderr, "sim: %s: only a build with -Dfaults=true has mutants\n", name);
    return false;
}

static int list_mutants(void)
{
    return 2;
}
#endif

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", 1, NULL, 's'},    {"worlds", 1, NULL, 'w'},     {"minutes", 1, NULL, 'm'},
        {"seconds", 1, NULL, 't'}, {"mutant", 1, NULL, 'f'},     {"mutants", 0, NULL, 'l'},
        {"verbose", 0, NULL, 'v'}, {"slow-stops", 0, NULL, 'p'}, {NULL, 0, NULL, 0}};
    struct sim_options o = {.minutes = 5};
    uint64_t seed = 1, worlds = 10;
    struct figures figures = {0};
    struct zoneinfo *zones;
    double start = monotonic_s(), within_s = 0;
    static struct world w;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (c == 'w')
            worlds = strtoull(optarg, NULL, 10);
        else if (c == 'm')
            o.minutes = strtoll(optarg, NULL, 10);
        else if (c == 't')
            within_s = strtod(optarg, NULL);
        else if (c == 'v')
            o.verbose = true;
        else if (c == 'p')
            o.slow_stops = true;
        else if (c == 'l')
            return list_mutants();
        else if (c != 'f' || !mutate(optarg))
            return 2;
    }
    if (zoneinfo_new(&zones, "/usr/share/zoneinfo", NULL) < 0)
        return 2;
    if (within_s > 0) {
        o.until_s = start + within_s;
        worlds = UINT64_MAX;
    }
    for (uint64_t i = 0; w.failures == 0 && !w.cut && i < worlds; i++) {
        world_run(&w, seed + i, &o, zones);
        add(&figures, &w);
    }
    print(&figures, monotonic_s() - start);
    zoneinfo_free(zones);
    return w.failures ? 1 : 0;
}
