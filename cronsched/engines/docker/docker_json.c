/* What the engine's JSON says, as the values that the rest works with. Pure. */
#include "cronsched/engines/docker/docker_core.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : "";
}

int64_t docker_time_read(const char *text)
{
    int64_t ms;

    if (!text || instant_parse(text, &ms, NULL) < 0)
        return 0;
    return ms > 0 ? ms : 0; /* the engine's zero is the year 1 */
}

int64_t docker_clock_offset_ms(const json_t *info, int64_t now_ms)
{
    int64_t its_ms = docker_time_read(json_string_value(json_object_get(info, "SystemTime")));

    return its_ms ? its_ms - now_ms : 0;
}

int64_t docker_ms_of(int64_t seconds)
{
    return seconds > 0 && seconds <= JSON_TEXT_TIME_MAX / 1000 ? seconds * 1000 : 0;
}

static bool status_read(const char *text, enum docker_status *ret)
{
    static const struct {
        const char *text;
        enum docker_status status;
    } table[] = {
        {"created", DOCKER_CREATED},    {"running", DOCKER_RUNNING},
        {"paused", DOCKER_PAUSED},      {"restarting", DOCKER_RESTARTING},
        {"removing", DOCKER_REMOVING},  {"exited", DOCKER_EXITED},
        {"dead", DOCKER_DEAD},          {"initialized", DOCKER_CREATED}, /* podman, in mid-start */
        {"configured", DOCKER_CREATED}, {"stopped", DOCKER_EXITED},
        {"stopping", DOCKER_RUNNING},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        if (strcmp(text, table[i].text) == 0) {
            *ret = table[i].status;
            return true;
        }
    }
    return false;
}

/* What is there has to be text. */
static bool is_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return !value || json_is_string(value);
}

/* Values that mean something good when they are missing must not be of another type: that is not the same. */
static bool has_types(const json_t *state)
{
    const json_t *oom = json_object_get(state, "OOMKilled");

    return is_text(state, "StartedAt") && is_text(state, "FinishedAt") && is_text(state, "Error") &&
           (!oom || json_is_boolean(oom));
}

/* As Docker takes it: a number, or a name with or without SIG, RTMIN+3 among them. */
static int signal_read(const char *text)
{
    int64_t number = docker_number_read(text);

    if (number >= 0)
        return number < NSIG ? (int)number : 0;
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    if (strncasecmp(text, "RTMIN", 5) == 0)
        return SIGRTMIN + (int)strtol(text + 5, NULL, 10);
    if (strncasecmp(text, "RTMAX", 5) == 0)
        return SIGRTMAX + (int)strtol(text + 5, NULL, 10);
    for (int i = 1; i < NSIG; i++)
        if (sigabbrev_np(i) && strcasecmp(sigabbrev_np(i), text) == 0)
            return i;
    return 0;
}

bool docker_signal_valid(const char *text)
{
    int number = signal_read(text);

    return number > 0 && number < NSIG;
}

static bool has_restart_policy(const json_t *host)
{
    const char *name = text_of(json_object_get(host, "RestartPolicy"), "Name");

    return *name && strcmp(name, "no") != 0;
}

int docker_state_read(const json_t *inspect, struct docker_state *ret)
{
    const json_t *state = json_object_get(inspect, "State");
    struct docker_state s = {0};
    int64_t exit_code, restarts;
    const json_t *host = json_object_get(inspect, "HostConfig");

    if (!status_read(text_of(state, "Status"), &s.status) || !has_types(state) ||
        json_text_int(state, "ExitCode", -1, INT_MAX, &exit_code) < 0 ||
        json_text_int(inspect, "RestartCount", 0, INT_MAX, &restarts) < 0)
        return ERR_INVALID;
    s.started_ms = docker_time_read(text_of(state, "StartedAt"));
    s.finished_ms = docker_time_read(text_of(state, "FinishedAt"));
    if ((s.status == DOCKER_EXITED || s.status == DOCKER_DEAD) && s.finished_ms &&
        s.finished_ms < s.started_ms)
        s.finished_ms = s.started_ms; /* it was over before the engine had noted the start */
    s.exit_code = (int)exit_code;
    if ((s.status == DOCKER_EXITED || s.status == DOCKER_DEAD || s.status == DOCKER_REMOVING) &&
        !json_object_get(state, "ExitCode"))
        s.exit_code = -1; /* not 0, which would be a success */
    s.oom_killed = json_is_true(json_object_get(state, "OOMKilled"));
    s.restart_count = (int)restarts;
    s.memory_limited = json_integer_value(json_object_get(host, "Memory")) > 0;
    s.restarts = has_restart_policy(host);
    snprintf(s.error, sizeof(s.error), "%s", text_of(state, "Error"));
    s.stop_signal = signal_read(text_of(json_object_get(inspect, "Config"), "StopSignal"));
    *ret = s;
    return 0;
}

void docker_witness_read(const json_t *inspect, char *ret, size_t size)
{
    const json_t *labels = json_object_get(json_object_get(inspect, "Config"), "Labels");
    const char *path = text_of(labels, "cronsched.witness");

    snprintf(ret, size, "%s", *path == '/' && strlen(path) < size ? path : "");
}

bool docker_changes_hold(const json_t *changes, const char *path)
{
    const json_t *change;
    size_t i;

    json_array_foreach(changes, i, change) if (strcmp(text_of(change, "Path"), path) == 0) return true;
    return false;
}

static enum docker_event event_of(const char *action)
{
    if (strcmp(action, "create") == 0)
        return DOCKER_EVENT_CREATE;
    if (strcmp(action, "extract-to-dir") == 0)
        return DOCKER_EVENT_SEAL;
    if (strcmp(action, "start") == 0)
        return DOCKER_EVENT_START;
    if (strcmp(action, "die") == 0 || strcmp(action, "died") == 0) /* podman's word */
        return DOCKER_EVENT_DIE;
    if (strcmp(action, "destroy") == 0 || strcmp(action, "remove") == 0)
        return DOCKER_EVENT_DESTROY;
    return DOCKER_EVENT_OTHER;
}

bool docker_id_valid(const char *id)
{
    size_t n = strlen(id);

    return n > 0 && n < DOCKER_ID_MAX && strspn(id, "0123456789abcdef") == n;
}

int64_t docker_number_read(const char *text)
{
    char *end;
    long long n;

    if (*text < '0' || *text > '9')
        return -1;
    errno = 0;
    n = strtoll(text, &end, 10);
    return *end || errno == ERANGE ? -1 : n;
}

/* -1: none, or no number that a process may end with; it is not to be taken for success. */
static int exit_code_of(const char *text)
{
    int64_t code = docker_number_read(text);

    return code > INT_MAX ? -1 : (int)code;
}

bool docker_event_read(const json_t *event, const char *id, struct docker_fact *ret)
{
    const json_t *actor = json_object_get(event, "Actor");
    const char *code = text_of(json_object_get(actor, "Attributes"), "exitCode");
    const char *type = text_of(event, "Type");

    if (!*code)
        code = text_of(json_object_get(actor, "Attributes"), "containerExitCode");
    if ((*type && strcmp(type, "container") != 0) || !*text_of(actor, "ID"))
        return false;
    if (id && strcmp(id, text_of(actor, "ID")) != 0)
        return false;
    *ret = (struct docker_fact){
        .kind = DOCKER_FACT_EVENT,
        .event = event_of(text_of(event, "Action")),
        .at_ms = json_integer_value(json_object_get(event, "timeNano")) / 1000000,
        .exit_code = exit_code_of(code),
    };
    return true;
}
