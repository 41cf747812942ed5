/* The fence of a Docker Swarm: was a prepared service ever released, and can nobody release it any more?
 *
 * A pure step machine: the driver sends what `want` says and tells the facts that come back; no clock, no network. So a
 * simulator drives the shipped code.
 *
 * A service is made without a replica. Its release is an update to one replica and the label cronsched.released, at the
 * version that was read before: a compare-and-swap, decided in the managers' log. To fence is to write the label
 * cronsched.epoch likewise. One of the two happens, the other is refused as out of sequence, whichever manager it went
 * through and however late it arrives; an update moves the version even if nothing in it is new. So a fence that was cut
 * short is simply done again. Measured on API 1.41: of 200 races never both, 200 late releases never applied.
 *
 * The happy path (nothing ever ran): LOOK at a service without replica and label, LABEL 200: NEVER_RAN.
 *
 * Anything but 200 proves nothing about an update, whatever its text says: a manager that forwards it to the leader may
 * send it twice. It is looked at again. A service that is not there is evidence only on the Swarm that made it: nothing is
 * concluded from 404 before a manager has told, after it, which Swarm it is.
 *
 * The driver's duties: one request under way at a time; a request without an answer is told as UNREACHABLE, and the next
 * one goes to another manager if there is one. The machine always ends: rounds are bounded.
 *
 * Plain values; the caller owns the struct; nothing to release.
 */
#pragma once

#include "jobs/engine/engine.h"

#include <stdbool.h>
#include <stdint.h>

#define SWARM_FENCE_ROUNDS_MAX 12 /* looks, all told */
#define SWARM_TEXT_MAX         512

enum swarm_fence_want {
    SWARM_FENCE_LOOK,    /* GET the service */
    SWARM_FENCE_LABEL,   /* update: our epoch as its label, at the version of the last look */
    SWARM_FENCE_CLUSTER, /* the identity of the Swarm, read now */
    SWARM_FENCE_DONE     /* see verdict */
};

enum swarm_fact_kind {
    SWARM_FACT_SERVICE,    /* answers LOOK: status, and the rest when it is 200 */
    SWARM_FACT_LABELLED,   /* answers LABEL: status, text */
    SWARM_FACT_CLUSTER,    /* answers CLUSTER: text, NULL when it is not known */
    SWARM_FACT_UNREACHABLE /* answers any: no answer, or it makes no sense; text */
};

struct swarm_fact {
    enum swarm_fact_kind kind;
    int status; /* of HTTP */
    uint64_t version;
    int64_t replicas; /* -1: it is in no mode that has any */
    bool released;    /* the label says so */
    const char *text;
};

/* As ENGINE_FENCE answers. */
struct swarm_verdict {
    enum engine_event event;
    char text[SWARM_TEXT_MAX];
};

struct swarm_fence {
    enum swarm_fence_want want;
    struct swarm_verdict verdict; /* when want is DONE */
    /* the rest is the machine's own */
    char id[64], identity[ENGINE_IDENTITY_MAX];
    int64_t epoch;
    bool may_have_run;
    uint64_t version;
    int rounds;
};

/* epoch: of the fence; identity: of the Swarm at prepare, NULL: not known. may_have_run: a release may have been sent. */
void swarm_fence_begin(struct swarm_fence *fence, const char *id, const char *identity, int64_t epoch,
                       bool may_have_run);
/* A fact that does not answer what is wanted is an assertion's business: the driver's. */
void swarm_fence_tell(struct swarm_fence *fence, const struct swarm_fact *fact);
