/* See swarm_fence.h for the protocol and why it is sound. */
#include "jobs/engine/swarm_fence.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static void conclude(struct swarm_fence *f, enum engine_event event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void conclude(struct swarm_fence *f, enum engine_event event, const char *format, ...)
{
    va_list ap;

    f->want = SWARM_FENCE_DONE;
    f->verdict.event = event;
    va_start(ap, format);
    vsnprintf(f->verdict.text, sizeof(f->verdict.text), format, ap);
    va_end(ap);
}

void swarm_fence_begin(struct swarm_fence *f, const char *id, const char *identity, int64_t epoch,
                       bool may_have_run)
{
    *f = (struct swarm_fence){
        .want = SWARM_FENCE_LOOK, .epoch = epoch, .may_have_run = may_have_run, .rounds = 1};
    snprintf(f->id, sizeof(f->id), "%s", id);
    snprintf(f->identity, sizeof(f->identity), "%s", identity ? identity : "");
}

static void look_again(struct swarm_fence *f, const char *why)
{
    if (f->rounds++ == SWARM_FENCE_ROUNDS_MAX)
        conclude(f, ENGINE_UNREACHABLE, "the Swarm gives no clear answer: %s", why);
    else
        f->want = SWARM_FENCE_LOOK;
}

static void on_service(struct swarm_fence *f, const struct swarm_fact *fact)
{
    if (fact->status == 404) {
        f->want = SWARM_FENCE_CLUSTER;
    } else if (fact->status != 200) {
        look_again(f, fact->text ? fact->text : "no answer");
    } else if (fact->released || fact->replicas != 0) {
        conclude(f, ENGINE_ACCEPTED, fact->released ? "it has been released" : "somebody else has scaled it");
    } else {
        f->version = fact->version;
        f->want = SWARM_FENCE_LABEL;
    }
}

static void on_labelled(struct swarm_fence *f, const struct swarm_fact *fact)
{
    if (fact->status == 200)
        conclude(f, ENGINE_NEVER_RAN,
                 "service %.12s at version %" PRIu64
                 ": no replica and never released; its label was set to epoch %" PRId64
                 " by compare-and-swap",
                 f->id, f->version, f->epoch);
    else
        look_again(f, fact->text ? fact->text : "no answer");
}

/* The service is not there. */
static void on_cluster(struct swarm_fence *f, const struct swarm_fact *fact)
{
    char text[SWARM_TEXT_MAX];

    if (engine_is_another(fact->text, f->identity, text, sizeof(text)))
        conclude(f, ENGINE_UNREACHABLE, "%s", text);
    else if (!f->may_have_run)
        conclude(f, ENGINE_NEVER_RAN, "its service was removed; no release was ever sent");
    else
        conclude(f, ENGINE_UNKNOWN, "its service was removed, and it may have been released before");
}

void swarm_fence_tell(struct swarm_fence *f, const struct swarm_fact *fact)
{
    if (fact->kind == SWARM_FACT_UNREACHABLE) {
        assert(f->want != SWARM_FENCE_DONE);
        look_again(f, fact->text ? fact->text : "no answer");
        return;
    }
    switch (f->want) {
    case SWARM_FENCE_LOOK:
        assert(fact->kind == SWARM_FACT_SERVICE);
        on_service(f, fact);
        break;
    case SWARM_FENCE_LABEL:
        assert(fact->kind == SWARM_FACT_LABELLED);
        on_labelled(f, fact);
        break;
    case SWARM_FENCE_CLUSTER:
        assert(fact->kind == SWARM_FACT_CLUSTER);
        on_cluster(f, fact);
        break;
    case SWARM_FENCE_DONE:
        assert(!"the fence has ended");
    }
}
