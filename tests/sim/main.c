/* sim [--seed N] [--worlds N] [--minutes N] [--seconds N] [--mutant NAME] [--slow-stops] [--verbose]
 * sim --mutants
 *
 * Runs that many worlds from that seed on, or what begins within so many seconds; a violation prints the
 * seed and how to replay it, and exits with 1. With a mutant (jobs/base/mutant.h) the shipped code has that
 * fault. --mutants lists them. With --slow-stops engines take about a
 * minute to answer a stop.
 */
#include "tests/sim/sim.h"

#include "jobs/base/mutant.h"
#include "jobs/time/zoneinfo.h"

#include <getopt.h>
#include <stdio.h>
#include <time.h>

struct figures {
    uint64_t worlds, steps, crashes, takeovers, step_downs, handed_over, freezes, journal_failures,
        clock_steps, restores, wrong_trees;
    uint64_t batches, starts, ended, lost, requests, late;
};

static void add(struct figures *f, const struct world *w)
{
    f->worlds++;
    f->steps += w->steps;
    f->crashes += w->crashes;
    f->takeovers += w->takeovers;
    f->step_downs += w->step_downs;
    f->handed_over += w->handed_over;
    f->freezes += w->freezes;
    f->journal_failures += w->journal_failures;
    f->clock_steps += w->clock_steps;
    f->restores += w->restores;
    f->wrong_trees += w->wrong_trees;
    f->batches += w->batch_count;
    f->starts += w->starts;
    f->ended += w->ended;
    f->lost += w->lost;
    f->requests += w->requests;
    f->late += w->late;
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print(const struct figures *f, double s)
{
    printf("%llu worlds, %llu steps (%.0f a second), %llu crashes, %llu take-overs, %llu hand-overs of %llu "
           "attempts, %llu freezes, %llu journal failures, %llu clock steps, %llu restored from snapshots, "
           "%llu times the tree went back\n",
           (unsigned long long)f->worlds, (unsigned long long)f->steps, (double)f->steps / s,
           (unsigned long long)f->crashes, (unsigned long long)f->takeovers,
           (unsigned long long)f->step_downs, (unsigned long long)f->handed_over,
           (unsigned long long)f->freezes, (unsigned long long)f->journal_failures,
           (unsigned long long)f->clock_steps, (unsigned long long)f->restores,
           (unsigned long long)f->wrong_trees);
    printf("%llu requests, %llu batches, %llu starts, %llu runs ended, %llu lost, %llu times a leader found "
           "late, "
           "%.1f s\n",
           (unsigned long long)f->requests, (unsigned long long)f->batches, (unsigned long long)f->starts,
           (unsigned long long)f->ended, (unsigned long long)f->lost, (unsigned long long)f->late, s);
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
    double start = seconds(), within_s = 0;
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
    for (uint64_t i = 0; w.failures == 0 && (within_s > 0 ? seconds() - start < within_s : i < worlds); i++) {
        world_run(&w, seed + i, &o, zones);
        add(&figures, &w);
    }
    print(&figures, seconds() - start);
    zoneinfo_free(zones);
    return w.failures ? 1 : 0;
}
