/* See kube_fence.h for the protocol and why it is sound. */
#include "jobs/engine/kube_fence.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void conclude(struct kube_fence *f, enum engine_event event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void conclude(struct kube_fence *f, enum engine_event event, const char *format, ...)
{
    va_list ap;

    f->want = KUBE_FENCE_DONE;
    f->verdict.event = event;
    va_start(ap, format);
    vsnprintf(f->verdict.text, sizeof(f->verdict.text), format, ap);
    va_end(ap);
}

void kube_fence_begin(struct kube_fence *f, const char *name, const char *identity, int64_t epoch,
                      bool may_have_run)
{
    *f = (struct kube_fence){
        .want = KUBE_FENCE_LOOK, .epoch = epoch, .may_have_run = may_have_run, .rounds = 1};
    snprintf(f->name, sizeof(f->name), "%s", name);
    snprintf(f->identity, sizeof(f->identity), "%s", identity ? identity : "");
}

static void look_again(struct kube_fence *f, const char *why)
{
    if (f->rounds++ == KUBE_FENCE_ROUNDS_MAX)
        conclude(f, ENGINE_UNREACHABLE, "the cluster gives no clear answer: %s", why);
    else
        f->want = KUBE_FENCE_LOOK;
}

static const char *reason_of(const struct kube_fact *fact)
{
    return fact->text && *fact->text ? fact->text : "no answer";
}

static void on_pod(struct kube_fence *f, const struct kube_fact *fact)
{
    if (fact->status == 404 || (fact->status == 200 && fact->other)) {
        f->want = KUBE_FENCE_CLUSTER;
    } else if (fact->status != 200) {
        look_again(f, reason_of(fact));
    } else if (!fact->gated) {
        conclude(f, ENGINE_ACCEPTED, "it has been released: its scheduling gate is gone");
    } else {
        snprintf(f->version, sizeof(f->version), "%s", fact->version);
        f->want = KUBE_FENCE_ANNOTATE;
    }
}

static bool is_done(const struct kube_fact *fact)
{
    return (fact->status == 200 || fact->status == 202) && !fact->other && fact->gated;
}

/* By a policy, or for want of a right: not applied, and no other try will be. */
static bool is_refused(int status)
{
    return status == 400 || status == 403 || status == 405 || status == 422;
}

static void on_annotated(struct kube_fence *f, const struct kube_fact *fact)
{
    if (is_done(fact))
        conclude(f, ENGINE_NEVER_RAN,
                 "Pod %s at version %s: our scheduling gate was never taken away; its annotation was set to "
                 "epoch %" PRId64 " by compare-and-swap",
                 f->name, f->version, f->epoch);
    else if (is_refused(fact->status)) {
        snprintf(f->refusal, sizeof(f->refusal), "%s", reason_of(fact));
        f->want = KUBE_FENCE_DELETE;
    } else {
        look_again(f, reason_of(fact));
    }
}

static void on_deleted(struct kube_fence *f, const struct kube_fact *fact)
{
    if (is_done(fact))
        conclude(
            f, ENGINE_NEVER_RAN,
            "Pod %s was deleted at version %s with our scheduling gate in it; it could not be changed: %s",
            f->name, f->version, f->refusal);
    else
        look_again(f, reason_of(fact));
}

/* The Pod is not there. */
static void on_cluster(struct kube_fence *f, const struct kube_fact *fact)
{
    char text[KUBE_TEXT_MAX];

    if (engine_is_another(fact->text, f->identity, text, sizeof(text)))
        conclude(f, ENGINE_UNREACHABLE, "%s", text);
    else if (!f->may_have_run)
        conclude(f, ENGINE_NEVER_RAN, "its Pod was deleted; no release was ever sent");
    else
        conclude(f, ENGINE_UNKNOWN, "its Pod was deleted, and it may have been released before");
}

void kube_fence_tell(struct kube_fence *f, const struct kube_fact *fact)
{
    if (fact->kind == KUBE_FACT_UNREACHABLE) {
        assert(f->want != KUBE_FENCE_DONE);
        look_again(f, reason_of(fact));
        return;
    }
    switch (f->want) {
    case KUBE_FENCE_LOOK:
        assert(fact->kind == KUBE_FACT_POD);
        on_pod(f, fact);
        break;
    case KUBE_FENCE_ANNOTATE:
        assert(fact->kind == KUBE_FACT_CHANGED);
        on_annotated(f, fact);
        break;
    case KUBE_FENCE_DELETE:
        assert(fact->kind == KUBE_FACT_CHANGED);
        on_deleted(f, fact);
        break;
    case KUBE_FENCE_CLUSTER:
        assert(fact->kind == KUBE_FACT_CLUSTER);
        on_cluster(f, fact);
        break;
    case KUBE_FENCE_DONE:
        assert(!"the fence has ended");
    }
}
