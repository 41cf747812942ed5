/* What each record does to the state. Nothing here decides: the leader did, when it wrote the record; and
 * nothing here depends on anything but the state and the record, so that every replica gets the same state.
 * A journal is outside input: a record that does not fit the state is ERR_CORRUPT, never an assertion.
 */
#include "jobs/base/alloc.h"
#include "jobs/base/text.h"
#include "jobs/state/apply_priv.h"
#include "jobs/state/run_id.h"
#include "jobs/time/instant.h"

/* What the leader before may have released. */
static void fire_released(struct apply_context *c)
{
    struct run *run, *next;

    HASH_ITER(by_id, c->s->runs, run, next)
    {
        const struct attempt *a = run_attempt(run);

        if (run->fired || !a || a->state != ATTEMPT_COMMITTED || a->handed_over ||
            run->due_ms > c->batch->time_ms)
            continue;
        state_image_keep(c->s, run->job);
        apply_run_set_fired(c, run, false);
        if (run->state == RUN_ARMED)
            apply_run_move(c, run, RUN_STARTING);
        apply_run_touch(c, run);
    }
}

static int apply_epoch(struct apply_context *c)
{
    struct state *s = c->s;
    struct job_state *j, *next;

    if (c->r->epoch < s->epoch || c->r->epoch != c->batch->epoch)
        return apply_corrupt(c, "the epoch goes back");
    s->epoch = c->r->epoch;
    s->level = apply_later(s->level, c->r->level);
    alloc_replace(&s->replica, c->r->replica);
    if (!s->cluster)
        s->cluster = alloc_text(c->r->cluster);
    if (RECORD_HAS(c->r, tzdata))
        alloc_replace(&s->tzdata, c->r->tzdata);
    s->bytes[STATE_STAGED] = 0;
    json_array_clear(s->staged); /* an unfinished change set dies with its epoch */
    state_clear_parts(s);
    fire_released(c);
    if (HASH_CNT(by_name, s->jobs) == s->job_count)
        return 0; /* no job was deleted lately */
    HASH_ITER(by_name, s->jobs, j, next)
    {
        if (!j->def && list_empty(&j->runs) && j->deleted_ms < c->batch->time_ms - STATE_TOMBSTONE_TTL_MS)
            state_drop_job(s, j);
    }
    return 0;
}

static bool same_list(const struct strings *a, const struct strings *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return a->count == b->count;
}

/* Of a part that was read when it was staged, its reference is the job's from here on. */
static int job_definition(struct apply_context *c, struct job **ret)
{
    if (c->part) {
        *ret = c->part->def;
        return 0;
    }
    if (job_from_json(ret, c->r->job, c->r->def, NULL, c->error) == 0)
        return 0;
    error_prefix(c->error, "batch %llu: job %s: ", (unsigned long long)c->batch->index, c->r->job);
    return ERR_CORRUPT;
}

static int apply_job(struct apply_context *c)
{
    const struct record *r = c->r;
    struct job *def;
    struct job_state *j;
    bool was_paused;
    int rc = job_definition(c, &def);

    if (rc < 0)
        return rc;
    j = state_add_job(c->s, r->job);
    state_image_keep(c->s, j);
    was_paused = j->def && j->def->paused;
    if (!j->def) { /* new, or made again */
        c->s->job_count++;
        j->paused = false;
        j->after_done = 0;
        j->deleted_ms = 0;
        recent_init(&j->recent);
    }
    if (def->paused != was_paused) {
        j->paused = def->paused;
        j->paused_ms = c->batch->time_ms;
        j->pause_until_ms = 0;
        alloc_replace(&j->pause_reason, def->paused ? STATE_PAUSED_IN_FILE : NULL);
        alloc_replace(&j->pause_by, r->by);
    }
    if (j->def && !same_list(&j->def->after, &def->after))
        j->after_done = 0;
    state_after_drop(c->s, j);
    if (c->part)
        c->part->def = j->def; /* it goes with the part */
    else
        job_unref(j->def);
    j->def = def;
    state_after_add(c->s, j);
    j->version = r->version;
    j->seed = (uint64_t)r->seed;
    j->anchor_ms = r->anchor_ms;
    state_move_cursor(j, r->cursor_ms);
    alloc_replace(&j->set, r->set);
    if (c->part)
        j->def_bytes = c->part->def_bytes;
    state_count_job(c->s, j, c->part ? NULL : r->def);
    c->s->defs_index = c->batch->index;
    if (was_paused && def->after.count)
        apply_run_after(c, j); /* what the pause held back */
    if (c->s->job_changed)
        c->s->job_changed(c->s->arg, j);
    return 0;
}

static int apply_delete(struct apply_context *c)
{
    struct job_state *j = state_job(c->s, c->r->job);

    if (!j)
        return apply_corrupt(c, "there is no such job");
    state_image_keep(c->s, j);
    LIST_EACH(link, &j->runs)
    {
        struct run *run = LIST_ITEM(link, struct run, of_job);

        if (!run->def)
            run->def = job_ref(j->def);
    }
    LIST_EACH_SAFE(link, &j->backfills)
    {
        state_drop_backfill(c->s, LIST_ITEM(link, struct backfill, of_job));
    }
    state_after_drop(c->s, j);
    if (c->part)
        c->part->def = j->def; /* it goes with the part */
    else
        job_unref(j->def);
    j->def = NULL;
    j->deleted_ms = c->batch->time_ms;
    state_move_cursor(j, c->batch->time_ms);
    j->paused = false;
    state_count_job(c->s, j, NULL);
    c->s->job_count--;
    c->s->defs_index = c->batch->index;
    if (c->s->job_changed)
        c->s->job_changed(c->s->arg, j);
    return 0;
}

/* The record that the part of a change set stands for. */
static struct record part_record(const json_t *staged)
{
    json_t *def = json_object_get(staged, "def");

    return (struct record){.kind = json_is_object(def) ? RECORD_JOB : RECORD_JOB_DELETE,
                           .job = json_string_value(json_object_get(staged, "job")),
                           .def = def,
                           .version = json_integer_value(json_object_get(staged, "version")),
                           .seed = json_integer_value(json_object_get(staged, "seed")),
                           .anchor_ms = json_integer_value(json_object_get(staged, "anchor")),
                           .cursor_ms = json_integer_value(json_object_get(staged, "cursor")),
                           .set = json_string_value(json_object_get(staged, "set")),
                           .by = json_string_value(json_object_get(staged, "by"))};
}

void apply_add_part(struct state *s, const json_t *staged)
{
    struct record part = part_record(staged);
    struct staged_part *p;
    struct error error;

    if (s->part_count + 1 != json_array_size(s->staged) || !part.job)
        return;                                     /* one before could not be read */
    if ((s->part_count & (s->part_count - 1)) == 0) /* it grows at powers of two */
        s->parts = alloc_resize(s->parts, (s->part_count ? s->part_count * 2 : 1) * sizeof(*s->parts));
    p = &s->parts[s->part_count++];
    *p = (struct staged_part){.record = apply_history_job_text(&part),
                              .def_bytes = part.def ? json_dumpb(part.def, NULL, 0, JSON_COMPACT) : 0};
    if (part.kind == RECORD_JOB && job_from_json(&p->def, part.job, part.def, NULL, &error) < 0)
        p->def = NULL; /* APPLY says what is wrong */
}

/* Kept as it is; the strings belong to the staged object from here on. */
static int apply_stage(struct apply_context *c)
{
    const struct record *r = c->r;
    json_t *o = json_pack("{s:s,s:I,s:I,s:I,s:I,s:O?,s:s?,s:s?}", "job", r->job, "version",
                          (json_int_t)r->version, "seed", (json_int_t)r->seed, "anchor",
                          (json_int_t)r->anchor_ms, "cursor", (json_int_t)r->cursor_ms, "def", r->def, "set",
                          r->set, "by", r->by);

    if (!o || json_array_append_new(c->s->staged, o) < 0)
        alloc_failed();
    c->s->bytes[STATE_STAGED] += STATE_JOB_BYTES + (r->def ? json_dumpb(r->def, NULL, 0, JSON_COMPACT) : 0);
    apply_add_part(c->s, o);
    return 0;
}

static int apply_staged(struct apply_context *c)
{
    json_t *staged = c->s->staged, *o;
    struct staged_part *parts = c->s->parts;
    size_t count = c->s->part_count, i;
    int rc = 0;

    if ((int64_t)json_array_size(staged) != c->r->count)
        return apply_corrupt(c, "not all of it is staged");
    if (count != json_array_size(staged)) { /* not all could be read from a snapshot */
        state_clear_parts(c->s);
        parts = NULL;
        count = 0;
    }
    c->s->staged = json_array();
    c->s->bytes[STATE_STAGED] = 0;
    json_array_foreach(staged, i, o)
    {
        struct record part = part_record(o);
        bool is_read = parts && (parts[i].def || part.kind == RECORD_JOB_DELETE);
        struct apply_context each = {c->s, c->batch, &part, c->error, false, is_read ? &parts[i] : NULL};

        if (rc == 0)
            rc = part.kind == RECORD_JOB ? apply_job(&each) : apply_delete(&each);
        if (rc == 0)
            apply_history_job(c->s, &part, parts ? &parts[i].record : NULL);
    }
    state_spend_staged(c->s, staged);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct job_state *const *)a)->name, (*(struct job_state *const *)b)->name);
}

/* Starts what comes after others and was held back by the pause of all: by name, so that it is the same everywhere. */
static void start_held_back(struct apply_context *c)
{
    struct job_state **held = NULL, *j, *next;
    size_t count = 0;

    HASH_ITER(by_name, c->s->jobs, j, next)
    {
        if (!j->def || !j->after_done)
            continue;
        if ((count & (count - 1)) == 0) /* it grows at powers of two */
            held = alloc_resize(held, (count ? count * 2 : 1) * sizeof(struct job_state *));
        held[count++] = j;
    }
    if (count)
        qsort(held, count, sizeof(struct job_state *), by_name);
    for (size_t i = 0; i < count; i++)
        apply_run_after(c, held[i]);
    free(held);
}

static int apply_pause(struct apply_context *c, bool on)
{
    const struct record *r = c->r;
    struct state *s = c->s;
    int64_t until = RECORD_HAS(r, until_ms) ? r->until_ms : 0;

    if (!RECORD_HAS(r, job)) {
        s->paused = on;
        s->paused_ms = c->batch->time_ms;
        s->pause_until_ms = on ? until : 0;
        alloc_replace(&s->pause_reason, on ? r->reason : NULL);
        alloc_replace(&s->pause_by, on ? r->by : NULL);
        if (!on)
            start_held_back(c);
    } else {
        struct job_state *j = state_job(s, r->job);

        if (!j)
            return apply_corrupt(c, "there is no such job");
        j->paused = on;
        j->paused_ms = c->batch->time_ms;
        j->pause_until_ms = on ? until : 0;
        alloc_replace(&j->pause_reason, on ? r->reason : NULL);
        alloc_replace(&j->pause_by, on ? r->by : NULL);
        state_count_job(s, j, NULL);
        if (!on && j->def->after.count)
            apply_run_after(c, j); /* what the pause held back */
    }
    return 0;
}

static void notify_skipped(struct apply_context *c, const struct job_state *j, enum run_verdict reason)
{
    const struct record *r = c->r;
    char id[RUN_ID_MAX], from[TEXT_NUMBER_BUFFER], to[TEXT_NUMBER_BUFFER];

    run_id_format(j->name, r->to_ms, r->to_ms % 1000 != 0, id);
    apply_run_notify(
        c->s, j->def, id, reason,
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I}", "run", id, "job", j->name, "state", "skipped", "verdict",
                  r->reason, "from", instant_format(r->from_ms, INSTANT_S, from, sizeof(from)), "to",
                  instant_format(r->to_ms, INSTANT_S, to, sizeof(to)), "count", (json_int_t)r->count));
}

static int apply_skipped(struct apply_context *c)
{
    const struct record *r = c->r;
    struct job_state *j = state_job(c->s, r->job);
    struct run *run = RECORD_HAS(r, run) ? state_run(c->s, r->run) : NULL;
    enum run_verdict reason = run_verdict_of(r->reason);

    if (!run_verdict_is_skip(reason))
        return apply_corrupt(c, "the reason is not a skip");
    if (r->count < 1 || r->from_ms > r->to_ms)
        return apply_corrupt(c, "the range is invalid");
    if (j)
        state_move_cursor(j, r->to_ms);
    apply_history_skip(c->s, c->batch, c->r);
    if (run && run->fired) {
        apply_run_end(c, run, reason);
        return 0;
    }
    if (run)
        state_end_run(c->s, run); /* a reservation */
    apply_history_skip_row(c->s, c->batch, c->r);
    c->s->verdicts[reason] += (uint64_t)r->count;
    if (j && c->s->level >= RECORD_RECENT_LEVEL) {
        j->recent = state_recent(j);
        recent_skipped(&j->recent, reason, r->count);
    }
    if (j)
        notify_skipped(c, j, reason);
    return 0;
}

static int apply_passed(struct apply_context *c)
{
    struct job_state *j = state_job(c->s, c->r->job);

    if (!j || !state_fired_ahead(j, c->r->to_ms))
        return apply_corrupt(c, "that fire time was not fired");
    state_move_cursor(j, c->r->to_ms);
    return 0;
}

static int apply_backfill(struct apply_context *c)
{
    struct job_state *j = state_job(c->s, c->r->job);
    struct backfill *b;

    if (!j || !json_is_array(c->r->report))
        return apply_corrupt(c, "there is no such job, or no list of times");
    b = state_add_backfill(j);
    b->times = json_incref(c->r->report);
    b->max_parallel = (int)c->r->max_parallel;
    b->again = RECORD_HAS(c->r, again) && c->r->again;
    b->by = alloc_text(RECORD_HAS(c->r, by) ? c->r->by : NULL);
    state_count_backfill(c->s, b);
    return 0;
}

static int apply_backfilled(struct apply_context *c)
{
    struct job_state *j = state_job(c->s, c->r->job);
    struct backfill *b;

    if (!j || list_empty(&j->backfills))
        return apply_corrupt(c, "there is no such backfill");
    b = LIST_ITEM(j->backfills.next, struct backfill, of_job); /* one after the other, in order */
    b->done = (size_t)c->r->count;
    if (b->done >= json_array_size(b->times))
        state_drop_backfill(c->s, b);
    return 0;
}

static void apply_notified(struct apply_context *c)
{
    LIST_EACH_SAFE(link, &c->s->notices)
    {
        struct notice *n = LIST_ITEM(link, struct notice, all);

        if (strcmp(n->id, c->r->run) == 0)
            state_drop_notice(c->s, n);
    }
}

/* What was unfinished may have gone on, ended, or been started again in the time that is lost: nobody knows, so
 * nothing of it is started again. The same goes for fire times of a backfill. */
static int apply_recovered(struct apply_context *c)
{
    struct state *s = c->s;
    struct job_state *j, *next;

    if (c->r->from_ms > c->r->until_ms)
        return apply_corrupt(c, "the time ends before it begins");
    s->lost_from_ms = c->r->from_ms;
    s->lost_until_ms = c->r->until_ms;
    HASH_ITER(by_name, s->jobs, j, next)
    {
        if (!list_empty(&j->runs) || !list_empty(&j->backfills))
            state_image_keep(s, j);
        LIST_EACH(link, &j->runs)
        {
            struct run *run = LIST_ITEM(link, struct run, of_job);

            run->journal_lost = run->fired || run->due_ms <= s->lost_until_ms;
            list_remove(&run->dirty); /* history ends the rows of all others */
            list_append(&s->dirty, &run->dirty);
        }
        LIST_EACH_SAFE(link, &j->backfills)
        {
            state_drop_backfill(s, LIST_ITEM(link, struct backfill, of_job));
        }
    }
    return 0;
}

static int apply_record(struct apply_context *c)
{
    switch (c->r->kind) {
    case RECORD_EPOCH:
        return apply_epoch(c);
    case RECORD_JOB:
        return apply_job(c);
    case RECORD_STAGE:
        return apply_stage(c);
    case RECORD_APPLY:
        return apply_staged(c);
    case RECORD_JOB_DELETE:
        return apply_delete(c);
    case RECORD_PAUSE:
        return apply_pause(c, true);
    case RECORD_RESUME:
        return apply_pause(c, false);
    case RECORD_TRIGGER:
        return apply_run_trigger(c);
    case RECORD_FIRE:
        return apply_run_fire(c);
    case RECORD_SKIPPED:
        return apply_skipped(c);
    case RECORD_PASSED:
        return apply_passed(c);
    case RECORD_ARM:
        return apply_attempt_arm(c);
    case RECORD_CLOSED:
        return apply_run_close(c);
    case RECORD_BACKFILL:
        return apply_backfill(c);
    case RECORD_BACKFILLED:
        return apply_backfilled(c);
    case RECORD_NOTIFIED:
        apply_notified(c);
        return 0;
    case RECORD_TZDATA:
        alloc_replace(&c->s->tzdata, c->r->tzdata);
        return 0;
    case RECORD_RISE:
        c->s->level = apply_later(c->s->level, c->r->level);
        return 0;
    case RECORD_RECOVERED:
        return apply_recovered(c);
    case RECORD_NOTE:
    case RECORD_TAKEOVER:
        return 0; /* history keeps them */
    default:
        return apply_attempt_record(c);
    }
}

/* The job that the record names, by itself or by a run. What a record changes beside it sees to that itself. */
static void keep_images(struct state *s, const struct record *r)
{
    const char *name = RECORD_HAS(r, job) ? r->job : NULL;
    char of_run[RUN_ID_MAX];
    struct job_state *j = NULL;
    int64_t at_ms;
    bool has_ms;

    if (!s->images[STATE_IMAGE_HASH] && !s->images[STATE_IMAGE_SNAPSHOT])
        return;
    if (!name && RECORD_HAS(r, run) && run_id_parse(r->run, of_run, &at_ms, &has_ms) == 0)
        name = of_run;
    if (name)
        HASH_FIND(by_name, s->jobs, name, strlen(name), j);
    if (j)
        state_image_keep(s, j);
}

int state_apply_record(struct state *s, const struct batch *batch, const struct record *r,
                       struct error *error)
{
    struct apply_context c = {s, batch, r, error, false, NULL};
    int rc;

    keep_images(s, r);
    rc = apply_record(&c);

    if (rc == 0 && r->kind == RECORD_STAGE)
        return 0; /* history hears of it when it takes effect */
    if (rc == 0 && c.bad_move)
        rc = apply_corrupt(&c, "the run or its attempt is in a state that does not allow this");
    if (rc == 0)
        apply_history_record(s, r);
    return rc;
}

void state_finish_batch(struct state *s, const struct batch *batch, const char *text, size_t size,
                        struct history_write **ret)
{
    struct history_write *w = apply_history_pending(s);

    LIST_EACH_SAFE(link, &s->dirty)
    {
        struct run *run = LIST_ITEM(link, struct run, dirty);

        list_remove(link);
        if (run->fired)
            apply_history_run(s, run);
    }
    LIST_EACH(link, &s->ended)
    {
        struct run *run = LIST_ITEM(link, struct run, dirty);

        if (run->verdict)
            apply_history_run(s, run);
    }
    state_free_ended(s);
    state_expire_keys(s, batch->time_ms - STATE_KEY_TTL_MS);
    s->index = batch->index;
    s->time_ms = batch->time_ms;
    batch_hash(text, size, s->hash);
    w->index = batch->index;
    w->epoch = batch->epoch;
    w->time_ms = batch->time_ms;
    s->write = NULL;
    if (ret)
        *ret = w;
    else
        history_write_free(w);
}

int state_apply(struct state *s, const struct batch *batch, const char *text, size_t size,
                struct history_write **ret, struct error *error)
{
    if (batch->index != s->index + 1)
        return error_set(error, ERR_CORRUPT, "batch %llu comes after batch %llu",
                         (unsigned long long)batch->index, (unsigned long long)s->index);
    if (strcmp(batch->prev, s->hash) != 0)
        return error_set(error, ERR_CORRUPT,
                         "batch %llu does not follow from the batch before: its chain hash is %s, not %s",
                         (unsigned long long)batch->index, batch->prev, s->hash);
    for (size_t i = 0; i < batch->count; i++) {
        int rc = state_apply_record(s, batch, &batch->records[i], error);

        if (rc < 0)
            return rc;
    }
    state_finish_batch(s, batch, text, size, ret);
    return 0;
}
