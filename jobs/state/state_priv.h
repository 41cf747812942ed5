/* How records and the decoder change the state. For the files of this folder alone. */
#pragma once

#include "jobs/state/state.h"

/* state_after.c: around a change of j->def. */
void state_after_add(struct state *s, struct job_state *j);
void state_after_drop(struct state *s, const struct job_state *j);
void state_after_release(struct state *s);
struct job_state *state_add_job(struct state *s,
                                const char *name); /* found or new: a tombstone until it has a def */
void state_drop_job(struct state *s, struct job_state *j);
struct run *state_add_run(struct state *s, struct job_state *j, const char *id);
void state_end_run(struct state *s, struct run *r); /* out of all indexes; freed when the batch is finished */
void state_free_ended(struct state *s);
struct attempt *state_add_attempt(struct run *r, int number);
void state_add_ahead(struct job_state *j, int64_t fire_ms);
void state_move_cursor(struct job_state *j, int64_t to_ms); /* never back */
struct backfill *state_add_backfill(struct job_state *j);
void state_drop_backfill(struct state *s, struct backfill *b);
/* state_bytes.c: what a thing counts is set, or goes up by so much. */
void state_count(struct state *s, enum state_part part, size_t *bytes, size_t now);
void state_count_job(struct state *s, struct job_state *j,
                     const json_t *def); /* def NULL: as it was, or none */
void state_count_run(struct state *s, struct run *r);
void state_count_backfill(struct state *s, struct backfill *b);
void state_add_key(struct state *s, const char *job, const char *key, const char *digest, const char *run,
                   int64_t t);
void state_expire_keys(struct state *s, int64_t before_ms);
/* Takes headers (job_notify_headers) and body. */
void state_add_notice(struct state *s, const char *id, const char *url, json_t *headers, json_t *body);
void state_drop_notice(struct state *s, struct notice *n);
void state_clear_parts(struct state *s);
void state_spend_staged(struct state *s, json_t *staged); /* takes it, and the parts: they are freed later */

/* state_json.c: a job with its runs and backfills; all that is not in lists. New references. */
json_t *state_job_json(const struct job_state *j);
json_t *state_fields_json(const struct state *s);

/* state_image.c. Before anything that the text of this job has is changed: its runs and backfills included. */
void state_image_keep(struct state *s, struct job_state *j);
void state_image_new_job(struct state *s, struct job_state *j);
void state_image_drop_job(struct state *s, struct job_state *j);         /* before it is out of the table */
void state_image_drop_key(struct state *s, const struct trigger_key *k); /* likewise */

/* apply.c: reads the last of the staged parts, so that APPLY need not. */
void apply_add_part(struct state *s, const json_t *staged);

/* What the batch being applied changed, for history (apply_history.c). */
struct history_write *apply_history_pending(struct state *s);
void apply_history_run(struct state *s, const struct run *run);
void apply_history_skip(struct state *s, const struct batch *batch, const struct record *r);
/* A fire time passed over, seen as a run: one row for a range, at its last fire time. */
void apply_history_skip_row(struct state *s, const struct batch *batch, const struct record *r);
void apply_history_record(struct state *s, const struct record *r);
/* A part of a change set, as the record that it would have been: history knows no difference. Its text, malloc'd; and the record
 * with that text, which it takes; text NULL: it makes one. */
char *apply_history_job_text(const struct record *part);
void apply_history_job(struct state *s, const struct record *part, char **text);
