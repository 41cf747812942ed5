/* The hidden verb under which the process engine runs its spawner and supervisors (supervise.h). */
#include "cronsched/command/verbs.h"
#include "cronsched/engines/process/supervise.h"

static int run_supervise(const struct verb_call *call)
{
    return spawner_main(call->argc, call->argv);
}

const struct verb verb_supervise = {
    .name = SUPERVISE_VERB,
    .help = "supervise the attempts of the process engine",
    .group = VERB_GROUP_HIDDEN,
    .shared = VERB_RAW,
    .run = run_supervise,
};
