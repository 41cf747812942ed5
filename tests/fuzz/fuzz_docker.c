/* What a docker engine may answer: bytes as a body of inspect, of changes and as a stream of events; and
 * bytes as the choice of what the fence is told, which must come to an end with one of its verdicts. */
#include "cronsched/engines/docker/docker_core.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

static void on_line(void *arg, const char *line, size_t len)
{
    struct docker_fact fact;
    json_t *json = json_loadb(line, len, 0, NULL);
    if (docker_event_read(json, *(const char **)arg, &fact))
        assert(fact.kind == DOCKER_FACT_EVENT && fact.event <= DOCKER_EVENT_OTHER);
    json_decref(json);
}

static void read_bodies(const char *bytes, size_t size)
{
    struct docker_state state;
    char path[64];
    const char *id = size % 2 ? "a1" : NULL;
    struct lines lines = {.max = DOCKER_LINE_MAX, .line = on_line, .arg = &id};
    json_t *json = json_loadb(bytes, size, JSON_DECODE_ANY, NULL);

    if (docker_state_read(json, &state) == 0)
        assert(state.status <= DOCKER_DEAD && state.started_ms >= 0 && state.finished_ms >= 0);
    docker_witness_read(json, path, sizeof(path));
    assert(path[0] == '\0' || path[0] == '/');
    docker_changes_hold(json, "/.w");
    json_decref(json);
    for (size_t at = 0; at < size; at += 7)
        lines_feed(&lines, bytes + at, size - at < 7 ? size - at : 7);
    lines_release(&lines);
}

/* One byte: an event, the stream's end, or the answer to what is wanted; what is wanted next is answered by
 * the next. */
static void tell(struct docker_fence *f, uint8_t byte)
{
    static const int statuses[] = {200, 204, 404, 409, 500};
    static const struct docker_state states[] = {
        {.status = DOCKER_CREATED},
        {.status = DOCKER_CREATED, .exit_code = 127, .error = "exec"},
        {.status = DOCKER_CREATED, .exit_code = 128, .error = "x"},
        {.status = DOCKER_RUNNING, .started_ms = 1},
        {.status = DOCKER_REMOVING},
    };
    struct docker_fact fact = {
        .status = statuses[byte % 5],
        .state = &states[byte / 5 % 5],
        .witness = byte & 64,
        .event = byte % 5,
        .text = byte & 32 ? "kernel=a" : NULL,
    };

    switch (f->want) {
    case DOCKER_FENCE_OPEN_EVENTS:
        fact.kind = DOCKER_FACT_OPENED;
        break;
    case DOCKER_FENCE_INSPECT:
        fact.kind = DOCKER_FACT_STATE;
        break;
    case DOCKER_FENCE_CHANGES:
        fact.kind = DOCKER_FACT_CHANGES;
        break;
    case DOCKER_FENCE_BOOT_ID:
        fact.kind = DOCKER_FACT_BOOT_ID;
        break;
    case DOCKER_FENCE_IDENTITY:
        fact.kind = DOCKER_FACT_IDENTITY;
        fact.text = byte & 1 ? "e" : NULL;
        break;
    case DOCKER_FENCE_SEAL:
        fact.kind = DOCKER_FACT_SEALED;
        break;
    case DOCKER_FENCE_REMOVE:
        fact.kind = DOCKER_FACT_REMOVED;
        break;
    default:
        fact.kind = DOCKER_FACT_QUIET;
        break;
    }
    if (byte >= 250)
        fact.kind = DOCKER_FACT_UNREACHABLE;
    else if (byte >= 128 && f->stream_open)
        fact.kind = byte < 140 ? DOCKER_FACT_CLOSED : DOCKER_FACT_EVENT;
    docker_fence_tell(f, &fact);
}

static void drive(const uint8_t *data, size_t size)
{
    struct docker_fence f;
    size_t steps = 0;

    docker_fence_init(&f, data[0] & 1, data[0] & 2 ? "kernel=a" : NULL, data[0] & 4 ? "e" : NULL);
    for (size_t i = 1; i < size && f.want != DOCKER_FENCE_DONE; i++)
        tell(&f, data[i]);
    /* and then only answers, again and again the same one: it ends */
    while (f.want != DOCKER_FENCE_DONE) {
        tell(&f, data[size - 1] & 127);
        assert(++steps < 1000);
    }
    assert(f.verdict.text[0]);
    if (f.verdict.event == ENGINE_NEVER_RAN)
        assert(!f.start_seen && !f.die_seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] & 128)
        read_bodies((const char *)data + 1, size - 1);
    else
        drive(data, size);
    return 0;
}
