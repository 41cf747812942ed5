/* What applying a batch gives to history: rows of runs, ranges passed over, and the records themselves. */
#include "jobs/base/alloc.h"
#include "jobs/base/text.h"
#include "jobs/state/run_id.h"
#include "jobs/state/state_priv.h"
#include "jobs/time/instant.h"

#include <stdio.h>

struct history_write *apply_history_pending(struct state *s)
{
    if (!s->write)
        s->write = alloc_zero(sizeof(*s->write));
    return s->write;
}

static char *dump(json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);

    json_decref(json);
    if (!text)
        alloc_failed();
    return text;
}

static void add_row(struct state *s, struct history_run row)
{
    struct history_write *w = apply_history_pending(s);

    w->runs = alloc_resize(w->runs, (w->run_count + 1) * sizeof(row));
    w->runs[w->run_count++] = row;
}

void apply_history_run(struct state *s, const struct run *run)
{
    add_row(s, (struct history_run){
                   .run = alloc_text(run->id),
                   .job = alloc_text(run->job->name),
                   .at_ms = run->at_ms,
                   .fire_ms = run->fire_ms,
                   .state = alloc_text(run_state_name(run_shown_state(run))),
                   .verdict = alloc_text(run_verdict_name(run->verdict)),
                   .over = run->state == RUN_ENDED,
                   .started_ms = run->started_ms,
                   .ended_ms = run->ended_ms,
                   .json = dump(state_run_json(run)),
               });
}

/* A fire time passed over, seen as a run: one row for a range, at its last fire time. */
void apply_history_skip_row(struct state *s, const struct batch *batch, const struct record *r)
{
    char id[RUN_ID_MAX], fire[TEXT_NUMBER_BUFFER], ended[TEXT_NUMBER_BUFFER];
    json_t *json;

    run_id_format(r->job, r->to_ms, r->to_ms % 1000 != 0, id);
    if (r->run)
        snprintf(id, sizeof(id), "%s", r->run);
    instant_format(r->to_ms, INSTANT_S, fire, sizeof(fire));
    instant_format(batch->time_ms, INSTANT_MS, ended, sizeof(ended));
    json = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:n,s:s,s:n,s:[],s:I}", "run", id, "job", r->job, "fire_time",
                     fire, "cause", "schedule", "state", "skipped", "verdict", r->reason, "started", "ended",
                     ended, "exit_code", "attempts", "count", (json_int_t)r->count);
    if (RECORD_HAS(r, text))
        json_object_set_new(json, "text", json_string(r->text));
    add_row(s, (struct history_run){.run = alloc_text(id),
                                    .job = alloc_text(r->job),
                                    .at_ms = r->to_ms,
                                    .fire_ms = r->to_ms,
                                    .state = alloc_text(run_state_name(RUN_SKIPPED)),
                                    .verdict = alloc_text(r->reason),
                                    .over = true,
                                    .ended_ms = batch->time_ms,
                                    .json = dump(json)});
}

void apply_history_skip(struct state *s, const struct batch *batch, const struct record *r)
{
    struct history_write *w = apply_history_pending(s);

    w->skips = alloc_resize(w->skips, (w->skip_count + 1) * sizeof(*w->skips));
    w->skips[w->skip_count++] = (struct history_skip){.job = alloc_text(r->job),
                                                      .from_ms = r->from_ms,
                                                      .to_ms = r->to_ms,
                                                      .count = r->count,
                                                      .reason = alloc_text(r->reason),
                                                      .text = alloc_text(RECORD_HAS(r, text) ? r->text : ""),
                                                      .time_ms = batch->time_ms};
}

static void add_record(struct state *s, struct history_record record)
{
    struct history_write *w = apply_history_pending(s);

    if ((w->record_count & (w->record_count - 1)) == 0) /* it grows at powers of two */
        w->records = alloc_resize(w->records, (w->record_count ? w->record_count * 2 : 1) * sizeof(record));
    w->records[w->record_count++] = record;
}

void apply_history_record(struct state *s, const struct record *r)
{
    const char *run = RECORD_HAS(r, run) ? r->run : NULL;
    const char *job = RECORD_HAS(r, job) ? r->job : NULL;
    char of_run[RUN_ID_MAX];
    int64_t at_ms;
    bool has_ms;

    if (!job && run && run_id_parse(run, of_run, &at_ms, &has_ms) == 0)
        job = of_run;
    add_record(s, (struct history_record){.kind = alloc_text(record_kind_name(r->kind)),
                                          .job = alloc_text(job),
                                          .run = alloc_text(run),
                                          .by = alloc_text(RECORD_HAS(r, by) ? r->by : NULL),
                                          .json = record_encode(r)});
}

char *apply_history_job_text(const struct record *part)
{
    struct batch *b = batch_new(0, 0);
    struct record *r = batch_add(b, part->kind);
    char *text;

    RECORD_TEXT(b, r, job, part->job);
    RECORD_TEXT(b, r, by, part->by);
    RECORD_TEXT(b, r, set, part->set);
    if (part->kind == RECORD_JOB) {
        RECORD_JSON(b, r, def, part->def);
        RECORD_INT(b, r, version, part->version);
        RECORD_INT(b, r, seed, part->seed);
        RECORD_INT(b, r, anchor_ms, part->anchor_ms);
        RECORD_INT(b, r, cursor_ms, part->cursor_ms);
    }
    text = record_encode(r);
    batch_free(b);
    return text;
}

void apply_history_job(struct state *s, const struct record *part, char **text)
{
    add_record(s, (struct history_record){.kind = alloc_text(record_kind_name(part->kind)),
                                          .job = alloc_text(part->job),
                                          .by = alloc_text(part->by),
                                          .json = text ? *text : apply_history_job_text(part)});
    if (text)
        *text = NULL;
}
