/* drill engine: whether an engine keeps its contract; and the hidden verb that its leaders are. */
#include "cronsched/command/verbs.h"
#include "cronsched/conformance/conformance.h"
#include "cronsched/io/file.h"
#include "cronsched/io/json_text.h"
#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"
#include "jobs/base/path.h"
#include "jobs/engine/engine_proof.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_TRIALS 20
#define CLEAN_MS       5000 /* and a little more for each attempt */
#define CLEAN_EACH_MS  50
#define CLEAN_SLOW     10 /* so many times what the engine takes to answer at first */
#define FOLDERS_OPEN   16

static const struct verb_option options[] = {
    {"config", 0, "FILE", "the configuration of the server on this machine (default $CRONSCHED_CONFIG)"},
    {"image", 0, "IMAGE", "an image with sh; without one the attempts are commands"},
    {"ledger", 0, "DIR",
     "where attempts note their starts: a folder that all of the engine's machines see at this path"},
    {"trials", 0, "N", "how often each step is tried (default 20)"},
    {"restart", 0, "COMMAND", "restarts the engine; run by sh while attempts start"},
    {"remove", 0, "COMMAND", "takes away what runs as $CRONSCHED_ID, as a stranger might"},
    {0}};

/* ---- the result ---- */

static int keep_result(const struct conformance *c, struct error *error)
{
    char path[4200], *data = NULL, *text;
    json_t *all = NULL;
    size_t size = 0;
    int r;

    snprintf(path, sizeof(path), "%.4000s/" ENGINE_PROOF_FILE, c->config.data_dir);
    if (file_read(path, ENGINE_PROOF_FILE_MAX, FILE_REGULAR, &data, &size, NULL) == 0)
        json_text_object(data, size, "proofs", &all, NULL);
    free(data);
    if (!all)
        all = json_object();
    engine_proof_put(all, c->engine,
                     &(struct engine_proof){.type = c->type,
                                            .version = c->version,
                                            .at_ms = clock_wall_ms(),
                                            .passed = c->passed,
                                            .trials = (int)c->trials,
                                            .cases = c->cases});
    text = json_dumps(all, JSON_INDENT(1));
    r = file_replace(path, text, strlen(text), error);
    if (r < 0)
        error_prefix(error, "the result cannot be kept: %.300s: ", path);
    free(text);
    json_decref(all);
    return r;
}

/* ---- the course ---- */

/* What the drill has left on the engine. */
static void clean(struct conformance *c)
{
    struct conformance_leader leader;
    struct error error;

    c->cleans = true;
    if (conformance_leader_start(&leader, c, ++c->epoch, &error) == 0)
        usleep((useconds_t)(CLEAN_MS + CLEAN_EACH_MS * c->made + CLEAN_SLOW * c->hello_ms) * 1000);
    conformance_leader_kill(&leader);
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
    return remove(path);
}

static int prepare(struct conformance *c, const struct verb_call *call)
{
    const char *ledger = verb_option(call, "ledger"), *scratch = getenv("TMPDIR");
    struct error error = {0};
    unsigned chance = 0;

    c->trials = DEFAULT_TRIALS;
    if (verb_option_int(call, "trials", 1, CONFORMANCE_TRIALS_MAX, &c->trials, &error) < 0)
        return verb_usage(call, "%s", error.text);
    if (ledger && !path_is_straight(ledger))
        return verb_usage(call, "--ledger: '%s' is not an absolute path without empty parts, . and ..",
                          ledger);
    if (getrandom(&chance, sizeof(chance), 0) != (ssize_t)sizeof(chance)) {
        error_set(&error, ERR_INTERNAL, "the system has no random numbers");
        return verb_fail(&error);
    }
    srandom(chance);
    snprintf(c->tag, sizeof(c->tag), "%08x", chance);
    snprintf(c->folder, sizeof(c->folder), "%.90s/cronsched-drill-XXXXXX", scratch ? scratch : "/tmp");
    if (!mkdtemp(c->folder)) {
        error_set(&error, ERR_IO, "%s: %s", c->folder, strerror(errno));
        return verb_fail(&error);
    }
    snprintf(c->ledger, sizeof(c->ledger), "%.4000s/drill-%s", ledger ? ledger : c->folder, c->tag);
    if (chmod(c->folder, 0755) < 0 || mkdir(c->ledger, 0777) < 0 || chmod(c->ledger, 0777) < 0) {
        error_set(&error, ERR_IO, "%.300s: %s", c->ledger, strerror(errno));
        return verb_fail(&error);
    }
    return EXIT_FINE;
}

static int run_drill_engine(const struct verb_call *call)
{
    struct conformance c = {.engine = call->args[0],
                            .config_path = verb_option(call, "config"),
                            .image = verb_option(call, "image"),
                            .restart = verb_option(call, "restart"),
                            .remove = verb_option(call, "remove"),
                            .cases = json_array()};
    struct error error = {0};
    bool known = false;
    int code;

    if (!c.config_path)
        c.config_path = getenv("CRONSCHED_CONFIG");
    code = c.config_path ? config_load_file(&c.config, c.config_path)
                         : verb_usage(call, "--config or CRONSCHED_CONFIG is needed");
    for (size_t i = 0; code == EXIT_FINE && i < c.config.engine_count; i++)
        known |= strcmp(c.config.engines[i].name, c.engine) == 0;
    if (code == EXIT_FINE && !known)
        code = verb_usage(call, "the configuration has no engine '%s'", c.engine);
    if (code == EXIT_FINE)
        code = prepare(&c, call);
    signal(SIGPIPE, SIG_IGN);
    if (code == EXIT_FINE && conformance_run(&c, &error) < 0)
        code = verb_fail(&error);
    if (c.made > 0)
        clean(&c);
    if (code == EXIT_FINE && keep_result(&c, &error) < 0)
        code = verb_fail(&error);
    if (code == EXIT_FINE) {
        printf("%s\n", c.passed ? "passed" : "FAILED");
        code = c.passed ? EXIT_FINE : EXIT_DIFFERS;
    }
    if (c.folder[0])
        nftw(c.folder, remove_one, FOLDERS_OPEN, FTW_DEPTH | FTW_PHYS);
    json_decref(c.cases);
    config_release(&c.config);
    return code;
}

const struct verb verb_drill_engine = {
    .name = "drill engine",
    .args = "NAME",
    .help = "whether an engine keeps its contract, whatever is killed",
    .text = "Drives the engine of that name in the configuration, without a server: starts attempts, kills "
            "the leader at each "
            "step, lets two leaders compete, and lets a release arrive after the take-over. The attempts "
            "note their starts in the "
            "ledger themselves; each line says how many were started, and whether that is what the engine "
            "said. Exit code 1 if "
            "something was started twice, or was not as it was said. The attempts are of a cluster of their "
            "own: nothing of a real "
            "one is touched. It needs a minute for each 5 trials, more on a slow engine, and removes what it "
            "has made.\n\n"
            "The result is kept in the data folder of the configuration, and 'cronsched doctor' tells it: "
            "run it as the server's "
            "user.",
    .group = VERB_GROUP_SERVER,
    .options = options,
    .run = run_drill_engine,
};

static int run_lead_engine(const struct verb_call *call)
{
    return conformance_hold(&(struct conformance_hold){.config = call->args[0],
                                                       .engine = call->args[1],
                                                       .data_dir = call->args[2],
                                                       .epoch = strtoll(call->args[3], NULL, 10),
                                                       .clean = *call->args[4] ? call->args[4] : NULL});
}

const struct verb verb_lead_engine = {
    .name = "lead-engine",
    .args = "CONFIG ENGINE DIR EPOCH TAG",
    .help = "a leader of 'drill engine'",
    .group = VERB_GROUP_HIDDEN,
    .run = run_lead_engine,
};
