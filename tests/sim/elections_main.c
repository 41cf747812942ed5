/* elections [--seed N] [--worlds N] [--seconds N] [--mutant NAME] [--verbose]
 * elections --mutants
 *
 * Runs that many worlds (elections.c) from that seed on, or as many as fit into so many seconds, the last of which is left
 * before its end. The first violation ends it, prints the seed and how to replay it, and exits with 1.
 */
#include "jobs/base/alloc.h"
#include "jobs/base/mutant.h"
#include "tests/sim/elections.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef CRONSCHED_FAULTS
static const struct {
    const char *name, *text;
    enum mutant id;
} mutants[] = {
#define X(id, name, text) {name, text, MUTANT_##id},
    LEADER_MUTANTS(X)
#undef X
};

static bool mutate(const char *name)
{
    for (size_t i = 0; i < sizeof(mutants) / sizeof(mutants[0]); i++)
        if (!name)
            printf("%s\t%s\n", mutants[i].name, mutants[i].text);
        else if (strcmp(mutants[i].name, name) == 0)
            mutant_on = mutants[i].id;
    return !name || mutant_on != MUTANT_NONE;
}
#else
static bool mutate(const char *name)
{
    return !name;
}
#endif

static const struct world *running;
static const char *running_mutant;

static void print_replay(void)
{
    printf("replay: elections --seed %" PRIu64 " --worlds 1%s%s --verbose\n", running->seed,
           running_mutant ? " --mutant " : "", running_mutant ? running_mutant : "");
}

static void on_abort(int number)
{
    printf("VIOLATION at step %" PRIu64 ": an assertion failed\n", running->steps);
    print_replay();
    fflush(stdout);
    _exit(1);
}

static int usage(void)
{
    fprintf(
        stderr,
        "usage: elections [--seed N] [--worlds N] [--seconds N] [--mutant NAME] [--verbose] | --mutants\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"worlds", required_argument, NULL, 'w'},
                                            {"seconds", required_argument, NULL, 't'},
                                            {"mutant", required_argument, NULL, 'm'},
                                            {"mutants", no_argument, NULL, 'l'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    uint64_t seed = 1, worlds = UINT64_MAX, done = 0, steps = 0;
    struct world sum = {0};
    double seconds = 0, began = elections_now_s();
    const char *mutant = NULL;
    bool verbose = false;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (c == 'w')
            worlds = strtoull(optarg, NULL, 10);
        else if (c == 't')
            seconds = strtod(optarg, NULL);
        else if (c == 'm')
            mutant = optarg;
        else if (c == 'v')
            verbose = true;
        else
            return c == 'l' && mutate(NULL) ? 0 : usage();
    }
    if (optind < argc || (mutant && !mutate(mutant)))
        return usage();
    signal(SIGABRT, on_abort);
    if (worlds == UINT64_MAX && seconds <= 0)
        worlds = 100;
    for (; done < worlds && (seconds <= 0 || elections_now_s() - began < seconds); done++) {
        struct world *w = alloc_zero(sizeof(*w));
        bool failed;

        running = w;
        running_mutant = mutant;
        w->seed = seed + done;
        w->verbose = verbose;
        w->until_s = seconds > 0 ? began + seconds : 0;
        elections_run(w);
        failed = w->failed;
        steps += w->steps;
        sum.elections += w->elections;
        sum.crashes += w->crashes;
        sum.cuts += w->cuts;
        sum.expiries += w->expiries;
        sum.count += w->count;
        sum.acks += w->acks;
        sum.snapshots += w->snapshots;
        sum.restores += w->restores;
        sum.rollbacks += w->rollbacks;
        sum.emptied += w->emptied;
        sum.split += w->split;
        sum.recoveries += w->recoveries;
        sum.elsewheres += w->elsewheres;
        if (failed)
            print_replay();
        elections_release(w);
        free(w);
        if (failed)
            return 1;
    }
    printf("%" PRIu64 " worlds, %" PRIu64 " steps (%.0f a second), %" PRIu64
           " epochs led (%.0f a second), %" PRIu64 " crashes, %" PRIu64 " cuts, %" PRIu64
           " sessions expired, %" PRIu64 " batches, %" PRIu64 " snapshots, %" PRIu64
           " restored from, %" PRIu64 " times the tree went back, %" PRIu64 " times it was emptied, %" PRIu64
           " recoveries, %" PRIu64 " leaders elsewhere, %" PRIu64
           " worlds ended with two histories, 0 violations in %.1f s\n",
           done, steps, (double)steps / (elections_now_s() - began), sum.elections,
           (double)sum.elections / (elections_now_s() - began), sum.crashes, sum.cuts, sum.expiries,
           sum.count, sum.snapshots, sum.restores, sum.rollbacks, sum.emptied, sum.recoveries, sum.elsewheres,
           sum.split, elections_now_s() - began);
    return 0;
}
