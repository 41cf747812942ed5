/* The fence of a Kubernetes: was a prepared Pod ever released, and can nobody release it any more?
 *
 * A pure step machine: the driver sends what `want` says and tells the facts that come back; no clock, no network. So a
 * simulator drives the shipped code.
 *
 * A Pod is made with a scheduling gate of ours. While a gate is there it has no node, and none can be given to it; gates can
 * be taken away, and never put back. Its release takes our gate away, at the resourceVersion that was read before: a
 * compare-and-swap, decided in the store of the API. To fence is to write the annotation cronsched.io/epoch likewise, and to
 * see our gate in the answer. One of the two happens, the other is refused with 409, through whichever API server it went
 * and however late it arrives. So a fence that was cut short is simply done again. Measured on 1.36: of 100 races never
 * both; of 8 releases whose answer was lost the fence told each right.
 *
 * A policy of the cluster (a webhook on UPDATE) may refuse every change. Then the Pod is deleted at the resourceVersion that
 * was read, which is decided likewise, and answers with the Pod: our gate in it is the proof. A Pod that is being deleted
 * is given to no node, and our finalizer keeps it, so this fence, too, can be done again.
 *
 * The happy path (nothing ever ran): LOOK at a Pod with our gate, ANNOTATE 200 with our gate: NEVER_RAN.
 *
 * A Pod that is not there is evidence only in the cluster that made it: nothing is concluded from 404, or from another
 * Pod of its name, before the API has told, after it, which cluster it is.
 *
 * The driver's duties: one request under way at a time; looks without a resourceVersion, so that no cache answers them; a
 * request without an answer is told as UNREACHABLE. The machine always ends: rounds are bounded.
 *
 * Plain values; the caller owns the struct; nothing to release.
 */
#pragma once

#include "jobs/engine/engine.h"

#include <stdbool.h>
#include <stdint.h>

#define KUBE_FENCE_ROUNDS_MAX 12 /* looks, all told */
#define KUBE_TEXT_MAX         512
#define KUBE_VERSION_MAX      64 /* of a resourceVersion: opaque */

enum kube_fence_want {
    KUBE_FENCE_LOOK,     /* GET the Pod */
    KUBE_FENCE_ANNOTATE, /* PATCH: our epoch as its annotation, at the version of the last look */
    KUBE_FENCE_DELETE,   /* DELETE, at the version of the last look */
    KUBE_FENCE_CLUSTER,  /* the identity of the cluster, read now */
    KUBE_FENCE_DONE      /* see verdict */
};

enum kube_fact_kind {
    KUBE_FACT_POD,        /* answers LOOK: status, and the rest when it is 200 */
    KUBE_FACT_CHANGED,    /* answers ANNOTATE and DELETE: status, and the rest when it is 200 or 202 */
    KUBE_FACT_CLUSTER,    /* answers CLUSTER: text, NULL when it is not known */
    KUBE_FACT_UNREACHABLE /* answers any: no answer, or it makes no sense; text */
};

struct kube_fact {
    enum kube_fact_kind kind;
    int status;          /* of HTTP */
    bool other;          /* it is another Pod of that name, by its uid */
    bool gated;          /* our gate is in it */
    const char *version; /* its resourceVersion */
    const char *text;
};

/* As ENGINE_FENCE answers. */
struct kube_verdict {
    enum engine_event event;
    char text[KUBE_TEXT_MAX];
};

struct kube_fence {
    enum kube_fence_want want;
    struct kube_verdict verdict;    /* when want is DONE */
    char version[KUBE_VERSION_MAX]; /* of the last look */
    /* the rest is the machine's own */
    char name[128], identity[ENGINE_IDENTITY_MAX];
    int64_t epoch;
    bool may_have_run;
    char refusal[200]; /* why the annotation could not be written */
    int rounds;
};

/* name: of the Pod, for people. epoch: of the fence; identity: of the cluster at prepare, NULL: not known. may_have_run: a
 * release may have been sent. */
void kube_fence_begin(struct kube_fence *fence, const char *name, const char *identity, int64_t epoch,
                      bool may_have_run);
/* A fact that does not answer what is wanted is an assertion's business: the driver's. */
void kube_fence_tell(struct kube_fence *fence, const struct kube_fact *fact);
