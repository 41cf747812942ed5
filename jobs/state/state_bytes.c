/* What the parts of the state count, for max_state: close to the text of a snapshot, and known without making it.
 */
#include "jobs/state/state_priv.h"

#include <assert.h>

static const char *const names[] = {
#define X(part, word) [STATE_##part] = word,
    STATE_PARTS(X)
#undef X
};

const char *state_part_name(enum state_part part)
{
    assert(part < STATE_PART_COUNT);
    return names[part];
}

size_t state_bytes(const struct state *s)
{
    size_t sum = 0;

    for (int i = 0; i < STATE_PART_COUNT; i++)
        sum += s->bytes[i];
    return sum;
}

void state_count(struct state *s, enum state_part part, size_t *bytes, size_t now)
{
    assert(s->bytes[part] >= *bytes);
    s->bytes[part] = s->bytes[part] - *bytes + now;
    *bytes = now;
}

static size_t text_bytes(const char *text)
{
    return text ? strlen(text) : 0;
}

void state_count_job(struct state *s, struct job_state *j, const json_t *def)
{
    if (def)
        j->def_bytes = json_dumpb(def, NULL, 0, JSON_COMPACT);
    state_count(s, STATE_JOBS, &j->bytes,
                STATE_JOB_BYTES + strlen(j->name) + (j->def ? j->def_bytes : 0) +
                    text_bytes(j->pause_reason));
}

void state_count_run(struct state *s, struct run *r)
{
    state_count(s, STATE_RUNS, &r->bytes,
                STATE_RUN_BYTES + strlen(r->id) +
                    (r->params ? json_dumpb(r->params, NULL, 0, JSON_COMPACT) : 0));
}

void state_count_backfill(struct state *s, struct backfill *b)
{
    state_count(s, STATE_BACKFILLS, &b->bytes,
                STATE_RUN_BYTES + json_array_size(b->times) * STATE_BACKFILL_TIME_BYTES);
}
