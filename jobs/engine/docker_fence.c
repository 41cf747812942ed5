/* See docker_fence.h. One function per answer; each ends by saying what is wanted next. What can go wrong,
 * and what the caller sees:
 *
 *   the seal is refused           a start in progress: look again, and UNREACHABLE at the end while the
 *                                 engine has provably lived all the time; a start that failed: REFUSED; an
 *                                 engine that died in mid-start: UNKNOWN, the container stays as evidence
 *   it cannot be sealed           no start in progress, again and again: the engine cannot mount its volumes, for
 *                                 the seal as little as for a start. It is removed: then nobody can start it either
 *   sealed, on another boot       the events decide, when they tell of the engine's whole life; else UNKNOWN
 *   the container is gone (404)   somebody removed it: the replayed events decide: started and ended, or
 *                                 created and removed unstarted; without them NEVER_RAN only if no start was
 *                                 ever sent, else UNKNOWN
 *   another engine, and gone      UNREACHABLE: it cannot know
 *   the stream breaks             the engine died: all looks are taken again on a new stream
 *   no answer                     UNREACHABLE, at once; the caller comes again
 *   nothing but errors            UNREACHABLE after DOCKER_FENCE_ROUNDS_MAX rounds
 */
#include "jobs/engine/docker_fence.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- the state ---- */

bool docker_state_started(const struct docker_state *state)
{
    switch (state->status) {
    case DOCKER_RUNNING:
    case DOCKER_PAUSED:
    case DOCKER_RESTARTING:
    case DOCKER_EXITED:
        return true;
    case DOCKER_CREATED:
    case DOCKER_REMOVING:
    case DOCKER_DEAD:
        break;
    }
    return state->started_ms != 0;
}

bool docker_start_never_executed(int exit_code, const char *error)
{
    /* "create" is the runtime's step before the one that executes; the others are the engine's, before the runtime's */
    static const char *const before[] = {"OCI runtime create failed", "error while mounting volume",
                                         "failed to initialize logging driver"};

    if (!error || !*error)
        return false;
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++)
        if (strstr(error, before[i]))
            return true;
    return exit_code == 126 || exit_code == 127;
}

/* The engine answers a mount of a folder on a file, or the reverse, with 127, as if a command were missing. */
static bool is_of_a_mount(const char *error)
{
    return error && (strstr(error, "to rootfs at") || strstr(error, "Are you trying to mount a directory"));
}

int docker_start_exit_code(int exit_code, const char *error)
{
    return exit_code == 128 || is_of_a_mount(error) ? -1 : exit_code;
}

const char *docker_start_explain(int exit_code, const char *error, char *buffer, size_t size)
{
    const char *why = "the container could not be started";
    /* the part that people can use comes last: "...: exec: \"x\": executable file not found in $PATH:
     * unknown" */
    const char *useful = error ? strstr(error, "unable to start container process: ") : NULL;

    if (is_of_a_mount(error))
        why = "a volume cannot be mounted in the container";
    else if (exit_code == 127)
        why = "command not found in the image (exit code 127)";
    else if (exit_code == 126)
        why = "the command cannot be executed (exit code 126)";
    if (useful)
        error = useful + strlen("unable to start container process: ");
    if (error && *error)
        snprintf(buffer, size, "%s: %s", why, error);
    else
        snprintf(buffer, size, "%s", why);
    return buffer;
}

/* ---- boot identity ---- */

static bool part_same(const char *a, const char *b, const char *key)
{
    const char *x = strstr(a, key), *y = strstr(b, key);
    size_t n;

    if (!x || !y)
        return false;
    x += strlen(key);
    y += strlen(key);
    n = strcspn(x, " ");
    return n > 0 && n == strcspn(y, " ") && memcmp(x, y, n) == 0;
}

bool docker_boot_id_same(const char *a, const char *b)
{
    return a && b && (part_same(a, b, "kernel=") || part_same(a, b, "engine="));
}

/* ---- the machine ---- */

static bool want(struct docker_fence *f, enum docker_fence_want what)
{
    /* Nothing but the verdict counts before a stream is open. */
    f->want = f->stream_open || what == DOCKER_FENCE_DONE ? what : DOCKER_FENCE_OPEN_EVENTS;
    return true;
}

__attribute__((format(printf, 4, 5))) static bool conclude(struct docker_fence *f, enum engine_event event,
                                                           int exit_code, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(f->verdict.text, sizeof(f->verdict.text), format, ap);
    va_end(ap);
    f->verdict.event = event;
    f->verdict.exit_code = exit_code;
    return want(f, DOCKER_FENCE_DONE);
}

static bool conclude_started(struct docker_fence *f, const struct docker_state *state)
{
    f->verdict.started_ms = state->started_ms ? state->started_ms : f->start_ms;
    return conclude(f, ENGINE_STARTED, -1, "the engine says that it has been started");
}

/* Only what was started dies. */
static bool ran(const struct docker_fence *f)
{
    return f->start_seen || f->die_seen;
}

static bool conclude_ended(struct docker_fence *f)
{
    const char *seen = "start and its end";

    if (!f->die_seen)
        seen = "start, not of its end";
    else if (!f->start_seen)
        seen = "end";
    f->verdict.started_ms = f->start_ms;
    f->verdict.at_ms = f->die_seen ? f->die_ms : f->start_ms;
    return conclude(f, ENGINE_ENDED, f->die_seen ? f->die_code : -1,
                    "it ran and is gone; the engine's events report its %s", seen);
}

/* The start that was asked for has failed, says the state; there is no witness, and no other start can come. */
static bool conclude_start_failed(struct docker_fence *f)
{
    char text[DOCKER_TEXT_MAX];
    const struct docker_state *s = &f->state;

    return conclude(f, ENGINE_REFUSED, docker_start_exit_code(s->exit_code, s->error), "%s",
                    docker_start_explain(s->exit_code, s->error, text, sizeof(text)));
}

static bool start_failed(const struct docker_fence *f)
{
    return f->state.error[0] && f->state.exit_code != 0;
}

/* By this fence, on the stream that told of no start up to the removal. */
static bool conclude_removed(struct docker_fence *f, const char *proof)
{
    return conclude(f, ENGINE_NEVER_RAN, -1,
                    "it could not be sealed (%s), and was removed without a start witness; %s", f->seal_text,
                    proof);
}

/* The container is gone, and `destroy` was read or will not come. */
static bool conclude_gone(struct docker_fence *f)
{
    if (ran(f))
        return conclude_ended(f);
    if (f->removed && f->destroy_seen && start_failed(f))
        return conclude_start_failed(f);
    if (f->removed && f->destroy_seen && f->may_have_run)
        return want(f, DOCKER_FENCE_BOOT_ID);
    if (f->removed && f->destroy_seen)
        return conclude_removed(f, "no start was ever sent");
    if (f->identity[0] && !f->identified)
        return want(f, DOCKER_FENCE_IDENTITY);
    if (f->create_seen && f->destroy_seen)
        return conclude(f, ENGINE_NEVER_RAN, -1,
                        "found removed; the engine's events from its creation to its removal hold no start");
    if (!f->may_have_run)
        return conclude(f, ENGINE_NEVER_RAN, -1, "found removed; no start was ever sent");
    return conclude(
        f, ENGINE_UNKNOWN, -1,
        "the container is gone, and the engine's events cover neither a start nor its whole life");
}

/* The witness was not there, and no start can make it any more. Yet an event may have told of one, also since. */
static bool conclude_sealed(struct docker_fence *f, const char *proof)
{
    if (ran(f))
        return conclude(f, ENGINE_UNKNOWN, -1,
                        "the engine's events report a start, but its files do not show one");
    return conclude(f, ENGINE_NEVER_RAN, -1, "sealed against any start, without a start witness; %s", proof);
}

/* Something that is not as it should be: try all again, a bounded number of times. */
static bool again(struct docker_fence *f, enum docker_fence_want next, const char *why)
{
    if (++f->rounds > DOCKER_FENCE_ROUNDS_MAX)
        return conclude(f, ENGINE_UNREACHABLE, -1, "the engine gives no clear answer: %s", why);
    return want(f, next);
}

static bool trouble(struct docker_fence *f, const struct docker_fact *fact, const char *what)
{
    char why[DOCKER_TEXT_MAX];

    snprintf(why, sizeof(why), "%s answered HTTP %d", what, fact->status);
    if (fact->text)
        snprintf(why, sizeof(why), "%s answered HTTP %d: %s", what, fact->status, fact->text);
    return again(f, DOCKER_FENCE_WAIT, why);
}

static bool on_state(struct docker_fence *f, const struct docker_fact *fact)
{
    if (fact->status == 404) {
        if (f->destroy_seen)
            return conclude_gone(f);
        f->awaits = DOCKER_AWAITS_DESTROY;
        return want(f, DOCKER_FENCE_WAIT);
    }
    if (fact->status != 200)
        return trouble(f, fact, "inspect");
    f->state = *fact->state;
    f->removed = false;
    if (docker_state_started(&f->state))
        return conclude_started(f, &f->state);
    f->seal_seen = false;
    return want(f, DOCKER_FENCE_SEAL);
}

static bool on_sealed(struct docker_fence *f, const struct docker_fact *fact)
{
    if (fact->status == 404)
        return again(f, DOCKER_FENCE_INSPECT, "it is being removed");
    if (fact->status != 200) {
        snprintf(f->seal_text, sizeof(f->seal_text), "%s", fact->text ? fact->text : "");
        f->seal_failed = fact->status >= 500;
        return want(f, DOCKER_FENCE_CHANGES);
    }
    if (!ran(f) && start_failed(f))
        return conclude_start_failed(f);
    if (ran(f) || !f->may_have_run)
        return conclude_sealed(f, "no start was ever sent");
    return want(f, DOCKER_FENCE_BOOT_ID);
}

/* The stream has lasted from before the look at the witness to the removal, so only the time before it is in doubt. */
static bool on_boot_id_removed(struct docker_fence *f, const struct docker_fact *fact)
{
    if (ran(f))
        return conclude_ended(f);
    if (docker_boot_id_same(f->boot_id, fact->text))
        return conclude_removed(f, "its host has not restarted");
    if (f->create_seen)
        return conclude_removed(f, "its engine has run without a restart since it was made");
    return conclude(
        f, ENGINE_UNKNOWN, -1,
        "removed; there was no start witness, but the engine's host may have restarted since, and "
        "have lost it");
}

static bool on_boot_id(struct docker_fence *f, const struct docker_fact *fact)
{
    if (f->removed)
        return on_boot_id_removed(f, fact);
    if (docker_boot_id_same(f->boot_id, fact->text))
        return conclude_sealed(f, "its host has not restarted");
    if (!f->stream_open)
        return again(f, DOCKER_FENCE_INSPECT, "its event stream breaks");
    if (f->create_seen && f->seal_seen)
        return conclude_sealed(f, "its engine has run without a restart since it was made");
    if (f->create_seen) {
        f->awaits = DOCKER_AWAITS_SEAL;
        return want(f, DOCKER_FENCE_WAIT);
    }
    return conclude(f, ENGINE_UNKNOWN, -1,
                    "sealed; there was no start witness, but the engine's host may have restarted since, and "
                    "have lost it");
}

static bool on_identity(struct docker_fence *f, const struct docker_fact *fact)
{
    char text[DOCKER_TEXT_MAX];

    if (engine_is_another(fact->text, f->identity, text, sizeof(text)))
        return conclude(f, ENGINE_UNREACHABLE, -1, "%s", text);
    if (!f->stream_open)
        return again(f, DOCKER_FENCE_INSPECT, "its event stream breaks");
    f->identified = true;
    return conclude_gone(f);
}

static bool on_witness(struct docker_fence *f)
{
    const struct docker_state *s = &f->state;

    if (docker_start_never_executed(s->exit_code, s->error))
        return conclude_start_failed(f);
    /* an engine that has lived since the creation has not died in mid-start: it is merely slow */
    if (!s->error[0] && (f->create_seen || ++f->looks < DOCKER_FENCE_LOOKS_MAX))
        return again(f, DOCKER_FENCE_WAIT, "a start seems to be in progress");
    return conclude(
        f, ENGINE_UNKNOWN, -1,
        "the start witness is there, yet the engine says that it was never started%s%s: the engine died, "
        "or lost its runtime, in the middle of the start",
        s->error[0] ? ": " : "", s->error);
}

/* The seal was refused. */
static bool on_changes(struct docker_fence *f, const struct docker_fact *fact)
{
    bool proven;

    if (fact->status == 404)
        return again(f, DOCKER_FENCE_INSPECT, "it is being removed");
    /* a witness in a volume cannot be seen where no volume can be mounted; the failed start's own words have to do */
    proven = fact->status == 200
                 ? !fact->witness
                 : fact->status >= 500 && docker_start_never_executed(f->state.exit_code, f->state.error);
    if (proven && f->seal_failed && ++f->unsealed >= DOCKER_FENCE_SEALS_MAX)
        return want(f, DOCKER_FENCE_REMOVE);
    if (fact->status != 200)
        return trouble(f, fact, "changes");
    if (fact->witness)
        return on_witness(f);
    return again(f, DOCKER_FENCE_WAIT, f->seal_text);
}

/* Not by force: what runs, or is being started, is not removed. */
static bool on_removed(struct docker_fence *f, const struct docker_fact *fact)
{
    if (fact->status >= 300 && fact->status != 404)
        return trouble(f, fact, "removal");
    f->removed = fact->status < 300 && f->stream_open;
    if (f->destroy_seen)
        return conclude_gone(f);
    f->awaits = DOCKER_AWAITS_DESTROY;
    return want(f, DOCKER_FENCE_WAIT);
}

static bool on_event(struct docker_fence *f, const struct docker_fact *fact)
{
    switch (fact->event) {
    case DOCKER_EVENT_CREATE:
        f->create_seen = !f->dropped;
        break;
    case DOCKER_EVENT_SEAL:
        f->seal_seen = true;
        break;
    case DOCKER_EVENT_START:
        f->start_seen = true;
        f->start_ms = fact->at_ms;
        break;
    case DOCKER_EVENT_DIE:
        f->die_seen = true;
        f->die_ms = fact->at_ms;
        f->die_code = fact->exit_code;
        break;
    case DOCKER_EVENT_DESTROY:
        f->destroy_seen = true;
        break;
    case DOCKER_EVENT_OTHER:
        break;
    }
    if (f->want != DOCKER_FENCE_WAIT)
        return false;
    if (f->awaits == DOCKER_AWAITS_DESTROY && f->destroy_seen)
        return conclude_gone(f);
    if (f->awaits == DOCKER_AWAITS_SEAL && f->seal_seen)
        return conclude_sealed(f, "its engine has run without a restart since it was made");
    if (f->awaits == DOCKER_AWAITS_NOTHING && fact->event == DOCKER_EVENT_START)
        return want(f, DOCKER_FENCE_INSPECT);
    return false;
}

static bool on_closed(struct docker_fence *f)
{
    f->stream_open = false;
    f->create_seen = f->seal_seen = f->destroy_seen = f->dropped = f->removed = false;
    f->awaits = DOCKER_AWAITS_NOTHING;
    if (f->want == DOCKER_FENCE_WAIT || f->rounds >= DOCKER_FENCE_ROUNDS_MAX)
        return again(f, DOCKER_FENCE_OPEN_EVENTS, "its event stream breaks");
    f->rounds++;
    return false; /* the answer under way comes first; then all is looked at again on a new stream */
}

static bool on_quiet(struct docker_fence *f)
{
    bool awaits_seal = f->awaits == DOCKER_AWAITS_SEAL;

    if (f->awaits == DOCKER_AWAITS_DESTROY && f->removed)
        return again(f, DOCKER_FENCE_WAIT, "its removal is not among the events");
    /* gone, and its last event does not come: what was read is all there is */
    if (f->awaits == DOCKER_AWAITS_DESTROY)
        return conclude_gone(f);
    f->awaits = DOCKER_AWAITS_NOTHING;
    if (awaits_seal && ++f->looks >= DOCKER_FENCE_LOOKS_MAX)
        return conclude(f, ENGINE_UNKNOWN, -1,
                        "sealed; its engine may have died since, and lost the witness");
    return again(f, DOCKER_FENCE_INSPECT, "no clear answer yet");
}

void docker_fence_init(struct docker_fence *fence, bool may_have_run, const char *boot_id,
                       const char *identity)
{
    *fence = (struct docker_fence){.want = DOCKER_FENCE_OPEN_EVENTS, .may_have_run = may_have_run};
    snprintf(fence->boot_id, sizeof(fence->boot_id), "%s", boot_id ? boot_id : "");
    snprintf(fence->identity, sizeof(fence->identity), "%s", identity ? identity : "");
}

bool docker_fence_tell(struct docker_fence *f, const struct docker_fact *fact)
{
    assert(f->want != DOCKER_FENCE_DONE);
    switch (fact->kind) {
    case DOCKER_FACT_EVENT:
        return on_event(f, fact);
    case DOCKER_FACT_DROPPED:
        f->dropped = true;
        f->create_seen = false; /* the stream holds its whole life no more */
        return false;
    case DOCKER_FACT_CLOSED:
        return on_closed(f);
    case DOCKER_FACT_OPENED:
        assert(f->want == DOCKER_FENCE_OPEN_EVENTS);
        f->stream_open = true;
        return want(f, DOCKER_FENCE_INSPECT);
    case DOCKER_FACT_STATE:
        assert(f->want == DOCKER_FENCE_INSPECT);
        return on_state(f, fact);
    case DOCKER_FACT_REMOVED:
        assert(f->want == DOCKER_FENCE_REMOVE);
        return on_removed(f, fact);
    case DOCKER_FACT_CHANGES:
        assert(f->want == DOCKER_FENCE_CHANGES);
        return on_changes(f, fact);
    case DOCKER_FACT_BOOT_ID:
        assert(f->want == DOCKER_FENCE_BOOT_ID);
        return on_boot_id(f, fact);
    case DOCKER_FACT_IDENTITY:
        assert(f->want == DOCKER_FENCE_IDENTITY);
        return on_identity(f, fact);
    case DOCKER_FACT_SEALED:
        assert(f->want == DOCKER_FENCE_SEAL);
        return on_sealed(f, fact);
    case DOCKER_FACT_QUIET:
        assert(f->want == DOCKER_FENCE_WAIT);
        return on_quiet(f);
    case DOCKER_FACT_UNREACHABLE:
        return conclude(f, ENGINE_UNREACHABLE, -1, "%s", fact->text ? fact->text : "no answer");
    }
    assert(!"a kind of fact that does not exist");
    return false;
}
