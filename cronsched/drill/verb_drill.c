/* drill: injects a known failure while jobs fire, and reports duplicated or missed runs. */
#include "cronsched/drill/drill.h"
#include "jobs/base/near.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define DEFAULT_RATE            2
#define DEFAULT_SESSION_TIMEOUT 10000
#define SEED_MAX                0xffffffffu /* short enough to be typed again */

#define X(name, from, to, help) {name, from, to},
static const struct drill_point points[] = {DRILL_POINTS(X)};
#undef X

static const struct verb_option options[] = {
    {"lab", 0, "DIR", "drill the lab in this folder (contrib/lab)"},
    {"repeat", 0, "N", "how many times (default 1)"},
    {"at", 0, "random|before-release|release|after-release|quiet",
     "the injection point, relative to the canaries' fire times"},
    {"seed", 0, "N", "for injection points and directions (default random; it is printed)"},
    {"engine", 0, "NAME", "an engine to fire on (default docker and process, in a lab)", .many = true},
    {"rate", 0, "N", "canaries a second, for each engine (default 2)"},
    {"ledger", 0, "DIR", "without a lab: a folder that all hosts of the engines see at this path"},
    {"image", 0, "IMAGE", "without a lab: an image with sh, for the canaries in containers"},
    {"leader", 0, "ID", "only while this replica leads"},
    {"yes", 0, NULL, "allow this on a real cluster"},
    {0}};

static const struct drill_fault *find_fault(const struct verb_call *call)
{
    const char *names[16] = {0};
    char hint[NEAR_HINT_BUFFER];
    size_t n = 0;

    for (const struct drill_fault *fault = drill_faults; fault->name; fault++) {
        if (strcmp(fault->name, call->args[0]) == 0)
            return fault;
        names[n++] = fault->name;
    }
    verb_print(stderr, "cronsched: there is no drill %s%s\n", call->args[0],
               near_hint(near_find(call->args[0], names, n), hint, sizeof(hint)));
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "  %-28s %s\n", drill_faults[i].name, drill_faults[i].help);
    return NULL;
}

static const struct drill_point *find_point(const char *name)
{
    for (size_t i = 1; name && i < sizeof(points) / sizeof(points[0]); i++)
        if (strcmp(points[i].name, name) == 0)
            return &points[i];
    return &points[0];
}

static int read_engines(struct drill *d, const struct verb_call *call)
{
    const char *name;

    for (size_t i = 0; (name = verb_option_at(call, "engine", i)); i++) {
        if (d->engine_count == DRILL_ENGINES_MAX)
            return verb_usage(call, "at most %d engines", DRILL_ENGINES_MAX);
        if (strcmp(name, "null") == 0)
            return verb_usage(call, "--engine null: it runs nothing, so no start is recorded");
        d->engines[d->engine_count++] = name;
    }
    if (d->engine_count == 0 && !d->lab.facts)
        return verb_usage(call, "without a lab --engine is needed");
    if (d->engine_count == 0) {
        d->engines[d->engine_count++] = "docker";
        d->engines[d->engine_count++] = "process";
    }
    return EXIT_FINE;
}

/* What is needed without a lab. */
static int check_real(const struct drill *d, const struct verb_call *call)
{
    if (d->fault->needs_lab)
        return verb_usage(call, "%s needs a lab: contrib/lab up, then --lab DIR", d->fault->name);
    if (!verb_option(call, "ledger"))
        return verb_usage(
            call, "without a lab --ledger is needed: the folder where the canaries record their starts");
    if (d->fault->needs_name && (!verb_flag(call, "yes") || !d->leader_named))
        return verb_usage(call, "%s on a cluster that is not a lab needs --yes and --leader ID",
                          d->fault->name);
    return EXIT_FINE;
}

static int read_numbers(struct drill *d, const struct verb_call *call)
{
    struct error error = {0};
    uint32_t chance = 0;
    long seed = 0;

    d->repeats = 1;
    d->rate = DEFAULT_RATE;
    if (getrandom(&chance, sizeof(chance), 0) != (ssize_t)sizeof(chance))
        return cli_fail(ERR_INTERNAL, "the system has no random numbers");
    snprintf(d->tag, sizeof(d->tag), "%08x", chance);
    seed = (long)chance;
    if (verb_option_int(call, "repeat", 1, DRILL_REPEATS_MAX, &d->repeats, &error) < 0 ||
        verb_option_int(call, "rate", 1, DRILL_RATE_MAX, &d->rate, &error) < 0 ||
        verb_option_int(call, "seed", 0, (long)SEED_MAX, &seed, &error) < 0)
        return verb_usage(call, "%s", error.text);
    d->seed = d->chance = (uint64_t)seed;
    return EXIT_FINE;
}

static int prepare(struct drill *d, const struct verb_call *call)
{
    const char *lab = verb_option(call, "lab");
    struct error error = {0};
    int code;

    d->leader_named = verb_option(call, "leader");
    d->point = find_point(verb_option(call, "at"));
    d->lab.session_timeout_ms = DEFAULT_SESSION_TIMEOUT;
    if (lab && drill_lab_open(&d->lab, lab, &error) < 0)
        return verb_fail(&error);
    code = read_numbers(d, call);
    if (code == EXIT_FINE)
        code = read_engines(d, call);
    if (code == EXIT_FINE && !lab)
        code = check_real(d, call);
    if (code != EXIT_FINE)
        return code;
    d->image = lab ? d->lab.image : verb_option(call, "image");
    d->session->client.quiet = true; /* leaders go on purpose */
    if (lab && client_set_servers(&d->session->client, d->lab.servers, &error) < 0)
        return verb_fail(&error);
    if (drill_ledger_open(&d->ledger, lab ? d->lab.ledger : verb_option(call, "ledger"), d->tag, &error) < 0)
        return verb_fail(&error);
    return EXIT_FINE;
}

static int run_drill(const struct verb_call *call)
{
    struct cli_context s;
    struct drill d = {.session = &s, .ledger.fd = -1, .fault = find_fault(call)};
    struct error error = {0};
    bool passed = false;
    int code, r;

    if (!d.fault)
        return EXIT_USAGE;
    code = cli_open(&s, call);
    if (code == EXIT_FINE)
        code = prepare(&d, call);
    if (code == EXIT_FINE) {
        r = drill_go(&d, &passed, &error);
        if (r < 0)
            code = verb_fail(&error);
        else
            drill_show(&d, &s.out);
        if (r == 0 && !passed)
            code = EXIT_DIFFERS;
    }
    drill_release(&d);
    return cli_close(&s, code);
}

const struct verb verb_drill = {
    .name = "drill",
    .args = "NAME",
    .help = "inject a failure while jobs run and report duplicated or missed runs",
    .text =
        "kill-leader, pause-leader, power-off-leader, partition-leader-zookeeper, partition-leader-engine, "
        "restart-zookeeper, restore-zookeeper, empty-zookeeper, restart-engine, two-engines, dual-stack, "
        "step-down: each against a lab; step-down, and kill-leader by name, against any cluster.\n\n"
        "Canary jobs fire every second and record each start themselves. Prints, in ms: fault to new leader, "
        "fault "
        "to its first start, the longest gap between starts, the latest start; then how many fire times were "
        "started twice, lost, skipped, or have no verdict. restore-zookeeper and empty-zookeeper also fail "
        "when "
        "anybody leads or anything starts before `cluster recover`, and count what is skipped as "
        "journal-lost; "
        "dual-stack fails when another epoch begins. Exit code 1 if there are any. The fault is healed "
        "and "
        "the canaries are deleted also after an error or an interrupt.",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = options,
    .run = run_drill,
};
