#include "cronsched/conformance/conformance.h"

#include "cronsched/io/file.h"
#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"
#include "jobs/engine/engine_json.h"
#include "jobs/state/run_id.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGAIN_US       (200 * 1000)
#define LEDGER_MAX     (64 * 1024 * 1024)
#define SECOND_MS      1000
#define FIRST_RUN_MS   INT64_C(1767225600000) /* of 2026; each attempt is of another second */
#define ATTEMPT_INSIDE "/ledger"

static json_t *command_json(const struct conformance *c, const char *body)
{
    char script[8192];

    snprintf(script, sizeof(script), "echo \"start $CRONSCHED_RUN\" >> %s/starts; %s",
             c->image ? ATTEMPT_INSIDE : c->ledger, body);
    return json_pack("[s,s,s]", "sh", "-c", script);
}

int conformance_attempt_make(struct conformance *c, struct conformance_attempt *ret, const char *body,
                             struct error *error)
{
    char name[64], volume[4400];
    json_t *job = json_object();
    int r;

    *ret = (struct conformance_attempt){.exit_code = -1};
    snprintf(name, sizeof(name), "drill-%s", c->tag);
    run_id_format(name, FIRST_RUN_MS + (int64_t)++c->made * SECOND_MS, false, ret->run);
    snprintf(ret->name, sizeof(ret->name), "cs-%s-%u", c->tag, c->made);
    json_object_set_new(job, "command", body ? command_json(c, body) : json_pack("[s]", "/no/such/program"));
    json_object_set_new(job, "stop_grace", json_string("2s"));
    if (c->image) {
        snprintf(volume, sizeof(volume), "%s:%s", c->ledger, ATTEMPT_INSIDE);
        json_object_set_new(job, "image", json_string(c->image));
        json_object_set_new(job, "entrypoint", json_array());
        json_object_set_new(job, "volumes", json_pack("[s]", volume));
    }
    r = job_from_json(&ret->job, name, job, NULL, error);
    json_decref(job);
    return r;
}

void conformance_attempts_release(struct conformance_attempt *a, size_t count)
{
    for (size_t i = 0; i < count; i++)
        job_unref(a[i].job);
}

int conformance_starts(const struct conformance *c, const char *run)
{
    char path[4400], line[200], *data;
    size_t size, n = (size_t)snprintf(line, sizeof(line), "start %s\n", run);
    int count = 0;

    snprintf(path, sizeof(path), "%s/starts", c->ledger);
    if (file_read(path, LEDGER_MAX, FILE_REGULAR, &data, &size, NULL) < 0)
        return 0;
    for (const char *at = data; (at = strstr(at, line)); at += n)
        count++;
    free(data);
    return count;
}

/* ---- one request ---- */

static void ask(struct conformance_leader *leader, enum engine_op op, struct conformance_attempt *a)
{
    struct engine_request q = {.job = a->job,
                               .run = a->run,
                               .attempt = 1,
                               .try = 1,
                               .epoch = 1,
                               .name = a->name,
                               .id = a->id[0] ? a->id : NULL,
                               .boot_id = a->boot[0] ? a->boot : NULL,
                               .identity = a->identity[0] ? a->identity : NULL,
                               .started_ms = op == ENGINE_WATCH ? a->started_ms : 0,
                               .may_have_run = a->may_have_run,
                               .cause = "schedule",
                               .fire_ms = clock_wall_ms()};

    if (op == ENGINE_RELEASE)
        a->may_have_run = true;
    a->ticket = conformance_leader_ask(leader, op, &q);
}

static bool is(const json_t *answer, enum engine_event event)
{
    const char *name = json_string_value(json_object_get(answer, "event"));

    return name && strcmp(name, engine_event_name(event)) == 0;
}

/* The last answer to what was asked; NULL: there is none. What is unreachable is asked for again. */
static json_t *hear(struct conformance_leader *leader, enum engine_op op, struct conformance_attempt *a)
{
    int64_t until = clock_wall_ms() + CONFORMANCE_WAIT_MS;
    json_t *answer;

    while ((answer = conformance_leader_hear(leader, a->ticket, until - clock_wall_ms()))) {
        const char *text = json_string_value(json_object_get(answer, "text"));

        snprintf(a->text, sizeof(a->text), "%.250s", text ? text : "");
        if (is(answer, ENGINE_UNREACHABLE) && op != ENGINE_WATCH) {
            usleep(AGAIN_US);
            ask(leader, op, a);
        } else if (op != ENGINE_WATCH || !(is(answer, ENGINE_UNREACHABLE) || is(answer, ENGINE_PENDING) ||
                                           is(answer, ENGINE_STARTED))) {
            return answer;
        }
        json_decref(answer);
    }
    snprintf(a->text, sizeof(a->text), "%s: no answer", engine_op_name(op));
    return NULL;
}

static void take_text(char *ret, size_t size, const json_t *answer, const char *key)
{
    const char *text = json_string_value(json_object_get(answer, key));

    snprintf(ret, size, "%s", text ? text : "");
}

/* What an answer to FENCE, or the last one to WATCH, means. */
static enum conformance_said said_by(struct conformance_attempt *a, const json_t *answer)
{
    const json_t *code = json_object_get(answer, "exit_code");

    if (code && json_is_integer(code))
        a->exit_code = (int)json_integer_value(code);
    if (is(answer, ENGINE_NEVER_RAN) || is(answer, ENGINE_REFUSED))
        return SAID_NEVER;
    return is(answer, ENGINE_ENDED) ? SAID_RAN : SAID_UNKNOWN;
}

/* ---- all of them ---- */

void conformance_send(struct conformance_leader *leader, enum engine_op op, struct conformance_attempt *a,
                      size_t count)
{
    for (size_t i = 0; i < count; i++)
        ask(leader, op, &a[i]);
}

void conformance_prepare(struct conformance_leader *leader, struct conformance_attempt *a, size_t count)
{
    conformance_send(leader, ENGINE_PREPARE, a, count);
    for (size_t i = 0; i < count; i++) {
        json_t *answer = hear(leader, ENGINE_PREPARE, &a[i]);

        if (is(answer, ENGINE_PREPARED)) {
            take_text(a[i].id, sizeof(a[i].id), answer, "id");
            take_text(a[i].boot, sizeof(a[i].boot), answer, "boot");
            take_text(a[i].identity, sizeof(a[i].identity), answer, "identity");
        } else if (is(answer, ENGINE_REFUSED)) {
            a[i].said = said_by(&a[i], answer);
        }
        json_decref(answer);
    }
}

void conformance_ends(struct conformance_leader *leader, struct conformance_attempt *a, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *answer = a[i].said == SAID_NOTHING ? hear(leader, ENGINE_WATCH, &a[i]) : NULL;

        if (answer)
            a[i].said = said_by(&a[i], answer);
        json_decref(answer);
    }
}

void conformance_watch(struct conformance_leader *leader, struct conformance_attempt *a, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (a[i].said == SAID_NOTHING)
            ask(leader, ENGINE_WATCH, &a[i]);
    conformance_ends(leader, a, count);
}

/* Runs, or is accepted: nothing is said yet, and it can be watched. */
static bool goes_on(struct conformance_attempt *a, const json_t *answer)
{
    a->started_ms = json_integer_value(json_object_get(answer, "started_ms"));
    return is(answer, ENGINE_STARTED) || is(answer, ENGINE_ACCEPTED);
}

void conformance_settle(struct conformance_leader *leader, struct conformance_attempt *a, size_t count,
                        bool sent)
{
    if (!sent)
        conformance_send(leader, ENGINE_FENCE, a, count);
    for (size_t i = 0; i < count; i++) {
        json_t *answer = hear(leader, ENGINE_FENCE, &a[i]);

        a[i].said = SAID_NOTHING;
        if (answer && !goes_on(&a[i], answer))
            a[i].said = said_by(&a[i], answer);
        json_decref(answer);
    }
    conformance_watch(leader, a, count);
}

void conformance_release(struct conformance_leader *leader, struct conformance_attempt *a, size_t count)
{
    bool doubt[CONFORMANCE_TRIALS_MAX] = {false};

    conformance_send(leader, ENGINE_RELEASE, a, count);
    for (size_t i = 0; i < count; i++) {
        json_t *answer = hear(leader, ENGINE_RELEASE, &a[i]);

        if (is(answer, ENGINE_UNKNOWN))
            doubt[i] = true;
        else if (answer && !goes_on(&a[i], answer))
            a[i].said = said_by(&a[i], answer);
        json_decref(answer);
    }
    for (size_t i = 0; i < count; i++)
        if (doubt[i])
            conformance_settle(leader, &a[i], 1, false);
}
