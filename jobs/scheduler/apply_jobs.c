/* The command apply: many definitions, checked as a whole before the first record. See commands.c.
 *
 * A large one, or one that prunes many, goes on over many turns: some of its jobs are read in each, then all is checked in
 * one, then some are compared with those that there are and some are staged in each, then one record makes all of it
 * effective. From the check on no other change of definitions is taken, and jobs whose change is staged are not planned:
 * the new definition is in force from when its part was staged, as if all had been done at once. What is pruned is planned
 * until that record. When the leader goes before it nothing of it has happened.
 *
 * A pause by hand outlasts it: where a definition's own `paused` changes, the record of the job ends or replaces
 * every pause, so the one by hand is put again behind it.
 */
#include "jobs/scheduler/apply_jobs.h"

#include "jobs/base/alloc.h"

#include <assert.h>
#include <stdio.h>

#define UNLISTED_MAX 1000 /* names in the answer; the others are counted */

static void apply_invariant(const struct apply *a)
{
    assert(a->count <= json_object_size(a->jobs));
    assert(a->compared <= a->count && a->next <= a->count);
    assert(a->pruned <= json_array_size(a->deleted));
    assert(a->unchanged <= a->compared);
}

/* ---- reading ---- */

static int read_job(struct apply *a, const char *name, const json_t *item)
{
    struct error fault;
    struct job *def;
    int rc;

    if (!job_name_valid(name))
        return error_set(a->error, ERR_INVALID,
                         "%.120s: not a job name: lower-case letters, digits and dashes", name);
    rc = job_from_json(&def, name, item, a->s->o.zones, &fault);
    if (rc == ERR_NOMEM)
        return error_set(a->error, rc, "out of memory");
    if (rc < 0) {
        apply_fault(a, name, &fault);
        return 0;
    }
    assert(a->count < json_object_size(a->jobs));
    a->changes[a->count].bytes = json_dumpb(item, NULL, 0, JSON_COMPACT);
    a->bytes += strlen(name) + a->changes[a->count].bytes;
    a->changes[a->count++].def = def;
    apply_check_job(a, def);
    return 0;
}

/* 1: all are read. */
static int read_some(struct apply *a, size_t most)
{
    json_t *jobs = (json_t *)(uintptr_t)a->jobs;
    int rc = 0;

    assert(a->step == APPLY_READS);
    for (; a->at && most > 0 && rc == 0; most--) {
        rc = read_job(a, json_object_iter_key(a->at), json_object_iter_value(a->at));
        a->at = json_object_iter_next(jobs, a->at);
    }
    return rc < 0 ? rc : !a->at;
}

/* ---- pauses ---- */

static bool paused_by_hand(const struct job_state *j)
{
    return j && j->paused && !(j->pause_reason && strcmp(j->pause_reason, STATE_PAUSED_IN_FILE) == 0);
}

/* Whether it will be paused, by itself. */
static bool will_be_paused(const struct apply_change *c)
{
    if (!c->old)
        return c->def->paused;
    if (c->old->def->paused == c->def->paused)
        return c->old->paused;
    return c->def->paused || paused_by_hand(c->old);
}

/* What the file says and what is so, where people have made it differ. */
static void note_pause(struct apply *a, const struct apply_change *c)
{
    bool paused = will_be_paused(c), hand = paused_by_hand(c->old);
    json_t *o;

    if (paused == c->def->paused && !hand)
        return;
    o = json_pack("{s:s,s:b,s:b}", "job", c->def->name, "file", c->def->paused, "paused", paused);
    if (hand)
        json_object_update_new(
            o, json_pack("{s:s?,s:s?}", "reason", c->old->pause_reason, "by", c->old->pause_by));
    json_array_append_new(a->pauses, o);
}

static void keep_pause(struct apply_change *c)
{
    const struct job_state *j = c->old;

    if (!paused_by_hand(j) || j->def->paused == c->def->paused)
        return;
    assert(!c->pause.kept);
    c->pause.kept = true;
    c->pause.reason = alloc_text(j->pause_reason);
    c->pause.by = alloc_text(j->pause_by);
    c->pause.until_ms = j->pause_until_ms;
    c->pause.runs = j->run_count;
}

static void put_pause_again(struct apply *a, const struct apply_change *c)
{
    struct scheduler *s = a->s;
    struct job_state *j = c->old;
    struct record *r = turn_record(s, RECORD_PAUSE);

    assert(c->pause.kept);
    PUT_TEXT(s, r, job, j->name);
    if (c->pause.until_ms)
        PUT_INT(s, r, until_ms, c->pause.until_ms);
    PUT_TEXT(s, r, reason, c->pause.reason);
    PUT_TEXT(s, r, by, c->pause.by);
    turn_commit(s, r);
    assert(j->paused);
    turn_wake_job(s, j, s->now_ms);
    if (j->run_count > c->pause.runs) /* its parents' runs have caused one between the two records */
        launch_close(s, LIST_ITEM(j->runs.prev, struct run, of_job), VERDICT_PAUSED, c->pause.reason,
                     c->pause.by);
}

/* ---- doing it ---- */

static bool same_schedule(const struct job *a, const struct job *b)
{
    if (a->schedule.count != b->schedule.count || strcmp(a->timezone, b->timezone) != 0 ||
        a->dialect != b->dialect)
        return false;
    for (size_t i = 0; i < a->schedule.count; i++)
        if (strcmp(a->schedule.items[i], b->schedule.items[i]) != 0)
            return false;
    return true;
}

static void put_job(struct apply *a, const struct apply_change *c)
{
    struct scheduler *s = a->s;
    struct job_state *old = c->old;
    const char *set = old && !a->set && !a->take_over ? old->set : a->set; /* of none it stays so */
    bool keep = old && same_schedule(old->def, c->def);
    json_t *def = job_to_json(c->def);
    struct record *r;

    assert(!c->same && !a->dry);
    if (old)
        planner_account(s, old, "edited");
    if (old && a->staged)
        old->live.held = true; /* until the new definition is in force */
    r = turn_record(s, a->staged ? RECORD_STAGE : RECORD_JOB);
    PUT_TEXT(s, r, job, c->def->name);
    PUT_INT(s, r, version, old ? old->version + 1 : 1);
    PUT_JSON(s, r, def, def);
    PUT_INT(s, r, seed, keep ? (int64_t)old->seed : (int64_t)(s->o.env->random(s->o.env) >> 1));
    PUT_INT(s, r, anchor_ms, keep ? old->anchor_ms : s->now_ms / 1000 * 1000);
    PUT_INT(s, r, cursor_ms, s->now_ms);
    PUT_TEXT(s, r, set, set);
    PUT_TEXT(s, r, by, a->by);
    turn_commit(s, r);
    assert(a->staged || state_job(&s->state, c->def->name));
    json_decref(def);
}

static void put_apply(struct apply *a)
{
    struct record *r = turn_record(a->s, RECORD_APPLY);

    assert(a->staged);
    PUT_INT(a->s, r, count, (int64_t)json_array_size(a->s->state.staged));
    PUT_TEXT(a->s, r, by, a->by);
    turn_commit(a->s, r);
    assert(json_array_size(a->s->state.staged) == 0);
}

static void warn_never(struct apply *a, const struct job *def)
{
    struct schedule *schedule = NULL;
    char text[JOB_NAME_MAX + 64];

    if (!def->schedule.count || job_compile(def, 1, a->s->now_ms / 1000, a->s->o.zones, &schedule, NULL) < 0)
        return;
    if (schedule && schedule_next(schedule, a->s->now_ms / 1000) == SCHEDULE_NEVER) {
        snprintf(text, sizeof(text), "%s: its schedule never fires", def->name);
        json_array_append_new(a->warnings, json_string(text));
    }
    schedule_free(schedule);
}

static void compare_one(struct apply *a, struct apply_change *c)
{
    c->old = state_job(&a->s->state, c->def->name); /* of a dry run it may have gone since the check */
    c->same = true;
    assert(a->dry || !apply_is_conflict(a, c));
    if (apply_is_conflict(a, c)) /* of a dry run, which lists it */
        return;
    note_pause(a, c);
    c->same = apply_is_unchanged(a, c);
    a->unchanged += c->same;
    if (c->same)
        return;
    json_array_append_new(c->old ? a->changed : a->created, json_string(c->def->name));
    if (apply_is_taken_over(a, c))
        json_array_append_new(a->taken_over,
                              json_pack("{s:s,s:s?}", "job", c->def->name, "set", c->old->set));
}

/* What there is to do, and what to say of it. 1: all are compared. */
static int compare_some(struct apply *a, size_t most)
{
    apply_invariant(a);
    for (; a->compared < a->count && most > 0; most--)
        compare_one(a, &a->changes[a->compared++]);
    return a->compared == a->count;
}

/* The jobs that are not in the files. */
static void list_others(struct apply *a)
{
    struct job_state *j, *next;

    HASH_ITER(by_name, a->s->state.jobs, j, next)
    {
        if (apply_is_pruned(a, j))
            json_array_append_new(a->deleted, json_string(j->name));
        else if ((a->set || a->dry) && apply_is_unlisted(a, j) && a->unlisted_count++ < UNLISTED_MAX)
            json_array_append_new(a->unlisted, json_string(j->name));
    }
    assert(json_array_size(a->unlisted) <= UNLISTED_MAX);
}

static void log_take_over(const struct apply *a, const struct apply_change *c)
{
    char from[APPLY_OWNER_SIZE], to[APPLY_OWNER_SIZE];

    if (apply_is_taken_over(a, c))
        turn_log(a->s, LOG_NOTE, "taken-over", NULL, "%s: from %s to %s, by %s", c->def->name,
                 apply_owner(c->old->set, from), apply_owner(a->set, to), a->by);
}

/* 1: all are. */
static int stage_some(struct apply *a, size_t most)
{
    apply_invariant(a);
    for (; a->next < a->count && most > 0; a->next++) {
        struct apply_change *c = &a->changes[a->next];

        if (c->same)
            continue;
        most--;
        warn_never(a, c->def);
        if (a->dry)
            continue;
        log_take_over(a, c);
        if (!a->staged) /* what is staged takes effect later, and so does what people do until then */
            keep_pause(c);
        put_job(a, c);
    }
    return a->next == a->count;
}

/* 1: all are. */
static int prune_some(struct apply *a, size_t most)
{
    apply_invariant(a);
    for (; !a->dry && a->pruned < json_array_size(a->deleted) && most > 0; most--)
        commands_put_delete(a->s, json_string_value(json_array_get(a->deleted, a->pruned++)), true, a->set,
                            a->by);
    return a->dry || a->pruned == json_array_size(a->deleted);
}

/* Of most that are deleted there is nothing to be closed. */
static void close_deleted(struct apply *a)
{
    struct scheduler *s = a->s;
    json_t *name;
    size_t i;

    assert(a->prune || json_array_size(a->deleted) == 0);
    json_array_foreach(a->deleted, i, name)
    {
        struct job_state *j = state_job(&s->state, json_string_value(name));

        if (j->run_count || rules_next_ms(s, j) <= s->now_ms)
            commands_close_job(s, j, a->by);
    }
}

static void take_effect(struct apply *a)
{
    size_t i;

    if (a->dry)
        return;
    assert(a->next == a->count && a->pruned == json_array_size(a->deleted));
    close_deleted(a);
    for (i = 0; a->staged && i < a->count; i++)
        if (!a->changes[i].same)
            keep_pause(&a->changes[i]);
    if (a->staged)
        put_apply(a);
    for (i = 0; i < a->count; i++)
        if (a->changes[i].pause.kept)
            put_pause_again(a, &a->changes[i]);
}

static int read_set(struct apply *a, const json_t *value)
{
    size_t n = json_string_length(value);

    a->set = json_string_value(value);
    if (a->set && (n == 0 || n > APPLY_SET_BYTES_MAX))
        return error_set(a->error, ERR_INVALID, "apply: the name of a set has 1 to %d bytes",
                         APPLY_SET_BYTES_MAX);
    return 0;
}

static int read_key(struct apply *a, const char *key, const json_t *value)
{
    const struct {
        const char *key;
        bool *value;
    } flags[] = {{"prune", &a->prune},
                 {"dry_run", &a->dry},
                 {"take_over", &a->take_over},
                 {"allow_empty", &a->allow_empty}};

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (strcmp(key, flags[i].key) == 0 && json_is_boolean(value)) {
            *flags[i].value = json_is_true(value);
            return 0;
        }
    if (strcmp(key, "jobs") == 0 && json_is_object(value)) {
        a->jobs = value;
        return 0;
    }
    if (strcmp(key, "set") == 0 && (json_is_string(value) || json_is_null(value)))
        return read_set(a, value);
    if (strcmp(key, "check_index") == 0 && json_is_integer(value)) {
        a->has_check_index = true;
        a->check_index = json_integer_value(value);
        return 0;
    }
    return error_set(a->error, ERR_INVALID, "apply: %.64s is not known, or of the wrong type", key);
}

static int read_apply(struct apply *a, const json_t *body)
{
    const char *key;
    json_t *value;
    int rc = 0;

    json_object_foreach((json_t *)(uintptr_t)body, key, value) if (rc == 0) rc = read_key(a, key, value);
    if (rc < 0)
        return rc;
    if (!a->jobs)
        return error_set(a->error, ERR_INVALID, "apply: jobs is missing");
    if (a->prune && !a->set)
        return error_set(a->error, ERR_INVALID,
                         "apply: prune needs a set: it deletes jobs of the set that are not in the files");
    assert(!a->prune || a->set);
    return 0;
}

/* As much surely goes into one batch, whatever is in it already. */
static size_t one_batch(const struct scheduler *s)
{
    size_t most = s->journal->batch_bytes;

    return most && most / 8 < BATCH_BYTES_MAX / 2 ? most / 8 : BATCH_BYTES_MAX / 2;
}

static int check_index(struct apply *a)
{
    if (!a->has_check_index || (uint64_t)a->check_index == a->s->state.defs_index)
        return 0;
    return error_set(a->error, ERR_CONFLICT, "the jobs were changed at index %llu, after index %lld",
                     (unsigned long long)a->s->state.defs_index, (long long)a->check_index);
}

/* All that depends on the jobs that are there, which may have changed since the first of these was read. */
static int check_all(struct apply *a)
{
    int rc = check_index(a);

    assert(a->compared == 0 && a->next == 0 && a->pruned == 0);
    for (size_t i = 0; i < a->count; i++)
        a->changes[i].old = state_job(&a->s->state, a->changes[i].def->name);
    rc = rc < 0 ? rc : apply_check_parents(a);
    rc = rc < 0 ? rc : apply_check_owners(a);
    rc = rc < 0 ? rc : apply_check_empty(a);
    rc = rc < 0 ? rc : apply_check_sizes(a);
    if (rc == 0 && a->prune)
        rc = apply_check_pruned(a);
    rc = rc < 0 ? rc : commands_room(a->s, STATE_JOBS, a->grows, a->error);
    if (rc < 0)
        return rc;
    a->staged = a->done || a->bytes > one_batch(a->s) || a->prune;
    return 0;
}

static void apply_free(struct apply *a)
{
    json_t *lists[] = {a->created,    a->changed,  a->deleted, a->warnings, a->conflicts,
                       a->taken_over, a->unlisted, a->pauses,  a->faults,   a->body};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        json_decref(lists[i]);
    for (size_t i = 0; i < a->count; i++) {
        job_unref(a->changes[i].def);
        free(a->changes[i].pause.reason);
        free(a->changes[i].pause.by);
    }
    free(a->changes);
    free(a->by);
    OBJECT_FREE(struct apply, a);
}

static struct apply *apply_new(struct scheduler *s, const json_t *body, const char *by, struct error *error)
{
    struct apply *a = OBJECT_NEW(struct apply);
    json_t **lists[] = {&a->created,    &a->changed,  &a->deleted, &a->warnings, &a->conflicts,
                        &a->taken_over, &a->unlisted, &a->pauses,  &a->faults};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        *lists[i] = json_array();
    a->s = s;
    a->body = json_incref((json_t *)(uintptr_t)body);
    a->by = alloc_text(by);
    a->error = error;
    return a;
}

/* What the client is told beside the error. */
static void put_details(const struct apply *a, int rc, struct scheduler_result *ret)
{
    assert(!ret->details);
    if (rc < 0 && json_array_size(a->faults) > 0)
        ret->details = json_pack("{s:O}", "faults", a->faults);
}

/* Its form, its size and the index; the rest comes later. */
static int apply_begin(struct apply *a)
{
    int rc = read_apply(a, a->body);

    assert(!a->changes && !a->at);
    rc = rc < 0 ? rc : check_index(a);
    if (rc < 0)
        return rc;
    if (json_object_size(a->jobs) > SCHEDULER_APPLY_JOBS_MAX)
        return error_set(a->error, ERR_LIMIT, "apply: %zu jobs at once; at most %d",
                         json_object_size(a->jobs), SCHEDULER_APPLY_JOBS_MAX);
    a->changes = alloc_zero((json_object_size(a->jobs) + 1) * sizeof(*a->changes));
    a->at = json_object_iter((json_t *)(uintptr_t)a->jobs);
    return 0;
}

static int apply_reply(struct apply *a, struct scheduler_result *ret)
{
    struct scheduler *s = a->s;

    apply_invariant(a);
    json_t *reply = json_pack("{s:I,s:O,s:O,s:O,s:I,s:O,s:O,s:O,s:O,s:I,s:O}", "index",
                              (json_int_t)(a->dry ? s->state.defs_index : turn_index(s)), "created",
                              a->created, "changed", a->changed, "deleted", a->deleted, "unchanged",
                              (json_int_t)a->unchanged, "warnings", a->warnings, "conflicts", a->conflicts,
                              "taken_over", a->taken_over, "unlisted", a->unlisted, "unlisted_count",
                              (json_int_t)a->unlisted_count, "pauses", a->pauses);

    return commands_finish(s, reply, ret);
}

int apply_refuses(const struct scheduler *s, struct error *error)
{
    if (!s->apply || s->apply->dry || s->apply->step < APPLY_COMPARES)
        return 0;
    return error_set(error, ERR_BUSY, "a large apply is being recorded; try again in a moment");
}

static int apply_at_once(struct apply *a, struct scheduler_result *ret)
{
    int rc = read_some(a, SIZE_MAX);

    assert(a != a->s->apply);
    rc = rc < 0 ? rc : check_all(a);
    if (rc < 0)
        return rc;
    compare_some(a, SIZE_MAX);
    list_others(a);
    stage_some(a, SIZE_MAX);
    prune_some(a, SIZE_MAX);
    take_effect(a);
    return apply_reply(a, ret);
}

int scheduler_apply(struct scheduler *s, const json_t *body, const char *by, struct scheduler_result *ret)
{
    struct apply *a;
    int rc = commands_enter(s, &ret->error);

    rc = rc < 0 ? rc : apply_refuses(s, &ret->error);
    if (rc < 0)
        return rc;
    a = apply_new(s, body, by, &ret->error);
    rc = apply_begin(a);
    rc = rc < 0 ? rc : apply_at_once(a, ret);
    put_details(a, rc, ret);
    apply_free(a);
    assert(rc < 0 ? !ret->reply : !ret->details);
    return rc;
}

/* ---- one that goes on ---- */

static size_t items_of(const struct scheduler *s)
{
    return s->o.apply_items ? s->o.apply_items : APPLIED_PER_STEP;
}

/* What is pruned counts, too. */
static bool is_small(const struct apply *a)
{
    size_t most = items_of(a->s), count = json_object_size(a->jobs);
    struct job_state *j, *next;

    assert(a->step == APPLY_READS && a->count == 0);
    if (!a->prune || count > most)
        return count <= most;
    HASH_ITER(by_name, a->s->state.jobs, j, next)
    {
        count += apply_is_pruned(a, j);
        if (count > most)
            return false;
    }
    return true;
}

void scheduler_apply_then(struct scheduler *s, const json_t *body, const char *by,
                          void (*done)(void *arg, int rc, struct scheduler_result *result), void *arg)
{
    struct scheduler_result result = {0};
    struct apply *a = NULL;
    int rc = commands_enter(s, &result.error);

    assert(done);
    rc = rc < 0 ? rc : apply_refuses(s, &result.error);
    if (rc == 0) {
        a = apply_new(s, body, by, &result.error);
        rc = apply_begin(a);
    }
    if (rc == 0 && is_small(a))
        rc = apply_at_once(a, &result);
    else if (rc == 0 && s->apply)
        rc = error_set(&result.error, ERR_BUSY,
                       "another large apply is being worked off; try again in a moment");
    else if (rc == 0) {
        a->error = &a->result.error;
        a->done = done;
        a->arg = arg;
        s->apply = a;
        reconcile_due(s); /* wakes it */
        return;
    }
    if (a) {
        put_details(a, rc, &result);
        apply_free(a);
    }
    done(arg, rc, &result);
}

/* What it holds is freed in later turns. */
static void apply_end(struct scheduler *s, int rc)
{
    struct apply *a = s->apply;

    assert(rc == 0 || !a->result.reply);
    s->apply = NULL;
    put_details(a, rc, &a->result);
    apply_free_spent(s, SIZE_MAX); /* mostly there is none */
    s->spent_apply = a;
    a->done(a->arg, rc, &a->result);
}

/* Frees so many of the definitions as they were sent. True: there are no more. */
static bool empty_body(struct apply *a, size_t items)
{
    json_t *jobs = (json_t *)(uintptr_t)a->jobs;
    void *at = json_object_iter(jobs);

    assert(a->count == 0); /* what was made of it is gone */
    for (; at && items > 0; items--) {
        json_object_del(jobs, json_object_iter_key(at));
        at = json_object_iter(jobs);
    }
    return !at;
}

bool apply_free_spent(struct scheduler *s, size_t items)
{
    struct apply *a = s->spent_apply;

    if (!a)
        return false;
    assert(a != s->apply);
    for (; a->count > 0 && items > 0; items--)
        job_unref(a->changes[--a->count].def);
    if (a->count > 0 || (items < SIZE_MAX && !empty_body(a, items)))
        return true;
    s->spent_apply = NULL;
    apply_free(a);
    return false;
}

bool apply_wants_turn(const struct scheduler *s)
{
    return s->apply && s->pending_batch_count < SCHEDULER_PENDING_BATCHES_MAX / 2;
}

void apply_step(struct scheduler *s)
{
    struct apply *a = s->apply;
    int rc = 0;

    if (!apply_wants_turn(s))
        return;
    assert(s->leading);
    switch (a->step) {
    case APPLY_READS:
        rc = read_some(a, items_of(s));
        break;
    case APPLY_CHECKS:
        rc = check_all(a);
        rc = rc < 0 ? rc : 1;
        break;
    case APPLY_COMPARES:
        rc = compare_some(a, items_of(s));
        break;
    case APPLY_LISTS:
        list_others(a);
        rc = 1;
        break;
    case APPLY_STAGES:
        rc = stage_some(a, items_of(s));
        break;
    case APPLY_PRUNES:
        rc = prune_some(a, items_of(s));
        break;
    case APPLY_ENDS:
        take_effect(a);
        apply_reply(a, &a->result);
        apply_end(s, 0);
        return;
    }
    assert(rc <= 1 && a->step < APPLY_ENDS);
    if (rc < 0)
        apply_end(s, rc);
    else
        a->step += (unsigned)rc;
}

void apply_drop(struct scheduler *s, const char *why)
{
    struct apply *a = s->apply;

    if (!a)
        return;
    apply_invariant(a);
    for (size_t i = 0; i < a->next && !a->dry; i++)
        if (a->changes[i].old)
            a->changes[i].old->live.held = false;
    error_set(a->error, ERR_NO_LEADER, "%s; nothing was changed", why);
    apply_end(s, ERR_NO_LEADER);
}
