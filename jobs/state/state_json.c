/* The state as text: the parts of the canonical snapshot (state_image.c puts them together), the way back, and the shapes in
 * which runs are shown. */
#include "jobs/base/alloc.h"
#include "jobs/base/mutant.h"
#include "jobs/base/text.h"
#include "jobs/state/state_priv.h"
#include "jobs/time/instant.h"

#include <assert.h>

/* ---- a run for people ---- */

static json_t *time_json(int64_t ms, enum instant_form form)
{
    char buffer[TEXT_NUMBER_BUFFER];

    return ms == 0 ? json_null() : json_string(instant_format(ms, form, buffer, sizeof(buffer)));
}

static void set_text(json_t *object, const char *key, const char *value)
{
    if (value)
        json_object_set_new(object, key, json_string(value));
}

static json_t *attempt_to_json(const struct attempt *a)
{
    json_t *o = json_object();

    json_object_set_new(o, "attempt", json_integer(a->number));
    json_object_set_new(o, "engine", json_string(a->engine));
    json_object_set_new(o, "id", a->id ? json_string(a->id) : json_null());
    json_object_set_new(o, "state", json_string(run_attempt_state_name(a->state)));
    if (a->accepted_ms)
        json_object_set_new(o, "accepted", time_json(a->accepted_ms, INSTANT_MS));
    json_object_set_new(o, "started", time_json(a->started_ms, INSTANT_MS));
    if (a->restarts > 0)
        json_object_set_new(o, "starts", json_integer(a->restarts + 1));
    json_object_set_new(o, "ended", time_json(a->ended_ms, INSTANT_MS));
    json_object_set_new(o, "exit_code", a->exit_code < 0 ? json_null() : json_integer(a->exit_code));
    json_object_set_new(o, "epoch", json_integer(a->epoch));
    json_object_set_new(o, "try", json_integer(a->try));
    set_text(o, "engine_identity", a->identity);
    set_text(o, "cause", a->cause);
    set_text(o, "text", a->text);
    set_text(o, "stopping", run_stop_name(a->stop_reason));
    return o;
}

/* Its text says why it was unresolved, and its engine has told what became of it since. */
static bool is_told(const struct run *run, const struct attempt *last)
{
    if (run->state == RUN_RUNNING)
        return true;
    if (last->state != ATTEMPT_ENDED)
        return false;
    switch (run->verdict) {
    case VERDICT_NONE:
    case VERDICT_SUCCEEDED:
    case VERDICT_TIMED_OUT:
        return run->state != RUN_UNRESOLVED;
    case VERDICT_FAILED:
        return last->text && *last->text;
    case VERDICT_KILLED:
        return last->stop_reason != STOP_NONE;
    default:
        return false;
    }
}

json_t *state_run_json(const struct run *run)
{
    const struct attempt *last = run->attempt_count ? &run->attempts[run->attempt_count - 1] : NULL;
    json_t *o = json_object(), *attempts = json_array();

    json_object_set_new(o, "run", json_string(run->id));
    json_object_set_new(o, "job", json_string(run->job->name));
    json_object_set_new(o, "fire_time", time_json(run->fire_ms, run->has_ms ? INSTANT_MS : INSTANT_S));
    json_object_set_new(o, "cause", json_string(run_cause_name(run->cause)));
    json_object_set_new(o, "state", json_string(run_state_name(run_shown_state(run))));
    json_object_set_new(o, "verdict",
                        run->verdict ? json_string(run_verdict_name(run->verdict)) : json_null());
    json_object_set_new(o, "started", time_json(run->started_ms, INSTANT_MS));
    json_object_set_new(o, "ended", time_json(run->ended_ms, INSTANT_MS));
    json_object_set_new(o, "exit_code",
                        last && last->exit_code >= 0 ? json_integer(last->exit_code) : json_null());
    for (size_t i = 0; i < run->attempt_count; i++)
        json_array_append_new(attempts, attempt_to_json(&run->attempts[i]));
    json_object_set_new(o, "attempts", attempts);
    if (run->state == RUN_RETRYING)
        json_object_set_new(o, "retry_at", time_json(run->retry_ms, INSTANT_MS));
    if (run->state != RUN_ENDED && run->due_ms != run->fire_ms)
        json_object_set_new(o, "due", time_json(run->due_ms, INSTANT_MS));
    if (run->params)
        json_object_set(o, "params", run->params);
    set_text(o, "by", run->by);
    if (run->text && !(last && is_told(run, last)))
        set_text(o, "text", run->text);
    else if (last)
        set_text(o, "text", last->text);
    return o;
}

/* ---- the snapshot: short keys are left out when they hold the default ---- */

static void put_int(json_t *o, const char *key, int64_t value, int64_t none)
{
    if (value != none)
        json_object_set_new(o, key, json_integer(value));
}

static void put_flag(json_t *o, const char *key, bool value)
{
    if (value)
        json_object_set_new(o, key, json_true());
}

static json_t *encode_attempt(const struct attempt *a)
{
    json_t *o = json_object();

    put_int(o, "number", a->number, 0);
    put_int(o, "try", a->try, 0);
    put_int(o, "state", a->state, -1);
    set_text(o, "engine", a->engine);
    set_text(o, "id", a->id);
    set_text(o, "boot", a->boot_id);
    set_text(o, "identity", a->identity);
    put_int(o, "epoch", a->epoch, 0);
    put_int(o, "index", (int64_t)a->index, 0);
    put_int(o, "committed_epoch", a->committed_epoch, 0);
    put_flag(o, "handed_over", a->handed_over);
    put_int(o, "accepted", a->accepted_ms, 0);
    put_int(o, "started", a->started_ms, 0);
    put_int(o, "restarts", a->restarts, 0);
    put_int(o, "ended", a->ended_ms, 0);
    put_int(o, "code", a->exit_code, -1);
    set_text(o, "cause", a->cause);
    set_text(o, "text", a->text);
    set_text(o, "stop", run_stop_name(a->stop_reason));
    put_int(o, "stopping", a->stopping_ms, 0);
    return o;
}

static json_t *encode_run(const struct run *r)
{
    json_t *o = json_object(), *attempts = json_array();

    set_text(o, "id", r->id);
    put_int(o, "seq", (int64_t)r->seq, 0);
    put_int(o, "fire", r->fire_ms, INT64_MIN);
    put_int(o, "due", r->due_ms, INT64_MIN);
    put_int(o, "previous", r->previous_fire_ms, 0);
    set_text(o, "cause", run_cause_name(r->cause));
    set_text(o, "by", r->by);
    if (r->params)
        json_object_set(o, "params", r->params);
    put_flag(o, "queued", r->queued);
    put_flag(o, "children", r->children);
    put_flag(o, "fired", r->fired);
    put_flag(o, "journal_lost", r->journal_lost);
    if (r->def && job_equal(r->def, r->job->def ? r->job->def : r->def) && r->job->def)
        put_flag(o, "frozen", true);
    else if (r->def)
        json_object_set_new(o, "def", job_to_json(r->def));
    put_int(o, "state", r->state, -1);
    for (size_t i = 0; i < r->attempt_count; i++)
        json_array_append_new(attempts, encode_attempt(&r->attempts[i]));
    json_object_set_new(o, "attempts", attempts);
    put_int(o, "retry", r->retry_ms, 0);
    put_int(o, "started", r->started_ms, 0);
    put_int(o, "unresolved", r->unresolved_ms, 0);
    set_text(o, "text", r->text);
    return o;
}

static json_t *encode_backfill(const struct backfill *b)
{
    json_t *o = json_object();

    json_object_set(o, "times", b->times);
    put_int(o, "done", (int64_t)b->done, 0);
    put_int(o, "max_parallel", b->max_parallel, 0);
    put_flag(o, "again", b->again);
    set_text(o, "by", b->by);
    return o;
}

json_t *state_job_json(const struct job_state *j)
{
    json_t *o = json_object(), *runs = json_array(), *backfills = json_array(), *ahead = json_array();

    if (j->def)
        json_object_set_new(o, "def", job_to_json(j->def));
    put_int(o, "version", j->version, 0);
    set_text(o, "set", j->set);
    put_int(o, "seed", (int64_t)j->seed, 0);
    put_int(o, "anchor", j->anchor_ms, 0);
    put_int(o, "cursor", j->cursor_ms, INT64_MIN);
    for (size_t i = 0; i < j->ahead_count; i++)
        json_array_append_new(ahead, json_integer(j->ahead[i]));
    if (j->ahead_count)
        json_object_set(o, "ahead", ahead);
    json_decref(ahead);
    put_flag(o, "paused", j->paused);
    put_int(o, "paused_at", j->paused_ms, 0);
    put_int(o, "pause_until", j->pause_until_ms, 0);
    set_text(o, "pause_reason", j->pause_reason);
    set_text(o, "pause_by", j->pause_by);
    put_int(o, "deleted", j->deleted_ms, 0);
    put_int(o, "last_exact", j->last_manual_ms, 0);
    put_int(o, "last_fire", j->last_fire_ms, INT64_MIN);
    set_text(o, "last_run", j->last_run);
    set_text(o, "last_verdict", run_verdict_name(j->last_verdict));
    put_int(o, "last_ended", j->last_ended_ms, 0);
    put_int(o, "after_done", j->after_done, 0);
    LIST_EACH(link, &j->runs)
    {
        if (!MUTANT(SHORT_SNAPSHOT) || link->next != &j->runs)
            json_array_append_new(runs, encode_run(LIST_ITEM(link, struct run, of_job)));
    }
    LIST_EACH(link, &j->backfills)
    {
        json_array_append_new(backfills, encode_backfill(LIST_ITEM(link, struct backfill, of_job)));
    }
    json_object_set_new(o, "runs", runs);
    json_object_set_new(o, "backfills", backfills);
    return o;
}

json_t *state_fields_json(const struct state *s)
{
    json_t *root = json_object();

    put_int(root, "index", (int64_t)s->index, -1);
    set_text(root, "hash", s->hash);
    put_int(root, "epoch", s->epoch, 0);
    put_int(root, "time", s->time_ms, 0);
    put_int(root, "level", s->level, 0);
    put_int(root, "defs_index", (int64_t)s->defs_index, 0);
    put_int(root, "next_seq", (int64_t)s->next_seq, 0);
    set_text(root, "cluster", s->cluster);
    set_text(root, "replica", s->replica);
    set_text(root, "tzdata", s->tzdata);
    put_flag(root, "paused", s->paused);
    put_int(root, "paused_at", s->paused_ms, 0);
    put_int(root, "pause_until", s->pause_until_ms, 0);
    set_text(root, "pause_reason", s->pause_reason);
    set_text(root, "pause_by", s->pause_by);
    put_int(root, "lost_from", s->lost_from_ms, 0);
    put_int(root, "lost_until", s->lost_until_ms, 0);
    return root;
}

/* ---- and back ---- */

static int64_t get_int(const json_t *o, const char *key, int64_t none)
{
    const json_t *v = json_object_get(o, key);

    return json_is_integer(v) ? json_integer_value(v) : none;
}

/* Borrowed; NULL: it is not there. */
static const char *get_word(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static char *get_text(const json_t *o, const char *key)
{
    return alloc_text(get_word(o, key));
}

static bool get_flag(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

static int decode_attempt(struct run *r, const json_t *o)
{
    struct attempt *a = state_add_attempt(r, (int)get_int(o, "number", 0));
    int64_t state = get_int(o, "state", -1);

    if (a->number < 1 || state < 0 || state >= ATTEMPT_STATE_COUNT)
        return ERR_CORRUPT;
    a->state = (enum attempt_state)state;
    a->try = (int)get_int(o, "try", 1);
    a->engine = get_text(o, "engine");
    a->id = get_text(o, "id");
    a->boot_id = get_text(o, "boot");
    a->identity = get_text(o, "identity");
    a->epoch = get_int(o, "epoch", 0);
    a->index = (uint64_t)get_int(o, "index", 0);
    a->committed_epoch = get_int(o, "committed_epoch", 0);
    a->handed_over = get_flag(o, "handed_over");
    a->accepted_ms = get_int(o, "accepted", 0);
    a->started_ms = get_int(o, "started", 0);
    a->restarts = (int)get_int(o, "restarts", 0);
    a->ended_ms = get_int(o, "ended", 0);
    a->exit_code = (int)get_int(o, "code", -1);
    a->cause = get_text(o, "cause");
    a->text = get_text(o, "text");
    a->stop_reason = run_stop_of(get_word(o, "stop"));
    a->stopping_ms = get_int(o, "stopping", 0);
    return a->engine && (a->stop_reason || !get_word(o, "stop")) ? 0 : ERR_CORRUPT;
}

static int decode_run_def(struct run *r, const json_t *o, struct error *error)
{
    const json_t *def = json_object_get(o, "def");

    if (get_flag(o, "frozen") && r->job->def)
        r->def = job_ref(r->job->def);
    else if (def)
        return job_from_json(&r->def, r->job->name, def, NULL, error);
    return 0;
}

static int decode_run(struct state *s, struct job_state *j, const json_t *o, struct error *error)
{
    const char *id = json_string_value(json_object_get(o, "id"));
    char name[RUN_ID_MAX];
    int64_t at_ms, state = get_int(o, "state", -1);
    const json_t *item;
    struct run *r;
    size_t i;
    bool has_ms;
    int rc;

    if (!id || run_id_parse(id, name, &at_ms, &has_ms) < 0 || strcmp(name, j->name) != 0 ||
        state < RUN_WAITING || state >= RUN_ENDED || state_run(s, id))
        return error_set(error, ERR_CORRUPT, "run %s is invalid", id ? id : "without id");
    r = state_add_run(s, j, id);
    r->seq = (uint64_t)get_int(o, "seq", 0);
    r->at_ms = at_ms;
    r->has_ms = has_ms;
    r->state = (enum run_state)state;
    r->fire_ms = get_int(o, "fire", INT64_MIN);
    r->due_ms = get_int(o, "due", INT64_MIN);
    r->previous_fire_ms = get_int(o, "previous", 0);
    r->cause = run_cause_of(get_word(o, "cause"));
    r->by = get_text(o, "by");
    r->params = json_incref(json_object_get(o, "params"));
    r->queued = get_flag(o, "queued");
    r->children = get_flag(o, "children");
    r->fired = get_flag(o, "fired");
    r->journal_lost = get_flag(o, "journal_lost");
    r->retry_ms = get_int(o, "retry", 0);
    r->started_ms = get_int(o, "started", 0);
    r->unresolved_ms = get_int(o, "unresolved", 0);
    r->text = get_text(o, "text");
    rc = decode_run_def(r, o, error);
    if (rc < 0)
        return rc;
    json_array_foreach(json_object_get(o, "attempts"), i,
                       item) if (decode_attempt(r, item) <
                                 0) return error_set(error, ERR_CORRUPT, "run %s: attempt %zu is invalid", id,
                                                     i + 1);
    return r->cause && run_def(r) ? 0 : error_set(error, ERR_CORRUPT, "run %s: no cause or definition", id);
}

static void decode_backfill(struct state *s, struct job_state *j, const json_t *o)
{
    struct backfill *b = state_add_backfill(j);

    b->times = json_incref(json_object_get(o, "times"));
    b->done = (size_t)get_int(o, "done", 0);
    b->max_parallel = (int)get_int(o, "max_parallel", 1);
    b->again = get_flag(o, "again");
    b->by = get_text(o, "by");
    state_count_backfill(s, b);
}

static int decode_job(struct state *s, const char *name, const json_t *o, struct error *error)
{
    const json_t *def = json_object_get(o, "def"), *item;
    struct job_state *j;
    size_t i;

    if (!job_name_valid(name))
        return error_set(error, ERR_CORRUPT, "job name %s", name);
    j = state_add_job(s, name);
    if (def) {
        int rc = job_from_json(&j->def, name, def, NULL, error);

        if (rc < 0)
            return rc;
        s->job_count++;
        state_after_add(s, j);
    }
    j->version = get_int(o, "version", 0);
    j->set = get_text(o, "set");
    j->seed = (uint64_t)get_int(o, "seed", 0);
    j->anchor_ms = get_int(o, "anchor", 0);
    j->cursor_ms = get_int(o, "cursor", INT64_MIN);
    json_array_foreach(json_object_get(o, "ahead"), i, item) state_add_ahead(j, json_integer_value(item));
    j->paused = get_flag(o, "paused");
    j->paused_ms = get_int(o, "paused_at", 0);
    j->pause_until_ms = get_int(o, "pause_until", 0);
    j->pause_reason = get_text(o, "pause_reason");
    j->pause_by = get_text(o, "pause_by");
    j->deleted_ms = get_int(o, "deleted", 0);
    j->last_manual_ms = get_int(o, "last_exact", 0);
    j->last_fire_ms = get_int(o, "last_fire", INT64_MIN);
    j->last_run = get_text(o, "last_run");
    j->last_verdict = run_verdict_of(get_word(o, "last_verdict"));
    j->last_ended_ms = get_int(o, "last_ended", 0);
    j->after_done = (uint32_t)get_int(o, "after_done", 0);
    state_count_job(s, j, def);
    json_array_foreach(json_object_get(o, "backfills"), i, item) decode_backfill(s, j, item);
    json_array_foreach(json_object_get(o, "runs"), i, item)
    {
        int rc = decode_run(s, j, item, error);

        if (rc < 0)
            return rc;
    }
    return 0;
}

/* What is not in lists. */
static int decode_fields(struct state *s, const json_t *root, struct error *error)
{
    const char *hash = get_word(root, "hash");

    if (!hash || strlen(hash) >= sizeof(s->hash) || get_int(root, "index", -1) < 0)
        return error_set(error, ERR_CORRUPT, "snapshot without index or hash");
    memcpy(s->hash, hash, strlen(hash) + 1);
    s->index = (uint64_t)get_int(root, "index", 0);
    s->epoch = get_int(root, "epoch", 0);
    s->time_ms = get_int(root, "time", 0);
    s->level = get_int(root, "level", 1);
    if (s->level > RECORD_LEVEL)
        return error_set(error, ERR_UNSUPPORTED,
                         "snapshot: it holds records of level %lld, and this build reads up to %d: a newer "
                         "cronsched is needed",
                         (long long)s->level, RECORD_LEVEL);
    s->defs_index = (uint64_t)get_int(root, "defs_index", 0);
    s->cluster = get_text(root, "cluster");
    s->replica = get_text(root, "replica");
    s->tzdata = get_text(root, "tzdata");
    s->paused = get_flag(root, "paused");
    s->paused_ms = get_int(root, "paused_at", 0);
    s->pause_until_ms = get_int(root, "pause_until", 0);
    s->pause_reason = get_text(root, "pause_reason");
    s->pause_by = get_text(root, "pause_by");
    s->lost_from_ms = get_int(root, "lost_from", 0);
    s->lost_until_ms = get_int(root, "lost_until", 0);
    return 0;
}

static int decode_key(struct state *s, json_t *item, struct error *error)
{
    const char *key, *digest, *run;
    json_int_t t;
    char *both, *space;

    if (json_unpack(item, "[s,s,s,I]", &key, &digest, &run, &t) < 0 || !strchr(key, ' '))
        return error_set(error, ERR_CORRUPT, "snapshot: a trigger key is invalid");
    both = alloc_text(key);
    space = strchr(both, ' ');
    assert(space);
    *space = '\0';
    state_add_key(s, both, space + 1, digest, run, t);
    free(both);
    return 0;
}

static int decode_notice(struct state *s, json_t *item, struct error *error)
{
    const char *id, *url;
    json_t *body, *headers = json_array_get(item, 3);

    if (json_unpack(item, "[s,s,o]", &id, &url, &body) < 0 || (headers && !json_is_object(headers)))
        return error_set(error, ERR_CORRUPT, "snapshot: a notification is invalid");
    headers = headers ? json_incref(headers) : json_object();
    if (!headers)
        alloc_failed();
    state_add_notice(s, id, url, headers, json_incref(body));
    return 0;
}

static int decode_root(struct state *s, json_t *root, struct error *error)
{
    int rc = decode_fields(s, root, error);
    const char *name;
    json_t *item;
    size_t i;

    if (rc < 0)
        return rc;
    json_object_foreach(json_object_get(root, "jobs"), name, item)
    {
        if (decode_job(s, name, item, error) < 0)
            return error_prefix(error, "snapshot: job %s: ", name), ERR_CORRUPT;
    }
    s->next_seq = (uint64_t)get_int(root, "next_seq", 1); /* after the runs, which were counted again */
    if (json_is_array(json_object_get(root, "staged")))
        json_array_extend(s->staged, json_object_get(root, "staged"));
    s->bytes[STATE_STAGED] = json_array_size(s->staged) ? json_dumpb(s->staged, NULL, 0, JSON_COMPACT) : 0;
    json_array_foreach(json_object_get(root, "keys"), i, item)
    {
        rc = rc < 0 ? rc : decode_key(s, item, error);
    }
    json_array_foreach(json_object_get(root, "notices"), i, item)
    {
        rc = rc < 0 ? rc : decode_notice(s, item, error);
    }
    return rc;
}

int state_decode(struct state *s, const char *text, size_t size, struct error *error)
{
    json_error_t where;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    int rc;

    if (!root)
        return error_set(error, ERR_CORRUPT, "snapshot: byte %d: %s", where.position, where.text);
    rc = decode_root(s, root, error);
    json_decref(root);
    return rc;
}
