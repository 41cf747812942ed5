/* Whether what the engine says of an end is known to it, or made up at its own start. Pure.
 *
 * An engine that starts and finds a container that it had left running, and no trace of it any more (its host lost
 * power, or its runtime was killed), writes down an end: now, with the exit code 255 (Docker 24.0: 0). Nobody has seen
 * that end, and no `die` tells of it. A container that ended while the engine alone was away has the right end, which the
 * runtime has kept. And an engine without live-restore ends what it finds running before it is up, and what runs when it
 * stops. See contrib/guide/architecture.md, "Ends that nobody saw".
 *
 * When it started: its process says so, where it is on this machine (docker_boot_id.c). The default network says so where
 * it was made again, as the last step of that start (so there the time before is part of it); with live-restore it is as
 * old as the oldest container that lived on.
 */
#include "cronsched/engines/docker/docker_core.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define SLACK_MS 1000 /* of the clocks' ticks */
#define RESTORE_MS                                                                                           \
    60000 /* in which an engine that starts has looked at its containers; as long may one take to stop */

/* Code of an engine that does not know. Where containers live on without their engine many end well meanwhile: a 0 is
 * then believed of an engine that is known to make up 255. */
static bool may_be_made_up(const struct docker_state *state, const struct docker_restart *restart)
{
    return state->exit_code == 255 || (state->exit_code == 0 && (!restart->live_restore || restart->zero));
}

/* What ends so is stopped by an engine without live-restore when that stops. */
static bool may_be_stopped(const struct docker_state *state, const struct docker_restart *restart)
{
    return state->exit_code > 128 && !restart->live_restore;
}

/* No container lives through a start of the host: what ended after it was made up then, what ended before is known. */
static enum docker_end_source judge_by_host(const struct docker_state *state,
                                            const struct docker_restart *restart)
{
    if (state->finished_ms < restart->host_ms - SLACK_MS)
        return may_be_stopped(state, restart) ? DOCKER_END_MAYBE_ENGINE : DOCKER_END_OWN;
    return state->exit_code == 255 || state->exit_code == 0 ? DOCKER_END_MADE_UP : DOCKER_END_MAYBE_ENGINE;
}

enum docker_end_source docker_end_judge(const struct docker_state *state,
                                        const struct docker_restart *restart)
{
    bool ends_what_runs = restart->seen_away && !restart->live_restore;
    enum docker_end_source otherwise = ends_what_runs ? DOCKER_END_MAYBE_ENGINE : DOCKER_END_OWN;
    int64_t process_ms = restart->process_ms, network_ms = restart->network_ms;
    int64_t at_ms = process_ms ? process_ms : network_ms, from_ms, to_ms;

    if (state->started_ms < restart->host_ms)
        return judge_by_host(state, restart);
    if (at_ms == 0)
        return ends_what_runs && may_be_made_up(state, restart) ? DOCKER_END_MADE_UP : otherwise;
    if (state->started_ms >= at_ms)
        return otherwise;
    /* With live-restore containers end while the engine is away, and when it was away has to be known well. */
    from_ms = process_ms && restart->live_restore ? process_ms - SLACK_MS : at_ms - RESTORE_MS;
    to_ms = network_ms >= at_ms ? network_ms + SLACK_MS : process_ms + RESTORE_MS;
    if (state->finished_ms > to_ms || state->finished_ms < at_ms - RESTORE_MS)
        return otherwise;
    if (may_be_made_up(state, restart))
        return state->finished_ms >= from_ms ? DOCKER_END_MADE_UP : otherwise;
    return may_be_stopped(state, restart) ? DOCKER_END_MAYBE_ENGINE : otherwise;
}

bool docker_end_is_unread(const struct docker_state *state, const struct docker_restart *restart)
{
    int64_t at_ms = restart->process_ms ? restart->process_ms : restart->network_ms;

    return restart->seen_away || (state->started_ms < at_ms && state->finished_ms > at_ms - RESTORE_MS &&
                                  state->finished_ms < at_ms + SLACK_MS);
}

/* ---- why ---- */

static const char *signal_name(int signal, char *buffer, size_t size)
{
    const char *name = signal > 0 && signal < NSIG ? sigabbrev_np(signal) : NULL;

    if (name)
        snprintf(buffer, size, "SIG%s", name);
    else
        snprintf(buffer, size, "signal %d", signal);
    return buffer;
}

bool docker_end_may_be_oom(const struct docker_state *state)
{
    return state->memory_limited && !state->oom_killed && state->exit_code == 128 + SIGKILL;
}

/* The engine begins to watch a container's memory a moment after its start: what is killed before that is killed for no
 * reason that it knows. */
static const char *explain_code(const struct docker_end *end, char *text, size_t size)
{
    int code = end->state->exit_code;
    char name[32];

    if (code > 128 && code < 128 + NSIG) {
        snprintf(
            text, size, "exit code %d: %s%s", code, signal_name(code - 128, name, sizeof(name)),
            docker_end_may_be_oom(end->state) && !end->stopped
                ? "; perhaps it needed more memory than its limit: of a container's first moments the engine "
                  "does not know"
                : "");
        return "signal";
    }
    snprintf(text, size, "%s", end->state->error);
    return "exit";
}

static const char *explain(const struct docker_end *end, char *text, size_t size)
{
    char name[32];

    *text = '\0';
    if (end->state->oom_killed && end->state->exit_code == 128 + SIGKILL) {
        snprintf(text, size, "killed: it needed more memory than its limit");
        return "oom";
    }
    if (end->source == DOCKER_END_MAYBE_ENGINE) {
        snprintf(
            text, size,
            "it ended while the engine was away, stopping or starting, and the engine may have ended it");
        return "engine";
    }
    if (end->foreign_signal) {
        snprintf(text, size,
                 "%s was sent to it through the engine by somebody else: a docker stop or kill, or the "
                 "engine's own stop",
                 signal_name(end->foreign_signal, name, sizeof(name)));
        return "engine";
    }
    return explain_code(end, text, size);
}

static void add(char *text, size_t size, const char *more)
{
    size_t n = strlen(text);

    snprintf(text + n, size - n, "%s%s", n ? "; " : "", more);
}

const char *docker_end_explain(const struct docker_end *end, char *text, size_t size)
{
    const char *cause = explain(end, text, size);

    /* the engine says so of any process in it; the container itself lived on */
    if (end->state->oom_killed && end->state->exit_code != 128 + SIGKILL)
        add(text, size, "a process in it was killed: it needed more memory than the limit");
    if (end->unread)
        add(text, size, "what it wrote last may be missing: the engine was away at its end");
    return cause;
}
